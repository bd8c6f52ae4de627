"""The functions that are compiled: begin a trial, train it for some steps, evaluate it, finish it.

`program` binds their first argument, which is the same for a whole compile group, and compiles them. The other
arguments differ from trial to trial.
"""

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp

from dlkit.bench.plan.trials import Evaluations
from dlkit.bench.problems.base import Batch, Problem
from dlkit.bench.training import divergence, transformation
from dlkit.bench.training.evaluation import HeldOut, curve_metrics, parameters_of, point_of
from dlkit.bench.training.loop import scan
from dlkit.bench.training.probing import Sight, probed
from dlkit.bench.training.recipe import Recipe
from dlkit.bench.training.step import Carry, play_round, take_step
from dlkit.early_stopping import EarlyStoppingFunctions, early_stopping
from dlkit.typing import Array, Params, State

__all__ = [
    "Reached",
    "Setup",
    "Start",
    "advance",
    "begin",
    "complete",
    "finish",
    "look",
    "segment",
    "start",
    "stopping_of",
]


@dataclass(frozen=True, eq=False)
class Setup:
    """What is the same for every trial of a compile group.

    Attributes:
        problem: what is trained.
        recipe: what trains it.
        stopping: the functions of the recipe's early stopping; None without.
        variant: ``variant(**choices) -> Problem``: the problem with the traced values of `Recipe.choices`; None where
            no choice is traced. Its metrics are those of `problem`.
    """

    problem: Problem
    recipe: Recipe
    stopping: EarlyStoppingFunctions | None = None
    variant: Callable[..., Problem] | None = None

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
        point: [columns] float32: metrics by sorted name, the training loss, the losses of the other players, the
            probes' curves.
        evaluations: `Carry.evaluations` at this point.
        bad: whether a loss since the evaluation before was not finite or above the problem's bound, or a metric is not
            finite.
        beyond_since: int32: the step from which on every loss is far beyond its start; -1 where the last are not.
        void: whether early stopping ended the trial before this point; the other fields then mean nothing.
    """

    point: Array
    evaluations: Array
    bad: Array
    beyond_since: Array
    void: Array


class _Inputs(NamedTuple):
    """The arguments of a trial that no step changes."""

    hyperparameters: Mapping[str, Array]
    start: Start
    train: Batch
    held_out: HeldOut


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
        diverged_at=jnp.int32(-1),
        watch=divergence.begin(setup.problem),
        evaluations=jnp.zeros(3, jnp.int32),
        stopping=None if setup.stopping is None else setup.stopping.init((start.params, start.state)),
        previous=start.params if setup.recipe.probes else None,
    )


def segment(
    setup: Setup,
    carry: Carry,
    indices: Array,
    hyperparameters: Mapping[str, Array],
    start: Start,
    train: Batch,
    held_out: HeldOut,
) -> tuple[Carry, Reached]:
    """Trains a trial for some intervals: steps, and an evaluation at the end of each interval.

    Args:
        setup: what holds for the compile group.
        carry: of the step before.
        indices: int32 [evaluations, steps, rows] into `train`: the examples of each step.
        hyperparameters: a number for each of `Recipe.traced`.
        start: where the trial began.
        train: name -> [examples, ...].
        held_out: what evaluations are on.

    Returns:
        The last carry; and what every evaluation reached, [evaluations, ...].
    """
    return complete(setup, carry, None, indices, hyperparameters, start, train, held_out)


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
            return play_round(problem, recipe, built, carry, index, partial(_batch_of, setup.problem, train), key_step)
        return take_step(problem, recipe, built, carry, _batch_of(setup.problem, train, index), key_step)

    carry, losses = scan(step, carry, indices)
    cost = recipe.optimizer.evaluations
    if isinstance(cost, Evaluations) and not problem.players:  # the same at each step: counted here, not inside
        carry = carry._replace(evaluations=carry.evaluations + len(indices) * jnp.array(cost, jnp.int32))
    return carry, losses


def complete(
    setup: Setup,
    carry: Carry,
    earlier: Array | None,
    indices: Array,
    hyperparameters: Mapping[str, Array],
    start: Start,
    train: Batch,
    held_out: HeldOut,
) -> tuple[Carry, Reached]:
    """Does as `segment`, where `advance` has made the first steps of the interval.

    Args:
        setup: what holds for the compile group.
        carry: of the step before.
        earlier: the losses of the interval's steps so far, as `advance` returns them; None where there were none.
        indices: int32 [evaluations, steps, rows] into `train`; one evaluation where there are earlier losses.
        hyperparameters: a number for each of `Recipe.traced`.
        start: where the trial began.
        train: name -> [examples, ...].
        held_out: what evaluations are on.

    Returns:
        As `segment`.
    """
    inputs = _Inputs(hyperparameters, start, train, held_out)
    interval = partial(_interval, setup, inputs, earlier)

    def unless_stopped(carry: Carry, indices: Array) -> tuple[Carry, Reached]:
        if carry.stopping is None:
            return interval(carry, indices)
        skipped = partial(_skipped, interval)
        after: tuple[Carry, Reached] = jax.lax.cond(carry.stopping.stopped, skipped, interval, carry, indices)
        return after

    ended: tuple[Carry, Reached] = scan(unless_stopped, carry, indices)
    return ended


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
    """Returns a trial's final parameters and state: early stopping's best, else those to evaluate after the last step.

    Args:
        setup: what holds for the compile group.
        carry: of the last step.
        train: name -> [examples, ...]: batch statistics are re-estimated on it.
    """
    if carry.stopping is None:
        return parameters_of(setup.problem, setup.recipe.optimizer, carry, train)
    return cast("tuple[Params, State]", carry.stopping.best_params)


def stopping_of(problem: Problem, recipe: Recipe) -> EarlyStoppingFunctions | None:
    """Returns the functions of a recipe's early stopping; None without."""
    policy = recipe.stopping
    if policy is None:
        return None
    higher = problem.metrics[_watched(problem, recipe)].higher_is_better
    return early_stopping(patience=policy.patience, min_delta=policy.min_delta, higher_is_better=higher)


