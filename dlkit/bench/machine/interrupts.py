"""Ctrl-C while workers run: which process hears it, and when."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from types import FrameType

__all__ = ["first_interrupt", "interrupts_held"]


@contextmanager
def interrupts_held() -> Iterator[None]:
    """Blocks Ctrl-C while the block runs, and for good in every thread and process that it starts.

    A terminal sends Ctrl-C to the workers too; they must live to hand in the trials they have. This process gets it
    when the block ends.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # its start, else when the first process is spawned, would unblock Ctrl-C
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def first_interrupt(hear: Callable[[], None]) -> Iterator[None]:
    """Lets the first Ctrl-C within the block call `hear` instead of raising; any other does what it did before.

    KeyboardInterrupt comes between any two instructions: an answer that was just taken from a worker would be lost.
    """
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):  # ignored, or not Python's
        yield
        return

    def handle(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, before)
        hear()

    signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
