"""Generative adversarial networks: a generator and a discriminator play against each other, on a ring and on digits."""

from collections.abc import Callable, Mapping
from functools import cache
from types import MappingProxyType
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dlkit import gan_losses, layers, models
from dlkit.bench import data
from dlkit.bench.data.base import Dataset
from dlkit.bench.errors import UserError, nearest
from dlkit.bench.plan.metric import Metric
from dlkit.bench.problems.base import Batch, Loss, Player, Problem, Updates
from dlkit.bench.problems.feature_extractor import trained_classifier
from dlkit.bench.problems.sample_quality import (
    Gaussian,
    Kernel,
    energy_distance,
    frechet_distance,
    good_share,
    modes_covered,
    moments_of,
    ordered_pairs,
    squared_mmd,
)
from dlkit.checks import known_zero, require_number, require_size
from dlkit.models import Gan
from dlkit.typing import Array, ArrayFunction, Key, Params, Scalar, State

__all__ = ["PENALTIES", "digits_gan", "ring_gan"]

SHOWN = 36  # images of a report
POINTS = 500  # samples that the ring is judged and shown by

Penalty = Callable[[ArrayFunction, Key, Array, Array], Array]  # (critic, key, real, fake) -> one per example

PENALTIES: Mapping[str, Penalty] = MappingProxyType(
    {
        # 1/2, so that the strength is the gamma of the paper
        "r1": lambda critic, key, real, fake: gan_losses.r1_penalty(critic, real) / 2,
        "wgan_gp": lambda critic, key, real, fake: gan_losses.gradient_penalty(critic, real, fake, key=key),
    }
)
"""Gradient penalties of a discriminator, by name."""


class _Choices(NamedTuple):
    """What both problems let one choose of the game."""

    loss: str
    penalty: str
    penalty_strength: Scalar
    spectral_norm: bool
    critic_steps: int
    updates: Updates
    latent: int


class _Game(NamedTuple):
    """The functions of a problem in which a generator and a discriminator play."""

    init: Callable[[Key], tuple[Params, State]]
    players: tuple[Player, Player]
    generate: Callable[[Params, int], Array]  # (params, how many) -> samples, always of the same latent vectors
    scores: Callable[[Params, State, Array], Array]  # the discriminator's


def ring_gan(
    *,
    loss: str = "non_saturating",
    penalty: str = "r1",
    penalty_strength: Scalar = 0.1,
    spectral_norm: bool = False,
    critic_steps: int = 1,
    updates: Updates = "alternating",
    activation: str = "relu",
    width: int = 64,
    latent: int = 8,
    modes: int = 8,
    deviation: float = 0.05,
) -> Problem:
    """Makes the generation of points of Gaussians on a ring, of which generators forget some or run in circles.

    Metrics, of 500 samples and the split: ``squared_mmd`` with kernels of fixed widths; ``energy_distance``;
    ``modes``, how many Gaussians have at least a quarter of an equal share of the samples within three deviations;
    ``good_share`` of samples within three deviations of one; ``discriminator_accuracy``, how often the discriminator
    scores the real one of a pair higher. Samples come from the same latent vectors at every evaluation.

    Margin: 0.03 in squared MMD below one Gaussian fitted to all points, for Adam with b1 = 0.5.

    Args:
        loss: a name of `dlkit.gan_losses`.
        penalty: of the discriminator's gradient, a name of `PENALTIES`.
        penalty_strength: of it; may be traced.
        spectral_norm: whether the discriminator's kernels are divided by their largest singular values.
        critic_steps: moves of the discriminator a step.
        updates: ``"alternating"`` or ``"simultaneous"``.
        activation: of the hidden layers of both.
        width: of their two hidden layers.
        latent: numbers of a latent vector.
        modes: how many Gaussians.
        deviation: of each.

    Returns:
        The problem; its players are ``"discriminator"`` and ``"generator"``.

    Reference:
        Metz et al., "Unrolled generative adversarial networks", 2017, section 3.2, https://arxiv.org/abs/1611.02163.
    """
    dataset, centres = data.ring(modes=modes, deviation=deviation), jnp.asarray(data.ring_centres(modes))
    gan = models.dense_gan((2,), latent=latent, hidden=(width, width), activation=activation)
    choices = _Choices(loss, penalty, penalty_strength, spectral_norm, critic_steps, updates, latent)
    game = _game(gan, dataset, choices)
    kernel, fitted, radius = _ring_kernel(modes, deviation), Gaussian.of(dataset.train["inputs"]), 3 * deviation

    def evaluate(params: Params, state: State, batch: Batch) -> Mapping[str, Array]:
        samples = game.generate(params, POINTS)
        return {
            "squared_mmd": squared_mmd(samples, batch["inputs"], kernel),
            "energy_distance": energy_distance(samples, batch["inputs"]),
            "modes": modes_covered(samples, centres, radius=radius),
            "good_share": good_share(samples, centres, radius=radius),
            "discriminator_accuracy": _accuracy(game, params, state, batch["inputs"], samples),
        }

    return Problem(
        name="ring-gan",
        init=game.init,
        loss=game.players[1].loss,
        evaluate=evaluate,
        dataset=dataset,
        metrics=_metrics(
            {
                "modes": Metric("higher", label="modes covered"),
                "good_share": Metric("higher", label="share of good samples", least=0.0, most=1.0),
            }
        ),
        batch_size=128,
        steps=3000,
        target=0.005,
        description=f"GAN of {modes} Gaussians on a ring, {loss} loss, MLPs of 2 x {width}, {updates} moves, batch 128",
        stresses="a game: modes are forgotten, and the players circle",
        trivial=fitted.squared_mmd(dataset.validation["inputs"], kernel),
        margin=0.03,
        players=game.players,
        updates=updates,
        samples=lambda params, state: game.generate(params, POINTS),
    )


