"""equinox: modules of one example under `jax.vmap`, trained by one filter-jitted call a step, its carry donated."""

from collections.abc import Callable, Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax

from benchmarks.peers.functional import adam, count
from benchmarks.peers.tasks import BATCH, LATENT, SHOWN, Task
from benchmarks.peers.timing import Loop
from dlkit.bench.problems.sample_quality import energy_distance

Losses = Mapping[str, Callable[..., Any]]  # player -> loss(models, state, batch, key) -> (loss, state)


class CNN(eqx.Module):
    """Two convolutions, a pool, a hidden layer."""

    convolutions: list[eqx.nn.Conv2d]
    pool: eqx.nn.MaxPool2d
    head: eqx.nn.MLP

    def __init__(self, key):
        first, second, head = jax.random.split(key, 3)
        self.convolutions = [
            eqx.nn.Conv2d(1, 16, 3, padding=1, key=first),
            eqx.nn.Conv2d(16, 32, 3, padding=1, key=second),
        ]
        self.pool = eqx.nn.MaxPool2d(2, 2)
        self.head = eqx.nn.MLP(512, 10, 64, 1, key=head)

    def __call__(self, x):
        """Returns logits."""
        x = x.reshape(1, 8, 8)
        for convolution in self.convolutions:
            x = jax.nn.relu(convolution(x))
        return self.head(self.pool(x).reshape(-1))


class Recurrent(eqx.Module):
    """A cell that is scanned over the rows, its last output, a dense layer."""

    cell: eqx.Module
    output: eqx.nn.Linear
    is_lstm: bool = eqx.field(static=True)

    def __init__(self, key, cell):
        key_cell, key_output = jax.random.split(key)
        self.cell = cell(8, 64, key=key_cell)
        self.output = eqx.nn.Linear(64, 10, key=key_output)
        self.is_lstm = cell is eqx.nn.LSTMCell

    def __call__(self, x):
        """Returns logits."""
        start = (jnp.zeros(64), jnp.zeros(64)) if self.is_lstm else jnp.zeros(64)
        last, _ = jax.lax.scan(lambda carry, row: (self.cell(row, carry), None), start, x)
        return self.output(last[0] if self.is_lstm else last)


class Block(eqx.Module):
    """A pre-normalized block of four heads."""

    norms: list[eqx.nn.LayerNorm]
    attention: eqx.nn.MultiheadAttention
    hidden: eqx.nn.Linear
    output: eqx.nn.Linear

    def __init__(self, key):
        keys = jax.random.split(key, 3)
        biases = {f"use_{part}_bias": True for part in ("query", "key", "value", "output")}
        self.norms = [eqx.nn.LayerNorm(32) for _ in range(2)]
        self.attention = eqx.nn.MultiheadAttention(4, 32, **biases, key=keys[0])
        self.hidden = eqx.nn.Linear(32, 128, key=keys[1])
        self.output = eqx.nn.Linear(128, 32, key=keys[2])

    def __call__(self, x):
        """Keeps the shape."""
        y = jax.vmap(self.norms[0])(x)
        x = x + self.attention(y, y, y)
        hidden = jax.nn.gelu(jax.vmap(self.hidden)(jax.vmap(self.norms[1])(x)), approximate=False)
        return x + jax.vmap(self.output)(hidden)


class Transformer(eqx.Module):
    """Two blocks on sixteen patches of four pixels."""

    projection: eqx.nn.Linear
    positions: jax.Array
    blocks: list[Block]
    norm: eqx.nn.LayerNorm
    output: eqx.nn.Linear

    def __init__(self, key):
        keys = jax.random.split(key, 5)
        self.projection = eqx.nn.Linear(4, 32, key=keys[0])
        self.positions = 0.02 * jax.random.normal(keys[1], (16, 32))
        self.blocks = [Block(each) for each in keys[2:4]]
        self.norm = eqx.nn.LayerNorm(32)
        self.output = eqx.nn.Linear(32, 10, key=keys[4])

    def __call__(self, x):
        """Returns logits."""
        x = x.reshape(4, 2, 4, 2).swapaxes(1, 2).reshape(16, 4)
        x = jax.vmap(self.projection)(x) + self.positions
        for block in self.blocks:
            x = block(x)
        return self.output(jax.vmap(self.norm)(x).mean(axis=0))


