"""Convolutions as XLA computes them fast: by matrix products on CPU, by its own convolution elsewhere.

On CPU, XLA runs a convolution inside a compiled loop as a naive kernel, and its gradients above all: 20 to 40 times
slower than one matrix product over patches (`benchmarks/conv_lowering.py` measures it). So the forms are chosen by the
platform that a program is compiled for; they agree up to the order of a sum. A program for one platform contains only
its form: the choice is made while lowering, and the rules of differentiation stand around it.
"""

import functools
import itertools
import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Float

from dlkit.layers.products import bilinear, matmul, of_kernel
from dlkit.layers.window import Window, outputs, transposed_outputs
from dlkit.typing import Array

__all__ = [
    "convolve",
    "convolve_by_matmul",
    "convolve_by_xla",
    "convolve_transposed",
    "layout",
    "shifted",
    "transposed_by_matmul",
    "transposed_by_xla",
]

# Patches of all taps and one product are fastest while the patches are few and small. Beyond these sizes, one product
# per tap of the first axis moves less memory, if its rows are wide enough to keep a product busy. All three measured.
_TAPS_OF_ONE_PRODUCT = 9
_VALUES_OF_ONE_PRODUCT = 2**20
_WIDE_ROW = 48


def convolve(
    x: Float[Array, "batch *spatial_and_in"], kernel: Float[Array, "*size_and_in_per_group_and_out"], window: Window
) -> Float[Array, "batch *spatial_and_out"]:
    """Convolution (without flipping the kernel) in the form of the platform.

    Args:
        x: inputs, channels last, of the kernel's dtype.
        kernel: [*size, in / groups, out]; from it follows the number of groups.
        window: its geometry.

    Returns:
        The outputs.

    Example:
        >>> ones = jnp.ones((1, 4, 1))
        >>> convolve(ones, jnp.ones((2, 1, 1)), Window((2,), (1,), (1,), ((0, 1),)))[0, :, 0]
        Array([2., 2., 2., 1.], dtype=float32)
    """
    form = _convolve_depthwise if 1 == kernel.shape[-2] < x.shape[-1] else _convolve
    return form(x, kernel, window)


def convolve_transposed(
    x: Float[Array, "batch *spatial_and_in"], kernel: Float[Array, "*size_and_in_and_out"], window: Window
) -> Float[Array, "batch *spatial_and_out"]:
    """Convolution over inputs that are spread by the strides, in the form of the platform.

    Args:
        x: inputs, channels last, of the kernel's dtype.
        kernel: [*size, in, out].
        window: its geometry; the padding is that of the spread inputs.

    Returns:
        The outputs.

    Example:
        >>> x = jnp.array([1.0, 2.0]).reshape(1, 2, 1)
        >>> convolve_transposed(x, jnp.ones((1, 1, 1)), Window((1,), (2,), (1,), ((0, 1),)))[0, :, 0]
        Array([1., 0., 2., 0.], dtype=float32)
    """
    return _convolve_transposed(x, kernel, window)


def convolve_by_xla(x: Array, kernel: Array, window: Window) -> Array:
    """`convolve` as XLA's convolution.

    Example:
        >>> convolve_by_xla(jnp.ones((1, 4, 1)), jnp.ones((2, 1, 1)), Window((2,), (1,), (1,), ((0, 0),))).shape
        (1, 3, 1)
    """
    return lax.conv_general_dilated(
        x,
        kernel,
        window.strides,
        window.padding,
        rhs_dilation=window.dilation,
        dimension_numbers=layout(window),
        feature_group_count=x.shape[-1] // kernel.shape[-2],
    )


def transposed_by_xla(x: Array, kernel: Array, window: Window) -> Array:
    """`convolve_transposed` as XLA's convolution.

    Example:
        >>> transposed_by_xla(jnp.ones((1, 4, 1)), jnp.ones((2, 1, 1)), Window((2,), (2,), (1,), ((1, 1),))).shape
        (1, 8, 1)
    """
    return lax.conv_general_dilated(
        x,
        kernel,
        (1,) * len(window.size),
        window.padding,
        lhs_dilation=window.strides,
        rhs_dilation=window.dilation,
        dimension_numbers=layout(window),
    )


