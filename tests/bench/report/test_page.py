"""The page says what the summary says, fetches nothing, takes labels literally, and is written whole or not at all."""

import base64
import gzip
import hashlib
import json
import math
import os
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import pytest

from dlkit.bench.analysis import frames, numbers
from dlkit.bench.analysis.answer import answer
from dlkit.bench.analysis.ranking import Ranking
from dlkit.bench.analysis.summary import Summary
from dlkit.bench.errors import UserError
from dlkit.bench.plan.json import to_json
from dlkit.bench.plan.metric import Metric
from dlkit.bench.plan.plan import Plan
from dlkit.bench.plan.planned import PlannedContender, PlannedProblem
from dlkit.bench.plan.policies import Tuner
from dlkit.bench.plan.space import Point
from dlkit.bench.plan.trials import Order, Trial
from dlkit.bench.report import figure_list, plotly_figures, tables, tables_across
from dlkit.bench.report.markdown import markdown_tables
from dlkit.bench.report.page import embedding, sentences, writing
from dlkit.bench.report.page.answer_table import SIGNS
from dlkit.bench.report.page.problem_cards import KINDS
from tests.bench.figures import checked
from tests.bench.synthetic import PROGRAM, make_plan, make_problem, make_summary

HOSTILE = '<b>&"</script><script>alert(1)</script>'
VOID = {"meta", "link", "br", "img", "hr", "input"}


class Page(HTMLParser):
    """What a page holds: elements with attributes and text, tables as text, and whether tags are balanced."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self.classed: dict[str, list[str]] = {}
        self.within: list[list[str]] = []
        self.tables: list[list[list[str]]] = []
        self.feed(text)
        self.close()
        assert not self.open, f"unclosed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag in VOID:
            return
        self.open.append(tag)
        self.within.append((dict(attrs).get("class") or "").split())
        self.texts.setdefault(tag, []).append("")
        for name in self.within[-1]:
            self.classed.setdefault(name, []).append("")
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append([])
        if tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, f"</{tag}> closes nothing"
        self.within.pop()

    def handle_data(self, data: str) -> None:
        for tag in set(self.open):
            self.texts[tag][-1] += data
        for name in {name for names in self.within for name in names}:
            self.classed[name][-1] += data
        if {"td", "th"} & set(self.open):
            self.tables[-1][-1][-1] += data

    def table(self, title: str) -> list[list[str]]:
        """The first table whose caption begins so."""
        places = [place for place, caption in enumerate(self.texts["caption"]) if caption.strip().startswith(title)]
        return self.tables[places[0]]

    def values(self, name: str) -> list[str]:
        """What an attribute is, wherever it stands."""
        return [value for _, attributes in self.elements if (value := attributes.get(name))]

    def scripts(self, name: str, key: str) -> dict[str, Any]:
        """What the compressed scripts of a class hold, by an attribute."""
        every = [attributes for tag, attributes in self.elements if tag == "script"]
        return {
            str(attributes[key]): json.loads(gzip.decompress(base64.b64decode(text)))
            for text, attributes in zip(self.texts["script"], every, strict=True)
            if attributes.get("class") == name
        }


JAVASCRIPT = plotly_figures.javascript


@pytest.fixture(autouse=True)
def short_plotly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parsing 5 MB of JavaScript tests nothing; one test looks at the real bundle."""
    monkeypatch.setattr(plotly_figures, "javascript", lambda: "window.plotlyReady = new Promise(function () {});")


def written(summary: Summary, folder: Path) -> str:
    return writing.write_report(summary, folder / "report.html").read_text(encoding="utf-8")


