"""Numbers as text: a table, and the law that text is what a reader would round to."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlkit.bench.analysis import numbers
from dlkit.bench.plan.metric import Metric
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
        ((1e-9, 0.0, INF), "1.00e-09 [0, ∞]"),
        ((-1.0, -INF, INF), f"{MINUS}1.00 [{MINUS}∞, ∞]"),
        ((INF, 0.5, INF), "∞ [0.500, ∞]"),
        ((NAN, NAN, NAN), "–"),
    ],
)
def test_interval(interval, text):
    assert numbers.interval(Interval(*interval)) == text


@pytest.mark.parametrize(
    ("interval", "text"),
    [
        ((120.0, 90.0, 180.0), "120 [90, 180]"),
        ((120.0, -INF, INF), "120 [0, >600]"),
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
        (Metric("lower"), (INF, 0.1, INF), "+∞ [+0.10, +∞]"),
        (
            Metric("higher"),
            (0.25, 0.1, 0.5),
            f"{MINUS}0.25 [{MINUS}0.50, {MINUS}0.10]",
        ),  # so much less, low before high
        (Metric("higher"), (0.25, -INF, INF), f"{MINUS}0.25 [{MINUS}∞, +∞]"),
        (Metric("lower", "log"), (2.0, 1.0, 3.0), f"{TIMES}100 [{TIMES}10.0, {TIMES}1000]"),
        (Metric("lower", "log"), (0.0, -1.0, 1.0), f"{TIMES}1.00 [{TIMES}0.100, {TIMES}10.0]"),
        (Metric("higher", "log"), (2.0, 1.0, 3.0), f"{TIMES}0.0100 [{TIMES}0.00100, {TIMES}0.100]"),
        (Metric("lower", "log"), (INF, -INF, INF), f"{TIMES}∞ [{TIMES}0, {TIMES}∞]"),
    ],
)
def test_difference(metric, bounds, text):
    value = PairedDifference(*bounds, 0.01, 1, 9, 0)
    assert numbers.difference(make_problem(metric=metric), value) == text
