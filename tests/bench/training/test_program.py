"""The compiled loop against hand-written loops, closed forms, and broken input."""

import math
import zlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
import pytest

from dlkit.bench import optimizers, problems
from dlkit.bench.data import Dataset, split
from dlkit.bench.errors import UserError
from dlkit.bench.optimizers import Optimizer
from dlkit.bench.plan.metric import TRAINING_LOSS, Metric
from dlkit.bench.plan.space import log_uniform
from dlkit.bench.problems import Problem, check_problem, quadratic
from dlkit.bench.training.curve import Trajectory
from dlkit.bench.training.data_order import data_order
from dlkit.bench.training.program import Program, compile_problem, compile_program
from dlkit.bench.training.recipe import Recipe
from dlkit.bench.training.trajectory import train_trial

SGD = optimizers.get("sgd")


def run(problem: Problem, optimizer: Optimizer, values: Mapping[str, float], **choices: Any) -> Trajectory:
    settings: dict[str, Any] = {"stage": "final", "seed": 0} | choices
    of_recipe = {key: settings.pop(key) for key in [*settings] if key in Recipe.__dataclass_fields__}
    return train_trial(program_of(problem, optimizer, **of_recipe), values, **settings)


def program_of(problem: Problem, optimizer: Optimizer, **choices: Any) -> Program:
    recipe = Recipe(**{"optimizer": optimizer, "steps": 20, "evaluations": 4} | choices)
    return compile_program(compile_problem(problem), recipe)


def linear_problem(*, noise: float = 0.0, batch_size: int | None = 16) -> Problem:
    """y = x . w, squared error; with `noise`, the loss adds a random tilt drawn from the step's key."""
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(128, 5)).astype(np.float32)
    targets = (inputs @ np.arange(1.0, 6.0)).astype(np.float32)

    def init(key: Any) -> Any:
        return {"w": jax.random.normal(key, (5,))}, {"calls": jnp.zeros((), jnp.int32)}

    def errors(params: Any, batch: Any) -> Any:
        return ((batch["inputs"] @ params["w"] - batch["targets"]) ** 2).mean()

    def loss(params: Any, state: Any, batch: Any, key: Any) -> Any:
        tilt = noise * jax.random.normal(key, (5,)) @ params["w"] if noise else 0.0
        return errors(params, batch) + tilt, {"calls": state["calls"] + 1}

    def evaluate(params: Any, state: Any, batch: Any) -> Any:
        return {"error": errors(params, batch), "calls": state["calls"].astype(jnp.float32)}

    return Problem(
        name="line",
        init=init,
        loss=loss,
        evaluate=evaluate,
        dataset=split("line", {"inputs": inputs, "targets": targets}),
        metrics={"error": Metric("lower")},
        batch_size=batch_size,
    )


@pytest.mark.long
@pytest.mark.parametrize("condition", [10.0, 100.0])
def test_gradient_descent_on_a_quadratic_contracts_as_theory_says(condition: float) -> None:
    # At 2/(L+mu) the two extreme eigenvectors shrink by (kappa-1)/(kappa+1) a step, all others faster.
    problem = quadratic(condition=condition, dimension=8)
    rate = (condition - 1) / (condition + 1)
    steps = 20 if condition == 10 else 200
    result = run(problem, SGD, {"learning_rate": 2 / (1 + 1 / condition)}, steps=steps, evaluations=steps)
    distance = result.curves["distance"]
    start, end = steps // 2, steps
    measured = (distance[end] / distance[start]) ** (1 / (end - start))
    assert measured == pytest.approx(rate, rel=1e-4)


@pytest.mark.long
@pytest.mark.parametrize(
    "name",
    [
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("sgd", "momentum", "rmsprop", "adagrad", "adamw")),
        "adam",
    ],
)
def test_equals_a_hand_written_step_loop(name: str) -> None:
    problem = problems.get("digits-mlp")
    values = {"learning_rate": 0.01, "momentum": 0.9, "decay": 0.95, "b1": 0.9, "b2": 0.99, "weight_decay": 0.01}
    values = {key: values[key] for key in optimizers.get(name).space}
    result = run(problem, optimizers.get(name), values, steps=40, evaluations=2, seed=3)

    key = jax.random.key(0)
    for word in (zlib.crc32(b"digits-mlp"), 1, 3):
        key = jax.random.fold_in(key, word)
    params, state = problem.init(jax.random.fold_in(key, zlib.crc32(b"init")))
    transformation = optimizers.get(name).build(**values)
    opt_state = transformation.init(params)

    @jax.jit
    def step(params: Any, opt_state: Any, batch: Any) -> Any:
        gradient = jax.grad(lambda p: problem.loss(p, state, batch, key)[0])(params)
        updates, opt_state = transformation.update(gradient, opt_state, params)
        return optax.apply_updates(params, updates), opt_state

    for index in next(data_order(problem, "final", 3, segment=40)):
        batch = {name: jnp.asarray(array[index]) for name, array in problem.dataset.train.items()}
        params, opt_state = step(params, opt_state, batch)
    for ours, theirs in zip(jax.tree.leaves(result.params), jax.tree.leaves(params), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2e-4, atol=2e-5)
    metrics = problem.evaluate(params, state, jax.tree.map(jnp.asarray, dict(problem.dataset.test)))
    assert result.curves["cross_entropy"][-1] == pytest.approx(float(metrics["cross_entropy"]), rel=1e-4)


