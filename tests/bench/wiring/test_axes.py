"""Budgets in gradients, examples and seconds: who gets how many steps, what is kept, and what stays as it was."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlkit.bench import api
from dlkit.bench.data import Dataset
from dlkit.bench.errors import UserError
from dlkit.bench.execution import step_times
from dlkit.bench.execution.races import Race
from dlkit.bench.execution.resources import Resources
from dlkit.bench.execution.work import Timed
from dlkit.bench.machine.program import program_identity
from dlkit.bench.optimizers import Optimizer, get
from dlkit.bench.plan.metric import Metric
from dlkit.bench.plan.plan import Plan
from dlkit.bench.plan.policies import EarlyStopping
from dlkit.bench.plan.space import Point
from dlkit.bench.plan.trials import Evaluations, Timing
from dlkit.bench.problems import Player, Problem
from dlkit.bench.spec.allowances import gradients_per_step
from dlkit.bench.spec.budget import Budget
from dlkit.bench.spec.entries import Contender, Experiment, ProblemChoice
from dlkit.bench.spec.planner import plan as planned

ROWS, BATCH, STEPS = 64, 8, 40


def regression() -> Problem:
    """Least squares with 3 weights, judged on examples of its own."""
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(3 * ROWS, 3)).astype(np.float32)
    targets = (inputs @ np.array([1.0, -2.0, 0.5]) + 0.1 * rng.normal(size=3 * ROWS)).astype(np.float32)
    parts = [{"inputs": inputs[k::3], "targets": targets[k::3]} for k in range(3)]

    def error(params: Any, batch: Mapping[str, Any]) -> Any:
        return jnp.mean((batch["inputs"] @ params - batch["targets"]) ** 2)

    return Problem(
        name="regression",
        init=lambda key: (jax.random.normal(key, (3,)), None),
        loss=lambda params, state, batch, key: (error(params, batch), state),
        evaluate=lambda params, state, batch: {"error": error(params, batch)},
        dataset=Dataset("regression", *parts),
        metrics={"error": Metric("lower")},
        batch_size=BATCH,
        steps=STEPS,
        target=0.5,
    )


def experiment(
    *contenders: Contender | str, axis: str = "steps", problem: Problem | None = None, **more: Any
) -> Experiment:
    """One study of two points, with four evaluations a trial."""
    budget = {"evaluations": 4, "studies": 1, "tuning_points": 2, "tuning_seeds": 1, "seeds": 2, **more}
    return Experiment(
        name="axes",
        problems=(ProblemChoice(problem=problem or regression()),),
        optimizers=tuple(each if isinstance(each, Contender) else Contender(optimizer=each) for each in contenders),
        budget=Budget(axis=axis, **budget),  # type: ignore[arg-type]
    )


def steps_of(plan: Plan) -> dict[str, int]:
    (problem,) = plan.problems
    return {each.label: problem.allowance(each.label).steps for each in plan.contenders}


def costing(name: str, evaluations: Evaluations) -> Optimizer:
    """SGD that says that its steps cost this much."""
    return replace(get("sgd"), name=name, evaluations=evaluations)


def ids(plan: Plan, label: str) -> list[str]:
    (problem,) = plan.problems
    (contender,) = [each for each in plan.contenders if each.label == label]
    return [trial.id for row in plan.tuning_trials(problem, contender) for trial in row]


# --- how many steps --------------------------------------------------------------------------------------------------


def test_two_gradients_a_step_are_half_of_the_steps() -> None:
    plan = planned(experiment("sgd", "sgd+sam", axis="gradients")).plan
    assert steps_of(plan) == {"sgd": 40, "sgd+sam": 20}
    assert plan.problems[0].budget == 40


def test_a_value_is_a_third_of_a_gradient_and_a_hessian_product_two() -> None:
    dear = costing("dear", Evaluations(gradients=1, values=3, hessian_products=1))  # 1 + 3 / 3 + 2 = 4
    assert steps_of(planned(experiment("sgd", dear, axis="gradients")).plan) == {"sgd": 40, "dear": 8}  # 10, by fours
    assert gradients_per_step(regression(), dear) == 4.0


@pytest.mark.parametrize("batch_size", ["full", ROWS])
def test_a_full_batch_sees_as_many_examples_in_fewer_steps(batch_size: Any) -> None:
    full = Contender(optimizer="sgd", label="full", batch_size=batch_size)
    half = Contender(optimizer="sgd", label="half", batch_size=BATCH // 2)
    both = Contender(optimizer="sgd+sam", label="both", batch_size=2 * BATCH)
    plan = planned(experiment("sgd", full, half, both, axis="examples")).plan
    # 40 steps of 8 examples are 320: 5 steps of 64, rounded down to a multiple of 4; 80 of 4; 10 of 2 times 16
    assert steps_of(plan) == {"sgd": 40, "full": 4, "half": 80, "both": 8}
    assert plan.problems[0].budget == 320
    # an axis of gradients does not look at batches
    assert steps_of(planned(experiment("sgd", full, axis="gradients")).plan) == {"sgd": 40, "full": 40}


def test_a_step_of_a_game_costs_what_its_moves_do() -> None:
    def loss(params: Any, state: Any, batch: Any, key: Any) -> Any:
        return params["a"] * params["b"], state

    game = Problem(
        name="game",
        init=lambda key: ({"a": jnp.float32(1.0), "b": jnp.float32(1.0)}, None),
        loss=loss,
        evaluate=lambda params, state, batch: {"norm": params["a"] ** 2 + params["b"] ** 2},
        dataset=Dataset("game", {}, {}),
        metrics={"norm": Metric("lower")},
        steps=STEPS,
        players=(Player("a", loss), Player("b", lambda *given: (-loss(*given)[0], given[1]), moves=3)),
    )
    assert gradients_per_step(game, get("sgd")) == 4.0
    assert gradients_per_step(game, get("sgd+extragradient")) == 8.0
    assert (
        gradients_per_step(
            replace(game, updates="simultaneous", players=tuple(replace(each, moves=1) for each in game.players)),
            get("sgd"),
        )
        == 2.0
    )
    assert steps_of(planned(experiment("sgd", "sgd+extragradient", axis="gradients", problem=game)).plan) == {
        "sgd": 40,
        "sgd+extragradient": 20,
    }


def test_a_budget_that_is_too_small_says_what_to_change() -> None:
    full = Contender(optimizer="sgd", label="full", batch_size="full")
    with pytest.raises(UserError, match=r"problem 'regression', optimizer 'full': 320 examples are 5 of its steps"):
        planned(experiment("sgd", full, axis="examples", evaluations=8))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"schedule": "cosine"}, "leave out the schedule"),
        ({"early_stopping": EarlyStopping(patience=2)}, "leave out its early stopping"),
    ],
)
def test_what_needs_to_know_its_end_is_refused_where_costs_vary(change: Mapping[str, Any], words: str) -> None:
    # sophia has a learning rate to schedule, and takes a product with the Hessian at some steps
    searching = Contender(optimizer="sophia" if "schedule" in change else "backtracking_sgd", **change)
    with pytest.raises(UserError, match=words):
        planned(experiment("sgd", searching, axis="gradients"))
    planned(experiment("sgd", searching))  # with equal steps there is nothing to refuse


def test_an_unknown_axis_names_the_nearest() -> None:
    with pytest.raises(UserError, match=r"budget\.axis: no axis 'gradient'; .*gradients"):
        Budget(axis="gradient")  # type: ignore[arg-type]


# --- identities ------------------------------------------------------------------------------------------------------


def test_ids_differ_only_where_steps_do() -> None:
    by_steps, by_gradients = (planned(experiment("sgd", "sgd+sam", axis=axis)).plan for axis in ("steps", "gradients"))
    assert ids(by_steps, "sgd") == ids(by_gradients, "sgd")
    assert not set(ids(by_steps, "sgd+sam")) & set(ids(by_gradients, "sgd+sam"))
    # and these are what 20 steps are by any other way of asking for them
    short = planned(experiment("sgd", "sgd+sam", steps=20)).plan
    assert ids(short, "sgd+sam") == ids(by_gradients, "sgd+sam")


def test_a_rung_gets_its_share_of_the_gradients() -> None:
    plan = planned(experiment("sgd", "lbfgs", axis="gradients")).plan
    (problem,), lbfgs = plan.problems, plan.contenders[1]
    whole, half = (plan.trial(problem, lbfgs, Point({}, {}), "tuning", 0, until) for until in (None, 2))
    assert (whole.gradients, half.gradients) == (40.0, 20.0)
    assert plan.trial(problem, plan.contenders[0], Point({}, {}), "tuning", 0).gradients is None


# --- runs ------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_line_search_ends_within_its_budget() -> None:
    lbfgs = Contender(optimizer=replace(get("lbfgs"), static={"memory_size": [5]}), label="lbfgs", batch_size="full")
    result = api.run(
        experiment("sgd", lbfgs, axis="gradients", evaluations=20),
        resources=Resources(executor="inline"),
        progress=False,
    )
    every = [record.outcome for record in result.summary.records.values()]
    searching = [each for each in every if each.trial.gradients is not None]
    assert len(searching) == 1 + 2  # one point, two fresh seeds
    for outcome in searching:
        assert outcome.status == "finished"
        assert outcome.gradients is not None and outcome.gradients[-1] <= 40 == outcome.trial.gradients
        # the next evaluation would have been beyond: an interval of two steps takes at most 2 (1 + 20) gradients
        assert outcome.steps[-1] < 40 and outcome.gradients[-1] == outcome.evaluations.in_gradients
        assert len(outcome.steps) == len(outcome.gradients) == len(outcome.curves["error"])
    others = [each for each in every if each.trial.gradients is None]
    assert all(each.gradients is not None and each.gradients[-1] == each.steps[-1] == 40 for each in others)


@pytest.mark.long
def test_a_budget_without_an_evaluation_within_is_refused_when_it_shows() -> None:
    """An interval of 20 steps of L-BFGS takes at least 40 gradients and a few, which is more than the budget."""
    lbfgs = Contender(optimizer=replace(get("lbfgs"), static={"memory_size": [5]}), label="lbfgs", batch_size="full")
    result = api.run(
        experiment("sgd", lbfgs, axis="gradients", evaluations=2),
        resources=Resources(executor="inline"),
        progress=False,
    )
    (comparison,) = result.summary.comparisons
    failure = comparison.results[-1].failure
    assert comparison.results[-1].label == "lbfgs" and not comparison.ranking.compared  # sgd is alone
    assert "optimizer 'lbfgs' on problem 'regression'" in failure and "give more evaluations" in failure


class Clock:
    """Stands for a race: steps take what it says, by optimizer."""

    def __init__(self, **seconds: float) -> None:
        self.seconds, self.raced = seconds, list[list[str]]()

    def __call__(self, race: Race, executor: Any) -> Timed:
        names = [each.group.recipe.optimizer.name for each in race.entrants]
        self.raced.append(names)
        timings = [Timing(tuple(factor * self.seconds[name] for factor in (0.9, 1.0, 1.1))) for name in names]
        return Timed(tuple(timings), {**program_identity(), "lanes": "none"})


def clocked(monkeypatch: pytest.MonkeyPatch, **seconds: float) -> Clock:
    clock = Clock(**seconds)
    monkeypatch.setattr(Race, "timed_on", lambda race, executor: clock(race, executor))
    return clock


@pytest.mark.long
def test_seconds_are_measured_once_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*names: str) -> Plan:
        asked = experiment(*names, axis="seconds")
        return api.run(asked, folder=tmp_path, resources=Resources(executor="inline"), progress=False).summary.plan

    clock = clocked(monkeypatch, sgd=1e-3, adam=2e-3)
    first = run("sgd", "adam")
    assert steps_of(first) == {"sgd": 40, "adam": 20} and clock.raced == [["sgd", "adam"]]
    assert first.problems[0].budget == pytest.approx(0.04)
    # the machine is three times as slow now, and adam's steps have become cheap: what was measured stays
    clock = clocked(monkeypatch, sgd=3e-3, adam=3e-3)
    assert steps_of(run("sgd", "adam")) == steps_of(first) and clock.raced == []
    # who is new is timed beside one that was: 6 ms here are 2 ms of then
    clock = clocked(monkeypatch, sgd=3e-3, lion=6e-3)
    assert steps_of(run("sgd", "adam", "lion")) == {"sgd": 40, "adam": 20, "lion": 20}
    assert clock.raced == [["sgd", "lion"]]
    assert steps_of(api.open_run(tmp_path).summary.plan) == {"sgd": 40, "adam": 20, "lion": 20}


@pytest.mark.long
@pytest.mark.parametrize("now", [Timing(failure="Boom: no"), Timing((0.0, 0.0, 0.0))])
def test_an_added_contender_is_not_timed_beside_who_cannot_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, now: Timing
) -> None:
    def run(*names: str) -> Plan:
        asked = experiment(*names, axis="seconds")
        return api.run(asked, folder=tmp_path, resources=Resources(executor="inline"), progress=False).summary.plan

    clocked(monkeypatch, sgd=1e-3, adam=2e-3)
    first = run("sgd", "adam")
    monkeypatch.setattr(Race, "timed_on", lambda race, executor: Timed((now, Timing((6e-3,))), program_identity()))
    with pytest.raises(UserError, match=r"problem 'regression', optimizer 'sgd': .* could not be timed this time"):
        run("sgd", "adam", "lion")
    # nothing of that was kept: lion is timed when the yardstick can be
    clock = clocked(monkeypatch, sgd=3e-3, lion=6e-3)
    assert steps_of(run("sgd", "adam", "lion")) == {**steps_of(first), "lion": 20}
    assert clock.raced == [["sgd", "lion"]]


@pytest.mark.long
def test_steps_that_took_no_time_are_timed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run() -> api.Result:
        asked = experiment("sgd", "adam", axis="seconds")
        return api.run(asked, folder=tmp_path, resources=Resources(executor="inline"), progress=False)

    clocked(monkeypatch, sgd=0.0, adam=2e-3)
    with pytest.raises(UserError, match=r"optimizer 'sgd': its steps could not be timed \(they are too short\)"):
        run()
    clock = clocked(monkeypatch, sgd=3e-3, adam=6e-3)
    assert steps_of(run().summary.plan) == {"sgd": 40, "adam": 20}  # 3 ms beside 6 are 1 beside the 2 of then
    assert clock.raced == [["sgd", "adam"]]


@pytest.mark.long
@pytest.mark.parametrize("ran_before", [False, True])
def test_an_interrupted_measurement_has_a_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ran_before: bool
) -> None:
    def run(axis: str) -> api.Result:
        asked = experiment("sgd", "adam", axis=axis)
        return api.run(asked, folder=tmp_path, resources=Resources(executor="inline"), progress=False)

    def interrupted(race: Race, executor: Any) -> Timed:
        raise KeyboardInterrupt

    before = run("steps").summary if ran_before else None
    monkeypatch.setattr(Race, "timed_on", interrupted)
    result = run("seconds")
    assert result.interrupted and result.bound is not None
    # what is summed up is what was asked for, not what ran in this folder before
    assert result.summary.plan is result.bound.plan and result.summary.plan.problems[0].axis == "seconds"
    assert "regression" in str(result)
    result.report(tmp_path / "page.html")
    clocked(monkeypatch, sgd=1e-3, adam=2e-3)
    again = run("seconds")
    assert not again.interrupted and steps_of(again.summary.plan) == {"sgd": 40, "adam": 20}
    assert before is None or before.records.keys() & again.summary.records.keys()  # sgd's trials


@pytest.mark.long
def test_a_replay_makes_the_steps_that_were_measured_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clocked(monkeypatch, sgd=1e-3, adam=2e-3)
    asked = experiment("sgd", "adam", axis="seconds")
    result = api.run(asked, folder=tmp_path, resources=Resources(executor="inline"), progress=False)
    trials = result.trials()
    name = trials[(trials["optimizer"] == "adam") & (trials["stage"] == "final")]["trial"].iloc[0]
    again = api.open_run(tmp_path).replay(name, asked)
    assert again.exact and len(again.now["error"]) == 5


@pytest.mark.long
def test_what_cannot_be_timed_has_no_budget_of_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        Race,
        "timed_on",
        lambda race, executor: Timed((Timing((1e-3,)), Timing(failure="Boom: no")), program_identity()),
    )
    with pytest.raises(UserError, match=r"problem 'regression', optimizer 'adam': its steps could not be timed \(Boom"):
        api.run(experiment("sgd", "adam", axis="seconds"), resources=Resources(executor="inline"), progress=False)


def test_step_times_are_needed_once() -> None:
    bound = planned(experiment("sgd", "adam", axis="seconds"))
    assert step_times.needs_step_times(bound.plan)
    assert not step_times.needs_step_times(planned(experiment("sgd", axis="gradients")).plan)
