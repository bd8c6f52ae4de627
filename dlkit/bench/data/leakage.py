"""Leakage: examples that validation or test have in common with another split, exactly or nearly."""

import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from dlkit.bench.data.arrays import Arrays
from dlkit.bench.data.base import SPLITS, Dataset
from dlkit.bench.errors import UserError

__all__ = ["Leakage", "SharedExamples", "leakage", "leaks"]

Kind = Literal["examples", "inputs", "nearly"]
Indices = np.ndarray[Any, np.dtype[np.int64]]
Floats = np.ndarray[Any, np.dtype[np.float32]]
Hashes = np.ndarray[Any, np.dtype[np.uint64]]
Pairs = list[tuple[int, int]]

PAIRS = (("validation", "train"), ("test", "train"), ("test", "validation"))
NOT_INPUTS = ("targets", "weights")
SAID: Mapping[Kind, str] = {
    "examples": "the same examples",
    "inputs": "the same inputs, with other targets",
    "nearly": "nearly the same inputs",
}
NEAR = 0.1  # of the distance to the second nearest example: what lies closer may be nearly the same
FALSE = 0.02  # how often independent splits of one dataset may be suspected, for near copies and for copies
COARSE = 1e-3  # copies expected by chance: where fewer are, values are fine, and rows that coincide are copies
TAIL = (0.75, 0.95)  # between these quantiles of ratios within train, chance is measured
WORK = 3e9  # multiplications that one search for near duplicates may take: about a third of a second
PASSES = 50  # what finding the least of the distances takes, in multiplications a distance
LOOKED_THROUGH = 50_000_000  # numbers of a dataset that `leaks` looks through at most: about a second
FEWEST = 20  # training examples that tell what chance brings
BLOCK = 2**24  # distances held at once
WORDS = 2**18  # of 8 bytes, hashed at once: they stay in the cache
TABLE = 2**24  # last bits of hashes that are told apart
SAMPLE = 2000  # examples that tell how coarse values are, and deviations
ROUNDING = 1e-3  # how far a float32's mean and deviation over thousands of examples may be from 0 and 1


class SharedExamples(NamedTuple):
    """Examples of one split that another one has too.

    Attributes:
        split: which was looked through: ``"validation"`` or ``"test"``.
        other: in which its examples were found: ``"train"`` or ``"validation"``.
        kind: ``"examples"`` where every array is the same; ``"inputs"`` where all but ``"targets"`` and ``"weights"``
            are; ``"nearly"`` where inputs are far closer than those of the next example. An example has the first kind
            that holds.
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

    Exact copies are found by hashes of rows. Where values are so coarse that independent rows coincide, copies count
    only if there are more than chance brings: by how often values coincide in each column, and rows within train.

    An example is nearly another one if it is ten times closer to it than to the next one of the same split, with
    columns scaled by their deviation over the training split. In few dimensions chance brings that, too: there it has
    to be so much closer that, as ratios within the training split tell, independent examples come so close in one of
    fifty data sets. So nothing near is found where copies come in groups, such as frames of one film. Integers, such
    as characters or pixels, are compared the same way.

    Copies are looked for among all examples; near ones in large data among a sample. All of it takes 2 to 4 seconds of
    a core for 50 million numbers, and in proportion more or less.

    Args:
        dataset: the dataset. Of a split that is drawn anew for each study, the first study's is looked at;
            `Dataset.of_study` gives the others.

    Returns:
        What was found. Copies within one split are no leakage, and not counted.

    Raises:
        UserError: for what is no `Dataset`.

    Example:
        >>> rows = np.arange(12.0).reshape(6, 2)
        >>> split = lambda *which: {"inputs": rows[list(which)]}
        >>> found = leakage(Dataset("mine", split(0, 1, 2), split(3, 1), split(4, 5)))
        >>> [(each.split, each.other, each.rows.tolist(), each.matches.tolist()) for each in found.shared]
        [('validation', 'train', [1], [1])]
    """
    if not isinstance(dataset, Dataset):
        raise UserError(
            f"bench.data.leakage looks through a Dataset, not {type(dataset).__name__}; make one: "
            "bench.Dataset(name, train, validation, test), each a dictionary of arrays"
        )
    if not dataset.holds_out:
        return Leakage(dataset.name, holds_out=False)
    names = sorted(dataset.train)
    inputs = [name for name in names if name not in NOT_INPUTS] or names
    hashes = {part: {name: _hashes(getattr(dataset, part)[name], name) for name in names} for part in SPLITS}
    chance = _log_ratio_by_chance(dataset, inputs)
    shared: list[SharedExamples] = []
    for split, other in PAIRS:
        known: set[int] = set()
        for kind, compared in (("examples", names), ("inputs", inputs)):
            found = _copies(dataset, hashes, split, other, compared)
            fresh = [(row, match) for row, match in found if row not in known]
            known |= {row for row, _ in found}
            if not _is_chance(dataset, hashes, split, other, compared, len(fresh)):
                shared += _shared(split, other, kind, fresh, len(hashes[split][names[0]]))  # type: ignore[arg-type]
        near, examined = _near(dataset, split, other, inputs, known, chance)
        shared += _shared(split, other, "nearly", near, examined)
    return Leakage(dataset.name, True, shared, [name for name in names if _is_fitted_on_all(dataset, name)])


