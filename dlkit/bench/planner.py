"""Spec -> plan and compile groups: what runs, by which functions, and what runs together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from dlkit.bench.errors import UserError
from dlkit.bench.identity import digest, fingerprint, package_versions, source_files
from dlkit.bench.optimizers import Optimizer, is_plugin, load_plugin
from dlkit.bench.optimizers import get as get_optimizer
from dlkit.bench.plans import Contender, Plan, ProblemFacts
from dlkit.bench.problems import Problem, catalog
from dlkit.bench.space import halton_points
from dlkit.bench.spec import Experiment, OptimizerEntry, ProblemEntry
from dlkit.bench.trainer import check_problem

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


@dataclass(frozen=True)
class Group:
    """A compile group: what one executable serves.

    Attributes:
        key: tells groups apart.
        problem: what is trained.
        optimizer: by what.
        static: the static choices.
        steps: of each trial.
        evaluations: of each trial.
    """

    key: str
    problem: ProblemSource
    optimizer: Optimizer = field(compare=False, repr=False)
    static: Mapping[str, Any] = field(compare=False)
    steps: int = field(compare=False)
    evaluations: int = field(compare=False)


@dataclass(frozen=True, eq=False)
class Study:
    """A plan together with the functions that carry it out.

    Attributes:
        plan: the data.
        problems: problem name -> how workers get it.
        optimizers: contender label -> the optimizer.
        sources: file name -> text of one's own functions.
    """

    plan: Plan
    problems: Mapping[str, ProblemSource]
    optimizers: Mapping[str, Optimizer]
    sources: Mapping[str, str]

    def group(self, problem: ProblemFacts, contender: Contender, static: Mapping[str, Any]) -> Group:
        """Returns the compile group of a contender's static choice on a problem."""
        source = self.problems[problem.name]
        facts = [source.key, contender.optimizer, contender.source, dict(static), problem.steps, self.plan.evaluations]
        return Group(
            digest(facts), source, self.optimizers[contender.label], static, problem.steps, self.plan.evaluations
        )


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
        choices = (("batch_size", facts.batch_size), ("metric", facts.metric))
        source = ProblemSource(_problem_key(facts), facts.name, choices)
        found = source.load().dataset.digest
        if found != facts.data:
            raise UserError(f"problem '{facts.name}': its data have digest {found[:12]} now, {facts.data[:12]} then")
        problems[facts.name] = source
    optimizers = {facts.label: _optimizer_again(facts) for facts in plan.contenders}
    return Study(plan, problems, {label: each for label, each in optimizers.items() if each is not None}, {})


def _optimizer_again(facts: Contender) -> Optimizer | None:
    """Finds a stored contender's optimizer by its name: a registered one, or a package's that is what it was."""
    if not facts.source:
        return replace(get_optimizer(facts.optimizer), space=facts.space)
    if not is_plugin(facts.optimizer) or facts.optimizer.partition(":")[0].endswith(".py"):
        return None
    choices = {name: [value] for name, value in facts.points[0].static.items()}
    again = load_plugin(facts.optimizer, dict.fromkeys(facts.space, 0.0), choices)
    return replace(again, space=facts.space) if _source_of(again) == facts.source else None


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
    problems: list[tuple[ProblemFacts, ProblemSource]] = []
    contenders: list[tuple[Contender, Optimizer]] = []
    for problem_entry in experiment.problems:
        try:
            problems.append(_problem(experiment, problem_entry))
        except UserError as error:
            mistakes.append(str(error))
    for optimizer_entry in experiment.optimizers:
        try:
            contenders.append(_contender(experiment, optimizer_entry))
        except UserError as error:
            mistakes.append(str(error))
    mistakes += _repeated("problems", [facts.name for facts, _ in problems], "give your own problem another name")
    mistakes += _repeated("optimizers", [facts.label for facts, _ in contenders], "give each a label of its own")
    if mistakes:
        raise UserError("\n".join(mistakes))
    budget = experiment.budget
    own: list[Any] = [optimizer.build for facts, optimizer in contenders if facts.source]
    for entry in experiment.problems:
        if isinstance(entry.problem, Problem):
            own += [entry.problem.init, entry.problem.loss, entry.problem.evaluate]
    return Study(
        plan=Plan(
            experiment.name,
            [facts for facts, _ in problems],
            [facts for facts, _ in contenders],
            budget.evaluations,
            budget.tuning_seeds,
            budget.seeds,
        ),
        problems={facts.name: source for facts, source in problems},
        optimizers={facts.label: optimizer for facts, optimizer in contenders},
        sources=source_files(*own),
    )


def _repeated(what: str, names: Sequence[str], remedy: str) -> list[str]:
    twice = sorted({name for name in names if names.count(name) > 1})
    return [f"{what}: '{name}' is there more than once; {remedy}" for name in twice]


def _problem(experiment: Experiment, entry: ProblemEntry) -> tuple[ProblemFacts, ProblemSource]:
    problem = entry.load()
    check_problem(problem)
    own = entry.problem if isinstance(entry.problem, Problem) else None
    source = fingerprint(own.init, own.loss, own.evaluate) if own else ""
    facts = ProblemFacts(
        name=problem.name,
        metrics=dict(problem.metrics),
        metric=problem.metric,
        target=problem.target,
        steps=_steps(experiment, entry, problem),
        batch_size=problem.batch_size,
        data=problem.dataset.digest,
        data_source=problem.dataset.source,
        source=source,
        description=problem.description,
    )
    choices = {"batch_size": entry.batch_size, "metric": entry.metric}
    return facts, ProblemSource(_problem_key(facts), problem.name, tuple(choices.items()), own)


def _steps(experiment: Experiment, entry: ProblemEntry, problem: Problem) -> int:
    """The entry's steps, else the budget's, else the problem's."""
    budget = experiment.budget if entry.steps is None else replace(experiment.budget, steps=None)
    return budget.steps_for(f"problem '{problem.name}'", problem.steps)


def _problem_key(facts: ProblemFacts) -> str:
    return digest([facts.name, facts.data, facts.batch_size, facts.metric, facts.source])


def _contender(experiment: Experiment, entry: OptimizerEntry) -> tuple[Contender, Optimizer]:
    optimizer = entry.load()
    points = halton_points(optimizer.space, optimizer.static, experiment.budget.tuning_points)
    registered = isinstance(entry.optimizer, str) and not is_plugin(entry.optimizer)
    source = "" if registered else _source_of(optimizer)
    contender = Contender(entry.label or optimizer.name, optimizer.name, source, dict(optimizer.space), points)
    return contender, optimizer


def _source_of(optimizer: Optimizer) -> str:
    """What one's own optimizer is: the fingerprint of its functions, and the versions of packages they use."""
    functions = (optimizer.build, optimizer.eval_params, optimizer.evaluations)
    versions = [f"{name} {version}" for name, version in package_versions(*functions).items()]
    return ", ".join([fingerprint(*functions), *versions])
