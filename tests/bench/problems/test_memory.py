"""The adding problem: a gated cell remembers what a plain one forgets."""

import pytest

from dlkit.bench import optimizers
from dlkit.bench.problems import catalog
from dlkit.bench.training.curve import Trajectory
from dlkit.bench.training.program import compile_problem, compile_program
from dlkit.bench.training.recipe import Recipe
from dlkit.bench.training.trajectory import train_trial


def trained(rate: float, **choices: object) -> Trajectory:
    problem = catalog.get("adding", **choices)
    program = compile_program(
        compile_problem(problem), Recipe(optimizer=optimizers.get("adam"), steps=problem.steps, evaluations=20)
    )
    point = {"learning_rate": rate, "b1": 0.9, "b2": 0.999}
    return train_trial(program, point, stage="final", seed=0)


@pytest.mark.slow
def test_an_lstm_solves_the_adding_problem_of_length_30() -> None:
    assert trained(0.01, architecture="lstm", length=30).test["mean_squared_error"] < 0.0015


@pytest.mark.slow
@pytest.mark.parametrize("rate", [1e-3, 1e-2])
def test_a_plain_network_does_not_at_length_100(rate: float) -> None:
    curve = trained(rate, architecture="rnn", length=100).curves["mean_squared_error"]
    assert curve.min() > 0.15
