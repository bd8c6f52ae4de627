"""The terminal: ranked tables, verdicts, and one live display while a run goes on."""

import io
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from dlkit.bench import formats, overview_tables, tables
from dlkit.bench.errors import UserError
from dlkit.bench.optimizers import FAMILIES, WRAPPERS, Evaluations, Optimizer
from dlkit.bench.optimizers import get as get_optimizer
from dlkit.bench.probes import PROBES
from dlkit.bench.problems import FAMILIES as FAMILIES_OF_PROBLEMS
from dlkit.bench.problems import Maker
from dlkit.bench.problems import get as get_problem
from dlkit.bench.problems import maker as find_maker
from dlkit.bench.problems.catalog import Entry
from dlkit.bench.problems.makers import REQUIRED
from dlkit.bench.progress import Progress as Listener
from dlkit.bench.progress import Silent
from dlkit.bench.results import Summary
from dlkit.bench.schedules import SCHEDULES
from dlkit.bench.space import Range

__all__ = [
    "live_progress",
    "print_choices",
    "print_optimizers",
    "print_probes",
    "print_problems",
    "print_schedules",
    "print_summary",
    "text_of",
]

WIDE = 160  # columns a ranking takes; used where there is no terminal to ask
NOTHING = "–"
NO_BREAK = "\N{NO-BREAK SPACE}"


def text_of(summary: Summary) -> str:
    """Returns the ranked tables and verdicts as plain text."""
    file = io.StringIO()
    width = max(shutil.get_terminal_size((WIDE, 50)).columns, 100)
    _print(summary, Console(file=file, width=width, color_system=None))
    return file.getvalue().rstrip()


def print_summary(summary: Summary) -> None:
    """Prints the ranked tables and verdicts to the terminal."""
    _print(summary, _console())


def _console() -> Console:
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


def _print_overview(summary: Summary, console: Console) -> None:
    """One table over all problems, where there are several; the report has the others."""
    if len(summary.comparisons) < 2:
        return
    console.print(Text(overview_tables.heading(summary), style="bold"))
    for each in overview_tables.sections(summary)[:1]:
        console.print(_table(each.table, numbers=True, width=console.width))
        console.print(Text(each.text))
    for note in overview_tables.left_out(summary):
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


class _Display:
    """One line: what compiles, how many trials are done, how long it still takes."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task: TaskID = progress.add_task("starting workers", total=None)
        self._compiling: dict[str, None] = {}
        self._running: dict[str, None] = {}

    def plan(self, trials: int, done: int) -> None:
        self._progress.update(self._task, total=trials, completed=done)
        self._progress.update(self._task, description="nothing left to run" if trials == done else "starting workers")

    def compiling(self, label: str) -> None:
        self._compiling[label] = None
        self._running.pop(label, None)
        self._say()

    def advance(self, label: str, trials: int) -> None:
        self._compiling.pop(label, None)
        self._running[label] = None
        self._progress.advance(self._task, trials)
        self._say()

    def ended(self, label: str) -> None:
        self._compiling.pop(label, None)
        self._running.pop(label, None)
        self._say()

    def timing(self, label: str) -> None:
        self._progress.update(self._task, description=label)

    def say(self, text: str) -> None:
        self._progress.console.print(text, markup=False, highlight=False)

    def finishing(self) -> None:
        self._progress.console.print("interrupted: finishing the trials in hand; Ctrl-C again gives them up")

    def _say(self) -> None:
        parts = [f"compiling {label}" for label in self._compiling] + [f"training {label}" for label in self._running]
        self._progress.update(self._task, description=", ".join(parts) or "summing up")


def print_problems() -> None:
    """Prints the catalogue of problems by family: what is judged, the default budget, what is hard, what it costs."""
    console = _console()
    for family, entries in FAMILIES_OF_PROBLEMS.items():
        columns = ("problem", "metric", "target", "steps", "batch", "s / 1000 steps", "stresses")
        table = Table(*columns, title=family, title_justify="left")
        for name, entry in entries.items():
            table.add_row(name, *_problem_cells(name, entry))
        console.print(table)
    console.print("s / 1000 steps: seconds of Adam on one core. dlkit list problems NAME shows its choices.")


def _problem_cells(name: str, entry: Entry) -> list[str]:
    """A problem's metric, target, steps, batch, cost and what it stresses; what it needs where that is missing."""
    needs = f" (needs {entry.needs})" if entry.needs else ""
    cost = NOTHING if entry.seconds is None else formats.number(entry.seconds)
    try:
        problem = get_problem(name)
    except UserError:
        return [NOTHING] * 4 + [cost, (entry.make.__doc__ or "").splitlines()[0] + needs]
    target = NOTHING if problem.target is None else formats.number(problem.target)
    batch = "all" if problem.batch_size is None else str(problem.batch_size)
    return [problem.metric, target, str(problem.steps), batch, cost, problem.stresses + needs]


