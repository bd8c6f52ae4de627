"""Which figures the page shows, in order, each with its title and how to read it."""

from collections.abc import Callable
from typing import Any, NamedTuple

from dlkit.bench.report import plotly_across, plotly_figures, plotly_pareto

__all__ = ["ACROSS", "ON_A_PROBLEM", "Figure"]


class Figure(NamedTuple):
    """A figure of the page.

    Attributes:
        draw: takes the summary, and for a problem's figure its comparison; returns a figure of plotly, which has no
            points where there is nothing to show.
        title: a word or a few.
        text: how to read it.
        with_gaps: what else to know where not all contenders ran on all problems.
    """

    draw: Callable[..., Any]
    title: str
    text: str
    with_gaps: str = ""


ON_A_PROBLEM = (
    Figure(
        plotly_figures.curves,
        "Curves",
        "Median over final trials on what judges, with the band from the 25 to the 75 % quantile; the dashed line "
        "is the target. A diverged one counts as worst, one that stopped early keeps the value it ended with. "
        "Values far off are beyond the axis.",
    ),
    Figure(
        plotly_figures.finals,
        "Final values",
        "A small mark is a final trial, a large one the median over blocks, the bar its interval; a bar to the edge "
        "has no bound there. Crosses at the edge: diverged, or beyond the axis.",
    ),
    Figure(
        plotly_figures.sensitivity,
        "Sensitivity",
        "Mean over tuning seeds after the last step, one mark a tuning point of any study; a star is a study's "
        "winner. Studies have seeds of their own, so their scores differ by more than points do. Crosses at the "
        "edge: a seed diverged, or beyond the axis.",
    ),
    Figure(
        plotly_figures.tuning_curve,
        "Tuning curve",
        "Median best score of so many tuning points. Thin dots are the ends of bands that hold for all numbers of "
        "points at once, whatever the distribution, as far as the points bound them; Halton points lie evenly, so "
        "the bands are rather too wide. Where points are no random sample: the expected best, and no band.",
    ),
    Figure(
        plotly_pareto.quality_against_cost,
        "Quality against cost",
        "Final value, median and interval over blocks, against what a final trial takes, a panel for each cost in "
        "which contenders differ: one that is missing is the same for all, or was not measured. The dotted line "
        "joins those that no other beats in both, by medians: what lies near it need not be worse. Seconds are warm "
        "step times without evaluations; bytes are parameters and the optimizer's state.",
    ),
    Figure(
        plotly_figures.probes,
        "Probes",
        "Median over the final trials of what was computed along training: on parameters as trained, not as evaluated.",
    ),
)
ACROSS = (
    Figure(
        plotly_across.ranks,
        "Mean ranks",
        "Rank of the median over blocks of the judged metric at the end, averaged over problems; for the intervals "
        "problems and blocks are drawn again. In the shaded stretch ranks differ by less than Nemenyi's distance.",
        "Not all ran on all problems: means are as expected if they had, and each pair has a distance of its own.",
    ),
    Figure(
        plotly_across.performance_profile,
        "Performance profile",
        "Share of problems on which the median block is at the hardest target within a factor of what the fastest "
        "one spent; bars are pointwise intervals over problems and blocks. Times are known to an evaluation; who "
        "takes part decides who is fastest.",
        "Of a contender, over the problems where it ran, and of those that ran there: easy problems help it.",
    ),
    Figure(
        plotly_across.target_ecdf,
        "Targets reached along the budget",
        "Share of (problem, target, seed) reached by each share of a problem's budget, with pointwise bands over "
        "seeds, of each study its first: about these problems and targets.",
        "Of a contender, over the problems where it ran: easy ones help it.",
    ),
)
