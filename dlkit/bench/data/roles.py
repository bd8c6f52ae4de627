"""Which column is what: inputs, target, groups, time; and which are left out, or cannot be inputs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from dlkit.bench.data.columns import Column
from dlkit.bench.data.sources import Source
from dlkit.bench.errors import UserError, nearest

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["Asked", "Roles", "require_inputs", "with_roles"]

Missing = Literal["refuse", "impute", "drop"]
Task = Literal["classification", "regression"]
ID_LIKE = 0.5  # the share of rows with a text of their own from which a column is one of names
FEWEST = 20  # different texts from which it may be
SHOWN = 5  # names in a note
LONG = 40  # characters of a text, on average, from which it is prose
USUAL = ("target", "label", "class", "y", "outcome", "species", "survived", "quality", "price", "diagnosis")


def is_whole(value: object) -> bool:
    """Whether a value is a whole number, and no truth value."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a user asks of a source, as `door.dataset` explains it."""

    target: Any = None
    inputs: Sequence[str] | None = None
    drop: Sequence[str] = ()
    validation: float = 0.2
    test: float = 0.2
    groups: Any = None
    time: Any = None
    stratify: Any = None
    task: Task | None = None
    missing: Missing = "refuse"
    missing_words: Sequence[str] = ()
    scale: bool = True
    scale_target: bool = False
    header: bool | None = None
    size: tuple[int, int] | None = None
    length: int = 48
    examples: int | None = None
    name: str = ""
    digest: str = ""

    def __post_init__(self) -> None:
        for name, valid in (("missing", ("refuse", "impute", "drop")), ("task", (None, *Task.__args__))):  # type: ignore[attr-defined]
            if getattr(self, name) not in valid:
                raise UserError(f"{name}: {getattr(self, name)!r} is none of {', '.join(map(repr, valid))}")
        for name in ("drop", "inputs", "missing_words"):
            if isinstance(getattr(self, name), str):
                raise UserError(
                    f"{name}: expected a list of names, got {getattr(self, name)!r}; write [{getattr(self, name)!r}]"
                )
        for name in ("scale", "scale_target", "header"):
            if not isinstance(getattr(self, name), bool) and not (name == "header" and self.header is None):
                raise UserError(f"{name}: expected True or False, got {getattr(self, name)!r}")
        for name in ("examples", "length"):
            value = getattr(self, name)
            if not (is_whole(value) and value >= 1) and not (name == "examples" and value is None):
                raise UserError(f"{name}: expected a whole number of at least 1, got {value!r}")
        is_pair = isinstance(self.size, tuple | list) and len(self.size) == 2
        if self.size is not None and not (is_pair and all(is_whole(side) and side >= 1 for side in self.size)):
            raise UserError(f"size: expected (height, width), two whole numbers of at least 1, got {self.size!r}")
        if self.stratify is True:  # as of `split`: the classes, which is what happens anyway
            object.__setattr__(self, "stratify", None)


@dataclass(frozen=True)
class Roles:
    """Names of columns, by what they are for."""

    inputs: tuple[str, ...]
    target: tuple[str, ...]
    groups: str = ""
    time: str = ""
    stratify: str = ""
    left_out: tuple[str, ...] = ()


def with_roles(source: Source, asked: Asked) -> "tuple[DataFrame, Roles]":
    """Returns the table with groups, time and strata as columns, and which column is what.

    Raises:
        UserError: for a column that is not there, with the nearest; for a target that is not said; for no inputs.
    """
    frame, names = source.frame.copy(), {}
    for role in ("groups", "time", "stratify"):
        frame, names[role] = _with_column(frame, source.where, role, getattr(asked, role))
    target = _target(source, asked)
    known = [str(name) for name in source.frame.columns]
    for name in (*asked.drop, *(asked.inputs or ())):
        _require(name, known, source.where)
    if both := sorted({*asked.drop} & {*target}):
        raise UserError(f"{source.where}: '{both[0]}' is the target, and in drop=; leave it out of one of them")
    taken = {*target, names["groups"], names["time"], *asked.drop}
    chosen = known if asked.inputs is None else [name for name in known if name in {*asked.inputs}]
    inputs = tuple(name for name in chosen if name not in taken)
    if source.array is not None:
        inputs = ()
    elif not inputs:
        raise UserError(f"{source.where}: no column is left to predict from; there are {_listed(known)}")
    used = {*inputs, *taken, names["stratify"]}
    left_out = tuple(name for name in known if name not in used or name in {*asked.drop})
    return frame, Roles(inputs, target, **names, left_out=left_out)


