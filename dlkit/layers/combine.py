"""Layers made of layers: one after the other (`serial`), side by side (`parallel`), around a shortcut (`residual`)."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from dlkit.layers.base import About, Layer, described, lambda_
from dlkit.layers.calls import Call, Ran, Shapes, composite
from dlkit.layers.children import Child, Children, located, named_children
from dlkit.layers.ragged import with_padding_zero
from dlkit.typing import Array, ArrayFunction, DTypeLike, Key, Params, Shape, State

__all__ = ["parallel", "residual", "serial"]


@described
def serial(
    *layers: Layer | ArrayFunction,
    names: Sequence[str] | None = None,
    input_dtype: DTypeLike = jnp.float32,
    **named: Layer | ArrayFunction,
) -> Layer:
    """Chain layers: y = f_n(... f_2(f_1(x))). `serial()` is the identity.

    `params` and `state` are dictionaries keyed by the layers' names; a layer without parameters or state has no entry.
    Layer i gets the subkeys `fold_in(key, i)`, in `init` and in `apply`, so that adding a layer at the end changes
    nothing before it. An exception that a layer raises carries a note with its position, name and input shape.

    `apply` takes `lengths=` beside the usual arguments: how many steps of each sequence count, `[*batch]`. Every layer
    then sees 0 after a sequence's length, those that take lengths get them (recurrent layers, attention, normalization
    and pooling over time, convolutions), and those after a stride get the new ones: what the padding holds matters to
    nothing.

    Whatever else a layer takes by name, such as `mask=` or `context=`, the chain takes too, and hands it to all that
    take it: a side input. A layer that cannot be traced without one needs its shape in `init`, for one example:
    `chain.init(key, (10, 64), context=(12, 32))`. `renamed` keeps two apart that have one name.

    Args:
        *layers: layers, or plain functions such as activations.
        names: one name per layer; the default is `layer_0`, `layer_1`, ... by position.
        input_dtype: dtype of the examples, needed by `init` to find the shapes in between; `jnp.int32` for token ids.
        **named: layers with their names, `stem=conv(...)`, after those by position. A layer that has the name of an
            argument is named by `names`.

    Returns:
        The chain as one layer.

    Raises:
        TypeError: one of the layers is neither a layer nor a function.
        ValueError: the names are not one valid name per layer; or, in `apply` with lengths, a layer changes the time
            axis that does not say what becomes of them, such as a plain function. In `init` and `apply`, TypeError: a
            side input that no layer takes.

    Example:
        >>> chain = serial(absolute=jnp.abs, shifted=lambda x: x + 1)
        >>> params, state = chain.init(jax.random.key(0), (2,))
        >>> chain.apply(params, state, jnp.array([[-1.0, 2.0]]))
        (Array([[2., 3.]], dtype=float32), {})
    """
    chain = named_children("serial", layers, names, named)
    inside = Children(chain)

    def init(key: Key, input_shape: Shape, shapes: Shapes) -> tuple[Params, State]:
        beginning = inside.begin(key, shapes)
        shape, dtype = input_shape, input_dtype
        for child in chain:
            with located(child, shape):
                made = beginning.init(child.name, shape)
                outputs = beginning.output(child.name, *made, shape, dtype)
            shape, dtype = outputs.shape, outputs.dtype
        return beginning.params, beginning.state

    def run(params: Params, state: State, x: Array, call: Call) -> Ran:
        running, lengths = inside.run(params, state, call), call.lengths
        for child in chain:
            x, lengths = running.apply(child.name, x, lengths)
        return x, running.next_state(), lengths

    def rebuild(layers: tuple[Layer, ...]) -> Layer:
        return serial(*layers, names=tuple(inside.by_name), input_dtype=input_dtype)

    return composite("serial", init, run, About(parts=inside.parts(), rebuild=rebuild))


@described
def parallel(
    *layers: Layer | ArrayFunction,
    names: Sequence[str] | None = None,
    combine: Callable[[list[Array]], Any] | None = None,
    **named: Layer | ArrayFunction,
) -> Layer:
    """Give the same input to several layers and combine their outputs: y = combine([f_1(x), ..., f_n(x)]).

    Parameters, state, names, subkeys, the notes on exceptions and what `apply` takes are those of `serial`.

    Args:
        *layers: layers, or plain functions; at least one.
        names: one name per layer; the default is `layer_0`, `layer_1`, ... by position.
        combine: a function of the list of outputs, each `[*batch, ...]`, that returns one array and keeps the batch
            axes, e.g. `sum`; None concatenates them on the last axis.
        **named: layers with their names, as in `serial`.

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
    if not (layers or named):
        raise ValueError("parallel: expected at least one layer, got none")
    children = named_children("parallel", layers, names, named)

    def rebuild(layers: tuple[Layer, ...]) -> Layer:
        return parallel(*layers, names=tuple(child.name for child in children), combine=combine)

    return _branches(children, _concatenated if combine is None else combine, rebuild)


@described
def residual(layer: Layer | ArrayFunction, *, shortcut: Layer | ArrayFunction | None = None) -> Layer:
    """Add a shortcut around a layer: y = f(x) + s(x), with the identity as s unless one is given.

    Parameters: `{"branch": those of the layer, "shortcut": those of the shortcut}`, without the entries that are empty;
    the state likewise. The subkeys are `fold_in(key, 0)` for the branch and `fold_in(key, 1)` for the shortcut. `apply`
    takes `lengths=` and side inputs as that of `serial`.

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
    children = named_children("residual", (layer, around), ("branch", "shortcut"))
    return _branches(children, add, lambda layers: residual(layers[0], shortcut=layers[1]))


def _branches(
    children: tuple[Child, ...], combine: Callable[[list[Array]], Any], rebuild: Callable[[tuple[Layer, ...]], Layer]
) -> Layer:
    """Layers with the same input, and a function of the list of their outputs."""
    where, inside = children[0].where, Children(children)

    def init(key: Key, input_shape: Shape, shapes: Shapes) -> tuple[Params, State]:
        beginning = inside.begin(key, shapes)
        for child in children:
            with located(child, input_shape):
                beginning.init(child.name, input_shape)
        return beginning.params, beginning.state

    def run(params: Params, state: State, x: Array, call: Call) -> Ran:
        running = inside.run(params, state, call)
        applied = [running.apply(child.name, x, call.lengths) for child in children]
        y, lengths = combine([outputs for outputs, _ in applied]), _common(where, [each for _, each in applied])
        return (y if lengths is None else with_padding_zero(where, y, lengths)), running.next_state(), lengths

    return composite(where, init, run, About(parts=inside.parts(), rebuild=rebuild))


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
