"""Pools whose outputs have a given shape, whatever that of the inputs: windows are as even as they can be."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Float, Shaped

from dlkit.layers.base import Layer, described, lambda_
from dlkit.layers.resize import new_sizes, require_spatial
from dlkit.typing import Array

__all__ = ["adaptive_average_pool", "adaptive_max_pool"]


@described
def adaptive_average_pool(shape: Sequence[int]) -> Layer:
    """Average-pooling to a given shape: output p is the mean from floor(p size / new) to ceil((p + 1) size / new).

    The windows cover all positions, differ by at most one in size, and overlap where the sizes do not divide, as in
    torch. An axis may become larger: then positions are repeated.

    Args:
        shape: new size per spatial axis; its length is the number of spatial axes: `(7, 7)` for images.

    Returns:
        A layer without parameters: `[*batch, *spatial, channels]` to `[*batch, *shape, channels]`.

    Raises:
        ValueError: a size is no positive integer, or x has fewer axes or an empty one.
        TypeError: x is not floating point.

    Example:
        >>> y, state = adaptive_average_pool((2,)).apply({}, {}, jnp.array([[1.0], [2.0], [6.0]]))
        >>> y[:, 0].tolist()
        [1.5, 4.0]
    """

    def mean(part: Array, axis: int) -> Array:
        # Shares, not a sum: it cannot overflow.
        return (part / part.shape[axis]).sum(axis)

    return _adaptive("adaptive_average_pool", shape, mean)


@described
def adaptive_max_pool(shape: Sequence[int]) -> Layer:
    """Max-pooling to a given shape: output p is the largest from floor(p size / new) to ceil((p + 1) size / new).

    The windows are those of `adaptive_average_pool`. The gradient is shared equally among equal largest values along an
    axis.

    Args:
        shape: new size per spatial axis; its length is the number of spatial axes: `(7, 7)` for images.

    Returns:
        A layer without parameters: `[*batch, *spatial, channels]` to `[*batch, *shape, channels]`.

    Raises:
        ValueError: a size is no positive integer, or x has fewer axes or an empty one.
        TypeError: x is not floating point.

    Example:
        >>> y, state = adaptive_max_pool((2,)).apply({}, {}, jnp.array([[1.0], [2.0], [6.0]]))
        >>> y[:, 0].tolist()
        [2.0, 6.0]
    """
    return _adaptive("adaptive_max_pool", shape, lambda part, axis: part.max(axis))


def _adaptive(where: str, shape: Sequence[int], reduce: Callable[[Array, int], Array]) -> Layer:
    """A layer that reduces windows along one spatial axis after the other: a window is a product of intervals."""
    sizes = new_sizes(where, shape, (7, 7))

    def pooled(x: Shaped[Array, "*batch_and_spatial channels"]) -> Float[Array, "*batch_and_new_spatial channels"]:
        require_spatial(where, x, len(sizes))
        first = x.ndim - len(sizes) - 1
        y = x.astype(jnp.promote_types(x.dtype, jnp.float32))
        for axis, new in enumerate(sizes, start=first):
            size = y.shape[axis]
            bounds = [(place * size // new, -(-(place + 1) * size // new)) for place in range(new)]
            y = jnp.stack([reduce(jax.lax.slice_in_dim(y, *pair, axis=axis), axis) for pair in bounds], axis)
        return y.astype(x.dtype)

    return lambda_(pooled)
