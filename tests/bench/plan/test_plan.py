"""Identities of trials and searches: hashes of their content, put together here by hand."""

import hashlib
import json
from dataclasses import replace

import pytest

from dlkit.bench.plan.metric import Metric
from dlkit.bench.plan.plan import Plan
from dlkit.bench.plan.planned import PlannedContender, PlannedProblem
from dlkit.bench.plan.policies import EarlyStopping, TargetRule, Tuner
from dlkit.bench.plan.space import Point, Range
from dlkit.bench.plan.trials import timing_key


def hashed(value):
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


PROBLEM = PlannedProblem(
    name="bowl",
    metrics={"error": Metric(), "größe": Metric("higher")},
    metric="error",
    target=0.1,
    steps=40,
    batch_size=8,
    data="d" * 16,
    data_source="made up",
    is_own=False,
    description="a bowl",
    diverged_above=1e3,
    ladder=(0.3, 0.2),
    made_by="bowls",
    choices={"depth": 2, "width": 64, "norm": None},
    margin=0.01,
)
CONTENDER = PlannedContender(
    label="slow sgd",
    optimizer="sgd",
    is_own=False,
    space={"learning_rate": Range(1e-3, 1.0, "log"), "momentum": 0.9},
    points=[Point({"learning_rate": 0.1, "momentum": 0.9}, {"nesterov": True})],
    static={"nesterov": (True, False), "depth": [1, 2]},
    schedule="cosine",
    batch_size="full",
    order="iid",
    stopping=EarlyStopping(patience=3),
    choices={"width": 32},
    tuned_choices=("depth",),
)
PLAN = Plan(
    "small", [PROBLEM], [CONTENDER], 4, 2, 10, tuner=Tuner(name="optuna", batch=3), probes={"gradient_norm": False}
)
IDENTITY = {
    "problem": {
        "name": "bowl",
        "data": "d" * 16,
        "batch_size": None,
        "order": "iid",
        "diverged_above": 1000.0,
        "made_by": "bowls",
        "choices": {"width": 32, "norm": None},
    },
    "optimizer": {"name": "sgd", "static": {"nesterov": True}},
    "schedule": "cosine",
    "early_stopping": {"patience": 3, "min_delta": 0.0, "metric": "error"},
    "probes": ["gradient_norm"],
    "steps": 40,
    "evaluations": 4,
    "hyperparameters": {"learning_rate": 0.1, "momentum": 0.9},
    "stage": "final",
    "seed": 7,
}


@pytest.mark.parametrize(
    ("plan", "contender", "stage", "until", "changes"),
    [
        (PLAN, CONTENDER, "final", None, {}),
        (PLAN, CONTENDER, "tuning", None, {"probes": [], "stage": "tuning"}),
        (PLAN, CONTENDER, "target", None, {"probes": [], "stage": "target"}),
        (PLAN, CONTENDER, "tuning", 2, {"probes": [], "stage": "tuning", "until": 2}),
        (replace(PLAN, trial_seconds=5), CONTENDER, "final", None, {"seconds": 5}),
        (PLAN, replace(CONTENDER, stopping=None), "final", None, {"early_stopping": None}),
        (
            PLAN,
            replace(CONTENDER, batch_size=None),
            "final",
            None,
            {"problem": {**IDENTITY["problem"], "batch_size": 8}},
        ),
    ],
)
def test_the_id_of_a_trial_is_the_hash_of_what_decides_its_numbers(plan, contender, stage, until, changes):
    trial = plan.trial(PROBLEM, contender, contender.points[0], stage, 7, until)
    assert trial.identity == {**IDENTITY, **changes}
    assert trial.id == hashed({**IDENTITY, **changes})


