"""What levels of factors do: closed forms on made-up curves, and how often equal levels are called different."""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import scipy.stats

from dlkit.bench.analysis.comparison import Comparison, compare_on
from dlkit.bench.analysis.effects import Effect, sentence
from dlkit.bench.plan.metric import Metric
from dlkit.bench.plan.plan import Plan, PlannedContender, PlannedProblem
from dlkit.bench.plan.trials import Outcome, Trial
from dlkit.bench.report.tables import factor_findings, factors
from tests.bench.synthetic import make_plan, make_problem, play, synthetic_outcome

GRID = {
    f"{optimizer} {activation} {norm}": {"optimizer": optimizer, "activation": activation, "norm": norm}
    for optimizer in ("adam", "sgd")
    for activation in ("relu", "tanh")
    for norm in ("none", "batch")
}
Ends = Callable[[Mapping[str, str], Trial], float]


def plan_of(
    levels: Mapping[str, Mapping[str, str]], *, problem: PlannedProblem, points: int = 1, seeds: int = 8
) -> Plan:
    plan = make_plan(list(levels), problems=[problem], points=points, evaluations=20, tuning_seeds=1, seeds=seeds)
    contenders = [replace(each, levels=levels[each.label]) for each in plan.contenders]
    return replace(plan, contenders=contenders)


def compared(levels: Mapping[str, Mapping[str, str]], curve: Callable[..., list[float]], **more: Any) -> Comparison:
    """A comparison of contenders whose curves are given by levels, trial and point of the curve."""
    problem = more.pop("problem", None) or make_problem(metric=Metric("lower", "linear", "error"), target=0.5)
    plan = plan_of(levels, problem=problem, **more)

    def train(problem: PlannedProblem, contender: PlannedContender, trial: Trial) -> Outcome:
        return synthetic_outcome(problem, plan, trial, curve(contender.levels, trial))

    return compare_on(play(plan, train), problem)


def found(comparison: Comparison) -> dict[str, Effect]:
    return {each.factor: each for each in comparison.effects}


def falling(reach: float, end: float) -> list[float]:
    """From 1 in a line through 0.5 at a share of the budget, and at its end suddenly at another value."""
    return [*(max(1 - 0.5 * point / (20 * reach), 0.0) for point in range(20)), end]


def test_effects_are_those_that_the_curves_have() -> None:
    def curve(levels: Mapping[str, str], trial: Trial) -> list[float]:
        noise = 0.1 * math.sin(3 * trial.seed)  # the seed's, the same for all
        batch, tanh = levels["norm"] == "batch", levels["activation"] == "tanh"
        own = 0.001 * math.cos(11 * trial.seed + len(levels["optimizer"]) + 5 * tanh)
        return falling(0.25 if batch else 0.5, 0.3 + noise + own - 0.05 * batch + (0.04 if tanh else 0.0))

    comparison = compared(GRID, curve)
    effects = found(comparison)
    norm, activation, optimizer = effects["norm"], effects["activation"], effects["optimizer"]
    assert (norm.level, norm.baseline, norm.pairs, norm.agreeing) == ("batch", "none", 4, 4)
    assert norm.final.estimate == pytest.approx(-0.05, abs=1e-6) and norm.differs and norm.is_faster
    assert norm.ratio.estimate == pytest.approx(0.5) and norm.ratio.low == norm.ratio.high == norm.ratio.estimate
    assert activation.final.estimate == pytest.approx(0.04, abs=2e-3) and activation.differs
    assert activation.ratio.estimate == 1 and not activation.is_faster
    assert not optimizer.differs and abs(optimizer.final.estimate) < 2e-3
    # 5 comparisons in one family: three of final values and three of steps, the smallest first.
    assert norm.final_p == pytest.approx(6 * 2 * 0.5**8)
    found_sentences = factor_findings(comparison)
    assert found_sentences[2] == (
        "norm: batch, against none, reaches 0.500 ×2.00 sooner [2.00, 2.00] and ends better, by −0.050 [−0.050, "
        "−0.050] in error (over 4 pairs of contenders; 4 of them agree on which ends better)."
    )
    assert found_sentences[0].startswith("optimizer: sgd and adam cannot be told apart (over 4 pairs")
    table = factors(comparison)
    assert [row[:3] for row in table.rows][2] == ["norm", "batch", "none"] and len(table.rows) == 3


def test_a_factor_that_helps_one_and_harms_another_is_no_effect() -> None:
    def curve(levels: Mapping[str, str], trial: Trial) -> list[float]:
        sign = 1 if levels["activation"] == "relu" else -1
        noise = 0.01 * math.sin(7 * trial.seed + (levels["norm"] == "batch"))
        return falling(0.5, 0.3 + noise + (0.1 * sign if levels["norm"] == "batch" else 0.0))

    norm = found(compared(GRID, curve))["norm"]
    assert norm.agreeing == 2 and norm.pairs == 4 and not norm.differs


