"""The one training loop: a compiled segment of steps and evaluations, called by a thin host loop."""

import math
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from dlkit.bench.batches import STAGES, Stage, trial_order
from dlkit.bench.environment import compiler_options
from dlkit.bench.errors import UserError
from dlkit.bench.optimizers import Evaluations, Optimizer
from dlkit.bench.problems.base import Batch, Problem, example_batch
from dlkit.typing import Array, Key, Params, State

__all__ = [
    "TRAINING_LOSS",
    "ProblemProgram",
    "Program",
    "Trajectory",
    "check_problem",
    "compile_problem",
    "compile_program",
    "train_trial",
]

CALLS = 5  # a trial is at least so many calls of its segment: it is looked at for divergence between them
TRAINING_LOSS = "training_loss"  # the mean minibatch loss over the segment that ends at a point of the curve


class Carry(NamedTuple):
    """What one step hands to the next."""

    params: Params
    state: State
    opt_state: Any
    step: Array  # int32: steps done
    diverged_at: Array  # int32: the first step whose loss was not finite, -1 while there is none
    evaluations: Array  # int32[3]: of the loss on batches so far, as in `Evaluations`


class Start(NamedTuple):
    """Where every contender with one seed begins: the same bits for all."""

    params: Params
    state: State
    key_data: Array  # of the steps' key, as plain uint32
    point: Array  # of the curve, as in `Program.segment`


@dataclass(frozen=True, eq=False)
class ProblemProgram:
    """The executables that every optimizer on a problem shares, and the data they run on.

    Attributes:
        problem: what is trained.
        start: ``start(words, validation) -> Start``: initial parameters, the steps' key, metrics before any step.
        evaluate: ``evaluate(params, state, arrays) -> metrics``.
        arrays: split -> name -> device array.
    """

    problem: Problem
    start: Any
    evaluate: Any
    arrays: Mapping[str, Batch]


@dataclass(frozen=True, eq=False)
class Program:
    """The executables of one (problem, optimizer, static choice).

    Attributes:
        shared: those of the problem.
        begin: ``begin(params, hyperparameters) -> opt_state``.
        segment: ``segment(carry, indices[evaluations, steps, batch], hyperparameters, key_data, train, validation)
            -> (carry, (points[evaluations, metrics], counts[evaluations, 3]))``: after every `steps` an evaluation;
            metrics by sorted name, then `TRAINING_LOSS`, as one float32 array; beside it `Carry.evaluations`.
        evaluated: ``evaluated(params, opt_state) -> params`` to evaluate.
    """

    shared: ProblemProgram
    begin: Any
    segment: Any
    evaluated: Any


@dataclass(frozen=True, eq=False)
class Trajectory:
    """What one trial returns.

    Attributes:
        status: ``"finished"``, or ``"diverged"``: a loss or metric that is not finite.
        steps: [points] the steps at which metrics were evaluated, from 0.
        curves: metric -> [points] float32 on validation; `TRAINING_LOSS` starts with NaN, as nothing was trained yet.
        test: metric -> value on the test split after the last step; empty if diverged.
        evaluations: of the loss on batches, up to the last point of the curve.
        diverged_at: the step whose loss was not finite, or the evaluation whose metric was not; None if all were.
        seconds: training time, host loop included, compilation excluded.
        compile_seconds: time of the trial's first calls, where they compiled.
        params: the final parameters (those to evaluate).
        state: the final state.
    """

    status: Literal["finished", "diverged"]
    steps: np.ndarray[Any, Any]
    curves: Mapping[str, np.ndarray[Any, Any]]
    test: Mapping[str, float]
    evaluations: Evaluations
    diverged_at: int | None
    seconds: float
    compile_seconds: float
    params: Params
    state: State


