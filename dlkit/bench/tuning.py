"""Equal-budget tuning: points -> winner, and what makes the winner doubtful."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dlkit.bench.plans import Contender, Outcome, Plan, ProblemFacts
from dlkit.bench.space import Point, Range
from dlkit.bench.stats import expected_best, rank_correlation

__all__ = ["FEWEST_FINITE", "Tuning", "final_value", "oriented", "summarize", "tune", "unoriented"]

FEWEST_FINITE = 3
EDGE_CORRELATION = 0.5


@dataclass(frozen=True, eq=False)
class Tuning:
    """What tuning a contender on a problem found.

    Attributes:
        points: what was tried.
        scores: [points] the mean over tuning seeds, oriented: lower is better, +inf where a seed diverged.
        winner: index of the best point; None if none trained, or not all have run.
        curve: [points] expected best score of the first 1, 2, ... points drawn.
        edges: hyperparameters whose best value is the outermost tried, with scores improving towards that edge:
            name -> ``"lower"`` or ``"upper"``.
        gain: how much the last doubling of points improved the expected best, in oriented units.
        finite: how many points trained on every seed.
        trials: how many trials tuning has.
        missing: how many of them have not run; there is no winner before all have.
    """

    points: Sequence[Point]
    scores: np.ndarray[Any, Any]
    winner: int | None
    curve: np.ndarray[Any, Any]
    edges: Mapping[str, str]
    gain: float
    finite: int
    trials: int
    missing: int

    @property
    def point(self) -> Point | None:
        """The best point."""
        return None if self.winner is None else self.points[self.winner]


def oriented(problem: ProblemFacts, metric: str, values: Any) -> np.ndarray[Any, Any]:
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


def unoriented(problem: ProblemFacts, metric: str, number: float) -> float:
    """Turns an oriented number back into the metric's own."""
    meaning = problem.metrics[metric]
    value = -number if meaning.higher_is_better else number
    return float(10.0**value) if meaning.scale == "log" and math.isfinite(value) else float(value)


def final_value(outcome: Outcome | None, metric: str) -> float:
    """Returns a trial's metric on validation with its final parameters; NaN if it has none, or has not run."""
    return math.nan if outcome is None else outcome.final(metric)


def summarize(
    problem: ProblemFacts,
    points: Sequence[Point],
    outcomes: Sequence[Sequence[Outcome | None]],
    space: Mapping[str, Range | float],
) -> Tuning:
    """Chooses the winner of a contender's points and looks for reasons to doubt it.

    Args:
        problem: what was trained.
        points: what was tried.
        outcomes: one row a point, one column a tuning seed; None where a trial has not run.
        space: the ranges the points were drawn from.

    Returns:
        The summary.
    """
    finals = [[final_value(outcome, problem.metric) for outcome in row] for row in outcomes]
    scores = oriented(problem, problem.metric, finals).mean(axis=1, dtype=np.float64)
    finite = int(np.isfinite(scores).sum())
    missing = sum(outcome is None for row in outcomes for outcome in row)
    winner = int(np.argmin(scores)) if finite and not missing else None
    count = len(points)
    curve = np.array([expected_best(scores, k) for k in range(1, count + 1)])
    gain = float(curve[math.ceil(count / 2) - 1] - curve[-1]) if finite and count > 1 else 0.0
    edges = _edges(points, scores, winner, space) if winner is not None else {}
    return Tuning(points, scores, winner, curve, edges, gain, finite, sum(map(len, outcomes)), missing)


def tune(plan: Plan, problem: ProblemFacts, contender: Contender, outcomes: Mapping[str, Outcome]) -> Tuning:
    """Summarizes a contender's tuning on a problem from the outcomes there are, by trial id."""
    rows = [[outcomes.get(trial.id) for trial in row] for row in plan.tuning_trials(problem, contender)]
    return summarize(problem, contender.points, rows, contender.space)


def _edges(
    points: Sequence[Point], scores: np.ndarray[Any, Any], winner: int, space: Mapping[str, Range | float]
) -> dict[str, str]:
    """Finds hyperparameters that want to leave their range: the best value outermost, and a trend towards it."""
    edges = {}
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
