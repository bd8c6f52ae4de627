"""What a stored trial has to be before numbers are made of it: its parts are of their kinds."""

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any, get_args, get_type_hints

from dlkit.bench.plan.trials import Outcome

__all__ = ["require_sound_row", "require_sound_rows", "sound_identity"]

STATUSES = frozenset(get_args(get_type_hints(Outcome)["status"]))
MOST = 2**62
NUMBERS = frozenset((int, float))


def sound_identity(name: str, found: Any) -> dict[str, Any]:
    """Returns what identities share, as it is; which parts it has, the plan decides.

    Args:
        name: its digest.
        found: as somebody's store has it.

    Raises:
        ValueError: if a part is not of its kind.
    """
    optimizer, problem = (found.get(part, {}) if isinstance(found, dict) else None for part in ("optimizer", "problem"))
    is_right = (
        isinstance(optimizer, Mapping)
        and isinstance(problem, Mapping)
        and isinstance(optimizer.get("static", {}), Mapping)
        and isinstance(found.get("stage", ""), str)
        and _is_count(found.get("steps", 0))
    )
    if not is_right:
        raise ValueError(f"identity {name!r} cannot be right")
    return found  # type: ignore[no-any-return]


def require_sound_row(trial: str, counts: Sequence[Any], status: str, numbers: Sequence[Mapping[str, Any]]) -> None:
    """Refuses a trial whose parts are not of their kinds.

    Args:
        trial: its id.
        counts: whole numbers, or None.
        status: how it ended.
        numbers: its hyperparameters, and its values on validation.

    Raises:
        ValueError: naming the trial and what is wrong with it.
    """
    for count in counts:
        if count is not None and not 0 <= count < MOST:
            raise ValueError(f"trial {trial!r}: its counts cannot be right")
    if status not in STATUSES:
        raise ValueError(f"trial {trial!r}: its status cannot be right")
    for each in numbers:
        if not isinstance(each, dict) or not NUMBERS.issuperset(map(type, each.values())):
            raise ValueError(f"trial {trial!r}: its numbers cannot be right")


def require_sound_rows(
    trials: Sequence[str],
    counts: Sequence[Sequence[Any]],
    statuses: Sequence[str],
    numbers: Sequence[Sequence[Mapping[str, Any]]],
) -> None:
    """Refuses trials as `require_sound_row` does: most are sound, and all of those are seen at once.

    Args:
        trials: ids.
        counts: each a column of whole numbers, or None.
        statuses: how they ended.
        numbers: their hyperparameters, and their values on validation.
    """
    is_sound = (
        all(0 <= count < MOST for column in counts for count in {*column} - {None})
        and STATUSES.issuperset(statuses)
        and all({*map(type, each)} <= {dict} for each in numbers)
        and NUMBERS.issuperset(map(type, chain.from_iterable(each.values() for column in numbers for each in column)))
    )
    if not is_sound:
        for row in zip(trials, zip(*counts, strict=True), statuses, zip(*numbers, strict=True), strict=True):
            require_sound_row(*row)


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < MOST
