"""A source as a dataset: roles, targets, missing values, splits; what is fitted is fitted to the training split."""

import warnings
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dlkit.bench.data.arrays import as_array, too_fine
from dlkit.bench.data.base import SPLITS, Dataset
from dlkit.bench.data.columns import KINDS, Column, columns_of
from dlkit.bench.data.encoding import SQUARED, Encoding, described, encoded, encoding_of, standardization
from dlkit.bench.data.partitions import shuffled
from dlkit.bench.data.roles import Asked, Roles, require_inputs, with_roles
from dlkit.bench.data.row_splits import ORDER, RowSplits
from dlkit.bench.data.sources import Source
from dlkit.bench.data.splits import redrawn
from dlkit.bench.data.targets import Targets, targets_of
from dlkit.bench.errors import UserError
from dlkit.bench.plan.card import ColumnCard, DataCard, Role

__all__ = ["prepared"]

Array = np.ndarray[Any, Any]
SHOWN = 5  # names in a message


@dataclass(frozen=True, eq=False)
class _Preparation:
    """All that makes the dataset of a study; called with its number."""

    name: str
    where: str
    array: Array | None
    asked: Asked
    encodings: Sequence[Encoding]
    targets: Targets
    splits: RowSplits

    def __call__(self, study: int) -> Dataset:
        rows = self.splits(study)
        if self.array is None:
            columns = [encoded(each, rows) for each in self.encodings]
            inputs = {part: np.concatenate([each[part] for each in columns], axis=1) for part in SPLITS}
        else:
            inputs = _of_array(self.array, rows, scale=self.asked.scale)
        values = {part: self.targets.values[rows[part]] for part in SPLITS}
        if not self.targets.classes:
            values = _quantities(values, self.where, scale=self.asked.scale_target)
        parts = {part: {"inputs": inputs[part], "targets": values[part]} for part in SPLITS}
        return Dataset(self.name, **parts, source=self.where)


def prepared(source: Source, asked: Asked) -> Dataset:
    """Returns a source's examples as a dataset, with its card.

    Raises:
        UserError: naming the column or array that cannot be used, and what to do.
    """
    where = source.where
    frame, roles = with_roles(source, asked)
    names = [*roles.inputs, *roles.target, *filter(None, (roles.groups, roles.time, roles.stratify))]
    used = frame[list(dict.fromkeys(names))]
    columns = {each.name: each for each in columns_of(used, where, asked.missing_words)}
    inputs = [columns[name] for name in roles.inputs]
    notes = [*source.notes, *require_inputs(inputs, where)]
    targets = targets_of([columns[name] for name in roles.target], where, asked.task, source.classes)
    notes += [targets.note] if targets.note else []
    _require_fine(inputs, targets, roles, asked, where)
    kept = _kept(source, asked, inputs, [columns[name] for name in names if name not in roles.inputs], notes)
    splits, strata = _splits(source, asked, roles, columns, targets, kept)
    pool = splits.pool if splits.validation is None else np.concatenate([splits.pool, splits.validation])
    encodings = [encoding_of(each, pool, scale=asked.scale) for each in inputs]
    preparation = _Preparation(asked.name or source.name, where, source.array, asked, encodings, targets, splits)
    made = redrawn(preparation) if splits.redraws else preparation(0)
    rows = splits(0)
    counts = _class_counts(targets, rows)
    lacking = _absent(targets.classes, counts)
    for each in lacking:
        warnings.warn(f"{where}: {each}; merge rare classes, or get more examples of them", stacklevel=3)
    notes += lacking
    card = DataCard(
        form=source.form,
        files=source.files,
        rows=len(frame),
        used=sum(map(len, rows.values())),
        split=splits.said({"strata": strata, "groups": roles.groups, "times": roles.time}),
        columns=(
            *_array_card(source, asked),
            *described(encodings, rows),
            *_other_cards(roles, columns, targets),
        ),
        classes=targets.classes,
        class_counts=counts,
        target="" if targets.classes else _said_of_targets(targets, rows["train"], scale=asked.scale_target),
        notes=tuple(notes),
    )
    object.__setattr__(made, "card", card)
    return made


