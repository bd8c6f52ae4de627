"""Streams training examples from the host: gathers them in blocks of steps, in the background, while the device trains.

The executables are the same as for data on the device: they get a block in place of the training split, and indices
into the block. Examples and their order are the same, and so are the bits of a trial.
"""

import importlib.util
import itertools
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dlkit.bench.errors import UserError
from dlkit.bench.machine.environment import memory_limit
from dlkit.bench.problems.base import Batch, Problem
from dlkit.bench.training.data_order import Batches
from dlkit.bench.training.lanes import Lanes, held_bytes, placed
from dlkit.typing import Array

__all__ = ["Block", "Cut", "block_bytes", "cut_of", "stream"]

BLOCKS = 4  # at once: one is trained on, one waits on the device, one is on its way there, one is gathered
LARGEST_BLOCK = 2**24  # bytes: larger ones make steps slower on CPU, and the first of a trial is waited for
SHARE = 0.5  # of a device's memory, or of a core's share of the host's, that a training split may take
SMALL_SPLIT = 2**28  # bytes: a smaller split is never streamed unless the user limits the memory


class Block(NamedTuple):
    """The steps of one call of a compiled program, and the examples they are about.

    Attributes:
        indices: int32 [evaluations, steps, batch] into `train`; [steps, batch] for a part of an interval. With lanes,
            these are the first axis.
        train: name -> [examples, ...]: the training split, or as much of it as is needed.
        is_last: whether it ends with an evaluation, as all do but the first parts of an interval.
    """

    indices: Array | np.ndarray[Any, Any]
    train: Batch
    is_last: bool = True

    @property
    def steps(self) -> int:
        """How many it has."""
        return math.prod(self.indices.shape[-3:-1]) if self.is_last else self.indices.shape[-2]


