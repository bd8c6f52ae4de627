"""Figures: plotly's for the report, matplotlib's for papers; the only file that imports either, and that lazily."""

import html
import io
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from dlkit.bench import figure_data, formats
from dlkit.bench.errors import UserError
from dlkit.bench.figure_data import Axis, Finals
from dlkit.bench.plans import ProblemFacts
from dlkit.bench.ranking import Row
from dlkit.bench.results import Comparison, Summary

if TYPE_CHECKING:
    import plotly.graph_objects as go
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

__all__ = ["curves", "finals", "javascript", "save_figures", "sensitivity", "tuning_curve"]

# Okabe and Ito's colours without yellow, which is too light for lines on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES = (("solid", "-"), ("dash", "--"), ("dot", ":"), ("dashdot", "-."), ("longdash", (0, (8, 3))))
MARKERS = ("circle", "square", "diamond", "triangle-up", "pentagon", "triangle-down")
SPLIT_MARKERS = {"validation": "circle", "test": "diamond-open"}
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
INK, GREY = "#1f2933", "#52606d"
PAPER_INCHES, PAPER_POINTS, PAPER_LETTERS = (7.0, 2.6), 8, 130  # letters of the legend's size in a line
UNDATED = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}  # the same figure is the same bytes
UNUSABLE_FORMATS = frozenset({"pgf", "raw", "rgba"})  # one needs LaTeX, two are bare pixels


class _Style(NamedTuple):
    """How a contender looks in every figure: plotly's colour, dash and marker, and matplotlib's dash."""

    colour: str
    dash: str
    marker: str
    paper_dash: Any


def _style(summary: Summary, row: Row) -> _Style:
    index = figure_data.position(summary, row)
    dash, paper_dash = DASHES[index % len(DASHES)]
    return _Style(COLOURS[index % len(COLOURS)], dash, MARKERS[index % len(MARKERS)], paper_dash)


def javascript() -> str:
    """Returns plotly.js, which draws the figures without a network."""
    from plotly.offline import get_plotlyjs

    return str(get_plotlyjs())


# --- plotly ---


def curves(summary: Summary, comparison: Comparison) -> "go.Figure":
    """Draws the judged metric on validation against steps: median over seeds, and the band from 25 to 75 %.

    Args:
        summary: the run.
        comparison: the problem.

    Returns:
        The figure; per contender a band and a line, best first.
    """
    problem = comparison.problem
    found = figure_data.curves(summary, comparison)
    axis = figure_data.curve_axis(comparison, found)
    figure = _figure(height=380 + 20 * len(comparison.rows))
    for rank, curve in enumerate(found):
        style, low, high = _style(summary, curve.row), axis.units(curve.low), axis.units(curve.high)
        common = {"name": _text(curve.name), "legendgroup": curve.row.label}
        figure.add_scatter(
            x=np.concatenate([curve.steps, curve.steps[::-1]]),
            y=np.concatenate([low, high[::-1]]),
            mode="none",
            fill="toself",
            fillcolor=f"{style.colour}24",
            line={"width": 0},
            hoverinfo="skip",
            showlegend=False,
            **common,
        )
        line = {"color": style.colour, "dash": style.dash, "width": 2}
        middle, above = axis.units(curve.middle), len(found) - rank  # the best is drawn last
        figure.add_scatter(
            x=curve.steps, y=middle, mode="lines", line=line, hovertemplate="%{y:.4g}", zorder=above, **common
        )
    if math.isfinite(comparison.target):
        figure.add_hline(y=comparison.target, line={"color": GREY, "dash": "dash", "width": 1})
        _note(figure, axis, comparison.target)
    figure.update_layout(hovermode="x unified")
    figure.update_xaxes(title_text="steps", range=[0, 1.02 * problem.steps])
    _metric_axis(figure.update_yaxes, problem, axis, "validation")
    return figure


