"""Whether contenders fit the problems of an experiment: choices, metrics, players."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dlkit.bench.errors import UserError, nearest
from dlkit.bench.plan.planned import PlannedContender, PlannedProblem
from dlkit.bench.plan.space import Range
from dlkit.bench.problems import Problem, check_problem
from dlkit.bench.spec.bound_plan import Method, ProblemSource
from dlkit.bench.training.transformation import require_fitting

__all__ = ["misfits", "misplayed", "only_where_it_fits", "without_a_place"]


def without_a_place(problems: Sequence[PlannedProblem], contenders: Sequence[PlannedContender]) -> list[str]:
    """Returns problems that contenders name and nobody has, and problems that nobody runs on, one mistake each."""
    names = [facts.name for facts in problems]
    mistakes = [
        f"optimizer '{contender.label}', problems: no problem '{name}'; {nearest(name, names)}"
        for contender in contenders
        for name in contender.problems
        if name not in names
    ]
    return mistakes or [
        f"problem '{name}': no optimizer runs on it; leave it out, or add it to the problems of one of them"
        for name in names
        if not any(contender.runs_on(name) for contender in contenders)
    ]


def only_where_it_fits(mistakes: Mapping[str, Sequence[str]]) -> list[str]:
    """Returns a contender's mistakes; where it fits some of its problems, with how to keep it to those.

    Args:
        mistakes: problem -> what is wrong with the contender there.
    """
    fitting = [name for name, each in mistakes.items() if not each]
    hint = f" (to run it where it fits alone: problems = {fitting})" if fitting else ""
    return [f"{mistake}{hint}" for each in mistakes.values() for mistake in each]


def misfits(
    problems: Sequence[tuple[PlannedProblem, ProblemSource]], contenders: Sequence[PlannedContender]
) -> list[str]:
    """Returns what contenders ask of problems that the problems cannot give, one mistake each."""
    mistakes = [line for facts, _ in problems for line in _idle_orders(facts, contenders)]
    for contender in contenders:
        own = {
            facts.name: _misfits(facts, source, contender)
            for facts, source in problems
            if contender.runs_on(facts.name)
        }
        mistakes += only_where_it_fits(own)
    return mistakes


def _misfits(facts: PlannedProblem, source: ProblemSource, contender: PlannedContender) -> list[str]:
    """What a contender asks of one problem that it cannot give."""
    mistakes, stopping = [], contender.stopping
    if stopping and stopping.metric and stopping.metric not in facts.metrics:
        mistakes.append(
            f"optimizer '{contender.label}', early_stopping: problem '{facts.name}' has no metric "
            f"'{stopping.metric}'; {nearest(stopping.metric, facts.metrics)}"
        )
    try:
        base = source.with_batches_of(contender)
        for choices in _each_choice(contender):
            _require_comparable(facts, base.with_choices(choices).load(), choices)
    except UserError as error:
        mistakes.append(f"optimizer '{contender.label}': {error}")
    return mistakes


def _idle_orders(facts: PlannedProblem, contenders: Sequence[PlannedContender]) -> list[str]:
    """What is wrong with contenders that set an order, but no batches to put in order: one line for all of them."""
    sizes = {
        each.label: each.batch_size or facts.batch_size or "full"
        for each in contenders
        if each.order and each.runs_on(facts.name)
    }
    idle = [label for label, size in sizes.items() if size == "full"]
    if not idle:
        return []
    more = f" and {len(idle) - 1} more" if len(idle) > 1 else ""
    return [
        f"optimizer '{idle[0]}'{more}: an order changes nothing on problem '{facts.name}' where steps use all training "
        "examples; leave the order out, or give a batch_size"
    ]


def _each_choice(contender: PlannedContender) -> Iterator[dict[str, Any]]:
    """Choices that show what may be wrong with a contender's: every value tuned over, the bounds of every range."""
    yield {**contender.choices}
    for name in contender.tuned_choices:
        span = contender.space.get(name)
        bounds = [span.low, span.high] if isinstance(span, Range) else [span]
        for value in contender.static.get(name, bounds):
            yield {**contender.choices, name: value}


def _require_comparable(facts: PlannedProblem, problem: Problem, choices: Mapping[str, Any]) -> None:
    """Refuses choices under which a problem asks another question; traces what is one's own."""
    if problem.dataset.digest != facts.data or problem.metrics != facts.metrics:
        what = "metrics" if problem.dataset.digest == facts.data else "data"
        raise UserError(
            f"problem '{facts.name}': has other {what} with {dict(choices)}, which makes another question of it; give "
            "such choices to the problem, for all contenders"
        )
    if facts.is_own and choices:
        check_problem(problem)


def misplayed(sources: Sequence[ProblemSource], contenders: Sequence[tuple[PlannedContender, Method]]) -> list[str]:
    """Returns what is wrong with optimizers made for players that a problem does not have."""
    mistakes = []
    for facts, method in contenders:
        if method.optimizer.players:
            own = {each.name: _misplayed(each, method) for each in sources if facts.runs_on(each.name)}
            mistakes += only_where_it_fits(own)
    return mistakes


def _misplayed(source: ProblemSource, method: Method) -> list[str]:
    try:
        require_fitting(source.load(), method.optimizer)
    except UserError as error:
        return [str(error)]
    return []
