"""A trial that was at its target and diverged later counts as both, in results, tables and frames alike."""

import math

import pytest

from dlkit.bench.analysis import frames
from dlkit.bench.analysis.summary import Summary
from dlkit.bench.report import tables
from tests.bench.synthetic import make_plan, make_summary

SEEDS = 10  # at steps 0, 10, ..., 40; the target is 0.1
AFTER, BEFORE = (0, 1, 2), (3,)  # seeds that diverged after they had been at the target, and before


@pytest.fixture(scope="module")
def summary() -> Summary:
    def curve(plan, problem, contender, trial):
        if trial.stage != "final" or contender.label == "steady":
            return [1.0, 0.5, 0.09, 0.08, 0.07]
        if trial.seed in AFTER:
            return [1.0, 0.05, 0.5, math.nan]
        return [1.0, 0.5, math.nan] if trial.seed in BEFORE else [1.0, 0.5, 0.2, 0.15, 0.12]

    return make_summary(make_plan(("wild", "steady"), points=1, seeds=SEEDS), curve=curve)


def cells(table: tables.Table, label: str) -> dict[str, str]:
    (row,) = [row for row in table.rows if label in row[:2]]
    return dict(zip(table.header, row, strict=True))


def test_the_result_counts_it_twice(summary):
    wild = next(each for each in summary.comparisons[0].results if each.label == "wild")
    assert (wild.to_target.reached, wild.to_target.diverged, wild.to_target.diverged_after) == (3, 1, 3)
    assert wild.diverged == 4 and wild.hits.estimate == 0.3
    assert wild.to_target.missed == SEEDS - 4
    assert sum(map(math.isinf, wild.scores)) == 4, "what it ended with is worse than any number"


def test_the_tables_count_it_twice(summary):
    steps = tables.steps(summary.comparisons[0])
    shown = cells(steps, "wild")
    assert shown["diverged before"] == "1" and shown["diverged after"] == "3"
    assert next(value for name, value in shown.items() if name.startswith("hits")).startswith("3/10")
    assert cells(steps, "steady")["diverged after"] == "0"


def test_the_ranking_says_at_which_steps_trials_diverged(summary):
    ranking = tables.ranking(summary.comparisons[0])
    assert cells(ranking, "wild")["diverged"] == "4/10 at steps 20 to 30"
    assert cells(ranking, "steady")["diverged"] == "0/10"


def test_the_column_is_there_only_where_it_says_something():
    assert "diverged after" not in tables.steps(make_summary(make_plan()).comparisons[0]).header


def test_the_frames_count_it_twice(summary):
    trials = frames.trials(summary).query("stage == 'final' and optimizer == 'wild'").set_index("seed")
    for seed in AFTER:
        row = trials.loc[seed]
        assert (row["outcome"], row["outcome_step"]) == ("reached", 10)
        assert (row["status"], row["diverged_at"]) == ("diverged", 30)
    (before,) = BEFORE
    assert (trials.loc[before, "outcome"], trials.loc[before, "outcome_step"]) == ("diverged", 20)
    row = frames.table(summary).set_index("optimizer").loc["wild"]
    assert (row["hits"], row["diverged"]) == (3, 4)
    assert (row["diverged_before_target"], row["diverged_after_target"]) == (1, 3)
