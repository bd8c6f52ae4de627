"""Contenders that name the problems they run on: from Python and TOML to a plan's cells, and what is refused."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import optax
import pytest

from dlkit.bench.analysis.foresight import foresee
from dlkit.bench.errors import UserError
from dlkit.bench.optimizers import Optimizer
from dlkit.bench.plan.json import from_json, to_json
from dlkit.bench.plan.plan import Plan
from dlkit.bench.plan.policies import Settling, TargetRule
from dlkit.bench.plan.space import log_uniform
from dlkit.bench.spec import planner
from dlkit.bench.spec.allowances import with_step_seconds
from dlkit.bench.spec.budget import Budget
from dlkit.bench.spec.entries import Contender, Experiment, ProblemChoice
from dlkit.bench.spec.parameter_groups import with_groups
from dlkit.bench.spec.programs import retraced
from dlkit.bench.spec.toml import load

BOTH = ("quadratic", "digits-mlp")


def asked(*optimizers: Contender, problems: tuple[Any, ...] = BOTH, axis: Any = "steps", **more: Any) -> Experiment:
    budget = Budget(steps=8, evaluations=2, studies=1, tuning_points=2, tuning_seeds=1, seeds=2, axis=axis)
    entries = tuple(each if isinstance(each, ProblemChoice) else ProblemChoice(problem=each) for each in problems)
    return Experiment(name="gaps", problems=entries, optimizers=optimizers, budget=budget, **more)


def cells(plan: Plan) -> list[str]:
    return [f"{contender.label} on {problem.name}" for problem, contender in plan.cells]


def test_a_contender_runs_on_the_problems_that_it_names() -> None:
    plan = planner.plan(asked(Contender(optimizer="adam"), Contender(optimizer="sgd", problems=["digits-mlp"]))).plan
    assert cells(plan) == ["adam on quadratic", "adam on digits-mlp", "sgd on digits-mlp"]
    assert from_json(Plan, to_json(plan)) == plan


def test_where_a_contender_runs_is_no_part_of_a_trial() -> None:
    one, other = (
        planner.plan(asked(Contender(optimizer="adam"), Contender(optimizer="sgd", problems=problems))).plan
        for problems in (None, ["digits-mlp"])
    )
    ids = [each.tuning_trials(each.problems[1], each.contenders[1])[0][0].id for each in (one, other)]
    assert ids[0] == ids[1] and one.digest != other.digest


def test_a_spec_file_says_it_as_python_does(tmp_path: Path) -> None:
    path = tmp_path / "spec.toml"
    path.write_text(
        'problems = ["quadratic", {problem = "digits-mlp", label = "digits"}]\n'
        'optimizers = ["adam", {optimizer = "sgd", problems = ["digits"]}]\n'
        "[budget]\nsteps = 8\nevaluations = 2\n"
    )
    experiment = load(path)
    assert experiment.optimizers[1].problems == ("digits",)
    assert cells(planner.plan(experiment).plan) == ["adam on quadratic", "adam on digits", "sgd on digits"]


@pytest.mark.parametrize(
    ("value", "mistake"),
    [
        ('"quadratic"', "optimizers[0].problems: expected a list, got 'quadratic'"),
        ("[]", "optimizers[0].problems: the list is empty; name at least one, or leave it out for all"),
        ("[1]", "optimizers[0].problems[0]: expected a text, got 1"),
    ],
)
def test_a_spec_file_that_names_no_problems(value: str, mistake: str, tmp_path: Path) -> None:
    path = tmp_path / "spec.toml"
    path.write_text(f'problems = ["quadratic"]\noptimizers = [{{optimizer = "adam", problems = {value}}}]\n')
    with pytest.raises(UserError) as error:
        load(path)
    assert mistake in str(error.value)


@pytest.mark.parametrize("problems", ["quadratic", [], [1], {"quadratic"}])
def test_problems_are_a_list_of_names(problems: Any) -> None:
    with pytest.raises(UserError, match="problems must be a list of at least one problem's name"):
        Contender(optimizer="adam", problems=problems)


ADAM = Contender(optimizer="adam")
GAME = Contender(optimizer="x=adam,y=adam")
SGD = Contender(optimizer="sgd", problems=["quadratic"])
ADAM_TOO = Contender(optimizer="adam", label="adam too")


@pytest.mark.parametrize(
    ("experiment", "mistake"),
    {
        "an unknown name": (
            asked(ADAM, Contender(optimizer="sgd", problems=["quadratc"])),
            "optimizer 'sgd', problems: no problem 'quadratc'; did you mean 'quadratic'?",
        ),
        "a name that a label replaces": (
            asked(ADAM, SGD, problems=(ProblemChoice(problem="quadratic", label="bowl"),)),
            "optimizer 'sgd', problems: no problem 'quadratic'; expected one of 'bowl'",
        ),
        "a problem without contenders": (
            asked(SGD),
            "problem 'digits-mlp': no optimizer runs on it; leave it out, or add it to the problems of one of them",
        ),
        "a choice that one of them has": (
            asked(ADAM, Contender(optimizer="sgd", choices={"activation": "tanh"})),
            "problem 'quadratic': no choice 'activation'; did you mean 'condition'? (to run it where it fits alone: "
            "problems = ['digits-mlp'])",
        ),
        "a choice that its own problem lacks": (
            asked(ADAM, Contender(optimizer="sgd", problems=["digits-mlp"], choices={"activaton": "tanh"})),
            "problem 'digits-mlp': no choice 'activaton'; did you mean 'activation'?",
        ),
        "players that one of them has not": (
            asked(ADAM, GAME, problems=("quadratic", "bilinear-game")),
            "problem 'quadratic' is no game of several players; name one optimizer (to run it where it fits alone: "
            "problems = ['bilinear-game'])",
        ),
        "a baseline that does not run there": (
            asked(ADAM, SGD, targets=TargetRule(baselines=("sgd",))),
            "targets.baselines: problem 'digits-mlp' has no target, and no baseline runs on it; name one that does "
            "(adam), or give the problem a target",
        ),
        "nobody to settle against": (
            asked(Contender(optimizer="adam", problems=["digits-mlp"]), SGD, settling=Settling()),
            "settling: no two contenders run on the same problem, so there is nothing to settle",
        ),
        "a factor where one of its problems has none": (
            asked(ADAM, SGD, factors={"activation": ["relu", "tanh"]}),
            "factors.activation: problem 'quadratic' has no choice 'activation'; leave one of them out",
        ),
    }.values(),
)
def test_what_does_not_fit_is_named(experiment: Experiment, mistake: str) -> None:
    with pytest.raises(UserError) as error:
        planner.plan(experiment)
    assert mistake in str(error.value).splitlines()[0]


@pytest.mark.parametrize(
    "entry",
    [
        Contender(optimizer="sgd", choices={"activation": "tanh"}, problems=["digits-mlp"]),
        Contender(optimizer="sgd", choices={"activation": ["tanh", "relu"]}, problems=["digits-mlp"]),
        Contender(optimizer="sgd", order="iid", problems=["digits-mlp"]),
    ],
    ids=lambda entry: entry.name,
)
def test_what_fits_one_problem_runs_there(entry: Contender) -> None:
    plan = planner.plan(asked(ADAM, entry)).plan
    assert cells(plan)[-1] == f"{entry.name} on digits-mlp" and len(cells(plan)) == 3


def test_an_optimizer_for_players_runs_on_games() -> None:
    plan = planner.plan(
        asked(ADAM, replace(GAME, problems=["bilinear-game"]), problems=("quadratic", "bilinear-game"))
    ).plan
    assert cells(plan) == ["adam on quadratic", "adam on bilinear-game", f"{GAME.name} on bilinear-game"]


def test_factors_are_crossed_where_a_contender_runs() -> None:
    on_digits = Contender(optimizer="adam", problems=["digits-mlp"])
    experiment = asked(on_digits, SGD, factors={"schedule": ["constant", "cosine"]})
    assert cells(planner.plan(experiment).plan) == [
        "sgd (constant) on quadratic",
        "sgd (cosine) on quadratic",
        "adam (constant) on digits-mlp",
        "adam (cosine) on digits-mlp",
    ]


def test_budgets_in_other_units_have_an_allowance_for_each_cell() -> None:
    bound = planner.plan(asked(Contender(optimizer="adam", problems=["digits-mlp"]), SGD, ADAM_TOO, axis="gradients"))
    assert [list(problem.allowances) for problem in bound.plan.problems] == [["sgd", "adam too"], ["adam", "adam too"]]


def test_seconds_are_those_of_the_first_contender_on_the_problem() -> None:
    bound = planner.plan(asked(Contender(optimizer="adam", problems=["digits-mlp"]), SGD, ADAM_TOO, axis="seconds"))
    taken = {"quadratic": {"sgd": 2.0, "adam too": 4.0}, "digits-mlp": {"adam": 1.0, "adam too": 2.0}}
    counted = with_step_seconds(bound, taken).plan
    assert [problem.amount for problem in counted.problems] == [16.0, 8.0]
    assert [problem.allowance("adam too").steps for problem in counted.problems] == [4, 4]


def test_an_own_optimizer_is_looked_at_where_it_runs() -> None:
    own = Optimizer("own", optax.sgd, {"learning_rate": log_uniform(1e-3, 0.1)})
    entries = Contender(optimizer="adam", problems=["digits-mlp"]), Contender(optimizer=own, problems=["quadratic"])
    bound = planner.plan(asked(*entries))
    assert [(part.group.problem.name, part.is_same) for part in retraced(bound)] == [("quadratic", True)]
    assert {name: [*each] for name, each in with_groups(bound).groups.items()} == {
        "quadratic": ["own"],
        "digits-mlp": ["adam"],
    }


def test_without_two_contenders_on_a_problem_it_says_what_is_there() -> None:
    apart = asked(
        Contender(optimizer="adam", problems=["quadratic"]), Contender(optimizer="sgd", problems=["digits-mlp"])
    )
    assert (
        foresee(planner.plan(apart).plan).sentences[0] == "No problem has two contenders: there is nothing to compare."
    )
    alone = foresee(planner.plan(asked(Contender(optimizer="adam"))).plan)
    assert alone.sentences[0] == "One contender: there is nothing to compare."
