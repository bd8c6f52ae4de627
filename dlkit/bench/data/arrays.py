"""The one place where arrays enter: their values arrive at the device as they were given, or are refused.

JAX holds integers and real numbers of 64 bits in 32 where `jax_enable_x64` is off, and says nothing: integers wrap,
large numbers become infinite, and numbers that differ by little beside their size become the same.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dlkit.bench.data.containers import Array, columns_of, unpacked
from dlkit.bench.data.memory_mapped import chunks
from dlkit.bench.errors import UserError

__all__ = ["Arrays", "as_array", "device_dtype", "too_fine", "underflow"]

Arrays = Mapping[str, Array]

WIDE = {"int64": "int32", "uint64": "uint32", "float64": "float32", "complex128": "complex64"}
OFFSET = 2**8  # a column whose values are so many ranges away from 0 may be too fine for float32
LOST = 0.05  # of a column's different values: so many may become the same
SEEN = 2**20  # values of a column that are compared
COLUMNS = 64  # of an array that are compared at most
FIRST = 1000  # rows that exclude most arrays
SMALLEST = 2.0**-150  # what is smaller becomes 0 as float32
WHOLE = 2**24  # float32 holds every integer up to here


def as_array(value: object, where: str) -> Array:
    """Returns an array whose values survive the way to the device.

    Args:
        value: an array or tensor of any library, a list, a data frame or one of its columns.
        where: dataset, split and array, for messages.

    Returns:
        A NumPy array of finite numbers in this machine's byte order, of the type that was given, or of the nearest
        that JAX has. One that is memory-mapped stays so, unless its bytes are in the other order.

    Raises:
        UserError: for what holds no numbers, for NaN and infinite entries, and for what 32 bits cannot hold.
    """
    array = unpacked(value, where)
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    if array.dtype.kind in "fc" and array.dtype.itemsize > (8 if array.dtype.kind == "f" else 16):
        array = _narrowed(array, where)
    if array.ndim and array.size:
        names = columns_of(value)
        _require_finite(array, where, names)
        if device_dtype(array.dtype) != array.dtype:
            _require_range(array, where, names)
    return array


def device_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Returns the type that an array has on the device, with `jax_enable_x64` as it is."""
    return dtype if _has_64_bits() else np.dtype(WIDE.get(dtype.name, dtype))


def _has_64_bits() -> bool:
    jax = sys.modules.get("jax")
    if jax is None:  # not imported yet: what it will read
        return os.environ.get("JAX_ENABLE_X64", "").lower() in ("1", "true", "t", "yes", "y", "on")
    return bool(jax.config.jax_enable_x64)


def _narrowed(array: Array, where: str) -> Array:
    """Numbers of more than 64 bits, which JAX has not, as 64."""
    with np.errstate(over="ignore"):
        narrow = array.astype(np.float64 if array.dtype.kind == "f" else np.complex128)
    if (np.isfinite(array) & ~np.isfinite(narrow)).any():
        raise UserError(f"{where}: numbers of type {array.dtype} are beyond float64; scale them")
    return narrow


def _require_finite(array: Array, where: str, names: Sequence[str]) -> None:
    """Refuses NaN and infinite entries, with the first one's index."""
    dtype = array.dtype
    if dtype.kind not in "fc" and dtype.type.__module__ != "ml_dtypes":
        return
    if dtype.kind == "f" and all(np.isfinite(part.min()) and np.isfinite(part.max()) for part in chunks(array)):
        return
    count, first, row = 0, None, 0
    for part in chunks(array):
        bad = ~np.isfinite(part if dtype.kind in "fc" else part.astype(np.float32))
        if first is None and bad.any():
            place = np.argwhere(bad)[0]
            first = (row + int(place[0]), *map(int, place[1:]))
        count += int(bad.sum())
        row += len(part)
    if first is not None:
        column = f", in column '{names[first[1]]}'" if names else ""
        raise UserError(
            f"{where}: {count} of {array.size} entries are NaN or infinite, the first at index {first}{column}; "
            "remove or impute them"
        )


def _require_range(array: Array, where: str, names: Sequence[str]) -> None:
    """Refuses values of 64 bits that are beyond 32."""
    narrow = device_dtype(array.dtype)
    if narrow.kind in "iu":
        least, most = float(np.iinfo(narrow).min), float(np.iinfo(narrow).max)
        said, advice = f"{least:.0f} to {most:.0f}", "number identities from 0, or give quantities as scaled float32"
    else:
        largest = float(np.finfo(narrow).max)
        # What is nearer to the largest number than to the next step beyond it is rounded to it.
        least, most = -largest * (1 + 2.0**-25), largest * (1 + 2.0**-25)
        said, advice = f"up to {largest:.8g}", "scale the column"
    row = 0
    for part in chunks(array):
        parts = [part.real, part.imag] if part.dtype.kind == "c" else [part]
        if any(each.min() < least or each.max() > most for each in parts):
            outside = np.logical_or.reduce([(each < least) | (each > most) for each in parts])
            place = tuple(int(number) for number in np.argwhere(outside)[0])
            index = (row + place[0], *place[1:])
            raise UserError(
                f"{_place(where, array, index, names)}: {part[place]} at index {index} is beyond {narrow}, which the "
                f"device holds in place of {array.dtype} ({said}), and would become another number; {advice}, or set "
                "jax_enable_x64"
            )
        row += len(part)


