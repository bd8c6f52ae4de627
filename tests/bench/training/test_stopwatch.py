"""Seconds per step: the arithmetic by a clock of the test's own, bytes by hand counts, and real runs that are timed."""

import math
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cloudpickle
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlkit import bench
from dlkit.bench import problems
from dlkit.bench.analysis import costs, frames
from dlkit.bench.analysis.summary import Summary, summarize
from dlkit.bench.execution import races, runner
from dlkit.bench.execution.executor import InlineExecutor
from dlkit.bench.execution.progress import Silent
from dlkit.bench.execution.work import program_alone
from dlkit.bench.plan.json import from_json, to_json
from dlkit.bench.plan.plan import Plan
from dlkit.bench.plan.policies import EarlyStopping
from dlkit.bench.plan.trials import Timing, timing_key
from dlkit.bench.report import tables
from dlkit.bench.report.markdown import markdown_tables
from dlkit.bench.report.page import write_report
from dlkit.bench.report.terminal import text_of
from dlkit.bench.spec import planner
from dlkit.bench.spec.bound_plan import BoundPlan
from dlkit.bench.spec.budget import Budget
from dlkit.bench.spec.entries import Contender, Experiment, ProblemChoice
from dlkit.bench.store.store import Store
from dlkit.bench.training import stopwatch
from dlkit.bench.training.executables import executable_of
from dlkit.bench.training.stopwatch import Contestant, interleaved, measure
from dlkit.bench.tuning.history import History
from tests.bench.synthetic import PROGRAM, fill, make_contender, make_plan, make_problem

BUDGET = Budget(steps=40, evaluations=4, studies=1, tuning_points=1, tuning_seeds=1, seeds=6)


class Clock:
    """A clock that moves when it is told to, and otherwise by a fixed time at each look."""

    def __init__(self, each_look: float = 0.0) -> None:
        self.now, self._each_look = 0.0, each_look

    def __call__(self) -> float:
        self.now += self._each_look
        return self.now


class Pretended:
    """A stretch whose calls take a known time, and which keeps book."""

    def __init__(self, name: str, clock: Clock, seconds: float, book: list[tuple[str, int]]) -> None:
        self._name, self._clock, self.seconds, self._book = name, clock, seconds, book
        self._is_ready = False

    def reset(self) -> None:
        self._clock.now += 1000.0  # what is not timed may take long
        self._is_ready = True

    def run(self, calls: int) -> None:
        assert self._is_ready, "each repeat begins anew"
        self._is_ready = False
        self._clock.now += calls * self.seconds
        self._book.append((self._name, calls))


def pretend(*seconds: float) -> tuple[Clock, list[tuple[str, int]], list[Pretended]]:
    clock, book = Clock(), []  # type: ignore[var-annotated]
    return clock, book, [Pretended(str(place), clock, each, book) for place, each in enumerate(seconds)]


def test_stretches_take_turns_and_last_long_enough() -> None:
    clock, book, stretches = pretend(0.001, 0.02, 3.0)
    times = interleaved(stretches, repeats=7, seconds=0.05, clock=clock)
    np.testing.assert_allclose(times, np.repeat([[0.001], [0.02], [3.0]], 7, axis=1))
    rounds = [book[-21:][start : start + 3] for start in range(0, 21, 3)]
    assert all({name for name, _ in each} == {"0", "1", "2"} for each in rounds), "one turn each in every repeat"
    assert len({tuple(name for name, _ in each) for each in rounds}) > 1, "not always in the same order"
    for name, calls in book[-21:]:
        assert calls * stretches[int(name)].seconds >= 0.05 * (1 - 1e-9)
        assert calls == 1 or (calls - 2) * stretches[int(name)].seconds < 0.05, "not much longer than asked"


