"""What every parameter of a problem does in its network, by the flow of data through the loss and not by its name."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from dlkit.bench.identity.tracing import as_trained
from dlkit.bench.plan.parameter_groups import Role
from dlkit.bench.problems.base import Problem, example_batch
from dlkit.bench.problems.dataflow import Flow
from dlkit.bench.problems.players import Loss, with_step
from dlkit.bench.problems.views import NEUTRAL, Value, View
from dlkit.typing import Params

__all__ = ["roles_of"]


def roles_of(problem: Problem) -> Any:
    """Returns the role of every leaf of a problem's parameters; its losses are traced, not computed.

    Of a game, each player's leaves have the roles that they have in the player's own loss, where the other players
    stand still.

    Args:
        problem: whose.

    Returns:
        The roles, a tree like the parameters.

    Example:
        >>> from dlkit.bench import problems
        >>> roles = roles_of(problems.get("digits-mlp"))
        >>> [role.kind for role in jax.tree.leaves(roles)]
        ['vector', 'first', 'vector', 'hidden', 'vector', 'head']
    """
    params, state = jax.eval_shape(problem.init, jax.eval_shape(lambda: jax.random.key(0)))
    if not problem.players:
        return _roles(problem, problem.loss, params, state)
    return {
        player.name: _roles(problem, player.loss, params, state, player.name)[player.name] for player in problem.players
    }


def _roles(problem: Problem, loss: Loss, params: Params, state: Any, player: str = "") -> Any:
    """The roles in one loss, of all parameters or of a player's; the others' are of no meaning."""
    batch, key = example_batch(problem), jax.eval_shape(lambda: jax.random.key(0))
    step = jax.ShapeDtypeStruct((), jnp.int32)
    with as_trained():
        traced = jax.make_jaxpr(with_step(loss))(params, state, batch, key, step)
    paths, structure = jax.tree_util.tree_flatten_with_path(params)
    shapes = [leaf.shape for _, leaf in paths]
    flow = Flow(shapes)
    weights = [
        Value({number: View(tuple((axis,) for axis in range(len(leaf.shape))))})
        if not player or path[0].key == player
        else NEUTRAL
        for number, (path, leaf) in enumerate(paths)
    ]
    arguments = [
        *weights,
        *(NEUTRAL for _ in jax.tree.leaves(state)),
        *map(_data, jax.tree.leaves(batch)),
        Value(is_source=True),
        NEUTRAL,
    ]
    result, *_ = flow.follow(traced.jaxpr, arguments)
    roles = [_role(flow, leaf, shape, result) for leaf, shape in enumerate(shapes)]
    parents = [path[:-1] for path, _ in paths]
    return jax.tree.unflatten(
        structure,
        [
            _bias(role, leaf, shapes, [n for n, parent in enumerate(parents) if parent == parents[leaf]], roles, flow)
            if role.kind == "other"
            else role
            for leaf, role in enumerate(roles)
        ],
    )


def _data(array: Any) -> Value:
    is_index = jnp.issubdtype(array.dtype, jnp.integer)
    return Value(is_source=True, is_active=True, discrete="index" if is_index else "")


def _role(flow: Flow, leaf: int, shape: Sequence[int], loss: Value) -> Role:
    uses = [use for use in flow.uses.get(leaf, []) if use.inputs and use.outputs]
    for use in uses:
        if use.how == "lookup":
            return Role("embedding", use.inputs, use.outputs)
    products = [use for use in uses if use.how == "product"]
    if products:
        axes = products[0].inputs, products[0].outputs
        if leaf in loss.open and leaf not in flow.closed:
            return Role("head", *axes)
        is_deep = any(use.is_deep for use in products if use.inputs == axes[0])  # others are of derivatives in the loss
        return Role("hidden" if is_deep else "first", *axes)
    if uses:  # of matrices that are multiplied with each other before they meet data, or instead
        return Role("hidden", uses[0].inputs, uses[0].outputs)
    outputs = _unlooped(flow, leaf, shape)
    return Role("vector", (), outputs) if len(outputs) < 2 else Role("other")


def _unlooped(flow: Flow, leaf: int, shape: Sequence[int]) -> tuple[int, ...]:
    """The axes of a leaf that are not taken one by one; those of one element do not count."""
    looped = flow.looped.get(leaf, frozenset())
    return tuple(axis for axis, size in enumerate(shape) if axis not in looped and (size > 1 or len(shape) == 1))


def _bias(
    role: Role,
    leaf: int,
    shapes: Sequence[tuple[int, ...]],
    beside: Sequence[int],
    roles: Sequence[Role],
    flow: Flow,
) -> Role:
    """A vector in place of another role where the leaf has the shape of what a matrix beside it makes: heads, ..."""
    outputs = _unlooped(flow, leaf, shapes[leaf])
    own = [shapes[leaf][axis] for axis in outputs]
    for other in beside:
        if not roles[other].is_matrix:
            continue
        made = [axis for axis in range(len(shapes[other])) if axis not in roles[other].inputs]  # ensembles and experts
        if own in ([shapes[other][axis] for axis in axes] for axes in (roles[other].outputs, made)):
            return Role("vector", (), outputs)
    return role
