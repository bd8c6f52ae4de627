"""Matrix products whose gradients XLA computes fast on CPU; elsewhere they are XLA's own.

What JAX derives from `x @ kernel` is slow on CPU in two ways (`benchmarks/product_forms.py` measures them). With more
than two axes, the kernel's gradient x' g is computed from copies in a slow layout. With two, and for each of a batch of
products, it runs over the first axis of both operands, for which the backend has no fast kernel unless the smaller one
is transposed before. So `matmul` brings a product to two axes where it can, and chooses by its shape how the kernel's
gradient is computed. All forms agree up to the order of a sum.

XLA also computes an elementwise chain again in each of its readers: `computed_once` stops it.
"""

import functools
import math
from collections.abc import Callable, Hashable, Sequence
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Float

from dlkit.typing import Array, Shape

__all__ = [
    "affine",
    "bilinear",
    "computed_once",
    "is_sharded",
    "matmul",
    "of_kernel",
    "shared_like",
    "spread",
    "with_example_shape",
]

_Form: TypeAlias = Callable[[Array, Array, Any], Array]

# From so many rows, and so many times more inputs than outputs, a plain product whose first operand is g is fastest.
_MANY_ROWS = 1024
_MANY_INPUTS = 4
_LARGE_KERNEL = 2**15
# Products in a batch with a side up to this take XLA's own layout: in another one, its CPU emitter for the smallest
# products ends the process ("IsMonotonicWithDim0Major"): with value and gradient of attention over 3 positions.
_TINY = 3
_BARRIERS_OUTLAST_FUSION = jax.__version_info__ >= (0, 12)


def matmul(
    x: Float[Array, "..."], kernel: Float[Array, "..."], *, dtype: jnp.dtype | None = None
) -> Float[Array, "..."]:
    """Product over the last axis of x, `x @ kernel`, with gradients in the form that is fast on the platform.

    Args:
        x: [*batch, inputs] for a kernel of two axes; else [*batch, rows, inputs].
        kernel: [inputs, outputs], or [*batch, inputs, outputs] with the batch axes of x.
        dtype: in which sums are taken and returned; None for the dtype that the two promote to.

    Returns:
        [*batch, outputs], or [*batch, rows, outputs].

    Example:
        >>> matmul(jnp.ones((5, 4, 3)), jnp.ones((3, 2))).shape
        (5, 4, 2)
        >>> matmul(jnp.ones((5, 4, 3)), jnp.ones((5, 3, 2))).shape
        (5, 4, 2)
    """
    return _of_two_axes(_product_for, x, kernel, dtype)


def of_kernel(
    x: Float[Array, "..."], kernel: Float[Array, "..."], *, dtype: jnp.dtype | None = None
) -> Float[Array, "..."]:
    """The same as `matmul` in the form whose transpose is the kernel's gradient, for rules of differentiation on CPU.

    Args:
        x: as in `matmul`.
        kernel: as in `matmul`.
        dtype: as in `matmul`.

    Returns:
        The product.

    Example:
        >>> of_kernel(jnp.ones((5, 4, 3)), jnp.ones((3, 2))).shape
        (5, 4, 2)
    """
    return _of_two_axes(_form_of_kernel, x, kernel, dtype)


def affine(
    x: Float[Array, "*batch inputs"], kernel: Float[Array, "inputs outputs"], bias: Float[Array, "outputs"] | None
) -> Float[Array, "*batch outputs"]:
    """Map the last axis: x W + b, with gradients in the form that is fast on the platform.

    Args:
        x: inputs.
        kernel: W.
        bias: b; None for none.

    Returns:
        The outputs, in the dtype that all promote to.

    Example:
        >>> affine(jnp.ones((2, 3)), jnp.ones((3, 1)), jnp.array([10.0])).tolist()
        [[13.0], [13.0]]
    """
    rows = matmul(x.reshape(math.prod(x.shape[:-1]), x.shape[-1]), kernel)
    if bias is not None:
        rows = rows + spread(bias, rows.shape[0])
    return rows.reshape(*x.shape[:-1], kernel.shape[-1])


