"""Outcomes -> one row a contender: hits, steps to target, final metrics with intervals, differences to the best."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from dlkit.bench.analysis.along_curves import UNKNOWN, Moment, StepsToTarget, at_half, log_steps, steps_to_target
from dlkit.bench.analysis.pairs import ALPHA, LEVEL, Pair, Pairs, all_pairs, letters, moment_luck, score_luck
from dlkit.bench.plan.orientation import final_value, oriented, unoriented
from dlkit.bench.plan.plan import Plan, PlannedContender, PlannedProblem
from dlkit.bench.plan.space import Range
from dlkit.bench.plan.trials import Outcome, Trial
from dlkit.bench.stats import (
    Interval,
    NestedMean,
    PairedDifference,
    crossed_mean,
    friedman,
    median_interval,
    wilson_interval,
)
from dlkit.bench.tuning.targets import steps_to
from dlkit.bench.tuning.winner import Tuning

__all__ = ["LEVEL", "Among", "Judge", "Repetition", "Row", "compared", "is_worse", "make_row"]


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
    scores: np.ndarray[Any, Any]


Judge = Callable[["Row", "Row", Pair], Pair]
"""``judge(best, row, pair) -> pair``: how a row differs from a better one, by other numbers."""


class Among(NamedTuple):
    """How a contender stands among the others that finished.

    Attributes:
        group: letters; contenders that share one are not told apart by Holm-adjusted tests of all pairs, or by no more
            than the luck of tuning. A winner shares its letter with none.
        mean_rank: of its final scores among the contenders', over seeds; 1 is the best.
        steps: its log2 steps to target less the best one's; None for the best, or where they do not compare.
        half: its scores at half of the budget less the best one's; likewise.
        across: the mean of its final scores over all studies and seeds, oriented; None with one study.
        across_difference: of its final scores less the best one's, likewise; None for the best.
    """

    group: str = ""
    mean_rank: float = math.nan
    steps: Pair | None = None
    half: Pair | None = None
    across: NestedMean | None = None
    across_difference: NestedMean | None = None


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
        time: Kaplan and Meier's median steps to target and its interval; +inf means more seeds missed it than not.
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
        steps: how its final trials came out against the hardest target; None where there is none yet.
        log_steps: log2 of their steps to it; None where moments before the last step do not compare.
        half: the judged metric at half of the budget; None where that says nothing about half of the budget.
        among: how it stands among the others.
        required: seeds without which a contender is not compared: those that were not added later; None for all.
    """

    contender: PlannedContender
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
    steps: StepsToTarget | None = None
    log_steps: Moment | None = None
    half: Moment | None = None
    among: Among = field(default_factory=Among)
    required: int | None = None

    @property
    def across(self) -> Interval | None:
        """The median, the smallest and the largest of the studies' medians; None unless several have all run."""
        medians = [self.final.estimate, *(each.median for each in self.repetitions)]
        if len(medians) == 1 or not self.complete or any(map(math.isnan, medians)):
            return None
        return Interval(float(np.median(medians)), min(medians), max(medians))

    def planned(self, values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Returns the values [seeds] of the seeds that were planned, without those that were added by a look at them.

        Tests of a number of seeds fixed beforehand hold for these alone.
        """
        return values[: self.required]

    @property
    def label(self) -> str:
        """The contender's label."""
        return self.contender.label

    @property
    def complete(self) -> bool:
        """Whether every final trial has an outcome that counts; of seeds that are added, those count that have one."""
        required = self.outcomes[: self.required]
        return bool(required) and all(each is not None and each.counts for each in required)


def make_row(
    plan: Plan,
    problem: PlannedProblem,
    contender: PlannedContender,
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
    there = _ended(finals, plan.seeds)
    ladder = [np.array([steps_to(problem, outcome, target) for outcome in there]) for target in targets]
    times = ladder[-1] if ladder else np.full(len(there), np.inf)
    scores = oriented(problem, metric, [final_value(outcome, metric) for outcome in there])
    tests = oriented(problem, metric, [outcome.test.get(metric, math.nan) for outcome in there])
    repetitions = [
        _repetition(plan, problem, contender, each, outcomes, study) for study, each in enumerate(further, 1)
    ]
    every = [*tuning.known, *trials, *(trial for each in repetitions for trial in [*each.tuning.known, *each.trials])]
    ran = [outcomes[trial.id] for trial in every if trial.id in outcomes]
    failure = next((outcome.reason for outcome in ran if not outcome.counts), "")
    hardest = targets[-1] if targets else math.nan
    reached = steps_to_target(problem, there, hardest, level=LEVEL)
    return Row(
        contender=contender,
        tuning=tuning,
        trials=trials,
        outcomes=finals,
        steps_to_target=times,
        ladder=ladder,
        scores=scores,
        hits=wilson_interval(int(np.isfinite(times).sum()), len(there), level=LEVEL),
        time=reached.median if reached else _interval(times),
        final=_in_units(problem, metric, _interval(scores)),
        test=_in_units(problem, metric, _interval(tests)),
        diverged=sum(outcome.status == "diverged" for outcome in there),
        failure=failure,
        flags=_flags(plan.space(problem, contender), tuning, scores, bool(failure)),
        widened=_widened(plan, problem, contender),
        repetitions=repetitions,
        steps=reached,
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
    plan: Plan,
    problem: PlannedProblem,
    contender: PlannedContender,
    tuning: Tuning,
    outcomes: Mapping[str, Outcome],
    study: int,
) -> Repetition:
    trials = plan.final_trials(problem, contender, tuning.point, study=study) if tuning.point else []
    there = [outcomes[trial.id] for trial in trials if trial.id in outcomes]
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


def _interval(values: np.ndarray[Any, Any]) -> Interval:
    return median_interval(values, level=LEVEL) if len(values) else UNKNOWN


def _in_units(problem: PlannedProblem, metric: str, interval: Interval) -> Interval:
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


def compared(rows: Sequence[Row], *, first: str = "", judge: Judge | None = None) -> list[Row]:
    """Ranks one problem's rows and adds each one's paired difference to the best, and how it stands among the others.

    P-values are Holm-adjusted over all pairs of contenders, of final scores, of steps to target and of scores at half
    of the budget, each family by itself.

    Args:
        rows: of one problem; those that are incomplete go last, in the order given.
        first: label of a contender that is known to be best, whatever medians say; empty if there is none.
        judge: replaces the numbers of a pair; None to keep those of the signed-rank test.

    Returns:
        The rows, best median final score first; fewer steps to target break ties.
    """
    complete = sorted(
        (row for row in rows if row.complete and not row.failure),
        key=lambda row: (row.label != first, float(np.median(row.scores)), float(np.median(row.steps_to_target))),
    )
    rest = [row for row in rows if row not in complete]
    if len(complete) < 2:
        return [*complete, *rest]

    def luck(best: int, row: int, difference: PairedDifference) -> float:
        seeds = min(len(complete[place].scores) for place in (best, row))
        return score_luck(complete[row].tuning, complete[best].tuning, difference, seeds)

    pairs = all_pairs([row.scores for row in complete], luck)
    if judge is not None:
        pairs = {(i, j): judge(complete[i], complete[j], pair) for (i, j), pair in pairs.items()}
    with_best = [pairs[0, place] for place in range(1, len(complete))]
    others = [
        replace(row, difference=pair.difference, adjusted_p=pair.adjusted_p, luck=pair.luck)
        for row, pair in zip(complete[1:], with_best, strict=True)
    ]
    ranked = [complete[0], *others]
    return [
        *(replace(row, among=each) for row, each in zip(ranked, _among(ranked, pairs), strict=True)),
        *rest,
    ]


def is_worse(row: Row, p_value: float) -> bool:
    """Whether a contender is worse than the best beyond chance, by that p-value, and beyond the luck of tuning."""
    return row.difference is not None and row.difference.estimate > 0 and p_value <= ALPHA and row.luck <= ALPHA


def _among(ranked: Sequence[Row], pairs: Pairs) -> list[Among]:
    """How contenders that finished stand among each other, the best first."""
    apart = {key for key, pair in pairs.items() if pair.is_apart}
    # To be better than all others is a test of its own size: see `verdicts`.
    if all(is_worse(row, row.difference.p_value) for row in ranked[1:] if row.difference):
        apart |= {(0, place) for place in range(1, len(ranked))}
    groups = letters(len(ranked), apart)
    mean_ranks = friedman([row.planned(row.scores) for row in ranked]).mean_ranks
    steps = _moment_pairs(ranked, [row.log_steps for row in ranked], pairs)
    half = _moment_pairs(ranked, [row.half for row in ranked], pairs)
    studies = [_over_studies(row) for row in ranked]
    best = studies[0]
    found = []
    for place, (group, mean_rank, scores) in enumerate(zip(groups, mean_ranks, studies, strict=True)):
        across = None if scores is None else crossed_mean(scores, level=LEVEL)
        to_best = None if place == 0 or scores is None or best is None else crossed_mean(scores - best, level=LEVEL)
        found.append(Among(group, float(mean_rank), steps.get((0, place)), half.get((0, place)), across, to_best))
    return found


def _moment_pairs(ranked: Sequence[Row], moments: Sequence[Moment | None], scores: Pairs) -> Pairs:
    """Compares moments; none where one contender has none, or where they are taken at different steps.

    The luck of tuning, which takes milliseconds, is only asked for where it matters: of differences to the best.
    """
    held = [moment for moment in moments if moment is not None]
    if len(held) < len(moments) or len({moment.step for moment in held}) > 1:
        return {}

    def luck(i: int, j: int, difference: PairedDifference) -> float:
        if i > 0 or difference.p_value > ALPHA:
            return 1.0
        ours, theirs = ((ranked[place].tuning, held[place]) for place in (j, i))
        return moment_luck(ours, theirs, scores[i, j].difference)

    return all_pairs([row.planned(moment.values) for row, moment in zip(ranked, held, strict=True)], luck)


def _over_studies(row: Row) -> np.ndarray[Any, Any] | None:
    """[studies, seeds] A contender's final scores; None with one study, or where some diverged or are missing."""
    studies = [row.planned(row.scores), *(each.scores for each in row.repetitions)]
    if len(studies) == 1 or any(len(each) != len(studies[0]) for each in studies):
        return None
    scores = np.array(studies, np.float64)
    return scores if np.isfinite(scores).all() else None
