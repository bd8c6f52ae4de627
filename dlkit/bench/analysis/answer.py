"""What a run answers, in one line, a row a problem and a cell a contender: who leads, who is worse, what is open.

It says nothing that verdicts do not say; it says it shortly, and once for all problems.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from dlkit.bench.analysis import example_sentences, numbers
from dlkit.bench.analysis.comparison import Comparison
from dlkit.bench.analysis.contender_result import ContenderResult
from dlkit.bench.analysis.pairs import blocks_needed
from dlkit.bench.analysis.ranking import Ranked
from dlkit.bench.analysis.summary import Summary
from dlkit.bench.analysis.verdict import Kind
from dlkit.bench.stats import Interval

__all__ = ["Answer", "Cell", "Place", "Row", "answer", "overall"]

Place = Literal["best", "tied", "doubtful", "worse", "failed", "incomplete", "not run"]
UNKNOWN, LEADER = Interval(math.nan, math.nan, math.nan), Interval(1.0, 1.0, 1.0)
LEADS: Mapping[Kind, tuple[str, str, str]] = {  # of one contender, of several, and what follows the problems
    "winner": ("is best on", "are best on", ""),
    "unsettled": ("is ahead on", "are ahead on", ", not settled"),
    "tie": ("shares the lead on", "share the lead on", ""),
}
MOST_NAMES = 4  # in a row's sentence
NONE_APART = "no contender is told apart from the leader"
NOT_EQUAL = "Not told apart does not mean equal: intervals say what is still possible."


class Cell(NamedTuple):
    """A contender on a problem.

    Attributes:
        label: the contender's.
        place: ``"best"``: it leads, alone or not; ``"tied"``: it is not told apart from the leader; ``"doubtful"``: it
            is behind, and better tuning might close the gap; ``"worse"`` than the leader beyond chance; ``"failed"``:
            it raised, or no tuning point trained; ``"incomplete"``: it is compared with nobody yet; ``"not run"`` on
            this problem, by the plan.
        final: the judged metric after the last step, median over blocks with its interval, in the metric's own units;
            NaN where there is none.
        gap: how it differs from the leader, as an oriented difference: above 0 is worse; None for the leader and for
            what is not compared.
        text: `final` as tables show it, or why there is none.
        score: `gap` on a scale that puts problems side by side: 1 for the leader, and 0 as far behind as the farthest
            end of an interval on the problem that is finite; above 1 is better than the leader, -inf has no bound.
            None for what is not compared.
    """

    label: str
    place: Place
    final: Interval
    gap: Interval | None
    text: str
    score: Interval | None

    @property
    def leads(self) -> bool:
        """Whether nothing says that it is worse than another one."""
        return self.place in {"best", "tied"}


@dataclass(frozen=True, eq=False)
class Row:
    """A problem's answer.

    Attributes:
        comparison: of all contenders on the problem.
        kind: of its verdict.
        sentence: who leads, who is not told apart, who is worse; without numbers and without a full stop.
        cells: label -> cell, of all contenders of the plan.
    """

    comparison: Comparison
    kind: Kind
    sentence: str
    cells: Mapping[str, Cell]

    @property
    def name(self) -> str:
        """The problem's name."""
        return self.comparison.problem.name

    def labels(self, *places: Place) -> list[str]:
        """Returns the contenders in these places, best first."""
        return [label for label, cell in self.cells.items() if cell.place in places]


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
    rows = tuple(_row(summary, each) for each in summary.comparisons)
    contenders = _in_order(summary, rows)
    headline = _headline(rows, contenders)
    if summary.missing > 0 and any(each.kind != "incomplete" for each in rows):
        headline = f"So far: {headline}"
    elif headline.startswith(NONE_APART):
        headline = f"{headline[0].upper()}{headline[1:]}"
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
        return f"{text}; {_are(worse)} worse ({test})."
    return f"{text}; no other one is told apart from it ({test})."


# --- a problem ---


def _row(summary: Summary, comparison: Comparison) -> Row:
    cells = {each.label: each for each in _cells(comparison)}
    for label in comparison.not_run:
        cells[label] = Cell(label, "not run", UNKNOWN, None, "not run", None)
    return Row(comparison, comparison.verdict.kind, _sentence(comparison, list(cells.values())), cells)


