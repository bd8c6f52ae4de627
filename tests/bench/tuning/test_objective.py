"""What tuning looks for: scores by hand, and three objectives that disagree on one table of curves."""

import math
from dataclasses import replace

import numpy as np
import pytest

from dlkit.bench.plan.metric import Metric
from dlkit.bench.plan.plan import Plan
from dlkit.bench.plan.policies import OBJECTIVES, Tuner
from dlkit.bench.plan.trials import Trial
from dlkit.bench.tuning.objective import mean_finals, mean_scores
from dlkit.bench.tuning.search import search
from dlkit.bench.tuning.winner import tune
from tests.bench.synthetic import failed_outcome, make_plan, make_problem, play, synthetic_outcome

INF, NAN = math.inf, math.nan


def plan_for(objective: str, *, target: float | None = 0.5, metric: Metric | None = None, **tuner) -> Plan:
    problems = [make_problem(target=target, metric=metric)]
    tuner = Tuner(objective=objective, **tuner)
    return make_plan(["x"], problems=problems, points=4, tuning_seeds=1, seeds=2, tuner=tuner)


def score(objective, *curves, until=None, **settings):
    """The score of a point with one curve a seed; a trial has 4 evaluations, 10 steps each."""
    plan = plan_for(objective, **settings)
    trial = Trial("", {"until": until, "steps": 40})
    row = [None if curve is None else synthetic_outcome(plan.problems[0], plan, trial, curve) for curve in curves]
    (found,) = mean_scores(plan, plan.problems[0], [row], until=until)
    return found


HIGHER, LOG = Metric("higher"), Metric("lower", "log")


@pytest.mark.parametrize(
    ("objective", "curves", "settings", "expected"),
    [
        ("final", [[9.0, 1.0, 1.0, 1.0, 0.75]], {}, 0.75),
        ("final", [[9.0, 1.0, 1.0, 1.0, 1.0], [9.0, 1.0, 1.0, 1.0, 2.0]], {}, 1.5),
        ("area", [[9.0, 4.0, 2.0, 1.0, 1.0]], {}, 2.0),  # step 0 does not count
        ("area", [[9.0, 4.0, 2.0, 1.0, 1.0], [9.0, 4.0, 4.0, 4.0, 4.0]], {}, 3.0),
        ("area", [[0.0, 0.5, 0.5, 0.75, 0.75]], {"metric": HIGHER}, -0.625),
        ("area", [[1.0, 100.0, 10.0, 1.0, 1.0]], {"metric": LOG}, 0.75),  # (2 + 1 + 0 + 0) / 4
        ("area", [[9.0, 4.0, 2.0, 1.0, 1.0]], {"until": 2}, 3.0),
        ("area", [[9.0, 4.0, 2.0]], {}, 2.5),  # it ended at evaluation 2: (4 + 2 + 2 + 2) / 4
        ("steps", [[9.0, 4.0, 0.5, 7.0, 7.0]], {}, 20.0),  # at the target, not below it
        ("steps", [[0.1, 4.0, 4.0, 4.0, 4.0]], {}, 0.0),
        ("steps", [[9.0, 4.0, 0.5, 7.0, 7.0], [9.0, 9.0, 9.0, 9.0, 0.1]], {}, 30.0),
        ("steps", [[0.0, 0.1, 0.6, 0.1, 0.1]], {"metric": HIGHER}, 20.0),
        ("steps", [[9.0, 4.0, 1.5, 1.5, 1.5]], {}, 100.0),  # misses by 1: 40 (2 + 1 / 2)
        *[(name, [[1.0, 0.1, NAN]], {}, INF) for name in OBJECTIVES],  # at the target, and diverged
        *[(name, [[1.0, 0.1, 0.1, 0.1, 0.1], None], {}, INF) for name in OBJECTIVES],  # one has not run
    ],
)
def test_scores_by_hand(objective, curves, settings, expected):
    assert score(objective, *curves, **settings) == pytest.approx(expected, rel=1e-6)


def test_a_failure_has_no_score():
    for name in OBJECTIVES:
        plan = plan_for(name)
        assert mean_scores(plan, plan.problems[0], [[failed_outcome(Trial("", {}), "it broke")]]).tolist() == [INF]
        assert mean_scores(plan, plan.problems[0], []).tolist() == []


