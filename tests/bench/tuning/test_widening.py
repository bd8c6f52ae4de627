"""Wider spaces: what is added by hand, optima outside the range that are found, and what stays as it was."""

import math
from dataclasses import replace

import numpy as np
import pytest

from dlkit.bench.analysis import frames
from dlkit.bench.analysis.summary import summarize
from dlkit.bench.plan.json import from_json, to_json
from dlkit.bench.plan.plan import Plan
from dlkit.bench.plan.policies import Tuner
from dlkit.bench.plan.space import Point, Range, log_uniform, one_minus_log_uniform, uniform
from dlkit.bench.report.tables import tuning as tuning_table
from dlkit.bench.store.store import Store
from dlkit.bench.tuning.history import History
from dlkit.bench.tuning.sampling import beforehand, grid_points
from dlkit.bench.tuning.widening import MOST_ADDED, ROUNDS, expand
from dlkit.bench.tuning.winner import tune
from tests.bench.synthetic import fill, make_contender, make_plan, play, synthetic_outcome


def planned(space, *, points=16, tuner=None, static=None, **settings):
    """A plan of one contender over a space, its points drawn as its tuner does."""
    tuner = tuner or Tuner()
    static = static or {}
    drawn = [beforehand(tuner.name, space, static, points, seed=study) for study in range(tuner.studies)]
    contender = replace(make_contender("x"), space=space, points=drawn[0], further=tuple(drawn[1:]), static=static)
    return replace(make_plan(["x"], seeds=2, tuning_seeds=1, tuner=tuner, **settings), contenders=[contender])


def tuned(plan, score):
    """Plays a plan in which a point's score is a function of its hyperparameters; returns tuning and history."""

    def train(problem, contender, trial):
        return synthetic_outcome(problem, plan, trial, [score(**trial.hyperparameters)] * (plan.evaluations + 1))

    history = play(plan, train)
    return tune(history, plan.problems[0], plan.contenders[0]), history


def expanded(plan, score):
    """Widens a plan once."""
    return expand(tuned(plan, score)[1])


def values_of(points, name):
    return np.array([point.hyperparameters[name] for point in points])


# --- what is added ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("span", "optimum", "expected"),
    [
        (log_uniform(1e-4, 1e-2), 1.0, (1e-4, 1.0)),
        (log_uniform(1e-2, 1e-1), 1e-4, (1e-3, 1e-1)),
        (uniform(2.0, 3.0), 5.0, (2.0, 4.0)),
        (uniform(0.5, 2.0), -3.0, (0.0, 2.0)),  # not below 0
        (one_minus_log_uniform(0.9, 0.99), 0.9999, (0.9, 0.999)),
    ],
)
@pytest.mark.parametrize("tuner", ["halton", "random", "grid"])
def test_an_edge_moves_by_the_width_of_the_range(span, optimum, expected, tuner):
    def score(x):
        return abs(span.coordinate(x) - span.coordinate(optimum) if optimum > 0 else x)

    plan = planned({"x": span}, tuner=Tuner(tuner))
    wider = expanded(plan, score)
    (expansion,) = wider.expansions
    assert (expansion.problem, expansion.contender) == ("bowl", "x")
    now = expansion.space["x"]
    assert (now.low, now.high) == pytest.approx(expected) and now.scale == span.scale
    (points,) = expansion.points
    share = (now.width - span.width) / span.width
    assert len(points) == pytest.approx(16 * share, abs=1.01), "as dense as before"
    added = values_of(points, "x")
    assert ((added < span.low) | (added > span.high)).all() and (now.low <= added.min()) and (added.max() <= now.high)
    assert wider.contenders == plan.contenders and wider.digest != plan.digest


def test_nothing_is_widened_without_an_edge():
    plan = planned({"x": uniform(0.0, 1.0)})
    assert expanded(plan, lambda x: (x - 0.4) ** 2) is None
    assert expanded(plan, lambda x: x) is None  # the edge is at 0, where there is no room
    assert expanded(plan, lambda x: math.nan) is None
    assert expand(History(plan)) is None


def test_two_edges_at_once_fill_an_angle_as_densely():
    space = {"x": uniform(1.0, 2.0), "y": uniform(-1.0, 1.0), "z": 0.5}
    points = [Point({"x": x, "y": y, "z": 0.5}, {}) for x in (1.1, 1.5, 1.9) for y in (-0.9, 0.0, 0.9)]
    plan = planned(space)
    plan = replace(plan, contenders=[replace(plan.contenders[0], points=points)])
    wider = expanded(plan, lambda x, y, z: -2 * x + 0.9 * y)
    (expansion,) = wider.expansions
    assert expansion.space == {"x": uniform(1.0, 3.0), "y": uniform(-3.0, 1.0), "z": 0.5}
    x, y = (values_of(expansion.points[0], name) for name in ("x", "y"))
    assert len(x) == 9 * 3, "the widened square is four times the declared one"
    assert ((x > 2.0) | (y < -1.0)).all()
    assert ((x > 2.0) & (y < -1.0)).sum() == pytest.approx(9, abs=3)


