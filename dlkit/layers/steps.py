"""Sequences that come a piece at a time: what a layer has to know to keep what it needs of those before."""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Integer

from dlkit.layers.lengths import within_lengths
from dlkit.typing import Array, DTypeLike, Key, Params, Shape, State

__all__ = ["Piece", "Steps", "beyond", "counted", "piece_of", "positions_from", "start", "takes_offset"]


class Steps(NamedTuple):
    """How many sequences, and how long they may become; the names are those of the arguments of `stepwise`."""

    batch_shape: Shape
    max_length: int
    context_length: int | None
    dtype: DTypeLike


class Piece(NamedTuple):
    """Where a piece stands in its sequences.

    Attributes:
        positions: of its steps, `[*batch, time]`.
        within: which of them count, `[*batch, time]`; None for all.
        after: the position of what comes next, `[*batch]`.
    """

    positions: Integer[Array, "*batch time"]
    within: Bool[Array, "*batch time"] | None
    after: Integer[Array, "*batch"]


def start(steps: Steps) -> Integer[Array, "*batch"]:
    """The position of the first step of every sequence: 0.

    Example:
        >>> start(Steps((2,), 8, None, jnp.float32)).tolist()
        [0, 0]
    """
    return jnp.zeros(steps.batch_shape, jnp.int32)


def positions_from(index: Integer[Array, "*batch"], time: int) -> Integer[Array, "*batch time"]:
    """The positions of so many steps, of which the first stand at an index.

    Example:
        >>> positions_from(jnp.array([0, 4]), 3).tolist()
        [[0, 1, 2], [4, 5, 6]]
    """
    return jnp.expand_dims(index, -1) + jnp.arange(time, dtype=index.dtype).reshape((1,) * index.ndim + (-1,))


def piece_of(
    where: str, index: Integer[Array, "*batch"], shape: Shape, lengths: Integer[Array, "*batch"] | None, longest: int
) -> Piece:
    """Where the steps of a piece stand, after so many others.

    Args:
        where: the layer that asks, first in a message.
        index: how many steps each sequence had before, `[*batch]`.
        shape: that of the piece, `(*batch, time)`.
        lengths: how many steps of it count, `[*batch]`; None for all.
        longest: how many steps a sequence may have.

    Returns:
        The positions; those beyond `longest` are for the caller to make NaN of, where nothing is known outside `jit`.

    Raises:
        ValueError: the batch axes are not those of the state; or a sequence is known to become too long.

    Example:
        >>> piece = piece_of("attention", jnp.array([0, 4]), (2, 3), jnp.array([3, 1]), 8)
        >>> piece.positions.tolist(), piece.after.tolist()
        ([[0, 1, 2], [4, 5, 6]], [3, 5])
    """
    if index.shape != shape[:-1]:
        raise ValueError(
            f"{where}: expected inputs with the batch axes {list(index.shape)} of the state, got {list(shape[:-1])}; "
            "make the state for this batch with stepwise(..., batch_shape=...)"
        )
    positions = positions_from(index, shape[-1])
    within = None if lengths is None else within_lengths(where, lengths, shape)
    after = index + (shape[-1] if lengths is None else lengths.astype(index.dtype))
    if not isinstance(after, jax.core.Tracer) and after.size and (most := int(np.asarray(after).max())) > longest:
        raise ValueError(f"{where}: expected sequences of at most {longest} steps, got one of {most}")
    return Piece(positions, within, after)


def beyond(y: Float[Array, "..."], piece: Piece, longest: int) -> Float[Array, "..."]:
    """Outputs, NaN at steps that are more than a sequence may have: under `jit` nobody could raise.

    Example:
        >>> beyond(jnp.ones((2, 1)), piece_of("attention", jnp.array(3), (2,), None, 5), 4)[:, 0].tolist()
        [1.0, nan]
    """
    is_late = piece.positions >= longest
    return jnp.where(is_late.reshape(is_late.shape + (1,) * (y.ndim - is_late.ndim)), jnp.nan, y)


def counted(
    where: str, function: Callable[[Array, Array], Array], steps: Steps
) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """`init` and `apply` of a layer without parameters whose function has to know the positions.

    Args:
        where: its name, first in messages.
        function: `(x, index) -> y`, with the position of the first step of each sequence, `[*batch]`.
        steps: how many sequences, and how long.

    Example:
        >>> steps = Steps((2,), 8, None, jnp.float32)
        >>> init, apply = counted("shift", lambda x, index: x + index.reshape(-1, 1, 1), steps)
        >>> params, state = init(jax.random.key(0), (1, 1))
        >>> apply(params, {"index": jnp.array([0, 4])}, jnp.zeros((2, 1, 1)))[0].reshape(-1).tolist()
        [0.0, 4.0]
    """

    def init(key: Key, input_shape: Shape) -> tuple[Params, State]:
        del key, input_shape
        return {}, {"index": start(steps)}

    def apply(
        params: Params,
        state: State,
        x: Array,
        *,
        key: Key | None = None,
        train: bool = False,
        lengths: Array | None = None,
    ) -> tuple[Array, State]:
        del params, key, train
        index = state["index"]
        piece = piece_of(where, index, x.shape[: index.ndim + 1], lengths, steps.max_length)
        return beyond(function(x, index), piece, steps.max_length), {"index": piece.after}

    return init, apply


def takes_offset(function: Callable[..., Any]) -> bool:
    """Whether a function takes `offset=`, the positions of the first steps, as `rotary` does.

    Example:
        >>> takes_offset(lambda x, *, offset=0: x), takes_offset(abs)
        (True, False)
    """
    try:
        return "offset" in inspect.signature(function).parameters
    except (TypeError, ValueError):  # of C, or no function of Python's
        return False
