"""A step of training as a pure function, and the loop that calls it once a step: what careful users of JAX write."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from benchmarks.peers.tasks import BATCH, VALUES, Task
from benchmarks.peers.timing import Loop


@dataclass(frozen=True)
class Network:
    """A network and its losses.

    Attributes:
        init: ``init(key) -> (params, state)``; of a game, params are player -> its parameters.
        losses: player -> ``loss(params, state, batch, key) -> (loss, state)``, in the order of their moves; without a
            game, one whose name is empty.
        evaluate: ``evaluate(params, state, batch) -> metric``.
    """

    init: Callable[[Any], tuple[Any, Any]]
    losses: Mapping[str, Callable[..., tuple[Any, Any]]]
    evaluate: Callable[[Any, Any, Any], Any]


class Carry(NamedTuple):
    """What a step changes; `loss` is the sum since the last evaluation."""

    params: Any
    state: Any
    opt_state: Any
    step: Any
    loss: Any


def begin(network: Network, key: Any) -> Carry:
    """Returns the carry of the first step."""
    params, state = network.init(key)
    parts = [params] if "" in network.losses else [params[player] for player in network.losses]
    opt_state = [adam().init(part) for part in parts]
    return Carry(params, state, opt_state, jnp.int32(0), jnp.float32(0))


def adam() -> optax.GradientTransformation:
    """The optimizer of all loops."""
    return optax.adam(*VALUES.values())


def take_step(network: Network, carry: Carry, train: Mapping[str, Any], index: Any, key: Any) -> Carry:
    """Every player moves once, on a batch of its own: [players * batch] indices."""
    params, state, opt_states, loss = carry.params, carry.state, list(carry.opt_state), carry.loss
    key = jax.random.fold_in(key, carry.step)
    for place, (player, loss_of) in enumerate(network.losses.items()):
        rows = index[place * BATCH : (place + 1) * BATCH]
        batch = {name: array[rows] for name, array in train.items()}
        whole = params

        def value(
            own: Any, player: str = player, loss_of: Any = loss_of, whole: Any = whole, batch: Any = batch
        ) -> Any:
            return loss_of({**whole, player: own} if player else own, state, batch, key)  # noqa: B023

        own = params[player] if player else params
        (amount, state), gradient = jax.value_and_grad(value, has_aux=True)(own)
        updates, opt_states[place] = adam().update(gradient, opt_states[place], own)
        own = optax.apply_updates(own, updates)
        params = {**params, player: own} if player else own
        loss = loss + amount
    return Carry(params, state, opt_states, carry.step + 1, loss)


def step_loop(task: Task, network: Network) -> Loop:
    """One jitted call a step: donated carry, data and order on the device, batches taken inside, no value fetched."""
    train, test, order = jax.device_put((dict(task.train), dict(task.test), task.order().reshape(task.steps, -1)))
    key = jax.random.key(1)
    first = jax.jit(lambda key: begin(network, key))
    evaluate = jax.jit(network.evaluate)

    def step(carry: Carry, train: Any, order: Any, key: Any) -> Carry:
        return take_step(network, carry, train, order[carry.step], key)

    jitted = jax.jit(step, donate_argnums=0)

    def run() -> float:
        carry = first(jax.random.key(0))
        reached = 0.0
        for _ in range(task.evaluations):
            for _ in range(task.interval):
                carry = jitted(carry, train, order, key)
            reached, _ = jax.device_get((evaluate(carry.params, carry.state, test), carry.loss))
            carry = carry._replace(loss=jnp.float32(0))
        return float(reached)

    return Loop(run, count(first(key).params))


def count(tree: Any) -> int:
    """How many numbers a tree has."""
    return sum(leaf.size for leaf in jax.tree.leaves(tree))
