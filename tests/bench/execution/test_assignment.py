"""Who does what, in virtual time: no trial twice, nobody idle without need, within the bounds of list scheduling."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.scheduling import PROGRAM, Naps, Taking, Virtual, bound, cases, played
from dlkit.bench.execution.executor import Changed, Lost
from dlkit.bench.execution.progress import Silent
from dlkit.bench.execution.slots import drive
from dlkit.bench.execution.work import SLICE_SECONDS

TENTHS = st.integers(1, 30).map(lambda each: each / 8)  # eighths add up without rounding
JOBS = st.lists(st.lists(st.lists(TENTHS, min_size=1, max_size=12), min_size=1, max_size=3), min_size=1, max_size=6)


@pytest.mark.parametrize("name", cases())
def test_two_slots_are_1_9_times_as_fast_as_one(name: str) -> None:
    alone, both = (played(cases()[name], slots, overhead=0.01) for slots in (1, 2))
    assert alone.now / both.now >= 1.9


@pytest.mark.parametrize("name", [name for name in cases() if "rounds" not in name])
def test_eight_slots_are_busy_for_nine_tenths_of_the_time(name: str) -> None:
    executor = played(cases()[name], 8, overhead=0.01)
    assert executor.busy / (8 * executor.now) >= 0.9


def test_ten_rounds_of_fifty_take_eight_slots_little_longer_than_ten_times_seven_trials() -> None:
    jobs = cases()["one group of ten rounds of 50"]
    assert 70.0 <= played(jobs, 8).now <= 72.0


@settings(max_examples=60, deadline=None)
@given(stages=JOBS, slots=st.integers(1, 9))
def test_list_scheduling_keeps_its_bound(stages: Any, slots: int) -> None:
    """Graham's bound, where what a slot has in hand when others are free may last a slice longer in each stage."""
    jobs = [Naps(f"p{place} / one", each) for place, each in enumerate(stages)]
    executor = played(jobs, slots)
    late = 0.0 if slots == 1 else SLICE_SECONDS * max(len(each) for each in stages)
    assert executor.now <= bound(jobs, slots) + late + 1e-9
    assert executor.busy == pytest.approx(sum(job.seconds for job in jobs))
    if slots == 1:
        assert executor.now == pytest.approx(executor.busy)


@settings(max_examples=30, deadline=None)
@given(stages=JOBS, slots=st.integers(1, 9), compiling=st.sampled_from([0.5, 5.0, 50.0]))
def test_getting_ready_elsewhere_never_costs_time(stages: Any, slots: int, compiling: float) -> None:
    jobs = [Naps(f"p{place} / one", each, compiling=compiling) for place, each in enumerate(stages)]
    executor = played(jobs, slots)
    longest = max(each for job in stages for stage in job for each in stage)  # nothing is known before the first report
    late = 0.0 if slots == 1 else (SLICE_SECONDS + compiling + longest) * max(len(each) for each in stages)
    assert executor.now <= bound(jobs, slots) + late + 1e-9


def compiled(jobs: list[Naps], slots: int) -> int:
    return len(played(jobs, slots).compiled)


@pytest.mark.parametrize("slots", [1, 2, 8])
def test_a_short_program_is_compiled_on_one_slot(slots: int) -> None:
    assert compiled([Naps("p / one", [[0.125] * 40], compiling=6.0)], slots) == 1


def test_a_long_one_is_compiled_where_it_shortens_the_run() -> None:
    jobs: Callable[[], list[Naps]] = lambda: [Naps("p / one", [[1.0] * 400], compiling=6.0)]  # noqa: E731
    executor = played(jobs(), 8)
    assert len(executor.compiled) == 8 and executor.now < 6 + 1 + 6 + 400 / 8 + SLICE_SECONDS


def test_as_many_programs_as_slots_are_compiled_once_each() -> None:
    jobs = [Naps(f"p{place} / one", [[0.5] * 20], compiling=6.0) for place in range(8)]
    assert compiled(jobs, 8) == 8


