"""Every way out: at most five seconds until nothing is left running, whoever ends the run and by what."""

import os
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from tests.bench.command_line import in_background
from tests.bench.training.test_split_batches import free_port
from tests.faults.namespaces import ROOT, eventually
from tests.faults.test_interruptions import stored, wait_for

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")

SPEC = """
name = "signals"
problems = ["quadratic"]
optimizers = ["sgd", "adam"]
[budget]
studies = 2
tuning_points = 4
tuning_seeds = 2
seeds = 200
"""
SECONDS = 5.0  # what is promised; more on a machine that has other things to do
ALLOWED = SECONDS * (3.0 if (os.cpu_count() or 1) <= 2 else 1.0)
SCRIPT = """
import os, sys, time
import jax, jax.numpy as jnp, optax
from dlkit import bench
DRIVER = os.getpid()
def make(learning_rate):
    def update(gradients, state, params=None):
        def hang(count):
            if os.getpid() != DRIVER:
                open("hanging", "w").close()
                exec("while True: pass")
            return count
        updates = jax.tree.map(lambda gradient: -learning_rate * gradient, gradients)
        return updates, jax.pure_callback(hang, jax.ShapeDtypeStruct((), jnp.int32), state)
    return optax.GradientTransformation(lambda params: jnp.int32(0), update)
mine = bench.Optimizer("mine", make, {"learning_rate": bench.log_uniform(1e-3, 1.0)})
budget = bench.Budget(steps=20, evaluations=4, studies=1, tuning_points=2, tuning_seeds=1, seeds=2)
result = bench.compare(problems=["quadratic"], optimizers=["sgd", mine], budget=budget, folder="run",
                       resources=bench.Resources(workers=2))
print("interrupted" if result.interrupted else "ended")
"""


def start(work: Path, *command: str) -> subprocess.Popen[str]:
    return in_background(*command, cwd=work)


def end(process: subprocess.Popen[str], *numbers: int) -> tuple[float, str, str]:
    """Sends signals to a run, and waits until it and all that it started are gone; returns how long that took."""
    children = psutil.Process(process.pid).children(recursive=True)
    began = time.monotonic()
    for number in numbers:
        os.kill(process.pid, number)
        time.sleep(0.2 if len(numbers) > 1 else 0.0)
    out, err = process.communicate(timeout=60)
    left = psutil.wait_procs(children, timeout=20)[1]
    assert not left, "they are left running"
    assert len(children) >= 1
    return time.monotonic() - began, out, err


def a_run(work: Path) -> subprocess.Popen[str]:
    (work / "spec.toml").write_text(SPEC)
    process = start(work, "-m", "dlkit.bench.cli", "run", "spec.toml", "--folder", "run", "--no-report", "--workers=2")
    wait_for(work / "run", 1)
    return process


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_run_with_what_is_done(tmp_path: Path, number: signal.Signals) -> None:
    seconds, out, err = end(process := a_run(tmp_path), number)
    assert process.returncode == 128 + number and "Traceback" not in err
    assert seconds < ALLOWED
    done = stored(tmp_path / "run")
    assert done and f"interrupted: {done} of " in out


@pytest.mark.long
def test_a_killed_run_leaves_nobody(tmp_path: Path) -> None:
    seconds, _, _ = end(process := a_run(tmp_path), signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL and seconds < ALLOWED


def hanging(work: Path) -> subprocess.Popen[str]:
    (work / "script.py").write_text(SCRIPT)
    process = start(work, "script.py")
    deadline = time.monotonic() + 120
    while not (work / "hanging").exists():
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.05)
    return process


@pytest.mark.long
@pytest.mark.parametrize(
    ("numbers", "status"),
    [
        pytest.param([signal.SIGINT], 0, id="Ctrl-C"),
        pytest.param([signal.SIGINT, signal.SIGINT], 0, id="Ctrl-C twice"),
        pytest.param([signal.SIGTERM], -signal.SIGTERM, id="SIGTERM"),
        pytest.param([signal.SIGKILL], -signal.SIGKILL, id="SIGKILL"),
    ],
)
def test_a_script_whose_workers_hang_ends_as_soon(tmp_path: Path, numbers: list[int], status: int) -> None:
    seconds, out, _ = end(process := hanging(tmp_path), *numbers)
    assert process.returncode == status and seconds < ALLOWED
    if not status:
        assert out == "interrupted\n"
        assert stored(tmp_path / "run") >= 0


@pytest.mark.long
def test_ctrl_c_ends_processes_that_train_a_trial_together_in_the_middle_of_a_call(tmp_path: Path) -> None:
    """The call never ends."""
    run, port = tmp_path / "run", str(free_port())
    module = ("-m", "tests.bench.training.two_processes", "endless", port)
    first, second = (start(ROOT, *module, place, str(run)) for place in ("0", "1"))
    eventually(lambda: all(Path(f"{run}.{place}").exists() for place in (0, 1)))
    time.sleep(1.0)  # from compiled to called
    began = time.monotonic()
    os.kill(first.pid, signal.SIGINT)
    _, err = first.communicate(timeout=60)
    assert first.returncode == 130 and "interrupted" in err
    second.communicate(timeout=60)
    assert second.returncode and time.monotonic() - began < ALLOWED, "JAX ends who waits for the first"


WAITS = {"at the start": 1.5, "while it plans": 4.0}


@pytest.mark.slow
@pytest.mark.parametrize("moment", WAITS)
def test_ctrl_c_before_the_first_trial(tmp_path: Path, moment: str) -> None:
    (tmp_path / "spec.toml").write_text(SPEC)
    command = ["-m", "dlkit.bench.cli", "run", "spec.toml", "--folder", "run", "--no-report", "--workers=2"]
    process = start(tmp_path, *command)
    time.sleep(WAITS[moment])
    os.kill(process.pid, signal.SIGINT)
    began = time.monotonic()
    _, err = process.communicate(timeout=60)
    assert process.returncode in (130, -signal.SIGINT) and time.monotonic() - began < ALLOWED, err
    assert "Traceback" not in err or process.returncode < 0  # before dlkit is imported, Python says it
