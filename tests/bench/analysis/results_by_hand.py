"""Contenders' results by hand: from values of blocks, or from curves of trials; with one study or several."""

import itertools
import math
from dataclasses import replace

import numpy as np

from dlkit.bench.analysis.along_curves import UNKNOWN, AlongCurve, StepsToTarget
from dlkit.bench.analysis.contender_result import ContenderResult, StudyResult
from dlkit.bench.analysis.contender_result import make_result as result_of_outcomes
from dlkit.bench.analysis.ranking import compared
from dlkit.bench.analysis.verdict import verdict
from dlkit.bench.plan.orientation import oriented, unoriented
from dlkit.bench.plan.policies import Tuner
from dlkit.bench.plan.trials import STUDY_SEEDS, Outcome, Trial
from dlkit.bench.stats import Interval, median_interval, wilson_interval
from dlkit.bench.tuning.doubts import Doubts
from dlkit.bench.tuning.winner import Tuning
from tests.bench.synthetic import make_contender, make_plan, make_problem, play

__all__ = [
    "BLOCKS",
    "NOISE",
    "PROBLEM",
    "SPREAD",
    "constant",
    "ended",
    "in_studies",
    "judged",
    "make_result",
    "results_of_curves",
    "values",
]

PROBLEM = make_problem()
BLOCKS = 10
SPREAD = np.linspace(0.0, 0.09, BLOCKS)  # what contenders have in common in a block
NOISE = 1e-3 * np.array([3, -1, 4, -1, 5, -9, 2, -6, 5, -3])  # and what they have not


def values(level, *, noise=NOISE):
    """Values of ten blocks around a level."""
    return level + SPREAD + noise


def make_result(
    label,
    values,
    *,
    studies=False,
    problem=PROBLEM,
    times=None,
    half=None,
    doubts=None,
    missing=0,
    winner=2,
    flags=(),
    failure="",
):
    """A result whose blocks end at these values, in the metric's own units; None has not run.

    With `studies` a block is a study of one fresh seed, else a fresh seed of the one study. `doubts` are fields of
    `Doubts` that are not those of five points that trained well.
    """
    usual = {"edges": {}, "beyond": 0.0, "gain": 0.0, "finite": 5, "points": 5, "too_few": False}
    found = Doubts(**{**usual, **(doubts or {})})
    contender = make_contender(label)
    tuning = Tuning(contender.points, np.zeros(5), winner, 5, 10, missing, first=np.zeros(5))
    trials = [Trial(f"{label}{seed}", {"seed": seed}) for seed in range(len(values))]
    empty = np.zeros(0, np.int64)
    outcomes = [
        None if value is None else Outcome(trial, "finished", "", "", None, 0.0, 0.0, empty, {}, {})
        for trial, value in zip(trials, values, strict=True)
    ]
    groups = [[place] for place in range(len(values))] if studies else [range(len(values))]
    parts = []
    for number, places in enumerate(groups):
        there = [outcomes[place] for place in places if outcomes[place] is not None]
        of_part = [trials[place] for place in places], [outcomes[place] for place in places]
        parts.append(StudyResult(number, tuning, [], *of_part, there, not missing and len(there) == len(places)))
    there = [value for value in values if value is not None]
    scores = oriented(problem, "error", there)
    whole = len(list(itertools.takewhile(lambda value: value is not None, values)))
    blocks = scores[:whole] if studies else scores
    steps = np.full(len(there), 20.0) if times is None else np.array(times, float)
    median = median_interval(steps) if there else UNKNOWN
    hits = int(np.isfinite(steps).sum())
    middle = median_interval(blocks) if len(blocks) else UNKNOWN
    low, high = sorted(unoriented(problem, "error", bound) for bound in middle[1:])
    return ContenderResult(
        contender=contender,
        studies=parts,
        repeats_tuning=studies,
        steps_to_target=steps,
        ladder=(),
        scores=scores,
        blocks=blocks,
        at_floor=np.zeros(len(blocks), bool),
        hits=wilson_interval(hits, len(there)),
        median_steps=median,
        final=Interval(unoriented(problem, "error", middle.estimate), low, high),
        validation=UNKNOWN,
        diverged=0,
        failure=failure,
        later_failure="",
        doubts=found,
        flags=tuple(flags),
        widened="",
        to_target=StepsToTarget(hits, len(there) - hits, 0, 0, median, UNKNOWN, math.nan, 0),
        log_steps=AlongCurve(np.log2(steps)),
        half=None if half is None else AlongCurve(oriented(problem, "error", half), at=20),
        required=len(values),
    )


def judged(*results, problem=PROBLEM, target=0.1, foretells=False):
    """The verdict on these results; what would settle a tie, which takes long to find, only where it `foretells`."""
    return verdict(problem, compared(results), target, adds_blocks=not foretells)


# --- from curves -----------------------------------------------------------------------------------------------------


def ended(trial, curve, *, status="", validation=None, reason=""):
    """What came of a trial that was evaluated at steps 0, 10, 20, ...; it diverged if the last value is NaN."""
    points = np.array(curve, np.float32)
    status = status or ("diverged" if math.isnan(points[-1]) else "finished")
    steps = np.arange(len(points)) * 10
    known = float(points[-1]) if validation is None else validation
    end = {"error": known} if status == "finished" else {}
    return Outcome(trial, status, reason, "", None, 0.0, 0.0, steps, {"error": points}, end)


def constant(values):
    """Curves that end at these values; None stays None."""
    return [None if value is None else [1.0, value] for value in values]


def in_studies(plan, studies, **tuner):
    """The plan with so many studies, each of which tries the points of the first."""
    contenders = [replace(each, further=(each.points,) * (studies - 1)) for each in plan.contenders]
    return replace(plan, contenders=contenders, tuner=Tuner(studies=studies, **tuner))


def results_of_curves(
    curves, *, metric=None, target=0.1, points=1, studies=1, seeds=BLOCKS, tuned=None, added_studies=None
):
    """One result a label.

    Args:
        curves: label -> the curves of its final trials, study by study; None has not run, a text is why it failed.
        metric: of the problem.
        target: of the problem.
        points: that tuning tries.
        studies: that the plan has.
        seeds: fresh ones of each study.
        tuned: where tuning ends, of a study and the place of a point; None has not run, NaN diverged.
        added_studies: label -> how many were added.
    """
    problem = make_problem(metric=metric, target=target)
    plan = make_plan(list(curves), problems=[problem], points=points, tuning_seeds=1, seeds=seeds)
    plan = replace(in_studies(plan, studies), added_studies={problem.name: added_studies or {}})
    more = max((added_studies or {}).values(), default=0)
    contenders = [replace(each, further=(*each.further, *[each.points] * more)) for each in plan.contenders]
    plan = replace(plan, contenders=contenders)

    def train(problem, contender, trial):
        study, seed = divmod(trial.seed, STUDY_SEEDS)
        if trial.stage == "tuning":
            place = [point.hyperparameters for point in contender.points].index(trial.hyperparameters)
            end = tuned(study, place) if tuned else 0.5 + abs(place - (points - 1) // 2)
            return None if end is None else ended(trial, [1.0, end])
        curve = curves[contender.label][study * seeds + seed]
        if isinstance(curve, str):
            return ended(trial, [0.0], status="failed", reason=curve)
        return None if curve is None else ended(trial, curve)

    history, targets = play(plan, train), [] if target is None else [target]
    return [result_of_outcomes(history, problem, contender, targets) for contender in plan.contenders]