def test_what_does_not_decide_the_numbers_of_a_trial_leaves_its_id_alone():
    point = CONTENDER.points[0]
    problem = replace(PROBLEM, target=None, description="", margin=None, ladder=(), data_source="elsewhere")
    contender = replace(
        CONTENDER, label="other", space={}, points=[], static={}, levels={"rate": "high"}, undrawn=3, draw=1
    )
    tuner = Tuner(studies=5, first_study=9)
    plan = replace(PLAN, name="other", seeds=99, max_seeds=100, max_studies=40, tuning_seeds=5, tuner=tuner)
    assert plan.trial(problem, contender, point, "final", 7) == PLAN.trial(PROBLEM, CONTENDER, point, "final", 7)


@pytest.mark.parametrize(("study", "first", "draw"), [(0, 0, 0), (2, 0, 0), (2, 3, 0), (0, 0, 4)])
def test_a_search_is_the_hash_of_what_decides_its_points(study, first, draw):
    of_a_trial = {
        **IDENTITY,
        "optimizer": {**IDENTITY["optimizer"], "static": {}},
        "hyperparameters": {},
        "probes": [],
        "stage": "tuning",
        "seed": (first + study) * 1000,
    }
    space = {"learning_rate": {"low": 0.001, "high": 1.0, "scale": "log"}, "momentum": 0.9}
    static = {"nesterov": [True, False], "depth": [1, 2]}
    expected = hashed([of_a_trial, "error", space, static, "optuna", 3, 2, *([["draw", draw]] if draw else [])])
    plan = replace(PLAN, tuner=replace(PLAN.tuner, first_study=first))
    contender = replace(CONTENDER, draw=draw)
    assert plan.search_key(PROBLEM, contender, study) == expected
    fewer = replace(contender, points=[], undrawn=5)
    assert plan.search_key(PROBLEM, fewer, study) == expected


@pytest.mark.parametrize("first", [0, 3])
def test_a_replication_sets_its_targets_on_seeds_of_its_own(first):
    plan = replace(PLAN, tuner=replace(PLAN.tuner, first_study=first), targets=TargetRule(reruns=3))
    trials = plan.reruns(PROBLEM, CONTENDER, CONTENDER.points[0])
    assert [(trial.stage, trial.seed) for trial in trials] == [("target", 1000 * first + seed) for seed in range(3)]


def test_timings_belong_to_all_seeds_of_a_trial():
    facts = ("problem", "optimizer", "schedule", "steps", "evaluations", "hyperparameters")
    for seed in (0, 7):
        trial = PLAN.trial(PROBLEM, CONTENDER, CONTENDER.points[0], "final", seed)
        known = {name: IDENTITY[name] for name in facts}
        known["problem"] = {name: value for name, value in IDENTITY["problem"].items() if name != "order"}
        assert timing_key(trial) == hashed(known)
        other = replace(CONTENDER, order="iid")
        assert timing_key(PLAN.trial(PROBLEM, other, CONTENDER.points[0], "final", seed)) == timing_key(trial)


def test_trials_of_one_contender_share_nothing_that_tells_them_apart() -> None:
    """What they have in common is made once: not of equal numbers of other types, nor of another object's."""
    other = replace(CONTENDER, schedule="constant")
    points = [Point({"learning_rate": rate, "momentum": 0.9}, {"nesterov": True}) for rate in (0.1, 1, 1.0, 1e-300)]
    statics = [Point({"learning_rate": 0.1, "momentum": 0.9}, {"nesterov": value}) for value in (True, 1, 1.0, "1")]
    seen = {}
    for contender in (CONTENDER, other):
        for point in (*points, *statics[1:]):
            for seed in (0, 7):
                for until in (None, 1, 2):
                    trial = PLAN.trial(PROBLEM, contender, point, "tuning", seed, until)
                    assert trial.id == hashed(dict(trial.identity))
                    seen[trial.id] = trial
    assert len(seen) == 2 * 7 * 2 * 3
    assert PLAN.trial(PROBLEM, CONTENDER, points[0], "tuning", 0).identity["seed"] == 0, "no other trial's seed"
