"""CIFAR-10 and CIFAR-100, in the binary version and in the one for Python."""

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from dlkit.bench.data.base import Dataset
from dlkit.bench.data.files import content_of, files_of, lies_there, read_labels, splits_of
from dlkit.bench.errors import UserError

__all__ = ["cifar", "read_cifar", "read_cifar_pickle"]

Bytes = np.ndarray[Any, np.dtype[np.uint8]]
Labels = np.ndarray[Any, np.dtype[np.int32]]

PIXELS = 3 * 32 * 32  # of an image: three planes, row by row
TEN = [f"data_batch_{number}" for number in range(1, 6)]
# Names of training files and of the test file, and how many classes they tell.
VERSIONS = (
    ([f"{name}.bin" for name in TEN], "test_batch.bin", 10),
    (["train.bin"], "test.bin", 100),
    (TEN, "test_batch", 10),
    (["train"], "test", 100),
)


def cifar(folder: str | Path, *, examples: int | None = None, digest: str = "") -> Dataset:
    """Reads CIFAR-10 or CIFAR-100 from a folder, in the binary version or in the one for Python.

    Args:
        folder: has ``data_batch_1.bin`` to ``data_batch_5.bin`` and ``test_batch.bin`` (CIFAR-10), ``train.bin`` and
            ``test.bin`` (CIFAR-100, whose fine labels are used), or the same files without ``.bin``: those for Python,
            pickles, of which only arrays, lists, numbers and texts are read and no code. It may be the folder above.
        examples: how many at most are used for training and validation, of all classes; None for all.
        digest: what `Dataset.digest` has to be, or the first digits of it; empty to accept any.

    Returns:
        Splits with ``"inputs"`` [examples, 32, 32, 3] float32 in [0, 1] and ``"targets"`` [examples] int32; a sixth of
        the training files' examples is for validation. Both versions give the same.

    Raises:
        UserError: for a file that is missing or not what it should be, or another digest.
    """
    place = Path(folder)
    there = {file.name: file for file in reversed(files_of(place))}
    complete = max(VERSIONS, key=lambda version: len({*version[0], version[1]} & set(there)))
    names, test, classes = complete
    missing = [name for name in (*names, test) if name not in there]
    if missing:
        raise UserError(f"{place / missing[0]}: no such file, which belongs to CIFAR-{classes}; {lies_there(place)}")
    read = read_cifar if test.endswith(".bin") else read_cifar_pickle
    parts = {}
    for part, files in (("train", names), ("test", [test])):
        batches = [read(there[name], classes=classes) for name in files]
        images, labels = (np.concatenate(arrays) for arrays in zip(*batches, strict=True))
        parts[part] = {"inputs": (images / np.float32(255)).astype(np.float32), "targets": labels}
    return splits_of(place.resolve().name, parts, examples=examples, digest=digest, source=str(place))


def read_cifar(path: str | Path, *, classes: int = 10) -> tuple[Bytes, Labels]:
    """Reads one binary file of CIFAR.

    Args:
        path: the file: records of a label (for 100 classes a coarse and a fine one) and 3,072 bytes of pixels.
        classes: 10 or 100.

    Returns:
        Images [examples, 32, 32, 3] and (fine) labels [examples].

    Raises:
        UserError: if it cannot be read, holds no whole number of records, or labels are out of range.
    """
    file = Path(path)
    labels = 1 if classes == 10 else 2
    content = content_of(file)
    record = labels + PIXELS
    if not content or len(content) % record:
        raise UserError(f"{file}: expected records of {record} bytes, got {len(content)} bytes in all; get it again")
    table = np.frombuffer(content, np.uint8).reshape(-1, record)
    return _images(table[:, labels:]), read_labels(table[:, labels - 1], str(file), classes=classes)


def read_cifar_pickle(path: str | Path, *, classes: int = 10) -> tuple[Bytes, Labels]:
    """Reads one file of CIFAR's python version, a pickle, without running code of it.

    Args:
        path: the file: a dictionary with ``data`` [examples, 3072] and ``labels``, or ``fine_labels``.
        classes: 10 or 100.

    Returns:
        As `read_cifar`.

    Raises:
        UserError: if it cannot be read, asks for anything but NumPy's arrays, or has no such images and labels.
    """
    file = Path(path)
    where = f"{file} (CIFAR's python version, a pickle)"
    try:
        batch = _Plain(io.BytesIO(content_of(file)), encoding="bytes").load()
    except UserError:
        raise
    except Exception as error:  # a damaged pickle raises nearly anything
        raise UserError(f"{where}: cannot be read ({error}); get it again") from error
    entries = {_name(key): value for key, value in batch.items()} if isinstance(batch, dict) else {}
    pixels = np.asarray(entries.get("data", ()))
    labels = entries.get("labels", entries.get("fine_labels")) if classes == 10 else entries.get("fine_labels")
    if pixels.dtype != np.uint8 or pixels.ndim != 2 or pixels.shape[1] != PIXELS or not isinstance(labels, list):
        raise UserError(
            f"{where}: expected 'data' [examples, {PIXELS}] in bytes and a list "
            f"'{'labels' if classes == 10 else 'fine_labels'}', got {sorted(entries) or type(batch).__name__}, data "
            f"{pixels.dtype}{pixels.shape}; get it again"
        )
    if len(labels) != len(pixels):
        raise UserError(f"{where}: has {len(pixels)} images, but {len(labels)} labels; get it again")
    return _images(pixels), read_labels(np.asarray(labels), where, classes=classes)


def _images(pixels: Bytes) -> Bytes:
    return pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)


def _name(key: object) -> str:
    return key.decode(errors="replace") if isinstance(key, bytes) else str(key)


class _Plain(pickle._Unpickler):
    """Reads NumPy's arrays, and refuses every other function or class that a pickle names.

    By Python's own reader: that in C makes room for as many objects as a few bytes say that there are.
    """

    def find_class(self, module: str, name: str) -> Any:
        if module in ("numpy.core.multiarray", "numpy._core.multiarray") and name == "_reconstruct":
            return _empty
        if module in ("numpy.core.numeric", "numpy._core.numeric") and name == "_frombuffer":
            return _from_buffer
        known = {("numpy", "ndarray"): np.ndarray, ("numpy", "dtype"): np.dtype, ("_codecs", "encode"): _encoded}
        if (module, name) in known:
            return known[module, name]
        raise pickle.UnpicklingError(f"it names {module}.{name}, which is no data")


def _empty(kind: object, shape: object, typecode: object) -> np.ndarray[Any, Any]:
    """An array whose content follows."""
    return np.ndarray.__new__(np.ndarray, (0,), "b")


def _from_buffer(buffer: bytes, dtype: np.dtype[Any], shape: tuple[int, ...], order: Any) -> np.ndarray[Any, Any]:
    return np.frombuffer(buffer, dtype).reshape(shape, order=order)


def _encoded(text: str, encoding: str = "latin1") -> bytes:
    """Bytes, as Python 3 writes them for Python 2."""
    return text.encode("latin1")
