"""The bootstrap: resampled within each problem, percentile and BCa, at a level that few seeds do not spoil."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dlkit.bench.stats.checks import Floats, array, error_rate
from dlkit.bench.stats.intervals import Interval

__all__ = [
    "BootstrapIntervals",
    "bca_interval",
    "expanded_level",
    "percentile_bands",
    "percentile_ends",
    "percentile_places",
    "stratified_bootstrap",
]

CHUNK = 1 << 20  # numbers resampled at a time: 8 MB


class BootstrapIntervals(NamedTuple):
    """Two intervals from the same resamples; see `stratified_bootstrap`."""

    percentile: Interval
    bca: Interval


def stratified_bootstrap(
    scores: ArrayLike,
    statistic: Callable[[Floats], Any],
    *,
    level: float = 0.95,
    resamples: int = 10_000,
    seed: int,
) -> BootstrapIntervals:
    """Intervals of a statistic of scores on several problems: seeds are drawn again within each problem.

    The problems are the ones of interest, not a sample; see `rank_bootstrap` for the other case. The intervals are
    taken at `expanded_level`: at n = 5 a plain percentile interval covers the mean of normal data 85 times in 100
    instead of 95. Skewed data remain short of the level: the mean of lognormal scores on five problems is covered 89 to
    93 times, the mean on one problem 86 to 90; the interquartile mean holds its level (simulated).

    Args:
        scores: [seeds, problems]; infinities are allowed.
        statistic: reduces the last two axes of [..., seeds, problems], like `iqm` or
            `lambda scores: scores.mean(axis=(-2, -1))`.
        level: confidence level, between 0 and 1.
        resamples: how many.
        seed: of the resampling; the same seed draws the same seeds again, so that contenders stay paired.

    Returns:
        The statistic with a percentile and a bias-corrected and accelerated interval. One seed, or two of one problem,
        say nothing: `-inf, inf`. Otherwise all-equal scores give an interval of no width. A resample whose statistic
        is undefined, as `inf - inf` is, counts as the worst for each end.

    Raises:
        ValueError: if `scores` is empty or has NaN, `resamples` < 2, `level` is not between 0 and 1, or the statistic
            does not reduce two axes.

    Reference:
        Efron, "Better bootstrap confidence intervals", JASA, 1987; Agarwal et al., "Deep reinforcement learning at the
        edge of the statistical precipice", NeurIPS 2021; Hesterberg, "What teachers should know about the bootstrap",
        The American Statistician, 2015.

    Example:
        >>> mean = lambda scores: scores.mean(axis=(-2, -1))
        >>> stratified_bootstrap([[1.0, 5.0], [2.0, 5.0], [3.0, 5.0]], mean, seed=0).bca.estimate
        3.5
    """
    values = array("scores", scores, ("seeds", "problems"))
    error_rate(level)
    if resamples < 2:
        raise ValueError(f"resamples must be at least 2, got {resamples}; 10000 is usual")
    seeds, problems = values.shape
    rng = np.random.default_rng(seed)
    estimate = float(_reduced(statistic, values[None])[0])
    replicates = np.empty(resamples)
    influence = np.zeros(values.size)
    size = max(1, CHUNK // values.size)
    for start in range(0, resamples, size):
        stop = min(start + size, resamples)
        rows = rng.integers(0, seeds, size=(stop - start, seeds, problems))
        replicates[start:stop] = drawn = _reduced(statistic, values[rows, np.arange(problems)])
        # How a value's count among the draws goes with the statistic: its influence, up to a factor.
        flat = (rows * problems + np.arange(problems)).ravel()
        with np.errstate(invalid="ignore"):
            influence += np.bincount(flat, np.repeat(drawn - estimate, values.size), influence.size)
    with np.errstate(invalid="ignore"):
        influence = influence / resamples - np.mean(replicates - estimate)
    wide = expanded_level(level, seeds, problems)
    percentile = Interval(estimate, *percentile_ends(replicates, wide))
    return BootstrapIntervals(percentile, bca_interval(estimate, replicates, influence, wide))


def expanded_level(level: float, seeds: int, strata: int = 1) -> float:
    """The level at which a percentile interval of a mean of normal data is about as wide as Student's.

    A resampled mean varies too little by the factor (n - 1) / n, and its quantiles are normal, not Student's. So the
    tail is not Φ(-z) but Φ(-√(n / (n - 1)) t), with t of strata · (n - 1) degrees of freedom.

    Args:
        level: confidence level that is meant, between 0 and 1.
        seeds: n, drawn again in each stratum.
        strata: how many.

    Returns:
        The level to use, `1.0` for n = 1, and to rounding for n = 2 in one stratum: the interval is infinite.

    Reference:
        Hesterberg, "What teachers should know about the bootstrap", The American Statistician, 2015.

    Example:
        >>> round(expanded_level(0.95, 10), 3)
        0.983
    """
    from scipy.special import ndtr, stdtrit

    tail = error_rate(level) / 2
    if seeds < 2:
        return 1.0
    return 1 - 2 * float(ndtr(math.sqrt(seeds / (seeds - 1)) * stdtrit(strata * (seeds - 1), tail)))


def percentile_ends(replicates: Floats, level: float) -> tuple[float, float]:
    """The order statistics of the replicates at both tails; a NaN is the worst for each end. Infinite at level 1."""
    if level >= 1:
        return -math.inf, math.inf
    tail = (1 - level) / 2
    return _quantile(replicates, tail, -math.inf), _quantile(replicates, 1 - tail, math.inf)


def percentile_bands(replicates: NDArray[Any], level: float) -> tuple[Floats, Floats]:
    """As `percentile_ends` for replicates [resamples, ...] without NaN: an array for each end."""
    if level >= 1:
        return np.full(replicates.shape[1:], -np.inf), np.full(replicates.shape[1:], np.inf)
    places = percentile_places(len(replicates), level)
    ordered = np.sort(np.ascontiguousarray(np.moveaxis(replicates, 0, -1)))  # faster than a partition along axis 0
    low, high = (ordered[..., place].astype(np.float64) for place in places)
    return low, high


def percentile_places(count: int, level: float) -> tuple[int, int]:
    """Which of so many replicates in order, from 0, are the ends of the percentile interval; `level` below 1."""
    return _place((1 - level) / 2, count), _place((1 + level) / 2, count)


def bca_interval(estimate: float, replicates: Floats, influence: Floats, level: float) -> Interval:
    """The bias-corrected and accelerated interval; the percentile one where infinities leave nothing to correct.

    Args:
        estimate: the statistic of the data.
        replicates: [resamples] the statistic of the resamples.
        influence: of each value on the statistic, up to a factor.
        level: the level to use; see `expanded_level`.
    """
    from scipy.special import ndtr, ndtri

    if level >= 1 or not np.isfinite(influence).all() or not math.isfinite(estimate):
        return Interval(estimate, *percentile_ends(replicates, level))
    spread = float(np.sum(influence**2))
    acceleration = float(np.sum(influence**3)) / (6 * spread**1.5) if spread > 0 else 0.0
    below = np.mean(replicates < estimate) + 0.5 * np.mean(replicates == estimate)
    bias = ndtri(np.clip(below, 0.5 / replicates.size, 1 - 0.5 / replicates.size))
    z = ndtri((1 - level) / 2)
    # Φ(b + (b ± z) / (1 - a (b ± z)))
    tails = [float(ndtr(bias + (bias + end) / (1 - acceleration * (bias + end)))) for end in (z, -z)]
    return Interval(estimate, _quantile(replicates, tails[0], -math.inf), _quantile(replicates, tails[1], math.inf))


def _quantile(replicates: Floats, share: float, undefined: float) -> float:
    """The replicate below which there is the given share of them."""
    ordered = np.where(np.isnan(replicates), undefined, replicates)
    place = _place(share, ordered.size)
    return float(np.partition(ordered, place)[place])


def _place(share: float, count: int) -> int:
    return min(max(math.ceil(share * count) - 1, 0), count - 1)


def _reduced(statistic: Callable[[Floats], Any], drawn: Floats) -> Floats:
    with np.errstate(invalid="ignore"):
        result = np.asarray(statistic(drawn), dtype=np.float64)
    if result.shape != drawn.shape[:1]:
        raise ValueError(
            "statistic must reduce the last two axes of [..., seeds, problems], "
            f"but made shape {result.shape} of {drawn.shape}"
        )
    return result
