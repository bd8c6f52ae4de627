"""What the families of losses share: arrays of what is given, the dtype to compute in, norms, checks of values."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Shaped
from numpy.typing import NDArray

from dlkit.checks import as_real
from dlkit.typing import Array, DTypeLike, Values

__all__ = [
    "Values",
    "as_indices",
    "as_real",
    "masked_mean",
    "norm",
    "over_scale",
    "require_values",
    "times",
    "unit_vectors",
    "widen",
]


def as_indices(values: Array | Values) -> Array:
    """An array of what stands for class indices, or for weights of classes: Python numbers keep their kind.

    Args:
        values: an array, a number or a list of numbers.

    Example:
        >>> as_indices([0, 2])
        Array([0, 2], dtype=int32)
    """
    return jnp.asarray(values)


def times(factor: Array, values: Array) -> Array:
    """The product, in which a factor of 0 leaves nothing of an infinite value: 0 * inf = 0, also in the gradient.

    Args:
        factor: of the shape of the values, or a scalar.
        values: any shape.

    Example:
        >>> times(jnp.array([0.0, 2.0]), jnp.array([jnp.inf, 3.0])).tolist()
        [0.0, 6.0]
    """
    return factor * jnp.where((factor == 0) & jnp.isinf(values), 0.0, values)


def widen(*arrays: Array) -> tuple[DTypeLike, tuple[Array, ...]]:
    """Cast arrays to the dtype to compute in: what they promote to, but at least float32.

    Args:
        *arrays: of floating-point dtypes.

    Returns:
        The dtype that they promote to, which is that of the result, and the arrays.

    Example:
        >>> dtype, (x,) = widen(jnp.ones(2, jnp.bfloat16))
        >>> str(dtype), str(x.dtype)
        ('bfloat16', 'float32')
    """
    dtype = jnp.result_type(*arrays)
    compute_dtype = jnp.promote_types(dtype, jnp.float32)
    return dtype, tuple(x.astype(compute_dtype) for x in arrays)


def masked_mean(
    values: Shaped[Array, "..."] | Values,
    mask: Bool[Array, "..."] | Values,
    *,
    axis: int | tuple[int, ...] | None = None,
) -> Shaped[Array, "..."]:
    """The mean of the values that count, such as losses of the steps before a sequence's padding.

    Every element counts alike: with `axis=None`, a long sequence counts more than a short one; with `axis=1` for values
    [batch, time], there is a mean for each. What does not count may be anything, NaN too: it has no gradient. Where
    nothing counts the mean is 0.

    Args:
        values: numbers or truth values, any shape.
        mask: true where a value counts, of the shape of the values or of their first axes: `[batch, time]` for values
            `[batch, time, features]`.
        axis: over which axes the mean is taken; None for all.

    Returns:
        The mean, in at least float32.

    Raises:
        ValueError: the mask has other axes than the values begin with.
        TypeError: the mask is not boolean.

    Example:
        >>> errors = jnp.array([[1.0, 3.0], [5.0, jnp.nan]])
        >>> within = jnp.arange(2)[None, :] < jnp.array([2, 1])[:, None]
        >>> masked_mean(errors, within), masked_mean(errors, within, axis=1)
        (Array(3., dtype=float32), Array([2., 5.], dtype=float32))
    """
    values, mask = jnp.asarray(values), jnp.asarray(mask)
    if mask.dtype != jnp.bool_:
        raise TypeError(f"masked_mean: expected a boolean mask, true where a value counts, got {jax.typeof(mask)}")
    if values.shape[: mask.ndim] != mask.shape:
        raise ValueError(
            f"masked_mean: expected a mask of the shape of the values or of their first axes, got {jax.typeof(mask)} "
            f"and values {jax.typeof(values)}"
        )
    dtype = jnp.promote_types(values.dtype, jnp.float32)
    counted = jnp.broadcast_to(mask.reshape(mask.shape + (1,) * (values.ndim - mask.ndim)), values.shape)
    # Replaced beforehand: a NaN that is left out afterwards has the gradient 0 * NaN.
    total = jnp.where(counted, values, jnp.zeros((), values.dtype)).astype(dtype).sum(axis)
    return total / jnp.maximum(counted.astype(dtype).sum(axis), 1.0)


def norm(x: Array) -> Array:
    """Euclidean norm over the last axis, without overflow; the gradient at the zero vector is 0.

    Args:
        x: vectors `[*batch, features]` in the dtype to compute in.

    Returns:
        `[*batch]`.

    Example:
        >>> norm(jnp.array([3e30, 4e30]))
        Array(5.e+30, dtype=float32)
    """
    scaled, scale, zero = _scaled(x)
    # |x| = m |x / m|
    return jnp.where(zero, 0.0, scale * _scaled_norm(scaled, zero))


def over_scale(errors: Array, log_scale: Array) -> Array:
    """Errors over a scale that comes as its logarithm: e / s. An error of 0 is 0 in any unit, however small.

    Args:
        errors: in the dtype to compute in.
        log_scale: log s, of the same shape.

    Returns:
        The quotients.

    Example:
        >>> over_scale(jnp.array([2.0, 0.0]), jnp.array([0.0, -1e4])).tolist()
        [2.0, 0.0]
    """
    # 1 / s, which overflows for a tiny scale: 0 * inf = 0
    inverse = -log_scale
    overflows = inverse > math.log(np.finfo(inverse.dtype).max)
    return errors * jnp.exp(jnp.where((errors == 0) & overflows, 0.0, inverse))


def unit_vectors(x: Array) -> tuple[Array, Array]:
    """Vectors over their Euclidean norm, x / |x|, over the last axis; the zero vector stays 0, with the gradient 0.

    Args:
        x: vectors `[*batch, features]` in the dtype to compute in.

    Returns:
        The unit vectors, and which of the vectors are zero, `[*batch]`.

    Example:
        >>> unit, zero = unit_vectors(jnp.array([[5e30, 0.0], [0.0, 0.0]]))
        >>> unit.tolist(), zero.tolist()
        ([[1.0, 0.0], [0.0, 0.0]], [False, True])
    """
    scaled, _, zero = _scaled(x)
    # x / |x| = (x / m) / |x / m|
    unit = scaled / jnp.expand_dims(_scaled_norm(scaled, zero), -1)
    return jnp.where(jnp.expand_dims(zero, -1), 0.0, unit), zero


def require_values(
    where: str, name: str, x: Array, valid: Callable[[NDArray[np.float64]], NDArray[np.bool_]], expected: str
) -> None:
    """Refuse elements out of range where their values are known: outside `jit`.

    Args:
        where: the function that checks.
        name: the argument.
        x: its value.
        valid: says of every element whether it is in range.
        expected: the range in words.

    Raises:
        ValueError: an element is out of range, or NaN; never while tracing.

    Example:
        >>> require_values("hinge", "targets", jnp.array([1.0, 0.0]), lambda t: abs(t) == 1, "of -1 and +1")
        Traceback (most recent call last):
            ...
        ValueError: hinge: expected targets of -1 and +1, got 0.0 at position (1,)
    """
    if isinstance(x, jax.core.Tracer):
        return
    # An axis of one for a scalar: comparisons of an array without axes are no arrays.
    values = np.atleast_1d(np.asarray(x).astype(np.float64))
    wrong = ~valid(values)
    if wrong.any():
        position = tuple(int(index[0]) for index in np.nonzero(wrong))
        at = f" at position {position}" if x.ndim else ""
        raise ValueError(f"{where}: expected {name} {expected}, got {values[position]}{at}")


def _scaled(x: Array) -> tuple[Array, Array, Array]:
    """Scale x to x / m with m about max |x_i|, so that no square overflows; also m, and whether x is zero.

    Norms and directions are the same for every m, so m is a constant to the gradient. Subnormal numbers count as zero,
    because some devices flush them.
    """
    tiny = np.finfo(x.dtype).tiny
    scale = jax.lax.stop_gradient(jnp.max(jnp.abs(x), axis=-1, keepdims=True, initial=0.0))
    zero = scale < tiny  # NaN is not hidden
    # Capped, because compilers divide by multiplying with 1 / m, which must not be flushed to zero.
    scale = jnp.where(zero, 1.0, jnp.minimum(scale, 0.25 / tiny))
    largest = np.finfo(x.dtype).max
    # Bounded, which changes nothing: of a constant m the compiler makes (x / m)^2 = x^2 / m^2, and m^2 may be 0.
    return jnp.clip(x / scale, -largest, largest), jnp.squeeze(scale, -1), jnp.squeeze(zero, -1)


def _scaled_norm(scaled: Array, zero: Array) -> Array:
    """|x / m|, and 1 where x is zero: the gradient of sqrt at 0 is infinite."""
    return jnp.sqrt(jnp.where(zero, 1.0, jnp.sum(jnp.square(scaled), axis=-1)))