def _cells(comparison: Comparison) -> Iterable[Cell]:
    compared, floor = comparison.ranking.compared, comparison.problem.judged.floor
    pairs = [each.standing.to_best for each in compared]
    gaps = [Interval(*pair.difference[:3]) if pair else None for pair in pairs]
    ends = [abs(end) for gap in gaps if gap for end in gap if math.isfinite(end)]
    reach = max(ends, default=0.0) or 1.0
    for place, (ranked, gap) in enumerate(zip(compared, gaps, strict=True)):
        shown = numbers.interval(ranked.result.final, floor=floor)
        score = Interval(*(1 - each / reach for each in (gap.estimate, gap.high, gap.low))) if gap else LEADER
        yield Cell(ranked.label, _place(comparison, ranked, place), ranked.result.final, gap, shown, score)
    for result in comparison.ranking.others:
        if result.is_comparable:  # a lone one
            yield Cell(
                result.label, "incomplete", result.final, None, numbers.interval(result.final, floor=floor), None
            )
        else:
            yield Cell(result.label, *_left_out(result))


def _place(comparison: Comparison, ranked: Ranked, place: int) -> Place:
    if place == 0:
        return "best"
    if ranked.label not in comparison.verdict.best:
        return "worse"
    return "doubtful" if ranked.standing.is_worse else "tied"


def _left_out(result: ContenderResult) -> tuple[Place, Interval, None, str, None]:
    """Why a contender is compared with nobody."""
    if result.failure or result.found_nothing:
        return "failed", UNKNOWN, None, "failed" if result.failure else "did not train", None
    return "incomplete", UNKNOWN, None, "not done", None


def _sentence(comparison: Comparison, cells: Sequence[Cell]) -> str:
    problem, compared = comparison.problem, comparison.ranking.compared
    if not compared:
        finished = [each.label for each in cells if math.isfinite(each.final.estimate)]
        return f"nothing to compare: {f'only {finished[0]} finished' if finished else 'no contender finished'}"
    best, others = compared[0], compared[1:]
    places = {each.label: each.place for each in cells}
    worse = [each for each in others if places[each.label] == "worse"]
    tied = [each for each in others if places[each.label] == "tied"]
    doubtful = [each.label for each in others if places[each.label] == "doubtful"]
    here = example_sentences.here(problem, worse) if worse else ""
    if comparison.verdict.kind == "winner":
        return f"{best.label} is best{here}; {_the(worse, others)} worse"
    parts = [f"{best.label} {'leads' if tied else 'is ahead'}"]
    here_alone = [each.label for each in tied if example_sentences.holds_here_alone(each)]
    open_ = [each.label for each in tied if each.label not in here_alone]
    if len(open_) == len(others) > 1:
        parts.append(f"none of the {len(others)} others is told apart from it")
    elif open_:
        parts.append(f"{_are(open_)} not told apart from it")
    if here_alone:
        parts.append(f"on these examples alone it is ahead of {_names(here_alone)}")
    if doubtful:
        parts.append(f"not settled: {_names(doubtful)} may be undertuned")
    if worse:
        parts.append(f"{_the(worse, others)} worse{here}")
    return "; ".join(parts)


def _the(worse: Sequence[Ranked], others: Sequence[Ranked]) -> str:
    """Those that are worse with their verb; all others in a word, where they are many."""
    if len(worse) == len(others) > MOST_NAMES:
        return f"all {len(others)} others are"
    return _are([each.label for each in worse])


def _are(labels: Sequence[str]) -> str:
    return f"{_names(labels)} {'is' if len(labels) == 1 else 'are'}"


def _names(labels: Sequence[str]) -> str:
    """Labels as a list in words; of many, how many."""
    if len(labels) > MOST_NAMES:
        return f"{len(labels)} contenders"
    return _and(labels)


def _and(items: Sequence[str]) -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


# --- all problems ---


def _headline(rows: Sequence[Row], contenders: Sequence[str]) -> str:
    """Who leads on how many problems, and who is worse on how many, the best contenders first."""
    known = [each for each in rows if each.kind != "incomplete"]
    if len(rows) == 1 or not known:
        only = rows[0].sentence if len(rows) == 1 else "nothing to compare yet: no two contenders finished on a problem"
        return f"{f'{rows[0].name}: ' if len(rows) == 1 else ''}{only}."
    total, so_far = len(known), _so_far(known, rows)
    if all(cell.place in {"best", "tied"} for row in known for cell in row.cells.values() if cell.score is not None):
        where = f"either of {total} problems{so_far}" if total == 2 else f"any of {total} problems{so_far}"
        where = known[0].name if total == 1 else where
        return f"{NONE_APART} on {where}."
    parts = [*_leaders(known, contenders, so_far), *_behind(known, contenders, so_far)]
    if any(row.labels("tied") for row in known):
        parts.append("nobody else is told apart from a leader")
    return f"{'; '.join(parts)}."


