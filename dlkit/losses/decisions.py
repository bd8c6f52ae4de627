"""Losses of yes-or-no decisions, from unnormalized scores: one logit or one signed distance for each.

Computed in at least float32, returned in the dtype that scores and targets promote to.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from dlkit.checks import require_floating, require_number, require_same_shape
from dlkit.losses.shared import Values, as_real, require_values, times, widen
from dlkit.typing import Array, Scalar

__all__ = ["binary_cross_entropy", "dice", "focal", "hinge", "soft_dice", "squared_hinge"]

_ROUNDING = 1e-5  # by which probabilities that were mixed in float32 may leave [0, 1]
_FAR = 60.0  # logits beyond which a right decision has a loss of less than e^-60


def binary_cross_entropy(
    logits: Float[Array, "*shape"] | Values, targets: Float[Array, "*shape"] | Values, *, positive_weight: Scalar = 1.0
) -> Float[Array, "*shape"]:
    """Cross-entropy in nats between targets and sigmoid(logits): -w t log sigmoid(x) - (1 - t) log sigmoid(-x).

    Args:
        logits: log-odds of the positive class, any shape; every element is a decision of its own.
        targets: probabilities of the positive class, in [0, 1], of the same shape.
        positive_weight: the factor w of the positive class; negatives per positive balances the two.

    Returns:
        One loss per element.

    Raises:
        ValueError: the shapes differ, a target is outside [0, 1] (not seen inside `jit`), or positive_weight is a
            Python number below 0.
        TypeError: a dtype is not floating point.

    Example:
        >>> binary_cross_entropy(jnp.array([1e4, -1e4]), jnp.array([1.0, 1.0]))
        Array([    0., 10000.], dtype=float32)
    """
    logits, targets = as_real(logits, targets)
    require_number("binary_cross_entropy", "positive_weight", positive_weight, at_least=0)
    _check_decisions("binary_cross_entropy", logits, targets)
    dtype, (logits, targets) = widen(logits, targets)
    positive_weight = jnp.asarray(positive_weight, logits.dtype)
    # w t softplus(-x) + (1 - t) softplus(x), as -log sigmoid(x) = softplus(-x)
    losses = times(positive_weight * targets, jax.nn.softplus(-logits)) + times(1.0 - targets, jax.nn.softplus(logits))
    return losses.astype(dtype)


def focal(
    logits: Float[Array, "*shape"] | Values,
    targets: Float[Array, "*shape"] | Values,
    *,
    gamma: Scalar = 2.0,
    alpha: Scalar | None = None,
) -> Float[Array, "*shape"]:
    """Focal loss: the binary cross-entropy times q^gamma, where q is the probability given to the wrong class.

    With p = sigmoid(x), q = (1 - t) p + t (1 - p): decisions that are right already hardly count. With alpha, positives
    are also weighted by alpha and negatives by 1 - alpha.

    Args:
        logits: log-odds of the positive class, any shape; every element is a decision of its own.
        targets: probabilities of the positive class, in [0, 1], of the same shape.
        gamma: exponent, at least 0; 0 gives the cross-entropy.
        alpha: weight of the positive class, in [0, 1] (the paper's best is 0.25 with gamma 2); None weights nothing.

    Returns:
        One loss per element.

    Raises:
        ValueError: the shapes differ, a target is outside [0, 1] (not seen inside `jit`), or gamma or alpha is a
            Python number out of its range.
        TypeError: a dtype is not floating point.

    Reference:
        Lin et al., "Focal loss for dense object detection", 2017, https://arxiv.org/abs/1708.02002.

    Example:
        >>> losses = focal(jnp.array([0.0, 1e4, -1e4]), jnp.array([1.0, 1.0, 1.0]))
        >>> [round(loss, 3) for loss in losses.tolist()]  # log(2) / 4, and right and wrong by far
        [0.173, 0.0, 10000.0]
    """
    logits, targets = as_real(logits, targets)
    require_number("focal", "gamma", gamma, at_least=0)
    require_number("focal", "alpha", alpha, at_least=0, at_most=1)
    _check_decisions("focal", logits, targets)
    dtype, (logits, targets) = widen(logits, targets)
    # t softplus(-x) + (1 - t) softplus(x)
    losses = times(targets, jax.nn.softplus(-logits)) + times(1.0 - targets, jax.nn.softplus(logits))
    # q^gamma = exp(gamma log q): a power of q itself has infinite derivatives where q is 0 to the last digit. An
    # infinite logit counts here as the largest number: gamma = 0 must leave 1.
    infinite = jnp.isinf(logits)
    finite_logits = jnp.where(infinite, jnp.sign(logits) * np.finfo(logits.dtype).max, logits)
    focus = jnp.exp(jnp.asarray(gamma, logits.dtype) * _log_wrong(finite_logits, targets))
    # inf times a factor that does not change: apart, because the rule of products would have inf * 0 = NaN
    far = jnp.isinf(losses)
    losses = jnp.where(far, losses * jax.lax.stop_gradient(focus), jnp.where(far, 0.0, losses) * focus)
    if alpha is not None:
        alpha = jnp.asarray(alpha, logits.dtype)
        losses = times(alpha * targets + (1.0 - alpha) * (1.0 - targets), losses)
    return losses.astype(dtype)


def dice(
    logits: Float[Array, "*batch elements"] | Values,
    targets: Float[Array, "*batch elements"] | Values,
    *,
    smoothing: Scalar = 1.0,
) -> Float[Array, "*batch"]:
    """Soft Dice loss of yes-or-no decisions: 1 - (2 sum p t + s) / (sum p + sum t + s), with p = sigmoid(x).

    One less the overlap of what was found and what is there, over the decisions of the last axis together: of an image
    all its pixels, flat. So few positives count as much as many do, where the cross-entropy would drown them. For
    several classes, `multiclass_dice`.

    Args:
        logits: log-odds of the positive class; the decisions that belong together in the last axis.
        targets: probabilities of the positive class, in [0, 1], of the same shape.
        smoothing: s, at least 0: what an empty target and an empty prediction have in common. At 0 their loss is 0.

    Returns:
        One loss per example, in [0, 1].

    Raises:
        ValueError: the shapes differ, there is no axis, a target is outside [0, 1] (not seen inside `jit`), or
            smoothing is a Python number below 0.
        TypeError: a dtype is not floating point.

    Reference:
        Milletari, Navab and Ahmadi, "V-Net: Fully convolutional neural networks for volumetric medical image
        segmentation", 2016, https://arxiv.org/abs/1606.04797 (without squares, as in later work).

    Example:
        >>> dice(jnp.array([1e4, 1e4, -1e4, -1e4]), jnp.array([1.0, 0.0, 1.0, 0.0]), smoothing=0.0)
        Array(0.5, dtype=float32)
    """
    logits, targets = as_real(logits, targets)
    require_number("dice", "smoothing", smoothing, at_least=0)
    _check_decisions("dice", logits, targets)
    if logits.ndim == 0:
        raise ValueError("dice: expected logits [*batch, elements], got a scalar")
    dtype, (logits, targets) = widen(logits, targets)
    return soft_dice(jax.nn.sigmoid(logits), targets, smoothing).astype(dtype)


def soft_dice(probabilities: Array, targets: Array, smoothing: Scalar) -> Array:
    """The Dice loss over the last axis, of probabilities in the dtype to compute in.

    Example:
        >>> soft_dice(jnp.array([1.0, 1.0]), jnp.array([1.0, 0.0]), 1.0).tolist()  # 1 - (2 + 1) / (2 + 1 + 1)
        0.25
    """
    smoothing = jnp.asarray(smoothing, probabilities.dtype)
    # 1 - (2 sum p t + s) / (sum p + sum t + s), with sum p + sum t - 2 sum p t = sum (p (1 - t) + t (1 - p)) above,
    # which does not cancel where the two agree
    apart = jnp.sum(probabilities * (1.0 - targets) + targets * (1.0 - probabilities), axis=-1)
    total = jnp.sum(probabilities + targets, axis=-1) + smoothing
    empty = total == 0
    return jnp.where(empty, 0.0, apart / jnp.where(empty, 1.0, total))


def hinge(scores: Float[Array, "*shape"] | Values, targets: Float[Array, "*shape"] | Values) -> Float[Array, "*shape"]:
    """Hinge loss of the support vector machine: max(0, 1 - t s). The gradient at the kink t s = 1 is 0.

    Args:
        scores: signed distances from the decision boundary, any shape.
        targets: -1 or +1, floating point, of the same shape.

    Returns:
        One loss per element.

    Raises:
        ValueError: the shapes differ, or a target is neither -1 nor +1 (not seen inside `jit`).
        TypeError: a dtype is not floating point.

    Reference:
        Cortes and Vapnik, "Support-vector networks", Machine Learning 20, 1995.

    Example:
        >>> hinge(jnp.array([0.5, 2.0, 2.0]), jnp.array([1.0, 1.0, -1.0]))
        Array([0.5, 0. , 3. ], dtype=float32)
    """
    scores, targets = as_real(scores, targets)
    _check_signs("hinge", scores, targets)
    dtype, (scores, targets) = widen(scores, targets)
    # max(0, 1 - t s)
    return jax.nn.relu(1.0 - targets * scores).astype(dtype)


def squared_hinge(
    scores: Float[Array, "*shape"] | Values, targets: Float[Array, "*shape"] | Values
) -> Float[Array, "*shape"]:
    """Squared hinge loss, smooth at the kink: max(0, 1 - t s)^2.

    Args:
        scores: signed distances from the decision boundary, any shape.
        targets: -1 or +1, floating point, of the same shape.

    Returns:
        One loss per element.

    Raises:
        ValueError: the shapes differ, or a target is neither -1 nor +1 (not seen inside `jit`).
        TypeError: a dtype is not floating point.

    Example:
        >>> squared_hinge(jnp.array([0.5, 2.0, 2.0]), jnp.array([1.0, 1.0, -1.0]))
        Array([0.25, 0.  , 9.  ], dtype=float32)
    """
    scores, targets = as_real(scores, targets)
    _check_signs("squared_hinge", scores, targets)
    dtype, (scores, targets) = widen(scores, targets)
    # max(0, 1 - t s)^2
    return jnp.square(jax.nn.relu(1.0 - targets * scores)).astype(dtype)


def _log_wrong(logits: Array, targets: Array) -> Array:
    """Log q of q = (1 - t) p + t (1 - p) with p = sigmoid(x), by exponentials that are at most 1."""
    # q = (1 - t + t e^-x) / (1 + e^-x) for x >= 0, and (t + (1 - t) e^x) / (1 + e^x) below: once with x and t, once
    # with their opposites. Every branch is fed 0 where it is not meant, so that no derivative of it is infinite.
    positive = logits >= 0
    magnitudes = jnp.where(positive, logits, -logits)
    rare = jnp.where(positive, targets, 1.0 - targets)
    certain = rare == 1.0  # q = 1 / (1 + e^|x|): its logarithm does not end where e^-|x| is 0
    mixed = jnp.log(1.0 + jnp.where(certain, 0.0, rare) * jnp.expm1(-magnitudes))
    # The last term is 0; its derivative by the target is the slope of log(1 - t + t e^-|x|) at 1, until the loss is 0.
    alone = -magnitudes - (rare - 1.0) * jnp.expm1(jnp.minimum(magnitudes, _FAR))
    return jnp.where(certain, alone, mixed) - jnp.log1p(jnp.exp(-magnitudes))


def _check_decisions(where: str, logits: Array, targets: Array) -> None:
    """Check logits and probabilities of yes-or-no decisions."""
    require_floating(where, logits=logits, targets=targets)
    require_same_shape(where, logits=logits, targets=targets)
    require_values(where, "targets", targets, _are_probabilities, "in [0, 1]")


def _are_probabilities(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which elements are in [0, 1], but for rounding."""
    return (values >= -_ROUNDING) & (values <= 1.0 + _ROUNDING)


def _check_signs(where: str, scores: Array, targets: Array) -> None:
    """Check scores and labels -1 and +1."""
    require_floating(where, scores=scores, targets=targets)
    require_same_shape(where, scores=scores, targets=targets)
    require_values(where, "targets", targets, lambda values: np.abs(values) == 1.0, "of -1 and +1")
