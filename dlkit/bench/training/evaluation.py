"""What is evaluated, and the evaluations of a problem, which all optimizers on it share."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from dlkit.bench.optimizers.base import Optimizer
from dlkit.bench.problems.base import Batch, Problem
from dlkit.bench.training import games
from dlkit.bench.training.step import Carry
from dlkit.typing import Array, Params, State

__all__ = ["MOST_SCORES", "apart", "at", "is_carried", "judged", "parameters_of", "split_of"]

MOST_SCORES = 100_000  # of a trial: of more examples every second is kept, or every third, ...


def is_carried(optimizer: Optimizer) -> bool:
    """Whether what is evaluated is what is trained."""
    return optimizer.eval_params is None


def parameters_of(problem: Problem, optimizer: Optimizer, carry: Carry, train: Batch) -> tuple[Params, State]:
    """Returns the parameters and the state to evaluate after the last step.

    Args:
        problem: what is trained.
        optimizer: says which parameters to evaluate.
        carry: of the last step.
        train: name -> [examples, ...]: batch statistics are re-estimated on it.
    """
    if optimizer.eval_params is None:
        return carry.params, carry.state
    if problem.players:
        params = games.evaluated(problem, optimizer, carry.opt_state, carry.params)
    else:
        params = optimizer.eval_params(carry.opt_state, carry.params)
    if problem.reestimate is None:
        return params, carry.state
    return params, problem.reestimate(params, carry.state, train)


def split_of(problem: Problem, *, is_judged: bool) -> str:
    """Returns the split that a trial's curve is on: validation selects, test judges.

    Where nothing is held out, validation is the same as test.
    """
    return "test" if is_judged and problem.dataset.holds_out else "validation"


def at(problem: Problem, params: Params, state: State, split: Batch) -> Mapping[str, Array]:
    """Returns the metrics of a point of a curve.

    Args:
        problem: what is evaluated.
        params: of the model.
        state: of the model.
        split: name -> [examples, ...].
    """
    return dict(problem.evaluate(params, state, split))


def apart(evaluated: Any) -> list[Any]:
    """Returns the models of a call one by one, so that one program evaluates each: no bit depends on their number.

    Args:
        evaluated: parameters and states, [evaluations, ...].
    """
    count = len(jax.tree.leaves(evaluated)[0])
    return [jax.tree.map(lambda leaf, place=place: leaf[place], evaluated) for place in range(count)]


def judged(
    problem: Problem, means: bool, params: Params, state: State, split: Batch
) -> tuple[Mapping[str, Array], Array | None]:
    """Returns metrics, and the judged metric's scores, where new examples can be told from them.

    On a log scale ratios are compared, which are no means of examples' differences. The training objective itself has
    no examples but its own.

    Args:
        problem: what is evaluated.
        means: whether its metrics are the means of its scores: these are computed once then.
        params: of the model.
        state: of the model.
        split: name -> [examples, ...].
    """
    is_used = problem.judged.scale == "linear" and problem.dataset.holds_out
    if problem.example_scores is None or not (means or is_used):
        return problem.evaluate(params, state, split), None
    every = problem.example_scores(params, state, split)
    metrics = {name: each.mean() for name, each in every.items()} if means else problem.evaluate(params, state, split)
    scores = every.get(problem.metric) if is_used else None
    return metrics, None if scores is None else scores[:: max(1, -(-len(scores) // MOST_SCORES))].astype(jnp.float32)
