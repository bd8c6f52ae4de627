"""Tuning curves: the best of k points, its expectation, its bands, and who leads at which k."""

import math
import operator
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dlkit.bench.stats.checks import Floats, error_rate, samples

__all__ = ["TuningBands", "TuningLeaders", "expected_best", "tuning_bands", "tuning_curve", "tuning_leaders"]


class TuningBands(NamedTuple):
    """Tuning curves with bands that hold for all k at once; see `tuning_bands`.

    Attributes:
        points: [n] k = 1, 2, ..., n.
        mean: [n] the expected best of k points, unbiased.
        mean_low: [n] the band's lower end.
        mean_high: [n] its upper end.
        median: [n] the median best of k points.
        median_low: [n] the band's lower end.
        median_high: [n] its upper end.
    """

    points: NDArray[np.int64]
    mean: Floats
    mean_low: Floats
    mean_high: Floats
    median: Floats
    median_low: Floats
    median_high: Floats


class TuningLeaders(NamedTuple):
    """Who wins at how many points; see `tuning_leaders`.

    Attributes:
        points: [counts] the k asked for.
        expected: [counts, contenders] each one's expected best of k points.
        probability: [counts, contenders] that its best of k points is the lowest; ties share.
        leaders: [counts] index of the lowest expected best; the first of several.
    """

    points: NDArray[np.int64]
    expected: Floats
    probability: Floats
    leaders: NDArray[np.int64]


def expected_best(values: ArrayLike, k: int, *, estimator: Literal["unbiased", "plug-in"] = "unbiased") -> float:
    """The expected minimum of `k` values; over k = 1..n, the tuning curve.

    Args:
        values: n >= 1 observed results; `inf` for a diverged trial.
        k: how many are drawn, 1 to n; the result is `inf` if a draw can consist of diverged trials only.
        estimator: "unbiased" draws without replacement. "plug-in" draws with replacement, Σ v_(i) (((n - i + 1) /
            n)^k - ((n - i) / n)^k): it is never below the unbiased one, takes any k >= 1, and flatters nobody less
            for it: at k = n it is the mean minimum of resamples, above the minimum seen.

    Raises:
        ValueError: if `k` is not in 1..n ("plug-in": not >= 1), the estimator is neither, or `values` is empty or has
            NaN or `-inf`.

    Reference:
        Dodge et al., "Show your work", EMNLP 2019 (plug-in); Tang et al., "Showing your work doesn't always work",
        ACL 2020 (unbiased).

    Example:
        >>> [expected_best([3.0, 1.0, 2.0], k) for k in (1, 2, 3)]
        [2.0, 1.3333333333333333, 1.0]
        >>> expected_best([3.0, 1.0], 2, estimator="plug-in")
        1.5
    """
    ordered = _results(values)
    n, k = ordered.size, operator.index(k)
    if estimator == "plug-in":
        if k < 1:
            raise ValueError(f"k must be at least 1, got {k}")
        # P(minimum is v_(i)); a weight of 0 drops an infinite value.
        weights = [((n - i) / n) ** k - ((n - i - 1) / n) ** k for i in range(n)]
        return math.fsum(float(value) * weight for value, weight in zip(ordered, weights, strict=True) if weight)
    if estimator != "unbiased":
        raise ValueError(f'estimator must be "unbiased" or "plug-in", got {estimator!r}')
    if not 1 <= k <= n:
        raise ValueError(f"k must lie between 1 and the {n} observed values, got {k}; observe more or ask for less")
    if np.isinf(ordered[n - k]):  # the best that k draws are sure to reach
        return math.inf
    # v_(1) + Σ_i (v_(i + 1) - v_(i)) P(none of the first i is drawn): of equal values exactly that value.
    return float(ordered[0] + (_steps(ordered) * _none_of_first(n, k)[1:-1]).sum())


