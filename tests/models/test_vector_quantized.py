"""Vector quantization: the nearest entry, straight through, and what draws both to each other."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlkit import models

RNG = np.random.default_rng(0)
X = jnp.asarray(RNG.normal(size=(4, 5, 3)), jnp.float32)
BOOK = jnp.asarray(RNG.normal(size=(7, 3)), jnp.float32)


def test_each_vector_becomes_the_nearest_entry() -> None:
    found = models.quantize(X, BOOK)
    distances = np.linalg.norm(np.asarray(X)[..., None, :] - np.asarray(BOOK), axis=-1)
    np.testing.assert_array_equal(found.codes, distances.argmin(-1))
    np.testing.assert_allclose(found.vectors, np.asarray(BOOK)[distances.argmin(-1)], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.penalty, 1.25 * distances.min(-1) ** 2, rtol=1e-4)


def test_gradients_go_straight_through_and_the_penalty_draws_both() -> None:
    weights = jnp.asarray(RNG.normal(size=X.shape), jnp.float32)
    through = jax.grad(lambda x, book: (weights * models.quantize(x, book).vectors).sum(), (0, 1))(X, BOOK)
    np.testing.assert_allclose(through[0], weights, rtol=1e-6)
    np.testing.assert_array_equal(through[1], 0)
    x, book = jax.grad(lambda x, book: models.quantize(x, book, commitment=0.5).penalty.sum(), (0, 1))(X, BOOK)
    codes = np.asarray(models.quantize(X, BOOK).codes)
    apart = np.asarray(X) - np.asarray(BOOK)[codes]
    np.testing.assert_allclose(x, 0.5 * 2 * apart, rtol=1e-4, atol=1e-5)
    expected = np.zeros(BOOK.shape)
    np.add.at(expected, codes.reshape(-1), -2 * apart.reshape(-1, 3))
    np.testing.assert_allclose(book, expected, rtol=1e-4, atol=1e-5)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match=r"a codebook \[entries, features\]"):
        models.quantize(X, BOOK[:, :2])
    with pytest.raises(ValueError, match="the first two divisible by 4"):
        models.vq_vae((6, 8, 1), features=(4, 4))


@pytest.mark.long
def test_an_autoencoder_learns_codes_that_tell_images_apart() -> None:
    """Two images in noise: the reconstruction ends near them, from more than one entry."""
    import optax

    model = models.vq_vae((4, 4, 1), entries=8, latent=2, features=(8,))
    params, state = jax.jit(lambda: model.init(jax.random.key(0), (4, 4, 1)))()
    images = jnp.stack([jnp.tile(jnp.array([1.0, -1.0]), (4, 2)), jnp.tile(jnp.array([[1.0], [-1.0]]), (2, 4))])
    optimizer = optax.adam(1e-2)

    def step(carry, key):
        params, inner = carry
        which = jax.random.randint(key, (32,), 0, 2)
        x = images[which][..., None] + 0.1 * jax.random.normal(key, (32, 4, 4, 1))

        def loss(params):
            out, _ = model.apply(params, state, x)
            return (jnp.square(out.reconstruction - x).mean((1, 2, 3)) + out.penalty).mean()

        value, gradient = jax.value_and_grad(loss)(params)
        updates, inner = optimizer.update(gradient, inner, params)
        return (optax.apply_updates(params, updates), inner), value

    keys = jax.random.split(jax.random.key(1), 400)
    train = jax.jit(lambda params: jax.lax.scan(step, (params, optimizer.init(params)), keys))
    (params, _), _ = train(params)
    out, _ = model.apply(params, state, images[..., None])
    assert jnp.square(out.reconstruction[..., 0] - images).mean() < 0.1
    assert (out.codes[0] != out.codes[1]).any()
