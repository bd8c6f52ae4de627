"""Zoom as a search: what is pending when, the best two on fresh seeds, who wins, and runs stopped at any moment."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from dlkit.bench.plan.plan import Plan
from dlkit.bench.plan.policies import Tuner
from dlkit.bench.plan.space import Point, log_uniform, uniform
from dlkit.bench.plan.trials import STUDY_SEEDS
from dlkit.bench.tuning.history import History
from dlkit.bench.tuning.sampling import halton_points
from dlkit.bench.tuning.search import next_points, search
from dlkit.bench.tuning.winner import tune
from tests.bench.synthetic import make_contender, make_plan, play, synthetic_outcome

NAN = math.nan


def zoom_plan(count: int = 8, *, studies: int = 1, batch: int = 2, **settings: Any) -> Plan:
    space = {"learning_rate": log_uniform(1e-3, 1.0), "other": uniform(0.0, 1.0)}
    contender = replace(make_contender("x"), space=space, points=[], further=((),) * (studies - 1), undrawn=count)
    tuner = Tuner("zoom", studies=studies, batch=batch)
    return replace(make_plan(["x"], seeds=3, tuner=tuner, **settings), contenders=[contender])


def chosen_plan(count: int = 4, **settings: Any) -> Plan:
    """Zoom over choices alone: its points are there beforehand, and the best two are scored again all the same."""
    points = [Point({}, {"n": n}) for n in range(count)]
    contender = replace(make_contender("x"), space={}, static={"n": list(range(count))}, points=points)
    return replace(make_plan(["x"], seeds=3, tuner=Tuner("zoom"), **settings), contenders=[contender])


def bowl(trial):
    return abs(math.log10(trial.hyperparameters["learning_rate"]) + 1.5) + 0.3 * math.sin(7.0 * trial.seed)


def played(plan: Plan, value) -> History:
    def train(problem, contender, trial):
        number = value(trial)
        values = [1.0, NAN] if math.isnan(number) else [number] * (plan.evaluations + 1)
        return synthetic_outcome(problem, plan, trial, values)

    return play(plan, train)


def about(plan: Plan):
    return plan.problems[0], plan.contenders[0]


def choice(trial):
    return trial.identity["optimizer"]["static"]["n"]


def test_the_best_two_are_scored_on_fresh_seeds_and_all_scores_count():
    plan = chosen_plan(4, tuning_seeds=2)
    #          first seeds, fresh ones: choice 2 leads by luck, and 1 has the better mean over all four
    values = {0: (5.0, 0.0), 1: (2.0, 2.0), 2: (1.0, 4.0), 3: (6.0, 0.0)}
    history = played(plan, lambda trial: values[choice(trial)][trial.seed >= 2])
    found, tuning = search(history, *about(plan)), tune(history, *about(plan))
    assert [list(rung.places) for rung in found.rungs] == [[0, 1, 2, 3], [1, 2]]
    assert {trial.seed for row in found.rungs[1].trials for trial in row} == {2, 3}
    assert tuning.winner == 1
    np.testing.assert_array_equal(tuning.scores, [5.0, 2.0, 2.5, 6.0])
    assert (tuning.trials, tuning.missing, len(tuning.known)) == (4 * 2 + 2 * 2, 0, 12)
    assert tuning.seconds == pytest.approx(12 * 0.25)
    assert len(history.outcomes) == 12 + 3


def test_a_point_that_diverges_on_a_fresh_seed_is_out_and_the_next_two_follow_if_both_do():
    plan = chosen_plan(5, tuning_seeds=1)
    for diverging, places, winner in (
        ({0}, [[0, 1, 2, 3, 4], [0, 1]], 1),
        ({0, 1}, [[0, 1, 2, 3, 4], [0, 1], [2, 3]], 2),
        ({0, 1, 2, 3}, [[0, 1, 2, 3, 4], [0, 1], [2, 3], [4]], 4),
        ({0, 1, 2, 3, 4}, [[0, 1, 2, 3, 4], [0, 1], [2, 3], [4]], None),
    ):
        history = played(plan, lambda trial: NAN if trial.seed and choice(trial) in diverging else float(choice(trial)))  # noqa: B023
        tuning = tune(history, *about(plan))
        assert [list(rung.places) for rung in search(history, *about(plan)).rungs] == places
        assert (tuning.winner, tuning.missing) == (winner, 0)


@pytest.mark.parametrize(("trained", "winner"), [((2,), 2), ((), None)])
def test_without_a_choice_nothing_is_scored_again(trained, winner):
    history = played(chosen_plan(3), lambda trial: 1.0 if choice(trial) in trained else NAN)
    plan = history.plan
    assert len(search(history, *about(plan)).rungs) == 1
    assert (tune(history, *about(plan)).winner, tune(history, *about(plan)).trials) == (winner, 6)


def test_one_point_is_not_scored_again():
    history = played(chosen_plan(1), lambda trial: 1.0)
    assert len(history.outcomes) == 2 + 3 and tune(history, *about(history.plan)).winner == 0
    assert tune(History(history.plan), *about(history.plan)).trials == 2


def test_points_come_in_halves_and_batches_and_every_trial_is_counted_beforehand():
    plan = zoom_plan(9, batch=3, tuning_seeds=2)
    history = History(plan)
    where, counts = about(plan), []
    assert tune(history, *where).trials == 9 * 2 + 2 * 2
    while points := next_points(history, *where):
        history.draw(plan.search_key(*where, 0), points)
        counts.append(len(points))
        assert not next_points(history, *where), "those before have not run"
        pending = [trial for _, trial in search(history, *where).pending(history.outcomes)]
        assert {trial.seed for trial in pending} == {0, 1} and len(pending) == 2 * len(points)
        history.add(synthetic_outcome(where[0], plan, trial, [bowl(trial)] * 5) for trial in pending)
        assert (tune(history, *where).winner, tune(history, *where).trials) == (None, 9 * 2 + 2 * 2)
    assert counts == [5, 3, 1]
    pending = [trial for _, trial in search(history, *where).pending(history.outcomes)]
    assert {trial.seed for trial in pending} == {2, 3} and len(pending) == 4
    assert tune(history, *where).missing == 4
    history.add(synthetic_outcome(where[0], plan, trial, [bowl(trial)] * 5) for trial in pending)
    assert tune(history, *where).winner is not None
    assert list(tune(history, *where).points)[:5] == halton_points(where[1].space, {}, 5)


def test_studies_share_no_point_and_no_seed():
    plan = zoom_plan(6, studies=3, tuning_seeds=3)
    history = played(plan, bowl)
    tunings = [tune(history, *about(plan), study=study) for study in range(3)]
    rates = [point.hyperparameters["learning_rate"] for tuning in tunings for point in tuning.points]
    assert len(set(rates)) == 18
    for study, tuning in enumerate(tunings):
        first = study * STUDY_SEEDS
        assert {trial.seed for trial in tuning.known} == set(range(first, first + 6))
        again = {trial.seed for row in search(history, *about(plan), study=study).rungs[1].trials for trial in row}
        assert again == set(range(first + 3, first + 6))


def test_a_run_that_stops_at_any_moment_goes_on_with_the_same_points():
    plan = zoom_plan(8, tuning_seeds=2)
    where = about(plan)
    whole = played(plan, bowl)
    points, key = list(whole.drawn(*where, 0)), plan.search_key(*where, 0)
    for count in (0, 4, 6):  # after each batch
        few = {
            trial.id: whole.outcomes[trial.id] for row in plan.tuning_trials(*where, points[:count]) for trial in row
        }
        history = History(plan, few, {key: points[:count]})
        assert next_points(history, *where) == points[count : 4 if count == 0 else count + 2]
        if few:
            some = dict(list(few.items())[:-1])
            assert not next_points(History(plan, some, {key: points[:count]}), *where)


def test_more_points_are_another_search_since_half_of_them_are_spread():
    plans = [zoom_plan(8), zoom_plan(9), zoom_plan(8, tuning_seeds=3), zoom_plan(8, batch=3)]
    plans.append(replace(plans[0], tuner=replace(plans[0].tuner, objective="area")))
    keys = {each.search_key(*about(each), study) for each in plans for study in (0, 1)}
    assert len(keys) == 2 * len(plans)
    assert plans[0].search_key(*about(plans[0]), 0) == replace(plans[0], seeds=9).search_key(*about(plans[0]), 0)


def test_points_that_were_added_since_take_part():
    plan = chosen_plan(3, tuning_seeds=1)
    before = played(plan, lambda trial: float(choice(trial)))
    assert tune(before, *about(plan)).winner == 0
    more = [*plan.contenders[0].points, Point({}, {"n": -1})]
    wider = replace(plan, contenders=[replace(plan.contenders[0], points=more)])
    found = search(before.with_plan(wider), *about(wider))
    assert [trial.identity["optimizer"]["static"]["n"] for _, trial in found.pending(before.outcomes)] == [-1]
    assert found.later == 2, "who is among the best two is open again"
