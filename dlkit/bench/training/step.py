"""One training step, and the carry that it hands to the next."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from dlkit.bench.optimizers.base import require_matching
from dlkit.bench.plan.trials import Evaluations
from dlkit.bench.problems.base import Batch, Problem
from dlkit.bench.problems.players import with_step
from dlkit.bench.training import games
from dlkit.bench.training.recipe import Recipe
from dlkit.typing import Array, Key, Params, State

__all__ = ["Carry", "play_round", "take_step"]


class Carry(NamedTuple):
    """What one step hands to the next: parameters, states and counters."""

    params: Params
    state: State
    opt_state: Any
    step: Array  # int32: steps done
    evaluations: Array  # int32[3]: of the loss on batches so far, as in `Evaluations`
    previous: Params | None  # the parameters before the last step; None without probes


def take_step(
    problem: Problem,
    recipe: Recipe,
    transformation: optax.GradientTransformationExtraArgs,
    carry: Carry,
    batch: Batch,
    key: Key,
) -> tuple[Carry, Array]:
    """Takes one step: loss and gradient on a batch, and the update. Returns the loss."""
    stepped = with_step(problem.loss)

    def loss_of(params: Params) -> tuple[Array, State]:
        return stepped(params, carry.state, batch, key, carry.step)

    def value_of(params: Params, obj_fn: Any = None, grad_fn: Any = None) -> Array:
        # optax's line searches hand over what else the update was given, by name
        return loss_of(params)[0]

    def gradient_of(params: Params, *_: Any) -> Params:  # optax's SAM also gives the number of its own step
        return jax.grad(value_of)(params)

    optimizer = recipe.optimizer
    (loss, state), gradient = jax.value_and_grad(loss_of, has_aux=True)(carry.params)
    more = {"value": loss, "grad": gradient, "value_fn": value_of, "obj_fn": value_of, "grad_fn": gradient_of}
    updates, opt_state = transformation.update(gradient, carry.opt_state, carry.params, **more)
    require_matching(optimizer, updates, carry.params)
    params = optax.apply_updates(carry.params, updates)
    counts = carry.evaluations
    if not isinstance(optimizer.evaluations, Evaluations):
        counts = counts + jnp.stack([jnp.asarray(n, jnp.int32) for n in optimizer.evaluations(opt_state)])
    done = carry._replace(params=params, state=state, opt_state=opt_state, step=carry.step + 1, evaluations=counts)
    return done if carry.previous is None else done._replace(previous=carry.params), loss


def play_round(
    problem: Problem,
    recipe: Recipe,
    transformations: Mapping[str, optax.GradientTransformationExtraArgs],
    carry: Carry,
    index: Array,
    batch_of: Callable[[Array], Batch],
    key: Key,
) -> tuple[Carry, Array]:
    """Plays one step of a game: every player's moves. Returns the losses as `games.Moved` has them."""
    rules = games.Rules(problem, recipe.optimizer, transformations, batch_of, key, carry.step)
    indices = index.reshape(problem.batches_per_step, problem.batch_size or 0)
    moved = games.play(rules, games.Position(carry.params, carry.state, carry.opt_state), indices)
    params, state, opt_state = moved.position
    counts = carry.evaluations + moved.evaluations
    done = carry._replace(params=params, state=state, opt_state=opt_state, step=carry.step + 1, evaluations=counts)
    return done if carry.previous is None else done._replace(previous=carry.params), moved.losses
