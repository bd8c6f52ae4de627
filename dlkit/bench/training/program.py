"""The one training loop: a compiled segment of steps and evaluations. `trials` calls it."""

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp

from dlkit.bench import probes
from dlkit.bench.errors import UserError
from dlkit.bench.plan.metric import TRAINING_LOSS
from dlkit.bench.plan.trials import Evaluations
from dlkit.bench.probes import View
from dlkit.bench.problems.base import Batch, Problem
from dlkit.bench.training import games, transformation
from dlkit.bench.training.fast_convolutions import Rewrite, fast_convolutions, of_products, with_layout
from dlkit.bench.training.lanes import ALONE, Lanes, compiled, placed
from dlkit.bench.training.loop import scan
from dlkit.bench.training.recipe import Recipe
from dlkit.bench.training.step import Carry, play_round, take_step
from dlkit.bench.training.streaming import block_bytes
from dlkit.early_stopping import EarlyStopping, early_stopping
from dlkit.typing import Array, Key, Params, State

__all__ = ["ProblemProgram", "Program", "Reached", "Start", "compile_problem", "compile_program"]


class Start(NamedTuple):
    """Where every contender with one seed begins: the same bits for all."""

    params: Params
    state: State
    key_data: Array  # of the steps' key, as plain uint32
    optimizer_key_data: Array  # of the key for what an optimizer draws itself
    metrics: Mapping[str, Array]  # on validation, before any step


class Reached(NamedTuple):
    """What a segment returns for each of its evaluations.

    Attributes:
        point: [columns] float32: metrics by sorted name, the training loss, those of the other players, then the
            probes' curves.
        evaluations: `Carry.evaluations` then.
        bad: whether a loss of the interval before was not finite or too large, or a metric not finite.
        void: whether training had been stopped before; nothing else here means anything then.
    """

    point: Array
    evaluations: Array
    bad: Array
    void: Array


@dataclass(frozen=True, eq=False)
class ProblemProgram:
    """The executables that every optimizer on a problem shares, and the data they run on.

    With lanes, every argument and result but the data has the lanes as its first axis.

    Attributes:
        problem: what is trained.
        lanes: how trials lie side by side.
        rewritten: makes what is to be compiled of a function.
        start: ``start(words, validation) -> Start``: initial parameters, the steps' key, metrics before any step.
        evaluate: ``evaluate(params, state, arrays) -> metrics``.
        samples: ``samples(params, state)`` of one trial, as `Problem.samples`; None where nothing is generated.
        arrays: split -> name -> device array; no training split if it streams.
        block_bytes: how much a block of training examples may take; None for a split that lies on the device.
    """

    problem: Problem
    lanes: Lanes
    rewritten: Rewrite
    start: Any
    evaluate: Any
    samples: Any
    arrays: Mapping[str, Batch]
    block_bytes: int | None = None


@dataclass(frozen=True, eq=False)
class Program:
    """The executables of one (problem, recipe).

    Attributes:
        shared: those of the problem.
        recipe: what they train by.
        begin: ``begin(start, hyperparameters) -> Carry``.
        segment: ``segment(carry, indices[evaluations, steps, rows], hyperparameters, start, train, validation)
            -> (carry, Reached[evaluations])``: after every `steps` an evaluation.
        advance: ``advance(carry, indices[steps, batch], hyperparameters, start, train) -> (carry, losses[steps])``: the
            first steps of an interval.
        complete: ``complete(carry, losses, indices[1, steps, batch], hyperparameters, start, train, validation)
            -> (carry, Reached[1])``: the others and the evaluation, given the losses of the first.
        finish: ``finish(carry, train) -> (params, state)`` to evaluate.
    """

    shared: ProblemProgram
    recipe: Recipe
    begin: Any
    segment: Any
    advance: Any
    complete: Any
    finish: Any

    @property
    def player_curves(self) -> Sequence[str]:
        """The names of the curves that further players' losses add to `Reached.point`."""
        return [f"{TRAINING_LOSS}_{player.name}" for player in games.others(self.shared.problem)]

    @property
    def probe_curves(self) -> Sequence[str]:
        """The names of the curves that probes add to `Reached.point`."""
        return [curve for name in self.recipe.probes for curve in probes.get(name).curves]


