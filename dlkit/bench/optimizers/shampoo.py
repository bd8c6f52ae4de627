"""Shampoo: a preconditioner for each axis of a tensor."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from dlkit.bench.optimizers.base import Rule, Transformation
from dlkit.bench.optimizers.by_role import by_matrix
from dlkit.bench.plan.parameter_groups import Role
from dlkit.typing import Array, Params

__all__ = ["ScaleByShampooState", "scale_by_shampoo", "shampoo", "shampoo_rules"]

LARGEST = 1024  # a longer axis has a diagonal preconditioner (section 5 of the paper)


class Side(NamedTuple):
    """The preconditioner of one axis, and its inverse root; both vectors where it is diagonal."""

    statistics: Array
    root: Array


class ScaleByShampooState(NamedTuple):
    """What the next step needs: the steps done, and per leaf the preconditioner of each axis."""

    step: Array
    sides: Any


def shampoo(
    learning_rate: float | Array,
    momentum: float | Array = 0.9,
    epsilon: float | Array = 1e-4,
    *,
    frequency: int = 10,
    roles: Any | None = None,
) -> Transformation:
    """Returns Shampoo as an optimizer: averaged gradients, `scale_by_shampoo`, and the learning rate.

    Args:
        learning_rate: size of a step; as in AdaGrad, steps shrink as squared gradients add up.
        momentum: decay of the average of gradients.
        epsilon: what the preconditioners start from.
        frequency: steps between new inverse roots.
        roles: as of `by_role.role_by_path`.

    Returns:
        The transformation.

    Reference:
        Gupta, Koren and Singer, "Shampoo: Preconditioned Stochastic Tensor Optimization", 2018, section 7.

    Example:
        >>> import jax.numpy as jnp
        >>> transformation = shampoo(0.1)
        >>> transformation.init({"w": jnp.ones((4, 3))})[1].step
        Array(0, dtype=int32)
    """
    inner = optax.chain(
        optax.ema(momentum, debias=False),
        scale_by_shampoo(epsilon, frequency=frequency),
        optax.scale_by_learning_rate(learning_rate),
    )
    return by_matrix(inner, roles)


def shampoo_rules(role: Role, shape: tuple[int, ...]) -> Rule:
    """Returns what `shampoo` does with a leaf: how many of its axes have a full preconditioner, and a diagonal one."""
    stack = role.stack(len(shape))
    sizes = [size for axis, size in enumerate(shape) if axis not in stack] or [1]
    full = sum(size <= LARGEST for size in sizes)
    parts = [f"{full} full"] * (full > 0) + [f"{len(sizes) - full} diagonal"] * (full < len(sizes))
    return Rule(f"Shampoo, axes: {', '.join(parts)}", is_decayed=False)


def scale_by_shampoo(epsilon: float | Array = 1e-4, *, frequency: int = 10) -> optax.GradientTransformation:
    """Returns the transformation of gradients into Shampoo's directions.

    Sums are kept in at least single precision.

    Args:
        epsilon: what the preconditioners start from.
        frequency: steps between new inverse roots; the first step computes them.

    Returns:
        The transformation.

    Reference:
        Gupta, Koren and Singer, "Shampoo: Preconditioned Stochastic Tensor Optimization", 2018, algorithms 1 and 2.

    Example:
        >>> import jax.numpy as jnp
        >>> scale_by_shampoo(0.1).init(jnp.ones((4, 3))).sides[0][1].statistics.shape
        (3, 3)
    """

    def init(params: Params) -> ScaleByShampooState:
        return ScaleByShampooState(
            jnp.zeros((), jnp.int32), tuple(_start(leaf, epsilon) for leaf in jax.tree.leaves(params))
        )

    def update(
        updates: Params, state: ScaleByShampooState, params: Params | None = None
    ) -> tuple[Params, ScaleByShampooState]:
        del params
        leaves, structure = jax.tree.flatten(updates)
        turn = state.step % frequency == 0
        directions, sides = [], []
        for leaf, old in zip(leaves, state.sides, strict=True):
            tensor = _tensor(leaf)
            new = tuple(_next(side, tensor, axis, epsilon, turn=turn) for axis, side in enumerate(old))
            for axis, side in enumerate(new):
                tensor = _times(side.root, tensor, axis)
            directions.append(tensor.reshape(leaf.shape).astype(leaf.dtype))
            sides.append(new)
        return jax.tree.unflatten(structure, directions), ScaleByShampooState(state.step + 1, tuple(sides))

    return optax.GradientTransformation(init, update)


def _tensor(leaf: Array) -> Array:
    """A leaf with at least one axis, in at least single precision."""
    return jnp.atleast_1d(leaf).astype(jnp.promote_types(leaf.dtype, jnp.float32))


def _start(leaf: Array, epsilon: float | Array) -> tuple[Side, ...]:
    tensor = jax.eval_shape(_tensor, leaf)

    def side(length: int) -> Side:
        # H_0 = epsilon I
        one = jnp.eye(length, dtype=tensor.dtype) if length <= LARGEST else jnp.ones(length, tensor.dtype)
        return Side(epsilon * one, one)

    return tuple(map(side, tensor.shape))


def _next(side: Side, tensor: Array, axis: int, epsilon: float | Array, *, turn: Array) -> Side:
    # H_i <- H_i + mat_i(G) mat_i(G)^T: G contracted with itself over all axes but the i-th
    unfolded = jnp.moveaxis(tensor, axis, 0).reshape(tensor.shape[axis], -1)
    added = (unfolded**2).sum(axis=1) if side.statistics.ndim == 1 else unfolded @ unfolded.T
    statistics = side.statistics + added
    # G <- G x_i H_i^(-1 / 2k) for each of the k axes: L^(-1/4) G R^(-1/4) for a matrix
    exponent = -1 / (2 * tensor.ndim)
    root = jax.lax.cond(turn, lambda: _power(statistics, exponent, epsilon), lambda: side.root)
    return Side(statistics, root)


def _power(statistics: Array, exponent: float, epsilon: float | Array) -> Array:
    """A power of a symmetric matrix whose eigenvalues are at least epsilon, but for rounding."""
    if statistics.ndim == 1:
        return statistics**exponent
    values, vectors = jnp.linalg.eigh(statistics)
    root: Array = (vectors * jnp.maximum(values, epsilon)[None, :] ** exponent) @ vectors.T
    return root


def _times(root: Array, tensor: Array, axis: int) -> Array:
    """Multiplies a tensor along one axis."""
    if root.ndim == 1:
        return tensor * jnp.expand_dims(root, [other for other in range(tensor.ndim) if other != axis])
    return jnp.moveaxis(jnp.tensordot(root, tensor, axes=(1, axis)), 0, axis)
