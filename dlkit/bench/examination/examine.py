"""The examination of a plan: what is the user's own is computed, what is registered has tests of its own."""

import contextlib
import math
from collections.abc import Collection, Iterator, Mapping

from dlkit.bench.analysis.foresight import Foresight, foresee, gaps
from dlkit.bench.examination.costs import LONG, Cost, cost_of, steps_of, work_of
from dlkit.bench.examination.datasets import data_ticks
from dlkit.bench.examination.kept_times import timed
from dlkit.bench.examination.longest import longest_step
from dlkit.bench.examination.looks import Looker
from dlkit.bench.examination.purity import purity_ticks
from dlkit.bench.examination.starts import start_ticks
from dlkit.bench.examination.ticks import Examination, Tick
from dlkit.bench.examination.updates import update_ticks
from dlkit.bench.examination.values import value_ticks
from dlkit.bench.plan.plan import Plan
from dlkit.bench.plan.planned import PlannedContender, PlannedProblem
from dlkit.bench.plan.programs import program_of
from dlkit.bench.problems.catalog import ENTRIES
from dlkit.bench.spec.bound_plan import BoundPlan

__all__ = ["examine", "programs_in"]


def programs_in(bound: BoundPlan) -> set[tuple[str, str]]:
    """Returns what a plan's own problems and optimizers compute, as trials know it; empty where nothing is own."""
    return {program for cell in bound.plan.cells if any(program := _program(bound, *cell))}


def examine(
    bound: BoundPlan,
    *,
    trained: Collection[tuple[str, str]] = (),
    stored: int = 0,
    workers: int = 1,
    times: float = LONG,
    share: float = 1.0,
) -> Examination:
    """Looks at an experiment before its first trial.

    Args:
        bound: the plan with its functions.
        trained: the programs, as of `programs_in`, that stored trials were trained with: they are not looked at again.
        stored: how many trials need not run again.
        workers: how many share the work.
        times: seconds of training on each worker. Problems of the catalogue are timed, which takes seconds for each,
            only where the run could last that long; infinite for never.
        share: of the work that is done in this run: one of several shards.

    Returns:
        The ticks.
    """
    plan = bound.plan
    ticks: list[Tick] = []
    lookers: dict[str, Looker] = {}
    if not programs_in(bound) <= set(trained):
        ticks += purity_ticks(bound)
        impure = {tick.owner for tick in ticks if tick.right is False}
        steps = steps_of(plan)
        for problem in plan.problems:
            if problem.is_own and f"problem '{problem.name}'" not in impure:
                looker = Looker(bound.problems[problem.name].load())
                ticks += value_ticks(looker, study_steps=steps[problem.name])
                ticks += _started(looker, problem)
                ticks += data_ticks(looker.problem.dataset)
                lookers[problem.name] = looker
            for contender in plan.contenders_on(problem):
                if contender.is_own and f"optimizer '{bound.methods[contender.label].optimizer.name}'" not in impure:
                    ticks += _updates(bound, problem, contender)
    seconds = {name: looker.seconds for name, looker in lookers.items() if not math.isnan(looker.seconds)}
    foresight = foresee(plan)
    left = max(0.0, share - stored / foresight.trials) if foresight.trials > 0 else share
    if times < math.inf and _at_most(bound, seconds) * left / workers > times:
        _time_others(bound, lookers, seconds)
    memory = max((_memory(looker) for looker in lookers.values()), default=math.nan)
    usual = _usual(plan, seconds)
    weights = {each.name: each.steps * usual[each.name] for each in plan.problems if usual[each.name] > 0}
    cost = cost_of(plan, seconds, memory, workers=workers, left=left)._replace(weights=weights)
    return Examination(
        [*ticks, *_foreseen(plan, foresight, cost)],
        foresight,
        cost,
        work_of(plan, stored),
        problems=len(plan.problems),
        contenders=len(plan.contenders),
        stored=stored,
        left=left,
        rough=sum(steps_of(plan)[name] * each for name, each in usual.items()) * left / workers,
    )


def _program(bound: BoundPlan, problem: PlannedProblem, contender: PlannedContender) -> tuple[str, str]:
    static = {name: options[0] for name, options in contender.static.items()}
    found = program_of(bound.plan.programs, problem.name, contender.label, static)
    return found.problem, found.method


def _started(looker: Looker, problem: PlannedProblem) -> Iterator[Tick]:
    """Whether seeds begin at different parameters; nothing where init raises, which is told elsewhere."""
    with contextlib.suppress(Exception):
        yield from start_ticks(looker, f"problem '{problem.name}'")


def _updates(bound: BoundPlan, problem: PlannedProblem, contender: PlannedContender) -> Iterator[Tick]:
    static = {name: options[0] for name, options in contender.static.items()}
    group = bound.group(problem, contender, static)
    return update_ticks(group.problem.load(), group.recipe, label=contender.label)


def _at_most(bound: BoundPlan, seconds: dict[str, float]) -> float:
    """Seconds of training that a plan hardly exceeds, on all workers together; 0 where seconds decide."""
    steps = steps_of(bound.plan)
    longest = {
        name: seconds[name] if name in seconds else longest_step(bound.problems[name].load())
        for name in steps
        if 0 < steps[name] < math.inf
    }
    return sum(steps[name] * each for name, each in longest.items())


def _usual(plan: Plan, seconds: Mapping[str, float]) -> dict[str, float]:
    """Problem -> seconds of a step: as measured, or as the catalogue knows it with its own choices; NaN elsewhere."""
    found = {}
    for problem in plan.problems:
        entry = None if problem.is_own else ENTRIES.get(problem.made_by)
        known = math.nan if entry is None or entry.seconds is None else entry.seconds / 1000
        found[problem.name] = seconds.get(problem.name, known)
    return found


def _time_others(bound: BoundPlan, lookers: dict[str, Looker], seconds: dict[str, float]) -> None:
    """Times the problems that nothing was computed of so far."""
    for problem in bound.plan.problems:
        if problem.name in seconds:
            continue
        looker = timed(bound.problems[problem.name])
        lookers[problem.name] = looker
        seconds[problem.name] = looker.seconds


def _memory(looker: Looker) -> float:
    """Bytes of a problem's program and data."""
    data = looker.problem.dataset
    arrays = [array for part in (data.train, data.validation, data.test) for array in part.values()]
    return looker.memory + sum(array.nbytes for array in arrays)


def _foreseen(plan: Plan, foresight: Foresight, cost: Cost) -> Iterator[Tick]:
    """Whether the experiment can conclude, and what it costs; who runs where; then what splits of own data share."""
    can, costs, *_ = foresight.sentences
    yield Tick("conclusion", can, True if foresight.can_conclude else None)
    yield Tick("cost", costs.removeprefix("Cost: "))
    if cost.text:
        yield Tick("time", cost.text)
    for gap in gaps(plan):
        yield Tick("contenders", gap)
    for leak in (leak for problem in plan.problems for leak in problem.leaks):
        yield Tick("leaks", leak)
