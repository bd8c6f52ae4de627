"""`dlkit watch`: follows a run from another terminal. It reads what the run wrote, and never holds it up."""

import os
import shlex
import socket
import threading
import time
from pathlib import Path
from typing import NamedTuple

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from dlkit.bench.api import open_run
from dlkit.bench.errors import UserError
from dlkit.bench.examination.costs import duration
from dlkit.bench.execution.course import PROGRESS, State, kept
from dlkit.bench.execution.displays import bar_line, log_line
from dlkit.bench.report.terminal import More, answer_lines, print_lines, terminal
from dlkit.bench.store.database import FILE
from dlkit.bench.store.store import Store

__all__ = ["Watched", "look", "watch"]

EVERY = 1.0  # seconds between looks at how far the run is
ANSWER_EVERY = 5.0  # seconds between answers, at least
SHARE = 10.0  # times as long as an answer takes, the next one waits
LOG_EVERY = 60.0
SILENCE = 60.0  # seconds without a sign of life from another machine
NOTHING_YET = "Nothing to show yet: no trial has ended."


class Watched(NamedTuple):
    """How a run stands.

    Attributes:
        state: how far it has come, as it last said; None where no run goes on.
        silent: seconds since it last said so.
    """

    state: State | None
    silent: float

    @property
    def goes_on(self) -> bool:
        """Whether the run goes on: its process is there, or on another machine it said so within the last minute."""
        if self.state is None:
            return False
        if self.state.host != socket.gethostname():
            return self.silent < SILENCE
        try:
            os.kill(self.state.process, 0)
        except (ProcessLookupError, OverflowError):
            return False
        except PermissionError:  # somebody else's
            return True
        return True

    @property
    def ended(self) -> str:
        """How it ended, in words; empty where it took its leave."""
        if self.state is None:
            return ""
        where = "" if self.state.host == socket.gethostname() else f" on {self.state.host}"
        return f"The run{where} ended without a word {duration(self.silent)} ago: it was killed, or its machine was."


def look(run: Path) -> Watched:
    """Looks at how a run stands, without opening its store.

    Args:
        run: its folder.
    """
    try:
        silent = max(time.time() - (run / PROGRESS).stat().st_mtime, 0.0)
    except OSError:
        return Watched(None, 0.0)
    return Watched(kept(run), silent)


def watch(run: Path, /, *, once: bool = False) -> int:
    """Follow a run from another terminal: how far it is, what it trains, and the answer so far.

    It ends when the run ends, or with Ctrl-C, which leaves the run alone.

    Args:
        run: the run's folder, such as runs/quickstart.
        once: look once, and do not wait for the end.
    """
    if not (run / FILE).is_file():
        raise UserError(f"{run}: no run there (no {FILE}); give the folder that `dlkit run` names, once it has begun")
    console = terminal()
    try:
        found = look(run)
        leave = "" if found.goes_on else "No run goes on in this folder."
        if found.goes_on and not once:
            found = (
                _follow(run, console) if console.is_terminal and not console.is_dumb_terminal else _log(run, console)
            )
        elif found.goes_on and found.state is not None:
            print_lines(console, [Text(log_line(found.state, time.time())), Text()])
        print_lines(console, _answer(run, console.width))
        if not found.goes_on:
            print_lines(console, [Text(), Text(found.ended or leave or "The run has ended.")])
    except KeyboardInterrupt:
        pass
    return 0


def _answer(run: Path, width: int) -> list[Text]:
    """The answer so far."""
    try:
        summary = open_run(run).summary
    except UserError:
        with Store(run, write=False) as store:
            if store.software() is not None:  # something ran: this is no beginner's run
                raise
        return [Text(NOTHING_YET)]
    return answer_lines(summary, width, More.of(run))


class _Answering:
    """Answers anew, beside what is shown: it may take seconds, and only reads."""

    def __init__(self, run: Path, width: int) -> None:
        self.lines = [Text("Reading what has run ...")]
        self._run, self._width = run, width
        self._thread: threading.Thread | None = None
        self._seen, self._next = 0.0, 0.0

    def __call__(self) -> None:
        """Starts to, if the store has changed and the last answer is old enough."""
        if (self._thread and self._thread.is_alive()) or time.monotonic() < self._next:
            return
        try:
            changed = (self._run / FILE).stat().st_mtime
        except OSError:  # somebody deletes the run: the next look says that it has ended
            return
        if changed != self._seen:
            self._seen = changed
            self._thread = threading.Thread(target=self._compute, daemon=True)
            self._thread.start()

    def _compute(self) -> None:
        began = time.monotonic()
        try:
            self.lines = _answer(self._run, self._width)
        except UserError as error:
            self.lines = [Text(str(error), style="red")]
        now = time.monotonic()
        self._next = now + max(ANSWER_EVERY, SHARE * (now - began))


def _follow(run: Path, console: Console) -> Watched:
    """Shows a run in a terminal until it ends."""
    answering = _Answering(run, console.width)
    with Live(console=console, auto_refresh=False, transient=True) as live:
        while (found := look(run)).goes_on and found.state is not None:
            answering()
            lines, room = answering.lines, console.height - 4
            if len(lines) > room:
                rest = f"... {len(lines) - room + 1} more lines: dlkit show {shlex.quote(str(run))}"
                lines = [*lines[: max(room - 1, 0)], Text(rest, style="dim")]
            body = Text("\n").join(lines)
            body.no_wrap, body.overflow = True, "ignore"
            live.update(Group(bar_line(found.state, console.width), Text(), body), refresh=True)
            time.sleep(EVERY)
    return found


def _log(run: Path, console: Console) -> Watched:
    """Says once a minute how far a run is, until it ends."""
    said = -LOG_EVERY
    while (found := look(run)).goes_on and found.state is not None:
        if time.monotonic() - said >= LOG_EVERY:
            said = time.monotonic()
            print_lines(console, [Text(log_line(found.state, time.time()))])
        time.sleep(EVERY)
    return found
