"""Layers made of layers: one after the other (`serial`), side by side (`parallel`), around a shortcut (`residual`)."""

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Integer

from dlkit.layers.base import InitFunction, Layer, as_layer, lambda_, output_shape
from dlkit.layers.ragged import apply_ragged, takes, with_padding_zero
from dlkit.typing import Array, ArrayFunction, DTypeLike, Key, Params, Shape, State

__all__ = ["parallel", "residual", "serial"]


def serial(
    *layers: Layer | ArrayFunction, names: Sequence[str] | None = None, input_dtype: DTypeLike = jnp.float32
) -> Layer:
    """Chain layers: y = f_n(... f_2(f_1(x))). `serial()` is the identity.

    `params` and `state` are dictionaries keyed by the layers' names; a layer without parameters or state has no entry.
    Layer i gets the subkeys `fold_in(key, i)`, in `init` and in `apply`, so that adding a layer at the end changes
    nothing before it. An exception that a layer raises carries a note with its position, name and input shape.

    `apply` takes `lengths=` beside the usual arguments: how many steps of each sequence count, `[*batch]`. Every layer
    then sees 0 after a sequence's length, those that take lengths get them (recurrent layers, attention, normalization
    and pooling over time, convolutions), and those after a stride get the new ones: what the padding holds matters to
    nothing. Where a layer takes `mask=`, so does the chain, which hands it on.

    Args:
        *layers: layers, or plain functions such as activations.
        names: one name per layer; the default is `layer_0`, `layer_1`, ... by position.
        input_dtype: dtype of the examples, needed by `init` to find the shapes in between; `jnp.int32` for token ids.

    Returns:
        The chain as one layer.

    Raises:
        TypeError: one of the layers is neither a layer nor a function.
        ValueError: the names are not one valid name per layer; or, in `apply` with lengths, a layer changes the time
            axis that does not say what becomes of them, such as a plain function.

    Example:
        >>> chain = serial(jnp.abs, lambda x: x + 1, names=("absolute", "shifted"))
        >>> params, state = chain.init(jax.random.key(0), (2,))
        >>> chain.apply(params, state, jnp.array([[-1.0, 2.0]]))
        (Array([[2., 3.]], dtype=float32), {})
    """
    chain = _children("serial", layers, names)

    def init(key: Key, input_shape: Shape) -> tuple[Params, State]:
        params: dict[str, Params] = {}
        state: dict[str, State] = {}
        shape, dtype = tuple(input_shape), input_dtype
        for child in chain:
            with _located(child, shape):
                child_params, child_state = _init_child(child, key, shape, params, state)
                outputs = output_shape(child.layer, child_params, child_state, shape, input_dtype=dtype)
            shape, dtype = outputs.shape, outputs.dtype
        return params, state

    def run(params: Params, state: State, x: Array, call: _Call) -> _Ran:
        new_state: dict[str, State] = {}
        for child in chain:
            x, lengths = _apply_child(child, params, state, x, new_state, call)
            call = call._replace(lengths=lengths)
        return x, new_state, call.lengths

    return _combined(chain, init, run)


def parallel(
    *layers: Layer | ArrayFunction,
    names: Sequence[str] | None = None,
    combine: Callable[[list[Array]], Array] | None = None,
) -> Layer:
    """Give the same input to several layers and combine their outputs: y = combine([f_1(x), ..., f_n(x)]).

    Parameters, state, names, subkeys, the notes on exceptions and what `apply` takes are those of `serial`.

    Args:
        *layers: layers, or plain functions; at least one.
        names: one name per layer; the default is `layer_0`, `layer_1`, ... by position.
        combine: a function of the list of outputs, each `[*batch, ...]`, that returns one array and keeps the batch
            axes, e.g. `sum`; None concatenates them on the last axis.

    Returns:
        The layers as one layer.

    Raises:
        TypeError: one of the layers is neither a layer nor a function.
        ValueError: there are none; the names are not one valid name per layer; or, in `apply`, the outputs differ in
            more than their last axis and combine is None.

    Reference:
        Szegedy et al., "Going deeper with convolutions", 2014, https://arxiv.org/abs/1409.4842.

    Example:
        >>> layer = parallel(jnp.abs, jnp.square, combine=sum)
        >>> layer.apply({}, {}, jnp.array([[-1.0, 3.0]]))
        (Array([[ 2., 12.]], dtype=float32), {})
    """
    if not layers:
        raise ValueError("parallel: expected at least one layer, got none")
    children = _children("parallel", layers, names)
    return _branches(children, _concatenated if combine is None else combine)


