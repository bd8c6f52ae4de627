"""The layers inside another one: their names and subkeys, shared parameters, notes on errors."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from dlkit.layers.base import Layer, Part, as_layer
from dlkit.layers.calls import Call, Shapes, init_inside, known_shapes
from dlkit.layers.probe import output_shape
from dlkit.layers.ragged import apply_ragged
from dlkit.layers.sharing import Borrowed, borrowed, grafted, pruned, within
from dlkit.layers.taps import Tapped, untapped
from dlkit.typing import Array, ArrayFunction, DTypeLike, Key, Params, Shape, State

__all__ = ["Beginning", "Child", "Children", "Running", "located", "named_children"]


class Child(NamedTuple):
    """A layer inside another one."""

    where: str
    position: int
    name: str
    layer: Layer


def named_children(
    where: str,
    layers: Sequence[Layer | ArrayFunction],
    names: Sequence[str] | None,
    named: Mapping[str, Layer | ArrayFunction] | None = None,
) -> tuple[Child, ...]:
    """Name and number the layers inside another one: those by position first, then those by name.

    Example:
        >>> [child.name for child in named_children("serial", [jnp.abs], None, {"last": jnp.tanh})]
        ['layer_0', 'last']
    """
    named = named or {}
    layers, count = (*layers, *named.values()), len(layers) + len(named)
    if names is None:
        names = (*(f"layer_{position}" for position in range(count - len(named))), *named)
    elif named:
        raise ValueError(f"{where}: expected layers by name or names=..., got both")
    if (
        isinstance(names, str)
        or len(names) != count
        or len(set(names)) != count
        or not all(map(str.isidentifier, names))
    ):
        raise ValueError(f"{where}: expected {count} different identifiers as names, one per layer, got {names!r}")
    return tuple(
        Child(where, position, name, as_layer(layer))
        for position, (name, layer) in enumerate(zip(names, layers, strict=True))
    )


class Children:
    """The layers inside another one, as it makes and applies them.

    A layer that is shared by several of them has its parameters where it stands first.

    Example:
        >>> inside = Children(named_children("serial", [jnp.abs], None))
        >>> inside.begin(jax.random.key(0), {}).init("layer_0", (3,))
        ({}, {})
    """

    def __init__(self, children: Sequence[Child]) -> None:
        """Number what is shared.

        Args:
            children: the layers, with their names.
        """
        self.children = tuple(children)
        self.by_name = {child.name: child for child in self.children}
        self.borrowed: dict[str, list[Borrowed]] = borrowed([(child.name, child.layer) for child in self.children])

    def parts(self) -> tuple[Part, ...]:
        """As `About` has them.

        Example:
            >>> Children(named_children("serial", [jnp.abs], None)).parts()[0].name
            'layer_0'
        """
        return tuple(Part(child.name, child.layer) for child in self.children)

    def begin(self, key: Key, shapes: Shapes) -> "Beginning":
        """The parameters and the state of them all, still empty.

        Example:
            >>> Children(named_children("serial", [jnp.abs], None)).begin(jax.random.key(0), {}).params
            {}
        """
        return Beginning(self, key, shapes)

    def run(self, params: Params, state: State, call: Call) -> "Running":
        """One application of them.

        Example:
            >>> Children(named_children("serial", [jnp.abs], None)).run({}, {}, Call(None, False, None, {})).new_state
            {}
        """
        return Running(self, params, state, call)


class Beginning:
    """The initialization of the layers inside another one.

    Attributes:
        params: name -> parameters, of those made so far that have some.
        state: the same of states.
    """

    def __init__(self, inside: Children, key: Key, shapes: Shapes) -> None:
        """Begin with nothing.

        Args:
            inside: the layers.
            key: of the layer that they are in.
            shapes: of its side inputs.
        """
        self.inside, self.key, self.shapes = inside, key, shapes
        self.params: dict[str, Params] = {}
        self.state: dict[str, State] = {}

    def init(self, name: str, input_shape: Shape, shapes: Shapes | None = None) -> tuple[Params, State]:
        """Make parameters and state of one layer with its own subkey; enter what holds arrays and is not shared.

        Example:
            >>> inside = Children(named_children("serial", [jnp.abs], None))
            >>> inside.begin(jax.random.key(0), {}).init("layer_0", (3,))
            ({}, {})
        """
        child = self.inside.by_name[name]
        shapes = {**self.shapes, **(shapes or {})}
        params, state = init_inside(child.layer, jax.random.fold_in(self.key, child.position), input_shape, shapes)
        own = params, state
        for each in self.inside.borrowed.get(name, ()):
            own = pruned(own[0], each.path), pruned(own[1], each.path)
        for tree, entry in zip((self.params, self.state), own, strict=True):
            _store(tree, name, entry)
        return params, state

    def output(
        self, name: str, params: Params, state: State, input_shape: Shape, dtype: DTypeLike
    ) -> jax.ShapeDtypeStruct:
        """What a layer makes of one example. Equal layers are traced once.

        Example:
            >>> inside = Children(named_children("serial", [jnp.abs], None))
            >>> inside.begin(jax.random.key(0), {}).output("layer_0", {}, {}, (3,), jnp.float32).shape
            (3,)
        """
        layer, known = self.inside.by_name[name].layer, known_shapes()
        shapes = {each: shape for each, shape in self.shapes.items() if each in layer.side_inputs}
        question = (layer, input_shape, jnp.dtype(dtype), *map(str, sorted(shapes.items())))
        if question not in known:
            known[question] = output_shape(layer, params, state, input_shape, input_dtype=dtype, **shapes)
        return known[question]


class Running:
    """One application of the layers inside another one.

    Attributes:
        new_state: name -> next state, of those applied so far that have some.
        outputs: path -> output, of what is tapped inside.
    """

    def __init__(self, inside: Children, params: Params, state: State, call: Call) -> None:
        """Begin with the state as it is.

        Args:
            inside: the layers.
            params: name -> parameters.
            state: name -> state.
            call: what the layer that they are in is applied with.
        """
        self.inside, self.params, self.state, self.call = inside, params, state, call
        self.new_state: dict[str, State] = {}
        self.outputs: dict[str, Any] = {}
        self._calls: dict[str, int] = {}

    def apply(self, name: str, x: Array, lengths: Array | None, **side: Any) -> tuple[Any, Array | None]:
        """Apply one layer with its own subkey and enter its next state; return outputs and the lengths after it.

        Example:
            >>> inside = Children(named_children("serial", [jnp.abs], None))
            >>> inside.run({}, {}, Call(None, False, None, {})).apply("layer_0", jnp.array(-1.0), None)[0].item()
            1.0
        """
        child = self.inside.by_name[name]
        params, state = self.params.get(name, {}), self._current(name)
        for each in self.inside.borrowed.get(name, ()):
            params = grafted(params, each.path, within(self.params.get(each.owner, {}), each.owner_path))
            state = grafted(state, each.path, within(self._current(each.owner), each.owner_path))
        key = None if self.call.key is None else jax.random.fold_in(self.call.key, child.position)
        times = self._calls[name] = self._calls.get(name, 0) + 1
        if key is not None and times > 1:
            key = jax.random.fold_in(key, times)
        with located(child, x.shape):
            y, state, after = apply_ragged(
                child.layer, params, state, x, lengths, key=key, train=self.call.train, **{**self.call.side, **side}
            )
        outputs, state = untapped(state)
        self.outputs |= {path if times == 1 else f"{path}:{times}": output for path, output in outputs.items()}
        for each in self.inside.borrowed.get(name, ()):
            owners = grafted(self._current(each.owner), each.owner_path, within(state, each.path))
            _store(self.new_state, each.owner, owners)
            state = pruned(state, each.path)
        _store(self.new_state, name, state)
        return y, after

    def next_state(self) -> State:
        """The state after it, with what was tapped on the way.

        Example:
            >>> inside = Children(named_children("serial", [jnp.abs], None))
            >>> inside.run({}, {}, Call(None, False, None, {})).next_state()
            {}
        """
        return Tapped(self.outputs, self.new_state) if self.outputs else self.new_state

    def _current(self, name: str) -> State:
        return self.new_state.get(name, self.state.get(name, {}))


@contextlib.contextmanager
def located(child: Child, input_shape: Shape) -> Iterator[None]:
    """Note on an exception in which layer it was raised.

    Example:
        >>> with contextlib.suppress(ValueError), located(Child("serial", 0, "stem", as_layer(jnp.abs)), (3,)):
        ...     raise ValueError("wrong")
    """
    try:
        yield
    except Exception as error:
        error.add_note(f"in {child.where}: layer {child.position} ({child.name!r}), input shape {tuple(input_shape)}")
        raise


def _store(tree: dict[str, Params], name: str, entry: Params) -> None:
    """Add an entry unless it holds no arrays."""
    if jax.tree.leaves(entry):
        tree[name] = entry
