"""All contenders on one problem: from outcomes to results, their ranking, the verdict and the costs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dlkit.bench.analysis.contender_result import ContenderResult, make_result
from dlkit.bench.analysis.costs import Cost, costs_of
from dlkit.bench.analysis.effects import Effect, effects
from dlkit.bench.analysis.problem_results import ProblemResults
from dlkit.bench.analysis.ranking import Ranking
from dlkit.bench.analysis.settling import rank
from dlkit.bench.analysis.step_costs import same_cost, unspent
from dlkit.bench.analysis.verdict import Verdict, conclude, verdict
from dlkit.bench.plan.planned import PlannedProblem
from dlkit.bench.plan.trials import Timing, Trial
from dlkit.bench.tuning.history import History
from dlkit.bench.tuning.targets import Frozen, Reruns, declared, reruns

__all__ = ["Comparison", "compare_on"]


@dataclass(frozen=True, eq=False)
class Comparison:
    """All contenders on one problem.

    Attributes:
        problem: which.
        targets: of the judged metric, and where they come from.
        reruns: the trials that set them; None where they are declared, or the baselines are not tuned yet.
        ranking: of the contenders, best first.
        verdict: what to conclude.
        costs: one a contender, in the order of `results`: time, memory, compilation.
        effects: what the levels of factors do, where there are others than the optimizer.
        not_run: labels of the plan's contenders that are not run on this problem.
    """

    problem: PlannedProblem
    targets: Frozen
    reruns: Reruns | None
    ranking: Ranking
    verdict: Verdict
    costs: Sequence[Cost]
    effects: Sequence[Effect] = ()
    not_run: Sequence[str] = ()

    def __repr__(self) -> str:
        return f"<Comparison on {self.problem.name!r}: {len(self.results)} contenders, {self.verdict.kind}>"

    @property
    def target(self) -> float:
        """The hardest target; NaN if there is none yet."""
        return self.targets.hardest

    @property
    def results(self) -> Sequence[ContenderResult]:
        """All contenders, best first; those that did not finish come last."""
        return self.ranking.results

    @property
    def problem_results(self) -> ProblemResults:
        """What the overview over problems takes from this one."""
        return ProblemResults(self.problem, self.targets.values, self.results)

    def trials(self) -> list[tuple[str, int, Trial]]:
        """Returns every trial with its contender's label and study: those compared, then those that set the targets."""
        compared = [(each.label, study, trial) for each in self.results for study, trial in each.every_trial]
        again = self.reruns
        return compared + ([(again.contender.label, 0, trial) for trial in again.trials] if again else [])


def compare_on(
    history: History,
    problem: PlannedProblem,
    *,
    frozen: Mapping[str, Frozen] | None = None,
    timings: Mapping[str, Timing] | None = None,
) -> Comparison:
    """Compares a plan's contenders on a problem.

    Args:
        history: the plan, whose first contender on the problem is the baseline, and the outcomes so far.
        problem: which.
        frozen: `Reruns.key` -> the targets that baselines set.
        timings: key -> how long a contender's steps take.

    Returns:
        The comparison.
    """
    plan = history.plan
    again = reruns(history, problem)
    targets = _targets(problem, again, frozen or {})
    contenders = plan.contenders_on(problem)
    results = [make_result(history, problem, contender, targets.values) for contender in contenders]
    ranking, settled = rank(plan, problem, results)
    conclusion = verdict(problem, ranking, targets.hardest, adds_blocks=settled is not None)
    conclusion = conclude(conclusion, plan, problem, ranking, settled)
    if ranking.compared:
        about_costs = (same_cost(plan, problem, ranking.compared), unspent(problem, ranking.compared))
        conclusion = conclusion.with_notes([finding for finding in about_costs if finding])
    costs = costs_of(problem, ranking.results, timings or {}, targets.hardest)
    found = effects(problem, contenders, ranking.results)
    not_run = [each.label for each in plan.contenders if not each.runs_on(problem.name)]
    return Comparison(problem, targets, again, ranking, conclusion, costs, found, not_run)


def _targets(problem: PlannedProblem, again: Reruns | None, frozen: Mapping[str, Frozen]) -> Frozen:
    """A problem's targets: declared, frozen, or none yet."""
    if problem.target is not None:
        return declared(problem)
    unset = Frozen((), "not set yet: a baseline has to be tuned first", "")
    return frozen.get(again.key, unset) if again else unset
