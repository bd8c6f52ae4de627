"""What a trial does beside its steps: early stopping, bounds, time budgets, keys, re-estimated state, batch sizes."""

import math
import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dlkit import bench, layers, models
from dlkit.bench import optimizers, probes, problems
from dlkit.bench.data import Dataset, split
from dlkit.bench.errors import UserError
from dlkit.bench.optimizers import Optimizer, schedules
from dlkit.bench.plan.metric import TRAINING_LOSS, Metric
from dlkit.bench.plan.policies import EarlyStopping
from dlkit.bench.plan.space import Range
from dlkit.bench.problems import Problem, classification
from dlkit.bench.report.terminal import text_of
from dlkit.bench.training import evaluation, trajectory
from dlkit.bench.training.curve import Request, Trajectory
from dlkit.bench.training.lanes import ALONE, Lanes
from dlkit.bench.training.program import Program, compile_problem, compile_program
from dlkit.bench.training.recipe import Recipe
from dlkit.bench.training.trajectory import call_points, train_trial, train_trials
from dlkit.early_stopping import early_stopping
from tests.bench.wiring.walk import key_of

INLINE = bench.Resources(executor="inline")

SGD = optimizers.get("sgd")
NONE = Dataset("none", {}, {}, {})


def program_of(problem: Problem, optimizer: Optimizer = SGD, **choices: Any) -> Program:
    return compile_program(
        compile_problem(problem), Recipe(**{"optimizer": optimizer, "steps": 20, "evaluations": 10} | choices)
    )


def run(program: Program, rate: float, *, seed: int = 0, **choices: Any) -> Trajectory:
    return train_trial(program, {"learning_rate": rate}, stage="final", seed=seed, **choices)


def walk(scores: Mapping[int, float] | None = None) -> Problem:
    """One parameter that moves by the rate at each step; its score is a given function of where it is, else itself."""
    table = jnp.array([(scores or {}).get(place, float(place)) for place in range(100)])

    def evaluate(params: Any, state: Any, batch: Any) -> Any:
        return {"score": table[jnp.round(params["x"]).astype(int)], "x": params["x"]}

    return Problem(
        name="walk",
        init=lambda key: ({"x": jnp.float32(0.0)}, None),
        loss=lambda params, state, batch, key: (-params["x"], state),
        evaluate=evaluate,
        dataset=NONE,
        metrics={"score": Metric("lower"), "x": Metric("higher")},
    )


# --- scores of test examples -----------------------------------------------------------------------------------------


def few_points(count: int = 90) -> Dataset:
    rng = np.random.default_rng(1)
    inputs = rng.normal(size=(count, 3)).astype(np.float32)
    targets = (inputs[:, 0] + rng.normal(size=count) > 0).astype(np.int32)
    return split("points", {"inputs": inputs, "targets": targets}, redraw=False)


def scores_of(program: Program, rate: float, *, seed: int = 0) -> Any:
    return run(program, rate, seed=seed).example_scores


@pytest.mark.long
def test_a_final_trial_keeps_the_scores_whose_mean_is_its_final_value() -> None:
    problem = classification("points", models.mlp((2,)), few_points(), batch_size=8, steps=20)
    policy = EarlyStopping(patience=2, metric="accuracy")
    for choices in ({}, {"stopping": policy}, {"optimizer": optimizers.get("schedule_free_sgd")}):
        program = program_of(problem, **choices)
        values = {**dict.fromkeys(program.recipe.traced, 0.9), "learning_rate": 0.5}
        result = train_trial(program, values, stage="final", seed=0)
        scores = result.example_scores
        assert scores is not None and scores.shape == (len(problem.dataset.test["inputs"]),)
        assert scores.dtype == np.float32 and set(scores.tolist()) <= {0.0, 1.0}
        at = -1 if result.restored_at is None else result.steps.tolist().index(result.restored_at)
        assert scores.mean() == pytest.approx(result.curves["accuracy"][at])
        # Whether the parameters that are returned hit each of the test examples.
        batch = {name: jnp.asarray(array) for name, array in problem.dataset.test.items()}
        hits = problem.example_scores(result.params, result.state, batch)["accuracy"]  # type: ignore[misc]
        assert scores.tolist() == hits.tolist()
        others: list[dict[str, Any]] = [{"stage": "tuning"}, {"stage": "final", "until": 3}]
        assert all(train_trial(program, values, seed=0, **each).example_scores is None for each in others)


