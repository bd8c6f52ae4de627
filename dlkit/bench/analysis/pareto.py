"""Quality against cost: what each contender spent, in several units, and who is beaten by nobody in both."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from dlkit.bench.analysis.comparison import Comparison
from dlkit.bench.analysis.contender_result import ContenderResult
from dlkit.bench.analysis.costs import Cost
from dlkit.bench.analysis.step_costs import SAME
from dlkit.bench.plan.spending import rows_of

__all__ = ["ParetoPanel", "ParetoPoint", "front", "pareto"]


class ParetoPoint(NamedTuple):
    """A contender in a panel.

    Attributes:
        result: the contender's; its quality is `ContenderResult.final`.
        cost: of a final trial, mean.
        is_on_front: whether no contender is at least as good and as cheap, and better in one of the two.
    """

    result: ContenderResult
    cost: float
    is_on_front: bool


class ParetoPanel(NamedTuple):
    """Quality against one cost.

    Attributes:
        name: of the cost: ``"steps"``, ``"gradients"``, ``"examples"``, ``"seconds"`` or ``"bytes"``.
        points: of the contenders whose cost is known, the cheapest first.
    """

    name: str
    points: Sequence[ParetoPoint]


def pareto(comparison: Comparison) -> list[ParetoPanel]:
    """Returns quality against what a final trial costs.

    Seconds are those of training: steps times the warm seconds of one. Bytes are of the parameters and the optimizer's
    state. Both need steps that were timed.

    Args:
        comparison: of all contenders on one problem.

    Returns:
        A panel for each cost in which two contenders differ.
    """
    there = [
        (result, cost)
        for result, cost in zip(comparison.results, comparison.costs, strict=True)
        if result.is_comparable and np.isfinite(np.median(result.blocks))
    ]
    every = [(result, _spent(result, cost)) for result, cost in there]
    panels = []
    for name in ("steps", "gradients", "examples", "seconds", "bytes"):
        known = [(result, spent[name]) for result, spent in every if math.isfinite(spent[name])]
        costs = [cost for _, cost in known]
        is_shown = len(known) > 1 and max(costs) > (1 + SAME) * min(costs)
        if name == "examples":  # where all batches are of one size, these are gradients again
            is_shown &= len({rows_of(comparison.problem, result.contender) for result, _ in there}) > 1
        if is_shown:
            on_front = front(costs, [float(np.median(result.blocks)) for result, _ in known])
            points = [ParetoPoint(*each, is_on) for each, is_on in zip(known, on_front, strict=True)]
            panels.append(ParetoPanel(name, sorted(points, key=lambda each: each.cost)))
    return panels


def _spent(result: ContenderResult, cost: Cost) -> dict[str, float]:
    """What a final trial spent, mean, by the name of the cost; NaN where it is not known."""
    ended = [outcome for each in result.studies for outcome in each.ended if len(outcome.steps)]
    steps = float(np.mean([outcome.steps[-1] for outcome in ended])) if ended else math.nan
    timing = cost.timing if cost.timing and not cost.timing.failure else None
    return {
        "steps": steps,
        "gradients": steps * cost.gradients,
        "examples": steps * cost.examples,
        "seconds": steps * cost.per_step.estimate,
        "bytes": float(timing.parameter_bytes + timing.state_bytes) if timing else math.nan,
    }


def front(costs: Sequence[float], scores: Sequence[float]) -> list[bool]:
    """Returns who is not dominated: nobody is at least as cheap and as good, and better in one of the two.

    Args:
        costs: lower is better.
        scores: the same.

    Example:
        >>> front([1.0, 2.0, 3.0], [0.5, 0.9, 0.1])
        [True, False, True]
    """
    both = list(zip(costs, scores, strict=True))
    return [not any(other[0] <= own[0] and other[1] <= own[1] and other != own for other in both) for own in both]