CASES = {
    "plain": lambda: make_summary(),
    "log": lambda: make_summary(make_plan(problems=[make_problem(metric=Metric("lower", "log", "gap"))])),
    "higher": lambda: make_summary(make_plan(problems=[make_problem(metric=Metric("higher"), target=0.9)])),
    "two_problems": lambda: make_summary(make_plan(problems=[make_problem("bowl"), make_problem("cup")])),
    "interrupted": lambda: make_summary(missing=lambda label, trial: label != "sgd" and trial.seed > 0),
    "nothing_yet": lambda: make_summary(missing=lambda label, trial: True),
    "failed": lambda: make_summary(failed=["adam"], reason=HOSTILE),
    "all_diverged": lambda: make_summary(diverged=lambda label, trial: True),
    "one_contender": lambda: make_summary(make_plan(["sgd"])),
    "one_seed": lambda: make_summary(make_plan(seeds=1)),
    "hostile": lambda: make_summary(
        make_plan(
            [HOSTILE, "adam"], problems=[make_problem(HOSTILE, metric=Metric("lower", "linear", HOSTILE))], seeds=6
        )
    ),
}


@pytest.mark.long
@pytest.mark.parametrize("name", CASES)
def test_the_page_of_every_case(name: str, tmp_path: Path) -> None:
    summary = CASES[name]()
    text = written(summary, tmp_path)
    page = Page(text)
    assert page.texts["title"][0] == summary.plan.name  # the others are of marks
    kinds = {attributes.get("lang") for tag, attributes in page.elements if tag == "html"}
    assert kinds == {"en"}
    assert page.texts["h3"] == [each.problem.name for each in summary.comparisons]
    check_answer(page, summary)
    shared = "".join(page.classed.get("shared", []))
    for article, comparison in zip(page.texts["article"], summary.comparisons, strict=True):
        assert KINDS[comparison.verdict.kind] in article
        assert comparison.verdict.sentence in article
        for note in comparison.verdict.notes:
            assert note in article or note in shared or note in page.classed["caveats"][0]
    for comparison in summary.comparisons:
        check_ranking(page.table(tables.caption(comparison)), comparison)
        if tables.steps(comparison).rows:
            check_steps(page.table(tables.steps_caption(comparison)), comparison)
    check_tuning(page.table("Tuning"), summary.comparisons[0])
    assert len(page.texts["caption"]) == len(page.tables)
    assert all(attributes.get("scope") in ("col", "row") for tag, attributes in page.elements if tag == "th")
    check_outside(page)


def check_answer(page: Page, summary: Summary) -> None:
    """The first screen says what the answer does: the sentence, what limits it, and every cell."""
    expected = answer(summary)
    assert page.classed["headline"] == [expected.headline]
    assert all(each in page.classed["caveats"][0] for each in expected.caveats)
    header, *rows = page.table("Final values")
    assert [cell.split("\n")[0].startswith(row.name) for cell, row in zip(header[1:], expected.rows, strict=False)]
    assert [row[0].strip() for row in rows] == list(expected.contenders)
    for label, cells in zip(expected.contenders, rows, strict=True):
        for shown, row in zip(cells[1:], expected.rows, strict=False):
            cell = row.cells[label]
            value, bracket, rest = cell.text.partition(" [")
            words = f"{cell.place}: {value}{SIGNS[cell.place][0]}{bracket}{rest}"
            assert " ".join(shown.split()) == words
    said = page.classed["says"][:-1]  # the last one belongs to the axis
    assert said == [f"{row.sentence}." for row in expected.rows]
    scores = [cell.score for row in expected.rows for cell in row.cells.values() if cell.score]
    assert len(page.classed.get("mark", [])) == sum(math.isfinite(score.estimate) for score in scores)


def check_outside(page: Page) -> None:
    """Nothing is fetched, nothing runs from an attribute, and every link leads to a place of the page."""
    for tag, attributes in page.elements:
        assert not {"src", "srcset", "action", "data", "poster"} & attributes.keys(), tag
        assert not any(attribute.startswith("on") for attribute in attributes)
        assert (attributes.get("href") or "#").startswith(("#", "data:")), attributes
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    links = {each for each in page.values("href") if each.startswith("#")}
    assert {each[1:] for each in links} <= {*ids}
    assert {*page.values("aria-labelledby")} <= {*ids}
    assert not re.search(r"url\(|@import", page.texts["style"][0])


