"""How a run is settled, widened and timed: said in a spec, changed on the command line, kept in the plan."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dlkit import bench
from dlkit.bench.plan.json import from_data, from_json, to_data, to_json
from dlkit.bench.plan.plan import Plan
from dlkit.bench.spec import planner
from dlkit.bench.spec.changes import changed
from dlkit.bench.spec.toml import load

SPEC = """
problems = ["quadratic"]
optimizers = ["sgd", "adam"]
expand = true
timing = true
budget = {steps = 20, evaluations = 4, tuning_points = 2, seeds = 6, STUDIES}
[settling]
max_studies = 30
max_seeds = 40
margin = 1.1
"""


def experiment(**settings: Any) -> bench.Experiment:
    facts: dict[str, Any] = {
        "name": "x",
        "problems": (bench.ProblemChoice(problem="quadratic"),),
        "optimizers": (bench.Contender(optimizer="sgd"), bench.Contender(optimizer="adam")),
        "budget": bench.Budget(steps=20, evaluations=4, tuning_points=2, seeds=6, studies=1),
    }
    return bench.Experiment(**{**facts, **settings})


@pytest.mark.parametrize(("studies", "most"), [(1, (None, 40)), (2, (30, None))])
def test_a_spec_says_by_which_protocol_its_run_is_made(
    tmp_path: Path, studies: int, most: tuple[int | None, int | None]
) -> None:
    """A single study gets more seeds, several get more studies; the spec may say the most of both."""
    path = tmp_path / "spec.toml"
    path.write_text(SPEC.replace("STUDIES", f"studies = {studies}"))
    read = load(path)
    assert read.settling == bench.Settling(max_studies=30, max_seeds=40, margin=1.1)
    assert (read.expand, read.timing) == (True, True)
    plan = planner.plan(read).plan
    assert (plan.max_studies, plan.max_seeds) == most
    assert (plan.expand, plan.timing) == (True, True)
    assert [problem.margin for problem in plan.problems] == [1.1]
    assert from_json(Plan, to_json(plan)) == plan


def test_a_spec_that_says_nothing_asks_for_nothing() -> None:
    plan = planner.plan(experiment()).plan
    assert (plan.max_studies, plan.max_seeds, plan.expand, plan.timing) == (None, None, False, False)
    older = to_data(plan)
    for name in ("expand", "timing", "max_studies", "added_studies"):
        del older[name]
    del older["tuner"]["first_study"]
    for contender in older["contenders"]:
        del contender["draw"]
    assert from_data(Plan, older) == plan, "plans that were stored before these fields are read"


def test_the_protocol_changes_no_trial() -> None:
    plain = planner.plan(experiment()).plan
    asked = planner.plan(experiment(settling=bench.Settling(), expand=True, timing=True)).plan

    def ids(plan: Plan) -> list[str]:
        (problem,) = plan.problems
        found = []
        for contender in plan.contenders:
            rows = plan.tuning_trials(problem, contender)
            rows.append(plan.final_trials(problem, contender, contender.points[0]))
            found += [trial.id for row in rows for trial in row]
        return found

    assert ids(asked) == ids(plain)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("expand = 1", "expand: expected true or false, got 1"),
        ('timing = "yes"', "timing: expected true or false, got 'yes'"),
        ("timin = true", "unknown key 'timin'; did you mean 'timing'?"),
        ("until_settled = true", "unknown key 'until_settled'; did you mean 'settling'?"),
        ("settling = true", "settling: expected a table, got True"),
        ("settling = {max_seed = 9}", "unknown key 'settling.max_seed'; did you mean 'settling.max_seeds'?"),
        ("settling = {max_seeds = 0}", "settling.max_seeds must be a whole number of at least 1, got 0"),
        ("settling = {max_studies = 2.5}", "settling.max_studies: expected a whole number, got 2.5"),
        ("settling = {max_study = 9}", "unknown key 'settling.max_study'; did you mean 'settling.max_studies'?"),
        ("settling = {margin = nan}", "settling.margin: expected a finite number, got nan"),
    ],
)
def test_mistakes_of_a_spec_are_named(tmp_path: Path, line: str, expected: str) -> None:
    path = tmp_path / "spec.toml"
    path.write_text(f'{line}\nproblems = ["quadratic"]\noptimizers = ["sgd", "adam"]\n')
    with pytest.raises(bench.UserError) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}: {expected}")


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"max_seeds": 0}, "settling.max_seeds must be a whole number of at least 1, got 0"),
        ({"max_seeds": 20.5}, "got 20.5"),
        ({"max_seeds": True}, "got True"),
        ({"max_seeds": 1001}, "settling.max_seeds must be at most 1000, got 1001"),
        ({"max_studies": 0}, "settling.max_studies must be a whole number of at least 1, got 0"),
        ({"max_studies": 7.0}, "settling.max_studies .* got 7.0"),
        ({"margin": 0}, "settling.margin must be a number above 0, got 0"),
        ({"margin": math.nan}, "settling.margin must be a number above 0, got nan"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, Any], expected: str) -> None:
    with pytest.raises(bench.UserError, match=expected):
        bench.Settling(**settings)


@pytest.mark.parametrize(
    ("studies", "first"),
    [
        (1, "settling.max_seeds must be at least the 6 seeds of the budget, got 5"),
        (8, "settling.max_studies must be at least the 8 studies of the budget, got 7"),
    ],
)
def test_every_mistake_of_settling_is_named_at_once(studies: int, first: str) -> None:
    alone = (bench.Contender(optimizer="sgd"),)
    budget = replace(experiment().budget, studies=studies)
    settling = bench.Settling(max_studies=7, max_seeds=5, margin=0.5)
    with pytest.raises(bench.UserError) as caught:
        planner.plan(experiment(optimizers=alone, budget=budget, settling=settling))
    lines = str(caught.value).splitlines()
    assert [line.partition(":")[0] for line in lines] == [
        first,
        "settling.margin",
        "settling",
    ]
    assert "problem 'quadratic'" in lines[1] and "ratio above 1" in lines[1] and "got 0.5" in lines[1]
    assert "'sgd' has no other contender" in lines[2]


def test_as_many_as_the_budget_has_are_enough() -> None:
    assert planner.plan(experiment(settling=bench.Settling(max_studies=1, max_seeds=6))).plan.max_seeds == 6
    budget = replace(experiment().budget, studies=8)
    settling = bench.Settling(max_studies=8, max_seeds=1)
    assert planner.plan(experiment(budget=budget, settling=settling)).plan.max_studies == 8


def test_a_problem_keeps_the_margin_of_its_own() -> None:
    problems = (
        bench.ProblemChoice(problem="quadratic", margin=1.2),
        bench.ProblemChoice(problem="quadratic", label="other"),
    )
    plan = planner.plan(experiment(problems=problems, settling=bench.Settling(margin=1.5))).plan
    assert [problem.margin for problem in plan.problems] == [1.2, 1.5]


# --- changes ---------------------------------------------------------------------------------------------------------


def test_what_is_not_given_stays() -> None:
    asked = experiment(settling=bench.Settling(max_seeds=30), expand=True, timing=True)
    assert changed(asked) == asked
    assert changed(asked, budget={}, settling={}) == asked


@pytest.mark.parametrize("name", ["tuning_points", "tuning_points_per_dimension", "tuning_seconds"])
def test_a_way_to_say_how_many_points_replaces_the_others(name: str) -> None:
    budget = changed(experiment(), budget={name: 3}).budget
    amounts = (budget.tuning_points, budget.tuning_points_per_dimension, budget.tuning_seconds)
    assert getattr(budget, name) == 3 and sum(amount is not None for amount in amounts) == 1
    assert (budget.steps, budget.seeds) == (20, 6)


def test_settings_of_the_experiment_are_changed() -> None:
    asked = experiment(settling=bench.Settling(max_seeds=30, margin=1.1), expand=True)
    other = changed(asked, until_settled=True, settling={"max_seeds": 50}, expand=False, timing=True)
    assert other.settling == bench.Settling(max_seeds=50, margin=1.1)
    assert (other.expand, other.timing) == (False, True)
    assert changed(asked, until_settled=False).settling is None
    assert changed(experiment(), until_settled=True).settling == bench.Settling()


def test_settings_for_what_is_not_asked_are_all_named() -> None:
    with pytest.raises(bench.UserError, match=r"settling\.max_seeds and settling\.margin: nothing is to be settled"):
        changed(experiment(), settling={"max_seeds": 9, "margin": 1.1})


def test_studies_that_are_changed_bring_defaults_of_their_own() -> None:
    """What the experiment leaves open follows the number of studies that is asked for last; what it says stays."""
    open_budget = bench.Budget(steps=20, evaluations=4)
    found = {}
    for studies in (1, 2):
        plan = planner.plan(changed(experiment(budget=open_budget), budget={"studies": studies})).plan
        found[studies] = ([len(each.points) for each in plan.contenders], plan.tuning_seeds, plan.seeds)
    assert found == {1: ([16, 16], 2, 10), 2: ([4, 4], 1, 2)}
    plan = planner.plan(changed(experiment(budget=replace(open_budget, seeds=3)), budget={"studies": 1})).plan
    assert (plan.tuning_seeds, plan.seeds) == (2, 3)
    plan = planner.plan(changed(experiment(), budget={"studies": 4})).plan
    assert ([len(each.points) for each in plan.contenders], plan.tuning_seeds, plan.seeds) == ([2, 2], 1, 6)


def test_probes_of_the_command_line_take_the_place_of_the_specs() -> None:
    asked = experiment(probes=("weight_norm",))
    assert changed(asked).probes == ("weight_norm",)
    assert changed(asked, probes=["sharpness"]).probes == ("sharpness",)
    assert planner.plan(changed(asked, probes=["sharpness"])).plan.probes == {"sharpness": False}
