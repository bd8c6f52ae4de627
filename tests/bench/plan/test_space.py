"""Oracles: scales in closed form, the inverse, SciPy's discrepancy, spaces by hand."""

import json
import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from dlkit.bench.errors import UserError, nearest
from dlkit.bench.plan.space import Range, is_number, log_uniform, narrow, one_minus_log_uniform, uniform

SIX_DIGITS = 5.1e-6  # relative rounding to six significant digits

coordinates = st.floats(0, 1)


@st.composite
def ranges(draw):
    scale = draw(st.sampled_from(["linear", "log", "one_minus_log"]))
    bounds = {
        "linear": st.floats(-1e6, 1e6).filter(lambda bound: bound == 0 or abs(bound) > 1e-30),
        "log": st.floats(-30, 30).map(lambda exponent: 10.0**exponent),
        "one_minus_log": st.floats(-7, 1).map(lambda exponent: 1 - 10.0**exponent),
    }[scale]
    low, high = sorted((draw(bounds), draw(bounds)))
    if scale == "one_minus_log":
        assume(1 - low > 1.01 * (1 - high))
    else:
        assume(high - low > 1e-4 * max(abs(low), abs(high)))
    return Range(low, high, scale)


# --- ranges ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("span", "coordinate", "expected"),
    [
        (uniform(0.0, 10.0), 0.25, 2.5),
        (uniform(-2.0, 2.0), 0.5, 0.0),
        (log_uniform(1e-4, 1.0), 0.5, 1e-2),
        (log_uniform(1e-4, 1.0), 0.75, 1e-1),
        (log_uniform(1e-3, 3.0), 0.5, 0.0547723),  # sqrt(0.003), six digits
        (one_minus_log_uniform(0.9, 0.999), 0.5, 0.99),
        (one_minus_log_uniform(0.9, 0.9999), 1 / 3, 0.99),
        (one_minus_log_uniform(0.0, 0.99), 0.5, 0.9),
        (uniform(1.0, 2.0), 1 / 3, 1.33333),  # six digits are kept
    ],
)
def test_values_in_closed_form(span, coordinate, expected):
    assert span.value(coordinate) == pytest.approx(expected, rel=1e-12)


@given(ranges(), coordinates)
def test_values_lie_inside_and_coordinates_invert_them(span, coordinate):
    value = span.value(coordinate)
    assert span.low <= value <= span.high
    # rounding moves it little, also in narrow ranges and next to 1
    assert span.coordinate(value) == pytest.approx(coordinate, abs=0.01)


@given(ranges())
def test_the_ends_of_a_range_are_its_bounds(span):
    assert span.coordinate(span.low) == pytest.approx(0, abs=1e-12)
    assert span.coordinate(span.high) == pytest.approx(1, abs=1e-12)
    for coordinate, bound in ((0.0, span.low), (1.0, span.high)):
        scale = 1 - bound if span.scale == "one_minus_log" and bound > 0.9999 else abs(bound)
        assert abs(span.value(coordinate) - bound) <= max(SIX_DIGITS * scale, 0.01 * (span.high - span.low))


@given(ranges(), coordinates, coordinates)
def test_values_grow_with_the_coordinate(span, first, second):
    low, high = sorted((first, second))
    assert span.value(low) <= span.value(high)


@given(st.floats(1e-5, 1e-1), coordinates)
def test_a_wide_range_draws_values_of_six_digits(low, coordinate):
    value = Range(low, 1.0, "log").value(coordinate)
    assert value in (low, float(f"{value:.6g}"))  # the same float when typed back in


@pytest.mark.parametrize(
    "span", [uniform(1e6, 1e6 + 1), log_uniform(0.1, 0.10001), one_minus_log_uniform(0.9, 1 - 1e-7)]
)
def test_narrow_ranges_do_not_collapse(span):
    assert len({span.value(coordinate) for coordinate in np.linspace(0, 1, 50)}) == 50


@pytest.mark.parametrize(
    ("bounds", "scale", "message"),
    [
        ((1.0, 1.0), "linear", "low < high, but came as [1.0, 1.0]"),
        ((2.0, 1.0), "log", "low < high, but came as [2.0, 1.0]"),
        ((0.0, math.inf), "linear", "finite bounds"),
        ((math.nan, 1.0), "linear", "finite bounds"),
        ((0.0, 1e39), "linear", "finite bounds"),  # infinite in float32
        ((0.0, 1.0), "log", "log-uniform range needs low > 0"),
        ((-1.0, 1.0), "log", "log-uniform range needs low > 0"),
        ((0.9, 1.0), "one_minus_log", "needs high < 1"),
        (("a", 1.0), "linear", "two numbers, but came as ['a', 1.0]"),
        ((True, 2.0), "linear", "two numbers"),
        ((None, 2.0), "linear", "two numbers"),
        ((1.0, 2.0), "lgo", "did you mean 'log'?"),
    ],
)
def test_bounds_that_make_no_range_are_refused(bounds, scale, message):
    with pytest.raises(UserError) as error:
        Range(*bounds, scale)
    assert message in str(error.value)


def test_bounds_are_plain_floats_that_can_be_written_as_json():
    span = Range(np.float32(0.5), np.int64(2))
    assert json.dumps([span.low, span.high]) == "[0.5, 2.0]"


