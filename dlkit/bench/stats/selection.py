"""The luck of tuning: how far two equal contenders may come to lie apart because each picked among noisy points."""

from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dlkit.bench.stats.checks import Floats, samples

__all__ = ["best_again", "luck_p_value", "picked_again", "redrawn_luck_p_value"]

DRAWS = 4096


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

    centres = samples(values=values)[0]
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
    picked = []
    for scores in (ours, theirs):
        numbers = np.asarray(scores, np.float64)
        finite = numbers[np.isfinite(numbers)]
        picked.append((best_again(finite, noise) if finite.size > 1 else np.ones(finite.size), finite))
    return _two_sided(gap, error, *picked)


def picked_again(scores: ArrayLike, noise: float, *, seed: int) -> Floats:
    """How often each point would be picked if as many points were drawn anew from these and measured once more.

    The bootstrap of a whole tuning: points are drawn with replacement, each score gets fresh normal noise, the lowest
    is picked. Without noise the best of many points is picked in 63 % of cases, the second best in 23 %.

    Args:
        scores: n >= 1 numbers; infinities are points that cannot win.
        noise: standard deviation of a score, at least 0.
        seed: of the drawing.

    Returns:
        [n] shares that sum to 1; all 0 if no point can win.

    Raises:
        ValueError: if `scores` is empty or has NaN, or `noise` is negative.

    Example:
        >>> picked_again([0.0, 1.0], 0.0, seed=0).round(1).tolist()  # the better one is drawn 3 times in 4
        [0.8, 0.2]
    """
    centres = samples(scores=scores)[0]
    if not noise >= 0:
        raise ValueError(f"noise must be at least 0, got {noise}")
    drawn, normal = _drawn_again(centres.size, seed)
    measured = centres[drawn] + noise * normal
    best = measured.argmin(axis=1)[:, None]
    can_win = np.isfinite(np.take_along_axis(measured, best, axis=1))
    picked = np.take_along_axis(drawn, best, axis=1)[can_win]
    shares: Floats = np.bincount(picked, minlength=centres.size) / max(picked.size, 1)
    return shares


@lru_cache(maxsize=8)
def _drawn_again(count: int, seed: int) -> tuple[NDArray[np.int64], Floats]:
    """Points drawn with replacement, and normal noise for each: [draws, count], the same for every contender."""
    rng = np.random.default_rng(seed)
    drawn = rng.integers(0, count, size=(DRAWS, count))
    return drawn, rng.normal(size=drawn.shape)


def redrawn_luck_p_value(
    gap: float,
    error: float,
    ours: tuple[ArrayLike, ArrayLike],
    theirs: tuple[ArrayLike, ArrayLike],
    noise: float,
    *,
    seed: int,
) -> float:
    """How probable such a gap is by the luck of tuning in what tuning did not pick by, such as the steps to a target.

    As `luck_p_value`, with two differences: the gap is in another quantity than the scores that points are picked by,
    and the points, too, are drawn anew (`picked_again`). A score is flat near its best point, so that which of the good
    points is picked hardly matters for it; what else these points do may differ much.

    Args:
        gap: between the winners on fresh seeds, in that quantity.
        error: its standard error, above 0.
        ours: of one contender's points the scores, infinite for those that cannot win, and the values of that quantity.
        theirs: of the other's.
        noise: standard deviation of a score that points do not have in common, at least 0.
        seed: of the drawing.

    Returns:
        The two-sided p-value; 0 if neither contender had a choice that could matter, 1 if a point that may be picked
        has no finite value.

    Example:
        >>> scores, steps = [0.0, 0.1, 0.9], [5.0, 8.0, 8.0]  # the second point may well be picked
        >>> redrawn_luck_p_value(3.0, 0.1, (scores, steps), (scores, steps), 0.1, seed=0) > 0.2
        True
    """
    picked = []
    for scores, values in (ours, theirs):
        numbers, quantity = np.asarray(scores, np.float64), np.asarray(values, np.float64)
        if quantity.shape != numbers.shape:
            raise ValueError(f"there must be one value a score, got shapes {quantity.shape} and {numbers.shape}")
        shares = picked_again(numbers, noise, seed=seed) if numbers.size else np.zeros(0)
        picked.append((shares[shares > 0], quantity[shares > 0]))
    if not all(np.isfinite(quantity).all() for _, quantity in picked):
        return 1.0
    return _two_sided(gap, error, *picked)


def _two_sided(gap: float, error: float, ours: tuple[Floats, Floats], theirs: tuple[Floats, Floats]) -> float:
    """P(|gap of the qualities picked, each relative to its mean, plus a normal error| >= |gap|), from (shares, values).

    The means differ by what the contenders differ by; the shares say how far picking strays from them.
    """
    from scipy.special import ndtr

    relative, their_relative = (values - (shares * values).sum() for shares, values in (ours, theirs))
    shift = np.subtract.outer(relative, their_relative)
    weight = np.outer(ours[0], theirs[0])
    if not shift.size or not (weight * np.abs(shift)).sum() > 1e-9 * error:
        return 0.0
    tails = ndtr(-(abs(gap) - shift) / error) + ndtr(-(abs(gap) + shift) / error)
    return min(1.0, float((weight * tails).sum()))
