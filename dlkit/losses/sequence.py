"""Losses of sequences whose alignment with the targets is unknown.

Computed in at least float32, returned in the dtype of the logits.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Integer

from dlkit.checks import require_class_indices, require_floating
from dlkit.losses.shared import Values, as_real, widen
from dlkit.typing import Array

__all__ = ["ctc"]


def ctc(
    logits: Float[Array, "*batch time classes"] | Values,
    targets: Integer[Array, "*batch labels"] | Values,
    *,
    logit_lengths: Integer[Array, "*batch"] | None = None,
    target_lengths: Integer[Array, "*batch"] | None = None,
    blank: int = 0,
) -> Float[Array, "*batch"]:
    """Connectionist temporal classification: -log of the total probability of all alignments with the labels.

    An alignment names a class at every time, the blank included; merging repeats and then dropping blanks must leave
    the labels. Two equal labels in a row need a blank between them. So labels with r such repeats fit only into
    label_length + r steps or more: **an example that does not fit has the loss inf and the gradient 0**. Leave it out
    with `jnp.where(jnp.isfinite(losses), losses, 0)`.

    Args:
        logits: unnormalized log-probabilities of the classes, the blank among them, at every time; padded at the end
            with anything.
        targets: the labels, class indices in [0, classes) without the blank, padded at the end with anything.
        logit_lengths: how many times are valid, from the first; None for all.
        target_lengths: how many labels are valid, from the first; None for all.
        blank: the class index of the blank.

    Returns:
        One loss per sequence, in nats.

    Raises:
        ValueError: the shapes do not belong together; blank is no class; or, outside `jit`, a length is out of range,
            or a valid label is the blank or outside [0, classes) (inside `jit` the loss of that example is NaN).
        TypeError: the logits are not floating point, or labels or lengths not integers.

    Reference:
        Graves et al., "Connectionist temporal classification", ICML 2006,
        https://www.cs.toronto.edu/~graves/icml_2006.pdf.

    Example:
        >>> targets, logits = jnp.array([1, 2]), jnp.zeros((3, 3))  # 5 of 27 paths: 0 1 2, 1 0 2, 1 2 0, 1 1 2, 1 2 2
        >>> round(float(jnp.exp(-ctc(logits, targets))), 4), round(5 / 27, 4)
        (0.1852, 0.1852)
    """
    (logits,) = as_real(logits)
    labels = jnp.asarray(targets)
    logit_lengths = None if logit_lengths is None else jnp.asarray(logit_lengths)
    target_lengths = None if target_lengths is None else jnp.asarray(target_lengths)
    require_floating("ctc", logits=logits)
    _check_shapes(logits, labels, logit_lengths, target_lengths, blank)
    batch, (time, classes), count = logits.shape[:-2], logits.shape[-2:], labels.shape[-1]
    labels = labels.astype(jnp.int32)
    logit_lengths = jnp.full(batch, time, jnp.int32) if logit_lengths is None else logit_lengths.astype(jnp.int32)
    target_lengths = jnp.full(batch, count, jnp.int32) if target_lengths is None else target_lengths.astype(jnp.int32)
    _check_values(labels, logit_lengths, target_lengths, time, classes, blank)

    dtype, (logits,) = widen(logits)
    size = math.prod(batch)
    losses = jax.vmap(functools.partial(_example_loss, blank=blank))(
        logits.reshape(size, time, classes), labels.reshape(size, count), logit_lengths.ravel(), target_lengths.ravel()
    )
    return losses.reshape(batch).astype(dtype)


def _example_loss(logits: Array, labels: Array, logit_length: Array, label_length: Array, *, blank: int) -> Array:
    """The loss of one example: logits [time, classes], labels [labels]."""
    time, classes = logits.shape
    # The labels with blanks between and around them: b l_1 b l_2 b ... l_n b. An alignment walks through these states.
    states = jnp.full((labels.shape[0], 2), blank, jnp.int32).at[:, 1].set(labels).ravel()
    states = jnp.concatenate([states, jnp.full(1, blank, jnp.int32)])
    position = jnp.arange(states.shape[0])
    # A blank may be jumped over, except between two equal labels.
    two_before = jnp.concatenate([jnp.full(2, blank, jnp.int32), states[:-2]])[: states.shape[0]]
    may_jump = (states != blank) & (states != two_before)

    # Replaced beforehand: what is not finite in the padding would make the gradient 0 * inf = NaN.
    valid_times = jnp.arange(time) < logit_length
    log_probabilities = jax.nn.log_softmax(jnp.where(valid_times.reshape(-1, 1), logits, 0.0), axis=-1)
    emissions = jnp.take(log_probabilities, jnp.clip(states, 0, classes - 1), axis=1)
    emissions = jnp.where((position <= 2 * label_length).reshape(1, -1), emissions, -jnp.inf)

    def step(carry: tuple[Array, Array], inputs: tuple[Array, Array]) -> tuple[tuple[Array, Array], None]:
        alpha, offset = carry
        emission, valid = inputs
        one_before, two_before = _shifted(alpha, 1), jnp.where(may_jump, _shifted(alpha, 2), -jnp.inf)
        # alpha_t(s) = (alpha(s) + alpha(s - 1) + alpha(s - 2) where s may jump) p_t(s)
        # Both factors are kept near 0, so that neither long sequences nor large logits cost digits; the offset has the
        # rest, and the sum is the same for every offset.
        loudest = _finite_peak(emission)
        following = _log_sum_exp(jnp.stack([alpha, one_before, two_before])) + (emission - loudest)
        peak = _finite_peak(following)
        return (jnp.where(valid, following - peak, alpha), jnp.where(valid, offset + (loudest + peak), offset)), None

    # Before the first step everything is in the first blank: from there the first two states can be reached.
    start = jnp.where(position == 0, 0.0, -jnp.inf).astype(logits.dtype)
    (alpha, offset), _ = jax.lax.scan(step, (start, jnp.zeros((), logits.dtype)), (emissions, valid_times))
    # All that end in the last label or in the blank after it.
    ends = (position == 2 * label_length) | (position == 2 * label_length - 1)
    loss = -(_log_sum_exp(jnp.where(ends, alpha, -jnp.inf)) + offset)

    used = jnp.arange(labels.shape[0]) < label_length
    sound = jnp.all(~used | ((labels >= 0) & (labels < classes) & (labels != blank)))
    sound &= (logit_length >= 0) & (logit_length <= time)
    sound &= (label_length >= 0) & (label_length <= labels.shape[0])
    return jnp.where(sound, loss, jnp.nan)


def _shifted(alpha: Array, steps: int) -> Array:
    """Every state's value of some states before."""
    return jnp.concatenate([jnp.full(steps, -jnp.inf, alpha.dtype), alpha])[: alpha.shape[0]]


