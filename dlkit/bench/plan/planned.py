"""A problem and a contender of a plan, as data: what is left of them when their functions are no longer there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from dlkit.bench.plan.axes import Allowance, Axis
from dlkit.bench.plan.card import DataCard
from dlkit.bench.plan.metric import Metric
from dlkit.bench.plan.policies import CONSTANT_SCHEDULE, EarlyStopping
from dlkit.bench.plan.space import Point, Range
from dlkit.bench.plan.trials import Order

__all__ = ["PlannedContender", "PlannedProblem"]


@dataclass(frozen=True)
class PlannedProblem:
    """A problem of a plan, as data: what reports need of it when its functions are no longer there.

    Attributes:
        name: of the problem.
        metrics: metric -> what it means.
        metric: the one that is judged.
        target: its target on the split that judges, None for one that baselines set.
        steps: of a trial; where the budget is counted in something else, of one whose optimizer takes one gradient a
            step (in a game: one a move) on batches of the problem's own size.
        batch_size: examples a step, None for all.
        data: the dataset's digest.
        examples: how many train, validation and test have.
        judged_on: ``"test"``: examples that nothing was selected on; ``"objective"``: nothing is held out, the metric
            is the training objective itself.
        redraws_split: whether each study splits the examples anew.
        leaks: what splits of the user's own data share that should be apart, a sentence each.
        unseen: what `Plan.programs` cannot tell of the functions that run on it, a sentence each.
        data_source: where the data come from.
        is_own: whether it is the user's own, and not the catalogue's.
        description: one line of text.
        diverged_above: a trial diverges if its training loss exceeds this; None: if losses end far beyond the first.
        ladder: targets that are easier than `target`, the easiest first.
        made_by: the catalogue's name, or the reference of the function that made it; empty for a ready-made problem.
        choices: of the function that made it, each with its value.
        margin: differences of the judged metric up to this do not matter: in its units, or for one on a log scale, as a
            ratio above 1; None if every difference does.
        order: how batches are drawn, as of `Problem`.
        axis: what the budget is counted in.
        amount: what a trial may spend of it; None for `steps` of them.
        allowances: label -> how far that contender may train; those that are not there make `steps`.
        card: what was done to the data of `bench.dataset`; None of others.
    """

    name: str
    metrics: Mapping[str, Metric]
    metric: str
    target: float | None
    steps: int
    batch_size: int | None
    data: str
    data_source: str
    is_own: bool
    description: str
    diverged_above: float | None = None
    ladder: tuple[float, ...] = ()
    made_by: str = ""
    choices: Mapping[str, Any] = field(default_factory=dict)
    margin: float | None = None
    examples: tuple[int, int, int] = (0, 0, 0)
    judged_on: Literal["test", "objective"] = "test"
    redraws_split: bool = False
    leaks: tuple[str, ...] = ()
    unseen: tuple[str, ...] = ()
    order: Order = "reshuffle"
    axis: Axis = "steps"
    amount: float | None = None
    allowances: Mapping[str, Allowance] = field(default_factory=dict)
    card: DataCard | None = None

    @property
    def judged(self) -> Metric:
        """What the judged metric means."""
        return self.metrics[self.metric]

    @property
    def budget(self) -> float:
        """What a trial may spend, in units of `axis`."""
        return float(self.steps) if self.amount is None else self.amount

    def allowance(self, label: str) -> Allowance:
        """Returns how far a contender may train."""
        return self.allowances.get(label, Allowance(self.steps))


@dataclass(frozen=True)
class PlannedContender:
    """An optimizer of a plan and how it is used, as data.

    Attributes:
        label: how tables call it.
        optimizer: its name.
        is_own: whether its optimizer or its schedule is the user's own, and not registered.
        space: hyperparameter of the optimizer, setting of the schedule or traced choice of the problem -> range or
            fixed number.
        points: what tuning tries in the first study, in this order: the points that are drawn before anything runs.
        static: hyperparameter or choice of the problem -> the values to tune over.
        further: the same as `points`, of the second study, the third, ...
        undrawn: how many points each study draws while it runs; None: until its seconds are spent.
        schedule: name of the learning rate's schedule.
        batch_size: examples a step, ``"full"`` for all, None for the problem's own.
        order: how batches are drawn, None for the problem's own.
        stopping: when its trials may end early.
        choices: of the problem, in place of the problem's own.
        tuned_choices: the choices of the problem among `space` and `static`.
        levels: factor -> this contender's level of it, for the factors in which contenders differ.
        draw: which draw of points; contenders of one draw try the same places of spaces of as many dimensions.
        problems: names of the problems that it runs on; empty for all.
    """

    label: str
    optimizer: str
    is_own: bool
    space: Mapping[str, Range | float]
    points: Sequence[Point]
    static: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    further: tuple[Sequence[Point], ...] = ()
    undrawn: int | None = 0
    schedule: str = CONSTANT_SCHEDULE
    batch_size: int | Literal["full"] | None = None
    order: Order | None = None
    stopping: EarlyStopping | None = None
    choices: Mapping[str, Any] = field(default_factory=dict)
    tuned_choices: tuple[str, ...] = ()
    levels: Mapping[str, str] = field(default_factory=dict)
    draw: int = 0
    problems: tuple[str, ...] = ()

    def runs_on(self, problem: str) -> bool:
        """Whether it is run on the problem of a name."""
        return not self.problems or problem in self.problems

    def points_of(self, study: int) -> Sequence[Point]:
        """Returns what was drawn for a study before anything ran."""
        return self.points if study == 0 else self.further[study - 1] if study <= len(self.further) else ()
