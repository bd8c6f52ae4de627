"""A history: a warm one answers as a fresh one does, whatever was added in between, and hashes each trial once."""

import json
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dlkit.bench.identity.hashing import canonical
from dlkit.bench.plan import plan as plan_module
from dlkit.bench.plan.plan import Plan
from dlkit.bench.plan.planned import PlannedContender, PlannedProblem
from dlkit.bench.plan.policies import Tuner
from dlkit.bench.plan.space import Point, log_uniform
from dlkit.bench.plan.trials import Outcome, Trial
from dlkit.bench.tuning.history import History
from dlkit.bench.tuning.search import next_points, search
from dlkit.bench.tuning.targets import freeze, reruns
from dlkit.bench.tuning.widening import expand
from dlkit.bench.tuning.winner import tune
from tests.bench.synthetic import make_contender, make_plan, make_problem, play, synthetic_outcome


def undrawn(plan: Plan, count: int | None) -> Plan:
    """The plan with points that are drawn while it runs: so many, or until the seconds are spent."""
    space = {"learning_rate": log_uniform(1e-3, 1.0)}
    further = ((),) * (plan.tuner.studies - 1)
    changed = [replace(each, space=space, points=[], further=further, undrawn=count) for each in plan.contenders]
    return replace(plan, contenders=changed)


SMALL: dict[str, Any] = {"points": 4, "evaluations": 8, "seeds": 2, "tuning_seeds": 2}
UNSET = [make_problem(target=None), make_problem("cup")]
PLANS = {
    "points beforehand": make_plan(["a", "b"], problems=UNSET, **SMALL),
    "halving": make_plan(["a", "b"], problems=UNSET, tuner=Tuner(halving=2), **SMALL),
    "seconds": undrawn(make_plan(["a", "b"], problems=UNSET, tuner=Tuner("random", seconds=2.0), **SMALL), None),
    "two studies, halving": make_plan(
        ["a"],
        problems=UNSET,
        tuner=Tuner(halving=2, studies=2),
        **SMALL,
    ),
}
OTHERS = [tuple(Point({"learning_rate": part * rate}, {}) for rate in (0.002, 0.01, 0.1, 1.0)) for part in (0.9, 0.8)]
PLANS["two studies, halving"] = replace(
    PLANS["two studies, halving"],
    contenders=[replace(each, further=tuple(OTHERS)) for each in PLANS["two studies, halving"].contenders],
    added_studies={"cup": {"a": 1}},
)


def answers(history: History) -> str:
    """Everything that tuning says about a history, as text: equal texts, equal answers."""
    said: list[Any] = []
    for problem in history.plan.problems:
        for contender in history.plan.contenders:
            for study in history.plan.studies(problem, contender):
                found = search(history, problem, contender, study=study)
                tuning = tune(history, problem, contender, study=study)
                said += [
                    found.points, found.wanted, found.later,
                    [(list(each.places), each.scores.tolist(), each.missing.tolist(), each.until)
                     for each in found.rungs],
                    [trial.id for _, trial in found.pending(history.outcomes)],
                    tuning.winner, tuning.scores.tolist(), tuning.curve.tolist(), dict(tuning.edges), tuning.gain,
                    tuning.missing, tuning.trials, tuning.seconds, [trial.id for trial in tuning.known],
                    next_points(history, problem, contender, study=study),
                ]  # fmt: skip
                if tuning.point:
                    finals = history.final_trials(problem, contender, tuning.point, study=study)
                    said.append([(trial.id, trial.id in history.outcomes) for trial in finals])
        again = reruns(history, problem)
        said += [again.key, freeze(history, problem, again)] if again else [None]
    wider = expand(history)
    return canonical([said, wider.digest if wider else ""])


def drawn_of(history: History) -> dict[str, list[Point]]:
    return {
        history.plan.search_key(problem, contender, study): list(history.drawn(problem, contender, study))
        for problem in history.plan.problems
        for contender in history.plan.contenders
        for study in history.plan.studies(problem, contender)
    }


def known_trials(history: History) -> list[tuple[PlannedProblem, Trial]]:
    """Trials that could have an outcome next: those of searches, of winners, and of reruns."""
    found: list[tuple[PlannedProblem, Trial]] = []
    for problem in history.plan.problems:
        for contender in history.plan.contenders:
            for study in history.plan.studies(problem, contender):
                tuning = tune(history, problem, contender, study=study)
                found += [(problem, trial) for trial in tuning.known]
                if tuning.point:
                    finals = history.final_trials(problem, contender, tuning.point, study=study)
                    found += [(problem, trial) for trial in finals]
        again = reruns(history, problem)
        found += [(problem, trial) for trial in again.trials] if again else []
    return found


@pytest.mark.long
@pytest.mark.parametrize("what", PLANS)
@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_a_warm_history_answers_as_a_fresh_one_does(what: str, data: st.DataObject) -> None:
    """Outcomes come in any order, some twice with other values, and points are drawn in between."""
    plan = PLANS[what]
    warm = History(plan)
    values = st.sampled_from([0.1, 0.2, 0.4, 0.8, math.nan])
    for _ in range(data.draw(st.integers(1, 8))):
        if data.draw(st.booleans()):
            answers(warm)  # warms what it is going to be asked again
        candidates = known_trials(warm)
        size = data.draw(st.sampled_from([1, 3, len(candidates)]))
        picked = data.draw(st.permutations(candidates))[:size]
        new = []
        for problem, trial in picked:
            value = data.draw(values)
            new.append(synthetic_outcome(problem, plan, trial, [1.0] + [value] * plan.evaluations, seconds=0.25))
        warm.add(new)
        for problem in plan.problems:
            for contender in plan.contenders:
                points = next_points(warm, problem, contender)
                if points and data.draw(st.booleans()):
                    warm.draw(warm.search_key(problem, contender, 0), points)
        assert answers(warm) == answers(History(plan, dict(warm.outcomes), drawn_of(warm)))


