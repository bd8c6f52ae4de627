"""Negative log-likelihoods of real-valued and of counted targets, and of mixtures: one value per element, in nats.

Computed in at least float32, returned in the dtype that the arguments promote to.
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Float

from dlkit.checks import require_floating, require_number, require_same_shape
from dlkit.losses.shared import Values, as_real, over_scale, require_values, times, widen
from dlkit.typing import Array, Scalar

__all__ = ["gaussian_nll", "mixture_nll", "poisson_nll", "student_t_nll"]


def gaussian_nll(
    mean: Float[Array, "*shape"] | Values,
    targets: Float[Array, "*shape"] | Values,
    log_variance: Float[Array, "*shape"] | Values,
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
    mean, targets, log_variance = as_real(mean, targets, log_variance)
    require_floating("gaussian_nll", mean=mean, targets=targets, log_variance=log_variance)
    require_same_shape("gaussian_nll", mean=mean, targets=targets, log_variance=log_variance)
    dtype, (mean, targets, log_variance) = widen(mean, targets, log_variance)
    # (log v + ((t - m) / v^(1/2))^2) / 2: the square comes last, so it overflows only where the loss does
    losses = 0.5 * (log_variance + jnp.square(over_scale(targets - mean, 0.5 * log_variance)))
    if full:
        losses = losses + 0.5 * math.log(2.0 * math.pi)
    return losses.astype(dtype)


def poisson_nll(
    log_rate: Float[Array, "*shape"] | Values, targets: Float[Array, "*shape"] | Values, *, full: bool = False
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
    log_rate, targets = as_real(log_rate, targets)
    require_floating("poisson_nll", log_rate=log_rate, targets=targets)
    require_same_shape("poisson_nll", log_rate=log_rate, targets=targets)
    require_values("poisson_nll", "targets", targets, lambda values: values >= 0, "that are at least 0")
    dtype, (log_rate, targets) = widen(log_rate, targets)
    # exp(r) - t r, of which exp(r) is all where both are infinite
    losses = jnp.exp(log_rate) - times(targets, jnp.where(jnp.isposinf(log_rate), 0.0, log_rate))
    if full:
        # log t! = log gamma(t + 1)
        losses = losses + jax.lax.lgamma(targets + 1.0)
    return losses.astype(dtype)


def student_t_nll(
    location: Float[Array, "*shape"] | Values,
    targets: Float[Array, "*shape"] | Values,
    log_scale: Float[Array, "*shape"] | Values,
    *,
    degrees_of_freedom: Scalar,
    full: bool = False,
) -> Float[Array, "*shape"]:
    """Negative log-likelihood under Student's t: log s + (n + 1) / 2 log(1 + z^2 / n), with z = (t - m) / s.

    For targets with outliers: far away it grows with log |z|, and an outlier pulls less the farther it is. With many
    degrees of freedom n it is `gaussian_nll`; with n = 1 the likelihood is Cauchy's.

    Args:
        location: predicted m, any shape, in the unit of the targets.
        targets: t, of the same shape.
        log_scale: predicted log s, of the same shape: the logarithm of a scale, not of a variance.
        degrees_of_freedom: n, above 0; may be traced.
        full: add log B(1/2, n / 2) + log(n) / 2, with the beta function B, which depends on n alone.

    Returns:
        One loss per element; it may be negative.

    Raises:
        ValueError: the shapes differ, or degrees_of_freedom is a Python number not above 0.
        TypeError: a dtype is not floating point.

    Reference:
        Lange, Little and Taylor, "Robust statistical modeling using the t distribution", JASA 84, 1989.

    Example:
        >>> zeros = jnp.zeros(2)
        >>> losses = student_t_nll(zeros, jnp.array([0.0, 1.0]), zeros, degrees_of_freedom=1.0)  # 0 and log 2
        >>> [round(loss, 3) for loss in losses.tolist()]
        [0.0, 0.693]
    """
    location, targets, log_scale = as_real(location, targets, log_scale)
    require_number("student_t_nll", "degrees_of_freedom", degrees_of_freedom, above=0)
    require_floating("student_t_nll", location=location, targets=targets, log_scale=log_scale)
    require_same_shape("student_t_nll", location=location, targets=targets, log_scale=log_scale)
    dtype, (location, targets, log_scale) = widen(location, targets, log_scale)
    n = jnp.asarray(degrees_of_freedom, location.dtype)
    u = over_scale(targets - location, log_scale) / jnp.sqrt(n)
    # log(1 + u^2) = 2 log |u| + log(1 + u^-2) for |u| above 1, where u^2 could overflow
    far = jnp.abs(u) > 1.0
    beyond = jnp.where(far, jnp.abs(u), 1.0)
    logarithm = jnp.where(
        far,
        2.0 * jnp.log(beyond) + jnp.log1p(jnp.square(1.0 / beyond)),
        jnp.log1p(jnp.square(jnp.where(far, 0.0, u))),
    )
    # log s + (n + 1) / 2 log(1 + z^2 / n)
    losses = log_scale + 0.5 * (n + 1.0) * logarithm
    if full:
        # log B(1/2, n / 2) + log(n) / 2
        half = 0.5 * n
        losses = losses + jax.lax.lgamma(half) - jax.lax.lgamma(half + 0.5) + 0.5 * jnp.log(n * math.pi)
    return losses.astype(dtype)


def mixture_nll(
    logits: Float[Array, "*batch components"] | Values, targets: Float[Array, "*batch components"] | Values
) -> Float[Array, "*batch"]:
    """Negative log-likelihood of a mixture: -log sum_k softmax(logits)_k exp(-l_k), with l_k that of component k.

    Any likelihoods can be mixed: a mixture density network is this of `gaussian_nll(..., full=True)`; many normals in
    one component are the sum of their losses.

    Args:
        logits: unnormalized log-weights of the components, in the last axis.
        targets: the losses l of the same targets under each component, of the same shape: whole ones, with their
            constants. A loss of inf, where a component excludes a target, adds nothing.

    Returns:
        One loss per example, in nats; inf where every component excludes the target.

    Raises:
        ValueError: the shapes differ, or there is no axis.
        TypeError: a dtype is not floating point.

    Reference:
        Bishop, "Mixture density networks", 1994, https://publications.aston.ac.uk/id/eprint/373/.

    Example:
        >>> targets = jnp.zeros((1, 2))  # one target, beside two components
        >>> parts = gaussian_nll(jnp.array([[0.0, 100.0]]), targets, jnp.zeros((1, 2)), full=True)
        >>> [round(loss, 3) for loss in mixture_nll(jnp.zeros((1, 2)), parts).tolist()]  # log(2) + log(2 pi) / 2
        [1.612]
    """
    logits, targets = as_real(logits, targets)
    require_floating("mixture_nll", logits=logits, targets=targets)
    require_same_shape("mixture_nll", logits=logits, targets=targets)
    if logits.ndim == 0:
        raise ValueError("mixture_nll: expected logits [*batch, components], got a scalar")
    dtype, (logits, targets) = widen(logits, targets)
    # Both terms around their greatest: a weight of 0, or a component that excludes the target, is -inf and adds 0.
    joint = jax.nn.log_softmax(logits, axis=-1) - targets
    greatest = jax.lax.stop_gradient(jnp.max(joint, axis=-1))
    nowhere = jnp.isneginf(greatest)
    joint = jnp.where(jnp.expand_dims(nowhere, -1), 0.0, joint)
    total = jnp.sum(jnp.exp(joint - jnp.expand_dims(jnp.where(nowhere, 0.0, greatest), -1)), axis=-1)
    # -log sum_k w_k exp(-l_k)
    return jnp.where(nowhere, jnp.inf, -(jnp.log(total) + jnp.where(nowhere, 0.0, greatest))).astype(dtype)
