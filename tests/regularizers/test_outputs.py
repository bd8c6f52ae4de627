"""Penalties of outputs against closed forms."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from dlkit import layers, regularizers

RNG = np.random.default_rng(0)


def test_activities_are_sums_over_the_last_axis() -> None:
    x = RNG.normal(size=(2, 3, 5)).astype(np.float32)
    np.testing.assert_allclose(regularizers.activity_l1(jnp.asarray(x)), np.abs(x).sum(-1), rtol=1e-6)
    np.testing.assert_allclose(regularizers.activity_l2(jnp.asarray(x)), (x**2).sum(-1), rtol=1e-6)
    slopes = jax.grad(regularizers.activity_l1)(jnp.array([-2.0, 0.0, 3.0]))
    np.testing.assert_array_equal(slopes, [-1.0, 0.0, 1.0])
    # In bfloat16, 256 + 1 = 256: a sum kept in it would stop there.
    assert regularizers.activity_l1(jnp.ones(512, jnp.bfloat16)) == 512


def test_the_confidence_penalty_is_minus_the_entropy() -> None:
    x = RNG.normal(0.0, 3.0, size=(4, 6))
    with jax.enable_x64(True):
        found = regularizers.confidence_penalty(jnp.asarray(x))
    expected = -scipy.stats.entropy(np.exp(x), axis=-1)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_the_confidence_penalty_at_its_ends() -> None:
    logits = jnp.array([[0.0, 0.0, -jnp.inf], [3e38, -3e38, 0.0]])
    np.testing.assert_allclose(regularizers.confidence_penalty(logits), [-np.log(2), 0.0], rtol=1e-6)
    gradient = jax.grad(lambda logits: regularizers.confidence_penalty(logits).sum())(logits)
    np.testing.assert_array_equal(gradient, np.zeros((2, 3)))
    assert np.isnan(regularizers.confidence_penalty(jnp.full(2, jnp.nan)))


def test_the_jacobian_penalty_is_exact_for_one_output() -> None:
    x = jnp.asarray(RNG.normal(size=(3, 4)), jnp.float32)
    found = regularizers.jacobian_penalty(lambda x: jnp.sin(x).sum(-1, keepdims=True), x, key=jax.random.key(0))
    np.testing.assert_allclose(found, np.square(np.cos(x)).sum(-1), rtol=1e-5)


def test_the_jacobian_penalty_is_unbiased() -> None:
    kernel = jnp.asarray(RNG.normal(size=(4, 3)), jnp.float32)
    x = jnp.ones((2000, 4))
    draws = np.asarray(regularizers.jacobian_penalty(lambda x: x @ kernel, x, key=jax.random.key(1), projections=2))
    # Five standard errors of the mean.
    assert draws.mean() == pytest.approx(float(jnp.square(kernel).sum()), abs=5 * draws.std() / np.sqrt(len(draws)))
    assert draws.std() > 0


def test_the_jacobian_penalty_has_a_gradient_of_parameters() -> None:
    layer = layers.dense(1, use_bias=False)

    def penalty(kernel: jax.Array) -> jax.Array:
        function = lambda x: layer.apply({"kernel": kernel}, {}, x)[0]  # noqa: E731
        return regularizers.jacobian_penalty(function, jnp.ones((1, 3)), key=jax.random.key(0))[0]

    kernel = jnp.array([[1.0], [-2.0], [3.0]])
    np.testing.assert_allclose(jax.grad(penalty)(kernel), 2 * kernel, rtol=1e-5)  # of |w|^2


def test_what_does_not_fit_is_refused() -> None:
    key = jax.random.key(0)
    with pytest.raises(ValueError, match=r"^jacobian_penalty: expected outputs \[2, ...\] of a function of a batch"):
        regularizers.jacobian_penalty(jnp.sum, jnp.ones((2, 3)), key=key)
    with pytest.raises(ValueError, match=r"^jacobian_penalty: expected projections to be an integer of at least 1"):
        regularizers.jacobian_penalty(jnp.sin, jnp.ones((2, 3)), key=key, projections=0)
    for name in ("activity_l1", "activity_l2", "confidence_penalty"):
        with pytest.raises(ValueError, match=rf"^{name}: expected x \[\*batch, features\], got a scalar"):
            inspect.unwrap(getattr(regularizers, name))(jnp.ones(()))
        with pytest.raises(TypeError, match=rf"^{name}: expected floating-point x, got int32"):
            inspect.unwrap(getattr(regularizers, name))(jnp.ones(2, jnp.int32))


def test_numbers_and_lists_are_taken() -> None:
    np.testing.assert_allclose(regularizers.activity_l1([[1, -2.0]]), [3.0])
    np.testing.assert_allclose(regularizers.activity_l2((1, 2)), 5.0)
    np.testing.assert_allclose(regularizers.confidence_penalty([0, 0]), -np.log(2), rtol=1e-6)
    np.testing.assert_allclose(
        regularizers.jacobian_penalty(lambda x: 3.0 * x, [[1], [2]], key=jax.random.key(0)), [9.0, 9.0], rtol=1e-6
    )
