"""Performance profiles: the share of problems a solver solves within a factor of the fastest, with bands."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dlkit.bench.stats.bootstrap import expanded_level, percentile_bands, percentile_places
from dlkit.bench.stats.checks import Floats, array, error_rate
from dlkit.bench.stats.intervals import wilson_interval
from dlkit.bench.stats.resampling import joint_medians, medians

__all__ = ["PerformanceProfile", "ProfileBands", "performance_profile", "profile_bands"]

Counts = NDArray[np.int64]


class PerformanceProfile(NamedTuple):
    """Dolan and Moré's profile; see `performance_profile`.

    Attributes:
        ratios: [points] from 1 to the largest ratio.
        fractions: [solvers, points] share of problems solved within the ratio to the fastest.
        scores: [solvers] trapezoid integral of the fractions over the ratios, divided by their range.
        exact_scores: [solvers] the exact integral, divided likewise.
    """

    ratios: Floats
    fractions: Floats
    scores: Floats
    exact_scores: Floats


class ProfileBands(NamedTuple):
    """A profile of medians over seeds with bands; see `profile_bands`.

    Attributes:
        profile: the profile.
        low: [solvers, points] lower ends of pointwise intervals of the fractions.
        high: [solvers, points] upper ends.
        score_low: [solvers] lower ends of the intervals of the exact scores.
        score_high: [solvers] upper ends.
    """

    profile: PerformanceProfile
    low: Floats
    high: Floats
    score_low: Floats
    score_high: Floats


def performance_profile(times: ArrayLike, *, max_ratio: float = 4.0, points: int = 100) -> PerformanceProfile:
    """The share of problems that a solver solves within a factor of the fastest solver's time.

    With r the time divided by the least time on that problem, over n problems,

        fraction(τ) = #(r <= τ) / n,    exact score = (1 / n) Σ max(0, (max_ratio - r) / (max_ratio - 1))

    A problem nobody solved gives credit to nobody, but counts in n. Adding a solver can change the order of the others.

    Args:
        times: [solvers, problems], > 0; `inf` or NaN for a missed target.
        max_ratio: where the profile ends, > 1.
        points: of the even grid of ratios, at least 2.

    Returns:
        The profile. All missed: zeros.

    Raises:
        ValueError: if `times` is empty or has a time <= 0, `max_ratio` <= 1 or `points` < 2.

    Reference:
        Dolan and Moré, "Benchmarking optimization software with performance profiles", Mathematical Programming, 2002;
        Dahl et al., "Benchmarking neural network training algorithms", 2023 (the scores).

    Example:
        >>> performance_profile([[100, 300], [200, float("inf")]]).exact_scores.tolist()
        [1.0, 0.3333333333333333]
    """
    spent = _times(np.asarray(times, dtype=np.float64), "solvers, problems")
    ratios = _ratios(spent)
    grid = _grid(max_ratio, points)
    fractions = (ratios[:, :, None] <= grid).mean(axis=1)
    scores = np.trapezoid(fractions, grid, axis=1) / (max_ratio - 1)
    return PerformanceProfile(grid, fractions, scores, _exact(ratios, max_ratio))


def profile_bands(
    times: ArrayLike,
    *,
    max_ratio: float = 4.0,
    points: int = 100,
    level: float = 0.95,
    resamples: int = 10_000,
    seed: int,
) -> ProfileBands:
    """The profile of median times over seeds, and how far it could be off: problems and seeds are drawn again.

    Problems are resampled as a sample of those one cares for, and, within each, seeds (the same for all solvers). The
    ends are percentiles at `expanded_level`, less the bias of the resamples: drawing seeds adds noise that was in the
    data once already, and a profile is not linear in it. Where all resamples agree, as at fractions of 0 and 1, the
    ends are those of Wilson's interval for the number of problems; a score that all resamples agree on may be anything
    on the share of other problems that it leaves open. Pointwise, not simultaneous.

    Args:
        times: [solvers, seeds, problems], > 0; `inf` or NaN for a missed target.
        max_ratio: as in `performance_profile`.
        points: likewise.
        level: confidence level, between 0 and 1.
        resamples: how many.
        seed: of the resampling.

    Returns:
        The profile with bands. One problem, or two, say nothing of others: scores from 0 to 1.

    Raises:
        ValueError: as `performance_profile`, or if `level` is not between 0 and 1.

    Example:
        >>> times = [[[100, 300], [110, 310]], [[200, 250], [220, float("inf")]]]
        >>> profile_bands(times, resamples=100, seed=0).profile.exact_scores.round(3).tolist()
        [1.0, 0.333]
    """
    spent = _times(np.asarray(times, dtype=np.float64), "solvers, seeds, problems")
    error_rate(level)
    solvers, _, problems = spent.shape
    profile = performance_profile(medians(spent), max_ratio=max_ratio, points=points)
    first = np.empty((resamples, solvers, problems), dtype=np.int64)
    scores = np.empty((resamples, solvers))
    start = 0
    for drawn in joint_medians(spent, resamples, seed):
        stop = start + len(drawn)
        ratios = _ratios(drawn)
        scores[start:stop] = _exact(ratios, max_ratio)
        first[start:stop] = np.searchsorted(profile.ratios, ratios)  # the grid point from which on the ratio counts
        start = stop
    reached = _resamples_with(np.sort(first, axis=2), points)
    wide = expanded_level(level, problems)
    score_low, score_high = _less_bias(percentile_bands(scores, wide), scores.mean(axis=0) - profile.exact_scores)
    ends = percentile_places(resamples, wide) if wide < 1 else None
    bands = [_counts_at(place, reached, resamples) / problems for place in ends] if ends else [-np.inf, np.inf]
    low, high = _less_bias(bands, reached.sum(axis=1) / (resamples * problems) - profile.fractions)
    wilson = np.array([wilson_interval(hits, problems, level=level)[1:] for hits in range(problems + 1)])
    wilson = wilson[np.rint(profile.fractions * problems).astype(int)]
    agreed, sure = scores.min(axis=0) == scores.max(axis=0), wilson_interval(problems, problems, level=level).low
    score_low = np.where(agreed, np.minimum(score_low, sure * profile.exact_scores), score_low)
    score_high = np.where(agreed, np.maximum(score_high, sure * profile.exact_scores + (1 - sure)), score_high)
    agreed = _counts_at(0, reached, resamples) == _counts_at(resamples - 1, reached, resamples)
    low, high = np.where(agreed, wilson[..., 0], low), np.where(agreed, wilson[..., 1], high)
    # Fractions rise with the ratio, so do their ends: widened where they would not.
    low, high = np.minimum.accumulate(low[:, ::-1], axis=1)[:, ::-1], np.maximum.accumulate(high, axis=1)
    return ProfileBands(profile, low, high, score_low, score_high)


def _times(times: Floats, axes: str) -> Floats:
    """Checks times; NaN becomes a missed target."""
    spent = array("times", np.where(np.isnan(times), np.inf, times), tuple(axes.split(", ")))
    if spent.min() <= 0:
        raise ValueError(f"times must be above 0, got {spent.min()}; a missed target is inf")
    return spent


def _grid(max_ratio: float, points: int) -> Floats:
    if not 1 < max_ratio < np.inf or points < 2:
        raise ValueError(f"max_ratio must be above 1 and points at least 2, got {max_ratio} and {points}")
    return np.linspace(1.0, max_ratio, points)


def _ratios(times: Floats) -> Floats:
    """Times [..., solvers, problems] by the fastest solver's; `inf` where nobody solved the problem."""
    fastest = times.min(axis=-2, keepdims=True)
    ratios: Floats = np.where(np.isfinite(times), times / np.where(np.isfinite(fastest), fastest, 1.0), np.inf)
    return ratios