def compile_problem(problem: Problem, lanes: Lanes = ALONE, memory: int | None = None) -> ProblemProgram:
    """Prepares the executables of a problem and puts its data on the device; JAX compiles at the first call.

    Args:
        problem: what is trained.
        lanes: how many trials run side by side, and on how many devices.
        memory: bytes that training examples may take; a split that is larger stays on the host and streams. None for
            what suits the device.

    Returns:
        The program.

    Raises:
        UserError: for a split that has to stream and cannot.
    """
    problem, rewritten = fast_convolutions(problem)

    def start(words: Array, validation: Batch) -> Start:
        key = jax.random.key(0)
        for word in words:  # the problem's name, the stage, the seed: folded in by meaning, not by position in a split
            key = jax.random.fold_in(key, word)
        key_init, key_steps, key_optimizer = (
            jax.random.fold_in(key, zlib.crc32(purpose)) for purpose in (b"init", b"steps", b"optimizer")
        )
        params, state = jax.tree.map(jnp.asarray, problem.init(key_init))
        metrics = problem.evaluate(params, state, validation)
        steps_data, optimizer_data = (jax.random.key_data(key) for key in (key_steps, key_optimizer))
        return Start(_strong(params), _strong(state), steps_data, optimizer_data, metrics)

    data = problem.dataset
    room = block_bytes(problem, memory)
    whole = {"train": {} if room is not None else data.train, "validation": data.validation, "test": data.test}
    return ProblemProgram(
        problem,
        lanes,
        rewritten,
        start=compiled(rewritten(start), (True, False), lanes),
        evaluate=compiled(rewritten(problem.evaluate), (True, True, False), lanes),
        samples=problem.samples and compiled(problem.samples, (False, False), ALONE),
        arrays={name: placed(arrays, lanes) for name, arrays in whole.items()},
        block_bytes=room,
    )


