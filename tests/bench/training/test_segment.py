"""The functions of a segment, called without a program: gradient descent on c x^2 / 2, whose iterates are known."""

from dataclasses import replace
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dlkit import bench
from dlkit.bench.data.base import Dataset
from dlkit.bench.optimizers.base import Optimizer
from dlkit.bench.plan.policies import EarlyStopping
from dlkit.bench.training import segment
from dlkit.bench.training.recipe import Recipe
from dlkit.bench.training.segment import Setup
from dlkit.typing import Scalar

RATE = 0.5
WORDS = jnp.array([1, 2, 3], jnp.uint32)
SGD = Optimizer("sgd", optax.sgd, {"learning_rate": RATE})
HALVED = replace(SGD, eval_params=lambda state, params: {"x": params["x"] / 2})


def bowl(curvature: Scalar = 1.0, **facts: Any) -> bench.Problem:
    """c x^2 / 2 from x = 1; its metric is |x|, whatever c."""
    return bench.Problem(
        name="bowl",
        init=lambda key: ({"x": jnp.float32(1.0)}, None),
        loss=lambda params, state, batch, key: (curvature * params["x"] ** 2 / 2, state),
        evaluate=lambda params, state, batch: {"size": jnp.abs(params["x"])},
        dataset=Dataset("none", {}, {}, {}),
        metrics={"size": bench.Metric("lower")},
        **facts,
    )


def setup_of(recipe: Recipe, problem: bench.Problem | None = None, **variant: Any) -> Setup:
    problem = problem or bowl()
    return Setup(problem, recipe, **variant)


def indices(*shape: int) -> Any:
    return jnp.zeros((*shape, 0), jnp.int32)


def run(setup: Setup, evaluations: int, steps: int, **hyperparameters: float) -> tuple[Any, Any]:
    start = segment.start(setup.problem, WORDS)
    values = {"learning_rate": jnp.float32(RATE)} | {k: jnp.float32(v) for k, v in hyperparameters.items()}
    carry = segment.begin(setup, start, values)
    return segment.segment(setup, carry, indices(evaluations, steps), values, start, {})


def test_a_segment_trains_between_its_evaluations() -> None:
    carry, reached = run(setup_of(Recipe(optimizer=SGD, steps=4, evaluations=2)), 2, 2)
    # x_t = (1 - rate)^t = 2^-t, and the loss is x_t^2 / 2
    np.testing.assert_allclose(reached.losses, [[1 / 2, 1 / 8], [1 / 32, 1 / 128]])
    np.testing.assert_allclose(reached.evaluated[0]["x"], [1 / 4, 1 / 16])
    assert reached.evaluations.tolist() == [[2, 0, 0], [4, 0, 0]] and reached.looked is None
    assert (float(carry.params["x"]), int(carry.step)) == (1 / 16, 4)


def test_the_first_steps_of_an_interval_may_be_made_before() -> None:
    setup = setup_of(Recipe(optimizer=SGD, steps=3, evaluations=1))
    start = segment.start(setup.problem, WORDS)
    values = {"learning_rate": jnp.float32(RATE)}
    carry, losses = segment.advance(setup, segment.begin(setup, start, values), indices(2), values, start, {})
    np.testing.assert_allclose(losses, [1 / 2, 1 / 8])
    carry, reached = segment.segment(setup, carry, indices(1, 1), values, start, {})
    np.testing.assert_allclose(reached.losses, [[1 / 32]])
    assert (float(carry.params["x"]), int(carry.step), reached.evaluations.tolist()) == (1 / 8, 3, [[3, 0, 0]])


def test_parameters_are_handed_over_once() -> None:
    """Of a single evaluation they are those of the carry: no copy of a large model."""
    recipe = Recipe(optimizer=SGD, steps=2, evaluations=2)
    assert run(setup_of(recipe), 1, 1)[1].evaluated is None
    for own in (replace(recipe, stopping=EarlyStopping(patience=1)), replace(recipe, optimizer=HALVED)):
        _, reached = run(setup_of(own), 1, 1)
        assert reached.evaluated[0]["x"].shape == (1,)


def test_what_is_evaluated_is_what_the_optimizer_says() -> None:
    setup = setup_of(Recipe(optimizer=HALVED, steps=2, evaluations=2))
    carry, reached = run(setup, 2, 1)
    assert float(carry.params["x"]) == 1 / 4
    assert reached.evaluated[0]["x"].tolist() == [1 / 4, 1 / 8]
    assert float(segment.finish(setup, carry, {})[0]["x"]) == 1 / 8


@pytest.mark.parametrize("curvature", [0.5, 1.5])
def test_a_traced_choice_changes_the_loss(curvature: float) -> None:
    recipe = Recipe(optimizer=SGD, steps=2, evaluations=1, choices=("curvature",))
    carry, _ = run(setup_of(recipe, variant=bowl), 1, 2, curvature=curvature)
    # x_{t+1} = (1 - rate c) x_t
    np.testing.assert_allclose(carry.params["x"], (1 - RATE * curvature) ** 2)
