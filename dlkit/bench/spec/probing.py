"""The probes of an experiment: whether they can look at its problems."""

from collections.abc import Sequence

from dlkit.bench import probes
from dlkit.bench.errors import UserError
from dlkit.bench.spec.bound_plan import ProblemSource

__all__ = ["unlookable"]


def unlookable(names: Sequence[str], sources: Sequence[ProblemSource]) -> list[str]:
    """Returns what is wrong with the probes: names that there are not, problems that they cannot look at."""
    mistakes = []
    for name in names:
        try:
            probe = probes.get(name)
            for source in sources:
                probes.check(probe, source.load())
        except UserError as error:
            mistakes.append(str(error))
    return mistakes
