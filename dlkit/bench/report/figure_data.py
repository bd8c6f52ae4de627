"""The numbers that figures draw: medians and bands of curves, final values, tuning scores, and axes that fit them.

Everything is oriented (lower is better, +inf where a trial diverged) until an `Axis` turns it into the metric's units.
"""

import math
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dlkit.bench.analysis import numbers
from dlkit.bench.analysis.along_curves import amounts_along
from dlkit.bench.analysis.comparison import Comparison
from dlkit.bench.analysis.contender_result import ContenderResult
from dlkit.bench.analysis.pairs import LEVEL
from dlkit.bench.analysis.summary import Summary
from dlkit.bench.analysis.tuning_curves import bands
from dlkit.bench.escapes import visible
from dlkit.bench.plan.metric import TRAINING_LOSS
from dlkit.bench.plan.orientation import at_floor, oriented, unoriented
from dlkit.bench.plan.planned import PlannedProblem
from dlkit.bench.plan.space import Range
from dlkit.bench.plan.spending import along_budget, spent
from dlkit.bench.stats import Interval, median_interval
from dlkit.bench.tuning.winner import Tuning

__all__ = [
    "Axis",
    "Curve",
    "Finals",
    "ProbeCurve",
    "Scores",
    "TuningCurve",
    "curve_axis",
    "curves",
    "finals",
    "fit_axis",
    "hyperparameter",
    "in_words",
    "probe_curves",
    "scores",
    "short",
    "tuning_curves",
]

Floats = np.ndarray[Any, np.dtype[np.float64]]

FAR = 4.0  # how many times the spread of the better three quarters an axis reaches towards the worse end
MARGIN = 0.05
LABEL_WIDTH = 24  # letters of a line
LABEL_LINES = 3


@dataclass(frozen=True)
class Axis:
    """The stretch of the judged metric that a figure shows.

    Attributes:
        problem: whose metric.
        best: the best value that must be visible, oriented.
        worst: the worst one; anything worse is drawn there.
    """

    problem: PlannedProblem
    best: float
    worst: float

    @property
    def range(self) -> tuple[float, float]:
        """The ends of the axis from small to large, a little outside; log10 where the metric's scale is ``"log"``."""
        margin = MARGIN * (self.worst - self.best) or 0.05 * abs(self.worst) or 1.0
        sign = -1.0 if self.problem.judged.higher_is_better else 1.0
        low, high = sorted((sign * (self.best - margin), sign * (self.worst + margin)))
        return low, high

    @property
    def bounds(self) -> tuple[float, float]:
        """The ends of the axis from small to large, in the metric's units."""
        low, high = self.range
        return (10.0**low, 10.0**high) if self.problem.judged.scale == "log" else (low, high)

    def units(self, values: Any) -> Floats:
        """Returns oriented values in the metric's units, infinite ones at the ends."""
        numbers = np.asarray(values, np.float64)
        numbers = np.where(np.isposinf(numbers), self.worst, np.where(np.isneginf(numbers), self.best, numbers))
        numbers = -numbers if self.problem.judged.higher_is_better else numbers
        return 10.0 ** np.clip(numbers, -300, 300) if self.problem.judged.scale == "log" else numbers

    def off(self, values: Any) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Returns which oriented values are beyond the worse end: diverged, or too bad to show."""
        return np.asarray(values, np.float64) > self.worst

    def pinned(self, values: Any) -> Floats:
        """Returns oriented values in the metric's units, those beyond the ends at the ends."""
        return self.units(np.clip(np.asarray(values, np.float64), self.best, self.worst))

    def visible(self, interval: Interval) -> tuple[float, float, float]:
        """Returns what the axis shows of an interval in the metric's units; no more than the estimate if it is endless.

        An interval is endless where there are too few seeds for one.
        """
        middle, low, high = (float(np.clip(value, *self.bounds)) for value in interval)
        known = math.isfinite(interval.low) or math.isfinite(interval.high)
        return (middle, low, high) if known else (middle, middle, middle)


