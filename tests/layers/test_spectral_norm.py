"""Spectral normalization against singular values in float64, and the gradient of dividing by the exact one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlkit import layers

CHAIN = layers.serial(layers.dense(5), layers.activation("relu"), layers.dense(3))


def test_kernels_have_norm_one_and_the_rest_stays() -> None:
    normalized = layers.spectral_norm(layers.serial(layers.conv(4, (3, 3)), layers.flatten(3), layers.dense(3)))
    params, state = jax.jit(lambda key: normalized.init(key, (4, 4, 2)))(jax.random.key(0))
    x = jax.random.normal(jax.random.key(1), (2, 4, 4, 2))
    divided = {}
    for place, part in params.items():
        kernel = np.asarray(part["kernel"], np.float64)
        sigma = np.linalg.svd(kernel.reshape(-1, kernel.shape[-1]), compute_uv=False)[0]
        divided[place] = {**part, "kernel": jnp.asarray(kernel / sigma, jnp.float32), "bias": part["bias"] + 1}
    params = {place: {**part, "bias": part["bias"] + 1} for place, part in params.items()}
    plain = layers.serial(layers.conv(4, (3, 3)), layers.flatten(3), layers.dense(3))
    expected = jax.jit(lambda: plain.apply(divided, {}, x)[0])()
    found = jax.jit(lambda: normalized.apply(params, state, x)[0])()
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.long
def test_a_chain_is_one_lipschitz_and_starts_from_the_layers_bits() -> None:
    normalized = layers.spectral_norm(CHAIN)
    params, state = jax.jit(lambda: normalized.init(jax.random.key(2), (6,)))()
    jax.tree.map(np.testing.assert_array_equal, params, jax.jit(lambda: CHAIN.init(jax.random.key(2), (6,)))()[0])
    scaled = jax.tree.map(lambda leaf: 7 * leaf, params)
    points = jax.random.normal(jax.random.key(3), (200, 6))
    values, _ = normalized.apply(scaled, state, points)
    slopes = np.linalg.norm(np.diff(values, axis=0), axis=1) / np.linalg.norm(np.diff(points, axis=0), axis=1)
    assert slopes.max() <= 1.001
    assert np.linalg.norm(np.diff(CHAIN.apply(scaled, {}, points)[0], axis=0), axis=1).max() > 5


def test_the_power_iteration_goes_on_from_step_to_step_in_training_only() -> None:
    kernel = np.random.default_rng(0).normal(size=(6, 6))
    layer = layers.spectral_norm(layers.dense(6, kernel_init=lambda *_: jnp.asarray(kernel, jnp.float32)))
    params, state = jax.jit(lambda: layer.init(jax.random.key(0), (6,)))()
    turned = {**params, "kernel": jnp.asarray(np.linalg.qr(kernel)[0] @ np.diag([1, 1.5, 2, 2.5, 3, 9.0]), jnp.float32)}
    kept = layer.apply(turned, state, jnp.ones(6))[1]["singular"]["['kernel']"]
    np.testing.assert_array_equal(kept, state["singular"]["['kernel']"])
    step = jax.jit(lambda state: layer.apply(turned, state, jnp.eye(6), train=True))
    for _ in range(20):
        y, state = step(state)
    assert np.linalg.svd(np.asarray(y, np.float64), compute_uv=False)[0] == pytest.approx(1, rel=1e-4)
    np.testing.assert_allclose(np.abs(state["singular"]["['kernel']"]), np.eye(6)[5], atol=1e-4)


@pytest.mark.long
def test_gradients_are_those_of_the_kernel_over_its_norm() -> None:
    layer = layers.spectral_norm(layers.dense(4, use_bias=False))
    params, state = jax.jit(lambda: layer.init(jax.random.key(5), (3,)))()
    x, weights = jax.random.normal(jax.random.key(6), (7, 3)), jax.random.normal(jax.random.key(7), (7, 4))
    ours = jax.jit(jax.grad(lambda p: (layer.apply(p, state, x)[0] * weights).sum()))(params)["kernel"]
    exact = jax.grad(lambda k: ((x @ k / jnp.linalg.norm(k, ord=2)) * weights).sum())(params["kernel"])
    np.testing.assert_allclose(ours, exact, rtol=1e-3, atol=1e-4)


def test_a_kernel_of_zeros_stays_zero() -> None:
    layer = layers.spectral_norm(layers.dense(2, kernel_init=jax.nn.initializers.zeros))
    params, state = layer.init(jax.random.key(0), (3,))
    y, state = layer.apply(params, state, jnp.ones(3), train=True)
    np.testing.assert_array_equal(y, 0.0)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state))
    with pytest.raises(ValueError, match="spectral_norm: expected iterations"):
        layers.spectral_norm(layers.dense(2), iterations=0)
