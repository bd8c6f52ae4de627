"""Who does what: what takes longest starts first, a slot stays where its programs are, and nobody idles at the end.

A slot goes on with its job. Where that has nothing for it, it takes the longest job that nobody is on. Where there is
none, it helps with the one that has most left for each slot that is on it, if that outlasts getting ready for it. What
a slot gets lasts it for a few seconds, and at the end for its share of what is left, so that no trial waits at a slot
while another one is free.
"""

import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Generic, NamedTuple, TypeVar

from dlkit.bench.execution.executor import Executor
from dlkit.bench.execution.jobs import Job
from dlkit.bench.execution.progress import Listener
from dlkit.bench.execution.time_left import TimeLeft
from dlkit.bench.execution.work import KEPT_PROGRAMS, Done, Work
from dlkit.bench.spec.bound_plan import Group
from dlkit.bench.training.lanes import Lanes

__all__ = ["Running", "Slots", "SomeJob"]

READY_SECONDS = 5.0  # that getting ready for a job is taken to last before a slot has done so
SLACK = 2.0  # how many times as much a slot gets as it can do by its next report: trials differ
LIKE = 0.5  # of the longest job's length: what is that long is as good to a slot that knows its problem

SomeJob = TypeVar("SomeJob", bound=Job)


class Running(NamedTuple, Generic[SomeJob]):
    """What a slot is busy with, and since when."""

    job: SomeJob
    work: Work
    since: float