# --- beyond ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("span", "side", "expected"),
    [
        (uniform(1.0, 3.0), "upper", (3.0, 5.0)),
        (uniform(-1.0, 3.0), "lower", (-5.0, -1.0)),
        (uniform(1.0, 3.0), "lower", (0.0, 1.0)),  # what is not negative here stays so
        (uniform(0.0, 3.0), "lower", None),
        (log_uniform(1e-3, 1e-1), "upper", (1e-1, 10.0)),
        (log_uniform(1e-3, 1e-1), "lower", (1e-5, 1e-3)),
        (log_uniform(1e-37, 1e-10), "lower", (float(np.finfo(np.float32).tiny), 1e-37)),
        (one_minus_log_uniform(0.9, 0.99), "upper", (0.99, 0.999)),
        (one_minus_log_uniform(0.99, 0.999), "lower", (0.9, 0.99)),
        (one_minus_log_uniform(0.9, 0.999), "lower", (0.0, 0.9)),  # 1 - value would be 10
        (one_minus_log_uniform(0.9, 0.9999999), "upper", None),
    ],
)
def test_what_lies_beyond_a_range(span, side, expected):
    found = span.beyond(side, span.width)
    if expected is None:
        assert found is None
    else:
        assert (found.low, found.high) == pytest.approx(expected, rel=1e-9) and found.scale == span.scale


@given(ranges(), st.sampled_from(["lower", "upper"]))
def test_beyond_is_valid_adjacent_and_never_wider_than_asked(span, side):
    found = span.beyond(side, span.width)
    if found is not None:
        assert found.high == span.low if side == "lower" else found.low == span.high
        assert found.width <= span.width * (1 + 1e-4)


# --- narrow ----------------------------------------------------------------------------------------------------------

DECLARED = {"rate": log_uniform(1e-4, 1.0), "decay": one_minus_log_uniform(0.9, 0.999), "eps": 1e-8, "shift": 0}


@pytest.mark.parametrize(
    ("name", "override", "expected"),
    [
        ("rate", 0.1, 0.1),
        ("rate", 1, 1.0),
        ("rate", [1e-3, 1e-2], log_uniform(1e-3, 1e-2)),  # the declared scale stays
        ("decay", (0.5, 0.9), one_minus_log_uniform(0.5, 0.9)),
        ("eps", [1e-9, 1e-6], log_uniform(1e-9, 1e-6)),
        ("shift", [-1, 1], uniform(-1.0, 1.0)),
        ("eps", 1e-6, 1e-6),
    ],
)
def test_overrides(name, override, expected):
    changed = narrow(DECLARED, {name: override}, owner="optimizer 'own'")
    assert changed == {**DECLARED, name: expected}
    assert type(changed[name]) is type(expected)


@pytest.mark.parametrize(
    ("name", "override", "message"),
    [
        ("rate", [1.0, 0.1], "optimizer 'own', hyperparameter 'rate': a range needs finite bounds, low < high"),
        ("rate", [0, 1], "optimizer 'own', hyperparameter 'rate': a log-uniform range needs low > 0"),
        ("decay", [0.9, 1], "hyperparameter 'decay': a range log-uniform in 1 - value needs high < 1"),
        ("rtae", 0.1, "optimizer 'own': no hyperparameter 'rtae'; did you mean 'rate'?"),
        ("rtae", [0.1, 1.0], "optimizer 'own': no hyperparameter 'rtae'; did you mean 'rate'?"),
        ("rate", [0.1], "expected a number, or two numbers [low, high], got [0.1]"),
        ("rate", [0.1, 0.2, 0.3], "expected a number, or two numbers"),
        ("rate", [], "expected a number, or two numbers"),
        ("rate", "0.1", "expected a number, or two numbers [low, high], got '0.1'"),
        ("rate", True, "expected a number, or two numbers"),
        ("rate", math.nan, "expected a number, or two numbers"),
        ("rate", [0.1, math.inf], "expected a number, or two numbers"),
        ("rate", None, "expected a number, or two numbers"),
        ("rate", 10**400, "expected a number, or two numbers"),
    ],
)
def test_wrong_overrides_name_the_owner_and_the_hyperparameter(name, override, message):
    with pytest.raises(UserError) as error:
        narrow(DECLARED, {name: override}, owner="optimizer 'own'")
    assert message in str(error.value)


def test_every_wrong_override_is_reported():
    with pytest.raises(UserError) as error:
        narrow(DECLARED, {"rate": [2, 1], "nothing": 1, "eps": "x", "decay": 0.9}, owner="optimizer 'own'")
    assert [line.split(":")[0] for line in str(error.value).splitlines()] == [
        "optimizer 'own', hyperparameter 'rate'",
        "optimizer 'own'",
        "optimizer 'own', hyperparameter 'eps'",
    ]


def test_narrow_leaves_the_declared_space_alone():
    before = dict(DECLARED)
    narrow(DECLARED, {"rate": 0.5}, owner="optimizer 'own'")
    assert before == DECLARED


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0, True), (1.5, True), (np.float32(2), True), (True, False), (math.nan, False), ("1", False), (None, False)],
)
def test_is_number(value, expected):
    assert is_number(value) is expected


# --- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("adma", "did you mean 'adam'?"),
        ("Adam", "did you mean 'adam'?"),
        ("zzz", "expected one of 'adam', 'momentum', 'sgd'"),
        ("", "expected one of 'adam', 'momentum', 'sgd'"),
    ],
)
def test_nearest(name, expected):
    assert nearest(name, ["sgd", "adam", "momentum"]) == expected
