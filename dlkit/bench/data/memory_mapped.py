"""Memory-mapped arrays: read part by part, and sent to other processes as the path of their file."""

import math
import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dlkit.bench.errors import UserError

__all__ = ["Located", "chunks", "located", "mapped"]

CHUNK_BYTES = 2**24  # of an array looked at in one go


class Located(NamedTuple):
    """Where a memory-mapped array lies: all that another process needs of it."""

    path: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    offset: int


def chunks(array: np.ndarray[Any, Any]) -> Iterator[np.ndarray[Any, Any]]:
    """Yields an array's rows in parts of at most `CHUNK_BYTES`, or of one row.

    Args:
        array: [rows, ...].

    Yields:
        [some rows, ...], in order.
    """
    row = math.prod(array.shape[1:]) * array.dtype.itemsize
    rows = max(CHUNK_BYTES // max(row, 1), 1)
    for first in range(0, len(array), rows):
        yield array[first : first + rows]


def located(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any] | Located:
    """Returns the place of a memory-mapped array; one that is in memory, or in no single piece of a file, as it is."""
    root: Any = array
    while isinstance(root.base, np.memmap):
        root = root.base
    if not isinstance(array, np.memmap) or array.filename is None or not array.flags.c_contiguous:
        return array
    if not isinstance(root.base, mmap.mmap) or array.mode == "c":  # "c": changes stay in this process
        return array
    begin, here = (each.__array_interface__["data"][0] for each in (root, array))
    path = str(Path(array.filename).resolve())
    return Located(path, array.dtype, array.shape, int(root.offset) + here - begin)


def mapped(place: np.ndarray[Any, Any] | Located, where: str) -> np.ndarray[Any, Any]:
    """Returns the array that `located` told the place of.

    Args:
        place: what `located` returned.
        where: whose it is, for messages.

    Raises:
        UserError: if the file is not there, or too short.
    """
    if not isinstance(place, Located):
        return place
    try:
        return np.memmap(place.path, place.dtype, "r", place.offset, place.shape)
    except (OSError, ValueError) as error:
        raise UserError(
            f"{where}: its file {place.path} cannot be mapped here ({error}); memory-mapped data need their files in "
            "the same place wherever a worker runs"
        ) from error
