"""How exactly a hyperparameter has to be hit: the range of its values within x % of the best."""

import math
import operator
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from dlkit.bench.stats.checks import error_rate, samples
from dlkit.bench.stats.intervals import Interval

__all__ = ["Sensitivity", "sensitivity", "width_interval"]

EXACT = 1e-12


class Sensitivity(NamedTuple):
    """A hyperparameter's good range; see `sensitivity`.

    Attributes:
        decades: its width, log10(high / low).
        low: the least good value.
        high: the greatest good value.
        best: the value with the best score; the least of several.
        good: how many points are good.
        open_low: whether the least value tried is good: the range may go on below.
        open_high: whether the greatest value tried is good: the range may go on above.
    """

    decades: float
    low: float
    high: float
    best: float
    good: int
    open_low: bool
    open_high: bool


def sensitivity(
    values: ArrayLike, scores: ArrayLike, *, tolerance: float = 0.05, higher_is_better: bool = False
) -> Sensitivity:
    """The width, in decades, of the range of a hyperparameter's values that score within a tolerance of the best.

    Good is a score of at most best + tolerance · |best|. With one hyperparameter tuned the range is its own; with
    several, it is where good scores can be had at all, the others as they came. It spans the good points, holes
    included, and rises with the number of points: compare contenders at equal budgets only. Scores on a log scale
    should be given as they are, not as logarithms, or the tolerance means something else.

    Args:
        values: [points] the hyperparameter's value at each point, > 0.
        scores: [points] what the points scored, lower better; infinitely bad ones (diverged) are never good.
        tolerance: the share, >= 0.
        higher_is_better: whether scores should be high.

    Returns:
        The range. One good point has a width of 0; if no point trained, there is none: NaN, and 0 good.

    Raises:
        ValueError: if the arrays are empty, differ in length or have NaN, a value is not above 0, or the tolerance
            is negative.

    Reference:
        Sivaprasad et al., "Optimizer benchmarking needs to account for hyperparameter tuning", ICML 2020.

    Example:
        >>> sensitivity([1e-4, 1e-3, 1e-2, 1e-1], [0.90, 0.51, 0.50, 0.80]).decades
        1.0
    """
    settings, results = samples(values=values, scores=scores)
    if settings.min() <= 0 or not np.isfinite(settings).all():
        raise ValueError("values must be numbers above 0: a width in decades takes a log scale")
    if not 0 <= tolerance < math.inf:
        raise ValueError(f"tolerance must be a number >= 0, got {tolerance}; 0.05 is 5 %")
    oriented = -results if higher_is_better else results
    best = float(oriented.min())
    if best == -math.inf:
        raise ValueError("scores has an infinitely good one; a diverged trial is infinitely bad")
    if best == math.inf:
        return Sensitivity(math.nan, math.nan, math.nan, math.nan, 0, False, False)
    good = settings[oriented <= best + tolerance * abs(best)]
    low, high = float(good.min()), float(good.max())
    return Sensitivity(
        math.log10(high / low),
        low,
        high,
        float(settings[oriented == best].min()),
        int(good.size),
        low == float(settings.min()),
        high == float(settings.max()),
    )


def width_interval(found: Sensitivity, *, tried: float, dimensions: int = 1, level: float = 0.95) -> Interval:
    """How wide the good range is, from the width that good points happened to span: they span less than there is.

    Good settings are taken to fill an ellipsoid of the space, as they do around a smooth optimum. Projected on one of d
    hyperparameters, evenly drawn points of it have a density proportional to (1 - x²)^((d - 1) / 2) on the range, x
    running from -1 to 1; so k of them span less than a share q of the range with a known probability, and

        width in [span, min(span / q, tried)],    P(span / width < q) = 1 - level

    Scores are taken as exact: noise in them is not in the interval. Points that are more even than independent ones
    (Halton's) span more, so the upper end is rather too high for them.

    Args:
        found: what `sensitivity` found.
        tried: the width of the range that points were drawn from, in decades: there is no more to know.
        dimensions: d, how many hyperparameters were tuned together, at least 1.
        level: confidence level, between 0 and 1.

    Returns:
        The span and the interval. Fewer than two good points bound nothing: 0 to `tried`; none: NaN.

    Raises:
        ValueError: if `tried` is not above 0 or `dimensions` < 1, or `level` is not between 0 and 1.

    Example:
        >>> found = sensitivity([1e-4, 1e-3, 1e-2, 1e-1], [0.90, 0.51, 0.50, 0.80])
        >>> width_interval(found, tried=5.0)
        Interval(estimate=1.0, low=1.0, high=5.0)
    """
    alpha, d = error_rate(level), operator.index(dimensions)
    if not 0 < tried < math.inf or d < 1:
        raise ValueError(f"tried must be above 0 and dimensions at least 1, got {tried} and {dimensions}")
    if not found.good:
        return Interval(math.nan, math.nan, math.nan)
    if found.good == 1:
        return Interval(found.decades, 0.0, max(tried, found.decades))
    share = _spanned(found.good, d, alpha)
    return Interval(found.decades, found.decades, max(min(found.decades / share, tried), found.decades))


@lru_cache(maxsize=1024)
def _spanned(points: int, dimensions: int, alpha: float) -> float:
    """The share of the range that so many points of an ellipsoid span less of with probability alpha."""
    from scipy.special import betainc, betaincinv

    if dimensions == 1:
        return float(betaincinv(points - 1, 2, alpha))  # the span of uniform points
    shape = (dimensions + 1) / 2
    below = np.linspace(0.0, 1.0, 801)  # F at the least point
    least = betaincinv(shape, shape, below)

    def excess(span: float) -> float:
        # P(span <= r) = k ∫ (F(x + r) - F(x))^(k - 1) dF(x), x the least point
        inside = betainc(shape, shape, np.minimum(least + span, 1.0)) - below
        reached = points * float(np.trapezoid(np.maximum(inside, 0.0) ** (points - 1), below))
        return math.pow(reached / alpha, 1 / (points - 1)) - 1  # nearly a straight line

    return _root(excess, 0.0, 1.0)


def _root(rising: Callable[[float], float], low: float, high: float) -> float:
    """Where a rising function is 0: by regula falsi, with the weight of an end that stays halved (Illinois)."""
    at_low, at_high, side = rising(low), rising(high), 0
    while high - low > EXACT:
        middle = (low * at_high - high * at_low) / (at_high - at_low)
        value = rising(middle)
        if abs(value) < EXACT:
            return middle
        if value < 0:
            low, at_low, at_high, side = middle, value, at_high * (0.5 if side < 0 else 1.0), -1
        else:
            high, at_high, at_low, side = middle, value, at_low * (0.5 if side > 0 else 1.0), 1
    return 0.5 * (low + high)
