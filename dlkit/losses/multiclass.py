"""Losses over classes beside the cross-entropy: margins, focused, overlapping and ordered ones.

Computed in at least float32, returned in the dtype of the scores.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Float, Integer

from dlkit.checks import require_class_indices, require_number
from dlkit.losses.class_targets import (
    check_indices,
    is_class,
    known_classes,
    of_class,
    require_classes,
    weight_of,
    wide_indices,
)
from dlkit.losses.decisions import soft_dice
from dlkit.losses.shared import Values, as_indices, as_real, times, widen
from dlkit.typing import Array, Scalar

__all__ = ["multiclass_dice", "multiclass_focal", "multiclass_hinge", "ordinal"]


def multiclass_hinge(
    scores: Float[Array, "*batch classes"] | Values, targets: Integer[Array, "*batch"] | Values
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
    (scores,) = as_real(scores)
    targets = as_indices(targets)
    require_classes("multiclass_hinge", scores=scores)
    check_indices("multiclass_hinge", "scores", scores, targets)
    dtype, (scores,) = widen(scores)
    targets, valid = known_classes(targets, scores.shape[-1])
    target_scores = jnp.expand_dims(of_class(scores, targets), -1)
    # max_c (s_c - s_t + [c != t]): the class c = t gives the 0 of max(0, ...)
    margins = jnp.where(is_class(targets, scores.shape[-1]), 0.0, scores - target_scores + 1.0)
    return jnp.where(valid, jnp.max(margins, axis=-1), jnp.nan).astype(dtype)


def multiclass_focal(
    logits: Float[Array, "*batch classes"] | Values,
    targets: Integer[Array, "*batch"] | Values,
    *,
    gamma: Scalar = 2.0,
    class_weights: Float[Array, " classes"] | Values | None = None,
) -> Float[Array, "*batch"]:
    """Focal loss over classes: -w_t (1 - p_t)^gamma log p_t, with p = softmax(logits).

    The cross-entropy, less where the class is right already. Of two classes it is `focal` of the difference of their
    logits. Summed over one-hot decisions, `focal` is another loss.

    Args:
        logits: unnormalized log-probabilities; the classes are the last axis.
        targets: class indices in [0, classes), without the last axis.
        gamma: exponent, at least 0; 0 gives the cross-entropy.
        class_weights: the factor w of every class; None for 1.

    Returns:
        One loss per example.

    Raises:
        ValueError: the shapes do not belong together, gamma is a Python number below 0, or a class index is outside
            [0, classes) (inside `jit`, where it cannot be seen, the loss is NaN instead).
        TypeError: logits or class weights are not floating point, or the targets not integers.

    Reference:
        Lin et al., "Focal loss for dense object detection", 2017, https://arxiv.org/abs/1708.02002.

    Example:
        >>> losses = multiclass_focal(jnp.array([[0.0, 0.0], [1e4, 0.0]]), jnp.array([0, 1]))
        >>> [round(loss, 3) for loss in losses.tolist()]  # log(2) / 4, and wrong by far
        [0.173, 10000.0]
    """
    (logits,) = as_real(logits)
    targets = as_indices(targets)
    require_number("multiclass_focal", "gamma", gamma, at_least=0)
    require_classes("multiclass_focal", logits=logits)
    check_indices("multiclass_focal", "logits", logits, targets)
    dtype, (logits,) = widen(logits)
    targets, valid = known_classes(targets, logits.shape[-1])
    shifted = logits - jax.lax.stop_gradient(jnp.max(logits, axis=-1, keepdims=True))
    log_total = jnp.log(jnp.sum(jnp.exp(shifted), axis=-1))
    # log(1 - p_t) = log sum_{c != t} exp(x_c) - log sum_c exp(x_c), around the greatest of the others
    others = jnp.where(is_class(targets, logits.shape[-1]), -jnp.inf, shifted)
    greatest = jax.lax.stop_gradient(jnp.max(others, axis=-1))
    alone = jnp.isneginf(greatest)
    greatest = jnp.where(alone, 0.0, greatest)
    spread = jnp.sum(jnp.exp(others - jnp.expand_dims(greatest, -1)), axis=-1)
    log_wrong = jnp.where(alone, 0.0, jnp.log(jnp.where(alone, 1.0, spread)) + greatest - log_total)
    # (1 - p_t)^gamma = exp(gamma log(1 - p_t)), at most 1
    focus = jnp.exp(jnp.asarray(gamma, logits.dtype) * jnp.minimum(log_wrong, 0.0))
    losses = times(focus, log_total - of_class(shifted, targets))
    if class_weights is not None:
        (class_weights,) = as_real(class_weights)
        if class_weights.shape != logits.shape[-1:] or not jnp.issubdtype(class_weights.dtype, jnp.floating):
            raise ValueError(
                f"multiclass_focal: expected floating-point class_weights of shape {logits.shape[-1:]}, "
                f"got {jax.typeof(class_weights)}"
            )
        losses = times(weight_of(class_weights.astype(logits.dtype), targets), losses)
    return jnp.where(valid, losses, jnp.nan).astype(dtype)


def multiclass_dice(
    logits: Float[Array, "*batch elements classes"] | Values,
    targets: Integer[Array, "*batch elements"] | Values,
    *,
    smoothing: Scalar = 1.0,
    ignored_index: int | None = None,
) -> Float[Array, "*batch classes"]:
    """Soft Dice loss of each class: 1 - (2 sum p t + s) / (sum p + sum t + s) over the elements, p = softmax(logits).

    The elements are of an image all its pixels, flat. The mean over the classes is the usual loss of a segmentation;
    the background may be left out of it.

    Args:
        logits: unnormalized log-probabilities; the classes are the last axis, the elements that belong together the
            one before.
        targets: class indices in [0, classes), without the last axis.
        smoothing: s, at least 0: what an empty target and an empty prediction have in common. At 0 their loss is 0.
        ignored_index: the class index that marks an element without a label; it counts nowhere.

    Returns:
        One loss per example and class, in [0, 1].

    Raises:
        ValueError: the shapes do not belong together, smoothing is a Python number below 0, or a class index is outside
            [0, classes) (inside `jit`, where it cannot be seen, the losses of its example are NaN instead).
        TypeError: the logits are not floating point, or the targets not integers.

    Reference:
        Milletari, Navab and Ahmadi, "V-Net: Fully convolutional neural networks for volumetric medical image
        segmentation", 2016, https://arxiv.org/abs/1606.04797 (without squares, as in later work).

    Example:
        >>> logits = 1e4 * jnp.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
        >>> losses = multiclass_dice(logits, jnp.array([0, 1, 1]), smoothing=0.0)
        >>> [round(loss, 3) for loss in losses.tolist()]  # 1 - 2 / 3 of either class
        [0.333, 0.333]
    """
    (logits,) = as_real(logits)
    targets = as_indices(targets)
    require_number("multiclass_dice", "smoothing", smoothing, at_least=0)
    require_classes("multiclass_dice", logits=logits)
    if logits.ndim < 2:
        raise ValueError(f"multiclass_dice: expected logits [*batch, elements, classes], got {jax.typeof(logits)}")
    check_indices("multiclass_dice", "logits", logits, targets, ignored_index)
    dtype, (logits,) = widen(logits)
    counted = jnp.ones(targets.shape, bool) if ignored_index is None else wide_indices(targets) != ignored_index
    known, valid = known_classes(targets, logits.shape[-1])
    counts = jnp.expand_dims(counted, -1)
    # Replaced beforehand: a logit that is not finite would make the gradient of what does not count 0 * inf = NaN.
    probabilities = jnp.where(counts, jax.nn.softmax(jnp.where(counts, logits, 0.0), axis=-1), 0.0)
    one_hot = jnp.where(counts & is_class(known, logits.shape[-1]), 1.0, 0.0).astype(logits.dtype)
    losses = soft_dice(jnp.swapaxes(probabilities, -1, -2), jnp.swapaxes(one_hot, -1, -2), smoothing)
    sound = jnp.all(valid | ~counted, axis=-1, keepdims=True)
    return jnp.where(sound, losses, jnp.nan).astype(dtype)


def ordinal(
    logits: Float[Array, "*batch thresholds"] | Values, targets: Integer[Array, "*batch"] | Values
) -> Float[Array, "*batch"]:
    """Loss of ordered classes: sum_k of the cross-entropy of "the class is above k", with the logit x_k.

    Classes 0 to K make K decisions. If x_k = s - b_k for one score s and thresholds b that rise, it is CORAL, whose
    predicted class, the number of x_k above 0, agrees with all decisions.

    Args:
        logits: x_k, the log-odds that the class is above k, for k = 0 ... classes - 2 in the last axis.
        targets: class indices in [0, thresholds + 1), without the last axis.

    Returns:
        One loss per example, in nats.

    Raises:
        ValueError: the shapes do not belong together, or a class index is outside [0, thresholds] (inside `jit`, where
            it cannot be seen, the loss is NaN instead).
        TypeError: the logits are not floating point, or the targets not integers.

    Reference:
        Cao, Mirjalili and Raschka, "Rank consistent ordinal regression for neural networks with application to age
        estimation", 2019, https://arxiv.org/abs/1901.07884.

    Example:
        >>> score, thresholds = jnp.array([0.0]), jnp.array([-1e4, 1e4])  # surely class 1 of 0, 1, 2
        >>> [ordinal(score - thresholds, jnp.array(each)).tolist() for each in (0, 1, 2)]
        [10000.0, 0.0, 10000.0]
    """
    (logits,) = as_real(logits)
    targets = as_indices(targets)
    require_classes("ordinal", logits=logits)
    if jnp.issubdtype(targets.dtype, jnp.integer) and targets.shape != logits.shape[:-1]:
        raise ValueError(
            f"ordinal: expected class indices of shape {logits.shape[:-1]}, got logits {jax.typeof(logits)} and "
            f"targets {jax.typeof(targets)}"
        )
    require_class_indices("ordinal", targets, logits.shape[-1] + 1)
    dtype, (logits,) = widen(logits)
    known, valid = known_classes(targets, logits.shape[-1] + 1)
    thresholds = jnp.arange(logits.shape[-1], dtype=known.dtype).reshape((1,) * known.ndim + (-1,))
    above = jnp.expand_dims(known, -1) > thresholds
    # sum_k -log sigmoid(x_k) where the class is above k, and -log sigmoid(-x_k) where not
    losses = jnp.sum(jax.nn.softplus(jnp.where(above, -logits, logits)), axis=-1)
    return jnp.where(valid, losses, jnp.nan).astype(dtype)
