"""An optimizer: how to build it, what is tuned, which parameters are evaluated, and what a step costs."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import optax

from dlkit.bench.errors import UserError, nearest, says_what_it_takes
from dlkit.bench.plan.parameter_groups import Role
from dlkit.bench.plan.space import Range, Space
from dlkit.bench.plan.trials import Evaluations
from dlkit.typing import Params

__all__ = ["Build", "Optimizer", "Rule", "Rules", "Transformation", "require_matching"]

Transformation: TypeAlias = optax.GradientTransformation | optax.GradientTransformationExtraArgs
Build = Callable[..., Transformation]
Rules = Callable[[Role, tuple[int, ...]], "Rule"]  # (role, shape) -> what trains such a leaf


class Rule(NamedTuple):
    """What trains a leaf of the parameters.

    Attributes:
        name: of the method, or of the part of it.
        is_decayed: whether weight decay moves the leaf.
    """

    name: str
    is_decayed: bool


ONE_GRADIENT = Evaluations()


@says_what_it_takes("bench.Optimizer")
@dataclass(frozen=True, eq=False)
class Optimizer:
    """An optimizer as a contender: how to build it, and what may be tuned.

    Attributes:
        name: how specs, tables and messages call it.
        build: called with every name of `space` and `static` as keyword; returns an optax transformation whose updates
            are added to the parameters. Values of `space` arrive as traced scalars, so that one executable serves all
            of them; what decides structure or shapes belongs into `static`. Beside gradients, state and parameters,
            every update is given ``value`` (the loss), ``grad``, ``value_fn`` and ``obj_fn`` (parameters -> loss) and
            ``grad_fn`` (parameters -> gradient), all on the step's batch; functions that are not called cost nothing.
        space: name -> range to tune over, or a fixed number.
        static: name -> the choices to tune over; each combination is compiled on its own.
        eval_params: ``eval_params(opt_state, params)`` -> the parameters to evaluate, where they are not the ones that
            are trained (averaging, schedule-free).
        evaluations: what one step evaluates, the gradient it is given included; where that varies, a function of the
            optimizer's state after the step.
        random: whether `build` is also given ``key``: a PRNG key of the trial, for what it draws itself.
        roles: whether `build` is also given ``roles``: a tree like the parameters with a `Role` for each leaf, such as
            hidden matrix, embedding or bias, and which axes of it are inputs and outputs.
        rules: ``rules(role, shape)``: what trains a leaf, where not all of them are trained alike. None where they are:
            by the rule of the optimizer's name, and with its weight decay if it has one.
        extrapolates: whether an update calls ``grad_fn`` once, at a point ahead. Of players that move simultaneously,
            the others are then taken at their points ahead as well.
        players: player -> its own optimizer, for one that is made of several; hyperparameters are then called
            ``"player.name"``. Empty where all parameters are moved alike.
        reference: where it comes from.
    """

    name: str
    build: Build
    space: Space
    static: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    eval_params: Callable[[Any, Params], Params] | None = None
    evaluations: Evaluations | Callable[[Any], Evaluations] = ONE_GRADIENT
    random: bool = False
    roles: bool = False
    rules: Rules | None = None
    extrapolates: bool = False
    players: "Mapping[str, Optimizer]" = field(default_factory=dict)
    reference: str = ""

    def __post_init__(self) -> None:
        where = f"optimizer '{self.name}'"
        given: Any = self  # of any type, whatever is declared
        if not isinstance(given.name, str) or not given.name:
            raise UserError("an optimizer needs a name: bench.Optimizer('mine', build, space)")
        if not callable(given.build):
            built = "; it is built already: give the function" if hasattr(given.build, "update") else ""
            raise UserError(f"{where}: build must be a function that returns an optax transformation{built}")
        if not isinstance(given.space, Mapping):
            example = "{'learning_rate': bench.log_uniform(1e-4, 1.0)}"
            raise UserError(f"{where}: space must be a dictionary such as {example}, not {self.space!r}")
        for name, value in given.space.items():
            if not isinstance(value, Range | int | float) or isinstance(value, bool):
                bounds = "1e-4, 1.0"
                if isinstance(value, tuple | list) and len(value) == 2:
                    bounds = ", ".join(map(repr, value))
                raise UserError(
                    f"{where}: space['{name}'] must be a range such as bench.log_uniform({bounds}), or a number, "
                    f"not {value!r}"
                )
        for name, options in self.static.items():
            if isinstance(options, str) or not options:
                raise UserError(f"{where}: static['{name}'] must list at least one choice, got {options!r}")
            if wrong := [option for option in options if not isinstance(option, str | int | float | None)]:
                raise UserError(f"{where}: static['{name}'] may hold numbers, texts and None, not {wrong[0]!r}")
        if both := set(self.space) & set(self.static):
            raise UserError(f"{where}: {sorted(both)} cannot be both traced (space) and static; leave one of them out")
        if mistakes := [] if self.players else self._not_taken():
            raise UserError("\n".join(f"{where}: {mistake}" for mistake in mistakes))
        if not isinstance(self.evaluations, Evaluations) and not callable(self.evaluations):
            raise UserError(
                f"{where}: evaluations must be bench.Evaluations(...), or a function of the optimizer's state that "
                f"returns one, got {self.evaluations!r}"
            )

    def _not_taken(self) -> list[str]:
        """What `build` is given and does not take, and what it needs and is not given."""
        if hasattr(self.build, "__signature__") or not (self.space or self.static):
            return []  # it is around another optimizer, or has no space yet
        try:
            parameters = inspect.signature(self.build, follow_wrapped=False).parameters
        except (TypeError, ValueError):  # built in: it may take anything
            return []
        given = [*self.space, *self.static]
        more = ["key"] * self.random + ["roles"] * self.roles
        free = any(each.kind is each.VAR_KEYWORD for each in parameters.values())
        unknown = [name for name in given if name not in parameters and not free]
        mistakes = [f"build takes no '{name}'; {nearest(name, parameters)}" for name in unknown]
        needed = [
            name
            for name, each in parameters.items()
            if each.default is each.empty and each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)
        ]
        lacking = [name for name in needed if name not in (*given, *more)]
        return mistakes or [f"build needs '{name}'; give it a range or a number in the space" for name in lacking]

    @property
    def learning_rates(self) -> list[str]:
        """The hyperparameters that a schedule needs: ``learning_rate``, or that of each player that has one.

        Beside it, a schedule shapes what else ends in ``learning_rate``: the rate of a part of the parameters.
        """
        return [name for name in self.space if name.rpartition(".")[2] == "learning_rate"]

    def rule(self, role: Role, shape: tuple[int, ...]) -> Rule:
        """Returns what trains a leaf of this role and shape."""
        decay = self.space.get("weight_decay", 0.0)
        found = Rule(self.name.partition("+")[0], decay != 0.0) if self.rules is None else self.rules(role, shape)
        return found if decay != 0.0 or "weight_decay" not in self.space else found._replace(is_decayed=False)

    def of(self, player: str) -> "Optimizer":
        """Returns what moves a player: its own optimizer, or this one."""
        return self.players.get(player, self)

    def settings_of(self, player: str, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Returns those of this optimizer's settings that belong to a player, by the names its optimizer gives them."""
        if not self.players:
            return dict(settings)
        start = f"{player}."
        return {name.removeprefix(start): value for name, value in settings.items() if name.startswith(start)}


def require_matching(optimizer: Optimizer, updates: Params, params: Params) -> None:
    """Compares shapes while tracing: broadcasting an update silently would train something else.

    Args:
        optimizer: what made the updates.
        updates: one for each parameter.
        params: the parameters.

    Raises:
        UserError: if a parameter has no update, or one of another shape.
    """
    expected = {
        jax.tree_util.keystr(path): jnp.shape(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(params)
    }
    got = {jax.tree_util.keystr(path): jnp.shape(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(updates)}
    for path in expected | got:
        if expected.get(path) != got.get(path):
            raise UserError(
                f"optimizer '{optimizer.name}': its update for parameter {path or 'the parameters'} has shape "
                f"{got.get(path, 'none')}, the parameter has {expected.get(path, 'none')}; an update must match every "
                "parameter in structure and shape"
            )
