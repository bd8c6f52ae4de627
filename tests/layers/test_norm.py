"""Normalization of every example by itself, against flax and at the edges of the number range."""

import functools
import inspect
from collections.abc import Callable

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen
from jax.test_util import check_grads

from dlkit import layers
from dlkit.layers import Layer
from dlkit.layers.standardize import standardize

X = jnp.asarray(np.random.default_rng(0).normal(size=(2, 3, 5, 4)), jnp.float32)

EVERY: dict[str, Callable[..., Layer]] = {
    "layer_norm": layers.layer_norm,
    "layer_norm-axes": functools.partial(layers.layer_norm, axes=3),
    "rms_norm": layers.rms_norm,
    "group_norm": functools.partial(layers.group_norm, 2, dimensions=2),
    "instance_norm": functools.partial(layers.instance_norm, dimensions=2),
}
every_norm = pytest.mark.parametrize("name", EVERY)


def filled(layer: Layer, input_shape: tuple[int, ...]) -> tuple[dict[str, jax.Array], dict[str, jax.Array]]:
    """Parameters that are neither 0 nor 1, and the state."""
    params, state = layer.init(jax.random.key(0), input_shape)
    rng = np.random.default_rng(1)
    return jax.tree.map(lambda leaf: jnp.asarray(rng.normal(1.0, 0.5, leaf.shape), jnp.float32), params), state


@pytest.mark.long
@pytest.mark.parametrize(
    ("layer", "reference"),
    [
        (layers.layer_norm(), linen.LayerNorm()),
        (
            layers.layer_norm(axes=3, epsilon=0.1),
            linen.LayerNorm(reduction_axes=(-3, -2, -1), feature_axes=(-3, -2, -1), epsilon=0.1),
        ),
        (layers.layer_norm(use_scale=False), linen.LayerNorm(use_scale=False)),
        (layers.rms_norm(), linen.RMSNorm()),
        (layers.rms_norm(use_scale=False, epsilon=0.1), linen.RMSNorm(use_scale=False, epsilon=0.1)),
        (layers.group_norm(2, dimensions=2), linen.GroupNorm(2)),
        (layers.group_norm(4, dimensions=0), linen.GroupNorm(4, reduction_axes=(-1,))),
        (
            layers.group_norm(1, dimensions=1, use_bias=False, epsilon=0.1),
            linen.GroupNorm(1, reduction_axes=(-2, -1), use_bias=False, epsilon=0.1),
        ),
        (layers.instance_norm(dimensions=2), linen.InstanceNorm()),
    ],
    ids=range(9),
)
def test_equals_flax_in_values_and_gradients(layer: Layer, reference: linen.Module) -> None:
    params, state = filled(layer, (3, 5, 4))
    made = jax.eval_shape(reference.init, jax.random.key(0), X).get("params", {})
    chex.assert_trees_all_equal_shapes_and_dtypes(params, dict(made))
    assert state == {}

    def pull_back(apply):
        def results(params, x):
            y, vjp = jax.vjp(apply, params, x)
            return y, vjp(jnp.cos(y))

        return jax.jit(results)(params, X)

    chex.assert_trees_all_close(
        pull_back(lambda params, x: layer.apply(params, state, x)[0]),
        pull_back(lambda params, x: reference.apply({"params": params}, x)),
        rtol=1e-5,
        atol=2e-5,
    )


def test_the_initial_parameters() -> None:
    params, _ = layers.layer_norm().init(jax.random.key(0), (3,))
    assert jax.tree.map(lambda leaf: leaf.tolist(), params) == {"scale": [1.0] * 3, "bias": [0.0] * 3}
    normal = jax.nn.initializers.normal(1.0)
    params, _ = layers.layer_norm(scale_init=normal, bias_init=normal).init(jax.random.key(0), (3,))
    assert (params["scale"] != params["bias"]).all()


@pytest.mark.long
@every_norm
def test_nothing_crosses_examples(name: str) -> None:
    layer = EVERY[name]()
    params, state = filled(layer, (3, 5, 4))
    y, _ = layer.apply(params, state, X)
    other, _ = layer.apply(params, state, X.at[1].multiply(-7.0))
    np.testing.assert_array_equal(y[0], other[0])
    np.testing.assert_allclose(layer.apply(params, state, X[0])[0], y[0], rtol=1e-6, atol=1e-6)


