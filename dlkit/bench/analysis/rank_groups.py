"""Who is told apart by mean ranks over problems: the groups of a critical-difference diagram."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from dlkit.bench.analysis import numbers
from dlkit.bench.analysis.across_problems import Overview

__all__ = ["RankGroups", "groups_of", "not_grouped", "rank_groups"]


class RankGroups(NamedTuple):
    """Mean ranks, and who is not told apart by Nemenyi's distance.

    Attributes:
        ranked: indices of contenders, best first.
        mean_ranks: [ranked] of each.
        groups: places among `ranked`, in order: the largest groups of two or more in which no two are told apart.
        distance: Nemenyi's for all pairs; None where pairs have distances of their own.
        p_value: of the test that all rank alike.
        problems: how many there are ranks on.
    """

    ranked: Sequence[int]
    mean_ranks: Sequence[float]
    groups: Sequence[tuple[int, ...]]
    distance: float | None
    p_value: float
    problems: int


def rank_groups(found: Overview) -> RankGroups | None:
    """Returns who is told apart over problems, by the numbers of the table.

    Args:
        found: the overview over problems.

    Returns:
        The groups; None where `not_grouped` says why.
    """
    ranks = found.ranks
    if ranks is None or not_grouped(found):
        return None
    means = ranks.bootstrap.mean_ranks
    ranked = [index for index in found.order if not np.isnan(means[index])]
    values = means[ranked]
    # A distance is NaN for two that ran on no problem together: nothing tells them apart.
    apart = np.abs(values[:, None] - values) > np.nan_to_num(ranks.distances[np.ix_(ranked, ranked)], nan=np.inf)
    return RankGroups(ranked, values.tolist(), groups_of(apart), ranks.distance, ranks.p_value, ranks.problems)


def not_grouped(found: Overview) -> str:
    """Returns why there are no groups, in a sentence; empty if there are.

    Nothing is shown where not even the largest possible difference of mean ranks would tell two contenders apart.
    """
    if found.ranks is None:
        return "Groups of mean ranks need two contenders that ran on two problems together."
    count = int((~np.isnan(found.ranks.bootstrap.mean_ranks)).sum())
    least, _ = found.ranks.nearest_and_farthest
    if least < count - 1:
        return ""
    return (
        f"Groups of mean ranks need more problems: on {found.ranks.problems} no two of {count} contenders could be "
        f"told apart, as ranks differ by {count - 1} at most and would have to by {numbers.number(least)} (Nemenyi)."
    )


def groups_of(apart: np.ndarray[Any, np.dtype[np.bool_]]) -> list[tuple[int, ...]]:
    """Returns the largest groups of two or more in which no two are told apart.

    Args:
        apart: [items, items] symmetric: which are told apart.

    Returns:
        Places in rising order, groups by their first.

    Example:
        >>> groups_of(np.array([[0, 0, 1], [0, 0, 0], [1, 0, 0]], bool))
        [(0, 1), (1, 2)]
    """
    near = [frozenset(np.flatnonzero(~line).tolist()) - {place} for place, line in enumerate(apart)]
    found: list[tuple[int, ...]] = []

    def grow(group: frozenset[int], waiting: frozenset[int], done: frozenset[int]) -> None:  # Bron and Kerbosch
        if not waiting and not done:
            found.append(tuple(sorted(group)))
            return
        pivot = max(waiting | done, key=lambda place: len(near[place] & waiting))
        for place in sorted(waiting - near[pivot]):
            grow(group | {place}, waiting & near[place], done & near[place])
            waiting, done = waiting - {place}, done | {place}

    grow(frozenset(), frozenset(range(len(near))), frozenset())
    return sorted(each for each in found if len(each) > 1)
