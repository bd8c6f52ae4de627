"""Targets: declared or set by baselines before the challengers run, frozen, and how trials come out against them."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dlkit import bench
from dlkit.bench.analysis import frames
from dlkit.bench.analysis.summary import summarize
from dlkit.bench.errors import UserError
from dlkit.bench.execution import runner
from dlkit.bench.execution.executor import InlineExecutor
from dlkit.bench.execution.progress import Silent
from dlkit.bench.execution.work import Done, Timed
from dlkit.bench.plan.json import from_json, to_json
from dlkit.bench.plan.metric import Metric
from dlkit.bench.plan.plan import Plan
from dlkit.bench.plan.policies import TargetRule
from dlkit.bench.plan.trials import Evaluations, Outcome, Trial
from dlkit.bench.report import tables
from dlkit.bench.spec import planner, toml
from dlkit.bench.spec.budget import Budget
from dlkit.bench.spec.entries import Contender, Experiment, ProblemChoice
from dlkit.bench.store.store import Store
from dlkit.bench.tuning.history import History
from dlkit.bench.tuning.objective import first_at
from dlkit.bench.tuning.targets import Ending, Frozen, declared, ending, freeze, reruns, sets_targets
from tests.bench.synthetic import PROGRAM, make_plan, make_problem

INLINE = bench.Resources(executor="inline")

INF = math.inf


def outcome(trial: Trial, values: Sequence[float], *, status: Any = "finished", at: int | None = None) -> Outcome:
    steps = np.arange(len(values), dtype=np.int64) * 10
    curves = {"error": np.array(values, np.float32)}
    return Outcome(trial, status, "", "", at, 0.0, 0.0, steps, curves, {}, Evaluations(0))


ANY = Trial("t", {"stage": "final", "seed": 0, "hyperparameters": {}})


@pytest.mark.parametrize(
    ("values", "status", "expected"),
    [
        ([1.0, 0.5, 0.1], "finished", Ending("reached", 20)),
        ([1.0, 0.5, 0.3], "finished", Ending("missed", None)),
        ([1.0, 0.5, 0.3], "stopped", Ending("missed", None)),
        ([1.0, 0.1, math.nan], "diverged", Ending("reached", 10)),
        ([1.0, 0.5, math.nan], "diverged", Ending("diverged", 17)),
        ([1.0, 0.5], "cut off", Ending("cut off", 10)),
        ([1.0, 0.1], "cut off", Ending("reached", 10)),
        ([], "failed", Ending("failed", None)),
    ],
)
def test_the_five_ways_to_come_out(values: list[float], status: str, expected: Ending) -> None:
    at = 17 if status == "diverged" else None
    assert ending(make_problem(), outcome(ANY, values, status=status, at=at), 0.2) == expected


def test_without_a_target_nothing_is_reached() -> None:
    assert first_at(make_problem(), outcome(ANY, [1.0, 0.0]), math.nan) is None
    assert ending(make_problem(), outcome(ANY, [1.0, 0.0]), math.nan) == Ending("missed", None)


def test_declared_targets_need_no_baseline() -> None:
    plan = make_plan(["x"])
    problem = plan.problems[0]
    assert declared(problem)[:2] == ((0.1,), "declared")
    assert not sets_targets(plan, problem, plan.contenders[0])
    assert reruns(History(plan), problem) is None


def tuned(plan: Plan, scores: dict[str, list[float]]) -> dict[str, Outcome]:
    """Outcomes of tuning: label -> a final value for each point."""
    problem = plan.problems[0]
    return {
        trial.id: outcome(trial, [1.0, value])
        for contender in plan.contenders
        if contender.label in scores
        for row, value in zip(plan.tuning_trials(problem, contender), scores[contender.label], strict=True)
        for trial in row
    }


def with_rule(metric: Metric | None = None, **rule: Any) -> Plan:
    plan = make_plan(["a", "b", "c"], problems=[make_problem(metric=metric, target=None)], points=2)
    return Plan(**{**vars(plan), "targets": TargetRule(**rule)})


def test_the_best_tuned_baseline_is_trained_again_on_seeds_of_its_own() -> None:
    plan = with_rule(baselines=("a", "c"), reruns=3)
    problem = plan.problems[0]
    assert [sets_targets(plan, problem, each) for each in plan.contenders] == [True, False, True]
    assert reruns(History(plan, tuned(plan, {"a": [0.5, 0.4]})), problem) is None, "c is not tuned yet"
    again = reruns(History(plan, tuned(plan, {"a": [0.5, 0.4], "b": [0.1, 0.1], "c": [0.3, 0.6]})), problem)
    assert again is not None and again.contender.label == "c"
    assert [(trial.stage, trial.seed) for trial in again.trials] == [("target", 0), ("target", 1), ("target", 2)]
    assert {trial.hyperparameters["learning_rate"] for trial in again.trials} == {0.001}, "its first point"
    others = {
        trial.id
        for contender in plan.contenders
        for point in contender.points
        for trials in [plan.final_trials(problem, contender, point), *plan.tuning_trials(problem, contender)]
        for trial in trials
    }
    assert not others & {trial.id for trial in again.trials}


def test_the_best_of_all_planned_studies_winners_sets_targets() -> None:
    """Not that of studies that were added since: targets do not move."""
    plan = with_rule(baselines=("a", "c"), reruns=3)
    problem = plan.problems[0]
    contenders = [replace(each, further=(each.points, each.points)) for each in plan.contenders]
    plan = replace(plan, contenders=contenders, tuner=replace(plan.tuner, studies=2))

    def scores(values: dict[tuple[str, int], list[float]]) -> History:
        found = [
            outcome(trial, [1.0, value])
            for (label, study), each in values.items()
            for row, value in zip(
                plan.tuning_trials(problem, contenders["abc".index(label)], study=study), each, strict=True
            )
            for trial in row
        ]
        return History(plan, {each.trial.id: each for each in found})

    first = {("a", 0): [0.5, 0.4], ("c", 0): [0.6, 0.7], ("a", 1): [0.5, 0.9]}
    assert reruns(scores(first), problem) is None, "c's second study is not tuned yet"
    whole = {**first, ("c", 1): [0.8, 0.2], ("a", 2): [0.1, 0.1], ("b", 1): [0.0, 0.0]}
    more = replace(plan, added_studies={"bowl": {"a": 1}})
    for each in (plan, more):
        again = reruns(scores(whole).with_plan(each), problem)
        assert again is not None and again.contender.label == "c"
        assert {trial.hyperparameters["learning_rate"] for trial in again.trials} == {1.0}, "its second point"
        assert [trial.seed for trial in again.trials] == [0, 1, 1000], "the two studies in turn"


@pytest.mark.parametrize(
    ("metric", "curves", "expected"),
    [
        # 40 steps in four parts; medians of the best so far: 0.5, 0.4, 0.4, 0.2
        (
            Metric("lower"),
            [[1, 0.5, 0.6, 0.4, 0.2], [1, 0.6, 0.4, 0.5, 0.5], [1, 0.4, 0.3, 0.2, 0.1]],
            (0.5, 0.4, 0.2),
        ),
        (
            Metric("higher"),
            [[0, 0.5, 0.4, 0.6, 0.8], [0, 0.4, 0.6, 0.5, 0.5], [0, 0.6, 0.7, 0.8, 0.9]],
            (0.5, 0.6, 0.8),
        ),
        (Metric("lower", "log"), [[1, 0.1, 0.1, 0.01, 0.001]] * 3, (0.1, 0.01, 0.001)),
    ],
)
def test_targets_are_medians_of_what_was_reached_by_shares_of_the_budget(
    metric: Metric, curves: list[list[float]], expected: tuple[float, ...]
) -> None:
    plan = with_rule(metric, reruns=3)
    problem = plan.problems[0]
    history = History(plan, tuned(plan, {"a": [0.5, 0.4]}))
    again = reruns(history, problem)
    assert again is not None
    ended = [outcome(trial, curve) for trial, curve in zip(again.trials, curves, strict=True)]
    history.add(ended[:2])
    assert freeze(history, problem, again) is None, "one has not run"
    history.add(ended[2:])
    frozen = freeze(history, problem, again)
    assert frozen is not None
    assert frozen.values == pytest.approx(expected, rel=1e-6)
    assert frozen.hardest == frozen.values[-1]
    assert frozen.source == "median of 3 reruns of a, the best tuned baseline"


def test_shares_are_of_what_the_budget_counts() -> None:
    plan = with_rule(reruns=1, shares=(0.5, 1.0))
    history = History(plan, tuned(plan, {"a": [0.5, 0.4]}))
    again = reruns(history, plan.problems[0])
    assert again is not None
    dear = np.array([0.0, 30.0, 45.0, 70.0, 80.0])  # gradients at steps 0, 10, 20, 30, 40
    history.add([replace(outcome(again.trials[0], [1.0, 0.5, 0.4, 0.3, 0.2]), gradients=dear)])
    frozen = [
        freeze(history, replace(plan.problems[0], axis=axis, amount=amount), again)
        for axis, amount in (("steps", None), ("gradients", 80.0))
    ]
    assert [each.values for each in frozen if each] == [pytest.approx((0.4, 0.2)), pytest.approx((0.5, 0.2))]


def test_what_diverged_early_makes_no_target_and_late_divergence_counts_until_then() -> None:
    plan = with_rule(reruns=1, shares=(0.25, 1.0))
    problem = plan.problems[0]
    history = History(plan, tuned(plan, {"a": [0.5, 0.4]}))
    again = reruns(history, problem)
    assert again is not None
    history.add([outcome(again.trials[0], [1.0, 0.5, math.nan], status="diverged", at=15)])
    frozen = freeze(history, problem, again)
    assert frozen is not None and frozen.values == pytest.approx((0.5,))


def test_frozen_targets_stay(tmp_path: Path) -> None:
    first, second = Frozen((0.5, 0.1), "first", "d1"), Frozen((0.4,), "second", "d2")
    with Store(tmp_path / "run") as store:
        store.use_software(PROGRAM)
        assert store.frozen() == {}
        store.freeze("k", "bowl", first)
        store.freeze("k", "bowl", second)
        store.freeze("other", "bowl", second)
        assert store.frozen() == {"k": first, "other": second}
        assert [each["digest"] for each in store.manifest()["targets"]] == ["d1", "d2"]
    with Store(tmp_path / "run") as store:
        assert store.frozen()["k"] == first


BUDGET = Budget(steps=20, evaluations=4, tuning_points=2, tuning_seeds=1, studies=2, seeds=2)


def asked(*labels: str, **settings: Any) -> Experiment:
    return Experiment(
        name="targets",
        problems=(ProblemChoice(problem="quadratic"),),
        optimizers=tuple(Contender(optimizer=label) for label in labels),
        budget=BUDGET,
        **settings,
    )


class Watching(InlineExecutor):
    """Notes the stages and optimizers of trials in the order in which they end: a slow machine splits a task."""

    def __init__(self, seen: list[tuple[str, str]]) -> None:
        super().__init__()
        self._seen = seen

    def next(self) -> tuple[int, Done | Timed | UserError]:
        slot, done = super().next()
        assert isinstance(done, Done)
        ended = [outcome.trial for outcome in done.outcomes]
        self._seen += [(trial.stage, trial.identity["optimizer"]["name"]) for trial in ended]
        return slot, done


def test_baselines_run_first_and_challengers_change_nothing(tmp_path: Path) -> None:
    rule = TargetRule(baselines=("momentum",), reruns=3, shares=(0.5, 1.0))
    seen: list[tuple[str, str]] = []
    with Store(tmp_path) as store:
        alone = asked("momentum", targets=rule)
        runner.run(planner.plan(alone), store, lambda: Watching(seen), Silent())
        before = summarize(store).comparisons[0].targets
    assert [stage for stage, _ in seen] == ["tuning"] * 4 + ["final"] * 4 + ["target"] * 3
    seen.clear()
    with Store(tmp_path) as store:
        more = asked("adam", "momentum", targets=rule)  # the order in which they are listed does not matter
        runner.run(planner.plan(more), store, lambda: Watching(seen), Silent())
        summary = summarize(store)
    assert {name for _, name in seen} == {"adam"}
    comparison = summary.comparisons[0]
    assert comparison.targets == before and len(before.values) == 2
    assert summary.missing == 0 and len(summary.records) == summary.planned
    finals = [
        record.outcome.curves["suboptimality"] for record in summary.records.values() if _stage(record) == "target"
    ]
    assert before.hardest == pytest.approx(np.median([np.min(curve) for curve in finals]), rel=1e-5)
    assert summary.manifest["targets"][0]["digest"] == before.digest


def _stage(record: Any) -> str:
    return str(record.outcome.trial.stage)


def test_an_interrupted_run_ends_with_the_same_targets(tmp_path: Path) -> None:
    rule = TargetRule(reruns=3)

    class Stops(InlineExecutor):
        count = 0

        def next(self) -> Any:
            Stops.count += 1
            if Stops.count > 3:
                raise KeyboardInterrupt
            return super().next()

    with Store(None) as store:
        runner.run(planner.plan(asked("sgd", "adam", targets=rule)), store, InlineExecutor, Silent())
        whole = summarize(store)
    bound = planner.plan(asked("sgd", "adam", targets=rule))
    with Store(tmp_path) as store:
        for _ in range(20):
            Stops.count = 0
            if not runner.run(bound, store, Stops, Silent()).interrupted:
                break
        resumed = summarize(store)
    assert resumed.comparisons[0].targets == whole.comparisons[0].targets
    assert frames.table(resumed).equals(frames.table(whole))


def test_endings_are_stored_and_shown(tmp_path: Path) -> None:
    entry = ProblemChoice(problem="quadratic", target=[1e-1, 10.0, 1.0])
    result = bench.compare(
        problems=[entry],
        optimizers=["sgd", "adam"],
        budget=BUDGET,
        folder=tmp_path / "run",
        resources=INLINE,
        progress=False,
    )
    comparison = result.summary.comparisons[0]
    assert comparison.targets.values == (10.0, 1.0, 0.1), "the easiest first"
    frame = result.trials()
    assert set(frame["outcome"]) <= {"reached", "missed", "diverged"}
    with Store(tmp_path / "run", write=False) as store:
        stored = store.endings()
    for _, row in frame.iterrows():
        assert stored[row["trial"]].kind == row["outcome"]
    assert tables.ladder(comparison).header == ["optimizer", "steps to 10.0", "steps to 1.00", "steps to 0.100"]
    for row in comparison.results:
        assert [np.median(times) for times in row.ladder] == sorted(np.median(times) for times in row.ladder)


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"reruns": 0}, "targets.reruns must be a whole number of at least 1, got 0"),
        ({"reruns": 1001}, "targets.reruns must be at most 1000, got 1001"),
        ({"shares": ()}, "targets.shares must be shares of the budget"),
        ({"shares": (0.5, 1.5)}, "targets.shares must be shares of the budget"),
    ],
)
def test_rules_are_checked(rule: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        TargetRule(**rule)


def test_a_baseline_that_is_not_there_is_named() -> None:
    with pytest.raises(UserError, match=r"targets.baselines: no contender 'adm'; did you mean 'adam'\?"):
        planner.plan(asked("sgd", "adam", targets=TargetRule(baselines=("adm",))))


def test_rules_and_ladders_in_a_spec(tmp_path: Path) -> None:
    path = tmp_path / "spec.toml"
    path.write_text(
        'problems = ["quadratic", {problem = "digits-mlp", target = [0.9, 0.95, 0.8]}]\n'
        'optimizers = ["sgd", "adam"]\n[targets]\nbaselines = ["adam"]\nreruns = 5\nshares = [0.5, 1]\n'
    )
    experiment = toml.load(path)
    assert experiment.targets == TargetRule(baselines=("adam",), reruns=5, shares=(0.5, 1.0))
    plan = planner.plan(experiment).plan
    quadratic, digits = plan.problems
    assert quadratic.target is None, "the rule goes before the problem's own"
    assert (digits.ladder, digits.target) == ((0.8, 0.9), 0.95)
    assert from_json(Plan, to_json(plan)) == plan
    path.write_text(
        'problems = [{problem = "quadratic", target = []}]\noptimizers = ["sgd"]\n'
        '[targets]\nbaseline = ["sgd"]\nreruns = 1.5\nshares = ["half"]\n'
    )
    with pytest.raises(UserError) as caught:
        toml.load(path)
    message = str(caught.value)
    assert "problems[0].target: the list is empty; name at least one" in message
    assert "unknown key 'targets.baseline'; did you mean 'targets.baselines'?" in message
    assert "targets.reruns: expected a whole number, got 1.5" in message
    assert "targets.shares[0]: expected a finite number, got 'half'" in message
