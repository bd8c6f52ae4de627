"""Figures of ranks, learning rates, factors and surfaces show what the numbers say, on the page and in papers."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
import pytest

from dlkit.bench import stats
from dlkit.bench.analysis.factor_grid import factor_grids
from dlkit.bench.analysis.rank_groups import groups_of, not_grouped, rank_groups
from dlkit.bench.analysis.rate_curves import rate_curve, rate_curves
from dlkit.bench.analysis.summary import Summary, summarize
from dlkit.bench.analysis.surface_paths import COORDINATES, SURFACES, surface_paths
from dlkit.bench.errors import UserError
from dlkit.bench.plan.metric import Metric
from dlkit.bench.plan.plan import Plan
from dlkit.bench.plan.policies import Tuner
from dlkit.bench.report import (
    figure_list,
    looks,
    matplotlib_figures,
    matplotlib_paper,
    plotly_across,
    plotly_bundle,
    plotly_factors,
    plotly_figures,
    plotly_surfaces,
    surface_data,
    tables_across,
)
from dlkit.bench.report.grid_scale import grid_scale
from dlkit.bench.report.plotly_drawing import literal
from dlkit.bench.store.store import Store
from tests.bench.figures import checked
from tests.bench.synthetic import fill, make_contender, make_plan, make_problem, make_summary

GAP = Metric("lower", "log", "gap")


def many_problems(count: int = 8, labels: tuple[str, ...] = ("sgd", "adam", "lion")) -> Summary:
    return make_summary(make_plan(labels, problems=[make_problem(f"bowl {index}") for index in range(count)], seeds=6))


def grid_plan(problem_name: str = "bowl") -> Plan:
    """Two optimizers with three schedules, of which one pair is missing."""
    plan = make_plan(problems=[make_problem(problem_name)], seeds=6)
    contenders = [
        replace(
            make_contender(f"{name} ({schedule})"), schedule=schedule, levels={"optimizer": name, "schedule": schedule}
        )
        for name in ("sgd", "adam")
        for schedule in ("constant", "cosine", "linear")
        if (name, schedule) != ("adam", "linear")
    ]
    return replace(plan, contenders=contenders)


def on_a_surface(name: str, *, kept: bool = True) -> Summary:
    """Trials that go straight from (0, 0) to (seed, 1)."""
    plan = replace(make_plan(["a", "b"], problems=[make_problem(name)], seeds=3), probes={"coordinates": False})
    with Store(None) as store:
        fill(store, plan)
        for record in list(store.records().values()):
            trial, outcome = record.outcome.trial, record.outcome
            if kept and trial.stage == "final":
                places = np.linspace(0, 1, len(outcome.steps), dtype=np.float32)
                curves = {COORDINATES[0]: trial.seed * places, COORDINATES[1]: places}
                store.add([replace(outcome, curves={**outcome.curves, **curves})], record.program)
        return summarize(store)


# --- critical differences ---


def test_groups_are_the_cliques_of_those_not_told_apart() -> None:
    """The graph by hand: 0-1, 1-2 and 0-2 near, 2-3 near, 4 near nobody, 3 and 0 apart although 3 is near 2."""
    near = np.eye(5, dtype=bool)
    for a, b in ((0, 1), (1, 2), (0, 2), (2, 3)):
        near[a, b] = near[b, a] = True
    assert groups_of(~near) == [(0, 1, 2), (2, 3)]
    assert groups_of(np.zeros((4, 4), bool)) == [(0, 1, 2, 3)]
    assert groups_of(~np.eye(3, dtype=bool)) == []


@pytest.fixture(scope="module")
def ten_problems() -> Summary:
    return many_problems(10)


def test_critical_differences_are_the_tables(ten_problems: Summary) -> None:
    summary = ten_problems
    found = rank_groups(summary.overview)
    assert found is not None
    ranks = summary.overview.ranks
    assert ranks is not None and found.problems == 10
    assert found.distance == pytest.approx(stats.nemenyi_distance(3, 10, 0.05))
    pairs = {frozenset((a, b)) for group in found.groups for a in group for b in group if a != b}
    for a in range(3):
        for b in range(a):
            is_near = abs(found.mean_ranks[a] - found.mean_ranks[b]) <= found.distance
            assert (frozenset((a, b)) in pairs) == is_near
    assert list(found.mean_ranks) == sorted(found.mean_ranks)
    assert len(pairs) < 3  # later contenders are better on every problem: somebody is told apart


def test_the_diagram_has_a_bar_for_each_group_and_a_mark_for_each_contender(ten_problems: Summary) -> None:
    summary = ten_problems
    found = rank_groups(summary.overview)
    assert found is not None
    figure = checked(plotly_across.critical_difference(summary))
    marks = [trace for trace in figure.data if trace.name != "not told apart"]
    assert [trace.x[-1] for trace in marks] == pytest.approx(found.mean_ranks)
    bars = [trace for trace in figure.data if trace.name == "not told apart"]
    assert [tuple(trace.y) for trace in bars] == list(found.groups)
    assert all(min(bar.x) > 3 for bar in bars)  # beside the ranks, not on them


@pytest.mark.parametrize(("problems", "contenders", "told"), [(2, 3, False), (3, 3, True), (2, 6, False), (3, 6, True)])
def test_no_diagram_where_no_ranks_whatever_could_tell(problems: int, contenders: int, told: bool) -> None:
    """Nemenyi's distances by Demsar's table 5: 2.343 sqrt(k (k + 1) / 6 n) for k = 3, 2.850 for k = 6."""
    labels = tuple("abcdef"[:contenders])
    summary = many_problems(problems, labels)
    q = {3: 2.343, 6: 2.850}[contenders]
    assert (q * math.sqrt(contenders * (contenders + 1) / (6 * problems)) < contenders - 1) == told
    reason = not_grouped(summary.overview)
    assert bool(reason) != told and (rank_groups(summary.overview) is None) != told
    assert (reason in tables_across.left_out(summary)) != told
    assert bool(checked(plotly_across.critical_difference(summary)).data) == told


def test_two_that_never_met_are_not_called_different() -> None:
    problems = [make_problem(f"bowl {index}") for index in range(8)]
    plan = make_plan(["a", "b", "c"], problems=problems, seeds=4)
    names = [each.name for each in problems]
    contenders = [
        plan.contenders[0],
        replace(plan.contenders[1], problems=tuple(names[:4])),
        replace(plan.contenders[2], problems=tuple(names[4:])),
    ]
    summary = make_summary(replace(plan, contenders=contenders))
    found = rank_groups(summary.overview)
    assert found is not None and found.distance is None
    labels = [summary.overview.contenders[index] for index in found.ranked]
    assert any({"b", "c"} <= {labels[place] for place in group} for group in found.groups)


# --- learning rates ---


def test_learning_rates_are_medians_over_studies_of_the_best_in_a_stretch() -> None:
    rng = np.random.default_rng(0)
    studies = np.repeat(np.arange(5), 6).astype(float)
    rates, scores = 10.0 ** rng.uniform(-4, 0, 30), rng.normal(size=30)
    middles, typical, points = rate_curve(rates, scores, studies)
    edges = np.linspace(np.log10(rates).min(), np.log10(rates).max(), 7)  # 30 points, 5 of them in each of 6 stretches
    assert points.sum() == 30
    for middle, score, count in zip(middles, typical, points, strict=True):
        place = int(np.argmin(np.abs((edges[:-1] + edges[1:]) / 2 - np.log10(middle))))
        own = (np.log10(rates) >= edges[place]) & (np.log10(rates) < edges[place + 1] + 1e-12 * (place == 5))
        best = [scores[own & (studies == study)].min() for study in range(5) if (own & (studies == study)).any()]
        assert score == pytest.approx(np.median(best)) and count == own.sum()


def test_stretches_where_most_studies_diverged_are_crosses_at_the_edge() -> None:
    summary = make_summary(diverged=lambda label, trial: trial.hyperparameters["learning_rate"] == 1.0)
    (comparison,) = summary.comparisons
    for each in rate_curves(comparison):
        assert len(each.scores) == 2 and np.isfinite(each.scores).all()  # five points in two stretches
    wide = make_summary(
        make_plan(points=12), diverged=lambda label, trial: trial.hyperparameters["learning_rate"] > 0.1
    )
    figure = checked(plotly_factors.learning_rates(wide, wide.comparisons[0]))
    assert len(figure.data) == 3 and figure.layout.xaxis.type == "log"
    for trace in figure.data:
        assert [symbol == "x" for symbol in trace.marker.symbol] == [False] * 3 + [True]
        assert trace.y[-1] == max(trace.y) and trace.hovertext[-1] == "diverged, 3 points"


def test_nothing_is_drawn_of_what_has_no_learning_rate_to_tune() -> None:
    plan = make_plan(points=1)
    summary = make_summary(plan)
    assert checked(plotly_factors.learning_rates(summary, summary.comparisons[0])).data == ()
    other = replace(make_plan(), contenders=[make_contender(label, name="damping") for label in ("sgd", "adam")])
    summary = make_summary(other)
    assert checked(plotly_factors.learning_rates(summary, summary.comparisons[0])).data == ()


# --- factors ---


def test_a_grid_has_the_median_of_each_contender_where_its_levels_meet() -> None:
    summary = make_summary(grid_plan())
    (comparison,) = summary.comparisons
    (grid,) = factor_grids(comparison, summary.plan.contenders)
    assert (grid.factor, list(grid.rows), list(grid.columns)) == (
        "schedule",
        ["sgd", "adam"],
        ["constant", "cosine", "linear"],
    )
    finals = {each.label: each.final.estimate for each in comparison.results}
    marks = []
    for row, line in zip(grid.rows, grid.cells, strict=True):
        for column, cell in zip(grid.columns, line, strict=True):
            if (row, column) == ("adam", "linear"):
                assert cell is None
                continue
            assert cell is not None and cell.result.final.estimate == finals[f"{row} ({column})"]
            marks.append((cell.mark, cell.result.label))
    assert [label for mark, label in marks if mark == "best"] == [comparison.results[0].label]
    worse = {each.label for each in comparison.ranking.compared if each.standing.is_worse}
    assert {label for mark, label in marks if mark == "worse"} == worse


@pytest.mark.parametrize("direction", ["lower", "higher"])
def test_the_best_cell_is_darkest_and_framed(direction: str) -> None:
    plan = grid_plan()
    problem = make_problem(metric=Metric(direction, "linear", "error"))  # type: ignore[arg-type]
    summary = make_summary(replace(plan, problems=[problem]))
    (comparison,) = summary.comparisons
    figure = checked(plotly_factors.factor_heat_map(summary, comparison))
    (heat,) = figure.data
    best = comparison.results[0]
    values = {annotation.text: (annotation.x, annotation.y) for annotation in figure.layout.annotations}
    (frame,) = figure.layout.shapes
    ((text, (x, y)),) = [(text, place) for text, place in values.items() if "★" in text]
    assert (frame.x0 < x < frame.x1) and (frame.y0 < y < frame.y1)
    assert heat.z[y][x] == max(value for line in heat.z for value in line if value is not None) == 1.0
    assert min(value for line in heat.z for value in line if value is not None) == pytest.approx(0.0)
    assert heat.z[1][2] is None
    assert f"{best.final.estimate:.3g}"[:4] in text


def test_a_grid_says_diverged_and_floors() -> None:
    plan = replace(grid_plan(), problems=[make_problem(metric=Metric("lower", "log", "gap", floor=1e-3))])
    summary = make_summary(
        plan,
        curve=lambda plan, problem, contender, trial: [
            1.0,
            0.5,
            0.5,
            0.5,
            1e-9 if "cosine" in contender.label else 0.5,
        ],
        diverged=lambda label, trial: label == "sgd (linear)" and trial.stage == "final",
    )
    (comparison,) = summary.comparisons
    grids = factor_grids(comparison, summary.plan.contenders)
    scale = grid_scale(comparison.problem, grids)
    texts = [[scale.text(cell) if cell else "" for cell in line] for line in grids[0].cells]
    assert texts[0][2].split(" ")[0] == "diverged" and texts[1][1].startswith("≤")
    assert scale.share(grids[0].cells[0][2]) == 0.0


def test_further_factors_make_a_grid_each() -> None:
    plan = grid_plan()
    both = [
        replace(each, label=f"{each.label} {size}", levels={**each.levels, "batch_size": size})
        for each in plan.contenders
        for size in ("8", "16")
    ]
    summary = make_summary(replace(plan, contenders=both))
    grids = factor_grids(summary.comparisons[0], summary.plan.contenders)
    rests = [(grid.factor, dict(grid.rest)) for grid in grids]
    assert [rest for factor, rest in rests if factor == "schedule"] == [{"batch_size": "8"}, {"batch_size": "16"}]
    assert [rest for factor, rest in rests if factor == "batch_size"] == [
        {"schedule": "constant"},
        {"schedule": "cosine"},
    ]  # with linear there is sgd alone
    assert factor_grids(make_summary().comparisons[0], make_plan().contenders) == []


# --- surfaces ---


@pytest.mark.long
@pytest.mark.parametrize("name", SURFACES)
def test_surfaces_are_the_functions_that_are_trained_on(name: str) -> None:
    import jax.numpy as jnp

    from dlkit.bench.problems import catalog

    problem = catalog.get(name)
    points = np.random.default_rng(0).normal(size=(20, 2)) * 2
    x, y = SURFACES[name].minimum
    assert SURFACES[name].value(np.array(x), np.array(y)) == pytest.approx(0, abs=1e-20)
    for point in points:
        params = {"x": jnp.asarray(point, jnp.float32)}
        expected = float(problem.evaluate(params, None, {})["suboptimality"])
        assert float(SURFACES[name].value(*point)) == pytest.approx(expected, rel=1e-4)


def test_paths_are_of_the_median_trial() -> None:
    summary = on_a_surface("rosenbrock")
    (comparison,) = summary.comparisons
    paths = surface_paths(comparison)
    assert [each.result.label for each in paths] == [each.label for each in comparison.results]
    for each in paths:
        order = np.argsort(each.result.scores)
        assert each.seed == order[1]  # the middle of three, whose seeds are 0, 1, 2
        np.testing.assert_allclose(each.points, [[each.seed * share, share] for share in (0, 0.25, 0.5, 0.75, 1)])
    figure = checked(plotly_surfaces.surface(summary, comparison))
    assert [trace.type for trace in figure.data] == ["contour", "scatter", "scatter", "scatter"]
    assert figure.data[-1].name == "minimum" and (figure.data[-1].x[0], figure.data[-1].y[0]) == (1, 1)
    heights = surface_data.surface_grid(SURFACES["rosenbrock"], paths)
    at = int(np.argmin(np.abs(heights.x - 1))), int(np.argmin(np.abs(heights.y - 1)))
    assert heights.heights[at[1], at[0]] < -1  # rows are the second coordinate


def test_no_paths_without_the_probe_or_on_other_problems() -> None:
    for summary in (on_a_surface("rosenbrock", kept=False), on_a_surface("bowl")):
        assert checked(plotly_surfaces.surface(summary, summary.comparisons[0])).data == ()
    own = on_a_surface("rosenbrock")
    (comparison,) = own.comparisons
    assert surface_paths(replace(comparison, problem=replace(comparison.problem, is_own=True))) == []
    assert surface_paths(replace(comparison, problem=replace(comparison.problem, choices={"dimension": 5}))) == []


# --- all of them ---


def cases() -> dict[str, Summary]:
    return {"problems": many_problems(3), "grid": make_summary(grid_plan()), "paths": on_a_surface("beale")}


@pytest.fixture(scope="module")
def summaries() -> dict[str, Summary]:
    return cases()


def every_figure(summary: Summary) -> dict[str, go.Figure]:
    return {
        **{
            f"{comparison.problem.name}: {each.title}": checked(each.draw(summary, comparison))
            for comparison in summary.comparisons
            for each in figure_list.ON_A_PROBLEM
        },
        **{each.title: checked(each.draw(summary)) for each in figure_list.ACROSS},
    }


@pytest.mark.parametrize("name", ["problems", "grid", "paths"])
def test_figures_keep_what_a_page_relies_on(name: str, summaries: dict[str, Summary]) -> None:
    summary = summaries[name]
    labels = {each.label for each in summary.plan.contenders}
    known = {each.upper() for each in looks.DARK}
    for title, figure in every_figure(summary).items():
        for trace in figure.data:
            assert trace.type in plotly_bundle.TRACES, title
            if trace.type != "scatter":
                continue
            starts = {label for label in labels if (trace.name or "").startswith(literal(label))}
            contender = trace.legendgroup if trace.legendgroup in labels else next(iter(starts), None)
            colours = [trace.line.color, trace.fillcolor and trace.fillcolor[:7], trace.marker.color]
            used = {each.upper() for each in colours if isinstance(each, str)}
            assert used <= known, title
            assert contender or used <= {looks.INK.upper(), looks.GREY.upper()}, (title, trace.name)


@pytest.mark.long
@pytest.mark.parametrize(("name", "width"), [("problems", "text"), ("grid", "column"), ("paths", "text")])
def test_figures_for_papers_have_their_width_and_true_letters(
    name: str, width: str, summaries: dict[str, Summary], tmp_path: Path
) -> None:
    files = matplotlib_figures.save_figures(summaries[name], tmp_path, extension="pdf", width=width)
    endings = {
        "problems": {"critical-differences", "across-problems"},
        "grid": {"bowl-factors"},
        "paths": {"beale-paths"},
    }
    assert endings[name] <= {file.stem for file in files}
    for file in files:
        data = file.read_bytes()
        box = data.split(b"/MediaBox [")[1].split(b"]")[0].split()
        assert float(box[2]) == pytest.approx(72 * {"column": 3.25, "text": 6.75}[width], abs=0.5), file.name
        assert b"/Type3" not in data and b"/Type42" not in data and b"FontFile2" in data, file.name


@pytest.mark.long
@pytest.mark.parametrize("width", [3.25, 6.75])
def test_no_letter_of_a_paper_is_cut_off(width: float) -> None:
    """With long names, many contenders and gaps: every text lies within the page."""
    labels = [f"a-rather-long-name (schedule=cosine, batch={index})" for index in range(9)]
    problems = [make_problem(f"bowl {index}") for index in range(4)]
    plan = make_plan(labels, problems=problems, seeds=3)
    gap = replace(plan.contenders[3], problems=tuple(each.name for each in problems[1:]))
    summary = make_summary(replace(plan, contenders=[*plan.contenders[:3], gap, *plan.contenders[4:]]))
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.text import Text

    drawn: list[str] = []
    for stem, draw in matplotlib_figures._every_figure(summary, width):
        figure = draw()
        if figure is None or stem.startswith(("bowl 1", "bowl 2", "bowl 3")):
            continue
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        drawn.append(stem)
        box, (wide, high) = figure.get_tightbbox(canvas.get_renderer()), figure.get_size_inches()
        assert wide == width
        assert box.x0 >= -0.01 and box.y0 >= -0.01 and box.x1 <= wide + 0.01 and box.y1 <= high + 0.01, stem
        for text in figure.findobj(Text):
            assert not text.get_text() or text.get_fontsize() >= matplotlib_paper.SMALL, (stem, text.get_text())
    assert {"across-problems", "critical-differences", "bowl 0-learning-rates"} <= set(drawn)


def test_unknown_widths_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no width 'colunm' of figures.*column"):
        matplotlib_figures.save_figures(make_summary(), tmp_path, width="colunm")


def test_tuning_curves_of_studies_stay_within_what_a_metric_can_be() -> None:
    """Studies at different levels: the best of a study is never above the best of any point."""

    def curve(plan, problem, contender, trial):
        level = 0.9 if trial.seed // 1000 % 2 else 0.2
        rate = trial.hyperparameters["learning_rate"]
        return [0.0, *[min(level + 0.05 * math.log10(rate / 1e-3), 1.0)] * 4]

    problem = make_problem(metric=Metric("higher", "linear", "accuracy", least=0.0, most=1.0), target=0.5)
    plan = make_plan(problems=[problem], tuner=Tuner("random", studies=6), seeds=2, tuning_seeds=1)
    plan = replace(plan, contenders=[replace(each, further=(each.points,) * 5) for each in plan.contenders])
    summary = make_summary(plan, curve=curve)
    figure = checked(plotly_figures.tuning_curve(summary, summary.comparisons[0]))
    lines = [trace for trace in figure.data if len(trace.x)]
    assert lines and all(max(trace.y) <= 1.0 for trace in lines)
    assert figure.layout.yaxis.title.text == "expected best tuning accuracy"
    for trace, result in zip(
        [each for each in lines if each.mode == "lines+markers"], summary.comparisons[0].results, strict=True
    ):
        expected = np.median([[-value for value in each.curve] for each in result.tunings], axis=0)
        np.testing.assert_allclose(trace.y, expected)
