"""Problems as functions of their choices: what is checked, how choices are carried out, and traced penalties."""

from dataclasses import replace
from typing import Any

import cloudpickle
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlkit.bench import data, optimizers
from dlkit.bench.errors import UserError
from dlkit.bench.plan.metric import Metric
from dlkit.bench.plan.space import Range
from dlkit.bench.problems import Problem, ProblemFactory, catalog
from dlkit.bench.problems.factories import KEPT
from dlkit.bench.training.curve import Trajectory
from dlkit.bench.training.program import compile_problem, compile_program
from dlkit.bench.training.recipe import Recipe
from dlkit.bench.training.trajectory import train_trial
from dlkit.typing import Scalar

LINES = data.split(
    "lines",
    {
        "inputs": np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32),
        "targets": np.random.default_rng(1).normal(size=60).astype(np.float32),
    },
)
made = []


def lines(
    *, l2: Scalar = 0.0, power: int = 2, kind: str = "mean", centred: bool = False, start: Any = None, path: str = "x"
) -> Problem:
    if power < 1:
        raise ValueError(f"power must be at least 1, got {power}")
    made.append(power)

    def init(key: Any) -> Any:
        return {"weight": jax.random.normal(key, (3,))}, None

    def error(params: Any, batch: Any) -> Any:
        return (jnp.abs(batch["inputs"] @ params["weight"] - batch["targets"]) ** power).mean()

    def loss(params: Any, state: Any, batch: Any, key: Any) -> Any:
        return error(params, batch) + l2 * (params["weight"] ** 2).sum(), state

    def evaluate(params: Any, state: Any, batch: Any) -> Any:
        return {"error": error(params, batch)}

    return Problem(
        name="lines",
        init=init,
        loss=loss,
        evaluate=evaluate,
        dataset=LINES,
        metrics={"error": Metric()},
        batch_size=6,
        steps=20,
    )


MAKER = ProblemFactory("lines", lines)


def test_the_same_choices_give_the_same_problem() -> None:
    assert MAKER.tunable == ("l2",)
    before = len(made)
    assert MAKER.make(power=3) is MAKER.make(power=3, l2=0)
    assert len(made) == before + 1
    assert ProblemFactory("lines", lines).make(power=3) is not MAKER.make(power=3), "a run makes its own"
    assert catalog.get("quadratic", condition=3) is catalog.get("quadratic", condition=3.0)
    first = MAKER.make(power=3)
    for power in range(4, 4 + KEPT):
        MAKER.make(power=power)
    assert MAKER.make(power=3) is not first and len(MAKER._made) == KEPT
    assert not cloudpickle.loads(cloudpickle.dumps(MAKER))._made, "what was made stays in its process"
    assert MAKER.make() is not MAKER.make(power=3)
    assert MAKER.all_choices({"l2": 1}) == {"l2": 1.0, "power": 2, "kind": "mean", "centred": False, "path": "x"}
    assert isinstance(MAKER.all_choices({"l2": 1})["l2"], float)


