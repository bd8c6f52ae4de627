"""Weights of other libraries: state dicts of PyTorch and variables of flax, for layers that compute the same.

A table of names says which of our layers is which of theirs: `{"stem/first/conv": "conv1"}`. What becomes of the arrays
(other axes, joined kernels, running statistics) is known by the kind of layer.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dlkit.hints import nearest
from dlkit.layers import Layer
from dlkit.models.weight_forms import FLAX, TORCH, Form, kind_of
from dlkit.typing import Params, State

__all__ = ["from_flax", "from_torch", "to_flax", "to_torch", "torch_names"]

_UNUSED = re.compile(r"(^|\.)num_batches_tracked$")


def from_torch(
    layer: Layer, params: Params, state: State, state_dict: Mapping[str, Any], names: Mapping[str, str]
) -> tuple[Params, State]:
    """Parameters and state of a layer from a state dict of PyTorch.

    Args:
        layer: the layer.
        params: as `init` made them: every array has to be found, in its shape.
        state: as `init` made it.
        state_dict: name -> tensor or array, as `module.state_dict()` has them.
        names: path of a layer inside, as in `layer.sublayers` ("" for the layer itself), -> the name of the module that
            is the same: "conv1", "" for the module itself. `torch_names` has those of torchvision's models.

    Returns:
        Parameters and state with the arrays of the state dict, in the dtypes of the given ones.

    Raises:
        ValueError: a path or a name is unknown, a shape differs, an array is missing, or an entry is not used.
        TypeError: a layer is of a kind that has no like in PyTorch.

    Example:
        >>> from dlkit.layers import dense
        >>> layer = dense(3)
        >>> weights = {"weight": np.ones((3, 2), np.float32), "bias": np.zeros(3, np.float32)}
        >>> params, state = from_torch(layer, *layer.init(jax.random.key(0), (2,)), weights, {"": ""})
        >>> params["kernel"].shape
        (2, 3)
    """
    flat = {name: _array(each) for name, each in state_dict.items() if not _UNUSED.search(name)}
    return _taken("from_torch", TORCH, ".", layer, params, state, flat, names)


def to_torch(layer: Layer, params: Params, state: State, names: Mapping[str, str]) -> dict[str, np.ndarray]:
    """A state dict of PyTorch from parameters and state, as arrays: `module.load_state_dict` takes tensors of them.

    Args:
        layer: the layer.
        params: its parameters.
        state: its state.
        names: as for `from_torch`.

    Returns:
        Name -> array, in the layout of PyTorch.

    Raises:
        ValueError: a path is unknown, or a parameter is in no layer that has a name.
        TypeError: a layer is of a kind that has no like in PyTorch.

    Example:
        >>> from dlkit.layers import dense
        >>> layer = dense(3)
        >>> weights = to_torch(layer, *layer.init(jax.random.key(0), (2,)), {"": "fc"})
        >>> {name: array.shape for name, array in weights.items()}
        {'fc.weight': (3, 2), 'fc.bias': (3,)}
    """
    return _given("to_torch", TORCH, ".", layer, params, state, names)


def from_flax(
    layer: Layer, params: Params, state: State, variables: Mapping[str, Any], names: Mapping[str, str]
) -> tuple[Params, State]:
    """Parameters and state of a layer from variables of flax.linen.

    Args:
        layer: the layer.
        params: as `init` made them: every array has to be found, in its shape.
        state: as `init` made it.
        variables: `{"params": ..., "batch_stats": ...}`, as `module.init` returns them.
        names: path of a layer inside -> the path of the module that is the same, such as "Dense_0" or "encoder/norm".

    Returns:
        Parameters and state with the arrays of the variables.

    Raises:
        ValueError: a path or a name is unknown, a shape differs, an array is missing, or an entry is not used.
        TypeError: a layer is of a kind that has no like in flax.

    Example:
        >>> from dlkit.layers import dense
        >>> layer = dense(3)
        >>> variables = {"params": {"Dense_0": {"kernel": jnp.ones((2, 3)), "bias": jnp.zeros(3)}}}
        >>> params, _ = from_flax(layer, *layer.init(jax.random.key(0), (2,)), variables, {"": "Dense_0"})
        >>> params["kernel"].tolist()
        [[1.0, 1.0, 1.0], [1.0, 1.0, 1.0]]
    """
    flat = {
        "/".join([collection, *path]): _array(leaf)
        for collection, tree in variables.items()
        for path, leaf in _leaves(tree, ())
    }
    return _taken("from_flax", FLAX, "/", layer, params, state, flat, names)


def to_flax(layer: Layer, params: Params, state: State, names: Mapping[str, str]) -> dict[str, Any]:
    """Variables of flax.linen from parameters and state: `module.apply` takes them.

    Args:
        layer: the layer.
        params: its parameters.
        state: its state.
        names: as for `from_flax`.

    Returns:
        The collection "params" and, where there are running statistics, "batch_stats".

    Raises:
        ValueError: a path is unknown, or a parameter is in no layer that has a name.
        TypeError: a layer is of a kind that has no like in flax.

    Example:
        >>> from dlkit.layers import dense
        >>> layer = dense(3)
        >>> jax.tree.map(jnp.shape, to_flax(layer, *layer.init(jax.random.key(0), (2,)), {"": "Dense_0"}))
        {'params': {'Dense_0': {'bias': (3,), 'kernel': (2, 3)}}}
    """
    variables: dict[str, Any] = {}
    for name, array in _given("to_flax", FLAX, "/", layer, params, state, names).items():
        *path, last = name.split("/")
        tree = variables
        for each in path:
            tree = tree.setdefault(each, {})
        tree[last] = array
    return variables


def torch_names(model: Layer) -> dict[str, str]:
    """The names that torchvision has for the layers of `resnet18`, `resnet50` and `vit`.

    Args:
        model: one of these.

    Returns:
        As `from_torch` and `to_torch` take them.

    Raises:
        ValueError: it is none of them.

    Example:
        >>> from dlkit.models import resnet18
        >>> names = torch_names(resnet18(outputs=10, features=4))
        >>> names["stem/first/conv"], names["stage_1_block_0/residual/shortcut/normalization"], names["output"]
        ('conv1', 'layer2.0.downsample.1', 'fc')
    """
    paths, is_vit = model.sublayers, "patches" in model.sublayers
    if not is_vit and "stem/first/conv" not in paths:
        raise ValueError(
            "torch_names: expected a model as resnet18, resnet50 or vit make it; for others, write a table of names"
        )
    named = {path: (_of_vit if is_vit else _of_resnet)(path) for path in paths}
    return {path: name for path, name in named.items() if name is not None}


_PLACES = {"first": 1, "second": 2, "third": 3}
_BLOCK = {
    "attention_norm": "ln_1",
    "attention": "self_attention",
    "mlp_norm": "ln_2",
    "mlp/hidden": "mlp.0",
    "mlp/output": "mlp.3",
}
_VIT = {
    "patches": "conv_proj",
    "token": "",
    "positions": "encoder",
    "normalization": "encoder.ln",
    "output": "heads.head",
}


def _of_resnet(path: str) -> str | None:
    """The module of torchvision's ResNet that is the layer at a path."""
    if match := re.fullmatch(r"stem/first/(conv|normalization)", path):
        return "conv1" if match[1] == "conv" else "bn1"
    if match := re.fullmatch(
        r"stage_(\d+)_block_(\d+)/residual/branch/(first|second|third)/(conv|normalization)", path
    ):
        kind = "conv" if match[4] == "conv" else "bn"
        return f"layer{int(match[1]) + 1}.{match[2]}.{kind}{_PLACES[match[3]]}"
    if match := re.fullmatch(r"stage_(\d+)_block_(\d+)/residual/shortcut/(conv|normalization)", path):
        return f"layer{int(match[1]) + 1}.{match[2]}.downsample.{int(match[3] == 'normalization')}"
    return "fc" if path == "output" else None


