"""Plans: which facts are part of a trial's identity and which are not, and that every mistake is found."""

import functools
from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dlkit.bench.data import Dataset, split
from dlkit.bench.errors import UserError
from dlkit.bench.optimizers import OPTIMIZERS, Optimizer
from dlkit.bench.plan.json import from_json, to_json
from dlkit.bench.plan.metric import Metric
from dlkit.bench.plan.plan import Plan
from dlkit.bench.plan.policies import TargetRule
from dlkit.bench.plan.space import Point, Range, log_uniform
from dlkit.bench.problems import Problem, catalog
from dlkit.bench.spec.bound_plan import bind
from dlkit.bench.spec.budget import Budget
from dlkit.bench.spec.entries import Contender, Experiment, ProblemChoice
from dlkit.bench.spec.planner import plan

TABLE = split("table", {"inputs": np.arange(40.0).reshape(20, 2), "targets": np.arange(20.0)}, redraw=False)


def init(key):
    return {"weight": jnp.zeros(2)}, None


def loss(params, state, batch, key):
    return jnp.mean((batch["inputs"] @ params["weight"] - batch["targets"]) ** 2), state


def evaluate(params, state, batch):
    error = jnp.mean((batch["inputs"] @ params["weight"] - batch["targets"]) ** 2)
    return {"error": error, "size": jnp.sum(params["weight"] ** 2)}


def make_problem(**changes):
    facts = {
        "name": "own",
        "init": init,
        "loss": loss,
        "evaluate": evaluate,
        "dataset": TABLE,
        "metrics": {"error": Metric("lower", "log"), "size": Metric()},
        "batch_size": 4,
        "steps": 40,
        "target": 1.0,
    }
    return Problem(**{**facts, **changes})


def build(learning_rate, nesterov=False):
    return optax.sgd(learning_rate, momentum=0.9, nesterov=nesterov)


OWN = Optimizer("own", build, {"learning_rate": log_uniform(1e-3, 1.0)}, static={"nesterov": [True, False]})


def experiment(problems=(), optimizers=(), **budget):
    entries = [each if isinstance(each, ProblemChoice) else ProblemChoice(problem=each) for each in problems]
    contenders = [each if isinstance(each, Contender) else Contender(optimizer=each) for each in optimizers]
    settings = {"evaluations": 4, "tuning_points": 4, "tuning_seeds": 2, "seeds": 3, **budget}
    return Experiment(name="x", problems=tuple(entries), optimizers=tuple(contenders), budget=Budget(**settings))


def tuning_ids(made):
    return {
        trial.id
        for problem in made.problems
        for contender in made.contenders
        for row in made.tuning_trials(problem, contender)
        for trial in row
    }


def ids(made):
    """Every trial that the plan may run, whichever point wins."""
    return tuning_ids(made) | {
        trial.id
        for problem in made.problems
        for contender in made.contenders
        for point in contender.points
        for trial in made.final_trials(problem, contender, point)
    }


BASE = plan(experiment([make_problem()], [OWN])).plan


# --- identity --------------------------------------------------------------------------------------------------------


def variant(problem=None, optimizer=None, entry=None, **budget):
    problem_entry = ProblemChoice(problem=problem or make_problem())
    return plan(experiment([problem_entry], [entry or Contender(optimizer=optimizer or OWN)], **budget)).plan


def other_evaluate(params, state, batch):
    return {**evaluate(params, state, batch), "another": jnp.float32(0)}


CHANGED = {
    "problem name": lambda: variant(make_problem(name="other")),
    "data": lambda: variant(make_problem(dataset=replace(TABLE, test={k: v + 1 for k, v in TABLE.test.items()}))),
    "batch size": lambda: variant(make_problem(batch_size=5)),
    "whole batch": lambda: variant(make_problem(batch_size=None)),
    "steps": lambda: variant(make_problem(steps=44)),
    "budget steps": lambda: variant(steps=80),
    "evaluations": lambda: variant(evaluations=5),
    "own init": lambda: variant(make_problem(init=lambda key: ({"weight": jnp.ones(2)}, None))),
    "own loss": lambda: variant(make_problem(loss=lambda p, s, b, k: (2 * loss(p, s, b, k)[0], s))),
    "own evaluate": lambda: variant(make_problem(evaluate=other_evaluate)),
    "build": lambda: variant(optimizer=replace(OWN, build=lambda learning_rate, nesterov: optax.sgd(learning_rate))),
    "eval_params": lambda: variant(optimizer=replace(OWN, eval_params=lambda state, params: params * 2)),
    "space": lambda: variant(optimizer=replace(OWN, space={"learning_rate": log_uniform(1e-2, 1.5)})),
    "static": lambda: variant(optimizer=replace(OWN, static={"nesterov": [1, 0]})),
    "no static": lambda: variant(optimizer=replace(OWN, static={})),
}


