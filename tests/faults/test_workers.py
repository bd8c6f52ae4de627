"""What the user's code can do to a worker: it costs the trial in hand, and never another one, nor the run."""

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import psutil
import pytest

from dlkit import bench
from dlkit.bench.execution import in_hand, worker_handle
from dlkit.bench.execution.parcels import pack
from dlkit.bench.execution.processes import ProcessExecutor
from dlkit.bench.execution.work import Done
from dlkit.bench.machine.preparation import prepare_process
from dlkit.bench.spec.bound_plan import OwnProblem, ProblemSource

SCRIPT = """
import ctypes, os, signal, sys, time
from contextlib import nullcontext
import jax, jax.numpy as jnp, optax
from dlkit import bench
from dlkit.bench.execution import in_hand

in_hand.TRAINING_MARGIN = 1.0
DRIVER = os.getpid()

def struck(name, strike):
    def make(learning_rate):
        sgd = optax.sgd(learning_rate)
        def update(gradients, state, params=None):
            def call(count):
                if os.getpid() != DRIVER and count == 7:
                    strike()
                return count
            updates, inner = sgd.update(gradients, state[1], params)
            count = jax.pure_callback(call, jax.ShapeDtypeStruct((), jnp.int32), state[0])
            return updates, (count + 1, inner)
        return optax.GradientTransformation(lambda params: (jnp.int32(0), sgd.init(params)), update)
    return bench.Optimizer(name, make, {"learning_rate": bench.log_uniform(1e-3, 1.0)})

def interrupt():
    raise KeyboardInterrupt

def flood():
    for number in range(3000):
        print("flood", number, "-" * 60)
    os.write(2, b"never shown\\n")

def grow():
    held = bytearray(700 * 2**20)
    held[::4096] = b"1" * len(held[::4096])
    time.sleep(30)

FAULTS = {
    "segfault": lambda: ctypes.string_at(0), "exit": lambda: sys.exit(3), "exit at once": lambda: os._exit(5),
    "killed": lambda: os.kill(os.getpid(), signal.SIGKILL), "interrupt": interrupt, "flood": flood,
    "hang": lambda: time.sleep(1e6), "grow": grow,
}

def run(place, arguments):
    trial_seconds = 0.5 if "hang" in arguments else None
    bound = "700MiB" if "grow" in arguments else None
    if place == "cluster":  # whose workers have a nanny, which would end them where memory is at a bound
        from distributed import LocalCluster

        workers = LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0", silence_logs="CRITICAL",
            memory_limit=bound and "738MiB",
        )
    else:
        workers = nullcontext()
    with workers as cluster:
        resources = (
            bench.Resources(workers=2, worker_memory=bound)
            if cluster is None
            else bench.Resources(executor=cluster.scheduler_address, insecure=True)
        )
        there = None if cluster is None else {each.pid for each in cluster.workers.values()}
        budget = bench.Budget(
            steps=20, evaluations=4, studies=1, tuning_points=1, tuning_seeds=1, seeds=2, trial_seconds=trial_seconds
        )
        result = bench.compare(
            problems=["quadratic"], optimizers=["sgd", *(struck(name, FAULTS[name]) for name in arguments)],
            budget=budget, resources=resources, folder="run", progress=False,
        )
        if cluster is not None:
            assert there == {each.pid for each in cluster.workers.values()}, "no worker had to be started again"
    return result

if __name__ == "__main__":  # workers of a cluster import it
    place, *arguments = sys.argv[1:]
    result = run(place, arguments)
    assert place == "cluster" or not {"dask", "distributed"} & sys.modules.keys()
    print(result.summary.missing, "missing")
"""


FINISHED = ["finished"] * 3  # of one point, and its two fresh seeds


def struck(folder: Path, place: str, *faults: str) -> tuple[bench.Result, str, str]:
    """A run in which a healthy contender stands beside some whose callbacks do what they should not.

    Args:
        folder: where the script lies, and runs.
        place: whose workers train: this machine's, or those of a cluster.
        faults: what callbacks do.
    """
    (folder / "script.py").write_text(SCRIPT)
    command = [sys.executable, "script.py", place, *faults]
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=240)
    assert ended.returncode == 0 and "Traceback (most recent call last)" not in _own(ended.stderr), ended.stderr
    return bench.open_run(folder / "run"), ended.stdout, ended.stderr


def _own(text: str) -> str:
    """What no worker has printed."""
    return "\n".join(line for line in text.splitlines() if not line.startswith("worker "))


def statuses(result: bench.Result, optimizer: str) -> list[str]:
    trials = result.trials()
    return sorted(trials[trials.optimizer == optimizer].status)


@pytest.mark.long
def test_code_that_ends_its_process_costs_its_trial_alone(tmp_path: Path) -> None:
    result, _, said = struck(tmp_path, "here", "segfault", "exit at once", "killed", "exit", "interrupt", "flood")
    assert statuses(result, "sgd") == FINISHED
    for name in ("segfault", "exit at once", "killed", "exit", "interrupt"):
        assert set(statuses(result, name)) == {"failed"}, name
    reasons = "\n".join(result.failures)
    assert "quadratic / segfault: its worker died of SIGSEGV, a fault in native code; twice" in reasons
    assert "quadratic / exit at once: its worker ended itself with exit status 5; twice" in reasons
    assert "quadratic / killed: its worker was killed (SIGKILL)" in reasons
    assert "'exit' on problem 'quadratic': raised" in reasons and "SystemExit: 3" in reasons
    assert "KeyboardInterrupt" in reasons
    # of each worker 64 KiB, on lines of its own
    assert statuses(result, "flood") == FINISHED
    flood = [line for line in said.splitlines() if "flood" in line]
    assert 64 * 1024 * 0.9 < sum(len(line) - len("worker 1: ") + 1 for line in flood) < 2 * 64 * 1024 + 1000
    assert all(line.startswith("worker ") for line in flood)
    assert "has printed more than 64 KiB; what follows is dropped" in said and "never shown" not in said


