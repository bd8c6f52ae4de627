"""Several plans as one: the parts of one study, which ran in several places."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from dlkit.bench.errors import UserError
from dlkit.bench.identity.hashing import canonical
from dlkit.bench.plan.json import to_data
from dlkit.bench.plan.plan import Expansion, Plan
from dlkit.bench.plan.planned import PlannedContender, PlannedProblem
from dlkit.bench.plan.protocol import (
    SETTINGS,
    Difference,
    Part,
    problem_differences,
    problem_program_differences,
    setting_differences,
    shown,
    told,
)
from dlkit.bench.plan.space import Point, Range

__all__ = ["content_differences", "joined"]

SETTLING = {"settling.max_studies": lambda plan: plan.max_studies, "settling.max_seeds": lambda plan: plan.max_seeds}
Kept = TypeVar("Kept")


def joined(parts: Sequence[Part]) -> Plan:
    """Returns the plan that several ones are parts of.

    They may differ in which problems they have, which contenders, and which studies, as long as these are one range.
    What they share is the same in all. Problems and contenders come in the order of the runs.

    Args:
        parts: at least one, each of which is a part of the whole.

    Returns:
        The whole. Of plans that are equal, that plan.

    Raises:
        UserError: for plans that are not parts of one study, with everything that differs, a line each.
    """
    first = parts[0].plan
    if len({part.plan.digest for part in parts}) == 1:
        return first
    mistakes = [line for other in parts[1:] for line in _different(parts[0], other)]
    start, count, gaps = _range(parts)
    mistakes += gaps
    problems = _united((problem.name, problem) for part in parts for problem in part.plan.problems)
    labels = list(dict.fromkeys(each.label for part in parts for each in part.plan.contenders))
    contenders = [_contender(label, parts, start, count, list(problems), mistakes) for label in labels]
    expansions, added = _expansions(parts, mistakes), _added(parts, mistakes)
    if mistakes:
        raise UserError("\n".join(dict.fromkeys(mistakes)))
    return replace(
        first,
        problems=[_problem(name, parts) for name in problems],
        contenders=contenders,
        tuner=replace(first.tuner, studies=count, first_study=start),
        expansions=expansions,
        added_studies=added["added_studies"],
        added_seeds=added["added_seeds"],
        timing=any(part.plan.timing for part in parts),
        programs={
            name: _united(
                (label, programs) for part in parts for label, programs in part.plan.programs.get(name, {}).items()
            )
            for name in problems
            if any(name in part.plan.programs for part in parts)
        },
    )


def _united(pairs: Iterable[tuple[str, Kept]]) -> dict[str, Kept]:
    """The first one of each name, in the order of the names."""
    found: dict[str, Kept] = {}
    for name, value in pairs:
        found.setdefault(name, value)
    return found


def _different(one: Part, other: Part) -> list[str]:
    """What two parts say differently of the whole, and of the problems and contenders that both have."""
    read: Mapping[str, Callable[[Plan], Any]] = {**SETTINGS, **SETTLING}
    lines = list(told(setting_differences(one.plan, other.plan, read), one.name, other.name))
    theirs = {problem.name: problem for problem in other.plan.problems}
    for problem in one.plan.problems:
        if problem.name in theirs:
            found = problem_differences(problem, theirs[problem.name])
            found += problem_program_differences(one.plan, other.plan, problem.name)[0]
            lines += told(found, one.name, other.name, of=f"problem '{problem.name}': ")
    by_label = {each.label: each for each in other.plan.contenders}
    for each in one.plan.contenders:
        if each.label in by_label:
            found = content_differences(each, by_label[each.label])
            found += _method_differences(one.plan, other.plan, each.label)
            lines += told(found, one.name, other.name, of=f"optimizer '{each.label}': ")
    return lines


def content_differences(one: PlannedContender, other: PlannedContender) -> list[Difference]:
    """Returns what two contenders do not share; labels, problems and drawn points do not count."""
    apart = {"label", "problems", "points", "further", "levels"}
    first, second = (
        {name: value for name, value in to_data(each).items() if name not in apart} for each in (one, other)
    )
    for facts, each in ((first, one), (second, other)):
        del facts["space"]
        facts |= {f"space.{name}": _span(span) for name, span in each.space.items()}
    names = dict.fromkeys([*first, *second])
    found = [Difference(name, first.get(name), second.get(name)) for name in names]
    return [each for each in found if canonical(each.one) != canonical(each.other)]


def _span(span: Range | float) -> Any:
    """A range as a spec has it."""
    return [span.low, span.high, span.scale] if isinstance(span, Range) else span


def _method_differences(one: Plan, other: Plan, label: str) -> list[Difference]:
    """The digests of what an optimizer of one's own computes, where two plans do not share them; at most one pair."""
    for problem in one.programs.keys() & other.programs.keys():
        first, second = (plan.programs[problem].get(label, {}) for plan in (one, other))
        for static in sorted(first.keys() & second.keys()):
            if first[static].method != second[static].method:
                return [Difference("code digest", first[static].method, second[static].method)]
    return []


