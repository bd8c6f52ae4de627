"""Numbers as text: a table, and the law that text is what a reader would round to."""

import math

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from dlkit.bench.analysis import numbers, units
from dlkit.bench.plan.metric import Metric
from dlkit.bench.plan.orientation import Floored
from dlkit.bench.stats import Interval, PairedDifference
from tests.bench.synthetic import make_problem

INF, NAN = math.inf, math.nan
MINUS, TIMES = "\u2212", "\u00d7"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (-0.0, "0"),
        (1.0, "1.00"),
        (0.5, "0.500"),
        (0.98148, "0.981"),
        (-0.98148, f"{MINUS}0.981"),
        (12.345, "12.3"),
        (99.95, "100"),  # rounded up: 100.0 has three digits
        (123.456, "123"),
        (999.6, "1000"),
        (1234.5, "1234"),
        (9999.0, "9999"),
        (10000.0, "1.00e+04"),
        (1234567.0, "1.23e+06"),
        (0.001, "0.00100"),
        (0.0009994, "9.99e-04"),
        (1e-12, "1.00e-12"),
        (-1e-12, f"{MINUS}1.00e-12"),
        (5e-324, "4.94e-324"),
        (INF, "∞"),
        (-INF, f"{MINUS}∞"),
        (NAN, "–"),
    ],
)
def test_number(value, text):
    assert numbers.number(value) == text


@pytest.mark.parametrize(("value", "text"), [(0.456, "0.46"), (123.0, "123"), (12.5, "12"), (1e-5, "1.0e-05")])
def test_number_of_two_digits(value, text):
    assert numbers.number(value, digits=2) == text


@given(st.floats(-1e300, 1e300), st.integers(2, 6))
def test_numbers_are_rounded_not_changed(value, digits):
    assume(value == 0 or not numbers.is_zero(value))
    back = float(numbers.number(value, digits=digits).replace(MINUS, "-"))
    assert back == pytest.approx(value, rel=0.501 * 10.0 ** (1 - digits), abs=1e-323)


@given(st.floats(allow_nan=False), st.floats(allow_nan=False))
def test_numbers_are_mirrored(value, other):
    assert numbers.number(-abs(value)).removeprefix(MINUS) == numbers.number(abs(value))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0173642, "0.01736"),
        (0.1, "0.1"),
        (0.9, "0.9"),
        (0.99, "0.99"),
        (0.99951, "0.99951"),
        (0.999951, "0.999951"),
        (0.9999999, "0.9999999"),  # not 1: a decay rate of 1 never forgets
        (1.0, "1"),
        (0.0, "0"),
        (1e-8, "1e-08"),
        (3.0, "3"),
        (True, "True"),
        (2, "2"),
        (None, "None"),
        ("nesterov", "nesterov"),
    ],
)
def test_setting(value, text):
    assert numbers.setting(value) == text


def test_point_begins_with_the_learning_rate():
    assert numbers.point({"b2": 0.999, "b1": 0.9, "learning_rate": 0.01}) == "learning_rate 0.01, b1 0.9, b2 0.999"
    assert numbers.point({}) == ""


@pytest.mark.parametrize(
    ("interval", "text"),
    [
        ((0.5, 0.25, 0.75), "0.500 [0.250, 0.750]"),
        ((1e-9, 0.0, INF), "1.00e-09 [0, no bound]"),
        ((1.0, -INF, 2.0), "1.00 [no bound, 2.00]"),
        ((-1.0, -INF, INF), f"{MINUS}1.00 [no interval]"),
        ((INF, 0.5, INF), "diverged [0.500, no bound]"),
        ((-INF, -INF, 0.5), "diverged [no bound, 0.500]"),  # of a metric that should be high
        ((INF, -INF, INF), "diverged [no interval]"),
        ((INF, INF, INF), "diverged"),  # every trial: that is known
        ((NAN, NAN, NAN), "–"),
    ],
)
def test_interval(interval, text):
    assert numbers.interval(Interval(*interval)) == text


@pytest.mark.parametrize(
    ("interval", "text"),
    [
        ((1e-12, 1e-12, 1e-12), "≤1.00e-12 [≤1.00e-12, ≤1.00e-12]"),
        ((2e-12, 1e-12, INF), "2.00e-12 [≤1.00e-12, no bound]"),
        ((10 ** float(np.float32(np.log10(1e-12))), 1.1e-12, 2e-12), "≤1.00e-12 [1.10e-12, 2.00e-12]"),
    ],
)
def test_values_at_the_floor_are_bounds(interval, text):
    assert numbers.interval(Interval(*interval), floor=1e-12) == text


