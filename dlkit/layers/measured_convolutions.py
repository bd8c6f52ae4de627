"""A convolution on CPU whose outputs and two gradients each have the form measured to be fastest.

XLA's CPU backend has a fast kernel for a convolution in one layout: `[batch, *spatial, in]` and `[*size, in, out]`.
Outside of loops it brings every convolution of one group into it. Inside of a compiled loop it does not, and computes a
gradient by a naive kernel. Here transpositions behind a barrier make the layout, so that the kernel is the same in
either place. It never writes patches down, and is fastest for outputs and the gradient of inputs, but for few channels,
three spatial axes, and kernels larger than the inputs. The gradient of a kernel is fastest as products of patches, made
for a few examples at a time so that they stay in a cache. `benchmarks/convolutions.py` measures it on more
shapes.

JAX transposes the forms: what is written as a tangent is chosen for what its transpose is.
"""

import math

import jax
import jax.numpy as jnp
from jax import lax

from dlkit.layers.convolution_forms import convolve, convolve_by_matmul, convolve_by_xla, layout, shifted
from dlkit.layers.lowering import Lowering, resolved
from dlkit.layers.products import bilinear, of_kernel
from dlkit.layers.window import Window, outputs
from dlkit.typing import Array

__all__ = ["convolve_lowered"]

# Found on a dozen shapes, on one core of a two-core AMD EPYC; other machines may have their bounds elsewhere.
_FEW_WEIGHTS = 4  # taps times inputs: patches are then no larger than the outputs
_FEW_INPUTS = 2  # whose gradient is smaller than a convolution's overhead for it
_PATCHES_IN_CACHE = 2**19  # values
_PATCHES_AT_ONCE = 2**20  # values, above which a second pass over them costs more than a loop
_PATCHES_OF_AN_EXAMPLE = 2**20  # values; beyond, their memory would be many times that of inputs and outputs
_WIDE_AXIS = 32
_WIDE_GROUP = 16  # inputs of a group that keep a product busy
_MOST_PARTS = 16


def convolve_lowered(x: Array, kernel: Array, window: Window, lowering: Lowering) -> Array:
    """Convolution (without flipping the kernel) in a form of the user's choice on CPU, elsewhere XLA's own.

    Args:
        x: inputs, channels last, of the kernel's dtype.
        kernel: [*size, in / groups, out]; from it follows the number of groups.
        window: its geometry.
        lowering: "auto" for what `default_lowering` says, or else the measured form; "xla" for XLA's convolution in
            the layout of its fast kernel; "matmul" for matrix products.

    Returns:
        The outputs.

    Example:
        >>> window = Window((2,), (1,), (1,), ((0, 1),))
        >>> convolve_lowered(jnp.ones((1, 4, 1)), jnp.ones((2, 1, 1)), window, "xla")[0, :, 0].tolist()
        [2.0, 2.0, 2.0, 1.0]
    """
    lowering = resolved(lowering)
    groups = x.shape[-1] // kernel.shape[-2]
    is_depthwise = 1 == kernel.shape[-2] < x.shape[-1]
    is_pointwise = math.prod(window.size) == 1
    if lowering == "matmul" or x.size == 0 or (lowering == "auto" and (is_depthwise or (is_pointwise and groups == 1))):
        return convolve(x, kernel, window)
    form = _of_one_group if lowering == "auto" else _by_xla
    if groups == 1:
        return form(x, kernel, window)
    # Groups side by side: few of them as one with zeros between, until the product is wide enough.
    joined = _joined(groups, kernel.shape[-2])
    parts = groups // joined
    y = [
        form(each, _block_diagonal(weights, joined), window)
        for each, weights in zip(jnp.split(x, parts, -1), jnp.split(kernel, parts, -1), strict=True)
    ]
    return jnp.concatenate(y, -1)


