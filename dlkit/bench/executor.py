"""Where groups run: in this process, or on dask workers (local processes by default, any cluster by address)."""

import itertools
import os
import sys
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import cache, lru_cache
from importlib.machinery import ModuleSpec
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple, Protocol

import numpy as np

from dlkit.bench.doctor import require_right_sums
from dlkit.bench.environment import configure_jax, program_identity
from dlkit.bench.errors import UserError
from dlkit.bench.interrupts import first_interrupt, interrupts_held
from dlkit.bench.optimizers import Evaluations
from dlkit.bench.placement import ALONE, Lanes, fitting, is_out_of_memory, on_accelerator, spread
from dlkit.bench.planner import Group, ProblemSource
from dlkit.bench.plans import Outcome, Trial
from dlkit.bench.problems import Problem
from dlkit.bench.timing import Timing
from dlkit.bench.trainer import ProblemProgram, Program, compile_problem, compile_program
from dlkit.bench.trials import Request, Trajectory, lane_bytes, train_trials

__all__ = [
    "DaskExecutor",
    "Done",
    "Executor",
    "InlineExecutor",
    "Task",
    "Timed",
    "Work",
    "check_executor",
    "make_executor",
    "prepare_process",
    "program_alone",
    "run_work",
]

PATIENCE_SECONDS = 15.0  # how long no worker may be seen before a run is given up, twice over
SLICE_SECONDS = 2.0  # a worker reports at least this often, after the trial in hand


class Work(NamedTuple):
    """Some trials of one compile group.

    Attributes:
        group: what they share.
        trials: in the order in which they run.
        seconds: for about how long to run.
        lanes: how many run side by side, over all local devices or as given in full; None for what suits the device:
            one at a time on CPU, and elsewhere as many as fit into memory.
        planned: how many trials the group has in this stage, finished ones included; more lanes than that are no use.
    """

    group: Group
    trials: tuple[Trial, ...]
    seconds: float = SLICE_SECONDS
    lanes: Lanes | int | None = None
    planned: int = 1

    @property
    def problem(self) -> ProblemSource:
        """What is trained."""
        return self.group.problem

    def with_own(self, own: Problem | None) -> "Work":
        """Returns the work with another object in the place of one's own problem."""
        return self._replace(group=replace(self.group, problem=replace(self.group.problem, own=own)))

    def run(self) -> "Done":
        """Runs the work in this process."""
        return run_work(self)


class Task(Protocol):
    """What a slot can be given to do."""

    @property
    def problem(self) -> ProblemSource:
        """What is trained."""

    def with_own(self, own: Problem | None) -> "Task":
        """Returns the task with another object in the place of one's own problem."""

    def run(self) -> "Done | Timed":
        """Does it, in this process."""


class Timed(NamedTuple):
    """What came of a timing.

    Attributes:
        timings: one a contender.
        program: what they are timings of.
    """

    timings: tuple[Timing, ...]
    program: Mapping[str, str]


class Done(NamedTuple):
    """What came of a work, all by one program.

    Attributes:
        outcomes: of its first trials; those that are missing did not start.
        program: what ran them.
        interrupted: whether Ctrl-C ended it.
    """

    outcomes: tuple[Outcome, ...]
    program: Mapping[str, str]
    interrupted: bool = False


class Executor(Protocol):
    """Runs works on numbered slots, one at a time on each; a slot keeps what it compiled."""

    slots: int

    def submit(self, slot: int, work: Task) -> None:
        """Starts a work on a free slot."""

    def next(self) -> tuple[int, Done | Timed | UserError]:
        """Waits for the next slot that is done; an error stands for a worker that could not return anything."""

    def close(self) -> None:
        """Ends the workers, and whatever still runs on them."""


