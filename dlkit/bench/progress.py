"""Who hears how a run goes."""

from typing import Protocol

__all__ = ["Progress", "Silent"]


class Progress(Protocol):
    """Hears how a run goes."""

    def plan(self, trials: int, done: int) -> None:
        """How many trials there are, and how many of them the store has already."""

    def compiling(self, label: str) -> None:
        """A group starts on a worker."""

    def advance(self, label: str, trials: int) -> None:
        """Trials of a group have ended."""

    def ended(self, label: str) -> None:
        """A contender is through on a problem."""

    def timing(self, label: str) -> None:
        """The contenders of a problem are timed."""

    def say(self, text: str) -> None:
        """The run goes on in a way that was not known before, in a line."""

    def finishing(self) -> None:
        """Ctrl-C came: only the trials in hand are waited for."""


class Silent:
    """Says nothing."""

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

    def say(self, text: str) -> None:
        """Nothing to say."""

    def finishing(self) -> None:
        """Nothing to say."""