@pytest.mark.parametrize("what", CHANGED)
def test_whatever_decides_the_numbers_changes_every_id(what):
    assert ids(CHANGED[what]()).isdisjoint(ids(BASE))


SAME = {
    "nothing": lambda: variant(),
    "target": lambda: variant(make_problem(target=2.0)),
    "no target": lambda: variant(make_problem(target=None)),
    "metric": lambda: variant(make_problem(metric="size")),
    "meaning of the metric": lambda: variant(make_problem(metrics={"error": Metric("higher")})),
    "description": lambda: variant(make_problem(description="words")),
    "name of the data": lambda: variant(make_problem(dataset=replace(TABLE, name="y", source="z"))),
    "label": lambda: variant(entry=Contender(optimizer=OWN, label="mine")),
    "reference": lambda: variant(optimizer=replace(OWN, reference="me")),
    "optimizer name": lambda: variant(optimizer=replace(OWN, name="other")),
    "parameters that are evaluated": lambda: variant(optimizer=replace(OWN, eval_params=lambda state, params: params)),
    "steps given twice": lambda: variant(make_problem(steps=80), steps=40),
    "order of the space": lambda: variant(optimizer=replace(OWN, space=dict(reversed(OWN.space.items())))),
}


@pytest.mark.parametrize("what", SAME)
def test_what_does_not_decide_the_numbers_changes_no_id(what):
    assert ids(SAME[what]()) == ids(BASE)


def test_the_name_of_the_experiment_is_no_part_of_a_trial():
    assert ids(plan(replace(experiment([make_problem()], [OWN]), name="y")).plan) == ids(BASE)


def test_order_and_company_do_not_matter():
    first = plan(experiment(["quadratic", make_problem()], ["sgd", OWN, "adam"])).plan
    second = plan(experiment([make_problem(), "quadratic"], ["adam", "momentum", "sgd", OWN])).plan
    assert ids(BASE) < ids(first) < ids(second)


@pytest.mark.parametrize("larger", [{"tuning_points": 9}, {"tuning_seeds": 3}, {"seeds": 7}])
def test_a_larger_budget_contains_the_smaller_ones_trials(larger):
    assert ids(BASE) < ids(variant(**larger))


def test_all_trials_of_a_plan_differ():
    contender, problem = BASE.contenders[0], BASE.problems[0]
    trials = [trial for row in BASE.tuning_trials(problem, contender) for trial in row]
    trials += [trial for point in contender.points for trial in BASE.final_trials(problem, contender, point)]
    assert len({trial.id for trial in trials}) == len(trials) == 4 * 2 + 4 * 3
    tuning = BASE.tuning_trials(problem, contender)
    assert [[trial.seed for trial in row] for row in tuning] == [[0, 1]] * 4
    assert [row[0].hyperparameters for row in tuning] == [point.hyperparameters for point in contender.points]
    assert {trial.stage for row in tuning for trial in row} == {"tuning"}
    finals = BASE.final_trials(problem, contender, contender.points[2])
    assert [(trial.stage, trial.seed) for trial in finals] == [("final", 0), ("final", 1), ("final", 2)]


def test_an_id_is_the_hash_of_the_identity_and_survives_json():
    trial = BASE.tuning_trials(BASE.problems[0], BASE.contenders[0])[1][1]
    again = from_json(Plan, to_json(BASE))
    assert again.tuning_trials(again.problems[0], again.contenders[0])[1][1] == trial
    assert trial.identity["steps"] == 40 and trial.identity["problem"]["batch_size"] == 4


