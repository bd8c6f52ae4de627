"""Oracles: scipy.stats, enumeration of all sign flips, textbook values, laws; a small part of the simulation."""

import itertools
import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.stats_simulation import DISTRIBUTIONS, coverage, false_winners, rejection_rates
from dlkit.bench.stats import paired_difference, wilcoxon

INF = math.inf

# Integers: sums and scalings are exact, and a narrow range makes ties and zeros common.
tied = st.lists(st.integers(-6, 6), min_size=1, max_size=14).map(lambda d: np.array(d, dtype=float))
untied = st.lists(st.integers(-300, 300).filter(bool), min_size=1, max_size=16, unique_by=abs).map(
    lambda d: np.array(d, dtype=float)
)


def of(differences):
    """The paired difference whose pairs differ by these."""
    return paired_difference(differences, np.zeros(len(differences)))


def enumerated_p_value(differences):
    """Two-sided p-value over all sign flips of ranks that include the zeros, written without the library."""
    ranks = scipy.stats.rankdata(np.abs(differences)) * (np.asarray(differences) != 0)
    observed = abs(np.sum(np.sign(differences) * ranks))
    signs = np.array(list(itertools.product((-1, 1), repeat=len(ranks))))
    return np.mean(np.abs(signs @ ranks) >= observed - 1e-9)


# --- paired_difference: the p-value ----------------------------------------------------------------------------------


@given(untied)
@settings(deadline=None)
def test_p_value_matches_scipy_without_ties(differences):
    expected = scipy.stats.wilcoxon(differences, method="exact").pvalue
    assert of(differences).p_value == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("n", [20, 50, 200])
def test_p_value_matches_scipy_for_many_pairs(n):
    differences = np.random.default_rng(n).normal(0.3, size=n)
    expected = scipy.stats.wilcoxon(differences, method="exact" if n <= 50 else "approx").pvalue
    assert of(differences).p_value == pytest.approx(expected, rel=1e-9 if n <= 50 else 0.05)


@given(st.lists(st.integers(-4, 4) | st.sampled_from([-INF, INF]), min_size=1, max_size=9))
@settings(max_examples=150, deadline=None)
def test_p_value_is_the_share_of_sign_flips(differences):
    assert of(differences).p_value == pytest.approx(enumerated_p_value(differences), rel=1e-12)


@pytest.mark.parametrize(
    "magnitudes",
    [range(1, 9), [1] * 8, [0, 0, 0, 1, 1, 2, 2, 3], [0, 1, 1, 1, 1, 5, 5, 9], [1, 1, 2, 2, 3, 3, INF, INF]],
)
@pytest.mark.parametrize("level", [0.5, 0.9, 0.95])
def test_test_and_interval_are_exact_under_all_sign_flips(magnitudes, level):
    """The null distribution given |d|: neither the test nor the interval errs more often than it says."""
    signs = itertools.product((-1, 1), repeat=len(magnitudes))
    results = [paired_difference(np.multiply(s, magnitudes), [0.0] * len(magnitudes), level=level) for s in signs]
    assert np.mean([result.p_value <= 1 - level for result in results]) <= 1 - level
    assert np.mean([not result.low <= 0 <= result.high for result in results]) <= 1 - level


# --- paired_difference: estimate and interval ------------------------------------------------------------------------


def test_hollander_and_wolfe_depression_data():
    """Table 3.1 of Nonparametric Statistical Methods: p = 2 x 0.0195, estimate -0.46, 96.1 % interval."""
    before = [1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30]
    after = [0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29]
    result = paired_difference(after, before)
    assert result.p_value == 20 / 512
    assert result[:3] == pytest.approx((-0.46, -0.786, -0.010))
    assert result[4:] == (7, 2, 0)


