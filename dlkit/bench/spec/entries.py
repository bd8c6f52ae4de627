"""What an experiment asks: problems, contenders, budget."""

import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, NamedTuple

from dlkit.bench.analysis.numbers import listed
from dlkit.bench.errors import UserError, nearest, says_what_it_takes
from dlkit.bench.identity.references import is_import
from dlkit.bench.optimizers import Optimizer, load_plugin
from dlkit.bench.optimizers import get as get_optimizer
from dlkit.bench.optimizers.schedules import CONSTANT, Schedule
from dlkit.bench.optimizers.schedules import get as get_schedule
from dlkit.bench.plan.policies import EarlyStopping, Settling, TargetRule, level_name, require_margin
from dlkit.bench.plan.space import is_number, narrow
from dlkit.bench.plan.trials import Order, require_order
from dlkit.bench.probes import Probe
from dlkit.bench.problems import Problem, ProblemFactory, catalog
from dlkit.bench.problems.factories import Make
from dlkit.bench.spec.budget import Budget
from dlkit.bench.spec.given import briefly, optimizer_given, problem_given
from dlkit.bench.spec.kinds import entries_given, is_list_of_names, require_mapping, wrong_kinds
from dlkit.bench.spec.labels import labelled, of_factor
from dlkit.bench.spec.words import HYPERPARAMETERS, elsewhere
from dlkit.hints import closest

__all__ = [
    "FACTORS",
    "Contender",
    "Crossed",
    "Experiment",
    "ProblemChoice",
    "is_own",
    "registered_or_own",
    "unknown_factor",
]

FACTORS = ("schedule", "batch_size", "order", "early_stopping")  # that every problem has, beside its choices


@says_what_it_takes("bench.ProblemChoice", lambda name: elsewhere(name, "problem", _names_of(ProblemChoice)))
@dataclass(frozen=True, kw_only=True)
class ProblemChoice:
    """A problem of an experiment: a name of the catalogue or one's own, and choices that replace the problem's.

    Attributes:
        problem: a catalogue name; the function of another package or file that makes the problem
            (``"package.module:function"``, ``"file.py:function"``); that function itself; or a `Problem`.
        label: how tables call it, its own name if empty. It takes part in the draw of initial parameters and data
            order, as the name does.
        choices: of the function that makes the problem, for all contenders: choice -> value.
        steps: of its trials, in place of the budget's and the problem's own.
        batch_size: examples a step; ``"full"`` for the whole training split.
        order: how batches are drawn: ``"reshuffle"``, ``"fixed"`` or ``"iid"``, as of `Problem`.
        metric: what is tuned, ranked and compared.
        target: the value of the metric that steps to target count to, or several: a ladder. The hardest counts in
            rankings. None for the experiment's rule, or where it has none, the problem's own.
        diverged_above: a training loss beyond which a trial counts as diverged; None for the problem's own, or the rule
            that holds where it has none.
        margin: differences of the metric up to this do not matter, in its units, or for a metric on a log scale, as a
            ratio above 1: a run until settled stops there. None if every difference matters.
        devices: over how many devices each batch is split; None for the problem's own, which is one as a rule.
    """

    problem: str | Make | ProblemFactory | Problem
    label: str = ""
    choices: Mapping[str, Any] = field(default_factory=dict)
    steps: int | None = None
    batch_size: int | Literal["full"] | None = None
    order: Order | None = None
    metric: str | None = None
    target: float | Sequence[float] | None = None
    diverged_above: float | None = None
    margin: float | None = None
    devices: int | None = None

    def __post_init__(self) -> None:
        with suppress(UserError):  # it is told with all other mistakes, when the problem is made
            object.__setattr__(self, "problem", problem_given(self.problem))
        require_mapping(self.choices, "choices", f"problem {briefly(self.problem)}", "{'width': 64}")

    def load(self, maker: ProblemFactory | Problem | None = None) -> Problem:
        """Returns the problem with this entry's choices.

        Args:
            maker: what `maker` returned before; None to find it now.

        Raises:
            UserError: for an unknown name, or a choice that does not fit the problem.
        """
        maker = maker or self.maker()
        if isinstance(maker, ProblemFactory):
            problem = maker.make(**self.choices)
        elif self.choices:
            raise UserError(
                f"problem '{maker.name}': came ready-made, without choices; give the function that makes it"
            )
        else:
            problem = maker
        changed = problem.variant(
            name=self.label or None,
            steps=self.steps,
            batch_size=self.batch_size,
            order=self.order,
            metric=self.metric,
            diverged_above=self.diverged_above,
            devices=self.devices,
        )
        if self.margin is not None:
            require_margin(changed.name, changed.judged, self.margin)
        goals = self.ladder(changed)
        return changed.variant(target=goals[-1]) if goals else changed

    def maker(self) -> ProblemFactory | Problem:
        """Returns what makes the problem, or the problem if it came ready-made.

        Raises:
            UserError: for an unknown name, or what makes no problem.
        """
        return catalog.maker(problem_given(self.problem))

    def ladder(self, problem: Problem) -> tuple[float, ...]:
        """Returns this entry's targets for a problem, the easiest first.

        Raises:
            UserError: for what is no finite number.
        """
        if self.target is None:
            return ()
        goals: Sequence[Any] = self.target if isinstance(self.target, list | tuple) else [self.target]
        if not goals or not all(map(is_number, goals)):
            raise UserError(
                f"problem '{problem.name}': target must be a finite number, or a list of them, got {self.target!r}"
            )
        return tuple(sorted(set(map(float, goals)), reverse=not problem.judged.higher_is_better))


