"""Runtime profiles over a ladder of targets, and how the ranking moves with target and budget."""

import math
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dlkit.bench.stats.bootstrap import expanded_level, percentile_bands
from dlkit.bench.stats.checks import Floats, array, error_rate, samples
from dlkit.bench.stats.intervals import wilson_interval
from dlkit.bench.stats.order_statistics import doubled_midranks

__all__ = ["TargetECDF", "TargetRanking", "target_ecdf", "target_ranking", "times_to_targets"]

CHUNK = 1 << 20


class TargetECDF(NamedTuple):
    """The share of (problem, target, seed) reached by each step; see `target_ecdf`.

    Attributes:
        steps: [evaluations] up to the budget.
        share: [evaluations] of problems, targets and seeds reached.
        low: [evaluations] lower ends of pointwise intervals.
        high: [evaluations] upper ends.
        area: the mean of the share over the steps from 0 to the budget, 0 to 1; higher is better.
    """

    steps: Floats
    share: Floats
    low: Floats
    high: Floats
    area: float


class TargetRanking(NamedTuple):
    """How contenders rank at each budget and target; see `target_ranking`.

    Attributes:
        budgets: [budgets].
        costs: [budgets, targets, contenders] mean of min(time, budget) / budget, 1 where all missed.
        ranks: [budgets, targets, contenders] midranks of the costs, 1 the best.
        flips: [contenders, contenders] whether the row is ahead of the column somewhere and behind it elsewhere.
    """

    budgets: Floats
    costs: Floats
    ranks: Floats
    flips: NDArray[np.bool_]


def times_to_targets(
    curves: ArrayLike,
    targets: ArrayLike,
    *,
    budget: float,
    steps: ArrayLike | None = None,
    higher_is_better: bool = False,
) -> Floats:
    """The first evaluated step at which each run is at each target; `inf` where it never is within the budget.

    Args:
        curves: [seeds, problems, evaluations] the metric; NaN (diverged, not evaluated) is at no target.
        targets: [problems, targets].
        budget: the last step that counts.
        steps: [evaluations] at which step each evaluation was, rising; 1, 2, 3, ... by default.
        higher_is_better: whether the metric should be high.

    Returns:
        [seeds, problems, targets].

    Raises:
        ValueError: if an array is empty or the shapes do not fit, `targets` has NaN, or `steps` does not rise.

    Example:
        >>> times_to_targets([[[3.0, 2.0, 1.0]]], [[2.5, 0.5]], budget=3).tolist()
        [[[2.0, inf]]]
    """
    values = np.asarray(curves, dtype=np.float64)
    values = array("curves", np.where(np.isnan(values), -np.inf if higher_is_better else np.inf, values), CURVES)
    goals = array("targets", targets, ("problems", "targets"))
    at = np.arange(1.0, values.shape[2] + 1) if steps is None else samples(steps=steps)[0]
    if goals.shape[0] != values.shape[1] or at.size != values.shape[2]:
        raise ValueError(
            f"targets [problems, targets] and steps [evaluations] must fit curves [seeds, problems, evaluations], got "
            f"{goals.shape}, {at.shape} and {values.shape}"
        )
    if (np.diff(at) <= 0).any():
        raise ValueError("steps must rise: one entry an evaluation, in order")
    if higher_is_better:
        values, goals = -values, -goals
    best = np.minimum.accumulate(values, axis=2)
    # The best so far falls: as many evaluations lie above the target as come before the first at it.
    before = (best[:, :, None, :] > goals[None, :, :, None]).sum(axis=-1)
    times = np.concatenate([at, [np.inf]])[before]
    return np.where(times <= budget, times, np.inf)


CURVES = ("seeds", "problems", "evaluations")


