"""Figures show what the outcomes say: data computed again with NumPy, and files that exist."""

import math
from dataclasses import replace
from pathlib import Path

import matplotlib
import numpy as np
import pytest

from dlkit.bench import stats
from dlkit.bench.analysis.summary import Summary, summarize
from dlkit.bench.errors import UserError
from dlkit.bench.plan.metric import Metric
from dlkit.bench.plan.orientation import unoriented
from dlkit.bench.plan.policies import Tuner
from dlkit.bench.report import figure_data, matplotlib_figures, plotly_figures
from dlkit.bench.store.store import Store
from tests.bench.analysis.results_by_hand import in_studies
from tests.bench.figures import checked
from tests.bench.synthetic import fill, make_plan, make_problem, make_summary

HIGHER = Metric("higher", "linear", "accuracy")
LOG = Metric("lower", "log", "gap")
METRICS = {"linear": Metric("lower", "linear", "error"), "higher": HIGHER, "log": LOG}
HOSTILE = '<b>&"$x_1$'

CASES = {
    "plain": lambda: make_summary(),
    "higher": lambda: make_summary(make_plan(problems=[make_problem(metric=HIGHER, target=0.9)])),
    "log": lambda: make_summary(make_plan(problems=[make_problem(metric=LOG)])),
    "log_zero": lambda: make_summary(
        make_plan(problems=[make_problem(metric=LOG)]),
        curve=lambda plan, problem, contender, trial: [1.0, 0.1, 0.01, 0.001, float(trial.stage == "tuning")],
    ),
    "baseline_target": lambda: make_summary(make_plan(problems=[make_problem(target=None)])),
    "some_diverged": lambda: make_summary(diverged=lambda label, trial: label == "sgd" and trial.seed < 4),
    "all_diverged": lambda: make_summary(diverged=lambda label, trial: True),
    "finals_diverged": lambda: make_summary(diverged=lambda label, trial: trial.stage == "final"),
    "interrupted": lambda: make_summary(missing=lambda label, trial: label != "sgd" and trial.seed > 0),
    "nothing_yet": lambda: make_summary(missing=lambda label, trial: True),
    "failed": lambda: make_summary(failed=["adam"]),
    "all_failed": lambda: make_summary(failed=["sgd", "adam", "lion"]),
    "one_contender": lambda: make_summary(make_plan(["sgd"])),
    "one_seed": lambda: make_summary(make_plan(seeds=1, tuning_seeds=1)),
    "one_point": lambda: make_summary(make_plan(points=1)),
    "many": lambda: make_summary(make_plan([f"optimizer-{index}" for index in range(12)], seeds=6)),
    "hostile": lambda: make_summary(make_plan([HOSTILE, "_hidden"], problems=[make_problem(f"../{HOSTILE}")])),
    "constant": lambda: make_summary(curve=lambda *_: [0.0] * 5),
    "far": lambda: make_summary(curve=lambda *_: [1e30, 1.0, 1.0, 1.0, 1.0]),
}
FUNCTIONS = (plotly_figures.curves, plotly_figures.finals, plotly_figures.sensitivity, plotly_figures.tuning_curve)


@pytest.fixture(scope="module", params=sorted(CASES))
def case(request: pytest.FixtureRequest) -> Summary:
    return CASES[request.param]()


@pytest.mark.parametrize("draw", FUNCTIONS, ids=lambda draw: draw.__name__)
def test_every_case_can_be_drawn(draw, case: Summary) -> None:
    for comparison in case.comparisons:
        drawing = draw(case, comparison)
        assert drawing.to_json()
        figure = checked(drawing)
        for trace in figure.data:
            for values in (trace.x, trace.y):
                assert all(value is None or np.isfinite(value) for value in values)


@pytest.mark.long
@pytest.mark.parametrize("name", ["plain", "log_zero", "all_diverged", "nothing_yet", "one_seed", "hostile"])
def test_every_kind_of_case_can_be_printed(name: str, tmp_path: Path) -> None:
    case = CASES[name]()
    before = dict(matplotlib.rcParams)
    files = matplotlib_figures.save_figures(case, tmp_path / "deep" / "figures", extension="png")
    assert dict(matplotlib.rcParams) == before
    more = [file for file in files if file.stem.endswith(tuple(matplotlib_figures.MORE))]
    assert len(files) - len(more) == len(case.comparisons)
    assert all(file.stem.endswith(matplotlib_figures.RATES) for file in more)
    assert all(file.parent == tmp_path / "deep" / "figures" and file.stat().st_size > 1000 for file in files)


