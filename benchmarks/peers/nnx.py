"""flax nnx: the loop of its tutorials under `nnx.jit`, and the one that its guide to performance advises."""

import itertools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from benchmarks.peers.functional import adam, count
from benchmarks.peers.tasks import BATCH, LATENT, SHOWN, Task
from benchmarks.peers.timing import Loop
from dlkit.bench.problems.sample_quality import energy_distance


class MLP(nnx.Module):
    """Dense layers with relu between them."""

    def __init__(self, *sizes: int, rngs: nnx.Rngs):
        pairs = itertools.pairwise(sizes)
        self.layers = nnx.List([nnx.Linear(inputs, outputs, rngs=rngs) for inputs, outputs in pairs])

    def __call__(self, x):
        """Maps the last axis."""
        for layer in self.layers[:-1]:
            x = nnx.relu(layer(x))
        return self.layers[-1](x)


class CNN(nnx.Module):
    """Two convolutions, a pool, a hidden layer."""

    def __init__(self, rngs: nnx.Rngs):
        self.first = nnx.Conv(1, 16, (3, 3), rngs=rngs)
        self.second = nnx.Conv(16, 32, (3, 3), rngs=rngs)
        self.head = MLP(512, 64, 10, rngs=rngs)

    def __call__(self, x):
        """Returns logits."""
        x = nnx.relu(self.second(nnx.relu(self.first(x.reshape(-1, 8, 8, 1)))))
        return self.head(nnx.max_pool(x, (2, 2), strides=(2, 2)).reshape(x.shape[0], -1))


class Recurrent(nnx.Module):
    """A recurrent layer, its last output, a dense layer."""

    def __init__(self, cell: Any, rngs: nnx.Rngs):
        self.recurrent = nnx.RNN(cell(8, 64, rngs=rngs))
        self.output = nnx.Linear(64, 10, rngs=rngs)

    def __call__(self, x):
        """Returns logits."""
        return self.output(self.recurrent(x)[:, -1])


class Transformer(nnx.Module):
    """Two pre-normalized blocks of four heads on sixteen patches of four pixels."""

    def __init__(self, rngs: nnx.Rngs):
        self.projection = nnx.Linear(4, 32, rngs=rngs)
        self.positions = nnx.Param(0.02 * jax.random.normal(rngs.params(), (16, 32)))
        self.norms = nnx.List([nnx.LayerNorm(32, rngs=rngs) for _ in range(5)])
        self.attentions = nnx.List([nnx.MultiHeadAttention(4, 32, decode=False, rngs=rngs) for _ in range(2)])
        self.hidden = nnx.List([nnx.Linear(32, 128, rngs=rngs) for _ in range(2)])
        self.outputs = nnx.List([nnx.Linear(128, 32, rngs=rngs) for _ in range(2)])
        self.output = nnx.Linear(32, 10, rngs=rngs)

    def __call__(self, x):
        """Returns logits."""
        x = x.reshape(-1, 4, 2, 4, 2).swapaxes(2, 3).reshape(-1, 16, 4)
        x = self.projection(x) + self.positions[...]
        for block in range(2):
            x = x + self.attentions[block](self.norms[2 * block](x))
            hidden = nnx.gelu(self.hidden[block](self.norms[2 * block + 1](x)), approximate=False)
            x = x + self.outputs[block](hidden)
        return self.output(self.norms[4](x).mean(axis=1))


class Normalized(nnx.Module):
    """A convolution without bias, and batch normalization."""

    def __init__(self, inputs: int, outputs: int, size: int, stride: int, rngs: nnx.Rngs):
        self.conv = nnx.Conv(inputs, outputs, (size, size), strides=stride, use_bias=False, rngs=rngs)
        self.norm = nnx.BatchNorm(outputs, rngs=rngs)

    def __call__(self, x):
        """Keeps the batch axis."""
        return self.norm(self.conv(x))


