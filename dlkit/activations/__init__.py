"""Activation functions: Array -> Array, and a registry by name.

Example:
    >>> from dlkit import activations
    >>> activations.get("relu") is activations.relu
    True
"""

from typing import TYPE_CHECKING

from dlkit.activations.gates import geglu, glu, log_softmax, softmax, sparsemax, swiglu
from dlkit.activations.rectifiers import celu, elu, identity, leaky_relu, prelu, relu, relu6, relu_squared, selu
from dlkit.activations.registry import NAMES, get
from dlkit.activations.sampling import gumbel_softmax
from dlkit.activations.sigmoids import hard_sigmoid, hard_silu, hard_tanh, log_sigmoid, sigmoid, softsign, tanh
from dlkit.activations.smooth import gelu, mish, silu, softplus, squareplus
from dlkit.hints import missing_attribute

__all__ = [
    "NAMES",
    "celu",
    "elu",
    "geglu",
    "gelu",
    "get",
    "glu",
    "gumbel_softmax",
    "hard_sigmoid",
    "hard_silu",
    "hard_tanh",
    "identity",
    "leaky_relu",
    "log_sigmoid",
    "log_softmax",
    "mish",
    "prelu",
    "relu",
    "relu6",
    "relu_squared",
    "selu",
    "sigmoid",
    "silu",
    "softmax",
    "softplus",
    "softsign",
    "sparsemax",
    "squareplus",
    "swiglu",
    "tanh",
]

if not TYPE_CHECKING:
    __getattr__ = missing_attribute(__name__, __all__)
