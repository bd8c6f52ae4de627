"""Losses of classification, from unnormalized scores: over classes (the last axis), or of one yes-or-no each.

Computed in at least float32, returned in the dtype of the scores (promoted with that of real-valued targets).
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Integer
from numpy.typing import NDArray

from dlkit.checks import require_class_indices, require_floating, require_number, require_same_shape
from dlkit.losses.shared import require_values, widen
from dlkit.typing import Array, Scalar

__all__ = ["binary_cross_entropy", "cross_entropy", "focal", "hinge", "multiclass_hinge", "squared_hinge"]

_ROUNDING = 1e-5  # by which probabilities that were mixed in float32 may leave [0, 1]
_FAR = 60.0  # logits beyond which a right decision has a loss of less than e^-60


def cross_entropy(
    logits: Float[Array, "*batch classes"],
    targets: Integer[Array, "*batch"] | Float[Array, "*batch classes"],
    *,
    label_smoothing: Scalar = 0.0,
    class_weights: Float[Array, " classes"] | None = None,
    ignored_index: int | None = None,
) -> Float[Array, "*batch"]:
    """Cross-entropy in nats between the targets and softmax(logits): -sum_c w_c t_c log softmax(logits)_c.

    Integer targets c mean the one-hot t = e_c. With label smoothing s, t becomes (1 - s) t + s / classes. A class with
    t_c = 0 adds nothing, even where its logit is -inf (a masked class). Without class weights, w = 1.

    Where examples are ignored or weighted, the mean over all of them is seldom what is wanted: divide the sum of the
    losses by the number of the examples that count, `(targets != ignored_index).sum()`, or by the sum of their weights,
    `class_weights[targets].sum()`.

    Args:
        logits: unnormalized log-probabilities; the classes are the last axis.
        targets: class indices in [0, classes), without the last axis; or one weight per class, of the shape of the
            logits (probabilities; their sum is not checked).
        label_smoothing: share of the weight spread evenly over the classes, in [0, 1).
        class_weights: the factor w of every class, applied after smoothing; None for 1.
        ignored_index: the class index that marks an example without a label, such as padding; its loss is 0, and so is
            its gradient, whatever its logits are. For integer targets only.

    Returns:
        One loss per example: the last axis is reduced, the batch never.

    Raises:
        ValueError: the shapes do not belong together, label_smoothing is a Python number outside [0, 1), a class index
            is outside [0, classes) (inside `jit`, where it cannot be seen, the loss is NaN instead), or ignored_index
            comes with soft targets.
        TypeError: the logits are not floating point, or the targets are neither indices nor floating-point weights.

    Reference:
        Szegedy et al., "Rethinking the Inception architecture", 2015, https://arxiv.org/abs/1512.00567 (smoothing).

    Example:
        >>> logits = jnp.array([[1e4, 1e4], [1e4, -1e4]])
        >>> [round(loss, 3) for loss in cross_entropy(logits, jnp.array([0, 1])).tolist()]
        [0.693, 20000.0]
        >>> cross_entropy(logits, jnp.array([-1, 1]), ignored_index=-1)
        Array([    0., 20000.], dtype=float32)
    """
    _require_classes("cross_entropy", logits=logits)
    require_number("cross_entropy", "label_smoothing", label_smoothing, at_least=0, below=1)
    soft = _check_targets(logits, targets, ignored_index)
    dtype = jnp.result_type(logits, targets) if soft else logits.dtype
    compute_dtype = jnp.promote_types(dtype, jnp.float32)
    ignored = None if ignored_index is None else _indices(targets) == ignored_index
    if ignored is not None:
        # Replaced beforehand, not only in the result: a logit that is not finite would make the gradient 0 * inf = NaN.
        logits = jnp.where(jnp.expand_dims(ignored, -1), 0, logits)
        targets = jnp.where(ignored, 0, targets)

    weights = (targets if soft else _one_hot(targets, logits.shape[-1])).astype(compute_dtype)
    # (1 - s) t + s / classes
    smoothing = jnp.asarray(label_smoothing, compute_dtype)
    weights = (1.0 - smoothing) * weights + smoothing / logits.shape[-1]
    if class_weights is not None:
        weights = weights * _check_class_weights(logits, class_weights).astype(compute_dtype)

    log_probabilities = jax.nn.log_softmax(logits.astype(compute_dtype), axis=-1)
    # 0 * log 0 = 0: replaced before the product, or its gradient would be 0 * inf = NaN.
    impossible = (weights == 0) & jnp.isneginf(log_probabilities)
    log_probabilities = jnp.where(impossible, 0.0, log_probabilities)
    # -sum_c w_c t_c log softmax(logits)_c
    losses = -jnp.sum(weights * log_probabilities, axis=-1).astype(dtype)
    return losses if ignored is None else jnp.where(ignored, 0, losses)


def binary_cross_entropy(
    logits: Float[Array, "*shape"], targets: Float[Array, "*shape"], *, positive_weight: Scalar = 1.0
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
    require_number("binary_cross_entropy", "positive_weight", positive_weight, at_least=0)
    _check_decisions("binary_cross_entropy", logits, targets)
    dtype, (logits, targets) = widen(logits, targets)
    positive_weight = jnp.asarray(positive_weight, logits.dtype)
    # w t softplus(-x) + (1 - t) softplus(x), as -log sigmoid(x) = softplus(-x)
    losses = positive_weight * targets * jax.nn.softplus(-logits) + (1.0 - targets) * jax.nn.softplus(logits)
    return losses.astype(dtype)


def focal(
    logits: Float[Array, "*shape"],
    targets: Float[Array, "*shape"],
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
    require_number("focal", "gamma", gamma, at_least=0)
    require_number("focal", "alpha", alpha, at_least=0, at_most=1)
    _check_decisions("focal", logits, targets)
    dtype, (logits, targets) = widen(logits, targets)
    # w t softplus(-x) + (1 - t) softplus(x)
    losses = targets * jax.nn.softplus(-logits) + (1.0 - targets) * jax.nn.softplus(logits)
    # q^gamma = exp(gamma log q): a power of q itself has infinite derivatives where q is 0 to the last digit
    losses = losses * jnp.exp(jnp.asarray(gamma, logits.dtype) * _log_wrong(logits, targets))
    if alpha is not None:
        alpha = jnp.asarray(alpha, logits.dtype)
        losses = losses * (alpha * targets + (1.0 - alpha) * (1.0 - targets))
    return losses.astype(dtype)


def hinge(scores: Float[Array, "*shape"], targets: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
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
    _check_signs("hinge", scores, targets)
    dtype, (scores, targets) = widen(scores, targets)
    # max(0, 1 - t s)
    return jax.nn.relu(1.0 - targets * scores).astype(dtype)


def squared_hinge(scores: Float[Array, "*shape"], targets: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
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
    _check_signs("squared_hinge", scores, targets)
    dtype, (scores, targets) = widen(scores, targets)
    # max(0, 1 - t s)^2
    return jnp.square(jax.nn.relu(1.0 - targets * scores)).astype(dtype)


def multiclass_hinge(
    scores: Float[Array, "*batch classes"], targets: Integer[Array, "*batch"]
) -> Float[Array, "*batch"]:
    """Hinge loss over classes: max(0, 1 + max_{c != t} s_c - s_t). Where classes tie, they share the gradient.

    Args:
        scores: one per class, in the last axis.
        targets: class indices in [0, classes), without the last axis.

    Returns:
        One loss per example.

    Raises:
        ValueError: the shapes do not belong together, or a class index is outside [0, classes) (inside `jit`, where it
            cannot be seen, the loss is NaN instead).
        TypeError: the scores are not floating point, or the targets not integers.

    Reference:
        Crammer and Singer, "On the algorithmic implementation of multiclass kernel-based vector machines", JMLR 2,
        2001, https://jmlr.org/papers/v2/crammer01a.html.

    Example:
        >>> multiclass_hinge(jnp.array([[3.0, 1.0, 2.5], [3.0, 1.0, 2.5]]), jnp.array([0, 1]))
        Array([0.5, 3. ], dtype=float32)
    """
    _require_classes("multiclass_hinge", scores=scores)
    _check_indices("multiclass_hinge", "scores", scores, targets, None)
    dtype, (scores,) = widen(scores)
    one_hot = _one_hot(targets, scores.shape[-1])
    # 0 * inf = 0, so that a class may be masked with a score of -inf
    target_scores = jnp.sum(jnp.where(one_hot == 0, 0.0, one_hot * scores), axis=-1, keepdims=True)
    # max_c (s_c - s_t + [c != t]): the class c = t gives the 0 of max(0, ...)
    return jnp.max(scores - target_scores + (1.0 - one_hot), axis=-1).astype(dtype)


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


def _require_classes(where: str, **scores: Array) -> None:
    """Refuse scores without a last axis of classes."""
    require_floating(where, **scores)
    for name, array in scores.items():
        if array.ndim == 0:
            raise ValueError(f"{where}: expected {name} [*batch, classes], got a scalar")


def _check_targets(logits: Array, targets: Array, ignored_index: int | None) -> bool:
    """Check the targets of the cross-entropy; tell whether they are soft."""
    got = f"got logits {jax.typeof(logits)} and targets {jax.typeof(targets)}"
    if not jnp.issubdtype(targets.dtype, jnp.floating):
        if not jnp.issubdtype(targets.dtype, jnp.integer):
            raise TypeError(
                f"cross_entropy: expected integer class indices or floating-point weights as targets, {got}"
            )
        _check_indices("cross_entropy", "logits", logits, targets, ignored_index)
        return False
    if targets.shape != logits.shape:
        raise ValueError(f"cross_entropy: expected soft targets of the shape of the logits, {got}")
    if ignored_index is not None:
        raise ValueError(f"cross_entropy: expected class indices as targets beside ignored_index, {got}")
    return True


def _check_indices(where: str, name: str, scores: Array, targets: Array, ignored: int | None) -> None:
    """Check class indices against the scores."""
    got = f"got {name} {jax.typeof(scores)} and targets {jax.typeof(targets)}"
    if jnp.issubdtype(targets.dtype, jnp.integer) and targets.shape != scores.shape[:-1]:
        hint = "; cast one-hot targets to a floating dtype" if targets.shape == scores.shape else ""
        raise ValueError(f"{where}: expected class indices of shape {scores.shape[:-1]}, {got}{hint}")
    require_class_indices(where, targets, scores.shape[-1], ignored=ignored)


def _check_class_weights(logits: Array, class_weights: Array) -> Array:
    """Check the weights of the classes; return them with the axes of the logits."""
    require_floating("cross_entropy", class_weights=class_weights)
    if class_weights.shape != logits.shape[-1:]:
        raise ValueError(
            f"cross_entropy: expected class_weights of shape {logits.shape[-1:]}, got {jax.typeof(class_weights)}"
        )
    return class_weights.reshape((1,) * (logits.ndim - 1) + (-1,))


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


def _indices(targets: Array) -> Array:
    """Integer targets in a dtype that holds negative numbers and any count of classes; uint8 could not count to 256."""
    return targets.astype(jnp.promote_types(targets.dtype, jnp.int32))


def _one_hot(targets: Array, classes: int) -> Array:
    """One weight per class, NaN for an index out of range."""
    # A comparison instead of a gather: its gradient is no scatter, and -1 is not silently the last class.
    targets = _indices(targets)
    numbers = jnp.arange(classes, dtype=targets.dtype).reshape((1,) * targets.ndim + (-1,))
    one_hot = jnp.expand_dims(targets, -1) == numbers
    valid = (targets >= 0) & (targets < classes)
    return jnp.where(jnp.expand_dims(valid, -1), one_hot.astype(jnp.float32), jnp.nan)
