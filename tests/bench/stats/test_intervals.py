"""Oracle: scipy.stats; hand-computed order statistics."""

import math

import numpy as np
import pytest
import scipy.stats

from dlkit.bench.stats import Interval, median_interval, wilson_interval

INF = math.inf


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
