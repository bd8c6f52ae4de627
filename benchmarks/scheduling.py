"""How well slots are used: trials that sleep, in virtual time and on real workers.

``python -m benchmarks.scheduling`` plays its cases in virtual time, where every figure is exact and the same each time;
``--real`` lets 500 trials of a second sleep on 1, 2 and 8 worker processes, which takes about twelve minutes.
"""

import argparse
import heapq
import os
import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from dlkit.bench.execution.executor import Executor
from dlkit.bench.execution.progress import Silent
from dlkit.bench.execution.slots import drive
from dlkit.bench.execution.work import SLICE_SECONDS, Done
from dlkit.bench.machine.program import SOFTWARE_FIELDS
from dlkit.bench.plan.trials import Outcome, Trial
from dlkit.bench.spec.bound_plan import Group, OwnProblem, ProblemSource

PROGRAM = dict.fromkeys(SOFTWARE_FIELDS, "1")


class Nap(NamedTuple):
    """Some trials that sleep, as work: what `drive` sees of it is what it sees of trials that train.

    Attributes:
        group: stands for the compiled programs.
        trials: each sleeps for its identity's seconds.
        seconds: after so many, no further trial starts.
        compiling: seconds that a worker sleeps when it does something of this group for the first time.
    """

    group: Group
    trials: tuple[Trial, ...]
    seconds: float = SLICE_SECONDS
    compiling: float = 0.0

    @property
    def problem(self) -> ProblemSource:
        """Nothing that is trained."""
        return self.group.problem

    def with_own(self, own: OwnProblem | None) -> "Nap":
        """Returns the work as it is."""
        return self

    def within(self, memory: int | None) -> "Nap":
        """Returns the work as it is."""
        return self

    def run(self) -> Done:
        """Sleeps."""
        deadline, outcomes = time.monotonic() + self.seconds, []
        for trial in self.trials:
            time.sleep(trial.seconds or 0.0)
            outcomes.append(slept(trial))
            if time.monotonic() > deadline:
                break
        return Done(tuple(outcomes), PROGRAM)


def slept(trial: Trial) -> Outcome:
    """What came of a trial that slept."""
    empty = np.zeros(0, np.int64)
    return Outcome(trial, "finished", "", "", None, trial.seconds or 0.0, 0.0, empty, {}, {})


class Naps:
    """A job of trials that sleep, in stages: what a stage is depends on all of the one before, as in tuning.

    Attributes:
        label: as of a contender on a problem.
        problem: none, which only losses ask for.
        after: jobs that have to be over before it begins.
        trials: how many there are.
        done: how many have ended.
    """

    problem: Any = None

    def __init__(
        self, label: str, stages: Sequence[Sequence[float]], *, compiling: float = 0.0, after: Sequence["Naps"] = ()
    ) -> None:
        self.label, self.after = label, after
        source = ProblemSource(key=label, name=label.partition(" / ")[0], made_by="", choices=(), changes=())
        self.group, self.compiling = Group(label, source, None), compiling  # type: ignore[arg-type]
        self.stages = [
            [Trial(f"{label} {stage} {place}", {"seconds": each}) for place, each in enumerate(seconds)]
            for stage, seconds in enumerate(stages)
        ]
        self.ended: set[str] = set()
        self.trials = sum(map(len, self.stages))

    @property
    def done(self) -> int:
        """How many of them have ended."""
        return len(self.ended)

    @property
    def seconds(self) -> float:
        """What all of its trials take."""
        return sum(trial.seconds or 0.0 for stage in self.stages for trial in stage)

    @property
    def chain(self) -> float:
        """The least that it takes on any number of slots: a trial of each stage, compilation and what comes before."""
        longest = sum(max(trial.seconds or 0.0 for trial in stage) for stage in self.stages)
        return self.compiling + longest + max((each.chain for each in self.after), default=0.0)

    def work(self, in_hand: Collection[str] = ()) -> Any:
        """Returns what is left of the stage that is not over."""
        for stage in self.stages:
            left = tuple(trial for trial in stage if trial.id not in self.ended)
            if left:
                return Nap(self.group, left, compiling=self.compiling)
        return None

    def lose(self, trial: Trial) -> None:
        """Nothing to remember."""

    def take(self, outcomes: Sequence[Outcome]) -> None:
        """Notes what has ended; nothing may end twice."""
        for outcome in outcomes:
            assert outcome.trial.id not in self.ended
            self.ended.add(outcome.trial.id)


class Virtual:
    """Slots in virtual time: sleeping takes none, and everything happens in the same order each time.

    Attributes:
        now: the time in seconds.
        busy: seconds in which a slot slept for a trial, or compiled.
        compiled: keys of groups, in the order in which slots compiled them.
    """

    vacant: Collection[int] = ()
    program: Mapping[str, str] | None = None

    def __init__(self, slots: int, overhead: float = 0.0) -> None:
        """Begins at time 0.

        Args:
            slots: how many.
            overhead: seconds that each piece of work takes beside its trials.
        """
        self.slots, self.overhead = slots, overhead
        self.now = self.busy = 0.0
        self.compiled: list[str] = []
        self._held: dict[int, set[str]] = {}
        self._ending: list[tuple[float, int, Done]] = []

    def submit(self, slot: int, work: Any) -> None:
        """Notes when a slot will have done some work."""
        assert slot not in [busy for _, busy, _ in self._ending]
        held, spent, outcomes = self._held.setdefault(slot, set()), 0.0, []
        if work.group.key not in held:
            held.add(work.group.key)
            spent += work.compiling
            self.compiled.append(work.group.key)
        for trial in work.trials:
            spent += trial.seconds
            outcomes.append(slept(trial))
            if spent > work.seconds:
                break
        self.busy += spent
        heapq.heappush(self._ending, (self.now + spent + self.overhead, slot, Done(tuple(outcomes), PROGRAM)))

    def next(self) -> tuple[int, Done]:
        """Goes to the time at which the next slot has done its work."""
        self.now, slot, done = heapq.heappop(self._ending)
        return slot, done

    def close(self) -> None:
        """Nothing to end."""


