"""Functions that compute something else each time they are traced, and what they say on the way."""

import random
import time
import uuid
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dlkit import bench, models
from dlkit.bench.examination.purity import purity_ticks
from dlkit.bench.spec import planner

COUNTS = {"calls": 0}
GENERATOR = np.random.default_rng()


def drawn():
    return np.random.rand()  # noqa: NPY002


def counted():
    COUNTS["calls"] += 1
    return COUNTS["calls"]


@jax.jit
def compiled(value):
    return value * np.random.rand()  # noqa: NPY002


def bowl(factor=lambda: 1.0, *, inside=lambda value: value, evaluated=lambda: 1.0):
    def loss(params, state, batch, key):
        return inside(factor() * jnp.sum(params["w"] ** 2)), state

    return bench.Problem(
        name="bowl",
        init=lambda key: ({"w": jax.random.normal(key, (2,))}, None),
        loss=loss,
        evaluate=lambda params, state, batch: {"m": evaluated() * jnp.sum(params["w"] ** 2)},
        dataset=bench.Dataset("none", {}, {}, {}),
        metrics={"m": bench.Metric("lower")},
        steps=40,
    )


def ticks_of(problem, *optimizers):
    experiment = bench.Experiment(
        name="x",
        problems=(bench.ProblemChoice(problem=problem),),
        optimizers=tuple(bench.Contender(optimizer=each) for each in (*optimizers, "sgd")),
        budget=bench.Budget(steps=40, tuning_points=1, evaluations=2),
    )
    return list(purity_ticks(planner.plan(experiment)))


def mine(build):
    return bench.Optimizer("mine", build, {"learning_rate": bench.log_uniform(1e-3, 0.1)})


IMPURE = {
    "numpy.random": (bowl(drawn), "numpy.random draws anew"),
    "a generator": (bowl(lambda: GENERATOR.normal()), "numpy.random draws anew"),
    "random": (bowl(lambda: random.random()), "random.random draws anew"),
    "random, by a function": (bowl(lambda: random.uniform(1, 2)), "random.uniform draws anew"),
    "time": (bowl(lambda: time.time() % 1), "time.time draws anew"),
    "uuid": (bowl(lambda: uuid.uuid4().int % 1000), "uuid.uuid4 draws anew"),
    "a counter": (bowl(counted), "such as a counter or a global"),
    "inside of jit": (bowl(inside=compiled), "numpy.random draws anew"),
    "in a metric": (bowl(evaluated=drawn), "numpy.random draws anew"),
}


@pytest.mark.parametrize("kind", IMPURE)
def test_what_computes_something_else_each_time_is_named_with_its_line(kind) -> None:
    problem, words = IMPURE[kind]
    (wrong,) = [tick for tick in ticks_of(problem) if tick.right is False]
    assert words in wrong.text and wrong.owner == "problem 'bowl'" and "jax.random" in wrong.remedy
    assert "test_purity.py:" in wrong.place


def test_the_line_is_that_of_the_call() -> None:
    (wrong,) = [tick for tick in ticks_of(IMPURE["numpy.random"][0]) if tick.right is False]
    assert wrong.place.endswith(f":{drawn.__code__.co_firstlineno + 1}")


def test_optimizers_are_traced_twice_too() -> None:
    noisy = mine(lambda learning_rate: optax.sgd(learning_rate * drawn()))
    (wrong,) = [tick for tick in ticks_of("quadratic", noisy) if tick.right is False]
    assert wrong.owner == "optimizer 'mine'" and "test_purity.py:" in wrong.place


def test_a_function_that_makes_other_data_each_time_is_told() -> None:
    def table(seed: int = 0):
        points = GENERATOR.normal(size=(40, 2)).astype(np.float32)
        dataset = bench.split("table", {"inputs": points, "targets": points[:, 0]})
        return bench.problems.regression("table", models.mlp((1,)), dataset, batch_size=8, steps=40)

    wrong = [tick for tick in ticks_of(table) if tick.right is False and tick.subject == "same data"]
    assert len(wrong) == 1 and "other data each time" in wrong[0].text and "test_purity.py:" in wrong[0].place


def test_what_is_seeded_or_drawn_with_a_key_is_right() -> None:
    def keyed(params, state, batch, key):
        return jax.random.uniform(key) * jnp.sum(params["w"] ** 2), state

    seeded = bowl(lambda: np.random.default_rng(3).normal())
    for problem in (bowl(), seeded):
        assert not any(tick.right is False for tick in ticks_of(problem, mine(optax.sgd)))


def test_warnings_and_prints_are_noted_with_their_lines() -> None:
    def chatty():
        warnings.warn("mind the step", stacklevel=1)
        print("traced")
        return 1.0

    with pytest.warns(UserWarning, match="mind the step"):
        notes = [tick for tick in ticks_of(bowl(chatty)) if tick.right is None]
    first = chatty.__code__.co_firstlineno
    assert [(note.text, note.place.rpartition(":")[2]) for note in notes] == [
        ("your code prints while it is traced: traced", str(first + 2)),
        ("your code warns: mind the step", str(first + 1)),
    ]
