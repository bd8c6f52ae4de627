"""Distances between distributions of which there are samples: how unlike two sets of points are.

The last axis holds the features, the one before the points of a sample, and axes before that pairs of samples that do
not see each other. Computed in at least float32, returned in the dtype that the arguments promote to.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Float

from dlkit.checks import require_floating, require_number, require_size
from dlkit.losses.shared import Values, as_real, widen
from dlkit.losses.similarity import require_axes
from dlkit.typing import Array, DTypeLike, Scalar

__all__ = ["maximum_mean_discrepancy", "sinkhorn"]


def maximum_mean_discrepancy(
    predictions: Float[Array, "*batch n features"] | Values,
    targets: Float[Array, "*batch m features"] | Values,
    *,
    bandwidth: Scalar = 1.0,
) -> Float[Array, "*batch"]:
    """Squared maximum mean discrepancy, mean k(x, x') + mean k(y, y') - 2 mean k(x, y), of a Gaussian kernel.

    The kernel is k = exp(-|x - y|^2 / (2 h^2)). The means are over all pairs, each point with itself too (the
    V-statistic): it is never below 0 but for rounding, and 0 for equal samples. For several scales at once, add the
    results of several bandwidths.

    Args:
        predictions: points x of one sample, in the last axis but one.
        targets: points y of the other; their number may differ, their features may not.
        bandwidth: h, above 0, in the unit of the features; the median distance is a usual choice.

    Returns:
        One value per pair of samples, in [0, 2].

    Raises:
        ValueError: the shapes do not belong together, a sample is empty, or bandwidth is a Python number not above 0.
        TypeError: a dtype is not floating point.

    Reference:
        Gretton et al., "A kernel two-sample test", JMLR 13, 2012,
        https://jmlr.org/papers/v13/gretton12a.html.

    Example:
        >>> near, far = jnp.zeros((2, 1)), jnp.full((3, 1), 100.0)
        >>> maximum_mean_discrepancy(near, near), maximum_mean_discrepancy(near, far)
        (Array(0., dtype=float32), Array(2., dtype=float32))
    """
    require_number("maximum_mean_discrepancy", "bandwidth", bandwidth, above=0)
    dtype, x, y = _samples("maximum_mean_discrepancy", predictions, targets)
    bandwidth = jnp.asarray(bandwidth, x.dtype)

    def mean_kernel(a: Array, b: Array) -> Array:
        # exp(-|x - y|^2 / (2 h^2)), over h first, so that no square overflows but where the kernel is 0
        return jnp.mean(jnp.exp(-_half_squares(a / bandwidth, b / bandwidth)), axis=(-2, -1))

    # mean k(x, x') + mean k(y, y') - 2 mean k(x, y)
    return (mean_kernel(x, x) + mean_kernel(y, y) - 2.0 * mean_kernel(x, y)).astype(dtype)


def sinkhorn(
    predictions: Float[Array, "*batch n features"] | Values,
    targets: Float[Array, "*batch m features"] | Values,
    *,
    regularization: Scalar = 0.05,
    iterations: int = 100,
) -> Float[Array, "*batch"]:
    """Sinkhorn divergence of two samples: W(x, y) - (W(x, x) + W(y, y)) / 2, of transport at the cost |x - y|^2 / 2.

    W is the least cost of moving one sample onto the other, each point with the weight 1 / n or 1 / m, plus e times the
    relative entropy of the plan to the independent one. As e goes to 0 it becomes the optimal transport, for large e a
    maximum mean discrepancy; the two terms taken off make it 0 for equal samples. Computed by iterations in logarithms,
    which need about (largest cost) / e rounds; derivatives of any order are those of the iterations, whose rounds are
    computed once more for them instead of kept.

    Args:
        predictions: points x of one sample, in the last axis but one.
        targets: points y of the other; their number may differ, their features may not.
        regularization: e, above 0, in the squared unit of the features.
        iterations: how many rounds, at least 1.

    Returns:
        One value per pair of samples, in the squared unit of the features.

    Raises:
        ValueError: the shapes do not belong together, a sample is empty, iterations is no positive integer, or
            regularization is a Python number not above 0.
        TypeError: a dtype is not floating point.

    Reference:
        Feydy et al., "Interpolating between optimal transport and MMD using Sinkhorn divergences", 2018,
        https://arxiv.org/abs/1810.08278.

    Example:
        >>> x = jnp.array([[0.0], [1.0]])
        >>> round(float(sinkhorn(x, x + 2.0)), 2), round(float(sinkhorn(x, x)), 2)  # every point by 2: 2^2 / 2
        (2.0, 0.0)
    """
    require_number("sinkhorn", "regularization", regularization, above=0)
    require_size("sinkhorn", iterations=iterations)
    dtype, x, y = _samples("sinkhorn", predictions, targets)
    regularization = jnp.asarray(regularization, x.dtype)

    def transport(a: Array, b: Array) -> Array:
        return _entropic_transport(_half_squares(a, b), regularization, iterations)

    # W(x, y) - (W(x, x) + W(y, y)) / 2
    return (transport(x, y) - 0.5 * (transport(x, x) + transport(y, y))).astype(dtype)


def _entropic_transport(costs: Array, regularization: Array, iterations: int) -> Array:
    """The regularized cost of transport between uniform weights, `[*batch, n, m]` to `[*batch]`, by its dual."""

    def soft_minimum(values: Array, axis: int) -> Array:
        """-e log mean exp(-v / e)."""
        least = jax.lax.stop_gradient(jnp.min(values, axis=axis, keepdims=True))
        above = (values - least) / regularization
        # Compilers may round the values here otherwise than in the least one: of large ones the difference would be
        # far below 0.
        above = jnp.where(above < 0, 0.0, above)
        return jnp.squeeze(least, axis) - regularization * jnp.log(jnp.mean(jnp.exp(-above), axis=axis))

    @jax.checkpoint
    def rounds(potentials: tuple[Array, Array], _: None) -> tuple[tuple[Array, Array], None]:
        f, g = potentials
        # Each potential by the other's last, and the mean with its own: both sides alike, whichever is first
        from_g = soft_minimum(costs - jnp.expand_dims(g, -2), -1)
        from_f = soft_minimum(costs - jnp.expand_dims(f, -1), -2)
        return (0.5 * (f + from_g), 0.5 * (g + from_f)), None

    start = (jnp.zeros_like(costs[..., 0]), jnp.zeros_like(costs[..., 0, :]))
    (_, g), _ = jax.lax.scan(rounds, start, None, length=iterations)
    f = soft_minimum(costs - jnp.expand_dims(g, -2), -1)
    g = soft_minimum(costs - jnp.expand_dims(f, -1), -2)
    # At the optimum the dual, mean f + mean g, is the primal; the last g fits f, so the plan has the weight 1.
    return jnp.mean(f, axis=-1) + jnp.mean(g, axis=-1)


def _half_squares(a: Array, b: Array) -> Array:
    """|x - y|^2 / 2 of all pairs, by differences: products would lose the digits of points near each other."""
    return 0.5 * jnp.sum(jnp.square(jnp.expand_dims(a, -2) - jnp.expand_dims(b, -3)), axis=-1)


def _samples(where: str, predictions: Array | Values, targets: Array | Values) -> tuple[DTypeLike, Array, Array]:
    """The dtype of the result and both samples in at least float32, after checking them."""
    predictions, targets = as_real(predictions, targets)
    require_floating(where, predictions=predictions, targets=targets)
    require_axes(where, predictions, 2, "predictions [*batch, n, features]")
    if targets.shape[:-2] != predictions.shape[:-2] or targets.shape[-1:] != predictions.shape[-1:]:
        raise ValueError(
            f"{where}: expected samples [*batch, n, features] and [*batch, m, features], got "
            f"{jax.typeof(predictions)} and {jax.typeof(targets)}"
        )
    if targets.ndim != predictions.ndim or not predictions.shape[-2] * targets.shape[-2]:
        raise ValueError(
            f"{where}: expected at least one point in each sample, got {jax.typeof(predictions)} and "
            f"{jax.typeof(targets)}"
        )
    dtype, (predictions, targets) = widen(predictions, targets)
    return dtype, predictions, targets
