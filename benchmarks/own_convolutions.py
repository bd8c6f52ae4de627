"""A user's network of convolutions in the bench against a step loop of its own, on one core, interleaved in one run.

For each network (two convolutions, rectifiers, the mean over positions, a linear layer; batch 64, Adam), the smallest
time per step of three loops, taken one after the other in every repeat:

- own: what tutorials show, a jitted flax + optax step called from Python;
- scan: the same functions in the bench's segments, as they are: XLA's slow convolutions;
- dlkit: the bench, which rewrites them (`dlkit.bench.training.fast_products`), with its evaluations and all.

Then the seconds of the first trial of each, compilation and all. Run it on an idle machine:
`python -m benchmarks.own_convolutions`; it takes two minutes.
"""

import math
import time
from collections.abc import Callable
from typing import NamedTuple
from unittest.mock import patch

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen, nnx

from dlkit import bench
from dlkit.bench.problems import Problem
from dlkit.bench.training.data_order import data_order
from dlkit.bench.training.program import compile_problem, compile_program
from dlkit.bench.training.recipe import Recipe
from dlkit.bench.training.trajectory import train_trial

BATCH, REPEATS, RATE = 64, 7, 1e-3
LIMIT = 2.0  # a loop that takes longer is timed once


class Network(linen.Module):
    """Two convolutions; the options are those of the second."""

    size: int = 3
    strides: int = 1
    groups: int = 1
    dilation: int = 1

    @linen.compact
    def __call__(self, x):
        """Returns logits."""
        window = (self.size, self.size)
        x = linen.relu(linen.Conv(16, window, strides=self.strides)(x))
        options = {"feature_group_count": self.groups, "kernel_dilation": self.dilation}
        x = linen.relu(linen.Conv(32, window, strides=self.strides, **options)(x))
        return linen.Dense(10)(x.mean((1, 2)))


class NnxNetwork(nnx.Module):
    """The first row's network in flax nnx."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        self.first, self.second = nnx.Conv(1, 16, (3, 3), rngs=rngs), nnx.Conv(16, 32, (3, 3), rngs=rngs)
        self.head = nnx.Linear(32, 10, rngs=rngs)

    def __call__(self, x):
        """Returns logits."""
        return self.head(nnx.relu(self.second(nnx.relu(self.first(x)))).mean((1, 2)))


class Row(NamedTuple):
    """A network, the side of its square images, and the steps of a trial."""

    name: str
    module: object
    side: int
    steps: int


ROWS = (
    Row("3x3", Network(), 8, 60),
    Row("3x3, nnx", lambda rngs: NnxNetwork(rngs), 8, 60),
    Row("3x3", Network(), 28, 20),
    Row("3x3, stride 2", Network(strides=2), 28, 60),
    Row("3x3, dilation 2", Network(dilation=2), 8, 60),
    Row("3x3, 4 groups", Network(groups=4), 8, 60),
    Row("3x3, depthwise", Network(groups=16), 8, 20),
    Row("1x1", Network(size=1), 8, 60),
    Row("1x1", Network(size=1), 28, 40),
)
LOSS = optax.softmax_cross_entropy_with_integer_labels


def own_loop(problem: Problem, steps: int) -> Callable[[], object]:
    """A jitted step of the problem's functions, as its user would write it, called from Python."""
    optimizer = optax.adam(RATE)
    train = {name: jnp.asarray(array) for name, array in problem.dataset.train.items()}
    params, state = jax.jit(problem.init)(jax.random.key(0))

    @jax.jit
    def step(params, opt_state, batch):
        gradient = jax.grad(lambda params: problem.loss(params, state, batch, jax.random.key(0))[0])(params)
        updates, opt_state = optimizer.update(gradient, opt_state)
        return optax.apply_updates(params, updates), opt_state

    def run() -> None:
        carry = params, optimizer.init(params)
        for index in next(data_order(problem, "final", 0, segment=steps)):
            carry = step(*carry, {name: array[index] for name, array in train.items()})
        jax.block_until_ready(carry)

    return run


def bench_loop(problem: Problem, steps: int, *, rewriting: bool) -> Callable[[], object]:
    """The trainer, as workers call it."""
    adam = bench.Optimizer("adam", optax.adam, {"learning_rate": RATE})
    with patch("dlkit.bench.training.program.fast_products", lambda problem: (problem, lambda function: function)):
        plain = compile_problem(problem)
    shared = compile_problem(problem) if rewriting else plain
    program = compile_program(shared, Recipe(optimizer=adam, steps=steps, evaluations=2))
    return lambda: train_trial(program, {"learning_rate": RATE}, stage="final", seed=0)


def milliseconds(loops: dict[str, Callable[[], object]], steps: int) -> tuple[dict[str, float], dict[str, float]]:
    """The smallest time of a step of each loop, and the seconds of its first run."""

    def seconds(run: Callable[[], object]) -> float:
        began = time.perf_counter()
        run()
        return time.perf_counter() - began

    first = {name: seconds(run) for name, run in loops.items()}
    best = dict.fromkeys(loops, math.inf)
    for _ in range(REPEATS):
        for name, run in loops.items():
            if best[name] == math.inf or best[name] < LIMIT:
                best[name] = min(best[name], seconds(run))
    return {name: each / steps * 1e3 for name, each in best.items()}, first


def main() -> None:
    """Prints the table."""
    print(f"jax {jax.__version__}, one core\n")
    print("| network | images | own, ms | scan, ms | dlkit, ms | scan to own | dlkit to own | first run of each, s |")
    print("|---|---|---:|---:|---:|---:|---:|---:|")
    rng = np.random.default_rng(0)
    for row in ROWS:
        inputs = rng.normal(size=(400, row.side, row.side, 1)).astype(np.float32)
        data = bench.split("images", {"inputs": inputs, "targets": rng.integers(10, size=400)})
        problem = bench.problem_from_flax(row.module, data, LOSS, batch_size=BATCH, steps=row.steps)
        loops = {
            "own": own_loop(problem, row.steps),
            "scan": bench_loop(problem, row.steps, rewriting=False),
            "dlkit": bench_loop(problem, row.steps, rewriting=True),
        }
        times, first = milliseconds(loops, row.steps)
        print(
            f"| {row.name} | {row.side}x{row.side} | {times['own']:.2f} | {times['scan']:.2f} | {times['dlkit']:.2f} "
            f"| {times['scan'] / times['own']:.2f} | {times['dlkit'] / times['own']:.2f} "
            f"| {first['own']:.1f}, {first['scan']:.1f}, {first['dlkit']:.1f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
