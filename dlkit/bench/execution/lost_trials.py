"""Trials whose worker ended under them: each runs once more, alone on a new worker, and is given up if that ends, too.

So a trial that takes its worker with it costs two workers and never another trial, and one whose worker was killed by
chance costs nothing.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from dlkit.bench.execution.executor import Lost
from dlkit.bench.execution.outcomes import failed
from dlkit.bench.plan.metric import TRAINING_LOSS
from dlkit.bench.plan.planned import PlannedProblem
from dlkit.bench.plan.trials import Outcome, Trial

__all__ = ["LostTrials", "Verdict", "cut_off_from_outside"]


class Verdict(NamedTuple):
    """What follows from a lost worker.

    Attributes:
        trial: that was in hand, or that is tried first to find out which was.
        outcome: what is stored of it; None if it runs once more, alone.
    """

    trial: Trial
    outcome: Outcome | None


class LostTrials:
    """Counts how often each trial was in hand when its worker was lost."""

    def __init__(self) -> None:
        self._reasons: dict[str, str] = {}  # id of a trial that was lost once -> how

    def judge(self, problem: PlannedProblem, label: str, trials: Sequence[Trial], lost: Lost) -> Verdict:
        """Says which trial was in hand, and whether it runs again.

        Args:
            problem: what was trained.
            label: of the job, for messages.
            trials: that the worker had; the first is taken to have been in hand if nobody knows.
            lost: how the worker ended.
        """
        trial = next((each for each in trials if each.id == lost.trial), trials[0])
        if lost.kind == "hung":
            return Verdict(trial, cut_off_from_outside(problem, trial, f"{label}: its worker {lost.reason}"))
        if lost.kind == "never began":
            return Verdict(trial, failed(trial, f"{label}: its worker {lost.reason}"))
        before = self._reasons.pop(trial.id, None)
        if before is None:
            self._reasons[trial.id] = lost.reason
            return Verdict(trial, None)
        is_same = lost.reason.partition(";")[0] == before.partition(";")[0]  # but for how much memory it had
        how = f"{lost.reason}; twice, the second time alone" if is_same else f"{before}; then, alone, it {lost.reason}"
        return Verdict(trial, failed(trial, f"{label}: its worker {how}"))


def cut_off_from_outside(problem: PlannedProblem, trial: Trial, reason: str) -> Outcome:
    """Returns the outcome of a trial whose worker was ended when its time was long up.

    Nothing of its curve is known, since only a worker that goes on can send it: it has the point before the first step,
    whose values are NaN. It counts as one that was cut off there, without a final value.

    Args:
        problem: what was trained.
        trial: which.
        reason: what happened, in words.
    """
    nothing = np.full(1, np.nan, np.float32)
    curves = dict.fromkeys((*sorted(problem.metrics), TRAINING_LOSS), nothing)
    seconds = trial.seconds or 0.0
    return Outcome(trial, "cut off", reason, "", None, seconds, 0.0, np.zeros(1, np.int64), curves, {})
