"""Slots: each gets the next work as soon as it has sent what it did; that is stored while the next work runs."""

import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Generic, NamedTuple, Protocol, TypeVar

from dlkit.bench.errors import UserError
from dlkit.bench.execution.checkpoints import Place, forget_checkpoints
from dlkit.bench.execution.executor import Executor, Lost
from dlkit.bench.execution.jobs import Job
from dlkit.bench.execution.lost_trials import LostTrials
from dlkit.bench.execution.outcomes import failed
from dlkit.bench.execution.progress import Listener
from dlkit.bench.execution.work import Done, Timed, Work
from dlkit.bench.plan.space import Point
from dlkit.bench.plan.trials import Outcome, Trial
from dlkit.bench.spec.bound_plan import Group
from dlkit.bench.store.software import differences, software_digest
from dlkit.bench.store.store import Store

__all__ = ["Answers", "Keeping", "SomeJob", "Unstored", "drive", "require_same_software"]

SHARED_SECONDS = 10.0  # of training that slots share: another one has to load the executables first, or to compile

SomeJob = TypeVar("SomeJob", bound=Job)
AnyJob = TypeVar("AnyJob", bound=Job, contravariant=True)


class Answers(Protocol[AnyJob]):
    """What is done with what slots send."""

    def take(self, job: AnyJob, done: Done) -> None:
        """Gives it to its job, so that it knows what is next."""

    def keep(self, job: AnyJob, done: Done) -> None:
        """Keeps it; the slot has its next work by then. It is called whatever happened meanwhile."""


class Unstored:
    """Outcomes that came back and are not stored yet."""

    def __init__(self, store: Store, checkpoints: Place | None = None) -> None:
        self._store, self._checkpoints = store, checkpoints
        self._waiting: list[tuple[Sequence[Outcome], Mapping[str, str]]] = []

    def take(self, done: Done) -> None:
        """Remembers what came back."""
        self._waiting.append((done.outcomes, done.program))

    def store(self) -> None:
        """Stores it."""
        while self._waiting:
            outcomes, program = self._waiting[0]
            self._store.add(outcomes, program)
            del self._waiting[0]
            forget_checkpoints(self._checkpoints, [each.trial.id for each in outcomes])

    def add_points(self, search: str, before: int, points: Sequence[Point]) -> None:
        """As `Store.add_points`, after the outcomes that the points follow from."""
        self.store()
        self._store.add_points(search, before, points)


class Keeping:
    """Gives outcomes to their jobs, stores them, and says how far the run has come."""

    def __init__(self, unstored: Unstored, progress: Listener, every: Sequence[Job]) -> None:
        """Says how many trials there are.

        Args:
            unstored: where outcomes wait.
            progress: hears how it goes.
            every: all jobs of the round.
        """
        self._unstored, self._progress = unstored, progress
        self._noted = set[str]()
        self._counts = {id(job): (job.trials, job.done) for job in every}
        self._planned = sum(trials for trials, _ in self._counts.values())
        self._done = sum(done for _, done in self._counts.values())
        progress.plan(self._planned, self._done)
        for job in every:
            trials, done = self._counts[id(job)]
            progress.expecting(job.label, trials - done)

    def take(self, job: Job, done: Done) -> None:
        """Gives outcomes to their job."""
        self._unstored.take(done)
        for note in done.notes:
            if note not in self._noted:
                self._progress.warn(note)
            self._noted.add(note)
        job.take(done.outcomes)
        self._progress.advance(job.label, len(done.outcomes))

    def keep(self, job: Job, done: Done) -> None:
        """Stores what waits; says it if there are more or fewer trials than it seemed."""
        self._unstored.store()
        (trials, ended), now = self._counts[id(job)], (job.trials, job.done)
        self._counts[id(job)] = now
        self._progress.expecting(job.label, now[0] - now[1])
        if now[0] != trials:  # tuning has drawn points, or dropped some
            self._planned += now[0] - trials
            self._progress.plan(self._planned, self._done + len(done.outcomes))
        self._done += now[1] - ended


class _Running(NamedTuple, Generic[SomeJob]):
    """What a slot is busy with, and since when."""

    job: SomeJob
    work: Work
    since: float


