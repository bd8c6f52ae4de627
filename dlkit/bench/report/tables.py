"""The tables of one problem as text: the same cells in the terminal, the report, Markdown and LaTeX."""

import math
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from dlkit.bench.analysis import effect_sentences, numbers, units
from dlkit.bench.analysis.comparison import Comparison
from dlkit.bench.analysis.contender_result import ContenderResult
from dlkit.bench.analysis.effects import Effect, Measured
from dlkit.bench.analysis.findings import behind
from dlkit.bench.analysis.pairs import LEVEL, Pair
from dlkit.bench.analysis.step_costs import step_costs
from dlkit.bench.plan.axes import Axis
from dlkit.bench.plan.orientation import at_floor, unoriented
from dlkit.bench.plan.planned import PlannedProblem
from dlkit.bench.stats import Interval, median_interval, nemenyi_distance

__all__ = [
    "FACTORS_CAPTION",
    "LABELS",
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
    "studies_caption",
    "tuning",
]

LABELS = frozenset(
    {"optimizer", "problem", "hyperparameter", "budget", "factor", "level", "against"}
)  # columns of words beside numbers
SHOWN_LEVEL = f"[{LEVEL * 100:.0f}\N{NO-BREAK SPACE}%]"
MOST_LETTERS = 5  # of a contender's groups
FACTORS_CAPTION = (
    "Factors: levels compared over all pairs of contenders that differ in nothing else; interaction: whether the "
    "difference depends on another factor"
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
    """Returns what a problem's table shows: metric, direction, target and its source, medians, and which examples."""
    problem = comparison.problem
    direction = "higher" if problem.judged.higher_is_better else "lower"
    target = f"target {numbers.number(comparison.target)} ({comparison.targets.source})"
    taken = "; medians are geometric, of logarithms" if numbers.geometric(problem) else ""
    absent = f"; not run here: {', '.join(comparison.not_run)}" if comparison.not_run else ""
    return f"{numbers.metric_label(problem)}, {direction} is better; {target}{taken}; {_examples(comparison)}{absent}"


def _examples(comparison: Comparison) -> str:
    """What the metric was computed on."""
    problem = comparison.problem
    if problem.judged_on == "objective":
        return "the metric is the training objective itself: nothing is held out"
    train, validation, test = problem.examples
    if comparison.verdict.about == "settings":  # one study has one split
        how = "the same ones for every seed"
    else:
        how = "split anew in each study" if problem.redraws_split else "the same ones in every study"
    return f"judged on {test:,} test examples, selected on {validation:,}, trained on {train:,}, {how}"


def ranking(comparison: Comparison) -> Table:
    """Returns a problem's contenders with all that their final values are compared by, best first.

    Mean ranks are over blocks; the heading has Nemenyi's distance, beyond which two of them differ.
    """
    standings, floor = comparison.ranking.standings, comparison.problem.judged.floor
    distance = ""
    if count := len(standings):
        blocks = len(comparison.results[0].planned(comparison.results[0].blocks))
        distance = f" (Nemenyi {nemenyi_distance(count, blocks, 1 - LEVEL):.2f})"
    is_held_out = comparison.problem.judged_on == "test"
    header = ["rank", "optimizer", "group", f"{comparison.problem.judged_on} {SHOWN_LEVEL}"]
    header += [f"validation {SHOWN_LEVEL}"] if is_held_out else []
    header += [f"difference to best {SHOWN_LEVEL}", "p", "adjusted p"]
    is_known = any(each.to_best and each.to_best.new_examples for each in standings.values())
    header += [*([f"on new examples {SHOWN_LEVEL}"] if is_known else []), f"mean rank{distance}", "diverged"]
    rows = []
    for rank, result in enumerate(comparison.results, 1):
        standing = standings.get(result.label)
        pair = standing.to_best if standing else None
        rows.append(
            [
                str(rank) if result.is_comparable else numbers.NOTHING,
                result.label,
                _group(standing.group) if standing else numbers.NOTHING,
                numbers.interval(result.final, floor=floor),
                *([numbers.interval(result.validation, floor=floor)] if is_held_out else []),
                behind(comparison.problem, comparison.results[0], result, pair.difference) if pair else numbers.NOTHING,
                numbers.p_value(pair.difference.p_value) if pair else numbers.NOTHING,
                numbers.p_value(pair.adjusted_p) if pair else numbers.NOTHING,
                *([_on_new_examples(comparison.problem, pair)] if is_known else []),
                numbers.number(standing.mean_rank) if standing else numbers.NOTHING,
                _diverged(result),
            ]
        )
    return Table(header, rows)


def _on_new_examples(problem: PlannedProblem, pair: Pair | None) -> str:
    """The difference to the best on new examples."""
    new = pair.new_examples if pair else None
    return numbers.oriented_interval(problem, Interval(*new.difference[:3])) if new else numbers.NOTHING


def steps_caption(comparison: Comparison) -> str:
    """Returns what the numbers of `steps` are counted to."""
    problem = comparison.problem
    where = " on test" if problem.judged_on == "test" else ""
    budget = units.duration(problem.budget) if problem.axis == "seconds" else f"{problem.budget:.0f}"
    return f"{problem.axis.capitalize()} to {numbers.number(comparison.target)}{where}, budget {budget}"


def steps(comparison: Comparison) -> Table:
    """Returns how a problem's contenders came out against the hardest target; no rows where there is none yet."""
    problem = comparison.problem
    header = ["optimizer", f"hits {SHOWN_LEVEL}", "missed", "diverged before", f"median {SHOWN_LEVEL}"]
    header += [f"mean to budget {SHOWN_LEVEL}", "expected running time", f"ratio to best {SHOWN_LEVEL}", "adjusted p"]
    was_cut = any(each.to_target and each.to_target.cut_off for each in comparison.results)
    did_both = any(each.to_target and each.to_target.diverged_after for each in comparison.results)
    header[4:4] = ["diverged after"] * did_both + ["cut off"] * was_cut
    rows = []
    for result in comparison.results:
        found, standing = result.to_target, comparison.ranking.standings.get(result.label)
        if not found:
            continue
        pair = standing.steps_ratio if standing else None
        cells = [
            result.label,
            _hits(result),
            str(found.missed),
            str(found.diverged),
            units.amounts(problem.axis, found.median, problem.budget),
            units.durations(found.restricted) if problem.axis == "seconds" else numbers.interval(found.restricted),
            _expected(problem.axis, found.expected) if found.reached else "none reached",
            numbers.ratio_of_steps(pair.difference) if pair else numbers.NOTHING,
            numbers.p_value(pair.adjusted_p) if pair else numbers.NOTHING,
        ]
        cells[4:4] = [str(found.diverged_after)] * did_both + [str(found.cut_off)] * was_cut
        rows.append(cells)
    return Table(header, rows)


def _expected(axis: Axis, value: float) -> str:
    return units.duration(value) if axis == "seconds" else numbers.number(value)


def studies(comparison: Comparison) -> Table:
    """Returns every study's value of each contender, and the setting it was tuned to; no rows with one study."""
    count = max((len(each.studies) for each in comparison.results), default=0)
    header = ["optimizer", *(f"study {study + 1}" for study in range(count))]
    rows = [
        [each.label, *(_block(comparison, float(value)) for value in each.blocks)]
        for each in comparison.results
        if each.repeats_tuning and len(each.blocks)
    ]
    return Table(header, [[*cells, *[numbers.NOTHING] * (1 + count - len(cells))] for cells in rows])


def _block(comparison: Comparison, value: float) -> str:
    """A study's value in the metric's own units."""
    problem = comparison.problem
    if math.isinf(value):
        return numbers.DIVERGED
    shown = numbers.number(unoriented(problem, problem.metric, value))
    return numbers.bounded(shown, is_bound=bool(at_floor(problem, problem.metric, value)))


def studies_caption(comparison: Comparison) -> str:
    """Returns what the numbers of `studies` are."""
    return (
        f"What each study's winner came to: the {numbers.geometric(comparison.problem)}mean over its fresh seeds. "
        "Contenders are compared study by study"
    )


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
        Part("studies", studies_caption(comparison), studies(comparison)),
        Part("factors", FACTORS_CAPTION, factors(comparison)),
        Part("tuning", "", tuning(comparison), numbers=False),
    )
    return [part for part in every if part.table.rows]


