"""The one table of a paper: contenders and problems, numbers with intervals, who leads, and by which protocol."""

import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from dlkit.bench.analysis import numbers
from dlkit.bench.analysis.along_curves import UNKNOWN
from dlkit.bench.analysis.answer import Answer, answer
from dlkit.bench.analysis.answer_rows import Cell, Place, Row
from dlkit.bench.analysis.pairs import LEVEL
from dlkit.bench.analysis.summary import Summary
from dlkit.bench.errors import UserError
from dlkit.bench.plan.planned import PlannedProblem
from dlkit.bench.report.paper_notes import notes

__all__ = ["MEAN_RANK", "Grid", "Heading", "PaperCell", "PaperTable", "Rows", "grid", "marks", "paper_table"]

Rows = Literal["problems", "contenders"]
MEAN_RANK = "mean rank"
NOT_RANKED = "not ranked"
UP, DOWN = "\N{UPWARDS ARROW}", "\N{DOWNWARDS ARROW}"
LABEL = re.compile(r"[\w:.+*/-]+", re.ASCII)
MEANINGS: Mapping[Place, str] = {  # of marks, {} being how a table shows them
    "best": "{}: the leader, which is ahead of most others by paired differences; it need not have the best median.",
    "tied": "{}: not told apart from the leader.",
    "worse": "No mark: worse than the leader beyond chance.",
}
DOUBTFUL = "{}: its tuning is doubtful, and better tuning might change its place."


class PaperCell(NamedTuple):
    """A number of the table, or words where there is none.

    Attributes:
        estimate: the number, such as ``"0.974"``, or why there is none, such as ``"failed"``.
        interval: in brackets, such as ``"[0.965, 0.983]"``; empty where there is none.
        place: of its contender: see `answer_rows.Cell`.
        is_doubtful: whether better tuning might close the gap to the leader.
    """

    estimate: str
    interval: str
    place: Place
    is_doubtful: bool = False

    @property
    def is_number(self) -> bool:
        """Whether there is a number, and not words alone."""
        return any(sign.isdigit() for sign in self.estimate)


class Heading(NamedTuple):
    """What heads a row or a column.

    Attributes:
        name: a contender's label, or a problem's name.
        below: a problem's metric with an arrow in its better direction; empty for contenders.
    """

    name: str
    below: str


@dataclass(frozen=True, eq=False)
class PaperTable:
    """The table as data.

    Attributes:
        contenders: labels, best first.
        problems: in the plan's order.
        cells: problem -> contender -> cell.
        mean_ranks: contender -> its mean rank over the problems; empty where there is none.
        rows: what stands in rows; the other stands in columns. None leaves it to the writer: the narrower table.
        caption: text.
        label: to refer to it by.
        notes: the protocol, a sentence or two each.
    """

    contenders: tuple[str, ...]
    problems: tuple[Heading, ...]
    cells: Mapping[str, Mapping[str, PaperCell]]
    mean_ranks: Mapping[str, PaperCell]
    rows: Rows | None
    caption: str
    label: str
    notes: tuple[str, ...]


class Grid(NamedTuple):
    """The table in one of its two ways around.

    Attributes:
        corner: what heads the column of names.
        columns: headings.
        rows: each with its heading and a cell a column.
    """

    corner: str
    columns: Sequence[Heading]
    rows: Sequence[tuple[Heading, Sequence[PaperCell]]]


def paper_table(
    summary: Summary, *, rows: Rows | None = None, caption: str | None = None, label: str | None = None
) -> PaperTable:
    """Returns the table of a run.

    Args:
        summary: the run.
        rows: what stands in rows: ``"problems"`` or ``"contenders"``; None for the narrower table.
        caption: in place of the one that is made: text, shown as it is.
        label: in place of ``"tab:NAME"``.

    Returns:
        The table; of a run that is not over, as far as it has run.

    Raises:
        UserError: for other rows, or a label with signs that cannot stand in one.
    """
    if rows not in (None, "problems", "contenders"):
        raise UserError(f"rows must be 'problems' or 'contenders', got {rows!r}")
    if label is not None and not LABEL.fullmatch(label):
        raise UserError(f"label must be of letters, digits and : . + * / - _, such as 'tab:results', got {label!r}")
    found = answer(summary)
    problems = tuple(_heading(row.comparison.problem) for row in found.rows)
    cells = {
        row.name: {each: _cell(row.cells[each], each in doubtful) for each in found.contenders}
        for row in found.rows
        for doubtful in [_doubtful(row)]
    }
    return PaperTable(
        contenders=found.contenders,
        problems=problems,
        cells=cells,
        mean_ranks=_mean_ranks(summary, found),
        rows=rows,
        caption=_caption(found, len(problems)) if caption is None else caption,
        label=f"tab:{_plain(summary.plan.name)}" if label is None else label,
        notes=notes(summary, found),
    )


