"""Steps to a target and the score at half of the budget, read off the curves of a contender's trials."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from dlkit.bench.plan.orientation import oriented
from dlkit.bench.plan.plan import PlannedContender, PlannedProblem
from dlkit.bench.plan.policies import CONSTANT_SCHEDULE
from dlkit.bench.plan.trials import Outcome
from dlkit.bench.stats import Interval, expected_running_time, kaplan_meier, median_interval, restricted_mean
from dlkit.bench.tuning.objective import steps_to
from dlkit.bench.tuning.targets import Ending, ending

__all__ = ["UNKNOWN", "AlongCurve", "StepsToTarget", "at_half", "log_steps", "steps_to_target"]

UNKNOWN = Interval(math.nan, math.nan, math.nan)
LEAST_HALF = 0.4  # share of the budget at which there must be an evaluation for it to count as half

Floats = np.ndarray[Any, Any]


class StepsToTarget(NamedTuple):
    """How a contender's final trials came out against a target: censored times, none dropped or averaged as a number.

    Attributes:
        reached: trials that were there at an evaluated step, those that diverged later included.
        missed: trials that ended without.
        diverged: trials that diverged before they could.
        cut_off: trials that ran out of seconds before they could.
        median: Kaplan and Meier's, and its interval; +inf means later than the budget. A trial that missed or diverged
            never gets there; of one that was cut off only that it takes longer is known. Where none was cut off, the
            interval is of order statistics: exact, also where many trials are there at the same evaluation.
        restricted: the mean of the steps up to the budget, and its interval: where there is no target, the whole budget
            counts. NaN if no trial was seen so long.
        expected: the expected running time: the steps that all trials really ran, up to the target or to their end, per
            target reached; +inf if none was.
        diverged_after: of those that reached the target, trials that diverged later: they count as both.
    """

    reached: int
    missed: int
    diverged: int
    cut_off: int
    median: Interval
    restricted: Interval
    expected: float
    diverged_after: int


class AlongCurve(NamedTuple):
    """A quantity read off curves before their end, such as the steps to a target; lower is better.

    Attributes:
        values: of the final trials, or of blocks; +inf where there is none.
        step: the step that it is taken at; None if that differs.
    """

    values: Floats
    step: int | None = None


def steps_to_target(
    problem: PlannedProblem, outcomes: Sequence[Outcome], target: float, *, level: float
) -> StepsToTarget | None:
    """Summarizes when final trials reach a target.

    Args:
        problem: what was trained.
        outcomes: of the final trials that count.
        target: of the judged metric; NaN if there is none yet.
        level: confidence level of the intervals.

    Returns:
        The summary; None without a target or an outcome.
    """
    if math.isnan(target) or not outcomes:
        return None
    ends = [ending(problem, outcome, target) for outcome in outcomes]
    kinds = [end.kind for end in ends]
    hit = np.array([kind == "reached" for kind in kinds])
    known = [end.step if end.kind in ("reached", "cut off") else None for end in ends]
    times = np.array([math.inf if step is None else step for step in known], np.float64)
    budget, last = float(problem.steps), times.max()
    is_seen = last >= budget or bool(hit[times == last].all())
    median = kaplan_meier(times, hit, level=level).median
    if "cut off" not in kinds:
        median = Interval(median.estimate, *median_interval(times, level=level)[1:])
    return StepsToTarget(
        kinds.count("reached"),
        kinds.count("missed"),
        kinds.count("diverged"),
        kinds.count("cut off"),
        median,
        restricted_mean(times, hit, budget, level=level) if is_seen else UNKNOWN,
        expected_running_time([_spent(*each) for each in zip(outcomes, ends, strict=True)], hit).estimate,
        sum(outcome.status == "diverged" for outcome, is_there in zip(outcomes, hit, strict=True) if is_there),
    )


def _spent(outcome: Outcome, end: Ending) -> int:
    """The steps that a trial ran for a target: until it was there, diverged, or ended."""
    return int(outcome.steps[-1]) if end.step is None else end.step


def log_steps(
    problem: PlannedProblem, contender: PlannedContender, finals: Sequence[Outcome], target: float
) -> AlongCurve | None:
    """Returns log2 of the steps to a target, so that a difference is the logarithm of a ratio.

    Args:
        problem: what was trained.
        contender: by what.
        finals: its final trials that count.
        target: of the judged metric; NaN if there is none yet.

    Returns:
        The logarithms [trials]. None without a target; with a schedule, which is made for its horizon, so that curves
        do not compare before the last step; and where a trial was cut off, as nobody knows when it would have been
        there.
    """
    does_compare = contender.schedule == CONSTANT_SCHEDULE and all(outcome.status != "cut off" for outcome in finals)
    if math.isnan(target) or not does_compare:
        return None
    steps = [max(steps_to(problem, outcome, target), 1.0) for outcome in finals]  # at step 0: as soon as one can
    return AlongCurve(np.log2(np.array(steps, np.float64)))


def at_half(problem: PlannedProblem, contender: PlannedContender, finals: Sequence[Outcome]) -> AlongCurve | None:
    """Returns the judged metric at half of the budget, oriented.

    Args:
        problem: what was trained.
        contender: by what.
        finals: its final trials that count.

    Returns:
        The scores [trials]. None with a schedule or early stopping, whose curves at half are not what half of the
        budget would give, where a trial was cut off, or where nothing was evaluated near half of the budget.
    """
    is_plain = contender.schedule == CONSTANT_SCHEDULE and contender.stopping is None
    longest = max((outcome.steps for outcome in finals), key=len, default=np.zeros(0))
    steps = [int(step) for step in longest if LEAST_HALF * problem.steps <= step <= 0.5 * problem.steps]
    if not is_plain or not steps or any(outcome.status == "cut off" for outcome in finals):
        return None
    step = steps[-1]

    def value(outcome: Outcome) -> float:
        at = np.flatnonzero(outcome.steps == step)
        return float(outcome.curves[problem.metric][at[0]]) if outcome.counts and at.size else math.nan

    return AlongCurve(oriented(problem, problem.metric, [value(outcome) for outcome in finals]), step)
