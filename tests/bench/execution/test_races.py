"""Races: who is timed beside whom where tuning is repeated, without training."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from dlkit.bench.execution.races import Race, races
from dlkit.bench.plan.plan import Plan
from dlkit.bench.plan.planned import PlannedContender
from dlkit.bench.plan.policies import Tuner
from dlkit.bench.plan.space import Point
from dlkit.bench.plan.trials import Outcome, Trial, timing_key
from dlkit.bench.store.store import Store
from dlkit.bench.tuning.history import History
from dlkit.bench.tuning.winner import tune
from tests.bench.synthetic import fill, make_plan

RATES = (0.003, 0.02, 0.1, 0.6)
FURTHER = tuple([Point({"learning_rate": part * rate}, {}) for rate in RATES] for part in (0.9, 0.8))
MADE = make_plan(("steady", "late", "never"), tuner=Tuner(studies=3), seeds=2)
PLAN = replace(MADE, contenders=[replace(each, further=FURTHER) for each in MADE.contenders])


class Bound(NamedTuple):
    """A bound plan whose groups are labels."""

    plan: Plan

    def group(self, problem: Any, contender: PlannedContender, static: Mapping[str, Any]) -> Any:
        return contender.label


def race_of(history: History) -> Race:
    with Store(None) as store:
        (race,) = races(Bound(history.plan), history, store, "here")  # type: ignore[arg-type]
    return race


def optimizer_of(trial: Trial) -> str:
    return str(trial.identity["optimizer"]["name"])


def ran(diverging: Mapping[str, int]) -> dict[str, Outcome]:
    """Outcomes of the plan; all tuning trials of so many of a contender's first studies diverge."""

    def diverged(label: str, trial: Trial) -> bool:
        return trial.stage == "tuning" and trial.seed // 1000 < diverging.get(label, 0)

    with Store(None) as store:
        fill(store, PLAN, diverged=diverged)
        return {name: record.outcome for name, record in store.records().items()}


def test_a_race_is_between_the_first_studies_that_found_a_winner() -> None:
    """Of one contender nothing trains in the first study, and of another one nothing at all: that one rests."""
    outcomes = ran({"late": 1, "never": 3})
    history = History(PLAN, outcomes)
    race = race_of(history)
    assert [each.group for each in race.entrants] == ["steady", "late"]
    for study, entrant, key in zip((0, 1), race.entrants, race.keys, strict=True):
        winner = tune(history, PLAN.problems[0], PLAN.contenders[study], study=study).point
        assert winner is not None and entrant.hyperparameters == winner.hyperparameters
        finals = [
            each.trial
            for each in outcomes.values()
            if optimizer_of(each.trial) == entrant.group and each.trial.stage == "final"
        ]
        assert min(trial.seed for trial in finals) == 1000 * study
        assert {timing_key(trial) for trial in finals if trial.seed // 1000 == study} == {key}


def test_a_later_study_does_not_take_the_place_of_one_that_goes_on() -> None:
    outcomes = {
        name: each
        for name, each in ran({}).items()
        if (optimizer_of(each.trial), each.trial.stage, each.trial.seed) != ("late", "tuning", 0)
    }
    assert [each.group for each in race_of(History(PLAN, outcomes)).entrants] == ["steady", "never"]