class Slots(Generic[SomeJob]):
    """Who does what, and what waits.

    Attributes:
        running: slot -> what it is busy with.
    """

    def __init__(
        self,
        executor: Executor,
        jobs: Sequence[SomeJob],
        progress: Listener,
        *,
        clock: Callable[[], float],
        weights: Mapping[str, float] | None = None,
    ) -> None:
        """Gives every slot its first work, as far as there is any.

        Args:
            executor: with the slots.
            jobs: what is left to run; of jobs that are equally long, the first ones begin.
            progress: hears who compiles, and which job is over.
            clock: the time in seconds.
            weights: problem -> seconds that one of its trials usually takes, where that is known.
        """
        self._executor, self._progress, self._clock = executor, progress, clock
        self.running: dict[int, Running[SomeJob]] = {}
        self._again: deque[tuple[SomeJob, Work]] = deque()  # what was given to a slot whose worker is gone
        self._open = list(jobs)
        self._jobs = {id(job): job for job in jobs}
        self._over: set[int] = set()  # ids of jobs
        self._dry: set[int] = set()  # of jobs without work until one of their slots reports
        self._begun: set[int] = set()
        self._current: dict[int, SomeJob] = {}
        self._held: dict[int, dict[Group, None]] = {}  # slot -> groups whose programs it keeps
        self._ready: dict[str, float] = {}  # label -> seconds that the last slot took to get ready for the job
        self._lanes: dict[str, int] = {}
        self._times = TimeLeft()
        self._times.weights = dict(weights or {})
        self.assign()

    def report(self, slot: int, job: SomeJob, work: Work, done: Done, seconds: float) -> None:
        """Learns from what a slot has done, and how long it took.

        Args:
            slot: which; it is not running any more.
            job: whose work it did.
            work: what it was given.
            done: what came back.
            seconds: since it was given out.
        """
        self._dry.discard(id(job))
        training = sum(outcome.seconds for outcome in done.outcomes)
        self._times.expect(job.label, max(job.trials - job.done, 0))
        self._times.took(job.label, len(done.outcomes), seconds, training)
        if work.group not in self._held.setdefault(slot, {}) and done.outcomes:
            self._ready[job.label] = max(seconds - training, 0.0)
        self._hold(slot, work.group)
        if lanes := done.program.get("lanes"):
            self._lanes[job.label] = Lanes.parse(lanes).trials if lanes[:1].isdigit() else 1

    def lost(self, slot: int, job: SomeJob) -> None:
        """A slot has another worker now, or none: it keeps nothing of what the one before had compiled, or in hand."""
        self._dry.discard(id(job))
        self._held.pop(slot, None)
        self._current.pop(slot, None)

    def assign(self) -> None:
        """Gives every free slot work, as far as there is any that is worth its while."""
        free = [each for each in range(self._executor.slots) if self._is_free(each)]
        while free and self._again:
            self.submit(free.pop(0), *self._again.popleft())
        given = True
        while free and given:  # a job that is over may let others begin
            given = False
            for slot in list(free):
                found = self._choice(slot)
                if found is not None:
                    free.remove(slot)
                    self.submit(slot, found[0], self._portion(*found, len(free)))
                    given = True
            given |= self._closed()

    @property
    def is_over(self) -> bool:
        """Whether nothing runs, and nothing is left to run."""
        return not self.running and not self._again and not any(True for _ in self._waiting())

    def _is_free(self, slot: int) -> bool:
        return slot not in self.running and slot not in self._executor.vacant

    def submit(self, slot: int, job: SomeJob, work: Work) -> None:
        """Gives a free slot some work of a job; where it has no worker any more, the next free slot gets it."""
        if slot in self._executor.vacant:
            self._again.append((job, work))
            return
        self.running[slot] = Running(job, work, self._clock())
        if work.group not in self._held.get(slot, ()):
            self._progress.compiling(job.label)
        self._begun.add(id(job))
        self._current[slot] = job
        self._executor.submit(slot, work)

    def _hold(self, slot: int, group: Group) -> None:
        held = self._held.setdefault(slot, {})
        held.pop(group, None)
        held[group] = None
        for each in list(held)[:-KEPT_PROGRAMS]:
            del held[each]

    # --- which job ---

    def _choice(self, slot: int) -> tuple[SomeJob, Work] | None:
        """The job that a free slot does next, with all of it that could be done now."""
        current = self._current.get(slot)
        if current is not None and (work := self._left(current)):
            return current, work
        busy = {id(each.job) for each in self.running.values()}
        for job in self._longest_first([each for each in self._waiting() if id(each) not in busy], slot):
            if work := self._left(job):
                return job, work
        found = [(job, work) for job in self._waiting() if id(job) in busy and (work := self._left(job))]
        found.sort(key=lambda each: -self._seconds(*each) / self._helpers(each[0]))
        return next((each for each in found if self._is_worth(slot, *each)), None)

    def _waiting(self) -> Iterator[SomeJob]:
        """Jobs that are not over and wait for no other, as far as it is not known that they have nothing now."""
        for job in self._open:
            if id(job) not in self._dry and not self._waits(job):
                yield job

    def _waits(self, job: SomeJob) -> bool:
        """Whether a job that has to end before is not over."""
        return any(id(each) in self._jobs and id(each) not in self._over for each in job.after)

    def _longest_first(self, jobs: Sequence[SomeJob], slot: int) -> list[SomeJob]:
        """Those of which nothing is known, then the longest; of those about as long as that, what the slot knows."""
        spans = {id(job): self._times.span(job.label, max(job.trials - job.done, 0)) for job in jobs}
        longest = max(spans.values(), default=0.0)
        known = {group.problem.name for group in self._held.get(slot, ())}

        def order(job: SomeJob) -> tuple[bool, float]:
            span = spans[id(job)]
            return span < LIKE * longest or job.label.partition(" / ")[0] not in known, -span

        return sorted(jobs, key=order)

    def _seconds(self, job: SomeJob, work: Work) -> float:
        """About how long some work takes a slot that is ready for it; NaN where nothing is known of its problem."""
        return self._times.pace(job.label) * len(work.trials)

    def _helpers(self, job: SomeJob) -> int:
        return sum(each.job is job for each in self.running.values()) or 1

    def _is_worth(self, slot: int, job: SomeJob, work: Work) -> bool:
        """Whether work lasts those who are on a job longer than another slot takes to get ready for it."""
        ready = 0.0 if work.group in self._held.get(slot, ()) else self._ready.get(job.label, READY_SECONDS)
        return self._seconds(job, work) / self._helpers(job) > ready  # not where it is NaN: the first report tells

    # --- how much of it ---

    def _portion(self, job: SomeJob, work: Work, free: int) -> Work:
        """What of a job's work a slot gets: for some seconds, and no more than its share where others could help."""
        pace, lanes = self._times.pace(job.label), self._lanes.get(job.label, 1)
        if math.isnan(pace):  # the first report tells what the others can do
            return work._replace(seconds=0.0) if free else work
        waiting = sum(id(each) not in self._begun for each in self._waiting())
        on_it = sum(each.job is job for each in self.running.values())
        sharing = 1 + max(free - waiting, 0) + (0 if waiting else on_it)
        most = SLACK * work.seconds / pace if pace > 0 else math.inf
        count = min(most, len(work.trials) / sharing)
        return work._replace(trials=work.trials[: max(math.ceil(count / lanes), 1) * lanes])

    def _left(self, job: SomeJob) -> Work | None:
        """A job's next work, without trials that another slot has in hand."""
        if id(job) in self._dry:
            return None
        given = [*((each.job, each.work) for each in self.running.values()), *self._again]
        in_hand = {trial.id for owner, work in given if owner is job for trial in work.trials}
        work = job.work(in_hand)
        if work is not None and in_hand:
            work = work._replace(trials=tuple(trial for trial in work.trials if trial.id not in in_hand))
        if work is None or not work.trials:
            self._dry.add(id(job))
            return None
        return work

    def _closed(self) -> bool:
        """Closes jobs that are over; returns whether others waited for one of them."""
        busy = {id(each.job) for each in self.running.values()} | {id(job) for job, _ in self._again}
        over = [job for job in self._open if id(job) in self._dry and id(job) not in busy and not self._waits(job)]
        for job in over:
            self._over.add(id(job))
            if id(job) in self._begun:
                self._progress.ended(job.label)
        self._open = [job for job in self._open if id(job) not in self._over]
        ended = {id(job) for job in over}
        return any(id(each) in ended for job in self._open for each in job.after)
