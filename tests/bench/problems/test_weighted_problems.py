"""Weights of examples, masks of sequences, several tasks, further metrics: against sums written out in NumPy."""

from typing import Any

import jax
import numpy as np
import optax
import pytest
from flax import linen

from dlkit import bench
from dlkit.typing import Array

RNG = np.random.default_rng(0)
CROSS_ENTROPY = optax.softmax_cross_entropy_with_integer_labels
EXAMPLES, TIME = 60, 5


def squared(predictions: Array, targets: Array) -> Array:
    return (predictions - targets) ** 2


def correct(predictions: Array, targets: Array) -> Array:
    return predictions.argmax(axis=-1) == targets


class Line(linen.Module):
    @linen.compact
    def __call__(self, x: Array) -> Array:
        return linen.Dense(1)(x)[..., 0]


class Steps(linen.Module):
    @linen.compact
    def __call__(self, x: Array) -> Array:
        return linen.Dense(3)(x)


class TwoTasks(linen.Module):
    @linen.compact
    def __call__(self, x: Array) -> dict[str, Array]:
        return {"kind": linen.Dense(3)(x), "size": linen.Dense(1)(x)[:, 0]}


def affine(params: Any, x: np.ndarray, layer: str = "Dense_0") -> np.ndarray:
    kernel, bias = (np.asarray(params[layer][name], np.float64) for name in ("kernel", "bias"))
    return x.astype(np.float64) @ kernel + bias


