"""A dataset: named arrays in three splits, and the digest that fixes them."""

import hashlib
import tempfile
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from dlkit.bench.data.memory_mapped import chunks, located, mapped
from dlkit.bench.errors import UserError
from dlkit.bench.machine.environment import cache_folder

__all__ = [
    "SPLITS",
    "Arrays",
    "Dataset",
    "cached",
    "require_digest",
    "require_labels",
    "require_numbers",
    "split",
    "split_official",
    "standardize",
]

Arrays = Mapping[str, np.ndarray[Any, Any]]
SPLITS = ("train", "validation", "test")


@dataclass(frozen=True, eq=False)
class Dataset:
    """Arrays for training, for choosing (validation) and for the report alone (test).

    Each split maps names (``"inputs"``, ``"targets"``) to arrays whose first axis counts examples. A problem without
    data, such as a quadratic, has empty splits. Memory-mapped arrays (`np.memmap`) stay what they are: they are looked
    at part by part, and travel to workers as the place of their file, which has to be there too.

    Attributes:
        name: how messages and manifests call it.
        train: what the loss sees.
        validation: what hyperparameters are chosen on.
        test: what is looked at once, with the final parameters.
        source: where the data come from.

    Raises:
        UserError: for NaN or infinite entries, and for arrays of different lengths in one split.
    """

    name: str
    train: Arrays
    validation: Arrays
    test: Arrays
    source: str = ""

    def __post_init__(self) -> None:
        for split_name in SPLITS:
            arrays = {name: _kept(array) for name, array in getattr(self, split_name).items()}
            object.__setattr__(self, split_name, arrays)
            where = f"dataset '{self.name}', split '{split_name}'"
            _check_lengths(arrays, where)
            for name, array in arrays.items():
                require_numbers(array, f"{where}, array '{name}'")
            if set(arrays) != set(self.train):
                raise UserError(f"{where}: expected the arrays of 'train', {sorted(self.train)}, got {sorted(arrays)}")

    @property
    def examples(self) -> int:
        """The number of training examples; 0 where there are no data."""
        return len(next(iter(self.train.values()), ()))

    @cached_property
    def digest(self) -> str:
        """SHA-256 over every split's names, types, shapes and bytes."""
        digest = hashlib.sha256()
        for split_name in SPLITS:
            for name, array in sorted(getattr(self, split_name).items()):
                digest.update(f"{split_name}/{name}:{array.dtype.str}{array.shape};".encode())
                for part in chunks(array):
                    digest.update(np.ascontiguousarray(part).tobytes())
        return digest.hexdigest()

    def __getstate__(self) -> dict[str, Any]:
        places = {part: {name: located(array) for name, array in getattr(self, part).items()} for part in SPLITS}
        return {**self.__dict__, **places}

    def __setstate__(self, state: dict[str, Any]) -> None:
        where = f"dataset '{state['name']}'"
        arrays = {part: {name: mapped(each, where) for name, each in state[part].items()} for part in SPLITS}
        self.__dict__.update({**state, **arrays})


def _kept(array: Any) -> np.ndarray[Any, Any]:
    """Any array as NumPy's; one that is mapped knows its file only as what it is."""
    return array if isinstance(array, np.memmap) else np.asarray(array)


def _check_lengths(arrays: Arrays, where: str) -> None:
    """Refuses arrays that do not list the same examples, or none."""
    if single := [name for name, array in arrays.items() if array.ndim == 0]:
        raise UserError(f"{where}, array '{single[0]}': expected one entry per example, got a single number")
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        raise UserError(f"{where}: every array needs the same number of examples, but got {lengths}")
    if 0 in lengths.values():
        raise UserError(f"{where}: its arrays have no examples; a problem without data has no arrays in any split")


def require_numbers(array: np.ndarray[Any, Any], where: str) -> None:
    """Refuses what cannot be trained on: objects, and numbers that are not finite.

    Args:
        array: what was given.
        where: file and field, or dataset and array, for messages.

    Raises:
        UserError: for entries that are no numbers, NaN or infinite, with the first one's index.
    """
    if array.dtype.kind not in "biufc":
        raise UserError(f"{where}: expected numbers, got dtype {array.dtype}; encode categories as integers")
    if np.issubdtype(array.dtype, np.inexact):
        count, first, row = 0, None, 0
        for part in chunks(array):
            bad = ~np.isfinite(part)
            if first is None and bad.any():
                place = np.argwhere(bad)[0]
                first = (row + int(place[0]), *map(int, place[1:]))
            count += int(bad.sum())
            row += len(part)
        if first is not None:
            raise UserError(
                f"{where}: {count} of {array.size} entries are NaN or infinite, the first at index {first}; "
                "remove or impute them"
            )


