"""By hand: a parabola in the logarithm, whose good range is known."""

import math

import numpy as np
import pytest

from dlkit.bench.stats import Sensitivity, sensitivity, width_interval

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


# --- width_interval --------------------------------------------------------------------------------------------------


def good(points: int, decades: float) -> Sensitivity:
    return Sensitivity(decades, 1.0, 10.0**decades, 1.0, points, False, False)


def test_two_points_of_an_interval_span_a_triangular_share():
    """P(|U - V| < q) = 1 - (1 - q)²: 5 % at q = 1 - sqrt(0.95); with three points 3 q² - 2 q³."""
    low = 1 - math.sqrt(0.95)
    assert width_interval(good(2, 0.01), tried=9.0) == pytest.approx((0.01, 0.01, 0.01 / low))
    share = 0.1 / width_interval(good(3, 0.1), tried=9.0).high
    assert 3 * share**2 - 2 * share**3 == pytest.approx(0.05)
    assert width_interval(good(2, 1.0), tried=4.0) == (1.0, 1.0, 4.0)  # there is no more than what was tried


@pytest.mark.parametrize("dimensions", [1, 2, 5])
def test_points_of_a_ball_span_more_than_the_share_as_often_as_the_level_says(dimensions):
    points, level, repetitions = 6, 0.9, 4000
    rng = np.random.default_rng(0)
    normal = rng.normal(size=(repetitions, points, dimensions))
    radius = rng.random((repetitions, points, 1)) ** (1 / dimensions)
    ball = radius * normal / np.linalg.norm(normal, axis=-1, keepdims=True)
    spans = np.ptp(ball[:, :, 0], axis=1)  # the ball's whole width is 2
    ends = [width_interval(good(points, float(span)), tried=1e6, dimensions=dimensions, level=level) for span in spans]
    covered = np.mean([end.low <= 2 <= end.high for end in ends])
    assert abs(covered - level) < 4 * math.sqrt(0.09 / repetitions)


def test_few_good_points_bound_nothing():
    assert width_interval(good(1, 0.0), tried=3.0) == (0.0, 0.0, 3.0)
    assert all(map(math.isnan, width_interval(Sensitivity(*[math.nan] * 4, 0, False, False), tried=3.0)))
    assert width_interval(good(60, 2.0), tried=2.0) == (2.0, 2.0, 2.0)


@pytest.mark.parametrize(("tried", "dimensions", "level"), [(0.0, 1, 0.95), (1.0, 0, 0.95), (1.0, 1, 95.0)])
def test_widths_that_make_no_sense_are_refused(tried, dimensions, level):
    with pytest.raises(ValueError, match=r"tried must be above 0|level must lie"):
        width_interval(good(3, 1.0), tried=tried, dimensions=dimensions, level=level)
