"""The luck of tuning against simulation and the normal distribution."""

import math

import numpy as np
import pytest
import scipy.stats

from dlkit.bench.stats import best_again, luck_p_value, picked_again, redrawn_luck_p_value


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


# --- points drawn anew, and what they were not picked by -------------------------------------------------------------


def test_picking_among_redrawn_points_without_noise():
    """The best of n is among n draws with replacement with 1 - (1 - 1/n)^n, the better two with 1 - (1 - 2/n)^n."""
    n = 6
    shares = picked_again(np.arange(n), 0.0, seed=0)
    at_least = [1 - (1 - k / n) ** n for k in range(1, n + 1)]
    np.testing.assert_allclose(np.cumsum(shares), at_least, atol=0.03)


def test_what_cannot_win_is_not_picked():
    shares = picked_again([0.0, math.inf, 1.0], 0.1, seed=0)
    assert shares[1] == 0 and shares.sum() == pytest.approx(1.0)
    assert picked_again([math.inf, math.inf], 0.1, seed=0).sum() == 0
    with pytest.raises(ValueError, match="noise must be at least 0"):
        picked_again([0.0], -1.0, seed=0)


def test_luck_in_another_quantity_agrees_with_tuning_again_and_again():
    rng = np.random.default_rng(3)
    ours = (np.array([0.0, 0.1, 0.4, 2.0]), np.array([3.0, 7.0, 1.0, 0.0]))
    theirs = (np.array([0.2, 0.3, math.inf]), np.array([5.0, 6.0, 100.0]))

    def again(scores, values):
        drawn = rng.integers(0, len(scores), (200_000, len(scores)))
        measured = scores[drawn] + 0.2 * rng.normal(size=drawn.shape)
        best = measured.argmin(axis=1)[:, None]
        found = np.take_along_axis(measured, best, 1).ravel() < math.inf
        picked = values[np.take_along_axis(drawn, best, 1).ravel()[found]]
        return picked - picked.mean()

    mine, others = again(*ours), again(*theirs)
    size = min(len(mine), len(others))
    gaps = mine[:size] - others[:size] + 0.3 * rng.normal(size=size)
    for gap in (-1.0, 2.5, 5.0):
        share = np.mean(np.abs(gaps) >= abs(gap))
        assert redrawn_luck_p_value(gap, 0.3, ours, theirs, 0.2, seed=0) == pytest.approx(share, abs=0.03)


def test_points_that_do_not_differ_are_no_luck():
    same = ([0.0, 0.1], [4.0, 4.0])
    assert redrawn_luck_p_value(1.0, 0.1, same, ([0.3], [9.0]), 1.0, seed=0) == 0.0
    assert redrawn_luck_p_value(1.0, 0.1, ([], []), same, 1.0, seed=0) == 0.0
    assert redrawn_luck_p_value(1.0, 0.1, ([0.0, 0.1], [4.0, math.inf]), same, 1.0, seed=0) == 1.0  # nothing is known
    with pytest.raises(ValueError, match="one value a score"):
        redrawn_luck_p_value(1.0, 0.1, ([0.0], [1.0, 2.0]), same, 1.0, seed=0)