@dataclass(frozen=True, eq=False)
class Curve:
    """The judged metric over a contender's final trials, of all its studies.

    Attributes:
        result: the contender's.
        spent: [points] at equal shares of what a trial may spend, in the units of the budget.
        middle: [points] the median over trials, oriented.
        low: [points] the 25 % quantile.
        high: [points] the 75 % quantile.
        seeds: how many seeds there are.
    """

    result: ContenderResult
    spent: np.ndarray[Any, Any]
    middle: Floats
    low: Floats
    high: Floats
    seeds: int

    @property
    def name(self) -> str:
        """The contender's label, how many of its seeds have run unless all have, and the studies that are not in it."""
        planned, studies = len(self.result.outcomes), self.result.tunings
        lost = sum(each.winner is None for each in studies) if self.result.tuning_is_over else 0
        notes = [f"{self.seeds} of {planned} seeds"] * (self.seeds != planned)
        notes += [f"nothing trained in {lost} of {len(studies)} studies"] * (lost > 0)
        return f"{self.result.label} ({'; '.join(notes)})" if notes else self.result.label


@dataclass(frozen=True, eq=False)
class ProbeCurve:
    """What a probe saw along a contender's final trials.

    Attributes:
        name: of the probe's curve.
        result: the contender's.
        spent: [points] where a trial has a number, in the units of the budget.
        middle: [points] the median over the trials that have one.
    """

    name: str
    result: ContenderResult
    spent: np.ndarray[Any, Any]
    middle: Floats


def probe_curves(summary: Summary, comparison: Comparison) -> list[ProbeCurve]:
    """Returns the curves of a run's probes, those of one name together, contenders best first."""
    outcomes = [outcome for result in comparison.results for outcome in result.outcomes if outcome is not None]
    others = {name for outcome in outcomes for name in outcome.curves if not name.startswith(TRAINING_LOSS)}
    names = sorted(others - comparison.problem.metrics.keys()) if summary.plan.probes else []
    return [
        curve
        for name in names
        for result in comparison.results
        if (curve := _probe_curve(comparison.problem, name, result)) is not None
    ]


def _probe_curve(problem: PlannedProblem, name: str, result: ContenderResult) -> ProbeCurve | None:
    """One curve; None where no trial has a number."""
    ran = [outcome for outcome in result.outcomes if outcome is not None and name in outcome.curves]
    points = max((len(outcome.steps) for outcome in ran), default=0)
    table = np.full((len(ran), points), np.nan)
    for line, outcome in zip(table, ran, strict=True):
        line[: len(outcome.steps)] = outcome.curves[name]
    known = np.isfinite(table).any(axis=0)
    if not known.any():
        return None
    amounts = spent(problem, result.contender, max(ran, key=lambda outcome: len(outcome.steps)))[known]
    finite = np.where(np.isfinite(table), table, np.nan)[:, known]
    return ProbeCurve(name, result, amounts, np.nanmedian(finite, axis=0))


@dataclass(frozen=True, eq=False)
class Finals:
    """A contender's final values on one split.

    Attributes:
        result: the contender's.
        split: ``"test"``, ``"validation"`` or, where nothing is held out, ``"objective"``.
        values: [trials] oriented.
        median: over blocks, in the metric's units.
        height: where its line lies: the contender's place, a little higher for what judges than for validation.
        heights: [trials] the same, spread a little so that dots of the same value stay apart.
    """

    result: ContenderResult
    split: str
    values: Floats
    median: Interval
    height: float
    heights: Floats


@dataclass(frozen=True, eq=False)
class Scores:
    """The tuning scores of a contender against one hyperparameter.

    Attributes:
        result: the contender's.
        name: of the hyperparameter.
        values: [points of all studies] what it was.
        scores: [points of all studies] the tuning scores, oriented.
        winners: indices of the studies' winning points among these.
        settings: [points] the whole setting in words.
    """

    result: ContenderResult
    name: str
    values: Floats
    scores: Floats
    winners: Sequence[int]
    settings: Sequence[str]