def test_what_misses_is_worse_than_the_latest_that_is_there_and_ordered_by_final_values():
    last = score("steps", [9.0, 9.0, 9.0, 9.0, 0.5])
    ends = [0.500001, 0.6, 3.0, 1e3, 1e6]
    missed = [score("steps", [9.0, 9.0, 9.0, 9.0, end]) for end in ends]
    assert last < missed[0] and missed == sorted(missed) and len(set(missed)) == len(ends)
    assert missed[-1] < INF
    # two seeds: one that is there and one that misses lie between
    assert last < score("steps", [9.0] * 4 + [0.5], [9.0] * 5) < score("steps", [9.0] * 5, [9.0] * 5)


# Where each ends, how soon it is at 0.5, and what lies under it, all disagree; the last one is good and diverges.
CURVES = [
    [9.0, 8.0, 8.0, 8.0, 0.1],  # ends best
    [9.0, 8.0, 0.5, 8.0, 8.0],  # is at the target first
    [9.0, 0.7, 0.7, 0.7, 0.7],  # is low all along, and never at the target
    [9.0, 0.4, NAN],
]


def tuned(objective: str, **tuner):
    plan = plan_for(objective, **tuner)
    rates = [point.hyperparameters["learning_rate"] for point in plan.contenders[0].points]

    def train(problem, contender, trial):
        curve = CURVES[rates.index(trial.hyperparameters["learning_rate"])]
        return synthetic_outcome(problem, plan, trial, curve)

    history = play(plan, train)
    return plan, history, tune(history, plan.problems[0], plan.contenders[0])


@pytest.mark.parametrize(("objective", "winner"), [("final", 0), ("steps", 1), ("area", 2)])
@pytest.mark.parametrize("name", ["halton", "zoom"])
def test_the_objective_decides_who_wins(objective, winner, name):
    _, history, tuning = tuned(objective, name=name)
    assert tuning.winner == winner and tuning.finite == 3
    np.testing.assert_allclose(tuning.finals, [0.1, 8.0, 0.7, INF], rtol=1e-6)
    # figures show final values: the expected best of one of three and a diverged one, and of all
    np.testing.assert_allclose(tuning.curve[-1], 0.1, rtol=1e-6)
    finals = [each.trial for each in history.outcomes.values() if each.trial.stage == "final"]
    expected = {tuning.points[winner].hyperparameters["learning_rate"]}
    assert {trial.hyperparameters["learning_rate"] for trial in finals} == expected


def test_rungs_go_on_by_the_area_so_far():
    plan, history, tuning = tuned("area", halving=2)
    found = search(history, plan.problems[0], plan.contenders[0])
    assert [(list(rung.places), rung.until) for rung in found.rungs] == [([0, 1, 2, 3], 2), ([1, 2], None)]
    np.testing.assert_allclose(found.rungs[0].scores, [8.0, 4.25, 0.7, INF], rtol=1e-6)
    assert tuning.winner == 2


def test_trials_do_not_depend_on_the_objective():
    plans = [plan_for(name) for name in OBJECTIVES]
    ids = [[row[0].id for row in each.tuning_trials(each.problems[0], each.contenders[0])] for each in plans]
    assert ids[0] == ids[1] == ids[2]


def test_the_objective_is_part_of_a_search_only_where_it_decides_points():
    for name, count in (("halton", 1), ("random", 1), ("optuna", 3), ("zoom", 3)):
        plans = [plan_for(objective, name=name) for objective in OBJECTIVES]
        assert len({each.search_key(each.problems[0], each.contenders[0], 0) for each in plans}) == count
    easy, hard = (plan_for("steps", name="optuna", target=target) for target in (0.5, 0.1))
    assert easy.search_key(easy.problems[0], easy.contenders[0], 0) != hard.search_key(
        hard.problems[0], hard.contenders[0], 0
    )
    by_area = [replace(each, tuner=replace(each.tuner, objective="area")) for each in (easy, hard)]
    assert len({each.search_key(each.problems[0], each.contenders[0], 0) for each in by_area}) == 1


def test_final_values_are_means_over_seeds():
    plan = plan_for("steps")
    row = [synthetic_outcome(plan.problems[0], plan, Trial("", {}), [1.0] * 4 + [end]) for end in (1.0, 4.0)]
    assert mean_finals(plan.problems[0], [row, [row[0], None]]).tolist() == [2.5, INF]
