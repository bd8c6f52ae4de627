"""Distances between samples against double sums, exact transport by SciPy, and laws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
import scipy.spatial

from dlkit import losses
from tests.losses.oracles import assert_follows, refuses

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(4, 2)), RNG.normal(size=(3, 2)) + 1.0


def kernel_formula(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    def mean(a: np.ndarray, b: np.ndarray) -> float:
        return np.exp(-scipy.spatial.distance.cdist(a, b, "sqeuclidean") / (2 * 0.7**2)).mean()

    return np.array(mean(x, x) + mean(y, y) - 2 * mean(x, y))


def test_the_discrepancy_follows_the_formula() -> None:
    assert_follows(lambda x, y: losses.maximum_mean_discrepancy(x, y, bandwidth=0.7), kernel_formula, X, Y)


def entropic_cost(x: np.ndarray, y: np.ndarray, regularization: float) -> float:
    """The primal: the plan's cost and its relative entropy, after many rounds of Sinkhorn's scaling."""
    costs = scipy.spatial.distance.cdist(x, y, "sqeuclidean") / 2
    kernel, a, b = np.exp(-costs / regularization), np.full(len(x), 1 / len(x)), np.full(len(y), 1 / len(y))
    v = np.ones(len(y))
    for _ in range(2000):
        u = a / (kernel @ v)
        v = b / (kernel.T @ u)
    plan = u[:, None] * kernel * v
    return (plan * costs).sum() + regularization * (plan * np.log(plan / np.outer(a, b))).sum()


def sinkhorn_formula(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    cost = entropic_cost(x, y, 0.5) - (entropic_cost(x, x, 0.5) + entropic_cost(y, y, 0.5)) / 2
    return np.array(cost)


def test_sinkhorn_is_the_primal_of_entropic_transport_also_in_its_gradients() -> None:
    assert_follows(lambda x, y: losses.sinkhorn(x, y, regularization=0.5, iterations=300), sinkhorn_formula, X, Y)


def test_sinkhorn_of_little_regularization_is_optimal_transport() -> None:
    x, y = X, RNG.normal(size=(4, 2)) + 3.0
    costs = scipy.spatial.distance.cdist(x, y, "sqeuclidean") / 2
    rows, columns = scipy.optimize.linear_sum_assignment(costs)
    with jax.enable_x64(True):
        got = losses.sinkhorn(jnp.asarray(x), jnp.asarray(y), regularization=0.01, iterations=2000)
    assert got == pytest.approx(costs[rows, columns].mean(), rel=1e-2)


def test_equal_samples_in_any_order_are_0_apart() -> None:
    x = jnp.asarray(X, jnp.float32)
    assert losses.sinkhorn(x, x[::-1]) == pytest.approx(0.0, abs=1e-5)
    assert losses.maximum_mean_discrepancy(x, x[::-1]) == pytest.approx(0.0, abs=1e-6)


def test_wrong_arguments_are_refused() -> None:
    x = jnp.ones((3, 2))
    for loss in (losses.sinkhorn, losses.maximum_mean_discrepancy):
        refuses(loss, (x, jnp.ones((3, 1))), ValueError, r"expected samples \[\*batch, n, features\] and")
        refuses(loss, (x, jnp.ones((0, 2))), ValueError, "expected at least one point in each sample")
    refuses(losses.sinkhorn, (x, x), ValueError, "expected regularization above 0", regularization=0.0)
    refuses(losses.sinkhorn, (x, x), ValueError, "expected iterations to be an integer", iterations=0)
