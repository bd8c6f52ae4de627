"""Every pair of a problem's contenders compared seed by seed: a test, the luck of tuning, and letters for groups."""

import itertools
import math
import string
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np

from dlkit.bench.analysis.along_curves import AlongCurve
from dlkit.bench.stats import PairedDifference, holm, luck_p_value, paired_difference, redrawn_luck_p_value
from dlkit.bench.tuning.winner import Tuning

__all__ = [
    "ALPHA",
    "CURVE_ALPHA",
    "LEVEL",
    "Pair",
    "Pairs",
    "all_pairs",
    "beats_all",
    "common",
    "curve_luck",
    "letters",
    "measured_noise",
    "score_luck",
]

LEVEL = 0.95
ALPHA = 1 - LEVEL
CURVE_ALPHA = 0.02  # for the luck of tuning along curves: few points show little of what others would (simulated)
Z = NormalDist().inv_cdf(0.5 + LEVEL / 2)
LEAST_ERROR = 0.05  # of a gap that every seed shows alike, as a share: steps are counted at evaluations only

Floats = np.ndarray[Any, Any]


class Pair(NamedTuple):
    """How a contender differs from another one; lower is better.

    Attributes:
        difference: its values less the other's, over common seeds.
        adjusted_p: Holm-adjusted over all pairs of contenders.
        luck: the probability that the luck of tuning alone sets two equal contenders so far apart.
    """

    difference: PairedDifference
    adjusted_p: float
    luck: float

    @property
    def is_apart(self) -> bool:
        """Whether the two differ beyond chance, all pairs taken together, and beyond the luck of tuning."""
        return self.adjusted_p <= ALPHA and self.luck <= ALPHA and self.difference.estimate != 0

    def is_worse(self, p_value: float) -> bool:
        """Returns whether it is worse than the other beyond chance, by that p-value, and beyond the luck of tuning."""
        return self.difference.estimate > 0 and p_value <= ALPHA and self.luck <= ALPHA


Pairs = Mapping[tuple[int, int], Pair]  # (i, j) with i < j: how j differs from i


def beats_all(pairs: Iterable[Pair]) -> bool:
    """Returns whether a contender is better than every other one, by single comparisons.

    To be better than all takes that every single comparison comes out that way, which is a test of its own size
    (intersection-union): no adjustment.

    Args:
        pairs: how each of the others differs from it.
    """
    return all(pair.is_worse(pair.difference.p_value) for pair in pairs)


def all_pairs(values: Sequence[Floats], luck: Callable[[int, int, PairedDifference], float]) -> Pairs:
    """Compares all pairs of contenders by the signed-rank test.

    The same data choose who is the best, so all pairs are one family: with k equal contenders adjusting over the k - 1
    comparisons with the best would call one of them worse in 7 % of studies instead of 5 (k = 6).

    Args:
        values: [contenders][seeds], lower is better; where one has fewer seeds, the others' first ones count.
        luck: of two contenders i < j and the difference of j from i.

    Returns:
        The pairs.
    """
    keys = list(itertools.combinations(range(len(values)), 2))
    differences = [paired_difference(*common(values[j], values[i]), level=LEVEL) for i, j in keys]
    adjusted = holm([each.p_value for each in differences]) if differences else np.zeros(0)
    return {
        key: Pair(difference, float(p), luck(*key, difference))
        for key, difference, p in zip(keys, differences, adjusted, strict=True)
    }


def score_luck(
    ours: Tuning, theirs: Tuning, difference: PairedDifference, seeds: int, *, gap: float | None = None
) -> float:
    """The p-value of a difference of final scores under the luck of tuning; 0 where its interval tells nothing.

    What a seed does to one contender and not to the other is measured on the final seeds, by the interval of their
    paired differences, and taken to be the noise of the tuning scores too.

    Args:
        ours: the tuning of the contender.
        theirs: of the other.
        difference: of their final scores.
        seeds: how many final seeds there are.
        gap: what has to be explained; None for the difference's estimate.
    """
    error, noise = measured_noise(ours, difference, seeds)
    if not 0 < error < math.inf:
        return 0.0
    return luck_p_value(difference.estimate if gap is None else gap, error, ours.finalists, theirs.finalists, noise)


