"""What curves can be drawn against: steps, gradients, examples, and seconds where they were measured."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from dlkit.bench.analysis.comparison import Comparison
from dlkit.bench.analysis.contender_result import ContenderResult
from dlkit.bench.analysis.summary import Summary
from dlkit.bench.plan.axes import AXES, Axis
from dlkit.bench.plan.spending import spent
from dlkit.bench.plan.trials import Outcome
from dlkit.bench.report import figure_data

__all__ = ["curve_axes"]

TITLES = {
    "steps": "steps",
    "gradients": "gradients of the loss on a batch",
    "examples": "examples seen",
    "seconds": "seconds of training, warm, without evaluations",
}
DIGITS = 6

Floats = np.ndarray[Any, np.dtype[np.float64]]


def curve_axes(summary: Summary, comparison: Comparison) -> dict[str, Any] | None:
    """Returns where the points of a problem's curves lie on every axis that is known for all of them.

    Args:
        summary: the run.
        comparison: the problem.

    Returns:
        For JSON: ``"own"``, the axis that the budget is counted in; ``"titles"``: axis -> title; ``"at"``: label ->
        axis -> [points] amounts. None where there are no curves.
    """
    problem = comparison.problem
    curves = figure_data.curves(summary, comparison)
    if not curves:
        return None
    per_step = {each.label: each.per_step.estimate for each in comparison.costs}
    at: dict[str, dict[str, list[float]]] = {}
    for curve in curves:
        outcomes = [each for each in curve.result.outcomes if each is not None and each.counts and len(each.steps)]
        points = np.asarray(curve.spent, np.float64)
        steps = per_step.get(curve.result.label, math.nan)
        found = {axis: _amounts(comparison, curve.result, outcomes, points, axis, steps) for axis in AXES}
        at[curve.result.label] = {axis: _rounded(values) for axis, values in found.items() if np.isfinite(values).all()}
    known = [axis for axis in AXES if all(axis in each for each in at.values())]
    known = [axis for axis in known if axis != "examples" or problem.examples[0]]
    amounts = {label: {axis: each[axis] for axis in known} for label, each in at.items()}
    return {"own": problem.axis, "titles": {axis: TITLES[axis] for axis in known}, "at": amounts}


def _amounts(
    comparison: Comparison,
    result: ContenderResult,
    outcomes: Sequence[Outcome],
    points: Floats,
    axis: Axis,
    step_seconds: float,
) -> Floats:
    """[points] what is spent on another axis where so much is spent on the problem's own: the median over trials."""
    problem = comparison.problem
    if axis == problem.axis:
        return points
    if axis == "seconds":
        return _amounts(comparison, result, outcomes, points, "steps", math.nan) * step_seconds
    found = np.full((len(outcomes), len(points)), np.nan)
    other = replace(problem, axis=axis)
    for line, outcome in zip(found, outcomes, strict=True):
        own = spent(problem, result.contender, outcome)
        line[:] = np.interp(points, own, spent(other, result.contender, outcome), right=math.nan)
    known = np.isfinite(found).any(axis=0)
    values = np.full(len(points), np.nan)
    values[known] = np.nanmedian(found[:, known], axis=0)
    last = int(np.flatnonzero(known)[-1]) if known.any() else 0
    if points[last] > 0:  # beyond the end of all trials: as before it
        values[last + 1 :] = points[last + 1 :] * values[last] / points[last]
    return values


def _rounded(values: Floats) -> list[float]:
    return [float(f"{value:.{DIGITS}g}") for value in values]
