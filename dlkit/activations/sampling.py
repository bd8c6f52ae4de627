"""Activations that draw at random: a differentiable stand-in for a draw among classes."""

import jax
import jax.numpy as jnp
from jaxtyping import Float

from dlkit.checks import require_floating, require_number
from dlkit.typing import Array, Key, Scalar

__all__ = ["gumbel_softmax"]


def gumbel_softmax(
    x: Float[Array, "*shape"], *, key: Key, temperature: Scalar = 1.0, axis: int = -1, hard: bool = False
) -> Float[Array, "*shape"]:
    """Gumbel-softmax: softmax((x + g) / temperature) along an axis, with g ~ Gumbel(0, 1) per element.

    The largest entry is at class i with the probability softmax(x)_i, whatever the temperature; the lower that is, the
    nearer are the values to one-hot. Computed in at least float32.

    Args:
        x: logits, any shape. An entry of -inf (a masked class) gets 0; a row of nothing else gives NaN.
        key: PRNG key of the noise.
        temperature: divides the noisy logits, above 0; may be traced.
        axis: the axis of the classes.
        hard: whether the values are exactly one-hot. The gradient stays that of the soft ones (straight-through).

    Returns:
        Values in [0, 1] that sum to 1 along the axis.

    Raises:
        ValueError: x has no such axis, or temperature is a Python number not above 0.
        TypeError: x is not floating point.

    Reference:
        Jang, Gu and Poole, "Categorical reparameterization with Gumbel-softmax", 2016, https://arxiv.org/abs/1611.01144;
        Maddison, Mnih and Teh, "The concrete distribution", 2016, https://arxiv.org/abs/1611.00712.

    Example:
        >>> draws = gumbel_softmax(jnp.zeros((1000, 2)), key=jax.random.key(0), hard=True)
        >>> sorted(set(draws.flatten().tolist())), bool(abs(draws.mean(axis=0) - 0.5).max() < 0.1)
        ([0.0, 1.0], True)
    """
    require_floating("gumbel_softmax", x=x)
    require_number("gumbel_softmax", "temperature", temperature, above=0)
    if not -x.ndim <= axis < x.ndim:
        raise ValueError(f"gumbel_softmax: expected x with an axis {axis}, got {jax.typeof(x)}")
    compute_dtype = jnp.promote_types(x.dtype, jnp.float32)
    noisy = x.astype(compute_dtype) + jax.random.gumbel(key, x.shape, compute_dtype)
    # Around the largest: the quotient of a large logit and a low temperature would overflow.
    centred = noisy - jax.lax.stop_gradient(noisy.max(axis, keepdims=True))
    # softmax((x + g) / temperature)
    soft = jax.nn.softmax(centred / jnp.asarray(temperature, compute_dtype), axis=axis)
    if not hard:
        return soft.astype(x.dtype)
    chosen = jax.nn.one_hot(jnp.argmax(noisy, axis=axis), x.shape[axis], dtype=compute_dtype, axis=axis)
    # In this order the values are exactly 0 and 1: soft - soft is 0.
    return (chosen + (soft - jax.lax.stop_gradient(soft))).astype(x.dtype)
