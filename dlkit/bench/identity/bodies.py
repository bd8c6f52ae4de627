"""The traced functions that an equation runs: bodies of loops and calls, branches."""

from collections.abc import Iterator
from typing import Any

__all__ = ["bodies"]


def bodies(equation: Any) -> Iterator[Any]:
    """Yields the jaxpr of each function that an equation's parameters hold, by itself or among others.

    Args:
        equation: of a jaxpr.

    Example:
        >>> import jax
        >>> traced = jax.make_jaxpr(lambda x: jax.lax.cond(x > 0, abs, abs, x))(1.0)
        >>> [len(list(bodies(equation))) for equation in traced.eqns if equation.primitive.name == "cond"]
        [2]
    """
    for parameter in equation.params.values():
        yield from _held(parameter)


def _held(value: Any) -> Iterator[Any]:
    body = getattr(value, "jaxpr", value)
    if hasattr(body, "eqns"):
        yield body
    elif isinstance(value, tuple | list):
        for part in value:
            yield from _held(part)
