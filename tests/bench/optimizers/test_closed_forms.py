"""Optimizers against what theory says of them: step counts, rates, variances, identities."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dlkit.bench import optimizers

KAPPA = 100.0
EIGENVALUES = np.geomspace(1 / KAPPA, 1.0, 401)


def path(transformation: Any, gradient: Callable[[Any], Any], start: Any, steps: int) -> np.ndarray[Any, Any]:
    """The parameters after each step, in double precision."""

    def step(carry: Any, _: Any) -> Any:
        params, state = carry
        updates, state = transformation.update(gradient(params), state, params)
        params = optax.apply_updates(params, updates)
        return (params, state), params

    with jax.enable_x64(True):
        begin = jnp.asarray(start)
        _, reached = jax.lax.scan(step, (begin, transformation.init(begin)), length=steps)
        return np.asarray(reached)


@pytest.mark.parametrize(
    ("name", "settings", "steps"),
    [
        # 2 / (L + mu)
        ("sgd", {"learning_rate": 2 / (1 + 1 / KAPPA)}, 582),
        # 4 / (sqrt(L) + sqrt(mu))^2 and ((sqrt(kappa) - 1) / (sqrt(kappa) + 1))^2
        ("momentum", {"learning_rate": 4 / 1.1**2, "momentum": (9 / 11) ** 2}, 79),
        # 1 / L and (sqrt(kappa) - 1) / (sqrt(kappa) + 1)
        ("nesterov", {"learning_rate": 1.0, "momentum": 9 / 11}, 132),
    ],
)
def test_steps_on_a_quadratic_at_the_optimal_constants(name: str, settings: dict[str, float], steps: int) -> None:
    # Reference: Nesterov, "Introductory Lectures on Convex Optimization", 2004, section 2.2; Polyak, 1964.
    transformation = optimizers.get(name).build(**settings)
    reached = path(transformation, lambda x: EIGENVALUES * x, np.ones(401), 600)
    if name == "nesterov":  # optax holds the point y where gradients are taken; the iterate is x = y - lr g(y)
        before = np.concatenate([np.ones((1, 401)), reached[:-1]])
        reached = before - settings["learning_rate"] * EIGENVALUES * before
    norms = np.linalg.norm(reached, axis=1) / math.sqrt(401)
    assert 1 + int(np.argmax(norms <= 1e-6)) == steps


@pytest.mark.long
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_stationary_variance_of_gradient_descent_with_noise(momentum: float) -> None:
    # Var x = lr sigma^2 (1 + b) / (lambda (1 - b) (2 (1 + b) - lr lambda)); 4000 independent walks
    rate, curvature, sigma, walks, steps = 0.1, 0.5, 2.0, 4000, 800
    transformation = optimizers.get("momentum").build(learning_rate=rate, momentum=momentum)

    def step(carry: Any, key: Any) -> Any:
        x, state = carry
        gradient = curvature * x + sigma * jax.random.normal(key, (walks,))
        updates, state = transformation.update(gradient, state)
        return (x + updates, state), None

    start = jnp.zeros(walks)
    keys = jax.random.split(jax.random.key(0), steps)
    (x, _), _ = jax.lax.scan(step, (start, transformation.init(start)), keys)
    expected = rate * sigma**2 * (1 + momentum) / (curvature * (1 - momentum) * (2 * (1 + momentum) - rate * curvature))
    # The sample variance of n independent normal values has the standard deviation sqrt(2 / n) of itself.
    assert np.var(x) == pytest.approx(expected, rel=4 * math.sqrt(2 / walks))


def test_adam_with_a_huge_epsilon_is_averaged_momentum() -> None:
    rng = np.random.default_rng(0)
    curvature = np.diag(np.linspace(0.1, 1.0, 5))
    adam = optimizers.get("adam").build(learning_rate=0.05e8, b1=0.9, b2=0.999, eps=1e8)
    start = rng.normal(size=5)
    reached = path(adam, lambda x: curvature @ x, start, 200)
    x, m = start.copy(), np.zeros(5)
    for t, ours in enumerate(reached, 1):
        m = 0.9 * m + 0.1 * curvature @ x
        x = x - 0.05 * m / (1 - 0.9**t)
        np.testing.assert_allclose(ours, x, rtol=0, atol=1e-7)


def test_adamw_without_gradients_decays_geometrically() -> None:
    adamw = optimizers.get("adamw").build(learning_rate=0.1, b1=0.9, b2=0.999, weight_decay=0.3)
    reached = path(adamw, jnp.zeros_like, np.array([1.0, -2.0]), 50)
    expected = (1 - 0.1 * 0.3) ** np.arange(1, 51)
    np.testing.assert_allclose(reached, expected[:, None] * np.array([[1.0, -2.0]]), rtol=1e-12)


def test_every_coordinate_of_a_lion_step_is_the_learning_rate() -> None:
    lion = optimizers.get("lion").build(learning_rate=0.01, b1=0.9, b2=0.99, weight_decay=0.0)
    start = np.random.default_rng(0).normal(size=20) * 10
    reached = path(lion, lambda x: x**3, start, 30)
    steps = np.diff(reached, axis=0, prepend=start[None])
    np.testing.assert_allclose(np.abs(steps), 0.01, rtol=1e-9)


def test_schedule_free_sgd_with_beta_0_is_evaluated_at_the_running_mean() -> None:
    # optax divides by beta: at 1e-6, gradients are taken 1e-6 of the way from SGD's iterate to the mean.
    optimizer = optimizers.get("schedule_free_sgd")
    beta, rate = 1e-6, 0.3
    transformation = optimizer.build(learning_rate=rate, b1=beta)
    curvature = np.array([0.2, 1.0, 2.0])
    with jax.enable_x64(True):
        params = jnp.asarray([1.0, -2.0, 3.0])
        state, x, mean = transformation.init(params), np.array([1.0, -2.0, 3.0]), np.zeros(3)
        for t in range(1, 31):
            updates, state = transformation.update(curvature * params, state, params)
            params = optax.apply_updates(params, updates)
            x = x - rate * curvature * x
            mean += (x - mean) / t
            np.testing.assert_allclose(optimizer.eval_params(state, params), mean, rtol=0, atol=3e-5)
            assert t == 1 or np.abs(np.asarray(params) - mean).max() > 1e-2, "the mean is not the iterate"
