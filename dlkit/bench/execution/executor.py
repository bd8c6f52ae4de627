"""Executors run tasks on numbered slots. The simplest one has one slot: this process."""

from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple, Protocol

from dlkit.bench.errors import UserError
from dlkit.bench.execution.work import Done, Task, Timed, Work, forget_own_programs, prepare_process
from dlkit.bench.machine.boundary import ask_to_stop, forget_to_stop, is_asked_to_stop
from dlkit.bench.machine.interrupts import first_interrupt
from dlkit.bench.spec.bound_plan import OwnProblem, ProblemSource

__all__ = ["Executor", "InlineExecutor", "Introduction", "Lost", "Workers", "programs_of"]


class Lost(NamedTuple):
    """What an executor says of a slot whose worker ended, or was ended, before it answered; a new one takes its place.

    Attributes:
        reason: how it ended, in words that can follow "its worker".
        trial: the id of the trial in hand; None if nobody knows, or no trial had begun.
        kind: ``"died"``; ``"hung"``: the trial in hand trained for far longer than it may, and was ended;
            ``"never began"``: it was prepared for so long that its worker was ended.
    """

    reason: str
    trial: str | None = None
    kind: Literal["died", "hung", "never began"] = "died"


class Executor(Protocol):
    """Runs tasks on numbered slots, one at a time on each. A slot keeps the programs it compiled."""

    slots: int

    def submit(self, slot: int, work: Task) -> None:
        """Starts a task on a free slot."""

    def next(self) -> tuple[int, Done | Timed | UserError | Lost]:
        """Waits for the next slot that ends its task; an error means that its worker returned nothing.

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


class Introduction(NamedTuple):
    """A task that trains nothing: a worker says what its programs are."""

    @property
    def problem(self) -> ProblemSource:
        """No problem."""
        return ProblemSource("", "", "", (), ())

    def with_own(self, own: OwnProblem | None) -> "Introduction":
        """Returns the task as it is."""
        return self

    def within(self, memory: int | None) -> "Introduction":
        """Returns the task as it is."""
        return self

    def run(self) -> Done:
        """Prepares this process to train."""
        return Done((), prepare_process())


def programs_of(executor: Executor) -> list[Mapping[str, str]]:
    """Returns the identity of each slot's programs.

    Raises:
        UserError: if a worker cannot train.
    """
    for slot in range(executor.slots):
        executor.submit(slot, Introduction())
    programs = {}
    for _ in range(executor.slots):
        slot, done = executor.next()
        if isinstance(done, UserError):
            raise done
        if isinstance(done, Lost):
            raise UserError(f"a worker {done.reason} before it could say what it runs")
        programs[slot] = done.program
    return [programs[slot] for slot in sorted(programs)]


class InlineExecutor:
    """Runs tasks in this process, one at a time."""

    slots = 1

    def __init__(self, memory: int | None = None) -> None:
        self._work: Task | None = None
        self._memory = memory

    def submit(self, slot: int, work: Task) -> None:
        """Keeps the task until `next` runs it."""
        self._work = work.within(self._memory)

    def next(self) -> tuple[int, Done | Timed | UserError | Lost]:
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
