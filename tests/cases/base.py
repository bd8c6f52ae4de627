"""What a row of the conformance table is. The rows of a family stand in the module of its name beside this one."""

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dlkit import layers


class Input(NamedTuple):
    """One argument of one example: floating point, or class indices when `classes` is given."""

    shape: tuple[int, ...]
    classes: int = 0


class Case(NamedTuple):
    """A primitive as a function of arrays."""

    name: str
    make: Callable[[str], Callable[..., jax.Array]]  # dtype -> function(*inputs)
    inputs: tuple[Input, ...]
    limit: float  # values and gradients are finite up to this magnitude of float32 inputs
    batched: bool = True  # leading axes are batch axes
    tolerance: float = 1.0  # a multiple of the usual one between two orders of the same arithmetic
    # Of what learns: parameters and state, in float32; and the function of these and the inputs.
    init: Callable[[], Any] = tuple
    apply: Callable[..., jax.Array] | None = None

    def parametrized(self) -> Callable[..., jax.Array]:
        """The function of `(variables, *inputs)`; the variables are those of `init`."""
        if self.apply is not None:
            return self.apply
        function = self.make("float32")
        return lambda variables, *inputs: function(*inputs)

    def structures(self, batch: Any) -> list[jax.ShapeDtypeStruct]:
        """Shapes and dtypes of inputs with one batch axis."""
        dtypes = [jnp.int32 if spec.classes else jnp.float32 for spec in self.inputs]
        return [
            jax.ShapeDtypeStruct((batch, *spec.shape), dtype) for spec, dtype in zip(self.inputs, dtypes, strict=True)
        ]


def initialized(layer: Any, shape: tuple[int, ...]) -> Callable[[str], tuple[Any, Any]]:
    """Parameters of any dtype and the state of a layer, by one program that runs once. Call it outside of traces."""

    @cache
    def initial() -> tuple[Any, Any]:
        with jax.enable_x64(False):
            return jax.jit(lambda: layer.init(jax.random.key(0), shape))()

    def of_dtype(dtype: str) -> tuple[Any, Any]:
        params, state = initial()
        return jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf).astype(jnp.dtype(dtype))), params), state

    return of_dtype


def layer(
    name: str,
    layer: layers.Layer,
    shape: tuple[int, ...],
    *,
    train: bool = False,
    limit: float = 1e30,
    classes: int = 0,
    tolerance: float = 1.0,
    batched: bool | None = None,
) -> Case:
    """A layer, with parameters of the dtype, as a function of its inputs (token ids when `classes` is given)."""

    initial = initialized(layer, shape)

    def make(dtype: str) -> Callable[..., jax.Array]:
        params, state = initial(dtype)
        return lambda x: layer.apply(params, state, x, key=jax.random.key(1), train=train)[0]

    def apply(variables: Any, x: jax.Array) -> jax.Array:
        return layer.apply(*variables, x, key=jax.random.key(1), train=train)[0]

    batched = not train if batched is None else batched
    return Case(
        name,
        make,
        (Input(shape, classes),),
        limit,
        batched=batched,
        tolerance=tolerance,
        init=lambda: layer.init(jax.random.key(0), shape),
        apply=apply,
    )


def with_side(name: str, layer: layers.Layer, first: Input, *, limit: float = 1e15, **side: Input) -> Case:
    """A layer that takes other arrays by name beside its inputs."""
    shapes = {
        each: jax.ShapeDtypeStruct(spec.shape, jnp.int32 if spec.classes else jnp.float32)
        for each, spec in side.items()
    }

    @cache
    def initial() -> tuple[Any, Any]:
        with jax.enable_x64(False):
            return jax.jit(lambda: layer.init(jax.random.key(0), first.shape, **shapes))()

    def make(dtype: str) -> Callable[..., jax.Array]:
        params, state = initial()
        params = jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf).astype(jnp.dtype(dtype))), params)
        return lambda *inputs: apply((params, state), *inputs)

    def apply(variables: Any, x: jax.Array, *others: jax.Array) -> jax.Array:
        return layer.apply(*variables, x, **dict(zip(side, others, strict=True)))[0]

    return Case(
        name,
        make,
        (first, *side.values()),
        limit,
        init=lambda: layer.init(jax.random.key(0), first.shape, **shapes),
        apply=apply,
    )


def plain(function: Callable[..., jax.Array], **settings: Any) -> Callable[[str], Callable[..., jax.Array]]:
    """A function that makes nothing beforehand."""
    return lambda dtype: lambda *inputs: function(*inputs, **settings)