@cache
def prepare_process(threads: int = 1) -> Mapping[str, str]:
    """Makes this process ready to train, once, and returns what its programs are.

    Args:
        threads: the size of XLA's thread pool; one, so that a process per core is fastest and no core count changes
            bits. It has an effect until JAX first computes something: the identity says what it really is.

    Returns:
        The program's identity.

    Raises:
        UserError: if this JAX computes wrong sums here.
    """
    os.environ["NPROC"] = str(threads)
    configure_jax()
    require_right_sums()
    return program_identity()


@lru_cache(maxsize=8)
def _problem_program(source: ProblemSource, lanes: Lanes) -> ProblemProgram:
    return compile_problem(source.load(), lanes)


@lru_cache(maxsize=32)
def _program(group: Group, lanes: Lanes) -> Program:
    return compile_program(_problem_program(group.problem, lanes), group.recipe)


@cache
def _narrowed() -> dict[str, Lanes]:
    """Of groups that did not fit into memory: the lanes that are tried next, for as long as this process lives."""
    return {}


def _lanes(work: Work) -> Lanes:
    """The lanes of a work: those asked for, or what fits; fewer after the memory was not enough."""
    if work.lanes is not None:
        lanes = work.lanes if isinstance(work.lanes, Lanes) else spread(work.lanes)
    elif on_accelerator():
        lanes = fitting(work.planned, lane_bytes(_program(work.group, ALONE)))
    else:
        lanes = ALONE
    less = _narrowed().get(work.group.key)
    return less if less is not None and less.width < lanes.width else lanes


def program_alone(group: Group) -> Program:
    """Returns a group's program for one trial at a time; trials of this process may have compiled it."""
    return _program(group, ALONE)


def run_work(work: Work, *, threads: int = 1) -> Done:
    """Runs trials of one group in this process until the time is up; at least one.

    A trial that raises becomes an outcome that says why, and ends the group's turn.

    Args:
        work: what to run.
        threads: as in `prepare_process`.

    Returns:
        The outcomes of the trials that ended.
    """
    program = dict(prepare_process(threads))
    outcomes: list[Outcome] = []
    deadline = time.monotonic() + work.seconds
    try:
        lanes = _lanes(work)
    except Exception as error:  # tracing calls the user's functions
        return Done((_failure(work.group, work.trials[0], error),), program)
    while len(outcomes) < len(work.trials):
        program["lanes"] = str(lanes)
        batch = _batch(work.trials[len(outcomes) :], lanes)
        try:
            outcomes += _run_trials(_program(work.group, lanes), batch)
        except KeyboardInterrupt:
            return Done(tuple(outcomes), program, interrupted=True)
        except Exception as error:
            fewer = lanes.halved() if is_out_of_memory(error) else None
            if fewer is None:
                outcomes.append(_failure(work.group, batch[0], error))
                break
            _narrowed()[work.group.key] = fewer
            _program.cache_clear()
            _problem_program.cache_clear()  # its memory is needed
            if outcomes:
                break  # they were run by another program than the next ones will be
            lanes = fewer
            continue
        if time.monotonic() > deadline:
            break
    return Done(tuple(outcomes), program)


def _batch(trials: Sequence[Trial], lanes: Lanes) -> Sequence[Trial]:
    """The first trials that can run at once: they end at the same moment."""
    first = trials[0]
    alike = itertools.takewhile(lambda each: (each.until, each.seconds) == (first.until, first.seconds), trials)
    return list(itertools.islice(alike, lanes.trials))


def _run_trials(program: Program, trials: Sequence[Trial]) -> list[Outcome]:
    requests = [Request(trial.hyperparameters, trial.stage, trial.seed) for trial in trials]
    results = train_trials(program, requests, until=trials[0].until, seconds=trials[0].seconds)
    return [_outcome(trial, result) for trial, result in zip(trials, results, strict=True)]


def _outcome(trial: Trial, result: Trajectory) -> Outcome:
    return Outcome(
        trial,
        result.status,
        reason="",
        traceback="",
        diverged_at=result.diverged_at,
        seconds=result.seconds,
        compile_seconds=result.compile_seconds,
        steps=result.steps,
        curves=result.curves,
        test=result.test,
        evaluations=result.evaluations,
        restored_at=result.restored_at,
    )


