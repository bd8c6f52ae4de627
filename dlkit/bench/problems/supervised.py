"""Problems of predicting targets from inputs with a layer: classification, regression, and what they share."""

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType

import jax
import numpy as np

from dlkit import losses
from dlkit.bench.data.base import Dataset, require_labels
from dlkit.bench.errors import UserError, nearest
from dlkit.bench.plan.metric import Metric
from dlkit.bench.problems.base import Problem
from dlkit.bench.problems.fitting import functions_of, start_of
from dlkit.bench.problems.inputs import InputNames, Inputs, layer_inputs
from dlkit.checks import known_zero
from dlkit.layers import Layer
from dlkit.typing import Array, Params, Scalar, State

__all__ = [
    "CLASSIFICATION_LOSSES",
    "REGRESSION_LOSSES",
    "classification",
    "named_loss",
    "regression",
]

ElementLoss = Callable[[Array, Array], Array]  # (predictions, targets) -> a loss per example or element


def _one_vs_rest(loss: ElementLoss) -> ElementLoss:
    """The sum over the classes of a loss against one-hot targets."""
    return lambda logits, targets: loss(logits, jax.nn.one_hot(targets, logits.shape[-1], dtype=logits.dtype)).sum(-1)


CLASSIFICATION_LOSSES: Mapping[str, ElementLoss] = MappingProxyType(
    {
        "cross_entropy": losses.cross_entropy,
        "binary_cross_entropy": _one_vs_rest(losses.binary_cross_entropy),
        "focal": _one_vs_rest(losses.focal),
        "multiclass_hinge": losses.multiclass_hinge,
        "squared_error": _one_vs_rest(losses.squared_error),
    }
)
"""Losses of logits and integer targets, by name; those of one class each are summed over one-hot targets."""

REGRESSION_LOSSES: Mapping[str, ElementLoss] = MappingProxyType(
    {
        "squared_error": losses.squared_error,
        "absolute_error": losses.absolute_error,
        "huber": losses.huber,
        "log_cosh": losses.log_cosh,
    }
)
"""Losses of predictions and real targets, by name."""


def named_loss(known: Mapping[str, ElementLoss], loss: str | ElementLoss) -> ElementLoss:
    """Returns the loss of that name; a function is returned as it is.

    Raises:
        UserError: for an unknown name, with the nearest valid one.
    """
    if not isinstance(loss, str):
        return loss
    if loss not in known:
        raise UserError(f"no loss '{loss}'; {nearest(loss, known)}")
    return known[loss]


def classification(
    name: str,
    model: Layer,
    dataset: Dataset,
    *,
    batch_size: int | None,
    steps: int,
    target: float | None = None,
    description: str = "",
    stresses: str = "",
    metric: str = "accuracy",
    margin: float | None = None,
    loss: str | ElementLoss = "cross_entropy",
    label_smoothing: Scalar = 0.0,
    l1: Scalar = 0.0,
    l2: Scalar = 0.0,
    inputs: Inputs = "inputs",
) -> Problem:
    """Makes the problem of classifying inputs into integer ``"targets"`` with a model that returns logits.

    Its trivial score is that of the training split's class frequencies, whatever the inputs.

    Args:
        name: the problem's name.
        model: maps [batch, ...] inputs to [batch, classes] logits; or [batch, time, classes], for targets [batch,
            time].
        dataset: has the inputs and integer ``"targets"``.
        batch_size: examples a step; None for all of them.
        steps: default budget.
        target: value of the metric on validation that steps to target count to.
        description: a line for lists.
        stresses: what is hard about it, in a line.
        metric: ``"accuracy"`` or ``"cross_entropy"``: the one that is tuned, ranked and compared.
        margin: by how much a tuned first-order optimizer beats the trivial score.
        loss: what is minimised: a name of `CLASSIFICATION_LOSSES`, or ``loss(logits, targets) -> losses``.
        label_smoothing: of the loss ``"cross_entropy"``; may be traced.
        l1: strength of the penalty sum |w| of the weights; may be traced.
        l2: strength of the penalty sum w^2; may be traced.
        inputs: the array that the model is called with; or several, ``("inputs", "lengths")``: the first is its input,
            the others go to the parameters of its `apply` of their names.

    Returns:
        A problem with metrics ``accuracy`` and ``cross_entropy``.

    Raises:
        UserError: for an unknown loss or metric, label smoothing of another loss than cross-entropy, or targets that
            are not indices of the model's outputs.
    """
    where = f"problem '{name}'"
    called, names, _ = layer_inputs(where, model, dataset, inputs)
    start = start_of(model, dataset, names)
    _require_labels_of(called, dataset, start, names)
    element_loss = named_loss(CLASSIFICATION_LOSSES, loss)
    if not known_zero(label_smoothing):
        if loss != "cross_entropy":
            raise UserError(f"problem '{name}': only the loss 'cross_entropy' takes label_smoothing, not {loss!r}")
        element_loss = partial(losses.cross_entropy, label_smoothing=label_smoothing)

    functions = functions_of(
        model,
        dataset,
        lambda logits, batch: element_loss(logits, batch["targets"]),
        {
            "accuracy": lambda logits, batch: logits.argmax(axis=-1) == batch["targets"],
            "cross_entropy": lambda logits, batch: losses.cross_entropy(logits, batch["targets"]),
        },
        batch_size=batch_size,
        l1=l1,
        l2=l2,
        start=start,
        inputs=inputs,
        where=where,
    )
    return Problem(
        name=name,
        init=functions.init,
        loss=functions.loss,
        example_scores=functions.example_scores,
        reestimate=functions.reestimate,
        dataset=dataset,
        metrics={
            "accuracy": Metric("higher", least=0.0, most=1.0),
            "cross_entropy": Metric("lower", label="cross-entropy", least=0.0),
        },
        metric=metric,
        batch_size=batch_size,
        steps=steps,
        target=target,
        description=description,
        stresses=stresses,
        trivial=_prior_scores(dataset).get(metric),
        margin=margin,
    )


