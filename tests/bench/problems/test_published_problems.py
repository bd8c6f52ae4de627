"""Published protocols, written with the bench and by NumPy alone."""

import ast
import math
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.datasets import load_diabetes

from dlkit import bench
from dlkit.bench.machine.preparation import prepare_process
from dlkit.bench.spec.toml import load
from dlkit.bench.tuning.targets import ending

FOLDER = Path(__file__).parents[3] / "experiments" / "quadratic_deep"
INLINE = bench.Resources(executor="inline")


# --- a quadratic of 100 dimensions, most of them flat, on a fixed order of a fixed set of draws ----------------------


def test_the_deep_quadratic_takes_25_lines() -> None:
    tree = ast.parse((FOLDER / "problem.py").read_text(encoding="utf-8"))
    (function,) = (node for node in tree.body if isinstance(node, ast.FunctionDef))
    assert function.end_lineno is not None and function.end_lineno - function.lineno + 1 <= 25
    assert "order" in (FOLDER / "spec.toml").read_text(encoding="utf-8")


@pytest.mark.long
def test_the_deep_quadratic_is_the_published_one_and_goes_through_its_draws_in_one_order() -> None:
    (entry,) = load(FOLDER / "spec.toml").problems
    problem = entry.load()
    theta = jnp.asarray(np.random.default_rng(0).normal(size=100), jnp.float32)
    hessian = np.asarray(jax.hessian(lambda x: problem.loss(x, None, some(problem), None)[0])(theta), np.float64)
    eigenvalues = np.linalg.eigvalsh(hessian)
    assert ((eigenvalues[:90] > 0) & (eigenvalues[:90] < 1)).all()
    assert ((eigenvalues[90:] > 30) & (eigenvalues[90:] < 60)).all()
    assert np.abs(hessian - np.diag(np.diag(hessian))).max() > 1, "rotated"
    assert (problem.order, problem.batch_size) == ("fixed", 128)

    # Batch after batch of one permutation, 7 of 128 an epoch: x' = x - r H (x - mean of the batch)
    words = np.array([zlib.crc32(b"quadratic-deep") << 32 | 1, 0], np.uint64)
    permutation = np.random.Generator(np.random.Philox(key=words)).permutation(1000)[: 7 * 128].reshape(7, 128)
    draws = np.asarray(problem.dataset.train["x"], np.float64)
    x = np.ones(100)
    for step in range(21):
        x = x - 0.02 * hessian @ (x - draws[permutation[step % 7]].mean(axis=0))
    trained = bench.train(problem, "sgd", learning_rate=0.02, steps=21, evaluations=3)
    np.testing.assert_allclose(trained.params, x, atol=1e-4)
    expected = 0.5 * np.mean(np.sum((x - draws) @ hessian * (x - draws), axis=1))
    assert trained.curve["loss"].iloc[-1] == pytest.approx(expected, rel=1e-4)


def some(problem: bench.Problem) -> dict[str, Any]:
    return {name: jnp.asarray(array[:8]) for name, array in problem.dataset.train.items()}


# --- gradient descent on least squares, to the step -----------------------------------------------------------------

GAPS = (1e-1, 1e-2, 1e-3, 1e-4, 1e-6)
STEPS = {"1/L": (3, 10, 467, 1008, 2089), "0.1": (7, 26, 1160, 2505, 5193)}


def standardized_diabetes() -> dict[str, np.ndarray[Any, Any]]:
    inputs, targets = load_diabetes(return_X_y=True)
    inputs = (inputs - inputs.mean(axis=0)) / inputs.std(axis=0)
    return {"inputs": inputs, "targets": (targets - targets.mean()) / targets.std()}


def steps_by_numpy(inputs: Any, targets: Any, rate: float, goals: Sequence[float]) -> tuple[int, ...]:
    """The first steps whose gap to the minimum is at most a share of the start's."""
    best = np.linalg.lstsq(inputs, targets, rcond=None)[0]
    w, found = np.zeros(inputs.shape[1]), []
    lowest = 0.5 * np.mean((inputs @ best - targets) ** 2)
    start = 0.5 * np.mean(targets**2) - lowest
    for step in range(1, 6001):
        w = w - rate * inputs.T @ (inputs @ w - targets) / len(targets)
        gap = (0.5 * np.mean((inputs @ w - targets) ** 2) - lowest) / start
        while len(found) < len(goals) and gap <= goals[len(found)]:
            found.append(step)
    return tuple(found)


def ordinary_least_squares() -> tuple[bench.Problem, float]:
    """The problem whose metric is the gap's share of the start's; and the largest eigenvalue L of the Hessian."""
    arrays = standardized_diabetes()
    hessian = arrays["inputs"].T @ arrays["inputs"] / len(arrays["targets"])
    best = np.linalg.lstsq(arrays["inputs"], arrays["targets"], rcond=None)[0]
    start = best @ hessian @ best

    def loss(w: Any, state: Any, batch: Any, key: Any) -> Any:
        return 0.5 * jnp.mean((batch["inputs"] @ w - batch["targets"]) ** 2), state

    def evaluate(w: Any, state: Any, batch: Any) -> Any:
        return {"gap": (w - best) @ (hessian @ (w - best)) / start}

    problem = bench.Problem(
        name="ordinary-least-squares",
        init=lambda key: (jnp.zeros(10), None),
        loss=loss,
        evaluate=evaluate,
        dataset=bench.Dataset("diabetes", arrays, arrays, arrays),
        metrics={"gap": bench.Metric("lower", "log")},
        steps=5200,
    )
    return problem, float(np.linalg.eigvalsh(hessian)[-1])


@pytest.mark.long
def test_gradient_descent_on_diabetes_takes_as_many_steps_as_by_numpy() -> None:
    prepare_process()
    with jax.enable_x64(True):
        problem, largest = ordinary_least_squares()
        rates = {"1/L": 1 / largest, "0.1": 0.1}
        arrays = standardized_diabetes()
        assert {name: steps_by_numpy(**arrays, rate=rate, goals=GAPS) for name, rate in rates.items()} == STEPS
        result = bench.compare(
            problems=[bench.ProblemChoice(problem=problem, target=GAPS)],
            optimizers=[
                bench.Contender(optimizer="sgd", label=name, space={"learning_rate": rate})
                for name, rate in rates.items()
            ],
            budget=bench.Budget(evaluations=5200, studies=1, tuning_points=1, tuning_seeds=1, seeds=2),
            resources=INLINE,
            progress=False,
        )
    assert not result.failures
    (comparison,) = result.summary.comparisons
    for contender in comparison.results:
        for outcome in contender.outcomes:
            assert outcome is not None
            found = [ending(comparison.problem, outcome, gap).step for gap in GAPS]
            assert tuple(found) == STEPS[contender.label]
    hardest = result.trials().query("stage == 'final'")
    found_last = dict(zip(hardest["optimizer"], hardest["outcome_step"], strict=True))
    assert found_last == {name: steps[-1] for name, steps in STEPS.items()}


@pytest.mark.long
def test_a_trial_by_hand_counts_the_same_steps() -> None:
    prepare_process()
    with jax.enable_x64(True):
        problem, _ = ordinary_least_squares()
        curve = bench.train(problem, "sgd", learning_rate=0.1, steps=1200, evaluations=1200).curve
    found = [int(curve["step"][(curve["gap"] <= gap).idxmax()]) for gap in GAPS[:3]]
    assert tuple(found) == STEPS["0.1"][:3]
    assert math.isclose(curve["gap"][0], 1.0)