def _shared(split: str, other: str, kind: Kind, found: Pairs, examined: int) -> list[SharedExamples]:
    if not found:
        return []
    rows, matches = (np.array(indices, np.int64) for indices in zip(*found, strict=True))
    return [SharedExamples(split, other, kind, rows, matches, examined)]


def _hashes(array: np.ndarray[Any, Any], name: str) -> Hashes:
    """A hash of each row; -0.0 counts as 0.0. Those of several arrays are added."""
    width = math.prod(array.shape[1:]) * array.dtype.itemsize
    words = max(1, -(-width // 8))
    rng = np.random.Generator(np.random.Philox(key=zlib.crc32(name.encode())))
    factors = rng.integers(0, 2**63, words, np.uint64) * np.uint64(2) + np.uint64(1)
    hashes = np.zeros(len(array), np.uint64)
    step = max(1, WORDS // words)
    for start in range(0, len(array), step):
        part = array[start : start + step]
        part = np.ascontiguousarray(part + part.dtype.type(0))
        padded = np.zeros((len(part), 8 * words), np.uint8)
        padded[:, :width] = part.reshape(len(part), -1).view(np.uint8)
        mixed = padded.view(np.uint64)
        # The low bits of a product depend on the low bits of its factors alone, and those of round numbers are 0.
        mixed ^= mixed >> np.uint64(32)
        mixed *= np.uint64(0xD6E8FEB86659FD93)
        mixed ^= mixed >> np.uint64(32)
        hashes[start : start + step] = mixed @ factors
    return hashes


def _together(hashes: Mapping[str, Hashes], names: Sequence[str]) -> Hashes:
    """The hashes of examples, of these arrays."""
    total: Hashes = np.sum([hashes[name] for name in names], axis=0, dtype=np.uint64)
    return total


def _copies(
    dataset: Dataset, hashes: Mapping[str, Mapping[str, Hashes]], split: str, other: str, names: Sequence[str]
) -> Pairs:
    """Rows that are in the other split, each with the first place where it is there."""
    ours, theirs = (_together(hashes[part], names) for part in (split, other))
    # Most rows have no copy: a table of the hashes' last bits leaves few to sort.
    rows = np.flatnonzero(_may_be_among(ours, theirs))
    candidates = np.flatnonzero(_may_be_among(theirs, ours[rows]))
    different, first = np.unique(theirs[candidates], return_index=True)
    rows = rows[np.isin(ours[rows], different)]
    if not len(rows):
        return []
    places = candidates[first[np.searchsorted(different, ours[rows])]]
    is_same = np.ones(len(rows), bool)
    for name in names:
        of_split, of_other = (getattr(dataset, part)[name] for part in (split, other))
        same = of_split[rows] == of_other[places]
        same |= (of_split[rows] != of_split[rows]) & (of_other[places] != of_other[places])  # NaN
        is_same &= same.reshape(len(rows), -1).all(axis=1)
    return list(zip(rows[is_same].tolist(), places[is_same].tolist(), strict=True))


def _may_be_among(hashes: Hashes, others: Hashes) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Whether the last bits of hashes are those of another one: nearly always of the same."""
    table = np.zeros(TABLE, bool)
    table[others % np.uint64(TABLE)] = True
    found: np.ndarray[Any, np.dtype[np.bool_]] = table[hashes % np.uint64(TABLE)]
    return found


def _is_chance(
    dataset: Dataset,
    hashes: Mapping[str, Mapping[str, Hashes]],
    split: str,
    other: str,
    names: Sequence[str],
    count: int,
) -> bool:
    """Whether so many copies come about between independent splits, as values are coarse."""
    coincidence = _coincidence(dataset.train, names) if count else 0.0
    pairs = math.prod(len(hashes[part][names[0]]) for part in (split, other))
    if coincidence * pairs < COARSE:
        return False
    # Columns that depend on each other coincide more often: then so do rows within train.
    groups = np.unique(_together(hashes["train"], names), return_counts=True)[1].astype(np.float64)
    size = groups.sum()
    within = (groups * (groups - 1)).sum() / max(1.0, size * (size - 1))
    expected = pairs * max(coincidence, within)
    from scipy.special import gammainc

    # P(a Poisson variable is at least `count`) is P(count, expected), the regularized incomplete gamma function.
    return count == 0 or bool(gammainc(count, expected) > FALSE / len(PAIRS))


def _coincidence(train: Arrays, names: Sequence[str]) -> float:
    """How likely two rows are the same, were columns independent of each other."""
    likely = 1.0
    for name in names:
        sample = train[name][:: max(1, len(train[name]) // SAMPLE)]
        for column in sample.reshape(len(sample), -1).T:
            counts = np.unique(column, return_counts=True)[1].astype(np.float64)
            likely *= (counts * (counts - 1)).sum() / max(1, len(sample) * (len(sample) - 1))
            if likely < 1e-30:
                return 0.0
    return likely


def _near(
    dataset: Dataset,
    split: str,
    other: str,
    names: Sequence[str],
    known: set[int],
    chance: Callable[[int], float],
) -> tuple[Pairs, int]:
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
    close = np.flatnonzero(
        (nearest < NEAR * np.minimum(second, np.median(second))) & (_log_ratios(nearest, second) > chance(len(rows)))
    )
    return [(int(rows[each]), int(places[which[each]])) for each in close], len(rows)


def _log_ratio_by_chance(dataset: Dataset, names: Sequence[str]) -> Callable[[int], float]:
    """Returns how far beyond its nearest example the second nearest may be by chance: of so many rows, a log-ratio.

    Where points fill d dimensions evenly, (nearest / second nearest)^d is uniform, whatever their density, so that
    log-ratios are exponential with mean 1 / d. The training split tells the tail, of the parts with few dimensions.
    """
    rng = np.random.Generator(np.random.Philox(key=1))
    count = len(dataset.train[names[0]])
    width = sum(math.prod(dataset.train[name].shape[1:]) for name in names)
    rows = np.sort(rng.permutation(count)[: min(SAMPLE, int(math.sqrt(WORK / (width + PASSES))))])
    columns = _columns(dataset, dataset.train, names, rows)
    if len(rows) < FEWEST:
        return lambda _: math.inf
    nearest, second, _ = _two_nearest(columns, columns, are_same=True)
    ratios = _log_ratios(nearest, second)[nearest > 0]  # what is the same is a copy
    if len(ratios) < FEWEST:
        return lambda _: math.inf
    low, high = np.quantile(ratios, TAIL)
    share = 1 - TAIL[0]
    slope = (high - low) / math.log(share / (1 - TAIL[1]))
    slope *= 1 + 2 / math.sqrt(share * len(ratios))  # two standard errors
    return lambda examined: float(low + slope * math.log(share * examined * len(PAIRS) / FALSE))


def _log_ratios(nearest: Floats, second: Floats) -> Floats:
    """The logarithms of second nearest / nearest; 0 where both are the same place."""
    tiny = np.finfo(np.float32).tiny
    return np.log(np.maximum(second, tiny)) - np.log(np.maximum(nearest, tiny))


def _columns(dataset: Dataset, arrays: Arrays, names: Sequence[str], rows: Indices) -> Floats:
    """Examples as rows of numbers, [rows, width], scaled by the training split's deviations."""
    columns = []
    for name in names:
        train = dataset.train[name]
        sample = np.asarray(train[:: max(1, len(train) // SAMPLE)], np.float32).reshape(-1, math.prod(train.shape[1:]))
        deviation = sample.std(axis=0)
        values = np.asarray(arrays[name][rows], np.float32).reshape(len(rows), -1)
        columns.append((values - sample.mean(axis=0)) / np.where(deviation > 0, deviation, 1))
    return np.concatenate(columns, axis=1)


def _two_nearest(rows: Floats, others: Floats, *, are_same: bool = False) -> tuple[Floats, Floats, Indices]:
    """The distances of each row to the nearest and the second nearest of the others, and which the nearest is.

    Where rows and others `are_same`, none is its own neighbour.
    """
    squares = np.square(others).sum(axis=1)
    places = np.zeros((len(rows), 2), np.int64)
    step = max(1, BLOCK // len(others))
    for start in range(0, len(rows), step):
        part = slice(start, start + step)
        distances = squares - 2 * rows[part] @ others.T  # less the row's own square, the same for all
        if are_same:
            np.fill_diagonal(distances[:, start:], np.inf)
        places[part, 0] = distances.argmin(axis=1)
        np.put_along_axis(distances, places[part, :1], np.inf, axis=1)
        places[part, 1] = distances.argmin(axis=1)
    nearest, second = (np.sqrt(np.square(rows - others[column]).sum(axis=1)) for column in places.T)
    return nearest, second, places[:, 0]


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
