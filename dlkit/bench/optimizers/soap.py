"""SOAP: Adam in the slowly turning eigenbasis of Shampoo's preconditioner."""

import math
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from dlkit.bench.optimizers.base import Rule, Transformation
from dlkit.bench.optimizers.by_role import by_matrix
from dlkit.bench.plan.parameter_groups import Role
from dlkit.typing import Array, Params

__all__ = ["ScaleBySoapState", "scale_by_soap", "soap", "soap_rules"]

LARGEST = 1024  # rows or columns; larger sides keep the identity as their basis, as the paper does from 10,000 on


class Basis(NamedTuple):
    """The preconditioner of one side of a matrix, and its eigenvectors as columns."""

    covariance: Array
    vectors: Array


class ScaleBySoapState(NamedTuple):
    """What the next step needs.

    Attributes:
        step: steps done; the first one sets up the bases only.
        mu: average of gradients.
        nu: average of squared gradients in the eigenbasis.
        bases: per leaf, the left and the right basis; None for a side that keeps the identity.
    """

    step: Array
    mu: Params
    nu: Params
    bases: Any


def soap(
    learning_rate: float | Array,
    b1: float | Array = 0.95,
    b2: float | Array = 0.95,
    eps: float | Array = 1e-8,
    weight_decay: float | Array = 0.0,
    *,
    frequency: int = 10,
    roles: Any | None = None,
) -> Transformation:
    """Returns SOAP as an optimizer: `scale_by_soap`, decoupled weight decay, and the learning rate.

    Every matrix is preconditioned on both sides, embeddings, heads and first layers too; a convolution's kernel as the
    matrix [inputs x size, outputs]. Biases and gains are trained by Adam.

    Args:
        learning_rate: size of a step.
        b1: decay of the average of gradients.
        b2: decay of the average of squared gradients, and of the preconditioners.
        eps: keeps the division finite.
        weight_decay: times the learning rate, subtracted from the parameters.
        frequency: steps between new eigenvectors.
        roles: as of `by_role.role_by_path`.

    Returns:
        The transformation.

    Reference:
        Vyas et al., "SOAP: Improving and Stabilizing Shampoo using Adam", 2024, algorithm 3.

    Example:
        >>> import jax.numpy as jnp
        >>> transformation = soap(0.1)
        >>> transformation.init({"w": jnp.ones((4, 3))})[0].step
        Array(0, dtype=int32)
    """
    inner = optax.chain(
        scale_by_soap(b1, b2, eps, frequency=frequency),
        optax.add_decayed_weights(weight_decay),
        optax.scale_by_learning_rate(learning_rate),
    )
    return by_matrix(inner, roles, flat=True)


def soap_rules(role: Role, shape: tuple[int, ...]) -> Rule:
    """Returns what `soap` does with a leaf: how many sides turn; Adam where none does."""
    inputs = role.inputs if role.is_matrix else tuple(range(len(shape)))[:-1]
    rows, columns = (
        math.prod(shape[axis] for axis in inputs),
        math.prod(shape[axis] for axis in (role.outputs if role.is_matrix else range(len(shape))[-1:])),
    )
    sides = 0 if role.kind == "vector" else (rows <= LARGEST) + (columns <= LARGEST)
    return Rule(("Adam", "SOAP, one side", "SOAP, two sides")[sides], is_decayed=False)


