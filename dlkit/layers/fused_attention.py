"""Attention by JAX's kernels for accelerators."""

import math
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from dlkit import checks
from dlkit.layers.attention import check_arguments, dot_product_attention
from dlkit.typing import Array, DTypeLike, Key, Scalar

__all__ = ["fused_attention"]

WHERE = "fused_attention"
KERNELS = (None, "xla", "cudnn")


def fused_attention(
    queries: Float[Array, "*batch time features"],
    keys: Float[Array, "*batch context_time features"],
    values: Float[Array, "*batch context_time value_features"],
    *,
    bias: Float[Array, "..."] | None = None,
    mask: Bool[Array, "..."] | None = None,
    dropout: Scalar = 0.0,
    key: Key | None = None,
    implementation: Literal["xla", "cudnn"] | None = None,
) -> Float[Array, "*batch time value_features"]:
    """Scaled dot-product attention by JAX's own kernels: softmax(Q K^T / sqrt(features) + bias) V.

    This is `jax.nn.dot_product_attention`. On NVIDIA GPUs the kernel of cuDNN never stores the weights,
    `[*batch, time, context_time]`. Layers take it as `multi_head_attention(heads, attention=layers.fused_attention)`,
    and so do blocks. What the kernels cannot do, dropout and values of other features than the keys',
    `layers.dot_product_attention` does instead.

    Args:
        queries: what each position looks for. Heads stand among the batch axes.
        keys: what each position of the context is found by.
        values: what it gives.
        bias: added to the logits: `[*batch, time, context_time]`, where any axis may be of size 1; finite.
        mask: true where a query may attend to a key, in such a shape. None allows everything.
        dropout: probability of dropping a weight (the others are scaled up), in [0, 1); may be traced.
        key: PRNG key, needed unless dropout is the Python number 0.
        implementation: the kernel. None takes cuDNN's for 16-bit numbers where a CUDA GPU is JAX's default backend and
            the features are a multiple of 8 up to 128; else XLA's.

    Returns:
        One vector per query. A position that may attend to nothing gives 0, with gradient 0.

    Raises:
        ValueError: the shapes do not belong together; dropout is a Python number out of range; there is no key where
            one is needed; or the implementation is unknown.
        TypeError: the mask is not boolean, or another argument is not floating point.
        RuntimeError: cuDNN was asked for, and is not there.

    Reference:
        Dao et al., "FlashAttention: fast and memory-efficient exact attention with IO-awareness", 2022,
        https://arxiv.org/abs/2205.14135.

    Example:
        >>> x = jnp.array([[1e4, 0.0], [0.0, 1e4]])
        >>> fused_attention(x, x, jnp.array([[1.0, 0.0], [2.0, 0.0]]))
        Array([[1., 0.],
               [2., 0.]], dtype=float32)
    """
    check_arguments(WHERE, queries, keys, values, bias, mask)
    checks.require_number(WHERE, "dropout", dropout, at_least=0, below=1)
    if implementation not in KERNELS:
        raise ValueError(f"{WHERE}: expected an implementation of {KERNELS}, got {implementation!r}")
    dtype = jnp.result_type(queries, keys, values)
    is_even = keys.shape[-1] == values.shape[-1]
    if not checks.known_zero(dropout) or not is_even or 0 in (*queries.shape, *keys.shape):
        return dot_product_attention(queries, keys, values, bias=bias, mask=mask, dropout=dropout, key=key)
    *batch, heads = queries.shape[:-2] or (1,)
    rows = math.prod(batch)

    def heads_inside(x: Array) -> Array:
        """[*batch, heads, time, features] -> [rows, time, heads, features]."""
        return jnp.swapaxes(x.astype(dtype).reshape(rows, heads, *x.shape[-2:]), 1, 2)

    def whole(x: Array | None) -> Array | None:
        """A mask or a bias with one axis for the batch."""
        if x is None:
            return None
        wide = x.reshape(*(x.shape[:-2] or (1,)), *x.shape[-2:])
        if wide.shape[:-3] != (1,) * len(batch):
            wide = jnp.broadcast_to(wide, (*batch, *wide.shape[-3:]))
        return wide.reshape(math.prod(wide.shape[:-3]), *wide.shape[-3:])

    y: Array = jax.nn.dot_product_attention(
        heads_inside(queries),
        heads_inside(keys),
        heads_inside(values),
        whole(bias if bias is None else bias.astype(dtype)),
        whole(mask),
        implementation=implementation or _best(dtype, keys.shape[-1]),
    )
    y = jnp.swapaxes(y, 1, 2).reshape(*queries.shape[:-1], values.shape[-1])
    return y if mask is None else jnp.where(jnp.any(mask, axis=-1, keepdims=True), y, 0)


def _best(dtype: DTypeLike, features: int) -> Literal["xla", "cudnn"]:
    """The kernel for arrays of a type, on the backend that is JAX's default."""
    fits = dtype in (jnp.bfloat16, jnp.float16) and features % 8 == 0 and features <= 128
    return "cudnn" if fits and is_cuda() else "xla"


def is_cuda() -> bool:
    """Returns whether JAX's default backend is a GPU of NVIDIA's: AMD's are called `gpu`, too.

    Example:
        >>> is_cuda() and jax.default_backend() != "gpu"
        False
    """
    return jax.default_backend() == "gpu" and "cuda" in jax.devices()[0].client.platform_version.lower()
