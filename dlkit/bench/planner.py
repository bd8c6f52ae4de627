"""Spec -> plan and compile groups: what runs, by which functions, and what runs together."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any, NamedTuple

from dlkit.bench import probes
from dlkit.bench.batches import Stage
from dlkit.bench.errors import UserError, nearest
from dlkit.bench.identity import digest, fingerprint, package_versions, source_files
from dlkit.bench.imports import is_import
from dlkit.bench.optimizers import Optimizer, load_plugin
from dlkit.bench.optimizers import get as get_optimizer
from dlkit.bench.plans import Contender, Plan, ProblemFacts
from dlkit.bench.problems import Maker, Problem, catalog, check_problem
from dlkit.bench.problems.makers import ChosenValues
from dlkit.bench.recipes import Recipe, require_schedulable
from dlkit.bench.rules import TargetRule, Tuner
from dlkit.bench.schedules import SCHEDULES, Schedule
from dlkit.bench.schedules import get as get_schedule
from dlkit.bench.space import Point, Range, Space
from dlkit.bench.spec import Budget, Crossed, Experiment, OptimizerEntry, ProblemEntry
from dlkit.bench.tuners import beforehand, dimensions, grid_points, require_tuner

__all__ = [
    "Group",
    "OwnProblem",
    "ProblemSource",
    "Study",
    "plan",
    "study_of",
]


OwnProblem = Problem | Maker


@dataclass(frozen=True)
class ProblemSource:
    """How a worker gets a problem: by its name in the catalogue, or as the user's own object or function.

    Attributes:
        key: tells problems apart.
        name: how messages call it.
        made_by: its name in the catalogue.
        choices: of the function that makes it.
        changes: what `Problem.variant` replaces.
        own: the user's problem, or what makes it; None for the catalogue's.
    """

    key: str
    name: str
    made_by: str
    choices: tuple[tuple[str, Any], ...]
    changes: tuple[tuple[str, Any], ...]
    own: OwnProblem | None = field(default=None, compare=False, repr=False)

    def maker(self) -> OwnProblem:
        """Returns what makes the problem, or the problem if it came ready-made."""
        return catalog.maker(self.made_by) if self.own is None else self.own

    def load(self, **traced: Any) -> Problem:
        """Returns the problem, with some choices traced while a program is."""
        maker = self.maker()
        choices = dict(self.choices)
        if not isinstance(maker, Maker):
            problem = maker
        else:
            problem = maker.traced(**{**choices, **traced}) if traced else maker.make(**choices)
        return problem.variant(**dict(self.changes))

    def with_batch_size(self, batch_size: int | str | None) -> "ProblemSource":
        """Returns the problem with other batches; None keeps them."""
        if batch_size is None:
            return self
        changes = {**dict(self.changes), "batch_size": batch_size}
        return replace(self, key=digest([self.key, batch_size]), changes=tuple(changes.items()))

    def with_choices(self, choices: Mapping[str, Any]) -> "ProblemSource":
        """Returns the problem with some of its choices replaced."""
        if not choices:
            return self
        chosen = {**dict(self.choices), **choices}
        return replace(self, key=digest([self.key, chosen]), choices=tuple(sorted(chosen.items())))


class Method(NamedTuple):
    """The functions of a contender."""

    optimizer: Optimizer
    schedule: Schedule


@dataclass(frozen=True)
class Group:
    """A compile group: what one executable serves.

    Attributes:
        key: tells groups apart.
        problem: what is trained.
        recipe: by what.
    """

    key: str
    problem: ProblemSource
    recipe: Recipe = field(compare=False, repr=False)


@dataclass(frozen=True, eq=False)
class Study:
    """A plan together with the functions that carry it out.

    Attributes:
        plan: the data.
        problems: problem name -> how workers get it.
        methods: contender label -> what trains it.
        sources: file name -> text of one's own functions.
    """

    plan: Plan
    problems: Mapping[str, ProblemSource]
    methods: Mapping[str, Method]
    sources: Mapping[str, str]

    def group(
        self, problem: ProblemFacts, contender: Contender, static: Mapping[str, Any], *, stage: Stage = "tuning"
    ) -> Group:
        """Returns the compile group of a contender's static choice on a problem, in a stage."""
        method = self.methods[contender.label]
        choices = {**contender.choices} | {
            name: value for name, value in static.items() if name in contender.tuned_choices
        }
        recipe = Recipe(
            optimizer=method.optimizer,
            steps=problem.steps,
            evaluations=self.plan.evaluations,
            static={name: value for name, value in static.items() if name not in contender.tuned_choices},
            schedule=method.schedule,
            stopping=contender.stopping,
            probes=self.plan.probes if stage == "final" else (),
            choices=[name for name in contender.tuned_choices if name in contender.space],
        )
        source = self.problems[problem.name].with_batch_size(contender.batch_size).with_choices(choices)
        facts = [source.key, contender.optimizer, contender.schedule, contender.source, dict(recipe.static)]
        stopping = asdict(contender.stopping) if contender.stopping else None
        parts = [list(recipe.choices), list(recipe.probes), recipe.steps, recipe.evaluations]
        return Group(digest([*facts, stopping, *parts]), source, recipe)