def _place(where: str, array: Array, index: Sequence[int], names: Sequence[str]) -> str:
    """Whose number it is: with the column, where there are columns."""
    if array.ndim != 2:
        return where
    return f"{where}, column " + (f"'{names[index[1]]}'" if names else str(index[1]))


def too_fine(array: Array, where: str, names: Sequence[str] = ()) -> str:
    """Says which column's values float32 cannot tell apart, and what to do; nothing where all is well.

    A column is too fine if it lies far from 0 beside its range, as seconds since 1970 do, and more than a twentieth of
    its different values become the same as float32; or if all of it is so small that it becomes 0. Low-order digits
    that any column loses are no matter, nor are small numbers that become 0 beside large ones. Of more than a million
    rows the first are compared.

    Args:
        array: [examples, ...], as `as_array` returns it.
        where: dataset and array.
        names: of its columns; without them they are numbered.

    Returns:
        A sentence, or nothing.
    """
    name = array.dtype.name
    is_integer = name in ("int64", "int32", "uint32", "uint64")
    if not array.size or not array.ndim or not (is_integer or name == "float64"):
        return ""
    if not is_integer and device_dtype(array.dtype) == array.dtype:
        return ""
    for rows in (array[:FIRST], array):  # where the first rows are not near each other, all of them are not
        least, most = _bounds(rows)
        with np.errstate(over="ignore"):
            size, span = np.maximum(np.abs(least), np.abs(most)), most - least
        vanishing = (size < np.finfo(np.float32).tiny) & (not is_integer)
        suspected = vanishing | (size > OFFSET * span) & ((size > WHOLE) | (not is_integer))
        if not suspected.any():
            return ""
    for column in np.flatnonzero(suspected & (span > 0) | vanishing & (size > 0))[:COLUMNS]:
        place = _place(where, array, (0, int(column)), names)
        if vanishing[column]:
            return (
                f"{place}: its largest number, {size[column]:.3g}, is below what float32 holds in full "
                f"({np.finfo(np.float32).tiny:.3g}); scale or standardize it"
            )
        values = _sample(array, int(column))
        kept, different = (len(np.unique(each)) for each in (values.astype(np.float32), values))
        if kept < (1 - LOST) * different:
            return (
                f"{place}: of {different} different values, {least[column]:.15g} to {most[column]:.15g}, float32 tells "
                f"{kept} apart; standardize the column (bench.data.standardize), or subtract its smallest value, "
                "before it becomes float32"
            )
    return ""


def underflow(array: Array, where: str, names: Sequence[str] = ()) -> str:
    """Says which column has many numbers that become 0 as float32; beside large ones they may not matter.

    Args:
        array: [examples, ...], as `as_array` returns it.
        where: dataset and array.
        names: of its columns; without them they are numbered.

    Returns:
        A sentence, or nothing.
    """
    if array.dtype != np.float64 or device_dtype(array.dtype) == array.dtype or not array.size or not array.ndim:
        return ""
    rows = array[: max(FIRST, SEEN * len(array) // array.size)]
    values = rows.reshape(len(rows), -1)
    is_lost = (np.abs(values) < SMALLEST) & (values != 0)
    column = int(is_lost.sum(axis=0).argmax())
    count = int(is_lost[:, column].sum())
    if count <= LOST * len(values):
        return ""
    return (
        f"{_place(where, array, (0, column), names)}: {count} of {len(values)} numbers become 0 as float32, "
        f"such as {values[is_lost[:, column], column][0]:.3g}; if they matter, scale the column or take logarithms"
    )


def _bounds(array: Array) -> tuple[Array, Array]:
    """The least and the largest value of each column, as float64: entries of examples, [columns]."""
    least = most = None
    for part in chunks(array):
        rows = part.reshape(len(part), -1)
        low, high = rows.min(axis=0), rows.max(axis=0)
        least = low if least is None else np.minimum(least, low)
        most = high if most is None else np.maximum(most, high)
    return np.asarray(least, np.float64), np.asarray(most, np.float64)


def _sample(array: Array, column: int) -> Array:
    """Values of a column: all of them, or the first of a large array, as neighbours in time are alike."""
    rows = array[:SEEN]
    return np.asarray(rows.reshape(len(rows), -1)[:, column])
