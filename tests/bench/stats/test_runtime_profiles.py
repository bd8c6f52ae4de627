"""By hand: small curves. Laws: the share rises, the area is its integral, restricted means are the costs."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlkit.bench.stats import restricted_mean, target_ecdf, target_ranking, times_to_targets, wilson_interval

INF = math.inf

# Two seeds, one problem: 4, 3, 2, 1 and 4, 4, 1, 3 at steps 10, 20, 30, 40.
CURVES = [[[4.0, 3.0, 2.0, 1.0]], [[4.0, 4.0, 1.0, 3.0]]]
STEPS = [10, 20, 30, 40]


def test_times_by_hand():
    times = times_to_targets(CURVES, [[3.0, 1.0, 0.0]], budget=40, steps=STEPS)
    assert times.tolist() == [[[20.0, 40.0, INF]], [[30.0, 30.0, INF]]]
    assert times_to_targets(CURVES, [[3.0, 1.0, 0.0]], budget=30, steps=STEPS).tolist()[0] == [[20.0, INF, INF]]
    higher = times_to_targets(np.negative(CURVES), [[-3.0, -1.0, 0.0]], budget=40, steps=STEPS, higher_is_better=True)
    assert higher.tolist() == times.tolist()


def test_what_is_not_a_number_is_at_no_target():
    times = times_to_targets([[[math.nan, 1.0, math.nan]], [[math.nan] * 3]], [[2.0]], budget=3)
    assert times.ravel().tolist() == [2.0, INF]


def test_profile_by_hand():
    profile = target_ecdf(CURVES, [[3.0, 1.0]], budget=40, steps=STEPS, resamples=200, seed=0)
    assert profile.steps.tolist() == STEPS
    assert profile.share.tolist() == [0.0, 0.25, 0.75, 1.0]
    assert profile.area == pytest.approx((20 + 0 + 10 + 10) / 40 / 4)
    assert profile.high[0] == wilson_interval(0, 2).high
    assert profile.low[3] == wilson_interval(2, 2).low


curves = st.lists(
    st.lists(st.lists(st.integers(0, 5).map(float), min_size=4, max_size=4), min_size=2, max_size=2),
    min_size=1,
    max_size=4,
).map(np.array)


@given(curves)
def test_laws_of_the_profile(values):
    targets = [[3.0, 1.0], [4.0, 0.0]]
    profile = target_ecdf(values, targets, budget=4, resamples=60, seed=0)
    for rising in (profile.share, profile.high):
        assert (np.diff(rising) >= -1e-12).all()
    assert ((profile.low <= profile.high) & (profile.low >= 0) & (profile.high <= 1)).all()
    # The share is a step function from evaluation to evaluation: 0 before the first.
    assert profile.area == pytest.approx(profile.share[:3].sum() / 4)
    times = times_to_targets(values, targets, budget=4)
    assert profile.share.tolist() == [np.mean(times <= step) for step in (1, 2, 3, 4)]


def test_seeds_are_drawn_within_problems():
    """A problem always reached and one never: no doubt from resampling, whatever the seeds."""
    values = np.tile([[[0.0, 0.0]], [[9.0, 9.0]]], (1, 6, 1)).reshape(2, 6, 2).swapaxes(0, 1)
    profile = target_ecdf(values, [[1.0], [1.0]], budget=2, resamples=100, seed=0)
    assert profile.share.tolist() == [0.5, 0.5]
    assert (profile.low[0], profile.high[0]) == wilson_interval(6, 12)[1:]


def test_missed_and_single_seed():
    missed = target_ecdf(np.full((5, 2, 3), INF), [[1.0], [1.0]], budget=3, resamples=50, seed=0)
    assert missed.share.tolist() == [0.0] * 3
    assert missed.high.tolist() == [wilson_interval(0, 10).high] * 3
    assert missed.area == 0.0
    single = target_ecdf([[[2.0, 1.0]]], [[1.0]], budget=2, seed=0)
    assert (single.low.tolist(), single.high.tolist()) == ([0.0, 0.0], [1.0, 1.0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"budget": 0.5}, "budget must be above 0 and reach the first evaluation"),
        ({"budget": 3, "steps": [1, 1, 2]}, "steps must rise"),
        ({"budget": 3, "steps": [1, 2]}, "must fit curves"),
        ({"budget": 3, "level": 1.0}, "level must lie between 0 and 1"),
    ],
)
def test_profiles_that_make_no_sense_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        target_ecdf([[[3.0, 2.0, 1.0]]], [[1.0]], seed=0, **options)


# --- target_ranking --------------------------------------------------------------------------------------------------


def test_the_ranking_flips_when_the_budget_is_halved():
    """One is early but misses one run in two, the other always arrives late."""
    times = np.array([[[[10.0]], [[INF]]], [[[60.0]], [[60.0]]]])
    result = target_ranking(times, [50, 200])
    assert result.costs[:, 0].tolist() == [[0.6, 1.0], [0.525, 0.3]]
    assert result.ranks[:, 0].tolist() == [[1.0, 2.0], [2.0, 1.0]]
    assert result.flips.tolist() == [[False, True], [True, False]]


def test_costs_are_restricted_means():
    times = np.random.default_rng(0).exponential(50, size=(3, 8, 1, 2))
    times[0, :3] = INF
    result = target_ranking(times, [40.0, 80.0])
    for budget, costs in zip(result.budgets, result.costs, strict=True):
        expected = [
            [restricted_mean(runs, np.isfinite(runs), budget).estimate / budget for runs in times[:, :, 0, target]]
            for target in range(2)
        ]
        assert costs == pytest.approx(np.array(expected))


def test_who_is_ahead_everywhere_never_flips():
    times = np.array([[[[10.0, 20.0]]], [[[30.0, 40.0]]]])
    assert not target_ranking(times, [25, 50]).flips.any()


def test_all_missed_ties_and_never_flips():
    result = target_ranking(np.full((3, 2, 1, 2), INF), [10.0])
    assert (result.costs == 1.0).all()
    assert (result.ranks == 2.0).all()
    assert not result.flips.any()
    with pytest.raises(ValueError, match="budgets must be numbers above 0"):
        target_ranking([[[[1.0]]]], [0.0])
