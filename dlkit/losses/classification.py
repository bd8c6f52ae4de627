"""Cross-entropies over classes, from unnormalized scores in the last axis, and what is added to them.

Computed in at least float32, returned in the dtype of the scores (promoted with that of real-valued targets).
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Float, Integer

from dlkit.checks import (
    known_zero,
    require_class_indices,
    require_floating,
    require_number,
    require_same_shape,
    require_size,
)
from dlkit.losses.class_targets import (
    check_indices,
    known_classes,
    of_class,
    require_classes,
    weight_of,
    wide_indices,
)
from dlkit.losses.shared import Values, as_indices, as_real, widen
from dlkit.typing import Array, Scalar

__all__ = ["cross_entropy", "distillation", "linear_cross_entropy", "z_loss"]


def cross_entropy(
    logits: Float[Array, "*batch classes"] | Values,
    targets: Integer[Array, "*batch"] | Float[Array, "*batch classes"] | Values,
    *,
    label_smoothing: Scalar = 0.0,
    class_weights: Float[Array, " classes"] | Values | None = None,
    ignored_index: int | None = None,
) -> Float[Array, "*batch"]:
    """Cross-entropy in nats between the targets and softmax(logits): -sum_c w_c t_c log softmax(logits)_c.

    Integer targets c mean the one-hot t = e_c. With label smoothing s, t becomes (1 - s) t + s / classes. A class with
    t_c = 0 adds nothing, even where its logit is -inf (a masked class). Without class weights, w = 1.

    For class indices without smoothing it is log sum_c exp(x_c) - x_t: nothing of the size of the logits is kept but
    one array, which becomes their gradient.

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
    (logits,) = as_real(logits)
    targets = as_indices(targets)
    require_classes("cross_entropy", logits=logits)
    require_number("cross_entropy", "label_smoothing", label_smoothing, at_least=0, below=1)
    soft = _check_targets(logits, targets, ignored_index)
    dtype = jnp.result_type(logits, targets) if soft else logits.dtype
    compute_dtype = jnp.promote_types(dtype, jnp.float32)
    ignored = None if ignored_index is None else wide_indices(targets) == ignored_index
    if ignored is not None:
        # Replaced beforehand, not only in the result: a logit that is not finite would make the gradient 0 * inf = NaN.
        logits = jnp.where(jnp.expand_dims(ignored, -1), 0, logits)
        targets = jnp.where(ignored, 0, targets)
    if class_weights is not None:
        class_weights = _check_class_weights(logits, *as_real(class_weights)).astype(compute_dtype)

    logits = logits.astype(compute_dtype)
    # log softmax is the same for every shift; around the greatest, logits far from 0 cost no digits
    shifted = logits - jax.lax.stop_gradient(jnp.max(logits, axis=-1, keepdims=True))
    log_total = jnp.log(jnp.sum(jnp.exp(shifted), axis=-1))
    if soft:
        losses = _weighted(shifted, log_total, targets.astype(compute_dtype), label_smoothing, class_weights)
    else:
        losses = _of_indices(shifted, log_total, targets, label_smoothing, class_weights)
    losses = losses.astype(dtype)
    return losses if ignored is None else jnp.where(ignored, 0, losses)


