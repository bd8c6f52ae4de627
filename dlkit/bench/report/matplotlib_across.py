"""The figure over all problems, for papers, drawn by matplotlib."""

from typing import TYPE_CHECKING, Any

import numpy as np

from dlkit.bench.analysis.across_problems import MAX_RATIO, Overview
from dlkit.bench.analysis.summary import Summary
from dlkit.bench.report import figure_data
from dlkit.bench.report.looks import GREY, style_of
from dlkit.bench.report.matplotlib_paper import WIDTHS, band_alpha, blank, legend, literal, plain
from dlkit.bench.report.plotly_across import ran_on

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["across"]

HEIGHT, ROW = 2.1, 0.14  # inches of a panel, and of a line of names in it


def across(summary: Summary, inches: float) -> Any:
    """Draws mean ranks, performance profile and targets reached: side by side where there is room, else below.

    Args:
        summary: the run; it has ranks.
        inches: the figure's width.

    Returns:
        The figure, with a panel for each of the three that there is.
    """
    found = summary.overview
    panels = [_ranks, *([_profile] if found.profile else []), *([_reached] if found.target_ecdf else [])]
    is_wide = inches > WIDTHS["column"]
    names = sum(figure_data.short(label).count("\n") + 1 for label in found.contenders)
    heights = [max(HEIGHT, ROW * names + 0.5), *[HEIGHT] * (len(panels) - 1)]
    figure = blank(inches, max(heights) if is_wide else sum(heights))
    grid = (1, len(panels)) if is_wide else (len(panels), 1)
    for draw, axes in zip(
        panels, figure.subplots(*grid, squeeze=False, height_ratios=None if is_wide else heights).ravel(), strict=True
    ):
        draw(axes, summary)
        plain(axes)
    lines = [axes.get_lines() for axes in figure.axes[1:2]]
    if lines and lines[0]:
        shown = [f"{figure_data.short(found.contenders[index])}{ran_on(found, index)}" for index in _shown(found)]
        legend(figure, lines[0][: len(shown)], shown)
    return figure


def _ranks(axes: "Axes", summary: Summary) -> None:
    found = summary.overview
    assert found.ranks is not None
    estimates = found.ranks.bootstrap
    distance = found.ranks.distance
    if distance is not None:
        best = float(np.nanmin(estimates.mean_ranks))
        axes.axvspan(best, min(best + distance, len(found.contenders)), color=GREY, alpha=0.12, linewidth=0)
    ranked = [index for index in found.order if not np.isnan(estimates.mean_ranks[index])]
    for height, index in enumerate(ranked):
        colour = style_of(summary, found.contenders[index]).colour
        ends = [estimates.low[index], estimates.high[index]]
        axes.plot(ends, [height] * 2, color=colour, linewidth=1.6, solid_capstyle="butt")
        axes.plot([estimates.mean_ranks[index]], [height], marker="o", markersize=4.5, color=colour)
    labels = [f"{figure_data.short(found.contenders[index])}{ran_on(found, index)}" for index in ranked]
    literal(axes.set_yticks(range(len(labels)), labels))
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.set_xlim(0.9, len(labels) + 0.1)
    axes.set_xlabel("mean rank" if distance is None else "mean rank (shaded: Nemenyi)")


def _shown(found: Overview) -> list[int]:
    """The contenders of the second panel, best first: those with a profile, or with targets."""
    if found.profile is not None:
        return [index for index in found.order if not np.isnan(found.profile.profile.exact_scores[index])]
    return [index for index in found.order if found.target_ecdf[index] is not None]


def _profile(axes: "Axes", summary: Summary) -> None:
    found = summary.overview
    assert found.profile is not None
    for index in _shown(found):
        style = style_of(summary, found.contenders[index])
        line = {"color": style.colour, "linestyle": style.paper_dash, "linewidth": 1.2}
        profile = found.profile.profile
        axes.step(profile.ratios, profile.fractions[index], where="post", **line)
    axes.set_xlim(1, MAX_RATIO)
    axes.set_ylim(-0.02, 1.02)
    axes.set_xlabel(f"{summary.plan.problems[0].axis} to target / fastest")
    axes.set_ylabel("share of problems")


def _reached(axes: "Axes", summary: Summary) -> None:
    found = summary.overview
    faint = band_alpha(len(found.contenders))
    for index in found.order:
        each, style = found.target_ecdf[index], style_of(summary, found.contenders[index])
        if each is None:
            continue
        line = {"color": style.colour, "linestyle": style.paper_dash, "linewidth": 1.2}
        axes.fill_between(each.steps, each.low, each.high, step="post", color=style.colour, alpha=faint, linewidth=0)
        axes.step(each.steps, each.share, where="post", **line)
    axes.set_xlim(0, 1)
    axes.set_ylim(-0.02, 1.02)
    axes.set_xticks(np.linspace(0, 1, 5), ["0", "25%", "50%", "75%", "100%"])
    axes.set_xlabel("share of the budget")
    axes.set_ylabel("share of targets")
