"""A small network to train, and how to train it with an optimizer of the registry."""

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dlkit.bench.data import split
from dlkit.bench.optimizers import Optimizer
from dlkit.bench.plan.metric import Metric
from dlkit.bench.plan.space import Point
from dlkit.bench.problems import Problem
from dlkit.bench.training.curve import Trajectory
from dlkit.bench.training.program import ProblemProgram, Program, compile_problem, compile_program
from dlkit.bench.training.recipe import Recipe
from dlkit.bench.training.trajectory import train_trial
from dlkit.bench.tuning.sampling import halton_points

__all__ = ["STEPS", "constant_rate", "init", "points", "problem", "program", "shared", "train"]

STEPS = 60
POINTS = 8


def init(key: Any, dtype: Any = jnp.float32) -> Any:
    """Two matrices and a vector: methods for matrices have something to do."""
    first, second = (jax.random.fold_in(key, layer) for layer in range(2))
    weights = {"in": jax.random.normal(first, (6, 8)) / 6**0.5, "out": jax.random.normal(second, (8, 2)) / 8**0.5}
    return jax.tree.map(lambda leaf: leaf.astype(dtype), weights | {"bias": jnp.zeros(8)})


def error(params: Any, batch: Any) -> Any:
    hidden = jnp.tanh(batch["inputs"].astype(params["in"].dtype) @ params["in"] + params["bias"][None])
    return ((hidden @ params["out"] - batch["targets"]) ** 2).mean()


def problem(batch_size: int | None = 32) -> Problem:
    """Fit the tanh of a linear map."""
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(128, 6)).astype(np.float32)
    targets = np.tanh(inputs @ rng.normal(size=(6, 2))).astype(np.float32)
    return Problem(
        name="tanh",
        init=lambda key: (init(key), None),
        loss=lambda params, state, batch, key: (error(params, batch), state),
        evaluate=lambda params, state, batch: {"error": error(params, batch)},
        metrics={"error": Metric("lower")},
        dataset=split("tanh", {"inputs": inputs, "targets": targets}),
        batch_size=batch_size,
        steps=STEPS,
    )


@cache
def shared() -> ProblemProgram:
    return compile_problem(problem())


def points(optimizer: Optimizer) -> list[Point]:
    return halton_points(optimizer.space, optimizer.static, POINTS)


def program(optimizer: Optimizer, static: Mapping[str, Any]) -> Program:
    return compile_program(shared(), Recipe(optimizer=optimizer, steps=STEPS, evaluations=5, static=static))


def train(program: Program, hyperparameters: Mapping[str, float]) -> Trajectory:
    return train_trial(program, hyperparameters, stage="tuning", seed=0)


def constant_rate(optimizer: Optimizer, value: float) -> Optimizer:
    """The optimizer with its learning rate written into the program."""
    rate = float(np.float32(value))
    space = {name: span for name, span in optimizer.space.items() if name != "learning_rate"}
    return replace(optimizer, build=lambda **others: optimizer.build(learning_rate=rate, **others), space=space)
