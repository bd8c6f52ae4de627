"""A metric's values as numbers to compare: lower is better, and a difference means what the metric means.

What is smaller than the metric's floor is rounding, and counts as the floor: `oriented` is the one place where values
are raised to it, and all comparisons take their numbers from there. A value at the floor is a bound, so a difference to
it is one, too: `floored` says in which direction.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from dlkit.bench.plan.metric import Metric
from dlkit.bench.plan.planned import PlannedProblem
from dlkit.bench.plan.trials import Outcome

__all__ = ["EXACT", "SMALLEST", "Floored", "at_floor", "final_value", "floored", "oriented", "unoriented"]

Floats = np.ndarray[Any, Any]

SMALLEST = float(np.finfo(np.float32).tiny)  # what 0 is on a log scale without a floor


class Floored(NamedTuple):
    """In which directions a difference of oriented scores may be larger than it looks, since a score is at the floor.

    Attributes:
        below: whether the true difference may lie below the one of the scores.
        above: whether it may lie above.
    """

    below: bool
    above: bool


EXACT = Floored(False, False)


def oriented(problem: PlannedProblem, metric: str, values: Any) -> Floats:
    """Turns a metric's values into numbers for comparison: lower is better, differences mean what the metric means.

    Args:
        problem: whose metric it is.
        metric: its name.
        values: any shape; NaN stands for a diverged trial.

    Returns:
        float32 of that shape: log10 of a log-scaled metric, the negative of one that should be high, +inf for NaN. (As
        float64 the rounding of float32 would pass for differences.) None is below the metric's floor.
    """
    meaning = problem.metrics[metric]
    numbers = np.asarray(values, np.float64)
    floor = _floor(meaning)
    if meaning.scale == "log":
        # A negative value has no logarithm and counts as diverged, unless it is as small as rounding may be.
        rounding = 0.0 if meaning.floor is None else floor
        numbers = np.log10(np.where(numbers < -rounding, np.nan, np.maximum(numbers, floor)))
    else:
        numbers = np.maximum(numbers, floor)
    if meaning.higher_is_better:
        numbers = -numbers
    return np.where(np.isnan(numbers), np.inf, numbers).astype(np.float32)


def unoriented(problem: PlannedProblem, metric: str, number: float) -> float:
    """Turns an oriented number back into the metric's own."""
    meaning = problem.metrics[metric]
    value = -number if meaning.higher_is_better else number
    return float(10.0**value) if meaning.scale == "log" and math.isfinite(value) else float(value)


def at_floor(problem: PlannedProblem, metric: str, scores: Any) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Says which oriented scores are at the metric's floor, so that they are bounds.

    Args:
        problem: whose metric it is.
        metric: its name.
        scores: any shape, from `oriented`.

    Returns:
        The same shape. On a log scale without a floor, what is exactly 0; on a linear scale without one, none.
    """
    meaning, numbers = problem.metrics[metric], np.asarray(scores, np.float64)
    floor = _floor(meaning)
    if math.isinf(floor):
        return np.zeros(numbers.shape, np.bool_)
    # Clipped values are exactly there; the tolerance is for means of them.
    is_there = np.isclose(numbers, float(oriented(problem, metric, floor)), rtol=1e-6, atol=1e-12)
    return np.asarray(is_there, np.bool_)


def floored(problem: PlannedProblem, ours: Any, theirs: Any, *, differ: Any) -> Floored:
    """Says in which directions the difference of two contenders' scores is a bound, since one of them is at the floor.

    Two scores that are both at the floor tie: they cannot be told apart. Two means with a seed there each may differ
    all the same, and then both are bounds.

    Args:
        problem: whose judged metric was scored.
        ours: [blocks] whether a block's score is at the floor, from `at_floor`; of a mean, whether one of its seeds is.
        theirs: the same of the contender that is subtracted.
        differ: [blocks] whether the two scores of a block differ.

    Returns:
        Whether the true difference of our scores from theirs may lie below or above the one of the scores.
    """
    # The floor raises values. Where lower is better that makes scores worse, so that the true score lies below.
    ours_open, theirs_open = bool((ours & (~theirs | differ)).any()), bool((theirs & (~ours | differ)).any())
    return Floored(theirs_open, ours_open) if problem.judged.higher_is_better else Floored(ours_open, theirs_open)


def _floor(meaning: Metric) -> float:
    if meaning.floor is not None:
        return meaning.floor
    return SMALLEST if meaning.scale == "log" else -math.inf


def final_value(outcome: Outcome | None, metric: str) -> float:
    """Returns a trial's metric with its final parameters, on its curves' split; NaN if it has none, or has not run."""
    return math.nan if outcome is None else outcome.final(metric)
