"""Every pair of a problem's contenders compared block by block: a test, an interval, and letters for groups."""

import itertools
import math
import string
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np

from dlkit.bench.analysis.new_examples import NewExamples
from dlkit.bench.stats import Interval, PairedDifference, family_p_values, fewest_blocks
from dlkit.bench.stats.families import keep_orders
from dlkit.bench.stats.pairs import signed_difference_rows, signed_differences
from dlkit.bench.stats.signed_ranks import paired_differences

__all__ = [
    "ALPHA",
    "LEVEL",
    "ROUNDING",
    "Pair",
    "Pairs",
    "all_pairs",
    "all_singles",
    "beats_all",
    "block_differences",
    "common",
    "letters",
    "turned",
]

LEVEL = 0.95
ALPHA = 1 - LEVEL
ROUNDING = float(np.finfo(np.float32).eps)  # metrics are float32: means of them are no more exact

Floats = np.ndarray[Any, Any]
Key = tuple[int, int]
Answer = TypeVar("Answer")


class Pair(NamedTuple):
    """How a contender differs from another one; lower is better.

    Attributes:
        difference: its values less the other's, over common blocks.
        adjusted_p: over all pairs of contenders: the larger one of the pair's own p-value and of the family's.
        keeps: the probability that another block has the difference's sign, and its interval.
        new_examples: how the two differ on new examples; None where blocks have examples of their own, or where trials
            kept no scores of examples.
    """

    difference: PairedDifference
    adjusted_p: float
    keeps: Interval
    new_examples: NewExamples | None = None

    @property
    def is_apart(self) -> bool:
        """Whether the two differ beyond chance, all pairs taken together; where that is known, on new examples too."""
        return self.adjusted_p <= ALPHA and self.difference.estimate != 0 and self._holds(adjusted=True)

    def is_worse(self, *, adjusted: bool) -> bool:
        """Returns whether it is worse than the other beyond chance; where that is known, on new examples too.

        Args:
            adjusted: whether all pairs of contenders are asked about.
        """
        return self.is_worse_here(adjusted=adjusted) and self._holds(adjusted=adjusted)

    def is_worse_here(self, *, adjusted: bool) -> bool:
        """Returns whether it is worse than the other beyond chance, on these test examples."""
        p_value = self.adjusted_p if adjusted else self.difference.p_value
        return self.difference.estimate > 0 and p_value <= ALPHA

    def _holds(self, *, adjusted: bool) -> bool:
        new = self.new_examples
        return new is None or new.is_sure(self.difference.estimate, ALPHA, adjusted=adjusted)


Pairs = Mapping[Key, Pair]  # (i, j) with i < j: how j differs from i
Singles = Mapping[Key, PairedDifference]


def beats_all(pairs: Iterable[Pair]) -> bool:
    """Returns whether a contender is better than every other one, by single comparisons.

    To be better than all takes that every single comparison comes out that way, which is a test of its own size
    (intersection-union): no adjustment.

    Args:
        pairs: how each of the others differs from it.
    """
    return all(pair.is_worse(adjusted=False) for pair in pairs)


def all_pairs(values: Sequence[Floats], *, singles: Singles | None = None, best_alone: bool = False) -> Pairs:
    """Compares all pairs of contenders.

    The same data choose who is the best, so all pairs are one family: with k equal contenders adjusting over the k - 1
    comparisons with the best would call one of them worse in more than 5 % of runs.

    Args:
        values: [contenders][blocks], lower is better; where one has fewer blocks, the others' first ones count.
        singles: (i, j) with i < j -> how j differs from i, where that is known.
        best_alone: whether only the pairs with the first contender are asked for; the family is the same.

    Returns:
        The pairs.
    """
    keys = list(itertools.combinations(range(len(values)), 2))
    if not keys:
        return {}
    blocks = min(map(len, values))
    asked = [(i, j) for i, j in keys if i == 0 or not best_alone]
    gaps = _gaps(values, keys)
    singles = singles or _of_gaps(gaps, asked)
    if any(len(gap) > blocks for gap in gaps.values()):
        in_common = _gaps([each[:blocks] for each in values], keys)
    else:
        in_common = gaps
    family = family_p_values(np.stack(list(in_common.values()))) if len(keys) > 1 else np.zeros(1)
    adjusted = dict(zip(keys, family.tolist(), strict=True))
    kept = _by_length(gaps, asked, lambda rows, chosen: keep_orders(rows, [singles[key].estimate for key in chosen]))
    return {key: Pair(singles[key], max(singles[key].p_value, adjusted[key]), kept[key]) for key in asked}


