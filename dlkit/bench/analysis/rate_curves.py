"""What tuning scores against the learning rate, whatever the other hyperparameters were."""

import math
from typing import Any, NamedTuple

import numpy as np

from dlkit.bench.analysis.comparison import Comparison
from dlkit.bench.analysis.contender_result import ContenderResult

__all__ = ["RateCurve", "rate_curve", "rate_curves"]

A_STRETCH = 3  # points at least, on average
FEWEST, MOST = 2, 12  # stretches

Floats = np.ndarray[Any, np.dtype[np.float64]]
Integers = np.ndarray[Any, np.dtype[np.int64]]


class RateCurve(NamedTuple):
    """What tuning scores in each stretch of the learning rate.

    Attributes:
        result: the contender's.
        rates: [stretches] the middle of each.
        scores: [stretches] the best score of each study there, median over studies, oriented; +inf where in most of
            them a seed of every point there diverged.
        points: [stretches] how many there are.
    """

    result: ContenderResult
    rates: Floats
    scores: Floats
    points: Integers


def rate_curves(comparison: Comparison) -> list[RateCurve]:
    """Returns the curves of the contenders that have a learning rate to tune, best first.

    Args:
        comparison: of all contenders on one problem.
    """
    found = []
    for result in comparison.results:
        ran = [
            (tuning.points[index].hyperparameters.get("learning_rate", math.nan), tuning.finals[index], study)
            for study, tuning in enumerate(result.tunings)
            for index, done in enumerate(tuning.ran)
            if done
        ]
        rates, scores, studies = (np.array([each[place] for each in ran], np.float64) for place in range(3))
        if not result.failure and len(rates) and (rates > 0).all() and rates.min() < rates.max():
            found.append(RateCurve(result, *rate_curve(rates, scores, studies)))
    return found


def rate_curve(rates: Floats, scores: Floats, studies: Floats) -> tuple[Floats, Floats, Integers]:
    """Returns what is scored in stretches of the learning rate that are equally wide in the logarithm.

    Studies have seeds of their own, so that the best of all their points would be that of the luckiest study; the
    median over studies is not.

    Args:
        rates: [points] above 0, not all the same.
        scores: [points] lower is better, +inf where a seed diverged.
        studies: [points] whose point it is.

    Returns:
        [stretches] their middles, the median over studies of each study's best score, and how many points there are;
        without the stretches that have none.

    Example:
        >>> rates = np.array([0.01, 0.03, 1.0, 0.02, 0.5, 0.9])
        >>> rate_curve(rates, np.array([3.0, 2.0, 9.0, 4.0, 7.0, 8.0]), np.array([0, 0, 0, 1, 1, 1]))[1].tolist()
        [3.0, 8.0]
    """
    count = int(np.clip(round(len(rates) / max(A_STRETCH, len(np.unique(studies)))), FEWEST, MOST))
    logs = np.log10(rates)
    edges = np.linspace(logs.min(), logs.max(), count + 1)
    places = np.clip(np.searchsorted(edges, logs, side="right") - 1, 0, count - 1)
    middles, typical, points = [], [], []
    for place in np.unique(places):
        own = places == place
        best = [scores[own & (studies == study)].min() for study in np.unique(studies[own])]
        middles.append(10 ** float(edges[place : place + 2].mean()))
        typical.append(_median(np.sort(best)))
        points.append(int(own.sum()))
    return np.array(middles), np.array(typical), np.array(points)


def _median(ordered: Floats) -> float:
    """The median, infinite next to an infinite one."""
    middle = ordered[(len(ordered) - 1) // 2 : len(ordered) // 2 + 1]
    return float(middle[-1]) if np.isinf(middle).any() else float(middle.mean())
