"""Sequences that come a piece at a time: a layer that keeps what it needs of the steps before, in its state."""

from typing import Any

import jax
import jax.numpy as jnp

from dlkit import checks
from dlkit.layers.base import Layer, as_layer, described, path_of
from dlkit.layers.calls import apply_inside, around
from dlkit.layers.probe import is_probe
from dlkit.layers.steps import Steps
from dlkit.typing import Array, ArrayFunction, DTypeLike, Key, Params, Shape, State

__all__ = ["at_once", "initial_state", "stepwise"]

_KEPT = "steps"


@described
def stepwise(
    layer: Layer | ArrayFunction,
    *,
    max_length: int,
    batch_shape: Shape = (),
    context_length: int | None = None,
    dtype: DTypeLike = jnp.float32,
) -> Layer:
    """The same layer for sequences that come a step, or several steps, at a time: to decode, to follow a stream.

    What it makes of a sequence in pieces is what the layer makes of the whole sequence. Its parameters are those of the
    layer. Its state also holds what is needed of the steps before: keys and values of causal attention (a KV cache),
    the hidden state of recurrent layers, how many steps there were. `apply` returns the next state beside the outputs,
    so that it goes into `jax.lax.scan` as it is; `initial_state` makes the first one:

        decoder = layers.stepwise(model, batch_shape=(8,), max_length=256)
        state = layers.initial_state(decoder, (1,), state=model_state)
        logits, state = decoder.apply(params, state, prompt)           # [8, time, vocabulary]
        logits, state = decoder.apply(params, state, tokens[:, None])  # one step

    Prompts of unequal lengths are padded at their ends: `lengths=` says how many steps of a piece count, and the next
    piece goes on there. The context of cross-attention is given with the first piece alone; its keys and values are
    kept.

    A step costs what one position costs, and the look at `max_length` keys. Sequences that become longer give a
    ValueError, under `jit` NaN.

    Args:
        layer: made of layers of this library: attention has to be causal, recurrent layers read from the start.
        max_length: how many steps a sequence may have.
        batch_shape: the batch axes of the inputs.
        context_length: how many positions the context of cross-attention may have.
        dtype: of keys, values and hidden states; `jnp.bfloat16` for half the memory.

    Returns:
        The layer.

    Raises:
        TypeError: the layer is neither a layer nor a function.
        ValueError: a size is no positive integer; or a layer inside looks at several steps in a way that does not go
            on, such as pooling over time, a bidirectional recurrent layer, attention to later positions, a convolution.

    Example:
        >>> from dlkit.layers import multi_head_attention
        >>> layer = multi_head_attention(2, causal=True)
        >>> params, _ = layer.init(jax.random.key(0), (3, 4))
        >>> x = jax.random.normal(jax.random.key(1), (3, 4))
        >>> one_by_one = stepwise(layer, max_length=3)
        >>> state = initial_state(one_by_one, (1, 4))
        >>> for step in range(3):
        ...     y, state = one_by_one.apply(params, state, x[step : step + 1])
        >>> bool(jnp.allclose(y[0], layer.apply(params, {}, x)[0][2], atol=1e-6))
        True
    """
    checks.require_size("stepwise", max_length=max_length)
    if context_length is not None:
        checks.require_size("stepwise", context_length=context_length)
    return _stepwise(as_layer(layer), Steps(tuple(batch_shape), max_length, context_length, dtype), "")


@described
def at_once(layer: Layer | ArrayFunction) -> Layer:
    """The same layer, which `stepwise` leaves as it is: what it reads does not come in pieces.

    Such is the encoder of a model whose decoder goes on step by step.

    Args:
        layer: the layer.

    Returns:
        The layer, with the same parameters and state.

    Raises:
        TypeError: the layer is neither a layer nor a function.

    Example:
        >>> from dlkit.layers import global_average_pool
        >>> layer = stepwise(at_once(global_average_pool(1)), max_length=4)
        >>> layer.apply({}, {}, jnp.ones((5, 3)))[0].tolist()
        [1.0, 1.0, 1.0]
    """
    inner = as_layer(layer)
    made = around("at_once", inner, lambda *given: apply_inside(inner, *given), lambda layers: at_once(layers[0]))
    return Layer(made.init, made.apply, made.ragged, made.about._replace(each_step=True))


