"""A dataset: named arrays in three splits, and the digest that fixes them."""

import hashlib
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from dlkit.bench.data.memory_mapped import chunks, located, mapped
from dlkit.bench.errors import UserError

__all__ = [
    "SPLITS",
    "Arrays",
    "Dataset",
    "require_digest",
    "require_labels",
    "require_numbers",
    "shuffled",
]

Arrays = Mapping[str, np.ndarray[Any, Any]]
SPLITS = ("train", "validation", "test")


@dataclass(frozen=True, eq=False)
class Dataset:
    """Arrays for training, for selecting (validation) and for judging (test).

    Each split maps names (``"inputs"``, ``"targets"``) to arrays whose first axis counts examples. A problem without
    data, such as a quadratic, has empty splits. Memory-mapped arrays (`np.memmap`) stay what they are: they are looked
    at part by part, and travel to workers as the place of their file, which has to be there too.

    Attributes:
        name: how messages and manifests call it.
        train: what the loss sees.
        validation: what selects: hyperparameters, the step at which early stopping ends, the parameters it restores.
        test: what judges, and is seen by trials alone that nothing is selected from. Without one, half of the
            validation examples are it; which half depends on their values alone.
        source: where the data come from.
        redraw: ``redraw(study) -> Dataset``: the examples split anew, for `of_study`; None for a fixed split. Of
            `redrawn`: a copy with other arrays has none.

    Raises:
        UserError: for NaN or infinite entries, for arrays of different lengths in one split, for a single validation
            example where there is no test, and for two splits that are the same where the third is another.
    """

    name: str
    train: Arrays
    validation: Arrays
    test: Arrays = field(default_factory=dict)
    source: str = ""
    redraw: "Callable[[int], Dataset] | None" = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        given = [name for name in SPLITS if name != "test" or self.test or not self.validation]
        for split_name in given:
            where = f"dataset '{self.name}', split '{split_name}'"
            arrays = _kept(getattr(self, split_name), where)
            object.__setattr__(self, split_name, arrays)
            require_lengths(arrays, where)
            for name, array in arrays.items():
                require_numbers(array, f"{where}, array '{name}'")
            if set(arrays) != set(self.train):
                raise UserError(f"{where}: expected the arrays of 'train', {sorted(self.train)}, got {sorted(arrays)}")
        self._refuse_twins([name for name in given if getattr(self, name)])
        if "test" not in given:
            validation, test = _halves(self.name, self.validation)
            object.__setattr__(self, "validation", validation)
            object.__setattr__(self, "test", test)

    def _refuse_twins(self, given: Sequence[str]) -> None:
        """Refuses two splits that are the same; three are no mistake, nor is one example many times, to try things."""
        pairs = itertools.combinations(given, 2)
        twins = [pair for pair in pairs if _same(*(getattr(self, name) for name in pair))]
        is_made_up = bool(twins) and all((each == each[:1]).all() for each in getattr(self, twins[0][0]).values())
        if twins and (len(given), len(twins)) != (3, 3) and not is_made_up:
            first, second = twins[0]
            raise UserError(
                f"dataset '{self.name}': '{first}' and '{second}' have the same examples, so that what judges was "
                "trained or selected on; give other examples (without a test split half of 'validation' is it), or all "
                "three the same to judge the training objective itself"
            )

    @property
    def examples(self) -> int:
        """The number of training examples; 0 where there are no data."""
        return count_of(self.train)

    @property
    def sizes(self) -> tuple[int, int, int]:
        """How many examples train, validation and test have."""
        return count_of(self.train), count_of(self.validation), count_of(self.test)

    @cached_property
    def holds_out(self) -> bool:
        """Whether splits have other examples: if not, or if there are none, the training objective itself is judged."""
        return not _same(self.train, self.test)

    @cached_property
    def digest(self) -> str:
        """SHA-256 over every split's names, types, shapes and bytes; of a split that is redrawn, of another one too."""
        digest = hashlib.sha256()
        for split_name in SPLITS:
            add_arrays(digest, split_name, getattr(self, split_name))
        if self.redraw is not None:
            digest.update(f"study 1: {self.redraw(1).digest}".encode())
        return digest.hexdigest()

    def of_study(self, study: int) -> "Dataset":
        """Returns the examples as a study splits them; the first study, 0, as this dataset does.

        Args:
            study: its number.

        Returns:
            This dataset where the split is fixed; else one with the same arrays of the same shapes.

        Raises:
            UserError: if the redrawn splits have other arrays or shapes.
        """
        if self.redraw is None or study == 0:
            return self
        drawn = self.redraw(study)
        if _shapes(drawn) != _shapes(self):
            raise UserError(
                f"dataset '{self.name}': every study needs arrays of the same names, types and shapes, but got "
                f"{_shapes(drawn)} in study {study} and {_shapes(self)} in study 0"
            )
        return drawn

    def __getstate__(self) -> dict[str, Any]:
        if self.redraw is not None:  # which has all examples already
            return {"redraw": self.redraw}
        places = {part: {name: located(array) for name, array in getattr(self, part).items()} for part in SPLITS}
        return {**self.__dict__, **places}

    def __setstate__(self, state: dict[str, Any]) -> None:
        if state.get("redraw") is not None:
            self.__dict__.update({**state["redraw"](0).__dict__, **state})
            return
        where = f"dataset '{state['name']}'"
        arrays = {part: {name: mapped(each, where) for name, each in state[part].items()} for part in SPLITS}
        self.__dict__.update({**state, **arrays})


