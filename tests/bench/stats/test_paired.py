"""Oracles: enumeration of all sign flips, scipy's permutation test; laws of the interval; censored pairs."""

import itertools
import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from dlkit.bench.stats import median_interval, paired_effects, paired_ratio, stratified_bootstrap

INF = math.inf
tied = st.lists(st.integers(-6, 6), min_size=1, max_size=11).map(lambda d: np.array(d, dtype=float))


def of(differences, **options):
    return paired_effects(differences, np.zeros(len(differences)), resamples=50, seed=0, **options)


def flips(n):
    return np.array(list(itertools.product((-1, 1), repeat=n)))


@given(tied)
def test_p_value_is_the_share_of_sign_flips(differences):
    sums = flips(differences.size) @ np.abs(differences)
    assert of(differences).p_value == np.mean(np.abs(sums) >= abs(differences.sum()))


@pytest.mark.parametrize("n", [8, 12])
def test_p_value_matches_scipys_permutation_test(n):
    x, y = np.random.default_rng(n).normal(size=(2, n))
    expected = scipy.stats.permutation_test(
        (x, y), lambda a, b, axis: np.mean(a - b, axis=axis), permutation_type="samples", n_resamples=np.inf
    ).pvalue
    assert paired_effects(x, y, resamples=50, seed=0).p_value == pytest.approx(expected, rel=1e-9)


def test_sampled_p_value_of_many_pairs_is_near_the_counted_one():
    """The first 32 pairs are counted; one more of next to no size is sampled, and changes next to nothing."""
    differences = np.random.default_rng(3).normal(0.35, size=32)
    counted, sampled = of(differences).p_value, of(np.append(differences, 1e-9)).p_value
    assert counted == pytest.approx(scipy.stats.ttest_1samp(differences, 0.0).pvalue, rel=0.2)
    assert sampled == pytest.approx(counted, abs=5 * math.sqrt(counted / 65_536))
    assert sampled != counted


@given(tied, st.sampled_from([0.5, 0.9, 0.95]))
@settings(max_examples=60)
def test_interval_ends_at_subset_means(differences, level):
    """Hartigan: of the sorted means of the 2^n - 1 subsets, the r-th from each end, r = ⌊α / 2 · 2^n⌋."""
    n = differences.size
    means = sorted(
        differences[list(chosen)].mean()
        for size in range(1, n + 1)
        for chosen in itertools.combinations(range(n), size)
    )
    rank = math.floor((1 - level) / 2 * 2**n + 1e-9)
    result = of(differences, level=level)
    low, high = (means[rank - 1], means[-rank]) if rank else (-INF, INF)
    if result.p_value > 1 - level:  # may not claim more than the test
        low, high = min(low, 0.0), max(high, 0.0)
    assert (result.mean.low, result.mean.high) == pytest.approx((low, high), abs=1e-12)


@pytest.mark.parametrize("magnitudes", [range(1, 9), [1] * 8, [0, 0, 1, 1, 2, 2, 3, 3], [1, 1, 2, 2, 3, 3, INF, INF]])
def test_test_and_interval_are_exact_under_all_sign_flips(magnitudes):
    results = [of(np.multiply(signs, magnitudes)) for signs in flips(8)]
    assert np.mean([result.p_value <= 0.05 for result in results]) <= 0.05
    assert np.mean([not result.mean.low <= 0 <= result.mean.high for result in results]) <= 0.05


@given(st.lists(st.integers(-300, 300).filter(bool), min_size=1, max_size=12, unique=True))
def test_interval_and_p_value_agree_without_ties(differences):
    values = np.array(differences, dtype=float) + np.sqrt(np.arange(2, len(differences) + 2)) / 1000
    result = of(values)
    assert (result.p_value <= 0.05) == (not result.mean.low <= 0 <= result.mean.high)


def test_sampled_interval_never_claims_more_than_the_test():
    """Differences on the edge of significance, n beyond counting all subsets."""
    rng = np.random.default_rng(0)
    edges = 0
    for _ in range(300):
        result = of(rng.normal(0.55, size=15))
        edges += 0.04 < result.p_value < 0.06
        if result.p_value > 0.05:
            assert result.mean.low <= 0 <= result.mean.high
    assert edges > 10


