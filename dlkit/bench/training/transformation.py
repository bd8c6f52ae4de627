"""Builds a recipe's optimizer for a step: with the hyperparameters and the scheduled rate, for every player."""

import inspect
import math
import zlib
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from dlkit.bench.errors import UserError, nearest
from dlkit.bench.optimizers.base import Optimizer
from dlkit.bench.problems.base import Problem
from dlkit.bench.problems.roles import roles_of
from dlkit.bench.training.recipe import Recipe
from dlkit.typing import Array, Params

__all__ = ["first_state", "needed_roles", "rate", "require_fitting", "transformations"]


def require_fitting(problem: Problem, optimizer: Optimizer) -> None:
    """Refuses an optimizer made for other players than a problem has.

    Raises:
        UserError: if the problem has no players, not those, or more.
    """
    if not optimizer.players:
        return
    where = f"optimizer '{optimizer.name}'"
    names = [player.name for player in problem.players]
    if not names:
        raise UserError(f"{where}: problem '{problem.name}' is no game of several players; name one optimizer")
    for name in optimizer.players:
        if name not in names:
            raise UserError(f"{where}: problem '{problem.name}' has no player '{name}'; {nearest(name, names)}")
    if missing := [name for name in names if name not in optimizer.players]:
        raise UserError(f"{where}: no optimizer for player '{missing[0]}' of problem '{problem.name}'; name one")


def transformations(
    problem: Problem,
    recipe: Recipe,
    hyperparameters: Mapping[str, Array],
    step: Array,
    key_data: Array,
    roles: Any | None = None,
) -> Any:
    """Returns the transformation that holds at a step, or player -> its own.

    Args:
        problem: what is trained.
        recipe: by what.
        hyperparameters: of its optimizer and its schedule.
        step: which step.
        key_data: of the key for what an optimizer draws itself.
        roles: of the problem's parameters, as `needed_roles` returns them.

    Raises:
        UserError: if the optimizer's function raises, or returns no transformation.
    """
    if not problem.players:
        return _build(recipe, hyperparameters, step, key_data, roles)
    return {each.name: _build(recipe, hyperparameters, step, key_data, roles, each.name) for each in problem.players}


def first_state(
    problem: Problem,
    recipe: Recipe,
    hyperparameters: Mapping[str, Array],
    params: Params,
    key_data: Array,
    roles: Any | None = None,
) -> Any:
    """Returns the optimizer's state before any step, or player -> its own; arguments as of `transformations`."""
    built = transformations(problem, recipe, hyperparameters, jnp.int32(0), key_data, roles)
    if not problem.players:
        return built.init(params)
    return {name: each.init(params[name]) for name, each in built.items()}


def needed_roles(problem: Problem, optimizer: Optimizer) -> Any | None:
    """Returns the roles of a problem's parameters; None for an optimizer that asks for none.

    Raises:
        UserError: if the loss cannot be traced.
    """
    return roles_of(problem) if optimizer.roles else None


def _build(
    recipe: Recipe,
    hyperparameters: Mapping[str, Array],
    step: Array,
    key_data: Array,
    roles: Any | None,
    player: str = "",
) -> optax.GradientTransformationExtraArgs:
    """Calls the user's function with what holds at a step, and checks that a transformation came back."""
    optimizer = recipe.optimizer.of(player)
    static = recipe.optimizer.settings_of(player, recipe.static)
    given = recipe.optimizer.settings_of(player, hyperparameters)
    values: dict[str, Any] = {name: given[name] for name in optimizer.space}
    if recipe.schedule.varies and "learning_rate" in values:
        for name in values:
            if name.endswith("learning_rate"):  # that of a part, such as Muon's Adam, too
                values[name] = _scheduled(recipe, values[name], hyperparameters, step)
    if optimizer.random:
        key = jax.random.wrap_key_data(key_data)
        values["key"] = jax.random.fold_in(key, zlib.crc32(player.encode())) if player else key
    if optimizer.roles:
        values["roles"] = roles[player] if player and roles is not None else roles
    try:
        transformation = optimizer.build(**static, **values)
    except Exception as error:
        arguments = ", ".join([*values, *static]) or "none"
        text, remedy = str(error), ""
        if isinstance(error, jax.errors.ConcretizationTypeError):
            text = text.splitlines()[0]
            remedy = (
                "; values of a space arrive traced, so no if, float() or bool() can look at them: use jax.numpy.where, "
            )
            remedy += "or name in `static` what decides structure"
        raise UserError(
            f"optimizer '{optimizer.name}': build raised {type(error).__name__}: {text} (arguments given: {arguments})"
            f"{remedy}"
        ) from error
    if not (hasattr(transformation, "init") and hasattr(transformation, "update")):
        raise UserError(
            f"optimizer '{optimizer.name}': build must return an optax transformation (init, update), "
            f"got {type(transformation).__name__}"
        )
    return _asking(optax.with_extra_args_support(transformation))


def _asking(
    transformation: optax.GradientTransformationExtraArgs,
) -> optax.GradientTransformationExtraArgs:
    """A transformation whose update gets, of what every update is given by name, only what it has parameters for."""
    try:
        parameters = inspect.signature(transformation.update).parameters
    except (TypeError, ValueError):
        return transformation
    if any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters.values()):
        return transformation

    def update(updates: Any, state: Any, params: Any = None, **more: Any) -> Any:
        asked = {name: value for name, value in more.items() if name in parameters}
        return transformation.update(updates, state, params, **asked)

    return optax.GradientTransformationExtraArgs(transformation.init, update)


def rate(recipe: Recipe, hyperparameters: Mapping[str, Array], step: Array, player: str = "") -> Array:
    """Returns the scheduled learning rate at a step, of a player if there are any; NaN for what has none."""
    given = recipe.optimizer.settings_of(player, hyperparameters)
    if "learning_rate" not in recipe.optimizer.of(player).space:
        return jnp.asarray(math.nan)
    peak: Array = given["learning_rate"]
    return _scheduled(recipe, peak, hyperparameters, step) if recipe.schedule.varies else peak


def _scheduled(recipe: Recipe, peak: Array, hyperparameters: Mapping[str, Array], step: Array) -> Array:
    now: Array = peak * recipe.schedule.multiplier(step, recipe.steps, hyperparameters)
    return now
