"""The probes of an experiment: found by name, reference or as objects, and tried on its problems and contenders."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dlkit.bench import probes
from dlkit.bench.errors import UserError
from dlkit.bench.plan.planned import PlannedContender
from dlkit.bench.probes import PROBES, Probe
from dlkit.bench.spec.bound_plan import Method, ProblemSource
from dlkit.bench.spec.tracing import require_looking
from dlkit.bench.training.recipe import Recipe

__all__ = ["is_registered", "load_probes", "unlookable"]


def load_probes(given: Sequence[str | Probe], mistakes: list[str]) -> dict[str, Probe]:
    """Returns the probes of an experiment by name; notes what is none, and what is there more than once.

    Args:
        given: names, references or probes.
        mistakes: where mistakes are noted.
    """
    found: dict[str, Probe] = {}
    curves: dict[str, str] = {}
    for each in given:
        try:
            probe = probes.load(each)
        except UserError as error:
            mistakes += str(error).splitlines()
            continue
        if probe.name in found:
            mistakes.append(f"probes: '{probe.name}' is there more than once; name each once")
            continue
        if taken := [curve for curve in probe.curves if curve in curves]:
            mistakes.append(
                f"probes: '{probe.name}' and '{curves[taken[0]]}' both record '{taken[0]}'; give the curve another name"
            )
        found[probe.name] = probe
        curves |= dict.fromkeys(probe.curves, probe.name)
    return found


def is_registered(probe: Probe) -> bool:
    """Whether a probe is one of the registered ones, and not the user's own."""
    return PROBES.get(probe.name) is probe


def unlookable(
    found: Mapping[str, Probe],
    sources: Sequence[ProblemSource],
    contenders: Sequence[tuple[PlannedContender, Method]],
) -> Iterator[str]:
    """Yields what is wrong with probes and problems together; with contenders too, where they are looked at.

    Args:
        found: the probes.
        sources: the problems.
        contenders: what trains them.
    """
    for probe in found.values():
        told = set[str]()
        for source in sources:
            methods = [method for facts, method in contenders if facts.runs_on(source.name)]
            tried = methods if probe.reads_optimizer else [] if is_registered(probe) else methods[:1]
            try:
                problem = source.load()
                probes.check(probe, problem)
                for method in tried:
                    require_looking(problem, _recipe(probe, method))
            except UserError as error:
                told |= {str(error)}
        yield from sorted(told)


def _recipe(probe: Probe, method: Method) -> Recipe:
    """A recipe of one step with a probe, and the first of each static choice."""
    optimizer, schedule = method
    static: dict[str, Any] = {name: options[0] for name, options in optimizer.static.items()}
    return Recipe(optimizer=optimizer, steps=1, evaluations=1, static=static, schedule=schedule, probes=(probe,))
