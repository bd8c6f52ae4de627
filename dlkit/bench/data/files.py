"""Images from files that a user has: ``.npz``, IDX (MNIST, Fashion-MNIST), the binary files of CIFAR."""

import gzip
import math
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from dlkit.bench.data.arrays import as_array
from dlkit.bench.data.base import Dataset, require_digest
from dlkit.bench.data.splits import split_official
from dlkit.bench.errors import UserError, nearest

__all__ = ["cifar", "idx", "npz", "read_cifar", "read_idx", "read_labels"]

Bytes = np.ndarray[Any, np.dtype[np.uint8]]

OFFICIAL = ("x_train", "y_train", "x_test", "y_test")
PLAIN = ("inputs", "targets")
# Types of IDX by the third byte of a file: big-endian.
IDX_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
PIXELS = 3 * 32 * 32  # of an image of CIFAR: three planes, row by row


def npz(path: str | Path, *, examples: int | None = None, digest: str = "") -> Dataset:
    """Reads labelled arrays from an ``.npz`` file.

    Args:
        path: the file; it has the arrays ``x_train``, ``y_train``, ``x_test`` and ``y_test`` (as Keras writes MNIST),
            or ``inputs`` and ``targets``. Targets are class indices. Inputs of bytes are divided by 255; images without
            a channel axis, [examples, height, width], get one.
        examples: how many at most are used for training and validation, the first of the file; None for all.
        digest: what `Dataset.digest` has to be, or the first digits of it; empty to accept any.

    Returns:
        Splits with ``"inputs"`` float32 and ``"targets"`` [examples] int32. The file's own test examples are the test;
        a sixth of the others is for validation.

    Raises:
        UserError: for a file that cannot be read, arrays that are missing, of other shapes or not class indices, or
            another digest.
    """
    file = Path(path)
    try:
        with file.open("rb") as opened:
            stored = np.load(opened, allow_pickle=False)
            arrays = {name: stored[name] for name in getattr(stored, "files", ())}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(f"{file}: not an .npz file that can be read ({error}); save one with np.savez") from error
    if isinstance(stored, np.ndarray):
        raise UserError(f"{file}: expected an .npz file of named arrays, got a single array; use np.savez")
    names = OFFICIAL if "x_train" in arrays or "y_train" in arrays else PLAIN
    for name in names:
        if name not in arrays:
            hint = f"{nearest(name, arrays)}" if arrays else "it is empty"
            raise UserError(f"{file}: no array '{name}'; needs {', '.join(names)}; {hint}")
    parts = [
        {"inputs": _inputs(arrays[x], f"{file}: {x}"), "targets": read_labels(arrays[y], f"{file}: {y}")}
        for x, y in zip(names[::2], names[1::2], strict=True)
    ]
    for part, x in zip(parts, names[::2], strict=True):
        if len(part["inputs"]) != len(part["targets"]):
            raise UserError(
                f"{file}: {x} has {len(part['inputs'])} examples, but its targets are {len(part['targets'])}; save the "
                "arrays of one set together"
            )
    return _dataset(file.stem, parts, examples=examples, digest=digest, source=str(file))


def idx(folder: str | Path, *, examples: int | None = None, digest: str = "") -> Dataset:
    """Reads the four IDX files of MNIST, Fashion-MNIST and their like from a folder.

    Args:
        folder: has ``train-images-idx3-ubyte``, ``train-labels-idx1-ubyte``, ``t10k-images-idx3-ubyte`` and
            ``t10k-labels-idx1-ubyte``, each as it is or with ``.gz``.
        examples: as in `npz`.
        digest: as in `npz`.

    Returns:
        Splits with ``"inputs"`` [examples, height, width, 1] float32 in [0, 1] and ``"targets"`` [examples] int32; a
        sixth of the training files' examples is for validation.

    Raises:
        UserError: for a file that is missing or not what it should be, or another digest.
    """
    place = Path(folder)
    parts = []
    for part in ("train", "t10k"):
        images_file, labels_file = (
            _present(place, f"{part}-{what}") for what in ("images-idx3-ubyte", "labels-idx1-ubyte")
        )
        images, labels = read_idx(images_file, dimensions=3), read_idx(labels_file, dimensions=1)
        if len(images) != len(labels):
            raise UserError(
                f"{images_file} has {len(images)} images, but {labels_file} has {len(labels)} labels; get both again"
            )
        parts.append({"inputs": _inputs(images, str(images_file)), "targets": read_labels(labels, str(labels_file))})
    return _dataset(place.resolve().name, parts, examples=examples, digest=digest, source=str(place))


