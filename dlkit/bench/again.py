"""What a result can train again: its trials, and the models that they end with. `Result` has these methods."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from dlkit.bench.errors import UserError

if TYPE_CHECKING:
    from dlkit.bench.analysis.summary import Summary
    from dlkit.bench.execution.bit_comparison import Replay
    from dlkit.bench.execution.models import KeptModel
    from dlkit.bench.spec.bound_plan import BoundPlan
    from dlkit.bench.spec.entries import Experiment

__all__ = ["Repeatable"]


class Repeatable:
    """The methods of a result that run trials once more, and return trained models.

    Attributes:
        summary: the tables and verdicts as data.
        bound: the plan with the functions that ran; None for a run that was opened from its folder.
        folder: the run's folder; None if it was kept in memory.
    """

    summary: "Summary"
    bound: "BoundPlan | None"
    folder: Path | None

    def replay(self, trial: str, experiment: "Experiment | None" = None) -> "Replay":
        """Runs one trial again and compares its bits: see `replays`.

        Args:
            trial: its id, or the first characters of it.
            experiment: what ran, to take one's own functions from it instead of the run's folder.

        Returns:
            What the replay showed.

        Raises:
            UserError: for an id that is not there, a trial that failed, or own functions that are not at hand.
        """
        (shown,) = self.replays([trial], experiment)
        return shown

    def replays(
        self,
        trials: Iterable[str] | None = None,
        experiment: "Experiment | None" = None,
        *,
        sample: int | None = None,
        seed: int = 0,
    ) -> "Iterator[Replay]":
        """Runs trials again, one after another, and compares their bits.

        Where a run was opened from its folder, and trials are of somebody's own code, this runs the code that the
        folder keeps: in a process of its own, and after saying whose it is.

        Args:
            trials: their ids, or the first characters of each; None for every trial of the run, those of one program
                after another. Of these a trial that failed, or cannot run here, is said to be so (`Replay.failure`),
                and the others go on.
            experiment: what ran, to take one's own functions from it instead of the run's folder.
            sample: run so many instead of all of them, of as many contenders and problems as there are.
            seed: of that draw.

        Returns:
            What each replay showed, as they end.

        Raises:
            UserError: for an id that is not there; of trials that are named, for one that failed, or own functions that
                are not at hand.
        """
        from dlkit.bench.execution import replay

        if sample is not None and (trials is not None or sample < 1):
            raise UserError(
                "sample draws from all trials; leave out trials, or sample"
                if trials is not None
                else f"sample must be at least 1, got {sample}"
            )
        tolerant = trials is None
        if trials is None:
            names = replay.chosen(self.summary, sample, seed)
        else:
            names = [self._found(trial) for trial in trials]
        bound = self.bound
        if experiment is not None:
            from dlkit.bench.spec import planner

            bound = planner.plan(experiment)
        return replay.replays(self.summary, names, bound, self.folder, tolerant=tolerant)

    def best(self, contender: str, problem: str | None = None, *, retrain: bool = False) -> "KeptModel":
        """Returns the trained model of a contender: of its typical study's final trial that is best on validation.

        Args:
            contender: its label.
            problem: which problem's; None where there is only one.
            retrain: whether that one trial is trained again, bit for bit, where ``keep="best"`` did not keep its model.

        Returns:
            Its `params`, `state`, `hyperparameters` and `trial`, and `load_problem`, whose functions take them.

        Raises:
            UserError: for names that there are not, and a model that was not kept.
        """
        from dlkit.bench.execution.models import best_model

        return best_model(self.summary, contender, problem, bound=self.bound, folder=self.folder, retrain=retrain)

    def _found(self, trial: str) -> str:
        matches = [name for name in self.summary.records if name.startswith(trial)]
        if len(matches) != 1:
            found = "no trial starts" if not matches else f"{len(matches)} trials start"
            raise UserError(f"{found} with '{trial}'; `dlkit show RUN --trials` and Result.trials() list the ids")
        return matches[0]
