"""What levels of factors do: closed forms on made-up curves, and what is told of levels whose doubts are made up."""

import itertools
import math
import zlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import scipy.stats

from dlkit.bench.analysis import frames
from dlkit.bench.analysis.claims import Claim, claims
from dlkit.bench.analysis.comparison import Comparison, compare_on
from dlkit.bench.analysis.effect_sentences import sentences
from dlkit.bench.analysis.effects import Effect, effects
from dlkit.bench.analysis.factor_pairs import Match, contrasts
from dlkit.bench.plan.metric import Metric
from dlkit.bench.plan.plan import Plan
from dlkit.bench.plan.planned import PlannedContender, PlannedProblem
from dlkit.bench.plan.policies import Tuner
from dlkit.bench.plan.trials import Outcome, Trial
from dlkit.bench.report.tables import factor_findings, factors
from dlkit.bench.stats import family_p_values
from tests.bench.synthetic import make_plan, make_problem, play, synthetic_outcome

GRID = {
    f"{optimizer} {activation} {norm}": {"optimizer": optimizer, "activation": activation, "norm": norm}
    for optimizer in ("adam", "sgd")
    for activation in ("relu", "tanh")
    for norm in ("none", "batch")
}
SQUARE = {name: levels for name, levels in GRID.items() if levels["activation"] == "relu"}
SINGLE = {name: levels for name, levels in SQUARE.items() if levels["optimizer"] == "adam"}
PROBLEM = make_problem(metric=Metric("lower", "linear", "error"), target=None)
Levels = Mapping[str, str]


def plan_of(
    levels: Mapping[str, Levels], *, problem: PlannedProblem, points: int = 1, studies: int = 10, seeds: int = 2
) -> Plan:
    """A plan whose contenders try the same points in every study."""
    plan = make_plan(list(levels), problems=[problem], points=points, evaluations=20, tuning_seeds=1, seeds=seeds)
    contenders = [
        replace(each, levels=levels[each.label], further=(each.points,) * (studies - 1)) for each in plan.contenders
    ]
    return replace(plan, contenders=contenders, tuner=Tuner(studies=studies))


def compared(levels: Mapping[str, Levels], curve: Callable[..., list[float]], **more: Any) -> Comparison:
    """A comparison of contenders whose curves are given by levels and trial."""
    problem = more.pop("problem", PROBLEM)
    plan = plan_of(levels, problem=problem, **more)

    def train(problem: PlannedProblem, contender: PlannedContender, trial: Trial) -> Outcome:
        return synthetic_outcome(problem, plan, trial, curve(contender.levels, trial))

    return compare_on(play(plan, train), problem)


def ending(gap: Callable[[Levels], float], *, noise: float = 0.01) -> Callable[[Levels, Trial], list[float]]:
    """Curves that end at 1 plus a gap given by levels, plus what the seed has for all and what each has alone."""

    def curve(levels: Levels, trial: Trial) -> list[float]:
        own = np.random.default_rng([zlib.crc32(" ".join(levels.values()).encode()), trial.seed]).normal()
        return falling(0.5, 1.0 + gap(levels) + 0.1 * math.sin(3 * trial.seed) + noise * own)

    return curve


def falling(reach: float, end: float) -> list[float]:
    """From 1 in a line through 0.5 at a share of the budget, and at its end suddenly at another value."""
    return [*(max(1 - 0.5 * point / (20 * reach), 0.0) for point in range(20)), end]


def batch(with_adam: float, with_sgd: float) -> Callable[[Levels], float]:
    """What batch normalization does, for each optimizer."""
    return lambda levels: (with_adam if levels["optimizer"] == "adam" else with_sgd) * (levels["norm"] == "batch")


def found(comparison: Comparison) -> dict[str, Effect]:
    return {each.factor: each for each in comparison.effects}


def told(comparison: Comparison, factor: str) -> str:
    return " ".join(text for text in factor_findings(comparison) if text.startswith(f"{factor}: "))


# --- estimates and tests ---------------------------------------------------------------------------------------------


