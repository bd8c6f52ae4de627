"""Groups of weights: their axes, sizes and norms. By default the weights that lead to one output unit are a group."""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from dlkit.typing import Array

__all__ = ["group_norms", "group_size"]


def group_size(where: str, leaf: Float[Array, "*shape"], group_axes: Sequence[int] | None) -> int:
    """How many weights of a leaf are in each group.

    Args:
        where: the regularizer, for messages.
        leaf: a parameter array.
        group_axes: the axes that a group spans; None means all but the last.

    Returns:
        The product of the sizes of these axes.

    Raises:
        ValueError: the leaf has no such axes.

    Example:
        >>> group_size("group_lasso", jnp.ones((3, 3, 2, 7)), None)
        18
    """
    return math.prod(leaf.shape[axis] for axis in _resolve(where, leaf, group_axes))


def group_norms(
    where: str, leaf: Float[Array, "*shape"], group_axes: Sequence[int] | None
) -> tuple[Float[Array, "..."], Float[Array, "*shape"]]:
    """Euclidean norm and direction of every group, without overflow or underflow of the squares.

    Args:
        where: the regularizer, for messages.
        leaf: a parameter array in float32 or float64.
        group_axes: the axes that a group spans; None means all but the last.

    Returns:
        The norms, with axes of size 1 instead of these axes; and leaf / norm. Both are 0, and so are their gradients,
        in a group of zeros (and of subnormal numbers, which some devices flush to zero).

    Raises:
        ValueError: the leaf has no such axes.

    Example:
        >>> norms, directions = group_norms("group_lasso", jnp.array([[3e30, 0.0], [4e30, 0.0]]), None)
        >>> norms, directions
        (Array([[5.e+30, 0.e+00]], dtype=float32), Array([[0.6, 0. ],
               [0.8, 0. ]], dtype=float32))
    """
    axes = _resolve(where, leaf, group_axes)
    largest = jax.lax.stop_gradient(jnp.max(jnp.abs(leaf), axis=axes, keepdims=True, initial=0.0))
    tiny = np.finfo(leaf.dtype).tiny
    nonzero = ~(largest < tiny)  # NaN is not hidden
    # The norm does not depend on the scale, so its gradient may treat it as a constant. Where a group is zero, 1
    # stands in before the division and the root, or their gradients would be 0 * inf = NaN.
    # The scale is capped because compilers divide by multiplying with 1 / scale, which must not be flushed to zero.
    scale = jnp.where(nonzero, jnp.minimum(largest, 0.25 / tiny), 1.0)
    # Bounded, which changes nothing, because of a constant scale they make (w / scale)^2 = w^2 / scale^2, maybe over 0.
    scaled = jnp.clip(leaf / scale, -np.finfo(leaf.dtype).max, np.finfo(leaf.dtype).max)
    # ||w|| = scale ||w / scale||
    length = jnp.sqrt(jnp.where(nonzero, jnp.sum(jnp.square(scaled), axis=axes, keepdims=True), 1.0))
    return jnp.where(nonzero, scale * length, 0.0), jnp.where(nonzero, scaled / length, 0.0)


def _resolve(where: str, leaf: Array, group_axes: Sequence[int] | None) -> tuple[int, ...]:
    """The axes of a group as numbers from 0."""
    if group_axes is None:
        return tuple(range(leaf.ndim - 1))
    if any(not -leaf.ndim <= axis < leaf.ndim for axis in group_axes):
        raise ValueError(
            f"{where}: expected group_axes of the parameter, got {tuple(group_axes)} for {jax.typeof(leaf)}"
        )
    return tuple(sorted({axis % leaf.ndim for axis in group_axes}))
