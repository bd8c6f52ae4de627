"""The report's figure of quality against cost, drawn by plotly."""

import math
from collections.abc import Sequence

from dlkit.bench.analysis import numbers
from dlkit.bench.analysis.comparison import Comparison
from dlkit.bench.analysis.pareto import ParetoPanel, pareto
from dlkit.bench.analysis.summary import Summary
from dlkit.bench.plan.orientation import oriented
from dlkit.bench.plan.planned import PlannedProblem
from dlkit.bench.report import figure_data
from dlkit.bench.report.figure_data import Axis
from dlkit.bench.report.looks import GREY, style_of
from dlkit.bench.report.plotly_drawing import Drawing, literal, panels, scatter
from dlkit.bench.report.plotly_figures import metric_axis

__all__ = ["FAR_APART", "TITLES", "UNITS", "quality_against_cost", "quality_axis"]

TITLES = {"seconds": "time of training", "bytes": "parameters and optimizer state"}  # of costs with a unit at each tick
UNITS = {"seconds": "s", "bytes": "B"}
FAR_APART = 10.0  # a ratio of costs from which on their axis is logarithmic
COLUMNS = 2


def quality_against_cost(summary: Summary, comparison: Comparison) -> Drawing:
    """Draws the final value against each cost that tells contenders apart, with the front of those nobody beats.

    Args:
        summary: the run.
        comparison: the problem.

    Returns:
        The figure; no traces where contenders cost the same, as far as is known.
    """
    found, problem = pareto(comparison), comparison.problem
    rows, columns = max(math.ceil(len(found) / COLUMNS), 1), min(max(len(found), 1), COLUMNS)
    height = 110 + 260 * rows + 20 * len(comparison.results)
    figure = panels(height, rows, columns, gap=0.5 / (rows + 1), shares_y=True)
    if not found:
        return figure
    axis = quality_axis(problem, found)
    named = set[str]()
    for index, panel in enumerate(found):
        on_front = [point for point in panel.points if point.is_on_front]
        scatter(
            figure,
            x=[point.cost for point in on_front],
            y=[axis.visible(point.result.final)[0] for point in on_front],
            mode="lines",
            line={"color": GREY, "width": 1, "shape": "hv", "dash": "dot"},
            hoverinfo="skip",
            showlegend=False,
            panel=index,
        )
        for point in panel.points:
            style, label = style_of(summary, point.result), point.result.label
            middle, low, high = axis.visible(point.result.final)
            scatter(
                figure,
                x=[point.cost],
                y=[middle],
                mode="markers",
                marker={"color": style.colour, "symbol": style.marker, "size": 11},
                error_y={"array": [high - middle], "arrayminus": [middle - low], "color": style.colour, "width": 0},
                name=literal(label),
                legendgroup=label,
                showlegend=label not in named,
                hovertext=f"{numbers.interval(point.result.final, floor=problem.judged.floor)}",
                hoverinfo="x+text+name",
                panel=index,
            )
            named.add(label)
        costs = [point.cost for point in panel.points]
        is_log = min(costs) > 0 and max(costs) > FAR_APART * min(costs)
        title = TITLES.get(panel.name, panel.name)
        scale = {"type": "log", "dtick": "D2"} if is_log else {"type": "linear"}
        figure.update_xaxes(
            index, title={"text": title}, exponentformat="SI", ticksuffix=UNITS.get(panel.name, ""), **scale
        )
    metric_axis(figure.update_yaxes, axis, problem, "")
    for row in range(rows):
        figure.update_yaxes(row * columns, title={"text": literal(numbers.judged_label(problem))})
    figure.update_layout(hovermode="closest")
    return figure


def quality_axis(problem: PlannedProblem, panels: Sequence[ParetoPanel]) -> Axis:
    """Returns the axis that shows the medians and their intervals.

    Args:
        problem: whose metric.
        panels: what is drawn.
    """
    results = [point.result for panel in panels for point in panel.points]
    return figure_data.fit_axis(problem, [oriented(problem, problem.metric, list(each.final)) for each in results])
