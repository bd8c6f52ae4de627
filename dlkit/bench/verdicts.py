"""What to conclude from a problem's rows, in a sentence that says how sure it is."""

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

from dlkit.bench import formats
from dlkit.bench.plans import ProblemFacts
from dlkit.bench.ranking import LEVEL, Row
from dlkit.bench.schedules import CONSTANT

__all__ = ["Verdict", "verdict"]

ALPHA = 1 - LEVEL
UNDERTUNED = "not settled: baseline undertuned"


class Verdict(NamedTuple):
    """A conclusion.

    Attributes:
        kind: ``"winner"``; ``"tie"``: the best is not told apart from others; ``"unsettled"``: the tuning of a
            contender that could catch up is doubtful, or that of the baseline; ``"incomplete"``: too little ran.
        best: labels of the contenders that nothing here says are worse than another.
        sentence: the conclusion with its numbers.
        notes: further sentences: who could not run, who is doubtful and what to change, who is fastest.
    """

    kind: Literal["winner", "tie", "unsettled", "incomplete"]
    best: tuple[str, ...]
    sentence: str
    notes: tuple[str, ...] = ()


def verdict(problem: ProblemFacts, rows: Sequence[Row], target: float, *, baseline: str = "") -> Verdict:
    """Concludes from ranked rows.

    The best contender wins if every other is worse by the paired signed-rank test and no loser's tuning leaves room to
    catch up. A difference that the luck of tuning could make alone does not count. Without a winner, contenders are
    called worse than the best by Holm-adjusted tests. Whatever there is to say against a baseline's tuning leaves the
    question open, unless the baseline is the winner: a challenger must beat what is tuned well.

    Args:
        problem: what was trained.
        rows: as `ranking.compared` returns them.
        target: what steps were counted to.
        baseline: label of the contender that the others challenge; empty if there is none.

    Returns:
        The verdict.
    """
    complete = [row for row in rows if row.complete and not row.failure]
    notes = _failures(rows) + _untuned(rows)
    if len(complete) < 2:
        ended = f"only {complete[0].label} finished" if complete else "no contender finished"
        return Verdict("incomplete", (), f"{problem.name}: {ended}; there is nothing to compare.", tuple(notes))
    best, others = complete[0], complete[1:]
    # To be worse than one contender named by the data takes an adjusted p; to be better than all of them, every
    # single comparison has to come out that way, which is a test of its own size (intersection-union).
    beats_all = all(_is_worse(row, row.difference.p_value) for row in others if row.difference)
    tied = [] if beats_all else [row for row in others if not _is_worse(row, row.adjusted_p)]
    weak = [row for row in complete if row.label == baseline and row.flags and (tied or row is not best)]
    doubtful = [row for row in others if row in weak or (row not in tied and _could_catch_up(row))]
    notes += (
        _advice([row for row in complete if row in doubtful or row in weak])
        + _lucky(problem, tied)
        + _too_few(complete)
        + _fastest(problem, complete, target)
    )
    score = f"{_metric(problem)} {formats.interval(best.final)} after {problem.steps} steps"
    if tied:
        names = ", ".join(row.label for row in [best, *tied])
        worse = [row.label for row in others if row not in tied]
        rest = f"; worse: {', '.join(worse)}" if worse else ""
        finding = f"{names} cannot be told apart at {len(best.scores)} seeds ({best.label}: {score}){rest}."
        if weak:
            labels = tuple(row.label for row in complete if row in [best, *tied, *weak])
            return Verdict("unsettled", labels, f"{problem.name}: {UNDERTUNED}. {finding}", tuple(notes))
        return Verdict("tie", tuple(row.label for row in [best, *tied]), f"{problem.name}: {finding}", tuple(notes))
    margin = _margin(problem, others)
    if doubtful:
        names = ", ".join(row.label for row in doubtful)
        ahead = f"{best.label} is ahead, with {score}; {margin}"
        open_question = UNDERTUNED if weak else "not settled"
        sentence = f"{problem.name}: {open_question}. {ahead}; but {names} may be undertuned."
        return Verdict("unsettled", (best.label, *(row.label for row in doubtful)), sentence, tuple(notes))
    sentence = f"{problem.name}: {best.label} is best, with {score}; {margin}."
    return Verdict("winner", (best.label,), sentence, tuple(notes))