def test_effects_are_those_that_the_curves_have() -> None:
    def curve(levels: Levels, trial: Trial) -> list[float]:
        noise = 0.1 * math.sin(3 * trial.seed)  # the seed's, the same for all
        batch, tanh = levels["norm"] == "batch", levels["activation"] == "tanh"
        own = 0.001 * math.cos(11 * trial.seed + len(levels["optimizer"]) + 5 * tanh)
        return falling(0.25 if batch else 0.5, 0.3 + noise + own - 0.05 * batch + (0.04 if tanh else 0.0))

    comparison = compared(GRID, curve, problem=replace(PROBLEM, target=0.5))
    norm, activation, optimizer = (found(comparison)[name] for name in ("norm", "activation", "optimizer"))
    overall, steps = norm.final.overall, norm.steps
    assert (norm.level, norm.baseline, norm.blocks, norm.about) == ("batch", "none", 10, "methods")
    assert (overall.pairs, overall.agreeing) == (4, 4) and norm.final.claim == "main effect" and norm.final.is_settled
    assert overall.difference.estimate == pytest.approx(-0.05, abs=1e-6)
    assert overall.adjusted_p == pytest.approx(2 * 0.5**10)  # all signs alike: the least of 2^10 flips, both sides
    assert steps is not None and steps.claim == "main effect"
    assert steps.overall.difference[:3] == pytest.approx((-1.0, -1.0, -1.0))  # half of the steps
    assert activation.final.overall.difference.estimate == pytest.approx(0.04, abs=2e-3)
    assert activation.final.claim == "main effect"
    assert activation.steps is not None and activation.steps.claim == "" == optimizer.final.claim
    assert told(comparison, "norm") == (
        "norm: batch, against none, ends better, by −0.050 [−0.050, −0.050] in error (all 4 pairs of contenders agree)"
        ". norm: batch, against none, reaches 0.500 ×2.00 sooner [×2.00, ×2.00] (all 4 pairs of contenders agree)."
    )
    assert told(comparison, "optimizer").startswith("optimizer: no effect of sgd, against adam, is shown: ")
    table = factors(comparison)
    assert [row[:3] for row in table.rows][2] == ["norm", "batch", "none"] and len(table.rows) == 3
    assert "4, 4 of this sign" in table.rows[2] and "×0.500 [×0.500, ×0.500]" in table.rows[2]


def test_p_values_are_scipy_s_and_the_family_s() -> None:
    rng = np.random.default_rng(0)
    noise = {(name, seed): rng.normal() for name in SQUARE for seed in range(10)}

    def curve(levels: Levels, trial: Trial) -> list[float]:
        name = next(name for name, own in SQUARE.items() if own == levels)
        return falling(0.5, 3 + noise[name, trial.seed % 1000 % 10] + 0.5 * (levels["norm"] == "batch"))

    comparison = compared(SQUARE, curve, studies=1, seeds=10)
    blocks = {each.label: each.blocks for each in comparison.results}
    plain, normed, plain_sgd, normed_sgd = (blocks[name] for name in SQUARE)
    with_adam, with_sgd = normed - plain, normed_sgd - plain_sgd
    optimizers = 0.5 * (plain_sgd - plain + normed_sgd - normed)
    rows = [optimizers, 0.5 * (with_adam + with_sgd), with_adam - with_sgd]
    # the optimizer's effect depends on norm as norm's depends on the optimizer: that contrast is there twice
    spreads = np.sqrt([[0.5], [0.5], [2.0], [2.0]])  # of a mean of two pairs and a difference of two, against a pair's
    family = family_p_values(np.stack([*rows, -rows[2]]) / spreads)[:3]
    expected = np.maximum([scipy.stats.wilcoxon(row).pvalue for row in rows], family)
    optimizer, norm = found(comparison)["optimizer"].final, found(comparison)["norm"].final
    got = [optimizer.overall.adjusted_p, norm.overall.adjusted_p, norm.interactions[0].adjusted_p]
    np.testing.assert_allclose(got, expected)
    assert optimizer.interactions[0].adjusted_p == norm.interactions[0].adjusted_p
    shifts = norm.interactions[0].shifts
    assert shifts["adam"].difference.estimate == pytest.approx(_hodges_lehmann(with_adam))
    assert shifts["sgd"].difference.estimate == pytest.approx(_hodges_lehmann(with_sgd))


