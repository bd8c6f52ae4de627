"""The picture of the first screen: how far behind the leader every contender is on every problem, with intervals."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from dlkit.bench.analysis.answer import Answer
from dlkit.bench.analysis.answer_rows import Row
from dlkit.bench.report.page.looks import Look
from dlkit.bench.stats import Interval

__all__ = ["Mark", "Picture", "PictureRow", "picture"]

HEIGHT = 380  # pixels that all rows together should not exceed
WIDEST, NARROWEST = 10.0, 2.4  # pixels from one contender's line to the next
MARGIN = 8.0  # pixels above the first line and below the last
LEAST, MOST = 0.0, 1.5  # of scores: an interval that goes on is cut, with an arrow


class Mark(NamedTuple):
    """A contender on a problem.

    Attributes:
        look: the contender's.
        title: its name and numbers.
        place: as of `answer.Cell.place`.
        y: pixels from the top.
        x: percent of the width.
        low: of the interval's lower end; equal to `x` where there is no interval.
        high: of its upper end.
        goes_on_low: whether the interval goes on beyond the picture.
        goes_on_high: the same at the upper end.
    """

    look: Look
    title: str
    place: str
    y: float
    x: float
    low: float
    high: float
    goes_on_low: bool
    goes_on_high: bool


class PictureRow(NamedTuple):
    """A problem.

    Attributes:
        number: its place in the plan.
        name: the problem's.
        kind: of verdict.
        sentence: who leads.
        marks: of contenders with a score.
        height: pixels.
    """

    number: int
    name: str
    kind: str
    sentence: str
    marks: Sequence[Mark]
    height: float


class Picture(NamedTuple):
    """All problems.

    Attributes:
        rows: one a problem.
        leader: percent of the width at which the leader of each problem lies.
    """

    rows: Sequence[PictureRow]
    leader: float


def picture(answer: Answer, looks: Mapping[str, Look]) -> Picture:
    """Returns the picture: a line a contender in every row, the best over all problems on top.

    Args:
        answer: of the run.
        looks: how each contender looks.
    """
    lines = max(len(answer.contenders), 1)
    room = HEIGHT / max(len(answer.rows), 1) - 2 * MARGIN
    apart = min(max(room / lines, NARROWEST), WIDEST)
    scores = [cell.score for row in answer.rows for cell in row.cells.values() if cell.score is not None]
    ends = [end for score in scores for end in (score.low, score.high) if math.isfinite(end)]
    low = LEAST - 0.04
    high = min(max([1.05, *ends]), MOST) + 0.04
    rows = []
    for number, row in enumerate(answer.rows):
        marks = _marks(answer.contenders, row, looks, (low, high), apart)
        height = 2 * MARGIN + 2 + (apart * (lines - 1) if marks else 0)
        rows.append(PictureRow(number, row.name, row.kind, row.sentence, marks, round(height, 1)))
    return Picture(rows, _percent(1.0, low, high))


def _marks(
    contenders: Sequence[str], row: Row, looks: Mapping[str, Look], ends: tuple[float, float], apart: float
) -> list[Mark]:
    """The contenders of a row that have a score; the first is drawn last, above the others."""
    marks = []
    for line, label in enumerate(contenders):
        cell = row.cells.get(label)
        if cell is None or cell.score is None or not math.isfinite(cell.score.estimate):
            continue
        low, high = _interval(cell.score)
        x, left, right = (_percent(value, *ends) for value in (cell.score.estimate, low, high))
        y, title = round(MARGIN + 1 + line * apart, 1), f"{label}: {cell.text}"
        marks.append(Mark(looks[label], title, cell.place, y, x, left, right, low < ends[0], high > ends[1]))
    return marks[::-1]


def _interval(score: Interval) -> tuple[float, float]:
    """The ends of an interval; without one, or where neither end is known, the estimate."""
    is_known = math.isfinite(score.low) or math.isfinite(score.high)
    return (score.low, score.high) if is_known else (score.estimate, score.estimate)


def _percent(value: float, low: float, high: float) -> float:
    """Where a value lies between two ends, in percent; beyond them, at the end."""
    return round(100 * min(max((value - low) / (high - low), 0.0), 1.0), 2)
