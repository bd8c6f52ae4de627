"""The progress of a run: what the runner reports."""

import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Protocol

from dlkit.bench.analysis.foresight import Foresight
from dlkit.bench.analysis.settling import Added
from dlkit.bench.escapes import visible

__all__ = ["Listener", "Silent", "added_blocks", "say"]


def say(sentence: str) -> None:
    """Says something on the standard error, on a line of its own; a run goes on if nobody can hear it."""
    if sys.stderr is not None:
        with suppress(OSError, ValueError):  # nobody reads it, or it is closed
            print(visible(sentence, keep="\n"), file=sys.stderr)  # noqa: T201


class Listener(Protocol):
    """Hears how a run goes, and shows it or not."""

    def plan(self, trials: int, done: int) -> None:
        """How many trials the run has, as far as is known, and how many of them have ended."""

    def workers(self, count: int) -> None:
        """How many workers share what is left."""

    def weighing(self, weights: Mapping[str, float]) -> None:
        """Problem -> seconds that one of its trials usually takes, where that is known; their ratios count."""

    def expecting(self, label: str, trials: int) -> None:
        """How many trials are left of a contender on a problem, as far as is known."""

    def compiling(self, label: str) -> None:
        """A worker starts to compile the programs of a contender on a problem."""

    def advance(self, label: str, trials: int) -> None:
        """Some trials have ended."""

    def took(self, label: str, trials: int, seconds: float, training: float) -> None:
        """How long some trials took one worker, and how much of that was training."""

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

    def summing(self) -> None:
        """All that is to run has run; what came of it is summed up."""

    def warn(self, sentence: str) -> None:
        """Something that whoever reads the numbers has to know."""

    def wrote(self, lines: str) -> None:
        """What a worker has printed, each line with the worker's name; and what is to be known of workers."""


class Silent:
    """Says nothing but warnings and what workers print, on the standard error."""

    def plan(self, trials: int, done: int) -> None:
        """Nothing to say."""

    def workers(self, count: int) -> None:
        """Nothing to say."""

    def weighing(self, weights: Mapping[str, float]) -> None:
        """Nothing to say."""

    def expecting(self, label: str, trials: int) -> None:
        """Nothing to say."""

    def compiling(self, label: str) -> None:
        """Nothing to say."""

    def advance(self, label: str, trials: int) -> None:
        """Nothing to say."""

    def took(self, label: str, trials: int, seconds: float, training: float) -> None:
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

    def summing(self) -> None:
        """Nothing to say."""

    def warn(self, sentence: str) -> None:
        """Says it on a line of its own."""
        say(sentence)

    def wrote(self, lines: str) -> None:
        """Says them on lines of their own."""
        say(lines)


def added_blocks(blocks: Added) -> str:
    """Returns a line: how many studies or seeds a problem has, and who gets how many more."""
    whom = f" to {', '.join(blocks.in_question)}" if blocks.resting else ""
    return f"{blocks.problem}: {blocks.blocks} {blocks.unit}, not settled; adding {blocks.added}{whom}"