class ResNet(nnx.Module):
    """A stem and two basic blocks, of 8 and 16 channels."""

    def __init__(self, rngs: nnx.Rngs):
        sizes = [(1, 8, 3, 1), (8, 8, 3, 1), (8, 8, 3, 1), (8, 16, 3, 2), (16, 16, 3, 1), (8, 16, 1, 2)]
        self.parts = nnx.List([Normalized(*size, rngs=rngs) for size in sizes])
        self.output = nnx.Linear(16, 10, rngs=rngs)

    def __call__(self, x):
        """Returns logits."""
        stem, first, second, third, fourth, shortcut = self.parts
        x = nnx.relu(stem(x.reshape(-1, 8, 8, 1)))
        x = nnx.relu(x + second(nnx.relu(first(x))))
        x = nnx.relu(shortcut(x) + fourth(nnx.relu(third(x))))
        return self.output(x.mean(axis=(1, 2)))


class Halves(nnx.Module):
    """The encoder and the decoder of a code of eight numbers."""

    def __init__(self, rngs: nnx.Rngs):
        self.encoder, self.decoder = MLP(64, 64, 16, rngs=rngs), MLP(8, 64, 64, rngs=rngs)


Parts = tuple[Callable[[nnx.Rngs], dict[str, Any]], Mapping[str, Callable[..., Any]], Callable[..., Any]]


def classifier(make: Callable[[nnx.Rngs], nnx.Module]) -> Parts:
    """Cross-entropy of logits: how models are made, losses ``(own, others, batch, key)``, and the metric."""

    def loss(own, others, batch, key):
        logits = own(batch["inputs"])
        return optax.softmax_cross_entropy_with_integer_labels(logits, batch["targets"]).mean()

    def evaluate(models, batch):
        return loss(models["model"], {}, batch, None)

    return (lambda rngs: {"model": make(rngs)}), {"model": loss}, evaluate


def vae() -> Parts:
    """The negative evidence lower bound."""

    def negative_elbo(own, others, batch, key):
        images = batch["inputs"]
        mean, log_variance = jnp.split(own.encoder(images), 2, axis=-1)
        logits = own.decoder(mean + jnp.exp(log_variance / 2) * jax.random.normal(key, mean.shape))
        pixels = optax.sigmoid_binary_cross_entropy(logits, images).sum(axis=-1)
        divergence = 0.5 * (jnp.exp(log_variance) + mean**2 - 1 - log_variance).sum(axis=-1)
        return (pixels + divergence).mean()

    def evaluate(models, batch):
        return negative_elbo(models["model"], {}, batch, jax.random.key(0))

    return (lambda rngs: {"model": Halves(rngs)}), {"model": negative_elbo}, evaluate


def gan() -> Parts:
    """A non-saturating game with a penalty of the discriminator's gradient at real images."""

    def generate(model, key, many):
        return nnx.sigmoid(model(jax.random.normal(key, (many, LATENT))))

    def discriminate(own, others, batch, key):
        real, fake = batch["inputs"], generate(others["generator"], key, BATCH)
        scores = own(jnp.concatenate([real, fake]))[..., 0]
        game = nnx.softplus(-scores[:BATCH]).mean() + nnx.softplus(scores[BATCH:]).mean()
        slope = jax.grad(lambda images: own(images).sum())(real)
        return game + 0.5 * (slope**2).sum(axis=-1).mean()

    def fool(own, others, batch, key):
        return nnx.softplus(-others["discriminator"](generate(own, key, BATCH))[..., 0]).mean()

    def make(rngs):
        return {"discriminator": MLP(64, 128, 128, 1, rngs=rngs), "generator": MLP(LATENT, 128, 128, 64, rngs=rngs)}

    def evaluate(models, batch):
        return energy_distance(generate(models["generator"], jax.random.key(7), SHOWN), batch["inputs"])

    return make, {"discriminator": discriminate, "generator": fool}, evaluate


