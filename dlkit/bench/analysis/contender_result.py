"""One contender on one problem: steps to target, final values with intervals, and what makes its tuning doubtful."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dlkit.bench.analysis.along_curves import UNKNOWN, AlongCurve, StepsToTarget, at_half, log_steps, steps_to_target
from dlkit.bench.analysis.pairs import LEVEL
from dlkit.bench.plan.orientation import final_value, oriented, unoriented
from dlkit.bench.plan.plan import Plan, PlannedContender, PlannedProblem
from dlkit.bench.plan.space import Range
from dlkit.bench.plan.trials import Outcome, Trial
from dlkit.bench.stats import Interval, median_interval, wilson_interval
from dlkit.bench.tuning.history import History
from dlkit.bench.tuning.objective import steps_to
from dlkit.bench.tuning.winner import Tuning

__all__ = ["ContenderResult", "Repetition", "make_result"]

Floats = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class Repetition:
    """Another study of a contender on a problem: tuned on fresh points and seeds, its winner on the same final seeds.

    Attributes:
        tuning: how its tuning went.
        trials: the final trials of its winner, in seed order; empty if tuning found nothing.
        median: of the judged metric on validation over those, in the metric's own units; NaN before all have run.
        scores: [seeds] the metric, oriented; none before all have run.
    """

    tuning: Tuning
    trials: Sequence[Trial]
    median: float
    scores: Floats


@dataclass(frozen=True, eq=False)
class ContenderResult:
    """What one contender came to on one problem: its own numbers, without the others'.

    Attributes:
        contender: which.
        tuning: how its tuning went.
        trials: the final trials, in seed order; empty if tuning found nothing.
        outcomes: [seeds] what came of them, None where one has not run.
        steps_to_target: [seeds] first evaluated step at the hardest target, +inf where there is none; what diverged
            after it had been there counts as there.
        ladder: [targets][seeds] steps to each target, the easiest first.
        scores: [seeds] the judged metric after the last step, oriented: lower is better, +inf where diverged.
        hits: share of seeds that reached the target, Wilson interval.
        median_steps: Kaplan and Meier's median steps to target and its interval; +inf means more seeds missed it than
            not.
        final: the judged metric on validation: median over seeds and interval, in the metric's own units.
        test: the same on test.
        diverged: how many final trials diverged.
        failure: why the contender could not run, empty if it could.
        flags: what makes the tuning doubtful, in words.
        widened: what was added to the space since the spec, in words.
        repetitions: the studies after the first, whose numbers all the others are.
        to_target: how its final trials came out against the hardest target; None where there is none yet.
        log_steps: log2 of their steps to it; None where curves do not compare before the last step.
        half: the judged metric at half of the budget; None where that says nothing about half of the budget.
        required: seeds without which a contender is not compared: those that were not added later; None for all.
    """

    contender: PlannedContender
    tuning: Tuning
    trials: Sequence[Trial]
    outcomes: Sequence[Outcome | None]
    steps_to_target: Floats
    ladder: Sequence[Floats]
    scores: Floats
    hits: Interval
    median_steps: Interval
    final: Interval
    test: Interval
    diverged: int
    failure: str
    flags: tuple[str, ...]
    widened: str
    repetitions: Sequence[Repetition]
    to_target: StepsToTarget | None
    log_steps: AlongCurve | None
    half: AlongCurve | None
    required: int | None

    @property
    def label(self) -> str:
        """The contender's label."""
        return self.contender.label

    @property
    def is_complete(self) -> bool:
        """Whether every final trial has an outcome that counts; of seeds that are added, those count that have one."""
        required = self.outcomes[: self.required]
        return bool(required) and all(each is not None and each.counts for each in required)

    @property
    def is_comparable(self) -> bool:
        """Whether it can be compared with others: it is complete, and nothing failed."""
        return self.is_complete and not self.failure

    @property
    def across(self) -> Interval | None:
        """The median, the smallest and the largest of the studies' medians; None unless several have all run."""
        medians = [self.final.estimate, *(each.median for each in self.repetitions)]
        if len(medians) == 1 or not self.is_complete or any(map(math.isnan, medians)):
            return None
        return Interval(float(np.median(medians)), min(medians), max(medians))

    @property
    def tunings(self) -> list[Tuning]:
        """The tuning of every study, the first one first."""
        return [self.tuning, *(each.tuning for each in self.repetitions)]

    @property
    def every_trial(self) -> list[tuple[int, Trial]]:
        """All its trials with their study, tuning before final."""
        studies = [(self.tuning, self.trials), *((each.tuning, each.trials) for each in self.repetitions)]
        return [(study, trial) for study, (tuning, trials) in enumerate(studies) for trial in [*tuning.known, *trials]]

    def planned(self, values: Floats) -> Floats:
        """Returns the values [seeds] of the seeds that were planned, without those that were added by a look at them.

        Tests of a number of seeds fixed beforehand hold for these alone.
        """
        return values[: self.required]