def study_of(plan: Plan) -> Study:
    """Finds the functions of a stored plan again, for its catalogue problems and registered optimizers.

    Args:
        plan: a plan as it was stored.

    Returns:
        The study, without the user's own problems and optimizers.

    Raises:
        UserError: if a catalogue problem's data are not what they were, or a package's optimizer is not there.
    """
    problems = {}
    for facts in (each for each in plan.problems if not each.source):
        # None stands for all examples in a plan, and for the problem's own batches among changes
        source = _problem_source(facts, facts.batch_size or "full", facts.metric)
        found = source.load().dataset.digest
        if found != facts.data:
            raise UserError(f"problem '{facts.name}': its data have digest {found[:12]} now, {facts.data[:12]} then")
        problems[facts.name] = source
    methods = {facts.label: _method_again(facts) for facts in plan.contenders}
    return Study(plan, problems, {label: each for label, each in methods.items() if each is not None}, {})


def _method_again(facts: Contender) -> Method | None:
    """Finds a stored contender's functions by name: registered ones, or a package's that are what they were."""
    if facts.schedule not in SCHEDULES:
        return None
    declared = get_schedule(facts.schedule)
    schedule = (
        replace(declared, space={name: facts.space[name] for name in declared.space}) if declared.space else declared
    )
    elsewhere = {*schedule.space, *facts.tuned_choices}
    space = {name: span for name, span in facts.space.items() if name not in elsewhere}
    static = {name: options for name, options in facts.static.items() if name not in elsewhere}
    if not facts.source:
        return Method(replace(get_optimizer(facts.optimizer), space=space), schedule)
    if not is_import(facts.optimizer) or facts.optimizer.partition(":")[0].endswith(".py"):
        return None
    again = load_plugin(facts.optimizer, dict.fromkeys(space, 0.0), static)
    same = _source_of(_functions(Method(again, schedule))) == facts.source
    return Method(replace(again, space=space), schedule) if same else None


def plan(experiment: Experiment) -> Study:
    """Draws the points, fixes every identity, and checks what can be checked before anything runs.

    Args:
        experiment: what was asked.

    Returns:
        The study.

    Raises:
        UserError: for an empty list, two of the same name, a problem whose functions do not work, choices that do not
            fit; with every mistake found.
    """
    mistakes = [
        f"{what}: the list is empty; name at least one"
        for what in ("problems", "optimizers")
        if not getattr(experiment, what)
    ]
    try:
        require_tuner(experiment.budget.tuner)
    except UserError as error:
        mistakes.append(str(error))
    problems: list[tuple[ProblemFacts, ProblemSource]] = []
    contenders: list[tuple[Contender, Method]] = []
    for problem_entry in experiment.problems:
        try:
            problems.append(_problem(experiment, problem_entry))
        except UserError as error:
            mistakes.append(str(error))
    for crossed in experiment.contenders():
        try:
            contenders.append(_contender(experiment, crossed, [source for _, source in problems]))
        except UserError as error:
            mistakes.append(str(error))
    rule = experiment.targets or TargetRule()
    labels = [facts.label for facts, _ in contenders]
    mistakes += [
        f"targets.baselines: no contender '{label}'; {nearest(label, labels)}"
        for label in rule.baselines
        if label not in labels and len(contenders) == len(experiment.contenders())
    ]
    mistakes += _unlookable(experiment.probes, [source for _, source in problems])
    mistakes += _misfits(problems, [facts for facts, _ in contenders])
    varied = {name for facts, _ in contenders for name in (*facts.choices, *facts.tuned_choices)}
    mistakes += [
        f"problems: '{entry.problem}' has its choice '{name}' set, and contenders vary it; leave one of them out"
        for entry in experiment.problems
        for name in entry.choices
        if name in varied
    ]
    mistakes += _repeated("problems", [facts.name for facts, _ in problems], "give each a label of its own")
    mistakes += _unknown_on_the_grid(experiment.budget, [facts for facts, _ in contenders])
    mistakes += _repeated("optimizers", [facts.label for facts, _ in contenders], "give each a label of its own")
    if mistakes:
        raise UserError("\n".join(mistakes))
    budget = experiment.budget
    own: list[Any] = [each for facts, method in contenders if facts.source for each in _functions(method)]
    own += [each for facts, source in problems if facts.source for each in _functions_of_problem(source.own)]
    return Study(
        plan=Plan(
            name=experiment.name,
            problems=[facts for facts, _ in problems],
            contenders=[facts for facts, _ in contenders],
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
            ),
            probes=experiment.probes,
            trial_seconds=budget.trial_seconds,
            targets=rule,
        ),
        problems={facts.name: source for facts, source in problems},
        methods={facts.label: method for facts, method in contenders},
        sources=source_files(*own),
    )


