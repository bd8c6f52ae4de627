"""Losses of generative adversarial networks, from the scores of real and of generated ("fake") examples.

Every loss is a `GanLoss`, a pair of functions with the same signatures, so that one training loop fits them all:

    real_losses, fake_losses = loss.discriminator(real_scores, fake_scores)
    discriminator_loss = real_losses.mean() + fake_losses.mean()
    generator_loss = loss.generator(fake_scores).mean()

Scores are what the discriminator (or critic) returns, unbounded: logits, not probabilities. Nothing is reduced over the
batch, and real and fake batches may differ in size. Computed in at least float32, returned in the dtype of the scores.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float

from dlkit.checks import as_real, require_floating, require_number, require_same_shape
from dlkit.hints import closest
from dlkit.losses.shared import norm
from dlkit.regularizers.masks import weighed
from dlkit.typing import Array, ArrayFunction, Key, Scalar, Values

# fmt: off
__all__ = [
    "NAMES", "GanLoss", "get", "gradient_penalty", "hinge", "least_squares", "minimax", "non_saturating", "r1_penalty",
    "wasserstein",
]
# fmt: on


class GanLoss(NamedTuple):
    """The two sides of the game.

    Attributes:
        discriminator: `(real_scores [*real_batch], fake_scores [*fake_batch]) -> (real_losses, fake_losses)`, one loss
            per example each; the discriminator minimizes the sum of the two means.
        generator: `(fake_scores [*batch]) -> losses`, one per example; the generator minimizes their mean.

    Example:
        >>> wasserstein.discriminator(jnp.array([3.0]), jnp.array([1.0, 2.0]))
        (Array([-3.], dtype=float32), Array([1., 2.], dtype=float32))
        >>> wasserstein.generator(jnp.array([1.0, 2.0]))
        Array([-1., -2.], dtype=float32)
    """

    discriminator: Callable[[Array, Array], tuple[Array, Array]]
    generator: ArrayFunction


def _elementwise(where: str, function: ArrayFunction, scores: Array | Values) -> Array:
    """Apply a function in at least float32 to scores that are floating point."""
    (scores,) = as_real(scores)
    require_floating(where, scores=scores)
    return function(scores.astype(jnp.promote_types(scores.dtype, jnp.float32))).astype(scores.dtype)


def _gan_loss(name: str, *, real: ArrayFunction, fake: ArrayFunction, generator: ArrayFunction) -> GanLoss:
    """A loss of three functions of one score."""

    def discriminator_losses(
        real_scores: Float[Array, "*real_batch"] | Values, fake_scores: Float[Array, "*fake_batch"] | Values
    ) -> tuple[Float[Array, "*real_batch"], Float[Array, "*fake_batch"]]:
        where = f"{name}.discriminator"
        return _elementwise(where, real, real_scores), _elementwise(where, fake, fake_scores)

    def generator_losses(fake_scores: Float[Array, "*batch"] | Values) -> Float[Array, "*batch"]:
        return _elementwise(f"{name}.generator", generator, fake_scores)

    return GanLoss(discriminator_losses, generator_losses)


minimax = _gan_loss(
    "minimax",
    real=lambda scores: jax.nn.softplus(-scores),  # -log sigmoid(r)
    fake=lambda scores: jax.nn.softplus(scores),  # -log(1 - sigmoid(f))
    generator=lambda scores: -jax.nn.softplus(scores),  # log(1 - sigmoid(f))
)
"""The original game.

Discriminator: softplus(-r) and softplus(f). Generator: -softplus(f), whose gradient vanishes where the discriminator
is sure. Goodfellow et al., 2014, https://arxiv.org/abs/1406.2661.
"""

non_saturating = _gan_loss(
    "non_saturating",
    real=lambda scores: jax.nn.softplus(-scores),  # -log sigmoid(r)
    fake=lambda scores: jax.nn.softplus(scores),  # -log(1 - sigmoid(f))
    generator=lambda scores: jax.nn.softplus(-scores),  # -log sigmoid(f)
)
"""Minimax with the generator that does not saturate.

