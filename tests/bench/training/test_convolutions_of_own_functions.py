"""Convolutions of own functions: the same numbers and derivatives by other forms, wherever they stand."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen
from jax import lax
from jax.extend import core

from dlkit import bench, layers, losses
from dlkit.bench import problems
from dlkit.bench.training.fast_products import fast_products, with_layout, with_products
from dlkit.bench.training.program import compile_problem, compile_program
from dlkit.bench.training.recipe import Recipe
from dlkit.typing import Array

RNG = np.random.default_rng(0)
CPU_ONLY = pytest.mark.skipif(jax.default_backend() != "cpu", reason="elsewhere nothing is rewritten")
FAST = {3: ("NWC", "WIO", "NWC"), 4: ("NHWC", "HWIO", "NHWC"), 5: ("NDHWC", "DHWIO", "NDHWC")}


class Case(NamedTuple):
    """A convolution: shapes of inputs and kernel, and its settings."""

    x: tuple[int, ...]
    kernel: tuple[int, ...]
    numbers: tuple[str, str, str]
    options: dict[str, Any]
    product: bool = True  # whether the layers have a form for it


NHWC, NCHW = FAST[4], ("NCHW", "OIHW", "NCHW")
CASES = {
    "flax": Case((2, 5, 6, 3), (3, 3, 3, 4), NHWC, {"padding": "SAME"}),
    "channels first": Case((2, 3, 6, 5), (4, 3, 3, 2), NCHW, {"padding": [(1, 0), (2, 1)], "window_strides": (2, 1)}),
    "mixed": Case((3, 6, 2, 5), (3, 3, 2, 4), ("CHNW", "IHWO", "HCNW"), {"padding": "VALID", "rhs_dilation": (1, 2)}),
    "groups": Case((2, 4, 5, 5), (6, 2, 2, 2), NCHW, {"padding": "SAME", "feature_group_count": 2}),
    "depthwise": Case((2, 5, 4), (3, 1, 8), FAST[3], {"padding": "SAME", "feature_group_count": 4}),
    "transposed": Case((2, 3, 4, 3), (3, 3, 3, 2), NHWC, {"padding": [(2, 1), (1, 1)], "lhs_dilation": (2, 2)}),
    "three axes": Case((1, 2, 3, 3, 4), (3, 2, 2, 2, 2), ("NCDHW", "OIDHW", "NCDHW"), {"padding": "SAME"}),
    "cut": Case((2, 5, 6, 3), (3, 3, 3, 4), NHWC, {"padding": [(-1, 0), (0, 1)]}, product=False),
    "batch groups": Case((4, 5, 6, 3), (3, 3, 3, 4), NHWC, {"padding": "SAME", "batch_group_count": 2}, product=False),
}
every_case = pytest.mark.parametrize("case", CASES)


def convolution(case: Case) -> Callable[[Array, Array], Array]:
    options = {"window_strides": (1,) * (len(case.x) - 2), **case.options}
    return lambda x, kernel: lax.conv_general_dilated(x, kernel, dimension_numbers=case.numbers, **options)


def arrays(case: Case) -> tuple[Array, Array]:
    return tuple(jnp.asarray(RNG.normal(size=shape), jnp.float32) for shape in (case.x, case.kernel))  # type: ignore


def by_xla(jaxpr: Any) -> Iterator[core.JaxprEqn]:
    """The convolutions of a traced function that no choice by platform made."""
    for equation in getattr(jaxpr, "jaxpr", jaxpr).eqns:
        if equation.primitive.name == "conv_general_dilated":
            yield equation
        if equation.params.get("branches_platforms") is None:
            for part in jax.tree.leaves(equation.params, is_leaf=lambda leaf: hasattr(leaf, "eqns")):
                if hasattr(part, "eqns"):
                    yield from by_xla(part)


def is_fast(equation: core.JaxprEqn) -> bool:
    shapes = [atom.aval.shape for atom in equation.invars]
    return equation.params["dimension_numbers"] == lax.conv_dimension_numbers(*shapes, FAST[len(shapes[0])])


def assert_close(found: Any, expected: Any) -> None:
    """Up to 1e-5 of the largest number: sums in another order."""
    largest = max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(expected))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-5 * largest), found, expected)


@pytest.mark.long
@every_case
def test_values_and_derivatives_stay(case: str) -> None:
    function, pair = convolution(CASES[case]), arrays(CASES[case])

    def gradients(function: Callable[..., Array]) -> Callable[..., Any]:
        return jax.grad(lambda *pair: jnp.sin(function(*pair)).sum(), argnums=(0, 1))

    def curvature(function: Callable[..., Array]) -> Any:
        return jax.jvp(gradients(function), pair, pair)

    functions = (function, with_products(function))
    own, products, laid_out = jax.jit(
        lambda: (*map(curvature, functions), with_layout(lambda: curvature(function))())
    )()
    assert_close(products, own)
    assert_close(laid_out, own)
    assert (not list(by_xla(jax.make_jaxpr(gradients(with_products(function)))(*pair)))) == CASES[case].product


@every_case
def test_nothing_but_groups_is_left_in_a_slow_layout(case: str) -> None:
    function, pair = convolution(CASES[case]), arrays(CASES[case])
    step = jax.grad(lambda *pair: function(*pair).sum(), argnums=(0, 1))
    left = list(by_xla(jax.make_jaxpr(with_layout(step))(*pair)))
    grouped = ("feature_group_count", "batch_group_count")
    assert all(is_fast(each) or any(each.params[name] > 1 for name in grouped) for each in left)
    assert left


CONVOLUTION = convolution(CASES["flax"])


@jax.custom_vjp
def doubled(x: Array, kernel: Array) -> Array:
    return CONVOLUTION(x, kernel)


doubled.defvjp(lambda x, kernel: (doubled(x, kernel), (x, kernel)), lambda saved, dy: (saved[0], 2 * saved[1]))


@jax.custom_jvp
def flat(x: Array, kernel: Array) -> Array:
    return CONVOLUTION(x, kernel)


flat.defjvp(lambda primals, tangents: (flat(*primals), jnp.full((2, 5, 6, 4), tangents[1].sum())))


SCALES = jnp.arange(3.0)
NESTED: dict[str, Callable[[Array, Array], Array]] = {
    "jit": jax.jit(CONVOLUTION),
    "remat": jax.checkpoint(CONVOLUTION),
    "cond": lambda x, kernel: lax.cond(
        kernel.sum() > 0, CONVOLUTION, lambda x, kernel: -CONVOLUTION(x, kernel), x, kernel
    ),
    "scan": lambda x, kernel: lax.scan(
        lambda c, s: (c + s * CONVOLUTION(x, kernel), None), jnp.zeros((2, 5, 6, 4)), SCALES
    )[0],
    "custom vjp": doubled,
    "custom jvp": flat,
    "vmap": lambda x, kernel: jax.vmap(lambda each: CONVOLUTION(each[None], kernel)[0])(x),
}


@pytest.mark.long
@pytest.mark.parametrize("where", NESTED)
def test_bodies_are_rewritten_and_own_derivatives_kept(where: str) -> None:
    function, pair = NESTED[where], arrays(CASES["flax"])

    def value_and_gradients(function: Callable[..., Array]) -> Any:
        return jax.value_and_grad(lambda *pair: function(*pair).sum(), argnums=(0, 1))(*pair)

    own, found = jax.jit(lambda: (value_and_gradients(function), value_and_gradients(with_products(function))))()
    assert_close(found, own)
    assert not list(by_xla(jax.make_jaxpr(with_products(function))(*pair)))
    assert list(by_xla(jax.make_jaxpr(function)(*pair)))


def test_while_is_rewritten() -> None:
    def function(x: Array, kernel: Array) -> Array:
        return lax.fori_loop(0, x.shape[0] + kernel.astype(int)[0, 0, 0, 0], lambda _, y: CONVOLUTION(y, kernel), x)

    x, kernel = jnp.ones((2, 5, 6, 3)), jnp.full((3, 3, 3, 3), 0.5)
    assert_close(with_products(function)(x, kernel), function(x, kernel))
    assert not list(by_xla(jax.make_jaxpr(with_products(function))(x, kernel)))


def own_problem(apply: Callable[[Any, Array], Array], init: Callable[[jax.Array], Any]) -> bench.Problem:
    inputs = RNG.normal(size=(40, 5, 5, 2)).astype(np.float32)
    data = bench.split("mine", {"inputs": inputs, "targets": (inputs.sum(axis=(1, 2, 3)) > 0).astype(np.int32)})

    def loss(params: Any, batch: Any) -> Array:
        return losses.cross_entropy(apply(params, batch["inputs"]), batch["targets"]).mean()

    return bench.Problem(
        name="mine",
        init=lambda key: (init(key), None),
        loss=lambda params, state, batch, key: (loss(params, batch), state),
        evaluate=lambda params, state, batch: {"loss": loss(params, batch)},
        dataset=data,
        metrics={"loss": bench.Metric("lower")},
        batch_size=8,
    )


def penalized_layer() -> bench.Problem:
    """A loss that contains the gradient of a convolution of dlkit's own."""
    layer = layers.conv(2, (3, 3))

    def apply(params: Any, x: Array) -> Array:
        slope = jax.grad(lambda x: jnp.tanh(layer.apply(params, {}, x)[0]).sum())(x)
        return layer.apply(params, {}, x)[0].mean(axis=(1, 2)) + jnp.square(slope).mean()

    return own_problem(apply, lambda key: layer.init(key, (5, 5, 2))[0])


