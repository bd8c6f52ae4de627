"""Attention: every position takes a weighted average over the positions it may attend to."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Integer

from dlkit import checks
from dlkit.layers.base import About, Layer, described
from dlkit.layers.products import affine, matmul
from dlkit.layers.ragged import within_lengths
from dlkit.typing import Array, ArrayFunction, Initializer, Key, Params, Scalar, Shape, State

__all__ = ["dot_product_attention", "multi_head_attention"]

_lecun_normal: Initializer = jax.nn.initializers.lecun_normal()


def dot_product_attention(
    queries: Float[Array, "*batch time features"],
    keys: Float[Array, "*batch context_time features"],
    values: Float[Array, "*batch context_time value_features"],
    *,
    mask: Bool[Array, "..."] | None = None,
    dropout: Scalar = 0.0,
    key: Key | None = None,
) -> Float[Array, "*batch time value_features"]:
    """Scaled dot-product attention: softmax(Q K^T / sqrt(features)) V.

    The softmax is computed in at least float32. A position that may attend to nothing gives 0, with gradient 0. The
    logits Q K^T have to be finite: in float32, queries and keys up to about 1e18.

    Args:
        queries: what each position looks for. Heads stand among the batch axes.
        keys: what each position of the context is found by.
        values: what it gives.
        mask: true where a query may attend to a key: `[*batch, time, context_time]`, where any axis may be of size 1.
            None allows everything.
        dropout: probability of dropping a weight (the others are scaled up), in [0, 1); may be traced.
        key: PRNG key, needed unless dropout is the Python number 0.

    Returns:
        One vector per query, in the dtype that the arguments promote to.

    Raises:
        ValueError: the shapes do not belong together; dropout is a Python number out of range; or there is no key where
            one is needed.
        TypeError: the mask is not boolean, or another argument is not floating point.

    Reference:
        Vaswani et al., "Attention is all you need", 2017, https://arxiv.org/abs/1706.03762, equation 1.

    Example:
        >>> x = jnp.array([[1e4, 0.0], [0.0, 1e4]])
        >>> dot_product_attention(x, x, jnp.array([[1.0], [2.0]]))
        Array([[1.],
               [2.]], dtype=float32)
    """
    where = "dot_product_attention"
    _check_arguments(queries, keys, values, mask)
    checks.require_number(where, "dropout", dropout, at_least=0, below=1)
    compute_dtype = jnp.promote_types(jnp.result_type(queries, keys), jnp.float32)
    dtype = jnp.result_type(queries, keys, values)
    # Q K^T / sqrt(features). The queries are divided, not the products: fused with the softmax's subtraction of the
    # maximum, a product would not be rounded as the maximum was, and logits of 1e9 would exceed it by more than exp
    # can bear.
    scaled = queries / math.sqrt(queries.shape[-1])
    logits = matmul(scaled, jnp.swapaxes(keys, -1, -2), dtype=compute_dtype)
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


@described
def multi_head_attention(
    heads: int,
    *,
    features: int | None = None,
    head_features: int | None = None,
    context_features: int | None = None,
    causal: bool = False,
    rotation: ArrayFunction | None = None,
    dropout: Scalar = 0.0,
    use_bias: bool = True,
    kernel_init: Initializer = _lecun_normal,
    bias_init: Initializer = jax.nn.initializers.zeros,
) -> Layer:
    """Multi-head attention: concat_h(softmax(Q_h K_h^T / sqrt(head_features)) V_h) W_o + b_o.

    Q = x W_q + b_q comes from the inputs, K = c W_k + b_k and V = c W_v + b_v from the context c: the inputs again
    (self-attention), or what `apply` gets as `context` (cross-attention). `apply(params, state, x, *, key=None,
    train=False, context=None, mask=None, lengths=None)` takes beside the usual arguments:

    - context: `[*batch, context_time, context_features]`.
    - mask: boolean, `[*batch, time, context_time]`, where any axis may be of size 1; true where a position may attend.
      Padding marked by `valid`, `[batch, context_time]`, is `mask=valid[:, None, :]`.
    - lengths: how many positions of each context count, `[*batch]`; the rest is padding. What it holds matters to
      nothing, even NaN: it enters as 0. In self-attention, outputs past the length mean nothing.

    Both must allow it. A position that may attend to nothing takes the average 0, so its output is b_o.

    Parameters: `{"query", "key", "value", "output"}`, each `{"kernel": [in, out], "bias": [out]}`, made in float32.
    Column h * head_features + i of the first three, and that row of the output kernel, belong to head h: reshaped to
    `[in, heads, head_features]` they are those of flax, transposed those of PyTorch.

    Args:
        heads: number of heads.
        features: size of the output's last axis; None takes that of the inputs.
        head_features: size of a head's queries, keys and values; None takes features / heads.
        context_features: size of the last axis of the context, for cross-attention; None makes self-attention.
        causal: whether a position may attend to itself and earlier ones only.
        rotation: applied to queries and keys `[*batch, heads, time, head_features]`, e.g. `layers.rotary`.
        dropout: probability of dropping an attention weight while training; may be traced.
        use_bias: whether the four maps have a bias.
        kernel_init: `(key, shape, dtype) -> array` for the kernels; LeCun normal, variance 1 / in.
        bias_init: the same for the biases; zeros.

    Returns:
        A layer for inputs `[*batch, time, in_features]`; outputs `[*batch, time, features]` in the dtype that inputs,
        context and parameters promote to.

    Raises:
        ValueError: a size is no positive integer; heads does not divide features; dropout is a Python number out of
            range; causal is combined with context_features; the shapes of inputs, context, mask and lengths do not
            belong together; a context is missing in cross-attention or given to self-attention; or there is no key
            where dropout needs one.
        TypeError: inputs or context are not floating point, the mask not boolean, or the lengths not integers.

    Reference:
        Vaswani et al., "Attention is all you need", 2017, https://arxiv.org/abs/1706.03762, section 3.2.

    Example:
        >>> layer = multi_head_attention(2, causal=True)
        >>> params, state = layer.init(jax.random.key(0), (5, 8))
        >>> y, state = layer.apply(params, state, jnp.ones((3, 5, 8)))
        >>> y.shape
        (3, 5, 8)
    """
    where = "multi_head_attention"
    sizes = {"features": features, "head_features": head_features, "context_features": context_features}
    checks.require_size(where, heads=heads, **{name: size for name, size in sizes.items() if size is not None})
    checks.require_number(where, "dropout", dropout, at_least=0, below=1)
    if causal and context_features is not None:
        raise ValueError(f"{where}: expected causal or context_features, got both; give cross-attention a mask")

    def init(key: Key, input_shape: Shape) -> tuple[Params, State]:
        shapes = _kernel_shapes(input_shape, heads, features, head_features, context_features)
        return {
            name: _init_linear(jax.random.fold_in(key, place), shape, kernel_init, bias_init if use_bias else None)
            for place, (name, shape) in enumerate(shapes.items())
        }, {}

    def apply(
        params: Params,
        state: State,
        x: Float[Array, "*batch time in_features"],
        *,
        key: Key | None = None,
        train: bool = False,
        context: Float[Array, "*batch context_time around"] | None = None,
        mask: Bool[Array, "..."] | None = None,
        lengths: Integer[Array, "*batch"] | None = None,
    ) -> tuple[Float[Array, "*batch time out_features"], State]:
        _check_inputs(params, x, context, cross=context_features is not None)
        if train and not checks.known_zero(dropout):
            checks.require_key(where, key)
        around = x if context is None else context
        within = None if lengths is None else within_lengths(where, lengths, around.shape[:-1])
        if within is not None:
            # A weight of 0 alone would not stop a NaN: 0 * NaN is NaN.
            around = jnp.where(jnp.expand_dims(within, -1), around, 0)
            x = around if context is None else x
        allowed = _allowed((*x.shape[:-1], around.shape[-2]), mask, within, causal=causal)
        queries, keys, values = _queries_keys_values(params, x, around, heads)
        if rotation is not None:
            queries, keys = rotation(queries), rotation(keys)
        rate = dropout if train else 0.0
        averages = dot_product_attention(queries, keys, values, mask=allowed, dropout=rate, key=key)
        return _linear(params["output"], _merge_heads(averages)), state

    # Self-attention takes no context: in a model it stands beside layers that do.
    taken = {"mask", "lengths"} if context_features is None else {"context", "mask", "lengths"}
    return Layer(init, apply, about=About(inputs=frozenset(taken)))


def _kernel_shapes(
    input_shape: Shape, heads: int, features: int | None, head_features: int | None, context_features: int | None
) -> dict[str, Shape]:
    """The shapes of the kernels by name, in the order of their subkeys."""
    where = "multi_head_attention"
    if len(input_shape) != 2 or min(input_shape) < 1:
        raise ValueError(f"{where}: expected an example shape (time, features), got {tuple(input_shape)}")
    in_features = input_shape[1]
    out_features = features or in_features
    if head_features is None and out_features % heads:
        raise ValueError(
            f"{where}: expected features that {heads} heads divide, got {out_features}; pass head_features=..."
        )
    inner = heads * (head_features or out_features // heads)
    around = (context_features or in_features, inner)
    return {"query": (in_features, inner), "key": around, "value": around, "output": (inner, out_features)}


def _init_linear(key: Key, shape: Shape, kernel_init: Initializer, bias_init: Initializer | None) -> Params:
    """Make a kernel and, unless bias_init is None, a bias."""
    key_kernel, key_bias = jax.random.fold_in(key, 0), jax.random.fold_in(key, 1)
    params = {"kernel": kernel_init(key_kernel, shape, jnp.float32)}
    if bias_init is not None:
        params["bias"] = bias_init(key_bias, shape[1:], jnp.float32)
    return params


def _queries_keys_values(params: Params, x: Array, around: Array, heads: int) -> list[Array]:
    """X W_q + b_q, c W_k + b_k and c W_v + b_v, the heads apart: [*batch, heads, time, head_features] each."""
    queries, keys, values = maps = [params[name] for name in ("query", "key", "value")]
    if x is not around:
        pairs = ((queries, x), (keys, around), (values, around))
        return [_split_heads(_linear(own, inputs), heads) for own, inputs in pairs]
    # Of the same inputs: one product, and one of each gradient.
    joined = {name: jnp.concatenate([own[name] for own in maps], axis=-1) for name in queries}
    return [_split_heads(each, heads) for each in jnp.split(_linear(joined, x), 3, axis=-1)]


def _linear(params: Params, x: Array) -> Array:
    """Map the last axis: x W + b."""
    return affine(x, params["kernel"], params.get("bias"))


def _split_heads(x: Array, heads: int) -> Array:
    """[*batch, time, heads * head_features] -> [*batch, heads, time, head_features]."""
    return jnp.swapaxes(x.reshape(*x.shape[:-1], heads, x.shape[-1] // heads), -2, -3)


def _merge_heads(x: Array) -> Array:
    """[*batch, heads, time, head_features] -> [*batch, time, heads * head_features]."""
    x = jnp.swapaxes(x, -2, -3)
    return x.reshape(*x.shape[:-2], x.shape[-2] * x.shape[-1])


def _allowed(shape: Shape, mask: Array | None, within: Array | None, *, causal: bool) -> Array | None:
    """Where a position may attend: `shape` with one more axis for the heads, or 1s; None for everywhere."""
    time, context_time = shape[-2:]
    allowed = []
    if causal:
        allowed.append(jnp.tri(time, context_time, dtype=bool).reshape((1,) * (len(shape) - 2) + shape[-2:]))
    if mask is not None:
        _check_mask("multi_head_attention", mask, shape)
        allowed.append(mask)
    if within is not None:
        allowed.append(jnp.expand_dims(within, -2))
    return jnp.expand_dims(functools.reduce(jnp.logical_and, allowed), -3) if allowed else None


def _check_mask(where: str, mask: Array, shape: Shape) -> None:
    """Refuse a mask that is not boolean or not of the shape."""
    if mask.dtype != jnp.bool_:
        raise TypeError(f"{where}: expected a boolean mask, true where a position may attend, got {jax.typeof(mask)}")
    if len(shape) != mask.ndim or any(size not in (1, whole) for size, whole in zip(mask.shape, shape, strict=True)):
        raise ValueError(
            f"{where}: expected a mask {list(shape)}, any of its axes may be of size 1, got {jax.typeof(mask)}"
        )


def _check_inputs(params: Params, x: Array, context: Array | None, *, cross: bool) -> None:
    """Check inputs and context against the parameters and each other."""
    where = "multi_head_attention"
    checks.require_floating(where, inputs=x)
    in_features, around = params["query"]["kernel"].shape[0], params["key"]["kernel"].shape[0]
    if x.ndim < 2 or x.shape[-1] != in_features:
        raise ValueError(f"{where}: expected inputs [*batch, time, {in_features}], got {jax.typeof(x)}")
    if not cross:
        if context is not None:
            raise ValueError(
                f"{where}: expected no context in self-attention, got {jax.typeof(context)}; "
                "make the layer with context_features=..."
            )
        return
    if context is None:
        raise ValueError(f"{where}: expected a context [*batch, context_time, {around}], got None; pass context=...")
    checks.require_floating(where, context=context)
    if context.ndim != x.ndim or context.shape[:-2] != x.shape[:-2] or context.shape[-1] != around:
        batch = "".join(f"{size}, " for size in x.shape[:-2])
        raise ValueError(f"{where}: expected a context [{batch}context_time, {around}], got {jax.typeof(context)}")


def _check_arguments(queries: Array, keys: Array, values: Array, mask: Array | None) -> None:
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
    if mask is not None:
        _check_mask(where, mask, (*queries.shape[:-1], keys.shape[-2]))