def finals(summary: Summary, comparison: Comparison) -> "go.Figure":
    """Draws every seed's final value, and median and interval, on validation and test; best contender on top.

    Args:
        summary: the run.
        comparison: the problem.

    Returns:
        The figure; per contender four traces: dots and median on validation, then on test.
    """
    problem, rows, found = comparison.problem, comparison.rows, figure_data.finals(comparison)
    axis = figure_data.fit_axis(problem, [each.values for each in found])
    figure = _figure(height=150 + 52 * len(rows))
    for each in found:
        common = {
            "mode": "markers",
            "name": f"{_text(each.row.label)}, {each.split}",
            "legendgroup": each.split,
            "showlegend": False,
            "hoverinfo": "text+name",
        }
        _dots(figure, axis, each, _style(summary, each.row).colour, common)
        _median(figure, axis, each, _style(summary, each.row).colour, common)
    for split, symbol in SPLIT_MARKERS.items():
        marker = {"symbol": symbol, "size": 10, "color": GREY}
        figure.add_scatter(x=[None], y=[None], mode="markers", name=split, legendgroup=split, marker=marker)
    labels = [_text(figure_data.short(row.label)) for row in rows]
    figure.update_yaxes(tickvals=list(range(len(rows))), ticktext=labels, range=[len(rows) - 0.5, -0.5], showgrid=False)
    figure.update_layout(hovermode="closest")
    _metric_axis(figure.update_xaxes, problem, axis, "final")
    return figure


def sensitivity(summary: Summary, comparison: Comparison) -> "go.Figure":
    """Draws the tuning scores against the learning rate: the winner as a star, diverged points as crosses at the edge.

    Args:
        summary: the run.
        comparison: the problem.

    Returns:
        The figure; per contender a trace of points and one for the legend.
    """
    problem = comparison.problem
    found = figure_data.scores(summary, comparison)
    axis = figure_data.fit_axis(problem, [each.scores for each in found])
    figure = _figure(height=380 + 20 * len(comparison.rows))
    for each in found:
        style, off = _style(summary, each.row), axis.off(each.scores)
        symbols = np.where(off, "x", style.marker).astype(object)
        sizes = np.where(off, 7, 8)
        if each.winner is not None:
            symbols[each.winner], sizes[each.winner] = "star", 15
        name = each.row.label if each.name == "learning_rate" else f"{each.row.label} ({each.name})"
        shown = figure_data.in_words(problem, each.scores)
        common = {"name": _text(name), "legendgroup": each.row.label, "mode": "markers"}
        figure.add_scatter(
            x=each.values,
            y=axis.pinned(each.scores),
            showlegend=False,
            marker={"color": style.colour, "symbol": symbols, "size": sizes, "opacity": 0.85},
            hovertext=[f"{score}<br>{_text(setting)}" for score, setting in zip(shown, each.settings, strict=True)],
            hoverinfo="text+name",
            **common,
        )
        marker = {"color": style.colour, "symbol": style.marker, "size": 8}  # the legend's; the data's may be a star
        figure.add_scatter(x=[None], y=[None], marker=marker, **common)
    positive = all((each.values > 0).all() for each in found)
    figure.update_xaxes(
        title_text=figure_data.hyperparameter(found),
        **({"type": "log", "dtick": 1, "exponentformat": "power"} if positive else {}),
    )
    _metric_axis(figure.update_yaxes, problem, axis, "tuning")
    return figure


def tuning_curve(summary: Summary, comparison: Comparison) -> "go.Figure":
    """Draws the expected best tuning score against the number of tuning points.

    Args:
        summary: the run.
        comparison: the problem.

    Returns:
        The figure; one trace a contender whose tuning is complete, from where the expectation is finite.
    """
    problem = comparison.problem
    rows = [row for row in comparison.rows if not row.failure and all(figure_data.tuned(summary, problem, row))]
    axis = figure_data.fit_axis(problem, [row.tuning.curve for row in rows])
    figure = _figure(height=380 + 20 * len(comparison.rows))
    for row in rows:
        style = _style(summary, row)
        known = np.isfinite(row.tuning.curve)
        figure.add_scatter(
            x=np.arange(1, len(row.tuning.curve) + 1)[known],
            y=axis.units(row.tuning.curve[known]),
            mode="lines+markers",
            name=_text(row.label),
            line={"color": style.colour, "dash": style.dash, "width": 2},
            marker={"symbol": style.marker, "size": 6},
            hovertemplate="%{y:.4g}",
        )
    figure.update_layout(hovermode="x unified", showlegend=True)
    figure.update_xaxes(title_text="tuning points", rangemode="tozero", tickformat="d")
    _metric_axis(figure.update_yaxes, problem, axis, "expected best tuning")
    return figure


