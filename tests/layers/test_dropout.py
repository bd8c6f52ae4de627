"""Dropout: what it keeps, what it scales, what it refuses."""

import inspect
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlkit import layers, regularizers

KEY = jax.random.key(3)


def drop(rate: float | jax.Array, x: jax.Array, *, key: jax.Array | None = KEY, train: bool = True) -> jax.Array:
    return layers.dropout(rate).apply({}, {}, x, key=key, train=train)[0]


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_the_rate_is_the_probability_of_dropping_and_the_mean_is_kept(rate: float) -> None:
    n = 20_000
    y = drop(rate, jnp.full(n, 3.0))
    # Five standard errors of a binomial share.
    assert float((y == 0).mean()) == pytest.approx(rate, abs=5 * math.sqrt(rate * (1 - rate) / n))
    np.testing.assert_allclose(y[y != 0], 3.0 / (1.0 - rate), rtol=1e-6)


def test_the_gradient_is_the_mask() -> None:
    x = jnp.linspace(1.0, 2.0, 50)
    gradient = jax.grad(lambda x: drop(0.5, x).sum())(x)
    np.testing.assert_array_equal(gradient, jnp.where(drop(0.5, x) == 0, 0.0, 2.0))


def test_elements_are_dropped_independently() -> None:
    kept = drop(0.5, jnp.ones((100, 100))) != 0
    assert len(np.unique(np.asarray(kept), axis=0)) == 100 and len(np.unique(np.asarray(kept), axis=1).T) == 100


@pytest.mark.parametrize(("rate", "train"), [(0.5, False), (0.0, True), (0, True)])
def test_the_identity_needs_no_key(rate: float, train: bool) -> None:
    x = jnp.arange(5.0)
    assert drop(rate, x, key=None, train=train) is x


def test_a_key_is_required_while_training() -> None:
    with pytest.raises(ValueError, match="expected a key while training, got None"):
        drop(0.5, jnp.ones(3), key=None)


@pytest.mark.parametrize("train", [False, True])
def test_integers_are_refused_while_training_and_otherwise(train: bool) -> None:
    for name, layer in {"dropout": layers.dropout(0.5), "gaussian_noise": layers.gaussian_noise(0.5)}.items():
        with pytest.raises(TypeError, match=rf"{name}: expected floating-point inputs, got int32\[3\]; cast them"):
            inspect.unwrap(layer.apply)({}, {}, jnp.ones(3, jnp.int32), key=KEY, train=train)


@pytest.mark.parametrize("rate", [-0.1, 1.0, 1, 2.0, math.nan])
def test_a_rate_outside_its_range_is_refused(rate: float) -> None:
    with pytest.raises(ValueError, match=r"rate, the probability of dropping, in \[0, 1\), got"):
        layers.dropout(rate)


@pytest.mark.parametrize("rate", [0.0, 0.25])
def test_a_traced_rate_gives_the_same_values_and_compiles_once(rate: float) -> None:
    traces = []

    @jax.jit
    def traced(rate: jax.Array, x: jax.Array) -> jax.Array:
        traces.append(rate)
        return drop(rate, x)

    x = jnp.linspace(1.0, 2.0, 100)
    traced(jnp.float32(0.7), x)
    np.testing.assert_allclose(traced(jnp.float32(rate), x), drop(rate, x), rtol=1e-6)
    assert len(traces) == 1
    assert drop(jnp.float32(rate), x.astype(jnp.bfloat16)).dtype == jnp.bfloat16


def test_float64_is_scaled_in_float64() -> None:
    with jax.enable_x64(True):
        y = regularizers.dropout(jnp.ones(20, jnp.float64), key=KEY, rate=0.3)
    assert sorted({float(each) for each in y}) == pytest.approx([0.0, 1.0 / 0.7], rel=1e-15)


def test_layers_of_a_chain_drop_different_elements() -> None:
    chain = layers.serial(layers.dropout(0.5), layers.dropout(0.5))
    y, _ = chain.apply({}, {}, jnp.ones(1000), key=KEY, train=True)
    # Kept by both: a quarter, scaled by 4. With one mask for both it would be a half.
    assert float((y == 4.0).mean()) == pytest.approx(0.25, abs=0.07)


def test_another_key_drops_other_elements() -> None:
    x = jnp.ones(100)
    assert (drop(0.5, x) != drop(0.5, x, key=jax.random.key(4))).any()


def test_the_mask_is_that_of_the_regularizer_and_of_bernoulli() -> None:
    x = jnp.linspace(1.0, 2.0, 30).reshape(5, 6)
    np.testing.assert_array_equal(drop(0.3, x), regularizers.dropout(x, key=KEY, rate=0.3))
    keep = jax.random.bernoulli(KEY, jnp.float32(0.7), x.shape)
    np.testing.assert_allclose(drop(0.3, x), np.where(keep, np.asarray(x) / 0.7, 0.0), rtol=1e-6)


@pytest.mark.parametrize("batch", [(), (3,), (3, 2)])
def test_spatial_dropout_drops_whole_channels_of_an_example(batch: tuple[int, ...]) -> None:
    layer = layers.dropout(0.5, shared_axes=(-3, -2))
    y, _ = layer.apply({}, {}, jnp.ones((*batch, 4, 5, 40)), key=KEY, train=True)
    kept = np.asarray(y[..., 0, 0, :])
    np.testing.assert_array_equal(y, np.broadcast_to(kept[..., None, None, :], y.shape))
    assert set(kept.ravel().tolist()) == {0.0, 2.0}
    assert len(np.unique(kept.reshape(-1, 40), axis=0)) == math.prod(batch)  # every example its own mask


def test_shared_axes_are_counted_from_the_end() -> None:
    with pytest.raises(ValueError, match=r"expected shared_axes counted from the end, .* got \(1,\)"):
        layers.dropout(0.5, shared_axes=(1,))
    with pytest.raises(ValueError, match="dropout: expected shared_axes of x, got axis -3"):
        layers.dropout(0.5, shared_axes=(-3,)).apply({}, {}, jnp.ones((2, 3)), key=KEY, train=True)


def test_gaussian_noise_has_its_deviation_while_training_only() -> None:
    layer = layers.gaussian_noise(0.5)
    assert layer.init(jax.random.key(0), (3,)) == ({}, {})
    n = 20_000
    x = jnp.linspace(-1.0, 1.0, n)
    y, _ = layer.apply({}, {}, x, key=KEY, train=True)
    # Five standard errors of the mean and of the deviation of n normal numbers.
    assert float((y - x).mean()) == pytest.approx(0.0, abs=5 * 0.5 / math.sqrt(n))
    assert float((y - x).std()) == pytest.approx(0.5, abs=5 * 0.5 / math.sqrt(2 * n))
    assert layer.apply({}, {}, x)[0] is x
    assert layers.gaussian_noise(0).apply({}, {}, x, train=True)[0] is x
    with pytest.raises(ValueError, match="gaussian_noise: expected a key while training, got None"):
        layer.apply({}, {}, x, train=True)
    with pytest.raises(ValueError, match="gaussian_noise: expected deviation at least 0, got -1"):
        layers.gaussian_noise(-1.0)


def test_the_deviation_may_be_traced() -> None:
    x = jnp.ones(5)
    traced = jax.jit(lambda deviation: layers.gaussian_noise(deviation).apply({}, {}, x, key=KEY, train=True)[0])
    expected, _ = layers.gaussian_noise(0.25).apply({}, {}, x, key=KEY, train=True)
    np.testing.assert_allclose(traced(0.25), expected, rtol=1e-6)
