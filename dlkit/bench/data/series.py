"""Time series from the UCR, UEA and TSER archives' ``.ts`` files: with classes or numbers to predict."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dlkit.bench.data.base import SPLITS, Dataset, require_digest
from dlkit.bench.data.splits import split, split_official, transformed
from dlkit.bench.errors import UserError, nearest

__all__ = ["TimeSeries", "read_ts", "series", "standardized_steps"]

Array = np.ndarray[Any, Any]


class TimeSeries(NamedTuple):
    """What a ``.ts`` file holds.

    Attributes:
        inputs: [examples, time, channels] float64; after the end of a shorter series, 0.
        targets: [examples]: int32, positions in `classes`; or float64, the numbers to predict.
        classes: as the header lists them; empty where numbers are predicted.
        lengths: [examples] int32: how many steps each series has.
    """

    inputs: Array
    targets: Array
    classes: tuple[str, ...]
    lengths: Array


def series(folder: str | Path, *, name: str = "", digest: str = "", pooled: bool = False) -> Dataset:
    """Reads a set of series with targets: a folder ``Name`` with ``Name_TRAIN.ts`` and ``Name_TEST.ts``.

    Channels are standardized by their mean and deviation over the training split, all steps together.

    Args:
        folder: the folder.
        name: of the files and the dataset; the folder's if empty.
        digest: what `Dataset.digest` has to be, or the first digits of it; empty to accept any.
        pooled: whether the examples of both files are split together, 50, 25 and 25 %, where they are too few to select
            and judge on one split.

    Returns:
        Splits with ``"inputs"`` [examples, time, channels] float32 and ``"targets"`` [examples]: int32, the position of
        the label in the file's header, or float64, the number as it stands there. Where series differ in length, they
        are padded by 0 to the longest one, and ``"lengths"`` [examples] int32 says how long each is. The test file is
        the test; half of the other's examples are for validation: such sets are small.

    Raises:
        UserError: for files that are missing or cannot be used, or another digest.
    """
    place = Path(folder)
    name = name or place.resolve().name
    train, test = (read_ts(place / f"{name}_{part}.ts") for part in ("TRAIN", "TEST"))
    if train.classes != test.classes or train.inputs.shape[2] != test.inputs.shape[2]:
        raise UserError(f"{place}: the training file has {_kind(train)}, the test file {_kind(test)}; they must match")
    files = [{"inputs": each.inputs, "targets": each.targets} for each in (train, test)]
    longest = max(each.inputs.shape[1] for each in (train, test))
    if any((each.lengths != longest).any() for each in (train, test)):
        for arrays, each in zip(files, (train, test), strict=True):
            missing = longest - each.inputs.shape[1]
            arrays["inputs"] = np.pad(each.inputs, ((0, 0), (0, missing), (0, 0)))
            arrays["lengths"] = each.lengths
    source = f"{name}_TRAIN.ts and {name}_TEST.ts of the UCR and UEA archives"
    if pooled:
        together = {key: np.concatenate([arrays[key] for arrays in files]) for key in files[0]}
        dataset = split(name, together, validation=0.25, test=0.25, source=source, fine=("inputs",))
    else:
        dataset = split_official(name, *files, validation=0.5, source=source, fine=("inputs",))
    return require_digest(transformed(dataset, standardized_steps), digest)


def _kind(found: TimeSeries) -> str:
    what = f"classes {found.classes}" if found.classes else "numbers as targets"
    return f"{what} and {found.inputs.shape[2]} channels"


def standardized_steps(dataset: Dataset) -> Dataset:
    """Returns series whose channels are standardized over all steps of the training split; padding stays 0."""
    mean, deviation = (_of_steps(function, dataset.train) for function in (np.mean, np.std))
    scale = np.where(deviation > 0, deviation, 1.0)
    parts = {}
    for part in SPLITS:
        arrays = getattr(dataset, part)
        scaled = ((arrays["inputs"] - mean) / scale).astype(np.float32)
        parts[part] = {**arrays, "inputs": np.where(_there(arrays), scaled, np.float32(0))}
    return Dataset(dataset.name, **parts, source=dataset.source)


def _of_steps(function: Any, arrays: Any) -> Array:
    """A statistic of each channel over all steps of all series."""
    inputs: Array = arrays["inputs"]
    steps = inputs[_there(arrays)[..., 0]] if "lengths" in arrays else inputs
    return np.asarray(function(steps, axis=tuple(range(steps.ndim - 1))))


def _there(arrays: Any) -> Array:
    """Which steps series have, [examples, time, 1]: those before their end."""
    inputs: Array = arrays["inputs"]
    lengths = arrays.get("lengths", np.full(len(inputs), inputs.shape[1]))
    return np.asarray(np.arange(inputs.shape[1])[None, :, None] < lengths[:, None, None])


def read_ts(path: str | Path) -> TimeSeries:
    """Reads one ``.ts`` file of series, each with a class or a number.

    Args:
        path: the file: lines ``@name value``, then ``@data``, then a line for each example: its channels, separated by
            colons, values by commas, and its label or number.

    Returns:
        The series, padded to the longest one.

    Raises:
        UserError: if it cannot be read, has time stamps, missing values or labels that its header does not have; with
            the line.
    """
    file = Path(path)
    try:
        lines = file.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    except OSError as error:
        raise UserError(f"{file}: cannot be read as text ({error}); name a .ts file") from error
    header, first = _header(lines)
    if first == len(lines):
        raise UserError(f"{file}: expected a line '@data' with examples after it; it is no .ts file, or was cut short")
    if _says(header, "timestamps"):
        raise UserError(
            f"{file}: has time stamps (@timeStamps {header['timestamps'][0]}); only series of equal steps can be read: "
            "resample them to equal steps, and leave the times out"
        )
    classes = tuple(header.get("classlabel", [])[1:]) if _says(header, "classlabel") else ()
    if not classes and not _says(header, "targetlabel"):
        raise UserError(
            f"{file}: expected a line '@classLabel true ...' with the classes, or '@targetLabel true' for numbers to "
            "predict; series without either have nothing to learn"
        )
    examples = [
        (number, *_example(line, f"{file}, line {number}", classes))
        for number, line in enumerate(lines[first:], start=first + 1)
        if line.strip() and not line.startswith("#")
    ]
    if not examples:
        raise UserError(f"{file}: has no examples; it was cut short")
    channels = examples[0][1].shape[1]
    for number, values, _ in examples:
        if values.shape[1] != channels:
            raise UserError(
                f"{file}, line {number}: expected {channels} channels, as in the first example, got {values.shape[1]}"
            )
    lengths = np.array([len(values) for _, values, _ in examples], np.int32)
    inputs = np.zeros((len(examples), lengths.max(), channels))
    for row, (_, values, _) in enumerate(examples):
        inputs[row, : len(values)] = values
    targets = np.array([target for *_, target in examples], np.int32 if classes else np.float64)
    return TimeSeries(inputs, targets, classes, lengths)


def _header(lines: list[str]) -> tuple[dict[str, list[str]], int]:
    """What the lines before the examples say, by names in lower case, and the number of the first line after them."""
    header: dict[str, list[str]] = {}
    for number, line in enumerate(lines):
        words = line.split()
        if words and words[0].startswith("@"):
            header[words[0][1:].lower()] = words[1:]
            if words[0].lower() == "@data":
                return header, number + 1
    return header, len(lines)


def _says(header: dict[str, list[str]], name: str) -> bool:
    return header.get(name, ["false"])[:1] in (["true"], ["True"], ["TRUE"])


def _example(line: str, where: str, classes: tuple[str, ...]) -> tuple[Array, float]:
    """One example: [time, channels], and its class or number."""
    *channels, label = line.strip().split(":")
    if classes and label not in classes:
        raise UserError(f"{where}: no class '{label}' in the header; {nearest(label, classes)}")
    try:
        target = classes.index(label) if classes else float(label)
    except ValueError:
        raise UserError(f"{where}: expected a number to predict after the last colon, got {label!r:.40}") from None
    if not np.isfinite(target):
        raise UserError(f"{where}: the number to predict is {label}; leave this example out")
    values = [_channel(channel, f"{where}, channel {number}") for number, channel in enumerate(channels, start=1)]
    if not values or len({len(channel) for channel in values}) > 1:
        raise UserError(
            f"{where}: expected channels of one length, got {[len(channel) for channel in values]}; fill in or cut them"
        )
    return np.array(values).T, target


def _channel(text: str, where: str) -> list[float]:
    values = []
    for step, value in enumerate(text.split(","), start=1):
        try:
            number = float(value)
        except ValueError:
            number = np.nan
            if value.strip() != "?":
                raise UserError(f"{where}: expected a number at step {step}, got {value!r:.40}") from None
        if not np.isfinite(number):
            raise UserError(f"{where}: the value at step {step} is missing or not finite ({value.strip()}); fill it in")
        values.append(number)
    return values
