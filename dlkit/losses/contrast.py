"""Contrastive losses of a batch of embeddings: each is told from the others of its batch.

The last axis holds the features, the one before the batch, and axes before that batches that do not see each other.
Computed in at least float32, returned in the dtype that the arguments promote to.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Integer

from dlkit.checks import require_floating, require_number, require_same_shape
from dlkit.losses.shared import Values, as_real, widen
from dlkit.losses.similarity import cosines, require_axes
from dlkit.typing import Array, Scalar

__all__ = ["nt_xent", "supervised_contrastive"]


def nt_xent(
    predictions: Float[Array, "*batch pairs features"] | Values,
    targets: Float[Array, "*batch pairs features"] | Values,
    *,
    temperature: Scalar = 0.5,
) -> Float[Array, "*batch pairs"]:
    """Contrastive loss NT-Xent of SimCLR: -log softmax of a view's cosine to its partner among all other views.

    Two views of each example make 2 n vectors. Each is told from all the others but itself, those of its own side too,
    which `info_nce` leaves out. The two views of a pair share one loss, the mean of theirs, so the mean over the pairs
    is the paper's.

    Args:
        predictions: the first views, normalized here; the pairs in the last axis but one.
        targets: the second views, of the same shape.
        temperature: divides the cosines, above 0; the smaller, the more the nearest negatives count.

    Returns:
        One loss per pair.

    Raises:
        ValueError: the shapes differ, there are fewer than two axes, or temperature is a Python number not above 0.
        TypeError: a dtype is not floating point.

    Reference:
        Chen et al., "A simple framework for contrastive learning of visual representations", 2020,
        https://arxiv.org/abs/2002.05709.

    Example:
        >>> [round(loss, 3) for loss in nt_xent(jnp.eye(2), jnp.eye(2), temperature=1.0).tolist()]  # log(1 + 2 / e)
        [0.551, 0.551]
    """
    predictions, targets = as_real(predictions, targets)
    require_number("nt_xent", "temperature", temperature, above=0)
    require_floating("nt_xent", predictions=predictions, targets=targets)
    require_same_shape("nt_xent", predictions=predictions, targets=targets)
    require_axes("nt_xent", predictions, 2, "predictions [*batch, pairs, features]")
    dtype, (predictions, targets) = widen(predictions, targets)
    pairs = predictions.shape[-2]
    views = jnp.concatenate([predictions, targets], axis=-2)
    log_shares = _log_shares(cosines(views, views) / jnp.asarray(temperature, views.dtype))
    # -log softmax_{j != i}(cos(z_i, z_j) / temperature) of the partner, in both directions
    forth = jnp.diagonal(log_shares[..., :pairs, pairs:], axis1=-2, axis2=-1)
    back = jnp.diagonal(log_shares[..., pairs:, :pairs], axis1=-2, axis2=-1)
    loss: Array = -0.5 * (forth + back)
    return loss.astype(dtype)


def supervised_contrastive(
    predictions: Float[Array, "*batch examples features"] | Values,
    targets: Integer[Array, "*batch examples"] | Values,
    *,
    temperature: Scalar = 0.1,
) -> Float[Array, "*batch examples"]:
    """Supervised contrastive loss: the mean over the others of its class of -log softmax of the cosines to all others.

    The form L_out of the paper. An example whose class has no other in the batch has the loss 0; to leave such out of
    the mean, `masked_mean`. With several views of each example, put them all in the batch, with their labels.

    Args:
        predictions: vectors, normalized here; the examples in the last axis but one.
        targets: class indices, without the last axis; only whether two are equal counts.
        temperature: divides the cosines, above 0; the smaller, the more the nearest negatives count.

    Returns:
        One loss per example.

    Raises:
        ValueError: the shapes do not belong together, or temperature is a Python number not above 0.
        TypeError: the predictions are not floating point, or the targets not integers.

    Reference:
        Khosla et al., "Supervised contrastive learning", 2020, https://arxiv.org/abs/2004.11362.

    Example:
        >>> vectors = jnp.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
        >>> losses = supervised_contrastive(vectors, jnp.array([0, 0, 1]), temperature=1.0)
        >>> [round(loss, 3) for loss in losses.tolist()]  # log(1 + 1 / e), twice
        [0.313, 0.313, 0.0]
    """
    (predictions,) = as_real(predictions)
    targets = jnp.asarray(targets)
    require_number("supervised_contrastive", "temperature", temperature, above=0)
    require_floating("supervised_contrastive", predictions=predictions)
    require_axes("supervised_contrastive", predictions, 2, "predictions [*batch, examples, features]")
    if not jnp.issubdtype(targets.dtype, jnp.integer):
        raise TypeError(f"supervised_contrastive: expected integer class indices, got {jax.typeof(targets)}")
    if targets.shape != predictions.shape[:-1]:
        raise ValueError(
            f"supervised_contrastive: expected class indices of shape {predictions.shape[:-1]}, got "
            f"predictions {jax.typeof(predictions)} and targets {jax.typeof(targets)}"
        )
    dtype, (predictions,) = widen(predictions)
    log_shares = _log_shares(cosines(predictions, predictions) / jnp.asarray(temperature, predictions.dtype))
    same = jnp.expand_dims(targets, -1) == jnp.expand_dims(targets, -2)
    positive = same & ~_diagonal(targets.shape[-1], targets.ndim + 1)
    count = positive.sum(axis=-1).astype(predictions.dtype)
    # -1 / |P(i)| sum_{p in P(i)} log softmax_{a != i}(cos(z_i, z_a) / temperature)_p
    total = jnp.sum(jnp.where(positive, log_shares, 0.0), axis=-1)
    return jnp.where(count == 0, 0.0, -total / jnp.maximum(count, 1.0)).astype(dtype)


def _diagonal(size: int, ndim: int) -> Array:
    """True where an example meets itself: `[1, ..., size, size]`."""
    return jnp.eye(size, dtype=bool).reshape((1,) * (ndim - 2) + (size, size))


def _log_shares(logits: Array) -> Array:
    """Log softmax over all but the example itself, `[*batch, n, n]`; 0 for itself."""
    itself = _diagonal(logits.shape[-1], logits.ndim)
    # The lowest number instead of -inf: alone in its batch, an example would have the logarithm of 0.
    others = jnp.where(itself, np.finfo(logits.dtype).min, logits)
    return jnp.where(itself, 0.0, jax.nn.log_softmax(others, axis=-1))
