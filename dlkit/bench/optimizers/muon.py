"""Muon: hidden matrices move along orthogonalized averages of their gradients, everything else by Adam."""

import math
from typing import Any

import jax
import optax
import optax.contrib

from dlkit.bench.optimizers.base import Rule
from dlkit.bench.optimizers.by_role import role_by_path
from dlkit.bench.plan.parameter_groups import Role
from dlkit.typing import Array, Params

__all__ = ["muon", "muon_rules"]

MATRICES, OTHERS = "Newton-Schulz", "Adam"


def muon(
    learning_rate: float | Array,
    beta: float | Array = 0.95,
    adam_learning_rate: float | Array = 3e-4,
    *,
    roles: Any | None = None,
) -> optax.GradientTransformationExtraArgs:
    """Returns Muon as an optimizer, with the Adam that its authors train everything else by.

    A hidden matrix, a convolution's kernel flattened to one, moves by the Newton-Schulz iteration of Nesterov's average
    of its gradients, times sqrt(max(1, outputs / inputs)). Embeddings, heads, first layers, biases, gains and what is
    only added move by Adam with b1 0.9 and b2 0.95.

    Args:
        learning_rate: of hidden matrices.
        beta: decay of the average of gradients.
        adam_learning_rate: of everything else.
        roles: a tree like the parameters; None to guess by names and shapes.

    Returns:
        The transformation.

    Reference:
        Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024,
        https://kellerjordan.github.io/posts/muon.

    Example:
        >>> import jax.numpy as jnp
        >>> transformation = muon(1.0)
        >>> params = {"w": jnp.diag(jnp.array([5.0, 1.0]))}
        >>> updates, _ = transformation.update(params, transformation.init(params), params)
        >>> bool((jnp.abs(jnp.diag(updates["w"]) + 1) < 0.4).all())
        True
    """
    role_of = role_by_path(roles)

    def labels(params: Params) -> Any:
        def label(path: Any, leaf: Array) -> str:
            return muon_rules(role_of(path, leaf), leaf.shape).name

        return jax.tree_util.tree_map_with_path(label, params)

    def dimensions(updates: Params) -> Any:
        def of(path: Any, leaf: Array) -> optax.contrib.MuonDimensionNumbers:
            role = role_of(path, leaf)
            return optax.contrib.MuonDimensionNumbers(role.inputs, role.outputs)

        return jax.tree_util.tree_map_with_path(of, updates)

    def scaled(updates: Params, params: Params | None = None) -> Params:
        def scale(path: Any, leaf: Array) -> Array:
            return leaf * _scale(leaf, role_of(path, leaf))

        return jax.tree_util.tree_map_with_path(scale, updates)

    orthogonal = optax.chain(
        optax.contrib.scale_by_muon(beta=beta, weight_dimension_numbers=dimensions),
        optax.stateless(scaled),
        optax.scale_by_learning_rate(learning_rate),
    )
    adam = optax.adam(adam_learning_rate, b1=0.9, b2=0.95, eps=1e-10)
    return optax.partition({MATRICES: orthogonal, OTHERS: adam}, labels)


def muon_rules(role: Role, shape: tuple[int, ...]) -> Rule:
    """Returns what `muon` does with a leaf."""
    return Rule(MATRICES if role.kind == "hidden" else OTHERS, is_decayed=False)


def _scale(leaf: Array, role: Role) -> float:
    rows, columns = (math.prod(leaf.shape[axis] for axis in axes) for axes in (role.inputs, role.outputs))
    return math.sqrt(max(1, columns / rows))
