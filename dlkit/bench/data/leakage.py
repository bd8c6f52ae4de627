"""Leakage: examples that validation or test have in common with another split, exactly or nearly."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Literal, NamedTuple

import numpy as np

from dlkit.bench.data.base import SPLITS, Arrays, Dataset

__all__ = ["Leakage", "SharedExamples", "leakage", "leaks"]

Kind = Literal["examples", "inputs", "nearly"]
Indices = np.ndarray[Any, np.dtype[np.int64]]
Floats = np.ndarray[Any, np.dtype[np.float32]]

PAIRS = (("validation", "train"), ("test", "train"), ("test", "validation"))
NOT_INPUTS = ("targets", "weights")
SAID: Mapping[Kind, str] = {
    "examples": "the same examples",
    "inputs": "the same inputs, with other targets",
    "nearly": "nearly the same inputs",
}
NEAR = 0.1  # of the typical distance to the second nearest example: what lies closer is nearly the same
EXPECTED = 0.05  # how many examples may come so close by chance
GAMMA_QUARTILE, GAMMA_MEDIAN = 0.96128, 1.67835  # of the gamma distribution of shape 2
WORK = 3e9  # multiplications that one search for near duplicates may take: about a third of a second
PASSES = 50  # what finding the least of the distances takes, in multiplications a distance
LOOKED_THROUGH = 50_000_000  # numbers of a dataset that `leaks` looks through at most: about a second
BLOCK = 2**24  # distances held at once
ROUNDING = 1e-3  # how far a float32's mean and deviation over thousands of examples may be from 0 and 1


class SharedExamples(NamedTuple):
    """Examples of one split that another one has too.

    Attributes:
        split: which was looked through: ``"validation"`` or ``"test"``.
        other: in which its examples were found: ``"train"`` or ``"validation"``.
        kind: ``"examples"`` where every array is the same; ``"inputs"`` where all but ``"targets"`` and ``"weights"``
            are; ``"nearly"`` where inputs are far closer than they are as a rule. An example has the first kind that
            holds.
        rows: indices in `split`, rising.
        matches: for each of them an index in `other`: the first that is the same, or the nearest.
        examined: how many examples of `split` were looked at; for near duplicates in large data a sample.
    """

    split: str
    other: str
    kind: Kind
    rows: Indices
    matches: Indices
    examined: int


@dataclass(frozen=True, eq=False)
class Leakage:
    """What splits have in common that should be apart.

    Attributes:
        dataset: its name.
        holds_out: whether anything is held out: not where the test is the training split itself, as in problems that
            judge the training objective.
        shared: what was found; nothing without examples.
        fitted_on_all: arrays that seem to be standardized over all splits together: their columns have mean 0 and
            deviation 1 over all of them, not over the training split.
    """

    dataset: str
    holds_out: bool = True
    shared: Sequence[SharedExamples] = ()
    fitted_on_all: Sequence[str] = ()

    def count(self, kind: Kind, split: str = "", other: str = "") -> int:
        """Returns how many examples are shared.

        Args:
            kind: as in `SharedExamples`.
            split: of these splits' examples alone; empty for both.
            other: found in this split alone; empty for any.
        """
        return sum(
            len(each.rows)
            for each in self.shared
            if each.kind == kind and split in ("", each.split) and other in ("", each.other)
        )

    @property
    def sentences(self) -> tuple[str, ...]:
        """What was found, in words; empty if nothing was."""
        found = [
            f"dataset '{self.dataset}': {len(each.rows)} of {each.examined} examples of '{each.split}' "
            f"{'is' if len(each.rows) == 1 else 'are'} in '{each.other}' too ({SAID[each.kind]}; the first at index "
            f"{each.rows[0]}, there {each.matches[0]}); remove them, or keep what belongs together in one split."
            for each in self.shared
        ]
        found += [
            f"dataset '{self.dataset}', array '{name}': standardized over all splits together; take means and "
            "deviations from the training split alone (bench.data.standardize)."
            for name in self.fitted_on_all
        ]
        return tuple(found)


def leaks(dataset: Dataset) -> tuple[str, ...]:
    """Returns what `leakage` finds, in words; data so large that it would take seconds are left to the user."""
    size = sum(array.size for part in SPLITS for array in getattr(dataset, part).values())
    return leakage(dataset).sentences if size <= LOOKED_THROUGH else ()


def leakage(dataset: Dataset) -> Leakage:
    """Looks for examples of validation and test that another split has too, and for statistics of all splits.

    Exact copies are found by hashes of rows. For near duplicates, the distance to the nearest example of the other
    split, with columns scaled by their deviation over the training split, is compared with the median of the distances
    to the second nearest, which a single copy leaves as they are. It has to be less than a tenth of it, and so small
    that chance would bring one example that close in twenty data sets, given how many dimensions the data fill.
    Integers, such as characters or pixels, are compared the same way. In large data a sample of the examples is looked
    at, so that this takes about a second.

    Args:
        dataset: the dataset. Of a split that is drawn anew for each study, the first study's is looked at;
            `Dataset.of_study` gives the others.

    Returns:
        What was found. Copies within one split are no leakage, and not counted.

    Example:
        >>> rows = np.arange(12.0).reshape(6, 2)
        >>> split = lambda *which: {"inputs": rows[list(which)]}
        >>> found = leakage(Dataset("mine", split(0, 1, 2), split(3, 1), split(4, 5)))
        >>> [(each.split, each.other, each.rows.tolist(), each.matches.tolist()) for each in found.shared]
        [('validation', 'train', [1], [1])]
    """
    if not dataset.holds_out:
        return Leakage(dataset.name, holds_out=False)
    names = sorted(dataset.train)
    inputs = [name for name in names if name not in NOT_INPUTS] or names
    whole = {part: _hashes(getattr(dataset, part), names) for part in SPLITS}
    alone = whole if inputs == names else {part: _hashes(getattr(dataset, part), inputs) for part in SPLITS}
    shared: list[SharedExamples] = []
    for split, other in PAIRS:
        known: set[int] = set()
        for kind, hashes in (("examples", whole), ("inputs", alone)):
            found = _copies(hashes[split], hashes[other])
            fresh = [(row, match) for row, match in found if row not in known]
            known |= {row for row, _ in fresh}
            shared += _shared(split, other, kind, fresh, len(hashes[split]))  # type: ignore[arg-type]
        near, examined = _near(dataset, split, other, inputs, known)
        shared += _shared(split, other, "nearly", near, examined)
    return Leakage(dataset.name, True, shared, [name for name in names if _is_fitted_on_all(dataset, name)])


def _shared(split: str, other: str, kind: Kind, found: list[tuple[int, int]], examined: int) -> list[SharedExamples]:
    if not found:
        return []
    rows, matches = (np.array(indices, np.int64) for indices in zip(*found, strict=True))
    return [SharedExamples(split, other, kind, rows, matches, examined)]


def _hashes(arrays: Arrays, names: Sequence[str]) -> list[bytes]:
    """A hash of each example; -0.0 counts as 0.0."""
    digests: list[Any] = [blake2b(digest_size=16) for _ in range(len(arrays[names[0]]))]
    for name in names:
        for start, part in _blocks(arrays[name]):
            for digest, row in zip(digests[start:], np.ascontiguousarray(part + part.dtype.type(0)), strict=False):
                digest.update(row.tobytes())
    return [digest.digest() for digest in digests]


def _blocks(array: np.ndarray[Any, Any]) -> Iterator[tuple[int, np.ndarray[Any, Any]]]:
    """Parts of an array that fit into memory, and where each starts."""
    rows = max(1, BLOCK // max(1, math.prod(array.shape[1:])))
    return ((start, array[start : start + rows]) for start in range(0, len(array), rows))


def _copies(hashes: Sequence[bytes], others: Sequence[bytes]) -> list[tuple[int, int]]:
    """Rows that are among the others, each with the first place where it is there."""
    places: dict[bytes, int] = {}
    for place, each in enumerate(others):
        places.setdefault(each, place)
    return [(row, places[each]) for row, each in enumerate(hashes) if each in places]


def _near(
    dataset: Dataset, split: str, other: str, names: Sequence[str], known: set[int]
) -> tuple[list[tuple[int, int]], int]:
    """Rows that are far closer to the other split than rows are as a rule, without the known ones; of how many."""
    rng = np.random.Generator(np.random.Philox(key=0))
    ours, theirs = getattr(dataset, split), getattr(dataset, other)
    count, others = len(ours[names[0]]), len(theirs[names[0]])
    width = sum(math.prod(ours[name].shape[1:]) for name in names)
    # Where there are too many, fewer of both: a copy is found where both are drawn.
    share = min(1.0, math.sqrt(WORK / (count * others * (width + PASSES))))
    rows, places = (np.sort(rng.permutation(size)[: math.ceil(size * share)]) for size in (count, others))
    rows = np.array([row for row in rows.tolist() if row not in known], np.int64)
    if len(rows) < 2 or len(places) < 2:
        return [], len(rows)
    nearest, second, which = _two_nearest(
        _columns(dataset, ours, names, rows), _columns(dataset, theirs, names, places)
    )
    close = np.flatnonzero(nearest < _threshold(second))
    return [(int(rows[each]), int(places[which[each]])) for each in close], len(rows)


def _columns(dataset: Dataset, arrays: Arrays, names: Sequence[str], rows: Indices) -> Floats:
    """Examples as rows of numbers, [rows, width], scaled by the training split's deviations."""
    columns = []
    for name in names:
        train = dataset.train[name]
        sample = np.asarray(train[:: max(1, len(train) // 2000)], np.float32).reshape(-1, math.prod(train.shape[1:]))
        deviation = sample.std(axis=0)
        values = np.asarray(arrays[name][rows], np.float32).reshape(len(rows), -1)
        columns.append((values - sample.mean(axis=0)) / np.where(deviation > 0, deviation, 1))
    return np.concatenate(columns, axis=1)


def _two_nearest(rows: Floats, others: Floats) -> tuple[Floats, Floats, Indices]:
    """The distances of each row to the nearest and the second nearest of the others, and which the nearest is."""
    squares = np.square(others).sum(axis=1)
    places = np.zeros((len(rows), 2), np.int64)
    step = max(1, BLOCK // len(others))
    for start in range(0, len(rows), step):
        part = slice(start, start + step)
        distances = squares - 2 * rows[part] @ others.T  # less the row's own square, the same for all
        places[part, 0] = distances.argmin(axis=1)
        np.put_along_axis(distances, places[part, :1], np.inf, axis=1)
        places[part, 1] = distances.argmin(axis=1)
    nearest, second = (np.sqrt(np.square(rows - others[column]).sum(axis=1)) for column in places.T)
    return nearest, second, places[:, 0]


def _threshold(second: Floats) -> float:
    """What distance to the nearest is far below the typical one to the second nearest, beyond chance.

    Where points fill d dimensions evenly, c r^d is exponential for the nearest neighbour's distance r, and a gamma
    variable of shape 2 for the second nearest one's: quartile and median of the latter determine c and d.
    """
    quartile, median = np.quantile(second, [0.25, 0.5])
    if not 0 < quartile < median:
        return float(NEAR * median)
    dimensions = math.log(GAMMA_QUARTILE / GAMMA_MEDIAN) / math.log(quartile / median)
    by_chance = (EXPECTED / (len(second) * GAMMA_MEDIAN)) ** (1 / dimensions)
    return float(median * min(NEAR, by_chance))


def _is_fitted_on_all(dataset: Dataset, name: str) -> bool:
    """Whether columns have mean 0 and deviation 1 over all splits together, but not over the training split."""
    if dataset.train[name].dtype.kind != "f":
        return False
    splits = [getattr(dataset, part)[name] for part in SPLITS]

    def is_standardized(arrays: Sequence[np.ndarray[Any, Any]]) -> bool:
        count = sum(len(array) for array in arrays)
        sums = sum(np.sum(array, axis=0, dtype=np.float64) for array in arrays)
        squares = sum(np.sum(np.square(array, dtype=np.float64), axis=0) for array in arrays)
        mean = sums / count
        deviation = np.sqrt(np.maximum(squares / count - mean**2, 0))
        varies = deviation > ROUNDING
        return bool(varies.any()) and bool(
            (np.abs(mean) < ROUNDING).all() and (np.abs(deviation[varies] - 1) < ROUNDING).all()
        )

    return is_standardized(splits) and not is_standardized(splits[:1])
