"""What streaming costs: trials whose training split lies on the device against trials whose split streams.

Adam, batch 64, 20 evaluations: the digits MLP (256 bytes an example), and an MLP on images of the size of CIFAR's (12
kB an example, 24,000 of them). Streamed with memory for blocks of an interval between evaluations, of four steps and of
two; of the digits only the last two are less than all examples. Then the pipeline alone: time per block of grain's
prefetching iterator, which dlkit uses, of a thread that is one block ahead, and of no pipeline. Interleaved, in one
process, on one core, where nothing can overlap: `python -m benchmarks.streaming_speed`.
"""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from benchmarks.peers.tasks import VALUES
from benchmarks.peers.timing import Loop, microseconds, print_table
from dlkit import models
from dlkit.bench import optimizers, problems
from dlkit.bench.data import split
from dlkit.bench.machine.environment import configure_jax
from dlkit.bench.problems import Problem
from dlkit.bench.training.data_order import batches_of
from dlkit.bench.training.lanes import ALONE
from dlkit.bench.training.program import compile_problem, compile_program
from dlkit.bench.training.recipe import Recipe
from dlkit.bench.training.streaming import BLOCKS, Cut, stream
from dlkit.bench.training.trajectory import train_trial

EVALUATIONS = 20
REPEATS = 9


def images(count: int = 24_000) -> Problem:
    """An MLP on noise of the size of CIFAR's images."""
    rng = np.random.default_rng(0)
    arrays = {
        "inputs": rng.normal(size=(count, 3072)).astype(np.float32),
        "targets": rng.integers(0, 10, count).astype(np.int32),
    }
    data = split("images", arrays, validation=0.02, test=0.02)
    return problems.classification(
        "images", models.mlp((128, 10)), data, batch_size=64, steps=400, target=0.9, description=""
    )


def step_bytes(problem: Problem) -> int:
    """Bytes that one step's examples and their indices take."""
    example = sum(array[:1].nbytes for array in problem.dataset.train.values())
    return (problem.batch_size or 0) * (example + 4)


def loop(problem: Problem, steps: int, block: int | None) -> Loop:
    """The trainer, with blocks of so many steps; None for a split on the device."""
    recipe = Recipe(optimizer=optimizers.get("adam"), steps=steps, evaluations=EVALUATIONS)
    memory = None if block is None else BLOCKS * block * step_bytes(problem)
    program = compile_program(compile_problem(problem, ALONE, memory), recipe)
    assert (program.shared.block_bytes is None) == (block is None)

    def run() -> float:
        return float(train_trial(program, VALUES, stage="final", seed=0).curves["cross_entropy"][-1])

    return Loop(run)


def pipelines(problem: Problem, cut: Cut) -> dict[str, Callable[[], Iterator[Any]]]:
    """Ways to the blocks of an epoch."""
    spans = cut.blocks(EVALUATIONS, cut.steps)
    train = problem.dataset.train

    def gather(place: int, order: Any) -> Any:
        rows = order(*spans[place][:2]).ravel()
        return {name: array.take(rows, axis=0) for name, array in train.items()}

    def plain() -> Iterator[Any]:
        order = batches_of(problem, "final", 0)
        return (gather(place, order) for place in range(len(spans)))

    def ahead() -> Iterator[Any]:
        order = batches_of(problem, "final", 0)
        with ThreadPoolExecutor(1) as pool:
            future = pool.submit(gather, 0, order)
            for place in range(1, len(spans)):
                ready = future.result()
                future = pool.submit(gather, place, order)
                yield ready
            yield future.result()

    def grain() -> Iterator[Any]:
        order = batches_of(problem, "final", 0)
        return stream(problem, [order], cut, ALONE, evaluations=EVALUATIONS, interval=cut.steps)

    return {"gathering alone": plain, "a thread, one block ahead": ahead, "grain, and onto the device": grain}


def print_pipelines(problem: Problem, steps: int) -> None:
    """Prints milliseconds per block of each way, the minimum of interleaved repeats."""
    ways = pipelines(problem, Cut(1, steps))
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(REPEATS):
        for name, way in ways.items():
            began = time.perf_counter()
            count = sum(1 for _ in way())
            times[name].append((time.perf_counter() - began) / count * 1e3)
    print(f"\n{problem.name}, blocks of {steps} steps, {steps * step_bytes(problem) / 1e6:.2f} MB")
    for name, each in times.items():
        print(f"  {name}: {min(each):.3f} ms a block")


def main() -> None:
    """Prints the tables."""
    configure_jax()
    for problem, steps in ((problems.get("digits-mlp"), 600), (images(), 400)):
        interval = steps // EVALUATIONS
        sizes = {"an interval": interval, "four steps": 4, "two steps": 2}
        loops = {"on the device": loop(problem, steps, None)}
        loops |= {
            f"blocks of {name}": loop(problem, steps, size)
            for name, size in sizes.items()
            if BLOCKS * size * step_bytes(problem) < held(problem)  # else it would not stream
        }
        print_table(microseconds(loops, steps=steps, repeats=REPEATS), "on the device")
    print_pipelines(problems.get("digits-mlp"), 4)
    print_pipelines(images(), 20)


def held(problem: Problem) -> int:
    """Bytes of the training split."""
    return sum(array.nbytes for array in problem.dataset.train.values())


if __name__ == "__main__":
    main()
