"""Quadratics: the optimum is known, so the metric is the exact distance to it in loss."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from dlkit.bench.data.base import Dataset
from dlkit.bench.problems.base import Batch, Metric, Problem
from dlkit.typing import Array, Key, Params, State

__all__ = ["quadratic"]

FLOOR = 1e-12  # below this a float32 suboptimality is rounding; counted as this


def quadratic(*, condition: float = 1000.0, dimension: int = 32, seed: int = 0) -> Problem:
    r"""Makes the ill-conditioned quadratic f(x) = 1/2 (x - x*)' H (x - x*).

    H has `dimension` log-spaced eigenvalues from 1/condition to 1 along random directions, so that scaling coordinates
    does not solve it; x* is random, so that shrinking parameters does not either. Initial points are standard normal
    about x*, one per seed. Metrics: ``suboptimality`` f(x) - f(x*) = f(x), counted as at least 1e-12, and
    ``distance`` ||x - x*||.

    Args:
        condition: kappa = L/mu, with L = 1.
        dimension: how many coordinates.
        seed: of the directions and of x*.

    Returns:
        The deterministic problem: no data, every gradient exact.

    Reference:
        Nesterov, Introductory lectures on convex optimization, 2004, section 2.1.
    """
    rng = np.random.default_rng(seed)
    directions, _ = np.linalg.qr(rng.normal(size=(dimension, dimension)))
    eigenvalues = np.geomspace(1 / condition, 1, dimension)
    # f(x) = 1/2 ||R (x - x*)||^2 with R = Lambda^(1/2) Q': a sum of squares keeps its relative precision near 0.
    root = (np.sqrt(eigenvalues)[:, None] * directions.T).astype(np.float32)
    optimum = rng.normal(size=dimension).astype(np.float32)

    def init(key: Key) -> tuple[Params, State]:
        return {"x": optimum + jax.random.normal(key, (dimension,))}, None

    def suboptimality(params: Params) -> Array:
        return 0.5 * jnp.sum((root @ (params["x"] - optimum)) ** 2)

    def loss(params: Params, state: State, batch: Batch, key: Key) -> tuple[Array, State]:
        return suboptimality(params), state

    def evaluate(params: Params, state: State, batch: Batch) -> Mapping[str, Array]:
        value = suboptimality(params)
        # max(NaN, floor) is NaN: divergence stays visible
        floored = jnp.maximum(value, FLOOR)
        return {"suboptimality": floored, "distance": jnp.linalg.norm(params["x"] - optimum)}

    return Problem(
        name="quadratic",
        init=init,
        loss=loss,
        evaluate=evaluate,
        dataset=Dataset("none", {}, {}, {}),
        metrics={"suboptimality": Metric("lower", "log"), "distance": Metric("lower", "log")},
        steps=400,
        target=1e-3,
        description=f"1/2 (x - x*)' H (x - x*), {dimension} dimensions, condition {condition:g}, exact gradients",
    )
