"""Which rule of each contender trains which parameters: declared by registered optimizers, found out of one's own."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from dlkit.bench.errors import UserError
from dlkit.bench.machine.quick_compilation import quickly_compiled
from dlkit.bench.optimizers import OPTIMIZERS, Optimizer
from dlkit.bench.plan.parameter_groups import ParameterGroup
from dlkit.bench.plan.space import Range
from dlkit.bench.problems import Problem
from dlkit.bench.problems.roles import roles_of
from dlkit.bench.spec.bound_plan import BoundPlan
from dlkit.bench.training import transformation
from dlkit.bench.training.recipe import Recipe
from dlkit.typing import Params

__all__ = ["groups_of", "probed_groups", "with_groups"]

TRIED = 20  # steps on fixed gradients, to see what moves a leaf
LARGEST = 5_000_000  # parameters that are tried
FROZEN = "frozen"


def with_groups(bound: BoundPlan) -> BoundPlan:
    """Returns a plan with the parameter groups of its contenders.

    A contender whose optimizer cannot be built has none on that problem: its trials fail, and say why.

    Args:
        bound: the plan.
    """
    known: dict[str, _Parameters | None] = {}
    found: dict[str, dict[str, list[ParameterGroup]]] = {}
    for problem in bound.plan.problems:
        for contender in bound.plan.contenders_on(problem):
            static = {name: options[0] for name, options in contender.static.items()}
            group = bound.group(problem, contender, static)
            key = group.problem.key
            if key not in known:
                known[key] = _parameters(group.problem.load)
            if (loaded := known[key]) is not None:
                groups = _groups(loaded, group.recipe, is_own=contender.is_own)
                found.setdefault(problem.name, {})[contender.label] = groups
    return replace(bound, groups=found)


class _Parameters(NamedTuple):
    """A problem with the shapes and the roles of its parameters."""

    problem: Problem
    shapes: Params
    roles: Any


def _parameters(load: Callable[[], Problem]) -> _Parameters | None:
    """A problem's parameters; None for one that cannot be traced, whose trials say why."""
    try:
        problem = load()
        return _Parameters(problem, _shapes(problem), roles_of(problem))
    except Exception:
        return None


def _shapes(problem: Problem) -> Params:
    params, _ = jax.eval_shape(problem.init, jax.eval_shape(lambda: jax.random.key(0)))
    return params


def groups_of(problem: Problem, roles: Any, recipe: Recipe, *, is_own: bool) -> list[ParameterGroup]:
    """Returns how a recipe trains every leaf of a problem's parameters.

    Args:
        problem: what is trained.
        roles: of its parameters, as of `roles_of`.
        recipe: what trains it.
        is_own: whether the optimizer may be the user's own: it is then tried on random gradients, unless it says itself
            what it does.
    """
    return _groups(_Parameters(problem, _shapes(problem), roles), recipe, is_own=is_own)


def _groups(parameters: _Parameters, recipe: Recipe, *, is_own: bool) -> list[ParameterGroup]:
    problem, params, roles = parameters
    groups, tried = [], None
    leaves = zip(jax.tree_util.tree_leaves_with_path(params), jax.tree.leaves(roles), strict=True)
    for place, ((path, leaf), role) in enumerate(leaves):
        optimizer = recipe.optimizer.of(path[0].key if problem.players else "")
        where = jax.tree_util.keystr(path, simple=True, separator=".")
        if is_own and optimizer.rules is None and not _is_registered(optimizer):
            tried = tried or probed_groups(problem, recipe, params, roles)
            rule, is_decayed = tried[place]
        else:
            rule, is_decayed = optimizer.rule(role, leaf.shape)
        groups.append(ParameterGroup(where, leaf.shape, role.kind, rule, is_decayed))
    return groups


def _is_registered(optimizer: Optimizer) -> bool:
    name, *wrappers = optimizer.name.split("+")
    known = OPTIMIZERS.get(name)
    return known is not None and (bool(wrappers) or known.build is optimizer.build)


