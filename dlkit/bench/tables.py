"""The ranked tables as text, the same cells wherever they are shown."""

import math
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from dlkit.bench import formats
from dlkit.bench.ranking import LEVEL, Row
from dlkit.bench.results import Comparison, Summary
from dlkit.bench.stats import median_interval

__all__ = [
    "LABELS",
    "Table",
    "caption",
    "costs",
    "costs_caption",
    "escaped",
    "ladder",
    "markdown",
    "markdown_tables",
    "ranking",
    "tuning",
]

LABELS = frozenset({"optimizer", "problem", "hyperparameter", "budget"})  # columns of words beside numbers


class Table(NamedTuple):
    """A table as text.

    Attributes:
        header: names of the columns.
        rows: [rows][columns] the cells.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str]]


def caption(comparison: Comparison) -> str:
    """Returns what a problem's table shows: metric, direction, target and where that comes from."""
    problem = comparison.problem
    direction = "higher" if problem.judged.higher_is_better else "lower"
    target = f"target {formats.number(comparison.target)} ({comparison.targets.source})"
    return f"{problem.judged.label or problem.metric}, {direction} is better; {target}"


def ranking(comparison: Comparison) -> Table:
    """Returns a problem's contenders with all that they are compared by, best first."""
    level = f"[{LEVEL * 100:.0f}\N{NO-BREAK SPACE}%]"
    header = ["rank", "optimizer", f"hits {level}", f"steps to target {level}", f"validation {level}"]
    header += [f"test {level}", f"difference to best {level}", "p", "adjusted p", "diverged"]
    rows = []
    for rank, row in enumerate(comparison.rows, 1):
        paired = row.difference
        rows.append(
            [
                str(rank) if row.complete and not row.failure else "–",
                row.label,
                _hits(row),
                formats.steps(row.time, comparison.problem.steps),
                formats.interval(row.final),
                formats.interval(row.test),
                formats.difference(comparison.problem, paired) if paired else "–",
                formats.p_value(paired.p_value) if paired else "–",
                formats.p_value(row.adjusted_p),
                f"{row.diverged}/{len(row.scores)}" if len(row.scores) else "–",
            ]
        )
    return Table(header, rows)


def ladder(comparison: Comparison) -> Table:
    """Returns the steps to every target of a problem, the easiest first; no rows where there is one target or none."""
    targets = comparison.targets.values
    header = ["optimizer", *(f"steps to {formats.number(target)}" for target in targets)]
    rows = [
        [row.label, *(_rung(comparison, times) for times in row.ladder)]
        for row in comparison.rows
        if len(targets) > 1 and len(row.scores)
    ]
    return Table(header, rows)


def _rung(comparison: Comparison, times: np.ndarray[Any, Any]) -> str:
    hits = int(np.isfinite(times).sum())
    steps = formats.steps(median_interval(times, level=LEVEL), comparison.problem.steps)
    return f"{steps} ({hits}/{len(times)})"


def costs(comparison: Comparison) -> Table:
    """Returns what a problem's contenders cost; no rows where nothing was timed and none could stop early."""
    level = f"[{LEVEL * 100:.0f}\N{NO-BREAK SPACE}%]"
    header = ["optimizer", f"seconds per step {level}", "ratio to fastest", f"time to target {level}"]
    header += ["compiling, all trials", "optimizer state", "peak memory"]
    if stops := any(not math.isnan(each.saved) for each in comparison.costs):
        header.append("steps saved")
    rows = []
    for cost in comparison.costs if stops or any(each.timing for each in comparison.costs) else ():
        timing = cost.timing if cost.timing and not cost.timing.failure else None
        row = [
            cost.label,
            formats.durations(cost.per_step),
            formats.TIMES + formats.number(cost.ratio) if timing else "–",
            formats.durations(cost.to_target, most=cost.per_step.estimate * comparison.problem.steps),
            formats.duration(cost.compile_seconds),
            formats.byte_count(timing.state_bytes if timing else None),
            formats.byte_count(timing.memory_bytes if timing else None),
        ]
        rows.append([*row, *([_share(cost.saved)] if stops else [])])
    return Table(header, rows)


