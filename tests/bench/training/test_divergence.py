"""The default rule for divergence: losses that end far beyond where they started, on any scale; spikes come back."""

import math
import warnings
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlkit import bench
from dlkit.bench import optimizers
from dlkit.bench.data import Dataset
from dlkit.bench.plan.metric import Metric
from dlkit.bench.plan.policies import EarlyStopping
from dlkit.bench.problems import Problem, catalog
from dlkit.bench.training.curve import Request, Trajectory
from dlkit.bench.training.divergence import GROWTH, left_at
from dlkit.bench.training.lanes import Lanes
from dlkit.bench.training.program import compile_problem, compile_program
from dlkit.bench.training.recipe import Recipe
from dlkit.bench.training.trajectory import train_trial, train_trials

STEPS = 20
FAR = 10 * GROWTH


def scripted(losses: Any, **changes: Any) -> Problem:
    """A problem whose loss at step t is the t-th of a list, wherever training goes: x counts the steps."""
    table = jnp.asarray(losses, jnp.float32)

    def loss(params: Any, state: Any, batch: Any, key: Any) -> Any:
        x = params["x"]
        shown = table[jnp.round(jax.lax.stop_gradient(x)).astype(int)]
        return shown + (jax.lax.stop_gradient(x) - x), state  # its gradient is -1

    return Problem(
        name="scripted",
        init=lambda key: ({"x": jnp.float32(0.0)}, None),
        loss=loss,
        evaluate=lambda params, state, batch: {"x": params["x"]},
        dataset=Dataset("none", {}, {}, {}),
        metrics={"x": Metric("higher")},
        **changes,
    )


def run(problem: Problem, *, evaluations: int = 10, until: int | None = None, **choices: Any) -> Trajectory:
    recipe = Recipe(optimizer=optimizers.get("sgd"), steps=STEPS, evaluations=evaluations, **choices)
    program = compile_program(compile_problem(problem), recipe)
    return train_trial(program, {"learning_rate": 1.0}, stage="final", seed=0, until=until)


def left(*pieces: tuple[float, int], scale: float = 1.0) -> int | None:
    """When losses leave for good, looked at every two steps; they are pieces of a value and a length."""
    losses = [scale * value for value, length in pieces for _ in range(length)]
    losses = np.array(losses + [losses[-1]] * (STEPS - len(losses)), np.float32)
    return left_at(scripted([0.0]), losses.reshape(-1, 2))


# --- the rule --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [1e-5, 1.0, 1e25])
def test_losses_that_end_far_beyond_where_they_started(scale: float) -> None:
    assert left((1.0, 7), (FAR, 1), scale=scale) == 7
    assert left((1.0, 7), (0.1 * GROWTH, 1), scale=scale) is None


def test_a_spike_that_comes_back_is_no_divergence() -> None:
    assert left((1.0, 3), (1e12, 12), (2.0, 1)) is None
    assert left((1.0, 3), (1e12, 3), (2.0, 9), (FAR, 1)) == 15, "for good it left at 15"


def test_what_counts_is_the_size_of_the_loss_not_its_sign() -> None:
    assert left((-100.0, 5), (FAR, 1)) is None, "a hundred times as large at the start"
    assert left((-100.0, 5), (200 * FAR, 1)) == 5
    assert left((1e-3, 1), (-100.0, 5), (FAR, 1)) is None, "it fell by 100"
    assert left((1.0, 1), (-1e30, 1)) is None, "a loss without a lower bound may fall"


def test_a_start_near_zero() -> None:
    assert left((0.0, 4), (1.0, 1)) is None, "batches without a loss say nothing"
    assert left((0.0, 4), (1.0, 3), (FAR, 1)) == 7
    assert left((1e-14, 1), (0.05, 1)) is None, "rounding is not where it started"


def test_an_outlier_at_the_end_is_no_divergence() -> None:
    assert left((1.0, 18), (FAR, 2)) is None
    assert left((1.0, 17), (FAR, 3)) == 17