@pytest.mark.long
@pytest.mark.parametrize("offset", [1e4, 1e6])
@pytest.mark.parametrize("axes", [(0,), (0, 2), (-1,)])
def test_a_mean_far_from_zero_costs_no_digits(offset: float, axes: tuple[int, ...]) -> None:
    x = np.asarray(np.random.default_rng(0).normal(offset, 1.0, (50, 3, 20)), np.float32)
    exact = x.astype(np.float64)
    mean, variance = exact.mean(axes, keepdims=True), exact.var(axes, keepdims=True)
    actual = standardize(jnp.asarray(x), axes, epsilon=1e-5)
    # E[x^2] - E[x]^2 in float32 would be off by 10 at the mean 1e4.
    np.testing.assert_allclose(actual[0], (exact - mean) / np.sqrt(variance + 1e-5), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(actual[1], mean.squeeze(axes), rtol=1e-6)
    np.testing.assert_allclose(actual[2], variance.squeeze(axes), rtol=1e-5)


@every_norm
def test_the_unit_of_the_inputs_does_not_matter(name: str) -> None:
    # Without epsilon f(s x) = f(x), so that the gradient at s x is that at x divided by s.
    layer = EVERY[name](epsilon=0.0)
    params, state = filled(layer, (3, 5, 4))
    powers = np.array([0, -10, 15, 40, 100, 120])

    def value_and_gradient(x):
        return jax.value_and_grad(lambda x: jnp.sum(jnp.sin(layer.apply(params, state, x)[0])))(x)

    scaled = jnp.stack([X * 2.0 ** float(power) for power in powers])
    values, gradients = jax.jit(jax.vmap(value_and_gradient))(scaled)
    np.testing.assert_allclose(values, jnp.full(len(powers), values[0]), rtol=1e-5)
    rescaled = np.asarray(gradients, np.float64) * 2.0 ** powers.reshape(-1, 1, 1, 1, 1)
    # At 2^120, gradients of less than 0.016 of those at 1 are subnormal: zero on some devices.
    np.testing.assert_allclose(rescaled[:-1], np.broadcast_to(rescaled[0], rescaled[:-1].shape), rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(rescaled[-1], rescaled[0], rtol=1e-3, atol=0.03)


@every_norm
def test_constant_inputs(name: str) -> None:
    layer = EVERY[name]()
    params, state = filled(layer, (3, 5, 4))
    constants = jnp.array([0.0, 1e-38, 0.1, 12345.67, 1e10, 1e18, 3.3e38])

    def pull_back(x):
        y, vjp = jax.vjp(lambda x: layer.apply(params, state, x)[0], x)
        return y, vjp(y + 1.0)

    y, gradients = jax.jit(jax.vmap(pull_back))(jnp.broadcast_to(constants.reshape(-1, 1, 1, 1), (7, 3, 5, 4)))
    if name != "rms_norm":
        np.testing.assert_array_equal(y, np.broadcast_to(params["bias"], y.shape))
    chex.assert_tree_all_finite((y, gradients))


def test_subnormal_and_tiny_inputs_are_governed_by_epsilon() -> None:
    x = jnp.array([1e-20, 3e-20])
    y, _ = layers.layer_norm(epsilon=1e-6).apply({}, {}, x)
    np.testing.assert_allclose(y, [-1e-17, 1e-17], rtol=1e-5)
    y, _ = layers.rms_norm(epsilon=1e-6).apply({}, {}, x)
    np.testing.assert_allclose(y, [1e-17, 3e-17], rtol=1e-5)


@pytest.mark.long
def test_derivatives_of_first_and_second_order() -> None:
    with jax.enable_x64(True):
        x = jnp.asarray(np.random.default_rng(0).normal(size=(3, 4)))
        for center in (True, False):
            function = functools.partial(inspect.unwrap(standardize), axes=(-1,), epsilon=1e-3, center=center)
            check_grads(jax.jit(function), (x,), order=2, rtol=1e-5)


@every_norm
def test_bfloat16_is_computed_in_float32(name: str) -> None:
    layer = EVERY[name]()
    params, state = filled(layer, (3, 5, 4))
    half = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), params)
    x = (100.0 + X).astype(jnp.bfloat16)
    y, _ = layer.apply(half, state, x)
    exact, _ = layer.apply(jax.tree.map(lambda leaf: leaf.astype(jnp.float32), half), state, x.astype(jnp.float32))
    # Rounded once, at the end.
    chex.assert_trees_all_equal(y, exact.astype(jnp.bfloat16))


def test_the_output_has_the_promoted_dtype() -> None:
    layer = layers.layer_norm()
    params, state = layer.init(jax.random.key(0), (4,))
    assert layer.apply(params, state, X.astype(jnp.bfloat16))[0].dtype == jnp.float32
    assert layers.rms_norm(use_scale=False).apply({}, {}, X.astype(jnp.bfloat16))[0].dtype == jnp.bfloat16


