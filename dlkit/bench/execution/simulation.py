"""Worlds without training: what a trial comes to follows from a few numbers, so that it is known which claims are true.

A plan is played from points to verdict by the functions that a real run uses; only trials are drawn instead of trained.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from dlkit.bench.analysis.claims import SENTENCES, Claim, claims
from dlkit.bench.analysis.comparison import Comparison, compare_on
from dlkit.bench.analysis.settling import more_blocks
from dlkit.bench.plan.metric import Metric
from dlkit.bench.plan.plan import Plan, PlannedContender, PlannedProblem, draw_seed
from dlkit.bench.plan.policies import Tuner
from dlkit.bench.plan.space import Point, uniform
from dlkit.bench.plan.trials import Evaluations, Outcome, Trial
from dlkit.bench.spec.budget import Budget
from dlkit.bench.tuning.history import History
from dlkit.bench.tuning.sampling import beforehand
from dlkit.bench.tuning.search import next_points, search
from dlkit.bench.tuning.winner import tune

__all__ = ["Shares", "World", "judge", "play", "shares", "simulated_plan"]

Floats = np.ndarray[Any, Any]
Train = Callable[[PlannedProblem, PlannedContender, Trial], Outcome | None]

EVALUATIONS, STEPS = 20, 40
START = 10.0  # where training starts; it ends around 0
REACH = 2.0  # hyperparameters lie within so many units of 0, the best value
FASTEST = 50.0
DRAWN_BEFORE = ("halton", "random", "grid")
TRUTH_DRAWS = 4000  # of a seed's noise, for what is true about steps to the target
LEAST_AHEAD = 0.5


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
    """
    amounts = budget.filled()
    space = {f"x{place}": uniform(-REACH, REACH) for place in range(world.dimensions)}
    tuner = Tuner(amounts.tuner, studies=amounts.studies, halving=amounts.halving, first_study=first_study)
    count = amounts.tuning_points or 1

    def contender(place: int) -> PlannedContender:
        draw = 0 if common_points else place
        label, levels = f"x{place}", factors[place] if factors else {}
        facts = {"levels": levels, "draw": draw}
        if tuner.name not in DRAWN_BEFORE:
            further = ((),) * (tuner.studies - 1)
            return PlannedContender(label, label, "", space, [], further=further, undrawn=count, **facts)  # type: ignore[arg-type]
        seeds = [draw_seed(first_study + study, draw) for study in range(tuner.studies)]
        points, *further_points = (beforehand(tuner.name, space, {}, count, seed=seed) for seed in seeds)
        return PlannedContender(label, label, "", space, points, further=tuple(further_points), **facts)  # type: ignore[arg-type]

    metric = Metric("lower", "linear", "error")
    problem = PlannedProblem(
        "simulated", {"error": metric}, "error", world.target, STEPS, 8, "0" * 16, "drawn", "", "drawn", margin=margin
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


def play(plan: Plan, train: Train) -> History:
    """What running a plan would bring: all tuning trials, then the winners on the final seeds, study by study.

    Args:
        plan: which.
        train: what comes of a trial; None if it does not run.

    Returns:
        The plan with its outcomes, and the points drawn on the way.
    """
    return play_on(History(plan), train)


def play_on(history: History, train: Train) -> History:
    """Plays what a history lacks of its plan, as `play` does, and returns the history."""

    def ran(problem: PlannedProblem, contender: PlannedContender, trials: Iterable[Trial]) -> bool:
        new = [outcome for trial in trials if (outcome := train(problem, contender, trial)) is not None]
        history.add(new)
        return bool(new)

    plan = history.plan
    for problem in plan.problems:
        for contender in plan.contenders:
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
    """Returns what draws a trial's outcome; trials with the same seed share what a seed has."""
    seeds: dict[tuple[str, int], tuple[float, bool]] = {}
    steps = np.arange(EVALUATIONS + 1, dtype=np.int64) * (STEPS // EVALUATIONS)
    last = plan.contenders[-1].label

    def train(problem: PlannedProblem, contender: PlannedContender, trial: Trial) -> Outcome:
        seed, is_turned = _of_seed(world, rng, seeds, trial)
        is_last = contender.label == last
        places = _places(trial.hyperparameters)
        values = world.curves(places, is_last != is_turned, seed, world.draw(rng))
        has_diverged = rng.random() < world.diverging or bool(world.is_forbidden(places))
        length = None if trial.until is None else trial.until + 1
        shown = np.array([values[0], math.nan] if has_diverged else values[:length], np.float32)
        at = int(steps[1]) if has_diverged else None
        ended = (trial, "diverged" if has_diverged else "finished", "", "", at, 0.0, 0.0)
        return Outcome(*ended, steps[: len(shown)], {"error": shown}, {}, Evaluations(int(steps[len(shown) - 1])))

    return train


def _of_seed(
    world: World, rng: np.random.Generator, seeds: dict[tuple[str, int], tuple[float, bool]], trial: Trial
) -> tuple[float, bool]:
    """What a trial's seed has for all contenders, and whether names change places in its study."""
    key = (trial.stage, trial.seed)
    if key not in seeds:
        turned = world.shuffled and seeds.setdefault(("study", trial.seed // 1000), (0.0, rng.random() < 0.5))[1]
        seeds[key] = (float(world.draw(rng)), turned)
    return seeds[key]


def _places(hyperparameters: Mapping[str, float]) -> Floats:
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


# --- truth ---


def is_true(world: World, comparison: Comparison, claim: Claim) -> bool:
    """Returns whether a claim holds in a world.

    One about methods names the last contender, if that has an advantage. One about settings has to agree with the true
    means of the settings that were found; one about their speed, with what most seeds show.
    """
    labels = sorted((each.label for each in comparison.results), key=lambda label: int(label[1:]))
    if claim.factor:
        return False  # levels do nothing here
    is_last = [label == labels[-1] for label in (claim.ahead, claim.behind)]
    if comparison.verdict.about == "methods":
        if claim.sentence == "faster":
            return world.late * (is_last[1] - is_last[0]) > 0
        return not world.shuffled and world.advantage * (is_last[0] - is_last[1]) > 0
    points = {each.label: each.tuning.point for each in comparison.results}
    places = [_places(point.hyperparameters) for label in claim[1:3] if (point := points[label])]
    if claim.sentence in ("faster", "flips"):
        return _is_mostly_ahead(world, places, is_last, claim.sentence)
    ends = [world.end(place, last, 0.0, 0.0) for place, last in zip(places, is_last, strict=True)]
    return bool(ends[0] < ends[1])


def _is_mostly_ahead(world: World, places: Sequence[Floats], is_last: Sequence[bool], sentence: str) -> bool:
    """Whether a setting is ahead of another before the end, in the pseudo-median over seeds."""
    rng = np.random.default_rng(0)
    seed = world.draw(rng, TRUTH_DRAWS)
    found = []
    for place, last in zip(places, is_last, strict=True):
        curves = world.curves(np.broadcast_to(place, (TRUTH_DRAWS, len(place))), last, seed, world.draw(rng, TRUTH_DRAWS))
        if sentence == "flips":
            found.append(curves[:, EVALUATIONS // 2])
        else:
            reached = curves <= (math.nan if world.target is None else world.target)
            found.append(np.where(reached.any(axis=1), np.log2(np.maximum(2.0 * reached.argmax(axis=1), 1.0)), 1e9))
    differences = found[0] - found[1]
    walsh = differences[::2] + differences[1::2]
    return bool(np.mean(walsh < 0) > np.mean(walsh > 0))


# --- shares ---


@dataclass(frozen=True)
class Shares:
    """How often sentences were wrong or right over repetitions.

    Attributes:
        repeats: how many repetitions there were.
        wrong: sentence -> in how many it made a claim that is not true; ``"any"`` for any sentence.
        right: sentence -> in how many it made claims, all of them true.
        flags: words of a flag -> share of the contenders that have it.
        blocks: mean number of blocks of a contender.
    """

    repeats: int
    wrong: Mapping[str, int]
    right: Mapping[str, int]
    flags: Mapping[str, float]
    blocks: float

    def __add__(self, other: "Shares") -> "Shares":
        total = self.repeats + other.repeats

        def mean(ours: float, theirs: float) -> float:
            return (ours * self.repeats + theirs * other.repeats) / total

        return Shares(
            total,
            {name: count + other.wrong[name] for name, count in self.wrong.items()},
            {name: count + other.right[name] for name, count in self.right.items()},
            {name: mean(share, other.flags[name]) for name, share in self.flags.items()},
            mean(self.blocks, other.blocks),
        )


FLAGS = {"edge": "edge of its space", "too few": "points trained", "falling": "still falling"}


def shares(world: World, budget: Budget, *, repeats: int, first: int = 0, **planned: Any) -> Shares:
    """Plays a plan again and again, with other points and noise, and counts which sentences are wrong or right.

    Args:
        world: where.
        budget: what each contender gets.
        repeats: how often.
        first: number of the first repetition; the others follow.
        **planned: further arguments of `simulated_plan`.

    Returns:
        The counts.
    """
    total = None
    for number in range(first, first + repeats):
        plan = simulated_plan(world, budget, first_study=1000 * number, **planned)
        comparison = judge(world, plan, np.random.default_rng([20_250_101, number]))
        counted = _counted(world, comparison)
        total = counted if total is None else total + counted
    assert total is not None
    return total


def _counted(world: World, comparison: Comparison) -> Shares:
    truths: dict[str, list[bool]] = {name: [] for name in SENTENCES}
    for claim in claims(comparison):
        truths[claim.sentence].append(is_true(world, comparison, claim))
    every = {**truths, "any": [truth for found in truths.values() for truth in found]}
    results = comparison.results
    flags = {
        name: sum(any(words in flag for flag in each.flags) for each in results) / len(results)
        for name, words in FLAGS.items()
    }
    return Shares(
        1,
        {name: int(not all(found)) for name, found in every.items()},
        {name: int(bool(found) and all(found)) for name, found in every.items()},
        flags,
        float(np.mean([len(each.blocks) for each in results])),
    )