def test_the_longest_begins_first_where_that_is_known() -> None:
    lengths = {"a": 0.5, "b": 4.0, "c": 1.0, "d": 2.0}
    jobs = [Naps(f"{name} / one", [[seconds] * 10]) for name, seconds in lengths.items()]
    order = played(jobs, 1, weights=lengths).compiled
    assert order == ["b / one", "d / one", "c / one", "a / one"]


def test_what_is_not_known_begins_before_what_is_known_to_be_short() -> None:
    jobs = [Naps(f"{name}", [[0.5] * 4]) for name in ("a / one", "a / two", "b / one")]
    assert played(jobs, 1).compiled == ["a / one", "b / one", "a / two"]


def test_a_slot_stays_with_its_problem_among_jobs_of_about_one_length() -> None:
    labels = ("a / one", "b / one", "a / two", "b / two", "a / three", "b / three")
    jobs = [Naps(label, [[1.0] * 8]) for label in labels]
    order = played(jobs, 1, weights={"a": 1.0, "b": 1.1}).compiled
    assert [label[0] for label in order] == list("bbbaaa")


def test_jobs_wait_for_those_before_them_and_for_no_others() -> None:
    first = Naps("a / first", [[1.0] * 4])
    setting = Naps("a / targets", [[1.0]], after=[first])
    later = Naps("a / later", [[1.0] * 4], after=[setting])
    other = Naps("b / other", [[1.0] * 4])
    executor = played([later, setting, first, other], 1)
    order = executor.compiled
    assert order.index("a / first") < order.index("a / targets") < order.index("a / later")
    assert executor.now == executor.busy == 13.0


def test_a_job_whose_forerunner_is_no_part_of_the_run_begins() -> None:
    assert played([Naps("a / later", [[1.0]], after=[Naps("a / elsewhere", [[1.0]])])], 1).now == 1.0


class Churning(Virtual):
    """Slots whose workers join, leave and die at given times; the one that has been there for longest goes first."""

    def __init__(self, slots: int, changes: list[tuple[float, str]]) -> None:
        super().__init__(slots)
        self.vacant: set[int] = set()
        self.changes = list(changes)

    def next(self) -> Any:
        if not self.changes or (self._ending and self._ending[0][0] < self.changes[0][0]):
            return super().next()
        self.now, what = self.changes.pop(0)
        if what == "joins":
            self.slots += 1
            return -1, Changed()
        slot = min(set(range(self.slots)) - self.vacant)
        self.vacant.add(slot)
        if slot not in [busy for _, busy, _ in self._ending]:
            return -1, Changed()
        self._ending = sorted(each for each in self._ending if each[1] != slot)
        return slot, Lost(what, kind="left" if what == "left" else "died")


def driven(jobs: list[Naps], slots: int, changes: list[tuple[float, str]]) -> Churning:
    executor = Churning(slots, changes)
    assert not drive(executor, jobs, Taking(), Silent(), PROGRAM, clock=lambda: executor.now)
    assert all(job.done == job.trials for job in jobs)
    return executor


@pytest.mark.parametrize("what", ["left", "died"])
def test_what_a_lost_worker_had_in_hand_runs_on_another(what: str) -> None:
    executor = driven([Naps("p / one", [[1.0] * 40])], 2, [(10.5, what)])
    assert 20.0 < executor.now <= 10.5 + 2 * 10.0 + 3 * SLICE_SECONDS  # the rest is for one


def test_who_joins_gets_work_at_once() -> None:
    executor = driven([Naps("p / one", [[1.0] * 40])], 1, [(10.5, "joins")])
    assert executor.now <= 10.5 + 30 / 2 + SLICE_SECONDS + 1.0


def test_a_run_without_workers_waits_for_the_next_one() -> None:
    executor = driven([Naps("p / one", [[1.0] * 10, [1.0] * 5])], 1, [(3.5, "died"), (100.0, "joins")])
    assert 100.0 + 11.0 <= executor.now <= 100.0 + 15.0


def test_workers_that_come_and_go_all_the_time_end_a_run() -> None:
    changes = [(each / 2 + 0.25, ("joins", "left", "joins", "died")[each % 4]) for each in range(100)]
    executor = driven([Naps(f"p / {place}", [[0.75] * 20, [0.75] * 5]) for place in range(4)], 2, changes)
    assert executor.vacant
