"""Several processes that train every trial together, over all of their devices: `jax.distributed`.

Each runs the same command. The first one plans, stores and reports; it sends each task to all others, and all run it at
once, since the sums over devices need every process. No clock but the first one's decides anything.
"""

import os
import pickle
import threading
import traceback
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import jax
import numpy as np

from dlkit.bench.errors import UserError
from dlkit.bench.execution.executor import Executor
from dlkit.bench.execution.memory import memory_bytes
from dlkit.bench.execution.parcels import pack, unpack
from dlkit.bench.execution.progress import say
from dlkit.bench.execution.resources import Resources
from dlkit.bench.execution.step_times import needs_step_times
from dlkit.bench.execution.work import Done, Task, Timed, Work, forget_own_programs
from dlkit.bench.machine.boundary import ask_to_stop, forget_to_stop, is_asked_to_stop
from dlkit.bench.machine.interrupts import ends_in_time, first_interrupt
from dlkit.bench.spec.bound_plan import BoundPlan, OwnProblem

__all__ = ["TogetherExecutor", "follow", "follows", "join", "make_executor", "over_all", "telling_the_others"]

END_SECONDS = 4.5  # that a call of what trains may go on after Ctrl-C
HOW = "docs/cluster.md (More than one device) shows how to start them"


def join() -> None:
    """Joins the other processes, unless that was done already.

    In a SLURM job, under Open MPI and on TPUs JAX finds them by itself; elsewhere JAX_COORDINATOR_ADDRESS,
    JAX_NUM_PROCESSES and JAX_PROCESS_ID tell them.

    Raises:
        UserError: if they cannot be found.
    """
    if jax.distributed.is_initialized():
        return
    os.environ["NPROC"] = "1"  # as of every process that trains; before JAX starts
    count, place = (os.environ.get(f"JAX_{name}") for name in ("NUM_PROCESSES", "PROCESS_ID"))
    try:
        told = {"num_processes": int(count) if count else None, "process_id": int(place) if place else None}
        jax.distributed.initialize(**told)  # type: ignore[arg-type]
    except (ValueError, RuntimeError) as error:
        raise UserError(f"executor 'jax.distributed': the other processes cannot be found ({error}); {HOW}") from None


def follows() -> bool:
    """Whether this process does what another one says."""
    return jax.process_index() > 0


def over_all(bound: BoundPlan, devices: int | None) -> BoundPlan:
    """Returns a plan with every batch split over the devices of all processes.

    Args:
        bound: the plan.
        devices: over how many; None for all.

    Raises:
        UserError: for what several processes cannot do, and for batches that cannot be split so.
    """
    if bound.plan.timing or needs_step_times(bound.plan):
        raise UserError(
            "executor 'jax.distributed': steps are not timed by several processes together; leave out timing, and "
            "count the budget in steps, gradients or examples"
        )
    return bound.over(jax.device_count() if devices is None else devices)


def make_executor(resources: Resources) -> Executor:
    """Returns the executor of the first process."""
    return TogetherExecutor(memory_bytes(resources.memory))


class TogetherExecutor:
    """Runs tasks in this process and in all others at once, one at a time."""

    slots = 1
    vacant: Collection[int] = ()
    program: Mapping[str, str] | None = None

    def __init__(self, memory: int | None = None) -> None:
        self._memory = memory
        self._work: Task | None = None
        self._own: dict[int, OwnProblem] = {}  # by the id of what is kept alive here: it is sent once
        self._resources = ExitStack()
        self._resources.callback(forget_own_programs)
        self._resources.callback(forget_to_stop)
        self._resources.enter_context(ends_in_time(END_SECONDS))  # a call cannot be stopped in its middle
        self._resources.enter_context(first_interrupt(_give_up))  # the second Ctrl-C
        self._resources.enter_context(first_interrupt(ask_to_stop))

    def submit(self, slot: int, work: Task) -> None:
        """Sends the task to the other processes."""
        self._work = work.within(self._memory)
        if isinstance(self._work, Work):
            self._work = self._work._replace(checkpoints=None)  # of which each process could hold but a part
        own = work.problem.own
        is_new = own is not None and id(own) not in self._own
        if own is not None:
            self._own[id(own)] = own
        _send((pack(self._work.with_own(None)), own and id(own), pack(own) if is_new else None))

    def next(self) -> tuple[int, Done | Timed | UserError]:
        """Runs the task. Ctrl-C stops it between two calls, in all processes; a second one at once, in this one.

        A call that goes on for seconds after Ctrl-C ends with this process, and JAX ends the others, which wait for it.
        """
        assert self._work is not None
        _TRAINING.set()
        try:
            done = self._work.run()
        except UserError as error:
            _TRAINING.clear()
            return 0, error
        _TRAINING.clear()  # not after another exception: the others are in the middle of it
        if isinstance(done, Done):
            done = done._replace(interrupted=done.interrupted or is_asked_to_stop())
        return 0, done

    def close(self) -> None:
        """Lets go of Ctrl-C, and of the user's own programs."""
        self._resources.close()


_TRAINING = threading.Event()  # set while the others take part, and wait for this process


def _give_up() -> None:
    """Ends this process at once; JAX ends those that wait for it."""
    say("given up in the middle of a trial, and the other processes with it; what is finished is kept")
    os._exit(130)


def follow() -> Any:
    """Runs what the first process sends, until it says what came of it all.

    Returns:
        What it says.

    Raises:
        UserError: that ended it.
    """
    known: dict[int, Any] = {}
    with first_interrupt(lambda: None):  # the first process hears it too, and says when it is over
        while True:
            message = _received()
            if isinstance(message, _End):
                break
            parcel, owner, own = message
            if own is not None:
                known[owner] = unpack(own)
            task: Task = unpack(parcel)
            with suppress(UserError):  # the first process has the same, and says it
                task.with_own(known.get(owner)).run()
    forget_own_programs()
    return message.open()


class _End:
    """What came of a run: an answer, or an error."""

    def __init__(self, answer: Any = None, error: str | None = None) -> None:
        self.answer, self.error = answer, error

    def open(self) -> Any:
        """Returns the answer, or raises the error."""
        if self.error is not None:
            raise UserError(self.error)
        return self.answer


@contextmanager
def telling_the_others() -> Iterator[list[Any]]:
    """Sends what the block puts into the list to the processes that follow; or the error that ends it."""
    said: list[Any] = []
    try:
        yield said
    except BaseException as error:
        if _TRAINING.is_set():  # they would never hear it
            traceback.print_exc()
            os._exit(error.code if isinstance(error, SystemExit) and isinstance(error.code, int) else 1)
        _send(_End(error=str(error) or type(error).__name__))
        raise
    _send(_End(said[0]))


def _send(message: Any) -> None:
    content = np.frombuffer(pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL), np.uint8)
    _broadcast(np.array(divmod(len(content), 2**16), np.uint32))
    _broadcast(np.pad(content, (0, _room(len(content)) - len(content))))


def _received() -> Any:
    high, low = map(int, _broadcast(np.zeros(2, np.uint32)))
    length = high * 2**16 + low
    return pickle.loads(_broadcast(np.zeros(_room(length), np.uint8))[:length].tobytes())


def _room(length: int) -> int:
    """A power of two: few lengths, so that few programs are compiled."""
    return 1 << max(length - 1, 1).bit_length()


def _broadcast(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    from jax.experimental import multihost_utils

    return np.asarray(multihost_utils.broadcast_one_to_all(array))
