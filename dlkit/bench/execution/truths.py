"""Which claims are true in a simulated world, and how often sentences are wrong or right there."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dlkit.bench.analysis.claims import SENTENCES, Claim, Sentence, claims
from dlkit.bench.analysis.comparison import Comparison
from dlkit.bench.analysis.contender_result import ContenderResult
from dlkit.bench.execution.simulation import EVALUATIONS, World, judge, places_of, simulated_plan
from dlkit.bench.spec.budget import Budget

__all__ = ["FLAGS", "Shares", "count_claims", "is_true", "shares"]

Floats = np.ndarray[Any, Any]
OF_CURVES = ("faster", "flips", "factors, steps", "interactions, steps", "parts, steps")  # not of final values alone
TRUTH_DRAWS = 4000  # of a seed's noise, for what is true about steps to the target


def is_true(world: World, comparison: Comparison, claim: Claim) -> bool:
    """Returns whether a claim holds in a world.

    One about methods names the last contender, if that has an advantage. One about settings has to agree with the true
    means of the settings that were found; one about their speed, with what most seeds show. Levels of factors are taken
    as the mean of their contenders.
    """
    last = max((each.label for each in comparison.results), key=lambda label: int(label[1:]))
    if comparison.verdict.about == "methods":
        is_last = [label == last for label in (claim.ahead, claim.behind)]
        ahead = world.late * (is_last[1] - is_last[0]) if claim.sentence == "faster" else 0.0
        if claim.sentence != "faster" and not world.shuffled:
            ahead = world.advantage * (is_last[0] - is_last[1])
        return not claim.factor and ahead > 0
    differences = _difference(world, comparison, claim, last)
    if claim.sentence in ("interactions", "interactions, steps"):
        others = {each.contender.levels[claim.given[0]] for each in comparison.results} - {claim.given[1]}
        elsewhere = [claim._replace(given=(claim.given[0], level)) for level in others]
        differences = differences - np.mean([_difference(world, comparison, each, last) for each in elsewhere], axis=0)
    sums = differences[::2] + differences[1::2]  # over pairs of seeds: the pseudo-median's sign
    return bool(np.mean(sums < 0) > np.mean(sums > 0))


def _difference(world: World, comparison: Comparison, claim: Claim, last: str) -> Floats:
    """[seeds] What is said to be ahead less what is said to be behind, with the level of another factor given."""
    factor, level = claim.given
    there = [each for each in comparison.results if not factor or each.contender.levels[factor] == level]
    sides = []
    for name in (claim.ahead, claim.behind):
        found = [each for each in there if name in (each.label, each.contender.levels.get(claim.factor))]
        values = [_true_values(world, each, each.label == last, claim.sentence) for each in found]
        sides.append(np.mean(values, axis=0))
    difference: Floats = sides[0] - sides[1]
    return difference


def _true_values(world: World, result: ContenderResult, is_last: bool, sentence: Sentence) -> Floats:
    """[seeds] What a sentence is about, of the settings found: the same seeds for all contenders."""
    point = result.tuning.point
    assert point is not None
    places = np.broadcast_to(places_of(point.hyperparameters), (TRUTH_DRAWS, len(point.hyperparameters)))
    if sentence not in OF_CURVES:
        return np.asarray(replace(world, rounding=0.0).end(places[:2], is_last, 0.0, 0.0))
    seed = world.draw(np.random.default_rng(0), TRUTH_DRAWS)
    own = world.draw(np.random.default_rng([1, int(result.label[1:])]), TRUTH_DRAWS)
    curves = world.curves(places, is_last, seed, own)
    if sentence == "flips":
        half: Floats = curves[:, EVALUATIONS // 2]
        return half
    reached = curves <= (math.nan if world.target is None else world.target)
    return np.where(reached.any(axis=1), np.log2(np.maximum(2.0 * reached.argmax(axis=1), 1.0)), 1e9)


@dataclass(frozen=True)
class Shares:
    """How often sentences were wrong or right over repetitions.

    Attributes:
        repeats: how many repetitions there were.
        wrong: sentence -> in how many it made a claim that is not true; ``"any"`` for any sentence.
        right: sentence -> in how many it made claims, all of them true.
        flags: words of a flag -> share of the contenders that have it.
        blocks: mean number of blocks of a contender.
    """

    repeats: int
    wrong: Mapping[str, int]
    right: Mapping[str, int]
    flags: Mapping[str, float]
    blocks: float

    def __add__(self, other: "Shares") -> "Shares":
        total = self.repeats + other.repeats

        def mean(ours: float, theirs: float) -> float:
            return (ours * self.repeats + theirs * other.repeats) / total

        return Shares(
            total,
            {name: count + other.wrong[name] for name, count in self.wrong.items()},
            {name: count + other.right[name] for name, count in self.right.items()},
            {name: mean(share, other.flags[name]) for name, share in self.flags.items()},
            mean(self.blocks, other.blocks),
        )


FLAGS = {"edge": "edge of its space", "too few": "points trained", "falling": "still falling"}


def shares(world: World, budget: Budget, *, repeats: int, first: int = 0, **planned: Any) -> Shares:
    """Plays a plan again and again, with other points and noise, and counts which sentences are wrong or right.

    Args:
        world: where.
        budget: what each contender gets.
        repeats: how often.
        first: number of the first repetition; the others follow.
        **planned: further arguments of `simulated_plan`.

    Returns:
        The counts.
    """
    total = None
    for number in range(first, first + repeats):
        plan = simulated_plan(world, budget, first_study=1000 * number, **planned)
        comparison = judge(world, plan, np.random.default_rng([20_250_101, number]))
        counted = count_claims(world, comparison)
        total = counted if total is None else total + counted
    assert total is not None
    return total


def count_claims(world: World, comparison: Comparison) -> Shares:
    """Counts the sentences of one comparison that are wrong or right.

    Args:
        world: where it was made.
        comparison: of contenders x0, x1, ...

    Returns:
        The counts of one repetition.
    """
    truths: dict[str, list[bool]] = {name: [] for name in SENTENCES}
    for claim in claims(comparison):
        truths[claim.sentence].append(is_true(world, comparison, claim))
    every = {**truths, "any": [truth for found in truths.values() for truth in found]}
    results = comparison.results
    flags = {
        name: sum(any(words in flag for flag in each.flags) for each in results) / len(results)
        for name, words in FLAGS.items()
    }
    return Shares(
        1,
        {name: int(not all(found)) for name, found in every.items()},
        {name: int(bool(found) and all(found)) for name, found in every.items()},
        flags,
        float(np.mean([len(each.blocks) for each in results])),
    )
