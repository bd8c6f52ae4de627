"""What the rules of a custom function compute, traced from a call of it alone: when differentiated, and when mapped."""

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from dlkit.bench.identity.tracing import as_trained

__all__ = ["Untraceable", "derivative", "mapped", "shape_of"]

LANES = 2  # along which a rule is mapped
NOT_DIFFERENTIATED = ("num_consts", "num_callee_consts", "num_res")  # how many of the first inputs
MOST_SUBSETS = 3  # of so many inputs, every subset is mapped by itself
MOST_INPUTS = 8  # of so many, each is mapped alone and each left out


class Untraceable(Exception):
    """A rule stands for an axis that is not there."""


def derivative(equation: Any) -> Any:
    """Returns the program of a call and its derivative.

    Args:
        equation: of `jax.custom_jvp`, `jax.custom_vjp` or `linear_call`, or of an operation of several.

    Returns:
        A closed jaxpr; the name of what is raised where there is no derivative; None where nothing can have one.

    Raises:
        Untraceable: for a rule over an axis that is not there.
    """
    import jax
    import jax.numpy as jnp

    def is_smooth(variable: Any) -> bool:
        return bool(jnp.issubdtype(variable.aval.dtype, np.inexact))

    closed_over = equation.invars[: sum(equation.params.get(name, 0) for name in NOT_DIFFERENTIATED)]
    smooth = [variable for variable in _variables(equation) if is_smooth(variable) and variable not in closed_over]
    rest = [variable for variable in _variables(equation) if variable not in smooth]
    outputs = [variable for variable in equation.outvars if is_smooth(variable)]
    if not smooth or not outputs:
        return None
    alone = _program_of(equation, [*rest, *smooth], outputs)
    is_forward = equation.primitive.name == "custom_jvp_call"

    def derived(rest: Any, point: Any, direction: Any) -> Any:
        function = functools.partial(jax.core.eval_jaxpr, alone, (), *rest)
        if is_forward:
            return jax.jvp(function, point, direction)
        values, pull = jax.vjp(function, *point)
        return values, pull([*direction])

    groups = (rest, smooth, smooth if is_forward else outputs)
    return _traced(derived, *(tuple(map(shape_of, group)) for group in groups))


def mapped(equation: Any, fixed: Sequence[bool]) -> tuple[list[Any], bool]:
    """Returns the programs of a call that is mapped: over all of its inputs, and over some of them.

    A rule of `jax.custom_batching.custom_vmap` may look at which they are.

    Args:
        equation: the call.
        fixed: which of its inputs are constants, and never mapped.

    Returns:
        What `derivative` returns, for each way to map it; whether they show the rule: it does not raise where all
        inputs are mapped, and they are not too many to map some.

    Raises:
        Untraceable: as `derivative`.
    """
    import jax

    variables = _variables(equation)
    constant = {atom for atom, is_fixed in zip(equation.invars, fixed, strict=True) if is_fixed and atom in variables}
    free = [variable for variable in variables if variable not in constant]
    counts = [*range(len(free), 0, -1)]
    if len(free) > MOST_SUBSETS:
        counts = [len(free), len(free) - 1, 1] if len(free) <= MOST_INPUTS else [len(free)]
    function = functools.partial(jax.core.eval_jaxpr, _program_of(equation, variables, equation.outvars), ())
    programs = []
    for subset in (each for count in counts for each in itertools.combinations(free, count)):
        axes = tuple(0 if variable in subset else None for variable in variables)
        shapes = [shape_of(variable, *([LANES] if variable in subset else [])) for variable in variables]
        programs.append(_traced(jax.vmap(function, in_axes=axes), *shapes))
    return programs, len(free) <= MOST_INPUTS and not (programs and isinstance(programs[0], str))


def shape_of(variable: Any, *before: int) -> Any:
    """Returns the shape and type of a variable, with axes before its own."""
    import jax

    return jax.ShapeDtypeStruct((*before, *variable.aval.shape), variable.aval.dtype)


def _traced(function: Callable[..., Any], *shapes: Any) -> Any:
    import jax

    try:
        with as_trained():
            return jax.make_jaxpr(function)(*shapes)
    except NameError as error:  # a collective operation, outside of its axis
        raise Untraceable(str(error)) from error
    except Exception as error:
        return type(error).__name__


def _variables(equation: Any) -> list[Any]:
    return list(dict.fromkeys(atom for atom in equation.invars if not hasattr(atom, "val")))


@functools.cache
def _empty() -> Any:
    import jax

    return jax.make_jaxpr(lambda: ())().jaxpr


def _program_of(equation: Any, inputs: Sequence[Any], outputs: Sequence[Any]) -> Any:
    """A jaxpr of one equation."""
    return _empty().replace(invars=[*inputs], outvars=[*outputs], eqns=[equation], effects=equation.effects)
