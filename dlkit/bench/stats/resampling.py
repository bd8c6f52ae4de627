"""Problems and seeds drawn again together, the same for every contender."""

from collections.abc import Iterator
from functools import lru_cache

import numpy as np

from dlkit.bench.stats.checks import Floats

__all__ = ["joint_medians", "medians", "seed_counts"]

CHUNK = 1 << 21  # counts at a time: 8 MB


def medians(values: Floats) -> Floats:
    """Medians over seeds: [contenders, seeds, problems] -> [contenders, problems]; infinities allowed."""
    count = values.shape[1]
    ordered = np.sort(values, axis=1)
    with np.errstate(invalid="ignore"):
        middle: Floats = 0.5 * ordered[:, (count - 1) // 2] + 0.5 * ordered[:, count // 2]
    return middle


@lru_cache(maxsize=8)
def seed_counts(seeds: int, resamples: int, seed: int) -> Floats:
    """How often each seed is drawn when as many as there are are drawn with replacement: [resamples, seeds]."""
    if resamples < 2:
        raise ValueError(f"resamples must be at least 2, got {resamples}; 10000 is usual")
    rows = np.random.default_rng(seed).integers(0, seeds, size=(resamples, seeds))
    rows += np.arange(resamples)[:, None] * seeds
    counts: Floats = np.bincount(rows.ravel(), minlength=rows.size).reshape(rows.shape).astype(np.float64)
    counts.setflags(write=False)
    return counts


def joint_medians(values: Floats, resamples: int, seed: int) -> Iterator[Floats]:
    """Draws problems with replacement, and for each draw seeds with replacement, and takes medians over those.

    Args:
        values: [contenders, seeds, problems].
        resamples: how many, at least 2.
        seed: of the draws.

    Yields:
        [draws, contenders, problems], until there are as many draws as asked for.
    """
    if resamples < 2:
        raise ValueError(f"resamples must be at least 2, got {resamples}; 10000 is usual")
    contenders, seeds, problems = values.shape
    rng = np.random.default_rng(seed)
    size = max(1, CHUNK // (seeds * problems))
    for start in range(0, resamples, size):
        draws = min(size, resamples - start)
        chosen = rng.integers(0, problems, size=draws * problems)
        rows = rng.integers(0, seeds, size=(draws * problems, seeds)) + np.arange(draws * problems)[:, None] * seeds
        counts = np.bincount(rows.ravel(), minlength=rows.size).reshape(rows.shape).astype(np.float32)
        drawn = np.empty((draws * problems, contenders))
        for problem in range(problems):
            here = np.flatnonzero(chosen == problem)
            drawn[here] = _weighted_medians(values[:, :, problem], counts[here])
        yield drawn.reshape(draws, problems, contenders).swapaxes(1, 2)


def _weighted_medians(values: Floats, counts: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> Floats:
    """Medians of the values [contenders, seeds], each seed counted as often as drawn [draws, seeds]: much faster than
    sorting what was drawn. Returns [draws, contenders].
    """
    contenders, seeds = values.shape
    order = np.argsort(values, axis=1, kind="stable")
    ordered = np.take_along_axis(values, order, axis=1)
    # How many draws are at or below the r-th smallest value: whole numbers, exact in float32; rising with r.
    is_below = np.argsort(order, axis=1)[:, :, None] <= np.arange(seeds)
    below = counts @ is_below.transpose(1, 0, 2).reshape(seeds, -1).astype(np.float32)
    below = below.reshape(-1, contenders, seeds)
    places = ((seeds + 1) // 2, seeds // 2 + 1)
    low, high = (ordered[np.arange(contenders), (below >= place).argmax(axis=2)] for place in places)
    with np.errstate(invalid="ignore"):
        middle: Floats = 0.5 * low + 0.5 * high
    return middle
