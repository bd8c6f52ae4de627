"""What there is to compare, as tables in the terminal: problems, optimizers, schedules, probes."""

import re
from collections.abc import Sequence
from dataclasses import replace

from rich.text import Text

from dlkit.bench.analysis import numbers
from dlkit.bench.errors import UserError
from dlkit.bench.optimizers import FAMILIES, WRAPPERS, Optimizer
from dlkit.bench.optimizers import get as get_optimizer
from dlkit.bench.optimizers.schedules import SCHEDULES
from dlkit.bench.plan.space import Range
from dlkit.bench.plan.trials import Evaluations
from dlkit.bench.probes import PROBES
from dlkit.bench.problems import FAMILIES as FAMILIES_OF_PROBLEMS
from dlkit.bench.problems import ProblemFactory
from dlkit.bench.problems import get as get_problem
from dlkit.bench.problems import maker as find_maker
from dlkit.bench.problems.catalog import Entry
from dlkit.bench.problems.evaluation import evaluation_share
from dlkit.bench.problems.factories import REQUIRED
from dlkit.bench.report.tables import Table
from dlkit.bench.report.terminal import print_lines, terminal
from dlkit.bench.report.text_tables import paragraph, table_lines
from dlkit.bench.spec.budget import Budget

__all__ = ["print_choices", "print_optimizers", "print_probes", "print_problems", "print_schedules"]


NUMBERS = {"target", "steps", "batch", "s / 1000 steps", "evaluation"}


def _print(title: str, header: Sequence[str], rows: Sequence[Sequence[str]], *, apart: bool = True) -> None:
    """Prints a table under its title; where it is too narrow for it, each row as a list if those go `apart`."""
    console = terminal()
    lines = [Text(title, style="bold")] if title else []
    words = {*header} - NUMBERS
    lines += table_lines(Table(header, rows), width=console.width, words=words, apart=apart)
    print_lines(console, [*lines, Text()])


def print_problems() -> None:
    """Prints the catalogue of problems by family: what is judged, the default budget, what is hard, what it costs."""
    header = ("problem", "metric", "judged on", "target", "steps", "batch", "s / 1000 steps", "evaluation", "stresses")
    for family, entries in FAMILIES_OF_PROBLEMS.items():
        rows = [[name, *_problem_cells(name, entry)] for name, entry in entries.items()]
        _print(family, header, rows, apart=False)
    console = terminal()
    about = (
        "judged on: the number of test examples, or the training objective itself. s / 1000 steps: seconds of Adam on "
        "one core. evaluation: its share of a trial's cost with the default budget, by the examples that go through; "
        "a step counts three times. dlkit list problems NAME shows its choices."
    )
    print_lines(console, map(Text, paragraph(about, width=console.width)))


def _problem_cells(name: str, entry: Entry) -> list[str]:
    """A problem's metric, judge, target, steps, batch, cost, what it stresses; what it needs where that is missing."""
    needs = f" (needs {entry.needs})" if entry.needs else ""
    cost = numbers.NOTHING if entry.seconds is None else numbers.number(entry.seconds)
    try:
        problem = get_problem(name)
    except UserError:
        return [numbers.NOTHING] * 5 + [cost, numbers.NOTHING, (entry.make.__doc__ or "").splitlines()[0] + needs]
    target = numbers.NOTHING if problem.target is None else numbers.number(problem.target)
    batch = "all" if problem.batch_size is None else str(problem.batch_size)
    judge = f"{problem.dataset.sizes[2]:,} test" if problem.dataset.holds_out else "objective"
    share = f"{100 * evaluation_share(problem, Budget().evaluations):.1f} %"
    return [problem.metric, judge, target, str(problem.steps), batch, cost, share, problem.stresses + needs]


def print_choices(name: str) -> None:
    """Prints a problem's choices with their defaults, what they mean, and which can be tuned as ranges.

    Args:
        name: in the catalogue, or ``"file.py:function"``.
    """
    maker = find_maker(name)
    if not isinstance(maker, ProblemFactory):
        raise UserError(f"problem '{name}': came ready-made, without choices")
    meanings = dict(re.findall(r"^ {8}(\w+): (.*(?:\n {12}.*)*)", maker.function.__doc__ or "", re.MULTILINE))
    rows = []
    for choice, default in maker.defaults.items():
        shown = "must be given" if default is REQUIRED else repr(default) if isinstance(default, str) else str(default)
        kind = "a range" if choice in maker.tunable else "values"
        rows.append([choice, shown, kind, " ".join(meanings.get(choice, "").split())])
    _print(name, ("choice", "default", "tuned as", "meaning"), rows)


def print_optimizers() -> None:
    """Prints the registered optimizers by family, the spaces they are tuned over, and the wrappers."""
    for family, optimizers in FAMILIES.items():
        rows = [[each.name, _tuned_over(each), each.reference] for each in optimizers]
        _print(family, ("optimizer", "tuned over", "reference"), rows)
    rows, plain = [], get_optimizer("sgd")
    for name, wrap in WRAPPERS.items():
        wrapped = wrap(plain)
        space = {key: span for key, span in wrapped.space.items() if key not in plain.space}
        what = (wrap.__doc__ or "").splitlines()[0].removeprefix("Returns the optimizer ").rstrip(".")
        rows.append([f"+{name}", _tuned_over(replace(wrapped, space=space)), what])
    _print("wrappers, as in adam+clip", ("wrapper", "adds", "what it does"), rows)


def print_schedules() -> None:
    """Prints the schedules of learning rates with their settings, which can be tuned like any hyperparameter."""
    rows = [
        [name, "\n".join(f"{key} {_range(span)}" for key, span in schedule.space.items()), schedule.reference]
        for name, schedule in SCHEDULES.items()
    ]
    _print("", ("schedule", "settings", "reference"), rows)


def print_probes() -> None:
    """Prints the diagnostics that can be computed along a trial, and what each costs at every point of the curve."""
    rows = []
    for name, probe in PROBES.items():
        counted = ((n, what) for n, what in zip(probe.cost, Evaluations._fields, strict=True) if n)
        cost = ", ".join(f"{n} {what.replace('_', ' ')}" for n, what in counted) or "none"
        rows.append([name, "\n".join(probe.curves), cost, probe.description, probe.reference])
    _print("", ("probe", "curves", "cost a point", "what it shows", "reference"), rows)


def _tuned_over(optimizer: Optimizer) -> str:
    ranges = [f"{key} {_range(span)}" for key, span in optimizer.space.items()]
    choices = [f"{key} in {list(options)}" for key, options in optimizer.static.items()]
    return "\n".join([*ranges, *choices])


def _range(span: Range | float) -> str:
    if not isinstance(span, Range):
        return f"= {span:g}"
    scale = {"linear": "uniform", "log": "log-uniform", "one_minus_log": "log-uniform in 1 - value"}[span.scale]
    return f"[{span.low:g}, {span.high:g}], {scale}"
