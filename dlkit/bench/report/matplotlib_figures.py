"""Figures for papers: a problem's curves and final values, drawn by matplotlib, and the files of all of them."""

import io
import itertools
import math
import textwrap
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlkit.bench.analysis import numbers, step_costs
from dlkit.bench.analysis.comparison import Comparison
from dlkit.bench.analysis.summary import Summary
from dlkit.bench.errors import UserError
from dlkit.bench.escapes import file_name, visible
from dlkit.bench.report import figure_data
from dlkit.bench.report.looks import GREY, style_of
from dlkit.bench.report.matplotlib_across import across
from dlkit.bench.report.matplotlib_factors import factor_heat_map, learning_rates
from dlkit.bench.report.matplotlib_paper import POINTS, WIDTHS, band_alpha, blank, legend, literal, plain, width_of
from dlkit.bench.report.matplotlib_pareto import quality_against_cost
from dlkit.bench.report.matplotlib_ranks import critical_difference
from dlkit.bench.report.matplotlib_surfaces import surface

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

__all__ = ["ACROSS", "COST", "FACTORS", "RANKS", "RATES", "SURFACE", "save_figures"]

ACROSS, RANKS = "across-problems", "critical-differences"
COST, RATES, FACTORS, SURFACE = "against-cost", "learning-rates", "factors", "paths"
MORE = {
    COST: quality_against_cost,
    RATES: learning_rates,
    FACTORS: factor_heat_map,
    SURFACE: surface,
}  # of a problem, by how their files' names end

HEIGHT, ROW = 2.3, 0.125  # inches of a panel, and of a line of names in it
NARROW = 28  # letters below panels as wide as a column
UNDATED = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}  # the same figure is the same bytes
UNUSABLE_FORMATS = frozenset({"pgf", "raw", "rgba"})  # one needs LaTeX, two are bare pixels


def save_figures(summary: Summary, folder: Path, *, extension: str = "pdf", width: str = "text") -> list[Path]:
    """Draws figures for papers: for each problem curves and final values, and what else there is, and some of all.

    Letters are embedded: as TrueType in PDF and PostScript, which publishers ask for; as outlines in SVG, so that it
    looks the same everywhere.

    Args:
        summary: the run.
        folder: where; made if missing.
        extension: a file ending that matplotlib knows, such as ``"pdf"``, ``"svg"``, ``"png"``.
        width: ``"text"`` for the whole width of a page of two columns, ``"column"`` for one: `matplotlib_paper.WIDTHS`.

    Returns:
        The files, named after the problems; where two would have one name, a number follows. One that ends with `COST`
        shows quality against cost, where contenders' costs differ; with `RATES`, tuning scores against the learning
        rate; with `FACTORS`, the optimizer against other factors; with `SURFACE`, paths, where the probe
        ``coordinates`` kept them. With two problems or more, `ACROSS` and, where ranks can tell contenders apart,
        `RANKS` come last.

    Raises:
        UserError: for an unknown format or width, or a folder that cannot be written.
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    known = sorted(set(FigureCanvasAgg.get_supported_filetypes()) - UNUSABLE_FORMATS)
    if extension not in known:
        raise UserError(f"figures cannot be drawn as '{extension}'; expected one of {', '.join(known)}")
    inches, files, taken = width_of(width), [], set[str]()
    for stem, draw in _every_figure(summary, inches):
        path = folder / f"{_file_name(stem, taken)}.{extension}"
        drawn = io.BytesIO()
        # Type 42: publishers refuse the Type 3 fonts that matplotlib embeds by default. Undone when drawn.
        with matplotlib.rc_context({"pdf.fonttype": 42, "ps.fonttype": 42, "svg.hashsalt": "dlkit"}):
            figure = draw()
            if figure is None:
                continue
            _let_all_be_seen(figure)
            figure.savefig(drawn, format=extension, dpi=300, metadata=UNDATED.get(extension))
        try:
            folder.mkdir(parents=True, exist_ok=True)
            path.write_bytes(drawn.getvalue())
        except OSError as error:
            raise UserError(f"{path}: the figure cannot be written: {error.strerror}; name another folder") from None
        files.append(path)
    return files


def _let_all_be_seen(figure: Any) -> None:
    """Writes signs that cannot be seen in a way that they are, in every text of a figure."""
    from matplotlib.text import Text
    from matplotlib.ticker import FixedFormatter

    for text in figure.findobj(Text):
        text.set_text(visible(text.get_text(), keep="\n"))
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            if isinstance(formatter := axis.get_major_formatter(), FixedFormatter):
                formatter.seq = [visible(label, keep="\n") for label in formatter.seq]


def _file_name(stem: str, taken: set[str]) -> str:
    """A name for a file that no other one has, where capitals do not count either; it is added to those taken."""
    plain = file_name(stem, otherwise="problem")
    names = (plain if number == 1 else f"{plain}-{number}" for number in itertools.count(1))
    name = next(each for each in names if each.casefold() not in taken)
    taken.add(name.casefold())
    return name


def _every_figure(summary: Summary, inches: float) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Yields the stem of a file's name, and what draws its figure; None where there is nothing to draw."""
    for comparison in summary.comparisons:
        name = comparison.problem.name
        yield name, partial(_figure, summary, comparison, inches)
        for ending, draw in MORE.items():
            yield f"{name}-{ending}", partial(draw, summary, comparison, inches)
    if summary.overview.ranks:
        yield ACROSS, partial(across, summary, inches)
        yield RANKS, partial(critical_difference, summary, inches)


