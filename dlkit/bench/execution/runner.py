"""Carries a study out: gives groups to workers, stores what comes back, tunes, then trains the winners."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

from dlkit.bench.analysis.settling import more_seeds
from dlkit.bench.errors import UserError
from dlkit.bench.execution.executor import Executor, Workers
from dlkit.bench.execution.progress import Listener
from dlkit.bench.execution.races import machine_digest, races
from dlkit.bench.execution.work import Done, Timed, Work, failed
from dlkit.bench.machine.program import SOFTWARE_FIELDS, program_identity
from dlkit.bench.plan.plan import Plan, PlannedContender, PlannedProblem
from dlkit.bench.plan.space import Point
from dlkit.bench.plan.trials import Outcome, Stage, Trial
from dlkit.bench.spec.bound_plan import BoundPlan, Group
from dlkit.bench.store.store import Store, software_digest
from dlkit.bench.tuning.search import next_points, search
from dlkit.bench.tuning.targets import Frozen, Reruns, freeze, reruns, sets_targets
from dlkit.bench.tuning.widening import ROUNDS
from dlkit.bench.tuning.widening import expand as widened
from dlkit.bench.tuning.winner import tune

__all__ = ["Report", "run"]


class _Job(Protocol):
    """Trials that belong together: how many there are, as far as is known, and how many of them have ended."""

    label: str
    trials: int
    done: int

    def work(self) -> Work | None:
        """Returns what to run next, None when there is nothing left."""

    def take(self, outcomes: Sequence[Outcome]) -> None:
        """Notes what has ended."""


class _TargetJob:
    """The reruns of a problem's best baseline, which set its targets; there are none before the baselines are tuned."""

    def __init__(
        self,
        study: BoundPlan,
        problem: PlannedProblem,
        outcomes: dict[str, Outcome],
        drawn: Mapping[str, Sequence[Point]],
        lanes: int | None,
    ) -> None:
        self.label = f"{problem.name} / targets"
        self.problem = problem
        self._study, self._outcomes, self._drawn, self._lanes = study, outcomes, drawn, lanes
        self._failed = False
        self.trials = study.plan.targets.reruns
        self.done = self._count()

    def work(self) -> Work | None:
        again = self._again()
        missing = [trial for trial in again.trials if trial.id not in self._outcomes] if again else []
        if again is None or not missing or self._failed:
            return None
        static = missing[0].identity["optimizer"]["static"]
        group = self._study.group(self.problem, again.contender, static, stage="target")
        return Work(group, tuple(missing), lanes=self._lanes, planned=len(again.trials))

    def take(self, outcomes: Sequence[Outcome]) -> None:
        self._failed |= any(not outcome.counts for outcome in outcomes)
        self._outcomes.update({outcome.trial.id: outcome for outcome in outcomes if outcome.counts})
        self.done = self._count()

    def targets(self) -> tuple[str, Frozen] | None:
        """Returns the targets and their key, once all reruns have ended."""
        again = self._again()
        found = freeze(self._study.plan, self.problem, again, self._outcomes) if again else None
        return (again.key, found) if again and found else None

    def _again(self) -> Reruns | None:
        return reruns(self._study.plan, self.problem, self._outcomes, drawn=self._drawn)

    def _count(self) -> int:
        again = self._again()
        return sum(trial.id in self._outcomes for trial in again.trials) if again else 0


