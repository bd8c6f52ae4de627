"""Executors run tasks on numbered slots. The simplest one has one slot: this process."""

from collections.abc import Callable, Collection, Mapping
from typing import Literal, NamedTuple, Protocol

from dlkit.bench.errors import UserError
from dlkit.bench.execution.progress import say
from dlkit.bench.execution.work import Done, Task, Timed, Work, forget_own_programs
from dlkit.bench.machine.boundary import ask_to_stop, forget_to_stop, is_asked_to_stop
from dlkit.bench.machine.interrupts import first_interrupt

__all__ = ["KEPT", "Changed", "Executor", "InlineExecutor", "Kind", "Lost", "Workers", "answer_of"]

KEPT = "what is finished is kept: run the same command again"
Kind = Literal["died", "hung", "never began", "left"]


class Lost(NamedTuple):
    """What an executor says of a slot whose worker ended, or was ended, before it answered; a new one takes its place.

    Attributes:
        reason: how it ended, in words that can follow "its worker".
        trial: the id of the trial in hand; None if nobody knows, or no trial had begun.
        kind: ``"died"``; ``"hung"``: the trial in hand trained for far longer than it may, and was ended;
            ``"never began"``: it was prepared for so long that its worker was ended; ``"left"``: it was taken away, as
            by a batch system, and no trial has a part in that.
    """

    reason: str
    trial: str | None = None
    kind: Kind = "died"


class Changed(NamedTuple):
    """What an executor says when workers have come or gone, beside the one that had a task, if any.

    Attributes:
        sentence: what there is to say of it; empty for nothing.
    """

    sentence: str = ""


class Executor(Protocol):
    """Runs tasks on numbered slots, one at a time on each. A slot keeps the programs it compiled.

    Attributes:
        slots: how many there are.
        vacant: those that have no worker any more, and get no task.
        program: what the programs of workers elsewhere are; None for workers that are as this process.
    """

    @property
    def slots(self) -> int:
        """How many there are."""

    @property
    def vacant(self) -> Collection[int]:
        """Those that have no worker any more."""

    @property
    def program(self) -> Mapping[str, str] | None:
        """What the programs of workers elsewhere are."""

    def submit(self, slot: int, work: Task) -> None:
        """Starts a task on a free slot."""

    def next(self) -> "tuple[int, Done | Timed | UserError | Lost | Changed]":
        """Waits for the next slot that ends its task; an error means that its worker returned nothing.

        Where workers come and go, it returns that, too, with no slot.

        The slot is free then, also where its worker was lost.

        Raises:
            KeyboardInterrupt: once, for the first Ctrl-C, so that it costs no answer.
            UserError: if nothing can run any more.
        """

    def close(self) -> None:
        """Ends the workers, and whatever still runs on them."""


class Workers:
    """The executor of a run: it starts with the first task and stays for all rounds."""

    def __init__(self, make: Callable[[], Executor]) -> None:
        self._make = make
        self._executor: Executor | None = None

    def start(self) -> Executor:
        """Returns the executor; starts it if this is the first call."""
        if self._executor is None:
            self._executor = self._make()
        return self._executor

    def close(self) -> str:
        """Ends the executor, if it was started; returns what went wrong with that, which no result depends on."""
        if self._executor is None:
            return ""
        try:
            self._executor.close()
        except Exception as error:
            return f"the workers could not be shut down: {type(error).__name__}: {error}; what is finished is kept"
        return ""


def answer_of(executor: Executor, task: Task) -> Done | Timed | UserError | Lost:
    """Returns what comes of a task that runs while everything else rests; where its worker leaves, on another one.

    Raises:
        KeyboardInterrupt: if Ctrl-C came; the executor must be closed then.
        UserError: if nothing can run any more.
    """
    is_given = False
    while True:
        free = [slot for slot in range(executor.slots) if slot not in executor.vacant]
        if free and not is_given:
            executor.submit(free[0], task)
            is_given = True
        _, answer = executor.next()
        if isinstance(answer, Changed):
            if answer.sentence:
                say(answer.sentence)
        elif isinstance(answer, Lost) and answer.kind == "left":
            is_given = False
        else:
            return answer


class InlineExecutor:
    """Runs tasks in this process, one at a time."""

    slots = 1
    vacant: Collection[int] = ()
    program: Mapping[str, str] | None = None

    def __init__(self, memory: int | None = None) -> None:
        self._work: Task | None = None
        self._memory = memory

    def submit(self, slot: int, work: Task) -> None:
        """Keeps the task until `next` runs it."""
        self._work = work.within(self._memory)

    def next(self) -> tuple[int, Done | Timed | UserError | Lost | Changed]:
        """Runs the task that `submit` kept."""
        assert self._work is not None
        try:
            if not isinstance(self._work, Work):
                return 0, self._work.run()
            with first_interrupt(ask_to_stop):  # a trial stops between two calls, where it can be kept
                done = self._work.run()
            return 0, done._replace(interrupted=done.interrupted or is_asked_to_stop())
        except UserError as error:
            return 0, error
        finally:
            forget_to_stop()

    def close(self) -> None:
        """Drops what was compiled of the user's own, with its data: the next run traces these functions anew."""
        forget_own_programs()
