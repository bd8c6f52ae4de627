"""Ranks of contenders over problems: Friedman's test, Nemenyi's distance; rank correlation."""

import math
import operator
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from dlkit.bench.stats.checks import Floats, array, error_rate, samples
from dlkit.bench.stats.order_statistics import doubled_midranks

__all__ = [
    "Friedman",
    "friedman",
    "friedman_permutation",
    "nemenyi_distance",
    "range_quantile",
    "rank_correlation",
]

GAPS = "; skillings_mack takes contenders that did not run on a problem as NaN"


class Friedman(NamedTuple):
    """Are the contenders' ranks equal over problems; see `friedman`.

    Attributes:
        mean_ranks: [contenders] midranks averaged over problems, 1 the best.
        chi_square: Friedman's statistic, as for data without ties.
        chi_square_p: from the chi-square distribution.
        f: Iman and Davenport's statistic of it.
        f_p: from the F distribution.
        tied_chi_square: the statistic corrected for ties.
        tied_chi_square_p: from the chi-square distribution.
        tied_f: Iman and Davenport's statistic of that.
        tied_f_p: from the F distribution; the one to use.
    """

    mean_ranks: Floats
    chi_square: float
    chi_square_p: float
    f: float
    f_p: float
    tied_chi_square: float
    tied_chi_square_p: float
    tied_f: float
    tied_f_p: float


def friedman(scores: ArrayLike, *, higher_is_better: bool = False) -> Friedman:
    """Friedman's test that k contenders rank alike over n problems, and Iman and Davenport's less cautious form.

    With mean ranks R_j: χ² = 12 n / (k (k + 1)) (Σ R_j² - k (k + 1)² / 4), F = (n - 1) χ² / (n (k - 1) - χ²). Ties
    shrink the variance of ranks: the corrected χ² is χ² / (1 - Σ (t³ - t) / (n (k³ - k))) over groups of t ties.

    Args:
        scores: [contenders, problems], one number each (a median over seeds); infinities are allowed, equal ones tie.
        higher_is_better: whether the highest score gets rank 1.

    Returns:
        The mean ranks and the tests. F is `inf` (p = 0) where all problems rank alike. With one problem or all scores
        equal nothing differs beyond chance: p = 1, F = 0. At 5 % and n = 5 the chi-square test rejects equals
        in 3 to 4 % of cases, F's in 6 to 7 %; from n = 10 on both in 4 to 6 % (simulated).

    Raises:
        ValueError: if `scores` is empty or has NaN, or there are fewer than two contenders.

    Reference:
        Friedman, "The use of ranks to avoid the assumption of normality", JASA, 1937; Iman and Davenport,
        Communications in Statistics, 1980; Demšar, "Statistical comparisons of classifiers", JMLR, 2006.

    Example:
        >>> friedman([[1, 2, 1, 1], [2, 1, 2, 2], [3, 3, 3, 3]]).chi_square
        6.5
    """
    from scipy.special import betainc, gammaincc

    values = array("scores", scores, ("contenders", "problems"), GAPS)
    k, n = values.shape
    if k < 2:
        raise ValueError(f"scores must have at least two contenders, got {k}")
    if higher_is_better:
        values = -values
    ranks = np.array([doubled_midranks(column) for column in values.T]) / 2
    mean_ranks = ranks.mean(axis=0)
    # Of n sums of squares of ranks around their mean, each k (k² - 1) / 12 without ties.
    deviation = float(np.sum((mean_ranks - (k + 1) / 2) ** 2))
    chi_square = 12 * n / (k * (k + 1)) * deviation
    kept = float(np.sum((ranks - (k + 1) / 2) ** 2)) / (n * k * (k * k - 1) / 12)
    results = []
    for statistic in (chi_square, chi_square / kept if kept > 0 else 0.0):
        left = n * (k - 1) - statistic
        if n == 1 or deviation == 0:
            results += [statistic, 1.0, 0.0, 1.0]
            continue
        p_value = float(gammaincc((k - 1) / 2, statistic / 2))
        f = (n - 1) * statistic / left if left > 1e-9 * n * k else math.inf
        # P(F > f) with k - 1 and (k - 1)(n - 1) degrees of freedom
        degrees = (k - 1) * (n - 1)
        f_p = float(betainc(degrees / 2, (k - 1) / 2, (n - 1) / (n - 1 + f))) if math.isfinite(f) else 0.0
        results += [statistic, p_value, f, f_p]
    return Friedman(mean_ranks, *results)


