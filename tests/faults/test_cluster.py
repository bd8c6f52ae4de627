"""A cluster whose workers are on another machine: they come, leave and die, differ, and lose their scheduler."""

import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("distributed")

from dlkit import bench
from dlkit.bench.execution.whole_run import carry_out
from dlkit.bench.spec.toml import load
from tests.faults.namespaces import PATIENCE, ROOT, Machines, certificates, eventually, machines, stored
from tests.faults.test_signals import ALLOWED
from tests.faults.test_workers import FINISHED, statuses, struck

pytestmark = pytest.mark.long

HELPER = """
import os
import time

import jax
import jax.numpy as jnp
import numpy as np


def slowly(value):
    def nap(number):
        with open(os.environ.get("TRACE", os.devnull), "a") as file:
            file.write(f"{os.getpid()}\\n")
        while os.path.exists(os.environ.get("HOLD", "")):
            time.sleep(0.05)
        return np.asarray(number)

    return jax.pure_callback(nap, jax.ShapeDtypeStruct((), jnp.float32), value)
"""
PROBLEM = """
import helper
import jax

from dlkit import bench


def bowl():
    return bench.Problem(
        name="bowl",
        init=lambda key: (jax.random.normal(key, (3,)), None),
        loss=lambda params, state, batch, key: ((params**2).sum(), state),
        evaluate=lambda params, state, batch: {"distance": helper.slowly((params**2).sum())},
        dataset=bench.Dataset("none", {}, {}, {}),
        metrics={"distance": bench.Metric("lower")},
        target=0.1,
    )
"""
SPEC = """
name = "far"
problems = ["mine.py:bowl"]
optimizers = ["sgd", "adam"]
[budget]
steps = 8
evaluations = 2
studies = 1
tuning_points = 5
tuning_seeds = 2
seeds = 5
"""
TRIALS = 2 * (5 * 2 + 5)


@pytest.fixture
def net(tmp_path: Path) -> Iterator[Machines]:
    (tmp_path / "net").mkdir()
    with machines(tmp_path / "net") as made:
        yield made


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    """A problem of one's own that needs a module beside it, and is slow where it is told to be."""
    for name, text in {"helper.py": HELPER, "mine.py": PROBLEM, "spec.toml": SPEC}.items():
        (tmp_path / name).write_text(text)
    return tmp_path / "spec.toml"


def bits(run: Path) -> dict[str, Any]:
    records = bench.open_run(run).summary.records
    return {
        name: {key: each.tobytes() for key, each in record.outcome.curves.items()} for name, record in records.items()
    }


def who(trace: Path) -> set[int]:
    """The processes that have trained."""
    return {int(each) for each in trace.read_text().split()} if trace.is_file() else set()


def held(folder: Path) -> dict[str, str]:
    """What makes workers leave a trace, and wait as long as a file is there."""
    return {"TRACE": str(folder / "trace"), "HOLD": str(folder / "hold")}


def test_workers_join_die_and_leave_and_no_trial_is_lost_or_another(net: Machines, spec: Path, tmp_path: Path) -> None:
    trace, run, hold = tmp_path / "trace", tmp_path / "runs" / "far", tmp_path / "hold"
    net.scheduler()
    first = net.worker("first", env=held(tmp_path))
    eventually(lambda: net.is_there("first"))
    hold.touch()
    driver = net.driver(spec, "driver")
    eventually(lambda: len(who(trace)) == 1)
    second = net.worker("second", "--nanny", env=held(tmp_path))  # it joins
    eventually(lambda: len(who(trace)) == 2)
    net.kill(first)  # it dies
    eventually(lambda: "died; the trial it had runs once more, alone" in net.said("driver"))
    net.worker("third", env=held(tmp_path))
    eventually(lambda: len(who(trace)) == 3)
    second.send_signal(signal.SIGTERM)  # it leaves
    eventually(lambda: "Stopping worker" in net.said("second"))
    hold.unlink()
    assert driver.wait(PATIENCE) == 0, net.said("driver")
    assert stored(run) == TRIALS and "Traceback" not in net.said("driver")
    assert net.said("driver").count("once more") == 1, "who leaves in order is not blamed"
    carry_out(load(spec), folder=tmp_path / "here", resources=bench.Resources(executor="inline"), progress=False)
    assert bits(run) == bits(tmp_path / "here")


def test_code_that_never_returns_or_ends_its_process_costs_its_trial_alone(tmp_path: Path) -> None:
    """Workers on loopback. The script says that dask's processes are the same ones afterwards."""
    result, _, _ = struck(tmp_path, "cluster", "hang", "segfault")
    assert statuses(result, "sgd") == FINISHED
    assert set(statuses(result, "hang")) == {"cut off"} and set(statuses(result, "segfault")) == {"failed"}
    hanging = result.trials().query("optimizer == 'hang'")
    outcomes = [result.summary.records[name].outcome for name in hanging.trial]
    assert all(outcome.is_empty and "trained without a sign" in outcome.reason for outcome in outcomes)
    assert all("its worker died of SIGSEGV, a fault in native code" in each for each in result.failures)
    assert all("at tcp://127.0.0.1:" in each for each in result.failures), result.failures
    assert all("twice, the second time alone" in each for each in result.failures), result.failures


@pytest.mark.slow
def test_a_trial_has_no_more_memory_than_the_limit_of_its_worker(tmp_path: Path) -> None:
    result, _, _ = struck(tmp_path, "cluster", "grow")
    assert statuses(result, "sgd") == FINISHED and set(statuses(result, "grow")) == {"failed"}
    assert all("GiB of memory, where --memory-limit allows 0.6" in each for each in result.failures)


