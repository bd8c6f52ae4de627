"""The figure of quality against cost, for papers, drawn by matplotlib."""

import math
from typing import TYPE_CHECKING, Any

from dlkit.bench.analysis import numbers
from dlkit.bench.analysis.comparison import Comparison
from dlkit.bench.analysis.pareto import ParetoPanel, pareto
from dlkit.bench.analysis.summary import Summary
from dlkit.bench.report import figure_data
from dlkit.bench.report.figure_data import Axis
from dlkit.bench.report.looks import GREY, style_of
from dlkit.bench.report.matplotlib_paper import POINTS, blank, legend, plain
from dlkit.bench.report.plotly_pareto import FAR_APART, TITLES, UNITS, quality_axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["quality_against_cost"]

LEAST, HEIGHT = 2.0, 2.1  # inches of a panel: its width at least, and its height


def quality_against_cost(summary: Summary, comparison: Comparison, inches: float) -> "Figure | None":
    """Draws the final value against each cost that tells contenders apart, with the front of those nobody beats.

    Args:
        summary: the run.
        comparison: the problem.
        inches: the figure's width.

    Returns:
        The figure, a small panel a cost; None where contenders cost the same, as far as is known.
    """
    panels = pareto(comparison)
    if not panels:
        return None
    columns = min(int(inches // LEAST), len(panels))
    rows = math.ceil(len(panels) / columns)
    figure = blank(inches, HEIGHT * rows)
    axis = quality_axis(comparison.problem, panels)
    every: dict[str, Any] = {}
    places = figure.subplots(rows, columns, sharey=True, squeeze=False).ravel()
    for axes, panel in zip(places, panels, strict=False):
        every |= _panel(axes, summary, panel, axis)
    for axes in places[len(panels) :]:
        axes.remove()
    for axes in places[: len(panels) : columns]:
        axes.set_ylabel(numbers.judged_label(comparison.problem), fontsize=POINTS, parse_math=False)
    legend(figure, list(every.values()), [figure_data.short(label) for label in every])
    return figure


def _panel(axes: "Axes", summary: Summary, panel: ParetoPanel, axis: Axis) -> dict[str, Any]:
    """Draws one panel; returns label -> what stands in the legend for it."""
    from matplotlib.ticker import EngFormatter, LogLocator, NullLocator

    marks = {}
    on_front = [point for point in panel.points if point.is_on_front]
    values = [axis.visible(point.result.final)[0] for point in on_front]
    axes.step([point.cost for point in on_front], values, where="post", color=GREY, linewidth=0.7, linestyle=":")
    for point in panel.points:
        style = style_of(summary, point.result)
        middle, low, high = axis.visible(point.result.final)
        axes.plot([point.cost] * 2, [low, high], color=style.colour, linewidth=1.2, solid_capstyle="butt")
        marker: dict[str, Any] = {"marker": style.paper_marker, "markersize": 5, "linestyle": "none"}
        (marks[point.result.label],) = axes.plot([point.cost], [middle], color=style.colour, **marker)
    costs = [point.cost for point in panel.points]
    if min(costs) > 0 and max(costs) > FAR_APART * min(costs):
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(EngFormatter(UNITS.get(panel.name, ""), sep=""))
    axes.set_yscale(axis.problem.judged.scale)
    axes.set_ylim(*axis.bounds)
    axes.margins(x=0.12)
    axes.set_xlabel(TITLES.get(panel.name, panel.name))
    plain(axes)
    return marks