@given(tied)
def test_swapping_negates(differences):
    zeros = np.zeros(differences.size)
    forward, backward = of(differences), paired_effects(zeros, differences, resamples=50, seed=0)
    for ours, theirs in zip(forward[:2], backward[:2], strict=True):
        assert theirs == pytest.approx((-ours.estimate, -ours.high, -ours.low), abs=1e-12)
    assert backward[4:] == (forward.p_value, forward.losses, forward.wins, forward.ties)


def test_parts_are_what_they_are_called():
    rng = np.random.default_rng(0)
    x, y = rng.lognormal(size=(2, 15))
    result = paired_effects(x, y, seed=3)
    assert result.mean.estimate == result.mean_bca.estimate == pytest.approx(np.mean(x - y))
    assert result.median == median_interval(x - y)
    assert (result.wins, result.losses, result.ties) == (np.sum(x < y), np.sum(x > y), 0)
    bca = stratified_bootstrap((x - y)[:, None], lambda s: s.mean(axis=(-2, -1)), seed=4).bca
    assert result.mean_bca == pytest.approx(bca, abs=0.05 * (bca.high - bca.low))
    medians = stratified_bootstrap((x - y)[:, None], lambda s: np.median(s, axis=(-2, -1)), seed=4).bca
    assert result.median_bca == pytest.approx(medians, abs=0.15 * (medians.high - medians.low))


def test_censored_pairs_count_and_are_never_dropped():
    result = of([INF, INF, INF, INF, INF, INF, -1.0, -2.0])
    assert (result.wins, result.losses, result.ties) == (2, 6, 0)
    assert result.mean == (INF, INF, INF)  # 3 subset means of 255 are finite, and 6 are cut off at each end
    # The six infinite ones decide the order of the sums, the finite ones break ties: |6 signs| = 6 in 2 of 64 flips,
    # and the finite sum must be at least -3, which it always is.
    assert result.p_value == 2 / 64
    both_missed = paired_effects([INF] * 6, [INF] * 6, resamples=50, seed=0)
    assert (both_missed.mean, both_missed.p_value, both_missed.ties) == ((0.0, 0.0, 0.0), 1.0, 6)
    mixed = of([INF, -INF, 1.0])
    assert math.isnan(mixed.mean.estimate)
    assert (mixed.mean.low, mixed.mean.high, mixed.p_value) == (-INF, INF, 1.0)


def test_single_and_equal_pairs():
    single = of([2.0])
    assert single == ((2.0, -INF, INF), (2.0, -INF, INF), (2.0, -INF, INF), (2.0, -INF, INF), 1.0, 0, 1, 0)
    equal = of([2.0] * 8)
    assert equal[:4] == ((2.0, 2.0, 2.0),) * 4
    assert equal.p_value == 2 / 256


# --- paired_ratio ----------------------------------------------------------------------------------------------------


def test_ratios_are_geometric():
    result = paired_ratio([100, 400, 100, 400, 100, 400], [200] * 6, seed=0)
    assert result.mean.estimate == 1.0  # of 1/2 and 2
    assert result.median.estimate == 1.0
    assert result.p_value == 1.0
    steady = paired_ratio([100, 200, 300, 400, 500, 600], [200, 400, 600, 800, 1000, 1200], seed=0)
    assert steady.mean == pytest.approx((0.5, 0.5, 0.5))
    assert steady.p_value == 2 / 64


def test_ratios_do_not_depend_on_units_and_invert_when_swapped():
    x, y = np.random.default_rng(0).lognormal(size=(2, 9))
    result, scaled, swapped = (paired_ratio(*pair, resamples=50, seed=0) for pair in ((x, y), (60 * x, 60 * y), (y, x)))
    assert scaled.mean == pytest.approx(result.mean)
    assert swapped.mean == pytest.approx((1 / result.mean.estimate, 1 / result.mean.high, 1 / result.mean.low))


def test_missed_targets_are_ratios_of_zero_and_infinity():
    result = paired_ratio([INF, 100, INF, 50], [100, INF, INF, 100], resamples=50, seed=0)
    assert (result.wins, result.losses, result.ties) == (2, 1, 1)
    assert paired_ratio([INF] * 7, [10] * 7, resamples=50, seed=0).mean == (INF, INF, INF)
    assert paired_ratio([10] * 7, [INF] * 7, resamples=50, seed=0).mean == (0.0, 0.0, 0.0)
    with pytest.raises(ValueError, match="times above 0"):
        paired_ratio([0.0], [1.0], seed=0)
