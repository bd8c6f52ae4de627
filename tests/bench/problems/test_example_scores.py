"""Scores per example: whose mean a metric is, for the catalogue and the frameworks, and what is refused."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen

from dlkit import bench
from dlkit.bench.problems import check_problem, get
from dlkit.bench.problems.base import are_means
from dlkit.bench.training.fast_products import of_products

RNG = np.random.default_rng(0)
INPUTS = RNG.normal(size=(60, 3)).astype(np.float32)
TARGETS = (INPUTS[:, 0] > 0).astype(np.int32)
DATA = bench.split("points", {"inputs": INPUTS, "targets": TARGETS, "weight": np.ones(60, np.float32)})
CROSS_ENTROPY = optax.softmax_cross_entropy_with_integer_labels


def accuracy(logits: Any, targets: Any) -> Any:
    return logits.argmax(axis=-1) == targets


def scores_of(problem: bench.Problem, split: Mapping[str, Any]) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Its scores per example and its metrics, at random parameters."""
    assert problem.example_scores is not None
    start, batch = problem.init(jax.random.key(3)), {name: jnp.asarray(array) for name, array in split.items()}
    return problem.example_scores(*start, batch), problem.evaluate(*start, batch)


@pytest.mark.parametrize(
    "name",
    [
        "diabetes-quantile",
        pytest.param("wine-mlp", marks=pytest.mark.long),
        pytest.param("diabetes-linear", marks=pytest.mark.long),
        pytest.param("digits-autoencoder", marks=pytest.mark.long),
        pytest.param("text-lstm", marks=pytest.mark.long),
    ],
)
def test_metrics_of_the_catalogue_are_means_over_examples(name: str) -> None:
    problem = get(name)
    scores, metrics = scores_of(problem, problem.dataset.validation)
    count = len(problem.dataset.validation["inputs"])
    assert set(scores) == set(metrics) == set(problem.metrics)
    for metric, values in scores.items():
        assert values.shape == (count,) and values.dtype == jnp.float32
        assert np.asarray(values, np.float64).mean() == pytest.approx(float(metrics[metric]), rel=1e-5)


@pytest.mark.long
def test_an_accuracy_is_the_mean_of_hits() -> None:
    """By hand: whether the largest output is that of the label, example by example."""
    problem = get("wine-mlp")
    split = problem.dataset.validation
    scores, metrics = scores_of(problem, split)
    hits = np.array(scores["accuracy"])
    assert set(np.unique(hits)) == {0.0, 1.0}
    assert float(metrics["accuracy"]) == pytest.approx(hits.sum() / len(hits))
    alone = [scores_of(problem, {name: array[[k]] for name, array in split.items()})[1] for k in range(5)]
    assert [each["accuracy"] for each in alone] == hits[:5].tolist()


@pytest.mark.long
def test_an_example_of_a_sequence_has_the_mean_of_its_steps() -> None:
    steps = bench.split(
        "steps", {"inputs": RNG.normal(size=(40, 5, 3)).astype(np.float32), "targets": np.ones((40, 5))}
    )
    problem = bench.problem_from_flax(linen.Dense(1, use_bias=False), steps, lambda p, t: (p[..., 0] - t) ** 2)
    scores, metrics = scores_of(problem, steps.validation)
    params, _ = problem.init(jax.random.key(3))
    errors = np.square(steps.validation["inputs"] @ np.asarray(params["kernel"]) - 1)[..., 0]
    assert scores["loss"] == pytest.approx(errors.mean(axis=1), rel=1e-5)
    assert float(metrics["loss"]) == pytest.approx(errors.mean(), rel=1e-5)


def of_flax(**options: Any) -> bench.Problem:
    return bench.problem_from_flax(linen.Dense(2), DATA, CROSS_ENTROPY, **options)


@pytest.mark.long
def test_metrics_of_a_framework_that_are_means_have_scores() -> None:
    higher = bench.Metric("higher")
    both = of_flax(metrics={"accuracy": (accuracy, higher), "loss": (CROSS_ENTROPY, bench.Metric())})
    scores, metrics = scores_of(both, DATA.validation)
    assert are_means(both) and set(scores) == {"accuracy", "loss"}
    assert float(scores["loss"].mean()) == pytest.approx(float(metrics["loss"]))
    # One number of all examples is no mean; neither is one number a class, whatever the number of examples.
    one = of_flax(
        metrics={"accuracy": (accuracy, higher), "worst": (lambda p, t: CROSS_ENTROPY(p, t).max(), bench.Metric())}
    )
    assert set(scores_of(one, DATA.validation)[0]) == {"accuracy"} and not are_means(one)
    check_problem(one)
    spread = of_flax(metrics={"spread": (lambda p, t: p.std(axis=0), bench.Metric())})
    assert spread.example_scores is None
    assert of_flax(weights="weight").example_scores is None


