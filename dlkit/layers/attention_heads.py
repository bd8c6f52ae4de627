"""Heads of attention: maps of the inputs taken apart by head, and groups of heads that share keys and values."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from dlkit import checks
from dlkit.layers.attention import dot_product_attention
from dlkit.layers.base import Layer
from dlkit.layers.products import affine
from dlkit.typing import Array, ArrayFunction, Key, Params, Scalar, Shape

__all__ = ["Heads", "attend", "check_inputs", "linear", "project", "project_together", "with_heads"]

WHERE = "multi_head_attention"


class Heads(NamedTuple):
    """What attention has to know of itself; the names are those of the arguments of `multi_head_attention`."""

    heads: int
    kv_heads: int
    is_causal: bool
    is_cross: bool
    rotation: ArrayFunction | None
    position_bias: Layer | None
    dropout: Scalar

    def allowed(self, shape: Shape, **conditions: Array | None) -> Array | None:
        """Where a position may attend: all conditions that there are must allow it; None for everywhere.

        Args:
            shape: `(*batch, time, context_time)`.
            **conditions: masks `[*batch, time, context_time]`, `mask` perhaps for each head, any axis of size 1.

        Example:
            >>> attention = Heads(2, 2, False, False, None, None, 0.0)
            >>> attention.allowed((3, 4), mask=jnp.ones((1, 4), bool), within=None).shape
            (1, 1, 4)
        """
        found = [
            with_heads(name, condition, shape, self.heads)
            for name, condition in conditions.items()
            if condition is not None
        ]
        for each in found[1:]:
            found[0] = found[0] & each
        return found[0] if found else None

    def bias(self, params: Params, shape: Shape, given: Array | None, distances: Array) -> Array | None:
        """What is added to the logits: what is given, and what the distances of positions add; None for nothing.

        Args:
            params: of the attention.
            shape: `(*batch, time, context_time)`.
            given: `[*batch, time, context_time]`, perhaps for each head.
            distances: of keys from queries, `[*batch or 1s, time, context_time]`.

        Example:
            >>> Heads(2, 2, False, False, None, None, 0.0).bias({}, (3, 4), None, jnp.zeros((3, 4), int)) is None
            True
        """
        if given is not None:
            checks.require_floating(WHERE, bias=given)
            given = with_heads("bias", given, shape, self.heads)
        if self.position_bias is None:
            return given
        of_positions, _ = self.position_bias.apply(params.get("position_bias", {}), {}, distances)
        expected = (*distances.shape[:-2], self.heads, *distances.shape[-2:])
        if of_positions.shape != expected:
            raise ValueError(
                f"{WHERE}: expected a position_bias that makes {list(expected)} of distances {list(distances.shape)}, "
                f"got {list(of_positions.shape)}"
            )
        return of_positions if given is None else given + of_positions


def linear(params: Params, x: Array) -> Array:
    """Map the last axis: x W + b.

    Example:
        >>> linear({"kernel": jnp.ones((2, 1))}, jnp.array([[1.0, 2.0]])).tolist()
        [[3.0]]
    """
    return affine(x, params["kernel"], params.get("bias"))


def project(params: Params, x: Array, heads: int) -> Array:
    """Map the inputs, the heads apart: `[*batch, time, in]` to `[*batch, heads, time, head_features]`.

    Example:
        >>> project({"kernel": jnp.ones((2, 6))}, jnp.ones((5, 2)), 3).shape
        (3, 5, 2)
    """
    return _apart(linear(params, x), heads)


def project_together(params: list[Params], x: Array, heads: list[int]) -> list[Array]:
    """Several maps of the same inputs: one product, and one of each gradient.

    Example:
        >>> queries, keys = project_together([{"kernel": jnp.ones((2, 6))}] * 2, jnp.ones((5, 2)), [3, 1])
        >>> queries.shape, keys.shape
        ((3, 5, 2), (1, 5, 6))
    """
    joined = {name: jnp.concatenate([own[name] for own in params], axis=-1) for name in params[0]}
    ends = [0]
    for own in params:
        ends.append(ends[-1] + own["kernel"].shape[-1])
    parts = jnp.split(linear(joined, x), ends[1:-1], axis=-1)
    return [_apart(part, count) for part, count in zip(parts, heads, strict=True)]


def attend(
    queries: Array,
    keys: Array,
    values: Array,
    *,
    bias: Array | None = None,
    mask: Array | None = None,
    dropout: Scalar = 0.0,
    key: Key | None = None,
) -> Array:
    """Attention of heads, the averages side by side: `[*batch, time, heads * head_features]`.

    Where there are fewer heads of keys and values, each serves a group of queries that stand one after the other. The
    queries of a group are further positions to it: nothing is copied.

    Args:
        queries: `[*batch, heads, time, head_features]`.
        keys: `[*batch, kv_heads, context_time, head_features]`; kv_heads divides heads.
        values: the same.
        bias: as `with_heads` returns it.
        mask: as `with_heads` returns it.
        dropout: as that of `dot_product_attention`.
        key: as that of `dot_product_attention`.

    Returns:
        The averages.

    Example:
        >>> x = jnp.ones((4, 5, 2))
        >>> attend(x, x[:2], x[:2]).shape
        (5, 8)
    """
    heads, time, groups = queries.shape[-3], queries.shape[-2], queries.shape[-3] // keys.shape[-3]
    if groups > 1:
        apart = queries.reshape(*queries.shape[:-3], keys.shape[-3], groups, time, queries.shape[-1])
        queries = apart.reshape(*apart.shape[:-3], groups * time, apart.shape[-1])
        bias, mask = (None if each is None else _in_groups(each, groups, time) for each in (bias, mask))
    averages = dot_product_attention(queries, keys, values, bias=bias, mask=mask, dropout=dropout, key=key)
    if groups > 1:
        apart = averages.reshape(*averages.shape[:-2], groups, time, averages.shape[-1])
        averages = apart.reshape(*apart.shape[:-4], heads, time, apart.shape[-1])
    averages = jnp.swapaxes(averages, -2, -3)
    return averages.reshape(*averages.shape[:-2], averages.shape[-2] * averages.shape[-1])


def with_heads(name: str, array: Array, shape: Shape, heads: int) -> Array:
    """A mask or a bias with an axis for the heads, `[*batch, heads or 1, time, context_time]`.

    Args:
        name: what it is, for a message.
        array: `[*batch, time, context_time]` or `[*batch, heads, time, context_time]`, any axis may be of size 1.
        shape: `(*batch, time, context_time)`.
        heads: how many.

    Raises:
        ValueError: it is of another shape.

    Example:
        >>> with_heads("mask", jnp.ones((2, 1, 4), bool), (2, 3, 4), 8).shape
        (2, 1, 1, 4)
    """
    whole = (*shape[:-2], heads, *shape[-2:])
    wide = jnp.expand_dims(array, -3) if array.ndim == len(shape) else array
    if wide.ndim != len(whole) or any(size not in (1, full) for size, full in zip(wide.shape, whole, strict=True)):
        raise ValueError(
            f"{WHERE}: expected a {name} {list(shape)}, or {list(whole)} for each head, any of its axes may be of size "
            f"1, got {jax.typeof(array)}"
        )
    return wide


def check_inputs(params: Params, x: Array, context: Array | None, *, cross: bool, mask: Array | None) -> None:
    """Check inputs and context against the parameters and each other.

    Raises:
        ValueError: a shape does not fit, or a context is missing or too much.
        TypeError: something is not floating point, or the mask is not boolean.

    Example:
        >>> maps = {"query": {"kernel": jnp.ones((2, 6))}, "key": {"kernel": jnp.ones((2, 6))}}
        >>> check_inputs(maps, jnp.ones((5, 2)), None, cross=False, mask=None)
    """
    checks.require_floating(WHERE, inputs=x)
    if mask is not None and mask.dtype != jnp.bool_:
        raise TypeError(f"{WHERE}: expected a boolean mask, true where a position may attend, got {jax.typeof(mask)}")
    in_features, around = params["query"]["kernel"].shape[0], params["key"]["kernel"].shape[0]
    if x.ndim < 2 or x.shape[-1] != in_features:
        raise ValueError(f"{WHERE}: expected inputs [*batch, time, {in_features}], got {jax.typeof(x)}")
    if not cross:
        if context is not None:
            raise ValueError(
                f"{WHERE}: expected no context in self-attention, got {jax.typeof(context)}; "
                "make the layer with context_features=..."
            )
        return
    if context is None:
        raise ValueError(f"{WHERE}: expected a context [*batch, context_time, {around}], got None; pass context=...")
    checks.require_floating(WHERE, context=context)
    if context.ndim != x.ndim or context.shape[:-2] != x.shape[:-2] or context.shape[-1] != around:
        batch = "".join(f"{size}, " for size in x.shape[:-2])
        raise ValueError(f"{WHERE}: expected a context [{batch}context_time, {around}], got {jax.typeof(context)}")


def _apart(x: Array, heads: int) -> Array:
    """[*batch, time, heads * head_features] -> [*batch, heads, time, head_features]."""
    return jnp.swapaxes(x.reshape(*x.shape[:-1], heads, x.shape[-1] // heads), -2, -3)


def _in_groups(array: Array, groups: int, time: int) -> Array:
    """A mask or a bias for the queries of a group one after the other."""
    heads, rows = array.shape[-3:-1]
    if heads == 1 and rows == 1:
        return array
    kept = 1 if heads == 1 else heads // groups
    batch, around = array.shape[:-3], array.shape[-1]
    array = array.reshape(*batch, kept, heads // kept, rows, around)
    array = jnp.broadcast_to(array, (*batch, kept, groups, time, around))
    return array.reshape(*batch, kept, groups * time, around)