def test_the_ends_of_a_range_are_no_ends_of_an_interval():
    assert numbers.interval(Interval(0.5, 0.25, INF), beyond=numbers.DIVERGED) == "0.500 [0.250, diverged]"


@pytest.mark.parametrize(
    ("interval", "text"),
    [
        ((120.0, 90.0, 180.0), "120 [90, 180]"),
        ((120.0, -INF, INF), "120 [no interval]"),
        ((INF, -INF, INF), ">600 [no interval]"),
        ((120.0, 90.0, INF), "120 [90, >600]"),
        ((INF, INF, INF), ">600 [>600, >600]"),
        ((INF, 300.0, INF), ">600 [300, >600]"),
        ((0.0, 0.0, 0.0), "0 [0, 0]"),
        ((NAN, NAN, NAN), "–"),
    ],
)
def test_steps(interval, text):
    assert numbers.steps(Interval(*interval), 600) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.0, "1.00"),
        (0.5, "0.50"),
        (0.104, "0.10"),
        (0.0954, "0.095"),
        (0.05, "0.05"),
        (0.0499, "0.05"),
        (0.0504, "0.0504"),  # not 0.05, which would pass
        (0.050000004, "0.050000004"),
        (0.0999, "0.1"),
        (0.0312, "0.031"),
        (2 / 1024, "0.002"),
        (0.001, "0.001"),
        (0.00099, "<0.001"),
        (1e-30, "<0.001"),
        (0.0, "<0.001"),
        (NAN, "–"),
    ],
)
def test_p_value(value, text):
    assert numbers.p_value(value) == text


@pytest.mark.parametrize(
    ("metric", "bounds", "text"),
    [
        (Metric("lower"), (0.25, 0.1, 0.5), "+0.25 [+0.10, +0.50]"),
        (Metric("lower"), (0.25, -0.1, 0.5), f"+0.25 [{MINUS}0.10, +0.50]"),
        (Metric("lower"), (0.0, 0.0, 0.0), "0 [0, 0]"),
        (Metric("lower"), (INF, 0.1, INF), "diverged [+0.10, no bound]"),
        (Metric("lower"), (-INF, -INF, -0.1), f"other diverged [no bound, {MINUS}0.10]"),
        (Metric("higher"), (INF, 0.1, INF), f"diverged [no bound, {MINUS}0.10]"),
        (
            Metric("higher"),
            (0.25, 0.1, 0.5),
            f"{MINUS}0.25 [{MINUS}0.50, {MINUS}0.10]",
        ),  # so much less, low before high
        (Metric("higher"), (0.25, -INF, INF), f"{MINUS}0.25 [no interval]"),
        (Metric("lower", "log"), (2.0, 1.0, 3.0), f"{TIMES}100 [{TIMES}10.0, {TIMES}1000]"),
        (Metric("lower", "log"), (0.0, -1.0, 1.0), f"{TIMES}1.00 [{TIMES}0.100, {TIMES}10.0]"),
        (Metric("higher", "log"), (2.0, 1.0, 3.0), f"{TIMES}0.0100 [{TIMES}0.00100, {TIMES}0.100]"),
        (Metric("lower", "log"), (INF, -INF, INF), "diverged [no interval]"),
        (Metric("lower", "log"), (-2.0, -INF, -1.0), f"{TIMES}0.0100 [no bound, {TIMES}0.100]"),
    ],
)
def test_difference(metric, bounds, text):
    value = PairedDifference(*bounds, 0.01, 1, 9, 0)
    assert numbers.difference(make_problem(metric=metric), value) == text


BELOW, ABOVE, BOTH = Floored(True, False), Floored(False, True), Floored(True, True)


@pytest.mark.parametrize(
    ("metric", "ends", "text"),
    [
        (Metric("lower", "log"), ABOVE, f"at least {TIMES}100 [{TIMES}10.0, no bound]"),
        (Metric("lower", "log"), BELOW, f"at most {TIMES}100 [no bound, {TIMES}1000]"),
        (Metric("lower", "log"), BOTH, f"{TIMES}100 [no interval]"),
        (Metric("lower"), ABOVE, "at least +2.0 [+1.0, no bound]"),
        # Worse by at least as much is, of what should be high, at most as much of it.
        (Metric("higher", "log"), ABOVE, f"at most {TIMES}0.0100 [no bound, {TIMES}0.100]"),
        (Metric("higher"), BELOW, f"at least {MINUS}2.0 [{MINUS}3.0, no bound]"),
    ],
)
def test_a_difference_to_the_floor_is_a_bound(metric, ends, text):
    value = PairedDifference(2.0, 1.0, 3.0, 0.01, 1, 9, 0)
    assert numbers.difference(make_problem(metric=metric), value, ends) == text


