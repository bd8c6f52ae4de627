"""Differences over common seeds, with exact signs and ties."""

import numpy as np
from numpy.typing import ArrayLike

from dlkit.bench.stats.checks import Floats, samples

__all__ = ["signed_differences"]


def signed_differences(x: ArrayLike, y: ArrayLike, *, resolution: float | None = None) -> Floats:
    """`x - y` with exact signs, and magnitudes made equal where only rounding tells them apart.

    Args:
        x: numbers.
        y: as many numbers.
        resolution: relative rounding of those that came of a calculation, such as means: differences within it are 0.
            None for numbers as they were measured: their rounding is that of the arrays' dtype, and signs are exact.
    """
    first, second = samples(x=x, y=y)
    with np.errstate(invalid="ignore", over="ignore"):
        gaps: Floats = np.where(first == second, 0.0, first - second)
    if resolution is not None:
        gaps[np.isfinite(gaps) & (np.abs(gaps) <= resolution * (np.abs(first) + np.abs(second)))] = 0.0
    usual = np.flatnonzero(np.isfinite(gaps) & (gaps != 0))
    order = usual[np.argsort(np.abs(gaps[usual]), kind="stable")]
    magnitudes = np.abs(gaps[order])
    # x, y and their difference are rounded: |error| <= ε (|x| + |y|)
    dtypes = (np.asarray(values).dtype for values in (x, y))
    resolution = resolution or max(float(np.finfo(dtype).eps) if dtype.kind == "f" else 0.0 for dtype in dtypes)
    rounding = resolution * np.abs(first[order]) + resolution * np.abs(second[order])
    is_new = np.diff(magnitudes, prepend=-np.inf) > rounding + np.concatenate([[0.0], rounding])[:-1]
    group_start = np.maximum.accumulate(np.where(is_new, np.arange(order.size), 0))
    gaps[order] = np.copysign(magnitudes[group_start], gaps[order])
    return gaps
