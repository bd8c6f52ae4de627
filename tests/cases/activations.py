"""Conformance rows of the activations."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from dlkit import activations
from tests.cases.base import Case, Input

# What overflows mathematically: the product of two halves, and a difference of two logits.
LIMITS = {"swiglu": 1e18, "geglu": 1e18, "relu_squared": 1e18, "log_softmax": 1.6e38}


def activation(name: str, **settings: Any) -> Case:
    function = getattr(activations, name)
    label = f"activations.{name}" + "".join(f"-{key}={value}" for key, value in settings.items())
    return Case(label, lambda dtype: lambda x: function(x, **settings), (Input((6,)),), LIMITS.get(name, 3.2e38))


def channel_slopes(x: jax.Array) -> jax.Array:
    return activations.prelu(x, jnp.array([0.0, 0.25, -0.5, 1.0, 2.0], x.dtype))


def gumbel(dtype: str) -> Callable[[jax.Array], jax.Array]:
    return lambda x: activations.gumbel_softmax(x, key=jax.random.key(0), temperature=0.5)


def hard_gumbel(dtype: str) -> Callable[[jax.Array], jax.Array]:
    return lambda x: activations.gumbel_softmax(x, key=jax.random.key(0), hard=True)


CASES = (
    *(activation(name) for name in activations.NAMES),
    activation("gelu", approximate=True),
    activation("leaky_relu", negative_slope=0.3),
    activation("elu", alpha=0.5),
    activation("celu", alpha=0.5),
    activation("squareplus", b=1.0),
    Case("activations.gumbel_softmax", gumbel, (Input((5,)),), 1.6e38, batched=False),
    Case("activations.gumbel_softmax-hard", hard_gumbel, (Input((5,)),), 1.6e38, batched=False),
    Case("activations.prelu-channels", lambda dtype: channel_slopes, (Input((5,)),), 1.6e38),
)
