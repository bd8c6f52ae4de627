"""Autoencoders of digits: a plain one and a variational one."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from dlkit import losses, models
from dlkit.bench import data
from dlkit.bench.data import Dataset
from dlkit.bench.plan.metric import Metric
from dlkit.bench.problems.base import Batch, Problem
from dlkit.bench.problems.fitting import functions_of, reestimation
from dlkit.bench.problems.sections import penalized
from dlkit.layers import Layer
from dlkit.typing import Array, Key, Params, Scalar, State

__all__ = ["digits_autoencoder", "digits_vae"]


def digits_autoencoder(
    *,
    activation: str = "relu",
    norm: str = "none",
    dropout: Scalar = 0.0,
    l1: Scalar = 0.0,
    l2: Scalar = 0.0,
    width: int = 64,
    depth: int = 2,
    latent: int = 8,
) -> Problem:
    """Makes the reconstruction of 8x8 digits from a code of a few numbers, by least squares.

    Metric: ``mean_squared_error`` of a pixel, pixels being in [0, 1].

    Margin: 2 times below the mean image.

    Args:
        activation: of the hidden layers.
        norm: normalization of the hidden layers.
        dropout: rate of the hidden layers; may be traced.
        l1: strength of the penalty sum |w|; may be traced.
        l2: strength of the penalty sum w^2; may be traced.
        width: of the hidden layers.
        depth: hidden layers of each half.
        latent: numbers of the code.

    Returns:
        The problem.

    Reference:
        Hinton and Salakhutdinov, "Reducing the dimensionality of data with neural networks", 2006.
    """
    dataset = data.digits()
    model = models.autoencoder(
        (64,), latent=latent, hidden=(width,) * depth, activation=activation, normalization=norm, dropout=dropout
    )

    def error(reconstruction: Array, batch: Batch) -> Array:
        return losses.squared_error(reconstruction, batch["inputs"])

    functions = functions_of(model.layer, dataset, error, {"mean_squared_error": error}, batch_size=64, l1=l1, l2=l2)
    inputs, held_out = dataset.train["inputs"], dataset.validation["inputs"]
    return Problem(
        name="digits-autoencoder",
        init=functions.init,
        loss=functions.loss,
        example_scores=functions.example_scores,
        reestimate=functions.reestimate,
        dataset=dataset,
        metrics={"mean_squared_error": Metric("lower", "log", label="mean squared error")},
        batch_size=64,
        steps=800,
        target=0.02,
        description=f"autoencoder 64-{width}-{latent}-{width}-64 on digits, {depth} hidden layers a half, batch 64",
        stresses="a bottleneck: slow progress after a fast start",
        trivial=float(np.square(held_out - inputs.mean(axis=0)).mean()),
        margin=2.0,
    )


def digits_vae(
    *,
    activation: str = "relu",
    norm: str = "none",
    dropout: Scalar = 0.0,
    kl_weight: Scalar = 1.0,
    l1: Scalar = 0.0,
    l2: Scalar = 0.0,
    width: int = 64,
    depth: int = 1,
    latent: int = 8,
) -> Problem:
    """Makes the variational autoencoder of 8x8 digits, judged by the negative evidence lower bound.

    Metric: ``negative_elbo`` in nats per image: the binary cross-entropy of the pixels, summed, with one draw of each
    code (the same draws at every evaluation), plus the divergence of the code from N(0, I). ``reconstruction`` is the
    first part alone: as large as the whole where the code is ignored.

    Margin: 1.5 nats below independent pixels with the mean image's probabilities.

    Args:
        activation: of the hidden layers.
        norm: normalization of the hidden layers.
        dropout: rate of the hidden layers; may be traced.
        kl_weight: of the divergence in the training loss; the metric always has 1; may be traced.
        l1: strength of the penalty sum |w|; may be traced.
        l2: strength of the penalty sum w^2; may be traced.
        width: of the hidden layers.
        depth: hidden layers of each half.
        latent: numbers of the code.

    Returns:
        The problem.

    Reference:
        Kingma and Welling, "Auto-encoding variational Bayes", 2013, https://arxiv.org/abs/1312.6114.
    """
    dataset = data.digits()
    model = models.vae(
        (64,), latent=latent, hidden=(width,) * depth, activation=activation, normalization=norm, dropout=dropout
    )

    def parts(images: Array, reconstruction: Array, mean: Array, log_variance: Array) -> tuple[Array, Array]:
        cross_entropy = losses.binary_cross_entropy(reconstruction, images).sum(axis=-1).mean()
        return cross_entropy, losses.kl_divergence_normal(mean, log_variance).mean()

    def loss(params: Params, state: State, batch: Batch, key: Key) -> tuple[Array, State]:
        outputs, state = model.apply(params, state, batch["inputs"], key=key, train=True)
        cross_entropy, divergence = parts(batch["inputs"], *outputs)
        return penalized(cross_entropy + kl_weight * divergence, params, l1=l1, l2=l2), state

    def evaluate(params: Params, state: State, batch: Batch) -> Mapping[str, Array]:
        images = batch["inputs"]
        moments, _ = model.encoder.apply(params["encoder"], state.get("encoder", {}), images)
        mean, log_variance = jnp.split(moments, 2, axis=-1)
        noise = jax.random.normal(jax.random.key(0), mean.shape, mean.dtype)
        code = mean + jnp.exp(log_variance / 2) * noise
        reconstruction, _ = model.decoder.apply(params["decoder"], state.get("decoder", {}), code)
        cross_entropy, divergence = parts(images, reconstruction, mean, log_variance)
        return {"negative_elbo": cross_entropy + divergence, "reconstruction": cross_entropy}

    def reconstruct(
        params: Params, state: State, x: Array, *, key: Key | None = None, train: bool = False
    ) -> tuple[Array, State]:
        outputs, state = model.apply(params, state, x, key=key, train=train)
        return outputs.reconstruction, state

    return Problem(
        name="digits-vae",
        init=lambda key: model.init(key, (64,)),
        loss=loss,
        evaluate=evaluate,
        reestimate=reestimation(Layer(model.init, reconstruct), dataset, 64),
        dataset=dataset,
        metrics={"negative_elbo": Metric("lower", label="negative ELBO"), "reconstruction": Metric("lower")},
        batch_size=64,
        steps=1000,
        target=24.6,
        description=f"variational autoencoder 64-{width}-{latent}-{width}-64 on digits, batch 64",
        stresses="noisy gradients; the code collapses where steps are too large",
        trivial=_independent_pixels(dataset),
        margin=1.5,
    )


def _independent_pixels(dataset: Dataset) -> float:
    """Cross-entropy in nats per image of validation under independent pixels with the mean image's probabilities."""
    shares = np.clip(dataset.train["inputs"].mean(axis=0, dtype=np.float64), 1e-4, 1 - 1e-4)
    pixels = dataset.validation["inputs"]
    return float(-(pixels * np.log(shares) + (1 - pixels) * np.log1p(-shares)).sum(axis=-1).mean())
