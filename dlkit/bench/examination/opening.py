"""What is said before the first trial: what was looked at, what runs, how long it takes, what may be a mistake."""

import math
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from dlkit.bench.examination.costs import duration

if TYPE_CHECKING:
    from dlkit.bench.examination.ticks import Examination

__all__ = ["opening"]

WIDTH = 80
LINES = 8
FIRST = ("same program", "same data", "pairs", "starts", "gradients", "classes")  # notes that matter most, in order


def opening(examination: "Examination") -> tuple[str, ...]:
    """Returns a short page: lines that fit a terminal of 80 columns.

    Args:
        examination: of the plan that is about to run.

    Returns:
        About eight lines; a note is whole, which may take more, or counted.
    """
    found = examination
    if found.left == 0:
        return _wrapped(f"Runs    nothing: all {found.foresight.trials:,.0f} trials are stored already")
    lines = [
        *_wrapped(f"Checked {_checked(found)}"),
        *_wrapped(f"Runs    {_runs(found)}"),
        *_wrapped(f"Takes   {_takes(found)}"),
        *_wrapped(f"Tells   {found.sentences[0].rstrip('.')}"),
    ]
    return (*lines, *_notes(found, LINES - len(lines)))


def _wrapped(text: str) -> tuple[str, ...]:
    return tuple(textwrap.wrap(text, WIDTH, subsequent_indent=" " * 8, break_long_words=False, break_on_hyphens=False))


def _checked(found: "Examination") -> str:
    """What was looked at, and what was found."""
    looks = [tick for tick in found.ticks if tick.right is not None and tick.subject != "conclusion"]
    notes = len(found.own_notes)
    if not looks and not notes:
        return "all that runs is registered: there is nothing of your own to look at"
    right = sum(tick.right is True for tick in looks)
    seen = f"your own code and data: {right} of {len(looks)} looks found all well"
    return f"{seen}, and {notes} note{'s' * (notes != 1)}" if notes else seen


def _runs(found: "Examination") -> str:
    """How many trials, and how many of them are there."""
    trials = found.foresight.trials
    problems = f"{found.problems} problem{'s' * (found.problems != 1)}"
    contenders = f"{found.contenders} contender{'s' * (found.contenders != 1)}"
    if math.isnan(trials):
        return f"{problems} and {contenders}, as many trials as there is time for"
    stored = f", {found.stored:,} stored already" if found.stored else ""
    steps = f", {found.foresight.steps:,.0f} steps" if math.isfinite(found.foresight.steps) else ""
    return f"{problems} and {contenders}: {trials:,.0f} trials{stored}{steps}"


def _takes(found: "Examination") -> str:
    """How long, and how much memory."""
    if found.cost.text:
        return found.cost.text
    if math.isnan(found.rough):
        return "a time that was not measured; the bar tells it once trials have ended"
    workers = f"{found.cost.workers} worker{'s' * (found.cost.workers != 1)}"
    return f"roughly {duration(found.rough)} of training on {workers}, beside start and compilation"


def _notes(found: "Examination", room: int) -> list[str]:
    """As many notes as there is room for, each whole; the others are counted."""
    notes = sorted(found.own_notes, key=lambda tick: FIRST.index(tick.subject) if tick.subject in FIRST else len(FIRST))
    texts = [f"Note    {tick.sentence}" for tick in notes]
    texts += [f"Note    {sentence}" for sentence in found.sentences[2:]]
    return _fitting(texts, max(room, 3))


def _fitting(texts: Sequence[str], room: int) -> list[str]:
    lines = list[str]()
    for i, text in enumerate(texts):
        wrapped = _wrapped(text)
        rest = len(texts) - i
        if lines and len(lines) + len(wrapped) > room - (rest > 1):
            return [*lines, f"        {rest} more note{'s' * (rest != 1)}: dlkit check, or bench.check, shows them"]
        lines += wrapped
    return lines
