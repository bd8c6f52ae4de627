"""What data come in, in memory: data frames, columns, arrays, pairs, sparse matrices; all as one kind of source."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from dlkit.bench.data.arrays import as_array
from dlkit.bench.data.columns import require_columns
from dlkit.bench.data.containers import require_one_order
from dlkit.bench.data.npz import role_of
from dlkit.bench.errors import UserError

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["TARGET", "Source", "joined", "of_arrays", "of_frame", "of_memory", "of_pair"]

TARGET = "target"  # the name of a target that has none
LARGEST = 2**32  # bytes of a sparse matrix once it is dense
CHANNELS = (1, 3)  # of images, which stand last


@dataclass(frozen=True, eq=False)
class Source:
    """Examples in order, and what the source itself says of them.

    Attributes:
        form: what it was, in words.
        where: the file or argument, for messages.
        name: the dataset's name, unless the user gives one.
        frame: a column for each thing that is known of an example; of arrays, the targets.
        array: [rows, ...] inputs, in place of columns; None for a table.
        files: the files' names, without folders.
        target: the columns that the source itself says are to be predicted.
        classes: names of class indices, where the source has them.
        validation: how many rows, before those of the test, are the source's own validation examples.
        test: how many rows at the end are the source's own test examples.
        notes: what is to be said of it.
    """

    form: str
    where: str
    name: str
    frame: "DataFrame"
    array: np.ndarray[Any, Any] | None = None
    files: tuple[str, ...] = ()
    target: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    validation: int = 0
    test: int = 0
    notes: tuple[str, ...] = ()


def of_memory(value: Any, where: str, target: Any = None) -> Source:
    """Returns what is in memory as a source.

    Args:
        value: a data frame, a mapping of columns or arrays, or a pair of inputs and targets.
        where: what messages call it.
        target: of arrays by name, the one to predict.

    Raises:
        UserError: for what is none of these.
    """
    import pandas as pd

    if hasattr(value, "to_pandas") and not isinstance(value, pd.DataFrame):  # of polars, pyarrow
        value = value.to_pandas()
    if isinstance(value, pd.DataFrame):
        return of_frame(value, where)
    if isinstance(value, Mapping):
        return of_arrays(value, where, target=target)
    if isinstance(value, tuple | list) and len(value) == 2 and all(_is_arraylike(each) for each in value):
        return of_pair(value[0], value[1], where)
    if isinstance(value, np.ndarray) and value.dtype.names:
        return of_frame(pd.DataFrame(value), where)
    if isinstance(value, np.ndarray) and value.ndim == 2:
        return of_frame(_numbered(value), where, form="array")
    raise UserError(
        f"{where}: expected a path, a data frame, columns or arrays by name, or a pair (inputs, targets), got "
        f"{type(value).__name__}{getattr(value, 'shape', '')}; for an array, give its targets too: (array, targets)"
    )


def of_frame(frame: "DataFrame", where: str, *, form: str = "data frame") -> Source:
    """Returns a table as a source; the index of its rows is left out, unless it has a name."""
    import pandas as pd

    if any(name is not None for name in frame.index.names):
        frame = frame.reset_index()
    levels = frame.columns.nlevels
    names = [" ".join(map(str, name)) if levels > 1 else str(name) for name in frame.columns]
    require_columns(names, where)
    if not len(frame):
        raise UserError(f"{where}: has no rows; give some")
    frame = frame.reset_index(drop=True)
    frame.columns = pd.Index(names)
    return Source(form, where, "data", frame)


def of_pair(inputs: Any, targets: Any, where: str, name: str = TARGET) -> Source:
    """Returns inputs and targets as a source.

    Args:
        inputs: an array, a sparse matrix or a data frame.
        targets: an array, a column or a data frame.
        where: what messages call them.
        name: of targets that have none.

    Raises:
        UserError: if they do not list the same examples, or inputs are no numbers.
    """
    import pandas as pd

    names = _names_of_targets(targets, name)
    require_one_order({"inputs": inputs, "targets": targets}, where)
    if isinstance(targets, pd.DataFrame):
        columns = targets.set_axis(names, axis=1).reset_index(drop=True)
    else:
        values = targets if isinstance(targets, pd.Series) else _array(targets, f"{where}, targets")
        values = values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values
        if values.ndim > 2:
            raise UserError(
                f"{where}, targets: expected one entry per example, got shape {values.shape}; targets of several axes "
                "are for bench.split(name, {'inputs': ..., 'targets': ...})"
            )
        values = values.reset_index(drop=True) if isinstance(values, pd.Series) else values
        columns = (
            pd.DataFrame(values, columns=pd.Index(names)) if values.ndim == 2 else pd.DataFrame({names[0]: values})
        )
    if isinstance(inputs, pd.DataFrame):
        source = of_frame(inputs, where, form="data frame and targets")
        if len(inputs) != len(columns):
            raise UserError(f"{where}: {len(inputs)} examples, but {len(columns)} targets; give as many of both")
        if both := sorted({*source.frame.columns} & {*names}):
            raise UserError(f"{where}: inputs and targets both have a column '{both[0]}'; rename one of them")
        return replace(source, frame=pd.concat([source.frame, columns], axis=1), target=names)
    array = _inputs(inputs, where)
    if array.ndim == 2 and (array.dtype.kind not in "biufc" or (array.dtype.kind == "f" and np.isnan(array).any())):
        return of_pair(_numbered(array).infer_objects(), columns, where)
    if len(array) != len(columns):
        last = f", which stand along the last axis: np.moveaxis(inputs, -1, 0) where the shape is {array.shape}"
        raise UserError(
            f"{where}: {len(array)} examples, but {len(columns)} targets; give as many of both"
            + (last if array.shape[-1] == len(columns) else "")
        )
    notes: tuple[str, ...] = ()
    if array.ndim == 4 and array.shape[1] in CHANNELS and array.shape[3] not in (*CHANNELS, 4):
        said = (
            f"inputs of shape {array.shape[1:]} seem to have their channels first, and are taken for images "
            f"{array.shape[1]} pixels high: give np.moveaxis(inputs, 1, -1)"
        )
        warnings.warn(f"{where}: {said}", stacklevel=4)
        notes = (said,)
    return Source("arrays", where, "data", columns, array, target=names, notes=notes)


def _names_of_targets(targets: Any, name: str) -> tuple[str, ...]:
    if hasattr(targets, "columns"):
        return tuple(map(str, targets.columns))
    if getattr(targets, "name", None) is not None:
        return (str(targets.name),)
    shape = np.shape(targets)
    return tuple(f"{name} {i}" for i in range(shape[1])) if len(shape) == 2 and shape[1] > 1 else (name,)


def _inputs(value: Any, where: str) -> np.ndarray[Any, Any]:
    """Inputs as an array; a sparse matrix becomes a dense one."""
    if hasattr(value, "toarray"):
        size = int(np.prod(value.shape)) * 4
        if size > LARGEST:
            raise UserError(
                f"{where}: a sparse matrix of shape {value.shape} takes {size / 2**30:.0f} GiB once it is dense; keep "
                "fewer columns, such as the most frequent ones, or reduce them: sklearn.decomposition.TruncatedSVD"
            )
        value = value.toarray()
    array = _array(value, f"{where}, inputs")
    if array.ndim < 2:
        raise UserError(
            f"{where}, inputs: expected numbers [examples, ...], got shape {array.shape}; give [examples, 1]"
        )
    if array.dtype.kind == "c":
        raise UserError(
            f"{where}, inputs: complex numbers, of which models see the real part alone; give both parts: "
            "np.concatenate([inputs.real, inputs.imag], axis=-1)"
        )
    if array.ndim > 2 and array.dtype.kind == "f" and (count := int(np.isnan(array).sum())):
        raise UserError(
            f"{where}, inputs: {count} of {array.size} entries are missing, NaN or masked, and missing= is for "
            "columns; fill them in, or leave these examples out"
        )
    if array.dtype.kind == "f" and np.isinf(array).any():
        place = tuple(map(int, np.argwhere(np.isinf(array))[0]))
        raise UserError(
            f"{where}, inputs: {int(np.isinf(array).sum())} of {array.size} entries are infinite, the first at index "
            f"{place}; correct them, or make them missing"
        )
    return array


def _array(value: Any, where: str) -> np.ndarray[Any, Any]:
    """An array as it is: whether its entries can be trained on is seen later, with missing ones among them."""
    if isinstance(value, np.ma.MaskedArray):
        return np.where(np.ma.getmaskarray(value), np.nan, np.ma.getdata(value))
    if isinstance(value, np.ndarray):
        return value
    try:
        return np.asarray(value)
    except (ValueError, TypeError):
        return as_array(value, where)  # which says what is wrong


def _is_arraylike(value: Any) -> bool:
    return hasattr(value, "shape") or (isinstance(value, list | tuple) and len(value) > 0) or hasattr(value, "columns")


def _numbered(array: np.ndarray[Any, Any]) -> "DataFrame":
    import pandas as pd

    return pd.DataFrame(array, columns=pd.Index([str(i) for i in range(array.shape[1])]))


def of_arrays(arrays: Mapping[str, Any], where: str, *, form: str = "arrays", target: Any = None) -> Source:
    """Returns named arrays as a source: as columns if each is one, else as inputs and targets by their names.

    Args:
        arrays: name -> array.
        where: what messages call them.
        form: what they were, in words.
        target: the name of the array to predict; None for what names say.

    Raises:
        UserError: where it is not clear which are which, with the names and shapes that are there.
    """
    import pandas as pd

    given = {str(name): value for name, value in arrays.items()}
    if isinstance(target, str) and target in given and any(np.ndim(value) > 1 for value in given.values()):
        others = [name for name, value in given.items() if np.ndim(value) > 1 and name != target]
        named = [name for name in others if role_of(name) == ("", "inputs")]
        if len(named or others) == 1:
            return _of_parts(given, {"train": {"inputs": (named or others)[0], "targets": target}}, where, form)
    roles = {name: role for name in given if (role := role_of(name)) is not None}
    if "DESCR" in given and "data" in given:  # of scikit-learn: what it calls data are the inputs
        roles = {name: role for name, role in roles.items() if name == "data" or role[1] != "inputs"}
    parts = {part: {kind: name for name, (own, kind) in roles.items() if own == part} for part, _ in roles.values()}
    whole = parts.get("", parts.get("train", {}))
    is_pair = {"inputs", "targets"} <= {*whole} and np.ndim(given[whole["inputs"]]) != 1
    if is_pair and sum(part in ("", "train") for part, _ in roles.values()) == 2:
        return _of_parts(given, {"train": whole, **{part: parts[part] for part in parts if part}}, where, form)
    shapes = {name: np.shape(value) for name, value in given.items()}
    if given and all(len(shape) == 1 for shape in shapes.values()) and len(set(shapes.values())) == 1:
        columns = {name: value if isinstance(value, pd.Series) else np.asarray(value) for name, value in given.items()}
        return of_frame(pd.DataFrame(columns), where, form=form)
    listed = ", ".join(f"'{name}' {shape}" for name, shape in shapes.items())
    raise UserError(
        f"{where}: which arrays are the inputs, and which the targets? there are {listed or 'none'}; call them "
        "'inputs' and 'targets', or give the pair (inputs, targets)"
    )


def _of_parts(given: Mapping[str, Any], parts: Mapping[str, Mapping[str, str]], where: str, form: str) -> Source:
    """Inputs and targets of training, and maybe of validation and test."""
    used = {name for pair in parts.values() for name in pair.values()}
    beside = _beside(given, used) if len(parts) == 1 else {}
    used |= {*beside}
    notes = [f"arrays that are not used: {', '.join(sorted({*given} - used))}"] if {*given} - used else []
    pairs = {
        part: of_pair(given[parts[part]["inputs"]], given[parts[part]["targets"]], where, parts["train"]["targets"])
        for part in ("train", "validation", "test")
        if {"inputs", "targets"} <= {*parts.get(part, ())}
    }
    first, *others = pairs.values()
    for other in others:
        first = joined(replace(first, test=0), other)
    if beside and first.array is not None:
        first = replace(first, frame=first.frame.assign(**beside))
    counts = {part: len(source.frame) for part, source in pairs.items()}
    sizes = {part: counts.get(part, 0) for part in ("validation", "test")}
    return replace(
        first,
        form=form,
        classes=_class_names(given),
        notes=(*first.notes, *notes),
        validation=sizes["validation"],
        test=sizes["test"],
    )


def _beside(given: Mapping[str, Any], used: set[str]) -> dict[str, Any]:
    """Arrays with an entry for each example beside inputs and targets, which may be groups, times or strata."""
    count = np.shape(given[next(iter(used))])[0]
    return {
        name: np.asarray(value)
        for name, value in given.items()
        if name not in used and np.shape(value) == (count,) and not name.endswith("names")
    }


def _class_names(given: Mapping[str, Any]) -> tuple[str, ...]:
    """The names that scikit-learn's data sets have beside their targets."""
    names = given.get("target_names")
    return () if names is None or np.asarray(given["target"]).dtype.kind == "f" else tuple(map(str, names))


