"""How exactly a hyperparameter has to be hit: the range of its values within x % of the best."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from dlkit.bench.stats.checks import samples

__all__ = ["Sensitivity", "sensitivity"]


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