def compile_program(
    shared: ProblemProgram, recipe: Recipe, *, variant: Callable[..., Problem] | None = None
) -> Program:
    """Prepares the executables of a compile group; JAX compiles each at its first call.

    Hyperparameters are traced, so one program serves every point, seed and stage.

    Args:
        shared: the problem's executables.
        recipe: what trains it.
        variant: returns the problem with the traced values of `recipe.choices`; None where there are none.

    Returns:
        The program.

    Raises:
        UserError: for what needs the whole training split at every evaluation, if it streams.
    """
    problem = shared.problem
    transformation.require_fitting(problem, recipe.optimizer)
    stopping = _early_stopping(problem, recipe)
    if shared.block_bytes is not None and recipe.optimizer.eval_params is not None and problem.reestimate is not None:
        raise UserError(
            f"optimizer '{recipe.optimizer.name}' evaluates other parameters than it trains, and problem "
            f"'{problem.name}' has batch statistics: every evaluation re-estimates them on the whole training split, "
            "which cannot stream; allow more memory, or use a normalization without batch statistics"
        )

    def begin(start: Start, hyperparameters: Mapping[str, Array]) -> Carry:
        opt_state = _strong(
            transformation.first_state(problem, recipe, hyperparameters, start.params, start.optimizer_key_data)
        )
        best = None if stopping is None else stopping.init((start.params, start.state))
        return Carry(
            start.params,
            start.state,
            opt_state,
            step=jnp.int32(0),
            diverged_at=jnp.int32(-1),
            evaluations=jnp.zeros(3, jnp.int32),
            stopping=best,
            previous=start.params if recipe.probes else None,
        )

    def judged(carry: Carry, train: Batch) -> tuple[Params, State]:
        """The parameters and the state to evaluate after the step that was last."""
        if recipe.optimizer.eval_params is None:
            return carry.params, carry.state
        if problem.players:
            params = games.evaluated(problem, recipe.optimizer, carry.opt_state, carry.params)
        else:
            params = recipe.optimizer.eval_params(carry.opt_state, carry.params)
        if problem.reestimate is None:
            return params, carry.state
        return params, problem.reestimate(params, carry.state, train)

    def finish(carry: Carry, train: Batch) -> tuple[Params, State]:
        if carry.stopping is None:
            return judged(carry, train)
        return cast("tuple[Params, State]", carry.stopping.best_params)

    def varied(hyperparameters: Mapping[str, Array]) -> Problem:
        """The problem with its traced choices; its metrics do not depend on them."""
        if variant is None:
            return problem
        chosen = variant(**{name: hyperparameters[name] for name in recipe.choices})
        return of_products(chosen) if shared.rewritten is with_layout else chosen

    def batch_of(train: Batch, index: Array) -> Batch:
        return train if problem.batch_size is None else {name: _rows(a, index) for name, a in train.items()}

    def advance(
        carry: Carry, indices: Array, hyperparameters: Mapping[str, Array], start: Start, train: Batch
    ) -> tuple[Carry, Array]:
        chosen = varied(hyperparameters)
        key = jax.random.wrap_key_data(start.key_data)

        def built_at(step: Array) -> Any:
            return transformation.transformations(problem, recipe, hyperparameters, step, start.optimizer_key_data)

        fixed = None if recipe.schedule.varies else built_at(jnp.int32(0))

        def step(carry: Carry, index: Array) -> tuple[Carry, Array]:
            # The state of a transformation does not depend on the rate it was built with: each step can have its own.
            built = fixed or built_at(carry.step)
            key_step = jax.random.fold_in(key, carry.step)
            if problem.players:
                return play_round(chosen, recipe, built, carry, index, partial(batch_of, train), key_step)
            return take_step(chosen, recipe, built, carry, batch_of(train, index), key_step)

        carry, losses = scan(step, carry, indices)
        cost = recipe.optimizer.evaluations
        if isinstance(cost, Evaluations) and not problem.players:  # the same at each step: counted here, not inside
            carry = carry._replace(evaluations=carry.evaluations + len(indices) * jnp.array(cost, jnp.int32))
        return carry, losses

    def complete(
        carry: Carry,
        earlier: Array | None,
        indices: Array,
        hyperparameters: Mapping[str, Array],
        start: Start,
        train: Batch,
        validation: Batch,
    ) -> tuple[Carry, Reached]:
        key = jax.random.wrap_key_data(start.key_data)

        def interval(carry: Carry, indices: Array) -> tuple[Carry, Reached]:
            first_step = carry.step if earlier is None else carry.step - len(earlier)
            carry, losses = advance(carry, indices, hyperparameters, start, train)
            if earlier is not None:  # fused into the sums below, this would change their order, and the last bits
                losses = jax.lax.optimization_barrier(jnp.concatenate([earlier, losses]))
            bad = ~jnp.isfinite(losses)
            if problem.diverged_above is not None:
                bad |= losses > problem.diverged_above
            if problem.players:
                bad = bad.any(axis=1)
            first_bad = jnp.where(bad.any(), first_step + bad.argmax().astype(jnp.int32), -1)
            carry = carry._replace(diverged_at=jnp.where(carry.diverged_at < 0, first_bad, carry.diverged_at))
            params, state = judged(carry, train)
            metrics = problem.evaluate(params, state, validation)
            point = _point(metrics, *(losses.mean(axis=0) if problem.players else [losses.mean()]))
            if stopping is not None and carry.stopping is not None:
                watched = metrics[_watched(problem, recipe)]
                carry = carry._replace(stopping=stopping.update(carry.stopping, watched, (params, state)))
            wrong = bad.any() | ~jnp.isfinite(point).all()
            if recipe.probes:
                key_probes = jax.random.fold_in(jax.random.fold_in(key, zlib.crc32(b"probes")), carry.step)
                rate = transformation.rate(recipe, hyperparameters, carry.step - 1)
                looked = _probed(
                    varied(hyperparameters), recipe, carry, batch_of(train, indices[-1]), train, rate, key_probes
                )
                point = jnp.concatenate([point, looked])
            return carry, Reached(point, carry.evaluations, wrong, jnp.bool_(False))

        def rest(carry: Carry, indices: Array) -> tuple[Carry, Reached]:
            reached = jax.eval_shape(interval, carry, indices)[1]
            nothing = jax.tree.map(lambda each: jnp.zeros(each.shape, each.dtype), reached)
            return carry, nothing._replace(evaluations=carry.evaluations, void=jnp.bool_(True))

        def guarded(carry: Carry, indices: Array) -> tuple[Carry, Reached]:
            if carry.stopping is None:
                return interval(carry, indices)
            after: tuple[Carry, Reached] = jax.lax.cond(carry.stopping.stopped, rest, interval, carry, indices)
            return after

        ended: tuple[Carry, Reached] = scan(guarded, carry, indices)
        return ended

    def segment(
        carry: Carry,
        indices: Array,
        hyperparameters: Mapping[str, Array],
        start: Start,
        train: Batch,
        validation: Batch,
    ) -> tuple[Carry, Reached]:
        return complete(carry, None, indices, hyperparameters, start, train, validation)

    lanes = shared.lanes
    return Program(
        shared,
        recipe,
        begin=compiled(begin, (True, True), lanes),
        segment=compiled(shared.rewritten(segment), (True, True, True, True, False, False), lanes),
        advance=compiled(shared.rewritten(advance), (True, True, True, True, False), lanes),
        complete=compiled(shared.rewritten(complete), (True, True, True, True, True, False, False), lanes),
        finish=compiled(shared.rewritten(finish), (True, False), lanes),
    )


