"""What contenders cost: seconds a step and to the target, memory, compilation, and steps that early stopping saves."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dlkit.bench.analysis.along_curves import UNKNOWN
from dlkit.bench.analysis.contender_result import ContenderResult
from dlkit.bench.analysis.pairs import LEVEL
from dlkit.bench.plan.plan import PlannedProblem
from dlkit.bench.plan.trials import Outcome, Timing, timing_key
from dlkit.bench.stats import Interval, median_interval

__all__ = ["Cost", "costs_of"]


@dataclass(frozen=True, eq=False)
class Cost:
    """What a contender costs on a problem.

    Attributes:
        label: the contender's.
        timing: of its steps; None if they were not timed.
        per_step: warm seconds of a step, median over repeats with its interval; NaN if not timed.
        ratio: of that median to the fastest contender's.
        to_target: seconds to target: the median seconds of a step, times the steps to target and their interval.
        compile_seconds: of all its trials, from a compilation cache where an earlier run had filled it.
        saved: share of the steps that early stopping left out, mean over final trials; NaN without early stopping.
    """

    label: str
    timing: Timing | None
    per_step: Interval
    ratio: float
    to_target: Interval
    compile_seconds: float
    saved: float


def costs_of(
    problem: PlannedProblem,
    results: Sequence[ContenderResult],
    timings: Mapping[str, Timing],
    ran: Sequence[Sequence[Outcome]],
) -> list[Cost]:
    """Computes what a problem's contenders cost.

    Args:
        problem: which.
        results: of its contenders.
        timings: timings by key.
        ran: for each of them, what has run of its trials.

    Returns:
        One cost a contender.
    """
    found = [timings.get(timing_key(each.trials[0])) if each.trials else None for each in results]
    per_step = [
        median_interval(timing.seconds, level=LEVEL) if timing and timing.seconds else UNKNOWN for timing in found
    ]
    fastest = min((each.estimate for each in per_step if each.estimate > 0), default=math.nan)
    return [
        Cost(
            label=result.label,
            timing=timing,
            per_step=seconds,
            ratio=seconds.estimate / fastest,
            # time to target = steps to target x seconds per step
            to_target=Interval(*(steps * seconds.estimate for steps in result.median_steps)),
            compile_seconds=sum(outcome.compile_seconds for outcome in outcomes),
            saved=_saved(problem, result),
        )
        for result, timing, seconds, outcomes in zip(results, found, per_step, ran, strict=True)
    ]


def _saved(problem: PlannedProblem, result: ContenderResult) -> float:
    ended = [outcome for outcome in result.outcomes if outcome and outcome.status in ("stopped", "finished")]
    if result.contender.stopping is None or not ended:
        return math.nan
    # share left out = 1 - steps made / budget
    return sum(1 - int(outcome.steps[-1]) / problem.steps for outcome in ended) / len(ended)
