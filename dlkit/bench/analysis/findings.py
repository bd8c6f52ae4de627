"""Notes beside a verdict, with their numbers: who is fastest, what half of the budget would change."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from dlkit.bench.analysis import numbers, units
from dlkit.bench.analysis.contender_result import ContenderResult
from dlkit.bench.analysis.pairs import ALPHA, LEVEL, Pair, beats_all, common, turned
from dlkit.bench.analysis.ranking import Ranked
from dlkit.bench.plan.orientation import Floored, floored
from dlkit.bench.plan.planned import PlannedProblem
from dlkit.bench.stats import Interval, PairedDifference, fewest_blocks, least_difference

__all__ = [
    "Evidence",
    "Finding",
    "behind",
    "difference_to_best",
    "differences",
    "ends_behind",
    "flip",
    "power",
    "speed",
    "these",
]

POWER = 0.8


class Evidence(NamedTuple):
    """The numbers behind a sentence.

    Attributes:
        name: what they are: ``"difference"`` of final values, ``"difference at half"`` of the budget, ``"ratio of
            steps"`` to the target, ``"final value"``, ``"steps to target"``, ``"keeps the order"``: the probability
            that another block has the difference's sign, ``"difference on new examples"``, ``"difference shown"`` by
            the blocks there are, or by twice as many, ``"gradients per step"``, ``"examples per step"`` or
            ``"examples per gradient"``, and the ``"difference at the same cost"`` in these; what was ``"spent"`` of a
            budget, in its units.
        contender: whose number it is.
        other: what it is compared to; empty if it stands alone.
        estimate: in the metric's own units; a ratio for a log-scaled metric, and for steps.
        low: lower end of the interval; NaN if there is none.
        high: upper end.
        p_value: of the paired test; NaN if nothing was tested.
        adjusted_p: over all pairs of contenders.
        blocks: how many blocks it is from: studies, or with one study, paired seeds.
    """

    name: str
    contender: str
    other: str
    estimate: float
    low: float = math.nan
    high: float = math.nan
    p_value: float = math.nan
    adjusted_p: float = math.nan
    blocks: int = 0


class Finding(NamedTuple):
    """A sentence and the numbers behind it; those that are in it word for word have none beside."""

    text: str
    evidence: tuple[Evidence, ...] = ()


# --- the numbers ---


def behind(problem: PlannedProblem, best: ContenderResult, other: ContenderResult, value: PairedDifference) -> str:
    """Returns a difference to the best as text; as a bound where one of the two is at the metric's floor."""
    return numbers.difference(problem, value, ends_behind(problem, best, other))


def ends_behind(problem: PlannedProblem, best: ContenderResult, other: ContenderResult) -> Floored:
    """Returns in which directions a difference to the best is a bound."""
    differ = np.not_equal(*common(other.blocks, best.blocks))
    return floored(problem, *common(other.at_floor, best.at_floor), differ=differ)


def differences(problem: PlannedProblem, best: Ranked, others: Sequence[Ranked]) -> tuple[Evidence, ...]:
    """Returns the best final value, and each other's difference to it."""
    final = Evidence("final value", best.label, "", *best.result.final[:3], blocks=len(best.result.blocks))
    return (final, *(each for other in others for each in difference_to_best(problem, best, other)))


def difference_to_best(problem: PlannedProblem, best: Ranked, other: Ranked) -> tuple[Evidence, ...]:
    """Returns a contender's difference to the best, and how sure its sign is; nothing for the best itself."""
    pair = other.standing.to_best
    if pair is None:
        return ()
    keeps = _compared("keeps the order", other, best, pair, pair.keeps)
    return (_of_pair("difference", problem, other, best, pair), keeps, *_on_new_examples(problem, other, best, pair))


def _on_new_examples(problem: PlannedProblem, other: Ranked, best: Ranked, pair: Pair) -> tuple[Evidence, ...]:
    new = pair.new_examples
    if new is None:
        return ()
    shown = numbers.in_units(problem, Interval(*new.difference[:3]))
    evidence = _compared("difference on new examples", other, best, pair, shown)
    return (evidence._replace(p_value=new.difference.p_value, adjusted_p=new.adjusted_p),)


