"""Numerical floors: where scores are clipped, and when a difference is a bound."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlkit.bench.errors import UserError
from dlkit.bench.plan.json import from_json, to_json
from dlkit.bench.plan.metric import Metric
from dlkit.bench.plan.orientation import EXACT, Floored, at_floor, floored, oriented, unoriented
from dlkit.bench.plan.plan import Plan
from dlkit.bench.stats import paired_difference
from tests.bench.synthetic import make_plan, make_problem

LOW = make_problem(metric=Metric("lower", "log", floor=1e-12))
HIGH = make_problem(metric=Metric("higher", "log", floor=1e-12))
LINEAR = make_problem(metric=Metric("lower", floor=0.5))


@pytest.mark.parametrize(
    ("problem", "value", "expected"),
    [
        (LOW, 1e-12, -12.0),
        (LOW, 1e-14, -12.0),
        (LOW, 0.0, -12.0),
        (LOW, -1e-13, -12.0),  # a loss less its minimum may come out below 0
        (LOW, -1e-11, math.inf),  # but not by more than rounding
        (LOW, 1e-11, -11.0),
        (LOW, math.nan, math.inf),
        (HIGH, 1e-14, 12.0),
        (HIGH, 100.0, -2.0),
        (LINEAR, 0.25, 0.5),
        (LINEAR, -3.0, 0.5),
        (LINEAR, 0.75, 0.75),
        (LINEAR, math.nan, math.inf),
    ],
)
def test_values_below_the_floor_count_as_the_floor(problem, value, expected):
    assert float(oriented(problem, "error", value)) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("problem", "floor"), [(LOW, 1e-12), (HIGH, 1e-12), (LINEAR, 0.5)])
def test_what_is_at_the_floor(problem, floor):
    scores = oriented(problem, "error", [0.0, floor / 2, floor, 1.01 * floor, 1e3 * floor, math.nan])
    assert at_floor(problem, "error", scores).tolist() == [True, True, True, False, False, False]
    assert at_floor(problem, "error", np.mean([scores[:2]] * 3, axis=0, dtype=np.float64)).all()
    assert unoriented(problem, "error", float(scores[0])) == pytest.approx(floor, rel=1e-6)


def test_without_a_floor_an_exact_zero_is_a_bound_on_a_log_scale_only():
    log, linear = make_problem(metric=Metric("lower", "log")), make_problem(metric=Metric("lower"))
    assert at_floor(log, "error", oriented(log, "error", [0.0, 1e-37])).tolist() == [True, False]
    assert at_floor(linear, "error", oriented(linear, "error", [0.0, -1.0])).tolist() == [False, False]


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        ([1e-9, 1e-9], [1e-10, 1e-10], EXACT),
        ([1e-9, 1e-9], [1e-14, 1e-10], Floored(below=False, above=True)),  # they may be better still
        ([1e-14, 1e-9], [1e-10, 1e-10], Floored(below=True, above=False)),
        ([1e-14, 1e-9], [1e-10, 1e-14], Floored(below=True, above=True)),
        ([1e-14, 1e-9], [1e-15, 1e-10], EXACT),  # a tie: not told apart
    ],
)
def test_in_which_direction_a_difference_is_a_bound(ours, theirs, expected):
    scores = [oriented(LOW, "error", each) for each in (ours, theirs)]
    flags = [at_floor(LOW, "error", each) for each in scores]
    assert floored(LOW, *flags, differ=scores[0] != scores[1]) == expected


@pytest.mark.parametrize(("differ", "is_open"), [(True, True), (False, False)])
def test_means_with_a_seed_at_the_floor_each_are_bounds_where_they_differ(differ, is_open):
    """Of studies: ours may lie lower than its mean says, and so may theirs."""
    there = np.array([True])
    assert floored(LOW, there, there, differ=np.array([differ])) == Floored(is_open, is_open)


@given(
    st.lists(st.tuples(st.floats(-16, -8), st.floats(-16, -8)), min_size=6, max_size=12),
    st.sampled_from([LOW, HIGH]),
)
def test_bounds_hold_for_the_values_before_they_were_clipped(logs, problem):
    """Of pairs not both at the floor, the clipped difference errs to the side that is told, and to no other."""
    pairs = [pair for pair in logs if max(pair) > -12]
    if not pairs:
        return
    sign = -1 if problem.judged.higher_is_better else 1
    true = sign * np.array(pairs)
    ours, theirs = (oriented(problem, "error", 10.0**column) for column in np.array(pairs).T)
    ends = floored(problem, *(at_floor(problem, "error", each) for each in (ours, theirs)), differ=ours != theirs)
    clipped, unclipped = ours - theirs.astype(np.float64), true[:, 0] - true[:, 1]
    assert ends.below or (unclipped >= clipped - 1e-5).all()
    assert ends.above or (unclipped <= clipped + 1e-5).all()


def test_two_contenders_at_the_floor_tie():
    ours, theirs = oriented(LOW, "error", np.geomspace(1e-16, 1e-13, 10)), oriented(LOW, "error", np.full(10, 9e-13))
    found = paired_difference(ours, theirs, level=0.95)
    assert (found.estimate, found.p_value) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("scale", "floor"), [("log", 0.0), ("log", -1.0), ("log", math.nan), ("linear", math.inf), ("linear", "x")]
)
def test_impossible_floors_are_refused(scale, floor):
    with pytest.raises(UserError, match="a metric's floor is a finite number"):
        Metric("lower", scale, floor=floor)


def test_a_floor_changes_no_trial_and_old_plans_can_be_read():
    with_floor, without = (
        make_plan(["sgd"], problems=[make_problem(metric=Metric("lower", "log", floor=floor))])
        for floor in (np.float32(0.5), None)
    )
    ids = [
        [trial.id for row in plan.tuning_trials(plan.problems[0], plan.contenders[0]) for trial in row]
        for plan in (with_floor, without)
    ]
    assert ids[0] == ids[1]
    assert from_json(Plan, to_json(with_floor)).problems[0].judged.floor == 0.5
    data = json.loads(to_json(without))
    del data["problems"][0]["metrics"]["error"]["floor"]
    assert from_json(Plan, json.dumps(data)) == from_json(Plan, to_json(without))
