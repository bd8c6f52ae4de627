"""By hand: a parabola in the logarithm, whose good range is known."""

import math

import numpy as np
import pytest

from dlkit.bench.stats import sensitivity

INF = math.inf


def test_a_parabola_in_the_logarithm():
    """Score 1 + d² with d decades from 1e-2: within 25 % while |d| <= 1/2, a width of one decade."""
    rates = np.logspace(-4, 0, 401)
    result = sensitivity(rates, 1 + (np.log10(rates) + 2) ** 2, tolerance=0.25 + 1e-9)
    assert result.decades == pytest.approx(1.0)
    assert (result.low, result.best, result.high) == pytest.approx((10**-2.5, 1e-2, 10**-1.5))
    assert result.good == 101
    assert not result.open_low
    assert not result.open_high


def test_a_range_that_ends_where_the_search_did_is_open():
    result = sensitivity([1e-3, 1e-2, 1e-1], [5.0, 1.02, 1.0])
    assert (result.low, result.high, result.open_low, result.open_high) == (1e-2, 1e-1, False, True)


def test_higher_is_better_and_negative_scores():
    accuracy = sensitivity([1.0, 10.0, 100.0], [0.99, 1.0, 0.5], tolerance=0.02, higher_is_better=True)
    assert accuracy.decades == 1.0
    losses = sensitivity([1.0, 10.0, 100.0], [-10.0, -9.6, -9.0], tolerance=0.05)
    assert (losses.good, losses.decades) == (2, 1.0)


def test_diverged_points():
    assert sensitivity([1.0, 10.0], [INF, 2.0])[:5] == (0.0, 10.0, 10.0, 10.0, 1)
    nothing = sensitivity([1.0, 10.0], [INF, INF])
    assert math.isnan(nothing.decades)
    assert nothing.good == 0
    assert sensitivity([1.0, 10.0, 100.0], [0.5] * 3).decades == 2.0


@pytest.mark.parametrize(
    ("values", "scores", "tolerance", "message"),
    [
        ([0.0, 1.0], [1.0, 2.0], 0.05, "values must be numbers above 0"),
        ([INF, 1.0], [1.0, 2.0], 0.05, "values must be numbers above 0"),
        ([1.0], [1.0], -0.1, "tolerance must be a number >= 0"),
        ([1.0], [-INF], 0.1, "infinitely good"),
        ([1.0, 2.0], [1.0], 0.1, "must be paired"),
    ],
)
def test_what_makes_no_sense_is_refused(values, scores, tolerance, message):
    with pytest.raises(ValueError, match=message):
        sensitivity(values, scores, tolerance=tolerance)
