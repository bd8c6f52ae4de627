"""What else the rows of a problem say, in sentences that carry the numbers they rest on."""

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from dlkit.bench.analysis import numbers
from dlkit.bench.analysis.pairs import ALPHA, LEVEL, MOMENT_ALPHA, Pair
from dlkit.bench.analysis.ranking import Row, is_worse
from dlkit.bench.plan.plan import PlannedProblem
from dlkit.bench.stats import Interval, PairedDifference, detectable_difference, required_pairs

__all__ = ["POWER", "Evidence", "Finding", "across_studies", "differences", "flip", "power", "speed"]

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


def differences(problem: PlannedProblem, best: Row, others: Sequence[Row]) -> tuple[Evidence, ...]:
    """Returns the best final value, and each other's difference to it."""
    final = Evidence("final value", best.label, "", *best.final[:3], seeds=len(best.scores))
    return (final, *(_of_pair("difference", problem, row, best, pair) for row in others if (pair := _final_pair(row))))


def _final_pair(row: Row) -> Pair | None:
    return None if row.difference is None else Pair(row.difference, row.adjusted_p, row.luck)


def _of_pair(name: str, problem: PlannedProblem, row: Row, best: Row, pair: Pair) -> Evidence:
    interval = numbers.in_units(problem, Interval(*pair.difference[:3]))
    tests = (pair.difference.p_value, pair.adjusted_p, pair.luck)
    return Evidence(name, row.label, best.label, *interval, *tests, len(row.scores))


def _of_steps(row: Row, best: Row, pair: Pair) -> Evidence:
    ratio = Interval(*(numbers.power_of_two(value) for value in pair.difference[:3]))
    tests = (pair.difference.p_value, pair.adjusted_p, pair.luck)
    return Evidence("ratio of steps", row.label, best.label, *ratio, *tests, len(row.scores))


# --- a tie ---


def power(problem: PlannedProblem, best: Row, tied: Sequence[Row], compared: int) -> Finding | None:
    """Says how many paired seeds would settle a difference of one standard deviation, and what these seeds can settle.

    A standard deviation is that of final values over seeds, before pairing, from their quartiles, so that a single bad
    seed does not make it. The noise of the comparison is from the signed-rank test's interval, of the tied contender
    where it is widest. Seeds are those of the paired t-test for a power of 80 % at the level of all pairs.

    Args:
        problem: what was trained.
        best: the first row.
        tied: those that it is not told apart from.
        compared: how many contenders were compared.

    Returns:
        The sentence; None where seeds are not what is missing, are too few to tell, or where nothing varies.
    """
    lacking = [row for row in tied if row.difference and not row.adjusted_p <= ALPHA]
    seeds, level = len(best.scores), 1 - ALPHA / math.comb(compared, 2)
    noises = [_noise(row.difference, seeds) for row in lacking if row.difference]
    if not noises or not 0 < max(noises) < math.inf:
        return None
    row, noise = lacking[int(np.argmax(noises))], max(noises)
    spread = math.sqrt(0.5 * (_deviation(row) ** 2 + _deviation(best) ** 2))
    if not LEAST_SPREAD * noise < spread < math.inf:
        return None
    fewest = math.ceil(1 - math.log2(1 - level))  # so that the smallest p-value can pass
    needed = max(fewest, required_pairs(spread, noise, power=POWER, level=level))
    text = f"{needed} paired seeds would settle a difference of 1 sd ({numbers.size(problem, spread)})"
    evidence = [Evidence("seeds needed", row.label, best.label, float(needed), seeds=seeds)]
    if seeds >= fewest:
        shown = detectable_difference(seeds, noise, power=POWER, level=level)
        text += f", these {seeds} one of {numbers.size(problem, shown)}"
        units = 10.0**shown if problem.judged.scale == "log" else shown
        evidence.append(Evidence("difference shown", row.label, best.label, units, seeds=seeds))
    return Finding(f"{text}.", tuple(evidence))


def _noise(difference: PairedDifference, seeds: int) -> float:
    """The standard deviation of normal differences with a t-interval as wide as this one; +inf without an interval."""
    from scipy.special import stdtrit

    if seeds < 2 or math.isinf(difference.high - difference.low):
        return math.inf
    return 0.5 * (difference.high - difference.low) * math.sqrt(seeds) / float(stdtrit(seeds - 1, 0.5 + LEVEL / 2))


def _deviation(row: Row) -> float:
    """The standard deviation of normal scores with these quartiles; +inf or NaN where too many diverged."""
    with np.errstate(invalid="ignore"):
        low, high = np.quantile(np.asarray(row.scores, np.float64), (0.25, 0.75))
    return float(high - low) / (2 * NormalDist().inv_cdf(0.75))


# --- before the last step ---