def _require_labels_of(model: Layer, dataset: Dataset, start: tuple[Params, State], names: InputNames) -> None:
    """Compares the targets with the model's outputs; a model that fails on the inputs is told when it is traced."""
    one = {
        name: jax.ShapeDtypeStruct((1, *array.shape[1:]), jax.dtypes.canonicalize_dtype(array.dtype))
        for name, array in dataset.train.items()
    }
    inputs = names.values(one)
    try:
        classes = jax.eval_shape(lambda *arguments: model.apply(*arguments)[0], *start, inputs).shape[-1]
    except Exception:
        return
    require_labels(dataset, "targets", classes)


def _prior_scores(dataset: Dataset) -> dict[str, float]:
    """What the class frequencies of the training split score on validation."""
    train, validation = (np.asarray(split["targets"]).ravel() for split in (dataset.train, dataset.validation))
    counts = np.bincount(train, minlength=int(validation.max()) + 1)
    shares = np.maximum(counts, 1) / np.maximum(counts, 1).sum()  # a class that only validation has is not impossible
    return {
        "accuracy": float((validation == counts.argmax()).mean()),
        "cross_entropy": float(-np.log(shares[validation]).mean()),
    }


def regression(
    name: str,
    model: Layer,
    dataset: Dataset,
    *,
    batch_size: int | None,
    steps: int,
    target: float | None = None,
    description: str = "",
    stresses: str = "",
    metric: str = "mean_squared_error",
    scale: str = "linear",
    margin: float | None = None,
    loss: str | ElementLoss = "squared_error",
    l1: Scalar = 0.0,
    l2: Scalar = 0.0,
    inputs: Inputs = "inputs",
) -> Problem:
    """Makes the problem of predicting real ``"targets"`` from inputs.

    Its trivial score is that of the training targets' mean (median, for the mean absolute error).

    Args:
        name: the problem's name.
        model: maps [batch, ...] inputs to [batch, 1] predictions; to [batch, targets] where there are several.
        dataset: has the inputs and ``"targets"`` [examples] or [examples, targets].
        batch_size: examples a step; None for all of them.
        steps: default budget.
        target: value of the metric on validation that steps to target count to.
        description: a line for lists.
        stresses: what is hard about it, in a line.
        metric: ``"mean_squared_error"`` or ``"mean_absolute_error"``: the one that is tuned, ranked and compared.
        scale: of both metrics, ``"linear"`` or ``"log"``.
        margin: by how much a tuned first-order optimizer beats the trivial score.
        loss: what is minimised: a name of `REGRESSION_LOSSES`, or ``loss(predictions, targets) -> losses``.
        l1: strength of the penalty sum |w| of the weights; may be traced.
        l2: strength of the penalty sum w^2; may be traced.
        inputs: the array that the model is called with; or several, ``("inputs", "lengths")``: the first is its input,
            the others go to the parameters of its `apply` of their names.

    Returns:
        A problem with metrics ``mean_squared_error`` and ``mean_absolute_error``.

    Raises:
        UserError: for an unknown loss or metric.
    """
    element_loss = named_loss(REGRESSION_LOSSES, loss)
    shown = (..., 0) if dataset.train["targets"].ndim == 1 else ...  # a single target has no axis of its own
    functions = functions_of(
        model,
        dataset,
        lambda predictions, batch: element_loss(predictions[shown], batch["targets"]),
        {
            "mean_squared_error": lambda predictions, batch: losses.squared_error(predictions[shown], batch["targets"]),
            "mean_absolute_error": lambda predictions, batch: losses.absolute_error(
                predictions[shown], batch["targets"]
            ),
        },
        batch_size=batch_size,
        l1=l1,
        l2=l2,
        inputs=inputs,
        where=f"problem '{name}'",
    )
    train, validation = (np.asarray(split["targets"], np.float64) for split in (dataset.train, dataset.validation))
    trivial = {
        "mean_squared_error": float(np.square(validation - train.mean(axis=0)).mean()),
        "mean_absolute_error": float(np.abs(validation - np.median(train, axis=0)).mean()),
    }
    return Problem(
        name=name,
        init=functions.init,
        loss=functions.loss,
        example_scores=functions.example_scores,
        reestimate=functions.reestimate,
        dataset=dataset,
        metrics={
            key: Metric("lower", scale, label=key.replace("_", " "), least=0.0)  # type: ignore[arg-type]
            for key in trivial
        },
        metric=metric,
        batch_size=batch_size,
        steps=steps,
        target=target,
        description=description,
        stresses=stresses,
        trivial=trivial.get(metric),
        margin=margin,
    )
