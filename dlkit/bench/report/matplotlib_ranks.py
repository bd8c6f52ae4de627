"""The critical-difference diagram, for papers, drawn by matplotlib."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from dlkit.bench.analysis import numbers
from dlkit.bench.analysis.rank_groups import RankGroups, rank_groups
from dlkit.bench.analysis.summary import Summary
from dlkit.bench.report import figure_data
from dlkit.bench.report.looks import INK, style_of
from dlkit.bench.report.matplotlib_paper import LETTERS_AN_INCH, SMALL, blank
from dlkit.bench.report.plotly_across import ran_on

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["critical_difference"]

ROW = 0.17  # inches of a contender's line
BAR = 0.45  # rows between two bars
SIDE = 0.35  # ranks between the axis and the names
LEAST = 1.5  # inches of the line of ranks
MOST_TICKS = 8  # that have a number each


def critical_difference(summary: Summary, inches: float) -> "Figure | None":
    """Draws mean ranks on a line, names at both sides, and a bar for each group in which no two are told apart.

    Args:
        summary: the run.
        inches: the figure's width.

    Returns:
        The figure; None where `rank_groups.not_grouped` says why.
    """
    found = rank_groups(summary.overview)
    if found is None:
        return None
    overview, count, top = summary.overview, len(found.ranked), 1.0 + BAR * len(found.groups)
    labels = [f"{figure_data.short(overview.contenders[index])}{ran_on(overview, index)}" for index in found.ranked]
    left = _left(labels, inches)
    tall = max(label.count("\n") + 1 for label in labels)
    rows = [top + tall * (place if place < left else count - 1 - place) for place in range(count)]
    figure = blank(inches, ROW * (max(rows) + 5.2))
    axes = figure.add_subplot()
    _axis(axes, found, count)
    for place, (index, rank, row) in enumerate(zip(found.ranked, found.mean_ranks, rows, strict=True)):
        is_left = place < left
        end = 1 - SIDE if is_left else count + SIDE
        axes.plot([rank, rank, end], [0, row, row], color=INK, linewidth=0.7, solid_joinstyle="miter")
        axes.text(
            end, row, f" {labels[place]} ", ha="right" if is_left else "left", va="center", fontsize=SMALL,
            parse_math=False, multialignment="right" if is_left else "left",
        )  # fmt: skip
        style = style_of(summary, overview.contenders[index])
        axes.plot([rank], [0], marker=style.paper_marker, color=style.colour, markersize=4, zorder=4)
    for bar, group in enumerate(found.groups):
        at = [found.mean_ranks[place] for place in group]
        row = 0.6 + BAR * bar
        reach = 0.05 if min(at) < max(at) else 0.12
        axes.plot([min(at) - reach, max(at) + reach], [row, row], color=INK, linewidth=2.6, solid_capstyle="round")
        axes.plot(at, [row] * len(at), marker="o", markersize=2.2, color="white", linestyle="none", zorder=5)
    axes.set_ylim(max(rows) + 0.6, -2.2)
    axes.set_xlim(1 - SIDE, count + SIDE)
    return figure


def _left(labels: Sequence[str], inches: float) -> int:
    """How many names stand at the left, best first: half of them, or none where the line of ranks needs the room."""
    half = math.ceil(len(labels) / 2)
    longest = [
        max(len(line) for label in side for line in label.split("\n")) for side in (labels[:half], labels[half:])
    ]
    return half if inches - sum(longest) / LETTERS_AN_INCH >= LEAST else 0


def _axis(axes: "Axes", found: RankGroups, count: int) -> None:
    """Draws the line of ranks, and above it the critical difference."""
    axes.axis("off")
    axes.plot([1, count], [0, 0], color=INK, linewidth=0.9)
    for rank in range(1, count + 1):
        axes.plot([rank, rank], [0, -0.35], color=INK, linewidth=0.9)
        if count <= MOST_TICKS or rank % 2:
            axes.text(rank, -0.5, f"{rank}", ha="center", va="bottom", fontsize=SMALL)
    text = f"mean rank on {found.problems} problems; all alike: p {numbers.p_value(found.p_value)}"
    if found.distance is not None:
        axes.plot([1, 1 + found.distance], [-1.7] * 2, color=INK, linewidth=0.9, marker="|", markersize=4)
        text += f"\ncritical difference {numbers.number(found.distance)}"
    figure = axes.get_figure()
    assert figure is not None
    figure.suptitle(text, fontsize=SMALL)
