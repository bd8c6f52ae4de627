"""The loops that the speed benchmarks share: a problem trained by dlkit, by a flax nnx loop, by an eager torch loop."""

import time
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from dlkit.bench import optimizers
from dlkit.bench.problems import Problem
from dlkit.bench.training.data_order import data_order
from dlkit.bench.training.program import compile_problem, compile_program
from dlkit.bench.training.recipe import Recipe
from dlkit.bench.training.trajectory import train_trial

VALUES = {"learning_rate": 3e-3, "b1": 0.9, "b2": 0.999}  # Adam's
EVALUATIONS = 20

Loop = Callable[[], float]
"""Trains once and returns the final cross-entropy on test."""


def dlkit_loop(problem: Problem, steps: int) -> Loop:
    """The trainer, as workers call it."""
    recipe = Recipe(optimizer=optimizers.get("adam"), steps=steps, evaluations=EVALUATIONS)
    program = compile_program(compile_problem(problem), recipe)

    def run() -> float:
        result = train_trial(program, VALUES, stage="final", seed=0)
        return float(result.curves["cross_entropy"][-1])

    return run


def nnx_loop(problem: Problem, steps: int, network: Callable[[nnx.Rngs], nnx.Module]) -> Loop:
    """What tutorials show: a jitted flax nnx + optax step, called from Python."""
    train = {name: jnp.asarray(array) for name, array in problem.dataset.train.items()}
    held_out = {name: jnp.asarray(array) for name, array in problem.dataset.test.items()}

    def loss_of(model, batch):
        logits = model(batch["inputs"])
        return optax.softmax_cross_entropy_with_integer_labels(logits, batch["targets"]).mean()

    @nnx.jit
    def step(model, optimizer, batch):
        loss, gradient = nnx.value_and_grad(loss_of)(model, batch)
        optimizer.update(model, gradient)
        return loss

    evaluate = nnx.jit(loss_of)

    def run() -> float:
        model = network(nnx.Rngs(0))
        optimizer = nnx.Optimizer(model, optax.adam(*VALUES.values()), wrt=nnx.Param)
        order = data_order(problem, "final", 0, segment=steps // EVALUATIONS)
        loss = 0.0
        for _ in range(EVALUATIONS):
            for index in next(order):
                step(model, optimizer, {name: array[index] for name, array in train.items()})
            loss = float(evaluate(model, held_out))
        return loss

    return run


def torch_loop(problem: Problem, steps: int, network: Callable[[], "torch.nn.Module"]) -> Loop:
    """An eager PyTorch loop on one thread."""
    import torch

    torch.set_num_threads(1)

    def tensors(split: Mapping[str, np.ndarray]) -> tuple["torch.Tensor", "torch.Tensor"]:
        return torch.tensor(np.asarray(split["inputs"], np.float32)), torch.tensor(
            np.asarray(split["targets"], np.int64)
        )

    inputs, targets = tensors(problem.dataset.train)
    held_out = tensors(problem.dataset.test)
    loss_of = torch.nn.functional.cross_entropy

    def run() -> float:
        torch.manual_seed(0)
        model = network()
        optimizer = torch.optim.Adam(model.parameters(), VALUES["learning_rate"], (VALUES["b1"], VALUES["b2"]))
        order = data_order(problem, "final", 0, segment=steps // EVALUATIONS)
        loss = 0.0
        for _ in range(EVALUATIONS):
            for index in torch.tensor(np.asarray(next(order), np.int64)):
                optimizer.zero_grad()
                loss_of(model(inputs[index]), targets[index]).backward()
                optimizer.step()
            with torch.no_grad():
                loss = float(loss_of(model(held_out[0]), held_out[1]))
        return loss

    return run


def microseconds(loops: Mapping[str, Loop], *, steps: int, repeats: int) -> dict[str, list[float]]:
    """Returns the time per step of each loop, [repeats], taken one after the other in every repeat."""
    times: dict[str, list[float]] = {name: [] for name in loops}
    for name, loop in loops.items():
        print(f"  {name}: cross-entropy {loop():.4f} after {steps} steps (compiled now)")
    for _ in range(repeats):
        for name, loop in loops.items():
            began = time.perf_counter()
            loop()
            times[name].append((time.perf_counter() - began) / steps * 1e6)
    return times


def print_table(times: Mapping[str, list[float]], reference: str) -> None:
    """Prints times and ratios to the reference as a Markdown table."""
    print(f"\none core, {len(times[reference])} interleaved repeats, jax {jax.__version__}\n")
    print(f"| loop | µs/step, minimum | median | trial-steps/s | to {reference} (median of pairs) |")
    print("|---|---:|---:|---:|---:|")
    for name, each in times.items():
        ratio = np.median(np.array(each) / np.array(times[reference]))
        print(f"| {name} | {min(each):.1f} | {np.median(each):.1f} | {1e6 / np.median(each):,.0f} | {ratio:.2f} |")
