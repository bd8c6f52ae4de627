"""Recurrent layers in a stack, whatever their cell: directions, lengths, dropout, and a carried state."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Integer

from dlkit import checks, regularizers
from dlkit.layers.base import About, Layer
from dlkit.layers.lengths import within_lengths
from dlkit.layers.ragged import removes_time
from dlkit.layers.recurrent.cells import Carry, Cell, recurrence
from dlkit.layers.steps import Steps
from dlkit.typing import Array, DTypeLike, Initializer, Key, Params, Scalar, Shape, State

__all__ = ["Initializers", "Settings", "recurrent_stack"]

_DIRECTIONS = ("forward", "backward")


class Settings(NamedTuple):
    """What the recurrent layers have in common; the names are those of their arguments."""

    units: int
    depth: int = 1
    bidirectional: bool = False
    dropout: Scalar = 0.0
    recurrent_dropout: Scalar = 0.0
    output: str = "sequence"
    carry_batch_shape: Shape | None = None
    unroll: int = 1
    carry_dtype: DTypeLike = jnp.float32


class Initializers(NamedTuple):
    """How the parameters of each gate are made, and what is added to the bias of each; nothing where it is empty."""

    kernel: Initializer
    recurrent: Initializer
    bias: Initializer
    bias_offsets: tuple[float, ...] = ()


def recurrent_stack(where: str, cell: Cell, settings: Settings, initializers: Initializers) -> Layer:
    """Recurrent layers one after the other; `layers.lstm` documents all they do.

    Args:
        where: the layer, first in messages.
        cell: the cell of all of them.
        settings: sizes, rates and so on.
        initializers: of the parameters.

    Returns:
        A layer for inputs `[*batch, time, in_features]`, whose `apply` takes `lengths=`.

    Raises:
        ValueError: a setting is out of range, or two do not belong together.

    Example:
        >>> from dlkit.layers.recurrent.cells import GRU_CELL
        >>> ones = Initializers(*[jax.nn.initializers.ones] * 3)
        >>> layer = recurrent_stack("gru", GRU_CELL, Settings(units=2, depth=2), ones)
        >>> params, _ = layer.init(jax.random.key(0), (5, 3))
        >>> sorted(params), sorted(params["layer_1"]["forward"])
        (['layer_0', 'layer_1'], ['bias', 'input_kernel', 'recurrent_bias', 'recurrent_kernel'])
    """
    _check_settings(where, settings)
    names = tuple(f"layer_{place}" for place in range(settings.depth))
    directions = _DIRECTIONS if settings.bidirectional else _DIRECTIONS[:1]

    def init(key: Key, input_shape: Shape) -> tuple[Params, State]:
        if len(input_shape) != 2 or min(input_shape) < 1:
            raise ValueError(f"{where}: expected an example shape (time, in_features), got {tuple(input_shape)}")
        params: dict[str, Params] = {}
        features = input_shape[1]
        for place, name in enumerate(names):
            key_layer = jax.random.fold_in(key, place)
            params[name] = {
                direction: _init_cell(jax.random.fold_in(key_layer, side), cell, features, settings.units, initializers)
                for side, direction in enumerate(directions)
            }
            features = settings.units * len(directions)
        if settings.carry_batch_shape is None:
            return params, {}
        shape = (*settings.carry_batch_shape, settings.units)
        return params, {name: {part: jnp.zeros(shape, settings.carry_dtype) for part in cell.parts} for name in names}

    def apply(
        params: Params,
        state: State,
        x: Float[Array, "*batch time in_features"],
        *,
        key: Key | None = None,
        train: bool = False,
        lengths: Integer[Array, "*batch"] | None = None,
    ) -> tuple[Float[Array, "*batch time out_features"] | Float[Array, "*batch out_features"], State]:
        _check_inputs(where, params, x)
        batch, dtype = x.shape[:-2], jnp.result_type(x, *jax.tree.leaves(params))
        carried = _carried(where, settings, state, batch, train=train)
        hidden, valid = _time_major(where, x, lengths)
        new_state: dict[str, State] = {}
        for place, name in enumerate(names):
            key_layer = None if key is None else jax.random.fold_in(key, place)
            if train and place:
                hidden = _dropped(where, settings.dropout, key_layer, 0, hidden)
            masks = _masks(where, settings, key_layer, hidden) if train else (None,) * len(directions)
            start = (
                tuple(carried[name][part].reshape(math.prod(batch), settings.units) for part in cell.parts)
                if carried
                else None
            )
            hidden, last, carry = _read(cell, params[name], hidden, start, valid, masks, settings.unroll)
            hidden = hidden.astype(dtype)
            if carried:
                new_state[name] = _like(carried[name], dict(zip(cell.parts, carry, strict=True)))
        if settings.output == "last":
            return last.astype(dtype).reshape(*batch, last.shape[-1]), new_state if carried else state
        if valid is not None:
            hidden = jnp.where(valid, hidden, 0)
        y = jnp.moveaxis(hidden.reshape(hidden.shape[0], *batch, hidden.shape[-1]), 0, -2)
        return y, new_state if carried else state

    about = About(stepwise=lambda steps: _carrying(where, cell, settings, initializers, steps))
    return Layer(init, apply, removes_time(apply) if settings.output == "last" else None, about)


def _carrying(where: str, cell: Cell, settings: Settings, initializers: Initializers, steps: Steps) -> Layer:
    """The layers for sequences that come a piece at a time."""
    if settings.bidirectional:
        raise ValueError(f"{where}: expected a layer that reads from the start, got one that is bidirectional")
    carried = settings._replace(carry_batch_shape=steps.batch_shape, carry_dtype=steps.dtype)
    return recurrent_stack(where, cell, carried, initializers)


def _init_cell(key: Key, cell: Cell, features: int, units: int, initializers: Initializers) -> dict[str, Array]:
    """The parameters of one cell, gate by gate: an initializer sees the shape of one gate."""
    keys = [jax.random.fold_in(key, place) for place in range(4)]

    def gates(place: int, initializer: Initializer, shape: Shape) -> list[Array]:
        return [initializer(jax.random.fold_in(keys[place], gate), shape, jnp.float32) for gate in range(cell.gates)]

    biases = gates(2, initializers.bias, (units,))
    for gate, offset in enumerate(initializers.bias_offsets):
        biases[gate] = biases[gate] + offset
    params = {
        "input_kernel": jnp.concatenate(gates(0, initializers.kernel, (features, units)), axis=-1),
        "recurrent_kernel": jnp.concatenate(gates(1, initializers.recurrent, (units, units)), axis=-1),
        "bias": jnp.concatenate(biases),
    }
    if cell.candidate_bias:
        params["recurrent_bias"] = initializers.bias(keys[3], (units,), jnp.float32)
    return params


def _read(
    cell: Cell,
    params: Params,
    x: Array,
    start: Carry | None,
    valid: Array | None,
    masks: tuple[Array | None, ...],
    unroll: int,
) -> tuple[Array, Array, Carry]:
    """One layer, [time, batch, features]: h at every step and at the last, both directions; the forward carry."""
    forward, carry = recurrence(params["forward"], x, start, cell=cell, valid=valid, mask=masks[0], unroll=unroll)
    if "backward" not in params:
        return forward, carry[0], carry
    # Read from the end, the padding comes first and is skipped: a sequence begins at its own end.
    x, valid = jnp.flip(x, 0), None if valid is None else jnp.flip(valid, 0)
    backward, last = recurrence(params["backward"], x, None, cell=cell, valid=valid, mask=masks[1], unroll=unroll)
    both = jnp.concatenate([forward, jnp.flip(backward, 0)], axis=-1)
    return both, jnp.concatenate([carry[0], last[0]], axis=-1), carry


def _dropped(where: str, rate: Scalar, key: Key | None, purpose: int, x: Array) -> Array:
    """Drop values of x at a rate, with the subkey of this purpose."""
    if checks.known_zero(rate):
        return x
    return regularizers.dropout(x, key=jax.random.fold_in(checks.require_key(where, key), purpose), rate=rate)


def _masks(where: str, settings: Settings, key: Key | None, x: Array) -> tuple[Array | None, ...]:
    """What multiplies h_{t-1} at every step, [batch, units], for each direction; None for nothing."""
    directions = 2 if settings.bidirectional else 1
    if checks.known_zero(settings.recurrent_dropout):
        return (None,) * directions
    ones = jnp.ones((x.shape[1], settings.units), jnp.promote_types(x.dtype, jnp.float32))
    return tuple(_dropped(where, settings.recurrent_dropout, key, 1 + side, ones) for side in range(directions))


def _like(old: dict[str, Array], new: dict[str, Array]) -> dict[str, Array]:
    """A carried state in the shapes and dtypes of the one before."""
    return {part: new[part].reshape(array.shape).astype(array.dtype) for part, array in old.items()}


def _time_major(
    where: str, x: Array, lengths: Array | None
) -> tuple[Float[Array, "time batch features"], Bool[Array, "time batch 1"] | None]:
    """Time first, one batch axis; and which steps count, None for all. Where they do not, x is 0."""
    (time, features), rows = x.shape[-2:], math.prod(x.shape[:-2])
    if lengths is None:
        return jnp.moveaxis(x, -2, 0).reshape(time, rows, features), None
    within = within_lengths(where, lengths, x.shape[:-1])
    valid = jnp.moveaxis(within, -1, 0).reshape(time, rows, 1)
    # A step that is skipped afterwards would not stop a NaN in the gradient: 0 * NaN is NaN.
    return jnp.where(valid, jnp.moveaxis(x, -2, 0).reshape(time, rows, features), 0), valid


def _carried(where: str, settings: Settings, state: State, batch: Shape, *, train: bool) -> State:
    """The state to begin with, no gradient flows into it; empty for zeros."""
    if settings.carry_batch_shape is None:
        return {}
    if not state:
        raise ValueError(
            f"{where}: expected the carried state that init made, or the last apply returned, got {state!r}"
        )
    expected = jax.tree.leaves(state)[0].shape[:-1]
    if batch == expected:
        return jax.lax.stop_gradient(state)
    if train:
        raise ValueError(
            f"{where}: expected inputs with the batch axes {expected} of the carried state, got {batch}; "
            "change the batch or carry_batch_shape"
        )
    return {}


def _check_settings(where: str, settings: Settings) -> None:
    """Refuse what is wrong whatever the inputs."""
    checks.require_size(where, features=settings.units, depth=settings.depth, unroll=settings.unroll)
    checks.require_number(where, "dropout", settings.dropout, at_least=0, below=1)
    checks.require_number(where, "recurrent_dropout", settings.recurrent_dropout, at_least=0, below=1)
    if settings.output not in ("sequence", "last"):
        raise ValueError(f"{where}: expected output to be 'sequence' or 'last', got {settings.output!r}")
    shape = settings.carry_batch_shape
    if shape is None:
        return
    if settings.bidirectional:
        raise ValueError(
            f"{where}: expected bidirectional or carry_batch_shape, got both; what is read from the end cannot go on"
        )
    if not isinstance(shape, tuple) or not all(isinstance(size, int) and size >= 1 for size in shape):
        raise ValueError(f"{where}: expected carry_batch_shape to be a tuple of positive integers, got {shape!r}")


def _check_inputs(where: str, params: Params, x: Array) -> None:
    """Refuse inputs that do not fit the parameters."""
    checks.require_floating(where, inputs=x)
    features = params["layer_0"]["forward"]["input_kernel"].shape[0]
    if x.ndim < 2 or x.shape[-1] != features or x.shape[-2] < 1:
        raise ValueError(
            f"{where}: expected inputs [*batch, time, {features}] with at least one step, got {jax.typeof(x)}"
        )