@says_what_it_takes("bench.Contender", lambda name: elsewhere(name, "optimizer", _names_of(Contender)))
@dataclass(frozen=True, kw_only=True)
class Contender:
    """An optimizer of an experiment: a name of the registry or one's own, changes to its space, and how it is used.

    Attributes:
        optimizer: a registered name, with wrappers if wanted (``"adam+clip"``); or the function of another package or
            file (``"package.module:function"``, ``"file.py:function"``), which needs a space; or an `Optimizer`.
        label: how tables call it; made of the optimizer's name and what else is set here if empty.
        space: hyperparameter of the optimizer or setting of the schedule -> a fixed number, [low, high], or [low, high,
            scale].
        static: hyperparameter -> the choices to tune over, each compiled on its own.
        schedule: of the learning rate, a name or a `Schedule`; None for constant.
        batch_size: examples a step, ``"full"`` for the whole training split; None for the problem's own.
        order: how batches are drawn: ``"reshuffle"``, ``"fixed"`` or ``"iid"``; None for the problem's own.
        early_stopping: when trials may end early; False for never, None for the experiment's policy.
        choices: of the problems: choice -> value, such as ``{"activation": "gelu"}``. A list is tuned over:
            ``[low, high]`` or ``[low, high, scale]`` where the choice is a number that may be traced (a penalty, a rate
            of dropout), else value by value.
        draw: which draw of tuning points. Contenders of one draw whose spaces have as many dimensions get points at the
            same places, which makes comparisons sharper. To compare a method with itself, give the second one another
            draw.
        problems: names of the problems that it runs on, as tables call them; None for all. Where it does not run it
            has no result, neither a good nor a bad one.

    Raises:
        UserError: for a draw that is no whole number, or below 0, or problems that are no list of names.
    """

    optimizer: str | Optimizer
    label: str = ""
    space: Mapping[str, float | Sequence[Any]] = field(default_factory=dict)
    static: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    schedule: str | Schedule | None = None
    batch_size: int | Literal["full"] | None = None
    order: Order | None = None
    early_stopping: EarlyStopping | Literal[False] | None = None
    choices: Mapping[str, Any] = field(default_factory=dict)
    draw: int = 0
    problems: Sequence[str] | None = None

    def __post_init__(self) -> None:
        with suppress(UserError):  # it is told with all other mistakes, when the optimizer is loaded
            object.__setattr__(self, "optimizer", optimizer_given(self.optimizer))
        examples = {
            "space": "{'learning_rate': [1e-4, 1e-1]}",
            "static": "{'name': [1, 2]}",
            "choices": "{'width': 64}",
        }
        for name, example in examples.items():
            require_mapping(getattr(self, name), name, f"optimizer '{self.label or _base(self.optimizer)}'", example)
        if not isinstance(self.draw, int) or isinstance(self.draw, bool) or self.draw < 0:
            raise UserError(f"optimizer '{self.name}': draw must be a whole number of at least 0, got {self.draw!r}")
        if self.order is not None:
            require_order(self.order, owner=f"optimizer '{self.name}'")
        if self.problems is not None and not is_list_of_names(self.problems):
            raise UserError(
                f"optimizer '{self.name}': problems must be a list of at least one problem's name, got "
                f"{self.problems!r}; leave it out to run on all"
            )

    def runs_on(self, problem: str) -> bool:
        """Whether it is run on the problem of a name."""
        return self.problems is None or problem in self.problems

    @property
    def name(self) -> str:
        """How tables call it."""
        if self.label:
            return self.label
        base = _base(self.optimizer)
        parts = [of_factor(factor, getattr(self, factor)) for factor in FACTORS if getattr(self, factor) is not None]
        parts += [of_factor(choice, value) for choice, value in self.choices.items()]
        parts += [f"draw {self.draw}"] if self.draw else []
        return labelled(base, parts)

    def load_schedule(self) -> Schedule:
        """Returns the schedule with this entry's settings.

        Raises:
            UserError: for an unknown name, or settings that do not fit.
        """
        given: Any = self.schedule or CONSTANT
        schedule = get_schedule(given) if isinstance(given, str) else given
        if not isinstance(schedule, Schedule):
            hint = "a name such as 'cosine' has the trial's length" if callable(schedule) else "such as 'cosine'"
            raise UserError(
                f"optimizer '{self.label or _base(self.optimizer)}', schedule: expected a schedule's name or a "
                f"bench.Schedule, got {briefly(schedule)}; {hint}: `dlkit list schedules` shows them"
            )
        own = {name: value for name, value in self.space.items() if name in schedule.space}
        return replace(schedule, space=narrow(schedule.space, own, owner=f"schedule '{schedule.name}'"))

    def load(self) -> Optimizer:
        """Returns the optimizer with this entry's space.

        Raises:
            UserError: for an unknown name, or a space or choices that do not fit the optimizer.
        """
        scheduled = self.load_schedule().space
        overrides = {name: value for name, value in self.space.items() if name not in scheduled}
        if isinstance(self.optimizer, str) and is_import(self.optimizer):
            return load_plugin(self.optimizer, overrides, self.static)
        optimizer = registered_or_own(self.optimizer)
        owner = f"optimizer '{optimizer.name}'"
        for name in self.static:
            if name not in optimizer.static:
                raise UserError(f"{owner}: no static choice '{name}'; {nearest(name, optimizer.static)}")
        space = narrow(optimizer.space, overrides, owner=owner)
        return replace(optimizer, space=space, static={**optimizer.static, **self.static})


