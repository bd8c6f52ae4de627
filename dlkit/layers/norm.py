"""Normalization of every example by itself: layer, RMS, group and instance normalization.

They differ in the axes over which mean and variance are taken. With `lengths=` in `apply`, the padding of sequences
does not count where the time axis is among them, and gives 0. Statistics are computed in at least float32; the output
has the dtype that x and the parameters promote to.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Float, Integer

from dlkit.checks import require_floating, require_number, require_size
from dlkit.layers.base import About, Layer, described
from dlkit.layers.ragged import steps_that_count, with_padding_zero
from dlkit.layers.standardize import init_scale_and_bias, scale_and_bias, standardize
from dlkit.typing import Array, Initializer, Key, Params, Scalar, Shape, State

__all__ = ["group_norm", "instance_norm", "layer_norm", "rms_norm"]


@described
def layer_norm(
    *,
    axes: int = 1,
    epsilon: Scalar = 1e-6,
    use_scale: bool = True,
    use_bias: bool = True,
    scale_init: Initializer = jax.nn.initializers.ones,
    bias_init: Initializer = jax.nn.initializers.zeros,
) -> Layer:
    """Layer normalization: y = scale * (x - mean) / sqrt(var + epsilon) + bias, with mean and var over the last axes.

    Parameters: `{"scale", "bias"}`, both of the shape of these axes.

    Args:
        axes: how many trailing axes are normalized together: 1 for the features, 3 for whole images
            `[height, width, channels]`.
        epsilon: added to the variance, in the squared unit of x.
        use_scale: whether there is a scale.
        use_bias: whether there is a bias.
        scale_init: `(key, shape, dtype) -> array`; ones.
        bias_init: the same; zeros.

    Returns:
        A layer for inputs of any shape with at least these axes; the shape is kept.

    Raises:
        ValueError: axes is no positive integer; epsilon is negative; or the inputs do not end in these axes.
        TypeError: x is not floating point.

    Reference:
        Ba, Kiros and Hinton, 2016, https://arxiv.org/abs/1607.06450.

    Example:
        >>> layer = layer_norm()
        >>> params, state = layer.init(jax.random.key(0), (3,))
        >>> y, state = layer.apply(params, state, jnp.array([[1.0, 1.0, 4.0], [5.0, 5.0, 5.0]]))
        >>> y.round(1)
        Array([[-0.7, -0.7,  1.4],
               [ 0. ,  0. ,  0. ]], dtype=float32)
    """
    require_size("layer_norm", axes=axes)
    require_number("layer_norm", "epsilon", epsilon, at_least=0)

    def standardized(x: Array, where: Array | None) -> Array:
        _require_axes("layer_norm", x, f"{axes} axes to normalize", axes)
        return standardize(x, tuple(range(-axes, 0)), epsilon=epsilon, where=where)[0]

    return _per_example(
        "layer_norm", standardized, axes, axes, scale_init if use_scale else None, bias_init if use_bias else None
    )


@described
def rms_norm(
    *,
    axes: int = 1,
    epsilon: Scalar = 1e-6,
    use_scale: bool = True,
    scale_init: Initializer = jax.nn.initializers.ones,
) -> Layer:
    """Root-mean-square normalization: y = scale * x / sqrt(mean(x^2) + epsilon), with the mean over the last axes.

    Parameters: `{"scale"}`, of the shape of these axes.

    Args:
        axes: how many trailing axes are normalized together.
        epsilon: added to the mean square, in the squared unit of x.
        use_scale: whether there is a scale.
        scale_init: `(key, shape, dtype) -> array`; ones.

    Returns:
        A layer for inputs of any shape with at least these axes; the shape is kept.

    Raises:
        ValueError: axes is no positive integer; epsilon is negative; or the inputs do not end in these axes.
        TypeError: x is not floating point.

    Reference:
        Zhang and Sennrich, 2019, https://arxiv.org/abs/1910.07467.

    Example:
        >>> layer = rms_norm()
        >>> params, state = layer.init(jax.random.key(0), (4,))
        >>> y, state = layer.apply(params, state, jnp.array([0.0, 0.0, 0.0, 10.0]))
        >>> y.round(3)
        Array([0., 0., 0., 2.], dtype=float32)
    """
    require_size("rms_norm", axes=axes)
    require_number("rms_norm", "epsilon", epsilon, at_least=0)

    def standardized(x: Array, where: Array | None) -> Array:
        _require_axes("rms_norm", x, f"{axes} axes to normalize", axes)
        return standardize(x, tuple(range(-axes, 0)), epsilon=epsilon, center=False, where=where)[0]

    return _per_example("rms_norm", standardized, axes, axes, scale_init if use_scale else None, None)


@described
def group_norm(
    groups: int,
    *,
    dimensions: int,
    epsilon: Scalar = 1e-6,
    use_scale: bool = True,
    use_bias: bool = True,
    scale_init: Initializer = jax.nn.initializers.ones,
    bias_init: Initializer = jax.nn.initializers.zeros,
) -> Layer:
    """Group normalization: y = scale * (x - mean) / sqrt(var + epsilon) + bias, with mean and var over groups.

    A group is `channels / groups` neighbouring channels at all positions of the spatial axes.

    Parameters: `{"scale": [channels], "bias": [channels]}`.

    Args:
        groups: number of groups, a divisor of the number of channels.
        dimensions: how many spatial axes an example has, before the channels: 2 for images
            `[height, width, channels]`, 1 for sequences `[time, channels]`, 0 for `[channels]`. Axes before these are
            batch axes.
        epsilon: added to the variance, in the squared unit of x.
        use_scale: whether there is a scale.
        use_bias: whether there is a bias.
        scale_init: `(key, shape, dtype) -> array`; ones.
        bias_init: the same; zeros.

    Returns:
        A layer for inputs `[*batch, *spatial, channels]`; the shape is kept.

    Raises:
        ValueError: groups is no positive integer, or does not divide the channels; dimensions is no integer of at
            least 0; epsilon is negative; or the inputs have too few axes or other channels.
        TypeError: x is not floating point.

    Reference:
        Wu and He, 2018, https://arxiv.org/abs/1803.08494.

    Example:
        >>> layer = group_norm(2, dimensions=0)
        >>> params, state = layer.init(jax.random.key(0), (4,))
        >>> layer.apply(params, state, jnp.array([-10.0, 10.0, 100.0, 120.0]))[0]
        Array([-1.,  1., -1.,  1.], dtype=float32)
    """
    require_size("group_norm", groups=groups)
    require_number("group_norm", "epsilon", epsilon, at_least=0)
    _require_dimensions("group_norm", dimensions, 0)

    def standardized(x: Array, where: Array | None) -> Array:
        _require_axes("group_norm", x, f"{dimensions} spatial axes and channels", dimensions + 1)
        if x.shape[-1] % groups:
            raise ValueError(
                f"group_norm: expected channels that are divisible into {groups} groups, got {jax.typeof(x)}"
            )
        grouped = x.reshape(*x.shape[:-1], groups, x.shape[-1] // groups)
        axes = (*range(-dimensions - 2, -2), -1)
        where = None if where is None else jnp.expand_dims(where, -1)
        return standardize(grouped, axes, epsilon=epsilon, where=where)[0].reshape(x.shape)

    return _per_example(
        "group_norm",
        standardized,
        dimensions + 1,
        1,
        scale_init if use_scale else None,
        bias_init if use_bias else None,
    )


@described
def instance_norm(
    *,
    dimensions: int,
    epsilon: Scalar = 1e-6,
    use_scale: bool = True,
    use_bias: bool = True,
    scale_init: Initializer = jax.nn.initializers.ones,
    bias_init: Initializer = jax.nn.initializers.zeros,
) -> Layer:
    """Instance normalization: y = scale * (x - mean) / sqrt(var + epsilon) + bias, with mean and var of every channel.

    They are taken over the spatial axes of one example: a group normalization with one channel per group.

    Parameters: `{"scale": [channels], "bias": [channels]}`.

    Args:
        dimensions: how many spatial axes an example has, before the channels: 2 for images
            `[height, width, channels]`, 1 for sequences `[time, channels]`. Axes before these are batch axes.
        epsilon: added to the variance, in the squared unit of x.
        use_scale: whether there is a scale.
        use_bias: whether there is a bias.
        scale_init: `(key, shape, dtype) -> array`; ones.
        bias_init: the same; zeros.

    Returns:
        A layer for inputs `[*batch, *spatial, channels]`; the shape is kept.

    Raises:
        ValueError: dimensions is no integer of at least 1; epsilon is negative; or the inputs have too few axes or
            other channels.
        TypeError: x is not floating point.

    Reference:
        Ulyanov, Vedaldi and Lempitsky, 2016, https://arxiv.org/abs/1607.08022.

    Example:
        >>> layer = instance_norm(dimensions=1)
        >>> params, state = layer.init(jax.random.key(0), (2, 2))
        >>> layer.apply(params, state, jnp.array([[10.0, 500.0], [30.0, 300.0]]))[0]
        Array([[-1.,  1.],
               [ 1., -1.]], dtype=float32)
    """
    require_number("instance_norm", "epsilon", epsilon, at_least=0)
    _require_dimensions("instance_norm", dimensions, 1)

    def standardized(x: Array, where: Array | None) -> Array:
        _require_axes("instance_norm", x, f"{dimensions} spatial axes and channels", dimensions + 1)
        return standardize(x, tuple(range(-dimensions - 1, -1)), epsilon=epsilon, where=where)[0]

    return _per_example(
        "instance_norm",
        standardized,
        dimensions + 1,
        1,
        scale_init if use_scale else None,
        bias_init if use_bias else None,
    )


def _per_example(
    where: str,
    standardized: Callable[[Array, Array | None], Array],
    spanned_axes: int,
    parameter_axes: int,
    scale_init: Initializer | None,
    bias_init: Initializer | None,
) -> Layer:
    """A layer that standardizes over some of the last `spanned_axes`, then scales and shifts along `parameter_axes`.

    Its `apply` takes lengths: where the time axis is among those it spans, padding does not count.
    """

    def init(key: Key, input_shape: Shape) -> tuple[Params, State]:
        jax.eval_shape(lambda x: standardized(x, None), jax.ShapeDtypeStruct(tuple(input_shape), jnp.float32))
        shape = tuple(input_shape[-parameter_axes:])
        return init_scale_and_bias(key, shape, scale_init=scale_init, bias_init=bias_init), {}

    def apply(
        params: Params,
        state: State,
        x: Float[Array, "*shape"],
        *,
        key: Key | None = None,
        train: bool = False,
        lengths: Integer[Array, "..."] | None = None,
    ) -> tuple[Float[Array, "*shape"], State]:
        del key, train
        require_floating(where, inputs=x)
        for leaf in params.values():
            if x.shape[-parameter_axes:] != leaf.shape:
                raise ValueError(f"{where}: expected inputs that end in {leaf.shape}, got {jax.typeof(x)}")
        dtype = jnp.result_type(x, *params.values())
        over_time = lengths is not None and lengths.ndim >= x.ndim - spanned_axes
        where_counts = steps_that_count(where, lengths, x) if lengths is not None and over_time else None
        y = standardized(x.astype(jnp.promote_types(dtype, jnp.float32)), where_counts)
        y = scale_and_bias(y, params).astype(dtype)
        return y if lengths is None else with_padding_zero(where, y, lengths), state

    return Layer(init, apply, about=About(each_step=spanned_axes == 1))


def _require_axes(where: str, x: Array, expected: str, axes: int) -> None:
    """Refuse inputs with fewer axes, or with nothing along them."""
    if x.ndim < axes or 0 in x.shape[x.ndim - axes :]:
        raise ValueError(f"{where}: expected inputs that end in {expected}, none of size 0, got {jax.typeof(x)}")


def _require_dimensions(where: str, dimensions: int, least: int) -> None:
    if not isinstance(dimensions, int) or isinstance(dimensions, bool) or dimensions < least:
        raise ValueError(f"{where}: expected dimensions to be an integer of at least {least}, got {dimensions!r}")