class Cut(NamedTuple):
    """How a trial's steps are cut into blocks; no bit depends on it.

    Attributes:
        evaluations: of a call.
        steps: of an interval between evaluations that one block holds: all, or fewer where `evaluations` is 1.
    """

    evaluations: int
    steps: int

    def blocks(self, evaluations: int, interval: int, at: int = 0) -> list[tuple[int, int, bool]]:
        """Returns the blocks of a trial as (first step, one past the last, whether it ends with an evaluation).

        Args:
            evaluations: of the trial.
            interval: steps from one to the next.
            at: the step to begin at; from within an interval, the first block ends with that.
        """
        found = []
        begin, whole = at, evaluations * interval
        while begin < whole:
            intervals = 1 if begin % interval else self.evaluations
            end = min((begin // interval + intervals) * interval, whole)
            places = [begin, end] if self.steps >= interval else [*range(begin, end, self.steps), end]
            found += [(first, last, last == end) for first, last in itertools.pairwise(places)]
            begin = end
        return found

    def shape(self, steps: int, interval: int, *, is_last: bool) -> tuple[int, ...]:
        """Returns [evaluations, steps] of a block of so many steps; of a part of an interval, [steps]."""
        return (max(steps // interval, 1), min(steps, interval)) if is_last else (steps,)


def block_bytes(problem: Problem, memory: int | None) -> int | None:
    """Decides whether a problem's training split streams.

    Args:
        problem: what is trained.
        memory: bytes that training examples may take on the device and on the way there; a larger split streams. None
            for half of an accelerator's memory or, on CPU, half of a core's share of the machine's.

    Returns:
        How many bytes a block may take; None for a split that lies on the device.

    Raises:
        UserError: if it has to stream and every step needs all of it, or grain is not installed.
    """
    needed = held_bytes(dict(problem.dataset.train))
    if memory is None:
        if problem.batch_size is None or needed <= SMALL_SPLIT:
            return None
        memory = _usual_memory()
    if needed <= memory:
        return None
    why = f"problem '{problem.name}': its training split of {needed:,} bytes exceeds the memory of {memory:,}"
    if problem.batch_size is None:
        raise UserError(f"{why}, and every step needs all of it; give the problem a batch_size, or allow more memory")
    if importlib.util.find_spec("grain") is None:
        raise UserError(f"{why} and has to stream, which needs grain: pip install 'dlkit-jax[streaming]'")
    return memory // BLOCKS


def _usual_memory() -> int:
    """The bytes that a training split may take by default."""
    limit = (jax.local_devices()[0].memory_stats() or {}).get("bytes_limit")
    if limit is None:
        limit = memory_limit() // (os.cpu_count() or 1)
    return int(SHARE * limit)


def cut_of(problem: Problem, trials: int, *, room: int, points: int, interval: int, first: int = 0) -> Cut:
    """Cuts a trial into as few calls as memory allows.

    Args:
        problem: what is trained.
        trials: how many run at once.
        room: bytes that a block may take.
        points: evaluations of a call, at most; those chosen divide it.
        interval: steps from one evaluation to the next.
        first: how many of the split's first examples every block has, too.

    Returns:
        The cut.

    Raises:
        UserError: if one step does not fit.
    """
    train = problem.dataset.train
    example = sum(math.prod(array.shape[1:]) * array.dtype.itemsize for array in train.values())
    step = trials * problem.rows_per_step * (example + np.dtype(np.int32).itemsize)
    always = min(first, problem.dataset.examples) * example
    if room < step + always:
        rows = f"{problem.rows_per_step} examples" + (f" of each of {trials} trials" if trials > 1 else "")
        raise UserError(
            f"problem '{problem.name}': its training examples stream in blocks of a quarter of the memory, and one "
            f"block has to hold a step ({rows}): allow at least {BLOCKS * (step + always):,} bytes, or fewer examples "
            "a step, or fewer lanes"
        )
    steps = max((min(room, LARGEST_BLOCK) - always) // step, 1)
    if steps < interval:
        return Cut(1, -(-interval // -(-interval // steps)))  # in parts that are about equal
    return Cut(max(n for n in range(1, points + 1) if points % n == 0 and n * interval <= steps), interval)


class _Gathered:
    """A source for grain: the examples of each block, by its number."""

    def __init__(self, train: Mapping[str, Any], orders: Sequence[Batches], spans: Sequence[Any], first: int) -> None:
        self._train = {name: np.asarray(array) for name, array in train.items()}
        self._orders, self._spans, self._first = orders, spans, first

    def __len__(self) -> int:
        return len(self._spans)

    def __getitem__(self, place: Any) -> dict[str, np.ndarray[Any, Any]]:
        begin, end, _ = self._spans[place]
        rows = np.concatenate([np.arange(self._first), *(batches(begin, end).ravel() for batches in self._orders)])
        return {name: array.take(rows, axis=0) for name, array in self._train.items()}


def stream(
    problem: Problem,
    train: Mapping[str, Any],
    orders: Sequence[Batches],
    cut: Cut,
    lanes: Lanes,
    *,
    evaluations: int,
    interval: int,
    first: int = 0,
    at: int = 0,
) -> Iterator[Block]:
    """Yields a trial's blocks, or those of as many trials as there are lanes; the next is gathered meanwhile.

    Args:
        problem: what is trained.
        train: the training examples of the trials' study.
        orders: of each trial's batches.
        cut: into which blocks.
        lanes: how trials lie; every lane finds its examples in the one block.
        evaluations: of a trial.
        interval: steps from one to the next.
        first: how many of the split's first examples come first in every block.
        at: the step to begin at.

    Yields:
        Blocks on the device.
    """
    import grain

    spans = cut.blocks(evaluations, interval, at)
    first = min(first, problem.dataset.examples)
    source = grain.MapDataset.source(_Gathered(train, orders, spans, first))
    gathered = iter(source.to_iter_dataset(grain.ReadOptions(num_threads=1, prefetch_buffer_size=1)))
    indices: dict[tuple[int, bool], Array] = {}
    for (begin, end, is_last), examples in zip(spans, gathered, strict=True):
        steps = end - begin
        if (steps, is_last) not in indices:
            axes = cut.shape(steps, interval, is_last=is_last)
            shape = (*(() if lanes.alone else (lanes.width,)), *axes, problem.rows_per_step)
            rows = first + np.arange(math.prod(shape), dtype=np.int32).reshape(shape)
            indices[steps, is_last] = jnp.asarray(rows)
        yield Block(indices[steps, is_last], placed(examples, lanes), is_last)
