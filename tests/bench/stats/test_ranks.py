"""Published: Demšar's example. Oracle: scipy.stats. Laws of ranks, and the joint bootstrap's behaviour."""

import itertools
import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from dlkit.bench.stats import friedman, friedman_permutation, nemenyi_distance, rank_bootstrap, rank_correlation
from dlkit.bench.stats.resampling import joint_medians, medians
from tests.bench.stats.published import DEMSAR_RANKS

INF = math.inf

# --- friedman, nemenyi_distance --------------------------------------------------------------------------------------


def test_demsars_example():
    result = friedman(np.array(DEMSAR_RANKS).T)
    assert result.mean_ranks == pytest.approx([3.143, 2.000, 2.893, 1.964], abs=5e-4)
    assert result.chi_square == pytest.approx(9.28, abs=0.005)
    assert result.f == pytest.approx(3.69, abs=0.005)
    assert nemenyi_distance(4, 14, 0.05) == pytest.approx(1.25, abs=0.005)


# Demšar 2006, table 5(a): q_0.05 and q_0.10, already divided by √2.
@pytest.mark.parametrize(
    ("k", "q5", "q10"), [(2, 1.960, 1.645), (3, 2.343, 2.052), (6, 2.850, 2.589), (10, 3.164, 2.920)]
)
def test_critical_values_as_tabled(k, q5, q10):
    scale = math.sqrt(k * (k + 1) / (6 * 9))
    assert nemenyi_distance(k, 9, 0.05) / scale == pytest.approx(q5, abs=1.1e-3)
    assert nemenyi_distance(k, 9, alpha=0.10) / scale == pytest.approx(q10, abs=1.1e-3)


@pytest.mark.parametrize("k", [2, 5, 20])
def test_critical_distance_matches_scipys_studentized_range(k):
    expected = scipy.stats.studentized_range.ppf(0.99, k, np.inf) / math.sqrt(2) * math.sqrt(k * (k + 1) / 42)
    assert nemenyi_distance(k, 7, 0.01) == pytest.approx(expected, rel=1e-6)


@given(st.lists(st.lists(st.integers(0, 4), min_size=3, max_size=3), min_size=2, max_size=12))
def test_friedman_matches_scipy(rows):
    scores = np.array(rows, dtype=float).T
    result = friedman(scores)
    ranks = scipy.stats.rankdata(scores, axis=0)
    assert result.mean_ranks == pytest.approx(ranks.mean(axis=1))
    if np.ptp(scores, axis=0).any() and np.ptp(result.mean_ranks) > 1e-12:
        expected = scipy.stats.friedmanchisquare(*scores)
        assert result.tied_chi_square == pytest.approx(expected.statistic)
        assert result.tied_chi_square_p == pytest.approx(expected.pvalue)
        n, k = len(rows), 3
        for chi_square, f, p_value in (
            (result.chi_square, result.f, result.f_p),
            (result.tied_chi_square, result.tied_f, result.tied_f_p),
        ):
            if math.isfinite(f):
                assert f == pytest.approx((n - 1) * chi_square / (n * (k - 1) - chi_square))
                assert p_value == pytest.approx(scipy.stats.f.sf(f, k - 1, (k - 1) * (n - 1)), abs=1e-12)
    else:
        assert (result.f, result.f_p, result.tied_f_p) == (0.0, 1.0, 1.0)


def test_friedman_at_its_ends():
    unanimous = friedman([[1.0] * 5, [2.0] * 5, [INF] * 5])
    assert unanimous.mean_ranks.tolist() == [1.0, 2.0, 3.0]
    assert (unanimous.chi_square, unanimous.f, unanimous.f_p) == (10.0, INF, 0.0)
    assert friedman([[1.0], [2.0]]).tied_f_p == 1.0
    assert friedman([[1.0, 2.0], [1.0, 2.0]]).chi_square_p == 1.0
    assert friedman([[1, 5], [2, 6]], higher_is_better=True).mean_ranks.tolist() == [2.0, 1.0]


# --- friedman_permutation --------------------------------------------------------------------------------------------


def test_permuted_ranks_against_every_order():
    """Three contenders, three problems with ties: all 6³ orders counted."""
    scores = np.array([[1.0, 1.0, 2.0], [2.0, 3.0, 2.0], [3.0, 3.0, 9.0]])
    ranks = scipy.stats.rankdata(scores, axis=0)

    def statistic(sums):
        return round(float((np.asarray(sums) ** 2).sum()), 9)

    orders = [list(itertools.permutations(column)) for column in ranks.T]
    reached = [statistic(np.sum(chosen, axis=0)) for chosen in itertools.product(*orders)]
    exact = np.mean(np.array(reached) >= statistic(ranks.sum(axis=1)))
    found = friedman_permutation(scores, resamples=20_000, seed=0)
    assert found == pytest.approx(exact, abs=4 * math.sqrt(exact / 20_000))
    assert friedman_permutation(-scores, resamples=20_000, seed=0, higher_is_better=True) == found