def add_arrays(digest: Any, where: str, arrays: Arrays) -> None:
    """Adds names, types, shapes and bytes to a digest."""
    for name, array in sorted(arrays.items()):
        digest.update(f"{where}/{name}:{array.dtype.str}{array.shape};".encode())
        for part in chunks(array):
            digest.update(np.ascontiguousarray(part).tobytes())


def _same(first: Arrays, second: Arrays) -> bool:
    """Whether arrays are the same, example by example."""
    if first.keys() != second.keys() or any(np.shape(first[name]) != np.shape(second[name]) for name in first):
        return False
    return all(first[name] is second[name] or np.array_equal(first[name], second[name]) for name in first)


def count_of(arrays: Arrays) -> int:
    """Returns how many examples arrays have; 0 for no arrays."""
    return len(next(iter(arrays.values()), ()))


def _shapes(dataset: Dataset) -> dict[str, dict[str, str]]:
    return {
        part: {name: f"{array.dtype}{list(array.shape)}" for name, array in getattr(dataset, part).items()}
        for part in SPLITS
    }


def _halves(name: str, validation: Arrays) -> tuple[Arrays, Arrays]:
    """Half of the validation examples, and the others as the test; their values decide which are which."""
    count = count_of(validation)
    if count < 2:
        raise UserError(
            f"dataset '{name}', split 'validation': has one example and there is no test split: one selects and "
            "another judges; give a test split"
        )
    digest = hashlib.sha256()
    add_arrays(digest, "validation", validation)
    order = shuffled(count, int.from_bytes(digest.digest()[:8], "little"))
    rows = order[: -(-count // 2)], order[-(-count // 2) :]
    kept, test = ({key: array[part] for key, array in validation.items()} for part in rows)
    return kept, test


def shuffled(count: int, key: int) -> np.ndarray[Any, Any]:
    """A permutation that depends on the arguments alone."""
    return np.random.Generator(np.random.Philox(key=key)).permutation(count)


def _kept(arrays: Any, where: str) -> dict[str, np.ndarray[Any, Any]]:
    """Any arrays as NumPy's; one that is mapped knows its file only as what it is."""
    if not isinstance(arrays, Mapping):
        raise UserError(
            f"{where}: expected arrays by name, such as {{'inputs': ..., 'targets': ...}}, got {arrays!r:.60}"
        )
    return {name: array if isinstance(array, np.memmap) else np.asarray(array) for name, array in arrays.items()}


def require_lengths(arrays: Arrays, where: str) -> None:
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
