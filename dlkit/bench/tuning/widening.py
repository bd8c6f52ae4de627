"""Wider spaces: where a winner lies at an edge, the range grows beyond it, and the added part gets points."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import NamedTuple

from dlkit.bench.plan.plan import Expansion, Plan
from dlkit.bench.plan.planned import PlannedContender, PlannedProblem
from dlkit.bench.plan.space import Point, Range
from dlkit.bench.tuning.doubts import Doubts, doubts_of
from dlkit.bench.tuning.history import History
from dlkit.bench.tuning.sampling import beforehand, spread

__all__ = ["MOST_ADDED", "ROUNDS", "expand", "points_beyond"]

ROUNDS = 3  # a winner that is still at an edge after so many keeps its flag
MOST_UNCOUNTED = 16  # points that a study is taken to begin with where seconds decide
MOST_ADDED = 4  # times the points that tuning began with, in one round


class _Slab(NamedTuple):
    """A part of a widened space outside the space before: one range is what was added to it, the others are whole."""

    name: str
    added: Range
    space: Mapping[str, Range | float]


def expand(history: History) -> Plan | None:
    """Widens the spaces whose winners lie at an edge, each on its own problem, and draws points in what was added.

    An edge moves by the width that the range was declared with, on its own scale, as far as `Range.beyond` lets it. The
    added part gets points as densely as the declared space had them (in one round at most `MOST_ADDED` times as many,
    where several ranges are widened), from the same tuner; from Halton's sequence where optuna drew the others. So
    nothing that has been done is done again, and the contender has had more points than those it is compared with.

    Args:
        history: the plan and what has run.

    Returns:
        The plan with wider spaces; None if no winner lies at an edge that can be moved.
    """
    plan, found = history.plan, []
    for problem, contender in plan.cells:
        expansion = _expansion(plan, problem, contender, doubts_of(history, problem, contender))
        if expansion is not None:
            found.append(expansion)
    return replace(plan, expansions=(*plan.expansions, *found)) if found else None


def points_beyond(plan: Plan, problem: PlannedProblem, contender: PlannedContender, study: int) -> list[list[Point]]:
    """Draws a study's points in what was added to a contender's space, for a study that the plan did not have then.

    Args:
        plan: with the expansions.
        problem: where.
        contender: whose.
        study: which.

    Returns:
        [expansions of that contender on that problem][points], in their order.
    """
    before: Mapping[str, Range | float] = contender.space
    drawn = []
    for each in plan.expansions:
        if (each.problem, each.contender) == (problem.name, contender.label):
            drawn.append(_added(plan, problem, contender, _slabs(before, each.space), [study])[0])
            before = each.space
    return drawn


def _expansion(plan: Plan, problem: PlannedProblem, contender: PlannedContender, found: Doubts) -> Expansion | None:
    before = plan.space(problem, contender)
    wider = dict(before)
    for name, side in found.edges.items():
        span, declared = wider[name], contender.space[name]
        assert isinstance(span, Range) and isinstance(declared, Range)
        added = span.beyond(side, declared.width)
        if added is not None:
            wider[name] = Range(min(span.low, added.low), max(span.high, added.high), span.scale)
    slabs = _slabs(before, wider)
    if not slabs:
        return None
    points = _added(plan, problem, contender, slabs, plan.studies(problem, contender))
    return Expansion(problem.name, contender.label, wider, points)


def _slabs(before: Mapping[str, Range | float], after: Mapping[str, Range | float]) -> list[_Slab]:
    """The parts that were added to a space: together they fill what is new, and they do not overlap."""
    wider, slabs = dict(before), []
    for name, span in before.items():
        new = after[name]
        if isinstance(span, Range) and isinstance(new, Range) and new != span:
            low, high = (span.high, new.high) if new.high > span.high else (new.low, span.low)
            added = Range(low, high, span.scale)
            slabs.append(_Slab(name, added, {**wider, name: added}))
            wider[name] = new
    return slabs


def _added(
    plan: Plan, problem: PlannedProblem, contender: PlannedContender, slabs: Sequence[_Slab], studies: Iterable[int]
) -> list[list[Point]]:
    """[studies] Points in these parts, as densely as the declared space had them in the first study."""
    begun_with = len(contender.points) if contender.undrawn == 0 else contender.undrawn or MOST_UNCOUNTED
    shares = [_volume(slab.space, contender.space) for slab in slabs]
    density = begun_with * min(1.0, MOST_ADDED / sum(shares))
    counts = [max(1, round(density * share)) for share in shares]
    return [
        [
            point
            for slab, count in zip(slabs, counts, strict=True)
            for point in _points(plan, contender, slab, count, study)
        ]
        for study in studies
    ]


def _volume(part: Mapping[str, Range | float], whole: Mapping[str, Range | float]) -> float:
    """How large a part is, on the scales of its ranges; the declared space is 1."""
    return math.prod(_relative(span, whole[name]) for name, span in part.items())


def _relative(span: Range | float, declared: Range | float) -> float:
    return span.width / declared.width if isinstance(span, Range) and isinstance(declared, Range) else 1.0


def _points(plan: Plan, contender: PlannedContender, slab: _Slab, count: int, study: int) -> list[Point]:
    tuner = plan.tuner.name
    if tuner == "grid":
        return _grid(contender, slab)
    seed = plan.draw_seed(contender, study)
    return beforehand("random" if tuner == "random" else "halton", slab.space, contender.static, count, seed=seed)


def _grid(contender: PlannedContender, slab: _Slab) -> list[Point]:
    """Continues a grid at the spacing it has; the bound that the added part begins at is on the grid already."""
    axes = []
    for name, span in slab.space.items():
        if not isinstance(span, Range):
            axes.append([float(span)])
            continue
        intervals = len({point.hyperparameters[name] for point in contender.points}) - 1
        count = round(intervals * _relative(span, contender.space[name]))
        if name != slab.name or intervals == 0:
            axes.append(spread(span, count + 1))
            continue
        values = spread(span, max(count, 1) + 1)
        declared = contender.space[name]
        is_above = isinstance(declared, Range) and span.low >= declared.high
        axes.append(values[1:] if is_above else values[:-1])
    names = list(slab.space)
    return [
        Point(
            dict(zip(names, values[: len(names)], strict=True)),
            dict(zip(contender.static, values[len(names) :], strict=True)),
        )
        for values in product(*axes, *contender.static.values())
    ]
