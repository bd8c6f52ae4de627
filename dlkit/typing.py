"""The types that the primitives share.

Shapes are written with jaxtyping: `Float[Array, "*batch classes"]`. They document, and the test session checks them
with beartype; at run time they cost nothing.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Float, PRNGKeyArray, PyTree

__all__ = ["Array", "ArrayFunction", "DTypeLike", "Initializer", "Key", "Params", "Scalar", "Shape", "State", "Values"]

ArrayFunction: TypeAlias = Callable[[Array], Array]
"""A plain function of one array, such as an activation."""

Initializer: TypeAlias = Callable[[Any, tuple[int, ...], Any], Array]
"""`(key, shape, dtype) -> array`: those of `jax.nn.initializers`, and functions of one's own."""

Key: TypeAlias = PRNGKeyArray
"""A PRNG key: a typed one (`jax.random.key`) or a raw one (`jax.random.PRNGKey`)."""

Params: TypeAlias = PyTree[Array]
"""What the optimizer changes: a nested dictionary of arrays, e.g. `{"kernel": ..., "bias": ...}`."""

State: TypeAlias = PyTree[Array]
"""What a layer carries from step to step and the optimizer does not touch, e.g. batch statistics."""

Scalar: TypeAlias = float | int | Float[Array, ""]
"""A number that may also be traced, so that tuning it compiles nothing."""

Shape: TypeAlias = tuple[int, ...]
"""The sizes of an array's axes."""

Values: TypeAlias = float | int | list[Any] | tuple[Any, ...] | np.ndarray
"""What stands for an array beside one: a number, nested lists of numbers, an array of NumPy."""
