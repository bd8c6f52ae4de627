"""A scan that XLA compiles as a loop even when it runs once."""

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import jax
import jax.numpy as jnp

from dlkit.typing import Array

__all__ = ["scan"]

Carried = TypeVar("Carried")


def scan(body: Callable[[Carried, Array], tuple[Carried, Any]], carry: Carried, rows: Array) -> tuple[Carried, Any]:
    """`jax.lax.scan`, compiled as a loop even for one iteration.

    XLA removes a loop that it knows to run once, and compiles its body differently: the last bits of a trial would
    depend on how the trial is cut into calls.

    Args:
        body: ``body(carry, row) -> (carry, result)``.
        carry: what the first iteration gets.
        rows: [iterations, ...], at least one.

    Returns:
        The last carry, and the results with the iterations as their first axis.

    Example:
        >>> total, sums = scan(lambda carry, row: (carry + row, carry + row), jnp.float32(1.0), jnp.array([2.0]))
        >>> float(total), sums.tolist()
        (3.0, [3.0])
    """
    if len(rows) > 1:
        ended: tuple[Carried, Any] = jax.lax.scan(body, carry, rows)
        return ended
    body = jax.jit(body, inline=True)  # for the shapes and in the loop it is traced once
    shapes = jax.eval_shape(body, carry, rows[0])[1]
    results = jax.tree.map(lambda each: jnp.zeros((1, *each.shape), each.dtype), shapes)
    turns = jax.lax.optimization_barrier(jnp.int32(1))  # XLA cannot see the number behind it

    def turn(at: tuple[Array, Carried, Any]) -> tuple[Array, Carried, Any]:
        place, carry, results = at
        carry, result = body(carry, jax.lax.dynamic_index_in_dim(rows, place, keepdims=False))
        put = partial(jax.lax.dynamic_update_index_in_dim, index=place, axis=0)
        return place + 1, carry, jax.tree.map(put, results, result)

    _, carry, results = jax.lax.while_loop(lambda at: at[0] < turns, turn, (jnp.int32(0), carry, results))
    return carry, results