@pytest.mark.slow
@pytest.mark.parametrize("freedom", [1, 3, 1000])
def test_batches_of_one_example_raise_no_false_alarm(freedom: int) -> None:
    """Squares of independent residuals go nowhere, but some trials end a million times above where they started."""
    trials = 200_000
    residuals = np.random.default_rng(0).standard_t(freedom, (trials, STEPS))
    losses = np.asarray(1e6 * residuals**2, np.float32)
    assert (losses[:, -1] > GROWTH * losses[:, 0]).mean() > 3e-4
    for batch_size in (1, 2, 3):
        means = losses[:, : STEPS // batch_size * batch_size].reshape(trials, -1, batch_size).mean(axis=2)
        problem = drawing(batch_size)
        assert sum(left_at(problem, each[None]) is not None for each in means) < 2, "fewer than 1e-5 of the trials"


def drawing(batch_size: int) -> Problem:
    """A problem with batches."""
    rows = {"inputs": np.zeros((10, 1), np.float32)}
    return replace(scripted([0.0]), dataset=Dataset("rows", rows, rows, rows), batch_size=batch_size)


def test_a_loss_that_leaves_at_once_tells_no_size() -> None:
    """With one example a step, the first losses tell the size; one that is beyond itself may have left."""

    def ends(*losses: float) -> bool:
        values = np.array([*losses, *[losses[-1]] * (STEPS - len(losses))], np.float32)
        return left_at(drawing(1), values[None]) is not None

    assert ends(1.0, 1e13) and ends(1e-3, 1.0, 1.0, 1.0, FAR)
    assert not ends(1e-3, 10.0, 1.0, 1.0, FAR / 10), "the second loss is as large as any"
    assert ends(1e-3, 1.0, 1.0, 1.0, 1000.0, FAR), "the fifth tells no size"


@pytest.mark.parametrize("piece", [1, 2, 4, 5, 10, 20])
def test_the_size_does_not_depend_on_when_one_looks(piece: int) -> None:
    # the size is 3: that of the largest of the first four losses that are not 0, so that 3e6 is just not beyond
    for end, left in ((5e6, 7), (2.9e6, None)):
        losses = np.array([0.0, 1e-3, 0.0, 2.0, 3.0, 1e-3, 50.0] + [end] * 13, np.float32)
        assert left_at(drawing(1), losses.reshape(-1, piece)) == left


def test_an_interval_is_compared_with_what_was_known_at_its_end() -> None:
    # A fall to -100 makes the size 101: seen with it, or after it, 5e7 is not beyond; before, it was.
    early, late = [1.0, 5e7, 5e7, -100.0], [1.0, -100.0, 5e7, 5e7, 5e7]
    assert left_at(scripted([0.0]), np.array([*early, 2e8, 2e8, 2e8, 2e8], np.float32).reshape(2, 4)) == 4
    assert left_at(scripted([0.0]), np.array([late], np.float32)) is None


def test_a_trial_of_no_steps_or_of_no_loss_has_not_left() -> None:
    assert left_at(scripted([0.0]), np.zeros((0, 5), np.float32)) is None
    assert left_at(scripted([0.0]), np.zeros((2, 5), np.float32)) is None


def test_what_is_not_finite_has_left() -> None:
    assert left((1.0, 4), (FAR, 6), (math.nan, 1)) == 4
    assert left((1.0, 4), (math.nan, 1), (2.0, 1), (FAR, 5), (1.0, 1)) is None
    assert left((1.0, 5), (math.inf, 1)) == 5


# --- trials ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_not_finite_diverged_where_it_left(bad: float) -> None:
    result = run(scripted([1.0] * 4 + [FAR] * 7 + [bad] + [1.0] * 8))
    assert (result.status, result.diverged_at, result.steps[-1]) == ("diverged", 4, 6)
    back = run(scripted([1.0] * 4 + [FAR] * 2 + [1.0] * 4 + [bad] + [1.0] * 9))
    assert (back.status, back.diverged_at, back.steps[-1]) == ("diverged", 10, 12)


def test_a_bound_of_the_problem_wins() -> None:
    losses = [1.0] * 7 + [3.0] + [1.0] * 6 + [FAR] * 6
    assert run(scripted(losses)).diverged_at == 14
    assert run(scripted(losses, diverged_above=2.0)).diverged_at == 7
    assert run(scripted(losses, diverged_above=1e30)).status == "finished"


@pytest.mark.long
@pytest.mark.parametrize("evaluations", [1, 2, 4, 5, 20])
def test_the_step_does_not_depend_on_when_one_looks(evaluations: int) -> None:
    result = run(scripted([1.0] * 13 + [FAR] * 7), evaluations=evaluations)
    assert (result.status, result.diverged_at) == ("diverged", 13)
    assert result.steps[-1] == next(step for step in result.steps if step > 13), "the curve ends where it went wrong"
    assert result.validation == {} and result.evaluations.gradients == result.steps[-1]


def test_a_rung_is_judged_where_it_ends() -> None:
    problem = scripted([1.0] * 5 + [FAR] * 5 + [1.0] * 10)
    assert run(problem, until=4).diverged_at == 5
    assert run(problem, until=6).status == "finished" and run(problem).status == "finished"


def test_it_goes_before_early_stopping() -> None:
    # x rises for ever; what is watched falls behind, so that the trial stops early
    problem = replace(scripted([1.0] * 5 + [FAR] * 15), metrics={"x": Metric("lower")})
    result = run(problem, stopping=EarlyStopping(patience=4))
    assert (result.status, result.diverged_at) == ("diverged", 5)
    assert run(replace(problem, diverged_above=1e30), stopping=EarlyStopping(patience=4)).status == "stopped"


def test_lanes_are_judged_each_by_itself() -> None:
    # at rate 1 the steps walk through the script, at rate 0 they stay where it starts
    recipe = Recipe(optimizer=optimizers.get("sgd"), steps=STEPS, evaluations=10)
    program = compile_program(compile_problem(scripted([1.0] * 9 + [FAR] * 11), Lanes(2)), recipe)
    requests = [Request({"learning_rate": rate}, "final", 0) for rate in (1.0, 0.0)]
    moving, staying = train_trials(program, requests)
    assert (moving.status, moving.diverged_at) == ("diverged", 9)
    assert (staying.status, staying.diverged_at) == ("finished", None)


@pytest.mark.long
def test_the_players_of_a_game_are_judged_by_their_own_bound_alone() -> None:
    game = replace(catalog.get("bilinear-game"), diverged_above=None)
    result = bench.train(game, "sgd", steps=200, evaluations=100, learning_rate=0.45)
    assert result.status == "finished" and result.curve["training_loss"].max() > FAR


# --- least squares on real data --------------------------------------------------------------------------------------


def least_squares() -> tuple[Problem, np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Half the mean squared error on all of the diabetes data, standardized, from 0; and the data."""
    sklearn = pytest.importorskip("sklearn.datasets")
    x, y = sklearn.load_diabetes(return_X_y=True)
    x, y = (x - x.mean(axis=0)) / x.std(axis=0), (y - y.mean()) / y.std()
    arrays = {"inputs": x.astype(np.float32), "targets": y.astype(np.float32)}

    def error(params: Any, batch: Any) -> Any:
        return 0.5 * jnp.mean((batch["inputs"] @ params["w"] - batch["targets"]) ** 2)

    problem = Problem(
        name="least-squares",
        init=lambda key: ({"w": jnp.zeros(10)}, None),
        loss=lambda params, state, batch, key: (error(params, batch), state),
        evaluate=lambda params, state, batch: {"error": error(params, batch)},
        dataset=Dataset("diabetes", arrays, arrays, arrays),
        metrics={"error": Metric("lower", "log")},
        steps=2000,
    )
    return problem, x, y


@pytest.mark.slow
def test_gradient_descent_just_beyond_its_largest_rate() -> None:
    problem, x, y = least_squares()
    below, above = 0.49, 0.50
    assert below < 2 / np.linalg.eigvalsh(x.T @ x / len(x))[-1] < above

    weights, losses = np.zeros(10), []
    for _ in range(2000):
        residuals = x @ weights - y
        losses.append(0.5 * np.mean(residuals**2))
        weights = weights - above * x.T @ residuals / len(x)
    expected = int(np.argmax(np.array(losses) - losses[0] > GROWTH * losses[0]))
    assert losses[-1] > 1e15 * losses[0], "it grows slowly, and never comes to infinity"

    found = bench.train(problem, "sgd", learning_rate=above)
    assert found.status == "diverged" and found.diverged_at == pytest.approx(expected, abs=2) and found.test == {}
    assert bench.train(problem, "sgd", learning_rate=below).status == "finished"


@pytest.mark.parametrize("losses", [[math.inf, -math.inf], [math.nan, 1.0]])
def test_what_is_not_finite_is_an_outcome_and_no_warning(losses: list[float]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = run(scripted(losses * (STEPS // 2)))
    assert (result.status, result.diverged_at) == ("diverged", 0)
    assert np.isnan(result.curves["training_loss"][1])