def _range(parts: Sequence[Part]) -> tuple[int, int, list[str]]:
    """The first study of all, how many there are, and which are in no part."""
    ranges = sorted((part.plan.tuner.first_study, part.plan.tuner.studies, part.name) for part in parts)
    start, end, mistakes = ranges[0][0], ranges[0][0] + ranges[0][1], []
    for begins, count, name in ranges[1:]:
        if begins > end:
            mistakes.append(
                f"budget.first_study: no run has the studies {end} to {begins - 1}, and {name} begins with {begins}; "
                "merge the run that has them too"
            )
        end = max(end, begins + count)
    return start, end - start, mistakes


def _problem(name: str, parts: Sequence[Part]) -> PlannedProblem:
    """A problem with what all parts know of it."""
    there = [problem for part in parts for problem in part.plan.problems if problem.name == name]
    return replace(
        there[0],
        allowances=_united(item for each in there for item in each.allowances.items()),
        leaks=tuple(dict.fromkeys(line for each in there for line in each.leaks)),
        unseen=tuple(dict.fromkeys(line for each in there for line in each.unseen)),
    )


def _contender(
    label: str, parts: Sequence[Part], start: int, count: int, problems: Sequence[str], mistakes: list[str]
) -> PlannedContender:
    """A contender with the points of all studies."""
    points: dict[int, Sequence[Point]] = {}
    runs_on: set[str] = set()
    there = []
    for name, plan in parts:
        for each in plan.contenders:
            if each.label != label:
                continue
            there.append(each)
            runs_on |= {problem.name for problem in plan.problems if each.runs_on(problem.name)}
            others = []
            for study in range(1 + len(each.further)):
                number = plan.tuner.first_study + study
                known = points.setdefault(number, each.points_of(study))
                if canonical(to_data(list(known))) != canonical(to_data(list(each.points_of(study)))):
                    others.append(str(number))
            if others:
                mistakes.append(f"optimizer '{label}': {name} has other tuning points in study {', '.join(others)}")
    first = there[0]
    have = max((number - start + 1 for number in points), default=1)
    every = all(problem in runs_on for problem in problems)
    return replace(
        first,
        points=points.get(start, []),
        further=tuple(points.get(start + study, []) for study in range(1, max(have, count))),
        problems=() if every else tuple(problem for problem in problems if problem in runs_on),
    )


def _expansions(parts: Sequence[Part], mistakes: list[str]) -> tuple[Expansion, ...]:
    """The spaces that were widened: each contender's on a problem in one part, or alike in all."""
    known: dict[tuple[str, str], tuple[list[Expansion], Part]] = {}
    for part in parts:
        for problem, contender in part.plan.cells:
            key = (problem.name, contender.label)
            own = [each for each in part.plan.expansions if (each.problem, each.contender) == key]
            before, first = known.setdefault(key, (own, part))
            is_same = canonical(to_data(before)) == canonical(to_data(own))
            if not is_same or (own and _studies(part) != _studies(first)):
                mistakes.append(
                    f"optimizer '{contender.label}' on problem '{problem.name}': {first.name} and {part.name} widened "
                    "its space in different ways; merge runs without expand, then run the merged one with it"
                )
    return tuple(each for own, _ in known.values() for each in own)


def _studies(part: Part) -> tuple[int, int]:
    return part.plan.tuner.first_study, part.plan.tuner.studies


def _added(parts: Sequence[Part], mistakes: list[str]) -> dict[str, dict[str, dict[str, int]]]:
    """The studies or seeds that were added: those of a problem in one part, or alike in all."""
    found: dict[str, dict[str, dict[str, int]]] = {"added_studies": {}, "added_seeds": {}}
    for name, of_problems in found.items():
        seen: dict[str, tuple[Mapping[str, int], Part]] = {}
        for part in parts:
            given: Mapping[str, Mapping[str, int]] = getattr(part.plan, name)
            for problem in part.plan.problems:
                own = given.get(problem.name, {})
                before, first = seen.setdefault(problem.name, (own, part))
                if own:
                    of_problems[problem.name] = dict(own)
                if (own or before) and part is not first and (own != before or _studies(part) != _studies(first)):
                    mistakes.append(
                        f"problem '{problem.name}': {first.name} and {part.name} added {name[6:]} each by its own look "
                        f"at what it had ({shown(dict(before))}, {shown(dict(own))}); merge runs that were not run "
                        "until settled, then run the merged one so"
                    )
    return found
