"""Problems on sequences, for recurrent networks and transformers: adding, copying, rows of digits, time series."""

import jax.numpy as jnp

from dlkit import layers, models
from dlkit.bench import data
from dlkit.bench.data import Dataset
from dlkit.bench.errors import UserError, nearest
from dlkit.bench.problems.base import Problem
from dlkit.bench.problems.evaluation import in_chunks
from dlkit.bench.problems.sections import Objective, class_count
from dlkit.bench.problems.supervised import classification, regression
from dlkit.layers import Layer
from dlkit.typing import Scalar

__all__ = ["adding", "basic_motions", "copy_memory", "digits_rows", "series_file", "unequal_series"]

VOCABULARY = 10  # of the copy-memory task: blank, eight symbols, signal
ARCHITECTURES = ("rnn", "gru", "lstm", "transformer")


def adding(
    *,
    architecture: str = "lstm",
    length: int = 30,
    dropout: Scalar = 0.0,
    l1: Scalar = 0.0,
    l2: Scalar = 0.0,
    width: int = 32,
    depth: int = 1,
) -> Problem:
    """Makes the adding problem: the sum of the two marked numbers of a sequence, judged by its squared error.

    Predicting 1 has the error 1/6; the problem counts as solved below 0.0015.

    Margin: 5 times below always predicting the mean.

    Args:
        architecture: ``"rnn"`` (tanh), ``"gru"``, ``"lstm"`` or ``"transformer"``.
        length: of a sequence.
        dropout: rate; may be traced.
        l1: strength of the penalty sum |w|; may be traced.
        l2: strength of the penalty sum w^2; may be traced.
        width: units of a cell, features of a transformer.
        depth: layers or blocks.

    Returns:
        The problem.

    Reference:
        Hochreiter and Schmidhuber, "Long short-term memory", 1997, section 5.4.
    """
    problem = regression(
        "adding",
        _reader(architecture, 1, width, depth, dropout),
        data.adding(length=length),
        batch_size=32,
        steps=2000,
        target=0.0015,
        description=f"sum of two marked numbers of {length} by {architecture} of {width}, batch 32",
        stresses="long dependencies: a plateau, then a sudden fall",
        scale="log",
        margin=5.0,
        l1=l1,
        l2=l2,
    )
    return in_chunks(problem)


def copy_memory(
    *,
    architecture: str = "lstm",
    delay: int = 10,
    symbols: int = 5,
    dropout: Scalar = 0.0,
    l1: Scalar = 0.0,
    l2: Scalar = 0.0,
    width: int = 64,
    depth: int = 1,
) -> Problem:
    """Makes the copy-memory task: repeat symbols after a delay, judged by the share of symbols that are right.

    Margin: 0.1 in accuracy above guessing, which has 1/8.

    Args:
        architecture: ``"rnn"`` (tanh), ``"gru"``, ``"lstm"`` or ``"transformer"`` (causal).
        delay: steps between the symbols and the signal to repeat them.
        symbols: how many, from 4 to 20.
        dropout: rate; may be traced.
        l1: strength of the penalty sum |w|; may be traced.
        l2: strength of the penalty sum w^2; may be traced.
        width: units of a cell, features of a transformer.
        depth: layers or blocks.

    Returns:
        The problem.

    Reference:
        Arjovsky, Shah and Bengio, "Unitary evolution recurrent neural networks", 2015,
        https://arxiv.org/abs/1511.06464.
    """
    writer = _writer(architecture, VOCABULARY, width, depth, dropout)
    problem = classification(
        "copy-memory",
        layers.serial(
            writer, lambda logits: logits[..., -symbols:, :], names=("network", "answer"), input_dtype=jnp.int32
        ),
        data.copy_memory(delay=delay, symbols=symbols),
        batch_size=32,
        steps=2000,
        target=0.98,
        description=f"{symbols} symbols repeated after {delay} steps by {architecture} of {width}, batch 32",
        stresses="exact memory",
        margin=0.1,
        l1=l1,
        l2=l2,
    )
    return in_chunks(problem)