def test_another_plan_keeps_outcomes_and_points_and_not_the_answers() -> None:
    plan = PLANS["points beforehand"]
    history = play(plan, falling(plan))
    problem, contender = plan.problems[0], plan.contenders[0]
    wider = replace(plan, tuning_seeds=3)
    assert not tune(history, problem, contender).missing
    other = history.with_plan(wider)
    assert tune(other, problem, contender).missing == 4, "a seed more of four points"
    assert answers(other) == answers(History(wider, history.outcomes, drawn_of(history)))
    other.add([synthetic_outcome(problem, plan, Trial("stranger", {}), [1.0] * 9)])
    assert "stranger" not in history.outcomes


def falling(plan: Plan) -> Callable[[PlannedProblem, PlannedContender, Trial], Outcome]:
    def train(problem: PlannedProblem, contender: PlannedContender, trial: Trial) -> Outcome:
        off = abs(math.log10(trial.hyperparameters["learning_rate"]) + 1.5)
        return synthetic_outcome(problem, plan, trial, np.linspace(3.0, 1.0 + off, plan.evaluations + 1).tolist())

    return train


def test_outcomes_are_added_by_name_alone() -> None:
    plan = PLANS["points beforehand"]
    outcomes: dict[str, Outcome] = {}
    history = History(plan, outcomes)
    outcomes["x"] = synthetic_outcome(plan.problems[0], plan, Trial("x", {}), [1.0] * 9)
    assert not history.outcomes
    with pytest.raises(TypeError):
        history.outcomes["x"] = outcomes["x"]  # type: ignore[index]


def test_an_outcome_costs_the_answers_of_its_own_study() -> None:
    """A run of many studies tunes again, after each report, only what the report was about."""
    plan = PLANS["two studies, halving"]
    contender = plan.contenders[0]
    history, asked = play(plan, falling(plan)), Counter[tuple[str, int]]()

    def question(history: History, problem: PlannedProblem, contender: PlannedContender, study: int) -> float:
        asked[problem.name, study] += 1
        return tune(history, problem, contender, study=study).seconds

    def ask() -> None:
        for problem in plan.problems:
            for study in (0, 1):
                history.answer(question, problem, contender, study)

    ask()
    again = tune(history, plan.problems[1], contender, study=1).known[0]
    history.add([synthetic_outcome(plan.problems[1], plan, again, [1.0] * 9)])
    ask()
    ask()
    names = [problem.name for problem in plan.problems]
    assert asked == {(names[0], 0): 1, (names[0], 1): 1, (names[1], 0): 1, (names[1], 1): 2}


# --- trials ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", PLANS)
def test_each_trial_is_hashed_once(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plan, hashed = replace(PLANS[what], tuner=replace(PLANS[what].tuner, studies=1)), Counter[str]()
    real = plan_module.digest_after

    def counted(beginning: str) -> Callable[[str], str]:
        digest_of_rest = real(beginning)

        def count(rest: str) -> str:
            name = digest_of_rest(rest)
            if json.loads(beginning + rest)["hyperparameters"]:  # a trial, but for that of a search's key
                hashed[name] += 1
            return name

        return count

    trained = falling(plan)
    monkeypatch.setattr(plan_module, "digest_after", counted)
    history = play(plan, trained)
    answers(history)
    answers(history)
    assert history.outcomes.keys() <= hashed.keys() and set(hashed.values()) == {1}


def test_trials_are_those_of_the_plan() -> None:
    plan = replace(PLANS["points beforehand"], added_seeds={"bowl": {"a": 3}})
    history = History(plan)
    for _ in range(2):
        for problem in plan.problems:
            for contender in plan.contenders:
                about = (problem, contender)
                for study, until in ((0, None), (1, None), (0, 2)):
                    expected = plan.tuning_trials(*about, study=study, until=until)
                    found = history.tuning_trials(*about, contender.points_of(0), study=study, until=until)
                    if study == 0:
                        assert [list(row) for row in found] == expected
                point = contender.points[1]
                for study in (0, 1):
                    expected_finals = plan.final_trials(*about, point, study=study)
                    assert list(history.final_trials(*about, point, study=study)) == expected_finals
                assert list(history.reruns(*about, point)) == plan.reruns(*about, point)
                assert history.search_key(*about, 1) == plan.search_key(*about, 1)


def test_values_that_are_equal_in_python_make_different_trials() -> None:
    points = [Point({"learning_rate": rate}, {"n": n}) for rate in (1.0, 1, -0.0, 0.0) for n in (1, 1.0, True)]
    plan = make_plan(["a"], tuning_seeds=1)
    contender = replace(make_contender("a"), points=points)
    plan = replace(plan, contenders=[contender])
    rows = History(plan).tuning_trials(plan.problems[0], contender, points)
    assert [row[0].id for row in rows] == [row[0].id for row in plan.tuning_trials(plan.problems[0], contender)]
    assert len({row[0].id for row in rows}) == len(points)


def test_a_changed_problem_of_the_same_name_has_trials_of_its_own() -> None:
    plan = make_plan(["a"])
    problem, contender = plan.problems[0], plan.contenders[0]
    history = History(plan)
    longer = replace(problem, steps=80)
    ids = {history.tuning_trials(each, contender, contender.points)[0][0].id for each in (problem, longer)}
    assert len(ids) == 2
