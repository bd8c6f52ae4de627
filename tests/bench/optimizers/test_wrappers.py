"""Wrappers against hand-written loops of what they say they do."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dlkit import bench
from dlkit.bench import optimizers
from dlkit.bench.errors import UserError
from dlkit.bench.optimizers import Optimizer
from dlkit.bench.plan.trials import Evaluations

RATE = 0.1
START = np.array([1.0, -2.0, 3.0])
CURVATURE = np.array([0.5, 1.0, 2.0])


def loss(x: Any) -> Any:
    return (jnp.asarray(CURVATURE) * x**2).sum() / 2 + jnp.sin(x).sum()


def slope(x: Any) -> Any:
    return CURVATURE * x + np.cos(x)


def follow(name: str, steps: int, **settings: Any) -> tuple[list[Any], list[Any], list[Any]]:
    """Parameters, parameters to evaluate, and states after each step."""
    optimizer = optimizers.get(name)
    with jax.enable_x64(True):
        transformation = optax.with_extra_args_support(optimizer.build(**settings))
        params = jnp.asarray(START)
        state = transformation.init(params)
        trained, evaluated, states = [], [], []
        for _ in range(steps):
            gradient = jax.grad(loss)(params)
            updates, state = transformation.update(gradient, state, params, grad_fn=jax.grad(loss))
            params = optax.apply_updates(params, updates)
            trained.append(np.asarray(params))
            evaluated.append(np.asarray(optimizer.eval_params(state, params) if optimizer.eval_params else params))
            states.append(state)
    return trained, evaluated, states


@pytest.mark.long
def test_sam_steps_along_the_gradient_at_the_worst_neighbour() -> None:
    trained, _, _ = follow("sgd+sam", 5, learning_rate=RATE, rho=0.3)
    x = START
    for ours in trained:
        g = slope(x)
        x = x - RATE * slope(x + 0.3 * g / np.linalg.norm(g))
        np.testing.assert_allclose(ours, x, rtol=1e-9)


def test_lookahead_pulls_the_fast_parameters_back_and_evaluates_the_slow_ones() -> None:
    trained, evaluated, _ = follow("sgd+lookahead", 7, learning_rate=RATE, slow_step_size=0.5, sync_period=3)
    slow = fast = START
    for step, (ours, shown) in enumerate(zip(trained, evaluated, strict=True), 1):
        fast = fast - RATE * slope(fast)
        if step % 3 == 0:
            slow = fast = slow + 0.5 * (fast - slow)
        np.testing.assert_allclose(ours, fast, rtol=1e-9)
        np.testing.assert_allclose(shown, slow, rtol=1e-9)


@pytest.mark.parametrize(("name", "settings", "decay"), [("ema", {"decay": 0.8}, 0.8), ("polyak", {}, 1.0)])
def test_averages_are_evaluated_and_leave_training_alone(name: str, settings: Any, decay: float) -> None:
    trained, evaluated, _ = follow(f"sgd+{name}", 6, learning_rate=RATE, **settings)
    plain, _, _ = follow("sgd", 6, learning_rate=RATE)
    np.testing.assert_allclose(trained, plain, rtol=1e-12)
    for step, shown in enumerate(evaluated, 1):
        weights = decay ** np.arange(step)[::-1]
        np.testing.assert_allclose(shown, weights @ np.array(trained[:step]) / weights.sum(), rtol=1e-6)


def test_an_average_of_nothing_is_the_start() -> None:
    optimizer = optimizers.get("sgd+ema")
    params = {"w": jnp.ones(3)}
    state = optimizer.build(learning_rate=0.1, decay=0.9).init(params)
    np.testing.assert_array_equal(optimizer.eval_params(state, params)["w"], params["w"])


def test_clipping_bounds_the_step_and_spares_small_gradients() -> None:
    trained, _, _ = follow("sgd+clip", 20, learning_rate=RATE, max_norm=0.5)
    x = START
    for ours in trained:
        g = slope(x)
        x = x - RATE * g * min(1.0, 0.5 / np.linalg.norm(g))
        np.testing.assert_allclose(ours, x, rtol=1e-9)


def test_adaptive_clipping_bounds_each_units_relative_step() -> None:
    transformation = optimizers.get("sgd+adaptive-clip").build(learning_rate=1.0, clipping=0.1)
    params = {"w": jnp.array([[3.0, 0.3], [4.0, 0.4]])}
    gradient = {"w": jnp.array([[30.0, 0.0], [40.0, 0.01]])}
    updates, _ = transformation.update(gradient, transformation.init(params), params)
    # Columns are units: their norms are 5 and 0.5, so their gradients' norms may be 0.5 and 0.05.
    np.testing.assert_allclose(updates["w"], [[-0.3, 0.0], [-0.4, -0.01]], rtol=1e-5)


@pytest.mark.long
def test_caution_drops_what_goes_against_the_gradient_and_keeps_the_mean_size() -> None:
    signed = Optimizer("signed", lambda learning_rate: optax.sgd(learning_rate, 0.9), {"learning_rate": 1.0})
    transformation = optimizers.with_caution(signed).build(learning_rate=1.0)
    params = jnp.zeros(4)
    _, state = transformation.update(jnp.array([1.0, 1.0, 1.0, 1.0]), transformation.init(params), params)
    updates, _ = transformation.update(jnp.array([-0.1, 0.1, 0.2, 0.0]), state, params)
    # Momentum: 0.8, 1.0, 1.1, 0.9; of four coordinates two point down the gradient: times 4 / (2 + 1).
    np.testing.assert_allclose(updates, np.array([0.0, -1.0, -1.1, 0.0]) * 4 / 3, rtol=1e-6)


def test_weight_decay_is_decoupled_and_scales_with_the_learning_rate() -> None:
    trained, _, _ = follow("sgd+decay", 4, learning_rate=RATE, weight_decay=0.5)
    x = START
    for ours in trained:
        x = x - RATE * slope(x) - RATE * 0.5 * x
        np.testing.assert_allclose(ours, x, rtol=1e-9)
    free = optimizers.with_weight_decay(Optimizer("free", lambda: optax.sgd(0.0), {}))
    transformation = free.build(weight_decay=0.25)
    updates, _ = transformation.update(jnp.ones(2), transformation.init(jnp.ones(2)), jnp.ones(2))
    np.testing.assert_allclose(updates, -0.25)


@pytest.mark.long
def test_accumulation_steps_on_the_mean_gradient_and_rests_between() -> None:
    optimizer = optimizers.get("adam+accumulate")
    settings = {"learning_rate": RATE, "b1": 0.9, "b2": 0.99}
    gradients = np.random.default_rng(0).normal(size=(8, 3))
    with jax.enable_x64(True):
        transformation, adam = optimizer.build(every=4, **settings), optimizers.get("adam").build(**settings)
        params = expected = jnp.asarray(START)
        state, adam_state = transformation.init(params), adam.init(params)
        for step, gradient in enumerate(gradients, 1):
            updates, state = transformation.update(jnp.asarray(gradient), state, params)
            params = optax.apply_updates(params, updates)
            if step % 4 == 0:
                updates, adam_state = adam.update(jnp.asarray(gradients[step - 4 : step].mean(axis=0)), adam_state)
                expected = optax.apply_updates(expected, updates)
            np.testing.assert_allclose(params, expected, rtol=1e-7)


def test_wrappers_pass_on_what_the_inner_optimizer_evaluates_and_costs() -> None:
    inner = optimizers.get("schedule_free_sgd")
    wrapped = optimizers.get("schedule_free_sgd+clip")
    settings = {"learning_rate": 0.1, "b1": 0.9}
    params = {"w": jnp.ones(2)}
    state = wrapped.build(max_norm=1.0, **settings).init(params)
    expected = inner.eval_params(inner.build(**settings).init(params), params)
    np.testing.assert_array_equal(wrapped.eval_params(state, params)["w"], expected["w"])
    assert optimizers.get("adam+clip").evaluations == Evaluations(1, 0, 0)
    assert optimizers.get("adam+sam").evaluations == Evaluations(2, 0, 0)
    assert optimizers.get("adam+sam+clip+ema").evaluations == Evaluations(2, 0, 0)


@pytest.mark.long
def test_what_the_inner_optimizer_defaults_to_may_be_left_out() -> None:
    settings = {"steps": 10, "evaluations": 2, "learning_rate": 0.1}
    clipped = bench.train("quadratic", "adam+clip", max_norm=1e9, **settings)
    plain = bench.train("quadratic", "adam", **settings)
    np.testing.assert_allclose(clipped.curve["distance"], plain.curve["distance"], rtol=1e-5)
    with pytest.raises(UserError, match="needs a number for 'max_norm'"):
        bench.train("quadratic", "adam+clip", **settings)


def test_ranges_of_ones_own() -> None:
    clipped = optimizers.with_clipping(optimizers.get("adam"), max_norm=1.0)
    assert clipped.space["max_norm"] == 1.0 and clipped.name == "adam+clip"
    slower = optimizers.with_lookahead(optimizers.get("adam"), sync_period=[5, 10])
    assert slower.static == {"sync_period": (5, 10)}
    with pytest.raises(UserError, match="already"):
        optimizers.with_clipping(clipped)
