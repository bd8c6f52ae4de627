"""What a layer is.

A layer is a pair of pure functions. `init` makes its parameters and state from a key and the shape of one example;
`apply` maps a batch of examples. Nothing else is hidden in it, so it works under jit, vmap, grad and scan as it is.
What made it, and which layers are inside, is kept beside the functions: for its text, for equality, and for pickle.
"""

import functools
import inspect
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, ParamSpec, Protocol, runtime_checkable

from dlkit.layers.descriptions import Made, key_of, on_lines, require_arguments
from dlkit.layers.steps import Steps, counted, takes_offset
from dlkit.typing import Array, ArrayFunction, Key, Params, Shape, State

__all__ = [
    "About",
    "ApplyFunction",
    "InitFunction",
    "Layer",
    "Networks",
    "Part",
    "RaggedFunction",
    "as_layer",
    "described",
    "lambda_",
    "path_of",
]

_USUAL = frozenset({"key", "train"})
_Arguments = ParamSpec("_Arguments")


@runtime_checkable
class InitFunction(Protocol):
    """`init(key, input_shape) -> (params, state)`.

    That of layers made of others also takes the shapes of side inputs by name: `init(key, (10, 64), context=(12, 32))`.
    """

    def __call__(self, key: Key, input_shape: Shape, *args: Any, **kwargs: Any) -> tuple[Params, State]:
        """Make the parameters and the state for examples of this shape."""
        ...


@runtime_checkable
class ApplyFunction(Protocol):
    """`apply(params, state, x, *, key=None, train=False) -> (y, state)`, and side inputs by name."""

    def __call__(self, params: Params, state: State, x: Array, *args: Any, **kwargs: Any) -> tuple[Array, State]:
        """Map a batch of examples; return the outputs and the next state."""
        ...


@runtime_checkable
class RaggedFunction(Protocol):
    """`ragged(params, state, x, lengths, *, key=None, train=False) -> (y, state, lengths)`, and side inputs by name."""

    def __call__(
        self, params: Params, state: State, x: Array, lengths: Array, *args: Any, **kwargs: Any
    ) -> tuple[Array, State, Array | None]:
        """Map a batch of padded sequences; return the outputs, the next state and how many steps count now."""
        ...


class Part(NamedTuple):
    """A layer inside another one.

    Attributes:
        name: under which its parameters and its state stand in those of the other; "" if they are the other's own.
        layer: the layer.
        apart: whether its parameters are not those it would have alone: stacked, as in `repeat`, or changed.
    """

    name: str
    layer: "Layer"
    apart: bool = False


class About(NamedTuple):
    """What a layer is made of, beside its functions. All of it may be left out.

    Attributes:
        made: the call that made it; `described` enters it.
        parts: the layers inside.
        rebuild: `rebuild(layers) -> Layer`: the same with other layers inside, in the order of the parts.
        inputs: the side inputs that `apply` takes; None reads them from its signature.
        token: one object for all uses of a layer that is `shared`.
        stepwise: makes the layer for sequences that come a piece at a time, whose whole state is what it keeps of the
            steps before; for a layer that looks at several steps.
        each_step: whether `stepwise` leaves the layer as it is, though it takes lengths or has layers inside.
        own_precision: whether it casts its parameters itself, so that a layer around it must not.
    """

    made: Made | None = None
    parts: tuple[Part, ...] = ()
    rebuild: "Callable[[tuple[Layer, ...]], Layer] | None" = None
    inputs: frozenset[str] | None = None
    token: object | None = None
    stepwise: "Callable[[Steps], Layer] | None" = None
    each_step: bool = False
    own_precision: bool = False


_UNKNOWN = About()