def _watched(problem: Problem, recipe: Recipe) -> str:
    """The metric that early stopping looks at."""
    return (recipe.stopping.metric if recipe.stopping else "") or problem.metric


def _interval(
    setup: Setup, inputs: _Inputs, earlier: Array | None, carry: Carry, indices: Array
) -> tuple[Carry, Reached]:
    """Steps, then an evaluation."""
    problem, recipe = setup.problem, setup.recipe
    hyperparameters, start, train, held_out = inputs
    first_step = carry.step if earlier is None else carry.step - len(earlier)
    carry, losses = advance(setup, carry, indices, hyperparameters, start, train)
    if earlier is not None:  # fused into the sums below, this would change their order, and the last bits
        losses = jax.lax.optimization_barrier(jnp.concatenate([earlier, losses]))
    bad = divergence.bad(problem, losses)
    first_bad = jnp.where(bad.any(), first_step + bad.argmax().astype(jnp.int32), -1)
    carry = carry._replace(diverged_at=jnp.where(carry.diverged_at < 0, first_bad, carry.diverged_at))
    carry = carry._replace(watch=divergence.watch(carry.watch, losses, first_step))
    params, state = parameters_of(problem, recipe.optimizer, carry, train)
    on_validation = None
    if setup.stopping is not None and carry.stopping is not None:
        on_validation = problem.evaluate(params, state, held_out.splits[0])
        watched = on_validation[_watched(problem, recipe)]
        carry = carry._replace(stopping=setup.stopping.update(carry.stopping, watched, (params, state)))
    metrics = curve_metrics(problem, params, state, held_out, on_validation)
    point = point_of(metrics, *(losses.mean(axis=0) if problem.players else [losses.mean()]))
    wrong = bad.any() | ~jnp.isfinite(point).all()
    if recipe.probes:
        sight = _sight(setup, hyperparameters, start, train)
        point = jnp.concatenate([point, probed(sight, carry, indices[-1], has_moved=True)])
    return carry, Reached(point, carry.evaluations, wrong, divergence.since(carry.watch, carry.step), jnp.bool_(False))


def _skipped(
    interval: Callable[[Carry, Array], tuple[Carry, Reached]], carry: Carry, indices: Array
) -> tuple[Carry, Reached]:
    """An interval after early stopping: the carry stays, and the points are void."""
    reached = jax.eval_shape(interval, carry, indices)[1]
    nothing = jax.tree.map(lambda each: jnp.zeros(each.shape, each.dtype), reached)
    return carry, nothing._replace(evaluations=carry.evaluations, void=jnp.bool_(True))


def _sight(setup: Setup, hyperparameters: Mapping[str, Array], start: Start, train: Batch) -> Sight:
    """What the probes look at."""
    key = jax.random.wrap_key_data(start.key_data)
    problem = setup.problem_with(hyperparameters)
    return Sight(problem, setup.recipe, hyperparameters, key, train, partial(_batch_of, setup.problem, train))


def _batch_of(problem: Problem, train: Batch, index: Array) -> Batch:
    """The examples of these indices, or all of them where every step uses the whole split."""
    return train if problem.batch_size is None else {name: _rows(array, index) for name, array in train.items()}


def _rows(array: Array, index: Array) -> Array:
    """Takes rows whose indices are known to be valid: no clamping, no wrapping."""
    return array.at[index].get(mode="promise_in_bounds", unique_indices=True)


def _strong(tree: Any) -> Any:
    """Drops weak types, which would make the second call of a segment compile again."""
    return jax.tree.map(
        lambda leaf: leaf if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf.astype(leaf.dtype), tree
    )
