"""Choices of problems as contenders and factors: from a spec to paired trials, their identities and their replays."""

from pathlib import Path
from typing import Any

import pytest

from dlkit import bench
from dlkit.bench.errors import UserError
from dlkit.bench.plan.json import from_json, to_json
from dlkit.bench.plan.plan import Plan
from dlkit.bench.plan.space import Point, Range
from dlkit.bench.problems import quadratic
from dlkit.bench.spec import planner
from dlkit.bench.spec.entries import Contender, Experiment, ProblemChoice
from dlkit.bench.spec.toml import load

INLINE = bench.Resources(executor="inline")

BUDGET = bench.Budget(steps=8, evaluations=2, studies=1, tuning_points=2, tuning_seeds=1, seeds=2)

GRID = """
problems = ["digits-mlp"]
optimizers = ["adam", "momentum"]

[factors]
activation = ["relu", "tanh", "gelu"]
norm = ["none", "batch"]

[budget]
steps = 40
tuning_points = 4
seeds = 6
"""

OWN = """
import jax
import jax.numpy as jnp
import numpy as np

from dlkit import bench
from dlkit.typing import Scalar

rng = np.random.default_rng(0)
inputs = rng.normal(size=(100, 3)).astype(np.float32)
DATA = bench.split("planes", {"inputs": inputs, "targets": inputs.sum(1)})


def planes(*, absolute: bool = False, l2: Scalar = 0.0):
    def init(key):
        return {"weight": jax.random.normal(key, (3,))}, None

    def loss(params, state, batch, key):
        error = batch["inputs"] @ params["weight"] - batch["targets"]
        return (jnp.abs(error) if absolute else error**2).mean() + l2 * (params["weight"] ** 2).sum(), state

    def evaluate(params, state, batch):
        return {"error": ((batch["inputs"] @ params["weight"] - batch["targets"]) ** 2).mean()}

    metrics = {"error": bench.Metric("lower", "log")}
    return bench.Problem(
        name="planes", init=init, loss=loss, evaluate=evaluate, dataset=DATA, metrics=metrics, batch_size=10, steps=20
    )
"""


def experiment(problems: Any, optimizers: Any, **more: Any) -> Experiment:
    entries = [each if isinstance(each, ProblemChoice) else ProblemChoice(problem=each) for each in problems]
    contenders = [each if isinstance(each, Contender) else Contender(optimizer=each) for each in optimizers]
    return Experiment(name="x", problems=tuple(entries), optimizers=tuple(contenders), **{"budget": BUDGET, **more})


def final_ids(plan: Plan, point: Point) -> dict[str, str]:
    """Label -> id of the first final trial with a point."""
    return {
        contender.label: plan.final_trials(problem, contender, point)[0].id
        for problem in plan.problems
        for contender in plan.contenders
    }


def test_a_grid_of_three_factors_takes_few_lines(tmp_path: Path) -> None:
    path = tmp_path / "spec.toml"
    path.write_text(GRID)
    assert len(GRID.strip().splitlines()) < 25
    study = planner.plan(load(path))
    labels = [contender.label for contender in study.plan.contenders]
    assert len(labels) == len(set(labels)) == 12
    assert labels[:2] == ["adam (activation=relu, norm=none)", "adam (activation=relu, norm=batch)"]
    assert study.plan.contenders[3].levels == {"optimizer": "adam", "activation": "tanh", "norm": "batch"}
    assert from_json(Plan, to_json(study.plan)) == study.plan
    (problem,) = study.plan.problems
    groups = {study.group(problem, contender, {}).key for contender in study.plan.contenders}
    assert len(groups) == 12


