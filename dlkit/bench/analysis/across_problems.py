"""Contenders over all problems of a run: ranks, performance profiles, and the share of targets that they reach.

Problems differ in metric, scale and budget, so nothing is averaged over them but what has no unit: ranks, ratios of
times to the fastest, and shares of targets reached by a share of the budget.

A contender that is not run on a problem has no cell there: neither a good nor a bad result. Ranks are compared over the
problems that contenders share; the rest of its numbers are over the problems where it ran.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from dlkit.bench import stats
from dlkit.bench.analysis.along_curves import UNKNOWN
from dlkit.bench.analysis.pairs import LEVEL
from dlkit.bench.plan.planned import PlannedProblem
from dlkit.bench.stats import Interval

__all__ = ["BUDGETS", "MAX_RATIO", "AcrossProblems", "Overview", "Ranks"]

Floats = np.ndarray[Any, np.dtype[np.float64]]
Bools = np.ndarray[Any, np.dtype[np.bool_]]

BUDGETS = (0.25, 0.5, 0.75, 1.0)  # shares of the budget at which contenders are ranked by their times
MAX_RATIO = 4.0  # to the fastest: where performance profiles end
RESAMPLES, SEED = 10_000, 0  # the same numbers whenever a run is summed up
MOST_TARGETS = 60  # a problem, once ladders are made equally long


class Ranks(NamedTuple):
    """Contenders ranked on each problem by the median over blocks of the judged metric at the end.

    Those that are not joined with the others by two problems at least are not ranked: their numbers are NaN.

    Attributes:
        by_problem: [contenders, problems] midranks among those that ran there, 1 the best.
        bootstrap: mean ranks, as if all had run on all problems, with intervals, and the probability of being best.
        p_value: of Skillings and Mack's test that all rank alike (Friedman's, where no cell is missing), from permuted
            ranks.
        distances: [contenders, contenders] Nemenyi's: mean ranks further apart differ at 5 %, all pairs taken together;
            NaN for two that ran on no problem together.
    """

    by_problem: Floats
    bootstrap: stats.RankBootstrap
    p_value: float
    distances: Floats

    @property
    def problems(self) -> int:
        """How many problems contenders are ranked on."""
        return int((~np.isnan(self.by_problem)).any(axis=0).sum())

    @property
    def distance(self) -> float | None:
        """The distance of any two, where it is the same for all: where no cell is missing."""
        least, most = self.nearest_and_farthest
        return least if math.isclose(least, most) and not np.isnan(self.distances).any() else None

    @property
    def nearest_and_farthest(self) -> tuple[float, float]:
        """The smallest and the largest of the distances."""
        apart = self.distances[self.distances > 0]
        return float(apart.min()), float(apart.max())

    @property
    def to_best(self) -> list[float]:
        """[contenders] Nemenyi's distance to the one whose mean rank is the lowest; 0 for itself."""
        return [float(each) for each in self.distances[np.nanargmin(self.bootstrap.mean_ranks)]]


class AcrossProblems(NamedTuple):
    """One contender's numbers over all problems; NaN where there are too few problems, or no targets.

    Attributes:
        label: the contender's.
        problems: where it ran, of those that count.
        mean_rank: over problems, with its interval.
        probability_best: that its mean rank is the lowest.
        profile_score: area under the performance profile, with its interval.
        targets_reached: share of targets reached at the end of the budget, with its interval.
        target_area: the mean of that share along the budget.
        others_there: share of targets that the others reach on the problems where it ran: to compare its own with.
    """

    label: str
    problems: int
    mean_rank: Interval
    probability_best: float
    profile_score: Interval
    targets_reached: Interval
    target_area: float
    others_there: float


