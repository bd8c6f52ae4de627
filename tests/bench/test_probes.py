"""Probes against closed forms, dense eigensolvers and hand-built networks; their costs against counted evaluations."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from dlkit import models
from dlkit.bench.probes import PROBES, Probe, View, curves_of, get

KEY = jax.random.key(0)
every_probe = pytest.mark.parametrize("probe", PROBES.values(), ids=lambda probe: probe.name)


def no_loss(params: Any, batch: Any) -> Any:
    return jnp.zeros(())


def view(**changes: Any) -> View:
    """A view of nothing: no data, no activations, one parameter."""
    one = {"w": jnp.ones(1)}
    nothing = View(one, None, {"w": jnp.zeros(1)}, {}, {}, no_loss, None, jnp.float32(jnp.nan), KEY)
    return nothing._replace(**changes)


def values(name: str, seen: View) -> dict[str, float]:
    return {curve: float(value) for curve, value in curves_of(get(name), seen).items()}


def network(activation: Any = "tanh") -> View:
    """A small network on 24 examples, after a step of gradient descent at rate 0.5 on the first 8 of them."""
    model = models.mlp((6, 5, 3), activation=activation)
    params, state = model.init(KEY, (4,))
    rng = np.random.default_rng(1)
    train = {
        "inputs": jnp.asarray(rng.normal(size=(24, 4)), jnp.float32),
        "targets": jnp.asarray(rng.normal(size=(24, 3)), jnp.float32),
    }

    def apply(params: Any, batch: Any) -> Any:
        return model.apply(params, state, batch["inputs"])[0]

    def loss(params: Any, batch: Any) -> Any:
        return jnp.mean((apply(params, batch) - batch["targets"]) ** 2)

    batch = {name: array[:8] for name, array in train.items()}
    update = jax.tree.map(lambda slope: -0.5 * slope, jax.grad(loss)(params, batch))
    after = jax.tree.map(jnp.add, params, update)
    return View(after, state, update, batch, train, loss, apply, jnp.float32(0.5), KEY)


def dense_hessian(loss: Callable[[Any], Any], params: Any) -> np.ndarray[Any, Any]:
    flat, unravel = ravel_pytree(params)
    return np.asarray(jax.hessian(lambda vector: loss(unravel(vector)))(flat), np.float64)


# ---- every probe ----


@every_probe
def test_jit_equals_eager_and_values_are_float32_scalars(probe: Probe) -> None:
    seen = network("relu")
    eager = curves_of(probe, seen)

    @jax.jit
    def compiled(params: Any, update: Any, key: Any) -> Any:
        return curves_of(probe, seen._replace(params=params, update=update, key=key))

    jitted = compiled(seen.params, seen.update, seen.key)
    assert tuple(eager) == probe.curves
    for name, value in eager.items():
        assert value.shape == () and value.dtype == jitted[name].dtype == jnp.float32 and np.isfinite(value)
        np.testing.assert_allclose(jitted[name], value, rtol=1e-4, atol=1e-6)


@every_probe
def test_vmapped_lanes_see_their_own_parameters_and_nan_stays_in_its_lane(probe: Probe) -> None:
    seen = network("relu")
    lanes = jax.tree.map(lambda leaf: jnp.stack([leaf, 0.5 * leaf, jnp.full_like(leaf, jnp.nan)]), seen.params)

    @jax.jit
    @jax.vmap
    def compiled(params: Any) -> Any:
        return curves_of(probe, seen._replace(params=params))

    together = compiled(lanes)
    for lane in range(2):
        alone = curves_of(probe, seen._replace(params=jax.tree.map(lambda leaf, lane=lane: leaf[lane], lanes)))
        for name, value in alone.items():
            np.testing.assert_allclose(together[name][lane], value, rtol=1e-4, atol=1e-6)
    assert all(np.isnan(together[name][2]) for name in probe.curves if name != "learning_rate")


@every_probe
def test_without_data_and_activations_curves_are_numbers_or_nan(probe: Probe) -> None:
    seen = view(loss=lambda params, batch: jnp.sum(params["w"] ** 2), update={"w": -0.2 * 2 * jnp.ones(1)})
    got = values(probe.name, seen)
    undefined = {"dead_units", "activation_statistics", "gradient_noise_scale"}
    assert all(math.isnan(value) for name, value in got.items() if probe.name in undefined or name == "learning_rate")
    assert all(math.isfinite(value) for name, value in got.items() if probe.name not in undefined | {name} - {name})


@every_probe
def test_costs_are_what_is_evaluated(probe: Probe) -> None:
    """The loss and the model are made to count examples at run time: forward, backward, and products apart."""
    counts = {"forward": 0.0, "backward": 0.0, "product": 0.0}
    seen = network("relu")

    def add(kind: str, examples: int) -> None:
        def count() -> None:
            counts[kind] += examples

        jax.debug.callback(count)

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, which counts the examples at every forward pass, gradient and product of a Hessian."""

        @jax.custom_jvp
        def backward(x: Any, examples: Any) -> Any:
            return x

        def run(params: Any, batch: Any) -> Any:
            examples = len(batch["inputs"])
            add("forward", examples)
            return function(_tagged(params, examples, add), batch)

        return run

    curves_of(probe, seen._replace(loss=counted(seen.loss), apply=counted(seen.apply)))
    jax.effects_barrier()
    assert counts
