"""Splits examples into train, validation and test: once, or anew for each study; standardizes by what is trained on."""

import datetime
import re
import warnings
import zlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from numbers import Real
from typing import Any

import numpy as np

from dlkit.bench.data.arrays import Arrays
from dlkit.bench.data.base import SPLITS, Dataset, arrived, assembled, count_of, prepared
from dlkit.bench.data.partitions import Rows, absent, grouped_rows, random_rows, stratified_rows, timed_rows
from dlkit.bench.errors import UserError, nearest

__all__ = ["FEW", "redrawn", "some", "split", "split_official", "standardize", "transformed"]

FEW = 20_000  # a split of so many examples or fewer is drawn anew for each study
CLASSES = 3  # integers may be classes if there are so many examples of each, on average
SURELY = 10  # and then they surely are
ISO_TIME = re.compile(r"\d{4}(-\d\d(-\d\d([T ]\d\d:\d\d(:\d\d([.]\d+)?)?Z?)?)?)?")

Draw = Callable[[int], Rows]


def redrawn(redraw: Callable[[int], Dataset]) -> Dataset:
    """Returns a dataset whose split is drawn anew for each study, so that conclusions do not rest on one split.

    All contenders have the same split in a study.

    Args:
        redraw: ``redraw(study) -> Dataset``, the same each time, with arrays of the same shapes for every study. What
            is fitted to training examples, such as a standardization, has to be fitted in it.

    Returns:
        The dataset of the first study, 0, which knows the others.

    Example:
        >>> arrays = {"inputs": np.arange(8.0)}
        >>> dataset = redrawn(lambda study: split("mine", arrays, order=f"draw {study}", redraw=False))
        >>> dataset.of_study(3).sizes == dataset.sizes
        True
    """
    first = redraw(0)
    parts = {part: getattr(first, part) for part in SPLITS}
    return assembled(first.name, parts, source=first.source, redraw=redraw, complaints=first.too_fine)


def split(
    name: str,
    arrays: Arrays,
    *,
    validation: float = 0.2,
    test: float = 0.2,
    source: str = "",
    order: str = "",
    redraw: bool | None = None,
    stratify: Any = None,
    groups: Any = None,
    time: Any = None,
    fine: Sequence[str] = (),
) -> Dataset:
    """Splits examples into train, validation and test, always the same way for the same name.

    Args:
        name: the dataset's name; it alone decides the shuffle, unless there is an `order`.
        arrays: name -> array, first axis examples.
        validation: share of the examples for validation.
        test: share for the test.
        source: where the data come from.
        order: what decides the shuffle in place of the name.
        redraw: whether each study draws a split of its own; None: if there are at most 20,000 examples.
        stratify: whether every class has its share of each split: True for the classes in ``"targets"``, the name of
            another array, or a label for each example. None: where ``"targets"`` are class indices and one would be
            absent from a split. False: never.
        groups: whose example it is, such as a patient's number: the name of an array or a label for each example. No
            group is in two splits. Each study draws other groups, if there are such of the same sizes together.
        time: when it was: the name of an array, or a number or date for each example. Validation is later than train,
            and the test later than validation, in every study.
        fine: arrays that may be finer than float32, without a warning, as they are standardized next.

    Returns:
        The dataset, split by a permutation that depends on `order` or `name`, the study and the number of examples
        only, unless the examples' classes, groups or times count.

    Raises:
        UserError: for what a dataset refuses, with indices as given, and for shares that leave a split empty.
    """
    where = f"dataset '{name}'"
    if isinstance(arrays, Mapping) and not arrays:
        raise UserError(f"{where}: there are no arrays to split; give at least one, such as 'inputs'")
    kept, complaints = arrived(arrays, where, fine=fine)  # here, where an index is still the user's own
    count = count_of(kept)
    held_out, final = round(count * validation), round(count * test)
    if min(held_out, final, count - held_out - final) < 1:
        raise UserError(f"{where}: {count} examples cannot be split into shares {validation} and {test}")
    draw = _draw(where, kept, (held_out, final), order or name, stratify=stratify, groups=groups, time=time)
    again = redraw if redraw is not None else count <= FEW
    if groups is not None:
        first, second = draw(0), draw(1)
        again = again and any(set(one) != set(other) for one, other in zip(first, second, strict=True))
    elif time is not None:
        again = False
    drawn = partial(_split, name, kept, draw, source, tuple(complaints))
    return redrawn(drawn) if again else drawn(0)


def _split(name: str, arrays: Arrays, draw: Draw, source: str, complaints: tuple[str, ...], study: int) -> Dataset:
    """Splits checked arrays as a study does."""
    rows = draw(study)._asdict()
    parts = {part: {key: array[rows[part]] for key, array in arrays.items()} for part in SPLITS}
    return assembled(name, parts, source=source, complaints=complaints)


