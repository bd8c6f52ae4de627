"""Parameters and state as bytes, and back: msgpack by flax, which every installation has."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from dlkit.bench.errors import UserError
from dlkit.bench.problems import Problem
from dlkit.bench.store.models import PackedModel
from dlkit.typing import Params, State

__all__ = ["Packed", "pack_model", "packed_or_why", "unpack_model"]

Packed = PackedModel | str  # a model as bytes; or why it cannot be bytes

ARRAY, NOTHING = "array", "none"
OTHER = "other"  # a node that only the problem's own functions can make


def pack_model(params: Params, state: State) -> PackedModel:
    """Packs a model; every array keeps its type and its bits.

    Args:
        params: the parameters.
        state: the state.

    Raises:
        UserError: for a leaf that is no array of numbers.
    """
    from flax.serialization import msgpack_serialize

    tree = {"params": params, "state": state}
    arrays = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        name = jax.tree_util.keystr(path)
        array = np.asarray(leaf) if isinstance(leaf, jax.Array | np.ndarray | np.generic | int | float) else None
        if array is None or array.dtype.hasobject:
            raise UserError(f"a model can be kept if its leaves are arrays of numbers, but{name} is {leaf!r}")
        arrays[name] = array
    # flax sorts what it writes: the order is told apart
    return PackedModel(msgpack_serialize(arrays), {"arrays": list(arrays), "tree": _structure(tree)})


def packed_or_why(params: Params, state: State) -> Packed:
    """Returns a packed model; of one that cannot be packed, why."""
    try:
        return pack_model(params, state)
    except UserError as error:
        return str(error)


def unpack_model(packed: PackedModel, load: Callable[[], Problem]) -> tuple[Params, State]:
    """Returns parameters and state, in the structure that the problem's functions take.

    Args:
        packed: the model.
        load: returns the problem; it is asked for where the structure has nodes of somebody's own, such as modules.

    Raises:
        UserError: where the problem makes another structure now.
    """
    try:
        arrays = _restored(packed)
        if is_plain := _is_plain(packed.structure["tree"]):
            tree = _rebuilt(packed.structure["tree"], iter(arrays.values()))
            params, state = tree["params"], tree["state"]
    except UserError:
        raise
    except Exception as error:  # a damaged file makes its reader raise nearly anything
        raise UserError(
            f"the kept model cannot be used: {type(error).__name__}: {error}; run the spec again: it trains this trial "
            "only"
        ) from None
    if is_plain:
        return params, state
    problem = load()
    params, state = jax.eval_shape(problem.init, jax.random.key(0))
    template = {"params": params, "state": state}
    paths = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(template)]
    if paths != list(arrays):
        raise UserError(
            f"problem '{problem.name}': its parameters have another structure now than when the model was kept"
        )
    tree = jax.tree_util.tree_unflatten(jax.tree_util.tree_structure(template), list(arrays.values()))
    return tree["params"], tree["state"]


def _restored(packed: PackedModel) -> dict[str, np.ndarray[Any, Any]]:
    """Name -> array of numbers, of a file that may not be our own.

    Raises:
        ValueError: for anything else in it, and for arrays that are larger than the file.
    """
    from flax.serialization import msgpack_restore

    restored = msgpack_restore(packed.data)
    arrays = {name: restored[name] for name in packed.structure["arrays"]}
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray) or array.dtype.hasobject or array.dtype.names:
            raise ValueError(f"{name} is no array of numbers")
    if sum(array.nbytes for array in arrays.values()) > len(packed.data):
        raise ValueError("its arrays are larger than the file")
    return arrays


def _structure(tree: Any) -> Any:
    """How a tree is put together, as JSON has it; dictionaries in the order in which JAX takes them apart."""
    if tree is None:
        return NOTHING
    if type(tree) is dict and all(isinstance(key, str) for key in tree):
        return {"dict": {key: _structure(tree[key]) for key in sorted(tree)}}
    if type(tree) in (list, tuple):
        return {type(tree).__name__: [_structure(each) for each in tree]}
    if jax.tree_util.all_leaves([tree]):
        return ARRAY
    return OTHER


def _is_plain(structure: Any) -> bool:
    if isinstance(structure, str):
        return structure != OTHER
    ((_, parts),) = structure.items()
    return all(map(_is_plain, parts.values() if isinstance(parts, Mapping) else parts))


def _rebuilt(structure: Any, arrays: Any) -> Any:
    """A tree whose leaves are taken in order."""
    if structure == NOTHING:
        return None
    if structure == ARRAY:
        return next(arrays)
    ((kind, parts),) = structure.items()
    if kind == "dict":
        return {key: _rebuilt(part, arrays) for key, part in parts.items()}
    made = [_rebuilt(part, arrays) for part in parts]
    return tuple(made) if kind == "tuple" else made
