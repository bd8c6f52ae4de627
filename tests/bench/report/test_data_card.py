"""The data card: what was done to a user's data stands in the page, in Markdown, and comes back from JSON."""

from dataclasses import replace
from html import unescape
from pathlib import Path

from dlkit.bench.data.door import dataset
from dlkit.bench.plan.card import DataCard
from dlkit.bench.plan.json import from_json, to_json
from dlkit.bench.report.data_cards import card_notes, card_parts
from dlkit.bench.report.markdown import markdown_tables
from dlkit.bench.report.page import write_report
from tests.bench.synthetic import make_plan, make_problem, make_summary

TABLE = {
    "size <cm>": [1.5, None, 3.5, 4.5, 5.0] * 20,
    "edge": ["smooth", "toothed"] * 50,
    "plant": [str(row // 5) for row in range(100)],
    "tree": ["elm", "oak", "oak", "elm", "oak"] * 20,
}


def made_card() -> DataCard:
    card = dataset(TABLE, target="tree", missing="impute", groups="plant", name="trees").card
    assert card is not None
    return card


def test_a_card_says_what_was_done() -> None:
    card = made_card()
    assert (card.form, card.rows, card.used, card.classes) == ("arrays", 100, 100, ("elm", "oak"))
    assert card.split == "by whole groups of 'plant', anew in each study"
    size, edge, tree, plant = card.columns
    assert (size.name, size.role, size.kind, size.missing, size.width) == ("size <cm>", "input", "numbers", 20, 2)
    assert size.became.startswith("standardized (mean ") and "1 in a column of their own" in size.became
    assert edge.became == "one-hot: smooth, toothed; other levels are 0 in all of these"
    assert (tree.role, tree.became) == ("target", "class indices of 2 classes")
    assert (plant.role, plant.became) == ("groups", "decides the split")
    assert [sum(counts) for counts in card.class_counts.values()] == [60, 20, 20]


def test_a_card_comes_back_from_json() -> None:
    problem = replace(make_problem(), card=made_card())
    plan = make_plan(problems=[problem])
    assert from_json(type(plan), to_json(plan)).problems[0].card == problem.card


def test_the_report_has_the_card_and_others_have_none(tmp_path: Path) -> None:
    card = replace(made_card(), notes=("'size <cm>' is worth a look",))
    problem = replace(make_problem(), card=card, examples=(60, 20, 20), data="0123456789abcdef")
    summary = make_summary(make_plan(problems=[problem]))
    page = unescape(write_report(summary, tmp_path / "page.html").read_text())
    said = "Data card: arrays; 100 rows; 60 to train on, 20 to select on, 20 to judge on: by whole groups of 'plant'"
    assert said in page and "digest 0123456789ab" in page and "'size <cm>' is worth a look" in page
    text = markdown_tables(summary)
    assert "Data card: arrays; 100 rows" in text and "| elm | " in text and "- 'size \\<cm\\>' is worth a look" in text
    assert not card_parts(make_problem()) and not card_notes(make_problem())
    assert "Data card" not in markdown_tables(make_summary(make_plan()))


def test_wide_tables_have_short_cards() -> None:
    columns = {f"pixel {column}": [float(row * column) for row in range(50)] for column in range(1, 100)}
    card = dataset({**columns, "y": [0, 1] * 25}, target="y").card
    assert card is not None and len(card.columns) == 2
    first, _ = card.columns
    assert (first.name, first.became, first.width) == ("pixel 1 … pixel 99", "standardized", 99)
