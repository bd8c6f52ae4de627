"""What a run answers, in one line, a row a problem and a cell a contender: who leads, who is worse, what is open.

It says nothing that verdicts do not say; it says it shortly, and once for all problems.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from dlkit.bench.analysis import example_sentences, numbers
from dlkit.bench.analysis.answer_rows import Row, in_words, row_of, some_of, with_verb
from dlkit.bench.analysis.headline import headline_of
from dlkit.bench.analysis.pairs import blocks_needed
from dlkit.bench.analysis.summary import Summary

__all__ = ["Answer", "answer", "overall"]

MOST_DOUBTS = 2  # whose problems are named
MOST_PROBLEMS = 4  # by name
NOT_EQUAL = "Not told apart does not mean equal: intervals say what is still possible."


@dataclass(frozen=True, eq=False)
class Answer:
    """What a run answers.

    Attributes:
        headline: all of it in a sentence.
        caveats: what limits it, a sentence each.
        contenders: labels, best first: by the mean of their places on the problems.
        rows: one a problem, in the plan's order.
    """

    headline: str
    caveats: tuple[str, ...]
    contenders: tuple[str, ...]
    rows: tuple[Row, ...]


def answer(summary: Summary) -> Answer:
    """Returns what a run answers, as far as it has run.

    Args:
        summary: the run.

    Returns:
        The answer; of a run that is not over, what can be said so far.
    """
    rows = tuple(row_of(each) for each in summary.comparisons)
    contenders = _in_order(summary, rows)
    headline = headline_of(rows, contenders, goes_on=summary.missing > 0)
    return Answer(headline, tuple(_caveats(summary, rows)), contenders, rows)


def overall(summary: Summary) -> str:
    """Returns what mean ranks over all problems say, in a sentence; empty where there are none.

    Intervals and p-values behind it are resampled when they are first asked for: a second of work where there is much.

    Args:
        summary: the run.
    """
    found = summary.overview
    ranks = found.ranks
    if ranks is None:
        return ""
    means = ranks.bootstrap.mean_ranks
    best = int(np.nanargmin(means))
    away = zip(found.contenders, means, ranks.to_best, strict=True)
    worse = [label for label, mean, distance in away if mean - means[best] > distance > 0]
    text = f"Mean ranks over {ranks.problems} problems: {found.contenders[best]} has the best, {means[best]:.2f}"
    test = f"p {numbers.p_value(ranks.p_value)} that all rank alike"
    if worse:
        return f"{text}; {with_verb(worse)} worse ({test})."
    return f"{text}; no other one is told apart from it ({test})."


def _in_order(summary: Summary, rows: Sequence[Row]) -> tuple[str, ...]:
    """Contenders by the mean of their places among those compared; one that failed is last there."""
    places: dict[str, list[float]] = {each.label: [] for each in summary.plan.contenders}
    for row in rows:
        count = max(len(row.comparison.ranking.compared) - 1, 1)
        for index, (label, cell) in enumerate(row.cells.items()):
            if cell.place == "failed":
                places[label].append(1.0)
            elif cell.score is not None:
                places[label].append(index / count)
    return tuple(sorted(places, key=lambda label: float(np.mean(places[label])) if places[label] else math.inf))


# --- what limits it ---


def _caveats(summary: Summary, rows: Sequence[Row]) -> Iterable[str]:
    known = [each for each in rows if each.kind != "incomplete"]
    yield from summary.damaged
    if summary.missing > 0:
        done = summary.planned - summary.missing
        yield f"{done:,} of {summary.planned:,} trials have run."
    failed = Counter((label, row.cells[label].text) for row in rows for label in row.labels("failed"))
    for (label, how), count in failed.items():
        where = f" on {count} of {len(rows)} problems" if len(rows) > 1 else ""
        yield f"{label} {how}{where}."
    for each in rows:
        problem = each.comparison.problem
        yield from (*problem.leaks, *problem.unseen)
    if any(each.comparison.verdict.about == "settings" for each in known):
        yield "This is about the settings that one tuning found, not about the methods."
    yield from _too_few(summary, known)
    yield from _doubtful(known)
    here = [row.name for row in known if _is_here_alone(row)]
    if here:
        which = in_words(here) if len(here) <= MOST_PROBLEMS else f"{len(here)} problems"
        where = "" if len(rows) == 1 else f" of {which}"
        yield f"Best and worse are about the test examples{where}: whether that holds on new ones is not known."
    if any(row.labels("tied") for row in known):
        yield NOT_EQUAL


def _too_few(summary: Summary, rows: Sequence[Row]) -> Iterable[str]:
    """Says where no difference, however large, could have been found."""
    adds = summary.plan.most_blocks is not None
    short: dict[tuple[int, int], list[str]] = {}
    for row in rows:
        compared = row.comparison.ranking.compared
        blocks, needed = len(compared[0].result.blocks), blocks_needed(len(compared), adds_blocks=adds)
        if blocks < needed:
            short.setdefault((blocks, needed), []).append(row.name)
    for (blocks, needed), names in short.items():
        where = "" if len(names) == len(summary.comparisons) else f" on {in_words(names)}"
        one = "study" if summary.plan.repeats_tuning else "seed"
        unit = one if blocks == 1 else summary.plan.unit
        yield f"With {blocks} {unit} nothing can be told apart{where}, however different; {needed} can."


def _doubtful(rows: Sequence[Row]) -> Iterable[str]:
    """Says whose tuning is doubtful, so that better tuning might close its gap."""
    found: dict[str, list[str]] = {}
    for row in rows:
        for ranked in row.comparison.ranking.compared[1:]:
            if ranked.could_close_gap:
                found.setdefault(ranked.label, []).append(row.name)
    if len(found) > MOST_DOUBTS:
        yield f"Better tuning might change the place of {some_of(list(found))}: their flags say why."
    elif found:
        each = [f"{label} ({', '.join(names)})" if len(rows) > 1 else label for label, names in found.items()]
        yield f"Better tuning might change the place of {in_words(each)}."


def _is_here_alone(row: Row) -> bool:
    """Whether what is said to be worse is not known to be so on new examples."""
    worse = [each for each in row.comparison.ranking.compared[1:] if row.cells[each.label].place == "worse"]
    return bool(worse) and bool(example_sentences.here(row.comparison.problem, worse))
