"""What it takes to reach a target, and the score at half of the budget, read off the curves of a contender's trials.

Cost is counted as the budget is: in steps, or in the problem's other axis. See `plan.spending`.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from dlkit.bench.plan.orientation import oriented
from dlkit.bench.plan.planned import PlannedContender, PlannedProblem
from dlkit.bench.plan.policies import CONSTANT_SCHEDULE
from dlkit.bench.plan.spending import ROUNDING, spent, spent_by
from dlkit.bench.plan.trials import Outcome
from dlkit.bench.stats import Interval, expected_running_time, kaplan_meier, median_interval, restricted_mean
from dlkit.bench.tuning.objective import firsts_at
from dlkit.bench.tuning.targets import endings

__all__ = [
    "UNKNOWN",
    "AlongCurve",
    "StepsToTarget",
    "amount_to",
    "amounts_along",
    "amounts_to",
    "at_half",
    "compares_early",
    "log_steps",
    "steps_to_target",
]

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
        restricted: the mean of what was spent up to the budget, and its interval: where there is no target, the whole
            budget counts. NaN if no trial was seen so long.
        expected: the expected running time: what all trials really spent, up to the target or to their end, per target
            reached; +inf if none was.
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
        at: what is spent where it is taken, in the units of the budget; None if that differs.
    """

    values: Floats
    at: float | None = None


def amount_to(problem: PlannedProblem, contender: PlannedContender, outcome: Outcome, target: float) -> float:
    """Returns what a trial had spent at the first point of its curve at a target; +inf if it never was there."""
    return float(amounts_to(problem, contender, [outcome], target)[0])


def amounts_to(
    problem: PlannedProblem, contender: PlannedContender, outcomes: Sequence[Outcome], target: float
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Returns [trials] `amount_to` of many trials at once."""
    cost, places = _Costs(problem, contender), firsts_at(problem, outcomes, target)
    return np.array(
        [
            math.inf if place is None else float(cost.along(outcome)[place])
            for outcome, place in zip(outcomes, places, strict=True)
        ],
        np.float64,
    )


class _Costs:
    """What a contender's trials spend, computed once for those that were evaluated at the same steps.

    Arrays are told apart as objects: it is made for a list of outcomes, and goes before they do.
    """

    def __init__(self, problem: PlannedProblem, contender: PlannedContender) -> None:
        self._problem, self._contender = problem, contender
        self._along: dict[tuple[int, int], Floats] = {}
        self._by: dict[tuple[int, int, float], float] = {}

    def along(self, outcome: Outcome) -> Floats:
        """[points] As `spent`."""
        key = (id(outcome.steps), id(outcome.gradients))
        if key not in self._along:
            self._along[key] = spent(self._problem, self._contender, outcome)
        return self._along[key]

    def by(self, outcome: Outcome, step: float) -> float:
        """As `spent_by`."""
        key = (id(outcome.steps), id(outcome.gradients), step)
        if key not in self._by:
            self._by[key] = spent_by(self._problem, self._contender, outcome, step)
        return self._by[key]

    def of_a_step(self, outcome: Outcome) -> float:
        """What the first step cost; of a trial that has no point after it, what a plain step does."""
        return self.by(outcome, 1.0) or self._problem.budget / self._problem.steps


def amounts_along(
    problem: PlannedProblem, contender: PlannedContender, outcomes: Sequence[Outcome], evaluations: int
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Returns [evaluations + 1] what is spent where `spending.along_budget` has values, in the units of the budget."""
    allowed, whole = problem.allowance(contender.label), problem.budget
    if allowed.gradients is None:  # rounded down to whole steps before each evaluation
        whole = allowed.steps * max(map(_Costs(problem, contender).of_a_step, outcomes), default=1.0)
    return np.arange(evaluations + 1) / evaluations * whole


def steps_to_target(
    problem: PlannedProblem, contender: PlannedContender, outcomes: Sequence[Outcome], target: float, *, level: float
) -> StepsToTarget | None:
    """Summarizes when final trials reach a target.

    Args:
        problem: what was trained.
        contender: by what.
        outcomes: of the final trials that count.
        target: of the judged metric; NaN if there is none yet.
        level: confidence level of the intervals.

    Returns:
        The summary; None without a target or an outcome.
    """
    if math.isnan(target) or not outcomes:
        return None
    ends, cost = endings(problem, outcomes, target), _Costs(problem, contender)
    kinds = [end.kind for end in ends]
    hit = np.array([kind == "reached" for kind in kinds])
    last = {id(outcome.steps): int(outcome.steps[-1]) if len(outcome.steps) else 0 for outcome in outcomes}
    used = [
        cost.by(outcome, last[id(outcome.steps)] if end.step is None else end.step)
        for outcome, end in zip(outcomes, ends, strict=True)
    ]
    is_known = [kind in ("reached", "cut off") for kind in kinds]
    times = np.where(is_known, used, math.inf)
    budget, last = problem.budget, times.max()
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
        expected_running_time(used, hit).estimate,
        sum(outcome.status == "diverged" for outcome, is_there in zip(outcomes, hit, strict=True) if is_there),
    )


