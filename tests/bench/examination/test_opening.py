"""The page before the first trial: short, and nothing on it is cut."""

import math
from typing import Any

import pytest

from dlkit import bench
from dlkit.bench.analysis.foresight import Foresight
from dlkit.bench.examination.costs import Cost
from dlkit.bench.examination.opening import opening
from dlkit.bench.examination.ticks import Examination, Tick

TELLS = "2 contenders and 6 studies: methods can be told apart (it takes 6 studies at least)."
FORESIGHT = Foresight(2, 6, 6, "methods", 120.0, 48_000.0, (TELLS, "Cost: 1 problem."))
RIGHT = Tick("loss", "problem 'mine': finite", True)
NOTE = "every seed begins at the same parameters " + "and so on " * 12


def page(ticks: Any = (), **more: Any) -> str:
    given = {"foresight": FORESIGHT, "cost": Cost(workers=2), **more}
    lines = opening(Examination(list(ticks), **given))
    assert len(lines) <= 10 and all(len(line) <= 80 for line in lines)
    return " ".join(" ".join(lines).split())


def test_it_says_what_runs_how_long_and_what_can_be_told() -> None:
    text = page(cost=Cost(400.0, "mine", 0.6, 2e9, 2), problems=3, contenders=2, stored=7)
    assert "3 problems and 2 contenders: 120 trials, 7 stored already, 48,000 steps" in text
    assert "about 7 min of training on 2 workers, 60% of it for problem 'mine'; about 2.00 GB of memory in each" in text
    assert TELLS.rstrip(".") in text and "nothing of your own to look at" in text


@pytest.mark.parametrize(
    ("rough", "words"), [(30.0, "roughly 30 s of training on 2 workers"), (math.nan, "not measured")]
)
def test_a_time_that_was_not_measured_is_not_told_as_if_it_was(rough: float, words: str) -> None:
    assert words in page(rough=rough)


def test_notes_are_whole_or_counted_and_the_gravest_comes_first() -> None:
    notes = [
        Tick("says", f"your code {NOTE}"),
        Tick("same program", f"it calls time.time {NOTE}"),
        Tick("starts", NOTE),
    ]
    text = page([RIGHT, *notes])
    assert "1 of 1 looks found all well, and 3 notes" in text
    assert text.index("it calls time.time") < text.index("2 more notes: dlkit check") and "your code" not in text
    assert NOTE.strip() in text


def test_a_short_note_leaves_room_for_another() -> None:
    text = page([Tick("says", "your code prints"), Tick("starts", "seeds begin alike")])
    assert "seeds begin alike" in text and "your code prints" in text and "more note" not in text


def test_nothing_left_is_a_line() -> None:
    assert page(left=0.0) == "Runs nothing: all 120 trials are stored already"


def test_a_plan_has_a_page() -> None:
    found = bench.check("quadratic", "sgd", "adam", budget=bench.Budget(steps=20, evaluations=2, studies=2))
    assert "Runs 1 problem and 2 contenders" in " ".join(" ".join(opening(found)).split()) and found.rough > 0