def test_one_trace_serves_every_point_seed_and_stage() -> None:
    traces = []
    problem = linear_problem()
    counted = replace(problem, loss=lambda *arguments: traces.append(1) or problem.loss(*arguments))
    program = program_of(counted, SGD)
    assert len(traces) == 1  # the look for convolutions, once per problem
    traces.clear()
    train_trial(program, {"learning_rate": 0.1}, stage="tuning", seed=0)
    once = len(traces)
    for rate in (0.01, 0.02):
        for stage in ("tuning", "final"):
            for seed in range(2):
                train_trial(program, {"learning_rate": rate}, stage=stage, seed=seed)
    assert len(traces) == once == 1
    assert program.segment._cache_size() == program.begin._cache_size() == program.shared.start._cache_size() == 1


@pytest.mark.long
def test_cutting_steps_into_segments_changes_no_bit() -> None:
    problem = linear_problem(noise=0.1)
    few = run(problem, SGD, {"learning_rate": 0.05}, steps=24, evaluations=3)
    many = run(problem, SGD, {"learning_rate": 0.05}, steps=24, evaluations=12)
    assert few.curves["error"].tobytes() == many.curves["error"][::4].tobytes()
    np.testing.assert_array_equal(few.steps, many.steps[::4])


@pytest.mark.long
@pytest.mark.parametrize("until", [1, 3, 6, 7])
def test_a_rung_is_the_beginning_of_the_whole_trial(until: int) -> None:
    """Whatever calls the steps are cut into: here five of two evaluations."""
    settings: dict[str, Any] = {"steps": 40, "evaluations": 10, "stage": "tuning"}
    whole = run(linear_problem(noise=0.1), SGD, {"learning_rate": 0.05}, **settings)
    rung = run(linear_problem(noise=0.1), SGD, {"learning_rate": 0.05}, **settings, until=until)
    for name, curve in whole.curves.items():
        assert rung.curves[name].tobytes() == curve[: until + 1].tobytes()
    np.testing.assert_array_equal(rung.steps, whole.steps[: until + 1])
    assert (rung.status, rung.validation) == ("finished", {}) and rung.evaluations.gradients == 4 * until
    wild = run(linear_problem(), SGD, {"learning_rate": 1e20}, **settings, until=until)
    assert wild.status == "diverged" and len(wild.steps) <= until + 1


@pytest.mark.slow
def test_seeds_pair_contenders_and_differ_among_themselves() -> None:
    problem = linear_problem()
    adam = {"learning_rate": 0.1, "b1": 0.9, "b2": 0.99}
    first = {seed: run(problem, SGD, {"learning_rate": 0.1}, seed=seed).curves["error"][0] for seed in range(3)}
    second = {seed: run(problem, optimizers.get("adam"), adam, seed=seed).curves["error"][0] for seed in range(3)}
    tuning = run(problem, SGD, {"learning_rate": 0.1}, seed=0, stage="tuning").curves["error"][0]
    assert first == second
    assert len({*first.values(), tuning}) == 4


@pytest.mark.long
def test_the_step_key_changes_every_step_and_repeats_with_the_seed() -> None:
    # With a constant key the tilt would pull w the same way at every step; over many steps fresh tilts average out.
    problem = linear_problem(noise=1.0)
    first, second = (run(problem, SGD, {"learning_rate": 0.05}, steps=40).curves["error"] for _ in range(2))
    assert first.tobytes() == second.tobytes()
    calm = run(linear_problem(), SGD, {"learning_rate": 0.05}, steps=40).curves["error"]
    assert not np.array_equal(first, calm)
    drawn = []

    def loss(params: Any, state: Any, batch: Any, key: Any) -> Any:
        # the parameter integrates the noise: w_t = w_0 - sum of the first t draws
        return (jax.random.normal(key, (5,)) * params["w"]).sum(), state

    walk = replace(problem, loss=loss, evaluate=lambda p, s, b: {"error": p["w"][0]})
    path = run(walk, SGD, {"learning_rate": 1.0}, steps=50, evaluations=50).curves["error"]
    drawn = np.diff(path)
    assert len(set(drawn.tolist())) == 50
    assert abs(drawn.mean()) < 3 / math.sqrt(50)


