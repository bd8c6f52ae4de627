"""Contenders over all problems of a run: ranks, performance profiles, and the share of targets that they reach.

Problems differ in metric, scale and budget, so nothing is averaged over them but what has no unit: ranks, ratios of
times to the fastest, and shares of targets reached by a share of the budget.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from dlkit.bench import stats
from dlkit.bench.analysis.along_curves import UNKNOWN
from dlkit.bench.analysis.contender_result import ContenderResult
from dlkit.bench.analysis.pairs import LEVEL
from dlkit.bench.plan.orientation import oriented
from dlkit.bench.plan.plan import Plan
from dlkit.bench.plan.planned import PlannedProblem
from dlkit.bench.plan.spending import along_budget
from dlkit.bench.stats import Interval

__all__ = ["BUDGETS", "MAX_RATIO", "AcrossProblems", "Overview", "ProblemResults", "Ranks", "overview"]

Floats = np.ndarray[Any, np.dtype[np.float64]]

BUDGETS = (0.25, 0.5, 0.75, 1.0)  # shares of the budget at which contenders are ranked by their times
MAX_RATIO = 4.0  # to the fastest: where performance profiles end
RESAMPLES, SEED = 10_000, 0  # the same numbers whenever a run is summed up
MOST_TARGETS = 60  # a problem, once ladders are made equally long


class ProblemResults(NamedTuple):
    """What came of a problem, as far as it has run.

    Attributes:
        problem: which.
        targets: the easiest first; none where there are none yet.
        results: of its contenders, in any order.
    """

    problem: PlannedProblem
    targets: Sequence[float]
    results: Sequence[ContenderResult]


class Ranks(NamedTuple):
    """Contenders ranked on each problem by the median over blocks of the judged metric at the end.

    Attributes:
        by_problem: [contenders, problems] midranks, 1 the best.
        bootstrap: mean ranks with intervals, and the probability of being best.
        friedman: the statistics of the test that all rank alike.
        p_value: of that test, from permuted ranks.
        distance: Nemenyi's: mean ranks further apart differ at 5 %, all pairs taken together.
    """

    by_problem: Floats
    bootstrap: stats.RankBootstrap
    friedman: stats.Friedman
    p_value: float
    distance: float


class AcrossProblems(NamedTuple):
    """One contender's numbers over all problems; NaN where there are too few problems, or no targets.

    Attributes:
        label: the contender's.
        mean_rank: over problems, with its interval.
        probability_best: that its mean rank is the lowest.
        profile_score: area under the performance profile, with its interval.
        targets_reached: share of targets reached at the end of the budget, with its interval.
        target_area: the mean of that share along the budget.
    """

    label: str
    mean_rank: Interval
    probability_best: float
    profile_score: Interval
    targets_reached: Interval
    target_area: float


@dataclass(frozen=True, eq=False)
class Overview:
    """What holds over all problems that have run to their end. What there are too few problems for is None.

    A contender that could not run on a problem, or of whose points none trained, lost there: its scores are +inf and
    its curves reach nothing. One that ran nowhere does not take part.

    Attributes:
        contenders: labels, in the plan's order.
        problems: that count, in the plan's order.
        evaluations: points of each curve after step 0.
        scores: [contenders, blocks, problems] the judged metric at the end, oriented; +inf where it diverged. Blocks
            are studies, or with one study, its fresh seeds.
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
    def ranks(self) -> Ranks | None:
        """The ranking by final scores; None with fewer than two contenders or problems."""
        if len(self.contenders) < 2 or len(self.problems) < 2:
            return None
        medians = np.median(self.scores, axis=1)
        by_problem = np.stack([stats.friedman(column[:, None]).mean_ranks for column in medians.T], axis=1)
        return Ranks(
            by_problem,
            stats.rank_bootstrap(self.scores, level=LEVEL, resamples=RESAMPLES, seed=SEED),
            stats.friedman(medians),
            stats.friedman_permutation(medians, resamples=RESAMPLES, seed=SEED),
            stats.nemenyi_distance(len(self.contenders), len(self.problems), 1 - LEVEL),
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
        """
        return self._times(self.rungs)

    @cached_property
    def profile(self) -> stats.ProfileBands | None:
        """Performance profile of the times to the hardest targets; None with fewer than two contenders or problems.

        A target that was reached before the first evaluation counts as reached at it.
        """
        if len(self.contenders) < 2 or len(self.targeted) < 2:
            return None
        spent = np.maximum(self.times[..., -1], 1 / self.evaluations)
        return stats.profile_bands(spent, max_ratio=MAX_RATIO, level=LEVEL, resamples=RESAMPLES, seed=SEED)

    @cached_property
    def target_ecdf(self) -> Sequence[stats.TargetECDF]:
        """[contenders] share of (problem, target, seed) reached by each share of the budget; empty without targets.

        Every problem weighs the same, however many targets it has.
        """
        if not self.targeted:
            return []
        ladders = _stretched(self._targeted_ladders, min(math.lcm(*map(len, self._targeted_ladders)), MOST_TARGETS))
        how: dict[str, Any] = {"budget": 1.0, "steps": self._shares, "level": LEVEL, "resamples": RESAMPLES}
        return [stats.target_ecdf(each, ladders, seed=SEED, **how) for each in self._targeted_curves]

    @cached_property
    def target_ranking(self) -> stats.TargetRanking | None:
        """How the ranking moves with target and budget; None with fewer than two contenders, or without targets."""
        if len(self.contenders) < 2 or not self.targeted:
            return None
        return stats.target_ranking(self.times, BUDGETS)

    @property
    def order(self) -> Sequence[int]:
        """Indices of contenders, best first: by mean rank, or else by the share of targets reached along the budget."""
        if self.ranks is not None:
            return np.argsort(self.ranks.bootstrap.mean_ranks, kind="stable").tolist()  # type: ignore[no-any-return]
        shares = [(-each.area, -float(each.share[-1])) for each in self.target_ecdf]
        return sorted(range(len(self.contenders)), key=shares.__getitem__) if shares else range(len(self.contenders))

    def by_contender(self) -> list[AcrossProblems]:
        """Returns each contender's numbers, best first."""
        return [self._of_contender(index) for index in self.order]

    def _of_contender(self, index: int) -> AcrossProblems:
        ranks, profile = self.ranks.bootstrap if self.ranks else None, self.profile
        reached = self.target_ecdf[index] if self.target_ecdf else None
        return AcrossProblems(
            self.contenders[index],
            _at(index, ranks.mean_ranks, ranks.low, ranks.high) if ranks else UNKNOWN,
            float(ranks.probability_best[index]) if ranks else math.nan,
            _at(index, profile.profile.exact_scores, profile.score_low, profile.score_high) if profile else UNKNOWN,
            _at(-1, reached.share, reached.low, reached.high) if reached else UNKNOWN,
            float(reached.area) if reached else math.nan,
        )

    @property
    def _shares(self) -> Floats:
        """[evaluations + 1] share of the budget at each evaluation."""
        return np.arange(self.evaluations + 1) / self.evaluations

    @property
    def _targeted_ladders(self) -> list[Floats]:
        return [ladder for ladder in self.ladders if len(ladder)]

    @property
    def _targeted_curves(self) -> Floats:
        return self.curves[:, :, [len(ladder) > 0 for ladder in self.ladders]]

    def _times(self, rungs: int) -> Floats:
        ladders = _stretched(self._targeted_ladders, rungs)
        how: dict[str, Any] = {"budget": 1.0, "steps": self._shares}
        return np.stack([stats.times_to_targets(each, ladders, **how) for each in self._targeted_curves])


def overview(plan: Plan, problems: Sequence[ProblemResults]) -> Overview:
    """Gathers what all problems have in common.

    Args:
        plan: the plan.
        problems: what came of each.

    Returns:
        The overview; nothing is drawn at random before one of its numbers is asked for.
    """
    labels = [contender.label for contender in plan.contenders]
    notes = [note for each in problems if (note := _unfinished(each))]
    over = [each for each in problems if not _unfinished(each)]
    found = [{result.label: result for result in each.results} for each in over]
    lost = [[_lost(results[label]) for results in found] for label in labels]
    taking = [index for index, reasons in enumerate(lost) if not reasons or not all(reasons)]
    notes += [f"{label} is left out: it trained on no problem" for i, label in enumerate(labels) if i not in taking]
    for index in taking:
        names = [each.problem.name for each, reason in zip(over, lost[index], strict=True) if reason]
        notes += [f"{labels[index]} lost on {', '.join(names)}: it could not run, or no point trained"] if names else []
    trained = [results[label] for results in found for label in labels if not _lost(results[label])]
    counts = {len(each.blocks) for each in trained}
    blocks = min(counts, default=plan.planned_blocks)
    notes += [f"only the first {blocks} {plan.unit} count, which all problems have"] if len(counts) > 1 else []
    shape = (len(taking), blocks, len(over))
    scores, curves = np.full(shape, np.inf), np.full((*shape, plan.evaluations + 1), np.inf)
    for place, (each, results) in enumerate(zip(over, found, strict=True)):
        for position, index in enumerate(taking):
            if not lost[index][place]:
                result = results[labels[index]]
                scores[position, :, place] = result.blocks[:blocks]
                curves[position, :, place] = _curves(each.problem, result, plan.evaluations)[:blocks]
    ladders = [_oriented(each.problem, each.targets) for each in over]
    notes += [f"{each.problem.name} has no target" for each in over if not each.targets]
    names = [labels[index] for index in taking]
    return Overview(names, [each.problem for each in over], plan.evaluations, scores, curves, ladders, notes)


def _at(index: int, *values: Floats) -> Interval:
    """The interval whose estimate and ends stand at an index of arrays."""
    return Interval(*(float(each[index]) for each in values))


def _lost(result: ContenderResult) -> bool:
    """Whether a contender has nothing to show where it is done: an exception, or a tuning in which nothing trained."""
    return bool(result.failure) or result.found_nothing


def _unfinished(found: ProblemResults) -> str:
    """Why a problem does not count yet; empty if it does."""
    waiting = [each.label for each in found.results if not _lost(each) and not each.is_complete]
    return f"{found.problem.name} is left out: {', '.join(waiting)} still to run" if waiting else ""


def _curves(problem: PlannedProblem, result: ContenderResult, evaluations: int) -> Floats:
    """[blocks, evaluations + 1] the judged metric, oriented: +inf where it diverged, and after an early stop.

    What stopped early has been at all the targets that it reaches.
    """
    outcomes = [next(iter(each.ended), None) for each in result.studies] if result.repeats_tuning else result.outcomes
    values = np.full((len(outcomes), evaluations + 1), np.nan)
    for line, outcome in zip(values, outcomes, strict=True):
        if outcome is not None:
            line[:] = along_budget(outcome, problem.metric, evaluations)
    return _oriented(problem, values)


def _oriented(problem: PlannedProblem, values: Any) -> Floats:
    return oriented(problem, problem.metric, values).astype(np.float64)


def _stretched(ladders: Sequence[Floats], count: int) -> Floats:
    """[problems, count] ladders of one length, the easiest target first, each as often as the problem's others."""
    return np.stack([ladder[np.arange(count) * len(ladder) // count] for ladder in ladders])