def log_loss(logits: np.ndarray, targets: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return np.log(np.exp(shifted).sum(axis=-1)) - np.take_along_axis(shifted, targets[..., None], axis=-1)[..., 0]


def scores(problem: bench.Problem, split: str) -> tuple[Any, float, dict[str, float]]:
    """Initial parameters, the loss of a split taken as one batch, and its metrics."""
    batch = getattr(problem.dataset, split)

    @jax.jit
    def start(key: Array) -> Any:
        params, state = problem.init(key)
        return params, problem.loss(params, state, batch, key)[0], problem.evaluate(params, state, batch)

    params, loss, found = start(jax.random.key(0))
    return params, float(loss), {name: float(value) for name, value in found.items()}


def weighted_data(**changes: Any) -> bench.Dataset:
    weights = RNG.exponential(size=EXAMPLES).astype(np.float32)
    weights[::3] = 0.0
    arrays = {
        "inputs": RNG.normal(size=(EXAMPLES, 4)).astype(np.float32),
        "targets": RNG.normal(size=EXAMPLES).astype(np.float32),
        "weights": weights,
    }
    return bench.split("weighted", {**arrays, **changes})


@pytest.mark.long
@pytest.mark.parametrize("split", ["train", "validation"])
def test_examples_are_weighted(split: str) -> None:
    data = weighted_data()
    problem = bench.problem_from_flax(Line(), data, squared, weights="weights", batch_size=8)
    params, loss, found = scores(problem, split)
    arrays = getattr(data, split)
    errors = (affine(params, arrays["inputs"])[:, 0] - arrays["targets"]) ** 2
    assert loss == pytest.approx((arrays["weights"] * errors).sum() / arrays["weights"].sum(), rel=1e-5)
    assert found["loss"] == pytest.approx(loss, rel=1e-6)
    assert loss != pytest.approx(errors.mean(), rel=1e-2)


def test_what_has_no_weight_has_no_influence() -> None:
    data = weighted_data()
    huge = {
        **data.train,
        "targets": np.where(data.train["weights"] == 0, 1e30, data.train["targets"]).astype(np.float32),
    }
    problem = bench.problem_from_flax(Line(), data, squared, weights="weights", batch_size=8)
    params, state = problem.init(jax.random.key(0))
    slope = jax.jit(jax.value_and_grad(lambda params, batch: problem.loss(params, state, batch, jax.random.key(0))[0]))
    (_, own), (_, other) = (slope(params, batch) for batch in (data.train, huge))
    jax.tree.map(np.testing.assert_array_equal, own, other)
    loss, gradient = slope(params, {**data.train, "weights": np.zeros_like(data.train["weights"])})
    assert loss == 0 and all((leaf == 0).all() for leaf in jax.tree.leaves(gradient))


@pytest.mark.long
def test_steps_of_sequences_are_masked() -> None:
    lengths = RNG.integers(1, TIME + 1, size=EXAMPLES)
    mask = np.arange(TIME)[None] < lengths[:, None]
    inputs = RNG.normal(size=(EXAMPLES, TIME, 4)).astype(np.float32)
    targets = RNG.integers(3, size=(EXAMPLES, TIME)).astype(np.int32)
    data = bench.split("padded", {"inputs": inputs, "targets": targets, "mask": mask})
    metrics = {"accuracy": (correct, bench.Metric("higher")), "cross_entropy": (CROSS_ENTROPY, bench.Metric())}
    problem = bench.problem_from_flax(Steps(), data, CROSS_ENTROPY, metrics=metrics, weights="mask", batch_size=8)
    params, loss, found = scores(problem, "validation")
    arrays = data.validation
    logits, counted = affine(params, arrays["inputs"]), arrays["mask"]
    expected = log_loss(logits, arrays["targets"])[counted].mean()  # over all steps that count, not of each sequence
    assert loss == pytest.approx(expected, rel=1e-5)
    assert found["cross_entropy"] == pytest.approx(expected, rel=1e-5)
    assert found["accuracy"] == pytest.approx((logits.argmax(-1) == arrays["targets"])[counted].mean(), rel=1e-6)


def two_tasks(**options: Any) -> bench.Problem:
    arrays = {
        "inputs": RNG.normal(size=(EXAMPLES, 4)).astype(np.float32),
        "kind": RNG.integers(3, size=EXAMPLES).astype(np.int32),
        "size": RNG.normal(size=EXAMPLES).astype(np.float32),
    }
    return bench.problem_from_flax(
        TwoTasks(),
        bench.split("two tasks", arrays),
        lambda p, t: CROSS_ENTROPY(p["kind"], t["kind"]) + 0.5 * squared(p["size"], t["size"]),
        metrics={
            "accuracy": (lambda p, t: correct(p["kind"], t["kind"]), bench.Metric("higher")),
            "squared_error": (lambda p, t: squared(p["size"], t["size"]), bench.Metric("lower", "log")),
        },
        **{"targets": ("kind", "size"), "batch_size": 8, **options},
    )


@pytest.mark.long
def test_several_tasks_have_one_loss_and_metrics_of_their_own() -> None:
    problem = two_tasks()
    params, loss, found = scores(problem, "test")
    arrays = problem.dataset.test
    logits, sizes = affine(params, arrays["inputs"]), affine(params, arrays["inputs"], "Dense_1")[:, 0]
    errors = (sizes - arrays["size"]) ** 2
    assert loss == pytest.approx((log_loss(logits, arrays["kind"]) + 0.5 * errors).mean(), rel=1e-5)
    assert found["squared_error"] == pytest.approx(errors.mean(), rel=1e-5)
    assert found["accuracy"] == pytest.approx((logits.argmax(-1) == arrays["kind"]).mean(), rel=1e-6)
    assert problem.metric == "accuracy"


@pytest.mark.long
def test_plain_functions_weigh_as_they_are_written() -> None:
    """The same as a problem of functions, trained: the curve's points are weighted means over the whole split."""
    data = weighted_data()

    def error(params: Any, batch: Any) -> Array:
        values = squared(batch["inputs"] @ params, batch["targets"])
        return (batch["weights"] * values).sum() / batch["weights"].sum()

    problem = bench.Problem(
        name="weighted",
        init=lambda key: (jax.random.normal(key, 4), None),
        loss=lambda params, state, batch, key: (error(params, batch), state),
        evaluate=lambda params, state, batch: {"error": error(params, batch), "largest": abs(params).max()},
        metrics={"error": bench.Metric("lower")},
        dataset=data,
        batch_size=8,
        steps=4,
    )
    trained = bench.train(problem, "sgd", evaluations=2, learning_rate=0.05)
    ends = ("validation", trained.validation), ("test", trained.test), ("test", trained.curve.iloc[-1])
    for split, found in ((split, each["error"]) for split, each in ends):
        arrays = getattr(data, split)
        errors = (arrays["inputs"] @ np.asarray(trained.params, np.float64) - arrays["targets"]) ** 2
        assert found == pytest.approx((arrays["weights"] * errors).sum() / arrays["weights"].sum(), rel=1e-5)
    assert trained.test["largest"] == pytest.approx(np.abs(np.asarray(trained.params)).max())


WRONG = {
    "missing": ({"weights": "weight"}, {}, "its dataset needs 'inputs' and 'targets' and 'weight', but has"),
    "negative": ({}, {"weights": -np.ones(EXAMPLES)}, "weights 'weights' of split 'train' must be at least 0.*got -1"),
    "zero": (
        {},
        {"weights": np.zeros(EXAMPLES)},
        "weights 'weights' of split 'train' must be at least 0 and not all 0",
    ),
    "shape": ({}, {"weights": np.ones((EXAMPLES, 3))}, r"the loss: expected a value for each of the weights \(8, 3\)"),
    "several": ({"targets": ("targets", "other")}, {}, "its dataset needs 'inputs' and 'targets' and 'other' and"),
}


@pytest.mark.parametrize("case", WRONG)
def test_weights_that_do_not_fit_are_refused(case: str) -> None:
    options, changes, message = WRONG[case]
    with pytest.raises(bench.UserError, match=f"problem 'weighted': {message}"):
        make = {"weights": "weights", "batch_size": 8, **options}
        bench.problem_from_flax(Line(), weighted_data(**changes), squared, **make)


def test_weights_need_a_value_each() -> None:
    with pytest.raises(bench.UserError, match=r"the loss: expected a value for each .* not their mean"):
        data = weighted_data()
        bench.problem_from_flax(Line(), data, lambda p, t: squared(p, t).mean(), weights="weights", batch_size=8)