class Normalized(eqx.Module):
    """A convolution without bias, and batch normalization."""

    convolution: eqx.nn.Conv2d
    norm: eqx.nn.BatchNorm

    def __init__(self, inputs, outputs, size, stride, key):
        self.convolution = eqx.nn.Conv2d(inputs, outputs, size, stride, "SAME", use_bias=False, key=key)
        self.norm = eqx.nn.BatchNorm(outputs, "batch", momentum=0.99, mode="batch")

    def __call__(self, x, state):
        """Returns what it makes of x, and the next state."""
        return self.norm(self.convolution(x), state)


class ResNet(eqx.Module):
    """A stem and two basic blocks, of 8 and 16 channels."""

    parts: list[Normalized]
    output: eqx.nn.Linear

    def __init__(self, key):
        keys = jax.random.split(key, 7)
        sizes = [(1, 8, 3, 1), (8, 8, 3, 1), (8, 8, 3, 1), (8, 16, 3, 2), (16, 16, 3, 1), (8, 16, 1, 2)]
        self.parts = [Normalized(*size, each) for size, each in zip(sizes, keys[:6], strict=True)]
        self.output = eqx.nn.Linear(16, 10, key=keys[6])

    def __call__(self, x, state):
        """Returns logits and the next state."""
        stem, first, second, third, fourth, shortcut = self.parts
        x, state = stem(x.reshape(1, 8, 8), state)
        x = jax.nn.relu(x)
        y, state = first(x, state)
        y, state = second(jax.nn.relu(y), state)
        x = jax.nn.relu(x + y)
        y, state = third(x, state)
        y, state = fourth(jax.nn.relu(y), state)
        x, state = shortcut(x, state)
        return self.output(jax.nn.relu(x + y).mean(axis=(1, 2))), state


def cross_entropy(logits: Any, batch: Any) -> Any:
    """The mean over the batch."""
    return optax.softmax_cross_entropy_with_integer_labels(logits, batch["targets"]).mean()


def classifier(make: Callable[[Any], eqx.Module]) -> tuple[Any, Losses, Any]:
    """Models, losses and the metric of a network of one example."""

    def loss(models, state, batch, key):
        return cross_entropy(jax.vmap(models[""])(batch["inputs"]), batch), state

    return {"": make}, {"": loss}, lambda models, state, batch: loss(models, state, batch, None)[0]


def resnet() -> tuple[Any, Losses, Any]:
    """The network with a state."""

    def apply(model, state, batch):
        return jax.vmap(model, axis_name="batch", in_axes=(0, None), out_axes=(0, None))(batch["inputs"], state)

    def loss(models, state, batch, key):
        logits, state = apply(models[""], state, batch)
        return cross_entropy(logits, batch), state

    def evaluate(models, state, batch):
        return cross_entropy(apply(eqx.nn.inference_mode(models[""]), state, batch)[0], batch)

    return {"": ResNet}, {"": loss}, evaluate


def vae() -> tuple[Any, Losses, Any]:
    """The negative evidence lower bound."""

    def make(key):
        keys = jax.random.split(key)
        return [eqx.nn.MLP(*sizes, 64, 1, key=each) for sizes, each in zip(((64, 16), (8, 64)), keys, strict=True)]

    def negative_elbo(models, state, batch, key):
        encoder, decoder = models[""]
        images = batch["inputs"]
        mean, log_variance = jnp.split(jax.vmap(encoder)(images), 2, axis=-1)
        code = mean + jnp.exp(log_variance / 2) * jax.random.normal(key, mean.shape)
        pixels = optax.sigmoid_binary_cross_entropy(jax.vmap(decoder)(code), images).sum(axis=-1)
        divergence = 0.5 * (jnp.exp(log_variance) + mean**2 - 1 - log_variance).sum(axis=-1)
        return (pixels + divergence).mean(), state

    return {"": make}, {"": negative_elbo}, lambda *arguments: negative_elbo(*arguments, jax.random.key(0))[0]


