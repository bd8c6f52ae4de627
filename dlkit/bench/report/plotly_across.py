"""The report's figures over all problems, drawn by plotly."""

from typing import Any

import numpy as np

from dlkit.bench.analysis import numbers
from dlkit.bench.analysis.across_problems import MAX_RATIO, Overview
from dlkit.bench.analysis.rank_groups import RankGroups, rank_groups
from dlkit.bench.analysis.summary import Summary
from dlkit.bench.report import figure_data
from dlkit.bench.report.looks import GREY, INK, Style, style_of
from dlkit.bench.report.plotly_drawing import Drawing, blank, fill_between, literal, scatter

__all__ = ["critical_difference", "critical_distance", "performance_profile", "ran_on", "ranks", "target_ecdf"]

BARS, WIDTH = (1.5, 3.0), 0.7  # ratios around which intervals stand, and how far around
MOST_BARS = 6  # contenders whose bars can still be told apart
SHARES: dict[str, Any] = {"range": [-0.02, 1.02], "tickformat": ".0%", "dtick": 0.25}


def ranks(summary: Summary) -> Drawing:
    """Draws mean ranks with intervals, best on top, and how far from the best Nemenyi's distance reaches.

    Args:
        summary: the run.

    Returns:
        The figure; no traces where there are no ranks.
    """
    found = summary.overview
    figure = blank(height=150 + 34 * len(found.contenders))
    if found.ranks is None:
        return figure
    estimates = found.ranks.bootstrap
    ranked = [index for index in found.order if not np.isnan(estimates.mean_ranks[index])]
    for height, index in enumerate(ranked):
        label, middle = found.contenders[index], float(estimates.mean_ranks[index])
        colour = style_of(summary, label).colour
        ends = {"array": [estimates.high[index] - middle], "arrayminus": [middle - estimates.low[index]]}
        scatter(
            figure,
            x=[middle],
            y=[height],
            mode="markers",
            marker={"color": colour, "size": 11},
            error_x={**ends, "color": colour, "thickness": 3, "width": 0},
            name=literal(label),
            hovertext=f"best with probability {estimates.probability_best[index]:.2f}{ran_on(found, index)}",
            hoverinfo="x+text+name",
            showlegend=False,
        )
    if (distance := found.ranks.distance) is not None:
        best = float(np.nanmin(estimates.mean_ranks))
        end = min(best + distance, float(len(found.contenders)))
        reach: dict[str, Any] = {"x0": best, "x1": end, "y0": 0, "y1": 1, "yref": "y domain"}
        figure.shape(type="rect", **reach, fillcolor=GREY, opacity=0.12, line={"width": 0}, layer="below")
        shade = {"symbol": "square", "size": 12, "color": GREY, "opacity": 0.25}
        within = "within Nemenyi's distance of the best"
        scatter(figure, x=[None], y=[None], mode="markers", name=within, marker=shade, showlegend=True)
    names = [f"{figure_data.short(found.contenders[index])}{ran_on(found, index)}" for index in ranked]
    labels = [literal(name).replace("\n", "<br>") for name in names]
    count = len(labels)
    figure.update_yaxes(tickvals=list(range(count)), ticktext=labels, range=[count - 0.5, -0.5], showgrid=False)
    figure.update_xaxes(title={"text": "mean rank, 1 is best"}, range=[0.9, count + 0.1], dtick=1)
    return figure


def critical_difference(summary: Summary) -> Drawing:
    """Draws mean ranks, best on top, and beside them a bar for each group in which no two are told apart.

    Args:
        summary: the run.

    Returns:
        The figure; no traces where `rank_groups.not_grouped` says why.
    """
    overview = summary.overview
    found = rank_groups(overview)
    figure = blank(height=150 + 34 * len(overview.contenders))
    if found is None:
        return figure
    count, gap = len(found.ranked), 0.3
    for height, (index, rank) in enumerate(zip(found.ranked, found.mean_ranks, strict=True)):
        label = overview.contenders[index]
        style = style_of(summary, label)
        scatter(
            figure,
            x=[0.9, rank],
            y=[height, height],
            mode="lines+markers",
            line={"color": style.colour, "dash": style.dash, "width": 1.5},
            marker={"color": style.colour, "symbol": style.marker, "size": [0, 11]},
            name=literal(label),
            legendgroup=label,
            hoverinfo="x+name",
            showlegend=False,
        )
    for place, group in enumerate(found.groups):
        at = count + gap * (place + 1)
        bar = {"color": INK, "width": 3}
        scatter(
            figure,
            x=[at] * len(group),
            y=list(group),
            mode="lines+markers",
            line=bar,
            marker={"color": INK, "size": 9},
            name="not told apart",
            hovertext=literal(", ".join(overview.contenders[found.ranked[place]] for place in group)),
            hoverinfo="text+name",
            showlegend=place == 0,
        )
    names = [f"{figure_data.short(overview.contenders[index])}{ran_on(overview, index)}" for index in found.ranked]
    labels = [literal(name).replace("\n", "<br>") for name in names]
    figure.update_yaxes(tickvals=list(range(count)), ticktext=labels, range=[count - 0.5, -0.5], showgrid=False)
    end = count + gap * (len(found.groups) + 1)
    title = f"mean rank, 1 is best<br>{critical_distance(found)}"
    figure.update_xaxes(title={"text": title}, range=[0.9, end], tickvals=list(range(1, count + 1)))
    figure.update_layout(hovermode="closest")
    return figure


