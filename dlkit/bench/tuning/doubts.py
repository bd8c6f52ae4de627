"""What makes a contender's tuning doubtful, from all its studies together."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from dlkit.bench.plan.plan import PlannedContender, PlannedProblem
from dlkit.bench.plan.space import Range, Side
from dlkit.bench.stats import expected_best, rank_correlation
from dlkit.bench.tuning.history import History
from dlkit.bench.tuning.winner import EDGE_CORRELATION, Tuning, tune

__all__ = ["Doubts", "doubts", "doubts_of"]

SHARE_AT_EDGE = 0.5  # of the studies' winners

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
        too_few: whether fewer points trained than a winner needs to be trusted, in one study or more of two.
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

    A hyperparameter is at an edge if in half of the studies the winner's value is the outermost that was tried, and
    over the points of all studies scores improve towards that edge. With one study that is what `Tuning.edges` says.
    Scores of different studies are compared by their distance to the study's median, since studies share no seed.

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


def _edges(space: Mapping[str, Range | float], ended: Sequence[Tuning]) -> dict[str, Side]:
    found: dict[str, Side] = {}
    for name, span in space.items():
        if not isinstance(span, Range):
            continue
        where = [np.array([span.coordinate(point.hyperparameters[name]) for point in each.points]) for each in ended]
        places = [(line, each.winner) for line, each in zip(where, ended, strict=True) if each.winner is not None]
        if not places:
            continue
        trend = rank_correlation(np.concatenate(where), _centred(ended, [each.scores for each in ended]))
        at_top, at_bottom = (
            sum(line[winner] == end(line) for line, winner in places) >= SHARE_AT_EDGE * len(ended)
            for end in (np.max, np.min)
        )
        if at_top and trend <= -EDGE_CORRELATION:
            found[name] = "upper"
        if at_bottom and trend >= EDGE_CORRELATION:
            found[name] = "lower"
    return found


def _gain(ended: Sequence[Tuning]) -> float:
    """What twice as many points would gain: the points of all studies show how well so many would do."""
    scores = _centred(ended, [each.finals for each in ended])
    trained = scores[np.isfinite(scores)]
    if trained.size < 2:
        return 0.0
    count = max(1, round(trained.size / len(ended)))  # of a study's points, so many train
    return float(expected_best(trained, count) - expected_best(trained, min(2 * count, trained.size)))


def _beyond(space: Mapping[str, Range | float], ended: Sequence[Tuning], edges: Mapping[str, Side]) -> float:
    """How much the best points of the half at an edge are better than those of the other half, at most."""
    scores, gained = _centred(ended, [each.finals for each in ended]), [0.0]
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


def _centred(ended: Sequence[Tuning], values: Sequence[Floats]) -> Floats:
    """[points of all studies] values less the median of those of their study that trained."""

    def middle(scores: Floats) -> float:
        trained = scores[np.isfinite(scores)]
        return float(np.median(trained)) if trained.size else 0.0

    return np.concatenate([each - (middle(each) if len(ended) > 1 else 0.0) for each in values])