def _failure(group: Group, trial: Trial, error: Exception) -> Outcome:
    """Turns an exception into a row: named after the contender if it does not say so itself."""
    reason = str(error)
    if not isinstance(error, UserError):
        owner = f"optimizer '{group.recipe.optimizer.name}' on problem '{group.problem.name}'"
        reason = f"{owner}: raised {type(error).__name__}: {reason}"
    return failed(trial, reason, "".join(traceback.format_exception(error)))


def failed(trial: Trial, reason: str, trace: str = "") -> Outcome:
    """Returns the outcome of a trial that an exception ended."""
    return Outcome(trial, "failed", reason, trace, None, 0.0, 0.0, np.zeros(0, np.int64), {}, {}, Evaluations(0))


class InlineExecutor:
    """Runs everything in this process, one work at a time."""

    slots = 1

    def __init__(self) -> None:
        self._work: Task | None = None

    def submit(self, slot: int, work: Task) -> None:
        """Keeps the work until `next` runs it."""
        self._work = work

    def next(self) -> tuple[int, Done | Timed | UserError]:
        """Runs the work."""
        assert self._work is not None
        try:
            return 0, self._work.run()
        except UserError as error:
            return 0, error

    def close(self) -> None:
        """Nothing to end."""


class DaskExecutor:
    """Runs works on dask workers: single-threaded processes on this machine, or those of a cluster by address."""

    def __init__(self, *, workers: int | None = None, address: str | None = None) -> None:
        """Starts local workers, or connects to a cluster.

        Args:
            workers: how many local processes; None for one per core this process may use.
            address: a scheduler's address, such as ``tcp://10.0.0.1:8786``; its workers are used as they are.

        Raises:
            UserError: if no scheduler answers at `address`, or it has no workers.
        """
        import dask
        from distributed import Client, LocalCluster

        self._resources = ExitStack()
        self._futures: dict[int, Any] = {}
        self._ended: SimpleQueue[int | None] = SimpleQueue()  # slots that are done; None for Ctrl-C
        self._own: dict[str, Any] = {}
        count = workers or len(_cores())
        # Allocation: dask's default trims after every free, which costs a tenth of the training time.
        settings = {
            "distributed.nanny.pre-spawn-environ": {"NPROC": "1", "OMP_NUM_THREADS": "1"},
            "distributed.worker.daemon": True,
            "distributed.comm.timeouts.connect": "10s",
        }
        self._resources.enter_context(dask.config.set(settings))
        try:
            if address is None:
                self._resources.enter_context(_spawned_without_main())
                options: dict[str, Any] = {"threads_per_worker": 1, "memory_limit": 0, "dashboard_address": None}
                # Without a port of its own, dask's status server takes 8787 on all networks, and warns if it cannot.
                options["scheduler_kwargs"] = {"dashboard_address": "127.0.0.1:0"}
                with interrupts_held():
                    cluster = LocalCluster(n_workers=count, silence_logs="CRITICAL", **options)
                self._resources.enter_context(cluster)
            self._client = self._resources.enter_context(Client(address or cluster, set_as_default=False))
            self._resources.enter_context(first_interrupt(lambda: self._ended.put(None)))
        except (OSError, ValueError, RuntimeError) as error:
            self._resources.close()
            what = f"no dask scheduler answers at '{address}'" if address else "the workers could not be started"
            raise UserError(f"{what}: {error}") from None
        self._addresses = list(self._client.scheduler_info(n_workers=-1)["workers"])
        self.slots = len(self._addresses)
        if not self.slots:
            self.close()
            raise UserError(f"the dask cluster at '{address}' has no workers; start some, then run again")

    def submit(self, slot: int, work: Task) -> None:
        """Sends the work to the slot's worker; one's own problem is sent there once."""
        source = work.problem
        own = None
        if source.own is not None:
            if source.key not in self._own:
                self._own[source.key] = self._client.scatter(source.own, broadcast=True, hash=False)
            own = self._own[source.key]
            work = work.with_own(None)
        place = {"workers": [self._addresses[slot]], "allow_other_workers": True}
        self._futures[slot] = self._client.submit(_run_on_worker, work, own, pure=False, **place)
        self._futures[slot].add_done_callback(lambda _: self._ended.put(slot))

    def next(self) -> tuple[int, Done | Timed | UserError]:
        """Waits for any worker; the first Ctrl-C is heard here alone, where no answer can be lost by it."""
        slot = self._wait()
        future = self._futures.pop(slot)
        error = future.exception()
        if error is None:
            return slot, future.result()
        if isinstance(error, UserError):
            return slot, error
        name = type(error).__name__
        if name == "KilledWorker":
            return slot, UserError("the worker process died several times (killed, or out of memory?)")
        return slot, UserError(f"the worker raised {name}: {error}")

    def _wait(self) -> int:
        """Waits for a future to end; gives up when no worker has been there for a while."""
        absences = 0
        while True:
            try:
                slot = self._ended.get(timeout=PATIENCE_SECONDS)
            except Empty:
                absences = 0 if self._client.scheduler_info(n_workers=-1)["workers"] else absences + 1
            else:
                if slot is None:
                    raise KeyboardInterrupt
                return slot
            if absences > 1:
                raise UserError("every worker is gone; what they finished is kept: run the same command again")

    def close(self) -> None:
        """Ends the local workers; a cluster given by address is left as it is."""
        self._resources.close()


