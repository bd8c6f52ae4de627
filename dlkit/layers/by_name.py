"""The normalization layers by name, for models that take one as an argument."""

from collections.abc import Callable

from dlkit import activations
from dlkit.hints import closest
from dlkit.layers.base import Layer, as_layer
from dlkit.layers.batch_norm import batch_norm
from dlkit.layers.norm import group_norm, instance_norm, layer_norm, rms_norm

__all__ = ["NORMALIZATIONS", "normalization"]

NORMALIZATIONS: tuple[str, ...] = ("none", "batch", "layer", "rms", "group", "instance")
"""What `normalization` knows."""


def normalization(name: str | Layer | None, *, dimensions: int = 0, groups: int = 8) -> Layer:
    """Return the normalization layer of this name, with its default configuration.

    Args:
        name: one of `NORMALIZATIONS`; None is "none", the identity. "layer" and "rms" normalize the channels at every
            position by themselves. A layer, for another configuration, is returned as it is.
        dimensions: how many spatial axes an example has, before the channels: 2 for images. Only "group" and "instance"
            depend on it; "instance" needs at least 1.
        groups: number of groups of "group"; the others do not depend on it.

    Returns:
        A layer for inputs `[*batch, *spatial, channels]`; the shape is kept.

    Raises:
        ValueError: there is no normalization of this name; the message suggests the nearest. Or dimensions or groups do
            not suit it.

    Example:
        >>> import jax
        >>> params, state = normalization("batch").init(jax.random.key(0), (3,))
        >>> sorted(params)
        ['bias', 'scale']
    """
    if isinstance(name, Layer):
        return name
    # Only the one asked for is made: the arguments need not suit the others.
    makers: dict[str, Callable[[], Layer]] = {
        "none": lambda: as_layer(activations.identity),
        "batch": batch_norm,
        "layer": layer_norm,
        "rms": rms_norm,
        "group": lambda: group_norm(groups, dimensions=dimensions),
        "instance": lambda: instance_norm(dimensions=dimensions),
    }
    name = "none" if name is None else name
    if name not in makers:
        meant = closest(name, NORMALIZATIONS)
        hint = f"did you mean {meant!r}?" if meant else f"known: {', '.join(NORMALIZATIONS)}"
        raise ValueError(f"unknown normalization {name!r}; {hint}")
    return makers[name]()
