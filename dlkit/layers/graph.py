"""A layer of named layers and a plain function that says how they are wired: branches, skips from the middle."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from dlkit.hints import nearest
from dlkit.layers.base import About, Layer, as_layer, described
from dlkit.layers.calls import Call, Ran, Shapes, composite, init_inside
from dlkit.layers.children import Children, Running, named_children
from dlkit.layers.probe import batched, probing
from dlkit.layers.ragged import with_padding_zero
from dlkit.typing import Array, ArrayFunction, DTypeLike, Key, Params, Shape, State

__all__ = ["graph"]


@described
def graph(
    function: Callable[..., Any], /, *, input_dtype: DTypeLike = jnp.float32, **layers: Layer | ArrayFunction
) -> Layer:
    """Wire named layers by a plain function: y = function(inside, x), where `inside.name(x)` applies a layer.

    What happens between the layers is ordinary code: sums, concatenation, skips, loops whose length is known. A layer
    that is called twice has the same parameters both times, and its state goes on. The function is traced once more by
    `init`, to find the shapes; a layer that it does not call has no parameters.

    Arguments of the function after these two are side inputs of the whole, which it hands on by name:

        def translate(inside, x, source):
            return inside.decoder(x, context=inside.encoder(source))

    It may return a tree of arrays, each `[*batch, ...]`, such as a NamedTuple of all that a model makes. So may the
    layers.

    Other side inputs (masks, lengths) reach the layers that take them by themselves, as in `serial`.

    Parameters: `{name: those of the layer}`, without the entries that are empty; the state likewise. Layer i gets the
    subkey `fold_in(key, i)`, in the order in which they are given; from its second call on, in `apply`, also folded in
    with the number of the call.

    Args:
        function: `(inside, x, **side) -> y`, with x `[*batch, ...]`, and y likewise or a tree of such arrays.
        input_dtype: dtype of the examples, for `init`; `jnp.int32` for token ids.
        **layers: the layers, or plain functions, by name.

    Returns:
        The layer.

    Raises:
        TypeError: one of the layers is neither a layer nor a function.
        ValueError: with lengths, a layer changes the time axis, whose lengths the function then has to say:
            `inside.name(x, lengths=...)` takes other ones, and None is for none; or y is not one array.
        AttributeError: the function calls a layer that is not there.

    Example:
        >>> from dlkit.layers import dense
        >>> def skip_from_the_middle(inside, x):
        ...     h = inside.down(x)
        ...     return inside.up(jnp.tanh(h)) + inside.around(h)
        >>> layer = graph(skip_from_the_middle, down=dense(2), up=dense(4), around=dense(4))
        >>> params, state = layer.init(jax.random.key(0), (4,))
        >>> layer.apply(params, state, jnp.ones((3, 4)))[0].shape
        (3, 4)
    """
    children = named_children("graph", (), None, {name: as_layer(layer) for name, layer in layers.items()})
    inside = Children(children)
    own = tuple(inspect.signature(function).parameters)[2:]

    def init(key: Key, input_shape: Shape, shapes: Shapes) -> tuple[Params, State]:
        found = _Shapes(inside, shapes)
        side = {name: batched(shape) for name, shape in shapes.items()}

        def trace(x: Array, side: dict[str, Array]) -> Any:
            found.side = side
            return function(_Inside(inside, found.apply), x, **_own(side, own))

        with probing():
            jax.eval_shape(trace, batched(input_shape, input_dtype), side)
        beginning = inside.begin(key, shapes)
        for child in children:
            if child.name in found.of:
                beginning.init(child.name, *found.of[child.name])
        return beginning.params, beginning.state

    def run(params: Params, state: State, x: Array, call: Call) -> Ran:
        running = inside.run(params, state, call)
        if call.lengths is not None:
            x = with_padding_zero("graph", x, call.lengths)

        def apply(name: str, x: Array, given: dict[str, Any]) -> Any:
            return _applied(running, name, x, {"lengths": call.lengths, **given})

        y = function(_Inside(inside, apply), x, **_own(call.side, own))
        lengths = call.lengths
        if lengths is not None:
            kept = lengths.ndim + 1
            lengths = lengths if _one(y).shape[:kept] == x.shape[:kept] else None
        return (y if lengths is None else with_padding_zero("graph", y, lengths)), running.next_state(), lengths

    def rebuild(others: tuple[Layer, ...]) -> Layer:
        return graph(function, input_dtype=input_dtype, **dict(zip(inside.by_name, others, strict=True)))

    about = About(parts=inside.parts(), rebuild=rebuild)
    return composite("graph", init, run, about, own_inputs=frozenset(own))


class _Inside:
    """The layers, as attributes that are functions."""

    def __init__(self, inside: Children, apply: Callable[[str, Array, dict[str, Any]], Any]) -> None:
        self._names, self._apply = tuple(inside.by_name), apply

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name not in self._names:
            raise AttributeError(f"graph: no layer is called {name!r}; {nearest(name, self._names)}")
        return lambda x, **side: self._apply(name, x, side)


class _Shapes:
    """What the layers are first called with, found while nothing is computed."""

    def __init__(self, inside: Children, shapes: Shapes) -> None:
        self.inside, self.shapes = inside, shapes
        self.side: Mapping[str, Array] = {}
        self.of: dict[str, tuple[Shape, Shapes]] = {}

    def apply(self, name: str, x: Array, given: dict[str, Any]) -> Any:
        layer = self.inside.by_name[name].layer
        given = {key: value for key, value in given.items() if value is not None}
        more = {key: jax.ShapeDtypeStruct(value.shape[1:], value.dtype) for key, value in given.items()}
        shape, shapes = self.of.setdefault(name, (tuple(x.shape[1:]), more))
        made = jax.eval_shape(lambda: init_inside(layer, jax.random.key(0), shape, {**self.shapes, **shapes}))
        side = {key: value for key, value in {**self.side, **given}.items() if key in layer.side_inputs}
        after = jax.eval_shape(lambda made, x, side: layer.apply(*made, x, **side)[0], made, x, side)
        return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), after)


def _applied(running: Running, name: str, x: Array, given: dict[str, Any]) -> Any:
    """Apply a layer, whose lengths stay what they were."""
    lengths = given.pop("lengths")
    y, after = running.apply(name, x, lengths, **given)
    if after is not None and after is not lengths:
        raise ValueError(
            f"graph: layer {name!r} changes the lengths of sequences, and what the function makes of its outputs is "
            "not known; call it with lengths=None, or chain it with what follows in a serial"
        )
    return y


def _one(y: Any) -> Array:
    """Outputs of which lengths count steps."""
    if not hasattr(y, "shape"):
        raise ValueError(
            "graph: expected a function that returns one array for sequences of unequal lengths, got "
            f"{type(y).__name__}; apply it without lengths"
        )
    array: Array = y
    return array


def _own(side: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: side[name] for name in names if name in side}
