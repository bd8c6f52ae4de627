"""How long a run waits while a cluster has no worker for it."""

from collections.abc import Callable
from typing import NamedTuple

__all__ = ["Waiting"]


def _nothing() -> str:
    return ""


class Waiting(NamedTuple):
    """How long a run waits while there is no worker.

    Attributes:
        seconds: so long; after that it ends, with a message.
        whom: what it waits for, in words.
        why_not: asks whether waiting is of no use; says why, or nothing.
    """

    seconds: float = 60.0
    whom: str = "a worker"
    why_not: Callable[[], str] = _nothing
