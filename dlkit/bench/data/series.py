"""Labelled time series from the UCR and UEA archives' ``.ts`` files."""

from pathlib import Path
from typing import Any

import numpy as np

from dlkit.bench.data.base import Dataset, require_digest
from dlkit.bench.data.splits import split_official
from dlkit.bench.errors import UserError, nearest

__all__ = ["read_ts", "series"]


def series(folder: str | Path, *, name: str = "", digest: str = "") -> Dataset:
    """Reads a set of labelled series: a folder ``Name`` with ``Name_TRAIN.ts`` and ``Name_TEST.ts``.

    Channels are standardized by their mean and deviation over the training split, all steps together.

    Args:
        folder: the folder.
        name: of the files and the dataset; the folder's if empty.
        digest: what `Dataset.digest` has to be, or the first digits of it; empty to accept any.

    Returns:
        Splits with ``"inputs"`` [examples, time, channels] float32 and ``"targets"`` [examples] int32, the position of
        the label in the file's header. The test file is the test; 30 % of the other's examples are for validation.

    Raises:
        UserError: for files that are missing or cannot be used, or another digest.
    """
    place = Path(folder)
    name = name or place.resolve().name
    (train, train_labels, classes), (test, test_labels, test_classes) = (
        read_ts(place / f"{name}_{part}.ts") for part in ("TRAIN", "TEST")
    )
    if classes != test_classes or train.shape[1:] != test.shape[1:]:
        raise UserError(
            f"{place}: the training file has classes {classes} and series {train.shape[1:]}, the test file "
            f"{test_classes} and {test.shape[1:]}; they must match"
        )
    dataset = split_official(
        name,
        {"inputs": train, "targets": train_labels},
        {"inputs": test, "targets": test_labels},
        validation=0.3,
        source=f"{name}_TRAIN.ts and {name}_TEST.ts of the UCR and UEA archives",
    )
    mean, deviation = (function(dataset.train["inputs"], axis=(0, 1)) for function in (np.mean, np.std))
    scale = np.where(deviation > 0, deviation, 1.0)
    parts = {
        part: {**arrays, "inputs": ((arrays["inputs"] - mean) / scale).astype(np.float32)}
        for part, arrays in (("train", dataset.train), ("validation", dataset.validation), ("test", dataset.test))
    }
    return require_digest(Dataset(name, **parts, source=dataset.source), digest)


def read_ts(path: str | Path) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], tuple[str, ...]]:
    """Reads one ``.ts`` file of series of one length, each with a class label.

    Args:
        path: the file: lines ``@name value``, then ``@data``, then a line for each example: its channels, separated by
            colons, values by commas, and its label.

    Returns:
        Series [examples, time, channels] float64, labels [examples] int32 as positions in the classes, the classes.

    Raises:
        UserError: if it cannot be read, has time stamps, missing values, series of unequal lengths or labels that its
            header does not have; with the line.
    """
    file = Path(path)
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file}: cannot be read as text ({error}); name a .ts file") from error
    header: dict[str, list[str]] = {}
    first = len(lines)
    for number, line in enumerate(lines):
        words = line.split()
        if words and words[0].startswith("@"):
            header[words[0][1:].lower()] = words[1:]
            if words[0].lower() == "@data":
                first = number + 1
                break
    if first == len(lines):
        raise UserError(f"{file}: expected a line '@data' with examples after it; it is no .ts file, or was cut short")
    if header.get("timestamps", ["false"])[:1] == ["true"]:
        raise UserError(f"{file}: has time stamps; only series of equal steps can be read")
    classes = tuple(header.get("classlabel", [])[1:])
    if not classes:
        raise UserError(f"{file}: expected a line '@classLabel true ...' with the classes")
    examples = [_example(line, f"{file}, line {number}", classes) for number, line in _numbered(lines, first)]
    if not examples:
        raise UserError(f"{file}: has no examples; it was cut short")
    shape = examples[0][0].shape
    for number, (values, _) in zip((number for number, _ in _numbered(lines, first)), examples, strict=True):
        if values.shape != shape:
            raise UserError(
                f"{file}, line {number}: expected {shape[1]} channels of {shape[0]} steps, as in the first example, "
                f"got {values.shape[1]} of {values.shape[0]}; cut or pad the series to one length"
            )
    return np.stack([values for values, _ in examples]), np.array([label for _, label in examples], np.int32), classes


def _numbered(lines: list[str], first: int) -> list[tuple[int, str]]:
    """The lines with examples, with their numbers in the file."""
    return [(number, line) for number, line in enumerate(lines[first:], start=first + 1) if line.strip()]


def _example(line: str, where: str, classes: tuple[str, ...]) -> tuple[np.ndarray[Any, Any], int]:
    """One example: [time, channels], and its class."""
    *channels, label = line.strip().split(":")
    if label not in classes:
        raise UserError(f"{where}: no class '{label}' in the header; {nearest(label, classes)}")
    try:
        values = [[float(value) for value in channel.split(",")] for channel in channels]
    except ValueError as error:
        raise UserError(f"{where}: {error}; missing values (?) must be filled in first") from None
    if not values or len({len(channel) for channel in values}) > 1:
        raise UserError(f"{where}: expected channels of one length, got {[len(channel) for channel in values]}")
    table = np.array(values).T
    if not np.isfinite(table).all():
        raise UserError(f"{where}: has values that are NaN or infinite; fill them in first")
    return table, classes.index(label)
