"""Intervals without assumptions: a share's, and a median's."""

import math
import operator
from functools import lru_cache
from itertools import accumulate
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from dlkit.bench.stats.checks import error_rate, samples
from dlkit.bench.stats.order_statistics import ends, median

__all__ = ["Interval", "median_interval", "wilson_interval", "wilson_score"]


class Interval(NamedTuple):
    """An estimate and its confidence interval, ends included."""

    estimate: float
    low: float
    high: float


def wilson_interval(hits: int, trials: int, *, level: float = 0.95) -> Interval:
    """The share of hits and Wilson's score interval (Wilson, 1927), inside [0, 1].

    Args:
        hits: how many trials succeeded, 0 to `trials`.
        trials: how many there were. With 0 nothing is known: `Interval(nan, 0.0, 1.0)`.
        level: confidence level, between 0 and 1.

    Raises:
        ValueError: if `hits` is not in 0..trials or `level` not between 0 and 1.

    Example:
        >>> wilson_interval(0, 10).high < 0.28
        True
    """
    hits, trials = operator.index(hits), operator.index(trials)
    if not 0 <= hits <= trials:
        raise ValueError(f"hits must lie between 0 and trials, got hits={hits} of trials={trials}; pass counts")
    error_rate(level)
    if trials == 0:
        return Interval(math.nan, 0.0, 1.0)
    return wilson_score(hits / trials, trials, level)


@lru_cache(maxsize=1024)
def wilson_score(share: float, trials: int, level: float) -> Interval:
    """Wilson's interval of a share, which need not be a whole number of hits: ties may count as half."""
    z = -NormalDist().inv_cdf(error_rate(level) / 2)
    # (p + z²/2n ± z √(p(1 - p)/n + z²/4n²)) / (1 + z²/n)
    shrink = 1 + z**2 / trials
    centre = (share + z**2 / (2 * trials)) / shrink
    half_width = z / shrink * math.sqrt(share * (1 - share) / trials + z**2 / (4 * trials**2))
    low = 0.0 if share == 0 else centre - half_width
    high = 1.0 if share == 1 else centre + half_width
    return Interval(share, low, high)


def median_interval(values: ArrayLike, *, level: float = 0.95) -> Interval:
    """The sample median and its distribution-free interval.

    From the r-th smallest to the r-th largest value with the greatest r for which `2 P(Binomial(n, 1/2) < r)` is at
    most `1 - level`: the narrowest symmetric ranks that cover the median of every distribution, discrete ones included.

    Args:
        values: n >= 1 numbers; infinities are allowed (a censored time is `inf`).
        level: confidence level, between 0 and 1.

    Returns:
        The median and the interval, `-inf, inf` with too few values for the level (n <= 5 at 95 %). If n is even and
        the middle values are a number and `inf`, the median is `inf`; if they are `-inf` and `inf`, NaN.

    Raises:
        ValueError: if `values` is empty or has NaN, or `level` is not between 0 and 1.

    Example:
        >>> median_interval([3, 1, 4, 1.5, 9, 2.6])
        Interval(estimate=2.8, low=1.0, high=9.0)
    """
    ordered = np.sort(samples(values=values)[0])
    n = ordered.size
    cdf = [count / 2**n for count in accumulate(math.comb(n, rank) for rank in range(n // 2 + 1))]
    low, high = ends(ordered, ordered, cdf, level)
    return Interval(median(ordered), low, high)