def _base(optimizer: Any) -> str:
    """The name of an optimizer alone; what was given in its place, where that is none."""
    if isinstance(optimizer, str):
        return optimizer
    return optimizer.name if isinstance(optimizer, Optimizer) else briefly(optimizer)


def _names_of(entry: type) -> list[str]:
    return [each.name for each in fields(entry)]


def is_own(*given: Any) -> bool:
    """Whether any of these problems, optimizers, schedules and probes is the user's own; None is nothing."""
    return any(is_import(each) if isinstance(each, str) else each is not None for each in given)


def registered_or_own(optimizer: Any) -> Optimizer:
    """Returns an optimizer by its registered name, or one's own.

    Raises:
        UserError: for an unknown name, or what is no `Optimizer`.
    """
    given = optimizer_given(optimizer)
    return get_optimizer(given) if isinstance(given, str) else given


@says_what_it_takes("bench.Experiment", lambda name: elsewhere(name, "experiment", _names_of(Experiment)))
@dataclass(frozen=True, kw_only=True)
class Experiment:
    """A comparison: every contender with one budget on every problem, or on those that it names.

    Attributes:
        name: of the run's folder.
        problems: at least one.
        optimizers: at least one; the first that runs on a problem is the baseline that sets targets where it has none.
        budget: the same for all.
        factors: ``"schedule"``, ``"batch_size"``, ``"order"``, ``"early_stopping"`` or a choice of the problems ->
            values to cross every optimizer with that does not set its own. A list among the values of a choice is
            tuned over, as in `Contender.choices`.
        early_stopping: the policy of optimizers that have none of their own; None for none.
        probes: what to compute at every point of the final trials' curves: names, ``"file.py:probe"``, or a `Probe`.
        targets: how baselines set targets, in place of the problems' own; None for the problems' own, and the first
            contender's where they have none.
        settling: how studies are added to the budget's until it is settled who is best; None: none are added.
        expand: whether spaces whose winners lie at an edge are widened, and tuned further there.
        timing: whether the tuned contenders' steps are timed at the end, side by side; a finished run can be later.
        keep: ``"best"`` keeps each contender's model on each problem, as `Result.best` returns it, in the run's folder:
            it trains these trials once more at the end, and decides no number. ``"nothing"`` keeps none.
        resources: settings of `Resources` by name, for runs whose call says nothing of them; they decide no number.

    Raises:
        UserError: for a value of another type.
    """

    name: str
    problems: tuple[ProblemChoice, ...]
    optimizers: tuple[Contender, ...]
    budget: Budget = field(default_factory=Budget)
    factors: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    early_stopping: EarlyStopping | None = None
    probes: Sequence[str | Probe] = ()
    targets: TargetRule | None = None
    settling: Settling | None = None
    expand: bool = False
    timing: bool = False
    keep: Literal["nothing", "best"] = "nothing"
    resources: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        mistakes = list[str]()
        for name, what, kind in (("problems", "problem", ProblemChoice), ("optimizers", "optimizer", Contender)):
            entries = entries_given(name, getattr(self, name), what, kind, mistakes)
            object.__setattr__(self, name, entries)
        mistakes += wrong_kinds({each.name: getattr(self, each.name) for each in fields(self)})
        if mistakes:
            raise UserError("\n".join(mistakes))

    def __repr__(self) -> str:
        problems = listed([each.label or getattr(each.problem, "name", str(each.problem)) for each in self.problems])
        optimizers = listed([getattr(each.optimizer, "name", str(each.optimizer)) for each in self.optimizers])
        return f"Experiment({self.name!r}: problems {problems}; optimizers {optimizers}; {self.budget!r})"

    def contenders(self) -> "list[Crossed]":
        """Returns every optimizer with every combination of the factors that it leaves open.

        Raises:
            UserError: for a factor that there is not, or one without values.
        """
        mistakes = [line for name in self.factors for line in unknown_factor(name, self.problems)]
        mistakes += [
            f"factors.{name}: expected a list of at least one value, got {values!r}"
            f"{f'; write [{values!r}]' if isinstance(values, str) else ''}"
            for name, values in self.factors.items()
            if isinstance(values, str) or not isinstance(values, Sequence) or not values
        ]
        if mistakes:
            raise UserError("\n".join(mistakes))
        return [crossed for entry in self.optimizers for crossed in _crossed(entry, self.factors)]