def all_singles(values: Sequence[Floats]) -> Singles:
    """Returns how each contender j differs from i < j, without the others.

    Args:
        values: as in `all_pairs`.
    """
    keys = list(itertools.combinations(range(len(values)), 2))
    return _of_gaps(_gaps(values, keys), keys)


def _of_gaps(gaps: Mapping[Key, Floats], keys: Sequence[Key]) -> dict[Key, PairedDifference]:
    return _by_length(gaps, keys, lambda rows, _: paired_differences(rows, level=LEVEL))


def _gaps(values: Sequence[Floats], keys: Sequence[Key]) -> dict[Key, Floats]:
    """`block_differences` of j from i, for each (i, j)."""
    ours = dict(zip(keys, (common(values[j], values[i]) for i, j in keys), strict=True))
    firsts = {key: first for key, (first, _) in ours.items()}

    def rows(first: Floats, chosen: Sequence[Key]) -> Floats:
        return signed_difference_rows(first, np.stack([ours[key][1] for key in chosen]), resolution=ROUNDING)

    return _by_length(firsts, keys, rows)


def _by_length(
    gaps: Mapping[Key, Floats], keys: Sequence[Key], function: Callable[[Floats, Sequence[Key]], Iterable[Answer]]
) -> dict[Key, Answer]:
    """``function(rows, keys)`` of all rows of one length at once, by key in the order given."""
    chosen = dict[int, list[Key]]()
    for key in keys:
        chosen.setdefault(len(gaps[key]), []).append(key)
    found = dict[Key, Answer]()
    for some in chosen.values():
        found.update(zip(some, function(np.stack([gaps[key] for key in some]), some), strict=True))
    return {key: found[key] for key in keys}


def block_differences(values: Floats, others: Floats) -> Floats:
    """Returns [common blocks] values less others; those that only rounding tells apart tie."""
    return signed_differences(*common(values, others), resolution=ROUNDING)


def turned(difference: PairedDifference) -> PairedDifference:
    """Returns the difference of the other from the one."""
    estimate, low, high, p_value, wins, losses, ties = difference
    return PairedDifference(-estimate, -high, -low, p_value, losses, wins, ties)


def blocks_needed(contenders: int, *, adds_blocks: bool) -> int:
    """Returns the fewest blocks with which a contender can be found best, however large the differences.

    Args:
        contenders: how many are compared.
        adds_blocks: whether blocks are added until it is settled: then evidence has to reach a bound that grows with
            their number, and a block at most doubles it.
    """
    return math.ceil(math.log2(contenders / ALPHA)) if adds_blocks else fewest_blocks(LEVEL)


def common(values: Floats, others: Floats) -> tuple[Floats, Floats]:
    """Returns two contenders' values on the blocks that both have: the first ones, where one rested early."""
    blocks = min(len(values), len(others))
    return values[:blocks], others[:blocks]


def letters(count: int, apart: set[tuple[int, int]]) -> list[str]:
    """Groups contenders: those that share a letter are not told apart, those that share none are.

    Args:
        count: how many contenders there are, best first.
        apart: the pairs (i, j), i < j, that are told apart.

    Returns:
        The letters of each; the groups as few as can be, named in the order of their best.

    Reference:
        Piepho, "An algorithm for a letter-based representation of all-pairwise comparisons", JCGS, 2004.

    Example:
        >>> letters(3, {(0, 2)})  # the first and the last differ; the middle one may be either's equal
        ['a', 'ab', 'b']
    """
    groups = [frozenset(range(count))]
    for i, j in sorted(apart):
        split = [part for group in groups for part in ((group - {i}, group - {j}) if {i, j} <= group else (group,))]
        groups = [group for group in dict.fromkeys(split) if not any(group < other for other in split)]
    groups.sort(key=sorted)
    names = [string.ascii_lowercase[place] if place < 26 else f"({place + 1})" for place in range(len(groups))]
    return ["".join(name for name, group in zip(names, groups, strict=True) if k in group) for k in range(count)]
