"""A layer as one plain function of arrays, for training or for evaluation.

`train` in `apply` is a Python bool, which `jax.jit` would trace and `jax.vmap` would map. Here it is part of the
function.
"""

from typing import Any, Protocol, runtime_checkable

from dlkit.layers.base import Layer, as_layer
from dlkit.typing import Array, ArrayFunction, Key, Params, State

__all__ = ["EvaluateFunction", "TrainFunction", "evaluate", "train"]


@runtime_checkable
class EvaluateFunction(Protocol):
    """`function(params, state, x, **side) -> y`."""

    def __call__(self, params: Params, state: State, x: Array, **side: Any) -> Array:
        """Map a batch of examples."""
        ...


@runtime_checkable
class TrainFunction(Protocol):
    """`function(params, state, x, key=None, **side) -> (y, state)`."""

    def __call__(
        self, params: Params, state: State, x: Array, key: Key | None = None, **side: Any
    ) -> tuple[Array, State]:
        """Map a batch of examples; return the outputs and the next state."""
        ...


def evaluate(layer: Layer | ArrayFunction) -> EvaluateFunction:
    """A layer as it is evaluated: y = f(params, state, x), with nothing dropped and statistics as they are.

    Args:
        layer: the layer.

    Returns:
        A function of arrays alone, for `jax.jit`, `jax.vmap`, `jax.checkpoint` and `jax.export`. It takes side inputs
        by name. Two of equal layers are equal, so that a function compiled for one serves the other.

    Raises:
        TypeError: the argument is neither a layer nor a function.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from dlkit.layers import dropout
        >>> jax.jit(evaluate(dropout(0.5)))({}, {}, jnp.ones(3)).tolist()
        [1.0, 1.0, 1.0]
    """
    return _Evaluate(as_layer(layer))


def train(layer: Layer | ArrayFunction) -> TrainFunction:
    """A layer as it is trained: (y, state) = f(params, state, x, key).

    Args:
        layer: the layer.

    Returns:
        A function of arrays alone, as that of `evaluate`. The key may also be given by position, for
        `jax.vmap(..., in_axes=(None, None, 0, None))`: JAX maps what is given by name over its first axis.

    Raises:
        TypeError: the argument is neither a layer nor a function.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from dlkit.layers import dropout
        >>> y, state = jax.jit(train(dropout(0.5)))({}, {}, jnp.ones(1000), jax.random.key(0))
        >>> sorted(set(y.tolist()))
        [0.0, 2.0]
    """
    return _Train(as_layer(layer))


class _Function:
    """A layer as a function; equal for equal layers."""

    def __init__(self, layer: Layer) -> None:
        self.layer = layer

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and isinstance(other, _Function) and self.layer == other.layer

    def __hash__(self) -> int:
        return hash((type(self), self.layer))


class _Evaluate(_Function):
    __name__ = "evaluate"

    def __call__(self, params: Params, state: State, x: Array, **side: Any) -> Array:
        return self.layer.apply(params, state, x, train=False, **side)[0]

    def __repr__(self) -> str:
        return f"evaluate({self.layer!r})"


class _Train(_Function):
    __name__ = "train"

    def __call__(
        self, params: Params, state: State, x: Array, key: Key | None = None, **side: Any
    ) -> tuple[Array, State]:
        return self.layer.apply(params, state, x, key=key, train=True, **side)

    def __repr__(self) -> str:
        return f"train({self.layer!r})"