def test_choices_are_carried_out_by_what_they_are() -> None:
    choices = {"l2": [1e-4, 1e-2], "power": 3, "kind": ["mean", "sum"], "centred": True}
    assert MAKER.chosen(choices, ["l2"]) == (
        chosen := MAKER.chosen({**choices, "l2": (1e-4, 1e-2, "log")}, MAKER.tunable)
    )
    assert chosen.space == {"l2": Range(1e-4, 1e-2, "log")}
    assert chosen.static == {"kind": ["mean", "sum"]} and chosen.fixed == {"power": 3, "centred": True}
    assert MAKER.chosen({"l2": 0.1}, ["l2"]).space == {"l2": 0.1}  # traced: one program for all strengths
    assert MAKER.chosen({"l2": 0}, ["l2"]).fixed == {"l2": 0.0}  # no penalty at all, so none is computed
    assert MAKER.chosen({"l2": 0.1}, []).fixed == {"l2": 0.1}  # where another problem cannot trace it
    assert MAKER.chosen({"l2": [0, 0.1]}, ["l2"]).space == {"l2": Range(0, 0.1, "linear")}
    assert MAKER.chosen({"l2": [0, 0.1, 1]}, []).static == {"l2": [0.0, 0.1, 1.0]}


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"powr": 2}, "problem 'lines': no choice 'powr'; did you mean 'power'?"),
        ({"power": 2.5}, "problem 'lines': choice 'power' must be a whole number, got 2.5"),
        ({"power": [2, "3"]}, "problem 'lines': choice 'power' must be a whole number, got '3'"),
        ({"power": []}, r"problem 'lines': choice 'power' needs at least one value, got \[\]"),
        ({"l2": "much"}, "problem 'lines': choice 'l2' must be a finite number, got 'much'"),
        ({"l2": [1, 0]}, r"problem 'lines', choice 'l2': a range needs finite bounds, low < high, .*1.0, 0.0"),
        ({"kind": True}, "problem 'lines': choice 'kind' must be a text, got True"),
        ({"centred": 1}, "problem 'lines': choice 'centred' must be true or false, got 1"),
        ({"start": {}}, "problem 'lines': choice 'start' must be a number, a text, true or false, got {}"),
    ],
)
def test_mistakes_name_the_choice(choices: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        MAKER.chosen(choices, MAKER.tunable)


def test_what_a_function_refuses_or_returns_is_named() -> None:
    with pytest.raises(UserError, match="problem 'lines': power must be at least 1, got 0"):
        MAKER.make(power=0)
    with pytest.raises(UserError, match=r"problem 'own': the function must return a bench\.Problem, got int"):
        ProblemFactory("own", lambda: 3).make()  # type: ignore[arg-type,return-value]
    with pytest.raises(UserError, match="problem 'own': raised ZeroDivisionError: division by zero"):
        ProblemFactory("own", lambda: 1 / 0).make()  # type: ignore[arg-type,return-value]
    with pytest.raises(UserError, match="problem 'own': choice 'needed' must be given: own"):
        ProblemFactory("own", lambda needed: needed).make()
    with pytest.raises(
        UserError, match=r"problem 'nothing.py:x': no file nothing.py; paths start at the current folder"
    ):
        catalog.maker("nothing.py:x")
    with pytest.raises(UserError, match=r"expected a function that returns a bench\.Problem, got "):
        catalog.maker("math:pi")
    assert catalog.maker(MAKER) == MAKER and catalog.maker(MAKER) is not MAKER and catalog.maker(lines).name == "lines"


def test_postponed_annotations_may_be_traced_too() -> None:
    def postponed(l2: "Scalar" = 0.0) -> Problem:
        raise NotImplementedError

    assert ProblemFactory("postponed", postponed).tunable == ("l2",)


def trained(problem: Problem, values: dict[str, float], variant: Any = None) -> Trajectory:
    recipe = Recipe(
        optimizer=optimizers.get("sgd"), steps=20, evaluations=4, choices=[each for each in ("l2",) if variant]
    )
    program = compile_program(compile_problem(problem), recipe, variant=variant)
    return train_trial(program, {"learning_rate": 0.05, **values}, stage="final", seed=1)


@pytest.mark.long
def test_a_traced_penalty_is_the_constant_one() -> None:
    traced = trained(MAKER.make(), {"l2": 0.3}, lambda **values: MAKER.traced(power=2, **values))
    constant = trained(MAKER.make(l2=0.3), {})
    none = trained(MAKER.make(), {})
    np.testing.assert_allclose(traced.curves["error"], constant.curves["error"], rtol=1e-5)
    np.testing.assert_allclose(traced.params["weight"], constant.params["weight"], rtol=1e-5)
    assert np.abs(traced.params["weight"] - none.params["weight"]).max() > 0.01
    np.testing.assert_allclose(traced.curves["error"][0], none.curves["error"][0])  # the start is the seed's


def test_one_trace_serves_every_strength() -> None:
    traces = []

    def variant(**values: Any) -> Problem:
        traces.append(values)
        return MAKER.traced(**values)

    recipe = Recipe(optimizer=optimizers.get("sgd"), steps=20, evaluations=4, choices=["l2"])
    program = compile_program(compile_problem(MAKER.make()), recipe, variant=variant)
    ends = [
        train_trial(program, {"learning_rate": 0.05, "l2": l2}, stage="final", seed=0).curves["error"][-1]
        for l2 in (0.0, 0.1, 1.0)
    ]
    assert len(traces) == 1 and len({float(end) for end in ends}) == 3


@pytest.mark.long
@pytest.mark.parametrize(
    "choice",
    [
        "l1",
        pytest.param("label_smoothing", marks=pytest.mark.slow),
        pytest.param("dropout", marks=pytest.mark.slow),
        pytest.param("l2", marks=pytest.mark.slow),
    ],
)
def test_the_catalogues_tunable_choices_can_be_traced(choice: str) -> None:
    maker = catalog.maker("digits-mlp")
    assert isinstance(maker, ProblemFactory)
    recipe = Recipe(optimizer=optimizers.get("sgd"), steps=8, evaluations=1, choices=[choice])
    program = compile_program(compile_problem(maker.make()), recipe, variant=maker.traced)
    point = {"learning_rate": 0.1}
    traced, none = (
        train_trial(program, {**point, choice: value}, stage="final", seed=0).curves["cross_entropy"]
        for value in (0.1, 0.0)
    )
    fixed_recipe = replace(recipe, choices=[])
    fixed_program = compile_program(compile_problem(maker.make(**{choice: 0.1})), fixed_recipe)
    fixed = train_trial(fixed_program, point, stage="final", seed=0).curves["cross_entropy"]
    np.testing.assert_allclose(traced, fixed, rtol=1e-4)
    assert not np.allclose(traced[-1], none[-1], rtol=1e-3)
