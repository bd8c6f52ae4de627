"""All contenders on one problem: outcomes -> rows -> statistics -> a verdict."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dlkit.bench.analysis.across_problems import Standing
from dlkit.bench.analysis.costs import Cost, costs_of
from dlkit.bench.analysis.effects import Effect, effects
from dlkit.bench.analysis.ranking import Row, make_row
from dlkit.bench.analysis.settled_sentences import conclude
from dlkit.bench.analysis.settling import rank
from dlkit.bench.analysis.verdict import Verdict, verdict
from dlkit.bench.plan.plan import PlannedProblem
from dlkit.bench.plan.trials import Timing, Trial
from dlkit.bench.tuning.history import History
from dlkit.bench.tuning.targets import Frozen, Reruns, declared, reruns
from dlkit.bench.tuning.winner import tune

__all__ = ["Comparison", "compare_on", "every_trial"]


@dataclass(frozen=True, eq=False)
class Comparison:
    """All contenders on one problem.

    Attributes:
        problem: which.
        targets: of the judged metric on validation, and where they come from.
        reruns: the trials that set them; None where they are declared, or the baselines are not tuned yet.
        rows: best first; contenders that did not finish come last.
        verdict: what to conclude.
        costs: one a row: time, memory, compilation.
        effects: what the levels of factors do, where there are others than the optimizer.
    """

    problem: PlannedProblem
    targets: Frozen
    reruns: Reruns | None
    rows: Sequence[Row]
    verdict: Verdict
    costs: Sequence[Cost]
    effects: Sequence[Effect] = ()

    @property
    def target(self) -> float:
        """The hardest target; NaN if there is none yet."""
        return self.targets.hardest

    @property
    def standing(self) -> Standing:
        """What the overview over problems takes from this one."""
        return Standing(self.problem, self.targets.values, self.rows)

    def trials(self) -> list[tuple[str, int, Trial]]:
        """Returns every trial with its contender's label and study: those of rows, then those that set the targets."""
        of_rows = [(row.label, study, trial) for row in self.rows for study, trial in every_trial(row)]
        again = self.reruns
        return of_rows + ([(again.contender.label, 0, trial) for trial in again.trials] if again else [])


def compare_on(
    history: History,
    problem: PlannedProblem,
    *,
    frozen: Mapping[str, Frozen] | None = None,
    timings: Mapping[str, Timing] | None = None,
) -> Comparison:
    """Compares a plan's contenders on a problem.

    Args:
        history: the plan, whose first contender is the baseline, and the outcomes so far.
        problem: which.
        frozen: `Reruns.key` -> the targets that baselines set.
        timings: key -> how long a contender's steps take.

    Returns:
        The comparison.
    """
    plan, outcomes = history.plan, history.outcomes
    tunings = [
        [tune(history, problem, contender, study=study) for study in range(plan.tuner.studies)]
        for contender in plan.contenders
    ]
    again = reruns(history, problem)
    targets = _targets(problem, again, frozen or {})
    rows = [
        make_row(plan, problem, contender, studies[0], targets.values, outcomes, studies[1:])
        for contender, studies in zip(plan.contenders, tunings, strict=True)
    ]
    ranked, settled = rank(plan, problem, rows)
    conclusion = verdict(problem, ranked, targets.hardest, baseline=plan.contenders[0].label)
    conclusion = conclude(conclusion, plan, problem, ranked, settled)
    every = [[trial for _, trial in every_trial(row)] for row in ranked]
    ran = [[outcomes[trial.id] for trial in trials if trial.id in outcomes] for trials in every]
    costs = costs_of(problem, ranked, timings or {}, ran)
    return Comparison(problem, targets, again, ranked, conclusion, costs, effects(problem, plan.contenders, ranked))


def _targets(problem: PlannedProblem, again: Reruns | None, frozen: Mapping[str, Frozen]) -> Frozen:
    """A problem's targets: declared, frozen, or none yet."""
    if problem.target is not None:
        return declared(problem)
    unset = Frozen((), "not set yet: a baseline has to be tuned first", "")
    return frozen.get(again.key, unset) if again else unset


def every_trial(row: Row) -> list[tuple[int, Trial]]:
    """Returns a row's trials with their study, tuning first."""
    studies = [(row.tuning, row.trials), *((each.tuning, each.trials) for each in row.repetitions)]
    return [(study, trial) for study, (tuning, trials) in enumerate(studies) for trial in [*tuning.known, *trials]]
