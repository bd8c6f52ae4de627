"""Activations along an axis: shares that sum to 1, and gates that halve the axis."""

import jax
import jax.numpy as jnp
from jaxtyping import Float

from dlkit.activations.smooth import gelu
from dlkit.checks import require_floating
from dlkit.typing import Array

__all__ = ["geglu", "glu", "log_softmax", "softmax", "sparsemax", "swiglu"]


def softmax(x: Float[Array, "*shape"], *, axis: int = -1) -> Float[Array, "*shape"]:
    """Softmax: exp(x_i) / sum_j exp(x_j) along an axis, computed in at least float32.

    Args:
        x: logits, any shape. An entry of -inf (a masked class) gets 0; a row of nothing else has no softmax: NaN.
        axis: the axis of the sum.

    Returns:
        Values in [0, 1] that sum to 1 along the axis.

    Raises:
        ValueError: x has no such axis.
        TypeError: x is not floating point.

    Example:
        >>> softmax(jnp.array([1e4, 1e4, -jnp.inf]))
        Array([0.5, 0.5, 0. ], dtype=float32)
    """
    _require_axis("softmax", x, axis)
    # exp(x_i) / sum_j exp(x_j)
    return jax.nn.softmax(x.astype(jnp.promote_types(x.dtype, jnp.float32)), axis=axis).astype(x.dtype)


def log_softmax(x: Float[Array, "*shape"], *, axis: int = -1) -> Float[Array, "*shape"]:
    """Logarithm of the softmax: x_i - log sum_j exp(x_j) along an axis, without underflow; in at least float32.

    Args:
        x: logits, any shape. An entry of -inf (a masked class) stays -inf; a row of nothing else gives NaN.
        axis: the axis of the sum.

    Returns:
        Values in [-inf, 0], in nats.

    Raises:
        ValueError: x has no such axis.
        TypeError: x is not floating point.

    Example:
        >>> log_softmax(jnp.array([1e4, -1e4]))
        Array([     0., -20000.], dtype=float32)
    """
    _require_axis("log_softmax", x, axis)
    # x_i - log sum_j exp(x_j)
    return jax.nn.log_softmax(x.astype(jnp.promote_types(x.dtype, jnp.float32)), axis=axis).astype(x.dtype)


def sparsemax(x: Float[Array, "*shape"], *, axis: int = -1) -> Float[Array, "*shape"]:
    """Sparsemax: the point of the simplex nearest to x along an axis, max(x_i - threshold, 0), most of them exactly 0.

    The threshold is such that the values sum to 1. Computed in at least float32.

    Args:
        x: logits, any shape. An entry of -inf (a masked class) gets 0; a row of nothing else gives NaN.
        axis: the axis of the sum.

    Returns:
        Values in [0, 1] that sum to 1 along the axis. Where a logit is at least 1 below the largest, the value is 0.

    Raises:
        ValueError: x has no such axis.
        TypeError: x is not floating point.

    Reference:
        Martins and Astudillo, "From softmax to sparsemax", 2016, https://arxiv.org/abs/1602.02068.

    Example:
        >>> sparsemax(jnp.array([1.0, 0.5, -1.0]))
        Array([0.75, 0.25, 0.  ], dtype=float32)
    """
    _require_axis("sparsemax", x, axis)
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    # It does not change when a number is added to all, and nothing more than 1 below the largest has a share.
    shifted = jnp.maximum(wide - jax.lax.stop_gradient(wide.max(axis, keepdims=True)), -2.0)
    falling = -jnp.sort(-jax.lax.stop_gradient(shifted), axis=axis)
    others = tuple(each for each in range(x.ndim) if each != axis % x.ndim)
    places = jnp.expand_dims(jnp.arange(1, x.shape[axis] + 1, dtype=wide.dtype), others)
    # The support: the largest k logits, with the largest k for which 1 + k x_(k) > x_(1) + ... + x_(k)
    inside = 1.0 + places * falling > jnp.cumsum(falling, axis=axis)
    least = jnp.min(jnp.where(inside, falling, 0.0), axis=axis, keepdims=True)
    support = shifted >= least
    count = support.sum(axis, keepdims=True).astype(wide.dtype)
    # threshold = (sum of the support - 1) / k
    threshold = (jnp.where(support, shifted, 0.0).sum(axis, keepdims=True) - 1.0) / jnp.maximum(count, 1.0)
    # max(x_i - threshold, 0); a logit that just enters the support may be below it by rounding
    shares = jnp.where(support, jnp.maximum(shifted - threshold, 0.0), 0.0)
    return jnp.where(jnp.isnan(shifted), shifted, shares).astype(x.dtype)


