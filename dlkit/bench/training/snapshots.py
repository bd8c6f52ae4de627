"""All that a trial needs to go on: what a keeper is given between two calls, and gives back after a kill."""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from dlkit.bench.training.curve import Clock, Points
from dlkit.typing import Array

__all__ = [
    "Keeper",
    "Leaf",
    "Snapshot",
    "Spent",
    "host_arrays",
    "is_continuation",
    "leaves_of",
    "on_host",
    "placed_like",
    "points_of",
]


@dataclass
class Spent:
    """What the calls of a trial took. The first call of an executable may load or compile it: it is cold.

    Attributes:
        warm_seconds: of the other calls, and of the host loop.
        warm_steps: of these calls.
        cold_seconds: of the first calls, with what they compiled.
        cold_steps: of these calls.
        fastest: seconds of a step in the fastest of them.
        lives: how many processes have trained it; each one's first call is cold.
    """

    warm_seconds: float = 0.0
    warm_steps: int = 0
    cold_seconds: float = 0.0
    cold_steps: int = 0
    fastest: float = math.inf
    lives: int = 1

    @property
    def is_known(self) -> bool:
        """Whether it is known how long steps take: of one cold call, what compiling it took is not."""
        return self.warm_steps > 0 or (self.lives > 1 and self.cold_steps > 0)

    @property
    def pace(self) -> float | None:
        """Seconds of a step, as far as is known."""
        return self.warm_seconds / self.warm_steps if self.warm_steps else None

    @property
    def slowest_pace(self) -> float:
        """Seconds of a step; while every call was cold, their compilation counts, too."""
        return self.cold_seconds / max(self.cold_steps, 1) if self.pace is None else self.pace

    @property
    def clock(self) -> Clock:
        """Seconds of training and of compilation: cold steps took as long as warm ones.

        Where each of several processes was killed after one call, at most as long as in the fastest of those.
        """
        of_step = self.fastest if self.pace is None else self.pace
        training = self.cold_steps * of_step if self.is_known else 0.0
        return Clock(self.warm_seconds + training, max(self.cold_seconds - training, 0.0))


class Snapshot(NamedTuple):
    """Where a trial is between two calls; with lanes, as many trials.

    Attributes:
        device: the carry, and what early stopping has seen; arrays on the device, or after a kill on the host.
        points: that were reached; None before the first.
        losses: [steps, ...] of each part of the interval in hand that is done; with lanes these are the first axis.
        step: how many steps are done.
        spent: what they took.
    """

    device: Any
    points: Points | None
    losses: Sequence[np.ndarray[Any, Any]]
    step: int
    spent: Spent


class Keeper(Protocol):
    """Keeps snapshots of one trial, or of those that lie on lanes, so that they survive this process."""

    def restored(self, like: Callable[[], Any]) -> Snapshot | None:
        """Returns the last snapshot, with arrays on the host; None if there is none that fits.

        Args:
            like: returns `Snapshot.device` before the first step, as `leaves_of` says it.
        """

    def refuse(self, why: str) -> None:
        """Hears that training cannot go on from what was restored, and begins anew."""

    def is_due(self) -> bool:
        """Whether it is time for a snapshot. It is asked between calls, and answers at once."""

    def keep(self, snapshot: Snapshot) -> None:
        """Keeps a snapshot in the place of the one before; one that cannot be kept costs no more than time."""


@dataclass(frozen=True)
class Leaf:
    """What an array is without its numbers.

    Attributes:
        shape: of the array; of the data of a PRNG key.
        dtype: likewise.
        sharding: on which devices it lies; None where JAX chose the device. An array that was put somewhere is another
            type to an executable: it would be compiled once more.
        key: how the key draws, of a PRNG key; None for numbers.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    sharding: Any
    key: Any = None


def leaves_of(tree: Any) -> Any:
    """Returns a tree of arrays as what they are: `Leaf` for array."""

    def leaf(array: Array) -> Leaf:
        sharding = array.sharding if array.committed else None
        if not jnp.issubdtype(array.dtype, jax.dtypes.prng_key):
            return Leaf(array.shape, np.dtype(array.dtype), sharding)
        data = jax.random.key_data(array)
        return Leaf(data.shape, np.dtype(data.dtype), sharding, jax.random.key_impl(array))

    return jax.tree.map(leaf, tree)


def placed_like(tree: Any, like: Any) -> Any:
    """Puts a tree's arrays on the devices where, and as what, they were.

    Args:
        tree: of arrays on the host; of a PRNG key its data.
        like: what they are, as `leaves_of` says it.
    """

    def put(array: Any, leaf: Leaf) -> Array:
        if leaf.key is not None:
            array = jax.random.wrap_key_data(jnp.asarray(array), impl=leaf.key)
        # its memory is its own: an executable will use it up
        placed: Array = jax.device_put(array, leaf.sharding, may_alias=False)
        return placed

    return jax.tree.map(put, tree, like)


def on_host(array: Array) -> np.ndarray[Any, Any]:
    """Returns an array on the host, of a PRNG key its data; on CPU nothing is copied."""
    is_key = jnp.issubdtype(array.dtype, jax.dtypes.prng_key)
    return np.asarray(jax.random.key_data(array) if is_key else array)


def host_arrays(snapshot: Snapshot) -> dict[str, np.ndarray[Any, Any]]:
    """Returns what a snapshot has on the host, by name."""
    arrays = {f"losses {place}": part for place, part in enumerate(snapshot.losses)}
    if snapshot.points is None:
        return arrays
    points = snapshot.points._asdict()
    metrics = {f"metric {name}": values for name, values in points.pop("metrics").items()}
    return arrays | metrics | {f"points {name}": values for name, values in points.items() if values is not None}


def points_of(arrays: Mapping[str, np.ndarray[Any, Any]]) -> tuple[Points | None, list[np.ndarray[Any, Any]]]:
    """Returns the points and the losses that `host_arrays` named."""
    losses = [
        arrays[name] for name in itertools.takewhile(arrays.__contains__, map("losses {}".format, itertools.count()))
    ]
    fields = {name.removeprefix("points "): values for name, values in arrays.items() if name.startswith("points ")}
    if not fields:
        return None, losses
    metrics = {name.removeprefix("metric "): value for name, value in arrays.items() if name.startswith("metric ")}
    return Points(metrics=metrics, **{"looked": None, **fields}), losses


def is_continuation(found: Snapshot, interval: int, steps: int, start: Mapping[str, Any], lanes: Sequence[int]) -> bool:
    """Whether what was on the host has the shapes of a trial at that step.

    Args:
        found: after a kill.
        interval: steps from one evaluation to the next.
        steps: of the whole trial.
        start: metric -> its value before any step.
        lanes: the first axis of every array: [lanes], or no axis.
    """
    reached, rest = divmod(found.step, interval)
    if not 0 < found.step < steps or (found.points is None) != (reached == 0):
        return False
    axis = len(lanes)
    if any(part.shape[:axis] != tuple(lanes) or part.ndim <= axis for part in found.losses):
        return False
    if sum(part.shape[axis] for part in found.losses) != rest:
        return False
    if found.points is None:
        return True
    shape = (*lanes, reached)
    points = found.points
    same = {name: np.shape(value) for name, value in points.metrics.items()} == dict.fromkeys(start, shape)
    others = [points.losses, points.evaluations, points.void, *([] if points.looked is None else [points.looked])]
    return (
        same
        and all(each.shape[: axis + 1] == shape for each in others)
        and points.losses.shape[axis + 1] == interval
        and points.evaluations.shape[axis + 1 :] == (3,)
    )
