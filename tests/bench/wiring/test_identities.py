"""Whole values: a trial's identity, a contender's recipe and group in each stage, a plan with every setting."""

from dataclasses import fields, replace
from typing import Any

import pytest

from dlkit.bench.identity.hashing import digest
from dlkit.bench.optimizers import Optimizer, schedules
from dlkit.bench.plan.plan import Plan
from dlkit.bench.plan.planned import PlannedContender
from dlkit.bench.plan.policies import EarlyStopping, TargetRule, Tuner
from dlkit.bench.plan.programs import program_of
from dlkit.bench.plan.space import Point, Range, uniform
from dlkit.bench.plan.trials import Stage, Trial, timing_key
from dlkit.bench.probes import get
from dlkit.bench.spec.bound_plan import BoundPlan
from dlkit.bench.spec.budget import Budget
from dlkit.bench.spec.entries import Contender, Experiment, ProblemChoice
from dlkit.bench.spec.planner import plan
from dlkit.bench.training.recipe import Recipe
from tests.bench.wiring.test_precedence import made
from tests.bench.wiring.walk import WALKER, walk

STAGES: tuple[Stage, ...] = ("tuning", "final", "target")


def walking(mode: str, **settings: Any) -> Any:
    return WALKER.build(**settings)


OWN = Optimizer("own", walking, {"gradient": uniform(0.5, 1.5), "own": 0.0}, {"mode": ["a", "b"]}, random=True)
STOPPING = EarlyStopping(patience=2, min_delta=0.5)
WATCHING = EarlyStopping(patience=3, metric="x1")
PROBES = ("weight_norm", "gradient_norm")
BUDGET = Budget(
    steps=8,
    evaluations=4,
    tuner="random",
    tuning_points=5,
    tuning_batch=3,
    tuning_seeds=2,
    studies=2,
    halving=3,
    seeds=4,
    trial_seconds=60.0,
)


def asked(**changes: Any) -> BoundPlan:
    experiment = {
        "name": "whole",
        "problems": (
            ProblemChoice(problem=made, choices={"scale": 2.0}, batch_size=6, order="fixed", metric="x1", margin=0.5),
        ),
        "optimizers": (
            Contender(optimizer=OWN, batch_size=3, label="first"),
            Contender(
                optimizer="sgd",
                choices={"mode": "other", "l2": [1e-4, 1e-2]},
                early_stopping=WATCHING,
                schedule="cosine",
                space={"final": 0.1},
            ),
        ),
        "budget": BUDGET,
        "early_stopping": STOPPING,
        "probes": PROBES,
        "targets": TargetRule(baselines=("first",), reruns=3, shares=(0.5, 1.0)),
    }
    return plan(Experiment(**(experiment | changes)))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def bound() -> BoundPlan:
    return asked()


def trials(planned: Plan) -> dict[Stage, Trial]:
    """A trial of the first contender in each stage, made as a run makes it."""
    (problem,), (first, _) = planned.problems, planned.contenders
    point = first.points[1]
    return {
        "tuning": planned.tuning_trials(problem, first, [point], study=1, until=2)[0][1],
        "final": planned.final_trials(problem, first, point, study=1)[3],
        "target": planned.reruns(problem, first, point)[2],
    }


@pytest.mark.parametrize("stage", STAGES)
def test_a_trials_identity(bound: BoundPlan, stage: Stage) -> None:
    (problem,), (first, _) = bound.plan.problems, bound.plan.contenders
    point = first.points[1]
    trial = trials(bound.plan)[stage]
    programs = program_of(bound.plan.programs, "made", "first", point.static)
    expected: dict[str, Any] = {
        "problem": {
            "name": "made",
            "data": made(scale=2.0).dataset.digest,
            "batch_size": 3,
            "order": "fixed",
            "diverged_above": 9.0,
        },
        "optimizer": {"name": "", "static": {"mode": point.static["mode"]}},
        "schedule": "constant",
        "early_stopping": {"patience": 2, "min_delta": 0.5, "metric": "x1"},
        "probes": sorted(PROBES) if stage == "final" else [],
        "steps": 8,
        "evaluations": 4,
        "hyperparameters": {"gradient": point.hyperparameters["gradient"], "own": 0.0},
        "stage": stage,
        "seed": {"tuning": 1001, "final": 1003, "target": 1000}[stage],
        "seconds": 60.0,
        "program": [programs.problem, programs.method, ""],
        **({"until": 2} if stage == "tuning" else {}),
    }
    assert trial.identity == expected
    assert trial.id == digest(expected)
    assert programs.problem and programs.method and problem.made_by.endswith("made")
    assert (trial.stage, trial.seed, trial.seconds) == (stage, expected["seed"], 60.0)
    assert trial.until == expected.get("until")


