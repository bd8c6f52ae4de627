"""Activations as layers: by name, or with parameters of their own.

What they compute is marked, `jax.ad_checkpoint.checkpoint_name(y, MARK)`, so that diagnostics find it inside a model by
tracing. The mark vanishes when the program is compiled.
"""

import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Float

from dlkit import activations
from dlkit.checks import require_floating, require_number
from dlkit.layers.base import Layer, as_layer, described, lambda_
from dlkit.typing import Array, ArrayFunction, Key, Params, Shape, State

__all__ = ["MARK", "activation", "prelu"]

MARK = "activation"
"""The name that the outputs of activation layers carry."""


@described
def activation(function: str | ArrayFunction | Layer) -> Layer:
    """Make a layer of an activation.

    Args:
        function: a name that `activations.get` knows, or "prelu", which is a layer; a function of one array; or a
            layer, which is returned as it is.

    Returns:
        A layer; without parameters unless it is `prelu`. The outputs of a name's or a function's carry `MARK`; a layer
        marks its own.

    Raises:
        ValueError: there is no activation of this name; the message suggests the nearest.
        TypeError: the argument is none of these; or, in `apply` of one by name, the inputs are not floating point.

    Example:
        >>> activation("relu").apply({}, {}, jnp.array([-1.0, 2.0]))[0]
        Array([0., 2.], dtype=float32)
    """
    if isinstance(function, Layer):
        return function
    if function == "prelu":
        return prelu()
    named = activations.get(function) if isinstance(function, str) else function
    as_layer(named)  # refuses what is no function

    def marked(x: Array) -> Array:
        if isinstance(function, str):
            require_floating(f"activation {function!r}", inputs=x)
        return _mark(named(x))

    return lambda_(marked)


@described
def prelu(*, initial_slope: float = 0.25, shared: bool = False) -> Layer:
    """Parametric rectified linear unit: y = x if x >= 0, else negative_slope * x, with learned slopes.

    Parameters: `{"negative_slope": [channels]}`, or `[]` when shared. Weight decay pulls them towards relu; the paper
    does without it.

    Args:
        initial_slope: of every channel.
        shared: one slope for all channels instead of one for each.

    Returns:
        A layer for inputs `[*batch, ..., channels]`; the shape is kept. When shared, of any shape.

    Raises:
        ValueError: initial_slope is not finite; the example has no channels; or x has others.
        TypeError: x is not floating point.

    Reference:
        He et al., "Delving deep into rectifiers", 2015, https://arxiv.org/abs/1502.01852.

    Example:
        >>> import jax
        >>> layer = prelu()
        >>> params, state = layer.init(jax.random.key(0), (2,))
        >>> layer.apply(params, state, jnp.array([-1.0, 2.0]))[0]
        Array([-0.25,  2.  ], dtype=float32)
    """
    require_number("prelu", "initial_slope", initial_slope, above=float("-inf"), below=float("inf"))

    def init(key: Key, input_shape: Shape) -> tuple[Params, State]:
        del key
        if not shared and (not input_shape or input_shape[-1] < 1):
            raise ValueError(f"prelu: expected an example shape (..., channels), got {tuple(input_shape)}")
        shape = () if shared else (input_shape[-1],)
        return {"negative_slope": jnp.full(shape, initial_slope, jnp.float32)}, {}

    def apply(
        params: Params, state: State, x: Float[Array, "*shape"], *, key: Key | None = None, train: bool = False
    ) -> tuple[Float[Array, "*shape"], State]:
        del key, train
        require_floating("prelu", inputs=x)
        dtype = jnp.result_type(x, params["negative_slope"])
        return _mark(activations.prelu(x.astype(dtype), params["negative_slope"])), state

    return Layer(init, apply)


def _mark(y: Array) -> Array:
    marked: Array = checkpoint_name(y, MARK)
    return marked