def unknown_factor(name: str, problems: Sequence[ProblemChoice]) -> list[str]:
    """Returns what is wrong with a factor's name: every problem has to have a choice of that name."""
    if name in FACTORS:
        return []
    choices: dict[str, Collection[str]] = {}
    for entry in problems:
        with suppress(UserError):  # it is reported where the problem is
            maker = entry.maker()
            choices[maker.name] = maker.defaults if isinstance(maker, ProblemFactory) else ()
    known = {*FACTORS, *itertools.chain(*choices.values())}
    if name not in known and (setting := closest(name, HYPERPARAMETERS, spelled_so=True)):
        return [
            f"factors.{name}: hyperparameters are tuned, not crossed: give each optimizer '{setting}' in its space, or "
            "several entries of it, each with a label and a number there"
        ]
    if name not in known:
        return [f"factors.{name}: no factor '{name}'; {nearest(name, known)}"]
    lacking = [problem for problem, names in choices.items() if name not in names]
    return [f"factors.{name}: problem '{problem}' has no choice '{name}'; leave one of them out" for problem in lacking]


class Crossed(NamedTuple):
    """A contender.

    Attributes:
        entry: the optimizer and how it is used.
        levels: factor -> what it has of it; the optimizer is a factor too, and of one method with several draws of
            points each is a level.
    """

    entry: Contender
    levels: Mapping[str, str]


def _crossed(entry: Contender, factors: Mapping[str, Sequence[Any]]) -> Iterator[Crossed]:
    """An entry with each combination of the factors that it does not set itself."""
    own = {factor: getattr(entry, factor) for factor in FACTORS if getattr(entry, factor) is not None}
    own |= entry.choices
    base = entry.label or _base(entry.optimizer)
    open_factors = {name: values for name, values in factors.items() if name not in own}
    for combination in itertools.product(*open_factors.values()):
        chosen = dict(zip(open_factors, combination, strict=True))
        label = entry.label and labelled(entry.label, [of_factor(*item) for item in chosen.items()])
        usage = {name: value for name, value in chosen.items() if name in FACTORS}
        choices = {name: value for name, value in chosen.items() if name not in FACTORS}
        levels = {"optimizer": f"{base}, draw {entry.draw}" if entry.draw else base}
        levels |= {name: level_name(value) for name, value in {**own, **chosen}.items()}
        yield Crossed(replace(entry, **usage, choices={**entry.choices, **choices}, label=label), levels)
