"""A lease says which trial a worker has in hand, and when it last gave a sign of life: memory that both sides see.

A worker that is gone cannot say what it was at. So it writes it down before: a few numbers in memory that it shares
with the process that it works for. That takes a microsecond a trial, and nobody has to wake up to read it.

A worker's own functions (`takes`, `signs`) do nothing in a process that has no lease.
"""

import mmap
import os
import tempfile
import time
from collections.abc import Callable
from enum import IntEnum
from typing import Any, NamedTuple

from dlkit.bench.machine.boundary import stops_when

__all__ = ["Lease", "Phase", "Sign", "hold", "new_memory", "signs", "takes", "with_signs"]

BYTES = 64
PHASE, TRIAL, WHEN, COMPILING, STOP = range(5)  # places of the numbers; the last is written by the other side
LOWERED = "/jax/core/compile/jaxpr_to_mlir_module_duration"  # JAX says it when XLA begins to compile
COMPILED = "/jax/core/compile/backend_compile_duration"
SEGMENT = "segment"  # the function whose first call trains


class Phase(IntEnum):
    """What a worker is at."""

    STARTING = 0
    OPENING = 1  # what it was sent, which may run code of the user's
    PREPARING = 2  # a trial: data, tracing, compiling
    TRAINING = 3
    WAITING = 4


class Sign(NamedTuple):
    """What a lease says.

    Attributes:
        phase: what the worker is at.
        trial: the place of the trial in hand in its work.
        silent: seconds since it last gave a sign.
        is_compiling: whether XLA compiles.
    """

    phase: Phase
    trial: int
    silent: float
    is_compiling: bool


def new_memory() -> int:
    """Returns a file descriptor of memory for a lease; it is zero."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("dlkit lease")
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.ftruncate(descriptor, BYTES)
    return descriptor


class Lease:
    """The numbers of a worker, in memory that two processes share."""

    def __init__(self, descriptor: int) -> None:
        """Maps the memory.

        Args:
            descriptor: of `new_memory`; it can be closed afterwards.
        """
        self._memory = mmap.mmap(descriptor, BYTES)
        self._numbers = memoryview(self._memory).cast("q")

    def read(self) -> Sign:
        """Returns what it says."""
        numbers = self._numbers
        silent = (time.monotonic_ns() - numbers[WHEN]) / 1e9 if numbers[WHEN] else 0.0
        return Sign(Phase(numbers[PHASE]), numbers[TRIAL], max(silent, 0.0), bool(numbers[COMPILING]))

    def stop(self) -> None:
        """Asks the worker to answer soon: to stop before the next call of what trains, and to keep what it has."""
        self._numbers[STOP] = 1

    @property
    def is_to_stop(self) -> bool:
        """Whether it was asked to."""
        return bool(self._numbers[STOP])

    def write(self, phase: Phase | None = None, *, trial: int | None = None, compiling: bool | None = None) -> None:
        """Gives a sign of life, and says what is new."""
        numbers = self._numbers
        if trial is not None:
            numbers[TRIAL] = trial
        if compiling is not None:
            numbers[COMPILING] = compiling
        if phase is not None:
            numbers[PHASE] = phase
        numbers[WHEN] = time.monotonic_ns()

    def close(self) -> None:
        """Gives the memory back."""
        self._numbers.release()
        self._memory.close()


# --- of this process, if it is a worker ---

_HELD: list[Lease] = []


def hold(lease: Lease) -> None:
    """Makes a lease this process's: it hears from JAX when XLA compiles, which is no time of training."""
    import jax

    def listen(event: str, duration_secs: float, **facts: Any) -> None:
        if event == LOWERED:
            lease.write(compiling=True)
        elif event == COMPILED:
            trains = SEGMENT in str(facts.get("fun_name", "")) and lease.read().phase == Phase.PREPARING
            lease.write(Phase.TRAINING if trains else None, compiling=False)

    jax.monitoring.register_event_duration_secs_listener(listen)
    _HELD[:] = [lease]
    stops_when(lambda: lease.is_to_stop)


def takes(trial: int) -> None:
    """A trial begins: the one at this place of the work in hand."""
    if _HELD:
        _HELD[0].write(Phase.PREPARING, trial=trial, compiling=False)


def signs() -> None:
    """A trial goes on."""
    if _HELD:
        _HELD[0].write(Phase.TRAINING)


def with_signs(segment: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a function that gives a sign of life whenever it has been called."""
    if not _HELD:
        return segment

    def signing(*arguments: Any) -> Any:
        result = segment(*arguments)
        signs()
        return result

    return signing