class _ContenderJob:
    """One contender on one problem: in each study tuning, then its winner on the final seeds."""

    def __init__(
        self,
        study: BoundPlan,
        problem: PlannedProblem,
        contender: PlannedContender,
        store: Store,
        outcomes: dict[str, Outcome],
        drawn: dict[str, list[Point]],
        lanes: int | None,
    ) -> None:
        self.study, self.problem, self.contender, self._lanes = study, problem, contender, lanes
        self.label = f"{problem.name} / {contender.label}"
        self.failed = False
        self._store, self._outcomes, self._drawn = store, outcomes, drawn
        self.trials, self.done = self._count()

    def work(self) -> Work | None:
        """Returns what to run next, None when there is nothing left."""
        if self.failed:
            return None
        for study in range(self.study.plan.tuner.studies):
            pending = self._tuning(study) or self._finals(study)
            if pending:
                point, first = pending[0]
                trials = {trial.id: trial for each, trial in pending if each.static == point.static}
                group = self.study.group(self.problem, self.contender, point.static, stage=first.stage)
                return Work(group, tuple(trials.values()), lanes=self._lanes, planned=self._planned(first.stage))
        return None

    def _planned(self, stage: Stage) -> int:
        """How many trials of one group run in a stage, about: it does not depend on how many have run."""
        plan = self.study.plan
        if stage != "tuning":
            return plan.seeds
        return max(len(self.contender.points), plan.tuner.batch) * plan.tuning_seeds

    def _tuning(self, study: int) -> list[tuple[Point, Trial]]:
        """Returns the tuning trials that can run now; draws points where the study has too few."""
        about = (self.study.plan, self.problem, self.contender, self._outcomes)
        while not (pending := search(*about, drawn=self._drawn, study=study).pending(self._outcomes)):
            points = next_points(*about, drawn=self._drawn, study=study)
            if not points:
                break
            key = self.study.plan.search_key(self.problem, self.contender, study)
            known = self._drawn.setdefault(key, [])
            self._store.add_points(key, len(known), points)
            known += points
        return pending

    def _finals(self, study: int) -> list[tuple[Point, Trial]]:
        plan = self.study.plan
        winner = tune(plan, self.problem, self.contender, self._outcomes, drawn=self._drawn, study=study).point
        trials = plan.final_trials(self.problem, self.contender, winner, study=study) if winner else []
        return [(winner, trial) for trial in trials if winner and trial.id not in self._outcomes]

    def _count(self) -> tuple[int, int]:
        """How many trials the job has, as far as is known, and how many of them have ended."""
        plan, known, later = self.study.plan, set(), 0
        for study in range(plan.tuner.studies):
            tuning = tune(plan, self.problem, self.contender, self._outcomes, drawn=self._drawn, study=study)
            point = tuning.point
            finals = plan.final_trials(self.problem, self.contender, point, study=study) if point else []
            known |= {trial.id for trial in [*tuning.known, *finals]}
            later += tuning.trials - len(tuning.known) + (plan.seeds if tuning.missing else 0)
        return len(known) + later, len(known & self._outcomes.keys())

    def take(self, outcomes: Sequence[Outcome]) -> None:
        """Notes what has ended; a failure ends the job, since its other trials would fail alike."""
        for outcome in outcomes:
            if outcome.counts:
                self._outcomes[outcome.trial.id] = outcome
            else:
                self.failed = True
        self.trials, self.done = self._count()


@dataclass
class _Slot:
    """A worker, what it is busy with, and the executable it holds."""

    job: _Job | None = None
    work: Work | None = None
    group: Group | None = None


class Report(NamedTuple):
    """How a run ended.

    Attributes:
        interrupted: whether Ctrl-C ended it.
        study: what ran, with the spaces that were widened and the seeds that were added.
    """

    interrupted: bool
    study: BoundPlan


