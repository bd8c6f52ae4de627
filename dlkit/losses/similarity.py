"""Losses of embeddings, from distances and angles between vectors in the last axis.

Lengths are taken without overflow, and a zero vector has the gradient 0. Computed in at least float32, returned in the
dtype that the arguments promote to.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Float

from dlkit.checks import require_floating, require_number, require_same_shape
from dlkit.losses.shared import Values, as_real, norm, unit_vectors, widen
from dlkit.typing import Array, Scalar

__all__ = ["cosine_distance", "cosines", "info_nce", "require_axes", "triplet"]


def cosine_distance(
    predictions: Float[Array, "*batch features"] | Values, targets: Float[Array, "*batch features"] | Values
) -> Float[Array, "*batch"]:
    """Cosine distance: 1 - p . t / (|p| |t|), from 0 (same direction) over 1 (orthogonal) to 2 (opposite).

    A zero vector is orthogonal to everything: the distance is 1 and its gradient 0.

    Args:
        predictions: vectors, the features in the last axis.
        targets: vectors of the same shape.

    Returns:
        One distance per pair.

    Raises:
        ValueError: the shapes differ, or there is no axis.
        TypeError: a dtype is not floating point.

    Example:
        >>> cosine_distance(jnp.array([[1e30, 0.0], [1.0, 0.0]]), jnp.array([[0.0, 2.0], [-2.0, 0.0]]))
        Array([1., 2.], dtype=float32)
    """
    predictions, targets = as_real(predictions, targets)
    require_floating("cosine_distance", predictions=predictions, targets=targets)
    require_same_shape("cosine_distance", predictions=predictions, targets=targets)
    require_axes("cosine_distance", predictions, 1, "predictions [*batch, features]")
    dtype, (predictions, targets) = widen(predictions, targets)
    first, first_zero = unit_vectors(predictions)
    second, second_zero = unit_vectors(targets)
    # 1 - u . v = |u - v|^2 / 2 for unit vectors, without the cancellation of 1 - 1 for nearly parallel ones
    distances = 0.5 * jnp.sum(jnp.square(first - second), axis=-1)
    return jnp.where(first_zero | second_zero, 1.0, distances).astype(dtype)


def triplet(
    anchor: Float[Array, "*batch features"] | Values,
    positive: Float[Array, "*batch features"] | Values,
    negative: Float[Array, "*batch features"] | Values,
    *,
    margin: Scalar = 1.0,
) -> Float[Array, "*batch"]:
    """Triplet loss: max(0, |a - p| - |a - n| + margin) with Euclidean distances (not their squares).

    The gradient of a distance of 0, and that at the kink, is 0.

    Args:
        anchor: vectors a, the features in the last axis.
        positive: vectors p of the same shape, to be near the anchors.
        negative: vectors n of the same shape, to be farther by the margin.
        margin: the difference of distances from which on the loss is 0, at least 0.

    Returns:
        One loss per triplet.

    Raises:
        ValueError: the shapes differ, there is no axis, or margin is a Python number below 0.
        TypeError: a dtype is not floating point.

    Reference:
        Balntas et al., "Learning local feature descriptors with triplets and shallow convolutional neural networks",
        BMVC 2016.

    Example:
        >>> triplet(jnp.array([0.0, 0.0]), jnp.array([3.0, 4.0]), jnp.array([0.0, 5.5]), margin=1.0)
        Array(0.5, dtype=float32)
    """
    anchor, positive, negative = as_real(anchor, positive, negative)
    require_number("triplet", "margin", margin, at_least=0)
    require_floating("triplet", anchor=anchor, positive=positive, negative=negative)
    require_same_shape("triplet", anchor=anchor, positive=positive, negative=negative)
    require_axes("triplet", anchor, 1, "anchor [*batch, features]")
    dtype, (anchor, positive, negative) = widen(anchor, positive, negative)
    # max(0, |a - p| - |a - n| + margin)
    difference = norm(anchor - positive) - norm(anchor - negative)
    return jax.nn.relu(difference + jnp.asarray(margin, anchor.dtype)).astype(dtype)


def info_nce(
    queries: Float[Array, "*batch pairs features"] | Values,
    keys: Float[Array, "*batch pairs features"] | Values,
    *,
    temperature: Scalar = 0.07,
) -> Float[Array, "*batch pairs"]:
    """Contrastive loss InfoNCE: -log softmax_j(cos(q_i, k_j) / temperature)_i, with the other keys as negatives.

    Query i belongs to key i; the keys of all the other pairs are what it must be told from. So its
    values depend on the other examples: the last axis but one is the batch, and axes before it hold batches that do not
    see each other. The symmetric loss of CLIP is the mean of `info_nce(q, k)` and `info_nce(k, q)`.

    Args:
        queries: vectors q, normalized here; the pairs in the last axis but one.
        keys: vectors k of the same shape.
        temperature: divides the cosines, above 0; the smaller, the more the nearest negatives count.

    Returns:
        One loss per query.

    Raises:
        ValueError: the shapes differ, there are fewer than two axes, or temperature is a Python number not above 0.
        TypeError: a dtype is not floating point.

    Reference:
        van den Oord, Li and Vinyals, "Representation learning with contrastive predictive coding", 2018,
        https://arxiv.org/abs/1807.03748; cosines and the default temperature as in He et al., "Momentum contrast",
        2019, https://arxiv.org/abs/1911.05722.

    Example:
        >>> [round(loss, 3) for loss in info_nce(jnp.eye(3), jnp.eye(3), temperature=1.0).tolist()]  # log(1 + 2 / e)
        [0.551, 0.551, 0.551]
    """
    queries, keys = as_real(queries, keys)
    require_number("info_nce", "temperature", temperature, above=0)
    require_floating("info_nce", queries=queries, keys=keys)
    require_same_shape("info_nce", queries=queries, keys=keys)
    require_axes("info_nce", queries, 2, "queries [*batch, pairs, features]")
    dtype, (queries, keys) = widen(queries, keys)
    logits = cosines(queries, keys) / jnp.asarray(temperature, queries.dtype)
    # -log softmax_j(cos(q_i, k_j) / temperature)_i
    losses: Array = -jnp.diagonal(jax.nn.log_softmax(logits, axis=-1), axis1=-2, axis2=-1)
    return losses.astype(dtype)


def cosines(first: Array, second: Array) -> Array:
    """The cosines of all pairs: `[*batch, n, features]` and `[*batch, m, features]` to `[*batch, n, m]`.

    Example:
        >>> cosines(jnp.eye(2), jnp.array([[3.0, 0.0]])).tolist()
        [[1.0], [0.0]]
    """
    (first, _), (second, _) = unit_vectors(first), unit_vectors(second)
    # Full precision: an accelerator would round the cosines to three digits, and a temperature magnify the error.
    return jnp.einsum("...if,...jf->...ij", first, second, precision=jax.lax.Precision.HIGHEST)


def require_axes(where: str, x: Array, count: int, expected: str) -> None:
    """Refuse arrays with fewer axes.

    Example:
        >>> require_axes("info_nce", jnp.ones(3), 2, "queries [*batch, pairs, features]")
        Traceback (most recent call last):
            ...
        ValueError: info_nce: expected queries [*batch, pairs, features], got float32[3]
    """
    if x.ndim < count:
        raise ValueError(f"{where}: expected {expected}, got {jax.typeof(x)}")
