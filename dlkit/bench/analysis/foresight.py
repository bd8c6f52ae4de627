"""What a plan can tell and what it costs, before anything runs."""

import math
from typing import NamedTuple

from dlkit.bench.analysis.pairs import LEVEL, blocks_needed
from dlkit.bench.plan.plan import Plan
from dlkit.bench.plan.planned import PlannedContender, PlannedProblem

__all__ = ["Foresight", "foresee", "gaps", "spent_by"]


class Foresight(NamedTuple):
    """What a plan can tell, and what it costs.

    Attributes:
        contenders: how many there are on the problem that has the most.
        blocks: how many each has on a problem, at most: studies, or fresh seeds where there is one study.
        needed: how many it takes at least to tell two contenders apart.
        compares: ``"methods"``, or with one study the ``"settings"`` that it finds.
        trials: of the whole plan, without studies or seeds that are added; NaN where seconds decide how many.
        steps: of training that those take; NaN where that follows from step times that are not measured yet.
        sentences: the same in words: what it can tell, what it costs, who runs on some problems only, then what splits
            of own data share.
    """

    contenders: int
    blocks: int
    needed: int
    compares: str
    trials: float
    steps: float
    sentences: tuple[str, ...]

    @property
    def can_conclude(self) -> bool:
        """Whether any difference, however large, can be told from chance."""
        return self.contenders > 1 and self.blocks >= self.needed


def foresee(plan: Plan) -> Foresight:
    """Says what a plan can tell and what it costs.

    Args:
        plan: which.

    Returns:
        The foresight.
    """
    count = max(len(plan.contenders_on(problem)) for problem in plan.problems)
    blocks, most = plan.planned_blocks, plan.most_blocks
    needed = blocks_needed(max(count, 2), adds_blocks=most is not None)
    compares, unit = ("methods", "studies") if plan.repeats_tuning else ("settings", "fresh seeds")
    each = [spent_by(plan, problem, contender) for problem, contender in plan.cells]
    unset = [problem for problem in plan.problems if problem.target is None]
    trials = sum(one[0] for one in each) + len(unset) * plan.targets.reruns
    first = {problem.name: plan.contenders_on(problem)[0].label for problem in unset}
    again = [plan.targets.reruns * problem.allowance(first[problem.name]).steps for problem in unset]
    steps = sum(one[1] for one in each) + sum(again)
    if any(problem.axis == "seconds" and problem.amount is None for problem in plan.problems):
        steps = math.nan
    found = Foresight(count, max(blocks, most or 0), needed, compares, trials, steps, ())
    leaks = [leak for each in plan.problems for leak in each.leaks]
    return found._replace(
        sentences=(_can(found, blocks, unit, len(plan.contenders)), _costs(plan, found), *gaps(plan), *leaks)
    )


def gaps(plan: Plan) -> list[str]:
    """Returns, in sentences, which contenders run on some of a plan's problems only."""
    count = len(plan.problems)
    there = {each.label: [one.name for one in plan.problems if each.runs_on(one.name)] for each in plan.contenders}
    return [
        f"{label} runs on {len(names)} of {count} problems: {', '.join(names)}."
        for label, names in there.items()
        if len(names) < count
    ]


def spent_by(plan: Plan, problem: PlannedProblem, contender: PlannedContender) -> tuple[float, float]:
    """Returns how many trials a contender has on a problem, and how many steps they take; NaN where seconds decide.

    Args:
        plan: which.
        problem: of it.
        contender: of it.
    """
    points = len(contender.points) if contender.undrawn == 0 else contender.undrawn
    if points is None:
        return math.nan, math.nan
    rungs = [(size * plan.tuning_seeds, until) for size, until in plan.tuner.rungs(points, plan.evaluations)]
    rungs.append((min(plan.tuner.scored_again, points) * plan.tuning_seeds if points > 1 else 0, None))
    shares = [1.0 if until is None else until / plan.evaluations for _, until in rungs]
    trials = sum(size for size, _ in rungs) + plan.seeds
    spent = sum(size * share for (size, _), share in zip(rungs, shares, strict=True)) + plan.seeds
    return plan.tuner.studies * trials, plan.tuner.studies * spent * problem.allowance(contender.label).steps


def _can(found: Foresight, planned: int, unit: str, all_contenders: int) -> str:
    """What the plan can tell, in words."""
    if found.contenders < 2:
        who = "One contender" if all_contenders == 1 else "No problem has two contenders"
        return f"{who}: there is nothing to compare."
    what = f"{found.contenders} contenders and {planned} {unit}"
    if not found.can_conclude:
        return (
            f"{what}: no two {found.compares} can be told apart at {LEVEL:.0%}, however they differ; "
            f"{found.needed} {unit} can."
        )
    more = f", more until it is settled, up to {found.blocks}" if found.blocks > planned else ""
    if found.compares == "settings":
        return f"{what}{more}: compares the settings that one study finds, not the methods; several studies do."
    return f"{what}{more}: methods can be told apart (it takes {found.needed} studies at least)."


def _costs(plan: Plan, found: Foresight) -> str:
    """What the plan costs, in words."""
    amount = f"{len(plan.problems)} problem{'s' * (len(plan.problems) != 1)}"
    if math.isnan(found.trials):
        return f"Cost: {amount}, as many trials as {plan.tuner.seconds:g} s of tuning take in each study."
    more = [
        text
        for text in (
            "studies or seeds that are added" * (plan.most_blocks is not None),
            "spaces that are widened" * plan.expand,
        )
        if text
    ]
    least = f", without {' and '.join(more)}" if more else ""
    steps = f"{found.steps:,.0f} steps" if math.isfinite(found.steps) else "as many steps as step times allow"
    return f"Cost: {amount}, {found.trials:,.0f} trials, {steps} of training{least}."
