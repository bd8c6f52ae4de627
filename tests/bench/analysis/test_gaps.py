"""Runs in which some contenders are not run on some problems: no cell is a good or a bad result, or text like nan."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dlkit.bench import stats
from dlkit.bench.analysis import frames
from dlkit.bench.analysis.across_problems import Overview
from dlkit.bench.analysis.comparison import compare_on
from dlkit.bench.analysis.foresight import foresee
from dlkit.bench.analysis.problem_results import overview
from dlkit.bench.analysis.settling import more_blocks
from dlkit.bench.analysis.summary import Summary
from dlkit.bench.plan.plan import Plan
from dlkit.bench.plan.planned import PlannedContender, PlannedProblem
from dlkit.bench.plan.trials import Outcome, Trial
from dlkit.bench.report import matplotlib_figures, plotly_across, plotly_figures, tables_across
from dlkit.bench.report.latex import latex_tables
from dlkit.bench.report.page import write_report
from dlkit.bench.report.terminal import text_of
from tests.bench.figures import checked
from tests.bench.synthetic import failed_outcome, make_plan, make_problem, make_summary, play, synthetic_outcome

NOT_A_NUMBER = re.compile(r"\b(?:nan|inf)\b", re.IGNORECASE)
HARD = {"p3": 3.0, "p4": 3.0}  # where nobody reaches the target of 0.1
LEVELS = {"good": 0.02, "bad": 0.09, "picky": 0.05}


def with_gaps(places: Mapping[str, Sequence[str]], *, problems: int = 4, labels: str = "good bad picky") -> Plan:
    """Contenders on problems p1, p2, ...; those that `places` names on theirs alone."""
    facts = [make_problem(f"p{number}") for number in range(1, problems + 1)]
    plan = make_plan(labels.split(), problems=facts, points=1, tuning_seeds=1, seeds=3)
    contenders = [replace(each, problems=tuple(places.get(each.label, ()))) for each in plan.contenders]
    return replace(plan, contenders=contenders)


def curve(plan: Plan, problem: PlannedProblem, contender: PlannedContender, trial: Trial) -> list[float]:
    """Falls to its level, which is far above the target where the problem is hard."""
    end = HARD.get(problem.name, 0.0) + LEVELS.get(contender.label, 0.08) + 0.001 * (trial.seed % 7)
    return [4.0, *(end + gap for gap in (0.4, 0.2, 0.05, 0.0))]


@pytest.fixture(autouse=True)
def short_plotly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plotly_figures, "javascript", lambda: "var Plotly = {};")


@pytest.fixture(scope="module")
def picky() -> Summary:
    """`picky` runs on the two easy problems alone, and is between the two others there."""
    return make_summary(with_gaps({"picky": ["p1", "p2"]}), curve=curve)


def test_who_runs_on_easy_problems_alone_looks_no_better(picky: Summary) -> None:
    found = picky.overview
    assert found.ran.tolist() == [[True] * 4, [True] * 4, [True, True, False, False]]
    assert [found.contenders[index] for index in found.order] == ["good", "picky", "bad"]
    lines = {each.label: each for each in found.by_contender()}
    assert lines["picky"].mean_rank.estimate == pytest.approx(2.0)
    assert (lines["picky"].mean_rank.low, lines["picky"].mean_rank.high) == (1.0, 3.0)  # of two problems
    assert lines["picky"].targets_reached.estimate == 1.0 and lines["good"].targets_reached.estimate == 0.5
    assert lines["picky"].others_there == 1.0 and lines["good"].others_there == pytest.approx(4 / 6)
    assert [lines[label].problems for label in ("good", "bad", "picky")] == [4, 4, 2]


def test_every_number_is_over_what_there_is(picky: Summary) -> None:
    found = picky.overview
    assert found.ranks is not None and found.profile is not None and found.target_ranking is not None
    np.testing.assert_array_equal(found.ranks.by_problem[2], [2.0, 2.0, math.nan, math.nan])
    medians = np.median(found.scores, axis=1)
    assert found.ranks.p_value == stats.skillings_mack_permutation(medians, resamples=10_000, seed=0)
    assert found.ranks.distance is None and found.ranks.distances[0, 2] > found.ranks.distances[0, 1]
    easy = found.times[:, :, :2]
    assert found.target_ranking.costs.shape[-1] == 3
    np.testing.assert_array_equal(
        found.target_ranking.costs, stats.target_ranking(easy, found.target_ranking.budgets).costs
    )
    alone = stats.profile_bands(np.maximum(easy[..., -1], 0.25), seed=0)
    assert found.profile.profile.exact_scores[2] == alone.profile.exact_scores[2]
    assert found.profile.high[2].tolist() == alone.high[2].tolist()
    assert found.profile.profile.exact_scores[0] <= 0.5


def test_without_the_one_that_has_gaps_the_others_profile_is_the_same(picky: Summary) -> None:
    both = make_summary(with_gaps({}, labels="good bad"), curve=curve).overview
    found = picky.overview
    assert found.target_ecdf[:2] and both.target_ecdf[0] is not None and found.target_ecdf[0] is not None
    assert found.target_ecdf[0].share.tolist() == both.target_ecdf[0].share.tolist()


def test_tables_say_who_did_not_run(picky: Summary) -> None:
    sections = {each.title: each for each in tables_across.sections(picky)}
    contenders, ranks = sections["Contenders"], sections["Ranks by problem"]
    rows = [dict(zip(contenders.table.header, row, strict=True)) for row in contenders.table.rows]
    assert [row["ran on"] for row in rows] == ["4 of 4", "2 of 4", "4 of 4"]
    assert [row["others there"] for row in rows] == ["0.67", "1.00", "0.67"]
    assert "Skillings and Mack" in contenders.text and "Friedman" not in contenders.text
    assert "easy ones do help there" in contenders.text
    assert [row[2] for row in ranks.table.rows][2:] == ["not run", "not run"]
    assert "picky ran on 2 of 4 problems (p1, p2): its numbers are over these." in tables_across.left_out(picky)
    whole = make_summary(with_gaps({}), curve=curve)
    text = tables_across.contenders(whole)
    assert "Friedman" in text.text and "ran on" not in text.table.header


@pytest.mark.long
def test_nothing_shows_a_number_that_is_none(picky: Summary, tmp_path: Path) -> None:
    page = write_report(picky, tmp_path / "report.html").read_text(encoding="utf-8")
    visible = re.sub(r"<(script|style).*?</\1>", "", page, flags=re.DOTALL)
    assert "picky runs on 2 of 4 problems: p1, p2." in page
    assert "not run here: picky" in page
    for text in (visible, text_of(picky, tables=True), latex_tables(picky)):
        assert not NOT_A_NUMBER.search(text)
    figures = [
        checked(plotly_across.ranks(picky)),
        checked(plotly_across.performance_profile(picky)),
        checked(plotly_across.target_ecdf(picky)),
    ]
    assert all("NaN" not in each.to_json() and "(2 of 4 problems)" in each.to_json() for each in figures)
    assert matplotlib_figures.save_figures(picky, tmp_path / "figures", extension="svg")


def test_frames_have_a_row_for_each_cell_that_there_is(picky: Summary) -> None:
    table = frames.table(picky)
    assert len(table) == 10 and set(table.loc[table["optimizer"] == "picky", "problem"]) == {"p1", "p2"}
    over = frames.overview(picky).set_index("optimizer")
    assert over["problems"].to_dict() == {"good": 4, "bad": 4, "picky": 2}


def test_counts_are_those_of_the_cells(picky: Summary) -> None:
    plan = picky.plan
    assert len(plan.cells) == 10 and plan.has_gaps
    assert picky.missing == 0 and picky.planned == len(picky.records) == 10 * 4
    found = foresee(plan)
    assert (found.trials, found.steps, found.contenders) == (40, 40 * 40, 3)
    assert "picky runs on 2 of 4 problems: p1, p2." in found.sentences
    assert foresee(with_gaps({})).trials == 48


@pytest.mark.parametrize(
    ("places", "ranked", "note"),
    [
        ({"picky": ["p1"]}, "good bad", "picky is not ranked: nothing joins it with the others on two problems"),
        ({"bad": ["p1", "p2"], "picky": ["p3", "p4"]}, "good bad picky", ""),
        ({"good": ["p1", "p2"], "bad": ["p1", "p2"], "picky": ["p3", "p4"]}, "good bad", "picky is not ranked"),
        ({"good": ["p1"], "bad": ["p2", "p1"], "picky": ["p3", "p4"]}, "", ""),
    ],
)
def test_who_is_ranked_where_gaps_are_wide(places: dict[str, list[str]], ranked: str, note: str) -> None:
    summary = make_summary(with_gaps(places), curve=curve)
    found = summary.overview
    assert any(each.startswith(note) for each in found.notes)
    if not ranked:
        assert found.ranks is None
        assert "Ranks need two contenders that ran on two problems together." in tables_across.left_out(summary)
    else:
        assert found.ranks is not None
        known = ~np.isnan(found.ranks.bootstrap.mean_ranks)
        assert [label for label, is_known in zip(found.contenders, known, strict=True) if is_known] == ranked.split()
        assert found.by_contender()[0].label == "good"
    assert not NOT_A_NUMBER.search(text_of(summary, tables=True))
    checked(plotly_across.ranks(summary))
    checked(plotly_across.performance_profile(summary))
    checked(plotly_across.target_ecdf(summary))


def test_two_that_never_met_are_not_compared() -> None:
    summary = make_summary(with_gaps({"bad": ["p1", "p2"], "picky": ["p3", "p4"]}), curve=curve)
    assert summary.overview.ranks is not None and np.isnan(summary.overview.ranks.distances[1, 2])
    turned = make_summary(with_gaps({"good": ["p1", "p2"], "bad": [], "picky": ["p3", "p4"]}), curve=curve)
    table = tables_across.contenders(turned).table
    rows = {row[0]: dict(zip(table.header, row, strict=True)) for row in table.rows}
    assert {rows["good"]["Nemenyi"], rows["picky"]["Nemenyi"]} == {"best", "not compared"}


def test_a_contender_that_failed_lost_and_one_that_was_not_run_did_not() -> None:
    plan = with_gaps({"picky": ["p1", "p2", "p3"]})

    def train(problem: PlannedProblem, contender: PlannedContender, trial: Trial) -> Outcome | None:
        if (contender.label, problem.name) == ("picky", "p3"):
            return failed_outcome(trial, "no such thing")
        return synthetic_outcome(problem, plan, trial, curve(plan, problem, contender, trial))

    found = _overview(plan, train)
    assert found.ranks is not None
    np.testing.assert_array_equal(found.ranks.by_problem[2], [2.0, 2.0, 3.0, math.nan])
    assert "picky lost on p3: it could not run, or no point trained" in found.notes
    assert "picky ran on 3 of 4 problems (p1, p2, p3): its numbers are over these" in found.notes


def _overview(plan: Plan, train: Callable[[PlannedProblem, PlannedContender, Trial], Outcome | None]) -> Overview:
    history = play(plan, train)
    return overview(plan, [compare_on(history, problem).problem_results for problem in plan.problems])


def test_the_first_contender_of_a_problem_is_its_baseline() -> None:
    """The plan's first one is not run on p2: the second one sets the target there."""
    plan = with_gaps({"good": ["p1"]}, problems=2)
    plan = replace(plan, problems=[replace(each, target=None) for each in plan.problems])
    summary = make_summary(plan, curve=curve)
    first, second = summary.comparisons
    assert first.reruns is not None and first.reruns.contender.label == "good"
    assert second.reruns is not None and second.reruns.contender.label == "bad"
    assert (list(first.not_run), list(second.not_run)) == ([], ["good"])


