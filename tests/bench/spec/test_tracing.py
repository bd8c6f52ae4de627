"""What of one's own functions is part of which hash."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlkit.bench import probes
from dlkit.bench.data import split
from dlkit.bench.identity.programs import ProgramHash
from dlkit.bench.optimizers import OPTIMIZERS
from dlkit.bench.plan.metric import Metric
from dlkit.bench.problems import Problem
from dlkit.bench.spec.budget import Budget
from dlkit.bench.spec.entries import Contender, Experiment, ProblemChoice
from dlkit.bench.spec.planner import plan
from dlkit.bench.spec.tracing import method_program, probes_program, problem_program
from dlkit.bench.training.recipe import Recipe

TABLE = split("table", {"inputs": np.arange(40.0).reshape(20, 2), "targets": np.arange(20.0)}, redraw=False)
WEIGHT = jnp.array([0.5, -1.0])


def curved(second):
    """A problem whose loss and gradient are the same for every factor, but not its Hessian."""
    slope = jax.custom_jvp(jnp.cos)
    slope.defjvp(lambda points, directions: (slope(*points), -second * jnp.sin(points[0]) * directions[0]))
    height = jax.custom_jvp(jnp.sin)
    height.defjvp(lambda points, directions: (height(*points), slope(points[0]) * directions[0]))

    def loss(params, state, batch, key):
        return jnp.mean(height(batch["inputs"] @ params["weight"] - batch["targets"])), state

    return Problem(
        name="own",
        init=lambda key: ({"weight": WEIGHT}, None),
        loss=loss,
        evaluate=lambda params, state, batch: {"error": loss(params, state, batch, None)[0]},
        dataset=TABLE,
        metrics={"error": Metric("lower")},
        batch_size=4,
        steps=40,
        target=1.0,
    )


FIRST, SECOND = curved(1.0), curved(3.0)


def of_problem(problem: Problem) -> ProgramHash:
    return problem_program(problem)


def of_method(name):
    return lambda problem: method_program(problem, Recipe(optimizer=OPTIMIZERS[name], steps=40, evaluations=2))


def of_probe(name):
    recipe = Recipe(optimizer=OPTIMIZERS["sgd"], steps=40, evaluations=2, probes=(probes.get(name),))
    return lambda problem: probes_program(problem, recipe)


def test_the_problems_differ_in_their_curvature_alone():
    @jax.jit
    def measured():
        losses = [
            lambda weight, loss=problem.loss: loss({"weight": weight}, None, TABLE.train, None)[0]
            for problem in (FIRST, SECOND)
        ]
        return [[of(loss)(WEIGHT) for loss in losses] for of in (lambda loss: loss, jax.grad, jax.hessian)]

    assert [bool(np.allclose(*pair)) for pair in measured()] == [True, True, False]


@pytest.mark.parametrize(
    ("program", "sees"),
    [
        (of_problem, True),  # whatever registered method or probe looks at its curvature
        (of_method("sophia"), True),  # their own programs show all that they look at
        (of_method("sgd"), False),
        (of_probe("sharpness"), True),
        (of_probe("gradient_norm"), False),
    ],
)
def test_a_rule_of_second_order_counts_where_it_may_be_used(program, sees):
    assert program(FIRST) == program(curved(1.0))
    assert (program(FIRST) != program(SECOND)) == sees


def test_trials_of_a_registered_method_that_looks_at_the_curvature_are_told_apart():
    first, second = (
        plan(
            Experiment(
                name="x",
                problems=(ProblemChoice(problem=problem),),
                optimizers=(Contender(optimizer="sophia", label="sophia"),),
                budget=Budget(tuning_points=2, tuning_seeds=1, seeds=1),
            )
        ).plan
        for problem in (FIRST, SECOND)
    )
    ids = [
        {trial.id for row in each.tuning_trials(each.problems[0], each.contenders[0]) for trial in row}
        for each in (first, second)
    ]
    assert ids[0].isdisjoint(ids[1])
