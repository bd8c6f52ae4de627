"""Attention: every position takes a weighted average over the positions it may attend to."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from dlkit import checks
from dlkit.layers.products import matmul
from dlkit.typing import Array, Key, Scalar, Shape

__all__ = ["dot_product_attention"]


def dot_product_attention(
    queries: Float[Array, "*batch time features"],
    keys: Float[Array, "*batch context_time features"],
    values: Float[Array, "*batch context_time value_features"],
    *,
    bias: Float[Array, "..."] | None = None,
    mask: Bool[Array, "..."] | None = None,
    dropout: Scalar = 0.0,
    key: Key | None = None,
) -> Float[Array, "*batch time value_features"]:
    """Scaled dot-product attention: softmax(Q K^T / sqrt(features) + bias) V.

    The softmax is computed in at least float32. A position that may attend to nothing gives 0, with gradient 0. The
    logits Q K^T have to be finite: in float32, queries and keys up to about 1e18.

    Args:
        queries: what each position looks for. Heads stand among the batch axes.
        keys: what each position of the context is found by.
        values: what it gives.
        bias: added to the logits, such as one for the distance of two positions: `[*batch, time, context_time]`, where
            any axis may be of size 1; finite.
        mask: true where a query may attend to a key, in such a shape. None allows everything.
        dropout: probability of dropping a weight (the others are scaled up), in [0, 1); may be traced.
        key: PRNG key, needed unless dropout is the Python number 0.

    Returns:
        One vector per query, in the dtype that the arguments promote to.

    Raises:
        ValueError: the shapes do not belong together; dropout is a Python number out of range; or there is no key where
            one is needed.
        TypeError: the mask is not boolean, or another argument is not floating point.

    Reference:
        Vaswani et al., "Attention is all you need", 2017, https://arxiv.org/abs/1706.03762, equation 1; the bias:
        Shaw et al., "Self-attention with relative position representations", 2018, https://arxiv.org/abs/1803.02155.

    Example:
        >>> x = jnp.array([[1e4, 0.0], [0.0, 1e4]])
        >>> dot_product_attention(x, x, jnp.array([[1.0], [2.0]]))
        Array([[1.],
               [2.]], dtype=float32)
    """
    where = "dot_product_attention"
    _check_arguments(queries, keys, values, bias, mask)
    checks.require_number(where, "dropout", dropout, at_least=0, below=1)
    compute_dtype = jnp.promote_types(jnp.result_type(queries, keys), jnp.float32)
    dtype = jnp.result_type(queries, keys, values)
    # Q K^T / sqrt(features) + bias. The queries are divided, not the products: fused with the softmax's subtraction of
    # the maximum, a product would not be rounded as the maximum was, and logits of 1e9 would exceed it by more than
    # exp can bear.
    scaled = queries / math.sqrt(queries.shape[-1])
    logits = matmul(scaled, jnp.swapaxes(keys, -1, -2), dtype=compute_dtype)
    if bias is not None:
        logits = logits + bias.astype(compute_dtype)
    if mask is None:
        weights = jax.nn.softmax(logits, axis=-1)
    else:
        # The least finite number, not -inf: where a row has nothing else, -inf - -inf would be NaN.
        weights = jax.nn.softmax(jnp.where(mask, logits, np.finfo(compute_dtype).min), axis=-1)
        weights = jnp.where(mask, weights, 0)
    if not checks.known_zero(dropout):
        keep_rate = 1.0 - jnp.asarray(dropout, compute_dtype)
        keep = jax.random.bernoulli(checks.require_key(where, key), keep_rate, weights.shape)
        weights = jnp.where(keep, weights / keep_rate, 0)
    return matmul(weights.astype(dtype), values.astype(dtype))


def _check_shape(where: str, name: str, array: Array, shape: Shape) -> None:
    """Refuse a mask or a bias that is not of the shape."""
    if len(shape) != array.ndim or any(size not in (1, whole) for size, whole in zip(array.shape, shape, strict=True)):
        raise ValueError(
            f"{where}: expected a {name} {list(shape)}, any of its axes may be of size 1, got {jax.typeof(array)}"
        )


def _check_arguments(queries: Array, keys: Array, values: Array, bias: Array | None, mask: Array | None) -> None:
    """Check what `dot_product_attention` gets."""
    where = "dot_product_attention"
    checks.require_floating(where, queries=queries, keys=keys, values=values)
    got = ", ".join(
        f"{name} {jax.typeof(x)}" for name, x in {"queries": queries, "keys": keys, "values": values}.items()
    )
    if min(queries.ndim, keys.ndim, values.ndim) < 2:
        raise ValueError(f"{where}: expected arrays [*batch, time, features], got {got}")
    if (
        queries.shape[:-2] != keys.shape[:-2]
        or queries.shape[-1] != keys.shape[-1]
        or keys.shape[:-1] != values.shape[:-1]
    ):
        raise ValueError(
            f"{where}: expected queries [*batch, time, features], keys [*batch, context_time, features] and values "
            f"[*batch, context_time, value_features], got {got}"
        )
    shape = (*queries.shape[:-1], keys.shape[-2])
    if bias is not None:
        checks.require_floating(where, bias=bias)
        _check_shape(where, "bias", bias, shape)
    if mask is not None:
        if mask.dtype != jnp.bool_:
            raise TypeError(
                f"{where}: expected a boolean mask, true where a position may attend, got {jax.typeof(mask)}"
            )
        _check_shape(where, "mask", mask, shape)
