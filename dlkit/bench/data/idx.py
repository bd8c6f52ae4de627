"""IDX files, as MNIST and its like come in, however they are named."""

import math
import re
from pathlib import Path
from typing import Any

import numpy as np

from dlkit.bench.data.base import Dataset
from dlkit.bench.data.files import content_of, files_of, labelled, lies_there, splits_of
from dlkit.bench.errors import UserError

__all__ = ["idx", "read_idx"]

# Types of IDX by the third byte of a file: big-endian.
IDX_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
# What words of a file's name say, where they stand anywhere in it or as a word of its own.
PARTS = {"train": "train", "t10k": "test", "test": "test", "valid": "validation"}
WORDS = {**PARTS, "val": "validation", "dev": "validation", "validation": "validation"}
KINDS = {"image": "images", "img": "images", "idx3": "images", "label": "labels", "lbl": "labels", "idx1": "labels"}


def idx(folder: str | Path, *, examples: int | None = None, digest: str = "") -> Dataset:
    """Reads the IDX files of MNIST, Fashion-MNIST and their like from a folder.

    Args:
        folder: has files of images and labels, packed by gzip or not, with ``train`` and ``t10k`` or ``test`` in their
            names, such as ``train-images-idx3-ubyte`` or ``Test-Labels.idx1-ubyte.gz``, and maybe ``valid``. What has
            neither ``images`` nor ``labels`` in its name is told by its header. A folder of one pair is split.
        examples: how many at most are used for training and validation, of all classes; None for all.
        digest: what `Dataset.digest` has to be, or the first digits of it; empty to accept any.

    Returns:
        Splits with ``"inputs"`` [examples, height, width, 1] float32 in [0, 1] and ``"targets"`` [examples] int32; a
        sixth of the training files' examples is for validation, if there are no files of it.

    Raises:
        UserError: for a file that is missing, twice there or not what it should be, or another digest.
    """
    place = Path(folder)
    found = _found(place)
    only = found.pop("", None)
    if only is not None and not found:
        found = {"train": only}
    elif "train" not in found or not {"test", "validation"} & set(found):
        missing = "train" if "train" not in found else "test"
        raise UserError(
            f"{place}: no IDX files of {missing} images and labels (named such as "
            f"{'train' if missing == 'train' else 't10k'}-images-idx3-ubyte); {lies_there(place)}"
        )
    parts = {}
    for part, files in found.items():
        for kind in ("images", "labels"):
            if kind not in files:
                raise UserError(
                    f"{place}: no IDX file of {part} {kind}, which belong to {next(iter(files.values())).name}; "
                    f"{lies_there(place)}"
                )
        images = read_idx(files["images"])
        if images.ndim < 2:
            raise UserError(f"{files['images']}: expected an array of images, of 3 axes, got one of {images.ndim}")
        labels = read_idx(files["labels"], dimensions=1)
        parts[part] = labelled(images, labels, (str(files["images"]), str(files["labels"])))
    return splits_of(place.resolve().name, parts, examples=examples, digest=digest, source=str(place))


def _found(folder: Path) -> dict[str, dict[str, Path]]:
    """The files of a folder by split ("" if no name says one) and by kind."""
    found: dict[str, dict[str, Path]] = {}
    for file in files_of(folder):
        name = file.name.lower()
        words = re.split(r"[^a-z0-9]+", str(file.relative_to(folder)).lower())
        part = next((part for word, part in PARTS.items() if word in name), "")
        part = part or next((WORDS[word] for word in words if word in WORDS), "")
        kind = next((kind for word, kind in KINDS.items() if word in name), "")
        head = content_of(file, 4)
        is_idx = len(head) == 4 and head[:2] == b"\0\0" and head[2] in IDX_TYPES
        if not is_idx and not (part and kind):
            continue
        kind = kind or ("labels" if head[3] == 1 else "images")
        files = found.setdefault(part, {})
        if kind in files and _plain(files[kind]) != _plain(file):
            raise UserError(
                f"{folder}: several files of {part or 'the'} {kind}, {files[kind].name} and {file.name}; give each set "
                "of data a folder of its own"
            )
        files.setdefault(kind, file)
    return found


def _plain(file: Path) -> str:
    """A file's name but for how it is packed, and written."""
    return re.sub(r"[^a-z0-9]+", "-", file.name.lower().removesuffix(".gz"))


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
    content = content_of(file)
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