def critical_distance(found: RankGroups) -> str:
    """Returns how far mean ranks have to be apart, and the test that all rank alike, in words."""
    alike = f"all alike: p {numbers.p_value(found.p_value)}"
    if found.distance is None:
        return alike
    return f"critical difference {numbers.number(found.distance)}, {alike}"


def performance_profile(summary: Summary) -> Drawing:
    """Draws the share of problems solved within a factor of the fastest, with pointwise intervals at some factors.

    Args:
        summary: the run.

    Returns:
        The figure; per contender a line and bars, best first; no traces where there is no profile.
    """
    found = summary.overview
    figure = blank(height=380 + 20 * len(found.contenders))
    if found.profile is None:
        return figure
    bands, count = found.profile, len(found.contenders)
    for place, index in enumerate(found.order):
        if np.isnan(bands.profile.exact_scores[index]):
            continue
        style, common = _look(summary, index)
        ratios, fractions = bands.profile.ratios, bands.profile.fractions[index]
        # Bands of a few problems cover each other: bars at some ratios, side by side, show the same.
        at = np.searchsorted(ratios, [ratio + WIDTH * (place / max(count - 1, 1) - 0.5) for ratio in BARS])
        middle = fractions[at]
        ends = {"array": bands.high[index][at] - middle, "arrayminus": middle - bands.low[index][at]}
        line = {"color": style.colour, "dash": style.dash, "width": 2, "shape": "hv"}
        scatter(figure, x=ratios, y=fractions, mode="lines", line=line, hovertemplate="%{y:.0%}", **common)
        if count > MOST_BARS:
            continue
        scatter(
            figure,
            x=ratios[at],
            y=middle,
            mode="markers",
            marker={"color": style.colour, "symbol": style.marker, "size": 7},
            error_y={**ends, "color": style.colour, "thickness": 1.5, "width": 3},
            hoverinfo="skip",
            showlegend=False,
            **common,
        )
    figure.update_xaxes(
        title={"text": f"{summary.plan.problems[0].axis} to target / the fastest's"},
        range=[1, MAX_RATIO],
        ticksuffix="×",
    )
    figure.update_yaxes(title={"text": "share of problems"}, **SHARES)
    figure.update_layout(hovermode="x unified", showlegend=True)
    return figure


def target_ecdf(summary: Summary) -> Drawing:
    """Draws the share of (problem, target, seed) reached along the budget, with pointwise bands.

    Args:
        summary: the run.

    Returns:
        The figure; per contender a band and a line, best first; no traces where there are no targets.
    """
    found = summary.overview
    figure = blank(height=380 + 20 * len(found.contenders))
    for index in found.order if found.target_ecdf else ():
        each, (style, common) = found.target_ecdf[index], _look(summary, index)
        if each is None:
            continue
        # A share holds to the next evaluation.
        at = np.repeat(100 * each.steps, 2)[1:]
        ends = (np.repeat(each.low, 2)[:-1], np.repeat(each.high, 2)[:-1])
        fill_between(figure, at, *ends, style.colour, common, count=len(found.contenders))
        line = {"color": style.colour, "dash": style.dash, "width": 2, "shape": "hv"}
        scatter(figure, x=100 * each.steps, y=each.share, mode="lines", line=line, hovertemplate="%{y:.0%}", **common)
    figure.update_xaxes(title={"text": "share of the budget"}, range=[0, 102], ticksuffix="%")
    figure.update_yaxes(title={"text": "share of problems, targets and seeds"}, **SHARES)
    figure.update_layout(hovermode="x unified", showlegend=True)
    return figure


def ran_on(found: Overview, index: int) -> str:
    """Returns, to stand behind its name, on how many problems a contender ran; nothing where it ran on all."""
    count, there = len(found.problems), int(found.ran[index].sum())
    return f" ({there} of {count} problems)" if there < count else ""


def _look(summary: Summary, index: int) -> tuple[Style, dict[str, Any]]:
    """A contender's style, and what all its traces have in common."""
    label = summary.overview.contenders[index]
    name = f"{label}{ran_on(summary.overview, index)}"
    return style_of(summary, label), {"name": literal(name), "legendgroup": label}
