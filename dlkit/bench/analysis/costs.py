"""What contenders cost: seconds a step and to the target, memory, compilation, and steps that early stopping saves."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from dlkit.bench.analysis.along_curves import UNKNOWN, steps_to_target
from dlkit.bench.analysis.contender_result import ContenderResult
from dlkit.bench.analysis.pairs import LEVEL
from dlkit.bench.plan.planned import PlannedProblem
from dlkit.bench.plan.spending import rows_of
from dlkit.bench.plan.trials import Timing, timing_key
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
        gradients: that a step took, mean over final trials: see `Evaluations.in_gradients`. NaN where nothing ran.
        examples: that its gradients were taken of.
    """

    label: str
    timing: Timing | None
    per_step: Interval
    ratio: float
    to_target: Interval
    compile_seconds: float
    saved: float
    gradients: float
    examples: float


def costs_of(
    problem: PlannedProblem,
    results: Sequence[ContenderResult],
    timings: Mapping[str, Timing],
    target: float,
) -> list[Cost]:
    """Computes what a problem's contenders cost.

    Args:
        problem: which.
        results: of its contenders.
        timings: timings by key.
        target: the hardest one; NaN if there is none yet.

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
            to_target=Interval(*(steps * seconds.estimate for steps in _steps_to(problem, result, target))),
            compile_seconds=sum(outcome.compile_seconds for outcome in result.ran),
            saved=_saved(problem, result),
            gradients=(gradients := result.gradients_per_step),
            examples=gradients * rows_of(problem, result.contender),
        )
        for result, timing, seconds in zip(results, found, per_step, strict=True)
    ]


def _saved(problem: PlannedProblem, result: ContenderResult) -> float:
    ended = [outcome for outcome in result.outcomes if outcome and outcome.status in ("stopped", "finished")]
    if result.contender.stopping is None or not ended:
        return math.nan
    # share left out = 1 - steps made / budget
    steps = problem.allowance(result.label).steps
    return sum(1 - int(outcome.steps[-1]) / steps for outcome in ended) / len(ended)


def _steps_to(problem: PlannedProblem, result: ContenderResult, target: float) -> Interval:
    """The median steps to the hardest target, also where the budget is counted in something else."""
    if problem.axis == "steps":
        return result.median_steps
    ended = [outcome for each in result.studies for outcome in each.ended]
    steps = replace(problem, axis="steps", amount=None)
    found = steps_to_target(steps, result.contender, ended, target, level=LEVEL)
    return found.median if found else result.median_steps
