"""Seeds added until it is settled: betting on paired differences, valid however often one looks."""

import bisect
import itertools
import math
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from dlkit.bench.stats.checks import Floats, array, error_rate
from dlkit.bench.stats.pairs import signed_differences

__all__ = ["Settlement", "evidence", "settle"]

AMBITIONS = (0.25, 0.5, 1.0, 2.0)  # bettors that share the money: how much each stakes on a usual difference
CAP = 4.0  # usual differences; a larger one, or an infinite, is staked on no more than this


class Settlement(NamedTuple):
    """What the seeds so far allow to say; see `settle`.

    Attributes:
        decision: "best": one contender beats every other. "within margin": what does not lie behind the leader lies
            within the margin of it. "continue": add seeds.
        leader: index of the contender named, None while there is none.
        seeds: how many seeds the decision took; all that there are while there is none.
        evidence: [contenders, contenders] the largest e-value so far that the row is better than the column.
        threshold: what each of them has to reach.
    """

    decision: Literal["best", "within margin", "continue"]
    leader: int | None
    seeds: int
    evidence: Floats
    threshold: float


def evidence(differences: ArrayLike) -> Floats:
    """E-values, seed after seed, that differences are negative: how a bettor's unit of money has grown.

    Before each seed a bettor stakes a share of the money on the sign: it grows by 1 - b sign(d), with the stake
    b = tanh(λ |d| / scale), scale the median magnitude so far; four bettors with λ from 1/4 to 2 share the money. If
    signs are fair coins whatever the magnitudes, or fall on the positive side more often, money does not grow on
    average. So it ever reaches c with a probability of at most 1 / c (Ville), however often one looks and whenever
    one stops.

    Args:
        differences: [seeds] `x - y` in the order the seeds came; infinities are allowed.

    Returns:
        [seeds] the money after each seed: evidence that `x` is better. That of `-differences` is evidence that `y` is.

    Raises:
        ValueError: if there are no differences, or a NaN.

    Reference:
        Ramdas et al., "Game-theoretic statistics and safe anytime-valid inference", Statistical Science, 2023; de la
        Peña, "A general class of exponential inequalities for martingales", Annals of Probability, 1999.

    Example:
        >>> bool(evidence([-1.0, -1.2, -0.8, -1.1, -0.9, -1.0, -1.3])[-1] > 20)
        True
    """
    values = array("differences", differences, ("seeds",))
    money: Floats = _paths(values[None])[0]
    return money


def settle(scores: ArrayLike, *, margin: float | None = None, level: float = 0.95) -> Settlement:
    """Whether the seeds so far settle who is best; to be asked after every seed added, as often as one likes.

    For each ordered pair the `evidence` that one beats the other is carried along; a contender is best once it has
    k / (1 - level) against every other. However many seeds are added, contenders of which none is strictly better
    than all others are called so with a probability of at most `1 - level`. A pair lies within the margin once there
    is k (k - 1) / 2 / (1 - level) for both "not worse by more" and "not better by more".

    Null hypotheses: a pair's difference is symmetric about 0, as for contenders that are exchangeable given the seed,
    or favours the other; for the margin, symmetric and unimodal about its centre.

    Args:
        scores: [contenders, seeds], seeds in the order they came; infinities are allowed.
        margin: differences up to this do not matter, > 0 and in the scores' units; None never settles for it.
        level: confidence level, between 0 and 1.

    Returns:
        The first decision that the seeds allowed. Two clearly different contenders need about 7 seeds at 95 %,
        where the signed-rank test needs 6: the price of looking after each.

    Raises:
        ValueError: if `scores` is empty or has NaN, there are fewer than two contenders, `margin` is not above 0 or
            `level` not between 0 and 1.

    Reference:
        Ramdas et al., "Game-theoretic statistics and safe anytime-valid inference", Statistical Science, 2023.

    Example:
        >>> settle([[1.0, 2.0, 3.0], [2.0, 3.0, 4.0]]).decision
        'continue'
    """
    values = array("scores", scores, ("contenders", "seeds"))
    k, seeds = values.shape
    alpha = error_rate(level)
    if k < 2:
        raise ValueError(f"scores must have at least two contenders, got {k}")
    if margin is not None and not 0 < margin < math.inf:
        raise ValueError(f"margin must be a number above 0, got {margin}")
    threshold = k / alpha
    better = np.ones((k, k, seeds))
    close = np.zeros((k, k, seeds), dtype=bool)
    for first, second in itertools.combinations(range(k), 2):
        gaps = signed_differences(values[first], values[second])
        shifts = (0.0,) if margin is None else (0.0, margin)
        paths = _paths(np.array([sign * gaps - shift for shift in shifts for sign in (1.0, -1.0)]))
        paths = np.maximum.accumulate(paths, axis=1)
        better[first, second], better[second, first] = paths[0], paths[1]
        if margin is not None:
            close[first, second] = close[second, first] = paths[2:].min(axis=0) >= k * (k - 1) / 2 / alpha
    beaten = better >= threshold
    itself = np.eye(k, dtype=bool)[:, :, None]
    best = (beaten | itself).all(axis=1)
    level_with = (beaten | close | itself).all(axis=1)
    when = np.flatnonzero(level_with.any(axis=0))
    if not when.size:
        return Settlement("continue", None, seeds, better[:, :, -1], threshold)
    last = int(when[0])
    decided = level_with[:, last]
    decision: Literal["best", "within margin"] = "within margin"
    if best[:, last].any():
        decided, decision = best[:, last], "best"
    # Of several within the margin of each other, the one with most evidence.
    weakest = np.where(np.eye(k, dtype=bool), np.inf, better[:, :, last]).min(axis=1)
    leader = int(np.argmax(np.where(decided, weakest, -1.0)))
    return Settlement(decision, leader, last + 1, better[:, :, last], threshold)


def _paths(differences: Floats) -> Floats:
    """The bettors' money [rows, seeds] on negative differences [rows, seeds]."""
    magnitudes = np.abs(differences)
    usual = np.array([_running_medians(row) for row in magnitudes])
    ratios = np.minimum(magnitudes / usual, CAP)
    stakes = np.tanh(np.multiply.outer(AMBITIONS, ratios))  # at most tanh 8: never all of it
    growth = np.cumsum(np.log1p(-stakes * np.sign(differences)), axis=-1)
    money: Floats = np.exp(np.minimum(growth, 700.0)).mean(axis=0)
    return money


def _running_medians(magnitudes: Floats) -> list[float]:
    """The upper median of the finite magnitudes above 0 so far; 1 while there are none."""
    seen: list[float] = []
    found = []
    for magnitude in magnitudes.tolist():
        if 0 < magnitude < math.inf:
            bisect.insort(seen, magnitude)
        found.append(seen[len(seen) // 2] if seen else 1.0)
    return found
