"""Checks that a problem's functions fit together, by tracing them without computing."""

from typing import Any

import jax
import jax.numpy as jnp

from dlkit.bench.errors import UserError
from dlkit.bench.plan.metric import TRAINING_LOSS
from dlkit.bench.problems.base import Problem, example_batch
from dlkit.bench.problems.players import with_step

__all__ = ["check_problem"]


def check_problem(problem: Problem) -> None:
    """Traces a problem's functions without computing, and says what is wrong with them.

    Args:
        problem: the problem.

    Raises:
        UserError: if a function raises, a loss is not one number, a metric is missing or not one number, or parameters
            are not those of the players.
    """
    where = f"problem '{problem.name}'"
    key = jax.eval_shape(lambda: jax.random.key(0))
    params, state = _trace(f"{where}: init", problem.init, key, expects="(params, state)")
    batch = example_batch(problem)
    names = [player.name for player in problem.players]
    if names and (not isinstance(params, dict) or set(params) != set(names)):
        raise UserError(f"{where}: init must return the parameters as a dictionary of the players {names}")
    losses = {f"loss of player '{each.name}'": each.loss for each in problem.players} or {"loss": problem.loss}
    for what, function in losses.items():
        arguments = (params, state, batch, key, jax.ShapeDtypeStruct((), jnp.int32))
        loss, new_state = _trace(f"{where}: {what}", with_step(function), *arguments, expects="(scalar, state)")
        if getattr(loss, "shape", None) != ():
            raise UserError(
                f"{where}: {what} must return one number, got shape {getattr(loss, 'shape', loss)}; take the mean"
            )
        if jax.tree.map(jnp.shape, new_state) != jax.tree.map(jnp.shape, state):
            raise UserError(
                f"{where}: {what} must return a state shaped like init's; pass `state` through if it has none"
            )
    validation = dict(problem.dataset.validation)
    metrics = _trace(f"{where}: evaluate", problem.evaluate, params, state, validation)
    for name in problem.metrics:
        if name not in metrics:
            raise UserError(f"{where}: no metric '{name}' in what evaluate returns, which is {sorted(metrics)}")
    for name, value in metrics.items():
        if getattr(value, "shape", None) != ():
            raise UserError(f"{where}: metric '{name}' must be one number, got shape {getattr(value, 'shape', value)}")
    if problem.samples is not None:
        shape = _trace(f"{where}: samples", problem.samples, params, state).shape
        if len(shape) != 3 and shape[1:] != (2,):
            raise UserError(
                f"{where}: samples must be points [samples, 2] or images [samples, height, width], not {shape}"
            )
    for taken in (TRAINING_LOSS, *(f"{TRAINING_LOSS}_{name}" for name in names)):
        if taken in metrics:
            raise UserError(f"{where}: '{taken}' is recorded for every problem; give the metric another name")


def _trace(what: str, function: Any, *arguments: Any, expects: str = "") -> Any:
    try:
        result = jax.eval_shape(function, *arguments)
    except Exception as error:
        raise UserError(f"{what} raised {type(error).__name__}: {error}") from error
    if expects and not (isinstance(result, tuple) and len(result) == 2):
        raise UserError(f"{what} must return {expects}, got {type(result).__name__}")
    return result