@dataclass(frozen=True, eq=False)
class Overview:
    """What holds over all problems that have run to their end. What there are too few problems for is None.

    A contender that could not run on a problem, or of whose points none trained, lost there: its scores are +inf and
    its curves reach nothing. One that ran nowhere does not take part.

    Attributes:
        contenders: labels, in the plan's order.
        problems: that count, in the plan's order.
        evaluations: points of each curve after step 0.
        scores: [contenders, blocks, problems] the judged metric at the end, oriented; +inf where it diverged, NaN where
            the contender is not run. Blocks are studies, or with one study, its fresh seeds.
        curves: [contenders, blocks, problems, evaluations + 1] the same along the budget; +inf from where it diverged.
            A study is there with its first fresh seed: those of one study do not tell more about tuning.
        ladders: [problems] oriented targets, the easiest first; empty where there are none.
        notes: who and what is left out or lost, and why.
    """

    contenders: Sequence[str]
    problems: Sequence[PlannedProblem]
    evaluations: int
    scores: Floats
    curves: Floats
    ladders: Sequence[Floats]
    notes: Sequence[str]

    @cached_property
    def ran(self) -> Bools:
        """[contenders, problems] who ran where, or would have but for an exception."""
        return ~np.isnan(self.scores[:, 0])

    @property
    def has_gaps(self) -> bool:
        """Whether some contender does not run on some problem."""
        return not bool(self.ran.all())

    @cached_property
    def ranks(self) -> Ranks | None:
        """The ranking by final scores; None without two contenders that share two problems."""
        contenders, problems = stats.connected(self.ran)
        if not contenders.any():
            return None
        cells = np.ix_(contenders, problems)
        scores = self.scores[:, :, problems][contenders]
        medians = np.median(scores, axis=1)
        k, ranked = len(self.contenders), np.flatnonzero(contenders)
        by_problem, distances = np.full(self.ran.shape, np.nan), np.full((k, k), np.nan)
        by_problem[cells] = stats.midranks(medians)
        distances[np.ix_(contenders, contenders)] = stats.nemenyi_distances(self.ran[cells], 1 - LEVEL)
        bootstrap = stats.rank_bootstrap(scores, level=LEVEL, resamples=RESAMPLES, seed=SEED)
        return Ranks(
            by_problem,
            stats.RankBootstrap(*(_spread(each, ranked, k) for each in bootstrap)),
            stats.skillings_mack_permutation(medians, resamples=RESAMPLES, seed=SEED),
            distances,
        )

    @cached_property
    def targeted(self) -> Sequence[PlannedProblem]:
        """The problems that have targets."""
        return [problem for problem, ladder in zip(self.problems, self.ladders, strict=True) if len(ladder)]

    @cached_property
    def rungs(self) -> int:
        """How many targets the longest ladder has."""
        return max(map(len, self.ladders), default=0)

    @cached_property
    def times(self) -> Floats:
        """[contenders, blocks, problems with targets, rungs] share of the budget at which each target was reached.

        Rungs go from each problem's easiest target to its hardest; a shorter ladder has targets on several of them.
        Infinite where it was not, or the contender is not run.
        """
        return self._times(self.rungs)

    @cached_property
    def profile(self) -> stats.ProfileBands | None:
        """Performance profile of the times to the hardest targets; None with fewer than two contenders or problems.

        A target that was reached before the first evaluation counts as reached at it. The fastest is so among those
        that ran, and shares are of the problems where a contender ran and was not alone: with fewer than two of them it
        has no profile, but NaN.
        """
        ran = self._ran_targeted & (self._ran_targeted.sum(axis=0) >= 2)
        if not (ran.sum(axis=1) >= 2).any():
            return None
        spent = np.maximum(self.times[..., -1], 1 / self.evaluations)
        how: dict[str, Any] = {"max_ratio": MAX_RATIO, "level": LEVEL, "resamples": RESAMPLES, "seed": SEED}
        bands: stats.ProfileBands | None = None
        for own in np.unique(ran[ran.sum(axis=1) >= 2], axis=0):
            alike = (ran == own).all(axis=1)
            found = stats.profile_bands(spent[:, :, own], **how)
            bands = _with_rows(bands, found, alike)
        return bands

    @cached_property
    def target_ecdf(self) -> Sequence[stats.TargetECDF | None]:
        """[contenders] share of (problem, target, seed) reached by each share of the budget; empty without targets.

        Every problem where it ran weighs the same, however many targets it has; None if it ran on none with targets.
        """
        if not self.targeted:
            return []
        how: dict[str, Any] = {"budget": 1.0, "steps": self._shares, "level": LEVEL, "resamples": RESAMPLES}
        ladders = _stretched(self._targeted_ladders, self._common_rungs)
        return [
            stats.target_ecdf(curves[:, own], ladders[own], seed=SEED, **how) if own.any() else None
            for curves, own in zip(self._targeted_curves, self._ran_targeted, strict=True)
        ]

    @cached_property
    def target_ranking(self) -> stats.TargetRanking | None:
        """How the ranking moves with target and budget, over the problems that all contenders ran on.

        None with fewer than two contenders, or without a target on such a problem.
        """
        common = self._ran_targeted.all(axis=0)
        if len(self.contenders) < 2 or not common.any():
            return None
        return stats.target_ranking(self.times[:, :, common], BUDGETS)

    @cached_property
    def others_there(self) -> Sequence[float]:
        """[contenders] share of targets that the others reach on the problems where it ran; NaN if there are none."""
        if not self.targeted or not self.contenders:
            return [math.nan] * len(self.contenders)
        ran, reached = self._ran_targeted, np.isfinite(self._times(self._common_rungs)).mean(axis=(1, 3))
        shares = []
        for index, own in enumerate(ran):
            others = ran & own & (np.arange(len(ran)) != index)[:, None]
            shares.append(float(reached[others].mean()) if others.any() else math.nan)
        return shares

    @property
    def order(self) -> Sequence[int]:
        """Indices of contenders, best first: by mean rank, or else by the share of targets reached along the budget."""
        if self.ranks is not None:
            return np.argsort(self.ranks.bootstrap.mean_ranks, kind="stable").tolist()  # type: ignore[no-any-return]
        shares = [(-each.area, -float(each.share[-1])) if each else (1.0, 1.0) for each in self.target_ecdf]
        return sorted(range(len(self.contenders)), key=shares.__getitem__) if shares else range(len(self.contenders))

    def by_contender(self) -> list[AcrossProblems]:
        """Returns each contender's numbers, best first."""
        return [self._of_contender(index) for index in self.order]

    def _of_contender(self, index: int) -> AcrossProblems:
        ranks, profile = self.ranks.bootstrap if self.ranks else None, self.profile
        reached = self.target_ecdf[index] if self.target_ecdf else None
        return AcrossProblems(
            self.contenders[index],
            int(self.ran[index].sum()),
            _at(index, ranks.mean_ranks, ranks.low, ranks.high) if ranks else UNKNOWN,
            float(ranks.probability_best[index]) if ranks else math.nan,
            _at(index, profile.profile.exact_scores, profile.score_low, profile.score_high) if profile else UNKNOWN,
            _at(-1, reached.share, reached.low, reached.high) if reached else UNKNOWN,
            float(reached.area) if reached else math.nan,
            self.others_there[index],
        )

    @property
    def _shares(self) -> Floats:
        """[evaluations + 1] share of the budget at each evaluation."""
        return np.arange(self.evaluations + 1) / self.evaluations

    @property
    def _targeted_ladders(self) -> list[Floats]:
        return [ladder for ladder in self.ladders if len(ladder)]

    @property
    def _common_rungs(self) -> int:
        return min(math.lcm(*map(len, self._targeted_ladders)), MOST_TARGETS)

    @property
    def _has_targets(self) -> list[bool]:
        return [len(ladder) > 0 for ladder in self.ladders]

    @property
    def _targeted_curves(self) -> Floats:
        return self.curves[:, :, self._has_targets]

    @property
    def _ran_targeted(self) -> Bools:
        return self.ran[:, self._has_targets]

    def _times(self, rungs: int) -> Floats:
        """[contenders, blocks, problems with targets, rungs]; infinite where a contender did not run."""
        ladders = _stretched(self._targeted_ladders, rungs)
        how: dict[str, Any] = {"budget": 1.0, "steps": self._shares}
        return np.stack([stats.times_to_targets(each, ladders, **how) for each in self._targeted_curves])


