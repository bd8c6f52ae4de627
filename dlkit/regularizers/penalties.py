"""Penalties: params -> scalar, weighed by `strength=` and added to the mean loss.

They skip biases and normalization parameters unless told otherwise: `weights_only` is that rule, and `mask=` takes
another one. The value has the dtype that the penalized leaves promote to, and is computed in at least float32.
"""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Float

from dlkit.checks import require_number
from dlkit.regularizers.groups import group_norms, group_size
from dlkit.regularizers.masks import Mask, Weights, sum_leaves
from dlkit.typing import Array, Scalar

__all__ = ["elastic_net", "group_lasso", "l1", "l2", "orthogonality"]


def l1(params: Weights, *, strength: Scalar = 1.0, mask: Mask | None = None) -> Float[Array, ""]:
    """Sum of magnitudes over the penalized parameters: sum_i |w_i|. The gradient at 0 is 0.

    Gradient steps make weights small, not zero; `proximal_l1` makes them exactly zero.

    Args:
        params: a tree of arrays of floating-point dtypes.
        strength: factor of the penalty, at least 0; may be traced.
        mask: which leaves are penalized; None means `weights_only`.

    Returns:
        A scalar; 0 without any penalized leaf.

    Raises:
        ValueError: strength is a negative Python number.
        TypeError: a penalized leaf is not floating point; the message names its path.

    Reference:
        Tibshirani, "Regression shrinkage and selection via the lasso", JRSS B 58, 1996.

    Example:
        >>> l1({"kernel": jnp.array([[1.0, -2.0]]), "bias": jnp.array([100.0, 100.0])})
        Array(3., dtype=float32)
    """
    # sum_i |w_i|
    return sum_leaves("l1", lambda leaf: jnp.sum(_magnitudes(leaf)), params, strength=strength, mask=mask)


def l2(params: Weights, *, strength: Scalar = 1.0, mask: Mask | None = None) -> Float[Array, ""]:
    """Sum of squares over the penalized parameters: sum_i w_i^2, without a factor 1/2.

    With the strength c, the gradient is 2 c w: under plain SGD this is weight decay of 2 c times the learning rate.

    Args:
        params: a tree of arrays of floating-point dtypes.
        strength: factor of the penalty, at least 0; may be traced.
        mask: which leaves are penalized; None means `weights_only`.

    Returns:
        A scalar; 0 without any penalized leaf.

    Raises:
        ValueError: strength is a negative Python number.
        TypeError: a penalized leaf is not floating point; the message names its path.

    Example:
        >>> params = {"kernel": jnp.array([[1.0, 2.0]]), "bias": jnp.array([100.0, 100.0])}
        >>> l2(params)
        Array(5., dtype=float32)
        >>> l2(params, mask=lambda path, leaf: path[-1] == "bias")
        Array(20000., dtype=float32)
    """
    # sum_i w_i^2
    return sum_leaves("l2", lambda leaf: jnp.sum(jnp.square(leaf)), params, strength=strength, mask=mask)


def elastic_net(
    params: Weights, *, strength: Scalar = 1.0, l1_ratio: Scalar = 0.5, mask: Mask | None = None
) -> Float[Array, ""]:
    """Mixture of l1 and l2: sum_i (r |w_i| + (1 - r) / 2 w_i^2) with r = l1_ratio.

    This is scikit-learn's ElasticNet: there, `alpha` is the strength. At r = 1 it is `l1`, at r = 0 **half** of `l2`.

    Args:
        params: a tree of arrays of floating-point dtypes.
        strength: factor of the penalty, at least 0; may be traced.
        l1_ratio: share of l1, in [0, 1]; may be traced.
        mask: which leaves are penalized; None means `weights_only`.

    Returns:
        A scalar; 0 without any penalized leaf.

    Raises:
        ValueError: strength is a negative Python number, or l1_ratio one outside [0, 1].
        TypeError: a penalized leaf is not floating point; the message names its path.

    Reference:
        Zou and Hastie, "Regularization and variable selection via the elastic net", JRSS B 67, 2005.

    Example:
        >>> elastic_net({"kernel": jnp.array([[1.0, -2.0]])}, l1_ratio=0.5)  # 0.5 * 3 + 0.25 * 5
        Array(2.75, dtype=float32)
    """
    require_number("elastic_net", "l1_ratio", l1_ratio, at_least=0, at_most=1)

    def penalty(leaf: Array) -> Array:
        ratio = jnp.asarray(l1_ratio, leaf.dtype)
        # r |w| + (1 - r) / 2 w^2; the factor goes before the square, which may overflow where the factor is 0.
        return jnp.sum(ratio * _magnitudes(leaf) + (0.5 * (1.0 - ratio) * leaf) * leaf)

    return sum_leaves("elastic_net", penalty, params, strength=strength, mask=mask)


