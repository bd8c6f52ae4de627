"""Honest estimates from arrays: intervals, a paired test, multiplicity, tuning curves.

Lower is better. A diverged trial or a missed target is `+inf`, never dropped or averaged into a number; NaN is refused.
All is exact combinatorics (Wilson's interval excepted): no simulation, so no result depends on a random seed.
"""

import math
import operator
from functools import lru_cache
from itertools import accumulate
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "Interval",
    "PairedDifference",
    "best_again",
    "expected_best",
    "holm",
    "luck_p_value",
    "median_interval",
    "paired_difference",
    "rank_correlation",
    "wilson_interval",
]

Floats = NDArray[np.float64]


class Interval(NamedTuple):
    """An estimate and its confidence interval, ends included."""

    estimate: float
    low: float
    high: float


class PairedDifference(NamedTuple):
    """How `x - y` is distributed over common seeds; see `paired_difference`."""

    estimate: float
    low: float
    high: float
    p_value: float
    wins: int
    losses: int
    ties: int


def wilson_interval(hits: int, trials: int, *, level: float = 0.95) -> Interval:
    """The share of hits and Wilson's score interval (Wilson, 1927), inside [0, 1].

    Args:
        hits: how many trials succeeded, 0 to `trials`.
        trials: how many there were. With 0 nothing is known: `Interval(nan, 0.0, 1.0)`.
        level: confidence level, between 0 and 1.

    Raises:
        ValueError: if `hits` is not in 0..trials or `level` not between 0 and 1.

    Example:
        >>> wilson_interval(0, 10).high < 0.28
        True
    """
    hits, trials, error_rate = operator.index(hits), operator.index(trials), _error_rate(level)
    if not 0 <= hits <= trials:
        raise ValueError(f"hits must lie between 0 and trials, got hits={hits} of trials={trials}; pass counts")
    if trials == 0:
        return Interval(math.nan, 0.0, 1.0)
    share = hits / trials
    z = -NormalDist().inv_cdf(error_rate / 2)
    # (p + z²/2n ± z √(p(1 - p)/n + z²/4n²)) / (1 + z²/n)
    shrink = 1 + z**2 / trials
    centre = (share + z**2 / (2 * trials)) / shrink
    half_width = z / shrink * math.sqrt(share * (1 - share) / trials + z**2 / (4 * trials**2))
    low = 0.0 if hits == 0 else centre - half_width
    high = 1.0 if hits == trials else centre + half_width
    return Interval(share, low, high)


