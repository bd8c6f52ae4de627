"""Evaluations in chunks: the same numbers, only where it pays, and what evaluations cost beside training."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlkit import layers
from dlkit.bench.data.base import Dataset
from dlkit.bench.problems import Problem, classification, get
from dlkit.bench.problems.base import are_means
from dlkit.bench.problems.evaluation import evaluation_share, in_chunks

RNG = np.random.default_rng(0)


def splits(examples: int) -> dict[str, np.ndarray]:
    """Examples of 8 features in 3 classes."""
    return {"inputs": RNG.normal(size=(examples, 8)).astype(np.float32), "targets": RNG.integers(0, 3, examples)}


def problem(units: int, held_out: int = 300) -> Problem:
    """A classification with one hidden layer."""
    model = layers.serial(layers.dense(units), layers.dense(3))
    dataset = Dataset("made up", splits(400), splits(held_out), splits(held_out))
    return classification("made-up", model, dataset, batch_size=20, steps=100)


def loops_of(of: Problem) -> int:
    """How many loops an evaluation on validation has."""
    start = jax.eval_shape(of.init, jax.random.key(0))
    return str(jax.make_jaxpr(of.evaluate)(*start, dict(of.dataset.validation))).count("scan[")


def test_chunks_change_no_metric() -> None:
    whole = problem(units=900)
    chunked = in_chunks(whole)
    assert are_means(chunked)
    assert (loops_of(whole), loops_of(chunked)) == (0, 1)
    params, state = whole.init(jax.random.key(0))
    batch = {name: jnp.asarray(array) for name, array in whole.dataset.validation.items()}
    assert whole.example_scores is not None
    assert chunked.example_scores is not None
    one, many = (jax.jit(of.example_scores)(params, state, batch) for of in (whole, chunked))
    for name, scores in one.items():
        assert many[name].shape == (300,)
        np.testing.assert_allclose(many[name], scores, rtol=2e-6, atol=1e-7)
        # one sum over the whole split, in the order of its examples
        np.testing.assert_array_equal(chunked.evaluate(params, state, batch)[name], many[name].mean())
    np.testing.assert_array_equal(many["accuracy"], one["accuracy"])


@pytest.mark.parametrize(("units", "held_out"), [(64, 300), (8192, 64)])
def test_a_small_network_or_a_single_chunk_is_evaluated_at_once(units: int, held_out: int) -> None:
    assert loops_of(in_chunks(problem(units, held_out))) == 0


def test_a_metric_that_is_no_mean_is_refused() -> None:
    of = problem(8)
    with pytest.raises(ValueError, match="'made-up': expected metrics that are the means"):
        in_chunks(replace(of, evaluate=lambda params, state, batch: {"accuracy": 0.0, "cross_entropy": 0.0}))


def test_the_share_of_evaluations_by_examples() -> None:
    of = problem(8)  # 10 evaluations of 300 examples, 100 steps of 20 whose examples count three times
    assert evaluation_share(of, 10) == pytest.approx(3000 / (3000 + 6000))
    assert evaluation_share(get("rosenbrock"), 20) == pytest.approx(20 / (20 + 3 * get("rosenbrock").steps))