def residual(layer: Layer | ArrayFunction, *, shortcut: Layer | ArrayFunction | None = None) -> Layer:
    """Add a shortcut around a layer: y = f(x) + s(x), with the identity as s unless one is given.

    Parameters: `{"branch": those of the layer, "shortcut": those of the shortcut}`, without the entries that are empty;
    the state likewise. The subkeys are `fold_in(key, 0)` for the branch and `fold_in(key, 1)` for the shortcut. `apply`
    takes `lengths=` and `mask=` as that of `serial`.

    Args:
        layer: the branch f.
        shortcut: the layer s, for a branch that changes the shape, e.g. `dense(features, use_bias=False)`.

    Returns:
        A layer with the output shape of the branch.

    Raises:
        TypeError: the layer or the shortcut is neither a layer nor a function.
        ValueError: in `apply`, branch and shortcut differ in shape: nothing is broadcast.

    Reference:
        He et al., "Deep residual learning for image recognition", 2015, https://arxiv.org/abs/1512.03385.

    Example:
        >>> residual(jnp.abs).apply({}, {}, jnp.array([-1.0, 2.0]))
        (Array([0., 4.], dtype=float32), {})
    """
    identity = shortcut is None

    def add(outputs: list[Array]) -> Array:
        branch, around = outputs
        if branch.shape != around.shape:
            hint = "pass shortcut=... to map the input to the shape of the branch" if identity else "change one of them"
            raise ValueError(
                f"residual: expected branch and shortcut of one shape, got {jax.typeof(branch)} from the branch and "
                f"{jax.typeof(around)} from {'the input' if identity else 'the shortcut'}; {hint}"
            )
        # y = f(x) + s(x)
        return branch + around

    around = lambda_(lambda x: x) if shortcut is None else shortcut
    return _branches(_children("residual", (layer, around), ("branch", "shortcut")), add)


class _Child(NamedTuple):
    """A layer inside another one."""

    where: str
    position: int
    name: str
    layer: Layer


def _children(where: str, layers: Sequence[Layer | ArrayFunction], names: Sequence[str] | None) -> tuple[_Child, ...]:
    """Name and number the layers inside another one."""
    count = len(layers)
    if names is None:
        names = tuple(f"layer_{position}" for position in range(count))
    elif (
        isinstance(names, str)
        or len(names) != count
        or len(set(names)) != count
        or not all(map(str.isidentifier, names))
    ):
        raise ValueError(f"{where}: expected {count} different identifiers as names, one per layer, got {names!r}")
    return tuple(
        _Child(where, position, name, as_layer(layer))
        for position, (name, layer) in enumerate(zip(names, layers, strict=True))
    )


def _init_child(
    child: _Child, key: Key, input_shape: Shape, params: dict[str, Params], state: dict[str, State]
) -> tuple[Params, State]:
    """Initialize a layer with its own subkey and enter what holds arrays under its name."""
    made = child.layer.init(jax.random.fold_in(key, child.position), input_shape)
    for tree, entry in zip((params, state), made, strict=True):
        _store(tree, child.name, entry)
    return made


class _Call(NamedTuple):
    """What a layer is applied with, beside parameters, state and inputs."""

    key: Key | None
    train: bool
    lengths: Array | None
    mask: Array | None


_Ran: TypeAlias = tuple[Array, State, Array | None]  # outputs, next state, lengths after it


def _apply_child(
    child: _Child, params: Params, state: State, x: Array, new_state: dict[str, State], call: _Call
) -> tuple[Array, Array | None]:
    """Apply a layer with its own subkey and enter its next state; return outputs and the lengths after it."""
    key = None if call.key is None else jax.random.fold_in(call.key, child.position)
    with _located(child, x.shape):
        y, child_state, lengths = apply_ragged(
            child.layer,
            params.get(child.name, {}),
            state.get(child.name, {}),
            x,
            call.lengths,
            key=key,
            train=call.train,
            mask=call.mask,
        )
    _store(new_state, child.name, child_state)
    return y, lengths


