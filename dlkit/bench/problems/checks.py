"""Checks that a problem's functions fit together, by tracing them without computing."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dlkit.bench.errors import UserError, nearest
from dlkit.bench.identity.own_errors import raised, with_own_frames
from dlkit.bench.plan.metric import TRAINING_LOSS
from dlkit.bench.problems.base import Problem, are_means, example_batch
from dlkit.bench.problems.players import with_step
from dlkit.hints import closest

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
    whole = [
        f"{jax.tree_util.keystr(path) or 'params'} is {leaf.dtype}"
        for path, leaf in jax.tree_util.tree_leaves_with_path(params)
        if not jnp.issubdtype(leaf.dtype, jnp.inexact)
    ]
    if whole:
        raise UserError(f"{where}: init must return parameters of floating point, but {whole[0]}; give it a dtype")
    batch = example_batch(problem)
    names = [player.name for player in problem.players]
    if names and (not isinstance(params, dict) or set(params) != set(names)):
        raise UserError(f"{where}: init must return the parameters as a dictionary of the players {names}")
    losses = {f"loss of player '{each.name}'": each.loss for each in problem.players} or {"loss": problem.loss}
    for what, function in losses.items():
        arguments = (params, state, batch, key, jax.ShapeDtypeStruct((), jnp.int32))
        if not callable(function):
            raise UserError(f"{where}: {what} must be a function of (params, state, batch, key), got {function!r}")
        loss, new_state = _trace(
            f"{where}: {what}", with_step(function), *arguments, own=function, expects="(scalar, state)"
        )
        if getattr(loss, "shape", None) != ():
            raise UserError(
                f"{where}: {what} must return one number, got shape {getattr(loss, 'shape', loss)}; take the mean"
            )
        if not jnp.issubdtype(loss.dtype, jnp.floating):
            raise UserError(
                f"{where}: {what} must return a floating-point number, got {loss.dtype}, which has no gradient"
            )
        if jax.tree.map(jnp.shape, new_state) != jax.tree.map(jnp.shape, state):
            raise UserError(
                f"{where}: {what} must return a state shaped like init's; pass `state` through if it has none"
            )
    validation = dict(problem.dataset.validation)
    metrics = _trace(f"{where}: evaluate", problem.evaluate, params, state, validation)
    if not isinstance(metrics, Mapping):
        raise UserError(f"{where}: evaluate must return {{metric: number}}, got {_kind_of(metrics)}")
    for name in problem.metrics:
        if name not in metrics:
            meant = f"; did you mean '{closest(name, metrics)}'?" if closest(name, metrics) else ""
            raise UserError(f"{where}: no metric '{name}' in what evaluate returns, which is {sorted(metrics)}{meant}")
    for name, value in metrics.items():
        if getattr(value, "shape", None) != ():
            shape = getattr(value, "shape", value)
            raise UserError(f"{where}: metric '{name}' must be one number, got shape {shape}; take the mean")
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


def _kind_of(result: Any) -> str:
    """What a traced function returned, in words."""
    if isinstance(result, jax.ShapeDtypeStruct):
        return "one number" if result.shape == () else f"one array of shape {result.shape}"
    return f"a {type(result).__name__}" + (f" of {len(result)}" if isinstance(result, tuple | list) else "")


def _wrong_key(error: Exception, arguments: Sequence[Any]) -> str:
    """What there is, where a function asks a batch for an array that it does not have."""
    name = error.args[0] if isinstance(error, KeyError) and error.args else None
    batches = [each for each in arguments if (isinstance(each, dict) and "inputs" in each) or _is_batch(each)]
    if not isinstance(name, str) or not batches or name in batches[-1]:
        return ""
    return f"; the batch has no '{name}': {nearest(name, batches[-1])}"


def _is_batch(given: Any) -> bool:
    leaves = given.values() if isinstance(given, dict) else ()
    return bool(leaves) and all(isinstance(each, jax.ShapeDtypeStruct | np.ndarray) for each in leaves)


def _wrong_signature(function: Any, arguments: Sequence[Any]) -> str:
    """How many arguments a function is called with, where it takes another number."""
    try:
        signature = inspect.signature(function)
        signature.bind(*arguments)
    except TypeError:
        names = {1: "(key)", 2: "(params, state)", 3: "(params, state, batch)", 4: "(params, state, batch, key)"}
        return f"; it is called with {names.get(len(arguments), f'{len(arguments)} arguments')}"
    except ValueError:  # built in: it does not tell
        return ""
    return ""


def _trace(what: str, function: Any, *arguments: Any, own: Any = None, expects: str = "") -> Any:
    try:
        result = jax.eval_shape(function, *arguments)
    except UserError:
        raise  # it says what to do
    except Exception as error:
        given = arguments if own is None else arguments[:-1]  # how many steps are done is given to who asks for it
        hint = _wrong_key(error, arguments) or _wrong_signature(own or function, given)
        raise UserError(f"{what} raised {raised(error, own or function)}{hint}") from with_own_frames(error)
    if expects and not (isinstance(result, tuple) and len(result) == 2):
        hint = "; where there is no state, that is None" if expects == "(params, state)" else "; return loss, state"
        raise UserError(f"{what} must return {expects}, got {_kind_of(result)}{hint}")
    return result