def test_a_slow_time_hits_everyone_and_not_the_medians() -> None:
    clock, book, _ = pretend()

    class Slowed(Pretended):
        def run(self, calls: int) -> None:
            self._clock.now += 10.0 if 4 <= len(book) < 8 else 0.0  # the first two of seven repeats
            super().run(calls)

    slowed = [Slowed("0", clock, 0.5, book), Slowed("1", clock, 1.0, book)]
    times = interleaved(slowed, repeats=7, seconds=0.05, clock=clock)
    assert (times > 10).sum(axis=1).tolist() == [2, 2]
    np.testing.assert_allclose(np.median(times, axis=1), [0.5, 1.0])


def test_one_thread_on_a_cpu_is_timed_by_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopwatch, "threads", lambda: 1)
    assert stopwatch.step_clock() is time.process_time
    monkeypatch.setattr(stopwatch, "threads", lambda: 2)
    assert stopwatch.step_clock() is time.perf_counter, "the threads' times would add up"
    monkeypatch.setattr(stopwatch, "threads", lambda: 1)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert stopwatch.step_clock() is time.perf_counter, "the processor only waits"


def make_study(*optimizers: Any, problem: Any = "quadratic", **choices: Any) -> BoundPlan:
    entries = [each if isinstance(each, Contender) else Contender(optimizer=each) for each in optimizers]
    return planner.plan(
        Experiment(
            name="test", problems=(ProblemChoice(problem=problem),), optimizers=tuple(entries), budget=BUDGET, **choices
        )
    )


def contestants(study: BoundPlan) -> list[Contestant]:
    problem = study.plan.problems[0]
    return [
        Contestant(
            program_alone(study.group(problem, contender, contender.points[0].static)),
            contender.points[0].hyperparameters,
        )
        for contender in study.plan.contenders
    ]


@pytest.fixture(scope="module")
def linear() -> list[Contestant]:
    """Four contenders on a regression with 10 weights and a bias."""
    return contestants(make_study("sgd", "momentum", "adam", "sgd+polyak", problem="diabetes-linear"))


@pytest.mark.slow
def test_a_step_is_a_call_without_what_is_evaluated(linear: list[Contestant]) -> None:
    # Whatever is timed takes one second. A call is 10 steps, and with an average its value; evaluations, and values of
    # averages, are timed 8 at a time.
    for found, average in zip(measure(linear, repeats=3, clock=Clock(1.0)), (0, 0, 0, 1 / 8), strict=True):
        assert found.evaluation_seconds == 1 / 8
        assert found.seconds == pytest.approx([(1 - average) / 10] * 3)
        assert found.failure == ""


@pytest.mark.long
def test_bytes_are_those_of_the_arrays(linear: list[Contestant]) -> None:
    sgd, momentum, adam, averaging = measure(linear, repeats=1, clock=Clock(1.0))
    parameters = (10 + 1) * 4
    assert {each.parameter_bytes for each in (sgd, momentum, adam)} == {parameters}
    assert sgd.state_bytes == 0
    assert momentum.state_bytes == parameters, "the velocity"
    assert adam.state_bytes == 2 * parameters + 4, "two moments and an int32 count"
    assert averaging.state_bytes >= parameters
    assert sgd.memory_bytes is not None and adam.memory_bytes is not None
    data = linear[0].program.shared.arrays(0)["train"].values()
    assert sgd.memory_bytes > sum(array.nbytes for array in data), "the data are an argument"
    assert adam.memory_bytes >= sgd.memory_bytes + 2 * adam.state_bytes - 8, "the state goes in and comes out"


