"""The report's figures of one problem, drawn by plotly."""

import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from dlkit.bench.analysis import numbers, step_costs, tuning_curves
from dlkit.bench.analysis.comparison import Comparison
from dlkit.bench.analysis.summary import Summary
from dlkit.bench.plan.planned import PlannedProblem
from dlkit.bench.report import figure_data, plotly_bundle
from dlkit.bench.report.figure_data import Axis, Finals
from dlkit.bench.report.looks import GREY, style_of
from dlkit.bench.report.plotly_drawing import Drawing, blank, fill_between, literal, panels, scatter

__all__ = [
    "curves",
    "finals",
    "javascript",
    "metric_axis",
    "probes",
    "sensitivity",
    "template",
    "tuning_curve",
]

SPLIT_MARKERS = {"test": "circle", "objective": "circle", "validation": "diamond-open"}
PANELS = 3  # of probes, side by side


def javascript() -> str:
    """Returns the script that unpacks plotly.js, which draws the figures without a network: see `plotly_bundle`."""
    return plotly_bundle.loader()


def template() -> str:
    """Returns the template of all figures as JSON, for the page to give to each.

    Plotly copies and checks a template for every figure that has one, which takes longer than most figures do.
    """
    import plotly.io

    return json.dumps(plotly.io.templates["plotly_white"].to_plotly_json())


def curves(summary: Summary, comparison: Comparison) -> Drawing:
    """Draws the judged metric against steps: median over final trials, and the band from 25 to 75 %.

    Args:
        summary: the run.
        comparison: the problem.

    Returns:
        The figure; per contender a band and a line, best first.
    """
    problem = comparison.problem
    found = figure_data.curves(summary, comparison)
    axis = figure_data.curve_axis(comparison, found)
    figure = blank(height=380 + 20 * len(comparison.results))
    for rank, curve in enumerate(found):
        style, low, high = style_of(summary, curve.result), axis.units(curve.low), axis.units(curve.high)
        common: dict[str, Any] = {"name": literal(curve.name), "legendgroup": curve.result.label}
        fill_between(figure, curve.spent, low, high, style.colour, common, count=len(found))
        line = {"color": style.colour, "dash": style.dash, "width": 2}
        middle, above = axis.units(curve.middle), len(found) - rank  # the best is drawn last
        scatter(
            figure, x=curve.spent, y=middle, mode="lines", line=line, hovertemplate="%{y:.4g}", zorder=above, **common
        )
    if math.isfinite(comparison.target):
        ends: dict[str, Any] = {"x0": 0, "x1": 1, "xref": "x domain", "y0": comparison.target, "y1": comparison.target}
        figure.shape(type="line", **ends, line={"color": GREY, "dash": "dash", "width": 1})
        _note(figure, axis, comparison.target)
    figure.update_layout(hovermode="x unified")
    title = step_costs.axis_title(problem, comparison.results)
    figure.update_xaxes(title={"text": literal(title)}, range=[0, 1.02 * problem.budget])
    metric_axis(figure.update_yaxes, axis, problem, numbers.judged_label(problem))
    return figure


def finals(summary: Summary, comparison: Comparison) -> Drawing:
    """Draws every final trial's value, and median and interval over blocks, on test and validation; the best on top.

    Args:
        summary: the run.
        comparison: the problem.

    Returns:
        The figure; per contender four traces: dots and median on test, then on validation.
    """
    problem, results, found = comparison.problem, comparison.results, figure_data.finals(comparison)
    axis = figure_data.fit_axis(problem, [each.values for each in found])
    figure = blank(height=150 + 52 * len(results))
    for each in found:
        common = {
            "mode": "markers",
            "name": f"{literal(each.result.label)}, {each.split}",
            "legendgroup": each.split,
            "showlegend": False,
            "hoverinfo": "text+name",
        }
        _dots(figure, axis, each, style_of(summary, each.result).colour, common)
        _median(figure, axis, each, style_of(summary, each.result).colour, common)
    for split in dict.fromkeys(each.split for each in found):
        marker = {"symbol": SPLIT_MARKERS[split], "size": 10, "color": GREY}
        scatter(figure, x=[None], y=[None], mode="markers", name=split, legendgroup=split, marker=marker)
    labels = [literal(figure_data.short(each.label)).replace("\n", "<br>") for each in results]
    figure.update_yaxes(
        tickvals=list(range(len(results))), ticktext=labels, range=[len(results) - 0.5, -0.5], showgrid=False
    )
    figure.update_layout(hovermode="closest")
    metric_axis(figure.update_xaxes, axis, problem, f"final {numbers.metric_label(problem)}")
    return figure


