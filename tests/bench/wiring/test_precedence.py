"""Who overrides whom, where a spec can say the same thing in several places: one line a rule."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from dlkit.bench import cli
from dlkit.bench.data import Dataset
from dlkit.bench.errors import UserError
from dlkit.bench.execution import whole_run
from dlkit.bench.optimizers import OPTIMIZERS
from dlkit.bench.plan.metric import Metric
from dlkit.bench.plan.plan import Plan
from dlkit.bench.plan.policies import EarlyStopping, TargetRule
from dlkit.bench.plan.space import Range
from dlkit.bench.problems import Problem
from dlkit.bench.spec.bound_plan import BoundPlan
from dlkit.bench.spec.budget import AMOUNTS, Budget
from dlkit.bench.spec.entries import Contender, Experiment, ProblemChoice
from dlkit.bench.spec.planner import plan
from dlkit.typing import Scalar
from tests.bench.wiring.walk import walk

ROWS = walk().dataset


def made(*, scale: float = 1.0, mode: str = "plain", l2: Scalar = 0.0) -> Problem:
    """A problem of 6 steps of 4 examples, with a target and a bound of its own, whose data depend on a choice."""
    index = {"index": ROWS.train["index"] * scale}
    metrics = {"x0": Metric("lower"), "x1": Metric("higher")} | ({"x2": Metric()} if mode == "more" else {})
    return walk("made", dataset=Dataset("rows", index, index, index), metrics=metrics, target=0.5, diverged_above=9.0)


def asked(
    problem: Mapping[str, Any] | None = None,
    contender: Mapping[str, Any] | None = None,
    budget: Mapping[str, Any] | None = None,
    **experiment: Any,
) -> BoundPlan:
    """The plan of one problem and one contender, with what each part of the spec says."""
    settings = {"evaluations": 2, "tuning_points": 1, "tuning_seeds": 1, "seeds": 2, **(budget or {})}
    return plan(
        Experiment(
            name="x",
            problems=(ProblemChoice(**{"problem": made, **(problem or {})}),),
            optimizers=(Contender(**{"optimizer": "sgd", **(contender or {})}),),
            budget=Budget(**settings),
            **experiment,
        )
    )


def of_problem(name: str) -> Callable[[BoundPlan], Any]:
    return lambda bound: getattr(bound.plan.problems[0], name)


def of_contender(name: str) -> Callable[[BoundPlan], Any]:
    return lambda bound: getattr(bound.plan.contenders[0], name)


def trained(name: str) -> Callable[[BoundPlan], Any]:
    """What the first contender's tuning trials are trained with."""

    def found(bound: BoundPlan) -> Any:
        (problem,), contender = bound.plan.problems, bound.plan.contenders[0]
        group = bound.group(problem, contender, contender.points[0].static)
        if name == "order":
            return first_trial(bound.plan).order
        return getattr(group.problem.load() if name == "batch_size" else group.recipe, name)

    return found


def told(what: str) -> Callable[[BoundPlan], Any]:
    """What the identity of the first contender's first trial says of its problem."""
    return lambda bound: first_trial(bound.plan).identity["problem"][what]


def chosen(bound: BoundPlan) -> Mapping[str, Any]:
    """The choices that the first contender's problem is made with."""
    contender = bound.plan.contenders[0]
    static = contender.points[0].static
    return dict(bound.group(bound.plan.problems[0], contender, static).problem.choices)


def first_trial(planned: Plan) -> Any:
    (problem,), contender = planned.problems, planned.contenders[0]
    return planned.tuning_trials(problem, contender)[0][0]


def targets(bound: BoundPlan) -> Any:
    (problem,) = bound.plan.problems
    return (*problem.ladder, problem.target), bound.plan.targets.reruns


PATIENT, HASTY = EarlyStopping(patience=9), EarlyStopping(patience=1)
RULE, USUAL = TargetRule(reruns=3), TargetRule()
SIZES = {"batch_size": [2, 3]}
STOPS = {"early_stopping": [PATIENT, False]}