def _so_far(known: Sequence[Row], rows: Sequence[Row]) -> str:
    """What follows a number of problems where others have nothing to compare."""
    return " compared" if len(known) < len(rows) else ""


def _leaders(rows: Sequence[Row], contenders: Sequence[str], so_far: str) -> list[str]:
    """Who is best alone, and who leads on the most problems, alone or not; those with equal counts in one clause."""
    total = len(rows)
    led = {
        label: {kind: [row.name for row in rows if row.kind == kind and row.cells[label].leads] for kind in LEADS}
        for label in contenders
    }
    counts = {label: sum(map(len, kinds.values())) for label, kinds in led.items()}
    alike: dict[tuple[tuple[Kind, str], ...], list[str]] = {}
    for label, kinds in led.items():
        if counts[label] == max(counts.values()) or kinds["winner"] or kinds["unsettled"]:
            said = tuple((kind, _problems(names, total, so_far)) for kind in LEADS if (names := kinds[kind]))
            alike.setdefault(said, []).append(label)
    order = sorted(alike, key=lambda said: said[0][0] == "tie")
    return [f"{_names(alike[said])} {_led(said, len(alike[said]))}" for said in order]


def _led(said: Iterable[tuple[Kind, str]], count: int) -> str:
    """Where so many contenders lead, in words."""
    return " and ".join(f"{LEADS[kind][count > 1]} {problems}{LEADS[kind][2]}" for kind, problems in said)


def _behind(rows: Sequence[Row], contenders: Sequence[str], so_far: str) -> list[str]:
    """Who is worse than the leader, and on which problems; those with the same problems in one clause."""
    where: dict[tuple[str, ...], list[str]] = {}
    for label in contenders:
        if names := tuple(row.name for row in rows if row.cells[label].place == "worse"):
            where.setdefault(names, []).append(label)
    if len(where) > 3:  # too many to name: by how many
        counts = {label: len(names) for names, labels in where.items() for label in labels}
        fewest, most = min(counts.values()), max(counts.values())
        spread = f"{fewest} to {most}" if fewest < most else f"{most}"
        return [f"{_are(list(counts))} worse on {spread} of {len(rows)} problems{so_far}"]
    return [f"{_are(labels)} worse on {_problems(names, len(rows), so_far)}" for names, labels in where.items()]


def _problems(names: Sequence[str], total: int, so_far: str) -> str:
    """Problems by how many they are; one of them by its name."""
    if len(names) == 1:
        return names[0]
    count = ("both" if total == 2 else f"all {total}") if len(names) == total else f"{len(names)} of {total}"
    return f"{count} problems{so_far}"


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
    if summary.missing > 0:
        done = summary.planned - summary.missing
        yield f"{done:,} of {summary.planned:,} trials have run; the same command goes on."
    if known and len(known) < len(rows):
        names = [each.name for each in rows if each.kind == "incomplete"]
        yield f"Nothing to compare on {numbers.listed(names)}."
    failed = Counter(label for row in rows for label in row.labels("failed"))
    for label, count in failed.items():
        where = f" on {count} of {len(rows)} problems" if len(rows) > 1 else ""
        yield f"{label} failed{where}."
    if any(each.comparison.verdict.about == "settings" for each in known):
        yield "This is about the settings that one tuning found, not about the methods."
    yield from _too_few(summary, known)
    yield from _doubtful(known)
    here = [row.name for row in known if _is_here_alone(row)]
    if here:
        where = "" if len(rows) == 1 else f" of {_and(here)}"
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
        where = "" if len(names) == len(summary.comparisons) else f" on {_and(names)}"
        unit = summary.plan.unit if blocks != 1 else summary.plan.unit.removesuffix("s").replace("studie", "study")
        yield f"With {blocks} {unit} nothing can be told apart{where}, however different; {needed} can."


def _doubtful(rows: Sequence[Row]) -> Iterable[str]:
    """Says whose tuning is doubtful, so that better tuning might close its gap."""
    found: dict[str, list[str]] = {}
    for row in rows:
        for ranked in row.comparison.ranking.compared[1:]:
            pair = ranked.standing.to_best
            if pair and ranked.result.could_gain(pair.difference.low):
                found.setdefault(ranked.label, []).append(row.name)
    if found:
        each = [f"{label} ({', '.join(names)})" if len(rows) > 1 else label for label, names in found.items()]
        yield f"Better tuning might change the place of {numbers.listed(each)}."


def _is_here_alone(row: Row) -> bool:
    """Whether what is said to be worse is not known to be so on new examples."""
    worse = [each for each in row.comparison.ranking.compared[1:] if row.cells[each.label].place == "worse"]
    return bool(worse) and bool(example_sentences.here(row.comparison.problem, worse))
