"""What to conclude from a problem's rows, in a sentence that says how sure it is."""

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

from dlkit.bench.analysis import numbers
from dlkit.bench.analysis.findings import Evidence, Finding, across_studies, differences, flip, power, speed
from dlkit.bench.analysis.pairs import ALPHA, LEVEL
from dlkit.bench.analysis.ranking import Row, is_worse
from dlkit.bench.plan.plan import PlannedProblem

__all__ = ["Evidence", "Finding", "Verdict", "verdict"]

Kind = Literal["winner", "tie", "unsettled", "incomplete"]
MOST_LISTED = 8  # contenders in a sentence
UNDERTUNED = "not settled: baseline undertuned"


class Verdict(NamedTuple):
    """A conclusion.

    Attributes:
        kind: ``"winner"``; ``"tie"``: the best is not told apart from others; ``"unsettled"``: the tuning of a
            contender that could catch up is doubtful, or that of the baseline; ``"incomplete"``: too little ran.
        best: labels of the contenders that nothing here says are worse than another.
        sentence: the conclusion with its numbers.
        notes: further sentences: who could not run, who is doubtful and what to change, who is fastest, whether half of
            the budget would turn the ranking around, what other tuning would.
        findings: the sentence and then each note, with the numbers they rest on.
    """

    kind: Kind
    best: tuple[str, ...]
    sentence: str
    notes: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()


def verdict(problem: PlannedProblem, rows: Sequence[Row], target: float, *, baseline: str = "") -> Verdict:
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
        return _made("incomplete", (), Finding(f"{problem.name}: {ended}; there is nothing to compare."), notes)
    best, others = complete[0], complete[1:]
    # To be worse than one contender named by the data takes an adjusted p; to be better than all of them, every
    # single comparison has to come out that way, which is a test of its own size (intersection-union).
    beats_all = all(is_worse(row, row.difference.p_value) for row in others if row.difference)
    tied = [] if beats_all else [row for row in others if not is_worse(row, row.adjusted_p)]
    weak = [row for row in complete if row.label == baseline and row.flags and (tied or row is not best)]
    doubtful = [row for row in others if row in weak or (row not in tied and _could_catch_up(row))]
    notes += (
        _advice([row for row in complete if row in doubtful or row in weak])
        + _lucky(problem, best, tied)
        + _too_few(complete)
        + [
            found
            for found in (
                speed(problem, complete, target),
                flip(problem, complete),
                across_studies(problem, best, others[0]),
            )
            if found
        ]
    )
    evidence = differences(problem, best, others)
    score = f"{_metric(problem)} {numbers.interval(best.final)} after {problem.steps} steps"
    if tied:
        names = _listed([best, *tied])
        worse = [row for row in others if row not in tied]
        rest = f"; worse: {_listed(worse)}" if worse else ""
        finding = f"{names} cannot be told apart at {len(best.scores)} seeds ({best.label}: {score}){rest}."
        if needed := power(problem, best, tied, len(complete)):
            finding, evidence = f"{finding} {needed.text}", (*evidence, *needed.evidence)
        if weak:
            labels = tuple(row.label for row in complete if row in [best, *tied, *weak])
            sentence = f"{problem.name}: {UNDERTUNED}. {finding}"
            return _made("unsettled", labels, Finding(sentence, evidence), notes)
        labels = tuple(row.label for row in [best, *tied])
        return _made("tie", labels, Finding(f"{problem.name}: {finding}", evidence), notes)
    margin = _margin(problem, others)
    if doubtful:
        names = _listed(doubtful)
        ahead = f"{best.label} is ahead, with {score}; {margin}"
        open_question = UNDERTUNED if weak else "not settled"
        sentence = f"{problem.name}: {open_question}. {ahead}; but {names} may be undertuned."
        labels = (best.label, *(row.label for row in doubtful))
        return _made("unsettled", labels, Finding(sentence, evidence), notes)
    sentence = f"{problem.name}: {best.label} is best, with {score}; {margin}."
    return _made("winner", (best.label,), Finding(sentence, evidence), notes)


def _made(kind: Kind, best: tuple[str, ...], sentence: Finding, notes: Sequence[Finding]) -> Verdict:
    return Verdict(kind, best, sentence.text, tuple(note.text for note in notes), (sentence, *notes))


def _listed(rows: Sequence[Row]) -> str:
    """Labels, the best first; of many, some: the table has all with their groups."""
    labels = [row.label for row in rows]
    shown = (
        labels if len(labels) <= MOST_LISTED else [*labels[: MOST_LISTED - 1], f"{len(labels) - MOST_LISTED + 1} more"]
    )
    return ", ".join(shown)


def _metric(problem: PlannedProblem) -> str:
    return f"validation {problem.judged.label or problem.metric}"


def _margin(problem: PlannedProblem, others: Sequence[Row]) -> str:
    """How far behind the next contender is, and how sure that each of them is behind."""
    differences = [row.difference for row in others if row.difference]
    shown = numbers.difference(problem, differences[0])
    largest = numbers.p_value(max(each.p_value for each in differences))
    bound = largest if largest.startswith("<") else f"≤ {largest}"
    return (
        f"{others[0].label}, the next, is {shown} away (p {bound} against each, {len(others[0].scores)} paired seeds)"
    )


def _could_catch_up(row: Row) -> bool:
    """Whether better tuning of a loser could undo its gap: a doubtful space, or a last doubling worth the gap."""
    assert row.difference is not None
    if row.tuning.edges or row.tuning.too_few:
        return True
    return bool(row.flags) and row.tuning.gain >= row.difference.low


def _advice(doubtful: Sequence[Row]) -> list[Finding]:
    notes = []
    for row in doubtful:
        if row.tuning.edges:
            change = "widen that range (--expand does)"
        elif row.tuning.too_few:
            change = "narrow its space to where it trains, or give more tuning points"
        else:
            change = "give more tuning points"
        notes.append(Finding(f"{row.label}: {'; '.join(row.flags)}; {change}, then run again."))
    return notes


def _failures(rows: Sequence[Row]) -> list[Finding]:
    return [Finding(f"{row.label} could not run: {row.failure}") for row in rows if row.failure]


def _untuned(rows: Sequence[Row]) -> list[Finding]:
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
    return [Finding(note) for note in notes]


def _too_few(complete: Sequence[Row]) -> list[Finding]:
    """Says when no difference, however large, could pass the test at this number of seeds."""
    seeds = len(complete[0].scores)
    if 2.0 ** (1 - seeds) <= ALPHA:
        return []
    needed = math.ceil(1 - math.log2(ALPHA))
    text = f"{seeds} paired seeds cannot show any difference at {LEVEL:.0%}, however large; use {needed} or more."
    return [Finding(text)]


def _lucky(problem: PlannedProblem, best: Row, rows: Sequence[Row]) -> list[Finding]:
    """Names those whose winners are worse than the best one, but not by more than another tuning might change."""
    return [
        Finding(
            f"{row.label} is {numbers.difference(problem, row.difference)} away, but tuning on {row.tuning.seeds} "
            f"seed{'s' * (row.tuning.seeds > 1)} could set equals so far apart by luck; use more tuning seeds.",
            differences(problem, best, [row])[1:],
        )
        for row in rows
        if row.difference and row.difference.p_value <= ALPHA < row.luck
    ]