def digits_gan(
    *,
    loss: str = "non_saturating",
    penalty: str = "r1",
    penalty_strength: Scalar = 1.0,
    spectral_norm: bool = False,
    critic_steps: int = 1,
    updates: Updates = "alternating",
    activation: str = "relu",
    width: int = 128,
    latent: int = 16,
) -> Problem:
    """Makes the generation of 8x8 digits.

    Metrics, of as many samples as the split has images: ``squared_mmd`` with kernels of fixed widths;
    ``energy_distance``; ``frechet_distance`` of the features of a frozen classifier that was trained on the training
    split; ``discriminator_accuracy``, how often the discriminator scores the real one of a pair higher. Samples come
    from the same latent vectors at every evaluation.

    Margin: 0.001 in squared MMD below one Gaussian fitted to all images, for Adam evaluated at an average of its
    parameters.

    Args:
        loss: a name of `dlkit.gan_losses`.
        penalty: of the discriminator's gradient, a name of `PENALTIES`.
        penalty_strength: of it; may be traced.
        spectral_norm: whether the discriminator's kernels are divided by their largest singular values.
        critic_steps: moves of the discriminator a step.
        updates: ``"alternating"`` or ``"simultaneous"``.
        activation: of the hidden layers of both.
        width: of their two hidden layers.
        latent: numbers of a latent vector.

    Returns:
        The problem; its players are ``"discriminator"`` and ``"generator"``.

    Reference:
        Goodfellow et al., "Generative adversarial networks", 2014, https://arxiv.org/abs/1406.2661; Heusel et al.,
        "GANs trained by a two time-scale update rule converge to a local Nash equilibrium", 2017, for the Fréchet
        distance of features.
    """
    digits = data.digits()
    dataset = _images_alone(digits)
    gan = models.dense_gan(
        (64,), latent=latent, hidden=(width, width), activation=activation, output_activation="sigmoid"
    )
    choices = _Choices(loss, penalty, penalty_strength, spectral_norm, critic_steps, updates, latent)
    game = _game(gan, dataset, choices)
    kernel, fitted = Kernel.of(dataset.validation["inputs"]), Gaussian.of(dataset.train["inputs"])
    classifier = trained_classifier(digits)

    def evaluate(params: Params, state: State, batch: Batch) -> Mapping[str, Array]:
        images = batch["inputs"]
        samples = game.generate(params, len(images))
        real, fake = (moments_of(classifier.features(each)) for each in (images, samples))
        return {
            "squared_mmd": squared_mmd(samples, images, kernel),
            "energy_distance": energy_distance(samples, images),
            "frechet_distance": frechet_distance(fake, real),
            "discriminator_accuracy": _accuracy(game, params, state, images, samples),
        }

    return Problem(
        name="digits-gan",
        init=game.init,
        loss=game.players[1].loss,
        evaluate=evaluate,
        dataset=dataset,
        metrics=_metrics({"frechet_distance": Metric("lower", label="Fréchet distance of features")}),
        batch_size=64,
        steps=6000,
        target=0.0015,
        description=f"GAN of digits, {loss} loss, MLPs of 2 x {width}, {updates} moves, batch 64",
        stresses="a game in 64 dimensions: samples blur, repeat, or break",
        trivial=fitted.squared_mmd(dataset.validation["inputs"], kernel),
        margin=0.001,
        players=game.players,
        updates=updates,
        samples=lambda params, state: game.generate(params, SHOWN).reshape(SHOWN, 8, 8),
    )


