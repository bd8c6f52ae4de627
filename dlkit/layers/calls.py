"""How a layer made of others is called, and calls them: side inputs, lengths, the shapes of what is in between."""

import contextlib
import contextvars
import inspect
from collections.abc import Callable, Hashable, Iterator, Mapping
from typing import Any, NamedTuple, Protocol, TypeAlias, runtime_checkable

import jax

from dlkit.hints import nearest
from dlkit.layers.base import About, Layer, Part
from dlkit.layers.ragged import apply_ragged
from dlkit.typing import Array, Key, Params, Shape, State

__all__ = [
    "Call",
    "Ran",
    "RunFunction",
    "Shapes",
    "apply_inside",
    "around",
    "composite",
    "init_inside",
    "known_shapes",
]

Shapes: TypeAlias = Mapping[str, Shape | jax.ShapeDtypeStruct]
"""Of side inputs, for one example."""


_known: contextvars.ContextVar[dict[Hashable, jax.ShapeDtypeStruct] | None] = contextvars.ContextVar(
    "_known", default=None
)
"""What layers make of which inputs, since the outermost initialization began: a deep model has many equal ones."""


class Call(NamedTuple):
    """What a layer is applied with, beside parameters, state and inputs."""

    key: Key | None
    train: bool
    lengths: Array | None
    side: Mapping[str, Any]


Ran: TypeAlias = tuple[Any, State, Array | None]
"""Outputs, an array or a tree of arrays; next state; lengths after it."""


@runtime_checkable
class RunFunction(Protocol):
    """What `composite` makes `apply` and `ragged` of."""

    def __call__(self, params: Params, state: State, x: Array, call: Call) -> Ran:
        """Apply the layer."""
        ...


def composite(
    where: str,
    init: Callable[[Key, Shape, Shapes], tuple[Params, State]],
    run: RunFunction,
    about: About,
    *,
    renamed: Mapping[str, str] | None = None,
    own_inputs: frozenset[str] = frozenset(),
) -> Layer:
    """A layer made of others. It takes every side input that one of them takes, and lengths.

    Args:
        where: its name, first in messages.
        init: `(key, input_shape, side shapes) -> (params, state)`.
        run: what it does.
        about: its parts.
        renamed: what parts call a side input -> what this layer calls it.
        own_inputs: side inputs that the layer takes itself.

    Returns:
        The layer.

    Example:
        >>> from dlkit.layers.dense import dense
        >>> inner = dense(2)
        >>> layer = composite(
        ...     "outer",
        ...     lambda key, shape, shapes: inner.init(key, shape),
        ...     lambda params, state, x, call: apply_inside(inner, params, state, x, call),
        ...     About(parts=(Part("", inner),)),
        ... )
        >>> layer.side_inputs
        frozenset({'lengths'})
    """
    names = renamed or {}
    taken = {names.get(name, name) for part in about.parts for name in part.layer.side_inputs}
    inputs = frozenset(taken | {"lengths"}) | own_inputs

    def initialize(key: Key, input_shape: Shape, **side_shapes: Shape | jax.ShapeDtypeStruct) -> tuple[Params, State]:
        _require_known(where, side_shapes, inputs)
        with _remembering():
            return init(key, tuple(input_shape), side_shapes)

    def apply(
        params: Params,
        state: State,
        x: Array,
        *,
        key: Key | None = None,
        train: bool = False,
        lengths: Array | None = None,
        **side: Any,
    ) -> tuple[Any, State]:
        _require_known(where, side, inputs)
        return run(params, state, x, Call(key, train, lengths, _given(side)))[:2]

    def ragged(
        params: Params,
        state: State,
        x: Array,
        lengths: Array,
        *,
        key: Key | None = None,
        train: bool = False,
        **side: Any,
    ) -> Ran:
        _require_known(where, side, inputs)
        return run(params, state, x, Call(key, train, lengths, _given(side)))

    _say_what_is_taken(apply, inputs)
    return Layer(initialize, apply, ragged, about._replace(inputs=inputs))


