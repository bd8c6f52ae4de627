"""How much memory one trial takes on the device, which decides how many run side by side."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from dlkit.bench.problems.base import Problem
from dlkit.bench.training.lanes import held_bytes, traced_bytes
from dlkit.bench.training.program import Program
from dlkit.bench.training.trajectory import call_points

__all__ = ["lane_bytes"]


def lane_bytes(program: Program) -> int:
    """Returns about how much memory one trial of a program for one trial at a time takes on the device."""
    shared, recipe = program.shared, program.recipe
    start = shared.start.eval_shape(jax.ShapeDtypeStruct((3,), jnp.uint32))
    values = dict.fromkeys(recipe.traced, jax.ShapeDtypeStruct((), jnp.float32))
    carry = program.begin.eval_shape(start, values)
    points = call_points(recipe.evaluations, held_bytes((carry.params, carry.state)))
    each = (points, recipe.segment_steps, shared.problem.rows_per_step)
    indices = jax.ShapeDtypeStruct(each, jnp.int32)
    arguments = (carry, indices, values, start, _abstract_train(shared.problem))
    evaluated = (carry.params, carry.state, shared.arrays(0)["validation"])
    most = max(
        traced_bytes(program.segment.trace(*arguments).jaxpr), traced_bytes(shared.metrics.trace(*evaluated).jaxpr)
    )
    return held_bytes((carry, indices)) + most


def _abstract_train(problem: Problem) -> Mapping[str, jax.ShapeDtypeStruct]:
    train = problem.dataset.train.items()
    return {name: jax.ShapeDtypeStruct(a.shape, jax.dtypes.canonicalize_dtype(a.dtype)) for name, a in train}
