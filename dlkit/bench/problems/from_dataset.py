"""A dataset as a problem, with a model that suits its examples: tables, images, series, texts."""

from functools import partial
from typing import Any

import numpy as np

from dlkit import models
from dlkit.bench.data import Dataset, dataset
from dlkit.bench.data.base import require_dataset
from dlkit.bench.errors import UserError, nearest, says_what_it_takes
from dlkit.bench.problems.base import Problem
from dlkit.bench.problems.sections import class_count
from dlkit.bench.problems.supervised import REGRESSION_LOSSES, classification, regression
from dlkit.bench.problems.text import language_model
from dlkit.layers import Layer
from dlkit.typing import Array, Scalar

__all__ = ["data_file", "problem_from_dataset"]

MODELS = ("auto", "linear", "mlp", "cnn", "gru", "lstm", "transformer")
SMALLEST = 4  # pixels of an image's side that two stages of a convolutional network need


@says_what_it_takes("bench.problem_from_dataset")
def problem_from_dataset(
    dataset: Dataset,
    *,
    model: str | Layer = "auto",
    name: str = "",
    batch_size: int | None = None,
    steps: int = 600,
    metric: str = "",
    loss: str = "",
    width: int = 64,
    depth: int = 2,
    activation: str = "relu",
    norm: str = "none",
    dropout: Scalar = 0.0,
    l1: Scalar = 0.0,
    l2: Scalar = 0.0,
) -> Problem:
    """Makes the problem of predicting a dataset's targets, of whatever kind they are.

    Integer targets are classes; real ones are quantities, which the model predicts in their own units: what it returns
    is multiplied by a power of two near the training targets' deviation and moved to near their mean, and its loss is
    taken of what lies before that. Metrics are in the targets' units. Integer targets for every step of a sequence of
    integers are its next tokens.

    Args:
        dataset: has ``"inputs"`` and ``"targets"``, as `bench.dataset` makes it; the model is told ``"lengths"`` of
            series, where there are some.
        model: ``"linear"``, ``"mlp"``, ``"cnn"``, ``"gru"``, ``"lstm"`` or ``"transformer"``; a layer of `dlkit.models`
            or one's own; ``"auto"``: an MLP for tables, a CNN for images, a GRU for series, an LSTM for texts.
        name: the problem's; the dataset's if empty.
        batch_size: examples a step; None for 32, or fewer where there are fewer.
        steps: default budget.
        metric: what is judged; the first of the kind's metrics if empty.
        loss: what is minimised, a name of `CLASSIFICATION_LOSSES` or `REGRESSION_LOSSES`; cross-entropy or squared
            error if empty.
        width: of a hidden layer, units of a cell, features of a transformer, channels of the second stage of a CNN.
        depth: hidden layers or blocks; a CNN has two stages.
        activation: of the hidden layers.
        norm: normalization of the hidden layers.
        dropout: rate of the hidden layers; may be traced.
        l1: strength of the penalty sum |w|; may be traced.
        l2: strength of the penalty sum w^2; may be traced.

    Returns:
        The problem: metrics ``accuracy`` and ``cross_entropy``; ``mean_squared_error`` and ``mean_absolute_error``; or
        of texts ``bits_per_character``.

    Raises:
        UserError: for a dataset without inputs or targets, or a model that does not suit its examples.

    Example:
        >>> table = {"size": [float(row) for row in range(20)], "kind": ["a", "b"] * 10}
        >>> from dlkit.bench import data
        >>> problem_from_dataset(data.dataset(table, target="kind", name="kinds")).metric
        'accuracy'
    """
    require_dataset(dataset, "bench.problem_from_dataset")
    if not isinstance(dataset, Dataset) or not {"inputs", "targets"} <= {*dataset.train}:
        raise UserError(
            f"expected a dataset with 'inputs' and 'targets', such as bench.dataset(...), got {dataset!r:.80}"
        )
    inputs, targets = dataset.train["inputs"], dataset.train["targets"]
    name = name or dataset.name
    is_text = inputs.dtype.kind in "iu" and targets.shape == inputs.shape and inputs.ndim == 2
    is_classes = targets.dtype.kind in "iu"
    outputs = 1 if targets.ndim == 1 else targets.shape[-1]
    if is_text:
        outputs = 1 + max(int(inputs.max()), int(targets.max()))
    elif is_classes:
        outputs = max(class_count(dataset), len(dataset.card.classes) if dataset.card else 0)
    network: Layer
    if isinstance(model, str):
        make = partial(_network, outputs=outputs, width=width, depth=depth, activation=activation, norm=norm)
        model_name = _suited(model, name, inputs.shape[1:], is_text=is_text)
        network = make(model_name, dropout=dropout, vocabulary=outputs if is_text else None)
    else:
        model_name, network = "own model", model
    rows = min(32, dataset.examples) if batch_size is None else batch_size
    about = f"{model_name} on {dataset.name}, examples of shape {'x'.join(map(str, inputs.shape[1:]))}"
    if is_text:
        if metric not in ("", "bits_per_character") or loss not in ("", "cross_entropy"):
            asked = f"metric '{metric}'" if metric not in ("", "bits_per_character") else f"loss '{loss}'"
            raise UserError(f"problem '{name}': texts have cross-entropy, judged in bits_per_character; got {asked}")
        return language_model(
            name, dataset, network, batch_size=rows, steps=steps, target=None, description=about, l1=l1, l2=l2
        )
    shared: dict[str, Any] = {"batch_size": rows, "steps": steps, "description": about, "l1": l1, "l2": l2}
    shared["inputs"] = ("inputs", "lengths") if "lengths" in dataset.train else "inputs"
    if is_classes:
        shared |= {"metric": metric or "accuracy", "loss": loss or "cross_entropy"}
        return classification(name, network, dataset, **shared)
    center, unit = _units(targets)
    if loss and loss not in REGRESSION_LOSSES:
        raise UserError(f"problem '{name}': no loss '{loss}'; {nearest(loss, REGRESSION_LOSSES)}")
    element_loss = REGRESSION_LOSSES[loss or "squared_error"]
    return regression(
        name,
        _in_units(network, center, unit),
        dataset,
        metric=metric or "mean_squared_error",
        loss=lambda predictions, truth: element_loss(predictions / unit, truth / unit),
        **shared,
    )


