"""A metric's values as numbers to compare: lower is better, and a difference means what the metric means."""

import math
from typing import Any

import numpy as np

from dlkit.bench.plan.plan import PlannedProblem
from dlkit.bench.plan.trials import Outcome

__all__ = ["final_value", "oriented", "unoriented"]

Floats = np.ndarray[Any, Any]


def oriented(problem: PlannedProblem, metric: str, values: Any) -> Floats:
    """Turns a metric's values into numbers for comparison: lower is better, differences mean what the metric means.

    Args:
        problem: whose metric it is.
        metric: its name.
        values: any shape; NaN stands for a diverged trial.

    Returns:
        float32 of that shape: log10 of a log-scaled metric, the negative of one that should be high, +inf for NaN. (As
        float64 the rounding of float32 would pass for differences.)
    """
    meaning = problem.metrics[metric]
    numbers = np.asarray(values, np.float64)
    if meaning.scale == "log":
        # 0 is the smallest positive float32; a negative value has no logarithm and counts as diverged
        numbers = np.log10(np.where(numbers < 0, np.nan, np.maximum(numbers, np.finfo(np.float32).tiny)))
    if meaning.higher_is_better:
        numbers = -numbers
    return np.where(np.isnan(numbers), np.inf, numbers).astype(np.float32)


def unoriented(problem: PlannedProblem, metric: str, number: float) -> float:
    """Turns an oriented number back into the metric's own."""
    meaning = problem.metrics[metric]
    value = -number if meaning.higher_is_better else number
    return float(10.0**value) if meaning.scale == "log" and math.isfinite(value) else float(value)


def final_value(outcome: Outcome | None, metric: str) -> float:
    """Returns a trial's metric on validation with its final parameters; NaN if it has none, or has not run."""
    return math.nan if outcome is None else outcome.final(metric)