def print_choices(name: str) -> None:
    """Prints a problem's choices with their defaults, what they mean, and which can be tuned as ranges.

    Args:
        name: in the catalogue, or ``"file.py:function"``.
    """
    console = _console()
    maker = find_maker(name)
    if not isinstance(maker, Maker):
        raise UserError(f"problem '{name}': came ready-made, without choices")
    meanings = dict(re.findall(r"^ {8}(\w+): (.*(?:\n {12}.*)*)", maker.function.__doc__ or "", re.MULTILINE))
    table = Table("choice", "default", "tuned as", "meaning", title=name, title_justify="left")
    for choice, default in maker.defaults.items():
        shown = "must be given" if default is REQUIRED else repr(default) if isinstance(default, str) else str(default)
        kind = "a range" if choice in maker.tunable else "values"
        table.add_row(choice, shown, kind, Text(" ".join(meanings.get(choice, "").split())))
    console.print(table)


def print_optimizers() -> None:
    """Prints the registered optimizers by family, the spaces they are tuned over, and the wrappers."""
    console = _console()
    for family, optimizers in FAMILIES.items():
        table = Table("optimizer", "tuned over", "reference", title=family, title_justify="left")
        for optimizer in optimizers:
            table.add_row(optimizer.name, _tuned_over(optimizer), optimizer.reference)
        console.print(table)
    table = Table("wrapper", "adds", "what it does", title="wrappers, as in adam+clip", title_justify="left")
    plain = get_optimizer("sgd")
    for name, wrap in WRAPPERS.items():
        wrapped = wrap(plain)
        space = {key: span for key, span in wrapped.space.items() if key not in plain.space}
        what = (wrap.__doc__ or "").splitlines()[0].removeprefix("Returns the optimizer ").rstrip(".")
        table.add_row(f"+{name}", _tuned_over(replace(wrapped, space=space)), what)
    console.print(table)


def print_schedules() -> None:
    """Prints the schedules of learning rates with their settings, which can be tuned like any hyperparameter."""
    table = Table("schedule", "settings", "reference")
    for name, schedule in SCHEDULES.items():
        table.add_row(
            name, "\n".join(f"{key} {_range(span)}" for key, span in schedule.space.items()), schedule.reference
        )
    _console().print(table)


def print_probes() -> None:
    """Prints the diagnostics that can be computed along a trial, and what each costs at every point of the curve."""
    table = Table("probe", "curves", "cost a point", "what it shows", "reference")
    for name, probe in PROBES.items():
        counted = ((n, what) for n, what in zip(probe.cost, Evaluations._fields, strict=True) if n)
        cost = ", ".join(f"{n} {what.replace('_', ' ')}" for n, what in counted) or "none"
        table.add_row(name, "\n".join(probe.curves), cost, probe.description, probe.reference)
    _console().print(table)


def _tuned_over(optimizer: Optimizer) -> str:
    ranges = [f"{key} {_range(span)}" for key, span in optimizer.space.items()]
    choices = [f"{key} in {list(options)}" for key, options in optimizer.static.items()]
    return "\n".join([*ranges, *choices])


def _range(span: Range | float) -> str:
    if not isinstance(span, Range):
        return f"= {span:g}"
    scale = {"linear": "uniform", "log": "log-uniform", "one_minus_log": "log-uniform in 1 - value"}[span.scale]
    return f"[{span.low:g}, {span.high:g}], {scale}"


@contextmanager
def live_progress(show: bool) -> Iterator[Listener]:
    """Shows a live display while the block runs.

    Args:
        show: whether to; nothing is shown either where there is no terminal.

    Yields:
        What to tell how it goes.
    """
    if not (show and sys.stderr.isatty()):
        yield Silent()
        return
    columns = (
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("trials"),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        yield _Display(progress)