def compares_early(contender: PlannedContender, finals: Sequence[Outcome]) -> bool:
    """Returns whether curves compare before their last step: a schedule is made for its horizon, and time is no step.

    Args:
        contender: what trained.
        finals: its final trials.
    """
    return contender.schedule == CONSTANT_SCHEDULE and all(outcome.status != "cut off" for outcome in finals)


def log_steps(
    problem: PlannedProblem,
    contender: PlannedContender,
    finals: Sequence[Outcome],
    target: float,
    *,
    amounts: Floats | None = None,
) -> AlongCurve | None:
    """Returns log2 of what a target takes, so that a difference is the logarithm of a ratio.

    Args:
        problem: what was trained.
        contender: by what.
        finals: its final trials that count.
        target: of the judged metric; NaN if there is none yet.
        amounts: [trials] `amounts_to` of the target, where they are known.

    Returns:
        The logarithms [trials]. None without a target; with a schedule, which is made for its horizon, so that curves
        do not compare before the last step; and where a trial was cut off, as nobody knows when it would have been
        there.
    """
    if math.isnan(target) or not compares_early(contender, finals):
        return None
    # who is there at step 0 is there as soon as one can
    least = np.array(list(map(_Costs(problem, contender).of_a_step, finals)), np.float64)
    amounts = amounts_to(problem, contender, finals, target) if amounts is None else amounts
    return AlongCurve(np.log2(np.maximum(amounts, least)))


def at_half(problem: PlannedProblem, contender: PlannedContender, finals: Sequence[Outcome]) -> AlongCurve | None:
    """Returns the judged metric at half of the budget, oriented.

    Args:
        problem: what was trained.
        contender: by what.
        finals: its final trials that count.

    Returns:
        The scores [trials]. None with a schedule or early stopping, whose curves at half are not what half of the
        budget would give, where a trial was cut off, where nothing was evaluated near half of the budget, or where
        trials have spent differently much at their evaluations.
    """
    is_plain = contender.stopping is None and problem.allowance(contender.label).gradients is None
    if not finals or not is_plain or not compares_early(contender, finals):
        return None
    amounts = spent(problem, contender, max(finals, key=lambda outcome: len(outcome.steps)))
    shares = amounts / problem.budget
    near = np.flatnonzero((shares >= LEAST_HALF) & (shares <= 0.5 * (1 + ROUNDING)))
    if not near.size:
        return None
    place = int(near[-1])

    def value(outcome: Outcome) -> float:
        return (
            float(outcome.curves[problem.metric][place]) if outcome.counts and place < len(outcome.steps) else math.nan
        )

    return AlongCurve(oriented(problem, problem.metric, [value(outcome) for outcome in finals]), float(amounts[place]))
