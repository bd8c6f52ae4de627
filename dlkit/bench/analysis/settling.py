"""Adding seeds until it is settled who is best: who gets more of them, when that ends, what to conclude then.

Looking after each seed needs a rule that holds at any time: the e-values of `stats.settle`, in the order of the seeds.
How many are added at a time changes nothing about it, and does not depend on the workers: a run that is interrupted and
taken up elsewhere gets the same seeds.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np

from dlkit.bench.analysis.contender_result import ContenderResult, make_result
from dlkit.bench.analysis.findings import Finding
from dlkit.bench.analysis.pairs import ALPHA, LEVEL, Pair, common, measured_noise
from dlkit.bench.analysis.ranking import Ranked, Ranking, compared
from dlkit.bench.analysis.verdict import Verdict
from dlkit.bench.errors import UserError
from dlkit.bench.plan.plan import Plan, PlannedProblem
from dlkit.bench.plan.policies import require_margin
from dlkit.bench.plan.trials import Outcome
from dlkit.bench.stats import Interval, Settlement, confidence_sequence, luck_p_value, settle
from dlkit.bench.tuning.search import Drawn
from dlkit.bench.tuning.winner import tune

__all__ = ["MAX_SEEDS", "Addition", "Settled", "conclude", "more_seeds", "rank", "with_rule"]

MAX_SEEDS = 100
FEWEST_ADDED = 5  # seeds at a time
SHARE_ADDED = 4  # or one for so many that there are: rounds stay few, and few seeds are more than it took
RULE = f"by a rule that holds at any time (level {ALPHA:.0%})"


class Settled(NamedTuple):
    """What the seeds so far settle on a problem.

    Attributes:
        settlement: of the contenders that are compared.
        labels: those contenders, in its order.
        in_question: labels of those that may still be best.
        seeds: how many each of these has.
        only_luck: whether nothing is open but what the luck of tuning can do, which no seed changes.
    """

    settlement: Settlement
    labels: tuple[str, ...]
    in_question: tuple[str, ...]
    seeds: int
    only_luck: bool

    @property
    def best(self) -> str:
        """Label of the contender that the seeds say is best; empty if there is none."""
        return self.leader if self.settlement.decision == "best" else ""

    @property
    def leader(self) -> str:
        """Label of the contender that the decision is about; empty while there is none."""
        return "" if self.settlement.leader is None else self.labels[self.settlement.leader]

    def evidence(self, label: str, other: str) -> float:
        """The largest e-value so far that one contender is better than another."""
        return float(self.settlement.latest[self.labels.index(label), self.labels.index(other)])


class Addition(NamedTuple):
    """Seeds that are added.

    Attributes:
        plan: with them.
        notes: a line a problem: how many there are, who gets how many more.
    """

    plan: Plan
    notes: tuple[str, ...]


def with_rule(plan: Plan, until_settled: bool, *, max_seeds: int | None = None, margin: float | None = None) -> Plan:
    """Returns a plan with the rule by which seeds are added to it, if any are.

    Args:
        plan: what runs first.
        until_settled: whether seeds are added until it is settled who is best.
        max_seeds: no contender gets more; None for `MAX_SEEDS`.
        margin: of problems that have none of their own.

    Returns:
        The plan.

    Raises:
        UserError: for fewer seeds than the plan has, a margin that does not fit, no two contenders, or settings of a
            rule that is not asked for.
    """
    if not until_settled:
        given = {"max_seeds": max_seeds, "margin": margin}
        for name in (name for name, value in given.items() if value is not None):
            raise UserError(f"{name} is for runs until settled: ask for one (--until-settled), or leave {name} out")
        return plan
    mistakes = []
    most = MAX_SEEDS if max_seeds is None else max_seeds
    if not isinstance(most, int) or isinstance(most, bool) or most < plan.seeds:
        mistakes.append(
            f"max_seeds must be a whole number of at least the {plan.seeds} seeds of the plan, got {most!r}"
        )
    if len(plan.contenders) < 2:
        mistakes.append(f"until settled: '{plan.contenders[0].label}' has no other contender to be compared with")
    problems = []
    for problem in plan.problems:
        if margin is not None and problem.margin is None:
            problem = replace(problem, margin=margin)
            try:
                require_margin(problem.name, problem.judged, margin)
            except UserError as error:
                mistakes.append(str(error))
        problems.append(problem)
    if mistakes:
        raise UserError("\n".join(mistakes))
    return replace(plan, problems=problems, max_seeds=most)


def more_seeds(plan: Plan, outcomes: Mapping[str, Outcome], *, drawn: Drawn | None = None) -> Addition | None:
    """Adds the next seeds on each problem that is not settled, the same ones for every contender still in question.

    The others rest: see `Settlement.in_question`.

    Args:
        plan: what has run.
        outcomes: trial id -> outcome.
        drawn: the points that were drawn while the run went on.

    Returns:
        The plan with more seeds; None if it adds none, every problem is settled, or more seeds settle nothing.
    """
    added = {name: dict(counts) for name, counts in plan.added_seeds.items()}
    notes = []
    for problem in plan.problems if plan.max_seeds is not None else ():
        tunings = [tune(plan, problem, contender, outcomes, drawn=drawn) for contender in plan.contenders]
        results = [
            make_result(plan, problem, contender, tuning, (), outcomes)
            for contender, tuning in zip(plan.contenders, tunings, strict=True)
        ]
        # Whoever lacks a trial now could not run it, and would lack it again.
        settled = _ranked(plan, problem, [each for each in results if len(each.scores) == len(each.trials)])[1]
        if settled is None or _why_it_ends(plan, problem, settled):
            continue
        assert plan.max_seeds is not None
        count = min(max(FEWEST_ADDED, settled.seeds // SHARE_ADDED), plan.max_seeds - settled.seeds)
        total = settled.seeds + count - plan.seeds
        counts = added.setdefault(problem.name, {})
        counts.update({label: max(total, counts.get(label, 0)) for label in settled.in_question})
        resting = len(settled.labels) - len(settled.in_question)
        whom = f" to {', '.join(settled.in_question)}" if resting else ""
        notes.append(f"{problem.name}: {settled.seeds} seeds, not settled; adding {count}{whom}")
    return Addition(replace(plan, added_seeds=added), tuple(notes)) if notes else None


def rank(plan: Plan, problem: PlannedProblem, results: Sequence[ContenderResult]) -> tuple[Ranking, Settled | None]:
    """Ranks a problem's contenders as `compared` does; where seeds are added, by numbers that hold at any time.

    Then the contender that the seeds say is best stands first, intervals of differences are confidence sequences, and
    p-values come from e-values: k / e against a claim to be best, k (k - 1) / e for any pair.

    Args:
        plan: the plan.
        problem: which.
        results: of its contenders.

    Returns:
        The ranking, and what the seeds settle; None where none are added, or no two contenders are there to compare.
    """
    ranking, settled = _ranked(plan, problem, results)
    if settled is None:
        return ranking, None
    return compared(results, first=settled.best, judge=partial(_at_any_time, settled)), settled


def _ranked(plan: Plan, problem: PlannedProblem, results: Sequence[ContenderResult]) -> tuple[Ranking, Settled | None]:
    """What `rank` returns, with differences as `compared` gives them."""
    there = [each for each in results if each.is_comparable]
    if plan.max_seeds is None or len(there) < 2:
        return compared(results), None
    counts = [len(each.scores) for each in there]
    scores = np.zeros((len(there), max(counts)))
    for line, each in zip(scores, there, strict=True):
        line[: len(each.scores)] = each.scores
    settlement = settle(scores, margin=_oriented_margin(problem), level=LEVEL, seeds=counts)
    labels = tuple(each.label for each in there)
    in_question = [place for place, open_ in enumerate(settlement.in_question) if open_]
    seeds = min(counts[place] for place in in_question)
    settled = Settled(settlement, labels, tuple(labels[place] for place in in_question), seeds, False)
    ranking = compared(results, first=settled.best)
    return ranking, settled._replace(only_luck=_only_luck(plan, problem, ranking.compared, settled))


def _oriented_margin(problem: PlannedProblem) -> float | None:
    """A problem's margin as a difference of scores."""
    margin = problem.margin
    return math.log10(margin) if margin is not None and problem.judged.scale == "log" else margin


