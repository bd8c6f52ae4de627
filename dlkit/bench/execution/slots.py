"""Slots: each gets the next work as soon as it has sent what it did; that is stored while the next work runs."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeVar

from dlkit.bench.errors import UserError
from dlkit.bench.execution.assignment import Slots, SomeJob
from dlkit.bench.execution.checkpoints import Place, forget_checkpoints
from dlkit.bench.execution.executor import Changed, Executor, Lost
from dlkit.bench.execution.jobs import Job
from dlkit.bench.execution.lost_trials import LostTrials
from dlkit.bench.execution.outcomes import failed
from dlkit.bench.execution.progress import Listener
from dlkit.bench.execution.work import Done, Timed
from dlkit.bench.plan.space import Point
from dlkit.bench.plan.trials import Outcome
from dlkit.bench.store.software import differences, software_digest
from dlkit.bench.store.store import Store
from dlkit.bench.tuning.targets import Frozen

__all__ = ["Answers", "Keeping", "SomeJob", "Unstored", "drive", "require_same_software"]

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

    def freeze(self, key: str, problem: str, targets: Frozen) -> None:
        """As `Store.freeze`, after the outcomes that the targets follow from."""
        self.store()
        self._store.freeze(key, problem, targets)


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


def drive(
    executor: Executor,
    jobs: Sequence[SomeJob],
    answers: Answers[SomeJob],
    progress: Listener,
    program: Mapping[str, str],
    *,
    weights: Mapping[str, float] | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> bool:
    """Keeps every slot busy until nothing is left of some jobs.

    Args:
        executor: with the slots.
        jobs: what is left to run.
        answers: what is done with what comes back.
        progress: hears how it goes.
        program: what workers must be like.
        weights: problem -> seconds that one of its trials usually takes, where that is known.
        clock: the time in seconds.

    A trial whose worker was lost runs again, alone on a new one; lost twice, it failed. See `lost_trials`.

    Returns:
        Whether Ctrl-C ended it.

    Raises:
        UserError: if a worker runs other software than this process.
    """
    progress.workers(max(executor.slots - len(executor.vacant), 1))
    slots, losses = Slots(executor, jobs, progress, clock=clock, weights=weights), LostTrials()
    interrupted = False
    while slots.running if interrupted else not slots.is_over:
        try:
            index, done = executor.next()
        except KeyboardInterrupt:
            if interrupted:
                raise
            interrupted = True  # the trials in hand end within seconds and are kept; a second Ctrl-C gives them up
            progress.finishing()
            continue
        if isinstance(done, Changed):
            if done.sentence:
                progress.warn(done.sentence)
            progress.workers(max(executor.slots - len(executor.vacant), 1))
            if not interrupted:
                slots.assign()
            continue
        job, work, since = slots.running.pop(index)
        seconds = clock() - since
        assert not isinstance(done, Timed)
        if is_lost := isinstance(done, Lost):
            if interrupted:  # it was given up
                continue
            if done.kind == "left":
                slots.lost(index, job)
                slots.assign()
                continue
            trial, outcome = losses.judge(job.problem, job.label, work.trials, done)
            if outcome is None:
                progress.warn(f"{job.label}: a worker {done.reason}; the trial it had runs once more, alone")
                slots.lost(index, job)
                slots.submit(index, job, work._replace(trials=(trial,)))
                slots.assign()
                continue
            job.lose(trial)
            done = Done((outcome,), program)
        if isinstance(done, UserError):
            done = Done((failed(work.trials[0], f"{job.label}: {done}"),), program)
        require_same_software(done.program, program)
        interrupted |= done.interrupted
        slots.report(index, job, work, done, seconds)
        if is_lost:
            slots.lost(index, job)
        progress.took(job.label, len(done.outcomes), seconds, sum(each.seconds for each in done.outcomes))
        try:
            answers.take(job, done)
            if not interrupted:
                slots.assign()
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
