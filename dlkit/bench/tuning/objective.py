"""How good a tuning trial is: its final value, how soon it was at the target, or the area under its curve."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from dlkit.bench.plan.orientation import final_value, oriented
from dlkit.bench.plan.plan import Plan
from dlkit.bench.plan.planned import PlannedProblem
from dlkit.bench.plan.spending import along_budget
from dlkit.bench.plan.trials import Outcome

__all__ = ["first_at", "firsts_at", "mean_finals", "mean_scores"]

Floats = np.ndarray[Any, Any]
Row = Sequence[Outcome | None]


def first_at(problem: PlannedProblem, outcome: Outcome, target: float) -> int | None:
    """Returns the first point of a curve at which the judged metric is at a target; None if it never is."""
    return firsts_at(problem, [outcome], target)[0]


def firsts_at(problem: PlannedProblem, outcomes: Sequence[Outcome], target: float) -> list[int | None]:
    """Returns `first_at` of many trials at once."""
    found: list[int | None] = [None] * len(outcomes)
    if math.isnan(target):
        return found
    by_length = dict[int, list[int]]()
    for place, outcome in enumerate(outcomes):
        if outcome.counts:
            by_length.setdefault(len(outcome.curves[problem.metric]), []).append(place)
    goal = oriented(problem, problem.metric, target)
    for length, places in by_length.items():
        if length:
            curves = np.stack([outcomes[place].curves[problem.metric] for place in places])
            there = oriented(problem, problem.metric, curves) <= goal
            firsts: list[int] = np.where(there.any(axis=1), there.argmax(axis=1), -1).tolist()
            for place, first in zip(places, firsts, strict=True):
                found[place] = first if first >= 0 else None
    return found


def mean_finals(problem: PlannedProblem, rows: Sequence[Row]) -> Floats:
    """[rows] The mean over a row's final values, oriented; +inf where one is missing or diverged."""
    means: Floats = _finals(problem, rows).mean(axis=1, dtype=np.float64) if rows else np.zeros(0)
    return means


def mean_scores(plan: Plan, problem: PlannedProblem, rows: Sequence[Row], *, until: int | None = None) -> Floats:
    """Scores points by what the plan's tuner wants: lower is better.

    - final: the final value, oriented.
    - steps: to the problem's hardest declared target, of a trial that makes fewer or more than the problem's steps as a
      share of its own. A trial that misses it has between 2 and 3 times the steps of a
      whole one, the more the farther its final value is from the target: it is worse than any that is there in time.
    - area: the mean of the curve after step 0, oriented. A trial that ended early, by its policy or its time budget,
      keeps its final value for the rest.

    A trial that diverged has +inf, also if it was at the target before.

    Args:
        plan: its tuner's objective, and how many evaluations a trial has.
        problem: what is trained.
        rows: the outcomes of each point, one a seed; None where one is missing.
        until: the evaluation at which trials end; None for the last one.

    Returns:
        [rows] float64, the mean over a row's trials; +inf where one is missing or diverged.
    """
    if plan.tuner.objective == "final":
        return mean_finals(problem, rows)
    score = _steps_score if plan.tuner.objective == "steps" else _area
    points = plan.evaluations if until is None else until

    def mean(row: Row, finals: Floats) -> float:
        scores = [
            score(problem, outcome, final, points) if outcome and math.isfinite(final) else math.inf
            for outcome, final in zip(row, finals.tolist(), strict=True)
        ]
        return float(np.mean(scores))

    return np.array([mean(*each) for each in zip(rows, _finals(problem, rows), strict=True)], np.float64)


def _finals(problem: PlannedProblem, rows: Sequence[Row]) -> Floats:
    """[rows, seeds] Final values, oriented."""
    return oriented(problem, problem.metric, [[final_value(each, problem.metric) for each in row] for row in rows])


def _steps_score(problem: PlannedProblem, outcome: Outcome, final: float, _: int) -> float:
    target = math.nan if problem.target is None else problem.target
    place = first_at(problem, outcome, target)
    if place is not None:
        trial = outcome.trial
        # as a share of what the trial may spend, which all contenders have the same of
        amounts, whole = (
            (outcome.steps, trial.steps) if trial.gradients is None else (outcome.gradients_so_far, trial.gradients)
        )
        return problem.steps * float(amounts[place]) / whole
    short = max(final - float(oriented(problem, problem.metric, target)), 0.0)
    return problem.steps * (2 + short / (1 + short))


def _area(problem: PlannedProblem, outcome: Outcome, final: float, points: int) -> float:
    values = oriented(problem, problem.metric, along_budget(outcome, problem.metric, points))[1:].astype(np.float64)
    is_past = np.arange(1, points + 1) >= len(outcome.steps)
    return float(np.where(is_past & ~np.isfinite(values), final, values).mean())