def speed(problem: PlannedProblem, complete: Sequence[Row], target: float) -> Finding | None:
    """Says who reaches the target first: beyond chance and beyond the luck of tuning, or softly.

    Args:
        problem: what was trained.
        complete: the rows that finished, best first.
        target: what steps were counted to.

    Returns:
        The sentence; None where moments before the last step do not compare, or there is nothing to say.
    """
    best, others = complete[0], complete[1:]
    if not all(row.among.steps for row in others):
        return None
    first = min(complete, key=lambda row: row.time.estimate)
    if math.isinf(first.time.estimate):
        return None
    if not first.time.estimate < best.time.estimate:
        return _first_and_best(best, others, target)
    pair = first.among.steps
    assert pair is not None
    evidence = (_of_steps(first, best, pair), *_worse_evidence(problem, best, first))
    goal, sooner = numbers.number(target), _sooner(first, best, pair.difference)
    p_value = f"adjusted p {numbers.p_value(pair.adjusted_p)}"
    if pair.difference.estimate >= 0 or pair.adjusted_p > ALPHA:
        ours, theirs = (numbers.steps(row.time, problem.steps) for row in (first, best))
        text = f"First to {goal}: {first.label}, median {ours} steps ({best.label}: {theirs}); not beyond chance."
    elif pair.luck > MOMENT_ALPHA:
        text = (
            f"First to {goal} at the points that tuning picked: {first.label}, {sooner} {best.label} ({p_value}); "
            f"other tuning points could change that."
        )
    elif is_worse(first, first.adjusted_p) and first.difference is not None:
        text = (
            f"{first.label} is faster to {goal}, {best.label} ends better: {first.label} is there {sooner} "
            f"{best.label} ({p_value}), and ends {numbers.difference(problem, first.difference)} away "
            f"(adjusted p {numbers.p_value(first.adjusted_p)})."
        )
    else:
        text = (
            f"{first.label} is faster to {goal}: it is there {sooner} {best.label} ({p_value}), from which it is not "
            f"told apart at the end."
        )
    return Finding(text, evidence)


def _worse_evidence(problem: PlannedProblem, best: Row, row: Row) -> tuple[Evidence, ...]:
    pair = _final_pair(row)
    return (_of_pair("difference", problem, row, best, pair),) if pair else ()


def _first_and_best(best: Row, others: Sequence[Row], target: float) -> Finding | None:
    """Says that the best at the end is also the first at the target; it takes every single comparison."""
    pairs = [row.among.steps for row in others if row.among.steps]
    if not all(
        each.difference.estimate > 0 and each.difference.p_value <= ALPHA and each.luck <= MOMENT_ALPHA
        for each in pairs
    ):
        return None
    next_one, pair = min(zip(others, pairs, strict=True), key=lambda each: each[1].difference.estimate)
    largest = numbers.p_value(max(each.difference.p_value for each in pairs))
    bound = largest if largest.startswith("<") else f"≤ {largest}"
    turned = pair.difference._replace(
        estimate=-pair.difference.estimate, low=-pair.difference.high, high=-pair.difference.low
    )
    text = (
        f"{best.label} is the first to {numbers.number(target)}, too: {_sooner(best, next_one, turned)} "
        f"{next_one.label}, the next there (p {bound} against each)."
    )
    return Finding(text, tuple(_of_steps(row, best, each) for row, each in zip(others, pairs, strict=True)))


def _sooner(row: Row, other: Row, log_ratio: PairedDifference) -> str:
    """How many times sooner a contender is at the target than another, with the interval."""
    if math.isinf(log_ratio.estimate):
        hits, of = (f"{each.steps.reached if each.steps else 0}/{len(each.scores)}" for each in (row, other))
        return f"in {hits} seeds, against {of} of"
    times, low, high = (numbers.power_of_two(-value) for value in (log_ratio.estimate, log_ratio.high, log_ratio.low))
    return f"{numbers.number(times)}{numbers.TIMES} sooner [{numbers.number(low)}, {numbers.number(high)}] than"


def flip(problem: PlannedProblem, complete: Sequence[Row]) -> Finding | None:
    """Says that another contender leads at half of the budget, where both leads are beyond chance and tuning's luck.

    Args:
        problem: what was trained.
        complete: the rows that finished, best first.

    Returns:
        The sentence; None where there is no such flip, or where curves at half do not say what half would give.
    """
    best, others = complete[0], complete[1:]
    halves = [row.half for row in complete if row.half is not None]
    if len(halves) < len(complete) or not all(row.among.half for row in others):
        return None
    medians = [float(np.median(half.values)) for half in halves]
    ahead = complete[int(np.argmin(medians))]
    pair = ahead.among.half
    if pair is None or ahead.difference is None:
        return None
    leads = pair.difference.estimate < 0 and pair.adjusted_p <= ALPHA and pair.luck <= MOMENT_ALPHA
    if not (leads and is_worse(ahead, ahead.adjusted_p)):
        return None
    then, now = (numbers.difference(problem, each) for each in (pair.difference, ahead.difference))
    text = (
        f"The ranking flips if the budget is halved: after {halves[0].step} steps {ahead.label} leads, {then} from "
        f"{best.label} (adjusted p {numbers.p_value(pair.adjusted_p)}); after {problem.steps} {best.label} does, "
        f"{ahead.label} is {now} away (adjusted p {numbers.p_value(ahead.adjusted_p)}). Both were tuned for "
        f"{problem.steps} steps."
    )
    evidence = (_of_pair("difference at half", problem, ahead, best, pair), *_worse_evidence(problem, best, ahead))
    return Finding(text, evidence)


# --- several tuning studies ---


def across_studies(problem: PlannedProblem, best: Row, row: Row) -> Finding | None:
    """Says how far a contender is from the best with the noise of tuning, and without; None with one study."""
    nested = row.among.across_difference
    if nested is None:
        return None
    with_tuning, seeds_only = nested.with_tuning, nested.seeds_only
    shown, alone = (numbers.oriented_interval(problem, each) for each in (with_tuning, seeds_only))
    doubt = "; another tuning could undo it" if with_tuning.low <= 0 < seeds_only.low else ""
    count = 1 + len(row.repetitions)
    text = f"Over {count} studies {row.label} is {shown} away, with the noise of tuning; seeds alone: {alone}{doubt}."
    named = (("difference over studies", with_tuning), ("difference over studies, seeds alone", seeds_only))
    evidence = tuple(
        Evidence(name, row.label, best.label, *numbers.in_units(problem, each), seeds=len(row.scores))
        for name, each in named
    )
    return Finding(text, evidence)