def _combined(
    children: tuple[_Child, ...],
    init: InitFunction,
    run: Callable[[Params, State, Array, _Call], _Ran],
) -> Layer:
    """A layer made of others; its `apply` takes a mask where one of theirs does."""

    def apply_masked(
        params: Params,
        state: State,
        x: Array,
        *,
        key: Key | None = None,
        train: bool = False,
        lengths: Integer[Array, "..."] | None = None,
        mask: Bool[Array, "..."] | None = None,
    ) -> tuple[Array, State]:
        return run(params, state, x, _Call(key, train, lengths, mask))[:2]

    def ragged_masked(
        params: Params,
        state: State,
        x: Array,
        lengths: Integer[Array, "..."],
        *,
        key: Key | None = None,
        train: bool = False,
        mask: Bool[Array, "..."] | None = None,
    ) -> _Ran:
        return run(params, state, x, _Call(key, train, lengths, mask))

    if any(takes(child.layer.apply, "mask") for child in children):
        return Layer(init, apply_masked, ragged_masked)

    def apply(
        params: Params,
        state: State,
        x: Array,
        *,
        key: Key | None = None,
        train: bool = False,
        lengths: Integer[Array, "..."] | None = None,
    ) -> tuple[Array, State]:
        return apply_masked(params, state, x, key=key, train=train, lengths=lengths)

    def ragged(
        params: Params,
        state: State,
        x: Array,
        lengths: Integer[Array, "..."],
        *,
        key: Key | None = None,
        train: bool = False,
    ) -> _Ran:
        return ragged_masked(params, state, x, lengths, key=key, train=train)

    return Layer(init, apply, ragged)


def _branches(children: tuple[_Child, ...], combine: Callable[[list[Array]], Array]) -> Layer:
    """Layers with the same input, and a function of the list of their outputs."""

    def init(key: Key, input_shape: Shape) -> tuple[Params, State]:
        params: dict[str, Params] = {}
        state: dict[str, State] = {}
        for child in children:
            with _located(child, input_shape):
                _init_child(child, key, input_shape, params, state)
        return params, state

    def run(params: Params, state: State, x: Array, call: _Call) -> _Ran:
        new_state: dict[str, State] = {}
        applied = [_apply_child(child, params, state, x, new_state, call) for child in children]
        y, lengths = (
            combine([outputs for outputs, _ in applied]),
            _common(children[0].where, [each for _, each in applied]),
        )
        return (y if lengths is None else with_padding_zero(children[0].where, y, lengths)), new_state, lengths

    return _combined(children, init, run)


def _common(where: str, lengths: list[Array | None]) -> Array | None:
    """The steps that count in every branch."""
    known = [each for each in lengths if each is not None]
    if 0 < len(known) < len(lengths):
        raise ValueError(f"{where}: expected branches that all keep the time axis or all remove it, got both")
    return functools.reduce(jnp.minimum, known) if known else None


def _concatenated(outputs: list[Array]) -> Array:
    """The outputs side by side on the last axis."""
    if min(y.ndim for y in outputs) == 0 or len({y.shape[:-1] for y in outputs}) > 1:
        raise ValueError(
            "parallel: expected outputs that differ in their last axis only, got "
            f"{', '.join(str(jax.typeof(y)) for y in outputs)}; pass combine=... or change the layers"
        )
    return jnp.concatenate(outputs, axis=-1)


def _store(tree: dict[str, Params], name: str, entry: Params) -> None:
    """Add an entry unless it holds no arrays."""
    if jax.tree.leaves(entry):
        tree[name] = entry


@contextlib.contextmanager
def _located(child: _Child, input_shape: Shape) -> Iterator[None]:
    """Note on an exception in which layer it was raised."""
    try:
        yield
    except Exception as error:
        error.add_note(f"in {child.where}: layer {child.position} ({child.name!r}), input shape {tuple(input_shape)}")
        raise