def _hodges_lehmann(values: np.ndarray[Any, Any]) -> float:
    pairs = itertools.combinations_with_replacement(values, 2)
    return float(np.median([0.5 * (a + b) for a, b in pairs]))


@pytest.mark.parametrize("seed", range(20))
def test_contrasts_of_what_does_not_interact_are_zero_however_grids_are_filled(seed: int) -> None:
    """An effect that depends on the activation alone: no optimizer is blamed for the activations that it comes with."""
    rng = np.random.default_rng(seed)
    cells = [cell for cell in itertools.product("abc", "xyz") if rng.random() < 0.7]
    matches: list[Any] = [Match(None, None, {"optimizer": a, "activation": x}) for a, x in cells]  # type: ignore[arg-type]
    of_activation = {x: rng.normal() for x in "xyz"}
    effect = np.array([of_activation[x] for _, x in cells])
    found = contrasts(matches, "optimizer")
    for level, weights in found.items():
        assert weights @ effect == pytest.approx(0, abs=1e-12)
        helped = np.array([a == level for a, _ in cells])
        assert weights @ (effect + 2.0 * helped) == pytest.approx(2.0)  # and what it does by itself is found
    if len(cells) == 9:
        assert list(found) == ["a", "b", "c"]


def test_levels_are_matched_where_all_else_is_equal() -> None:
    levels = {
        "a": {"optimizer": "adam"},
        "b": {"optimizer": "adam", "norm": "batch"},
        "c": {"optimizer": "sgd", "norm": "layer"},  # no partner: it differs in two
    }
    problem = replace(PROBLEM, choices={"norm": "none"})
    (norm,) = compared(levels, ending(lambda levels: -0.1 * (levels.get("norm") == "batch")), problem=problem).effects
    assert (norm.factor, norm.level, norm.baseline, norm.final.overall.pairs) == ("norm", "batch", "none", 1)
    assert norm.final.claim == "main effect" and not norm.final.interactions
    optimizers = {name: {"optimizer": name} for name in ("adam", "sgd", "lion")}
    assert not compared(optimizers, ending(lambda levels: 0.0)).effects


# --- what is told ----------------------------------------------------------------------------------------------------


def test_a_level_that_helps_one_and_harms_another_is_told_as_a_crossing() -> None:
    comparison = compared(SQUARE, ending(batch(-0.2, 0.3)))
    norm = found(comparison)["norm"].final
    assert norm.overall.is_beyond_chance and (norm.overall.agreeing, norm.overall.pairs) == (1, 2)
    assert norm.claim == "crossing" and norm.is_settled
    text = told(comparison, "norm")
    assert text.startswith(
        "norm: the effect of batch, against none, changes sign with optimizer (crossing interaction, adjusted p 0.002)"
        ": with adam it ends better, by −0.20 ["
    )
    assert "; with sgd it ends worse, by +0.30 [" in text and text.count("norm: ") == 1


def test_a_level_that_does_something_in_one_pair_only_has_no_main_effect() -> None:
    """By chance the other pair agrees or not; the mean over both is beyond chance either way."""
    for other in (-0.0005, 0.0, 0.0005):
        comparison = compared(SQUARE, ending(batch(-0.2, other)))
        norm = found(comparison)["norm"].final
        assert norm.overall.is_beyond_chance and norm.claim == "interaction"
        text = told(comparison, "norm")
        assert "depends on optimizer (interaction, adjusted p 0.002): with adam it ends better, by −0.20 [" in text
        assert "; with sgd no effect is shown (" in text


def parts(comparison: Comparison) -> list[Claim]:
    """What is claimed of final scores with single levels of another factor, in the order of the sentences."""
    return [claim for claim in claims(comparison) if claim.sentence == "parts" and claim.factor == "norm"]


def test_what_is_said_to_be_better_with_one_level_is_a_claim_by_itself() -> None:
    with_adam, with_sgd = ("optimizer", "adam"), ("optimizer", "sgd")
    crossing = parts(compared(SQUARE, ending(batch(-0.2, 0.3))))
    assert crossing == [
        Claim("parts", "batch", "none", "norm", with_adam),
        Claim("parts", "none", "batch", "norm", with_sgd),
    ]
    assert parts(compared(SQUARE, ending(batch(-0.2, 0.0)))) == crossing[:1]
    assert parts(compared(SQUARE, ending(batch(-0.2, -0.2)))) == []