def grid(table: PaperTable, rows: Rows) -> Grid:
    """Returns the table with problems or contenders in its rows; mean ranks come last.

    Args:
        table: which.
        rows: what stands in rows.
    """
    contenders = [Heading(label, "") for label in table.contenders]
    problems = [(each, table.cells[each.name]) for each in table.problems]
    problems += [(Heading(MEAN_RANK, DOWN), table.mean_ranks)] if table.mean_ranks else []
    if rows == "contenders":
        columns = [heading for heading, _ in problems]
        return Grid("contender", columns, [(each, [cells[each.name] for _, cells in problems]) for each in contenders])
    lines = [(heading, [cells[label] for label in table.contenders]) for heading, cells in problems]
    return Grid("problem", contenders, lines)


def marks(table: PaperTable, shown: Mapping[Place, str], *, doubtful: str) -> str:
    """Returns what the marks in a table mean, of those that are there.

    Args:
        table: which.
        shown: place -> how the table shows it, such as ``"Bold"``.
        doubtful: the mark of doubtful tuning.
    """
    every = [cell for cells in table.cells.values() for cell in cells.values()]
    there = {cell.place for cell in every}
    found = [text.format(shown.get(place, "")) for place, text in MEANINGS.items() if place in there]
    return " ".join([*found, *([DOUBTFUL.format(doubtful)] if any(cell.is_doubtful for cell in every) else [])])


def _heading(problem: PlannedProblem) -> Heading:
    return Heading(problem.name, f"{numbers.metric_label(problem)} {numbers.arrow(problem)}")


def _cell(cell: Cell, is_doubtful: bool) -> PaperCell:
    return PaperCell(*cell.parts, cell.place, is_doubtful)


def _doubtful(row: Row) -> set[str]:
    """Labels of those whose gap to the leader better tuning might close."""
    return {each.label for each in row.comparison.ranking.compared if each.could_close_gap}


def _mean_ranks(summary: Summary, found: Answer) -> dict[str, PaperCell]:
    """Contender -> its mean rank; bold and not told apart by Nemenyi's distance. Empty without two problems."""
    ranks = summary.overview.ranks
    if ranks is None:
        return {}
    lines = {each.label: each for each in summary.overview.by_contender()}
    distances = dict(zip(summary.overview.contenders, ranks.to_best, strict=True))
    least = min(each.mean_rank.estimate for each in lines.values() if not math.isnan(each.mean_rank.estimate))
    cells = {}
    for label in found.contenders:
        mean = lines[label].mean_rank if label in lines else UNKNOWN
        if math.isnan(mean.estimate):
            cells[label] = PaperCell(NOT_RANKED, "", "not run")
            continue
        gap = mean.estimate - least
        place: Place = "best" if gap == 0 else "worse" if gap > distances[label] else "tied"
        ends = f"[{mean.low:.2f}, {mean.high:.2f}]"
        cells[label] = PaperCell(f"{mean.estimate:.2f}", ends, place)
    return cells


def _caption(found: Answer, problems: int) -> str:
    count = len(found.contenders)
    what = f"{count} contender{'s' * (count != 1)} on {problems} problem{'s' * (problems != 1)}"
    level = f"{LEVEL * 100:.0f}{numbers.NO_BREAK}%"
    return (
        f"{what}: what they come to at the end of the budget, with {level} intervals; {UP} higher, {DOWN} lower is "
        f"better. {found.headline}"
    )


def _plain(name: str) -> str:
    """A name as part of a label."""
    kept = re.sub(r"[^\w.-]+", "-", unicodedata.normalize("NFKD", name), flags=re.ASCII).strip("-")
    return kept or "run"
