"""A dataset: named arrays in three splits, and the digest that fixes them."""

import hashlib
import itertools
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from dlkit.bench.data.arrays import Arrays, as_array, device_dtype, too_fine, underflow
from dlkit.bench.data.containers import columns_of, require_one_order, require_same_columns
from dlkit.bench.data.memory_mapped import chunks, located, mapped
from dlkit.bench.data.partitions import shuffled
from dlkit.bench.errors import UserError
from dlkit.bench.plan.card import DataCard

__all__ = [
    "SPLITS",
    "Dataset",
    "arrived",
    "assembled",
    "prepared",
    "require_digest",
    "require_labels",
]

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
        too_fine: columns of real numbers that float32, which the device computes in, cannot tell apart, in words. A
            warning says so when the dataset is made; no problem takes it before they are standardized.
        card: what was done to the source, of `door.dataset`; None of other datasets.

    Raises:
        UserError: for what `as_array` refuses, for arrays of different lengths in one split, or of other shapes or
            types in another split (what the device holds in one type is turned into one), for a single validation
            example where there is no test, and for two splits that are the same where the third is another.
    """

    name: str
    train: Arrays = field(repr=False)
    validation: Arrays = field(repr=False)
    test: Arrays = field(default_factory=dict, repr=False)
    source: str = ""
    redraw: "Callable[[int], Dataset] | None" = field(default=None, init=False, repr=False)
    too_fine: tuple[str, ...] = field(default=(), init=False, repr=False)
    card: DataCard | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        given = [name for name in SPLITS if name != "test" or self.test or not self.validation]
        parts, complaints = prepared(self.name, {part: getattr(self, part) for part in given})
        for split_name, arrays in parts.items():
            object.__setattr__(self, split_name, arrays)
        object.__setattr__(self, "too_fine", complaints)
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
            return {"redraw": self.redraw, "card": self.card}
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


def prepared(
    dataset: str, splits: Mapping[str, Any], *, fine: Sequence[str] = ()
) -> tuple[dict[str, dict[str, np.ndarray[Any, Any]]], tuple[str, ...]]:
    """Returns the arrays of splits as the device will take them, alike in names, shapes and types.

    Args:
        dataset: its name.
        splits: by name; the first one is what others have to be like.
        fine: as in `arrived`.

    Returns:
        The splits, and what `Dataset.too_fine` says.

    Raises:
        UserError: for what cannot be trained on, and for splits that are not alike.
    """
    where = f"dataset '{dataset}', split "
    found = {part: arrived(arrays, f"{where}'{part}'", fine=fine) for part, arrays in splits.items()}
    first, *others = found
    names = set(found[first][0])
    for part in others:
        if set(found[part][0]) != names:
            raise UserError(
                f"{where}'{part}': expected the arrays of '{first}', {sorted(names)}, got {sorted(found[part][0])}"
            )
        for name in found[part][0]:
            require_same_columns(splits[first][name], splits[part][name], f"{where}'{part}', array '{name}'")
    alike = {name: _alike({part: arrays[name] for part, (arrays, _) in found.items()}, dataset, name) for name in names}
    parts = {part: {name: alike[name][part] for name in found[part][0]} for part in found}
    return parts, tuple(said for _, complaints in found.values() for said in complaints)


def arrived(arrays: Any, where: str, *, fine: Sequence[str] = ()) -> tuple[dict[str, np.ndarray[Any, Any]], list[str]]:
    """Returns arrays as the device will take them, and which of them float32 cannot hold apart.

    Args:
        arrays: name -> array, table, list.
        where: dataset and split, for messages.
        fine: names of arrays that may be finer than float32, as they will be standardized.

    Raises:
        UserError: for what cannot be trained on.
    """
    if not isinstance(arrays, Mapping):
        raise UserError(
            f"{where}: expected arrays by name, such as {{'inputs': ..., 'targets': ...}}, got {arrays!r:.60}"
        )
    require_one_order(arrays, where)
    kept = {name: as_array(array, f"{where}, array '{name}'") for name, array in arrays.items()}
    require_lengths(kept, where)
    complaints = []
    for name, array in kept.items():
        place, columns = f"{where}, array '{name}'", columns_of(arrays[name])
        said = "" if name in fine else too_fine(array, place, columns)
        if array.dtype.kind == "f" and said:  # integers may be meant as such
            complaints.append(said)
        if said or (said := underflow(array, place, columns)):
            warnings.warn(said, stacklevel=4)
    return kept, complaints


def assembled(
    name: str,
    parts: Mapping[str, Arrays],
    *,
    source: str,
    redraw: Callable[[int], Dataset] | None = None,
    complaints: tuple[str, ...] = (),
) -> Dataset:
    """Returns a dataset of arrays that have been looked through, which is not done again.

    Args:
        name: its name.
        parts: the arrays of each split.
        source: where the data come from.
        redraw: as in `Dataset`.
        complaints: its `too_fine`.
    """
    dataset = object.__new__(Dataset)
    dataset.__dict__.update(name=name, **parts, source=source, redraw=redraw, too_fine=complaints)
    dataset._refuse_twins(SPLITS)
    return dataset


def _alike(arrays: Mapping[str, np.ndarray[Any, Any]], dataset: str, name: str) -> dict[str, np.ndarray[Any, Any]]:
    """One array of every split, all of one type; refused if they differ in more than the device sees."""
    (first, model), *others = arrays.items()
    for part, array in others:
        where = f"dataset '{dataset}', split '{part}', array '{name}'"
        if array.shape[1:] != model.shape[1:]:
            raise UserError(
                f"{where}: its examples have shape {array.shape[1:]}, those of '{first}' {model.shape[1:]}; prepare "
                "all splits alike"
            )
        if array.dtype != model.dtype and _group(array.dtype) != _group(model.dtype):
            raise UserError(
                f"{where}: its numbers are of dtype {array.dtype}, those of '{first}' of {model.dtype}; scale all "
                "splits alike, and give them as one type"
            )
    dtypes = {array.dtype for array in arrays.values()}
    if len(dtypes) == 1:
        return dict(arrays)
    if len({device_dtype(dtype) for dtype in dtypes}) == 1:
        common = model.dtype  # what the device does anyway
    else:
        common = np.result_type(*dtypes)
        common = np.dtype(np.int64) if common.kind == "f" and _group(model.dtype) == "integers" else common
    return {
        part: as_array(array.astype(common, copy=False), f"dataset '{dataset}', split '{part}', array '{name}'")
        for part, array in arrays.items()
    }


def _group(dtype: np.dtype[Any]) -> str:
    """What numbers of a type mean to each other: types of one group can be one type without loss."""
    if dtype.type.__module__ == "ml_dtypes":
        return dtype.name
    return {"b": "integers", "i": "integers", "u": "integers"}.get(dtype.kind, dtype.kind)


def require_lengths(arrays: Arrays, where: str) -> None:
    """Refuses arrays that do not list the same examples, or none."""
    if single := [name for name, array in arrays.items() if array.ndim == 0]:
        raise UserError(f"{where}, array '{single[0]}': expected one entry per example, got a single number")
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        raise UserError(f"{where}: every array needs the same number of examples, but got {lengths}")
    if 0 in lengths.values():
        raise UserError(f"{where}: its arrays have no examples; a problem without data has no arrays in any split")


def require_dataset(given: Any, owner: str) -> None:
    """Refuses data that are no dataset yet, and says how they become one.

    Args:
        given: what was given as a dataset.
        owner: how the message begins.

    Raises:
        UserError: if it is no `Dataset`.
    """
    if isinstance(given, Dataset):
        return
    kind = f"an array of shape {given.shape}" if isinstance(given, np.ndarray) else f"a {type(given).__name__}"
    written = "bench.dataset((X, y)), or bench.split('mine', {'inputs': X, 'targets': y})"
    if hasattr(given, "columns"):
        written = f"bench.dataset(frame, target={[*given.columns][-1:] or ['...']})".replace("[", "").replace("]", "")
    elif isinstance(given, Mapping):
        written = "bench.split('mine', arrays)"
    elif isinstance(given, str):
        written = f"bench.dataset({given!r}, target=...)"
    raise UserError(f"{owner}: dataset must be a bench.Dataset, got {kind}; write {written}")


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
