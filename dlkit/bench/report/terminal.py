"""A run in the terminal: the answer on one screen, and where it is asked for the tables, plain or in colour."""

import shlex
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.text import Text

from dlkit.bench.analysis.answer import Answer, answer
from dlkit.bench.analysis.summary import Summary
from dlkit.bench.escapes import visible
from dlkit.bench.report import tables, tables_across
from dlkit.bench.report.answer_table import AnswerTable, answer_table, legend, verdicts
from dlkit.bench.report.plain_letters import plainly
from dlkit.bench.report.text_tables import paragraph, table_lines

__all__ = ["More", "answer_lines", "print_lines", "print_marked", "print_summary", "terminal", "text_of"]

WIDE = 120  # columns where there is no terminal to ask
TEXTS = tables.LABELS | {"tuned to", "points trained", "flags"}
MARK = 6  # letters of a mark before a line
HEADING = 4  # lines above a table's rows, at most
STYLES = {"best": "bold green", "tied": "green", "doubtful": "yellow", "worse": "dim", "failed": "red"}


class More(NamedTuple):
    """What there is beside the answer, and how one gets there.

    Attributes:
        tables: what shows the tables; empty where they are shown.
        report: the report, if there is one.
    """

    tables: str
    report: Path | None = None

    @classmethod
    def of(cls, folder: Path) -> "More":
        """Returns what there is of a run in a folder, for who is at the command line."""
        return cls(f"dlkit show {shlex.quote(str(folder))} --tables", _report_in(folder))

    @classmethod
    def in_python(cls, folder: Path | None) -> "More":
        """Returns what there is of a run for who has its result; without a folder it is in memory."""
        return FROM_PYTHON._replace(report=_report_in(folder) if folder else None)


def _report_in(folder: Path) -> Path | None:
    page = folder / "report.html"
    return page if page.is_file() else None


FROM_PYTHON = More("result.show(tables=True)")


def text_of(summary: Summary, more: More = FROM_PYTHON, *, tables: bool = False) -> str:
    """Returns the answer as plain text.

    Args:
        summary: the run.
        tables: whether tables and verdicts in full follow.
        more: what there is beside it.
    """
    width = shutil.get_terminal_size((WIDE, 50)).columns
    lines = _lines(summary, width, tables=tables, more=more)
    return "\n".join(line.plain for line in lines).rstrip()


def print_summary(summary: Summary, more: More, *, tables: bool = False, failures: bool = True) -> None:
    """Prints the answer to the terminal; arguments as of `text_of` and `answer_lines`."""
    console = terminal()
    print_lines(console, _lines(summary, console.width, tables=tables, more=more, failures=failures))


def terminal() -> Console:
    """The terminal; where there is none, lines are as wide as `$COLUMNS` says, or wide enough for most tables."""
    console = Console(highlight=False, markup=False)
    return (
        console
        if console.is_terminal
        else Console(highlight=False, markup=False, width=shutil.get_terminal_size((WIDE, 50)).columns)
    )


def print_lines(console: Console, lines: Iterable[Text]) -> None:
    """Prints lines as they are: none is wrapped or cut; in plain letters where the terminal has no others."""
    for line in lines:
        plain = plainly(line.plain, console.encoding)
        console.print(line if plain == line.plain else Text(plain), soft_wrap=True)


def print_marked(text: str) -> None:
    """Prints lines that begin with a mark, such as `ok`; in a terminal what is too long goes on below, under the text.

    Args:
        text: lines, each a mark of `MARK` letters and then words.
    """
    console = terminal()
    for line in text.splitlines():
        width = console.width if console.is_terminal else len(line) + MARK
        lines = paragraph(line[MARK:], width=width, first=line[:MARK], indent=" " * MARK)
        print(plainly("\n".join(lines), console.encoding), flush=True)  # noqa: T201


def _lines(summary: Summary, width: int, *, tables: bool, more: More, failures: bool = True) -> list[Text]:
    more = more._replace(tables="") if tables else more
    lines = answer_lines(summary, width, more, failures=failures)
    return [*lines, Text(), *_all_tables(summary, width)] if tables else lines


# --- the answer ---