def run(
    study: BoundPlan,
    store: Store,
    make_executor: Callable[[], Executor],
    progress: Listener,
    *,
    lanes: int | None = None,
) -> Report:
    """Runs every trial of a study that the store does not have, and stores it.

    What the plan says happens in this order. With `expand`, spaces whose winners lie at an edge are widened, up to
    `widening.ROUNDS` times. With `max_seeds`, seeds are added until it is settled who is best. With `timing`, the tuned
    contenders' steps are timed, each problem's side by side on one slot while the others rest.

    Ctrl-C stores what is finished and ends the workers; it gives up the timing in hand at once.

    Args:
        study: what to run.
        store: where results go; only this process writes to it.
        make_executor: starts the workers; called only if there is something to run.
        progress: hears how it goes.
        lanes: how many trials run side by side; None for what suits the device.

    Returns:
        How it ended.

    Raises:
        UserError: if the workers run other software than this process.
    """
    workers = Workers(make_executor)
    try:
        for _ in range(ROUNDS if study.plan.expand else 0):
            if _run_once(study, store, workers, progress, lanes):
                return Report(True, study)
            wider = widened(study.plan, _finished(store), drawn=store.drawn())
            if wider is None:
                break
            study = replace(study, plan=wider)
        while study.plan.max_seeds is not None:
            if _run_once(study, store, workers, progress, lanes):
                return Report(True, study)
            addition = more_seeds(study.plan, _finished(store), drawn=store.drawn())
            if addition is None:
                break
            for note in addition.notes:
                progress.say(note)
            study = replace(study, plan=addition.plan)
        return Report(_run_once(study, store, workers, progress, lanes, timing=study.plan.timing), study)
    except KeyboardInterrupt:  # between rounds
        return Report(True, study)
    finally:
        workers.close()


def _finished(store: Store) -> dict[str, Outcome]:
    """The outcomes that need not run again, by trial id."""
    return {name: record.outcome for name, record in store.records(store.finished()).items()}


def _run_once(
    study: BoundPlan,
    store: Store,
    workers: Workers,
    progress: Listener,
    lanes: int | None,
    *,
    timing: bool = False,
) -> bool:
    """Runs what is left of a plan; returns whether Ctrl-C ended it."""
    plan = study.plan
    program = program_identity()
    store.use_software(program)
    store.use_plan(plan, study.sources)
    finished = _finished(store)
    drawn = store.drawn()
    jobs = [
        _ContenderJob(study, problem, contender, store, finished, drawn, lanes)
        for problem in plan.problems
        for contender in plan.contenders
    ]
    setting = [
        _TargetJob(study, problem, finished, drawn, lanes) for problem in plan.problems if problem.target is None
    ]
    every: list[_Job] = [*jobs, *setting]
    progress.plan(sum(job.trials for job in every), sum(job.done for job in every))
    try:
        for phase in _phases(plan, store, jobs, setting):
            queue = [job for job in phase if job.work() is not None]
            if queue and _drive(every, queue, store, workers.start(), progress, program):
                return True
        for race in races(study, store, machine_digest(program)) if timing else ():
            progress.timing(f"{race.problem.name} / timing")
            timed = race.timed_on(workers.start())
            _require_same_software(timed.program, program)
            store.keep_timings(dict(zip(race.keys, timed.timings, strict=True)), timed.program, machine_digest(program))
        return False
    except KeyboardInterrupt:
        return True


def _phases(
    plan: Plan, store: Store, jobs: Sequence[_ContenderJob], setting: Sequence[_TargetJob]
) -> Iterator[Sequence[_Job]]:
    """What has to end before the next begins: baselines, the reruns that set targets, everyone else.

    Where every problem declares its target there is one phase.
    """
    unset = {job.problem.name for job in setting if job.targets() is None}
    first = [job for job in jobs if job.problem.name in unset and sets_targets(plan, job.problem, job.contender)]
    yield first
    yield setting
    for job in setting:
        targets = job.targets()
        if targets is not None:
            store.freeze(targets[0], job.problem.name, targets[1])
    yield [job for job in jobs if job not in first]


def _drive(
    jobs: Sequence[_Job],
    queue: list[_Job],
    store: Store,
    executor: Executor,
    progress: Listener,
    program: Mapping[str, str],
) -> bool:
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
        assert not isinstance(done, Timed)
        if isinstance(done, UserError):
            done = Done((failed(work.trials[0], f"{job.label}: {done}"),), program)
        _require_same_software(done.program, program)
        store.add(done.outcomes, done.program)
        planned, before = sum(each.trials for each in jobs), sum(each.done for each in jobs)
        job.take(done.outcomes)
        if (now := sum(each.trials for each in jobs)) != planned:  # tuning has drawn points, or dropped some
            progress.plan(now, before)
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
    progress: Listener,
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
