"""Full-batch gradient descent sharpens until it is barely stable, then stays there: the sharpness tells.

Cohen et al., "Gradient descent on neural networks typically occurs at the edge of stability", 2021,
https://arxiv.org/abs/2103.00065: below 2 / learning rate, the largest eigenvalue of the Hessian rises (progressive
sharpening); there, gradient descent on a quadratic would begin to diverge, and the eigenvalue stops.
"""

from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlkit import models
from dlkit.bench import data, optimizers, probes
from dlkit.bench.data import Dataset
from dlkit.bench.plan.metric import Metric
from dlkit.bench.problems import Problem
from dlkit.bench.training.program import Program, compile_problem, compile_program
from dlkit.bench.training.recipe import Recipe
from dlkit.bench.training.trajectory import train_trial

EXAMPLES = 100
STEPS = 4000
POINTS = 40
STABLE = 0.02  # a rate that is stable wherever its trajectory goes
RATES = (0.2, 0.3)


def memorization() -> Problem:
    """A tanh network 64-16-16-10 that fits permuted labels of `EXAMPLES` digits by least squares: it has to sharpen."""
    digits = data.digits().train
    inputs = np.asarray(digits["inputs"][:EXAMPLES], np.float32).reshape(EXAMPLES, -1)
    inputs = inputs - inputs.mean(axis=0)
    labels = np.random.default_rng(0).permutation(digits["targets"][:EXAMPLES])
    arrays = {
        "inputs": inputs / inputs.std(),
        "targets": np.eye(10, dtype=np.float32)[labels] - np.float32(0.1),
    }
    kernel_init = jax.nn.initializers.variance_scaling(0.5, "fan_in", "truncated_normal")
    model = models.mlp((16, 16, 10), activation="tanh", kernel_init=kernel_init)

    def mean_squared_error(params: Any, batch: Any) -> Any:
        outputs, _ = model.apply(params, {}, batch["inputs"])
        return 0.5 * jnp.sum((outputs - batch["targets"]) ** 2, axis=-1).mean()

    return Problem(
        name="memorization",
        init=lambda key: model.init(key, (64,)),
        loss=lambda params, state, batch, key: (mean_squared_error(params, batch), state),
        evaluate=lambda params, state, batch: {"error": mean_squared_error(params, batch)},
        dataset=Dataset("permuted digits", arrays, arrays, arrays),
        metrics={"error": Metric("lower")},
        steps=STEPS,
    )


@cache
def program() -> Program:
    recipe = Recipe(optimizer=optimizers.get("sgd"), steps=STEPS, evaluations=POINTS, probes=(probes.get("sharpness"),))
    return compile_program(compile_problem(memorization()), recipe)


def trained(learning_rate: float, seed: int) -> tuple[Any, Any]:
    """Returns the losses and the sharpness at the start and after every hundredth step."""
    settings: dict[str, Any] = {"stage": "final", "seed": seed}
    result = train_trial(program(), {"learning_rate": learning_rate}, **settings)
    # A rate of 0 shows the start: nothing moves.
    start = train_trial(program(), {"learning_rate": 0.0}, until=1, **settings).curves["sharpness"][1]
    return result.curves["error"], np.array([start, *result.curves["sharpness"][1:]])


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("learning_rate", RATES)
def test_the_sharpness_rises_to_the_edge_of_stability_and_stays_there(learning_rate: float, seed: int) -> None:
    losses, sharpnesses = trained(learning_rate, seed)
    edge = 2 / learning_rate
    assert sharpnesses[0] < 0.8 * edge
    settled = sharpnesses[-POINTS // 4 :]
    assert abs(settled.mean() / edge - 1) < 0.07
    assert abs(settled / edge - 1).max() < 0.15
    assert losses[-1] < 0.02 * losses[0]  # it trains all the same


@pytest.mark.long
def test_below_the_edge_nothing_stops_at_it() -> None:
    # So slow a rate ends far below its edge, while it passes the point where the larger rates stopped.
    _, sharpnesses = trained(STABLE, 0)
    assert sharpnesses.max() < 0.5 * 2 / STABLE
    assert sharpnesses[-1] > 1.2 * 2 / max(RATES)
    assert sharpnesses[-1] > 2 * sharpnesses[0]
