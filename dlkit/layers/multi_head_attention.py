"""Multi-head attention, of a whole sequence and of one that comes a piece at a time."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Integer

from dlkit import checks
from dlkit.layers.attention_heads import WHERE, Heads, attend, check_inputs, linear, project, project_together
from dlkit.layers.base import About, Layer, Part, as_layer, described
from dlkit.layers.cached_attention import cached_attention
from dlkit.layers.lengths import within_lengths
from dlkit.typing import Array, ArrayFunction, Initializer, Key, Params, Scalar, Shape, State

__all__ = ["multi_head_attention"]

_lecun_normal: Initializer = jax.nn.initializers.lecun_normal()


@described
def multi_head_attention(
    heads: int,
    *,
    features: int | None = None,
    head_features: int | None = None,
    kv_heads: int | None = None,
    context_features: int | None = None,
    causal: bool = False,
    position_bias: Layer | ArrayFunction | None = None,
    rotation: ArrayFunction | None = None,
    dropout: Scalar = 0.0,
    use_bias: bool = True,
    kernel_init: Initializer = _lecun_normal,
    bias_init: Initializer = jax.nn.initializers.zeros,
) -> Layer:
    """Multi-head attention: concat_h(softmax(Q_h K_h^T / sqrt(head_features) + B_h) V_h) W_o + b_o.

    Q = x W_q + b_q comes from the inputs, K = c W_k + b_k and V = c W_v + b_v from the context c: the inputs again
    (self-attention), or what `apply` gets as `context` (cross-attention). `apply(params, state, x, *, key=None,
    train=False, context=None, mask=None, bias=None, lengths=None)` takes beside the usual arguments:

    - context: `[*batch, context_time, context_features]`.
    - mask: boolean, `[*batch, time, context_time]`, where any axis may be of size 1; true where a position may attend.
      Padding marked by `valid`, `[batch, context_time]`, is `mask=valid[:, None, :]`. With one axis more,
      `[*batch, heads, time, context_time]`, each head has its own.
    - bias: what is added to the logits, in one of these shapes; finite. `position_bias` adds to it.
    - lengths: how many positions of each context count, `[*batch]`; the rest is padding. What it holds matters to
      nothing, even NaN: it enters as 0. In self-attention, outputs past the length mean nothing.

    Mask and lengths must both allow it. A position that may attend to nothing takes the average 0: its output is b_o.

    With `kv_heads` there are fewer heads of keys and values, each for a group of queries (grouped-query attention; one
    is multi-query attention): head h attends to keys and values h // (heads / kv_heads).

    Parameters: `{"query", "key", "value", "output"}`, each `{"kernel": [in, out], "bias": [out]}`, made in float32, and
    those of the `position_bias`. Column h * head_features + i of the first three, and that row of the output kernel,
    belong to head h: reshaped to `[in, heads, head_features]` they are those of flax, transposed those of PyTorch.

    In `stepwise` the state holds the keys and values of the steps before; self-attention has to be causal for it, and
    cross-attention keeps those of the context, which is given once.

    Args:
        heads: number of heads.
        features: size of the output's last axis; None takes that of the inputs.
        head_features: size of a head's queries, keys and values; None takes features / heads.
        kv_heads: number of heads of keys and values, which divides heads; None takes heads.
        context_features: size of the last axis of the context, for cross-attention; None makes self-attention.
        causal: whether a position may attend to itself and earlier ones only.
        position_bias: a layer, or function, that makes biases `[*batch, heads, time, context_time]` of the distances of
            keys from queries `[*batch, time, context_time]`: `layers.alibi(heads)`, `layers.relative_positions(heads)`.
        rotation: applied to queries and keys `[*batch, heads, time, head_features]`, e.g. `layers.rotary`.
        dropout: probability of dropping an attention weight while training; may be traced.
        use_bias: whether the four maps have a bias.
        kernel_init: `(key, shape, dtype) -> array` for the kernels; LeCun normal, variance 1 / in.
        bias_init: the same for the biases; zeros.

    Returns:
        A layer for inputs `[*batch, time, in_features]`; outputs `[*batch, time, features]` in the dtype that inputs,
        context and parameters promote to.

    Raises:
        ValueError: a size is no positive integer; heads does not divide features, or kv_heads heads; dropout is a
            Python number out of range; causal is combined with context_features; the shapes of inputs, context, mask,
            bias and lengths do not belong together; a context is missing in cross-attention or given to self-attention;
            or there is no key where dropout needs one.
        TypeError: inputs or context are not floating point, the mask not boolean, or the lengths not integers.

    Reference:
        Vaswani et al., "Attention is all you need", 2017, https://arxiv.org/abs/1706.03762, section 3.2;
        Ainslie et al., "GQA: training generalized multi-query transformer models from multi-head checkpoints", 2023,
        https://arxiv.org/abs/2305.13245.

    Example:
        >>> layer = multi_head_attention(2, causal=True)
        >>> params, state = layer.init(jax.random.key(0), (5, 8))
        >>> y, state = layer.apply(params, state, jnp.ones((3, 5, 8)))
        >>> y.shape
        (3, 5, 8)
    """
    counts = {"features": features, "head_features": head_features, "kv_heads": kv_heads}
    sizes = {**counts, "context_features": context_features}
    checks.require_size(WHERE, heads=heads, **{name: size for name, size in sizes.items() if size is not None})
    checks.require_number(WHERE, "dropout", dropout, at_least=0, below=1)
    if causal and context_features is not None:
        raise ValueError(f"{WHERE}: expected causal or context_features, got both; give cross-attention a mask")
    if kv_heads is not None and heads % kv_heads:
        raise ValueError(f"{WHERE}: expected kv_heads that divide {heads} heads, got {kv_heads}")
    widths = _Widths(heads, kv_heads or heads, features, head_features, context_features)
    own = _Initializers(kernel_init, bias_init if use_bias else None)
    biased = None if position_bias is None else as_layer(position_bias)
    return _attention(
        Heads(heads, kv_heads or heads, causal, context_features is not None, rotation, biased, dropout), widths, own
    )


class _Widths(NamedTuple):
    """Sizes; None where those of the inputs decide."""

    heads: int
    kv_heads: int
    features: int | None
    head_features: int | None
    context_features: int | None


class _Initializers(NamedTuple):
    kernel: Initializer
    bias: Initializer | None


def _attention(heads: Heads, widths: _Widths, initializers: _Initializers) -> Layer:
    """The layer."""

    def init(key: Key, input_shape: Shape, **side_shapes: Shape | jax.ShapeDtypeStruct) -> tuple[Params, State]:
        del side_shapes
        shapes = _kernel_shapes(input_shape, widths)
        params = {
            name: _init_linear(jax.random.fold_in(key, place), shape, initializers)
            for place, (name, shape) in enumerate(shapes.items())
        }
        if heads.position_bias is not None:
            made, _ = heads.position_bias.init(jax.random.fold_in(key, len(shapes)), (input_shape[0],) * 2)
            params |= {"position_bias": made} if jax.tree.leaves(made) else {}
        return params, {}

    def apply(
        params: Params,
        state: State,
        x: Float[Array, "*batch time in_features"],
        *,
        key: Key | None = None,
        train: bool = False,
        context: Float[Array, "*batch context_time around"] | None = None,
        mask: Bool[Array, "..."] | None = None,
        bias: Float[Array, "..."] | None = None,
        lengths: Integer[Array, "*batch"] | None = None,
    ) -> tuple[Float[Array, "*batch time out_features"], State]:
        check_inputs(params, x, context, cross=heads.is_cross, mask=mask)
        if train and not checks.known_zero(heads.dropout):
            checks.require_key(WHERE, key)
        around = x if context is None else context
        within = None if lengths is None else within_lengths(WHERE, lengths, around.shape[:-1])
        if within is not None:
            # A weight of 0 alone would not stop a NaN: 0 * NaN is NaN.
            around = jnp.where(jnp.expand_dims(within, -1), around, 0)
            x = around if context is None else x
        conditions = {"mask": mask, "within": None if within is None else jnp.expand_dims(within, -2)}
        rate = heads.dropout if train else 0.0
        averages = _averages(heads, params, x, around, bias, conditions, rate, key)
        return linear(params["output"], averages), state

    # Self-attention takes no context: in a model it stands beside layers that do.
    taken = {"mask", "bias", "lengths"} | ({"context"} if heads.is_cross else set())
    about = About(inputs=frozenset(taken), stepwise=lambda steps: cached_attention(heads, init, steps))
    if heads.position_bias is not None:
        about = about._replace(
            parts=(Part("position_bias", heads.position_bias),),
            rebuild=lambda layers: _attention(heads._replace(position_bias=layers[0]), widths, initializers),
        )
    return Layer(init, apply, about=about)


def _averages(
    heads: Heads,
    params: Params,
    x: Array,
    around: Array,
    bias: Array | None,
    conditions: dict[str, Array | None],
    dropout: Scalar,
    key: Key | None,
) -> Array:
    """What each position takes of the others, all heads side by side."""
    queries, keys, values = _queries_keys_values(params, x, around, heads)
    if heads.rotation is not None:
        queries, keys = heads.rotation(queries), heads.rotation(keys)
    shape = (*x.shape[:-1], around.shape[-2])
    distances = jnp.arange(shape[-1])[None, :] - jnp.arange(shape[-2])[:, None]
    distances = distances.reshape((1,) * (x.ndim - 2) + distances.shape)
    if heads.is_causal:
        conditions = {"causal": distances <= 0, **conditions}
    return attend(
        queries,
        keys,
        values,
        bias=heads.bias(params, shape, bias, distances),
        mask=heads.allowed(shape, **conditions),
        dropout=dropout,
        key=key,
    )


def _kernel_shapes(input_shape: Shape, widths: _Widths) -> dict[str, Shape]:
    """The shapes of the kernels by name, in the order of their subkeys."""
    if len(input_shape) != 2 or min(input_shape) < 1:
        raise ValueError(f"{WHERE}: expected an example shape (time, features), got {tuple(input_shape)}")
    in_features = input_shape[1]
    out_features = widths.features or in_features
    if widths.head_features is None and out_features % widths.heads:
        raise ValueError(
            f"{WHERE}: expected features that {widths.heads} heads divide, got {out_features}; pass head_features=..."
        )
    head_features = widths.head_features or out_features // widths.heads
    inner, around = widths.heads * head_features, widths.context_features or in_features
    narrow = (around, widths.kv_heads * head_features)
    return {"query": (in_features, inner), "key": narrow, "value": narrow, "output": (inner, out_features)}


def _init_linear(key: Key, shape: Shape, initializers: _Initializers) -> Params:
    """Make a kernel and, unless there is no initializer for it, a bias."""
    key_kernel, key_bias = jax.random.fold_in(key, 0), jax.random.fold_in(key, 1)
    params = {"kernel": initializers.kernel(key_kernel, shape, jnp.float32)}
    if initializers.bias is not None:
        params["bias"] = initializers.bias(key_bias, shape[1:], jnp.float32)
    return params


def _queries_keys_values(params: Params, x: Array, around: Array, heads: Heads) -> list[Array]:
    """X W_q + b_q, c W_k + b_k and c W_v + b_v, the heads apart: [*batch, heads, time, head_features] each."""
    counts = [heads.heads, heads.kv_heads, heads.kv_heads]
    maps = [params[name] for name in ("query", "key", "value")]
    if x is around:
        return project_together(maps, x, counts)
    return [project(own, inputs, count) for own, inputs, count in zip(maps, (x, around, around), counts, strict=True)]