def _figure(summary: Summary, comparison: Comparison, inches: float) -> Any:
    """Curves and final values: side by side where there is room, else one below the other."""
    from matplotlib.ticker import LogLocator

    is_wide = inches > WIDTHS["column"]
    longest = max(figure_data.short(each.label).count("\n") + 1 for each in comparison.results)
    heights = [HEIGHT, max(HEIGHT, ROW * longest * len(comparison.results) + 0.5)]  # rows are equally high
    figure = blank(inches, max(heights) if is_wide else sum(heights))
    how: Any = {"width_ratios": [1.15, 1]} if is_wide else {"height_ratios": heights}
    upper, lower = figure.subplots(*((1, 2) if is_wide else (2, 1)), **how)
    lines = _curves(upper, summary, comparison, is_wide=is_wide)
    _finals(lower, summary, comparison)
    for axes in (upper, lower):
        plain(axes)
    if comparison.problem.judged.scale == "log":
        for axis in (upper.yaxis, lower.xaxis):
            axis.set_minor_locator(LogLocator(subs=(2.0, 5.0)))
    legend(figure, lines, [str(line.get_label()) for line in lines])
    return figure


def _curves(axes: "Axes", summary: Summary, comparison: Comparison, *, is_wide: bool) -> list["Line2D"]:
    found = figure_data.curves(summary, comparison)
    axis = figure_data.curve_axis(comparison, found)
    lines: list[Line2D] = []
    for rank, curve in enumerate(found):
        style, above = style_of(summary, curve.result), 3 - rank / len(found)  # the best is drawn last
        low, middle, high = (axis.units(values) for values in (curve.low, curve.middle, curve.high))
        axes.fill_between(curve.spent, low, high, color=style.colour, alpha=band_alpha(len(found)), linewidth=0)
        line = {"color": style.colour, "linestyle": style.paper_dash, "linewidth": 1.2, "zorder": above}
        name = f"{curve.result.label}\n{curve.name.removeprefix(curve.result.label)}".rstrip()
        shown = "\n".join(figure_data.short(part.strip()) for part in name.split("\n"))
        lines += axes.plot(curve.spent, middle, label=shown, **line)
    axes.axhline(comparison.target, color=GREY, linestyle=(0, (4, 3)), linewidth=0.7)  # nothing where it is NaN
    problem = comparison.problem
    axes.set_yscale(problem.judged.scale)
    axes.set_ylim(*axis.bounds)
    axes.set_xlim(0, problem.budget)
    title = step_costs.axis_title(problem, comparison.results)
    axes.set_xlabel(title if is_wide else textwrap.fill(title, NARROW), fontsize=POINTS)
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
            is_beyond = middle != each.median.estimate  # as of one that diverged
            mark: dict[str, Any] = {"marker": "x" if is_beyond else shape, "markersize": 4.5, "markerfacecolor": face}
            axes.plot([middle], [each.height], color=colour, clip_on=False, **mark)
    axes.set_xscale(problem.judged.scale)
    axes.set_xlim(*axis.bounds)
    axes.set_ylim(len(results) - 0.5, -0.5)
    literal(axes.set_yticks(range(len(results)), [figure_data.short(each.label) for each in results]))
    marks = " (\u25cf test, \u25c7 validation)" if problem.judged_on == "test" else ""
    axes.set_xlabel(f"final {numbers.metric_label(problem)}{marks}", fontsize=POINTS, parse_math=False)