def compile_problem(problem: Problem) -> ProblemProgram:
    """Prepares the executables of a problem and puts its data on the device; JAX compiles at the first call.

    Args:
        problem: what is trained.

    Returns:
        The program.
    """

    def start(words: Array, validation: Batch) -> Start:
        key = jax.random.key(0)
        for word in words:  # the problem's name, the stage, the seed: folded in by meaning, not by position in a split
            key = jax.random.fold_in(key, word)
        key_init, key_steps = (jax.random.fold_in(key, zlib.crc32(purpose)) for purpose in (b"init", b"steps"))
        params, state = jax.tree.map(jnp.asarray, problem.init(key_init))
        point = _point(problem.evaluate(params, state, validation), math.nan)  # no training loss before any step
        return Start(_strong(params), _strong(state), jax.random.key_data(key_steps), point)

    options = compiler_options()
    arrays = {name: jax.device_put(dict(getattr(problem.dataset, name))) for name in ("train", "validation", "test")}
    return ProblemProgram(
        problem, jax.jit(start, compiler_options=options), jax.jit(problem.evaluate, compiler_options=options), arrays
    )


def compile_program(shared: ProblemProgram, optimizer: Optimizer, static: Mapping[str, Any]) -> Program:
    """Prepares the executables of a compile group; JAX compiles each at its first call.

    Hyperparameters are traced, so one program serves every point, seed and stage.

    Args:
        shared: the problem's executables.
        optimizer: what trains it.
        static: a value for each of `optimizer.static`.

    Returns:
        The program.
    """
    problem = shared.problem

    def evaluated(params: Params, opt_state: Any) -> Params:
        return optimizer.eval_params(opt_state, params) if optimizer.eval_params else params

    def begin(params: Params, hyperparameters: Mapping[str, Array]) -> Any:
        return _strong(_build(optimizer, static, hyperparameters).init(params))

    def segment(
        carry: Carry,
        indices: Array,
        hyperparameters: Mapping[str, Array],
        key_data: Array,
        train: Batch,
        validation: Batch,
    ) -> tuple[Carry, tuple[Array, Array]]:
        key = jax.random.wrap_key_data(key_data)
        transformation = _build(optimizer, static, hyperparameters)

        def step(carry: Carry, index: Array) -> tuple[Carry, Array]:
            batch = train if problem.batch_size is None else {name: _rows(a, index) for name, a in train.items()}
            return _step(problem, optimizer, transformation, carry, batch, jax.random.fold_in(key, carry.step))

        def interval(carry: Carry, indices: Array) -> tuple[Carry, tuple[Array, Array]]:
            first_step = carry.step
            carry, losses = jax.lax.scan(step, carry, indices)
            if isinstance(optimizer.evaluations, Evaluations):  # the same at each step: counted here, not inside
                counts = carry.evaluations + len(indices) * jnp.array(optimizer.evaluations, jnp.int32)
                carry = carry._replace(evaluations=counts)
            bad = ~jnp.isfinite(losses)
            first_bad = jnp.where(bad.any(), first_step + bad.argmax().astype(jnp.int32), -1)
            carry = carry._replace(diverged_at=jnp.where(carry.diverged_at < 0, first_bad, carry.diverged_at))
            metrics = problem.evaluate(evaluated(carry.params, carry.opt_state), carry.state, validation)
            return carry, (_point(metrics, losses.mean()), carry.evaluations)

        return jax.lax.scan(interval, carry, indices)

    options = compiler_options()
    return Program(shared, *(jax.jit(function, compiler_options=options) for function in (begin, segment, evaluated)))


def _build(
    optimizer: Optimizer, static: Mapping[str, Any], hyperparameters: Mapping[str, Array]
) -> optax.GradientTransformationExtraArgs:
    """Calls the user's function and checks that a transformation came back."""
    try:
        transformation = optimizer.build(**static, **hyperparameters)
    except Exception as error:
        arguments = ", ".join([*hyperparameters, *static]) or "none"
        raise UserError(
            f"optimizer '{optimizer.name}': build raised {type(error).__name__}: {error} (arguments given: {arguments})"
        ) from error
    if not (hasattr(transformation, "init") and hasattr(transformation, "update")):
        raise UserError(
            f"optimizer '{optimizer.name}': build must return an optax transformation (init, update), "
            f"got {type(transformation).__name__}"
        )
    return optax.with_extra_args_support(transformation)


