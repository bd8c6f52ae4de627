"""What readers of labelled files share: labels, inputs, what lies in a folder, and the splits that come of it."""

import gzip
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dlkit.bench.data.arrays import as_array, too_fine
from dlkit.bench.data.base import Dataset, require_digest
from dlkit.bench.data.splits import some, split_official
from dlkit.bench.doors import require_plain, unpacked_within
from dlkit.bench.errors import UserError

__all__ = ["content_of", "files_of", "labelled", "lies_there", "read_labels", "splits_of"]

Arrays = dict[str, np.ndarray[Any, Any]]

SHOWN = 12  # files that a message lists


def read_labels(labels: np.ndarray[Any, Any], where: str, *, classes: int | None = None) -> np.ndarray[Any, Any]:
    """Returns labels as int32 [examples]; [examples, 1] loses its axis.

    Args:
        labels: what was read.
        where: from where, for messages.
        classes: how many there are; None to accept any number.

    Raises:
        UserError: if they are not whole numbers from 0, below `classes`, one per example.
    """
    labels = labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels
    is_whole = labels.dtype.kind == "f" and bool((labels == np.floor(labels)).all())
    if labels.ndim != 1 or not (labels.dtype.kind in "iu" or is_whole):
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


def labelled(inputs: np.ndarray[Any, Any], labels: np.ndarray[Any, Any], where: tuple[str, str]) -> Arrays:
    """Returns one split's arrays: inputs as float32, bytes in [0, 1], images with a channel axis; labels as int32.

    Args:
        inputs: [examples, ...].
        labels: [examples].
        where: the places of both, for messages.

    Raises:
        UserError: for what is not of that kind, and for other numbers of labels than of inputs.
    """
    arrays = {"inputs": _inputs(inputs, where[0]), "targets": read_labels(labels, where[1])}
    counts = [len(array) for array in arrays.values()]
    if counts[0] != counts[1]:
        raise UserError(
            f"{where[0]} has {counts[0]} examples, but {where[1]} has {counts[1]} labels; get or save both together"
        )
    return arrays


def _inputs(array: np.ndarray[Any, Any], where: str) -> np.ndarray[Any, np.dtype[np.float32]]:
    if array.ndim < 2 or array.dtype.kind not in "biuf":
        raise UserError(
            f"{where}: expected numbers [examples, ...], got {array.dtype}{array.shape}; give each example an array of "
            "numbers"
        )
    array = as_array(array, where)
    if said := too_fine(array, where):
        raise UserError(said)
    scaled = array / np.float32(255) if array.dtype == np.uint8 else array
    return (scaled[..., None] if array.ndim == 3 else scaled).astype(np.float32)


def splits_of(name: str, parts: Mapping[str, Arrays], *, examples: int | None, digest: str, source: str) -> Dataset:
    """Splits what was read, the same way wherever it lies, and compares the digest.

    Args:
        name: of the dataset.
        parts: by split what a reader found; where there is no validation, a sixth of the training examples is it, and
            without a test as well, as `split` does.
        examples: how many training examples at most; None for all.
        digest: what it has to be, or its first digits.
        source: where the data come from.

    Raises:
        UserError: for what a dataset refuses.
    """
    train = some(parts["train"], examples, f"{source}: examples", order="images")
    shapes = {part: arrays["inputs"].shape[1:] for part, arrays in parts.items()}
    other = next((part for part, shape in shapes.items() if shape != shapes["train"]), None)
    if other is not None:
        raise UserError(
            f"{source}: the training examples have shape {shapes['train']}, the {other} examples {shapes[other]}; "
            "prepare all alike"
        )
    if "validation" in parts:
        dataset = Dataset(name, train, parts["validation"], parts.get("test", {}), source=source)
    else:
        dataset = split_official(name, train, parts.get("test"), source=source, order="images")
    return require_digest(dataset, digest)


def files_of(folder: Path) -> list[Path]:
    """Returns the files in a folder and in its folders, the ones of the folder itself first.

    Raises:
        UserError: if it is no folder.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; name the one that has the files")
    levels = [sorted(folder.glob(pattern)) for pattern in ("*", "*/*")]
    return [file for level in levels for file in level if file.is_file() and not file.name.startswith(".")]


def lies_there(folder: Path) -> str:
    """Says which files lie in a folder, for messages."""
    names = [str(file.relative_to(folder)) for file in files_of(folder)]
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    packed = next((name for name in names if name.endswith((".zip", ".tar", ".tar.gz", ".tgz", ".rar", ".7z"))), None)
    unpack = f"; unpack {packed}" if packed else ""
    return f"there {'is' if len(names) == 1 else 'are'} {', '.join(names[:SHOWN]) or 'no files'}{more}{unpack}"


def content_of(file: Path, size: int | None = None) -> bytes:
    """Returns what a file has, unpacked where gzip has packed it.

    Args:
        file: the file.
        size: how many bytes from its beginning; None for all.

    Raises:
        UserError: if it cannot be read.
    """
    try:
        require_plain(file)
        with file.open("rb") as opened:
            is_packed = opened.read(2) == b"\x1f\x8b"
            opened.seek(0)
            if is_packed:
                with gzip.open(opened) as unpacked:
                    return unpacked_within(unpacked, str(file)) if size is None else unpacked.read(size)
            return opened.read(-1 if size is None else size)
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{file}: cannot be read ({error}); get it again") from error