class Taking:
    """Gives to jobs what came back, and keeps nothing."""

    def take(self, job: Naps, done: Done) -> None:
        """Gives it to its job."""
        job.take(done.outcomes)

    def keep(self, job: Naps, done: Done) -> None:
        """Nothing to keep."""


def played(
    jobs: Sequence[Naps], slots: int, *, overhead: float = 0.0, weights: Mapping[str, float] | None = None
) -> Virtual:
    """Drives jobs to their end in virtual time; returns the executor, which knows how long it took."""
    executor = Virtual(slots, overhead)
    clock = lambda: executor.now  # noqa: E731
    assert not drive(executor, jobs, Taking(), Silent(), PROGRAM, weights=weights, clock=clock)
    assert all(job.done == job.trials for job in jobs)
    return executor


def bound(jobs: Sequence[Naps], slots: int) -> float:
    """Returns what list scheduling never exceeds (Graham 1969): all work shared, and then the longest chain."""
    total = sum(job.seconds + job.compiling for job in jobs)
    return total / slots + (1 - 1 / slots) * max(job.chain for job in jobs)


def cases() -> dict[str, list[Naps]]:
    """What is played, by name: about 500 trials of a second each."""
    rng = np.random.default_rng(0)
    targets = [Naps(f"p{place} / first", [[1.0] * 20, [1.0] * 5]) for place in range(4)]
    later = [
        Naps(f"p{place} / {name}", [[1.0] * 20, [1.0] * 5], after=targets[place : place + 1])
        for place in range(4)
        for name in ("second", "third", "fourth", "fifth")
    ]
    return {
        "one group of 500": [Naps("p / one", [[1.0] * 500])],
        "50 groups of 10": [Naps(f"p / {place}", [[1.0] * 10]) for place in range(50)],
        "20 of 10, then one of 300": [
            *(Naps(f"p / {place}", [[1.0] * 10]) for place in range(20)),
            Naps("p / large", [[1.0] * 300]),
        ],
        "25 groups: 15 tuning, 5 final trials": [Naps(f"p / {place}", [[1.0] * 15, [1.0] * 5]) for place in range(25)],
        "one group of ten rounds of 50": [Naps("p / rounds", [[1.0] * 50] * 10)],
        "four baselines set targets first": [*targets, *later],
        "20 groups that compile for 5 s": [Naps(f"p / {place}", [[1.0] * 25], compiling=5.0) for place in range(20)],
        "trials of 0.2 to 5 s": [
            Naps(f"p / {place}", [list(np.exp(rng.uniform(np.log(0.2), np.log(5.0), 20)))]) for place in range(25)
        ],
    }


def virtual_times() -> None:
    """Prints how long every case takes on 1, 2 and 8 slots, and how much of that the slots were busy."""
    print("| case | slots | seconds | busy, % | faster than one | bound | compilations |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for name in cases():
        alone = played(cases()[name], 1, overhead=0.01).now
        for slots in (2, 8):
            jobs = cases()[name]
            made = played(jobs, slots, overhead=0.01)
            share = 100 * made.busy / (slots * made.now)
            print(
                f"| {name} | {slots} | {made.now:.1f} | {share:.1f} | {alone / made.now:.2f} "
                f"| {bound(jobs, slots):.1f} | {len(made.compiled)} for {len(jobs)} |"
            )


def real_times(trials: int, counts: Sequence[int]) -> None:
    """Prints how long trials of a second take that sleep on real workers, without the workers' start."""
    from dlkit.bench.execution.executors import make_executor
    from dlkit.bench.execution.resources import Resources

    if hasattr(os, "sched_setaffinity"):  # the package has pinned this process, and workers would be, too
        os.sched_setaffinity(0, range(os.cpu_count() or 1))
    alone = 0.0
    print("| workers | seconds | efficiency | faster than the first |")
    print("|---:|---:|---:|---:|")
    for workers in counts:
        executor: Executor = make_executor(Resources(workers=workers))
        try:
            warm = [Naps(f"start / {place}", [[0.01]]) for place in range(workers)]
            drive(executor, warm, Taking(), Silent(), PROGRAM)
            began = time.monotonic()
            drive(executor, [Naps("p / sleeping", [[1.0] * trials])], Taking(), Silent(), PROGRAM)
            took = time.monotonic() - began
        finally:
            executor.close()
        alone = alone or took
        print(f"| {workers} | {took:.1f} | {trials / workers / took:.3f} | {alone / took:.2f} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--real", action="store_true", help="sleep on worker processes")
    parser.add_argument("--trials", type=int, default=500)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 8])
    given = parser.parse_args()
    if given.real:
        real_times(given.trials, given.workers)
    else:
        virtual_times()
