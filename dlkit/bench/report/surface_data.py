"""The stretch of a surface that paths are drawn on, and its heights."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from dlkit.bench.analysis.surface_paths import Surface, SurfacePath

__all__ = ["LEVELS", "SurfaceGrid", "surface_grid"]

LEVELS = 14  # contours, equally far apart in the logarithm
SIDE = 121  # points of the grid
MARGIN = 0.12
LOWEST = 1e-3  # of values: contours below would crowd around the minimum
FAR = 4.0  # how far beyond the start and the minimum a path may pull the picture, in their distance

Floats = np.ndarray[Any, np.dtype[np.float64]]


class SurfaceGrid(NamedTuple):
    """What is drawn of a surface.

    Attributes:
        x: [side] first coordinates.
        y: [side] second coordinates.
        heights: [side, side] log10 of the value at (x[j], y[i]), not below `low`.
        low: of the lowest contour.
        high: of the highest one.
    """

    x: Floats
    y: Floats
    heights: Floats
    low: float
    high: float


def surface_grid(shape: Surface, paths: Sequence[SurfacePath]) -> SurfaceGrid:
    """Returns the stretch that holds the paths and the minimum, and the surface's heights on it.

    A path that leaves for far away does not count: it ends at the edge.

    Args:
        shape: the surface.
        paths: on it; at least one.
    """
    points = np.concatenate([each.points for each in paths])
    sure = np.stack([*(each.points[0] for each in paths), np.array(shape.minimum)])
    first, last = sure.min(axis=0), sure.max(axis=0)
    reach = FAR * np.maximum(last - first, 0.25)
    inside = np.clip(points, first - reach, last + reach)
    low, high = np.minimum(first, inside.min(axis=0)), np.maximum(last, inside.max(axis=0))
    margin = MARGIN * np.maximum(high - low, 0.5)
    x, y = (np.linspace(low[axis] - margin[axis], high[axis] + margin[axis], SIDE) for axis in (0, 1))
    heights = np.log10(np.maximum(shape.value(*np.meshgrid(x, y)), LOWEST))
    return SurfaceGrid(x, y, heights, float(np.log10(LOWEST)), float(heights.max()))
