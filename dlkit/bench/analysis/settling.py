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

from dlkit.bench.analysis.pairs import ALPHA, LEVEL, Pair, common, measured_noise
from dlkit.bench.analysis.ranking import Row, compared, make_row
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

    def evidence(self, row: Row, other: Row) -> float:
        """The largest e-value so far that one contender is better than another."""
        return float(self.settlement.latest[self.labels.index(row.label), self.labels.index(other.label)])


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
        rows = [
            make_row(plan, problem, contender, tuning, (), history.outcomes)
            for contender, tuning in zip(plan.contenders, tunings, strict=True)
        ]
        # Whoever lacks a trial now could not run it, and would lack it again.
        settled = _ranked(plan, problem, [row for row in rows if len(row.scores) == len(row.trials)])[1]
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


def rank(plan: Plan, problem: PlannedProblem, rows: Sequence[Row]) -> tuple[list[Row], Settled | None]:
    """Ranks a problem's rows as `compared` does; where seeds are added, by numbers that hold at any time.

    Then the contender that the seeds say is best stands first, intervals of differences are confidence sequences, and
    p-values come from e-values: k / e against a claim to be best, k (k - 1) / e for any pair.

    Args:
        plan: the plan.
        problem: which.
        rows: its rows.

    Returns:
        The rows, and what the seeds settle; None where none are added, or no two contenders are there to compare.
    """
    ranked, settled = _ranked(plan, problem, rows)
    if settled is None:
        return ranked, None
    return compared(rows, first=settled.best, judge=partial(_at_any_time, settled)), settled


def _ranked(plan: Plan, problem: PlannedProblem, rows: Sequence[Row]) -> tuple[list[Row], Settled | None]:
    """What `rank` returns, with differences as `compared` gives them."""
    there = [row for row in rows if row.complete and not row.failure]
    if plan.max_seeds is None or len(there) < 2:
        return compared(rows), None
    counts = [len(row.scores) for row in there]
    scores = np.zeros((len(there), max(counts)))
    for line, row in zip(scores, there, strict=True):
        line[: len(row.scores)] = row.scores
    settlement = settle(scores, margin=_oriented_margin(problem), level=LEVEL, seeds=counts)
    labels = tuple(row.label for row in there)
    in_question = [place for place, open_ in enumerate(settlement.in_question) if open_]
    seeds = min(counts[place] for place in in_question)
    settled = Settled(settlement, labels, tuple(labels[place] for place in in_question), seeds)
    ranked = compared(rows, first=settled.best)
    return ranked, settled._replace(ends=_reason(plan, problem, ranked[: len(there)], settled))


def _reason(plan: Plan, problem: PlannedProblem, ranked: Sequence[Row], settled: Settled) -> Reason | None:
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


def _at_any_time(settled: Settled, best: Row, row: Row, pair: Pair) -> Pair:
    """How a row differs from a better one, by numbers that hold at any time."""
    interval = _interval(best, row)
    evidence = settled.evidence(best, row)
    k = len(settled.labels)
    difference = pair.difference._replace(low=interval.low, high=interval.high, p_value=min(1.0, k / evidence))
    return pair._replace(difference=difference, adjusted_p=min(1.0, k * (k - 1) / evidence))


def _only_luck(plan: Plan, problem: PlannedProblem, ranked: Sequence[Row], settled: Settled) -> bool:
    """Whether nobody in question can come to be told from the leader, however many seeds there will be.

    That is so where even the largest difference that the seeds allow is one that two equals can have by the luck of
    tuning, and the margin cannot settle it either.
    """
    leader = ranked[0]
    against = [row for row in ranked[1:] if row.label in settled.in_question]
    # Whoever lost to the leader is no reason to go on; whoever is in question may still win against it.
    still = [row for row in against if settled.evidence(leader, row) < settled.settlement.threshold]
    return leader.label in settled.in_question and all(_is_within_luck(plan, problem, leader, row) for row in still)


def _is_within_luck(plan: Plan, problem: PlannedProblem, best: Row, row: Row) -> bool:
    assert row.difference is not None and plan.max_seeds is not None
    if row.luck <= ALPHA:  # and less with a larger difference
        return False
    error, noise = measured_noise(best.tuning, row.difference, min(len(row.scores), len(best.scores)))
    interval = _interval(best, row)
    farthest = max(abs(interval.low), abs(interval.high))
    if not 0 < error < math.inf or math.isinf(farthest):
        return False
    margin = _oriented_margin(problem)
    if margin is not None and interval.low <= margin and interval.high >= -margin:
        return False
    left = error * math.sqrt(min(len(row.scores), len(best.scores)) / plan.max_seeds)
    return luck_p_value(farthest, left, row.tuning.finalists, best.tuning.finalists, noise) > ALPHA


def _interval(best: Row, row: Row) -> Interval:
    return confidence_sequence(*common(row.scores, best.scores), level=LEVEL)
