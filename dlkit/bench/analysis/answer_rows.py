"""A problem's answer: a short sentence, and a cell a contender."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from dlkit.bench.analysis import example_sentences, numbers
from dlkit.bench.analysis.comparison import Comparison
from dlkit.bench.analysis.contender_result import ContenderResult
from dlkit.bench.analysis.ranking import Ranked
from dlkit.bench.analysis.verdict import Kind
from dlkit.bench.stats import Interval

__all__ = ["Cell", "Place", "Row", "in_words", "row_of", "some_of", "with_verb"]

Place = Literal["best", "tied", "doubtful", "worse", "failed", "incomplete", "not run"]
UNKNOWN, LEADER = Interval(math.nan, math.nan, math.nan), Interval(1.0, 1.0, 1.0)
MOST_NAMES = 4  # in a sentence


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

    @property
    def parts(self) -> tuple[str, str]:
        """The number, or the words, of `text`, and the interval in brackets; that is empty where there is none."""
        value, bracket, rest = self.text.partition(" [")
        return value, f"[{rest}" if bracket else ""


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

    @property
    def is_open(self) -> bool:
        """Whether nobody that is compared is told apart from the leader."""
        return all(cell.leads for cell in self.cells.values() if cell.score is not None)

    @property
    def none_apart(self) -> int:
        """How many others there are where `sentence` says of all of them that none is told apart; else 0."""
        compared = self.comparison.ranking.compared
        others = compared[1:]
        says_more = any(map(example_sentences.holds_here_alone, others)) or _all_diverged(compared)
        return len(others) if len(others) > 1 and self.is_open and not says_more else 0

    def labels(self, *places: Place) -> list[str]:
        """Returns the contenders in these places, best first."""
        return [label for label, cell in self.cells.items() if cell.place in places]


def row_of(comparison: Comparison) -> Row:
    """Returns the answer on a problem."""
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
        finished = [each.label for each in cells if not math.isnan(each.final.estimate)]  # diverged is an end, too
        return f"nothing to compare: {f'only {finished[0]} finished' if finished else 'no contender finished'}"
    best, others = compared[0], compared[1:]
    places = {each.label: each.place for each in cells}
    worse = [each for each in others if places[each.label] == "worse"]
    tied = [each for each in others if places[each.label] == "tied"]
    doubtful = [each.label for each in others if places[each.label] == "doubtful"]
    here = example_sentences.here(problem, worse) if worse else ""
    if comparison.verdict.kind == "winner":
        return f"{best.label} is best{here}; {_the(worse, others)} worse"
    if len(tied) == len(others) and _all_diverged(compared):
        return f"at least half of the {'studies' if best.result.repeats_tuning else 'seeds'} of everyone diverged"
    parts = [f"{best.label} {'leads' if tied else 'is ahead'}"]
    here_alone = [each.label for each in tied if example_sentences.holds_here_alone(each)]
    open_ = [each.label for each in tied if each.label not in here_alone]
    if len(open_) == len(others) > 1:
        parts.append(f"none of the {len(others)} others is told apart from it")
    elif open_:
        parts.append(f"{with_verb(open_)} not told apart from it")
    if here_alone:
        parts.append(f"on these examples alone it is ahead of {some_of(here_alone)}")
    if doubtful:
        parts.append(f"not settled: {some_of(doubtful)} may be undertuned")
    if worse:
        parts.append(f"{_the(worse, others)} worse{here}")
    return "; ".join(parts)


def _all_diverged(compared: Sequence[Ranked]) -> bool:
    """Whether at least half of the blocks of every contender diverged."""
    return not any(math.isfinite(each.result.final.estimate) for each in compared)


def _the(worse: Sequence[Ranked], others: Sequence[Ranked]) -> str:
    """Those that are worse with their verb; all others in a word, where they are many."""
    if len(worse) == len(others) > MOST_NAMES:
        return f"all {len(others)} others are"
    return with_verb([each.label for each in worse])


def with_verb(labels: Sequence[str]) -> str:
    """Returns labels as the subject of a sentence: ``"a and b are"``."""
    return f"{some_of(labels)} {'is' if len(labels) == 1 else 'are'}"


def some_of(labels: Sequence[str], most: int = MOST_NAMES) -> str:
    """Returns labels as a list in words; of more than so many, how many."""
    return f"{len(labels)} contenders" if len(labels) > most else in_words(labels)


def in_words(items: Sequence[str]) -> str:
    """Returns items as a list in words: ``"a, b and c"``."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"
