"""The verdict on a problem: who is best, how sure that is, and what leaves it open."""

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

from dlkit.bench.analysis import numbers
from dlkit.bench.analysis.contender_result import ContenderResult
from dlkit.bench.analysis.findings import (
    Finding,
    across_studies,
    difference_to_best,
    differences,
    flip,
    power,
    speed,
)
from dlkit.bench.analysis.pairs import ALPHA, LEVEL, Pair, beats_all
from dlkit.bench.analysis.ranking import Ranked, Ranking
from dlkit.bench.analysis.settling import Reason, Settled
from dlkit.bench.plan.plan import Plan, PlannedProblem

__all__ = ["Verdict", "conclude", "verdict"]

Kind = Literal["winner", "tie", "unsettled", "incomplete"]
MOST_LISTED = 8  # contenders in a sentence
UNDERTUNED = "not settled: baseline undertuned"
RULE = f"by a rule that holds at any time (level {ALPHA:.0%})"


class Verdict(NamedTuple):
    """A conclusion.

    Attributes:
        kind: ``"winner"``; ``"tie"``: the best is not told apart from others; ``"unsettled"``: the tuning of a
            contender that could catch up is doubtful, or that of the baseline; ``"incomplete"``: too little ran.
        best: labels of the contenders that nothing here says are worse than another.
        findings: the conclusion first, then what else there is to say, each with the numbers it rests on.
    """

    kind: Kind
    best: tuple[str, ...]
    findings: tuple[Finding, ...]

    @property
    def sentence(self) -> str:
        """The conclusion with its numbers."""
        return self.findings[0].text

    @property
    def notes(self) -> tuple[str, ...]:
        """Further sentences.

        They say who could not run, who is doubtful and what to change, who is fastest, whether half of the budget would
        turn the ranking around, and what other tuning would.
        """
        return tuple(finding.text for finding in self.findings[1:])


def verdict(problem: PlannedProblem, ranking: Ranking, target: float, *, baseline: str = "") -> Verdict:
    """Concludes from a ranking.

    The best contender wins if every other is worse by the paired signed-rank test and no loser's tuning leaves room to
    catch up. A difference that the luck of tuning could make alone does not count. Without a winner, contenders are
    called worse than the best by Holm-adjusted tests. Whatever there is to say against a baseline's tuning leaves the
    question open, unless the baseline is the winner: a challenger must beat what is tuned well.

    Args:
        problem: what was trained.
        ranking: of its contenders.
        target: what steps were counted to.
        baseline: label of the contender that the others challenge; empty if there is none.

    Returns:
        The verdict.
    """
    notes = _failures(ranking.results) + _untuned(ranking.results)
    compared = ranking.compared
    if not compared:
        finished = next((each.label for each in ranking.others if each.is_comparable), None)
        ended = "no contender finished" if finished is None else f"only {finished} finished"
        sentence = Finding(f"{problem.name}: {ended}; there is nothing to compare.")
        return Verdict("incomplete", (), (sentence, *notes))
    best, others = compared[0], compared[1:]
    # To be worse than one contender named by the data takes an adjusted p.
    tied = [] if beats_all(_gaps(others)) else [each for each in others if not _is_worse(each)]
    weak = [each for each in compared if each.label == baseline and each.result.flags and (tied or each is not best)]
    doubtful = [each for each in others if each in weak or (each not in tied and _could_catch_up(each))]
    notes += _advice([each.result for each in compared if each in doubtful or each in weak])
    notes += _lucky(problem, best, tied) + _too_few(len(best.result.scores))
    beside = (speed(problem, compared, target), flip(problem, compared), across_studies(problem, best, others[0]))
    notes += [finding for finding in beside if finding]
    if tied:
        kind, labels, sentence = _tie(problem, compared, tied, weak)
        return Verdict(kind, labels, (sentence, *notes))
    if doubtful:
        sentence = _ahead(problem, compared, doubtful, is_baseline=bool(weak))
        return Verdict("unsettled", (best.label, *(each.label for each in doubtful)), (sentence, *notes))
    return Verdict("winner", (best.label,), (_winner(problem, compared), *notes))


def _gaps(others: Sequence[Ranked]) -> list[Pair]:
    """How contenders differ from the best."""
    return [pair for each in others if (pair := each.standing.to_best)]


def _is_worse(other: Ranked) -> bool:
    return any(pair.is_worse(pair.adjusted_p) for pair in _gaps([other]))


# --- the sentence ---


def _tie(
    problem: PlannedProblem, compared: Sequence[Ranked], tied: Sequence[Ranked], weak: Sequence[Ranked]
) -> tuple[Kind, tuple[str, ...], Finding]:
    """A verdict without a winner: who is not told apart, who is worse, and how many seeds it would take."""
    best, others = compared[0], compared[1:]
    worse = [each for each in others if each not in tied]
    rest = f"; worse: {_listed(worse)}" if worse else ""
    text = (
        f"{_listed([best, *tied])} cannot be told apart at {len(best.result.scores)} seeds "
        f"({best.label}: {_score(problem, best)}){rest}."
    )
    evidence = differences(problem, best, others)
    if needed := power(problem, best, tied, len(compared)):
        text, evidence = f"{text} {needed.text}", (*evidence, *needed.evidence)
    if weak:
        labels = tuple(each.label for each in compared if each in [best, *tied, *weak])
        return "unsettled", labels, Finding(f"{problem.name}: {UNDERTUNED}. {text}", evidence)
    return "tie", tuple(each.label for each in [best, *tied]), Finding(f"{problem.name}: {text}", evidence)


