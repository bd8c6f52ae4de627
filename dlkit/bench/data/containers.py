"""What arrays come in: tables, sparse matrices, tensors of other libraries, lists; as NumPy's arrays of numbers."""

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from numbers import Complex, Integral, Real
from typing import Any

import numpy as np

from dlkit.bench.errors import UserError

__all__ = ["Array", "columns_of", "require_one_order", "require_same_columns", "unpacked"]

Array = np.ndarray[Any, Any]

NUMBERS = "biufc"  # NumPy's kinds of numbers
INTEGERS_OF_64_BITS = range(-(2**63), 2**64)
SHOWN = 5  # names that a message lists


def unpacked(value: object, where: str) -> Array:
    """Returns a NumPy array of numbers, whatever it comes in; a mapped one stays mapped.

    Args:
        value: an array or tensor of any library, a list, a data frame or one of its columns.
        where: whose it is, for messages.

    Raises:
        UserError: for what holds no numbers, or not one in each place: what it is, and what to do.
    """
    _refuse_containers(value, where)
    if hasattr(value, "iloc"):  # a frame, a series of pandas
        return _of_pandas(value, where)
    return _numbers(_as_numpy(value, where), where)


def columns_of(value: object) -> tuple[str, ...]:
    """Returns the names of a data frame's columns; of anything else, none."""
    return tuple(map(str, value.columns)) if hasattr(value, "iloc") and hasattr(value, "columns") else ()


def require_same_columns(model: object, other: object, where: str) -> None:
    """Refuses a data frame whose columns are not those of another one, in their order.

    Args:
        model: of the first split: a frame, or anything else.
        other: of another split.
        where: dataset, split and array of the other.

    Raises:
        UserError: if both are frames of other columns.
    """
    ours, theirs = columns_of(model), columns_of(other)
    if ours and theirs and ours != theirs:
        how = "in another order than" if sorted(ours) == sorted(theirs) else "and not"
        raise UserError(
            f"{where}: has the columns {_listed(theirs)}, {how} those of 'train', {_listed(ours)}; select them alike, "
            "such as frame[train.columns]"
        )


def require_one_order(arrays: Mapping[str, Any], where: str) -> None:
    """Refuses tables and columns of pandas that have the same rows in different orders, as places are what counts.

    Args:
        arrays: name -> what was given.
        where: dataset and split.

    Raises:
        UserError: if one's index is another's in another order.
    """
    indexed = [(name, value.index) for name, value in arrays.items() if hasattr(value, "iloc")]
    for (first, index), (name, other) in itertools.pairwise(indexed):
        if len(index) == len(other) and not index.equals(other) and index.sort_values().equals(other.sort_values()):
            raise UserError(
                f"{where}: the rows of '{first}' and '{name}' have the same index in different orders, so that inputs "
                f"would get other examples' targets; bring them in one order, such as {name}.loc[{first}.index]"
            )


def _refuse_containers(value: object, where: str) -> None:
    """Refuses what NumPy would take for something else."""
    kind, library = type(value).__name__, type(value).__module__.partition(".")[0]
    count = int(np.sum(np.ma.getmaskarray(value))) if isinstance(value, np.ma.MaskedArray) else 0
    if count:
        raise UserError(
            f"{where}: a masked array with {count} masked entries, and what lies under the mask would be trained on; "
            "impute these entries (array.filled(...)) or remove their examples; to leave steps of sequences out, give "
            "the mask as an array of weights"
        )
    is_sparse = library in ("scipy", "sparse") and hasattr(value, "nnz")
    if is_sparse or kind in ("BCOO", "BCSR") or getattr(value, "is_sparse", False) is True:
        dense = {"scipy": ".toarray()", "torch": ".to_dense()"}.get(library, ".todense()")
        raise UserError(
            f"{where}: a sparse array ({kind}, shape {tuple(value.shape)}); give a dense one, array{dense}, or "  # type: ignore[attr-defined]
            "its columns that matter"
        )
    dtype = str(getattr(value, "dtype", ""))
    if dtype.startswith("key<"):
        raise UserError(f"{where}: random keys ({dtype}) are no data; give numbers, or jax.random.key_data(keys)")
    if isinstance(value, (str, bytes, Mapping, set, frozenset)) or value is None or callable(value):
        shown = f"{value!r:.40}" if isinstance(value, (str, bytes)) or value is None else kind
        raise UserError(f"{where}: expected an array with one entry per example, got {shown}; read or stack it first")
    if isinstance(value, Iterable) and hasattr(value, "__next__"):
        raise UserError(f"{where}: a {kind} is used up by one reading; give a list or an array")


