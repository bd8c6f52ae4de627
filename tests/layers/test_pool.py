"""Pools against flax, NumPy and hand-computed values; the gradient's convention at ties."""

import inspect
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen

from dlkit import layers

RNG = np.random.default_rng(0)
CASES = {
    "1d": ((7,), (2,), {}),
    "1d_overlapping": ((7,), (3,), {"strides": 1, "padding": "SAME"}),
    "2d": ((4, 6), (2, 3), {}),
    "2d_with_a_rest": ((5, 7), (2, 2), {}),
    "2d_overlapping": ((7, 6), (3, 2), {"strides": (2, 1)}),
    "2d_gaps": ((7, 6), (2, 2), {"strides": 3}),
    "2d_same": ((5, 6), (3, 3), {"strides": 2, "padding": "SAME"}),
    "2d_tiles_with_padding": ((5, 6), (2, 2), {"padding": "SAME"}),
    "2d_pairs": ((5, 6), (3, 2), {"strides": 2, "padding": ((1, 2), (0, 1))}),
    "3d": ((4, 2, 5), (2, 2, 2), {}),
}


def flax_pool(pool: Any, window: tuple[int, ...], settings: dict[str, Any], **more: Any) -> Any:
    strides = settings.get("strides", window)
    strides = (strides,) * len(window) if isinstance(strides, int) else strides
    return lambda x: pool(x, window, strides=strides, padding=settings.get("padding", "VALID"), **more)


def results(function: Any, x: jax.Array) -> Any:
    """Outputs, gradient, and the gradient of a function of the gradient."""

    def loss(x):
        return jnp.sum(jnp.sin(function(x)))

    return jax.jit(lambda x: (function(x), jax.grad(loss)(x), jax.grad(lambda x: jnp.sum(jax.grad(loss)(x) ** 2))(x)))(
        x
    )


@pytest.mark.long
@pytest.mark.parametrize("kind", ["max", "average"])
@pytest.mark.parametrize("name", CASES)
def test_equals_flax_in_values_and_gradients(name: str, kind: str) -> None:
    spatial, window, settings = CASES[name]
    x = jnp.asarray(RNG.normal(size=(2, *spatial, 3)), jnp.float32)
    if kind == "max":
        layer, reference = layers.max_pool(window, **settings), flax_pool(linen.max_pool, window, settings)
    else:
        layer = layers.average_pool(window, **settings)
        reference = flax_pool(linen.avg_pool, window, settings, count_include_pad=False)
    actual = results(lambda x: layer.apply({}, {}, x)[0], x)
    chex.assert_trees_all_close(actual, results(reference, x), rtol=1e-5, atol=1e-6)


@pytest.mark.long
@pytest.mark.parametrize("settings", [{}, {"strides": 1}], ids=["tiles", "overlapping"])
def test_the_gradient_at_ties_goes_to_the_first_as_in_flax(settings: dict[str, Any]) -> None:
    x = jnp.asarray(RNG.integers(0, 2, (3, 6, 6, 2)), jnp.float32)
    layer = layers.max_pool((2, 2), **settings)
    actual = jax.grad(lambda x: jnp.sum(layer.apply({}, {}, x)[0]))(x)
    reference = flax_pool(linen.max_pool, (2, 2), settings)
    np.testing.assert_array_equal(actual, jax.grad(lambda x: jnp.sum(reference(x)))(x))


@pytest.mark.long
def test_by_hand() -> None:
    x = jnp.array([[1.0], [3.0], [3.0], [-2.0], [5.0]])
    y, state = layers.max_pool((2,)).apply({}, {}, x)
    assert (y[:, 0].tolist(), state) == ([3.0, 3.0], {})
    # Padding neither wins against negative values nor counts in a mean.
    assert layers.max_pool((2,), padding=((1, 0),)).apply({}, {}, -x)[0][:, 0].tolist() == [-1.0, -3.0, 2.0]
    assert layers.average_pool((2,), padding=((1, 0),)).apply({}, {}, x)[0][:, 0].tolist() == [1.0, 3.0, 1.5]
    gradient = jax.grad(lambda x: jnp.sum(layers.max_pool((2,), strides=1).apply({}, {}, x)[0]))(x)
    assert gradient[:, 0].tolist() == [0.0, 2.0, 1.0, 0.0, 1.0]


@pytest.mark.parametrize("strides", [None, 1])
def test_max_pool_shows_nan(strides: int | None) -> None:
    x = jnp.array([[1.0], [jnp.nan], [3.0], [4.0]])
    y, _ = layers.max_pool((2,), strides=strides).apply({}, {}, x)
    assert np.isnan(y[0, 0]) and y[-1, 0] == 4.0