def test_registered_and_own_optimizers_of_one_name_differ():
    named = Optimizer("sgd", build, OPTIMIZERS["sgd"].space)
    own = plan(experiment(["quadratic"], [Contender(optimizer=named, label="own"), "sgd"])).plan
    first, second = (
        [trial.id for row in own.tuning_trials(own.problems[0], each) for trial in row] for each in own.contenders
    )
    assert set(first).isdisjoint(second)


# --- groups ----------------------------------------------------------------------------------------------------------


def test_groups_are_told_apart_by_what_is_compiled():
    study = plan(experiment([make_problem(), "quadratic"], [OWN, "sgd", Contender(optimizer="sgd", label="sgd 2")]))
    own, quadratics = study.plan.problems
    contender, sgd, again = study.plan.contenders
    groups = [
        study.group(own, contender, {"nesterov": True}),
        study.group(own, contender, {"nesterov": False}),
        study.group(quadratics, contender, {"nesterov": True}),
        study.group(own, sgd, {}),
        study.group(quadratics, sgd, {}),
    ]
    assert len({group.key for group in groups}) == len(set(groups)) == 5
    assert study.group(own, again, {}) == study.group(own, sgd, {})  # one executable serves both
    assert groups[0].problem.load().loss is loss
    assert groups[0].recipe.optimizer.build is build
    assert groups[2].problem.load().name == "quadratic"
    longer = plan(experiment([make_problem(steps=80)], [OWN]))
    assert longer.group(longer.plan.problems[0], contender, {"nesterov": True}) != groups[0]


def test_workers_get_the_choices_of_an_entry():
    entry = ProblemChoice(problem="digits-mlp", batch_size=16, metric="cross_entropy", steps=8)
    study = plan(experiment([entry], ["sgd"]))
    loaded = study.problems["digits-mlp"].load()
    assert (loaded.batch_size, loaded.metric) == (16, "cross_entropy")
    assert (study.plan.problems[0].steps, study.plan.problems[0].batch_size) == (8, 16)


def test_points_are_drawn_from_the_entrys_space():
    entry = Contender(optimizer="momentum", space={"momentum": 0.9, "learning_rate": [0.01, 0.02]})
    study = plan(experiment(["quadratic"], [entry], tuning_points=6))
    contender = study.plan.contenders[0]
    assert contender.space == {"learning_rate": Range(0.01, 0.02, "log"), "momentum": 0.9}
    assert len(contender.points) == 6
    assert all(point.hyperparameters["momentum"] == 0.9 for point in contender.points)
    assert all(0.01 <= point.hyperparameters["learning_rate"] <= 0.02 for point in contender.points)
    assert study.methods["momentum"].optimizer.space == contender.space


def test_points_per_dimension_count_what_is_tuned():
    budget = {"tuning_points": None, "tuning_points_per_dimension": 3}
    made = plan(experiment(["quadratic"], ["sgd", "adamw", OWN], **budget)).plan
    assert [len(each.points) for each in made.contenders] == [3, 12, 6]  # OWN: a rate, and a choice of two


def test_a_grid_is_laid_over_each_space():
    budget = {"tuner": "grid", "grid": {"learning_rate": 3}}
    made = plan(experiment(["quadratic"], ["sgd", OWN], tuning_points=8, **budget)).plan
    assert [len(each.points) for each in made.contenders] == [3, 6]
    budget["grid"] = {"learning_rate": 3, "momntum": 2}
    lines = complaint(["quadratic"], [OWN, "adam"], tuning_points=4, **budget)
    assert lines[0] == "optimizer 'own': a grid over these hyperparameters has at least 6 points; allow so many, not 4"
    assert lines[1].startswith("budget.grid: no optimizer has a range for 'momntum'; ") and len(lines) == 2


def test_points_that_cannot_be_drawn_yet():
    made = plan(experiment(["quadratic"], ["sgd"], tuning_points=None, tuning_seconds=2.0, studies=2)).plan
    assert (made.contenders[0].points, made.contenders[0].undrawn, made.tuner.seconds) == ([], None, 2.0)
    assert from_json(Plan, to_json(made)) == made


