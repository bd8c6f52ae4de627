"""An evaluation within a segment: which parameters, on which examples."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dlkit.bench.optimizers.base import Optimizer
from dlkit.bench.problems.base import Batch, Problem
from dlkit.bench.training import games
from dlkit.bench.training.step import Carry
from dlkit.typing import Array, Params, State

__all__ = ["HeldOut", "curve_metrics", "held_out_of", "parameters_of", "point_of"]


class HeldOut(NamedTuple):
    """The examples that no step sees: validation selects, test judges.

    Attributes:
        splits: name -> [examples, ...], of the split that the curve is on; or of validation and of test.
        is_judged: bool []: of two splits, whether the curve is on test. If not, nothing is computed on test.
    """

    splits: tuple[Batch, ...]
    is_judged: Array | np.bool_


def held_out_of(arrays: Mapping[str, Batch], *, is_judged: bool, is_watched: bool) -> HeldOut:
    """Returns what a trial's evaluations are on.

    Every split makes another copy of the network in the segment, and that takes an eighth to a quarter of what the
    segment takes to compile. So there are two only where early stopping looks at validation beside the curve, and where
    they differ in shape: one program would not do for both then.

    Args:
        arrays: split -> name -> [examples, ...].
        is_judged: whether its curve is on test.
        is_watched: whether early stopping looks at validation.
    """
    validation, test = arrays["validation"], arrays["test"]
    if is_watched or _shapes(validation) != _shapes(test):
        return HeldOut((validation, test), np.bool_(is_judged))
    return HeldOut((test if is_judged else validation,), np.bool_(is_judged))


def _shapes(split: Batch) -> dict[str, tuple[Any, ...]]:
    return {name: (array.shape, array.dtype) for name, array in split.items()}


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


def curve_metrics(
    problem: Problem,
    params: Params,
    state: State,
    held_out: HeldOut,
    on_validation: Mapping[str, Array] | None = None,
) -> Mapping[str, Array]:
    """Returns the metrics of a point of the curve: on test of a trial that is judged, else on validation.

    Where nothing is held out, validation is the same as test.

    Args:
        problem: what is trained.
        params: what is evaluated.
        state: of these parameters.
        held_out: the examples.
        on_validation: the metrics on validation if they are known.
    """

    def validate() -> Mapping[str, Array]:
        return problem.evaluate(params, state, held_out.splits[0]) if on_validation is None else on_validation

    def test() -> Mapping[str, Array]:
        return problem.evaluate(params, state, held_out.splits[1])

    if not problem.dataset.holds_out or len(held_out.splits) == 1:
        return validate()
    metrics: Mapping[str, Array] = jax.lax.cond(held_out.is_judged, test, validate)
    return metrics


def point_of(metrics: Mapping[str, Array], *losses: Array) -> Array:
    """Returns a point of the curve as one array: metrics by sorted name, then losses."""
    return jnp.stack([jnp.asarray(value, jnp.float32) for value in (*(metrics[k] for k in sorted(metrics)), *losses)])
