"""Steps to a target and the score at half of the budget, read off the curves of a contender's trials."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from dlkit.bench.plan.orientation import oriented
from dlkit.bench.plan.plan import PlannedContender, PlannedProblem
from dlkit.bench.plan.policies import CONSTANT_SCHEDULE
from dlkit.bench.plan.trials import Outcome
from dlkit.bench.stats import Interval, expected_running_time, kaplan_meier, median_interval, restricted_mean
from dlkit.bench.tuning.objective import steps_to
from dlkit.bench.tuning.targets import ending
from dlkit.bench.tuning.winner import Tuning

__all__ = ["UNKNOWN", "AlongCurve", "StepsToTarget", "at_half", "log_steps", "steps_to_target"]

UNKNOWN = Interval(math.nan, math.nan, math.nan)
LEAST_HALF = 0.4  # share of the budget at which there must be an evaluation for it to count as half

Floats = np.ndarray[Any, Any]


class StepsToTarget(NamedTuple):
    """How a contender's final trials came out against a target: censored times, none dropped or averaged as a number.

    Attributes:
        reached: trials that were there at an evaluated step.
        missed: trials that ended without.
        diverged: trials that diverged before they could.
        cut_off: trials that ran out of seconds before they could.
        median: Kaplan and Meier's, and its interval; +inf means later than the budget. A trial that missed or diverged
            never gets there; of one that was cut off only that it takes longer is known. Where none was cut off, the
            interval is of order statistics: exact, also where many trials are there at the same evaluation.
        restricted: the mean of the steps up to the budget, and its interval: where there is no target, the whole budget
            counts. NaN if no trial was seen so long.
        expected: the expected running time: the steps of all trials per target reached, a trial that did not get there
            with the whole budget; +inf if none did.
    """

    reached: int
    missed: int
    diverged: int
    cut_off: int
    median: Interval
    restricted: Interval
    expected: float


@dataclass(frozen=True, eq=False)
class AlongCurve:
    """A quantity read off every curve of a contender before its end, such as the steps to a target; lower is better.

    Attributes:
        values: [seeds] of the final trials; +inf where there is none.
        tuned: [finalists] of the points that the winner was picked among, mean over tuning seeds.
        most: what a value of +inf counts as where means are taken.
        step: the step that it is taken at; None if that differs.
    """

    values: Floats
    tuned: Floats
    most: float = math.inf
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
        expected_running_time(times, hit, budget).estimate,
    )


def log_steps(
    problem: PlannedProblem,
    contender: PlannedContender,
    tuning: Tuning,
    finals: Sequence[Outcome],
    outcomes: Mapping[str, Outcome],
    target: float,
) -> AlongCurve | None:
    """Returns log2 of the steps to a target, so that a difference is the logarithm of a ratio.

    Args:
        problem: what was trained.
        contender: by what.
        tuning: its first study.
        finals: its final trials that count.
        outcomes: trial id -> outcome, of its tuning trials.
        target: of the judged metric; NaN if there is none yet.

    Returns:
        The logarithms. None without a target; with a schedule, which is made for its horizon, so that curves do not
        compare before the last step; and where a trial was cut off, as nobody knows when it would have been there.
    """
    does_compare = contender.schedule == CONSTANT_SCHEDULE and all(outcome.status != "cut off" for outcome in finals)
    if math.isnan(target) or not does_compare:
        return None
    most = math.log2(2 * problem.steps)

    def logarithm(outcome: Outcome) -> float:
        return math.log2(max(steps_to(problem, outcome, target), 1.0))  # at step 0: as soon as one can

    tuned = _of_points(tuning, outcomes, lambda outcome: min(logarithm(outcome), most))
    return AlongCurve(np.array([logarithm(outcome) for outcome in finals]), tuned, most)


def at_half(
    problem: PlannedProblem,
    contender: PlannedContender,
    tuning: Tuning,
    finals: Sequence[Outcome],
    outcomes: Mapping[str, Outcome],
) -> AlongCurve | None:
    """Returns the judged metric at half of the budget, oriented.

    Args:
        problem: what was trained.
        contender: by what.
        tuning: its first study.
        finals: its final trials that count.
        outcomes: trial id -> outcome, of its tuning trials.

    Returns:
        The scores. None with a schedule or early stopping, whose curves at half are not what half of the budget would
        give, where a trial was cut off, or where nothing was evaluated near half of the budget.
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

    def score(outcome: Outcome) -> float:
        return float(oriented(problem, problem.metric, value(outcome)))

    values = oriented(problem, problem.metric, [value(outcome) for outcome in finals])
    return AlongCurve(values, _of_points(tuning, outcomes, score), step=step)


def _of_points(tuning: Tuning, outcomes: Mapping[str, Outcome], value: Callable[[Outcome], float]) -> Floats:
    """[finalists] The mean of a quantity over a point's tuning trials of full length; +inf where one has not run."""
    rows: dict[str, list[float]] = {}
    for trial in tuning.known:
        if trial.until is None:
            outcome = outcomes.get(trial.id)
            static = trial.identity["optimizer"]["static"]
            rows.setdefault(_key(trial.hyperparameters, static), []).append(
                math.inf if outcome is None else value(outcome)
            )
    until = tuning.until or [None] * len(tuning.points)
    finalists = [point for point, end in zip(tuning.points, until, strict=True) if end is None]
    return np.array(
        [float(np.mean(rows.get(_key(point.hyperparameters, point.static), math.inf))) for point in finalists]
    )


def _key(hyperparameters: Mapping[str, float], static: Mapping[str, Any]) -> str:
    """A setting as text: 1, 1.0 and True are different settings."""
    return repr((sorted(hyperparameters.items()), sorted(static.items())))
