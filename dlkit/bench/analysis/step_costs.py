"""What contenders' steps cost in gradients and examples, and the order when all have spent the same of them.

Equal steps are not equal work: SAM takes two gradients a step, a line search as many as it needs, a full batch sees all
examples. Nor are equal gradients, where batches differ in size.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, NamedTuple

import numpy as np

from dlkit.bench.analysis import numbers, units
from dlkit.bench.analysis.along_curves import compares_early
from dlkit.bench.analysis.contender_result import ContenderResult, block_means
from dlkit.bench.analysis.findings import Evidence, Finding, these
from dlkit.bench.analysis.pairs import Pair, all_pairs, turned
from dlkit.bench.analysis.ranking import Ranked
from dlkit.bench.plan.axes import Axis
from dlkit.bench.plan.orientation import oriented
from dlkit.bench.plan.plan import Plan
from dlkit.bench.plan.planned import PlannedProblem
from dlkit.bench.plan.spending import ROUNDING, rows_of, spent
from dlkit.bench.plan.trials import Outcome
from dlkit.bench.stats import Interval

__all__ = ["PER_COST", "SAME", "StepCosts", "axis_title", "same_cost", "step_costs", "unspent"]

SAME = 0.01  # costs that differ by less than this share count as equal: those of a line search vary by chance
NEAR = 0.9  # share of a cost that trials must have spent, on average, where their curves are read for it
LEAST_SPENT = 0.95  # share of a budget from which on nothing is said of the rest
PER_COST = "difference at the same cost"  # the name of the evidence
Floats = np.ndarray[Any, Any]


class StepCosts(NamedTuple):
    """What a step of each contender costs, over its final trials; or a gradient.

    Attributes:
        unit: ``"gradients"``, or ``"examples"`` where contenders' batches differ in size.
        each: label -> how many of them a step took; NaN where nothing ran.
        per: what took them.
    """

    unit: Axis
    each: Mapping[str, float]
    per: Literal["step", "gradient"] = "step"

    @property
    def differ(self) -> bool:
        """Whether some contenders' steps, or gradients, cost more than others'."""
        known = [cost for cost in self.each.values() if math.isfinite(cost)]
        return bool(known) and max(known) > (1 + SAME) * min(known)


def step_costs(problem: PlannedProblem, results: Sequence[ContenderResult]) -> StepCosts:
    """Returns what contenders' steps cost on a problem.

    Args:
        problem: which.
        results: of its contenders.
    """
    rows = {each.label: rows_of(problem, each.contender) for each in results}
    unit: Axis = "gradients" if len(set(rows.values())) < 2 else "examples"
    times = rows if unit == "examples" else dict.fromkeys(rows, 1)
    return StepCosts(unit, {each.label: times[each.label] * each.gradients_per_step for each in results})


def axis_title(problem: PlannedProblem, results: Sequence[ContenderResult]) -> str:
    """Returns what stands at the axis of curves: what is spent, and where it costs differently much, that it does.

    Args:
        problem: what was trained.
        results: of its contenders.
    """
    costs = _beside_budget(problem, results)
    if problem.axis != f"{costs.per}s" or not costs.differ:
        return problem.axis
    known = sorted(cost for cost in costs.each.values() if math.isfinite(cost))
    least, most = (f"{cost:,.0f}" if cost >= 100 else f"{cost:.3g}" for cost in (known[0], known[-1]))
    return f"{problem.axis}, which take {least} to {most} {costs.unit}"


def _beside_budget(problem: PlannedProblem, results: Sequence[ContenderResult]) -> StepCosts:
    """What steps cost; where budgets count gradients or examples, what gradients do, as steps are no cost then."""
    if problem.axis in ("steps", "seconds"):
        return step_costs(problem, results)
    rows = {each.label: float(rows_of(problem, each.contender)) for each in results}
    return StepCosts("examples", rows, per="gradient")


def same_cost(plan: Plan, problem: PlannedProblem, compared: Sequence[Ranked]) -> Finding | None:
    """Says whose steps cost more, and the order when all have spent as much as the cheapest did.

    Args:
        plan: the plan.
        problem: what was trained.
        compared: the contenders that finished, best first.

    Returns:
        The sentences, with the order where budgets are counted in steps; None where all costs are the same.
    """
    results = [each.result for each in compared]
    costs = _beside_budget(problem, results)
    if not costs.differ:
        return None
    taken = [
        Evidence(f"{costs.unit} per {costs.per}", label, "", cost, blocks=len(results[0].blocks))
        for label, cost in costs.each.items()
    ]
    text = _whose(costs)
    if problem.axis != "steps":
        return Finding(f"{text} The budget counts {problem.axis}.", tuple(taken))
    if not all(map(_compares_early, results)):
        text += (
            f" In what order equal {costs.unit} would put them is not known: with a schedule, early stopping or a time "
            "limit, a curve before its end is not what a smaller budget gives. A budget whose axis is "
            f"{costs.unit} tells."
        )
        return Finding(text, tuple(taken))
    order, evidence = _order(plan, problem, compared, costs.unit)
    return Finding(f"{text} {order}", (*taken, *evidence))


def unspent(problem: PlannedProblem, compared: Sequence[Ranked]) -> Finding | None:
    """Says whose trials end well before a budget that is not counted in steps: the next evaluation lay beyond it.

    Args:
        problem: what was trained.
        compared: the contenders that finished, best first.

    Returns:
        The sentence; None where all spent nearly everything.
    """
    if problem.axis == "steps":
        return None
    short = {}
    for each in compared:
        ended = [outcome for study in each.result.studies for outcome in study.ended if outcome.status == "finished"]
        mean = float(np.mean([spent(problem, each.result.contender, one)[-1] for one in ended])) if ended else math.inf
        if mean < LEAST_SPENT * problem.budget:
            short[each.label] = mean
    if not short:
        return None
    amounts = ", ".join(f"{label} spent {units.amount(problem.axis, amount)}" for label, amount in short.items())
    text = (
        f"Not all could spend the whole budget of {units.amount(problem.axis, problem.budget)}: {amounts}. Trials end "
        "with an evaluation, and evaluations are equally many steps apart: with more of them less is left. Who spent "
        "less may end behind for that reason alone."
    )
    blocks = len(compared[0].result.blocks)
    return Finding(text, tuple(Evidence("spent", label, "", amount, blocks=blocks) for label, amount in short.items()))


def _whose(costs: StepCosts) -> str:
    """Who takes how much a step, in words: the dearest first."""
    groups: dict[str, list[str]] = {}
    for label, cost in sorted(costs.each.items(), key=lambda each: -each[1]):
        groups.setdefault(f"{cost:.3g}" if costs.unit == "gradients" else f"{cost:.0f}", []).append(label)
    largest = max(reversed(groups.values()), key=len)
    others = largest if len(largest) > 1 else None  # said last; everyone is named where no two cost the same
    named = [
        f"{'the others' if labels is others else ', '.join(labels)} {cost}"
        for cost, labels in sorted(groups.items(), key=lambda each: each[1] is others)
    ]
    first, *rest = named
    who, _, taken = first.rpartition(" ")
    what = costs.per.capitalize()
    return f"{what}s do not cost the same: {who} took {taken} {costs.unit} a {costs.per}, {', '.join(rest)}."


def _compares_early(result: ContenderResult) -> bool:
    """Whether its curves before their end are what a smaller budget would give, but for the tuning."""
    ended = [outcome for outcome in result.outcomes if outcome is not None]
    return result.contender.stopping is None and compares_early(result.contender, ended)


def _order(plan: Plan, problem: PlannedProblem, compared: Sequence[Ranked], unit: Axis) -> tuple[str, list[Evidence]]:
    """The order at equal cost in words, with tests of each against the first."""
    by_cost, every = replace(problem, axis=unit), [each.result for each in compared]
    amount = _amount(by_cost, every)
    spending = units.amount(unit, amount)
    results = [each for each in every if _is_near(by_cost, each, amount)]
    unknown = [each.label for each in every if all(each is not other for other in results)]
    if len(results) < 2:
        text = (
            f"In what order equal {unit} would put them is not known: no evaluation of {numbers.listed(unknown)} is "
            f"near {spending}. More evaluations tell, or a budget whose axis is {unit}."
        )
        return text, []
    values = [each.planned(block_means(plan, each.studies, _scores_within(by_cost, each, amount))) for each in results]
    pairs = all_pairs(values)
    order = sorted(range(len(results)), key=lambda place: float(np.median(values[place])))
    first, *others = order
    told, evidence = [], []
    for place in others:
        pair = pairs[min(first, place), max(first, place)]
        pair = pair if first < place else pair._replace(difference=turned(pair.difference))
        told.append(
            f"{results[place].label} ({numbers.difference(problem, pair.difference)}, "
            f"adjusted p {numbers.p_value(pair.adjusted_p)})"
        )
        evidence.append(_evidence(problem, results[place], results[first], pair))
    text = (
        f"After {spending} each (by the last evaluation within) the order{these(problem, compared)} is "
        f"{results[first].label}, {numbers.listed(told)}. All were tuned for {problem.steps} steps."
    )
    if unknown:
        text += f" Where {numbers.listed(unknown)} would be is not known: no evaluation is near."
    return text, evidence


def _amount(by_cost: PlannedProblem, results: Sequence[ContenderResult]) -> float:
    """What the cheapest spent in all; less, down to half of it, if only near that everyone was evaluated."""
    totals = [_total(by_cost, each) for each in results]
    least = min((total for total in totals if math.isfinite(total)), default=math.nan)
    shares = np.arange(100, 49, -1) / 100
    shared = (share * least for share in shares if all(_is_near(by_cost, each, share * least) for each in results))
    return float(next(shared, least))


def _total(by_cost: PlannedProblem, result: ContenderResult) -> float:
    """The least that a trial spent which trained to its end; NaN if none did."""
    ended = [outcome for each in result.studies for outcome in each.ended if outcome.status == "finished"]
    return min((float(spent(by_cost, result.contender, outcome)[-1]) for outcome in ended), default=math.nan)


def _is_near(by_cost: PlannedProblem, result: ContenderResult, amount: float) -> bool:
    """Whether a contender's trials were evaluated just before a cost, on average; who diverged by then is known."""

    def share(outcome: Outcome) -> float:
        amounts, place = _last_within(by_cost, result, outcome, amount)
        is_over = outcome.status == "diverged" and place == len(amounts) - 1
        return 1.0 if is_over else float(amounts[place]) / amount

    shares = [share(outcome) for each in result.studies for outcome in each.ended]
    return bool(shares) and float(np.mean(shares)) >= NEAR * (1 - ROUNDING)


