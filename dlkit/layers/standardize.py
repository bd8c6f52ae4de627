"""The arithmetic that the normalization layers share: mean 0 and variance 1 along axes, then a scale and a bias.

Standardizing does not depend on the unit of the inputs (but for epsilon), so it is done in a unit and around an origin
of its own: nothing overflows up to the largest number of the dtype, a constant gives exactly 0, and a mean far from 0
costs no digits.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from dlkit.layers.products import is_sharded, spread
from dlkit.typing import Array, Initializer, Key, Params, Scalar, Shape

__all__ = ["init_scale_and_bias", "scale_and_bias", "standardize", "standardize_across"]

# Up to here squares and their sums stay far from overflow, and the unit is 1.
_LARGE = 2.0**30
# Far below the variance of anything that is not constant in its unit; its rsqrt still has a finite derivative.
_LEAST_VARIANCE = 1e-24


def standardize(
    x: Float[Array, "*shape"],
    axes: tuple[int, ...],
    *,
    epsilon: Scalar,
    center: bool = True,
    where: Bool[Array, "..."] | None = None,
) -> tuple[Float[Array, "*shape"], Float[Array, "*reduced"], Float[Array, "*reduced"]]:
    """Standardize along axes: y = (x - mean) / sqrt(variance + epsilon), with the variance mean((x - mean)^2).

    Values and gradients are finite for all finite x. The gradient passes through mean and variance.

    Args:
        x: values in the dtype to compute in, at least float32.
        axes: over which mean and variance are taken; not of size 0.
        epsilon: added to the variance, at least 0, in the squared unit of x.
        center: false takes 0 for the mean, so that y = x / sqrt(mean(x^2) + epsilon).
        where: which values count, of as many axes as x, any of them of size 1; None for all. The others may be
            anything; there y is 0. Where none counts mean and variance are 0.

    Returns:
        y, the mean and the variance (biased: divided by n), these two without the axes. A variance beyond the range of
        the dtype is inf; y does not suffer from that.

    Example:
        >>> y, mean, variance = standardize(jnp.array([[-1e38, 3e38], [5.0, 5.0]]), (1,), epsilon=1e-6)
        >>> y.round(3).tolist(), variance.tolist()
        ([[-1.0, 1.0], [0.0, 0.0]], [inf, 0.0])
    """
    counts = None if where is None else jnp.maximum(_total(where, axes, x), 1.0)
    if where is not None:
        x = jnp.where(where, x, 0)
    unit = _unit(jnp.max(jnp.abs(jax.lax.stop_gradient(x)), axis=axes, keepdims=True))
    # Bounded, which changes nothing: of a constant unit the compiler makes (x / unit)^2 = x^2 / unit^2, which overflow.
    largest = np.finfo(x.dtype).max
    deviations = x / unit if center else jnp.clip(x / unit, -largest, largest)
    mean = jnp.zeros_like(unit)
    if center:
        # x - mean = (x - origin) - mean(x - origin) for every origin; one of the values makes the difference exact
        # where they are close together.
        origin = _origin(jax.lax.stop_gradient(deviations), axes)
        deviations = _counted(deviations - origin, where)
        offset = _mean(deviations, axes, counts)
        deviations = _counted(deviations - offset, where)
        mean = (origin + offset) * unit
    # mean((x - mean)^2)
    variance = _mean(jnp.square(deviations), axes, counts)
    least = jnp.maximum(jnp.asarray(epsilon, x.dtype) / unit / unit, _LEAST_VARIANCE)
    # (x - mean) / sqrt(variance + epsilon)
    y = deviations * jax.lax.rsqrt(variance + least)
    return y, jnp.squeeze(mean, axes), jnp.squeeze(variance * unit * unit, axes)


def standardize_across(
    x: Float[Array, "*shape"],
    axes: tuple[int, ...],
    *,
    axis_name: str | tuple[str, ...],
    epsilon: Scalar,
    where: Bool[Array, "..."] | None = None,
) -> tuple[Float[Array, "*shape"], Float[Array, "*reduced"], Float[Array, "*reduced"], Bool[Array, "*reduced"]]:
    """Standardize along axes and over the devices of a mapped axis together, by two all-reduces.

    The first one brings a number near the mean, which is a constant to the gradient: standardizing does not depend on
    it. The second one brings the sums of the deviations from it and of their squares.

    Args:
        x: a device's values, as in `standardize`; as many on each device.
        axes: over which mean and variance are taken.
        axis_name: names of the axes of `jax.shard_map`, `jax.pmap` or `jax.vmap`.
        epsilon: added to the variance.
        where: which values count, as in `standardize`.

    Returns:
        y, the mean and the variance of the values of all devices, and whether any of these counts.

    Example:
        >>> x = jnp.array([[1.0, 3.0], [5.0, 7.0]])
        >>> each = jax.vmap(lambda x: standardize_across(x, (0,), axis_name="data", epsilon=0.0)[1:3], axis_name="data")
        >>> [statistic.tolist() for statistic in each(x)]
        [[4.0, 4.0], [5.0, 5.0]]
    """
    devices = jax.lax.psum(1, axis_name)
    most = math.prod(x.shape[axis] for axis in axes)
    x = _counted(x, where)
    fixed = jax.lax.stop_gradient(x)
    magnitude = jnp.max(jnp.abs(fixed), axis=axes, keepdims=True)
    kept = magnitude.shape
    share = jnp.ones_like(magnitude) if where is None else _total(where, axes, x) / most
    _, mean, _ = standardize(fixed, axes, epsilon=epsilon, where=where)
    # Parts of means, not sums: they cannot overflow.
    parts = jnp.stack([mean.reshape(kept) * share / devices, magnitude / devices, share / devices])
    mean, magnitude, share = jax.lax.psum(parts, axis_name)
    any_counts = jnp.squeeze(share > 0, axes)
    share = jnp.where(share > 0, share, 1.0)
    unit = _unit(magnitude)
    origin = mean / share / unit
    deviations = _counted(x / unit - origin, where)
    moments = [each.mean(axes, keepdims=True) / (devices * share) for each in (deviations, jnp.square(deviations))]
    offset, square = jax.lax.psum(jnp.stack(moments), axis_name)
    # mean((x - mean)^2) = mean((x - origin)^2) - (mean - origin)^2, where the origin differs from the mean by rounding
    variance = jnp.maximum(square - jnp.square(offset), 0.0)
    least = jnp.maximum(jnp.asarray(epsilon, x.dtype) / unit / unit, _LEAST_VARIANCE)
    # (x - mean) / sqrt(variance + epsilon)
    y = _counted(deviations - offset, where) * jax.lax.rsqrt(variance + least)
    return y, jnp.squeeze((origin + offset) * unit, axes), jnp.squeeze(variance * unit * unit, axes), any_counts


def init_scale_and_bias(
    key: Key, shape: Shape, *, scale_init: Initializer | None, bias_init: Initializer | None
) -> Params:
    """Make the parameters `{"scale", "bias"}` in float32.

    Args:
        key: PRNG key.
        shape: of each.
        scale_init: `(key, shape, dtype) -> array`; None leaves the scale out.
        bias_init: the same for the bias.

    Returns:
        A dictionary with those that there are.

    Example:
        >>> init_scale_and_bias(jax.random.key(0), (2,), scale_init=jax.nn.initializers.ones, bias_init=None)
        {'scale': Array([1., 1.], dtype=float32)}
    """
    params = {}
    if scale_init is not None:
        params["scale"] = scale_init(jax.random.fold_in(key, 0), shape, jnp.float32)
    if bias_init is not None:
        params["bias"] = bias_init(jax.random.fold_in(key, 1), shape, jnp.float32)
    return params


def scale_and_bias(y: Float[Array, "*shape"], params: Params) -> Float[Array, "*shape"]:
    """Scale and shift along the last axes: scale * y + bias.

    Args:
        y: values.
        params: any of `{"scale", "bias"}`, of the shape of the last axes of y.

    Returns:
        The result in the dtype of y.

    Example:
        >>> scale_and_bias(jnp.array([[1.0, 2.0]]), {"scale": jnp.array([2.0, 3.0]), "bias": jnp.array([1.0, 1.0])})
        Array([[3., 7.]], dtype=float32)
    """
    shape = y.shape
    for name, combine in (("scale", jnp.multiply), ("bias", jnp.add)):
        if name in params:
            leaf = params[name].astype(y.dtype)
            rows = y.reshape(math.prod(shape[: len(shape) - leaf.ndim]), *leaf.shape)
            y = combine(rows, spread(leaf, rows.shape[0]))
    return y.reshape(shape)


def _origin(x: Array, axes: tuple[int, ...]) -> Array:
    """One of the values along the axes; where devices share these, which would have to send it, the middle of all."""
    if is_sharded(x, axes):
        return 0.5 * x.max(axes, keepdims=True) + 0.5 * x.min(axes, keepdims=True)
    for axis in axes:
        x = jax.lax.slice_in_dim(x, 0, 1, axis=axis % x.ndim)
    return x


def _total(where: Array, axes: tuple[int, ...], x: Array) -> Array:
    """How many values count along the axes."""
    return jnp.broadcast_to(where, x.shape).astype(x.dtype).sum(axes, keepdims=True)


def _counted(x: Array, where: Array | None) -> Array:
    """The values that count, 0 elsewhere."""
    return x if where is None else jnp.where(where, x, 0)


def _mean(x: Array, axes: tuple[int, ...], counts: Array | None) -> Array:
    """The mean along axes of so many values, the others being 0; None for all of them."""
    return jnp.mean(x, axis=axes, keepdims=True) if counts is None else x.sum(axes, keepdims=True) / counts


def _unit(magnitude: Array) -> Array:
    """A power of two near the magnitude where that is large, so that dividing by it is exact; else 1."""
    bits = np.finfo(magnitude.dtype).nexp
    # Without a mantissa, numbers are powers of two. An eighth, because the largest would round up to inf, and the
    # reciprocals of those next to it are subnormal: 0 on some devices.
    return jax.lax.reduce_precision(jnp.where(magnitude > _LARGE, 0.125 * magnitude, 1.0), bits, 0)
