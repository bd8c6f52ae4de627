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

__all__ = ["HELD", "Look", "Looker", "batch_of", "held_of"]

HELD = 512  # examples of validation and test that are looked at together
TIMED = 0.05  # seconds of steps that are timed
MOST_TIMED = 20_000  # steps
LEAST = 2e-6  # seconds: no step takes less, with what it does beside its gradient
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
        seconds: of one gradient, in a loop of them on the device, as steps are; NaN before `time`.
    """

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.memory = math.nan
        self.seconds = math.nan
        self._key = jax.device_get(jax.random.key_data(jax.random.key(0)))
        self._init: Any = None
        self._compiled: Any = None

    def start(self, seed: int) -> tuple[Any, Any]:
        """Returns initial parameters and state."""
        key = jax.random.key(seed)
        if self._init is None:
            self._init = quickly_compiled(self.problem.init, key)
        found: tuple[Any, Any] = jax.device_get(self._init(key))
        return found

    def look(self, params: Any, state: Any, batch: Arrays, held: Arrays, step: int = 0) -> Look:
        """Returns losses, gradients and metrics; batches and held-out examples have the same shapes each time."""
        losses, gradients, metrics = jax.device_get(self._called(params, state, batch, held, step=step))
        return Look(_numbers(losses), gradients, _numbers(metrics))

    def time(self) -> None:
        """Times gradients at the initial parameters, without what comes once a call."""
        arguments = (*self.start(0), batch_of(self.problem, 0), held_of(self.problem, "validation"))

        def seconds(repeats: int) -> float:
            began = time.perf_counter()
            jax.block_until_ready(self._called(*arguments, repeats=repeats))
            return time.perf_counter() - began

        once = taken = min(seconds(1) for _ in range(3))
        more = 0
        # What comes once a call has to be small beside the loop: on a busy machine it varies by more than a short one.
        while once < 4 * TIMED and more < MOST_TIMED and taken < max(TIMED, 4 * once):
            more = max(4, 4 * more)
            taken = seconds(1 + more)
        if more:
            taken = min(taken, seconds(1 + more)) - once
        self.seconds = max(taken / max(more, 1), LEAST)

    def _called(self, params: Any, state: Any, batch: Arrays, held: Arrays, *, step: int = 0, repeats: int = 1) -> Any:
        arguments = (params, state, dict(batch), dict(held), self._key, np.int32(step), np.int32(repeats))
        if self._compiled is None:
            self._compiled = quickly_compiled(self._function, *arguments)
            self.memory = _memory_of(self._compiled)
        return self._compiled(*arguments)

    def _function(self, params: Any, state: Any, batch: Any, held: Any, key_data: Any, step: Any, repeats: Any) -> Any:
        def again(done: Any, found: Any) -> Any:
            # without the barrier, what is the same each time would be computed once
            own, _ = jax.lax.optimization_barrier((params, done))
            return jax.tree.map(jax.numpy.asarray, self._gradients(own, state, batch, key_data, step))

        nothing = jax.tree.map(
            lambda leaf: jax.numpy.zeros(leaf.shape, leaf.dtype),
            jax.eval_shape(self._gradients, params, state, batch, key_data, step),
        )
        losses, gradients = jax.lax.fori_loop(0, repeats, again, nothing)
        return losses, gradients, dict(self.problem.evaluate(params, state, held))

    def _gradients(self, params: Any, state: Any, batch: Any, key_data: Any, step: Any) -> Any:
        key = jax.random.wrap_key_data(key_data)
        losses, gradients = {}, {}
        for player in self.problem.players:

            def own_loss(own: Any, name: str = player.name, loss: Any = player.loss) -> Any:
                return with_step(loss)({**params, name: own}, state, batch, key, step)[0]

            losses[player.name], gradients[player.name] = jax.value_and_grad(own_loss)(params[player.name])
        if not losses:
            loss = with_step(self.problem.loss)
            losses[""], gradients = jax.value_and_grad(lambda params: loss(params, state, batch, key, step)[0])(params)
        return losses, gradients


def batch_of(problem: Problem, seed: int) -> Arrays:
    """Returns a batch of training examples: other ones for each seed."""
    count = problem.dataset.examples
    rows = problem.batch_size or count
    chosen = np.sort(np.random.default_rng(seed).choice(count, rows, replace=False)) if count else np.zeros(0, int)
    return {name: np.asarray(array[chosen]) for name, array in problem.dataset.train.items()}


def held_of(problem: Problem, part: str) -> dict[str, np.ndarray[Any, Any]]:
    """Returns examples of a split; of validation and test the same number, so that one program serves both."""
    longest = max(problem.dataset.sizes[1:])
    return _few(getattr(problem.dataset, part), min(HELD, longest)) if longest else {}


def _few(arrays: Arrays, rows: int) -> dict[str, np.ndarray[Any, Any]]:
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
