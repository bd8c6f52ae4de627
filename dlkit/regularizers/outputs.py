"""Penalties of what a model computes, not of its parameters: one value per example, for the caller to weigh and add.

Computed in at least float32, returned in the dtype of the argument.
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Float

from dlkit.checks import as_real, require_floating, require_number, require_size
from dlkit.regularizers.masks import weighed
from dlkit.typing import Array, ArrayFunction, DTypeLike, Key, Scalar, Values

__all__ = ["activity_l1", "activity_l2", "confidence_penalty", "jacobian_penalty"]


def activity_l1(x: Float[Array, "*batch features"] | Values, *, strength: Scalar = 1.0) -> Float[Array, "*batch"]:
    """Sum of the magnitudes of activations: sum_i |x_i| over the last axis. The gradient at 0 is 0.

    It makes them sparse: few units are on for an example. Keras sums over all axes but the batch: flatten these first.

    Args:
        x: activations, the features in the last axis.
        strength: factor of the penalty, at least 0; may be traced.

    Returns:
        One penalty per example.

    Raises:
        ValueError: there is no axis, or strength is a negative Python number.
        TypeError: x is not floating point.

    Reference:
        Glorot, Bordes and Bengio, "Deep sparse rectifier neural networks", AISTATS 2011.

    Example:
        >>> activity_l1(jnp.array([[1.0, -2.0], [0.0, 0.0]]))
        Array([3., 0.], dtype=float32)
    """
    dtype, wide = _wide("activity_l1", x, strength)
    # sum_i |x_i|
    return weighed(jnp.sum(wide * jnp.sign(wide), axis=-1), strength).astype(dtype)


def activity_l2(x: Float[Array, "*batch features"] | Values, *, strength: Scalar = 1.0) -> Float[Array, "*batch"]:
    """Sum of the squares of activations: sum_i x_i^2 over the last axis, without a factor 1/2.

    Args:
        x: activations, the features in the last axis.
        strength: factor of the penalty, at least 0; may be traced.

    Returns:
        One penalty per example.

    Raises:
        ValueError: there is no axis, or strength is a negative Python number.
        TypeError: x is not floating point.

    Reference:
        Merity, McCann and Socher, "Revisiting activation regularization for language RNNs", 2017,
        https://arxiv.org/abs/1708.01009.

    Example:
        >>> activity_l2(jnp.array([[1.0, -2.0], [0.0, 0.0]]))
        Array([5., 0.], dtype=float32)
    """
    dtype, wide = _wide("activity_l2", x, strength)
    # sum_i x_i^2
    return weighed(jnp.sum(jnp.square(wide), axis=-1), strength).astype(dtype)


def confidence_penalty(x: Float[Array, "*batch classes"] | Values, *, strength: Scalar = 1.0) -> Float[Array, "*batch"]:
    """Confidence penalty: minus the entropy of the softmax, sum_c p_c log p_c, in nats.

    From -log(classes) where all classes are as likely, to 0 where one is certain. Added to a loss, it keeps
    predictions from becoming certain.

    Args:
        x: logits, the classes in the last axis. One of -inf (a masked class) adds 0.
        strength: factor of the penalty, at least 0; may be traced.

    Returns:
        One penalty per example.

    Raises:
        ValueError: there is no axis, or strength is a negative Python number.
        TypeError: x is not floating point.

    Reference:
        Pereyra et al., "Regularizing neural networks by penalizing confident output distributions", 2017,
        https://arxiv.org/abs/1701.06548.

    Example:
        >>> confidence_penalty(jnp.array([[0.0, 0.0], [1e4, 0.0]])).round(3)
        Array([-0.693,  0.   ], dtype=float32)
    """
    dtype, wide = _wide("confidence_penalty", x, strength)
    logs = jax.nn.log_softmax(wide, axis=-1)
    # 0 log 0 = 0; replaced beforehand, or the gradient were 0 * inf.
    possible = logs > -jnp.inf
    finite = jnp.where(possible | jnp.isnan(logs), logs, 0.0)
    # sum_c p_c log p_c
    negative_entropy = jnp.sum(jnp.where(possible | jnp.isnan(logs), jnp.exp(finite), 0.0) * finite, axis=-1)
    return weighed(negative_entropy, strength).astype(dtype)


def jacobian_penalty(
    function: ArrayFunction,
    x: Float[Array, "batch *example"] | Values,
    *,
    key: Key,
    projections: int = 1,
    strength: Scalar = 1.0,
) -> Float[Array, " batch"]:
    """Jacobian penalty: an unbiased estimate of ||J||_F^2, the squared slopes of outputs along inputs, per example.

    With v drawn evenly from the unit sphere of the outputs, ||J||_F^2 = outputs E[||v' J||^2]; one product costs about
    what one gradient does. For a function with one output per example it is exact. It may be differentiated with
    respect to what the function closes over (the parameters), and to x.

    Args:
        function: a batch `[batch, *example]` to outputs `[batch, *outputs]`. An output may depend on its own example
            only: no normalization over the batch.
        x: a batch of inputs.
        key: PRNG key of v.
        projections: how many v are drawn for an example; the variance of the estimate falls with it.
        strength: factor of the penalty, at least 0; may be traced.

    Returns:
        One penalty per example.

    Raises:
        ValueError: there is no batch axis, strength is a negative Python number, projections is no
            positive integer, or the outputs are not one per example.
        TypeError: x is not floating point.

    Reference:
        Hoffman, Roberts and Yaida, "Robust learning with Jacobian regularization", 2019,
        https://arxiv.org/abs/1908.02729.

    Example:
        >>> slope = jnp.array([[3.0], [4.0]])
        >>> jacobian_penalty(lambda x: x @ slope, jnp.ones((2, 2)), key=jax.random.key(0))  # 3^2 + 4^2
        Array([25., 25.], dtype=float32)
    """
    (x,) = as_real(x)
    require_floating("jacobian_penalty", x=x)
    require_number("jacobian_penalty", "strength", strength, at_least=0)
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
    return weighed(math.prod(outputs.shape[1:]) / projections * total, strength).astype(x.dtype)


def _per_example(x: Array) -> Array:
    """The sum over all axes but the first."""
    return x.sum(tuple(range(1, x.ndim)))


def _wide(where: str, x: Array | Values, strength: Scalar) -> tuple[DTypeLike, Array]:
    """The dtype of the result, and x in the dtype to compute in; refuses what has no axis of features."""
    (x,) = as_real(x)
    require_number(where, "strength", strength, at_least=0)
    require_floating(where, x=x)
    if x.ndim == 0:
        raise ValueError(f"{where}: expected x [*batch, features], got a scalar")
    return x.dtype, x.astype(jnp.promote_types(x.dtype, jnp.float32))
