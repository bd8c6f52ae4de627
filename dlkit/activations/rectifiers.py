"""Rectifiers: linear above 0, less below.

Elementwise: the same shape and dtype. Values and gradients are finite over the whole range of the dtype. Scalars such
as `alpha` may be traced (and tuned). Only the square of `relu_squared` overflows.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Float

from dlkit.checks import require_floating
from dlkit.typing import Array, Scalar

__all__ = ["celu", "elu", "identity", "leaky_relu", "prelu", "relu", "relu6", "relu_squared", "selu"]


def identity(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Identity: x.

    Args:
        x: inputs, any shape.

    Returns:
        x itself.

    Example:
        >>> identity(jnp.array([-1.0, 2.0]))
        Array([-1.,  2.], dtype=float32)
    """
    return jax.nn.identity(x)


def relu(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Rectified linear unit: max(x, 0). The gradient at 0 is 0.

    Args:
        x: inputs, any shape.

    Returns:
        Values in [0, inf).

    Example:
        >>> relu(jnp.array([-1.0, 2.0]))
        Array([0., 2.], dtype=float32)
    """
    return jax.nn.relu(x)


def relu6(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Rectified linear unit capped at 6: min(max(x, 0), 6).

    Args:
        x: inputs, any shape.

    Returns:
        Values in [0, 6].

    Example:
        >>> relu6(jnp.array([-1.0, 2.0, 7.0]))
        Array([0., 2., 6.], dtype=float32)
    """
    return jax.nn.relu6(x)


def relu_squared(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Squared rectified linear unit: max(x, 0)^2.

    Args:
        x: inputs, any shape.

    Returns:
        Values in [0, inf]; the square overflows above 1.8e19 in float32 and bfloat16.

    Reference:
        So et al., "Primer: Searching for efficient transformers for language modeling", 2021,
        https://arxiv.org/abs/2109.08668.

    Example:
        >>> relu_squared(jnp.array([-1.0, 2.0, 3.0]))
        Array([0., 4., 9.], dtype=float32)
    """
    # max(x, 0)^2
    return jnp.square(jax.nn.relu(x))


def leaky_relu(x: Float[Array, "*shape"], *, negative_slope: Scalar = 0.01) -> Float[Array, "*shape"]:
    """Leaky rectified linear unit: x if x >= 0, else negative_slope * x.

    Args:
        x: inputs, any shape.
        negative_slope: slope below 0.

    Returns:
        Values of the shape and dtype of x.

    Reference:
        Maas, Hannun and Ng, "Rectifier nonlinearities improve neural network acoustic models", ICML 2013.

    Example:
        >>> leaky_relu(jnp.array([-1.0, 2.0]), negative_slope=0.5)
        Array([-0.5,  2. ], dtype=float32)
    """
    return jax.nn.leaky_relu(x, jnp.asarray(negative_slope, x.dtype))


def prelu(x: Float[Array, "*shape"], negative_slope: Scalar | Float[Array, " channels"]) -> Float[Array, "*shape"]:
    """Parametric rectified linear unit: x if x >= 0, else negative_slope * x, with a learned slope.

    Args:
        x: inputs; with one slope per channel, `[..., channels]`.
        negative_slope: slope below 0: a scalar, or one per channel.

    Returns:
        Values of the shape and dtype of x.

    Raises:
        ValueError: the slopes are not as many as the channels.
        TypeError: an argument is not floating point.

    Reference:
        He et al., "Delving deep into rectifiers", 2015, https://arxiv.org/abs/1502.01852.

    Example:
        >>> prelu(jnp.array([[-1.0, -1.0], [2.0, 2.0]]), jnp.array([0.5, 0.1]))
        Array([[-0.5, -0.1],
               [ 2. ,  2. ]], dtype=float32)
    """
    slope = jnp.asarray(negative_slope, None if isinstance(negative_slope, jax.Array) else x.dtype)
    require_floating("prelu", x=x, negative_slope=slope)
    if slope.ndim > 1 or (slope.ndim == 1 and slope.shape != x.shape[-1:]):
        raise ValueError(
            "prelu: expected one negative_slope, or one per channel, the last axis of x, got "
            f"{jax.typeof(slope)} for x {jax.typeof(x)}"
        )
    # Cast after broadcasting, so that the slope's gradient, a sum over the batch, is added up in the slope's dtype.
    slope = jnp.broadcast_to(slope.reshape((1,) * (x.ndim - slope.ndim) + slope.shape), x.shape).astype(x.dtype)
    # x if x >= 0, else negative_slope * x
    return jnp.where(x >= 0, x, slope * x)


def elu(x: Float[Array, "*shape"], *, alpha: Scalar = 1.0) -> Float[Array, "*shape"]:
    """Exponential linear unit: x if x > 0, else alpha * (exp(x) - 1).

    Args:
        x: inputs, any shape.
        alpha: minus the limit at -inf.

    Returns:
        Values in (-alpha, inf).

    Reference:
        Clevert, Unterthiner and Hochreiter, 2015, https://arxiv.org/abs/1511.07289.

    Example:
        >>> elu(jnp.array([-1000.0, 2.0]), alpha=0.5)
        Array([-0.5,  2. ], dtype=float32)
    """
    return jax.nn.elu(x, jnp.asarray(alpha, x.dtype))


def selu(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Scaled exponential linear unit: 1.0507 * elu(x, alpha=1.6733), which keeps mean 0 and variance 1.

    Args:
        x: inputs, any shape.

    Returns:
        Values in (-1.7581, inf).

    Reference:
        Klambauer et al., "Self-normalizing neural networks", 2017, https://arxiv.org/abs/1706.02515.

    Example:
        >>> round(float(selu(jnp.array(-1000.0))), 3)
        -1.758
    """
    return jax.nn.selu(x)


def celu(x: Float[Array, "*shape"], *, alpha: Scalar = 1.0) -> Float[Array, "*shape"]:
    """Continuously differentiable exponential linear unit: max(x, 0) + alpha * (exp(min(x, 0) / alpha) - 1).

    Args:
        x: inputs, any shape.
        alpha: minus the limit at -inf, above 0.

    Returns:
        Values in (-alpha, inf).

    Example:
        >>> celu(jnp.array([-1000.0, 2.0]), alpha=0.5)
        Array([-0.5,  2. ], dtype=float32)
    """
    return jax.nn.celu(x, jnp.asarray(alpha, x.dtype))