@pytest.mark.long
def test_code_that_never_returns_is_cut_off(tmp_path: Path) -> None:
    result, _, _ = struck(tmp_path, "here", "hang")
    assert statuses(result, "sgd") == FINISHED and set(statuses(result, "hang")) == {"cut off"}
    assert not result.failures
    hanging = result.trials().query("optimizer == 'hang'")
    outcomes = [result.summary.records[name].outcome for name in hanging.trial]
    assert all(outcome.is_empty and "trained without a sign" in outcome.reason for outcome in outcomes)
    with pytest.raises(bench.UserError, match="was cut off before its first evaluation"):
        result.replay(hanging.trial.iloc[0])
    assert str(result)  # it is shown without a word that is not true
    assert "initial parameters" not in result.markdown()


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_a_worker_has_no_more_memory_than_it_may(tmp_path: Path) -> None:
    result, _, _ = struck(tmp_path, "here", "grow")
    assert statuses(result, "sgd") == FINISHED and set(statuses(result, "grow")) == {"failed"}
    (reason,) = {each.partition("used")[0] for each in result.failures}
    assert reason == "quadratic / grow: its worker "
    assert all("where worker_memory allows 0.684, and was ended" in each for each in result.failures)


# --- workers that die between tasks, or before they begin ---


class Nothing(NamedTuple):
    """A task that trains nothing."""

    @property
    def problem(self) -> ProblemSource:
        return ProblemSource("", "", "", (), ())

    def with_own(self, own: OwnProblem | None) -> "Nothing":
        return self

    def within(self, memory: int | None) -> "Nothing":
        return self

    def run(self) -> Done:
        return Done((), prepare_process())


@pytest.fixture
def executor() -> Iterator[ProcessExecutor]:
    started = ProcessExecutor(workers=1)
    yield started
    started.close()


def run(executor: ProcessExecutor, task: Any = None) -> Any:
    executor.submit(0, task or Nothing())
    return executor.next()[1]


@pytest.mark.long
def test_nothing_is_listened_on_and_nobody_is_left(executor: ProcessExecutor) -> None:
    assert isinstance(run(executor), Done)
    parent = psutil.Process(executor._nursery._process.pid)
    everyone = [parent, *parent.children(recursive=True)]
    assert len(everyone) == 2
    for process in everyone:
        assert not process.net_connections(kind="inet")
        listening = [each for each in process.net_connections(kind="unix") if each.laddr]
        assert not listening, "no socket has a name"
    executor.close()
    assert not psutil.wait_procs(everyone, timeout=2)[1]


@pytest.mark.long
def test_a_worker_that_is_killed_while_it_waits_is_replaced(executor: ProcessExecutor) -> None:
    for _ in range(2):
        assert isinstance(run(executor), Done)
        assert executor._workers[0].process is not None
        os.kill(executor._workers[0].process, signal.SIGKILL)
    assert isinstance(run(executor), Done)


class Large(Nothing):
    """A task whose answer is more than a socket holds."""

    def run(self) -> Any:
        return np.ones(2**20)


@pytest.mark.long
def test_a_worker_that_is_stopped_in_the_middle_of_its_answer_is_replaced(
    executor: ProcessExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(in_hand, "TRAINING_MARGIN", 0.5)
    assert isinstance(run(executor), Done)
    worker = executor._workers[0]
    executor.hand_on(0, in_hand.InHand(patience=0.1), pack(Large()))
    assert select.select([worker.pipe], [], [], 60.0)[0]
    assert worker.process is not None
    os.kill(worker.process, signal.SIGSTOP)  # it cannot have sent all
    np.testing.assert_array_equal(executor.next()[1], np.ones(2**20))
    assert executor._workers[0] is not worker and not psutil.pid_exists(worker.process)


@pytest.mark.long
def test_workers_are_started_again_if_their_parent_is_killed(executor: ProcessExecutor) -> None:
    assert isinstance(run(executor), Done)
    os.kill(executor._nursery._process.pid, signal.SIGKILL)
    assert isinstance(run(executor), Done)


@pytest.mark.long
def test_workers_that_end_before_they_do_anything_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_handle, "command", lambda *_: [sys.executable, "-c", "import nowhere"])
    broken = ProcessExecutor(workers=1)
    message = (
        r"the workers end before they do anything, 3 times by now: .*ModuleNotFoundError: No module named 'nowhere'"
    )
    try:
        with pytest.raises(bench.UserError, match=message):
            run(broken)
    finally:
        broken.close()


BROKEN = """
from dlkit.bench.execution import nursery, worker_process
def main(*_): raise RuntimeError("it cannot begin")
worker_process.main = main
nursery.main({control}, {owner})
"""


@pytest.mark.long
def test_workers_that_raise_before_they_do_anything_say_why_and_leave_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    def command(_: str, control: int, owner: int) -> list[str]:
        return [sys.executable, "-c", BROKEN.format(control=control, owner=owner)]

    monkeypatch.setattr(worker_handle, "command", command)
    broken = ProcessExecutor(workers=1)
    try:
        with pytest.raises(bench.UserError, match=r"3 times by now: .*RuntimeError: it cannot begin"):
            run(broken)
    finally:
        broken.close()
    assert broken._nursery._process.poll() is not None
