"""Oracle: the noncentral t distribution, and a simulation of the power."""

import math

import numpy as np
import pytest
import scipy.stats

from dlkit.bench.stats import detectable_difference, required_pairs


def power(n, effect, level):
    degrees, noncentrality = n - 1, effect * math.sqrt(n)
    critical = scipy.stats.t.ppf((1 + level) / 2, degrees)
    upper = scipy.stats.nct.sf(critical, degrees, noncentrality)
    return upper + scipy.stats.nct.cdf(-critical, degrees, noncentrality)


@pytest.mark.parametrize("effect", [0.3, 0.7, 1.0, 2.0, 4.0])
@pytest.mark.parametrize(("target", "level"), [(0.8, 0.95), (0.9, 0.99), (0.5, 0.9)])
def test_the_number_is_the_least_with_enough_power(effect, target, level):
    n = required_pairs(effect, 1.0, power=target, level=level)
    assert power(n, effect, level) >= target
    assert n == 2 or power(n - 1, effect, level) < target


def test_as_many_seeds_find_the_difference_as_often_as_promised():
    rng = np.random.default_rng(0)
    pairs = required_pairs(0.8, 1.0, power=0.9)
    found = scipy.stats.ttest_1samp(rng.normal(0.8, size=(4000, pairs)), 0.0, axis=1).pvalue < 0.05
    assert found.mean() == pytest.approx(0.9, abs=0.025)


def test_differences_that_any_test_finds_and_that_none_does():
    assert required_pairs(1.0, 0.0) == required_pairs(1e9, 1.0) == 2
    with pytest.raises(ValueError, match="too small to be found"):
        required_pairs(1e-8, 1.0)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((0.0, 1.0), {}, "difference must be a number other than 0"),
        ((math.nan, 1.0), {}, "difference must be a number other than 0"),
        ((math.inf, 1.0), {}, "difference must be a number other than 0"),
        ((1.0, -1.0), {}, "deviation must be a number >= 0"),
        ((1.0, math.nan), {}, "deviation must be a number >= 0"),
        ((1.0, 1.0), {"power": 0.01}, "power must lie between"),
        ((1.0, 1.0), {"power": 1.0}, "power must lie between"),
        ((1.0, 1.0), {"level": 95}, "level must lie between 0 and 1"),
    ],
)
def test_plans_that_make_no_sense_are_refused(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        required_pairs(*arguments, **options)


@pytest.mark.parametrize("pairs", [2, 5, 10, 40])
@pytest.mark.parametrize(("target", "level"), [(0.8, 0.95), (0.9, 0.99)])
def test_what_so_many_pairs_detect(pairs, target, level):
    difference = detectable_difference(pairs, 1.0, power=target, level=level)
    noncentrality, critical = difference * math.sqrt(pairs), scipy.stats.t.ppf((1 + level) / 2, pairs - 1)
    found = scipy.stats.nct.sf(critical, pairs - 1, noncentrality)  # the other tail is below 1e-3 here
    assert found == pytest.approx(target, abs=1e-3)
    assert detectable_difference(pairs, 3.0, power=target, level=level) == pytest.approx(3 * difference)
    assert required_pairs(1.0001 * difference, 1.0, power=target, level=level) <= pairs


def test_a_pair_alone_detects_nothing():
    with pytest.raises(ValueError, match="pairs must be at least 2, got 1"):
        detectable_difference(1, 1.0)
    assert detectable_difference(5, 0.0) == 0.0
