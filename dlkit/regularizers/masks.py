"""Masks: which leaves of the parameters a regularizer touches.

A mask decides by the path and the shape of a leaf, never by its values. `weights_only` is the default everywhere.
"""

import fnmatch
from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, PyTree

from dlkit.checks import as_real, known_number, require_number
from dlkit.typing import Array, ArrayFunction, Params, Scalar

__all__ = [
    "Mask",
    "Weights",
    "all_of",
    "by_name",
    "map_leaves",
    "mask_tree",
    "none_of",
    "path_names",
    "sum_leaves",
    "weighed",
    "weights_only",
]

Mask: TypeAlias = Callable[[tuple[str, ...], Any], bool]
"""`(path, leaf) -> bool`: whether a leaf is regularized; decided from names and shapes, not values."""

Weights: TypeAlias = PyTree[Array | np.ndarray | float | int]
"""Parameters whose leaves may also be numbers, or arrays of NumPy."""

_NOT_WEIGHTS = frozenset({"bias", "scale", "shift", "offset", "gamma", "beta"})


def weights_only(path: tuple[str, ...], leaf: Any) -> bool:
    """Tell weights from biases and normalization parameters; the default mask of every regularizer.

    A leaf is a weight if and only if both hold: it has at least two axes, and the last name of its path is none of
    bias, scale, shift, offset, gamma, beta. Embeddings are weights. (A trailing name `value`, which flax.nnx appends to
    each, is passed over.)

    Args:
        path: the names that lead to the leaf, e.g. `("output", "dense", "kernel")`.
        leaf: the parameter array, or anything that knows its shape.

    Returns:
        True for a weight.

    Example:
        >>> weights_only(("dense", "kernel"), jnp.ones((2, 3))), weights_only(("dense", "bias"), jnp.ones(3))
        (True, False)
    """
    names = _names(path)
    return jnp.ndim(leaf) >= 2 and not (names and names[-1] in _NOT_WEIGHTS)


def by_name(*patterns: str) -> Mask:
    """Make a mask of patterns for the names of the leaves, joined by slashes: `encoder/dense/kernel`.

    Args:
        *patterns: as in a shell, matched against the whole of it: `*` is any text (slashes too), `?` one character,
            `[ab]` one of these. Upper and lower case differ.

    Returns:
        A mask that takes a leaf if one of the patterns matches.

    Raises:
        ValueError: there is no pattern.

    Example:
        >>> mask = by_name("encoder/*", "*/embedding")
        >>> mask(("encoder", "dense", "bias"), jnp.ones(3)), mask(("decoder", "kernel"), jnp.ones((2, 3)))
        (True, False)
    """
    if not patterns:
        raise ValueError("by_name: expected at least one pattern, such as 'encoder/*', got none")
    return lambda path, leaf: any(fnmatch.fnmatchcase("/".join(_names(path)), pattern) for pattern in patterns)


def all_of(*masks: Mask) -> Mask:
    """Make a mask that takes what all of the masks take.

    Args:
        *masks: masks; without any, every leaf is taken.

    Returns:
        The intersection.

    Example:
        >>> mask = all_of(weights_only, none_of(by_name("head/*")))
        >>> mask(("body", "kernel"), jnp.ones((2, 3))), mask(("head", "kernel"), jnp.ones((2, 3)))
        (True, False)
    """
    return lambda path, leaf: all(mask(path, leaf) for mask in masks)


def none_of(*masks: Mask) -> Mask:
    """Make a mask that takes what none of the masks takes.

    Args:
        *masks: masks; without any, every leaf is taken.

    Returns:
        The complement of the union.

    Example:
        >>> none_of(weights_only)(("dense", "bias"), jnp.ones(3))
        True
    """
    return lambda path, leaf: not any(mask(path, leaf) for mask in masks)


def mask_tree(params: Any, *, mask: Mask | None = None) -> Any:
    """Booleans in the structure of the parameters: which leaves a mask takes. Optimizers of optax take them as masks.

    Optax also takes a function of parameters, made by `functools.partial`:
    `optax.adamw(1e-3, weight_decay=0.1, mask=partial(mask_tree, mask=by_name("*/kernel")))`. To train a part alone,
    give each leaf a label: `optax.partition({True: optax.adam(1e-3), False: optax.set_to_zero()}, mask_tree(params,
    mask=by_name("head/*")))`.

    Args:
        params: a tree of arrays, or of their shapes.
        mask: which leaves are taken; None means `weights_only`.

    Returns:
        True for each leaf that is taken, False for each other.

    Example:
        >>> params = {"head": {"kernel": jnp.ones((2, 3)), "bias": jnp.ones(3)}}
        >>> mask_tree(params), mask_tree(params, mask=by_name("*/bias"))
        ({'head': {'bias': False, 'kernel': True}}, {'head': {'bias': True, 'kernel': False}})
    """
    chosen = weights_only if mask is None else mask
    return jax.tree_util.tree_map_with_path(lambda keys, leaf: bool(chosen(path_names(keys), leaf)), params)


