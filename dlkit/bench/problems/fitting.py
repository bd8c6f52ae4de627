"""What every problem of fitting a layer to inputs consists of: its start, its loss, its scores, its statistics."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp

from dlkit import layers, losses
from dlkit.bench.data.base import Dataset
from dlkit.bench.problems.base import Batch, ExampleScores, Init, Loss, Reestimate, by_example
from dlkit.bench.problems.inputs import InputNames, Inputs, batches_of, layer_inputs
from dlkit.bench.problems.sections import penalized
from dlkit.checks import require_number
from dlkit.layers import Layer
from dlkit.typing import Array, Key, Params, Scalar, State

__all__ = ["Functions", "Score", "functions_of", "reestimation", "start_of"]

Score = Callable[[Array, Batch], Array]
"""`(predictions, batch) -> [examples, ...]`: a loss or a metric of each example or element."""

INPUTS = InputNames((("inputs",),), grouped=False)  # of a problem with one input


class Functions(NamedTuple):
    """The functions of a problem that is a layer and scores of its outputs."""

    init: Init
    loss: Loss
    example_scores: ExampleScores
    reestimate: Reestimate | None


def functions_of(
    model: Layer,
    dataset: Dataset,
    loss: Score,
    scores: Mapping[str, Score],
    *,
    batch_size: int | None,
    l1: Scalar = 0.0,
    l2: Scalar = 0.0,
    start: tuple[Params, State] | None = None,
    inputs: Inputs = "inputs",
    where: str = "a problem",
) -> Functions:
    """Returns the functions of the problem to fit a layer to its inputs.

    With lengths among the inputs, scores of steps, [examples, time, ...], are averaged over the steps that count: the
    loss over those of the whole batch, a metric first over those of each example.

    Args:
        model: maps inputs to predictions.
        dataset: has the inputs.
        loss: of a batch's predictions, without penalties; its mean is minimised.
        scores: metric -> what it is the mean of.
        batch_size: of training; batch statistics are re-estimated in batches of this size.
        l1: as in `penalized`.
        l2: as in `penalized`.
        start: the shapes and types of the model's parameters and state, if they are known.
        inputs: the array that the model is called with, or several: the first is its input, the others go to the
            parameters of its `apply` of their names, such as ``"lengths"``.
        where: how messages begin.

    Returns:
        Functions for `Problem`.

    Raises:
        ValueError: a strength is a negative number.
        UserError: if the inputs do not fit the model.
    """
    called, names, lengths = layer_inputs(where, model, dataset, inputs)
    shape = dataset.train[names.all[0]].shape[1:]
    require_number("a penalty", "l1", l1, at_least=0)
    require_number("a penalty", "l2", l2, at_least=0)

    def init(key: Key) -> tuple[Params, State]:
        return model.init(key, shape)

    def penalized_loss(params: Params, state: State, batch: Batch, key: Key) -> tuple[Array, State]:
        predictions, state = called.apply(params, state, names.values(batch), key=key, train=True)
        values = loss(predictions, batch)
        mean = losses.masked_mean(values, _within(values, batch[lengths])) if lengths else values.mean()
        return penalized(mean, params, l1=l1, l2=l2), state

    def example_scores(params: Params, state: State, batch: Batch) -> Mapping[str, Array]:
        predictions, _ = called.apply(params, state, names.values(batch))
        values = {name: score(predictions, batch) for name, score in scores.items()}
        if not lengths:
            return {name: by_example(each) for name, each in values.items()}
        within = {name: _within(each, batch[lengths]) for name, each in values.items()}
        return {
            name: losses.masked_mean(each, within[name], axis=tuple(range(1, each.ndim)))
            for name, each in values.items()
        }

    return Functions(init, penalized_loss, example_scores, reestimation(called, dataset, batch_size, start, names))


def _within(values: Array, lengths: Array) -> Array:
    """Which of the values [examples, time, ...] count; all of them, of values without a time axis."""
    if values.ndim == 1:
        return jnp.ones(values.shape, bool)
    return jnp.arange(values.shape[1])[None, :] < lengths[:, None]


def reestimation(
    model: Layer,
    dataset: Dataset,
    batch_size: int | None,
    start: tuple[Params, State] | None = None,
    names: InputNames = INPUTS,
) -> Reestimate | None:
    """Returns the function that re-estimates a layer's batch statistics for given parameters.

    It goes through the training split once, in its order, in training mode, in batches of the training's size; the
    examples that do not fill a batch are left out.

    Args:
        model: the layer, a function of the inputs' values.
        dataset: has the inputs.
        batch_size: of training; None for the whole split.
        start: the shapes and types of the layer's parameters and state, if they are known.
        names: of the inputs.

    Returns:
        ``reestimate(params, state, train) -> state``; None if the layer has no batch statistics.
    """
    _, state = start or start_of(model, dataset, names)
    if not layers.has_batch_statistics(state):
        return None

    def reestimate(params: Params, state: State, train: Batch) -> State:
        batches = batches_of(names.values(train), batch_size or len(train[names.all[0]]))
        return layers.reestimate_batch_statistics(model, params, state, batches, key=jax.random.key(0))

    return reestimate


def start_of(model: Layer, dataset: Dataset, names: InputNames) -> tuple[Params, State]:
    """The shapes and types of a layer's parameters and state."""
    shape = dataset.train[names.all[0]].shape[1:]
    start: tuple[Params, State] = jax.eval_shape(lambda: model.init(jax.random.key(0), shape))
    return start
