"""What came of each problem, gathered for the overview over all of them: who ran, lost, or is not run there."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from dlkit.bench import stats
from dlkit.bench.analysis.across_problems import Overview
from dlkit.bench.analysis.contender_result import ContenderResult
from dlkit.bench.plan.orientation import oriented
from dlkit.bench.plan.plan import Plan
from dlkit.bench.plan.planned import PlannedProblem
from dlkit.bench.plan.spending import along_budget

__all__ = ["ProblemResults", "overview"]

Floats = np.ndarray[Any, np.dtype[np.float64]]


class ProblemResults(NamedTuple):
    """What came of a problem, as far as it has run.

    Attributes:
        problem: which.
        targets: the easiest first; none where there are none yet.
        results: of its contenders, in any order.
    """

    problem: PlannedProblem
    targets: Sequence[float]
    results: Sequence[ContenderResult]


def overview(plan: Plan, problems: Sequence[ProblemResults]) -> Overview:
    """Gathers what all problems have in common.

    Args:
        plan: the plan.
        problems: what came of each.

    Returns:
        The overview; nothing is drawn at random before one of its numbers is asked for.
    """
    labels = [contender.label for contender in plan.contenders]
    notes = [note for each in problems if (note := _unfinished(each))]
    over = [each for each in problems if not _unfinished(each)]
    found = [{result.label: result for result in each.results} for each in over]
    ran = [[label in results for results in found] for label in labels]
    lost = [[label in results and _lost(results[label]) for results in found] for label in labels]
    taking = [index for index in range(len(labels)) if not over or ran[index] != lost[index]]
    notes += [f"{label} is left out: it trained on no problem" for i, label in enumerate(labels) if i not in taking]
    for index in taking:
        names = [each.problem.name for each, is_lost in zip(over, lost[index], strict=True) if is_lost]
        notes += [f"{labels[index]} lost on {', '.join(names)}: it could not run, or no point trained"] if names else []
    trained = [
        results[label] for results in found for label in labels if label in results and not _lost(results[label])
    ]
    counts = {len(each.blocks) for each in trained}
    blocks = min(counts, default=plan.planned_blocks)
    notes += [f"only the first {blocks} {plan.unit} count, which all problems have"] if len(counts) > 1 else []
    shape = (len(taking), blocks, len(over))
    scores, curves = np.full(shape, np.nan), np.full((*shape, plan.evaluations + 1), np.inf)
    for place, (each, results) in enumerate(zip(over, found, strict=True)):
        for position, index in enumerate(taking):
            if lost[index][place]:
                scores[position, :, place] = np.inf
            elif ran[index][place]:
                result = results[labels[index]]
                scores[position, :, place] = result.blocks[:blocks]
                curves[position, :, place] = _curves(each.problem, result, plan.evaluations)[:blocks]
    ladders = [_oriented(each.problem, each.targets) for each in over]
    notes += [f"{each.problem.name} has no target" for each in over if not each.targets]
    names = [labels[index] for index in taking]
    made = Overview(names, [each.problem for each in over], plan.evaluations, scores, curves, ladders, notes)
    return replace(made, notes=[*notes, *_about_gaps(made)])


def _about_gaps(found: Overview) -> list[str]:
    """Who ran on some of the problems only, and who is not ranked for it."""
    if not found.has_gaps:
        return []
    notes, count = [], len(found.problems)
    ranked, _ = stats.connected(found.ran)
    for label, ran, is_ranked in zip(found.contenders, found.ran, ranked, strict=True):
        names = [problem.name for problem, there in zip(found.problems, ran, strict=True) if there]
        if len(names) < count:
            notes.append(
                f"{label} ran on {len(names)} of {count} problems ({', '.join(names)}): its numbers are over these"
            )
        if not is_ranked and ranked.any():
            notes.append(f"{label} is not ranked: nothing joins it with the others on two problems")
    return notes


def _lost(result: ContenderResult) -> bool:
    """Whether a contender has nothing to show where it is done: an exception, or a tuning in which nothing trained."""
    return bool(result.failure) or result.found_nothing


def _unfinished(found: ProblemResults) -> str:
    """Why a problem does not count yet; empty if it does."""
    waiting = [each.label for each in found.results if not _lost(each) and not each.is_complete]
    return f"{found.problem.name} is left out: {', '.join(waiting)} still to run" if waiting else ""


def _curves(problem: PlannedProblem, result: ContenderResult, evaluations: int) -> Floats:
    """[blocks, evaluations + 1] the judged metric, oriented: +inf where it diverged, and after an early stop.

    What stopped early has been at all the targets that it reaches.
    """
    outcomes = [next(iter(each.ended), None) for each in result.studies] if result.repeats_tuning else result.outcomes
    values = np.full((len(outcomes), evaluations + 1), np.nan)
    for line, outcome in zip(values, outcomes, strict=True):
        if outcome is not None:
            line[:] = along_budget(outcome, problem.metric, evaluations)
    return _oriented(problem, values)


def _oriented(problem: PlannedProblem, values: Any) -> Floats:
    return oriented(problem, problem.metric, values).astype(np.float64)
