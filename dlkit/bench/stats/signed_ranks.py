"""Wilcoxon's signed ranks: the paired difference of two contenders over common seeds, exact for every n."""

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dlkit.bench.stats.checks import Floats, array, error_rate
from dlkit.bench.stats.order_statistics import doubled_midranks, median, tail_rank
from dlkit.bench.stats.pairs import signed_difference_rows, signed_differences

__all__ = ["PairedDifference", "SignedRanks", "paired_difference", "paired_differences", "wilcoxon"]

MOST_AVERAGES = 1 << 22  # that are held at a time


class PairedDifference(NamedTuple):
    """How `x - y` is distributed over common seeds; see `paired_difference`."""

    estimate: float
    low: float
    high: float
    p_value: float
    wins: int
    losses: int
    ties: int


def paired_difference(x: ArrayLike, y: ArrayLike, *, level: float = 0.95) -> PairedDifference:
    """The difference `x - y` over common seeds, by Wilcoxon's signed ranks; negative if `x` is better.

    Null hypothesis: every difference is symmetric about 0, as when the contenders are exchangeable given the seed.
    The p-value counts sign flips, exact for every n: `|x - y|` gets midranks, zeros are ranked but not summed (Pratt,
    1959). The estimate is Hodges and Lehmann's, the median of the Walsh averages `(d_i + d_j) / 2, i <= j`; the
    interval ends at the averages where the untied test stops rejecting.

    An interval without 0 implies `p_value <= 1 - level`. The converse holds if no `|x - y|` is tied or zero; otherwise
    0 may lie on an end of the interval, rarely inside, although the test rejects.

    Two infinities of one sign tie; an infinite difference ranks highest. The average of `-inf` and `inf` has no value:
    the estimate goes without, each end of the interval takes the worse. Magnitudes equal to within the rounding of the
    arrays' dtype tie, so that shares and their counts agree: pass float32 metrics as float32.

    Args:
        x: one number per seed.
        y: the other contender's, same seeds, same order.
        level: confidence level of the interval, between 0 and 1.

    Returns:
        The estimate, the interval (`-inf, inf` with too few pairs for the level: n <= 5 at 95 %), the two-sided
        p-value, and the numbers of pairs with `x < y`, `x > y` and `x == y`.

    Raises:
        ValueError: if `x` and `y` differ in length, are empty or have NaN, or `level` is not between 0 and 1.

    Example:
        >>> paired_difference([1.0, 2.1, 3.2, 4.3, 5.4, 6.5], [2, 4, 6, 8, 10, 12]).p_value
        0.03125
    """
    return _of_rows(signed_differences(x, y)[None], level)[0]


