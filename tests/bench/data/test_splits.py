"""Who sees which split: test data belong to the report, and no choice is made by them."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from dlkit import bench
from dlkit.bench import optimizers, problems
from dlkit.bench.data import Dataset
from dlkit.bench.training.lanes import ALONE, Lanes
from dlkit.bench.training.program import Program, compile_problem, compile_program
from dlkit.bench.training.recipe import Recipe
from dlkit.bench.training.trajectory import Request, train_trials

INLINE = bench.Resources(executor="inline")

VALUES = {"learning_rate": 0.1}


def counting(lanes: Lanes = ALONE) -> tuple[Program, list[Any]]:
    """A program that notes which arrays are evaluated apart from its segments."""
    recipe = Recipe(optimizer=optimizers.get("sgd"), steps=4, evaluations=2)
    shared = compile_problem(problems.get("diabetes-linear"), lanes)
    seen: list[Any] = []

    def evaluate(params: Any, state: Any, arrays: Any) -> Any:
        seen.append(arrays)
        return shared.evaluate(params, state, arrays)

    return compile_program(replace(shared, evaluate=evaluate), recipe), seen


@pytest.mark.long
def test_test_data_are_evaluated_once_a_final_trial_and_by_no_other() -> None:
    program, seen = counting()
    for stage in ("tuning", "target"):
        assert train_trials(program, [Request(VALUES, stage, 0)])[0].test == {}  # type: ignore[arg-type]
    assert train_trials(program, [Request(VALUES, "final", 0)], until=1)[0].test == {}
    assert not seen
    (final,) = train_trials(program, [Request(VALUES, "final", 0)])
    assert len(seen) == 1 and seen[0] is program.shared.arrays["test"]
    assert set(final.test) == {"mean_squared_error", "mean_absolute_error"}


@pytest.mark.long
def test_a_tuning_trial_beside_a_final_one_gets_no_test_metrics() -> None:
    program, _ = counting(Lanes(2))
    tuning, final = train_trials(program, [Request(VALUES, "tuning", 0), Request(VALUES, "final", 0)])
    assert tuning.test == {} and np.isfinite(final.test["mean_squared_error"])


@pytest.mark.long
def test_other_test_data_change_no_choice() -> None:
    # the same name, the same training and validation data: points, seeds, orders are the same
    own = problems.get("diabetes-linear")
    data = own.dataset
    spoiled = {"inputs": data.test["inputs"], "targets": data.test["targets"] + 1e6}
    other = replace(own, dataset=Dataset(data.name, data.train, data.validation, spoiled))
    results = [
        bench.compare(
            problems=[problem],
            optimizers=["sgd", "adam"],
            budget=bench.Budget(steps=8, evaluations=2, studies=1, tuning_points=2, tuning_seeds=1, seeds=2),
            resources=INLINE,
            progress=False,
        )
        for problem in (own, other)
    ]
    records = [
        {
            (record.outcome.trial.stage, record.outcome.trial.seed, str(record.outcome.trial.hyperparameters)): record
            for record in result.summary.records.values()
        }
        for result in results
    ]
    assert records[0].keys() == records[1].keys() and len(records[0]) == 8
    for key, record in records[0].items():
        ours, theirs = record.outcome, records[1][key].outcome
        assert {name: curve.tobytes() for name, curve in ours.curves.items()} == {
            name: curve.tobytes() for name, curve in theirs.curves.items()
        }
        assert bool(ours.test) == (key[0] == "final")
        assert ours.test == theirs.test == {} or ours.test != theirs.test


@pytest.mark.parametrize("stage", ["tuning", "final"])
def test_every_trial_replays_with_the_test_metrics_it_had(stage: str) -> None:
    result = bench.compare(
        problems=["diabetes-linear"],
        optimizers=["sgd"],
        budget=bench.Budget(steps=4, evaluations=2, studies=1, tuning_points=1, tuning_seeds=1, seeds=2),
        resources=INLINE,
        progress=False,
    )
    name = next(name for name, record in result.summary.records.items() if record.outcome.trial.stage == stage)
    assert result.replay(name).exact