def target_ecdf(
    curves: ArrayLike,
    targets: ArrayLike,
    *,
    budget: float,
    steps: ArrayLike | None = None,
    level: float = 0.95,
    resamples: int = 10_000,
    seed: int,
    higher_is_better: bool = False,
) -> TargetECDF:
    """The runtime profile of one contender over all problems and targets: the share reached by each step.

    The bands are percentiles, at `expanded_level`, of resamples that draw seeds again within each problem. Where the
    seeds of every problem agree, as at shares of 0 and 1, resamples do too: there the ends are those of Wilson's
    interval for as many trials as there are runs. Pointwise, about these problems and targets.

    Args:
        curves: [seeds, problems, evaluations] the metric; NaN (diverged, not evaluated) is at no target.
        targets: [problems, targets] a ladder for each problem.
        budget: the last step that counts, > 0.
        steps: [evaluations] at which step each evaluation was, rising; 1, 2, 3, ... by default.
        level: confidence level, between 0 and 1.
        resamples: how many.
        seed: of the resampling.
        higher_is_better: whether the metric should be high.

    Returns:
        The profile at the evaluated steps up to the budget. All missed: zeros, with Wilson's upper end; one seed, or
        two of one problem: bands from 0 to 1 where they differ.

    Raises:
        ValueError: as `times_to_targets`, or if no evaluation lies within the budget, or `level` is not between 0
            and 1.

    Reference:
        Hansen et al., "COCO: performance assessment", 2016; Moré and Wild, "Benchmarking derivative-free optimization
        algorithms", SIAM Journal on Optimization, 2009.

    Example:
        >>> target_ecdf([[[3.0, 2.0, 1.0]], [[3.0, 3.0, 2.0]]], [[2.0, 1.0]], budget=3, seed=0).share.tolist()
        [0.0, 0.25, 0.75]
    """
    error_rate(level)
    times = times_to_targets(curves, targets, budget=budget, steps=steps, higher_is_better=higher_is_better)
    seeds, problems, _ = times.shape
    at = np.arange(1.0, np.shape(curves)[2] + 1) if steps is None else samples(steps=steps)[0]
    at = at[at <= budget]
    if at.size == 0 or not 0 < budget < math.inf:
        raise ValueError(f"budget must be above 0 and reach the first evaluation, got {budget}")
    reached = (times[:, :, :, None] <= at).mean(axis=2)  # [seeds, problems, evaluations]
    share = reached.mean(axis=(0, 1))
    area = float(np.where(np.isfinite(times), (budget - times) / budget, 0.0).mean())
    if seeds == 1:
        return TargetECDF(at, share, np.zeros(at.size), np.ones(at.size), area)
    drawn = _resampled_means(reached.reshape(seeds * problems, -1), seeds, problems, resamples, seed)
    wide = expanded_level(level, seeds, problems)
    low, high = percentile_bands(drawn, wide)
    floors = np.array([_wilson_of_share(value, seeds * problems, level) for value in share])
    agreed = drawn.min(axis=0) == drawn.max(axis=0)
    low, high = np.where(agreed, floors[:, 0], low), np.where(agreed, floors[:, 1], high)
    # The share rises, so do its ends: widened where they would not.
    low = np.minimum.accumulate(np.clip(low, 0.0, 1.0)[::-1])[::-1]
    return TargetECDF(at, share, low, np.maximum.accumulate(np.clip(high, 0.0, 1.0)), area)


def target_ranking(times: ArrayLike, budgets: ArrayLike) -> TargetRanking:
    """How the ranking moves as target and budget move.

    At one budget and target a contender costs the mean of min(time, budget) / budget over seeds and problems: the
    restricted mean time, missed targets counted as the whole budget.

    Args:
        times: [contenders, seeds, problems, targets] as `times_to_targets` gives them; `inf` for a missed target.
        budgets: [budgets] above 0, none beyond the budget that the times were observed for.

    Returns:
        Costs, ranks, and which pairs change places. All missed: costs 1, all ranks equal.

    Raises:
        ValueError: if an array is empty or has NaN, a time is negative, or a budget is not above 0.

    Example:
        >>> times = [[[[10, 90]]], [[[30, 40]]]]  # the first is early at the easy target, late at the hard one
        >>> target_ranking(times, [100]).ranks.tolist()
        [[[1.0, 2.0], [2.0, 1.0]]]
    """
    spent = array("times", times, ("contenders", "seeds", "problems", "targets"))
    limits = samples(budgets=budgets)[0]
    if spent.min() < 0 or limits.min() <= 0 or not np.isfinite(limits).all():
        raise ValueError("times must not be negative, and budgets must be numbers above 0")
    costs = np.stack([(np.minimum(spent, limit) / limit).mean(axis=(1, 2)).T for limit in limits])
    # Equal sums may differ by rounding.
    rows = np.round(costs, 12).reshape(-1, costs.shape[-1])
    ranks = np.array([doubled_midranks(row) for row in rows]).reshape(costs.shape) / 2
    ahead = ranks[..., :, None] < ranks[..., None, :]
    anywhere = np.asarray(ahead.any(axis=(0, 1)))
    return TargetRanking(limits, costs, ranks, anywhere & anywhere.T)


def _resampled_means(runs: Floats, seeds: int, problems: int, resamples: int, seed: int) -> Floats:
    """Means over runs [seeds · problems, columns] of resamples that draw seeds within problems."""
    fits = resamples * seeds * problems <= CHUNK
    counts = _kept_counts(seeds, problems, resamples, seed) if fits else _counts(seeds, problems, resamples, seed)
    return np.concatenate([each @ runs / runs.shape[0] for each in counts])


@lru_cache(maxsize=1)
def _kept_counts(seeds: int, problems: int, resamples: int, seed: int) -> tuple[Floats, ...]:
    """The counts, kept: contenders are resampled one after the other, all with the same draws."""
    return tuple(_counts(seeds, problems, resamples, seed))


def _counts(seeds: int, problems: int, resamples: int, seed: int) -> Iterator[Floats]:
    """How often each run is drawn where seeds are drawn within problems: [draws, seeds · problems], chunk by chunk."""
    rng, runs = np.random.default_rng(seed), seeds * problems
    size = max(1, CHUNK // runs)
    for start in range(0, resamples, size):
        draws = min(size, resamples - start)
        rows = rng.integers(0, seeds, size=(draws, seeds, problems)) * problems + np.arange(problems)
        flat = rows.reshape(draws, -1) + np.arange(draws)[:, None] * runs
        yield np.bincount(flat.ravel(), minlength=draws * runs).reshape(draws, -1).astype(np.float64)


def _wilson_of_share(share: float, trials: int, level: float) -> tuple[float, float]:
    """The widest of Wilson's intervals for the whole numbers of hits around a share."""
    below = wilson_interval(math.floor(share * trials + 1e-9), trials, level=level)
    above = wilson_interval(math.ceil(share * trials - 1e-9), trials, level=level)
    return below.low, above.high
