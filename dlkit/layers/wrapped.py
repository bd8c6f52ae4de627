"""Layers that call one other layer in another way: recomputed in the gradient, with side inputs of other names."""

from collections.abc import Callable
from typing import Any

import jax

from dlkit.layers.base import About, Layer, Part, as_layer, described
from dlkit.layers.calls import Call, Ran, Shapes, apply_inside, around, composite, init_inside
from dlkit.typing import Array, ArrayFunction, Key, Params, Shape, State

__all__ = ["remat", "renamed"]


@described
def remat(layer: Layer | ArrayFunction, *, policy: Callable[..., Any] | None = None) -> Layer:
    """Recompute what is inside a layer for its gradient, instead of keeping it: less memory, more time.

    Values, gradients, parameters and state are those of the layer. `repeat(remat(block), depth)` keeps one array per
    copy.

    Args:
        layer: the layer.
        policy: what is kept all the same, one of `jax.checkpoint_policies`; None keeps the inputs alone.

    Returns:
        The layer.

    Raises:
        TypeError: the layer is neither a layer nor a function.

    Reference:
        Chen et al., "Training deep nets with sublinear memory cost", 2016, https://arxiv.org/abs/1604.06174.

    Example:
        >>> import jax.numpy as jnp
        >>> layer = remat(jnp.tanh)
        >>> jax.grad(lambda x: layer.apply({}, {}, x)[0])(0.0).item()
        1.0
    """
    inner = as_layer(layer)

    def run(params: Params, state: State, x: Array, call: Call) -> Ran:
        def recomputed(params: Params, state: State, x: Array, key: Key | None, lengths: Array | None) -> Ran:
            return apply_inside(inner, params, state, x, call._replace(key=key, lengths=lengths))

        ran: Ran = jax.checkpoint(recomputed, policy=policy)(params, state, x, call.key, call.lengths)
        return ran

    return around("remat", inner, run, lambda layers: remat(layers[0], policy=policy))


@described
def renamed(layer: Layer | ArrayFunction, **names: str) -> Layer:
    """Let a layer take side inputs under other names, so that a chain can tell them from those of its other layers.

    In a decoder, self-attention takes `mask=` and cross-attention a mask of the context:
    `renamed(multi_head_attention(8, context_features=64), mask="context_mask", lengths="context_lengths")`. With
    lengths renamed, those of the sequences themselves stay outside: the layer has to keep the time axis.

    Args:
        layer: the layer.
        **names: what the layer calls it -> what it is called outside.

    Returns:
        The layer, with the same parameters and state.

    Raises:
        TypeError: the layer is neither a layer nor a function.
        ValueError: the layer takes no side input of a name, or two would be called the same.

    Example:
        >>> from dlkit.layers import multi_head_attention
        >>> attention = renamed(multi_head_attention(2, context_features=4), mask="context_mask", context="memory")
        >>> sorted(attention.side_inputs)
        ['bias', 'context_mask', 'lengths', 'memory']
    """
    inner = as_layer(layer)
    unknown = sorted(set(names) - inner.side_inputs)
    if unknown:
        raise ValueError(
            f"renamed: expected side inputs that the layer takes, {', '.join(sorted(inner.side_inputs)) or 'none'}, "
            f"got {unknown[0]!r}"
        )
    outside = [names.get(name, name) for name in inner.side_inputs]
    if len(set(outside)) < len(outside):
        raise ValueError(f"renamed: expected different names, got {', '.join(sorted(outside))}")

    def init(key: Key, input_shape: Shape, shapes: Shapes) -> tuple[Params, State]:
        return init_inside(inner, key, input_shape, _as_inside(shapes))

    def run(params: Params, state: State, x: Array, call: Call) -> Ran:
        side = _as_inside(call.side)
        if "lengths" not in names:
            return apply_inside(inner, params, state, x, call._replace(side=side))
        y, state = inner.apply(params, state, x, key=call.key, train=call.train, **side)
        return y, state, call.lengths

    def _as_inside(outer: Any) -> dict[str, Any]:
        inside = {outer_name: inner_name for inner_name, outer_name in names.items()}
        return {inside.get(name, name): value for name, value in outer.items()}

    about = About(parts=(Part("", inner),), rebuild=lambda layers: renamed(layers[0], **names))
    return composite("renamed", init, run, about, renamed=names)
