"""What makes a contender's tuning doubtful, from all its studies together."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from dlkit.bench.plan.planned import PlannedContender, PlannedProblem
from dlkit.bench.plan.space import Range, Side
from dlkit.bench.stats import expected_best, rank_correlation
from dlkit.bench.stats.order_statistics import median
from dlkit.bench.tuning.history import History
from dlkit.bench.tuning.winner import EDGE_CORRELATION, FEWEST_FINITE, Tuning, tune

__all__ = ["Doubts", "centred", "doubts", "doubts_of"]

SHARE_AT_EDGE = 0.5  # of the studies' winners, at least
CHANCE = 0.01  # of a trend to either side that is none

Floats = np.ndarray[Any, Any]


class Doubts(NamedTuple):
    """What makes a contender's tuning doubtful.

    Attributes:
        edges: hyperparameters that want to leave their range: name -> the side.
        beyond: what may lie beyond these edges: how much half of the range nearer to them gained on the other half,
            in oriented units; 0 without edges.
        gain: what twice as many points a study would gain, about, in oriented units; with one study, what its last
            doubling gained.
        finite: points that trained on every tuning seed, over all studies.
        points: that were tried, over all studies.
        too_few: whether fewer points trained than a winner needs to be trusted, in more than half of the studies.
    """

    edges: Mapping[str, Side]
    beyond: float
    gain: float
    finite: int
    points: int
    too_few: bool


def doubts_of(history: History, problem: PlannedProblem, contender: PlannedContender) -> Doubts:
    """Returns what makes a contender's tuning on a problem doubtful, from the studies that have ended."""
    plan = history.plan
    tunings = [tune(history, problem, contender, study=study) for study in plan.studies(problem, contender)]
    return doubts(plan.space(problem, contender), tunings)


def doubts(space: Mapping[str, Range | float], tunings: Sequence[Tuning]) -> Doubts:
    """Finds what makes tuning doubtful.

    A hyperparameter is at an edge if in half of the studies the winner's value is the outermost that was
    tried, and over the points of all studies scores improve towards that edge by more than chance does. With one study
    that is what `Tuning.edges` says. Scores of different studies are compared by `centred`.

    Args:
        space: hyperparameter -> range or fixed number.
        tunings: of the contender's studies; those that go on do not count.

    Returns:
        The doubts.
    """
    ended = [each for each in tunings if not each.missing]
    if not ended:
        return Doubts({}, 0.0, 0.0, 0, 0, False)
    finite, points = (sum(values) for values in ([each.finite for each in ended], [len(each.points) for each in ended]))
    lacking = sum(each.too_few for each in ended) > len(ended) / 2
    if len(ended) == 1:
        edges, gain = dict(ended[0].edges), ended[0].gain
    else:
        edges, gain = _edges(space, ended), _gain(ended)
    return Doubts(edges, _beyond(space, ended, edges), gain, finite, points, lacking)


def centred(values: Sequence[Floats]) -> Floats:
    """Makes scores of several studies comparable, which share no seed: all studies get the same median.

    Args:
        values: [studies][points] oriented; +inf where a seed diverged.

    Returns:
        [points of all studies] values less the median of those of their study that trained, plus the median of all that
        trained. Of one study, the values as they are.
    """
    together: Floats = np.concatenate([np.zeros(0), *values])
    if len(values) < 2:
        return together
    return np.concatenate([each - _middle(each) for each in values]) + _middle(together)


def _middle(scores: Floats) -> float:
    """The median of those that trained; 0 of none."""
    trained = scores[np.isfinite(scores)]
    return median(np.sort(trained)) if trained.size else 0.0


def _edges(space: Mapping[str, Range | float], ended: Sequence[Tuning]) -> dict[str, Side]:
    found: dict[str, Side] = {}
    trained = [each for each in ended if each.winner is not None]  # the others show no trend, but count as studies
    scores = centred([each.scores for each in trained])
    # One is lost to the trend, one to each study's median.
    freedom = scores.size - len(trained) - 1
    if freedom < FEWEST_FINITE:
        return found
    least = max(EDGE_CORRELATION, _beyond_chance(freedom))
    for name, span in space.items():
        if not isinstance(span, Range):
            continue
        where = [np.array([span.coordinate(point.hyperparameters[name]) for point in each.points]) for each in trained]
        trend = rank_correlation(np.concatenate(where), scores)
        at_top, at_bottom = (
            sum(line[each.winner] == end(line) for line, each in zip(where, trained, strict=True))
            >= SHARE_AT_EDGE * len(ended)
            for end in (np.max, np.min)
        )
        if at_top and trend <= -least:
            found[name] = "upper"
        if at_bottom and trend >= least:
            found[name] = "lower"
    return found


def _beyond_chance(freedom: int) -> float:
    """The size of a rank correlation that chance exceeds at a rate of `CHANCE`, by Student's t."""
    from scipy.special import stdtrit

    quantile = float(stdtrit(freedom, 1 - CHANCE / 2))
    return quantile / math.sqrt(freedom + quantile**2)


def _gain(ended: Sequence[Tuning]) -> float:
    """What twice as many points would gain: the points of all studies show how well so many would do.

    What studies' levels differ by adds to the spread of scores as they are, and the luck of a study's points, which
    its median has, to that of centred ones. Either makes the gain too large, so the smaller one is nearer to it.
    """
    finals = [each.finals for each in ended]
    return min(_doubling(scores, len(ended)) for scores in (np.concatenate(finals), centred(finals)))


def _doubling(scores: Floats, studies: int) -> float:
    """How much better the best of twice a study's points is, if points are drawn from these."""
    trained = scores[np.isfinite(scores)]
    if trained.size < 2:
        return 0.0
    count = max(1, round(trained.size / studies))  # of a study's points, so many train
    return float(expected_best(trained, count) - expected_best(trained, min(2 * count, trained.size)))


def _beyond(space: Mapping[str, Range | float], ended: Sequence[Tuning], edges: Mapping[str, Side]) -> float:
    """How much the best points of the half at an edge are better than those of the other half, at most."""
    scores, gained = centred([each.finals for each in ended]), [0.0]
    for name, side in edges.items():
        span = space[name]
        assert isinstance(span, Range)
        where = np.array([span.coordinate(point.hyperparameters[name]) for each in ended for point in each.points])
        is_near, trained = (where > 0.5) == (side == "upper"), np.isfinite(scores)
        near, far = scores[is_near & trained], scores[~is_near & trained]
        if not near.size or not far.size:
            return math.inf  # nothing tells
        count = max(1, round(min(near.size, far.size) / len(ended)))
        gained.append(float(expected_best(far, count) - expected_best(near, count)))
    return max(gained)
