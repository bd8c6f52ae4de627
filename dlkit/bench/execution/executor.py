"""Executors run tasks on numbered slots. The simplest one has one slot: this process."""

from collections.abc import Callable
from typing import Protocol

from dlkit.bench.errors import UserError
from dlkit.bench.execution.work import Done, Task, Timed, forget_programs

__all__ = ["Executor", "InlineExecutor", "Workers"]


class Executor(Protocol):
    """Runs tasks on numbered slots, one at a time on each. A slot keeps the programs it compiled."""

    slots: int

    def submit(self, slot: int, work: Task) -> None:
        """Starts a task on a free slot."""

    def next(self) -> tuple[int, Done | Timed | UserError]:
        """Waits for the next slot that ends its task; an error means that its worker returned nothing."""

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

    def close(self) -> None:
        """Ends the executor, if it was started."""
        if self._executor is not None:
            self._executor.close()


class InlineExecutor:
    """Runs tasks in this process, one at a time."""

    slots = 1

    def __init__(self, memory: int | None = None) -> None:
        self._work: Task | None = None
        self._memory = memory
        self._ran_own = False

    def submit(self, slot: int, work: Task) -> None:
        """Keeps the task until `next` runs it."""
        self._work = work.within(self._memory)
        self._ran_own |= work.problem.own is not None

    def next(self) -> tuple[int, Done | Timed | UserError]:
        """Runs the task that `submit` kept."""
        assert self._work is not None
        try:
            return 0, self._work.run()
        except UserError as error:
            return 0, error

    def close(self) -> None:
        """Drops the programs of the user's own problems, with their data: the next run traces these functions anew."""
        if self._ran_own:
            forget_programs()