def _as_numpy(value: Any, where: str) -> Array:
    """An array of any type, in this process's memory or mapped."""
    if isinstance(value, np.memmap):
        return value
    try:
        is_only_dlpack = hasattr(value, "__dlpack__") and not hasattr(value, "__array__")
        return np.from_dlpack(value) if is_only_dlpack else np.asarray(value)
    except (TypeError, ValueError, RuntimeError, OverflowError, BufferError) as error:
        if isinstance(value, Sequence):
            raise UserError(f"{where}: {_ragged(value, error)}") from None
        try:
            return np.from_dlpack(value)
        except (TypeError, ValueError, RuntimeError, BufferError, AttributeError):
            raise UserError(
                f"{where}: {type(value).__name__} cannot be turned into a NumPy array ({error}); give an array, such "
                "as tensor.detach().cpu().numpy()"
            ) from None


def _ragged(value: Sequence[Any], error: Exception) -> str:
    arrays = [each for each in value if isinstance(each, (list, tuple)) or (hasattr(each, "shape") and each.shape)]
    lengths = {len(each) for each in arrays}
    if "inhomogeneous" not in str(error) and len(lengths) < 2:
        return f"expected an array of numbers, got a list that is none ({error}); stack it with np.stack first"
    between = f", of {min(lengths)} to {max(lengths)}" if len(lengths) > 1 else ""
    return (
        f"ragged: examples of different lengths{between}; pad them to one length, and give the lengths or a mask as "
        "another array"
    )


# --- pandas ----------------------------------------------------------------------------------------------------------


def _of_pandas(value: Any, where: str) -> Array:
    """A column [examples], or a frame [examples, columns]."""
    if not hasattr(value, "columns"):
        return _column(value, where)
    if not len(value.columns):
        raise UserError(f"{where}: a table without columns; select some")
    kinds = {column for column in value.dtypes if isinstance(column, np.dtype)}
    if len(kinds) == 1 and len(set(value.dtypes)) == 1 and next(iter(kinds)).kind in NUMBERS:
        return np.asarray(value)
    return np.stack([_column(column, f"{where}, column '{name}'") for name, column in value.items()], axis=1)


def _column(column: Any, where: str) -> Array:
    """A column of a table as numbers."""
    dtype = column.dtype
    if isinstance(dtype, np.dtype):
        return _numbers(column.to_numpy(), where)
    name = str(dtype)
    if name.startswith("Sparse"):
        raise UserError(f"{where}: sparse ({name}); give a dense one, column.sparse.to_dense()")
    if name == "category":
        categories = list(column.cat.categories)
        raise UserError(
            f"{where}: categories, {_listed(categories)}; encode them as numbers, pandas.get_dummies(frame) for one "
            "column each, or column.cat.codes for class indices"
        )
    if any(word in name for word in ("datetime", "date", "timestamp", "period", "interval", "time", "duration")):
        raise UserError(f"{where}: {_of_dates(name)}")
    missing: Array = np.asarray(column.isna())
    if getattr(dtype, "kind", "O") in NUMBERS:
        if missing.any():
            raise UserError(
                f"{where}: {int(missing.sum())} of {len(column)} values are missing ({name}), the first at index "
                f"{int(missing.argmax())}; remove these examples or impute them, such as column.fillna(column.median())"
            )
        return _numbers(column.to_numpy(dtype=getattr(dtype, "numpy_dtype", object)), where)
    return _numbers(column.to_numpy(dtype=object), where)


# --- what is no number -----------------------------------------------------------------------------------------------


def _numbers(array: Array, where: str) -> Array:
    """The array, if it holds numbers; objects that are numbers as such."""
    dtype = array.dtype
    if dtype.kind in NUMBERS or dtype.type.__module__ == "ml_dtypes":
        return array
    if dtype.names:
        raise UserError(
            f"{where}: a structured array with the fields {_listed(dtype.names)}; give one, array['{dtype.names[0]}'], "
            "or all as columns: numpy.lib.recfunctions.structured_to_unstructured(array)"
        )
    if dtype.kind in "Mm":
        raise UserError(f"{where}: {_of_dates(str(dtype))}")
    if dtype.kind == "V":
        raise UserError(
            f"{where}: expected numbers, got {dtype.itemsize} bytes an entry whose type is lost ({dtype}); name it, "
            "such as array.view(ml_dtypes.bfloat16)"
        )
    return _of_objects(array, where)