def check_ranking(table: list[list[str]], comparison) -> None:
    problem = comparison.problem
    assert len(table) == 1 + len(comparison.results)
    for rank, (cells, result) in enumerate(zip(table[1:], comparison.results, strict=True), 1):
        ran, standing = len(result.scores), comparison.ranking.standings.get(result.label)
        pair = standing.to_best if standing else None
        assert cells == [
            str(rank) if result.is_comparable else "–",
            result.label,
            standing.group if standing else "–",
            numbers.interval(result.final),
            numbers.interval(result.validation),
            numbers.difference(problem, pair.difference) if pair else "–",
            numbers.p_value(pair.difference.p_value) if pair else "–",
            numbers.p_value(pair.adjusted_p) if pair else "–",
            numbers.number(standing.mean_rank) if standing else "–",
            f"{result.diverged}/{ran}" if ran else "–",
        ]


def check_steps(table: list[list[str]], comparison) -> None:
    budget = comparison.problem.steps
    results = [each for each in comparison.results if each.to_target]
    for cells, result in zip(table[1:], results, strict=True):
        ran, standing = len(result.scores), comparison.ranking.standings.get(result.label)
        pair = standing.steps_ratio if standing else None
        hits = int(sum(result.steps_to_target < float("inf")))
        before = sum(outcome.status == "diverged" for outcome in result.outcomes if outcome)
        assert cells == [
            result.label,
            f"{hits}/{ran} [{result.hits.low:.2f}, {result.hits.high:.2f}]",
            str(ran - hits - before),
            str(before),  # no diverged trial here had been at the target
            numbers.steps(result.median_steps, budget),
            numbers.interval(result.to_target.restricted),
            numbers.number(result.to_target.expected) if hits else "none reached",
            numbers.ratio_of_steps(pair.difference) if pair else "–",
            numbers.p_value(pair.adjusted_p) if pair else "–",
        ]


def check_tuning(table: list[list[str]], comparison) -> None:
    for cells, result in zip(table[1:], comparison.results, strict=True):
        assert cells[0] == result.label
        if result.tuning.point:
            assert cells[1] == numbers.point({**result.tuning.point.hyperparameters, **result.tuning.point.static})
        for flag in result.flags:
            assert flag in cells[3]


def figures(page: Page) -> list[dict]:
    return [each["figure"] for group in page.scripts("figures-of", "data-group").values() for each in group.values()]


@pytest.mark.long
def test_the_page_has_its_figures_with_their_data(tmp_path: Path) -> None:
    summary = CASES["two_problems"]()
    page = Page(written(summary, tmp_path))
    drawn = [each.draw(summary, comparison) for comparison in summary.comparisons for each in figure_list.ON_A_PROBLEM]
    drawn += [each.draw(summary) for each in figure_list.ACROSS]
    every = [checked(each) for each in drawn]
    shown = [each for each in every if any(x is not None for one in each.data if one.x is not None for x in one.x)]

    def in_order(found: list[dict]) -> list[str]:
        return sorted(json.dumps(each, sort_keys=True) for each in found)

    expected = [json.loads(each.to_json()) for each in shown]  # as plotly writes them
    for each in expected:
        del each["layout"]["template"]
    assert in_order(figures(page)) == in_order(expected)
    places = {
        (attributes["data-group"], attributes["data-figure"])
        for _, attributes in page.elements
        if "data-figure" in attributes
    }
    assert places == {
        (group, name) for group, held in page.scripts("figures-of", "data-group").items() for name in held
    }


@pytest.mark.long
def test_labels_cannot_break_out(tmp_path: Path) -> None:
    text = written(CASES["hostile"](), tmp_path)
    assert "alert(1)</script>" not in text
    assert "<b>&" not in text
    page = Page(text)
    assert any(cells[1] == HOSTILE for cells in page.table(HOSTILE))
    assert HOSTILE in page.texts["h3"]


