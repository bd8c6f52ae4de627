"""What is to be predicted: classes with their names, or quantities."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dlkit.bench.data.columns import Column
from dlkit.bench.data.roles import FEWEST, ID_LIKE, Task
from dlkit.bench.errors import UserError

__all__ = ["Targets", "targets_of"]

MOST_CLASSES = 20  # different whole numbers that are taken for classes


@dataclass(frozen=True, eq=False)
class Targets:
    """Targets of all rows.

    Attributes:
        values: [rows] int32 class indices, or [rows] or [rows, targets] float64 quantities; of a row without a target,
            0 or NaN.
        classes: their names, in order; empty for quantities.
        note: what is worth saying; empty for nothing.
    """

    values: np.ndarray[Any, Any]
    classes: tuple[str, ...] = ()
    note: str = ""


def targets_of(columns: Sequence[Column], where: str, task: Task | None, names: Sequence[str] = ()) -> Targets:
    """Returns targets as classes or quantities.

    Args:
        columns: one, or several quantities.
        where: the file or argument, for messages.
        task: what they are; None to judge by the values.
        names: of classes 0, 1, ..., where the source has them.

    Raises:
        UserError: for what cannot be the task's targets.
    """
    if len(columns) > 1:
        if task != "regression" and _are_one_hot(columns):
            values = np.stack([column.values for column in columns], axis=1)
            note = (
                f"the targets are one-hot, and were taken for {len(columns)} classes; task='regression' takes them for "
                "quantities"
            )
            called = tuple(names) if len(names) == len(columns) else tuple(column.name for column in columns)
            return Targets(values.argmax(axis=1).astype(np.int32), called, note)
        if task == "classification":
            raise UserError(f"{where}: {len(columns)} targets; classes are one column: choose one target")
        for column in columns:
            _require_quantity(column, where)
        return Targets(np.stack([column.values for column in columns], axis=1))
    (column,) = columns
    given = column.values[~np.isnan(column.values)]
    different = np.unique(given)
    if task == "regression":
        _require_quantity(column, where)
        return Targets(column.values)
    is_few = len(different) <= MOST_CLASSES and 2 * len(different) <= len(given)
    is_numbered = is_few and (len(different) == 2 or np.ptp(different) == len(different) - 1)
    is_named = len(names) > 0 and column.is_whole and different.min() >= 0 and different.max() < len(names)
    is_classes = column.is_whole and (is_numbered or is_named or task)
    is_quantity = column.kind == "date" or (column.kind == "number" and not is_classes)
    if is_quantity:
        if task == "classification":
            raise UserError(
                f"{where}, target '{column.name}': {len(different)} different values, such as {different[0]:g}, are no "
                "classes; leave out task='classification', or give whole numbers or texts"
            )
        note = ""
        if column.is_whole and 2 * len(different) <= len(given) and (is_few or np.ptp(different) < len(different)):
            gaps = " with gaps" if is_few else ""
            note = (
                f"'{column.name}' has {len(different)} different whole numbers{gaps}, which were taken for "
                "quantities; task='classification' takes them for classes"
            )
        return Targets(column.values, note=note)
    if len(different) < 2:
        raise UserError(f"{where}, target '{column.name}': all rows have the same class; choose another target")
    if column.kind == "category" and len(different) >= FEWEST and len(different) > ID_LIKE * len(given):
        raise UserError(
            f"{where}, target '{column.name}': {len(different)} different texts in {len(given)} rows are no classes; "
            "choose another target"
        )
    codes = np.searchsorted(different, np.nan_to_num(column.values, nan=different[0])).astype(np.int32)
    note = ""
    if column.kind == "number" and task is None and not is_named:
        note = (
            f"'{column.name}' has {len(different)} different whole numbers, which were taken for classes; "
            "task='regression' takes them for quantities"
        )
    return Targets(codes, _named(column, different, names), note)


def _are_one_hot(columns: Sequence[Column]) -> bool:
    """Whether each row has a 1 in one column and 0 in the others, and each column has one."""
    values = np.stack([column.values for column in columns], axis=1)
    is_binary = all(column.kind in ("number", "truth") for column in columns) and ((values == 0) | (values == 1)).all()
    return bool(is_binary and (values.sum(axis=1) == 1).all() and values.any(axis=0).all())


def _named(column: Column, different: np.ndarray[Any, Any], names: Sequence[str]) -> tuple[str, ...]:
    if column.kind == "category":
        return tuple(column.levels[int(code)] for code in different)
    if column.kind == "truth":
        return tuple(str(bool(value)) for value in different)
    if len(names) > different.max():
        return tuple(names[int(value)] for value in different)
    return tuple(f"{value:.15g}" for value in different)


def _require_quantity(column: Column, where: str) -> None:
    if column.kind == "category":
        raise UserError(
            f"{where}, target '{column.name}': categories ({', '.join(column.levels[:3])}, ...) are no quantities; "
            "leave out task='regression', or choose another target"
        )
