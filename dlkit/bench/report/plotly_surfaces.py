"""The report's figure of paths on a surface of two coordinates, drawn by plotly."""

import numpy as np

from dlkit.bench.analysis.comparison import Comparison
from dlkit.bench.analysis.summary import Summary
from dlkit.bench.analysis.surface_paths import surface_of, surface_paths
from dlkit.bench.report.looks import GREY, INK, LINE, style_of
from dlkit.bench.report.plotly_drawing import Drawing, blank, literal, scatter
from dlkit.bench.report.surface_data import LEVELS, surface_grid

__all__ = ["surface"]


def surface(summary: Summary, comparison: Comparison) -> Drawing:
    """Draws the contours of a surface of two coordinates, and each contender's median final trial on it.

    Args:
        summary: the run.
        comparison: the problem.

    Returns:
        The figure; no traces where the problem is no such surface, or trials did not keep where they were.
    """
    found, shape = surface_paths(comparison), surface_of(comparison.problem)
    figure = blank(height=480 + 20 * len(found))
    if shape is None or not found:
        return figure
    grid = surface_grid(shape, found)
    figure.add(
        {
            "type": "contour",
            "x": grid.x,
            "y": grid.y,
            "z": grid.heights.astype(np.float32),
            "contours": {
                "start": grid.low,
                "end": grid.high,
                "size": (grid.high - grid.low) / LEVELS,
                "coloring": "lines",
            },
            "colorscale": [[0.0, GREY], [1.0, LINE]],
            "line": {"width": 0.7},
            "showscale": False,
            "hoverinfo": "skip",
        }
    )
    for rank, each in enumerate(found):
        style = style_of(summary, each.result)
        scatter(
            figure,
            x=np.clip(each.points[:, 0], grid.x[0], grid.x[-1]),
            y=np.clip(each.points[:, 1], grid.y[0], grid.y[-1]),
            mode="lines+markers",
            line={"color": style.colour, "dash": style.dash, "width": 2},
            marker={"symbol": style.marker, "size": [9] + [4] * (len(each.points) - 2) + [9], "color": style.colour},
            name=literal(each.result.label),
            legendgroup=each.result.label,
            hoverinfo="x+y+name",
            zorder=len(found) - rank,
        )
    star = {"symbol": "star", "size": 13, "color": INK}
    x, y = shape.minimum
    scatter(
        figure, x=[x], y=[y], mode="markers", marker=star, name="minimum", hoverinfo="x+y+name", zorder=len(found) + 1
    )
    figure.update_xaxes(title={"text": "first coordinate"}, range=[grid.x[0], grid.x[-1]], showgrid=False)
    figure.update_yaxes(title={"text": "second coordinate"}, range=[grid.y[0], grid.y[-1]], showgrid=False)
    figure.update_layout(hovermode="closest", showlegend=True)
    return figure
