"""Which examples go where: at random, each class in its share, groups kept together, or one time after another.

Pure functions of what is known of the examples, and of a key that decides the draw.
"""

from typing import Any, NamedTuple

import numpy as np

from dlkit.bench.errors import UserError

__all__ = ["Indices", "Rows", "absent", "grouped_rows", "random_rows", "shuffled", "stratified_rows", "timed_rows"]

Indices = np.ndarray[Any, np.dtype[np.int64]]

WINDOW = 60  # groups that are put together to have a split's size
TRIES = 20  # draws of groups until splits have the sizes of the first study's


class Rows(NamedTuple):
    """The examples of each split, in the order in which they stand there."""

    train: Indices
    validation: Indices
    test: Indices


def shuffled(count: int, key: int) -> Indices:
    """A permutation that depends on the arguments alone."""
    return np.random.Generator(np.random.Philox(key=key)).permutation(count)


def random_rows(count: int, sizes: tuple[int, int], key: int) -> Rows:
    """Draws validation and test at random.

    Args:
        count: how many examples there are.
        sizes: of validation and test.
        key: decides the draw.
    """
    held_out, final = sizes
    order = shuffled(count, key)
    return Rows(order[held_out + final :], order[:held_out], order[held_out : held_out + final])


def stratified_rows(labels: Any, sizes: tuple[int, int], key: int) -> Rows:
    """Draws validation and test so that every class has its share of each split.

    A class with as many examples as there are splits is in all of them, if there is room.

    Args:
        labels: [examples], of any type.
        sizes: of validation and test; 0 for none.
        key: decides the draw.

    Raises:
        UserError: if there are too many classes to leave one example of each for training.

    Example:
        >>> labels = np.repeat(["a", "b"], [90, 10])
        >>> [int((labels[rows] == "b").sum()) for rows in stratified_rows(labels, (20, 20), 0)]
        [6, 2, 2]
    """
    classes = np.unique(np.asarray(labels), return_inverse=True)[1].reshape(-1)
    counts = np.bincount(classes)
    if sum(sizes) > len(classes) - len(counts):
        raise UserError(
            f"{len(classes)} examples of {len(counts)} classes leave none of each for training where {sum(sizes)} are "
            "held out; hold out fewer, or split at random"
        )
    validation = _shares(counts, sizes[0], reserved=2 if sizes[1] else 1)
    ends = [validation, validation + _shares(counts, sizes[1], reserved=1 + validation)]
    order = shuffled(len(classes), key)
    by_class = order[np.argsort(classes[order], kind="stable")]
    ranks = np.empty_like(order)
    ranks[by_class] = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    split_of = (ranks[:, None] >= np.stack(ends, axis=1)[classes]).sum(axis=1)[order]
    return Rows(order[split_of == 2], order[split_of == 0], order[split_of == 1])


def _shares(counts: Indices, size: int, *, reserved: int | Indices) -> Indices:
    """How many examples of each class a split gets, `size` together: in proportion, but at least one where there are.

    Args:
        counts: of each class.
        size: of the split.
        reserved: how many of each class are for other splits.
    """
    room: Indices = np.maximum(counts - reserved, 0)
    if room.sum() < size:  # rare classes cannot be everywhere
        room = np.maximum(counts - 1, 0)
    least = np.minimum(room, 1 if size >= len(counts) else 0)
    quota = size * counts / counts.sum()
    share: Indices = np.clip(np.floor(quota).astype(np.int64), least, room)
    while share.sum() != size:
        if share.sum() < size:
            share[np.argmax(np.where(share < room, quota - share, -np.inf))] += 1
        else:
            share[np.argmax(np.where(share > least, share - quota, -np.inf))] -= 1
    return share


