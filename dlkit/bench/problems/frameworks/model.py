"""What the constructors for flax, equinox and haiku share: the task, weighted means, metrics, and checks."""

import inspect
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from dlkit import losses
from dlkit.bench.data.base import SPLITS, Dataset, require_labels
from dlkit.bench.errors import UserError, nearest
from dlkit.bench.identity.own_errors import raised, with_own_frames
from dlkit.bench.identity.places import at, place_of
from dlkit.bench.plan.metric import Metric
from dlkit.bench.problems.base import Batch, Problem, Reestimate, by_example, example_batch, means_of
from dlkit.bench.problems.frameworks.pairing import ROWS, require_classes, require_pairing
from dlkit.bench.problems.inputs import InputNames, batches_of, of_groups
from dlkit.layers import Layer
from dlkit.typing import Array, Key, Params, State

__all__ = ["NO_INPUTS", "Score", "Task", "fold", "like", "modes", "of_another_library", "pass_over", "problem_of_model"]

Score = Callable[..., Array]
"""`(predictions, targets)`, or several outputs without targets, -> a value per example or element, or one number."""

# Losses of class indices: they return something for any index, also one that the model has no output for.
LOSSES_OF_LABELS = (optax.softmax_cross_entropy_with_integer_labels, losses.cross_entropy, losses.multiclass_hinge)
# Losses whose values depend on the other examples.
OF_BATCHES = (losses.cox, losses.info_nce, losses.nt_xent, losses.supervised_contrastive)
# Arguments of a module's call that say whether it trains.
TRUE_IN_TRAINING = ("train", "training", "is_training")
FALSE_IN_TRAINING = ("deterministic", "use_running_average")
NO_INPUTS = frozenset({"self", *TRUE_IN_TRAINING, *FALSE_IN_TRAINING})


@dataclass(frozen=True, eq=False, kw_only=True)
class Task:
    """What a module is to learn: the arguments that the constructors of all libraries share.

    Attributes:
        dataset: has the arrays that `inputs`, `targets` and `weights` name.
        loss: ``loss(predictions, targets)`` -> a value per example or element, or one number.
        name: the problem's name; empty for the dataset's.
        metrics: name -> (function, what it means); None for the loss alone.
        inputs: the arrays that the module is called with.
        targets: the array, or arrays, that losses and metrics get; none of them if it is empty.
        weights: the array of weights; empty for the plain mean.
        batch_size: examples a step; None for the whole training split at every step.
        steps: the default budget.
        target: the value of the first metric that steps to target count to; None to take it from the baseline.
        description: a line for lists.
    """

    dataset: Dataset
    loss: Score
    name: str
    metrics: Mapping[str, tuple[Score, Metric]] | None
    inputs: InputNames
    targets: str | Sequence[str]
    weights: str
    batch_size: int | None
    steps: int
    target: float | None
    description: str

    @property
    def problem_name(self) -> str:
        """The problem's name."""
        return self.name or self.dataset.name

    @property
    def where(self) -> str:
        """How messages begin."""
        return f"problem '{self.problem_name}'"


