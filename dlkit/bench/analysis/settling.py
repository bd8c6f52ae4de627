"""Seeds added until it is settled who is best: who gets more of them, when that ends, and what to conclude then.

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

from dlkit.bench.analysis.pairs import ALPHA, LEVEL, Pair, common, measured_noise
from dlkit.bench.analysis.ranking import Row, compared, make_row
from dlkit.bench.analysis.verdict import Verdict
from dlkit.bench.plan.plan import Plan, PlannedProblem
from dlkit.bench.plan.trials import Outcome
from dlkit.bench.stats import Interval, Settlement, confidence_sequence, luck_p_value, settle
from dlkit.bench.tuning.search import Drawn
from dlkit.bench.tuning.winner import tune

__all__ = ["Addition", "Standing", "conclude", "more_seeds", "rank"]

FEWEST_ADDED = 5  # seeds at a time
SHARE_ADDED = 4  # or one for so many that there are: rounds stay few, and few seeds are more than it took
RULE = f"by a rule that holds at any time (level {ALPHA:.0%})"


class Standing(NamedTuple):
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

    def evidence(self, row: Row, other: Row) -> float:
        """The largest e-value so far that one contender is better than another."""
        return float(self.settlement.latest[self.labels.index(row.label), self.labels.index(other.label)])


class Addition(NamedTuple):
    """Seeds that are added.

    Attributes:
        plan: with them.
        notes: a line a problem: how many there are, who gets how many more.
    """

    plan: Plan
    notes: tuple[str, ...]


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
        rows = [
            make_row(plan, problem, contender, tuning, (), outcomes)
            for contender, tuning in zip(plan.contenders, tunings, strict=True)
        ]
        # Whoever lacks a trial now could not run it, and would lack it again.
        standing = _ranked(plan, problem, [row for row in rows if len(row.scores) == len(row.trials)])[1]
        if standing is None or _why_it_ends(plan, problem, standing):
            continue
        assert plan.max_seeds is not None
        count = min(max(FEWEST_ADDED, standing.seeds // SHARE_ADDED), plan.max_seeds - standing.seeds)
        total = standing.seeds + count - plan.seeds
        counts = added.setdefault(problem.name, {})
        counts.update({label: max(total, counts.get(label, 0)) for label in standing.in_question})
        resting = len(standing.labels) - len(standing.in_question)
        whom = f" to {', '.join(standing.in_question)}" if resting else ""
        notes.append(f"{problem.name}: {standing.seeds} seeds, not settled; adding {count}{whom}")
    return Addition(replace(plan, added_seeds=added), tuple(notes)) if notes else None


def rank(plan: Plan, problem: PlannedProblem, rows: Sequence[Row]) -> tuple[list[Row], Standing | None]:
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
    ranked, standing = _ranked(plan, problem, rows)
    if standing is None:
        return ranked, None
    return compared(rows, first=standing.best, judge=partial(_at_any_time, standing)), standing


def _ranked(plan: Plan, problem: PlannedProblem, rows: Sequence[Row]) -> tuple[list[Row], Standing | None]:
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
    standing = Standing(settlement, labels, tuple(labels[place] for place in in_question), seeds, False)
    ranked = compared(rows, first=standing.best)
    return ranked, standing._replace(only_luck=_only_luck(plan, problem, ranked[: len(there)], standing))


def _oriented_margin(problem: PlannedProblem) -> float | None:
    """A problem's margin as a difference of scores."""
    margin = problem.margin
    return math.log10(margin) if margin is not None and problem.judged.scale == "log" else margin


def _at_any_time(standing: Standing, best: Row, row: Row, pair: Pair) -> Pair:
    """How a row differs from a better one, by numbers that hold at any time."""
    interval = _interval(best, row)
    evidence = standing.evidence(best, row)
    k = len(standing.labels)
    difference = pair.difference._replace(low=interval.low, high=interval.high, p_value=min(1.0, k / evidence))
    return pair._replace(difference=difference, adjusted_p=min(1.0, k * (k - 1) / evidence))


def _only_luck(plan: Plan, problem: PlannedProblem, ranked: Sequence[Row], standing: Standing) -> bool:
    """Whether nobody in question can come to be told from the leader, however many seeds there will be.

    That is so where even the largest difference that the seeds allow is one that two equals can have by the luck of
    tuning, and the margin cannot settle it either.
    """
    if standing.settlement.decision != "continue":
        return False
    leader = ranked[0]
    against = [row for row in ranked[1:] if row.label in standing.in_question]
    # Whoever lost to the leader is no reason to go on; whoever is in question may still win against it.
    still = [row for row in against if standing.evidence(leader, row) < standing.settlement.threshold]
    return leader.label in standing.in_question and all(_is_within_luck(plan, problem, leader, row) for row in still)


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


def conclude(
    conclusion: Verdict, plan: Plan, problem: PlannedProblem, ranked: Sequence[Row], standing: Standing | None
) -> Verdict:
    """Adds to a verdict what the seeds settled, and how.

    Args:
        conclusion: from the rows that `rank` returned.
        plan: the plan.
        problem: which.
        ranked: those rows.
        standing: what `rank` returned with them; without one the verdict stays what it is.

    Returns:
        The verdict.
    """
    if standing is None:
        return conclusion
    ending = _why_it_ends(plan, problem, standing) or f"Not settled at {standing.seeds} seeds yet."
    if standing.best and conclusion.kind != "winner":
        ending = (
            f"As they are tuned, {standing.best} is best: settled at n = {standing.settlement.seeds} seeds {RULE}; "
            "what else tuning could have found is open, and no seed changes that."
        )
    notes = [
        f"{row.label} rested after {len(row.scores)} seeds, beaten by everyone still in question."
        for row in ranked
        if row.label in standing.labels and row.label not in standing.in_question and len(row.scores) < standing.seeds
    ]
    notes.append(
        "P-values and intervals of differences hold at any time, as seeds were added; other intervals only describe."
    )
    return conclusion._replace(sentence=f"{conclusion.sentence} {ending}", notes=(*conclusion.notes, *notes))


def _why_it_ends(plan: Plan, problem: PlannedProblem, standing: Standing) -> str:
    """Why no seeds are added, in words; empty if there may be more."""
    settlement = standing.settlement
    if settlement.decision == "best":
        return f"Settled at n = {settlement.seeds} seeds {RULE}."
    if settlement.decision == "within margin":
        assert problem.margin is not None
        width = f"a ratio of {problem.margin:g}" if problem.judged.scale == "log" else f"{problem.margin:g}"
        return (
            f"Settled at n = {settlement.seeds} seeds {RULE}: what is not worse than {standing.leader} lies within "
            f"{width} of it."
        )
    if standing.only_luck:
        return (
            f"Not settled at {standing.seeds} seeds, and more cannot settle it: equals could come to lie so far apart "
            "by the luck of tuning; use more tuning seeds."
        )
    assert plan.max_seeds is not None
    return f"Not settled within {plan.max_seeds} seeds." if standing.seeds >= plan.max_seeds else ""
