"""Dask workers as an executor: local processes, or a cluster by its address."""

import atexit
import logging
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from importlib.machinery import ModuleSpec
from queue import Empty, SimpleQueue
from typing import Any
from weakref import WeakKeyDictionary

from dlkit.bench.errors import UserError
from dlkit.bench.execution.parcels import Parcel, pack, unpack
from dlkit.bench.execution.work import Done, Task, Timed
from dlkit.bench.machine.interrupts import first_interrupt, interrupts_held
from dlkit.bench.spec.bound_plan import OwnProblem

__all__ = ["DaskExecutor"]

END_SECONDS = 20.0  # that the end of this process waits for its workers to end
PATIENCE_SECONDS = 15.0  # how long no worker may be seen before a run is given up, twice over
KEPT = "what is finished is kept: run the same command again"


class DaskExecutor:
    """Runs tasks on dask workers: single-threaded processes on this machine, or those of a cluster by address."""

    def __init__(self, *, workers: int | None = None, address: str | None = None, memory: int | None = None) -> None:
        """Starts local workers, or connects to a cluster.

        Args:
            workers: how many local processes; None for one per core this process may use.
            address: a scheduler's address, such as ``tcp://10.0.0.1:8786``; its workers are used as they are.
            memory: bytes that a worker's training examples may take; None for what suits its device.

        Raises:
            UserError: if no scheduler answers at `address`, or it has no workers.
        """
        import dask
        from distributed import Client, LocalCluster

        self._resources, self._processes = ExitStack(), ExitStack()
        self._futures: dict[int, Any] = {}
        self._ended: SimpleQueue[int | None] = SimpleQueue()  # slots that are done; None for Ctrl-C
        self._own: dict[int, tuple[OwnProblem, Any]] = {}  # by the id of what is kept alive here
        self._memory = memory
        count = workers or len(_cores())
        # Allocation: dask's default trims after every free, which costs a tenth of the training time.
        settings = {
            "distributed.nanny.pre-spawn-environ": {"NPROC": "1", "OMP_NUM_THREADS": "1"},
            "distributed.worker.daemon": True,
            "distributed.comm.timeouts.connect": "10s",
            # What nobody looks at: dask samples each process's stack a hundred times a second, and ticks fifty times.
            "distributed.worker.profile.enabled": False,
            "distributed.admin.tick.interval": "1s",
            "distributed.admin.system-monitor.interval": "5s",
        }
        self._resources.enter_context(dask.config.set(settings))
        self._processes.enter_context(_dask_is_silent())
        try:
            if address is None:
                self._resources.enter_context(_spawned_without_main())
                options: dict[str, Any] = {"threads_per_worker": 1, "memory_limit": 0, "dashboard_address": None}
                # Without a port of its own, dask's status server takes 8787 on all networks, and warns if it cannot.
                options["scheduler_kwargs"] = {"dashboard_address": "127.0.0.1:0"}
                with interrupts_held():
                    cluster = LocalCluster(n_workers=count, silence_logs="CRITICAL", **options)
                self._processes.enter_context(cluster)
            self._client = self._processes.enter_context(Client(address or cluster, set_as_default=False))
            self._resources.enter_context(first_interrupt(lambda: self._ended.put(None)))
        except (OSError, ValueError, RuntimeError) as error:
            self.close()
            what = f"no dask scheduler answers at '{address}'" if address else "the workers could not be started"
            raise UserError(f"{what}: {error}") from None
        self._addresses = list(self._client.scheduler_info(n_workers=-1)["workers"])
        self.slots = len(self._addresses)
        if not self.slots:
            self.close()
            raise UserError(f"the dask cluster at '{address}' has no workers; start some, then run again")

    def submit(self, slot: int, work: Task) -> None:
        """Sends a task to the slot's worker; a problem of the user's own is sent there once."""
        problem = work.problem.own
        parcel = pack(work.within(self._memory).with_own(None))
        if problem is not None and id(problem) not in self._own:
            content = pack(problem)
            with _scheduler_is_there():
                self._own[id(problem)] = problem, self._client.scatter(content, broadcast=True, hash=False)
        own = None if problem is None else self._own[id(problem)][1]
        place = {"workers": [self._addresses[slot]], "allow_other_workers": True}
        with _scheduler_is_there():
            self._futures[slot] = self._client.submit(_run_on_worker, parcel, own, pure=False, **place)
            self._futures[slot].add_done_callback(lambda _: self._ended.put(slot))

    def next(self) -> tuple[int, Done | Timed | UserError]:
        """Waits for any worker. The first Ctrl-C is raised here and nowhere else, so that it costs no answer.

        Raises:
            UserError: if no worker is left, or the scheduler is gone.
        """
        slot = self._wait()
        future = self._futures.pop(slot)
        with _scheduler_is_there():
            error = future.exception()
            if error is None:
                return slot, future.result()
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
                with _scheduler_is_there():
                    absences = 0 if self._client.scheduler_info(n_workers=-1)["workers"] else absences + 1
            else:
                if slot is None:
                    raise KeyboardInterrupt
                return slot
            if absences > 1:
                raise UserError(f"every worker is gone; {KEPT}")

    def close(self) -> None:
        """Ends the local workers; a cluster given by address is left as it is.

        They take a second or two to end, which this process can use: it waits for them when it ends itself, at the
        latest.
        """
        self._resources.close()
        # A daemon, so that workers which never end do not keep this process: it waits a while for them at its end.
        thread = threading.Thread(target=self._end_processes, name="dlkit ends its workers", daemon=True)
        thread.start()
        atexit.register(thread.join, END_SECONDS)

    def _end_processes(self) -> None:
        """Ends client and workers; what goes wrong there has no part in what was found."""
        try:
            self._processes.close()
        except Exception as error:
            note = (
                f"note: the workers could not be shut down ({type(error).__name__}: {error}); no result depends on it"
            )
            print(note, file=sys.stderr)  # noqa: T201