@pytest.mark.long
@pytest.mark.parametrize("kind", ["pdf", "svg"])
def test_figures_are_the_same_bytes_each_time(kind: str, tmp_path: Path) -> None:
    summary = make_summary()
    first, second = (matplotlib_figures.save_figures(summary, tmp_path / each, extension=kind)[0] for each in "ab")
    assert first.name == f"bowl.{kind}"
    assert first.read_bytes() == second.read_bytes()
    assert b"Type3" not in first.read_bytes()


def test_problems_whose_names_make_one_file_name_have_a_file_each(tmp_path: Path) -> None:
    names = ("a b", "a-b", "A/B")
    summary = make_summary(make_plan(["sgd"], problems=[make_problem(name) for name in names], points=1))
    files = matplotlib_figures.save_figures(summary, tmp_path, extension="svg")
    assert len({file.name.casefold() for file in files}) == len(files)
    assert len(files) >= len(names)


def test_a_curve_says_in_how_many_studies_nothing_trained() -> None:
    plan = in_studies(make_plan(["sgd", "adam"], points=2, seeds=2), 3)
    summary = make_summary(plan, diverged=lambda label, trial: label == "sgd" and trial.study == 0)
    names = {curve.result.label: curve.name for curve in figure_data.curves(summary, summary.comparisons[0])}
    assert names == {"sgd": "sgd (nothing trained in 1 of 3 studies)", "adam": "adam"}


def test_unknown_format_names_the_valid_ones(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"'pfd'.*pdf.*png.*svg"):
        matplotlib_figures.save_figures(make_summary(), tmp_path, extension="pfd")


def test_unwritable_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"file/figures/bowl\.pdf"):
        matplotlib_figures.save_figures(make_summary(), tmp_path / "file" / "figures")


@pytest.mark.parametrize("metric", METRICS)
def test_curves_are_medians_and_quartiles_over_seeds(metric: str) -> None:
    meaning = METRICS[metric]
    summary = make_summary(make_plan(problems=[make_problem(metric=meaning)], seeds=7))
    (comparison,) = summary.comparisons
    figure = checked(plotly_figures.curves(summary, comparison))
    for rank, result in enumerate(comparison.results):
        band, line = figure.data[2 * rank : 2 * rank + 2]
        values = np.array([outcome.curves["error"] for outcome in result.outcomes if outcome], np.float64)
        assert line.name == result.label
        np.testing.assert_array_equal(line.x, [0, 10, 20, 30, 40])
        np.testing.assert_allclose(line.y, np.median(values, axis=0), rtol=1e-5)  # 7 seeds: an order statistic
        space = np.log(values) if meaning.scale == "log" else values
        expected = np.sort(np.quantile(space, [0.25, 0.75], axis=0), axis=0)
        drawn = np.sort([band.y[:5], band.y[5:][::-1]], axis=0)
        np.testing.assert_allclose(np.log(drawn) if meaning.scale == "log" else drawn, expected, rtol=1e-4, atol=1e-6)
    lines = [trace.name for trace in figure.data if trace.mode == "lines"]
    assert lines == [result.label for result in comparison.results]
    assert figure.layout.yaxis.type == meaning.scale
    assert figure.layout.shapes[0].y0 == comparison.target


def test_diverged_seeds_count_as_worst_in_curves() -> None:
    summary = make_summary(diverged=lambda label, trial: label == "lion" and trial.stage == "final" and trial.seed < 6)
    (comparison,) = summary.comparisons
    lion = next(each for each in figure_data.curves(summary, comparison) if each.result.label == "lion")
    assert np.isfinite(lion.middle[:2]).all()
    assert np.isposinf(lion.middle[2:]).all()
    assert np.isfinite(lion.low[2:]).all()  # four of ten trained
    figure = checked(plotly_figures.curves(summary, comparison))
    line = next(trace for trace in figure.data if trace.name == "lion" and trace.mode == "lines")
    assert line.y[-1] >= max(max(trace.y) for trace in figure.data if trace.name != "lion" and trace.mode == "lines")