def _repeated(what: str, names: Sequence[str], remedy: str) -> list[str]:
    twice = sorted({name for name in names if names.count(name) > 1})
    return [f"{what}: '{name}' is there more than once; {remedy}" for name in twice]


def _problem(experiment: Experiment, entry: ProblemEntry) -> tuple[ProblemFacts, ProblemSource]:
    problem = entry.load()
    check_problem(problem)
    goals = entry.ladder(problem)
    own_target = None if experiment.targets else problem.target
    maker = entry.maker()
    is_own = not isinstance(entry.problem, str) or is_import(entry.problem)
    own: OwnProblem | None = maker if is_own else None
    facts = ProblemFacts(
        name=problem.name,
        metrics=dict(problem.metrics),
        metric=problem.metric,
        target=goals[-1] if goals else own_target,
        steps=_steps(experiment, entry, problem),
        batch_size=problem.batch_size,
        data=problem.dataset.digest,
        data_source=problem.dataset.source,
        source=_source_of(_functions_of_problem(own)) if own else "",
        description=problem.description,
        diverged_above=problem.diverged_above,
        ladder=goals[:-1],
        made_by=maker.name if isinstance(maker, Maker) else "",
        choices=maker.all_choices(entry.choices) if isinstance(maker, Maker) else {},
    )
    return facts, _problem_source(facts, entry.batch_size, entry.metric, own)


def _problem_source(
    facts: ProblemFacts, batch_size: int | str | None, metric: str | None, own: OwnProblem | None = None
) -> ProblemSource:
    changes = {
        "name": facts.name,
        "batch_size": batch_size,
        "metric": metric,
        "diverged_above": facts.diverged_above,
    }
    identity = [facts.name, facts.data, facts.batch_size, facts.metric, facts.diverged_above, facts.source]
    return ProblemSource(
        key=digest([*identity, facts.made_by, dict(facts.choices)]),
        name=facts.name,
        made_by=facts.made_by,
        choices=tuple(sorted(facts.choices.items())),
        changes=tuple(changes.items()),
        own=own,
    )


def _functions_of_problem(own: OwnProblem | None) -> list[Any]:
    """The functions of one's own problem."""
    if isinstance(own, Problem):
        return [own.init, own.loss, own.evaluate]
    return [own.function] if own else []


def _unlookable(names: Sequence[str], sources: Sequence[ProblemSource]) -> list[str]:
    """What is wrong with the probes: names that there are not, problems that they cannot look at."""
    mistakes = []
    for name in names:
        try:
            probe = probes.get(name)
            for source in sources:
                probes.check(probe, source.load())
        except UserError as error:
            mistakes.append(str(error))
    return mistakes + _repeated("probes", names, "name each once")


def _misfits(problems: Sequence[tuple[ProblemFacts, ProblemSource]], contenders: Sequence[Contender]) -> list[str]:
    """What a contender asks of a problem that the problem cannot give."""
    mistakes = []
    for contender in contenders:
        for facts, source in problems:
            stopping = contender.stopping
            if stopping and stopping.metric and stopping.metric not in facts.metrics:
                mistakes.append(
                    f"optimizer '{contender.label}', early_stopping: problem '{facts.name}' has no metric "
                    f"'{stopping.metric}'; {nearest(stopping.metric, facts.metrics)}"
                )
            try:
                base = source.with_batch_size(contender.batch_size)
                for choices in _each_choice(contender):
                    _require_comparable(facts, base.with_choices(choices).load(), choices)
            except UserError as error:
                mistakes.append(f"optimizer '{contender.label}': {error}")
    return mistakes


def _each_choice(contender: Contender) -> Iterator[dict[str, Any]]:
    """Choices that show what may be wrong with a contender's: every value tuned over, the bounds of every range."""
    yield {**contender.choices}
    for name in contender.tuned_choices:
        span = contender.space.get(name)
        bounds = [span.low, span.high] if isinstance(span, Range) else [span]
        for value in contender.static.get(name, bounds):
            yield {**contender.choices, name: value}


