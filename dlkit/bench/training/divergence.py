"""When losses mean divergence: one is not finite or above the problem's bound, or they have left for good.

Most problems have no bound of their own. There a trial diverged if its losses are far beyond where they started, and
stay there to its end: methods may spike, and come back.
"""

import math
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from dlkit.bench.problems.base import Problem
from dlkit.typing import Array

__all__ = ["GROWTH", "LAST", "Watch", "bad", "begin", "beyond", "since", "watch"]

GROWTH = 1e6  # how many times its size a loss has to rise; `benchmarks/divergence.py` measures what that catches
EXAMPLES = 4  # whose losses tell the size: one example's may be near 0 by chance, and says little of the next one's
LAST = 3  # how many losses at the end have to be beyond: a single one may be an outlier
RESOLUTION = float(np.finfo(np.float32).eps)  # of losses of size 1: what is smaller may be rounding


class Watch(NamedTuple):
    """What the losses so far say of whether they have left.

    Attributes:
        first: float32: the first loss that is not 0. As a rule it is that of step 0, before the parameters moved, so
            that it is the same for every contender with the same seed.
        largest: float32: the largest |loss| of those that tell the size: the first ones that are not 0, of at least
            `EXAMPLES` examples together. Of larger batches it is that of the first alone.
        untold: int32: how many losses still to come tell the size.
        lowest: float32: the lowest loss.
        since: int32: the step from which on every loss is far beyond; -1 where the last one is not.
    """

    first: Array
    largest: Array
    untold: Array
    lowest: Array
    since: Array


def bad(problem: Problem, losses: Array) -> Array:
    """Returns whether a step's loss, or that of a player, is not finite or above the problem's bound: [steps].

    Args:
        problem: what is trained.
        losses: [steps], of games [steps, players].
    """
    wrong = ~jnp.isfinite(losses)
    if problem.diverged_above is not None:
        wrong |= losses > problem.diverged_above
    return wrong.any(axis=1) if problem.players else wrong


def begin(problem: Problem) -> Watch | None:
    """Returns what is known before the first step; None where losses are not watched.

    They are not where a problem has a bound of its own, nor in games: a critic's loss has neither scale nor zero.
    """
    if problem.diverged_above is not None or problem.players:
        return None
    # Without a batch size the loss is of all examples, or of none.
    untold = 1 if problem.batch_size is None else math.ceil(EXAMPLES / problem.batch_size)
    return Watch(jnp.float32(0.0), jnp.float32(0.0), jnp.int32(untold), jnp.float32(jnp.inf), jnp.int32(-1))


def beyond(losses: Array, first: Array, largest: Array, lowest: Array) -> Array:
    """Returns which losses have risen more than `GROWTH` times the size of the loss, or are not finite: [steps].

    The size is that of the first loss, of the largest of those that tell it, or how far the loss has fallen since,
    whichever is larger: a loss that starts near 0 and falls to -100 may come back. A loss that falls without end is
    never beyond.

    Args:
        losses: [steps].
        first: the first loss that is not 0.
        largest: the largest |loss| of those that tell the size.
        lowest: the lowest loss so far, those given included.
    """
    # l_t - l_0 > GROWTH * max(min(largest, GROWTH |l_0|), |l_0|, l_0 - min l, eps): an early loss that is itself beyond
    # may be one that has left, so that it counts no more than what is just not beyond.
    start = jnp.maximum(jnp.abs(first), RESOLUTION)
    size = jnp.maximum(jnp.maximum(start, jnp.minimum(largest, GROWTH * start)), first - lowest)
    return (losses - first > GROWTH * size) | ~jnp.isfinite(losses)


def watch(before: Watch | None, losses: Array, first_step: Array) -> Watch | None:
    """Looks at the losses of some more steps.

    Args:
        before: what the losses before say; None where they are not watched.
        losses: [steps], at least one.
        first_step: int32: the step of the first of them.

    Returns:
        What all of them say.
    """
    if before is None:
        return None
    losses = losses.astype(jnp.float32)
    is_finite, is_some = jnp.isfinite(losses), losses != 0
    first = jnp.where(before.first == 0, losses[jnp.argmax(is_some)], before.first)
    tells = is_finite & is_some & (jnp.cumsum(is_some) <= before.untold)
    largest = jnp.maximum(before.largest, jnp.max(jnp.abs(losses), initial=0.0, where=tells))
    untold = jnp.maximum(before.untold - is_some.sum(dtype=jnp.int32), 0)
    lowest = jnp.minimum(before.lowest, jnp.min(losses, initial=jnp.inf, where=is_finite))
    is_beyond = beyond(losses, first, largest, lowest)
    # How many of the last steps are beyond: from there on it has not come back.
    run = jnp.argmin(jnp.append(is_beyond[::-1], False)).astype(jnp.int32)
    begun = jnp.where(run > 0, first_step + len(losses) - run, -1)
    left = jnp.where(is_beyond.all() & (before.since >= 0), before.since, begun)
    return Watch(first, largest, untold, lowest, left.astype(jnp.int32))


def since(seen: Watch | None, step: Array) -> Array:
    """Returns from which step on every loss is far beyond; -1 where the last `LAST` are not, or losses not watched.

    Args:
        seen: what the losses say.
        step: int32: how many losses that were.
    """
    never = jnp.asarray(-1, jnp.int32)
    return never if seen is None else jnp.where(step - seen.since >= LAST, seen.since, never)
