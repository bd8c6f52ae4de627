"""Quadratics, with and without gradient noise: the optimum is known, and the metric is the loss above it."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dlkit.bench.errors import UserError, nearest
from dlkit.bench.plan.metric import Metric
from dlkit.bench.problems.base import Batch, Problem
from dlkit.bench.problems.sections import no_data
from dlkit.checks import known_zero, require_number, require_size
from dlkit.typing import Array, Key, Params, Scalar, State

__all__ = ["EIGENVALUE_LAWS", "noisy_quadratic", "quadratic"]

# Values that are rounding in float32, counted as this much: a few times those at parameters whose last bits differ from
# the optimum's, in 32 dimensions 2e-13 and 1e-6.
FLOOR, DISTANCE_FLOOR = 1e-12, 1e-6

Spectrum = np.ndarray[Any, np.dtype[np.float64]]


def _two_clusters(smallest: float, largest: float, dimension: int) -> Spectrum:
    """One in eight eigenvalues is the largest, the others the smallest."""
    return np.where(np.arange(dimension) < dimension - max(dimension // 8, 1), smallest, largest)


EIGENVALUE_LAWS: Mapping[str, Callable[[float, float, int], Spectrum]] = MappingProxyType(
    {"geometric": np.geomspace, "linear": np.linspace, "two clusters": _two_clusters}
)
"""How eigenvalues lie between 1/condition and 1: `(smallest, largest, dimension) -> eigenvalues`, by name."""


def quadratic(
    *, condition: float = 1000.0, dimension: int = 32, eigenvalues: str = "geometric", seed: int = 0
) -> Problem:
    r"""Makes the ill-conditioned quadratic f(x) = 1/2 (x - x*)' H (x - x*).

    H has `dimension` eigenvalues from 1/condition to 1 along random directions, so that scaling coordinates
    does not solve it; x* is random, so that shrinking parameters does not either. Initial points are standard normal
    about x*, one per seed. Metrics: ``suboptimality`` f(x) - f(x*) = f(x), counted as at least 1e-12, and
    ``distance`` ||x - x*||, counted as at least 1e-6.

    Margin: 100 times below f at a random start, tr(H) / 2 on average.

    Args:
        condition: kappa = L/mu, with L = 1.
        dimension: how many coordinates.
        eigenvalues: a name of `EIGENVALUE_LAWS`: how they are spaced.
        seed: of the directions and of x*.

    Returns:
        The deterministic problem: no data, every gradient exact.

    Raises:
        UserError: for an unknown law, with the nearest valid one.
        ValueError: condition is below 1, or the dimension is no positive integer.

    Reference:
        Nesterov, Introductory lectures on convex optimization, 2004, section 2.1.
    """
    return _problem(
        "quadratic",
        condition,
        dimension,
        eigenvalues,
        seed,
        noise=0.0,
        target=1e-3,
        margin=100.0,
        stresses="ill-conditioning, without noise",
    )


def noisy_quadratic(
    *,
    condition: float = 100.0,
    dimension: int = 32,
    eigenvalues: str = "geometric",
    noise: Scalar = 0.1,
    samples: Scalar = 1,
    seed: int = 0,
) -> Problem:
    r"""Makes the quadratic of `quadratic` with noisy gradients: g = H (x - x*) + e, e ~ N(0, noise^2 H / samples).

    The covariance is proportional to H, as near the minimum of a likelihood. Along the eigenvector of h, with c =
    noise^2 h, gradient descent with learning rate lr has the expected square E_t of the coordinate of x - x*

        E_{t+1} = (1 - lr h)^2 E_t + lr^2 c / samples,

    so that the best constant rate depends on the budget: it has to fall. The metrics are those of `quadratic`, without
    noise. Each step's noise comes from the step's key.

    Margin: 30 times below f at a random start, tr(H) / 2 on average.

    Args:
        condition: kappa = L/mu, with L = 1.
        dimension: how many coordinates.
        eigenvalues: a name of `EIGENVALUE_LAWS`: how they are spaced.
        noise: deviation of a gradient along the largest eigenvector; may be traced.
        samples: how many such gradients are averaged: the batch size; may be traced.
        seed: of the directions and of x*.

    Returns:
        The problem, without data.

    Raises:
        UserError: for an unknown law, with the nearest valid one.
        ValueError: condition is below 1, the dimension is no positive integer, noise is negative, or samples not
            positive.

    Reference:
        Zhang et al., "Which algorithmic choices matter at which batch sizes? Insights from a noisy quadratic model",
        2019, https://arxiv.org/abs/1907.04164.
    """
    require_number("noisy_quadratic", "noise", noise, at_least=0)
    require_number("noisy_quadratic", "samples", samples, above=0)
    return _problem(
        "noisy-quadratic",
        condition,
        dimension,
        eigenvalues,
        seed,
        noise=0.0 if known_zero(noise) else noise / samples**0.5,
        target=1.5e-2,
        margin=30.0,
        stresses="gradient noise: the rate has to fall",
    )


def _problem(
    name: str,
    condition: float,
    dimension: int,
    eigenvalues: str,
    seed: int,
    *,
    noise: Scalar,
    target: float,
    margin: float,
    stresses: str,
) -> Problem:
    """The quadratic, with e = noise * H^(1/2) z added to its gradients."""
    require_number(name, "condition", condition, at_least=1)
    require_size(name, dimension=dimension)
    if eigenvalues not in EIGENVALUE_LAWS:
        raise UserError(f"no law of eigenvalues '{eigenvalues}'; {nearest(eigenvalues, EIGENVALUE_LAWS)}")
    rng = np.random.default_rng(seed)
    directions, _ = np.linalg.qr(rng.normal(size=(dimension, dimension)))
    spectrum = EIGENVALUE_LAWS[eigenvalues](1 / condition, 1, dimension)
    # f(x) = 1/2 ||R (x - x*)||^2 with R = Lambda^(1/2) Q': a sum of squares keeps its relative precision near 0.
    root = (np.sqrt(spectrum)[:, None] * directions.T).astype(np.float32)
    optimum = rng.normal(size=dimension).astype(np.float32)

    def init(key: Key) -> tuple[Params, State]:
        return {"x": optimum + jax.random.normal(key, (dimension,))}, None

    def suboptimality(params: Params) -> Array:
        return 0.5 * jnp.sum((root @ (params["x"] - optimum)) ** 2)

    def loss(params: Params, state: State, batch: Batch, key: Key) -> tuple[Array, State]:
        value = suboptimality(params)
        if not known_zero(noise):
            # z' R (x - x*) has the gradient R' z ~ N(0, H).
            value += noise * jnp.vdot(jax.random.normal(key, (dimension,)), root @ (params["x"] - optimum))
        return value, state

    def evaluate(params: Params, state: State, batch: Batch) -> Mapping[str, Array]:
        value = suboptimality(params)
        # max(NaN, floor) is NaN: divergence stays visible
        floored = jnp.maximum(value, FLOOR)
        return {"suboptimality": floored, "distance": jnp.linalg.norm(params["x"] - optimum)}

    gradients = "exact gradients" if known_zero(noise) else "noisy gradients"
    return Problem(
        name=name,
        init=init,
        loss=loss,
        evaluate=evaluate,
        dataset=no_data(),
        metrics={
            "suboptimality": Metric("lower", "log", floor=FLOOR),
            "distance": Metric("lower", "log", floor=DISTANCE_FLOOR),
        },
        steps=400,
        target=target,
        description=f"1/2 (x - x*)' H (x - x*), {dimension} dimensions, condition {condition:g}, {gradients}",
        stresses=stresses,
        trivial=float(spectrum.sum() / 2),  # of a standard normal x - x*
        margin=margin,
    )
