"""Spec -> plan and compile groups: what runs, by which functions, and what runs together."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any, NamedTuple

from dlkit.bench import probes
from dlkit.bench.batches import Stage
from dlkit.bench.errors import UserError, nearest
from dlkit.bench.identity import digest, fingerprint, package_versions, source_files
from dlkit.bench.optimizers import Optimizer, is_plugin, load_plugin
from dlkit.bench.optimizers import get as get_optimizer
from dlkit.bench.plans import Contender, Plan, ProblemFacts
from dlkit.bench.problems import Problem, catalog, check_problem
from dlkit.bench.recipes import Recipe, require_schedulable
from dlkit.bench.rules import TargetRule, Tuner
from dlkit.bench.schedules import SCHEDULES, Schedule
from dlkit.bench.schedules import get as get_schedule
from dlkit.bench.space import Point, Range, Space
from dlkit.bench.spec import Budget, Experiment, OptimizerEntry, ProblemEntry
from dlkit.bench.tuners import beforehand, dimensions, grid_points, require_tuner

__all__ = [
    "Group",
    "ProblemSource",
    "Study",
    "plan",
    "study_of",
]


@dataclass(frozen=True)
class ProblemSource:
    """How a worker gets a problem: by its name in the catalogue, or as the user's own object.

    Attributes:
        key: tells problems apart.
        name: in the catalogue.
        choices: what `Problem.variant` replaces.
        own: the user's problem, None for the catalogue's.
    """

    key: str
    name: str
    choices: tuple[tuple[str, Any], ...]
    own: Problem | None = field(default=None, compare=False, repr=False)

    def load(self) -> Problem:
        """Returns the problem."""
        problem = catalog.get(self.name) if self.own is None else self.own
        return problem.variant(**dict(self.choices))

    def with_batch_size(self, batch_size: int | str | None) -> "ProblemSource":
        """Returns the problem with other batches; None keeps them."""
        if batch_size is None:
            return self
        choices = {**dict(self.choices), "batch_size": batch_size}
        return replace(self, key=digest([self.key, batch_size]), choices=tuple(choices.items()))


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
        recipe = Recipe(
            optimizer=method.optimizer,
            steps=problem.steps,
            evaluations=self.plan.evaluations,
            static=static,
            schedule=method.schedule,
            stopping=contender.stopping,
            probes=self.plan.probes if stage == "final" else (),
        )
        source = self.problems[problem.name].with_batch_size(contender.batch_size)
        facts = [source.key, contender.optimizer, contender.schedule, contender.source, dict(static)]
        stopping = asdict(contender.stopping) if contender.stopping else None
        return Group(digest([*facts, stopping, list(recipe.probes), recipe.steps, recipe.evaluations]), source, recipe)


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
        # None stands for all examples in a plan, and for the problem's own batches among choices
        choices = tuple(_choices(facts, facts.batch_size or "full", facts.metric).items())
        source = ProblemSource(_problem_key(facts), facts.name, choices)
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
    space = {name: span for name, span in facts.space.items() if name not in schedule.space}
    if not facts.source:
        return Method(replace(get_optimizer(facts.optimizer), space=space), schedule)
    if not is_plugin(facts.optimizer) or facts.optimizer.partition(":")[0].endswith(".py"):
        return None
    again = load_plugin(facts.optimizer, dict.fromkeys(space, 0.0), facts.static)
    same = _source_of(Method(again, schedule)) == facts.source
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
    for optimizer_entry in experiment.contenders():
        try:
            contenders.append(_contender(experiment, optimizer_entry))
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
    mistakes += _repeated("problems", [facts.name for facts, _ in problems], "give your own problem another name")
    mistakes += _unknown_on_the_grid(experiment.budget, [facts for facts, _ in contenders])
    mistakes += _repeated("optimizers", [facts.label for facts, _ in contenders], "give each a label of its own")
    if mistakes:
        raise UserError("\n".join(mistakes))
    budget = experiment.budget
    own: list[Any] = [each for facts, method in contenders if facts.source for each in _functions(method)]
    for entry in experiment.problems:
        if isinstance(entry.problem, Problem):
            own += [entry.problem.init, entry.problem.loss, entry.problem.evaluate]
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
    own = entry.problem if isinstance(entry.problem, Problem) else None
    source = fingerprint(own.init, own.loss, own.evaluate) if own else ""
    facts = ProblemFacts(
        name=problem.name,
        metrics=dict(problem.metrics),
        metric=problem.metric,
        target=goals[-1] if goals else own_target,
        steps=_steps(experiment, entry, problem),
        batch_size=problem.batch_size,
        data=problem.dataset.digest,
        data_source=problem.dataset.source,
        source=source,
        description=problem.description,
        diverged_above=problem.diverged_above,
        ladder=goals[:-1],
    )
    choices = _choices(facts, entry.batch_size, entry.metric)
    return facts, ProblemSource(_problem_key(facts), problem.name, tuple(choices.items()), own)


def _choices(facts: ProblemFacts, batch_size: int | str | None, metric: str | None) -> dict[str, Any]:
    return {"batch_size": batch_size, "metric": metric, "diverged_above": facts.diverged_above}


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
                source.with_batch_size(contender.batch_size).load()
            except UserError as error:
                mistakes.append(f"optimizer '{contender.label}': {error}")
    return mistakes


def _steps(experiment: Experiment, entry: ProblemEntry, problem: Problem) -> int:
    """The entry's steps, else the budget's, else the problem's."""
    budget = experiment.budget if entry.steps is None else replace(experiment.budget, steps=None)
    return budget.steps_for(f"problem '{problem.name}'", problem.steps)


def _problem_key(facts: ProblemFacts) -> str:
    return digest([facts.name, facts.data, facts.batch_size, facts.metric, facts.diverged_above, facts.source])


def _contender(experiment: Experiment, entry: OptimizerEntry) -> tuple[Contender, Method]:
    method = Method(entry.load(), entry.load_schedule())
    optimizer, schedule = method
    require_schedulable(optimizer, schedule)
    space = {**optimizer.space, **schedule.space}
    drawn, undrawn = _points(optimizer.name, space, optimizer.static, experiment.budget)
    registered = isinstance(entry.optimizer, str) and not is_plugin(entry.optimizer)
    source = "" if registered and not isinstance(entry.schedule, Schedule) else _source_of(method)
    contender = Contender(
        label=entry.name,
        optimizer=optimizer.name,
        source=source,
        space=space,
        points=drawn[0],
        static={name: list(options) for name, options in optimizer.static.items()},
        further=tuple(drawn[1:]),
        undrawn=undrawn,
        schedule=schedule.name,
        batch_size=entry.batch_size,
        stopping=entry.early_stopping or experiment.early_stopping,
    )
    return contender, method


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


def _source_of(method: Method) -> str:
    """What one's own contender is: the fingerprint of its functions, and the versions of packages they use."""
    functions = _functions(method)
    versions = [f"{name} {version}" for name, version in package_versions(*functions).items()]
    return ", ".join([fingerprint(*functions), *versions])