def test_choices_are_in_the_trials_identity_once() -> None:
    entries = [
        "sgd",
        Contender(optimizer="sgd", choices={"activation": "relu", "l2": 0.0}, label="spelled out"),
        Contender(optimizer="sgd", choices={"activation": "gelu"}),
    ]
    plan = planner.plan(experiment(["digits-mlp"], entries)).plan
    ids = final_ids(plan, Point({"learning_rate": 0.1}, {}))
    assert ids["sgd"] == ids["spelled out"] != ids["sgd (activation=gelu)"]
    wide = planner.plan(experiment([ProblemChoice(problem="digits-mlp", choices={"width": 32})], entries)).plan
    assert not set(ids.values()) & set(final_ids(wide, Point({"learning_rate": 0.1}, {})).values())
    trial = plan.final_trials(plan.problems[0], plan.contenders[2], Point({"learning_rate": 0.1}, {}))[0]
    assert trial.identity["problem"]["choices"]["activation"] == "gelu"


def test_a_traced_strength_shares_its_executable() -> None:
    entries = [Contender(optimizer="sgd", choices={"l2": value}) for value in (0, 1e-4, 1e-3, [1e-6, 1e-2])]
    study = planner.plan(experiment(["digits-mlp"], entries))
    (problem,) = study.plan.problems
    without, *traced = (study.group(problem, contender, {}).key for contender in study.plan.contenders)
    assert len(set(traced)) == 1 and without not in traced
    tuned = study.plan.contenders[3]
    assert tuned.label == "sgd (l2 tuned)" and tuned.space["l2"] == Range(1e-6, 1e-2, "log")
    assert tuned.tuned_choices == ("l2",) and all("l2" in point.hyperparameters for point in tuned.points)
    trial = study.plan.final_trials(problem, tuned, tuned.points[0])[0]
    assert "l2" not in trial.identity["problem"]["choices"] and "l2" in trial.hyperparameters


def test_values_to_tune_over_are_compiled_each_on_its_own() -> None:
    entry = Contender(optimizer="sgd", choices={"activation": ["relu", "gelu"]})
    study = planner.plan(experiment(["digits-mlp"], [entry], budget=bench.Budget(steps=8, evaluations=2)))
    (problem,), (contender,) = study.plan.problems, study.plan.contenders
    statics = [point.static for point in contender.points]
    assert {each["activation"] for each in statics} == {"relu", "gelu"}
    groups = {each["activation"]: study.group(problem, contender, each) for each in statics}
    assert groups["relu"].key != groups["gelu"].key
    assert not groups["gelu"].recipe.static and dict(groups["gelu"].problem.choices)["activation"] == "gelu"