def _joined(groups: int, width: int) -> int:
    """How many groups are computed as one."""
    divisors = [each for each in range(1, groups + 1) if groups % each == 0]
    return next(
        each for each in divisors if each == groups or (each * width >= _WIDE_GROUP and groups // each <= _MOST_PARTS)
    )


def _block_diagonal(kernel: Array, groups: int) -> Array:
    """[*size, in / groups, out] as [*size, in, out] with zeros where an output does not see an input."""
    if groups == 1:
        return kernel
    *size, width, features = kernel.shape
    own = jnp.eye(groups, dtype=kernel.dtype).reshape((1,) * len(size) + (groups, 1, groups, 1))
    return (own * kernel.reshape(*size, 1, width, groups, -1)).reshape(*size, groups * width, features)


def _outputs_form(x: Array, kernel: Array, window: Window) -> Array:
    """XLA's convolution, but for the few weights and the three axes that it is slow for."""
    if len(window.size) == 3 or math.prod(kernel.shape[:-1]) <= _FEW_WEIGHTS:
        return convolve_by_matmul(x, kernel, window)
    return convolve_by_xla(x, kernel, window)


def _inputs_tangent(dx: Array, kernel: Array, window: Window) -> Array:
    """The form whose transpose is the gradient of inputs."""
    if (
        len(window.size) == 3
        or dx.shape[-1] <= _FEW_INPUTS
        or kernel.size > math.prod(dx.shape[1:]) * (dx.shape[0] if isinstance(dx.shape[0], int) else 1)
    ):
        return convolve_by_matmul(dx, kernel, window)
    return _inputs_tangent_by_xla(dx, kernel, window)


def _inputs_tangent_by_xla(dx: Array, kernel: Array, window: Window) -> Array:
    """Its transpose reads the kernel as [*size, out, in], which it is here."""
    inputs, weights, positions = layout(window)
    exchanged = lax.optimization_barrier(jnp.swapaxes(kernel, -1, -2))
    return lax.conv_general_dilated(
        dx,
        exchanged,
        window.strides,
        window.padding,
        rhs_dilation=window.dilation,
        dimension_numbers=(inputs, weights.replace("IO", "OI"), positions),
    )


def _kernel_tangent(x: Array, dkernel: Array, window: Window) -> Array:
    """The form whose transpose is the gradient of the kernel: products of the patches of some examples at a time."""
    examples = x.shape[0]
    an_example = math.prod(outputs(x.shape[1:-1], window)) * math.prod(dkernel.shape[:-1])
    if not isinstance(examples, int) or examples * an_example <= _PATCHES_AT_ONCE:
        return convolve_by_matmul(x, dkernel, window, product=of_kernel)
    if an_example > _PATCHES_OF_AN_EXAMPLE:
        return _kernel_tangent_by_xla(x, dkernel, window)
    together = max(
        n for n in range(1, examples + 1) if not examples % n and (n == 1 or n * an_example <= _PATCHES_IN_CACHE)
    )

    @jax.checkpoint  # or JAX would make the patches of all examples before the loop
    def body(_: None, x: Array) -> tuple[None, Array]:
        return None, _times_patches(x, dkernel, window)

    _, parts = lax.scan(body, None, x.reshape(examples // together, together, *x.shape[1:]))
    y: Array = parts.reshape(examples, *parts.shape[2:])
    return y


def _times_patches(x: Array, dkernel: Array, window: Window) -> Array:
    """Patches, apart from the product and transposed, times the kernel."""
    *size, inputs, features = dkernel.shape
    counts = outputs(x.shape[1:-1], window)
    axes = range(len(size))
    if counts[-1] >= min(_WIDE_AXIS, 2 * inputs):
        # [in * batch, *spatial, 1]: taps are copied in runs as long as the last axis
        rows = lax.optimization_barrier(jnp.moveaxis(x, -1, 0))
        rows = rows.reshape(inputs * x.shape[0], *x.shape[1:-1], 1)
        patches = jnp.stack([seen.reshape(inputs, -1) for seen in shifted(rows, window, axes)])
        patches = patches.reshape(math.prod(size) * inputs, -1)
    else:
        patches = jnp.concatenate(shifted(x, window, axes), -1)
        patches = patches.reshape(-1, patches.shape[-1]).T
    patches = lax.optimization_barrier(patches)
    weights = dkernel.reshape(-1, features)
    y = lax.dot_general(patches, weights, (((0,), (0,)), ((), ())), preferred_element_type=_sum_dtype(x))
    return y.astype(x.dtype).reshape(x.shape[0], *counts, features)


def _kernel_tangent_by_xla(x: Array, dkernel: Array, window: Window) -> Array:
    """Its transpose is a convolution of [in, *spatial, batch] with [*spatial, batch, out], which they are here."""
    spatial = layout(window)[1][:-2]
    exchanged = lax.optimization_barrier(jnp.swapaxes(x, 0, -1))
    y = lax.conv_general_dilated(
        exchanged,
        jnp.moveaxis(dkernel, -2, 0),
        window.strides,
        window.padding,
        rhs_dilation=window.dilation,
        dimension_numbers=(f"C{spatial}N", f"I{spatial}O", f"{spatial}NC"),
    )
    return jnp.moveaxis(y, -2, 0)


def _sum_dtype(x: Array) -> jnp.dtype:
    """Sums of several terms are taken in at least float32."""
    return jnp.promote_types(x.dtype, jnp.float32)


_of_one_group = bilinear(
    _outputs_form, convolve_by_xla, cpu_inputs_tangent=_inputs_tangent, cpu_kernel_tangent=_kernel_tangent
)
_by_xla = bilinear(
    convolve_by_xla,
    convolve_by_xla,
    cpu_inputs_tangent=_inputs_tangent_by_xla,
    cpu_kernel_tangent=_kernel_tangent_by_xla,
)
