"""What tables and figures say of values at a metric's numerical floor, and of medians on a log scale."""

import re
from dataclasses import replace

import pytest

from dlkit.bench.plan.metric import Metric
from dlkit.bench.plan.policies import Tuner
from dlkit.bench.report import figure_data, tables
from dlkit.bench.report.latex import latex_tables
from dlkit.bench.report.markdown import markdown_tables
from tests.bench.synthetic import make_plan, make_problem, make_summary

FINALS = {"sgd": 1e-8, "adam": 1e-14, "lion": 3e-16}


def at(plan, problem, contender, trial):
    """A curve that falls to the contender's final value, a little another one at each seed."""
    end = FINALS[contender.label] * (1 + 0.01 * trial.seed)
    return [1.0, 0.5, 0.1, 0.01, end]


@pytest.fixture(scope="module")
def summary():
    problem = make_problem(metric=Metric("lower", "log", "gap", floor=1e-12), target=1e-6)
    return make_summary(make_plan(problems=[problem], points=1), curve=at)


def test_two_at_the_floor_tie_and_the_difference_to_them_is_a_bound(summary):
    comparison = summary.comparisons[0]
    table = tables.ranking(comparison)
    rows = {row[1]: dict(zip(table.header, row, strict=True)) for row in table.rows}
    difference = next(name for name in table.header if name.startswith("difference"))
    judged = next(name for name in table.header if name.startswith("test"))
    assert rows["adam"][judged] == rows["lion"][judged] == "≤1.00e-12 [≤1.00e-12, ≤1.00e-12]"
    assert rows["adam"]["group"] == rows["lion"]["group"] != rows["sgd"]["group"]
    # 1e-8 x 1.00 to 1.09, over 1e-12
    found = re.fullmatch(r"at least ×(\S+) \[×(\S+), no bound\]", rows["sgd"][difference])
    assert found and [float(each) for each in found.groups()] == [
        pytest.approx(1.045e4, rel=0.01),
        pytest.approx(1.02e4, rel=0.02),
    ]
    last = comparison.results[-1]
    assert last.label == "sgd" and "≤" not in rows["sgd"][judged]


def test_hover_texts_tell_the_floor(summary):
    problem = summary.comparisons[0].problem
    assert figure_data.in_words(problem, [-12.0, -8.0, float("inf")]) == ["≤1.00e-12", "1.00e-08", "diverged"]


def test_bounds_stand_in_every_format(summary):
    assert "at least ×1.04e+04" in markdown_tables(summary)
    assert r"at least $\times$1.04e+04" in latex_tables(summary)
    assert r"$\leq$1.00e-12" in latex_tables(summary)


@pytest.mark.parametrize(
    ("studies", "is_redrawn", "split"),
    [
        (1, True, "the same ones for every seed"),
        (1, False, "the same ones for every seed"),
        (2, True, "split anew in each study"),
        (2, False, "the same ones in every study"),
    ],
)
def test_captions_say_which_blocks_share_test_examples(studies, is_redrawn, split):
    problem = replace(make_problem(), examples=(800, 100, 90), redraws_split=is_redrawn)
    comparison = make_summary(make_plan(problems=[problem], seeds=6, tuner=Tuner(studies=studies))).comparisons[0]
    expected = f"judged on 90 test examples, selected on 100, trained on 800, {split}"
    assert tables.caption(comparison).endswith(expected)


@pytest.mark.parametrize(("metric", "is_geometric"), [(Metric("lower", "log"), True), (Metric("lower"), False)])
def test_captions_say_that_medians_and_means_are_geometric(metric, is_geometric):
    plan = make_plan(problems=[make_problem(metric=metric)], seeds=6, tuner=Tuner(studies=2))
    comparison = make_summary(plan).comparisons[0]
    assert ("geometric" in tables.caption(comparison)) == is_geometric
    assert ("geometric mean" in tables.studies_caption(comparison)) == is_geometric
