"""Splits examples into train, validation and test: once, or anew for each study; standardizes by what is trained on."""

import zlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from dlkit.bench.data.base import SPLITS, Arrays, Dataset, count_of, require_lengths, require_numbers, shuffled
from dlkit.bench.errors import UserError

__all__ = ["FEW", "redrawn", "split", "split_official", "standardize", "transformed"]

FEW = 20_000  # a split of so many examples or fewer is drawn anew for each study


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
    dataset = Dataset(first.name, first.train, first.validation, first.test, source=first.source)
    object.__setattr__(dataset, "redraw", redraw)
    return dataset


def split(
    name: str,
    arrays: Arrays,
    *,
    validation: float = 0.2,
    test: float = 0.2,
    source: str = "",
    order: str = "",
    redraw: bool | None = None,
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

    Returns:
        The dataset, split by a permutation that depends on `order` or `name`, the study and the number of examples
        only.

    Raises:
        UserError: for what a dataset refuses, with indices as given, and for shares that leave a split empty.
    """
    arrays = {key: np.asarray(array) for key, array in arrays.items()}
    if not arrays:
        raise UserError(f"dataset '{name}': there are no arrays to split; give at least one, such as 'inputs'")
    require_lengths(arrays, f"dataset '{name}'")
    for key, array in arrays.items():
        require_numbers(array, f"dataset '{name}', array '{key}'")  # here, where an index is still the user's own
    count = count_of(arrays)
    held_out, final = round(count * validation), round(count * test)
    if min(held_out, final, count - held_out - final) < 1:
        raise UserError(f"dataset '{name}': {count} examples cannot be split into shares {validation} and {test}")
    drawn = partial(_split, name, arrays, (held_out, final), source, order or name)
    return redrawn(drawn) if redraw or (redraw is None and count <= FEW) else drawn(0)


def _split(name: str, arrays: Arrays, sizes: tuple[int, int], source: str, order: str, study: int) -> Dataset:
    """Splits checked arrays as a study does."""
    held_out, final = sizes
    key = zlib.crc32(order.encode()) | study << 32
    rows_in_order = shuffled(count_of(arrays), key)
    bounds = {
        "train": rows_in_order[held_out + final :],
        "validation": rows_in_order[:held_out],
        "test": rows_in_order[held_out:][:final],
    }
    parts = {part: {key: array[rows] for key, array in arrays.items()} for part, rows in bounds.items()}
    return Dataset(name, **parts, source=source)


def split_official(
    name: str,
    training: Arrays,
    test: Arrays | None = None,
    *,
    validation: float = 1 / 6,
    source: str = "",
    order: str = "",
) -> Dataset:
    """Splits training examples into train and validation where the test examples are given.

    Args:
        name: the dataset's name; it decides the shuffle, as in `split`, unless there is an `order`.
        training: name -> array of the examples to split.
        test: name -> array of the test examples; None to split as `split` does.
        validation: share of the training examples for validation.
        source: where the data come from.
        order: what decides the shuffle in place of the name.

    Returns:
        The dataset.

    Raises:
        UserError: for what a dataset refuses, and for shares that leave a split empty.
    """
    if test is None:
        return split(name, training, source=source, order=order)
    shares = {"validation": validation / 2, "test": validation / 2}
    halves = split(name, training, **shares, source=source, order=order, redraw=False)
    held_out = {key: np.concatenate([array, halves.test[key]]) for key, array in halves.validation.items()}
    return Dataset(name, halves.train, held_out, test, source=source)


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
