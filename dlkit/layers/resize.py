"""Layers that change the resolution of examples: by interpolation, and by moving channels into space."""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Float, Shaped

from dlkit.checks import require_floating, require_size
from dlkit.layers.base import Layer, described, lambda_
from dlkit.layers.products import with_example_shape
from dlkit.typing import Array

__all__ = ["new_sizes", "pixel_shuffle", "require_spatial", "resize"]

_METHODS = ("nearest", "linear", "cubic")


@described
def resize(shape: Sequence[int], *, method: str = "linear", antialias: bool = True) -> Layer:
    """Interpolate the spatial axes to other sizes.

    The centre of output p lies at (p + 1/2) size / new_size - 1/2, as with `align_corners=False` in torch; what lies
    outside takes the nearest values' weights.

    Args:
        shape: new size per spatial axis; its length is the number of spatial axes: `(64, 64)` for images.
        method: "nearest", "linear" (bilinear for images) or "cubic" (Keys' kernel with a = -1/2).
        antialias: whether an axis that gets smaller is smoothed by the kernel stretched, so that no value is skipped.

    Returns:
        A layer without parameters: `[*batch, *spatial, channels]` to `[*batch, *shape, channels]`; the dtype is kept.

    Raises:
        ValueError: a size is no positive integer, the method is unknown, or x has fewer axes.
        TypeError: x is not floating point.

    Example:
        >>> y, state = resize((4,)).apply({}, {}, jnp.array([[0.0], [1.0]]))
        >>> y[:, 0].tolist()
        [0.0, 0.25, 0.75, 1.0]
    """
    sizes = new_sizes("resize", shape, (64, 64))
    if method not in _METHODS:
        raise ValueError(f"resize: expected method to be one of {', '.join(map(repr, _METHODS))}, got {method!r}")

    def resized(x: Shaped[Array, "*batch_and_spatial channels"]) -> Float[Array, "*batch_and_new_spatial channels"]:
        require_spatial("resize", x, len(sizes))
        whole = (*x.shape[: x.ndim - len(sizes) - 1], *sizes, x.shape[-1])
        wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
        y: Array = jax.image.resize(wide, whole, method, antialias=antialias)
        return y.astype(x.dtype)

    return lambda_(resized)


@described
def pixel_shuffle(factor: int, *, dimensions: int = 2) -> Layer:
    """Move channels into space: factor^dimensions channels become one, at as many times the positions.

    For images y[h f + i, w f + j, c] = x[h, w, (c f + i) f + j] with f = factor: the order of channels is torch's. (In
    TensorFlow's depth_to_space c varies fastest.)

    Args:
        factor: how many times larger each spatial axis becomes.
        dimensions: number of spatial axes: 2 for images `[height, width, channels]`.

    Returns:
        A layer without parameters: `[*batch, *spatial, channels]` to `[*batch, *(factor spatial), channels /
        factor^dimensions]`.

    Raises:
        ValueError: factor or dimensions is no positive integer, x has fewer axes, or factor^dimensions does not divide
            its channels.
        TypeError: x is not floating point.

    Reference:
        Shi et al., "Real-time single image and video super-resolution using an efficient sub-pixel convolutional neural
        network", 2016, https://arxiv.org/abs/1609.05158.

    Example:
        >>> y, state = pixel_shuffle(2).apply({}, {}, jnp.arange(4.0).reshape(1, 1, 4))
        >>> y[..., 0].tolist()
        [[0.0, 1.0], [2.0, 3.0]]
    """
    require_size("pixel_shuffle", factor=factor, dimensions=dimensions)
    block = factor**dimensions

    def shuffled(
        x: Shaped[Array, "*batch_and_spatial channels"],
    ) -> Float[Array, "*batch_and_new_spatial new_channels"]:
        require_spatial("pixel_shuffle", x, dimensions)
        if x.shape[-1] % block:
            raise ValueError(f"pixel_shuffle: expected channels that {block} divides, got {jax.typeof(x)}")
        batch = x.ndim - dimensions - 1
        spatial, channels = x.shape[batch:-1], x.shape[-1] // block
        # [*batch, h, w, c f f] -> [*batch, h, w, c, f, f] -> [*batch, h, f, w, f, c]
        apart = with_example_shape(x, (*spatial, channels, *(factor,) * dimensions), batch_axes=batch)
        pairs = [axis for place in range(dimensions) for axis in (place, dimensions + 1 + place)]
        order = (*range(batch), *(batch + axis for axis in (*pairs, dimensions)))
        larger = (*(factor * size for size in spatial), channels)
        return with_example_shape(apart.transpose(order), larger, batch_axes=batch)

    return lambda_(shuffled)


def new_sizes(where: str, shape: Sequence[int], such_as: tuple[int, ...]) -> tuple[int, ...]:
    """The sizes that spatial axes are to have, once they are checked.

    Example:
        >>> new_sizes("resize", [4, 6], (64, 64))
        (4, 6)
    """
    sizes = tuple(shape)
    if not sizes:
        raise ValueError(f"{where}: expected a size per spatial axis, such as {such_as}, got ()")
    for place, size in enumerate(sizes):
        require_size(where, **{f"shape[{place}]": size})
    return sizes


def require_spatial(where: str, x: Array, dimensions: int) -> None:
    """Refuse what has fewer axes than the spatial ones and channels, or nothing along them.

    Example:
        >>> require_spatial("resize", jnp.zeros((8, 0, 3)), 2)
        Traceback (most recent call last):
            ...
        ValueError: resize: expected inputs with 2 spatial axes and channels, none of size 0, got float32[8,0,3]
    """
    require_floating(where, inputs=x)
    if x.ndim < dimensions + 1 or math.prod(x.shape[x.ndim - dimensions - 1 :]) == 0:
        raise ValueError(
            f"{where}: expected inputs with {dimensions} spatial axes and channels, none of size 0, got {jax.typeof(x)}"
        )
