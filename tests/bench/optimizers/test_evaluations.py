"""What trials evaluate is counted as often as the loss is called; and what nobody calls costs nothing."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dlkit.bench import optimizers
from dlkit.bench.errors import UserError
from dlkit.bench.optimizers import Optimizer
from dlkit.bench.plan.trials import Evaluations
from dlkit.bench.training.program import compile_problem, compile_program
from dlkit.bench.training.recipe import Recipe
from dlkit.bench.training.trajectory import train_trial
from tests.bench.optimizers import tasks

STEPS = 20


def count(name: str, **values: float) -> tuple[Evaluations, int]:
    """What the trainer counts in a trial, and how often the loss really ran forward."""
    calls = []
    problem = tasks.problem(batch_size=None)

    def loss(params: Any, state: Any, batch: Any, key: Any) -> Any:
        jax.debug.callback(lambda: calls.append(1))
        return problem.loss(params, state, batch, key)

    optimizer = optimizers.get(name)
    static = {key: choices[0] for key, choices in optimizer.static.items()}
    recipe = Recipe(optimizer=optimizer, steps=STEPS, evaluations=4, static=static)
    program = compile_program(compile_problem(replace(problem, loss=loss)), recipe)
    result = train_trial(program, values, stage="final", seed=0)
    jax.effects_barrier()
    return result.evaluations, len(calls)


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("sgd", {"learning_rate": 0.1}),
        ("sgd+sam", {"learning_rate": 0.1, "rho": 0.1}),
        ("sgd+sam+accumulate", {"learning_rate": 0.1, "rho": 0.1}),
        ("lbfgs", {}),
        ("backtracking_sgd", {"slope_rtol": 0.1, "increase_factor": 1.5}),
    ],
)
def test_counted_evaluations_are_the_calls_of_the_loss(name: str, values: Mapping[str, float]) -> None:
    counted, calls = count(name, **values)
    assert counted.gradients + counted.values == calls
    assert counted.hessian_products == 0
    expected = {"sgd": (20, 0), "sgd+sam": (40, 0), "sgd+sam+accumulate": (25, 0)}
    if name in expected:
        assert (counted.gradients, counted.values) == expected[name]
    elif name == "lbfgs":
        assert counted.values == 0 and counted.gradients > 20
    else:
        assert counted.gradients == 20 and counted.values >= 20


@pytest.mark.long
@pytest.mark.parametrize("name", ["sophia+clip", "sophia+ema"])
def test_hessian_products_are_counted_where_they_are_made(name: str) -> None:
    optimizer = optimizers.get(name)
    values = {"learning_rate": 0.01, "b1": 0.9, "gamma": 0.1, "weight_decay": 1e-3, "max_norm": 1.0, "decay": 0.9}
    values = {key: values[key] for key in optimizer.space}
    assert tasks.train(tasks.program(optimizer, {}), values).evaluations == (60, 0, 6)  # at steps 0, 10, ... 50


@pytest.mark.long
def test_a_diverged_trial_counts_up_to_the_end_of_its_curve() -> None:
    for name in ("sgd", "sophia"):
        optimizer = optimizers.get(name)
        values = dict.fromkeys(optimizer.space, 0.9) | {"learning_rate": 1e30}
        result = tasks.train(tasks.program(optimizer, {}), values)
        assert result.status == "diverged" and len(result.steps) == 2
        assert result.evaluations.gradients == result.steps[-1] == 12
        assert result.evaluations.hessian_products == (2 if name == "sophia" else 0)


@pytest.mark.long
def test_every_update_gets_the_loss_of_its_own_batch() -> None:
    # The update asks for all that is offered, and moves only if all agree.
    def build(learning_rate: Any) -> Any:
        def update(updates: Any, state: Any, params: Any, *, value: Any, grad: Any, value_fn: Any, **more: Any) -> Any:
            values = jnp.stack([value_fn(params), more["obj_fn"](params)])
            slopes = [grad, more["grad_fn"](params), jax.grad(value_fn)(params), jax.grad(more["obj_fn"])(params)]
            near = [jax.tree.leaves(jax.tree.map(jnp.allclose, updates, each)) for each in slopes]
            agree = jnp.all(jnp.asarray(near)) & jnp.allclose(values, value)
            return jax.tree.map(lambda g: jnp.where(agree, -learning_rate * g, jnp.nan), updates), state

        return optax.GradientTransformationExtraArgs(lambda params: optax.EmptyState(), update)

    asking = Optimizer("asking", build, {"learning_rate": 0.1})
    values = {"learning_rate": 0.1}
    ours = tasks.train(tasks.program(asking, {}), values).curves["error"]
    np.testing.assert_allclose(
        ours, tasks.train(tasks.program(optimizers.get("sgd"), {}), values).curves["error"], 1e-4
    )


@pytest.mark.long
def test_functions_that_are_not_called_are_not_traced() -> None:
    traces = []
    problem = tasks.problem()
    counted = replace(problem, loss=lambda *arguments: traces.append(1) or problem.loss(*arguments))
    recipe = Recipe(optimizer=optimizers.get("adam"), steps=4, evaluations=1)
    program = compile_program(compile_problem(counted), recipe)
    traces.clear()  # of the look for convolutions
    train_trial(program, {"learning_rate": 0.1, "b1": 0.9, "b2": 0.99}, stage="final", seed=0)
    assert len(traces) == 1


@pytest.mark.long
def test_a_line_search_of_ones_own_gets_along_with_what_it_does_not_know() -> None:
    chain = Optimizer("mine", lambda: optax.chain(optax.sgd(1.0), optax.scale_by_zoom_linesearch(15)), {})
    curve = tasks.train(tasks.program(chain, {}), {}).curves["error"]
    assert curve[-1] < 0.1 * curve[0]


@pytest.mark.long
def test_optaxs_own_sam_gets_its_gradient_function() -> None:
    def build(learning_rate: Any) -> Any:
        ascent = optax.chain(optax.contrib.normalize(), optax.sgd(0.1))
        inner = optax.contrib.sam(optax.sgd(learning_rate), ascent, opaque_mode=True)

        def update(updates: Any, state: Any, params: Any, *, grad_fn: Any, **more: Any) -> Any:
            return inner.update(updates, state, params, grad_fn=grad_fn)

        return optax.GradientTransformationExtraArgs(inner.init, update)

    theirs = tasks.train(tasks.program(Optimizer("sam", build, {"learning_rate": 0.1}), {}), {"learning_rate": 0.1})
    ours = tasks.train(tasks.program(optimizers.get("sgd+sam"), {}), {"learning_rate": 0.1, "rho": 0.1})
    np.testing.assert_allclose(ours.curves["error"], theirs.curves["error"], rtol=1e-4)


def test_what_is_no_count_is_refused() -> None:
    with pytest.raises(UserError, match=r"optimizer 'mine': evaluations must be bench\.Evaluations"):
        Optimizer("mine", optax.sgd, {"learning_rate": 0.1}, evaluations=2)
