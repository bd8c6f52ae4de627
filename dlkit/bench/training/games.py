"""One step of a game: players update their own parameters, one after another or all at once.

A player that moves often is moved in a loop of its own, each time on another batch. Where players move at once, an
optimizer that looks ahead (extragradient) must see the others ahead as well: its gradient there is that of the game's
vector field, not the player's alone.
"""

import zlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from dlkit.bench.errors import UserError
from dlkit.bench.optimizers.base import Optimizer, require_matching
from dlkit.bench.plan.trials import Evaluations
from dlkit.bench.problems.base import Batch, Player, Problem
from dlkit.bench.problems.players import with_step
from dlkit.typing import Array, Key, Params, State

__all__ = ["Moved", "Position", "Rules", "evaluated", "others", "play"]


class Position(NamedTuple):
    """The parameters and states of a game between two moves.

    Attributes:
        params: player -> parameters.
        state: of all.
        opt_state: player -> its optimizer's state.
    """

    params: Params
    state: State
    opt_state: Mapping[str, Any]


class Rules(NamedTuple):
    """What holds for a step of a game.

    Attributes:
        problem: whose players play.
        optimizer: of all, or made of one for each.
        transformations: player -> what its optimizer built.
        batch_of: indices of examples -> the batch.
        key: of the step.
        step: int32: steps done.
    """

    problem: Problem
    optimizer: Optimizer
    transformations: Mapping[str, optax.GradientTransformationExtraArgs]
    batch_of: Callable[[Array], Batch]
    key: Key
    step: Array


class Moved(NamedTuple):
    """What a step returns.

    Attributes:
        position: after it.
        losses: [players]: the problem's loss, then those of the `others`; of several moves their mean.
        evaluations: [3] of the losses on batches, as in `Evaluations`.
    """

    position: Position
    losses: Array
    evaluations: Array


class _View(NamedTuple):
    """What a player's move is based on: its loss as a function of all players' parameters."""

    player: Player
    state: State
    batch: Batch
    key: Key
    step: Array

    def value(self, params: Params) -> tuple[Array, State]:
        return with_step(self.player.loss)(params, self.state, self.batch, self.key, self.step)

    def graded(self, params: Params) -> tuple[tuple[Array, State], Params]:
        """Loss and state, and the gradient with respect to the player's own parameters."""

        def own_value(own: Params) -> tuple[Array, State]:
            return self.value({**params, self.player.name: own})

        return jax.value_and_grad(own_value, has_aux=True)(params[self.player.name])


def others(problem: Problem) -> list[Player]:
    """Returns the players whose loss is not the problem's."""
    return [player for player in problem.players if player.loss is not problem.loss]


def evaluated(problem: Problem, optimizer: Optimizer, opt_state: Mapping[str, Any], params: Params) -> Params:
    """Returns the parameters to evaluate: those that the players' optimizers say."""

    def own(name: str) -> Params:
        evaluate = optimizer.of(name).eval_params
        return params[name] if evaluate is None else evaluate(opt_state[name], params[name])

    return {player.name: own(player.name) for player in problem.players}


def play(rules: Rules, position: Position, indices: Array) -> Moved:
    """Makes every player's moves of one step.

    Args:
        rules: what holds for the step.
        position: the parameters and states before the step.
        indices: [batches a step, batch size] of examples.

    Returns:
        The parameters and states after it, its losses, and what it evaluated.
    """
    problem = rules.problem
    moves = _at_once if problem.updates == "simultaneous" else _in_turn
    position, losses, counts = moves(rules, position, indices)
    shown = [player for player in problem.players if player.loss is problem.loss][:1] + others(problem)
    return Moved(position, jnp.stack([losses[player.name] for player in shown]), counts)