def _of_pair(name: str, problem: PlannedProblem, other: Ranked, best: Ranked, pair: Pair) -> Evidence:
    return _compared(name, other, best, pair, numbers.in_units(problem, Interval(*pair.difference[:3])))


def _of_steps(other: Ranked, best: Ranked, pair: Pair) -> Evidence:
    ratio = Interval(*(numbers.power_of_two(value) for value in pair.difference[:3]))
    return _compared("ratio of steps", other, best, pair, ratio)


def _compared(name: str, other: Ranked, best: Ranked, pair: Pair, shown: Interval) -> Evidence:
    return Evidence(
        name, other.label, best.label, *shown, pair.difference.p_value, pair.adjusted_p, len(other.result.blocks)
    )


def these(problem: PlannedProblem, compared: Sequence[Ranked]) -> str:
    """Returns " on these 360 test examples", where contenders are compared on the same ones; see `numbers`."""
    return numbers.on_these_examples(problem, repeats_tuning=all(each.result.repeats_tuning for each in compared))


# --- what would settle it ---


def power(problem: PlannedProblem, compared: Sequence[Ranked], tied: Ranked) -> Finding | None:
    """Says which difference from the best these blocks would show four times in five, and which twice as many would.

    By simulating the whole rule on the scores at hand, all contenders being one family; see `stats.simulated_power`.

    Args:
        problem: what was trained.
        compared: the contenders that finished, best first.
        tied: the one that is not told apart from the best.

    Returns:
        The sentence; None where nothing varies, or where too few of their blocks have a score to tell.
    """
    best, place = compared[0], compared.index(tied)
    scores = np.stack([each.result.planned(each.result.blocks) for each in compared])
    count = scores.shape[1]
    if np.isfinite(scores[[0, place]]).all(axis=0).sum() < fewest_blocks(LEVEL):
        return None
    least = [least_difference(scores, (place, 0), blocks, power=POWER, level=LEVEL) for blocks in (count, 2 * count)]
    if not all(0 < each < math.inf for each in least):
        return None
    unit = "studies" if best.result.repeats_tuning else "seeds"
    now, later = (numbers.size(problem, each) for each in least)
    text = (
        f"Between {best.label} and {tied.label} these {count} {unit} would settle a difference of {now} four times in "
        f"five, {count} more one of {later}."
    )
    evidence = [
        Evidence("difference shown", tied.label, best.label, _in_units(problem, each), blocks=blocks)
        for each, blocks in zip(least, (count, 2 * count), strict=True)
    ]
    return Finding(text, tuple(evidence))


def _in_units(problem: PlannedProblem, size: float) -> float:
    return 10.0**size if problem.judged.scale == "log" else size


# --- before the last step ---


def speed(problem: PlannedProblem, compared: Sequence[Ranked], target: float) -> Finding | None:
    """Says who reaches the target first, and whether that is beyond chance.

    Args:
        problem: what was trained.
        compared: the contenders that finished, best first.
        target: what steps were counted to.

    Returns:
        The sentence; None where curves do not compare before the last step, or there is nothing to say.
    """
    best, others = compared[0], compared[1:]
    if not all(each.standing.steps_ratio for each in others):
        return None
    where = f"{numbers.number(target)}{these(problem, compared)}"
    first = min(compared, key=lambda each: each.result.median_steps.estimate)
    median = first.result.median_steps.estimate
    if math.isinf(median):
        return None
    pair = first.standing.steps_ratio
    if pair is None or not median < best.result.median_steps.estimate:
        return _first_and_best(best, others, where)
    text = _first_and_not_best(problem, best, first, pair, where)
    return Finding(text, (_of_steps(first, best, pair), *difference_to_best(problem, best, first)))