def _metric(problem: ProblemFacts) -> str:
    return f"validation {problem.judged.label or problem.metric}"


def _margin(problem: ProblemFacts, others: Sequence[Row]) -> str:
    """How far behind the next contender is, and how sure that each of them is behind."""
    differences = [row.difference for row in others if row.difference]
    shown = formats.difference(problem, differences[0])
    largest = formats.p_value(max(each.p_value for each in differences))
    bound = largest if largest.startswith("<") else f"≤ {largest}"
    return (
        f"{others[0].label}, the next, is {shown} away (p {bound} against each, {len(others[0].scores)} paired seeds)"
    )


def _is_worse(row: Row, p_value: float) -> bool:
    """Whether a contender is worse than the best beyond chance and beyond the luck of tuning."""
    return row.difference is not None and row.difference.estimate > 0 and p_value <= ALPHA and row.luck <= ALPHA


def _could_catch_up(row: Row) -> bool:
    """Whether better tuning of a loser could undo its gap: a doubtful space, or a last doubling worth the gap."""
    assert row.difference is not None
    if row.tuning.edges or row.tuning.too_few:
        return True
    return bool(row.flags) and row.tuning.gain >= row.difference.low


def _advice(doubtful: Sequence[Row]) -> list[str]:
    notes = []
    for row in doubtful:
        if row.tuning.edges:
            change = "widen that range (--expand does)"
        elif row.tuning.too_few:
            change = "narrow its space to where it trains, or give more tuning points"
        else:
            change = "give more tuning points"
        notes.append(f"{row.label}: {'; '.join(row.flags)}; {change}, then run again.")
    return notes


def _failures(rows: Sequence[Row]) -> list[str]:
    return [f"{row.label} could not run: {row.failure}" for row in rows if row.failure]


def _untuned(rows: Sequence[Row]) -> list[str]:
    notes = []
    for row in rows:
        if row.tuning.missing and not row.failure:
            total = row.tuning.trials
            notes.append(f"{row.label}: {total - row.tuning.missing} of {total} tuning trials have run.")
        elif row.tuning.winner is None and not row.failure:
            notes.append(f"{row.label}: no tuning point trained on every tuning seed; its space may be wrong.")
        elif not row.complete and not row.failure:
            ran = sum(outcome is not None for outcome in row.outcomes)
            notes.append(f"{row.label}: {ran} of {len(row.outcomes)} seeds have run; it is not compared yet.")
    return notes


def _too_few(complete: Sequence[Row]) -> list[str]:
    """Says when no difference, however large, could pass the test at this number of seeds."""
    seeds = len(complete[0].scores)
    if 2.0 ** (1 - seeds) <= ALPHA:
        return []
    needed = math.ceil(1 - math.log2(ALPHA))
    return [f"{seeds} paired seeds cannot show any difference at {LEVEL:.0%}, however large; use {needed} or more."]


def _lucky(problem: ProblemFacts, rows: Sequence[Row]) -> list[str]:
    """Names those whose winners are worse than the best one, but not by more than another tuning might change."""
    return [
        f"{row.label} is {formats.difference(problem, row.difference)} away, but tuning on {row.tuning.seeds} "
        f"seed{'s' * (row.tuning.seeds > 1)} could set equals so far apart by luck; use more tuning seeds."
        for row in rows
        if row.difference and row.difference.p_value <= ALPHA < row.luck
    ]


def _fastest(problem: ProblemFacts, complete: Sequence[Row], target: float) -> list[str]:
    """Names the contender that reaches the target first, where it is not the best one.

    A schedule is made for its horizon: where there is one, moments before the last step do not compare.
    """
    if any(row.contender.schedule != CONSTANT.name for row in complete):
        return []
    first = min(complete, key=lambda row: row.time.estimate)
    if first is complete[0] or not first.time.estimate < complete[0].time.estimate:
        return []
    ours, best = (formats.steps(row.time, problem.steps) for row in (first, complete[0]))
    return [f"First to {formats.number(target)}: {first.label}, median {ours} steps ({complete[0].label}: {best})."]