def _ahead(
    problem: PlannedProblem, compared: Sequence[Ranked], doubtful: Sequence[Ranked], *, is_baseline: bool
) -> Finding:
    """Says that the first contender is ahead of others whose tuning is doubtful."""
    best, others = compared[0], compared[1:]
    text = (
        f"{problem.name}: {UNDERTUNED if is_baseline else 'not settled'}. {best.label} is ahead, with "
        f"{_score(problem, best)}; {_margin(problem, others)}; but {_listed(doubtful)} may be undertuned."
    )
    return Finding(text, differences(problem, best, others))


def _winner(problem: PlannedProblem, compared: Sequence[Ranked]) -> Finding:
    best, others = compared[0], compared[1:]
    text = f"{problem.name}: {best.label} is best, with {_score(problem, best)}; {_margin(problem, others)}."
    return Finding(text, differences(problem, best, others))


def _listed(ranked: Sequence[Ranked]) -> str:
    """Labels, the best first; of many, some: the table has all with their groups."""
    labels = [each.label for each in ranked]
    shown = (
        labels if len(labels) <= MOST_LISTED else [*labels[: MOST_LISTED - 1], f"{len(labels) - MOST_LISTED + 1} more"]
    )
    return ", ".join(shown)


def _score(problem: PlannedProblem, ranked: Ranked) -> str:
    metric = problem.judged.label or problem.metric
    return f"validation {metric} {numbers.interval(ranked.result.final)} after {problem.steps} steps"


def _margin(problem: PlannedProblem, others: Sequence[Ranked]) -> str:
    """How far behind the next contender is, and how sure that each of them is behind."""
    gaps = [pair.difference for pair in _gaps(others)]
    bound = numbers.largest_p_value([each.p_value for each in gaps])
    return (
        f"{others[0].label}, the next, is {numbers.difference(problem, gaps[0])} away (p {bound} against each, "
        f"{len(others[0].result.scores)} paired seeds)"
    )


# --- notes ---


def _could_catch_up(other: Ranked) -> bool:
    """Whether better tuning of a loser could undo its gap: a doubtful space, or a last doubling worth the gap."""
    result = other.result
    if result.tuning.edges or result.tuning.too_few:
        return True
    return bool(result.flags) and any(result.tuning.gain >= gap.difference.low for gap in _gaps([other]))


def _advice(doubtful: Sequence[ContenderResult]) -> list[Finding]:
    notes = []
    for each in doubtful:
        if each.tuning.edges:
            change = "widen that range (--expand does)"
        elif each.tuning.too_few:
            change = "narrow its space to where it trains, or give more tuning points"
        else:
            change = "give more tuning points"
        notes.append(Finding(f"{each.label}: {'; '.join(each.flags)}; {change}, then run again."))
    return notes


def _failures(results: Sequence[ContenderResult]) -> list[Finding]:
    return [Finding(f"{each.label} could not run: {each.failure}") for each in results if each.failure]


def _untuned(results: Sequence[ContenderResult]) -> list[Finding]:
    notes = []
    for each in results:
        if each.failure:
            continue
        if each.tuning.missing:
            total = each.tuning.trials
            notes.append(f"{each.label}: {total - each.tuning.missing} of {total} tuning trials have run.")
        elif each.tuning.winner is None:
            notes.append(f"{each.label}: no tuning point trained on every tuning seed; its space may be wrong.")
        elif not each.is_complete:
            ran = sum(outcome is not None for outcome in each.outcomes)
            notes.append(f"{each.label}: {ran} of {len(each.outcomes)} seeds have run; it is not compared yet.")
    return [Finding(note) for note in notes]


def _too_few(seeds: int) -> list[Finding]:
    """Says when no difference, however large, could pass the test at this number of seeds."""
    if 2.0 ** (1 - seeds) <= ALPHA:
        return []
    needed = math.ceil(1 - math.log2(ALPHA))
    text = f"{seeds} paired seeds cannot show any difference at {LEVEL:.0%}, however large; use {needed} or more."
    return [Finding(text)]


def _lucky(problem: PlannedProblem, best: Ranked, tied: Sequence[Ranked]) -> list[Finding]:
    """Names those whose winners are worse than the best one, but not by more than another tuning might change."""
    found = []
    for each in tied:
        seeds = each.result.tuning.seeds
        for pair in _gaps([each]):
            if pair.difference.p_value <= ALPHA < pair.luck:
                text = (
                    f"{each.label} is {numbers.difference(problem, pair.difference)} away, but tuning on {seeds} "
                    f"seed{'s' * (seeds > 1)} could set equals so far apart by luck; use more tuning seeds."
                )
                found.append(Finding(text, difference_to_best(problem, best, each)))
    return found


# --- seeds that were added ---


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
