"""Methods that look at the norm or the subspace of a layer, with the exceptions of their authors' programs."""

from collections.abc import Callable
from typing import Any

import jax
import optax
import optax.contrib

from dlkit.bench.optimizers.base import Rule, Transformation
from dlkit.bench.optimizers.by_role import by_matrix, role_by_path
from dlkit.bench.plan.parameter_groups import Role
from dlkit.typing import Array, Params

__all__ = [
    "fromage",
    "fromage_rules",
    "galore",
    "galore_rules",
    "lamb",
    "lamb_rules",
    "lars",
    "lars_rules",
    "novograd",
]


def lars(
    learning_rate: float | Array,
    momentum: float | Array = 0.9,
    weight_decay: float | Array = 1e-4,
    trust_coefficient: float | Array = 1e-3,
    *,
    roles: Any | None = None,
) -> Transformation:
    """Returns LARS: weight decay and the ratio of norms for weights, momentum alone for biases and gains.

    Args:
        learning_rate: of all.
        momentum: decay of the sum of steps.
        weight_decay: added to the gradient, before the ratio of norms.
        trust_coefficient: how far a step goes, in parts of a layer's norm.
        roles: as of `by_role.role_by_path`.

    Returns:
        The transformation.

    Reference:
        You, Gitman and Ginsburg, "Large batch training of convolutional networks", 2017; biases and normalization are
        left out as in the programs of MLPerf.
    """
    weights = _weights(roles)
    inner = optax.lars(
        learning_rate,
        weight_decay=weight_decay,
        weight_decay_mask=weights,
        trust_coefficient=trust_coefficient,
        trust_ratio_mask=weights,
        momentum=momentum,
    )
    return by_matrix(inner, roles)


def lamb(
    learning_rate: float | Array,
    b1: float | Array = 0.9,
    b2: float | Array = 0.999,
    weight_decay: float | Array = 0.01,
    *,
    roles: Any | None = None,
) -> Transformation:
    """Returns LAMB: Adam with weight decay and the ratio of norms for weights, Adam alone for biases and gains.

    Args:
        learning_rate: of all.
        b1: decay of the average of gradients.
        b2: decay of the average of squared gradients.
        weight_decay: added to Adam's direction, before the ratio of norms.
        roles: as of `by_role.role_by_path`.

    Returns:
        The transformation.

    Reference:
        You et al., "Large batch optimization for deep learning: training BERT in 76 minutes", 2020; biases and
        normalization are left out as in the authors' program.
    """
    weights = _weights(roles)
    inner = optax.chain(
        optax.scale_by_adam(b1, b2, eps=1e-6),
        optax.add_decayed_weights(weight_decay, mask=weights),
        optax.masked(optax.scale_by_trust_ratio(), weights),
        optax.scale_by_learning_rate(learning_rate),
    )
    return by_matrix(inner, roles)


def galore(
    learning_rate: float | Array,
    weight_decay: float | Array = 0.0,
    *,
    rank: int = 16,
    update_proj_gap: int = 50,
    roles: Any | None = None,
) -> Transformation:
    """Returns GaLore: AdamW in a subspace for hidden matrices, AdamW for everything else.

    Args:
        learning_rate: of all.
        weight_decay: times the learning rate, subtracted from the parameters.
        rank: of the subspace.
        update_proj_gap: steps between new subspaces.
        roles: as of `by_role.role_by_path`.

    Returns:
        The transformation.

    Reference:
        Zhao et al., "GaLore: Memory-efficient LLM training by gradient low-rank projection", 2024.
    """
    role_of = role_by_path(roles)

    def dimensions(parts: Params) -> Any:  # a part stands in a tuple in place of its leaf
        def of(path: Any, leaf: Array) -> optax.contrib.GaLoreDimensionNumbers | None:
            is_hidden = leaf.ndim == 2 and role_of(path[:-1], leaf).kind == "hidden"
            return optax.contrib.GaLoreDimensionNumbers() if is_hidden else None

        return jax.tree_util.tree_map_with_path(of, parts)

    inner = optax.contrib.galore(
        learning_rate,
        rank=rank,
        scale=0.25,  # alpha in the paper's runs
        update_proj_gap=update_proj_gap,
        weight_decay=weight_decay,
        weight_dimension_numbers=dimensions,
    )
    return by_matrix(inner, roles, flat=True)


def fromage(learning_rate: float | Array, *, roles: Any | None = None) -> Transformation:
    """Returns Fromage, of stacked layers each on its own; see `optax.fromage`."""
    return by_matrix(optax.fromage(learning_rate), roles)


def novograd(
    learning_rate: float | Array,
    b1: float | Array = 0.9,
    b2: float | Array = 0.25,
    weight_decay: float | Array = 0.0,
    *,
    roles: Any | None = None,
) -> Transformation:
    """Returns NovoGrad, of stacked layers each on its own; see `optax.novograd`."""
    return by_matrix(optax.novograd(learning_rate, b1=b1, b2=b2, weight_decay=weight_decay), roles)


def lars_rules(role: Role, shape: tuple[int, ...]) -> Rule:
    """Returns what `lars` does with a leaf."""
    is_weight = role.kind != "vector"
    return Rule("LARS" if is_weight else "momentum", is_weight)


def lamb_rules(role: Role, shape: tuple[int, ...]) -> Rule:
    """Returns what `lamb` does with a leaf."""
    is_weight = role.kind != "vector"
    return Rule("LAMB" if is_weight else "Adam", is_weight)


def galore_rules(role: Role, shape: tuple[int, ...]) -> Rule:
    """Returns what `galore` does with a leaf."""
    return Rule("GaLore" if role.kind == "hidden" else "Adam", is_decayed=True)


def fromage_rules(role: Role, shape: tuple[int, ...]) -> Rule:
    """Returns what `fromage` does with a leaf; it shrinks all of them by 1 / sqrt(1 + rate^2)."""
    return Rule("fromage", is_decayed=True)


def _weights(roles: Any | None) -> Callable[[Params], Any]:
    """A mask for what `by_matrix` makes of parameters: what is no bias, gain or scalar."""
    role_of = role_by_path(roles)

    def mask(parts: Params) -> Any:
        return jax.tree_util.tree_map_with_path(lambda path, leaf: role_of(path[:-1], leaf).kind != "vector", parts)

    return mask