def _with_column(frame: "DataFrame", where: str, role: str, given: Any) -> "tuple[DataFrame, str]":
    """The table with an array as a column; the column's name."""
    if given is None or (role == "stratify" and given is False):
        return frame, ""
    if isinstance(given, str):
        _require(given, [str(name) for name in frame.columns], where)
        return frame, given
    values = np.asarray(given)
    if values.shape != (len(frame),):
        raise UserError(
            f"{where}: {role} has shape {values.shape}; expected a column's name, or an entry for each of the "
            f"{len(frame)} examples"
        )
    return frame.assign(**{f"({role})": values}), f"({role})"


def _require(name: Any, known: Sequence[str], where: str) -> None:
    if str(name) not in known:
        raise UserError(f"{where}: no column '{name}'; {nearest(str(name), known)} (there are {_listed(known)})")


def _target(source: Source, asked: Asked) -> tuple[str, ...]:
    names = [str(name) for name in source.frame.columns]
    if asked.target is None:
        if source.target:
            return source.target
        likely = [name for name in names if name.lower() in USUAL] or names[-1:]
        if not likely:
            raise UserError(f"{source.where}: has no columns; get it again")
        raise UserError(
            f"{source.where}: which column is to be predicted? there are {_listed(names)}; say it, such as "
            f"target='{likely[0]}'"
        )
    if source.array is not None:
        if source.target == (asked.target,):
            return source.target
        raise UserError(f"{source.where}: has arrays, no columns; leave out target={asked.target!r}")
    given = asked.target if isinstance(asked.target, list | tuple) else [asked.target]
    target = []
    for each in given:
        if isinstance(each, int | np.integer) and not isinstance(each, bool) and str(each) not in names:
            if not -len(names) <= each < len(names):
                raise UserError(f"{source.where}: no column {each}; there are {len(names)}: {_listed(names)}")
            each = names[each]
        _require(each, names, source.where)
        target.append(str(each))
    return tuple(target)


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(f"'{name}'" for name in names[:20])
    return shown + (f" and {len(names) - 20} more" if len(names) > 20 else "")


def require_inputs(columns: Sequence[Column], where: str) -> tuple[str, ...]:
    """Refuses columns of texts that tell one row from another; returns what is worth saying of the others.

    Raises:
        UserError: naming each column that is prose, or has a text of its own in most rows.
    """
    mistakes, notes, same = [], [], []
    for column in columns:
        rows = int((~np.isnan(column.values)).sum())
        different = len(column.levels)
        if column.kind == "category" and different >= FEWEST and different > ID_LIKE * rows:
            shown = "', '".join(level[:30] for level in column.levels[:2])
            if np.mean([len(level) for level in column.levels]) >= LONG:
                what = (
                    "texts, not categories; turn them into numbers first (such as "
                    "sklearn.feature_extraction.text.TfidfVectorizer) and give the pair (matrix, targets)"
                )
            else:
                what = f"names or ids, not categories; leave it out: drop=['{column.name}'], or give it as groups="
            mistakes.append(
                f"{where}, column '{column.name}': {different} different texts in {rows} rows ('{shown}', ...): {what}"
            )
        given = column.values[~np.isnan(column.values)]
        if len(given) and (given == given[0]).all():
            same.append(f"'{column.name}'")
        elif column.kind == "number" and column.is_whole and len(given) > FEWEST and _counts_rows(given):
            notes.append(f"'{column.name}' counts the rows: if it is an id, leave it out with drop=['{column.name}']")
    if mistakes:
        raise UserError("\n".join(mistakes))
    if same:
        more = f" and {len(same) - SHOWN} more" if len(same) > SHOWN else ""
        has = "has" if len(same) == 1 else "have"
        notes.append(f"{', '.join(same[:SHOWN])}{more} {has} the same value in every row: it tells nothing")
    return tuple(notes)


def _counts_rows(values: np.ndarray[Any, Any]) -> bool:
    return bool(np.ptp(values) == len(values) - 1 and len(np.unique(values)) == len(values))