def test_pairs_that_agree_but_not_on_the_size_are_told_so() -> None:
    comparison = compared(SQUARE, ending(batch(-0.2, -0.4)))
    assert found(comparison)["norm"].final.claim == "main effect"
    text = told(comparison, "norm")
    assert text.startswith("norm: batch, against none, ends better, by −0.30 [")
    assert "(both pairs of contenders agree); how much depends on optimizer (adjusted p 0.002): with adam −0.20" in text


def test_a_mean_that_not_all_pairs_share_is_no_effect() -> None:
    """The odd pair of four is one that no single factor explains."""

    def gap(levels: Levels) -> float:
        is_odd = levels["optimizer"] == "sgd" and levels["activation"] == "tanh"
        return (0.005 if is_odd else -0.02) * (levels["norm"] == "batch")

    comparison = compared(GRID, ending(gap, noise=0.02))
    norm = found(comparison)["norm"].final
    assert norm.overall.is_beyond_chance and norm.overall.agreeing == 3 and norm.claim == ""
    text = told(comparison, "norm")
    assert text.startswith("norm: batch, against none, shows no effect that all pairs of contenders share: −0.014 [")
    assert text.endswith(" in error on average, of this sign in 3 of 4 pairs of contenders.")


@pytest.mark.parametrize(
    ("direction", "words"),
    [("lower", "at most ×5.00e-05 [no bound, ×5.00e-05]"), ("higher", "at least ×2.00e+04 [×2.00e+04, no bound]")],
)
def test_a_difference_to_what_is_at_the_floor_is_told_as_a_bound(direction: Any, words: str) -> None:
    floored = Metric(direction, "log", "gap", floor=1e-12)
    low, high = (1e-15, 2e-8) if direction == "lower" else (2e-8, 1e-15)

    def curve(levels: Levels, trial: Trial) -> list[float]:
        return falling(0.5, low if levels["norm"] == "batch" else high)

    comparison = compared(SQUARE, curve, problem=make_problem(metric=floored, target=None))
    assert f"norm: batch, against none, ends better, {words}" in told(comparison, "norm")
    (row,) = (row for row in factors(comparison).rows if row[0] == "norm")
    assert row[3].startswith(words)


def test_parts_of_an_interaction_are_bounds_each_by_itself() -> None:
    floored = make_problem(metric=Metric("lower", "log", "gap", floor=1e-12), target=None)
    finals = {("adam", "batch"): 1e-15, ("adam", "none"): 2e-8, ("sgd", "batch"): 1e-4, ("sgd", "none"): 2e-8}

    def curve(levels: Levels, trial: Trial) -> list[float]:
        return falling(0.5, finals[levels["optimizer"], levels["norm"]])

    text = told(compared(SQUARE, curve, problem=floored), "norm")
    assert "with adam it ends better, at most ×5.00e-05 [no bound, ×5.00e-05]" in text
    assert "with sgd it ends worse, ×5000 [×5000, ×5000]" in text


def test_with_one_study_the_claim_is_about_the_settings_found() -> None:
    comparison = compared(SINGLE, ending(lambda levels: -0.1 * (levels["norm"] == "batch")), studies=1, seeds=10)
    assert comparison.effects[0].about == "settings"
    assert told(comparison, "norm").startswith("norm: with the settings found, batch, against none, ends better, by ")


@pytest.mark.parametrize(("studies", "seeds", "unit"), [(5, 2, "studies"), (1, 5, "paired seeds")])
def test_too_few_blocks_show_nothing_and_say_so(studies: int, seeds: int, unit: str) -> None:
    comparison = compared(GRID, ending(batch(-0.5, 0.5)), studies=studies, seeds=seeds)
    assert not any(each.final.claim for each in comparison.effects)
    assert told(comparison, "norm").endswith(f"; 5 {unit} can show no effect, however large; 6 can.")