@dataclass(frozen=True, eq=False)
class TuningCurve:
    """The best score of a contender against the number of its tuning points.

    Attributes:
        result: the contender's.
        middle: [points] oriented: of one study the median best of so many points, or where points are no sample, what
            `Tuning.curve` holds; of several the median of that over studies.
        low: [points] the lower end of a band that holds for all numbers of points at once, of several studies that of
            the median's interval; infinite where nothing bounds it.
        high: [points] the upper end.
    """

    result: ContenderResult
    middle: Floats
    low: Floats
    high: Floats


def short(label: str) -> str:
    r"""Returns a label in up to three lines, which leaves room beside it; variants differ at the end, so that stays.

    Example:
        >>> short("adamw"), short("adamw-with-a-long-cosine-schedule")
        ('adamw', 'adamw-with…e-schedule')
        >>> short("adam (activation=gelu, norm=batch)")
        'adam (activation=gelu,\nnorm=batch)'
    """
    lines = textwrap.wrap(visible(label), LABEL_WIDTH, break_long_words=False, break_on_hyphens=False)
    shown = lines if len(lines) <= LABEL_LINES else [*lines[: LABEL_LINES - 1], f"… {lines[-1]}"]
    return "\n".join(line if len(line) <= LABEL_WIDTH + 2 else f"{line[:10]}…{line[-10:]}" for line in shown)


def curves(summary: Summary, comparison: Comparison) -> list[Curve]:
    """Returns the curves of all contenders that have any, best first.

    A diverged trial is worst from there on; one that ended early keeps the value of its final parameters.
    """
    problem, evaluations = comparison.problem, summary.plan.evaluations
    found = []
    for result in comparison.results:
        outcomes = [each for each in result.outcomes if each is not None and each.counts]
        if not outcomes:
            continue
        values = np.stack([along_budget(each, problem.metric, evaluations) for each in outcomes])
        for line, outcome in zip(values, outcomes, strict=True):
            line[np.isnan(line)] = outcome.final(problem.metric)
        values[~np.isfinite(values)] = np.nan
        ordered = np.sort(oriented(problem, problem.metric, values).astype(np.float64), axis=0)
        low, middle, high = (_quantile(ordered, share) for share in (0.25, 0.5, 0.75))
        amounts = amounts_along(problem, result.contender, outcomes, evaluations)
        found.append(Curve(result, amounts, middle, low, high, len(outcomes)))
    return found


def _quantile(ordered: Floats, share: float) -> Floats:
    """The quantile of sorted columns, linear between order statistics, infinite next to an infinite one."""
    place = (len(ordered) - 1) * share
    below, weight = int(place), place - int(place)
    if weight == 0:
        return np.asarray(ordered[below])
    with np.errstate(invalid="ignore"):
        between = (1 - weight) * ordered[below] + weight * ordered[below + 1]
    return np.where(np.isnan(between), np.inf, between)


def finals(comparison: Comparison) -> list[Finals]:
    """Returns every contender's final values on what judges, then on validation, best contender first."""
    problem, found = comparison.problem, []
    for place, result in enumerate(comparison.results):
        there = [each for each in result.outcomes if each is not None and each.counts]
        selected = [each.validation.get(problem.metric, math.nan) for each in there]
        splits: list[tuple[str, Floats, Interval, float]] = [(problem.judged_on, result.scores, result.final, -0.18)]
        if problem.judged_on == "test" and problem.allowance(result.label).gradients is None:
            splits.append(("validation", oriented(problem, problem.metric, selected), result.validation, 0.18))
        # A low-discrepancy sequence: the same at every drawing, and neighbours stay apart.
        spread = (np.arange(len(there)) * 0.618 % 1 - 0.5) * 0.2
        for split, values, median, offset in splits:
            height = place + offset
            heights = np.asarray(height + spread, np.float64)
            found.append(Finals(result, split, values.astype(np.float64), median, height, heights))
    return found


