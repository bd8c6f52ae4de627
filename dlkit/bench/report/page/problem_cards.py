"""A card a problem: the verdict, its curves, and below them, folded, tables and figures by what they are about."""

from collections.abc import Collection, Sequence
from typing import NamedTuple

from markupsafe import Markup

from dlkit.bench.analysis import numbers
from dlkit.bench.analysis.answer_rows import Row
from dlkit.bench.analysis.comparison import Comparison
from dlkit.bench.analysis.summary import Summary
from dlkit.bench.report import samples
from dlkit.bench.report.data_cards import card_notes, card_parts
from dlkit.bench.report.figure_list import ON_A_PROBLEM
from dlkit.bench.report.page.curve_axes import curve_axes
from dlkit.bench.report.page.markup import Drawn, Names, ShownTable, drawn, shown_part, shown_table
from dlkit.bench.report.page.sentences import about_problem, notes
from dlkit.bench.report.parameter_groups import parameter_groups, parameter_leaves
from dlkit.bench.report.tables import Table, caption, parts, ranking

__all__ = ["KINDS", "Card", "Panel", "card"]

KINDS = {
    "winner": "winner",
    "tie": "no winner",
    "unsettled": "not settled",
    "incomplete": "incomplete",
}
CURVES = "Curves"  # the figure that is not folded
MOST_NOTES, MOST_LETTERS = 2, 400  # that stand beside the verdict; more are folded
# What a part of the tables, or a figure, is about: the panel that it stands in.
PANELS = {
    "Final values and tests": ("ranking", "studies", "Final values"),
    "Steps to target": ("steps to target", "targets"),
    "Tuning and settings": ("tuning", "Sensitivity", "Learning rates", "Tuning curve"),
    "Factors": ("factors", "Optimizer and factor"),
    "Costs": ("costs", "Quality against cost"),
    "What training did": ("Paths", "Probes"),
    "Parameters": ("parameter groups",),
    "Data": ("data card", "classes"),
}
OTHERS = "More"


class Panel(NamedTuple):
    """What is folded: tables, figures and sentences about one thing.

    Attributes:
        title: what they are about.
        tables: in order.
        figures: in order.
        notes: sentences.
        folded: a table that is folded once more, as it is long.
        html: pictures.
    """

    title: str
    tables: Sequence[ShownTable] = ()
    figures: Sequence[Drawn] = ()
    notes: Sequence[str] = ()
    folded: ShownTable | None = None
    html: Markup = Markup("")


class Card(NamedTuple):
    """A problem.

    Attributes:
        number: its place in the plan.
        name: the problem's.
        kind: of verdict.
        kind_in_words: the same to read.
        short: who leads, in a few words.
        about: what the problem is.
        verdict: the conclusion with its numbers.
        notes: what else there is to say of this problem alone.
        folds_notes: whether they are many or long.
        said_above: how many notes stand above the cards, as they hold for other problems too.
        curves: the figure of curves; None where nothing has run.
        panels: what is folded.
    """

    number: int
    name: str
    kind: str
    kind_in_words: str
    short: str
    about: str
    verdict: str
    notes: Sequence[str]
    folds_notes: bool
    said_above: int
    curves: Drawn | None
    panels: Sequence[Panel]


def card(summary: Summary, comparison: Comparison, row: Row, names: Names, number: int, said: Collection[str]) -> Card:
    """Returns a problem's card.

    Args:
        summary: the run.
        comparison: the problem.
        row: of the answer.
        names: of contenders and problems.
        number: the problem's place in the plan.
        said: sentences that stand elsewhere already.
    """
    verdict, every = comparison.verdict, notes(comparison)
    own = [note for note in every if note not in said]
    figures = _figures(summary, comparison, number)
    return Card(
        number,
        comparison.problem.name,
        verdict.kind,
        KINDS[verdict.kind],
        row.sentence,
        about_problem(comparison.problem),
        verdict.sentence,
        own,
        len(own) > MOST_NOTES or sum(map(len, own)) > MOST_LETTERS,
        len(every) - len(own),
        figures.pop(CURVES, None),
        _panels(summary, comparison, names, figures),
    )


def _figures(summary: Summary, comparison: Comparison, number: int) -> dict[str, Drawn]:
    """Title -> figure, of those that show something."""
    made = {}
    for place, each in enumerate(ON_A_PROBLEM):
        axes = curve_axes(summary, comparison) if each.title == CURVES else None
        figure = each.draw(summary, comparison)
        name = f"p{number}-{place}"
        if (shown := drawn(figure, name, comparison.problem.name, each.title, each.text, axes)) is not None:
            made[each.title] = shown
    return made


def _panels(summary: Summary, comparison: Comparison, names: Names, figures: dict[str, Drawn]) -> list[Panel]:
    problem = comparison.problem
    tables = {"ranking": shown_table(names, ranking(comparison), caption(comparison), heading=1, kind="numbers")}
    made = [*parts(comparison), *card_parts(problem), parameter_groups(summary, problem.name)]
    tables |= {part.name: shown_part(names, part) for part in made if part.table.rows}
    long = {
        "Tuning and settings": (_settings(comparison), "What every study was tuned to"),
        "Parameters": (parameter_leaves(summary, problem.name), "Every leaf of the parameters"),
    }
    folded = {name: shown_table(names, table, title) for name, (table, title) in long.items() if table.rows}
    panels = []
    placed = {name for names_there in PANELS.values() for name in names_there}
    others = (*(name for name in tables if name not in placed), *(name for name in figures if name not in placed))
    for title, there in {**PANELS, OTHERS: others}.items():
        panel = Panel(
            title,
            [tables[name] for name in there if name in tables],
            [figures[name] for name in there if name in figures],
            card_notes(problem) if title == "Data" else (),
            folded.get(title),
        )
        panels.append(panel)
    panels.append(Panel("Samples", html=Markup(samples.drawn_samples(comparison))))
    return [each for each in panels if any(each[1:])]


def _settings(comparison: Comparison) -> Table:
    """The setting that each study found; no rows with one study, whose setting stands in the table above it."""
    rows = [
        [
            result.label,
            str(study.number + 1),
            numbers.point({**point.hyperparameters, **point.static}) or "nothing to tune"
            if point
            else "nothing trained",
            f"{sum(map(bool, study.tuning.ran))}/{len(study.tuning.points)}",
        ]
        for result in comparison.results
        if result.repeats_tuning and not result.failure
        for study in result.studies
        for point in [study.tuning.point]
        if not study.tuning.missing
    ]
    return Table(["optimizer", "study number", "tuned to", "points tried"], rows)
