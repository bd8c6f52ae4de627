"""Tables in the terminal: whatever the width, every cell is there whole, and no line is longer than it has to be."""

import math
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from dlkit.bench.analysis import frames
from dlkit.bench.analysis.answer import answer
from dlkit.bench.analysis.summary import Summary
from dlkit.bench.plan.metric import Metric
from dlkit.bench.report import tables, tables_across
from dlkit.bench.report.answer_table import verdicts
from dlkit.bench.report.tables import Table
from dlkit.bench.report.terminal import More, answer_lines, print_lines, terminal, text_of
from dlkit.bench.report.text_tables import paragraph, table_lines
from dlkit.bench.report.trial_list import trial_lines
from tests.bench.synthetic import make_plan, make_problem, make_summary

WIDTHS = (80, 100, 140, 200)
MORE = More("dlkit show runs/made-up --tables", Path("runs/made-up/report.html"))


def plain(lines) -> list[str]:
    return [line.plain for line in lines]


def joined(lines: list[str]) -> str:
    """Lines as one text with single spaces: what goes on below is one text again."""
    return " ".join(" ".join(lines).split())


def require_room(lines: list[str], width: int) -> None:
    """A line is no longer than the width, unless it is a single word, with a bullet at most."""
    for line in lines:
        assert cell_len(line) <= width or len(line.split()) <= 2, line


# --- any table ---

words = st.text("abcdefgh-_", min_size=1, max_size=12)
texts = st.lists(words, min_size=1, max_size=9).map(" ".join)
numbers = st.floats(-1e6, 1e6).map(lambda value: f"{value:.3g} [{value - 1:.3g}, {value + 1:.3g}]")


@st.composite
def made_up(draw) -> tuple[Table, set[str]]:
    kinds = draw(st.lists(st.sampled_from(("numbers", "texts")), min_size=1, max_size=8))
    count = draw(st.integers(1, 5))
    cells = [[draw(texts if kind == "texts" else numbers) for _ in range(count)] for kind in kinds]
    labels = [draw(words) for _ in range(count)]
    header = ["optimizer", *(f"{kind} {place}" for place, kind in enumerate(kinds))]
    is_words = {"optimizer", *(f"{kind} {place}" for place, kind in enumerate(kinds) if kind == "texts")}
    return Table(header, [list(row) for row in zip(labels, *cells, strict=True)]), is_words


@settings(deadline=None, max_examples=60)
@given(made_up(), st.sampled_from((20, 40, *WIDTHS)), st.booleans())
def test_every_cell_is_there_whole_at_any_width(made: tuple[Table, set[str]], width: int, apart: bool) -> None:
    table, words = made
    lines = plain(table_lines(table, width=width, words=words, apart=apart))
    text = joined(lines)
    for cell in (cell for row in table.rows for cell in row):
        assert cell in text
    assert all(cell_len(line) <= width or len(line.split()) <= 2 for line in lines)


def test_columns_stay_side_by_side_where_there_is_room_and_go_below_where_there_is_not() -> None:
    table = Table(["optimizer", "first", "second"], [["sgd", "1.5", "2.5"], ["adam", "10.25", "3"]])
    assert plain(table_lines(table, width=80)) == [
        "optimizer  first  second",
        "────────────────────────",
        "sgd          1.5     2.5",
        "adam       10.25       3",
    ]
    assert plain(table_lines(table, width=20)) == [
        "optimizer  first",
        "────────────────",
        "sgd          1.5",
        "adam       10.25",
        "",
        "optimizer  second",
        "─────────────────",
        "sgd           2.5",
        "adam            3",
    ]


def test_names_that_leave_no_room_for_a_number_become_headings() -> None:
    table = Table(["optimizer", "value"], [["a-very-long-name-of-a-contender", "0.125 [0.1, 0.2]"]])
    assert plain(table_lines(table, width=34)) == ["a-very-long-name-of-a-contender", "  value: 0.125 [0.1, 0.2]"]


def test_letters_that_are_two_columns_wide_count_as_two() -> None:
    table = Table(["optimizer", "value"], [["最適化", "1"], ["sgd", "10"]])
    lines = plain(table_lines(table, width=80))
    assert {cell_len(line) for line in lines} == {16} and [len(line) for line in lines] == [16, 16, 13, 16]


def test_a_paragraph_breaks_at_spaces_alone() -> None:
    assert paragraph("adam-with-a-hyphen is here", width=12) == ["adam-with-a-hyphen", "is here"]


# --- runs ---


def made_up_run(seed: int) -> Summary:
    """Contenders with long labels and wide intervals, on problems with long names."""
    random = np.random.default_rng(seed)
    count = int(random.integers(3, 9))
    labels = [
        f"{'_'.join(random.choice(['adam', 'schedule', 'free', 'clip'], size=4))}_{place}" for place in range(count)
    ]
    kinds = [Metric("lower", "log", "suboptimality"), Metric("higher", "linear", "balanced accuracy of the held-out")]
    problems = [
        make_problem(
            f"a-problem-with-a-long-name-{place}"[: int(random.integers(10, 30))] + str(place), metric=kinds[place % 2]
        )
        for place in range(int(random.integers(2, 4)))
    ]
    plan = make_plan(labels, problems=problems, points=2, tuning_seeds=1, seeds=6)

    def curve(plan, problem, contender, trial):
        noise = np.random.default_rng([seed, trial.seed, plan.contenders.index(contender)]).normal(size=5)
        return list(10.0 ** (3 * noise - 2))

    return make_summary(plan, curve=curve, diverged=lambda label, trial: label == labels[-1] and trial.seed % 3 == 0)