def median_interval(values: ArrayLike, *, level: float = 0.95) -> Interval:
    """The sample median and its distribution-free interval.

    From the r-th smallest to the r-th largest value with the greatest r for which `2 P(Binomial(n, 1/2) < r)` is at
    most `1 - level`: the narrowest symmetric ranks that cover the median of every distribution, discrete ones included.

    Args:
        values: n >= 1 numbers; infinities are allowed (a censored time is `inf`).
        level: confidence level, between 0 and 1.

    Returns:
        The median and the interval, `-inf, inf` with too few values for the level (n <= 5 at 95 %). If n is even and
        the middle values are a number and `inf`, the median is `inf`; if they are `-inf` and `inf`, NaN.

    Raises:
        ValueError: if `values` is empty or has NaN, or `level` is not between 0 and 1.

    Example:
        >>> median_interval([3, 1, 4, 1.5, 9, 2.6])
        Interval(estimate=2.8, low=1.0, high=9.0)
    """
    ordered = np.sort(_samples(values=values)[0])
    n = ordered.size
    cdf = [count / 2**n for count in accumulate(math.comb(n, rank) for rank in range(n // 2 + 1))]
    low, high = _ends(ordered, ordered, cdf, level)
    return Interval(_median(ordered), low, high)


def paired_difference(x: ArrayLike, y: ArrayLike, *, level: float = 0.95) -> PairedDifference:
    """The difference `x - y` over common seeds, by Wilcoxon's signed ranks; negative if `x` is better.

    Null hypothesis: every difference is symmetric about 0, as when the contenders are exchangeable given the seed.
    The p-value counts sign flips, exact for every n: `|x - y|` gets midranks, zeros are ranked but not summed (Pratt,
    1959). The estimate is Hodges and Lehmann's, the median of the Walsh averages `(d_i + d_j) / 2, i <= j`; the
    interval ends at the averages where the untied test stops rejecting.

    An interval without 0 implies `p_value <= 1 - level`. The converse holds if no `|x - y|` is tied or zero; otherwise
    0 may lie on an end of the interval, rarely inside, although the test rejects.

    Two infinities of one sign tie; an infinite difference ranks highest. The average of `-inf` and `inf` has no value:
    the estimate goes without, each end of the interval takes the worse. Magnitudes equal to within the rounding of the
    arrays' dtype tie, so that shares and their counts agree: pass float32 metrics as float32.

    Args:
        x: one number per seed.
        y: the other contender's, same seeds, same order.
        level: confidence level of the interval, between 0 and 1.

    Returns:
        The estimate, the interval (`-inf, inf` with too few pairs for the level: n <= 5 at 95 %), the two-sided
        p-value, and the numbers of pairs with `x < y`, `x > y` and `x == y`.

    Raises:
        ValueError: if `x` and `y` differ in length, are empty or have NaN, or `level` is not between 0 and 1.

    Example:
        >>> paired_difference([1.0, 2.1, 3.2, 4.3, 5.4, 6.5], [2, 4, 6, 8, 10, 12]).p_value
        0.03125
    """
    differences = _differences(x, y)
    n = differences.size
    p_value = _sign_flip_p_value(differences)
    with np.errstate(invalid="ignore"):
        walsh = np.add.outer(0.5 * differences, 0.5 * differences)[np.triu_indices(n)]
    undefined = np.isnan(walsh)
    middle = _median(np.sort(walsh[~undefined]))
    estimate = 0.0 if math.isnan(middle) else middle  # as many -inf as inf: x and y stand equal
    lowest, highest = (np.sort(np.where(undefined, worst, walsh)) for worst in (-np.inf, np.inf))
    low, high = _ends(lowest, highest, _rank_sum_cdf(tuple(range(1, n + 1))), level)
    # Ties change the null distribution a little; widening to 0 keeps the interval from claiming more than the test.
    if p_value > _error_rate(level):
        low, high = min(low, 0.0), max(high, 0.0)
    wins, losses = int(np.sum(differences < 0)), int(np.sum(differences > 0))
    return PairedDifference(estimate, low, high, p_value, wins, losses, n - wins - losses)


def holm(p_values: ArrayLike) -> Floats:
    """Holm's adjusted p-values: reject where they are `<= a` and any wrong rejection has probability `<= a`.

    Args:
        p_values: one family of tests, dependent or not. If the same data picked the leader, all pairs belong to it.

    Returns:
        The adjusted p-values in the given order, at most 1 (Holm, 1979).

    Raises:
        ValueError: if `p_values` is empty or has a number outside [0, 1].

    Example:
        >>> holm([0.01, 0.04, 0.03]).tolist()
        [0.03, 0.06, 0.06]
    """
    raw = _samples(p_values=p_values)[0]
    if raw.min() < 0 or raw.max() > 1:
        raise ValueError(f"p_values must lie in [0, 1], got {raw.min()} to {raw.max()}; pass unadjusted p-values")
    order = np.argsort(raw, kind="stable")
    steps = np.maximum.accumulate(raw[order] * np.arange(raw.size, 0, -1))  # max over j <= i of (m - j + 1) p_(j)
    return np.minimum(steps, 1.0)[np.argsort(order)]


def expected_best(values: ArrayLike, k: int) -> float:
    """The expected minimum of `k` values drawn without replacement; over k = 1..n, the unbiased tuning curve.

    Args:
        values: n >= 1 observed results; `inf` for a diverged trial.
        k: how many are drawn, 1 to n; the result is `inf` if a draw can consist of diverged trials only.

    Raises:
        ValueError: if `k` is not in 1..n, or `values` is empty or has NaN or `-inf`.

    Example:
        >>> [expected_best([3.0, 1.0, 2.0], k) for k in (1, 2, 3)]
        [2.0, 1.3333333333333333, 1.0]
    """
    ordered = np.sort(_samples(values=values)[0])
    n, k = ordered.size, operator.index(k)
    if not 1 <= k <= n:
        raise ValueError(f"k must lie between 1 and the {n} observed values, got {k}; observe more or ask for less")
    if ordered[0] == -np.inf:
        raise ValueError("values has -inf, the best possible result; lower is better: a diverged trial is +inf")
    # Σ_i v_(i) C(n - i, k - 1) / C(n, k); the k - 1 largest can never be the minimum.
    return math.fsum(float(ordered[i]) * (math.comb(n - i - 1, k - 1) / math.comb(n, k)) for i in range(n - k + 1))


def best_again(values: ArrayLike, noise: float) -> Floats:
    """How probable it is that each value would be the smallest if all were measured once more with normal noise.

    Args:
        values: n >= 1 numbers.
        noise: standard deviation of the measurement, above 0.

    Returns:
        [n] probabilities that sum to 1.

    Raises:
        ValueError: if `values` is empty, has NaN or infinities, or `noise` is not above 0.

    Example:
        >>> best_again([0.0, 1.0], 0.5).round(2).tolist()  # Φ(1 / (0.5 √2)) and the rest
        [0.92, 0.08]
    """
    from scipy.special import log_ndtr

    centres = _samples(values=values)[0]
    if not (noise > 0 and np.isfinite(centres).all()):
        raise ValueError(f"values must be finite and noise above 0, got {centres} and {noise}")
    # ∫ φ(z_i) Π_{j≠i} Φ(-z_j) dt with z_i = (t - v_i) / noise, by the trapezoidal rule around the smallest value
    z = (centres.min() + noise * np.linspace(-7, 7, 281) - centres[:, None]) / noise
    survival = log_ndtr(-z)
    shares: Floats = np.exp(survival.sum(axis=0) - survival - 0.5 * z**2).sum(axis=1)
    shares /= shares.sum()
    return shares


def luck_p_value(gap: float, error: float, ours: ArrayLike, theirs: ArrayLike, noise: float) -> float:
    """How probable a gap of this size is between two winners that differ by the luck of tuning alone.

    Both contenders are tuned anew, in thought: each picks the point with the lowest score, measured once more with the
    noise of its tuning seeds, and the gap is that between the qualities picked, each relative to its mean, plus a
    normal error of measurement. The measured scores stand for the true ones, which nobody knows: a rough guess where
    few points lie far apart.

    Args:
        gap: between the winners on fresh seeds.
        error: its standard error, above 0.
        ours: tuning scores of one contender's points; infinities are points that cannot win.
        theirs: of the other.
        noise: standard deviation of a tuning score that points do not have in common, above 0.

    Returns:
        The two-sided p-value; 0 if neither contender had a choice that could matter.

    Example:
        >>> luck_p_value(1.0, 0.1, [0.0, 1.0], [0.0, 1.0], 0.1) < 1e-6  # the better point is picked every time
        True
        >>> luck_p_value(1.0, 0.1, [0.0, 1.0], [0.0, 1.0], 0.7) > 0.1
        True
    """
    from scipy.special import ndtr

    picked = []
    for scores in (ours, theirs):
        numbers = np.asarray(scores, np.float64)
        finite = numbers[np.isfinite(numbers)]
        shares = best_again(finite, noise) if finite.size > 1 else np.ones(finite.size)
        picked.append((shares, finite - (shares * finite).sum()))
    (shares, relative), (their_shares, their_relative) = picked
    shift = np.subtract.outer(relative, their_relative)
    weight = np.outer(shares, their_shares)
    if not shift.size or not (weight * np.abs(shift)).sum() > 1e-9 * error:
        return 0.0
    tails = ndtr(-(abs(gap) - shift) / error) + ndtr(-(abs(gap) + shift) / error)
    return min(1.0, float((weight * tails).sum()))


def rank_correlation(x: ArrayLike, y: ArrayLike) -> float:
    """Spearman's rank correlation with midranks, in [-1, 1]; NaN if `x` or `y` is constant.

    Args:
        x: numbers, infinities included.
        y: as many numbers.

    Raises:
        ValueError: if `x` and `y` differ in length, are empty or have NaN.

    Example:
        >>> rank_correlation([1, 2, 3], [0.1, 0.2, 0.9])
        1.0
    """
    first, second = _samples(x=x, y=y)
    # Twice the midranks less their mean: integers, so that a perfect correlation is exactly 1.
    a, b = (_doubled_midranks(values) - (values.size + 1) for values in (first, second))
    spread = math.sqrt(int(a @ a) * int(b @ b))
    return int(a @ b) / spread if spread else math.nan


def _samples(**named: ArrayLike) -> list[Floats]:
    """Checks samples: non-empty vectors of one length, without NaN."""
    samples = {name: np.asarray(values, dtype=np.float64) for name, values in named.items()}
    for name, sample in samples.items():
        if sample.ndim != 1 or sample.size == 0:
            raise ValueError(f"{name} must be a vector of at least one number, got shape {sample.shape}")
        if missing := np.flatnonzero(np.isnan(sample)).tolist():
            raise ValueError(f"{name} has NaN at {missing}; encode a diverged or missed trial as inf, leave others out")
    sizes = [sample.size for sample in samples.values()]
    if len(set(sizes)) > 1:
        raise ValueError(f"{' and '.join(samples)} must be paired, got {sizes} numbers; keep the common seeds only")
    return list(samples.values())


def _error_rate(level: float) -> float:
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, got {level}; 0.95 is usual")
    return 1 - level


def _ends(lowest: Floats, highest: Floats, cdf: ArrayLike, level: float) -> tuple[float, float]:
    """The r-th smallest and the r-th largest, r being how many outcomes of the null distribution fit into one tail."""
    rank = int(np.searchsorted(2 * np.asarray(cdf), _error_rate(level), side="right"))
    return (float(lowest[rank - 1]), float(highest[-rank])) if rank else (-math.inf, math.inf)


def _median(ordered: Floats) -> float:
    low, high = float(ordered[(ordered.size - 1) // 2]), float(ordered[ordered.size // 2])
    return 0.5 * low + 0.5 * high


def _doubled_midranks(values: Floats) -> NDArray[np.int64]:
    """Twice the midranks, which are integers: 2 for the smallest of distinct values, 2n for the largest."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((2 * np.cumsum(counts) - counts + 1)[inverse], dtype=np.int64)


def _differences(x: ArrayLike, y: ArrayLike) -> Floats:
    """`x - y` with exact signs, and magnitudes made equal where only rounding tells them apart."""
    first, second = _samples(x=x, y=y)
    with np.errstate(invalid="ignore", over="ignore"):
        differences: Floats = np.where(first == second, 0.0, first - second)
    usual = np.flatnonzero(np.isfinite(differences) & (differences != 0))
    order = usual[np.argsort(np.abs(differences[usual]), kind="stable")]
    magnitudes = np.abs(differences[order])
    # x, y and their difference are rounded: |error| <= ε (|x| + |y|)
    dtypes = (np.asarray(values).dtype for values in (x, y))
    resolution = max(float(np.finfo(dtype).eps) if dtype.kind == "f" else 0.0 for dtype in dtypes)
    rounding = resolution * np.abs(first[order]) + resolution * np.abs(second[order])
    is_new = np.diff(magnitudes, prepend=-np.inf) > rounding + np.concatenate([[0.0], rounding])[:-1]
    group_start = np.maximum.accumulate(np.where(is_new, np.arange(order.size), 0))
    differences[order] = np.copysign(magnitudes[group_start], differences[order])
    return differences


@lru_cache(maxsize=256)
def _rank_sum_cdf(ranks: tuple[int, ...]) -> Floats:
    """P(T <= t), t = 0..sum(ranks), for the sum T of a uniformly random subset of the ranks."""
    pmf = np.zeros(sum(ranks) + 1)
    pmf[0] = 1.0
    for rank in ranks:  # in or out with probability 1/2
        pmf = 0.5 * (pmf + np.concatenate([np.zeros(rank), pmf[:-rank]]))
    cdf: Floats = np.cumsum(pmf)
    cdf.setflags(write=False)
    return cdf


def _sign_flip_p_value(differences: Floats) -> float:
    """Two-sided exact p-value of the signed-rank statistic (Pratt's zeros, midranks)."""
    ranks = _doubled_midranks(np.abs(differences))
    negative, positive = int(ranks[differences < 0].sum()), int(ranks[differences > 0].sum())
    cdf = _rank_sum_cdf(tuple(np.sort(ranks[differences != 0]).tolist()))
    return min(1.0, 2 * float(cdf[min(negative, positive)]))
