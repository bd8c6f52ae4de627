"""Medians, midranks, and intervals that end at order statistics; infinities are numbers like others."""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dlkit.bench.stats.checks import Floats, error_rate

__all__ = ["doubled_midranks", "ends", "median"]


def median(ordered: Floats) -> float:
    """The median of sorted numbers; NaN between `-inf` and `inf`."""
    low, high = float(ordered[(ordered.size - 1) // 2]), float(ordered[ordered.size // 2])
    return 0.5 * low + 0.5 * high


def ends(lowest: Floats, highest: Floats, cdf: ArrayLike, level: float) -> tuple[float, float]:
    """The r-th smallest and the r-th largest, r being how many outcomes of the null distribution fit into one tail."""
    rank = int(np.searchsorted(2 * np.asarray(cdf), error_rate(level), side="right"))
    return (float(lowest[rank - 1]), float(highest[-rank])) if rank else (-math.inf, math.inf)


def doubled_midranks(values: Floats) -> NDArray[np.int64]:
    """Twice the midranks, which are integers: 2 for the smallest of distinct values, 2n for the largest."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((2 * np.cumsum(counts) - counts + 1)[inverse], dtype=np.int64)
