"""What methods need to treat parameters by their roles: the role of each leaf, and matrices one by one."""

import math
import re
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from dlkit.bench.optimizers.base import Transformation
from dlkit.bench.plan.parameter_groups import Role
from dlkit.typing import Array, Params

__all__ = ["RoleOf", "by_matrix", "guessed", "role_by_path"]

RoleOf = Callable[[Sequence[Any], Any], Role]
"""(path, leaf) -> role."""

ANYWHERE = {"embedding": ("embed", "embedding", "embeddings", "wte"), "head": ("lm_head", "logits", "classifier")}
AT_THE_TOP = ("head", "out", "output")  # further down they are parts of layers: an attention has an output, too


def role_by_path(roles: Any | None) -> RoleOf:
    """Returns what tells the role of a leaf by its path.

    Args:
        roles: a tree like the parameters, as of `Problem`; None where a transformation is built by hand, to guess by
            names and shapes.
    """
    if roles is None:
        return guessed
    known = {jax.tree_util.keystr(path): role for path, role in jax.tree_util.tree_leaves_with_path(roles)}
    return lambda path, leaf: known[jax.tree_util.keystr(tuple(path))]


def guessed(path: Sequence[Any], leaf: Any) -> Role:
    """Guesses a leaf's role: what has two axes or more multiplies, and its last axis are the outputs.

    Args:
        path: where it stands.
        leaf: anything with a shape.

    Example:
        >>> guessed((jax.tree_util.DictKey("lm_head"), jax.tree_util.DictKey("kernel")), jnp.ones((3, 2))).kind
        'head'
    """
    axes = tuple(range(len(leaf.shape)))
    if len(axes) < 2:
        return Role("vector", (), axes)
    names = [_words(key) for key in path]
    top = names[1:2] if names and names[0] == "params" else names[:1]
    for kind, words in ANYWHERE.items():
        if any(re.search(rf"(^|_)({'|'.join(words)})(_|$)", name) for name in names):
            return Role("embedding" if kind == "embedding" else "head", axes[:-1], axes[-1:])
    return Role("head" if any(name in AT_THE_TOP for name in top) else "hidden", axes[:-1], axes[-1:])


def _words(key: Any) -> str:
    """A part of a path in lower case, words joined by underscores, without numbers at the end."""
    name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", jax.tree_util.keystr((key,), simple=True)).lower()
    return re.sub(r"[_\d]+$", "", name)


def by_matrix(inner: Transformation, roles: Any | None, *, flat: bool = False) -> Transformation:
    """Returns a transformation that is given every matrix on its own, where a leaf holds several: stacked layers.

    Args:
        inner: works on gradient, state and parameters alone. It sees a tuple in place of each leaf.
        roles: as of `role_by_path`.
        flat: whether it also sees matrices of more axes as [inputs, outputs], and vectors as [outputs].

    Returns:
        The transformation.

    Example:
        >>> stacked = {"w": jnp.stack([jnp.eye(2), 3 * jnp.eye(2)])}
        >>> layerwise = by_matrix(optax.scale_by_trust_ratio(), {"w": Role("hidden", (1,), (2,))})
        >>> updates, _ = layerwise.update(jax.tree.map(jnp.ones_like, stacked), layerwise.init(stacked), stacked)
        >>> updates["w"][:, 0, 0]
        Array([0.70710677, 2.1213202 ], dtype=float32)
    """
    role_of = role_by_path(roles)

    def split(tree: Params) -> Params:
        return jax.tree_util.tree_map_with_path(lambda path, leaf: _parts(leaf, role_of(path, leaf), flat=flat), tree)

    def joined(parts: Params, like: Params) -> Params:
        return jax.tree_util.tree_map_with_path(
            lambda path, leaf, own: _whole(own, leaf, role_of(path, leaf), flat=flat), like, parts
        )

    def init(params: Params) -> Any:
        return inner.init(split(params))

    def update(updates: Params, state: Any, params: Params | None = None) -> tuple[Params, Any]:
        moves, state = inner.update(split(updates), state, None if params is None else split(params))
        return joined(moves, updates), state

    return optax.GradientTransformation(init, update)


def _order(leaf: Array, role: Role, *, flat: bool) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """The axes of a leaf, those of the stack first; the sizes of the stack; the shape of a part."""
    stack = role.stack(leaf.ndim)
    rest = tuple(axis for axis in range(leaf.ndim) if axis not in stack)
    shape = tuple(leaf.shape[axis] for axis in rest)
    if flat and role.kind != "other" and leaf.ndim:
        rest = (*role.inputs, *role.outputs)
        sides = (role.inputs, role.outputs) if role.is_matrix else (role.outputs,)
        shape = tuple(math.prod(leaf.shape[axis] for axis in side) for side in sides)
    return (*stack, *rest), tuple(leaf.shape[axis] for axis in stack), shape


def _parts(leaf: Array, role: Role, *, flat: bool) -> tuple[Array, ...]:
    order, stack, shape = _order(leaf, role, flat=flat)
    parts = leaf.transpose(order).reshape(-1, *shape)
    return tuple(parts[number] for number in range(math.prod(stack)))


def _whole(parts: Sequence[Array], leaf: Array, role: Role, *, flat: bool) -> Array:
    order, *_ = _order(leaf, role, flat=flat)
    back = tuple(order.index(axis) for axis in range(leaf.ndim))
    return jnp.stack(parts).reshape([leaf.shape[axis] for axis in order]).transpose(back)