def test_state_is_carried_and_every_step_counts() -> None:
    result = run(linear_problem(), SGD, {"learning_rate": 0.1}, steps=20, evaluations=4)
    np.testing.assert_array_equal(result.curves["calls"], [0, 5, 10, 15, 20])
    np.testing.assert_array_equal(result.steps, [0, 5, 10, 15, 20])


@pytest.mark.long
def test_full_batch_uses_every_example_at_every_step() -> None:
    problem = linear_problem(batch_size=None)
    result = run(problem, SGD, {"learning_rate": 0.1}, steps=200, evaluations=1)
    inputs, targets = problem.dataset.train["inputs"], problem.dataset.train["targets"]
    expected = np.linalg.lstsq(inputs, targets, rcond=None)[0]
    np.testing.assert_allclose(result.params["w"], expected, rtol=1e-4)


@pytest.mark.long
def test_training_loss_is_the_mean_over_the_segment() -> None:
    problem = linear_problem()
    result = run(problem, SGD, {"learning_rate": 0.0}, steps=6, evaluations=2)
    params = result.params
    order = next(data_order(problem, "final", 0, segment=6))
    batches = [{name: array[index] for name, array in problem.dataset.train.items()} for index in order]
    losses = [float(problem.loss(params, result.state, batch, None)[0]) for batch in batches]
    assert math.isnan(result.curves[TRAINING_LOSS][0])
    np.testing.assert_allclose(result.curves[TRAINING_LOSS][1:], [np.mean(losses[:3]), np.mean(losses[3:])], rtol=1e-5)


def test_reported_metrics_are_those_of_the_final_parameters() -> None:
    problem = linear_problem()
    result = run(problem, SGD, {"learning_rate": 0.01})
    data = problem.dataset
    expected = [problem.evaluate(result.params, result.state, part)["error"] for part in (data.test, data.validation)]
    assert [result.curves["error"][-1], result.validation["error"]] == pytest.approx([*map(float, expected)], rel=1e-5)


@pytest.mark.long
@pytest.mark.parametrize("rate", [1e30, math.inf, math.nan])
def test_divergence_is_a_result_and_harms_no_other_trial(rate: float) -> None:
    program = program_of(linear_problem(), SGD)
    settings: dict[str, Any] = {"stage": "final", "seed": 0}
    before = train_trial(program, {"learning_rate": 0.01}, **settings)
    bad = train_trial(program, {"learning_rate": rate}, **settings)
    after = train_trial(program, {"learning_rate": 0.01}, **settings)
    assert bad.status == "diverged" and bad.validation == {}
    assert bad.diverged_at is not None and 1 <= bad.diverged_at <= 3
    assert len(bad.steps) == 2, "it stops at the evaluation after"
    assert before.curves["error"].tobytes() == after.curves["error"].tobytes()


@pytest.mark.long
def test_eval_params_are_what_is_evaluated() -> None:
    problem = linear_problem()
    averaging = Optimizer(
        "average",
        lambda learning_rate: optax.contrib.schedule_free(optax.sgd(learning_rate), learning_rate, b1=0.9),
        {"learning_rate": log_uniform(1e-3, 1)},
        eval_params=optax.contrib.schedule_free_eval_params,
    )
    with_hook = run(problem, averaging, {"learning_rate": 0.05})
    without = run(problem, replace(averaging, eval_params=None), {"learning_rate": 0.05})
    assert with_hook.curves[TRAINING_LOSS][1:].tobytes() == without.curves[TRAINING_LOSS][1:].tobytes()
    assert not np.array_equal(with_hook.curves["error"][1:], without.curves["error"][1:])
    expected = problem.evaluate(with_hook.params, with_hook.state, problem.dataset.test)["error"]
    assert with_hook.curves["error"][-1] == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.long
def test_static_choices_reach_build_as_they_are() -> None:
    seen = []

    def build(learning_rate: Any, nesterov: bool) -> optax.GradientTransformation:
        seen.append(nesterov)
        return optax.sgd(learning_rate, 0.9, nesterov=nesterov)

    optimizer = Optimizer("n", build, {"learning_rate": log_uniform(1e-3, 1)}, {"nesterov": (False, True)})
    curves = [run(linear_problem(), optimizer, {"learning_rate": 0.01}, static={"nesterov": n}) for n in (False, True)]
    assert set(seen) == {False, True}
    assert not np.array_equal(curves[0].curves["error"], curves[1].curves["error"])


@pytest.mark.long
def test_update_gets_what_some_optimizers_need() -> None:
    polyak = Optimizer("polyak", lambda scale: optax.polyak_sgd(scaling=scale), {"scale": 1.0})
    result = run(linear_problem(batch_size=None), polyak, {"scale": 1.0}, steps=40)
    assert result.curves["error"][-1] < 1e-3 * result.curves["error"][0]


