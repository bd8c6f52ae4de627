"""Spec -> plan: points are drawn, identities fixed, and everything is checked before anything runs."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from dlkit.bench.data.leakage import leaks
from dlkit.bench.errors import UserError, nearest, said_once
from dlkit.bench.identity.fingerprints import source_files
from dlkit.bench.identity.programs import forget_traces
from dlkit.bench.identity.references import imports_anew
from dlkit.bench.plan.plan import Plan
from dlkit.bench.plan.planned import PlannedContender, PlannedProblem
from dlkit.bench.plan.policies import Settling, TargetRule, Tuner, require_margin
from dlkit.bench.problems import Problem, ProblemFactory, check_problem
from dlkit.bench.problems.factories import ChosenValues
from dlkit.bench.spec.allowances import with_allowances
from dlkit.bench.spec.bound_plan import (
    BoundPlan,
    Method,
    OwnProblem,
    ProblemSource,
    functions_of,
    functions_of_problem,
    problem_source,
)
from dlkit.bench.spec.budget import beyond_draws
from dlkit.bench.spec.entries import Contender, Crossed, Experiment, ProblemChoice, is_own
from dlkit.bench.spec.fitting import misfits, misplayed, only_where_it_fits, without_a_place
from dlkit.bench.spec.plausible import implausible, repeated
from dlkit.bench.spec.points import drawn_points, unknown_on_the_grid
from dlkit.bench.spec.probing import is_registered, load_probes, unlookable
from dlkit.bench.spec.programs import with_programs
from dlkit.bench.training.recipe import require_schedulable
from dlkit.bench.tuning.sampling import require_tuner

__all__ = ["plan"]

Entry = TypeVar("Entry")
Made = TypeVar("Made")
_PlannedSource = tuple[PlannedProblem, ProblemSource]
_PlannedMethod = tuple[PlannedContender, Method]


@imports_anew()
def plan(experiment: Experiment) -> BoundPlan:
    """Draws the points, fixes every identity, and checks what can be checked before anything runs.

    Args:
        experiment: what was asked.

    Returns:
        The plan with the functions that carry it out.

    Raises:
        UserError: for an empty list, two of the same name, a problem whose functions do not work, choices or settings
            that do not fit; with every mistake found.
    """
    if is_own(*_things(experiment)):
        forget_traces()  # JAX keeps them by function, whatever the function reads has become since
    mistakes = _wrong_settings(experiment)
    problems = _each(experiment.problems, lambda entry: _problem(experiment, entry), mistakes)
    crossed = _attempt(experiment.contenders, mistakes) or []
    sources = [source for _, source in problems]
    contenders = _each(crossed, lambda each: _contender(experiment, each, sources), mistakes)
    mistakes += _wrong_settling(experiment, problems)
    mistakes += _without_target(experiment, [facts for facts, _ in problems])
    if len(contenders) == len(crossed):
        mistakes += _wrong_for_all(experiment, [facts for facts, _ in contenders])
        if len(problems) == len(experiment.problems):
            mistakes += _wrong_places(experiment, [facts for facts, _ in problems], [facts for facts, _ in contenders])
    mistakes += _wrong_together(experiment, problems, contenders)
    probes = load_probes(experiment.probes, mistakes)
    mistakes += unlookable(probes, sources, contenders)
    if mistakes:
        raise UserError("\n".join(said_once(mistakes)))
    own: list[Any] = [each for facts, method in contenders if facts.is_own for each in functions_of(method)]
    own += [each for facts, source in problems if facts.is_own for each in functions_of_problem(source.own)]
    own += [probe.compute for probe in probes.values()]
    looking = {name: not is_registered(probe) for name, probe in probes.items()}
    bound = BoundPlan(
        plan=_plan(experiment, [facts for facts, _ in problems], [facts for facts, _ in contenders], looking),
        problems={facts.name: source for facts, source in problems},
        methods={facts.label: method for facts, method in contenders},
        sources=source_files(*own),
        probes=probes,
    )
    return with_programs(with_allowances(bound, experiment.budget.axis))


def _things(experiment: Experiment) -> list[Any]:
    """The problems, optimizers, schedules and probes of an experiment, as they were given."""
    given: list[Any] = [*(entry.problem for entry in experiment.problems), *experiment.probes]
    given += [part for entry in experiment.optimizers for part in (entry.optimizer, entry.schedule)]
    return [*given, *experiment.factors.get("schedule", ())]


def _attempt(make: Callable[[], Made], mistakes: list[str]) -> Made | None:
    """Returns what `make` returns, or notes the mistakes it raises."""
    try:
        return make()
    except UserError as error:
        mistakes += str(error).splitlines()
        return None


def _each(entries: Sequence[Entry], make: Callable[[Entry], Made], mistakes: list[str]) -> list[Made]:
    """What `make` returns for each entry that it makes something of; notes the mistakes of the others."""
    made = [_attempt(partial(make, entry), mistakes) for entry in entries]
    return [each for each in made if each is not None]


def _plan(
    experiment: Experiment,
    problems: Sequence[PlannedProblem],
    contenders: Sequence[PlannedContender],
    probes: Mapping[str, bool],
) -> Plan:
    """The plan of an experiment whose problems and contenders are found."""
    budget, settling = experiment.budget.filled(), experiment.settling
    assert budget.tuning_seeds is not None and budget.seeds is not None
    if settling is not None:
        problems = [_with_margin(facts, settling) for facts in problems]
    return Plan(
        name=experiment.name,
        problems=list(problems),
        contenders=list(contenders),
        evaluations=budget.evaluations,
        tuning_seeds=budget.tuning_seeds,
        seeds=budget.seeds,
        tuner=Tuner(
            name=budget.tuner,
            seconds=budget.tuning_seconds,
            studies=budget.studies,
            halving=budget.halving,
            batch=budget.tuning_batch,
            grid=dict(budget.grid),
            first_study=budget.first_study,
            objective=budget.objective,
        ),
        probes=probes,
        trial_seconds=budget.trial_seconds,
        targets=experiment.targets or TargetRule(),
        max_seeds=settling.max_seeds if settling and budget.studies == 1 else None,
        max_studies=settling.max_studies if settling and budget.studies > 1 else None,
        expand=experiment.expand,
        timing=experiment.timing,
    )


def _with_margin(facts: PlannedProblem, settling: Settling) -> PlannedProblem:
    """A problem with the margin of the experiment, unless it has one of its own."""
    return facts if facts.margin is not None else replace(facts, margin=settling.margin)


def _wrong_settings(experiment: Experiment) -> list[str]:
    """What is wrong with the experiment's lists and settings alone."""
    mistakes = [
        f"{what}: the list is empty; name at least one"
        for what in ("problems", "optimizers")
        if not getattr(experiment, what)
    ]
    _attempt(lambda: require_tuner(experiment.budget.tuner), mistakes)
    return mistakes


