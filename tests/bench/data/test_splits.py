"""Who sees which split: test data judge, and no choice is made by them."""

from dataclasses import replace
from typing import Any

import pytest

from dlkit import bench
from dlkit.bench import optimizers, problems
from dlkit.bench.data import Dataset
from dlkit.bench.training.curve import Request
from dlkit.bench.training.lanes import Lanes
from dlkit.bench.training.program import compile_problem, compile_program
from dlkit.bench.training.recipe import Recipe
from dlkit.bench.training.trajectory import train_trials

INLINE = bench.Resources(executor="inline")

VALUES = {"learning_rate": 0.1}


@pytest.mark.long
@pytest.mark.parametrize("pair", [("tuning", "final"), ("tuning", "target")])
def test_a_tuning_trial_does_not_run_beside_one_that_is_judged(pair: tuple[Any, Any]) -> None:
    recipe = Recipe(optimizer=optimizers.get("sgd"), steps=4, evaluations=2)
    program = compile_program(compile_problem(problems.get("diabetes-linear"), Lanes(2)), recipe)
    with pytest.raises(ValueError, match="need the same examples"):
        train_trials(program, [Request(VALUES, stage, 0) for stage in pair])
    with pytest.raises(ValueError, match="need the same examples"):
        train_trials(program, [Request(VALUES, "final", seed) for seed in (0, 1000)])


@pytest.mark.long
def test_other_test_data_change_no_choice() -> None:
    # the same name, the same training and validation data: points, seeds, orders are the same
    own = problems.get("diabetes-linear")
    data = own.dataset
    results = [
        bench.compare(
            problems=[replace(own, dataset=Dataset(data.name, data.train, data.validation, test))],
            optimizers=["sgd", "adam"],
            budget=bench.Budget(steps=8, evaluations=2, studies=1, tuning_points=2, tuning_seeds=1, seeds=2),
            early_stopping=bench.EarlyStopping(patience=2),
            resources=INLINE,
            progress=False,
        )
        for test in (data.test, {**data.test, "targets": data.test["targets"] + 1e6})
    ]
    records = [
        {
            (record.outcome.trial.stage, record.outcome.trial.seed, str(record.outcome.trial.hyperparameters)): record
            for record in result.summary.records.values()
        }
        for result in results
    ]
    assert records[0].keys() == records[1].keys() and len(records[0]) == 8, "the same points win"
    for key, record in records[0].items():
        ours, theirs = record.outcome, records[1][key].outcome
        assert (ours.restored_at, dict(ours.validation)) == (theirs.restored_at, dict(theirs.validation))
        same = [curve.tobytes() == theirs.curves[name].tobytes() for name, curve in ours.curves.items()]
        judged = [name not in ("training_loss",) and key[0] == "final" for name in ours.curves]
        assert same == [not each for each in judged], key


@pytest.mark.parametrize("stage", ["tuning", "final"])
def test_every_trial_replays_to_the_bit(stage: str) -> None:
    result = bench.compare(
        problems=["diabetes-linear"],
        optimizers=["sgd"],
        budget=bench.Budget(steps=4, evaluations=2, studies=1, tuning_points=1, tuning_seeds=1, seeds=2),
        resources=INLINE,
        progress=False,
    )
    name = next(name for name, record in result.summary.records.items() if record.outcome.trial.stage == stage)
    assert result.replay(name).exact
