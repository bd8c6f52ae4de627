"""Conformance rows of the models."""

from collections.abc import Callable

import jax

from dlkit import models
from tests.cases.base import Case, Input, initialized, layer

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


CASES = (
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
    layer("models.autoencoder", AUTOENCODER.layer, (2, 3), limit=1e18),
    Case("models.vae", vae(train=False), (Input((2, 3)),), 1e18),
    Case("models.vae-train", vae(train=True), (Input((2, 3)),), 10.0, batched=False),
    layer("models.dense_gan-generator", DENSE_GAN.generator, (3,), limit=1e18),
    layer("models.dense_gan-discriminator", DENSE_GAN.discriminator, (2,), limit=1e18),
    layer("models.convolutional_gan-generator", CONVOLUTIONAL_GAN.generator, (3,), limit=1e18),
    layer("models.convolutional_gan-discriminator", CONVOLUTIONAL_GAN.discriminator, (4, 4, 1), limit=1e18),
)
