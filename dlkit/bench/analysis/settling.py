"""Blocks added until it is settled who is best: who gets more of them, and when and why that ends.

A block is a study, or where there is one study, a fresh seed of the settings it found. Looking after each takes a rule
that holds at any time: the e-values of `stats.settle`, in the order of the blocks. How many are added at a time changes
nothing about it, and does not depend on the workers: a run that is interrupted and taken up elsewhere gets the same.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from enum import Enum
from functools import partial
from typing import NamedTuple

import numpy as np

from dlkit.bench.analysis.contender_result import ContenderResult, make_result
from dlkit.bench.analysis.pairs import LEVEL, Pair, common
from dlkit.bench.analysis.ranking import Ranking, compared
from dlkit.bench.plan.plan import Plan
from dlkit.bench.plan.planned import PlannedContender, PlannedProblem
from dlkit.bench.stats import Settlement, confidence_sequence, settle
from dlkit.bench.tuning.history import History
from dlkit.bench.tuning.sampling import beforehand
from dlkit.bench.tuning.widening import points_beyond

__all__ = ["Added", "Addition", "Reason", "Settled", "more_blocks", "rank"]

FEWEST_ADDED = {"studies": 2, "seeds": 5}  # at a time
SHARE_ADDED = 4  # or one for so many that there are: rounds stay few, and few blocks are more than it took


class Reason(Enum):
    """Why a problem gets no more blocks.

    Attributes:
        BEST: one contender is best.
        WITHIN_MARGIN: whoever is not worse than the leader lies within the margin of it.
        MOST: the contenders in question have as many as the plan allows.
    """

    BEST = "best"
    WITHIN_MARGIN = "within margin"
    MOST = "most"


class Settled(NamedTuple):
    """What the blocks so far settle on a problem.

    Attributes:
        settlement: of the contenders that are compared.
        labels: those contenders, in its order.
        in_question: labels of those that may still be best.
        blocks: how many each of these has.
        ends: why no more are added; None if there may be more.
    """

    settlement: Settlement
    labels: tuple[str, ...]
    in_question: tuple[str, ...]
    blocks: int
    ends: Reason | None = None

    @property
    def best(self) -> str:
        """Label of the contender that the blocks say is best; empty if there is none."""
        return self.leader if self.settlement.decision == "best" else ""

    @property
    def leader(self) -> str:
        """Label of the contender that the decision is about; empty while there is none."""
        return "" if self.settlement.leader is None else self.labels[self.settlement.leader]

    def evidence(self, label: str, other: str) -> float:
        """The largest e-value so far that one contender is better than another."""
        return float(self.settlement.latest[self.labels.index(label), self.labels.index(other)])


class Added(NamedTuple):
    """Blocks that are added on a problem.

    Attributes:
        problem: its name.
        unit: what blocks are: ``"studies"`` or ``"seeds"``.
        blocks: how many those in question have.
        added: how many more each of them gets.
        in_question: labels of the contenders that may still be best.
        resting: how many others there are, which get none.
    """

    problem: str
    unit: str
    blocks: int
    added: int
    in_question: tuple[str, ...]
    resting: int


class Addition(NamedTuple):
    """A plan with more blocks.

    Attributes:
        plan: with them.
        problems: what was added, one a problem that is not settled.
    """

    plan: Plan
    problems: tuple[Added, ...]


def more_blocks(history: History) -> Addition | None:
    """Adds the next blocks on each problem that is not settled, the same ones for every contender still in question.

    The others rest: see `Settlement.in_question`.

    Args:
        history: the plan and what has run.

    Returns:
        The plan with more blocks; None if it adds none, or every problem is settled.
    """
    plan, most, unit = history.plan, history.plan.most_blocks, history.plan.unit
    before: Mapping[str, Mapping[str, int]] = getattr(plan, f"added_{unit}")
    added = {name: dict(counts) for name, counts in before.items()}
    given = []
    for problem in plan.problems if most is not None else ():
        results = [make_result(history, problem, contender, ()) for contender in plan.contenders_on(problem)]
        # Whoever lacks a trial now could not run it, and would lack it again.
        settled = _settled(plan, problem, [each for each in results if _has_all(each)])
        if settled is None or settled.ends:
            continue
        assert most is not None
        count = min(max(FEWEST_ADDED[unit], settled.blocks // SHARE_ADDED), most - settled.blocks)
        total = settled.blocks + count - plan.planned_blocks
        counts = added.setdefault(problem.name, {})
        counts.update({label: max(total, counts.get(label, 0)) for label in settled.in_question})
        resting = len(settled.labels) - len(settled.in_question)
        given.append(Added(problem.name, unit, settled.blocks, count, settled.in_question, resting))
    if not given:
        return None
    if not plan.repeats_tuning:
        return Addition(replace(plan, added_seeds=added), tuple(given))
    return Addition(_with_points(replace(plan, added_studies=added)), tuple(given))


def _has_all(result: ContenderResult) -> bool:
    """Whether every trial that was asked for has an outcome that counts."""
    return len(result.blocks) == (len(result.studies) if result.repeats_tuning else len(result.trials))


def _with_points(plan: Plan) -> Plan:
    """Draws the points of studies that were added, where they can be drawn before anything runs."""
    contenders = [_drawn(plan, contender) for contender in plan.contenders]
    expansions = []
    for each in plan.expansions:
        problem = next(problem for problem in plan.problems if problem.name == each.problem)
        contender = next(contender for contender in contenders if contender.label == each.contender)
        own = [other for other in plan.expansions if (other.problem, other.contender) == (each.problem, each.contender)]
        new = range(len(each.points), len(plan.studies(problem, contender)))
        more = [points_beyond(plan, problem, contender, study)[own.index(each)] for study in new]
        expansions.append(replace(each, points=[*each.points, *more]))
    return replace(plan, contenders=contenders, expansions=tuple(expansions))


def _drawn(plan: Plan, contender: PlannedContender) -> PlannedContender:
    needed = max(len(plan.studies(problem, contender)) for problem in plan.problems)
    new = range(1 + len(contender.further), needed)
    if contender.undrawn != 0 or not new:
        return contender
    if plan.tuner.is_adaptive:  # with choices alone to try: all of them, in every study
        return replace(contender, further=(*contender.further, *(contender.points for _ in new)))
    draw = partial(beforehand, plan.tuner.name, contender.space, contender.static, len(contender.points))
    drawn = [draw(seed=plan.draw_seed(contender, study), counts=plan.tuner.grid) for study in new]
    return replace(contender, further=(*contender.further, *drawn))


def rank(plan: Plan, problem: PlannedProblem, results: Sequence[ContenderResult]) -> tuple[Ranking, Settled | None]:
    """Ranks a problem's contenders as `compared` does; where blocks are added, by numbers that hold at any time.

    Then the contender that the blocks say is best stands first, intervals of differences are confidence sequences, and
    p-values come from e-values: k / e against a claim to be best, k (k - 1) / e for any pair.

    Args:
        plan: the plan.
        problem: which.
        results: of its contenders.

    Returns:
        The ranking, and what the blocks settle; None where none are added, or no two contenders are there to compare.
    """
    settled = _settled(plan, problem, results)
    if settled is None:
        return compared(results), None
    return compared(results, first=settled.best, judge=partial(_at_any_time, settled)), settled


def _settled(plan: Plan, problem: PlannedProblem, results: Sequence[ContenderResult]) -> Settled | None:
    """What the blocks settle; None where none are added, or no two contenders are there to compare."""
    there = [each for each in results if each.is_comparable]
    if plan.most_blocks is None or len(there) < 2:
        return None
    counts = [len(each.blocks) for each in there]
    scores = np.zeros((len(there), max(counts)))
    for line, each in zip(scores, there, strict=True):
        line[: len(each.blocks)] = each.blocks
    settlement = settle(scores, margin=_oriented_margin(problem), level=LEVEL, seeds=counts)
    labels = tuple(each.label for each in there)
    in_question = [place for place, open_ in enumerate(settlement.in_question) if open_]
    blocks = min(counts[place] for place in in_question)
    settled = Settled(settlement, labels, tuple(labels[place] for place in in_question), blocks)
    return settled._replace(ends=_reason(plan, settled))


def _reason(plan: Plan, settled: Settled) -> Reason | None:
    """Why no more blocks are added; None if there may be more."""
    decision, most = settled.settlement.decision, plan.most_blocks
    if decision == "best":
        return Reason.BEST
    if decision == "within margin":
        return Reason.WITHIN_MARGIN
    assert most is not None
    return Reason.MOST if settled.blocks >= most else None


def _oriented_margin(problem: PlannedProblem) -> float | None:
    """A problem's margin as a difference of scores."""
    margin = problem.margin
    return math.log10(margin) if margin is not None and problem.judged.scale == "log" else margin


def _at_any_time(settled: Settled, best: ContenderResult, other: ContenderResult, pair: Pair) -> Pair:
    """How a contender differs from a better one, by numbers that hold at any time."""
    interval = confidence_sequence(*common(other.blocks, best.blocks), level=LEVEL)
    evidence = settled.evidence(best.label, other.label)
    k = len(settled.labels)
    difference = pair.difference._replace(low=interval.low, high=interval.high, p_value=min(1.0, k / evidence))
    return pair._replace(difference=difference, adjusted_p=min(1.0, k * (k - 1) / evidence))
