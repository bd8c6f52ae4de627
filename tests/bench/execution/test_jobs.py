"""Jobs: what is left to run of a contender and of a problem's targets, step by step, without training."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import optax

from dlkit.bench.execution.jobs import ContenderJob, Job, TargetJob
from dlkit.bench.execution.outcomes import failed
from dlkit.bench.optimizers import Optimizer
from dlkit.bench.plan.policies import TargetRule, Tuner
from dlkit.bench.plan.space import log_uniform
from dlkit.bench.plan.trials import Outcome, Trial
from dlkit.bench.spec import planner
from dlkit.bench.spec.bound_plan import BoundPlan
from dlkit.bench.spec.budget import Budget
from dlkit.bench.spec.entries import Contender, Experiment, ProblemChoice
from dlkit.bench.store.store import Store
from dlkit.bench.tuning.history import History
from tests.bench.synthetic import PROGRAM, make_problem, synthetic_outcome

OWN = Optimizer("own", optax.sgd, {"learning_rate": log_uniform(1e-3, 1.0)}, {"nesterov": (False, True)})


def bound_plan(target: float | None = 0.1, **budget: Any) -> BoundPlan:
    """A plan of two contenders, one with a static choice, on a problem that is not trained."""
    given = {"steps": 40, "evaluations": 4, "tuning_points": 4, "tuning_seeds": 2, "seeds": 3, "studies": 1, **budget}
    asked = Experiment(
        name="jobs",
        problems=(ProblemChoice(problem="quadratic"),),
        optimizers=(Contender(optimizer="sgd"), Contender(optimizer=OWN)),
        budget=Budget(**given),
    )
    bound = planner.plan(asked)
    plan = replace(bound.plan, problems=[make_problem("quadratic", target=target)], targets=TargetRule(reruns=2))
    return replace(bound, plan=plan)


def ended(bound: BoundPlan, trials: Sequence[Trial]) -> list[Outcome]:
    """Outcomes: the smaller the learning rate, the better."""
    (problem,) = bound.plan.problems
    return [
        synthetic_outcome(problem, bound.plan, each, [each.hyperparameters["learning_rate"]] * 5) for each in trials
    ]


def carried_out(bound: BoundPlan, job: Job) -> list[tuple[str, int]]:
    """Runs a job to its end; returns the stage of each piece of work, and how many trials it had."""
    seen = []
    while (work := job.work()) is not None:
        before = job.done
        seen.append((work.trials[0].stage, len(work.trials)))
        job.take(ended(bound, work.trials))
        assert job.done == before + len(work.trials)
    return seen


def contender_job(bound: BoundPlan, place: int, store: Store, history: History) -> ContenderJob:
    return ContenderJob(bound, bound.plan.problems[0], bound.plan.contenders[place], store, history, None)


def test_a_contender_is_tuned_and_then_its_winner_trains() -> None:
    bound = bound_plan()
    history = History(bound.plan)
    with Store(None) as store:
        job = contender_job(bound, 0, store, history)
        assert (job.label, job.trials, job.done) == ("quadratic / sgd", 4 * 2 + 3, 0)
        assert carried_out(bound, job) == [("tuning", 8), ("final", 3)]
        assert (job.trials, job.done) == (11, 11)
    rates = {each.trial.hyperparameters["learning_rate"] for each in history.outcomes.values()}
    finals = [each.trial for each in history.outcomes.values() if each.trial.stage == "final"]
    assert {trial.hyperparameters["learning_rate"] for trial in finals} == {min(rates)}


def test_all_studies_are_tuned_at_once_and_then_all_winners_train() -> None:
    bound = bound_plan(studies=3)
    history = History(bound.plan)
    with Store(None) as store:
        job = contender_job(bound, 0, store, history)
        assert (job.trials, job.done) == (3 * (4 * 2 + 3), 0)
        assert carried_out(bound, job) == [("tuning", 3 * 8), ("final", 3 * 3)]
        assert (job.trials, job.done) == (33, 33)
    trials = [each.trial for each in history.outcomes.values()]
    winners = set()
    for study in range(3):
        own = [trial for trial in trials if trial.seed // 1000 == study]
        finals = [trial for trial in own if trial.stage == "final"]
        assert sorted(trial.seed - 1000 * study for trial in finals) == [0, 1, 2]
        (rate,) = {trial.hyperparameters["learning_rate"] for trial in finals}
        assert rate == min(trial.hyperparameters["learning_rate"] for trial in own)
        winners.add(rate)
    assert len(winners) == 3


def test_studies_that_were_added_run_like_the_others() -> None:
    bound = bound_plan(studies=2)
    plan = bound.plan
    more = replace(plan, added_studies={"quadratic": {"sgd": 1}})
    contenders = [replace(each, further=(*each.further, each.points)) for each in more.contenders]
    wider = replace(bound, plan=replace(more, contenders=contenders))
    with Store(None) as store:
        history = History(plan)
        carried_out(bound, contender_job(bound, 0, store, history))
        history = history.with_plan(wider.plan)
        job = contender_job(wider, 0, store, history)
        assert (job.trials, job.done) == (3 * 11, 2 * 11)
        assert carried_out(wider, job) == [("tuning", 8), ("final", 3)]
        assert contender_job(wider, 1, store, history).trials == 2 * 11, "the other contender has none"
    assert {each.trial.seed // 1000 for each in history.outcomes.values()} == {0, 1, 2}


def test_work_has_one_compile_group() -> None:
    bound = bound_plan()
    with Store(None) as store:
        job = contender_job(bound, 1, store, History(bound.plan))
        work = job.work()
        assert work is not None
        choices = {trial.identity["optimizer"]["static"]["nesterov"] for trial in work.trials}
        assert len(choices) == 1 and dict(work.group.recipe.static) == {"nesterov": choices.pop()}
        assert [stage for stage, _ in carried_out(bound, job)] == ["tuning", "tuning", "final"]


def test_what_has_an_outcome_does_not_run_again() -> None:
    bound = bound_plan()
    with Store(None) as store:
        first = contender_job(bound, 0, store, History(bound.plan)).work()
        assert first is not None
        outcomes = {each.trial.id: each for each in ended(bound, first.trials[:5])}
        job = contender_job(bound, 0, store, History(bound.plan, outcomes))
        assert (job.trials, job.done) == (11, 5)
        left = job.work()
        assert left is not None and left.trials == first.trials[5:]


def test_a_failure_ends_a_job_and_is_no_outcome() -> None:
    bound = bound_plan(target=None)
    history = History(bound.plan)
    with Store(None) as store:
        job = contender_job(bound, 0, store, history)
        work = job.work()
        assert work is not None
        job.take([*ended(bound, work.trials[:1]), failed(work.trials[1], "out of ideas")])
        assert job.work() is None and history.outcomes.keys() == {work.trials[0].id}
        job = contender_job(bound, 0, store, history)
        carried_out(bound, job)
    targets = TargetJob(bound, bound.plan.problems[0], history, None)
    again = targets.work()
    assert again is not None
    targets.take([failed(again.trials[0], "out of ideas")])
    assert targets.work() is None and targets.targets() is None


def test_points_that_a_job_draws_are_stored() -> None:
    bound = bound_plan()
    drawing = [replace(each, points=[], undrawn=None) for each in bound.plan.contenders]
    plan = replace(bound.plan, contenders=drawing, tuner=Tuner("random", seconds=1.5))
    bound = replace(bound, plan=plan)
    with Store(None) as store:
        store.use_software(PROGRAM)
        history = History(plan)
        job = contender_job(bound, 0, store, history)
        # 0.25 s a trial, two trials a point: the third point reaches 1.5 s
        assert carried_out(bound, job) == [("tuning", 2)] * 3 + [("final", 3)]
        (points,) = store.drawn().values()
        assert points == list(history.drawn(plan.problems[0], drawing[0], 0)) and len(points) == 3


def test_points_of_all_studies_are_drawn_side_by_side() -> None:
    bound = bound_plan(studies=2)
    drawing = [replace(each, points=[], further=(), undrawn=None) for each in bound.plan.contenders]
    plan = replace(bound.plan, contenders=drawing, tuner=Tuner("random", seconds=1.0, studies=2))
    bound = replace(bound, plan=plan)
    with Store(None) as store:
        store.use_software(PROGRAM)
        history = History(plan)
        # a point of each study at a time: 0.5 s of its second
        assert carried_out(bound, contender_job(bound, 0, store, history)) == [("tuning", 4)] * 2 + [("final", 6)]
        keys = [plan.search_key(plan.problems[0], drawing[0], study) for study in range(2)]
        assert {key: len(points) for key, points in store.drawn().items()} == dict.fromkeys(keys, 2)
        rates = {point.hyperparameters["learning_rate"] for points in store.drawn().values() for point in points}
        assert len(rates) == 4


def test_targets_wait_for_the_baseline() -> None:
    bound = bound_plan(target=None)
    history = History(bound.plan)
    job = TargetJob(bound, bound.plan.problems[0], history, None)
    assert (job.label, job.trials, job.done, job.work()) == ("quadratic / targets", 2, 0, None)
    with Store(None) as store:
        carried_out(bound, contender_job(bound, 0, store, history))
    assert job.targets() is None
    assert carried_out(bound, job) == [("target", 2)]
    found = job.targets()
    assert found is not None and found[1].source == "median of 2 reruns of sgd, the best tuned baseline"


def test_trials_are_counted_before_the_first_as_they_are_afterwards() -> None:
    """Before anything has run one study is counted for all: an outcome of another plan has them counted one by one."""
    for given in ({"studies": 3}, {"studies": 3, "tuning_points": 1}, {"halving": 2, "studies": 2, "evaluations": 8}):
        bound, elsewhere = bound_plan(**given), bound_plan(steps=80)
        other = History(elsewhere.plan).final_trials(
            elsewhere.plan.problems[0], elsewhere.plan.contenders[0], elsewhere.plan.contenders[0].points[0]
        )
        for place in range(2):
            with Store(None) as store:
                fresh = contender_job(bound, place, store, History(bound.plan))
                begun = History(bound.plan)
                begun.add(ended(elsewhere, other[:1]))
                assert fresh.trials == contender_job(bound, place, store, begun).trials > 0 == fresh.done
                drawn = carried_out(bound, fresh)
                assert fresh.trials == fresh.done == sum(count for _, count in drawn)
