"""When losses mean divergence: one is not finite or above the problem's bound, or they have left for good.

Most problems have no bound of their own. There a trial diverged if its losses are far beyond where they started, and
stay there to its end: methods may spike, and come back. Losses come to the host with every call of a segment, and are
looked at there.
"""

import math
from typing import Any

import numpy as np

from dlkit.bench.problems.base import Problem

__all__ = ["GROWTH", "LAST", "bad", "beyond", "left_at"]

GROWTH = 1e6  # how many times its size a loss has to rise; `benchmarks/divergence.py` measures what that catches
EXAMPLES = 4  # whose losses tell the size: one example's may be near 0 by chance, and says little of the next one's
LAST = 3  # how many losses at the end have to be beyond: a single one may be an outlier
RESOLUTION = float(np.finfo(np.float32).eps)  # of losses of size 1: what is smaller may be rounding

Losses = np.ndarray[Any, Any]


def bad(problem: Problem, losses: Losses) -> Losses:
    """Returns whether a step's loss, or that of a player, is not finite or above the problem's bound: [..., steps].

    Args:
        problem: what is trained.
        losses: [..., steps], of games [..., steps, players].
    """
    wrong: Losses = ~np.isfinite(losses)
    if problem.diverged_above is not None:
        wrong |= losses > problem.diverged_above
    return np.any(wrong, axis=-1) if problem.players else wrong


def left_at(problem: Problem, losses: Losses) -> int | None:
    """Returns from which step on every loss is far beyond where the losses started; None where the last ones are not.

    What an interval's losses are compared with is what the losses up to its end say: see `beyond`. Nothing is found
    where a problem has a bound of its own, nor in games: a critic's loss has neither scale nor zero.

    Args:
        problem: what is trained.
        losses: [intervals, steps], from the first step on.
    """
    if problem.diverged_above is not None or problem.players or not losses.size:
        return None
    with np.errstate(invalid="ignore", over="ignore"):  # what is not finite is beyond, and so is what overflows
        every = losses.astype(np.float32).ravel()
        is_some = every != 0
        if not is_some.any():
            return None
        # Without a batch size the loss is of all examples, or of none.
        telling = 1 if problem.batch_size is None else math.ceil(EXAMPLES / problem.batch_size)
        tells = np.where(is_some & (np.cumsum(is_some) <= telling) & np.isfinite(every), np.abs(every), 0.0)
        lowest = np.where(np.isfinite(every), every, np.inf)
        ends = slice(losses.shape[1] - 1, None, losses.shape[1])
        shape = (len(losses), 1)
        is_beyond = beyond(
            every.reshape(losses.shape),
            every[is_some.argmax()],
            np.maximum.accumulate(tells)[ends].reshape(shape).astype(np.float32),
            np.minimum.accumulate(lowest)[ends].reshape(shape).astype(np.float32),
        ).ravel()
    back = np.flatnonzero(~is_beyond)
    begun = int(back[-1]) + 1 if len(back) else 0
    return begun if len(every) - begun >= LAST else None


def beyond(losses: Losses, first: Any, largest: Any, lowest: Any) -> Losses:
    """Returns which losses have risen more than `GROWTH` times the size of the loss, or are not finite.

    The size is that of the first loss, of the largest of those that tell it, or how far the loss has fallen since,
    whichever is larger: a loss that starts near 0 and falls to -100 may come back. A loss that falls without end is
    never beyond.

    Args:
        losses: of any shape, float32.
        first: the first loss that is not 0. As a rule it is that of step 0, before the parameters moved, so that it is
            the same for every contender with the same seed.
        largest: the largest |loss| of those that tell the size: the first ones that are not 0, of at least `EXAMPLES`
            examples together. Of larger batches it is that of the first alone.
        lowest: the lowest loss so far, those given included.
    """
    # l_t - l_0 > GROWTH * max(min(largest, GROWTH |l_0|), |l_0|, l_0 - min l, eps): an early loss that is itself beyond
    # may be one that has left, so that it counts no more than what is just not beyond.
    start = np.maximum(np.abs(first), np.float32(RESOLUTION))
    growth = np.float32(GROWTH)
    size = np.maximum(np.maximum(start, np.minimum(largest, growth * start)), first - lowest)
    far: Losses = (losses - first > growth * size) | ~np.isfinite(losses)
    return far
