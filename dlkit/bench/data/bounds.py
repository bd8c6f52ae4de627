"""How much a file of data may hold, found before room is made for it: headers may say anything, and zeros pack well."""

import math
import os
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np

from dlkit.bench.doors import most_unpacked, said_bytes, too_much
from dlkit.bench.errors import UserError

__all__ = ["DAMAGE", "Arrays", "load_npy", "npz_members", "require_room"]

Arrays = dict[str, np.ndarray[Any, Any]]

# What readers of NumPy's files raise on bytes that are none: beside what they say, what their parsers do.
DAMAGE: tuple[type[Exception], ...] = (
    *(OSError, ValueError, EOFError, NotImplementedError, SyntaxError, RecursionError, ArithmeticError, MemoryError),
    *(zipfile.BadZipFile, zlib.error, tokenize.TokenError, LookupError, TypeError, AttributeError, RuntimeError),
)
LONGEST_HEADER = 10_000  # characters: NumPy's own bound


def require_room(size: int, where: str, what: str) -> None:
    """Refuses what would take more bytes than a file of data may hold.

    Raises:
        UserError: if it does.
    """
    if size > most_unpacked():
        raise UserError(f"{where}: {what} says that it holds {said_bytes(size)}: it {too_much(most_unpacked())}")


def load_npy(path: Path) -> np.ndarray[Any, Any]:
    """Reads one array, whose header may not promise more than the file has.

    Raises:
        UserError: if it does.
        Exception: one of `DAMAGE`, for what is no such file.
    """
    with path.open("rb") as file:
        shape, dtype = _header(file)
        promised, there = _bytes(shape, dtype), os.fstat(file.fileno()).st_size - file.tell()
        if promised > there:
            raise ValueError(f"its header says shape {shape}, {said_bytes(promised)}, but it has {said_bytes(there)}")
        file.seek(0)
        return np.asarray(np.load(file, allow_pickle=False))


def npz_members(path: Path) -> zipfile.ZipFile:
    """Opens an archive of arrays, and looks at what each of them, and all together, would take.

    Raises:
        UserError: for more than a file of data may hold.
        Exception: one of `DAMAGE`, for what is no such file.
    """
    archive = zipfile.ZipFile(path)
    try:
        whole = 0
        for info in archive.infolist():
            if info.file_size < 0 or info.flag_bits & 1:
                raise ValueError(f"its member {info.filename!r} is encrypted, or has no size")
            whole += info.file_size
            require_room(whole, str(path), "the archive")
            if not info.filename.endswith(".npy"):
                continue
            with archive.open(info) as member:
                shape, dtype = _header(member)
                if (promised := _bytes(shape, dtype)) > info.file_size:
                    raise ValueError(
                        f"its array {info.filename!r} says shape {shape}, {said_bytes(promised)}, but it has "
                        f"{said_bytes(info.file_size)}"
                    )
        return archive
    except BaseException:
        archive.close()
        raise


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """The shape and the type of an array, from the head of its file."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file, max_header_size=LONGEST_HEADER)
    if any(size < 0 for size in shape):
        raise ValueError(f"its header says shape {shape}")
    return shape, dtype


def _bytes(shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
    return 0 if dtype.hasobject else math.prod(shape) * dtype.itemsize  # objects are refused by their own message
