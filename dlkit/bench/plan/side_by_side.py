"""Contenders of several plans in one: those of several runs, on the problems that all of the runs have."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from dlkit.bench.errors import UserError, nearest
from dlkit.bench.identity.hashing import canonical
from dlkit.bench.plan.joining import content_differences
from dlkit.bench.plan.json import to_data
from dlkit.bench.plan.plan import Plan
from dlkit.bench.plan.planned import PlannedContender, PlannedProblem
from dlkit.bench.plan.protocol import (
    SETTINGS,
    STUDIES,
    Difference,
    Part,
    points_of_dimensions,
    problem_differences,
    problem_program_differences,
    setting_differences,
    shown,
    told,
)

__all__ = ["SideBySide", "side_by_side"]


class SideBySide(NamedTuple):
    """Several plans as one.

    Attributes:
        plan: with all their contenders, on the problems that they share.
        labels: of each plan, label there -> label here, for the contenders that are here.
        notes: what is left out, renamed or taken for one, a sentence each.
    """

    plan: Plan
    labels: Sequence[Mapping[str, str]]
    notes: Sequence[str]


@dataclass
class _Found:
    """A contender, and which runs have it.

    Attributes:
        contender: as the first run has it, with the planned studies alone.
        part: the first run.
        key: what it is, as text.
        places: (index of the run, label there).
        label: here.
    """

    contender: PlannedContender
    part: Part
    key: str
    places: list[tuple[int, str]]
    label: str


def side_by_side(parts: Sequence[Part], problems: Sequence[str] | None = None) -> SideBySide:
    """Returns one plan of the contenders of several runs.

    Studies or seeds that were added until it was settled are left out: what remains was fixed before anything ran, and
    the same for all.

    Args:
        parts: the runs; the first one's first contender is the baseline.
        problems: which of the problems that they share; None for all.

    Returns:
        The plan, how contenders are called in it, and what there is to say.

    Raises:
        UserError: for runs that do not compare, with everything in which they differ, and what to do.
    """
    shared = _shared(parts, problems)
    mistakes = [line for other in parts[1:] for line in _different(parts[0], other, shared)]
    mistakes += _unequal_points(parts, shared)
    if mistakes:
        raise UserError("\n".join(["these runs do not compare:", *dict.fromkeys(mistakes)]))
    found = _contenders(parts, shared)
    notes = [*_left_out(parts, shared, problems), *_names(found, parts), *_doubts(parts, shared)]
    labels: list[dict[str, str]] = [{} for _ in parts]
    for each in found:
        for place, label in each.places:
            labels[place][label] = each.label
    if any(part.plan.added_studies or part.plan.added_seeds for part in parts):
        unit = parts[0].plan.unit
        notes.append(
            f"{unit.capitalize()} that were added until a run was settled are left out: each contender is compared on "
            f"the {parts[0].plan.planned_blocks} that were planned."
        )
    return SideBySide(_plan(parts, shared, found, labels), labels, notes)


def _shared(parts: Sequence[Part], asked: Sequence[str] | None) -> list[str]:
    """The problems that all runs have, in the first one's order."""
    names = [[problem.name for problem in part.plan.problems] for part in parts]
    shared = [name for name in names[0] if all(name in others for others in names)]
    if not shared:
        lists = "; ".join(f"{part.name} has {', '.join(has)}" for part, has in zip(parts, names, strict=True))
        raise UserError(f"these runs share no problem, so there is nothing to compare: {lists}")
    for name in asked or ():
        if name not in shared:
            raise UserError(f"problem '{name}': not all of these runs have it; {nearest(name, shared)}")
    return [name for name in shared if asked is None or name in asked]


# --- what differs ---


def _different(one: Part, other: Part, shared: Sequence[str]) -> Iterator[str]:
    """What keeps two runs from being compared, with what to do."""
    needs_targets = any(problem.target is None for part in (one, other) for problem in _of(part, shared))
    for found in setting_differences(one.plan, other.plan, {**SETTINGS, **STUDIES}):
        if found.key == "targets" and not needs_targets:
            continue
        (line,) = told([found], one.name, other.name)
        yield f"{line}; {_remedy(found, one, other)}"
    for mine, theirs in zip(_of(one, shared), _of(other, shared), strict=True):
        differing = problem_differences(mine, theirs)
        differing += problem_program_differences(one.plan, other.plan, mine.name)[0]
        for found in differing:
            (line,) = told([found], one.name, other.name, of=f"problem '{mine.name}': ")
            yield f"{line}; {_remedy_of_problem(found.key, mine.name, one, other)}"