@pytest.mark.slow
def test_lanes_keep_the_scores_of_one_trial_each() -> None:
    problem = classification("points", models.mlp((2,)), few_points(), batch_size=8, steps=20)
    alone = [scores_of(program_of(problem), 0.5, seed=seed) for seed in (0, 1, 2)]
    program = compile_program(compile_problem(problem, Lanes(4)), Recipe(optimizer=SGD, steps=20, evaluations=10))
    together = train_trials(program, [Request({"learning_rate": 0.5}, "final", seed) for seed in (0, 1, 2)])
    for expected, result in zip(alone, together, strict=True):
        assert expected is not None and result.example_scores is not None
        assert result.example_scores.tolist() == expected.tolist()


@pytest.mark.slow
def test_scores_are_kept_where_they_tell_of_new_examples() -> None:
    """Not of ratios, of other metrics, of what diverged, or of the training objective."""
    model, fixed = models.mlp((2,)), few_points()
    assert scores_of(program_of(walk()), 1.0) is None
    own = Dataset("points", fixed.train, fixed.train, fixed.train)
    assert scores_of(program_of(classification("points", model, own, batch_size=8, steps=20)), 0.5) is None
    real = split("points", {**fixed.train, "targets": fixed.train["inputs"][:, 0]}, redraw=False)
    logarithmic = problems.regression("points", models.mlp((1,)), real, batch_size=8, steps=20, scale="log")
    assert scores_of(program_of(logarithmic), 0.01) is None
    linear = problems.regression("points", models.mlp((1,)), real, batch_size=8, steps=20)
    assert scores_of(program_of(linear), 0.01) is not None
    assert scores_of(program_of(linear), 1e9) is None
    problem = classification("points", model, fixed, batch_size=8, steps=20)
    scores = problem.example_scores
    assert scores is not None
    other = replace(problem, example_scores=lambda *trial: {"cross_entropy": scores(*trial)["cross_entropy"]})
    assert scores_of(program_of(other), 0.5) is None


@pytest.mark.long
def test_of_very_many_examples_evenly_spaced_ones_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = classification("points", models.mlp((2,)), few_points(), batch_size=8, steps=20)
    every = scores_of(program_of(problem), 0.5)
    monkeypatch.setattr(evaluation, "MOST_SCORES", 5)
    some = scores_of(program_of(problem), 0.5)
    assert every is not None and some is not None
    assert len(every) == 18 and some.tolist() == every[[0, 4, 8, 12, 16]].tolist()


# --- early stopping --------------------------------------------------------------------------------------------------

SCORES = [5.0, 4.0, 3.0, 3.5, 2.9, 2.95, 3.0, 3.1, 1.0, 0.5]  # after 2, 4, ... 20 steps


@pytest.mark.long
@pytest.mark.parametrize(("patience", "min_delta"), [(1, 0.0), (2, 0.0), (3, 0.0), (2, 0.2), (9, 0.0)])
def test_early_stopping_is_the_state_machine(patience: int, min_delta: float) -> None:
    policy = EarlyStopping(patience=patience, min_delta=min_delta)
    problem = walk({2 * (i + 1): score for i, score in enumerate(SCORES)})
    result = run(program_of(problem, stopping=policy), 1.0)

    machine = early_stopping(patience=patience, min_delta=min_delta)
    state = machine.init({})
    for score in SCORES:
        state = machine.update(state, score, {})
    evaluations, best = int(state.evaluations), int(state.best_evaluation)
    assert result.steps.tolist() == [2 * i for i in range(evaluations + 1)]
    assert result.curves["score"][1:].tolist() == pytest.approx(SCORES[:evaluations])
    assert result.status == ("stopped" if evaluations < 10 else "finished")
    assert result.restored_at == 2 * (best + 1)
    assert result.params["x"] == result.restored_at, "the best parameters are what is left"
    assert result.validation["score"] == pytest.approx(SCORES[best])
    assert result.evaluations.gradients == 2 * evaluations, "what was not trained is not counted"


