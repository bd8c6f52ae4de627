"""Published: AlgoPerf's scores. By hand: the exact integral. Laws, and the bands' limits."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlkit.bench.stats import performance_profile, profile_bands
from dlkit.bench.stats.bootstrap import expanded_level
from dlkit.bench.stats.resampling import joint_medians
from tests.bench.stats.published import ALGOPERF

INF = math.inf

times = st.lists(
    st.lists(st.integers(1, 50).map(float) | st.just(INF), min_size=4, max_size=4), min_size=1, max_size=5
).map(np.array)


def test_algoperf_scores_as_published():
    steps, published = zip(*ALGOPERF.values(), strict=True)
    assert performance_profile(steps).scores == pytest.approx(published, abs=1e-12, rel=0)


def test_algoperf_exact_scores_by_fractions():
    """(1 / n) Σ max(0, (4 - r) / 3) in rational arithmetic; two workloads of nine nobody may reach."""
    steps = [row for row, _ in ALGOPERF.values()]
    best = [min(column) for column in zip(*steps, strict=True)]
    assert best[3] == INF
    for row, score in zip(steps, performance_profile(steps).exact_scores, strict=True):
        ratios = [Fraction(int(time), int(least)) for time, least in zip(row, best, strict=True) if time < INF]
        expected = sum((max(Fraction(0), (4 - ratio) / 3) for ratio in ratios), Fraction(0)) / 9
        assert score == pytest.approx(float(expected), abs=1e-14, rel=0)


def test_a_profile_by_hand():
    result = performance_profile([[10, 20, INF, 5], [20, 20, INF, math.nan]], max_ratio=3.0, points=5)
    assert result.ratios.tolist() == [1.0, 1.5, 2.0, 2.5, 3.0]
    assert result.fractions.tolist() == [[0.75] * 5, [0.25, 0.25, 0.5, 0.5, 0.5]]
    assert result.scores.tolist() == [0.75, pytest.approx((0.25 + 0.375 + 0.5 + 0.5) / 4)]
    assert result.exact_scores.tolist() == [0.75, 0.375]  # ratios 1, 1, 1 and 2, 1: (1/4)(1 + 1/2)


@given(times)
def test_profiles_rise_and_do_not_depend_on_units_or_order(values):
    result = performance_profile(values)
    assert (np.diff(result.fractions, axis=1) >= 0).all()
    scaled = performance_profile(values * np.array([2.0, 4.0, 0.5, 1.0]))
    assert (scaled.fractions == result.fractions).all()
    shuffled = performance_profile(values[::-1, [2, 0, 3, 1]])
    assert shuffled.exact_scores == pytest.approx(result.exact_scores[::-1], abs=1e-15)
    assert result.scores == pytest.approx(result.exact_scores, abs=1 / 99)


def test_a_problem_nobody_solved_gives_credit_to_nobody_but_counts():
    solved = performance_profile([[1.0, 2.0], [2.0, 1.0]])
    with_unsolved = performance_profile([[1.0, 2.0, INF, INF], [2.0, 1.0, INF, INF]])
    assert with_unsolved.scores == pytest.approx(0.5 * solved.scores)
    assert performance_profile([[INF, math.nan], [INF, INF]]).scores.tolist() == [0.0, 0.0]


def test_bands_hold_the_profile_and_shrink_with_problems():
    rng = np.random.default_rng(0)
    widths = []
    for problems in (6, 60):
        spent = rng.lognormal(size=(3, 5, problems))
        bands = profile_bands(spent, points=7, resamples=500, seed=1)
        medians = performance_profile(np.median(spent, axis=1), points=7)
        assert (bands.profile.fractions == medians.fractions).all()
        assert (bands.low <= medians.fractions).all()
        assert (medians.fractions <= bands.high).all()
        assert (bands.score_low <= medians.exact_scores).all()
        assert (medians.exact_scores <= bands.score_high).all()
        widths.append(np.mean(bands.score_high - bands.score_low))
    assert widths[1] < 0.5 * widths[0]


def test_bands_without_variation_fall_back_on_wilsons_interval():
    bands = profile_bands([[[1.0] * 5] * 3, [[INF] * 5] * 3], points=2, resamples=50, seed=0)
    z2 = 1.959963984540054**2
    assert bands.low[0] == pytest.approx(5 / (5 + z2))  # of 5 hits in 5
    assert bands.high[0].tolist() == [1.0, 1.0]
    assert bands.low[1].tolist() == [0.0, 0.0]
    assert bands.high[1] == pytest.approx(z2 / (5 + z2))
    assert (bands.score_low, bands.score_high)[0] == pytest.approx([5 / (5 + z2), 0.0])
    assert bands.score_high == pytest.approx([1.0, z2 / (5 + z2)])


def test_bands_are_quantiles_of_the_resamples_less_their_bias():
    """Every resample's profile by its definition, and numpy's quantiles of them."""
    times = np.random.default_rng(0).uniform(1, 6, (4, 5, 6))
    times[1, 2, 3] = times[2, :, 4] = math.inf
    found = profile_bands(times, resamples=300, seed=3)
    drawn = np.concatenate(list(joint_medians(times, 300, 3)))
    ratios = drawn / drawn.min(axis=1, keepdims=True)
    shares = (ratios[..., None] <= found.profile.ratios).mean(axis=2)
    wide, bias = expanded_level(0.95, 6), shares.mean(axis=0) - found.profile.fractions
    tails = [(1 - wide) / 2, (1 + wide) / 2]
    low, high = np.clip(np.quantile(shares, tails, axis=0, method="inverted_cdf") - bias, 0, 1)
    agreed = shares.min(axis=0) == shares.max(axis=0)
    assert not agreed.any()
    np.testing.assert_allclose(found.low, np.minimum.accumulate(low[:, ::-1], axis=1)[:, ::-1], atol=1e-12)
    np.testing.assert_allclose(found.high, np.maximum.accumulate(high, axis=1), atol=1e-12)


def test_the_same_seed_gives_the_same_bands():
    spent = np.random.default_rng(0).lognormal(size=(2, 4, 5))
    first, second, other = (profile_bands(spent, points=5, resamples=99, seed=seed) for seed in (1, 1, 2))
    assert (first.score_low == second.score_low).all()
    assert (first.score_low != other.score_low).any()


def test_one_problem_and_one_seed():
    bands = profile_bands([[[1.0]], [[2.0]]], points=3, resamples=10, seed=0)
    assert bands.score_low.tolist() == [0.0, 0.0]
    assert bands.score_high.tolist() == [1.0, 1.0]


@pytest.mark.parametrize("max_ratio", [1.0, 0.5, INF, math.nan])
def test_ratios_that_are_none_are_refused(max_ratio):
    with pytest.raises(ValueError, match="max_ratio must be above 1"):
        performance_profile([[1.0]], max_ratio=max_ratio)


def test_times_that_are_none_are_refused():
    with pytest.raises(ValueError, match="times must be above 0"):
        performance_profile([[0.0, 1.0]])
