"""A wish to stop: training heeds it between two calls of its executables, where everything can be kept."""

import threading
from collections.abc import Callable

__all__ = ["StoppedAtBoundaryError", "ask_to_stop", "forget_to_stop", "is_asked_to_stop", "stops_when"]

_ASKED = threading.Event()
_ASKING: list[Callable[[], bool]] = []


class StoppedAtBoundaryError(KeyboardInterrupt):
    """Training stopped between two calls, as it was asked to; whoever hears Ctrl-C hears this, too."""


def ask_to_stop() -> None:
    """Asks training in this process to stop before its next call.

    A trial that ends within moments still does. Any thread and any signal handler may ask.
    """
    _ASKED.set()


def is_asked_to_stop() -> bool:
    """Whether training in this process was asked to stop."""
    return _ASKED.is_set() or any(is_asked() for is_asked in _ASKING)


def stops_when(is_asked: Callable[[], bool]) -> None:
    """Lets somebody else ask, too: a worker's driver, through memory that both see.

    Args:
        is_asked: whether training is to stop.
    """
    _ASKING.append(is_asked)


def forget_to_stop() -> None:
    """Takes the wish back, before something else is to train here."""
    _ASKED.clear()