def scale_by_soap(
    b1: float | Array = 0.95, b2: float | Array = 0.95, eps: float | Array = 1e-8, *, frequency: int = 10
) -> optax.GradientTransformation:
    """Returns the transformation of gradients into SOAP's directions.

    Matrices are preconditioned on both sides; of other tensors, the leading axes are merged into one. Vectors and
    scalars are trained by Adam. The first step gathers the first preconditioner and moves nothing. Sums are kept in at
    least single precision.

    Args:
        b1: decay of the average of gradients.
        b2: decay of the average of squared gradients, and of the preconditioners.
        eps: keeps the division finite.
        frequency: steps between new eigenvectors.

    Returns:
        The transformation.

    Reference:
        Vyas et al., "SOAP: Improving and Stabilizing Shampoo using Adam", 2024, algorithms 3 and 4.

    Example:
        >>> import jax.numpy as jnp
        >>> scale_by_soap().init({"b": jnp.ones(3)}).bases
        ((None, None),)
    """

    def init(params: Params) -> ScaleBySoapState:
        zeros = jax.tree.map(lambda leaf: jnp.zeros_like(_matrix(leaf)), params)
        bases = tuple(_identities(leaf) for leaf in jax.tree.leaves(params))
        return ScaleBySoapState(jnp.zeros((), jnp.int32), zeros, zeros, bases)

    def update(
        updates: Params, state: ScaleBySoapState, params: Params | None = None
    ) -> tuple[Params, ScaleBySoapState]:
        del params
        leaves, structure = jax.tree.flatten(updates)
        gradients = [_matrix(leaf) for leaf in leaves]
        first = state.step == 0
        turn = state.step % frequency == 0
        steps = jnp.maximum(state.step, 1)  # of Adam, which starts after the first
        # M <- b1 M + (1 - b1) G
        mu = [_average(m, g, b1, skip=first) for m, g in zip(jax.tree.leaves(state.mu), gradients, strict=True)]
        nu, directions, bases = [], [], []
        for gradient, m, v, basis in zip(gradients, mu, jax.tree.leaves(state.nu), state.bases, strict=True):
            # V <- b2 V + (1 - b2) G' * G', with G' = Q_L^T G Q_R
            v = _average(v, _into(gradient, basis) ** 2, b2, skip=first)
            # N = Q_L (M' / (sqrt(V) + eps)) Q_R^T, with M' = Q_L^T M Q_R, both averages without their start's bias
            adam = (_into(m, basis) / (1 - b1**steps)) / (jnp.sqrt(v / (1 - b2**steps)) + eps)
            nu.append(v)
            directions.append(_back(adam, basis))
            bases.append(_next_basis(gradient, basis, b2, first=first, turn=turn))
        moves = [
            jnp.where(first, 0, direction).reshape(leaf.shape).astype(leaf.dtype)
            for direction, leaf in zip(directions, leaves, strict=True)
        ]
        rebuild = partial(jax.tree.unflatten, structure)
        return rebuild(moves), ScaleBySoapState(state.step + 1, rebuild(mu), rebuild(nu), tuple(bases))

    return optax.GradientTransformation(init, update)


def _matrix(leaf: Array) -> Array:
    """A tensor as a matrix, in at least single precision."""
    shape = (math.prod(leaf.shape[:-1]), leaf.shape[-1]) if leaf.ndim > 1 else (leaf.size,)
    return leaf.reshape(shape).astype(jnp.promote_types(leaf.dtype, jnp.float32))


def _identities(leaf: Array) -> tuple[Basis | None, Basis | None]:
    if leaf.ndim < 2:
        return None, None
    matrix = jax.eval_shape(_matrix, leaf)
    left, right = (
        Basis(jnp.zeros((side, side), matrix.dtype), jnp.eye(side, dtype=matrix.dtype)) if side <= LARGEST else None
        for side in matrix.shape
    )
    return left, right


def _average(old: Array, new: Array, decay: float | Array, *, skip: Array) -> Array:
    return jnp.where(skip, old, decay * old + (1 - decay) * new)


def _into(matrix: Array, basis: tuple[Basis | None, Basis | None]) -> Array:
    left, right = basis
    matrix = matrix if left is None else left.vectors.T @ matrix
    return matrix if right is None else matrix @ right.vectors


def _back(matrix: Array, basis: tuple[Basis | None, Basis | None]) -> Array:
    left, right = basis
    matrix = matrix if left is None else left.vectors @ matrix
    return matrix if right is None else matrix @ right.vectors.T


def _next_basis(
    gradient: Array, basis: tuple[Basis | None, Basis | None], b2: float | Array, *, first: Array, turn: Array
) -> tuple[Basis | None, Basis | None]:
    left, right = basis
    # L <- b2 L + (1 - b2) G G^T, R <- b2 R + (1 - b2) G^T G
    return (
        None if left is None else _next_side(left, gradient @ gradient.T, b2, first=first, turn=turn),
        None if right is None else _next_side(right, gradient.T @ gradient, b2, first=first, turn=turn),
    )


def _next_side(side: Basis, outer: Array, b2: float | Array, *, first: Array, turn: Array) -> Basis:
    covariance = b2 * side.covariance + (1 - b2) * outer
    # Q <- QR(L Q): one power iteration from the last eigenvectors; from none, a full decomposition
    vectors = jax.lax.cond(
        turn,
        lambda: jax.lax.cond(
            first, lambda: jnp.linalg.eigh(covariance)[1], lambda: jnp.linalg.qr(covariance @ side.vectors)[0]
        ),
        lambda: side.vectors,
    )
    return Basis(covariance, vectors)
