"""How many steps of padded sequences count."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Integer

from dlkit.typing import Array, Shape

__all__ = ["within_lengths"]


def within_lengths(where: str, lengths: Integer[Array, "*batch"], shape: Shape) -> Bool[Array, "*batch time"]:
    """Which positions of sequences of given lengths count: t < length.

    Args:
        where: the function that asks, first in a message.
        lengths: how many positions of each sequence count.
        shape: that of the result, `(*batch, time)`.

    Returns:
        True at the first positions, false at the padding after them.

    Raises:
        ValueError: there is not one length per sequence, or one is known (outside `jit`) to be out of range.
        TypeError: the lengths are not integers.

    Example:
        >>> within_lengths("attention", jnp.array([1, 3]), (2, 3)).tolist()
        [[True, False, False], [True, True, True]]
    """
    if not jnp.issubdtype(lengths.dtype, jnp.integer):
        raise TypeError(f"{where}: expected integer lengths, got {jax.typeof(lengths)}")
    if lengths.shape != shape[:-1]:
        raise ValueError(
            f"{where}: expected one length per sequence, shape {list(shape[:-1])}, got {jax.typeof(lengths)}"
        )
    if not isinstance(lengths, jax.core.Tracer):
        values = np.asarray(lengths)
        wrong = np.argwhere((values < 0) | (values > shape[-1]))
        if len(wrong):
            position = tuple(wrong[0].tolist())
            at = f" at position {position}" if position else ""
            raise ValueError(f"{where}: expected lengths in [0, {shape[-1]}], got {values[position]}{at}")
    # t < length
    return jnp.arange(shape[-1]).reshape((1,) * lengths.ndim + (-1,)) < jnp.expand_dims(lengths, -1)
