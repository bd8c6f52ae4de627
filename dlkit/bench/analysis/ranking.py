"""A problem's contenders ranked: differences to the best, groups that are not told apart, mean ranks."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from dlkit.bench.analysis.along_curves import AlongCurve
from dlkit.bench.analysis.contender_result import ContenderResult
from dlkit.bench.analysis.new_examples import on_new_examples
from dlkit.bench.analysis.pairs import LEVEL, Pair, Pairs, all_pairs, all_singles, beats_all, letters, turned
from dlkit.bench.stats import PairedDifference, friedman

__all__ = ["Judge", "Ranked", "Ranking", "Standing", "compared"]

Judge = Callable[[ContenderResult, ContenderResult, Pair], Pair]
"""``judge(best, other, pair) -> pair``: how a contender differs from a better one, by other numbers."""


class Standing(NamedTuple):
    """How a contender stands among the others that finished.

    Attributes:
        group: letters; contenders that share one are not told apart by adjusted tests of all pairs. A winner shares its
            letter with none.
        mean_rank: of its final scores among the contenders', over blocks; 1 is the best.
        to_best: its final scores less the best one's; None for the best.
        is_worse: whether it is worse than the best beyond chance: by single comparisons where the best beats all
            others so, else by the adjusted one; where that is known, on new examples too.
        is_worse_here: the same on these test examples, whatever holds on new ones.
        steps_ratio: log2 of its steps to target less the best one's; None for the best, or where they do not compare.
        half: its scores at half of the budget less the best one's; likewise.
    """

    group: str
    mean_rank: float
    to_best: Pair | None
    is_worse: bool
    is_worse_here: bool
    steps_ratio: Pair | None
    half: Pair | None


@dataclass(frozen=True, eq=False)
class Ranked:
    """A contender that finished: its own numbers, and how it stands among the others."""

    result: ContenderResult
    standing: Standing

    @property
    def label(self) -> str:
        """The contender's label."""
        return self.result.label

    @property
    def could_close_gap(self) -> bool:
        """Whether its tuning is doubtful, and better tuning could close its gap to the best."""
        pair = self.standing.to_best
        return pair is not None and self.result.could_gain(pair.difference.low)


@dataclass(frozen=True, eq=False)
class Ranking:
    """A problem's contenders in order.

    Attributes:
        compared: those that finished, best first; none unless there are two or more.
        others: those that are compared with nobody, a lone one that finished first.
    """

    compared: Sequence[Ranked]
    others: Sequence[ContenderResult]

    @cached_property
    def results(self) -> Sequence[ContenderResult]:
        """All contenders, best first; those that did not finish come last."""
        return [*(each.result for each in self.compared), *self.others]

    @cached_property
    def standings(self) -> Mapping[str, Standing]:
        """Label -> how that contender stands, for those that are compared."""
        return {each.label: each.standing for each in self.compared}


def compared(results: Sequence[ContenderResult], *, first: str = "", judge: Judge | None = None) -> Ranking:
    """Ranks one problem's contenders by their final scores, and compares each with the best and with the others.

    The order is that of what is tested. The best is ahead of most others by the estimated paired difference; the others
    follow by their difference to it. P-values are adjusted over all pairs of contenders, of final scores, of steps to
    target and of scores at half of the budget, each family by itself.

    Args:
        results: of one problem; those that did not finish go last, in the order given.
        first: label of a contender that is known to be best, whatever estimates say; empty if there is none.
        judge: replaces the numbers of a pair; None to keep those of the tests for a fixed number of blocks.

    Returns:
        The ranking; the better median, then fewer steps to target break ties.
    """
    there = [each for each in results if each.is_comparable]
    rest = [each for each in results if not each.is_comparable]
    if len(there) < 2:
        return Ranking((), [*there, *rest])
    finished, singles = _in_order(sorted(there, key=_by_median), first)
    pairs = all_pairs([each.blocks for each in finished], singles=singles)
    if judge is not None:
        pairs = {(i, j): judge(finished[i], finished[j], pair) for (i, j), pair in pairs.items()}
    scores = [each.example_scores for each in finished]
    new = on_new_examples(scores, list(pairs), level=LEVEL, adds_blocks=judge is not None)
    pairs = {key: pair._replace(new_examples=new.get(key)) for key, pair in pairs.items()}
    return Ranking(list(map(Ranked, finished, _standings(finished, pairs))), rest)


def _by_median(result: ContenderResult) -> tuple[float, float]:
    return float(np.median(result.blocks)), float(np.median(result.steps_to_target))


def _in_order(
    results: Sequence[ContenderResult], first: str
) -> tuple[list[ContenderResult], dict[tuple[int, int], PairedDifference]]:
    """Puts the contender first that is ahead of most others, then those that are the least behind it.

    Returns:
        The contenders in order, and (i, j) with i < j -> how j differs from i, in that order.
    """
    count = len(results)
    found = dict(all_singles([each.blocks for each in results]))
    found |= {(j, i): turned(difference) for (i, j), difference in found.items()}
    behind = np.zeros((count, count))  # of the one of the row, the one of the column
    for key, difference in found.items():
        behind[key] = difference.estimate
    known = [place for place, each in enumerate(results) if each.label == first]
    best = known[0] if known else int(np.argmax(np.sign(behind).sum(axis=1)))
    others = sorted((place for place in range(len(results)) if place != best), key=behind[best].__getitem__)
    order = [best, *others]
    singles = {(i, j): found[order[i], order[j]] for i, j in itertools.combinations(range(count), 2)}
    return [results[place] for place in order], singles


def _standings(finished: Sequence[ContenderResult], pairs: Pairs) -> list[Standing]:
    """How contenders that finished stand among each other, the best first."""
    apart = {key for key, pair in pairs.items() if pair.is_apart}
    # To be better than all others is a test of its own size: see `verdict`.
    with_best = [(0, place) for place in range(1, len(finished))]
    is_winner = beats_all(pairs[key] for key in with_best)
    if is_winner:
        apart |= set(with_best)
    beats_all_here = all(pairs[key].is_worse_here(adjusted=False) for key in with_best)
    worse = {place for (_, place) in with_best if pairs[0, place].is_worse(adjusted=not is_winner)}
    worse_here = {place for (_, place) in with_best if pairs[0, place].is_worse_here(adjusted=not beats_all_here)}
    groups = letters(len(finished), apart)
    mean_ranks = friedman([each.planned(each.blocks) for each in finished]).mean_ranks
    steps = _pairs_along(finished, [each.log_steps for each in finished])
    half = _pairs_along(finished, [each.half for each in finished])
    return [
        Standing(
            group,
            float(mean_rank),
            pairs.get((0, place)),
            place in worse,
            place in worse_here,
            steps.get((0, place)),
            half.get((0, place)),
        )
        for place, (group, mean_rank) in enumerate(zip(groups, mean_ranks, strict=True))
    ]


def _pairs_along(finished: Sequence[ContenderResult], quantities: Sequence[AlongCurve | None]) -> Pairs:
    """Compares a quantity of curves; nothing where one contender has none, or where different amounts are spent."""
    held = [each for each in quantities if each is not None]
    if len(held) < len(quantities) or len({each.at for each in held}) > 1:
        return {}
    return all_pairs([one.planned(each.values) for one, each in zip(finished, held, strict=True)], best_alone=True)