def test_the_identity_of_a_contender_with_choices_and_a_policy_of_its_own(bound: BoundPlan) -> None:
    (problem,), (_, second) = bound.plan.problems, bound.plan.contenders
    identity = bound.plan.final_trials(problem, second, second.points[0])[0].identity
    assert identity["program"][1] == "", "the optimizer is registered"
    other = bound.plan.programs["made"]["first"].values()
    assert identity["program"][0] not in {each.problem for each in other}, "its choice makes another problem"
    assert identity["hyperparameters"].keys() == {"learning_rate", "final", "l2"}
    assert identity["optimizer"] == {"name": "sgd", "static": {}}
    assert identity["early_stopping"] == {"patience": 3, "min_delta": 0.0, "metric": "x1"}
    assert (identity["schedule"], identity["problem"]["batch_size"]) == ("cosine", 6)


def test_what_a_trial_lacks_is_left_out() -> None:
    """So that the ids of trials without a time budget are what they were before there were time budgets."""
    planned = asked(
        budget=Budget(evaluations=3, tuning_points=2, tuning_seeds=2, seeds=4), probes=(), early_stopping=None
    ).plan
    identity = trials(planned)["final"].identity if len(planned.contenders[0].points) > 1 else {}
    assert identity and not {"seconds", "until"} & identity.keys()
    assert (identity["early_stopping"], identity["probes"]) == (None, [])


@pytest.mark.parametrize("stage", STAGES)
def test_the_recipe_of_each_stage(bound: BoundPlan, stage: Stage) -> None:
    (problem,), (first, second) = bound.plan.problems, bound.plan.contenders
    probes = [get(name) for name in sorted(PROBES)] if stage == "final" else []
    own, sgd = (bound.methods[label].optimizer for label in ("first", second.label))
    common = {"steps": 8, "evaluations": 4, "probes": probes}
    expected = [
        Recipe(
            optimizer=own,
            static={"mode": "b"},
            schedule=bound.methods["first"].schedule,
            stopping=STOPPING,
            choices=[],
            **common,  # type: ignore[arg-type]
        ),
        Recipe(
            optimizer=sgd,
            schedule=bound.methods[second.label].schedule,
            stopping=WATCHING,
            choices=["l2"],
            **common,  # type: ignore[arg-type]
        ),
    ]
    groups = [bound.group(problem, first, {"mode": "b"}, stage=stage), bound.group(problem, second, {}, stage=stage)]
    for group, recipe in zip(groups, expected, strict=True):
        for each in fields(Recipe):
            assert getattr(group.recipe, each.name) == getattr(recipe, each.name), each.name
    assert (own.build, own.space) == (OWN.build, first.space)
    schedule = groups[1].recipe.schedule
    assert (schedule.shape, schedule.space) == (schedules.get("cosine").shape, {"final": 0.1})
    loaded = [group.problem.load() for group in groups]
    assert [(each.name, each.batch_size, each.metric) for each in loaded] == [("made", 3, "x1"), ("made", 6, "x1")]
    assert [dict(group.problem.choices)["mode"] for group in groups] == ["plain", "other"]
    assert [dict(group.problem.choices)["scale"] for group in groups] == [2.0, 2.0]


def test_a_group_for_everything_that_is_compiled_in(bound: BoundPlan) -> None:
    """Stages without probes share one; whatever else differs has its own."""
    (problem,), (first, second) = bound.plan.problems, bound.plan.contenders
    keys = {stage: bound.group(problem, first, {"mode": "b"}, stage=stage).key for stage in STAGES}
    assert keys["tuning"] == keys["target"] != keys["final"]
    others = [
        bound.group(problem, first, {"mode": "a"}).key,
        bound.group(problem, second, {}).key,
        asked(early_stopping=None).group(problem, asked(early_stopping=None).plan.contenders[0], {"mode": "b"}).key,
    ]
    changes = [{"steps": 12}, {"evaluations": 2}]
    for change in changes:
        settings = {"steps": 8, "evaluations": 4, "tuning_points": 2} | change
        other = asked(budget=Budget(**settings))
        others.append(other.group(other.plan.problems[0], other.plan.contenders[0], {"mode": "b"}).key)
    assert len({*others, keys["tuning"], keys["final"]}) == len(others) + 2


