"""Every registered optimizer and wrapper through the same properties, and that none of optax's is forgotten."""

from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
import pytest

from dlkit.bench import optimizers
from dlkit.bench.errors import UserError
from dlkit.bench.optimizers import FAMILIES, OPTIMIZERS, WRAPPERS, Optimizer
from dlkit.bench.plan.space import Range
from dlkit.bench.training.curve import Trajectory
from dlkit.bench.training.program import Program
from tests.bench.optimizers import tasks

# Each wrapper at least once, and some that lean on what is inside.
WRAPPED = [
    "sgd+lookahead",
    "sgd+polyak",
    "sgd+adaptive-clip",
    "sgd+decay",
    "adam+cautious",
    "adam+clip+ema",
    "momentum+sam+accumulate",
    "schedule_free_sgd+clip",
    "sgd+extragradient",
]
NAMES = [*OPTIMIZERS, *WRAPPED]

every_optimizer = pytest.mark.parametrize("name", NAMES)


@cache
def trained(name: str) -> tuple[Program, list[Trajectory]]:
    """One program, and what it makes of each point."""
    optimizer = optimizers.get(name)
    points = tasks.points(optimizer)
    program = tasks.program(optimizer, points[0].static)
    same = [point for point in points if point.static == points[0].static]
    return program, [tasks.train(program, point.hyperparameters) for point in same]


@pytest.mark.long
@every_optimizer
def test_converges_somewhere_in_its_space_with_one_trace(name: str) -> None:
    program, results = trained(name)
    ratios = [result.curves["error"][-1] / result.curves["error"][0] for result in results]
    assert np.nanmin(ratios) < 0.1, ratios
    assert program.segment._cache_size() == program.begin._cache_size() == 1


# Where a learning rate written into the program changes the last bits, since XLA reorders products with constants; by
# this part of the curve, 2.4e-6 at most where it was measured.
FOLDED = {"fromage": 1e-5, "adafactor": 1e-5, "soap": 1e-5, "lars": 1e-5}
CALM = {"lars": 1}  # the point to look at, where steps at the first are so large that last bits grow
QUICK = ("sgd", "momentum", "adam", "adamw")  # the others take half a minute


def with_a_rate() -> list[Any]:
    names = [name for name in NAMES if "learning_rate" in optimizers.get(name).space]
    return [pytest.param(name, marks=[] if name in QUICK else [pytest.mark.slow]) for name in names]


@pytest.mark.long
@pytest.mark.parametrize("name", with_a_rate())
def test_a_constant_and_a_traced_learning_rate_give_the_same_bits(name: str) -> None:
    optimizer = optimizers.get(name)
    place = CALM.get(name, 0)
    traced, point = trained(name)[1][place], tasks.points(optimizer)[place]
    values = dict(point.hyperparameters)
    constant = tasks.constant_rate(optimizer, values.pop("learning_rate"))
    result = tasks.train(tasks.program(constant, point.static), values)
    ours, theirs = traced.curves["error"], result.curves["error"]
    if name in FOLDED:
        np.testing.assert_allclose(theirs, ours, rtol=FOLDED[name])
        assert theirs.tobytes() != ours.tobytes(), "no exception any more"
    else:
        assert theirs.tobytes() == ours.tobytes(), f"differ by {np.max(np.abs(theirs / ours - 1)):.1e}"


def strong(leaf: Any) -> Any:
    return leaf if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf.astype(leaf.dtype)


@pytest.mark.long
@every_optimizer
def test_can_be_traced_in_a_loop_under_vmap_and_keeps_bfloat16(name: str) -> None:
    # A loop refuses a state whose types or shapes change; training above has shown it of float32. The whole space is
    # traced.
    dtype = jnp.bfloat16
    optimizer = optimizers.get(name)
    point = tasks.points(optimizer)[0]
    own = {"key": jax.random.key(1)} if optimizer.random else {}

    def loss(params: Any, obj_fn: Any = None, grad_fn: Any = None) -> Any:
        return tasks.error(params, {"inputs": jnp.ones((4, 6)), "targets": jnp.ones((4, 2))}).astype(dtype)

    def final(values: Any) -> Any:
        transformation = optax.with_extra_args_support(optimizer.build(**values, **point.static, **own))
        params = tasks.init(jax.random.key(0), dtype)
        state = jax.tree.map(strong, transformation.init(params))

        def step(carry: Any, _: Any) -> Any:
            params, state = carry
            value, gradient = jax.value_and_grad(loss)(params)
            more = {"value": value, "grad": gradient, "value_fn": loss, "obj_fn": loss, "grad_fn": jax.grad(loss)}
            updates, state = transformation.update(gradient, state, params, **more)
            return (optax.apply_updates(params, updates), state), None

        (params, state), _ = jax.lax.scan(step, (params, state), length=3)
        return optimizer.eval_params(state, params) if optimizer.eval_params else params

    lanes = {key: jnp.asarray(value) for key, value in point.hyperparameters.items()}
    shapes = jax.eval_shape(final, lanes)
    expected = jax.eval_shape(lambda: tasks.init(jax.random.key(0), dtype))
    assert shapes == expected
    if lanes:
        both = {key: jnp.stack([value, value]) for key, value in lanes.items()}
        mapped = jax.eval_shape(jax.vmap(final), both)
        assert mapped["in"].shape == (2, 6, 8) and mapped["in"].dtype == dtype


