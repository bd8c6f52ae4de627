"""Contenders that differ in one factor only, and the contrasts between such pairs."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from dlkit.bench.analysis.contender_result import ContenderResult
from dlkit.bench.plan.planned import PlannedContender, PlannedProblem
from dlkit.bench.plan.policies import CONSTANT_SCHEDULE, level_name

__all__ = ["LevelPairs", "Match", "contrasts", "groups", "level_pairs", "levels_of", "mean_over_pairs", "weighed_sum"]

Floats = np.ndarray[Any, Any]
ROUNDING = 4 * float(np.finfo(np.float32).eps)  # curves are kept in 32 bits


class Match(NamedTuple):
    """Two contenders that differ in one factor only.

    Attributes:
        ours: the one with the level in question.
        theirs: the one with the level that it is compared with.
        rest: factor -> level, of the other factors: what the two have in common.
    """

    ours: ContenderResult
    theirs: ContenderResult
    rest: Mapping[str, str]

    @property
    def sides(self) -> tuple[ContenderResult, ContenderResult]:
        """The two contenders."""
        return self.ours, self.theirs


class LevelPairs(NamedTuple):
    """A level of a factor against the first contender's, over all contenders that differ in nothing else."""

    factor: str
    level: str
    baseline: str
    matches: Sequence[Match]


def level_pairs(
    problem: PlannedProblem, contenders: Sequence[PlannedContender], results: Sequence[ContenderResult]
) -> list[LevelPairs]:
    """Finds what can be compared on one problem.

    Args:
        problem: which.
        contenders: in the order of the plan; the first has the levels that the others are compared with.
        results: of the problem; those that are incomplete are left out.

    Returns:
        The levels that have a pair, in the order of the factors; none where the optimizer is the only factor.
    """
    complete = {each.label: each for each in results if each.is_comparable}
    levels = {each.label: levels_of(problem, each, contenders) for each in contenders}
    first = levels[contenders[0].label]
    factors = [name for name in first if len({each[name] for each in levels.values()}) > 1]
    if factors in ([], ["optimizer"]):
        return []
    shown = {label: {name: each[name] for name in factors} for label, each in levels.items()}
    found = [
        LevelPairs(factor, level, first[factor], list(_matches(shown, complete, factor, level, first[factor])))
        for factor in factors
        for level in dict.fromkeys(each[factor] for each in levels.values())
        if level != first[factor]
    ]
    return [each for each in found if each.matches]


def levels_of(
    problem: PlannedProblem, contender: PlannedContender, contenders: Sequence[PlannedContender]
) -> dict[str, str]:
    """Returns factor -> level of a contender, with the problem's own where it sets none."""
    own = {
        "schedule": CONSTANT_SCHEDULE,
        "batch_size": level_name(problem.batch_size or "full"),
        "order": problem.order,
    }
    own |= {name: level_name(value) for name, value in problem.choices.items()}
    names = dict.fromkeys(name for each in contenders for name in each.levels)
    return {name: contender.levels.get(name, own.get(name, "")) for name in names}


def _matches(
    levels: Mapping[str, Mapping[str, str]],
    complete: Mapping[str, ContenderResult],
    factor: str,
    level: str,
    baseline: str,
) -> Iterator[Match]:
    """Pairs of contenders that have a level and its baseline, and are otherwise alike."""
    rests = {label: {name: each for name, each in own.items() if name != factor} for label, own in levels.items()}
    theirs = {
        tuple(rests[label].values()): complete[label]
        for label, own in levels.items()
        if own[factor] == baseline and label in complete
    }
    for label, own in levels.items():
        rest = rests[label]
        if own[factor] == level and label in complete and tuple(rest.values()) in theirs:
            yield Match(complete[label], theirs[tuple(rest.values())], rest)


def groups(matches: Sequence[Match]) -> dict[str, dict[str, list[int]]]:
    """Sorts pairs by what else there is.

    Args:
        matches: the pairs of one level.

    Returns:
        Other factor -> its level -> the places of the pairs that have it, for the factors in which pairs differ.
    """
    found: dict[str, dict[str, list[int]]] = {}
    for place, match in enumerate(matches):
        for name, level in match.rest.items():
            found.setdefault(name, {}).setdefault(level, []).append(place)
    return {name: places for name, places in found.items() if len(places) > 1}


def contrasts(matches: Sequence[Match], other: str) -> dict[str, Floats]:
    """Weighs pairs so that their sum says how a level's effect depends on another factor.

    That is the effect with one level of the other factor, less the mean effect with its other levels, over all pairs
    that differ in nothing else.

    Args:
        matches: the pairs of one level.
        other: a factor in which pairs differ.

    Returns:
        Level of the other factor -> [pairs] weights whose sum is 0. Of two levels only the first has a contrast, as
        the second's is the same. Levels that no pair can be held against have none.
    """
    cells: dict[tuple[str, ...], dict[str, int]] = {}
    for place, match in enumerate(matches):
        place_of = cells.setdefault(tuple(level for name, level in match.rest.items() if name != other), {})
        place_of[match.rest[other]] = place
    levels = list(dict.fromkeys(match.rest[other] for match in matches))
    found = {}
    for level in levels[:1] if len(levels) == 2 else levels:
        held = [cell for cell in cells.values() if level in cell and len(cell) > 1]
        weights = np.zeros(len(matches))
        for cell in held:
            for name, place in cell.items():
                weights[place] += (1.0 if name == level else -1.0 / (len(cell) - 1)) / len(held)
        if held:
            found[level] = weights
    return found


def mean_over_pairs(table: Floats) -> Floats:
    """Returns [blocks] the mean of differences [pairs, blocks]; NaN, two of the same infinity, counts as equal."""
    with np.errstate(invalid="ignore"):
        mean: Floats = np.where(np.isnan(table), 0.0, table).mean(axis=0)
    return np.where(np.isnan(mean), 0.0, mean)


def weighed_sum(table: Floats, weights: Floats, sizes: Floats) -> Floats:
    """Sums differences with the weights of a contrast.

    A block in which both contenders of a pair diverged does not tell what the level does there. It counts as no
    difference between the pairs, and so does what is left where equal effects cancel but for rounding.

    Args:
        table: [pairs, blocks] differences, NaN for two of the same infinity.
        weights: [pairs] of a contrast.
        sizes: [blocks] the largest finite value that differences were taken of.

    Returns:
        [blocks] The contrast.
    """
    taken = weights != 0
    with np.errstate(invalid="ignore"):
        total = (weights[taken, None] * table[taken]).sum(axis=0)
    is_nothing = np.isnan(total) | (np.abs(total) <= ROUNDING * sizes)
    return np.where(is_nothing, 0.0, total)
