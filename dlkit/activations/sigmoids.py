"""Sigmoids: S-shaped functions, their piecewise linear approximations, and what is made of them.

Elementwise: the same shape and dtype. Values and gradients are finite over the whole range of the dtype,
and are their limits at infinity.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Float

from dlkit.activations.limits import at_the_ends
from dlkit.typing import Array

__all__ = ["hard_sigmoid", "hard_silu", "hard_tanh", "log_sigmoid", "sigmoid", "softsign", "tanh"]


def sigmoid(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Logistic sigmoid: 1 / (1 + exp(-x)).

    Args:
        x: inputs, any shape.

    Returns:
        Values in [0, 1].

    Example:
        >>> sigmoid(jnp.array([-1000.0, 0.0]))
        Array([0. , 0.5], dtype=float32)
    """
    return jax.nn.sigmoid(x)


def log_sigmoid(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Logarithm of the sigmoid, log(1 / (1 + exp(-x))) = -softplus(-x), without underflow.

    Args:
        x: inputs, any shape.

    Returns:
        Values in (-inf, 0].

    Example:
        >>> log_sigmoid(jnp.array([-1000.0, 1000.0]))
        Array([-1000.,    -0.], dtype=float32)
    """
    return jax.nn.log_sigmoid(x)


def hard_sigmoid(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Piecewise linear sigmoid: relu6(x + 3) / 6.

    Args:
        x: inputs, any shape.

    Returns:
        Values in [0, 1].

    Reference:
        Howard et al., "Searching for MobileNetV3", 2019, https://arxiv.org/abs/1905.02244.

    Example:
        >>> hard_sigmoid(jnp.array([-3.0, 0.0, 3.0]))
        Array([0. , 0.5, 1. ], dtype=float32)
    """
    return jax.nn.hard_sigmoid(x)


def hard_silu(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Piecewise quadratic silu, also called hard swish: x * hard_sigmoid(x).

    Args:
        x: inputs, any shape.

    Returns:
        Values in [-0.375, inf).

    Example:
        >>> hard_silu(jnp.array([-1.5, 3.0]))
        Array([-0.375,  3.   ], dtype=float32)
    """
    return at_the_ends(jax.nn.hard_silu, x, jax.nn.relu)


def tanh(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Hyperbolic tangent: (exp(x) - exp(-x)) / (exp(x) + exp(-x)).

    Args:
        x: inputs, any shape.

    Returns:
        Values in [-1, 1].

    Example:
        >>> tanh(jnp.array([0.0, 1000.0]))
        Array([0., 1.], dtype=float32)
    """
    return jnp.tanh(x)


def hard_tanh(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Piecewise linear tanh: min(max(x, -1), 1).

    Args:
        x: inputs, any shape.

    Returns:
        Values in [-1, 1].

    Example:
        >>> hard_tanh(jnp.array([-2.0, 0.5]))
        Array([-1. ,  0.5], dtype=float32)
    """
    return jax.nn.hard_tanh(x)


def softsign(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Softsign: x / (1 + |x|).

    Args:
        x: inputs, any shape.

    Returns:
        Values in [-1, 1].

    Example:
        >>> softsign(jnp.array([-1.0, 3.0]))
        Array([-0.5 ,  0.75], dtype=float32)
    """
    return at_the_ends(jax.nn.soft_sign, x, jnp.sign)
