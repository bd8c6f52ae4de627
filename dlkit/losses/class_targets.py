"""What the losses over classes share: checks of scores and of targets, and the score of the class that is meant."""

import jax
import jax.numpy as jnp

from dlkit.checks import require_class_indices, require_floating
from dlkit.typing import Array

__all__ = ["check_indices", "is_class", "known_classes", "of_class", "require_classes", "weight_of", "wide_indices"]


def require_classes(where: str, **scores: Array) -> None:
    """Refuse scores without a last axis of classes.

    Args:
        where: the function that checks.
        **scores: by the names of its arguments.

    Raises:
        ValueError: there is no axis.
        TypeError: they are not floating point.

    Example:
        >>> require_classes("cross_entropy", logits=jnp.array(1.0))
        Traceback (most recent call last):
            ...
        ValueError: cross_entropy: expected logits [*batch, classes], got a scalar
    """
    require_floating(where, **scores)
    for name, array in scores.items():
        if array.ndim == 0:
            raise ValueError(f"{where}: expected {name} [*batch, classes], got a scalar")


def check_indices(where: str, name: str, scores: Array, targets: Array, ignored: int | None = None) -> None:
    """Check class indices against the scores.

    Args:
        where: the function that checks.
        name: what it calls the scores.
        scores: `[*batch, classes]`.
        targets: `[*batch]`.
        ignored: an index that is allowed beside the classes.

    Raises:
        ValueError: the shapes do not belong together, or, outside `jit`, an index is out of range.
        TypeError: the targets are not integers.

    Example:
        >>> check_indices("hinge", "scores", jnp.ones((2, 3)), jnp.array([0, 3]))
        Traceback (most recent call last):
            ...
        ValueError: hinge: expected class indices in [0, 3), got 3 at position (1,)
    """
    got = f"got {name} {jax.typeof(scores)} and targets {jax.typeof(targets)}"
    if jnp.issubdtype(targets.dtype, jnp.integer) and targets.shape != scores.shape[:-1]:
        hint = "; cast one-hot targets to a floating dtype" if targets.shape == scores.shape else ""
        raise ValueError(f"{where}: expected class indices of shape {scores.shape[:-1]}, {got}{hint}")
    require_class_indices(where, targets, scores.shape[-1], ignored=ignored)


def wide_indices(targets: Array) -> Array:
    """Integer targets in a dtype that holds negative numbers and any count of classes; uint8 could not count to 256.

    Example:
        >>> str(wide_indices(jnp.array([200], jnp.uint8)).dtype)
        'int32'
    """
    return targets.astype(jnp.promote_types(targets.dtype, jnp.int32))


def known_classes(targets: Array, classes: int) -> tuple[Array, Array]:
    """The indices with those out of range replaced by 0, and which of them are in range.

    Example:
        >>> indices, valid = known_classes(jnp.array([-1, 2]), 3)
        >>> indices.tolist(), valid.tolist()
        ([0, 2], [False, True])
    """
    targets = wide_indices(targets)
    valid = (targets >= 0) & (targets < classes)
    return jnp.where(valid, targets, 0), valid


def is_class(targets: Array, classes: int) -> Array:
    """Whether a class is the one that is meant: `[*batch]` to booleans `[*batch, classes]`.

    Example:
        >>> is_class(jnp.array([1]), 3).tolist()
        [[False, True, False]]
    """
    numbers = jnp.arange(classes, dtype=targets.dtype).reshape((1,) * targets.ndim + (-1,))
    return jnp.expand_dims(targets, -1) == numbers


def of_class(scores: Array, targets: Array) -> Array:
    """The score of the class that is meant: `[*batch, classes]` and indices in range `[*batch]` to `[*batch]`.

    Nothing of the size of the scores is made for it, but where the classes themselves are sharded over devices, none of
    which then has them all.

    Example:
        >>> of_class(jnp.array([[1.0, 2.0], [3.0, 4.0]]), jnp.array([1, 0])).tolist()
        [2.0, 3.0]
    """
    axes = jax.typeof(scores).sharding.spec
    if len(axes) == scores.ndim and axes[-1] is not None:
        return jnp.sum(jnp.where(is_class(targets, scores.shape[-1]), scores, 0.0), axis=-1)
    return jnp.squeeze(jnp.take_along_axis(scores, jnp.expand_dims(targets, -1), axis=-1), -1)


def weight_of(class_weights: Array, targets: Array) -> Array:
    """The weight of the class that is meant: `[classes]` and indices in range `[*batch]` to `[*batch]`.

    It is where its target is, also where devices share the batch.

    Example:
        >>> weight_of(jnp.array([1.0, 2.0]), jnp.array([1, 0])).tolist()
        [2.0, 1.0]
    """
    sharding = jax.typeof(targets).sharding
    is_shared = any(each is not None for each in sharding.spec)
    return class_weights.at[targets].get(mode="fill", out_sharding=sharding if is_shared else None)
