"""A problem's contenders ranked: differences to the best, groups that are not told apart, mean ranks."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from dlkit.bench.analysis.along_curves import AlongCurve, Floats
from dlkit.bench.analysis.contender_result import ContenderResult
from dlkit.bench.analysis.pairs import ALPHA, LEVEL, Pair, Pairs, all_pairs, beats_all, curve_luck, letters, score_luck
from dlkit.bench.stats import NestedMean, PairedDifference, crossed_mean, friedman

__all__ = ["Judge", "Ranked", "Ranking", "Standing", "compared"]

Judge = Callable[[ContenderResult, ContenderResult, Pair], Pair]
"""``judge(best, other, pair) -> pair``: how a contender differs from a better one, by other numbers."""


class Standing(NamedTuple):
    """How a contender stands among the others that finished.

    Attributes:
        group: letters; contenders that share one are not told apart by Holm-adjusted tests of all pairs, or by no more
            than the luck of tuning. A winner shares its letter with none.
        mean_rank: of its final scores among the contenders', over seeds; 1 is the best.
        to_best: its final scores less the best one's; None for the best.
        steps_ratio: log2 of its steps to target less the best one's; None for the best, or where they do not compare.
        half: its scores at half of the budget less the best one's; likewise.
        across: the mean of its final scores over all studies and seeds, oriented; None with one study.
        across_difference: of its final scores less the best one's, likewise; None for the best.
    """

    group: str
    mean_rank: float
    to_best: Pair | None
    steps_ratio: Pair | None
    half: Pair | None
    across: NestedMean | None
    across_difference: NestedMean | None


@dataclass(frozen=True, eq=False)
class Ranked:
    """A contender that finished: its own numbers, and how it stands among the others."""

    result: ContenderResult
    standing: Standing

    @property
    def label(self) -> str:
        """The contender's label."""
        return self.result.label


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

    P-values are Holm-adjusted over all pairs of contenders, of final scores, of steps to target and of scores at half
    of the budget, each family by itself.

    Args:
        results: of one problem; those that did not finish go last, in the order given.
        first: label of a contender that is known to be best, whatever medians say; empty if there is none.
        judge: replaces the numbers of a pair; None to keep those of the signed-rank test.

    Returns:
        The ranking, best median final score first; fewer steps to target break ties.
    """
    finished = sorted(
        (each for each in results if each.is_comparable),
        key=lambda each: (each.label != first, float(np.median(each.scores)), float(np.median(each.steps_to_target))),
    )
    rest = [each for each in results if not each.is_comparable]
    if len(finished) < 2:
        return Ranking((), [*finished, *rest])

    def luck(i: int, j: int, difference: PairedDifference) -> float:
        seeds = min(len(finished[place].scores) for place in (i, j))
        return score_luck(finished[j].tuning, finished[i].tuning, difference, seeds)

    pairs = all_pairs([each.scores for each in finished], luck)
    if judge is not None:
        pairs = {(i, j): judge(finished[i], finished[j], pair) for (i, j), pair in pairs.items()}
    return Ranking(list(map(Ranked, finished, _standings(finished, pairs))), rest)


def _standings(finished: Sequence[ContenderResult], pairs: Pairs) -> list[Standing]:
    """How contenders that finished stand among each other, the best first."""
    apart = {key for key, pair in pairs.items() if pair.is_apart}
    # To be better than all others is a test of its own size: see `verdict`.
    with_best = [(0, place) for place in range(1, len(finished))]
    if beats_all(pairs[key] for key in with_best):
        apart |= set(with_best)
    groups = letters(len(finished), apart)
    mean_ranks = friedman([each.planned(each.scores) for each in finished]).mean_ranks
    steps = _pairs_along(finished, [each.log_steps for each in finished], pairs)
    half = _pairs_along(finished, [each.half for each in finished], pairs)
    studies = [_over_studies(each) for each in finished]
    best = studies[0]
    found = []
    for place, (group, mean_rank, scores) in enumerate(zip(groups, mean_ranks, studies, strict=True)):
        across = None if scores is None else crossed_mean(scores, level=LEVEL)
        to_best = None if place == 0 or scores is None or best is None else crossed_mean(scores - best, level=LEVEL)
        key = (0, place)
        found.append(Standing(group, float(mean_rank), pairs.get(key), steps.get(key), half.get(key), across, to_best))
    return found


def _pairs_along(finished: Sequence[ContenderResult], quantities: Sequence[AlongCurve | None], scores: Pairs) -> Pairs:
    """Compares a quantity of curves; nothing where one contender has none, or where it is taken at different steps.

    The luck of tuning, which takes milliseconds, is only asked for where it matters: of differences to the best.
    """
    held = [each for each in quantities if each is not None]
    if len(held) < len(quantities) or len({each.step for each in held}) > 1:
        return {}

    def luck(i: int, j: int, difference: PairedDifference) -> float:
        if i > 0 or difference.p_value > ALPHA:
            return 1.0
        ours, theirs = ((finished[place].tuning, held[place]) for place in (j, i))
        return curve_luck(ours, theirs, scores[i, j].difference)

    return all_pairs([one.planned(each.values) for one, each in zip(finished, held, strict=True)], luck)


def _over_studies(result: ContenderResult) -> Floats | None:
    """[studies, seeds] A contender's final scores; None with one study, or where some diverged or are missing."""
    studies = [result.planned(result.scores), *(each.scores for each in result.repetitions)]
    if len(studies) == 1 or any(len(each) != len(studies[0]) for each in studies):
        return None
    scores = np.array(studies, np.float64)
    return scores if np.isfinite(scores).all() else None