def _exact(ratios: Floats, max_ratio: float) -> Floats:
    exact: Floats = np.maximum(0.0, (max_ratio - ratios) / (max_ratio - 1)).mean(axis=-1)
    return exact


def _resamples_with(first: Counts, points: int) -> Counts:
    """[solvers, problems, points] in how many resamples at least 1, 2, ... ratios are within each point of the grid.

    Args:
        first: [resamples, solvers, problems] the grid points from which on ratios count, in order; `points` for never.
        points: of the grid.
    """
    _, solvers, problems = first.shape
    places = first + (points + 1) * np.arange(solvers * problems).reshape(solvers, problems)
    entries = np.bincount(places.ravel(), minlength=solvers * problems * (points + 1))
    reached: Counts = entries.reshape(solvers, problems, points + 1)[..., :points].cumsum(axis=-1)
    return reached


def _counts_at(place: int, reached: Counts, resamples: int) -> Counts:
    """[solvers, points] the count of ratios at a place of the resamples in order, from 0."""
    counts: Counts = (resamples - reached <= place).sum(axis=1)
    return counts


def _less_bias(ends: Sequence[Floats | float], bias: Floats) -> list[Floats]:
    """Ends of intervals of shares, moved by the bias of the replicates."""
    return [np.clip(end - bias, 0.0, 1.0) for end in ends]
