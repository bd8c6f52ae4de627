"""Autoencoders: what flows where."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlkit import losses, models
from tests.compiled import compiled

X = jnp.asarray(np.random.default_rng(0).normal(size=(6, 4, 3)), jnp.float32)


@pytest.mark.long
def test_an_autoencoder_is_its_decoder_after_its_encoder() -> None:
    model = models.autoencoder((4, 3), latent=2, hidden=(7,), normalization="batch")
    params, state = compiled(model.layer).init(jax.random.key(0), (4, 3))
    codes, _ = model.encoder.apply(params["encoder"], state["encoder"], X)
    restored, _ = model.decoder.apply(params["decoder"], state["decoder"], codes)
    assert codes.shape == (6, 2) and restored.shape == X.shape
    np.testing.assert_array_equal(model.layer.apply(params, state, X)[0], restored)
    assert params["decoder"]["mlp"]["hidden_0"]["dense"]["kernel"].shape == (2, 7)


def test_a_linear_autoencoder_reaches_the_error_of_principal_components() -> None:
    """With squared error the best code of two numbers is the plane of the two first principal components."""
    data = np.random.default_rng(1).normal(size=(40, 5)) * np.array([3.0, 2.0, 1.0, 0.5, 0.2])
    data = jnp.asarray(data - data.mean(0), jnp.float32)
    best = float((np.linalg.svd(np.asarray(data, np.float64))[1][2:] ** 2).sum())
    model = models.autoencoder((5,), latent=2, hidden=())
    params, state = compiled(model.layer).init(jax.random.key(0), (5,))

    @jax.jit
    def step(params, _):
        def loss(params):
            return losses.squared_error(model.layer.apply(params, state, data)[0], data).sum()

        value, gradient = jax.value_and_grad(loss)(params)
        return jax.tree.map(lambda w, g: w - 3e-4 * g, params, gradient), value

    _, values = jax.lax.scan(step, params, length=4_000)
    assert best * 0.999 < float(values[-1]) < best * 1.01


@pytest.mark.long
def test_a_vae_draws_while_training_and_takes_the_mean_otherwise() -> None:
    model = models.vae((4, 3), latent=2, hidden=(7,))
    params, state = compiled(model).init(jax.random.key(0), (4, 3))
    outputs, _ = model.apply(params, state, X)
    restored, _ = model.decoder.apply(params["decoder"], {}, outputs.mean)
    np.testing.assert_array_equal(outputs.reconstruction, restored)
    moments, _ = model.encoder.apply(params["encoder"], {}, X)
    np.testing.assert_array_equal(jnp.concatenate([outputs.mean, outputs.log_variance], -1), moments)

    first, second, again = (
        model.apply(params, state, X, key=jax.random.key(seed), train=True)[0].reconstruction for seed in (1, 2, 1)
    )
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(first, again)


@pytest.mark.long
def test_a_vaes_codes_have_the_mean_and_variance_that_it_says() -> None:
    """With an identity decoder (one linear layer), over many draws."""
    model = models.vae((2,), latent=2, hidden=())
    params, state = model.init(jax.random.key(0), (2,))
    params["decoder"]["mlp"]["output"]["dense"] = {"kernel": jnp.eye(2), "bias": jnp.zeros(2)}
    x = jnp.ones((20_000, 2))
    outputs, _ = model.apply(params, state, x, key=jax.random.key(1), train=True)
    deviation = np.exp(np.asarray(outputs.log_variance[0]) / 2)
    np.testing.assert_allclose(outputs.reconstruction.mean(0), outputs.mean[0], atol=4 * deviation.max() / 20_000**0.5)
    np.testing.assert_allclose(outputs.reconstruction.std(0), deviation, rtol=0.03)


@pytest.mark.long
def test_gradients_of_the_evidence_bound_reach_every_parameter() -> None:
    model = compiled(models.vae((4, 3), latent=2, hidden=(7,), activation="tanh"))
    params, state = model.init(jax.random.key(0), (4, 3))

    def bound(params):
        outputs, _ = model.apply(params, state, X, key=jax.random.key(1), train=True)
        divergence = losses.kl_divergence_normal(outputs.mean, outputs.log_variance)
        return (losses.squared_error(outputs.reconstruction, X).sum((-2, -1)) + divergence).mean()

    assert all(np.any(np.asarray(leaf) != 0) for leaf in jax.tree.leaves(jax.jit(jax.grad(bound))(params)))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: models.autoencoder((4,), latent=0), "autoencoder: expected latent to be an integer of at least 1"),
        (lambda: models.vae((4,), latent=2, hidden=(0,)), r"vae: expected hidden\[0\] to be an integer of at least 1"),
        (
            lambda: models.autoencoder((4,), latent=2).layer.init(jax.random.key(0), (5,)),
            r"autoencoder: expected examples of shape \(4,\), got \(5,\)",
        ),
    ],
)
def test_refuses(make, message) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_a_vae_needs_a_key_while_training() -> None:
    model = models.vae((4, 3), latent=2)
    params, state = compiled(model).init(jax.random.key(0), (4, 3))
    with pytest.raises(ValueError, match="vae: expected a key while training, got None"):
        model.apply(params, state, X, train=True)
