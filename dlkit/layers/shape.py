"""Layers that change the shape of the examples and keep their values."""

import math

import jax
from jaxtyping import Float

from dlkit.checks import require_size
from dlkit.layers.base import Layer, described, lambda_
from dlkit.layers.products import with_example_shape
from dlkit.typing import Array, Shape

__all__ = ["flatten", "reshape"]


@described
def flatten(axes: int) -> Layer:
    """Merge the last axes into one, in row-major order.

    Sequences of unequal lengths have no such form: with lengths it is refused in a chain.

    The number of axes has to be told, because `apply` cannot know where the batch axes end.

    Args:
        axes: how many trailing axes are merged: 3 for images `[height, width, channels]`.

    Returns:
        A layer without parameters: `[*batch, *example]` to `[*batch, size]`, where the example has this many axes.

    Raises:
        ValueError: axes is no positive integer, or x has fewer.

    Example:
        >>> import jax.numpy as jnp
        >>> y, state = flatten(3).apply({}, {}, jnp.zeros((5, 8, 8, 3)))
        >>> y.shape
        (5, 192)
    """
    require_size("flatten", axes=axes)

    def merged(x: Float[Array, "*batch_and_example"]) -> Float[Array, "*batch size"]:
        if x.ndim < axes:
            raise ValueError(f"flatten: expected inputs with {axes} axes to merge, got {jax.typeof(x)}")
        size = math.prod(x.shape[x.ndim - axes :])
        return with_example_shape(x, (size,), batch_axes=x.ndim - axes)

    return lambda_(merged)


@described
def reshape(input_shape: Shape, output_shape: Shape) -> Layer:
    """Give every example another shape, in row-major order.

    Args:
        input_shape: shape of an example.
        output_shape: the shape that it gets, of as many values.

    Returns:
        A layer without parameters: `[*batch, *input_shape]` to `[*batch, *output_shape]`.

    Raises:
        ValueError: the shapes hold different numbers of values, or x does not end in input_shape.

    Example:
        >>> import jax.numpy as jnp
        >>> y, state = reshape((6,), (2, 3)).apply({}, {}, jnp.zeros((5, 6)))
        >>> y.shape
        (5, 2, 3)
    """
    before, after = tuple(input_shape), tuple(output_shape)
    if math.prod(before) != math.prod(after) or min((*before, *after), default=0) < 0:
        raise ValueError(f"reshape: expected two shapes of as many values, got {before} and {after}")

    def reshaped(x: Float[Array, "*batch_and_input"]) -> Float[Array, "*batch_and_output"]:
        batch = x.shape[: max(x.ndim - len(before), 0)]
        if x.shape != batch + before:
            raise ValueError(f"reshape: expected inputs that end in {before}, got {jax.typeof(x)}")
        return with_example_shape(x, after, batch_axes=len(batch))

    return lambda_(reshaped)
