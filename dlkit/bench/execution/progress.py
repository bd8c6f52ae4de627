"""The progress of a run: what the runner reports, and the line that shows it in a terminal."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from dlkit.bench.analysis.foresight import Foresight
from dlkit.bench.analysis.settling import Added

__all__ = ["Listener", "Silent", "added_blocks", "live_progress", "say"]


def say(sentence: str) -> None:
    """Says something on the standard error, on a line of its own."""
    print(sentence, file=sys.stderr)  # noqa: T201


class Listener(Protocol):
    """Hears how a run goes, and shows it or not."""

    def plan(self, trials: int, done: int) -> None:
        """How many trials the run has, as far as is known, and how many of them have ended."""

    def compiling(self, label: str) -> None:
        """A worker starts to compile the programs of a contender on a problem."""

    def advance(self, label: str, trials: int) -> None:
        """Some trials have ended."""

    def ended(self, label: str) -> None:
        """Nothing is left to run of a contender on a problem."""

    def timing(self, label: str) -> None:
        """The contenders of a problem are timed."""

    def foreseeing(self, foresight: Foresight) -> None:
        """What the plan can tell and what it costs, before anything runs."""

    def adding(self, blocks: Added) -> None:
        """A problem is not settled, and gets more studies or seeds."""

    def finishing(self) -> None:
        """Ctrl-C came: the trials that are running now end, and no others start."""

    def warn(self, sentence: str) -> None:
        """Something that whoever reads the numbers has to know."""


class Silent:
    """Says nothing but warnings, on the standard error."""

    def plan(self, trials: int, done: int) -> None:
        """Nothing to say."""

    def compiling(self, label: str) -> None:
        """Nothing to say."""

    def advance(self, label: str, trials: int) -> None:
        """Nothing to say."""

    def ended(self, label: str) -> None:
        """Nothing to say."""

    def timing(self, label: str) -> None:
        """Nothing to say."""

    def foreseeing(self, foresight: Foresight) -> None:
        """Nothing to say."""

    def adding(self, blocks: Added) -> None:
        """Nothing to say."""

    def finishing(self) -> None:
        """Nothing to say."""

    def warn(self, sentence: str) -> None:
        """Says it on a line of its own."""
        say(sentence)


def added_blocks(blocks: Added) -> str:
    """Returns a line: how many studies or seeds a problem has, and who gets how many more."""
    whom = f" to {', '.join(blocks.in_question)}" if blocks.resting else ""
    return f"{blocks.problem}: {blocks.blocks} {blocks.unit}, not settled; adding {blocks.added}{whom}"


class _Display:
    """One line: how many trials have ended, how long the rest takes, what compiles and what trains."""

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

    def foreseeing(self, foresight: Foresight) -> None:
        for sentence in foresight.sentences:
            self._progress.console.print(sentence, markup=False, highlight=False)

    def adding(self, blocks: Added) -> None:
        self._progress.console.print(added_blocks(blocks), markup=False, highlight=False)

    def finishing(self) -> None:
        self._progress.console.print("interrupted: finishing the trials in hand; Ctrl-C again gives them up")

    def warn(self, sentence: str) -> None:
        self._progress.console.print(sentence, markup=False, highlight=False, style="yellow")

    def _say(self) -> None:
        parts = [f"compiling {label}" for label in self._compiling] + [f"training {label}" for label in self._running]
        self._progress.update(self._task, description=", ".join(parts) or "summing up")


@contextmanager
def live_progress(show: bool) -> Iterator[Listener]:
    """Shows a live display while the block runs.

    Args:
        show: whether to show it; without a terminal nothing is shown.

    Yields:
        The listener that the runner reports to.
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