def sensitivity(summary: Summary, comparison: Comparison) -> Drawing:
    """Draws the tuning scores against the learning rate: winners as stars, diverged points as crosses at the edge.

    Args:
        summary: the run.
        comparison: the problem.

    Returns:
        The figure; per contender a trace of points and one for the legend.
    """
    problem = comparison.problem
    found = figure_data.scores(comparison)
    axis = figure_data.fit_axis(problem, [each.scores for each in found])
    figure = blank(height=380 + 20 * len(comparison.results))
    for each in found:
        style, off = style_of(summary, each.result), axis.off(each.scores)
        symbols = np.where(off, "x", style.marker).astype(object)
        sizes = np.where(off, 7, 8)
        symbols[each.winners], sizes[each.winners] = "star", 15 if len(each.winners) == 1 else 11
        name = each.result.label if each.name == "learning_rate" else f"{each.result.label} ({each.name})"
        shown = figure_data.in_words(problem, each.scores)
        common: dict[str, Any] = {"name": literal(name), "legendgroup": each.result.label, "mode": "markers"}
        scatter(
            figure,
            x=each.values,
            y=axis.pinned(each.scores),
            showlegend=False,
            marker={"color": style.colour, "symbol": symbols, "size": sizes, "opacity": 0.85},
            hovertext=[f"{score}<br>{literal(setting)}" for score, setting in zip(shown, each.settings, strict=True)],
            hoverinfo="text+name",
            **common,
        )
        marker = {"color": style.colour, "symbol": style.marker, "size": 8}  # the legend's; the data's may be a star
        scatter(figure, x=[None], y=[None], marker=marker, **common)
    positive = all((each.values > 0).all() for each in found)
    scale: dict[str, Any] = {"type": "log", "dtick": 1, "exponentformat": "power"} if positive else {}
    figure.update_xaxes(title={"text": literal(figure_data.hyperparameter(found))}, **scale)
    metric_axis(figure.update_yaxes, axis, problem, f"tuning {numbers.metric_label(problem)}")
    return figure


def tuning_curve(summary: Summary, comparison: Comparison) -> Drawing:
    """Draws the best tuning score against the number of tuning points.

    Args:
        summary: the run.
        comparison: the problem.

    Returns:
        The figure; per contender whose tuning is complete the ends of its band, as far as they are finite, and a line.
    """
    problem = comparison.problem
    found = figure_data.tuning_curves(summary, comparison)
    axis = figure_data.fit_axis(problem, [each.middle for each in found])
    figure = blank(height=380 + 20 * len(comparison.results))
    for each in found:
        style, points = style_of(summary, each.result), np.arange(1, len(each.middle) + 1)
        common: dict[str, Any] = {"name": literal(each.result.label), "legendgroup": each.result.label}
        for end in (each.low, each.high):
            shown = np.isfinite(end)  # a band's end that the points do not bound is nowhere
            edge = {"color": style.colour, "dash": "dot", "width": 1}
            scatter(
                figure,
                x=points[shown],
                y=axis.units(end[shown]),
                mode="lines",
                line=edge,
                hoverinfo="skip",
                showlegend=False,
                **common,
            )
        known = np.isfinite(each.middle)
        scatter(
            figure,
            x=points[known],
            y=axis.units(each.middle[known]),
            mode="lines+markers",
            line={"color": style.colour, "dash": style.dash, "width": 2},
            marker={"symbol": style.marker, "size": 6 if len(points) <= 32 else 3},
            hovertemplate="%{y:.4g}",
            **common,
        )
    figure.update_layout(hovermode="x unified", showlegend=True)
    figure.update_xaxes(title={"text": "tuning points"}, rangemode="tozero", tickformat="d")
    is_sample = not tuning_curves.not_drawn(summary.plan) and not summary.plan.repeats_tuning
    what = "median best tuning" if is_sample else "expected best tuning"
    metric_axis(figure.update_yaxes, axis, problem, f"{what} {numbers.metric_label(problem)}")
    return figure