def digits_rows(
    *,
    architecture: str = "gru",
    norm: str = "none",
    dropout: Scalar = 0.0,
    loss: str = "cross_entropy",
    label_smoothing: Scalar = 0.0,
    l1: Scalar = 0.0,
    l2: Scalar = 0.0,
    width: int = 32,
    depth: int = 1,
) -> Problem:
    """Makes the classification of 8x8 digits that are read row by row, eight steps of eight pixels.

    Margin: 0.75 in accuracy above the most frequent class.

    Args:
        architecture: ``"rnn"`` (tanh), ``"gru"``, ``"lstm"`` or ``"transformer"``.
        norm: normalization of what was read (of a transformer's blocks).
        dropout: rate; may be traced.
        loss: what is minimised, a name of `CLASSIFICATION_LOSSES`.
        label_smoothing: of the cross-entropy; may be traced.
        l1: strength of the penalty sum |w|; may be traced.
        l2: strength of the penalty sum w^2; may be traced.
        width: units of a cell, features of a transformer.
        depth: layers or blocks.

    Returns:
        The problem.
    """
    reader = _reader(architecture, 10, width, depth, dropout, norm)
    return classification(
        "digits-rows",
        layers.serial(layers.reshape((64,), (8, 8)), reader, names=("rows", "network")),
        data.digits(),
        batch_size=64,
        steps=600,
        target=0.97,
        description=f"digits read row by row by {architecture} of {width}, batch 64",
        stresses="recurrence over a few steps",
        margin=0.75,
        loss=loss,
        label_smoothing=label_smoothing,
        l1=l1,
        l2=l2,
    )


def basic_motions(
    *,
    architecture: str = "gru",
    norm: str = "none",
    dropout: Scalar = 0.0,
    loss: str = "cross_entropy",
    label_smoothing: Scalar = 0.0,
    l1: Scalar = 0.0,
    l2: Scalar = 0.0,
    width: int = 16,
    depth: int = 1,
) -> Problem:
    """Makes the classification of four motions from six sensors, 100 steps; the data come with the package sktime.

    Training and test files have 40 recordings each; all are split together, 40, 20 and 20, anew for each study.

    Margin: 0.4 in cross-entropy below the class prior's.

    Args:
        architecture: ``"rnn"`` (tanh), ``"gru"``, ``"lstm"`` or ``"transformer"``.
        norm: normalization of what was read (of a transformer's blocks).
        dropout: rate; may be traced.
        loss: what is minimised, a name of `CLASSIFICATION_LOSSES`.
        label_smoothing: of the cross-entropy; may be traced.
        l1: strength of the penalty sum |w|; may be traced.
        l2: strength of the penalty sum w^2; may be traced.
        width: units of a cell, features of a transformer.
        depth: layers or blocks.

    Returns:
        The problem.

    Raises:
        UserError: if sktime is not installed.

    Reference:
        Bagnall et al., "The UEA multivariate time series classification archive", 2018,
        https://arxiv.org/abs/1811.00075.
    """
    return _series(
        "basic-motions",
        data.packaged_series("BasicMotions", pooled=True),
        _reader(architecture, 4, width, depth, dropout, norm),
        Objective(loss, label_smoothing, l1, l2),
        architecture=architecture,
        steps=400,
        target=0.5,
        margin=0.4,
    )


def unequal_series(
    *,
    architecture: str = "gru",
    longest: int = 40,
    norm: str = "none",
    dropout: Scalar = 0.0,
    loss: str = "cross_entropy",
    label_smoothing: Scalar = 0.0,
    l1: Scalar = 0.0,
    l2: Scalar = 0.0,
    width: int = 32,
    depth: int = 1,
) -> Problem:
    """Makes the classification of noisy series of 5 to 40 steps by where their pulse stands: early, midway or late.

    The model is told each length. What stands after a series' end is noise with false pulses.

    Margin: 0.3 in accuracy above the most frequent class.

    Args:
        architecture: ``"rnn"`` (tanh), ``"gru"``, ``"lstm"`` or ``"transformer"``.
        longest: steps of the longest series.
        norm: normalization of what was read (of a transformer's blocks).
        dropout: rate; may be traced.
        loss: what is minimised, a name of `CLASSIFICATION_LOSSES`.
        label_smoothing: of the cross-entropy; may be traced.
        l1: strength of the penalty sum |w|; may be traced.
        l2: strength of the penalty sum w^2; may be traced.
        width: units of a cell, features of a transformer.
        depth: layers or blocks.

    Returns:
        The problem.
    """
    problem = classification(
        "unequal-series",
        _reader(architecture, 3, width, depth, dropout, norm),
        data.unequal_series(longest=longest),
        inputs=("inputs", "lengths"),
        batch_size=32,
        steps=1000,
        target=0.9,
        description=f"place of a pulse in 5 to {longest} steps by {architecture} of {width}, batch 32",
        stresses="sequences of unequal lengths",
        margin=0.3,
        loss=loss,
        label_smoothing=label_smoothing,
        l1=l1,
        l2=l2,
    )
    return in_chunks(problem)