def gan() -> tuple[Any, Losses, Any]:
    """A non-saturating game with a penalty of the discriminator's gradient at real images."""

    def generate(model, key, many):
        return jax.nn.sigmoid(jax.vmap(model)(jax.random.normal(key, (many, LATENT))))

    def discriminate(models, state, batch, key):
        critic, real = models["discriminator"], batch["inputs"]
        fake = generate(models["generator"], key, len(real))
        scores = jax.vmap(critic)(jnp.concatenate([real, fake]))
        game = jax.nn.softplus(-scores[: len(real)]).mean() + jax.nn.softplus(scores[len(real) :]).mean()
        slope = jax.vmap(jax.grad(critic))(real)
        return game + 0.5 * (slope**2).sum(axis=-1).mean(), state

    def fool(models, state, batch, key):
        fake = generate(models["generator"], key, BATCH)
        return jax.nn.softplus(-jax.vmap(models["discriminator"])(fake)).mean(), state

    def evaluate(models, state, batch):
        return energy_distance(generate(models["generator"], jax.random.key(7), SHOWN), batch["inputs"])

    makers = {
        "discriminator": lambda key: eqx.nn.MLP(64, "scalar", 128, 2, key=key),
        "generator": lambda key: eqx.nn.MLP(LATENT, 64, 128, 2, key=key),
    }
    return makers, {"discriminator": discriminate, "generator": fool}, evaluate


NETWORKS: Mapping[str, Callable[[], tuple[Any, Losses, Any]]] = {
    "MLP": lambda: classifier(lambda key: eqx.nn.MLP(64, 10, 64, 2, key=key)),
    "CNN": lambda: classifier(CNN),
    "LSTM": lambda: classifier(lambda key: Recurrent(key, eqx.nn.LSTMCell)),
    "GRU": lambda: classifier(lambda key: Recurrent(key, eqx.nn.GRUCell)),
    "transformer": lambda: classifier(Transformer),
    "resnet": resnet,
    "VAE": vae,
    "GAN": gan,
}


def loop(task: Task) -> Loop:
    """Data and order on the device, batches taken inside, values fetched at evaluations alone."""
    makers, losses, metric = NETWORKS[task.name]()
    train, test, order = jax.device_put((dict(task.train), dict(task.test), task.order().reshape(task.steps, -1)))
    fixed = (train, order, jax.random.key(1))
    optimizer = adam()

    def made(key):
        return {name: make(each) for (name, make), each in zip(makers.items(), jax.random.split(key, 2), strict=False)}

    @eqx.filter_jit
    def first(key):
        models, state = eqx.nn.make_with_state(made)(key)
        opt_states = {name: optimizer.init(eqx.filter(model, eqx.is_inexact_array)) for name, model in models.items()}
        return models, state, opt_states, jnp.int32(0)

    @eqx.filter_jit(donate="all-except-first")
    def step(fixed, carry):
        train, order, key = fixed
        models, state, opt_states, number = carry
        key, index = jax.random.fold_in(key, number), order[number]
        for place, (player, loss) in enumerate(losses.items()):
            batch = {name: array[index[place * BATCH : (place + 1) * BATCH]] for name, array in train.items()}

            def own_loss(own, state, models=models, player=player, loss=loss, batch=batch):
                return loss({**models, player: own}, state, batch, key)

            (_, state), gradient = eqx.filter_value_and_grad(own_loss, has_aux=True)(models[player], state)
            updates, opt_state = optimizer.update(gradient, opt_states[player])
            opt_states = {**opt_states, player: opt_state}
            models = {**models, player: eqx.apply_updates(models[player], updates)}
        return models, state, opt_states, number + 1

    evaluate = eqx.filter_jit(metric)

    def run() -> float:
        carry = first(jax.random.key(0))
        reached = 0.0
        for _ in range(task.evaluations):
            for _ in range(task.interval):
                carry = step(fixed, carry)
            reached = float(evaluate(*carry[:2], test))
        return reached

    return Loop(run, count(eqx.filter(first(jax.random.key(0))[0], eqx.is_inexact_array)))
