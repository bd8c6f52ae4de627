"""What tuning points tell beyond the winner: tuning curves with bands, who leads after how many points, good ranges.

Where the points of all studies count together, as they are drawn from the same space, scores are shifted to give all
studies the same median, as `centred` says: each study has seeds of its own. A shifted score can be better than any that
can be; no such number is shown.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from dlkit.bench import stats
from dlkit.bench.analysis.contender_result import ContenderResult
from dlkit.bench.analysis.pairs import LEVEL
from dlkit.bench.analysis.problem_results import ProblemResults
from dlkit.bench.plan.orientation import unoriented
from dlkit.bench.plan.plan import Plan
from dlkit.bench.plan.planned import PlannedProblem
from dlkit.bench.plan.space import Range
from dlkit.bench.tuning.doubts import centred
from dlkit.bench.tuning.winner import Tuning

__all__ = [
    "FEWEST_GOOD",
    "TOLERANCE",
    "Leaders",
    "Width",
    "bands",
    "leaders",
    "not_drawn",
    "widths",
]

Floats = np.ndarray[Any, np.dtype[np.float64]]

TOLERANCE = 0.05  # of the best score: what is as good
FEWEST_GOOD = 3  # points that a width is told from


class Leaders(NamedTuple):
    """Who leads a problem at how many tuning points.

    Attributes:
        problem: its name.
        contenders: labels, in the order of the columns.
        points: how many are drawn: 1, 4, 16, ... and all.
        expected: [points, contenders] the expected best score of so many points of one study, oriented: its median over
            studies. NaN where a study has not so many. Scores are as they are, so that none is better than can be.
        probability: [points, contenders] that its best of so many points of all studies is the best, of scores that are
            shifted to give all studies the same median.
        all_points: the fewest points that a contender has: where there are no others to draw, no probability tells.
    """

    problem: str
    contenders: Sequence[str]
    points: Sequence[int]
    expected: Floats
    probability: Floats
    all_points: int


class Width(NamedTuple):
    """How exactly a contender's hyperparameter has to be hit on a problem.

    Attributes:
        problem: its name.
        contender: its label.
        hyperparameter: its name; of one that is log-uniform in 1 - value, "1 - " and its name.
        points: that were tried.
        found: the range within `TOLERANCE` of the best.
        decades: its width and interval; NaN where fewer than `FEWEST_GOOD` points are good.
    """

    problem: str
    contender: str
    hyperparameter: str
    points: int
    found: stats.Sensitivity
    decades: stats.Interval


def not_drawn(plan: Plan) -> str:
    """Returns why tuning scores are no sample that curves and leaders could be told from; empty if they are one."""
    if plan.tuner.halving is not None:
        return "with successive halving the points have been trained for different lengths"
    if plan.tuner.name not in ("halton", "random"):
        return f"points of tuner {plan.tuner.name} are no random sample of the space"
    return ""


def bands(plan: Plan, problem: PlannedProblem, result: ContenderResult) -> stats.TuningBands | None:
    """Returns a contender's tuning curve with simultaneous bands, oriented; None where there is none.

    A space that was widened since counts as it was in the spec.
    """
    scores = centred(_drawn(plan, problem, result))
    return None if not_drawn(plan) or not len(scores) else stats.tuning_bands(scores, level=LEVEL)


def leaders(plan: Plan, found: ProblemResults) -> Leaders | None:
    """Says who leads a problem at 1, 4, 16, ... tuning points and at all.

    A contender with nothing to tune, one point a study, has its mean score at any number of points.

    Args:
        plan: the plan.
        found: what came of the problem.

    Returns:
        The leaders; None with fewer than two contenders, nothing to tune, points that are no sample, or none that
        trained.
    """
    scores = {each.label: _drawn(plan, found.problem, each) for each in found.results}
    scores = {label: each for label, each in scores.items() if each}
    fixed = {label for label, each in scores.items() if all(len(study) == 1 for study in each)}
    pooled = {label: centred(each) for label, each in scores.items()}
    tuned = [len(each) for label, each in pooled.items() if label not in fixed]
    if not_drawn(plan) or len(scores) < 2 or not tuned or not any(np.isfinite(each).any() for each in pooled.values()):
        return None
    fewest = min(tuned)
    labels = [contender.label for contender in plan.contenders if contender.label in scores]
    points = sorted({4**power for power in range(fewest.bit_length()) if 4**power <= fewest} | {fewest})
    values = [
        np.full(fewest, np.concatenate(scores[label]).mean()) if label in fixed else pooled[label] for label in labels
    ]
    expected = np.stack([_expected(scores[label], points, is_fixed=label in fixed) for label in labels], axis=1)
    probability = stats.tuning_leaders(values, points).probability
    return Leaders(found.problem.name, labels, points, expected, probability, fewest)


def _expected(studies: Sequence[Floats], points: Sequence[int], *, is_fixed: bool) -> Floats:
    """[points] the median over studies of the expected best of so many of their points; NaN where one has fewer."""
    if is_fixed:
        return np.full(len(points), np.median(np.concatenate(studies)))
    enough = min(map(len, studies))
    best = [[stats.expected_best(each, k) if k <= enough else np.nan for k in points] for each in studies]
    middle: Floats = np.median(best, axis=0)
    return middle


def widths(plan: Plan, found: ProblemResults) -> list[Width]:
    """Measures the good range of every hyperparameter that was tuned on a scale with decades.

    Args:
        plan: the plan.
        found: what came of the problem.

    Returns:
        One a (contender, hyperparameter), in the plan's order; with successive halving, none.
    """
    results = {each.label: each for each in found.results}
    measured = []
    for contender in plan.contenders_on(found.problem) if plan.tuner.halving is None else ():
        result, space = results[contender.label], plan.space(found.problem, contender)
        tuned = {name: span for name, span in space.items() if isinstance(span, Range)}
        scores = _in_units(found.problem, centred([each.finals for each in _tunings(result)]))
        for name, span in tuned.items() if len(scores) else ():
            ends = sorted(_on_decades(span, np.array([span.low, span.high])))
            if ends[0] <= 0:
                continue  # a range that holds 0 has no width in decades
            points = [point for tuning in _tunings(result) for point in tuning.points]
            values = _on_decades(span, np.array([point.hyperparameters[name] for point in points]))
            higher = found.problem.judged.higher_is_better
            good = stats.sensitivity(values, scores, tolerance=TOLERANCE, higher_is_better=higher)
            tried = float(np.log10(ends[1] / ends[0]))
            decades = stats.Interval(np.nan, np.nan, np.nan)
            if good.good >= FEWEST_GOOD:
                decades = stats.width_interval(good, tried=tried, dimensions=len(tuned), level=LEVEL)
            label = f"1 \N{MINUS SIGN} {name}" if span.scale == "one_minus_log" else name
            measured.append(Width(found.problem.name, contender.label, label, len(values), good, decades))
    return measured


def _tunings(result: ContenderResult) -> list[Tuning]:
    """A contender's studies; none while one of them goes on, or where it could not run."""
    found = result.tunings
    return [] if result.failure or any(each.missing for each in found) else found


def _drawn(plan: Plan, problem: PlannedProblem, result: ContenderResult) -> list[Floats]:
    """[studies][points] oriented final values of the points that were drawn from the space as it was in the spec."""
    kept = []
    for study, tuning in enumerate(_tunings(result)):
        added = len(plan.added_points(problem, result.contender, study))
        kept.append(tuning.finals[: len(tuning.finals) - added])
    return kept


def _in_units(problem: PlannedProblem, scores: Floats) -> Floats:
    """Oriented scores in the metric's units, infinitely bad where a seed diverged."""
    return np.array([unoriented(problem, problem.metric, float(score)) for score in scores])


def _on_decades(span: Range, values: Floats) -> Floats:
    """What is spread on a log scale: the value, or 1 - value."""
    return 1 - values if span.scale == "one_minus_log" else values
