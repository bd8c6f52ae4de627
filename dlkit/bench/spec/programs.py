"""The programs of one's own functions: traced for a plan, and again where its groups are trained."""

import itertools
import uuid
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from dlkit.bench.errors import UserError
from dlkit.bench.identity.hashing import canonical, digest
from dlkit.bench.identity.programs import ProgramHash
from dlkit.bench.plan.programs import Programs
from dlkit.bench.spec.bound_plan import BoundPlan, Group
from dlkit.bench.spec.tracing import method_program, probes_program, problem_program

__all__ = ["Retraced", "forget_checked", "require_same_programs", "retraced", "with_programs"]

_CHECKED: set[str] = set()  # what this process has traced of its own functions, or of others' and found the same


class _Part(NamedTuple):
    """A part of what a group runs that is the user's own.

    Attributes:
        name: the field of `Programs`.
        owner: how messages call it.
        key: tells what contenders share apart, which is traced once; empty for what is a contender's alone, whose
            names say nothing of what it computes.
        trace: returns the hash.
    """

    name: str
    owner: str
    key: str
    trace: Callable[[], ProgramHash]


def with_programs(bound: BoundPlan) -> BoundPlan:
    """Returns a plan with what its user's own functions compute, and what that cannot tell.

    Functions that raise have a program like no other: their trials fail, and say why.

    Args:
        bound: the plan, with the steps that every contender makes.
    """
    plan = bound.plan
    known: dict[str, ProgramHash] = {}
    programs: dict[str, dict[str, dict[str, Programs]]] = {}
    problems = []
    for problem in plan.problems:
        unseen: dict[str, None] = {}
        for contender in plan.contenders_on(problem):
            own = [("problem", problem.is_own), ("method", contender.is_own), ("probes", any(plan.probes.values()))]
            names = [name for name, is_own in own if is_own]
            for static in _combinations(contender.static) if names else ():
                group = bound.group(problem, contender, static, stage="final")
                found = {}
                for part in _parts(group, names):
                    program = known[part.key] if part.key in known else _traced(part)
                    if part.key:
                        known[part.key] = program
                    _CHECKED.add(program.digest)
                    found[part.name] = program.digest
                    unseen |= dict.fromkeys(_unseen(part.owner, program))
                of_problem = programs.setdefault(problem.name, {}).setdefault(contender.label, {})
                of_problem[canonical(static)] = Programs(**found)
        problems.append(replace(problem, unseen=tuple(unseen)))
    return replace(bound, plan=replace(plan, problems=problems, programs=programs))


def require_same_programs(group: Group) -> None:
    """Traces what is the user's own of a group, and compares it with what the plan was made of.

    Args:
        group: of a plan that may have come from another process, or from a file.

    Raises:
        UserError: if it computes something else here. What raises is left to training, which tells why.
    """
    planned = group.programs
    for part in _parts(group, [name for name in ("problem", "method", "probes") if getattr(planned, name)]):
        expected = getattr(planned, part.name)
        if expected in _CHECKED:
            continue
        try:
            found = part.trace()
        except Exception:
            continue
        if found.digest != expected and not found.unhashable:
            raise UserError(
                f"{part.owner}: computes something else in this process than where the run was planned; it must not "
                "depend on unseeded random numbers, the time, the folder, the environment, or what a script has "
                "changed in a module that the other process imports anew"
            )
        _CHECKED.add(expected)


class Retraced(NamedTuple):
    """A part of the user's own that was traced once more than for the plan.

    Attributes:
        owner: how messages call it.
        name: the field of `Programs`.
        group: whose part it is.
        is_same: whether it computes the same as the first time; True where it has no identity.
        error: what it raised; None if nothing.
        trace: traces it again.
    """

    owner: str
    name: str
    group: Group
    is_same: bool
    error: Exception | None
    trace: Callable[[], ProgramHash]


def retraced(bound: BoundPlan) -> Iterator[Retraced]:
    """Traces the parts of a plan that are the user's own once more, each once, with the first of each static choice.

    Args:
        bound: a plan with its programs.

    Yields:
        What it showed, problems before what trains them.
    """
    done = set[str]()
    plan = bound.plan
    for problem in plan.problems:
        for place, contender in enumerate(plan.contenders_on(problem)):
            names = [name for name, is_own in (("problem", problem.is_own), ("method", contender.is_own)) if is_own]
            names += ["probes"] if any(plan.probes.values()) and place == 0 else []
            static = next(_combinations(contender.static))
            group = bound.group(problem, contender, static, stage="final")
            for part in _parts(group, names):
                if part.key and part.key in done:
                    continue
                done.add(part.key)
                planned = getattr(group.programs, part.name)
                try:
                    found = part.trace()
                except Exception as error:
                    yield Retraced(part.owner, part.name, group, True, error, part.trace)
                    continue
                is_same = found.digest == planned or bool(found.unhashable)
                yield Retraced(part.owner, part.name, group, is_same, None, part.trace)


def forget_checked() -> None:
    """Has everything traced again before it is trained in this process."""
    _CHECKED.clear()


def _parts(group: Group, names: Sequence[str]) -> Iterator[_Part]:
    """Those parts of a group that are the user's own."""
    problem, recipe = group.problem, group.recipe
    optimizer = f"optimizer '{recipe.optimizer.name}'"
    variant = problem.load if recipe.choices else None

    def of_problem() -> ProgramHash:
        return problem_program(problem.load(), recipe.choices, variant)

    def of_method() -> ProgramHash:
        return method_program(problem.load(), recipe, variant)

    def of_probes() -> ProgramHash:
        return probes_program(problem.load(), recipe, variant)

    every = {
        "problem": _Part("problem", f"problem '{problem.name}'", digest([problem.key, *recipe.choices]), of_problem),
        "method": _Part("method", optimizer, "", of_method),
        "probes": _Part("probes", f"{optimizer}, its probes", "", of_probes),
    }
    yield from (every[name] for name in names)


def _traced(part: _Part) -> ProgramHash:
    """What a part computes; what raises is like nothing else, since an edit may show only in what is not traced."""
    try:
        found = part.trace()
    except Exception as error:  # its trials fail, and say why
        return ProgramHash(uuid.uuid4().hex[:16], (), (f"tracing it raised {type(error).__name__}",))
    if found.unhashable:
        warnings.warn(" ".join(_unseen(part.owner, found)), stacklevel=2)
    return found


def _unseen(owner: str, program: ProgramHash) -> Iterator[str]:
    """Sentences about what a hash does not tell."""
    if program.hidden:
        yield (
            f"{owner} calls Python while it runs ({', '.join(program.hidden)}): its identity has that code, but not "
            "what the code reads or draws."
        )
    if program.unhashable:
        yield (
            f"{owner} has no identity ({', '.join(program.unhashable)}): its trials are not used again by a later run."
        )


def _combinations(static: Mapping[str, Sequence[Any]]) -> Iterator[dict[str, Any]]:
    """Every choice of a value for each name."""
    for values in itertools.product(*static.values()):
        yield dict(zip(static, values, strict=True))
