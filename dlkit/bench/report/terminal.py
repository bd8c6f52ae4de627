"""A run in the terminal: its tables and verdicts, plain or in colour."""

import io
import shutil
from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from dlkit.bench.analysis.summary import Summary
from dlkit.bench.report import tables, tables_across

__all__ = ["print_summary", "terminal", "text_of"]

WIDE = 160  # columns a ranking takes; used where there is no terminal to ask
NO_BREAK = "\N{NO-BREAK SPACE}"


def text_of(summary: Summary) -> str:
    """Returns the ranked tables and verdicts as plain text."""
    file = io.StringIO()
    width = max(shutil.get_terminal_size((WIDE, 50)).columns, 100)
    _print(summary, Console(file=file, width=width, color_system=None))
    return file.getvalue().rstrip()


def print_summary(summary: Summary) -> None:
    """Prints the ranked tables and verdicts to the terminal."""
    _print(summary, terminal())


def terminal() -> Console:
    """The terminal; where there is none, lines are as wide as the tables."""
    console = Console()
    return console if console.is_terminal else Console(width=WIDE)


def _print(summary: Summary, console: Console) -> None:
    for comparison in summary.comparisons:
        console.print(Text(f"{comparison.problem.name}: {tables.caption(comparison)}", style="bold"))
        console.print(_table(tables.ranking(comparison), numbers=True, width=console.width))
        for part in tables.parts(comparison):
            if part.caption:
                console.print(Text(part.caption))
            console.print(_table(part.table, numbers=part.numbers, width=console.width))
    _print_overview(summary, console)
    for comparison in summary.comparisons:
        console.print(Text(comparison.verdict.sentence, style="bold"))
        for note in [*tables.factor_findings(comparison), *comparison.verdict.notes]:
            console.print(Text(f"  {note}"))
    for sentence in summary.apart:
        console.print(Text(sentence))


def _print_overview(summary: Summary, console: Console) -> None:
    """One table over all problems, where there are several; the report has the others."""
    if len(summary.comparisons) < 2:
        return
    console.print(Text(tables_across.heading(summary), style="bold"))
    contenders = tables_across.contenders(summary)
    if contenders.table.rows:
        console.print(_table(contenders.table, numbers=True, width=console.width))
        console.print(Text(contenders.text))
    for note in tables_across.left_out(summary):
        console.print(Text(f"  {note}"))
    console.print()


def _table(content: tables.Table, *, numbers: bool, width: int) -> Table:
    """A table; where it is too wide for one line a row, intervals stand below their estimates."""
    cells = content.rows
    if numbers and _width(cells) > width:
        cells = [list(map(_stacked, row)) for row in cells]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for name in content.header:
        right = numbers and name not in tables.LABELS
        table.add_column(name.replace(" ", "\n") if numbers else name, justify="right" if right else "left")
    for row in cells:
        table.add_row(*map(Text, row), style="bold" if row[0] == "1" else "")
    return table


def _stacked(text: str) -> str:
    """An estimate with its interval below, which keeps together."""
    estimate, bracket, interval = text.partition(" [")
    return f"{estimate}\n[{interval.replace(' ', NO_BREAK)}" if bracket else text


def _width(rows: Sequence[Sequence[str]]) -> int:
    """How wide a table is with each cell on one line; headings have several."""
    return sum(max(map(len, column)) + 3 for column in zip(*rows, strict=True))
