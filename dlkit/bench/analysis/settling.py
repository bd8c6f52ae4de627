"""Seeds added until it is settled who is best: who gets more of them, and when and why that ends.

Looking after each seed needs a rule that holds at any time: the e-values of `stats.settle`, in the order of the seeds.
How many are added at a time changes nothing about it, and does not depend on the workers: a run that is interrupted and
taken up elsewhere gets the same seeds.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from enum import Enum
from functools import partial
from typing import NamedTuple

import numpy as np

from dlkit.bench.analysis.contender_result import ContenderResult, make_result
from dlkit.bench.analysis.pairs import ALPHA, LEVEL, Pair, common, measured_noise
from dlkit.bench.analysis.ranking import Ranked, Ranking, compared
from dlkit.bench.plan.plan import Plan, PlannedProblem
from dlkit.bench.stats import Interval, Settlement, confidence_sequence, luck_p_value, settle
from dlkit.bench.tuning.history import History
from dlkit.bench.tuning.winner import tune

__all__ = ["AddedSeeds", "Addition", "Reason", "Settled", "more_seeds", "rank"]

FEWEST_ADDED = 5  # seeds at a time
SHARE_ADDED = 4  # or one for so many that there are: rounds stay few, and few seeds are more than it took


class Reason(Enum):
    """Why a problem gets no more seeds.

    Attributes:
        BEST: one contender is best.
        WITHIN_MARGIN: whoever is not worse than the leader lies within the margin of it.
        ONLY_LUCK: the luck of tuning could make any difference that more seeds could show.
        MAX_SEEDS: the contenders in question have as many as the plan allows.
    """

    BEST = "best"
    WITHIN_MARGIN = "within margin"
    ONLY_LUCK = "only luck"
    MAX_SEEDS = "max seeds"


class Settled(NamedTuple):
    """What the seeds so far settle on a problem.

    Attributes:
        settlement: of the contenders that are compared.
        labels: those contenders, in its order.
        in_question: labels of those that may still be best.
        seeds: how many each of these has.
        ends: why no more seeds are added; None if there may be more.
    """

    settlement: Settlement
    labels: tuple[str, ...]
    in_question: tuple[str, ...]
    seeds: int
    ends: Reason | None = None

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


class AddedSeeds(NamedTuple):
    """Seeds that are added on a problem.

    Attributes:
        problem: its name.
        seeds: how many those in question have.
        added: how many more each of them gets.
        in_question: labels of the contenders that may still be best.
        resting: how many others there are, which get none.
    """

    problem: str
    seeds: int
    added: int
    in_question: tuple[str, ...]
    resting: int


class Addition(NamedTuple):
    """A plan with more seeds.

    Attributes:
        plan: with them.
        problems: what was added, one a problem that is not settled.
    """

    plan: Plan
    problems: tuple[AddedSeeds, ...]


def more_seeds(history: History) -> Addition | None:
    """Adds the next seeds on each problem that is not settled, the same ones for every contender still in question.

    The others rest: see `Settlement.in_question`.

    Args:
        history: the plan and what has run.

    Returns:
        The plan with more seeds; None if it adds none, every problem is settled, or more seeds settle nothing.
    """
    plan = history.plan
    added = {name: dict(counts) for name, counts in plan.added_seeds.items()}
    given = []
    for problem in plan.problems if plan.max_seeds is not None else ():
        tunings = [tune(history, problem, contender) for contender in plan.contenders]
        results = [
            make_result(history, problem, contender, tuning, ())
            for contender, tuning in zip(plan.contenders, tunings, strict=True)
        ]
        # Whoever lacks a trial now could not run it, and would lack it again.
        settled = _ranked(plan, problem, [each for each in results if len(each.scores) == len(each.trials)])[1]
        if settled is None or settled.ends:
            continue
        assert plan.max_seeds is not None
        count = min(max(FEWEST_ADDED, settled.seeds // SHARE_ADDED), plan.max_seeds - settled.seeds)
        total = settled.seeds + count - plan.seeds
        counts = added.setdefault(problem.name, {})
        counts.update({label: max(total, counts.get(label, 0)) for label in settled.in_question})
        resting = len(settled.labels) - len(settled.in_question)
        given.append(AddedSeeds(problem.name, settled.seeds, count, settled.in_question, resting))
    return Addition(replace(plan, added_seeds=added), tuple(given)) if given else None


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
    settled = Settled(settlement, labels, tuple(labels[place] for place in in_question), seeds)
    ranking = compared(results, first=settled.best)
    return ranking, settled._replace(ends=_reason(plan, problem, ranking.compared, settled))


def _reason(plan: Plan, problem: PlannedProblem, ranked: Sequence[Ranked], settled: Settled) -> Reason | None:
    """Why no more seeds are added; None if there may be more."""
    decision = settled.settlement.decision
    if decision == "best":
        return Reason.BEST
    if decision == "within margin":
        return Reason.WITHIN_MARGIN
    if _only_luck(plan, problem, ranked, settled):
        return Reason.ONLY_LUCK
    assert plan.max_seeds is not None
    return Reason.MAX_SEEDS if settled.seeds >= plan.max_seeds else None


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


def _only_luck(plan: Plan, problem: PlannedProblem, ranked: Sequence[Ranked], settled: Settled) -> bool:
    """Whether nobody in question can come to be told from the leader, however many seeds there will be.

    That is so where even the largest difference that the seeds allow is one that two equals can have by the luck of
    tuning, and the margin cannot settle it either.
    """
    leader = ranked[0]
    against = [each for each in ranked[1:] if each.label in settled.in_question]
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
