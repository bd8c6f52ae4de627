"""Figures are as plotly itself writes them, and panels lie where it puts them."""

import json
import math
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest
from plotly.subplots import make_subplots

from dlkit.bench.report.plotly_drawing import Drawing, blank, panels, scatter
from tests.bench.figures import checked


@pytest.mark.parametrize(
    "values",
    [
        np.array([1, 2, 3]),
        np.array([-128, 127]),
        np.array([0, 128]),
        np.array([-40_000, 40_000]),
        np.array([2**40, 1]),
        np.array([0.5, -1e300, math.nan, math.inf]),
        np.array([0.1, 0.2], np.float32),
        np.array([]),
        np.array([None, 1.5], object),
        np.array(["circle", "x"]),
        [1, 2.5, None],
        [math.nan, -math.inf, 3.0],
        [np.float64(2.5), np.int64(3), np.float64(math.nan)],
        (1, 2),
    ],
    ids=str,
)
def test_values_are_written_as_plotly_writes_them(values: Any) -> None:
    figure = blank(100)
    scatter(figure, x=values, y=values, customdata=values)
    expected = json.loads(go.Figure({"data": [{"type": "scatter", "x": values, "customdata": values}]}).to_json())
    (trace,), (same,) = json.loads(figure.to_json())["data"], expected["data"]
    assert trace["x"] == same["x"]
    assert trace["customdata"] == same["customdata"]


def test_a_matrix_keeps_its_shape() -> None:
    figure, heights = blank(100), np.arange(6, dtype=np.float32).reshape(2, 3)
    figure.add({"type": "contour", "z": heights})
    expected = json.loads(go.Figure({"data": [{"type": "contour", "z": heights}]}).to_json())
    assert json.loads(figure.to_json())["data"] == expected["data"]


@pytest.mark.parametrize(
    ("rows", "columns", "gap", "heights", "shares_y"),
    [(1, 1, 0.25, (), True), (2, 3, 0.2, (), False), (2, 2, 0.1, (), True), (3, 1, 0.05, (90, 130, 90), False)],
)
def test_panels_lie_where_plotly_puts_them(
    rows: int, columns: int, gap: float, heights: tuple[float, ...], *, shares_y: bool
) -> None:
    titles = [f"panel {index}" for index in range(rows * columns)]
    figure = checked(panels(400, rows, columns, gap=gap, titles=titles, heights=heights, shares_y=shares_y))
    expected = make_subplots(
        rows=rows,
        cols=columns,
        vertical_spacing=gap,
        subplot_titles=titles,
        row_heights=heights or None,
        shared_yaxes=shares_y,
    )
    names = [f"{kind}axis{index + 1 if index else ''}" for kind in "xy" for index in range(rows * columns)]
    for name in names:
        axis, other = figure.layout[name], expected.layout[name]
        assert axis.domain == pytest.approx(other.domain, abs=1e-12)
        assert (axis.anchor, axis.matches, axis.showticklabels) == (other.anchor, other.matches, other.showticklabels)
    for title, other in zip(figure.layout.annotations, expected.layout.annotations, strict=True):
        assert (title.text, title.xanchor, title.yanchor) == (other.text, other.xanchor, other.yanchor)
        assert (title.x, title.y) == pytest.approx((other.x, other.y), abs=1e-12)


def test_a_trace_lies_in_its_panel() -> None:
    figure = panels(400, 2, 2, gap=0.1)
    scatter(figure, panel=0, x=[1], y=[2])
    scatter(figure, panel=3, x=[1], y=[2])
    figure.annotate(3, x=1, y=2, text="here")
    found = checked(figure)
    assert [(trace.xaxis, trace.yaxis) for trace in found.data] == [("x", "y"), ("x4", "y4")]
    assert (found.layout.annotations[0].xref, found.layout.annotations[0].yref) == ("x4", "y4")


def test_a_change_leaves_what_it_does_not_name() -> None:
    figure = panels(400, 1, 2, gap=0.1)
    figure.update_xaxes(1, title={"text": "steps"}, dtick=None)
    figure.update_yaxes(showgrid=False)
    first, second = figure.layout["xaxis"], figure.layout["xaxis2"]
    assert "text" not in first["title"] and second["title"] == {**first["title"], "text": "steps"}
    assert "dtick" not in second and not figure.layout["yaxis"]["showgrid"] and not figure.layout["yaxis2"]["showgrid"]


@pytest.mark.parametrize(
    ("data", "shown"),
    [([], False), ([{"x": [None]}], False), ([{"x": []}, {"x": np.array([0.0])}], True), ([{"y": [1]}], False)],
)
def test_a_figure_shows_something_where_a_trace_has_a_point(data: list[dict[str, Any]], *, shown: bool) -> None:
    assert Drawing(data, {}).shows_something == shown
