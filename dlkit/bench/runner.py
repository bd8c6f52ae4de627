"""Carries a study out: gives groups to workers, stores what comes back, tunes, then trains the winners."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from dlkit.bench.environment import SOFTWARE_FIELDS, program_identity
from dlkit.bench.errors import UserError
from dlkit.bench.executor import Done, Executor, Work, failed
from dlkit.bench.planner import Group, Study
from dlkit.bench.plans import Contender, Outcome, ProblemFacts, Trial
from dlkit.bench.store import Store, software_digest
from dlkit.bench.targets import Reruns, freeze, reruns, sets_targets
from dlkit.bench.tuning import tune

__all__ = ["Progress", "Report", "Silent", "run"]


class Progress(Protocol):
    """Hears how a run goes."""

    def plan(self, trials: int, done: int) -> None:
        """How many trials there are, and how many of them the store has already."""

    def compiling(self, label: str) -> None:
        """A group starts on a worker."""

    def advance(self, label: str, trials: int) -> None:
        """Trials of a group have ended."""

    def ended(self, label: str) -> None:
        """A contender is through on a problem."""

    def finishing(self) -> None:
        """Ctrl-C came: only the trials in hand are waited for."""


class Silent:
    """Says nothing."""

    def plan(self, trials: int, done: int) -> None:
        """Nothing to say."""

    def compiling(self, label: str) -> None:
        """Nothing to say."""

    def advance(self, label: str, trials: int) -> None:
        """Nothing to say."""

    def ended(self, label: str) -> None:
        """Nothing to say."""

    def finishing(self) -> None:
        """Nothing to say."""


class _Job(Protocol):
    """Trials that belong together."""

    label: str

    def work(self) -> Work | None:
        """Returns what to run next, None when there is nothing left."""

    def take(self, outcomes: Sequence[Outcome]) -> None:
        """Notes what has ended."""


class _TargetJob:
    """The reruns of a problem's best baseline, which set its targets."""

    def __init__(self, study: Study, problem: ProblemFacts, again: Reruns, done: set[str], lanes: int | None) -> None:
        self.label = f"{problem.name} / targets"
        self.problem, self.again = problem, again
        self._study, self._lanes = study, lanes
        self._missing = [trial for trial in again.trials if trial.id not in done]

    def work(self) -> Work | None:
        if not self._missing:
            return None
        static = self._missing[0].identity["optimizer"]["static"]
        group = self._study.group(self.problem, self.again.contender, static, stage="target")
        return Work(group, tuple(self._missing), lanes=self._lanes, planned=len(self.again.trials))

    def take(self, outcomes: Sequence[Outcome]) -> None:
        ended = {outcome.trial.id for outcome in outcomes}
        failed = any(not outcome.counts for outcome in outcomes)
        self._missing = [] if failed else [trial for trial in self._missing if trial.id not in ended]


class _ContenderJob:
    """One contender on one problem: tuning, then its winner on the final seeds."""

    def __init__(
        self,
        study: Study,
        problem: ProblemFacts,
        contender: Contender,
        known: Mapping[str, Outcome],
        lanes: int | None,
    ) -> None:
        self.study, self.problem, self.contender, self._lanes = study, problem, contender, lanes
        self.label = f"{problem.name} / {contender.label}"
        self.outcomes = dict(known)
        self.failed = False
        self._tuning = study.plan.tuning_trials(problem, contender)

    @property
    def size(self) -> int:
        """How many trials the job has, finished ones included."""
        return sum(map(len, self._tuning)) + self.study.plan.seeds

    @property
    def done(self) -> int:
        """How many trials have ended."""
        return len(self.outcomes)

    def work(self) -> Work | None:
        """Returns what to run next, None when there is nothing left."""
        if self.failed:
            return None
        missing = [
            (point.static, trial)
            for point, row in zip(self.contender.points, self._tuning, strict=True)
            for trial in row
            if trial.id not in self.outcomes
        ]
        if not missing:
            missing = [(static, trial) for static, trial in self.final_trials() if trial.id not in self.outcomes]
        if not missing:
            return None
        static, first = missing[0]
        trials = tuple(trial for choice, trial in missing if choice == static)
        group = self.study.group(self.problem, self.contender, static, stage=first.stage)
        planned = sum(map(len, self._tuning)) if first.stage == "tuning" else self.study.plan.seeds
        return Work(group, trials, lanes=self._lanes, planned=planned)

    def final_trials(self) -> Iterator[tuple[dict[str, Any], Trial]]:
        winner = tune(self.study.plan, self.problem, self.contender, self.outcomes).point
        if winner is not None:
            for trial in self.study.plan.final_trials(self.problem, self.contender, winner):
                yield winner.static, trial

    def take(self, outcomes: Sequence[Outcome]) -> None:
        """Notes what has ended; a failure ends the job, since its other trials would fail alike."""
        for outcome in outcomes:
            self.outcomes[outcome.trial.id] = outcome
            self.failed |= outcome.status == "failed"


@dataclass
class _Slot:
    """A worker, what it is busy with, and the executable it holds."""

    job: _Job | None = None
    work: Work | None = None
    group: Group | None = None


class Report(NamedTuple):
    """How a run ended."""

    interrupted: bool


