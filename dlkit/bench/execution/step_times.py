"""Step times that budgets of seconds are counted by: measured side by side before anything is trained, and kept."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from dlkit.bench.errors import UserError
from dlkit.bench.execution.races import Entrant, Race
from dlkit.bench.identity.hashing import digest
from dlkit.bench.plan.plan import Plan
from dlkit.bench.plan.planned import PlannedContender, PlannedProblem
from dlkit.bench.plan.space import Point, Range
from dlkit.bench.plan.trials import Timing, timing_key
from dlkit.bench.spec.allowances import with_step_seconds
from dlkit.bench.spec.bound_plan import BoundPlan
from dlkit.bench.spec.programs import with_programs

__all__ = ["as_stored", "before_training", "needs_step_times", "races_before", "scaled", "with_known_times"]


def needs_step_times(plan: Plan) -> bool:
    """Whether budgets are counted in seconds, and it is not known yet how many steps that are."""
    return any(problem.axis == "seconds" and problem.amount is None for problem in plan.problems)


def races_before(bound: BoundPlan, known: Mapping[str, Timing]) -> Iterator[tuple[Race, str | None]]:
    """Yields a race for each problem some of whose contenders have no step time yet.

    Args:
        bound: a plan that `needs_step_times`.
        known: the timings so far, by key.

    Yields:
        The race, and the key of a contender that was timed before and runs along as a yardstick: what is new is stored
        in its seconds, so that nobody's steps change when a contender is added. None where nobody was timed.
    """
    plan = bound.plan
    for problem in plan.problems:
        every = {before_training(plan, problem, contender): contender for contender in plan.contenders_on(problem)}
        missing = [key for key in every if key not in known or not _seconds(known[key]) > 0]
        yardstick = next((key for key in every if key not in missing), None)
        entrants = {}
        for key, contender in every.items():
            if key in missing or key == yardstick:
                point = _middle(contender)
                group = bound.group(problem, replace(contender, stopping=None), point.static)
                entrants[key] = Entrant(group, point.hyperparameters)
        if missing:
            yield Race(tuple(entrants), tuple(entrants.values())), yardstick


def scaled(
    race: Race, timings: Sequence[Timing], yardstick: str | None, known: Mapping[str, Timing]
) -> dict[str, Timing]:
    """Returns what a race found, without its yardstick, in the seconds that the yardstick took when it was timed.

    Args:
        race: as `races_before` gave it.
        timings: of its entrants.
        yardstick: as `races_before` gave it.
        known: the timings before.

    Returns:
        Timings by key.

    Raises:
        UserError: if the yardstick could not be timed this time: nothing that was timed beside it says anything then.
    """
    found = dict(zip(race.keys, timings, strict=True))
    if yardstick is None:
        return found
    now = found.pop(yardstick)
    if not _seconds(now) > 0:
        name = race.entrants[race.keys.index(yardstick)].group.recipe.optimizer.name
        raise UserError(
            f"problem '{race.problem.name}', optimizer '{name}': its steps could not be timed this time "
            f"({_why(now)}), and those of contenders that were added are measured by them; run it again, or start in a "
            "new folder"
        )
    ratio = _seconds(known[yardstick]) / _seconds(now)
    return {
        key: replace(timing, seconds=tuple(ratio * each for each in timing.seconds)) for key, timing in found.items()
    }


def with_known_times(bound: BoundPlan, known: Mapping[str, Timing]) -> BoundPlan:
    """Returns a plan with the steps that its budgets of seconds come to.

    Args:
        bound: a plan that `needs_step_times`.
        known: timings by key, of all its contenders.

    Raises:
        UserError: for a contender that could not be timed, and for a budget that is too small.
    """
    plan, seconds, mistakes = bound.plan, dict[str, dict[str, float]](), list[str]()
    for problem, contender in plan.cells:
        timing = known[before_training(plan, problem, contender)]
        seconds.setdefault(problem.name, {})[contender.label] = _seconds(timing)
        if not _seconds(timing) > 0:
            mistakes.append(
                f"problem '{problem.name}', optimizer '{contender.label}': its steps could not be timed "
                f"({_why(timing)}), and a budget of seconds is counted by their times; "
                "mend it, leave it out, or choose another axis"
            )
    if mistakes:
        raise UserError("\n".join(mistakes))
    return with_programs(with_step_seconds(bound, seconds))


def as_stored(bound: BoundPlan, plan: Plan) -> BoundPlan:
    """Returns a plan that was made anew with the budgets that a run stored: they rest on times measured then.

    Args:
        bound: made from the spec.
        plan: what the run stored.
    """
    stored = {problem.name: problem for problem in plan.problems}
    problems = [
        replace(each, amount=stored[each.name].amount, allowances=stored[each.name].allowances)
        if each.axis == "seconds" and each.name in stored
        else each
        for each in bound.plan.problems
    ]
    if problems == bound.plan.problems:
        return bound
    return with_programs(replace(bound, plan=replace(bound.plan, problems=problems)))


def before_training(plan: Plan, problem: PlannedProblem, contender: PlannedContender) -> str:
    """Returns the key of a timing before training.

    It is another one than that of a winner's timing, which may be the same setting.

    Args:
        plan: a plan that `needs_step_times`.
        problem: which.
        contender: which.
    """
    return digest(["before training", timing_key(plan.trial(problem, contender, _middle(contender), "tuning", 0))])


def _seconds(timing: Timing) -> float:
    """The median seconds of a step; NaN if there are none."""
    return float(np.median(timing.seconds)) if timing.seconds else float("nan")


def _why(timing: Timing) -> str:
    """Why there are no seconds of a step."""
    return timing.failure or "they are too short"


def _middle(contender: PlannedContender) -> Point:
    """The middle of a contender's space, with the first of each static choice."""
    values = {name: span.value(0.5) if isinstance(span, Range) else span for name, span in contender.space.items()}
    return Point(values, {name: options[0] for name, options in contender.static.items()})