def _suited(model: str, name: str, shape: tuple[int, ...], *, is_text: bool) -> str:
    """The model's name, chosen by the examples' shape where it is not said."""
    if model not in MODELS:
        raise UserError(f"problem '{name}': no model '{model}'; {nearest(model, MODELS)}")
    if model == "auto":
        if is_text:
            return "lstm"
        is_image = len(shape) == 3 and min(shape[:2]) >= SMALLEST
        return "gru" if len(shape) == 2 else "cnn" if is_image else "mlp"
    needs = {"cnn": 3, "gru": 2, "lstm": 2, "transformer": 2}.get(model)
    fits = needs is None or len(shape) == needs or (is_text and model in ("gru", "lstm", "transformer"))
    if not fits or (is_text and model in ("linear", "mlp")):
        raise UserError(
            f"problem '{name}': a {model} does not suit examples of shape {shape}; leave model out, or give a layer"
        )
    return model


def _network(
    model: str,
    *,
    outputs: int,
    width: int,
    depth: int,
    activation: str,
    norm: str,
    dropout: Scalar,
    vocabulary: int | None,
) -> Layer:
    """A network by its name."""
    if model == "cnn":
        stages = ((max(1, width // 2),), (width,))
        return models.cnn(stages, outputs=outputs, activation=activation, normalization=norm, dropout=dropout)
    if model in ("gru", "lstm"):
        if vocabulary is not None:
            return models.recurrent_language_model(
                model, vocabulary=vocabulary, features=width, depth=depth, dropout=dropout
            )
        return models.recurrent_classifier(
            model, outputs=outputs, features=width, depth=depth, normalization=norm, dropout=dropout
        )
    if model == "transformer":
        if vocabulary is not None:
            return models.transformer_language_model(
                vocabulary=vocabulary, features=width, depth=depth, dropout=dropout
            )
        return models.transformer_classifier(outputs=outputs, features=width, depth=depth, dropout=dropout)
    hidden = () if model == "linear" else (width,) * depth
    return models.mlp((*hidden, outputs), activation=activation, normalization=norm, dropout=dropout)


def _units(targets: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Where targets lie and how far apart, as multiples of powers of two: rounded, so as to say little of the split."""
    values = np.asarray(targets, np.float64)
    deviation = np.where(values.std(axis=0) > 0, values.std(axis=0), 1.0)
    unit = 2.0 ** np.round(np.log2(deviation))
    center = unit * np.round(values.mean(axis=0) / unit)
    return center.astype(np.float32), unit.astype(np.float32)


def _in_units(network: Layer, center: np.ndarray[Any, Any], unit: np.ndarray[Any, Any]) -> Layer:
    """A network whose outputs are in the targets' units."""

    def apply(
        params: Any, state: Any, x: Array, *, key: Any = None, train: bool = False, lengths: Array | None = None
    ) -> tuple[Array, Any]:
        ragged: dict[str, Any] = {} if lengths is None else {"lengths": lengths}
        outputs, state = network.apply(params, state, x, key=key, train=train, **ragged)
        return center + unit * outputs, state

    return Layer(network.init, apply)


def data_file(
    *,
    path: str,
    target: str = "",
    test: str = "",
    groups: str = "",
    time: str = "",
    task: str = "",
    missing: str = "refuse",
    drop: str = "",
    digest: str = "",
    model: str = "auto",
    activation: str = "relu",
    norm: str = "none",
    dropout: Scalar = 0.0,
    l1: Scalar = 0.0,
    l2: Scalar = 0.0,
    width: int = 64,
    depth: int = 2,
) -> Problem:
    """Makes the problem of a file or folder of one's own: a table, images, series, a text; as `bench.dataset` reads it.

    Args:
        path: of the file or folder.
        target: the column to predict; empty where the file says it.
        test: a file of test examples; empty for the file's own, or a fifth.
        groups: the column whose values stay in one split; empty for none.
        time: the column that examples are split along; empty for none.
        task: ``"classification"`` or ``"regression"``; empty to judge by the targets.
        missing: what is done with missing values: ``"refuse"``, ``"impute"`` or ``"drop"``.
        drop: columns to leave out, separated by commas; empty for none.
        digest: what the data's digest has to be, or its first digits; empty to accept any.
        model: as of `problem_from_dataset`.
        activation: of the hidden layers.
        norm: normalization of the hidden layers.
        dropout: rate of the hidden layers; may be traced.
        l1: strength of the penalty sum |w|; may be traced.
        l2: strength of the penalty sum w^2; may be traced.
        width: of the hidden layers.
        depth: how many hidden layers.

    Returns:
        The problem, without a target.

    Raises:
        UserError: for a file that cannot be used.
    """
    made = dataset(
        path,
        target=target or None,
        test=test or None,
        groups=groups or None,
        time=time or None,
        task=task or None,  # type: ignore[arg-type]
        missing=missing,  # type: ignore[arg-type]
        drop=[name.strip() for name in drop.split(",")] if drop else [],
        digest=digest,
    )
    return problem_from_dataset(
        made,
        name="data-file",
        model=model,
        width=width,
        depth=depth,
        activation=activation,
        norm=norm,
        dropout=dropout,
        l1=l1,
        l2=l2,
    )
