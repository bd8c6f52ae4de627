"""A comparison in which a contender runs on one of two problems, from the call to every number; a cell added later."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dlkit import bench
from dlkit.bench.report.terminal import text_of

INLINE = bench.Resources(executor="inline")
BUDGET = bench.Budget(steps=8, evaluations=2, studies=1, tuning_points=2, tuning_seeds=1, seeds=2)
ASKED: dict[str, Any] = {
    "problems": [bench.ProblemChoice(problem="quadratic", label=label) for label in ("bowl", "cup")],
    "budget": BUDGET,
    "resources": INLINE,
    "progress": False,
}
ADAM = bench.Contender(optimizer="adam")
SGD = bench.Contender(optimizer="sgd")
EACH = 2 + 2  # trials: points, then fresh seeds


def rows(result: bench.Result) -> list[tuple[str, str]]:
    table = result.table()
    return sorted(zip(table["problem"], table["optimizer"], strict=True))


@pytest.mark.long
def test_a_contender_on_one_problem_of_two_and_its_other_cell_later(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    first = bench.compare(optimizers=[ADAM, replace(SGD, problems=["cup"])], folder=folder, **ASKED)
    assert rows(first) == [("bowl", "adam"), ("cup", "adam"), ("cup", "sgd")]
    assert (first.summary.missing, len(first.summary.records)) == (0, 3 * EACH)
    text = text_of(first.summary, tables=True)
    assert "not run here: sgd" in text and "nan" not in text.lower()
    assert "not run" in str(first)
    whole = bench.compare(optimizers=[ADAM, SGD], folder=folder, **ASKED)
    assert rows(whole) == [("bowl", "adam"), ("bowl", "sgd"), ("cup", "adam"), ("cup", "sgd")]
    added = whole.summary.records.keys() - first.summary.records.keys()
    assert first.summary.records.keys() <= whole.summary.records.keys() and len(added) == EACH
    assert {whole.summary.records[name].outcome.trial.identity["problem"]["name"] for name in added} == {"bowl"}
    again = bench.open_run(folder)
    assert rows(again) == rows(whole)


@pytest.mark.long
def test_the_baseline_may_be_elsewhere(tmp_path: Path) -> None:
    """On bowl sgd alone is there, and sets its target; a page, tables and a replay are made of it all the same."""
    result = bench.compare(
        optimizers=[replace(ADAM, problems=["cup"]), SGD], folder=tmp_path / "run", targets=bench.TargetRule(), **ASKED
    )
    assert rows(result) == [("bowl", "sgd"), ("cup", "adam"), ("cup", "sgd")]
    sources = {each.problem.name: each.targets.source for each in result.summary.comparisons}
    assert "reruns of sgd" in sources["bowl"] and "reruns of adam" in sources["cup"]
    assert "nan" not in str(result).lower()
    result.report(tmp_path / "report.html")
    trial = next(name for name, each in result.summary.records.items() if each.outcome.trial.stage == "final")
    result.replay(trial)
