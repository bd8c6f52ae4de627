"""One contender by hand: steps to target, intervals in the metric's units, blocks of studies or seeds, and flags."""

import itertools
import math
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import scipy.stats

from dlkit.bench.analysis.contender_result import block_means, make_result
from dlkit.bench.analysis.pairs import block_differences
from dlkit.bench.plan.metric import Metric
from dlkit.bench.plan.policies import Tuner
from dlkit.bench.plan.trials import STUDY_SEEDS
from dlkit.bench.tuning.history import History
from tests.bench.analysis.results_by_hand import BLOCKS, constant, ended, in_studies, results_of_curves
from tests.bench.synthetic import make_plan, play

INF, NAN = math.inf, math.nan


# --- trials ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("curve", "metric", "target", "expected"),
    [
        ([1.0, 0.5, 0.2, 0.1], Metric("lower"), 0.5, 10),
        ([1.0, 0.5, 0.2, 0.1], Metric("lower"), 0.1, 30),  # exactly there
        ([1.0, 0.5, 0.2, 0.1], Metric("lower"), 0.3, 20),
        ([1.0, 0.5, 0.2, 0.1], Metric("lower"), 0.05, INF),
        ([1.0, 0.5, 0.2, 0.1], Metric("lower"), 2.0, 0),  # before any step
        ([1.0, 0.1, 0.9, 0.9], Metric("lower"), 0.2, 10),  # the first time counts
        ([0.1, 0.5, 0.8, 0.9], Metric("higher"), 0.8, 20),
        ([0.1, 0.5, 0.8, 0.95], Metric("higher"), 0.95, 30),  # as float32, 0.95 is below 0.95
        ([0.1, 0.5, 0.8, 0.9], Metric("higher"), 0.99, INF),
        ([1.0, 1e-2, 1e-3, 1e-4], Metric("lower", "log"), 1e-3, 20),
        ([1.0, 1e-2, 0.0], Metric("lower", "log"), 1e-3, 20),
        ([1.0, 0.5, NAN], Metric("lower"), 0.1, INF),  # diverged before it got there
        ([1.0, 0.05, NAN], Metric("lower"), 0.1, 10),  # got there, then diverged
        ([1.0, 0.5, 0.2], Metric("lower"), None, INF),  # no target
        ([1.0, NAN], Metric("higher"), None, INF),
    ],
)
def test_steps_to_target(curve, metric, target, expected):
    (result,) = results_of_curves({"x": [curve] * BLOCKS}, metric=metric, target=target)
    np.testing.assert_array_equal(result.steps_to_target, [expected] * BLOCKS)


def test_hits_are_wilsons_share():
    curves = [[1.0, 0.05]] * 6 + [[1.0, 0.5]] * 3 + [[1.0, NAN]]
    (result,) = results_of_curves({"x": curves})
    expected = scipy.stats.binomtest(6, 10).proportion_ci(0.95, method="wilson")
    assert result.hits == pytest.approx((0.6, expected.low, expected.high))
    assert result.median_steps.estimate == 10
    assert (result.median_steps.low, result.median_steps.high) == (10, INF)
    assert result.diverged == 1


def test_more_misses_than_hits_have_no_median_time():
    (result,) = results_of_curves({"x": [[1.0, 0.05]] * 4 + [[1.0, 0.5]] * 6})
    assert result.median_steps.estimate == INF
    assert result.hits.estimate == 0.4


# The second smallest and the second largest of ten: P(Binomial(10, 1/2) <= 1) = 11/1024, twice that is 0.021.
VALUES = [0.3, 0.1, 0.9, 0.5, 0.7, 0.2, 0.8, 0.4, 0.6, 1.0]


@pytest.mark.parametrize(
    "metric", [Metric(*kind) for kind in itertools.product(("lower", "higher"), ("linear", "log"))]
)
def test_final_intervals_are_in_the_metrics_units_low_before_high(metric):
    (result,) = results_of_curves({"x": constant(VALUES)}, metric=metric)
    middle = math.sqrt(0.5 * 0.6) if metric.scale == "log" else 0.55
    assert result.final == pytest.approx((middle, 0.2, 0.9), rel=1e-6)
    assert result.validation == pytest.approx((middle, 0.2, 0.9), rel=1e-6)


@pytest.mark.parametrize(("direction", "low", "high"), [("lower", 0.2, INF), ("higher", -INF, 0.9)])
def test_diverged_seeds_count_as_the_worst(direction, low, high):
    values = [NAN if value in ((1.0, 0.9) if direction == "lower" else (0.1, 0.2)) else value for value in VALUES]
    (result,) = results_of_curves({"x": constant(values)}, metric=Metric(direction))
    assert result.final == pytest.approx((0.55, low, high), rel=1e-6)
    assert result.diverged == 2
    assert np.isinf(result.scores).sum() == 2


