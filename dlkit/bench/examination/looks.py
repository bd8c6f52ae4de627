"""Looks at a problem: one compiled function of losses, gradients and metrics, for several parameters and examples."""

import math
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from dlkit.bench.machine.quick_compilation import quickly_compiled
from dlkit.bench.problems.base import Problem
from dlkit.bench.problems.players import with_step

__all__ = ["HELD", "Look", "Looker", "few"]

HELD = 512  # examples of validation and test that are looked at together
Arrays = Mapping[str, np.ndarray[Any, Any]]


class Look(NamedTuple):
    """What a problem is at some parameters, on a batch and some held-out examples.

    Attributes:
        losses: player -> its loss; one without a name where there are no players.
        gradients: of the losses, as the parameters.
        metrics: metric -> value on the held-out examples.
    """

    losses: Mapping[str, float]
    gradients: Any
    metrics: Mapping[str, float]


class Looker:
    """A problem's functions, compiled once.

    Attributes:
        problem: whose.
        memory: bytes of its program with one batch; NaN where the compiler does not say.
    """

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.memory = math.nan
        self._seconds: list[float] = []
        self._key = jax.device_get(jax.random.key_data(jax.random.key(0)))
        self._init: Any = None
        self._compiled: Any = None

    @property
    def seconds(self) -> float:
        """The median seconds of a look: about those of a step; NaN before the second."""
        return float(np.median(self._seconds[1:])) if len(self._seconds) > 1 else math.nan

    def start(self, seed: int) -> tuple[Any, Any]:
        """Returns initial parameters and state."""
        key = jax.random.key(seed)
        if self._init is None:
            self._init = quickly_compiled(self.problem.init, key)
        found: tuple[Any, Any] = jax.device_get(self._init(key))
        return found

    def look(self, params: Any, state: Any, batch: Arrays, held: Arrays) -> Look:
        """Returns losses, gradients and metrics; batches and held-out examples have the same shapes each time."""
        arguments = (params, state, dict(batch), dict(held), self._key)
        if self._compiled is None:
            self._compiled = quickly_compiled(self._function, *arguments)
            self.memory = _memory_of(self._compiled)
        began = time.perf_counter()
        losses, gradients, metrics = jax.device_get(self._compiled(*arguments))
        self._seconds.append(time.perf_counter() - began)
        return Look(_numbers(losses), gradients, _numbers(metrics))

    def _function(self, params: Any, state: Any, batch: Any, held: Any, key_data: Any) -> Any:
        key, step = jax.random.wrap_key_data(key_data), jax.numpy.int32(0)
        losses, gradients = {}, {}
        for player in self.problem.players:

            def own_loss(own: Any, name: str = player.name, loss: Any = player.loss) -> Any:
                return with_step(loss)({**params, name: own}, state, batch, key, step)[0]

            losses[player.name], gradients[player.name] = jax.value_and_grad(own_loss)(params[player.name])
        if not losses:
            loss = with_step(self.problem.loss)
            losses[""], gradients = jax.value_and_grad(lambda params: loss(params, state, batch, key, step)[0])(params)
        return losses, gradients, dict(self.problem.evaluate(params, state, held))


def few(arrays: Arrays, rows: int) -> dict[str, np.ndarray[Any, Any]]:
    """Returns some examples, evenly spaced from the first to the last; more than there are come around again."""
    count = len(next(iter(arrays.values()), ()))
    chosen = np.arange(rows) % count if rows > count else np.linspace(0, count - 1, rows).astype(int)
    return {name: np.asarray(array[chosen]) for name, array in arrays.items()}


def _numbers(values: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in values.items()}


def _memory_of(compiled: Any) -> float:
    try:
        found = compiled.memory_analysis()
        return float(found.argument_size_in_bytes + found.output_size_in_bytes + found.temp_size_in_bytes)
    except Exception:  # not every backend tells
        return math.nan
