"""Sequences of unequal lengths, padded at the end to one length: which steps count, and how layers are told.

The protocol, for layers of one's own too:

- A layer that looks at each step by itself needs nothing.
- A layer that looks at several steps at once and keeps the time axis takes `lengths=` in its `apply`: `[*batch]`
  integers, or None. What it returns for a step may depend on no step after its sequence's length.
- A layer that changes or removes the time axis has the field `ragged`: an `apply` that also returns the lengths after
  it, None where no time axis is left.

The time axis is the one after the batch axes, of which there are as many as the lengths have.
"""

import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Integer, Shaped

from dlkit.layers.base import Layer, RaggedFunction
from dlkit.layers.lengths import within_lengths
from dlkit.typing import Array, Key, Params, Shape, State

__all__ = ["apply_ragged", "removes_time", "steps_that_count", "takes", "with_padding_zero"]


def apply_ragged(
    layer: Layer,
    params: Params,
    state: State,
    x: Shaped[Array, "..."],
    lengths: Integer[Array, "..."] | None,
    *,
    key: Key | None = None,
    train: bool = False,
    **side: Any,
) -> tuple[Any, State, Integer[Array, "..."] | None]:
    """Apply any layer to padded sequences. What the padding holds matters to nothing, not even NaN, nor to a gradient.

    The layer is shown zeros in place of the padding, and its outputs after a sequence's length are 0. It gets lengths
    and side inputs, such as `mask=`, where its `apply` takes them.

    Args:
        layer: the layer.
        params: its parameters.
        state: its state.
        x: sequences `[*batch, time, ...]`, of any dtype.
        lengths: how many steps of each sequence count, `[*batch]`; None for all of them.
        key: as for `apply`.
        train: as for `apply`.
        **side: side inputs by name, such as the mask of attention; None is as none.

    Returns:
        The outputs, an array (or, without lengths, a tree of them where the layer makes one), the next state, and how
        many steps of the outputs count: for the layer that follows, or a loss such
        as `losses.ctc`. None where the outputs have no time axis, or no lengths were given.

    Raises:
        ValueError: a layer that does not say how lengths change changes the time axis; or the lengths do not fit.
        TypeError: the lengths are not integers.

    Example:
        >>> from dlkit.layers import conv
        >>> layer = conv(4, (3,), strides=2, padding="VALID")
        >>> params, state = layer.init(jax.random.key(0), (9, 2))
        >>> y, _, lengths = apply_ragged(layer, params, state, jnp.ones((2, 9, 2)), jnp.array([9, 6]))
        >>> y.shape, lengths.tolist()
        ((2, 4, 4), [4, 2])
    """
    given = {name: value for name, value in side.items() if value is not None and name in layer.side_inputs}
    if lengths is None:
        y, state = layer.apply(params, state, x, key=key, train=train, **given)
        return y, state, None
    x = with_padding_zero("apply", x, lengths)
    if layer.ragged is not None:
        given = {name: value for name, value in given.items() if takes(layer.ragged, name)}
        y, state, after = layer.ragged(params, state, x, lengths, key=key, train=train, **given)
    else:
        given |= {"lengths": lengths} if "lengths" in layer.side_inputs else {}
        y, state = layer.apply(params, state, x, key=key, train=train, **given)
        _require_same_time(x.shape, y.shape, lengths.ndim)
        after = lengths
    return (y if after is None else with_padding_zero("apply", y, after)), state, after


def removes_time(apply: Callable[..., tuple[Array, State]]) -> RaggedFunction:
    """Returns the field `ragged` of a layer whose `apply` takes lengths and leaves no time axis.

    Example:
        >>> ragged = removes_time(lambda params, state, x, *, key, train, lengths: (x.sum(axis=-1), state))
        >>> ragged({}, {}, jnp.ones((1, 2)), jnp.array([2]))[2] is None
        True
    """

    def ragged(
        params: Params,
        state: State,
        x: Array,
        lengths: Array,
        *,
        key: Key | None = None,
        train: bool = False,
        **side: Any,
    ) -> tuple[Array, State, None]:
        return *apply(params, state, x, key=key, train=train, lengths=lengths, **side), None

    return ragged


def takes(function: Callable[..., object], name: str) -> bool:
    """Whether a function has a parameter of this name, such as `lengths` or `mask`, or takes any name.

    Example:
        >>> takes(lambda x, *, lengths=None: x, "lengths"), takes(lambda x, *, mask=None: x, "lengths")
        (True, False)
    """
    parameters = inspect.signature(function).parameters
    return name in parameters or any(each.kind is each.VAR_KEYWORD for each in parameters.values())


def with_padding_zero(where: str, x: Shaped[Array, "..."], lengths: Integer[Array, "..."]) -> Shaped[Array, "..."]:
    """Sequences `[*batch, time, ...]` with 0 after their lengths, also in gradients.

    Example:
        >>> with_padding_zero("layer", jnp.array([[1.0, jnp.nan], [3.0, 4.0]]), jnp.array([1, 2])).tolist()
        [[1.0, 0.0], [3.0, 4.0]]
    """
    return jnp.where(steps_that_count(where, lengths, x), x, jnp.zeros((), x.dtype))


def steps_that_count(where: str, lengths: Integer[Array, "..."], x: Shaped[Array, "..."]) -> Bool[Array, "..."]:
    """Which steps of sequences `[*batch, time, ...]` count, with axes of 1 for all that follows the time axis.

    Raises:
        ValueError: there is not one length per sequence, or no time axis.
        TypeError: the lengths are not integers.

    Example:
        >>> steps_that_count("layer", jnp.array([1, 2]), jnp.zeros((2, 2, 5))).shape
        (2, 2, 1)
    """
    if x.ndim <= lengths.ndim:
        raise ValueError(
            f"{where}: expected inputs [*batch, time, ...] for lengths {jax.typeof(lengths)}, got {jax.typeof(x)}"
        )
    within = within_lengths(where, lengths, x.shape[: lengths.ndim + 1])
    return within.reshape(within.shape + (1,) * (x.ndim - within.ndim))


def _require_same_time(before: Shape, after: Shape, batch_axes: int) -> None:
    """Refuse the outputs of a layer that has not said how it changes the time axis."""
    kept = batch_axes + 1
    if after[:kept] != before[:kept]:
        raise ValueError(
            f"expected a layer that keeps the time axis of sequences of unequal lengths, {list(before)}, got outputs "
            f"{list(after)}; such a layer would take padding for data. Use one that takes lengths, such as "
            "global_average_pool(1) or a recurrent layer with output='last', or give yours the field ragged"
        )