@pytest.mark.long
def test_short_calls_are_timed_by_a_longer_one(linear: list[Contestant]) -> None:
    sgd = linear[0]
    shapes = []

    def segment(carry: Any, block: Any, *rest: Any) -> Any:
        shapes.append(block.shape)
        return sgd.program.segment(carry, block, *rest)

    def lower(*arguments: Any) -> Any:
        return SimpleNamespace(compile=lambda: executable_of(sgd.program.segment, *arguments))

    segment.lower = lower  # type: ignore[attr-defined]
    watched = Contestant(replace(sgd.program, segment=segment), sgd.hyperparameters)
    measure([watched], repeats=1, clock=Clock(1.0))
    assert {shape[:2] for shape in shapes} == {(1, 10)}
    shapes.clear()
    (found,) = measure([watched], repeats=1, seconds=1e-4, clock=Clock(1e-3))
    # 0.02 s are 20 times a call of 1 ms: the next power of 4 is 64
    assert shapes[-1] == (1, 640, shapes[0][2])
    assert found.seconds == pytest.approx([1e-3 / 640])


def test_a_contender_that_fails_leaves_the_others(linear: list[Contestant]) -> None:
    def raises(*_: Any) -> Any:
        raise RuntimeError("no room")

    broken = Contestant(replace(linear[1].program, segment=raises), linear[1].hyperparameters)
    sgd, failed, adam = measure([linear[0], broken, linear[2]], repeats=2, clock=Clock(1.0))
    assert failed.failure == "RuntimeError: no room" and failed.seconds == ()
    assert len(sgd.seconds) == len(adam.seconds) == 2
    (alone,) = measure([broken], clock=Clock(1.0))
    assert alone.failure == failed.failure


def test_an_evaluation_in_the_loop_is_not_done_once_for_all(linear: list[Contestant]) -> None:
    counted = []

    def evaluate(params: Any, state: Any, batch: Any) -> Any:
        jax.debug.callback(lambda: counted.append(None))
        return linear[0].program.shared.problem.evaluate(params, state, batch)

    shared = linear[0].program.shared
    watched = replace(linear[0].program, shared=replace(shared, problem=replace(shared.problem, evaluate=evaluate)))
    stopwatch._Judging(Contestant(watched, linear[0].hyperparameters)).run(1)
    assert len(counted) == 2 * stopwatch.EVALUATIONS  # warming up, and once more


def test_timings_survive_their_journey_through_json() -> None:
    timed = Timing((0.25, 0.5), 0.125, 44, 88, None)
    assert from_json(Timing, to_json(timed)) == timed
    failed = from_json(Timing, to_json(Timing(failure="no room")))
    assert failed.failure == "no room" and math.isnan(failed.evaluation_seconds)


# --- costs ---


def timed(plan: Plan, store: Store, seconds: dict[str, tuple[float, ...]], **changes: Any) -> Summary:
    """The summary after contenders were timed as told."""
    found = {}
    for comparison in summarize(store).comparisons:
        for row in comparison.results:
            if row.label in seconds:
                made = Timing(seconds[row.label], 0.5, 44, 88, 5000)
                found[timing_key(row.trials[0])] = replace(made, **changes)
    store.keep_timings(found, PROGRAM, "here")
    return summarize(store)


def test_time_to_target_is_steps_times_seconds() -> None:
    plan = make_plan(("sgd", "adam"), problems=[make_problem(target=0.3)])
    with Store(None) as store:
        fill(store, plan)
        before = summarize(store)
        assert tables.costs(before.comparisons[0]).rows == []
        assert frames.costs(before)["seconds_per_step"].isna().all()
        summary = timed(plan, store, {"sgd": (0.003, 0.001, 0.002), "adam": (0.008,) * 9})
    comparison = summary.comparisons[0]
    for row, cost in zip(comparison.results, comparison.costs, strict=True):
        median = {"sgd": 0.002, "adam": 0.008}[row.label]
        assert cost.per_step.estimate == median
        assert cost.ratio == {"sgd": 1.0, "adam": 4.0}[row.label]
        np.testing.assert_array_equal(cost.to_target, np.array(row.median_steps) * median)
        # 10 trials of 0.5 s in the final stage; 5 points with 2 seeds in tuning
        assert cost.compile_seconds == (5 * 2 + 10) * 0.5
        assert math.isnan(cost.saved)
    assert comparison.costs[0].label == comparison.results[0].label
    frame = frames.costs(summary).set_index("optimizer")
    assert frame.loc["adam", "optimizer_state_bytes"] == 88 and frame.loc["adam", "memory_bytes"] == 5000
    table = frames.table(summary).set_index("optimizer")
    assert (table["seconds_to_target"] == table["steps_to_target"] * table["seconds_per_step"]).all()


