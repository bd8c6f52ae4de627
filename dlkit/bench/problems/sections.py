"""What several problems of the catalogue need: penalties of the weights, a classifier's objective, empty datasets."""

from typing import NamedTuple

import jax.numpy as jnp

from dlkit import regularizers
from dlkit.bench.data.base import SPLITS, Dataset
from dlkit.checks import known_zero
from dlkit.typing import Array, Params, Scalar

__all__ = ["Objective", "class_count", "no_data", "penalized"]


class Objective(NamedTuple):
    """What a classifier minimises: the arguments of `classification` that every classifier leaves to the user.

    Attributes:
        loss: a name of `CLASSIFICATION_LOSSES`.
        label_smoothing: of the cross-entropy.
        l1: strength of the penalty sum |w|.
        l2: strength of the penalty sum w^2.
    """

    loss: str
    label_smoothing: Scalar
    l1: Scalar
    l2: Scalar


def penalized(value: Array, params: Params, *, l1: Scalar, l2: Scalar) -> Array:
    """Adds l1 * sum |w| + l2 * sum w^2 over the weights (not biases, not normalizations) to a loss.

    Args:
        value: the loss.
        params: the parameters.
        l1: strength of the sum of magnitudes; may be traced.
        l2: strength of the sum of squares, without a factor 1/2; may be traced.

    Returns:
        The penalized loss; `value` itself where both strengths are the number 0.
    """
    for strength, penalty in ((l1, regularizers.l1), (l2, regularizers.l2)):
        if not known_zero(strength):
            value = value + jnp.asarray(strength, value.dtype) * penalty(params)
    return value


def class_count(dataset: Dataset) -> int:
    """Returns how many classes the integer ``"targets"`` of a dataset's splits have: one more than the largest."""
    return 1 + max(int(getattr(dataset, name)["targets"].max()) for name in SPLITS)


def no_data(source: str = "") -> Dataset:
    """Returns the dataset of a problem without data.

    Args:
        source: what tables and manifests say in place of a source.
    """
    return Dataset("none", {}, {}, {}, source=source)
