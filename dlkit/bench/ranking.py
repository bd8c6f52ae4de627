"""Outcomes -> one row a contender: hits, steps to target, final metrics with intervals, differences to the best."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Any

import numpy as np

from dlkit.bench.plans import Contender, Outcome, Plan, ProblemFacts, Trial
from dlkit.bench.scores import final_value, oriented, unoriented
from dlkit.bench.space import Range
from dlkit.bench.stats import (
    Interval,
    PairedDifference,
    holm,
    luck_p_value,
    median_interval,
    paired_difference,
    wilson_interval,
)
from dlkit.bench.targets import steps_to
from dlkit.bench.tuning import Tuning

__all__ = ["LEVEL", "Repetition", "Row", "compared", "make_row"]

LEVEL = 0.95


@dataclass(frozen=True, eq=False)
class Repetition:
    """Another study of a contender on a problem: tuned on fresh points and seeds, its winner on the same final seeds.

    Attributes:
        tuning: how its tuning went.
        trials: the final trials of its winner, in seed order; empty if tuning found nothing.
        median: of the judged metric on validation over those, in the metric's own units; NaN before all have run.
    """

    tuning: Tuning
    trials: Sequence[Trial]
    median: float


@dataclass(frozen=True, eq=False)
class Row:
    """One contender on one problem, as tables show it.

    Attributes:
        contender: which.
        tuning: how its tuning went.
        trials: the final trials, in seed order; empty if tuning found nothing.
        outcomes: [seeds] what came of them, None where one has not run.
        steps_to_target: [seeds] first evaluated step at the hardest target, +inf where there is none; what diverged
            after it had been there counts as there.
        scores: [seeds] the judged metric after the last step, oriented: lower is better, +inf where diverged.
        hits: share of seeds that reached the target, Wilson interval.
        time: median steps to target and its interval; +inf means more seeds missed it than not.
        final: the judged metric on validation: median over seeds and interval, in the metric's own units.
        test: the same on test.
        diverged: how many final trials diverged.
        failure: why the contender could not run, empty if it could.
        difference: to the best row, oriented and paired by seed; None for the best itself.
        adjusted_p: of that difference, Holm-adjusted over all pairs of contenders.
        luck: the probability that the luck of tuning alone sets two equal contenders so far apart.
        flags: what makes the tuning doubtful, in words.
        ladder: [targets][seeds] steps to each target, the easiest first.
        widened: what was added to the space since the spec, in words.
        repetitions: the studies after the first, whose numbers all the others are.
    """

    contender: Contender
    tuning: Tuning
    trials: Sequence[Trial]
    outcomes: Sequence[Outcome | None]
    steps_to_target: np.ndarray[Any, Any]
    scores: np.ndarray[Any, Any]
    hits: Interval
    time: Interval
    final: Interval
    test: Interval
    diverged: int
    failure: str
    difference: PairedDifference | None = None
    adjusted_p: float = math.nan
    luck: float = 0.0
    flags: tuple[str, ...] = ()
    ladder: Sequence[np.ndarray[Any, Any]] = ()
    widened: str = ""
    repetitions: Sequence[Repetition] = ()

    @property
    def across(self) -> Interval | None:
        """The median, the smallest and the largest of the studies' medians; None unless several have all run."""
        medians = [self.final.estimate, *(each.median for each in self.repetitions)]
        if len(medians) == 1 or not self.complete or any(map(math.isnan, medians)):
            return None
        return Interval(float(np.median(medians)), min(medians), max(medians))

    @property
    def label(self) -> str:
        """The contender's label."""
        return self.contender.label

    @property
    def complete(self) -> bool:
        """Whether every final trial has an outcome that counts."""
        return bool(self.outcomes) and all(each is not None and each.counts for each in self.outcomes)


def make_row(
    plan: Plan,
    problem: ProblemFacts,
    contender: Contender,
    tuning: Tuning,
    targets: Sequence[float],
    outcomes: Mapping[str, Outcome],
    further: Sequence[Tuning] = (),
) -> Row:
    """Computes a contender's row from the outcomes there are; `compared` adds what needs the others.

    Args:
        plan: the plan.
        problem: which.
        contender: which.
        tuning: of its first study.
        targets: what steps are counted to, the easiest first.
        outcomes: trial id -> outcome.
        further: the tuning of its other studies.

    Returns:
        The row.
    """
    metric = problem.metric
    trials = plan.final_trials(problem, contender, tuning.point) if tuning.point else []
    finals = [outcomes.get(trial.id) for trial in trials]
    there = [outcome for outcome in finals if outcome is not None and outcome.counts]
    ladder = [np.array([steps_to(problem, outcome, target) for outcome in there]) for target in targets]
    times = ladder[-1] if ladder else np.full(len(there), np.inf)
    scores = oriented(problem, metric, [final_value(outcome, metric) for outcome in there])
    tests = oriented(problem, metric, [outcome.test.get(metric, math.nan) for outcome in there])
    repetitions = [_repetition(plan, problem, contender, each, outcomes) for each in further]
    every = [*tuning.known, *trials, *(trial for each in repetitions for trial in [*each.tuning.known, *each.trials])]
    ran = [outcomes[trial.id] for trial in every if trial.id in outcomes]
    failure = next((outcome.reason for outcome in ran if not outcome.counts), "")
    return Row(
        contender=contender,
        tuning=tuning,
        trials=trials,
        outcomes=finals,
        steps_to_target=times,
        ladder=ladder,
        scores=scores,
        hits=wilson_interval(int(np.isfinite(times).sum()), len(there), level=LEVEL),
        time=_interval(times),
        final=_in_units(problem, metric, _interval(scores)),
        test=_in_units(problem, metric, _interval(tests)),
        diverged=sum(outcome.status == "diverged" for outcome in there),
        failure=failure,
        flags=_flags(plan.space(problem, contender), tuning, scores, bool(failure)),
        widened=_widened(plan, problem, contender),
        repetitions=repetitions,
    )