def _early_stopping(problem: Problem, recipe: Recipe) -> EarlyStopping | None:
    """The state machine of a recipe's policy."""
    policy = recipe.stopping
    if policy is None:
        return None
    higher = problem.metrics[_watched(problem, recipe)].higher_is_better
    return early_stopping(patience=policy.patience, min_delta=policy.min_delta, higher_is_better=higher)


def _watched(problem: Problem, recipe: Recipe) -> str:
    """The metric that early stopping looks at."""
    return (recipe.stopping.metric if recipe.stopping else "") or problem.metric


def _probed(problem: Problem, recipe: Recipe, carry: Carry, batch: Batch, train: Batch, rate: Array, key: Key) -> Array:
    """What a recipe's probes see after an interval: [curves]."""

    def loss(params: Params, batch: Batch) -> Array:
        return problem.loss(params, carry.state, batch, key)[0]

    def apply(params: Params, batch: Batch) -> Any:
        return problem.evaluate(params, carry.state, batch)

    update = jax.tree.map(jnp.subtract, carry.params, carry.previous)
    view = View(carry.params, carry.state, update, batch, train, loss, apply, rate, key)
    values = [value for name in recipe.probes for value in probes.curves_of(probes.get(name), view).values()]
    return jnp.stack(values)


def _point(metrics: Mapping[str, Array], *losses: Array) -> Array:
    """A point of the curve as one array."""
    return jnp.stack([jnp.asarray(value, jnp.float32) for value in (*(metrics[k] for k in sorted(metrics)), *losses)])


def _rows(array: Array, index: Array) -> Array:
    """Takes rows whose indices are known to be valid: no clamping, no wrapping."""
    return array.at[index].get(mode="promise_in_bounds", unique_indices=True)


def _strong(tree: Any) -> Any:
    """Drops weak types, which would make the second call of a segment compile again."""
    return jax.tree.map(
        lambda leaf: leaf if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf.astype(leaf.dtype), tree
    )
