"""Oracle: scipy.stats.bootstrap. Closed forms of the level, and where the intervals have nothing to go by."""

import math

import numpy as np
import pytest
import scipy.stats

from dlkit.bench.stats import expanded_level, iqm, stratified_bootstrap

INF = math.inf


def mean(scores):
    return scores.mean(axis=(-2, -1))


def median(scores):
    return np.median(scores.reshape(*scores.shape[:-2], -1), axis=-1)


@pytest.mark.parametrize("n", [5, 10, 40])
def test_expanded_percentile_interval_of_a_normal_mean_is_about_students(n):
    """The resampled mean is near normal with variance (n - 1) / n · s² / n."""
    tail = (1 - expanded_level(0.95, n)) / 2
    width = -scipy.stats.norm.ppf(tail) * math.sqrt((n - 1) / n)
    assert width == pytest.approx(scipy.stats.t.ppf(0.975, n - 1))
    assert expanded_level(0.95, n) > expanded_level(0.95, n, strata=4) > expanded_level(0.95, 1000) > 0.95
    assert expanded_level(0.95, 1) == 1.0


@pytest.mark.parametrize("draw", ["normal", "lognormal"])
@pytest.mark.parametrize("statistic", [mean, median], ids=["mean", "median"])
def test_one_problem_matches_scipy(draw, statistic):
    values = getattr(np.random.default_rng(4), draw)(size=25)
    ours = stratified_bootstrap(values[:, None], statistic, resamples=20_000, seed=0)
    for method, interval in (("percentile", ours.percentile), ("BCa", ours.bca)):
        expected = scipy.stats.bootstrap(
            (values,),
            lambda x, axis: statistic(np.moveaxis(np.asarray(x), axis, -1)[..., None]),
            confidence_level=expanded_level(0.95, 25),
            n_resamples=20_000,
            method=method,
            rng=np.random.default_rng(1),
        ).confidence_interval
        width = expected.high - expected.low
        assert interval.low == pytest.approx(expected.low, abs=0.06 * width)
        assert interval.high == pytest.approx(expected.high, abs=0.06 * width)
        assert interval.estimate == statistic(values[:, None])


def test_bca_leans_to_the_long_tail():
    values = np.random.default_rng(0).lognormal(sigma=1.2, size=(15, 1))
    both = stratified_bootstrap(values, mean, seed=0)
    assert both.bca.low > both.percentile.low
    assert both.bca.high > both.percentile.high


def test_problems_are_strata():
    """Constant problems of very different levels: within-problem draws never mix them."""
    scores = np.tile([1.0, 100.0, 10_000.0], (6, 1))
    both = stratified_bootstrap(scores, mean, resamples=100, seed=0)
    assert both.percentile == both.bca == (3367.0, 3367.0, 3367.0)


def test_width_is_that_of_independent_strata():
    scores = np.random.default_rng(0).normal(size=(20, 8)) * np.arange(1, 9)
    interval = stratified_bootstrap(scores, mean, seed=0).percentile
    deviation = math.sqrt(np.sum(scores.var(axis=0, ddof=1) / 20)) / 8
    half = scipy.stats.t.ppf(0.975, 8 * 19) * deviation
    assert interval.high - interval.low == pytest.approx(2 * half, rel=0.04)


def test_the_seed_decides_everything():
    scores = np.random.default_rng(0).normal(size=(5, 3))
    first, second, other = (stratified_bootstrap(scores, iqm, resamples=500, seed=seed) for seed in (1, 1, 2))
    assert first == second != other


def test_infinite_scores_end_in_infinite_ends():
    scores = np.array([[1.0], [2.0], [3.0], [4.0], [INF]])
    means = stratified_bootstrap(scores, mean, resamples=2000, seed=0)
    assert means.percentile.estimate == means.percentile.high == means.bca.high == INF
    assert math.isfinite(means.percentile.low)
    # 0.2^5 of the resamples have nothing but the infinite one: a median's upper end at the expanded level is that.
    assert stratified_bootstrap(scores, median, resamples=2000, seed=0).percentile.estimate == 3.0
    undefined = stratified_bootstrap([[-INF], [INF], [0.0]], mean, resamples=500, seed=0).percentile
    assert (undefined.low, undefined.high) == (-INF, INF)
    assert math.isnan(undefined.estimate)


def test_one_seed_says_nothing():
    both = stratified_bootstrap([[1.0, 2.0]], mean, resamples=10, seed=0)
    assert both.percentile == both.bca == (1.5, -INF, INF)


def test_a_statistic_that_does_not_reduce_both_axes_is_refused():
    with pytest.raises(ValueError, match=r"must reduce the last two axes .* made shape \(1, 2\)"):
        stratified_bootstrap([[1.0, 2.0], [3.0, 4.0]], lambda scores: scores.mean(axis=-2), seed=0)
    with pytest.raises(ValueError, match="resamples must be at least 2"):
        stratified_bootstrap([[1.0]], mean, resamples=1, seed=0)