def problem_of_model(
    task: Task, model: Callable[[str], Layer], reestimation: Callable[[Layer], Reestimate | None]
) -> Problem:
    """Makes the problem of predicting targets from inputs with a model.

    Args:
        task: what the model is to learn.
        model: makes the model, given how messages begin.
        reestimation: makes `Problem.reestimate` of the model.

    Returns:
        The problem, checked by tracing it.

    Raises:
        UserError: if an array is missing, or the module, the loss or a metric fails or does not fit the arrays.
    """
    dataset, targets, weights, inputs_of = task.dataset, task.targets, task.weights, task.inputs.values
    name, where = task.problem_name, task.where
    wanted = [targets] if isinstance(targets, str) else [*targets]
    _require_arrays(where, dataset, [*task.inputs.all, *wanted, *([weights] if weights else [])])
    if weights:
        _require_weights(where, dataset, weights)
    scores = {each: (_paired(score, task), meaning) for each, (score, meaning) in _scores(where, task).items()}
    loss = _paired(task.loss, task)
    shape = dataset.train[task.inputs.all[0]].shape[1:]
    made = of_groups(model(where), task.inputs)

    def targets_of(batch: Batch) -> Any:
        return batch[targets] if isinstance(targets, str) else {each: batch[each] for each in targets}

    def mean_of(score: Score, predictions: Any, batch: Batch) -> Array:
        values = jnp.asarray(score(predictions, targets_of(batch)))
        return _mean(values, batch[weights] if weights else None)

    def init(key: Key) -> tuple[Params, State]:
        return made.init(key, shape)

    def mean_loss(params: Params, state: State, batch: Batch, key: Key) -> tuple[Array, State]:
        predictions, state = made.apply(params, state, inputs_of(batch), key=key, train=True)
        return mean_of(loss, predictions, batch), state

    def evaluate(params: Params, state: State, batch: Batch) -> Mapping[str, Array]:
        predictions, _ = made.apply(params, state, inputs_of(batch))
        return {metric: mean_of(function, predictions, batch) for metric, (function, _) in scores.items()}

    problem = Problem(
        name=name,
        init=init,
        loss=mean_loss,
        evaluate=evaluate,
        reestimate=reestimation(made),
        dataset=dataset,
        metrics={metric: meaning for metric, (_, meaning) in scores.items()},
        batch_size=task.batch_size,
        steps=task.steps,
        target=task.target,
        description=task.description,
    )
    described = {"the loss": loss, **{f"metric '{metric}'": function for metric, (function, _) in scores.items()}}
    _check(where, made, described, problem, inputs_of, targets_of, "".join(wanted[:1]), weights)
    # Weighted means, and numbers of all examples together, are no means over examples.
    of_examples = {} if weights else _of_examples(made, problem, inputs_of, targets_of, scores)
    if not of_examples:
        return problem

    def example_scores(params: Params, state: State, batch: Batch) -> Mapping[str, Array]:
        predictions, _ = made.apply(params, state, inputs_of(batch))
        values = {name: function(predictions, targets_of(batch)) for name, function in of_examples.items()}
        return {name: by_example(jnp.asarray(each)) for name, each in values.items()}

    are_all = len(of_examples) == len(scores)
    return replace(problem, example_scores=example_scores, evaluate=means_of(example_scores) if are_all else evaluate)


def _paired(score: Score, task: Task) -> Score:
    """A score as a function of predictions and targets, also where it takes predictions alone.

    Without targets it gets the predictions, those of several groups one by one.
    """
    if task.targets:
        return score
    return _OfPredictions(score, task.inputs.grouped)


@dataclass(frozen=True)
class _OfPredictions:
    """A score of predictions alone."""

    score: Callable[..., Array]
    grouped: bool

    def __call__(self, predictions: Any, targets: Any) -> Array:
        del targets
        return self.score(*predictions) if self.grouped else self.score(predictions)


def _of_examples(
    model: Layer,
    problem: Problem,
    inputs_of: Callable[[Batch], Any],
    targets_of: Callable[[Batch], Any],
    scores: Mapping[str, tuple[Score, Metric]],
) -> dict[str, Score]:
    """The metrics that return a value per example or element: those whose size follows that of the batch.

    Of what takes batches of one size alone nothing is known, and a value that depends on the other examples is none of
    its example.
    """
    params, state = jax.eval_shape(problem.init, jax.eval_shape(lambda: jax.random.key(0)))

    def follows(score: Score, rows: int) -> bool:
        batch = example_batch(replace(problem, batch_size=rows))
        try:
            predictions, _ = jax.eval_shape(model.apply, params, state, inputs_of(batch))
            values = jax.eval_shape(lambda *pair: jnp.asarray(score(*pair)), predictions, targets_of(batch))
        except Exception:
            return False
        return bool(values.shape[:1] == (rows,))

    sizes = [rows for rows in (2, 3) if rows <= problem.dataset.examples]
    alone = {name: score for name, (score, _) in scores.items() if getattr(score, "score", score) not in OF_BATCHES}
    return {name: score for name, score in alone.items() if sizes and all(follows(score, n) for n in sizes)}