Discriminator: softplus(-r) and softplus(f). Generator: softplus(-f). From the same paper as `minimax`.
"""

least_squares = _gan_loss(
    "least_squares",
    real=lambda scores: 0.5 * jnp.square(scores - 1.0),  # (r - 1)^2 / 2
    fake=lambda scores: 0.5 * jnp.square(scores),  # f^2 / 2
    generator=lambda scores: 0.5 * jnp.square(scores - 1.0),  # (f - 1)^2 / 2
)
"""Least squares with the targets 1 (real) and 0 (fake).

Discriminator: (r - 1)^2 / 2 and f^2 / 2. Generator: (f - 1)^2 / 2. Mao et al., 2016,
https://arxiv.org/abs/1611.04076.
"""

hinge = _gan_loss(
    "hinge",
    real=lambda scores: jax.nn.relu(1.0 - scores),  # max(0, 1 - r)
    fake=lambda scores: jax.nn.relu(1.0 + scores),  # max(0, 1 + f)
    generator=lambda scores: -scores,  # -f
)
"""The hinge, for which scores beyond the margin of 1 are good enough.

Discriminator: max(0, 1 - r) and max(0, 1 + f). Generator: -f. Lim and Ye, 2017, https://arxiv.org/abs/1705.02894.
"""

wasserstein = _gan_loss(
    "wasserstein",
    real=lambda scores: -scores,  # -r
    fake=lambda scores: scores,  # f
    generator=lambda scores: -scores,  # -f
)
"""The Wasserstein distance.

