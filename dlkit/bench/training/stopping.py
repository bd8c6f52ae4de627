"""Early stopping of trials: the primitive's state machine, on what every evaluation reached."""

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp

from dlkit.bench.problems.base import Problem
from dlkit.bench.training.recipe import Recipe
from dlkit.early_stopping import EarlyStoppingFunctions, EarlyStoppingState, early_stopping
from dlkit.typing import Array, Params, State

__all__ = ["begin_stopping", "follow", "functions_of", "watched"]


def watched(problem: Problem, recipe: Recipe) -> str:
    """Returns the metric that early stopping looks at."""
    return (recipe.stopping.metric if recipe.stopping else "") or problem.metric


def functions_of(problem: Problem, recipe: Recipe) -> EarlyStoppingFunctions | None:
    """Returns the functions of a recipe's early stopping; None without."""
    policy = recipe.stopping
    if policy is None:
        return None
    higher = problem.metrics[watched(problem, recipe)].higher_is_better
    return early_stopping(patience=policy.patience, min_delta=policy.min_delta, higher_is_better=higher)


def begin_stopping(functions: EarlyStoppingFunctions, params: Params, state: State) -> EarlyStoppingState:
    """Returns what is remembered before the first evaluation: where the trial begins is the best."""
    return functions.init((params, state))


def follow(
    functions: EarlyStoppingFunctions, seen: EarlyStoppingState, metric: Sequence[Array], params: Params, state: State
) -> tuple[EarlyStoppingState, Array]:
    """Looks at the evaluations of a call.

    Args:
        functions: of early stopping.
        seen: what the evaluations before say.
        metric: of each evaluation on validation, [].
        params: that were evaluated, [evaluations, ...].
        state: of these parameters, [evaluations, ...].

    Returns:
        What all of them say; and whether the trial had ended before each of them, [evaluations].
    """
    followed: tuple[EarlyStoppingState, Array] = jax.lax.scan(
        partial(_next, functions), seen, (jnp.stack(metric), (params, state))
    )
    return followed


def _next(
    functions: EarlyStoppingFunctions, seen: EarlyStoppingState, point: tuple[Array, tuple[Params, State]]
) -> tuple[EarlyStoppingState, Array]:
    metric, reached = point
    return functions.update(seen, metric, reached), seen.stopped
