"""What tuning found: the best of the points that were tried, and reasons to doubt it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from dlkit.bench.plan.planned import PlannedContender, PlannedProblem
from dlkit.bench.plan.space import Point, Range, Side
from dlkit.bench.plan.trials import Trial
from dlkit.bench.stats import rank_correlation, tuning_curve
from dlkit.bench.tuning.history import History
from dlkit.bench.tuning.search import Search, search

__all__ = ["FEWEST_FINITE", "Tuning", "at_edges", "tune"]

FEWEST_FINITE = 3
EDGE_CORRELATION = 0.5

Floats = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class Tuning:
    """What tuning a contender on a problem found in one study.

    Attributes:
        points: what was tried.
        scores: [points] the mean over tuning seeds, oriented: lower is better, +inf where a seed diverged. A point that
            successive halving dropped has the score at which it was. Of the tuner's objective, as `mean_scores` says.
            One that was scored again has the mean over all its seeds.
        winner: index of the best point; None if none trained to the end, or not all have run.
        finite: how many points trained on every seed.
        trials: how many trials tuning has, as far as is known.
        missing: how many of them have not run; there is no winner before all have.
        needed: how many points should have trained: `FEWEST_FINITE`, or all where there are only choices to try.
        ran: [points] whether a point has run on every tuning seed.
        until: [points] the evaluation that a point's score is from; None for the last one.
        known: the trials that are known by now.
        seconds: of training that those took which have run.
        finals: [points] as `scores`, of final values whatever the objective: what figures show.
        first: [points] final values on the first rung, which all points have.
        standing: [points] which are better: `scores`, or ranks where successive halving dropped points.
        space: hyperparameter -> range or fixed number.
        in_order: whether points are in no random order: those of an adaptive tuner.
    """

    points: Sequence[Point]
    scores: Floats
    winner: int | None
    finite: int
    trials: int
    missing: int
    needed: int = FEWEST_FINITE
    ran: Sequence[bool] = ()
    until: Sequence[int | None] = ()
    known: Sequence[Trial] = ()
    seconds: float = 0.0
    finals: Floats = field(default_factory=lambda: np.zeros(0))
    first: Floats = field(default_factory=lambda: np.zeros(0))
    standing: Floats = field(default_factory=lambda: np.zeros(0))
    space: Mapping[str, Range | float] = field(default_factory=dict)
    in_order: bool = False

    @property
    def point(self) -> Point | None:
        """The best point."""
        return None if self.winner is None else self.points[self.winner]

    @cached_property
    def curve(self) -> Floats:
        """[points] Expected best final value of the first 1, 2, ... points drawn, oriented.

        For an adaptive tuner, whose points are in no random order, the best so far. With successive halving, of the
        first rung.
        """
        is_sample = self.first.size and not self.in_order
        return tuning_curve(self.first) if is_sample else np.minimum.accumulate(self.first)

    @cached_property
    def edges(self) -> Mapping[str, Side]:
        """Hyperparameters whose best value is the outermost tried, with scores improving towards that edge, as
        name -> ``"lower"`` or ``"upper"``.
        """
        return {} if self.winner is None else at_edges(self.points, self.standing, self.winner, self.space)

    @property
    def gain(self) -> float:
        """How much the last doubling of points improved the expected best, in oriented units."""
        count = self.first.size
        if count < 2 or not np.isfinite(self.first).any():
            return 0.0
        return float(self.curve[math.ceil(count / 2) - 1] - self.curve[-1])

    @property
    def too_few(self) -> bool:
        """Whether fewer points trained than a winner needs to be trusted."""
        return self.finite < self.needed


def tune(history: History, problem: PlannedProblem, contender: PlannedContender, *, study: int = 0) -> Tuning:
    """Summarizes a study of a contender on a problem.

    Args:
        history: the plan and the outcomes so far.
        problem: what is trained.
        contender: by what.
        study: which of the plan's studies.

    Returns:
        What tuning found.
    """
    return history.answer(_tune, problem, contender, study)


def _tune(history: History, problem: PlannedProblem, contender: PlannedContender, study: int) -> Tuning:
    plan = history.plan
    found = search(history, problem, contender, study=study)
    known = [trial for rung in found.rungs for row in rung.trials for trial in row]
    ran = {outcome.trial.id: outcome.seconds for outcome in history.found(known) if outcome is not None}
    return _summary(found, plan.space(problem, contender), known, sum(ran.values()), in_order=plan.tuner.is_adaptive)


def _summary(
    found: Search, space: Mapping[str, Range | float], known: Sequence[Trial], seconds: float, *, in_order: bool
) -> Tuning:
    """Sums up a search: each point by the last rung that it has finished."""
    points, first, last = found.points, found.rungs[0], found.rungs[-1]
    count = len(points)
    scores, finals, reached = first.scores.copy(), first.finals.copy(), np.zeros(count, np.int64)
    for level, rung in enumerate(found.rungs[1:], 1):
        if not rung.missing.any():
            scores[list(rung.places)] = rung.scores
            finals[list(rung.places)] = rung.finals
            reached[list(rung.places)] = level
    finite = int(np.isfinite(scores).sum())
    missing = sum(int(rung.missing.sum()) for rung in found.rungs) + found.later
    is_over = not missing and last.until is None and np.isfinite(last.scores).any()
    winner = last.places[int(np.argmin(last.scores))] if is_over else None
    tunes_ranges = any(isinstance(span, Range) for span in space.values())
    return Tuning(
        points,
        scores,
        winner,
        finite,
        sum(len(row) for rung in found.rungs for row in rung.trials) + found.later,
        missing,
        FEWEST_FINITE if tunes_ranges else min(FEWEST_FINITE, count),
        [not missing for missing in first.missing],
        [found.rungs[level].until for level in reached.tolist()],
        known=known,
        seconds=seconds,
        finals=finals,
        first=first.finals,
        standing=_standing(reached, scores),
        space=space,
        in_order=in_order,
    )


def _standing(reached: Floats, scores: Floats) -> Floats:
    """Which points are better, as ranks: those that got further, then those with the better score."""
    if not reached.any():
        return scores
    return np.unique(np.stack([-reached, scores], axis=1), axis=0, return_inverse=True)[1].ravel().astype(np.float64)


def at_edges(
    points: Sequence[Point], scores: Floats, winner: int, space: Mapping[str, Range | float]
) -> dict[str, Side]:
    """Finds hyperparameters that want to leave their range: the best value outermost, and a trend towards it.

    Args:
        points: what was tried.
        scores: [points] oriented: lower is better, +inf where a point diverged.
        winner: index of the best point.
        space: hyperparameter -> range or fixed number.

    Returns:
        Hyperparameter -> the side, for those at an edge.
    """
    edges: dict[str, Side] = {}
    for name, span in space.items():
        if not isinstance(span, Range) or len(points) < FEWEST_FINITE:
            continue
        where = np.array([span.coordinate(point.hyperparameters[name]) for point in points])
        trend = rank_correlation(where, scores)
        if where[winner] == where.max() and trend <= -EDGE_CORRELATION:
            edges[name] = "upper"
        if where[winner] == where.min() and trend >= EDGE_CORRELATION:
            edges[name] = "lower"
    return edges