def glu(x: Float[Array, "*shape"], *, axis: int = -1) -> Float[Array, "*half"]:
    """Gated linear unit: a * sigmoid(b), where a and b are the first and the second half of x along an axis.

    Args:
        x: inputs, with an even size along the axis; the second half is the gate.
        axis: the axis that is halved.

    Returns:
        Values of the dtype of x, with half its size along the axis.

    Raises:
        ValueError: x has no such axis, or its size is odd.
        TypeError: x is not floating point.

    Reference:
        Dauphin et al., "Language modeling with gated convolutional networks", 2016, https://arxiv.org/abs/1612.08083.

    Example:
        >>> glu(jnp.array([1.0, 2.0, 0.0, 1000.0]))
        Array([0.5, 2. ], dtype=float32)
    """
    a, b = _halves("glu", x, axis)
    # a * sigmoid(b)
    return a * jax.nn.sigmoid(b)


def geglu(x: Float[Array, "*shape"], *, axis: int = -1) -> Float[Array, "*half"]:
    """Gated linear unit with gelu: gelu(a) * b, where a and b are the first and the second half of x along an axis.

    The **first** half goes through gelu, as in `swiglu`; torch's users often write it the other way round.

    Args:
        x: inputs, with an even size along the axis.
        axis: the axis that is halved.

    Returns:
        Values of the dtype of x, with half its size along the axis.

    Raises:
        ValueError: x has no such axis, or its size is odd.
        TypeError: x is not floating point.

    Reference:
        Shazeer, "GLU variants improve transformer", 2020, https://arxiv.org/abs/2002.05202.

    Example:
        >>> geglu(jnp.array([0.0, 1000.0, 1.0, 2.0]))
        Array([   0., 2000.], dtype=float32)
    """
    a, b = _halves("geglu", x, axis)
    # gelu(a) * b
    return gelu(a) * b


def swiglu(x: Float[Array, "*shape"], *, axis: int = -1) -> Float[Array, "*half"]:
    """Gated linear unit with silu: silu(a) * b, where a and b are the first and the second half of x along an axis.

    The **first** half goes through silu and gates the second, as in Shazeer's Swish_1(x W) * (x V) with W before V; in
    `glu` the gate is the second half.

    Args:
        x: inputs, with an even size along the axis.
        axis: the axis that is halved.

    Returns:
        Values of the dtype of x, with half its size along the axis.

    Raises:
        ValueError: x has no such axis, or its size is odd.
        TypeError: x is not floating point.

    Reference:
        Shazeer, "GLU variants improve transformer", 2020, https://arxiv.org/abs/2002.05202.

    Example:
        >>> swiglu(jnp.array([0.0, 1000.0, 1.0, 2.0]))
        Array([   0., 2000.], dtype=float32)
    """
    a, b = _halves("swiglu", x, axis)
    # silu(a) * b
    return jax.nn.silu(a) * b


def _halves(where: str, x: Array, axis: int) -> tuple[Array, Array]:
    """The two halves of x along an axis."""
    _require_axis(where, x, axis)
    if x.shape[axis] % 2:
        raise ValueError(
            f"{where}: expected an even size along axis {axis}, got {jax.typeof(x)}; "
            "the layer before makes the value and the gate: twice the features"
        )
    first, second = jnp.split(x, 2, axis)
    return first, second


def _require_axis(where: str, x: Array, axis: int) -> None:
    require_floating(where, x=x)
    if not -x.ndim <= axis < x.ndim:
        raise ValueError(f"{where}: expected x with an axis {axis}, got {jax.typeof(x)}")
