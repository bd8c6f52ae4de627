"""Worlds without training: what a trial comes to follows from a few numbers, so that it is known which claims are true.

A plan is played from points to verdict by the functions that a real run uses; only trials are drawn instead of trained.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from dlkit.bench.analysis.comparison import Comparison, compare_on
from dlkit.bench.analysis.settling import more_blocks
from dlkit.bench.errors import UserError
from dlkit.bench.plan.metric import Metric
from dlkit.bench.plan.plan import Plan, draw_seed
from dlkit.bench.plan.planned import PlannedContender, PlannedProblem
from dlkit.bench.plan.policies import Tuner
from dlkit.bench.plan.space import uniform
from dlkit.bench.plan.trials import STUDY_SEEDS, Evaluations, Outcome, Trial
from dlkit.bench.spec.budget import Budget
from dlkit.bench.tuning.history import History
from dlkit.bench.tuning.sampling import beforehand
from dlkit.bench.tuning.search import next_points, search
from dlkit.bench.tuning.winner import tune

__all__ = [
    "EVALUATIONS",
    "REACH",
    "STEPS",
    "World",
    "judge",
    "places_of",
    "play",
    "play_on",
    "simulated_plan",
    "training",
]

Floats = np.ndarray[Any, Any]
Train = Callable[[PlannedProblem, PlannedContender, Trial], Outcome | None]

EVALUATIONS, STEPS = 20, 40
START = 10.0  # where training starts; it ends around 0
REACH = 2.0  # hyperparameters lie within so many units of 0, the best value
FASTEST = 50.0


@dataclass(frozen=True, kw_only=True)
class World:
    """What contenders that are alike but for the last one come to.

    A trial ends at ``curvature * sum x_i^2``, plus what its seed has for all contenders, plus what it has alone.

    Attributes:
        dimensions: hyperparameters x_i, each between -2 and 2.
        curvature: of the final value in each of them, in standard deviations of a trial's own noise.
        noise: its distribution: ``"normal"``, ``"t2"`` (Student's, without a variance) or ``"lognormal"``.
        shared: standard deviation of what a seed has for all contenders.
        advantage: how much lower the last contender ends.
        uneven: how many times as noisy the last contender is.
        diverging: share of the trials that diverge, wherever they are.
        forbidden: share of the first hyperparameter's range, from its upper end, in which every trial diverges.
        rounding: final values are multiples of this; 0 for none.
        centre: where the best value of each hyperparameter is.
        shuffled: whether names change places in each study at random, so that the advantage belongs to nobody.
        trade: how many e-folds of the rate of convergence one unit of the first hyperparameter buys.
        late: by how many e-folds the last contender converges slower.
        rate_noise: of the rate's logarithm, for one unit of a trial's noise.
        target: what steps are counted to; None for none.
    """

    dimensions: int = 1
    curvature: float = 0.3
    noise: Literal["normal", "t2", "lognormal"] = "normal"
    shared: float = 1.0
    advantage: float = 0.0
    uneven: float = 1.0
    diverging: float = 0.0
    forbidden: float = 0.0
    rounding: float = 0.0
    centre: float = 0.0
    shuffled: bool = False
    trade: float = 0.7
    late: float = 0.0
    rate_noise: float = 0.15
    target: float | None = 5.0

    def draw(self, rng: np.random.Generator, size: int | tuple[int, ...] | None = None) -> Any:
        """Draws noise of standard deviation 1 (of scale 1 where there is none)."""
        match self.noise:
            case "normal":
                return rng.normal(size=size)
            case "t2":
                return rng.standard_t(2, size=size)
            case "lognormal":
                return rng.lognormal(size=size) / math.sqrt((math.e - 1) * math.e)

    def end(self, places: Floats, is_last: Any, seed: Any, own: Any) -> Any:
        """Returns final values from places [..., dimensions], and noise of the seed and of the trial alone [...]."""
        bowl = self.curvature * ((np.asarray(places) - self.centre) ** 2).sum(axis=-1)
        value = bowl + self.shared * seed + own * np.where(is_last, self.uneven, 1.0) - self.advantage * is_last
        return np.round(value / self.rounding) * self.rounding if self.rounding else value

    def curves(self, places: Floats, is_last: Any, seed: Any, own: Any) -> Floats:
        """Returns curves [..., evaluations + 1] that fall exponentially to the final value; arguments as of `end`."""
        end = np.asarray(self.end(places, is_last, seed, own))[..., None]
        speed = self.trade * np.asarray(places)[..., 0] + self.rate_noise * (seed + own) - self.late * is_last
        rate = np.minimum(np.exp(np.clip(speed, -20.0, 20.0)), FASTEST)[..., None]
        left = 1 - np.arange(EVALUATIONS + 1) / EVALUATIONS
        found: Floats = end + (START - end) * np.expm1(4 * rate * left) / np.expm1(4 * rate)
        return found

    def is_forbidden(self, places: Floats) -> Any:
        """Returns whether trials at places [..., dimensions] diverge."""
        return np.asarray(places)[..., 0] > REACH - 2 * REACH * self.forbidden


# --- plans ---


def simulated_plan(
    world: World,
    budget: Budget,
    *,
    contenders: int = 2,
    first_study: int = 0,
    common_points: bool = False,
    factors: Sequence[Mapping[str, str]] = (),
    max_studies: int | None = None,
    max_seeds: int | None = None,
    margin: float | None = None,
) -> Plan:
    """Plans one method under several names, x0, x1, ..., each with a draw of points of its own.

    Args:
        world: what is trained in.
        budget: what each contender gets.
        contenders: how many there are.
        first_study: the number of the first study: other numbers give other points.
        common_points: whether all contenders try the same points.
        factors: each contender's levels; there are as many contenders then.
        max_studies: as of `Plan`.
        max_seeds: as of `Plan`.
        margin: as of `PlannedProblem`.

    Returns:
        The plan.

    Raises:
        UserError: for settings of a budget that mean nothing here: trials take no time, and all have the same steps.
    """
    _require_simulated(budget)
    amounts = budget.filled()
    space = {f"x{place}": uniform(-REACH, REACH) for place in range(world.dimensions)}
    tuner = Tuner(
        amounts.tuner,
        studies=amounts.studies,
        halving=amounts.halving,
        batch=amounts.tuning_batch,
        grid=dict(amounts.grid),
        first_study=first_study,
        objective=amounts.objective,
    )
    count = amounts.tuning_points or (amounts.tuning_points_per_dimension or 1) * world.dimensions

    def contender(place: int) -> PlannedContender:
        draw = 0 if common_points else place
        label, levels = f"x{place}", factors[place] if factors else {}
        facts = {"levels": levels, "draw": draw}
        if tuner.is_adaptive:
            further = ((),) * (tuner.studies - 1)
            return PlannedContender(label, label, False, space, [], further=further, undrawn=count, **facts)  # type: ignore[arg-type]
        seeds = [draw_seed(first_study + study, draw) for study in range(tuner.studies)]
        drawn = (beforehand(tuner.name, space, {}, count, seed=seed, counts=tuner.grid) for seed in seeds)
        points, *further_points = drawn
        return PlannedContender(label, label, False, space, points, further=tuple(further_points), **facts)  # type: ignore[arg-type]

    metric = Metric("lower", "linear", "error")
    problem = PlannedProblem(
        "simulated",
        {"error": metric},
        "error",
        world.target,
        STEPS,
        8,
        "0" * 16,
        "drawn",
        False,
        "drawn",
        margin=margin,
    )
    return Plan(
        "simulated",
        [problem],
        [contender(place) for place in range(len(factors) or contenders)],
        EVALUATIONS,
        amounts.tuning_seeds or 1,
        amounts.seeds or 1,
        tuner,
        max_studies=max_studies,
        max_seeds=max_seeds,
    )


def _require_simulated(budget: Budget) -> None:
    """Refuses what a budget asks for and a world does not have."""
    usual = Budget()
    asked = [
        f"budget.{name} = {getattr(budget, name)!r}"
        for name in ("steps", "axis", "evaluations", "tuning_seconds", "trial_seconds", "first_study")
        if getattr(budget, name) != getattr(usual, name)
    ]
    if asked:
        raise UserError(f"a simulated plan has no {', '.join(asked)}")


def play(plan: Plan, train: Train) -> History:
    """What running a plan would bring: all tuning trials, then the winners on the fresh seeds, study by study.

    Args:
        plan: which.
        train: what comes of a trial; None if it does not run.

    Returns:
        The plan with its outcomes, and the points drawn on the way.
    """
    return play_on(History(plan), train)


def play_on(history: History, train: Train) -> History:
    """Plays what a history lacks of its plan.

    Args:
        history: where outcomes and points are added.
        train: as of `play`.

    Returns:
        The history.
    """

    def ran(problem: PlannedProblem, contender: PlannedContender, trials: Iterable[Trial]) -> bool:
        new = [outcome for trial in trials if (outcome := train(problem, contender, trial)) is not None]
        history.add(new)
        return bool(new)

    plan = history.plan
    for problem, contender in plan.cells:
        about = (history, problem, contender)
        for study in plan.studies(problem, contender):
            while True:
                trials = [trial for _, trial in search(*about, study=study).pending(history.outcomes)]
                if trials:
                    if not ran(problem, contender, trials):
                        break
                    continue
                points = next_points(*about, study=study)
                if not points:
                    break
                history.draw(history.search_key(problem, contender, study), points)
            winner = tune(*about, study=study).point
            if winner is not None:
                finals = history.final_trials(problem, contender, winner, study=study)
                ran(problem, contender, [trial for trial in finals if trial.id not in history.outcomes])
    return history


# --- trials ---


def training(world: World, plan: Plan, rng: np.random.Generator) -> Train:
    """Returns what draws a trial's outcome; trials with the same seed share what a seed has.

    Args:
        world: where the trial runs.
        plan: from `simulated_plan`.
        rng: what noise comes from.
    """
    seeds: dict[tuple[str, int], tuple[float, bool]] = {}
    steps = np.arange(EVALUATIONS + 1, dtype=np.int64) * (STEPS // EVALUATIONS)
    last = plan.contenders[-1].label

    def train(problem: PlannedProblem, contender: PlannedContender, trial: Trial) -> Outcome:
        seed, is_turned = _of_seed(world, rng, seeds, trial)
        is_last = contender.label == last
        places = places_of(trial.hyperparameters)
        values = world.curves(places, is_last != is_turned, seed, world.draw(rng))
        has_diverged = rng.random() < world.diverging or bool(world.is_forbidden(places))
        length = None if trial.until is None else trial.until + 1
        shown = np.array([values[0], math.nan] if has_diverged else values[:length], np.float32)
        at = int(steps[1]) if has_diverged else None
        taken = steps[: len(shown)]
        status: Literal["diverged", "finished"] = "diverged" if has_diverged else "finished"
        spent = Evaluations(int(taken[-1]))
        return Outcome(trial, status, "", "", at, 0.0, 0.0, taken, {"error": shown}, {}, spent)

    return train


def _of_seed(
    world: World, rng: np.random.Generator, seeds: dict[tuple[str, int], tuple[float, bool]], trial: Trial
) -> tuple[float, bool]:
    """What a trial's seed has for all contenders, and whether names change places in its study."""
    key = (trial.stage, trial.seed)
    if key not in seeds:
        turned = world.shuffled and seeds.setdefault(("study", trial.seed // STUDY_SEEDS), (0.0, rng.random() < 0.5))[1]
        seeds[key] = (float(world.draw(rng)), turned)
    return seeds[key]


def places_of(hyperparameters: Mapping[str, float]) -> Floats:
    """Returns [dimensions] where a setting is."""
    return np.array(list(hyperparameters.values()))


def judge(world: World, plan: Plan, rng: np.random.Generator) -> Comparison:
    """Plays a plan in a world, with the studies or seeds that it adds, and compares the contenders.

    Args:
        world: where.
        plan: from `simulated_plan`.
        rng: what trials come to.

    Returns:
        The comparison.
    """
    train = training(world, plan, rng)
    history = play(plan, train)
    while (addition := more_blocks(history)) is not None:
        history = play_on(history.with_plan(addition.plan), train)
    return compare_on(history, plan.problems[0])
