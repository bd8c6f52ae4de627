"""Layers, and plain functions as layers."""

import inspect

import jax
import jax.numpy as jnp
import pytest

from dlkit import layers


def test_output_shape_keeps_the_dtype() -> None:
    output = layers.output_shape(layers.as_layer(jnp.sin), {}, {}, (3,), input_dtype=jnp.bfloat16)
    assert (output.shape, output.dtype) == ((3,), jnp.bfloat16)


def test_as_layer() -> None:
    layer = layers.dense(3)
    assert layers.as_layer(layer) is layer
    assert layers.as_layer(jnp.sin).init(jax.random.key(0), (3,)) == ({}, {})
    state = {"kept": jnp.ones(())}
    assert layers.as_layer(jnp.sin).apply({}, state, jnp.zeros(()))[1] is state


def test_what_is_no_layer_is_refused() -> None:
    with pytest.raises(TypeError, match="expected a Layer or a function of one array, got str: 'relu'"):
        inspect.unwrap(layers.as_layer)("relu")


def test_lambda_() -> None:
    layer = layers.lambda_(jnp.sin)
    assert layer.init(jax.random.key(0), (3,)) == ({}, {})
    assert layer.apply({}, {}, jnp.zeros(2), train=True)[0].tolist() == [0.0, 0.0]
    with pytest.raises(TypeError, match="lambda_: expected a function of one array, got Layer"):
        inspect.unwrap(layers.lambda_)(layer)
