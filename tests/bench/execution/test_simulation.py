"""Simulated worlds: what trials come to, what is true there, plays of plans, and blocks against whole plays."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import scipy.stats

from benchmarks.block_simulation import block_shares, power_of_means, settlements
from benchmarks.claims import BENT, SIZES
from dlkit.bench.analysis.claims import Claim, claims
from dlkit.bench.errors import UserError
from dlkit.bench.execution.simulation import REACH, World, judge, play, simulated_plan, training
from dlkit.bench.execution.truths import is_true, shares
from dlkit.bench.spec.budget import Budget
from dlkit.bench.tuning.winner import tune

FEW = Budget(studies=3, tuning_points=2, seeds=2)


def rng_of(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


# --- worlds ----------------------------------------------------------------------------------------------------------


def test_a_trial_ends_at_the_bowl_plus_the_noise_of_its_seed_and_its_own() -> None:
    world = World(dimensions=2, curvature=0.5, shared=2.0, uneven=3.0, advantage=0.25)
    places = np.array([[1.0, -2.0], [0.0, 0.0]])
    np.testing.assert_allclose(world.end(places, False, 1.0, 0.5), [0.5 * 5 + 2.5, 2.5])
    np.testing.assert_allclose(world.end(places, True, 1.0, 0.5), [0.5 * 5 + 3.5 - 0.25, 3.25])
    curves = world.curves(places, True, 1.0, 0.5)
    np.testing.assert_allclose(curves[:, -1], world.end(places, True, 1.0, 0.5))
    np.testing.assert_allclose(curves[:, 0], 10.0)
    assert (np.diff(curves) < 0).all()


def test_worlds_round_and_forbid() -> None:
    assert World(rounding=1.0).end(np.zeros((1, 1)), False, 0.4, 0.3) == 1.0
    world = World(forbidden=0.25)
    points = rng_of().uniform(-REACH, REACH, (20_000, 1))
    assert np.mean(world.is_forbidden(points)) == pytest.approx(0.25, abs=0.015)
    assert not world.is_forbidden(np.array([[0.9]])) and world.is_forbidden(np.array([[1.1]]))


@pytest.mark.parametrize("noise", ["normal", "lognormal"])
def test_noise_has_a_standard_deviation_of_1(noise: Any) -> None:
    assert np.std(World(noise=noise).draw(rng_of(), 400_000)) == pytest.approx(1.0, rel=0.05)


# --- plays -----------------------------------------------------------------------------------------------------------


def test_a_play_tunes_each_study_on_points_and_seeds_of_its_own_and_judges_its_winner() -> None:
    world = World()
    plan = simulated_plan(world, FEW, contenders=2)
    history = play(plan, training(world, plan, rng_of()))
    (problem,) = plan.problems
    assert len(history.outcomes) == 2 * 3 * (2 + 2)
    for contender in plan.contenders:
        points = [contender.points_of(study) for study in range(3)]
        assert len({tuple(each.hyperparameters.values()) for row in points for each in row}) == 6
        for study in range(3):
            winner = tune(history, problem, contender, study=study).point
            finals = history.final_trials(problem, contender, winner, study=study)  # type: ignore[arg-type]
            assert all(trial.id in history.outcomes for trial in finals)
            assert [trial.seed for trial in finals] == [plan.first_seed(study), plan.first_seed(study) + 1]
    ours, theirs = plan.contenders
    assert ours.points != theirs.points


def test_contenders_share_what_a_seed_has() -> None:
    world = World(shared=100.0, curvature=0.0)
    comparison = judge(world, simulated_plan(world, Budget(studies=6)), rng_of())
    ours, theirs = (each.blocks for each in comparison.results)
    assert np.std(ours) > 20 and np.std(ours - theirs) < 5


def test_names_change_places_in_whole_studies() -> None:
    world = World(shuffled=True, advantage=1000.0, curvature=0.0)
    comparison = judge(world, simulated_plan(world, Budget(studies=12, tuning_points=1)), rng_of())
    ours, theirs = (each.scores.reshape(12, 2) for each in comparison.results)
    signs = np.sign(ours - theirs)
    assert (signs[:, 0] == signs[:, 1]).all() and abs(signs[:, 0].sum()) < 12


def test_what_diverges_does_not_win() -> None:
    world = World(forbidden=0.5, curvature=-5.0)  # the best of what trains is at the lower end
    comparison = judge(world, simulated_plan(world, Budget(studies=6)), rng_of())
    for each in comparison.results:
        assert all(study.tuning.point.hyperparameters["x0"] < 0 for study in each.studies if study.tuning.point)


def test_a_plan_has_all_of_its_budget_or_refuses_it() -> None:
    plan = simulated_plan(World(dimensions=2), Budget(tuner="zoom", tuning_batch=2, objective="area", tuning_points=8))
    assert (plan.tuner.name, plan.tuner.batch, plan.tuner.objective) == ("zoom", 2, "area")
    assert [(each.undrawn, list(each.points)) for each in plan.contenders] == [(8, [])] * 2
    each_dimension = simulated_plan(World(dimensions=2), Budget(tuning_points_per_dimension=3))
    assert [len(each.points) for each in each_dimension.contenders] == [6, 6]
    counts = simulated_plan(World(dimensions=2), Budget(tuner="grid", tuning_points=6, grid={"x0": 3, "x1": 2}))
    assert counts.tuner.grid == {"x0": 3, "x1": 2} and len(counts.contenders[0].points) == 6
    for refused in ({"tuning_seconds": 2.0}, {"trial_seconds": 1.0}, {"evaluations": 10}, {"first_study": 3}):
        with pytest.raises(UserError, match=f"a simulated plan has no budget.{next(iter(refused))} = "):
            simulated_plan(World(), Budget(**refused))  # type: ignore[arg-type]


def test_a_play_tunes_for_the_objective() -> None:
    """The area under the curve is least where training is fastest, final values where the bowl is lowest."""
    world = World(trade=3.0, curvature=1.0, shared=0.0, rate_noise=0.0)
    found = {}
    for objective in ("final", "area"):
        budget = Budget(studies=1, tuning_points=16, objective=objective)
        comparison = judge(world, simulated_plan(world, budget), rng_of())
        found[objective] = [each.tuning.point.hyperparameters["x0"] for each in comparison.results]  # type: ignore[union-attr]
    assert min(found["area"]) > max(found["final"])


# --- truth -----------------------------------------------------------------------------------------------------------


def test_claims_about_methods_are_true_of_the_one_with_the_advantage_alone() -> None:
    planted, equal = World(advantage=5.0), World()
    comparison = judge(planted, simulated_plan(planted, Budget()), rng_of())
    found = claims(comparison)
    assert Claim("winner", "x1", "x0") in found and Claim("groups", "x1", "x0") in found
    assert all(is_true(planted, comparison, claim) for claim in found if claim.sentence in ("winner", "groups"))
    assert not any(is_true(equal, comparison, claim) for claim in found)
    assert not is_true(planted, comparison, Claim("winner", "x0", "x1"))


def test_claims_about_settings_are_true_where_the_settings_differ_so() -> None:
    world = World(curvature=3.0, dimensions=3)
    comparison = judge(world, simulated_plan(world, Budget(studies=1, tuning_points=2)), rng_of(3))
    ends = {
        each.label: sum(3.0 * x * x for x in each.tuning.point.hyperparameters.values())  # type: ignore[union-attr]
        for each in comparison.results
    }
    better, worse = sorted(ends, key=ends.__getitem__)
    assert comparison.verdict.about == "settings"
    assert is_true(world, comparison, Claim("winner", better, worse))
    assert not is_true(world, comparison, Claim("winner", worse, better))
    flat = replace(world, curvature=0.0)
    assert not is_true(flat, comparison, Claim("winner", better, worse))


def test_a_setting_that_trains_faster_is_truly_faster() -> None:
    world = World(trade=2.0, curvature=0.0)
    comparison = judge(world, simulated_plan(world, Budget(studies=1)), rng_of(1))
    rates = {each.label: each.tuning.point.hyperparameters["x0"] for each in comparison.results}  # type: ignore[union-attr]
    slow, fast = sorted(rates, key=rates.__getitem__)
    assert is_true(world, comparison, Claim("faster", fast, slow))
    assert not is_true(world, comparison, Claim("faster", slow, fast))


def test_parts_of_interactions_are_about_one_level_of_the_other_factor() -> None:
    """What batch does with adam, whatever it does with sgd; of methods that are equal no part is true."""
    levels = [{"optimizer": name, "norm": norm} for name in ("adam", "sgd") for norm in ("none", "batch")]
    world = World(curvature=3.0)
    single = Budget(studies=1, tuning_points=2)
    comparison = judge(world, simulated_plan(world, single, factors=levels, first_study=3), rng_of(2))
    ends = {}
    for each in comparison.results:
        point = each.tuning.point
        assert point is not None
        ends[tuple(each.contender.levels.values())] = 3.0 * point.hyperparameters["x0"] ** 2
    for name in ("adam", "sgd"):
        given, is_better = ("optimizer", name), ends[name, "batch"] < ends[name, "none"]
        assert is_true(world, comparison, Claim("parts", "batch", "none", "norm", given)) == is_better
        assert is_true(world, comparison, Claim("parts", "none", "batch", "norm", given)) != is_better
    several = judge(world, simulated_plan(world, FEW, factors=levels), rng_of(2))
    for sentence in ("parts", "parts, steps"):
        for sides in (("batch", "none"), ("none", "batch")):
            assert not is_true(world, several, Claim(sentence, *sides, "norm", ("optimizer", "adam")))


# --- shares ----------------------------------------------------------------------------------------------------------


def test_shares_add_up() -> None:
    whole = shares(World(advantage=2.0), FEW, repeats=4)
    halves = shares(World(advantage=2.0), FEW, repeats=2) + shares(World(advantage=2.0), FEW, repeats=2, first=2)
    assert whole == halves and whole.repeats == 4 and whole.blocks == 3


def agree(ours: int, of: int, theirs: int, of_them: int) -> bool:
    table = [[ours, of - ours], [theirs, of_them - theirs]]
    return bool(scipy.stats.fisher_exact(table).pvalue > 1e-3)


@pytest.mark.long
@pytest.mark.parametrize("studies", [pytest.param(10, marks=pytest.mark.slow), 1])
def test_blocks_come_to_what_whole_plays_do(studies: int) -> None:
    world, budget = World(advantage=1.0, late=0.5), Budget(studies=studies, tuning_points=4)
    whole, blocks = shares(world, budget, repeats=60), block_shares(world, budget, repeats=200)
    for name in ("winner", "groups", "faster"):
        assert agree(whole.right[name], 60, blocks.right[name], 200), (name, whole.right, blocks.right)
        assert agree(whole.wrong[name], 60, blocks.wrong[name], 200), (name, whole.wrong, blocks.wrong)


@pytest.mark.long
def test_settling_at_once_comes_to_what_added_studies_do() -> None:
    world, budget, most = World(advantage=1.5), Budget(studies=4), 16
    added = block_shares(world, budget, repeats=60, max_studies=most)
    at_once = settlements(world, budget, most=most, contenders=2, repeats=200)
    assert agree(added.right["winner"], 60, round(200 * at_once.right), 200)
    assert added.blocks == pytest.approx(at_once.blocks, abs=1.5) and 6 < at_once.blocks < most
    alike = settlements(World(), budget, most=most, contenders=2, repeats=100)
    assert alike.right == 0 and alike.wrong <= 0.15 and alike.blocks > at_once.blocks


def test_power_of_means_is_that_of_the_sign_flip_test_without_tuning() -> None:
    """With one flat point study means differ by the advantage and noise of variance 2 / 2: about a paired t-test."""
    world, budget = World(curvature=0.0, advantage=1.0), Budget(studies=10, tuning_points=1, seeds=2)
    shift = math.sqrt(10.0)
    low, high = scipy.stats.t.ppf([0.025, 0.975], 9)
    expected = 1 - scipy.stats.nct.cdf(high, 9, shift) + scipy.stats.nct.cdf(low, 9, shift)
    assert power_of_means(world, budget, repeats=3000) == pytest.approx(expected, abs=0.04)


@pytest.mark.slow
@pytest.mark.parametrize("studies", [10, 1])
@pytest.mark.parametrize(
    "case", [case for case in SIZES if "contenders" not in case.planned], ids=lambda case: case.label
)
def test_no_sentence_tells_equals_apart_too_often(case: Any, studies: int) -> None:
    found = block_shares(case.world, case.of(studies), repeats=400, **case.planned)
    limit = scipy.stats.binom.ppf(1 - 1e-4, 400, 0.05)
    assert all(count <= limit for name, count in found.wrong.items() if name != "any"), found


@pytest.mark.slow
def test_one_that_is_faster_and_one_that_ends_better_are_told() -> None:
    found = block_shares(BENT, Budget(), repeats=60)
    assert found.right["winner"] >= 50 and found.right["faster"] >= 40
