"""A plan with the functions that carry it out: problems, methods, and the compile groups they make."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, NamedTuple
from uuid import uuid4

from dlkit.bench.errors import UserError
from dlkit.bench.identity.hashing import digest
from dlkit.bench.identity.references import is_import
from dlkit.bench.optimizers import Optimizer, load_plugin
from dlkit.bench.optimizers import get as get_optimizer
from dlkit.bench.optimizers.schedules import SCHEDULES, Schedule
from dlkit.bench.optimizers.schedules import get as get_schedule
from dlkit.bench.plan.parameter_groups import AllGroups
from dlkit.bench.plan.plan import Plan
from dlkit.bench.plan.planned import PlannedContender, PlannedProblem
from dlkit.bench.plan.programs import REGISTERED, Programs, program_of
from dlkit.bench.plan.trials import Stage
from dlkit.bench.probes import Probe
from dlkit.bench.probes import get as get_probe
from dlkit.bench.problems import Problem, ProblemFactory, catalog
from dlkit.bench.training.recipe import Recipe

__all__ = [
    "BoundPlan",
    "Group",
    "Method",
    "OwnProblem",
    "ProblemSource",
    "bind",
    "functions_of",
    "functions_of_problem",
    "problem_source",
]

OwnProblem = Problem | ProblemFactory


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
        data: the digest of its data, as its key has it; empty where there is no problem.
        devices: over how many devices each of its batches is split, which decides only last bits.
    """

    key: str
    name: str
    made_by: str
    choices: tuple[tuple[str, Any], ...]
    changes: tuple[tuple[str, Any], ...]
    own: OwnProblem | None = field(default=None, compare=False, repr=False)
    data: str = field(default="", compare=False, repr=False)
    devices: int = 1

    def maker(self) -> OwnProblem:
        """Returns what makes the problem, or the problem if it came ready-made."""
        return catalog.maker(self.made_by) if self.own is None else self.own

    def load(self, **traced: Any) -> Problem:
        """Returns the problem, with some choices traced while a program is."""
        maker = self.maker()
        choices = dict(self.choices)
        if not isinstance(maker, ProblemFactory):
            problem = maker
        else:
            problem = maker.traced(**{**choices, **traced}) if traced else maker.make(**choices)
        return problem.variant(**dict(self.changes))

    def with_batches_of(self, contender: PlannedContender) -> "ProblemSource":
        """Returns the problem with a contender's batch size, where it has one of its own.

        A contender's order is not among the changes: it only decides which examples a program is given, so that trials
        ask for it (`Request.order`) and one program serves every order.
        """
        if contender.batch_size is None:
            return self
        given = {"batch_size": contender.batch_size}
        changes = {**dict(self.changes), **given}
        return replace(self, key=digest([self.key, given]), changes=tuple(changes.items()))

    def with_choices(self, choices: Mapping[str, Any]) -> "ProblemSource":
        """Returns the problem with some of its choices replaced."""
        if not choices:
            return self
        chosen = {**dict(self.choices), **choices}
        return replace(self, key=digest([self.key, chosen]), choices=tuple(sorted(chosen.items())))

    def over(self, devices: int) -> "ProblemSource":
        """Returns the problem with its batches split over other devices; it stays the same question."""
        changes = {**dict(self.changes), "devices": devices}
        return replace(self, changes=tuple(changes.items()), devices=devices)

    def computing(self, program: str) -> "ProblemSource":
        """Returns the problem with what its functions compute, as `Programs.problem`, in its key."""
        return replace(self, key=digest([self.key, program])) if program else self


class Method(NamedTuple):
    """The functions of a contender."""

    optimizer: Optimizer
    schedule: Schedule


@dataclass(frozen=True)
class Group:
    """A compile group: what one executable serves.

    Attributes:
        key: tells groups apart, by what they compute where that is the user's own.
        problem: what is trained.
        recipe: by what.
        programs: what is the user's own of it, as it was planned.
    """

    key: str
    problem: ProblemSource
    recipe: Recipe = field(compare=False, repr=False)
    programs: Programs = REGISTERED

    @property
    def is_own(self) -> bool:
        """Whether any of it is the user's own."""
        return self.programs != REGISTERED