@pytest.mark.long
def test_the_first_screen_says_how_much_is_missing(tmp_path: Path) -> None:
    summary = CASES["interrupted"]()
    assert summary.missing > 0
    done = summary.planned - summary.missing
    said = f"{done} of {summary.planned} trials have run."
    assert said in Page(written(summary, tmp_path)).classed["caveats"][0]


@pytest.mark.long
def test_failures_are_listed_literally(tmp_path: Path) -> None:
    summary = CASES["failed"]()
    page = Page(written(summary, tmp_path))
    assert summary.failures == [f"adam: {HOSTILE}"]
    (shown,) = [text for text in page.texts["section"] if text.startswith("What could not run")]
    assert HOSTILE in shown
    assert "Traceback" in page.texts["code"]  # what `failed_outcome` keeps


@pytest.mark.long
def test_the_page_holds_what_the_numbers_rest_on(tmp_path: Path) -> None:
    summary = make_summary()
    summary.manifest["sources"][summary.plan.digest]["mine.py"] = "def build(x): return x < 1"
    page = Page(written(summary, tmp_path))
    specs = [text for text in page.texts["code"] if text.startswith("{")]
    assert specs[0] == json.dumps(json.loads(to_json(summary.plan)), indent=2, ensure_ascii=False)
    assert "def build(x): return x < 1" in page.texts["code"]
    programs, data = page.table("Programs"), page.table("Data")
    assert {row[0]: row[1] for row in programs[1:]} == PROGRAM
    assert data[1:] == [["bowl", "made up", "d" * 16]]
    trials = len(summary.records)
    assert f"{trials} trials: {0.25 * trials:.1f} s of training and {0.5 * trials:.1f} s" in page.texts["main"][0]


@pytest.mark.long
def test_the_budget_is_told(tmp_path: Path) -> None:
    page = Page(written(make_summary(), tmp_path))
    assert (
        "3 contenders on 1 problem. Each contender on each problem: 5 tuning points on 2 tuning seeds, "
        "then the best point on 10 fresh paired seeds; 40 steps, 4 evaluations along the way."
    ) in page.texts["p"]


@pytest.mark.parametrize(("most", "more"), [(None, ""), (40, ", and more until it is settled, up to 40")])
def test_the_budget_of_several_studies_is_told(most: int | None, more: str) -> None:
    plan = make_plan(tuner=Tuner("random", studies=6, halving=2), points=4, tuning_seeds=1, seeds=2)
    assert sentences.budget(replace(plan, max_studies=most)) == (
        f"3 contenders on 1 problem. Each contender on each problem, in each of 6 studies{more}: 4 tuning points "
        "(random, successive halving by 2) on 1 tuning seed, then the best point on 2 fresh paired seeds; 40 steps, "
        "4 evaluations along the way."
    )
    settled = sentences.budget(replace(make_plan(), max_seeds=100))
    assert "then the best point on 10 fresh paired seeds, and more until it is settled, up to 100; 40 steps" in settled


@pytest.mark.long
def test_the_page_is_self_contained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plotly_figures, "javascript", JAVASCRIPT)
    text = written(make_summary(), tmp_path)
    assert text.count(plotly_figures.javascript()) == 1
    assert "</script" not in plotly_figures.javascript().lower()
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)
    assert policy
    assert policy[1].startswith("default-src 'none'; script-src 'sha256-") and "connect-src 'none'" in policy[1]
    assert "'unsafe-inline'" not in policy[1].partition("style-src")[0] and "unsafe-eval" not in policy[1]
    for script in re.findall(r"(?s)<script>(.*?)</script>", text):  # those that run: the others hold data
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy[1]
    assert "http" not in policy[1] and "*" not in policy[1]
    assert '"showSendToCloud":false' in text  # plotly.js would offer to upload the data
    outside = text.replace(plotly_figures.javascript(), "")
    assert not re.search(r"https?://|//cdn", outside)