def spread(leaf: Float[Array, "*shape"], rows: int) -> Float[Array, "rows *shape"]:
    """A parameter beside itself, once for each row, with a gradient that is summed in one pass.

    On CPU, XLA would bring the rows' gradient back to the axes that the rows are made of, and sum over two and more
    axes in a slow loop.

    Args:
        leaf: the parameter.
        rows: how many.

    Returns:
        The rows.

    Example:
        >>> spread(jnp.array([1.0, 2.0]), 3).tolist()
        [[1.0, 2.0], [1.0, 2.0], [1.0, 2.0]]
    """
    ones = jnp.ones((rows,) + (1,) * leaf.ndim, leaf.dtype)
    return _spread(ones, leaf.reshape(1, *leaf.shape), None)


def is_sharded(x: Array, axes: Sequence[int]) -> bool:
    """Whether the type of an array says that devices share it along some axes: in a mesh whose axes are explicit.

    Args:
        x: an array, also a traced one.
        axes: which axes, negative ones from the end.

    Returns:
        False too where it is shared without its type saying so, and XLA finds the communication.

    Example:
        >>> is_sharded(jnp.ones((4, 2)), (0, 1))
        False
    """
    spec = jax.typeof(x).sharding.spec
    return any(spec[axis] is not None for axis in axes if -len(spec) <= axis < len(spec))


def shared_like(y: Array, x: Array, axis: int) -> Array:
    """The same values, whose first axis the devices share as they share an axis of x.

    Args:
        y: what stands beside x, such as a start of zeros.
        x: an array whose type may say that devices share it.
        axis: of x, of the size of the first axis of y.

    Returns:
        y.

    Example:
        >>> shared_like(jnp.zeros((2, 3)), jnp.ones((5, 2)), 1).shape
        (2, 3)
    """
    if not is_sharded(x, (axis,)):
        return y
    sharding = jax.typeof(x).sharding
    spec = jax.sharding.PartitionSpec(sharding.spec[axis], *(None,) * (y.ndim - 1))
    shared: Array = jax.sharding.reshard(y, jax.sharding.NamedSharding(sharding.mesh, spec))
    return shared


def with_example_shape(x: Float[Array, "..."], shape: Shape, *, batch_axes: int) -> Float[Array, "..."]:
    """The examples in another shape, the batch shared by the devices that shared it.

    Args:
        x: `[*batch, *example]`.
        shape: of an example, of as many values.
        batch_axes: how many batch axes there are.

    Returns:
        `[*batch, *shape]`.

    Example:
        >>> with_example_shape(jnp.ones((5, 2, 3)), (3, 2), batch_axes=1).shape
        (5, 3, 2)
    """
    whole = (*x.shape[:batch_axes], *shape)
    if is_sharded(x, range(batch_axes)) and not is_sharded(x, range(batch_axes, x.ndim)):
        # JAX itself finds the type of a reshape only where it splits or merges one axis.
        sharding = jax.typeof(x).sharding
        spec = jax.sharding.PartitionSpec(*sharding.spec[:batch_axes], *(None,) * len(shape))
        return lax.reshape(x, whole, out_sharding=jax.sharding.NamedSharding(sharding.mesh, spec))
    return x.reshape(whole)


