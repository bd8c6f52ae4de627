"""Every row of the conformance table under what JAX does by default, in a process that has four devices.

Prints what is wrong as JSON, `{"row: property": message}`. Names of rows may follow: `python -m tests.four_devices
layers.conv losses.` runs those that begin so.
"""

import json
import sys
from collections.abc import Iterator
from typing import Any

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from tests.cases.base import Case
from tests.test_conformance import CASES, NEEDS_EXAMPLES, NOT_EXPORTED, NOT_SHARED, differentiated, sample

BATCH, TOLERANCE = 8, 1e-4


def main() -> None:
    assert jax.device_count() == 4
    wrong = {}
    for case in CASES:
        if not sys.argv[1:] or case.name.startswith(tuple(sys.argv[1:])):
            for name, check in CHECKS.items():
                try:
                    check(case)
                except Exception as error:
                    wrong[f"{case.name}: {name}"] = f"{type(error).__name__}: {error}"[:500]
    print(json.dumps(wrong))


def same_with_shared_batches(case: Case) -> None:
    """Inputs shared by four devices, parameters on each: outputs and gradients."""
    if case.name in NOT_SHARED:
        return
    function, arguments = differentiated(case), initial(case, BATCH)
    expected = jax.jit(function)(*arguments)
    mesh = jax.make_mesh((4,), ("data",))
    with jax.set_mesh(mesh):
        shared = [jax.device_put(x, NamedSharding(mesh, PartitionSpec("data"))) for x in arguments[1:]]
        variables = jax.device_put(arguments[0], NamedSharding(mesh, PartitionSpec()))
        found = jax.jit(function)(variables, *shared)
    compare(found, expected)


def same_when_exported(case: Case) -> None:
    """One exported program, called with three examples."""
    if case.name in NOT_EXPORTED:
        return
    (batch,) = jax.export.symbolic_shape("batch")
    arguments = initial(case, 3)
    function = jax.jit(differentiated(case))
    exported = jax.export.export(function)(jax.eval_shape(case.init), *case.structures(batch))
    compare(exported.call(*arguments), function(*arguments))


def nothing_of_no_examples(case: Case) -> None:
    """Of a sum over no examples, the gradient is 0."""
    if case.name in NEEDS_EXAMPLES:
        return
    arguments = initial(case, 0)
    outputs, gradients = jax.jit(differentiated(case))(*arguments)
    if case.batched:
        assert outputs.size == 0
        for leaf in jax.tree.leaves(gradients):
            if jnp.issubdtype(leaf.dtype, jnp.floating):
                np.testing.assert_array_equal(leaf, np.zeros(leaf.shape))


def same_with_constants(case: Case) -> None:
    """Values that the compiler knows, small ones among them, and folds."""
    arguments = initial(case, BATCH)
    scales = 10.0 ** np.random.default_rng(1).integers(-21, 2, BATCH)
    inputs = [
        x * jnp.asarray(scales, x.dtype).reshape(-1, *(1,) * (x.ndim - 1))
        if jnp.issubdtype(x.dtype, jnp.floating)
        else x
        for x in arguments[1:]
    ]
    function = case.parametrized()
    expected = jax.jit(function)(arguments[0], *inputs)
    compare(jax.jit(lambda: function(arguments[0], *inputs))(), expected)
    if len(inputs) > 1:
        compare(jax.jit(lambda first: function(arguments[0], first, *inputs[1:]))(inputs[0]), expected)


CHECKS = {
    "shared batch": same_with_shared_batches,
    "exported": same_when_exported,
    "no examples": nothing_of_no_examples,
    "constants": same_with_constants,
}


def initial(case: Case, batch: int) -> tuple[Any, ...]:
    return (jax.jit(case.init)(), *sample(case, (batch,), "float32", spread=1.0))


def floating(tree: Any) -> Iterator[Any]:
    return (leaf for leaf in jax.tree.leaves(tree) if jnp.issubdtype(leaf.dtype, jnp.floating))


def compare(found: Any, expected: Any) -> None:
    for each, other in zip(floating(found), floating(expected), strict=True):
        np.testing.assert_allclose(np.asarray(each), np.asarray(other), rtol=TOLERANCE, atol=TOLERANCE)


if __name__ == "__main__":
    main()
