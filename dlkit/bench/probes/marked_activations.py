"""Finds the activations that a function marks, by tracing it."""

from collections.abc import Callable
from typing import Any

import jax
from jax.extend import core

from dlkit.layers.activation import MARK
from dlkit.typing import Array

__all__ = ["count_marks", "marked_activations"]

# Calls whose body is run once, in place: primitive -> the parameter that holds the body. A body that runs several
# times, or perhaps not at all (scan, while, cond), has no one output that could be returned.
BODIES = {
    "jit": "jaxpr",
    "pjit": "jaxpr",
    "closed_call": "call_jaxpr",
    "core_call": "call_jaxpr",
    "checkpoint": "jaxpr",
    "remat2": "jaxpr",
    "custom_jvp_call": "call_jaxpr",
    "custom_vjp_call": "call_jaxpr",
}


def marked_activations(function: Callable[..., Any], *arguments: Any) -> list[Array]:
    """Evaluates a function and returns what it marks as activations, in the order of computation.

    Marked is what `dlkit.layers.activation` and `prelu` return, and whatever else goes through
    ``jax.ad_checkpoint.checkpoint_name(x, "activation")``. Marks inside of jit, remat, custom_jvp and custom_vjp are
    found; those inside of the bodies of scan, while and cond (recurrent cells, layers stacked by scan) are not.

    Args:
        function: pure; works on arrays.
        *arguments: pytrees of arrays.

    Returns:
        One array for every mark; empty if there is none.

    Example:
        >>> import jax.numpy as jnp
        >>> from dlkit import layers
        >>> chain = layers.serial(jnp.negative, layers.activation("relu"), jnp.sum)
        >>> marked_activations(lambda x: chain.apply({}, {}, x)[0], jnp.array([-1.0, 2.0]))
        [Array([1., 0.], dtype=float32)]
    """
    closed = jax.make_jaxpr(function)(*arguments)
    found: list[Array] = []
    if count_marks(closed):
        _evaluate(closed.jaxpr, closed.consts, jax.tree.leaves(arguments), found)
    return found


def count_marks(jaxpr: core.ClosedJaxpr) -> int:
    """Returns how many activations `marked_activations` finds in a traced function, without computing.

    Args:
        jaxpr: what `jax.make_jaxpr` returns.

    Example:
        >>> count_marks(jax.make_jaxpr(jax.nn.relu)(1.0))
        0
    """
    count = 0
    for equation in jaxpr.eqns:
        body = _body(equation)
        count += int(_marks(equation)) if body is None else count_marks(body)
    return count


def _marks(equation: core.JaxprEqn) -> bool:
    return equation.primitive.name == "name" and equation.params["name"] == MARK


def _body(equation: core.JaxprEqn) -> core.ClosedJaxpr | None:
    """What a call runs, once and in place; None for any other equation."""
    name = equation.primitive.name
    if name not in BODIES:
        return None
    body = equation.params[BODIES[name]]
    return body if isinstance(body, core.ClosedJaxpr) else core.ClosedJaxpr(body, ())


def _evaluate(jaxpr: core.Jaxpr, consts: list[Any], arguments: list[Any], found: list[Array]) -> list[Any]:
    """Evaluates equation by equation, appends to `found`, and returns the outputs."""
    values = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*consts, *arguments], strict=True))

    def read(atom: Any) -> Any:
        return atom.val if isinstance(atom, core.Literal) else values[atom]

    for equation in jaxpr.eqns:
        inputs = [read(atom) for atom in equation.invars]
        body = _body(equation)
        if body is not None:
            outputs = _evaluate(body.jaxpr, body.consts, inputs, found)
        else:
            primitive = equation.primitive
            result = primitive.bind(*inputs, **primitive.get_bind_params(equation.params))
            outputs = result if primitive.multiple_results else [result]
        if _marks(equation):
            found.extend(outputs)
        values.update(zip(equation.outvars, outputs, strict=True))
    return [read(atom) for atom in jaxpr.outvars]
