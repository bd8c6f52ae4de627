"""A walk whose curve shows every random draw of a trial, and what the draws have to be, from JAX and NumPy alone."""

import zlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from dlkit.bench.data import Dataset
from dlkit.bench.optimizers import Optimizer
from dlkit.bench.plan.metric import Metric
from dlkit.bench.problems import Problem
from dlkit.typing import Array, Key

__all__ = ["EXAMPLES", "OWN_DRAWS", "STAGE_NUMBERS", "STEP_DRAWS", "WALKER", "key_of", "order_of", "walk"]

EXAMPLES, BATCH = 12, 4
STAGE_NUMBERS = {"tuning": 0, "final": 1, "target": 2}
METRICS = ("x0", "x1", "x2", "rows")


def walk(name: str = "walk", **changes: Any) -> Problem:
    """A problem whose gradient is a normal draw from the step's key and, in `rows`, the sum of 2^i over the batch."""

    def init(key: Key) -> Any:
        return {"x": jax.random.normal(key, (3,)), "rows": jnp.float32(0)}, None

    def loss(params: Any, state: Any, batch: Any, key: Key) -> Any:
        drawn = jax.random.normal(key, (3,))
        return jnp.sum(drawn * params["x"]) + jnp.sum(2.0 ** batch["index"]) * params["rows"], state

    def evaluate(params: Any, state: Any, batch: Any) -> Any:
        # on validation the walk as it is; elsewhere the examples show that it is another split
        return dict(zip(METRICS, [*(params["x"] + batch["index"].mean()), params["rows"]], strict=True))

    index = {"index": np.arange(EXAMPLES, dtype=np.float32)}
    splits = [index, {"index": np.zeros(2, np.float32)}, {"index": np.full(2, 100, np.float32)}]
    facts: dict[str, Any] = {
        "dataset": Dataset("rows", *splits),
        "metrics": {"x0": Metric("lower")},
        "batch_size": BATCH,
        "steps": 6,
    }
    return Problem(name=name, init=init, loss=loss, evaluate=evaluate, **{**facts, **changes})


def _walker(gradient: Array, own: Array, key: Key) -> optax.GradientTransformation:
    """Moves by -gradient times the gradient, and by `own` times a draw from the optimizer's own key."""

    def update(gradients: Any, state: Any, params: Any = None) -> Any:
        leaves, structure = jax.tree.flatten(gradients)
        draws = [jax.random.normal(key, leaf.shape) for leaf in leaves]
        moved = [own * draw - gradient * leaf for draw, leaf in zip(draws, leaves, strict=True)]
        return jax.tree.unflatten(structure, moved), state

    return optax.GradientTransformation(lambda params: (), update)


WALKER = Optimizer("walker", _walker, {"gradient": 1.0, "own": 0.0}, random=True)
STEP_DRAWS = {"gradient": 1.0, "own": 0.0}  # the walk's steps are the draws of the steps' key
OWN_DRAWS = {"gradient": 0.0, "own": 1.0}  # ... of the optimizer's own key


def key_of(problem: str, stage: str, seed: int, purpose: str) -> Key:
    """The key of a purpose: names and numbers are folded in one after another, in this order."""
    key = jax.random.key(0)
    for word in (zlib.crc32(problem.encode()), STAGE_NUMBERS[stage], seed, zlib.crc32(purpose.encode())):
        key = jax.random.fold_in(key, word)
    return key


def order_of(problem: str, stage: str, seed: int, steps: int) -> np.ndarray[Any, Any]:
    """[steps, batch] The indices that every step sees: of each epoch a permutation by Philox."""
    epochs = []
    for epoch in range(-(-steps * BATCH // EXAMPLES)):
        words = np.array([zlib.crc32(problem.encode()) << 32 | STAGE_NUMBERS[stage], seed << 32 | epoch], np.uint64)
        epochs.append(np.random.Generator(np.random.Philox(key=words)).permutation(EXAMPLES).reshape(-1, BATCH))
    return np.concatenate(epochs)[:steps]
