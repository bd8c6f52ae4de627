"""One preparation for every process that trains: how many threads XLA, linear algebra and OpenMP use.

The number of threads decides in what order numbers are summed, and so the last bits of a trial. So there is one of each
kind, in the command line, its workers, a replay, `bench.train` and the tests alike, on one core or on sixty-four.

- A process of dlkit's own, the command line or a worker, is made so for good: `prepare_own_process`, the first thing
  that it does. A child is started with `thread_variables`, which a library reads when it is loaded.
- A process of the user's, such as a notebook, lends its libraries for as long as dlkit computes: `bound_threads` sets
  them at run time, and gives back what they had. XLA alone cannot be set again: its threads are made when JAX first
  computes. If that was before dlkit trains in this process, the program's identity says how many there are.

Nothing of a trial is computed by OpenMP, unless the library of linear algebra makes its threads by it.
"""

import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache, partial
from typing import Any

from dlkit.bench.machine.linear_algebra import libraries

__all__ = [
    "bound_threads",
    "fill_standard_descriptors",
    "prepare_own_process",
    "prepare_process",
    "start_jax",
    "thread_variables",
]

# Libraries of linear algebra and OpenMP, which read these when they are loaded.
LIBRARIES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
XLA = "NPROC"  # XLA reads it when JAX first computes


def thread_variables(threads: int = 1) -> dict[str, str]:
    """Returns the environment variables that a process which trains is started with, beside those that it has.

    Args:
        threads: of each kind.
    """
    return dict.fromkeys((XLA, *LIBRARIES), str(threads))


def fill_standard_descriptors() -> None:
    """Opens nothing in the place of the standard input, output and error that are closed, as a daemon's are.

    What is opened next would have their numbers: a worker's pipe, which the worker's own output then replaces.
    """
    descriptor = 0
    while descriptor <= 2:
        descriptor = os.open(os.devnull, os.O_RDWR)
        os.set_inheritable(descriptor, descriptor <= 2)
    os.close(descriptor)


def prepare_own_process(threads: int = 1) -> None:
    """Makes this process one that computes with so many threads, for good: a worker, or the command line.

    It is called before NumPy is imported, where that can be; else what is loaded already is set at run time. Nothing is
    imported here.

    Args:
        threads: of each kind.
    """
    os.environ.update(thread_variables(threads))
    if "numpy" in sys.modules or "scipy" in sys.modules:
        _set_libraries(threads)


class _Lent:
    """What the user's libraries had before dlkit began to compute. Several threads may compute at once."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.depth = 0
        self.give_back: list[Callable[[], Any]] = []


_LENT = _Lent()


@contextmanager
def bound_threads(threads: int = 1) -> Iterator[None]:
    """Lets linear algebra use so many threads while the block runs, and gives it back what it had.

    Within such a block another one changes nothing. What the user's own code computes meanwhile, in other threads, has
    as few. Environment variables stay as they are, so that what is loaded meanwhile, such as scikit-learn's OpenMP, is
    what it would have been.

    Args:
        threads: of SciPy's library, which JAX calls, and of NumPy's.
    """
    with _LENT.lock:
        if not _LENT.depth:
            _LENT.give_back = _set_libraries(threads)
        _LENT.depth += 1
    try:
        yield
    finally:
        with _LENT.lock:
            _LENT.depth -= 1
            if not _LENT.depth:
                for give_back in _LENT.give_back:
                    give_back()


def _set_libraries(threads: int) -> list[Callable[[], Any]]:
    """Sets what SciPy and NumPy call; returns what sets each back."""
    back: list[Callable[[], Any]] = []
    for each in libraries():
        if each.get is not None and each.set is not None:
            before = each.get()
            if before != threads:
                each.set(threads)
                back.append(partial(each.set, before))
    return back


@cache
def start_jax(threads: int) -> None:
    """Starts JAX with so many threads of XLA's, if it has not started yet, and configures it.

    Args:
        threads: the size of XLA's pool.
    """
    import jax

    from dlkit.bench.machine.environment import configure_jax

    before = os.environ.get(XLA)
    os.environ[XLA] = str(threads)
    try:
        configure_jax()
        jax.devices()  # reads it, once and for all
    finally:  # it is for this process alone: what the user starts later has its own
        os.environ.pop(XLA) if before is None else os.environ.update({XLA: before})


def prepare_process(threads: int = 1) -> Mapping[str, str]:
    """Makes this process ready to train and returns the identity of its programs, which JAX's configuration is part of.

    Args:
        threads: the size of XLA's thread pool; one, so that a process per core is fastest and no core count changes
            bits. It has an effect until JAX first computes something: the identity says what it really is.

    Returns:
        The program's identity.

    Raises:
        UserError: if this JAX computes wrong sums here.
    """
    from dlkit.bench.machine.program import program_identity

    _ready(threads)
    return program_identity()


@cache
def _ready(threads: int) -> None:
    from dlkit.bench.machine.canaries import require_right_sums
    from dlkit.bench.machine.kept_programs import bound_programs

    start_jax(threads)
    bound_programs()
    require_right_sums()