def test_seeds_that_stopped_early_keep_the_value_they_ended_with() -> None:
    plan = make_plan(["a"], seeds=1)
    with Store(None) as store:
        fill(store, plan)
        (record,) = [each for each in store.records().values() if each.outcome.trial.stage == "final"]
        ended = replace(
            record.outcome,
            status="stopped",
            steps=np.array([0, 10, 20], np.int64),
            curves={"error": np.array([1.0, 0.25, 0.5], np.float32)},
            restored_at=10,
        )
        store.add([ended], record.program)
        (comparison,) = summarize(store).comparisons
        (curve,) = figure_data.curves(summarize(store), comparison)
    assert curve.middle.tolist() == [1.0, 0.25, 0.5, 0.25, 0.25]


def test_incomplete_contenders_are_drawn_with_what_is_there() -> None:
    summary = make_summary(missing=lambda label, trial: label == "adam" and trial.stage == "final" and trial.seed > 3)
    (comparison,) = summary.comparisons
    names = [trace.name for trace in checked(plotly_figures.curves(summary, comparison)).data]
    assert "adam (4 of 10 seeds)" in names
    result = next(result for result in comparison.results if result.label == "adam")
    drawn = [
        trace for trace in checked(plotly_figures.finals(summary, comparison)).data if trace.name == "adam, validation"
    ]
    assert len(drawn[0].x) == 4 == len(result.scores)


@pytest.mark.parametrize("metric", METRICS)
def test_finals_show_every_seed_and_the_tables_medians(metric: str) -> None:
    summary = make_summary(make_plan(problems=[make_problem(metric=METRICS[metric])]))
    (comparison,) = summary.comparisons
    figure = checked(plotly_figures.finals(summary, comparison))
    axis = figure_data.fit_axis(comparison.problem, [each.values for each in figure_data.finals(comparison)])
    low, high = axis.bounds
    for rank, result in enumerate(comparison.results):
        for split, interval, sign in (("test", result.final, -1), ("validation", result.validation, 1)):
            dots, median = (trace for trace in figure.data if trace.name == f"{result.label}, {split}")
            ends = [
                outcome.curves["error"][-1] if sign < 0 else outcome.validation["error"] for outcome in result.outcomes
            ]
            exact = np.array(ends)
            np.testing.assert_allclose(dots.x, np.clip(exact, low, high), rtol=0.06)
            inside = np.array(dots.marker.symbol) != "x"
            np.testing.assert_allclose(np.array(dots.x)[inside], np.array(exact)[inside], rtol=1e-4)
            assert median.x[0] == pytest.approx(np.clip(interval.estimate, low, high))
            assert median.x[0] - median.error_x.arrayminus[0] == pytest.approx(np.clip(interval.low, low, high))
            assert median.x[0] + median.error_x.array[0] == pytest.approx(np.clip(interval.high, low, high))
            assert sign * (median.y[0] - rank) > 0
    assert list(figure.layout.yaxis.ticktext) == [result.label for result in comparison.results]
    assert figure.layout.yaxis.range[0] > figure.layout.yaxis.range[1]  # rank 1 on top


def test_diverged_finals_are_crosses_at_the_edge() -> None:
    summary = make_summary(diverged=lambda label, trial: label == "lion" and trial.stage == "final" and trial.seed == 2)
    (comparison,) = summary.comparisons
    dots = next(
        trace for trace in checked(plotly_figures.finals(summary, comparison)).data if trace.name == "lion, test"
    )
    assert [index for index, symbol in enumerate(dots.marker.symbol) if symbol == "x"] == [2]
    assert dots.hovertext[2] == "diverged"
    assert dots.x[2] == max(dots.x)


