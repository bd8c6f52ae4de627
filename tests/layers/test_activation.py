"""Activations as layers."""

import inspect

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen

from dlkit import activations, layers
from dlkit.layers.activation import MARK

X = jnp.asarray(np.random.default_rng(0).normal(size=(2, 5, 3)), jnp.float32)


def test_a_name_a_function_and_a_layer() -> None:
    for given in ("tanh", jnp.tanh, layers.lambda_(jnp.tanh)):
        layer = layers.activation(given)
        assert layer.init(jax.random.key(0), (3,)) == ({}, {})
        np.testing.assert_allclose(layer.apply({}, {}, X)[0], np.tanh(X), rtol=1e-5)
    layer = layers.dense(2)
    assert layers.activation(layer) is layer


def test_every_name_is_known() -> None:
    assert all(isinstance(layers.activation(name), layers.Layer) for name in (*activations.NAMES, "prelu"))
    with pytest.raises(ValueError, match="did you mean 'relu'"):
        layers.activation("rellu")


def test_integers_are_refused_by_name() -> None:
    # relu would return integers, and others would fail in words of JAX.
    for name in ("relu", "silu"):
        with pytest.raises(
            TypeError, match=rf"activation '{name}': expected floating-point inputs, got int32\[2\]; ca"
        ):
            layers.activation(name).apply({}, {}, jnp.ones(2, jnp.int32))


@pytest.mark.parametrize("given", ["relu", jnp.tanh, "prelu"])
def test_the_outputs_are_marked_once_and_the_mark_vanishes_when_compiled(given) -> None:
    layer = layers.activation(given)
    params, state = layer.init(jax.random.key(0), (3,))

    def plain(x):
        if given == "prelu":
            return activations.prelu(x, params["negative_slope"])
        return activations.relu(x) if given == "relu" else given(x)

    def program(function) -> str:
        return jax.jit(jax.grad(lambda x: jnp.sum(function(x) ** 2))).lower(X).as_text()

    assert str(jax.make_jaxpr(lambda x: layer.apply(params, state, x)[0])(X)).count(f"name[name={MARK}]") == 1
    assert program(lambda x: layer.apply(params, state, x)[0]) == program(plain)


def test_prelu_by_name_has_parameters() -> None:
    params, state = layers.activation("prelu").init(jax.random.key(0), (5, 3))
    chex.assert_trees_all_equal(params, {"negative_slope": jnp.full(3, 0.25)})
    assert state == {}


def test_shared_prelu_equals_flax_in_values_and_gradients() -> None:
    layer, reference = layers.prelu(initial_slope=0.01, shared=True), linen.PReLU()
    params, state = layer.init(jax.random.key(0), (5, 3))
    chex.assert_trees_all_equal(params, dict(reference.init(jax.random.key(0), X)["params"]))

    def loss(params, x):
        return jnp.sum(jnp.sin(layer.apply(params, state, x)[0]))

    def reference_loss(params, x):
        return jnp.sum(jnp.sin(reference.apply({"params": params}, x)))

    chex.assert_trees_all_close(
        jax.value_and_grad(loss, argnums=(0, 1))(params, X),
        jax.value_and_grad(reference_loss, argnums=(0, 1))(params, X),
        rtol=1e-5,
        atol=1e-6,
    )


def test_prelu_per_channel_by_hand() -> None:
    layer = layers.prelu()
    x = jnp.array([[-1.0, -1.0], [2.0, -3.0]])
    slopes = {"negative_slope": jnp.array([0.5, -2.0])}
    y, vjp = jax.vjp(lambda params: layer.apply(params, {}, x)[0], slopes)
    assert y.tolist() == [[-0.5, 2.0], [2.0, 6.0]]
    # The sum of x over where it is negative.
    assert vjp(jnp.ones((2, 2)))[0]["negative_slope"].tolist() == [-1.0, -4.0]


def test_the_output_has_the_promoted_dtype() -> None:
    params, state = layers.prelu().init(jax.random.key(0), (3,))
    assert layers.prelu().apply(params, state, X.astype(jnp.bfloat16))[0].dtype == jnp.float32


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match=r"prelu: expected an example shape \(..., channels\), got \(\)"):
        layers.prelu().init(jax.random.key(0), ())
    with pytest.raises(ValueError, match="prelu: expected initial_slope"):
        layers.prelu(initial_slope=float("nan"))
    params, state = layers.prelu().init(jax.random.key(0), (3,))
    with pytest.raises(ValueError, match="one per channel"):
        layers.prelu().apply(params, state, jnp.ones((2, 4)))
    with pytest.raises(TypeError, match=r"prelu: expected floating-point inputs, got int32\[3\]"):
        inspect.unwrap(layers.prelu().apply)(params, state, jnp.ones(3, jnp.int32))