def run(
    study: Study,
    store: Store,
    make_executor: Callable[[], Executor],
    progress: Progress,
    *,
    lanes: int | None = None,
) -> Report:
    """Runs every trial of a study that the store does not have, and stores it.

    Ctrl-C stores what is finished and ends the workers.

    Args:
        study: what to run.
        store: where results go; only this process writes to it.
        make_executor: starts the workers; called only if there is something to run.
        progress: hears how it goes.
        lanes: how many trials run side by side; None for what suits the device.

    Returns:
        Whether it was interrupted.

    Raises:
        UserError: if the workers run other software than this process.
    """
    plan = study.plan
    program = program_identity()
    store.use_software(program)
    store.use_plan(plan, study.sources)
    finished = {name: record.outcome for name, record in store.records(store.finished()).items()}
    jobs = []
    for problem in plan.problems:
        for contender in plan.contenders:
            ids = {trial.id for row in study.plan.tuning_trials(problem, contender) for trial in row}
            job = _ContenderJob(
                study, problem, contender, {name: finished[name] for name in ids & finished.keys()}, lanes
            )
            final = {trial.id for _, trial in job.final_trials()} if ids <= finished.keys() else set()
            job.take([finished[name] for name in final & finished.keys()])
            jobs.append(job)
    to_set = [problem for problem in plan.problems if problem.target is None]
    of_targets = [trial for problem in to_set if (again := reruns(plan, problem, finished)) for trial in again.trials]
    progress.plan(
        sum(job.size for job in jobs) + len(to_set) * plan.targets.reruns,
        sum(job.done for job in jobs) + sum(trial.id in finished for trial in of_targets),
    )
    executor = None
    try:
        for phase in _phases(study, store, jobs, to_set, lanes):
            queue = [job for job in phase if job.work() is not None]
            if not queue:
                continue
            executor = executor or make_executor()
            if _drive(queue, store, executor, progress, program):
                return Report(interrupted=True)
        return Report(interrupted=False)
    except KeyboardInterrupt:
        return Report(interrupted=True)
    finally:
        if executor is not None:
            executor.close()


def _phases(
    study: Study, store: Store, jobs: Sequence[_ContenderJob], to_set: Sequence[ProblemFacts], lanes: int | None
) -> Iterator[Sequence[_Job]]:
    """What has to end before the next begins: baselines, the reruns that set targets, everyone else.

    Where every problem declares its target there is one phase.
    """
    plan = study.plan
    first = [job for job in jobs if sets_targets(plan, job.problem, job.contender)]
    yield first
    outcomes = {name: outcome for job in first for name, outcome in job.outcomes.items()}
    setting = [(problem, again) for problem in to_set if (again := reruns(plan, problem, outcomes))]
    finished = store.finished()
    yield [_TargetJob(study, problem, again, finished, lanes) for problem, again in setting]
    for problem, again in setting:
        ran = store.records({trial.id for trial in again.trials})
        targets = freeze(plan, problem, again, {name: record.outcome for name, record in ran.items()})
        if targets is not None:
            store.freeze(again.key, problem.name, targets)
    yield [job for job in jobs if job not in first]


def _drive(queue: list[_Job], store: Store, executor: Executor, progress: Progress, program: Mapping[str, str]) -> bool:
    """Keeps every slot busy until no job is left; returns whether Ctrl-C ended it."""
    slots = [_Slot() for _ in range(executor.slots)]
    for index in range(len(slots)):
        _assign(index, slots, queue, executor, progress)
    interrupted = False
    while any(slot.job for slot in slots):
        try:
            index, done = executor.next()
        except KeyboardInterrupt:
            if interrupted:
                raise
            interrupted = True  # the trials in hand end within seconds and are kept; a second Ctrl-C gives them up
            progress.finishing()
            continue
        slot = slots[index]
        job, work = slot.job, slot.work
        assert job is not None and work is not None
        if isinstance(done, UserError):
            done = Done((failed(work.trials[0], f"{job.label}: {done}"),), program)
        _require_same_software(done.program, program)
        store.add(done.outcomes, done.program)
        job.take(done.outcomes)
        progress.advance(job.label, len(done.outcomes))
        interrupted |= done.interrupted
        slot.job = slot.work = None
        if not interrupted:
            _assign(index, slots, queue, executor, progress, current=job)
    return interrupted


def _assign(
    index: int,
    slots: list[_Slot],
    queue: list[_Job],
    executor: Executor,
    progress: Progress,
    current: _Job | None = None,
) -> None:
    """Gives a free slot its job's next work, or the next job's: a job stays where its executable is."""
    slot = slots[index]
    while current is None or (work := current.work()) is None:
        if current is not None:
            progress.ended(current.label)
        if not queue:
            return
        current = queue.pop(0)
    slot.job, slot.work = current, work
    if slot.group != work.group:
        progress.compiling(current.label)
    slot.group = work.group
    executor.submit(index, work)


def _require_same_software(theirs: Mapping[str, str], ours: Mapping[str, str]) -> None:
    if software_digest(theirs) != software_digest(ours):
        other = [
            f"{name} {theirs[name]!r} there, {ours[name]!r} here"
            for name in SOFTWARE_FIELDS
            if theirs[name] != ours[name]
        ]
        raise UserError(
            f"the workers run other software than this process: {'; '.join(other)}; install the same on both"
        )