def _require_fine(inputs: Sequence[Column], targets: Targets, roles: Roles, asked: Asked, where: str) -> None:
    """Refuses numbers that stay what they are where float32 holds them not, or not apart."""
    kept = [] if asked.scale else [(each.name, each.values) for each in inputs if each.kind == "number"]
    advice = dict.fromkeys((name for name, _ in kept), "leave out scale=False")
    if not targets.classes and not asked.scale_target:
        values = targets.values.reshape(len(targets.values), -1).T
        kept += list(zip(roles.target, values, strict=True))
        advice |= dict.fromkeys(roles.target, "scale_target=True standardizes targets")
    for name, values in kept:
        place, given = f"{where}, column '{name}'", values[~np.isnan(values)]
        if len(given) and (largest := np.abs(given).max()) > np.finfo(np.float32).max:
            raise UserError(f"{place}: {largest:g} is beyond float32, in which models compute; {advice[name]}")
        if said := too_fine(given, place):
            raise UserError(f"{said.split(';')[0]}; {advice[name]}")


# --- rows ---


def _kept(source: Source, asked: Asked, inputs: Sequence[Column], others: Sequence[Column], notes: list[str]) -> Array:
    """The rows that are used: those without a missing value, or without a missing target."""
    missing = {each.name: each.missing for each in (*inputs, *others) if each.missing}
    if missing and asked.missing == "refuse":
        counts = ", ".join(f"'{name}' {count}" for name, count in list(missing.items())[:SHOWN])
        more = f" and {len(missing) - SHOWN} more columns" if len(missing) > SHOWN else ""
        raise UserError(
            f"{source.where}: missing values: {counts}{more}, of {len(source.frame)} rows; say what is to be done: "
            "missing='impute' (median or most frequent level of the training split, and a column that says where), "
            "missing='drop' (rows with one), or drop= these columns"
        )
    needed = [*others, *(inputs if asked.missing == "drop" else ())]
    absent = np.zeros(len(source.frame), bool)
    for column in needed:
        absent |= np.isnan(column.values)
    if absent.all():
        raise UserError(f"{source.where}: every row has a missing value; missing='impute' keeps them")
    if absent.any():
        which = "a missing value" if asked.missing == "drop" else "no target, group or time"
        notes.append(f"{int(absent.sum())} rows with {which} are left out")
    return np.flatnonzero(~absent)


def _splits(
    source: Source,
    asked: Asked,
    roles: Roles,
    columns: Mapping[str, Column],
    targets: Targets,
    kept: Array,
) -> tuple[RowSplits, str]:
    """How rows are split, and what the strata are called."""
    ordered = [name for name in ("groups", "time", "stratify") if getattr(roles, name)]
    if len(ordered) > 1:
        raise UserError(f"{source.where}: {' and '.join(ordered)} cannot hold together; choose one of them")
    if roles.time and columns[roles.time].kind == "category":
        level = columns[roles.time].levels[0]
        raise UserError(
            f"{source.where}, column '{roles.time}': times are numbers or dates (2024-12-31), got '{level}'"
        )
    first_test = len(source.frame) - source.test
    pool = kept[kept < first_test - source.validation]
    if asked.examples is not None and asked.examples < len(pool):
        pool = np.sort(shuffled(len(pool), zlib.crc32(ORDER.encode()))[: asked.examples])
        pool = kept[kept < first_test - source.validation][pool]
    values = {name: columns[getattr(roles, name)].values for name in ordered}
    strata, called = values.get("stratify"), roles.stratify
    if not ordered and targets.classes and asked.stratify is not False:
        strata, called = targets.values, roles.target[0]
    splits = RowSplits(
        source.where,
        pool,
        kept[(kept >= first_test - source.validation) & (kept < first_test)] if source.validation else None,
        kept[kept >= first_test] if source.test else None,
        (asked.validation, asked.test),
        strata,
        values.get("groups"),
        values.get("time"),
    )
    if roles.stratify and splits.strata_left_out:
        raise UserError(
            f"{source.where}: stratify='{roles.stratify}' has {len(np.unique(values['stratify'][pool]))} values in "
            f"{len(pool)} rows, too many to have each in its share of every split; choose a column of fewer values"
        )
    return splits, called