def _figure(height: int) -> "go.Figure":
    import plotly.graph_objects as go

    figure = go.Figure()
    figure.update_layout(
        template="plotly_white",
        height=height,
        margin={"l": 8, "r": 12, "t": 34, "b": 8},
        font={"family": FONT, "size": 13, "color": INK},
        legend={"orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom", "x": 0, "xanchor": "left"},
        hoverlabel={"namelength": -1},
    )
    line = {"automargin": True, "showline": True, "linecolor": "#9aa5b1", "ticks": "outside", "zeroline": False}
    figure.update_xaxes(line, title_standoff=8).update_yaxes(line, title_standoff=8)
    return figure


def _metric_axis(update: Callable[..., Any], problem: ProblemFacts, axis: Axis, what: str) -> None:
    """Sets up the axis that shows the judged metric."""
    is_log = problem.judged.scale == "log"
    spans = axis.range[1] - axis.range[0]
    update(
        title_text=_text(f"{what} {_metric(problem)}"),
        tickfont_size=11,
        type="log" if is_log else "linear",
        range=list(axis.range),
        exponentformat="power" if is_log else "e",
        dtick=None if not is_log or spans < 0.5 else max(1, math.ceil(spans / 7)) if spans > 2 else "D2",
    )


def _note(figure: "go.Figure", axis: Axis, target: float) -> None:
    """Writes which number the target is, at its line's right end."""
    at = math.log10(target) if axis.problem.judged.scale == "log" and target > 0 else target
    figure.add_annotation(
        x=1, xref="paper", xanchor="right", y=at, yanchor="bottom", showarrow=False,
        text=f"target {formats.number(target)}", font={"size": 11, "color": GREY},
    )  # fmt: skip


def _dots(figure: "go.Figure", axis: Axis, finals: Finals, colour: str, common: dict[str, Any]) -> None:
    """Adds one seed's final value a dot; crosses for those beyond the axis."""
    off = axis.off(finals.values)
    symbols = np.where(off, "x", SPLIT_MARKERS[finals.split])
    figure.add_scatter(
        x=axis.pinned(finals.values),
        y=finals.heights,
        marker={"color": colour, "size": np.where(off, 7, 5), "symbol": symbols, "opacity": 0.5},
        hovertext=figure_data.in_words(axis.problem, finals.values),
        **common,
    )


def _median(figure: "go.Figure", axis: Axis, finals: Finals, colour: str, common: dict[str, Any]) -> None:
    """Adds the median as a large mark and its interval as a thick line, where there are any."""
    if math.isnan(finals.median.estimate):
        return
    middle, low, high = axis.visible(finals.median)
    symbol = SPLIT_MARKERS[finals.split]
    figure.add_scatter(
        x=[middle],
        y=[finals.height],
        marker={"color": colour, "size": 11, "symbol": symbol, "line": {"width": 1.5, "color": colour}},
        error_x={"array": [high - middle], "arrayminus": [middle - low], "color": colour, "thickness": 3, "width": 0},
        hovertext=f"median {formats.interval(finals.median)}",
        **common,
    )


def _text(label: str) -> str:
    """A label as plotly shows it literally: its texts are a kind of HTML."""
    return html.escape(label, quote=False)


def _metric(problem: ProblemFacts) -> str:
    return problem.judged.label or problem.metric


# --- matplotlib ---