# (what is asked, where to look, what has to be there)
RULES: dict[str, tuple[dict[str, Any], Callable[[BoundPlan], Any], Any]] = {
    # steps: the problem entry's, else the budget's, else the problem's own
    "own steps": ({}, of_problem("steps"), 6),
    "budget's steps": ({"budget": {"steps": 8}}, of_problem("steps"), 8),
    "entry's steps": ({"problem": {"steps": 10}, "budget": {"steps": 8}}, of_problem("steps"), 10),
    "entry's steps are trained": ({"problem": {"steps": 10}, "budget": {"steps": 8}}, trained("steps"), 10),
    # batch size: the contender's, else a factor's, else the problem entry's, else the problem's own
    "own batch": ({}, trained("batch_size"), 4),
    "entry's batch": ({"problem": {"batch_size": 6}}, trained("batch_size"), 6),
    "contender's batch": ({"problem": {"batch_size": 6}, "contender": {"batch_size": 2}}, trained("batch_size"), 2),
    "contender's batch is told": (
        {"problem": {"batch_size": 6}, "contender": {"batch_size": 2}},
        told("batch_size"),
        2,
    ),
    "whole split": ({"problem": {"batch_size": 6}, "contender": {"batch_size": "full"}}, trained("batch_size"), None),
    "factor's batch": ({"problem": {"batch_size": 6}, "factors": SIZES}, trained("batch_size"), 2),
    "contender's batch, factor's": ({"contender": {"batch_size": 5}, "factors": SIZES}, trained("batch_size"), 5),
    "a factor that is set is not crossed": (
        {"contender": {"batch_size": 5}, "factors": SIZES},
        lambda bound: len(bound.plan.contenders),
        1,
    ),
    # order: the contender's, else a factor's, else the problem entry's, else the problem's own
    "own order": ({}, trained("order"), "reshuffle"),
    "entry's order": ({"problem": {"order": "fixed"}}, trained("order"), "fixed"),
    "contender's order": ({"problem": {"order": "fixed"}, "contender": {"order": "iid"}}, trained("order"), "iid"),
    "contender's order is told": ({"problem": {"order": "fixed"}, "contender": {"order": "iid"}}, told("order"), "iid"),
    "factor's order": ({"problem": {"order": "fixed"}, "factors": {"order": ["iid"]}}, trained("order"), "iid"),
    # what is judged, and from when on it is hopeless: the problem entry's, else the problem's own
    "own metric": ({}, of_problem("metric"), "x0"),
    "entry's metric": ({"problem": {"metric": "x1"}}, of_problem("metric"), "x1"),
    "entry's metric is loaded": ({"problem": {"metric": "x1"}}, lambda b: b.problems["made"].load().metric, "x1"),
    "own bound": ({}, told("diverged_above"), 9.0),
    "entry's bound": ({"problem": {"diverged_above": 3.0}}, told("diverged_above"), 3.0),
    "entry's bound is trained": (
        {"problem": {"diverged_above": 3.0}},
        lambda bound: bound.problems["made"].load().diverged_above,
        3.0,
    ),
    "entry's margin": ({"problem": {"margin": 0.25}}, of_problem("margin"), 0.25),
    # targets: the problem entry's, else the experiment's rule, else the problem's own
    "own target": ({}, targets, ((0.5,), USUAL.reruns)),
    "the rule": ({"targets": RULE}, targets, ((None,), 3)),
    "entry's target": ({"problem": {"target": 0.2}, "targets": RULE}, targets, ((0.2,), 3)),
    "entry's ladder, the easiest first": ({"problem": {"target": [0.2, 0.4, 0.3]}}, targets, ((0.4, 0.3, 0.2), 20)),
    "and where high is good": (
        {"problem": {"target": [0.2, 0.4, 0.3], "metric": "x1"}},
        targets,
        ((0.2, 0.3, 0.4), 20),
    ),
    "another metric has no own target": ({"problem": {"metric": "x1"}}, targets, ((None,), 20)),
    # early stopping: the contender's, False for none, else a factor's, else the experiment's
    "no stopping": ({}, trained("stopping"), None),
    "experiment's stopping": ({"early_stopping": PATIENT}, trained("stopping"), PATIENT),
    "contender's stopping": (
        {"early_stopping": PATIENT, "contender": {"early_stopping": HASTY}},
        trained("stopping"),
        HASTY,
    ),
    "contender that never stops": (
        {"early_stopping": PATIENT, "contender": {"early_stopping": False}},
        trained("stopping"),
        None,
    ),
    "factor's stopping": ({"early_stopping": HASTY, "factors": STOPS}, trained("stopping"), PATIENT),
    "factor without stopping": (
        {"early_stopping": HASTY, "factors": STOPS},
        lambda bound: bound.plan.contenders[1].stopping,
        None,
    ),
    "contender's stopping, factor's": (
        {"factors": STOPS, "contender": {"early_stopping": HASTY}},
        trained("stopping"),
        HASTY,
    ),
    # schedule: the contender's, else a factor's, else constant; its settings: the contender's, else declared
    "no schedule": ({}, of_contender("schedule"), "constant"),
    "factor's schedule": ({"factors": {"schedule": ["cosine"]}}, of_contender("schedule"), "cosine"),
    "contender's schedule": (
        {"factors": {"schedule": ["cosine"]}, "contender": {"schedule": "linear"}},
        of_contender("schedule"),
        "linear",
    ),
    "declared setting": ({"contender": {"schedule": "cosine"}}, lambda b: b.plan.contenders[0].space["final"], 0.0),
    "contender's setting": (
        {"contender": {"schedule": "cosine", "space": {"final": 0.1}}},
        lambda bound: bound.plan.contenders[0].space["final"],
        0.1,
    ),
    "contender's setting is drawn": (
        {"contender": {"schedule": "cosine", "space": {"final": 0.1}}},
        lambda bound: bound.plan.contenders[0].points[0].hyperparameters["final"],
        0.1,
    ),
    # space: the contender's, else registered
    "registered space": ({}, of_contender("space"), dict(OPTIMIZERS["sgd"].space)),
    "contender's range": (
        {"contender": {"space": {"learning_rate": [0.01, 0.02]}}},
        of_contender("space"),
        {"learning_rate": Range(0.01, 0.02, "log")},
    ),
    "contender's number": (
        {"contender": {"space": {"learning_rate": 0.3}}},
        lambda bound: first_trial(bound.plan).hyperparameters,
        {"learning_rate": 0.3},
    ),
    # choices: the contender's, else a factor's, else the problem entry's, else the default
    "default choice": ({}, chosen, {"scale": 1.0, "mode": "plain", "l2": 0.0}),
    "entry's choice": (
        {"problem": {"choices": {"scale": 2.0}}},
        chosen,
        {"scale": 2.0, "mode": "plain", "l2": 0.0},
    ),
    "contender's choice": (
        {"problem": {"choices": {"scale": 2.0}}, "contender": {"choices": {"mode": "other"}}},
        chosen,
        {"scale": 2.0, "mode": "other", "l2": 0.0},
    ),
    "factor's choice": (
        {"factors": {"mode": ["other", "plain"]}},
        chosen,
        {"scale": 1.0, "mode": "other", "l2": 0.0},
    ),
    "contender's choice, factor's": (
        {"factors": {"mode": ["other", "plain"]}, "contender": {"choices": {"mode": "third"}}},
        chosen,
        {"scale": 1.0, "mode": "third", "l2": 0.0},
    ),
    "a traced choice is a number of the trial": (
        {"contender": {"choices": {"l2": 0.1}}},
        lambda bound: first_trial(bound.plan).hyperparameters["l2"],
        0.1,
    ),
    # names: the label, else what is made of what is set
    "made-up name": (
        {"contender": {"schedule": "cosine", "batch_size": 2}},
        of_contender("label"),
        "sgd (cosine, batch 2)",
    ),
    "label": ({"contender": {"schedule": "cosine", "label": "mine"}}, of_contender("label"), "mine"),
    "label and factor": (
        {"contender": {"label": "mine"}, "factors": {"schedule": ["cosine"]}},
        of_contender("label"),
        "mine (cosine)",
    ),
    "own name": ({}, of_problem("name"), "made"),
    "problem's label": ({"problem": {"label": "other"}}, of_problem("name"), "other"),
    "problem's label is trained": ({"problem": {"label": "other"}}, lambda b: b.problems["other"].load().name, "other"),
}