def _at_any_time(settled: Settled, best: ContenderResult, other: ContenderResult, pair: Pair) -> Pair:
    """How a contender differs from a better one, by numbers that hold at any time."""
    interval = _interval(best, other)
    evidence = settled.evidence(best.label, other.label)
    k = len(settled.labels)
    difference = pair.difference._replace(low=interval.low, high=interval.high, p_value=min(1.0, k / evidence))
    return pair._replace(difference=difference, adjusted_p=min(1.0, k * (k - 1) / evidence))


def _only_luck(plan: Plan, problem: PlannedProblem, compared: Sequence[Ranked], settled: Settled) -> bool:
    """Whether nobody in question can come to be told from the leader, however many seeds there will be.

    That is so where even the largest difference that the seeds allow is one that two equals can have by the luck of
    tuning, and the margin cannot settle it either.
    """
    if settled.settlement.decision != "continue":
        return False
    leader = compared[0]
    against = [each for each in compared[1:] if each.label in settled.in_question]
    # Whoever lost to the leader is no reason to go on; whoever is in question may still win against it.
    still = [each for each in against if settled.evidence(leader.label, each.label) < settled.settlement.threshold]
    return leader.label in settled.in_question and all(
        _is_within_luck(plan, problem, leader.result, each) for each in still
    )


