"""Problems from flax modules, linen or nnx, taken as they are: batch statistics, dropout and all."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen, nnx

from dlkit.bench.data.base import Dataset, require_dataset
from dlkit.bench.errors import UserError, says_what_it_takes
from dlkit.bench.plan.metric import Metric
from dlkit.bench.problems.base import Batch, Problem, Reestimate
from dlkit.bench.problems.frameworks.model import (
    NO_INPUTS,
    Score,
    Task,
    fold,
    like,
    modes,
    of_another_library,
    problem_of_model,
)
from dlkit.bench.problems.inputs import InputNames, Inputs, batches_of, binding
from dlkit.layers import Layer
from dlkit.typing import Array, Key, Params, Shape, State

__all__ = ["problem_from_flax"]

Path = tuple[Any, ...]  # keys that lead into nested dictionaries
Statistics = list[dict[str, Array]]  # a mean and a variance each
PAIR = ("mean", "var")


@says_what_it_takes("bench.problem_from_flax")
def problem_from_flax(
    module: linen.Module | nnx.Module | Callable[..., nnx.Module],
    dataset: Dataset,
    loss: Score,
    *,
    name: str = "",
    metrics: Mapping[str, tuple[Score, Metric]] | None = None,
    inputs: Inputs = "inputs",
    targets: str | Sequence[str] = "targets",
    weights: str = "",
    batch_size: int | None = None,
    steps: int = 600,
    target: float | None = None,
    description: str = "",
) -> Problem:
    """Makes a problem of a flax module: predict targets from inputs, minimising the mean of a loss.

    The module is called with the inputs and with each of the arguments ``train``, ``training``, ``is_training``,
    ``deterministic`` and ``use_running_average`` that its ``__call__`` has, set for training or evaluation.
    Collections other than ``params`` (linen) and variables other than ``nnx.Param`` (nnx) are the problem's state:
    training updates them, evaluation does not. Where an optimizer evaluates other parameters than it trains,
    running averages of batch statistics (a ``mean`` beside a ``var``) are re-estimated for those over the training
    split. Random streams (dropout) get a fresh key at every step of every seed; whatever a module draws in
    evaluation is the same each time.

    Args:
        module: a linen module, ``MyModule()``; or a function of ``rngs`` that returns an nnx module, ``lambda rngs:
            MyModule(64, rngs=rngs)``, so that every seed has its own initial parameters; or an nnx module: every seed
            then starts from its present parameters, as in fine-tuning. It is copied, never changed.
        dataset: has the arrays that `inputs`, `targets` and `weights` name.
        loss: ``loss(predictions, targets)`` -> a value per example or element, whose mean is taken, or one number, such
            as those of `dlkit.losses` and optax. Without targets, ``loss(predictions)``.
        name: the problem's name; by default the dataset's. With the seed it decides initial parameters and data order.
        metrics: name -> ``(function, Metric)``, such as ``{"accuracy": (accuracy, bench.Metric("higher"))}``, with a
            function like `loss`. The first is tuned, ranked and compared. By default ``"loss"``: the mean loss.
        inputs: the array that the module is called with; or several, ``("inputs", "lengths")``: those that are named as
            parameters of its ``__call__`` go to them, the others in their order to the parameters that are left. Or
            groups, ``[("first",), ("second",)]``: the module is called for each with the same parameters, and the
            predictions are a tuple.
        targets: the array that losses and metrics get; or several, which they get as a dictionary by name (several
            tasks); or ``()`` for none: they then get the predictions alone, those of groups one by one, as
            `losses.info_nce` and `losses.triplet` take them.
        weights: the array of weights, [examples] or of the shape of the loss's values (a mask of a sequence's steps).
            The loss and every metric are then sum w v / sum w, over the batch or over the whole split. None by default.
        batch_size: examples a step; None for the whole training split at every step.
        steps: the default budget.
        target: the value of the first metric that steps to target count to; None to take it from the baseline.
        description: a line for lists.

    Returns:
        The problem.

    Raises:
        UserError: if `module` is not a flax module, has no parameters or fails on the inputs; if an array is missing;
            if the module's call takes other inputs; if the loss or a metric fails on the predictions, broadcasts them
            against the targets, or does not fit the weights.

    Example:
        >>> import numpy as np, optax
        >>> from dlkit import bench
        >>> arrays = {"inputs": np.ones((20, 3), np.float32), "targets": np.zeros(20, np.int32)}
        >>> loss = optax.softmax_cross_entropy_with_integer_labels
        >>> problem_from_flax(linen.Dense(2), bench.split("mine", arrays), loss, batch_size=5).metric
        'loss'
    """
    require_dataset(dataset, "bench.problem_from_flax")
    names = InputNames.of(f"problem '{name or dataset.name}'", inputs)
    task = Task(
        dataset=dataset,
        inputs=names,
        loss=loss,
        name=name,
        metrics=metrics,
        targets=targets,
        weights=weights,
        batch_size=batch_size,
        steps=steps,
        target=target,
        description=description,
    )
    return problem_of_model(
        task,
        lambda where: _model(where, module, names, dataset),
        lambda model: _reestimation(model, names, batch_size),
    )


def _model(where: str, module: Any, names: InputNames, dataset: Dataset) -> Layer:
    """Turns a flax module into pure functions."""
    expected = (
        f"{where}: expected a flax linen module, an nnx module, or a function of rngs that returns an nnx module, such "
        "as lambda rngs: MyModule(64, rngs=rngs), "
    )
    if isinstance(module, linen.Module):
        return _linen(where, module, names, dataset)
    if isinstance(module, nnx.Module):
        copy = nnx.clone(module)  # its owner's changes must not show here, nor the modes set below there
        start = jax.tree.map(jnp.copy, _split(copy)[2:])
        return Layer(lambda key, input_shape: start, _nnx_apply(where, copy, names))
    if isinstance(module, type) and issubclass(module, linen.Module):
        raise UserError(f"{expected}got the class {module.__name__}; make an instance: {module.__name__}(...)")
    if not callable(module):
        raise UserError(f"{expected}got {of_another_library(module)}")
    try:
        abstract = nnx.eval_shape(lambda: module(rngs=nnx.Rngs(0)))
    except Exception as error:
        called = f"{getattr(module, '__qualname__', type(module).__name__)}(rngs=...)"
        raise UserError(f"{expected}but {called} raised {type(error).__name__}: {error}") from error
    if not isinstance(abstract, nnx.Module):
        raise UserError(f"{expected}but it returned none")
    return Layer(lambda key, input_shape: _split(module(rngs=nnx.Rngs(key)))[2:], _nnx_apply(where, abstract, names))


def _linen(where: str, module: Any, names: InputNames, dataset: Dataset) -> Layer:
    call = module.__call__
    arguments = binding(where, names, call, without=NO_INPUTS)

    def streams(key: Key | None) -> dict[str, Key]:
        return {stream: fold(key, stream) for stream in ("params", "dropout")}  # any other is drawn from "params"

    def init(key: Key, input_shape: Shape) -> tuple[Params, State]:
        ordered, by_name = arguments(names.example(dataset))
        variables = dict(module.init(streams(key), *ordered, **by_name, **modes(call, train=False)))
        return variables.pop("params", {}), variables

    def apply(
        params: Params, state: State, x: Array, *, key: Key | None = None, train: bool = False
    ) -> tuple[Array, State]:
        ordered, by_name = arguments(x)
        options = {
            "rngs": streams(key),
            "mutable": list(state) if train else [],
            **modes(call, train=train),
        }
        predictions, updated = module.apply({"params": params, **state}, *ordered, **by_name, **options)
        return predictions, like(state, {**state, **updated})

    return Layer(init, apply)


def _nnx_apply(where: str, module: Any, names: InputNames) -> Callable[..., tuple[Array, State]]:
    """Makes `apply` of a module that may be changed; keeps its structure in either mode, none of its arrays."""
    call = module.__call__
    arguments = binding(where, names, call, without=NO_INPUTS)
    module.eval()
    evaluating, *_ = _split(module)
    module.train()
    training, streams, *_ = _split(module)
    streams = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), streams)

    def fresh(path: Any, leaf: jax.ShapeDtypeStruct, key: Key | None) -> Array:
        if not jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return jnp.zeros(leaf.shape, leaf.dtype)  # how often the stream was drawn from
        return jax.random.split(fold(key, jax.tree_util.keystr(path)), leaf.shape)

    def apply(
        params: Params, state: State, x: Array, *, key: Key | None = None, train: bool = False
    ) -> tuple[Array, State]:
        keys = jax.tree_util.tree_map_with_path(partial(fresh, key=key), streams)
        model = nnx.merge(training if train else evaluating, params, keys, state)
        ordered, by_name = arguments(x)
        predictions = model(*ordered, **by_name, **modes(call, train=train))
        return predictions, like(state, _split(model)[3]) if train else state

    return apply


def _split(module: nnx.Module) -> tuple[Any, Any, Params, State]:
    """Returns structure, random streams, parameters and the rest, the last three as plain nested dictionaries.

    Random streams are made from the step's key, not carried: a step's draws depend on the seed and the step alone.
    """
    graphdef, *states = nnx.split(module, nnx.RngState, nnx.Param, ...)
    streams, params, state = map(nnx.to_pure_dict, states)
    return graphdef, streams, params, state


def _reestimation(model: Layer, names: InputNames, batch_size: int | None) -> Reestimate | None:
    """Makes the function that re-estimates running averages for given parameters; None where there are none.

    A running average goes from r to m r + (1 - m) b, b being the batch's; training from r = 0 and from another r tells
    m and b, whatever the module calls its momentum. What does not follow this rule stays as it is.
    """
    try:
        _, abstract = jax.eval_shape(lambda: model.init(jax.random.key(0), ()))
    except Exception:
        return None  # the checks that follow say what is wrong with the module
    averages = _averages(abstract)
    if not averages:
        return None

    def trained(params: Params, state: State, inputs: Any, position: Array, values: Statistics) -> Statistics:
        """The averages after a batch that begins with these."""
        key = jax.random.fold_in(jax.random.key(0), position)
        _, state = model.apply(params, _with_nodes(state, averages, values), inputs, key=key, train=True)
        return [{name: _node(state, path)[name] for name in PAIR} for path in averages]

    def reestimate(params: Params, state: State, train: Batch) -> State:
        examples = len(train[names.all[0]])
        rows = batch_size or examples
        batches = batches_of(names.values(train), rows)
        first = jax.tree.map(lambda array: array[0], batches)
        old = [{name: _node(state, path)[name] for name in PAIR} for path in averages]
        zero = jax.tree.map(jnp.zeros_like, old)
        shares = trained(params, state, first, jnp.int32(0), zero)
        probe = jax.tree.map(lambda share: 1 + 100 * jnp.abs(share), shares)  # far above (1 - m) b, for m's digits
        moved = trained(params, state, first, jnp.int32(0), probe)
        momentum = jax.tree.map(lambda after, share, before: (after - share) / before, moved, shares, probe)
        stacked = jax.lax.map(
            lambda indexed: trained(params, state, indexed[1], indexed[0], zero),
            (jnp.arange(examples // rows), batches),
        )
        return _with_nodes(state, averages, [_combined(*parts) for parts in zip(old, momentum, stacked, strict=True)])

    return reestimate


def _combined(old: Mapping[str, Array], momentum: Mapping[str, Array], shares: Mapping[str, Array]) -> dict[str, Array]:
    """The statistics of all batches together, from (1 - m) times those of each, [batches, ...]."""
    kept = {name: momentum[name].mean() for name in PAIR}
    batch = {name: shares[name] / (1 - kept[name]) for name in PAIR}
    mean = batch["mean"].mean(axis=0)
    # average of var_b + average of (mean_b - mean)^2
    variance = batch["var"].mean(axis=0) + jnp.square(batch["mean"] - mean[None]).mean(axis=0)
    averaged = jnp.stack([(jnp.ptp(momentum[name]) < 1e-3) & (kept[name] < 1 - 1e-6) for name in PAIR]).all()
    return {
        name: jnp.where(averaged, new, old[name]).astype(old[name].dtype)
        for name, new in (("mean", mean), ("var", variance))
    }


def _averages(state: State, path: Path = ()) -> list[Path]:
    """Where a state has a mean beside a variance of its shape."""
    if not isinstance(state, dict):
        return []
    pair = [getattr(state.get(name), "shape", None) for name in PAIR]
    if None not in pair and pair[0] == pair[1]:
        return [path]
    return [found for key, entry in state.items() for found in _averages(entry, (*path, key))]


def _node(state: State, path: Path) -> Any:
    for key in path:
        state = state[key]
    return state


def _with_nodes(state: State, paths: Sequence[Path], values: Statistics) -> State:
    """A copy of the state with other averages at these places."""
    copy = jax.tree.map(lambda leaf: leaf, state)
    for path, value in zip(paths, values, strict=True):
        _node(copy, path).update(value)
    return copy
