"""Weight normalization against torch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlkit import layers


def test_starts_from_the_layers_values() -> None:
    chain = layers.serial(layers.conv(4, (3, 3)), layers.flatten(3), layers.dense(3))
    params, state = layers.weight_norm(chain).init(jax.random.key(0), (4, 4, 2))
    plain, _ = chain.init(jax.random.key(0), (4, 4, 2))
    jax.tree.map(np.testing.assert_array_equal, params["layer"], plain)
    assert {name: scale.shape for name, scale in params["scale"].items()} == {
        "['layer_0']['kernel']": (4,),
        "['layer_2']['kernel']": (3,),
    }
    x = jax.random.normal(jax.random.key(1), (2, 4, 4, 2))
    expected, found = chain.apply(plain, {}, x)[0], layers.weight_norm(chain).apply(params, state, x)[0]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_values_and_gradients_equal_torch() -> None:
    torch = pytest.importorskip("torch", reason="torch is a development-only second opinion")
    rng = np.random.default_rng(0)
    kernel, scale, bias = rng.normal(size=(4, 3)), rng.normal(size=3), rng.normal(size=3)
    x = rng.normal(size=(5, 4))
    linear = torch.nn.utils.parametrizations.weight_norm(torch.nn.Linear(4, 3), dim=0).double()
    length, direction = linear.parametrizations.weight.original0, linear.parametrizations.weight.original1
    with torch.no_grad():
        length.copy_(torch.tensor(scale[:, None]))
        direction.copy_(torch.tensor(kernel.T))
        linear.bias.copy_(torch.tensor(bias))
    expected = linear(torch.tensor(x))
    torch.cos(expected).sum().backward()
    with jax.enable_x64(True):
        layer = layers.weight_norm(layers.dense(3))
        inner = {"kernel": jnp.asarray(kernel), "bias": jnp.asarray(bias)}
        params = {"layer": inner, "scale": {"['kernel']": jnp.asarray(scale)}}

        def loss(params):
            y, _ = layer.apply(params, {}, jnp.asarray(x))
            return jnp.cos(y).sum(), y

        gradients, found = jax.grad(loss, has_aux=True)(params)
    np.testing.assert_allclose(found, expected.detach().numpy(), rtol=1e-12)
    np.testing.assert_allclose(gradients["layer"]["kernel"], direction.grad.numpy().T, rtol=1e-9)
    np.testing.assert_allclose(gradients["scale"]["['kernel']"], length.grad.numpy()[:, 0], rtol=1e-9)


def test_a_kernel_of_zeros_stays_zero_with_a_finite_gradient() -> None:
    layer = layers.weight_norm(layers.dense(2, kernel_init=jax.nn.initializers.zeros))
    params, state = layer.init(jax.random.key(0), (3,))
    gradients = jax.grad(lambda params: layer.apply(params, state, jnp.ones(3))[0].sum())(params)
    np.testing.assert_array_equal(layer.apply(params, state, jnp.ones(3))[0], 0.0)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))


def test_lengths_reach_the_layer() -> None:
    layer = layers.weight_norm(layers.lstm(2))
    params, state = layer.init(jax.random.key(0), (4, 3))
    x = jax.random.normal(jax.random.key(1), (2, 4, 3))
    y, _ = layer.apply(params, state, x, lengths=jnp.array([4, 1]))
    assert (y != 0).any(axis=-1).sum(axis=-1).tolist() == [4, 1]
