"""Every primitive through the same properties. A new one is one row in tests/cases; forgetting it fails a test."""

import inspect
import json
import os
import subprocess
import sys
import zlib
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import chex
import jax
import jax.export
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest
from jax.sharding import AbstractMesh, AxisType, NamedSharding, PartitionSpec

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
    "at_once",
    "initial_state",
    "stepwise",
    "generate",
    "from_flax",
    "from_torch",
    "to_flax",
    "to_torch",
    "torch_names",
    "denoising_loss",
    "noise_schedule",
    "sample_diffusion",
    "apply_ragged",
    "concordance_index",
    "masked_mean",
    "get",
    "as_layer",
    "capture",
    "described",
    "evaluate",
    "parameter_count",
    "replaced",
    "summary",
    "train",
    "output_shape",
    "default_kernel_init",
    "mask_tree",
    "default_lowering",
    "weights_only",
    "all_of",
    "by_name",
    "none_of",
    "has_batch_statistics",
    "reestimate_batch_statistics",
}
# Whose first axis devices may not share, in the types.
NOT_SHARED = {
    "losses.cox": "sorts the times of the whole batch",
    "losses.cox-breslow": "sorts the times of the whole batch",
    "losses.linear_cross_entropy": "cuts the batch into chunks",
    "losses.ctc": "makes lengths where none are given, which no device shares",
    "regularizers.orthogonality": "of parameters, not of a batch",
}
NOT_EXPORTED = {
    "losses.linear_cross_entropy": "cuts the batch into chunks, of which the last one may be shorter",
    "regularizers.cutmix": "permutes the batch",
    "regularizers.group_lasso": "of parameters, not of a batch",
    "regularizers.mixup": "permutes the batch",
    "regularizers.proximal_group_lasso": "of parameters, not of a batch",
}
NO_DTYPE = {"layers.alibi": "makes float32 of integers"}
# They take averages over the batch.
NEEDS_EXAMPLES = {"layers.batch_norm-train"}
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
    if case.name in NO_DTYPE:
        pytest.skip(NO_DTYPE[case.name])
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


MESH = AbstractMesh((4,), ("data",), axis_types=(AxisType.Explicit,))


def differentiated(case: Case) -> Callable[..., tuple[jax.Array, object]]:
    """Outputs of `(variables, *inputs)`, and gradients with respect to all that has one."""
    function = case.parametrized()
    floating = tuple(place for place, spec in enumerate(case.inputs, start=1) if not spec.classes)
    learned = (0,) if case.apply is not None else ()

    def both(*arguments: jax.Array) -> tuple[jax.Array, object]:
        gradient = jax.grad(lambda *arguments: function(*arguments).sum(), (*learned, *floating), allow_int=True)
        return function(*arguments), gradient(*arguments) if learned or floating else ()

    return both


@pytest.mark.long
@every_case
def test_devices_may_share_the_batch(case: Case) -> None:
    """In a mesh as `jax.make_mesh` makes it, whose axes are part of the types. Tracing finds what does not fit."""
    if case.name in NOT_SHARED:
        pytest.skip(NOT_SHARED[case.name])
    function = differentiated(case)
    with jax.sharding.use_abstract_mesh(MESH):
        everywhere, shared = NamedSharding(MESH, PartitionSpec()), NamedSharding(MESH, PartitionSpec("data"))
        variables = jax.tree.map(lambda leaf: leaf.update(sharding=everywhere), jax.eval_shape(case.init))
        inputs = [each.update(sharding=shared) for each in case.structures(8)]
        outputs, _ = jax.eval_shape(function, variables, *inputs)
    if case.batched:
        assert outputs.sharding.spec[0] == "data"


@pytest.mark.long
@every_case
def test_one_program_is_exported_for_every_batch(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    if case.name in NOT_EXPORTED:
        pytest.skip(NOT_EXPORTED[case.name])
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # a symbol stands where the types say int
    (batch,) = jax.export.symbolic_shape("batch")
    arguments = (jax.eval_shape(case.init), *case.structures(batch))
    exported = jax.export.export(jax.jit(differentiated(case)), platforms=("cpu", "cuda"))(*arguments)
    if case.batched:
        assert exported.out_avals[0].shape[0] == batch


@every_case
def test_a_batch_may_be_empty(case: Case) -> None:
    arguments = (jax.eval_shape(case.init), *case.structures(0))
    if case.name in NEEDS_EXAMPLES:
        with pytest.raises(ValueError, match="expected inputs with values to average over"):
            jax.eval_shape(differentiated(case), *arguments)
        return
    outputs, _ = jax.eval_shape(differentiated(case), *arguments)
    if case.batched:
        one = jax.eval_shape(case.parametrized(), arguments[0], *case.structures(1))
        assert outputs.shape == (0, *one.shape[1:])


@pytest.mark.slow
def test_four_devices_no_examples_any_batch_and_constants_give_the_same_numbers() -> None:
    """What the tests above trace, run: in a process of its own, which has four devices."""
    environment = {**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=4"}
    command = [sys.executable, "-m", "tests.four_devices"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=1500, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == {}


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