def _is_within_luck(plan: Plan, problem: PlannedProblem, best: ContenderResult, other: Ranked) -> bool:
    result, pair = other.result, other.standing.to_best
    assert pair is not None and plan.max_seeds is not None
    if pair.luck <= ALPHA:  # and less with a larger difference
        return False
    seeds = min(len(result.scores), len(best.scores))
    error, noise = measured_noise(best.tuning, pair.difference, seeds)
    interval = _interval(best, result)
    farthest = max(abs(interval.low), abs(interval.high))
    if not 0 < error < math.inf or math.isinf(farthest):
        return False
    margin = _oriented_margin(problem)
    if margin is not None and interval.low <= margin and interval.high >= -margin:
        return False
    left = error * math.sqrt(seeds / plan.max_seeds)
    return luck_p_value(farthest, left, result.tuning.finalists, best.tuning.finalists, noise) > ALPHA


def _interval(best: ContenderResult, other: ContenderResult) -> Interval:
    return confidence_sequence(*common(other.scores, best.scores), level=LEVEL)


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
    findings = (first._replace(text=f"{first.text} {ending}"), *others, *map(Finding, notes))
    return conclusion._replace(findings=findings)


def _why_it_ends(plan: Plan, problem: PlannedProblem, settled: Settled) -> str:
    """Why no seeds are added, in words; empty if there may be more."""
    settlement = settled.settlement
    if settlement.decision == "best":
        return f"Settled at n = {settlement.seeds} seeds {RULE}."
    if settlement.decision == "within margin":
        assert problem.margin is not None
        width = f"a ratio of {problem.margin:g}" if problem.judged.scale == "log" else f"{problem.margin:g}"
        return (
            f"Settled at n = {settlement.seeds} seeds {RULE}: what is not worse than {settled.leader} lies within "
            f"{width} of it."
        )
    if settled.only_luck:
        return (
            f"Not settled at {settled.seeds} seeds, and more cannot settle it: equals could come to lie so far apart "
            "by the luck of tuning; use more tuning seeds."
        )
    assert plan.max_seeds is not None
    return f"Not settled within {plan.max_seeds} seeds." if settled.seeds >= plan.max_seeds else ""