def modes(call: Callable[..., Any], *, train: bool) -> dict[str, bool]:
    """Returns values for those arguments of a module's call that say whether it trains.

    Example:
        >>> modes(lambda x, deterministic: x, train=True)
        {'deterministic': False}
    """
    values = dict.fromkeys(TRUE_IN_TRAINING, train) | dict.fromkeys(FALSE_IN_TRAINING, not train)
    return {name: value for name, value in values.items() if name in inspect.signature(call).parameters}


def of_another_library(module: Any) -> str:
    """Returns how messages call what is no module that is traced, and what to do with a model of another library."""
    library = type(module).__module__.partition(".")[0]
    if library in ("torch", "keras", "tensorflow", "sklearn"):
        return f"a {type(module).__name__} of {library}, which JAX does not trace: write the model in flax"
    text = repr(module)
    return text if len(text) < 100 and " at 0x" not in text else f"a {type(module).__name__}"


def fold(key: Key | None, name: str) -> Key:
    """Returns a key for a purpose; without a key, the same one each time."""
    return jax.random.fold_in(jax.random.key(0) if key is None else key, zlib.crc32(name.encode()))


def like(state: State, updated: State) -> State:
    """Returns a state with the types of another, which a compiled loop needs to stay the same from step to step."""
    return jax.tree.map(lambda old, new: new if old is new else jnp.asarray(new, old.dtype), state, updated)


