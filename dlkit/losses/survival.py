"""Losses of times until an event, some of which are censored: of these only a time before the event is known.

A time comes with whether the event was seen then (1) or the example was last seen without it (0). Computed in at least
float32, returned in the dtype that predictions and times promote to.
"""

import functools
import math
from collections.abc import Callable
from typing import TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Integer

from dlkit.checks import require_floating, require_same_shape
from dlkit.losses.shared import Values, as_real, over_scale, require_values, widen
from dlkit.typing import Array

__all__ = ["aft", "concordance_index", "cox"]

TIES = ("efron", "breslow")

Events: TypeAlias = Bool[Array, "*shape"] | Integer[Array, "*shape"] | Float[Array, "*shape"] | Values


def cox(
    log_hazards: Float[Array, "*batch examples"] | Values,
    times: Float[Array, "*batch examples"] | Values,
    events: Events,
    *,
    ties: str = "efron",
) -> Float[Array, "*batch examples"]:
    """Negative log partial likelihood of Cox's proportional hazards: log sum_{j: t_j >= t_i} exp(r_j) - r_i.

    One term for each event i, over those who were at risk then: the other examples of the last axis, whose times are at
    least as late. A censored example has the loss 0. The values depend on the other examples, so the last axis is the
    batch, and axes before it hold batches that do not see each other. The log partial likelihood is -sum over the
    losses. Only differences of r count.

    With m events at one time, Breslow's form has the same sum for all of them; Efron's takes the l-th of them with
    l / m of their own hazards left out, l = 0 ... m - 1, and gives each event the mean of these m terms.

    O(n log n) operations and O(n) memory for n examples.

    Args:
        log_hazards: predicted r, the logarithm of the hazard relative to anybody's; the examples in the last axis.
        times: of the event, or of the last look, in any unit; only their order counts.
        events: 1 or true where the event was seen, 0 or false where the example is censored.
        ties: "efron" or "breslow".

    Returns:
        One loss per example, in nats.

    Raises:
        ValueError: the shapes differ, there is no axis, the ties are unknown, or, outside `jit`, an event is neither 0
            nor 1 or a time is NaN.
        TypeError: log hazards or times are not floating point.

    Reference:
        Cox, "Regression models and life-tables", Journal of the Royal Statistical Society B 34, 1972;
        Efron, "The efficiency of Cox's likelihood function for censored data", JASA 72, 1977.

    Example:
        >>> losses = cox(jnp.zeros(3), jnp.array([2.0, 1.0, 3.0]), jnp.array([1, 1, 0]))  # log 2 and log 3
        >>> [round(loss, 3) for loss in losses.tolist()]
        [0.693, 1.099, 0.0]
    """
    log_hazards, times = as_real(log_hazards, times)
    events = jnp.asarray(events)
    if ties not in TIES:
        raise ValueError(f"cox: expected ties to be 'efron' or 'breslow', got {ties!r}")
    seen = _check("cox", times, events, log_hazards=log_hazards)
    if log_hazards.ndim == 0:
        raise ValueError("cox: expected log hazards [*batch, examples], got a scalar")
    dtype, (log_hazards, times) = widen(log_hazards, times)
    shape = log_hazards.shape
    if shape[-1] == 0:
        return log_hazards.astype(dtype)
    rows = (each.reshape(math.prod(shape[:-1]), shape[-1]) for each in (log_hazards, times, seen))
    losses = jax.vmap(functools.partial(_partial_likelihood, ties=ties))(*rows)
    return losses.reshape(shape).astype(dtype)