@pytest.mark.parametrize("rule", RULES)
def test_who_overrides_whom(rule: str) -> None:
    spec, look, expected = RULES[rule]
    found = look(asked(**spec))
    assert found == expected
    assert type(found) is type(expected)


# --- choices that ask another question -------------------------------------------------------------------------------


@pytest.mark.parametrize(("choices", "what"), [({"scale": 3.0}, "data"), ({"mode": "more"}, "metrics")])
@pytest.mark.parametrize("where", ["contender", "factor", "tuned"])
def test_choices_that_change_the_question_are_for_the_problem(choices: dict[str, Any], what: str, where: str) -> None:
    ((name, value),) = choices.items()
    spec: dict[str, Any] = {
        "contender": {"contender": {"choices": choices}},
        "factor": {"factors": {name: [value]}},
        "tuned": {"contender": {"choices": {name: [made.__kwdefaults__[name], value]}}},
    }[where]
    with pytest.raises(UserError, match=f"problem 'made': has other {what} with .*'{name}': .*{value}"):
        asked(**spec)
    assert asked({"choices": choices}).plan.problems[0].choices[name] == value


# --- the command line ------------------------------------------------------------------------------------------------

SPEC = """
problems = ["quadratic"]
optimizers = ["sgd", "adam"]
[budget]
steps = 40
evaluations = 4
tuner = "random"
tuning_points = 5
tuning_seeds = 3
studies = 2
seeds = 7
halving = 2
"""


