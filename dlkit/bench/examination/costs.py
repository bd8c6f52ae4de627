"""How long a run takes and how much memory, from the measured seconds of a step."""

import math
from collections.abc import Mapping
from typing import NamedTuple

from dlkit.bench.analysis import units
from dlkit.bench.analysis.foresight import spent_by
from dlkit.bench.plan.plan import Plan

__all__ = ["HOUR", "LONG", "Cost", "cost_of", "duration", "steps_of", "work_of"]

LITTLE = 1e8  # bytes that nobody has to be told of
HOUR = 3600.0  # what takes longer wants to be asked for
LONG = 600.0  # seconds: a run that could last so long is worth seconds of timing, where one asks for its cost


class Cost(NamedTuple):
    """What a run takes.

    Attributes:
        seconds: of training that is left, on all workers together; NaN where no step was measured.
        dearest: the problem that takes most of it; empty where none was measured.
        share: of the dearest problem.
        memory: bytes that one worker's data and program take; NaN where it was not measured.
        workers: how many share the work.
        weights: problem -> seconds of one of its trials, as measured or as the catalogue knows them; some may lack.
    """

    seconds: float = math.nan
    dearest: str = ""
    share: float = math.nan
    memory: float = math.nan
    workers: int = 1
    weights: Mapping[str, float] = {}

    @property
    def text(self) -> str:
        """The same in words; empty where nothing was measured."""
        if math.isnan(self.seconds):
            return ""
        memory = "" if not self.memory > LITTLE else f"; about {units.byte_count(self.memory)} of memory in each"
        share = f", {self.share:.0%} of it for problem '{self.dearest}'" if self.share < 1 else ""
        workers = f"{self.workers} worker{'s' * (self.workers != 1)}"
        return f"about {duration(self.seconds)} of training on {workers}{share}{memory}"


def duration(seconds: float) -> str:
    """Returns a time as it is said: in seconds, minutes, hours or days.

    Example:
        >>> duration(5.2), duration(400), duration(9000), duration(400000)
        ('6 s', '7 min', '2.5 h', '4.6 days')
    """
    if seconds < 100:
        return f"{math.ceil(seconds)} s"
    if seconds < HOUR:
        return f"{math.ceil(seconds / 60)} min"
    return f"{seconds / HOUR:.1f} h" if seconds < 48 * HOUR else f"{seconds / HOUR / 24:.1f} days"


def steps_of(plan: Plan) -> dict[str, float]:
    """Returns how many training steps each problem of a plan takes in all; NaN where seconds decide."""
    return {
        problem.name: sum(spent_by(plan, problem, contender)[1] for contender in plan.contenders_on(problem))
        for problem in plan.problems
    }


def work_of(plan: Plan, stored: int) -> tuple[str, ...]:
    """Returns what a plan runs: a line for each contender on each problem, and how much is stored already."""
    lines = []
    for problem, contender in plan.cells:
        trials, _ = spent_by(plan, problem, contender)
        count = "as many trials as there is time for" if math.isnan(trials) else f"{trials:,.0f} trials"
        length = units.amount(problem.axis, problem.budget)
        lines.append(f"{problem.name} / {contender.label}: {count} of up to {length}")
    return (*lines, f"{stored:,} trial{'s are' if stored != 1 else ' is'} stored already")


def cost_of(plan: Plan, step_seconds: Mapping[str, float], memory: float, *, workers: int, left: float = 1.0) -> Cost:
    """Returns what a run takes.

    Args:
        plan: which.
        step_seconds: problem -> measured seconds of a step; what was not measured counts nothing.
        memory: bytes of the largest program with its data; NaN where none was measured.
        workers: how many share the work.
        left: the share of the trials that have not run.
    """
    steps = steps_of(plan)
    each = {name: steps[name] * seconds for name, seconds in step_seconds.items() if math.isfinite(steps[name])}
    total = sum(each.values())
    if not each or total <= 0:
        return Cost(memory=memory, workers=workers)
    dearest = max(each, key=lambda name: each[name])
    return Cost(left * total / workers, dearest, each[dearest] / total, memory, workers)
