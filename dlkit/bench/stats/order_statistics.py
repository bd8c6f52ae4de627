"""Medians, midranks, and intervals that end at order statistics; infinities are numbers like others."""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dlkit.bench.stats.checks import Floats, error_rate

__all__ = ["doubled_midranks", "ends", "median", "tail_rank"]


def median(ordered: Floats) -> float:
    """The median of sorted numbers; NaN between `-inf` and `inf`."""
    low, high = float(ordered[(ordered.size - 1) // 2]), float(ordered[ordered.size // 2])
    return 0.5 * low + 0.5 * high


def ends(lowest: Floats, highest: Floats, cdf: ArrayLike, level: float) -> tuple[float, float]:
    """The r-th smallest and the r-th largest, r being how many outcomes of the null distribution fit into one tail."""
    rank = tail_rank(cdf, level)
    return (float(lowest[rank - 1]), float(highest[-rank])) if rank else (-math.inf, math.inf)


def tail_rank(cdf: ArrayLike, level: float) -> int:
    """How many outcomes of a null distribution fit into one tail."""
    return int(np.searchsorted(2 * np.asarray(cdf), error_rate(level), side="right"))


def doubled_midranks(values: Floats) -> NDArray[np.int64]:
    """Twice the midranks, which are integers: 2 for the smallest of distinct values, 2n for the largest."""
    # b values are lower and t tie: the midrank is b + (t + 1) / 2
    ordered = np.sort(values)
    return ordered.searchsorted(values) + ordered.searchsorted(values, "right") + 1
