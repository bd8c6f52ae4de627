"""The activations by name, for specifications that are text."""

from dlkit.activations.gates import geglu, glu, log_softmax, softmax, sparsemax, swiglu
from dlkit.activations.rectifiers import celu, elu, identity, leaky_relu, relu, relu6, relu_squared, selu
from dlkit.activations.sigmoids import hard_sigmoid, hard_silu, hard_tanh, log_sigmoid, sigmoid, softsign, tanh
from dlkit.activations.smooth import gelu, mish, silu, softplus, squareplus
from dlkit.hints import closest
from dlkit.typing import ArrayFunction

__all__ = ["NAMES", "get"]

# fmt: off
_REGISTRY: dict[str, ArrayFunction] = {
    function.__name__: function
    for function in (
        identity, relu, relu6, relu_squared, leaky_relu, elu, selu, celu, gelu, silu, mish, softplus, squareplus,
        sigmoid, log_sigmoid, hard_sigmoid, hard_silu, tanh, hard_tanh, softsign, softmax, log_softmax, sparsemax, glu,
        swiglu, geglu,
    )
}
# fmt: on

NAMES: tuple[str, ...] = tuple(_REGISTRY)
"""What `get` knows: every activation that can be called with x alone."""


def get(name: str) -> ArrayFunction:
    """Return the activation of this name, with its default configuration.

    Args:
        name: one of `NAMES`.

    Returns:
        The function of that name. `glu`, `swiglu` and `geglu` halve the last axis; the others keep the shape.

    Raises:
        ValueError: there is no such activation; the message suggests the nearest name. Or it is "prelu", which has
            parameters, or "gumbel_softmax", which takes a key.

    Example:
        >>> get("silu") is silu
        True
    """
    if name in _REGISTRY:
        return _REGISTRY[name]
    if name == "prelu":
        raise ValueError("activation 'prelu' learns its slope, so it is a layer: use layers.prelu()")
    if name == "gumbel_softmax":
        raise ValueError("activation 'gumbel_softmax' draws at random: call activations.gumbel_softmax(x, key=key)")
    meant = closest(name, NAMES)
    hint = f"did you mean {meant!r}?" if meant else f"known: {', '.join(NAMES)}"
    raise ValueError(f"unknown activation {name!r}; {hint}")
