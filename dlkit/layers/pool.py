"""Pooling: the largest value or the mean of a window that slides over the spatial axes, or of all positions.

In a chain that is given lengths, the steps of a sequence count and its padding does not: the outputs are those of the
sequence alone. Over all positions of a sequence without any step they are 0.
"""

import functools
import itertools
import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Integer, Shaped

from dlkit.checks import require_floating, require_size
from dlkit.layers.base import Layer, described, lambda_
from dlkit.layers.convolution_forms import shifted
from dlkit.layers.products import with_example_shape
from dlkit.layers.ragged import steps_that_count, with_padding_zero
from dlkit.layers.window import Padding, PerAxis, Window, lengths_after, outputs, spatial_shape, taps_of, window_for
from dlkit.typing import Array, Key, Params, Shape, State

__all__ = ["average_pool", "global_average_pool", "global_max_pool", "max_pool"]


@described
def max_pool(window: int | Sequence[int], *, strides: PerAxis | None = None, padding: Padding = "VALID") -> Layer:
    """Max-pooling: y[p, c] = max over the positions t of the window of x[p stride + t, c].

    Padding never wins. The gradient goes to the first of the largest values of a window, in row-major order, as in
    torch and flax; a window with a NaN gives NaN.

    Args:
        window: its size per spatial axis; its length, 1, 2 or 3, is the number of spatial axes. One number is for the
            two axes of an image.
        strides: steps between two windows; one number for all axes, or one for each; None for the window's size.
        padding: "VALID" for none (what is left at the end of an axis is dropped), "SAME" for ceil(size / stride)
            windows per axis, or a pair (before, after) per axis, each smaller than the window.

    Returns:
        A layer without parameters: `[*batch, *spatial, channels]` to `[*batch, *new_spatial, channels]`.

    Raises:
        ValueError: a setting is out of range, or the window is larger than a padded axis.
        TypeError: x is not floating point.

    Example:
        >>> y, state = max_pool((2,)).apply({}, {}, jnp.array([[1.0], [3.0], [2.0], [0.0], [9.0]]))
        >>> y[:, 0].tolist()
        [3.0, 2.0]
    """
    return _pool("max_pool", taps_of(window), strides, padding, _largest)


@described
def average_pool(window: int | Sequence[int], *, strides: PerAxis | None = None, padding: Padding = "VALID") -> Layer:
    """Average-pooling: y[p, c] = mean over the positions t of the window of x[p stride + t, c].

    Padding does not count: at the border, the mean is over the values that are there. (Flax and torch divide by the
    window's size unless told otherwise; without padding there is no difference.)

    Args:
        window: its size per spatial axis; its length, 1, 2 or 3, is the number of spatial axes. One number is for the
            two axes of an image.
        strides: steps between two windows; one number for all axes, or one for each; None for the window's size.
        padding: "VALID" for none (what is left at the end of an axis is dropped), "SAME" for ceil(size / stride)
            windows per axis, or a pair (before, after) per axis, each smaller than the window.

    Returns:
        A layer without parameters: `[*batch, *spatial, channels]` to `[*batch, *new_spatial, channels]`.

    Raises:
        ValueError: a setting is out of range, or the window is larger than a padded axis.
        TypeError: x is not floating point.

    Example:
        >>> y, state = average_pool((2,), padding="SAME").apply({}, {}, jnp.array([[1.0], [3.0], [2.0]]))
        >>> y[:, 0].tolist()
        [2.0, 2.0]
    """
    return _pool("average_pool", taps_of(window), strides, padding, _mean)


@described
def global_max_pool(dimensions: int) -> Layer:
    """The largest value over all positions: y[c] = max over p of x[p, c].

    The gradient is shared equally among equal largest values.

    Args:
        dimensions: number of spatial axes, which are removed: 2 for images `[height, width, channels]`.

    Returns:
        A layer without parameters: `[*batch, *spatial, channels]` to `[*batch, channels]`.

    Raises:
        ValueError: dimensions is no positive integer, or x has fewer spatial axes or an empty one.
        TypeError: x is not floating point.

    Example:
        >>> y, state = global_max_pool(2).apply({}, {}, jnp.arange(12.0).reshape(2, 3, 2))
        >>> y.tolist()
        [10.0, 11.0]
    """
    return _global_pool("global_max_pool", dimensions, lambda x, axes: x.max(axes), -jnp.inf)


