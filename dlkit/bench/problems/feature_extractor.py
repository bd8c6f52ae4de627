"""A small frozen classifier: the features of its hidden layer tell how close generated images are to real ones."""

from functools import cache
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from dlkit.bench.data.base import Dataset
from dlkit.typing import Array

__all__ = ["Classifier", "trained_classifier"]

Float64 = np.ndarray[Any, np.dtype[np.float64]]

STEPS = 300
RATE = 0.02
FIRST_DECAY, SECOND_DECAY, EPSILON = 0.9, 0.99, 1e-8
GRID = 2.0**-10  # weights are rounded to multiples of it: what differs between machines in the last digits is gone


class Classifier(NamedTuple):
    """softmax(tanh(x V + a) W + b).

    Attributes:
        hidden: V [features, units].
        hidden_bias: a [units].
        output: W [units, classes].
        output_bias: b [classes].
    """

    hidden: np.ndarray[Any, Any]
    hidden_bias: np.ndarray[Any, Any]
    output: np.ndarray[Any, Any]
    output_bias: np.ndarray[Any, Any]

    def features(self, inputs: Float[Array, "examples inputs"]) -> Float[Array, "examples units"]:
        """Returns the hidden layer's values."""
        return jnp.tanh(inputs @ self.hidden + self.hidden_bias[None])

    def logits(self, inputs: Float[Array, "examples inputs"]) -> Float[Array, "examples classes"]:
        """Returns the logits of the classes."""
        return self.features(inputs) @ self.output + self.output_bias[None]


def trained_classifier(dataset: Dataset, *, units: int = 24) -> Classifier:
    """Returns a classifier trained on a dataset's training split, the same in every process.

    Adam on all examples at once, in float64 and in NumPy: nothing is compiled, nothing random is left.

    Args:
        dataset: has ``"inputs"`` [examples, features] and integer ``"targets"``.
        units: of the hidden layer.

    Returns:
        The classifier, in float32.
    """
    if (dataset.digest, units) not in _known():
        _known()[dataset.digest, units] = _trained(dataset, units)
    return _known()[dataset.digest, units]


@cache
def _known() -> dict[tuple[str, int], Classifier]:
    """The classifiers of this process, by the digest of their data and their size."""
    return {}


def _trained(dataset: Dataset, units: int) -> Classifier:
    inputs, targets = np.asarray(dataset.train["inputs"], np.float64), dataset.train["targets"]
    truth = np.eye(int(targets.max()) + 1)[targets]
    rng = np.random.Generator(np.random.Philox(key=6))
    sizes = (inputs.shape[1], units, truth.shape[1])
    weights = [
        rng.standard_normal((sizes[0], units)) / np.sqrt(sizes[0]),
        np.zeros(units),
        rng.standard_normal((units, sizes[2])) / np.sqrt(units),
        np.zeros(sizes[2]),
    ]
    first, second = ([np.zeros_like(weight) for weight in weights] for _ in range(2))
    for step in range(1, STEPS + 1):
        for place, gradient in enumerate(_gradients(weights, inputs, truth)):
            first[place] = FIRST_DECAY * first[place] + (1 - FIRST_DECAY) * gradient
            second[place] = SECOND_DECAY * second[place] + (1 - SECOND_DECAY) * gradient**2
            scale = np.sqrt(second[place] / (1 - SECOND_DECAY**step)) + EPSILON
            weights[place] = weights[place] - RATE * first[place] / (1 - FIRST_DECAY**step) / scale
    return Classifier(*((np.round(weight / GRID) * GRID).astype(np.float32) for weight in weights))


def _gradients(weights: list[Float64], inputs: Float64, truth: Float64) -> list[Float64]:
    """Of the mean cross-entropy."""
    hidden = np.tanh(inputs @ weights[0] + weights[1])
    logits = hidden @ weights[2] + weights[3]
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    wrong = (shares / shares.sum(axis=1, keepdims=True) - truth) / len(inputs)
    back = (wrong @ weights[2].T) * (1 - hidden**2)
    return [inputs.T @ back, back.sum(axis=0), hidden.T @ wrong, wrong.sum(axis=0)]