def test_a_round_has_an_end_however_many_edges():
    names = [f"x{i}" for i in range(6)]
    space = {name: uniform(-1.0, 1.0) for name in names}
    points = [Point(dict.fromkeys(names, value), {}) for value in (-0.8, -0.2, 0.3, 0.9)]
    plan = planned(space)
    plan = replace(plan, contenders=[replace(plan.contenders[0], points=points)])
    (expansion,) = expanded(plan, lambda **at: sum(at.values())).expansions
    assert all(span == uniform(-3.0, 1.0) for span in expansion.space.values())
    assert len(expansion.points[0]) <= MOST_ADDED * 4 + 6  # every part gets a point at least


def test_a_grid_goes_on_at_its_spacing():
    space = {"x": uniform(0.0, 1.0), "y": log_uniform(1e-2, 1.0)}
    plan = planned(space, points=12, tuner=Tuner("grid"), static={"c": ["p", "q"]})  # 3 by 2, each with p and q
    wider = expanded(plan, lambda x, y: 5 - x)
    (points,) = wider.expansions[0].points
    assert [tuple(p.hyperparameters.values()) for p in points if p.static["c"] == "q"] == [
        (1.5, 0.01), (1.5, 1.0), (2.0, 0.01), (2.0, 1.0)
    ]  # fmt: skip
    whole = grid_points(wider.expansions[0].space, {"c": ["p", "q"]}, 20, counts={"x": 5, "y": 2})
    key = lambda point: (*point.hyperparameters.values(), point.static["c"])  # noqa: E731
    assert sorted(map(key, [*plan.contenders[0].points, *points])) == sorted(map(key, whole))


def test_each_study_gets_fresh_points():
    plan = planned({"x": log_uniform(1e-4, 1e-2)}, tuner=Tuner(studies=3), points=8)
    first, *others = expanded(plan, lambda x: -x).expansions[0].points
    assert len(others) == 2
    seen = set(values_of(first, "x"))
    for points in others:
        assert len(points) == 8 and not seen & set(values_of(points, "x"))
        seen |= set(values_of(points, "x"))


# --- going on --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("optimum", "rounds"), [(10**-0.5, 1), (10**2.5, 2), (10**3.5, 2), (10**8, ROUNDS)])
def test_the_optimum_outside_is_found_round_by_round(optimum, rounds):
    plan = planned({"x": log_uniform(1e-4, 1e-1)}, points=12)
    before = set()
    for _ in range(ROUNDS):
        tuning, history = tuned(plan, lambda x: abs(math.log10(x / optimum)))
        assert before <= set(history.outcomes), "what was done is part of what is"
        before = {name for name, each in history.outcomes.items() if each.trial.stage == "tuning"}
        wider = expand(history)
        if wider is None:
            break
        plan = wider
    assert len(plan.expansions) == rounds
    tuning, _ = tuned(plan, lambda x: abs(math.log10(x / optimum)))
    assert len(tuning.points) == 12 * (1 + rounds)
    if optimum < 1e6:
        assert not tuning.edges and abs(math.log10(tuning.point.hyperparameters["x"] / optimum)) < 0.5
    else:
        assert tuning.edges == {"x": "upper"}, "the flag stays"


def test_halving_goes_on_with_the_rungs_it_has():
    plan = planned({"x": log_uniform(1e-4, 1e-1)}, points=8, tuner=Tuner(halving=2), evaluations=8)
    tuning, history = tuned(plan, lambda x: abs(math.log10(x) - 1))
    wider = expand(history)
    again, after = tuned(wider, lambda x: abs(math.log10(x) - 1))
    reached = lambda found: {each.trial.until for each in found.outcomes.values() if each.trial.stage == "tuning"}  # noqa: E731
    assert reached(history) == reached(after) == {2, 4, None}
    firsts = {name for name, each in history.outcomes.items() if each.trial.until == 2}
    assert firsts < set(after.outcomes)
    assert tuning.edges == {"x": "upper"} and not again.edges


def test_a_widened_plan_survives_json_and_is_told():
    plan = planned({"x": log_uniform(1e-4, 1e-2)})
    wider = expanded(plan, lambda x: -x)
    assert from_json(Plan, to_json(wider)) == wider
    with Store(None) as store:
        fill(store, wider, curve=lambda plan, problem, contender, trial: [1 - trial.hyperparameters["x"]] * 5)
        comparison = summarize(store).comparisons[0]
        widened = frames.table(summarize(store)).widened[0]
    assert widened == "widened: x [0.0001, 0.01] → [0.0001, 1], 16 more points"
    (cells,) = tuning_table(comparison).rows
    assert cells[2] == "32/32" and cells[3].endswith(widened)
    assert cells[3].startswith("x at the upper edge of its space (1)")
    assert isinstance(comparison.results[0].contender.space["x"], Range)
