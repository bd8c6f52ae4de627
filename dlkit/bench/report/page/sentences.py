"""What was compared and what each contender got, in words; and what is said of several problems, once."""

from collections.abc import Collection, Sequence
from typing import NamedTuple

from dlkit.bench.analysis import units
from dlkit.bench.analysis.comparison import Comparison
from dlkit.bench.analysis.foresight import gaps
from dlkit.bench.analysis.summary import Summary
from dlkit.bench.plan.plan import Plan
from dlkit.bench.plan.planned import PlannedProblem
from dlkit.bench.plan.policies import OBJECTIVES
from dlkit.bench.report.tables import factor_findings

__all__ = ["Shared", "about_problem", "budget", "counted", "direction", "notes", "shared_notes"]

ORDERS = {"reshuffle": "", "fixed": " in one order for all epochs", "iid": ", each drawn on its own"}


def budget(plan: Plan) -> str:
    """Returns what was compared and what each contender got, in a sentence or two."""
    budgets: dict[str, list[str]] = {}
    for problem in plan.problems:
        budgets.setdefault(_each_trial(problem), []).append(problem.name)
    lengths = ", ".join(
        budget + (f" ({', '.join(names)})" if len(budgets) > 1 else "") for budget, names in budgets.items()
    )
    most = plan.most_blocks
    more = "" if most is None else f", and more until it is settled, up to {most}"
    studies = f", in each of {plan.tuner.studies} studies{more}" if plan.repeats_tuning else ""
    return (
        f"{counted(len(plan.contenders), 'contender')} on {counted(len(plan.problems), 'problem')}. "
        f"Each contender on each problem{' where it runs' if plan.has_gaps else ''}{studies}: {_tuning(plan)}, "
        f"then the best point on {counted(plan.seeds, 'fresh paired seed')}{'' if studies else more}; {lengths}, "
        f"{counted(plan.evaluations, 'evaluation')} along the way."
        f"{''.join(f' {sentence}' for sentence in gaps(plan))}"
    )


def _tuning(plan: Plan) -> str:
    """What tuning each contender got."""
    tuner = plan.tuner
    points = [len(each.points) + (each.undrawn or 0) for each in plan.contenders]
    fewest, most = min(points, default=0), max(points, default=0)
    if tuner.seconds is not None:
        amount = f"tuning points for {tuner.seconds:g} seconds of training (how many depends on the machine)"
    else:
        is_range = 1 < fewest < most
        amount = f"{fewest} to {counted(most, 'tuning point')}" if is_range else counted(most, "tuning point")
    ways = [] if tuner.name == "halton" else [tuner.name]
    ways += [] if tuner.objective == "final" else [OBJECTIVES[tuner.objective]]
    ways += [f"successive halving by {tuner.halving}"] if tuner.halving else []
    more = f" ({', '.join(ways)})" if ways else ""
    return f"{amount}{more} on {counted(plan.tuning_seeds, 'tuning seed')}"


def _each_trial(problem: PlannedProblem) -> str:
    """What each trial may spend."""
    if problem.axis == "steps":
        return counted(problem.steps, "step")
    return "as many seconds as all others" if problem.amount is None else units.amount(problem.axis, problem.budget)


def counted(number: int, noun: str) -> str:
    """Returns a number of things.

    Example:
        >>> counted(1, "problem"), counted(3, "problem")
        ('1 problem', '3 problems')
    """
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def about_problem(problem: PlannedProblem) -> str:
    """Returns what a problem is, and what each trial on it gets."""
    drawn = f"batches of {problem.batch_size}{ORDERS[problem.order]}"
    batch = drawn if problem.batch_size else "all examples at every step"
    about = [problem.description, f"{_each_trial(problem)}, {batch}"]
    return f"{'; '.join(part for part in about if part)}."


def direction(problem: PlannedProblem) -> str:
    """Returns which values of the judged metric are better."""
    return f"{'higher' if problem.judged.higher_is_better else 'lower'} is better"


class Shared(NamedTuple):
    """A sentence that holds for several problems, and which."""

    text: str
    problems: Sequence[str]


def notes(comparison: Comparison) -> list[str]:
    """Returns what else there is to say of a problem, beside its verdict."""
    return [*factor_findings(comparison), *comparison.verdict.notes]


def shared_notes(summary: Summary, said: Collection[str]) -> list[Shared]:
    """Returns the notes that several problems have in common.

    Args:
        summary: the run.
        said: sentences that stand elsewhere already.
    """
    found: dict[str, list[str]] = {}
    for comparison in summary.comparisons:
        for note in dict.fromkeys(notes(comparison)):
            found.setdefault(note, []).append(comparison.problem.name)
    return [Shared(text, names) for text, names in found.items() if len(names) > 1 and text not in said]
