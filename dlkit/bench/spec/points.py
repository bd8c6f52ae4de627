"""Draws the points that each contender tries, of each study, as far as they can be drawn before anything runs."""

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from dlkit.bench.errors import UserError, nearest
from dlkit.bench.plan.plan import draw_seed
from dlkit.bench.plan.planned import PlannedContender
from dlkit.bench.plan.policies import ADAPTIVE
from dlkit.bench.plan.space import Point, Range, Space
from dlkit.bench.spec.budget import Budget
from dlkit.bench.spec.entries import Contender
from dlkit.bench.tuning.sampling import beforehand, dimensions, grid_points

__all__ = ["drawn_points", "unknown_on_the_grid"]


def drawn_points(
    entry: Contender, space: Space, static: Mapping[str, Sequence[Any]], budget: Budget
) -> tuple[list[list[Point]], int | None]:
    """Draws what can be drawn before anything runs, of each study; and how many points are drawn later."""
    count = budget.tuning_points
    if budget.tuning_points_per_dimension is not None:
        count = budget.tuning_points_per_dimension * max(dimensions(space, static), 1)
    if count is None or budget.tuner in ADAPTIVE:
        if any(isinstance(span, Range) for span in space.values()):
            return [[] for _ in range(budget.studies)], count
        every = math.prod(map(len, static.values()))  # choices alone: each of them once
        return [grid_points(space, static, every)[:count] for _ in range(budget.studies)], 0
    try:
        draw = partial(beforehand, budget.tuner, space, static, count, counts=budget.grid)
        numbers = range(budget.first_study, budget.first_study + budget.studies)
        return [draw(seed=draw_seed(number, entry.draw)) for number in numbers], 0
    except UserError as error:
        raise UserError(f"optimizer '{entry.name}': {error}") from None


def unknown_on_the_grid(budget: Budget, contenders: Sequence[PlannedContender]) -> list[str]:
    """Names of a grid that no contender has a range for."""
    known = sorted({name for each in contenders for name, span in each.space.items() if isinstance(span, Range)})
    return [
        f"budget.grid: no optimizer has a range for '{name}'; {nearest(name, known)}"
        for name in budget.grid
        if name not in known and known
    ]
