"""The parts of the page: its picture, filters, axes of curves, and the numbers to keep."""

import base64
import gzip
import json
import math
from dataclasses import replace

import numpy as np
import pytest

from dlkit.bench.analysis import frames
from dlkit.bench.analysis.answer import Answer, answer
from dlkit.bench.analysis.answer_rows import Cell, Row
from dlkit.bench.analysis.summary import Summary
from dlkit.bench.plan.metric import Metric
from dlkit.bench.plan.policies import Tuner
from dlkit.bench.plan.space import Point
from dlkit.bench.plan.trials import Evaluations
from dlkit.bench.report import plotly_across
from dlkit.bench.report.looks import COLOURS, DARK, MARKS
from dlkit.bench.report.page.answer_picture import picture
from dlkit.bench.report.page.answer_table import SIGNS, answer_table
from dlkit.bench.report.page.curve_axes import curve_axes
from dlkit.bench.report.page.downloads import downloads
from dlkit.bench.report.page.looks import looks
from dlkit.bench.report.page.markup import Names, shown_table
from dlkit.bench.report.page.problem_cards import card
from dlkit.bench.report.page.provenance import failures
from dlkit.bench.report.page.sentences import shared_notes
from dlkit.bench.report.page.terms import TERMS, term
from dlkit.bench.report.tables import Table
from dlkit.bench.stats import Interval
from tests.bench.figures import checked
from tests.bench.synthetic import make_plan, make_problem, make_summary

NAN = math.nan


@pytest.fixture(scope="module")
def summary() -> Summary:
    return make_summary(make_plan(problems=[make_problem("bowl"), make_problem("cup", metric=Metric("higher"))]))


def row_of(summary: Summary, *scores: Interval | None) -> Row:
    """A row whose contenders have these scores."""
    cells = [Cell(f"c{i}", "tied", Interval(1.0, 0.0, 2.0), None, "text", score) for i, score in enumerate(scores)]
    return Row(summary.comparisons[0], "tie", "nobody leads", {each.label: each for each in cells})


def test_marks_lie_where_their_scores_do(summary: Summary) -> None:
    """The leader's line is at 1, places are linear in scores, and an end without a bound has an arrow."""
    scores = (Interval(1.0, 1.0, 1.0), Interval(0.5, 0.25, 0.75), Interval(0.25, -math.inf, 9.0), None)
    labels = tuple(f"c{i}" for i in range(4))
    looking = dict(zip(labels, [next(iter(looks(summary).values()))] * 4, strict=True))
    made = picture(Answer("", (), labels, (row_of(summary, *scores),)), looking)
    marks = {each.title[:2]: each for each in made.rows[0].marks}
    assert list(marks) == ["c2", "c1", "c0"]  # the first is drawn last
    assert marks["c0"].x == made.leader and marks["c0"].low == marks["c0"].high
    assert 0 < marks["c1"].low < marks["c1"].x < marks["c1"].high < made.leader
    assert made.leader - marks["c1"].x == pytest.approx(2 * (marks["c1"].x - marks["c2"].x), abs=0.03)
    assert (marks["c1"].goes_on_low, marks["c1"].goes_on_high) == (False, False)
    assert (marks["c2"].goes_on_low, marks["c2"].goes_on_high) == (True, True)
    assert (marks["c2"].low, marks["c2"].high) == (0.0, 100.0)
    assert marks["c0"].y < marks["c1"].y < marks["c2"].y


def test_an_interval_without_ends_is_no_line(summary: Summary) -> None:
    labels = ("c0",)
    looking = {"c0": next(iter(looks(summary).values()))}
    endless = row_of(summary, Interval(0.5, -math.inf, math.inf))
    (mark,) = picture(Answer("", (), labels, (endless,)), looking).rows[0].marks
    assert mark.low == mark.high == mark.x and not (mark.goes_on_low or mark.goes_on_high)


def test_many_rows_fit_on_a_screen(summary: Summary) -> None:
    labels = tuple(f"c{i}" for i in range(12))
    looking = dict.fromkeys(labels, next(iter(looks(summary).values())))
    rows = tuple(row_of(summary, *[Interval(i / 12, 0.0, 1.0) for i in range(12)]) for _ in range(12))
    made = picture(Answer("", (), labels, rows), looking)
    assert sum(each.height for each in made.rows) < 600
    few = picture(Answer("", (), labels[:2], (row_of(summary, *[Interval(1.0, 1.0, 1.0)] * 2),)), looking)
    assert few.rows[0].height < 60


