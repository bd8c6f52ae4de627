"""Divergences between probability distributions over the last axis, which is reduced.

The predictions come as log-probabilities (`jax.nn.log_softmax` of logits), which do not underflow; the targets as
probabilities. Computed in at least float32, returned in the dtype that the arguments promote to; in nats. Near zero,
where large terms cancel, a result is right to about 1e-7 (and may be that much below zero).
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from dlkit.checks import require_floating, require_same_shape
from dlkit.losses.shared import Values, as_real, require_values, widen
from dlkit.typing import Array, DTypeLike

__all__ = ["jensen_shannon", "kl_divergence", "kl_divergence_normal", "reverse_kl_divergence"]


def kl_divergence(
    log_predictions: Float[Array, "*batch classes"] | Values, targets: Float[Array, "*batch classes"] | Values
) -> Float[Array, "*batch"]:
    """Kullback-Leibler divergence from predictions p to targets t: KL(t || p) = sum_c t_c (log t_c - log p_c).

    The cross-entropy less the entropy of the targets. A class with t_c = 0 adds nothing, even where log p_c = -inf; the
    derivative of t log t at 0, which is infinite, is taken as 0.

    Args:
        log_predictions: log-probabilities log p, not logits: what `jax.nn.log_softmax` returns.
        targets: probabilities t of the same shape (their sum is not checked).

    Returns:
        One divergence per example.

    Raises:
        ValueError: the shapes differ, there is no axis, a target is negative (inside `jit`, where it cannot be seen,
            the result is NaN instead), or the predictions are logits, no log-probabilities (not seen inside `jit`).
        TypeError: a dtype is not floating point.

    Reference:
        Kullback and Leibler, "On information and sufficiency", Annals of Mathematical Statistics 22, 1951.

    Example:
        >>> round(float(kl_divergence(jnp.log(jnp.array([0.25, 0.75])), jnp.array([0.0, 1.0]))), 3)  # log(4 / 3)
        0.288
    """
    dtype, log_predictions, targets = _distributions("kl_divergence", log_predictions, targets)
    # 0 (log 0 - log p) = 0: replaced before the product, or its gradient would be 0 * inf = NaN.
    empty = targets == 0
    log_ratio = jnp.log(jnp.where(empty, 1.0, targets)) - jnp.where(empty, 0.0, log_predictions)
    # KL(t || p) = sum_c t_c (log t_c - log p_c)
    return jnp.sum(jnp.where(empty, 0.0, targets * log_ratio), axis=-1).astype(dtype)


def reverse_kl_divergence(
    log_predictions: Float[Array, "*batch classes"] | Values, targets: Float[Array, "*batch classes"] | Values
) -> Float[Array, "*batch"]:
    """Kullback-Leibler divergence from targets t to predictions p: KL(p || t) = sum_c p_c (log p_c - log t_c).

    It seeks one mode of the targets, where `kl_divergence` covers all. Infinite where a class with t_c = 0 has p_c > 0;
    a class with p_c = 0 adds nothing.

    Args:
        log_predictions: log-probabilities log p, not logits: what `jax.nn.log_softmax` returns.
        targets: probabilities t of the same shape (their sum is not checked).

    Returns:
        One divergence per example.

    Raises:
        ValueError: the shapes differ, there is no axis, a target is negative (inside `jit`, where it cannot be seen,
            the result is NaN instead), or the predictions are logits, no log-probabilities (not seen inside `jit`).
        TypeError: a dtype is not floating point.

    Reference:
        Minka, "Divergence measures and message passing", 2005,
        https://www.microsoft.com/en-us/research/publication/divergence-measures-and-message-passing/.

    Example:
        >>> divergence = reverse_kl_divergence(jnp.log(jnp.array([0.0, 1.0])), jnp.array([0.25, 0.75]))
        >>> round(float(divergence), 3)  # log(4 / 3)
        0.288
    """
    dtype, log_predictions, targets = _distributions("reverse_kl_divergence", log_predictions, targets)
    predictions = jnp.exp(log_predictions)
    # 0 (log 0 - log t) = 0: replaced before the product, or its gradient would be 0 * inf = NaN.
    empty = predictions == 0
    log_ratio = jnp.where(empty, 0.0, log_predictions) - jnp.log(jnp.where(empty & (targets == 0), 1.0, targets))
    # KL(p || t) = sum_c p_c (log p_c - log t_c)
    return jnp.sum(predictions * log_ratio, axis=-1).astype(dtype)


def jensen_shannon(
    log_predictions: Float[Array, "*batch classes"] | Values, targets: Float[Array, "*batch classes"] | Values
) -> Float[Array, "*batch"]:
    """Jensen-Shannon divergence: KL(p || m) / 2 + KL(t || m) / 2 with the mixture m = (p + t) / 2.

    Symmetric in predictions and targets, and between 0 (equal) and log 2 (disjoint). A class with p_c = 0 or t_c = 0
    adds nothing to the half that it is missing from; the derivative of t log t at 0, which is infinite, is taken as 0.

    Args:
        log_predictions: log-probabilities log p, not logits: what `jax.nn.log_softmax` returns.
        targets: probabilities t of the same shape (their sum is not checked).

    Returns:
        One divergence per example.

    Raises:
        ValueError: the shapes differ, there is no axis, a target is negative (inside `jit`, where it cannot be seen,
            the result is NaN instead), or the predictions are logits, no log-probabilities (not seen inside `jit`).
        TypeError: a dtype is not floating point.

    Reference:
        Lin, "Divergence measures based on the Shannon entropy", IEEE Transactions on Information Theory 37, 1991.

    Example:
        >>> round(float(jensen_shannon(jnp.log(jnp.array([0.0, 1.0])), jnp.array([1.0, 0.0]))), 3)  # log(2)
        0.693
    """
    dtype, log_predictions, targets = _distributions("jensen_shannon", log_predictions, targets)
    predictions = jnp.exp(log_predictions)
    # m = (p + t) / 2, zero only where p = t = 0, which adds nothing
    total = predictions + targets
    log_mixture = jnp.log(jnp.where(total == 0, 1.0, total)) - math.log(2.0)
    # 0 log 0 = 0: replaced before the products, or their gradients would be 0 * inf = NaN.
    no_prediction, no_target = predictions == 0, targets == 0
    log_predictions = jnp.where(no_prediction, 0.0, log_predictions)
    log_targets = jnp.log(jnp.where(no_target, 1.0, targets))
    # p (log p - log m) / 2 + t (log t - log m) / 2
    halves = predictions * (log_predictions - log_mixture) + jnp.where(
        no_target, 0.0, targets * (log_targets - log_mixture)
    )
    return jnp.sum(0.5 * halves, axis=-1).astype(dtype)


def kl_divergence_normal(
    mean: Float[Array, "*batch features"] | Values, log_variance: Float[Array, "*batch features"] | Values
) -> Float[Array, "*batch"]:
    """KL(N(mean, variance) || N(0, 1)) of independent normals: sum_i (m_i^2 + v_i - 1 - log v_i) / 2.

    The regularizing term of the variational autoencoder.

    Args:
        mean: m, the features in the last axis.
        log_variance: log v, of the same shape. Beyond 88 the variance is no float32 any more, and the result inf.

    Returns:
        One divergence per example, the sum over the features.

    Raises:
        ValueError: the shapes differ, or there is no axis.
        TypeError: a dtype is not floating point.

    Reference:
        Kingma and Welling, "Auto-encoding variational Bayes", 2013, https://arxiv.org/abs/1312.6114 (appendix B).

    Example:
        >>> kl_divergence_normal(jnp.array([0.0, 2.0]), jnp.array([0.0, 0.0]))
        Array(2., dtype=float32)
    """
    mean, log_variance = as_real(mean, log_variance)
    require_floating("kl_divergence_normal", mean=mean, log_variance=log_variance)
    require_same_shape("kl_divergence_normal", mean=mean, log_variance=log_variance)
    _require_axis("kl_divergence_normal", mean, "mean [*batch, features]")
    dtype, (mean, log_variance) = widen(mean, log_variance)
    # (m^2 + v - 1 - log v) / 2, with expm1 because v - 1 is a small difference near the prior
    terms = 0.5 * (jnp.square(mean) + (jnp.expm1(log_variance) - log_variance))
    return jnp.sum(terms, axis=-1).astype(dtype)


def _distributions(
    where: str, log_predictions: Array | Values, targets: Array | Values
) -> tuple[DTypeLike, Array, Array]:
    """The dtype of the divergences and both distributions in at least float32, after checking them."""
    log_predictions, targets = as_real(log_predictions, targets)
    require_floating(where, log_predictions=log_predictions, targets=targets)
    require_same_shape(where, log_predictions=log_predictions, targets=targets)
    _require_axis(where, targets, "distributions [*batch, classes]")
    require_values(where, "targets", targets, lambda values: values >= 0, "that are probabilities, at least 0")
    _require_log_probabilities(where, log_predictions)
    dtype, (log_predictions, targets) = widen(log_predictions, targets)
    return dtype, log_predictions, targets


def _require_axis(where: str, x: Array, expected: str) -> None:
    """Refuse a scalar."""
    if x.ndim == 0:
        raise ValueError(f"{where}: expected {expected}, got a scalar")


def _require_log_probabilities(where: str, log_predictions: Array) -> None:
    """Refuse rows whose exponentials do not sum to 1, where their values are known: outside `jit`. NaN passes."""
    if isinstance(log_predictions, jax.core.Tracer) or log_predictions.size == 0:
        return
    # What rounding to the dtype may make of the sum of this many equal ones
    eps = float(jnp.finfo(log_predictions.dtype).eps)  # type: ignore[no-untyped-call]
    rounding = eps * (1.0 + math.log(log_predictions.shape[-1]))
    with np.errstate(over="ignore"):
        sums = np.exp(np.asarray(log_predictions).astype(np.float64)).sum(axis=-1)
    wrong = np.atleast_1d(np.abs(sums - 1.0) > max(1e-3, rounding))
    if wrong.any():
        position = tuple(int(index[0]) for index in np.nonzero(wrong))
        at = f" at position {position}" if sums.ndim else ""
        raise ValueError(
            f"{where}: expected log_predictions to be log-probabilities, got some whose exponentials sum to "
            f"{np.atleast_1d(sums)[position]:.4g}{at}; of logits, take jax.nn.log_softmax"
        )