def _of_vit(path: str) -> str | None:
    """The module of torchvision's VisionTransformer that is the layer at a path."""
    if match := re.fullmatch(rf"block_(\d+)/({'|'.join(_BLOCK)})", path):
        return f"encoder.layers.encoder_layer_{match[1]}.{_BLOCK[match[2]]}"
    return _VIT.get(path)


def _taken(
    where: str,
    forms: Mapping[str, Form],
    separator: str,
    layer: Layer,
    params: Params,
    state: State,
    flat: dict[str, np.ndarray],
    names: Mapping[str, str],
) -> tuple[Params, State]:
    """Parameters and state with arrays of another library."""
    unused, new, new_state = set(flat), params, state
    for path, name in names.items():
        inner, form = _form(where, forms, layer, path)
        here = _keys(path)
        own, own_state = _at(params, here), _at(state, here)

        def read(each: str, path: str = path, name: str = name) -> np.ndarray:
            full = _full(each, name, separator)
            if full not in flat:
                raise ValueError(f"{where}: expected {full!r} for the layer at {path!r}; {nearest(full, flat)}")
            unused.discard(full)
            return flat[full]

        got, got_state = form.read(read, inner, own)
        new = _with(new, here, _fitting(where, path, own, got))
        if got_state:
            new_state = _with(new_state, here, _fitting(where, path, own_state, got_state))
    _require_all_named(where, params, names)
    if unused:
        raise ValueError(f"{where}: expected a use for every entry, got none for {min(unused)!r}; name its layer")
    return new, new_state


