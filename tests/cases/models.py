"""Conformance rows of the models."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from dlkit import models
from tests.cases.base import Case, Input, initialized, layer, with_side

AUTOENCODER = models.autoencoder((2, 3), latent=2, hidden=(4,))
DENSE_GAN = models.dense_gan((2,), latent=3, hidden=(4,))
CONVOLUTIONAL_GAN = models.convolutional_gan((4, 4, 1), latent=3, features=(2,), normalization=None)


def vae(*, train: bool) -> Callable[[str], Callable[..., jax.Array]]:
    model = models.vae((2, 3), latent=2, hidden=(4,))
    initial = initialized(model, (2, 3))

    def make(dtype: str) -> Callable[..., jax.Array]:
        params, state = initial(dtype)
        return lambda x: model.apply(params, state, x, key=jax.random.key(1), train=train)[0].reconstruction

    return make


VQ_VAE = models.vq_vae((4, 4, 2), entries=5, latent=3, features=(4,))
CODEBOOK = np.linspace(-1.0, 1.0, 12, dtype=np.float32).reshape(4, 3)


def of_vq_vae(variables: Any, x: jax.Array) -> jax.Array:
    return VQ_VAE.apply(*variables, x)[0].reconstruction


def vq_vae(dtype: str) -> Callable[[jax.Array], jax.Array]:
    variables = initialized(VQ_VAE, (4, 4, 2))(dtype)
    return lambda x: of_vq_vae(variables, x)


def diffuse(dtype: str) -> Callable[..., jax.Array]:
    schedule = models.noise_schedule(5)
    return lambda x, time, noise: models.diffuse(x, time, noise, schedule.astype(dtype))


CASES = (
    layer("models.resnet18", models.resnet18(outputs=3, features=2, stem="cifar"), (8, 8, 2), limit=1e15),
    layer("models.resnet50", models.resnet50(outputs=3, features=1), (8, 8, 2), limit=1e15),
    layer("models.vit", models.vit(outputs=3, patch_size=2, features=4, heads=2, depth=1), (4, 6, 2), limit=1e15),
    with_side(
        "models.u_net", models.u_net(features=(2, 4), outputs=3, time_features=4), Input((4, 4, 2)), time=Input(())
    ),
    Case(
        "models.vq_vae",
        vq_vae,
        (Input((4, 4, 2)),),
        1e15,
        init=lambda: VQ_VAE.init(jax.random.key(0), (4, 4, 2)),
        apply=of_vq_vae,
    ),
    Case(
        "models.quantize",
        lambda dtype: lambda x: models.quantize(x, jax.numpy.asarray(CODEBOOK, dtype)).vectors,
        (Input((3,)),),
        1e15,
        init=lambda: jax.numpy.asarray(CODEBOOK),
        apply=lambda codebook, x: models.quantize(x, codebook).vectors,
    ),
    Case(
        "models.diffuse",
        diffuse,
        (Input((3,)), Input((), 5), Input((3,))),
        1e30,
        init=lambda: models.noise_schedule(5),
        apply=lambda schedule, x, time, noise: models.diffuse(x, time, noise, schedule),
    ),
    layer("models.mlp", models.mlp((6, 5, 3)), (2, 2)),
    layer("models.mlp-train", models.mlp((6, 3), dropout=0.5), (4,), train=True),
    layer("models.cnn", models.cnn(((2,),), outputs=3, hidden=(4,)), (4, 4, 2), limit=1e18),
    layer("models.resnet", models.resnet((1, 1), outputs=3, features=2), (4, 4, 1), limit=1e18),
    layer("models.recurrent_classifier", models.recurrent_classifier("gru", outputs=3, features=4), (3, 2), limit=1e18),
    layer(
        "models.recurrent_language_model",
        models.recurrent_language_model("lstm", vocabulary=5, features=4),
        (3,),
        classes=5,
    ),
    layer(
        "models.transformer_classifier",
        models.transformer_classifier(outputs=3, features=4, heads=2, depth=1),
        (3, 2),
        limit=1e15,
    ),
    layer(
        "models.transformer_language_model",
        models.transformer_language_model(vocabulary=5, features=4, heads=2, depth=1),
        (3,),
        classes=5,
    ),
    with_side(
        "models.transformer_encoder_decoder",
        models.transformer_encoder_decoder(vocabulary=5, features=4, heads=2, depth=1),
        Input((3,), 5),
        source=Input((4, 2)),
    ),
    layer("models.autoencoder", AUTOENCODER.layer, (2, 3), limit=1e18),
    Case("models.vae", vae(train=False), (Input((2, 3)),), 1e18),
    Case("models.vae-train", vae(train=True), (Input((2, 3)),), 10.0, batched=False),
    layer("models.dense_gan-generator", DENSE_GAN.generator, (3,), limit=1e18),
    layer("models.dense_gan-discriminator", DENSE_GAN.discriminator, (2,), limit=1e18),
    layer("models.convolutional_gan-generator", CONVOLUTIONAL_GAN.generator, (3,), limit=1e18),
    layer("models.convolutional_gan-discriminator", CONVOLUTIONAL_GAN.discriminator, (4, 4, 1), limit=1e18),
)
