"""Notes beside a verdict, with their numbers: seeds needed, who is fastest, what half of the budget would change."""

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from dlkit.bench.analysis import numbers
from dlkit.bench.analysis.contender_result import ContenderResult
from dlkit.bench.analysis.pairs import ALPHA, CURVE_ALPHA, LEVEL, Pair
from dlkit.bench.analysis.ranking import Ranked
from dlkit.bench.plan.plan import PlannedProblem
from dlkit.bench.stats import Interval, PairedDifference, detectable_difference, required_pairs

__all__ = [
    "POWER",
    "Evidence",
    "Finding",
    "across_studies",
    "difference_to_best",
    "differences",
    "flip",
    "power",
    "speed",
]

POWER = 0.8
LEAST_SPREAD = 1e-3  # of scores over seeds, in that of paired differences: no number of seeds that one can train


class Evidence(NamedTuple):
    """The numbers behind a sentence.

    Attributes:
        name: what they are: ``"difference"`` of final values, ``"difference at half"`` of the budget, ``"difference
            over studies"``, with tuning's noise, or ``"difference over studies, seeds alone"``, ``"ratio of steps"``
            to the target, ``"final value"``, ``"steps to target"``, ``"seeds needed"`` for a difference of one standard
            deviation, ``"difference shown"`` by the seeds there are.
        contender: whose number it is.
        other: what it is compared to; empty if it stands alone.
        estimate: in the metric's own units; a ratio for a log-scaled metric, and for steps.
        low: lower end of the interval; NaN if there is none.
        high: upper end.
        p_value: of the paired test; NaN if nothing was tested.
        adjusted_p: Holm's, over all pairs of contenders.
        luck: the probability that the luck of tuning sets two equal contenders so far apart.
        seeds: how many paired seeds it is from.
    """

    name: str
    contender: str
    other: str
    estimate: float
    low: float = math.nan
    high: float = math.nan
    p_value: float = math.nan
    adjusted_p: float = math.nan
    luck: float = math.nan
    seeds: int = 0


class Finding(NamedTuple):
    """A sentence and the numbers behind it; those that are in it word for word have none beside."""

    text: str
    evidence: tuple[Evidence, ...] = ()


# --- the numbers ---


def differences(problem: PlannedProblem, best: Ranked, others: Sequence[Ranked]) -> tuple[Evidence, ...]:
    """Returns the best final value, and each other's difference to it."""
    final = Evidence("final value", best.label, "", *best.result.final[:3], seeds=len(best.result.scores))
    return (final, *(each for other in others for each in difference_to_best(problem, best, other)))


def difference_to_best(problem: PlannedProblem, best: Ranked, other: Ranked) -> tuple[Evidence, ...]:
    """Returns a contender's difference to the best; nothing for the best itself."""
    pair = other.standing.to_best
    return (_of_pair("difference", problem, other, best, pair),) if pair else ()


def _of_pair(name: str, problem: PlannedProblem, other: Ranked, best: Ranked, pair: Pair) -> Evidence:
    return _compared(name, other, best, pair, numbers.in_units(problem, Interval(*pair.difference[:3])))


def _of_steps(other: Ranked, best: Ranked, pair: Pair) -> Evidence:
    ratio = Interval(*(numbers.power_of_two(value) for value in pair.difference[:3]))
    return _compared("ratio of steps", other, best, pair, ratio)


def _compared(name: str, other: Ranked, best: Ranked, pair: Pair, shown: Interval) -> Evidence:
    tests = (pair.difference.p_value, pair.adjusted_p, pair.luck)
    return Evidence(name, other.label, best.label, *shown, *tests, len(other.result.scores))


# --- a tie ---


