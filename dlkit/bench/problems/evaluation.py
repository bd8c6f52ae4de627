"""What an evaluation costs beside training, and how the scores of a large network are computed: in chunks.

An evaluation is on a whole split, always: curves, targets to reach, tuning and verdicts read the same numbers. Chunks
change where values lie while they are computed, and the mean is still one sum over all examples.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from dlkit.bench.identity.bodies import bodies
from dlkit.bench.problems.base import Batch, ExampleScores, Problem, are_means, means_of
from dlkit.typing import Array, Params, State

__all__ = ["evaluation_share", "in_chunks"]

CHUNK = 64
"""Examples of a chunk, at most."""

CACHE = 2**20
"""Bytes of the largest array of an evaluation from which on chunks are faster: about a core's cache."""


def in_chunks(problem: Problem) -> Problem:
    """Returns the problem with its examples' scores computed chunk by chunk where that is faster.

    That is on a CPU, of more than one chunk, and if an array on the way would not fit into a core's cache otherwise:
    0.62 and 0.74 of the time for a residual network on digits and a recurrent one on text, but 1.10 for a small one.

    Args:
        problem: its model treats each example by itself in an evaluation, whatever else is in the batch, and keeps no
            state that belongs to a batch.

    Raises:
        ValueError: the problem's metrics are not the means of its `example_scores`.
    """
    if problem.example_scores is None or not are_means(problem):
        raise ValueError(f"problem '{problem.name}': expected metrics that are the means of its example_scores")
    chunked = partial(_chunked, problem.example_scores)
    return replace(problem, example_scores=chunked, evaluate=means_of(chunked))


def _chunked(scores: ExampleScores, params: Params, state: State, batch: Batch) -> Mapping[str, Array]:
    """As `scores`, in chunks where that is faster."""
    examples = len(next(iter(batch.values())))
    if examples <= CHUNK or jax.default_backend() != "cpu":
        return scores(params, state, batch)
    largest = max(_sizes(jax.make_jaxpr(scores)(params, state, batch).jaxpr), default=0)
    if largest <= CACHE:
        return scores(params, state, batch)
    chunks = math.ceil(examples / CHUNK)
    rows = math.ceil(examples / chunks)

    def cut(array: Array) -> Array:
        """[chunks, rows, ...]; the last example fills up the last chunk."""
        filled = jnp.pad(array, ((0, chunks * rows - examples), *[(0, 0)] * (array.ndim - 1)), mode="edge")
        return filled.reshape(chunks, rows, *array.shape[1:])

    cuts = {name: cut(array) for name, array in batch.items()}
    values = jax.lax.map(lambda chunk: scores(params, state, chunk), cuts)
    return {name: each.reshape(chunks * rows)[:examples] for name, each in values.items()}


def _sizes(jaxpr: Any) -> Iterator[int]:
    """The bytes of every array that a traced function computes, within its loops and calls too."""
    for equation in jaxpr.eqns:
        for variable in equation.outvars:
            if hasattr(variable.aval, "dtype") and not jnp.issubdtype(variable.aval.dtype, jax.dtypes.extended):
                yield variable.aval.size * variable.aval.dtype.itemsize
        for body in bodies(equation):
            yield from _sizes(body)


def evaluation_share(problem: Problem, evaluations: int) -> float:
    """Returns the share of a trial's cost that its evaluations take, by the number of examples that go through.

    A step counts three times its examples, for the derivatives cost twice the values. What an optimizer or a short
    step costs beside is not in it.

    Args:
        problem: what is trained.
        evaluations: points of the curve after step 0.

    Example:
        >>> from dlkit.bench.problems import get
        >>> round(evaluation_share(get("digits-mlp"), 20), 3)
        0.059
    """
    held_out = problem.dataset.sizes[1] if problem.dataset.holds_out else problem.dataset.examples
    evaluated = evaluations * max(held_out, 1)
    trained = 3 * problem.steps * max(problem.rows_per_step or problem.dataset.examples, 1)
    return evaluated / (evaluated + trained)