class TestDataOrder:
    def test_epochs_are_permutations_of_philox_without_the_remainder(self) -> None:
        problem = replace(linear_problem(), batch_size=20)
        examples = problem.dataset.examples
        rows = next(data_order(problem, "tuning", 7, segment=8))
        per_epoch = examples // 20
        assert per_epoch == 3
        for epoch in range(2):
            key = np.array([zlib.crc32(b"line") << 32, 7 << 32 | epoch], np.uint64)
            expected = np.random.Generator(np.random.Philox(key=key)).permutation(examples)[:60]
            np.testing.assert_array_equal(rows[epoch * 3 : epoch * 3 + 3].ravel(), expected)
            assert len(set(rows[epoch * 3 : epoch * 3 + 3].ravel().tolist())) == 60

    @pytest.mark.parametrize("length", [1, 3, 5, 16])
    def test_the_order_does_not_depend_on_the_segment(self, length: int) -> None:
        problem = linear_problem()
        order = data_order(problem, "final", 0, segment=length)
        pieces = np.concatenate([next(order) for _ in range(48 // length)])
        whole = next(data_order(problem, "final", 0, segment=48))
        np.testing.assert_array_equal(pieces, whole[: len(pieces)])


class TestClearErrors:
    def refuses(self, optimizer: Optimizer, *words: str) -> None:
        with pytest.raises(UserError) as caught:
            run(linear_problem(), optimizer, {"learning_rate": 0.1})
        for word in words:
            assert word in str(caught.value)

    def test_build_raises(self) -> None:
        def build(learning_rate: Any) -> Any:
            raise RuntimeError("no such thing")

        self.refuses(
            Optimizer("mine", build, {"learning_rate": 0.1}), "'mine'", "build", "RuntimeError", "no such thing"
        )

    def test_build_takes_other_arguments(self) -> None:
        with pytest.raises(UserError, match="optimizer 'mine': build takes no 'learning_rate'; expected one of 'rate'"):
            Optimizer("mine", lambda rate: optax.sgd(rate), {"learning_rate": 0.1})

    def test_build_returns_something_else(self) -> None:
        self.refuses(Optimizer("mine", lambda learning_rate: 3, {"learning_rate": 0.1}), "optax transformation", "int")

    def test_update_of_another_shape(self) -> None:
        def update(updates: Any, state: Any, params: Any = None) -> Any:
            return jax.tree.map(lambda u: u.sum(keepdims=True), updates), state

        wrong = optax.GradientTransformation(lambda params: optax.EmptyState(), update)
        self.refuses(Optimizer("mine", lambda learning_rate: wrong, {"learning_rate": 0.1}), "['w']", "(1,)", "(5,)")

    def test_update_of_another_structure(self) -> None:
        wrong = optax.GradientTransformation(lambda params: (), lambda u, s, p=None: ({"other": u["w"]}, s))
        self.refuses(Optimizer("mine", lambda learning_rate: wrong, {"learning_rate": 0.1}), "['w']", "none")

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"init": lambda key: 1 / 0}, ["init", "ZeroDivisionError"]),
            ({"init": lambda key: {"w": 1}}, ["init", "(params, state)"]),
            ({"loss": lambda p, s, b, k: (p["w"], s)}, ["loss", "one number", "(5,)"]),
            ({"loss": lambda p, s, b, k: p["w"].sum()}, ["loss", "(scalar, state)"]),
            ({"loss": lambda p, s, b, k: (b["nothing"].sum(), s)}, ["loss", "KeyError"]),
            ({"loss": lambda p, s, b, k: (p["w"].sum(), None)}, ["loss", "state"]),
            ({"evaluate": lambda p, s, b: {"other": p["w"].sum()}}, ["no metric 'error'", "other"]),
            ({"evaluate": lambda p, s, b: {"error": p["w"]}}, ["'error'", "one number"]),
            ({"evaluate": lambda p, s, b: {"error": p["w"][0], TRAINING_LOSS: p["w"][0]}}, [TRAINING_LOSS]),
        ],
    )
    def test_problems_that_do_not_work(self, change: dict[str, Any], words: list[str]) -> None:
        with pytest.raises(UserError) as caught:
            check_problem(replace(linear_problem(), **change))
        for word in ["'line'", *words]:
            assert word in str(caught.value)

    def test_a_problem_without_data_cannot_have_batches(self) -> None:
        with pytest.raises(UserError, match="no training data"):
            replace(quadratic(), batch_size=4)

    def test_metric_that_does_not_exist(self) -> None:
        with pytest.raises(UserError, match="did you mean 'error'"):
            linear_problem().variant(metric="eror")


def test_a_good_problem_passes_the_check() -> None:
    check_problem(linear_problem())
    check_problem(quadratic())
    assert Dataset("none", {}, {}, {}).examples == 0
