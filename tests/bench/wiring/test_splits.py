"""Which numbers are computed on which examples, at which moment: a problem of ten examples that tells on itself."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dlkit import bench
from dlkit.bench.data import Dataset, split
from dlkit.bench.data.base import SPLITS
from dlkit.bench.optimizers.base import Optimizer
from dlkit.bench.plan.policies import EarlyStopping
from dlkit.bench.plan.trials import STUDY_SEEDS, Stage
from dlkit.bench.training.curve import Trajectory
from dlkit.bench.training.program import compile_problem, compile_program
from dlkit.bench.training.recipe import Recipe
from dlkit.bench.training.trajectory import train_trial

STEPS = 4  # with an evaluation after every second one
NUMBERS = {"train": [0.0, 1.0, 2.0, 3.0], "validation": [10.0, 11.0, 12.0], "test": [20.0, 21.0, 22.0]}
WALK = Optimizer("walk", optax.sgd, {"learning_rate": 1.0})

seen: list[tuple[str, tuple[float, ...], float]] = []
"""(what looked, at which examples, with which x), in the order in which it happened."""


def look(what: str, batch: Any, x: Any) -> None:
    jax.debug.callback(
        lambda number, x: seen.append((what, tuple(np.ravel(number).tolist()), float(x))),
        batch["number"],
        x,
        ordered=True,
    )


def told(dataset: Dataset | None = None, *, scores: Any = None) -> bench.Problem:
    """x goes up by 1 at every step; its metric is the mean of the split's numbers times x, or what `scores` makes."""

    def loss(params: Any, state: Any, batch: Any, key: Any) -> Any:
        look("loss", batch, params["x"])
        return -params["x"], state

    def evaluate(params: Any, state: Any, batch: Any) -> Any:
        look("evaluate", batch, params["x"])
        value = batch["number"].mean() * params["x"] if scores is None else scores(batch["number"], params["x"])
        return {"score": value}

    given = Dataset("ten", *({"number": np.array(NUMBERS[part], np.float32)} for part in SPLITS))
    return bench.Problem(
        name="ten",
        init=lambda key: ({"x": jnp.float32(0.0)}, None),
        loss=loss,
        evaluate=evaluate,
        dataset=dataset or given,
        metrics={"score": bench.Metric("lower")},
        batch_size=2,
        steps=STEPS,
    )


def trained(problem: bench.Problem, stage: Stage, *, seed: int = 0, **recipe: Any) -> tuple[Trajectory, list[Any]]:
    """A trial, and the evaluations that it made."""
    program = compile_program(compile_problem(problem), Recipe(optimizer=WALK, steps=STEPS, evaluations=2, **recipe))
    seen.clear()
    result = train_trial(program, {"learning_rate": 1.0}, stage=stage, seed=seed)
    jax.effects_barrier()
    assert {number for what, numbers, _ in seen for number in numbers if what == "loss"} == {0.0, 1.0, 2.0, 3.0}
    return result, [(numbers, x) for what, numbers, x in seen if what == "evaluate"]


TRAIN, VALIDATION, TEST = (tuple(NUMBERS[part]) for part in SPLITS)
MOMENTS = [0.0, 2.0, 4.0]


def test_tuning_sees_validation_alone() -> None:
    result, evaluations = trained(told(), "tuning")
    assert evaluations == [(VALIDATION, x) for x in MOMENTS]
    assert result.curves["score"].tolist() == [11 * x for x in MOMENTS] and result.validation == {}


def test_a_final_trial_is_judged_on_test_and_looks_at_validation_once_at_its_end() -> None:
    result, evaluations = trained(told(), "final")
    assert evaluations == [*((TEST, x) for x in MOMENTS), (VALIDATION, 4.0)]
    assert result.curves["score"].tolist() == [21 * x for x in MOMENTS]
    assert result.validation == {"score": 11 * 4.0}


def test_a_trial_that_sets_a_target_is_judged_on_test() -> None:
    result, evaluations = trained(told(), "target")
    assert evaluations == [(TEST, x) for x in MOMENTS] and result.validation == {}
    assert result.curves["score"].tolist() == [21 * x for x in MOMENTS]