def test_no_interval_is_drawn_where_there_is_none() -> None:
    summary = make_summary(make_plan(seeds=3))
    (comparison,) = summary.comparisons
    assert math.isinf(comparison.results[0].final.low)
    for trace in checked(plotly_figures.finals(summary, comparison)).data:
        if trace.error_x.array is not None:
            assert trace.error_x.array[0] == trace.error_x.arrayminus[0] == 0


def test_sensitivity_shows_every_point_and_marks_the_winner() -> None:
    summary = make_summary(diverged=lambda label, trial: trial.hyperparameters["learning_rate"] == 1.0)
    (comparison,) = summary.comparisons
    figure = checked(plotly_figures.sensitivity(summary, comparison))
    assert figure.layout.xaxis.type == "log"
    for result in comparison.results:
        points, legend = (trace for trace in figure.data if trace.name == result.label)
        np.testing.assert_array_equal(
            points.x, [point.hyperparameters["learning_rate"] for point in result.tuning.points]
        )
        expected = [unoriented(comparison.problem, "error", float(score)) for score in result.tuning.scores]
        symbols = list(points.marker.symbol)
        for value, drawn, symbol in zip(expected, points.y, symbols, strict=True):
            assert (symbol == "x") == (value > max(points.y))
            assert symbol == "x" or drawn == pytest.approx(value, rel=1e-5)
        assert symbols[-1] == "x" and points.hovertext[-1].startswith("diverged")
        assert [index for index, symbol in enumerate(symbols) if symbol == "star"] == [result.tuning.winner]
        assert legend.marker.symbol not in ("x", "star")


def test_points_that_have_not_run_are_not_shown_as_diverged() -> None:
    def missing(label, trial):
        return label == "sgd" and trial.stage == "tuning" and trial.hyperparameters["learning_rate"] > 0.5

    summary = make_summary(missing=missing)
    (comparison,) = summary.comparisons
    points = next(
        trace for trace in checked(plotly_figures.sensitivity(summary, comparison)).data if trace.name == "sgd"
    )
    assert len(points.x) == 4
    assert "sgd" not in [trace.name for trace in checked(plotly_figures.tuning_curve(summary, comparison)).data]


def test_tuning_curves_are_medians_with_the_bands_of_the_points() -> None:
    summary = make_summary(make_plan(problems=[make_problem(metric=HIGHER, target=0.5)]))
    (comparison,) = summary.comparisons
    figure = checked(plotly_figures.tuning_curve(summary, comparison))
    assert len(figure.data) == 9
    for place, result in enumerate(comparison.results):
        bands = stats.tuning_bands(result.tuning.scores)
        shown = dict(zip(("low", "high", "middle"), figure.data[3 * place : 3 * place + 3], strict=True))
        for name, numbers in (("low", bands.median_low), ("high", bands.median_high), ("middle", bands.median)):
            known = np.isfinite(numbers)
            np.testing.assert_array_equal(shown[name].x, np.arange(1, 6)[known])
            np.testing.assert_allclose(shown[name].y, -numbers[known])
    assert figure.layout.yaxis.title.text == "median best tuning accuracy"


def test_points_that_are_no_sample_have_the_expected_best_and_no_band() -> None:
    summary = make_summary(make_plan(tuner=Tuner("grid")))
    (comparison,) = summary.comparisons
    figure = checked(plotly_figures.tuning_curve(summary, comparison))
    lines = [trace for trace in figure.data if len(trace.x)]
    for trace, result in zip(lines, comparison.results, strict=True):
        np.testing.assert_allclose(trace.y, result.tuning.curve)
    assert figure.layout.yaxis.title.text == "expected best tuning error"


def test_a_contender_looks_the_same_everywhere() -> None:
    problems = [make_problem("bowl"), make_problem("cup", metric=HIGHER)]
    summary = make_summary(make_plan([f"optimizer-{index}" for index in range(9)], problems=problems, seeds=6))
    looks: dict[str, set] = {}
    for comparison in summary.comparisons:
        for trace in checked(plotly_figures.curves(summary, comparison)).data:
            if trace.mode == "lines":
                looks.setdefault(trace.name, set()).add((trace.line.color, trace.line.dash))
        for trace in [
            each
            for each in checked(plotly_figures.tuning_curve(summary, comparison)).data
            if each.mode == "lines+markers"
        ]:
            looks.setdefault(trace.name, set()).add((trace.line.color, trace.line.dash))
    assert all(len(each) == 1 for each in looks.values())
    assert len(set.union(*looks.values())) == 9