@pytest.mark.parametrize(
    "problem",
    [
        lambda: problems.get("digits-mlp"),
        lambda: problems.get("digits-cnn"),
        lambda: problems.get("quadratic"),
        penalized_layer,
    ],
    ids=["no convolution", "layers.conv", "no data", "gradient of layers.conv"],
)
def test_problems_without_own_convolutions_keep_their_program(problem: Callable[[], bench.Problem]) -> None:
    made = problem()
    kept, rewritten = fast_products(made)
    assert kept is made
    assert rewritten(made.loss) is made.loss


class Network(linen.Module):
    """Convolutions of every kind."""

    @linen.compact
    def __call__(self, x: Array) -> Array:
        x = linen.relu(linen.Conv(4, (3, 3))(x))
        x = linen.relu(linen.Conv(4, (3, 3), strides=2, feature_group_count=2)(x))
        return linen.ConvTranspose(2, (2, 2), strides=(2, 2))(x).mean(axis=(1, 2))


@pytest.mark.long
@CPU_ONLY
@pytest.mark.parametrize("few", [True, False], ids=["few patches", "many patches"])
def test_no_slow_convolution_is_left_in_a_program(few: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dlkit.bench.training.fast_products.FEW_PATCH_VALUES", 2**20 if few else 0)
    module = Network()
    problem = own_problem(
        lambda params, x: module.apply({"params": params}, x),
        lambda key: module.init(key, jnp.zeros((1, 5, 5, 2)))["params"],
    )
    optimizer = bench.Optimizer("sgd", optax.sgd, {"learning_rate": 0.1})
    recipe = Recipe(optimizer=optimizer, steps=2, evaluations=1)
    program = compile_program(compile_problem(problem), recipe)
    data, rate = program.shared.arrays(0), {"learning_rate": jax.ShapeDtypeStruct((), jnp.float32)}
    start = jax.eval_shape(program.shared.start, jax.ShapeDtypeStruct((3,), jnp.uint32))
    indices = jax.ShapeDtypeStruct((1, 2, 8), jnp.int32)
    carry = jax.eval_shape(program.begin, start, rate)
    arguments = (carry, indices, rate, start, data["train"])
    evaluated = program.shared.metrics.trace(start.params, start.state, data["test"])
    left = [*by_xla(program.segment.trace(*arguments).jaxpr), *by_xla(evaluated.jaxpr)]
    assert (not left) == few
    assert all(map(is_fast, left))