def ladder(comparison: Comparison) -> Table:
    """Returns the steps to every target of a problem, the easiest first; no rows where there is one target or none."""
    targets = comparison.targets.values
    header = ["optimizer", *(f"{comparison.problem.axis} to {numbers.number(target)}" for target in targets)]
    rows = [
        [each.label, *(_rung(comparison, times) for times in each.ladder)]
        for each in comparison.results
        if len(targets) > 1 and len(each.scores)
    ]
    return Table(header, rows)


def _rung(comparison: Comparison, times: np.ndarray[Any, Any]) -> str:
    hits = int(np.isfinite(times).sum())
    problem = comparison.problem
    amounts = units.amounts(problem.axis, median_interval(times, level=LEVEL), problem.budget)
    return f"{amounts} ({hits}/{len(times)})"


def costs(comparison: Comparison) -> Table:
    """Returns what a problem's contenders cost; no rows where steps were not timed, cost the same and are all made."""
    header = ["optimizer", f"seconds per step {SHOWN_LEVEL}", "ratio to fastest", f"time to target {SHOWN_LEVEL}"]
    header += ["compiling, all trials", "optimizer state", "peak memory"]
    if stops := any(not math.isnan(each.saved) for each in comparison.costs):
        header.append("steps saved")
    if differ := (found := step_costs(comparison.problem, comparison.results)).differ:
        header.append(f"{found.unit} per step")
    rows = []
    for cost in comparison.costs if stops or differ or any(each.timing for each in comparison.costs) else ():
        timing = cost.timing if cost.timing and not cost.timing.failure else None
        row = [
            cost.label,
            units.durations(cost.per_step),
            numbers.TIMES + numbers.number(cost.ratio) if timing and cost.ratio > 0 else numbers.NOTHING,
            units.durations(cost.to_target, most=cost.per_step.estimate * comparison.problem.steps),
            units.duration(cost.compile_seconds),
            units.byte_count(timing.state_bytes if timing else None),
            units.byte_count(timing.memory_bytes if timing else None),
        ]
        row += [numbers.share(cost.saved)] if stops else []
        row += [numbers.number(found.each[cost.label])] if differ else []
        rows.append(row)
    return Table(header, rows)