def luminance(colour: str) -> float:
    """As the accessibility guidelines (WCAG 2.2) define it."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_every_colour_is_told_from_dark_ground() -> None:
    ground = luminance("#12171c")
    assert {*DARK} >= {*COLOURS}
    for colour in DARK.values():
        assert (luminance(colour) + 0.05) / (ground + 0.05) >= 3  # of graphical objects
    assert len({*DARK.values()}) == len(DARK)


def test_contenders_look_as_in_figures() -> None:
    found = looks(make_summary(make_plan([f"c{i}" for i in range(9)], seeds=6, points=1)))
    assert [look.light for look in found.values()] == [COLOURS[i % len(COLOURS)] for i in range(9)]
    assert len({look.path for look in found.values()}) == len(MARKS)  # none falls back on a circle
    assert len({(look.light, look.path) for look in found.values()}) == 9


def test_the_table_explains_its_signs_and_ranks(summary: Summary) -> None:
    answered = answer(summary)
    made = answer_table(summary, answered, looks(summary))
    places = {cell.place for row in answered.rows for cell in row.cells.values()}
    assert {*made.legend} == {SIGNS[place] for place in places} and len({sign for sign, _ in SIGNS.values()}) == len(
        SIGNS
    )
    assert [(each.name, each.arrow) for each in made.columns] == [("bowl", "↓"), ("cup", "↑")]
    ranks = {each.label: each.mean_rank for each in summary.overview.by_contender()}
    for line in made.lines:
        assert line.rank is not None and line.rank.value == f"{ranks[line.look.label].estimate:.2f}"
    alone = make_summary(make_plan())
    assert not answer_table(alone, answer(alone), looks(alone)).has_ranks


def test_rows_and_columns_are_of_contenders_and_problems() -> None:
    names = Names({"adam": 0, "sgd": 1}, {"bowl": 0})
    made = shown_table(names, Table(["rank", "optimizer", "bowl"], [["1", "sgd", "2 [1, 3]"], ["2", "other", "5"]]), "")
    assert [each.of for each in made.header] == ["", "", "p0"]
    assert [row.of for row in made.rows] == ["c1", ""]
    assert made.rows[0].cells[2][:3] == ("2", "[1, 3]", "p0")
    across = shown_table(names, Table(["problem", "sgd"], [["bowl", "1"]]), "")
    assert (across.header[1].of, across.rows[0].of) == ("c1", "p0")


def test_terms_are_those_of_headings() -> None:
    assert term("adjusted p of steps") == "adjusted-p"
    assert term("median [95 %]") == "median-steps"
    assert term("test [95 %]") == "values"
    assert (term("points"), term("problem"), term("parameters"), term("planned")) == ("",) * 4
    assert all(term(heading) == name for heading, name in TERMS.items())


def test_notes_of_several_problems_are_said_once() -> None:
    problems = [
        replace(make_problem(name), leaks=leaks) for name, leaks in (("a", ("x", "y")), ("b", ("y",)), ("c", ()))
    ]
    summary = make_summary(make_plan(problems=problems, seeds=6))
    found = {each.text: list(each.problems) for each in shared_notes(summary, ())}
    assert found["y"] == ["a", "b"] and "x" not in found
    assert "y" not in {each.text for each in shared_notes(summary, {"y"})}
    names = Names({}, {})
    first = card(summary, summary.comparisons[0], answer(summary).rows[0], names, 0, found)
    assert "x" in first.notes and not {*first.notes} & {*found} and first.said_above >= 1


def test_curves_against_gradients_and_examples() -> None:
    """Batches of 8: at step s of an optimizer that takes two gradients a step lie 2 s gradients and 16 s examples."""
    summary = make_summary(make_plan(problems=[replace(make_problem(), examples=(60, 20, 20))]))
    (comparison,) = summary.comparisons
    made = curve_axes(summary, comparison)
    assert made is not None
    assert made["own"] == "steps" and list(made["titles"]) == ["steps", "gradients", "examples"]  # none was timed
    assert made["at"]["adam"] == {
        "steps": [0, 10, 20, 30, 40],
        "gradients": [0, 10, 20, 30, 40],
        "examples": [0, 80, 160, 240, 320],
    }
    for result in comparison.results:
        for study in result.studies:
            for place, outcome in enumerate(study.outcomes):
                twice = replace(outcome, gradients=2.0 * outcome.steps, evaluations=Evaluations(80))
                study.outcomes[place] = twice  # type: ignore[index]
        result.__dict__.pop("outcomes", None)
    twice_as_many = curve_axes(summary, comparison)
    assert twice_as_many is not None
    assert twice_as_many["at"]["adam"]["gradients"] == [0, 20, 40, 60, 80]
    assert twice_as_many["at"]["adam"]["examples"] == [0, 160, 320, 480, 640]


def test_curves_of_surfaces_have_no_examples_and_none_ran_no_axes() -> None:
    summary = make_summary()
    made = curve_axes(summary, summary.comparisons[0])
    assert made is not None and "examples" not in made["titles"]
    nothing = make_summary(missing=lambda label, trial: True)
    assert curve_axes(nothing, nothing.comparisons[0]) is None


def test_numbers_to_keep_are_those_of_the_frames() -> None:
    summary = make_summary(diverged=lambda label, trial: label == "lion" and trial.seed == 3)
    found = {each.name: json.loads(gzip.decompress(base64.b64decode(each.data))) for each in downloads(summary)}
    for name, frame in {"trials": frames.trials(summary), "table": frames.table(summary)}.items():
        assert found[name]["columns"] == list(frame.columns)
        for column, values in zip(frame.columns, found[name]["values"], strict=True):
            for shown, value in zip(values, frame[column].tolist(), strict=True):
                is_number = isinstance(value, float)
                if is_number and not math.isfinite(value):
                    assert shown == (None if math.isnan(value) else "inf" if value > 0 else "-inf")
                else:
                    assert shown == value or shown == str(value)
    kept, expected = found["curves"], frames.curves(summary)
    values = np.frombuffer(base64.b64decode(kept["values"]), "<f4")
    rows = [
        [problem, optimizer, seed, step, metric]
        for problem, optimizer, seed, metric, at in kept["curves"]
        for step in kept["steps"][at]
    ]
    assert rows == expected[["problem", "optimizer", "seed", "step", "metric"]].values.tolist()
    np.testing.assert_array_equal(values, expected["value"].to_numpy(np.float32))


def test_settings_of_every_study_are_shown() -> None:
    plan = make_plan(("a", "b"), tuner=Tuner(studies=3), seeds=2)
    others = [Point({"learning_rate": rate}, {}) for rate in (0.02, 0.03, 0.05)]
    plan = replace(plan, contenders=[replace(each, further=(others, others)) for each in plan.contenders])
    summary = make_summary(plan)
    (comparison,) = summary.comparisons
    names = Names({"a": 0, "b": 1}, {"bowl": 0})
    made = card(summary, comparison, answer(summary).rows[0], names, 0, ())
    (tuning,) = [panel for panel in made.panels if panel.title == "Tuning and settings"]
    settings = tuning.folded
    assert settings is not None
    cells = [[cell.text for cell in row.cells[:3]] for row in settings.rows]
    assert cells == [
        [
            result.label,
            str(study.number + 1),
            f"learning_rate {study.tuning.point.hyperparameters['learning_rate']:.4g}",
        ]
        for result in comparison.results
        for study in result.studies
    ]


def test_failures_have_their_tracebacks() -> None:
    summary = make_summary(failed=["adam"])
    (found,) = failures(summary)
    assert found.reason == summary.failures[0] and found.traceback == "Traceback"


def test_figures_over_problems_keep_their_styles(summary: Summary) -> None:
    """The page's swatches and plotly's traces have one colour a contender."""
    figure = checked(plotly_across.target_ecdf(summary))
    colours = {trace.legendgroup: trace.line.color for trace in figure.data if trace.mode == "lines"}
    assert colours == {label: look.light for label, look in looks(summary).items()}