def _wrong_settling(experiment: Experiment, problems: Sequence[_PlannedSource]) -> list[str]:
    """What is wrong with how the run is to be settled."""
    settling, mistakes = experiment.settling, list[str]()
    if settling is None:
        return mistakes
    budget = experiment.budget.filled()
    unit = "studies" if budget.studies > 1 else "seeds"
    given, most = getattr(budget, unit), getattr(settling, f"max_{unit}")
    if most < given:
        mistakes.append(f"settling.max_{unit} must be at least the {given} {unit} of the budget, got {most}")
    mistakes += beyond_draws("settling.max_studies", budget.first_study, most) if unit == "studies" else []
    for facts, _ in problems if settling.margin is not None else ():
        found: list[str] = []
        _attempt(partial(require_margin, facts.name, facts.judged, _with_margin(facts, settling).margin), found)
        mistakes += [f"settling.margin: {mistake}" for mistake in found]
    return mistakes


def _without_target(experiment: Experiment, problems: Sequence[PlannedProblem]) -> list[str]:
    """Problems whose trials cannot be tuned for steps to a target, since none is known before tuning."""
    if experiment.budget.objective != "steps":
        return []
    remedy = "give it a target, or choose objective 'area' or 'final'"
    if experiment.targets:
        remedy = "leave out targets, which baselines set once they are tuned, or choose objective 'area' or 'final'"
    return [
        f"problem '{facts.name}': objective 'steps' counts steps to a declared target, and there is none; {remedy}"
        for facts in problems
        if facts.target is None
    ]


