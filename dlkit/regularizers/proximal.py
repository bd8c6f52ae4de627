"""Proximal operators of the penalties, and projections: params -> params, applied after a step of the optimizer.

The proximal operator of a penalty f with the strength s is argmin_v ||v - w||^2 / 2 + s f(v). After a gradient step on
the loss alone with the learning rate h, use s = h times the strength of the penalty. Unlike a gradient, it makes
weights exactly zero. Masks and groups are those of the penalties.
"""

import math
from collections.abc import Sequence

import jax.numpy as jnp

from dlkit.checks import require_number
from dlkit.regularizers.groups import group_norms, group_size
from dlkit.regularizers.masks import Mask, map_leaves
from dlkit.typing import Array, Params, Scalar

__all__ = ["max_norm", "proximal_elastic_net", "proximal_group_lasso", "proximal_l1"]


def proximal_l1(params: Params, *, strength: Scalar, mask: Mask | None = None) -> Params:
    """Proximal operator of `l1`, the soft threshold: sign(w) max(|w| - s, 0).

    Args:
        params: a tree of arrays of floating-point dtypes.
        strength: the threshold s, at least 0, in the unit of the weights; may be traced.
        mask: which leaves are changed; None means `weights_only`.

    Returns:
        Parameters of the same structure, shapes and dtypes.

    Raises:
        ValueError: strength is a negative Python number.
        TypeError: a leaf to change is not floating point; the message names its path.

    Reference:
        Parikh and Boyd, "Proximal algorithms", Foundations and Trends in Optimization 1, 2014, section 6.5.

    Example:
        >>> proximal_l1({"kernel": jnp.array([[2.0, -0.5, -2.0]])}, strength=1.0)
        {'kernel': Array([[ 1.,  0., -1.]], dtype=float32)}
    """
    require_number("proximal_l1", "strength", strength, at_least=0)
    return map_leaves("proximal_l1", lambda leaf: _soft_threshold(leaf, strength), params, mask=mask)


def proximal_elastic_net(
    params: Params, *, strength: Scalar, l1_ratio: Scalar = 0.5, mask: Mask | None = None
) -> Params:
    """Proximal operator of `elastic_net`: sign(w) max(|w| - s r, 0) / (1 + s (1 - r)) with r = l1_ratio.

    Args:
        params: a tree of arrays of floating-point dtypes.
        strength: s, at least 0; may be traced.
        l1_ratio: share of l1, in [0, 1]; may be traced.
        mask: which leaves are changed; None means `weights_only`.

    Returns:
        Parameters of the same structure, shapes and dtypes.

    Raises:
        ValueError: strength is a negative Python number, or l1_ratio one outside [0, 1].
        TypeError: a leaf to change is not floating point; the message names its path.

    Reference:
        Parikh and Boyd, "Proximal algorithms", Foundations and Trends in Optimization 1, 2014, section 6.5.

    Example:
        >>> proximal_elastic_net({"kernel": jnp.array([[4.0, -0.5]])}, strength=2.0, l1_ratio=0.5)
        {'kernel': Array([[1.5, 0. ]], dtype=float32)}
    """
    require_number("proximal_elastic_net", "strength", strength, at_least=0)
    require_number("proximal_elastic_net", "l1_ratio", l1_ratio, at_least=0, at_most=1)

    def shrunk(leaf: Array) -> Array:
        s, ratio = jnp.asarray(strength, leaf.dtype), jnp.asarray(l1_ratio, leaf.dtype)
        # sign(w) max(|w| - s r, 0) / (1 + s (1 - r))
        return _soft_threshold(leaf, s * ratio) / (1.0 + s * (1.0 - ratio))

    return map_leaves("proximal_elastic_net", shrunk, params, mask=mask)


