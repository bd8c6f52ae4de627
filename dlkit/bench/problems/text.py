"""Language models that predict the next character of a text: an LSTM and a transformer."""

import math
from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np

from dlkit import losses, models
from dlkit.bench import data
from dlkit.bench.data import Dataset
from dlkit.bench.plan.metric import Metric
from dlkit.bench.problems.base import Batch, Problem
from dlkit.bench.problems.evaluation import in_chunks
from dlkit.bench.problems.fitting import functions_of
from dlkit.layers import Layer
from dlkit.typing import Array, Scalar

__all__ = ["language_model", "text_lstm", "text_transformer"]

BITS = 1 / math.log(2)  # of a nat


def text_lstm(
    *,
    path: str = "",
    digest: str = "",
    length: int = 48,
    dropout: Scalar = 0.0,
    l1: Scalar = 0.0,
    l2: Scalar = 0.0,
    width: int = 64,
    depth: int = 1,
) -> Problem:
    """Makes the prediction of the next character by an LSTM, on Python's own help texts or on any text file.

    Metric: ``bits_per_character``. The help texts differ between versions of Python, and so do the results.

    Margin: 0.5 bits per character below the unigram entropy.

    Args:
        path: a text file, UTF-8; empty for Python's help texts (`pydoc_data.topics`).
        digest: what the data's digest has to be, or its first digits; empty to accept any.
        length: characters of a sequence; each starts without memory.
        dropout: rate; may be traced.
        l1: strength of the penalty sum |w|; may be traced.
        l2: strength of the penalty sum w^2; may be traced.
        width: units.
        depth: layers.

    Returns:
        The problem.

    Raises:
        UserError: for a file that cannot be used.
    """
    dataset = _text(path, digest, length)
    problem = language_model(
        "text-lstm",
        dataset,
        models.recurrent_language_model(
            "lstm", vocabulary=_vocabulary(dataset), features=width, depth=depth, dropout=dropout
        ),
        target=None if path else 2.7,
        description=f"LSTM of {width} units on the characters of {dataset.source}, batch 16",
        stresses="sparse embeddings and a long tail of characters",
        margin=0.5,
        l1=l1,
        l2=l2,
    )
    return in_chunks(problem)


def text_transformer(
    *,
    path: str = "",
    digest: str = "",
    length: int = 48,
    activation: str = "gelu",
    norm: str = "layer",
    dropout: Scalar = 0.0,
    l1: Scalar = 0.0,
    l2: Scalar = 0.0,
    width: int = 64,
    depth: int = 2,
) -> Problem:
    """Makes the prediction of the next character by a transformer, on Python's own help texts or on any text file.

    Metric: ``bits_per_character``. The help texts differ between versions of Python, and so do the results.

    Margin: 0.5 bits per character below the unigram entropy.

    Args:
        path: a text file, UTF-8; empty for Python's help texts (`pydoc_data.topics`).
        digest: what the data's digest has to be, or its first digits; empty to accept any.
        length: characters of a sequence.
        activation: of the blocks.
        norm: normalization of the blocks.
        dropout: rate; may be traced.
        l1: strength of the penalty sum |w|; may be traced.
        l2: strength of the penalty sum w^2; may be traced.
        width: features, a multiple of 4, the number of heads.
        depth: blocks.

    Returns:
        The problem.

    Raises:
        UserError: for a file that cannot be used.
    """
    dataset = _text(path, digest, length)
    problem = language_model(
        "text-transformer",
        dataset,
        models.transformer_language_model(
            vocabulary=_vocabulary(dataset),
            features=width,
            depth=depth,
            activation=activation,
            normalization=norm,
            dropout=dropout,
        ),
        target=None if path else 2.7,
        description=f"transformer of {depth} blocks, {width} features, on the characters of {dataset.source}, batch 16",
        stresses="attention with heavy-tailed classes, where SGD falls behind Adam",
        margin=0.5,
        l1=l1,
        l2=l2,
    )
    return in_chunks(problem)


def _text(path: str, digest: str, length: int) -> Dataset:
    if path:
        return data.characters(path, length=length, digest=digest)
    return data.require_digest(data.python_topics(length=length), digest)


def _vocabulary(dataset: Dataset) -> int:
    return int(dataset.train["inputs"].max()) + 1


def language_model(
    name: str,
    dataset: Dataset,
    model: Layer,
    *,
    target: float | None,
    description: str,
    stresses: str = "",
    batch_size: int = 16,
    steps: int = 1000,
    margin: float | None = None,
    l1: Scalar,
    l2: Scalar,
) -> Problem:
    """Makes the problem of predicting the next character of ``"inputs"`` [sequences, length], ``"targets"``.

    Args:
        name: the problem's name.
        dataset: of character ids.
        model: maps [batch, length] ids to [batch, length, characters] logits.
        target: bits per character on validation that steps to target count to.
        description: a line for lists.
        stresses: what is hard about it, in a line.
        batch_size: sequences a step, or fewer where there are fewer.
        steps: default budget.
        margin: by how much a tuned first-order optimizer beats the trivial score.
        l1: strength of the penalty sum |w|; may be traced.
        l2: strength of the penalty sum w^2; may be traced.

    Returns:
        The problem, judged by ``bits_per_character``.
    """

    def cross_entropy(logits: Array, batch: Batch) -> Array:
        return losses.cross_entropy(logits, batch["targets"])

    functions = functions_of(
        model,
        dataset,
        cross_entropy,
        {"bits_per_character": lambda logits, batch: cross_entropy(logits, batch) * jnp.float32(BITS)},
        batch_size=min(batch_size, dataset.examples),
        l1=l1,
        l2=l2,
    )
    return Problem(
        name=name,
        init=functions.init,
        loss=functions.loss,
        example_scores=functions.example_scores,
        reestimate=functions.reestimate,
        dataset=dataset,
        metrics={"bits_per_character": Metric("lower", label="bits per character", least=0.0)},
        batch_size=min(batch_size, dataset.examples),
        steps=steps,
        target=target,
        description=description,
        stresses=stresses,
        trivial=_unigram_bits(dataset.train, dataset.validation),
        margin=margin,
    )


def _unigram_bits(train: Mapping[str, np.ndarray], validation: Mapping[str, np.ndarray]) -> float:
    """Bits per character of validation under the training part's frequencies; what it lacks counts as seen once."""
    counts = np.maximum(np.bincount(train["targets"].ravel()), 1)
    return float(-np.log2(counts / counts.sum())[validation["targets"].ravel()].mean())