def test_scores_are_oriented():
    (result,) = results_of_curves({"x": constant(VALUES)}, metric=Metric("higher", "log"))
    np.testing.assert_allclose(result.scores, -np.log10(VALUES), rtol=1e-6, atol=1e-7)


def test_what_has_not_run_is_not_complete():
    curves = constant(VALUES)
    (result,) = results_of_curves({"x": [*curves[:4], None, *curves[5:]]})
    assert not result.is_complete and not result.is_comparable
    assert len(result.scores) == 9
    assert result.outcomes[4] is None


def test_a_failure_is_told():
    curves = constant(VALUES)
    (result,) = results_of_curves({"x": [*curves[:4], "no such thing", *curves[5:]]})
    assert not result.is_complete
    assert result.failure == "no such thing"
    assert result.flags == ()


def test_nothing_ran():
    plan = make_plan(["x"], seeds=BLOCKS)
    problem, contender = plan.problems[0], plan.contenders[0]
    result = make_result(History(plan), problem, contender, [0.1])
    assert not result.is_complete and result.failure == "" and result.flags == ()
    unknown = (result.final, result.median_steps, result.hits)
    assert all(math.isnan(each.estimate) for each in unknown)
    assert not result.tuning_is_over and not result.found_nothing and result.typical is result.studies[0]


# --- blocks ----------------------------------------------------------------------------------------------------------

PAIRS = [0.3, 0.1, 0.9, 0.5, 0.7, 0.2]  # three studies of two fresh seeds


def of_studies(values=PAIRS, *, studies=3, seeds=2, **settings):
    (result,) = results_of_curves({"x": constant(values)}, studies=studies, seeds=seeds, **settings)
    return result


@pytest.mark.parametrize(
    ("metric", "blocks", "middle"),
    [
        (Metric("lower"), [0.2, 0.7, 0.45], 0.45),
        (Metric("higher"), [-0.2, -0.7, -0.45], 0.45),
        (Metric("lower", "log"), np.log10([0.03, 0.45, 0.14]) / 2, math.sqrt(0.14)),  # geometric means
        (Metric("higher", "log"), -np.log10([0.03, 0.45, 0.14]) / 2, math.sqrt(0.14)),
    ],
)
def test_a_block_is_a_study_and_its_value_the_mean_over_its_fresh_seeds(metric, blocks, middle):
    result = of_studies(metric=metric)
    assert result.repeats_tuning and result.required == 3
    np.testing.assert_allclose(result.blocks, blocks, rtol=5e-6)
    assert len(result.scores) == len(result.trials) == 6
    assert result.final.estimate == pytest.approx(middle, rel=5e-6)
    assert result.validation.estimate == pytest.approx(middle, rel=5e-6)
    assert result.is_comparable


def test_with_one_study_a_block_is_a_fresh_seed():
    result = of_studies(studies=1, seeds=6)
    assert not result.repeats_tuning and result.required == 6
    np.testing.assert_array_equal(result.blocks, result.scores)
    np.testing.assert_allclose(result.blocks, PAIRS, rtol=1e-6)
    assert result.typical is result.studies[0]