def apply_inside(layer: Layer, params: Params, state: State, x: Array, call: Call) -> Ran:
    """Apply the one layer inside a wrapper: it gets all of the call that it takes.

    Example:
        >>> import jax.numpy as jnp
        >>> from dlkit.layers.base import as_layer
        >>> apply_inside(as_layer(jnp.abs), {}, {}, jnp.array(-1.0), Call(None, False, None, {}))[0].item()
        1.0
    """
    return apply_ragged(layer, params, state, x, call.lengths, key=call.key, train=call.train, **call.side)


def around(where: str, layer: Layer, run: RunFunction, rebuild: Callable[[tuple[Layer, ...]], Layer]) -> Layer:
    """A layer around one other, with the same parameters and state.

    Args:
        where: its name, first in messages.
        layer: the layer inside.
        run: what it does.
        rebuild: makes it of another layer inside.

    Example:
        >>> import jax.numpy as jnp
        >>> from dlkit.layers.base import as_layer
        >>> def same(layer: Layer) -> Layer:
        ...     run = lambda params, state, x, call: apply_inside(layer, params, state, x, call)
        ...     return around("same", layer, run, lambda layers: same(layers[0]))
        >>> same(as_layer(jnp.abs)).apply({}, {}, jnp.array(-1.0))[0].item()
        1.0
    """

    def init(key: Key, input_shape: Shape, shapes: Shapes) -> tuple[Params, State]:
        return init_inside(layer, key, input_shape, shapes)

    return composite(where, init, run, About(parts=(Part("", layer),), rebuild=rebuild))


def init_inside(layer: Layer, key: Key, input_shape: Shape, shapes: Shapes) -> tuple[Params, State]:
    """Initialize a layer inside another one, with the shapes of the side inputs that it takes.

    Example:
        >>> import jax.numpy as jnp
        >>> from dlkit.layers.base import as_layer
        >>> init_inside(as_layer(jnp.abs), jax.random.key(0), (3,), {"context": (2,)})
        ({}, {})
    """
    if not layer.parts:
        return layer.init(key, input_shape)
    return layer.init(key, input_shape, **{name: shapes[name] for name in shapes if name in layer.side_inputs})


def known_shapes() -> dict[Hashable, jax.ShapeDtypeStruct]:
    """What was found of the outputs of layers since the outermost initialization began; to be added to.

    Example:
        >>> known_shapes()
        {}
    """
    known = _known.get()
    return {} if known is None else known


@contextlib.contextmanager
def _remembering() -> Iterator[None]:
    """Remember shapes until the outermost initialization ends."""
    if _known.get() is not None:
        yield
        return
    began = _known.set({})
    try:
        yield
    finally:
        _known.reset(began)


def _given(side: Mapping[str, Any]) -> dict[str, Any]:
    """The side inputs that are there."""
    return {name: value for name, value in side.items() if value is not None}


def _require_known(where: str, side: Mapping[str, Any], inputs: frozenset[str]) -> None:
    """Refuse side inputs that no layer takes."""
    unknown = [name for name in side if name not in inputs]
    if unknown:
        hint = nearest(unknown[0], sorted(inputs))
        raise TypeError(f"{where}: no layer in it takes {unknown[0]!r}; {hint}")


def _say_what_is_taken(apply: Callable[..., object], inputs: frozenset[str]) -> None:
    """Let `inspect.signature` of a function that takes any name tell those that it does not refuse."""
    parameter = inspect.Parameter
    named = {"key": None, "train": False, "lengths": None, **dict.fromkeys(sorted(inputs - {"lengths"}))}
    in_order = [parameter(name, parameter.POSITIONAL_OR_KEYWORD) for name in ("params", "state", "x")]
    by_name = [parameter(name, parameter.KEYWORD_ONLY, default=default) for name, default in named.items()]
    vars(apply)["__signature__"] = inspect.Signature([*in_order, *by_name])
