"""An experiment as data: its problems and contenders, and the trials they make, each with the hash of its content."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from dlkit.bench.identity.hashing import digest
from dlkit.bench.plan.axes import Allowance, Axis
from dlkit.bench.plan.card import DataCard
from dlkit.bench.plan.metric import Metric
from dlkit.bench.plan.policies import CONSTANT_SCHEDULE, EarlyStopping, TargetRule, Tuner
from dlkit.bench.plan.programs import AllPrograms, program_of
from dlkit.bench.plan.space import Point, Range
from dlkit.bench.plan.trials import STUDY_SEEDS, Order, Stage, Trial

__all__ = ["DRAW_SEEDS", "Expansion", "Plan", "PlannedContender", "PlannedProblem", "draw_seed"]

DRAW_SEEDS = 1_000_000  # draws of points are this far apart in seeds: more than there are studies


def draw_seed(study: int, draw: int) -> int:
    """Returns the seed of a draw of tuning points, from a study's number and a contender's draw."""
    return study + draw * DRAW_SEEDS


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

    def points_of(self, study: int) -> Sequence[Point]:
        """Returns what was drawn for a study before anything ran."""
        return self.points if study == 0 else self.further[study - 1] if study <= len(self.further) else ()


@dataclass(frozen=True)
class Expansion:
    """A space that was widened after a winner had been found at its edge, and the points drawn in what was added.

    Attributes:
        problem: where the winner was at the edge.
        contender: whose it was.
        space: hyperparameter -> range or fixed number, as they are from then on.
        points: [studies][points] inside this space and outside the one before.
    """

    problem: str
    contender: str
    space: Mapping[str, Range | float]
    points: Sequence[Sequence[Point]]


@dataclass(frozen=True)
class Plan:
    """A whole experiment as data: what the store keeps, and all that reports need.

    Attributes:
        name: of the experiment.
        problems: in the order given.
        contenders: in the order given; the first is the baseline.
        evaluations: points of each curve after step 0.
        tuning_seeds: seeds of the tuning stage in each study.
        seeds: seeds of the final stage in each study; no tuning seed is among them.
        tuner: how contenders are tuned.
        expansions: the spaces that were widened since, in that order.
        probes: diagnostic computed at every point of the final trials' curves -> whether it is the user's own.
        trial_seconds: a trial's time budget, None for none.
        targets: how baselines set the targets of problems that declare none.
        max_seeds: where there is one study, final seeds are added until it is settled who is best, up to so many; None:
            none are added.
        added_seeds: problem -> contender -> how many were added since.
        max_studies: where there are several, studies are added until it is settled who is best, up to so many; None:
            none are added.
        added_studies: problem -> contender -> how many were added since.
        expand: whether spaces whose winners lie at an edge are widened, and the run goes on there.
        timing: whether the tuned contenders' steps are timed at the end, side by side.
        programs: what functions of the user's own compute.
    """

    name: str
    problems: Sequence[PlannedProblem]
    contenders: Sequence[PlannedContender]
    evaluations: int
    tuning_seeds: int
    seeds: int
    tuner: Tuner = field(default_factory=Tuner)
    expansions: tuple[Expansion, ...] = ()
    probes: Mapping[str, bool] = field(default_factory=dict)
    trial_seconds: float | None = None
    targets: TargetRule = field(default_factory=TargetRule)
    max_seeds: int | None = None
    added_seeds: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    max_studies: int | None = None
    added_studies: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    expand: bool = False
    timing: bool = False
    programs: AllPrograms = field(default_factory=dict)

    @property
    def repeats_tuning(self) -> bool:
        """Whether there are several studies, so that what is compared are methods: tuning and training together.

        With one study there are only the settings that it found.
        """
        return self.tuner.studies > 1

    def splits_anew(self, problem: PlannedProblem) -> bool:
        """Whether blocks differ in a problem's test examples: each study splits them anew, and blocks are studies."""
        return self.repeats_tuning and problem.redraws_split

    @property
    def unit(self) -> Literal["studies", "seeds"]:
        """What contenders are compared over: what blocks are."""
        return "studies" if self.repeats_tuning else "seeds"

    @property
    def planned_blocks(self) -> int:
        """How many blocks each contender has on a problem, without those that are added."""
        return self.tuner.studies if self.repeats_tuning else self.seeds

    @property
    def most_blocks(self) -> int | None:
        """How many it has at most where blocks are added until it is settled; None: none are added."""
        return self.max_studies if self.repeats_tuning else self.max_seeds

    def studies(self, problem: PlannedProblem, contender: PlannedContender) -> range:
        """Returns a contender's studies on a problem, those included that were added since."""
        return range(self.tuner.studies + self.added_studies.get(problem.name, {}).get(contender.label, 0))

    def first_seed(self, study: int) -> int:
        """Returns the first seed of a study, of tuning and of the final stage."""
        return (self.tuner.first_study + study) * STUDY_SEEDS

    def draw_seed(self, contender: PlannedContender, study: int) -> int:
        """Returns the seed that a study draws a contender's points from."""
        return draw_seed(self.tuner.first_study + study, contender.draw)

    def batch_size(self, problem: PlannedProblem, contender: PlannedContender) -> int | None:
        """Returns how many examples a contender's step takes, None for all."""
        own = contender.batch_size
        return problem.batch_size if own is None else None if own == "full" else own

    def choices(self, problem: PlannedProblem, contender: PlannedContender) -> dict[str, Any]:
        """Returns a problem's choices as a contender sets them, without those that it is tuned over."""
        chosen = {**problem.choices, **contender.choices}
        return {name: value for name, value in chosen.items() if name not in contender.tuned_choices}

    def space(self, problem: PlannedProblem, contender: PlannedContender) -> Mapping[str, Range | float]:
        """Returns a contender's space on a problem, with what was added to it since."""
        widened = [each.space for each in self._expansions(problem, contender)]
        return widened[-1] if widened else contender.space

    def added_points(self, problem: PlannedProblem, contender: PlannedContender, study: int = 0) -> list[Point]:
        """Returns a study's points in what was added to the space."""
        widened = self._expansions(problem, contender)
        return [point for each in widened if study < len(each.points) for point in each.points[study]]

    def _expansions(self, problem: PlannedProblem, contender: PlannedContender) -> list[Expansion]:
        return [each for each in self.expansions if (each.problem, each.contender) == (problem.name, contender.label)]

    def search_key(self, problem: PlannedProblem, contender: PlannedContender, study: int) -> str:
        """Returns the hash of what decides which points a study draws while it runs, but not how many.

        How many there are counts only where it decides which ones: with zoom.
        """
        static = {name: list(options) for name, options in contender.static.items()}
        identity = dict(self.trial(problem, contender, Point({}, {}), "tuning", self.first_seed(study)).identity)
        if programs := self.programs.get(problem.name, {}).get(contender.label, {}):
            identity["program"] = [asdict(each) for _, each in sorted(programs.items())]
        space = {name: asdict(part) if isinstance(part, Range) else part for name, part in contender.space.items()}
        facts = [identity, problem.metric, space, static, self.tuner.name, self.tuner.batch, self.tuning_seeds]
        if contender.draw:
            facts.append(["draw", contender.draw])
        if self.tuner.name == "zoom":
            facts.append(contender.undrawn)  # half of the points are spread: how many that is decides the others
        if self.tuner.is_adaptive and self.tuner.objective != "final":
            facts += [self.tuner.objective, problem.target if self.tuner.objective == "steps" else None]
        return digest(facts)

    def trial(
        self,
        problem: PlannedProblem,
        contender: PlannedContender,
        point: Point,
        stage: Stage,
        seed: int,
        until: int | None = None,
    ) -> Trial:
        """Returns a trial with its identity: the content that decides its numbers, and nothing else."""
        allowed = problem.allowance(contender.label)
        made = {"made_by": problem.made_by, "choices": self.choices(problem, contender)}
        identity: dict[str, Any] = {
            "problem": {
                "name": problem.name,
                "data": problem.data,
                "batch_size": self.batch_size(problem, contender),
                "order": contender.order or problem.order,
                "diverged_above": problem.diverged_above,
                **({} if problem.is_own else made),  # of one's own the program says it
            },
            "optimizer": {"name": "" if contender.is_own else contender.optimizer, "static": dict(point.static)},
            "schedule": contender.schedule,
            "early_stopping": _policy(problem, contender),
            "probes": sorted(self.probes) if stage == "final" else [],
            "steps": allowed.steps,
            "evaluations": self.evaluations,
            "hyperparameters": dict(point.hyperparameters),
            "stage": stage,
            "seed": seed,
        }
        if self.trial_seconds is not None:
            identity["seconds"] = self.trial_seconds
        if allowed.gradients is not None:  # of a rung, its share
            identity["gradients"] = allowed.gradients * (1.0 if until is None else until / self.evaluations)
        if until is not None:
            identity["until"] = until
        computed = program_of(self.programs, problem.name, contender.label, point.static)
        if deciding := computed.in_stage(stage):
            identity["program"] = deciding
        return Trial(digest(identity), identity)

    def reruns(self, problem: PlannedProblem, baseline: PlannedContender, winner: Point) -> list[Trial]:
        """Returns the trials of the best tuned baseline that set a problem's targets.

        They take the planned studies in turn, since each study may split the examples in its own way.
        """
        turns = [divmod(rerun, self.tuner.studies) for rerun in range(self.targets.reruns)]
        seeds = [self.first_seed(study) + turn for turn, study in turns]
        return [self.trial(problem, baseline, winner, "target", seed) for seed in sorted(seeds)]

    def tuning_trials(
        self,
        problem: PlannedProblem,
        contender: PlannedContender,
        points: Sequence[Point] | None = None,
        *,
        study: int = 0,
        until: int | None = None,
        again: bool = False,
    ) -> list[list[Trial]]:
        """Returns tuning trials, one row a point, one column a seed.

        Args:
            problem: which.
            contender: which.
            points: what is tried; None for the points that were drawn before anything ran.
            study: whose seeds.
            until: the evaluation a rung of successive halving ends at.
            again: on fresh seeds of the study, as many as the first ones.
        """
        first = self.first_seed(study) + (self.tuning_seeds if again else 0)
        return [
            [
                self.trial(problem, contender, point, "tuning", seed, until)
                for seed in range(first, first + self.tuning_seeds)
            ]
            for point in (contender.points_of(study) if points is None else points)
        ]

    def final_trials(
        self, problem: PlannedProblem, contender: PlannedContender, winner: Point, *, study: int = 0
    ) -> list[Trial]:
        """Returns the trials of a study's winner on the study's fresh seeds, which all contenders share."""
        added = 0 if self.repeats_tuning else self.added_seeds.get(problem.name, {}).get(contender.label, 0)
        first = self.first_seed(study)
        return [self.trial(problem, contender, winner, "final", first + seed) for seed in range(self.seeds + added)]

    @property
    def digest(self) -> str:
        """The hash of the canonical form, which `json.to_json` writes; it names the spec."""
        return digest(asdict(self))


def _policy(problem: PlannedProblem, contender: PlannedContender) -> dict[str, Any] | None:
    """A contender's early stopping with the metric it watches."""
    stopping = contender.stopping
    return None if stopping is None else {**asdict(stopping), "metric": stopping.metric or problem.metric}