def test_a_tuner_that_is_not_installed_is_told_with_the_rest(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    lines = complaint(["quadratc"], ["sgd"], tuner="optuna")
    assert lines[0].startswith("tuner 'optuna' needs the package optuna: pip install") and len(lines) == 2


def test_zooms_points_are_drawn_while_it_runs_but_for_choices_alone():
    choices = Optimizer("choices", lambda n: None, {}, {"n": [1, 2, 3]})
    made = plan(experiment(["quadratic"], ["sgd", choices], tuner="zoom", tuning_points=6, studies=2)).plan
    assert [(len(each.points), each.undrawn) for each in made.contenders] == [(0, 6), (3, 0)]
    assert (made.tuner.name, made.tuner.batch) == ("zoom", 4)


def test_the_objective_is_planned_and_changes_no_id():
    made = {name: plan(experiment(["quadratic"], ["sgd"], objective=name)).plan for name in ("final", "area", "steps")}
    assert [each.tuner.objective for each in made.values()] == ["final", "area", "steps"]
    assert ids(made["final"]) == ids(made["area"]) == ids(made["steps"])
    assert from_json(Plan, to_json(made["steps"])) == made["steps"]


def test_steps_cannot_be_tuned_for_where_no_target_is_declared():
    without = make_problem(name="without", target=None)
    lines = complaint(["quadratic", without], ["sgd"], objective="steps")
    assert lines == [
        "problem 'without': objective 'steps' counts steps to a declared target, and there is none; give it a target, "
        "or choose objective 'area' or 'final'"
    ]
    asked = replace(experiment(["quadratic"], ["sgd"], objective="steps"), targets=TargetRule())
    with pytest.raises(UserError, match=r"^problem 'quadratic': objective 'steps'.*; leave out targets, which basel"):
        plan(asked)
    assert plan(experiment([without], [OWN], objective="area")).plan.tuner.objective == "area"
    entry = ProblemChoice(problem=without, target=0.5)
    assert plan(experiment([entry], [OWN], objective="steps")).plan.problems[0].target == 0.5


def test_nothing_to_tune_is_one_point():
    study = plan(experiment(["quadratic"], [Contender(optimizer="sgd", space={"learning_rate": 0.1})]))
    assert study.plan.contenders[0].points == [Point({"learning_rate": 0.1}, {})]


def test_sources_of_own_functions_are_kept():
    study = plan(experiment([make_problem()], [OWN, "sgd"]))
    assert list(study.sources) == [__file__]
    assert "def build(learning_rate, nesterov=False):" in study.sources[__file__]
    assert plan(experiment(["quadratic"], ["sgd"])).sources == {}


# --- mistakes --------------------------------------------------------------------------------------------------------


def complaint(*arguments, **budget):
    with pytest.raises(UserError) as error:
        plan(experiment(*arguments, **budget))
    return str(error.value).splitlines()


def wrong_loss(params, state, batch, key):
    return batch["inputs"] @ params["weight"], state


def test_every_mistake_is_found_at_once():
    broken = Optimizer("broken", build, {"learning_rate": 0.1})
    lines = complaint(
        [
            make_problem(name="a", steps=41),
            make_problem(name="b", loss=wrong_loss),
            "quadratc",
            ProblemChoice(problem="digits-mlp", batch_size=10_000),
            make_problem(),
            make_problem(),
            3,
        ],
        [
            "admw",
            Contender(optimizer="sgd", space={"lr": 0.1, "learning_rate": [1, 0]}),
            "adam",
            Contender(optimizer="momentum", label="adam"),
            Contender(optimizer=broken, space={"learning_rate": "x"}),
        ],
    )
    starts = [
        "problem 'a': 41 steps cannot be cut into 4 equal evaluations; use 40 or 44 steps",
        "problem 'b': loss must return one number, got shape (4,); take the mean",
        "no problem 'quadratc'; did you mean 'quadratic'?",
        "problem 'digits-mlp': batch_size must lie between 1 and the 1079 training examples, got 10000",
        "expected a problem's name, a bench.Problem or a function that makes one, got 3; ",
        "no optimizer 'admw'; did you mean 'adamw'?",
        "optimizer 'sgd': no hyperparameter 'lr'; ",
        "optimizer 'sgd', hyperparameter 'learning_rate': a range needs",
        "optimizer 'broken', hyperparameter 'learning_rate': expected a number",
        "problems: 'own' is there more than once; give each a label of its own",
        "optimizers: 'adam' is there more than once; give each a label of its own",
    ]
    assert len(lines) == len(starts)
    for line, start in zip(lines, starts, strict=True):
        assert line.startswith(start)


def test_empty_lists():
    assert complaint([], []) == [
        "problems: the list is empty; name at least one",
        "optimizers: the list is empty; name at least one",
    ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 40.0}, "problem 'own': steps must be a whole number, got 40.0"),
        ({"batch_size": "4"}, "problem 'own': batch_size must be a whole number, got '4'"),
        ({"target": float("nan")}, "problem 'own': target must be a finite number, got nan"),
        ({"target": "1"}, "problem 'own': target must be a finite number, got '1'"),
        ({"metric": "erorr"}, "problem 'own': no metric 'erorr'; did you mean 'error'?"),
    ],
)
def test_problems_that_cannot_be_planned(changes, message):
    with pytest.raises(UserError, match=f"^{message.replace('?', '[?]')}$"):
        make_problem(**changes)


