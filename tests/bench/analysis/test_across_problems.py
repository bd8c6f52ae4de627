"""By hand: two contenders on two problems of opposite directions, whose ranks, ratios and shares can be counted."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dlkit.bench import stats
from dlkit.bench.analysis import frames, tuning_curves
from dlkit.bench.analysis.across_problems import BUDGETS, Overview
from dlkit.bench.analysis.comparison import compare_on
from dlkit.bench.analysis.problem_results import overview
from dlkit.bench.analysis.summary import Summary
from dlkit.bench.plan.metric import Metric
from dlkit.bench.plan.plan import Plan
from dlkit.bench.plan.planned import PlannedContender, PlannedProblem
from dlkit.bench.plan.policies import Tuner
from dlkit.bench.plan.space import Point, Range
from dlkit.bench.plan.trials import STUDY_SEEDS, Outcome, Trial
from dlkit.bench.report import matplotlib_figures, plotly_across, plotly_figures, tables_across
from dlkit.bench.report.latex import latex_tables
from dlkit.bench.report.page import write_report
from dlkit.bench.report.terminal import text_of
from tests.bench.analysis.results_by_hand import in_studies
from tests.bench.figures import checked
from tests.bench.synthetic import (
    failed_outcome,
    make_contender,
    make_plan,
    make_problem,
    make_summary,
    play,
    synthetic_outcome,
)

NAN, INF = math.nan, math.inf
ERROR = replace(make_problem("error", target=0.2), ladder=(0.5,))
ACCURACY = make_problem("accuracy", metric=Metric("higher"), target=0.8)
# Values after 0, 25, 50, 75 and 100 % of the budget.
CURVES = {
    ("a", "error"): [1.0, 0.5, 0.2, 0.1, 0.1],  # at 0.5 after 25 %, at 0.2 after 50 %
    ("b", "error"): [1.0, 0.8, 0.5, 0.2, 0.2],  # after 50 % and 75 %
    ("a", "accuracy"): [0.0, 0.5, 0.5, 0.8, 0.7],  # at 0.8 after 75 %
    ("b", "accuracy"): [0.0, 0.9, 0.9, 0.9, 0.9],  # after 25 %
}


def curve(plan: Plan, problem: PlannedProblem, contender: PlannedContender, trial: Trial) -> list[float]:
    return CURVES[contender.label, problem.name]


def by_hand(labels: Sequence[str] = ("a", "b"), problems: Sequence[PlannedProblem] = (ERROR, ACCURACY)) -> Plan:
    return make_plan(labels, problems=problems, points=1, tuning_seeds=1, seeds=3)


def played(plan: Plan, train: Callable[[PlannedProblem, PlannedContender, Trial], Outcome | None]) -> Overview:
    """The overview of what running a plan would bring."""
    history = play(plan, train)
    return overview(plan, [compare_on(history, problem).problem_results for problem in plan.problems])


@pytest.fixture(autouse=True)
def short_plotly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plotly_figures, "javascript", lambda: "var Plotly = {};")


@pytest.fixture(scope="module")
def summary() -> Summary:
    return make_summary(by_hand(), curve=curve)


def test_ranks_are_those_of_the_final_medians(summary: Summary) -> None:
    found = summary.overview
    assert found.contenders == ["a", "b"]
    assert found.ranks is not None
    assert found.ranks.by_problem.tolist() == [[1.0, 2.0], [2.0, 1.0]]
    expected = stats.rank_bootstrap(found.scores, resamples=10_000, seed=0)
    assert found.ranks.bootstrap.mean_ranks.tolist() == [1.5, 1.5]
    np.testing.assert_array_equal(found.ranks.bootstrap.probability_best, expected.probability_best)
    assert found.ranks.p_value == 1.0  # the sums of ranks are as equal as they can be
    assert found.ranks.distance == pytest.approx(stats.nemenyi_distance(2, 2))
    assert found.scores[:, :, 0] == pytest.approx(np.repeat([[0.1], [0.2]], 3, axis=1))
    assert found.scores[:, :, 1] == pytest.approx(-np.repeat([[0.7], [0.9]], 3, axis=1))


def test_profiles_are_of_the_times_to_the_hardest_targets(summary: Summary) -> None:
    """Times a 50 % and 75 %, b 75 % and 25 %: ratios 1 and 3, 1.5 and 1. Up to 4: (1 + 1/3) / 2, (5/6 + 1) / 2."""
    found = summary.overview
    assert found.times[..., -1].tolist() == [[[0.5, 0.75]] * 3, [[0.75, 0.25]] * 3]
    assert found.profile is not None
    assert found.profile.profile.exact_scores == pytest.approx([2 / 3, 11 / 12])


def test_every_problem_weighs_the_same_in_the_share_of_targets(summary: Summary) -> None:
    """error has two targets, accuracy one: a is at 1/2 of the first after 25 %, at all of it after 50 %."""
    first, second = summary.overview.target_ecdf
    assert first.steps.tolist() == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert first.share.tolist() == [0.0, 0.25, 0.5, 1.0, 1.0]
    assert second.share.tolist() == [0.0, 0.5, 0.75, 1.0, 1.0]
    assert second.area == pytest.approx(((0.5 + 0.25) / 2 + 0.75) / 2)  # time left after each target
    z2 = 1.959963984540054**2
    assert first.low[-1] == pytest.approx(6 / (6 + z2))  # Wilson's interval of 3 seeds on 2 problems


def test_ladders_of_three_and_of_two_targets() -> None:
    """After 25 % a is at 2 of 3 targets of one problem and at 1 of 2 of the other: (2/3 + 1/2) / 2."""
    problems = [replace(ERROR, ladder=(0.8, 0.5)), replace(ACCURACY, ladder=(0.5,))]
    found = make_summary(by_hand(problems=problems), curve=curve).overview
    assert found.target_ecdf[0].share == pytest.approx([0.0, 7 / 12, 3 / 4, 1.0, 1.0])
    assert found.times[0, 0].tolist() == [[0.25, 0.25, 0.5], [0.25, 0.25, 0.75]]  # the shorter one's first stands twice


def test_the_ranking_by_target_and_budget(summary: Summary) -> None:
    """Easiest targets: a at 25 and 75 %, b at 50 and 25 %; hardest: a at 50 and 75 %, b at 75 and 25 %."""
    found = summary.overview.target_ranking
    assert found is not None and found.budgets.tolist() == list(BUDGETS)
    assert found.costs[-1].tolist() == [[0.5, 0.375], [0.625, 0.5]]
    assert found.costs[1].tolist() == [[0.75, 0.75], [1.0, 0.75]]  # within half the budget
    assert found.ranks[1].tolist() == [[1.5, 1.5], [2.0, 1.0]]
    assert not found.flips.any()
    cells = {each.title: each.table for each in tables_across.sections(summary)}
    table = cells["Who is ahead as budget and target move"]
    assert table.header == ["budget", "easiest target", "hardest"]
    assert table.rows[1][1:] == ["a = b 0.75", "b 0.75"]


def test_the_frame_and_the_table_hold_the_same_numbers(summary: Summary) -> None:
    frame = frames.overview(summary).set_index("optimizer")
    assert frame.loc["b", "profile_score"] == pytest.approx(11 / 12)
    assert frame.loc["a", "targets_reached"] == 1.0
    table = tables_across.sections(summary)[0].table
    row = dict(zip(table.header, table.rows[0], strict=True))
    assert row["optimizer"] == "a" and row["mean rank [95\N{NO-BREAK SPACE}%]"] == "1.50 [1.00, 2.00]"
    assert row["area"] == f"{frame.loc['a', 'target_area']:.2f}"


def test_who_could_not_run_lost_and_who_ran_nowhere_is_left_out() -> None:
    plan = by_hand(["a", "b", "raises", "diverges"])

    def train(problem: PlannedProblem, contender: PlannedContender, trial: Trial) -> Outcome | None:
        if contender.label == "raises":
            return failed_outcome(trial, "no such thing")
        values = CURVES[("a" if contender.label == "diverges" else contender.label), problem.name]
        diverged = contender.label == "diverges" and problem.name == "error"
        return synthetic_outcome(problem, plan, trial, [*values[:1], NAN] if diverged else values)

    found = played(plan, train)
    assert found.contenders == ["a", "b", "diverges"]
    assert found.notes == [
        "raises is left out: it trained on no problem",
        "diverges lost on error: it could not run, or no point trained",
    ]
    assert np.isposinf(found.scores[2, :, 0]).all() and np.isfinite(found.scores[2, :, 1]).all()
    assert found.ranks is not None
    assert found.ranks.by_problem.tolist() == [[1.0, 2.5], [2.0, 1.0], [3.0, 2.5]]
    assert np.isposinf(found.times[2, :, 0]).all()


def test_a_seed_that_diverged_after_a_target_has_been_there() -> None:
    def train(problem: PlannedProblem, contender: PlannedContender, trial: Trial) -> Outcome | None:
        values = CURVES[contender.label, problem.name]
        diverged = contender.label == "a" and trial.stage == "final" and trial.seed == 0
        return synthetic_outcome(problem, plan, trial, [*values[:3], NAN] if diverged else values)

    plan = by_hand()
    found = played(plan, train)
    assert found.scores[0, :, 0] == pytest.approx([INF, 0.1, 0.1])
    assert found.times[0, :, 0].tolist() == [[0.25, 0.5]] * 3
    assert found.times[0, :, 1, 0].tolist() == [INF, 0.75, 0.75]
    assert found.target_ecdf[0].share[-1] == pytest.approx((1 + 2 / 3) / 2)


def test_problems_that_still_run_are_left_out() -> None:
    def is_missing(label: str, trial: Trial) -> bool:
        return label == "b" and trial.identity["problem"]["name"] == "accuracy" and trial.seed > 0

    summary = make_summary(by_hand(), curve=curve, missing=is_missing)
    assert [problem.name for problem in summary.overview.problems] == ["error"]
    assert summary.overview.ranks is None
    assert tables_across.left_out(summary)[0] == (
        "Ranks and performance profiles need two problems that have run to the end."
    )
    assert "accuracy is left out: b still to run." in tables_across.left_out(summary)


@pytest.mark.long
def test_one_problem_shows_what_one_problem_can(tmp_path: Path) -> None:
    summary = make_summary(make_plan(points=8))
    found = summary.overview
    assert (found.ranks, found.profile) == (None, None)
    assert tables_across.heading(summary) == "Overview"
    assert [each.title.partition(":")[0] for each in tables_across.sections(summary)] == [
        "Contenders",
        "Who is ahead as budget and target move",
        "Who leads at how many tuning points",
        "How exactly a hyperparameter has to be hit",
    ]
    assert tables_across.sections(summary)[0].table.header[1:] == [
        "targets reached [95\N{NO-BREAK SPACE}%]",
        "area",
    ]
    assert tables_across.left_out(summary) == [
        "Ranks and performance profiles need two problems that have run to the end."
    ]
    assert (
        not checked(plotly_across.ranks(summary)).data and not checked(plotly_across.performance_profile(summary)).data
    )
    assert len(checked(plotly_across.target_ecdf(summary)).data) == 6
    assert [found.contenders[index] for index in found.order] == [
        "lion",
        "sgd",
        "adam",
    ]  # it alone is there, at the end
    table = tables_across.sections(summary)[1].table
    assert [row[1] for row in table.rows] == ["none before"] * 4
    assert "Overview" not in text_of(summary, tables=True)
    assert [path.stem for path in matplotlib_figures.save_figures(summary, tmp_path, extension="svg")] == [
        "bowl",
        "bowl-learning-rates",
    ]


@pytest.mark.long
@pytest.mark.parametrize(
    ("case", "reason"),
    [
        ({"missing": lambda label, trial: True}, "need two problems that have run to the end"),
        ({"failed": ["sgd", "adam", "lion"]}, "need two contenders that trained"),
        ({"diverged": lambda label, trial: True}, "need two contenders that trained"),
    ],
)
def test_runs_with_nothing_to_show_say_why(case: dict, reason: str, tmp_path: Path) -> None:
    summary = make_summary(make_plan(problems=[make_problem("bowl"), make_problem("cup")]), **case)
    assert reason in tables_across.left_out(summary)[0]
    assert reason in write_report(summary, tmp_path / "report.html").read_text(encoding="utf-8")
    assert summary.overview.target_ranking is None
    assert [section.title for section in tables_across.sections(summary)][1:] == []
    assert frames.tuning_leaders(summary).empty


def test_seeds_that_not_all_problems_have_do_not_count() -> None:
    def train(problem: PlannedProblem, contender: PlannedContender, trial: Trial) -> Outcome | None:
        return synthetic_outcome(problem, plan, trial, CURVES[contender.label, problem.name])

    plan = by_hand()
    more = replace(plan, seeds=5)
    history = play(more, train)
    histories = (history.with_plan(plan), history)
    problems = [compare_on(one, each).problem_results for one, each in zip(histories, plan.problems, strict=True)]
    found = overview(more, problems)
    assert found.scores.shape == (2, 3, 2)
    assert found.notes == ["only the first 3 seeds count, which all problems have"]


def test_problems_without_targets_count_for_ranks_alone() -> None:
    problems = [make_problem("bowl", target=None), make_problem("cup"), make_problem("pot")]
    summary = make_summary(make_plan(problems=problems, points=1))
    found = summary.overview
    assert [problem.name for problem in found.targeted] == ["cup", "pot"]
    assert found.ranks is not None and found.ranks.by_problem.shape == (3, 3)
    assert found.profile is not None
    assert "bowl has no target." in tables_across.left_out(summary)


# --- tuning ----------------------------------------------------------------------------------------------------------


def test_leaders_are_those_of_the_points_of_all_studies() -> None:
    def tuned(plan: Plan, problem: PlannedProblem, contender: PlannedContender, trial: Trial) -> list[float]:
        """The score is the learning rate's last digits, so that every point has its own."""
        rate = trial.hyperparameters["learning_rate"]
        return [1.0, 1.0, 1.0, 1.0, abs(math.log10(rate) + (1 if contender.label == "a" else 2)) + 0.01 * trial.seed]

    plan = make_plan(["a", "b", "still"], points=3, tuning_seeds=1, seeds=1, tuner=Tuner(studies=2))
    again = [[Point({"learning_rate": rate}, {}) for rate in (0.002, 0.02, 0.2)]]
    fixed = replace(make_contender("still", points=1), further=(make_contender("still", points=1).points,))
    plan = replace(plan, contenders=[*(replace(each, further=again) for each in plan.contenders[:2]), fixed])
    summary = make_summary(plan, curve=tuned)
    (comparison,) = summary.comparisons
    found = tuning_curves.leaders(plan, comparison.problem_results)
    assert found is not None and found.contenders == ["a", "b", "still"]
    results = {each.label: each for each in comparison.results}
    by_study = {label: np.array([each.scores for each in result.tunings]) for label, result in results.items()}
    centred = [
        by_study[label] - np.median(by_study[label], axis=1, keepdims=True) + np.median(by_study[label])
        for label in "ab"
    ]
    still = [by_study["still"].mean()] * 6
    expected = stats.tuning_leaders([*(each.ravel() for each in centred), still], (1, 4, 6))
    assert found.points == [1, 4, 6]
    np.testing.assert_allclose(found.probability, expected.probability)
    captions = [each.text for each in tables_across.sections(summary) if each.title.startswith(("Who leads", "How ex"))]
    assert len(captions) == 2 and all("all its studies the same median" in each for each in captions)
    frame = frames.tuning_leaders(summary)
    assert frame.groupby("points")["probability"].sum().tolist() == pytest.approx([1.0, 1.0, 1.0])