def test_labels_are_shown_literally() -> None:
    summary = make_summary(make_plan([HOSTILE, "adam"]))
    figure = checked(plotly_figures.curves(summary, summary.comparisons[0]))
    assert {trace.name for trace in figure.data} == {'&lt;b&gt;&amp;"$x_1$', "adam"}


def test_axes_leave_out_what_is_far_off() -> None:
    problem = make_problem()
    axis = figure_data.fit_axis(problem, [np.array([1.0, 1.1, 1.2, 1.3, 1e12, np.inf])])
    assert axis.bounds[1] < 10
    assert axis.off(np.array([1.2, 1e12, np.inf])).tolist() == [False, True, True]
    assert axis.pinned(np.array([1e12])) == axis.worst < axis.bounds[1]
    wide = figure_data.fit_axis(problem, [np.array([1.0, 2.0, 3.0, 4.0])], always=[0.5])
    assert wide.bounds[0] < 0.5 and wide.bounds[1] > 4.0


def test_far_off_finals_are_crosses_that_say_their_value() -> None:
    def curve(plan, problem, contender, trial):
        return [1.0, 0.9, 0.8, 0.7, 1e12 if (trial.stage, trial.seed) == ("final", 2) else 0.5 + 0.01 * trial.seed]

    summary = make_summary(curve=curve)
    figure = checked(plotly_figures.finals(summary, summary.comparisons[0]))
    dots = next(trace for trace in figure.data if trace.name == "lion, test")
    assert [index for index, symbol in enumerate(dots.marker.symbol) if symbol == "x"] == [2]
    assert dots.hovertext[2] == "1.00e+12"
    assert dots.x[2] < figure.layout.xaxis.range[1] < 2


def test_between_perfect_and_diverged_is_diverged() -> None:
    plan = make_plan(problems=[make_problem(metric=LOG)])
    summary = make_summary(
        plan,
        curve=lambda plan, problem, contender, trial: [1.0, 0.1, 0.1, 0.1 if trial.stage == "tuning" else 0.0, 0.1],
        diverged=lambda label, trial: trial.stage == "final" and trial.seed < 5,
    )
    for curve in figure_data.curves(summary, summary.comparisons[0]):
        assert curve.middle[3] == np.inf
        assert curve.low[3] == pytest.approx(np.log10(np.finfo(np.float32).tiny))  # what 0 counts as


@pytest.mark.long
def test_probes_have_a_panel_a_curve_and_a_median_over_the_seeds_that_have_one():
    plan = replace(make_plan(["a", "b"], seeds=3), probes={"effective_learning_rate": False})
    with Store(None) as store:
        fill(store, plan)
        for name, record in store.records().items():
            outcome = record.outcome
            if outcome.trial.stage == "final":
                seed, nan = outcome.trial.seed, np.nan
                curves = {
                    **outcome.curves,
                    "effective_learning_rate": np.array([nan, seed, 2 * seed, nan, nan], np.float32),
                    "learning_rate": np.array([nan, 1, nan if seed else 5, nan, nan], np.float32),
                }
                store.add([replace(outcome, curves=curves)], record.program)
                assert name == outcome.trial.id
        summary = summarize(store)
    (comparison,) = summary.comparisons
    found = figure_data.probe_curves(summary, comparison)
    assert [(each.name, each.result.label) for each in found] == [
        (name, result.label) for name in ("effective_learning_rate", "learning_rate") for result in comparison.results
    ]
    assert [each.middle.tolist() for each in found[:2]] == [[1, 2], [1, 2]]  # of seeds 0, 1, 2
    assert found[0].spent.tolist() == [10, 20]
    assert found[2].middle.tolist() == [1, 5]
    figure = checked(plotly_figures.probes(summary, comparison))
    assert len(figure.data) == 4 and len({trace.xaxis for trace in figure.data}) == 2
    assert checked(plotly_figures.probes(make_summary(), make_summary().comparisons[0])).data == ()
