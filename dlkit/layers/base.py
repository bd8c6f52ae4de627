"""What a layer is.

A layer is a pair of pure functions. `init` makes its parameters and state from a key and the shape of one example;
`apply` maps a batch of examples. Nothing else is hidden in it, so it works under jit, vmap, grad and scan as it is.
"""

from typing import NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp

from dlkit.typing import Array, ArrayFunction, DTypeLike, Key, Params, Shape, State

__all__ = ["ApplyFunction", "InitFunction", "Layer", "RaggedFunction", "as_layer", "lambda_", "output_shape"]

_PROBE_BATCH = 2


@runtime_checkable
class InitFunction(Protocol):
    """`init(key, input_shape) -> (params, state)`."""

    def __call__(self, key: Key, input_shape: Shape) -> tuple[Params, State]:
        """Make the parameters and the state for examples of this shape."""
        ...


class ApplyFunction(Protocol):
    """`apply(params, state, x, *, key=None, train=False) -> (y, state)`."""

    def __call__(
        self, params: Params, state: State, x: Array, *, key: Key | None = None, train: bool = False
    ) -> tuple[Array, State]:
        """Map a batch of examples; return the outputs and the next state."""
        ...


@runtime_checkable
class RaggedFunction(Protocol):
    """`ragged(params, state, x, lengths, *, key=None, train=False) -> (y, state, lengths)`."""

    def __call__(
        self, params: Params, state: State, x: Array, lengths: Array, *, key: Key | None = None, train: bool = False
    ) -> tuple[Array, State, Array | None]:
        """Map a batch of padded sequences; return the outputs, the next state and how many steps count now."""
        ...


class Layer(NamedTuple):
    """A pair of pure functions.

    Attributes:
        init: `init(key, input_shape) -> (params, state)`. `input_shape` is the shape of **one example**, without batch
            axes. A layer without parameters returns `{}` for them; a layer without state returns `{}` for it.
        apply: `apply(params, state, x, *, key=None, train=False) -> (y, state)`, with x of shape
            `[*batch, *input_shape]` and y of shape `[*batch, *output_shape]`. Stochastic layers require `key` while
            `train` is true. Layers that look at several steps of a sequence at once also take `lengths=`.
        ragged: for layers that change or remove the time axis: `apply` for sequences of unequal lengths, which also
            returns the lengths after it. `layers.apply_ragged` tells the whole protocol.

    Example:
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


def lambda_(function: ArrayFunction) -> Layer:
    """Make a layer of a plain function: y = f(x), without parameters and state.

    Args:
        function: of one array, such as an activation. It sees the batch axes too, `[*batch, *input_shape]`, and has to
            keep them.

    Returns:
        The layer.

    Raises:
        TypeError: the argument is no function.

    Example:
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

    return Layer(init, apply)


def as_layer(layer: Layer | ArrayFunction) -> Layer:
    """Return a layer as it is, and a plain function as a layer: `lambda_(function)`.

    Args:
        layer: a layer, or a function of one array.

    Returns:
        A layer.

    Raises:
        TypeError: the argument is neither.

    Example:
        >>> as_layer(jnp.abs).apply({}, {}, jnp.array([-1.0]))
        (Array([1.], dtype=float32), {})
    """
    if isinstance(layer, Layer):
        return layer
    _require_function("expected a Layer or a function of one array", layer)
    return lambda_(layer)


def output_shape(
    layer: Layer, params: Params, state: State, input_shape: Shape, *, input_dtype: DTypeLike = jnp.float32
) -> jax.ShapeDtypeStruct:
    """Shape and dtype of what a layer makes of one example, found by tracing: nothing is computed.

    Args:
        layer: the layer.
        params: its parameters.
        state: its state.
        input_shape: shape of one example, without batch axes.
        input_dtype: dtype of the example, e.g. `jnp.int32` for token ids.

    Returns:
        Shape (without batch axes) and dtype.

    Raises:
        ValueError: the output has lost the batch axis.

    Example:
        >>> output_shape(as_layer(lambda x: x[..., :2]), {}, {}, (8, 3)).shape
        (8, 2)
    """

    def first_output(params: Params, state: State, x: Array) -> Array:
        y, _ = layer.apply(params, state, x)
        if y.shape[:1] != (_PROBE_BATCH,):
            raise ValueError(
                f"expected an output [*batch, ...] for inputs {jax.typeof(x)}, got {jax.typeof(y)}; "
                "a layer maps every example by itself and keeps the batch axes"
            )
        return y[0]

    outputs: jax.ShapeDtypeStruct = jax.eval_shape(
        first_output, params, state, _struct((_PROBE_BATCH, *input_shape), input_dtype)
    )
    return outputs


def _require_function(expected: str, function: object) -> None:
    if not callable(function):
        raise TypeError(f"{expected}, got {type(function).__name__}: {function!r}")


def _struct(shape: Shape, dtype: DTypeLike) -> jax.ShapeDtypeStruct:
    """An array's shape and dtype without the array."""
    struct: jax.ShapeDtypeStruct = jax.eval_shape(lambda: jnp.zeros(shape, dtype))
    return struct