def initial_state(
    layer: Layer,
    input_shape: Shape,
    *,
    state: State | None = None,
    key: Key | None = None,
    **side_shapes: Shape | jax.ShapeDtypeStruct,
) -> State:
    """The state of a layer before its first step. No parameters are drawn.

    Args:
        layer: any layer; for one of `stepwise`, nothing is kept yet.
        input_shape: shape of one example, as for `init`.
        state: of the trained model, such as the statistics of its batch normalizations: they are taken over. What
            `stepwise` keeps begins anew.
        key: for layers whose state is random; None takes `jax.random.key(0)`.
        **side_shapes: as for `init`.

    Returns:
        The state.

    Example:
        >>> from dlkit.layers import gru
        >>> state = initial_state(stepwise(gru(3), batch_shape=(2,), max_length=8), (1, 4))
        >>> state["steps"]["layer_0"]["hidden"].shape
        (2, 3)
    """

    def make(key: Key) -> State:
        return layer.init(key, input_shape, **side_shapes)[1]

    fresh: State = jax.jit(make)(jax.random.key(0) if key is None else key)
    return _taken_over(fresh, {} if state is None else state)


def _stepwise(layer: Layer, steps: Steps, path: str) -> Layer:
    """The layer at a path, for pieces."""
    if layer.about.each_step:
        return layer
    if layer.about.stepwise is not None:
        try:
            return _kept_apart(layer, layer.about.stepwise(steps))
        except ValueError as error:
            error.add_note(f"in stepwise: the layer at {path or 'the top'!r}")
            raise
    if layer.parts:
        parts = tuple(_stepwise(part.layer, steps, path_of(path, part.name)) for part in layer.parts)
        if all(new is part.layer for new, part in zip(parts, layer.parts, strict=True)):
            return layer
        if layer.about.rebuild is not None:
            return layer.about.rebuild(parts)
        raise ValueError(
            f"stepwise: the layer at {path or 'the top'!r} cannot be made with other layers inside; it was changed by "
            "hand, or has no about.rebuild"
        )
    if layer.ragged is not None or "lengths" in layer.side_inputs:
        raise ValueError(
            f"stepwise: {layer!r} at {path or 'the top'!r} looks at several steps at once, and does not say how it "
            "goes on; use causal attention or recurrent layers, or give yours about.stepwise"
        )
    return layer


def _kept_apart(whole: Layer, layer: Layer) -> Layer:
    """The layer, with its state under one name, by which it is told from what training leaves.

    Where only shapes matter it does what it does with whole sequences.
    """

    def init(key: Key, input_shape: Shape, **side_shapes: Any) -> tuple[Params, State]:
        params, state = layer.init(key, input_shape, **side_shapes)
        return params, {_KEPT: state}

    def apply(params: Params, state: State, x: Array, **given: Any) -> tuple[Array, State]:
        if is_probe():
            known = whole.side_inputs | {"key", "train"}
            y, _ = whole.apply(params, {}, x, **{name: given[name] for name in given if name in known})
            return y, state
        y, state = layer.apply(params, state[_KEPT], x, **given)
        return y, {_KEPT: state}

    def ragged(params: Params, state: State, x: Array, lengths: Array, **given: Any) -> tuple[Array, State, Any]:
        y, state = layer.apply(params, state[_KEPT], x, lengths=lengths, **given)
        return y, {_KEPT: state}, None

    about = layer.about._replace(inputs=layer.side_inputs)
    return Layer(init, apply, None if layer.ragged is None else ragged, about)


def _taken_over(fresh: State, trained: State) -> State:
    """The state with what a trained model has in the same places."""
    if not isinstance(fresh, dict) or not isinstance(trained, dict):
        return trained
    return {
        name: entry if name == _KEPT or name not in trained else _taken_over(entry, trained[name])
        for name, entry in fresh.items()
    }
