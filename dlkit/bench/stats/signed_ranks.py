"""Wilcoxon's signed ranks: the paired difference of two contenders over common seeds, exact for every n."""

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from dlkit.bench.stats.checks import Floats, error_rate
from dlkit.bench.stats.order_statistics import doubled_midranks, ends, median
from dlkit.bench.stats.pairs import signed_differences

__all__ = ["PairedDifference", "SignedRanks", "paired_difference", "wilcoxon"]


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
    differences = signed_differences(x, y)
    n = differences.size
    p_value = _sign_flip_p_value(differences)
    with np.errstate(invalid="ignore"):
        walsh = np.add.outer(0.5 * differences, 0.5 * differences)[np.triu_indices(n)]
    undefined = np.isnan(walsh)
    middle = median(np.sort(walsh[~undefined]))
    estimate = 0.0 if math.isnan(middle) else middle  # as many -inf as inf: x and y stand equal
    lowest, highest = (np.sort(np.where(undefined, worst, walsh)) for worst in (-np.inf, np.inf))
    low, high = ends(lowest, highest, _rank_sum_cdf(tuple(range(1, n + 1))), level)
    # Ties change the null distribution a little; widening to 0 keeps the interval from claiming more than the test.
    if p_value > error_rate(level):
        low, high = min(low, 0.0), max(high, 0.0)
    wins, losses = int(np.sum(differences < 0)), int(np.sum(differences > 0))
    return PairedDifference(estimate, low, high, p_value, wins, losses, n - wins - losses)


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


def _sign_flip_p_value(differences: Floats) -> float:
    """Two-sided exact p-value of the signed-rank statistic (Pratt's zeros, midranks)."""
    ranks = doubled_midranks(np.abs(differences))
    negative, positive = int(ranks[differences < 0].sum()), int(ranks[differences > 0].sum())
    cdf = _rank_sum_cdf(tuple(np.sort(ranks[differences != 0]).tolist()))
    return min(1.0, 2 * float(cdf[min(negative, positive)]))