def _remedy(found: Difference, one: Part, other: Part) -> str:
    if found.key in ("budget.studies", "budget.seeds", "budget.tuning_seeds") and found.one and found.other:
        more, fewer = (one, other) if found.one > found.other else (other, one)
        most = max(found.one, found.other)
        return f"run {fewer.name} again in its folder with --set {found.key}={most}, as {more.name} was: it goes on"
    value = canonical(found.one)
    if found.key.startswith("budget.") and found.one is not None and not isinstance(found.one, dict):
        return f"run {other.name} again with --set {found.key}={value}"
    return f"give both runs the same {found.key}"


def _remedy_of_problem(key: str, problem: str, one: Part, other: Part) -> str:
    if key == "data digest":
        return "they were trained on other data: run one of them again with the other's data files or packages"
    if key == "code digest":
        return f"its code has changed in between: run the spec of {one.name} again with the code of now"
    if key in ("steps", "amount of the budget"):
        return f"run {other.name} again with the same steps"
    return f"run {other.name} again with the same, or leave the problem out: --problem NAME for each of the others"


def _unequal_points(parts: Sequence[Part], shared: Sequence[str]) -> list[str]:
    """Budgets of tuning: points are the same for all, or the same for each dimension, or a grid's."""
    if parts[0].plan.tuner.name == "grid":
        return []
    counts: dict[int, dict[Any, str]] = {}
    for part in parts:
        for each in part.plan.contenders:
            known = points_of_dimensions(each) if any(map(each.runs_on, shared)) else None
            if known is not None and not (part.plan.tuner.seconds and not part.plan.tuner.is_adaptive):
                counts.setdefault(known[0], {}).setdefault(known[1], f"{each.label} of {part.name}")
    for dimensions, of_counts in counts.items():
        if len(of_counts) > 1:
            (first, who), (second, other), *_ = of_counts.items()
            what = f"{dimensions} hyperparameter{'s' * (dimensions > 1)}"
            return [
                f"budget.tuning_points: {who} is tuned with {first} points over {what}, {other} with {second}; run one "
                "of them again with as many as the other"
            ]
    single = {dimensions: next(iter(of_counts)) for dimensions, of_counts in counts.items()}
    if len(set(single.values())) > 1 and len({count / dimensions for dimensions, count in single.items()}) > 1:
        each_has = ", ".join(f"{count} over {dimensions}" for dimensions, count in sorted(single.items()))
        return [
            f"budget.tuning_points: neither all contenders nor all hyperparameters have as many points ({each_has}); "
            "run one of them again with the tuning points of the other"
        ]
    return []


# --- who is compared ---


def _of(part: Part, shared: Sequence[str]) -> list[PlannedProblem]:
    by_name = {problem.name: problem for problem in part.plan.problems}
    return [by_name[name] for name in shared]


def _contenders(parts: Sequence[Part], shared: Sequence[str]) -> list[_Found]:
    """Every contender once, in the order of the runs."""
    found: dict[str, _Found] = {}
    for place, part in enumerate(parts):
        for contender in part.plan.contenders:
            if not any(map(contender.runs_on, shared)):
                continue
            planned = _as_planned(part.plan, contender)
            key = _key(part.plan, planned, shared)
            known = found.setdefault(key, _Found(planned, part, key, [], contender.label))
            known.places.append((place, contender.label))
    return list(found.values())


def _as_planned(plan: Plan, contender: PlannedContender) -> PlannedContender:
    """A contender without the points of studies that were added."""
    return replace(contender, further=tuple(contender.further[: plan.tuner.studies - 1]))


def _key(plan: Plan, contender: PlannedContender, shared: Sequence[str]) -> str:
    """What a contender is: everything but its label, and the problems it was run on."""
    bare = replace(contender, label="", problems=(), levels={})
    programs = {
        name: {static: each.method for static, each in plan.programs.get(name, {}).get(contender.label, {}).items()}
        for name in shared
    }
    allowed = {problem.name: to_data(problem.allowance(contender.label)) for problem in _of(Part("", plan), shared)}
    return canonical([to_data(bare), programs if contender.is_own else {}, allowed])


def _names(found: Sequence[_Found], parts: Sequence[Part]) -> Iterator[str]:
    """Gives contenders of one label, and of other content, labels that tell them apart; says so."""
    taken = {each.label for each in found}
    for label in dict.fromkeys(each.label for each in found):
        alike = [each for each in found if each.label == label]
        if len(alike) < 2:
            continue
        for each in alike:
            each.label = _free(f"{label} ({each.part.name})", taken)
            taken.add(each.label)
        first, *others = alike
        for each in others:
            yield (
                f"{label} is not the same in {first.part.name} and {each.part.name}: {_what_differs(first, each)}; "
                f"they are shown as {first.label} and {each.label}."
            )
    for each in found:
        if also := [(parts[place].name, name) for place, name in each.places[1:]]:
            names = ", ".join(f"{run} ({name})" if name != each.places[0][1] else run for run, name in also)
            yield f"{each.label} of {each.part.name} is the same contender in {names}: it is shown once."


