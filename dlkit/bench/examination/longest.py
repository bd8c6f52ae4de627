"""How long a training step takes at most, from its trace: enough to see that a run of minutes is not one of an hour."""

import math
from typing import Any

import jax
import jax.numpy as jnp

from dlkit.bench.identity.bodies import bodies
from dlkit.bench.problems.base import Problem, example_batch
from dlkit.bench.problems.players import with_step

__all__ = ["longest_step", "operations"]

SLOWEST = 1e9  # operations a second: residual networks on digits come close to it, others reach 2 to 20 times as many
OVERHEAD = 1e-4  # seconds
GRADIENTS = 3  # a gradient costs about twice its loss, beside it


def longest_step(problem: Problem) -> float:
    """Returns seconds that a step of a problem hardly exceeds; infinite where its loops have no known end.

    Nothing is compiled and nothing computed: the problem's losses are traced once.
    """
    key = jax.eval_shape(lambda: jax.random.key(0))
    params, state = jax.eval_shape(problem.init, key)
    losses = [with_step(player.loss) for player in problem.players] or [with_step(problem.loss)]
    arguments = (params, state, example_batch(problem), key, jax.ShapeDtypeStruct((), jnp.int32))
    total = sum(operations(jax.make_jaxpr(loss)(*arguments).jaxpr) for loss in losses)
    return OVERHEAD + GRADIENTS * total / SLOWEST


def operations(jaxpr: Any) -> float:
    """Returns about how many numbers a traced function computes with; infinite where loops have no known end.

    Products and convolutions count each multiplication and addition, all else the numbers that come out.

    Args:
        jaxpr: of the function.

    Example:
        >>> operations(jax.make_jaxpr(lambda a, b: a @ b + 1)(jnp.ones((2, 3)), jnp.ones((3, 4))).jaxpr)
        56.0
    """
    return float(sum(map(_of_equation, jaxpr.eqns)))


def _of_equation(equation: Any) -> float:
    name: str = equation.primitive.name
    parameters: dict[str, Any] = equation.params
    if name == "while":
        return math.inf
    own = float(sum(math.prod(getattr(variable.aval, "shape", ())) for variable in equation.outvars))
    if name == "dot_general":
        summed = parameters["dimension_numbers"][0][0]
        return float(2 * own * math.prod(equation.invars[0].aval.shape[axis] for axis in summed))
    if name == "conv_general_dilated":
        kernel, numbers = equation.invars[1].aval.shape, parameters["dimension_numbers"]
        return float(2 * own * math.prod(kernel) / kernel[numbers.rhs_spec[0]])
    inner = map(operations, bodies(equation))
    return own + float(parameters.get("length", 1)) * max(inner, default=0.0)