def _wrong_for_all(experiment: Experiment, contenders: Sequence[PlannedContender]) -> list[str]:
    """What is wrong with what needs every contender: baselines of that name, another one to compare with."""
    labels = [facts.label for facts in contenders]
    mistakes = [
        f"targets.baselines: no contender '{label}'; {nearest(label, labels)}"
        for label in (experiment.targets or TargetRule()).baselines
        if label not in labels
    ]
    if experiment.settling and len(labels) == 1:
        mistakes.append(f"settling: '{labels[0]}' has no other contender to be compared with")
    return mistakes


def _wrong_places(
    experiment: Experiment, problems: Sequence[PlannedProblem], contenders: Sequence[PlannedContender]
) -> list[str]:
    """What is wrong with who runs where: names of no problem, and problems that lack whom they need."""
    if not problems or not contenders or (mistakes := without_a_place(problems, contenders)):
        return mistakes if problems and contenders else []
    there = {facts.name: [each.label for each in contenders if each.runs_on(facts.name)] for facts in problems}
    baselines = (experiment.targets or TargetRule()).baselines
    mistakes = [
        f"targets.baselines: problem '{facts.name}' has no target, and no baseline runs on it; name one that does "
        f"({', '.join(there[facts.name])}), or give the problem a target"
        for facts in problems
        if baselines and facts.target is None and not {*baselines} & {*there[facts.name]}
    ]
    if experiment.settling and len(contenders) > 1 and max(map(len, there.values())) < 2:
        mistakes.append("settling: no two contenders run on the same problem, so there is nothing to settle")
    return mistakes


def _wrong_together(
    experiment: Experiment, problems: Sequence[_PlannedSource], contenders: Sequence[_PlannedMethod]
) -> list[str]:
    """What is wrong with problems and contenders together."""
    sources, planned = [source for _, source in problems], [facts for facts, _ in contenders]
    return [
        *misfits(problems, planned),
        *(line for entry in experiment.problems for line in _set_twice(entry, planned)),
        *misplayed(sources, contenders),
        *repeated("problems", [facts.name for facts, _ in problems], "give each a label of its own"),
        *implausible(problems, contenders),
        *unknown_on_the_grid(experiment.budget, planned),
        *repeated("optimizers", [facts.label for facts in planned], "give each a label of its own"),
    ]


def _set_twice(entry: ProblemChoice, contenders: Sequence[PlannedContender]) -> list[str]:
    """Choices that a problem has set, and that contenders vary there."""
    if not entry.choices:
        return []
    with suppress(UserError):  # it is reported where the problem is
        there = [each for each in contenders if each.runs_on(entry.label or entry.maker().name)]
        varied = {name for facts in there for name in (*facts.choices, *facts.tuned_choices)}
        return [
            f"problems: '{entry.problem}' has its choice '{name}' set, and contenders vary it; leave one of them out"
            for name in entry.choices
            if name in varied
        ]
    return []


