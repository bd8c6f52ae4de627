"""A notebook's kernel: the card below a cell, the bar while it runs, and what an interrupted cell leaves."""

from pathlib import Path
from typing import Any

import pytest

from tests.bench.notebook import outputs_of

SETUP = """
from dlkit import bench
budget = bench.Budget(steps=20, evaluations=2, tuning_points=2, tuning_seeds=1, studies=2, seeds=1)
inline = bench.Resources(executor="inline")
def compare(**changes):
    return bench.compare(**{"problems": ["quadratic"], "optimizers": ["sgd", "adam"], "budget": budget,
                            "resources": inline, **changes})
"""
LONG = """
long = bench.Budget(steps=20, evaluations=2, tuning_points=5000, tuning_seeds=1, studies=2, seeds=1)
print("begun", flush=True)
kept = compare(budget=long)
"""
CELLS = (
    SETUP,
    "result = compare()\nresult",
    LONG,
    "print(kept.interrupted, 0 < len(kept.trials()) < 20_000, kept.summary.missing > 0)\nkept",
    "print(compare(optimizers=['sgd', 'momentum']).summary.missing)",
)


def of_kind(outputs: list[dict[str, Any]], kind: str) -> list[dict[str, str]]:
    return [each["data"] for each in outputs if each["kind"] == kind]


def said(outputs: list[dict[str, Any]]) -> str:
    return "".join(each.get("text", "") for each in outputs)


@pytest.mark.long
def test_a_cell_shows_the_card_and_an_interrupted_one_keeps_what_is_done(tmp_path: Path) -> None:
    pytest.importorskip("ipykernel")
    _, first, interrupted, after, last = outputs_of(CELLS, tmp_path)

    (shown,) = of_kind(first, "execute_result")
    assert shown["text/plain"].startswith("<Result 'comparison': 1 problem, 2 contenders; 12 of 12 trials")
    card = shown["text/html"]
    assert "quadratic" in card and "suboptimality" in card and "<table" in card and "<script" not in card
    bars = [each["text/html"] for each in of_kind(first, "update_display_data")]
    assert "12/12 trials in " in bars[-1]  # the bar goes, and how long it took stays

    bars = [each["text/html"] for each in of_kind(interrupted, "update_display_data")]
    assert any("quadratic / sgd" in bar for bar in bars)
    (shown,) = of_kind(after, "execute_result")
    assert said(after) == "True True True\n" and "trials have run" in shown["text/html"]
    assert said(last).endswith("0\n")  # the kernel goes on