Discriminator (a critic that has to be kept Lipschitz, see `gradient_penalty`): -r and f. Generator: -f.
Arjovsky et al., 2017, https://arxiv.org/abs/1701.07875.
"""

_REGISTRY: dict[str, GanLoss] = {
    "minimax": minimax,
    "non_saturating": non_saturating,
    "least_squares": least_squares,
    "hinge": hinge,
    "wasserstein": wasserstein,
}

NAMES: tuple[str, ...] = tuple(_REGISTRY)  # what `get` knows


def get(name: str) -> GanLoss:
    """Return the loss of this name.

    Args:
        name: one of `NAMES`.

    Returns:
        The pair of that name in this module.

    Raises:
        ValueError: there is no such loss; the message suggests the nearest name.

    Example:
        >>> get("hinge") is hinge
        True
    """
    if name in _REGISTRY:
        return _REGISTRY[name]
    meant = closest(name, NAMES)
    hint = f"did you mean {meant!r}?" if meant else f"known: {', '.join(NAMES)}"
    raise ValueError(f"unknown GAN loss {name!r}; {hint}")


def gradient_penalty(
    critic: ArrayFunction,
    real: Float[Array, "batch *example"] | Values,
    fake: Float[Array, "batch *example"] | Values,
    *,
    key: Key,
    target: Scalar = 1.0,
    strength: Scalar = 1.0,
) -> Float[Array, " batch"]:
    """Gradient penalty between real and fake: (|grad D(x)| - target)^2 at x = e r + (1 - e) f, e ~ U[0, 1] per example.

    The caller adds its mean to the discriminator's loss. It may be
    differentiated with respect to what the critic closes over (its parameters), and to real and fake. Where the
    gradient of the critic is zero, that of its norm is taken as zero.

    Args:
        critic: one batch `[batch, *example]` to one score per example `[batch]`. A score may depend on its own example
            only: no normalization over the batch, or the penalty is not the one of the paper.
        real: a batch of real examples.
        fake: a batch of generated examples, of the same shape.
        key: for e.
        target: the norm to hold; 1 in the paper, 0 for a critic that is to be flat.
        strength: factor of the penalty, at least 0, 10 in the paper; may be traced.

    Returns:
        One penalty per example.

    Raises:
        ValueError: the shapes differ, there is no batch axis, target or strength is a Python number below 0, or the
            critic does not return `[batch]`.
        TypeError: a dtype is not floating point.

    Reference:
        Gulrajani et al., "Improved training of Wasserstein GANs", 2017, https://arxiv.org/abs/1704.00028.

    Example:
        >>> real, fake = jnp.ones((2, 2)), jnp.zeros((2, 2))
        >>> gradient_penalty(lambda x: x @ jnp.array([3.0, 4.0]), real, fake, key=jax.random.key(0))  # (5 - 1)^2
        Array([16., 16.], dtype=float32)
    """
    real, fake = as_real(real, fake)
    require_number("gradient_penalty", "target", target, at_least=0)
    require_number("gradient_penalty", "strength", strength, at_least=0)
    require_floating("gradient_penalty", real=real, fake=fake)
    require_same_shape("gradient_penalty", real=real, fake=fake)
    _require_batch("gradient_penalty", real)
    dtype = jnp.result_type(real, fake)
    compute_dtype = jnp.promote_types(dtype, jnp.float32)
    share = jax.random.uniform(key, real.shape[:1], compute_dtype).reshape(-1, *(1,) * (real.ndim - 1))
    # x = e r + (1 - e) f
    between = share * real.astype(compute_dtype) + (1.0 - share) * fake.astype(compute_dtype)
    gradients = _score_gradients("gradient_penalty", critic, between.astype(dtype))
    # (|grad D(x)| - target)^2
    penalties = jnp.square(norm(gradients) - jnp.asarray(target, compute_dtype))
    return weighed(penalties, strength).astype(dtype)


def r1_penalty(
    critic: ArrayFunction, real: Float[Array, "batch *example"] | Values, *, strength: Scalar = 1.0
) -> Float[Array, " batch"]:
    """Zero-centred gradient penalty on real examples: |grad D(x)|^2.

    The caller adds its mean to the discriminator's loss; the strength is gamma / 2, with gamma = 10 in the paper. The
    R2 penalty of the same paper is this function of a batch of fake examples.

    Args:
        critic: one batch `[batch, *example]` to one score per example `[batch]`; a score may depend on its own example
            only: no normalization over the batch.
        real: a batch of real examples.
        strength: factor of the penalty, at least 0; may be traced.

    Returns:
        One penalty per example.

    Raises:
        ValueError: there is no batch axis, strength is a Python number below 0, or the critic does not return
            `[batch]`.
        TypeError: the examples are not floating point.

    Reference:
        Mescheder, Geiger and Nowozin, "Which training methods for GANs do actually converge?", 2018,
        https://arxiv.org/abs/1801.04406.

    Example:
        >>> r1_penalty(lambda x: x @ jnp.array([3.0, 4.0]), jnp.ones((2, 2)))
        Array([25., 25.], dtype=float32)
    """
    (real,) = as_real(real)
    require_number("r1_penalty", "strength", strength, at_least=0)
    require_floating("r1_penalty", real=real)
    _require_batch("r1_penalty", real)
    gradients = _score_gradients("r1_penalty", critic, real)
    # |grad D(x)|^2
    return weighed(jnp.sum(jnp.square(gradients), axis=-1), strength).astype(real.dtype)


def _require_batch(where: str, x: Array) -> None:
    """Refuse an array without a batch axis."""
    if x.ndim == 0:
        raise ValueError(f"{where}: expected a batch of examples [batch, *example], got a scalar")


def _score_gradients(where: str, critic: ArrayFunction, x: Array) -> Array:
    """The gradient of every score with respect to its own example, flat, in at least float32: `[batch, size]`."""

    def total(x: Array) -> Array:
        scores = critic(x)
        if scores.shape != x.shape[:1]:
            raise ValueError(
                f"{where}: expected the critic to return one score per example, of shape {x.shape[:1]}, "
                f"got {jax.typeof(scores)}; squeeze it"
            )
        return jnp.sum(scores)

    # A score depends on its own example only, so the gradient of the sum holds the gradients of all scores.
    gradients: Array = jax.grad(total)(x)
    return gradients.reshape(x.shape[0], math.prod(x.shape[1:])).astype(jnp.promote_types(x.dtype, jnp.float32))