def make_result(
    history: History,
    problem: PlannedProblem,
    contender: PlannedContender,
    tuning: Tuning,
    targets: Sequence[float],
    further: Sequence[Tuning] = (),
) -> ContenderResult:
    """Computes a contender's own numbers from the outcomes there are.

    Args:
        history: the plan, and the outcomes so far.
        problem: which.
        contender: which.
        tuning: of its first study.
        targets: what steps are counted to, the easiest first.
        further: the tuning of its other studies.

    Returns:
        The result.
    """
    plan, outcomes, metric = history.plan, history.outcomes, problem.metric
    trials = history.final_trials(problem, contender, tuning.point) if tuning.point else []
    finals = [outcomes.get(trial.id) for trial in trials]
    there = _ended(finals, plan.seeds)
    ladder = [np.array([steps_to(problem, outcome, target) for outcome in there]) for target in targets]
    times = ladder[-1] if ladder else np.full(len(there), np.inf)
    scores = oriented(problem, metric, [final_value(outcome, metric) for outcome in there])
    tests = oriented(problem, metric, [outcome.test.get(metric, math.nan) for outcome in there])
    repetitions = [_repetition(history, problem, contender, each, study) for study, each in enumerate(further, 1)]
    every = [*tuning.known, *trials, *(trial for each in repetitions for trial in [*each.tuning.known, *each.trials])]
    ran = [outcomes[trial.id] for trial in every if trial.id in outcomes]
    failure = next((outcome.reason for outcome in ran if not outcome.counts), "")
    hardest = targets[-1] if targets else math.nan
    reached = steps_to_target(problem, there, hardest, level=LEVEL)
    return ContenderResult(
        contender=contender,
        tuning=tuning,
        trials=trials,
        outcomes=finals,
        steps_to_target=times,
        ladder=ladder,
        scores=scores,
        hits=wilson_interval(int(np.isfinite(times).sum()), len(there), level=LEVEL),
        median_steps=reached.median if reached else _interval(times),
        final=_in_units(problem, metric, _interval(scores)),
        test=_in_units(problem, metric, _interval(tests)),
        diverged=sum(outcome.status == "diverged" for outcome in there),
        failure=failure,
        flags=_flags(plan.space(problem, contender), tuning, scores, bool(failure)),
        widened=_widened(plan, problem, contender),
        repetitions=repetitions,
        to_target=reached,
        log_steps=log_steps(problem, contender, tuning, there, outcomes, hardest),
        half=at_half(problem, contender, tuning, there, outcomes),
        required=plan.seeds,
    )


def _ended(finals: Sequence[Outcome | None], required: int) -> list[Outcome]:
    """The outcomes that count; of seeds that were added, those before the first without one, so that seeds pair."""
    there = [outcome for outcome in finals[:required] if outcome is not None and outcome.counts]
    for outcome in finals[required:]:
        if outcome is None or not outcome.counts:
            break
        there.append(outcome)
    return there


def _repetition(
    history: History, problem: PlannedProblem, contender: PlannedContender, tuning: Tuning, study: int
) -> Repetition:
    trials = history.final_trials(problem, contender, tuning.point, study=study) if tuning.point else []
    there = [history.outcomes[trial.id] for trial in trials if trial.id in history.outcomes]
    if not trials or len(there) < len(trials):
        return Repetition(tuning, trials, math.nan, np.zeros(0, np.float32))
    scores = oriented(problem, problem.metric, [final_value(outcome, problem.metric) for outcome in there])
    return Repetition(tuning, trials, unoriented(problem, problem.metric, float(np.median(scores))), scores)


def _widened(plan: Plan, problem: PlannedProblem, contender: PlannedContender) -> str:
    """What was added to a space, in words; empty if nothing was."""
    added = []
    for name, span in plan.space(problem, contender).items():
        before = contender.space[name]
        if isinstance(span, Range) and isinstance(before, Range) and span != before:
            added.append(f"{name} [{before.low:g}, {before.high:g}] → [{span.low:g}, {span.high:g}]")
    points = len(plan.added_points(problem, contender))
    return f"widened: {', '.join(added)}, {points} more points" if added else ""


def _interval(values: Floats) -> Interval:
    return median_interval(values, level=LEVEL) if len(values) else UNKNOWN


def _in_units(problem: PlannedProblem, metric: str, interval: Interval) -> Interval:
    """Turns an oriented interval into the metric's own units, low before high."""
    low, high = (unoriented(problem, metric, bound) for bound in (interval.low, interval.high))
    return Interval(unoriented(problem, metric, interval.estimate), min(low, high), max(low, high))


def _flags(space: Mapping[str, Range | float], tuning: Tuning, scores: Floats, has_failed: bool) -> tuple[str, ...]:
    """What makes a contender's tuning doubtful, and what to change."""
    if has_failed or tuning.missing:
        return ()
    flags = []
    for name, side in tuning.edges.items():
        span = space[name]
        bound = span if isinstance(span, int | float) else (span.high if side == "upper" else span.low)
        flags.append(f"{name} at the {side} edge of its space ({bound:g})")
    if tuning.too_few:
        flags.append(f"only {tuning.finite} of {len(tuning.points)} points trained")
    spread = float(np.std(scores, ddof=1)) if len(scores) > 1 and np.isfinite(scores).all() else math.inf
    if math.isinf(tuning.gain) or tuning.gain > spread:
        flags.append("tuning curve still falling")
    return tuple(flags)
