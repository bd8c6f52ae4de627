"""Models kept at the end of a run: the best final trials run once more, and hand over what they end with."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from dlkit.bench.analysis.best_trial import best_trial
from dlkit.bench.analysis.contender_result import make_result
from dlkit.bench.errors import UserError
from dlkit.bench.execution.bit_comparison import compared
from dlkit.bench.execution.work import Done, Work
from dlkit.bench.plan.planned import PlannedContender, PlannedProblem
from dlkit.bench.plan.trials import Outcome, Trial
from dlkit.bench.spec.bound_plan import BoundPlan
from dlkit.bench.store.models import PackedModel, every_model, write_model
from dlkit.bench.store.trial_rows import Record
from dlkit.bench.training.lanes import Lanes
from dlkit.bench.tuning.history import History

__all__ = ["KeepJob", "keep_jobs"]


class KeepJob:
    """A job that stores no trial: one that is stored runs again, hands its model over, and is compared bit for bit.

    Attributes:
        label: how progress calls it.
        problem: whose model it is.
        contender: of whom.
        trials: none that the run counts.
        done: none.
        warning: why no model is kept; empty if it is.
    """

    trials = done = 0

    def __init__(
        self, bound: BoundPlan, problem: PlannedProblem, contender: PlannedContender, record: Record, folder: Path
    ) -> None:
        self.label = f"{problem.name} / {contender.label}"
        self.problem, self.contender = problem, contender
        self.warning = ""
        self._bound, self._record, self._folder, self._is_over = bound, record, folder, False

    def work(self) -> Work | None:
        """Returns the trial to run again; None once it has run."""
        if self._is_over:
            return None
        trial = self._record.outcome.trial
        static = trial.identity["optimizer"]["static"]
        group = self._bound.group(self.problem, self.contender, static, stage="final")
        lanes = Lanes.parse(self._record.program["lanes"])
        return Work(group, (trial,), lanes=lanes, hands_over=True)

    def take(self, outcomes: Sequence[Outcome]) -> None:
        """Nothing to add to the history."""

    def lose(self, trial: Trial) -> None:
        """What comes next says so."""

    def finish(self) -> None:
        """The trial has come back: it does not run a third time."""
        self._is_over = True

    def keep(self, done: Done) -> None:
        """Writes the model, if its trial gave the same numbers once more."""
        if not done.outcomes:  # Ctrl-C
            return
        outcome, trial = self._record.outcome, self._record.outcome.trial
        where = f"{self.contender.label} on {self.problem.name}: its model is not kept"
        try:
            replay = compared(outcome, self._record.program, done)
            packed = done.models[0] if done.models else None
            if not replay.exact:
                self.warning = f"{where}: trial {trial.id} gave other numbers when it ran again"
            elif isinstance(packed, PackedModel):
                write_model(self._folder, trial.id, self.problem.name, self.contender.label, packed)
            else:
                self.warning = f"{where}: {packed or 'its worker handed nothing over'}"
        except UserError as error:
            self.warning = f"{where}: {error}"


def keep_jobs(bound: BoundPlan, history: History, records: Mapping[str, Record], folder: Path) -> Iterator[KeepJob]:
    """Yields a job for each contender on each problem whose best final trial has no model in the run folder yet.

    Args:
        bound: the plan, all of whose trials have run.
        history: of it.
        records: what is stored: id -> record.
        folder: the run folder.
    """
    there = {(each.problem, each.contender): each.trial for each in every_model(folder)}
    for problem, contender in bound.plan.cells:
        best = best_trial(problem, make_result(history, problem, contender, ()))
        if isinstance(best, str) or there.get((problem.name, contender.label)) == best.trial.id:
            continue
        yield KeepJob(bound, problem, contender, records[best.trial.id], folder)
