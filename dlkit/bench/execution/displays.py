"""How a run is shown while it goes on: a bar in a terminal or a notebook, a line a minute in a log."""

import importlib
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Protocol, cast

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from dlkit.bench.analysis.foresight import Foresight
from dlkit.bench.analysis.settling import Added
from dlkit.bench.escapes import in_html, visible
from dlkit.bench.examination.costs import duration
from dlkit.bench.execution.course import Course, State, forget, keep
from dlkit.bench.execution.progress import Listener, added_blocks, say

__all__ = ["bar_line", "live_progress", "log_line"]

KEPT_EVERY = 1.0  # seconds between looks at what is to be kept
BAR = 24  # columns, and at least 8
BEAT = 5.0  # seconds: a state that does not change is written again, so that it is seen that the run goes on
LOG_EVERY = 60.0
NOTEBOOK_EVERY = 0.3
INTERRUPTED = "interrupted: finishing the trials in hand; Ctrl-C again gives them up"


@contextmanager
def live_progress(show: bool, folder: Path | None = None) -> Iterator[Listener]:
    """Shows how a run goes while the block runs, and keeps it in the run's folder for `dlkit watch`.

    Args:
        show: whether to show it: a bar in a terminal and in a notebook, elsewhere a line a minute.
        folder: of the run; None for a run in memory.

    Yields:
        The listener that the runner reports to.
    """
    course, heard = _Reporting(), cast("IO[str]", _Lasting(sys.stderr))
    with ExitStack() as stack:
        ticks: list[Callable[[], None]] = []
        if folder is not None:
            stack.callback(forget, folder)
            ticks.append(_Keeper(course, folder))
        if show and (update := _notebook_update()):
            course.shown = notebook = _Notebook(course, update)
            stack.callback(notebook.end)
        elif show and _is_live(console := Console(file=heard, markup=False)):
            course.shown = _Terminal(console)
            live = Live(get_renderable=lambda: bar_line(course.state, console.width), console=console, transient=True)
            stack.enter_context(live)
        elif show:
            course.shown = _Log()
            ticks.append(_LogLines(course))
        if ticks:
            stack.enter_context(_ticking(ticks))
        yield course


class _Lasting:
    """A text stream that takes what is written also when nobody reads it any more: the run goes on without it."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with suppress(OSError, ValueError):  # the terminal is gone, or closed
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _is_live(console: Console) -> bool:
    return console.is_terminal and not console.is_dumb_terminal


def bar_line(state: State, width: int) -> Table:
    """Returns one line that fits a terminal: a bar, the count, the time left, and what runs in what is left.

    Where it is narrow the bar gets shorter, what runs is counted instead of named, and then the time left goes.

    Args:
        state: how far the run has come.
        width: of the terminal, in columns.
    """
    room = width - 1  # what fills the last column makes some terminals begin a new line
    parts = [part for part in (state.counted, state.left()) if part]
    if room < 8 + sum(len(part) + 1 for part in parts):
        parts = parts[:1]
    taken = sum(len(part) + 1 for part in parts)
    what = state.what(room - taken - BAR - 1) or state.what(room - taken - 9)
    taken += len(what) + 1 if what else 0
    line = Table.grid(padding=(0, 1, 0, 0), pad_edge=False)
    cells: list[Any] = []
    if room - taken >= 8:
        size = min(BAR, room - taken)
        line.add_column(width=size, no_wrap=True)
        cells.append(ProgressBar(total=1.0, completed=state.share, width=size, pulse=state.planned is None))
    for text in [*parts, *([what] if what else [])]:
        line.add_column(no_wrap=True)
        cells.append(Text(visible(text)))
    line.add_row(*cells)
    return line


def log_line(state: State, now: float) -> str:
    """Returns a line for a log: when, how far, how long it goes on, what runs.

    Args:
        state: how far the run has come.
        now: seconds since 1970.
    """
    parts = [part for part in (state.counted, state.left(now), state.what()) if part]
    return f"{time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(now))} {visible('; '.join(parts))}"


# --- where what is said goes ---


class _Shown(Protocol):
    """Where sentences go, and what is done when something has changed."""

    def say(self, sentence: str, *, warning: bool = False) -> None:
        """Shows a sentence."""

    def changed(self) -> None:
        """Something has changed."""


class _Nothing:
    """Shows warnings alone."""

    def say(self, sentence: str, *, warning: bool = False) -> None:
        if warning:
            say(sentence)

    def changed(self) -> None:
        pass


class _Log:
    """Sentences on lines of their own; how far the run is, the clock says."""

    def say(self, sentence: str, *, warning: bool = False) -> None:
        say(sentence)

    def changed(self) -> None:
        pass


class _Terminal:
    """Sentences above the bar, which looks for itself whether something has changed."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def say(self, sentence: str, *, warning: bool = False) -> None:
        self._console.print(
            visible(sentence, keep="\n"), markup=False, highlight=False, style="yellow" if warning else None
        )

    def changed(self) -> None:
        pass


