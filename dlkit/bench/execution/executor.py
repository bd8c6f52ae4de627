"""Executors: what runs tasks on numbered slots. This process is the simplest one."""

from collections.abc import Callable
from typing import Protocol

from dlkit.bench.errors import UserError
from dlkit.bench.execution.work import Done, Task, Timed

__all__ = ["Executor", "InlineExecutor", "Workers"]


class Executor(Protocol):
    """Runs works on numbered slots, one at a time on each; a slot keeps what it compiled."""

    slots: int

    def submit(self, slot: int, work: Task) -> None:
        """Starts a work on a free slot."""

    def next(self) -> tuple[int, Done | Timed | UserError]:
        """Waits for the next slot that is done; an error stands for a worker that could not return anything."""

    def close(self) -> None:
        """Ends the workers, and whatever still runs on them."""


class Workers:
    """The executor of a run: started when there is something to do, and kept for all its rounds."""

    def __init__(self, make: Callable[[], Executor]) -> None:
        self._make = make
        self._executor: Executor | None = None

    def start(self) -> Executor:
        """Returns the executor, started by now."""
        if self._executor is None:
            self._executor = self._make()
        return self._executor

    def close(self) -> None:
        """Ends it, if there is one."""
        if self._executor is not None:
            self._executor.close()


class InlineExecutor:
    """Runs everything in this process, one work at a time."""

    slots = 1

    def __init__(self, memory: int | None = None) -> None:
        self._work: Task | None = None
        self._memory = memory

    def submit(self, slot: int, work: Task) -> None:
        """Keeps the work until `next` runs it."""
        self._work = work.within(self._memory)

    def next(self) -> tuple[int, Done | Timed | UserError]:
        """Runs the work."""
        assert self._work is not None
        try:
            return 0, self._work.run()
        except UserError as error:
            return 0, error

    def close(self) -> None:
        """Nothing to end."""