@pytest.mark.long
def test_small_convolutions_are_rewritten_in_scores_too() -> None:
    images = bench.split(
        "images", {"inputs": RNG.normal(size=(40, 4, 4, 2)).astype(np.float32), "targets": np.ones(40, int)}
    )

    class Net(linen.Module):
        @linen.compact
        def __call__(self, x: Any) -> Any:
            return linen.Conv(3, (3, 3))(x).mean(axis=(1, 2))

    problem = bench.problem_from_flax(Net(), images, CROSS_ENTROPY)
    fast = of_products(problem)
    assert fast.example_scores is not None and problem.example_scores is not None
    start = problem.init(jax.random.key(0))
    few = {name: array[:3] for name, array in images.validation.items()}  # of many, XLA's own kernel is faster
    before, after = (str(jax.make_jaxpr(each.example_scores)(*start, few)) for each in (problem, fast))
    assert "conv_general_dilated[" in before and "dot_general[" not in before and "dot_general[" in after
    expected, found = (np.asarray(each.example_scores(*start, few)["loss"]) for each in (problem, fast))
    assert found == pytest.approx(expected, rel=1e-4)


# --- one's own -------------------------------------------------------------------------------------------------------


def init(key: Any) -> Any:
    return {"w": jax.random.normal(key, (3,))}, None


def errors(params: Any, state: Any, batch: Any) -> Any:
    return {"error": jnp.abs(batch["inputs"] @ params["w"] - batch["targets"])}


def own(**options: Any) -> bench.Problem:
    def loss(params: Any, state: Any, batch: Any, key: Any) -> Any:
        return errors(params, state, batch)["error"].mean(), state

    given = {"example_scores": errors, **options}
    return bench.Problem(name="own", init=init, loss=loss, dataset=DATA, metrics={"error": bench.Metric()}, **given)


def test_without_evaluate_metrics_are_the_means_of_the_scores() -> None:
    problem = own()
    scores, metrics = scores_of(problem, DATA.train)
    assert metrics == {"error": scores["error"].mean()} and are_means(problem)
    check_problem(problem)
    assert are_means(problem.variant(steps=7))


def test_a_metric_that_is_the_mean_of_its_scores_may_be_written_again() -> None:
    check_problem(own(evaluate=lambda *trial: {"error": jnp.mean(errors(*trial)["error"]), "other": jnp.float32(1)}))


FAILURES: dict[str, tuple[dict[str, Any], str]] = {
    "nothing": ({"example_scores": None}, "problem 'own': needs evaluate, or example_scores whose means it is"),
    "another mean": (
        {"evaluate": lambda *trial: {"error": 2 * errors(*trial)["error"].mean()}},
        r"metric 'error' of 8 examples is [\d.]+, but its example_scores have the mean [\d.]+; leave out evaluate",
    ),
    "one number": (
        {"example_scores": lambda *trial: {"error": errors(*trial)["error"].mean()}},
        r"one number for each of the 12 examples, got shape \(\)",
    ),
    "one an element": (
        {"example_scores": lambda params, state, batch: {"error": batch["inputs"]}},
        r"one number for each of the 12 examples, got shape \(12, 3\)",
    ),
    "another name": (
        {"example_scores": lambda *trial: {**errors(*trial), "loss": errors(*trial)["error"]}},
        r"example_scores has 'loss', which is no metric of it: \['error'\]",
    ),
    "no dictionary": (
        {"example_scores": lambda *trial: errors(*trial)["error"]},
        r"must return \{metric: \[examples\]\}",
    ),
    "an error": (
        {"example_scores": lambda params, state, batch: batch["none"]},
        "example_scores raised KeyError: 'none'",
    ),
}


@pytest.mark.parametrize("case", FAILURES)
def test_mistakes_are_named(case: str) -> None:
    options, message = FAILURES[case]
    whole = {"evaluate": lambda *trial: {"error": errors(*trial)["error"].mean()}} if case != "nothing" else {}
    with pytest.raises(bench.UserError, match=message):
        check_problem(own(**{**whole, **options}))
