"""One layer in several places, with one set of parameters.

The parameters of a layer that is shared stand where it comes first, in the smallest layer that holds all its places.
At the others it is handed those, and nothing stands there.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
from jaxtyping import Float

from dlkit.layers.base import About, Layer, Part, as_layer, described
from dlkit.layers.embed import tied_logits
from dlkit.typing import Array, ArrayFunction, Key, Params, Shape, State

__all__ = ["Borrowed", "borrowed", "grafted", "pruned", "shared", "unembedding", "within"]


def shared(layer: Layer | ArrayFunction) -> Layer:
    """Let a layer have the same parameters, and the same state, wherever the returned one is used in a model.

    Without it, a layer that is used twice is initialized twice, with parameters of its own at each place. The places
    are found inside of the layers of this module that are made of others (`serial`, `residual`, `graph`, ...), at any
    depth. Each place has its own subkey, for dropout. Gradients add up.

    Args:
        layer: the layer.

    Returns:
        A layer that does the same. Keep it, and use it where its parameters are meant: another call of `shared` is
        another layer.

    Raises:
        ValueError: in a layer made of others: it stands inside of `repeat` or `ensemble` and outside as well, where its
            parameters would have to be stacked and not.

    Reference:
        Press & Wolf, "Using the output embedding to improve language models", 2016, https://arxiv.org/abs/1608.05859.

    Example:
        >>> from dlkit.layers import dense, serial
        >>> twice = shared(dense(3))
        >>> params, state = serial(first=twice, second=twice).init(jax.random.key(0), (3,))
        >>> sorted(params)
        ['first']
    """
    return _shared(layer, Token())


@described
def unembedding(embedding: Layer) -> Layer:
    """Logits of the next token from the table that embeds the tokens, as a layer: x E^T.

    Parameters: those of the embedding. With an embedding that is `shared` there are none: the table is tied.

    Args:
        embedding: E, as `embedding` makes it, or `shared` of it.

    Returns:
        A layer for inputs `[*batch, features]`; outputs `[*batch, vocabulary]`.

    Raises:
        ValueError: in `apply`: the inputs have other features than the table.
        TypeError: in `apply`: the inputs are not floating point.

    Reference:
        Press & Wolf, "Using the output embedding to improve language models", 2016, https://arxiv.org/abs/1608.05859.

    Example:
        >>> import jax.numpy as jnp
        >>> from dlkit.layers import dense, embedding, serial
        >>> tokens = shared(embedding(10, 4))
        >>> model = serial(tokens=tokens, hidden=dense(4), logits=unembedding(tokens), input_dtype=jnp.int32)
        >>> params, state = model.init(jax.random.key(0), (5,))
        >>> sorted(params), model.apply(params, state, jnp.zeros((2, 5), jnp.int32))[0].shape
        (['hidden', 'tokens'], (2, 5, 10))
    """

    def init(key: Key, input_shape: Shape) -> tuple[Params, State]:
        params, _ = embedding.init(key, input_shape)
        return {"embedding": params["embedding"]}, {}

    def apply(
        params: Params,
        state: State,
        x: Float[Array, "*batch features"],
        *,
        key: Key | None = None,
        train: bool = False,
    ) -> tuple[Float[Array, "*batch vocabulary"], State]:
        del key, train
        return tied_logits(x, params["embedding"]), state

    return Layer(init, apply, about=About(parts=(Part("", embedding),), rebuild=lambda layers: unembedding(layers[0])))


class Token:
    """What the places of one shared layer have in common; every one is another."""


class Borrowed(NamedTuple):
    """A place of a shared layer that is not its first.

    Attributes:
        path: of the place, inside the parameters of the layer it is in.
        owner: the name of the layer, beside that one, that has the first place.
        owner_path: of the first place, inside the parameters of the owner.
    """

    path: tuple[str, ...]
    owner: str
    owner_path: tuple[str, ...]


def borrowed(layers: Sequence[tuple[str, Layer]]) -> dict[str, list[Borrowed]]:
    """Name -> the places in that layer whose parameters another layer, before it, has.

    Args:
        layers: names and layers, in their order.

    Returns:
        Entries of those with such places.

    Raises:
        ValueError: a shared layer stands inside of `repeat` or `ensemble` and outside.

    Example:
        >>> from dlkit.layers import dense
        >>> twice = shared(dense(3))
        >>> borrowed([("a", twice), ("b", twice)])
        {'b': [Borrowed(path=(), owner='a', owner_path=())]}
    """
    first: dict[int, tuple[str, tuple[str, ...]]] = {}
    apart: dict[int, str] = {}
    found: dict[str, list[Borrowed]] = {}
    for name, layer in layers:
        here: set[int] = set()
        places = list(_places(layer, (), apart=False))
        inside = {id(token) for token, _, is_apart in places if is_apart}
        for token, path, is_apart in places:
            place = id(token)
            if apart.get(place, name) != name or (place in first and place in inside):
                raise ValueError(
                    f"a shared layer stands inside and outside of a layer that stacks or changes its parameters, such "
                    f"as repeat, at {name!r}; share it inside only, or use two layers"
                )
            if is_apart:
                apart[place] = name
            elif place not in first:
                first[place] = (name, path)
                here.add(place)
            elif place not in here:
                here.add(place)
                found.setdefault(name, []).append(Borrowed(path, *first[place]))
    return found


def within(tree: Any, path: tuple[str, ...]) -> Any:
    """What stands at a path; {} if nothing does.

    Example:
        >>> within({"a": {"b": 1}}, ("a", "b")), within({}, ("a",))
        (1, {})
    """
    for name in path:
        tree = tree.get(name, {})
    return tree


def grafted(tree: Any, path: tuple[str, ...], value: Any) -> Any:
    """The tree with a value at a path, where it stands for something.

    Example:
        >>> grafted({"a": {"c": 2}}, ("a", "b"), 1), grafted({}, ("a",), {})
        ({'a': {'c': 2, 'b': 1}}, {})
    """
    if not jax.tree.leaves(value):
        return tree
    if not path:
        return value
    return {**tree, path[0]: grafted(tree.get(path[0], {}), path[1:], value)}


def pruned(tree: Any, path: tuple[str, ...]) -> Any:
    """The tree without what stands at a path, nor what is empty then.

    Example:
        >>> pruned({"a": {"b": 1}, "c": 2}, ("a", "b"))
        {'c': 2}
    """
    if not path:
        return {}
    if path[0] not in tree:
        return tree
    entry = pruned(tree[path[0]], path[1:])
    rest = {name: value for name, value in tree.items() if name != path[0]}
    return {**rest, path[0]: entry} if jax.tree.leaves(entry) else rest


@described
def _shared(layer: Layer | ArrayFunction, token: Token) -> Layer:
    inner = as_layer(layer)
    about = About(
        parts=(Part("", inner),),
        rebuild=lambda layers: _shared(layers[0], token),
        inputs=inner.side_inputs,
        token=token,
    )
    return Layer(inner.init, inner.apply, inner.ragged, about)


_shared.__name__ = "shared"


def _places(layer: Layer, path: tuple[str, ...], *, apart: bool) -> Iterator[tuple[object, tuple[str, ...], bool]]:
    """Every place of a shared layer: its token, the path, and whether its parameters are apart there."""
    if layer.about.token is not None:
        yield layer.about.token, path, apart
    for part in layer.parts:
        yield from _places(part.layer, (*path, part.name) if part.name else path, apart=apart or part.apart)
