"""The figures of hyperparameters and factors, for papers, drawn by matplotlib."""

from typing import TYPE_CHECKING, Any

import numpy as np

from dlkit.bench.analysis import numbers
from dlkit.bench.analysis.comparison import Comparison
from dlkit.bench.analysis.factor_grid import FactorGrid, factor_grids
from dlkit.bench.analysis.rate_curves import rate_curves
from dlkit.bench.analysis.summary import Summary
from dlkit.bench.report import figure_data
from dlkit.bench.report.grid_scale import COLOURS, MOST_GRIDS, GridScale, grid_scale, grid_title
from dlkit.bench.report.looks import INK, style_of
from dlkit.bench.report.matplotlib_paper import POINTS, SMALL, blank, legend, literal, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["factor_heat_map", "learning_rates"]

ROW, TITLE = 0.26, 0.5  # inches of a grid's row, and of what stands around it


def learning_rates(summary: Summary, comparison: Comparison, inches: float) -> "Figure | None":
    """Draws what tuning scores in each stretch of the learning rate, a line a contender.

    Args:
        summary: the run.
        comparison: the problem.
        inches: the figure's width.

    Returns:
        The figure; None where no contender has learning rates to tune.
    """
    problem, found = comparison.problem, rate_curves(comparison)
    if not found:
        return None
    axis = figure_data.fit_axis(problem, [each.scores for each in found])
    figure = blank(inches, min(0.66 * inches, 2.6))
    axes, handles = figure.add_subplot(), []
    for rank, each in enumerate(found):
        style, off, shown = style_of(summary, each.result), axis.off(each.scores), axis.pinned(each.scores)
        line: dict[str, Any] = {
            "color": style.colour,
            "linestyle": style.paper_dash,
            "linewidth": 1.2,
            "zorder": 3 - rank / len(found),
        }
        marks: dict[str, Any] = {
            "marker": style.paper_marker,
            "markersize": 3.5,
            "markevery": np.flatnonzero(~off).tolist(),
        }
        handles += axes.plot(each.rates, shown, **line, **marks)
        axes.plot(each.rates[off], shown[off], color=style.colour, marker="x", markersize=4, linestyle="none")
    axes.set_xscale("log")
    axes.set_yscale(problem.judged.scale)
    axes.set_ylim(*axis.bounds)
    axes.set_xlabel("learning rate")
    axes.set_ylabel(f"tuning {numbers.metric_label(problem)}", parse_math=False)
    plain(axes)
    legend(figure, handles, [figure_data.short(each.result.label) for each in found])
    return figure


def factor_heat_map(summary: Summary, comparison: Comparison, inches: float) -> "Figure | None":
    """Draws final values of the optimizer against another factor: a grid for each other factor.

    Args:
        summary: the run.
        comparison: the problem.
        inches: the figure's width.

    Returns:
        The figure; None where the optimizer is the only factor, or there are too many grids.
    """
    grids = factor_grids(comparison, summary.plan.contenders_on(comparison.problem))
    if not 1 <= len(grids) <= MOST_GRIDS:
        return None
    heights = [ROW * len(grid.rows) + TITLE for grid in grids]
    figure, scale = blank(inches, sum(heights)), grid_scale(comparison.problem, grids)
    for axes, grid in zip(
        figure.subplots(len(grids), 1, squeeze=False, height_ratios=heights)[:, 0], grids, strict=True
    ):
        _grid(axes, grid, scale)
    return figure


def _grid(axes: "Axes", grid: FactorGrid, scale: GridScale) -> None:
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.patches import Rectangle

    shares = np.array([[scale.share(cell) for cell in line] for line in grid.cells])
    colours = LinearSegmentedColormap.from_list("grid", COLOURS)
    axes.pcolormesh(shares, cmap=colours, vmin=0, vmax=1, edgecolors="white", linewidth=1.5)
    for y, line in enumerate(grid.cells):
        for x, cell in enumerate(line):
            if cell is None:
                continue
            ink, is_best = scale.ink(cell), cell.mark == "best"
            axes.text(
                x + 0.5, y + 0.5, scale.text(cell), ha="center", va="center", fontsize=SMALL, color=ink,
                fontweight="bold" if is_best else "normal", parse_math=False,
            )  # fmt: skip
            if is_best:
                frame: dict[str, Any] = {"edgecolor": INK, "linewidth": 1.8, "clip_on": False, "zorder": 3}
                axes.add_patch(Rectangle((x, y), 1, 1, fill=False, **frame))
    columns, rows = ([figure_data.short(each) for each in names] for names in (grid.columns, grid.rows))
    literal(axes.set_xticks(np.arange(len(columns)) + 0.5, columns))
    literal(axes.set_yticks(np.arange(len(rows)) + 0.5, rows))
    axes.invert_yaxis()
    axes.set_title(grid_title(grid), fontsize=POINTS, parse_math=False)
    plain(axes)
    axes.spines[["bottom", "left"]].set_visible(False)
    axes.tick_params(length=0)