def _step(
    problem: Problem,
    optimizer: Optimizer,
    transformation: optax.GradientTransformationExtraArgs,
    carry: Carry,
    batch: Batch,
    key: Key,
) -> tuple[Carry, Array]:
    """One step: loss and gradient on a batch, and the update."""

    def loss_of(params: Params) -> tuple[Array, State]:
        return problem.loss(params, carry.state, batch, key)

    def value_of(params: Params, obj_fn: Any = None, grad_fn: Any = None) -> Array:
        # optax's line searches hand over what else the update was given, by name
        return loss_of(params)[0]

    def gradient_of(params: Params, *_: Any) -> Params:  # optax's SAM also gives the number of its own step
        return jax.grad(value_of)(params)

    (loss, state), gradient = jax.value_and_grad(loss_of, has_aux=True)(carry.params)
    more = {"value": loss, "grad": gradient, "value_fn": value_of, "obj_fn": value_of, "grad_fn": gradient_of}
    updates, opt_state = transformation.update(gradient, carry.opt_state, carry.params, **more)
    _check_updates(optimizer, updates, carry.params)
    params = optax.apply_updates(carry.params, updates)
    counts = carry.evaluations
    if not isinstance(optimizer.evaluations, Evaluations):
        counts = counts + jnp.stack([jnp.asarray(n, jnp.int32) for n in optimizer.evaluations(opt_state)])
    return Carry(params, state, opt_state, carry.step + 1, carry.diverged_at, counts), loss


