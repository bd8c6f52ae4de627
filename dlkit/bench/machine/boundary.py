"""A wish to stop: training heeds it between two calls of its executables, where everything can be kept."""

import threading

__all__ = ["StoppedAtBoundaryError", "ask_to_stop", "forget_to_stop", "is_asked_to_stop"]

_ASKED = threading.Event()


class StoppedAtBoundaryError(KeyboardInterrupt):
    """Training stopped between two calls, as it was asked to; whoever hears Ctrl-C hears this, too."""


def ask_to_stop() -> None:
    """Asks training in this process to stop before its next call.

    A trial that ends within moments still does. Any thread and any signal handler may ask.
    """
    _ASKED.set()


def is_asked_to_stop() -> bool:
    """Whether training in this process was asked to stop."""
    return _ASKED.is_set()


def forget_to_stop() -> None:
    """Takes the wish back, before something else is to train here."""
    _ASKED.clear()
