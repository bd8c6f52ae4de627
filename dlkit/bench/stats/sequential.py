"""Seeds added until it is settled: betting on paired differences, valid however often one looks."""

import bisect
import itertools
import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dlkit.bench.stats.checks import Floats, array, error_rate
from dlkit.bench.stats.intervals import Interval
from dlkit.bench.stats.pairs import signed_differences

__all__ = ["Settlement", "confidence_sequence", "evidence", "settle"]

AMBITIONS = (0.25, 0.5, 1.0, 2.0)  # bettors that share the money: how much each stakes on a usual difference
FAR = 1e9  # ranges of the data
GRID, REFINEMENTS = 33, 4  # centres tried at once, and how often: between two of them the next time
CAP = 4.0  # usual differences; a larger one, or an infinite, is staked on no more than this


class Settlement(NamedTuple):
    """What the seeds so far allow to say; see `settle`.

    Attributes:
        decision: "best": one contender beats every other. "within margin": what does not lie behind the leader lies
            within the margin of it. "continue": add seeds.
        leader: index of the contender named, None while there is none.
        seeds: how many seeds the decision took; all that there are while there is none.
        evidence: [contenders, contenders] the largest e-value by then that the row is better than the column.
        threshold: what each of them has to reach.
        latest: the same as `evidence`, of all seeds that there are, also those after the decision.
    """

    decision: Literal["best", "within margin", "continue"]
    leader: int | None
    seeds: int
    evidence: Floats
    threshold: float
    latest: Floats

    @property
    def in_question(self) -> NDArray[np.bool_]:
        """[contenders] those that may still be best: the fewest of which each has shown that it beats all the others.

        The others may rest, without more seeds: no later decision needs them. Against each of them there is (k - 1)
        times `threshold`, k (k - 1) / (1 - level): that any contender comes to be called worse than one it is not
        worse than has a probability of at most `1 - level`.
        """
        k = len(self.evidence)
        beats = self.evidence >= (k - 1) * self.threshold
        beats &= ~beats.T
        order = np.argsort(-beats.sum(axis=1), kind="stable")  # who is inside beats more than anyone outside does
        count = next(count for count in range(1, k + 1) if beats[np.ix_(order[:count], order[count:])].all())
        inside = np.zeros(k, dtype=bool)
        inside[order[:count]] = True
        return inside


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