def pass_over(
    model: Layer, dataset: Dataset, inputs: InputNames, batch_size: int | None
) -> Callable[[Params, State, Batch], State]:
    """Makes a re-estimation of a state: the model goes through the training split once, in training mode.

    Args:
        model: whose state follows the batches it sees, as running averages do.
        dataset: the data.
        inputs: the arrays that the model is called with.
        batch_size: of training; None for the whole split. Examples that do not fill a batch are left out.

    Returns:
        ``reestimate(params, state, train) -> state``.
    """
    rows = batch_size or dataset.examples

    def reestimate(params: Params, state: State, train: Batch) -> State:
        batches = batches_of(inputs.values(train), rows)

        def seen(state: State, numbered: tuple[Array, Any]) -> tuple[State, None]:
            key = jax.random.fold_in(jax.random.key(0), numbered[0])
            return model.apply(params, state, numbered[1], key=key, train=True)[1], None

        return jax.lax.scan(seen, state, (jnp.arange(dataset.examples // rows), batches))[0]

    return reestimate


def _scores(where: str, task: Task) -> dict[str, tuple[Score, Metric]]:
    """The metrics of a task, by default its loss."""
    for name, pair in (task.metrics or {}).items():
        if not (isinstance(pair, tuple) and len(pair) == 2 and callable(pair[0]) and isinstance(pair[1], Metric)):
            raise UserError(f"{where}: metric '{name}' must be (function, Metric), got {pair!r}")
    return {"loss": (task.loss, Metric("lower"))} if task.metrics is None else dict(task.metrics)


def _require_arrays(where: str, dataset: Dataset, names: Sequence[str]) -> None:
    if missing := [each for each in names if each not in dataset.train]:
        needed, found = " and ".join(map(repr, names)), sorted(dataset.train)
        hint = f"; {nearest(missing[0], found)}" if found else ""
        raise UserError(f"{where}: its dataset needs {needed}, but has {found}{hint}")


def _require_weights(where: str, dataset: Dataset, name: str) -> None:
    for split in SPLITS:
        array = getattr(dataset, split)[name]
        if (array < 0).any() or not (array > 0).any():
            wrong = f"{array.min()}" if (array < 0).any() else "all 0"
            raise UserError(
                f"{where}: weights '{name}' of split '{split}' must be at least 0 and not all 0, got {wrong}"
            )


def _mean(values: Array, weights: Array | None) -> Array:
    """The mean, or the weighted one; weights of examples count for all elements of theirs."""
    dtype = jnp.promote_types(values.dtype, jnp.float32)  # also of half precision, booleans, counts
    if weights is None:
        return values.mean(dtype=dtype)
    if values.shape[: weights.ndim] != weights.shape:
        raise ValueError(
            f"expected a value for each of the weights {weights.shape}, got values {values.shape}; return a value per "
            "example or element, not their mean"
        )
    each = jnp.broadcast_to(
        weights.astype(dtype).reshape(weights.shape + (1,) * (values.ndim - weights.ndim)), values.shape
    )
    total = each.sum()
    # sum w v / sum w; 0 for a batch whose weights are all 0. What has no weight may be anything, NaN too.
    counted = jnp.where(each == 0, 0, each * jnp.where(each == 0, 0, values.astype(dtype)))
    return counted.sum() / jnp.where(total == 0, 1, total)


def _is_of_a_package(score: Score) -> bool:
    """Whether a score is an installed function, whose own tests know what it does with every shape."""
    return inspect.isfunction(score) and not place_of(score)


def _few(dataset: Dataset) -> Any:
    """Some training examples, from the first to the last: files may be sorted."""
    rows = np.linspace(0, dataset.examples - 1, min(ROWS, dataset.examples)).astype(int)
    return {name: np.asarray(array[rows]) for name, array in dataset.train.items()}


def _check(
    where: str,
    model: Layer,
    scores: Mapping[str, Score],
    problem: Problem,
    inputs_of: Callable[[Batch], Any],
    targets_of: Callable[[Batch], Any],
    named: str,
    weights: str,
) -> None:
    """Traces everything once without computing, so that mistakes show here and not in a worker."""
    batch = example_batch(problem)
    inputs, targets = inputs_of(batch), targets_of(batch)
    key = jax.eval_shape(lambda: jax.random.key(0))
    try:
        params, state = jax.eval_shape(problem.init, key)
        jax.eval_shape(partial(model.apply, train=True), params, state, inputs, key=key)
        predictions, _ = jax.eval_shape(model.apply, params, state, inputs)
    except Exception as error:
        given = ", ".join(f"{each.dtype}{each.shape}" for each in jax.tree.leaves(inputs))
        raise UserError(f"{where}: the module failed on inputs {given}: {raised(error)}") from with_own_frames(error)
    if not jax.tree.leaves(params):
        raise UserError(f"{where}: the module has no parameters to train")
    predicted, wanted = (jax.tree.map(jnp.shape, tree) for tree in (predictions, targets))
    shapes = f"predictions {predicted} and targets {wanted}"
    sizes = [sum(leaf.size for leaf in jax.tree.leaves(tree)) for tree in (predictions, targets)]
    tried: list[Score] = []
    for what, score in scores.items():
        try:
            values = jax.eval_shape(lambda *pair, score=score: jnp.asarray(score(*pair)), predictions, targets)
        except Exception as error:
            told = raised(error, score if callable(score) else None)
            hint = "" if callable(score) else "; give the function, such as losses.squared_error"
            raise UserError(f"{where}: {what} failed on {shapes}: {told}{hint}") from with_own_frames(error)
        if score in LOSSES_OF_LABELS and jnp.issubdtype(targets.dtype, jnp.integer):
            require_labels(problem.dataset, named, predictions.shape[-1])
        if values.size > max(sizes):
            raise UserError(
                f"{where}: {what} broadcasts {shapes} to {values.shape}; give both the same shape{at(place_of(score))}"
            )
        if score not in tried and not _is_of_a_package(score):
            tried.append(score)
            if isinstance(targets, jax.ShapeDtypeStruct):
                require_classes(where, what, score, predictions, problem.dataset, named)
            if predicted != wanted:
                require_pairing(where, what, score, predictions, targets_of(_few(problem.dataset)))
        if weights:
            try:
                jax.eval_shape(_mean, values, batch[weights])
            except ValueError as error:
                raise UserError(f"{where}: {what}: {error}") from error