def _repetition(
    plan: Plan, problem: ProblemFacts, contender: Contender, tuning: Tuning, outcomes: Mapping[str, Outcome]
) -> Repetition:
    trials = plan.final_trials(problem, contender, tuning.point) if tuning.point else []
    there = [outcomes[trial.id] for trial in trials if trial.id in outcomes]
    if not trials or len(there) < len(trials):
        return Repetition(tuning, trials, math.nan)
    scores = oriented(problem, problem.metric, [final_value(outcome, problem.metric) for outcome in there])
    return Repetition(tuning, trials, unoriented(problem, problem.metric, float(np.median(scores))))


def _widened(plan: Plan, problem: ProblemFacts, contender: Contender) -> str:
    """What was added to a space, in words; empty if nothing was."""
    added = []
    for name, span in plan.space(problem, contender).items():
        before = contender.space[name]
        if isinstance(span, Range) and isinstance(before, Range) and span != before:
            added.append(f"{name} [{before.low:g}, {before.high:g}] → [{span.low:g}, {span.high:g}]")
    points = len(plan.added_points(problem, contender))
    return f"widened: {', '.join(added)}, {points} more points" if added else ""


def _interval(values: np.ndarray[Any, Any]) -> Interval:
    return median_interval(values, level=LEVEL) if len(values) else Interval(math.nan, math.nan, math.nan)


def _in_units(problem: ProblemFacts, metric: str, interval: Interval) -> Interval:
    """Turns an oriented interval into the metric's own units, low before high."""
    low, high = (unoriented(problem, metric, bound) for bound in (interval.low, interval.high))
    return Interval(unoriented(problem, metric, interval.estimate), min(low, high), max(low, high))


def _flags(
    space: Mapping[str, Range | float], tuning: Tuning, scores: np.ndarray[Any, Any], has_failed: bool
) -> tuple[str, ...]:
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


def compared(rows: Sequence[Row]) -> list[Row]:
    """Ranks one problem's rows and adds each one's paired difference to the best.

    P-values are Holm-adjusted over all pairs of contenders: the same data choose the best, and with k equal contenders
    adjusting over the k - 1 comparisons shown would call one of them worse in 7 % of studies instead of 5 (k = 6).

    Args:
        rows: of one problem; those that are incomplete go last, in the order given.

    Returns:
        The rows, best median final score first; fewer steps to target break ties.
    """
    complete = sorted(
        (row for row in rows if row.complete and not row.failure),
        key=lambda row: (float(np.median(row.scores)), float(np.median(row.steps_to_target))),
    )
    rest = [row for row in rows if row not in complete]
    if len(complete) < 2:
        return [*complete, *rest]
    best, others = complete[0], complete[1:]
    pairs = [paired_difference(b.scores, a.scores, level=LEVEL) for a, b in itertools.combinations(complete, 2)]
    differences = pairs[: len(others)]  # those with the best come first
    adjusted = holm([pair.p_value for pair in pairs])[: len(others)]
    compared = [
        replace(row, difference=difference, adjusted_p=float(p), luck=_luck(best, row, difference))
        for row, difference, p in zip(others, differences, adjusted, strict=True)
    ]
    return [best, *compared, *rest]


def _luck(best: Row, row: Row, difference: PairedDifference) -> float:
    """The p-value of a difference under the luck of tuning; 0 where the difference's interval tells nothing.

    What a seed does to one contender and not to the other is measured on the final seeds, by the interval of their
    paired differences, and taken to be the noise of the tuning scores too.
    """
    nearest = min(abs(difference.low), abs(difference.high))
    error = (abs(difference.estimate) - nearest) / NormalDist().inv_cdf(0.5 + LEVEL / 2)
    if not 0 < error < math.inf:
        return 0.0
    noise = error * math.sqrt(len(row.scores) / (2 * row.tuning.seeds))
    return luck_p_value(difference.estimate, error, row.tuning.finalists, best.tuning.finalists, noise)
