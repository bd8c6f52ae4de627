"""A whole trial as one compiled program, written by hand for one problem: nothing that trains one can be faster."""

from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.peers.functional import Carry, Network, begin, count, take_step
from benchmarks.peers.tasks import Task
from benchmarks.peers.timing import Loop
from dlkit.bench.problems import Problem


def of_problem(problem: Problem, metric: str) -> Network:
    """The network and losses that dlkit has."""
    losses = {player.name: player.loss for player in problem.players} or {"": problem.loss}
    return Network(problem.init, losses, lambda *arguments: problem.evaluate(*arguments)[metric])


def loop(task: Task) -> Loop:
    """`lax.scan` over evaluations, and in it over steps; the order is given."""
    network = of_problem(task.problem, task.metric)
    train, test, order = jax.device_put((dict(task.train), dict(task.test), task.order()))
    first = jax.jit(lambda key: begin(network, key))

    @jax.jit
    def whole(carry: Carry, train: Any, test: Any, order: Any, key: Any) -> Any:
        def interval(carry: Carry, indices: Any) -> Any:
            carry, _ = jax.lax.scan(lambda c, index: (take_step(network, c, train, index, key), None), carry, indices)
            reached = network.evaluate(carry.params, carry.state, test), carry.loss
            return carry._replace(loss=jnp.float32(0)), reached

        return jax.lax.scan(interval, carry, order)[1]

    def run() -> float:
        return float(jax.device_get(whole(first(jax.random.key(0)), train, test, order, jax.random.key(1)))[0][-1])

    return Loop(run, count(first(jax.random.key(0)).params))
