"""Many studies at once: points, winners and fresh seeds as arrays, then the bench's own ranking, verdict and effects.

`simulation.judge` plays trial by trial, through everything that a real run goes through. Here only what comes after a
study is the bench's own code, which is faster by a factor of ten or more; a test compares the two.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from dlkit.bench.analysis.along_curves import UNKNOWN, AlongCurve
from dlkit.bench.analysis.comparison import Comparison
from dlkit.bench.analysis.contender_result import ContenderResult, StudyResult, block_means
from dlkit.bench.analysis.effects import effects
from dlkit.bench.analysis.ranking import Ranking
from dlkit.bench.analysis.settling import FEWEST_ADDED, SHARE_ADDED, rank
from dlkit.bench.analysis.verdict import conclude, verdict
from dlkit.bench.execution.simulation import EVALUATIONS, REACH, STEPS, World, simulated_plan
from dlkit.bench.execution.truths import Shares, count_claims
from dlkit.bench.plan.plan import Plan
from dlkit.bench.plan.space import Point, uniform
from dlkit.bench.spec.budget import Budget
from dlkit.bench.stats import median_interval, settle
from dlkit.bench.stats.families import sign_flips
from dlkit.bench.tuning.doubts import Doubts
from dlkit.bench.tuning.sampling import halton_points
from dlkit.bench.tuning.targets import Frozen
from dlkit.bench.tuning.winner import Tuning

__all__ = ["Drawn", "Settlements", "block_shares", "draw", "power_of_means", "settlements"]

Floats = np.ndarray[Any, Any]
POOL = 500  # sets of Halton points that studies draw from
CHUNK = 100  # repetitions at a time
_ANY: tuple[Any, ...] = (None,)
NO_DOUBTS = Doubts({}, 0.0, 0.0, 0, 0, False)


class Drawn(NamedTuple):
    """Studies of all contenders.

    Attributes:
        places: [repeats, contenders, studies, dimensions] of the winners.
        found: [repeats, contenders, studies] whether tuning found one.
        scores: [repeats, contenders, studies, seeds] final values; +inf where diverged.
        half: the same, at half of the budget.
        steps: the same: log2 of the steps to the target, +inf where it was missed.
    """

    places: Floats
    found: Floats
    scores: Floats
    half: Floats
    steps: Floats


def draw(world: World, budget: Budget, *, contenders: int, repeats: int, rng: np.random.Generator) -> Drawn:
    """Tunes and judges contenders in independent repetitions; arguments as of `simulation.shares`."""
    amounts = budget.filled()
    count, tuning_seeds, seeds = amounts.tuning_points or 1, amounts.tuning_seeds or 1, amounts.seeds or 1
    shape = (repeats, contenders, amounts.studies)
    turned = world.shuffled & (rng.random((repeats, 1, amounts.studies)) < 0.5)
    is_last = (np.arange(contenders) == contenders - 1)[None, :, None] != turned

    def noise(*own: int) -> tuple[Floats, Floats, Floats]:
        """What seeds have for all contenders, what trials have alone, and whether they diverge."""
        common = world.draw(rng, (repeats, 1, amounts.studies, *(1 for _ in own[:-1]), own[-1]))
        return common, world.draw(rng, (*shape, *own)), rng.random((*shape, *own)) < world.diverging

    points = _points(amounts.tuner, (*shape, count), world.dimensions, rng)
    common, own, diverged = noise(count, tuning_seeds)
    tuned = world.end(points[..., None, :], is_last[..., None, None], common, own)
    tuned = np.where(diverged | world.is_forbidden(points)[..., None], np.inf, tuned).mean(axis=-1)
    best = tuned.argmin(axis=-1)
    places = np.take_along_axis(points, best[..., None, None], axis=-2)[..., 0, :]
    common, own, diverged = noise(seeds)
    curves = world.curves(places[..., None, :], is_last[..., None], common, own)
    diverged = diverged | world.is_forbidden(places)[..., None]
    reached = curves <= (math.nan if world.target is None else world.target)
    steps = np.log2(np.maximum(reached.argmax(axis=-1) * (STEPS // EVALUATIONS), 1))
    return Drawn(
        places,
        np.isfinite(tuned).any(axis=-1),
        np.where(diverged, np.inf, curves[..., -1]).astype(np.float32),
        np.where(diverged, np.inf, curves[..., EVALUATIONS // 2]).astype(np.float32),
        np.where(diverged | ~reached.any(axis=-1), np.inf, steps),
    )


@lru_cache(maxsize=32)
def _halton(count: int, dimensions: int) -> Floats:
    space = {f"x{place}": uniform(-REACH, REACH) for place in range(dimensions)}
    pool = [halton_points(space, {}, count, seed=seed) for seed in range(POOL)]
    return np.array([[list(point.hyperparameters.values()) for point in points] for points in pool])


def _points(tuner: str, shape: tuple[int, ...], dimensions: int, rng: np.random.Generator) -> Floats:
    if tuner == "random":
        return rng.uniform(-REACH, REACH, (*shape, dimensions))
    if tuner != "halton":
        raise ValueError(f"tuner {tuner} takes whole plays")
    points: Floats = _halton(shape[-1], dimensions)[rng.integers(POOL, size=shape[:-1])]
    return points


# --- from blocks on, the bench's own code ---


def _result(plan: Plan, place: int, drawn: Drawn, repeat: int, studies: int, seeds: int) -> ContenderResult:
    """A contender's result over its first studies and seeds."""
    about = (repeat, place, slice(studies))
    found = drawn.found[about]
    each = [  # outcomes count here, and are nothing else
        StudyResult(number, _tuning(drawn.places[repeat, place, number], bool(found[number])), (), (), (), ended, True)
        for number in range(studies)
        for ended in [_ANY * seeds if found[number] else ()]
    ]

    def of_trials(values: Floats) -> Floats:
        return values[about][found, :seeds].ravel()

    scores, half, steps = map(of_trials, (drawn.scores, drawn.half, drawn.steps))
    times = np.exp2(steps)
    blocks, half_blocks, step_blocks = (block_means(plan, each, values) for values in (scores, half, steps))
    final = median_interval(blocks) if len(blocks) else UNKNOWN
    has_target = plan.problems[0].target is not None
    return ContenderResult(
        contender=plan.contenders[place],
        studies=each,
        repeats_tuning=plan.repeats_tuning,
        steps_to_target=times,
        ladder=[times],
        scores=scores,
        blocks=blocks,
        hits=UNKNOWN,
        median_steps=median_interval(times) if len(times) else UNKNOWN,
        final=final,
        validation=UNKNOWN,
        diverged=int(np.isinf(scores).sum()),
        failure="",
        later_failure="",
        doubts=NO_DOUBTS,
        flags=(),
        widened="",
        to_target=None,
        log_steps=AlongCurve(step_blocks) if has_target else None,
        half=AlongCurve(half_blocks, STEPS // 2),
        required=plan.tuner.studies if plan.repeats_tuning else plan.seeds,
        at_floor=np.zeros(len(blocks), bool),
    )


def _tuning(place: Floats, found: bool) -> Tuning:
    point = Point({f"x{number}": float(value) for number, value in enumerate(place)}, {})
    return Tuning([point], np.zeros(1), 0 if found else None, 1, 1, 0, first=np.zeros(1))


def _comparison(plan: Plan, drawn: Drawn, repeat: int) -> Comparison:
    """What a repetition comes to, with the studies or seeds that are added until it is settled."""
    (problem,) = plan.problems
    most = plan.max_studies if plan.repeats_tuning else plan.max_seeds
    counts = dict.fromkeys(
        (each.label for each in plan.contenders), plan.tuner.studies if plan.repeats_tuning else plan.seeds
    )
    while True:
        amounts = [(n, plan.seeds) if plan.repeats_tuning else (1, n) for n in counts.values()]
        results = [_result(plan, place, drawn, repeat, *each) for place, each in enumerate(amounts)]
        ranking, settled = rank(plan, problem, results)
        if settled is None or settled.ends or most is None:
            break
        fewest = FEWEST_ADDED["studies" if plan.repeats_tuning else "seeds"]
        total = _added_until(settled.blocks + 1, settled.blocks, most, fewest)
        counts |= dict.fromkeys(settled.in_question, total)
    target = math.nan if problem.target is None else problem.target
    # What would settle a tie takes a simulation of its own, and claims nothing.
    conclusion = conclude(verdict(problem, ranking, target, adds_blocks=True), plan, problem, ranking, settled)
    targets = Frozen(() if problem.target is None else (problem.target,), "", "")
    return Comparison(problem, targets, None, ranking, conclusion, (), _effects(plan, ranking))


def _effects(plan: Plan, ranking: Ranking) -> Sequence[Any]:
    return effects(plan.problems[0], plan.contenders, ranking.results)


def block_shares(
    world: World, budget: Budget, *, repeats: int, contenders: int = 2, seed: int = 0, **planned: Any
) -> Shares:
    """Counts which sentences are wrong or right, as `simulation.shares` does; further arguments are its own.

    Flags are not counted: they come from tuning points, of which nothing is left here.
    """
    factors: Sequence[Mapping[str, str]] = planned.get("factors", ())
    contenders = len(factors) or contenders
    plan = simulated_plan(world, budget, contenders=contenders, **planned)
    most = {"studies": plan.max_studies} if plan.repeats_tuning else {"seeds": plan.max_seeds}
    longest = _with_most(budget, most)
    rng = np.random.default_rng([seed, contenders, plan.tuner.studies, world.dimensions])
    total = None
    for first in range(0, repeats, CHUNK):
        some = min(CHUNK, repeats - first)
        drawn = draw(world, longest, contenders=contenders, repeats=some, rng=rng)
        for repeat in range(some):
            counted = count_claims(world, _comparison(plan, drawn, repeat))
            total = counted if total is None else total + counted
    assert total is not None
    return total


def _with_most(budget: Budget, most: Mapping[str, int | None]) -> Budget:
    longest: Mapping[str, Any] = {name: count for name, count in most.items() if count is not None}
    return replace(budget.filled(), **longest)


class Settlements(NamedTuple):
    """What runs until settled come to.

    Attributes:
        wrong: share that calls a contender best that is not.
        worse: share that calls any contender worse than another without cause.
        right: share that calls the better one best.
        blocks: mean number of blocks of a contender.
    """

    wrong: float
    worse: float
    right: float
    blocks: float


def settlements(
    world: World, budget: Budget, *, most: int, contenders: int, repeats: int, seed: int = 0
) -> Settlements:
    """Settles runs by `stats.settle`, which comes to the same however blocks are added.

    Args:
        world: where; the last contender may have an advantage.
        budget: what each contender gets at first.
        most: blocks of a contender: studies, or with one study seeds.
        contenders: how many there are.
        repeats: how often.
        seed: of all that is drawn.

    Returns:
        The shares. Nobody rests here, so that blocks of three contenders and more are counted too high.
    """
    amounts = budget.filled()
    is_study, first = amounts.studies > 1, amounts.studies if amounts.studies > 1 else amounts.seeds or 1
    longest = replace(amounts, studies=most) if is_study else replace(amounts, seeds=most)
    drawn = draw(world, longest, contenders=contenders, repeats=repeats, rng=np.random.default_rng([seed, 1]))
    blocks = np.where(drawn.found[..., None], drawn.scores, np.inf).astype(np.float64)
    blocks = blocks.mean(axis=-1) if is_study else blocks[:, :, 0]
    truth = -world.advantage * (np.arange(contenders) == contenders - 1) * np.ones((repeats, 1))
    if not is_study:
        truth = world.end(drawn.places[:, :, 0], np.arange(contenders) == contenders - 1, 0.0, 0.0)
    counts = np.zeros(4)
    for ends, values in zip(truth, blocks, strict=True):
        found = settle(values)
        total = _added_until(found.seeds, first, most, FEWEST_ADDED["studies" if is_study else "seeds"])
        told = settle(values[:, :total]).latest >= contenders * (contenders - 1) / 0.05
        is_better = ends[:, None] < ends[None, :]
        leader, others = found.leader, np.arange(contenders) != found.leader
        is_best = leader is not None and bool(is_better[leader][others].all())
        is_told = found.decision == "best"
        counts += [is_told and not is_best, (told & ~is_better).any(), is_told and is_best, total]
    return Settlements(*(counts / repeats).tolist())


def _added_until(needed: int, total: int, most: int, fewest: int) -> int:
    """How many blocks there are once so many are needed, as they are added."""
    while total < min(needed, most):
        total += min(max(fewest, total // SHARE_ADDED), most - total)
    return total


def power_of_means(world: World, budget: Budget, *, repeats: int, seed: int = 0) -> float:
    """Returns how often two contenders' study means are told apart in the right order, by the sign-flip test alone."""
    amounts = budget.filled()
    drawn = draw(world, budget, contenders=2, repeats=repeats, rng=np.random.default_rng(seed))
    blocks = np.where(drawn.found[..., None], drawn.scores, np.inf).mean(axis=-1)
    differences = blocks[:, 1] - blocks[:, 0]
    sums = np.abs(differences @ sign_flips(amounts.studies, 2000, 0).T)
    p_values = (sums >= sums[:, :1] * (1 - 1e-9)).mean(axis=1)
    return float(np.mean((p_values <= 0.05) & (differences.sum(axis=1) < 0)))
