"""The table of the first screen: contenders x problems, with a sign and words for how each stands."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from dlkit.bench.analysis import numbers
from dlkit.bench.analysis.answer import Answer
from dlkit.bench.analysis.answer_rows import Cell
from dlkit.bench.analysis.summary import Summary
from dlkit.bench.report.page.looks import Look
from dlkit.bench.report.page.sentences import direction

__all__ = ["SIGNS", "AnswerTable", "Column", "Line", "Shown", "answer_table"]

# place -> (sign, what it means)
SIGNS = {
    "best": ("★", "leads, in bold"),
    "tied": ("≈", "not told apart from the leader"),
    "doubtful": ("?", "behind, but better tuning might close the gap"),
    "worse": ("▾", "worse than the leader"),
    "failed": ("✕", "could not run, or nothing trained"),
    "incomplete": ("…", "not compared yet"),
    "not run": ("–", "left out by the plan"),
}


class Shown(NamedTuple):
    """A cell.

    Attributes:
        place: as of `answer_rows.Cell.place`.
        sign: that the legend explains.
        value: the number, or words.
        interval: in brackets, or empty.
    """

    place: str
    sign: str
    value: str
    interval: str


class Column(NamedTuple):
    """A problem.

    Attributes:
        number: its place in the plan.
        name: the problem's.
        metric: what is judged.
        direction: which values of it are better.
        arrow: the same as a sign.
    """

    number: int
    name: str
    metric: str
    direction: str
    arrow: str


class Line(NamedTuple):
    """A contender.

    Attributes:
        look: the contender's.
        cells: one a problem.
        rank: its mean rank over problems with its interval; None where it has none.
    """

    look: Look
    cells: Sequence[Shown]
    rank: Shown | None


class AnswerTable(NamedTuple):
    """The table.

    Attributes:
        columns: problems.
        lines: contenders, best first.
        legend: (sign, what it means) of the signs that are there.
        has_ranks: whether there is a column of mean ranks.
    """

    columns: Sequence[Column]
    lines: Sequence[Line]
    legend: Sequence[tuple[str, str]]
    has_ranks: bool


def answer_table(summary: Summary, answer: Answer, looks: Mapping[str, Look]) -> AnswerTable:
    """Returns the table.

    Args:
        summary: the run.
        answer: of it.
        looks: how each contender looks.
    """
    ranks = _ranks(summary)
    lines = [
        Line(
            looks[label],
            [_shown(row.cells[label]) for row in answer.rows],
            ranks.get(label) if ranks else None,
        )
        for label in answer.contenders
    ]
    places = {cell.place for line in lines for cell in line.cells}
    columns = [
        Column(
            number,
            row.name,
            numbers.judged_label(problem),
            direction(problem),
            numbers.arrow(problem),
        )
        for number, row in enumerate(answer.rows)
        for problem in [row.comparison.problem]
    ]
    return AnswerTable(columns, lines, [SIGNS[place] for place in SIGNS if place in places], bool(ranks))


def _shown(cell: Cell) -> Shown:
    return Shown(cell.place, SIGNS[cell.place][0], *cell.parts)


def _ranks(summary: Summary) -> dict[str, Shown]:
    """Label -> mean rank; empty where there are none."""
    found = summary.overview
    if found.ranks is None:
        return {}
    known = {each.label: each.mean_rank for each in found.by_contender() if not math.isnan(each.mean_rank.estimate)}
    return {
        label: Shown("", "", f"{rank.estimate:.2f}", f"[{rank.low:.2f}, {rank.high:.2f}]")
        for label, rank in known.items()
    }