def test_epsilon_may_be_traced() -> None:
    f = jax.jit(lambda epsilon: layers.layer_norm(epsilon=epsilon).apply({}, {}, X)[0])
    np.testing.assert_allclose(f(0.5), layers.layer_norm(epsilon=0.5).apply({}, {}, X)[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: layers.layer_norm(axes=0), "layer_norm: expected axes to be an integer of at least 1, got 0"),
        (lambda: layers.rms_norm(axes=-1), "rms_norm: expected axes to be an integer of at least 1, got -1"),
        (lambda: layers.layer_norm(epsilon=-1.0), "layer_norm: expected epsilon at least 0, got -1.0"),
        (lambda: layers.group_norm(0, dimensions=2), "group_norm: expected groups to be an integer of at least 1"),
        (lambda: layers.group_norm(2, dimensions=-1), "group_norm: expected dimensions to be an integer of at least 0"),
        (lambda: layers.instance_norm(dimensions=0), "instance_norm: expected dimensions to be an integer of at lea"),
    ],
)
def test_bad_arguments_are_refused(make: Callable[[], Layer], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("layer", "input_shape", "message"),
    [
        (layers.layer_norm(axes=2), (3,), r"layer_norm: expected inputs that end in 2 axes .*, got float32\[3\]"),
        (layers.rms_norm(), (0,), r"rms_norm: expected inputs .* none of size 0, got float32\[0\]"),
        (layers.group_norm(3, dimensions=0), (4,), r"channels that are divisible into 3 groups, got float32\[4\]"),
        (layers.group_norm(2, dimensions=2), (3, 4), r"that end in 2 spatial axes and channels, .* float32\[3,4\]"),
        (layers.instance_norm(dimensions=2), (3, 4), r"that end in 2 spatial axes and channels, .* float32\[3,4\]"),
    ],
)
def test_examples_that_do_not_fit_are_refused_early(layer: Layer, input_shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        layer.init(jax.random.key(0), input_shape)


def test_bad_inputs_are_refused() -> None:
    layer = layers.layer_norm()
    params, state = layer.init(jax.random.key(0), (4,))
    with pytest.raises(ValueError, match=r"layer_norm: expected inputs that end in \(4,\), got float32\[2,1\]"):
        layer.apply(params, state, jnp.ones((2, 1)))
    with pytest.raises(TypeError, match=r"layer_norm: expected floating-point inputs, got int32\[4\]"):
        inspect.unwrap(layer.apply)(params, state, jnp.ones(4, jnp.int32))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("layer", layers.layer_norm()),
        ("rms", layers.rms_norm()),
        ("group", layers.group_norm(2, dimensions=2)),
        ("instance", layers.instance_norm(dimensions=2)),
        ("batch", layers.batch_norm()),
        ("none", layers.serial()),
        (None, layers.serial()),
    ],
)
def test_normalization_by_name(name: str | None, expected: Layer) -> None:
    layer = layers.normalization(name, dimensions=2, groups=2)
    params, state = layer.init(jax.random.key(0), (3, 5, 4))
    chex.assert_trees_all_equal((params, state), expected.init(jax.random.key(0), (3, 5, 4)))
    chex.assert_trees_all_equal(layer.apply(params, state, X, train=True), expected.apply(params, state, X, train=True))


def test_every_listed_normalization_exists() -> None:
    assert all(isinstance(layers.normalization(name, dimensions=1), Layer) for name in layers.NORMALIZATIONS)


def test_a_layer_is_its_own_normalization_and_unknown_names_are_refused() -> None:
    layer = layers.batch_norm(momentum=0.9)
    assert layers.normalization(layer) is layer
    with pytest.raises(ValueError, match="unknown normalization 'bach'; did you mean 'batch'"):
        layers.normalization("bach")
    with pytest.raises(ValueError, match="unknown normalization 'zzz'; known: none, batch, layer"):
        layers.normalization("zzz")


@pytest.mark.parametrize("scale", [1.0, 1e20, 3e38])
def test_constants_that_the_compiler_folds(scale: float) -> None:
    x = jnp.float32(scale) * jnp.array([1.0, -0.5, 0.25])
    found = jax.jit(lambda: layers.rms_norm(use_scale=False).apply({}, {}, x)[0])()
    expected = np.array([1.0, -0.5, 0.25]) / np.sqrt(np.mean(np.square([1.0, -0.5, 0.25])))
    np.testing.assert_allclose(found, expected, rtol=1e-5)