@described
def global_average_pool(dimensions: int) -> Layer:
    """The mean over all positions: y[c] = mean over p of x[p, c].

    Args:
        dimensions: number of spatial axes, which are removed: 2 for images `[height, width, channels]`.

    Returns:
        A layer without parameters: `[*batch, *spatial, channels]` to `[*batch, channels]`.

    Raises:
        ValueError: dimensions is no positive integer, or x has fewer spatial axes or an empty one.
        TypeError: x is not floating point.

    Reference:
        Lin, Chen and Yan, "Network in network", 2013, https://arxiv.org/abs/1312.4400.

    Example:
        >>> y, state = global_average_pool(2).apply({}, {}, jnp.arange(12.0).reshape(2, 3, 2))
        >>> y.tolist()
        [5.0, 6.0]
    """
    return _global_pool("global_average_pool", dimensions, _global_mean, 0.0)


def _pool(
    where: str,
    size: Sequence[int],
    strides: PerAxis | None,
    padding: Padding,
    reduce: Callable[[Array, Window], Array],
) -> Layer:
    """A layer that reduces windows of examples with one batch axis."""
    fit = window_for(where, "window", size, strides=size if strides is None else strides, padding=padding)
    dimensions = len(size)
    if not isinstance(padding, str) and any(each >= k for k, pair in zip(size, padding, strict=True) for each in pair):
        raise ValueError(
            f"{where}: expected padding smaller than the window, so that every window holds a value, got padding "
            f"{padding!r} and a window of {tuple(size)}"
        )

    def pooled(x: Shaped[Array, "*batch_and_spatial channels"]) -> Float[Array, "*batch_and_new_spatial channels"]:
        require_floating(where, inputs=x)
        window = fit(spatial_shape(where, x, dimensions))
        batch, example = x.shape[: -dimensions - 1], x.shape[-dimensions - 1 :]
        y = reduce(x.reshape(math.prod(batch), *example), window)
        return y.reshape(*batch, *y.shape[1:])

    def ragged(
        params: Params,
        state: State,
        x: Float[Array, "..."],
        lengths: Integer[Array, "..."],
        *,
        key: Key | None = None,
        train: bool = False,
    ) -> tuple[Float[Array, "..."], State, Integer[Array, "..."]]:
        del params, key, train
        if x.ndim - dimensions - 1 > lengths.ndim:  # within each step
            return pooled(x), state, lengths
        window = fit(spatial_shape(where, x, dimensions))
        after = lengths_after(where, lengths, window, named=padding == "SAME")
        counts = steps_that_count(where, lengths, x)
        if reduce is _largest:
            return with_padding_zero(where, pooled(jnp.where(counts, x, -jnp.inf)), after), state, after
        # The mean over the steps there are: that of all, by the share of those that count.
        share = pooled(jnp.broadcast_to(counts, x.shape).astype(jnp.promote_types(x.dtype, jnp.float32)))
        mean = pooled(jnp.where(counts, x, 0)) / jnp.where(share > 0, share, 1).astype(x.dtype)
        return with_padding_zero(where, mean, after), state, after

    return lambda_(pooled)._replace(ragged=ragged)


def _global_pool(
    where: str, dimensions: int, reduce: Callable[[Array, tuple[int, ...]], Array], padding: float
) -> Layer:
    """A layer that reduces all spatial axes."""
    require_size(where, dimensions=dimensions)

    def pooled(x: Shaped[Array, "*batch_and_spatial channels"]) -> Float[Array, "*batch channels"]:
        require_floating(where, inputs=x)
        spatial_shape(where, x, dimensions)
        return reduce(x, tuple(range(-dimensions - 1, -1)))

    def ragged(
        params: Params,
        state: State,
        x: Float[Array, "..."],
        lengths: Integer[Array, "..."],
        *,
        key: Key | None = None,
        train: bool = False,
    ) -> tuple[Float[Array, "..."], State, Integer[Array, "..."] | None]:
        del params, key, train
        if x.ndim - dimensions - 1 > lengths.ndim:  # within each step
            return pooled(x), state, lengths
        y = pooled(jnp.where(steps_that_count(where, lengths, x), x, padding))
        steps = lengths.reshape(lengths.shape + (1,) * (y.ndim - lengths.ndim))
        if padding == 0:
            # The mean over all steps, times all of them over those that count.
            y = (
                y.astype(jnp.promote_types(y.dtype, jnp.float32)) * x.shape[lengths.ndim] / jnp.maximum(steps, 1)
            ).astype(y.dtype)
        return jnp.where(steps > 0, y, 0), state, None

    return lambda_(pooled)._replace(ragged=ragged)


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def _largest(x: Array, window: Window) -> Array:
    """The largest value of each window; XLA's own gradient of it is 5 to 20 times slower in a loop on CPU."""
    if _tiles(window):
        # XLA would fuse a maximum of slices with whatever made x, one value at a time; before a reduction it does not.
        cut, axes = _cut_into_tiles(x, window)
        return cut.max(axes)
    return functools.reduce(jnp.maximum, _seen(x, window, -jnp.inf))


