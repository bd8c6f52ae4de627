"""Many tests at once: adjusted p-values."""

import numpy as np
from numpy.typing import ArrayLike

from dlkit.bench.stats.checks import Floats, samples

__all__ = ["holm"]


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
    raw = samples(p_values=p_values)[0]
    if raw.min() < 0 or raw.max() > 1:
        raise ValueError(f"p_values must lie in [0, 1], got {raw.min()} to {raw.max()}; pass unadjusted p-values")
    order = np.argsort(raw, kind="stable")
    steps = np.maximum.accumulate(raw[order] * np.arange(raw.size, 0, -1))  # max over j <= i of (m - j + 1) p_(j)
    return np.minimum(steps, 1.0)[np.argsort(order)]