def _game(gan: Gan, dataset: Dataset, choices: _Choices) -> _Game:
    """The players' functions."""
    if choices.penalty not in PENALTIES:
        raise UserError(f"no penalty '{choices.penalty}'; {nearest(choices.penalty, PENALTIES)}")
    require_number("a penalty", "penalty_strength", choices.penalty_strength, at_least=0)
    require_size("a game", critic_steps=choices.critic_steps)
    losses, penalty = gan_losses.get(choices.loss), PENALTIES[choices.penalty]
    generator = gan.generator
    discriminator = layers.spectral_norm(gan.discriminator) if choices.spectral_norm else gan.discriminator
    example_shape = dataset.train["inputs"].shape[1:]

    def init(key: Key) -> tuple[Params, State]:
        parts = {
            "discriminator": discriminator.init(jax.random.fold_in(key, 0), example_shape),
            "generator": generator.init(jax.random.fold_in(key, 1), (choices.latent,)),
        }
        return {name: part[0] for name, part in parts.items()}, {name: part[1] for name, part in parts.items()}

    def generated(params: Params, state: State, key: Key, count: int) -> Array:
        latents = jax.random.normal(key, (count, choices.latent))
        return generator.apply(params["generator"], state["generator"], latents, train=True)[0]

    def discriminate(params: Params, state: State, batch: Batch, key: Key) -> tuple[Array, State]:
        key_latents, key_penalty = (jax.random.fold_in(key, purpose) for purpose in (0, 1))
        real = batch["inputs"]
        fake = generated(params, state, key_latents, len(real))
        own, own_state = params["discriminator"], state["discriminator"]
        scores, own_state = discriminator.apply(own, own_state, jnp.concatenate([real, fake]), train=True)
        real_losses, fake_losses = losses.discriminator(scores[: len(real)], scores[len(real) :])
        value = real_losses.mean() + fake_losses.mean()
        if not known_zero(choices.penalty_strength):
            penalties = penalty(lambda x: discriminator.apply(own, own_state, x)[0], key_penalty, real, fake)
            value = value + jnp.asarray(choices.penalty_strength, value.dtype) * penalties.mean()
        return value, {**state, "discriminator": own_state}

    def fool(params: Params, state: State, batch: Batch, key: Key) -> tuple[Array, State]:
        fake = generated(params, state, jax.random.fold_in(key, 0), len(batch["inputs"]))
        return losses.generator(scores(params, state, fake)).mean(), state

    def scores(params: Params, state: State, examples: Array) -> Array:
        return discriminator.apply(params["discriminator"], state["discriminator"], examples)[0]

    def generate(params: Params, count: int) -> Array:
        latents = np.random.Generator(np.random.Philox(key=7)).standard_normal((count, choices.latent))
        return generator.apply(params["generator"], {}, jnp.asarray(latents, jnp.float32))[0]

    critic: Loss = discriminate
    players = (Player("discriminator", critic, moves=choices.critic_steps), Player("generator", fool))
    return _Game(init, players, generate, scores)


def _metrics(own: Mapping[str, Metric]) -> dict[str, Metric]:
    """The metrics of both problems, and a problem's own, in the order of tables."""
    return {
        "squared_mmd": Metric("lower", label="squared MMD"),
        "energy_distance": Metric("lower", label="energy distance"),
        **own,
        "discriminator_accuracy": Metric("lower", label="discriminator accuracy", least=0.0, most=1.0),
    }


def _accuracy(game: _Game, params: Params, state: State, examples: Array, samples: Array) -> Array:
    return ordered_pairs(game.scores(params, state, examples), game.scores(params, state, samples))


@cache
def _ring_kernel(modes: int, deviation: float) -> Kernel:
    return Kernel.of(data.ring(modes=modes, deviation=deviation).validation["inputs"])


def _images_alone(digits: Dataset) -> Dataset:
    """Without labels, which no player needs."""
    splits = (digits.train, digits.validation, digits.test)
    train, validation, test = ({"inputs": split["inputs"]} for split in splits)
    return Dataset(digits.name, train, validation, test, source=digits.source)
