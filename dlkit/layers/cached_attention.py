"""Attention to the steps before, of sequences that come a piece at a time: their keys and values are kept."""

import math
from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Bool, Float, Integer

from dlkit.layers.attention_heads import WHERE, Heads, attend, check_inputs, linear, project, project_together
from dlkit.layers.base import About, InitFunction, Layer
from dlkit.layers.lengths import within_lengths
from dlkit.layers.steps import Piece, Steps, beyond, piece_of, start, takes_offset
from dlkit.typing import Array, Key, Params, Shape, State

__all__ = ["cached_attention"]


def cached_attention(heads: Heads, init: InitFunction, steps: Steps) -> Layer:
    """Attention whose state holds keys and values: of the steps before, or of the context.

    Args:
        heads: the attention.
        init: makes its parameters.
        steps: how many sequences, and how long.

    Returns:
        A layer with the same parameters.

    Raises:
        ValueError: self-attention is not causal; its rotation takes no offset; or nobody says how long the context is.

    Example:
        >>> import jax
        >>> from dlkit.layers import multi_head_attention
        >>> layer = multi_head_attention(2, causal=True).about.stepwise(Steps((3,), 8, None, jnp.float32))
        >>> _, state = layer.init(jax.random.key(0), (1, 4))
        >>> {name: array.shape for name, array in state.items()}
        {'keys': (3, 2, 8, 2), 'values': (3, 2, 8, 2), 'index': (3,)}
    """
    if heads.is_cross:
        return _of_context(heads, init, steps)
    if not heads.is_causal:
        raise ValueError(
            f"{WHERE}: expected causal attention, got one whose positions may attend to later ones, which are not "
            "there yet; pass causal=True"
        )
    if heads.rotation is not None and not takes_offset(heads.rotation):
        raise ValueError(
            f"{WHERE}: expected a rotation that takes offset=, the positions `[*batch, 1]` of the first vectors, as "
            f"layers.rotary does, got {heads.rotation!r}"
        )
    return _of_steps(heads, init, steps)


def _of_steps(heads: Heads, init: InitFunction, steps: Steps) -> Layer:
    """Causal self-attention."""

    def begin(key: Key, input_shape: Shape, **side_shapes: object) -> tuple[Params, State]:
        del side_shapes
        params, _ = init(key, input_shape)
        return params, {**_nothing(params, heads, steps, steps.max_length), "index": start(steps)}

    def apply(
        params: Params,
        state: State,
        x: Float[Array, "*batch time in_features"],
        *,
        key: Key | None = None,
        train: bool = False,
        mask: Bool[Array, "..."] | None = None,
        bias: Float[Array, "..."] | None = None,
        lengths: Integer[Array, "*batch"] | None = None,
    ) -> tuple[Float[Array, "*batch time out_features"], State]:
        check_inputs(params, x, None, cross=False, mask=mask)
        piece = piece_of(WHERE, state["index"], x.shape[:-1], lengths, steps.max_length)
        x = x if piece.within is None else jnp.where(jnp.expand_dims(piece.within, -1), x, 0)
        maps = [params[name] for name in ("query", "key", "value")]
        queries, keys, values = project_together(maps, x, [heads.heads, heads.kv_heads, heads.kv_heads])
        if heads.rotation is not None:
            rotation: Callable[..., Array] = heads.rotation
            offset = jnp.expand_dims(state["index"], -1)
            queries, keys = rotation(queries, offset=offset), rotation(keys, offset=offset)
        cache = {name: _written(state[name], new, piece) for name, new in (("keys", keys), ("values", values))}
        shape = (*x.shape[:-1], steps.max_length)
        places = jnp.arange(steps.max_length).reshape((1,) * (x.ndim - 1) + (-1,))
        distances = places - jnp.expand_dims(piece.positions, -1)
        averages = attend(
            queries,
            cache["keys"].astype(keys.dtype),
            cache["values"].astype(values.dtype),
            bias=heads.bias(params, shape, bias, distances),
            mask=heads.allowed(shape, causal=distances <= 0, mask=mask),
            dropout=heads.dropout if train else 0.0,
            key=key,
        )
        y = linear(params["output"], averages)
        return beyond(y, piece, steps.max_length), {**cache, "index": piece.after}

    return Layer(begin, apply, about=About(inputs=frozenset({"mask", "bias", "lengths"})))


