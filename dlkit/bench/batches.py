"""Data order: which examples each step sees, the same for every contender with one seed, on every device."""

import math
import zlib
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Literal

import jax
import numpy as np

from dlkit.bench.problems.base import Problem
from dlkit.typing import Array

__all__ = ["STAGES", "STUDY_SEEDS", "Stage", "data_order", "trial_order"]

Stage = Literal["tuning", "final", "target"]
STAGES: dict[Stage, int] = {"tuning": 0, "final": 1, "target": 2}  # a seed of one stage is no seed of another
STUDY_SEEDS = 1000  # study k of a contender is tuned on seeds from k times this on, so that no two share one
KEPT_INDICES = 1_000_000  # an order of more indices is drawn anew for every trial


def data_order(problem: Problem, stage: Stage, seed: int, *, segment: int) -> Iterator[np.ndarray[Any, Any]]:
    """Yields the batches of one (problem, seed), the same for every contender and device, without end.

    Every epoch is a fresh permutation of the training examples; the examples that do not fill a batch are left out of
    that epoch.

    Args:
        problem: whose name, number of examples and batch size count.
        stage: tuning and final seeds are different seeds.
        seed: which order.
        segment: steps a yielded array covers.

    Yields:
        int32 [segment, rows_per_step] indices: a step's batch, or its batches one after another; [segment, 0] for
        problems that use the whole split at every step.
    """
    if problem.batch_size is None:
        while True:
            yield np.zeros((segment, 0), np.int32)
    examples, batch = problem.dataset.examples, problem.batch_size
    rows = np.zeros((0, batch), np.int32)
    needed = segment * problem.batches_per_step
    epoch = 0
    name = zlib.crc32(problem.name.encode())
    while True:
        parts = [rows]
        while sum(map(len, parts)) < needed:
            words = np.array([name << 32 | STAGES[stage], seed << 32 | epoch], np.uint64)
            order = np.random.Generator(np.random.Philox(key=words)).permutation(examples)
            parts.append(order[: examples // batch * batch].reshape(-1, batch).astype(np.int32))
            epoch += 1
        rows = np.concatenate(parts)
        yield rows[:needed].reshape(segment, problem.rows_per_step)
        rows = rows[needed:]


def trial_order(problem: Problem, stage: Stage, seed: int, shape: tuple[int, int], calls: int) -> Iterator[Any]:
    """Yields the batches of a trial; small ones are kept on the device, as every contender needs the same.

    Args:
        problem: as in `data_order`.
        stage: as in `data_order`.
        seed: as in `data_order`.
        shape: (evaluations, steps) that one yielded array covers.
        calls: how many will be needed.

    Yields:
        int32 [evaluations, steps, rows_per_step] indices.
    """
    if math.prod(shape) * calls * problem.rows_per_step <= KEPT_INDICES:
        return iter(_kept_order(problem, stage, seed, shape, calls))
    return _shaped_order(problem, stage, seed, shape)


def _shaped_order(problem: Problem, stage: Stage, seed: int, shape: tuple[int, int]) -> Iterator[np.ndarray[Any, Any]]:
    return (
        rows.reshape(*shape, problem.rows_per_step)
        for rows in data_order(problem, stage, seed, segment=math.prod(shape))
    )


@lru_cache(maxsize=64)
def _kept_order(problem: Problem, stage: Stage, seed: int, shape: tuple[int, int], calls: int) -> tuple[Array, ...]:
    order = _shaped_order(problem, stage, seed, shape)
    return tuple(jax.device_put([next(order) for _ in range(calls)]))