def grouped_rows(groups: Any, sizes: tuple[int, int], key: int, *, exact: bool = False) -> Rows | None:
    """Draws whole groups for validation and test, so that no group is in two splits.

    Args:
        groups: [examples], of any type: whose example it is, such as a patient's number.
        sizes: of validation and test; as near to them as groups allow.
        key: decides the draw.
        exact: whether only these sizes will do.

    Returns:
        The rows; None if no draw was found that has exactly these sizes.

    Raises:
        UserError: if there are fewer groups than splits.

    Example:
        >>> groups = np.repeat(np.arange(10), 6)
        >>> rows = grouped_rows(groups, (12, 12), 0)
        >>> [len(set(groups[part].tolist())) for part in rows]
        [6, 2, 2]
    """
    of_group = np.unique(np.asarray(groups), return_inverse=True)[1].reshape(-1)
    counts = np.bincount(of_group)
    splits = 3 if sizes[1] else 2
    if len(counts) < splits:
        raise UserError(f"{len(counts)} groups cannot be {splits} splits; give one for each at least")
    best: tuple[int, set[int], set[int]] | None = None
    for attempt in range(TRIES):
        order = shuffled(len(counts), key + (attempt << 64)).tolist()
        validation = _of_total(order, counts, sizes[0], keep=splits - 1)
        left = [group for group in order if group not in validation]
        test = _of_total(left, counts, sizes[1], keep=1) if sizes[1] else set()
        totals = [sum(int(counts[group]) for group in part) for part in (validation, test)]
        beside = sum(abs(total - size) for total, size in zip(totals, sizes, strict=True))
        if best is None or beside < best[0]:
            best = beside, validation, test
        if best[0] == 0:
            break
    if best is None or (exact and best[0] > 0):
        return None
    split_of = np.zeros(len(counts), np.int64)
    split_of[list(best[1])], split_of[list(best[2])] = 1, 2
    rows = shuffled(len(of_group), key)
    return Rows(*(rows[split_of[of_group[rows]] == part] for part in range(3)))


def _of_total(order: list[int], counts: Indices, total: int, *, keep: int) -> set[int]:
    """Groups, as the order has them, whose sizes add up to a total or as near to it as can be; the last are kept."""
    candidates = order[: len(order) - keep]
    sizes = counts[candidates].tolist()
    chosen: set[int] = set()
    start, ahead = 0, sum(sizes[:WINDOW])
    while 2 * total > ahead and start + WINDOW < len(candidates):
        if sizes[start] <= total:
            chosen.add(candidates[start])
            total -= sizes[start]
        ahead += sizes[start + WINDOW] - sizes[start]
        start += 1
    window = candidates[start : start + WINDOW]
    reached = [1]  # bit s: whether some of the first groups add up to s
    for group in window:
        reached.append(reached[-1] | reached[-1] << int(counts[group]))
    content = np.frombuffer(reached[-1].to_bytes(reached[-1].bit_length() // 8 + 1, "little"), np.uint8)
    sums = np.flatnonzero(np.unpackbits(content, bitorder="little"))[0 if chosen else 1 :]
    rest = int(sums[np.argmin(np.abs(sums - total))])
    for place in range(len(window), 0, -1):
        if not reached[place - 1] >> rest & 1:
            chosen.add(window[place - 1])
            rest -= int(counts[window[place - 1]])
    return chosen


def timed_rows(times: Any, sizes: tuple[int, int]) -> Rows:
    """Takes the latest examples for the test, those before them for validation; one time is in one split alone.

    Args:
        times: [examples], numbers or dates.
        sizes: of validation and test; as near to them as equal times allow.

    Raises:
        UserError: if there are fewer different times than splits.

    Example:
        >>> [rows.tolist() for rows in timed_rows(np.array([5, 1, 4, 2, 3]), (1, 1))]
        [[1, 3, 4], [2], [0]]
    """
    times = np.asarray(times)
    order = np.argsort(times, kind="stable")
    changes = np.flatnonzero(times[order][1:] != times[order][:-1]) + 1
    splits = 3 if sizes[1] else 2
    if len(changes) < splits - 1:
        raise UserError(f"{len(changes) + 1} different times cannot be {splits} splits, one after another")
    count = len(order)
    bounds = [count, *changes[::-1].tolist()]
    second = min(range(splits - 2, len(bounds) - 1), key=lambda place: abs(bounds[place] - (count - sizes[1])))
    second = second if sizes[1] else 0
    first = min(range(second + 1, len(bounds)), key=lambda place: abs(bounds[place] - (count - sum(sizes))))
    return Rows(*np.split(order, [bounds[first], bounds[second]]))


def absent(labels: Any, rows: Rows) -> list[tuple[Any, str]]:
    """Which classes are absent from which splits.

    Args:
        labels: [examples].
        rows: of each split; one without rows lacks nothing.

    Returns:
        Class and split, by class.
    """
    labels = np.asarray(labels)
    parts = {name: np.unique(labels[part]) for name, part in zip(Rows._fields, rows, strict=True) if len(part)}
    return [
        (label, name) for label in np.unique(labels).tolist() for name, there in parts.items() if label not in there
    ]
