"""Oracles: scipy.stats, enumeration of all sign flips and all subsets, textbook values, laws."""

import itertools
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.stats_simulation import DISTRIBUTIONS, coverage, false_claims, rejection_rates
from dlkit.bench import stats
from dlkit.bench.stats import (
    Interval,
    best_again,
    expected_best,
    holm,
    luck_p_value,
    median_interval,
    paired_difference,
    rank_correlation,
    wilson_interval,
)

INF = math.inf

# Integers: sums and scalings are exact, and a narrow range makes ties and zeros common.
tied = st.lists(st.integers(-6, 6), min_size=1, max_size=14).map(lambda d: np.array(d, dtype=float))
untied = st.lists(st.integers(-300, 300).filter(bool), min_size=1, max_size=16, unique_by=abs).map(
    lambda d: np.array(d, dtype=float)
)
samples = st.lists(st.integers(-50, 50) | st.just(INF), min_size=1, max_size=25)


def of(differences):
    """The paired difference whose pairs differ by these."""
    return paired_difference(differences, np.zeros(len(differences)))


def enumerated_p_value(differences):
    """Two-sided p-value over all sign flips of ranks that include the zeros, written without the library."""
    ranks = scipy.stats.rankdata(np.abs(differences)) * (np.asarray(differences) != 0)
    observed = abs(np.sum(np.sign(differences) * ranks))
    signs = np.array(list(itertools.product((-1, 1), repeat=len(ranks))))
    return np.mean(np.abs(signs @ ranks) >= observed - 1e-9)


# --- wilson_interval -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("hits", "trials"), [(0, 1), (1, 1), (0, 10), (3, 10), (10, 10), (77, 100), (1, 1000)])
@pytest.mark.parametrize("level", [0.5, 0.9, 0.95, 0.999])
def test_wilson_matches_scipy(hits, trials, level):
    expected = scipy.stats.binomtest(hits, trials).proportion_ci(level, method="wilson")
    assert wilson_interval(hits, trials, level=level) == pytest.approx(
        (hits / trials, expected.low, expected.high), abs=1e-12
    )


def test_wilson_stays_inside_and_touches_the_ends():
    for trials in range(1, 200):
        assert wilson_interval(0, trials).low == 0.0
        assert wilson_interval(trials, trials).high == 1.0
    estimate, low, high = wilson_interval(0, 0)
    assert math.isnan(estimate)
    assert (low, high) == (0.0, 1.0)


@pytest.mark.parametrize(("hits", "trials"), [(-1, 5), (6, 5), (0, -1)])
def test_wilson_refuses_impossible_counts(hits, trials):
    with pytest.raises(ValueError, match="hits must lie between 0 and trials"):
        wilson_interval(hits, trials)


def test_wilson_refuses_shares():
    with pytest.raises(TypeError):
        wilson_interval(0.5, 10)


# --- median_interval -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 5, 6, 7, 8, 10, 17, 20, 100, 1200])
@pytest.mark.parametrize("level", [0.5, 0.9, 0.95, 0.99])
def test_median_interval_takes_the_narrowest_symmetric_ranks(n, level):
    values = np.random.default_rng(n).permutation(np.arange(1.0, n + 1))  # values are their own ranks
    result = median_interval(values, level=level)
    assert result.estimate == np.median(values)
    missed = 2 * scipy.stats.binom.cdf(np.arange(n), n, 0.5)  # of ranks r = 1, 2, ...: 2 P(B <= r - 1)
    rank = int(np.sum(missed <= 1 - level + 1e-12))
    assert (result.low, result.high) == ((rank, n + 1 - rank) if rank else (-INF, INF))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([3.0], (3.0, -INF, INF)),
        ([1, 2, 3, 4, 5], (3.0, -INF, INF)),
        ([6, 5, 4, 3, 2, 1], (3.5, 1.0, 6.0)),
        ([2.0] * 8, (2.0, 2.0, 2.0)),
        ([INF] * 8, (INF, INF, INF)),
        ([1, 2, 3, INF, INF, INF], (INF, 1.0, INF)),
        ([1, 2, 3, 4, INF, INF], (3.5, 1.0, INF)),
        ([1, 2, INF], (2.0, -INF, INF)),
        ([1e308, 1.5e308], (1.25e308, -INF, INF)),
    ],
)
def test_median_interval_of_small_and_censored_samples(values, expected):
    assert median_interval(values) == Interval(*expected)


def test_median_between_opposite_infinities_is_undefined():
    assert math.isnan(median_interval([-INF, INF]).estimate)


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


