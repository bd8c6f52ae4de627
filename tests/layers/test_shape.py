"""Layers that change the shape of the examples."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlkit import layers


@pytest.mark.parametrize("batch", [(), (2,), (2, 1)])
@pytest.mark.parametrize("example", [(3,), (3, 4), (1, 4, 2)])
def test_flatten_is_row_major_and_keeps_the_batch_axes(batch: tuple[int, ...], example: tuple[int, ...]) -> None:
    x = np.arange(np.prod(batch + example), dtype=np.float32).reshape(batch + example)
    y, state = layers.flatten(len(example)).apply({}, {}, jnp.asarray(x))
    np.testing.assert_array_equal(y, x.reshape(*batch, -1))
    assert state == {}


def test_flatten_in_a_chain() -> None:
    chain = layers.serial(layers.flatten(2), layers.dense(2))
    params, _ = chain.init(jax.random.key(0), (3, 4))
    assert params["layer_1"]["kernel"].shape == (12, 2)
    # An empty batch has a size that -1 could not find.
    assert layers.flatten(2).apply({}, {}, jnp.zeros((0, 3, 4)))[0].shape == (0, 12)


@pytest.mark.parametrize("batch", [(), (2,), (2, 1)])
@pytest.mark.parametrize(
    ("before", "after"), [((6,), (2, 3)), ((2, 3), (3, 2)), ((1,), ()), ((), (1, 1)), ((6,), (6,))]
)
def test_reshape(batch: tuple[int, ...], before: tuple[int, ...], after: tuple[int, ...]) -> None:
    x = np.arange(np.prod(batch + before), dtype=np.float32).reshape(batch + before)
    y, _ = layers.reshape(before, after).apply({}, {}, jnp.asarray(x))
    np.testing.assert_array_equal(y, x.reshape(batch + after))


def test_reshape_undoes_flatten() -> None:
    chain = layers.serial(layers.flatten(2), layers.reshape((12,), (3, 4)))
    assert chain.init(jax.random.key(0), (3, 4)) == ({}, {})
    x = jnp.arange(24.0).reshape(2, 3, 4)
    np.testing.assert_array_equal(chain.apply({}, {}, x)[0], x)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="flatten: expected axes to be an integer of at least 1, got 0"):
        layers.flatten(0)
    with pytest.raises(ValueError, match=r"flatten: expected inputs with 3 axes to merge, got float32\[2,3\]"):
        layers.flatten(3).apply({}, {}, jnp.zeros((2, 3)))
    for after in ((4,), (-1, -6), (-6,)):
        with pytest.raises(ValueError, match=r"reshape: expected two shapes of as many values, got \(6,\) and"):
            layers.reshape((6,), after)
    for shape in ((2, 4), (3, 2), ()):
        with pytest.raises(ValueError, match=r"reshape: expected inputs that end in \(2, 3\), got float32"):
            layers.reshape((2, 3), (6,)).apply({}, {}, jnp.zeros(shape))
