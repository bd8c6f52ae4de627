"""The data card of a problem: what its files had, what became of it, and how it was split."""

from dlkit.bench.plan.card import DataCard
from dlkit.bench.plan.planned import PlannedProblem
from dlkit.bench.report.tables import Part, Table

__all__ = ["card_notes", "card_parts"]

DIGITS = 12  # of a digest


def card_parts(problem: PlannedProblem) -> list[Part]:
    """Returns the tables of a problem's data card: its columns, and its classes; none without a card."""
    card = problem.card
    if card is None:
        return []
    parts = [Part("data card", _caption(problem, card), _columns(card), numbers=False)]
    parts += [Part("classes", "Examples of each class", _classes(card), numbers=False)]
    return [part for part in parts if part.table.rows]


def card_notes(problem: PlannedProblem) -> list[str]:
    """Returns what else is to be said of a problem's data, a sentence each."""
    card = problem.card
    if card is None:
        return []
    said = [] if card.columns else [_caption(problem, card)]  # which the table of columns has above it
    return [*said, *([f"targets: {card.target}"] if card.target else []), *card.notes]


def _caption(problem: PlannedProblem, card: DataCard) -> str:
    train, validation, test = problem.examples
    files = f", {', '.join(card.files)}" if card.files else ""
    used = "" if card.used == card.rows else f", of which {card.used:,} are used"
    return (
        f"Data card: {card.form}{files}; {card.rows:,} rows{used}; {train:,} to train on, {validation:,} to select on, "
        f"{test:,} to judge on: {card.split}; digest {problem.data[:DIGITS]}"
    )


def _columns(card: DataCard) -> Table:
    header = ["column", "role", "kind", "became", "missing", "columns"]
    rows = [[each.name, each.role, each.kind, each.became, str(each.missing), str(each.width)] for each in card.columns]
    return Table(header, rows)


def _classes(card: DataCard) -> Table:
    header = ["class", *card.class_counts]
    rows = [
        [name, *(f"{counts[index]:,}" for counts in card.class_counts.values())]
        for index, name in enumerate(card.classes)
    ]
    return Table(header, rows)
