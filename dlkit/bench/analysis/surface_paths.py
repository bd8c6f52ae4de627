"""Where trials went on surfaces of two coordinates: kept by the probe ``coordinates``, at each evaluation."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from dlkit.bench.analysis.comparison import Comparison
from dlkit.bench.analysis.contender_result import ContenderResult
from dlkit.bench.plan.planned import PlannedProblem
from dlkit.bench.plan.trials import Outcome

__all__ = ["COORDINATES", "SURFACES", "Surface", "SurfacePath", "surface_of", "surface_paths"]

COORDINATES = ("coordinate_1", "coordinate_2")
"""What the probe calls its curves."""

Floats = np.ndarray[Any, np.dtype[np.float64]]


class Surface(NamedTuple):
    """A function of two coordinates.

    Attributes:
        value: ``value(x, y)``, of arrays of one shape.
        minimum: where it is 0.
    """

    value: Callable[[Floats, Floats], Floats]
    minimum: tuple[float, float]


class SurfacePath(NamedTuple):
    """Where one final trial of a contender went.

    Attributes:
        result: the contender's.
        seed: the trial's: the one whose final score is the contender's median (the better one of two in the middle).
        points: [evaluations, 2] the coordinates, from the start on.
    """

    result: ContenderResult
    seed: int
    points: Floats


def _rosenbrock(x: Floats, y: Floats) -> Floats:
    # 100 (y - x^2)^2 + (1 - x)^2
    return 100 * (y - x**2) ** 2 + (1 - x) ** 2


def _beale(x: Floats, y: Floats) -> Floats:
    # sum_k (c_k - x + x y^k)^2
    return (1.5 - x + x * y) ** 2 + (2.25 - x + x * y**2) ** 2 + (2.625 - x + x * y**3) ** 2


SURFACES: Mapping[str, Surface] = MappingProxyType(
    {"rosenbrock": Surface(_rosenbrock, (1.0, 1.0)), "beale": Surface(_beale, (3.0, 0.5))}
)
"""The catalogue's problems that can be drawn: the same functions as they train on."""


def surface_of(problem: PlannedProblem) -> Surface | None:
    """Returns the surface of a problem of the catalogue that has two coordinates; None of any other."""
    if problem.is_own or problem.choices.get("dimension", 2) != 2:
        return None
    return SURFACES.get(problem.made_by or problem.name)


def surface_paths(comparison: Comparison) -> list[SurfacePath]:
    """Returns where each contender's median final trial went, best contender first.

    Args:
        comparison: of all contenders on one problem.

    Returns:
        Of those whose trials kept their coordinates; none where the problem is no surface of two of them.
    """
    if surface_of(comparison.problem) is None:
        return []
    found = []
    for result in comparison.results:
        ended = [outcome for study in result.studies for outcome in study.ended]
        kept = [
            (float(score), outcome)
            for score, outcome in zip(result.scores, ended, strict=True)
            if all(name in outcome.curves for name in COORDINATES)
        ]
        if kept:
            _, outcome = sorted(kept, key=lambda each: each[0])[(len(kept) - 1) // 2]
            points = _points(outcome)
            if len(points):
                found.append(SurfacePath(result, outcome.trial.seed, points))
    return found


def _points(outcome: Outcome) -> Floats:
    points = np.stack([np.asarray(outcome.curves[name], np.float64) for name in COORDINATES], axis=1)
    is_known = np.isfinite(points).all(axis=1)
    return points[: len(points) if is_known.all() else int(np.argmin(is_known))]
