"""Oracle: the analysis of variance by hand and by scipy; which question each interval answers, simulated."""

import math

import numpy as np
import pytest
import scipy.stats

from dlkit.bench.stats import crossed_mean, nested_mean

INF = math.inf


def test_components_by_hand():
    """Study means 2, 5, 2 and variances of 1: s² between is 3 = tuning² + 1 / 3."""
    result = nested_mean([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [1.0, 2.0, 3.0]])
    assert result.seed_deviation == 1.0
    assert result.tuning_deviation == pytest.approx(math.sqrt(3 - 1 / 3))
    expected = scipy.stats.ttest_1samp([2.0, 5.0, 2.0], 0.0).confidence_interval(0.95)
    assert result.with_tuning == pytest.approx((3.0, expected.low, expected.high))
    half = scipy.stats.t.ppf(0.975, 6) / 3
    assert result.seeds_only == pytest.approx((3.0, 3.0 - half, 3.0 + half))


def test_only_the_interval_with_tuning_holds_the_methods_mean():
    """Tuning noise as large as seed noise, 4 studies of 10 seeds; the winners' own mean is the other question."""
    rng = np.random.default_rng(0)
    held = {"with_tuning": [], "seeds_only": [], "winners": []}
    for _ in range(1500):
        winners = rng.normal(size=(4, 1))
        result = nested_mean(winners + rng.normal(size=(4, 10)))
        held["with_tuning"].append(result.with_tuning.low <= 0 <= result.with_tuning.high)
        held["seeds_only"].append(result.seeds_only.low <= 0 <= result.seeds_only.high)
        held["winners"].append(result.seeds_only.low <= winners.mean() <= result.seeds_only.high)
    rates = {name: np.mean(each) for name, each in held.items()}
    assert rates["with_tuning"] == pytest.approx(0.95, abs=0.02)
    assert rates["winners"] == pytest.approx(0.95, abs=0.02)
    assert rates["seeds_only"] < 0.6


def test_one_study_says_nothing_of_tuning_and_one_seed_nothing_of_seeds():
    study = nested_mean([[1.0, 2.0, 3.0]])
    assert study.with_tuning == (2.0, -INF, INF)
    assert math.isnan(study.tuning_deviation)
    assert math.isfinite(study.seeds_only.low)
    seed = nested_mean([[1.0], [3.0]])
    assert seed.seeds_only == (2.0, -INF, INF)
    assert math.isnan(seed.seed_deviation)
    assert seed.tuning_deviation == pytest.approx(math.sqrt(2.0))


def test_equal_scores_and_noise_that_exceeds_the_studies():
    assert nested_mean([[2.0] * 3] * 4)[:2] == ((2.0, 2.0, 2.0), (2.0, 2.0, 2.0))
    assert nested_mean([[0.0, 10.0], [10.0, 0.0]]).tuning_deviation == 0.0


def test_diverged_seeds_are_refused():
    with pytest.raises(ValueError, match="scores must be finite"):
        nested_mean([[1.0, INF]])


# --- common seeds ----------------------------------------------------------------------------------------------------


def test_crossed_components_by_hand():
    """Study means 1, 3; seed means 1, 2, 3: mean squares 3 * 2 = 6 and 2 * 1 = 2; the rest by its definition."""
    scores = [[0.5, 0.5, 2.0], [1.5, 3.5, 4.0]]
    result = crossed_mean(scores)
    residuals = np.array(scores) - [[1.0], [3.0]] - np.array([1.0, 2.0, 3.0]) + 2.0
    rest = float(np.sum(residuals**2)) / 2
    assert result.tuning_deviation == pytest.approx(math.sqrt((6 - rest) / 3))
    assert result.seed_deviation == pytest.approx(1.0)
    expected = scipy.stats.ttest_1samp([1.0, 2.0, 3.0], 0.0).confidence_interval(0.95)
    assert result.seeds_only == pytest.approx((2.0, expected.low, expected.high))
    assert result.with_tuning.high >= nested_mean(scores).with_tuning.high  # never narrower


def test_common_seeds_are_in_the_interval_with_tuning():
    """Ten studies on the same ten seeds: what a seed does to all of them is no noise between studies."""
    rng = np.random.default_rng(0)
    crossed, nested = [], []
    for _ in range(600):
        scores = 0.3 * rng.normal(size=(10, 1)) + rng.normal(size=10) + rng.normal(size=(10, 10))
        for held, function in ((crossed, crossed_mean), (nested, nested_mean)):
            interval = function(scores).with_tuning
            held.append(interval.low <= 0 <= interval.high)
    assert np.mean(crossed) == pytest.approx(0.95, abs=0.03)
    assert np.mean(nested) < 0.75


def test_what_little_of_crossed_scores_says():
    one_study = crossed_mean([[1.0, 2.0, 3.0]])
    assert one_study.with_tuning == (2.0, -INF, INF) and math.isnan(one_study.tuning_deviation)
    assert one_study.seeds_only == pytest.approx(nested_mean([[1.0, 2.0, 3.0]]).seeds_only)
    assert crossed_mean([[1.0], [3.0]])[:2] == ((2.0, -INF, INF), (2.0, -INF, INF))
    assert crossed_mean([[2.0] * 3] * 4)[:2] == ((2.0, 2.0, 2.0), (2.0, 2.0, 2.0))
    with pytest.raises(ValueError, match="scores must be finite"):
        crossed_mean([[1.0, INF], [1.0, 2.0]])