def test_missed_targets_and_diverged_seeds_are_worse_than_any_number() -> None:
    def curve(levels: Levels, trial: Trial) -> list[float]:
        if levels["norm"] == "batch" and trial.stage == "final" and trial.seed < 7:
            return [*falling(2.0, 0.9)[:4], math.nan]
        return falling(0.5, 0.3 + 0.01 * math.sin(trial.seed))

    comparison = compared(GRID, curve, problem=replace(PROBLEM, target=0.5), studies=1, seeds=8)
    norm = found(comparison)["norm"]
    difference, steps = norm.final.overall.difference, norm.steps
    assert steps is not None
    diverged = sum(trial.seed < 7 for trial in comparison.results[0].trials)
    assert difference.losses == diverged and difference.ties == 8 - diverged and difference.estimate == math.inf
    assert steps.overall.difference.estimate == math.inf
    # all pairs lose alike: where both of a pair's contenders diverged, nothing is said about an interaction
    assert all(each.contrast.estimate == 0 and not each.is_beyond_chance for each in norm.final.interactions)


def test_blocks_in_which_both_diverged_say_nothing_of_an_interaction() -> None:
    """Six of sgd's ten studies diverge with either level; the other ones show the effect that adam has."""

    def curve(levels: Levels, trial: Trial) -> list[float]:
        if levels["optimizer"] == "sgd" and trial.stage == "final" and trial.seed // 1000 not in (1, 4, 6, 8):
            return [1.0, 1.0, 1.0, 1.0, math.nan]
        return ending(batch(-0.2, -0.2))(levels, trial)

    comparison = compared(SQUARE, curve)
    norm = found(comparison)["norm"].final
    assert norm.claim == "main effect" and not norm.told
    assert sum(each.diverged for each in comparison.results) > 0


def test_schedules_do_not_compare_before_their_end() -> None:
    levels = {"constant": {"optimizer": "adam", "schedule": "constant"}}
    levels["cosine"] = {"optimizer": "adam", "schedule": "cosine"}
    problem = replace(PROBLEM, target=0.5)
    plan = plan_of(levels, problem=problem)
    plan = replace(plan, contenders=[replace(each, schedule=each.levels["schedule"]) for each in plan.contenders])
    history = play(plan, lambda problem, contender, trial: synthetic_outcome(problem, plan, trial, falling(0.5, 0.3)))
    (schedule,) = compare_on(history, problem).effects
    assert schedule.steps is None
    assert " ".join(sentences(problem, schedule, 0.5)) == (
        "schedule: no effect of cosine, against constant, is shown: 0 [0, 0] in error, adjusted p 1.00."
    )


def test_effects_say_on_which_examples_they_are() -> None:
    """Where all blocks have the same test examples, as those of one study always have."""
    comparison = compared(SQUARE, ending(batch(-0.2, -0.2)))
    norm = found(comparison)["norm"]
    held_out = replace(PROBLEM, examples=(800, 100, 1234))
    anew = replace(held_out, redraws_split=True)
    here = "norm, on these 1,234 test examples: "
    settings = norm._replace(about="settings")
    for effect, problem, opening in [
        (norm, held_out, f"{here}batch, against none, ends better"),
        (norm, anew, "norm: batch, against none, ends better"),
        (norm, replace(held_out, judged_on="objective"), "norm: batch, against none, ends better"),
        (settings, anew, f"{here}with the settings found, batch, against none, ends better"),
    ]:
        text = " ".join(sentences(problem, effect, math.nan))
        assert text.startswith(opening) and text.count("test examples") == opening.count("test examples")


def test_a_frame_has_the_numbers_of_the_effects() -> None:
    comparison = compared(SQUARE, ending(batch(-0.2, 0.3)), problem=replace(PROBLEM, target=0.5))
    norm = found(comparison)["norm"]
    frame = frames.effects(SimpleNamespace(comparisons=[comparison]))  # type: ignore[arg-type]
    assert list(frame["factor"]) == ["optimizer", "norm"]
    row = frame.iloc[1]
    assert tuple(row[["level", "baseline", "about", "claim"]]) == ("batch", "none", "methods", "crossing")
    assert tuple(row[["pairs", "agreeing", "settled", "doubtful"]]) == (2, 1, True, "")
    assert tuple(row[["difference", "difference_low", "difference_high"]]) == norm.final.overall.difference[:3]
    assert (row["interaction_with"], row["interaction_p_value"]) == ("optimizer", norm.final.interactions[0].adjusted_p)
    assert tuple(row[["ratio_of_steps", "ratio_of_steps_p_value", "claim_of_steps"]]) == (1.0, 1.0, "")