@given(untied, st.sampled_from([0.5, 0.9, 0.95]))
@settings(max_examples=60, deadline=None)
def test_interval_inverts_the_test(differences, level):
    """Between neighbouring Walsh averages the shifted test rejects outside the interval only."""
    result = paired_difference(differences, np.zeros(differences.size), level=level)
    walsh = np.unique(np.add.outer(differences, differences) / 2)
    between = [walsh[0] - 1, *((walsh[1:] + walsh[:-1]) / 2), walsh[-1] + 1]
    for shift in between[:: max(1, len(between) // 12)]:
        shifted = paired_difference(differences, np.full(differences.size, shift))
        assert (shifted.p_value > 1 - level) == (result.low <= shift <= result.high)


@given(untied, st.sampled_from([0.5, 0.9, 0.95, 0.99]))
@settings(deadline=None)
def test_interval_and_p_value_agree_without_ties(differences, level):
    result = paired_difference(differences, np.zeros(differences.size), level=level)
    assert (result.p_value <= 1 - level) == (not result.low <= 0 <= result.high)


@given(tied, st.sampled_from([0.5, 0.9, 0.95, 0.99]))
@settings(deadline=None)
def test_interval_never_claims_more_than_the_test(differences, level):
    result = paired_difference(differences, np.zeros(differences.size), level=level)
    if not result.low <= 0 <= result.high:
        assert result.p_value <= 1 - level
    assert result.low <= result.estimate <= result.high


def test_interval_is_widened_where_ties_make_the_test_weaker():
    differences = [1, 1, 1, 1, 1, 1, 1, -2, 3, 4]  # untied ranks would exclude 0
    result = of(differences)
    assert result.p_value == 60 / 1024 == enumerated_p_value(differences)
    assert (result.low, result.high) == (0.0, 2.5)


def test_zero_inside_an_interval_although_the_test_rejects():
    """What the docstring calls rare: many ties of opposite signs."""
    result = of([-1, -1, -1, 2, 2, 3, 3, 3, 3])
    assert result.p_value <= 0.05
    assert result.low < 0 < result.high


@pytest.mark.parametrize(
    ("x", "y", "expected"),
    [
        ([1.0], [2.0], (-1.0, -INF, INF, 1.0, 1, 0, 0)),
        ([1, 2, 3, 4, 5], [0, 0, 0, 0, 0], (3.0, -INF, INF, 0.0625, 0, 5, 0)),
        ([1.5] * 10, [1.5] * 10, (0.0, 0.0, 0.0, 1.0, 0, 0, 10)),
        ([2.0] * 6, [1.0] * 6, (1.0, 1.0, 1.0, 0.03125, 0, 6, 0)),
        ([INF] * 6, [INF] * 6, (0.0, 0.0, 0.0, 1.0, 0, 0, 6)),
        ([INF] * 6, [1.0] * 6, (INF, INF, INF, 0.03125, 0, 6, 0)),
        ([1.0] * 6, [INF] * 6, (-INF, -INF, -INF, 0.03125, 6, 0, 0)),
        ([INF, 1.0], [1.0, INF], (0.0, -INF, INF, 1.0, 1, 1, 0)),
        ([INF, 1.0, 4.0], [1.0, INF, 1.0], (3.0, -INF, INF, 1.0, 1, 2, 0)),
    ],
)
def test_small_tied_and_infinite_pairs(x, y, expected):
    assert tuple(paired_difference(x, y)) == expected


def test_one_diverged_seed_widens_one_end_only():
    result = paired_difference([1, 2, 3, 4, 5, 6, 7, INF], [2, 4, 6, 8, 10, 12, 14, 3])
    assert result.estimate < 0
    assert math.isfinite(result.low)
    assert result.high == INF


def test_opposite_infinities_take_the_worse_value_at_each_end():
    differences = [-INF] * 3 + [INF] * 10 + [1, 2, 3, 4, 5, 6, 7]
    # rank 53 of 210 averages: 27 are -inf and 30 undefined
    assert of(differences)[:3] == (INF, -INF, INF)
    assert of(np.negative(differences))[:3] == (-INF, -INF, INF)
    assert of([-INF, INF, 1.0, 1.0, 1.0, 1.0]).estimate == 1.0


@given(tied, st.sampled_from([0.25, 2.0, 64.0]))
@settings(deadline=None)
def test_swapping_negates_and_scaling_scales(differences, factor):
    zeros = np.zeros(differences.size)
    forward, backward = paired_difference(differences, zeros), paired_difference(zeros, differences)
    assert backward[:3] == (-forward.estimate, -forward.high, -forward.low)
    assert backward[3:] == (forward.p_value, forward.losses, forward.wins, forward.ties)
    scaled = of(factor * differences)
    assert scaled == (*(factor * value for value in forward[:3]), *forward[3:])


@given(untied, st.integers(-400, 400))
@settings(deadline=None)
def test_shifting_shifts(differences, shift):
    moved = differences + shift
    if np.unique(np.abs(moved[moved != 0])).size < moved.size:
        return  # ties: 0 is special, see above
    assert of(moved)[:3] == tuple(value + shift for value in of(differences)[:3])


@given(tied, st.randoms(use_true_random=False))
@settings(deadline=None)
def test_the_order_of_pairs_does_not_matter(differences, random):
    shuffled = differences.tolist()
    random.shuffle(shuffled)
    assert of(shuffled) == of(differences)


@given(st.lists(st.tuples(st.integers(200, 215), st.integers(200, 215)), min_size=1, max_size=20))
@settings(deadline=None)
def test_shares_and_float32_shares_agree_with_counts(counts):
    x, y = np.array(counts).T
    exact = paired_difference(x, y)
    for dtype in (np.float64, np.float32):
        share = paired_difference((x / 270).astype(dtype), (y / 270).astype(dtype))
        assert share[3:] == exact[3:]
        assert np.array(share[:3]) * 270 == pytest.approx(np.array(exact[:3]), abs=1e-3)
        assert (np.sign(share[1:3]) == np.sign(exact[1:3])).all()  # an end on 0 stays on 0


def test_rounding_never_turns_a_difference_into_a_tie():
    result = paired_difference([1.0, 1.0], [np.nextafter(1.0, 2), 1.0])
    assert (result.wins, result.losses, result.ties) == (1, 0, 1)


# --- wilcoxon --------------------------------------------------------------------------------------------------------


def test_wilcoxon_of_the_depression_data():
    """Hollander and Wolfe, example 3.1: T+ = 5 for the two patients that got worse."""
    before = [1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30]
    after = [0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29]
    assert wilcoxon(after, before) == (40.0, 5.0, 20 / 512)


@given(tied)
@settings(max_examples=60, deadline=None)
def test_wilcoxon_matches_scipys_statistic_and_the_paired_difference(differences):
    result = wilcoxon(differences, np.zeros(differences.size))
    if differences.any():
        expected = scipy.stats.wilcoxon(differences, zero_method="pratt", method="asymptotic").statistic
        assert min(result.better, result.worse) == expected
    assert result.p_value == of(differences).p_value


# --- a small part of benchmarks/stats_simulation.py ------------------------------------------------------------------


@pytest.mark.long
@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_simulated_coverage_and_size(name):
    rng = np.random.default_rng(11)
    for seeds in (6, 20):
        assert min(coverage(name, seeds, 600, rng)) >= 0.93
        assert max(rejection_rates(name, seeds, 0.0, 600, rng)) <= 0.06


def test_intervals_are_not_wide_for_nothing():
    """With ten seeds and continuous data, the exact levels are 97.9 % (median) and 95.1 % (paired)."""
    median, paired = coverage("normal", 10, 800, np.random.default_rng(3))
    assert median == pytest.approx(0.979, abs=0.015)
    assert paired == pytest.approx(0.951, abs=0.02)


def test_simulated_verdicts_on_equal_contenders():
    of_two, of_three = (false_winners("normal", count, 300, np.random.default_rng(5)) for count in (2, 3))
    assert 0.01 <= of_two <= 0.09  # about 4.9 %, the level of the exact test, within three standard errors
    assert of_three <= 0.04