def _in_turn(rules: Rules, position: Position, indices: Array) -> tuple[Position, dict[str, Array], Array]:
    losses: dict[str, Array] = {}
    counts = jnp.zeros(3, jnp.int32)
    first = 0
    for player in rules.problem.players:

        def move(position: Position, turn: tuple[Array, Array], player: Player = player) -> Any:
            number, index = turn
            key = _key(rules, player, number)
            view = _View(player, position.state, rules.batch_of(index), key, rules.step)
            (loss, state), gradient = view.graded(position.params)
            updated, cost = _update(rules, view, position, position.params, loss, gradient)
            return updated._replace(state=state), (loss, cost)

        rows = indices[first : first + player.moves]
        first += player.moves
        if player.moves == 1:
            position, (losses[player.name], cost) = move(position, (jnp.int32(0), rows[0]))
        else:
            turns = (jnp.arange(player.moves), rows)
            position, (each, costs) = jax.lax.scan(move, position, turns)
            losses[player.name], cost = each.mean(), costs.sum(axis=0)
        counts += cost
    return position, losses, counts


def _at_once(rules: Rules, position: Position, indices: Array) -> tuple[Position, dict[str, Array], Array]:
    batch = rules.batch_of(indices[0])
    state, losses, gradients, views = position.state, {}, {}, {}
    for player in rules.problem.players:
        views[player.name] = _View(player, state, batch, _key(rules, player, jnp.int32(0)), rules.step)
        (losses[player.name], state), gradients[player.name] = views[player.name].graded(position.params)
    ahead = _ahead(rules, position, gradients)
    params, opt_state, counts = {}, {}, jnp.zeros(3, jnp.int32)
    for name, view in views.items():
        seen = ahead if name in ahead else {}
        seen_params = {**position.params, **seen}
        updated, cost = _update(rules, view, position, seen_params, losses[name], gradients[name])
        params[name], opt_state[name] = updated.params[name], updated.opt_state[name]
        counts += cost
    return Position(params, state, opt_state), losses, counts


def _ahead(rules: Rules, position: Position, gradients: Mapping[str, Params]) -> dict[str, Params]:
    """The points at which players' optimizers ask for another gradient: found by asking, while tracing."""
    points: dict[str, Params] = {}
    for name in gradients:
        optimizer = rules.optimizer.of(name)
        if not optimizer.extrapolates:
            continue

        def ask(point: Params, *_: Any, name: str = name) -> Params:
            if name in points:
                raise UserError(f"optimizer '{rules.optimizer.of(name).name}': it extrapolates more than once a step")
            points[name] = point
            return gradients[name]  # whatever comes of it is not used

        own, gradient = position.params[name], gradients[name]
        rules.transformations[name].update(gradient, position.opt_state[name], own, grad=gradient, grad_fn=ask)
    return points


def _update(
    rules: Rules, view: _View, position: Position, seen: Params, loss: Array, gradient: Params
) -> tuple[Position, Array]:
    """The position after a player's update, and what it evaluated; further gradients see the others at `seen`."""
    name = view.player.name
    optimizer = rules.optimizer.of(name)
    own = position.params[name]

    def value_of(own: Params, obj_fn: Any = None, grad_fn: Any = None) -> Array:
        # optax's line searches hand over what else the update was given, by name
        return view.value({**seen, name: own})[0]

    def gradient_of(own: Params, *_: Any) -> Params:  # optax's SAM also gives the number of its own step
        return jax.grad(value_of)(own)

    more = {"value": loss, "grad": gradient, "value_fn": value_of, "obj_fn": value_of, "grad_fn": gradient_of}
    updates, opt_state = rules.transformations[name].update(gradient, position.opt_state[name], own, **more)
    require_matching(optimizer, updates, own)
    moved = {**position.params, name: optax.apply_updates(own, updates)}
    cost = optimizer.evaluations
    counts = cost if isinstance(cost, Evaluations) else cost(opt_state)
    counted = jnp.stack([jnp.asarray(number, jnp.int32) for number in counts])
    return Position(moved, position.state, {**position.opt_state, name: opt_state}), counted


def _key(rules: Rules, player: Player, number: Array) -> Key:
    """The key of a player's move: by its name and the move's number."""
    return jax.random.fold_in(jax.random.fold_in(rules.key, zlib.crc32(player.name.encode())), number)
