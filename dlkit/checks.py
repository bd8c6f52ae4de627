"""Checks of arguments that the primitives share, and arrays of what stands for them.

Each check raises an error that says what was expected and what came.

Only what is known while tracing is checked (shapes, dtypes, Python numbers), and values where they are at hand: under
`jit` a number that depends on the data cannot be looked at.
"""

import operator
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from dlkit.typing import Array, Key, Values

__all__ = [
    "as_real",
    "known_number",
    "known_zero",
    "require_class_indices",
    "require_floating",
    "require_key",
    "require_number",
    "require_same_shape",
    "require_size",
]

_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "at least": operator.ge,
    "above": operator.gt,
    "at most": operator.le,
    "below": operator.lt,
}


def as_real(*values: Array | Values) -> tuple[Array, ...]:
    """Arrays of what stands for real ones; numbers and lists take the floating-point dtype of the arrays beside them.

    Args:
        *values: arrays, which keep their dtype, or Python numbers and lists of them.

    Returns:
        The arrays.

    Example:
        >>> x, t = as_real(jnp.ones(2, jnp.bfloat16), [0, 1])
        >>> str(x.dtype), str(t.dtype)
        ('bfloat16', 'bfloat16')
    """
    if all(isinstance(value, jax.Array) for value in values):
        return values  # type: ignore[return-value]
    typed = [jnp.asarray(value) for value in values if hasattr(value, "dtype")]
    floating = [x for x in typed if jnp.issubdtype(x.dtype, jnp.floating)]
    dtype = jnp.result_type(*floating) if floating else jnp.result_type(float)
    return tuple(jnp.asarray(value) if hasattr(value, "dtype") else jnp.asarray(value, dtype) for value in values)


def require_floating(where: str, **arrays: Array) -> None:
    """Refuse arrays that are not floating point.

    Args:
        where: the function that checks, first in the message.
        **arrays: by the names of its arguments.

    Raises:
        TypeError: one of them is of another dtype.

    Example:
        >>> require_floating("dense", inputs=jnp.arange(3))
        Traceback (most recent call last):
            ...
        TypeError: dense: expected floating-point inputs, got int32[3]; cast them
    """
    for name, x in arrays.items():
        if not jnp.issubdtype(x.dtype, jnp.floating):
            raise TypeError(f"{where}: expected floating-point {name}, got {jax.typeof(x)}; cast them")


def require_same_shape(where: str, **arrays: Array) -> None:
    """Refuse arrays of different shapes: nothing is broadcast, because [n] against [n, 1] would silently give [n, n].

    Args:
        where: the function that checks.
        **arrays: by the names of its arguments.

    Raises:
        ValueError: two shapes differ.

    Example:
        >>> require_same_shape("squared_error", predictions=jnp.ones(3), targets=jnp.ones((3, 1)))
        Traceback (most recent call last):
            ...
        ValueError: squared_error: expected predictions and targets of one shape, got float32[3] and float32[3,1]; \
reshape one of them, nothing is broadcast
    """
    if len({x.shape for x in arrays.values()}) > 1:
        names, got = " and ".join(arrays), " and ".join(str(jax.typeof(x)) for x in arrays.values())
        raise ValueError(
            f"{where}: expected {names} of one shape, got {got}; reshape one of them, nothing is broadcast"
        )


def require_size(where: str, **sizes: object) -> None:
    """Refuse what is no positive integer.

    Args:
        where: the function that checks.
        **sizes: by the names of its arguments.

    Raises:
        ValueError: one of them is not an integer, or below 1.

    Example:
        >>> require_size("dense", features=0)
        Traceback (most recent call last):
            ...
        ValueError: dense: expected features to be an integer of at least 1, got 0
    """
    for name, size in sizes.items():
        if not isinstance(size, int | np.integer) or isinstance(size, bool) or size < 1:
            raise ValueError(f"{where}: expected {name} to be an integer of at least 1, got {size!r}")


def known_number(value: object) -> bool:
    """Whether a scalar is a plain number, whose value is known, and not an array that may be traced.

    Example:
        >>> known_number(0.5), known_number(jnp.float32(0.5))
        (True, False)
    """
    return isinstance(value, float | int)


def known_zero(value: object) -> bool:
    """Whether a scalar is the plain number 0: a rate at which it is known that nothing is dropped or added.

    Example:
        >>> known_zero(0.0), known_zero(0.5), known_zero(jnp.float32(0))
        (True, False, False)
    """
    return known_number(value) and value == 0


def require_number(where: str, name: str, value: object, **bounds: float) -> None:
    """Refuse a plain number outside bounds; arrays (a tuned hyperparameter) pass unchecked.

    Args:
        where: the function that checks.
        name: the argument.
        value: its value.
        **bounds: any of `at_least`, `above`, `at_most`, `below`.

    Raises:
        ValueError: it is out of bounds, or NaN.

    Example:
        >>> require_number("dropout", "rate", 1.0, at_least=0, below=1)
        Traceback (most recent call last):
            ...
        ValueError: dropout: expected rate at least 0 and below 1, got 1.0
    """
    words = {bound.replace("_", " "): limit for bound, limit in bounds.items()}
    if known_number(value) and not all(_COMPARISONS[word](value, limit) for word, limit in words.items()):  # type: ignore[arg-type]
        expected = " and ".join(f"{word} {limit:g}" for word, limit in words.items())
        raise ValueError(f"{where}: expected {name} {expected}, got {value}")


def require_key(where: str, key: Key | None) -> Key:
    """Refuse to draw random numbers without a key.

    Args:
        where: the function that checks.
        key: the key that the caller got.

    Returns:
        The key.

    Raises:
        ValueError: it is None.

    Example:
        >>> require_key("dropout", None)
        Traceback (most recent call last):
            ...
        ValueError: dropout: expected a key while training, got None; pass apply(..., key=..., train=True)
    """
    if key is None:
        raise ValueError(f"{where}: expected a key while training, got None; pass apply(..., key=..., train=True)")
    return key


def require_class_indices(where: str, indices: Array, classes: int, *, ignored: int | None = None) -> None:
    """Refuse class indices (or token ids) out of range where their values are known: outside `jit`.

    Args:
        where: the function that checks.
        indices: integers, any shape.
        classes: how many there are; the indices are in [0, classes).
        ignored: an index that is allowed beside them.

    Raises:
        TypeError: they are not integers.
        ValueError: one of them is out of range; never while tracing.

    Example:
        >>> require_class_indices("cross_entropy", jnp.array([0, 3]), 3)
        Traceback (most recent call last):
            ...
        ValueError: cross_entropy: expected class indices in [0, 3), got 3 at position (1,)
    """
    if not jnp.issubdtype(indices.dtype, jnp.integer):
        raise TypeError(f"{where}: expected integer class indices, got {jax.typeof(indices)}")
    if isinstance(indices, jax.core.Tracer):
        return
    values = np.asarray(indices)
    wrong = (values < 0) | (values >= classes)
    if ignored is not None:
        wrong &= values != ignored
    if wrong.any():
        position = tuple(int(index[0]) for index in np.nonzero(wrong)) if values.ndim else ()
        beside = "" if ignored is None else f" or {ignored}"
        at = f" at position {position}" if position else ""
        raise ValueError(f"{where}: expected class indices in [0, {classes}){beside}, got {values[position]}{at}")