@pytest.mark.long
def test_early_stopping_can_watch_another_metric_and_its_direction() -> None:
    # x rises with every step: never stale, although the score is
    watching = EarlyStopping(patience=1, metric="x")
    assert run(program_of(walk(), stopping=watching), 1.0).status == "finished"
    assert run(program_of(walk(), stopping=EarlyStopping(patience=1)), 1.0).restored_at == 2


def stopped_after_four(**choices: Any) -> Program:
    """Patience ends it after the fourth of ten evaluations, which is the last of the second of five calls."""
    problem = walk({2: 5.0, 4: 4.0, 6: 4.5, 8: 4.25})
    return program_of(problem, stopping=EarlyStopping(patience=2), **choices)


def test_no_call_is_made_for_a_trial_that_has_stopped() -> None:
    program = stopped_after_four()
    calls: list[int] = []

    def counted(*arguments: Any) -> Any:
        calls.append(len(arguments[1]))
        return program.segment(*arguments)

    result = run(replace(program, segment=counted), 1.0)
    assert (result.status, result.steps[-1], result.restored_at) == ("stopped", 8, 4)
    assert calls == [2, 2]


def test_a_trial_is_stopped_where_its_policy_ends_it_before_its_last_evaluation() -> None:
    program = stopped_after_four()

    def end(*, until: int | None = None, gradients: float | None = None) -> tuple[str, int]:
        request = Request({"learning_rate": 1.0}, "final", 0, gradients)
        result = train_trials(program, [request], until=until)[0]
        return result.status, int(result.steps[-1])

    assert end(until=4) == ("finished", 8) and end(until=5) == ("stopped", 8)
    # a gradient a step: of 8 it has all, and would not go on with more
    assert end(gradients=8) == end(gradients=9) == ("stopped", 8)
    assert end(gradients=7) == ("finished", 6)


@pytest.mark.long
def test_side_by_side_trials_stop_each_by_itself() -> None:
    problem = walk({2: 5.0, 4: 4.0, 6: 4.5, 8: 4.25} | {place: 9.0 - place for place in (1, 3, 5, 7)})
    recipe = Recipe(optimizer=SGD, steps=20, evaluations=10, stopping=EarlyStopping(patience=2))
    program = compile_program(compile_problem(problem, Lanes(2)), recipe)
    requests = [Request({"learning_rate": rate}, "final", 0) for rate in (1.0, 0.5)]
    results = train_trials(program, requests)
    # of rate 1/2 places are 1 to 10: scores 8, 5, 6, 4, 4, 4.5: the sixth evaluation is the second without improvement
    assert [(each.status, each.steps[-1], each.restored_at) for each in results] == [
        ("stopped", 8, 4),
        ("stopped", 12, 8),
    ]


@pytest.mark.long
def test_a_stopped_trial_keeps_the_bits_of_an_unstopped_one() -> None:
    problem = problems.get("digits-mlp")
    stopped = run(program_of(problem, steps=200, evaluations=20, stopping=EarlyStopping(patience=1)), 1.0)
    whole = run(program_of(problem, steps=200, evaluations=20), 1.0)
    count = len(stopped.steps)
    assert stopped.status == "stopped" and count < 21
    for name, curve in stopped.curves.items():
        assert curve.tobytes() == whole.curves[name][:count].tobytes()
    accuracy = stopped.curves["accuracy"]
    assert stopped.restored_at == stopped.steps[1 + np.argmax(accuracy[1:])]


