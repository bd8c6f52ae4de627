"""A figure for each problem, for papers, drawn by matplotlib."""

import io
import math
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlkit.bench.analysis import numbers, step_costs
from dlkit.bench.analysis.comparison import Comparison
from dlkit.bench.analysis.summary import Summary
from dlkit.bench.errors import UserError
from dlkit.bench.report import figure_data
from dlkit.bench.report.looks import GREY, style_of
from dlkit.bench.report.matplotlib_across import across
from dlkit.bench.report.matplotlib_pareto import quality_against_cost

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

__all__ = ["ACROSS", "COST", "save_figures"]

ACROSS, COST = "across-problems", "against-cost"

INCHES, POINTS, LETTERS = (7.0, 2.6), 8, 130  # letters of the legend's size in a line
UNDATED = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}  # the same figure is the same bytes
UNUSABLE_FORMATS = frozenset({"pgf", "raw", "rgba"})  # one needs LaTeX, two are bare pixels


def save_figures(summary: Summary, folder: Path, *, extension: str = "pdf") -> list[Path]:
    """Draws one figure per problem for papers, curves at the left, final values at the right, and one of all together.

    Args:
        summary: the run.
        folder: where; made if missing.
        extension: a file ending that matplotlib knows, such as ``"pdf"``, ``"svg"``, ``"png"``.

    Returns:
        The files, named after the problems; one that ends with `COST` shows quality against cost, where contenders'
        costs differ. With two problems or more, `ACROSS` comes last.

    Raises:
        UserError: for an unknown format, or a folder that cannot be written.
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    known = sorted(set(FigureCanvasAgg.get_supported_filetypes()) - UNUSABLE_FORMATS)
    if extension not in known:
        raise UserError(f"figures cannot be drawn as '{extension}'; expected one of {', '.join(known)}")
    files = []
    for stem, draw in _every_figure(summary):
        name = re.sub(r"[^\w.-]+", "-", stem).lstrip(".") or "problem"
        path = folder / f"{name}.{extension}"
        drawn = io.BytesIO()
        # Type 42: publishers refuse the Type 3 fonts that matplotlib embeds by default. Undone when drawn.
        with matplotlib.rc_context({"pdf.fonttype": 42, "ps.fonttype": 42, "svg.hashsalt": "dlkit"}):
            figure = draw()
            if figure is None:
                continue
            figure.savefig(drawn, format=extension, dpi=300, metadata=UNDATED.get(extension))
        try:
            folder.mkdir(parents=True, exist_ok=True)
            path.write_bytes(drawn.getvalue())
        except OSError as error:
            raise UserError(f"{path}: the figure cannot be written: {error.strerror}; name another folder") from None
        files.append(path)
    return files


def _every_figure(summary: Summary) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Yields the stem of a file's name, and what draws its figure; None where there is nothing to draw."""
    for comparison in summary.comparisons:
        name = comparison.problem.name
        yield name, partial(_figure, summary, comparison)
        yield f"{name}-{COST}", partial(quality_against_cost, summary, comparison)
    if summary.overview.ranks:
        yield ACROSS, partial(across, summary)


def _figure(summary: Summary, comparison: Comparison) -> Any:
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator

    figure = Figure(figsize=INCHES, layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[1.15, 1])
    lines = _curves(left, summary, comparison)
    _finals(right, summary, comparison)
    for axes in (left, right):
        axes.tick_params(which="both", labelsize=POINTS - 1)
        axes.spines[["top", "right"]].set_visible(False)
    if comparison.problem.judged.scale == "log":
        for axis in (left.yaxis, right.xaxis):
            axis.set_minor_locator(LogLocator(subs=(2.0, 5.0)))
    names = [str(line.get_label()) for line in lines]
    columns = min(len(names), LETTERS // max((len(name) + 9 for name in names), default=1)) or 1
    legend = figure.legend(lines, names, loc="outside lower center", ncols=columns, fontsize=POINTS - 1, frameon=False)
    for entry in legend.get_texts():
        entry.set_parse_math(False)
    figure.set_figheight(INCHES[1] + 0.16 * math.ceil(len(names) / columns))
    return figure


def _curves(axes: "Axes", summary: Summary, comparison: Comparison) -> list["Line2D"]:
    found = figure_data.curves(summary, comparison)
    axis = figure_data.curve_axis(comparison, found)
    lines: list[Line2D] = []
    for rank, curve in enumerate(found):
        style, above = style_of(summary, curve.result), 3 - rank / len(found)  # the best is drawn last
        low, middle, high = (axis.units(values) for values in (curve.low, curve.middle, curve.high))
        axes.fill_between(curve.spent, low, high, color=style.colour, alpha=0.14, linewidth=0)
        line = {"color": style.colour, "linestyle": style.paper_dash, "linewidth": 1.2, "zorder": above}
        lines += axes.plot(curve.spent, middle, label=curve.name, **line)
    axes.axhline(comparison.target, color=GREY, linestyle=(0, (4, 3)), linewidth=0.7)  # nothing where it is NaN
    problem = comparison.problem
    axes.set_yscale(problem.judged.scale)
    axes.set_ylim(*axis.bounds)
    axes.set_xlim(0, problem.budget)
    axes.set_xlabel(step_costs.axis_title(problem, comparison.results), fontsize=POINTS)
    axes.set_ylabel(numbers.judged_label(problem), fontsize=POINTS, parse_math=False)
    return lines


def _finals(axes: "Axes", summary: Summary, comparison: Comparison) -> None:
    problem, results, found = comparison.problem, comparison.results, figure_data.finals(comparison)
    axis = figure_data.fit_axis(problem, [each.values for each in found])
    for each in found:
        colour = style_of(summary, each.result).colour
        shape, face = ("o", colour) if each.split == problem.judged_on else ("D", "white")
        off, shown = axis.off(each.values), axis.pinned(each.values)
        axes.scatter(shown[~off], each.heights[~off], s=4, color=colour, alpha=0.4, linewidths=0, marker=shape)
        axes.scatter(shown[off], each.heights[off], s=8, color=colour, marker="x", linewidths=0.8)
        if not math.isnan(each.median.estimate):
            middle, low, high = axis.visible(each.median)
            axes.plot([low, high], [each.height] * 2, color=colour, linewidth=1.6, solid_capstyle="butt")
            axes.plot([middle], [each.height], marker=shape, markersize=4.5, color=colour, markerfacecolor=face)
    axes.set_xscale(problem.judged.scale)
    axes.set_xlim(*axis.bounds)
    axes.set_ylim(len(results) - 0.5, -0.5)
    for tick in axes.set_yticks(range(len(results)), [figure_data.short(each.label) for each in results]):
        tick.label1.set_parse_math(False)
    marks = " (\u25cf test, \u25c7 validation)" if problem.judged_on == "test" else ""
    axes.set_xlabel(f"final {numbers.metric_label(problem)}{marks}", fontsize=POINTS, parse_math=False)