@jax.custom_jvp
def computed_once(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """The same values, which all that follows reads; and so with their gradient.

    On CPU, XLA fuses an elementwise chain with each of its readers, which compute it again. Where these are many (the
    slices of a convolution, the sums of a normalization's gradient) and the chain is long, one copy costs less.

    Args:
        x: values, any shape.

    Returns:
        x.

    Example:
        >>> computed_once(jnp.array([1.0, 2.0]))
        Array([1., 2.], dtype=float32)
    """
    once: Array = _once(x)
    return once


@computed_once.defjvp
def _computed_once_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    return computed_once(*primals), computed_once(*tangents)


@jax.jit
def _once(x: Array) -> Array:
    result: Array = lax.platform_dependent(x, cpu=_copied, default=lambda x: x)
    return result


def bilinear(
    cpu: _Form,
    default: _Form,
    *,
    cpu_inputs_tangent: _Form | None = None,
    cpu_kernel_tangent: _Form | None = None,
) -> _Form:
    """A product of inputs and kernel that takes the form of the platform, in derivatives of any order and mode too.

    The rule of differentiation stands outside of the choice: the derivative of a choice would save what either form
    needs, and this one saves only inputs and kernel.

    Args:
        cpu: ``form(x, kernel, setting)`` on CPU.
        default: the form elsewhere.
        cpu_inputs_tangent: the form on CPU whose transpose is the gradient of the inputs, where it differs.
        cpu_kernel_tangent: the form on CPU whose transpose is the gradient of the kernel, where it differs.

    Returns:
        ``product(x, kernel, setting)``; the setting is hashable.

    Example:
        >>> dot = bilinear(lambda x, kernel, _: x @ kernel, lambda x, kernel, _: x @ kernel)
        >>> dot(jnp.ones((2, 3)), jnp.ones((3, 1)), None).tolist()
        [[3.0], [3.0]]
    """

    @functools.partial(jax.custom_jvp, nondiff_argnums=(2,))
    def product(x: Array, kernel: Array, setting: Hashable) -> Array:
        if cpu is default and cpu_inputs_tangent is None:
            return default(x, kernel, setting)
        y: Array = _by_platform(cpu, default, x, kernel, setting)
        return y

    of_inputs = product if cpu_inputs_tangent is None else bilinear(cpu_inputs_tangent, default)
    of_kernel = product if cpu_kernel_tangent is None else bilinear(cpu_kernel_tangent, default)

    def rule(
        setting: Hashable, primals: Sequence[Array], tangents: Sequence[Array | SymbolicZero]
    ) -> tuple[Array, Array]:
        (x, kernel), (dx, dkernel) = primals, tangents
        # d(x * k) = dx * k + x * dk
        terms = []
        if not isinstance(dx, SymbolicZero):
            terms.append(of_inputs(dx, kernel, setting))
        if not isinstance(dkernel, SymbolicZero):
            terms.append(of_kernel(x, dkernel, setting))
        return product(x, kernel, setting), functools.reduce(jnp.add, terms)

    product.defjvp(rule, symbolic_zeros=True)
    return product


@functools.partial(jax.jit, static_argnums=(0, 1, 4))  # outside of a jit: one compilation instead of one per operation
def _by_platform(cpu: _Form, default: _Form, x: Array, kernel: Array, setting: Hashable) -> Array:
    result: Array = lax.platform_dependent(
        x,
        kernel,
        cpu=lambda x, kernel: cpu(x, kernel, setting),
        default=lambda x, kernel: default(x, kernel, setting),
    )
    return result


def _of_two_axes(choose: Callable[[Array, Array], _Form], x: Array, kernel: Array, dtype: jnp.dtype | None) -> Array:
    """The product of x and kernel, brought to two axes and their batch, in the form chosen for these."""
    promoted = jnp.result_type(x, kernel)
    x, kernel = x.astype(promoted), kernel.astype(promoted)
    shape = (*x.shape[:-1], kernel.shape[-1])
    batch = kernel.shape[:-2]
    # Without batch axes of the kernel, those of x are rows.
    x = x.reshape(math.prod(batch), *x.shape[-2:]) if batch else x.reshape(math.prod(x.shape[:-1]), x.shape[-1])
    kernel = kernel.reshape(x.shape[0], *kernel.shape[-2:]) if batch else kernel
    return choose(x, kernel)(x, kernel, dtype).reshape(shape)


def _product_for(x: Array, kernel: Array) -> _Form:
    """The product whose gradients are fastest for [..., rows, inputs] and [..., inputs, outputs]."""
    return _PRODUCTS[_form_of_kernel(x, kernel)]


def _form_of_kernel(x: Array, kernel: Array) -> _Form:
    """The form whose transpose is the kernel's gradient, as measured."""
    rows, (inputs, outputs) = x.shape[-2], kernel.shape[-2:]
    if not all(isinstance(size, int) for size in (rows, inputs, outputs)):
        return _dot  # a size is a symbol, while a program for every batch is exported
    if x.ndim > 2 and min(rows, inputs, outputs) <= _TINY:
        return _dot
    if x.ndim == 2 and rows >= _MANY_ROWS and inputs >= _MANY_INPUTS * outputs:
        return _dot_of_kernel_first
    if x.ndim == 2 and inputs >= outputs >= rows and inputs * outputs >= _LARGE_KERNEL:
        # no result to transpose, which an optimizer would read across its order more than once
        return _dot_of_transposed_inputs
    if inputs >= outputs:
        return _dot_of_transposed_kernel
    return _dot_of_transposed_inputs if x.ndim > 2 else _dot  # one product of few inputs gains nothing from transposing


def _dot(x: Array, kernel: Array, dtype: jnp.dtype | None) -> Array:
    """The product as XLA's."""
    return jnp.matmul(x, kernel, preferred_element_type=dtype)


def _dot_of_transposed_inputs(x: Array, kernel: Array, dtype: jnp.dtype | None) -> Array:
    """Its transpose is (x') g, with x transposed before; without the barrier, XLA would undo that."""
    rows, batch = x.ndim - 1, tuple(range(x.ndim - 2))
    transposed = lax.optimization_barrier(jnp.swapaxes(x, -1, -2))
    contract = ((rows - 1,), (rows - 1,))
    return lax.dot_general(transposed, kernel, (contract, (batch, batch)), preferred_element_type=dtype)


def _dot_of_kernel_first(x: Array, kernel: Array, dtype: jnp.dtype | None) -> Array:
    """Its transpose is (g' x)': g is the first operand, which the backend reads against its order at a lower cost."""
    columns, batch = x.ndim - 1, tuple(range(x.ndim - 2))
    # without the barrier, XLA would swap the operands back
    transposed = lax.optimization_barrier(jnp.swapaxes(kernel, -1, -2))
    contract = ((columns,), (columns,))
    return jnp.swapaxes(
        lax.dot_general(transposed, x, (contract, (batch, batch)), preferred_element_type=dtype), -1, -2
    )


def _dot_of_transposed_kernel(x: Array, kernel: Array, dtype: jnp.dtype | None) -> Array:
    """Its transpose is ((g') x)', with g transposed apart, too."""
    y = jnp.swapaxes(_dot_of_kernel_first(x, kernel, dtype), -1, -2)
    return jnp.swapaxes(lax.optimization_barrier(y), -1, -2)


def _times(x: Array, kernel: Array, _: None) -> Array:
    """The product of each with each, by broadcasting."""
    return x * kernel


def _times_apart(x: Array, kernel: Array, _: None) -> Array:
    """Its transpose takes a gradient that is computed apart."""
    y: Array = lax.optimization_barrier(x * kernel)
    return y


def _copied(x: Array) -> Array:
    """The same values behind what XLA's CPU backend does not fuse, in either direction."""
    if not x.ndim:
        return x
    # A row more cannot be shared equally by the devices that share the first axis.
    if _BARRIERS_OUTLAST_FUSION or is_sharded(x, (0,)):
        once: Array = lax.optimization_barrier(x)
        return once
    # Earlier versions drop barriers before they fuse. What is one row longer than its readers see is not fused; and a
    # split, whose transpose is a concatenation, has the gradient one row longer as well.
    longer = lax.optimization_barrier(jnp.concatenate([x, jnp.zeros((1, *x.shape[1:]), x.dtype)]))
    return lax.split(longer, (x.shape[0], 1))[0]


_spread = bilinear(_times, _times, cpu_kernel_tangent=_times_apart)
_PRODUCTS: dict[_Form, _Form] = {
    _dot: bilinear(_dot, _dot),
    **{
        form: bilinear(_dot, _dot, cpu_kernel_tangent=form)
        for form in (_dot_of_transposed_inputs, _dot_of_transposed_kernel, _dot_of_kernel_first)
    },
}
