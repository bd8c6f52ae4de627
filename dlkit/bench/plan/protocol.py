"""What runs must share to be compared, or to be parts of one study; each setting by the name that a spec has for it."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from dlkit.bench.identity.hashing import canonical
from dlkit.bench.plan.json import to_data
from dlkit.bench.plan.plan import Plan
from dlkit.bench.plan.planned import PlannedContender, PlannedProblem
from dlkit.bench.plan.space import Range

__all__ = [
    "PROBLEM",
    "SETTINGS",
    "STUDIES",
    "Difference",
    "Part",
    "points_of_dimensions",
    "problem_differences",
    "problem_program_differences",
    "setting_differences",
    "shown",
    "told",
]

SHOWN = 60  # characters of a value in a message


class Part(NamedTuple):
    """One of several runs.

    Attributes:
        name: how messages call it.
        plan: what ran there last.
    """

    name: str
    plan: Plan


class Difference(NamedTuple):
    """What two runs do not share.

    Attributes:
        key: the name of it: a key of a spec, or what it is of a problem.
        one: its value in the one run.
        other: in the other.
    """

    key: str
    one: Any
    other: Any


Read = Callable[[Plan], Any]
SETTINGS: Mapping[str, Read] = {
    "budget.evaluations": lambda plan: plan.evaluations,
    "budget.tuning_seeds": lambda plan: plan.tuning_seeds,
    "budget.seeds": lambda plan: plan.seeds,
    "budget.trial_seconds": lambda plan: plan.trial_seconds,
    "budget.tuner": lambda plan: plan.tuner.name,
    "budget.tuning_seconds": lambda plan: plan.tuner.seconds,
    "budget.tuning_batch": lambda plan: plan.tuner.batch if plan.tuner.is_adaptive else None,
    "budget.halving": lambda plan: plan.tuner.halving,
    "budget.grid": lambda plan: dict(plan.tuner.grid),
    "budget.objective": lambda plan: plan.tuner.objective,
    "expand": lambda plan: plan.expand,
    "probes": lambda plan: sorted(plan.probes),
    "targets": lambda plan: to_data(plan.targets),
}
STUDIES: Mapping[str, Read] = {
    "budget.studies": lambda plan: plan.tuner.studies,
    "budget.first_study": lambda plan: plan.tuner.first_study,
}
PROBLEM: Mapping[str, Callable[[PlannedProblem], Any]] = {
    "data digest": lambda problem: problem.data[:12],
    "examples (train, validation, test)": lambda problem: list(problem.examples),
    "origin": lambda problem: "your own code" if problem.is_own else "the catalogue",
    "function that makes it": lambda problem: problem.made_by,
    "choices": lambda problem: dict(problem.choices),
    "metric": lambda problem: problem.metric,
    "metrics": lambda problem: to_data(dict(problem.metrics)),
    "steps": lambda problem: problem.steps,
    "axis": lambda problem: problem.axis,
    "amount of the budget": lambda problem: problem.amount,
    "batch_size": lambda problem: problem.batch_size or "full",
    "order": lambda problem: problem.order,
    "target": lambda problem: None if problem.target is None else [*problem.ladder, problem.target],
    "diverged_above": lambda problem: problem.diverged_above,
    "judged on": lambda problem: problem.judged_on,
    "split anew in each study": lambda problem: problem.redraws_split,
}


def setting_differences(one: Plan, other: Plan, settings: Mapping[str, Read] = SETTINGS) -> list[Difference]:
    """Returns the settings that hold for a whole run, and that two plans do not share."""
    found = [Difference(key, read(one), read(other)) for key, read in settings.items()]
    return [each for each in found if canonical(each.one) != canonical(each.other)]


def problem_differences(one: PlannedProblem, other: PlannedProblem) -> list[Difference]:
    """Returns what two plans say differently of a problem of one name; margins and descriptions do not count."""
    found = [Difference(key, read(one), read(other)) for key, read in PROBLEM.items()]
    return [each for each in found if canonical(each.one) != canonical(each.other)]


def problem_program_differences(one: Plan, other: Plan, problem: str) -> tuple[list[Difference], bool]:
    """Compares what one's own problem computes, as far as contenders use it in the same way in both plans.

    Args:
        one: a plan.
        other: another one.
        problem: the name of the problem.

    Returns:
        The digests of its code where they differ, at most one pair; and whether there was anything to compare.
    """
    first, second = _problem_programs(one, problem), _problem_programs(other, problem)
    both = first.keys() & second.keys()
    apart = [Difference("code digest", first[key], second[key]) for key in sorted(both) if first[key] != second[key]]
    return apart[:1], bool(both) or not (first or second)


def _problem_programs(plan: Plan, problem: str) -> dict[str, str]:
    """How the problem is used -> the digest of what it computes then."""
    by_label = {each.label: each for each in plan.contenders}
    found = {}
    for label, programs in plan.programs.get(problem, {}).items():
        use = by_label[label]
        for static, computed in programs.items():
            if computed.problem:
                how = [dict(use.choices), use.batch_size, _tuned(use), static if use.tuned_choices else ""]
                found[canonical(how)] = computed.problem
    return found


def _tuned(contender: PlannedContender) -> list[str]:
    return sorted(name for name in contender.tuned_choices if name in contender.space)


def points_of_dimensions(contender: PlannedContender) -> tuple[int, Any] | None:
    """Returns over how many dimensions a contender is tuned, and how many points it has; None if nothing is tuned."""
    tuned = sum(isinstance(span, Range) for span in contender.space.values())
    if not tuned:
        return None
    dimensions = tuned + sum(len(options) > 1 for options in contender.static.values())
    return dimensions, len(contender.points) if contender.undrawn == 0 else contender.undrawn


def shown(value: Any) -> str:
    """Returns a value for a message."""
    text = "none" if value is None or value == "" else value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."


def told(differences: Sequence[Difference], one: str, other: str, *, of: str = "") -> Iterator[str]:
    """Yields each difference in words.

    Args:
        differences: what differs.
        one: the name of the one run.
        other: of the other.
        of: whose it is: ``"problem 'mine': "``.
    """
    for key, first, second in differences:
        yield f"{of}{key} is {shown(first)} in {one}, {shown(second)} in {other}"