def power(problem: PlannedProblem, best: Ranked, tied: Sequence[Ranked], compared: int) -> Finding | None:
    """Says how many paired seeds would settle a difference of one standard deviation, and what these seeds can settle.

    A standard deviation is that of final values over seeds, before pairing, from their quartiles, so that a single bad
    seed does not make it. The noise of the comparison is from the signed-rank test's interval, of the tied contender
    where it is widest. Seeds are those of the paired t-test for a power of 80 % at the level of all pairs.

    Args:
        problem: what was trained.
        best: the first contender.
        tied: those that it is not told apart from.
        compared: how many contenders were compared.

    Returns:
        The sentence; None where seeds are not what is missing, are too few to tell, or where nothing varies.
    """
    lacking = [
        (each.result, pair.difference)
        for each in tied
        if (pair := each.standing.to_best) and not pair.adjusted_p <= ALPHA
    ]
    seeds, level = len(best.result.scores), 1 - ALPHA / math.comb(compared, 2)
    noises = [_noise(difference, seeds) for _, difference in lacking]
    if not noises or not 0 < max(noises) < math.inf:
        return None
    noisiest, noise = lacking[int(np.argmax(noises))][0], max(noises)
    spread = math.sqrt(0.5 * (_deviation(noisiest) ** 2 + _deviation(best.result) ** 2))
    if not LEAST_SPREAD * noise < spread < math.inf:
        return None
    fewest = math.ceil(1 - math.log2(1 - level))  # so that the smallest p-value can pass
    needed = max(fewest, required_pairs(spread, noise, power=POWER, level=level))
    text = f"{needed} paired seeds would settle a difference of 1 sd ({numbers.size(problem, spread)})"
    evidence = [Evidence("seeds needed", noisiest.label, best.label, float(needed), seeds=seeds)]
    if seeds >= fewest:
        shown = detectable_difference(seeds, noise, power=POWER, level=level)
        text += f", these {seeds} one of {numbers.size(problem, shown)}"
        units = 10.0**shown if problem.judged.scale == "log" else shown
        evidence.append(Evidence("difference shown", noisiest.label, best.label, units, seeds=seeds))
    return Finding(f"{text}.", tuple(evidence))


def _noise(difference: PairedDifference, seeds: int) -> float:
    """The standard deviation of normal differences with a t-interval as wide as this one; +inf without an interval."""
    from scipy.special import stdtrit

    if seeds < 2 or math.isinf(difference.high - difference.low):
        return math.inf
    return 0.5 * (difference.high - difference.low) * math.sqrt(seeds) / float(stdtrit(seeds - 1, 0.5 + LEVEL / 2))


def _deviation(result: ContenderResult) -> float:
    """The standard deviation of normal scores with these quartiles; +inf or NaN where too many diverged."""
    with np.errstate(invalid="ignore"):
        low, high = np.quantile(np.asarray(result.scores, np.float64), (0.25, 0.75))
    return float(high - low) / (2 * NormalDist().inv_cdf(0.75))


# --- before the last step ---