def convolve_by_matmul(x: Array, kernel: Array, window: Window, *, product: Callable[..., Array] = matmul) -> Array:
    """`convolve` as matrix products of patches with the kernel.

    Args:
        x: as in `convolve`.
        kernel: as in `convolve`.
        window: as in `convolve`.
        product: the form of the products.

    Returns:
        The outputs.

    Example:
        >>> convolve_by_matmul(jnp.ones((1, 4, 1)), jnp.ones((2, 1, 1)), Window((2,), (1,), (1,), ((0, 0),))).shape
        (1, 3, 1)
    """
    groups = x.shape[-1] // kernel.shape[-2]
    if groups == 1:
        return _convolve_one_group(x, kernel, window, product)
    apart = [_apart(array, groups) for array in (x, kernel)]
    y = jax.vmap(functools.partial(_convolve_one_group, window=window, product=product))(*apart)
    return jnp.moveaxis(y, 0, -2).reshape(*y.shape[1:-1], kernel.shape[-1])


def _apart(array: Array, groups: int) -> Array:
    """[..., groups * each] -> [groups, ..., each]."""
    return jnp.moveaxis(array.reshape(*array.shape[:-1], groups, array.shape[-1] // groups), -2, 0)


def transposed_by_matmul(x: Array, kernel: Array, window: Window) -> Array:
    """`convolve_transposed` as one matrix product whose overlapping results are added up.

    Example:
        >>> transposed_by_matmul(jnp.ones((1, 4, 1)), jnp.ones((2, 1, 1)), Window((2,), (2,), (1,), ((1, 1),))).shape
        (1, 8, 1)
    """
    if math.prod(window.strides) == 1:
        return convolve_by_matmul(x, kernel, window)
    dimensions, (inputs, features) = len(window.size), kernel.shape[-2:]
    spatial = x.shape[1:-1]
    # What every input adds to every output that it reaches: [batch, *spatial, *size, out].
    y = matmul(x, jnp.moveaxis(kernel, -2, 0).reshape(inputs, -1)).reshape(*x.shape[:-1], *window.size, features)
    for place, length in reversed(list(enumerate(transposed_outputs(spatial, window)))):
        y = _overlap_add(y, 1 + place, 1 + dimensions + place, length, window, place)
    return y


def shifted(
    x: Float[Array, "batch *spatial_and_channels"], window: Window, axes: Sequence[int], fill: float = 0.0
) -> list[Float[Array, "batch *positions_and_channels"]]:
    """What each tap of a window sees, in row-major order of the taps, over some spatial axes; the others stay.

    Made of padding and slices: `x.at[1:].set(x[:-1])` and then a reshape in one jit was wrong on XLA's CPU backend.

    Args:
        x: inputs, channels last.
        window: the geometry.
        axes: places of the spatial axes, from 0.
        fill: the value of the padding.

    Returns:
        One array per tap.

    Example:
        >>> window = Window((2,), (1,), (1,), ((0, 0),))
        >>> [seen[0, :, 0].tolist() for seen in shifted(jnp.arange(3.0).reshape(1, 3, 1), window, (0,))]
        [[0.0, 1.0], [1.0, 2.0]]
    """
    counts = outputs(x.shape[1:-1], window)
    config = [(*window.padding[place - 1], 0) if place - 1 in axes else (0, 0, 0) for place in range(x.ndim)]
    x = lax.pad(x, jnp.asarray(fill, x.dtype), config)
    seen = []
    for tap in itertools.product(*(range(window.size[place]) for place in axes)):
        starts, limits, strides = [0] * x.ndim, list(x.shape), [1] * x.ndim
        for place, offset in zip(axes, tap, strict=True):
            starts[1 + place] = offset * window.dilation[place]
            limits[1 + place] = starts[1 + place] + (counts[place] - 1) * window.strides[place] + 1
            strides[1 + place] = window.strides[place]
        seen.append(lax.slice(x, starts, limits, strides))
    return seen


def layout(window: Window) -> tuple[str, str, str]:
    """The axes of inputs, kernel and outputs as XLA names them, channels last.

    Example:
        >>> layout(Window((3,), (1,), (1,), ((1, 1),)))
        ('NWC', 'WIO', 'NWC')
    """
    spatial = "DHW"[-len(window.size) :]
    return f"N{spatial}C", f"{spatial}IO", f"N{spatial}C"


def _convolve_one_group(x: Array, kernel: Array, window: Window, product: Callable[..., Array]) -> Array:
    """Patches times kernel."""
    taps, (inputs, features) = math.prod(window.size), kernel.shape[-2:]
    values = x.shape[0] * math.prod(outputs(x.shape[1:-1], window)) * taps * inputs
    row_width = math.prod(window.size[1:]) * inputs
    # A batch that is a symbol, in a program that is exported for every batch, may be large.
    large = taps > _TAPS_OF_ONE_PRODUCT or not isinstance(values, int) or values > _VALUES_OF_ONE_PRODUCT
    first, *others = axes = range(len(window.size))
    if not (large and others and row_width >= _WIDE_ROW):
        return product(jnp.concatenate(shifted(x, window, axes), -1), kernel.reshape(taps * inputs, features))
    rows = jnp.concatenate(shifted(x, window, others), -1)
    weights = kernel.reshape(window.size[0], row_width, features)
    products = map(functools.partial(product, dtype=_sum_dtype(x)), shifted(rows, window, (first,)), weights)
    return functools.reduce(jnp.add, products).astype(x.dtype)


def _depthwise(x: Array, kernel: Array, window: Window, spread: Callable[[Array, Sequence[int]], Array]) -> Array:
    """One kernel per channel: too little arithmetic for a matrix product, but XLA fuses the sum over the taps."""
    seen = shifted(x.astype(_sum_dtype(x)), window, range(len(window.size)))
    *positions, channels = seen[0].shape
    weights = kernel.astype(seen[0].dtype).reshape(len(seen), channels, -1)
    # y[p, c, m] = sum over the taps t of x_t[p, c] kernel_t[c, m], with m outputs per channel
    y = functools.reduce(
        jnp.add, (each[..., None] * spread(weight, positions) for each, weight in zip(seen, weights, strict=True))
    )
    return y.reshape(*positions, kernel.shape[-1]).astype(x.dtype)


def _spread(weight: Array, positions: Sequence[int]) -> Array:
    """The same weight at every position, by broadcasting."""
    return weight.reshape((1,) * len(positions) + weight.shape)


def _spread_by_matmul(weight: Array, positions: Sequence[int]) -> Array:
    """The same as a matrix product, whose transpose sums over the positions six times as fast as a fused reduction.

    Of two halves: XLA takes a product with one row for one of a vector, which is ten times as slow for many channels.
    """
    ones = jnp.ones((math.prod(positions), 2), weight.dtype)
    halves = jnp.broadcast_to(weight.reshape(1, -1) / 2, (2, weight.size))
    return (ones @ halves).reshape(*positions, *weight.shape)


def _overlap_add(y: Array, axis: int, tap_axis: int, length: int, window: Window, place: int) -> Array:
    """Add what the taps of one axis bring to each output; the outputs of one remainder mod stride are one slice."""
    stride, step, (before, _) = window.strides[place], window.dilation[place], window.padding[place]
    phase_length = -(-length // stride)
    phases = []
    for phase in range(stride):
        shape = [size for place, size in enumerate(y.shape) if place != tap_axis]
        shape[axis] = phase_length
        total = jnp.zeros(shape, y.dtype)
        for tap in range(window.size[place]):
            # Input i reaches output i stride + before - tap step, which is (i + shift) stride + remainder.
            shift, remainder = divmod(before - tap * step, stride)
            if remainder == phase:
                config = [(0, 0, 0)] * total.ndim
                config[axis] = (shift, phase_length - shift - y.shape[axis], 0)
                part = lax.index_in_dim(y, tap, tap_axis, keepdims=False)
                total = total + lax.pad(part, jnp.zeros((), y.dtype), config)
        phases.append(total)
    merged = jnp.stack(phases, axis + 1)
    merged = merged.reshape(*merged.shape[:axis], phase_length * stride, *merged.shape[axis + 2 :])
    return lax.slice_in_dim(merged, 0, length, axis=axis)


def _sum_dtype(x: Array) -> jnp.dtype:
    """Sums of several terms are taken in at least float32."""
    return jnp.promote_types(x.dtype, jnp.float32)


_convolve = bilinear(
    convolve_by_matmul,
    convolve_by_xla,
    cpu_kernel_tangent=functools.partial(convolve_by_matmul, product=of_kernel),
)
_convolve_depthwise = bilinear(
    functools.partial(_depthwise, spread=_spread),
    convolve_by_xla,
    cpu_kernel_tangent=functools.partial(_depthwise, spread=_spread_by_matmul),
)
_convolve_transposed = bilinear(transposed_by_matmul, transposed_by_xla)
