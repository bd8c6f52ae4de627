"""The functions that are compiled for an optimizer on a problem: begin a trial, train it for some steps, finish it.

`program` binds their first argument, which is the same for a whole compile group, and compiles them. The other
arguments differ from trial to trial. No evaluation is in them: that is the same for all optimizers, so that it is
compiled once for all of them; nor what losses and metrics say about the trial, which the host finds out.
"""

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from dlkit.bench.plan.trials import Evaluations
from dlkit.bench.problems.base import Batch, Problem
from dlkit.bench.training import transformation
from dlkit.bench.training.evaluation import is_carried, parameters_of
from dlkit.bench.training.lanes import ALONE, Lanes, split_examples
from dlkit.bench.training.loop import scan
from dlkit.bench.training.probing import Sight, probed
from dlkit.bench.training.recipe import Recipe
from dlkit.bench.training.step import Carry, play_round, take_step
from dlkit.typing import Array, Params, State

__all__ = [
    "Reached",
    "Setup",
    "Start",
    "advance",
    "begin",
    "finish",
    "look",
    "segment",
    "start",
]


@dataclass(frozen=True, eq=False)
class Setup:
    """What is the same for every trial of a compile group.

    Attributes:
        problem: what is trained.
        recipe: what trains it.
        variant: ``variant(**choices) -> Problem``: the problem with the traced values of `Recipe.choices`; None where
            no choice is traced. Its metrics are those of `problem`.
        lanes: how trials lie on devices.
    """

    problem: Problem
    recipe: Recipe
    variant: Callable[..., Problem] | None = None
    lanes: Lanes = ALONE

    @cached_property
    def roles(self) -> Any | None:
        """The roles of the problem's parameters, for an optimizer that asks for them."""
        return transformation.needed_roles(self.problem, self.recipe.optimizer)

    def problem_with(self, hyperparameters: Mapping[str, Array]) -> Problem:
        """Returns the problem with its traced choices, whose values are among the hyperparameters."""
        if self.variant is None:
            return self.problem
        return self.variant(**{name: hyperparameters[name] for name in self.recipe.choices})


class Start(NamedTuple):
    """Where a trial begins: the same bits for every contender with the same seed.

    Attributes:
        params: the initial parameters.
        state: the initial state.
        key_data: of the key that the steps' keys are made from, as plain uint32.
        optimizer_key_data: of the key for what an optimizer draws itself.
    """

    params: Params
    state: State
    key_data: Array
    optimizer_key_data: Array


class Reached(NamedTuple):
    """What a segment returns for each of its evaluations.

    Attributes:
        losses: [evaluations, steps] of the steps since the evaluation before; of games [evaluations, steps, players].
        evaluations: [evaluations, 3] `Carry.evaluations`.
        evaluated: the parameters and the state to evaluate, [evaluations, ...]; None where there is one evaluation
            and they are those of the carry.
        looked: [evaluations, curves] what the probes measure; None without probes.
    """

    losses: Array
    evaluations: Array
    evaluated: tuple[Params, State] | None
    looked: Array | None


def start(problem: Problem, words: Array) -> Start:
    """Draws the initial parameters and the keys of a trial.

    Args:
        problem: what is trained.
        words: [3] uint32: the hash of the problem's name, the stage, the seed.

    Returns:
        Where the trial begins.
    """
    key = jax.random.key(0)
    for word in words:  # folded in by meaning, not by position in a split
        key = jax.random.fold_in(key, word)
    key_init, key_steps, key_optimizer = (
        jax.random.fold_in(key, zlib.crc32(purpose)) for purpose in (b"init", b"steps", b"optimizer")
    )
    params, state = jax.tree.map(jnp.asarray, problem.init(key_init))
    steps_data, optimizer_data = (jax.random.key_data(key) for key in (key_steps, key_optimizer))
    return Start(_strong(params), _strong(state), steps_data, optimizer_data)


def begin(setup: Setup, start: Start, hyperparameters: Mapping[str, Array]) -> Carry:
    """Returns the carry that the first step gets.

    Args:
        setup: what holds for the compile group.
        start: where the trial begins.
        hyperparameters: a number for each of `Recipe.traced`.
    """
    opt_state = transformation.first_state(
        setup.problem, setup.recipe, hyperparameters, start.params, start.optimizer_key_data, setup.roles
    )
    return Carry(
        start.params,
        start.state,
        _strong(opt_state),
        step=jnp.int32(0),
        evaluations=jnp.zeros(3, jnp.int32),
        previous=start.params if setup.recipe.probes else None,
    )


