"""What is sent to dask workers, and what comes back: without a cluster."""

import os
import pickle
import sys
import threading
from collections.abc import Iterator
from typing import Any

import distributed
import jax.numpy as jnp
import numpy as np
import psutil
import pytest

from dlkit import bench
from dlkit.bench.execution import dask_workers
from dlkit.bench.execution.dask_workers import DaskExecutor
from dlkit.bench.execution.parcels import Parcel, pack, unpack
from dlkit.bench.execution.work import Task, Work
from dlkit.bench.spec import planner
from dlkit.bench.spec.entries import Contender, Experiment, ProblemChoice

TABLE = np.random.default_rng(0).normal(size=(1000, 4)).astype(np.float32)
OWN = bench.Problem(
    name="own",
    init=lambda key: (jnp.zeros(4), None),
    loss=lambda params, state, batch, key: (((batch["inputs"] - params[None]) ** 2).mean(), state),
    evaluate=lambda params, state, batch: {"distance": ((batch["inputs"] - params[None]) ** 2).mean()},
    dataset=bench.Dataset("table", *({"inputs": each} for each in np.split(TABLE, [600, 800]))),
    metrics={"distance": bench.Metric("lower")},
    batch_size=8,
    target=0.1,
)


@pytest.fixture(autouse=True)
def _imports() -> Iterator[None]:
    """Leaves what this process has imported as it was: parcels are opened here."""
    modules, finders = dict(sys.modules), list(sys.meta_path)
    yield
    sys.modules.update(modules)
    sys.meta_path[:] = finders


class Client:
    """Keeps what it is given."""

    def __init__(self) -> None:
        self.scattered: list[Parcel] = []
        self.submitted: list[Parcel] = []

    def scatter(self, value: Parcel, **how: Any) -> str:
        self.scattered.append(value)
        return "a future"

    def submit(self, function: Any, work: Parcel, own: Any, **how: Any) -> "Client":
        self.submitted.append(work)
        assert own == "a future"
        return self

    def add_done_callback(self, call: Any) -> None:
        pass


@pytest.mark.long
def test_workers_end_while_this_process_goes_on() -> None:
    executor = DaskExecutor(workers=1)
    (worker,) = executor._client.run(os.getpid).values()
    main = sys.modules["__main__"].__spec__
    executor.close()
    closing = [each for each in threading.enumerate() if each.name == "dlkit ends its workers"]
    for each in closing:
        each.join(60)
    assert closing and not psutil.pid_exists(worker)
    assert main is not sys.modules["__main__"].__spec__, "restored at once: other processes may be spawned by now"


def test_an_own_problem_is_sent_once() -> None:
    budget = bench.Budget(steps=20, studies=1)
    optimizers = (Contender(optimizer="sgd"), Contender(optimizer="adam"))
    asked = Experiment(name="one", problems=(ProblemChoice(problem=OWN),), optimizers=optimizers, budget=budget)
    bound = planner.plan(asked)
    executor = object.__new__(DaskExecutor)
    client = Client()
    vars(executor).update(_client=client, _own={}, _futures={}, _addresses=["here"], _memory=None)
    for contender in bound.plan.contenders:
        trials = tuple(bound.plan.tuning_trials(bound.plan.problems[0], contender)[0])
        executor.submit(0, Work(bound.group(bound.plan.problems[0], contender, {}), trials))
    (problem,) = client.scattered
    assert sum(len(bytes(each)) for each in problem.buffers) == TABLE.nbytes
    assert unpack(problem).name == "own"
    for work in client.submitted:
        assert len(pickle.dumps(work)) < TABLE.nbytes
        assert unpack(work).problem.own is None


class Breaking:
    """A task that raises what cannot be pickled."""

    def run(self) -> Any:
        class Unknown(Exception):
            def __init__(self, one: int, two: int) -> None:
                super().__init__(f"{one} is not {two}")
                self.held = (each for each in ())

        raise Unknown(1, 2)


@pytest.mark.parametrize(
    ("task", "message"),
    [(Breaking(), "the worker raised Unknown: 1 is not 2"), (object(), "the worker raised AttributeError: .*'run'")],
)
def test_what_a_worker_raises_comes_back_as_text(task: Task, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dask_workers, "_prepare_worker", lambda: None)
    answer = pickle.loads(pickle.dumps(dask_workers._run_on_worker(pack(task), None)))
    assert isinstance(answer, bench.UserError)
    with pytest.raises(bench.UserError, match=message):
        raise answer


def test_a_worker_asks_for_one_thread_before_anything_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    class Here:
        name = "a worker of a cluster"

    def opened(parcel: Parcel) -> Any:
        raise ValueError(f"with {os.environ.get('NPROC')} thread")

    monkeypatch.setattr(distributed, "get_worker", Here)
    monkeypatch.setattr(dask_workers, "_prepare_worker", dask_workers._prepare_worker.__wrapped__)
    monkeypatch.setattr(dask_workers, "unpack", opened)
    monkeypatch.delenv("NPROC")
    assert "ValueError: with 1 thread" in str(dask_workers._run_on_worker(pack(None), None))