def _given(
    where: str,
    forms: Mapping[str, Form],
    separator: str,
    layer: Layer,
    params: Params,
    state: State,
    names: Mapping[str, str],
) -> dict[str, np.ndarray]:
    """Arrays by the names of another library."""
    found: dict[str, np.ndarray] = {}
    for path, name in names.items():
        inner, form = _form(where, forms, layer, path)
        here = _keys(path)
        own, own_state = (jax.tree.map(np.asarray, _at(tree, here)) for tree in (params, state))
        for each, array in form.write(inner, own, own_state).items():
            found[_full(each, name, separator)] = np.ascontiguousarray(array)
    _require_all_named(where, params, names)
    return found


def _require_all_named(where: str, params: Params, names: Mapping[str, str]) -> None:
    """Refuse names that leave parameters out."""
    covered = {(*_keys(path), *each) for path in names for each, _ in _leaves(_at(params, _keys(path)), ())}
    missing = sorted("/".join(each) for each, _ in _leaves(params, ()) if each not in covered)
    if missing:
        raise ValueError(f"{where}: expected names for all layers with parameters, got none for {missing[0]!r}")


def _full(each: str, name: str, separator: str) -> str:
    """The name of an array: after that of its module, or around it."""
    if "{}" in each:
        return separator.join(filter(None, each.replace("{}", name).split(separator)))
    return separator.join(filter(None, (name, each)))


def _form(where: str, forms: Mapping[str, Form], layer: Layer, path: str) -> tuple[Layer, Form]:
    """The layer at a path, and how its arrays look elsewhere."""
    if path and path not in layer.sublayers:
        raise ValueError(f"{where}: no layer inside is at {path!r}; {nearest(path, layer.sublayers)}")
    inner = layer.sublayers[path] if path else layer
    kind = kind_of(inner)
    if kind not in forms:
        raise TypeError(
            f"{where}: the layer at {path!r}, {kind}, has no like there that is known; those that have one are "
            f"{', '.join(sorted(forms))}"
        )
    return inner, forms[kind]


def _fitting(where: str, path: str, like: Any, given: dict[str, Any]) -> Any:
    """Arrays in the place of those that are there, which they have to be like."""

    def fitting(each: tuple[str, ...], before: Any, after: np.ndarray) -> Any:
        if before.shape != after.shape:
            raise ValueError(
                f"{where}: expected {list(before.shape)} for {'/'.join(each)!r} of the layer at {path!r}, got "
                f"{list(after.shape)}"
            )
        return jnp.asarray(after, before.dtype)

    def replaced(tree: Any, new: Any, at: tuple[str, ...]) -> Any:
        if not isinstance(tree, Mapping):
            return fitting(at, tree, np.asarray(new))
        return {name: replaced(entry, new[name], (*at, name)) if name in new else entry for name, entry in tree.items()}

    return replaced(like, given, ())


def _array(tensor: Any) -> np.ndarray:
    """An array of a tensor, wherever it is."""
    for name in ("detach", "cpu"):
        tensor = getattr(tensor, name)() if hasattr(tensor, name) else tensor
    return np.asarray(tensor)


def _leaves(tree: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    if not isinstance(tree, Mapping):
        yield path, tree
        return
    for name, entry in tree.items():
        yield from _leaves(entry, (*path, str(name)))


def _keys(path: str) -> tuple[str, ...]:
    return tuple(filter(None, path.split("/")))


def _at(tree: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        tree = tree.get(name, {})
    return tree


def _with(tree: Any, path: tuple[str, ...], value: Any) -> Any:
    return value if not path else {**tree, path[0]: _with(tree.get(path[0], {}), path[1:], value)}
