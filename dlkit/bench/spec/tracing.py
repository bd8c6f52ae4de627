"""What one's own functions compute: what is compiled, traced without computing, and hashed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from dlkit.bench.identity.hashing import digest
from dlkit.bench.identity.programs import ProgramHash, hash_program
from dlkit.bench.optimizers.base import Optimizer
from dlkit.bench.problems.base import Batch, Problem
from dlkit.bench.training import segment
from dlkit.bench.training.evaluation import parameters_of
from dlkit.bench.training.recipe import Recipe
from dlkit.bench.training.segment import Setup
from dlkit.typing import Array, Key

__all__ = ["method_program", "probes_program", "problem_program", "require_looking"]

# What every optimizer sees of a problem is its gradients; this one hands them on as they are.
GRADIENT_ALONE = Optimizer("gradient alone", optax.identity, {})


class _Inputs(NamedTuple):
    """What a step is given, as shapes.

    Attributes:
        key: of the trial.
        values: a number for each of `Recipe.traced`.
        train: name -> [examples, ...].
        rows: int32 [rows] into `train`.
    """

    key: Key
    values: Mapping[str, Array]
    train: Batch
    rows: Array


def problem_program(
    problem: Problem, choices: Sequence[str] = (), variant: Callable[..., Problem] | None = None
) -> ProgramHash:
    """Returns the hash of what a problem computes, with its data: before training, in a step, and when it is evaluated.

    It also stands for what registered methods and probes compute of the problem. They differentiate the loss twice at
    most: the step shows its gradient, and the rules of that count.

    Args:
        problem: what is trained.
        choices: names of those that are traced.
        variant: as of `Setup`.
    """
    recipe = Recipe(optimizer=GRADIENT_ALONE, steps=1, evaluations=1, choices=choices)
    data = problem.dataset
    splits = [_shapes(split) for split in (data.validation, data.test, data.train)]
    began = hash_program(partial(_began, problem), _shape((3,), jnp.uint32), *splits)
    stepped = hash_program(
        partial(_stepped, Setup(problem, recipe, variant=variant)), _inputs(problem, recipe), rules=1
    )
    return ProgramHash(
        digest([data.digest, began.digest, stepped.digest]),
        tuple(sorted({*began.hidden, *stepped.hidden})),
        (*began.unhashable, *stepped.unhashable),
    )


def method_program(problem: Problem, recipe: Recipe, variant: Callable[..., Problem] | None = None) -> ProgramHash:
    """Returns the hash of what a recipe's optimizer and schedule compute in a step on a problem.

    What the optimizer differentiates itself, it shows: no rules count beside.

    Args:
        problem: what is trained.
        recipe: what trains it; its probes and its early stopping do not count.
        variant: as of `Setup`.
    """
    alone = replace(recipe, probes=(), stopping=None)
    return hash_program(partial(_stepped, Setup(problem, alone, variant=variant)), _inputs(problem, alone))


def probes_program(problem: Problem, recipe: Recipe, variant: Callable[..., Problem] | None = None) -> ProgramHash:
    """Returns the hash of what a recipe's probes compute on a problem, before a step and after; as `method_program`.

    Args:
        problem: what is trained.
        recipe: with its probes.
        variant: as of `Setup`.
    """
    return hash_program(partial(_looked, Setup(problem, recipe, variant=variant)), _inputs(problem, recipe))


def require_looking(problem: Problem, recipe: Recipe) -> None:
    """Traces a recipe's probes on a problem, without computing.

    Raises:
        UserError: for a probe that raises, or does not return what it says.
    """
    jax.eval_shape(partial(_looked, Setup(problem, recipe)), _inputs(problem, recipe))


def _began(problem: Problem, words: Array, validation: Batch, test: Batch, train: Batch) -> Any:
    """What is computed of a problem outside of steps."""
    start = segment.start(problem, words)
    params, state = start.params, start.state
    more = {
        "metrics": [problem.evaluate(params, state, split) for split in (validation, test)],
        "state": problem.reestimate and problem.reestimate(params, state, train),
        "scores": problem.example_scores and problem.example_scores(params, state, test),
        "samples": problem.samples and problem.samples(params, state),
    }
    return params, state, more


def _stepped(setup: Setup, inputs: _Inputs) -> Any:
    """What a step computes, from initial parameters and the optimizer's first state on."""
    key, values, train, rows = inputs
    start = _start(setup.problem, key)
    carry = segment.begin(setup, start, values)
    carry, losses = segment.advance(setup, carry, rows[None], values, start, train)
    evaluated = parameters_of(setup.problem, setup.recipe.optimizer, carry, train)
    # a state's fields may be called anything
    return carry.params, carry.state, jax.tree.leaves(carry.opt_state), losses, carry.evaluations, evaluated


def _looked(setup: Setup, inputs: _Inputs) -> tuple[Array, Array]:
    """What probes measure before a step, and after."""
    key, values, train, rows = inputs
    start = _start(setup.problem, key)
    carry = segment.begin(setup, start, values)
    before, after = (
        segment.look(setup, carry, rows, values, start, train, has_moved=has_moved) for has_moved in (False, True)
    )
    return before, after


def _start(problem: Problem, key: Key) -> segment.Start:
    """Where a trial begins."""
    key_data = jax.random.key_data(key)
    params, state = jax.tree.map(jnp.asarray, problem.init(key))
    return segment.Start(params, state, key_data, key_data)


def _inputs(problem: Problem, recipe: Recipe) -> _Inputs:
    values = dict.fromkeys(recipe.traced, _shape((), jnp.float32))
    key = jax.eval_shape(lambda: jax.random.key(0))
    return _Inputs(key, values, _shapes(problem.dataset.train), _shape((problem.rows_per_step,), jnp.int32))


def _shapes(arrays: Mapping[str, Any]) -> Any:
    return {name: _shape(array.shape, jax.dtypes.canonicalize_dtype(array.dtype)) for name, array in arrays.items()}


def _shape(shape: tuple[int, ...], dtype: Any) -> Any:
    return jax.ShapeDtypeStruct(shape, dtype)
