"""The ranked tables as text, the same cells wherever they are shown."""

import math
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from dlkit.bench.analysis import effects, numbers
from dlkit.bench.analysis.comparison import Comparison
from dlkit.bench.analysis.ranking import LEVEL, Row
from dlkit.bench.plan.orientation import unoriented
from dlkit.bench.stats import Interval, median_interval, nemenyi_distance

__all__ = [
    "FACTORS_CAPTION",
    "LABELS",
    "STUDIES_CAPTION",
    "Part",
    "Table",
    "caption",
    "costs",
    "costs_caption",
    "factor_findings",
    "factors",
    "ladder",
    "parts",
    "ranking",
    "steps",
    "steps_caption",
    "studies",
    "tuning",
]

LABELS = frozenset(
    {"optimizer", "problem", "hyperparameter", "budget", "factor", "level", "against"}
)  # columns of words beside numbers
SHOWN_LEVEL = f"[{LEVEL * 100:.0f}\N{NO-BREAK SPACE}%]"
MOST_LETTERS = 5  # of a contender's groups
FACTORS_CAPTION = "Factors: levels compared over contenders that differ in nothing else, paired by seed"
STUDIES_CAPTION = (
    "Final means over all tuning studies and seeds, with the noise of tuning and without; differences are to the best"
)


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
    target = f"target {numbers.number(comparison.target)} ({comparison.targets.source})"
    return f"{problem.judged.label or problem.metric}, {direction} is better; {target}"


def ranking(comparison: Comparison) -> Table:
    """Returns a problem's contenders with all that their final values are compared by, best first.

    Mean ranks are over seeds; the heading has Nemenyi's distance, beyond which two of them differ.
    """
    count, seeds = (
        sum(bool(row.among.group) for row in comparison.rows),
        len(comparison.rows[0].planned(comparison.rows[0].scores)),
    )
    distance = f" (Nemenyi {nemenyi_distance(count, seeds, 1 - LEVEL):.2f})" if count > 1 else ""
    header = ["rank", "optimizer", "group", f"validation {SHOWN_LEVEL}", f"test {SHOWN_LEVEL}"]
    header += [f"difference to best {SHOWN_LEVEL}", "p", "adjusted p", f"mean rank{distance}", "diverged"]
    rows = []
    for rank, row in enumerate(comparison.rows, 1):
        paired = row.difference
        rows.append(
            [
                str(rank) if row.complete and not row.failure else "–",
                row.label,
                _group(row),
                numbers.interval(row.final),
                numbers.interval(row.test),
                numbers.difference(comparison.problem, paired) if paired else "–",
                numbers.p_value(paired.p_value) if paired else "–",
                numbers.p_value(row.adjusted_p),
                numbers.number(row.among.mean_rank),
                f"{row.diverged}/{len(row.scores)}" if len(row.scores) else "–",
            ]
        )
    return Table(header, rows)


def steps_caption(comparison: Comparison) -> str:
    """Returns what the numbers of `steps` are counted to."""
    return f"Steps to {numbers.number(comparison.target)} on validation, budget {comparison.problem.steps}"


def steps(comparison: Comparison) -> Table:
    """Returns how a problem's contenders came out against the hardest target; no rows where there is none yet."""
    budget = comparison.problem.steps
    header = ["optimizer", f"hits {SHOWN_LEVEL}", "missed", "diverged before", f"median {SHOWN_LEVEL}"]
    header += [f"mean to budget {SHOWN_LEVEL}", "expected running time", f"ratio to best {SHOWN_LEVEL}", "adjusted p"]
    was_cut = any(row.steps and row.steps.cut_off for row in comparison.rows)
    header[4:4] = ["cut off"] if was_cut else []
    rows = []
    for row in comparison.rows:
        if not row.steps:
            continue
        pair = row.among.steps
        cells = [
            row.label,
            _hits(row),
            str(row.steps.missed),
            str(row.steps.diverged),
            numbers.steps(row.steps.median, budget),
            numbers.interval(row.steps.restricted),
            numbers.number(row.steps.expected),
            numbers.ratio_of_steps(pair.difference) if pair else "–",
            numbers.p_value(pair.adjusted_p) if pair else "–",
        ]
        cells[4:4] = [str(row.steps.cut_off)] if was_cut else []
        rows.append(cells)
    return Table(header, rows)


def studies(comparison: Comparison) -> Table:
    """Returns final means over repeated tuning studies, with tuning's noise and without; no rows with one study."""
    problem = comparison.problem
    header = ["optimizer", f"mean, seeds alone {SHOWN_LEVEL}", f"mean, with tuning {SHOWN_LEVEL}"]
    header += [f"difference, seeds alone {SHOWN_LEVEL}", f"difference, with tuning {SHOWN_LEVEL}"]
    rows = []
    for row in comparison.rows:
        across, difference = row.among.across, row.among.across_difference
        if across:
            means = (across.seeds_only, across.with_tuning)
            gaps = (difference.seeds_only, difference.with_tuning) if difference else ()
            cells = [numbers.interval(_in_units(comparison, mean)) for mean in means]
            cells += [numbers.oriented_interval(problem, gap) for gap in gaps] or ["–", "–"]
            rows.append([row.label, *cells])
    return Table(header, rows)


def _in_units(comparison: Comparison, value: Interval) -> Interval:
    """An oriented mean in the metric's own units; a geometric mean where its scale is logarithmic."""
    problem = comparison.problem
    estimate, *ends = (unoriented(problem, problem.metric, bound) for bound in value)
    return Interval(estimate, min(ends), max(ends))