@dataclass(frozen=True, eq=False, repr=False)
class Layer:
    """A pair of pure functions.

    Two layers are equal if one constructor made them with equal arguments; those of one's own, if their functions are
    the same objects. The text of a layer is the call that makes it, as a tree. Layers can be pickled where their
    arguments can.

    Attributes:
        init: `init(key, input_shape) -> (params, state)`. `input_shape` is the shape of **one example**, without batch
            axes. A layer without parameters returns `{}` for them; a layer without state returns `{}` for it.
        apply: `apply(params, state, x, *, key=None, train=False) -> (y, state)`, with x of shape
            `[*batch, *input_shape]` and y of shape `[*batch, *output_shape]`. Stochastic layers require `key` while
            `train` is true. Layers that look at several steps of a sequence at once also take `lengths=`. What else
            `apply` takes by name is a side input, such as `mask=`: layers made of others hand it on.
        ragged: for layers that change or remove the time axis: `apply` for sequences of unequal lengths, which also
            returns the lengths after it. `layers.apply_ragged` tells the whole protocol.
        about: what it is made of, where that is known.

    Example:
        >>> import jax.numpy as jnp
        >>> double = Layer(
        ...     init=lambda key, input_shape: ({}, {}),
        ...     apply=lambda params, state, x, *, key=None, train=False: (2 * x, state),
        ... )
        >>> double.apply({}, {}, jnp.array([1.0, 2.0]))
        (Array([2., 4.], dtype=float32), {})
    """

    init: InitFunction
    apply: ApplyFunction
    ragged: RaggedFunction | None = None
    about: About = _UNKNOWN

    @property
    def parts(self) -> tuple[Part, ...]:
        """The layers inside this one.

        Example:
            >>> lambda_(abs).parts
            ()
        """
        return self.about.parts

    @functools.cached_property
    def side_inputs(self) -> frozenset[str]:
        """What `apply` takes beside key and train, by name, such as `mask` and `lengths`.

        Example:
            >>> sorted(lambda_(abs).side_inputs)
            []
        """
        if self.about.inputs is not None:
            return self.about.inputs
        parameters = list(inspect.signature(self.apply).parameters.values())[3:]
        named = (each.name for each in parameters if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD))
        return frozenset(named) - _USUAL

    @functools.cached_property
    def sublayers(self) -> Mapping[str, "Layer"]:
        """Path -> layer, of all layers inside, outer ones first: `{"stem": ..., "stem/conv": ...}`.

        Example:
            >>> lambda_(abs).sublayers
            {}
        """
        return dict(_below(self, ""))

    @functools.cached_property
    def identity_key(self) -> Hashable:
        """What is the same for layers that are equal.

        Example:
            >>> lambda_(abs).identity_key == lambda_(abs).identity_key
            True
        """
        made = self.about.made
        if self.about.token is not None:
            return ("shared", key_of(self.about.token))
        if made is None:
            return ("functions", *map(key_of, (self.init, self.apply, self.ragged)))
        return ("made", key_of(made.constructor), *((name, key_of(value)) for name, value in made.arguments()))

    def _replace(self, **fields: Any) -> "Layer":
        """The layer with other functions; it is no longer what its constructor made."""
        about = self.about._replace(made=None, rebuild=None, token=None)
        return Layer(**{"init": self.init, "apply": self.apply, "ragged": self.ragged, "about": about, **fields})

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Layer) and self.identity_key == other.identity_key)

    def __hash__(self) -> int:
        return hash(self.identity_key)

    def __repr__(self) -> str:
        if self.about.made is not None:
            return str(self.about.made)
        if self.parts:
            return on_lines("Layer", [f"{part.name or 'layer'}={part.layer!r}" for part in self.parts])
        return f"Layer({getattr(self.apply, '__qualname__', 'apply')})"

    def __reduce__(self) -> tuple[Any, ...]:
        made = self.about.made
        if made is None:
            return Layer, (self.init, self.apply, self.ragged, self.about)
        return _made_again, (made.constructor, made.args, dict(made.kwargs))


@runtime_checkable
class Networks(Protocol):
    """A model of several networks: a NamedTuple of them by name, such as `models.Gan` and `models.Vae`.

    Its fields are layers by the names that they have in the whole. It may also have the fields `init`, `apply` and
    `layer`: those of the whole, and the whole.
    """

    @property
    def layer(self) -> Layer:
        """All of it as one layer, with the networks inside.

        Example:
            >>> from dlkit import models
            >>> sorted(path for path in models.vae((4,), latent=2).layer.sublayers if "/" not in path)
            ['decoder', 'encoder', 'sampling']
        """
        ...


