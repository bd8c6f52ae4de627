"""Oracles: enumeration of subsets and of draws; closed forms; the winner's curse, simulated."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dlkit.bench.stats import expected_best, tuning_bands, tuning_curve, tuning_leaders

INF = math.inf

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


@pytest.mark.parametrize("n", [1, 7, 60, 400])
def test_the_recurrence_is_the_ratio_of_binomials(n):
    """The oracle is exact: C(n - i, k - 1) / C(n, k) in whole numbers, rounded once."""
    values = np.sort(np.random.default_rng(n).normal(size=n))
    curve = tuning_curve(values)
    for k in {1, 2, n // 3 + 1, n // 2 + 1, n}:
        k = min(k, n)
        weights = [Fraction(math.comb(n - i - 1, k - 1), math.comb(n, k)) for i in range(n)]
        exact = float(sum(Fraction(value) * weight for value, weight in zip(values.tolist(), weights, strict=True)))
        assert [curve[k - 1], expected_best(values, k)] == pytest.approx([exact, exact], rel=1e-12, abs=1e-12)


def test_a_curve_of_many_points_neither_overflows_nor_loses_the_ends():
    values = np.arange(1.0, 2001.0)
    values[1500:] = INF
    curve = tuning_curve(values)
    assert np.isinf(curve[:500]).all() and np.isfinite(curve[500:]).all()
    assert curve[500:] == pytest.approx(2001 / np.arange(502, 2002))  # of 1, ..., n the best of k is (n + 1) / (k + 1)
    assert curve[-1] == 1.0


def test_diverged_trials_make_the_curve_infinite_while_they_can_be_drawn_alone():
    assert [expected_best([INF, 2.0, INF, 1.0], k) for k in (1, 2, 3, 4)] == [INF, INF, 1.5 - 0.25, 1.0]


@pytest.mark.parametrize("k", [0, 4, -1])
def test_expected_best_refuses_an_impossible_draw(k):
    with pytest.raises(ValueError, match=f"k must lie between 1 and the 3 observed values, got {k}"):
        expected_best([1.0, 2.0, 3.0], k)


def test_expected_best_refuses_minus_infinity():
    with pytest.raises(ValueError, match="lower is better"):
        expected_best([1.0, -INF], 1)


@given(st.lists(st.integers(-50, 50) | st.just(INF), min_size=1, max_size=5), st.integers(1, 4))
def test_plug_in_is_the_mean_over_all_draws_with_replacement(values, k):
    expected = np.mean([min(draw) for draw in itertools.product(values, repeat=k)])
    assert expected_best(values, k, estimator="plug-in") == pytest.approx(expected, rel=1e-12, abs=1e-12)


@given(st.lists(st.integers(-50, 50).map(float), min_size=1, max_size=12))
def test_plug_in_is_never_below_unbiased(values):
    for k in range(1, len(values) + 1):
        assert expected_best(values, k, estimator="plug-in") >= expected_best(values, k) - 1e-9
    assert expected_best(values, 10_000, estimator="plug-in") == pytest.approx(min(values), abs=1e-9)


def test_estimators_that_are_none_are_refused():
    with pytest.raises(ValueError, match='"unbiased" or "plug-in", got \'biased\''):
        expected_best([1.0], 1, estimator="biased")
    with pytest.raises(ValueError, match="k must be at least 1"):
        expected_best([1.0], 0, estimator="plug-in")


def test_unbiased_on_average_where_plug_in_is_not():
    """The least of 5 uniform numbers is 1/6 on average; samples of 8 are seen."""
    samples = np.random.default_rng(0).random((4000, 8))
    unbiased = np.mean([expected_best(sample, 5) for sample in samples])
    plug_in = np.mean([expected_best(sample, 5, estimator="plug-in") for sample in samples])
    assert unbiased == pytest.approx(1 / 6, abs=0.005)
    assert plug_in > 1 / 6 + 0.015


def test_the_winners_curse():
    """The best of 20 equal contenders flatters itself by 1.87 standard deviations; fresh seeds do not."""
    rng = np.random.default_rng(0)
    tuning, fresh = rng.normal(size=(2, 20_000, 20))
    winners = tuning.argmin(axis=1)[:, None]
    assert np.take_along_axis(tuning, winners, axis=1).mean() == pytest.approx(-1.87, abs=0.015)
    assert np.take_along_axis(fresh, winners, axis=1).mean() == pytest.approx(0.0, abs=0.03)
    assert np.mean([expected_best(sample, 20) for sample in tuning[:2000]]) == pytest.approx(-1.87, abs=0.05)


# --- tuning_bands ----------------------------------------------------------------------------------------------------


def best_of(support, cdf, k):
    """Expected minimum of k draws from a distribution on a few points, from its definition."""
    above = 1 - np.concatenate([[0.0], cdf])
    return float(np.sum(support * (above[:-1] ** k - above[1:] ** k)))


def test_bands_come_from_shifted_distribution_functions():
    values, n = np.arange(1.0, 11.0), 10
    radius = math.sqrt(math.log(2 / 0.05) / (2 * n))
    bands = tuning_bands(values, bounds=(0.0, 12.0))
    assert bands.points.tolist() == list(range(1, 11))
    support = np.array([0.0, *values, 12.0])
    grid = np.arange(11) / n
    for k in (1, 3, 10):
        upper_cdf = np.append(np.clip(grid + radius, 0, 1), 1.0)
        lower_cdf = np.append(np.clip(grid - radius, 0, 1), 1.0)
        assert bands.mean_low[k - 1] == pytest.approx(best_of(support, upper_cdf, k))
        assert bands.mean_high[k - 1] == pytest.approx(best_of(support, lower_cdf, k))
        assert bands.mean[k - 1] == pytest.approx(expected_best(values, k))
    # Medians: of one point, the values at F = 1/2, and where F ± 0.4295 passes it.
    assert (bands.median_low[0], bands.median[0], bands.median_high[0]) == (1.0, 5.0, 10.0)


def test_unbounded_means_have_no_bound_but_medians_do():
    bands = tuning_bands(np.arange(100.0))
    assert (bands.mean_low == -INF).all()
    assert (bands.mean_high == INF).all()
    assert np.isfinite([bands.median_low[0], bands.median_high[0]]).all()
    assert bands.median_low[-1] == -INF  # the best of 100 may be better than anything seen


@given(st.lists(st.integers(0, 20).map(float) | st.just(INF), min_size=1, max_size=15), st.sampled_from([0.5, 0.95]))
def test_laws_of_the_bands(values, level):
    bands = tuning_bands(values, level=level)
    for name in ("mean", "median"):
        curve, low, high = (getattr(bands, name + end) for end in ("", "_low", "_high"))
        assert (low <= curve + 1e-9).all()
        assert (curve <= high + 1e-9).all()
        for each in (curve, low, high):
            assert all(after <= before + 1e-9 for before, after in itertools.pairwise(each))


def test_bands_hold_for_all_points_at_once():
    rng = np.random.default_rng(0)
    best = np.minimum.accumulate(rng.random((20_000, 10)), axis=1)
    truths = {"mean": 1 / np.arange(2, 12), "median": np.median(best, axis=0)}
    for name, truth in truths.items():
        held = []
        for sample in rng.random((300, 10)):
            bands = tuning_bands(sample, bounds=(0.0, 1.0))
            low, high = (getattr(bands, name + end) for end in ("_low", "_high"))
            held.append(np.all((low <= truth) & (truth <= high)))
        assert np.mean(held) >= 0.95


def test_values_outside_their_bounds_are_refused():
    with pytest.raises(ValueError, match=r"must lie within the bounds \(0\.0, 1\.0\), got 0\.5 to 1\.5"):
        tuning_bands([0.5, 1.5], bounds=(0.0, 1.0))


# --- tuning_leaders --------------------------------------------------------------------------------------------------


@given(
    st.lists(st.lists(st.integers(0, 4) | st.just(INF), min_size=3, max_size=5), min_size=1, max_size=4),
    st.integers(1, 3),
)
@settings(max_examples=40)
def test_leaders_by_enumerating_all_draws(values, k):
    result = tuning_leaders(values, (k,))
    minima = [[min(draw) for draw in itertools.combinations(each, k)] for each in values]
    wins = np.zeros(len(values))
    for outcome in itertools.product(*minima):
        first = np.array(outcome) == min(outcome)
        wins += first / first.sum()
    assert result.probability[0] == pytest.approx(wins / wins.sum(), abs=1e-12)
    assert result.expected[0].tolist() == [expected_best(each, k) for each in values]
    assert result.leaders[0] == int(np.argmin(result.expected[0]))


def test_the_leader_changes_with_the_number_of_points():
    lucky = [0.0] + [10.0] * 63
    result = tuning_leaders([lucky, [4.0] * 64], (1, 4, 16, 64))
    assert result.leaders.tolist() == [1, 1, 1, 0]
    assert result.probability[:, 0].tolist() == pytest.approx([1 / 64, 4 / 64, 16 / 64, 1.0])
    with pytest.raises(ValueError, match="must not be empty"):
        tuning_leaders([], (1,))