@pytest.mark.long
def test_writing_replaces_the_file_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "report.html"
    path.write_text("the last one")
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        with pytest.raises(UserError, match=r"report\.html: .*No space left on device"):
            writing.write_report(make_summary(), path)
    assert path.read_text() == "the last one"
    assert list(tmp_path.iterdir()) == [path]
    assert writing.write_report(make_summary(), path) == path
    assert path.read_text().startswith("<!DOCTYPE html>")
    assert list(tmp_path.iterdir()) == [path]


def test_an_interrupted_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        writing.write_text(tmp_path / "report.md", "text")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("where", ["file/report.html", "folder"])
def test_a_path_that_cannot_be_written_is_named(where: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match=f"{where}: the report cannot be written"):
        writing.write_text(tmp_path / where, "text")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["file", "folder"]


def test_missing_folders_are_made(tmp_path: Path) -> None:
    path = writing.write_text(tmp_path / "a" / "b" / "report.md", "text")
    assert path.read_text() == "text"
    assert path.stat().st_mode & 0o777 == 0o644


def test_markdown_has_the_same_cells() -> None:
    summary = CASES["two_problems"]()
    text = markdown_tables(summary)
    lines = [line for line in text.splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    expected: list[list[str]] = []
    for comparison in summary.comparisons:
        for table in (tables.ranking(comparison), tables.steps(comparison), tables.tuning(comparison)):
            expected += [list(table.header), ["---"], *(list(row) for row in table.rows)]
    for each in tables_across.sections(summary):
        expected += [list(each.table.header), ["---"], *(list(row) for row in each.table.rows)]
    shown = [["---"] if set("".join(row)) <= set("-:") else row for row in rows]
    plain = [[re.sub(r"\\(.)", r"\1", cell).replace("\N{NO-BREAK SPACE}", " ") for cell in row] for row in shown]
    assert plain == [[cell.replace("\N{NO-BREAK SPACE}", " ") for cell in row] for row in expected]
    for comparison in summary.comparisons:
        assert f"## {comparison.problem.name}\n\n" in text


def test_trials_cut_off_have_a_column_of_their_own() -> None:
    summary = CASES["plain"]()
    (comparison,) = summary.comparisons
    assert "cut off" not in tables.steps(comparison).header
    best, *others = comparison.ranking.compared
    cut = replace(best.result, to_target=best.result.to_target._replace(reached=7, missed=1, cut_off=2))
    table = tables.steps(replace(comparison, ranking=Ranking([replace(best, result=cut), *others], ())))
    place = list(table.header).index("cut off")
    assert [row[place] for row in table.rows] == ["2", "0", "0"]
    assert all(len(row) == len(table.header) for row in table.rows)


def test_many_groups_are_counted() -> None:
    (comparison,) = CASES["plain"]().comparisons
    *ranked, last = comparison.ranking.compared
    grouped = [
        replace(each, standing=each.standing._replace(group=group))
        for each, group in zip(ranked, ("abcde", "abcdefz(27)"), strict=True)
    ]
    ranking = Ranking(grouped, [last.result])
    assert [cells[2] for cells in tables.ranking(replace(comparison, ranking=ranking)).rows] == [
        "abcde",
        "abcde… (8)",
        "–",
    ]


def test_repeated_studies_have_a_table_of_their_values() -> None:
    """A row a contender, best first; a study of which a seed diverged, or whose tuning found nothing, is infinite."""
    plan = make_plan(("a", "b", "c"), tuner=Tuner(studies=3), seeds=2)
    others = [Point({"learning_rate": rate}, {}) for rate in (0.02, 0.03, 0.05)]
    contenders = [replace(each, further=(others, others[1:])) for each in plan.contenders]
    values = {("a", 0): 1.0, ("a", 1): 2.0, ("a", 2): 3.0, ("b", 0): 4.0, ("b", 1): 5.0, ("c", 0): 6.0, ("c", 1): 7.0}

    def curve(plan: Plan, problem: PlannedProblem, contender: PlannedContender, trial: Trial) -> list[float]:
        # the two seeds of a study lie 0.25 above and below its value
        final = values.get((contender.label, trial.seed // 1000), 9.0) + 0.25 * (-1) ** trial.seed
        return [*[9.0] * plan.evaluations, final]

    def diverged(label: str, trial: Trial) -> bool:
        return (label, trial.stage, trial.seed) == ("b", "final", 2001)

    def missing(label: str, trial: Trial) -> bool:
        return (label, trial.stage, trial.seed // 1000) == ("c", "final", 2)

    summary = make_summary(replace(plan, contenders=contenders), curve=curve, diverged=diverged, missing=missing)
    (comparison,) = summary.comparisons
    table = tables.studies(comparison)
    assert table.header == ["optimizer", "study 1", "study 2", "study 3"]
    assert table.rows == [
        ["a", *map(numbers.number, (1.0, 2.0, 3.0))],
        ["b", *map(numbers.number, (4.0, 5.0)), numbers.DIVERGED],
        ["c", *map(numbers.number, (6.0, 7.0)), numbers.NOTHING],
    ]
    assert tables.studies_caption(comparison) in markdown_tables(summary)
    assert not tables.studies(CASES["plain"]().comparisons[0]).rows


def test_evidence_has_the_numbers_of_the_sentences() -> None:
    summary = CASES["two_problems"]()
    frame = frames.evidence(summary)
    for comparison in summary.comparisons:
        best, *others = comparison.ranking.compared
        of_problem = frame[frame["problem"] == comparison.problem.name]
        of_sentence = of_problem[of_problem["sentence"] == comparison.verdict.sentence]
        gaps = of_sentence[of_sentence["name"] == "difference"].set_index("contender")
        for other in others:
            assert gaps.loc[other.label, "other"] == best.label
            assert gaps.loc[other.label, "adjusted_p"] == other.standing.to_best.adjusted_p
            assert gaps.loc[other.label, "low"] == other.standing.to_best.difference.low
    assert list(frames.evidence(make_summary(make_plan(["sgd"]))).columns) == list(frame.columns)


def test_markdown_takes_labels_literally() -> None:
    label = "a|b [x](http://y) <i> *bold* _it_ learning_rate\nnew"
    text = markdown_tables(make_summary(make_plan([label, "adam"])))
    shown = r"a\|b [x\](http://y) \<i\> \*bold\* \_it\_ learning_rate new"
    assert f"| {shown} |" in text


@pytest.mark.long
def test_words_in_any_cell_are_escaped(tmp_path: Path) -> None:
    summary = make_summary(make_plan(problems=[replace(make_problem(), data_source=HOSTILE, description=HOSTILE)]))
    page = Page(written(summary, tmp_path))
    assert page.table("Data")[1][1] == HOSTILE
    assert f"{HOSTILE}; 40 steps, batches of 8." in page.texts["p"]


def test_json_cannot_end_its_script() -> None:
    text = embedding.script_json([HOSTILE, "\u2028"])
    assert "<" not in text and "\u2028" not in text
    assert json.loads(text) == [HOSTILE, "\u2028"]


@pytest.mark.parametrize(
    ("order", "words"), [("fixed", " in one order for all epochs."), ("iid", ", each drawn on its own.")]
)
def test_an_order_that_is_not_the_usual_one_is_told(order: Order, words: str, tmp_path: Path) -> None:
    summary = make_summary()
    (comparison,) = summary.comparisons
    told = replace(summary, comparisons=[replace(comparison, problem=replace(comparison.problem, order=order))])
    assert f"40 steps, batches of 8{words}" in written(told, tmp_path)


def test_the_page_gives_every_figure_plotlys_white_template(tmp_path: Path) -> None:
    page = Page(written(CASES["two_problems"](), tmp_path))
    facts = next(text for text in page.texts["script"] if text.startswith("{"))
    given = json.loads(facts)["template"]
    assert given == json.loads(go.Figure(layout={"template": "plotly_white"}).to_json())["layout"]["template"]