def friedman_permutation(
    scores: ArrayLike, *, resamples: int = 10_000, seed: int, higher_is_better: bool = False
) -> float:
    """The p-value of Friedman's test from permuted ranks: right at any number of problems, and with ties.

    If all contenders rank alike, the ranks on each problem are as likely in any other order. With R_j the sum of ranks,

        p = (1 + #(Σ R_j² of a permutation >= the observed one)) / (1 + resamples)

    Args:
        scores: as in `friedman`.
        resamples: permutations drawn, at least 1.
        seed: of the permutations.
        higher_is_better: as in `friedman`.

    Raises:
        ValueError: as `friedman`, or if `resamples` is below 1.

    Example:
        >>> 0.2 < friedman_permutation([[1, 1], [2, 2]], seed=0) < 0.8  # two problems that agree: p is 1/2
        True
    """
    values = array("scores", scores, ("contenders", "problems"), GAPS)
    if values.shape[0] < 2:
        raise ValueError(f"scores must have at least two contenders, got {values.shape[0]}")
    if resamples < 1:
        raise ValueError(f"resamples must be at least 1, got {resamples}; 10000 is usual")
    ranks = np.array([doubled_midranks(column) for column in (-values if higher_is_better else values).T])
    observed = int((ranks.sum(axis=0) ** 2).sum())
    rng = np.random.default_rng(seed)
    sums = np.zeros((resamples, values.shape[0]), dtype=np.int64)
    for row in ranks.astype(np.int64):
        sums += rng.permuted(np.broadcast_to(row, sums.shape), axis=1)
    return (1 + int(((sums**2).sum(axis=1) >= observed).sum())) / (1 + resamples)


def nemenyi_distance(contenders: int, problems: int, alpha: float = 0.05) -> float:
    """Nemenyi's critical distance: mean ranks that differ by more differ at level alpha, all pairs taken together.

    CD = q √(k (k + 1) / (6 n)), q the upper quantile of the studentized range of k over √2.

    Args:
        contenders: k >= 2.
        problems: n >= 1.
        alpha: the probability of a wrong claim, between 0 and 1.

    Raises:
        ValueError: if there are fewer contenders or problems, or `alpha` is not between 0 and 1.

    Reference:
        Nemenyi, "Distribution-free multiple comparisons", 1963; Demšar, JMLR, 2006.

    Example:
        >>> round(nemenyi_distance(4, 14), 2)
        1.25
    """
    k, n = operator.index(contenders), operator.index(problems)
    if k < 2 or n < 1:
        raise ValueError(f"there must be two contenders and one problem at least, got {k} and {n}")
    error_rate(alpha)
    return range_quantile(k, 1 - alpha) / math.sqrt(2) * math.sqrt(k * (k + 1) / (6 * n))


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
    first, second = samples(x=x, y=y)
    # Twice the midranks less their mean: integers, so that a perfect correlation is exactly 1.
    a, b = (doubled_midranks(values) - (values.size + 1) for values in (first, second))
    spread = math.sqrt(int(a @ a) * int(b @ b))
    return int(a @ b) / spread if spread else math.nan


@lru_cache(maxsize=64)
def range_quantile(k: int, share: float) -> float:
    """Returns the quantile of the range of k standard normal numbers, by bisection."""
    from scipy.special import ndtr

    z = np.linspace(-9.0, 30.0, 7801)
    density = np.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)
    low, high = 0.0, 20.0
    for _ in range(60):
        middle = 0.5 * (low + high)
        # P(range <= q) = k ∫ φ(z) (Φ(z) - Φ(z - q))^(k - 1) dz, z the largest
        inside = k * np.trapezoid(density * (ndtr(z) - ndtr(z - middle)) ** (k - 1), z)
        low, high = (middle, high) if inside < share else (low, middle)
    return 0.5 * (low + high)