def _require_comparable(facts: ProblemFacts, problem: Problem, choices: Mapping[str, Any]) -> None:
    """Refuses choices under which a problem asks another question; traces what is one's own."""
    if problem.dataset.digest != facts.data or problem.metrics != facts.metrics:
        what = "metrics" if problem.dataset.digest == facts.data else "data"
        raise UserError(
            f"problem '{facts.name}': has other {what} with {dict(choices)}, which makes another question of it; give "
            "such choices to the problem, for all contenders"
        )
    if facts.source and choices:
        check_problem(problem)


def _steps(experiment: Experiment, entry: ProblemEntry, problem: Problem) -> int:
    """The entry's steps, else the budget's, else the problem's."""
    budget = experiment.budget if entry.steps is None else replace(experiment.budget, steps=None)
    return budget.steps_for(f"problem '{problem.name}'", problem.steps)


def _contender(experiment: Experiment, crossed: Crossed, problems: Sequence[ProblemSource]) -> tuple[Contender, Method]:
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
    drawn, undrawn = _points(optimizer.name, space, static, experiment.budget)
    registered = isinstance(entry.optimizer, str) and not is_import(entry.optimizer)
    source = "" if registered and not isinstance(entry.schedule, Schedule) else _source_of(_functions(method))
    contender = Contender(
        label=entry.name,
        optimizer=optimizer.name,
        source=source,
        space=space,
        points=drawn[0],
        static={name: list(options) for name, options in static.items()},
        further=tuple(drawn[1:]),
        undrawn=undrawn,
        schedule=schedule.name,
        batch_size=entry.batch_size,
        stopping=entry.early_stopping or experiment.early_stopping,
        choices=chosen.fixed,
        tuned_choices=tuned_choices,
        levels=crossed.levels,
    )
    return contender, method


def _chosen(entry: OptimizerEntry, problems: Sequence[ProblemSource]) -> ChosenValues:
    """A contender's choices, carried out in the same way on every problem."""
    makers = []
    mistakes = []
    for source in problems if entry.choices else ():
        maker = source.maker()
        if isinstance(maker, Maker):
            makers.append(maker)
        else:
            mistakes.append(
                f"problem '{source.name}': came ready-made, without choices; give the function that makes it"
            )
    found = ChosenValues({}, {}, {})
    traced = [name for name in entry.choices if all(name in maker.tunable for maker in makers)]
    for maker in reversed(makers):
        try:
            found = maker.chosen(entry.choices, traced)
        except UserError as error:
            mistakes += str(error).splitlines()
    if mistakes:
        raise UserError("\n".join(f"optimizer '{entry.name}': {mistake}" for mistake in mistakes))
    return found


def _points(
    name: str, space: Space, static: Mapping[str, Sequence[Any]], budget: Budget
) -> tuple[list[list[Point]], int | None]:
    """Draws what can be drawn before anything runs, of each study; and how many points are drawn later."""
    count = budget.tuning_points
    if budget.tuning_points_per_dimension is not None:
        count = budget.tuning_points_per_dimension * max(dimensions(space, static), 1)
    if count is None or budget.tuner == "optuna":
        if any(isinstance(span, Range) for span in space.values()):
            return [[] for _ in range(budget.studies)], count
        every = math.prod(map(len, static.values()))  # choices alone: each of them once
        return [grid_points(space, static, every)[:count] for _ in range(budget.studies)], 0
    try:
        draw = partial(beforehand, budget.tuner, space, static, count, counts=budget.grid)
        return [draw(seed=study) for study in range(budget.studies)], 0
    except UserError as error:
        raise UserError(f"optimizer '{name}': {error}") from None


def _unknown_on_the_grid(budget: Budget, contenders: Sequence[Contender]) -> list[str]:
    """Names of a grid that no contender has a range for."""
    known = sorted({name for each in contenders for name, span in each.space.items() if isinstance(span, Range)})
    return [
        f"budget.grid: no optimizer has a range for '{name}'; {nearest(name, known)}"
        for name in budget.grid
        if name not in known and known
    ]


def _functions(method: Method) -> list[Any]:
    """The functions of a contender, as far as they may be one's own."""
    optimizer, schedule = method
    shape = [] if schedule.name in SCHEDULES else [schedule.shape]
    return [optimizer.build, optimizer.eval_params, optimizer.evaluations, *shape]


def _source_of(functions: Sequence[Any]) -> str:
    """What one's own things are: the fingerprint of their functions, and the versions of packages they use."""
    versions = [f"{name} {version}" for name, version in package_versions(*functions).items()]
    return ", ".join([fingerprint(*functions), *versions])