def test_problems_that_say_nothing_give_a_p_value_of_one():
    assert friedman_permutation([[1.0], [2.0]], resamples=99, seed=0) == 1.0
    assert friedman_permutation([[INF, 3.0], [INF, 3.0]], resamples=99, seed=0) == 1.0
    with pytest.raises(ValueError, match="at least two contenders"):
        friedman_permutation([[1.0, 2.0]], seed=0)
    with pytest.raises(ValueError, match="resamples must be at least 1"):
        friedman_permutation([[1.0], [2.0]], resamples=0, seed=0)


# --- rank_bootstrap --------------------------------------------------------------------------------------------------


def test_ranks_are_those_of_medians():
    scores = np.random.default_rng(0).integers(0, 6, size=(4, 5, 7)).astype(float)
    result = rank_bootstrap(scores, resamples=200, seed=0)
    expected = scipy.stats.rankdata(np.median(scores, axis=1), axis=0).mean(axis=1)
    assert result.mean_ranks == pytest.approx(expected)
    assert (result.low <= result.mean_ranks).all()
    assert (result.mean_ranks <= result.high).all()
    assert result.probability_best.sum() == pytest.approx(1.0)
    flipped = rank_bootstrap(-scores, resamples=200, seed=0, higher_is_better=True)
    assert flipped.mean_ranks.tolist() == result.mean_ranks.tolist()
    assert flipped.probability_best.tolist() == result.probability_best.tolist()


def test_a_clear_order_is_certain_and_equals_share():
    noise = np.random.default_rng(0).normal(size=(1, 5, 10))
    ordered = rank_bootstrap(noise + np.arange(3.0)[:, None, None], resamples=100, seed=0)
    assert ordered.probability_best.tolist() == [1.0, 0.0, 0.0]  # paired seeds: never out of order
    z2 = 1.959963984540054**2
    sure = 10 / (10 + z2)  # Wilson's lower end for 10 hits in 10 problems; on the rest it may rank 1 or 3
    assert ordered.low == pytest.approx([1.0, 2 * sure + 1 - sure, 3 * sure + 1 - sure])
    assert ordered.high == pytest.approx([sure + 3 * (1 - sure), 2 * sure + 3 * (1 - sure), 3.0])
    equal = rank_bootstrap(np.repeat(noise, 4, axis=0), resamples=100, seed=0)
    assert equal.probability_best.tolist() == [0.25] * 4
    assert rank_bootstrap(np.full((2, 3, 4), INF), resamples=50, seed=0).mean_ranks.tolist() == [1.5, 1.5]


def test_seeds_are_resampled_together():
    """One problem, one lucky seed: the contender is best exactly in the resamples whose median that seed decides."""
    scores = np.array([[[0.0], [9.0], [9.0]], [[5.0], [5.0], [5.0]]])
    result = rank_bootstrap(scores, resamples=20_000, seed=1)
    lucky = 7 / 27  # at least two of three draws are the first of three seeds
    assert result.probability_best[0] == pytest.approx(lucky, abs=0.01)


def test_one_seed_and_one_problem_say_nothing():
    result = rank_bootstrap([[[1.0]], [[2.0]], [[3.0]]], resamples=10, seed=0)
    assert (result.low.tolist(), result.high.tolist()) == ([1.0] * 3, [3.0] * 3)


@pytest.mark.parametrize("seeds", [1, 2, 5, 6])
def test_medians_of_resamples_are_medians_of_what_was_drawn(seeds):
    """With one problem the resampled medians are those of all n^n draws, each as often as it should be."""
    values = np.random.default_rng(seeds).integers(0, 4, size=(2, seeds, 1)).astype(float)
    values[0, 0] = INF
    drawn = np.concatenate(list(joint_medians(values, 4000, seed=0)))[:, :, 0]
    rows = np.random.default_rng(9).integers(0, seeds, size=(200_000, seeds))
    with np.errstate(invalid="ignore"):
        expected = np.median(values[:, rows, 0], axis=2).T
    for contender in range(2):
        finite = np.unique(expected[:, contender])
        assert set(np.unique(drawn[:, contender])) <= set(finite)
        for value in finite:
            share = np.mean(expected[:, contender] == value)
            assert np.mean(drawn[:, contender] == value) == pytest.approx(share, abs=0.035)
    assert medians(values).ravel().tolist() == np.median(values, axis=1).ravel().tolist()


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