def _of_dates(dtype: str) -> str:
    if any(word in dtype for word in ("timedelta", "duration", "m8")):
        return f"durations ({dtype}); turn them into numbers, such as array / np.timedelta64(1, 's')"
    return (
        f"dates or times ({dtype}); turn them into numbers, such as the days since the first, (array - array.min()) / "
        "np.timedelta64(1, 'D')"
    )


def _of_objects(array: Array, where: str) -> Array:
    """Objects, or texts, as numbers, if each is one."""
    if array.ndim == 0:
        kind = type(array[()]).__name__
        raise UserError(f"{where}: expected an array with one entry per example, got one object of type {kind}")
    flat = array.ravel()
    bad = next((place for place, each in enumerate(flat) if not _is_number(each)), None)
    if bad is None:
        return _as_numbers(array, where)
    index = tuple(map(int, np.unravel_index(bad, array.shape)))
    place = f"{where}, column {index[1]}" if array.ndim == 2 else where
    raise UserError(f"{place}: {_no_number(flat[bad], index, flat, array.dtype)}")


def _is_number(value: object) -> bool:
    return isinstance(value, (Complex, Decimal, np.bool_))


def _as_numbers(array: Array, where: str) -> Array:
    flat = array.ravel()
    if all(isinstance(each, (bool, np.bool_)) for each in flat):
        return array.astype(bool)
    if all(isinstance(each, (Integral, np.bool_)) for each in flat):
        values = [int(each) for each in flat]
        outside = next((each for each in values if each not in INTEGERS_OF_64_BITS), None)
        if outside is not None:
            raise UserError(
                f"{where}: the integer {outside} has more than 64 bits; scale it, or number what it stands for from 0"
            )
        return np.array(values, np.uint64 if max(values) >= 2**63 else np.int64).reshape(array.shape)
    is_real = all(isinstance(each, (Real, Decimal, np.bool_)) for each in flat)
    to_number: Callable[[Any], Any] = _to_float if is_real else complex
    return np.array([to_number(each) for each in flat]).reshape(array.shape)


def _to_float(value: Any) -> float:
    try:
        return float(value)
    except OverflowError:
        return np.inf


def _no_number(value: Any, index: tuple[int, ...], flat: Array, dtype: Any) -> str:
    kind = type(value).__name__
    if isinstance(value, (str, bytes)):
        texts = sorted({_text(each) for each in flat[:1000] if isinstance(each, (str, bytes))})
        what = f"expected numbers, got texts (dtype {dtype}), the first {_text(value)!r:.40} at index {index}"
        if _is_numeral(value):
            return f"{what}; they may be numbers written as text: convert them, such as array.astype(np.float32)"
        return f"{what}; encode categories as integers (there are {_listed(texts)}), or leave the column out"
    if value is None or kind in ("NAType", "NaTType"):
        return f"expected numbers, got {value!r}, a missing value, at index {index}; remove or impute missing values"
    if hasattr(value, "nnz"):
        return f"expected numbers, got sparse arrays ({kind}) as objects; stack them as a dense one, such as " + (
            "scipy.sparse.vstack(arrays).toarray()"
        )
    if isinstance(value, (Sequence, np.ndarray)) or hasattr(value, "__array__"):
        lengths = [len(each) for each in flat if hasattr(each, "__len__")]
        return (
            f"ragged: expected numbers, got arrays as objects (dtype object), of {min(lengths, default=0)} to "
            f"{max(lengths, default=0)} entries; stack them with np.stack if they are of one shape, else pad them to "
            "one length, and give the lengths or a mask as another array"
        )
    if kind in ("Timestamp", "datetime", "date", "datetime64", "Period", "time", "timedelta", "Timedelta"):
        return _of_dates(f"objects of type {kind}")
    return f"expected numbers, got objects (dtype object), the first of type {kind} at index {index}; give numbers"


def _text(value: str | bytes) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _is_numeral(value: str | bytes) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True


def _listed(names: Iterable[object]) -> str:
    """The first names, and how many more there are."""
    every = [f"'{name}'" for name in names]
    more = f" and {len(every) - SHOWN} more" if len(every) > SHOWN else ""
    return ", ".join(every[:SHOWN]) + more
