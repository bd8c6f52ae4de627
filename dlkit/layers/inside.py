"""What is inside a model, by path: the outputs of its layers (`capture`), other layers in their places (`replaced`).

A path is the names of layers, from outside: `body/block_3/attention`. `Layer.sublayers` has them all.
"""

import fnmatch
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, overload

from jaxtyping import Shaped

from dlkit.hints import nearest
from dlkit.layers.base import Layer, Networks, as_layer, path_of
from dlkit.layers.calls import Call, Ran, apply_inside, around
from dlkit.layers.taps import Tapped, untapped
from dlkit.typing import Array, ArrayFunction, Key, Params, State

__all__ = ["capture", "replaced", "tapped", "with_each"]

_Model = TypeVar("_Model", bound=Networks)


def capture(
    layer: Layer | Networks,
    params: Params,
    state: State,
    x: Shaped[Array, "..."],
    *,
    paths: str | Sequence[str] = "*",
    key: Key | None = None,
    train: bool = False,
    **side: Any,
) -> tuple[Any, State, dict[str, Any]]:
    """Apply a layer, and return also the outputs of layers inside it.

    It is pure: it works under `jax.jit`, `jax.grad` (as an auxiliary output) and `jax.vmap`, and with `remat`. Inside
    of `repeat` and `ensemble` the outputs of all copies are stacked on a first axis. A layer that `graph` calls a
    second time has a second output, at `path:2`.

    Args:
        layer: the layer; a model of several networks is applied as its `layer`.
        params: its parameters.
        state: its state.
        x: its inputs.
        paths: which layers: patterns as in file names, where `*` also matches `/`; `"*"` for all of them.
        key: as for `apply`.
        train: as for `apply`.
        **side: lengths and side inputs, as for `apply`.

    Returns:
        The outputs, the next state, and path -> output of the layers inside; the outputs are what `apply` returns,
        an array or a tree of arrays.

    Raises:
        ValueError: no layer inside has a path that matches a pattern, or those that have are inside of a layer that
            cannot be made anew.
        TypeError: the first argument is no layer.

    Example:
        >>> import jax.numpy as jnp
        >>> from dlkit.layers import serial
        >>> model = serial(up=lambda x: x + 1.0, double=lambda x: 2.0 * x)
        >>> y, _, found = capture(model, {}, {}, jnp.array(3.0))
        >>> {path: value.item() for path, value in found.items()}
        {'up': 4.0, 'double': 8.0}
    """
    layer = as_layer(layer)
    patterns = (paths,) if isinstance(paths, str) else tuple(paths)
    watched = tapped(layer, {path for pattern in patterns for path in _matching(layer, pattern)})
    y, state = watched.apply(params, state, x, key=key, train=train, **side)
    outputs, state = untapped(state)
    return y, state, {path: outputs[path] for path in sorted(outputs, key=_order(layer))}


@overload
def replaced(layer: Layer, path: str, other: Layer | ArrayFunction) -> Layer: ...


@overload
def replaced(layer: _Model, path: str, other: Layer | ArrayFunction) -> _Model: ...


def replaced(layer: Any, path: str, other: Layer | ArrayFunction) -> Any:
    """The same layer with another one at a place inside: a new head, a frozen or a wrapped part.

    Args:
        layer: the layer, or a model of several networks.
        path: of the place, as in `Layer.sublayers`.
        other: what stands there now. `layer.sublayers[path]` is what stood there, to be wrapped.

    Returns:
        A new layer, or a new model of the same kind; the parameters elsewhere have the same places.

    Raises:
        ValueError: there is no such place, or a layer around it cannot be made anew.
        TypeError: the first argument is no layer, or a model that is no NamedTuple.

    Example:
        >>> from dlkit.layers import dense, serial
        >>> replaced(serial(body=dense(8), head=dense(10)), "head", dense(2))
        serial(
            body=dense(8),
            head=dense(2),
        )
    """
    whole = as_layer(layer)
    if path not in whole.sublayers:
        raise ValueError(f"replaced: no layer inside is at {path!r}; {nearest(path, whole.sublayers)}")
    new = _with(whole, path, as_layer(other), "")
    return _networks(layer, new) if isinstance(layer, Networks) else new


