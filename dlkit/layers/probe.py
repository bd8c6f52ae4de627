"""What a layer makes of one example, found by tracing."""

import contextlib
import contextvars
from collections.abc import Iterator

import jax
import jax.numpy as jnp

from dlkit.layers.base import Layer
from dlkit.typing import Array, DTypeLike, Params, Shape, State

__all__ = ["batched", "is_probe", "output_shape", "probing"]

_PROBE_BATCH = 2
_probing: contextvars.ContextVar[bool] = contextvars.ContextVar("_probing", default=False)


def output_shape(
    layer: Layer,
    params: Params,
    state: State,
    input_shape: Shape,
    *,
    input_dtype: DTypeLike = jnp.float32,
    **side_shapes: Shape | jax.ShapeDtypeStruct,
) -> jax.ShapeDtypeStruct:
    """Shape and dtype of what a layer makes of one example, found by tracing: nothing is computed.

    Args:
        layer: the layer.
        params: its parameters.
        state: its state.
        input_shape: shape of one example, without batch axes.
        input_dtype: dtype of the example, e.g. `jnp.int32` for token ids.
        **side_shapes: shapes of what `apply` takes by name, for one example: `context=(12, 32)`; a
            `jax.ShapeDtypeStruct` where it is not float32. Names that the layer does not take are passed over.

    Returns:
        Shape (without batch axes) and dtype.

    Raises:
        ValueError: the output has lost the batch axis.

    Example:
        >>> from dlkit.layers.base import as_layer
        >>> output_shape(as_layer(lambda x: x[..., :2]), {}, {}, (8, 3)).shape
        (8, 2)
    """

    def first_output(params: Params, state: State, x: Array, side: dict[str, Array]) -> Array:
        y, _ = layer.apply(params, state, x, **side)
        if y.shape[:1] != (_PROBE_BATCH,):
            raise ValueError(
                f"expected an output [*batch, ...] for inputs {jax.typeof(x)}, got {jax.typeof(y)}; "
                "a layer maps every example by itself and keeps the batch axes"
            )
        return y[0]

    side = {name: batched(shape) for name, shape in side_shapes.items() if name in layer.side_inputs}
    with probing():
        outputs: jax.ShapeDtypeStruct = jax.eval_shape(
            first_output, params, state, batched(input_shape, input_dtype), side
        )
    return outputs


@contextlib.contextmanager
def probing() -> Iterator[None]:
    """A block in which layers are traced for the shapes of their outputs alone, with batches that nobody gave.

    Example:
        >>> with probing():
        ...     is_probe()
        True
    """
    before = _probing.set(True)
    try:
        yield
    finally:
        _probing.reset(before)


def is_probe() -> bool:
    """Whether only shapes matter: a state that belongs to a batch is not the one of this batch.

    Example:
        >>> is_probe()
        False
    """
    return _probing.get()


def batched(
    shape: Shape | jax.ShapeDtypeStruct, dtype: DTypeLike = jnp.float32, *, batch: int = _PROBE_BATCH
) -> jax.ShapeDtypeStruct:
    """Shape and dtype of a batch of examples, as `apply` gets it.

    Args:
        shape: of one example, perhaps with its dtype.
        dtype: where the shape says none.
        batch: how many.

    Example:
        >>> batched((8, 3), jnp.int32), batched(jax.ShapeDtypeStruct((3,), jnp.bool_), batch=1)
        (ShapeDtypeStruct(shape=(2, 8, 3), dtype=int32), ShapeDtypeStruct(shape=(1, 3), dtype=bool))
    """
    if isinstance(shape, jax.ShapeDtypeStruct):
        return jax.ShapeDtypeStruct((batch, *shape.shape), shape.dtype)
    struct: jax.ShapeDtypeStruct = jax.eval_shape(lambda: jnp.zeros((batch, *shape), dtype))
    return struct
