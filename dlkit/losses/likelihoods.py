"""Negative log-likelihoods of real-valued and of counted targets: one value per element, in nats.

Computed in at least float32, returned in the dtype that the arguments promote to.
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Float

from dlkit.checks import require_floating, require_same_shape
from dlkit.losses.shared import over_scale, require_values, widen
from dlkit.typing import Array

__all__ = ["gaussian_nll", "poisson_nll"]


def gaussian_nll(
    mean: Float[Array, "*shape"],
    targets: Float[Array, "*shape"],
    log_variance: Float[Array, "*shape"],
    *,
    full: bool = False,
) -> Float[Array, "*shape"]:
    """Negative log-likelihood of targets under normals: (log v + (t - m)^2 / v) / 2, and log(2 pi) / 2 in full.

    The variance v comes as its logarithm: the output of a network as it is, positive without a floor.

    Args:
        mean: predicted means m, any shape, in the unit of the targets.
        targets: t, of the same shape.
        log_variance: predicted log v, of the same shape.
        full: add the constant log(2 pi) / 2, which no gradient needs but a likelihood does.

    Returns:
        One loss per element; it may be negative.

    Raises:
        ValueError: the shapes differ.
        TypeError: a dtype is not floating point.

    Reference:
        Nix and Weigend, "Estimating the mean and variance of the target probability distribution", ICNN 1994.

    Example:
        >>> losses = gaussian_nll(jnp.array([0.0, 0.0]), jnp.array([0.0, 4.0]), jnp.log(jnp.array([1.0, 4.0])))
        >>> [round(loss, 3) for loss in losses.tolist()]
        [0.0, 2.693]
    """
    require_floating("gaussian_nll", mean=mean, targets=targets, log_variance=log_variance)
    require_same_shape("gaussian_nll", mean=mean, targets=targets, log_variance=log_variance)
    dtype, (mean, targets, log_variance) = widen(mean, targets, log_variance)
    # (log v + ((t - m) / v^(1/2))^2) / 2: the square comes last, so it overflows only where the loss does
    losses = 0.5 * (log_variance + jnp.square(over_scale(targets - mean, 0.5 * log_variance)))
    if full:
        losses = losses + 0.5 * math.log(2.0 * math.pi)
    return losses.astype(dtype)


def poisson_nll(
    log_rate: Float[Array, "*shape"], targets: Float[Array, "*shape"], *, full: bool = False
) -> Float[Array, "*shape"]:
    """Negative log-likelihood of counts under Poisson distributions: exp(r) - t r, and log t! in full.

    Args:
        log_rate: predicted r, the logarithm of the rate, any shape. Beyond 88 the rate is no float32
            any more, and the loss inf.
        targets: counts t, at least 0, floating point, of the same shape.
        full: add log t!, which no gradient needs but a likelihood does.

    Returns:
        One loss per element; without `full` it may be negative.

    Raises:
        ValueError: the shapes differ, or a target is negative (not seen inside `jit`).
        TypeError: a dtype is not floating point.

    Reference:
        Cameron and Trivedi, "Regression analysis of count data", 2nd edition, 2013 (section 3.2).

    Example:
        >>> losses = poisson_nll(jnp.log(jnp.array([2.0, 2.0])), jnp.array([0.0, 3.0]), full=True)
        >>> [round(loss, 3) for loss in losses.tolist()]
        [2.0, 1.712]
    """
    require_floating("poisson_nll", log_rate=log_rate, targets=targets)
    require_same_shape("poisson_nll", log_rate=log_rate, targets=targets)
    require_values("poisson_nll", "targets", targets, lambda values: values >= 0, "that are at least 0")
    dtype, (log_rate, targets) = widen(log_rate, targets)
    # exp(r) - t r
    losses = jnp.exp(log_rate) - targets * log_rate
    if full:
        # log t! = log gamma(t + 1)
        losses = losses + jax.lax.lgamma(targets + 1.0)
    return losses.astype(dtype)