@pytest.mark.parametrize(
    ("problems", "entry", "message"),
    [
        (["quadratic"], {"choices": {"norm": "batch"}}, "optimizer 'sgd .*': problem 'quadratic': no choice 'norm'"),
        (["digits-mlp"], {"choices": {"dropout": [0.0, 1.5]}}, "optimizer 'sgd .*': .*dropout.* got 1.5"),
        (["adding"], {"choices": {"length": 5}}, "has other data with .*'length': 5"),
        ([quadratic()], {"choices": {"dimension": 3}}, "problem 'quadratic': came ready-made, without choices"),
        (
            [ProblemChoice(problem="digits-mlp", choices={"norm": "batch"})],
            {"choices": {"norm": "layer"}},
            "problems: 'digits-mlp' has its choice 'norm' set, and contenders vary it; leave one of them out",
        ),
        ([ProblemChoice(problem=quadratic(), choices={"x": 1})], {}, "problem 'quadratic': came ready-made"),
        (["digits-mlp", "digits-mlp"], {}, "'digits-mlp' is there more than once; give each a label of its own"),
    ],
)
def test_what_does_not_fit_is_refused(problems: Any, entry: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        planner.plan(experiment(problems, [Contender(optimizer="sgd", **entry)]))


def test_a_factor_must_be_a_choice_of_every_problem() -> None:
    with pytest.raises(UserError) as error:
        planner.plan(
            experiment(["digits-mlp", "quadratic"], ["sgd"], factors={"activaton": ["relu"], "norm": ["none"]})
        )
    assert str(error.value).splitlines() == [
        "factors.activaton: no factor 'activaton'; did you mean 'activation'?",
        "factors.norm: problem 'quadratic' has no choice 'norm'; leave one of them out",
    ]


def test_early_stopping_is_a_factor_too(tmp_path: Path) -> None:
    path = tmp_path / "spec.toml"
    path.write_text(
        'problems = ["digits-mlp"]\noptimizers = ["sgd", {optimizer = "adam", early_stopping = false}]\n'
        "early_stopping = {patience = 9}\n[factors]\nearly_stopping = [false, {patience = 2, min_delta = 0.01}]\n"
    )
    plan = planner.plan(load(path)).plan
    assert {each.label: each.stopping and each.stopping.patience for each in plan.contenders} == {
        "sgd (no early stopping)": None,
        "sgd (early stopping 2, min_delta 0.01)": 2,
        "adam (no early stopping)": None,
    }
    path.write_text(path.read_text().replace("patience = 2", "patience = 0"))
    with pytest.raises(UserError, match=r"factors\.early_stopping\[1\]: early_stopping\.patience must be"):
        load(path)


@pytest.mark.long
def test_labels_let_a_problem_in_twice() -> None:
    entries = [
        ProblemChoice(problem="quadratic", label=f"kappa {n:g}", choices={"condition": n}) for n in (10.0, 100.0)
    ]
    found = bench.compare(problems=entries, optimizers=["sgd"], budget=BUDGET, resources=INLINE, progress=False)
    assert list(found.verdicts) == ["kappa 10", "kappa 100"] and not found.failures


@pytest.mark.long
def test_choices_are_trained_and_replayed_from_the_folder(tmp_path: Path) -> None:
    entries = [
        Contender(optimizer="sgd"),
        Contender(optimizer="sgd", choices={"activation": "tanh", "l2": [1e-4, 1e-1]}),
    ]
    result = bench.compare(
        problems=["digits-mlp"], optimizers=entries, budget=BUDGET, folder=tmp_path, resources=INLINE, progress=False
    )
    assert not result.failures
    frame = result.trials()
    tuned = frame[frame.optimizer == "sgd (activation=tanh, l2 tuned)"]
    assert (tuned.l2 > 0).all() and frame[frame.optimizer == "sgd"].l2.isna().all()
    again = bench.open_run(tmp_path)
    for optimizer in ("sgd", "sgd (activation=tanh, l2 tuned)"):
        trial = frame[(frame.optimizer == optimizer) & (frame.stage == "final")].trial.iloc[0]
        assert again.replay(trial).exact


@pytest.mark.long
@pytest.mark.parametrize("executor", ["inline", pytest.param("processes", marks=pytest.mark.slow)])
def test_a_problem_of_ones_own_comes_from_a_file(tmp_path: Path, executor: str) -> None:
    (tmp_path / "mine.py").write_text(OWN)
    spec = tmp_path / "spec.toml"
    spec.write_text(
        'problems = [{problem = "mine.py:planes", target = 0.1}]\noptimizers = ["sgd"]\n'
        "[factors]\nabsolute = [false, true]\nl2 = [0, [1e-6, 1e-3]]\n"
        "[budget]\nevaluations = 2\ntuning_points = 2\ntuning_seeds = 1\nseeds = 2\n"
    )
    folder = tmp_path / "run"
    result = bench.run(load(spec), folder=folder, resources=bench.Resources(executor=executor), progress=False)
    assert not result.failures and len(result.table()) == 4
    (sources,) = result.summary.manifest["sources"].values()
    assert list(sources.values()) == [OWN]
    first = result.trials().query("stage == 'final'").trial.iloc[0]
    assert result.replay(first).exact
    assert bench.open_run(folder).replay(first, load(spec)).exact
    before = {trial.id for trial in _tuning(planner.plan(load(spec)).plan)}
    (tmp_path / "mine.py").write_text(OWN.replace("error**2", "error**4"))
    after = {trial.id for trial in _tuning(planner.plan(load(spec)).plan)}
    assert 2 * len(before & after) == len(before), "the level with absolute errors computes what it did"


def _tuning(plan: Plan) -> list[Any]:
    return [
        trial
        for contender in plan.contenders
        for row in plan.tuning_trials(plan.problems[0], contender)
        for trial in row
    ]
