"""Mean ranks of contenders over problems, with intervals and the probability of being best, by a joint bootstrap."""

from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dlkit.bench.stats.bootstrap import expanded_level, percentile_bands
from dlkit.bench.stats.checks import Floats, error_rate, with_gaps
from dlkit.bench.stats.incomplete_ranks import are_joined, expected_ranks
from dlkit.bench.stats.intervals import wilson_interval
from dlkit.bench.stats.resampling import joint_medians, medians

__all__ = ["RankBootstrap", "rank_bootstrap"]

SAME = 1e-4  # mean ranks that differ by less are the same: two that are not differ by half of 1 / problems at least


class RankBootstrap(NamedTuple):
    """Mean ranks and how sure they are; see `rank_bootstrap`.

    Attributes:
        mean_ranks: [contenders] midranks of the medians over seeds, averaged over problems, 1 the best.
        low: [contenders] lower ends of the intervals of the mean ranks.
        high: [contenders] upper ends.
        probability_best: [contenders] share of resamples with the lowest mean rank; ties share.
    """

    mean_ranks: Floats
    low: Floats
    high: Floats
    probability_best: Floats


def rank_bootstrap(
    scores: ArrayLike,
    *,
    level: float = 0.95,
    resamples: int = 10_000,
    seed: int,
    higher_is_better: bool = False,
) -> RankBootstrap:
    """Mean ranks over problems, with intervals and the probability of being best, by a joint bootstrap.

    Each resample draws problems, and within each of them seeds (the same for all contenders, who stay paired), takes
    medians over seeds, ranks them, and averages the ranks. Drawing seeds adds noise that was in the data once already
    and draws ranks towards each other: the ends are percentiles at `expanded_level` less that bias, and rather too
    wide; `probability_best` is rather too even. Where all resamples agree, a contender may rank
    anywhere from 1 to k on that share of other problems which Wilson's interval for n hits in n problems leaves open.
    Where contenders did not run everywhere, mean ranks are `expected_ranks`, n is the number of problems where one ran,
    and what a draw leaves open (it may have no problem of a contender) is as over all problems.

    Args:
        scores: [contenders, seeds, problems]; infinities are allowed, equal ones tie; NaN in all seeds where a
            contender did not run.
        level: confidence level, between 0 and 1.
        resamples: how many.
        seed: of the resampling.
        higher_is_better: whether the highest median gets rank 1.

    Returns:
        The ranks. With one problem the intervals are about that problem only; one seed and one problem say nothing:
        1 to k.

    Raises:
        ValueError: if `scores` is empty, has NaN in some seeds of a cell only, or has contenders that are not joined by
            problems; if `resamples` < 2, or `level` is not between 0 and 1.

    Reference:
        Davison and Hinkley, Bootstrap Methods and Their Application, 1997, section 3.8 (hierarchical resampling).

    Example:
        >>> rank_bootstrap([[[1.0, 4.0], [2.0, 5.0]], [[3.0, 6.0], [4.0, 7.0]]], resamples=99, seed=0).mean_ranks
        array([1., 2.])
    """
    values = with_gaps("scores", scores, ("contenders", "seeds", "problems"))
    error_rate(level)
    if higher_is_better:
        values = -values
    contenders, seeds, problems = values.shape
    known = ~np.isnan(values)
    ran = np.asarray(known.all(axis=1))
    if partly := int((~known & known.any(axis=1, keepdims=True)).sum()):
        raise ValueError(
            f"scores has NaN in {partly} places, in some seeds of a cell alone; NaN is for who did not run"
        )
    if not are_joined(ran):
        raise ValueError("scores has contenders that are not joined by problems that they have in common")
    middles = medians(values)
    ranked = _mean_ranks if ran.all() else partial(expected_ranks, whole=middles)
    estimate = ranked(middles[None])[0]
    drawn = np.concatenate([ranked(each) for each in joint_medians(values, resamples, seed)])
    first = np.isclose(drawn, drawn.min(axis=1, keepdims=True), rtol=0.0, atol=SAME)
    probability = (first / first.sum(axis=1, keepdims=True)).mean(axis=0)
    counts = ran.sum(axis=1)
    bias = drawn.mean(axis=0) - estimate
    low, high = np.empty(contenders), np.empty(contenders)
    for count in np.unique(counts):
        alike = counts == count
        wide = expanded_level(level, count if problems > 1 else seeds)
        low[alike], high[alike] = percentile_bands(drawn[:, alike], wide)
    low, high = (np.clip(end - bias, 1.0, float(contenders)) for end in (low, high))
    if problems > 1:
        agreed = np.ptp(drawn, axis=0) <= SAME
        sure = np.array([wilson_interval(count, count, level=level).low for count in counts.tolist()])
        low = np.where(agreed, np.minimum(low, sure * estimate + (1 - sure)), low)
        high = np.where(agreed, np.maximum(high, sure * estimate + (1 - sure) * contenders), high)
    return RankBootstrap(estimate, low, high, probability)


def _mean_ranks(values: Floats) -> NDArray[np.float64]:
    """[draws, contenders, problems] -> [draws, contenders]: midranks among contenders, averaged over problems."""
    first, second = values[:, :, None], values[:, None]
    # A midrank is 1/2 + those below + half of those equal, itself among them.
    doubled = (second < first).sum(axis=2, dtype=np.int32) + (second <= first).sum(axis=2, dtype=np.int32)
    means: Floats = 0.5 + 0.5 * doubled.mean(axis=-1)
    return means
