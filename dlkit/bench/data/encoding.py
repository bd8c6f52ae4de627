"""Columns as arrays to train on: scaled, one-hot, imputed, all of it fitted to the training rows alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from dlkit.bench.data.columns import KINDS, Column
from dlkit.bench.plan.card import ColumnCard, Role

__all__ = ["LEVELS", "Encoding", "Rows", "described", "encoded", "encoding_of", "standardization"]

LEVELS = 32  # of a category that have a column of their own
GROUPED = 40  # columns from which a card tells neighbours that were treated alike together
SHOWN = 6  # levels of a category in a card
SQUARED = 1e150  # numbers whose squares float64 holds

Floats = np.ndarray[Any, np.dtype[np.float64]]
Rows = Mapping[str, np.ndarray[Any, np.dtype[np.int64]]]
"""Split -> the rows of the table that are in it."""


class Standardization(NamedTuple):
    """``(value - mean) / deviation``."""

    mean: float
    deviation: float


@dataclass(frozen=True, eq=False)
class Encoding:
    """How a column becomes columns of an array; only its shape is the same for every split of the examples.

    Attributes:
        column: the column.
        is_imputed: whether a further column says where values were missing.
        scale: whether numbers are standardized.
        levels: the codes that have a column of their own: those of rows that may be trained on. None: there are too
            many, and the most frequent ones of the training rows have one, the others one together.
    """

    column: Column
    is_imputed: bool
    scale: bool
    levels: tuple[int, ...] | None = ()

    @property
    def width(self) -> int:
        """How many columns of the array it becomes."""
        own = 1
        if self.column.kind == "category":
            own = LEVELS + 1 if self.levels is None else len(self.levels)
        return own + self.is_imputed


def encoding_of(column: Column, pool: np.ndarray[Any, Any], *, scale: bool) -> Encoding:
    """Returns how a column is encoded.

    Args:
        column: the column.
        pool: the rows that may be trained on in some study.
        scale: whether numbers are standardized.
    """
    values = column.values[pool]
    levels: tuple[int, ...] | None = ()
    if column.kind == "category":
        seen = np.unique(values[~np.isnan(values)]).astype(int).tolist()
        levels = tuple(seen) if len(seen) <= LEVELS else None
    return Encoding(column, bool(np.isnan(values).any()), scale, levels)


def encoded(encoding: Encoding, rows: Rows) -> dict[str, np.ndarray[Any, np.dtype[np.float32]]]:
    """Encodes a column, fitted to the rows of ``"train"``.

    Args:
        encoding: how.
        rows: of every split.

    Returns:
        Split -> [rows, width].
    """
    values = encoding.column.values
    train = values[rows["train"]]
    fill = _typical(encoding.column, train)
    parts = {}
    for part, chosen in rows.items():
        given = values[chosen]
        absent = np.isnan(given)
        full = np.where(absent, fill, given)
        columns = _one_hot(encoding, train, full) if encoding.column.kind == "category" else full[:, None].copy()
        if encoding.is_imputed:
            columns = np.column_stack([columns, absent])
        parts[part] = columns
    if encoding.column.kind in ("number", "date"):
        own = parts["train"][:, 0]
        first = own.min() if encoding.column.kind == "date" else 0.0
        place = standardization(own) if encoding.scale else Standardization(float(first), 1.0)
        for columns in parts.values():
            columns[:, 0] = (columns[:, 0] - place.mean) / place.deviation
    return {part: columns.astype(np.float32) for part, columns in parts.items()}


def standardization(train: Floats) -> Standardization:
    """Returns the mean and the deviation of training values; a constant's deviation is 1."""
    if train.min() == train.max():  # rounding gives some constants a deviation above 0
        return Standardization(float(train[0]), 1.0)
    if (size := float(np.abs(train).max())) > SQUARED:
        within = standardization(train / size)
        return Standardization(within.mean * size, within.deviation * size)
    return Standardization(float(train.mean()), float(train.std()))