def segment(
    setup: Setup, carry: Carry, indices: Array, hyperparameters: Mapping[str, Array], start: Start, train: Batch
) -> tuple[Carry, Reached]:
    """Trains a trial for some intervals: steps, and at the end of each what is to be evaluated.

    Args:
        setup: what holds for the compile group.
        carry: of the step before.
        indices: int32 [evaluations, steps, rows] into `train`: the examples of each step.
        hyperparameters: a number for each of `Recipe.traced`.
        start: where the trial began.
        train: name -> [examples, ...].

    Returns:
        The last carry; and what every evaluation is about, [evaluations, ...].
    """
    recipe = setup.recipe
    is_given = len(indices) == 1 and recipe.stopping is None and is_carried(recipe.optimizer)

    def interval(carry: Carry, indices: Array) -> tuple[Carry, Reached]:
        carry, losses = advance(setup, carry, indices, hyperparameters, start, train)
        evaluated = None if is_given else finish(setup, carry, train)
        looked = None
        if recipe.probes:
            looked = probed(_sight(setup, hyperparameters, start, train), carry, indices[-1], has_moved=True)
        return carry, Reached(losses, carry.evaluations, evaluated, looked)

    ended: tuple[Carry, Reached] = scan(interval, carry, indices)
    return ended


def advance(
    setup: Setup, carry: Carry, indices: Array, hyperparameters: Mapping[str, Array], start: Start, train: Batch
) -> tuple[Carry, Array]:
    """Trains a trial for some steps, without an evaluation.

    Args:
        setup: what holds for the compile group.
        carry: of the step before.
        indices: int32 [steps, rows] into `train`.
        hyperparameters: a number for each of `Recipe.traced`.
        start: where the trial began.
        train: name -> [examples, ...].

    Returns:
        The last carry; and the losses, [steps], of games [steps, players].
    """
    problem, recipe = setup.problem_with(hyperparameters), setup.recipe
    key = jax.random.wrap_key_data(start.key_data)

    def transformation_at(step: Array) -> Any:
        own_key = start.optimizer_key_data
        return transformation.transformations(setup.problem, recipe, hyperparameters, step, own_key, setup.roles)

    fixed = None if recipe.schedule.varies else transformation_at(jnp.int32(0))

    def step(carry: Carry, index: Array) -> tuple[Carry, Array]:
        # The state of a transformation does not depend on the rate it was built with: each step can have its own.
        built = fixed or transformation_at(carry.step)
        key_step = jax.random.fold_in(key, carry.step)
        if problem.players:
            return play_round(problem, recipe, built, carry, index, partial(_batch_of, setup, train), key_step)
        return take_step(problem, recipe, built, carry, _batch_of(setup, train, index), key_step)

    carry, losses = scan(step, carry, indices)
    cost = recipe.optimizer.evaluations
    if isinstance(cost, Evaluations) and not problem.players:  # the same at each step: counted here, not inside
        carry = carry._replace(evaluations=carry.evaluations + len(indices) * jnp.array(cost, jnp.int32))
    return carry, losses


def look(
    setup: Setup,
    carry: Carry,
    indices: Array,
    hyperparameters: Mapping[str, Array],
    start: Start,
    train: Batch,
    *,
    has_moved: bool = False,
) -> Array:
    """Returns what the recipe's probes measure before the first step: [curves].

    Args:
        setup: what holds for the compile group.
        carry: of no step.
        indices: int32 [..., rows] into `train`, of which the first row is that of the first step.
        hyperparameters: a number for each of `Recipe.traced`.
        start: where the trial begins.
        train: name -> [examples, ...].
        has_moved: whether they look as they do after a step.
    """
    while indices.ndim > 1:
        indices = indices[0]
    return probed(_sight(setup, hyperparameters, start, train), carry, indices, has_moved=has_moved)


def finish(setup: Setup, carry: Carry, train: Batch) -> tuple[Params, State]:
    """Returns the parameters and the state to evaluate after a trial's last step.

    Args:
        setup: what holds for the compile group.
        carry: of the last step.
        train: name -> [examples, ...]: batch statistics are re-estimated on it.
    """
    return parameters_of(setup.problem, setup.recipe.optimizer, carry, split_examples(train, setup.lanes))


def _sight(setup: Setup, hyperparameters: Mapping[str, Array], start: Start, train: Batch) -> Sight:
    """What the probes look at."""
    key = jax.random.wrap_key_data(start.key_data)
    problem = setup.problem_with(hyperparameters)
    return Sight(problem, setup.recipe, hyperparameters, key, train, partial(_batch_of, setup, train))


def _batch_of(setup: Setup, train: Batch, index: Array) -> Batch:
    """The examples of these indices, or all of them where every step uses the whole split."""
    is_whole = setup.problem.batch_size is None
    batch = train if is_whole else {name: _rows(array, index) for name, array in train.items()}
    return split_examples(batch, setup.lanes)


def _rows(array: Array, index: Array) -> Array:
    """Takes rows whose indices are known to be valid: no clamping, no wrapping."""
    return array.at[index].get(mode="promise_in_bounds", unique_indices=True)


def _strong(tree: Any) -> Any:
    """Drops weak types, which would make the second call of a segment compile again."""
    return jax.tree.map(
        lambda leaf: leaf if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf.astype(leaf.dtype), tree
    )
