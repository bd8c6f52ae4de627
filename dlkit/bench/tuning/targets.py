"""Targets: values of the judged metric that trials should reach, and how each trial came out against one.

A problem declares its targets, or the baselines set them before the challengers run: the best tuned baseline is trained
again on seeds of their own, and the median over these of what it had reached after a share of the budget is a target.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from dlkit.bench.identity.hashing import digest
from dlkit.bench.plan.orientation import oriented, unoriented
from dlkit.bench.plan.plan import Plan
from dlkit.bench.plan.planned import PlannedContender, PlannedProblem
from dlkit.bench.plan.spending import ROUNDING, spent
from dlkit.bench.plan.trials import Outcome, Trial
from dlkit.bench.tuning.history import History
from dlkit.bench.tuning.objective import firsts_at
from dlkit.bench.tuning.winner import Tuning, tune

__all__ = ["Ending", "Frozen", "Reruns", "declared", "ending", "endings", "freeze", "reruns", "sets_targets"]


class Ending(NamedTuple):
    """How a trial came out against a target.

    Attributes:
        kind: ``"reached"``; ``"missed"``: it trained to its end without; ``"diverged"``, ``"cut off"`` (by a time
            budget) or ``"failed"`` (an exception) before it could.
        step: the first evaluated step at the target, or the one at which it diverged or was cut off; None for a miss or
            a failure.
    """

    kind: Literal["reached", "missed", "diverged", "cut off", "failed"]
    step: int | None


class Frozen(NamedTuple):
    """A problem's targets, as they stand before the challengers run.

    Attributes:
        values: easiest first; the last is the one that tables count steps to.
        source: where they come from, in words.
        digest: of the values and of the trials they were taken from.
    """

    values: tuple[float, ...]
    source: str
    digest: str

    @property
    def hardest(self) -> float:
        """The last target; NaN if there is none yet."""
        return self.values[-1] if self.values else math.nan


@dataclass(frozen=True, eq=False)
class Reruns:
    """The trials that set a problem's targets.

    Attributes:
        contender: the best tuned baseline.
        trials: of its best point, on seeds that are used for nothing else.
    """

    contender: PlannedContender
    trials: Sequence[Trial]

    @property
    def key(self) -> str:
        """The hash of the trials, which is what the targets depend on."""
        return digest([trial.id for trial in self.trials])


def sets_targets(plan: Plan, problem: PlannedProblem, contender: PlannedContender) -> bool:
    """Whether a contender is a baseline of a problem that declares no target: it runs before the others."""
    baselines = plan.targets.baselines or (plan.contenders_on(problem)[0].label,)
    return problem.target is None and contender.label in baselines


def declared(problem: PlannedProblem) -> Frozen:
    """Returns the targets that a problem declares; none if baselines set them."""
    if problem.target is None:
        return Frozen((), "", "")
    values = (*problem.ladder, problem.target)
    return Frozen(values, "declared", digest(list(values)))


def reruns(history: History, problem: PlannedProblem) -> Reruns | None:
    """Returns the trials that set a problem's targets; None before the baselines are tuned, or if none trained.

    Of all the baselines' studies the winner with the best tuning score sets them. Studies that were added since do not
    count: targets do not move.
    """
    best: tuple[float, PlannedContender, Tuning] | None = None
    for contender in history.plan.contenders_on(problem):
        for study in range(history.plan.tuner.studies) if sets_targets(history.plan, problem, contender) else ():
            tuning = tune(history, problem, contender, study=study)
            if tuning.missing:
                return None
            if tuning.winner is not None and (best is None or tuning.scores[tuning.winner] < best[0]):
                best = (float(tuning.scores[tuning.winner]), contender, tuning)
    if best is None or (point := best[2].point) is None:
        return None
    return Reruns(best[1], history.reruns(problem, best[1], point))


def freeze(history: History, problem: PlannedProblem, again: Reruns) -> Frozen | None:
    """Takes a problem's targets from its reruns; None while one of them has not run."""
    outcomes = history.outcomes
    ran = [outcomes[trial.id] for trial in again.trials if trial.id in outcomes]
    if len(ran) < len(again.trials):
        return None
    targets = []
    for share in sorted(history.plan.targets.shares):
        best = [_best_within(problem, again.contender, outcome, share) for outcome in ran]
        targets.append(float(np.median(best)))
    # Infinity stands for runs that have nothing to show at that share: no target is made of them.
    hardest_last = sorted({value for value in targets if math.isfinite(value)}, reverse=True)
    values = tuple(unoriented(problem, problem.metric, value) for value in hardest_last)
    count = len(ran)
    source = f"median of {count} reruns of {again.contender.label}, the best tuned baseline"
    return Frozen(values, source, digest([list(values), again.key]))


def _best_within(problem: PlannedProblem, contender: PlannedContender, outcome: Outcome, share: float) -> float:
    """The best judged value that a trial shows within a share of its budget, oriented; +inf if it failed by then."""
    if not outcome.counts:
        return math.inf
    scores = oriented(problem, problem.metric, outcome.curves[problem.metric])
    is_within = spent(problem, contender, outcome) <= share * problem.budget * (1 + ROUNDING)
    return float(np.min(scores[is_within], initial=math.inf))


def ending(problem: PlannedProblem, outcome: Outcome, target: float) -> Ending:
    """Says how a trial came out against a target."""
    return endings(problem, [outcome], target)[0]


def endings(problem: PlannedProblem, outcomes: Sequence[Outcome], target: float) -> list[Ending]:
    """Says how each of many trials came out against a target."""
    places = firsts_at(problem, outcomes, target)
    return [_ending(outcome, place) for outcome, place in zip(outcomes, places, strict=True)]


def _ending(outcome: Outcome, place: int | None) -> Ending:
    if place is not None:
        return Ending("reached", int(outcome.steps[place]))
    if outcome.status == "diverged":
        return Ending("diverged", outcome.diverged_at)
    if outcome.status == "cut off":
        return Ending("cut off", int(outcome.steps[-1]))
    return Ending("missed" if outcome.counts else "failed", None)
