"""Differences over common seeds, with exact signs and ties."""

import numpy as np
from numpy.typing import ArrayLike

from dlkit.bench.stats.checks import Floats, array, samples

__all__ = ["signed_difference_rows", "signed_differences"]


def signed_differences(x: ArrayLike, y: ArrayLike, *, resolution: float | None = None) -> Floats:
    """`x - y` with exact signs, and magnitudes made equal where only rounding tells them apart.

    Args:
        x: numbers.
        y: as many numbers.
        resolution: relative rounding of those that came of a calculation, such as means: differences within it are 0.
            None for numbers as they were measured: their rounding is that of the arrays' dtype, and signs are exact.
    """
    first, second = samples(x=x, y=y)
    differences: Floats = _rows(first[None], second[None], resolution, _rounding(x, y))[0]
    return differences


def signed_difference_rows(x: ArrayLike, y: ArrayLike, *, resolution: float | None = None) -> Floats:
    """`signed_differences` of many pairs at once.

    Args:
        x: [pairs, seeds] numbers.
        y: as many numbers.
        resolution: as there.

    Returns:
        [pairs, seeds]
    """
    first, second = (array(name, values, ("pairs", "seeds")) for name, values in (("x", x), ("y", y)))
    if first.shape != second.shape:
        raise ValueError(f"x and y must be paired, got shapes {first.shape} and {second.shape}")
    return _rows(first, second, resolution, _rounding(x, y))


def _rounding(x: ArrayLike, y: ArrayLike) -> float:
    """The relative rounding of arrays' dtypes, the coarser one."""
    dtypes = (np.asarray(values).dtype for values in (x, y))
    return max(float(np.finfo(dtype).eps) if dtype.kind == "f" else 0.0 for dtype in dtypes)


def _rows(first: Floats, second: Floats, resolution: float | None, measured: float) -> Floats:
    with np.errstate(invalid="ignore", over="ignore"):
        gaps: Floats = np.where(first == second, 0.0, first - second)
    if resolution is not None:
        gaps[np.isfinite(gaps) & (np.abs(gaps) <= resolution * (np.abs(first) + np.abs(second)))] = 0.0
    usual = np.isfinite(gaps) & (gaps != 0)
    sizes = np.where(usual, np.abs(gaps), np.inf)  # the others come last, and stay what they are
    order = np.argsort(sizes, axis=1, kind="stable")
    magnitudes = np.take_along_axis(sizes, order, axis=1)
    # x, y and their difference are rounded: |error| <= ε (|x| + |y|)
    epsilon = resolution or measured
    with np.errstate(invalid="ignore", over="ignore"):
        rounding = np.take_along_axis(epsilon * np.abs(first) + epsilon * np.abs(second), order, axis=1)
        before = np.concatenate([np.zeros((len(gaps), 1)), rounding[:, :-1]], axis=1)
        is_new = np.diff(magnitudes, prepend=-np.inf, axis=1) > rounding + before
    group_start = np.maximum.accumulate(np.where(is_new, np.arange(gaps.shape[1]), 0), axis=1)
    grouped = np.empty_like(gaps)
    np.put_along_axis(grouped, order, np.take_along_axis(magnitudes, group_start, axis=1), axis=1)
    signed: Floats = np.where(usual, np.copysign(grouped, gaps), gaps)
    return signed