# --- doubtful tuning -------------------------------------------------------------------------------------------------


def doubted(comparison: Comparison, gains: Mapping[str, float]) -> tuple[Effect, str]:
    """The effect of norm, and what is told of it, where twice as many points would gain so much for some contenders."""
    results = [
        replace(each, flags=("tuning curve still falling",), doubts=each.doubts._replace(gain=gains[each.label]))
        if each.label in gains
        else each
        for each in comparison.results
    ]
    by_label = {each.label: each.contender for each in results}
    levels = SQUARE if len(results) == 4 else SINGLE
    (norm,) = (each for each in effects(PROBLEM, [by_label[name] for name in levels], results) if each.factor == "norm")
    return norm, " ".join(sentences(PROBLEM, norm, math.nan))


def test_an_effect_that_rests_on_doubtful_tuning_alone_is_not_settled() -> None:
    comparison = compared(SQUARE, ending(batch(-0.2, -0.2)))
    norm, text = doubted(comparison, {"adam relu none": 0.5, "sgd relu none": 0.5})
    assert norm.final.claim == "main effect" and not norm.final.is_settled
    assert text.endswith(" Not settled: adam relu none, sgd relu none may be undertuned by that much.")
    norm, text = doubted(comparison, {"adam relu none": 0.5})
    assert norm.final.is_settled and norm.final.overall.doubtful == ("adam relu none",)
    assert text.endswith(" adam relu none may be undertuned by that much; without, it is beyond chance, too.")


def test_doubts_that_do_not_reach_as_far_or_are_the_winner_s_do_not_matter() -> None:
    comparison = compared(SQUARE, ending(batch(-0.2, -0.2)))
    for gains in ({"adam relu none": 0.1, "sgd relu none": 0.1}, {"adam relu batch": 9.0, "sgd relu batch": 9.0}):
        norm, text = doubted(comparison, gains)
        assert norm.final.is_settled and not norm.final.overall.doubtful and "undertuned" not in text


def test_the_pair_without_doubts_has_to_show_the_effect_by_itself() -> None:
    comparison = compared(SQUARE, ending(batch(-0.02, -0.015), noise=0.01))
    norm, _ = doubted(comparison, {"adam relu none": 0.5})
    assert norm.final.claim == "main effect" and norm.final.is_settled
    weak = compared(SQUARE, ending(batch(-0.02, -0.0001), noise=0.0005))
    norm, text = doubted(weak, {"adam relu none": 0.5})
    assert not norm.final.is_settled and "adam relu none may be undertuned by that much" in text


def test_a_crossing_one_of_whose_sides_is_doubtful_is_not_settled() -> None:
    comparison = compared(SQUARE, ending(batch(-0.2, 0.3)))
    norm, text = doubted(comparison, {"sgd relu batch": 0.5})
    assert norm.final.claim == "crossing" and not norm.final.is_settled
    assert text.endswith(" Not settled: sgd relu batch may be undertuned by that much.")
    norm, text = doubted(comparison, {"sgd relu none": 0.5})  # it wins already
    assert norm.final.is_settled and "undertuned" not in text


def test_tuning_that_ends_at_an_edge_is_seen_from_points_to_sentence() -> None:
    """Without normalization scores fall up to the largest learning rate: what lies beyond may make up for the gap."""

    def curve(levels: Levels, trial: Trial) -> list[float]:
        rate = math.log10(trial.hyperparameters["learning_rate"])  # -3 to 0
        end = 1.0 if levels["norm"] == "batch" else 1.1 - rate
        return falling(0.5, end + 0.2 * abs(rate + 1.5) * (levels["norm"] == "batch") + 0.01 * math.sin(trial.seed))

    comparison = compared(SINGLE, curve, points=5)
    assert not comparison.effects[0].final.is_settled
    assert told(comparison, "norm").endswith(" Not settled: adam relu none may be undertuned by that much.")
