"""Shards: a plan's tunings divided among several runs of it, on several machines, to be merged afterwards."""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from dlkit.bench.errors import UserError
from dlkit.bench.plan.plan import Plan
from dlkit.bench.plan.planned import PlannedProblem

__all__ = ["Shard", "Share", "share_of"]


class Shard(NamedTuple):
    """One of several equal parts of a plan's work.

    Attributes:
        number: which, from 1.
        total: of how many.
    """

    number: int
    total: int

    def __str__(self) -> str:
        return f"{self.number}/{self.total}"

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """Reads ``"1/3"``.

        Raises:
            UserError: for anything else.

        Example:
            >>> Shard.parse("1/3")
            Shard(number=1, total=3)
        """
        match = re.fullmatch(r"\s*(\d+)\s*/\s*(\d+)\s*", str(text))
        if match is None or not 1 <= int(match[1]) <= int(match[2]):
            raise UserError(f"shard must be one part of several, such as '1/3', '2/3' and '3/3', got {text!r}")
        return cls(int(match[1]), int(match[2]))


class Share(NamedTuple):
    """What of a plan is a shard's.

    Attributes:
        studies: (problem, contender) -> the studies of it, for those of which the shard has any.
        targets: names of the problems whose targets it sets.
    """

    studies: Mapping[tuple[str, str], Sequence[int]]
    targets: frozenset[str]


class _Unit(NamedTuple):
    """What stays together: one study of a contender, or all of those that set a problem's targets."""

    cells: Sequence[tuple[str, int]]  # (contender, study)
    sets_targets: bool = False


def share_of(plan: Plan, shard: Shard) -> Share:
    """Divides a plan: each problem's tunings, in the plan's order, are cut into parts of about the same size.

    A study of a contender on a problem, its tuning and its final trials, is never cut. Where baselines set a problem's
    targets, all that they do there stays together, since the targets follow from all of it.

    Args:
        plan: the whole.
        shard: which part of it.

    Returns:
        What the shard has to run. Every study is in one shard and no other.
    """
    studies: dict[tuple[str, str], list[int]] = {}
    targets = set()
    for problem in plan.problems:
        units = _units(plan, problem)
        total, before = sum(len(each.cells) for each in units), 0
        for each in units:
            middle = before + len(each.cells) / 2
            before += len(each.cells)
            if int(middle * shard.total / total) == shard.number - 1:
                for label, study in each.cells:
                    studies.setdefault((problem.name, label), []).append(study)
                if each.sets_targets:
                    targets.add(problem.name)
    return Share(studies, frozenset(targets))


def _units(plan: Plan, problem: PlannedProblem) -> list[_Unit]:
    """A problem's work, in the plan's order."""
    there = plan.contenders_on(problem)
    baselines = plan.targets.baselines or tuple(each.label for each in there[:1])
    setting = [each.label for each in there if problem.target is None and each.label in baselines]
    planned = range(plan.tuner.studies)
    together = [_Unit([(label, study) for label in setting for study in planned], True)] if setting else []
    return together + [_Unit([(each.label, study)]) for each in there if each.label not in setting for study in planned]