def joined(first: Source, test: Source) -> Source:
    """Returns a source whose last rows are another one's: the test.

    Raises:
        UserError: if the two have other columns or shapes.
    """
    import pandas as pd

    if first.test:
        raise UserError(f"{first.where}: has test examples of its own; leave out test=")
    frame = test.frame
    if not first.target or first.array is None:  # a table
        if lacking := [name for name in first.frame.columns if name not in frame.columns]:
            raise UserError(
                f"{test.where}: lacks the columns {lacking} of {first.where}; it has {[*map(str, frame.columns)]}"
            )
        frame = frame[list(first.frame.columns)]
    elif test.array is None or first.array.shape[1:] != test.array.shape[1:]:
        shape = None if test.array is None else test.array.shape[1:]
        raise UserError(f"{test.where}: examples of shape {shape}, but {first.where} has {first.array.shape[1:]}")
    elif len(first.frame.columns) != len(frame.columns):
        raise UserError(f"{test.where}: {len(frame.columns)} targets, but {first.where} has {len(first.frame.columns)}")
    else:
        frame = frame.set_axis(first.frame.columns, axis=1)
    array = None if first.array is None or test.array is None else np.concatenate([first.array, test.array])
    called = test.files[0] if test.files else "the test"
    frame = frame.set_axis([f"{row} of {called}" for row in range(len(frame))], axis=0)  # for messages
    together: Sequence[Any] = [first.frame, frame]
    return replace(
        first,
        frame=pd.concat(together),
        array=array,
        files=(*first.files, *test.files),
        test=len(frame),
        notes=(*first.notes, *(note for note in test.notes if note not in first.notes)),
    )