def split(
    name: str, arrays: Arrays, *, validation: float = 0.15, test: float = 0.15, source: str = "", order: str = ""
) -> Dataset:
    """Splits examples into train, validation and test, always the same way for the same name.

    Args:
        name: the dataset's name; it alone decides the shuffle, unless there is an `order`.
        arrays: name -> array, first axis examples.
        validation: share of the examples for validation.
        test: share for the test.
        source: where the data come from.
        order: what decides the shuffle in place of the name.

    Returns:
        The dataset, split by a permutation that depends on `order` or `name` and the number of examples only.

    Raises:
        UserError: for what a dataset refuses, with indices as given, and for shares that leave a split empty.
    """
    arrays = {key: np.asarray(array) for key, array in arrays.items()}
    if not arrays:
        raise UserError(f"dataset '{name}': there are no arrays to split; give at least one, such as 'inputs'")
    _check_lengths(arrays, f"dataset '{name}'")
    for key, array in arrays.items():
        require_numbers(array, f"dataset '{name}', array '{key}'")  # here, where an index is still the user's own
    count = len(next(iter(arrays.values())))
    held_out, final = round(count * validation), round(count * test)
    if min(held_out, final, count - held_out - final) < 1:
        raise UserError(f"dataset '{name}': {count} examples cannot be split into shares {validation} and {test}")
    shuffled = np.random.Generator(np.random.Philox(key=zlib.crc32((order or name).encode()))).permutation(count)
    bounds = {
        "train": shuffled[held_out + final :],
        "validation": shuffled[:held_out],
        "test": shuffled[held_out:][:final],
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
    halves = split(name, training, validation=validation / 2, test=validation / 2, source=source, order=order)
    held_out = {key: np.concatenate([array, halves.test[key]]) for key, array in halves.validation.items()}
    return Dataset(name, halves.train, held_out, test, source=source)


def require_digest(dataset: Dataset, digest: str) -> Dataset:
    """Returns the dataset if its digest begins as it has to.

    Args:
        dataset: the dataset.
        digest: hexadecimal digits; none to accept any.

    Raises:
        UserError: if it has another digest.
    """
    if not dataset.digest.startswith(digest.lower()):
        raise UserError(
            f"dataset '{dataset.name}' from {dataset.source}: expected the digest {digest}, got {dataset.digest}; it "
            "is another version of the data, or another share of them: get the right files, or name the new digest"
        )
    return dataset


def require_labels(dataset: Dataset, name: str, classes: int) -> None:
    """Refuses targets that are not class indices below a model's outputs.

    Args:
        dataset: the dataset.
        name: the array of targets, of any shape.
        classes: how many there are: the model's outputs.

    Raises:
        UserError: for a target that is not an integer or is out of range, with the split and the first one's index.

    Example:
        >>> arrays = {"targets": np.arange(4)}
        >>> require_labels(Dataset("mine", arrays, arrays, arrays), "targets", 4)
    """
    for part in SPLITS:
        array = getattr(dataset, part)[name]
        where = f"dataset '{dataset.name}', split '{part}', array '{name}'"
        if array.dtype.kind not in "iu":
            raise UserError(
                f"{where}: expected class indices from 0 to {classes - 1}, got dtype {array.dtype}; convert them to "
                "integers, such as np.int32"
            )
        bad = (array < 0) | (array >= classes)
        if bad.any():
            first = tuple(int(place) for place in np.argwhere(bad)[0])
            raise UserError(
                f"{where}: expected class indices from 0 to {classes - 1}, got {array[first]} at index {first}; number "
                "the classes from 0, or give the model more outputs"
            )


def standardize(dataset: Dataset, *names: str) -> Dataset:
    """Shifts and scales arrays to mean 0 and deviation 1 on the training split, per column.

    Args:
        dataset: the dataset.
        *names: which arrays.

    Returns:
        The dataset with those arrays standardized, as float32; constant columns are only shifted.
    """
    parts: dict[str, dict[str, np.ndarray[Any, Any]]] = {part: dict(getattr(dataset, part)) for part in SPLITS}
    for name in names:
        train = np.asarray(dataset.train[name], np.float64)
        constant = train.min(axis=0) == train.max(axis=0)  # rounding gives some constant columns a deviation above 0
        mean = np.where(constant, train[0], train.mean(axis=0))
        scale = np.where(constant, 1.0, train.std(axis=0))
        for part in SPLITS:
            parts[part][name] = ((parts[part][name] - mean) / scale).astype(np.float32)
    return Dataset(dataset.name, **parts, source=dataset.source)


def cached(name: str, load: Callable[[], Dataset]) -> Dataset:
    """Loads a dataset once and keeps it as ``.npz`` in the user's cache folder; a damaged file is made anew.

    Args:
        name: the file's name; a new version of the preparation needs a new name.
        load: makes the dataset.

    Returns:
        The dataset, the same with or without the cache.
    """
    path = cache_folder() / "data" / f"{name}.npz"
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            parts = {
                part: {key.removeprefix(f"{part}/"): stored[key] for key in stored if key.startswith(f"{part}/")}
                for part in SPLITS
            }
            dataset = Dataset(str(stored["name"]), **parts, source=str(stored["source"]))
            if dataset.digest == str(stored["digest"]):
                return dataset
    except Exception:
        pass  # missing, cut short, altered or something else altogether: the loader is the truth
    dataset = load()
    flat = {f"{part}/{key}": array for part in SPLITS for key, array in getattr(dataset, part).items()}
    labels = {"name": dataset.name, "source": dataset.source, "digest": dataset.digest}
    _write_atomically(path, {**flat, **{key: np.asarray(text) for key, text in labels.items()}})
    return dataset


def _write_atomically(path: Path, arrays: Arrays) -> None:
    """Writes an ``.npz`` beside its place and moves it there; a cache that cannot be written is no error."""
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:  # gone with what is in it if the disk is full
            file = Path(folder) / path.name
            np.savez(file, **arrays)  # type: ignore[arg-type]
            file.replace(path)