def costs_caption(comparison: Comparison) -> str:
    """Returns what the numbers of `costs` are, and why a contender has none."""
    text = "One trial at a time, warm, contenders in turn; evaluations, compilation and data preparation are not in it"
    timed = [(each.label, each.timing) for each in comparison.costs if each.timing]
    failures = [f"{label} could not be timed: {timing.failure}" for label, timing in timed if timing.failure]
    return "; ".join([text, *failures])


def factors(comparison: Comparison) -> Table:
    """Returns what each level of a factor does against the first contender's; no rows without factors."""
    metric, axis = numbers.metric_label(comparison.problem), comparison.problem.axis
    header = ["factor", "level", "against", f"difference in final {metric} {SHOWN_LEVEL}", "adjusted p"]
    header += [
        "pairs of contenders",
        "interaction",
        f"ratio of {axis} to target {SHOWN_LEVEL}",
        f"adjusted p of {axis}",
    ]
    rows = [
        [
            each.factor,
            each.level,
            each.baseline,
            numbers.difference(comparison.problem, each.final.overall.difference, each.final.overall.ends),
            numbers.p_value(each.final.overall.adjusted_p),
            _agreement(each),
            _interaction(each.final),
            numbers.ratio_of_steps(each.steps.overall.difference) if each.steps else numbers.NOTHING,
            numbers.p_value(each.steps.overall.adjusted_p) if each.steps else numbers.NOTHING,
        ]
        for each in comparison.effects
    ]
    return Table(header, rows)


def _agreement(effect: Effect) -> str:
    """In how many pairs of contenders the final difference has its sign, and how many of them may be undertuned."""
    overall = effect.final.overall
    shown = f"{overall.pairs}, {overall.agreeing} of this sign" if overall.pairs > 1 else "1"
    return f"{shown}; may be undertuned: {', '.join(overall.doubtful)}" if overall.doubtful else shown


def _interaction(measured: Measured) -> str:
    """The other factor on which an effect depends the most surely, with the p-value."""
    if not measured.interactions:
        return numbers.NOTHING
    surest = min(measured.interactions, key=lambda each: each.adjusted_p)
    return f"{surest.factor}: adjusted p {numbers.p_value(surest.adjusted_p)}"


def factor_findings(comparison: Comparison) -> list[str]:
    """Returns what the factors come to, in sentences."""
    return [
        text
        for each in comparison.effects
        for text in effect_sentences.sentences(comparison.problem, each, comparison.target)
    ]


def tuning(comparison: Comparison) -> Table:
    """Returns what each contender was tuned to, in a study whose value is the median, and what makes that doubtful."""
    header = ["optimizer", "tuned to", "points trained", "flags"]
    rows = [[each.label, _setting(each), _points(each), _flags(each)] for each in comparison.results]
    return Table(header, rows)


def _group(letters: str) -> str:
    """A contender's letters; of many, the first ones and how many there are."""
    names = re.findall(r"\(\d+\)|[a-z]", letters)
    shown = "".join(names[:MOST_LETTERS])
    return f"{shown}… ({len(names)})" if len(names) > MOST_LETTERS else shown


def _diverged(result: ContenderResult) -> str:
    """How many final trials diverged, and at which steps, the first and the last."""
    count = len(result.scores)
    steps = sorted(each.diverged_at for each in result.outcomes if each is not None and each.diverged_at is not None)
    shown = f"{result.diverged}/{count}" if count else numbers.NOTHING
    if not steps:
        return shown
    return f"{shown} at step {steps[0]}" if steps[0] == steps[-1] else f"{shown} at steps {steps[0]} to {steps[-1]}"


def _hits(result: ContenderResult) -> str:
    count = len(result.scores)
    if not count:
        return numbers.NOTHING
    return f"{round(result.hits.estimate * count)}/{count} [{result.hits.low:.2f}, {result.hits.high:.2f}]"


def _setting(result: ContenderResult) -> str:
    point = result.tuning.point
    return numbers.point({**point.hyperparameters, **point.static}) or "nothing to tune" if point else numbers.NOTHING


def _points(result: ContenderResult) -> str:
    points = f"{result.doubts.finite}/{result.doubts.points}"
    seconds = sum(each.seconds for each in result.tunings)
    return points if result.contender.undrawn is not None else f"{points} in {seconds:.3g} s"


def _flags(result: ContenderResult) -> str:
    later = result.later_failure and f"{'studies' if result.repeats_tuning else 'seeds'} that were added could not run"
    noted = [each for each in (*result.flags, result.widened, later) if each]
    return "could not run" if result.failure else "; ".join(noted) or numbers.NOTHING