def test_divergence_goes_before_early_stopping() -> None:
    result = run(program_of(walk(), stopping=EarlyStopping(patience=3)), math.inf)
    assert result.status == "diverged" and result.validation == {}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"patience": 0}, "early_stopping.patience must be a whole number of evaluations, at least 1, got 0"),
        ({"patience": 1.5}, "patience must be a whole number"),
        ({"patience": 1, "min_delta": -1.0}, "early_stopping.min_delta must be a number of at least 0"),
        ({"patience": 1, "min_delta": math.nan}, "min_delta"),
    ],
)
def test_policies_are_checked(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        EarlyStopping(**settings)


# --- where a trial ends ----------------------------------------------------------------------------------------------


@pytest.mark.long
def test_a_loss_above_the_bound_is_a_divergence() -> None:
    # the loss is -x: falling, so bound the opposite walk
    rising = replace(walk(), loss=lambda params, state, batch, key: (params["x"], state), diverged_above=6.5)
    away = Optimizer("away", lambda learning_rate: optax.scale(learning_rate), {"learning_rate": 1.0})
    result = run(program_of(rising, away), 1.0)
    # losses are 0, 1, 2, ...: the eighth step is the first above 6.5
    assert (result.status, result.diverged_at) == ("diverged", 7)
    assert result.steps[-1] == 8
    assert np.isfinite(result.curves["score"]).all()
    assert run(program_of(replace(rising, diverged_above=None), away), 1.0).status == "finished"


@pytest.mark.long
@pytest.mark.parametrize("until", [1, 2, 3, 10])
def test_a_rung_begins_with_the_bits_of_a_whole_trial(until: int) -> None:
    program = program_of(walk())
    assert call_points(10) == 2
    whole, part = run(program, 1.0), run(program, 1.0, until=until)
    assert part.steps.tolist() == whole.steps[: until + 1].tolist()
    assert part.curves["x"].tobytes() == whole.curves["x"][: until + 1].tobytes()
    assert part.status == "finished" and part.validation == {}, "the whole trial is reported"


def test_a_trial_is_cut_off_when_its_time_is_up() -> None:
    program = program_of(walk())
    result = run(program, 1.0, seconds=0.0)
    assert result.status == "cut off" and 2 < len(result.steps) < 11
    assert result.validation["x"] == result.steps[-1]
    assert run(program, 1.0, seconds=1e3).status == "finished"


# --- randomness of the optimizer -------------------------------------------------------------------------------------


@pytest.mark.long
@pytest.mark.parametrize("name", ["noisy_sgd", "sophia", "noisy_sgd+clip"])
def test_an_optimizers_own_draws_differ_between_seeds_and_not_between_runs(name: str) -> None:
    flat = replace(
        problems.get("digits-mlp"),
        name="flat",
        init=lambda key: ({"x": jnp.ones(3)}, None),
        loss=lambda params, state, batch, key: (jnp.sum(params["x"] ** 2 * jnp.arange(1.0, 4.0)), state),
        evaluate=lambda params, state, batch: {"x": params["x"][0] + 10 * params["x"][1] + 100 * params["x"][2]},
        metrics={"x": Metric("lower")},
        metric="x",
        target=None,
        dataset=NONE,
        batch_size=None,
    )
    optimizer = optimizers.get(name)
    if name == "sophia":  # its estimate of a diagonal Hessian is exact: what is random has to be seen in the state
        optimizer = replace(
            optimizer,
            eval_params=lambda state, params: {"x": jax.random.normal(state[0].hessian_fn_state.key, (3,))},
        )
    program = program_of(flat, optimizer, steps=4, evaluations=2)
    values = dict.fromkeys(optimizer.space, 0.01)
    first, again, other = (train_trial(program, values, stage="final", seed=seed) for seed in (0, 0, 1))
    assert first.curves["x"].tobytes() == again.curves["x"].tobytes()
    assert first.curves["x"][-1] != other.curves["x"][-1]
    assert train_trial(program, values, stage="tuning", seed=0).curves["x"][-1] != first.curves["x"][-1]


# --- the state that belongs to the evaluated parameters --------------------------------------------------------------


def batch_norm_problem() -> Problem:
    digits = problems.get("digits-mlp").dataset
    model = layers.serial(layers.dense(16), layers.batch_norm(momentum=0.9), jax.nn.relu, layers.dense(10))
    plain = classification("digits-bn", model, digits, batch_size=64, steps=40, target=0.9, description="")

    def reestimate(params: Any, state: Any, train: Any) -> Any:
        return layers.reestimate_batch_statistics(model, params, state, train["inputs"][None])

    return replace(plain, reestimate=reestimate)


@pytest.mark.slow
def test_schedule_free_scores_otherwise_without_reestimated_batch_statistics() -> None:
    problem = batch_norm_problem()
    free = optimizers.get("schedule_free_sgd")
    values = {"learning_rate": 1.0, "b1": 0.9}

    def train(problem: Problem) -> Trajectory:
        program = program_of(problem, free, steps=40, evaluations=4)
        return train_trial(program, values, stage="final", seed=0)

    with_it, without = train(problem), train(replace(problem, reestimate=None))
    assert with_it.curves[TRAINING_LOSS][1:].tobytes() == without.curves[TRAINING_LOSS][1:].tobytes()
    assert with_it.validation["cross_entropy"] != without.validation["cross_entropy"]
    # The statistics are those of the evaluated parameters over the training split, by NumPy.
    first = with_it.params["layer_0"]
    hidden = problem.dataset.train["inputs"] @ np.asarray(first["kernel"]) + np.asarray(first["bias"])
    state = with_it.state["layer_1"]
    np.testing.assert_allclose(state["mean"], hidden.mean(axis=0), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(state["var"], hidden.var(axis=0), rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_trained_parameters_keep_their_running_statistics() -> None:
    problem = batch_norm_problem()
    results = [
        run(program_of(each, steps=4, evaluations=2), 0.1) for each in (problem, replace(problem, reestimate=None))
    ]
    assert results[0].validation == results[1].validation


# --- batch sizes -----------------------------------------------------------------------------------------------------


@pytest.mark.long
def test_one_example_a_batch_and_all_of_them_are_gradient_descents_three_regimes() -> None:
    # Linear regression: every regime is checked against NumPy on the batches it saw.
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(40, 3)).astype(np.float32)
    data = split("regimes", {"inputs": inputs, "targets": inputs @ np.array([1.0, -2.0, 0.5], np.float32)})
    problem = problems.regression("regimes", models.mlp((1,)), data, batch_size=7, steps=6, target=0.1, description="")
    train = data.train
    for batch_size in (1, 7, "full"):
        variant = problem.variant(batch_size=batch_size)
        result = run(program_of(variant, steps=6, evaluations=2), 0.05)
        start = run(program_of(variant, steps=6, evaluations=2), 0.0).params
        weights, bias = (np.asarray(start["output"]["dense"][name], np.float64) for name in ("kernel", "bias"))
        order = next(bench_batches(variant))
        for index in order:
            rows = slice(None) if batch_size == "full" else index
            x, y = train["inputs"][rows].astype(np.float64), train["targets"][rows].astype(np.float64)
            error = (x @ weights)[:, 0] + bias - y
            weights = weights - 0.05 * 2 * (x * error[:, None]).mean(axis=0)[:, None]
            bias = bias - 0.05 * 2 * error.mean()
        np.testing.assert_allclose(result.params["output"]["dense"]["kernel"], weights, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(result.params["output"]["dense"]["bias"], bias, rtol=1e-4, atol=1e-5)


def bench_batches(problem: Problem) -> Any:
    from dlkit.bench.training.data_order import data_order

    return data_order(problem, "final", 0, segment=6)


@pytest.mark.slow
def test_factors_cross_optimizers_and_are_told_apart() -> None:
    result = bench.compare(
        problems=["digits-mlp"],
        optimizers=["sgd", bench.Contender(optimizer="adam", schedule="constant", label="plain adam")],
        factors={"schedule": ["constant", "cosine"], "batch_size": [32, "full"]},
        budget=bench.Budget(steps=10, evaluations=2, studies=1, tuning_points=1, tuning_seeds=1, seeds=2),
        resources=INLINE,
    )
    assert not result.failures
    plan = result.summary.plan
    assert [each.label for each in plan.contenders] == [
        "sgd (constant, batch 32)",
        "sgd (constant, full batch)",
        "sgd (cosine, batch 32)",
        "sgd (cosine, full batch)",
        "plain adam (batch 32)",
        "plain adam (full batch)",
    ]
    sizes = {
        each["problem"]["batch_size"] for each in (r.outcome.trial.identity for r in result.summary.records.values())
    }
    assert sizes == {32, None}
    full = next(
        r.outcome for r in result.summary.records.values() if r.outcome.trial.identity["problem"]["batch_size"] is None
    )
    assert result.replay(full.trial.id).exact


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"factors": {"schedul": ["cosine"]}}, "factors.schedul: no factor 'schedul'; did you mean 'schedule'?"),
        ({"factors": {"schedule": []}}, r"factors.schedule: expected a list of at least one value, got \[\]"),
        ({"factors": {"schedule": "cosine"}}, "factors.schedule: expected a list"),
        (
            {"factors": {"batch_size": [10**6]}},
            r"optimizer 'sgd \(batch 1000000\)': problem 'digits-mlp': batch_size must",
        ),
        (
            {"optimizers": ["lbfgs"], "factors": {"schedule": ["cosine"]}},
            "optimizer 'lbfgs': has no 'learning_rate' .* give this optimizer the schedule 'constant'",
        ),
        ({"factors": {"schedule": ["cosin"]}}, "no schedule 'cosin'; did you mean 'cosine'?"),
        (
            {"early_stopping": EarlyStopping(patience=2, metric="accurac")},
            "optimizer 'sgd', early_stopping: problem 'digits-mlp' has no metric 'accurac'; did you mean 'accuracy'?",
        ),
    ],
)
def test_mistakes_in_what_is_crossed_are_named(choices: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message.replace("?", r"\?")):
        bench.compare(**{"problems": ["digits-mlp"], "optimizers": ["sgd"], "resources": INLINE} | choices)