def proximal_group_lasso(
    params: Params,
    *,
    strength: Scalar,
    group_axes: Sequence[int] | None = None,
    size_weighted: bool = True,
    mask: Mask | None = None,
) -> Params:
    """Proximal operator of `group_lasso`, the block soft threshold: w_g max(1 - s sqrt(|g|) / ||w_g||, 0).

    Args:
        params: a tree of arrays of floating-point dtypes.
        strength: s, at least 0, in the unit of the weights; may be traced.
        group_axes: the axes that a group spans; None means all but the last: one group per output unit.
        size_weighted: whether the factor sqrt(|g|) is there.
        mask: which leaves are changed; None means `weights_only`.

    Returns:
        Parameters of the same structure, shapes and dtypes.

    Raises:
        ValueError: strength is a negative Python number, or a leaf to change has no such axes.
        TypeError: a leaf to change is not floating point; the message names its path.

    Reference:
        Parikh and Boyd, "Proximal algorithms", Foundations and Trends in Optimization 1, 2014, section 6.5.

    Example:
        >>> kernel = jnp.array([[3.0, 0.3], [4.0, 0.4]])
        >>> proximal_group_lasso({"kernel": kernel}, strength=2.5, size_weighted=False)
        {'kernel': Array([[1.5, 0. ],
               [2. , 0. ]], dtype=float32)}
    """
    require_number("proximal_group_lasso", "strength", strength, at_least=0)

    def shrunk(leaf: Array) -> Array:
        size = group_size("proximal_group_lasso", leaf, group_axes) if size_weighted else 1
        norms, _ = group_norms("proximal_group_lasso", leaf, group_axes)
        threshold = math.sqrt(size) * jnp.asarray(strength, leaf.dtype)
        kept = norms > threshold
        # w_g max(1 - s sqrt(|g|) / ||w_g||, 0); 1 stands in for the norms that are not divided by.
        return jnp.where(kept, leaf * (1.0 - threshold / jnp.where(kept, norms, 1.0)), 0.0)

    return map_leaves("proximal_group_lasso", shrunk, params, mask=mask)


def max_norm(
    params: Params, *, limit: Scalar, group_axes: Sequence[int] | None = None, mask: Mask | None = None
) -> Params:
    """Project every group of weights onto the ball ||w_g||_2 <= limit: w_g min(1, limit / ||w_g||).

    By default a group is what leads to one output unit. A group inside the ball keeps its bits.

    Args:
        params: a tree of arrays of floating-point dtypes.
        limit: the largest norm, above 0, in the unit of the weights; may be traced.
        group_axes: the axes that a group spans; None means all but the last: one group per output unit.
        mask: which leaves are changed; None means `weights_only`.

    Returns:
        Parameters of the same structure, shapes and dtypes.

    Raises:
        ValueError: limit is a Python number that is not above 0, or a leaf to change has no such axes.
        TypeError: a leaf to change is not floating point; the message names its path.

    Reference:
        Srivastava et al., "Dropout", JMLR 15, 2014, section 5.1, https://jmlr.org/papers/v15/srivastava14a.html.

    Example:
        >>> max_norm({"kernel": jnp.array([[3.0, 0.3], [4.0, 0.4]])}, limit=1.0)
        {'kernel': Array([[0.6, 0.3],
               [0.8, 0.4]], dtype=float32)}
    """
    require_number("max_norm", "limit", limit, above=0)

    def projected(leaf: Array) -> Array:
        radius = jnp.asarray(limit, leaf.dtype)
        norms, directions = group_norms("max_norm", leaf, group_axes)
        # w min(1, c / ||w||)
        return jnp.where(norms > radius, radius * directions, leaf)

    return map_leaves("max_norm", projected, params, mask=mask)


def _soft_threshold(leaf: Array, threshold: Scalar) -> Array:
    """sign(w) max(|w| - s, 0), with a positive zero."""
    s = jnp.asarray(threshold, leaf.dtype)
    return jnp.where(jnp.abs(leaf) > s, leaf - jnp.sign(leaf) * s, 0.0)