def aft(
    location: Float[Array, "*shape"] | Values,
    times: Float[Array, "*shape"] | Values,
    events: Events,
    log_scale: Float[Array, "*shape"] | Values,
    *,
    distribution: str = "weibull",
) -> Float[Array, "*shape"]:
    """Negative log-likelihood of an accelerated failure time: log t = m + s e with e of a known distribution.

    An event adds -log f(t), a censored example -log S(t), the probability of a later event. With
    z = (log t - m) / s:

    - "weibull": S = exp(-exp(z)); 1 / s is the shape of the Weibull distribution and exp(m) its scale.
    - "log-normal": S = 1 - Phi(z).
    - "log-logistic": S = 1 / (1 + exp(z)).

    Args:
        location: predicted m, any shape: a time in logarithms.
        times: t of the event, or of the last look, above 0.
        events: 1 or true where the event was seen, 0 or false where the example is censored.
        log_scale: predicted log s, of the same shape: positive without a floor.
        distribution: of the times.

    Returns:
        One loss per element, in nats. For "weibull" it is inf beyond z = 88, where exp(z) is no float32 any more.

    Raises:
        ValueError: the shapes differ, the distribution is unknown, or, outside `jit`, an event is neither 0 nor 1 or a
            time is not above 0.
        TypeError: location, times or log_scale is not floating point.

    Reference:
        Kalbfleisch and Prentice, "The statistical analysis of failure time data", 2nd edition, 2002, chapter 3.

    Example:
        >>> two = jnp.array([2.0, 2.0])
        >>> losses = aft(jnp.log(two), two, jnp.array([0, 1]), jnp.zeros(2))  # 2 / 2, and 1 + log 2
        >>> [round(loss, 3) for loss in losses.tolist()]
        [1.0, 1.693]
    """
    location, times, log_scale = as_real(location, times, log_scale)
    events = jnp.asarray(events)
    if distribution not in _NEGATIVE_LOGS:
        raise ValueError(f"aft: expected a distribution among {', '.join(_NEGATIVE_LOGS)}, got {distribution!r}")
    seen = _check("aft", times, events, location=location, log_scale=log_scale)
    require_values("aft", "times", times, lambda values: values > 0, "above 0")
    dtype, (location, times, log_scale) = widen(location, times, log_scale)
    log_times = jnp.log(times)
    # z = (log t - m) / s
    z = over_scale(log_times - location, log_scale)
    of_event, of_later = _NEGATIVE_LOGS[distribution](z)
    # -log f(t) = -log f_e(z) + log s + log t, because dz / dt = 1 / (s t)
    return jnp.where(seen, of_event + log_scale + log_times, of_later).astype(dtype)


def concordance_index(
    risks: Float[Array, " examples"] | Values, times: Float[Array, " examples"] | Values, events: Events
) -> Float[Array, ""]:
    """Harrell's concordance index: of the pairs whose order is known, the share in which the earlier has more risk.

    A pair's order is known if the earlier time is that of an event; at equal times, if one of the two is an event and
    the other is censored, who then lived longer. Equal risks count 1/2. Chance has 1/2, the right order 1. Without a
    pair whose order is known it is 1/2; with a risk that is NaN, NaN. It is a metric, and has no gradient.

    All examples together: no mean over examples or batches. O(n^2) operations and O(n) memory for n examples.

    Args:
        risks: predicted, such as log hazards; of predicted times, their negatives.
        times: of the event, or of the last look.
        events: 1 or true where the event was seen, 0 or false where the example is censored.

    Returns:
        A number from 0 to 1, in at least float32.

    Raises:
        ValueError: the shapes differ or are not [examples], or, outside `jit`, an event is neither 0 nor 1 or a time is
            NaN.
        TypeError: risks or times are not floating point.

    Reference:
        Harrell et al., "Evaluating the yield of medical tests", JAMA 247, 1982.

    Example:
        >>> risks, times = jnp.array([3.0, 1.0, 2.0, 0.0]), jnp.array([1.0, 2.0, 3.0, 3.0])  # 4 of 5 pairs are right
        >>> round(float(concordance_index(risks, times, jnp.array([1, 1, 0, 0]))), 3)
        0.8
    """
    risks, times = as_real(risks, times)
    events = jnp.asarray(events)
    seen = _check("concordance_index", times, events, risks=risks)
    if risks.ndim != 1:
        raise ValueError(f"concordance_index: expected risks [examples], got {jax.typeof(risks)}")
    _, (risks, times) = widen(risks, times)

    def pairs(first: tuple[Array, Array, Array]) -> tuple[Array, Array]:
        """Of one example, if it had the event: with how many others its order is known, and how often it is right."""
        risk, time, event = first
        known = event & ((time < times) | ((time == times) & ~seen))
        right = jnp.where(risk > risks, 1.0, jnp.where(risk == risks, 0.5, 0.0))
        return known.sum(), jnp.where(known, right, 0.0).sum()

    known, right = jax.lax.map(pairs, (risks, times, seen), batch_size=256)
    known = known.astype(risks.dtype).sum()
    index = jnp.where(known == 0, 0.5, right.astype(risks.dtype).sum() / jnp.maximum(known, 1.0))
    return jnp.where(jnp.isnan(risks).any(), jnp.nan, index)