# --- probes ----------------------------------------------------------------------------------------------------------


def test_probes_see_the_last_step_of_each_interval() -> None:
    # On 1/2 x' H x the gradient is H x, and gradient descent moves by the rate times that: all is known in closed form.
    problem = problems.quadratic(condition=4.0, dimension=2)
    names = ("gradient_norm", "sharpness", "update_ratio", "weight_norm", "effective_learning_rate")
    recipe = {"steps": 4, "evaluations": 2, "schedule": schedules.get("linear"), "probes": [*map(probes.get, names)]}
    program = program_of(problem, **recipe)
    values = {"learning_rate": 0.4, "final": 0.0}
    result = train_trial(program, values, stage="final", seed=0)
    curves = result.curves
    assert list(curves) == ["distance", "suboptimality", TRAINING_LOSS, *program.probe_curves]
    begun = {name: curves[name][0] for name in program.probe_curves}
    updated = {name for name in begun if np.isnan(begun[name])}
    assert updated == {"update_ratio", "effective_learning_rate", "learning_rate"}, "before any step there is no update"
    first = problem.init(key_of("quadratic", "final", 0, "init"))[0]
    slope = jax.grad(lambda params: problem.loss(params, None, {}, None)[0])(first)
    assert begun["sharpness"] == pytest.approx(1.0, rel=1e-4)
    assert begun["gradient_norm"] == pytest.approx(float(jnp.linalg.norm(slope["x"])), rel=1e-5)
    assert begun["weight_norm"] == pytest.approx(float(jnp.linalg.norm(first["x"])), rel=1e-5)
    # Steps 1 and 3 (from 0) are the last of their intervals; the linear schedule takes a quarter off at each step.
    np.testing.assert_allclose(curves["learning_rate"][1:], [0.4 * 0.75, 0.4 * 0.25], rtol=1e-6)
    np.testing.assert_allclose(curves["effective_learning_rate"][1:], curves["learning_rate"][1:], rtol=1e-4)
    np.testing.assert_allclose(curves["sharpness"][1:], 1.0, rtol=1e-4)
    x = result.params["x"]
    gradient = jax.grad(lambda params: problem.loss(params, None, {}, None)[0])({"x": x})["x"]
    assert curves["gradient_norm"][-1] == pytest.approx(float(jnp.linalg.norm(gradient)), rel=1e-5)
    assert curves["weight_norm"][-1] == pytest.approx(float(jnp.linalg.norm(x)), rel=1e-5)

    plain = train_trial(program_of(problem, **{**recipe, "probes": ()}), values, stage="final", seed=0)
    np.testing.assert_allclose(plain.curves["distance"], curves["distance"], rtol=1e-5)
    assert plain.evaluations == result.evaluations, "what probes cost is not the optimizer's"