def tuning_curve(values: ArrayLike) -> Floats:
    """The expected minimum of 1, 2, ..., n of the values: `expected_best` for every k.

    Args:
        values: n >= 1 observed results; `inf` for a diverged trial.

    Returns:
        [n]

    Raises:
        ValueError: if `values` is empty or has NaN or `-inf`.

    Example:
        >>> tuning_curve([3.0, 1.0, 2.0]).tolist()
        [2.0, 1.3333333333333333, 1.0]
    """
    ordered = _results(values)
    n, curve = ordered.size, np.full(ordered.size, math.inf)
    if np.isinf(ordered[0]):
        return curve
    steps = _steps(ordered)
    others = np.arange(n - 1, 0, -1.0)  # how many come after the first 1, 2, ..., n - 1
    none = np.ones(
        n - 1
    )  # C(n - i, k) / C(n, k), by the recurrence from k - 1 to k: it can neither overflow nor cancel
    for k in range(1, n + 1):
        none = none[: n - k] * ((others[: n - k] - (k - 1)) / (n - k + 1))
        if np.isfinite(ordered[n - k]):
            curve[k - 1] = ordered[0] + (steps[: n - k] * none).sum()
    return curve


def _steps(ordered: Floats) -> Floats:
    """[n - 1] by how much each sorted value is above the one before it; 0 of infinite ones."""
    finite = ordered[np.isfinite(ordered)]
    return np.concatenate([np.diff(finite), np.zeros(ordered.size - max(finite.size, 1))])


def _none_of_first(n: int, k: int) -> Floats:
    """[n + 1] the probability that k of n, drawn without replacement, are none of the first 0, 1, ..., n.

    C(n - i, k) / C(n, k), by the recurrence from i to i + 1.
    """
    left = np.arange(n, 0, -1)
    return np.concatenate([[1.0], np.cumprod(np.maximum(left - k, 0) / left)])


def tuning_bands(
    values: ArrayLike, *, level: float = 0.95, bounds: tuple[float, float] = (-math.inf, math.inf)
) -> TuningBands:
    """The mean and the median best of k points, with simultaneous bands that assume no distribution.

    The empirical distribution function stays within ε = √(log(2 / α) / 2n) of the true one with a probability of at
    least `level` (Dvoretzky, Kiefer, Wolfowitz; Massart), and while it does, every curve made of the true one stays
    between those made of F + ε and F - ε. A mean has no distribution-free bound unless results are bounded: the
    median's band is the one that says something without `bounds`.

    Args:
        values: n >= 1 observed results of independent points; `inf` for a diverged trial.
        level: probability that a band holds for all k at once, between 0 and 1.
        bounds: the least and the greatest possible result, e.g. `(0.0, 1.0)` for an error rate.

    Returns:
        Curves and bands for k = 1..n; an end that is not bounded is the bound, infinite as it may be.

    Raises:
        ValueError: if `values` is empty, has NaN or `-inf` or lies outside the bounds, or `level` is not between 0
            and 1.

    Reference:
        Massart, "The tight constant in the Dvoretzky-Kiefer-Wolfowitz inequality", Annals of Probability, 1990; Lourie,
        Cho and He, "Show your work with confidence", NAACL 2024.

    Example:
        >>> bands = tuning_bands(range(1, 21), bounds=(0, 30))
        >>> [float(curve[0]) for curve in (bands.median_low, bands.median, bands.median_high)]
        [4.0, 10.0, 17.0]
    """
    ordered = _results(values)
    n = ordered.size
    if not bounds[0] <= ordered[0] or not ordered[-1] <= bounds[1]:
        raise ValueError(f"values must lie within the bounds {bounds}, got {ordered[0]} to {ordered[-1]}")
    radius = math.sqrt(math.log(2 / error_rate(level)) / (2 * n))
    points = np.arange(1, n + 1)
    mean = tuning_curve(ordered)
    below = np.arange(n + 1) / n  # F between the order statistics
    support = np.concatenate([[bounds[0]], ordered, [bounds[1]]])
    mean_low = _mean_best(support, np.concatenate([np.minimum(below + radius, 1.0), [1.0]]), n, -math.inf)
    mean_high = _mean_best(support, np.concatenate([np.maximum(below - radius, 0.0), [1.0]]), n, math.inf)
    share = 1 - 0.5 ** (1 / points)  # of points as good as the median best of k
    median, low, high = (_quantiles(support, below + shift, share) for shift in (0.0, radius, -radius))
    return TuningBands(points, mean, mean_low, mean_high, median, low, high)


