"""Convolutions over one, two or three spatial axes, channels last."""

import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Float, Integer

from dlkit.checks import require_floating, require_size
from dlkit.layers.base import Layer, RaggedFunction, described
from dlkit.layers.convolution_forms import convolve_transposed
from dlkit.layers.lowering import Lowering, checked_lowering
from dlkit.layers.measured_convolutions import convolve_lowered
from dlkit.layers.ragged import with_padding_zero
from dlkit.layers.window import (
    Padding,
    PerAxis,
    lengths_after,
    padded,
    padding_with_zeros,
    spatial_shape,
    taps_of,
    transposed_lengths_after,
    transposed_window_for,
    window_for,
)
from dlkit.typing import Array, Initializer, Key, Params, Shape, State

__all__ = ["conv", "conv_transpose"]

_lecun_normal: Initializer = jax.nn.initializers.lecun_normal()


@described
def conv(
    features: int,
    kernel_size: int | Sequence[int],
    *,
    strides: PerAxis = 1,
    dilation: PerAxis = 1,
    groups: int = 1,
    padding: Padding = "SAME",
    use_bias: bool = True,
    kernel_init: Initializer = _lecun_normal,
    bias_init: Initializer = jax.nn.initializers.zeros,
    lowering: Lowering = "auto",
) -> Layer:
    """Convolution: y[p, o] = sum over taps t and channels i of x[p stride + t dilation, i] W[t, i, o] + b[o].

    Parameters: `{"kernel": [*kernel_size, in / groups, features], "bias": [features]}`, made in float32, with the
    structure of flax. The output has the dtype that x and the parameters promote to. With `groups` equal to the input's
    channels, every channel has kernels of its own (a depthwise convolution) and `features / groups` outputs.

    On CPU, outputs and both gradients are each computed in the form that was measured to be fast, inside of compiled
    loops, too: XLA's convolution in the layout of its fast kernel, or matrix products over patches. Elsewhere it is
    XLA's convolution. The forms agree up to the order of a sum.

    In a chain that is given lengths, a sequence's end is padded with zeros, as if it stood alone, and what follows gets
    the new lengths. "SAME" with a stride along time, whose zeros depend on the length, is refused there.

    Args:
        features: the output's channels.
        kernel_size: taps per spatial axis; its length, 1, 2 or 3, is the number of spatial axes. One number is for the
            two axes of an image.
        strides: steps between two outputs; one number for all axes, or one for each.
        dilation: steps between two taps, likewise.
        groups: the channels are cut into so many parts, and part g of the outputs sees part g of the inputs only.
        padding: with zeros: "SAME" for ceil(size / stride) outputs per axis, the odd one after; "VALID" for none;
            "CAUSAL", of one spatial axis, for all of it before, so that no output sees a later input; or a pair
            (before, after) per axis. With the inputs themselves, as many as for "SAME" with stride 1: "CIRCULAR" goes
            on at the other end of the axis, "REFLECT" back from its last position.
        use_bias: whether there is a bias b.
        kernel_init: `(key, shape, dtype) -> array` for W; LeCun normal, variance groups / (in * taps).
        bias_init: the same for b; zeros.
        lowering: the form on CPU: "auto" for the measured one, "xla" for XLA's convolution, "matmul" for matrix
            products. `dlkit.layers.default_lowering` sets what "auto" means for a part of a program.

    Returns:
        A layer for inputs `[*batch, *spatial, in]`, where batch may have any number of axes, also none; its outputs are
        `[*batch, *new_spatial, features]`.

    Raises:
        ValueError: a setting is out of range; groups does not divide features or the inputs' channels; the inputs
            have other channels than the kernel; or the kernel is larger than a padded axis.
        TypeError: x is not floating point.

    Reference:
        LeCun et al., "Gradient-based learning applied to document recognition", 1998.

    Example:
        >>> layer = conv(16, (3, 3), strides=2)
        >>> params, state = layer.init(jax.random.key(0), (8, 8, 3))
        >>> jax.tree.map(jnp.shape, params)
        {'bias': (16,), 'kernel': (3, 3, 3, 16)}
        >>> y, state = layer.apply(params, state, jnp.zeros((5, 8, 8, 3)))
        >>> y.shape
        (5, 4, 4, 16)
    """
    require_size("conv", features=features, groups=groups)
    if features % groups:
        raise ValueError(f"conv: expected groups to divide features, got groups {groups} and features {features}")
    size = taps_of(kernel_size)
    checked_lowering("conv", lowering)
    zeros = padding_with_zeros("conv", "kernel_size", size, padding=padding, dilation=dilation)
    fit = window_for("conv", "kernel_size", size, strides=strides, padding=zeros, dilation=dilation)
    dimensions = len(size)

    def init(key: Key, input_shape: Shape) -> tuple[Params, State]:
        _require_example("conv", input_shape, dimensions)
        fit(input_shape[:-1])
        if input_shape[-1] % groups:
            raise ValueError(
                f"conv: expected groups to divide the input's channels, got groups {groups} and channels "
                f"{input_shape[-1]}"
            )
        shape = (*size, input_shape[-1] // groups, features)
        return _init_params(key, shape, kernel_init, bias_init if use_bias else None), {}

    def apply(
        params: Params,
        state: State,
        x: Float[Array, "*batch_and_spatial in_channels"],
        *,
        key: Key | None = None,
        train: bool = False,
    ) -> tuple[Float[Array, "*batch_and_new_spatial out_channels"], State]:
        del key, train
        _require_inputs("conv", x, params["kernel"].shape[-2] * groups, dimensions)
        window = fit(spatial_shape("conv", x, dimensions))
        examples, kernel = _examples(x, params["kernel"], dimensions)
        examples, window = padded(examples, window, padding)
        y = convolve_lowered(examples, kernel, window, lowering)
        return _with_batch(y, x, params, dimensions, use_bias), state

    def after(x: Array, lengths: Array) -> Array:
        if padding in ("CIRCULAR", "REFLECT"):
            raise ValueError(
                f"conv: expected padding of sequences with zeros, got {padding!r}, whose values depend on the length; "
                "use padding='SAME', 'CAUSAL', 'VALID' or pairs (before, after)"
            )
        return lengths_after("conv", lengths, fit(spatial_shape("conv", x, dimensions)), named=padding == "SAME")

    return Layer(init, apply, _ragged("conv", dimensions, apply, after))


@described
def conv_transpose(
    features: int,
    kernel_size: int | Sequence[int],
    *,
    strides: PerAxis = 1,
    dilation: PerAxis = 1,
    padding: Padding = "SAME",
    use_bias: bool = True,
    kernel_init: Initializer = _lecun_normal,
    bias_init: Initializer = jax.nn.initializers.zeros,
) -> Layer:
    """Transposed convolution: the inputs are spread, `stride - 1` zeros between two, and convolved; it upsamples.

    y[p, o] = sum over taps t and channels i of s[p + t dilation, i] W[t, i, o] + b[o], with s the spread, padded x.

    Parameters: `{"kernel": [*kernel_size, in, features], "bias": [features]}`, made in float32; structure and result
    are those of flax's ConvTranspose. It is the gradient, with respect to its input, of the convolution with the same
    strides whose kernel is this one flipped along the spatial axes, in and out exchanged. Torch's ConvTranspose holds
    that kernel, as `[in, out, *size]`; its padding p is `padding=[(k - 1 - p, k - 1 - p + output_padding)]` here, for
    k = (kernel_size - 1) dilation + 1.

    Args:
        features: the output's channels.
        kernel_size: taps per spatial axis; its length, 1, 2 or 3, is the number of spatial axes. One number is for the
            two axes of an image.
        strides: how many times larger the output is; one number for all axes, or one for each.
        dilation: steps between two taps, likewise.
        padding: "SAME" for size * stride outputs per axis; "VALID" for all that an input reaches, at least
            size * stride; or a pair (before, after) per axis, added around the spread inputs.
        use_bias: whether there is a bias b.
        kernel_init: `(key, shape, dtype) -> array` for W; LeCun normal, variance 1 / (in * taps).
        bias_init: the same for b; zeros.

    Returns:
        A layer for inputs `[*batch, *spatial, in]`, where batch may have any number of axes, also none; its outputs are
        `[*batch, *new_spatial, features]`.

    Raises:
        ValueError: a setting is out of range; the inputs have other channels than the kernel; or no output is left.
        TypeError: x is not floating point.

    Reference:
        Dumoulin and Visin, "A guide to convolution arithmetic for deep learning", 2016,
        https://arxiv.org/abs/1603.07285.

    Example:
        >>> layer = conv_transpose(3, (4, 4), strides=2)
        >>> params, state = layer.init(jax.random.key(0), (4, 4, 16))
        >>> y, state = layer.apply(params, state, jnp.zeros((5, 4, 4, 16)))
        >>> y.shape
        (5, 8, 8, 3)
    """
    where = "conv_transpose"
    require_size(where, features=features)
    size = taps_of(kernel_size)
    fit = transposed_window_for(where, "kernel_size", size, strides=strides, padding=padding, dilation=dilation)
    dimensions = len(size)

    def init(key: Key, input_shape: Shape) -> tuple[Params, State]:
        _require_example(where, input_shape, dimensions)
        fit(input_shape[:-1])
        shape = (*size, input_shape[-1], features)
        return _init_params(key, shape, kernel_init, bias_init if use_bias else None), {}

    def apply(
        params: Params,
        state: State,
        x: Float[Array, "*batch_and_spatial in_channels"],
        *,
        key: Key | None = None,
        train: bool = False,
    ) -> tuple[Float[Array, "*batch_and_new_spatial out_channels"], State]:
        del key, train
        _require_inputs(where, x, params["kernel"].shape[-2], dimensions)
        window = fit(spatial_shape(where, x, dimensions))
        examples, kernel = _examples(x, params["kernel"], dimensions)
        # with nothing between the inputs it is a convolution like any other
        is_spread = math.prod(window.strides) > 1
        y = (
            convolve_transposed(examples, kernel, window)
            if is_spread
            else convolve_lowered(examples, kernel, window, "auto")
        )
        return _with_batch(y, x, params, dimensions, use_bias), state

    def after(x: Array, lengths: Array) -> Array:
        return transposed_lengths_after(lengths, fit(spatial_shape(where, x, dimensions)))

    return Layer(init, apply, _ragged(where, dimensions, apply, after))


def _ragged(
    where: str,
    dimensions: int,
    apply: Callable[..., tuple[Array, State]],
    after: Callable[[Array, Array], Array],
) -> RaggedFunction:
    """The field `ragged` of a convolution; `after(x, lengths)` are the lengths where it goes over time."""

    def ragged(
        params: Params,
        state: State,
        x: Float[Array, "*batch_and_spatial in_channels"],
        lengths: Integer[Array, "*batch"],
        *,
        key: Key | None = None,
        train: bool = False,
    ) -> tuple[Float[Array, "*batch_and_new_spatial out_channels"], State, Integer[Array, "*batch"]]:
        y, state = apply(params, state, with_padding_zero(where, x, lengths), key=key, train=train)
        within_steps = x.ndim - dimensions - 1 > lengths.ndim
        return y, state, lengths if within_steps else after(x, lengths)

    return ragged


def _require_example(where: str, input_shape: Shape, dimensions: int) -> None:
    if len(input_shape) != dimensions + 1 or min(input_shape) < 1:
        raise ValueError(
            f"{where}: expected an example shape (*spatial, channels) with {dimensions} spatial axes, as kernel_size "
            f"has, got {tuple(input_shape)}"
        )


def _require_inputs(where: str, x: Array, channels: int, dimensions: int) -> None:
    require_floating(where, inputs=x)
    if x.ndim < dimensions + 1 or x.shape[-1] != channels:
        raise ValueError(
            f"{where}: expected inputs [*batch, *spatial, {channels}] with {dimensions} spatial axes, "
            f"got {jax.typeof(x)}"
        )


def _init_params(key: Key, shape: Shape, kernel_init: Initializer, bias_init: Initializer | None) -> Params:
    key_kernel, key_bias = jax.random.fold_in(key, 0), jax.random.fold_in(key, 1)
    params = {"kernel": kernel_init(key_kernel, shape, jnp.float32)}
    if bias_init is not None:
        params["bias"] = bias_init(key_bias, shape[-1:], jnp.float32)
    return params


def _examples(x: Array, kernel: Array, dimensions: int) -> tuple[Array, Array]:
    """The inputs with one batch axis, and the kernel, both in the dtype that they promote to."""
    dtype = jnp.result_type(x, kernel)
    example = x.shape[-dimensions - 1 :]
    x = x.reshape(math.prod(x.shape[: -dimensions - 1]), *example)
    return x.astype(dtype), kernel.astype(dtype)


def _with_batch(y: Array, x: Array, params: Params, dimensions: int, use_bias: bool) -> Array:
    """Add the bias and give the outputs the batch axes of the inputs."""
    if use_bias:
        y = y + params["bias"].reshape((1,) * (y.ndim - 1) + (-1,))
    return y.reshape(*x.shape[: -dimensions - 1], *y.shape[1:])