class _Slots(Generic[SomeJob]):
    """Who does what, and what waits."""

    def __init__(self, executor: Executor, jobs: Sequence[SomeJob], progress: Listener) -> None:
        """Gives every slot its first work, as far as there is any."""
        self._executor, self._progress = executor, progress
        self._queue = deque(jobs)
        self._groups: dict[int, Group] = {}  # whose executable a slot holds
        self.running: dict[int, _Running[SomeJob]] = {}
        for index in range(executor.slots):
            self.assign(index)

    def assign(self, index: int, current: SomeJob | None = None, pace: float = 0.0) -> None:
        """Gives a free slot its job's next work, or the next job's: a job stays where its executable is.

        Where no job waits, and a job's trials take long yet, slots that are free take their share of them.

        Args:
            index: the slot.
            current: the job that it was busy with.
            pace: how many seconds a trial of this job took.
        """
        work = None if current is None else self._left(current)
        if current is not None and work is None and not self._in_hand(current):
            self._progress.ended(current.label)
        while work is None and self._queue:
            current, pace = self._queue.popleft(), 0.0
            work = self._left(current)
        if current is None or work is None:
            return
        free = [each for each in range(self._executor.slots) if each != index and each not in self.running]
        helping = free if not self._queue and pace * len(work.trials) > SHARED_SECONDS else []
        for place, slot in enumerate(takers := [index, *helping]):
            trials = _share(work.trials, place, len(takers))
            if trials:
                self.submit(slot, current, work._replace(trials=trials))

    def submit(self, index: int, job: SomeJob, work: Work) -> None:
        """Gives a free slot some work of a job."""
        self.running[index] = _Running(job, work, time.monotonic())
        if self._groups.get(index) != work.group:
            self._progress.compiling(job.label)
        self._groups[index] = work.group
        self._executor.submit(index, work)

    def _left(self, job: SomeJob) -> Work | None:
        """A job's next work, without trials that another slot has in hand."""
        work, in_hand = job.work(), self._in_hand(job)
        if work is None or not in_hand:
            return work
        trials = tuple(trial for trial in work.trials if trial.id not in in_hand)
        return work._replace(trials=trials) if trials else None

    def _in_hand(self, job: SomeJob) -> set[str]:
        return {trial.id for each in self.running.values() if each.job is job for trial in each.work.trials}


def _share(trials: tuple[Trial, ...], place: int, takers: int) -> tuple[Trial, ...]:
    """One of equal parts of some trials: neighbours, which may run side by side."""
    return trials[place * len(trials) // takers : (place + 1) * len(trials) // takers]


def drive(
    executor: Executor,
    jobs: Sequence[SomeJob],
    answers: Answers[SomeJob],
    progress: Listener,
    program: Mapping[str, str],
) -> bool:
    """Keeps every slot busy until nothing is left of some jobs.

    Args:
        executor: with the slots.
        jobs: what is left to run.
        answers: what is done with what comes back.
        progress: hears how it goes.
        program: what workers must be like.

    A trial whose worker was lost runs again, alone on a new one; lost twice, it failed. See `lost_trials`.

    Returns:
        Whether Ctrl-C ended it.

    Raises:
        UserError: if a worker runs other software than this process.
    """
    progress.workers(executor.slots)
    slots, losses = _Slots(executor, jobs, progress), LostTrials()
    interrupted = False
    while slots.running:
        try:
            index, done = executor.next()
        except KeyboardInterrupt:
            if interrupted:
                raise
            interrupted = True  # the trials in hand end within seconds and are kept; a second Ctrl-C gives them up
            progress.finishing()
            continue
        job, work, since = slots.running.pop(index)
        seconds = time.monotonic() - since
        assert not isinstance(done, Timed)
        if isinstance(done, Lost):
            if interrupted:  # it was given up
                continue
            trial, outcome = losses.judge(job.problem, job.label, work.trials, done)
            if outcome is None:
                progress.warn(f"{job.label}: a worker {done.reason}; the trial it had runs once more, alone")
                slots.submit(index, job, work._replace(trials=(trial,)))
                continue
            job.lose(trial)
            done = Done((outcome,), program)
        if isinstance(done, UserError):
            done = Done((failed(work.trials[0], f"{job.label}: {done}"),), program)
        require_same_software(done.program, program)
        interrupted |= done.interrupted
        progress.took(job.label, len(done.outcomes), seconds, sum(each.seconds for each in done.outcomes))
        try:
            answers.take(job, done)
            if not interrupted:
                slots.assign(index, job, seconds / max(len(done.outcomes), 1))
        finally:
            answers.keep(job, done)
    return interrupted


def require_same_software(theirs: Mapping[str, str], ours: Mapping[str, str]) -> None:
    """Refuses workers whose trials could not be compared with this process's.

    Args:
        theirs: the identity of their programs.
        ours: of this process's.

    Raises:
        UserError: saying in what they differ.
    """
    if software_digest(theirs) != software_digest(ours):
        other = differences(theirs, ours, there="there", here="here")
        raise UserError(f"the workers run other software than this process: {other}; install the same on both")
