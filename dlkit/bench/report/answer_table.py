"""The answer as a table: contenders beside problems, each cell with a mark of its place."""

from collections.abc import Mapping
from typing import NamedTuple

from dlkit.bench.analysis import numbers
from dlkit.bench.analysis.answer import Answer
from dlkit.bench.analysis.answer_rows import Cell, Place, Row
from dlkit.bench.analysis.findings import behind
from dlkit.bench.report.tables import SHOWN_LEVEL, Table

__all__ = ["MARKS", "AnswerTable", "answer_table", "legend", "marked", "verdicts", "waiting"]

MARKS: Mapping[Place, str] = {"best": "*", "tied": "=", "doubtful": "?", "worse": " "}
MEANINGS: Mapping[Place, str] = {
    "best": "* leads",
    "tied": "= not told apart from it",
    "doubtful": "? behind, but may be undertuned",
    "worse": "no mark: worse",
}


class AnswerTable(NamedTuple):
    """An answer as a table.

    Attributes:
        table: the cells.
        places: (row, column) -> a contender's place on a problem.
        has_intervals: whether numbers have their intervals beside them.
    """

    table: Table
    places: Mapping[tuple[int, int], Place]
    has_intervals: bool


def answer_table(answer: Answer, *, intervals: bool, problems_down: bool = False) -> AnswerTable:
    """Returns contenders beside problems; of one problem, also how far each is behind the best.

    Problems that nothing has finished on are left out: see `waiting`.

    Args:
        answer: of a run.
        intervals: whether numbers have theirs beside them.
        problems_down: whether problems are the rows, and contenders the columns.
    """
    if len(answer.rows) == 1:
        return _one_problem(answer.rows[0], intervals=intervals)
    there = [row for row in answer.rows if row.name not in waiting(answer)]
    level = f" {SHOWN_LEVEL}" if intervals else ""
    names = [f"{row.name} {numbers.arrow(row.comparison.problem)}{level}" for row in there]
    cells = [[row.cells[label] for row in there] for label in answer.contenders]
    across, down, corner = names, list(answer.contenders), "optimizer"
    if problems_down:
        cells = [list(each) for each in zip(*cells, strict=True)]
        across, down, corner = down, names, "problem"
    texts = [[marked(cell, intervals=intervals) for cell in line] for line in cells]
    rows = [[name, *line] for name, line in zip(down, texts, strict=True)]
    places = {(i, j): cell.place for i, line in enumerate(cells) for j, cell in enumerate(line, 1)}
    return AnswerTable(Table([corner, *across], rows if there else []), places, intervals)


def waiting(answer: Answer) -> list[str]:
    """Returns the problems on which nothing has finished and nothing has failed, where there are others.

    Args:
        answer: of a run.
    """
    empty = [row.name for row in answer.rows if {cell.text for cell in row.cells.values()} <= {"not done", "not run"}]
    return empty if len(answer.rows) > 1 else []


def verdicts(answer: Answer) -> list[tuple[str, str]]:
    """Returns what is said of each problem: its name, and its verdict; of several at once without a name.

    Where nobody is told apart from the leader, it is said once for all such problems. Problems that nothing has
    finished on come last, together.

    Args:
        answer: of a run with several problems.
    """
    there = [row for row in answer.rows if row.name not in waiting(answer)]
    open_: dict[int, list[Row]] = {}
    for row in there:
        if count := row.none_apart:
            open_.setdefault(count, []).append(row)
    found: list[tuple[str, str]] = []
    for row in there:
        alike = open_.get(row.none_apart, [])
        if len(alike) < 2:
            found.append((row.name, f" ({_judged_by(row)}): {row.sentence}."))
        elif row is alike[0]:
            each = [f"{one.name} ({_judged_by(one)}; {one.labels('best')[0]} leads)" for one in alike]
            count = row.none_apart
            found.append(("", f"None of the {count} others is told apart from the leader on {', '.join(each)}."))
    if empty := waiting(answer):
        found.append(("", f"Nothing to compare yet: {', '.join(empty)}."))
    return found


def _judged_by(row: Row) -> str:
    return numbers.metric_label(row.comparison.problem)


def marked(cell: Cell, *, intervals: bool) -> str:
    """Returns a cell's text after the mark of its place; without its interval unless that is asked for."""
    text = cell.text if intervals else cell.parts[0]
    return f"{MARKS[cell.place]} {text}".strip() if cell.place in MARKS else text


def legend(answer: Answer, *, unit: str) -> str:
    """Returns what marks and numbers mean, of those that are there.

    Args:
        answer: of a run.
        unit: what medians are over: studies or seeds.
    """
    there = {cell.place for row in answer.rows for cell in row.cells.values()}
    marks = [meaning for place, meaning in MEANINGS.items() if place in there]
    return f"{', '.join(marks)}{'. ' * bool(marks)}Medians over {unit}; ↑ higher is better, ↓ lower."


def _one_problem(row: Row, *, intervals: bool) -> AnswerTable:
    """One problem: values, and differences to the best."""
    comparison, level = row.comparison, f" {SHOWN_LEVEL}" if intervals else ""
    header = ["optimizer", f"{numbers.metric_label(comparison.problem)} {numbers.arrow(comparison.problem)}{level}"]
    rows = [[label, marked(cell, intervals=intervals)] for label, cell in row.cells.items()]
    if compared := comparison.ranking.compared:
        header.append(f"difference to best{level}")
        gaps = {}
        for each in compared[1:]:
            if pair := each.standing.to_best:
                gaps[each.label] = behind(comparison.problem, compared[0].result, each.result, pair.difference)
        shown = {label: text if intervals else text.partition(" [")[0] for label, text in gaps.items()}
        rows = [[*cells, shown.get(cells[0], numbers.NOTHING)] for cells in rows]
    places = {(place, 1): cell.place for place, cell in enumerate(row.cells.values())}
    return AnswerTable(Table(header, rows), places, intervals)