def tapped(layer: Layer, paths: set[str]) -> Layer:
    """The same layer, whose next state also carries the outputs at the paths.

    Example:
        >>> import jax.numpy as jnp
        >>> from dlkit.layers import serial
        >>> _, state = tapped(serial(up=lambda x: x + 1.0), {"up"}).apply({}, {}, jnp.array(3.0))
        >>> state.outputs["up"].item()
        4.0
    """
    return with_each(layer, lambda path, inner: _tap(inner, path) if path in paths else inner)


def with_each(layer: Layer, change: Callable[[str, Layer], Layer]) -> Layer:
    """The same layer with each layer inside changed, from inside out: an outer one has the changed inner ones.

    Args:
        layer: the layer.
        change: `(path, layer) -> layer`; returns the layer itself where nothing changes.

    Returns:
        A new layer. What is inside of a layer that cannot be made anew stays as it is.

    Example:
        >>> from dlkit.layers import dense, serial
        >>> with_each(serial(a=dense(8)), lambda path, inner: dense(2))
        serial(a=dense(2))
    """
    return _each(layer, change, "")


def _each(layer: Layer, change: Callable[[str, Layer], Layer], path: str) -> Layer:
    """`with_each`, of a layer at a path."""
    if layer.about.rebuild is None:
        return layer
    parts = []
    for part in layer.parts:
        inner = path_of(path, part.name)
        new = _each(part.layer, change, inner)
        parts.append(change(inner, new) if part.name else new)
    same = all(new is part.layer for new, part in zip(parts, layer.parts, strict=True))
    return layer if same else layer.about.rebuild(tuple(parts))


def _with(layer: Layer, place: str, other: Layer, path: str) -> Layer:
    """The layer at a path, with another one at a place inside."""
    parts = []
    for part in layer.parts:
        inner = path_of(path, part.name)
        if part.name and inner == place:
            parts.append(other)
        elif not inner or place.startswith(f"{inner}/"):
            parts.append(_with(part.layer, place, other, inner))
        else:
            parts.append(part.layer)
    if all(new is part.layer for new, part in zip(parts, layer.parts, strict=True)):
        return layer
    if layer.about.rebuild is None:
        raise ValueError(
            f"the layer at {path or 'the top'!r} cannot be made with other layers inside; it was changed by hand, or "
            "has no about.rebuild"
        )
    return layer.about.rebuild(tuple(parts))


def _matching(layer: Layer, pattern: str) -> list[str]:
    """The paths that match a pattern."""
    found = fnmatch.filter(layer.sublayers, pattern)
    if not found:
        raise ValueError(
            f"capture: expected a pattern that matches the path of a layer inside, got {pattern!r}; "
            f"{nearest(pattern, layer.sublayers)}"
        )
    seen: list[str] = []

    def see(path: str, inner: Layer) -> Layer:
        seen.append(path)
        return inner

    with_each(layer, see)
    if not set(found).intersection(seen):
        raise ValueError(
            f"capture: the layer around {found[0]!r} cannot be made with other layers inside; it was changed by hand, "
            "or has no about.rebuild"
        )
    return found


def _networks(model: Any, layer: Layer) -> Any:
    """A model of several networks, with those inside of a layer."""
    if not hasattr(model, "_fields"):
        raise TypeError(f"replaced: expected a NamedTuple of networks, got {type(model).__name__}; give its layer")
    of_layer = {"init": layer.init, "apply": layer.apply, "layer": layer, **layer.sublayers}
    return model._replace(**{name: of_layer[name] for name in model._fields if name in of_layer})


def _tap(layer: Layer, path: str) -> Layer:
    """The layer, whose next state also carries its output."""

    def run(params: Params, state: State, x: Array, call: Call) -> Ran:
        y, state, after = apply_inside(layer, params, state, x, call)
        return y, Tapped({path: y}, state), after

    return around("capture", layer, run, lambda layers: _tap(layers[0], path))


def _order(layer: Layer) -> Any:
    """Paths as they stand in the model; a second call after all first ones of its layer."""
    places = {path: place for place, path in enumerate(layer.sublayers)}
    return lambda path: (places[path.partition(":")[0]], path)