def _scores_within(by_cost: PlannedProblem, result: ContenderResult, amount: float) -> Floats:
    """[trials] The judged metric at the last evaluation within a cost, oriented; +inf if it had diverged by then."""

    def value(outcome: Outcome) -> float:
        amounts, place = _last_within(by_cost, result, outcome, amount)
        if outcome.status == "diverged" and place == len(amounts) - 1:
            return math.nan
        return float(outcome.curves[by_cost.metric][place])

    ended = [outcome for each in result.studies for outcome in each.ended]
    return oriented(by_cost, by_cost.metric, [value(outcome) for outcome in ended])


def _last_within(
    by_cost: PlannedProblem, result: ContenderResult, outcome: Outcome, amount: float
) -> tuple[Floats, int]:
    """What a trial had spent at its evaluations, and the last of them within a cost."""
    amounts = spent(by_cost, result.contender, outcome)
    return amounts, int(np.searchsorted(amounts, amount * (1 + ROUNDING), side="right")) - 1


def _evidence(problem: PlannedProblem, other: ContenderResult, first: ContenderResult, pair: Pair) -> Evidence:
    shown = numbers.in_units(problem, Interval(*pair.difference[:3]))
    return Evidence(
        PER_COST, other.label, first.label, *shown, pair.difference.p_value, pair.adjusted_p, len(other.blocks)
    )
