"""What a verdict says about new examples: who is ahead on these test examples alone, and what would settle it."""

import math
from collections.abc import Sequence

from dlkit.bench.analysis import numbers
from dlkit.bench.analysis.findings import Finding, these
from dlkit.bench.analysis.new_examples import NewExamples
from dlkit.bench.analysis.ranking import Ranked
from dlkit.bench.plan.planned import PlannedProblem
from dlkit.bench.stats import Interval

__all__ = ["also", "here", "holds_here_alone", "listed", "more_examples"]

MANY = 1_000_000  # examples, beyond which a number says no more


def holds_here_alone(ranked: Ranked) -> bool:
    """Whether a contender is worse than the best on these test examples, and not told apart from it on new ones."""
    return ranked.standing.is_worse_here and not ranked.standing.is_worse


def listed(problem: PlannedProblem, ranked: Sequence[Ranked]) -> str:
    """Returns labels with their differences to the best on new examples."""
    shown = [f"{each.label} ({_difference(problem, new)})" for each in ranked if (new := _of(each))]
    return ", ".join(shown)


def here(problem: PlannedProblem, others: Sequence[Ranked]) -> str:
    """Returns " on these 360 test examples", where it is not known of each difference that it holds on new ones."""
    return "" if all(map(_of, others)) else these(problem, others)


def also(problem: PlannedProblem, others: Sequence[Ranked], *, adjusted: bool = False) -> str:
    """Returns that differences hold on new examples, too, with the one to the next; nothing where that is not known.

    Args:
        problem: what was trained.
        others: whose differences to the best hold, the next one first.
        adjusted: whether all pairs were asked about, so that what decided are adjusted p-values.
    """
    known = [(each, new) for each in others if (new := _of(each))]
    if not known:
        is_split_anew = problem.redraws_split and all(each.result.repeats_tuning for each in others)
        return ", each study with a new split of these examples" if is_split_anew else ""
    bound = numbers.largest_p_value([new.adjusted_p if adjusted else new.difference.p_value for _, new in known])
    p_value = f"{'adjusted ' if adjusted else ''}p {bound}"
    first, new = known[0]
    whom = "each" if len(known) == len(others) else ", ".join(each.label for each, _ in known)
    against = f" against {whom}" if len(others) > 1 else ""
    return f"; also on new examples ({first.label} {_difference(problem, new)}, {p_value}{against})"


def more_examples(problem: PlannedProblem, best: Ranked, others: Sequence[Ranked], unit: str) -> Finding | None:
    """Says what would settle it on new examples, of the first that is worse than the best on these examples alone.

    Args:
        problem: what was trained.
        best: the leader.
        others: the other contenders, best first.
        unit: what blocks are: ``"studies"`` or ``"seeds"``.
    """
    found = next(((each, new) for each in others if holds_here_alone(each) and (new := _of(each))), None)
    if found is None:
        return None
    other, new = found
    needed, blocks_can = new.needed
    if math.isinf(needed):
        takes = f"more {unit}" if blocks_can else f"more test examples and more {unit}"
    else:
        takes = f"about {_rounded(needed)}" if needed <= MANY else f"more than {MANY:,}"
        takes = f"{f'more {unit}, or ' if blocks_can else ''}{takes} test examples"
    pair = f"{best.label} against {other.label} on new examples"
    if blocks_can:
        text = f"To settle {pair} takes {takes}"
    else:
        text = f"More {unit} cannot settle {pair}, if the difference is what it seems: that takes {takes}"
    count = problem.examples[2]
    there = f"of the {count:,} here {new.examples:,} were looked at" if new.examples < count else f"there are {count:,}"
    return Finding(f"{text}; {there}.")


def _of(ranked: Ranked) -> NewExamples | None:
    pair = ranked.standing.to_best
    return pair.new_examples if pair else None


def _difference(problem: PlannedProblem, new: NewExamples) -> str:
    return numbers.oriented_interval(problem, Interval(*new.difference[:3]))


def _rounded(count: float) -> str:
    """A whole number with two digits that count."""
    digits = max(0, math.floor(math.log10(count)) - 1)
    return f"{round(count, -digits):,.0f}"
