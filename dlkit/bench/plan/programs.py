"""What the user's own functions compute, as hashes of their traced programs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from dlkit.bench.identity.hashing import canonical
from dlkit.bench.plan.trials import Stage

__all__ = ["REGISTERED", "AllPrograms", "Programs", "program_of"]


@dataclass(frozen=True)
class Programs:
    """What the user's own functions compute: hashes of traced programs, which are empty for what is registered.

    Attributes:
        problem: of initial parameters, losses with their gradients, metrics, and all else that a problem has; its data
            are part of it.
        method: of the optimizer's steps on the problem, scheduled rates included.
        probes: of what probes look at along the curves of final trials.
    """

    problem: str = ""
    method: str = ""
    probes: str = ""

    def in_stage(self, stage: Stage) -> list[str]:
        """Returns what decides the numbers of a stage's trials; empty where all of it is registered."""
        deciding = [self.problem, self.method, self.probes if stage == "final" else ""]
        return deciding if any(deciding) else []


# Problem -> contender -> `canonical` static choices -> programs; only where something is the user's own.
AllPrograms: TypeAlias = Mapping[str, Mapping[str, Mapping[str, Programs]]]

REGISTERED = Programs()  # of what is all registered
UNKNOWN = Programs("unknown", "unknown", "unknown")  # no trial's


def program_of(programs: AllPrograms, problem: str, contender: str, static: Mapping[str, Any]) -> Programs:
    """Returns what a contender's trials with these static choices compute on a problem.

    Args:
        programs: of a plan.
        problem: its name.
        contender: its label.
        static: a value for each of its static choices; no trial was made by those that are not planned.
    """
    known = programs.get(problem, {}).get(contender, {})
    return known.get(canonical(dict(static)), UNKNOWN) if known else REGISTERED