# --- holm ------------------------------------------------------------------------------------------------------------


def test_holm_by_hand():
    # sorted 0.005, 0.01, 0.03, 0.04 times 4, 3, 2, 1: 0.02, 0.03, 0.06, 0.04 -> running maximum
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02], rtol=1e-15)
    assert holm([0.7, 0.6]).tolist() == [1.0, 1.0]
    assert holm([0.04]).tolist() == [0.04]


@given(st.lists(st.integers(0, 1000).map(lambda p: p / 1000), min_size=1, max_size=12), st.integers(1, 999))
@settings(deadline=None)
def test_holm_is_the_closed_test_by_bonferroni(p_values, per_mille):
    """Rejects a hypothesis iff Bonferroni rejects every prefix of the sorted p-values up to it."""
    level = per_mille / 1000 + 1e-7  # off the grid, so that rounding decides nothing
    ordered = sorted(p_values)
    failing = [p for rank, p in enumerate(ordered) if p > level / (len(p_values) - rank)]
    cut = min(failing, default=2.0)
    assert (holm(p_values) <= level).tolist() == [p < cut for p in p_values]


@pytest.mark.parametrize("p_values", [[-0.1, 0.5], [0.5, 1.1]])
def test_holm_refuses_what_is_no_probability(p_values):
    with pytest.raises(ValueError, match=r"p_values must lie in \[0, 1\]"):
        holm(p_values)


# --- expected_best ---------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(-50, 50) | st.just(INF), min_size=1, max_size=8), st.data())
@settings(deadline=None)
def test_expected_best_is_the_mean_over_all_subsets(values, data):
    k = data.draw(st.integers(1, len(values)))
    expected = np.mean([min(subset) for subset in itertools.combinations(values, k)])
    assert expected_best(values, k) == pytest.approx(expected, rel=1e-12, abs=1e-12)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40))
@settings(deadline=None)
def test_the_tuning_curve_falls_from_mean_to_minimum(values):
    curve = [expected_best(values, k) for k in range(1, len(values) + 1)]
    assert curve[0] == pytest.approx(np.mean(values), rel=1e-9, abs=1e-7)
    assert curve[-1] == min(values)
    assert all(later <= earlier + 1e-8 for earlier, later in itertools.pairwise(curve))


def test_diverged_trials_make_the_curve_infinite_while_they_can_be_drawn_alone():
    assert [expected_best([INF, 2.0, INF, 1.0], k) for k in (1, 2, 3, 4)] == [INF, INF, 1.5 - 0.25, 1.0]


@pytest.mark.parametrize("k", [0, 4, -1])
def test_expected_best_refuses_an_impossible_draw(k):
    with pytest.raises(ValueError, match=f"k must lie between 1 and the 3 observed values, got {k}"):
        expected_best([1.0, 2.0, 3.0], k)


def test_expected_best_refuses_minus_infinity():
    with pytest.raises(ValueError, match="lower is better"):
        expected_best([1.0, -INF], 1)


# --- rank_correlation ------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(-3, 3)), min_size=2, max_size=20))
@settings(deadline=None)
def test_rank_correlation_matches_scipy(pairs):
    x, y = np.array(pairs, dtype=float).T
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        assert math.isnan(rank_correlation(x, y))
    else:
        assert rank_correlation(x, y) == pytest.approx(scipy.stats.spearmanr(x, y).statistic, abs=1e-12)


def test_rank_correlation_of_monotone_and_infinite_values():
    assert rank_correlation([1, 2, 3, INF], [-5, 0.1, 7, 8]) == 1.0
    assert rank_correlation([1, 2, 3, INF], [9, 8, 7, -INF]) == -1.0
    assert math.isnan(rank_correlation([1], [2]))


# --- all of them -----------------------------------------------------------------------------------------------------

ON_SAMPLES = {
    "median_interval": median_interval,
    "paired_difference x": lambda values: paired_difference(values, [0.0] * len(values)),
    "paired_difference y": lambda values: paired_difference([0.0] * len(values), values),
    "holm": holm,
    "expected_best": lambda values: expected_best(values, 1),
    "rank_correlation": lambda values: rank_correlation(values, values),
}


@pytest.mark.parametrize("function", ON_SAMPLES.values(), ids=ON_SAMPLES.keys())
def test_empty_matrix_and_nan_are_refused_with_advice(function):
    with pytest.raises(ValueError, match="must be a vector of at least one number"):
        function([])
    with pytest.raises(ValueError, match=r"must be a vector .* got shape \(2, 2\)|paired"):
        function([[1.0, 2.0], [0.0, 1.0]])
    with pytest.raises(ValueError, match=r"has NaN at \[1\]; encode a diverged"):
        function([0.5, math.nan])