def _draw(
    where: str, arrays: Arrays, sizes: tuple[int, int], order: str, *, stratify: Any, groups: Any, time: Any
) -> Draw:
    """How each study's rows are drawn."""
    asked = {"stratify": stratify not in (None, False) if np.ndim(stratify) == 0 else True}
    asked |= {"groups": groups is not None, "time": time is not None}
    if sum(asked.values()) > 1:
        raise UserError(f"{where}: {' and '.join(key for key in asked if asked[key])} do not go together; give one")
    key = zlib.crc32(order.encode())
    try:
        if groups is not None:
            return _of_groups(_labels(arrays, groups, f"{where}, groups"), sizes, key)
        if time is not None:
            rows = timed_rows(_times(_labels(arrays, time, f"{where}, time"), f"{where}, time"), sizes)
            return partial(_always, rows)
        if asked["stratify"]:
            by = "targets" if stratify is True else stratify
            labels, is_always = _labels(arrays, by, f"{where}, stratify"), True
        else:
            labels, is_always = None if stratify is False else _classes(arrays), False
        draw = partial(_of_classes, count_of(arrays), labels, is_always, sizes, key)
        if labels is not None and (is_always or len(np.unique(labels)) <= len(labels) / SURELY):
            _warn_of_absent(where, labels, draw(0))
        return draw
    except UserError as error:
        raise error if str(error).startswith(where) else UserError(f"{where}: {error}") from None


def _of_classes(count: int, labels: Any, is_stratified: bool, sizes: tuple[int, int], key: int, study: int) -> Rows:
    """At random, unless a class would be absent from a split, or `is_stratified`."""
    rows = random_rows(count, sizes, key | study << 32)
    if labels is None or not (is_stratified or absent(labels, rows)):
        return rows
    return stratified_rows(labels, sizes, key | study << 32)


def _of_groups(labels: Any, sizes: tuple[int, int], key: int) -> Draw:
    """Groups kept together, in every study of the sizes of the first one, which is as near as can be to those asked."""
    first = grouped_rows(labels, sizes, key)
    assert first is not None, "any sizes will do"
    return partial(_groups_again, labels, first, key)


def _groups_again(labels: Any, first: Rows, key: int, study: int) -> Rows:
    if study == 0:
        return first
    return grouped_rows(labels, (len(first.validation), len(first.test)), key | study << 32, exact=True) or first


def _always(rows: Rows, study: int) -> Rows:
    return rows


def _classes(arrays: Arrays) -> Any:
    """Targets that are class indices, if so."""
    targets = arrays.get("targets")
    if targets is None or targets.ndim != 1 or targets.dtype.kind not in "biu":
        return None
    return targets if 2 <= len(np.unique(targets)) <= len(targets) / CLASSES else None


def _labels(arrays: Arrays, given: Any, where: str) -> Any:
    """A label for each example: an array of the data, or one beside them."""
    if isinstance(given, str):
        if given not in arrays:
            raise UserError(f"{where}: no array '{given}'; {nearest(given, arrays)}")
        given = arrays[given]
    labels = np.asarray(given)
    if labels.shape != (count_of(arrays),):
        raise UserError(
            f"{where}: expected one label for each of {count_of(arrays)} examples, got shape {labels.shape}"
        )
    if (absent := _absent(labels)).any():
        raise UserError(
            f"{where}: {int(absent.sum())} of {len(labels)} are missing, the first at index {int(absent.argmax())}; "
            "fill them in, or leave these examples out"
        )
    if labels.dtype.kind == "O" and not all(isinstance(each, Real) for each in labels):
        labels = _of_dates(labels) if all(isinstance(each, datetime.date) for each in labels) else labels.astype(str)
    return labels


def _absent(labels: Any) -> Any:
    """Where a label is missing."""
    if labels.dtype.kind == "O":
        import pandas as pd

        return pd.isna(labels)
    if labels.dtype.kind in "Mm":
        return np.isnat(labels)
    return np.isnan(labels) if labels.dtype.kind == "f" else np.zeros(len(labels), bool)


def _of_dates(labels: Any) -> Any:
    """Python's or pandas' dates and times, which may have a time zone, as NumPy's."""
    import pandas as pd

    return pd.to_datetime(labels, utc=True).tz_localize(None).to_numpy()


def _times(labels: Any, where: str) -> Any:
    """Labels that can be brought into an order in time."""
    if labels.dtype.kind not in "SU":
        return labels
    texts = [str(each, "utf-8", "replace") if isinstance(each, bytes) else each for each in labels.tolist()]
    wrong = next((each for each in texts if not ISO_TIME.fullmatch(each) or len(each) != len(texts[0])), None)
    if wrong is not None:
        raise UserError(
            f"{where}: expected numbers or dates such as 2024-12-31, all written alike, got the text '{wrong}', whose "
            "place in time is not known; convert them, such as pandas.to_datetime(times, format=...)"
        )
    return np.array(texts)


