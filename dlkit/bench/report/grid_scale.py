"""What a grid of final values shows in each cell: a colour from the worst to the best, ink read on it, a text."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from dlkit.bench.analysis import numbers
from dlkit.bench.analysis.factor_grid import FactorGrid, GridCell
from dlkit.bench.plan.orientation import oriented
from dlkit.bench.plan.planned import PlannedProblem
from dlkit.bench.report import figure_data
from dlkit.bench.report.figure_data import Axis

__all__ = ["COLOURS", "MARKS", "MOST_GRIDS", "GridScale", "grid_scale", "grid_title"]

COLOURS = (
    "#F6EFDD",
    "#7FA8B8",
    "#0F4C81",
)  # from the worst to the best: from light to dark, so that grey tells them too
MOST_GRIDS = 6  # of a problem that are shown; with more of them tables are read better
INKS = ("#10151A", "#FFFFFF")  # on the lighter and on the darker half
DARKER = 0.6  # the share from which on the second ink is read better
MARKS = {"best": "★", "not told apart": "≈", "worse": "", "not compared": "?"}
"""What stands with a cell's number, by `GridCell.mark`."""


class GridScale(NamedTuple):
    """From final values to colours, the same in all grids of a problem.

    Attributes:
        axis: from the best to the worst value that counts; worse ones have the worst one's colour.
    """

    axis: Axis

    def share(self, cell: GridCell | None) -> float:
        """Returns 1 for the best value of the grids, 0 for the worst, between them linear on the metric's scale.

        NaN where there is no value.
        """
        if cell is None or math.isnan(cell.result.final.estimate):
            return math.nan
        problem = self.axis.problem
        value = float(oriented(problem, problem.metric, cell.result.final.estimate))
        width = self.axis.worst - self.axis.best
        return float(np.clip((self.axis.worst - value) / width, 0, 1)) if width > 0 else 1.0

    def ink(self, cell: GridCell) -> str:
        """Returns the colour of a cell's text."""
        return INKS[self.share(cell) >= DARKER]

    def text(self, cell: GridCell) -> str:
        """Returns a cell's number and mark."""
        value, mark = cell.result.final.estimate, MARKS[cell.mark]
        problem = self.axis.problem
        (shown,) = figure_data.in_words(problem, oriented(problem, problem.metric, [value]))
        shown = numbers.NOTHING if math.isnan(value) else shown
        return f"{shown} {mark}" if mark else shown


def grid_scale(problem: PlannedProblem, grids: Sequence[FactorGrid]) -> GridScale:
    """Returns the scale of a problem's grids.

    Args:
        problem: whose metric.
        grids: what is shown.
    """
    cells = [cell for grid in grids for line in grid.cells for cell in line if cell is not None]
    values = oriented(problem, problem.metric, [cell.result.final.estimate for cell in cells])
    return GridScale(figure_data.fit_axis(problem, [values]))


def grid_title(grid: FactorGrid) -> str:
    """Returns what a grid shows, and the levels of the factors that are the same in it.

    Example:
        >>> grid_title(FactorGrid("batch_size", [], [], {"norm": "batch"}, []))
        'optimizer × batch size (norm batch)'
    """
    rest = ", ".join(f"{name} {level}" for name, level in grid.rest.items())
    return f"optimizer × {grid.factor.replace('_', ' ')}{f' ({rest})' if rest else ''}"
