"""What was wrong with trials before their first step, which no setting of an optimizer mends."""

from collections.abc import Iterator, Sequence

import numpy as np

from dlkit.bench.plan.planned import PlannedProblem
from dlkit.bench.plan.trials import Outcome

__all__ = ["wrong_from_start"]


def wrong_from_start(problem: PlannedProblem, outcomes: Sequence[Outcome | None]) -> str:
    """Returns what every trial had wrong at its initial parameters, in words.

    Args:
        problem: what was trained.
        outcomes: of trials that may have had different settings and seeds; None where one has not run.

    Returns:
        Such as ``"the loss is not finite at the initial parameters"``; empty if one trial had all of it right.
    """
    if next(_began(outcomes), None) is None:
        return ""
    if all(each.diverged_at == 0 for each in _began(outcomes)):
        what = "not finite" if problem.diverged_above is None else "not finite, or above diverged_above,"
        return f"the loss is {what} at the initial parameters, before any step"
    for name in sorted(problem.metrics, key=lambda name: name != problem.metric):
        if all(name in each.curves and not np.isfinite(each.curves[name][0]) for each in _began(outcomes)):
            return f"metric '{name}' is not finite at the initial parameters, before any step"
    if problem.judged.scale == "log" and all(_is_negative(problem, each) for each in _began(outcomes)):
        return f"metric '{problem.metric}' is negative, and its scale is logarithmic"
    return ""


def _began(outcomes: Sequence[Outcome | None]) -> Iterator[Outcome]:
    """Those that say something about their start: one that was cut off from outside has no value at all."""
    return (each for each in outcomes if each is not None and each.counts and not each.is_empty)


def _is_negative(problem: PlannedProblem, outcome: Outcome) -> bool:
    values = outcome.curves.get(problem.metric, np.zeros(1))
    return bool((values < -(problem.judged.floor or 0.0)).all())