def probed_groups(problem: Problem, recipe: Recipe, params: Params, roles: Any) -> list[tuple[str, bool | None]]:
    """Tries an optimizer on fixed random gradients, and on none.

    Args:
        problem: what is trained.
        recipe: by what; hyperparameters are in the middle of their ranges.
        params: the parameters' shapes.
        roles: of the parameters.

    Returns:
        For each leaf, the label that a partition of the optimizer gives it, else the optimizer's name, or ``"frozen"``
        for what no gradient moves; and whether its steps without a gradient depend on the parameters. None where it
        could not be tried.
    """
    values = {name: _middle(recipe, name) for name in recipe.traced}

    def built(player: str) -> optax.GradientTransformationExtraArgs:
        key = jax.random.key_data(jax.random.key(0))
        made = transformation.transformations(problem, recipe, values, jnp.int32(0), key, roles)
        return made[player] if player else made

    found: list[tuple[str, bool | None]] = []
    for player, own in sorted(params.items()) if problem.players else [("", params)]:
        name, leaves = recipe.optimizer.of(player).name, jax.tree.leaves(own)
        try:
            if sum(leaf.size for leaf in leaves) > LARGEST:
                raise UserError("too much to try")
            tried = _tried(partial(built, player), own)
        except Exception:  # where it raises, its trials fail, and say why
            found += [(name, None)] * len(leaves)
            continue
        found += [(FROZEN if not moves | decays else label or name, decays) for label, moves, decays in tried]
    return found


def _tried(build: Callable[[], optax.GradientTransformationExtraArgs], params: Params) -> list[tuple[str, bool, bool]]:
    """For each leaf: its label, whether a gradient moves it, and whether it moves by itself."""
    rng = np.random.default_rng(0)

    def draw(leaf: Any) -> Any:
        return np.asarray(1 + rng.random(leaf.shape)).astype(leaf.dtype)

    start, gradient = jax.tree.map(draw, params), jax.tree.map(draw, params)
    nothing, twice = jax.tree.map(np.zeros_like, gradient), jax.tree.map(lambda leaf: 2 * leaf, start)
    way = quickly_compiled(lambda start, gradient: _way(build(), start, gradient), start, gradient)
    ways = [jax.device_get(way(*each)) for each in ((start, gradient), (start, nothing), (twice, nothing))]
    leaves = zip(_labels(build(), params), *map(jax.tree.leaves, ways), strict=True)
    return [(label, _differ(by_gradient, alone), _differ(alone, other)) for label, by_gradient, alone, other in leaves]


def _differ(first: Any, second: Any) -> bool:
    return bool((first != second).any())


def _middle(recipe: Recipe, name: str) -> Any:
    spans = {**recipe.schedule.space, **recipe.optimizer.space}
    span = spans.get(name, 0.5)
    return jnp.float32(span.value(0.5) if isinstance(span, Range) else span)


def _way(built: optax.GradientTransformationExtraArgs, params: Params, gradient: Params) -> Params:
    """The sum of some steps from the same parameters along the same gradient."""

    def value(params: Params, *_: Any, **__: Any) -> Any:
        return 1 + sum(map(jnp.vdot, jax.tree.leaves(params), jax.tree.leaves(gradient)))

    def slope(params: Params, *_: Any) -> Params:
        return gradient

    more = {"value": jnp.float32(1), "grad": gradient, "value_fn": value, "obj_fn": value, "grad_fn": slope}
    state = built.init(params)
    total = jax.tree.map(jnp.zeros_like, params)

    def step(carry: Any, _: Any) -> Any:
        state, total = carry
        updates, state = built.update(gradient, state, params, **more)
        return (state, jax.tree.map(lambda a, b: (a + b).astype(a.dtype), total, updates)), None

    (_, total), _ = jax.lax.scan(step, (jax.tree.map(_strong, state), total), length=TRIED)
    return total


def _strong(leaf: Any) -> Any:
    """Drops a weak type, which would change in a loop."""
    leaf = jnp.asarray(leaf)
    return leaf if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf.astype(leaf.dtype)


def _labels(built: optax.GradientTransformationExtraArgs, params: Params) -> list[str]:
    """For each leaf, the label under which a partition keeps something of it; empty where none or several do."""
    state = jax.eval_shape(built.init, params)
    parts: dict[str, set[str]] = {}
    for each in jax.tree.leaves(state, is_leaf=_is_partition):
        for label, part in each.inner_states.items() if _is_partition(each) else ():
            kept = jax.tree_util.tree_leaves_with_path(part)
            parts.setdefault(str(label), set()).update(jax.tree_util.keystr(path) for path, _ in kept)
    labels = []
    for path, _ in jax.tree_util.tree_leaves_with_path(params):
        own = jax.tree_util.keystr(path)
        named = [label for label, kept in parts.items() if any(each.endswith(own) for each in kept)]
        labels.append(named[0] if len(named) == 1 else "")
    return labels


def _is_partition(part: Any) -> bool:
    return isinstance(getattr(part, "inner_states", None), Mapping)
