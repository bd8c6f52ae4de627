"""Which figures the page shows, in order, each with its title and how to read it.

What a page may rely on in every figure, to filter, to change the axis, and to draw on dark ground:

- A trace that is of one contender has its label as `legendgroup` or at the beginning of its `name`.
- Every colour of lines, marks and texts is a key of `looks.DARK`, in light; with the value in its place, figures are
  read on dark ground. Cells of a heat map keep their colours, and the texts on them.
- Points of "Curves" lie at `figure_data.Curve.spent`, in the units of the problem's axis; `spending.spent` has the same
  points on any other axis. Kinds of traces are those of `plotly_bundle.TRACES`.
"""

from collections.abc import Callable
from typing import NamedTuple

from dlkit.bench.report import plotly_across, plotly_factors, plotly_figures, plotly_pareto, plotly_surfaces
from dlkit.bench.report.plotly_drawing import Drawing

__all__ = ["ACROSS", "ON_A_PROBLEM", "Figure"]


class Figure(NamedTuple):
    """A figure of the page.

    Attributes:
        draw: takes the summary, and for a problem's figure its comparison; returns a figure, which has no points where
            there is nothing to show.
        title: a word or a few.
        text: how to read it.
        with_gaps: what else to know where not all contenders ran on all problems.
    """

    draw: Callable[..., Drawing]
    title: str
    text: str
    with_gaps: str = ""


ON_A_PROBLEM = (
    Figure(
        plotly_figures.curves,
        "Curves",
        "Median over final trials on what judges, with the band from the 25 to the 75 % quantile; the dashed line is "
        "the target. A diverged one counts as worst, one that stopped early keeps the value it ended with. Values far "
        "off are beyond the axis.",
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
        "winner. Studies have seeds of their own, so their scores differ by more than points do. Crosses at the edge: "
        "a seed diverged, or beyond the axis.",
    ),
    Figure(
        plotly_factors.learning_rates,
        "Learning rates",
        "The best score of each study in a stretch of the learning rate, whatever the other hyperparameters were, and "
        "of that the median over studies. The flatter the bottom, the less the rate matters. Stretches are of equal "
        "width, with three points or more on average; where fewer fall, the best of them is worse by chance. Crosses "
        "at the edge: in most studies nothing trained there, or it is beyond the axis.",
    ),
    Figure(
        plotly_figures.tuning_curve,
        "Tuning curve",
        "The best score to expect of so many tuning points: with several studies that of each, and the median over "
        "them; thin dots are the ends of its interval, at each number of points by itself. Of one study the median "
        "best score, and the ends of a band that holds for all numbers of points at once, whatever the distribution, "
        "as far as the points bound it; Halton points lie evenly, so it is rather too wide.",
    ),
    Figure(
        plotly_pareto.quality_against_cost,
        "Quality against cost",
        "Final value, median and interval over blocks, against what a final trial takes, a panel for each cost in "
        "which contenders differ: one that is missing is the same for all, or was not measured. The dotted line joins "
        "those that no other beats in both, by medians: what lies near it need not be worse. Seconds are warm step "
        "times without evaluations; bytes are parameters and the optimizer's state.",
    ),
    Figure(
        plotly_factors.factor_heat_map,
        "Optimizer and factor",
        "Final value, median over blocks, with each level of the other factor; darker is better. Framed and with ★: "
        "the best of all contenders, by paired differences; ≈: not told apart from it, which does not mean equal; "
        "without a mark: worse beyond chance; ?: not compared. A cell says nothing of why: the table of factors tests "
        "what a level does.",
    ),
    Figure(
        plotly_surfaces.surface,
        "Paths",
        "Contours of the surface, equally far apart in the logarithm, and on them the final trial with each "
        "contender's median score, from its start to the star, the minimum. Marks are evaluations: what happens "
        "between two of them is not kept, and other seeds go other ways. A path that leaves the picture ends at its "
        "edge.",
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
        plotly_across.critical_difference,
        "Critical differences",
        "The same mean ranks, and a bar for each group in which no two contenders are told apart (Nemenyi's test, all "
        "pairs taken together); a mark on the bar is a member. Who shares no bar differs. Few problems tell only "
        "large differences: to share a bar is not to be equal.",
        "Pairs that ran on fewer problems together need a larger difference.",
    ),
    Figure(
        plotly_across.performance_profile,
        "Performance profile",
        "Share of problems on which the median block is at the hardest target within a factor of what the fastest one "
        "spent; bars, with up to six contenders, are pointwise intervals over problems and blocks. Times are known to "
        "an evaluation; who takes part decides who is fastest.",
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