def _of_context(heads: Heads, init: InitFunction, steps: Steps) -> Layer:
    """Cross-attention: the context is given once, with the first piece."""
    if steps.context_length is None:
        raise ValueError(
            f"{WHERE}: expected the length of the context that cross-attention keeps; pass "
            "stepwise(..., context_length=...)"
        )
    longest = steps.context_length

    def begin(key: Key, input_shape: Shape, **side_shapes: object) -> tuple[Params, State]:
        del side_shapes
        params, _ = init(key, input_shape)
        return params, {**_nothing(params, heads, steps, longest), "lengths": start(steps), "index": start(steps)}

    def kept(params: Params, x: Array, context: Array, lengths: Array | None, state: State) -> State:
        check_inputs(params, x, context, cross=True, mask=None)
        time = context.shape[-2]
        if time > longest:
            raise ValueError(f"{WHERE}: expected a context of at most {longest} positions, got {time}")
        if lengths is None:
            lengths = jnp.full(context.shape[:-2], time, jnp.int32)
        within = within_lengths(WHERE, lengths, context.shape[:-1])
        context = jnp.where(jnp.expand_dims(within, -1), context, 0)
        pad = [(0, 0)] * (context.ndim - 2) + [(0, longest - time), (0, 0)]
        found = {
            name: jnp.pad(project(params[part], context, heads.kv_heads), [(0, 0), *pad]).astype(state[name].dtype)
            for name, part in (("keys", "key"), ("values", "value"))
        }
        return {**found, "lengths": lengths.astype(jnp.int32), "index": state["index"]}

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
        check_inputs(params, x, context, cross=context is not None, mask=mask)
        piece = piece_of(WHERE, state["index"], x.shape[:-1], None, steps.max_length)
        if context is not None:
            state = kept(params, x, context, lengths, state)
        queries = project(params["query"], x, heads.heads)
        shape = (*x.shape[:-1], longest)
        places = jnp.arange(longest).reshape((1,) * (x.ndim - 1) + (-1,))
        within = places < state["lengths"].reshape(*state["lengths"].shape, 1, 1)
        averages = attend(
            queries,
            state["keys"].astype(queries.dtype),
            state["values"].astype(queries.dtype),
            bias=heads.bias(params, shape, bias, places - jnp.expand_dims(piece.positions, -1)),
            mask=heads.allowed(shape, mask=mask, within=within),
            dropout=heads.dropout if train else 0.0,
            key=key,
        )
        return linear(params["output"], averages), {**state, "index": piece.after}

    return Layer(begin, apply, about=About(inputs=frozenset({"context", "mask", "bias", "lengths"})))


def _nothing(params: Params, heads: Heads, steps: Steps, length: int) -> dict[str, Array]:
    """Keys and values of no step yet."""
    features = params["key"]["kernel"].shape[-1] // heads.kv_heads
    shape = (*steps.batch_shape, heads.kv_heads, length, features)
    return {name: jnp.zeros(shape, steps.dtype) for name in ("keys", "values")}


def _written(cache: Array, new: Array, piece: Piece) -> Array:
    """Keys or values with those of a piece at its positions; what is beyond the end is dropped."""
    *batch, heads, longest, features = cache.shape
    rows = math.prod(batch)
    flat = cache.reshape(rows, heads, longest, features)
    pieces = jnp.swapaxes(new, -2, -3).reshape(rows, new.shape[-2], heads, features)
    positions = piece.positions.reshape(rows, -1)
    places = jnp.arange(rows).reshape(-1, 1)
    return flat.at[places, :, positions].set(pieces.astype(cache.dtype), mode="drop").reshape(cache.shape)
