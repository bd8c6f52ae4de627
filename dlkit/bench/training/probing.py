"""What the probes of a trial see, and what they measure."""

import inspect
import zlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from dlkit.bench.plan.space import is_number
from dlkit.bench.probes import OptimizerView, View, curves_of
from dlkit.bench.problems.base import Batch, Player, Problem
from dlkit.bench.problems.players import with_step
from dlkit.bench.training import transformation
from dlkit.bench.training.recipe import Recipe
from dlkit.bench.training.step import Carry
from dlkit.typing import Array, Key, Params

__all__ = ["Sight", "probed"]


class Sight(NamedTuple):
    """What is the same for all probes at a point of the curve.

    Attributes:
        problem: with the trial's choices.
        recipe: what trains it.
        hyperparameters: a number for each of `Recipe.traced`.
        key: that the steps' keys are made from.
        train: name -> [examples, ...].
        batch_of: indices of examples -> the batch.
    """

    problem: Problem
    recipe: Recipe
    hyperparameters: Mapping[str, Array]
    key: Key
    train: Batch
    batch_of: Callable[[Array], Batch]


def probed(sight: Sight, carry: Carry, index: Array, *, has_moved: bool) -> Array:
    """Returns what the probes measure, in the order of `probes.curve_names`.

    Args:
        sight: what they look at.
        carry: of the last step, or of none.
        index: [rows] the examples of the last step, before any step those of the first.
        has_moved: whether there was a step; if not, what needs an update is NaN.

    Returns:
        [curves] float32.
    """
    views = [_view(sight, carry, index, player) for player in sight.problem.players or (None,)]
    undefined = jnp.float32(jnp.nan)
    values: list[Array] = []
    for probe in sight.recipe.probes:
        for view in views:
            blind = probe.needs_update and not has_moved
            values += [undefined] * len(probe.curves) if blind else curves_of(probe, view).values()
    return jnp.stack(values)


def _view(sight: Sight, carry: Carry, index: Array, player: Player | None) -> View:
    """What is seen of a problem, or of a player of a game: everything of its own, the others as they are."""
    problem = sight.problem
    step = jnp.maximum(carry.step - 1, 0)  # the last one, counted from 0
    key = jax.random.fold_in(jax.random.fold_in(sight.key, zlib.crc32(b"probes")), carry.step)
    name, loss_of = "", with_step(problem.loss)
    if player is not None:
        name, loss_of = player.name, with_step(player.loss)
        key = jax.random.fold_in(key, zlib.crc32(name.encode()))
        index = _last_batch(problem, player, index)

    def own(tree: Any) -> Any:
        return tree[name] if name else tree

    def whole(params: Params) -> Params:
        return {**carry.params, name: params} if name else params

    def loss(params: Params, batch: Batch) -> Array:
        return loss_of(whole(params), carry.state, batch, key, step)[0]

    def apply(params: Params, batch: Batch) -> Any:
        return problem.evaluate(params, carry.state, batch)

    return View(
        params=own(carry.params),
        state=carry.state,
        update=jax.tree.map(jnp.subtract, own(carry.params), own(carry.previous)),
        batch=sight.batch_of(index),
        train=sight.train,
        loss=loss,
        apply=None if name else apply,
        learning_rate=transformation.rate(sight.recipe, sight.hyperparameters, step, name),
        key=key,
        optimizer=OptimizerView(sight.recipe.optimizer.of(name), own(carry.opt_state), _settings(sight, name)),
    )


def _last_batch(problem: Problem, player: Player, index: Array) -> Array:
    """The examples of a player's last move: [batch size]."""
    rows = index.reshape(problem.batches_per_step, problem.batch_size or 0)
    if problem.updates == "simultaneous":
        return rows[0]
    moves = [each.moves for each in problem.players]
    return rows[sum(moves[: problem.players.index(player) + 1]) - 1]


def _settings(sight: Sight, player: str) -> dict[str, Any]:
    """The numbers that an optimizer's function is called with, and its defaults."""
    recipe = sight.recipe
    optimizer = recipe.optimizer.of(player)
    try:
        parameters = inspect.signature(optimizer.build).parameters
    except (TypeError, ValueError):  # what is written in C may have no signature
        parameters = {}  # type: ignore[assignment]
    defaults = {name: each.default for name, each in parameters.items() if is_number(each.default)}
    given = recipe.optimizer.settings_of(player, sight.hyperparameters)
    static = recipe.optimizer.settings_of(player, recipe.static)
    return {**defaults, **static, **{name: given[name] for name in optimizer.space}}
