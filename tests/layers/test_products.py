"""Products in the forms of CPU against jnp's: values and derivatives of any order and mode, for any shape."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend import core

from dlkit import layers
from dlkit.layers import products
from dlkit.layers.products import affine, computed_once, matmul, of_kernel, spread
from dlkit.typing import Array

RNG = np.random.default_rng(0)
CPU_ONLY = pytest.mark.skipif(jax.default_backend() != "cpu", reason="elsewhere products stay XLA's")
SHAPES = {
    "vector": ((4,), (4, 3)),
    "matrix, more inputs": ((6, 5), (5, 3)),
    "matrix, more outputs": ((6, 3), (3, 5)),
    "sequence, more inputs": ((2, 6, 5), (5, 3)),
    "sequence, more outputs": ((2, 6, 3), (3, 5)),
    "four axes": ((2, 3, 2, 4), (4, 4)),
    "batch of products, more inputs": ((2, 3, 5, 6), (2, 3, 6, 4)),
    "batch of products, more outputs": ((2, 3, 5, 4), (2, 3, 4, 6)),
    "batch of tiny products": ((2, 3, 3, 3), (2, 3, 3, 2)),
    "no rows": ((0, 4), (4, 3)),
    "many rows, few outputs": ((1024, 8), (8, 2)),
    "large kernel": ((3, 512), (512, 64)),
}
QUICK = ("sequence, more inputs", "batch of products, more outputs")


def arrays(shapes: tuple[tuple[int, ...], ...], dtype: Any = jnp.float32) -> list[Array]:
    return [jnp.asarray(RNG.normal(size=shape), dtype) for shape in shapes]


def assert_close(found: Any, expected: Any, tolerance: float = 1e-5) -> None:
    assert jax.tree.map(jnp.shape, found) == jax.tree.map(jnp.shape, expected)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_allclose(np.asarray(one, float), np.asarray(other, float), rtol=tolerance, atol=tolerance)


def derivatives(product: Callable[[Array, Array], Array], x: Array, kernel: Array) -> dict[str, Any]:
    """Of a function that bends: first and second, in both modes and their mixtures, alone and side by side."""
    x_direction, kernel_direction = jnp.cos(3 * x), jnp.sin(2 * kernel)

    def loss(x: Array, kernel: Array) -> Array:
        return jnp.sum(jnp.sin(product(x, kernel)) * product(jnp.cos(x), kernel))

    def forward(x: Array, kernel: Array) -> Array:
        return jax.jvp(loss, (x, kernel), (x_direction, kernel_direction))[1]

    def in_loop(x: Array, kernel: Array) -> Array:
        return jnp.sum(
            jax.lax.scan(lambda kernel, _: (kernel - loss(x, kernel) / 100, None), kernel, None, length=2)[0]
        )

    gradient = jax.grad(loss, (0, 1))
    side_by_side = jnp.stack([x, 2 * x])
    return {
        "value": product(x, kernel),
        "gradient": gradient(x, kernel),
        "forward": forward(x, kernel),
        "forward over reverse": jax.jvp(gradient, (x, kernel), (x_direction, kernel_direction))[1],
        "reverse over forward": jax.grad(forward, (0, 1))(x, kernel),
        "reverse over reverse": jax.grad(lambda *a: sum(jnp.sum(each**2) for each in gradient(*a)), (0, 1))(x, kernel),
        "in a loop": jax.grad(in_loop, (0, 1))(x, kernel),
        "vmap": jax.vmap(product, (0, None))(side_by_side, kernel),
        "gradients under vmap": jax.vmap(gradient, (0, None))(side_by_side, kernel),
        "of the kernel alone": jax.grad(loss, 1)(x, kernel),
    }


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.long) for name in SHAPES]
)
def test_all_derivatives_are_those_of_the_plain_product(name: str) -> None:
    with jax.enable_x64(True):
        x, kernel = arrays(SHAPES[name], jnp.float64)
        found, expected = (jax.jit(lambda *a, p=p: derivatives(p, *a))(x, kernel) for p in (matmul, jnp.matmul))
    for name in expected:
        assert_close(found[name], expected[name], 1e-10)


@pytest.mark.parametrize("dtypes", [("bfloat16", "bfloat16"), ("float32", "bfloat16"), ("float16", "float32")])
def test_dtypes_promote_as_in_jnp(dtypes: tuple[str, str]) -> None:
    x, kernel = (each.astype(dtype) for each, dtype in zip(arrays(((2, 6, 5), (5, 3))), dtypes, strict=True))
    tolerance = 2e-2 if dtypes[0] == dtypes[1] else 1e-5
    assert_close(matmul(x, kernel), x @ kernel, tolerance)
    gradients = [
        jax.grad(lambda x, kernel, product=product: product(x, kernel).astype(jnp.float32).sum(), (0, 1))(x, kernel)
        for product in (matmul, jnp.matmul)
    ]
    assert_close(*gradients, 2e-2)
    exact = jnp.matmul(x, kernel, preferred_element_type=jnp.float32)
    assert_close(matmul(x, kernel, dtype=jnp.dtype("float32")), exact)


def test_double_precision_stays() -> None:
    with jax.enable_x64(True):
        x, kernel = arrays(((2, 6, 5), (5, 3)), jnp.float64)
        gradients = [
            jax.grad(lambda k, product=product: jnp.sum(jnp.sin(product(x, k))))(kernel)
            for product in (matmul, jnp.matmul)
        ]
        assert_close(*gradients, 1e-14)


@pytest.mark.parametrize("leading", [(), (4,), (2, 3)])
def test_an_affine_map_is_a_product_and_a_bias(leading: tuple[int, ...]) -> None:
    x, kernel, bias = arrays(((*leading, 5), (5, 3), (3,)))

    def loss(form: Callable[..., Array], *arguments: Array) -> Array:
        return jnp.sum(jnp.sin(form(*arguments)))

    def plain(x: Array, kernel: Array, bias: Array) -> Array:
        return x @ kernel + bias.reshape((1,) * len(leading) + (3,))

    assert_close(affine(x, kernel, bias), plain(x, kernel, bias))
    assert_close(affine(x, kernel, None), x @ kernel)
    assert_close(*(jax.grad(loss, (1, 2, 3))(form, x, kernel, bias) for form in (affine, plain)))
    assert_close(*(jax.hessian(loss, 3)(form, x, kernel, bias) for form in (affine, plain)))


@pytest.mark.parametrize("shape", [(), (3,), (2, 3)])
def test_spread_stacks_and_its_gradient_sums(shape: tuple[int, ...]) -> None:
    leaf, weights = arrays((shape, (4, *shape)))
    assert_close(spread(leaf, 4), jnp.stack([leaf] * 4))
    assert_close(jax.grad(lambda leaf: jnp.sum(spread(leaf, 4) ** 2 * weights))(leaf), 2 * leaf * weights.sum(0))


def test_the_choice_of_a_gradients_form_follows_from_the_shape() -> None:
    forms = {
        (1024, 8, 2): products._dot_of_kernel_first,
        (1023, 8, 2): products._dot_of_transposed_kernel,
        (1024, 8, 3): products._dot_of_transposed_kernel,
        (1024, 2, 8): products._dot,
        (64, 512, 64): products._dot_of_transposed_inputs,
        (65, 512, 64): products._dot_of_transposed_kernel,
        (64, 256, 64): products._dot_of_transposed_kernel,
    }
    for (rows, inputs, outputs), form in forms.items():
        assert products._form_of_kernel(jnp.ones((rows, inputs)), jnp.ones((inputs, outputs))) is form


@pytest.mark.parametrize("shapes", [((6, 5), (5, 3)), ((2, 6, 3), (3, 5)), ((2, 4, 5), (2, 5, 6)), ((1024, 8), (8, 2))])
def test_the_form_for_rules_is_the_same_product(shapes: tuple[tuple[int, ...], ...]) -> None:
    with jax.enable_x64(True):
        x, kernel = arrays(shapes, jnp.float64)
        assert_close(of_kernel(x, kernel), x @ kernel, 1e-12)
        weights = jnp.cos(x @ kernel)
        gradients = [
            jax.grad(lambda k, product=product: jnp.sum(weights * product(x, k)))(kernel)
            for product in (of_kernel, jnp.matmul)
        ]
        assert_close(*gradients, 1e-12)


@pytest.mark.parametrize("shape", [(), (3,), (0, 2), (4, 3, 2)])
def test_what_is_computed_once_is_the_same_in_every_derivative(shape: tuple[int, ...]) -> None:
    def derivatives(same: Callable[[Array], Array], x: Array, direction: Array) -> dict[str, Any]:
        def loss(x: Array) -> Array:
            return jnp.sum(jnp.sin(same(x) ** 2))

        gradient = jax.grad(loss)
        return {
            "value": same(x),
            "gradient": gradient(x),
            "forward": jax.jvp(loss, (x,), (direction,))[1],
            "forward over reverse": jax.jvp(gradient, (x,), (direction,))[1],
            "reverse over reverse": jax.grad(lambda x: jnp.sum(gradient(x) ** 2))(x),
            "rematerialized": jax.grad(jax.checkpoint(loss))(x),
            "vmap": jax.vmap(gradient)(jnp.stack([x, direction])),
        }

    with jax.enable_x64(True):
        at = arrays((shape, shape), jnp.float64)
        found, expected = (jax.jit(derivatives, static_argnums=0)(same, *at) for same in (computed_once, lambda x: x))
    assert_close(found, expected, 1e-12)


@CPU_ONLY
def test_a_chain_is_compiled_once_for_all_its_readers_and_so_is_its_gradient() -> None:
    def windows(x: Array) -> Array:  # each of the slices reads the chain
        padded = jnp.pad(x, ((0, 0), (1, 1), (0, 0)))
        return jnp.concatenate([padded[:, start : start + 8] for start in range(3)], axis=-1)

    def floors(same: Callable[[Array], Array]) -> tuple[int, int]:
        """How often the chain is computed, and its gradient: in the sums of three weights."""
        x, weights = jnp.ones((4, 8, 5)), jnp.ones((15, 6))
        value = jax.jit(lambda x: windows(same(jnp.floor(x))) @ weights)

        def sums(x: Array, ct: Array) -> tuple[Array, ...]:
            (gradient,) = jax.vjp(same, x)[1](jnp.floor(ct))
            return gradient.sum(0), jnp.sum(gradient * x, 0), gradient * x - 1

        return tuple(
            compiled.compile().as_text().count(" floor(") for compiled in (value.lower(x), jax.jit(sums).lower(x, x))
        )

    assert floors(computed_once) == (1, 1)
    assert min(floors(lambda x: x)) > 1


def on_cpu(jaxpr: Any) -> Iterator[core.JaxprEqn]:
    """The equations of a traced function and of what it calls; of a choice by platform, those of CPU."""
    for equation in getattr(jaxpr, "jaxpr", jaxpr).eqns:
        yield equation
        platforms = equation.params.get("branches_platforms")
        chosen = equation.params["branches"][0] if platforms is not None else equation.params
        for part in jax.tree.leaves(chosen, is_leaf=lambda leaf: hasattr(leaf, "eqns") or hasattr(leaf, "jaxpr")):
            if hasattr(part, "eqns") or hasattr(part, "jaxpr"):
                yield from on_cpu(part)


@CPU_ONLY
def test_a_dense_layer_has_no_product_of_three_axes_in_either_direction() -> None:
    layer, x = layers.dense(3), jnp.ones((2, 6, 5))
    params, state = layer.init(jax.random.key(0), (6, 5))

    def loss(params: Any, x: Array) -> Array:
        return jnp.sum(layer.apply(params, state, x)[0] ** 2)

    products = [
        equation
        for equation in on_cpu(jax.make_jaxpr(jax.grad(loss, (0, 1)))(params, x))
        if equation.primitive.name == "dot_general"
    ]
    assert len(products) == 3
    assert {atom.aval.ndim for equation in products for atom in (*equation.invars, *equation.outvars)} == {2}


@CPU_ONLY
def test_tiny_products_in_a_batch_take_the_layout_of_xla() -> None:
    for rows, inputs, outputs in ((3, 9, 9), (9, 3, 9), (9, 9, 1)):
        arguments = arrays(((2, rows, inputs), (2, inputs, outputs)))
        traced = jax.make_jaxpr(jax.grad(lambda x, kernel: jnp.sum(matmul(x, kernel) ** 2), (0, 1)))(*arguments)
        assert "optimization_barrier" not in {each.primitive.name for each in on_cpu(traced)}


@pytest.mark.long
def test_attention_over_three_positions_compiles_at_the_default_level_of_optimization() -> None:
    code = (
        "import jax; from dlkit import layers; f = layers.dot_product_attention; ones = jax.numpy.ones;"
        "both = lambda *x: (f(*x), jax.grad(lambda *x: f(*x).sum(), (0, 1, 2))(*x));"
        "print(jax.jit(both)(ones((8, 3, 4)), ones((8, 3, 4)), ones((8, 3, 2)))[0].sum())"
    )
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "48.0", done.stderr


@CPU_ONLY
@pytest.mark.parametrize("batch", [(), (2,)])
def test_the_kernels_gradient_transposes_the_smaller_operand_apart(batch: tuple[int, ...]) -> None:
    # x [6, 5] and g [6, 4]: g is smaller, and so it and the result are transposed behind barriers
    x, kernel = arrays(((*batch, 6, 5), (*batch, 5, 4)))
    traced = jax.make_jaxpr(jax.grad(lambda kernel: jnp.sum(matmul(x, kernel) ** 2)))(kernel)
    barriers = [each.invars[0].aval.shape for each in on_cpu(traced) if each.primitive.name == "optimization_barrier"]
    assert barriers == [(*batch, 4, 6), (*batch, 4, 5)]
