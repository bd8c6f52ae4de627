"""What a verdict says of seeds that were added: what they settled, or why no more are added."""

from dlkit.bench.analysis.findings import Finding
from dlkit.bench.analysis.pairs import ALPHA
from dlkit.bench.analysis.ranking import Ranking
from dlkit.bench.analysis.settling import Reason, Settled
from dlkit.bench.analysis.verdict import Verdict
from dlkit.bench.plan.plan import Plan, PlannedProblem

__all__ = ["conclude"]

RULE = f"by a rule that holds at any time (level {ALPHA:.0%})"


def conclude(
    conclusion: Verdict, plan: Plan, problem: PlannedProblem, ranking: Ranking, settled: Settled | None
) -> Verdict:
    """Adds to a verdict what the seeds settled, and how.

    Args:
        conclusion: from the ranking that `rank` returned.
        plan: the plan.
        problem: which.
        ranking: that ranking.
        settled: what `rank` returned with it; without one the verdict stays what it is.

    Returns:
        The verdict.
    """
    if settled is None:
        return conclusion
    ending = _why_it_ends(plan, problem, settled) or f"Not settled at {settled.seeds} seeds yet."
    if settled.best and conclusion.kind != "winner":
        ending = (
            f"As they are tuned, {settled.best} is best: settled at n = {settled.settlement.seeds} seeds {RULE}; "
            "what else tuning could have found is open, and no seed changes that."
        )
    notes = [
        f"{each.label} rested after {len(each.scores)} seeds, beaten by everyone still in question."
        for each in ranking.results
        if each.label in settled.labels and each.label not in settled.in_question and len(each.scores) < settled.seeds
    ]
    notes.append(
        "P-values and intervals of differences hold at any time, as seeds were added; other intervals only describe."
    )
    first, *others = conclusion.findings
    return conclusion._replace(findings=(first._replace(text=f"{first.text} {ending}"), *others, *map(Finding, notes)))


def _why_it_ends(plan: Plan, problem: PlannedProblem, settled: Settled) -> str:
    """Why no seeds are added, in words; empty if there may be more."""
    settlement = settled.settlement
    match settled.ends:
        case None:
            return ""
        case Reason.BEST:
            return f"Settled at n = {settlement.seeds} seeds {RULE}."
        case Reason.WITHIN_MARGIN:
            assert problem.margin is not None
            width = f"a ratio of {problem.margin:g}" if problem.judged.scale == "log" else f"{problem.margin:g}"
            return (
                f"Settled at n = {settlement.seeds} seeds {RULE}: what is not worse than {settled.leader} lies within "
                f"{width} of it."
            )
        case Reason.ONLY_LUCK:
            return (
                f"Not settled at {settled.seeds} seeds, and more cannot settle it: equals could come to lie so far "
                "apart by the luck of tuning; use more tuning seeds."
            )
        case Reason.MAX_SEEDS:
            return f"Not settled within {plan.max_seeds} seeds."
