"""Whether a difference on one test set holds on new examples: over blocks and examples, both as samples."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from dlkit.bench.plan.planned import PlannedProblem
from dlkit.bench.plan.trials import Outcome
from dlkit.bench.stats import CrossedDifference, crossed_difference, examples_needed, holm

__all__ = ["NewExamples", "block_scores", "on_new_examples"]

Floats = np.ndarray[Any, Any]


class NewExamples(NamedTuple):
    """How a contender differs from another one on new examples; lower is better.

    Attributes:
        difference: its scores less the other's, over blocks and test examples.
        adjusted_p: by Holm, over all pairs of contenders.
        examples: how many were looked at; of very many test examples a share.
    """

    difference: CrossedDifference
    adjusted_p: float
    examples: int

    def is_sure(self, estimate: float, level: float, *, adjusted: bool) -> bool:
        """Returns whether there is a difference on new examples, of the sign of the one on these.

        Args:
            estimate: of the difference on these examples.
            level: what p-values may be at most.
            adjusted: whether all pairs are asked about.
        """
        p_value = self.adjusted_p if adjusted else self.difference.p_value
        return p_value <= level and self.difference.estimate * estimate > 0

    @property
    def needed(self) -> tuple[float, bool]:
        """How many examples would show a difference of this size, and whether more blocks can; see `stats`."""
        return examples_needed(self.difference, self.examples)


def block_scores(problem: PlannedProblem, blocks: Sequence[Sequence[Outcome]]) -> Floats | None:
    """Returns each block's score of each test example, oriented: lower is better.

    Args:
        problem: what was trained.
        blocks: the final trials of each block.

    Returns:
        [blocks, examples] the means over a block's trials; NaN of a block of which a trial diverged, and so has no
        scores. None where no block has any, and where a trial that did not diverge has none: nothing is known then.
    """
    if any(outcome.example_scores is None and outcome.status != "diverged" for block in blocks for outcome in block):
        return None
    each = [[outcome.example_scores for outcome in block] for block in blocks]
    sizes = {len(scores) for block in each for scores in block if scores is not None}
    if len(sizes) != 1 or problem.judged.scale == "log":
        return None
    table = np.full((len(blocks), *sizes), np.nan)
    for line, block in zip(table, each, strict=True):
        there = [scores for scores in block if scores is not None]
        if there and len(there) == len(block):
            line[:] = np.mean(there, axis=0, dtype=np.float64)
    return -table if problem.judged.higher_is_better else table


def on_new_examples(
    scores: Sequence[Floats | None], keys: Sequence[tuple[int, int]], *, level: float, adds_blocks: bool = False
) -> Mapping[tuple[int, int], NewExamples]:
    """Compares contenders on new examples.

    Diverged blocks have no scores, and are as bad on any examples. A pair is compared over the others, where they are
    more than half: fewer divergences make no difference by themselves.

    Where blocks are added until one contender is best, they end when a difference looks large. There p-values are
    doubled, and intervals as much wider: of differences that are none on new examples up to 6.5 % are told, instead of
    9 % (simulated).

    Args:
        scores: [contenders] each [blocks, examples], from `block_scores`; where one has fewer blocks, the others' first
            ones count.
        keys: (i, j): which pairs are asked about.
        level: of the intervals.
        adds_blocks: whether blocks were added by a look at them.

    Returns:
        (i, j) -> how j differs from i, for those that can be told.
    """
    looks = 2 if adds_blocks else 1
    one_level = 1 - (1 - level) / looks
    found = {key: each for key in keys if (each := _difference(scores[key[1]], scores[key[0]], one_level)) is not None}
    if not found:
        return {}
    p_values = [min(1.0, looks * each.p_value) for each, _ in found.values()]
    return {
        key: NewExamples(difference._replace(p_value=p_value), float(adjusted), examples)
        for (key, (difference, examples)), p_value, adjusted in zip(
            found.items(), p_values, holm(p_values), strict=True
        )
    }


def _difference(ours: Floats | None, theirs: Floats | None, level: float) -> tuple[CrossedDifference, int] | None:
    if ours is None or theirs is None or ours.shape[1] != theirs.shape[1]:
        return None
    blocks = min(len(ours), len(theirs))
    gaps = ours[:blocks] - theirs[:blocks]
    finite = gaps[np.isfinite(gaps).all(axis=1)]
    if len(finite) <= math.floor(blocks / 2):
        return None
    return crossed_difference(finite, level=level), gaps.shape[1]