def _partial_likelihood(log_hazards: Array, times: Array, seen: Array, *, ties: str) -> Array:
    """The losses of one batch, [examples]."""
    count = times.shape[0]
    order = jnp.argsort(times)
    # Only differences count: around the greatest, hazards far from 1 cost no digits.
    log_hazards = log_hazards - jax.lax.stop_gradient(log_hazards.max())
    r, t, e = log_hazards[order], times[order], seen[order]
    # log sum_{j: t_j >= t_i} exp(r_j): sums from the latest on, read where the examples of this time begin
    at_risk = jnp.flip(jax.lax.cumlogsumexp(jnp.flip(r)))
    begins = jnp.searchsorted(t, t, side="left")
    at_risk = at_risk[begins]
    if ties == "efron":
        at_risk = _efron(r, e, begins, at_risk, count)
    losses = jnp.where(e, at_risk - r, 0.0)
    return jnp.zeros_like(losses).at[order].set(losses)


def _efron(r: Array, e: Array, begins: Array, at_risk: Array, count: int) -> Array:
    """The mean of log(sum_risk - l / m sum_tied) over l = 0 ... m - 1, for the m events of each time."""
    one = e.astype(r.dtype)
    deaths = jax.ops.segment_sum(one, begins, count)[begins]
    # The number of events at this time before this one; summed in integers, which do not round.
    before = jnp.cumsum(e.astype(jnp.int32)) - e
    left_out = jnp.where(e, (before - before[begins]).astype(r.dtype) / jnp.maximum(deaths, 1.0), 0.0)
    # log sum_tied - log sum_risk, around the greatest of the time's own
    greatest = jax.lax.stop_gradient(jax.ops.segment_max(jnp.where(e, r, -jnp.inf), begins, count)[begins])
    greatest = jnp.where(jnp.isfinite(greatest), greatest, 0.0)
    tied = jax.ops.segment_sum(jnp.where(e, jnp.exp(jnp.where(e, r - greatest, 0.0)), 0.0), begins, count)[begins]
    share = jnp.where(e, jnp.exp(jnp.where(e, jnp.log(jnp.where(tied > 0, tied, 1.0)) + greatest - at_risk, 0.0)), 0.0)
    # log(sum_risk - l / m sum_tied) = log sum_risk + log(1 - l / m share), with l / m below 1 and share at most 1
    less = jnp.where(e, jnp.log1p(-left_out * jnp.minimum(share, 1.0)), 0.0)
    return at_risk + jax.ops.segment_sum(less, begins, count)[begins] / jnp.maximum(deaths, 1.0)


def _weibull(z: Array) -> tuple[Array, Array]:
    """-log f_e and -log S of the least extreme value distribution."""
    hazard = jnp.exp(z)
    return hazard - z, hazard


def _log_logistic(z: Array) -> tuple[Array, Array]:
    """-log f_e and -log S of the logistic distribution."""
    later = jax.nn.softplus(z)
    return 2.0 * later - z, later


def _log_normal(z: Array) -> tuple[Array, Array]:
    """-log f_e and -log S of the normal distribution."""
    return 0.5 * jnp.square(z) + 0.5 * math.log(2.0 * math.pi), _normal_later(z)


def _normal_later(z: Array) -> Array:
    """-log(1 - Phi(z)), in three forms: near 1 its logarithm wants Phi, and erfc ends at 0 where that does not end."""
    bound = 10.0 if z.dtype.itemsize == 4 else 25.0
    early, far = z < 0, z > bound
    before = -jnp.log1p(-0.5 * jax.lax.erfc(jnp.where(early, -z, 0.0) / math.sqrt(2.0)))
    near = -jnp.log(0.5 * jax.lax.erfc(jnp.where(early | far, 0.0, z) / math.sqrt(2.0)))
    # 1 - Phi(z) = phi(z) / z (1 - 1 / z^2 + 3 / z^4 - 15 / z^6 + ...)
    z = jnp.where(far, z, bound)
    square = 1.0 / jnp.square(z)
    series = square * (-1.0 + square * (3.0 + square * (-15.0 + square * (105.0 - 945.0 * square))))
    beyond = 0.5 * jnp.square(z) + 0.5 * math.log(2.0 * math.pi) + jnp.log(z) - jnp.log1p(series)
    return jnp.where(early, before, jnp.where(far, beyond, near))


_NEGATIVE_LOGS: dict[str, Callable[[Array], tuple[Array, Array]]] = {
    "weibull": _weibull,
    "log-normal": _log_normal,
    "log-logistic": _log_logistic,
}


def _check(where: str, times: Array, events: Array, **predictions: Array) -> Array:
    """Check shapes, dtypes and known values; return where the event was seen."""
    require_floating(where, **predictions, times=times)
    require_same_shape(where, **predictions, times=times, events=events)
    require_values(where, "times", times, lambda values: ~np.isnan(values), "that are numbers")
    require_values(where, "events", events, lambda values: (values == 0) | (values == 1), "of 0 and 1")
    return events != 0