def _first_and_not_best(problem: PlannedProblem, best: Ranked, first: Ranked, pair: Pair, target: str) -> str:
    """Says that another contender than the best is first at the target, and how sure that is."""
    sooner, p_value = _sooner(first, best, pair.difference), f"adjusted p {numbers.p_value(pair.adjusted_p)}"
    if pair.difference.estimate >= 0 or pair.adjusted_p > ALPHA:
        medians = (each.result.median_steps for each in (first, best))
        ours, theirs = (units.amounts(problem.axis, each, problem.budget) for each in medians)
        unit = "" if problem.axis == "seconds" else f" {problem.axis}"
        return f"First to {target}: {first.label}, median {ours}{unit} ({best.label}: {theirs}); not beyond chance."
    end = first.standing.to_best
    if end is not None and first.standing.is_worse:
        away = numbers.away(problem, end.difference, ends_behind(problem, best.result, first.result))
        return (
            f"{first.label} is faster to {target}, {best.label} ends better: {first.label} is there {sooner} "
            f"{best.label} ({p_value}), and ends {away} "
            f"(adjusted p {numbers.p_value(end.adjusted_p)})."
        )
    return (
        f"{first.label} is faster to {target}: it is there {sooner} {best.label} ({p_value}), from which it is not "
        f"told apart at the end."
    )


def _first_and_best(best: Ranked, others: Sequence[Ranked], target: str) -> Finding | None:
    """Says that the best at the end is also the first at the target; it takes every single comparison."""
    pairs = [pair for each in others if (pair := each.standing.steps_ratio)]
    if not beats_all(pairs):
        return None
    next_one, pair = min(zip(others, pairs, strict=True), key=lambda each: each[1].difference.estimate)
    bound = numbers.largest_p_value([each.difference.p_value for each in pairs])
    sooner = _sooner(best, next_one, turned(pair.difference))
    text = (
        f"{best.label} is the first to {target}, too: {sooner} {next_one.label}, the next there "
        f"(p {bound} against each)."
    )
    return Finding(text, tuple(_of_steps(other, best, each) for other, each in zip(others, pairs, strict=True)))


def _sooner(first: Ranked, other: Ranked, log_ratio: PairedDifference) -> str:
    """How many times sooner a contender is at the target than another, with the interval."""
    if math.isinf(log_ratio.estimate):
        hits, of = (
            f"{each.to_target.reached if each.to_target else 0}/{len(each.scores)}"
            for each in (first.result, other.result)
        )
        return f"in {hits} trials, against {of} of"
    return f"{numbers.sooner(Interval(*log_ratio[:3]))} than"


def flip(problem: PlannedProblem, compared: Sequence[Ranked]) -> Finding | None:
    """Says that another contender leads at half of the budget, where both leads are beyond chance.

    Args:
        problem: what was trained.
        compared: the contenders that finished, best first.

    Returns:
        The sentence; None where there is no such flip, or where curves at half do not say what half would give.
    """
    best, others = compared[0], compared[1:]
    halves = [half for each in compared if (half := each.result.half) is not None]
    if len(halves) < len(compared) or not all(each.standing.half for each in others):
        return None
    ahead = compared[int(np.argmin([float(np.median(half.values)) for half in halves]))]
    pair, end = ahead.standing.half, ahead.standing.to_best
    if pair is None or end is None:
        return None
    leads = pair.difference.estimate < 0 and pair.adjusted_p <= ALPHA
    if not (leads and ahead.standing.is_worse):
        return None
    then = numbers.difference(problem, pair.difference)
    early, late = (units.amount(problem.axis, each) for each in (halves[0].at or 0.0, problem.budget))
    now = numbers.away(problem, end.difference, ends_behind(problem, best.result, ahead.result))
    text = (
        f"The ranking flips{these(problem, compared)} if the budget is halved: after {early} {ahead.label} leads, "
        f"{then} from {best.label} (adjusted p {numbers.p_value(pair.adjusted_p)}); after {late} {best.label} does, "
        f"{ahead.label} is {now} (adjusted p {numbers.p_value(end.adjusted_p)}). Both were tuned for {late}."
    )
    evidence = _of_pair("difference at half", problem, ahead, best, pair)
    return Finding(text, (evidence, *difference_to_best(problem, best, ahead)))