# --- the registry as data --------------------------------------------------------------------------------------------


@every_optimizer
def test_is_described(name: str) -> None:
    optimizer = optimizers.get(name)
    assert optimizer.name == name and optimizer.reference
    rates = [optimizer.space[key] for key in ("learning_rate", "weight_decay") if key in optimizer.space]
    # 1 where the method sets its own rate and a schedule alone may shape it.
    assert all(rate == 1.0 or (isinstance(rate, Range) and rate.scale == "log") for rate in rates)
    decays = [optimizer.space[key] for key in ("b1", "b2", "b3", "momentum", "beta", "decay") if key in optimizer.space]
    assert all(isinstance(decay, Range) and decay.scale == "one_minus_log" for decay in decays)


def test_families_share_no_name_and_no_wrapper_is_left_out() -> None:
    assert sum(map(len, FAMILIES.values())) == len(OPTIMIZERS)
    assert {wrapper for name in WRAPPED for wrapper in name.split("+")[1:]} == WRAPPERS.keys()


@pytest.mark.parametrize("optimizer", FAMILIES["tuning-free"], ids=lambda optimizer: optimizer.name)
def test_tuning_free_methods_keep_few_knobs(optimizer: Optimizer) -> None:
    knobs = [span for span in optimizer.space.values() if isinstance(span, Range)]
    assert len(knobs) <= (3 if optimizer.name.startswith("schedule_free") else 2)


# What optax exports that is no optimizer to compare, and why.
NOT_COMPARED = {
    "optimistic_adam": "deprecated: optimistic_adam_v2 replaces it",
    "dpsgd": "needs a gradient per example, which the trainer does not compute",
    "differentially_private_aggregate": "the transformation inside dpsgd",
    "normalize": "a transformation of gradients; inside SAM",
    "sam": "a wrapper: +sam",
    "reduce_on_plateau": "a schedule, not a method of its own",
    "schedule_free": "a wrapper, registered around SGD and AdamW as schedule_free_sgd and schedule_free_adamw",
    "schedule_free_eval_params": "the parameters that schedule-free methods are evaluated at",
    "split_real_and_imaginary": "a wrapper for complex parameters",
    "hutchinson_estimator_diag_hessian": "the estimate inside sophia",
}


def exported_by_optax() -> set[str]:
    """Functions of optax that are named after a method: its aliases, and what contrib has but the parts of methods."""
    parts = [value for value in (getattr(optax, name) for name in dir(optax)) if callable(value)]
    aliases = {
        name
        for name in dir(optax)
        if getattr(getattr(optax, name), "func", getattr(optax, name)) in parts
        and getattr(getattr(getattr(optax, name), "func", getattr(optax, name)), "__module__", "")
        == optax.adam.__module__
        and name.islower()
    }
    contrib = {name for name in dir(optax.contrib) if name.islower() and not name.startswith("_")}
    functions = {name for name in contrib if callable(getattr(optax.contrib, name))}
    return aliases | {name for name in functions if not name.startswith("scale_by_")}


def test_every_optimizer_of_optax_is_registered_or_excused() -> None:
    exported = exported_by_optax()
    assert {"adam", "nadam", "lbfgs", "muon", "prodigy", "sam"} <= exported and len(exported) > 55
    assert exported - OPTIMIZERS.keys() - NOT_COMPARED.keys() == set()
    assert NOT_COMPARED.keys() - exported == set()
    assert not NOT_COMPARED.keys() & OPTIMIZERS.keys()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("adm", "no optimizer 'adm'; did you mean 'adam'"),
        ("adam+clp", "optimizer 'adam\\+clp': no wrapper 'clp'; did you mean 'clip'"),
        ("adam+clip+clip", "optimizer 'adam\\+clip' has \\['max_norm'\\] already"),
        ("adamw+decay", "optimizer 'adamw' has \\['weight_decay'\\] already"),
        ("schedule_free_sgd+ema", "evaluated at parameters of its own"),
        ("adam+lookahead+polyak", "evaluated at parameters of its own"),
    ],
)
def test_names_that_mean_nothing(name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        optimizers.get(name)
