"""Time per step and memory against the number of parameters, beside a plain loop: python -m benchmarks.model_size.

An MLP of two hidden layers and Adam, batch 64, on one core. The plain loop is one jitted step with its state donated,
as a user would write it. Each way is a process of its own, so that its largest resident size is its own: what the
process had before it began is subtracted, what XLA needs to compile is not.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from dlkit import models
from dlkit.bench import optimizers
from dlkit.bench.data import Dataset
from dlkit.bench.machine.preparation import prepare_process
from dlkit.bench.problems import Problem, classification
from dlkit.bench.training.program import compile_problem, compile_program
from dlkit.bench.training.recipe import Recipe
from dlkit.bench.training.trajectory import train_trial

WIDTHS = {30: 4000, 300: 600, 1000: 100, 3100: 20}  # hidden units -> steps
BATCH, EVALUATIONS, REPEATS = 64, 10, 3
RATE = 1e-3


def problem_of(width: int, steps: int) -> Problem:
    """Ten classes of 64 numbers, drawn at random: what matters is the size of the network."""
    rng = np.random.default_rng(0)

    def split(rows: int) -> dict[str, np.ndarray[Any, Any]]:
        return {
            "inputs": rng.normal(size=(rows, 64)).astype(np.float32),
            "targets": rng.integers(0, 10, rows).astype(np.int32),
        }

    dataset = Dataset("random", split(1000), split(200), split(200))
    return classification("random", models.mlp((width, width)), dataset, batch_size=BATCH, steps=steps)


def own(problem: Problem) -> Callable[[int], None]:
    """The trials of dlkit."""
    adam = optimizers.get("adam")
    values = {"learning_rate": RATE, "b1": 0.9, "b2": 0.999}
    recipe = Recipe(optimizer=adam, steps=problem.steps, evaluations=EVALUATIONS)
    program = compile_program(compile_problem(problem), recipe)

    def train(seed: int) -> None:
        train_trial(program, {name: values[name] for name in recipe.traced}, stage="tuning", seed=seed)

    return train


def plain(problem: Problem) -> Callable[[int], None]:
    """A step loop in Python."""
    transformation = optax.adam(RATE)
    train_split, validation = (
        jax.device_put(dict(problem.dataset.train)),
        jax.device_put(dict(problem.dataset.validation)),
    )

    def step(params: Any, state: Any, opt_state: Any, index: Any) -> Any:
        batch = {name: array[index] for name, array in train_split.items()}

        def loss(params: Any) -> Any:
            return problem.loss(params, state, batch, jax.random.key(0))

        (value, after), gradient = jax.value_and_grad(loss, has_aux=True)(params)
        updates, opt_state = transformation.update(gradient, opt_state, params)
        return optax.apply_updates(params, updates), after, opt_state, value

    stepped = jax.jit(step, donate_argnums=(0, 1, 2))
    begin, begin_state = jax.jit(problem.init), jax.jit(transformation.init)
    evaluate = jax.jit(lambda params, state: problem.evaluate(params, state, validation))

    def train(seed: int) -> None:
        params, state = begin(jax.random.key(seed))
        opt_state = begin_state(params)
        order = np.random.default_rng(seed).integers(0, 1000, (problem.steps, BATCH))
        for number, index in enumerate(order, start=1):
            params, state, opt_state, _ = stepped(params, state, opt_state, index)
            if number % (problem.steps // EVALUATIONS) == 0:
                jax.block_until_ready(evaluate(params, state))

    return train


def measure(way: str, width: int) -> dict[str, float]:
    """In this process: parameters, largest resident MiB beyond the beginning's, and CPU microseconds of a step."""
    prepare_process()
    problem = problem_of(width, WIDTHS[width])
    params, _ = jax.eval_shape(problem.init, jax.eval_shape(lambda: jax.random.key(0)))
    jax.block_until_ready(jnp.ones(3) + 1)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    train = {"dlkit": own, "plain": plain}[way](problem)
    train(0)
    seconds = []
    for seed in range(REPEATS):
        began = time.process_time()
        train(seed)
        seconds.append(time.process_time() - began)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    size = sum(leaf.size for leaf in jax.tree.leaves(params))
    return {"parameters": size, "MiB": peak / 1024, "step": 1e6 * min(seconds) / problem.steps}


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs=2, metavar=("WAY", "WIDTH"), help="measure in this process")
    arguments = parser.parse_args()
    if arguments.only:
        print(json.dumps(measure(arguments.only[0], int(arguments.only[1]))))
        return
    print("| parameters | plain, µs/step | dlkit | ratio | with Adam's state, MiB | plain, peak MiB | dlkit | ratio |")
    print("|---:|---:|---:|---:|---:|---:|---:|---:|")
    for width in WIDTHS:
        found = {}
        for way in ("plain", "dlkit"):
            command = [sys.executable, "-m", "benchmarks.model_size", "--only", way, str(width)]
            found[way] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        ours, theirs = found["dlkit"], found["plain"]
        state = 3 * 4 * ours["parameters"] / 2**20
        print(f"| {ours['parameters']:,} | {theirs['step']:,.0f} | {ours['step']:,.0f} ", end="")
        print(
            f"| {ours['step'] / theirs['step']:.2f} | {state:,.1f} | {theirs['MiB']:,.0f} | {ours['MiB']:,.0f} ", end=""
        )
        print(f"| {ours['MiB'] / theirs['MiB']:.2f} |", flush=True)


if __name__ == "__main__":
    main()
