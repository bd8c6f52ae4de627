"""What was done to a user's data before anything trained: rows, columns, classes, splits, as plain data."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

__all__ = ["ColumnCard", "DataCard", "Role"]

Role = Literal["input", "target", "groups", "time", "stratify", "left out"]


@dataclass(frozen=True)
class ColumnCard:
    """A column of a table, or several neighbours that were treated alike.

    Attributes:
        name: of the column; of several, the first and the last one.
        role: what it is for.
        kind: what its values are: ``"numbers"``, ``"categories"``, ``"dates"``, ``"true or false"``, or a shape.
        became: what the arrays have of it, in words.
        missing: how many rows have no value.
        width: how many columns of the arrays it became.
    """

    name: str
    role: Role
    kind: str
    became: str
    missing: int = 0
    width: int = 1


@dataclass(frozen=True)
class DataCard:
    """What a dataset is made of. Where splits are drawn anew for each study, numbers are of the first one.

    Attributes:
        form: of the source, such as ``"CSV"`` or ``"data frame"``.
        files: the files' names, without their folders.
        rows: how many examples the source has, the test's own included.
        used: how many of them are in a split.
        split: how examples came into splits, in words.
        columns: in the order of the source.
        classes: their names, in the order of the class indices; empty where targets are no classes.
        class_counts: split -> examples of each class.
        target: how the targets are to be read where they are no classes.
        notes: what else was done, or is worth a look, a sentence each.
    """

    form: str
    files: tuple[str, ...]
    rows: int
    used: int
    split: str
    columns: tuple[ColumnCard, ...] = ()
    classes: tuple[str, ...] = ()
    class_counts: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    target: str = ""
    notes: tuple[str, ...] = ()
