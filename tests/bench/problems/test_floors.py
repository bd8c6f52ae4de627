"""Numerical floors of the catalogue: what the last bits of the parameters change lies below them, and not far below."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlkit.bench.problems.bilinear import bilinear_game
from dlkit.bench.problems.convex import lasso, linear_regression, ridge_regression, softmax_regression
from dlkit.bench.problems.quadratics import quadratic
from dlkit.bench.problems.surfaces import beale, rosenbrock, saddle

MOST_MARGIN = 100.0  # a floor much higher than rounding would hide what was computed


def neighbours(x, count=300):
    """Parameters whose last bits differ from these."""
    rng = np.random.default_rng(0)
    towards = np.where(rng.random((count, *x.shape)) < 0.5, -np.inf, np.inf).astype(np.float32)
    return jnp.asarray(np.nextafter(np.asarray(x, np.float32), towards))


def loss(problem, x):
    return problem.loss({"x": x}, None, {}, jax.random.key(0))[0]


def minimum_of_quadratic(problem):
    """With H = I one step of gradient descent at the rate 1 is there; a second one takes the rounding away."""
    x = problem.init(jax.random.key(0))[0]["x"]
    for _ in range(3):
        x = x - jax.grad(lambda x: loss(problem, x))(x)
    return x


@pytest.mark.parametrize(
    ("problem", "minimum"),
    [
        (rosenbrock(), np.array([1, 1])),
        (beale(), np.array([3, 0.5])),
        (saddle(), np.array([0] * 8 + [1, -1])),
        (quadratic(condition=1.0), None),
    ],
)
def test_suboptimality(problem, minimum):
    at = minimum_of_quadratic(problem) if minimum is None else minimum
    values = jax.vmap(lambda x: loss(problem, x))(neighbours(at))
    floor = problem.judged.floor
    assert floor / MOST_MARGIN < values.max() < floor
    # What `evaluate` returns is clipped to the same number.
    assert problem.evaluate({"x": jnp.asarray(at, jnp.float32)}, None, {})["suboptimality"] == np.float32(floor)


def test_distance_to_the_minimum_of_the_quadratic():
    problem = quadratic(condition=1.0)
    floor = problem.metrics["distance"].floor
    near = neighbours(minimum_of_quadratic(problem))
    distances = jax.vmap(lambda x: problem.evaluate({"x": x}, None, {})["distance"])(near)
    assert floor / MOST_MARGIN < distances.max() < floor


def test_distance_to_the_equilibrium():
    problem = bilinear_game(curvature=1.0)

    def move(_, params):
        gradient = jax.grad(lambda players: problem.loss(players, None, {}, None)[0])(params)
        return {"x": params["x"] - 0.3 * gradient["x"], "y": params["y"] + 0.3 * gradient["y"]}

    params = jax.jit(lambda start: jax.lax.fori_loop(0, 2000, move, start))(problem.init(jax.random.key(0))[0])
    assert problem.evaluate(params, None, {})["distance"] == np.float32(problem.judged.floor)


@pytest.mark.parametrize("make", [linear_regression, ridge_regression, lasso, softmax_regression])
def test_an_objective_less_its_minimum(make):
    """The rounding of a sum of examples, in another order of them: the minimum is known in float64."""
    problem = make()
    params, state = problem.init(jax.random.key(0))
    train = {name: np.asarray(values) for name, values in problem.dataset.train.items()}
    value = jax.jit(lambda rows: problem.loss(params, state, rows, None)[0])
    rng = np.random.default_rng(0)
    orders = [rng.permutation(len(train["targets"])) for _ in range(50)]
    values = np.array([value({name: each[order] for name, each in train.items()}) for order in orders], np.float64)
    relative = (values.max() - values.min()) / values.mean()
    # At the minimum the objective is at most 0.61 in these problems.
    assert 0.61 * relative < problem.judged.floor < 0.61 * 1.2e-7 * MOST_MARGIN
