"""What a run stores is what its trials' identities say: each is trained again by hand from its identity."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np
import pytest

from dlkit import bench
from dlkit.bench.optimizers import Optimizer, schedules
from dlkit.bench.plan.policies import EarlyStopping
from dlkit.bench.plan.space import Point, uniform
from dlkit.bench.plan.trials import Evaluations, Outcome, Trial
from dlkit.bench.store.store import Store
from dlkit.bench.training.program import Program, compile_problem, compile_program
from dlkit.bench.training.recipe import Recipe
from dlkit.bench.training.trajectory import train_trial
from tests.bench.synthetic import PROGRAM
from tests.bench.wiring.walk import WALKER, walk


def build(learning_rate: Any, direction: str, key: Any) -> Any:
    """A walk down or up, with a little noise of its own: its static choice and its key show."""
    return WALKER.build(learning_rate * {"down": 1.0, "up": -1.0}[direction], 0.1, key)


OWN = Optimizer("own", build, {"learning_rate": uniform(0.01, 0.1)}, {"direction": ["down", "up"]}, random=True)
BUDGET = bench.Budget(
    steps=12, evaluations=6, tuner="grid", tuning_points=4, tuning_seeds=2, studies=2, halving=2, seeds=3
)
STOPPING = EarlyStopping(patience=2)
PROBLEM = walk(diverged_above=1e9)


def compared(**asked: Any) -> bench.Result:
    """The one place here that says how a comparison is run in this process."""
    return bench.compare(**asked, resources=bench.Resources(executor="inline"), progress=False)


@pytest.fixture(scope="module")
def result() -> bench.Result:
    found = compared(
        problems=[PROBLEM],
        optimizers=[
            bench.Contender(optimizer=OWN, schedule="linear", batch_size=3),
            bench.Contender(optimizer=OWN, label="stopping", early_stopping=STOPPING, static={"direction": ["down"]}),
        ],
        probes=["weight_norm"],
        targets=bench.TargetRule(reruns=2),
        budget=BUDGET,
    )
    assert not found.failures
    return found


def outcomes(result: bench.Result) -> dict[str, Outcome]:
    return {name: record.outcome for name, record in result.summary.records.items()}


def program_of(identity: Mapping[str, Any], programs: dict[str, Program]) -> Program:
    """The program that an identity describes."""
    policy = identity["early_stopping"]
    settings: dict[str, Any] = {
        "optimizer": OWN,
        "static": identity["optimizer"]["static"],
        "schedule": schedules.get(identity["schedule"]),
        "stopping": EarlyStopping(**policy) if policy else None,
        "probes": tuple(identity["probes"]),
        "steps": identity["steps"],
        "evaluations": identity["evaluations"],
    }
    batch_size = identity["problem"]["batch_size"]
    key = str([settings[name] for name in settings if name not in ("optimizer", "schedule")]) + f"{batch_size}"
    key += identity["schedule"]
    if key not in programs:
        programs[key] = compile_program(compile_problem(PROBLEM.variant(batch_size=batch_size)), Recipe(**settings))
    return programs[key]


def test_every_trial_is_what_its_identity_says(result: bench.Result) -> None:
    programs: dict[str, Program] = {}
    found = outcomes(result)
    stages = set()
    for outcome in found.values():
        trial = outcome.trial
        program = program_of(trial.identity, programs)
        again = train_trial(
            program, trial.hyperparameters, stage=trial.stage, seed=trial.seed, until=trial.identity.get("until")
        )
        stages.add((trial.stage, trial.until))
        assert outcome.curves.keys() == again.curves.keys()
        for metric, curve in outcome.curves.items():
            assert curve.tobytes() == again.curves[metric].tobytes(), (trial.identity, metric)
        np.testing.assert_array_equal(outcome.steps, again.steps)
        assert (outcome.status, outcome.restored_at, dict(outcome.validation)) == (
            again.status,
            again.restored_at,
            dict(again.validation),
        )
        assert outcome.evaluations == again.evaluations
    assert stages == {("tuning", 3), ("tuning", None), ("final", None), ("target", None)}
    assert len(programs) >= 5, "two directions and two usages, with probes and without"


def test_every_trial_of_the_plan_ran_once_and_no_other(result: bench.Result) -> None:
    frame = result.trials()
    assert sorted(frame.trial) == sorted(outcomes(result))
    # a grid of 4 points, the same in each study; each on 2 seeds, and half of the points go on
    tuning = frame[frame.stage == "tuning"]
    counts = tuning.groupby(["optimizer", "study", "until"], dropna=False).size()
    assert counts.tolist() == [8, 4] * 4
    for study in range(2):
        assert set(tuning[tuning.study == study].seed) == {1000 * study, 1000 * study + 1}
    finals = frame[frame.stage == "final"]
    for (_, study), each in finals.groupby(["optimizer", "study"]):
        assert sorted(each.seed) == [1000 * study + seed for seed in range(3)], "the same ones for both"


def test_each_studys_winner_is_trained_on_its_fresh_seeds(result: bench.Result) -> None:
    """By hand: the point with the best mean among those that were trained to the end in that study."""
    frame = result.trials()
    settings = ["learning_rate", "direction"]
    for label in frame.optimizer.unique():
        ours = frame[(frame.optimizer == label) & (frame.stage != "target")]
        for study in range(2):
            first = 1000 * study
            whole = ours[(ours.stage == "tuning") & ours.until.isna() & ours.seed.between(first, first + 1)]
            winner = whole.groupby(settings).value.mean().idxmin()
            finals = ours[(ours.stage == "final") & (ours.study == study)]
            assert set(map(tuple, finals[settings].itertuples(index=False))) == {winner}


def test_the_frame_says_what_is_stored(result: bench.Result) -> None:
    found = outcomes(result)
    for _, row in result.trials().iterrows():
        outcome = found[row.trial]
        trial = outcome.trial
        assert (row.stage, row.seed, row.status) == (trial.stage, trial.seed, outcome.status)
        assert row.value == outcome.final("x0")
        assert row.learning_rate == trial.hyperparameters["learning_rate"]
        assert row.direction == trial.identity["optimizer"]["static"]["direction"]
        assert row.gradient_evaluations == outcome.evaluations.gradients


def test_tables_have_the_medians_of_the_means_of_studies(result: bench.Result) -> None:
    frame, table = result.trials(), result.table()
    found = outcomes(result)
    for _, row in table.iterrows():
        judged, selected = [], []
        for study in range(2):
            finals = frame[(frame.optimizer == row.optimizer) & (frame.stage == "final") & (frame.study == study)]
            each = [found[name] for name in finals.trial]
            assert len(each) == 3
            judged.append(np.mean([outcome.final("x0") for outcome in each]))
            selected.append(np.mean([outcome.validation["x0"] for outcome in each]))
        # values are compared after rounding to six digits
        assert row.value == pytest.approx(np.median(judged), rel=1e-5)
        assert row.validation == pytest.approx(np.median(selected), rel=1e-5)
        assert row.diverged == 0 and row.studies == 2 and row.seeds == 6
    assert list(table["rank"]) == [1, 2] and table.value.is_monotonic_increasing


def test_points_come_back_in_the_order_in_which_they_were_drawn() -> None:
    points = [Point({"learning_rate": rate}, {}) for rate in (0.5, 0.02, 0.3, 0.001)]
    others = [Point({"learning_rate": 0.9}, {"direction": "up"})]
    with Store(None) as store:
        store.use_software(PROGRAM)
        store.add_points("one", 0, points[:3])
        store.add_points("another", 0, others)
        store.add_points("one", 3, points[3:])
        assert store.drawn() == {"one": points, "another": others}


def test_an_outcome_comes_back_with_each_number_in_its_place() -> None:
    """Every field another number, so that two that are swapped show."""
    trial = Trial("t", {"stage": "final", "seed": 3, "hyperparameters": {"learning_rate": 0.5}})
    steps = np.array([0, 20, 40], np.int64)
    curves = {"error": np.array([3.0, 2.0, 1.0], np.float32), "training_loss": np.array([9.0, 8.0, 7.0], np.float32)}
    counts = Evaluations(gradients=41, values=42, hessian_products=43)
    ended = Outcome(
        trial, "stopped", "why", "where", 11, 1.25, 2.5, steps, curves, {"error": 0.75}, counts, restored_at=20
    )
    with Store(None) as store:
        store.use_software(PROGRAM)
        store.add([ended], PROGRAM)
        found, program = store.records()["t"]
    assert program == PROGRAM
    for field in fields(Outcome):
        before, after = getattr(ended, field.name), getattr(found, field.name)
        if field.name == "steps":
            np.testing.assert_array_equal(after, steps)
        elif field.name == "curves":
            assert {name: curve.tolist() for name, curve in after.items()} == {
                "error": [3.0, 2.0, 1.0],
                "training_loss": [9.0, 8.0, 7.0],
            }
        else:
            assert after == before, field.name
