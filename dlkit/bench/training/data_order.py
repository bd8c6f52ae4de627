"""Data order: which examples each step sees; the same for every contender with the same seed, on every device."""

import itertools
import math
import zlib
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from typing import Any

import numpy as np

from dlkit.bench.plan.trials import STAGES, Order, Stage
from dlkit.bench.problems.base import Problem

__all__ = ["Batches", "batches_of", "data_order", "trial_order"]

Batches = Callable[[int, int], np.ndarray[Any, Any]]
"""``batches(first, last) -> int32 [last - first, rows_per_step]``: the indices of those steps."""

KEPT_INDICES = 1_000_000  # an order of more indices is drawn anew for every trial


def data_order(
    problem: Problem, stage: Stage, seed: int, *, segment: int, order: Order | None = None
) -> Iterator[np.ndarray[Any, Any]]:
    """Yields the batches of one (problem, seed), the same for every contender and device, without end.

    What a batch holds is up to the order. ``"reshuffle"``: every epoch is a fresh permutation of the training
    examples. ``"fixed"``: all epochs are the first one again. In both, the examples that do not fill a batch are left
    out of an epoch. ``"iid"``: every batch is a uniform draw of different examples, independent of the others.

    Args:
        problem: whose name, number of examples and batch size count.
        stage: tuning and final seeds are different seeds.
        seed: which draw.
        segment: steps a yielded array covers.
        order: how batches are drawn; None for the problem's own.

    Yields:
        int32 [segment, rows_per_step] indices: a step's batch, or its batches one after another; [segment, 0] for
        problems that use the whole split at every step.
    """
    if problem.batch_size is None:
        while True:
            yield np.zeros((segment, 0), np.int32)
    batches = batches_of(problem, stage, seed, order)
    for first in itertools.count(step=segment):
        yield batches(first, first + segment)


def batches_of(problem: Problem, stage: Stage, seed: int, order: Order | None = None) -> Batches:
    """Returns the batches of `data_order` as a function of the steps, for a problem with batches.

    It keeps the permutation of one epoch: asked for steps in order, it draws each permutation once.
    """
    assert problem.batch_size is not None
    each = problem.batches_per_step
    kind = order or problem.order
    drawn = _iid_batches if kind == "iid" else partial(_epoch_batches, is_fixed=kind == "fixed")
    of_trial = drawn(problem, problem.batch_size, STAGES[stage], seed)

    def batches(first: int, last: int) -> np.ndarray[Any, Any]:
        return of_trial(first * each, last * each).reshape(last - first, problem.rows_per_step)

    return batches


def _epoch_batches(problem: Problem, size: int, stage: int, seed: int, *, is_fixed: bool) -> Batches:
    """``batches(first, last)``: [last - first, size] of one permutation after another, or of the first again."""
    steps = problem.dataset.examples // size  # of an epoch

    @lru_cache(maxsize=1)
    def batches_of_epoch(epoch: int) -> np.ndarray[Any, Any]:
        order = _generator(problem, stage, seed, epoch).permutation(problem.dataset.examples)
        return order[: steps * size].reshape(steps, size).astype(np.int32)

    def batches(first: int, last: int) -> np.ndarray[Any, Any]:
        parts = []
        at = first
        while at < last:
            epoch, place = divmod(at, steps)
            drawn = batches_of_epoch(0 if is_fixed else epoch)
            parts.append(drawn[place : place + last - at])
            at += len(parts[-1])
        return np.concatenate(parts)

    return batches


def _iid_batches(problem: Problem, size: int, stage: int, seed: int) -> Batches:
    """``batches(first, last)``: [last - first, size], every batch drawn on its own by its number."""

    def batches(first: int, last: int) -> np.ndarray[Any, Any]:
        drawn = np.empty((last - first, size), np.int32)
        for place, number in enumerate(range(first, last)):
            generator = _generator(problem, stage, seed, 0, number + 1)  # the first one is the first permutation's
            drawn[place] = generator.choice(problem.dataset.examples, size, replace=False)
        return drawn

    return batches


def _generator(problem: Problem, stage: int, seed: int, epoch: int, batch: int = 0) -> np.random.Generator:
    """The stream of an epoch, or of a batch; the same on every machine."""
    words = np.array([zlib.crc32(problem.name.encode()) << 32 | stage, seed << 32 | epoch], np.uint64)
    return np.random.Generator(np.random.Philox(key=words, counter=[0, 0, 0, batch]))


def trial_order(
    problem: Problem, stage: Stage, seed: int, shape: tuple[int, int], calls: int, order: Order | None = None
) -> Iterator[np.ndarray[Any, Any]]:
    """Yields the batches of a trial; small ones are kept, as every contender needs the same.

    Args:
        problem: as in `data_order`.
        stage: as in `data_order`.
        seed: as in `data_order`.
        shape: (evaluations, steps) that one yielded array covers.
        calls: how many will be needed.
        order: as in `data_order`.

    Yields:
        int32 [evaluations, steps, rows_per_step] indices.
    """
    if math.prod(shape) * calls * problem.rows_per_step <= KEPT_INDICES:
        return iter(_kept_order(problem, stage, seed, shape, calls, order))
    return _shaped_order(problem, stage, seed, shape, order)


def _shaped_order(
    problem: Problem, stage: Stage, seed: int, shape: tuple[int, int], order: Order | None
) -> Iterator[np.ndarray[Any, Any]]:
    return (
        rows.reshape(*shape, problem.rows_per_step)
        for rows in data_order(problem, stage, seed, segment=math.prod(shape), order=order)
    )


@lru_cache(maxsize=64)
def _kept_order(
    problem: Problem, stage: Stage, seed: int, shape: tuple[int, int], calls: int, order: Order | None
) -> tuple[np.ndarray[Any, Any], ...]:
    drawn = _shaped_order(problem, stage, seed, shape, order)
    return tuple(itertools.islice(drawn, calls))