def some(arrays: Arrays, examples: int | None, where: str, *, order: str) -> Arrays:
    """Returns a number of examples drawn at random, of all classes if there are enough.

    Args:
        arrays: name -> array.
        examples: how many; None for all, as is more than there are.
        where: of whom they are asked, for messages.
        order: what decides the draw.

    Raises:
        UserError: for a number below 1.
    """
    if examples is not None and examples < 1:
        raise UserError(f"{where}: expected a number of examples from 1, got {examples}")
    count = count_of(arrays)
    if examples is None or examples >= count:
        return arrays
    key = zlib.crc32(f"{order}: some".encode())
    rows = random_rows(count, (examples, 0), key).validation
    labels = _classes(arrays)
    if labels is not None:
        classes = len(np.unique(labels))
        if len(np.unique(labels[rows])) < classes <= min(examples, count - examples):
            rows = stratified_rows(labels, (examples, 0), key).validation
    return {name: array[rows] for name, array in arrays.items()}


def _warn_of_absent(where: str, labels: Any, rows: Rows) -> None:
    """Says which classes are too rare for every split."""
    missing = absent(labels, rows)
    for label in dict.fromkeys(label for label, _ in missing):
        parts = " and ".join(f"'{part}'" for each, part in missing if each == label)
        count = int((np.asarray(labels) == label).sum())
        warnings.warn(
            f"{where}: class {label} has {count} example{'s' * (count != 1)}, and none in {parts}; merge rare classes, "
            "leave them out, or get more examples of them (stratify=False: these are no classes)",
            stacklevel=4,
        )


def split_official(
    name: str,
    training: Arrays,
    test: Arrays | None = None,
    *,
    validation: float = 1 / 6,
    source: str = "",
    order: str = "",
    stratify: Any = None,
    groups: Any = None,
    time: Any = None,
    fine: Sequence[str] = (),
) -> Dataset:
    """Splits training examples into train and validation where the test examples are given.

    Args:
        name: the dataset's name; it decides the shuffle, as in `split`, unless there is an `order`.
        training: name -> array of the examples to split.
        test: name -> array of the test examples; None to split as `split` does.
        validation: share of the training examples for validation.
        source: where the data come from.
        order: what decides the shuffle in place of the name.
        stratify: as in `split`.
        groups: as in `split`, for the training examples.
        time: as in `split`, for the training examples.
        fine: as in `split`.

    Returns:
        The dataset, of one split for all studies.

    Raises:
        UserError: for what a dataset refuses, and for shares that leave a split empty.
    """
    if test is None:
        return split(name, training, source=source, order=order, stratify=stratify, groups=groups, time=time, fine=fine)
    where = f"dataset '{name}'"
    given, complaints = prepared(name, {"train": training, "test": test}, fine=fine)
    count = count_of(given["train"])
    held_out = 2 * round(count * validation / 2)
    if min(held_out, count - held_out) < 1:
        raise UserError(f"{where}: {count} training examples cannot give a share of {validation} for validation")
    draw = _draw(where, given["train"], (held_out, 0), order or name, stratify=stratify, groups=groups, time=time)
    rows = draw(0)
    train, selecting = (
        {key: array[part] for key, array in given["train"].items()} for part in (rows.train, rows.validation)
    )
    parts = {"train": train, "validation": selecting, "test": given["test"]}
    return assembled(name, parts, source=source, complaints=complaints)


def transformed(dataset: Dataset, change: Callable[[Dataset], Dataset]) -> Dataset:
    """Returns a dataset whose arrays are changed, in every study where its split is redrawn.

    Args:
        dataset: the dataset.
        change: ``change(dataset) -> Dataset``, given a dataset of one split.

    Returns:
        What `change` returns, which is redrawn if the dataset is.
    """
    return change(dataset) if dataset.redraw is None else redrawn(partial(_changed, dataset, change))


def _changed(dataset: Dataset, change: Callable[[Dataset], Dataset], study: int) -> Dataset:
    return change(dataset.of_study(study))


def standardize(dataset: Dataset, *names: str) -> Dataset:
    """Shifts and scales arrays to mean 0 and deviation 1 on the training split, per column.

    Args:
        dataset: the dataset; where its split is redrawn, each study's arrays are standardized by its own training
            split.
        *names: which arrays.

    Returns:
        The dataset with those arrays standardized, as float32; constant columns are only shifted.
    """
    return transformed(dataset, partial(_standardized, names))


def _standardized(names: Sequence[str], dataset: Dataset) -> Dataset:
    parts: dict[str, dict[str, np.ndarray[Any, Any]]] = {part: dict(getattr(dataset, part)) for part in SPLITS}
    for name in names:
        train = np.asarray(dataset.train[name], np.float64)
        constant = train.min(axis=0) == train.max(axis=0)  # rounding gives some constant columns a deviation above 0
        mean = np.where(constant, train[0], train.mean(axis=0))
        scale = np.where(constant, 1.0, train.std(axis=0))
        for part in SPLITS:
            parts[part][name] = ((parts[part][name] - mean) / scale).astype(np.float32)
    return Dataset(dataset.name, **parts, source=dataset.source)