def _cores() -> list[int]:
    """The cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def _run_on_worker(work: Task, own: Problem | None) -> Done | Timed:
    """Runs on a dask worker, with one's own problem put back."""
    _prepare_worker()
    return (work if own is None else work.with_own(own)).run()


@cache
def _prepare_worker() -> None:
    """Pins a local worker to a core, before XLA starts the threads that inherit it."""
    from distributed import get_worker

    name = get_worker().name
    cores = _cores()
    if isinstance(name, int) and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {cores[name % len(cores)]})


@contextmanager
def _spawned_without_main() -> Iterator[None]:
    """Lets processes be spawned without importing the user's script again in each of them.

    A script that calls `compare` outside ``if __name__ == "__main__"`` would otherwise start itself over and over. Its
    functions travel to the workers by value and do not need the script. multiprocessing skips a main module that is a
    package's ``__main__``, so for as long as workers may be spawned it is told that this one is.
    """
    main = sys.modules["__main__"]
    before = main.__spec__
    main.__spec__ = ModuleSpec("dlkit.__main__", None)
    try:
        yield
    finally:
        main.__spec__ = before


def make_executor(name: str, *, workers: int | None = None) -> Executor:
    """Makes an executor by name.

    Args:
        name: ``"dask"`` for local worker processes, ``"inline"`` for this process, or a scheduler's address. On an
            accelerator ``"dask"`` is this process too: lanes fill the device, and processes would share its memory.
        workers: how many local processes; None for one per core.

    Returns:
        The executor.

    Raises:
        UserError: for what `check_executor` refuses, or an address that does not answer.
    """
    check_executor(name, workers)
    if name == "inline" or (name == "dask" and on_accelerator()):
        return InlineExecutor()
    return DaskExecutor(workers=workers) if name == "dask" else DaskExecutor(address=name)


def check_executor(name: str, workers: int | None) -> None:
    """Refuses an executor that there is not, before anything starts.

    Raises:
        UserError: for another name than `make_executor` knows, or a number of workers below 1.
    """
    if workers is not None and workers < 1:
        raise UserError(f"workers must be at least 1, got {workers}")
    if name not in ("dask", "inline") and "://" not in name:
        raise UserError(f"no executor '{name}'; expected 'dask', 'inline', or an address such as 'tcp://10.0.0.1:8786'")