def group_lasso(
    params: Weights,
    *,
    strength: Scalar = 1.0,
    group_axes: Sequence[int] | None = None,
    size_weighted: bool = True,
    mask: Mask | None = None,
) -> Float[Array, ""]:
    """Sum over groups of their norms: sum_g sqrt(|g|) ||w_g||_2. The gradient at a group of zeros is 0.

    By default a group is what leads to one output unit: the columns of a dense kernel `[in, out]`, the filters of a
    convolution `[height, width, in, out]`. `group_axes=(-1,)` makes a group of what one input feeds. Gradient steps
    make groups small, not zero; `proximal_group_lasso` makes them exactly zero.

    Args:
        params: a tree of arrays of floating-point dtypes.
        strength: factor of the penalty, at least 0; may be traced.
        group_axes: the axes that a group spans, in every penalized leaf; None means all but the last.
        size_weighted: whether the factor sqrt(|g|) is there, which makes groups of different sizes comparable.
        mask: which leaves are penalized; None means `weights_only`.

    Returns:
        A scalar; 0 without any penalized leaf.

    Raises:
        ValueError: strength is a negative Python number; or a penalized leaf has no such axes.
        TypeError: a penalized leaf is not floating point; the message names its path.

    Reference:
        Yuan and Lin, "Model selection and estimation in regression with grouped variables", JRSS B 68, 2006.
        Scardapane et al., "Group sparse regularization for deep neural networks", 2016,
        https://arxiv.org/abs/1607.00485.

    Example:
        >>> group_lasso({"kernel": jnp.array([[3.0, 0.0], [4.0, 0.0]])}, size_weighted=False)
        Array(5., dtype=float32)
    """

    def penalty(leaf: Array) -> Array:
        size = group_size("group_lasso", leaf, group_axes) if size_weighted else 1
        norms, _ = group_norms("group_lasso", leaf, group_axes)
        # sum_g sqrt(|g|) ||w_g||
        return math.sqrt(size) * jnp.sum(norms)

    return sum_leaves("group_lasso", penalty, params, strength=strength, mask=mask)


def orthogonality(params: Weights, *, strength: Scalar = 1.0, mask: Mask | None = None) -> Float[Array, ""]:
    """Soft orthogonality: ||W^T W - I||_F^2 for every kernel W, reshaped to `[fan_in, out]`.

    It is 0 where the columns are orthonormal. A kernel with more columns than rows cannot have that: for it, the rows
    are made orthonormal, ||W W^T - I||_F^2. (The two differ by the constant out - fan_in, so their gradients are equal;
    the smaller of the two matrices is also the cheaper one.)

    Args:
        params: a tree of arrays of floating-point dtypes.
        strength: factor of the penalty, at least 0; may be traced.
        mask: which leaves are penalized; None means `weights_only`.

    Returns:
        A scalar; 0 without any penalized leaf.

    Raises:
        ValueError: strength is a negative Python number; or a penalized leaf has less than two axes.
        TypeError: a penalized leaf is not floating point; the message names its path.

    Reference:
        Bansal, Chen and Wang, "Can we gain more from orthogonality regularizations in training deep CNNs?", 2018,
        https://arxiv.org/abs/1810.09102.

    Example:
        >>> orthogonality({"kernel": jnp.array([[1.0, 0.0], [0.0, 2.0]])})
        Array(9., dtype=float32)
    """

    def penalty(leaf: Array) -> Array:
        if leaf.ndim < 2:
            raise ValueError(
                f"orthogonality: expected kernels of at least two axes, got {jax.typeof(leaf)}; pass another mask="
            )
        kernel = leaf.reshape(-1, leaf.shape[-1])
        left, right = (kernel.T, kernel) if kernel.shape[0] >= kernel.shape[1] else (kernel, kernel.T)
        # The difference cancels near the optimum, so the product must not be rounded to an accelerator's short format.
        gram = jnp.matmul(left, right, precision=jax.lax.Precision.HIGHEST)
        # ||W^T W - I||_F^2
        return jnp.sum(jnp.square(gram - jnp.eye(gram.shape[0], dtype=gram.dtype)))

    return sum_leaves("orthogonality", penalty, params, strength=strength, mask=mask)


def _magnitudes(leaf: Array) -> Array:
    """|w| with the gradient sign(w), which is 0 at 0; that of `jnp.abs` is 1 there."""
    return leaf * jnp.sign(leaf)
