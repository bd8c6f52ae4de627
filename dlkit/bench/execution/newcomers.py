"""Workers of a cluster that come: each is asked what it is, and one with other software is refused."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dlkit.bench.machine.program import jax_settings
from dlkit.bench.store.software import differences, software_digest

__all__ = ["Member", "introduction", "other_software", "question"]

ANSWER_SECONDS = 2.0  # that an answer takes to come from where it lies
# No function of dlkit: a worker that has none ends when it is sent one.
WHO_IS_IT = (
    "__import__('importlib').import_module('dlkit.bench.execution.worker_side').introduced({settings!r}, {run!r})"
)


@dataclass
class Member:
    """A worker of the cluster.

    Attributes:
        address: where it listens.
        where: how messages call it.
        slot: the slot it has; None before it has said what it is, and for one that is refused.
        device: the kind of device that it trains on.
        is_leaving: whether it said that it ends.
    """

    address: str
    where: str
    slot: int | None = None
    device: str = ""
    is_leaving: bool = False


def question(run: str) -> str:
    """Returns what a worker evaluates to say what it is.

    Args:
        run: which run asks.
    """
    settings = {name: getattr(each, "value", each) for name, each in jax_settings().items()}  # no enumerations
    return WHO_IS_IT.format(settings=settings, run=run)


def introduction(future: Any) -> tuple[Any, str]:
    """Returns what a worker said of itself, or why it could not.

    Args:
        future: of the question.
    """
    try:
        said = future.result(timeout=ANSWER_SECONDS)
    except ImportError as error:
        return None, f"it has no dlkit, or another one ({error}); install the same there"
    except Exception as error:
        return None, f"it cannot say what it is: {type(error).__name__}: {error}"
    return (said, "") if isinstance(said, dict) else (None, str(said))


def other_software(theirs: Mapping[str, str], ours: Mapping[str, str]) -> str:
    """Returns in what a worker's software differs from what trials are compared under; empty if in nothing.

    Args:
        theirs: the identity of its programs.
        ours: of those of the run.
    """
    if theirs.keys() >= ours.keys() and software_digest(theirs) == software_digest(ours):
        return ""
    return f"{differences(theirs, ours, there='there', here='here')}; install the same on both"
