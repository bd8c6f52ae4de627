"""A layer whose two functions are compiled as a whole: one program each, where eagerly every operation is one."""

from typing import Any, TypeVar

import jax

AnyLayer = TypeVar("AnyLayer", bound=Any)


def compiled(layer: AnyLayer) -> AnyLayer:
    """Returns a layer, or what has `init` and `apply` like one, with both compiled.

    What is checked of values (lengths, ids) is not checked in a compiled function: tests of that take the layer itself.
    """
    return layer._replace(
        init=jax.jit(layer.init, static_argnums=1), apply=jax.jit(layer.apply, static_argnames="train")
    )
