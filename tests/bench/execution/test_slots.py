"""Slots: every trial once, the next work before what came back is stored, and nothing lost whatever happens between."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from dlkit.bench.errors import UserError
from dlkit.bench.execution import assignment, jobs
from dlkit.bench.execution.executor import InlineExecutor, Lost
from dlkit.bench.execution.jobs import ContenderJob
from dlkit.bench.execution.progress import Silent
from dlkit.bench.execution.slots import Keeping, Unstored, drive
from dlkit.bench.execution.work import Done, Work
from dlkit.bench.plan.policies import Tuner
from dlkit.bench.plan.trials import Trial
from dlkit.bench.spec.bound_plan import BoundPlan
from dlkit.bench.store.store import Store
from dlkit.bench.tuning.history import History
from tests.bench.execution.test_jobs import bound_plan, ended
from tests.bench.synthetic import PROGRAM


class Played(InlineExecutor):
    """Slots that train nothing, and take turns; each ends a few trials of what it gets."""

    def __init__(self, bound: BoundPlan, count: int, most: int = 2) -> None:
        self.slots = count
        self.bound, self.most = bound, most
        self.given: list[tuple[int, Work]] = []
        self.waiting: list[tuple[int, Work]] = []
        self.done: list[str] = []

    def submit(self, slot: int, work: Any) -> None:
        assert slot not in [busy for busy, _ in self.waiting]
        self.given.append((slot, work))
        self.waiting.append((slot, work))

    def next(self) -> tuple[int, Done | Any]:
        slot, work = self.waiting.pop(0)
        trials = work.trials[: self.most]
        self.done += [trial.id for trial in trials]
        return slot, Done(tuple(ended(self.bound, trials)), PROGRAM)


def driven(bound: BoundPlan, executor: Played, store: Store, *, contenders: Sequence[int] = (0,)) -> list[ContenderJob]:
    store.use_software(PROGRAM)
    history, unstored = History(bound.plan), Unstored(store)
    jobs = [
        ContenderJob(bound, bound.plan.problems[0], bound.plan.contenders[place], unstored, history, None)
        for place in contenders
    ]
    assert not drive(executor, jobs, Keeping(unstored, Silent(), jobs), Silent(), PROGRAM)
    return jobs


@pytest.mark.parametrize("ready", [0.0, 1e9], ids=["shared", "not shared"])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_every_trial_runs_once_on_one_slot_or_on_several(
    count: int, ready: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assignment.Slots, "_is_worth", lambda *_: ready == 0.0)
    bound = bound_plan(studies=2, tuning_points=5)
    with Store(None) as store:
        executor = Played(bound, count)
        jobs = driven(bound, executor, store, contenders=(0, 1))
        # two studies of 5 points on 2 seeds and 3 final seeds, of two contenders
        assert sorted(executor.done) == sorted({*executor.done}) == sorted(store.finished())
        assert len(executor.done) == 2 * 2 * (5 * 2 + 3) == sum(job.done for job in jobs)


def test_a_slot_has_its_next_work_before_what_it_sent_is_stored() -> None:
    bound = bound_plan()

    class Watched(Played):
        def submit(self, slot: int, work: Any) -> None:
            super().submit(slot, work)
            seen.append((len(self.done), len(store.finished())))

    seen: list[tuple[int, int]] = []
    with Store(None) as store:
        driven(bound, Watched(bound, 1), store)
    assert seen[:3] == [(0, 0), (2, 0), (4, 2)]


@pytest.mark.parametrize("error", [UserError, KeyboardInterrupt])
def test_what_came_back_is_stored_if_the_next_work_cannot_be_handed_out(error: type[BaseException]) -> None:
    bound = bound_plan()

    class Fails(Played):
        def submit(self, slot: int, work: Any) -> None:
            if self.done:
                raise error("gone")
            super().submit(slot, work)

    with Store(None) as store:
        executor = Fails(bound, 1)
        with pytest.raises(error):
            driven(bound, executor, store)
        assert len(executor.done) == 2 and store.finished() == {*executor.done}


def test_points_are_stored_after_the_outcomes_that_they_follow_from() -> None:
    bound = bound_plan()
    drawing = [replace(each, points=[], undrawn=None) for each in bound.plan.contenders]
    bound = replace(bound, plan=replace(bound.plan, contenders=drawing, tuner=Tuner("random", seconds=1.5)))

    class Watched(Store):
        def add_points(self, *given: Any) -> None:
            seen.append((len(executor.done), len(self.finished())))
            super().add_points(*given)

    seen: list[tuple[int, int]] = []
    executor = Played(bound, 1)
    with Watched(None) as store:
        driven(bound, executor, store)
    assert seen == [(0, 0), (2, 2), (4, 4)]  # two trials a point of 0.25 s each: the third point reaches 1.5 s


# --- workers that are lost ---


class Losing(Played):
    """Slots whose workers are lost as soon as they begin one of some trials; of one, every worker but the second."""

    def __init__(self, bound: BoundPlan, count: int, poison: Sequence[str], *, kind: Any = "died", knows: bool = True):
        super().__init__(bound, count, most=4)
        self.poison, self.kind, self.knows = set(poison), kind, knows
        self.losses: list[tuple[str, ...]] = []  # what each lost worker had
        self.cured: set[str] = set()

    def next(self) -> tuple[int, Any]:
        slot, work = self.waiting[0]
        for each in work.trials[: self.most]:
            if each.id in self.poison:
                self.waiting.pop(0)
                self.losses.append(tuple(trial.id for trial in work.trials))
                self.poison -= self.cured
                return slot, Lost("died of SIGSEGV", each.id if self.knows else None, self.kind)
        return super().next()


def tuning_trials(bound: BoundPlan) -> list[Trial]:
    (problem,), contender = bound.plan.problems, bound.plan.contenders[0]
    return [trial for point in bound.plan.tuning_trials(problem, contender) for trial in point]


def tuning_ids(bound: BoundPlan) -> list[str]:
    return [trial.id for trial in tuning_trials(bound)]


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("knows", [True, False], ids=["attributed", "unknown"])
def test_a_trial_that_takes_its_workers_along_fails_alone_and_all_others_run(count: int, knows: bool) -> None:
    bound = bound_plan()
    poison = tuning_ids(bound)[5]
    with Store(None) as store:
        executor = Losing(bound, count, [poison], knows=knows)
        driven(bound, executor, store, contenders=(0, 1))
        failures = [each.outcome for each in store.records().values() if not each.outcome.counts]
        (failure,) = failures
        assert failure.trial.id == poison
        assert failure.reason == "quadratic / sgd: its worker died of SIGSEGV; twice, the second time alone"
        # 7 of 8 tuning trials: no winner follows from them; and all 11 of the other contender
        assert len(store.finished()) == 7 + 11 and sorted(executor.done) == sorted({*executor.done})
    assert executor.losses[-1] == (poison,)
    if knows:
        assert len(executor.losses) == 2


def test_a_worker_that_is_lost_by_chance_costs_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    bound = bound_plan()
    poison = tuning_ids(bound)[3]
    with Store(None) as store:
        executor = Losing(bound, 1, [poison])
        executor.cured = {poison}
        (job,) = driven(bound, executor, store)
        assert len(store.finished()) == 11 == job.done
    assert len(executor.losses) == 1
    said = "quadratic / sgd: a worker died of SIGSEGV; the trial it had runs once more, alone"
    assert capsys.readouterr().err.splitlines() == [said]


def test_a_contender_whose_trials_all_take_workers_along_ends_after_a_few() -> None:
    bound = bound_plan()
    with Store(None) as store:
        executor = Losing(bound, 1, tuning_ids(bound))
        driven(bound, executor, store, contenders=(0, 1))
        assert len(executor.losses) == 2 * jobs.MOST_LOST
        assert len(store.finished()) == 11, "the other contender's"


@pytest.mark.parametrize(("kind", "status"), [("hung", "cut off"), ("never began", "failed")])
def test_a_trial_that_never_answers_is_not_tried_again(kind: str, status: str) -> None:
    bound = bound_plan()
    best = min(tuning_trials(bound), key=lambda each: each.hyperparameters["learning_rate"])
    poison = best.id
    with Store(None) as store:
        executor = Losing(bound, 1, [poison], kind=kind)
        driven(bound, executor, store)
        outcome = store.records()[poison].outcome
        assert outcome.status == status and outcome.reason == "quadratic / sgd: its worker died of SIGSEGV"
        assert len(executor.losses) == 1
        # cut off is an outcome like another: a winner is found without it, and trains
        assert len(store.finished()) == (11 if kind == "hung" else 7)
        if kind == "hung":
            assert outcome.is_empty and np.isnan(outcome.final("error"))
            finals = [each.outcome.trial for each in store.records().values() if each.outcome.trial.stage == "final"]
            (rate,) = {each.hyperparameters["learning_rate"] for each in finals}
            assert rate > best.hyperparameters["learning_rate"]