NETWORKS: Mapping[str, Callable[[], Parts]] = {
    "MLP": lambda: classifier(lambda rngs: MLP(64, 64, 64, 10, rngs=rngs)),
    "CNN": lambda: classifier(CNN),
    "LSTM": lambda: classifier(lambda rngs: Recurrent(nnx.OptimizedLSTMCell, rngs)),
    "GRU": lambda: classifier(lambda rngs: Recurrent(nnx.GRUCell, rngs)),
    "transformer": lambda: classifier(Transformer),
    "resnet": lambda: classifier(ResNet),
    "VAE": vae,
    "GAN": gan,
}


def begun(task: Task) -> tuple[dict[str, Any], dict[str, Any]]:
    """The models, and an optimizer for each."""
    models = NETWORKS[task.name]()[0](nnx.Rngs(0))
    return models, {name: nnx.Optimizer(model, adam(), wrt=nnx.Param) for name, model in models.items()}


def move(losses: Mapping[str, Any], models: Any, optimizers: Any, train: Any, index: Any, key: Any) -> None:
    """Every player moves once; modules change in place."""
    for place, (player, loss) in enumerate(losses.items()):
        batch = {name: array[index[place * BATCH : (place + 1) * BATCH]] for name, array in train.items()}
        others = {name: model for name, model in models.items() if name != player}
        gradient = nnx.grad(loss)(models[player], others, batch, key)
        optimizers[player].update(models[player], gradient)


def parameters(task: Task) -> int:
    """How many numbers are trained."""
    return sum(count(nnx.state(model, nnx.Param)) for model in begun(task)[0].values())


def loop(task: Task) -> Loop:
    """Modules and optimizers are arguments of `nnx.jit`, which takes them apart and puts them together at each call."""
    _, losses, metric = NETWORKS[task.name]()
    train, test, order = jax.device_put((dict(task.train), dict(task.test), task.order().reshape(task.steps, -1)))
    key = jax.random.key(1)

    @nnx.jit
    def step(models, optimizers, train, order, number, key):
        move(losses, models, optimizers, train, order[number], jax.random.fold_in(key, number))

    evaluate = nnx.jit(metric)

    def run() -> float:
        models, optimizers = begun(task)
        reached = 0.0
        for evaluation in range(task.evaluations):
            for model in models.values():
                model.train()
            for number in range(evaluation * task.interval, (evaluation + 1) * task.interval):
                step(models, optimizers, train, order, number, key)
            for model in models.values():
                model.eval()
            reached = float(evaluate(models, test))
        return reached

    return Loop(run, parameters(task))


def functional_loop(task: Task) -> Loop:
    """Modules are taken apart once; `jax.jit` gets their arrays, donated, and the step puts them together inside."""
    _, losses, metric = NETWORKS[task.name]()
    train, test, order = jax.device_put((dict(task.train), dict(task.test), task.order().reshape(task.steps, -1)))
    key = jax.random.key(1)
    definition, _ = nnx.split(begun(task))

    @jax.jit
    def first():
        return nnx.state(begun(task)), jnp.int32(0)

    def step(carry, train, order, key):
        arrays, number = carry
        models, optimizers = nnx.merge(definition, arrays)
        move(losses, models, optimizers, train, order[number], jax.random.fold_in(key, number))
        return nnx.state((models, optimizers)), number + 1

    @jax.jit
    def evaluate(arrays, test):
        models, _ = nnx.merge(definition, arrays)
        for model in models.values():
            model.eval()
        return metric(models, test)

    jitted = jax.jit(step, donate_argnums=0)

    def run() -> float:
        carry = first()
        reached = 0.0
        for _ in range(task.evaluations):
            for _ in range(task.interval):
                carry = jitted(carry, train, order, key)
            reached = float(evaluate(carry[0], test))
        return reached

    return Loop(run, parameters(task))
