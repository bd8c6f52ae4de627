"""Products of own functions: those of more than two axes become the layers', with the same numbers and derivatives."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen

from dlkit import layers
from dlkit.bench.training.fast_products import with_products
from dlkit.typing import Array

RNG = np.random.default_rng(0)
EQUATIONS = {
    "sequences": ("btf,fo->bto", (2, 5, 4), (4, 3)),
    "kernel transposed": ("btf,of->bto", (2, 5, 4), (3, 4)),
    "kernel first": ("of,btf->bto", (3, 4), (2, 5, 4)),
    "kernel of heads": ("btf,fhd->bthd", (2, 5, 4), (4, 2, 2)),
    "heads merged": ("bthd,hdf->btf", (2, 5, 2, 3), (2, 3, 4)),
    "logits of attention": ("bqhd,bkhd->bhqk", (2, 5, 2, 6), (2, 4, 2, 6)),
    "averages of attention": ("bhqk,bkhd->bqhd", (2, 2, 5, 4), (2, 4, 2, 6)),
}
LEFT = {
    "two axes": ("bf,fo->bo", (5, 4), (4, 3)),
    "a vector": ("btf,f->bt", (2, 5, 4), (4,)),
}


def of(case: tuple[str, Any, Any]) -> tuple[Callable[..., Array], Array, Array]:
    equation, *shapes = case
    x, kernel = (jnp.asarray(RNG.normal(size=shape), jnp.float32) for shape in shapes)
    return lambda x, kernel: jnp.sum(jnp.sin(jnp.einsum(equation, x, kernel))), x, kernel


def assert_close(found: Any, expected: Any) -> None:
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", EQUATIONS)
def test_products_of_many_axes_become_the_layers(name: str) -> None:
    function, x, kernel = of(EQUATIONS[name])
    rewritten = with_products(function)
    assert "optimization_barrier" in str(jax.make_jaxpr(jax.grad(rewritten, (0, 1)))(x, kernel))
    found, expected = (jax.jit(jax.value_and_grad(f, (0, 1)))(x, kernel) for f in (rewritten, function))
    assert_close(found, expected)


@pytest.mark.parametrize("name", LEFT)
def test_other_products_stay(name: str) -> None:
    function, x, kernel = of(LEFT[name])
    assert str(jax.make_jaxpr(with_products(function))(x, kernel)) == str(jax.make_jaxpr(function)(x, kernel))


@pytest.mark.long
def test_a_module_of_flax_has_the_same_gradients() -> None:
    module, x = linen.MultiHeadDotProductAttention(2), jnp.asarray(RNG.normal(size=(2, 5, 4)), jnp.float32)
    params = module.init(jax.random.key(0), x)

    def loss(params: Any) -> Array:
        return jnp.sum(jnp.sin(module.apply(params, x)))

    assert "custom_jvp" in str(jax.make_jaxpr(with_products(loss))(params))
    assert_close(jax.jit(jax.grad(with_products(loss)))(params), jax.jit(jax.grad(loss))(params))


def test_layers_are_left_as_they_are() -> None:
    layer = layers.multi_head_attention(2)
    params, state = layer.init(jax.random.key(0), (5, 4))

    def apply(params: Any, x: Array) -> Array:
        return layer.apply(params, state, x)[0]

    x = jnp.ones((2, 5, 4))
    assert str(jax.make_jaxpr(with_products(apply))(params, x)) == str(jax.make_jaxpr(apply)(params, x))