def test_a_problem_with_one_contender_gets_no_more_seeds() -> None:
    plan = replace(with_gaps({"good": ["p1"], "bad": ["p1"], "picky": ["p2"]}, problems=2), max_seeds=20)

    def train(problem: PlannedProblem, contender: PlannedContender, trial: Trial) -> Outcome | None:
        return synthetic_outcome(problem, plan, trial, curve(plan, problem, contender, trial))

    addition = more_blocks(play(plan, train))
    assert addition is None or [each.problem for each in addition.problems] == ["p1"]
    summary = make_summary(plan, curve=curve)
    assert not NOT_A_NUMBER.search(text_of(summary, tables=True))


def test_factors_are_compared_where_their_levels_ran() -> None:
    """The baseline's level is the first contender's that runs on the problem."""
    plan = with_gaps({"good": ["p1", "p2"]})
    levels = {"good": "tanh", "bad": "relu", "picky": "gelu"}
    contenders = [
        replace(each, levels={"optimizer": "adam", "activation": levels[each.label]}) for each in plan.contenders
    ]
    summary = make_summary(replace(plan, contenders=contenders), curve=curve)
    found = [{(each.level, each.baseline) for each in comparison.effects} for comparison in summary.comparisons]
    assert found == [{("relu", "tanh"), ("gelu", "tanh")}] * 2 + [{("gelu", "relu")}] * 2


def test_leaders_of_all_problems_are_those_of_problems_that_all_ran_on() -> None:
    places = {"picky": ["p1", "p2"]}
    facts = [make_problem(f"p{number}") for number in range(1, 4)]
    plan = make_plan(["good", "picky"], problems=facts, points=4, tuning_seeds=1, seeds=3)
    plan = replace(
        plan, contenders=[replace(each, problems=tuple(places.get(each.label, ()))) for each in plan.contenders]
    )

    def tuned(plan: Plan, problem: PlannedProblem, contender: PlannedContender, trial: Trial) -> list[float]:
        return [
            *curve(plan, problem, contender, trial)[:-1],
            abs(math.log10(trial.hyperparameters["learning_rate"]) + 1),
        ]

    sections = {each.title: each.table for each in tables_across.sections(make_summary(plan, curve=tuned))}
    rows = sections["Who leads at how many tuning points"].rows
    assert [row[0] for row in rows] == ["p1", "p2", "problems that all ran on, mean probability"]
