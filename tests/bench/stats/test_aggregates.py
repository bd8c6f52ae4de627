"""Oracles: scipy.stats (trimmed mean, Mann-Whitney), hand-computed values, exact coverage by enumeration."""

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from dlkit.bench.stats import iqm, optimality_gap, probability_of_improvement, wilson_interval

INF = math.inf
numbers = st.lists(st.integers(-20, 20).map(float), min_size=1, max_size=20)


@given(numbers)
def test_iqm_matches_scipys_trimmed_mean(values):
    assert iqm(values) == pytest.approx(scipy.stats.trim_mean(values, 0.25), abs=1e-12)


def test_iqm_pools_seeds_and_problems_and_keeps_leading_axes():
    scores = np.random.default_rng(0).normal(size=(3, 5, 4))
    assert iqm(scores) == pytest.approx([scipy.stats.trim_mean(each.ravel(), 0.25) for each in scores])


def test_iqm_with_diverged_scores():
    assert iqm([1.0, 2.0, 3.0, INF]) == 2.5
    assert iqm([1.0, 2.0, INF, INF]) == INF
    assert math.isnan(iqm([-INF, -INF, INF, INF]))


def test_optimality_gap_by_hand():
    assert optimality_gap([[0.5, 2.0], [1.0, 4.0]], threshold=1.0) == (0 + 1 + 0 + 3) / 4
    assert optimality_gap([0.5, 2.0, 4.0], threshold=1.0, higher_is_better=True) == pytest.approx(0.5 / 3)
    assert optimality_gap([0.5, INF], threshold=1.0) == INF
    assert optimality_gap([0.1, -3.0], threshold=1.0) == 0.0


# --- probability_of_improvement --------------------------------------------------------------------------------------


@given(numbers, numbers)
def test_probability_of_improvement_matches_mann_whitney(x, y):
    expected = scipy.stats.mannwhitneyu(y, x).statistic / (len(x) * len(y))
    result = probability_of_improvement(x, y)
    assert result.estimate == pytest.approx(expected)
    assert 0 <= result.low <= result.estimate <= result.high <= 1
    swapped = probability_of_improvement(y, x)
    assert swapped == pytest.approx((1 - result.estimate, 1 - result.high, 1 - result.low), abs=1e-9)
    assert probability_of_improvement(np.negative(x), np.negative(y), higher_is_better=True) == result


def test_problems_are_averaged_and_never_compared():
    x, y = [[1.0, 900.0], [2.0, 901.0]], [[3.0, 800.0], [4.0, 801.0]]
    assert probability_of_improvement(x, y).estimate == 0.5  # all of the first problem, none of the second
    assert probability_of_improvement([[1.0], [INF]], [[INF]]).estimate == 0.75


def test_the_interval_is_wilsons_where_one_seed_is_each_problem():
    """One pair a problem: wins in n independent trials, and variance p (1 - p) / n."""
    x, y = np.zeros((1, 12)), np.where(np.arange(12) < 9, 1.0, -1.0)[None]
    result = probability_of_improvement(x, y)
    # Newcombe's variance with m = n = 1 is that of one trial; the score interval is Wilson's.
    assert result == pytest.approx(wilson_interval(9, 12), abs=1e-9)


def test_even_complete_separation_leaves_doubt():
    result = probability_of_improvement([1, 2, 3, 4, 5], [6, 7, 8, 9, 10])
    assert result.estimate == result.high == 1.0
    assert 0.5 < result.low < 0.9
    assert probability_of_improvement([1.0], [2.0]).low < 0.5


def test_contenders_must_have_the_same_problems():
    with pytest.raises(ValueError, match="same problems, got 2 and 1 columns"):
        probability_of_improvement([[1.0, 2.0]], [[1.0]])