def test_everything_a_spec_says_is_in_its_plan(bound: BoundPlan) -> None:
    planned = bound.plan
    assert (planned.name, planned.evaluations, planned.tuning_seeds, planned.seeds) == ("whole", 4, 2, 4)
    assert planned.tuner == Tuner("random", None, 2, 3, 3, {})
    assert (planned.probes, planned.trial_seconds) == (dict.fromkeys(PROBES, False), 60.0)
    assert planned.targets == TargetRule(baselines=("first",), reruns=3, shares=(0.5, 1.0))
    (problem,), (first, second) = planned.problems, planned.contenders
    assert (problem.steps, problem.batch_size, problem.metric, problem.target) == (8, 6, "x1", None)
    assert (problem.margin, problem.ladder, problem.diverged_above, problem.order) == (0.5, (), 9.0, "fixed")
    assert dict(problem.metrics) == dict(made().metrics)
    assert (problem.data, problem.choices) == (
        made(scale=2.0).dataset.digest,
        {"scale": 2.0, "mode": "plain", "l2": 0.0},
    )
    assert (first.label, first.optimizer, first.schedule, first.batch_size) == ("first", "own", "constant", 3)
    assert (first.stopping, first.choices, first.tuned_choices) == (STOPPING, {}, ())
    assert (first.static, first.undrawn) == ({"mode": ["a", "b"]}, 0)
    assert second.choices == {"mode": "other"} and second.tuned_choices == ("l2",)
    assert second.space["l2"] == Range(1e-4, 1e-2, "log") and second.stopping == WATCHING
    assert [len(first.points_of(study)) for study in range(2)] == [5, 5]
    grid = asked(
        budget=Budget(evaluations=3, studies=3, first_study=5, tuner="grid", grid={"gradient": 2}, tuning_points=8)
    ).plan
    assert grid.tuner == Tuner("grid", studies=3, grid={"gradient": 2}, first_study=5)
    timed = asked(budget=Budget(evaluations=3, studies=1, tuning_seconds=2.5)).plan
    assert timed.tuner == Tuner(seconds=2.5) and [each.undrawn for each in timed.contenders] == [None, None]
    asking = asked(budget=Budget(evaluations=3, studies=1, tuner="optuna", tuning_points=7)).plan
    assert asking.tuner == Tuner("optuna") and [each.undrawn for each in asking.contenders] == [7, 7]


# --- what steps cost -------------------------------------------------------------------------------------------------

KNOWN = {"stage", "seed", "probes", "early_stopping", "seconds", "until"}


def test_a_timing_is_for_all_that_decides_how_long_a_step_takes(bound: BoundPlan) -> None:
    trial = trials(bound.plan)["final"]
    key = timing_key(trial)
    for name in trial.identity:
        other = Trial("", {**trial.identity, name: {} if name == "problem" else "another"})
        assert (timing_key(other) == key) == (name in KNOWN), name


def test_the_search_of_a_study_is_told_apart_by_what_decides_its_points() -> None:
    base = asked(budget=Budget(evaluations=3, tuning_seconds=2.5, studies=2)).plan

    def key(planned: Plan, study: int = 0, contender: int = 0) -> str:
        return planned.search_key(planned.problems[0], planned.contenders[contender], study)

    drawn_again = (Contender(optimizer=OWN, batch_size=3, label="first", draw=1), Contender(optimizer="sgd"))
    longer = asked(budget=Budget(evaluations=3, tuning_seconds=9.0, studies=3, seeds=5)).plan
    assert key(longer) == key(base), "more seconds, studies and seeds draw more of the same points"
    others = [
        key(base, study=1),
        key(base, contender=1),
        key(asked(budget=Budget(evaluations=3, tuning_seconds=2.5, first_study=2)).plan),
        key(asked(budget=Budget(evaluations=3, tuning_seconds=2.5), optimizers=drawn_again).plan),
        key(asked(budget=Budget(evaluations=3, tuning_seconds=2.5, tuner="random")).plan),
        key(asked(budget=Budget(evaluations=3, tuning_seconds=2.5, tuning_seeds=3)).plan),
        key(asked(budget=Budget(evaluations=3, tuning_seconds=2.5, tuning_batch=2)).plan),
        key(asked(budget=Budget(evaluations=3, tuning_seconds=2.5, steps=12)).plan),
        key(asked(budget=Budget(evaluations=3, tuning_seconds=2.5), problems=(ProblemChoice(problem=made),)).plan),
        key(asked(budget=Budget(evaluations=3, tuning_seconds=2.5), problems=(ProblemChoice(problem=walk()),),
                  optimizers=(Contender(optimizer=OWN, label="first"),)).plan),
    ]  # fmt: skip
    assert len({key(base), *others}) == len(others) + 1


@pytest.mark.parametrize(("studies", "first"), [(1, 0), (1, 3), (2, 0), (2, 3)])
def test_added_seeds_are_those_of_a_single_study_and_of_their_contender(studies: int, first: int) -> None:
    """Several studies get no more seeds: there, studies are added."""
    base = asked(budget=replace(BUDGET, studies=studies, first_study=first)).plan
    (problem,), (chosen, other) = base.problems, base.contenders
    more = replace(base, added_seeds={"made": {"first": 3}})

    def seeds(contender: PlannedContender, study: int) -> list[int]:
        return [trial.seed for trial in more.final_trials(problem, contender, Point({}, {}), study=study)]

    for study in range(studies):
        start = 1000 * (first + study)
        assert seeds(other, study) == [start + seed for seed in range(4)]
        assert seeds(chosen, study) == [start + seed for seed in range(7 if studies == 1 else 4)]


@pytest.mark.parametrize("studies", [1, 2])
def test_added_studies_are_those_of_their_contender_and_problem(studies: int) -> None:
    base = asked(budget=replace(BUDGET, studies=studies)).plan
    (problem,), (first, second) = base.problems, base.contenders
    more = replace(base, added_studies={"made": {"first": 3}, "other": {"first": 9, second.label: 9}})
    assert more.studies(problem, first) == range(studies + 3)
    assert more.studies(problem, second) == base.studies(problem, first) == range(studies)