def _free(label: str, taken: set[str]) -> str:
    number = 2
    free = label
    while free in taken:
        free, number = f"{label} {number}", number + 1
    return free


def _what_differs(one: _Found, other: _Found) -> str:
    found = content_differences(one.contender, other.contender)
    if found:
        shown_ones = [f"{key} is {shown(first)} and {shown(second)}" for key, first, second in found[:2]]
        return "; ".join(shown_ones) + (f"; and {len(found) - 2} more" if len(found) > 2 else "")
    if canonical(to_data(one.contender.points)) != canonical(to_data(other.contender.points)):
        return "other tuning points were drawn"
    return "its code, or how far it may train"


def _left_out(parts: Sequence[Part], shared: Sequence[str], asked: Sequence[str] | None) -> Iterator[str]:
    names = dict.fromkeys(problem.name for part in parts for problem in part.plan.problems)
    others = [name for name in names if name not in shared]
    if others and asked is None:
        yield f"Left out, as not all of the runs have {'it' if len(others) == 1 else 'them'}: {', '.join(others)}."
    for part in parts:
        for each in part.plan.contenders:
            if not any(map(each.runs_on, shared)):
                yield f"{each.label} of {part.name} is left out: it runs on none of these problems."


def _doubts(parts: Sequence[Part], shared: Sequence[str]) -> Iterator[str]:
    for name in shared:
        for other in parts[1:]:
            if not problem_program_differences(parts[0].plan, other.plan, name)[1]:
                yield (
                    f"Whether your own problem {name} computes the same in {parts[0].name} and {other.name} cannot be "
                    "told: no two contenders use it in the same way."
                )


# --- the plan ---


def _plan(
    parts: Sequence[Part], shared: Sequence[str], found: Sequence[_Found], labels: Sequence[Mapping[str, str]]
) -> Plan:
    first = parts[0].plan
    rule = first.targets
    return replace(
        first,
        name=" and ".join(part.name for part in parts),
        problems=[_problem(name, parts, labels) for name in shared],
        contenders=[_contender(each, parts, shared) for each in found],
        expansions=_expansions(parts, shared, labels),
        targets=replace(rule, baselines=tuple(labels[0].get(label, label) for label in rule.baselines)),
        max_seeds=None,
        added_seeds={},
        max_studies=None,
        added_studies={},
        timing=False,
        programs={
            name: {
                labels[place][label]: programs
                for place in reversed(range(len(parts)))
                for label, programs in parts[place].plan.programs.get(name, {}).items()
                if label in labels[place]
            }
            for name in shared
            if any(name in part.plan.programs for part in parts)
        },
    )


def _problem(name: str, parts: Sequence[Part], labels: Sequence[Mapping[str, str]]) -> PlannedProblem:
    there = [problem for part in parts for problem in part.plan.problems if problem.name == name]
    return replace(
        there[0],
        allowances={
            own[label]: allowed
            for problem, own in zip(there, labels, strict=True)
            for label, allowed in problem.allowances.items()
            if label in own
        },
        leaks=tuple(dict.fromkeys(line for each in there for line in each.leaks)),
        unseen=tuple(dict.fromkeys(line for each in there for line in each.unseen)),
    )


def _contender(found: _Found, parts: Sequence[Part], shared: Sequence[str]) -> PlannedContender:
    by_label = [{each.label: each for each in part.plan.contenders} for part in parts]
    there = [name for name in shared if any(by_label[place][label].runs_on(name) for place, label in found.places)]
    levels = dict(found.contender.levels)
    if levels and found.label != found.contender.label:
        levels["optimizer"] = found.label  # two of one name are two levels
    problems = () if len(there) == len(shared) else tuple(there)
    return replace(found.contender, label=found.label, problems=problems, levels=levels)


def _expansions(parts: Sequence[Part], shared: Sequence[str], labels: Sequence[Mapping[str, str]]) -> Any:
    """The spaces that were widened: of a contender that several runs have, by the one that widened it most."""
    chosen: dict[tuple[str, str], list[Any]] = {}
    for part, own in zip(parts, labels, strict=True):
        by_cell: dict[tuple[str, str], list[Any]] = {}
        for each in part.plan.expansions:
            if each.problem in shared and each.contender in own:
                planned = replace(
                    each, contender=own[each.contender], points=list(each.points)[: part.plan.tuner.studies]
                )
                by_cell.setdefault((each.problem, own[each.contender]), []).append(planned)
        for cell, widened in by_cell.items():
            if len(widened) > len(chosen.get(cell, ())):
                chosen[cell] = widened
    return tuple(each for widened in chosen.values() for each in widened)