def test_no_expected_best_is_better_than_can_be() -> None:
    """Two studies at medians of 0.5 and 0.97: shifted to one median, the first one's best would be 1.23."""
    best = {0: (0.5, 0.49, 0.99), 1: (0.97, 0.96, 0.98)}

    def tuned(plan: Plan, problem: PlannedProblem, contender: PlannedContender, trial: Trial) -> list[float]:
        place = [0.001, 0.0316228, 1.0].index(trial.hyperparameters["learning_rate"])
        return [0.1] * 4 + [best[trial.seed // STUDY_SEEDS][place]]

    plan = make_plan(["a", "b"], problems=[make_problem(metric=Metric("higher"))], points=3, tuning_seeds=1, seeds=1)
    summary = make_summary(in_studies(plan, 2), curve=tuned)
    (comparison,) = summary.comparisons
    found = tuning_curves.leaders(summary.plan, comparison.problem_results)
    assert found is not None and found.points == [1, 4, 6]
    # Of one point the mean of each study, of which the median; no study has 4 points. Validation is 1 % above.
    means = np.mean([each.finals for each in comparison.results[0].tunings], axis=1)
    np.testing.assert_allclose(found.expected[0], np.median(means))
    assert np.isnan(found.expected[1:]).all()
    pooled = tuning_curves.centred([each.finals for each in comparison.results[0].tunings])
    assert pooled.min() < -1.2, "an accuracy that cannot be"
    shown = frames.tuning_leaders(summary)["expected_best"].dropna()
    assert len(shown) == 2 and (-shown).between(0, 1).all()
    np.testing.assert_allclose(found.probability.sum(axis=1), 1.0)


@pytest.mark.parametrize("added", [0, 3])
def test_what_has_nothing_to_tune_gains_nothing_by_the_luck_of_seeds(added: int) -> None:
    """One point a study, of 3 or 6 studies: its best score is the luck of a seed."""

    def by_study(plan: Plan, problem: PlannedProblem, contender: PlannedContender, trial: Trial) -> list[float]:
        return [2.0 + (trial.seed // STUDY_SEEDS) + math.log10(trial.hyperparameters["learning_rate"])] * 5

    plan = make_plan(["tuned", "still"], points=3, tuning_seeds=1, seeds=1)
    plan = in_studies(replace(plan, contenders=[plan.contenders[0], make_contender("still", points=1)]), 3 + added)
    plan = replace(plan, tuner=Tuner(studies=3), added_studies={"bowl": {"tuned": added, "still": added}})
    (comparison,) = make_summary(plan, curve=by_study).comparisons
    found = tuning_curves.leaders(plan, comparison.problem_results)
    assert found is not None and found.all_points == 3 * (3 + added)
    expected = found.expected[:, found.contenders.index("still")]
    np.testing.assert_allclose(expected, 1.0 + np.mean(range(3 + added)))  # -1 of the rate, and its study's number
    alone = replace(plan, contenders=[plan.contenders[1], replace(plan.contenders[1], label="again")])
    (comparison,) = make_summary(alone, curve=by_study).comparisons
    assert tuning_curves.leaders(alone, comparison.problem_results) is None


@pytest.mark.parametrize("metric", [Metric(), Metric("higher"), Metric("lower", "log")], ids=lambda m: f"{m}")
def test_levels_of_studies_change_no_curve_and_no_width(metric: Metric) -> None:
    """Four studies of one parabola, each at a level of its own: a term, on a log scale a factor."""

    def tuned(levels: Sequence[float]) -> tuple[pd.DataFrame, stats.TuningBands]:
        def parabola(plan: Plan, problem: PlannedProblem, contender: PlannedContender, trial: Trial) -> list[float]:
            off = abs(math.log10(trial.hyperparameters["learning_rate"]) + 1.5) / 0.75
            level = levels[trial.seed // STUDY_SEEDS]
            if metric.scale == "log":
                return [1.0] * 4 + [(1 + 0.04 * off**2) * 10**level]
            return [1.0] * 4 + [(1 - 0.04 * off**2 if metric.higher_is_better else 1 + 0.04 * off**2) + level]

        plan = in_studies(make_plan(["a"], problems=[make_problem(metric=metric)], tuning_seeds=1, seeds=1), 4)
        summary = make_summary(plan, curve=parabola)
        (comparison,) = summary.comparisons
        bands = tuning_curves.bands(plan, comparison.problem, comparison.results[0])
        assert bands is not None
        return frames.sensitivity(summary), bands

    even, of_even = tuned([0.0] * 4)
    uneven, of_uneven = tuned([0.0, 0.8, -0.8, 0.0])
    assert even["good"].tolist() == uneven["good"].tolist() == [12]  # three of five, four times
    assert uneven["decades"].tolist() == pytest.approx([1.5], abs=1e-4)
    np.testing.assert_allclose(uneven["best"], even["best"], rtol=1e-3)
    np.testing.assert_allclose(of_uneven.median, of_even.median, atol=1e-3)


def test_a_study_over_problems_is_one_block_with_the_mean_of_its_seeds() -> None:
    """Ranks are of medians over studies; of curves, a study shows that of its first fresh seed."""
    plan = in_studies(by_hand(), 3)

    def train(problem: PlannedProblem, contender: PlannedContender, trial: Trial) -> Outcome | None:
        study, seed = divmod(trial.seed, STUDY_SEEDS)
        scale = 1 + 0.1 * study + 0.2 * seed * (trial.stage == "final")
        values = [value * scale for value in CURVES[contender.label, problem.name]]
        return synthetic_outcome(problem, plan, trial, values)

    found = played(plan, train)
    assert found.scores.shape == (2, 3, 2) and found.curves.shape == (2, 3, 2, 5)
    # fresh seeds 0, 1 and 2 of study k end at 1 + k / 10, 1.2 + k / 10 and 1.4 + k / 10 times the curve's end
    np.testing.assert_allclose(found.scores[0, :, 0], 0.1 * np.array([1.2, 1.3, 1.4]), rtol=1e-5)
    np.testing.assert_allclose(found.scores[1, :, 1], -0.9 * np.array([1.2, 1.3, 1.4]), rtol=1e-5)
    np.testing.assert_allclose(found.curves[0, :, 0, 1], 0.5 * np.array([1.0, 1.1, 1.2]), rtol=1e-5)
    assert found.ranks is not None and found.ranks.by_problem.tolist() == [[1.0, 2.0], [2.0, 1.0]]


def test_a_study_without_a_winner_lost_on_that_problem() -> None:
    plan = in_studies(by_hand(), 3)

    def train(problem: PlannedProblem, contender: PlannedContender, trial: Trial) -> Outcome | None:
        values = CURVES[contender.label, problem.name]
        is_lost = contender.label == "a" and problem.name == "error" and STUDY_SEEDS <= trial.seed < 2 * STUDY_SEEDS
        return synthetic_outcome(problem, plan, trial, [values[0], NAN] if is_lost else values)

    found = played(plan, train)
    assert found.scores[0, :, 0] == pytest.approx([0.1, INF, 0.1])
    assert np.isposinf(found.curves[0, 1, 0]).all() and np.isfinite(found.curves[0, [0, 2], 0]).all()


@pytest.mark.parametrize(
    ("tuner", "reason"),
    [(Tuner("grid"), "points of tuner grid are no random sample"), (Tuner(halving=2), "successive halving")],
)
def test_points_that_are_no_sample_have_no_leaders(tuner: Tuner, reason: str) -> None:
    summary = make_summary(make_plan(tuner=tuner))
    (comparison,) = summary.comparisons
    assert tuning_curves.leaders(summary.plan, comparison.problem_results) is None
    assert frames.tuning_leaders(summary).empty
    assert any(reason in note for note in tables_across.left_out(summary))


@pytest.mark.parametrize("metric", [Metric(), Metric("higher"), Metric("lower", "log")], ids=lambda m: f"{m}")
def test_three_good_points_a_width_apart(metric: Metric) -> None:
    """Rates 3/4 of a decade apart; the best and its two neighbours are within 5 %, the outer ones are not."""

    def parabola(plan: Plan, problem: PlannedProblem, contender: PlannedContender, trial: Trial) -> list[float]:
        off = abs(math.log10(trial.hyperparameters["learning_rate"]) + 1.5) / 0.75
        return [1.0] * 4 + [1 - 0.04 * off**2 if metric.higher_is_better else 1 + 0.04 * off**2]

    summary = make_summary(make_plan(["a"], problems=[make_problem(metric=metric)], seeds=1), curve=parabola)
    (row,) = frames.sensitivity(summary).to_dict("records")
    assert (row["points"], row["good"], row["open_low"], row["open_high"]) == (5, 3, False, False)
    assert (row["decades"], row["decades_low"], row["decades_high"]) == pytest.approx((1.5, 1.5, 3.0), abs=1e-4)


def test_what_has_no_width() -> None:
    """Decay rates are measured by how far from 1 they are; a range that holds 0 has no decades."""
    space = {"b1": Range(0.9, 0.999, "one_minus_log"), "decay": Range(0.0, 1.0), "fixed": 0.5}
    values = [0.9, 0.99, 0.999]
    points = [Point({"b1": value, "decay": 0.5, "fixed": 0.5}, {}) for value in values]
    plan = replace(make_plan(["a"], seeds=1), contenders=[PlannedContender("a", "a", False, space, points)])
    flat = frames.sensitivity(make_summary(plan, curve=lambda *_: [1.0] * 5))
    assert flat["hyperparameter"].tolist() == ["1 \N{MINUS SIGN} b1"]
    assert flat["decades"].tolist() == pytest.approx([2.0])
    assert flat[["open_low", "open_high"]].to_numpy().tolist() == [[True, True]]
    steep = make_summary(plan, curve=lambda plan, problem, c, trial: [1 / (1 - trial.hyperparameters["b1"])] * 5)
    assert math.isnan(frames.sensitivity(steep)["decades"][0])
    assert "too\N{NO-BREAK SPACE}few (1/3)" in tables_across.sections(steep)[-1].table.rows[0]


# --- where it is shown -----------------------------------------------------------------------------------------------


def test_figures_draw_the_numbers(summary: Summary) -> None:
    found = summary.overview
    ecdf = [trace for trace in checked(plotly_across.target_ecdf(summary)).data if trace.mode == "lines"]
    assert [trace.name for trace in ecdf] == ["a", "b"]
    for trace, each in zip(ecdf, found.target_ecdf, strict=True):
        assert list(trace.x) == [0.0, 25.0, 50.0, 75.0, 100.0] and list(trace.y) == each.share.tolist()
    ranks = checked(plotly_across.ranks(summary)).data
    assert [trace.x[0] for trace in ranks] == [1.5, 1.5, None]  # the last one explains the shade
    profile = [trace for trace in checked(plotly_across.performance_profile(summary)).data if trace.mode == "lines"]
    assert found.profile is not None
    np.testing.assert_array_equal(profile[0].y, found.profile.profile.fractions[0])


@pytest.mark.long
def test_text_markdown_latex_and_paper_have_the_overview(summary: Summary, tmp_path: Path) -> None:
    assert "1.50 [1.00, 2.00]" in text_of(summary, tables=True).partition("Across problems")[2]
    text = latex_tables(summary)
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == len(summary.comparisons) * 3 + 1 + 3
    assert r"mean rank [95~\%]" in text and "mean rank [95 %]" not in text
    assert matplotlib_figures.save_figures(summary, tmp_path, extension="svg")[-1].stem == matplotlib_figures.ACROSS


def test_equal_leaders_are_all_named() -> None:
    problems = [make_problem("bowl"), make_problem("cup")]
    summary = make_summary(make_plan(["a", "b"], problems=problems, seeds=1), curve=lambda *_: [1.0] * 5)
    table = next(each.table for each in tables_across.sections(summary) if "Who leads" in each.title)
    percent = "\N{NO-BREAK SPACE}%"
    assert table.rows == [
        ["bowl", f"a = b 50{percent}", f"a = b 50{percent}", "a = b"],
        ["cup", f"a = b 50{percent}", f"a = b 50{percent}", "a = b"],
        ["all problems, mean probability", f"a = b 50{percent}", f"a = b 50{percent}", "–"],
    ]