@pytest.mark.slow
def test_probes_are_computed_on_final_trials_alone() -> None:
    result = bench.compare(
        problems=["digits-mlp"],
        optimizers=["sgd"],
        budget=bench.Budget(steps=10, evaluations=2, studies=1, tuning_points=1, tuning_seeds=1, seeds=2),
        probes=["dead_units", "gradient_noise_scale"],
        resources=INLINE,
        progress=False,
    )
    assert not result.failures
    for name, record in result.summary.records.items():
        has = "dead_units" in record.outcome.curves
        assert has == (record.outcome.trial.stage == "final")
        assert result.replay(name).exact
    dead = result.curves().query("metric == 'dead_units' and step > 0")["value"]
    assert len(dead) == 4 and dead.between(0, 1).all()


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["sharpnes"], r"no probe 'sharpnes'; did you mean 'sharpness'\?"),
        (["sharpness", "sharpness"], "probes: 'sharpness' is there more than once"),
        (["dead_units"], "probe 'dead_units', problem 'quadratic': no activation is marked"),
    ],
)
def test_probes_that_cannot_be_are_refused_before_anything_runs(names: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        bench.compare(problems=["quadratic"], optimizers=["sgd"], probes=names, resources=INLINE)


@pytest.mark.long
def test_the_steps_that_early_stopping_saved_are_shown() -> None:
    result = bench.compare(
        problems=["quadratic"],
        optimizers=["sgd"],
        early_stopping=EarlyStopping(patience=1, min_delta=1e9),  # nothing improves so much
        budget=bench.Budget(steps=20, evaluations=10, studies=1, tuning_points=1, tuning_seeds=1, seeds=2),
        resources=INLINE,
        progress=False,
    )
    # The first evaluation improves on nothing, the second does not: two of ten intervals are trained.
    assert result.costs()["steps_saved"].tolist() == [pytest.approx(0.8)]
    assert "80\N{NO-BREAK SPACE}%" in text_of(result.summary, tables=True)


# --- what the host does between the calls ----------------------------------------------------------------------------


@pytest.mark.parametrize("lanes", [ALONE, Lanes(2)])
def test_no_operation_of_jax_runs_beside_the_executables(lanes: Lanes) -> None:
    recipe = Recipe(optimizer=SGD, steps=20, evaluations=10)
    program = compile_program(compile_problem(walk(), lanes), recipe)
    final = [Request({"learning_rate": 0.5}, "final", seed) for seed in range(lanes.trials)]
    tuning = [request._replace(stage="tuning") for request in final]
    train_trials(program, final)  # compiles
    seen = set[str]()

    def look(frame: Any, event: str, argument: Any) -> None:
        path = frame.f_code.co_filename.replace(os.sep, "/")
        if event == "call" and any(part in path for part in ("jax/_src/numpy/", "jax/_src/lax/", "_src/dispatch.py")):
            seen.add(frame.f_code.co_qualname)

    sys.setprofile(look)
    try:
        train_trials(program, tuning)
        train_trials(program, final)
    finally:
        sys.setprofile(None)
    assert not seen


def test_parameters_are_finished_once_and_only_for_who_asks() -> None:
    program = program_of(walk(), replace(SGD, eval_params=lambda state, params: params))
    calls: list[None] = []

    def finish(*arguments: Any) -> Any:
        calls.append(None)
        return program.finish(*arguments)

    counted = replace(program, finish=finish)
    tuning = train_trial(counted, {"learning_rate": 0.5}, stage="tuning", seed=0)
    assert not calls and float(tuning.params["x"]) == 10.0 and tuning.state is None and len(calls) == 1
    assert float(run(counted, 0.5).params["x"]) == 10.0 and len(calls) == 2


@pytest.mark.long
@pytest.mark.parametrize("optimizer", ["adam", "adam+ema"])
def test_no_bit_depends_on_how_many_evaluations_a_call_has(optimizer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What XLA fuses may depend on it: on this problem it did."""
    own = optimizers.get(optimizer)
    recipe = Recipe(optimizer=own, steps=20, evaluations=10)
    values = {name: span.low if isinstance(span, Range) else span for name, span in own.space.items()}
    program = compile_program(compile_problem(problems.get("digits-vae")), recipe)
    curves = []
    for kept_bytes in (2**24, 1):
        monkeypatch.setattr(trajectory, "KEPT_BYTES", kept_bytes)
        curves.append(train_trial(program, values, stage="final", seed=0).curves)
    assert {name: curve.tobytes() for name, curve in curves[0].items()} == {
        name: curve.tobytes() for name, curve in curves[1].items()
    }