@pytest.fixture(scope="module", params=range(2))
def run(request: pytest.FixtureRequest) -> Summary:
    return made_up_run(request.param)


@pytest.mark.long
@pytest.mark.parametrize("width", WIDTHS)
def test_no_number_and_no_name_of_a_run_is_cut(run: Summary, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    lines = text_of(run, MORE, tables=True).splitlines()
    text = joined(lines)
    require_room(lines, width)
    assert "…" not in text and "..." not in text
    of_problems = [tables.ranking(each) for each in run.comparisons]
    of_problems += [part.table for each in run.comparisons for part in tables.parts(each)]
    for table in (*of_problems, tables_across.contenders(run).table):
        for cell in (cell for row in table.rows for cell in row):
            assert " ".join(cell.split()) in text
    for comparison in run.comparisons:
        for sentence in (comparison.verdict.sentence, *comparison.verdict.notes):
            assert " ".join(sentence.split()) in text


@pytest.mark.long
@pytest.mark.parametrize("width", WIDTHS)
def test_the_answer_has_every_contender_every_problem_and_every_number(run: Summary, width: int) -> None:
    lines = plain(answer_lines(run, width, MORE))
    text = joined(lines)
    require_room(lines, width)
    assert "…" not in text and "..." not in text
    for comparison in run.comparisons:
        assert comparison.problem.name in text
        for result in comparison.results:
            assert result.label in text
            if not math.isnan(result.final.estimate):
                assert tables.numbers.interval(result.final).partition(" [")[0] in text
    assert "tables: dlkit show runs/made-up --tables" in lines and "report: runs/made-up/report.html" in lines
    has_intervals = any("[95" in line for line in lines)
    assert has_intervals != ("There is no room for intervals: see the tables." in text)


@pytest.mark.long
@pytest.mark.parametrize("width", WIDTHS)
def test_trials_have_their_whole_ids_and_what_is_left_out_is_named(run: Summary, width: int) -> None:
    frame = frames.trials(run)
    lines = plain(trial_lines(frame, width, "dlkit show RUN --trials | less -S"))
    text = joined(lines)
    require_room(lines, width)
    assert all(name in text for name in run.records)
    assert text.endswith("All columns: dlkit show RUN --trials | less -S")
    heads = next(line for line in lines if line.startswith("trial "))
    about = text[text.rindex("Not shown here:") :]
    for column in ("setting", "outcome step"):
        assert (column.replace(" ", "") in heads.replace(" ", "").replace("_", "")) != (column in about)


def test_a_lone_problem_shows_how_far_each_is_behind() -> None:
    summary = make_summary(make_plan(["sgd", "adam"], points=1, tuning_seeds=1, seeds=8))
    text = joined(plain(answer_lines(summary, 100, MORE)))
    best, other = summary.comparisons[0].results
    assert "difference to best" in text
    shown = tables.ranking(summary.comparisons[0])
    column = next(place for place, name in enumerate(shown.header) if name.startswith("difference"))
    assert f"{other.label} {tables.numbers.interval(other.final)} {shown.rows[1][column]}" in text
    assert f"{best.label} * {tables.numbers.interval(best.final)} –" in text


def test_reasons_of_failures_are_in_the_answer() -> None:
    summary = make_summary(make_plan(["sgd", "adam", "mine"], points=1, tuning_seeds=1, seeds=4), failed=["mine"])
    text = joined(plain(answer_lines(summary, 80, MORE)))
    assert "failed: mine: its update raised ValueError: no such thing" in text
    assert re.search(r"mine failed", text)


def test_printed_lines_are_not_wrapped_again(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    from rich.text import Text

    print_lines(terminal(), [Text("a line that is longer than twenty columns [95 %]")])
    assert capsys.readouterr().out == "a line that is longer than twenty columns [95 %]\n"


def test_what_holds_for_several_problems_is_said_once() -> None:
    """Three contenders that are alike on two problems, while one is far better than the others on a third."""
    problems = [make_problem(name) for name in ("bowl", "dish", "cup")]
    plan = make_plan(["sgd", "adam", "lion"], problems=problems, points=1, tuning_seeds=1, seeds=8)

    def curve(plan, problem, contender, trial):
        noise = np.random.default_rng([trial.seed, len(problem.name), plan.contenders.index(contender)]).normal()
        level = 0.1 if problem.name == "cup" and contender.label == "adam" else 0.5
        return [1.0, 0.9, 0.8, 0.7, level + 0.01 * noise]

    found = answer(make_summary(plan, curve=curve))
    first, second, third = found.rows
    assert [row.kind for row in found.rows] == ["tie", "tie", "winner"]
    bowl, dish = first.labels("best")[0], second.labels("best")[0]
    once = "None of the 2 others is told apart from the leader on"
    assert verdicts(found) == [
        ("", f"{once} bowl (error; {bowl} leads), dish (error; {dish} leads)."),
        ("cup", f" (error): {third.sentence}."),
    ]


def test_the_command_for_more_can_be_pasted() -> None:
    folder = Path("runs/my first; run")
    assert shlex.split(More.of(folder).tables) == ["dlkit", "show", str(folder), "--tables"]