def cifar(folder: str | Path, *, examples: int | None = None, digest: str = "") -> Dataset:
    """Reads CIFAR-10 or CIFAR-100 in its binary version from a folder.

    Args:
        folder: has ``data_batch_1.bin`` to ``data_batch_5.bin`` and ``test_batch.bin`` (CIFAR-10), or ``train.bin`` and
            ``test.bin`` (CIFAR-100, whose fine labels are used).
        examples: as in `npz`.
        digest: as in `npz`.

    Returns:
        Splits with ``"inputs"`` [examples, 32, 32, 3] float32 in [0, 1] and ``"targets"`` [examples] int32; a sixth of
        the training files' examples is for validation.

    Raises:
        UserError: for a file that is missing or not what it should be, or another digest.
    """
    place = Path(folder)
    hundred = (place / "train.bin").exists()
    train = ["train.bin"] if hundred else [f"data_batch_{number}.bin" for number in range(1, 6)]
    parts = []
    for names in (train, ["test.bin" if hundred else "test_batch.bin"]):
        read = [read_cifar(_present(place, name), classes=100 if hundred else 10) for name in names]
        images, labels = (np.concatenate(arrays) for arrays in zip(*read, strict=True))
        parts.append({"inputs": (images / np.float32(255)).astype(np.float32), "targets": labels})
    return _dataset(place.resolve().name, parts, examples=examples, digest=digest, source=str(place))


def read_idx(path: str | Path, *, dimensions: int | None = None) -> np.ndarray[Any, Any]:
    """Reads one IDX file, compressed by gzip or not.

    Args:
        path: the file.
        dimensions: how many axes its array must have; None for any number.

    Returns:
        The array, in this machine's byte order.

    Raises:
        UserError: if it cannot be read, does not begin as IDX does, or is shorter or longer than it says.
    """
    file = Path(path)
    content = _content(file)
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in IDX_TYPES:
        raise UserError(f"{file}: expected an IDX file, which begins 00 00 and a type, got {content[:4].hex(' ')}")
    dtype, axes = np.dtype(IDX_TYPES[content[2]]), content[3]
    if dimensions is not None and axes != dimensions:
        raise UserError(f"{file}: expected an array of {dimensions} axes, got one of {axes}")
    header = 4 + 4 * axes
    if len(content) < header:
        raise UserError(f"{file}: ends after {len(content)} bytes, within its header of {header}; get it again")
    shape = tuple(int(size) for size in np.frombuffer(content, ">u4", axes, 4))
    expected = header + math.prod(shape) * dtype.itemsize
    if len(content) != expected:
        raise UserError(
            f"{file}: its header says shape {shape}, {expected} bytes, but it has {len(content)}; get it again"
        )
    return np.frombuffer(content, dtype, offset=header).reshape(shape).astype(dtype.newbyteorder("="))


def read_cifar(path: str | Path, *, classes: int = 10) -> tuple[Bytes, np.ndarray[Any, np.dtype[np.int32]]]:
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
    content = _content(file)
    record = labels + PIXELS
    if not content or len(content) % record:
        raise UserError(f"{file}: expected records of {record} bytes, got {len(content)} bytes in all; get it again")
    table = np.frombuffer(content, np.uint8).reshape(-1, record)
    images = table[:, labels:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return images, read_labels(table[:, labels - 1], str(file), classes=classes)


def read_labels(labels: np.ndarray[Any, Any], where: str, *, classes: int | None = None) -> np.ndarray[Any, Any]:
    """Returns labels as int32 [examples]; [examples, 1] loses its axis.

    Args:
        labels: what was read.
        where: from where, for messages.
        classes: how many there are; None to accept any number.

    Raises:
        UserError: if they are not whole numbers from 0, below `classes`, one per example.
    """
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise UserError(
            f"{where}: expected class indices [examples], got {labels.dtype}{labels.shape}; give each example the "
            "number of its class, from 0, as an integer"
        )
    bad = (labels < 0) | (labels >= (np.iinfo(np.int32).max if classes is None else classes))
    if bad.any():
        first = int(bad.argmax())
        among = "from 0" if classes is None else f"from 0 to {classes - 1}"
        raise UserError(
            f"{where}: expected class indices {among}, got {labels[first]} at index {first}; number the classes from "
            "0, or get the file again"
        )
    return labels.astype(np.int32)


def _inputs(array: np.ndarray[Any, Any], where: str) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Examples as float32; bytes as numbers in [0, 1]; images with a channel axis."""
    if array.ndim < 2 or array.dtype.kind not in "biuf":
        raise UserError(
            f"{where}: expected numbers [examples, ...], got {array.dtype}{array.shape}; give each example an array of "
            "numbers"
        )
    array = as_array(array, where)
    scaled = array / np.float32(255) if array.dtype == np.uint8 else array
    return (scaled[..., None] if array.ndim == 3 else scaled).astype(np.float32)


def _present(folder: Path, name: str) -> Path:
    for file in (folder / name, folder / f"{name}.gz"):
        if file.is_file():
            return file
    raise UserError(f"{folder / name}: no such file, with or without .gz; put it there or name another folder")


def _content(file: Path) -> bytes:
    try:
        content = file.read_bytes()
        return gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{file}: cannot be read ({error}); get it again") from error


def _dataset(
    name: str, parts: list[dict[str, np.ndarray[Any, Any]]], *, examples: int | None, digest: str, source: str
) -> Dataset:
    """Splits what was read, the same way wherever it lies, and compares the digest."""
    shapes = [part["inputs"].shape[1:] for part in parts]
    if len(set(shapes)) > 1:
        raise UserError(
            f"{source}: the training examples have shape {shapes[0]}, the test examples {shapes[1]}; prepare both alike"
        )
    parts = [{key: array[:examples] for key, array in parts[0].items()}, *parts[1:]]
    return require_digest(split_official(name, *parts, source=source, order="images"), digest)
