"""What a stored trial has to be before numbers are made of it: its parts are of their kinds."""

from collections.abc import Mapping
from typing import Any, get_args, get_type_hints

from dlkit.bench.plan.trials import Outcome

__all__ = ["sound"]

STATUSES = get_args(get_type_hints(Outcome)["status"])
MOST = 2**62


def sound(outcome: Outcome) -> Outcome:
    """Returns a trial as it is.

    Args:
        outcome: as somebody's store has it.

    Raises:
        ValueError: naming the trial and what is wrong with it.
    """
    for what, is_right in _parts(outcome):
        if not is_right:
            raise ValueError(f"trial {outcome.trial.id!r}: its {what} cannot be right")
    return outcome


def _parts(outcome: Outcome) -> list[tuple[str, bool]]:
    """What is looked at, and whether it is right."""
    counts = [*outcome.evaluations, *(each for each in (outcome.diverged_at, outcome.restored_at) if each is not None)]
    return [
        ("identity", _is_identity(outcome.trial.identity)),
        ("status", outcome.status in STATUSES),
        ("reason", isinstance(outcome.reason, str) and isinstance(outcome.traceback, str)),
        ("time", all(map(_is_number, (outcome.seconds, outcome.compile_seconds)))),
        ("counts", all(type(each) is int and 0 <= each < MOST for each in counts)),
        ("curves", all(isinstance(name, str) for name in outcome.curves)),
        ("validation", _are_numbers(outcome.validation)),
    ]


def _is_identity(found: Any) -> bool:
    """Whether what an identity has is of its kind; which parts it has, the plan decides."""
    if not isinstance(found, Mapping):
        return False
    optimizer, problem = found.get("optimizer", {}), found.get("problem", {})
    return (
        isinstance(optimizer, Mapping)
        and isinstance(problem, Mapping)
        and isinstance(optimizer.get("static", {}), Mapping)
        and isinstance(found.get("stage", ""), str)
        and all(type(each := found.get(name, 0)) is int and 0 <= each < MOST for name in ("seed", "steps"))
        and _are_numbers(found.get("hyperparameters", {}))
    )


def _are_numbers(found: Any) -> bool:
    if not isinstance(found, Mapping):
        return False
    return all(isinstance(name, str) and _is_number(each) for name, each in found.items())


def _is_number(value: Any) -> bool:
    return type(value) in (int, float)
