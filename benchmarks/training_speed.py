"""Speed of training the digits MLP on one core, against hand-written loops, in one run and interleaved.

Compares, for batch 64, 64-64-64-10, Adam, 600 steps with 20 evaluations:

- dlkit: the trainer's segments, called by its host loop, data order and all;
- fused: a hand-written `lax.scan` over everything, compiled into one program: nothing can be faster;
- nnx: an ordinary flax nnx + optax step loop, one jitted call a step.

Then the training time of one pinned worker process against two. Run it on an idle machine: `make bench`.
"""

import os
import time

import jax
import numpy as np
import optax
from flax import nnx

from benchmarks import CORES
from benchmarks.loops import VALUES, Loop, dlkit_loop, microseconds, nnx_loop, print_table
from dlkit.bench import problems
from dlkit.bench.machine.environment import compiler_options, configure_jax
from dlkit.bench.training.data_order import data_order

STEPS, REPEATS = 600, 15


def fused_loop() -> Loop:
    """All segments and evaluations in one program, data order given."""
    problem = problems.get("digits-mlp")
    params, state = problem.init(jax.random.key(0))
    transformation = optax.adam(*VALUES.values())
    data = {name: jax.device_put(dict(getattr(problem.dataset, name))) for name in ("train", "validation")}
    key = jax.random.key(1)

    def step(carry, index):
        params, opt_state = carry
        batch = {name: array[index] for name, array in data["train"].items()}
        loss, gradient = jax.value_and_grad(lambda p: problem.loss(p, state, batch, key)[0])(params)
        updates, opt_state = transformation.update(gradient, opt_state, params)
        return (optax.apply_updates(params, updates), opt_state), loss

    def segment(carry, indices):
        carry, losses = jax.lax.scan(step, carry, indices)
        return carry, {**problem.evaluate(carry[0], state, data["validation"]), "loss": losses.mean()}

    whole = jax.jit(lambda carry, order: jax.lax.scan(segment, carry, order), compiler_options=compiler_options())
    order = np.stack([rows for rows, _ in zip(data_order(problem, "final", 0, segment=30), range(20), strict=False)])
    carry = (params, transformation.init(params))
    return lambda: float(jax.device_get(whole(carry, order)[1])["cross_entropy"][-1])


class Network(nnx.Module):
    """The same network in flax nnx."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        self.layers = nnx.List([nnx.Linear(64, width, rngs=rngs) for width in (64, 64, 10)])

    def __call__(self, x):
        """Returns logits."""
        for layer in self.layers[:-1]:
            x = jax.nn.relu(layer(x))
        return self.layers[-1](x)


def workers(count: int, trials: int) -> float:
    """Seconds that `count` pinned worker processes take for the training of `trials` trials, warm."""
    from dlkit.bench.execution.dask_workers import DaskExecutor
    from dlkit.bench.execution.work import Work
    from dlkit.bench.spec import planner
    from dlkit.bench.spec.budget import Budget
    from dlkit.bench.spec.entries import Contender, Experiment, ProblemChoice

    asked = Experiment(
        name="speed",
        problems=(ProblemChoice(problem="digits-mlp"),),
        optimizers=(Contender(optimizer="adam"),),
        budget=Budget(tuning_points=trials, tuning_seeds=1, seeds=1),
    )
    study = planner.plan(asked)
    problem, contender = study.plan.problems[0], study.plan.contenders[0]
    every = [row[0] for row in study.plan.tuning_trials(problem, contender)]
    executor = DaskExecutor(workers=count)
    try:
        group = study.group(problem, contender, {})
        best = float("inf")
        for attempt in range(4):
            began = time.perf_counter()
            for slot in range(count):
                share = every[slot::count] if attempt else every[:1]  # the first attempt compiles
                executor.submit(slot, Work(group, tuple(share), seconds=1e9))
            for _ in range(count):
                executor.next()
            if attempt:
                best = min(best, time.perf_counter() - began)
        return best
    finally:
        executor.close()


def main() -> None:
    """Prints the table."""
    configure_jax()
    problem = problems.get("digits-mlp")
    loops = {"fused": fused_loop(), "dlkit": dlkit_loop(problem, STEPS), "nnx": nnx_loop(problem, STEPS, Network)}
    print_table(microseconds(loops, steps=STEPS, repeats=REPEATS), "fused")
    if len(CORES) > 1:
        os.sched_setaffinity(0, set(CORES))
        one, two = workers(1, 64), workers(2, 64)
        print(f"\n64 trials of {STEPS} steps: one pinned worker {one:.2f} s, two {two:.2f} s: {one / two:.2f}x")


if __name__ == "__main__":
    main()
