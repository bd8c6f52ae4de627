"""An optimizer for each player of a game, as one contender."""

import zlib
from collections.abc import Mapping
from typing import Any

import jax
import optax

from dlkit.bench.errors import UserError
from dlkit.bench.optimizers.base import Optimizer, Transformation
from dlkit.bench.optimizers.wrapping import evaluations_of
from dlkit.bench.plan.trials import Evaluations
from dlkit.typing import Params

__all__ = ["for_players"]


def for_players(optimizers: Mapping[str, Optimizer]) -> Optimizer:
    """Returns the optimizer that moves every player of a game by its own.

    In a spec, and wherever an optimizer is named, it is ``"discriminator=adam,generator=sgd+clip"``. Hyperparameters
    are named after the player: ``"discriminator.learning_rate"``. A schedule shapes the learning rate of each.

    Args:
        optimizers: player -> optimizer.

    Returns:
        The optimizer; parameters and state are dictionaries by player.

    Raises:
        UserError: for no player, or an optimizer that is itself made of players'.

    Example:
        >>> from dlkit.bench import optimizers
        >>> both = for_players({"discriminator": optimizers.get("adam"), "generator": optimizers.get("sgd")})
        >>> both.name, list(both.space)[-1]
        ('discriminator=adam,generator=sgd', 'generator.learning_rate')
    """
    name = ",".join(f"{player}={optimizer.name}" for player, optimizer in optimizers.items())
    if not optimizers:
        raise UserError("an optimizer for players needs at least one: {'generator': ...}")
    if nested := [player for player, optimizer in optimizers.items() if optimizer.players]:
        raise UserError(f"optimizer '{name}': '{nested[0]}' is one player and takes one optimizer")

    def build(**settings: Any) -> Transformation:
        parts = {}
        for player, each in optimizers.items():
            own = whole.settings_of(player, settings)
            if each.random:
                own["key"] = jax.random.fold_in(settings["key"], zlib.crc32(player.encode()))
            if each.roles:
                own["roles"] = settings["roles"][player]
            parts[player] = optax.with_extra_args_support(each.build(**own))
        return _side_by_side(parts)

    def evaluations(state: Mapping[str, Any]) -> Evaluations:
        costs = [evaluations_of(each.evaluations, state[player]) for player, each in optimizers.items()]
        return Evaluations(*map(sum, zip(*costs, strict=True)))

    def evaluated(state: Mapping[str, Any], params: Params) -> Params:
        return {
            player: params[player] if each.eval_params is None else each.eval_params(state[player], params[player])
            for player, each in optimizers.items()
        }

    whole = Optimizer(
        name,
        build,
        {f"{player}.{key}": span for player, each in optimizers.items() for key, span in each.space.items()},
        {f"{player}.{key}": options for player, each in optimizers.items() for key, options in each.static.items()},
        eval_params=evaluated if any(each.eval_params for each in optimizers.values()) else None,
        evaluations=evaluations,
        random=any(each.random for each in optimizers.values()),
        roles=any(each.roles for each in optimizers.values()),
        players=optimizers,
    )
    return whole


def _side_by_side(parts: Mapping[str, optax.GradientTransformationExtraArgs]) -> Transformation:
    """Each subtree of a dictionary by its own transformation, on the gradient alone."""

    def init(params: Params) -> Any:
        return {player: part.init(params[player]) for player, part in parts.items()}

    def update(updates: Params, state: Any, params: Params | None = None) -> tuple[Params, Any]:
        moved = {
            player: part.update(updates[player], state[player], None if params is None else params[player])
            for player, part in parts.items()
        }
        return {player: move for player, (move, _) in moved.items()}, {
            player: new for player, (_, new) in moved.items()
        }

    return optax.GradientTransformation(init, update)