def test_numpys_numbers_are_numbers():
    numbers = {"steps": np.int64(40), "batch_size": np.int32(4), "target": np.float32(0.5)}
    own = Optimizer("own", build, {"learning_rate": Range(np.float32(0.25), np.float64(1))}, {"nesterov": [True]})
    made = plan(experiment([make_problem(**numbers)], [own])).plan
    assert from_json(Plan, to_json(made)) == made
    assert ids(made) == ids(variant(optimizer=replace(own, space={"learning_rate": Range(0.25, 1.0)})))


# --- stored plans ----------------------------------------------------------------------------------------------------


def test_a_stored_plan_finds_its_functions_again():
    entry = ProblemChoice(problem="digits-mlp", batch_size=16, steps=8, metric="cross_entropy")
    momentum = Contender(optimizer="momentum", label="heavy", space={"momentum": 0.9})
    before = plan(experiment([entry, "quadratic", make_problem()], ["sgd", momentum, OWN]))
    after = bind(from_json(Plan, to_json(before.plan)))
    assert after.plan == before.plan
    assert after.problems.keys() == {"digits-mlp", "quadratic"}  # one's own functions are not stored
    assert after.methods.keys() == {"sgd", "heavy"}
    assert after.methods["heavy"].optimizer.space == before.methods["heavy"].optimizer.space
    for problem, stored in zip(before.plan.problems[:2], after.plan.problems[:2], strict=True):
        for contender, again in zip(before.plan.contenders[:2], after.plan.contenders[:2], strict=True):
            assert before.group(problem, contender, {}).key == after.group(stored, again, {}).key
    loaded = after.problems["digits-mlp"].load()
    assert (loaded.batch_size, loaded.metric) == (16, "cross_entropy")


def test_data_that_have_changed_since_are_noticed(monkeypatch):
    stored = plan(experiment(["digits-mlp"], ["sgd"], steps=8)).plan
    problem = catalog.get("digits-mlp")
    data = problem.dataset
    other = Dataset(data.name, data.train, data.validation, {**data.test, "inputs": data.test["inputs"] + 1})

    @functools.wraps(catalog.PROBLEMS["digits-mlp"])
    def changed(**choices):
        return replace(problem, dataset=other)

    monkeypatch.setattr(catalog, "PROBLEMS", {"digits-mlp": changed})
    with pytest.raises(UserError) as error:
        bind(stored)
    assert str(error.value) == (
        f"problem 'digits-mlp': its data have digest {other.digest[:12]} now, {data.digest[:12]} then"
    )


@pytest.mark.parametrize("batch_size", ["full", 16, None])
def test_a_stored_plan_finds_the_batches_that_an_entry_asked_for(batch_size):
    study = plan(experiment([ProblemChoice(problem="digits-mlp", batch_size=batch_size)], ["sgd"]))
    again = bind(from_json(Plan, to_json(study.plan)))
    expected = {"full": None, 16: 16, None: 64}[batch_size]
    for each in (study, again):
        assert each.problems["digits-mlp"].load().batch_size == expected
    assert again.problems["digits-mlp"].key == study.problems["digits-mlp"].key
