"""Penalties of what a model computes, not of its parameters: one value per example, for the caller to weigh and add.

Computed in at least float32, returned in the dtype of the argument.
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Float

from dlkit.checks import require_floating, require_size
from dlkit.typing import Array, ArrayFunction, Key

__all__ = ["activity_l1", "activity_l2", "confidence_penalty", "jacobian_penalty"]


def activity_l1(x: Float[Array, "*batch features"]) -> Float[Array, "*batch"]:
    """Sum of the magnitudes of activations: sum_i |x_i| over the last axis. The gradient at 0 is 0.

    It makes them sparse: few units are on for an example. Keras sums over all axes but the batch: flatten these first.

    Args:
        x: activations, the features in the last axis.

    Returns:
        One penalty per example.

    Raises:
        ValueError: there is no axis.
        TypeError: x is not floating point.

    Reference:
        Glorot, Bordes and Bengio, "Deep sparse rectifier neural networks", AISTATS 2011.

    Example:
        >>> activity_l1(jnp.array([[1.0, -2.0], [0.0, 0.0]]))
        Array([3., 0.], dtype=float32)
    """
    wide = _wide("activity_l1", x)
    # sum_i |x_i|
    return jnp.sum(wide * jnp.sign(wide), axis=-1).astype(x.dtype)


def activity_l2(x: Float[Array, "*batch features"]) -> Float[Array, "*batch"]:
    """Sum of the squares of activations: sum_i x_i^2 over the last axis, without a factor 1/2.

    Args:
        x: activations, the features in the last axis.

    Returns:
        One penalty per example.

    Raises:
        ValueError: there is no axis.
        TypeError: x is not floating point.

    Reference:
        Merity, McCann and Socher, "Revisiting activation regularization for language RNNs", 2017,
        https://arxiv.org/abs/1708.01009.

    Example:
        >>> activity_l2(jnp.array([[1.0, -2.0], [0.0, 0.0]]))
        Array([5., 0.], dtype=float32)
    """
    # sum_i x_i^2
    return jnp.sum(jnp.square(_wide("activity_l2", x)), axis=-1).astype(x.dtype)


def confidence_penalty(x: Float[Array, "*batch classes"]) -> Float[Array, "*batch"]:
    """Confidence penalty: minus the entropy of the softmax, sum_c p_c log p_c, in nats.

    From -log(classes) where all classes are as likely, to 0 where one is certain. Added to a loss, it keeps
    predictions from becoming certain.

    Args:
        x: logits, the classes in the last axis. One of -inf (a masked class) adds 0.

    Returns:
        One penalty per example.

    Raises:
        ValueError: there is no axis.
        TypeError: x is not floating point.

    Reference:
        Pereyra et al., "Regularizing neural networks by penalizing confident output distributions", 2017,
        https://arxiv.org/abs/1701.06548.

    Example:
        >>> confidence_penalty(jnp.array([[0.0, 0.0], [1e4, 0.0]])).round(3)
        Array([-0.693,  0.   ], dtype=float32)
    """
    logs = jax.nn.log_softmax(_wide("confidence_penalty", x), axis=-1)
    # 0 log 0 = 0; replaced beforehand, or the gradient were 0 * inf.
    possible = logs > -jnp.inf
    finite = jnp.where(possible | jnp.isnan(logs), logs, 0.0)
    # sum_c p_c log p_c
    return jnp.sum(jnp.where(possible | jnp.isnan(logs), jnp.exp(finite), 0.0) * finite, axis=-1).astype(x.dtype)


def jacobian_penalty(
    key: Key, function: ArrayFunction, x: Float[Array, "batch *example"], *, projections: int = 1
) -> Float[Array, " batch"]:
    """Jacobian penalty: an unbiased estimate of ||J||_F^2, the squared slopes of outputs along inputs, per example.

    With v drawn evenly from the unit sphere of the outputs, ||J||_F^2 = outputs E[||v' J||^2]; one product costs about
    what one gradient does. For a function with one output per example it is exact. It may be differentiated with
    respect to what the function closes over (the parameters), and to x.

    Args:
        key: PRNG key of v.
        function: a batch `[batch, *example]` to outputs `[batch, *outputs]`. An output may depend on its own example
            only: no normalization over the batch.
        x: a batch of inputs.
        projections: how many v are drawn for an example; the variance of the estimate falls with it.

    Returns:
        One penalty per example.

    Raises:
        ValueError: there is no batch axis, projections is no positive integer, or the outputs are not one per example.
        TypeError: x is not floating point.

    Reference:
        Hoffman, Roberts and Yaida, "Robust learning with Jacobian regularization", 2019,
        https://arxiv.org/abs/1908.02729.

    Example:
        >>> slope = jnp.array([[3.0], [4.0]])
        >>> jacobian_penalty(jax.random.key(0), lambda x: x @ slope, jnp.ones((2, 2)))  # 3^2 + 4^2
        Array([25., 25.], dtype=float32)
    """
    require_floating("jacobian_penalty", x=x)
    require_size("jacobian_penalty", projections=projections)
    if x.ndim == 0:
        raise ValueError("jacobian_penalty: expected x [batch, ...], got a scalar")
    outputs, pull = jax.vjp(function, x)
    if outputs.ndim == 0 or outputs.shape[0] != x.shape[0]:
        raise ValueError(
            f"jacobian_penalty: expected outputs [{x.shape[0]}, ...] of a function of a batch, "
            f"got {jax.typeof(outputs)} for x {jax.typeof(x)}"
        )
    compute_dtype = jnp.promote_types(x.dtype, jnp.float32)
    total, sharding = jnp.zeros(x.shape[:1], compute_dtype), jax.typeof(outputs).sharding
    for place in range(projections):
        drawn = jax.random.normal(jax.random.fold_in(key, place), outputs.shape, compute_dtype)
        length = jnp.sqrt(_per_example(jnp.square(drawn)))
        direction = drawn / length.reshape(length.shape + (1,) * (drawn.ndim - 1))
        if not sharding.mesh.empty:  # devices that share the outputs share v likewise
            direction = jax.sharding.reshard(direction, sharding)
        (slopes,) = pull(direction.astype(outputs.dtype))
        total += _per_example(jnp.square(slopes.astype(compute_dtype)))
    # outputs / projections * sum ||v' J||^2
    return (math.prod(outputs.shape[1:]) / projections * total).astype(x.dtype)


def _per_example(x: Array) -> Array:
    """The sum over all axes but the first."""
    return x.sum(tuple(range(1, x.ndim)))


def _wide(where: str, x: Array) -> Array:
    """In the dtype to compute in; refuses what has no axis of features."""
    require_floating(where, x=x)
    if x.ndim == 0:
        raise ValueError(f"{where}: expected x [*batch, features], got a scalar")
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))
