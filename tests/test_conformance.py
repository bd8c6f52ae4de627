"""Every primitive through the same properties. A new one is one row in tests/cases; forgetting it fails a test."""

import inspect
import zlib
from functools import cache
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlkit import activations, gan_losses, layers, losses, models, regularizers
from tests.cases import activations as activation_cases
from tests.cases import attention as attention_cases
from tests.cases import conv as conv_cases
from tests.cases import layers as layer_cases
from tests.cases import losses as loss_cases
from tests.cases import models as model_cases
from tests.cases import norm as norm_cases
from tests.cases import recurrent as recurrent_cases
from tests.cases import regularizers as regularizer_cases
from tests.cases.base import Case

DTYPES = ("float32", "bfloat16", "float64")
# Relative tolerance between two orders of the same arithmetic.
TOLERANCE = {"float32": 1e-5, "bfloat16": 2e-2, "float64": 1e-12}
# Public names that compute nothing themselves, or one number of all examples.
HELPERS = {
    "apply_ragged",
    "concordance_index",
    "masked_mean",
    "get",
    "as_layer",
    "output_shape",
    "default_kernel_init",
    "default_lowering",
    "weights_only",
    "all_of",
    "by_name",
    "none_of",
    "has_batch_statistics",
    "reestimate_batch_statistics",
}
FAMILIES = (
    activation_cases,
    loss_cases,
    regularizer_cases,
    layer_cases,
    conv_cases,
    norm_cases,
    recurrent_cases,
    attention_cases,
    model_cases,
)
CASES = tuple(case for family in FAMILIES for case in family.CASES)

# By module: the tests of one row run one after the other, in one process, and share what is compiled for it.
every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name, scope="module")
EXAMPLES, LEADING = 6, (2, 3)


def sample(case: Case, batch: tuple[int, ...], dtype: str, *, seed: int = 0, spread: float = 2.0) -> list[jax.Array]:
    rng = np.random.default_rng([zlib.crc32(case.name.encode()), seed])
    return [
        jnp.asarray(rng.integers(0, spec.classes, batch + spec.shape))
        if spec.classes
        else jnp.asarray(rng.normal(0.0, spread, batch + spec.shape), dtype)
        for spec in case.inputs
    ]


def assert_close(case: Case, actual: jax.Array, expected: jax.Array, dtype: str = "float32") -> None:
    tolerance = case.tolerance * TOLERANCE[dtype]
    np.testing.assert_allclose(
        np.asarray(actual, np.float64), np.asarray(expected, np.float64), rtol=tolerance, atol=tolerance
    )


def test_every_public_primitive_has_a_case() -> None:
    covered = {case.name.split("-")[0] for case in CASES}
    public = {
        f"{module.__name__.removeprefix('dlkit.')}.{name}"
        for module in (activations, gan_losses, layers, losses, models, regularizers)
        for name in set(module.__all__) - HELPERS
        if inspect.isfunction(inspect.unwrap(getattr(module, name)))
    }
    assert public == covered


@pytest.mark.long
@pytest.mark.parametrize("dtype", DTYPES)
@every_case
def test_keeps_the_dtype(case: Case, dtype: str) -> None:
    with jax.enable_x64(dtype == "float64"):
        output = jax.eval_shape(case.make(dtype), *sample(case, (2,), dtype))
    assert output.dtype == jnp.dtype(dtype)


class Outputs(NamedTuple):
    """What one function makes of the same examples, in one compiled program: most of a row's time is compilation."""

    batch: jax.Array  # of one batch axis
    leading: jax.Array | None  # of two, reshaped to one
    mapped: jax.Array  # of vmap
    looped: jax.Array  # of one example after the other


@cache
def outputs(case: Case) -> tuple[list[tuple[list[jax.Array], Outputs]], int]:
    """Returns inputs and outputs of two samples, and how often they were traced."""
    function, traces = case.make("float32"), []

    def every_way(*inputs: jax.Array) -> Outputs:
        traces.append(inputs)
        leading = None
        if case.batched:
            value = function(*(x.reshape(LEADING + x.shape[1:]) for x in inputs))
            assert value.shape[:2] == LEADING
            leading = value.reshape(EXAMPLES, *value.shape[2:])
        looped = jax.lax.map(lambda example: function(*example), inputs)
        return Outputs(function(*inputs), leading, jax.vmap(function)(*inputs), looped)

    compiled = jax.jit(every_way)
    samples = [sample(case, (EXAMPLES,), "float32", seed=seed) for seed in (0, 1)]
    return [(inputs, compiled(*inputs)) for inputs in samples], len(traces)


@every_case
def test_leading_axes_are_batch_axes(case: Case) -> None:
    if not case.batched:
        pytest.skip("not a function of independent examples")
    ((_, got), _), _ = outputs(case)
    assert_close(case, got.leading, got.looped)


@pytest.mark.long
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@every_case
def test_values_and_gradients_are_finite(case: Case, dtype: str) -> None:
    function = case.make(dtype)
    magnitudes = [*(each for each in (0.0, 1e-38, 1e-5, 1.0, 88.8, 1e4) if each < case.limit), case.limit]
    grid = np.array([sign * magnitude for magnitude in magnitudes for sign in (1, -1)])
    rng = np.random.default_rng(0)
    inputs = [
        jnp.asarray(rng.integers(0, spec.classes, (len(grid), *spec.shape)))
        if spec.classes
        # Each example mixes magnitudes: a class with a logit of 1e38 beside one with 1e-5.
        else jnp.asarray(np.stack([rng.permutation(grid) for _ in range(int(np.prod(spec.shape)))], -1), dtype).reshape(
            len(grid), *spec.shape
        )
        for spec in case.inputs
    ]
    floating = tuple(position for position, spec in enumerate(case.inputs) if not spec.classes)

    def total(*inputs: jax.Array) -> tuple[jax.Array, jax.Array]:
        value = function(*inputs)
        return value.sum(), value

    def example(*inputs: jax.Array) -> tuple[jax.Array, tuple[jax.Array, ...]]:
        if not floating:  # class indices have no gradient
            return function(*inputs), ()
        gradients, value = jax.grad(total, argnums=floating, has_aux=True)(*inputs)
        return value, gradients

    chex.assert_tree_all_finite(jax.jit(jax.vmap(example))(*inputs))


@pytest.mark.long
@every_case
def test_jit_equals_eager_and_compiles_once(case: Case) -> None:
    function = case.make("float32")
    samples, traces = outputs(case)
    for inputs, got in samples:
        assert_close(case, got.batch, function(*inputs))
    assert traces == 1


@every_case
def test_vmap_equals_a_loop(case: Case) -> None:
    for _, got in outputs(case)[0]:
        assert_close(case, got.mapped, got.looped)


@every_case
def test_the_same_arguments_give_the_same_bits(case: Case) -> None:
    inputs = sample(case, (EXAMPLES,), "float32")
    chex.assert_trees_all_equal(case.make("float32")(*inputs), case.make("float32")(*inputs))