def test_a_contender_that_could_not_be_timed_has_no_seconds_of_a_step() -> None:
    plan = make_plan(("sgd", "adam"))
    with Store(None) as store:
        fill(store, plan)
        summary = timed(plan, store, {"sgd": (0.002,) * 9, "adam": ()})
    timings = {cost.label: cost.per_step.estimate for cost in summary.comparisons[0].costs}
    assert timings["sgd"] == 0.002 and math.isnan(timings["adam"])


def test_what_early_stopping_saves_is_a_share_of_the_steps() -> None:
    plan = make_plan(("sgd",), seeds=6)
    stops = replace(make_contender("sgd"), stopping=EarlyStopping(patience=2))
    with Store(None) as store:
        fill(store, plan)
        summary = summarize(store)
    row = summary.comparisons[0].results[0]
    outcomes = (
        [
            replace(outcome, status="stopped", steps=np.array([0, 10]))  # of 40
            for outcome in row.outcomes[:3]
            if outcome
        ]
        + list(row.outcomes[3:])
    )
    (study,) = row.studies
    changed = replace(row, contender=stops, studies=[replace(study, outcomes=outcomes)])
    (cost,) = costs.costs_of(plan.problems[0], [changed], {}, math.nan)
    assert cost.saved == pytest.approx((3 * 0.75 + 3 * 0.0) / 6)


@pytest.mark.slow
def test_costs_are_shown_with_units_everywhere(tmp_path: Path) -> None:
    plan = make_plan(("sgd", "adam"))
    with Store(None) as store:
        fill(store, plan)
        summary = timed(plan, store, {"sgd": (0.002,) * 9, "adam": (0.004,) * 9})
    table = tables.costs(summary.comparisons[0])
    cells = {row[0]: row for row in table.rows}
    assert cells["adam"][1] == "4.00 [4.00, 4.00]\N{NO-BREAK SPACE}ms" and cells["adam"][2] == "×2.00"
    assert cells["adam"][5:] == ["88\N{NO-BREAK SPACE}B", "5.00\N{NO-BREAK SPACE}kB"]
    page = write_report(summary, tmp_path / "report.html").read_text(encoding="utf-8")
    for text in (text_of(summary, tables=True), markdown_tables(summary), page):
        assert "×2.00" in text and "5.00 kB" in text.replace("\N{NO-BREAK SPACE}", " ")
    assert "Seconds per step" in page


def test_a_contender_that_could_not_be_timed_has_its_reason_below() -> None:
    plan = make_plan(("sgd", "adam"))
    with Store(None) as store:
        fill(store, plan)
        timed(plan, store, {"sgd": (0.002,) * 9})
        summary = timed(plan, store, {"adam": ()}, failure="no room")
    comparison = summary.comparisons[0]
    assert "adam could not be timed: no room" in tables.costs_caption(comparison)
    adam = next(row for row in tables.costs(comparison).rows if row[0] == "adam")
    assert adam[1:4] == ["–", "–", "–"] and adam[5:] == ["–", "–"]


# --- what is timed, and when ---


