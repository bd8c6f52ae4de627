"""What a worker of a cluster does: it says what it is, and runs tasks, each in a process of its own beside dask's.

That process is a worker like those of one machine (`processes`), with the same bounds: what the user's code does there
costs one trial, and dask's process stays in touch with its scheduler. It is another one for each run. Nothing of the
user's is opened in dask's process, and JAX does not start there.
"""

import os
import socket
import threading
import weakref
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from dlkit.bench.errors import UserError
from dlkit.bench.execution.executor import Lost
from dlkit.bench.execution.in_hand import InHand
from dlkit.bench.execution.parcels import Parcel, pack
from dlkit.bench.execution.processes import ProcessExecutor
from dlkit.bench.execution.work import Done, Timed
from dlkit.bench.execution.worker_process import Own
from dlkit.bench.machine.preparation import prepare_process

__all__ = ["Sent", "Unable", "introduced", "run_on_worker", "stop_on_worker"]

KEPT_RUNS = 2  # whose processes are kept: runs may share a cluster. On an accelerator it is one, which fills its memory
GOING = ("closing", "closed", "failed")  # the states of a dask worker that ends


@dataclass(frozen=True, eq=False)
class Sent:
    """A task, as it is sent to a worker.

    Attributes:
        run: of which run it is.
        what: it is, in short.
        parcel: the task, packed, without a problem of the user's own.
        own: the number of that; None where there is none.
    """

    run: str
    what: InHand
    parcel: Parcel
    own: int | None


class Unable(NamedTuple):
    """What a worker answers that cannot start processes any more: no trial has a part in that.

    Attributes:
        reason: why, in words.
    """

    reason: str


class _Introduction(NamedTuple):
    """The task of saying what programs are here."""

    def run(self) -> dict[str, str]:
        """Returns the identity of the programs of this process."""
        return dict(prepare_process())


class _Beside:
    """The processes that train, beside one dask worker: one for each of the last runs, of which one is at work."""

    def __init__(self, worker: Any) -> None:
        self._lock = threading.Lock()
        self._stopped = ""
        self._worker: Callable[[], Any] = weakref.ref(worker)
        self._executor: ProcessExecutor | None = None
        self._runs: dict[str, int] = {}  # run -> slot; the last one is at the end
        self.kept = KEPT_RUNS

    def answer(
        self, run: str, what: InHand, parcel: Parcel, own: Own | None = None
    ) -> Done | Timed | UserError | Lost | Unable:
        """Runs a task, in the process of its run.

        What nobody waits for any more is ended: the driver is gone, or this worker ends.
        """
        from distributed.worker import thread_state  # type: ignore[attr-defined]

        key = getattr(thread_state, "key", None)
        with self._lock:
            try:
                executor, slot = self._ready(run)
                executor.hand_on(slot, what, parcel, own)
                _, answer = executor.next(is_wanted=lambda: self._is_wanted(run, key))
            except UserError as error:  # its workers end before they do anything
                self.close()
                return Unable(str(error))
            except OSError as error:
                self.close()
                return Unable(f"no process can be started: {error}")
            if executor.has_stopped:
                self._runs.clear()
                if self._stopped != run:  # nobody asked for that answer
                    return Lost("left", kind="left")
            return answer

    def is_beside(self, worker: Any) -> bool:
        """Whether it is this worker's: another one may have its address later."""
        return self._worker() is worker

    def stop(self, run: str) -> None:
        """Stops the task of a run: it has a few seconds to answer."""
        self._stopped = run

    def close(self) -> None:
        """Ends the processes."""
        self._runs.clear()
        executor, self._executor = self._executor, None
        if executor is not None:
            with suppress(OSError):
                executor.close()

    def _ready(self, run: str) -> tuple[ProcessExecutor, int]:
        """The executor, and the slot of a process that knows nothing of other runs."""
        is_new = self._executor is None
        if self._executor is None:
            bounds: dict[str, Any] = {"worker_memory": _memory_bound(self._worker()), "bound_by": "--memory-limit"}
            self._executor = ProcessExecutor(workers=KEPT_RUNS, pinned=False, **bounds)
        slot = self._runs.pop(run, None)
        if slot is None:
            free = [each for each in range(self.kept) if each not in self._runs.values()]
            slot = free[0] if free else self._runs.pop(next(iter(self._runs)))
            if not is_new:
                self._executor.renew(slot)
        self._runs[run] = slot
        return self._executor, slot

    def _is_wanted(self, run: str, key: Any) -> bool:
        """Whether somebody waits for the answer of a task."""
        worker = self._worker()
        if self._stopped == run or worker is None or worker.status.name in GOING:
            return False
        task = worker.state.tasks.get(key)
        return task is None or task.state != "cancelled"


_BESIDE: dict[str, _Beside] = {}  # by the address of the dask worker: one process may have several
_LOCK = threading.Lock()


def _beside() -> _Beside:
    """The process beside the dask worker that runs this task."""
    from distributed import get_worker

    worker = get_worker()
    with _LOCK:
        known = _BESIDE.get(worker.address)
        if known is None or not known.is_beside(worker):
            _BESIDE[worker.address] = known = _Beside(worker)
            weakref.finalize(worker, known.close).atexit = False  # the process hears it if this one ends
        return known


def _memory_bound(worker: Any) -> int | None:
    """The bytes at which dask's nanny would end a worker; None where there is none, or it would not."""
    import dask

    limit = worker.memory_manager.memory_limit
    share = dask.config.get("distributed.worker.memory.terminate", False)
    return int(limit * share) if worker.nanny and limit and share else None


def introduced(settings: Mapping[str, Any], run: str) -> dict[str, Any] | str:
    """What this worker is: where, and its programs' identity under JAX's settings, as tasks bring them; or why it
    cannot train.
    """
    if os.name == "nt":
        return "its system is Windows, where dlkit has no worker processes"
    beside = _beside()
    answer: Any = beside.answer(run, InHand("what it is"), replace(pack(_Introduction()), settings=settings))
    match answer:
        case dict():
            beside.kept = KEPT_RUNS if answer.get("device") == "cpu" else 1
            return {"host": socket.gethostname(), "program": answer}
        case Unable() | Lost():
            return f"its process {answer.reason}" if isinstance(answer, Lost) else answer.reason
    return str(answer)


def run_on_worker(sent: Sent, own: Parcel | None) -> Done | Timed | UserError | Lost | Unable:
    """Runs a task beside a worker; the user's own problem is put back into it there.

    Args:
        sent: the task.
        own: a problem of the user's own.
    """
    problem = None if own is None or sent.own is None else Own(sent.own, own)
    return _beside().answer(sent.run, sent.what, sent.parcel, problem)


def stop_on_worker(run: str, dask_worker: Any = None) -> None:
    """Stops what a worker has in hand of a run: called in the thread of dask's that is never busy.

    Args:
        run: which.
        dask_worker: dask says it.
    """
    beside = _BESIDE.get(dask_worker.address)
    if beside is not None:
        beside.stop(run)