def sum_leaves(
    where: str, function: ArrayFunction, params: Weights, *, strength: Scalar = 1.0, mask: Mask | None
) -> Float[Array, ""]:
    """Sum a penalty over the leaves that a mask takes, in at least float32, and weigh it.

    Args:
        where: the penalty, for messages.
        function: maps a leaf to a scalar.
        params: a tree of arrays.
        strength: factor of the sum, at least 0; may be traced.
        mask: which leaves are taken; None means `weights_only`.

    Returns:
        A scalar in the dtype that these leaves promote to; 0 in float32 without any.

    Raises:
        ValueError: strength is a negative Python number.
        TypeError: a leaf that the mask takes is not floating point; the message names its path.

    Example:
        >>> sum_leaves("total", jnp.sum, {"a": jnp.ones(2), "b": jnp.ones(3)}, mask=by_name("a"))
        Array(2., dtype=float32)
    """
    require_number(where, "strength", strength, at_least=0)
    taken = [(path, leaf) for path, leaf, taken in _split(where, params, mask)[0] if taken]
    dtype = jnp.result_type(*(leaf for _, leaf in taken)) if taken else jnp.dtype(jnp.float32)
    total = jnp.zeros((), jnp.promote_types(dtype, jnp.float32))
    for path, leaf in taken:
        total += _evaluate(where, function, path, leaf.astype(total.dtype))
    return weighed(total, strength).astype(dtype)


def weighed(value: Array, strength: Scalar) -> Array:
    """A penalty times its strength; the penalty itself where that is the plain number 1.

    Example:
        >>> weighed(jnp.array([2.0, 3.0]), 0.5).tolist()
        [1.0, 1.5]
    """
    if known_number(strength) and strength == 1:
        return value
    return jnp.asarray(strength, value.dtype) * value


def map_leaves(where: str, function: ArrayFunction, params: Params, *, mask: Mask | None) -> Params:
    """Map the leaves that a mask takes, in at least float32, and leave the others as they are.

    Args:
        where: the operator, for messages.
        function: maps a leaf to an array of its shape.
        params: a tree of arrays.
        mask: which leaves are taken; None means `weights_only`.

    Returns:
        A tree of the same structure, shapes and dtypes.

    Raises:
        TypeError: a leaf that the mask takes is not floating point; the message names its path.

    Example:
        >>> map_leaves("double", lambda leaf: 2 * leaf, {"a": jnp.ones(1), "b": jnp.ones(1)}, mask=by_name("a"))
        {'a': Array([2.], dtype=float32), 'b': Array([1.], dtype=float32)}
    """
    leaves, structure = _split(where, params, mask)
    mapped = [
        _evaluate(where, function, path, leaf.astype(jnp.promote_types(leaf.dtype, jnp.float32))).astype(leaf.dtype)
        if taken
        else leaf
        for path, leaf, taken in leaves
    ]
    return jax.tree.unflatten(structure, mapped)


def _split(
    where: str, params: Weights, mask: Mask | None
) -> tuple[list[tuple[tuple[str, ...], Any, bool]], jax.tree_util.PyTreeDef]:
    """Every leaf with its path and whether the mask takes it, as an array then; and the structure of the tree."""
    chosen = weights_only if mask is None else mask
    keyed, structure = jax.tree_util.tree_flatten_with_path(params)
    leaves = []
    for keys, leaf in keyed:
        path = path_names(keys)
        taken = bool(chosen(path, leaf))
        if taken:
            (leaf,) = as_real(leaf)
        if taken and not jnp.issubdtype(leaf.dtype, jnp.floating):
            got = f"got {jax.typeof(leaf)} at {'/'.join(path)!r}"
            raise TypeError(f"{where}: expected floating-point parameters, {got}; cast them or pass another mask=")
        leaves.append((path, leaf, taken))
    return leaves, structure


def _evaluate(where: str, function: ArrayFunction, path: tuple[str, ...], leaf: Array) -> Array:
    try:
        return function(leaf)
    except Exception as error:
        error.add_note(f"in {where}: parameter {'/'.join(path)!r}, {jax.typeof(leaf)}")
        raise


def path_names(keys: tuple[Any, ...]) -> tuple[str, ...]:
    """The names on the way to a leaf, as a mask gets them.

    Example:
        >>> [path_names(keys) for keys, _ in jax.tree_util.tree_leaves_with_path({"head": [1, {"bias": 2}]})]
        [('head', '0'), ('head', '1', 'bias')]
    """
    return tuple(jax.tree_util.keystr((key,), simple=True) for key in keys)


def _names(path: tuple[str, ...]) -> tuple[str, ...]:
    """The path without the trailing `value` of flax.nnx."""
    return path[:-1] if path[-1:] == ("value",) else path
