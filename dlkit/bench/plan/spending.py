"""What trials spend, in the units that a problem's budget is counted in."""

from typing import Any

import numpy as np

from dlkit.bench.plan.planned import PlannedContender, PlannedProblem
from dlkit.bench.plan.trials import Outcome

__all__ = ["ROUNDING", "along_budget", "rows_of", "spent", "spent_by"]

ROUNDING = 1e-9  # of amounts, relative: seconds, thirds of gradients and shares of a budget are floats

Floats = np.ndarray[Any, np.dtype[np.float64]]


def rows_of(problem: PlannedProblem, contender: PlannedContender) -> int:
    """Returns how many examples a contender's gradient is the mean over."""
    own = problem.batch_size if contender.batch_size is None else contender.batch_size
    return own if isinstance(own, int) else max(problem.examples[0], 1)  # a surface has no examples: one point


def spent(problem: PlannedProblem, contender: PlannedContender, outcome: Outcome) -> Floats:
    """Returns what a trial had spent at each point of its curve.

    Everything that is read off curves against cost reads it here.

    Args:
        problem: what was trained.
        contender: by what.
        outcome: of one of its trials.

    Returns:
        [points] steps, gradients, examples or seconds, as the problem's axis says. A loss without a gradient and a
        product with the Hessian count as `Evaluations.in_gradients` says; an example counts once a gradient.
    """
    match problem.axis:
        case "steps":
            amounts: Floats = outcome.steps.astype(np.float64)
        case "gradients":
            amounts = outcome.gradients_so_far
        case "examples":
            amounts = outcome.gradients_so_far * rows_of(problem, contender)
        case "seconds":
            amounts = outcome.steps * (problem.allowance(contender.label).step_seconds or 1.0)
    return amounts


def spent_by(problem: PlannedProblem, contender: PlannedContender, outcome: Outcome, step: float) -> float:
    """Returns what a trial had spent at a step, which need not be one at which metrics were evaluated."""
    return float(np.interp(step, outcome.steps, spent(problem, contender, outcome)))


def along_budget(outcome: Outcome, metric: str, points: int) -> Floats:
    """Returns a metric at equal shares of what a trial may spend.

    Args:
        outcome: of a trial that counts.
        metric: which.
        points: of its curve after step 0, had it made all its steps.

    Returns:
        [points + 1] in the metric's units: at each share the last value within; NaN after the trial's end. One that
        ended only because its next evaluation lay beyond its budget keeps its last value.
    """
    curve, bound = outcome.curves[metric], outcome.trial.gradients
    values = np.full(points + 1, np.nan)
    if bound is None:  # its evaluations lie at equal shares
        values[: len(curve)] = curve
        return values
    shares = np.arange(points + 1) / points * bound
    places = np.searchsorted(outcome.gradients_so_far, shares * (1 + ROUNDING), side="right") - 1
    values[:] = curve[places]
    if outcome.status == "diverged":
        values[shares > outcome.gradients_so_far[-1] * (1 + ROUNDING)] = np.nan
    return values