@dataclass(frozen=True, eq=False)
class BoundPlan:
    """A plan together with the functions that carry it out.

    Attributes:
        plan: the data.
        problems: problem name -> how workers get it.
        methods: contender label -> what trains it.
        sources: file name -> text of one's own functions.
        probes: those of the plan, by name, as far as they are at hand.
        session: tells its compile groups from those of earlier plans where functions call Python while they run:
            workers may have kept programs whose Python was another one.
        groups: which rule trains which parameters; empty until it is asked for.
    """

    plan: Plan
    problems: Mapping[str, ProblemSource]
    methods: Mapping[str, Method]
    sources: Mapping[str, str]
    probes: Mapping[str, Probe] = field(default_factory=dict)
    session: str = field(default_factory=lambda: uuid4().hex)
    groups: AllGroups = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"<BoundPlan of {self.plan!r}>"

    def over(self, devices: int) -> "BoundPlan":
        """Returns the plan with every batch split over so many devices, whatever its problems say.

        Raises:
            UserError: for batches that cannot be split so, of problems or contenders; with every one.
        """
        bound = replace(self, problems={name: source.over(devices) for name, source in self.problems.items()})
        mistakes = []
        for problem, contender in self.plan.cells:
            try:
                bound.problems[problem.name].with_batches_of(contender).load()
            except UserError as error:
                mistakes.append(f"resources.devices: {error}")
        if mistakes:
            raise UserError("\n".join(dict.fromkeys(mistakes)))
        return bound

    def group(
        self,
        problem: PlannedProblem,
        contender: PlannedContender,
        static: Mapping[str, Any],
        *,
        stage: Stage = "tuning",
    ) -> Group:
        """Returns the compile group of a contender's static choice on a problem, in a stage."""
        method = self.methods[contender.label]
        choices = {**contender.choices} | {
            name: value for name, value in static.items() if name in contender.tuned_choices
        }
        looking = self.plan.probes if stage == "final" else {}
        recipe = Recipe(
            optimizer=method.optimizer,
            steps=problem.allowance(contender.label).steps,
            evaluations=self.plan.evaluations,
            static={name: value for name, value in static.items() if name not in contender.tuned_choices},
            schedule=method.schedule,
            stopping=contender.stopping,
            probes=[self.probes[name] for name in sorted(looking)],
            choices=[name for name in contender.tuned_choices if name in contender.space],
        )
        programs = program_of(self.plan.programs, problem.name, contender.label, static)
        if not looking:
            programs = replace(programs, probes="")
        source = self.problems[problem.name].with_batches_of(contender).with_choices(choices)
        source = source.computing(programs.problem + (self.session if problem.unseen else ""))
        facts = [source.key, contender.optimizer, contender.schedule, dict(recipe.static)]
        stopping = asdict(contender.stopping) if contender.stopping else None
        parts = [list(recipe.choices), sorted(looking), recipe.steps, recipe.evaluations, asdict(programs)]
        return Group(digest([*facts, stopping, *parts]), source, recipe, programs)


def bind(plan: Plan) -> BoundPlan:
    """Finds the functions of a stored plan again, for its catalogue problems and registered optimizers.

    Args:
        plan: a plan as it was stored.

    Returns:
        The bound plan, without the user's own problems, optimizers and probes.

    Raises:
        UserError: if a catalogue problem's data are not what they were, or a package's optimizer is not there.
    """
    problems = {}
    for facts in (each for each in plan.problems if not each.is_own):
        # None stands for all examples in a plan, and for the problem's own batches among changes
        source = problem_source(facts, facts.batch_size or "full", facts.metric)
        found = source.load().dataset.digest
        if found != facts.data:
            raise UserError(f"problem '{facts.name}': its data have digest {found[:12]} now, {facts.data[:12]} then")
        problems[facts.name] = source
    methods = {facts.label: _method_again(facts) for facts in plan.contenders}
    known = {label: each for label, each in methods.items() if each is not None}
    registered = {name: get_probe(name) for name, is_own in plan.probes.items() if not is_own}
    return BoundPlan(plan, problems, known, {}, registered)


def _method_again(facts: PlannedContender) -> Method | None:
    """Finds a stored contender's functions by name: registered ones, or a package's."""
    if facts.schedule not in SCHEDULES:
        return None
    declared = get_schedule(facts.schedule)
    schedule = (
        replace(declared, space={name: facts.space[name] for name in declared.space}) if declared.space else declared
    )
    elsewhere = {*schedule.space, *facts.tuned_choices}
    space = {name: span for name, span in facts.space.items() if name not in elsewhere}
    static = {name: options for name, options in facts.static.items() if name not in elsewhere}
    if not facts.is_own:
        return Method(replace(get_optimizer(facts.optimizer), space=space), schedule)
    if not is_import(facts.optimizer) or facts.optimizer.partition(":")[0].endswith(".py"):
        return None
    again = load_plugin(facts.optimizer, dict.fromkeys(space, 0.0), static)
    return Method(replace(again, space=space), schedule)


def problem_source(
    facts: PlannedProblem,
    batch_size: int | str | None,
    metric: str | None,
    own: OwnProblem | None = None,
    devices: int = 1,
) -> ProblemSource:
    """Returns how workers get a problem, with batches, metric and devices as asked for."""
    changes: dict[str, Any] = {
        "name": facts.name,
        "batch_size": batch_size,
        "order": facts.order,
        "metric": metric,
        "diverged_above": facts.diverged_above,
        "devices": devices,
    }
    identity = [facts.name, facts.data, facts.batch_size, facts.order, facts.metric, facts.diverged_above]
    return ProblemSource(
        key=digest([*identity, facts.made_by, dict(facts.choices)]),
        name=facts.name,
        made_by=facts.made_by,
        choices=tuple(sorted(facts.choices.items())),
        changes=tuple(changes.items()),
        own=own,
        data=facts.data,
        devices=devices,
    )


def functions_of_problem(own: OwnProblem | None) -> list[Any]:
    """Returns the functions of one's own problem."""
    if isinstance(own, Problem):
        rules = [*own.players, *(player.loss for player in own.players), own.updates] if own.players else []
        scores = [own.example_scores] if own.example_scores else []
        return [own.init, own.loss, own.evaluate, *scores, *rules]
    return [own.function] if own else []


def functions_of(method: Method) -> list[Any]:
    """Returns the functions of a contender, as far as they may be one's own."""
    optimizer, schedule = method
    shape = [] if schedule.name in SCHEDULES else [schedule.shape]
    return [optimizer.build, optimizer.eval_params, optimizer.evaluations, *shape]