def save_figures(summary: Summary, folder: Path, *, extension: str = "pdf") -> list[Path]:
    """Draws one figure per problem for papers: curves at the left, final values at the right.

    Args:
        summary: the run.
        folder: where; made if missing.
        extension: a file ending that matplotlib knows, such as ``"pdf"``, ``"svg"``, ``"png"``.

    Returns:
        The files, named after the problems.

    Raises:
        UserError: for an unknown format, or a folder that cannot be written.
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    known = sorted(set(FigureCanvasAgg.get_supported_filetypes()) - UNUSABLE_FORMATS)
    if extension not in known:
        raise UserError(f"figures cannot be drawn as '{extension}'; expected one of {', '.join(known)}")
    files = []
    for comparison in summary.comparisons:
        name = re.sub(r"[^\w.-]+", "-", comparison.problem.name).lstrip(".") or "problem"
        path = folder / f"{name}.{extension}"
        drawn = io.BytesIO()
        # Type 42: publishers refuse the Type 3 fonts that matplotlib embeds by default. Undone when drawn.
        with matplotlib.rc_context({"pdf.fonttype": 42, "ps.fonttype": 42, "svg.hashsalt": "dlkit"}):
            _paper_figure(summary, comparison).savefig(
                drawn, format=extension, dpi=300, metadata=UNDATED.get(extension)
            )
        try:
            folder.mkdir(parents=True, exist_ok=True)
            path.write_bytes(drawn.getvalue())
        except OSError as error:
            raise UserError(f"{path}: the figure cannot be written: {error.strerror}; name another folder") from None
        files.append(path)
    return files


def _paper_figure(summary: Summary, comparison: Comparison) -> Any:
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator

    figure = Figure(figsize=PAPER_INCHES, layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[1.15, 1])
    lines = _paper_curves(left, summary, comparison)
    _paper_finals(right, summary, comparison)
    for axes in (left, right):
        axes.tick_params(which="both", labelsize=PAPER_POINTS - 1)
        axes.spines[["top", "right"]].set_visible(False)
    if comparison.problem.judged.scale == "log":
        for axis in (left.yaxis, right.xaxis):
            axis.set_minor_locator(LogLocator(subs=(2.0, 5.0)))
    names = [str(line.get_label()) for line in lines]
    columns = min(len(names), PAPER_LETTERS // max((len(name) + 9 for name in names), default=1)) or 1
    legend = figure.legend(
        lines, names, loc="outside lower center", ncols=columns, fontsize=PAPER_POINTS - 1, frameon=False
    )
    for entry in legend.get_texts():
        entry.set_parse_math(False)
    figure.set_figheight(PAPER_INCHES[1] + 0.16 * math.ceil(len(names) / columns))
    return figure


def _paper_curves(axes: "Axes", summary: Summary, comparison: Comparison) -> list["Line2D"]:
    found = figure_data.curves(summary, comparison)
    axis = figure_data.curve_axis(comparison, found)
    lines: list[Line2D] = []
    for rank, curve in enumerate(found):
        style, above = _style(summary, curve.row), 3 - rank / len(found)  # the best is drawn last
        low, middle, high = (axis.units(values) for values in (curve.low, curve.middle, curve.high))
        axes.fill_between(curve.steps, low, high, color=style.colour, alpha=0.14, linewidth=0)
        line = {"color": style.colour, "linestyle": style.paper_dash, "linewidth": 1.2, "zorder": above}
        lines += axes.plot(curve.steps, middle, label=curve.name, **line)
    axes.axhline(comparison.target, color=GREY, linestyle=(0, (4, 3)), linewidth=0.7)  # nothing where it is NaN
    problem = comparison.problem
    axes.set_yscale(problem.judged.scale)
    axes.set_ylim(*axis.bounds)
    axes.set_xlim(0, problem.steps)
    axes.set_xlabel("steps", fontsize=PAPER_POINTS)
    axes.set_ylabel(f"validation {_metric(problem)}", fontsize=PAPER_POINTS, parse_math=False)
    return lines


def _paper_finals(axes: "Axes", summary: Summary, comparison: Comparison) -> None:
    problem, rows, found = comparison.problem, comparison.rows, figure_data.finals(comparison)
    axis = figure_data.fit_axis(problem, [each.values for each in found])
    for each in found:
        colour = _style(summary, each.row).colour
        shape, face = ("o", colour) if each.split == "validation" else ("D", "white")
        off, shown = axis.off(each.values), axis.pinned(each.values)
        axes.scatter(shown[~off], each.heights[~off], s=4, color=colour, alpha=0.4, linewidths=0, marker=shape)
        axes.scatter(shown[off], each.heights[off], s=8, color=colour, marker="x", linewidths=0.8)
        if not math.isnan(each.median.estimate):
            middle, low, high = axis.visible(each.median)
            axes.plot([low, high], [each.height] * 2, color=colour, linewidth=1.6, solid_capstyle="butt")
            axes.plot([middle], [each.height], marker=shape, markersize=4.5, color=colour, markerfacecolor=face)
    axes.set_xscale(problem.judged.scale)
    axes.set_xlim(*axis.bounds)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    for tick in axes.set_yticks(range(len(rows)), [figure_data.short(row.label) for row in rows]):
        tick.label1.set_parse_math(False)
    axes.set_xlabel(
        f"final {_metric(problem)} (\u25cf validation, \u25c7 test)", fontsize=PAPER_POINTS, parse_math=False
    )
