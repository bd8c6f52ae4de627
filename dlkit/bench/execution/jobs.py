"""What is left to run: of a contender on a problem, and of the reruns that set a problem's targets."""

from collections.abc import Collection, Sequence
from typing import Protocol

from dlkit.bench.execution.checkpoints import Place
from dlkit.bench.execution.work import Work
from dlkit.bench.plan.planned import PlannedContender, PlannedProblem
from dlkit.bench.plan.space import Point
from dlkit.bench.plan.trials import Outcome, Stage, Trial
from dlkit.bench.spec.bound_plan import BoundPlan
from dlkit.bench.tuning.history import History
from dlkit.bench.tuning.search import next_points, search
from dlkit.bench.tuning.targets import Frozen, Reruns, freeze, reruns
from dlkit.bench.tuning.winner import Tuning, tune

__all__ = ["ContenderJob", "Job", "PointStore", "TargetJob", "TargetStore"]

MOST_LOST = 3  # trials of a contender that took their workers with them; then it is the contender, not a trial


class PointStore(Protocol):
    """What keeps drawn points."""

    def add_points(self, search: str, before: int, points: Sequence[Point]) -> None:
        """As `Store.add_points`."""


class TargetStore(Protocol):
    """What keeps targets."""

    def freeze(self, key: str, problem: str, targets: Frozen) -> None:
        """As `Store.freeze`."""


class Job(Protocol):
    """Trials that belong together.

    Attributes:
        label: how progress calls it.
        problem: what it trains.
        after: jobs that have to be over before this one begins.
    """

    label: str
    problem: PlannedProblem
    after: "Sequence[Job]"

    @property
    def trials(self) -> int:
        """How many there are, as far as is known."""

    @property
    def done(self) -> int:
        """How many of them have ended."""

    def work(self, in_hand: Collection[str] = ()) -> Work | None:
        """Returns what to run next; None if nothing is left, or nothing can run yet.

        Args:
            in_hand: ids of trials that are running. What is returned may have some of them.
        """

    def take(self, outcomes: Sequence[Outcome]) -> None:
        """Adds outcomes of its trials to the history."""

    def lose(self, trial: Trial) -> None:
        """A trial took its workers with it; its outcome, which says so, comes next."""


class TargetJob:
    """The reruns of a problem's best baseline, which set its targets; there are none before the baselines are tuned."""

    def __init__(
        self,
        bound: BoundPlan,
        problem: PlannedProblem,
        history: History,
        lanes: int | None,
        checkpoints: Place | None = None,
        store: TargetStore | None = None,
        after: Sequence[Job] = (),
    ) -> None:
        """Begins with what has run.

        Args:
            bound: the plan.
            problem: whose targets.
            history: of the plan.
            lanes: how many trials run side by side; None for what suits the device.
            checkpoints: where long trials are kept while they run.
            store: where the targets are kept as soon as they are there.
            after: the baselines' jobs.
        """
        self.after, self._store = after, store
        self.label = f"{problem.name} / targets"
        self.problem = problem
        self._bound, self._history, self._lanes, self._checkpoints = bound, history, lanes, checkpoints
        self._failed = False
        self.trials = bound.plan.targets.reruns
        self.done = self._count()
        self._freeze()

    def work(self, in_hand: Collection[str] = ()) -> Work | None:
        """Returns the reruns that have not run; None before the baselines are tuned, and after a failure."""
        again = self._again()
        missing = [trial for trial in again.trials if trial.id not in self._history.outcomes] if again else []
        if again is None or not missing or self._failed:
            return None
        static = missing[0].identity["optimizer"]["static"]
        group = self._bound.group(self.problem, again.contender, static, stage="target")
        planned = len(again.trials)
        return Work(group, tuple(missing), lanes=self._lanes, planned=planned, checkpoints=self._checkpoints)

    def lose(self, trial: Trial) -> None:
        """The job ends, as after any failure."""

    def take(self, outcomes: Sequence[Outcome]) -> None:
        """Adds outcomes to the history; a failure ends the job."""
        self._failed |= any(not outcome.counts for outcome in outcomes)
        self._history.add(outcome for outcome in outcomes if outcome.counts)
        self.done = self._count()
        self._freeze()

    def targets(self) -> tuple[str, Frozen] | None:
        """Returns the targets and their key, once all reruns have ended."""
        again = self._again()
        found = freeze(self._history, self.problem, again) if again else None
        return (again.key, found) if again and found else None

    def _freeze(self) -> None:
        targets = self.targets()
        if self._store is not None and targets is not None:
            self._store.freeze(targets[0], self.problem.name, targets[1])

    def _again(self) -> Reruns | None:
        return reruns(self._history, self.problem)

    def _count(self) -> int:
        again = self._again()
        return sum(trial.id in self._history.outcomes for trial in again.trials) if again else 0