def probes(summary: Summary, comparison: Comparison) -> Drawing:
    """Draws what the probes saw along the final trials: a panel a curve, the median over trials a contender.

    Args:
        summary: the run.
        comparison: the problem.

    Returns:
        The figure; it has no traces where there are no probes.
    """
    found = figure_data.probe_curves(summary, comparison)
    if not found:
        return blank(height=90)
    names = list(dict.fromkeys(each.name for each in found))
    rows, columns = math.ceil(len(names) / PANELS), min(PANELS, len(names))
    titles = [literal(name.replace("_", " ")) for name in names]
    figure = panels(90 + 210 * rows, rows, columns, gap=0.5 / (rows + 1), titles=titles)
    for each in found:
        style, panel = style_of(summary, each.result), names.index(each.name)
        scatter(
            figure,
            x=each.spent,
            y=each.middle,
            mode="lines+markers",
            marker={"size": 4},
            line={"color": style.colour, "dash": style.dash, "width": 1.5},
            name=literal(each.result.label),
            legendgroup=each.result.label,
            showlegend=panel == 0,
            panel=panel,
        )
    figure.update_xaxes(range=[0, 1.02 * comparison.problem.budget], tickfont={"size": 10})
    for panel in range((rows - 1) * columns, rows * columns):
        figure.update_xaxes(panel, title={"text": literal(comparison.problem.axis)})
    figure.update_yaxes(tickfont={"size": 10}, exponentformat="e")
    return figure


def metric_axis(update: Callable[..., Any], axis: Axis, problem: PlannedProblem, title: str) -> None:
    """Sets up the axis that shows the judged metric.

    Args:
        update: of a figure: its `update_xaxes` or `update_yaxes`.
        axis: what it shows.
        problem: whose metric.
        title: of the axis.
    """
    is_log = problem.judged.scale == "log"
    spans = axis.range[1] - axis.range[0]
    update(
        title={"text": literal(title)},
        tickfont={"size": 11},
        type="log" if is_log else "linear",
        range=list(axis.range),
        exponentformat="power" if is_log else "e",
        dtick=None if not is_log or spans < 0.5 else max(1, math.ceil(spans / 7)) if spans > 2 else "D2",
    )


def _note(figure: Drawing, axis: Axis, target: float) -> None:
    """Writes which number the target is, at its line's right end."""
    at = math.log10(target) if axis.problem.judged.scale == "log" and target > 0 else target
    figure.annotate(
        x=1, xref="paper", xanchor="right", y=at, yanchor="bottom",
        text=f"target {numbers.number(target)}", font={"size": 11, "color": GREY},
    )  # fmt: skip


def _dots(figure: Drawing, axis: Axis, finals: Finals, colour: str, common: dict[str, Any]) -> None:
    """Adds one seed's final value a dot; crosses for those beyond the axis."""
    off = axis.off(finals.values)
    symbols = np.where(off, "x", SPLIT_MARKERS[finals.split])
    scatter(
        figure,
        x=axis.pinned(finals.values),
        y=finals.heights,
        marker={"color": colour, "size": np.where(off, 7, 5), "symbol": symbols, "opacity": 0.5},
        hovertext=figure_data.in_words(axis.problem, finals.values),
        cliponaxis=False,
        **common,
    )


def _median(figure: Drawing, axis: Axis, finals: Finals, colour: str, common: dict[str, Any]) -> None:
    """Adds the median as a large mark and its interval as a thick line, where there are any."""
    if math.isnan(finals.median.estimate):
        return
    middle, low, high = axis.visible(finals.median)
    symbol = SPLIT_MARKERS[finals.split]
    scatter(
        figure,
        x=[middle],
        y=[finals.height],
        marker={"color": colour, "size": 11, "symbol": symbol, "line": {"width": 1.5, "color": colour}},
        error_x={"array": [high - middle], "arrayminus": [middle - low], "color": colour, "thickness": 3, "width": 0},
        hovertext=f"{numbers.geometric(axis.problem)}median "
        f"{numbers.interval(finals.median, floor=axis.problem.judged.floor)}",
        cliponaxis=False,
        **common,
    )
