"""An experiment as data: the trials that its problems and contenders make, each with the hash of its content."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, Literal, NamedTuple

from dlkit.bench.identity.hashing import canonical, digest, digest_after
from dlkit.bench.plan.planned import PlannedContender, PlannedProblem
from dlkit.bench.plan.policies import TargetRule, Tuner
from dlkit.bench.plan.programs import AllPrograms, program_of
from dlkit.bench.plan.space import Point, Range
from dlkit.bench.plan.trials import STUDY_SEEDS, Stage, Trial

__all__ = ["DRAW_SEEDS", "Expansion", "Plan", "draw_seed"]

DRAW_SEEDS = 1_000_000  # draws of points are this far apart in seeds: more than there are studies


def draw_seed(study: int, draw: int) -> int:
    """Returns the seed of a draw of tuning points, from a study's number and a contender's draw."""
    return study + draw * DRAW_SEEDS


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


class _Shared(NamedTuple):
    """What trials of a contender on a problem share.

    Attributes:
        problem: which.
        contender: which; both are kept, so that no other object gets their ids.
        identity: as `Trial.identity`, without hyperparameters and seed.
        text: the digest of its canonical JSON as a function of what follows the beginning; the JSON between these two,
            and after them.
    """

    problem: PlannedProblem
    contender: PlannedContender
    identity: dict[str, Any]
    text: tuple[Callable[[str], str], str, str]


@dataclass(frozen=True)
class Plan:
    """A whole experiment as data: what the store keeps, and all that reports need.

    Attributes:
        name: of the experiment.
        problems: in the order given.
        contenders: in the order given; the first that runs on a problem is the baseline there.
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

    def __repr__(self) -> str:
        names = [[each.name for each in self.problems], [each.label for each in self.contenders]]
        problems, contenders = (", ".join(each[:8] + ["..."] * (len(each) > 8)) for each in names)
        return f"<Plan {self.name!r}: {problems}; {contenders}>"

    def contenders_on(self, problem: PlannedProblem) -> list[PlannedContender]:
        """Returns the contenders that run on a problem; the first is the baseline there."""
        return [contender for contender in self.contenders if contender.runs_on(problem.name)]

    @property
    def cells(self) -> list[tuple[PlannedProblem, PlannedContender]]:
        """Every problem with every contender that runs on it."""
        return [(problem, contender) for problem in self.problems for contender in self.contenders_on(problem)]

    @property
    def has_gaps(self) -> bool:
        """Whether some contender does not run on some problem."""
        return len(self.cells) < len(self.problems) * len(self.contenders)

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
        return self._trials_of(self._shared(problem, contender, point.static, stage, until), point, [seed])[0]

    def _trials_of(self, shared: "_Shared", point: Point, seeds: Iterable[int]) -> list[Trial]:
        """The trials of a point, one a seed."""
        own, hyperparameters = self._written(point)
        digest_of_rest, between, after = shared.text
        known, made = self._trials, []
        for seed in seeds:
            text = str(seed) if type(seed) is int else canonical(seed)
            key = (id(shared), own, text)
            trial = known.get(key)
            if trial is None:
                name = digest_of_rest(f"{own}{between}{text}{after}")
                identity = {**shared.identity, "hyperparameters": hyperparameters, "seed": seed}
                trial = known[key] = Trial(name, identity)
            made.append(trial)
        return made

    @cached_property
    def _trials(self) -> dict[tuple[int, str, str], Trial]:
        """Trials that were asked for: each is hashed once, whoever asks."""
        return {}

    def _written(self, point: Point) -> tuple[str, dict[str, float]]:
        """A point's hyperparameters as JSON, and as they are: many trials have them, and nobody may write to them."""
        known = self._points.get(id(point))
        if known is None or known[0] is not point:
            hyperparameters = dict(point.hyperparameters)
            known = self._points[id(point)] = (point, canonical(hyperparameters), hyperparameters)
        return known[1:]

    @cached_property
    def _points(self) -> dict[int, tuple[Point, str, dict[str, float]]]:
        return {}

    def _shared(
        self,
        problem: PlannedProblem,
        contender: PlannedContender,
        static: Mapping[str, Any],
        stage: Stage,
        until: int | None,
    ) -> "_Shared":
        """What trials share that differ in hyperparameters and seed alone: plans have hundreds of thousands."""
        key = (id(problem), id(contender), stage, until, canonical(dict(static)) if static else "")
        known = self._known.get(key)
        if known is None or known.problem is not problem or known.contender is not contender:
            identity = self._identity(problem, contender, static, stage, until)
            known = self._known[key] = _Shared(problem, contender, identity, _around(identity))
        return known

    @cached_property
    def _known(self) -> "dict[tuple[Any, ...], _Shared]":
        return {}

    def _identity(
        self,
        problem: PlannedProblem,
        contender: PlannedContender,
        static: Mapping[str, Any],
        stage: Stage,
        until: int | None,
    ) -> dict[str, Any]:
        """The identity of a trial, with nothing in the places of its hyperparameters and its seed."""
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
            "optimizer": {"name": "" if contender.is_own else contender.optimizer, "static": dict(static)},
            "schedule": contender.schedule,
            "early_stopping": _policy(problem, contender),
            "probes": sorted(self.probes) if stage == "final" else [],
            "steps": allowed.steps,
            "evaluations": self.evaluations,
            "hyperparameters": None,
            "stage": stage,
            "seed": None,
        }
        if self.trial_seconds is not None:
            identity["seconds"] = self.trial_seconds
        if allowed.gradients is not None:  # of a rung, its share
            identity["gradients"] = allowed.gradients * (1.0 if until is None else until / self.evaluations)
        if until is not None:
            identity["until"] = until
        computed = program_of(self.programs, problem.name, contender.label, static)
        if deciding := computed.in_stage(stage):
            identity["program"] = deciding
        return identity

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
        seeds = range(first, first + self.tuning_seeds)
        usual = self._shared(problem, contender, {}, "tuning", until)
        return [
            self._trials_of(
                self._shared(problem, contender, point.static, "tuning", until) if point.static else usual, point, seeds
            )
            for point in (contender.points_of(study) if points is None else points)
        ]

    def final_trials(
        self, problem: PlannedProblem, contender: PlannedContender, winner: Point, *, study: int = 0
    ) -> list[Trial]:
        """Returns the trials of a study's winner on the study's fresh seeds, which all contenders share."""
        added = 0 if self.repeats_tuning else self.added_seeds.get(problem.name, {}).get(contender.label, 0)
        first = self.first_seed(study)
        shared = self._shared(problem, contender, winner.static, "final", None)
        return self._trials_of(shared, winner, range(first, first + self.seeds + added))

    @cached_property
    def digest(self) -> str:
        """The hash of the canonical form, which `json.to_json` writes; it names the spec."""
        return digest(asdict(self))


def _policy(problem: PlannedProblem, contender: PlannedContender) -> dict[str, Any] | None:
    """A contender's early stopping with the metric it watches."""
    stopping = contender.stopping
    return None if stopping is None else {**asdict(stopping), "metric": stopping.metric or problem.metric}


def _around(identity: Mapping[str, Any]) -> tuple[Callable[[str], str], str, str]:
    """The canonical JSON of an identity around its hyperparameters and its seed: see `_Shared`."""
    first, second = "hyperparameters", "seed"  # keys are sorted there
    others = [(name, value) for name, value in identity.items() if name not in (first, second)]
    before = canonical({name: value for name, value in others if name < first})[1:-1]
    between = canonical({name: value for name, value in others if first < name < second})[1:-1]
    after = canonical({name: value for name, value in others if second < name})[1:-1]
    return digest_after(f'{{{before},"{first}":'), f',{between},"{second}":', f",{after}}}"