@pytest.mark.parametrize("function", [paired_difference, rank_correlation])
def test_unpaired_samples_are_refused(function):
    with pytest.raises(ValueError, match=r"x and y must be paired, got \[3, 2\] numbers"):
        function([1, 2, 3], [1, 2])


@pytest.mark.parametrize("level", [0.0, 1.0, 95, -0.5, math.nan])
def test_levels_that_are_none_are_refused(level):
    for call in (
        lambda: wilson_interval(1, 2, level=level),
        lambda: median_interval([1.0], level=level),
        lambda: paired_difference([1.0], [2.0], level=level),
    ):
        with pytest.raises(ValueError, match="level must lie between 0 and 1"):
            call()


@given(samples)
@settings(deadline=None)
def test_results_are_plain_numbers_and_inputs_are_left_alone(values):
    array = np.array(values, dtype=float)
    results = [*median_interval(array), *paired_difference(array, np.zeros(array.size)), expected_best(array, 1)]
    assert {type(value) for value in results} <= {float, int}
    assert array.tolist() == values


def test_stats_needs_numpy_only():
    program = (
        "import runpy, sys; runpy.run_path(sys.argv[1]);"
        "assert not {'jax', 'scipy', 'dlkit', 'pandas'} & set(sys.modules), 'imported too much'"
    )
    subprocess.run([sys.executable, "-c", program, str(Path(stats.__file__))], check=True)


# --- a small part of benchmarks/stats_simulation.py ------------------------------------------------------------------


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
    beats_all, _, beats_one_of_all_pairs, unadjusted = false_claims("normal", 3, 300, np.random.default_rng(5))
    assert max(beats_all, beats_one_of_all_pairs, unadjusted) <= 0.06


# --- the luck of tuning ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("distance", [0.0, 0.3, 1.0, 4.0])
@pytest.mark.parametrize("noise", [0.2, 1.0])
def test_the_better_of_two_is_picked_as_often_as_their_difference_is_positive(distance, noise):
    shares = best_again([5.0, 5.0 + distance], noise)
    expected = scipy.stats.norm.cdf(distance / (noise * math.sqrt(2)))
    np.testing.assert_allclose(shares, [expected, 1 - expected], atol=1e-6)


def test_shares_of_being_best_agree_with_simulation():
    values = np.array([0.3, 0.0, 0.9, 0.1, 2.0])
    drawn = values + 0.6 * np.random.default_rng(0).normal(size=(200_000, 5))
    expected = np.bincount(drawn.argmin(axis=1), minlength=5) / len(drawn)
    np.testing.assert_allclose(best_again(values, 0.6), expected, atol=0.005)


@pytest.mark.parametrize("values", [[], [math.nan, 1.0], [math.inf, 1.0]])
def test_best_again_refuses_what_is_not_finite(values):
    with pytest.raises(ValueError, match="values"):
        best_again(values, 1.0)
    with pytest.raises(ValueError, match="noise above 0"):
        best_again([1.0], 0.0)


def test_luck_agrees_with_tuning_again_and_again():
    ours, theirs, noise, error = np.array([0.0, 0.5, 0.6]), np.array([0.2, 0.1, 1.5, 0.9]), 0.4, 0.1
    rng = np.random.default_rng(1)

    def again(scores):
        picked = scores[(scores + noise * rng.normal(size=(200_000, len(scores)))).argmin(axis=1)]
        return picked - picked.mean()

    gaps = again(ours) - again(theirs) + error * rng.normal(size=200_000)
    for gap in (-0.7, 0.05, 0.4, 0.9):
        share = np.mean(np.abs(gaps) >= abs(gap))
        assert luck_p_value(gap, error, ours, theirs, noise) == pytest.approx(share, abs=0.005)


@pytest.mark.parametrize("scores", [[0.3], [0.2, 0.2, 0.2], [0.1, math.inf], [math.inf], []])
def test_no_choice_that_matters_is_no_luck(scores):
    assert luck_p_value(1.0, 0.1, scores, [0.5], 1.0) == 0.0


def test_a_choice_of_either_side_is_luck():
    one = luck_p_value(0.7, 0.1, [7.0], [0.0, 1.0], 1.0)
    assert one == pytest.approx(luck_p_value(0.7, 0.1, [0.0, 1.0, math.inf], [7.0], 1.0))
    assert one > 0.1