# --- arrays ---


def _of_array(array: Array, rows: Mapping[str, Array], *, scale: bool) -> dict[str, Array]:
    """Inputs that are no columns: bytes as numbers in [0, 1], others standardized per column or channel."""
    if array.dtype == np.uint8:
        array = array[..., None] if array.ndim == 3 else array  # images without a channel axis
        return {part: (array[chosen] / np.float32(255)).astype(np.float32) for part, chosen in rows.items()}
    if not scale or array.dtype == bool:
        return {part: array[chosen] for part, chosen in rows.items()}
    train = np.asarray(array[rows["train"]], np.float64).reshape(-1, array.shape[-1])
    constant = train.min(axis=0) == train.max(axis=0)
    size = np.abs(train).max(axis=0)
    size = np.where(size > SQUARED, size, 1.0)
    mean = np.where(constant, train[0], (train / size).mean(axis=0) * size)
    deviation = np.where(constant, 1, (train / size).std(axis=0) * size)
    return {part: ((array[chosen] - mean) / deviation).astype(np.float32) for part, chosen in rows.items()}


def _quantities(values: Mapping[str, Array], where: str, *, scale: bool) -> dict[str, Array]:
    if scale:
        train = np.atleast_2d(values["train"].T)
        places = [standardization(each) for each in train]
        mean, deviation = (np.array(each).reshape(values["train"].shape[1:]) for each in zip(*places, strict=True))
        values = {part: (each - mean) / deviation for part, each in values.items()}
    return {part: as_array(each, f"{where}, targets").astype(np.float32) for part, each in values.items()}


# --- the card ---


def _array_card(source: Source, asked: Asked) -> tuple[ColumnCard, ...]:
    if source.array is None:
        return ()
    became = "standardized per column" if source.array.ndim == 2 else "standardized per channel"
    if source.array.dtype == np.uint8:
        became = "divided by 255"
    elif not asked.scale or source.array.dtype == bool:
        became = "as they are"
    shape = "x".join(map(str, source.array.shape[1:]))
    return (ColumnCard("inputs", "input", f"{source.array.dtype} {shape}", became, 0, int(source.array[0].size)),)


def _other_cards(roles: Roles, columns: Mapping[str, Column], targets: Targets) -> list[ColumnCard]:
    became = f"class indices of {len(targets.classes)} classes" if targets.classes else "numbers"
    of_role: list[tuple[Role, str, str]] = [("target", name, became) for name in roles.target]
    of_role += [("groups", roles.groups, "decides the split")] if roles.groups else []
    of_role += [("time", roles.time, "decides the split")] if roles.time else []
    stratum = roles.stratify
    of_role += [("stratify", stratum, "decides the split")] if stratum and stratum not in roles.inputs else []
    cards = [
        ColumnCard(name, role, KINDS[columns[name].kind], said, columns[name].missing, int(role == "target"))
        for role, name, said in of_role
    ]
    return cards + [ColumnCard(name, "left out", "", "", 0, 0) for name in roles.left_out]


def _said_of_targets(targets: Targets, train: Array, *, scale: bool) -> str:
    places = [standardization(each) for each in np.atleast_2d(targets.values[train].T)]
    said = "; ".join(f"mean {each.mean:.6g}, deviation {each.deviation:.6g}" for each in places)
    return f"{'standardized' if scale else 'in their own units'} ({said} of the training split)"


def _class_counts(targets: Targets, rows: Mapping[str, Array]) -> dict[str, tuple[int, ...]]:
    if not targets.classes:
        return {}
    return {
        part: tuple(np.bincount(targets.values[chosen], minlength=len(targets.classes)).tolist())
        for part, chosen in rows.items()
    }


def _absent(classes: Sequence[str], counts: Mapping[str, tuple[int, ...]]) -> list[str]:
    """Sentences on classes that a split lacks."""
    notes = []
    for index, name in enumerate(classes):
        if lacking := [part for part, each in counts.items() if not each[index]]:
            total = sum(each[index] for each in counts.values())
            notes.append(f"class '{name}', of {total} example{'s' * (total != 1)}, is not in {' and '.join(lacking)}")
    return notes
