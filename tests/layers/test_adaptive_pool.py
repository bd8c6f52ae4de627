"""Adaptive pools against torch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlkit import layers

X = np.random.default_rng(0).normal(size=(2, 5, 7, 3)).astype(np.float32)


@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (5, 7), (3, 9)])
@pytest.mark.parametrize(
    ("pool", "name"),
    [(layers.adaptive_average_pool, "adaptive_avg_pool2d"), (layers.adaptive_max_pool, "adaptive_max_pool2d")],
)
def test_values_and_gradients_equal_torch(pool, name: str, shape: tuple[int, int]) -> None:
    torch = pytest.importorskip("torch", reason="torch is a development-only second opinion")
    theirs = torch.tensor(X.transpose(0, 3, 1, 2), requires_grad=True)
    expected = getattr(torch.nn.functional, name)(theirs, shape)
    torch.cos(expected).sum().backward()

    def loss(x: jax.Array) -> tuple[jax.Array, jax.Array]:
        y, _ = pool(shape).apply({}, {}, x)
        return jnp.cos(y).sum(), y

    gradient, found = jax.jit(jax.grad(loss, has_aux=True))(jnp.asarray(X))
    np.testing.assert_allclose(found, expected.detach().numpy().transpose(0, 2, 3, 1), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(gradient, theirs.grad.numpy().transpose(0, 2, 3, 1), rtol=1e-4, atol=1e-6)


def test_the_whole_is_the_global_pool_and_other_batches_fit() -> None:
    x = jnp.asarray(X)
    np.testing.assert_allclose(
        layers.adaptive_average_pool((1, 1)).apply({}, {}, x)[0][:, 0, 0],
        layers.global_average_pool(2).apply({}, {}, x)[0],
        rtol=1e-5,
        atol=1e-6,
    )
    one = layers.adaptive_max_pool((2, 2)).apply({}, {}, x[0])[0]
    np.testing.assert_array_equal(one, layers.adaptive_max_pool((2, 2)).apply({}, {}, x)[0][0])


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^adaptive_max_pool: expected shape\[0\] to be an integer of at least 1"):
        layers.adaptive_max_pool((0,))
    with pytest.raises(ValueError, match=r"^adaptive_average_pool: expected inputs with 2 spatial axes and channels"):
        layers.adaptive_average_pool((2, 2)).apply({}, {}, jnp.ones((2, 4)))
    with pytest.raises(ValueError, match=r"^adaptive_average_pool: expected a size per spatial axis"):
        layers.adaptive_average_pool(())