def _problem(experiment: Experiment, entry: ProblemChoice) -> _PlannedSource:
    maker = entry.maker()
    problem = entry.load(maker)
    check_problem(problem)
    goals = entry.ladder(problem)
    own_target = None if experiment.targets else problem.target
    own: OwnProblem | None = maker if is_own(entry.problem) else None
    facts = PlannedProblem(
        name=problem.name,
        metrics=dict(problem.metrics),
        metric=problem.metric,
        target=goals[-1] if goals else own_target,
        steps=_steps(experiment, entry, problem),
        batch_size=problem.batch_size,
        order=problem.order,
        data=problem.dataset.digest,
        data_source=problem.dataset.source,
        examples=problem.dataset.sizes,
        judged_on="test" if problem.dataset.holds_out else "objective",
        redraws_split=problem.dataset.redraw is not None,
        leaks=leaks(problem.dataset) if own or problem.dataset.card else (),
        is_own=own is not None,
        description=problem.description,
        diverged_above=problem.diverged_above,
        ladder=goals[:-1],
        made_by=maker.name if isinstance(maker, ProblemFactory) else "",
        choices=maker.all_choices(entry.choices) if isinstance(maker, ProblemFactory) else {},
        margin=entry.margin,
        card=problem.dataset.card,
    )
    return facts, problem_source(facts, entry.batch_size, entry.metric, own, problem.devices)


def _steps(experiment: Experiment, entry: ProblemChoice, problem: Problem) -> int:
    """The entry's steps, else the budget's, else the problem's."""
    budget = experiment.budget if entry.steps is None else replace(experiment.budget, steps=None)
    return budget.steps_for(f"problem '{problem.name}'", problem.steps)


def _contender(experiment: Experiment, crossed: Crossed, problems: Sequence[ProblemSource]) -> _PlannedMethod:
    entry = crossed.entry
    method = Method(entry.load(), entry.load_schedule())
    optimizer, schedule = method
    require_schedulable(optimizer, schedule)
    chosen = _chosen(entry, problems)
    tuned_choices = (*chosen.space, *chosen.static)
    if both := {*tuned_choices} & {*optimizer.space, *optimizer.static, *schedule.space}:
        raise UserError(f"optimizer '{entry.name}': {sorted(both)} are also choices of the problem; fix one of them")
    space = {**optimizer.space, **schedule.space, **chosen.space}
    static = {**optimizer.static, **chosen.static}
    drawn, undrawn = drawn_points(entry, space, static, experiment.budget.filled())
    contender = PlannedContender(
        label=entry.name,
        optimizer=optimizer.name,
        is_own=is_own(entry.optimizer, entry.schedule),
        space=space,
        points=drawn[0],
        static={name: list(options) for name, options in static.items()},
        further=tuple(drawn[1:]),
        undrawn=undrawn,
        draw=entry.draw,
        schedule=schedule.name,
        batch_size=entry.batch_size,
        order=entry.order,
        stopping=experiment.early_stopping if entry.early_stopping is None else entry.early_stopping or None,
        choices=chosen.fixed,
        tuned_choices=tuned_choices,
        levels=crossed.levels,
        problems=tuple(entry.problems or ()),
    )
    return contender, method


def _chosen(entry: Contender, problems: Sequence[ProblemSource]) -> ChosenValues:
    """A contender's choices, carried out in the same way on every problem."""
    makers = {}
    mistakes: dict[str, list[str]] = {}
    for source in problems if entry.choices else ():
        if not entry.runs_on(source.name):
            continue
        maker, mistakes[source.name] = source.maker(), []
        if isinstance(maker, ProblemFactory):
            makers[source.name] = maker
        else:
            mistakes[source.name].append(
                f"problem '{source.name}': came ready-made, without choices; give the function that makes it"
            )
    found = ChosenValues({}, {}, {})
    traced = [name for name in entry.choices if all(name in maker.tunable for maker in makers.values())]
    for name, maker in reversed(makers.items()):
        try:
            found = maker.chosen(entry.choices, traced)
        except UserError as error:
            mistakes[name] += str(error).splitlines()
    if any(mistakes.values()):
        raise UserError("\n".join(f"optimizer '{entry.name}': {each}" for each in only_where_it_fits(mistakes)))
    return found