def linear_cross_entropy(
    features: Float[Array, "*batch features"] | Values,
    targets: Integer[Array, "*batch"] | Values,
    kernel: Float[Array, "features classes"] | Values,
    *,
    bias: Float[Array, " classes"] | Values | None = None,
    label_smoothing: Scalar = 0.0,
    class_weights: Float[Array, " classes"] | Values | None = None,
    ignored_index: int | None = None,
    chunk_size: int = 1024,
) -> Float[Array, "*batch"]:
    """Cross-entropy of the logits x W + b of a last dense layer, of which there are never more than a chunk's.

    The same numbers as `cross_entropy(features @ kernel + bias, targets)`, for vocabularies so large that logits for
    every token would not fit: of N tokens, a chunk's logits are made, used and forgotten, and made once more for the
    gradient. So memory for logits goes with `chunk_size`, not with N, for a half more arithmetic in this layer while
    training.

    Args:
        features: x, the inputs of the last layer.
        targets: class indices in [0, classes), without the last axis.
        kernel: W; a tied embedding `[classes, features]` comes transposed.
        bias: b; None for 0.
        label_smoothing: share of the weight spread evenly over the classes, in [0, 1).
        class_weights: the factor of every class, applied after smoothing; None for 1.
        ignored_index: the class index that marks a token without a label, such as padding; its loss is 0.
        chunk_size: how many tokens (the batch axes, flat) have logits at one time.

    Returns:
        One loss per token, in the dtype that features and kernel promote to.

    Raises:
        ValueError: the shapes do not belong together, chunk_size is no positive integer, label_smoothing is a Python
            number outside [0, 1), or a class index is out of range (inside `jit` the loss is NaN instead).
        TypeError: features, kernel or bias is not floating point, or the targets are not integers.

    Reference:
        Wijmans et al., "Cut your losses in large-vocabulary language models", 2024, https://arxiv.org/abs/2411.09009.

    Example:
        >>> features, kernel = jnp.array([[1.0, 0.0], [0.0, 2.0]]), jnp.array([[5.0, 0.0], [0.0, 5.0]])
        >>> losses = linear_cross_entropy(features, jnp.array([0, 0]), kernel, chunk_size=1)
        >>> [round(loss, 3) for loss in losses.tolist()]  # of the logits (5, 0) and (0, 10)
        [0.007, 10.0]
    """
    where = "linear_cross_entropy"
    require_size(where, chunk_size=chunk_size)
    features, kernel = as_real(features, kernel)
    bias = jnp.zeros(kernel.shape[-1:], kernel.dtype) if bias is None else as_real(bias)[0]
    targets = as_indices(targets)
    require_classes(where, features=features)
    require_floating(where, kernel=kernel, bias=bias)
    if kernel.ndim != 2 or kernel.shape[0] != features.shape[-1] or bias.shape != kernel.shape[1:]:
        raise ValueError(
            f"{where}: expected features [*batch, features], kernel [features, classes] and bias [classes], got "
            f"{jax.typeof(features)}, {jax.typeof(kernel)} and {jax.typeof(bias)}"
        )
    if jnp.issubdtype(targets.dtype, jnp.integer) and targets.shape != features.shape[:-1]:
        raise ValueError(f"{where}: expected class indices of shape {features.shape[:-1]}, got {jax.typeof(targets)}")
    require_class_indices(where, targets, kernel.shape[1], ignored=ignored_index)
    dtype = jnp.result_type(features, kernel)
    compute_dtype = jnp.promote_types(dtype, jnp.float32)

    @jax.checkpoint
    def of_chunk(features: Array, targets: Array, kernel: Array, bias: Array) -> Array:
        logits = jnp.matmul(features, kernel, preferred_element_type=compute_dtype)
        return cross_entropy(
            logits + bias.astype(compute_dtype).reshape(1, -1),
            targets,
            label_smoothing=label_smoothing,
            class_weights=class_weights,
            ignored_index=ignored_index,
        )

    batch, count = targets.shape, math.prod(targets.shape)
    features, targets = features.reshape(count, features.shape[-1]), targets.reshape(count)
    whole = count // chunk_size * chunk_size
    chunks = (
        features[:whole].reshape(count // chunk_size, chunk_size, features.shape[-1]),
        targets[:whole].reshape(count // chunk_size, chunk_size),
    )
    parts = [jax.lax.map(lambda chunk: of_chunk(*chunk, kernel, bias), chunks).reshape(whole)] if whole else []
    if whole < count or not parts:
        parts.append(of_chunk(features[whole:], targets[whole:], kernel, bias))
    return jnp.concatenate(parts).reshape(batch).astype(dtype)


def distillation(
    logits: Float[Array, "*batch classes"] | Values,
    targets: Float[Array, "*batch classes"] | Values,
    *,
    temperature: Scalar = 2.0,
) -> Float[Array, "*batch"]:
    """Distillation of a teacher: T^2 KL(softmax(u / T) || softmax(x / T)) of a teacher's logits u and a student's x.

    The factor T^2 keeps gradients of one size for every temperature T. Usually a share of it is added to the
    cross-entropy with the labels. For a teacher that must not learn, `jax.lax.stop_gradient` of its logits.

    Args:
        logits: x, unnormalized log-probabilities of the student; the classes are the last axis.
        targets: u, those of the teacher, of the same shape: logits, no probabilities.
        temperature: T, above 0; larger, it shows more of what the teacher thinks of wrong classes.

    Returns:
        One loss per example, in nats; 0 where the two agree.

    Raises:
        ValueError: the shapes differ, there is no axis, or temperature is a Python number not above 0.
        TypeError: a dtype is not floating point.

    Reference:
        Hinton, Vinyals and Dean, "Distilling the knowledge in a neural network", 2015,
        https://arxiv.org/abs/1503.02531.

    Example:
        >>> student, teacher = jnp.zeros(2), jnp.array([2.0 * jnp.log(3.0), 0.0])
        >>> round(float(distillation(student, teacher, temperature=2.0)), 3)  # 4 (log 2 - entropy of (3/4, 1/4))
        0.523
    """
    logits, targets = as_real(logits, targets)
    require_number("distillation", "temperature", temperature, above=0)
    require_classes("distillation", logits=logits, targets=targets)
    require_same_shape("distillation", logits=logits, targets=targets)
    dtype, (logits, targets) = widen(logits, targets)
    temperature = jnp.asarray(temperature, logits.dtype)
    student = jax.nn.log_softmax(logits / temperature, axis=-1)
    teacher = jax.nn.log_softmax(targets / temperature, axis=-1)
    # 0 (log 0 - log p) = 0: replaced before the product, or its gradient would be 0 * inf = NaN.
    impossible = jnp.exp(teacher) == 0
    difference = jnp.where(impossible, 0.0, teacher) - jnp.where(impossible, 0.0, student)
    # T^2 sum_c t_c (log t_c - log p_c)
    return (jnp.square(temperature) * jnp.sum(jnp.exp(teacher) * difference, axis=-1)).astype(dtype)


def z_loss(logits: Float[Array, "*batch classes"] | Values) -> Float[Array, "*batch"]:
    """Penalty of a softmax that drifts: (log sum_c exp(x_c))^2.

    A softmax is the same for logits of any level; this holds their level at 0, so that logits of bfloat16 keep their
    digits and none overflow. A small share of it is added to the cross-entropy: 1e-4 in PaLM.

    Args:
        logits: unnormalized log-probabilities; the classes are the last axis.

    Returns:
        One penalty per example.

    Raises:
        ValueError: there is no axis.
        TypeError: the logits are not floating point.

    Reference:
        Chowdhery et al., "PaLM: Scaling language modeling with pathways", 2022, https://arxiv.org/abs/2204.02311
        (section 5).

    Example:
        >>> round(float(z_loss(jnp.zeros(2))), 3)  # log(2)^2
        0.48
    """
    (logits,) = as_real(logits)
    require_classes("z_loss", logits=logits)
    dtype, (logits,) = widen(logits)
    # (log sum_c exp(x_c))^2
    return jnp.square(jax.nn.logsumexp(logits, axis=-1)).astype(dtype)


def _of_indices(
    shifted: Array, log_total: Array, targets: Array, smoothing: Scalar, class_weights: Array | None
) -> Array:
    """The losses of class indices; NaN for one out of range."""
    targets, valid = known_classes(targets, shifted.shape[-1])
    # -log softmax(logits)_t
    losses = log_total - of_class(shifted, targets)
    if class_weights is not None:
        weights = weight_of(class_weights.reshape(-1), targets)
        losses = weights * jnp.where((weights == 0) & jnp.isposinf(losses), 0.0, losses)
    if not known_zero(smoothing):
        smoothing = jnp.asarray(smoothing, shifted.dtype)
        # (1 - s) t + s / classes
        spread = jnp.full((1,) * shifted.ndim, 1.0 / shifted.shape[-1], shifted.dtype)
        everywhere = _weighted(shifted, log_total, spread, 0.0, class_weights)
        losses = (1.0 - smoothing) * losses + smoothing * jnp.where(
            (smoothing == 0) & jnp.isposinf(everywhere), 0.0, everywhere
        )
    return jnp.where(valid, losses, jnp.nan)


def _weighted(
    shifted: Array, log_total: Array, weights: Array, smoothing: Scalar, class_weights: Array | None
) -> Array:
    """-sum_c w_c t_c log softmax(logits)_c, for weights t of every class."""
    if not known_zero(smoothing):
        smoothing = jnp.asarray(smoothing, shifted.dtype)
        # (1 - s) t + s / classes
        weights = (1.0 - smoothing) * weights + smoothing / shifted.shape[-1]
    if class_weights is not None:
        weights = weights * class_weights
    log_probabilities = shifted - jnp.expand_dims(log_total, -1)
    # 0 * log 0 = 0: replaced before the product, or its gradient would be 0 * inf = NaN.
    impossible = (weights == 0) & jnp.isneginf(log_probabilities)
    # -sum_c w_c t_c log softmax(logits)_c
    return -jnp.sum(weights * jnp.where(impossible, 0.0, log_probabilities), axis=-1)


def _check_targets(logits: Array, targets: Array, ignored_index: int | None) -> bool:
    """Check the targets of the cross-entropy; tell whether they are soft."""
    got = f"got logits {jax.typeof(logits)} and targets {jax.typeof(targets)}"
    if not jnp.issubdtype(targets.dtype, jnp.floating):
        if not jnp.issubdtype(targets.dtype, jnp.integer):
            raise TypeError(
                f"cross_entropy: expected integer class indices or floating-point weights as targets, {got}"
            )
        check_indices("cross_entropy", "logits", logits, targets, ignored_index)
        return False
    if targets.shape != logits.shape:
        raise ValueError(f"cross_entropy: expected soft targets of the shape of the logits, {got}")
    if ignored_index is not None:
        raise ValueError(f"cross_entropy: expected class indices as targets beside ignored_index, {got}")
    return True


def _check_class_weights(logits: Array, class_weights: Array) -> Array:
    """Check the weights of the classes; return them with the axes of the logits."""
    require_floating("cross_entropy", class_weights=class_weights)
    if class_weights.shape != logits.shape[-1:]:
        raise ValueError(
            f"cross_entropy: expected class_weights of shape {logits.shape[-1:]}, got {jax.typeof(class_weights)}"
        )
    return class_weights.reshape((1,) * (logits.ndim - 1) + (-1,))