def _typical(column: Column, train: Floats) -> float:
    """What stands for a missing value: the median of the training rows, or their most frequent level; 0 without any."""
    given = train[~np.isnan(train)]
    if not len(given):
        return 0.0
    if column.kind in ("number", "date"):
        return float(np.median(given))
    levels, counts = np.unique(given, return_counts=True)
    return float(levels[counts.argmax()])


def _one_hot(encoding: Encoding, train: Floats, values: Floats) -> Floats:
    """A column for each level; levels that no training row has are 0 in all of them."""
    seen, counts = np.unique(train[~np.isnan(train)], return_counts=True)
    if encoding.levels is not None:
        levels = np.array(encoding.levels, np.float64)
        known: Floats = ((values[:, None] == levels) & np.isin(levels, seen)).astype(np.float64)
        return known
    frequent = np.sort(seen[np.argsort(-counts, kind="stable")[:LEVELS]])
    own = np.zeros((len(values), LEVELS + 1))
    own[:, : len(frequent)] = values[:, None] == frequent
    own[:, -1] = ~np.isin(values, frequent)
    return own


def described(encodings: Sequence[Encoding], rows: Rows) -> list[ColumnCard]:
    """Returns what became of columns that are inputs, by the first study's training rows."""
    cards = [_described(each, rows["train"]) for each in encodings]
    if len(cards) <= GROUPED:
        return cards
    kept: list[ColumnCard] = []
    for card, encoding in zip(cards, encodings, strict=True):
        is_plain = encoding.column.kind in ("number", "truth") and not card.missing
        word = card.became.split(" (")[0]
        last = kept[-1] if kept else None
        if last and is_plain and last.missing == 0 and (last.kind, last.became) == (card.kind, word):
            first = last.name.split(" … ")[0]
            kept[-1] = ColumnCard(f"{first} … {card.name}", "input", card.kind, word, 0, last.width + card.width)
        else:
            kept.append(replace(card, became=word) if is_plain else card)
    return kept


def _described(encoding: Encoding, train: np.ndarray[Any, Any]) -> ColumnCard:
    column = encoding.column
    values = column.values[train]
    said = {
        "number": _said_of_numbers(encoding, values),
        "date": f"days since the first training date, {_said_of_numbers(encoding, values - _first(values))}",
        "truth": "0 and 1",
        "category": _said_of_levels(encoding, values) if column.kind == "category" else "",
    }[column.kind]
    role: Role = "input"
    if encoding.is_imputed:
        fill = _typical(column, values)
        shown = column.levels[int(fill)] if column.kind == "category" else f"{fill:g}"
        if column.kind == "date":
            shown = str(np.datetime64(0, "D") + np.timedelta64(int(fill), "D"))
        said += f"; missing ones are {shown}, and 1 in a column of their own"
    if column.note:
        said += f"; {column.note}"
    return ColumnCard(column.name, role, KINDS[column.kind], said, column.missing, encoding.width)


def _said_of_numbers(encoding: Encoding, values: Floats) -> str:
    if not encoding.scale:
        return "as they are"
    given = np.where(np.isnan(values), _typical(encoding.column, values), values)
    mean, deviation = standardization(given)
    return f"standardized (mean {mean:.6g}, deviation {deviation:.6g})"


def _first(values: Floats) -> float:
    return 0.0 if np.isnan(values).all() else float(np.nanmin(values))


def _said_of_levels(encoding: Encoding, values: Floats) -> str:
    names = encoding.column.levels
    if encoding.levels is None:
        return f"one-hot: the {LEVELS} most frequent of {len(names)} levels, the others in one column"
    shown = ", ".join(names[code] for code in encoding.levels[:SHOWN])
    more = f" and {len(encoding.levels) - SHOWN} more" if len(encoding.levels) > SHOWN else ""
    unseen = sorted({*encoding.levels} - {*values[~np.isnan(values)].astype(int).tolist()})
    said = f"one-hot: {shown}{more}; other levels are 0 in all of these"
    if unseen:
        said += f", and so are, in the first study, {', '.join(names[code] for code in unseen[:SHOWN])}"
    return said
