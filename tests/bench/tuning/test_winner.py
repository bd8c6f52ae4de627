"""Tuning: winners by hand, edges of known surfaces, curves in closed form, and how often an edge is a false alarm."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest

from dlkit.bench.plan.metric import Metric
from dlkit.bench.plan.orientation import final_value, oriented, unoriented
from dlkit.bench.plan.plan import Plan
from dlkit.bench.plan.planned import PlannedContender
from dlkit.bench.plan.space import Point, log_uniform, one_minus_log_uniform, uniform
from dlkit.bench.plan.trials import Outcome, Trial
from dlkit.bench.tuning.history import History
from dlkit.bench.tuning.sampling import halton_points
from dlkit.bench.tuning.winner import tune
from tests.bench.synthetic import make_contender, make_plan, make_problem

INF, NAN = math.inf, math.nan
METRICS = {
    "lower": Metric("lower"),
    "higher": Metric("higher"),
    "lower log": Metric("lower", "log"),
    "higher log": Metric("higher", "log"),
}


def ended(value, *, metric="error", status=None, trial=None):
    """A trial that ended with a value; NaN for one that diverged."""
    status = status or ("diverged" if math.isnan(value) else "finished")
    curve = np.array([1.0, value], np.float32)
    return Outcome(trial or Trial("", {}), status, "", "", None, 0.0, 0.0, np.array([0, 40]), {metric: curve}, {})


def summarized(values, *, metric="lower", space=None, points=None):
    """The tuning that a table of final values gives: one row a point, one column a seed; None has not run."""
    space = {"rate": uniform(0.0, 1.0)} if space is None else space
    points = points or [Point({"rate": i / max(len(values) - 1, 1)}, {}) for i in range(len(values))]
    problem, contender = make_problem(metric=METRICS[metric]), PlannedContender("x", "x", False, space, points)
    plan = replace(make_plan(["x"], problems=[problem], tuning_seeds=len(values[0])), contenders=[contender])
    rows = plan.tuning_trials(problem, contender)
    ran = [
        ended(value, trial=trial)
        for row, line in zip(rows, values, strict=True)
        for trial, value in zip(row, line, strict=True)
        if value is not None
    ]
    return tune(History(plan, {each.trial.id: each for each in ran}), problem, contender)


# --- orientation -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("metric", "value", "expected"),
    [
        ("lower", 0.25, 0.25),
        ("higher", 0.25, -0.25),
        ("lower log", 0.01, -2.0),
        ("higher log", 0.01, 2.0),
        ("lower log", 1000.0, 3.0),
        *[(metric, NAN, INF) for metric in METRICS],  # diverged is worst, whichever way is better
        *[(metric, INF, INF) for metric in ("lower", "lower log")],
        ("lower log", -1.0, INF),  # no logarithm
    ],
)
def test_oriented(metric, value, expected):
    found = oriented(make_problem(metric=METRICS[metric]), "error", [value, value])
    np.testing.assert_allclose(found, [expected] * 2, rtol=1e-7)
    assert found.dtype == np.float32


@pytest.mark.parametrize("metric", METRICS)
def test_unoriented_is_the_inverse_and_orientation_keeps_the_order(metric):
    problem = make_problem(metric=METRICS[metric])
    values = np.array([1e-6, 0.02, 0.3, 5.0, 1e4])
    numbers = oriented(problem, "error", values)
    back = [unoriented(problem, "error", float(number)) for number in numbers]
    np.testing.assert_allclose(back, values, rtol=2e-6)
    assert np.all(np.diff(numbers) < 0 if "higher" in metric else np.diff(numbers) > 0)


@pytest.mark.parametrize(("metric", "sign"), [("lower log", 1), ("higher log", -1)])
def test_zero_on_a_log_scale_is_a_number(metric, sign):
    problem = make_problem(metric=METRICS[metric])
    zero, small = oriented(problem, "error", [0.0, 1e-37])
    assert math.isfinite(zero)
    assert sign * zero < sign * small
    assert unoriented(problem, "error", float(zero)) < 1.2e-38


def test_a_metric_that_is_exactly_zero_can_be_tuned():
    tuning = summarized([[1e-3, 1e-3], [0.0, 0.0], [0.0, NAN]], metric="lower log")
    assert (tuning.winner, tuning.finite) == (1, 2)
    assert np.isfinite(tuning.curve[-1])


def test_final_values():
    assert final_value(None, "error") is NAN or math.isnan(final_value(None, "error"))
    assert final_value(ended(0.25), "error") == 0.25
    for status in ("diverged", "failed"):
        assert math.isnan(final_value(ended(0.25, status=status), "error"))


# --- winners ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "metric", "winner"),
    [
        ([[3.0], [1.0], [2.0]], "lower", 1),
        ([[3.0], [1.0], [2.0]], "higher", 0),
        ([[0.0, 4.0], [1.0, 2.0], [3.0, 3.0]], "lower", 1),  # by the mean over seeds
        ([[0.0, 4.0], [1.0, 2.0], [3.0, 3.0]], "higher", 2),
        ([[1e-6, 1e0], [1e-2, 1e-2], [0.4, 0.4]], "lower", 1),  # arithmetic means 0.5, 0.01, 0.4
        ([[1e-6, 1e0], [1e-2, 1e-2], [0.4, 0.4]], "lower log", 0),  # geometric means 0.001, 0.01, 0.4
        ([[1e-6, 1e0], [1e-2, 1e-2], [0.4, 0.4]], "higher log", 2),
        ([[0.0, NAN], [5.0, 5.0]], "lower", 1),  # a seed that diverged rules a point out
        ([[9.0, NAN], [5.0, 5.0]], "higher", 1),
        ([[2.0], [1.0], [1.0]], "lower", 1),  # the first of equals
        ([[NAN, NAN], [NAN, 1.0]], "lower", None),
        ([[1.0, 2.0], [1.0, None]], "lower", None),  # not before all have run
        ([[1.0]], "lower", 0),
    ],
)
def test_the_winner(values, metric, winner):
    tuning = summarized(values, metric=metric)
    assert tuning.winner == winner
    assert tuning.point == (None if winner is None else tuning.points[winner])


def test_counts():
    tuning = summarized([[1.0, 2.0], [NAN, 1.0], [None, 1.0], [3.0, None]])
    assert (tuning.finite, tuning.missing, tuning.trials) == (1, 2, 8)
    np.testing.assert_array_equal(tuning.scores, [1.5, INF, INF, INF])


def test_tune_finds_the_outcomes_of_its_own_trials():
    plan = make_plan(points=4)
    problem, contender = plan.problems[0], plan.contenders[0]
    rows = plan.tuning_trials(problem, contender)
    values = [[3.0, 5.0], [2.0, 1.0], [1.0, 9.0], [4.0, 4.0]]
    outcomes = {
        trial.id: ended(value, trial=trial)
        for row, line in zip(rows, values, strict=True)
        for trial, value in zip(row, line, strict=True)
    }
    strangers = {"other": ended(-1.0)}
    tuning = tune(History(plan, {**outcomes, **strangers}), problem, contender)
    np.testing.assert_array_equal(tuning.scores, [4.0, 1.5, 5.0, 4.0])
    assert tuning.winner == 1
    del outcomes[rows[2][1].id]
    assert tune(History(plan, outcomes), problem, contender).missing == 1


# --- the tuning curve ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("values", [[4.0, 1.0, 3.0, 2.0], [1.0, INF, 3.0, INF, 2.0], [5.0], [INF, 2.0]])
def test_the_curve_is_the_mean_best_over_all_subsets(values):
    tuning = summarized([[NAN if value == INF else value] for value in values])
    expected = [
        np.mean([min(subset) for subset in itertools.combinations(values, k)]) for k in range(1, len(values) + 1)
    ]
    np.testing.assert_allclose(tuning.curve, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("values", "gain"),
    [
        ([4.0, 1.0, 3.0, 2.0], (1 * 3 + 2 * 2 + 3 * 1) / 6 - 1),  # best of 2 of 4, less best of 4
        ([1.0, 2.0, 3.0], 4 / 3 - 1),  # best of 2 of 3
        ([7.0, 7.0, 7.0, 7.0], 0.0),
        ([1.0], 0.0),  # nothing to double
        ([1.0, NAN, NAN, NAN], INF),  # half the points might all have diverged
        ([NAN, NAN], 0.0),  # nothing trained: other flags say so
    ],
)
def test_gain(values, gain):
    assert summarized([[value] for value in values]).gain == pytest.approx(gain, rel=1e-6)


# --- edges -----------------------------------------------------------------------------------------------------------

SPACES = {"linear": uniform(-1.0, 3.0), "log": log_uniform(1e-4, 1.0), "decay": one_minus_log_uniform(0.9, 0.9999)}


@pytest.mark.parametrize("span", SPACES.values(), ids=SPACES)
@pytest.mark.parametrize(
    ("surface", "expected"),
    [
        (lambda c: c, {"x": "lower"}),
        (lambda c: 1 - c, {"x": "upper"}),
        (lambda c: (c - 0.5) ** 2, {}),
        (lambda c: (c - 0.3) ** 2, {}),
        (lambda c: (c - 1.4) ** 2, {"x": "upper"}),
        (lambda c: (c + 0.4) ** 2, {"x": "lower"}),
        (lambda c: 0.0, {}),  # flat
        (lambda c: NAN if c > 0.6 else 1 - c, {}),  # as high as it can be before it diverges: the space is wide enough
        (lambda c: NAN if c > 0.6 else c, {"x": "lower"}),
    ],
)
def test_edges_of_known_surfaces(span, surface, expected):
    points = halton_points({"x": span}, {}, 16)
    values = [[surface(span.coordinate(point.hyperparameters["x"]))] for point in points]
    assert summarized(values, space={"x": span}, points=points).edges == expected


def test_edges_know_which_way_is_better():
    points = halton_points({"x": uniform(0.0, 1.0)}, {}, 16)
    values = [[point.hyperparameters["x"]] for point in points]
    space = {"x": uniform(0.0, 1.0)}
    assert summarized(values, metric="higher", space=space, points=points).edges == {"x": "upper"}
    assert summarized(values, metric="lower", space=space, points=points).edges == {"x": "lower"}


def test_edges_of_several_hyperparameters():
    space = {"a": uniform(0.0, 1.0), "fixed": 0.5, "b": log_uniform(1e-3, 1.0), "c": uniform(0.0, 1.0)}
    points = [Point({"a": a, "fixed": 0.5, "b": 10 ** (3 * b - 3), "c": (a * 7 + b * 3) % 1}, {})
              for a in (0.1, 0.5, 0.9) for b in (0.1, 0.5, 0.9)]  # fmt: skip
    values = [[3 * point.hyperparameters["a"] - math.log10(point.hyperparameters["b"])] for point in points]
    edges = summarized(values, space=space, points=points).edges
    assert {name: edges.get(name) for name in ("a", "fixed", "b")} == {"a": "lower", "fixed": None, "b": "upper"}


@pytest.mark.parametrize("values", [[[1.0], [2.0]], [[1.0], [2.0], [None]], [[NAN], [NAN], [NAN]]])
def test_edges_are_not_told_from_too_little(values):
    assert summarized(values).edges == {}


def test_a_fixed_space_has_no_edges():
    contender = make_contender("x", points=1)
    assert isinstance(contender, PlannedContender) and isinstance(make_plan(points=1), Plan)
    assert summarized([[1.0]], space=contender.space, points=contender.points).edges == {}


def false_alarms(count, repeats=500):
    """How often a hyperparameter that does nothing is called at its edge, while another has its optimum inside."""
    space = {"rate": log_uniform(1e-4, 1.0), "idle": uniform(0.0, 1.0)}
    rng = np.random.default_rng(0)
    alarms = 0
    for seed in range(repeats):
        points = halton_points(space, {}, count, seed=seed)
        values = [
            [(math.log10(point.hyperparameters["rate"]) + 2) ** 2 + 0.3 * rng.normal() for _ in range(2)]
            for point in points
        ]
        alarms += "idle" in summarized(values, space=space, points=points).edges
    return alarms / repeats


@pytest.mark.slow
def test_an_idle_hyperparameter_is_seldom_called_at_its_edge():
    # 2,000 repeats: 0.074 at 8 points, 0.002 at 16
    assert false_alarms(16) <= 0.01
    assert false_alarms(8) <= 0.12