@contextmanager
def _scheduler_is_there() -> Iterator[None]:
    """Says it if dask's scheduler does not answer any more; nothing else can go wrong in what is asked of it."""
    try:
        yield
    except Exception:
        raise UserError(f"the dask scheduler is gone, or lost what it held; {KEPT}, once it is there") from None


@contextmanager
def _dask_is_silent() -> Iterator[None]:
    """Leaves it to messages of dlkit to say what dask reports in its log, in the middle of the progress display."""

    def nothing(record: logging.LogRecord) -> bool:
        return False

    names = [name for name in logging.root.manager.loggerDict if name.partition(".")[0] in ("distributed", "tornado")]
    for name in names:
        logging.getLogger(name).addFilter(nothing)
    try:
        yield
    finally:
        for name in names:
            logging.getLogger(name).removeFilter(nothing)


def _cores() -> list[int]:
    """The cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def _run_on_worker(work: Parcel, own: Parcel | None) -> Done | Timed | UserError:
    """Runs a task on a dask worker, with the user's own problem put back into it.

    Nothing of the user's is raised here: the class of an exception may not exist elsewhere.
    """
    _prepare_worker()
    try:
        task: Task = unpack(work)
        return (task if own is None else task.with_own(_opened(own))).run()
    except UserError as error:
        return UserError(str(error))
    except Exception as error:
        return UserError(f"the worker raised {type(error).__name__}: {error}")


# The problems that a worker has opened: as long as dask keeps their parcels.
_OPENED: WeakKeyDictionary[Parcel, OwnProblem] = WeakKeyDictionary()


def _opened(parcel: Parcel) -> OwnProblem:
    if parcel not in _OPENED:
        _OPENED[parcel] = unpack(parcel)
    return _OPENED[parcel]


@cache
def _prepare_worker() -> None:
    """Pins a local worker to a core, and asks for one thread, before XLA starts: it may with the first array."""
    from distributed import get_worker

    os.environ["NPROC"] = "1"
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