def costs_caption(comparison: Comparison) -> str:
    """Returns what the numbers of `costs` are, and why a contender has none."""
    text = "One trial at a time, warm, contenders in turn; evaluations, compilation and data preparation are not in it"
    timed = [(each.label, each.timing) for each in comparison.costs if each.timing]
    failures = [f"{label} could not be timed: {timing.failure}" for label, timing in timed if timing.failure]
    return "; ".join([text, *failures])


def _share(value: float) -> str:
    return "–" if math.isnan(value) else f"{100 * value:.0f}\N{NO-BREAK SPACE}%"


def tuning(comparison: Comparison) -> Table:
    """Returns what each contender was tuned to, what makes that doubtful, and how much repeated tuning differs."""
    header = ["optimizer", "tuned to", "points trained", "flags"]
    rows = [[row.label, _setting(row), _points(row), _flags(row)] for row in comparison.rows]
    studies = 1 + max((len(row.repetitions) for row in comparison.rows), default=0)
    if studies > 1:
        header.append(f"median across {studies} studies [min, max]")
        rows = [[*cells, _across(row)] for cells, row in zip(rows, comparison.rows, strict=True)]
    return Table(header, rows)


def _hits(row: Row) -> str:
    count = len(row.scores)
    if not count:
        return "–"
    return f"{round(row.hits.estimate * count)}/{count} [{row.hits.low:.2f}, {row.hits.high:.2f}]"


def _setting(row: Row) -> str:
    point = row.tuning.point
    return formats.point({**point.hyperparameters, **point.static}) or "nothing to tune" if point else "–"


def _points(row: Row) -> str:
    points = f"{row.tuning.finite}/{len(row.tuning.points)}"
    return points if row.contender.undrawn is not None else f"{points} in {row.tuning.seconds:.3g} s"


def _flags(row: Row) -> str:
    noted = [*row.flags, row.widened] if row.widened else row.flags
    return "could not run" if row.failure else "; ".join(noted) or "–"


def _across(row: Row) -> str:
    return formats.interval(row.across) if row.across else "–"


def markdown_tables(summary: Summary) -> str:
    """Returns verdicts and tables as Markdown, a section a problem."""
    sections = []
    for comparison in summary.comparisons:
        verdict = comparison.verdict
        text = "\n".join(f"- {escaped(note)}" for note in verdict.notes)
        parts = [
            f"## {escaped(comparison.problem.name)}",
            escaped(verdict.sentence),
            text,
            f"{escaped(caption(comparison))}.",
            markdown(ranking(comparison), numbers=True),
            markdown(ladder(comparison), numbers=True) if ladder(comparison).rows else "",
            *_costs_in_markdown(comparison),
            markdown(tuning(comparison), numbers=False),
        ]
        sections.append("\n\n".join(part for part in parts if part))
    return "\n\n".join(sections) + "\n"


def _costs_in_markdown(comparison: Comparison) -> list[str]:
    table = costs(comparison)
    return [f"{escaped(costs_caption(comparison))}.", markdown(table, numbers=True)] if table.rows else []


def markdown(table: Table, *, numbers: bool) -> str:
    """Returns a table as Markdown; columns of numbers are aligned at the right, all but those of labels."""
    align = ["---:" if numbers and name not in LABELS else "---" for name in table.header]
    lines = [table.header, align, *([escaped(cell) for cell in row] for row in table.rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def escaped(text: str) -> str:
    """Returns a text that Markdown shows as it is, on one line."""
    marked = re.sub(r"[\\`*|<>&#]|(?<![^\W_])_|_(?![^\W_])|\](?=[(\[])", lambda found: f"\\{found[0]}", text)
    return " ".join(marked.split())
