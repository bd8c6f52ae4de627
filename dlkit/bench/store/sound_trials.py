"""What a stored trial has to be before numbers are made of it: its parts are of their kinds, and fit each other."""

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
    identity, points = outcome.trial.identity, len(outcome.steps)
    counts = [*outcome.evaluations, *(each for each in (outcome.diverged_at, outcome.restored_at) if each is not None)]
    steps, ran = outcome.steps, outcome.status != "failed"
    return [
        ("identity", _is_identity(identity)),
        ("status", outcome.status in STATUSES),
        ("reason", isinstance(outcome.reason, str) and isinstance(outcome.traceback, str)),
        ("time", all(map(_is_number, (outcome.seconds, outcome.compile_seconds)))),
        ("counts", all(type(each) is int and 0 <= each < MOST for each in counts)),
        ("steps", bool((steps >= 0).all() and (steps[1:] > steps[:-1]).all()) and (points > 0 or not ran)),
        ("curves", all(isinstance(name, str) and len(each) == points for name, each in outcome.curves.items())),
        ("validation", _are_numbers(outcome.validation)),
        ("gradients", outcome.gradients is None or len(outcome.gradients) == points),
        ("restored step", outcome.restored_at is None or points == 0 or outcome.restored_at <= steps[-1]),
    ]


def _is_identity(found: Any) -> bool:
    if not isinstance(found, Mapping):
        return False
    optimizer, problem = found.get("optimizer"), found.get("problem")
    return (
        isinstance(optimizer, Mapping)
        and isinstance(problem, Mapping)
        and isinstance(optimizer.get("static"), Mapping)
        and isinstance(found.get("stage"), str)
        and all(type(found.get(name)) is int and 0 <= found[name] < MOST for name in ("seed", "steps"))
        and _are_numbers(found.get("hyperparameters"))
    )


def _are_numbers(found: Any) -> bool:
    if not isinstance(found, Mapping):
        return False
    return all(isinstance(name, str) and _is_number(each) for name, each in found.items())


def _is_number(value: Any) -> bool:
    return type(value) in (int, float)