def described(make: Callable[_Arguments, Layer]) -> Callable[_Arguments, Layer]:
    """Let the layers that a function makes know the call that made them. A decorator, for layers of one's own too.

    Args:
        make: a function that returns a layer; of a module's top level, for its layers to be pickled.

    Returns:
        The same function; a layer that it was given and returns as it is stays what it was.

    Example:
        >>> @described
        ... def scaled(factor: float, *, shift: float = 0.0) -> Layer:
        ...     return lambda_(lambda x: factor * x + shift)
        >>> scaled(2.0), scaled(factor=2.0, shift=0.0) == scaled(2.0)
        (scaled(2.0), True)
    """

    @functools.wraps(make)
    def constructor(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> Layer:
        try:
            layer = make(*args, **kwargs)
        except TypeError:
            require_arguments(make, kwargs)
            raise
        if any(layer is each for each in (*args, *kwargs.values())):
            return layer
        made = Made(constructor, args, kwargs)
        return Layer(layer.init, layer.apply, layer.ragged, layer.about._replace(made=made))

    return constructor


@described
def lambda_(function: ArrayFunction) -> Layer:
    """Make a layer of a plain function: y = f(x), without parameters and state.

    Args:
        function: of one array, such as an activation. It sees the batch axes too, `[*batch, *input_shape]`, and has to
            keep them. In `stepwise`, one that takes `offset=` gets the positions `[*batch]` of the first steps.

    Returns:
        The layer.

    Raises:
        TypeError: the argument is no function.

    Example:
        >>> import jax.numpy as jnp
        >>> lambda_(jnp.abs).apply({}, {}, jnp.array([-1.0]))
        (Array([1.], dtype=float32), {})
    """
    _require_function("lambda_: expected a function of one array", function)

    def init(key: Key, input_shape: Shape) -> tuple[Params, State]:
        del key, input_shape
        return {}, {}

    def apply(
        params: Params, state: State, x: Array, *, key: Key | None = None, train: bool = False
    ) -> tuple[Array, State]:
        del params, key, train
        return function(x), state

    def stepwise(steps: Steps) -> Layer:
        moved: Callable[..., Array] = function

        def at(x: Array, index: Array) -> Array:
            return moved(x, offset=index)

        return Layer(*counted("lambda_", at, steps), about=About(inputs=frozenset({"lengths"})))

    return Layer(init, apply, about=About(stepwise=stepwise if takes_offset(function) else None))


def as_layer(layer: Layer | Networks | ArrayFunction) -> Layer:
    """Return a layer as it is, a model of several networks as its `layer`, and a plain function as `lambda_(function)`.

    Args:
        layer: a layer, a model of several networks, or a function of one array.

    Returns:
        A layer.

    Raises:
        TypeError: the argument is none of these.

    Example:
        >>> import jax.numpy as jnp
        >>> as_layer(jnp.abs).apply({}, {}, jnp.array([-1.0]))
        (Array([1.], dtype=float32), {})
    """
    if isinstance(layer, Layer):
        return layer
    if isinstance(layer, Networks):
        return layer.layer
    _require_function("expected a Layer or a function of one array", layer)
    return lambda_(layer)


def path_of(path: str, name: str) -> str:
    """The path of a part by its name, in a layer at a path; a part without a name has the layer's own.

    Example:
        >>> path_of("body", "head"), path_of("", "head"), path_of("body", "")
        ('body/head', 'head', 'body')
    """
    return "/".join(filter(None, (path, name)))


def _require_function(expected: str, function: object) -> None:
    if not callable(function):
        raise TypeError(f"{expected}, got {type(function).__name__}: {function!r}")


def _made_again(constructor: Callable[..., Layer], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Layer:
    """A layer out of a pickle."""
    return constructor(*args, **kwargs)


def _below(layer: Layer, path: str) -> Iterable[tuple[str, Layer]]:
    """The layers inside another one with their paths."""
    for part in layer.parts:
        inner = path_of(path, part.name)
        if part.name:
            yield inner, part.layer
        yield from _below(part.layer, inner)
