"""Windows that slide over the spatial axes: the geometry that convolutions and pools share."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

import jax.numpy as jnp
import numpy as np
from jax import lax

from dlkit.checks import require_size
from dlkit.typing import Array, Shape

__all__ = [
    "Padding",
    "PerAxis",
    "Window",
    "lengths_after",
    "outputs",
    "padded",
    "padding_with_zeros",
    "spatial_shape",
    "taps_of",
    "transposed_lengths_after",
    "transposed_outputs",
    "transposed_window_for",
    "window_for",
]

PerAxis: TypeAlias = int | Sequence[int]
"""One number for every spatial axis, or one for each."""

Padding: TypeAlias = str | Sequence[Sequence[int]]
"""`"SAME"`, `"VALID"`, or a pair (before, after) for each spatial axis."""

_MODES = {"CIRCULAR": "wrap", "REFLECT": "reflect"}  # of jnp.pad

_Pairs: TypeAlias = tuple[tuple[int, int], ...]


class Window(NamedTuple):
    """A window and how it moves, one entry per spatial axis.

    Attributes:
        size: taps of the window.
        strides: steps between two outputs.
        dilation: steps between two taps.
        padding: positions added before and after.
    """

    size: Shape
    strides: Shape
    dilation: Shape
    padding: tuple[tuple[int, int], ...]


def taps_of(size: int | Sequence[int]) -> Sequence[int]:
    """The taps per axis; one number is for the two axes of an image.

    Example:
        >>> taps_of(3), taps_of((5,))
        ((3, 3), (5,))
    """
    return (size, size) if isinstance(size, int) else size


def window_for(
    where: str, name: str, size: Sequence[int], *, strides: PerAxis, padding: Padding, dilation: PerAxis = 1
) -> Callable[[Shape], Window]:
    """Check the settings of a window now; fit it to the spatial axes once they are known.

    Args:
        where: the layer, first in messages.
        name: what the layer calls the size.
        size: taps per spatial axis, of which there are 1, 2 or 3.
        strides: steps between two outputs.
        padding: "SAME" for ceil(size of the axis / stride) outputs, the padding halved and the odd one after; "VALID"
            for none; or pairs.
        dilation: steps between two taps.

    Returns:
        Spatial shape -> window with explicit padding. It raises a ValueError where the window is larger than an axis.

    Raises:
        ValueError: a setting is out of range or has another number of axes.

    Example:
        >>> window_for("conv", "kernel_size", (3,), strides=2, padding="SAME")((8,))
        Window(size=(3,), strides=(2,), dilation=(1,), padding=((0, 1),))
    """
    checked = _checked(where, name, size, strides, padding, dilation)
    extents = _extents(checked)

    def fit(spatial: Shape) -> Window:
        window = checked
        if isinstance(padding, str):
            window = checked._replace(padding=tuple(lax.padtype_to_pads(spatial, extents, checked.strides, padding)))
        padded = [axis + before + after for axis, (before, after) in zip(spatial, window.padding, strict=True)]
        if any(axis < extent for axis, extent in zip(padded, extents, strict=True)):
            raise ValueError(
                f"{where}: expected spatial axes that, padded, hold a window of {extents}, got {spatial} with padding "
                f"{window.padding}; use a smaller {name} or dilation, or padding='SAME'"
            )
        return window

    return fit


def transposed_window_for(
    where: str, name: str, size: Sequence[int], *, strides: PerAxis, padding: Padding, dilation: PerAxis = 1
) -> Callable[[Shape], Window]:
    """The same for a transposed convolution, whose strides spread the inputs instead of thinning the outputs.

    Args:
        where: the layer, first in messages.
        name: what the layer calls the size.
        size: taps per spatial axis, of which there are 1, 2 or 3.
        strides: steps between two inputs.
        padding: "SAME" for axis * stride outputs; "VALID" for all that an input reaches; or pairs, added around the
            spread inputs.
        dilation: steps between two taps.

    Returns:
        Spatial shape -> window with explicit padding. It raises a ValueError where nothing would be left.

    Raises:
        ValueError: a setting is out of range or has another number of axes.

    Example:
        >>> transposed_window_for("conv_transpose", "kernel_size", (4,), strides=2, padding="SAME")((8,))
        Window(size=(4,), strides=(2,), dilation=(1,), padding=((2, 2),))
    """
    checked = _checked(where, name, size, strides, padding, dilation)
    extents = _extents(checked)
    if isinstance(padding, str):
        pairs = tuple(_transposed_pair(padding, *axis) for axis in zip(extents, checked.strides, strict=True))
        checked = checked._replace(padding=pairs)

    def fit(spatial: Shape) -> Window:
        outputs = transposed_outputs(spatial, checked)
        if min(outputs) < 1:
            raise ValueError(
                f"{where}: expected spatial axes and padding that leave an output, got {spatial} with padding "
                f"{checked.padding} and a window of {extents}; pad more"
            )
        return checked

    return fit


def padding_with_zeros(
    where: str, name: str, size: Sequence[int], *, padding: Padding, dilation: PerAxis = 1
) -> Padding:
    """The padding of a convolution as `window_for` takes it: what pads by a rule of its own as pairs.

    Args:
        where: the layer, first in messages.
        name: what the layer calls the size.
        size: taps per spatial axis.
        padding: also "CAUSAL", all before; "CIRCULAR" and "REFLECT", halved and the odd one after.
        dilation: steps between two taps.

    Raises:
        ValueError: a setting is out of range; or the padding is "CAUSAL" and there is more than one axis.

    Example:
        >>> padding_with_zeros("conv", "kernel_size", (4,), padding="CAUSAL")
        ((3, 0),)
    """
    if not isinstance(padding, str) or padding not in ("CAUSAL", *_MODES):
        return padding
    extents = _extents(_checked(where, name, size, 1, "VALID", dilation))
    if padding != "CAUSAL":
        return tuple(((extent - 1) // 2, extent // 2) for extent in extents)
    if len(extents) > 1:
        raise ValueError(
            f"{where}: expected padding 'CAUSAL' with one spatial axis, got {name} {tuple(size)}; give a pair "
            "(before, after) per axis"
        )
    return ((extents[0] - 1, 0),)


def padded(x: Array, window: Window, padding: Padding) -> tuple[Array, Window]:
    """Inputs `[batch, *spatial, channels]` with what pads them, and the window with what padding is left.

    Example:
        >>> x = jnp.array([1.0, 2.0, 3.0]).reshape(1, 3, 1)
        >>> y, window = padded(x, Window((3,), (1,), (1,), ((1, 1),)), "CIRCULAR")
        >>> y[0, :, 0].tolist(), window.padding
        ([3.0, 1.0, 2.0, 3.0, 1.0], ((0, 0),))
    """
    if not isinstance(padding, str) or padding not in _MODES:
        return x, window
    y = jnp.pad(x, ((0, 0), *window.padding, (0, 0)), mode=_MODES[padding])
    return y, window._replace(padding=((0, 0),) * len(window.size))


def outputs(spatial: Shape, window: Window) -> Shape:
    """How many outputs a window makes along each spatial axis.

    Example:
        >>> outputs((8,), Window((3,), (2,), (1,), ((1, 1),)))
        (4,)
    """
    return tuple(
        (axis + sum(pair) - extent) // stride + 1
        for axis, pair, extent, stride in zip(spatial, window.padding, _extents(window), window.strides, strict=True)
    )


def lengths_after(where: str, lengths: Array, window: Window, *, named: bool) -> Array:
    """How many windows a sequence of each length has by itself, the first spatial axis being time.

    Args:
        where: the layer, first in messages.
        lengths: of the sequences before.
        window: with the padding of sequences of the greatest length.
        named: whether the padding is "SAME", and so depends on the length.

    Raises:
        ValueError: with "SAME" and a stride, windows of a longer sequence lie elsewhere.

    Example:
        >>> import jax.numpy as jnp
        >>> lengths_after("conv", jnp.array([8, 3, 0]), Window((3,), (2,), (1,), ((0, 0),)), named=False).tolist()
        [3, 1, 0]
    """
    (extent, *_), (stride, *_), (pair, *_) = _extents(window), window.strides, window.padding
    if named and stride > 1:
        raise ValueError(
            f"{where}: expected padding that is the same for sequences of every length, got 'SAME' with a stride of "
            f"{stride} along time; use padding='VALID' or pairs (before, after)"
        )
    counts = (lengths + sum(pair) - extent) // stride + 1
    return jnp.where(lengths > 0, jnp.maximum(counts, 0), 0).astype(lengths.dtype)


def transposed_lengths_after(lengths: Array, window: Window) -> Array:
    """How many outputs a transposed convolution makes of sequences of these lengths, the first spatial axis being time.

    Example:
        >>> import jax.numpy as jnp
        >>> transposed_lengths_after(jnp.array([8, 0]), Window((4,), (2,), (1,), ((2, 2),))).tolist()
        [16, 0]
    """
    (extent, *_), (stride, *_), (pair, *_) = _extents(window), window.strides, window.padding
    counts = (lengths - 1) * stride + 2 + sum(pair) - extent
    return jnp.where(lengths > 0, jnp.maximum(counts, 0), 0).astype(lengths.dtype)


def transposed_outputs(spatial: Shape, window: Window) -> Shape:
    """How many outputs a transposed convolution makes along each spatial axis.

    Example:
        >>> transposed_outputs((8,), Window((4,), (2,), (1,), ((2, 2),)))
        (16,)
    """
    return tuple(
        (axis - 1) * stride + 1 + sum(pair) - extent + 1
        for axis, pair, extent, stride in zip(spatial, window.padding, _extents(window), window.strides, strict=True)
    )


def spatial_shape(where: str, x: Array, dimensions: int) -> Shape:
    """The sizes of the spatial axes, which stand before the channels.

    Raises:
        ValueError: x has too few axes, or one of them is empty.

    Example:
        >>> import jax.numpy as jnp
        >>> spatial_shape("conv", jnp.zeros((5, 8, 6, 3)), 2)
        (8, 6)
    """
    spatial = x.shape[-dimensions - 1 : -1]
    if x.ndim < dimensions + 1 or 0 in spatial:
        raise ValueError(
            f"{where}: expected inputs [*batch, *spatial, channels] with {dimensions} spatial axes, none empty, "
            f"got {x.dtype}{list(x.shape)}"
        )
    return spatial


def _checked(
    where: str, name: str, size: Sequence[int], strides: PerAxis, padding: Padding, dilation: PerAxis
) -> Window:
    """The settings as tuples; the padding is empty where it depends on the input."""
    if not _is_list(size) or not 1 <= len(size) <= 3:
        raise ValueError(f"{where}: expected {name} to hold 1, 2 or 3 integers, one per spatial axis, got {size!r}")
    return Window(
        _per_axis(where, name, size, len(size)),
        _per_axis(where, "strides", strides, len(size)),
        _per_axis(where, "dilation", dilation, len(size)),
        _pairs(where, padding, len(size)),
    )


def _is_list(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _per_axis(where: str, name: str, value: PerAxis, dimensions: int) -> Shape:
    """One positive integer per spatial axis."""
    if not isinstance(value, Sequence):
        require_size(where, **{name: value})
        return (int(value),) * dimensions
    if len(value) != dimensions:
        raise ValueError(f"{where}: expected {name} to be an integer or {dimensions} of them, got {value!r}")
    require_size(where, **{f"{name}[{place}]": each for place, each in enumerate(value)})
    return tuple(int(each) for each in value)


def _pairs(where: str, padding: Padding, dimensions: int) -> _Pairs:
    """Explicit padding as tuples, or () for a name."""
    if padding in ("SAME", "VALID"):
        return ()
    if (
        isinstance(padding, str)
        or not _is_list(padding)
        or len(padding) != dimensions
        or not all(_is_list(pair) and len(pair) == 2 for pair in padding)
        or not all(isinstance(each, int | np.integer) and each >= 0 for pair in padding for each in pair)
    ):
        raise ValueError(
            f"{where}: expected padding to be 'SAME', 'VALID' or {dimensions} pairs (before, after) of integers of at "
            f"least 0, got {padding!r}"
        )
    return tuple((int(before), int(after)) for before, after in padding)


def _extents(window: Window) -> Shape:
    """Positions from the first to the last tap, both counted."""
    return tuple((size - 1) * step + 1 for size, step in zip(window.size, window.dilation, strict=True))


def _transposed_pair(padding: str, extent: int, stride: int) -> tuple[int, int]:
    """Padding of the spread inputs such that axis * stride outputs ("SAME") or all of them ("VALID") come out."""
    if padding == "VALID":
        return extent - 1, max(extent, stride) - 1
    total = extent + stride - 2
    before = min(extent - 1, -(-total // 2))
    return before, total - before
