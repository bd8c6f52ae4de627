"""Classic test functions of few coordinates: Rosenbrock's valley, Beale's plain with steep walls, a saddle."""

import itertools
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np

from dlkit.bench.plan.metric import Metric
from dlkit.bench.problems.base import Batch, Problem
from dlkit.bench.problems.sections import no_data
from dlkit.checks import require_number, require_size
from dlkit.typing import Array, Key, Params, State

__all__ = ["beale", "rosenbrock", "saddle"]

# Suboptimalities that are rounding in float32, counted as this much: those at parameters whose last bits differ from
# the minimum's. In Rosenbrock's steep valley that is up to 9e-12.
FLOOR, VALLEY_FLOOR = 1e-12, 1e-11


def rosenbrock(*, dimension: int = 2) -> Problem:
    """Makes the Rosenbrock function f(x) = sum_i 100 (x_{i+1} - x_i^2)^2 + (1 - x_i)^2.

    A narrow curved valley leads to the minimum 0 at (1, ..., 1). Starts are normal, deviation 0.1, about the customary
    (-1.2, 1, -1.2, 1, ...). Metric: ``suboptimality`` f(x), counted as at least 1e-11.

    Margin: 5 times below f at the customary start.

    Args:
        dimension: how many coordinates, at least 2.

    Returns:
        The deterministic problem, without data.

    Raises:
        ValueError: the dimension is no integer of at least 2.

    Reference:
        Rosenbrock, "An automatic method for finding the greatest or least value of a function", 1960.
    """
    require_number("rosenbrock", "dimension", dimension, at_least=2)
    start = np.where(np.arange(dimension) % 2 == 0, -1.2, 1.0).astype(np.float32)

    def value(x: Array) -> Array:
        # sum_i 100 (x_{i+1} - x_i^2)^2 + (1 - x_i)^2
        return jnp.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)

    return _surface(
        "rosenbrock",
        value,
        lambda key: jnp.asarray(start) + 0.1 * jax.random.normal(key, (dimension,)),
        trivial=_rosenbrock(start.tolist()),
        target=5e-3,
        steps=1000,
        margin=5.0,
        floor=VALLEY_FLOOR,
        description=f"Rosenbrock's function of {dimension} coordinates",
        stresses="a narrow curved valley",
    )


def _rosenbrock(x: list[float]) -> float:
    return sum(100 * (after - before**2) ** 2 + (1 - before) ** 2 for before, after in itertools.pairwise(x))


def beale() -> Problem:
    """Makes Beale's function f(x, y) = (1.5 - x + xy)^2 + (2.25 - x + xy^2)^2 + (2.625 - x + xy^3)^2.

    A plain with steep walls; the minimum 0 is at (3, 0.5). Starts are normal, deviation 0.1, about (1, 1), where f is
    14.203125. Metric: ``suboptimality`` f(x), counted as at least 1e-12.

    Margin: 100 times below f at (1, 1).

    Returns:
        The deterministic problem, without data.

    Reference:
        Beale, "On an iterative method for finding a local minimum of a function of more than one variable", 1958.
    """

    def value(x: Array) -> Array:
        powers = jnp.array([1.0, 2.0, 3.0])
        # sum_k (c_k - x + x y^k)^2
        return jnp.sum((jnp.array([1.5, 2.25, 2.625]) - x[0] + x[0] * x[1] ** powers) ** 2)

    return _surface(
        "beale",
        value,
        lambda key: 1.0 + 0.1 * jax.random.normal(key, (2,)),
        trivial=14.203125,
        target=1e-5,
        steps=400,
        margin=100.0,
        description="Beale's function of two coordinates",
        stresses="a plain with steep walls",
    )


def saddle(*, stable: int = 8, unstable: int = 2) -> Problem:
    """Makes a saddle at the origin with minima beside it: f(x, y) = 1/2 ||x||^2 + 1/4 sum_j (y_j^2 - 1)^2.

    Along x it is a bowl, along each y_j it falls to the minima at +-1, of value 0. Starts are standard normal in x and
    1e-3 as large in y: gradients nearly vanish there, at f = unstable / 4, before they grow. Metric:
    ``suboptimality`` f(x, y), counted as at least 1e-12.

    Margin: 100 times below f at the saddle.

    Args:
        stable: coordinates x.
        unstable: coordinates y.

    Returns:
        The deterministic problem, without data.

    Raises:
        ValueError: one of them is no positive integer.

    Reference:
        Dauphin et al., "Identifying and attacking the saddle point problem", 2014, https://arxiv.org/abs/1406.2572.
    """
    require_size("saddle", stable=stable, unstable=unstable)
    scale = np.where(np.arange(stable + unstable) < stable, 1.0, 1e-3).astype(np.float32)

    def value(x: Array) -> Array:
        return 0.5 * jnp.sum(x[:stable] ** 2) + 0.25 * jnp.sum((x[stable:] ** 2 - 1.0) ** 2)

    return _surface(
        "saddle",
        value,
        lambda key: jnp.asarray(scale) * jax.random.normal(key, scale.shape),
        trivial=unstable / 4,
        target=1e-4,
        steps=200,
        margin=100.0,
        description=f"a saddle with {stable} stable and {unstable} unstable directions",
        stresses="vanishing gradients at a saddle",
    )


def _surface(
    name: str,
    value: Callable[[Array], Array],
    start: Callable[[Key], Array],
    *,
    trivial: float,
    target: float,
    steps: int,
    margin: float,
    description: str,
    stresses: str,
    floor: float = FLOOR,
) -> Problem:
    """The problem to minimise a function of one vector whose minimum is 0."""

    def init(key: Key) -> tuple[Params, State]:
        return {"x": start(key)}, None

    def loss(params: Params, state: State, batch: Batch, key: Key) -> tuple[Array, State]:
        return value(params["x"]), state

    def evaluate(params: Params, state: State, batch: Batch) -> Mapping[str, Array]:
        return {"suboptimality": jnp.maximum(value(params["x"]), floor)}

    return Problem(
        name=name,
        init=init,
        loss=loss,
        evaluate=evaluate,
        dataset=no_data(),
        metrics={"suboptimality": Metric("lower", "log", floor=floor)},
        steps=steps,
        target=target,
        description=description,
        stresses=stresses,
        trivial=trivial,
        margin=margin,
    )
