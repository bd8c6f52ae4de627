"""Tables and figures as the templates take them: which rows and columns are of which contender and problem."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from dlkit.bench.report.page.terms import term
from dlkit.bench.report.plotly_drawing import Drawing
from dlkit.bench.report.tables import Part, Table

__all__ = ["Drawn", "Heading", "Names", "Row", "ShownTable", "TableCell", "drawn", "shown_part", "shown_table"]

ROWS_OF = {"optimizer": "c", "problem": "p"}  # the heading of a column -> what its cells name


class Names(NamedTuple):
    """Where contenders and problems stand in the plan, by name: the page's filter hides them by these numbers."""

    contenders: Mapping[str, int]
    problems: Mapping[str, int]

    def marked(self, kind: str, name: str) -> str:
        """Returns ``"c3"`` for the contender, ``"p3"`` for the problem of that place; empty for other names."""
        place = (self.contenders if kind == "c" else self.problems).get(name)
        return "" if place is None else f"{kind}{place}"


class TableCell(NamedTuple):
    """A cell: its number, the interval beside it that stays in one piece, and whose column it stands in."""

    text: str
    interval: str
    of: str
    is_heading: bool


class Row(NamedTuple):
    """A row, and whose it is."""

    of: str
    cells: list[TableCell]


class Heading(NamedTuple):
    """The heading of a column: its words, the name of what explains them, whose column it is."""

    text: str
    term: str
    of: str
    is_name: bool


@dataclass(frozen=True)
class ShownTable:
    """A table.

    Attributes:
        title: what it shows.
        kind: of its cells: ``"numbers"``, ``"words"`` or ``"facts"``, and further classes.
        header: of its columns.
        rows: the cells.
    """

    title: str
    kind: str
    header: list[Heading]
    rows: list[Row]


class Drawn(NamedTuple):
    """A figure.

    Attributes:
        name: of its place in the page.
        about: what it is of.
        title: a word or a few.
        text: how to read it.
        height: pixels.
        json: as plotly takes it.
        axes: for curves, what they can be drawn against; None of other figures.
    """

    name: str
    about: str
    title: str
    text: str
    height: float
    json: str
    axes: Any = None


def shown_table(names: Names, table: Table, title: str, *, heading: int = 0, kind: str = "words") -> ShownTable:
    """Returns a table for the page.

    Args:
        names: of contenders and problems.
        table: the cells.
        title: what it shows.
        heading: which column heads its rows.
        kind: of its cells: see `ShownTable`.
    """
    columns = [names.marked("c", name) or names.marked("p", name) for name in table.header]
    header = [
        Heading(name, "" if of else term(name), of, column == heading)
        for column, (name, of) in enumerate(zip(table.header, columns, strict=True))
    ]
    whose = [(column, ROWS_OF[name]) for column, name in enumerate(table.header) if name in ROWS_OF]
    rows = []
    for row in table.rows:
        of = next((mark for column, kind_of in whose if (mark := names.marked(kind_of, row[column]))), "")
        rows.append(
            Row(of, [_cell(text, columns[column], is_heading=column == heading) for column, text in enumerate(row)])
        )
    return ShownTable(title, kind, header, rows)


def _cell(text: str, of: str, *, is_heading: bool) -> TableCell:
    estimate, bracket, rest = text.partition(" [")
    if is_heading or not bracket:
        return TableCell(text, "", of, is_heading)
    return TableCell(estimate, f"[{rest}", of, is_heading)


def shown_part(names: Names, part: Part) -> ShownTable:
    """Returns a table of a problem beside its ranking, for the page."""
    kind = "numbers" if part.numbers else "words"
    return shown_table(names, part.table, part.caption or part.name.capitalize(), kind=kind)


def drawn(figure: Drawing, name: str, about: str, title: str, text: str, axes: Any = None) -> Drawn | None:
    """Returns a figure for the page; None where it shows nothing.

    Args:
        figure: which.
        name: of its place in the page.
        about: what it is of.
        title: a word or a few.
        text: how to read it.
        axes: for curves, what they can be drawn against.
    """
    if not figure.shows_something:
        return None
    return Drawn(name, about, title, text, figure.layout["height"], figure.to_json(), axes)
