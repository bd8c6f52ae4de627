"""Conformance rows of the models."""

from collections.abc import Callable

import jax

from dlkit import models
from tests.cases.base import Case, Input, layer

AUTOENCODER = models.autoencoder((2, 3), latent=2, hidden=(4,))


def vae(*, train: bool) -> Callable[[str], Callable[..., jax.Array]]:
    model = models.vae((2, 3), latent=2, hidden=(4,))

    def make(dtype: str) -> Callable[..., jax.Array]:
        params, state = model.init(jax.random.key(0), (2, 3))
        params = jax.tree.map(lambda leaf: leaf.astype(dtype), params)
        return lambda x: model.apply(params, state, x, key=jax.random.key(1), train=train)[0].reconstruction

    return make


CASES = (
    layer("models.mlp", models.mlp((6, 5, 3)), (2, 2)),
    layer("models.mlp-train", models.mlp((6, 3), dropout=0.5), (4,), train=True),
    layer("models.autoencoder", AUTOENCODER.layer, (2, 3), limit=1e18),
    Case("models.vae", vae(train=False), (Input((2, 3)),), 1e18),
    Case("models.vae-train", vae(train=True), (Input((2, 3)),), 10.0, batched=False),
)
