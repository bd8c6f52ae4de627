"""The luck of tuning: how far two equal contenders may come to lie apart because each picked among noisy points."""

import numpy as np
from numpy.typing import ArrayLike

from dlkit.bench.stats.checks import Floats, samples

__all__ = ["best_again", "luck_p_value"]


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
