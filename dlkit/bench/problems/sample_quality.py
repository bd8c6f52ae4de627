"""How good generated samples are, compared with held-out examples: distances, modes covered, a discriminator's scores.

All are functions of arrays that work under jit and vmap. Squared MMD and energy distance are unbiased: their mean over
samples is the true distance of the distributions, so that they are around 0, and may be below, for perfect samples.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from dlkit.typing import Array

__all__ = [
    "Gaussian",
    "Kernel",
    "Moments",
    "energy_distance",
    "frechet_distance",
    "good_share",
    "modes_covered",
    "moments_of",
    "ordered_pairs",
    "squared_mmd",
]

Float64 = np.ndarray[Any, np.dtype[np.float64]]

SCALES = (0.25, 0.5, 1.0)  # of the median distance
FAIR_PART = 0.25  # of a mode's equal share of the samples: with fewer it is not covered


class Kernel(NamedTuple):
    """The mean of Gaussian kernels exp(-|x - y|^2 / (2 s^2)) with fixed widths s.

    Attributes:
        widths: each s.
    """

    widths: tuple[float, ...]

    @staticmethod
    def of(examples: np.ndarray[Any, Any], scales: Sequence[float] = SCALES) -> "Kernel":
        """Returns the kernel whose widths are multiples of the median distance between examples (never of samples).

        Args:
            examples: [examples, features]; held-out ones.
            scales: the multiples.
        """
        x = np.asarray(examples, np.float64)
        squares = np.square(x).sum(axis=1)
        distances = np.sqrt(np.maximum(squares[:, None] + squares - 2 * x @ x.T, 0))
        median = np.median(distances[np.triu_indices(len(x), 1)])
        return Kernel(tuple(float(scale * median) for scale in scales))

    def values(self, squared_distances: Float[Array, "..."]) -> Float[Array, "..."]:
        """Returns the kernel of pairs by their squared distances."""
        return jnp.mean(jnp.stack([jnp.exp(-squared_distances / (2 * width**2)) for width in self.widths]), axis=0)


class Gaussian(NamedTuple):
    """A normal distribution fitted to examples.

    Attributes:
        mean: [features].
        covariance: [features, features].
    """

    mean: Float64
    covariance: Float64

    @staticmethod
    def of(examples: np.ndarray[Any, Any]) -> "Gaussian":
        """Returns the fit to examples [examples, features]."""
        x = np.asarray(examples, np.float64)
        return Gaussian(x.mean(axis=0), np.cov(x.T))

    def squared_mmd(self, examples: np.ndarray[Any, Any], kernel: Kernel) -> float:
        """Returns the mean, over samples of this distribution, of `squared_mmd` to examples: in closed form.

            E k(x, y) = |I + C / s^2|^(-1/2) exp(-(y - m)' (C + s^2 I)^(-1) (y - m) / 2),
            E k(x, x') = |I + 2 C / s^2|^(-1/2)

        Args:
            examples: [examples, features].
            kernel: the kernel.
        """
        y = np.asarray(examples, np.float64)
        spread, directions = np.linalg.eigh(self.covariance)
        spread = np.maximum(spread, 0)
        turned = np.square((y - self.mean) @ directions)
        squares = np.square(y[:, None] - y).sum(axis=2)
        total = 0.0
        for width in kernel.widths:
            own = 1 / np.sqrt(np.prod(1 + 2 * spread / width**2))
            across = np.exp(-(turned / (spread + width**2)).sum(axis=1) / 2) / np.sqrt(np.prod(1 + spread / width**2))
            within = np.exp(-squares / (2 * width**2))
            pairs = (within.sum() - len(y)) / (len(y) * (len(y) - 1))
            total += own + pairs - 2 * across.mean()
        return float(total / len(kernel.widths))


class Moments(NamedTuple):
    """Mean [features] and covariance [features, features] of features."""

    mean: Array
    covariance: Array


def squared_mmd(
    samples: Float[Array, "samples features"], examples: Float[Array, "examples features"], kernel: Kernel
) -> Float[Array, ""]:
    """Squared maximum mean discrepancy, unbiased.

        mean k(x, x') + mean k(y, y') - 2 mean k(x, y), the first two over x != x', y != y'

    Args:
        samples: x, at least two.
        examples: y, at least two.
        kernel: k.

    Returns:
        A scalar around 0 for samples of the examples' distribution, else positive in the mean.

    Reference:
        Gretton et al., "A kernel two-sample test", 2012, lemma 6.

    Example:
        >>> x = jnp.array([[0.0], [2.0]])
        >>> round(float(squared_mmd(x, x, Kernel((1.0,)))), 4)  # 2 exp(-2) - (2 + 2 exp(-2)) / 2
        -0.8647
    """
    within = [_mean_of_pairs(kernel.values(_squared_distances(each, each))) for each in (samples, examples)]
    return within[0] + within[1] - 2 * kernel.values(_squared_distances(samples, examples)).mean()


def energy_distance(
    samples: Float[Array, "samples features"], examples: Float[Array, "examples features"]
) -> Float[Array, ""]:
    """Squared energy distance, unbiased: 2 mean |x - y| - mean |x - x'| - mean |y - y'|, over x != x', y != y'.

    Args:
        samples: x, at least two.
        examples: y, at least two.

    Returns:
        A scalar around 0 for samples of the examples' distribution, else positive in the mean.

    Reference:
        Székely and Rizzo, "Energy statistics: a class of statistics based on distances", 2013.

    Example:
        >>> energy_distance(jnp.array([[0.0], [1.0]]), jnp.array([[5.0], [6.0]]))  # 2 * 5 - 1 - 1
        Array(8., dtype=float32)
    """
    across = _distances(samples, examples).mean()
    within = [_mean_of_pairs(_distances(each, each)) for each in (samples, examples)]
    return 2 * across - within[0] - within[1]


def moments_of(features: Float[Array, "examples features"]) -> Moments:
    """Returns mean and covariance, divided by n - 1, of features."""
    mean = features.mean(axis=0)
    centred = features - mean[None]
    return Moments(mean, centred.T @ centred / (len(features) - 1))


def frechet_distance(first: Moments, second: Moments) -> Float[Array, ""]:
    """Squared Fréchet distance of the normal distributions with these moments.

        |m1 - m2|^2 + tr(C1 + C2 - 2 (C1^(1/2) C2 C1^(1/2))^(1/2))

    It is not unbiased: of few samples it is larger than of many.

    Args:
        first: m1 and C1.
        second: m2 and C2.

    Returns:
        A scalar, 0 for equal moments up to rounding.

    Reference:
        Dowson and Landau, "The Fréchet distance between multivariate normal distributions", 1982; Heusel et al., "GANs
        trained by a two time-scale update rule converge to a local Nash equilibrium", 2017.

    Example:
        >>> narrow, wide = Moments(jnp.zeros(2), jnp.eye(2)), Moments(jnp.ones(2), 4 * jnp.eye(2))
        >>> frechet_distance(narrow, wide)  # 2 + 2 (1 - 2)^2
        Array(4., dtype=float32)
    """
    values, directions = jnp.linalg.eigh(first.covariance)
    root = (directions * jnp.sqrt(jnp.maximum(values, 0))[None]) @ directions.T
    inner = root @ second.covariance @ root
    shared = jnp.sqrt(jnp.maximum(jnp.linalg.eigvalsh((inner + inner.T) / 2), 0)).sum()
    traces = jnp.trace(first.covariance) + jnp.trace(second.covariance)
    return jnp.square(first.mean - second.mean).sum() + traces - 2 * shared


def good_share(
    samples: Float[Array, "samples features"], centres: Float[Array, "modes features"], *, radius: float
) -> Float[Array, ""]:
    """Returns the share of samples within `radius` of a centre.

    Example:
        >>> good_share(jnp.array([[0.0], [0.2], [5.0]]), jnp.array([[0.0], [1.0]]), radius=0.25)
        Array(0.6666667, dtype=float32)
    """
    return (_distances(samples, centres).min(axis=1) <= radius).mean(dtype=jnp.float32)


def modes_covered(
    samples: Float[Array, "samples features"], centres: Float[Array, "modes features"], *, radius: float
) -> Float[Array, ""]:
    """Returns how many centres have at least a quarter of an equal share of all samples within `radius`, as a float.

    Example:
        >>> modes_covered(jnp.array([[0.0], [0.1], [5.0]]), jnp.array([[0.0], [1.0]]), radius=0.25)
        Array(1., dtype=float32)
    """
    distances = _distances(samples, centres)
    nearest = (distances == distances.min(axis=1, keepdims=True)) & (distances <= radius)
    return (nearest.mean(axis=0, dtype=jnp.float32) >= FAIR_PART / len(centres)).sum().astype(jnp.float32)


def ordered_pairs(real_scores: Float[Array, " examples"], fake_scores: Float[Array, " samples"]) -> Float[Array, ""]:
    """Returns how often a discriminator scores the real one of a pair higher: 1/2 where it cannot tell.

    It is the accuracy in choosing between one real and one generated example, and the area under the ROC curve. Unlike
    the share of scores on the right side of a threshold, it means the same for logits and for the values of a critic.

    Example:
        >>> ordered_pairs(jnp.array([2.0, 3.0]), jnp.array([1.0, 2.0]))
        Array(0.875, dtype=float32)
    """
    gaps = real_scores[:, None] - fake_scores[None]
    return ((gaps > 0).astype(jnp.float32) + 0.5 * (gaps == 0)).mean()


def _mean_of_pairs(values: Array) -> Array:
    """The mean of a square matrix without its diagonal."""
    count = len(values)
    return (values.sum() - jnp.trace(values)) / (count * (count - 1))


def _squared_distances(x: Array, y: Array) -> Array:
    """[rows of x, rows of y], by products of matrices: shifted to the middle of y, or what is small would be lost."""
    x, y = x - y.mean(axis=0, keepdims=True), y - y.mean(axis=0, keepdims=True)
    squares = jnp.square(x).sum(axis=1)[:, None] + jnp.square(y).sum(axis=1)[None]
    return jnp.maximum(squares - 2 * x @ y.T, 0)


def _distances(x: Array, y: Array) -> Array:
    return jnp.sqrt(_squared_distances(x, y))