def measured_noise(tuning: Tuning, difference: PairedDifference, seeds: int) -> tuple[float, float]:
    """Returns the standard error of a difference and the noise of tuning scores; 0 or infinite where nothing tells.

    Args:
        tuning: of one of the two contenders.
        difference: of their final scores.
        seeds: how many final seeds there are.
    """
    error = _error(difference)
    return error, _noise(error, seeds, tuning.seeds)


def curve_luck(
    ours: tuple[Tuning, AlongCurve],
    theirs: tuple[Tuning, AlongCurve],
    score_difference: PairedDifference,
    *,
    gap: float | None = None,
) -> float:
    """The p-value of a difference along curves under the luck of tuning, whose points were picked by final scores.

    Args:
        ours: the tuning of the contender, and what its curves show.
        theirs: of the other.
        score_difference: of their final scores: the noise that points are picked with.
        gap: what has to be explained; None for the difference of what curves show.

    Returns:
        The p-value; 1 where too many seeds have no value for it to be told.
    """
    (tuning, along), (their_tuning, their_along) = ours, theirs
    values, others = common(*(np.minimum(each.values, each.most) for each in (along, their_along)))
    difference = paired_difference(values, others, level=LEVEL)
    gap, score_error = difference.estimate if gap is None else gap, _spread(score_difference)
    error = max(_spread(difference), LEAST_ERROR * abs(gap))
    if not (0 < error < math.inf and score_error < math.inf):
        return 1.0
    picked, their_picked = (tuning.finalists, along.tuned), (their_tuning.finalists, their_along.tuned)
    noise = _noise(score_error, len(values), tuning.seeds)
    return redrawn_luck_p_value(gap, error, picked, their_picked, noise, seed=0)


def common(values: Floats, others: Floats) -> tuple[Floats, Floats]:
    """Returns two contenders' values on the seeds that both have: the first ones, where one rested early."""
    seeds = min(len(values), len(others))
    return values[:seeds], others[:seeds]


def _error(difference: PairedDifference) -> float:
    """The standard error of a difference that is not 0, from the end of its interval that is nearer to 0."""
    nearest = min(abs(difference.low), abs(difference.high))
    return (abs(difference.estimate) - nearest) / Z


def _spread(difference: PairedDifference) -> float:
    """The standard error of a difference, from the wider finite side of its interval; +inf without one."""
    sides = [abs(end - difference.estimate) for end in difference[1:3]]
    return max((side for side in sides if math.isfinite(side)), default=math.inf) / Z


def _noise(error: float, seeds: int, tuning_seeds: int) -> float:
    """The noise of one contender's tuning score, from the error of the difference of two over the final seeds."""
    return error * math.sqrt(seeds / (2 * tuning_seeds))


def letters(count: int, apart: set[tuple[int, int]]) -> list[str]:
    """Groups contenders: those that share a letter are not told apart, those that share none are.

    Args:
        count: how many contenders there are, best first.
        apart: the pairs (i, j), i < j, that are told apart.

    Returns:
        The letters of each; the groups as few as can be, named in the order of their best.

    Reference:
        Piepho, "An algorithm for a letter-based representation of all-pairwise comparisons", JCGS, 2004.

    Example:
        >>> letters(3, {(0, 2)})  # the first and the last differ; the middle one may be either's equal
        ['a', 'ab', 'b']
    """
    groups = [frozenset(range(count))]
    for i, j in sorted(apart):
        split = [part for group in groups for part in ((group - {i}, group - {j}) if {i, j} <= group else (group,))]
        groups = [group for group in dict.fromkeys(split) if not any(group < other for other in split)]
    groups.sort(key=sorted)
    names = [string.ascii_lowercase[place] if place < 26 else f"({place + 1})" for place in range(len(groups))]
    return ["".join(name for name, group in zip(names, groups, strict=True) if k in group) for k in range(count)]