def answer_lines(summary: Summary, width: int, more: More, *, failures: bool = True) -> list[Text]:
    """Returns the answer as lines: the headline, a table, a line a problem, what limits it, and where the rest is.

    Args:
        summary: the run.
        width: of the lines, in columns.
        more: what there is beside it.
        failures: whether reasons of failures are among them.
    """
    found = answer(summary)
    shown, table = _fitting(found, width)
    about = legend(found, unit=summary.plan.unit)
    about += "" if shown.has_intervals else " There is no room for intervals: see the tables."
    lines = [*_paragraph(found.headline, width, "bold"), Text(), *table]
    lines += [*_paragraph(about, width, "dim"), Text()] if table else []
    if table and len(found.rows) > 1:
        lines += [line for name, text in verdicts(found) for line in _verdict(name, text, width)]
    for caveat in (*found.caveats, *summary.apart):
        lines += _paragraph(caveat, width, first="- ", indent="  ")
    for reason in summary.failures if failures else ():
        lines += _paragraph(f"failed: {reason}", width, "red", first="- ", indent="  ")
    ends = [f"tables: {more.tables}"] if more.tables else []
    ends += [f"report: {more.report}"] if more.report else []
    return [*lines, *([Text()] if ends else []), *(Text(visible(each)) for each in ends)]


def _verdict(name: str, text: str, width: int) -> list[Text]:
    """A problem's name in bold, and its verdict."""
    lines = _paragraph(f"{name}{text}", width, indent="  ", first="")
    lines[0].stylize("bold", 0, len(visible(name)))
    return lines


def _fitting(found: Answer, width: int) -> tuple[AnswerTable, list[Text]]:
    """The table with most in it that fits side by side; else the one that takes the fewest lines."""
    candidates = [answer_table(found, intervals=True), answer_table(found, intervals=False)]
    if len(found.rows) > 1:
        candidates.append(answer_table(found, intervals=False, problems_down=True))
    made = []
    for each in candidates:
        styles = {key: STYLES.get(place, "") for key, place in each.places.items()}
        made.append((each, table_lines(each.table, width=width, styles=styles)))
    for each, lines in made:
        if len(lines) <= len(each.table.rows) + HEADING and all(len(line.plain) <= width for line in lines):
            return each, lines
    return min(made[1:], key=lambda each: len(each[1]))


def _paragraph(text: str, width: int, style: str = "", *, first: str | None = None, indent: str = "") -> list[Text]:
    return [Text(line, style=style) for line in paragraph(text, width=width, first=first, indent=indent)]


# --- the tables ---


def _all_tables(summary: Summary, width: int) -> list[Text]:
    lines: list[Text] = []
    for comparison in summary.comparisons:
        lines += _paragraph(f"{comparison.problem.name}: {tables.caption(comparison)}", width, "bold")
        ranking = tables.ranking(comparison)
        first = {
            (row, column): "bold"
            for row, cells in enumerate(ranking.rows)
            if cells[0] == "1"
            for column in range(len(cells))
        }
        lines += [*table_lines(ranking, width=width, styles=first), Text()]
        for part in tables.parts(comparison):
            lines += _paragraph(part.caption, width) if part.caption else []
            lines += [*table_lines(part.table, width=width, words=TEXTS), Text()]
    lines += _overview(summary, width)
    for comparison in summary.comparisons:
        lines += _paragraph(comparison.verdict.sentence, width, "bold")
        for note in [*tables.factor_findings(comparison), *comparison.verdict.notes]:
            lines += _paragraph(note, width, first="- ", indent="  ")
        lines.append(Text())
    return lines


def _overview(summary: Summary, width: int) -> list[Text]:
    """One table over all problems, where there are several; the report has the others."""
    if len(summary.comparisons) < 2:
        return []
    lines = _paragraph(tables_across.heading(summary), width, "bold")
    contenders = tables_across.contenders(summary)
    if contenders.table.rows:
        lines += [*table_lines(contenders.table, width=width), *_paragraph(contenders.text, width)]
    for note in tables_across.left_out(summary):
        lines += _paragraph(note, width, first="- ", indent="  ")
    return [*lines, Text()]