def _check_updates(optimizer: Optimizer, updates: Params, params: Params) -> None:
    """Compares shapes while tracing: broadcasting an update silently would train something else."""
    expected = {
        jax.tree_util.keystr(path): jnp.shape(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(params)
    }
    got = {jax.tree_util.keystr(path): jnp.shape(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(updates)}
    for path in expected | got:
        if expected.get(path) != got.get(path):
            raise UserError(
                f"optimizer '{optimizer.name}': its update for parameter {path or 'the parameters'} has shape "
                f"{got.get(path, 'none')}, the parameter has {expected.get(path, 'none')}; an update must match every "
                "parameter in structure and shape"
            )


def _point(metrics: Mapping[str, Array], training_loss: Array | float) -> Array:
    """A point of the curve as one array."""
    return jnp.stack(
        [jnp.asarray(value, jnp.float32) for value in (*(metrics[k] for k in sorted(metrics)), training_loss)]
    )


def _rows(array: Array, index: Array) -> Array:
    """Takes rows whose indices are known to be valid: no clamping, no wrapping."""
    return array.at[index].get(mode="promise_in_bounds", unique_indices=True)


def _strong(tree: Any) -> Any:
    """Drops weak types, which would make the second call of a segment compile again."""
    return jax.tree.map(
        lambda leaf: leaf if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf.astype(leaf.dtype), tree
    )


def train_trial(
    program: Program, hyperparameters: Mapping[str, float], *, stage: Stage, seed: int, steps: int, evaluations: int
) -> Trajectory:
    """Trains one trial: calls the segment a few times and collects what it returns.

    A trial whose loss or metric stops being finite ends soon after; its curve ends at the evaluation that shows it.

    Args:
        program: the executables.
        hyperparameters: a number for each name of the optimizer's space.
        stage: tuning or final; their seeds are disjoint.
        seed: which initial parameters, data order and step keys.
        steps: training steps; a multiple of `evaluations`.
        evaluations: points of the curve after step 0.

    Returns:
        The trial's curve and outcome.
    """
    shared = program.shared
    problem, arrays = shared.problem, shared.arrays
    length = steps // evaluations
    # Weakly typed, as constants are: a traced decay keeps an average of bfloat16 what it is.
    values = {name: jnp.asarray(float(np.float32(value))) for name, value in hyperparameters.items()}
    began = time.perf_counter()
    words = np.array([zlib.crc32(problem.name.encode()), STAGES[stage], seed], np.uint32)
    start: Start = shared.start(words, arrays["validation"])
    opt_state = program.begin(start.params, values)
    carry = Carry(start.params, start.state, opt_state, jnp.int32(0), jnp.int32(-1), jnp.zeros(3, jnp.int32))
    calls = next(n for n in range(min(CALLS, evaluations), evaluations + 1) if evaluations % n == 0)
    order = trial_order(problem, stage, seed, (evaluations // calls, length), calls)
    arguments = (values, start.key_data, arrays["train"], arrays["validation"])

    points: list[Any] = [start.point[None]]
    counts: list[Any] = [carry.evaluations[None]]
    first_call = 0.0
    for call in range(calls):
        carry, (reached, evaluated) = program.segment(carry, next(order), *arguments)
        points.append(reached)
        counts.append(evaluated)
        if call == 0:
            jax.block_until_ready(reached)
            first_call = time.perf_counter() - began
        elif not np.isfinite(points[-2]).all():  # looked at one call late, so that the one in flight goes on
            break
    table = np.concatenate(points)
    bad_points = ~np.isfinite(table[1:]).all(axis=1)
    diverged = bool(bad_points.any())
    if diverged:  # whatever was still in flight, the curve ends where it went wrong
        table = table[: 2 + int(bad_points.argmax())]
    seconds = time.perf_counter() - began
    per_call = (seconds - first_call) / max(len(points) - 2, 1)

    params = program.evaluated(carry.params, carry.opt_state)
    test = shared.evaluate(params, carry.state, arrays["test"])
    names = [*sorted(test), TRAINING_LOSS]
    curves = {name: np.ascontiguousarray(column) for name, column in zip(names, table.T, strict=True)}
    done = np.arange(len(table)) * length
    bad = int(carry.diverged_at)
    return Trajectory(
        status="diverged" if diverged else "finished",
        steps=done.astype(np.int64),
        curves=curves,
        test={} if diverged else {name: float(value) for name, value in test.items()},
        evaluations=Evaluations(*map(int, np.concatenate(counts)[len(table) - 1])),
        diverged_at=(bad if 0 <= bad < done[-1] else int(done[-1])) if diverged else None,
        seconds=seconds - first_call + per_call,
        compile_seconds=max(first_call - per_call, 0.0),
        params=params,
        state=carry.state,
    )


def check_problem(problem: Problem) -> None:
    """Traces a problem's functions without computing, and says what is wrong with them.

    Args:
        problem: the problem.

    Raises:
        UserError: if a function raises, the loss is not one number, or a metric is missing or not one number.
    """
    where = f"problem '{problem.name}'"
    key = jax.eval_shape(lambda: jax.random.key(0))
    params, state = _trace(f"{where}: init", problem.init, key, expects="(params, state)")
    batch = example_batch(problem)
    loss, new_state = _trace(f"{where}: loss", problem.loss, params, state, batch, key, expects="(scalar, state)")
    if getattr(loss, "shape", None) != ():
        raise UserError(
            f"{where}: loss must return one number, got shape {getattr(loss, 'shape', loss)}; take the mean"
        )
    if jax.tree.map(jnp.shape, new_state) != jax.tree.map(jnp.shape, state):
        raise UserError(f"{where}: loss must return a state shaped like init's; pass `state` through if it has none")
    validation = dict(problem.dataset.validation)
    metrics = _trace(f"{where}: evaluate", problem.evaluate, params, state, validation)
    for name in problem.metrics:
        if name not in metrics:
            raise UserError(f"{where}: no metric '{name}' in what evaluate returns, which is {sorted(metrics)}")
    for name, value in metrics.items():
        if getattr(value, "shape", None) != ():
            raise UserError(f"{where}: metric '{name}' must be one number, got shape {getattr(value, 'shape', value)}")
    if TRAINING_LOSS in metrics:
        raise UserError(f"{where}: '{TRAINING_LOSS}' is recorded for every problem; give the metric another name")


def _trace(what: str, function: Any, *arguments: Any, expects: str = "") -> Any:
    try:
        result = jax.eval_shape(function, *arguments)
    except Exception as error:
        raise UserError(f"{what} raised {type(error).__name__}: {error}") from error
    if expects and not (isinstance(result, tuple) and len(result) == 2):
        raise UserError(f"{what} must return {expects}, got {type(result).__name__}")
    return result
