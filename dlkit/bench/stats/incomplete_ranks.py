"""Ranks over problems on which not every contender ran: Skillings and Mack's test, mean ranks, Nemenyi's distances.

A cell that is missing by design tells nothing: it is neither a good nor a bad rank. In what follows k_b contenders ran
on problem b, and r_jb are their midranks there.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dlkit.bench.stats.checks import Floats, error_rate, with_gaps
from dlkit.bench.stats.ranks import range_quantile

__all__ = [
    "SkillingsMack",
    "are_joined",
    "connected",
    "expected_ranks",
    "midranks",
    "nemenyi_distances",
    "skillings_mack",
    "skillings_mack_permutation",
]

Bools = NDArray[np.bool_]
TRACE = 1e-6  # how much all problems count where a draw of them leaves something open


class SkillingsMack(NamedTuple):
    """Are the contenders' ranks equal over the problems where they ran; see `skillings_mack`.

    Attributes:
        statistic: corrected for ties.
        degrees: of freedom.
        p_value: from the chi-square distribution.
    """

    statistic: float
    degrees: int
    p_value: float


def connected(ran: ArrayLike) -> tuple[Bools, Bools]:
    """Finds the contenders whose ranks can be compared, and on which problems.

    Each of them ran on two problems at least, with another one of them on each; and any two have a problem in common,
    or are joined by others that have. Of several such parts the one with most contenders is taken.

    Args:
        ran: [contenders, problems] who ran where.

    Returns:
        [contenders] and [problems] that belong to it; none at all if there are no two such contenders.

    Example:
        >>> connected([[True, True, True], [True, True, False], [False, False, True]])[0].tolist()
        [True, True, False]
    """
    cells = np.asarray(ran, dtype=bool)
    contenders, problems = np.ones(len(cells), dtype=bool), np.ones(cells.shape[1], dtype=bool)
    while True:
        met = problems & (cells[contenders].sum(axis=0) >= 2)
        kept = contenders & (cells[:, met].sum(axis=1) >= 2)
        if kept.sum() == contenders.sum() and met.sum() == problems.sum():
            break
        contenders, problems = kept, met
    left = cells & contenders[:, None] & problems
    parts = {tuple(_reached(left, first)) for first in np.flatnonzero(contenders).tolist()}
    largest = max(sorted(parts), key=len, default=())
    contenders = np.isin(np.arange(len(cells)), largest)
    return contenders, problems & cells[contenders].any(axis=0)


def are_joined(ran: Bools) -> bool:
    """Whether any two contenders have a problem in common, or are joined by others that have."""
    return len(_reached(ran, 0)) == len(ran)


def _reached(cells: Bools, first: int) -> list[int]:
    """The contenders that are joined with one by common problems."""
    found = np.arange(len(cells)) == first
    while True:
        more = cells[:, cells[found].any(axis=0)].any(axis=1)
        if more.sum() <= found.sum():
            return [int(place) for place in np.flatnonzero(found)]
        found = more


def skillings_mack(scores: ArrayLike) -> SkillingsMack:
    """Skillings and Mack's test that contenders rank alike on the problems where they ran.

    A_j = Σ_b √(12 / (k_b + 1)) (r_jb - (k_b + 1) / 2), T = A' Σ⁻ A with Σ the covariance of A if all orders on a
    problem are as likely; ties shrink it. With no cell missing T is Friedman's statistic, corrected for ties.

    Args:
        scores: [contenders, problems], lower is better; NaN where a contender did not run. Infinities are allowed.

    Returns:
        The test. All scores equal: T = 0 and p = 1. With few problems p is rough: see `skillings_mack_permutation`.

    Raises:
        ValueError: if `scores` is empty, or contenders are not joined by problems that they have in common.

    Reference:
        Skillings and Mack, "On the use of a Friedman-type statistic in balanced and unbalanced block designs",
        Technometrics, 1981.

    Example:
        >>> skillings_mack([[1, 2, 1, 1], [2, 1, 2, 2], [3, 3, 3, float("nan")]]).degrees
        2
    """
    from scipy.special import gammaincc

    ranks = _ranked(scores)
    statistic = float(_statistics(ranks.weighted.sum(axis=1)[None], ranks.inverse)[0])
    degrees = len(ranks.centred) - 1
    return SkillingsMack(statistic, degrees, float(gammaincc(degrees / 2, statistic / 2)))


def skillings_mack_permutation(scores: ArrayLike, *, resamples: int = 10_000, seed: int) -> float:
    """The p-value of Skillings and Mack's test from ranks that are permuted among those who ran on each problem.

    It is right at any number of problems, with ties and with any cells missing, if which ones are missing has nothing
    to do with the scores there. With no cell missing it is `friedman_permutation`'s.

    Args:
        scores: as in `skillings_mack`.
        resamples: permutations drawn, at least 1.
        seed: of the permutations.

    Raises:
        ValueError: as `skillings_mack`, or if `resamples` is below 1.

    Example:
        >>> 0.2 < skillings_mack_permutation([[1, 1], [2, 2]], seed=0) < 0.8  # two problems that agree: p is 1/2
        True
    """
    if resamples < 1:
        raise ValueError(f"resamples must be at least 1, got {resamples}; 10000 is usual")
    ranks = _ranked(scores)
    observed = _statistics(ranks.weighted.sum(axis=1)[None], ranks.inverse)[0]
    rng = np.random.default_rng(seed)
    sums = np.zeros((resamples, len(ranks.centred)))
    for column, ran in zip(ranks.weighted.T, ranks.ran.T, strict=True):
        there = np.flatnonzero(ran)
        sums[:, there] += rng.permuted(np.broadcast_to(column[there], (resamples, there.size)), axis=1)
    least = observed - 1e-9 * max(1.0, float(observed))
    return (1 + int((_statistics(sums, ranks.inverse) >= least).sum())) / (1 + resamples)


def expected_ranks(scores: Floats, *, whole: Floats | None = None) -> Floats:
    """The mean ranks that contenders would have had on the problems if all had run on each.

    By least squares over all pairs on all problems where both ran: how often j is ahead of i, less one half, is
    t_i - t_j, and the rank is (k + 1) / 2 + k t_j, within 1 and k. So whoever met weak rivals gains nothing by it. With
    no cell missing it is the mean of the ranks, whatever they are.

    Args:
        scores: [draws, contenders, problems], lower is better; NaN where a contender did not run.
        whole: [contenders, problems] of all problems: what a draw of them leaves open is as there.

    Returns:
        [draws, contenders].
    """
    laplacians, sums = _normal_equations(scores)
    if whole is not None:
        all_laplacian, all_sums = _normal_equations(whole[None])
        laplacians, sums = laplacians + TRACE * all_laplacian, sums + TRACE * all_sums
    k = scores.shape[1]
    effects = np.linalg.solve(laplacians + 1.0, sums[..., None])[..., 0]  # the 1 sets their sum to 0
    ranks: Floats = np.clip((k + 1) / 2 + k * effects, 1.0, float(k))
    return ranks


def midranks(scores: ArrayLike) -> Floats:
    """Returns [contenders, problems] midranks among those that ran on a problem, 1 the best; NaN for the others.

    Args:
        scores: [contenders, problems], lower is better; NaN where a contender did not run.

    Example:
        >>> midranks([[3.0, float("nan")], [1.0, 2.0], [1.0, 1.0]])[:, 0].tolist()
        [3.0, 1.5, 1.5]
    """
    values = with_gaps("scores", scores, ("contenders", "problems"))
    ran = ~np.isnan(values)
    return np.where(ran, _centred(values[None])[0] + (ran.sum(axis=0) + 1) / 2, np.nan)


def nemenyi_distances(ran: ArrayLike, alpha: float = 0.05) -> Floats:
    """Nemenyi's critical distance between two `expected_ranks`, for each pair; wider where fewer problems are shared.

    q s / √2, q the upper quantile of the studentized range of k and s the standard deviation of the difference of the
    two if all orders on a problem are as likely. With no cell missing it is `nemenyi_distance`.

    Args:
        ran: [contenders, problems] who ran where; `connected`.
        alpha: the probability of a wrong claim, between 0 and 1.

    Returns:
        [contenders, contenders]; 0 on the diagonal, NaN for two that have no problem in common.

    Raises:
        ValueError: if `alpha` is not between 0 and 1.

    Example:
        >>> nemenyi_distances([[True] * 14] * 4).round(2)[0].tolist()
        [0.0, 1.25, 1.25, 1.25]
    """
    error_rate(alpha)
    cells = np.asarray(ran, dtype=bool)
    k = len(cells)
    inverse = np.linalg.pinv(_laplacian(cells))
    covariance = k * k * inverse @ _laplacian(cells, (cells.sum(axis=0) + 1) / 12) @ inverse
    variances = np.diag(covariance)
    apart = np.sqrt(np.maximum(variances[:, None] + variances - 2 * covariance, 0.0))
    distances = range_quantile(k, 1 - alpha) / math.sqrt(2) * apart
    met = (cells[:, None] & cells).any(axis=2)
    return np.where(np.eye(k, dtype=bool), 0.0, np.where(met, distances, np.nan))


class _Ranked(NamedTuple):
    """Ranks of incomplete problems.

    Attributes:
        ran: [contenders, problems].
        centred: [contenders, problems] midranks less their mean; 0 where a contender did not run.
        weighted: [contenders, problems] the same, of equal spread on each problem.
        inverse: [contenders, contenders] of the covariance of the weighted ones' sums.
    """

    ran: Bools
    centred: Floats
    weighted: Floats
    inverse: Floats


def _ranked(scores: ArrayLike) -> _Ranked:
    values = with_gaps("scores", scores, ("contenders", "problems"))
    ran = ~np.isnan(values)
    if len(values) < 2 or not are_joined(ran):
        raise ValueError("scores must have two contenders at least, all joined by problems that they have in common")
    counts = ran.sum(axis=0)
    centred = _centred(values[None])[0]
    weights = np.sqrt(12 / (counts + 1))
    spread = (centred**2).sum(axis=0) / np.maximum(counts * (counts - 1), 1)
    inverse = np.linalg.pinv(_laplacian(ran, weights**2 * spread), rcond=1e-9, hermitian=True).astype(np.float64)
    return _Ranked(ran, centred, weights * centred, inverse)


def _centred(values: Floats) -> Floats:
    """[draws, contenders, problems] midranks among those that ran, less their mean; 0 for those that did not."""
    first, second = values[:, :, None], values[:, None]
    below = (second < first).sum(axis=2, dtype=np.int32)
    above = (second > first).sum(axis=2, dtype=np.int32)
    halves: Floats = 0.5 * (below - above)  # a midrank is the mean rank and half of those below less those above
    return halves


def _normal_equations(values: Floats) -> tuple[Floats, Floats]:
    """[draws, contenders, contenders] and [draws, contenders] both sides of the equations of least squares."""
    ran = (~np.isnan(values)).astype(np.float64)
    together = ran @ ran.swapaxes(1, 2)
    degrees = together.sum(axis=2) - np.einsum("dii->di", together)
    laplacians = -together
    np.einsum("dii->di", laplacians)[...] = degrees
    return laplacians, _centred(values).sum(axis=2)


def _laplacian(ran: Bools, weights: Any = 1.0) -> Floats:
    """[contenders, contenders] of the graph in which two are joined by the weights of the problems they share."""
    together = (ran * weights) @ ran.T.astype(np.float64)
    laplacian: Floats = np.diag(together.sum(axis=1)) - together
    return laplacian


def _statistics(sums: Floats, inverse: Floats) -> Floats:
    """[draws] A' Σ⁻ A of sums [draws, contenders]."""
    statistics: Floats = np.einsum("di,ij,dj->d", sums, inverse, sums, optimize=True)
    return statistics