@pytest.mark.parametrize("dimensions", [1, 2, 3])
@pytest.mark.parametrize("batch", [(), (2, 3)])
def test_global_pools_reduce_all_positions(dimensions: int, batch: tuple[int, ...]) -> None:
    x = RNG.normal(size=(*batch, *(3, 4, 2)[:dimensions], 5)).astype(np.float32)
    axes = tuple(range(len(batch), len(batch) + dimensions))
    mean, _ = layers.global_average_pool(dimensions).apply({}, {}, jnp.asarray(x))
    np.testing.assert_allclose(mean, x.mean(axes), rtol=1e-5, atol=1e-6)
    largest, _ = layers.global_max_pool(dimensions).apply({}, {}, jnp.asarray(x))
    np.testing.assert_array_equal(largest, x.max(axes))


def test_gradients_of_global_pools() -> None:
    x = jnp.array([[1.0, 5.0], [3.0, 5.0], [2.0, 0.0]])
    mean, largest = (
        jax.grad(lambda x, layer=layer: layer.apply({}, {}, x)[0] @ jnp.array([6.0, 12.0]))(x)
        for layer in (layers.global_average_pool(1), layers.global_max_pool(1))
    )
    np.testing.assert_allclose(mean, [[2.0, 4.0]] * 3, rtol=1e-6)
    np.testing.assert_array_equal(largest, [[0.0, 6.0], [6.0, 6.0], [0.0, 0.0]])  # equal ones share


@pytest.mark.parametrize(
    "layer",
    [
        layers.average_pool((3,)),
        layers.average_pool((3,), strides=1, padding="SAME"),
        layers.global_average_pool(1),
    ],
)
def test_a_mean_is_finite_where_the_sum_is_not(layer: layers.Layer) -> None:
    y, _ = layer.apply({}, {}, jnp.full((6, 1), 3e38))
    np.testing.assert_allclose(y, np.full(y.shape, 3e38), rtol=1e-6)


@pytest.mark.parametrize("strides", [None, 1])
def test_a_mean_of_bfloat16_is_summed_in_float32(strides: int | None) -> None:
    x = jnp.array([256.0, 1.0, 1.0, 1.0, 1.0], jnp.bfloat16)[:, None]  # in bfloat16, 256 + 1 is 256
    y, _ = layers.average_pool((5,), strides=strides).apply({}, {}, x)
    assert y.dtype == jnp.bfloat16 and float(y[0, 0]) == 52.0


@pytest.mark.parametrize("make", [layers.max_pool, layers.average_pool])
def test_what_does_not_fit_is_refused(make: Any) -> None:
    name = make.__name__
    for arguments, settings, message in (
        (((),), {}, "expected window to hold 1, 2 or 3 integers"),
        (((2, 0),), {}, r"expected window\[1\] to be an integer of at least 1, got 0"),
        (((2,),), {"strides": -2}, "expected strides to be an integer of at least 1, got -2"),
        (((2,),), {"padding": "FULL"}, "expected padding to be 'SAME', 'VALID' or 1 pairs"),
        (((2,),), {"padding": ((2, 0),)}, "expected padding smaller than the window"),
    ):
        with pytest.raises(ValueError, match=f"{name}: {message}"):
            inspect.unwrap(make)(*arguments, **settings)
    layer = make((3, 3))
    for x, error, message in (
        (jnp.ones((1, 2, 4, 1)), ValueError, r"expected spatial axes that, padded, hold a window of \(3, 3\), got"),
        (jnp.ones((4, 4)), ValueError, r"expected inputs \[\*batch, \*spatial, channels\] with 2 spatial axes"),
        (jnp.ones((1, 4, 4, 1), jnp.int32), TypeError, "expected floating-point inputs, got int32"),
    ):
        with pytest.raises(error, match=f"{name}: {message}"):
            layer.apply({}, {}, x)


@pytest.mark.parametrize("make", [layers.global_max_pool, layers.global_average_pool])
def test_global_pools_refuse_what_does_not_fit(make: Any) -> None:
    name = make.__name__
    with pytest.raises(ValueError, match=f"{name}: expected dimensions to be an integer of at least 1, got 0"):
        make(0)
    with pytest.raises(ValueError, match=f"{name}: expected inputs .* with 2 spatial axes, none empty, got float32"):
        make(2).apply({}, {}, jnp.ones((2, 0, 4, 1)))
    with pytest.raises(TypeError, match=f"{name}: expected floating-point inputs, got int32"):
        make(1).apply({}, {}, jnp.ones((2, 3, 1), jnp.int32))
