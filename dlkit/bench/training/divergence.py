"""When a loss means divergence: it has grown far beyond where it started, and stays there to the end."""

from typing import NamedTuple

import jax.numpy as jnp

from dlkit.typing import Array

__all__ = ["GROWTH", "Watch", "begin", "beyond", "watch"]

GROWTH = 1e6  # how many times its size a loss has to rise; `benchmarks/divergence.py` measures what that catches
RESOLUTION = float(jnp.finfo(jnp.float32).eps)  # of losses of size 1: what is smaller may be rounding


class Watch(NamedTuple):
    """What the losses so far say. Scales and, up to rounding, directions of the loss do not matter.

    Attributes:
        first: float32: the first loss that is not 0. As a rule it is that of step 0, before the parameters moved, so
            that it is the same for every contender with the same seed.
        lowest: float32: the lowest loss.
        since: int32: the step from which on every loss is beyond the bound; -1 where the last one is not.
    """

    first: Array
    lowest: Array
    since: Array


def begin() -> Watch:
    """Returns what is known before the first step."""
    return Watch(jnp.float32(0.0), jnp.float32(jnp.inf), jnp.int32(-1))


def beyond(losses: Array, first: Array, lowest: Array) -> Array:
    """Returns which losses have risen more than `GROWTH` times the size of the loss, or are not finite: [steps].

    The size is that of the first loss, or how far the loss has fallen since, whichever is larger: a loss that starts
    near 0 and falls to -100 may come back. A loss that falls without end is never beyond.

    Args:
        losses: [steps].
        first: the first loss that is not 0.
        lowest: the lowest loss so far, those given included.
    """
    # l_t - l_0 > GROWTH * max(|l_0|, l_0 - min l, eps)
    size = jnp.maximum(jnp.maximum(jnp.abs(first), first - lowest), RESOLUTION)
    return (losses - first > GROWTH * size) | ~jnp.isfinite(losses)


def watch(before: Watch, losses: Array, first_step: Array) -> Watch:
    """Looks at the losses of some more steps.

    Args:
        before: what the losses before say.
        losses: [steps], at least one.
        first_step: int32: the step of the first of them.

    Returns:
        What all of them say.
    """
    losses = losses.astype(jnp.float32)
    first = jnp.where(before.first == 0, losses[jnp.argmax(losses != 0)], before.first)
    lowest = jnp.minimum(before.lowest, jnp.min(losses, initial=jnp.inf, where=jnp.isfinite(losses)))
    is_beyond = beyond(losses, first, lowest)
    # How many of the last steps are beyond: from there on it has not come back.
    run = jnp.argmin(jnp.append(is_beyond[::-1], False)).astype(jnp.int32)
    begun = jnp.where(run > 0, first_step + len(losses) - run, -1)
    since = jnp.where(is_beyond.all() & (before.since >= 0), before.since, begun)
    return Watch(first, lowest, since.astype(jnp.int32))