@given(st.floats(0, 1))
def test_p_values_show_their_side_of_5_percent_and_are_never_0(value):
    text = numbers.p_value(value)
    shown = float(text.removeprefix("<"))
    assert shown > 0
    assert (shown <= 0.05) == (value <= 0.05)


@example(0.005)
@example(0.995)
@given(st.floats(0, 1))
def test_shares_are_0_or_100_percent_only_where_they_are(value):
    text = numbers.share(value).replace("\u00a0", "")
    assert text != "0%" or value <= 1e-11
    assert text != "100%" or value >= 1 - 1e-11
    assert float(text.strip("<>%")) == pytest.approx(100 * value, abs=1.0)


@pytest.mark.parametrize(
    ("ratio", "text"),
    [
        ((2.0, 1.0, 4.0), f"{TIMES}2.00 [{TIMES}1.00, {TIMES}4.00]"),
        ((2.0, 0.0, INF), f"{TIMES}2.00 [no interval]"),
        ((INF, 1.0, INF), f"missed [{TIMES}1.00, no bound]"),
        ((0.0, 0.0, 0.5), f"other missed [no bound, {TIMES}0.500]"),
        ((NAN, NAN, NAN), "–"),
    ],
)
def test_ratios_of_steps(ratio, text):
    assert numbers.times(Interval(*ratio)) == text
    if ratio[0] == ratio[0]:
        logs = [math.log2(each) if each else -INF for each in ratio]
        assert numbers.ratio_of_steps(PairedDifference(*logs, 0.01, 1, 9, 0)) == text


@pytest.mark.parametrize(
    ("logs", "text"),
    [
        ((-1.0, -2.0, 0.0), f"{TIMES}2.00 sooner [{TIMES}1.00, {TIMES}4.00]"),
        ((1.0, 0.0, 2.0), f"{TIMES}2.00 later [{TIMES}1.00, {TIMES}4.00]"),
        ((-1.0, -INF, 1.0), f"{TIMES}2.00 sooner [{TIMES}0.500, no bound]"),
        ((-1.0, -INF, INF), f"{TIMES}2.00 sooner [no interval]"),
    ],
)
def test_sooner_and_later_are_factors_above_1(logs, text):
    assert numbers.sooner(Interval(*logs)) == text


def test_what_diverged_is_infinitely_far_away():
    problem = make_problem(metric=Metric("lower"))
    for bounds, text in (
        ((INF, 0.1, INF), "infinitely far away [+0.10, no bound], as it diverged"),
        ((-INF, -INF, -INF), "infinitely far away, as the other diverged"),
    ):
        assert numbers.away(problem, PairedDifference(*bounds, 0.01, 1, 9, 0)) == text
    assert numbers.away(problem, PairedDifference(2.0, 1.0, 3.0, 0.01, 1, 9, 0), ABOVE) == (
        "at least +2.0 [+1.0, no bound] away"
    )


def test_times_without_bounds():
    assert units.durations(Interval(2.0, -INF, INF)).replace("\u00a0", " ") == "2.00 s [no interval]"
    assert units.durations(Interval(2.0, 1.0, INF)).replace("\u00a0", " ") == "2.00 [1.00, no bound] s"


def test_the_size_of_what_is_infinite_is_unknown():
    assert numbers.size(make_problem(metric=Metric("lower", "log")), -1.0) == f"{TIMES}10.0"
    assert numbers.size(make_problem(), INF) == "an unknown size"


@pytest.mark.parametrize("metric", [Metric("lower"), Metric("higher"), Metric("lower", "log"), Metric("higher", "log")])
@given(
    bounds=st.tuples(*[st.floats(allow_nan=False)] * 3).map(lambda each: (sorted(each)[1], min(each), max(each))),
    ends=st.tuples(st.booleans(), st.booleans()),
)
def test_nothing_infinite_is_ever_written(metric, bounds, ends):
    problem = make_problem(metric=metric)
    value = PairedDifference(*bounds, 0.01, 1, 9, 0)
    texts = [
        numbers.interval(Interval(*bounds)),
        numbers.difference(problem, value, Floored(*ends)),
        numbers.ratio_of_steps(value),
    ]
    for text in texts:
        assert "inf" not in text
        # Of a finite logarithm the ratio may still be one to 0, or beyond floats.
        assert "∞" not in text or max(map(abs, bounds)) >= (numbers.ENDLESS if metric.scale == "log" else 300)
