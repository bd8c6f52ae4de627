"""A tick, and the page of them: what was looked at before the first trial, and what was found."""

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from dlkit.bench.analysis.foresight import Foresight
from dlkit.bench.errors import UserError, said_once
from dlkit.bench.examination.costs import Cost
from dlkit.bench.identity.places import at

__all__ = ["Examination", "Tick"]

FORESEEN = ("conclusion", "cost", "time", "contenders", "leaks")  # of the foresight and the cost
MOST_LETTERS = 1000  # of what is said in one line
MARKS = {True: "ok   ", False: "WRONG", None: "     "}


class Tick(NamedTuple):
    """What one look at an experiment showed.

    Attributes:
        subject: what was looked at.
        text: what was found, in words.
        right: whether it is as it should be; None for a note, where nothing has to be wrong.
        owner: whose it is: ``"problem 'mine'"``, ``"optimizer 'mine'"``, ``"dataset 'x'"``.
        place: the user's file and line, such as ``"study.py:41"``; empty where there is none.
        remedy: what to do; empty where there is nothing to do.
    """

    subject: str
    text: str
    right: bool | None = None
    owner: str = ""
    place: str = ""
    remedy: str = ""

    @property
    def sentence(self) -> str:
        """What was found, whose it is, where, and what to do."""
        remedy = f"; {self.remedy}" if self.remedy else ""
        return f"{self.owner}{': ' if self.owner else ''}{self.text}{remedy}{at(self.place)}"


@dataclass(frozen=True)
class Examination:
    """What is known of an experiment before it runs. Printing it shows a page of ticks.

    Attributes:
        ticks: what was looked at, and what was found.
        foresight: what the experiment can tell and what it costs, as numbers and in words.
        cost: how long it takes, where that was measured.
        work: what would run, a line for each contender on each problem, and how much of it is stored already.
        problems: how many there are.
        contenders: how many there are; not all need run on every problem.
        stored: how many trials are there already.
        left: the share of the trials that have not run.
        rough: seconds that are left, from what the catalogue says its problems take; NaN where it does not know one.
    """

    ticks: Sequence[Tick]
    foresight: Foresight
    cost: Cost
    work: Sequence[str] = ()
    problems: int = 1
    contenders: int = 2
    stored: int = 0
    left: float = 1.0
    rough: float = math.nan

    @property
    def right(self) -> bool:
        """Whether nothing is wrong; notes are nothing wrong."""
        return not self.failed

    @property
    def failed(self) -> list[Tick]:
        """The ticks that are wrong."""
        return [tick for tick in self.ticks if tick.right is False]

    @property
    def notes(self) -> list[Tick]:
        """What may be meant, and may be a mistake."""
        return [tick for tick in self.ticks if tick.right is None]

    @property
    def own_notes(self) -> list[Tick]:
        """The notes on one's own functions and data."""
        return [tick for tick in self.notes if tick.subject not in FORESEEN]

    @property
    def sentences(self) -> tuple[str, ...]:
        """What the experiment can tell, what it costs, and what splits of own data share."""
        return self.foresight.sentences

    def require_right(self) -> None:
        """Refuses to go on with what is wrong.

        Raises:
            UserError: with every tick that is wrong, and how to run all the same.
        """
        if self.failed:
            lines = said_once(tick.sentence for tick in self.failed)
            raise UserError("\n".join([*lines, "nothing was trained; check=False (--no-check) runs it all the same"]))

    def __repr__(self) -> str:
        wrong = "; ".join(tick.sentence for tick in self.failed)
        found = f"{len(self.failed)} wrong: {wrong}" if wrong else "nothing wrong"
        shown = found if len(found) < MOST_LETTERS else f"{len(self.failed)} wrong; print it to see what"
        return f"<Examination of {len(self.ticks)} ticks, {shown}>"

    def _repr_html_(self) -> str:
        return f'<pre style="white-space:pre-wrap">{html.escape(str(self))}</pre>'

    def __str__(self) -> str:
        return "\n".join(f"{MARKS[tick.right]} {tick.subject}: {tick.sentence}" for tick in _said_once(self.ticks))


def _said_once(ticks: Sequence[Tick]) -> list[Tick]:
    """Ticks, those that are wrong in the same way of several owners as one."""
    owners: dict[Tick, list[str]] = {}
    for tick in ticks:
        owners.setdefault(tick._replace(owner="") if tick.right is False else tick, []).append(tick.owner)
    return [
        tick._replace(owner=", ".join(each.removesuffix(":") for each in said_once(f"{name}:" for name in names)))
        for tick, names in owners.items()
    ]