def tuning_leaders(values: Sequence[ArrayLike], points: Sequence[int]) -> TuningLeaders:
    """Who wins at k points, for every k asked for: by expected best, and how probably by the best itself.

    Contenders draw k of their points independently and without replacement; the probabilities are exact. They tell
    what other draws of these points would give, not what other points would.

    Args:
        values: for each contender its observed results; `inf` for a diverged trial.
        points: the k to compare at, e.g. (1, 4, 16, 64).

    Returns:
        Expectations, probabilities and leaders.

    Raises:
        ValueError: if there is no contender or no k, or as `expected_best`.

    Example:
        >>> tuning_leaders([[1.0, 9.0, 9.0], [4.0, 4.0, 4.0]], (1, 3)).leaders.tolist()
        [1, 0]
    """
    results = [_results(each) for each in values]
    counts = np.array([operator.index(k) for k in points], dtype=np.int64)
    if not results or counts.size == 0:
        raise ValueError("values and points must not be empty")
    expected = np.array([[expected_best(each, int(k)) for each in results] for k in counts])
    probability = np.array([_probability_lowest(results, int(k)) for k in counts])
    return TuningLeaders(counts, expected, probability, expected.argmin(axis=1))


def _results(values: ArrayLike) -> Floats:
    """Sorted results; refuses -inf."""
    ordered: Floats = np.sort(samples(values=values)[0])
    if ordered[0] == -np.inf:
        raise ValueError("values has -inf, the best possible result; lower is better: a diverged trial is +inf")
    return ordered


def _mean_best(support: Floats, cdf: Floats, count: int, undefined: float) -> Floats:
    """The expected minimum of k draws from a distribution with this cdf at the support, for k = 1, 2, ...."""
    above = 1 - np.concatenate([[0.0], cdf])
    powers, means = np.ones_like(above), np.empty(count)
    for row in range(count):  # all powers at once would need memory by the square of their number
        powers *= above
        weights = -np.diff(powers)
        with np.errstate(invalid="ignore"):
            means[row] = np.where(weights > 0, support * weights, 0.0).sum()
    return np.where(np.isnan(means), undefined, means)


def _quantiles(support: Floats, cdf: Floats, shares: Floats) -> Floats:
    """The least support point at which the cdf reaches each share; the last one if it never does."""
    quantiles: Floats = support[np.searchsorted(np.maximum(cdf, -1.0), shares - 1e-12, side="left")]
    return quantiles


def _probability_lowest(results: Sequence[Floats], k: int) -> Floats:
    """For each contender, the probability that its best of k is the lowest of all, ties sharing."""
    grid = np.unique(np.concatenate(results))
    equal = np.empty((len(results), grid.size))
    above = np.empty_like(equal)
    for row, ordered in enumerate(results):
        n = ordered.size
        # P(best of k is the i-th) summed over ties, and P(best of k is greater)
        not_below = _none_of_first(n, k)
        above[row] = not_below[np.searchsorted(ordered, grid, side="right")]
        equal[row] = not_below[np.searchsorted(ordered, grid, side="left")] - above[row]
    # E[1 / (1 + ties)] = ∫_0^1 Π_j (P(above_j) + t P(equal_j)) dt, a polynomial of degree contenders - 1
    nodes, weights = np.polynomial.legendre.leggauss(len(results) // 2 + 1)
    probability = np.zeros(len(results))
    for node, weight in zip(0.5 * (nodes + 1), 0.5 * weights, strict=True):
        factors = above + node * equal
        for row in range(len(results)):
            others = np.delete(factors, row, axis=0).prod(axis=0)
            probability[row] += weight * float(equal[row] @ others)
    return probability
