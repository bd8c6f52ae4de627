"""One contender on one problem: its studies, steps to target, final values with intervals, and doubts."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from dlkit.bench.analysis.along_curves import (
    UNKNOWN,
    AlongCurve,
    StepsToTarget,
    amounts_to,
    at_half,
    log_steps,
    steps_to_target,
)
from dlkit.bench.analysis.new_examples import block_scores
from dlkit.bench.analysis.pairs import LEVEL
from dlkit.bench.analysis.starts import wrong_from_start
from dlkit.bench.plan.orientation import at_floor, final_value, oriented, unoriented
from dlkit.bench.plan.plan import Plan
from dlkit.bench.plan.planned import PlannedContender, PlannedProblem
from dlkit.bench.plan.space import Range
from dlkit.bench.plan.trials import Outcome, Trial
from dlkit.bench.stats import Interval, median_interval, wilson_interval
from dlkit.bench.tuning.doubts import Doubts, doubts
from dlkit.bench.tuning.history import History
from dlkit.bench.tuning.winner import Tuning, tune

__all__ = ["ContenderResult", "StudyResult", "block_means", "make_result"]

Floats = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class StudyResult:
    """A study of a contender on a problem: tuned on points and seeds of its own, its winner judged on fresh seeds.

    Attributes:
        number: which of the plan's studies, from 0.
        tuning: how its tuning went.
        tried: what came of its tuning's trials that are known, None where one has not run.
        trials: the final trials of its winner, in seed order; empty if tuning found nothing.
        outcomes: [seeds] what came of them, None where one has not run.
        ended: those that count, up to the first of an added seed that has none, so that seeds pair.
        is_complete: whether tuning is over, and every trial of it and every final one that was planned has an outcome
            that counts; a tuning of which nothing trained is complete without final ones.
    """

    number: int
    tuning: Tuning
    tried: Sequence[Outcome | None]
    trials: Sequence[Trial]
    outcomes: Sequence[Outcome | None]
    ended: Sequence[Outcome]
    is_complete: bool


@dataclass(frozen=True, eq=False)
class ContenderResult:
    """What one contender came to on one problem: its own numbers, without the others'.

    A block is the unit that contenders are compared over. With several studies it is a study, and its value the mean
    over its fresh seeds: tuning is repeated, so that methods are compared. With one study it is a fresh seed: the
    settings found are compared.

    Attributes:
        contender: which.
        studies: in order, those included that were added since.
        repeats_tuning: whether blocks are studies.
        steps_to_target: [trials] what was spent at the first evaluation at the hardest target, in the units of the
            budget (steps, unless it has another axis), +inf where there is none; what diverged after it had been there
            counts as there.
        ladder: [targets][trials] the same to each target, the easiest first.
        scores: [trials] the judged metric after the last step, oriented: lower is better, +inf where diverged.
        blocks: [blocks] the same of a block; +inf where a seed diverged, or where a study's tuning found nothing.
        at_floor: [blocks] whether the score of a seed of it is at the metric's numerical floor, and so a bound.
        hits: share of trials that reached the target, Wilson interval.
        median_steps: Kaplan and Meier's median steps to target and its interval; +inf means more trials missed it than
            not.
        final: the judged metric on what judges: median over blocks and interval, in the metric's own units.
        validation: the same on validation, which selected: it may flatter. NaN where curves end within a budget: the
            parameters there are not kept.
        diverged: how many final trials diverged.
        failure: why the contender could not run, empty if it could: of the blocks that were planned.
        later_failure: why blocks that were added could not run, empty if they could. It is compared on those it has.
        doubts: what makes the tuning doubtful.
        flags: the same in words.
        widened: what was added to the space since the spec, in words.
        to_target: how its final trials came out against the hardest target; None where there is none yet.
        log_steps: log2 of the steps to it, of each block; None where curves do not compare before the last step.
        half: the judged metric at half of the budget; None where that says nothing about half of the budget.
        required: blocks without which a contender is not compared: those that were not added later.
        example_scores: [blocks, examples] the score of each test example, oriented; NaN where a block has none. None
            where trials kept none, or blocks have examples of their own.
        wrong_from_start: what no tuning trial had right before its first step, in words; empty if one had all.
    """

    contender: PlannedContender
    studies: Sequence[StudyResult]
    repeats_tuning: bool
    steps_to_target: Floats
    ladder: Sequence[Floats]
    scores: Floats
    blocks: Floats
    at_floor: Floats
    hits: Interval
    median_steps: Interval
    final: Interval
    validation: Interval
    diverged: int
    failure: str
    later_failure: str
    doubts: Doubts
    flags: tuple[str, ...]
    widened: str
    to_target: StepsToTarget | None
    log_steps: AlongCurve | None
    half: AlongCurve | None
    required: int
    example_scores: Floats | None = None
    wrong_from_start: str = ""

    @property
    def label(self) -> str:
        """The contender's label."""
        return self.contender.label

    @property
    def tunings(self) -> list[Tuning]:
        """The tuning of every study."""
        return [each.tuning for each in self.studies]

    @cached_property
    def typical(self) -> StudyResult:
        """The study whose value is the median of all: its setting is the one that tables show."""
        known = self.studies[: len(self.blocks)] if self.repeats_tuning else self.studies[:1]
        known = [each for each in known if each.tuning.winner is not None]
        if len(known) < 2:
            return known[0] if known else self.studies[0]
        values = [self.blocks[each.number] for each in known]
        return known[int(np.argsort(values, kind="stable")[(len(values) - 1) // 2])]

    @property
    def tuning(self) -> Tuning:
        """The tuning of the typical study."""
        return self.typical.tuning

    @cached_property
    def trials(self) -> Sequence[Trial]:
        """The final trials of all studies, in order."""
        return [trial for each in self.studies for trial in each.trials]

    @cached_property
    def outcomes(self) -> Sequence[Outcome | None]:
        """[trials] what came of them, None where one has not run."""
        return [outcome for each in self.studies for outcome in each.outcomes]

    @property
    def tuning_is_over(self) -> bool:
        """Whether all planned studies have been tuned."""
        return not any(each.tuning.missing for each in self.studies[: self._planned_studies])

    @property
    def found_nothing(self) -> bool:
        """Whether tuning is over in all studies, and found nothing in any."""
        return self.tuning_is_over and all(each.winner is None for each in self.tunings)

    @property
    def is_complete(self) -> bool:
        """Whether every planned study is complete, and one of them at least found something that trains."""
        planned = self.studies[: self._planned_studies]
        return all(each.is_complete for each in planned) and not self.found_nothing

    @property
    def is_comparable(self) -> bool:
        """Whether it can be compared with others: it is complete, and nothing failed that was planned."""
        return self.is_complete and not self.failure

    @property
    def ran(self) -> list[Outcome]:
        """What came of all its trials that have run, tuning before final in each study."""
        every = (outcome for each in self.studies for outcome in (*each.tried, *each.outcomes))
        return [outcome for outcome in every if outcome is not None]

    @cached_property
    def every_trial(self) -> list[tuple[int, Trial]]:
        """All its trials with their study, tuning before final."""
        return [(each.number, trial) for each in self.studies for trial in [*each.tuning.known, *each.trials]]

    @cached_property
    def gradients_per_step(self) -> float:
        """How many gradients a step took, mean over its final trials; NaN where nothing ran."""
        ended = [outcome for each in self.studies for outcome in each.ended if len(outcome.steps)]
        last = {id(outcome.steps): int(outcome.steps[-1]) for outcome in ended}
        steps = sum(last[id(outcome.steps)] for outcome in ended)
        # one a step where nothing else is said
        gradients = [
            float(last[id(outcome.steps)] if outcome.gradients is None else outcome.gradients[-1]) for outcome in ended
        ]
        return sum(gradients) / steps if steps else math.nan

    def could_gain(self, gap: float) -> bool:
        """Returns whether its tuning is doubtful, and better tuning could gain so much, as far as its points tell.

        Twice as many points would gain about `Doubts.gain`. What lies beyond an edge is told from what nearing it
        gained.
        """
        return bool(self.flags) and (self.doubts.too_few or self.doubts.gain + self.doubts.beyond >= gap)

    def planned(self, values: Floats) -> Floats:
        """Returns the values [blocks] of the blocks that were planned, without those that were added by a look at them.

        Tests of a number of blocks fixed beforehand hold for these alone.
        """
        return values[: self.required]

    @property
    def _planned_studies(self) -> int:
        return self.required if self.repeats_tuning else 1


def make_result(
    history: History, problem: PlannedProblem, contender: PlannedContender, targets: Sequence[float]
) -> ContenderResult:
    """Computes a contender's own numbers from the outcomes there are.

    Args:
        history: the plan, and the outcomes so far.
        problem: which.
        contender: which.
        targets: what steps are counted to, the easiest first.

    Returns:
        The result.
    """
    plan, metric = history.plan, problem.metric
    studies = [_study(history, problem, contender, study) for study in plan.studies(problem, contender)]
    there = [outcome for each in studies for outcome in each.ended]
    ladder = [amounts_to(problem, contender, there, target) for target in targets]
    times = ladder[-1] if ladder else np.full(len(there), np.inf)
    scores = oriented(problem, metric, [final_value(outcome, metric) for outcome in there])
    selected = oriented(problem, metric, [outcome.validation.get(metric, math.nan) for outcome in there])
    blocks, selected_blocks = (block_means(plan, studies, values) for values in (scores, selected))
    is_bounded = problem.allowance(contender.label).gradients is not None  # its last parameters lie beyond the budget
    failure, later_failure = _failures(plan, studies)
    hardest = targets[-1] if targets else math.nan
    reached = steps_to_target(problem, contender, there, hardest, level=LEVEL)
    doubted = doubts(plan.space(problem, contender), [each.tuning for each in studies])
    steps = log_steps(problem, contender, there, hardest, amounts=times)
    half = at_half(problem, contender, there)
    return ContenderResult(
        contender=contender,
        studies=studies,
        repeats_tuning=plan.repeats_tuning,
        steps_to_target=times,
        ladder=ladder,
        scores=scores,
        blocks=blocks,
        at_floor=_any_of_block(plan, studies, at_floor(problem, metric, scores)),
        hits=wilson_interval(int(np.isfinite(times).sum()), len(there), level=LEVEL),
        median_steps=reached.median if reached else _interval(times),
        final=_in_units(problem, metric, _interval(blocks)),
        validation=UNKNOWN if is_bounded else _in_units(problem, metric, _interval(selected_blocks)),
        diverged=sum(outcome.status == "diverged" for outcome in there),
        failure=failure,
        later_failure=later_failure,
        doubts=doubted,
        flags=_flags(plan.space(problem, contender), doubted, blocks, bool(failure)),
        widened=_widened(plan, problem, contender),
        to_target=reached,
        log_steps=_of_blocks(plan, studies, steps),
        half=_of_blocks(plan, studies, half),
        required=plan.planned_blocks,
        example_scores=None if plan.splits_anew(problem) else block_scores(problem, _outcomes_of_blocks(plan, studies)),
        wrong_from_start=wrong_from_start(problem, [outcome for each in studies for outcome in each.tried]),
    )


def _failures(plan: Plan, studies: Sequence[StudyResult]) -> tuple[str, str]:
    """Why trials failed: the first reason among those of the blocks that were planned, and among the others."""
    reasons: dict[bool, list[str]] = {False: [], True: []}
    for each in studies:
        for place, outcome in enumerate([*each.tried, *each.outcomes]):
            if outcome is not None and outcome.status == "failed":
                is_added = each.number >= plan.tuner.studies or place >= len(each.tried) + plan.seeds
                reasons[is_added].append(outcome.reason)
    return next(iter(reasons[False]), ""), next(iter(reasons[True]), "")


def _study(history: History, problem: PlannedProblem, contender: PlannedContender, study: int) -> StudyResult:
    tuning = tune(history, problem, contender, study=study)
    trials = history.final_trials(problem, contender, tuning.point, study=study) if tuning.point else ()
    required, outcomes, tried = history.plan.seeds, history.found(trials), history.found(tuning.known)
    ended = [outcome for outcome in outcomes[:required] if outcome is not None and outcome.counts]
    is_tuned = not tuning.missing and all(outcome is None or outcome.status != "failed" for outcome in tried)
    is_complete = is_tuned and len(ended) == len(outcomes[:required])
    for outcome in outcomes[required:]:
        if outcome is None or not outcome.counts:
            break
        ended.append(outcome)
    return StudyResult(study, tuning, tried, trials, outcomes, ended, is_complete)


def block_means(plan: Plan, studies: Sequence[StudyResult], values: Floats) -> Floats:
    """Returns a quantity of every block, from that of every final trial.

    Args:
        plan: the plan.
        studies: of a contender, in order.
        values: [trials] of the trials that ended, study by study; lower is better.

    Returns:
        [blocks] With several studies their means, up to the first that is not complete: +inf where one value is, or
        where tuning found nothing. With one study the values themselves.
    """
    if not plan.repeats_tuning:
        return values
    count = len(studies[0].ended) if studies else 0
    if count and all(each.is_complete and len(each.ended) == count for each in studies):
        together: Floats = np.mean(np.asarray(values, np.float64).reshape(len(studies), count), axis=1)
        return together
    means, first = [], 0
    for each in studies:
        if not each.is_complete:
            break
        own = np.asarray(values[first : first + len(each.ended)], np.float64)
        means.append(float(np.mean(own)) if own.size else math.inf)
        first += own.size
    return np.array(means)


def _outcomes_of_blocks(plan: Plan, studies: Sequence[StudyResult]) -> list[Sequence[Outcome]]:
    """The final trials of each block that ended, as `block_means` takes them."""
    if not plan.repeats_tuning:
        return [[outcome] for each in studies for outcome in each.ended]
    return [each.ended for each in itertools.takewhile(lambda each: each.is_complete, studies)]


def _any_of_block(plan: Plan, studies: Sequence[StudyResult], is_there: Floats) -> Floats:
    shares = block_means(plan, studies, is_there.astype(np.float64))
    return np.isfinite(shares) & (shares > 0)


def _of_blocks(plan: Plan, studies: Sequence[StudyResult], along: AlongCurve | None) -> AlongCurve | None:
    return None if along is None else along._replace(values=block_means(plan, studies, along.values))


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


def _flags(space: Mapping[str, Range | float], doubted: Doubts, blocks: Floats, has_failed: bool) -> tuple[str, ...]:
    """What makes a contender's tuning doubtful, in words."""
    if has_failed or not doubted.points:
        return ()
    flags = []
    for name, side in doubted.edges.items():
        span = space[name]
        bound = span if isinstance(span, int | float) else (span.high if side == "upper" else span.low)
        flags.append(f"{name} at the {side} edge of its space ({bound:g})")
    if doubted.too_few:
        all_trained = doubted.finite == doubted.points
        points = "point" if doubted.points == 1 else "points"
        flags.append(
            f"only {doubted.points} {points}"
            if all_trained
            else f"only {doubted.finite} of {doubted.points} points trained"
        )
    spread = float(np.std(blocks, ddof=1)) if len(blocks) > 1 and np.isfinite(blocks).all() else math.inf
    if math.isinf(doubted.gain) or doubted.gain > spread:
        flags.append("tuning curve still falling")
    return tuple(flags)