def test_early_stopping_of_a_final_trial_watches_validation_and_is_judged_on_test() -> None:
    """On validation x = 2 is best, on test x = 4: what is restored, and judged, is x = 2."""

    def scores(number: Any, x: Any) -> Any:
        return jnp.where(number.mean() < 15, jnp.abs(x - 2), jnp.abs(x - 4))

    policy = EarlyStopping(patience=9)
    result, evaluations = trained(told(scores=scores), "final", stopping=policy)
    assert evaluations == [
        (TEST, 0.0),
        (TEST, 2.0),
        (VALIDATION, 2.0),
        (TEST, 4.0),
        (VALIDATION, 4.0),
        (VALIDATION, 2.0),
    ]
    assert result.curves["score"].tolist() == [4.0, 2.0, 0.0] and result.restored_at == 2
    assert float(result.params["x"]) == 2.0 and result.validation == {"score": 0.0}


def test_early_stopping_of_a_tuning_trial_evaluates_validation_once_a_moment() -> None:
    _, evaluations = trained(told(), "tuning", stopping=EarlyStopping(patience=9))
    assert evaluations == [(VALIDATION, x) for x in MOMENTS]


def test_where_nothing_is_held_out_there_is_one_split() -> None:
    arrays = {"number": np.array(NUMBERS["train"], np.float32)}
    for stage in ("tuning", "final"):
        result, evaluations = trained(told(Dataset("ten", arrays, arrays, arrays)), stage)  # type: ignore[arg-type]
        assert evaluations[:3] == [(TRAIN, x) for x in MOMENTS]
        assert result.curves["score"].tolist() == [1.5 * x for x in MOMENTS]


def numbers_of(dataset: Dataset) -> tuple[float, ...]:
    return tuple(dataset.test["number"].tolist())


def test_a_trial_has_its_studys_split() -> None:
    redrawn = split("ten", {"number": np.arange(4.0, dtype=np.float32).repeat(3)[:10]})
    everything = split("ten", {"number": np.arange(10.0, dtype=np.float32)})
    problem = told(everything)
    program = compile_program(compile_problem(problem), Recipe(optimizer=WALK, steps=STEPS, evaluations=2))
    for study in (0, 1, 2, 1):
        seen.clear()
        train_trial(program, {"learning_rate": 1.0}, stage="final", seed=study * STUDY_SEEDS + 3)
        jax.effects_barrier()
        drawn = everything.of_study(study)
        assert {numbers for what, numbers, x in seen if what == "evaluate" and x < 4} == {numbers_of(drawn)}
        trained_on = {number for what, numbers, _ in seen for number in numbers if what == "loss"}
        assert trained_on == set(drawn.train["number"].tolist()), study
    assert numbers_of(everything.of_study(1)) != numbers_of(everything)
    assert redrawn.redraw is not None
    assert program.segment._cache_size() == 1, "other examples, the same executable"


@pytest.mark.parametrize("studies", [1, 3])
def test_a_comparison_judges_each_study_on_its_own_test_examples(studies: int) -> None:
    """The metric is the mean of the test examples' numbers, whatever is trained."""
    everything = split("ten", {"number": np.arange(10.0, dtype=np.float32) ** 2})
    problem = told(everything, scores=lambda number, x: number.mean() + 0 * x)
    result = bench.compare(
        problems=[problem],
        optimizers=[WALK],
        budget=bench.Budget(studies=studies, tuning_points=1, tuning_seeds=1, seeds=1, evaluations=2),
        targets=bench.TargetRule(reruns=2 * studies, shares=(1.0,)),
        resources=bench.Resources(executor="inline"),
        progress=False,
    )
    trials = result.trials()
    for stage, part in (("tuning", "validation"), ("final", "test")):
        found = trials[trials.stage == stage].sort_values("study").value.tolist()
        expected = [float(getattr(everything.of_study(study), part)["number"].mean()) for study in range(studies)]
        assert found == pytest.approx(expected)