def in_words(problem: PlannedProblem, values: Floats) -> list[str]:
    """Returns oriented values as text in the metric's units; what is at its floor is a bound."""
    return [
        numbers.bounded(numbers.number(unoriented(problem, problem.metric, float(value))), is_bound=bool(is_bound))
        if value < math.inf
        else numbers.DIVERGED
        for value, is_bound in zip(values, at_floor(problem, problem.metric, values), strict=True)
    ]


def scores(comparison: Comparison) -> list[Scores]:
    """Returns the tuning scores against the learning rate, or else the first hyperparameter that was tuned."""
    found = []
    for result in comparison.results:
        ran = [(each, index) for each in result.tunings for index, done in enumerate(each.ran) if done]
        name = _shown(result)
        if name is None or not ran or result.failure:
            continue
        values = np.array([tuning.points[index].hyperparameters[name] for tuning, index in ran])
        finals = np.array([tuning.finals[index] for tuning, index in ran], np.float64)
        winners = [place for place, (tuning, index) in enumerate(ran) if tuning.winner == index]
        found.append(Scores(result, name, values, finals, winners, [_setting(*each) for each in ran]))
    return found


def tuning_curves(summary: Summary, comparison: Comparison) -> list[TuningCurve]:
    """Returns the tuning curves of the contenders whose tuning is complete, best first."""
    found = []
    for result in comparison.results:
        if result.failure or result.tuning.missing:
            continue
        over = [each.curve for each in result.tunings if not each.missing]
        band = bands(summary.plan, comparison.problem, result) if len(over) == 1 else None
        if band is not None:
            found.append(TuningCurve(result, band.median, band.median_low, band.median_high))
            continue
        # Points of different studies are never put together: their scores differ by seeds and by splits, too.
        table = np.stack([each[: min(map(len, over))] for each in over])
        ends = [median_interval(column, level=LEVEL) for column in table.T]
        middle, low, high = (np.array([end[place] for end in ends]) for place in range(3))
        found.append(TuningCurve(result, middle, low, high))
    return found


def _setting(tuning: Tuning, index: int) -> str:
    """A point in words, and where successive halving dropped it."""
    point, until = tuning.points[index], tuning.until[index]
    words = numbers.point({**point.hyperparameters, **point.static})
    return words if until is None else f"{words}, dropped at evaluation {until}"


def _shown(result: ContenderResult) -> str | None:
    space = result.contender.space
    ranges = [name for name, span in space.items() if isinstance(span, Range)]
    return "learning_rate" if "learning_rate" in space else next(iter(ranges), None)


def hyperparameter(found: Sequence[Scores]) -> str:
    """Returns what the scores are drawn against, in words."""
    names = {each.name for each in found}
    if names <= {"learning_rate"}:
        return "learning rate"
    return "learning rate, or the hyperparameter named below" if "learning_rate" in names else "hyperparameter"


def curve_axis(comparison: Comparison, found: Sequence[Curve]) -> Axis:
    """Returns the axis for curves: it shows their medians and the target."""
    problem = comparison.problem
    target = float(oriented(problem, problem.metric, comparison.target))
    return fit_axis(problem, [each.middle for each in found], always=[target])


def fit_axis(problem: PlannedProblem, values: Iterable[Any], *, always: Iterable[float] = ()) -> Axis:
    """Returns an axis that shows what matters: all of the good values, and of the bad ones those not far away.

    Args:
        problem: whose judged metric.
        values: arrays of oriented values; those that are not finite do not count.
        always: oriented values that must be visible.
    """
    everything = np.concatenate([np.ravel(np.asarray(each, np.float64)) for each in values] or [np.zeros(0)])
    finite = everything[np.isfinite(everything)]
    kept = [value for value in always if math.isfinite(value)]
    if not len(finite):
        finite = np.array(kept or [0.0])
    best, worst = float(finite.min()), float(finite.max())
    reach = best + FAR * (float(np.quantile(finite, 0.75)) - best)
    if best < reach < worst:
        worst = reach
    return Axis(problem, min([best, *kept]), max([worst, *kept]))