class Counting(InlineExecutor):
    """Counts races."""

    races = 0

    def submit(self, slot: int, work: Any) -> None:
        type(self).races += isinstance(work, races.Race)
        super().submit(slot, work)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Timings that take no time."""
    real = stopwatch.measure
    monkeypatch.setattr(races, "measure", lambda all_: real(all_, repeats=2, seconds=1e-4, clock=Clock(1.0)))
    Counting.races = 0
    yield


def carry_out(study: BoundPlan, store: Store, executor: Any = Counting, *, timing: bool = True) -> Any:
    timed = replace(study, plan=replace(study.plan, timing=timing))
    return runner.run(timed, store, executor, Silent())


def test_a_run_is_timed_once(quick: None) -> None:
    study = make_study("sgd", "adam")
    with Store(None) as store:
        carry_out(study, store, timing=False)
        assert Counting.races == 0 and store.timings() == {}
        carry_out(study, store)
        kept = store.timings()
        assert Counting.races == 1 and len(kept) == 2
        carry_out(study, store)
        assert Counting.races == 1 and store.timings() == kept, "nothing is left to time"
        more = make_study("sgd", "adam", "momentum")
        carry_out(more, store)
        assert Counting.races == 2 and len(store.timings()) == 3, "who came later is timed beside the others"
        carry_out(more, store)
        assert Counting.races == 2
        history = History(more.plan, {name: record.outcome for name, record in store.records().items()})
        assert list(races.races(more, history, store, "another machine")) != []
        frame = frames.costs(summarize(store))
        assert (frame["seconds_per_step"] > 0).all() and (frame["failure"] == "").all()


def test_failures_are_tried_again(quick: None) -> None:
    study = make_study("sgd")
    with Store(None) as store:
        carry_out(study, store)
        machine = races.machine_digest(runner.program_identity())
        key = next(iter(store.timings()))
        store.keep_timings({key: Timing(failure="no room")}, runner.program_identity(), machine)
        carry_out(study, store)
        assert Counting.races == 2 and store.timings()[key].failure == ""


def test_early_stopping_probes_and_labels_do_not_count(quick: None) -> None:
    stopping = EarlyStopping(patience=1)
    study = make_study(
        Contender(optimizer="sgd"),
        Contender(optimizer="sgd", label="stops", early_stopping=stopping),
    )
    with Store(None) as store:
        carry_out(study, store)
        assert len(store.timings()) == 1, "both take the same steps"
        frame = frames.costs(summarize(store))
    assert frame["seconds_per_step"].nunique() == 1 and frame["steps_saved"].notna().sum() == 1


def test_interrupting_a_timing_loses_no_trial(quick: None) -> None:
    class Interrupted(Counting):
        def next(self) -> Any:
            if isinstance(self._work, races.Race):
                raise KeyboardInterrupt
            return super().next()

    study = make_study("sgd", "adam")
    with Store(None) as store:
        assert carry_out(study, store, Interrupted).interrupted
        assert len(store.finished()) == 2 * (1 + 6) and store.timings() == {}
        assert not carry_out(study, store).interrupted
        assert len(store.timings()) == 2


def own_problem() -> bench.Problem:
    return replace(problems.quadratic(dimension=4, condition=10.0), name="own")


def test_ones_own_problem_stays_here_and_comes_back() -> None:
    study = make_study("sgd", problem=own_problem())
    facts, contender = study.plan.problems[0], study.plan.contenders[0]
    group = study.group(facts, contender, contender.points[0].static)
    race = races.Race(("key",), (races.Entrant(group, contender.points[0].hyperparameters),))
    sent = cloudpickle.loads(cloudpickle.dumps(race.with_own(None)))
    assert sent.problem.own is None and sent.keys == race.keys
    assert sent.entrants[0].group.recipe.optimizer.name == "sgd"
    assert sent.with_own(race.problem.own).problem.own is race.problem.own


@pytest.mark.slow
def test_workers_time_ones_own_problem() -> None:
    result = bench.compare(
        problems=[own_problem()],
        optimizers=["sgd"],
        budget=BUDGET,
        resources=bench.Resources(workers=1),
        timing=True,
        progress=False,
    )
    (row,) = result.costs().to_dict("records")
    assert row["failure"] == "" and 0 < row["seconds_per_step_low"] <= row["seconds_per_step_high"]
    assert row["parameter_bytes"] == 4 * jnp.float32(0).nbytes and row["optimizer_state_bytes"] == 0
