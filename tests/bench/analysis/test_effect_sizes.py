"""How often a sentence about factors is wrong, and how often it finds what is there: whole runs, points to sentence."""

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import product
from typing import NamedTuple

import numpy as np
import pytest
import scipy.stats

from dlkit.bench.analysis.comparison import Comparison, compare_on
from dlkit.bench.plan.metric import Metric
from dlkit.bench.plan.planned import PlannedContender, PlannedProblem
from dlkit.bench.plan.policies import Tuner
from dlkit.bench.plan.space import Point
from dlkit.bench.plan.trials import Outcome, Trial
from tests.bench.synthetic import make_plan, make_problem, play, synthetic_outcome

LEVEL = 0.05
STARTS, TARGET = 10.0, 5.0
PROBLEM = make_problem(metric=Metric("lower", "linear", "error"), target=TARGET)
Levels = Mapping[str, str]
Noise = Callable[[np.random.Generator], float]


def grid(optimizers: int, norms: int) -> dict[str, Levels]:
    every = product(("adam", "sgd", "lion")[:optimizers], ("none", "batch", "layer")[:norms])
    return {f"{optimizer} {norm}": {"optimizer": optimizer, "norm": norm} for optimizer, norm in every}


class Truth(NamedTuple):
    """What is true of contenders whose score is a bowl over the learning rate, in standard deviations of a trial.

    Attributes:
        levels: of the contenders.
        gap: where a contender ends, by its levels.
        noise: what a seed has for all contenders, and what each trial has alone.
        diverging: share of trials that diverge.
        budget: studies, points a study, fresh seeds a study.
    """

    levels: Mapping[str, Levels]
    gap: Callable[[Levels], float] = lambda levels: 0.0
    noise: Noise = lambda rng: float(rng.normal())
    diverging: float = 0.0
    budget: tuple[int, int, int] = (10, 4, 2)


def main_effect(size: float) -> Callable[[Levels], float]:
    return lambda levels: -size * (levels["norm"] == "batch")


def crossing(size: float) -> Callable[[Levels], float]:
    """Batch normalization helps adam and harms sgd alike: on the mean neither it nor the optimizer does anything."""
    return lambda levels: size / 2 * (-1) ** ((levels["norm"] == "batch") + (levels["optimizer"] == "sgd"))


def heavy(rng: np.random.Generator) -> float:
    return float(rng.standard_t(2))


def run(truth: Truth, rng: np.random.Generator) -> Comparison:
    """Tunes and compares contenders, each with points of its own in every study."""
    studies, points, seeds = truth.budget

    def drawn() -> list[Point]:
        count = max(points, 1)
        return [Point({"learning_rate": float(10 ** rng.uniform(-3, 0)) if points else 0.03}, {}) for _ in range(count)]

    plan = make_plan(list(truth.levels), problems=[PROBLEM], points=max(points, 1), evaluations=20, tuning_seeds=1)
    contenders = [
        replace(
            each, levels=truth.levels[each.label], points=drawn(), further=tuple(drawn() for _ in range(1, studies))
        )
        for each in plan.contenders
    ]
    plan = replace(plan, contenders=contenders, seeds=seeds, tuner=Tuner(studies=studies))
    common: dict[tuple[str, int], float] = {}

    def train(problem: PlannedProblem, contender: PlannedContender, trial: Trial) -> Outcome:
        seed = common.setdefault((trial.stage, trial.seed), truth.noise(rng))
        off = math.log10(trial.hyperparameters["learning_rate"]) + 1.5
        end = 0.3 * off**2 + seed + truth.noise(rng) + truth.gap(contender.levels)
        reach = 0.4 * 10 ** (-0.5 * off + 0.1 * rng.normal())  # the share of the budget after which it is at the target
        curve = [*(STARTS - (STARTS - TARGET) * point / (20 * reach) for point in range(20)), end]
        values = [max(float(value), end) for value in curve]
        is_lost = trial.stage == "final" and rng.random() < truth.diverging
        return synthetic_outcome(problem, plan, trial, [*values[:2], math.nan] if is_lost else values)

    return compare_on(play(plan, train), PROBLEM)


def claims(comparison: Comparison) -> set[str]:
    """What is told about final scores and steps."""
    told = {f"{each.factor}: {each.final.claim}" for each in comparison.effects if each.final.claim}
    told |= {each.final.claim for each in comparison.effects if each.final.claim}
    told |= {"size of an effect" for each in comparison.effects if each.final.overall.is_shared and each.final.told}
    told |= {f"{each.steps.claim} in steps" for each in comparison.effects if each.steps and each.steps.claim}
    return told


def counted(runs: int, truth: Truth, *, seed: int = 0) -> Counter[str]:
    """In how many of so many runs each thing is told."""
    rng = np.random.default_rng([seed, runs])
    return Counter(told for _ in range(runs) for told in claims(run(truth, rng)))


def most(runs: int) -> int:
    """How many false sentences are within chance: a true rate of 5 % exceeds it once in a thousand test runs."""
    return int(scipy.stats.binom.ppf(0.999, runs, LEVEL))


EQUAL = {
    "2 x 2": Truth(grid(2, 2)),
    "2 x 3": Truth(grid(2, 3)),
    "2 x 2, heavy tails": Truth(grid(2, 2), noise=heavy),
    "2 x 3, 30 % diverge": Truth(grid(2, 3), diverging=0.3),
    "2 x 2, settings": Truth(grid(2, 2), budget=(1, 0, 10)),
}
QUICK, LONG = 30, 1000
SIZED = ("main effect", "interaction", "crossing", "size of an effect")
SIZED += tuple(f"{claim} in steps" for claim in SIZED[:3])


@pytest.mark.slow
@pytest.mark.parametrize("what", EQUAL)
def test_equal_levels_are_seldom_told_to_differ(what: str) -> None:
    found = counted(LONG, EQUAL[what])
    assert all(found[claim] <= most(LONG) for claim in SIZED), found


@pytest.mark.long
@pytest.mark.parametrize("what", ["2 x 2, heavy tails", pytest.param("2 x 3, 30 % diverge", marks=pytest.mark.slow)])
def test_equal_levels_are_seldom_told_to_differ_in_short(what: str) -> None:
    found = counted(QUICK, EQUAL[what])
    assert all(found[claim] <= most(QUICK) for claim in SIZED), found


@pytest.mark.long
@pytest.mark.parametrize("size", [pytest.param(0.7, marks=pytest.mark.slow), 2.0])
def test_a_crossing_without_main_effect_is_never_told_as_one(size: float) -> None:
    """Two standard deviations are found nearly always; smaller crossings leave room for estimates of one sign."""
    found = counted(QUICK, Truth(grid(2, 2), gap=crossing(size)))
    assert found["main effect"] <= most(QUICK)
    if size == 2.0:
        assert found["main effect"] == 0
        assert found["norm: crossing"] >= 0.8 * QUICK


@pytest.mark.long
def test_main_effects_of_two_standard_deviations_are_found() -> None:
    found = counted(QUICK // 2, Truth(grid(2, 3), gap=main_effect(2.0)))
    assert found["norm: main effect"] >= 0.9 * (QUICK // 2)
    assert found["norm: crossing"] == 0 and found["optimizer: main effect"] <= most(QUICK // 2)