class Asked(Exception):
    """Ends a run where it would begin."""


OPTIONS = {
    "--seeds": ("3", "seeds", 3),
    "--steps": ("80", "steps", 80),
    "--tuner": ("halton", "tuner", "halton"),
    "--tuning-points": ("9", "tuning_points", 9),
    "--tuning-points-per-dimension": ("2", "tuning_points_per_dimension", 2),
    "--tuning-seeds": ("1", "tuning_seeds", 1),
    "--studies": ("4", "studies", 4),
    "--halving": ("3", "halving", 3),
}


@pytest.mark.parametrize("option", ["", *OPTIONS])
def test_an_option_replaces_what_the_spec_says_and_nothing_else(
    option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "spec.toml"
    path.write_text('name = "small"' + SPEC)
    found: list[Budget] = []

    def run(experiment: Experiment, **_: Any) -> None:
        found.append(experiment.budget)
        raise Asked

    monkeypatch.setattr(whole_run, "carry_out", run)
    text, name, value = OPTIONS.get(option, ("", "", None))
    with pytest.raises(Asked):
        cli.app(["run", str(path), *([option, text] if option else [])], result_action="return_value")
    expected: dict[str, Any] = {"steps": 40, "evaluations": 4, "tuner": "random", "tuning_points": 5, "tuning_seeds": 3}
    expected |= {"studies": 2, "seeds": 7, "halving": 2}
    if option:
        expected[name] = value
    if name in AMOUNTS:  # a budget has one of them: an option takes the place of whichever the spec has
        expected |= {each: None for each in AMOUNTS if each != name}
    assert found == [Budget(**expected)]
