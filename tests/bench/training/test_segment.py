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
from dlkit.bench.training.evaluation import HeldOut
from dlkit.bench.training.recipe import Recipe
from dlkit.bench.training.segment import Setup
from dlkit.typing import Scalar

RATE = 0.5
NOTHING = HeldOut(({},), jnp.bool_(False))
WORDS = jnp.array([1, 2, 3], jnp.uint32)
SGD = Optimizer("sgd", optax.sgd, {"learning_rate": RATE})


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
    return Setup(problem, recipe, segment.stopping_of(problem, recipe), **variant)


def indices(*shape: int) -> Any:
    return jnp.zeros((*shape, 0), jnp.int32)


def run(setup: Setup, evaluations: int, steps: int, **hyperparameters: float) -> tuple[Any, Any]:
    start = segment.start(setup.problem, WORDS)
    values = {"learning_rate": jnp.float32(RATE)} | {k: jnp.float32(v) for k, v in hyperparameters.items()}
    carry = segment.begin(setup, start, values)
    return segment.segment(setup, carry, indices(evaluations, steps), values, start, {}, NOTHING)


def test_a_segment_trains_between_its_evaluations() -> None:
    carry, reached = run(setup_of(Recipe(optimizer=SGD, steps=4, evaluations=2)), 2, 2)
    # x_t = (1 - rate)^t = 2^-t; the training loss of an interval is the mean of x_t^2 / 2 over its steps
    losses = [(1 / 2 + 1 / 8) / 2, (1 / 32 + 1 / 128) / 2]
    np.testing.assert_allclose(reached.point, [[1 / 4, losses[0]], [1 / 16, losses[1]]])
    assert reached.evaluations.tolist() == [[2, 0, 0], [4, 0, 0]]
    assert not reached.bad.any() and not reached.void.any()
    assert (float(carry.params["x"]), int(carry.step), int(carry.diverged_at)) == (1 / 16, 4, -1)


def test_the_first_steps_of_an_interval_may_be_made_before() -> None:
    setup = setup_of(Recipe(optimizer=SGD, steps=3, evaluations=1))
    start = segment.start(setup.problem, WORDS)
    values = {"learning_rate": jnp.float32(RATE)}
    carry, losses = segment.advance(setup, segment.begin(setup, start, values), indices(2), values, start, {})
    np.testing.assert_allclose(losses, [1 / 2, 1 / 8])
    carry, reached = segment.complete(setup, carry, losses, indices(1, 1), values, start, {}, NOTHING)
    np.testing.assert_allclose(reached.point, [[1 / 8, (1 / 2 + 1 / 8 + 1 / 32) / 3]])
    assert int(carry.step) == 3


def test_the_step_of_a_bad_loss_counts_from_the_beginning_of_the_trial() -> None:
    setup = setup_of(Recipe(optimizer=SGD, steps=6, evaluations=2), bowl(diverged_above=1.0))
    # rate 4: x_t = (-3)^t, and the loss 9^t / 2 is above 1 from step 1 on
    carry, reached = run(setup, 2, 3, learning_rate=4.0)
    assert int(carry.diverged_at) == 1 and reached.bad.tolist() == [True, True]
    start = segment.start(setup.problem, WORDS)
    values = {"learning_rate": jnp.float32(4.0)}
    carry, losses = segment.advance(setup, segment.begin(setup, start, values), indices(2), values, start, {})
    carry, _ = segment.complete(setup, carry, losses, indices(1, 1), values, start, {}, NOTHING)
    assert int(carry.diverged_at) == 1


def test_after_early_stopping_nothing_moves_and_the_best_is_returned() -> None:
    recipe = Recipe(optimizer=SGD, steps=4, evaluations=4, stopping=EarlyStopping(patience=1))
    setup = setup_of(recipe)
    # rate 3: x_t = (-2)^t grows, so that the first evaluation, |x_1| = 2, is the best; the second is one too many
    carry, reached = run(setup, 4, 1, learning_rate=3.0)
    assert reached.void.tolist() == [False, False, True, True]
    np.testing.assert_allclose(reached.point[:2, 0], [2, 4])
    assert float(carry.params["x"]) == 4 and int(carry.step) == 2
    params, _ = segment.finish(setup, carry, {})
    assert float(params["x"]) == -2


def test_what_is_evaluated_is_what_the_optimizer_says() -> None:
    halved = replace(SGD, eval_params=lambda state, params: {"x": params["x"] / 2})
    setup = setup_of(Recipe(optimizer=halved, steps=1, evaluations=1))
    carry, reached = run(setup, 1, 1)
    assert float(carry.params["x"]) == 1 / 2
    assert float(reached.point[0, 0]) == float(segment.finish(setup, carry, {})[0]["x"]) == 1 / 4


@pytest.mark.parametrize("curvature", [0.5, 1.5])
def test_a_traced_choice_changes_the_loss(curvature: float) -> None:
    recipe = Recipe(optimizer=SGD, steps=2, evaluations=1, choices=("curvature",))
    carry, _ = run(setup_of(recipe, variant=bowl), 1, 2, curvature=curvature)
    # x_{t+1} = (1 - rate c) x_t
    np.testing.assert_allclose(carry.params["x"], (1 - RATE * curvature) ** 2)
