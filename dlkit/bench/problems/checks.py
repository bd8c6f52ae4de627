"""Checks that a problem's functions fit together, by tracing them without computing."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dlkit.bench.errors import UserError
from dlkit.bench.identity.places import at, place_of, place_of_error
from dlkit.bench.plan.metric import TRAINING_LOSS
from dlkit.bench.problems.base import Problem, are_means, example_batch
from dlkit.bench.problems.players import with_step

__all__ = ["check_problem"]

FEW = 8  # examples on which a metric is compared with the mean of its scores
AGREE = 1e-3  # relative, of sums in single precision


def check_problem(problem: Problem) -> None:
    """Traces a problem's functions without computing, and says what is wrong with them.

    Where `evaluate` was written beside `example_scores`, the two are computed on a few examples.

    Args:
        problem: the problem.

    Raises:
        UserError: if a function raises, a loss is not one number, a metric is missing or not one number, parameters
            are not those of the players, or a metric is not the mean of its scores.
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
    if problem.example_scores is not None:
        _check_example_scores(where, problem, params, state)
    if problem.reestimate is not None:
        _trace(f"{where}: reestimate", problem.reestimate, params, state, dict(problem.dataset.train))
    if problem.samples is not None:
        shape = _trace(f"{where}: samples", problem.samples, params, state).shape
        if len(shape) != 3 and shape[1:] != (2,):
            raise UserError(
                f"{where}: samples must be points [samples, 2] or images [samples, height, width], not {shape}"
            )
    for taken in (TRAINING_LOSS, *(f"{TRAINING_LOSS}_{name}" for name in names)):
        if taken in metrics:
            raise UserError(f"{where}: '{taken}' is recorded for every problem; give the metric another name")


def _check_example_scores(where: str, problem: Problem, params: Any, state: Any) -> None:
    """Refuses scores that are not one number an example, or whose mean is another number than `evaluate` returns."""
    validation = dict(problem.dataset.validation)
    rows = len(next(iter(validation.values()), ()))
    if not rows:
        raise UserError(f"{where}: has no examples, so example_scores must be None")
    scores = _trace(f"{where}: example_scores", problem.example_scores, params, state, validation)
    if not isinstance(scores, Mapping) or not scores:
        raise UserError(f"{where}: example_scores must return {{metric: [examples]}}, got {type(scores).__name__}")
    for name, values in scores.items():
        if name not in problem.metrics:
            raise UserError(
                f"{where}: example_scores has '{name}', which is no metric of it: {sorted(problem.metrics)}"
            )
        if getattr(values, "shape", None) != (rows,):
            raise UserError(
                f"{where}: example_scores must give '{name}' one number for each of the {rows} examples, got shape "
                f"{getattr(values, 'shape', values)}"
            )
    if are_means(problem):
        return
    few = {name: array[:FEW] for name, array in validation.items()}

    def compute(few: Any) -> Any:
        start = problem.init(jax.random.key(0))
        means = {name: each.mean() for name, each in problem.example_scores(*start, few).items()}  # type: ignore[misc]
        return means, problem.evaluate(*start, few)

    means, metrics = jax.device_get(jax.jit(compute)(few))
    for name, mean in means.items():
        if not np.isclose(mean, metrics[name], rtol=AGREE, atol=AGREE * 1e-3):
            raise UserError(
                f"{where}: metric '{name}' of {FEW} examples is {metrics[name]:.6g}, but its example_scores have "
                f"the mean {mean:.6g}; leave out evaluate, or leave '{name}' out of example_scores if it is no mean"
            )


def _trace(what: str, function: Any, *arguments: Any, expects: str = "") -> Any:
    try:
        result = jax.eval_shape(function, *arguments)
    except UserError:
        raise  # it says what to do
    except Exception as error:
        place = at(place_of_error(error) or place_of(function))
        raise UserError(f"{what} raised {type(error).__name__}: {error}{place}") from error
    if expects and not (isinstance(result, tuple) and len(result) == 2):
        raise UserError(f"{what} must return {expects}, got {type(result).__name__}")
    return result