def speed(problem: PlannedProblem, compared: Sequence[Ranked], target: float) -> Finding | None:
    """Says who reaches the target first: beyond chance and beyond the luck of tuning, or softly.

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
    first = min(compared, key=lambda each: each.result.median_steps.estimate)
    median = first.result.median_steps.estimate
    if math.isinf(median):
        return None
    pair = first.standing.steps_ratio
    if pair is None or not median < best.result.median_steps.estimate:
        return _first_and_best(best, others, target)
    text = _first_and_not_best(problem, best, first, pair, numbers.number(target))
    return Finding(text, (_of_steps(first, best, pair), *difference_to_best(problem, best, first)))


def _first_and_not_best(problem: PlannedProblem, best: Ranked, first: Ranked, pair: Pair, target: str) -> str:
    """Says that another contender than the best is first at the target, and how sure that is."""
    sooner, p_value = _sooner(first, best, pair.difference), f"adjusted p {numbers.p_value(pair.adjusted_p)}"
    if pair.difference.estimate >= 0 or pair.adjusted_p > ALPHA:
        ours, theirs = (numbers.steps(each.result.median_steps, problem.steps) for each in (first, best))
        return f"First to {target}: {first.label}, median {ours} steps ({best.label}: {theirs}); not beyond chance."
    if pair.luck > CURVE_ALPHA:
        return (
            f"First to {target} at the points that tuning picked: {first.label}, {sooner} {best.label} ({p_value}); "
            f"other tuning points could change that."
        )
    end = first.standing.to_best
    if end is not None and end.is_worse(end.adjusted_p):
        return (
            f"{first.label} is faster to {target}, {best.label} ends better: {first.label} is there {sooner} "
            f"{best.label} ({p_value}), and ends {numbers.difference(problem, end.difference)} away "
            f"(adjusted p {numbers.p_value(end.adjusted_p)})."
        )
    return (
        f"{first.label} is faster to {target}: it is there {sooner} {best.label} ({p_value}), from which it is not "
        f"told apart at the end."
    )


def _first_and_best(best: Ranked, others: Sequence[Ranked], target: float) -> Finding | None:
    """Says that the best at the end is also the first at the target; it takes every single comparison."""
    pairs = [pair for each in others if (pair := each.standing.steps_ratio)]
    if not all(
        each.difference.estimate > 0 and each.difference.p_value <= ALPHA and each.luck <= CURVE_ALPHA for each in pairs
    ):
        return None
    next_one, pair = min(zip(others, pairs, strict=True), key=lambda each: each[1].difference.estimate)
    turned = pair.difference._replace(
        estimate=-pair.difference.estimate, low=-pair.difference.high, high=-pair.difference.low
    )
    bound = numbers.largest_p_value([each.difference.p_value for each in pairs])
    text = (
        f"{best.label} is the first to {numbers.number(target)}, too: {_sooner(best, next_one, turned)} "
        f"{next_one.label}, the next there (p {bound} against each)."
    )
    return Finding(text, tuple(_of_steps(other, best, each) for other, each in zip(others, pairs, strict=True)))


def _sooner(first: Ranked, other: Ranked, log_ratio: PairedDifference) -> str:
    """How many times sooner a contender is at the target than another, with the interval."""
    if math.isinf(log_ratio.estimate):
        hits, of = (
            f"{each.to_target.reached if each.to_target else 0}/{len(each.scores)}"
            for each in (first.result, other.result)
        )
        return f"in {hits} seeds, against {of} of"
    times, low, high = (numbers.power_of_two(-value) for value in (log_ratio.estimate, log_ratio.high, log_ratio.low))
    return f"{numbers.number(times)}{numbers.TIMES} sooner [{numbers.number(low)}, {numbers.number(high)}] than"


def flip(problem: PlannedProblem, compared: Sequence[Ranked]) -> Finding | None:
    """Says that another contender leads at half of the budget, where both leads are beyond chance and tuning's luck.

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
    leads = pair.difference.estimate < 0 and pair.adjusted_p <= ALPHA and pair.luck <= CURVE_ALPHA
    if not (leads and end.is_worse(end.adjusted_p)):
        return None
    then, now = (numbers.difference(problem, each.difference) for each in (pair, end))
    text = (
        f"The ranking flips if the budget is halved: after {halves[0].step} steps {ahead.label} leads, {then} from "
        f"{best.label} (adjusted p {numbers.p_value(pair.adjusted_p)}); after {problem.steps} {best.label} does, "
        f"{ahead.label} is {now} away (adjusted p {numbers.p_value(end.adjusted_p)}). Both were tuned for "
        f"{problem.steps} steps."
    )
    evidence = _of_pair("difference at half", problem, ahead, best, pair)
    return Finding(text, (evidence, *difference_to_best(problem, best, ahead)))


# --- several tuning studies ---


def across_studies(problem: PlannedProblem, best: Ranked, other: Ranked) -> Finding | None:
    """Says how far a contender is from the best with the noise of tuning, and without; None with one study."""
    nested = other.standing.across_difference
    if nested is None:
        return None
    with_tuning, seeds_only = nested.with_tuning, nested.seeds_only
    shown, alone = (numbers.oriented_interval(problem, each) for each in (with_tuning, seeds_only))
    doubt = "; another tuning could undo it" if with_tuning.low <= 0 < seeds_only.low else ""
    count = len(other.result.tunings)
    text = f"Over {count} studies {other.label} is {shown} away, with the noise of tuning; seeds alone: {alone}{doubt}."
    named = (("difference over studies", with_tuning), ("difference over studies, seeds alone", seeds_only))
    seeds = len(other.result.scores)
    evidence = tuple(
        Evidence(name, other.label, best.label, *numbers.in_units(problem, each), seeds=seeds) for name, each in named
    )
    return Finding(text, evidence)
