"""How far a run has come, as whoever shows it wants to know: counts, what runs, how long it goes on, in one line."""

import contextlib
import json
import math
import os
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from dlkit.bench.doors import read_plain, whole_file
from dlkit.bench.examination.costs import duration
from dlkit.bench.execution.progress import Silent
from dlkit.bench.execution.time_left import TimeLeft

__all__ = ["PROGRESS", "Course", "State", "forget", "keep", "kept"]

MOST_BYTES = 2**22  # of the file below
PROGRESS = "progress.json"  # in the run folder, for as long as the run goes on
STARTING = "starting workers"


class State(NamedTuple):
    """How far a run has come.

    Attributes:
        planned: trials, as far as is known; None before that is known.
        done: of these.
        compiling: contenders on problems whose programs are compiled now.
        training: those whose trials run now.
        note: what else goes on; empty where nothing does.
        seconds: until the last trial ends; NaN where nothing tells.
        is_guess: whether problems of which no trial has ended are among these.
        host: the machine.
        process: its number there.
        at: when this was so, in seconds since 1970.
    """

    planned: int | None = None
    done: int = 0
    compiling: tuple[str, ...] = ()
    training: tuple[str, ...] = ()
    note: str = STARTING
    seconds: float = math.nan
    is_guess: bool = False
    host: str = ""
    process: int = 0
    at: float = 0.0

    @property
    def share(self) -> float:
        """The share of the trials that have ended."""
        return min(self.done / self.planned, 1.0) if self.planned else 0.0

    @property
    def counted(self) -> str:
        """How many trials have ended, in words."""
        return "" if self.planned is None else f"{self.done:,}/{self.planned:,} trials"

    def left(self, now: float | None = None) -> str:
        """Returns how long it goes on, in words; ~ where part of it is a guess, empty where nothing tells.

        Args:
            now: seconds since 1970; None for this moment.
        """
        if math.isnan(self.seconds) or self.note:
            return ""
        rest = self.seconds - ((time.time() if now is None else now) - self.at)
        if rest <= 0:  # it takes longer than was thought: no number is better than a wrong one
            return ""
        return f"{'~' * self.is_guess}{duration(rest)} left"

    def what(self, room: float = math.inf) -> str:
        """Returns what goes on, in at most so many characters: names are whole, or only counted."""
        if self.note:
            return self.note if len(self.note) <= room else ""
        each = [f"compiling {label}" for label in self.compiling] + [f"training {label}" for label in self.training]
        if not each:
            return ""
        more = len(each) - 1
        bare = [*self.compiling, *self.training]
        forms = [", ".join(each)]
        forms += [f"{name} +{more}" if more else name for name in (each[-1], bare[-1])]
        forms += [f"{len(each)} at work"]
        return next((form for form in forms if len(form) <= room), "")


class Course(Silent):
    """Hears how a run goes and keeps what is known of it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._time_left = TimeLeft()
        self._planned: int | None = None
        self._done = 0
        self._compiling: dict[str, None] = {}
        self._training: dict[str, None] = {}
        self._note = STARTING
        self._is_ending = False
        self._at = time.time()

    @property
    def state(self) -> State:
        """How far the run has come."""
        with self._lock:
            found = self._time_left.estimate()
            return State(
                self._planned,
                self._done,
                tuple(self._compiling),
                tuple(self._training),
                self._note,
                found.seconds,
                found.is_guess,
                socket.gethostname(),
                os.getpid(),
                self._at,
            )

    def plan(self, trials: int, done: int) -> None:
        """Counts anew."""
        with self._heard():
            self._planned, self._done = trials, done
            if trials == done:
                self._note = "nothing left to train"

    def workers(self, count: int) -> None:
        """Shares what is left among so many."""
        with self._heard():
            self._time_left.workers = count

    def weighing(self, weights: Mapping[str, float]) -> None:
        """Keeps what is known of problems that have not begun."""
        with self._heard():
            self._time_left.weights = weights

    def expecting(self, label: str, trials: int) -> None:
        """Keeps how many trials are left of a contender on a problem."""
        with self._heard():
            self._time_left.expect(label, trials)

    def compiling(self, label: str) -> None:
        """A worker compiles."""
        with self._heard():
            self._go_on()
            self._compiling[label] = None
            self._training.pop(label, None)

    def took(self, label: str, trials: int, seconds: float, training: float) -> None:
        """Learns how long trials take."""
        with self._heard():
            self._time_left.took(label, trials, seconds, training)

    def advance(self, label: str, trials: int) -> None:
        """Counts trials that have ended."""
        with self._heard():
            self._go_on()
            self._compiling.pop(label, None)
            self._training[label] = None
            self._done += trials

    def ended(self, label: str) -> None:
        """A contender on a problem is through."""
        with self._heard():
            self._compiling.pop(label, None)
            self._training.pop(label, None)

    def timing(self, label: str) -> None:
        """Contenders are timed."""
        with self._heard():
            self._note = label.replace(" / timing", ": timing steps")

    def finishing(self) -> None:
        """Ctrl-C came."""
        with self._heard():
            self._note, self._is_ending = "finishing the trials in hand", True

    def summing(self) -> None:
        """What came of the run is summed up."""
        with self._heard():
            self._note = "summing up"

    def _go_on(self) -> None:
        """Trials run, so that nothing else is said; after Ctrl-C they are the last ones."""
        self._note = self._note if self._is_ending else ""

    def changed(self) -> None:
        """Something has changed."""

    @contextlib.contextmanager
    def _heard(self) -> Iterator[None]:
        with self._lock:
            yield
            self._at = time.time()
        self.changed()


# --- the file beside the store ---


def keep(folder: Path, state: State) -> None:
    """Writes a state into a run folder, whole or not at all; where it cannot be written, nobody can follow the run."""
    with contextlib.suppress(OSError), whole_file(folder / PROGRESS, "w") as file:
        json.dump(state._asdict(), file)


def kept(folder: Path) -> State | None:
    """Returns the state that a run folder has; None where no run goes on."""
    try:
        found: dict[str, Any] = json.loads(read_plain(folder / PROGRESS, MOST_BYTES))
        state = State(**{**found, **{name: tuple(found[name]) for name in ("compiling", "training")}})
        return state if _is_sound(state) else None
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None


def _is_sound(state: State) -> bool:
    """Whether each field is of its kind: somebody else may have written the file."""
    texts = [*state.compiling, *state.training, state.note, state.host]
    numbers = [state.seconds, state.at]
    counts = [0 if state.planned is None else state.planned, state.done, state.process]
    are_kinds = all(isinstance(each, str) for each in texts) and isinstance(state.is_guess, bool)
    are_kinds &= all(type(each) in (int, float) for each in numbers) and all(type(each) is int for each in counts)
    return are_kinds and all(0 <= each < 2**31 for each in counts) and not any(abs(each) > 1e15 for each in numbers)


def forget(folder: Path) -> None:
    """Removes it: the run does not go on."""
    with contextlib.suppress(OSError):
        (folder / PROGRESS).unlink(missing_ok=True)
