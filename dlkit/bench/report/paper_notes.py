"""The protocol behind a paper's table, in sentences: what numbers and intervals are, what was tuned, which test."""

from collections.abc import Sequence

import dlkit
from dlkit.bench.analysis import numbers, units
from dlkit.bench.analysis.across_problems import Ranks
from dlkit.bench.analysis.answer import Answer
from dlkit.bench.analysis.foresight import gaps
from dlkit.bench.analysis.pairs import ALPHA, LEVEL
from dlkit.bench.analysis.summary import Summary
from dlkit.bench.plan.plan import Plan
from dlkit.bench.plan.planned import PlannedProblem
from dlkit.bench.plan.policies import OBJECTIVES

__all__ = ["notes"]

PERCENT = f"{numbers.NO_BREAK}%"
MARKED = "Better tuning might change the place of "  # the caveat that a mark in the cells stands for
SOURCES = {  # of tuning points, in words
    "halton": "of a scrambled Halton sequence",
    "random": "drawn at random",
    "grid": "on a grid",
    "optuna": "chosen by Optuna",
    "zoom": "half spread out, half around the best of these",
}


def notes(summary: Summary, found: Answer) -> tuple[str, ...]:
    """Returns what a reader has to know of a table's numbers.

    Args:
        summary: the run.
        found: its answer, whose caveats are among the notes.

    Returns:
        A sentence or two each: what numbers and intervals are, tuning and budget, tests, mean ranks, what limits the
        answer, the version and the spec.
    """
    ranks = summary.overview.ranks
    parts = [
        _numbers(summary),
        _tuning(summary.plan),
        _tests(summary),
        *([_mean_ranks(summary, ranks)] if ranks is not None else []),
        *gaps(summary.plan),
        *(each for each in found.caveats if not each.startswith(MARKED)),
        f"dlkit {dlkit.__version__}, spec {summary.plan.digest}.",
    ]
    return tuple(part for part in parts if part)


def _numbers(summary: Summary) -> str:
    """What the estimates and their intervals are."""
    plan, problems = summary.plan, summary.plan.problems
    results = [result for each in summary.comparisons for result in each.results if result.is_comparable]
    blocks = _spread([len(each.blocks) for each in results] or [plan.planned_blocks])
    if plan.repeats_tuning:
        worth = "the value of its one fresh seed" if plan.seeds == 1 else f"the mean over its {plan.seeds} fresh seeds"
        over = f"{blocks} studies; a study tunes anew, and counts as {worth}"
    else:
        over = f"{blocks} fresh seeds of the setting that one tuning found"
    level = f"{LEVEL * 100:.0f}{PERCENT}"
    text = f"Numbers: medians over {over}. In brackets: distribution-free {level} intervals."
    logs = [each.name for each in problems if each.judged.scale == "log"]
    text += f" Medians and means are of logarithms{_on(logs, problems)}." if logs else ""
    surfaces = [each.name for each in problems if each.judged_on == "objective"]
    if len(surfaces) == len(problems):
        return f"{text} The metric is the training objective itself."
    text += " Judged on test examples, which nothing was selected on"
    return f"{text}, but for the training objective itself{_on(surfaces, problems)}." if surfaces else f"{text}."


def _tuning(plan: Plan) -> str:
    """What each contender was tuned with, and what a trial may spend."""
    tuner = plan.tuner
    counts = [len(each.points) + (each.undrawn or 0) for each in plan.contenders]
    most = max(counts, default=0)
    if most <= 1 and tuner.seconds is None:
        tuned = "Nothing was tuned"
    else:
        points = f"up to {most}" if min(counts) < most else f"{most}"
        amount = f"{tuner.seconds:g} seconds of tuning" if tuner.seconds is not None else f"{points} tuning points"
        each = " each study" if plan.repeats_tuning else ""
        seeds = f"{plan.tuning_seeds} seed{'s' * (plan.tuning_seeds != 1)}"
        how = [SOURCES.get(tuner.name, tuner.name)]
        how += [] if tuner.objective == "final" else [OBJECTIVES[tuner.objective]]
        how += [f"with successive halving by {tuner.halving}"] if tuner.halving else []
        tuned = f"Tuning, the same for every contender:{each} {amount} {', '.join(how)} on {seeds}"
        if any(problem.judged_on == "test" for problem in plan.problems):
            tuned += ", selected on validation examples"
        if plan.expansions:
            tuned += "; spaces whose winners lay at an edge were widened"
    budgets: dict[str, list[str]] = {}
    for problem in plan.problems:
        budgets.setdefault(_budget(problem), []).append(problem.name)
    lengths = [
        text + (_on(names, plan.problems, by=" (") if len(budgets) > 1 else "") for text, names in budgets.items()
    ]
    return f"{tuned}. Budget of a trial: {', '.join(lengths)}."


def _budget(problem: PlannedProblem) -> str:
    if problem.axis == "seconds" and problem.amount is None:
        return "as many seconds as all others"
    return units.amount(problem.axis, problem.budget)


def _tests(summary: Summary) -> str:
    """Which tests told contenders apart."""
    plan = summary.plan
    pairs = [
        standing.to_best
        for each in summary.comparisons
        for standing in each.ranking.standings.values()
        if standing.to_best is not None
    ]
    if not pairs:
        return ""
    unit, alpha = "study" if plan.repeats_tuning else "seed", f"{ALPHA * 100:.0f}{PERCENT}"
    if plan.most_blocks is not None:
        text = (
            f"Compared {unit} by {unit} by tests that hold at any time (e-values, level {alpha}), since "
            f"{plan.unit} were added until it was settled, up to {plan.most_blocks}; intervals here only describe"
        )
    else:
        text = (
            f"Compared {unit} by {unit} at {alpha}: a leader beside whom nobody is marked beats each of the others by "
            "the exact signed-rank test; else worse takes p-values adjusted over all pairs (step-down max-T over sign "
            "flips)"
        )
    if any(pair.new_examples for pair in pairs):
        text += "; where test examples are the same throughout, on new examples too (crossed analysis of variance)"
    return f"{text}."


def _mean_ranks(summary: Summary, ranks: Ranks) -> str:
    found = summary.overview
    test = "Skillings and Mack's" if found.has_gaps else "Friedman's"
    ends = [numbers.number(each) for each in ranks.nearest_and_farthest]
    distance = ends[0] if ends[0] == ends[1] else f"{ends[0]} to {ends[1]}"
    expected = ", as expected had all run on all," if found.has_gaps else ""
    return (
        f"Mean ranks over {ranks.problems} problems{expected} are marked alike, by Nemenyi's distance ({distance}) to "
        f"the lowest; their intervals come from drawing problems and {summary.plan.unit} again; {test} test that all "
        f"rank alike: p {_compared(ranks.p_value)}."
    )


def _compared(value: float) -> str:
    text = numbers.p_value(value)
    return text if text.startswith("<") else f"= {text}"


def _on(names: Sequence[str], problems: Sequence[PlannedProblem], *, by: str = " on ") -> str:
    """Where something holds, if not everywhere."""
    if len(names) == len(problems):
        return ""
    return f"{by}{numbers.listed(names)}{')' * (by == ' (')}"


def _spread(counts: Sequence[int]) -> str:
    """Counts in words."""
    fewest, most = min(counts), max(counts)
    return f"{most}" if fewest == most else f"{fewest} to {most}"
