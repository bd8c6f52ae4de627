"""Losses of regression: one value per element, of the error z = prediction - target.

Computed in at least float32, returned in the dtype that predictions and targets promote to.
"""

import math

import jax.numpy as jnp
from jaxtyping import Float

from dlkit.checks import require_floating, require_number, require_same_shape
from dlkit.losses.shared import Values, as_real, widen
from dlkit.typing import Array, DTypeLike, Scalar

__all__ = ["absolute_error", "huber", "log_cosh", "quantile", "squared_error"]


def squared_error(
    predictions: Float[Array, "*shape"] | Values, targets: Float[Array, "*shape"] | Values
) -> Float[Array, "*shape"]:
    """Squared error of every element: (p - t)^2, without a factor 1/2. Its mean is minimal at the mean.

    Args:
        predictions: any shape, in the unit of the targets.
        targets: the same shape; nothing is broadcast, because [n] against [n, 1] would silently give [n, n].

    Returns:
        One loss per element, in the squared unit of the targets.

    Raises:
        ValueError: the shapes differ.
        TypeError: a dtype is not floating point.

    Example:
        >>> squared_error(jnp.array([1.0, 2.0]), jnp.array([1.0, 5.0]))
        Array([0., 9.], dtype=float32)
    """
    dtype, errors = _errors("squared_error", predictions, targets)
    # (p - t)^2
    return jnp.square(errors).astype(dtype)


def absolute_error(
    predictions: Float[Array, "*shape"] | Values, targets: Float[Array, "*shape"] | Values
) -> Float[Array, "*shape"]:
    """Absolute error of every element: |p - t|. Its mean is minimal at the median; the gradient at 0 is 0.

    Args:
        predictions: any shape, in the unit of the targets.
        targets: the same shape; nothing is broadcast.

    Returns:
        One loss per element, in the unit of the targets.

    Raises:
        ValueError: the shapes differ.
        TypeError: a dtype is not floating point.

    Example:
        >>> absolute_error(jnp.array([1.0, 2.0]), jnp.array([1.0, 5.0]))
        Array([0., 3.], dtype=float32)
    """
    dtype, errors = _errors("absolute_error", predictions, targets)
    # |p - t|, by the sign, whose gradient at 0 is 0; that of `jnp.abs` is 1 there
    return (errors * jnp.sign(errors)).astype(dtype)


def huber(
    predictions: Float[Array, "*shape"] | Values, targets: Float[Array, "*shape"] | Values, *, delta: Scalar = 1.0
) -> Float[Array, "*shape"]:
    """Huber loss of every element: z^2 / 2 for |z| <= delta, and delta (|z| - delta / 2) beyond, with z = p - t.

    Its gradient is z clipped to [-delta, delta]: outliers pull no harder than an error of delta.

    Args:
        predictions: any shape, in the unit of the targets.
        targets: the same shape; nothing is broadcast.
        delta: the error from which on the loss is linear, above 0, in the unit of the targets.

    Returns:
        One loss per element, in the squared unit of the targets.

    Raises:
        ValueError: the shapes differ, or delta is a Python number not above 0.
        TypeError: a dtype is not floating point.

    Reference:
        Huber, "Robust estimation of a location parameter", Annals of Mathematical Statistics 35, 1964.

    Example:
        >>> huber(jnp.array([1.0, 5.0]), jnp.array([0.0, 0.0]), delta=2.0)
        Array([0.5, 8. ], dtype=float32)
    """
    require_number("huber", "delta", delta, above=0)
    dtype, errors = _errors("huber", predictions, targets)
    delta = jnp.asarray(delta, errors.dtype)
    magnitudes = jnp.abs(errors)
    small = magnitudes <= delta
    # Each piece is 0 where it is not meant: z^2 cannot overflow in the linear one, nor delta blur the slope of z^2 / 2.
    quadratic = 0.5 * jnp.square(jnp.where(small, errors, 0.0))
    linear = jnp.where(small, 0.0, delta * (magnitudes - 0.5 * delta))
    return (quadratic + linear).astype(dtype)


def log_cosh(
    predictions: Float[Array, "*shape"] | Values, targets: Float[Array, "*shape"] | Values
) -> Float[Array, "*shape"]:
    """Logarithm of the hyperbolic cosine of every error: log cosh(p - t).

    About z^2 / 2 for small and |z| - log 2 for large errors, smooth between; its gradient is tanh(z).

    Args:
        predictions: any shape; the errors are taken as pure numbers, so scale them to the size that is still small.
        targets: the same shape; nothing is broadcast.

    Returns:
        One loss per element.

    Raises:
        ValueError: the shapes differ.
        TypeError: a dtype is not floating point.

    Reference:
        Chen et al., "Log hyperbolic cosine loss improves variational auto-encoder", 2019,
        https://openreview.net/forum?id=rkglvsC9Ym.

    Example:
        >>> [round(loss, 3) for loss in log_cosh(jnp.array([0.0, 1000.0]), jnp.array([0.0, 0.0])).tolist()]
        [0.0, 999.307]
    """
    dtype, errors = _errors("log_cosh", predictions, targets)
    # Two forms: the second one loses small errors in the difference with log 2, the first one overflows for large ones.
    small = jnp.abs(errors) < 1.0
    # log cosh z = log(1 + sinh(z)^2) / 2
    near = 0.5 * jnp.log1p(jnp.square(jnp.sinh(jnp.where(small, errors, 0.0))))
    # log cosh z = |z| + log(1 + exp(-2 |z|)) - log 2
    magnitudes = jnp.abs(errors)
    far = magnitudes + jnp.log1p(jnp.exp(-2.0 * magnitudes)) - math.log(2.0)
    return jnp.where(small, near, far).astype(dtype)


def quantile(
    predictions: Float[Array, "*shape"] | Values, targets: Float[Array, "*shape"] | Values, *, level: Scalar
) -> Float[Array, "*shape"]:
    """Quantile (pinball) loss of every element: max(level (t - p), (level - 1) (t - p)).

    Its mean is minimal at the quantile of this level. The gradient is -level below the target, 1 - level above, and
    the mean of both, 1/2 - level, on it. At the level 1/2 it is half the absolute error.

    Args:
        predictions: any shape, in the unit of the targets.
        targets: the same shape; nothing is broadcast.
        level: probability of a target below the prediction, in [0, 1]; for many levels, map over them with `jax.vmap`.

    Returns:
        One loss per element, in the unit of the targets.

    Raises:
        ValueError: the shapes differ, or level is a Python number outside [0, 1].
        TypeError: a dtype is not floating point.

    Reference:
        Koenker and Bassett, "Regression quantiles", Econometrica 46, 1978.

    Example:
        >>> quantile(jnp.array([0.0, 0.0]), jnp.array([-4.0, 4.0]), level=0.75)
        Array([1., 3.], dtype=float32)
    """
    require_number("quantile", "level", level, at_least=0, at_most=1)
    dtype, errors = _errors("quantile", predictions, targets)
    level = jnp.asarray(level, errors.dtype)
    # max(level (t - p), (level - 1) (t - p))
    return jnp.maximum(-level * errors, (1.0 - level) * errors).astype(dtype)


def _errors(where: str, predictions: Array | Values, targets: Array | Values) -> tuple[DTypeLike, Array]:
    """The dtype of the losses, and p - t in at least float32, after checking both."""
    predictions, targets = as_real(predictions, targets)
    require_floating(where, predictions=predictions, targets=targets)
    require_same_shape(where, predictions=predictions, targets=targets)
    dtype, (predictions, targets) = widen(predictions, targets)
    return dtype, predictions - targets
