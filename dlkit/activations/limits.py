"""Activations at infinity, where their formulas are inf * 0 or inf / inf."""

import jax.numpy as jnp

from dlkit.typing import Array, ArrayFunction

__all__ = ["at_the_ends"]


def at_the_ends(function: ArrayFunction, x: Array, limit: ArrayFunction) -> Array:
    """The function where x is finite, its limit where x is infinite, in values and in gradients.

    Args:
        function: elementwise.
        x: inputs, any shape.
        limit: elementwise: its value and its derivative at -inf and at inf are those that the function tends to. That
            of smooth rectifiers is `jax.nn.relu`.

    Example:
        >>> at_the_ends(lambda x: x / (1.0 + jnp.abs(x)), jnp.array([-jnp.inf, 1.0]), jnp.sign).tolist()
        [-1.0, 0.5]
    """
    infinite = jnp.isinf(x)
    # Replaced beforehand, not only in the result: the gradient would be 0 * NaN.
    return jnp.where(infinite, limit(x), function(jnp.where(infinite, 0.0, x)))