def paired_differences(differences: ArrayLike, *, level: float = 0.95) -> list[PairedDifference]:
    """`paired_difference` of many pairs at once, from their differences.

    Args:
        differences: [pairs, seeds] each pair's `x - y`.
        level: confidence level of the intervals, between 0 and 1.

    Returns:
        One a pair.

    Raises:
        ValueError: if `differences` is empty or has NaN, or `level` is not between 0 and 1.

    Example:
        >>> [each.estimate for each in paired_differences([[1.0, 2.0, 3.0], [-1.0, 0.0, 1.0]])]
        [2.0, 0.0]
    """
    rows = array("differences", differences, ("pairs", "seeds"))
    gaps = signed_difference_rows(rows, np.zeros(rows.shape))
    together = max(1, MOST_AVERAGES // gaps.shape[1] ** 2)
    return [each for first in range(0, len(gaps), together) for each in _of_rows(gaps[first : first + together], level)]


def _of_rows(differences: Floats, level: float) -> list[PairedDifference]:
    """How each row [pairs, seeds] of signed differences is distributed."""
    n, alpha = differences.shape[1], error_rate(level)
    p_values = _sign_flip_p_values(differences)
    halves = 0.5 * differences
    with np.errstate(invalid="ignore"):
        averages = (halves[:, :, None] + halves[:, None, :]).reshape(len(halves), n * n)[:, _upper(n)]
    averages.sort(axis=1)  # those without a value last
    defined = averages.shape[1] - np.isnan(averages).sum(axis=1)
    tail = tail_rank(_rank_sum_cdf(tuple(range(1, n + 1))), level)
    wins, losses = (differences < 0).sum(axis=1).tolist(), (differences > 0).sum(axis=1).tolist()
    found = []
    for ordered, count, p_value, won, lost in zip(averages, defined.tolist(), p_values, wins, losses, strict=True):
        middle = median(ordered[:count])
        estimate = 0.0 if math.isnan(middle) else middle  # as many -inf as inf: x and y stand equal
        low, high = _ends(ordered, count, tail)
        # Ties change the null distribution a little; widening to 0 keeps the interval from claiming more than the test.
        if p_value > alpha:
            low, high = min(low, 0.0), max(high, 0.0)
        found.append(PairedDifference(estimate, low, high, p_value, won, lost, n - won - lost))
    return found


def _ends(ordered: Floats, defined: int, tail: int) -> tuple[float, float]:
    """The averages at which the tails end; each end takes the worse of those without a value, which are last."""
    if not tail:
        return -math.inf, math.inf
    undefined = ordered.size - defined
    if tail <= undefined:
        return -math.inf, math.inf
    return float(ordered[tail - 1 - undefined]), float(ordered[-tail])


class SignedRanks(NamedTuple):
    """Sums of the ranks of `|x - y|` and the test's p-value; see `wilcoxon`."""

    better: float
    worse: float
    p_value: float


def wilcoxon(x: ArrayLike, y: ArrayLike) -> SignedRanks:
    """Wilcoxon's signed-rank test by itself, exact for every n; ties and infinities as in `paired_difference`.

    Args:
        x: one number per seed.
        y: the other contender's, same seeds, same order.

    Returns:
        The sum of the midranks where `x < y`, the sum where `x > y` (zeros are ranked but not summed), and the
        two-sided p-value. Equal arrays have p = 1.

    Raises:
        ValueError: if `x` and `y` differ in length, are empty or have NaN.

    Reference:
        Wilcoxon, "Individual comparisons by ranking methods", Biometrics Bulletin, 1945; Pratt, "Remarks on zeros and
        ties in the Wilcoxon signed rank procedures", JASA, 1959.

    Example:
        >>> wilcoxon([1, 2, 3, 9], [2, 4, 6, 5])
        SignedRanks(better=6.0, worse=4.0, p_value=0.875)
    """
    differences = signed_differences(x, y)
    ranks = doubled_midranks(np.abs(differences))
    better, worse = (float(ranks[side].sum()) / 2 for side in (differences < 0, differences > 0))
    return SignedRanks(better, worse, _sign_flip_p_value(differences))


@lru_cache(maxsize=256)
def _rank_sum_cdf(ranks: tuple[int, ...]) -> Floats:
    """P(T <= t), t = 0..sum(ranks), for the sum T of a uniformly random subset of the ranks."""
    pmf = np.zeros(sum(ranks) + 1)
    pmf[0] = 1.0
    for rank in ranks:  # in or out with probability 1/2
        pmf = 0.5 * (pmf + np.concatenate([np.zeros(rank), pmf[:-rank]]))
    cdf: Floats = np.cumsum(pmf)
    cdf.setflags(write=False)
    return cdf


@lru_cache(maxsize=4)
def _upper(n: int) -> NDArray[np.intp]:
    """Where in a flat table [n, n] the places (i, j) with i <= j are."""
    first, second = np.triu_indices(n)
    return first * n + second


def _sign_flip_p_value(differences: Floats) -> float:
    return _sign_flip_p_values(differences[None])[0]


def _sign_flip_p_values(differences: Floats) -> list[float]:
    """Two-sided exact p-values of the signed-rank statistics of rows [pairs, seeds] (Pratt's zeros, midranks)."""
    ranks = np.array([doubled_midranks(sizes) for sizes in np.abs(differences)])
    negatives, positives = (
        np.where(side, ranks, 0).sum(axis=1).tolist() for side in (differences < 0, differences > 0)
    )
    counted, found = np.sort(np.where(differences == 0, 0, ranks), axis=1), []
    zeros = (differences == 0).sum(axis=1).tolist()
    for row, first, negative, positive in zip(counted.tolist(), zeros, negatives, positives, strict=True):
        cdf = _rank_sum_cdf(tuple(row[first:]))
        found.append(min(1.0, 2 * float(cdf[min(negative, positive)])))
    return found
