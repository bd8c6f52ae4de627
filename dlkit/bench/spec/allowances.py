"""How many steps each contender gets on each problem, so that all spend the same."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from dlkit.bench.errors import UserError
from dlkit.bench.optimizers import Optimizer
from dlkit.bench.plan.axes import Allowance, Axis
from dlkit.bench.plan.planned import PlannedContender, PlannedProblem
from dlkit.bench.plan.policies import CONSTANT_SCHEDULE
from dlkit.bench.plan.spending import rows_of
from dlkit.bench.plan.trials import Evaluations
from dlkit.bench.problems import Problem
from dlkit.bench.spec.bound_plan import BoundPlan

__all__ = ["gradients_per_step", "whole_steps", "with_allowances", "with_step_seconds"]


def with_allowances(bound: BoundPlan, axis: Axis) -> BoundPlan:
    """Returns a plan with what trials may spend, and the steps that spend it.

    Seconds are measured before training: see `with_step_seconds`.

    Args:
        bound: the plan as for equal steps.
        axis: what budgets are counted in.

    Returns:
        The plan.

    Raises:
        UserError: for a budget that is not enough for a step before each evaluation; and where a budget of gradients or
            examples ends a trial early of which the end must be known beforehand.
    """
    if axis == "steps":
        return bound
    problems, mistakes = [], list[str]()
    for facts in bound.plan.problems:
        loaded = bound.problems[facts.name].load()
        counted = replace(facts, axis=axis)
        if axis != "seconds":
            rows = rows_of(facts, PlannedContender("", "", False, {}, [])) if axis == "examples" else 1
            counted = replace(counted, amount=float(facts.steps * _moves(loaded) * rows))
        if axis != "seconds":
            counted = _allowed(bound, counted, partial(_allowance, bound, counted, loaded), mistakes)
        problems.append(counted)
    return _planned(bound, problems, mistakes)


def _allowed(
    bound: BoundPlan, facts: PlannedProblem, allowance: Callable[[PlannedContender], Allowance], mistakes: list[str]
) -> PlannedProblem:
    """A problem with every contender's allowance; notes the mistakes of those that have none."""
    allowances = {}
    for contender in bound.plan.contenders_on(facts):
        try:
            allowances[contender.label] = allowance(contender)
        except UserError as error:
            mistakes.append(str(error))
    return replace(facts, allowances=allowances)


def _planned(bound: BoundPlan, problems: Sequence[PlannedProblem], mistakes: Sequence[str]) -> BoundPlan:
    if mistakes:
        raise UserError("\n".join(mistakes))
    return replace(bound, plan=replace(bound.plan, problems=list(problems)))


def _allowance(bound: BoundPlan, facts: PlannedProblem, problem: Problem, contender: PlannedContender) -> Allowance:
    """How far a contender may train with a budget of gradients, or of examples."""
    optimizer = bound.methods[contender.label].optimizer
    where = f"problem '{facts.name}', optimizer '{contender.label}'"
    gradients = facts.budget / (rows_of(facts, contender) if facts.axis == "examples" else 1)
    cost = gradients_per_step(problem, optimizer)
    steps = whole_steps(where, facts, gradients / (cost or _moves(problem)), bound.plan.evaluations)
    if cost is not None:
        return Allowance(steps)
    ends_early = f"{where}: what its steps cost varies, so that a budget of {facts.axis} may end its trials early"
    if contender.schedule != CONSTANT_SCHEDULE:
        raise UserError(f"{ends_early}, before its schedule does; leave out the schedule, or choose another axis")
    if contender.stopping is not None:
        raise UserError(
            f"{ends_early}, before the parameters that early stopping keeps are known; leave out its early stopping, "
            "or choose another axis"
        )
    return Allowance(steps, gradients=gradients)


def with_step_seconds(bound: BoundPlan, seconds: Mapping[str, Mapping[str, float]]) -> BoundPlan:
    """Returns a plan whose budgets are seconds, with the steps that spend what those of its first contender take.

    Args:
        bound: the plan as `with_allowances` returned it.
        seconds: problem -> contender -> what a step takes, all measured side by side.

    Returns:
        The plan.

    Raises:
        UserError: for a budget that is not enough for a step before each evaluation.
    """
    problems, mistakes = [], list[str]()
    for facts in bound.plan.problems:
        taken = seconds[facts.name]
        counted = replace(facts, amount=facts.steps * taken[bound.plan.contenders_on(facts)[0].label])
        problems.append(_allowed(bound, counted, partial(_in_seconds, bound, counted, taken), mistakes))
    return _planned(bound, problems, mistakes)


def _in_seconds(
    bound: BoundPlan, facts: PlannedProblem, taken: Mapping[str, float], contender: PlannedContender
) -> Allowance:
    """How far a contender may train with a budget of seconds."""
    each = taken[contender.label]
    where = f"problem '{facts.name}', optimizer '{contender.label}'"
    return Allowance(whole_steps(where, facts, facts.budget / each, bound.plan.evaluations), step_seconds=each)


def whole_steps(where: str, facts: PlannedProblem, steps: float, evaluations: int) -> int:
    """Returns the steps of a trial: no more than a budget allows, and a multiple of the evaluations.

    Args:
        where: names the problem and the contender.
        facts: the problem.
        steps: that the budget allows.
        evaluations: points of the curve after step 0.

    Raises:
        UserError: if that is less than a step before each evaluation.
    """
    # a quotient of floats can fall a rounding error short of a whole number
    each = math.floor(steps / evaluations * (1 + 1e-12))
    if each < 1:
        raise UserError(
            f"{where}: {facts.budget:g} {facts.axis} are {math.floor(steps)} of its steps, fewer than the "
            f"{evaluations} evaluations of the curve; give more steps, or fewer evaluations"
        )
    return each * evaluations


def gradients_per_step(problem: Problem, optimizer: Optimizer) -> float | None:
    """Returns what a step costs, in gradients: of a game, those of all moves; None where that varies."""
    costs = [(1, optimizer.evaluations)]
    if problem.players:
        costs = [(_moves_of(problem, each.moves), optimizer.of(each.name).evaluations) for each in problem.players]
    total = 0.0
    for moves, cost in costs:
        if not isinstance(cost, Evaluations):
            return None
        total += moves * cost.in_gradients
    return total


def _moves(problem: Problem) -> int:
    """The gradients of a step whose optimizer takes one: of a game, one for each move."""
    return sum(_moves_of(problem, each.moves) for each in problem.players) if problem.players else 1


def _moves_of(problem: Problem, moves: int) -> int:
    """How often a player moves in a step that may move this often where players take turns."""
    return moves if problem.updates == "alternating" else 1
