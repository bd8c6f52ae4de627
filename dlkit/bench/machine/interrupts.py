"""Ctrl-C and the other signals that ask a process to end: which process hears them, when, and how long it takes.

A run hears three: SIGINT (Ctrl-C), SIGTERM (a queue, a service manager), SIGHUP (the terminal is gone). Python makes an
exception of the first alone; the command line makes the same one of the others (`heard_like_ctrl_c`). A script of the
user's that has not asked for that ends at once, and its workers with it.
"""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

__all__ = [
    "ending_signal",
    "ends_in_time",
    "first_interrupt",
    "heard_like_ctrl_c",
    "settled",
]

ENDING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
AT_ONCE_SECONDS = 0.5  # that Python has to hear a second Ctrl-C in
AGAIN_SECONDS = 0.02  # until a signal comes again that came where Python cannot raise

_HEARD: list[int] = []  # the signals that came, in order
_SETTLED = threading.Event()  # set where nothing that takes long is left to do
_TIMED = threading.Event()  # set while this process ends in time


def settled() -> None:
    """Says that all that takes long is over: what is left to do has the time that it needs."""
    _SETTLED.set()


def ending_signal() -> int:
    """Returns the signal that this process was last asked to end by; Ctrl-C's if nobody knows."""
    return _HEARD[-1] if _HEARD else signal.SIGINT


@contextmanager
def heard_like_ctrl_c() -> Iterator[None]:
    """Lets every signal that asks for the end raise KeyboardInterrupt while the block runs.

    One that is ignored, as `nohup` has it, stays so. Python drops what is raised in a finalizer, or in a callback of
    its garbage collector, such as JAX's: such a signal comes again.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in ENDING}
    say_dropped = sys.unraisablehook

    def handle(number: int, frame: FrameType | None) -> None:
        _HEARD.append(number)
        raise KeyboardInterrupt

    def raise_again(dropped: "sys.UnraisableHookArgs") -> None:
        if issubclass(dropped.exc_type, KeyboardInterrupt):
            timer = threading.Timer(AGAIN_SECONDS, signal.raise_signal, (ending_signal(),))
            timer.daemon = True
            timer.start()
        else:
            say_dropped(dropped)

    for number, handler in before.items():
        if handler not in (signal.SIG_IGN, None):
            signal.signal(number, handle)
    sys.unraisablehook = raise_again
    try:
        yield
    finally:
        sys.unraisablehook = say_dropped
        for number, handler in before.items():
            if handler is not None:
                signal.signal(number, handler)


@contextmanager
def first_interrupt(hear: Callable[[], Any]) -> Iterator[None]:
    """Lets the first Ctrl-C within the block call `hear` instead of raising; any other does what it did before.

    So it is with the other signals that raise. KeyboardInterrupt comes between any two instructions: an answer that was
    just taken from a worker would be lost.
    """
    before = {number: handler for number in ENDING if callable(handler := signal.getsignal(number))}
    if threading.current_thread() is not threading.main_thread() or not before:  # ignored, or not Python's
        yield
        return

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def handle(number: int, frame: FrameType | None) -> None:
        restore()
        _HEARD.append(number)
        hear()

    for number in before:
        signal.signal(number, handle)
    try:
        yield
    finally:
        restore()


@contextmanager
def ends_in_time(seconds: float) -> Iterator[None]:
    """Ends this process so long after the first signal that asks for it, whatever it is at; after the second at once.

    Python hears a signal only between two of its own instructions: not while XLA compiles, or a function of C runs. So
    a thread listens, too. What a process writes to its store is whole or not there, whenever it ends. Within such a
    block another one changes nothing.

    Args:
        seconds: from the first signal on, unless `settled` was called by then.
    """
    if threading.current_thread() is not threading.main_thread() or os.name == "nt" or _TIMED.is_set():
        yield
        return
    _TIMED.set()
    wake, woken = os.pipe()
    os.set_blocking(woken, False)
    before = signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
    handled = len(_HEARD)
    over = threading.Event()  # this block is: another one may be there when a timer of this one rings
    _SETTLED.clear()

    def listen() -> None:
        came = 0
        while numbers := os.read(wake, 64):
            for number in numbers:
                if number in ENDING:
                    came += 1
                    timer = threading.Timer(seconds if came == 1 else AT_ONCE_SECONDS, late, (number, came))
                    timer.daemon = True
                    timer.start()
        os.close(wake)

    def late(number: int, came: int) -> None:
        is_unheard = came > 1 and len(_HEARD) - handled < came
        if not over.is_set() and not _SETTLED.is_set() and (came == 1 or is_unheard):
            _leave(128 + number)

    threading.Thread(target=listen, name="dlkit hears signals", daemon=True).start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        over.set()
        os.close(woken)
        _TIMED.clear()


def _leave(status: int) -> None:
    """Ends this process, without its memory of what was to be done."""
    with contextlib.suppress(OSError, ValueError):
        if sys.stderr.isatty():
            os.write(2, b"\x1b[?25h")  # a bar may have hidden the cursor
        os.write(2, b"\ninterrupted\n")
    os._exit(status)