def _finite_peak(x: Array) -> Array:
    """The largest element as a constant, 0 where all are -inf."""
    peak = jax.lax.stop_gradient(jnp.max(x, axis=0))
    return jnp.where(jnp.isneginf(peak), 0.0, peak)


def _log_sum_exp(x: Array) -> Array:
    """log(sum(exp(x))) over the first axis; -inf with the gradient 0 where all are -inf."""
    impossible = jnp.all(jnp.isneginf(x), axis=0)
    peak = _finite_peak(x)
    total = jnp.sum(jnp.exp(x - jnp.expand_dims(peak, 0)), axis=0)
    # The gradient of log at 0 is infinite: replaced before, not only in the result.
    return jnp.where(impossible, -jnp.inf, jnp.log(jnp.where(impossible, 1.0, total)) + peak)


def _check_shapes(
    logits: Array, labels: Array, logit_lengths: Array | None, target_lengths: Array | None, blank: int
) -> None:
    """Check shapes and dtypes against each other."""
    if logits.ndim < 2:
        raise ValueError(f"ctc: expected logits [*batch, time, classes], got {jax.typeof(logits)}")
    batch, classes = logits.shape[:-2], logits.shape[-1]
    for name, x in (("targets", labels), ("logit_lengths", logit_lengths), ("target_lengths", target_lengths)):
        if x is not None and not jnp.issubdtype(x.dtype, jnp.integer):
            raise TypeError(f"ctc: expected integer {name}, got {jax.typeof(x)}")
    if labels.ndim != len(batch) + 1 or labels.shape[:-1] != batch:
        raise ValueError(
            f"ctc: expected targets of shape {(*batch, 'labels')} for logits {jax.typeof(logits)}, "
            f"got {jax.typeof(labels)}"
        )
    for name, lengths in (("logit_lengths", logit_lengths), ("target_lengths", target_lengths)):
        if lengths is not None and lengths.shape != batch:
            raise ValueError(f"ctc: expected {name} of shape {batch}, one per sequence, got {jax.typeof(lengths)}")
    if not 0 <= blank < classes:
        raise ValueError(f"ctc: expected blank in [0, {classes}), got {blank}")


def _check_values(
    labels: Array, logit_lengths: Array, target_lengths: Array, time: int, classes: int, blank: int
) -> None:
    """Check lengths and valid labels where their values are known: outside `jit`."""
    count = labels.shape[-1]
    for name, lengths, largest in (("logit_lengths", logit_lengths, time), ("target_lengths", target_lengths, count)):
        if not isinstance(lengths, jax.core.Tracer):
            values = np.asarray(lengths)
            if ((values < 0) | (values > largest)).any():
                raise ValueError(f"ctc: expected {name} in [0, {largest}], got {values.tolist()}")
    if isinstance(labels, jax.core.Tracer) or isinstance(target_lengths, jax.core.Tracer):
        return
    used = np.arange(count) < np.asarray(target_lengths)[..., None]
    # Padding is replaced by a class, because it may be anything.
    require_class_indices("ctc", jnp.asarray(np.where(used, np.asarray(labels), 0)), classes)
    if (used & (np.asarray(labels) == blank)).any():
        raise ValueError(f"ctc: expected targets without the blank {blank}, got {np.asarray(labels).tolist()}")
