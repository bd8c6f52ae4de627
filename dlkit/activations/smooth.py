"""Smooth rectifiers: like max(x, 0) far from 0, without its kink.

Elementwise: the same shape and dtype. Values and gradients are finite over the whole range of the dtype,
and are their limits at infinity.
"""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Float

from dlkit.activations.limits import at_the_ends
from dlkit.typing import Array, Scalar

__all__ = ["gelu", "mish", "silu", "softplus", "squareplus"]


def gelu(x: Float[Array, "*shape"], *, approximate: bool = False) -> Float[Array, "*shape"]:
    """Gaussian error linear unit: x * Phi(x), with Phi the distribution function of the standard normal.

    Args:
        x: inputs, any shape.
        approximate: use x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x^3))) instead, within 5e-4 of the exact.

    Returns:
        Values of the shape and dtype of x.

    Reference:
        Hendrycks and Gimpel, 2016, https://arxiv.org/abs/1606.08415.

    Example:
        >>> round(float(gelu(jnp.array(1.0))), 3)
        0.841
    """
    return at_the_ends(_tanh_gelu if approximate else _erf_gelu, x, jax.nn.relu)


def _erf_gelu(x: Array) -> Array:
    # x * Phi(x)
    return jax.nn.gelu(x, approximate=False)


def _tanh_gelu(x: Array) -> Array:
    # Beyond |x| = 10 the tanh is +-1 in every dtype, while x^3 would overflow and its gradient be 0 * inf.
    z = jnp.clip(x, -10.0, 10.0)
    # x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x^3)))
    return x * (0.5 * (1.0 + jnp.tanh(0.7978845608028654 * (z + 0.044715 * z**3))))


def silu(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Sigmoid linear unit, also called swish: x * sigmoid(x).

    Args:
        x: inputs, any shape.

    Returns:
        Values in [-0.2785, inf).

    Reference:
        Elfwing, Uchibe and Doya, 2017, https://arxiv.org/abs/1702.03118.

    Example:
        >>> round(float(silu(jnp.array(1.0))), 3)
        0.731
    """
    return at_the_ends(jax.nn.silu, x, jax.nn.relu)


def mish(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Mish: x * tanh(softplus(x)).

    Args:
        x: inputs, any shape.

    Returns:
        Values in [-0.3089, inf).

    Reference:
        Misra, 2019, https://arxiv.org/abs/1908.08681.

    Example:
        >>> round(float(mish(jnp.array(1.0))), 3)
        0.865
    """
    return at_the_ends(jax.nn.mish, x, jax.nn.relu)


def softplus(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Smooth relu: log(1 + exp(x)).

    Args:
        x: inputs, any shape.

    Returns:
        Values in [0, inf).

    Example:
        >>> round(float(softplus(jnp.array(0.0))), 3)
        0.693
    """
    return jax.nn.softplus(x)


def squareplus(x: Float[Array, "*shape"], *, b: Scalar = 4.0) -> Float[Array, "*shape"]:
    """Algebraic smooth relu: (x + sqrt(x^2 + b)) / 2.

    Args:
        x: inputs, any shape.
        b: width of the bend, above 0; the value at 0 is sqrt(b) / 2.

    Returns:
        Values in [0, inf).

    Reference:
        Barron, 2021, https://arxiv.org/abs/2112.11687.

    Example:
        >>> squareplus(jnp.array([0.0, 1.5]))
        Array([1., 2.], dtype=float32)
    """
    return at_the_ends(functools.partial(_squareplus, b=jnp.asarray(b, x.dtype)), x, jax.nn.relu)


def _squareplus(x: Array, *, b: Array) -> Array:
    # jax.nn.squareplus overflows in x^2 and cancels for x << 0; hypot does not overflow, and the two roots of
    # y^2 - |x| y - b / 4 have the product -b / 4, which gives the small one without a difference.
    # (|x| + h) / 2 is written as |x| + (h - |x|) / 2 because the sum could overflow.
    magnitude = jnp.abs(x)
    large = magnitude + 0.5 * (jnp.hypot(x, jnp.sqrt(b)) - magnitude)
    # (x + sqrt(x^2 + b)) / 2
    return jnp.where(x >= 0, large, 0.25 * b / large)