@_largest.defjvp
def _largest_rule(window: Window, primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    (x,), (dx,) = primals, tangents
    largest, *others = _seen(x, window, -jnp.inf)
    winner = jnp.zeros(largest.shape, jnp.int32)
    for place, value in enumerate(others, start=1):
        winner = jnp.where(value > largest, place, winner)
        largest = jnp.maximum(largest, value)
    if _tiles(window):
        # Every value belongs to one window at most: one comparison each, and nothing is added up.
        cut, axes = _cut_into_tiles(dx, window)
        places = jnp.arange(math.prod(window.size)).reshape(
            [size if axis in axes else 1 for axis, size in enumerate(cut.shape)]
        )
        return _largest(x, window), jnp.where(jnp.expand_dims(winner, axes) == places, cut, 0).sum(axes)
    terms = (jnp.where(winner == place, value, 0) for place, value in enumerate(_seen(dx, window, 0.0)))
    return largest, functools.reduce(jnp.add, terms)


def _mean(x: Array, window: Window) -> Array:
    """The mean of each window over the values that are there."""
    shares, share = _shares(x, math.prod(window.size))
    if _tiles(window):
        cut, axes = _cut_into_tiles(shares, window)
        return (cut.sum(axes) / (math.prod(window.size) * share)).astype(x.dtype)
    total = functools.reduce(jnp.add, _seen(shares, window, 0.0))
    counts = jnp.asarray(_counts(x.shape[1:-1], window)[None, ..., None] * share, total.dtype)
    return (total / counts).astype(x.dtype)


def _global_mean(x: Array, axes: tuple[int, ...]) -> Array:
    """The mean over some axes."""
    count = math.prod(x.shape[axis] for axis in axes)
    shares, share = _shares(x, count)
    return (shares.sum(axes) / (count * share)).astype(x.dtype)


def _shares(x: Array, count: int) -> tuple[Array, float]:
    """Values in at least float32, scaled so that a sum of `count` of them is finite; and the factor.

    It is a power of two: no digit of a value changes.
    """
    share = 0.5 ** (count - 1).bit_length()
    return x.astype(jnp.promote_types(x.dtype, jnp.float32)) * share, share


def _counts(spatial: Shape, window: Window) -> np.ndarray:
    """How many values each window holds, without padding."""
    per_axis = []
    for axis, size, stride, (before, _), count in zip(
        spatial, window.size, window.strides, window.padding, outputs(spatial, window), strict=True
    ):
        starts = np.arange(count) * stride - before
        per_axis.append(np.minimum(starts + size, axis) - np.maximum(starts, 0))
    counts: np.ndarray = functools.reduce(np.multiply.outer, per_axis)
    return counts


def _seen(x: Array, window: Window, fill: float) -> list[Array]:
    """What each position of the window sees, in row-major order."""
    return shifted(x, window, range(len(window.size)), fill)


def _tiles(window: Window) -> bool:
    """Whether the windows lie side by side on the inputs."""
    return window.strides == window.size and not any(map(any, window.padding))


def _cut_into_tiles(x: Array, window: Window) -> tuple[Array, tuple[int, ...]]:
    """Each spatial axis as two, windows and positions in a window; and where the latter are."""
    counts = outputs(x.shape[1:-1], window)
    whole = tuple(slice(count * size) for count, size in zip(counts, window.size, strict=True))
    pairs = itertools.chain.from_iterable(zip(counts, window.size, strict=True))
    cut = with_example_shape(x[(slice(None), *whole)], (*pairs, x.shape[-1]), batch_axes=1)
    return cut, tuple(range(2, 2 * len(window.size) + 1, 2))