def test_levels_are_matched_where_all_else_is_equal() -> None:
    levels = {
        "a": {"optimizer": "adam"},
        "b": {"optimizer": "adam", "norm": "batch"},
        "c": {"optimizer": "sgd", "norm": "layer"},  # no partner: it differs in two
    }

    def curve(levels: Mapping[str, str], trial: Trial) -> list[float]:
        return falling(0.5, 0.3 - 0.1 * (levels.get("norm") == "batch") + 0.01 * math.sin(trial.seed))

    problem = replace(make_problem(target=0.5), choices={"norm": "none"})
    (norm,) = compared(levels, curve, problem=problem).effects
    assert (norm.factor, norm.level, norm.baseline, norm.pairs) == ("norm", "batch", "none", 1)
    assert not compared({name: {"optimizer": name} for name in "abc"}, curve).effects


def test_a_gap_that_tuning_could_make_is_told_as_one() -> None:
    def curve(levels: Mapping[str, str], trial: Trial) -> list[float]:
        off = math.log10(trial.hyperparameters["learning_rate"]) + 1.5  # two of the points are good, three are not
        noise = 0.4 * math.sin(37 * trial.seed * (2 + len(levels["norm"])) + 5 * off)
        return falling(0.5, 0.3 + 2 * off**2 + noise + (0.33 if levels["norm"] == "batch" else 0.0))

    comparison = compared(SINGLE, curve, points=5, seeds=12)
    norm = found(comparison)["norm"]
    assert norm.final_p <= 0.05 < norm.luck and not norm.differs
    assert "norm: batch, against none, ends worse, by +0.3" in factor_findings(comparison)[0]
    assert "but tuning could set equals so far apart by luck; use more tuning seeds." in factor_findings(comparison)[0]


def test_missed_targets_and_diverged_seeds_are_worse_than_any_number() -> None:
    def curve(levels: Mapping[str, str], trial: Trial) -> list[float]:
        if levels["norm"] == "batch" and trial.stage == "final" and trial.seed < 7:
            return [*falling(2.0, 0.9)[:4], math.nan]
        return falling(0.5, 0.3 + 0.01 * math.sin(trial.seed))

    norm = found(compared(GRID, curve))["norm"]
    assert norm.final.losses == 7 and norm.final.ties == 1 and norm.ratio.estimate == math.inf
    assert norm.final.estimate == math.inf and not norm.is_faster


def test_schedules_do_not_compare_before_their_end() -> None:
    levels = {"constant": {"optimizer": "adam", "schedule": "constant"}}
    levels["cosine"] = {"optimizer": "adam", "schedule": "cosine"}
    problem = make_problem(target=0.5)
    plan = plan_of(levels, problem=problem)
    plan = replace(plan, contenders=[replace(each, schedule=each.levels["schedule"]) for each in plan.contenders])
    history = play(plan, lambda problem, contender, trial: synthetic_outcome(problem, plan, trial, falling(0.5, 0.3)))
    (schedule,) = compare_on(history, problem).effects
    assert math.isnan(schedule.ratio.estimate) and schedule.ratio_p == 1 and not schedule.is_faster
    assert sentence(problem, schedule, 0.5) == "schedule: cosine and constant cannot be told apart."


def false_calls(studies: int, levels: Mapping[str, Mapping[str, str]], *, points: int, seeds: int) -> int:
    """How many of so many studies of equal levels call one of them better or faster.

    A learning rate decides how good and how fast training is; tuning picks one by a single noisy seed.
    """
    rng = np.random.default_rng(studies + points)
    calls = 0
    for _ in range(studies):
        common: dict[tuple[str, int], float] = {}

        def curve(
            levels: Mapping[str, str], trial: Trial, common: dict[tuple[str, int], float] = common
        ) -> list[float]:
            seed = common.setdefault((trial.stage, trial.seed), rng.normal())
            off = math.log10(trial.hyperparameters["learning_rate"]) + 1.5
            end = 0.3 * off**2 + seed + rng.normal()
            reach = 0.4 * 10 ** (-0.5 * off + 0.05 * rng.normal())
            return [float(max(10 - 5 * point / (20 * reach), end)) for point in range(20)] + [float(end)]

        problem = make_problem(metric=Metric("lower", "linear", "error"), target=5.0)
        comparison = compared(levels, curve, problem=problem, points=points, seeds=seeds)
        calls += any(each.differs or each.is_faster for each in comparison.effects)
    return calls


def most(studies: int) -> int:
    """How many calls are within chance at 5 %: a true rate of that exceeds it once in a thousand test runs."""
    return int(scipy.stats.binom.ppf(0.999, studies, 0.05))


SMALL = {name: levels for name, levels in GRID.items() if levels["optimizer"] == "adam"}
SINGLE = {name: {**levels, "activation": "relu"} for name, levels in list(GRID.items())[:2]}


@pytest.mark.long
@pytest.mark.parametrize("levels", [SINGLE, SMALL], ids=["one pair", "two factors"])
def test_equal_levels_are_seldom_called_different(levels: Mapping[str, Mapping[str, str]]) -> None:
    assert false_calls(100, levels, points=8, seeds=8) <= most(100)


@pytest.mark.slow
@pytest.mark.parametrize("points", [6, 16])
@pytest.mark.parametrize("levels", [SINGLE, SMALL, GRID], ids=["one pair", "two factors", "three factors"])
def test_equal_levels_are_seldom_called_different_in_long(levels: Mapping[str, Mapping[str, str]], points: int) -> None:
    assert false_calls(1000, levels, points=points, seeds=10) <= most(1000)
