"""The dense layer against flax."""

import inspect

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen

from dlkit import layers
from dlkit.typing import Initializer

X = jnp.asarray(np.random.default_rng(0).normal(size=(2, 5, 4)), jnp.float32)


@pytest.mark.parametrize("use_bias", [True, False])
def test_equals_flax_in_values_and_gradients(use_bias: bool) -> None:
    layer, reference = layers.dense(3, use_bias=use_bias), linen.Dense(3, use_bias=use_bias)
    params, state = layer.init(jax.random.key(0), (4,))
    if use_bias:
        params["bias"] = jnp.array([0.5, -1.0, 2.0])

    def loss(params, x):
        return jnp.sum(jnp.sin(layer.apply(params, state, x)[0]))

    def reference_loss(params, x):
        return jnp.sum(jnp.sin(reference.apply({"params": params}, x)))

    np.testing.assert_allclose(
        layer.apply(params, state, X)[0], reference.apply({"params": params}, X), rtol=1e-5, atol=1e-6
    )
    chex.assert_trees_all_close(
        jax.grad(loss, argnums=(0, 1))(params, X), jax.grad(reference_loss, argnums=(0, 1))(params, X), atol=1e-5
    )


def test_the_structure_is_that_of_flax() -> None:
    params, state = layers.dense(3).init(jax.random.key(0), (5, 4))
    expected = linen.Dense(3).init(jax.random.key(0), X)["params"]
    chex.assert_trees_all_equal_shapes_and_dtypes(params, dict(expected))
    assert state == {}


def test_by_hand() -> None:
    params = {"kernel": jnp.array([[1.0, 2.0], [3.0, 4.0]]), "bias": jnp.array([10.0, 20.0])}
    y, _ = layers.dense(2).apply(params, {}, jnp.array([1.0, -1.0]))
    assert y.tolist() == [8.0, 18.0]


def test_the_initial_kernel_is_lecun_normal_and_the_bias_zero() -> None:
    params, _ = layers.dense(400).init(jax.random.key(0), (100,))
    # Standard deviation 1 / sqrt(100), estimated from 40,000 values: 0.1 +- 0.00035 (one sigma).
    assert float(params["kernel"].std()) == pytest.approx(0.1, abs=0.002)
    assert float(jnp.abs(params["kernel"]).max()) < 2.0 / 0.8796 * 0.1 + 1e-6  # truncated at two sigma
    assert not params["bias"].any()


def test_initializers_are_used_with_different_subkeys() -> None:
    normal = jax.nn.initializers.normal(1.0)
    params, _ = layers.dense(3, kernel_init=normal, bias_init=normal).init(jax.random.key(0), (1,))
    assert (params["kernel"][0] != params["bias"]).all()


@pytest.mark.long
@pytest.mark.parametrize(
    ("kernel_init", "first", "factor"),
    [(jax.nn.initializers.he_normal(), 2.0, 1.0), (layers.default_kernel_init, 1.0, 0.5)],
    ids=["he", "lecun"],
)
def test_the_variance_through_thirty_relu_layers(kernel_init: Initializer, first: float, factor: float) -> None:
    """Var z = fan_in Var w E[relu(z)^2], and E[relu(z)^2] = Var z / 2: He keeps the variance, LeCun halves it.

    Over 16 networks, because in one of this width it wanders by a factor of about exp(sqrt(30 * 5 / 256)) = 2.
    """
    layer = layers.dense(256, kernel_init=kernel_init)

    def step(x: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        z, _ = layer.apply(*layer.init(key, (256,)), x)
        return jax.nn.relu(z), jnp.var(z)

    def network(key: jax.Array) -> jax.Array:
        key_inputs, key_layers = jax.random.split(key)
        return jax.lax.scan(step, jax.random.normal(key_inputs, (16, 256)), jax.random.split(key_layers, 30))[1]

    # Thirty million random numbers: here the program's speed matters, not how soon it is compiled.
    networks = jax.jit(lambda keys: jax.lax.map(network, keys), compiler_options={"xla_backend_optimization_level": 2})
    variances = networks(jax.random.split(jax.random.key(0), 16)).mean(0)
    # For He: within [1, 3].
    np.testing.assert_allclose(variances / (first * factor ** np.arange(30)), np.ones(30), atol=0.5)


@pytest.mark.parametrize(
    ("x", "params", "expected"),
    [
        ("bfloat16", "float32", "float32"),
        ("float32", "bfloat16", "float32"),
        ("float16", "float16", "float16"),
    ],
)
def test_the_output_has_the_promoted_dtype(x: str, params: str, expected: str) -> None:
    layer = layers.dense(3)
    tree, state = layer.init(jax.random.key(0), (4,))
    y, _ = layer.apply(jax.tree.map(lambda leaf: leaf.astype(params), tree), state, X.astype(x))
    assert y.dtype == jnp.dtype(expected)


def test_parameters_are_float32_under_x64_too() -> None:
    expected, _ = layers.dense(3).init(jax.random.key(0), (4,))
    with jax.enable_x64(True):
        params, _ = layers.dense(3).init(jax.random.key(0), (4,))
    chex.assert_trees_all_equal_shapes_and_dtypes(params, expected)


@pytest.mark.parametrize("features", [0, -1, 2.0, "3", None])
def test_features_must_be_a_positive_integer(features: object) -> None:
    with pytest.raises(ValueError, match="expected features to be an integer of at least 1, got"):
        inspect.unwrap(layers.dense)(features)


def test_an_example_needs_an_axis() -> None:
    with pytest.raises(ValueError, match=r"expected an example shape \(..., in_features\), got \(\)"):
        layers.dense(3).init(jax.random.key(0), ())


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (jnp.ones((2, 4), jnp.int32), TypeError, r"expected floating-point inputs, got int32\[2,4\]"),
        (jnp.ones((2, 5)), ValueError, r"expected inputs \[\*batch, 4\], got float32\[2,5\]"),
        (jnp.ones(()), ValueError, r"expected inputs \[\*batch, 4\], got float32\[\]"),
    ],
)
def test_bad_inputs_are_refused(x: jax.Array, error: type, message: str) -> None:
    layer = layers.dense(3)
    params, state = layer.init(jax.random.key(0), (4,))
    with pytest.raises(error, match=message):
        inspect.unwrap(layer.apply)(params, state, x)
