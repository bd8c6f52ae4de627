"""Listwise losses of ranking: the scores of a list's items against how relevant each is.

The items are the last axis, which is reduced; a mask leaves padding out. Computed in at least float32, returned in the
dtype that scores and relevances promote to.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from dlkit.checks import require_floating, require_same_shape
from dlkit.losses.shared import Values, as_real, times, widen
from dlkit.typing import Array, DTypeLike

__all__ = ["list_mle", "list_net"]


def list_net(
    scores: Float[Array, "*batch items"] | Values,
    targets: Float[Array, "*batch items"] | Values,
    *,
    mask: Bool[Array, "*batch items"] | None = None,
) -> Float[Array, "*batch"]:
    """ListNet: the cross-entropy -sum_i softmax(t)_i log softmax(s)_i of relevances t and scores s.

    It compares the chances of each item to stand first. With relevances that are weights already, such as clicks, the
    softmax loss of ranking is `cross_entropy(scores, relevances)`.

    Args:
        scores: s, the greater the better; the items of a list in the last axis.
        targets: relevances t, of the same shape, as log-weights: one more makes an item e times as likely to be first.
        mask: true for items, false for padding, of the same shape; None for no padding.

    Returns:
        One loss per list, in nats; 0 for a list without items.

    Raises:
        ValueError: the shapes differ, or there is no axis.
        TypeError: a dtype is not floating point, or the mask not boolean.

    Reference:
        Cao et al., "Learning to rank: From pairwise approach to listwise approach", ICML 2007.

    Example:
        >>> round(float(list_net(jnp.zeros(2), jnp.array([1.0, 0.0]))), 3)  # log(2)
        0.693
    """
    dtype, scores, targets, mask = _lists("list_net", scores, targets, mask)
    lowest = np.finfo(scores.dtype).min
    log_shares = jax.nn.log_softmax(jnp.where(mask, scores, lowest), axis=-1)
    shares = jnp.where(mask, jax.nn.softmax(jnp.where(mask, targets, lowest), axis=-1), 0.0)
    # -sum_i softmax(t)_i log softmax(s)_i
    return -jnp.sum(times(shares, jnp.where(mask, log_shares, 0.0)), axis=-1).astype(dtype)


def list_mle(
    scores: Float[Array, "*batch items"] | Values,
    targets: Float[Array, "*batch items"] | Values,
    *,
    mask: Bool[Array, "*batch items"] | None = None,
) -> Float[Array, "*batch"]:
    """ListMLE: -log of the probability of the right order, sum_i (log sum_{j not before i} exp(s_j) - s_i).

    The likelihood of Plackett and Luce: items are drawn one after the other, each with the softmax of the scores of
    those that are left. Among items of one relevance, that of the lower index counts as the better one.

    Args:
        scores: s, the greater the better; the items of a list in the last axis.
        targets: relevances, of the same shape; only their order counts, and they have no gradient.
        mask: true for items, false for padding, of the same shape; None for no padding.

    Returns:
        One loss per list, in nats; 0 for a list without items.

    Raises:
        ValueError: the shapes differ, or there is no axis.
        TypeError: a dtype is not floating point, or the mask not boolean.

    Reference:
        Xia et al., "Listwise approach to learning to rank: Theory and algorithm", ICML 2008.

    Example:
        >>> round(float(jnp.exp(-list_mle(jnp.zeros(3), jnp.array([2.0, 3.0, 1.0])))), 3)  # one of 3! orders
        0.167
    """
    dtype, scores, targets, mask = _lists("list_mle", scores, targets, mask)
    # From the worst item to the best, padding first: what is not before an item stands before it here.
    relevance = jnp.where(mask, jax.lax.stop_gradient(targets), -jnp.inf)
    order = jnp.flip(jnp.argsort(-relevance, axis=-1, stable=True), axis=-1)
    within = jnp.take_along_axis(mask, order, axis=-1)
    s = jnp.take_along_axis(scores, order, axis=-1)
    left = jax.lax.cumlogsumexp(jnp.where(within, s, np.finfo(s.dtype).min), axis=s.ndim - 1)
    # sum_i (log sum_{j not before i} exp(s_j) - s_i)
    return jnp.sum(jnp.where(within, left - s, 0.0), axis=-1).astype(dtype)


def _lists(
    where: str, scores: Array | Values, targets: Array | Values, mask: Array | None
) -> tuple[DTypeLike, Array, Array, Array]:
    """The dtype of the losses, scores and relevances in at least float32 with 0 for padding, and the mask."""
    scores, targets = as_real(scores, targets)
    require_floating(where, scores=scores, targets=targets)
    mask = jnp.ones(scores.shape, bool) if mask is None else jnp.asarray(mask)
    if mask.dtype != jnp.bool_:
        raise TypeError(f"{where}: expected a boolean mask, true for items, got {jax.typeof(mask)}")
    require_same_shape(where, scores=scores, targets=targets, mask=mask)
    if scores.ndim == 0:
        raise ValueError(f"{where}: expected scores [*batch, items], got a scalar")
    dtype, (scores, targets) = widen(scores, targets)
    # Replaced beforehand: what is not finite in the padding would make the gradient 0 * inf = NaN.
    return dtype, jnp.where(mask, scores, 0.0), jnp.where(mask, targets, 0.0), mask