def test_studies_share_no_seed_and_each_has_its_own_trials():
    result = of_studies()
    assert [trial.seed for trial in result.trials] == [k * STUDY_SEEDS + seed for k in range(3) for seed in range(2)]
    assert [(study, trial.seed // STUDY_SEEDS) for study, trial in result.every_trial] == [
        (k, k) for k in range(3) for _ in range(3)
    ]


def test_one_diverged_seed_makes_its_block_infinite():
    result = of_studies([0.3, 0.1, NAN, 0.5, 0.7, 0.2])
    np.testing.assert_allclose(result.blocks, [0.2, INF, 0.45], rtol=1e-6)
    assert np.isinf(result.scores).sum() == result.diverged == 1
    assert result.is_comparable


def test_a_study_in_which_nothing_trained_is_lost_and_counts():
    result = of_studies(points=3, tuned=lambda study, place: NAN if study == 1 else 0.5 + place)
    np.testing.assert_allclose(result.blocks, [0.2, INF, 0.45], rtol=1e-6)
    assert [len(each.trials) for each in result.studies] == [2, 0, 2]
    assert result.is_comparable and not result.found_nothing
    assert result.final.estimate == pytest.approx(0.45, rel=1e-6) and result.final.high == INF


def test_one_that_found_nothing_in_any_study_is_not_compared():
    result = of_studies(points=3, tuned=lambda study, place: NAN)
    assert result.found_nothing and result.tuning_is_over
    assert not result.is_complete and not result.is_comparable
    assert result.typical is result.studies[0] and result.tuning.point is None


@pytest.mark.parametrize(("lacking", "blocks"), [(0, []), (1, []), (2, [0.2]), (5, [0.2, 0.7])])
def test_blocks_end_at_the_first_study_that_lacks_a_trial(lacking, blocks):
    """Blocks pair by their place: a gap in the middle must not move those that come after it."""
    result = of_studies([None if place == lacking else value for place, value in enumerate(PAIRS)])
    np.testing.assert_allclose(result.blocks, blocks, rtol=1e-6)
    assert len(result.scores) == 5 and not result.is_complete


def test_a_study_that_is_still_tuned_has_no_block():
    result = of_studies(points=3, tuned=lambda study, place: None if (study, place) == (1, 2) else 0.5 + place)
    np.testing.assert_allclose(result.blocks, [0.2], rtol=1e-6)
    assert not result.tuning_is_over and not result.is_complete and not result.found_nothing


@pytest.mark.parametrize(("lacking", "blocks"), [(None, [0.2, 0.7, 0.45]), (4, [0.2, 0.7]), (3, [0.2])])
def test_studies_that_were_added_need_not_have_run(lacking, blocks):
    values = [None if place == lacking else value for place, value in enumerate(PAIRS)]
    result = of_studies(values, studies=2, added_studies={"x": 1})
    np.testing.assert_allclose(result.blocks, blocks, rtol=1e-6)
    assert result.required == 2 and len(result.studies) == 3
    assert result.is_comparable == (lacking != 3)  # that one was planned
    np.testing.assert_allclose(result.planned(result.blocks), blocks[:2], rtol=1e-6)


def test_an_added_study_that_fails_takes_nothing_from_the_others():
    (result,) = results_of_curves(
        {"x": [*constant(PAIRS[:5]), "no memory"]}, studies=2, seeds=2, added_studies={"x": 1}
    )
    np.testing.assert_allclose(result.blocks, [0.2, 0.7], rtol=1e-6)
    assert (result.failure, result.later_failure) == ("", "no memory")
    assert result.is_comparable and result.flags == ()


def test_an_added_study_whose_tuning_failed_is_not_one_that_found_nothing():
    plan = replace(in_studies(make_plan(["x"], points=1, tuning_seeds=1, seeds=1), 3), max_studies=3)
    plan = replace(plan, tuner=replace(plan.tuner, studies=2), added_studies={"bowl": {"x": 1}})

    def train(problem, contender, trial):
        is_lost = trial.seed // STUDY_SEEDS == 2
        return ended(trial, [0.0], status="failed", reason="no memory") if is_lost else ended(trial, [1.0, 0.5])

    result = make_result(play(plan, train), plan.problems[0], plan.contenders[0], [0.1])
    np.testing.assert_array_equal(result.blocks, [0.5, 0.5])
    assert (result.failure, result.later_failure) == ("", "no memory") and result.is_comparable


def test_a_failure_in_a_planned_study_is_the_contender_s():
    (result,) = results_of_curves({"x": [*constant(PAIRS[:3]), "no memory", *constant(PAIRS[4:])]}, studies=3, seeds=2)
    assert (result.failure, result.later_failure) == ("no memory", "") and not result.is_comparable


@pytest.mark.parametrize(("planned", "failures"), [(4, ("", "no memory")), (6, ("no memory", ""))])
def test_a_seed_that_was_added_and_fails_takes_nothing_from_the_others(planned, failures):
    plan = make_plan(["x"], points=1, tuning_seeds=1, seeds=planned)
    plan = replace(plan, max_seeds=6, added_seeds={"bowl": {"x": 6 - planned}})

    def train(problem, contender, trial):
        is_lost = trial.stage == "final" and trial.seed == 5
        return ended(trial, [0.0], status="failed", reason="no memory") if is_lost else ended(trial, [1.0, 0.5])

    result = make_result(play(plan, train), plan.problems[0], plan.contenders[0], [0.1])
    assert (result.failure, result.later_failure) == failures and len(result.blocks) == 5
    assert result.is_comparable == (planned == 4)


def test_what_comes_before_the_last_step_has_blocks_too():
    curves = [[1.0, 0.4, step, 0.05, 0.05] for step in (0.3, 0.05, 0.3, 0.2)]
    (result,) = results_of_curves({"x": curves}, studies=2, seeds=2)
    logarithms = [(math.log2(30) + math.log2(20)) / 2, math.log2(30)]
    np.testing.assert_allclose(result.log_steps.values, logarithms, rtol=5e-6)
    np.testing.assert_allclose(result.half.values, [0.175, 0.25], rtol=1e-6)
    assert result.half.at == 20 and result.to_target.reached == 4


def test_means_of_shares_are_as_exact_as_the_shares():
    """As float64 the rounding of float32 would pass for differences where there are ties."""
    ours, theirs = of_studies([0.9, 0.8, 0.7, 0.5, 0.6, 0.8]), of_studies([0.85, 0.85, 0.65, 0.55, 0.9, 0.5])
    assert not block_differences(ours.blocks, theirs.blocks).any()


@pytest.mark.parametrize(
    ("values", "number"),
    [
        (PAIRS, 2),  # means 0.2, 0.7 and 0.45
        ([0.3, 0.1, NAN, 0.5, 0.7, 0.2], 2),  # 0.2, infinity and 0.45
        ([0.3, 0.1, 0.9, 0.5], 0),  # of two, the better one
        ([0.3, 0.1, 0.9, None, 0.7, 0.2], 0),  # what has not run does not count
    ],
)
def test_the_typical_study_is_the_one_in_the_middle(values, number):
    result = of_studies(values, studies=len(values) // 2)
    assert result.typical.number == number and result.tuning is result.studies[number].tuning


def test_a_study_without_a_winner_is_not_typical():
    result = of_studies(points=3, tuned=lambda study, place: NAN if study == 2 else 0.5 + place)
    assert result.typical.number == 0  # of 0.2 and 0.7


# --- flags -----------------------------------------------------------------------------------------------------------


def flagged(tuning_values, *, finals=VALUES):
    """The flags of a contender with one study whose learning rates, from 0.001 up, give these values."""
    (result,) = results_of_curves(
        {"x": constant(finals)}, points=len(tuning_values), tuned=lambda study, place: tuning_values[place]
    )
    return result.flags


@pytest.mark.parametrize(
    ("values", "flags"),
    [
        ([0.5, 0.4, 0.3, 0.4, 0.5], ()),
        ([0.1, 0.2, 0.3, 0.4, 0.5], ("learning_rate at the lower edge of its space (0.001)",)),
        ([0.5, 0.4, 0.3, 0.2, 0.1], ("learning_rate at the upper edge of its space (1)",)),
        ([NAN, 0.2, 0.1, NAN, NAN], ("only 2 of 5 points trained", "tuning curve still falling")),
        ([3.0, 3.0, 0.1, 3.0, 3.0], ("tuning curve still falling",)),  # the best of three of five is 1.26 on average
    ],
)
def test_flags(values, flags):
    assert flagged(values) == flags


def test_a_gain_within_the_spread_of_the_seeds_is_no_flag():
    values = [0.5, 0.45, 0.3, 0.45, 0.5]  # the best of three of five: 6/10 0.3, 3/10 0.45, 1/10 0.45 or less
    spread = np.std(VALUES, ddof=1)
    assert flagged(values, finals=[0.3 + 0.01 * (value - 0.55) / spread for value in VALUES]) != ()
    assert flagged(values, finals=[0.3 + 0.2 * (value - 0.55) / spread for value in VALUES]) == ()


@pytest.mark.parametrize(("spread", "is_flagged"), [(0.1, True), (0.3, False)])
def test_with_several_studies_the_spread_is_that_of_studies(spread, is_flagged):
    """Fresh seeds of a study are 1 apart, its mean is what counts.

    Of the studies' 16 points four end at 0 and the others at 1: a draw of four has none of the good ones with
    probability 0.272, one of eight with 0.038.
    """
    means = np.array([-1.5, -0.5, 0.5, 1.5])
    means *= spread / np.std(means, ddof=1)
    finals = [0.5 + mean + side for mean in means for side in (-0.5, 0.5)]
    result = of_studies(finals, studies=4, points=4, tuned=lambda study, place: float(place != 1))
    gain = math.comb(12, 4) / math.comb(16, 4) - math.comb(12, 8) / math.comb(16, 8)
    assert result.doubts.gain == pytest.approx(gain)
    assert result.flags == (("tuning curve still falling",) if is_flagged else ())


def test_tuning_is_kept_as_it_is():
    (result,) = results_of_curves({"x": constant(VALUES)}, points=5)
    assert result.tuning.winner == 2
    assert result.label == "x" and len(result.trials) == BLOCKS


def test_means_of_complete_studies_are_those_of_each_alone() -> None:
    """They are taken at once; the bits are those of NumPy's mean of one study."""
    rng = np.random.default_rng(0)
    plan = make_plan(("x",), tuner=Tuner(studies=7))
    for count in (1, 2, 5, 8, 9, 20, 130):
        values = rng.normal(size=7 * count).astype(np.float32)
        values[3 * count] = np.inf
        ended: Any = [object()] * count
        studies: Any = [SimpleNamespace(ended=ended, is_complete=True) for _ in range(7)]
        expected = [np.mean(np.asarray(each, np.float64)) for each in np.split(values, 7)]
        assert block_means(plan, studies, values).tolist() == expected
        studies[5].is_complete = False
        assert block_means(plan, studies, values).tolist() == expected[:5]
