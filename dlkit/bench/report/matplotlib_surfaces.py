"""The figure of paths on a surface of two coordinates, for papers, drawn by matplotlib."""

from typing import TYPE_CHECKING, Any

import numpy as np

from dlkit.bench.analysis.comparison import Comparison
from dlkit.bench.analysis.summary import Summary
from dlkit.bench.analysis.surface_paths import surface_of, surface_paths
from dlkit.bench.report import figure_data
from dlkit.bench.report.looks import INK, LINE, style_of
from dlkit.bench.report.matplotlib_paper import blank, legend, plain
from dlkit.bench.report.surface_data import LEVELS, surface_grid

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["surface"]


def surface(summary: Summary, comparison: Comparison, inches: float) -> "Figure | None":
    """Draws the contours of a surface of two coordinates, and each contender's median final trial on it.

    Args:
        summary: the run.
        comparison: the problem.
        inches: the figure's width.

    Returns:
        The figure; None where the problem is no such surface, or trials did not keep where they were.
    """
    found, shape = surface_paths(comparison), surface_of(comparison.problem)
    if shape is None or not found:
        return None
    grid = surface_grid(shape, found)
    figure = blank(inches, min(0.85 * inches, 4.0))
    axes, handles = figure.add_subplot(), []
    levels = np.linspace(grid.low, grid.high, LEVELS + 1)
    axes.contour(grid.x, grid.y, grid.heights, levels=levels, colors=LINE, linewidths=0.4, linestyles="solid")
    for rank, each in enumerate(found):
        style, above = style_of(summary, each.result), 3 - rank / len(found)  # the best is drawn last
        line: dict[str, Any] = {"color": style.colour, "linestyle": style.paper_dash, "linewidth": 1.1, "zorder": above}
        marks: dict[str, Any] = {"marker": style.paper_marker, "markersize": 4, "markevery": [0, len(each.points) - 1]}
        handles += axes.plot(*each.points.T, **line, **marks)
    axes.plot(*shape.minimum, marker="*", markersize=8, color=INK, linestyle="none", zorder=4)
    axes.set_xlim(grid.x[0], grid.x[-1])
    axes.set_ylim(grid.y[0], grid.y[-1])
    axes.set_xlabel("first coordinate")
    axes.set_ylabel("second coordinate")
    plain(axes)
    legend(figure, handles, [figure_data.short(each.result.label) for each in found])
    return figure