def test_a_worker_whose_driver_is_gone_is_of_use_to_the_next_one(net: Machines, spec: Path, tmp_path: Path) -> None:
    """What it trains for nobody never ends: the driver was killed, or gave it up a few seconds after a signal."""
    trace, run, hold = tmp_path / "trace", tmp_path / "runs" / "far", tmp_path / "hold"
    net.scheduler("scheduler of three drivers")
    net.worker("the only worker", env=held(tmp_path))
    eventually(lambda: net.is_there("the only worker"))
    hold.touch()
    killed = net.driver(spec, "driver that is killed")
    eventually(lambda: len(who(trace)) == 1)
    net.kill(killed)
    ended = net.driver(spec, "driver that is ended")
    eventually(lambda: len(who(trace)) == 2)
    began = time.monotonic()
    ended.send_signal(signal.SIGTERM)
    assert ended.wait(PATIENCE) == 128 + signal.SIGTERM and time.monotonic() - began < ALLOWED
    said = net.said("driver that is ended")
    assert "interrupted: 0 of" in said and "Traceback" not in said
    hold.unlink()
    last = net.driver(spec, "the last driver")
    assert last.wait(PATIENCE) == 0, net.said("the last driver")
    assert stored(run) == TRIALS and len(who(trace)) == 3


def test_a_lost_scheduler_is_said_and_the_same_command_goes_on(net: Machines, spec: Path, tmp_path: Path) -> None:
    run, hold = tmp_path / "runs" / "far", tmp_path / "hold"
    scheduler = net.scheduler("scheduler of the first")
    worker = net.worker("of the first scheduler", env=held(tmp_path))
    driver = net.driver(spec, "driver that loses its scheduler")
    eventually(lambda: stored(run) >= 2)
    hold.touch()
    net.kill(scheduler)
    assert driver.wait(PATIENCE) == 2
    said = " ".join(net.said("driver that loses its scheduler").split())
    assert "the dask scheduler is gone" in said and "run the same command again" in said and "Traceback" not in said
    net.kill(worker)
    hold.unlink()
    before = stored(run)
    assert 2 <= before < TRIALS
    net.scheduler("scheduler of the second")
    net.worker("of the second scheduler")
    eventually(lambda: net.is_there("of the second scheduler"))
    again = net.driver(spec, "driver that goes on", "--trust")
    assert again.wait(PATIENCE) == 0, net.said("driver that goes on")
    assert stored(run) == TRIALS


def test_other_software_is_refused_by_name_and_the_others_go_on(net: Machines, spec: Path, tmp_path: Path) -> None:
    other, none = tmp_path / "other", tmp_path / "none" / "dlkit"
    shutil.copytree(ROOT / "dlkit", other / "dlkit", ignore=shutil.ignore_patterns("__pycache__"))
    with (other / "dlkit/bench/training/step.py").open("a") as file:
        file.write("\n\nANOTHER = 1\n")
    none.mkdir(parents=True)
    (none / "__init__.py").write_text("raise ImportError('there is no dlkit on this machine')\n")
    net.scheduler("scheduler of several")
    net.worker("an older worker", env={"PYTHONPATH": str(other)})
    net.worker("a worker without dlkit", env={"PYTHONPATH": str(none.parent)})
    eventually(lambda: net.is_there("an older worker") and net.is_there("a worker without dlkit"))
    alone = net.driver(spec, "driver without a worker like it")
    assert alone.wait(PATIENCE) == 2
    said = " ".join(net.said("driver without a worker like it").split())
    assert f"no worker at 'tls://{net.address}' may train" in said and "Traceback" not in said
    assert "another dlkit's training code; install the same on both" in said
    assert "it has no dlkit, or another one" in said
    net.worker("a worker like it")
    eventually(lambda: net.is_there("a worker like it"))
    driver = net.driver(spec, "driver with a worker like it")
    assert driver.wait(PATIENCE) == 0, net.said("driver with a worker like it")
    said = " ".join(net.said("driver with a worker like it").split())
    assert said.count("is refused") == 2 and "the others go on" in said
    assert stored(tmp_path / "runs" / "far") == TRIALS


STRANGER = """
import sys
from distributed import Client

try:
    Client(sys.argv[1], timeout="5s").submit(print, "in").result(timeout=5)
except Exception as error:
    sys.exit(f"kept out: {type(error).__name__}")
"""


def test_nobody_without_a_certificate_gets_in(net: Machines, spec: Path, tmp_path: Path) -> None:
    net.scheduler("scheduler with a door")
    stranger = net.run(net.there, ["-c", STRANGER, f"tcp://{net.address}"], "a stranger", cwd=tmp_path)
    assert stranger.wait(PATIENCE) == 1 and "kept out" in net.said("a stranger")
    forged = certificates(tmp_path / "forged")
    net.worker("a forged worker", tls=forged)
    driver = net.driver(spec, "a forged driver", tls=forged)
    assert driver.wait(PATIENCE) == 2
    said = " ".join(net.said("a forged driver").split())
    assert "no dask scheduler answers at" in said and "certificate" in said.lower() and "Traceback" not in said
    assert not net.is_there("a forged worker")


def test_what_is_said_where_nobody_is(net: Machines, spec: Path) -> None:
    driver = net.driver(spec, "driver without a scheduler")
    assert driver.wait(PATIENCE) == 2
    assert "no dask scheduler answers at" in " ".join(net.said("driver without a scheduler").split())