class _Notebook:
    """A bar below the cell, which is drawn again as trials end, and sentences above it."""

    def __init__(self, course: Course, update: Callable[[str], None]) -> None:
        self._course, self._update = course, update
        self._said: list[str] = []
        self._began = time.monotonic()
        self._drawn = 0.0

    def say(self, sentence: str, *, warning: bool = False) -> None:
        if warning:
            say(sentence)
        else:
            self._said.append(sentence)

    def changed(self) -> None:
        if time.monotonic() - self._drawn > NOTEBOOK_EVERY:
            self._draw(self._course.state)

    def end(self) -> None:
        """Leaves how many trials there are and how long it took."""
        state = self._course.state
        self._update(
            _said([*self._said, f"{state.counted or 'no trial'} in {duration(time.monotonic() - self._began)}"])
        )

    def _draw(self, state: State) -> None:
        self._drawn = time.monotonic()
        text = " · ".join(part for part in (state.counted, state.left(), state.what()) if part)
        self._update(_said(self._said) + _html_bar(state.share, text))


def _said(sentences: list[str]) -> str:
    lines = "".join(f"<div>{in_html(sentence)}</div>" for sentence in sentences)
    return f'<div style="font-size:0.9em;opacity:0.75">{lines}</div>'


def _html_bar(share: float, text: str) -> str:
    """A bar with its words, in colours that suit light and dark pages."""
    return (
        '<div style="display:flex;gap:0.75em;align-items:center;font-variant-numeric:tabular-nums">'
        '<div style="flex:none;width:12em;height:0.6em;border-radius:0.3em;background:rgba(128,128,128,0.3)">'
        f'<div style="width:{100 * share:.1f}%;height:100%;border-radius:0.3em;background:#2a78d6"></div></div>'
        f"<div>{in_html(text)}</div></div>"
    )


def _notebook_update() -> Callable[[str], None] | None:
    """What replaces one output of the cell that runs, given its HTML; None where this is no notebook."""
    if "IPython" not in sys.modules:
        return None
    shell: Any = importlib.import_module("IPython").get_ipython()
    if getattr(shell, "kernel", None) is None:
        return None
    showing: Any = importlib.import_module("IPython.display")
    handle = showing.display(showing.HTML(""), display_id=True)
    return lambda content: handle.update(showing.HTML(content))


# --- the clock ---


@contextmanager
def _ticking(ticks: list[Callable[[], None]]) -> Iterator[None]:
    """Calls functions each second, from a thread that Ctrl-C does not reach, and once at the beginning."""
    over = threading.Event()

    def run() -> None:
        if hasattr(signal, "pthread_sigmask"):
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        for tick in ticks:
            tick()
        while not over.wait(KEPT_EVERY):
            for tick in ticks:
                tick()

    thread = threading.Thread(target=run, name="dlkit shows progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


class _Keeper:
    """Keeps the state in the run's folder."""

    def __init__(self, course: Course, folder: Path) -> None:
        self._course, self._folder = course, folder
        self._kept, self._when = State(), -BEAT

    def __call__(self) -> None:
        state, now = self._course.state, time.monotonic()
        if state != self._kept or now - self._when >= BEAT:
            keep(self._folder, state)
            self._kept, self._when = state, now


class _LogLines:
    """Says once a minute how far the run is."""

    def __init__(self, course: Course) -> None:
        self._course = course
        self._last = time.monotonic()

    def __call__(self) -> None:
        if time.monotonic() - self._last >= LOG_EVERY:
            self._last = time.monotonic()
            say(log_line(self._course.state, time.time()))


# --- what the runner reports to ---


class _Reporting(Course):
    """Keeps the course of a run, and shows what is said of it."""

    def __init__(self) -> None:
        super().__init__()
        self.shown: _Shown = _Nothing()

    def changed(self) -> None:
        self.shown.changed()

    def foreseeing(self, foresight: Foresight) -> None:
        for sentence in foresight.sentences:
            self.shown.say(sentence)

    def adding(self, blocks: Added) -> None:
        self.shown.say(added_blocks(blocks))

    def finishing(self) -> None:
        super().finishing()
        self.shown.say(INTERRUPTED, warning=True)

    def warn(self, sentence: str) -> None:
        self.shown.say(sentence, warning=True)

    def wrote(self, lines: str) -> None:
        self.shown.say(lines, warning=True)