class ContenderJob:
    """A contender on a problem: each study is tuned, then its winner trains on the study's fresh seeds."""

    def __init__(
        self,
        bound: BoundPlan,
        problem: PlannedProblem,
        contender: PlannedContender,
        store: PointStore,
        history: History,
        lanes: int | None,
        studies: Sequence[int] | None = None,
        checkpoints: Place | None = None,
    ) -> None:
        self.after: Sequence[Job] = ()
        self.label = f"{problem.name} / {contender.label}"
        self.problem, self.contender = problem, contender
        self._bound, self._store, self._history, self._lanes = bound, store, history, lanes
        self._studies = bound.plan.studies(problem, contender) if studies is None else studies
        self._checkpoints = checkpoints
        self._failed = False
        self._lost: set[str] = set()
        self._counted: tuple[int, int] | None = None

    @property
    def trials(self) -> int:
        """How many there are, as far as is known."""
        return self._counts()[0]

    @property
    def done(self) -> int:
        """How many of them have ended."""
        return self._counts()[1]

    def work(self, in_hand: Collection[str] = ()) -> Work | None:
        """Returns what to run next: trials of one compile group and one stage; None after a failure."""
        if self._failed:
            return None
        for part in (self._tuning, self._finals):  # of all studies at once: they do not wait for each other
            each_study = (each for study in self._studies for each in part(study))
            out = {*in_hand, *self._lost}
            pending = [(point, trial) for point, trial in each_study if trial.id not in out]
            if pending:
                point, first = pending[0]
                trials = {trial.id: trial for each, trial in pending if each.static == point.static}
                group = self._bound.group(self.problem, self.contender, point.static, stage=first.stage)
                return Work(
                    group,
                    tuple(trials.values()),
                    lanes=self._lanes,
                    planned=self._planned(first.stage),
                    studies=self._bound.plan.tuner.studies,
                    sampled_seed=self._bound.plan.first_seed(0),  # reports show one trial's samples
                    checkpoints=self._checkpoints,
                )
        return None

    def lose(self, trial: Trial) -> None:
        """The others go on without it; a few such trials end the job."""
        self._lost.add(trial.id)
        self._failed |= len(self._lost) >= MOST_LOST

    def take(self, outcomes: Sequence[Outcome]) -> None:
        """Adds outcomes to the history; an exception ends the job, since its other trials would fail alike."""
        self._failed |= any(not outcome.counts and outcome.trial.id not in self._lost for outcome in outcomes)
        self._history.add(outcome for outcome in outcomes if outcome.counts)
        self._counted = None  # counting can wait: what is next does not depend on it

    def _planned(self, stage: Stage) -> int:
        """How many trials of one group run in a stage of a study, about: it does not depend on how many have run."""
        plan = self._bound.plan
        if stage != "tuning":
            return plan.seeds
        return max(len(self.contender.points), plan.tuner.batch) * plan.tuning_seeds

    def _tuning(self, study: int) -> list[tuple[Point, Trial]]:
        """Returns the tuning trials that can run now; draws points where the study has too few."""
        about = (self._history, self.problem, self.contender)
        while not (pending := search(*about, study=study).pending(self._history.outcomes)):
            points = next_points(*about, study=study)
            if not points:
                break
            key = self._history.search_key(self.problem, self.contender, study)
            self._store.add_points(key, len(self._history.drawn(self.problem, self.contender, study)), points)
            self._history.draw(key, points)
        return pending

    def _finals(self, study: int) -> list[tuple[Point, Trial]]:
        """Returns the final trials of a study's winner that have not run, each with that point."""
        winner, trials = self._winner(study)
        return [(winner, trial) for trial in trials if winner and trial.id not in self._history.outcomes]

    def _winner(self, study: int) -> tuple[Point | None, Sequence[Trial]]:
        """Returns a study's winner and its final trials; None and none before there is one."""
        point = tune(self._history, self.problem, self.contender, study=study).point
        trials = self._history.final_trials(self.problem, self.contender, point, study=study) if point else ()
        return point, trials

    def _counts(self) -> tuple[int, int]:
        if self._counted is None:
            self._counted = self._count()
        return self._counted

    def _count(self) -> tuple[int, int]:
        """How many trials the job has, as far as is known, and how many of them have ended."""
        known, later = set[str](), 0
        if self._has_alike_studies():  # a large plan is not hashed before its first trial
            tuning = tune(self._history, self.problem, self.contender, study=0)
            return len(self._studies) * (len({trial.id for trial in tuning.known}) + self._after(tuning)), 0
        for study in self._studies:
            tuning = tune(self._history, self.problem, self.contender, study=study)
            known |= {trial.id for trial in (*tuning.known, *self._winner(study)[1])}
            later += self._after(tuning)
        return len(known) + later, len(known & self._history.outcomes.keys())

    def _after(self, tuning: Tuning) -> int:
        """How many trials of a study come after those that are known by now."""
        return tuning.trials - len(tuning.known) + (self._bound.plan.seeds if tuning.missing else 0)

    def _has_alike_studies(self) -> bool:
        """Whether studies differ in their points and seeds alone: nothing has run, or was drawn meanwhile."""
        counts = {len(self.contender.points_of(study)) for study in self._studies}
        return not self._history.has_begun and not self._bound.plan.expansions and len(counts) == 1
