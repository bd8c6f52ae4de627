"""flax linen: modules as its documentation writes them, trained by the jitted and donated step of `functional`."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from benchmarks.peers.functional import Network, step_loop
from benchmarks.peers.tasks import LATENT, SHOWN, Task
from benchmarks.peers.timing import Loop
from dlkit.bench.problems.sample_quality import energy_distance


class MLP(nn.Module):
    """Dense layers with relu between them."""

    features: tuple[int, ...]

    @nn.compact
    def __call__(self, x):
        """Maps the last axis."""
        for width in self.features[:-1]:
            x = nn.relu(nn.Dense(width)(x))
        return nn.Dense(self.features[-1])(x)


class CNN(nn.Module):
    """Two convolutions, a pool, a hidden layer."""

    @nn.compact
    def __call__(self, x):
        """Returns logits."""
        x = x.reshape(-1, 8, 8, 1)
        x = nn.relu(nn.Conv(16, (3, 3))(x))
        x = nn.relu(nn.Conv(32, (3, 3))(x))
        x = nn.max_pool(x, (2, 2), strides=(2, 2)).reshape(x.shape[0], -1)
        return nn.Dense(10)(nn.relu(nn.Dense(64)(x)))


class Recurrent(nn.Module):
    """A recurrent layer, its last output, a dense layer."""

    cell: Callable[..., nn.Module]

    @nn.compact
    def __call__(self, x):
        """Returns logits."""
        return nn.Dense(10)(nn.RNN(self.cell(64))(x)[:, -1])


class Transformer(nn.Module):
    """Two pre-normalized blocks of four heads on sixteen patches of four pixels."""

    @nn.compact
    def __call__(self, x):
        """Returns logits."""
        x = x.reshape(-1, 4, 2, 4, 2).swapaxes(2, 3).reshape(-1, 16, 4)
        x = nn.Dense(32)(x)
        x = x + self.param("positions", nn.initializers.normal(0.02), (16, 32))
        for _ in range(2):
            x = x + nn.MultiHeadDotProductAttention(4)(nn.LayerNorm()(x))
            x = x + nn.Dense(32)(nn.gelu(nn.Dense(128)(nn.LayerNorm()(x)), approximate=False))
        return nn.Dense(10)(nn.LayerNorm()(x).mean(axis=1))


class ResNet(nn.Module):
    """A stem and two basic blocks, of 8 and 16 channels."""

    @nn.compact
    def __call__(self, x, train: bool = False):
        """Returns logits."""

        def conv(x, channels, size=3, stride=1):
            x = nn.Conv(channels, (size, size), strides=(stride, stride), use_bias=False)(x)
            return nn.BatchNorm(use_running_average=not train)(x)

        x = nn.relu(conv(x.reshape(-1, 8, 8, 1), 8))
        x = nn.relu(x + conv(nn.relu(conv(x, 8)), 8))
        x = nn.relu(conv(x, 16, 1, 2) + conv(nn.relu(conv(x, 16, stride=2)), 16))
        return nn.Dense(10)(x.mean(axis=(1, 2)))


class VAE(nn.Module):
    """A code of eight numbers, one hidden layer each way."""

    @nn.compact
    def __call__(self, x, key):
        """Returns logits of the pixels, mean and log-variance of the code."""
        mean, log_variance = jnp.split(MLP((64, 16))(x), 2, axis=-1)
        code = mean + jnp.exp(log_variance / 2) * jax.random.normal(key, mean.shape)
        return MLP((64, 64))(code), mean, log_variance


def classifier(model: nn.Module, shape: tuple[int, ...], *, batch_norm: bool = False) -> Network:
    """Cross-entropy of logits."""

    def loss(params, state, batch, key):
        if batch_norm:
            variables = {"params": params, "batch_stats": state}
            logits, changed = model.apply(variables, batch["inputs"], train=True, mutable=["batch_stats"])
            state = changed["batch_stats"]
        else:
            logits = model.apply({"params": params}, batch["inputs"])
        return optax.softmax_cross_entropy_with_integer_labels(logits, batch["targets"]).mean(), state

    def evaluate(params, state, batch):
        logits = model.apply({"params": params, "batch_stats": state}, batch["inputs"])
        return optax.softmax_cross_entropy_with_integer_labels(logits, batch["targets"]).mean()

    def init(key):
        variables = model.init(key, jnp.zeros((1, *shape)))
        return variables["params"], variables.get("batch_stats", {})

    return Network(init, {"": loss}, evaluate)


def vae() -> Network:
    """The negative evidence lower bound."""
    model = VAE()

    def negative_elbo(params, images, key):
        logits, mean, log_variance = model.apply({"params": params}, images, key)
        pixels = optax.sigmoid_binary_cross_entropy(logits, images).sum(axis=-1)
        divergence = 0.5 * (jnp.exp(log_variance) + mean**2 - 1 - log_variance).sum(axis=-1)
        return (pixels + divergence).mean()

    return Network(
        lambda key: (model.init(key, jnp.zeros((1, 64)), key)["params"], {}),
        {"": lambda params, state, batch, key: (negative_elbo(params, batch["inputs"], key), state)},
        lambda params, state, batch: negative_elbo(params, batch["inputs"], jax.random.key(0)),
    )


def gan() -> Network:
    """A non-saturating game with a penalty of the discriminator's gradient at real images."""
    generator, critic = MLP((128, 128, 64)), MLP((128, 128, 1))

    def generate(params, key, count):
        return nn.sigmoid(generator.apply({"params": params}, jax.random.normal(key, (count, LATENT))))

    def score(params, images):
        return critic.apply({"params": params}, images)[..., 0]

    def discriminate(params, state, batch, key):
        real, own = batch["inputs"], params["discriminator"]
        fake = generate(params["generator"], key, len(real))
        scores = score(own, jnp.concatenate([real, fake]))
        game = nn.softplus(-scores[: len(real)]).mean() + nn.softplus(scores[len(real) :]).mean()
        slope = jax.grad(lambda images: score(own, images).sum())(real)
        return game + 0.5 * (slope**2).sum(axis=-1).mean(), state

    def fool(params, state, batch, key):
        fake = generate(params["generator"], key, len(batch["inputs"]))
        return nn.softplus(-score(params["discriminator"], fake)).mean(), state

    def init(key):
        shapes = {"discriminator": (critic, 64), "generator": (generator, LATENT)}
        return {name: net.init(key, jnp.zeros((1, size)))["params"] for name, (net, size) in shapes.items()}, {}

    def evaluate(params, state, batch):
        return energy_distance(generate(params["generator"], jax.random.key(7), SHOWN), batch["inputs"])

    return Network(init, {"discriminator": discriminate, "generator": fool}, evaluate)


NETWORKS: Mapping[str, Callable[[], Network]] = {
    "MLP": lambda: classifier(MLP((64, 64, 10)), (64,)),
    "CNN": lambda: classifier(CNN(), (64,)),
    "LSTM": lambda: classifier(Recurrent(nn.OptimizedLSTMCell), (8, 8)),
    "GRU": lambda: classifier(Recurrent(nn.GRUCell), (8, 8)),
    "transformer": lambda: classifier(Transformer(), (64,)),
    "resnet": lambda: classifier(ResNet(), (64,), batch_norm=True),
    "VAE": vae,
    "GAN": gan,
}


def loop(task: Task) -> Loop:
    """The strongest step loop: see `functional.step_loop`."""
    network: Any = NETWORKS[task.name]()
    return step_loop(task, network)