class Part(NamedTuple):
    """A table of a problem beside its ranking.

    Attributes:
        name: a word for it.
        caption: a sentence about it, empty if the name says enough.
        table: with at least one row.
        numbers: whether its columns are of numbers, rather than of words.
    """

    name: str
    caption: str
    table: Table
    numbers: bool = True


def parts(comparison: Comparison) -> list[Part]:
    """Returns what there is to show of a problem beside its ranking, in the order in which it is shown everywhere."""
    every = (
        Part("steps to target", steps_caption(comparison), steps(comparison)),
        Part("targets", "", ladder(comparison)),
        Part("costs", costs_caption(comparison), costs(comparison)),
        Part("studies", STUDIES_CAPTION, studies(comparison)),
        Part("factors", FACTORS_CAPTION, factors(comparison)),
        Part("tuning", "", tuning(comparison), numbers=False),
    )
    return [part for part in every if part.table.rows]


def ladder(comparison: Comparison) -> Table:
    """Returns the steps to every target of a problem, the easiest first; no rows where there is one target or none."""
    targets = comparison.targets.values
    header = ["optimizer", *(f"steps to {numbers.number(target)}" for target in targets)]
    rows = [
        [row.label, *(_rung(comparison, times) for times in row.ladder)]
        for row in comparison.rows
        if len(targets) > 1 and len(row.scores)
    ]
    return Table(header, rows)


def _rung(comparison: Comparison, times: np.ndarray[Any, Any]) -> str:
    hits = int(np.isfinite(times).sum())
    steps = numbers.steps(median_interval(times, level=LEVEL), comparison.problem.steps)
    return f"{steps} ({hits}/{len(times)})"


def costs(comparison: Comparison) -> Table:
    """Returns what a problem's contenders cost; no rows where nothing was timed and none could stop early."""
    header = ["optimizer", f"seconds per step {SHOWN_LEVEL}", "ratio to fastest", f"time to target {SHOWN_LEVEL}"]
    header += ["compiling, all trials", "optimizer state", "peak memory"]
    if stops := any(not math.isnan(each.saved) for each in comparison.costs):
        header.append("steps saved")
    rows = []
    for cost in comparison.costs if stops or any(each.timing for each in comparison.costs) else ():
        timing = cost.timing if cost.timing and not cost.timing.failure else None
        row = [
            cost.label,
            numbers.durations(cost.per_step),
            numbers.TIMES + numbers.number(cost.ratio) if timing else "–",
            numbers.durations(cost.to_target, most=cost.per_step.estimate * comparison.problem.steps),
            numbers.duration(cost.compile_seconds),
            numbers.byte_count(timing.state_bytes if timing else None),
            numbers.byte_count(timing.memory_bytes if timing else None),
        ]
        rows.append([*row, *([_share(cost.saved)] if stops else [])])
    return Table(header, rows)


def costs_caption(comparison: Comparison) -> str:
    """Returns what the numbers of `costs` are, and why a contender has none."""
    text = "One trial at a time, warm, contenders in turn; evaluations, compilation and data preparation are not in it"
    timed = [(each.label, each.timing) for each in comparison.costs if each.timing]
    failures = [f"{label} could not be timed: {timing.failure}" for label, timing in timed if timing.failure]
    return "; ".join([text, *failures])


def factors(comparison: Comparison) -> Table:
    """Returns what each level of a factor does against the first contender's; no rows without factors."""
    metric = comparison.problem.judged.label or comparison.problem.metric
    header = ["factor", "level", "against", f"difference in final {metric} {SHOWN_LEVEL}", "adjusted p"]
    header += [f"ratio of steps to target {SHOWN_LEVEL}", "adjusted p of steps", "pairs of contenders"]
    rows = [
        [
            each.factor,
            each.level,
            each.baseline,
            numbers.difference(comparison.problem, each.final),
            _p_value(each.final_p, is_luck=not each.differs),
            numbers.interval(each.ratio),
            "–" if math.isnan(each.ratio.estimate) else _p_value(each.ratio_p, is_luck=not each.is_faster),
            f"{each.pairs}, {each.agreeing} of this sign" if each.pairs > 1 else "1",
        ]
        for each in comparison.effects
    ]
    return Table(header, rows)


def _p_value(value: float, *, is_luck: bool) -> str:
    """A p-value, and whether the luck of tuning makes nothing of it."""
    return numbers.p_value(value) + (" (luck of tuning)" if is_luck and value <= 1 - LEVEL else "")


def factor_findings(comparison: Comparison) -> list[str]:
    """Returns what the factors come to, in sentences."""
    return [effects.sentence(comparison.problem, each, comparison.target) for each in comparison.effects]


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


def _group(row: Row) -> str:
    """A contender's letters; of many, the first ones and how many there are."""
    names = re.findall(r"\(\d+\)|[a-z]", row.among.group)
    shown = "".join(names[:MOST_LETTERS])
    return f"{shown}… ({len(names)})" if len(names) > MOST_LETTERS else shown or "–"


def _hits(row: Row) -> str:
    count = len(row.scores)
    if not count:
        return "–"
    return f"{round(row.hits.estimate * count)}/{count} [{row.hits.low:.2f}, {row.hits.high:.2f}]"


def _setting(row: Row) -> str:
    point = row.tuning.point
    return numbers.point({**point.hyperparameters, **point.static}) or "nothing to tune" if point else "–"


def _points(row: Row) -> str:
    points = f"{row.tuning.finite}/{len(row.tuning.points)}"
    return points if row.contender.undrawn is not None else f"{points} in {row.tuning.seconds:.3g} s"


def _flags(row: Row) -> str:
    noted = [*row.flags, row.widened] if row.widened else row.flags
    return "could not run" if row.failure else "; ".join(noted) or "–"


def _across(row: Row) -> str:
    return numbers.interval(row.across) if row.across else "–"
