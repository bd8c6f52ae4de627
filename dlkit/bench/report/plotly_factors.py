"""The report's figures of hyperparameters and factors, drawn by plotly: learning rates, grids of two factors."""

import math
from typing import Any

import numpy as np

from dlkit.bench.analysis import numbers
from dlkit.bench.analysis.comparison import Comparison
from dlkit.bench.analysis.factor_grid import FactorGrid, GridCell, factor_grids
from dlkit.bench.analysis.rate_curves import rate_curves
from dlkit.bench.analysis.summary import Summary
from dlkit.bench.report import figure_data
from dlkit.bench.report.grid_scale import COLOURS, MOST_GRIDS, GridScale, grid_scale, grid_title
from dlkit.bench.report.looks import INK, style_of
from dlkit.bench.report.plotly_drawing import Drawing, blank, literal, panels, scatter
from dlkit.bench.report.plotly_figures import metric_axis

__all__ = ["factor_heat_map", "learning_rates"]

ROW_HEIGHT = 44


def learning_rates(summary: Summary, comparison: Comparison) -> Drawing:
    """Draws what tuning scores in each stretch of the learning rate, a line a contender.

    Args:
        summary: the run.
        comparison: the problem.

    Returns:
        The figure; no traces where no contender has learning rates to tune.
    """
    problem, found = comparison.problem, rate_curves(comparison)
    axis = figure_data.fit_axis(problem, [each.scores for each in found])
    figure = blank(height=380 + 20 * len(found))
    for rank, each in enumerate(found):
        style, off = style_of(summary, each.result), axis.off(each.scores)
        shown = figure_data.in_words(problem, each.scores)
        words = [f"{score}, {count} points" for score, count in zip(shown, each.points, strict=True)]
        scatter(
            figure,
            x=each.rates,
            y=axis.pinned(each.scores),
            mode="lines+markers",
            line={"color": style.colour, "dash": style.dash, "width": 2},
            marker={"symbol": np.where(off, "x", style.marker), "size": np.where(off, 8, 7), "color": style.colour},
            name=literal(each.result.label),
            legendgroup=each.result.label,
            hovertext=words,
            hoverinfo="x+text+name",
            zorder=len(found) - rank,
        )
    figure.update_xaxes(title={"text": "learning rate"}, type="log", dtick=1, exponentformat="power")
    metric_axis(figure.update_yaxes, axis, problem, f"tuning {numbers.metric_label(problem)}")
    figure.update_layout(showlegend=True, hovermode="closest")
    return figure


def factor_heat_map(summary: Summary, comparison: Comparison) -> Drawing:
    """Draws final values of the optimizer against another factor: a grid for each other factor.

    Args:
        summary: the run.
        comparison: the problem.

    Returns:
        The figure, a heat map a grid; no traces where the optimizer is the only factor, or there are too many grids.
    """
    grids = factor_grids(comparison, summary.plan.contenders_on(comparison.problem))
    if not 1 <= len(grids) <= MOST_GRIDS:
        return blank(height=90)
    heights = [ROW_HEIGHT * len(grid.rows) + 90 for grid in grids]
    gap = 0.0 if len(grids) == 1 else min(0.9 / (len(grids) - 1), 80 / sum(heights))
    titles = [literal(grid_title(grid)) for grid in grids]
    figure = panels(sum(heights) + 40, len(grids), 1, gap=gap, titles=titles, heights=heights)
    scale = grid_scale(comparison.problem, grids)
    for panel, grid in enumerate(grids):
        figure.add(_heat(comparison, grid, scale), panel)
        _texts(figure, comparison, grid, scale, panel)
        columns, rows = ([literal(each) for each in names] for names in (grid.columns, grid.rows))
        figure.update_xaxes(panel, tickvals=list(range(len(columns))), ticktext=columns, showgrid=False)
        figure.update_yaxes(panel, tickvals=list(range(len(rows))), ticktext=rows, autorange="reversed", showgrid=False)
    figure.update_layout(margin={"t": 64})  # below the bar of buttons
    return figure


def _heat(comparison: Comparison, grid: FactorGrid, scale: GridScale) -> dict[str, Any]:
    shares = [[scale.share(cell) for cell in line] for line in grid.cells]
    return {
        "type": "heatmap",
        "x": list(range(len(grid.columns))),
        "y": list(range(len(grid.rows))),
        "z": [[None if math.isnan(share) else share for share in line] for line in shares],
        "zmin": 0,
        "zmax": 1,
        "colorscale": [[place / (len(COLOURS) - 1), colour] for place, colour in enumerate(COLOURS)],
        "showscale": False,
        "xgap": 2,
        "ygap": 2,
        "hovertext": [[_in_words(comparison, cell) for cell in line] for line in grid.cells],
        "hoverinfo": "text",
        "name": literal(grid_title(grid)),
    }


def _texts(figure: Drawing, comparison: Comparison, grid: FactorGrid, scale: GridScale, panel: int) -> None:
    """Writes each cell's number and mark, and frames the best."""
    for y, line in enumerate(grid.cells):
        for x, cell in enumerate(line):
            if cell is None:
                continue
            text = scale.text(cell)
            shown = f"<b>{text}</b>" if cell.mark == "best" else text
            figure.annotate(panel, x=x, y=y, text=shown, font={"size": 12, "color": scale.ink(cell)})
            if cell.mark == "best":
                frame = {"color": INK, "width": 3}
                ends = {"x0": x - 0.5, "x1": x + 0.5, "y0": y - 0.5, "y1": y + 0.5}
                figure.shape(panel, type="rect", line=frame, **ends)


def _in_words(comparison: Comparison, cell: GridCell | None) -> str:
    if cell is None:
        return "no contender has these two levels"
    shown = numbers.interval(cell.result.final, floor=comparison.problem.judged.floor)
    return f"{literal(cell.result.label)}: {shown}<br>{cell.mark}"