def settle(
    scores: ArrayLike, *, margin: float | None = None, level: float = 0.95, seeds: Sequence[int] | None = None
) -> Settlement:
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
        seeds: how many each contender has, where some rest since they are no longer in question; scores beyond count
            for nothing. None: all.

    Returns:
        The first decision that the seeds allowed. Two clearly different contenders need about 7 seeds at 95 %,
        where the signed-rank test needs 6: the price of looking after each.

    Raises:
        ValueError: if `scores` is empty or has NaN, there are fewer than two contenders, `margin` is not above 0 or
            `level` not between 0 and 1, or `seeds` does not fit the scores.

    Reference:
        Ramdas et al., "Game-theoretic statistics and safe anytime-valid inference", Statistical Science, 2023.

    Example:
        >>> settle([[1.0, 2.0, 3.0], [2.0, 3.0, 4.0]]).decision
        'continue'
    """
    values = array("scores", scores, ("contenders", "seeds"))
    k, most = values.shape
    counts = [most] * k if seeds is None else list(seeds)
    alpha = error_rate(level)
    if k < 2:
        raise ValueError(f"scores must have at least two contenders, got {k}")
    if margin is not None and not 0 < margin < math.inf:
        raise ValueError(f"margin must be a number above 0, got {margin}")
    if len(counts) != k or not all(1 <= count <= most for count in counts):
        raise ValueError(f"seeds must be {k} numbers from 1 to {most}, got {counts}")
    threshold = k / alpha
    better = np.ones((k, k, most))
    close = np.zeros((k, k, most), dtype=bool)
    for first, second in itertools.combinations(range(k), 2):
        common = min(counts[first], counts[second])
        gaps = signed_differences(values[first, :common], values[second, :common])
        shifts = (0.0,) if margin is None else (0.0, margin)
        paths = _paths(np.array([sign * gaps - shift for shift in shifts for sign in (1.0, -1.0)]))
        # who rests bets no more: the money stays what it was
        paths = np.pad(np.maximum.accumulate(paths, axis=1), ((0, 0), (0, most - common)), mode="edge")
        better[first, second], better[second, first] = paths[0], paths[1]
        if margin is not None:
            close[first, second] = close[second, first] = paths[2:].min(axis=0) >= k * (k - 1) / 2 / alpha
    beaten = better >= threshold
    itself = np.eye(k, dtype=bool)[:, :, None]
    best = (beaten | itself).all(axis=1)
    level_with = (beaten | close | itself).all(axis=1)
    when = np.flatnonzero(level_with.any(axis=0))
    if not when.size:
        return Settlement("continue", None, most, better[:, :, -1], threshold, better[:, :, -1])
    last = int(when[0])
    decided = level_with[:, last]
    decision: Literal["best", "within margin"] = "within margin"
    if best[:, last].any():
        decided, decision = best[:, last], "best"
    # Of several within the margin of each other, the one with most evidence.
    weakest = np.where(np.eye(k, dtype=bool), np.inf, better[:, :, last]).min(axis=1)
    leader = int(np.argmax(np.where(decided, weakest, -1.0)))
    return Settlement(decision, leader, last + 1, better[:, :, last], threshold, better[:, :, -1])


def confidence_sequence(x: ArrayLike, y: ArrayLike, *, level: float = 0.95) -> Interval:
    """Where the centre of `x - y` lies, by an interval that holds after every seed added, however often one looks.

    It has every centre m for which neither `evidence` that differences fall below m nor that they fall above it has
    ever come to 2 / (1 - level). So all the intervals of a sequence hold the centre together, with a probability of at
    least `level`; they are never wider than before.

    Args:
        x: one number per seed, in the order the seeds came; infinities are allowed. The differences are symmetric
            about their centre, as for contenders that are exchangeable given the seed, but for a shift.
        y: the other contender's, same seeds, same order.
        level: confidence level, between 0 and 1.

    Returns:
        The median of the differences, and the interval; its ends are infinite before about 7 seeds at 95 %.

    Raises:
        ValueError: if a vector is empty or has NaN, lengths differ, or `level` is not between 0 and 1.

    Reference:
        Howard et al., "Time-uniform, nonparametric, nonasymptotic confidence sequences", Annals of Statistics, 2021.

    Example:
        >>> confidence_sequence([1.0, 1.2, 0.8, 1.1, 0.9, 1.0, 1.3, 1.1], [0.0] * 8).low > 0
        True
    """
    values = signed_differences(x, y)
    enough = 2 / error_rate(level)
    median = float(np.sort(values)[len(values) // 2])
    return Interval(median, -_upper_end(-values, enough), _upper_end(values, enough))


def _upper_end(differences: Floats, enough: float) -> float:
    """The largest centre that the evidence of smaller ones has not ruled out."""
    finite = differences[np.isfinite(differences)]
    if not finite.size:
        return math.inf
    inside, outside = float(finite.min()), float(finite.max())
    step = max(outside - inside, abs(outside), np.finfo(np.float64).tiny)
    beyond = outside + step * np.array([*(1e-6 * 4.0 ** np.arange(20)), FAR])
    ruled_out = _ruled_out(differences, beyond, enough)
    if not ruled_out[-1]:
        return math.inf
    outside = float(beyond[np.argmax(ruled_out)])
    for _ in range(REFINEMENTS):
        centres = np.linspace(outside, inside, GRID)
        allowed = np.flatnonzero(~_ruled_out(differences, centres, enough))
        first = int(allowed[0]) if allowed.size else GRID - 1
        outside, inside = float(centres[max(first - 1, 0)]), float(centres[first])
    return outside


def _ruled_out(differences: Floats, centres: Floats, enough: float) -> NDArray[np.bool_]:
    """Whether there ever was enough evidence that differences fall below each of the centres."""
    reached: NDArray[np.bool_] = _paths(differences - centres[:, None]).max(axis=1) >= enough
    return reached


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