def _at(index: int, *values: Floats) -> Interval:
    """The interval whose estimate and ends stand at an index of arrays."""
    return Interval(*(float(each[index]) for each in values))


def _spread(values: Floats, places: Any, count: int) -> Floats:
    """Values at their places among so many; NaN elsewhere."""
    spread = np.full(count, np.nan)
    spread[places] = values
    return spread


def _with_rows(bands: stats.ProfileBands | None, found: stats.ProfileBands, rows: Bools) -> stats.ProfileBands:
    """Bands with some contenders' rows of other ones; NaN where there are neither."""

    def merged(before: Floats | None, new: Floats) -> Floats:
        values = np.full(new.shape, np.nan) if before is None else before.copy()
        values[rows] = new[rows]
        return values

    before = (None,) * 4 if bands is None else bands[1:]
    profile = (None,) * 3 if bands is None else bands.profile[1:]
    curves = stats.PerformanceProfile(found.profile.ratios, *map(merged, profile, found.profile[1:]))
    return stats.ProfileBands(curves, *map(merged, before, found[1:]))


def _stretched(ladders: Sequence[Floats], count: int) -> Floats:
    """[problems, count] ladders of one length, the easiest target first, each as often as the problem's others."""
    return np.stack([ladder[np.arange(count) * len(ladder) // count] for ladder in ladders])