def series_file(
    *,
    path: str,
    digest: str = "",
    architecture: str = "gru",
    norm: str = "none",
    dropout: Scalar = 0.0,
    loss: str = "cross_entropy",
    label_smoothing: Scalar = 0.0,
    l1: Scalar = 0.0,
    l2: Scalar = 0.0,
    width: int = 32,
    depth: int = 1,
) -> Problem:
    """Makes the classification of the series in one's own ``.ts`` files of the UCR and UEA archives.

    Args:
        path: a folder ``Name`` with ``Name_TRAIN.ts`` and ``Name_TEST.ts``.
        digest: what the data's digest has to be, or its first digits; empty to accept any.
        architecture: ``"rnn"`` (tanh), ``"gru"``, ``"lstm"`` or ``"transformer"``.
        norm: normalization of what was read (of a transformer's blocks).
        dropout: rate; may be traced.
        loss: what is minimised, a name of `CLASSIFICATION_LOSSES`.
        label_smoothing: of the cross-entropy; may be traced.
        l1: strength of the penalty sum |w|; may be traced.
        l2: strength of the penalty sum w^2; may be traced.
        width: units of a cell, features of a transformer.
        depth: layers or blocks.

    Returns:
        The problem, without a target.

    Raises:
        UserError: for files that cannot be used.
    """
    dataset = data.series(path, digest=digest)
    if dataset.train["targets"].dtype.kind == "f":
        raise UserError(
            f"problem 'series-file': the series of {path} have numbers to predict, no classes; the problem 'data-file' "
            "predicts them"
        )
    return _series(
        "series-file",
        dataset,
        _reader(architecture, class_count(dataset), width, depth, dropout, norm),
        Objective(loss, label_smoothing, l1, l2),
        architecture=architecture,
        steps=600,
        target=None,
        margin=None,
    )


def _series(
    name: str,
    dataset: Dataset,
    model: Layer,
    objective: Objective,
    *,
    architecture: str,
    steps: int,
    target: float | None,
    margin: float | None,
) -> Problem:
    _, time, channels = dataset.train["inputs"].shape
    batch_size = min(10, dataset.examples)
    return classification(
        name,
        model,
        dataset,
        batch_size=batch_size,
        steps=steps,
        target=target,
        description=f"{dataset.name}, {channels} channels of {time} steps, by {architecture}, batch {batch_size}",
        stresses="few and long sequences",
        metric="cross_entropy",
        margin=margin,
        inputs=("inputs", "lengths") if "lengths" in dataset.train else "inputs",
        **objective._asdict(),
    )


def _reader(architecture: str, outputs: int, width: int, depth: int, dropout: Scalar, norm: str = "") -> Layer:
    """A network that answers at the end of a sequence; an empty norm is the architecture's own."""
    _check_architecture(architecture)
    if architecture == "transformer":
        return models.transformer_classifier(
            outputs=outputs, features=width, depth=depth, dropout=dropout, normalization=norm or "layer"
        )
    return models.recurrent_classifier(
        architecture, outputs=outputs, features=width, depth=depth, dropout=dropout, normalization=norm or "none"
    )


def _writer(architecture: str, vocabulary: int, width: int, depth: int, dropout: Scalar) -> Layer:
    """A network that answers at every step."""
    _check_architecture(architecture)
    if architecture == "transformer":
        return models.transformer_language_model(vocabulary=vocabulary, features=width, depth=depth, dropout=dropout)
    return models.recurrent_language_model(
        architecture, vocabulary=vocabulary, features=width, depth=depth, dropout=dropout
    )


def _check_architecture(name: str) -> None:
    if name not in ARCHITECTURES:
        raise UserError(f"no architecture '{name}'; {nearest(name, ARCHITECTURES)}")
