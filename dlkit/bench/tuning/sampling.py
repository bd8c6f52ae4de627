"""Tuners draw the points of a search space. They are pure: the same arguments give the same points."""

import importlib.util
import math
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import product
from typing import Any

import numpy as np

from dlkit.bench.errors import UserError
from dlkit.bench.plan.space import Point, Range, Space
from dlkit.bench.tuning.scrambled_halton import scrambled_halton

__all__ = [
    "TUNERS",
    "beforehand",
    "dimensions",
    "grid_points",
    "halton_points",
    "optuna_points",
    "random_points",
    "require_tuner",
    "spread",
    "spread_first",
    "zoom_points",
]

TUNERS = ("halton", "random", "grid", "optuna", "zoom")
AROUND = 3  # how many of the best points zoom looks around
REDRAWN = 0.25  # how often a static choice is drawn anew there
Static = Mapping[str, Sequence[Any]]
Floats = np.ndarray[Any, np.dtype[np.float64]]


def dimensions(space: Space, static: Static) -> int:
    """Returns how many hyperparameters there are to tune: ranges, and static ones with a choice."""
    return sum(isinstance(span, Range) for span in space.values()) + sum(len(each) > 1 for each in static.values())


def halton_points(space: Space, static: Static, count: int, *, seed: int = 0) -> list[Point]:
    """Draws scrambled Halton points over a space.

    The first n of m > n points are the n points drawn alone, so a larger budget reuses a smaller one's trials. Spaces
    of the same number of dimensions get the same coordinates.

    Args:
        space: name -> range, or a fixed value.
        static: name -> the choices it may take; drawn like any other dimension.
        count: how many points.
        seed: which scrambling.

    Returns:
        The points. Nothing to draw gives one point: there is just one setting to try.

    Reference:
        Owen, "A randomized Halton algorithm in R", 2017.
    """

    def coordinates(width: int) -> Floats:
        return scrambled_halton(width, count, seed=seed)

    return _drawn(space, static, coordinates)


def random_points(space: Space, static: Static, count: int, *, seed: int = 0) -> list[Point]:
    """Draws independent points, uniform on each range's scale.

    Arguments, prefixes and result are those of `halton_points`; the generator is NumPy's Philox, keyed by the seed.
    """

    def coordinates(width: int) -> Floats:
        key = np.array([zlib.crc32(b"random points"), seed], np.uint64)
        return np.random.Generator(np.random.Philox(key=key)).random((count, width))

    return _drawn(space, static, coordinates)


def grid_points(space: Space, static: Static, count: int, *, counts: Mapping[str, int] | None = None) -> list[Point]:
    """Lays a full grid over a space: evenly spaced on each range's scale, ends included, static choices crossed.

    The grid is the largest that does not have more than `count` points and whose ranges have about equally many values:
    none has two more than another, and the first ones have more. A range with one value gets its middle.

    Args:
        space: as in `halton_points`.
        static: as in `halton_points`; every choice is tried.
        count: the most points.
        counts: name -> how many values of that hyperparameter; names that this space lacks do not count.

    Returns:
        The points, the last hyperparameter changing fastest.

    Raises:
        UserError: if the choices and `counts` alone make more than `count` points.
    """
    ranges = [name for name, span in space.items() if isinstance(span, Range)]
    fixed = {name: number for name, number in (counts or {}).items() if name in ranges}
    left = count // math.prod([*fixed.values(), *map(len, static.values())])
    if left < 1:
        needed = math.prod([*fixed.values(), *map(len, static.values())])
        raise UserError(f"a grid over these hyperparameters has at least {needed} points; allow so many, not {count}")
    free = [name for name in ranges if name not in fixed]
    sizes = fixed | _even_sizes(free, left)
    axes = [spread(span, sizes[name]) if isinstance(span, Range) else [float(span)] for name, span in space.items()]
    return [
        Point(dict(zip(space, values[: len(axes)], strict=True)), dict(zip(static, values[len(axes) :], strict=True)))
        for values in product(*axes, *static.values())
    ]


def _even_sizes(names: Sequence[str], most: int) -> dict[str, int]:
    """The number of values of each range: as equal as can be, with a product of at most `most`."""
    if not names:
        return {}
    size = 1
    while (size + 1) ** len(names) <= most:
        size += 1
    sizes = dict.fromkeys(names, size)
    for name in names:
        sizes[name] += 1
        if math.prod(sizes.values()) > most:
            sizes[name] -= 1
            break
    return sizes


def spread(span: Range, count: int) -> list[float]:
    """Returns evenly spaced values of a range, ends included; its middle if there is one."""
    return [span.value(0.5)] if count == 1 else [span.value(place / (count - 1)) for place in range(count)]


def beforehand(
    tuner: str, space: Space, static: Static, count: int, *, seed: int = 0, counts: Mapping[str, int] | None = None
) -> list[Point]:
    """Draws the points of a tuner that needs no outcomes.

    Args:
        tuner: ``"halton"``, ``"random"`` or ``"grid"``.
        space: as in `halton_points`.
        static: as in `halton_points`.
        count: as in `halton_points`, or `grid_points`.
        seed: as in `halton_points`; a grid is the same for each.
        counts: as in `grid_points`.

    Returns:
        The points.
    """
    if tuner == "grid":
        return grid_points(space, static, count, counts=counts)
    return {"halton": halton_points, "random": random_points}[tuner](space, static, count, seed=seed)


def _drawn(space: Space, static: Static, coordinates: Callable[[int], Floats]) -> list[Point]:
    """Turns coordinates in [0, 1) into points: ranges first, then static choices."""
    ranges = {name: value for name, value in space.items() if isinstance(value, Range)}
    fixed = {name: float(value) for name, value in space.items() if not isinstance(value, Range)}
    open_choices = {name: options for name, options in static.items() if len(options) > 1}
    only_choices = {name: options[0] for name, options in static.items() if len(options) == 1}
    if not ranges and not open_choices:
        return [Point(fixed, only_choices)]
    points = []
    for row in coordinates(len(ranges) + len(open_choices)):
        values = {name: span.value(float(c)) for (name, span), c in zip(ranges.items(), row, strict=False)}
        chosen = {
            name: options[min(int(c * len(options)), len(options) - 1)]
            for (name, options), c in zip(open_choices.items(), row[len(ranges) :], strict=True)
        }
        points.append(Point({name: (values | fixed)[name] for name in space}, only_choices | chosen))
    return points


# --- adaptive ---


def require_tuner(tuner: str) -> None:
    """Refuses a tuner whose package is not there, before anything runs.

    Raises:
        UserError: for optuna, if it is not installed.
    """
    if tuner == "optuna" and importlib.util.find_spec("optuna") is None:
        raise UserError(
            "tuner 'optuna' needs the package optuna: pip install 'dlkit-jax[optuna]', or use tuner 'halton'"
        )


def optuna_points(
    space: Space, static: Static, told: Sequence[Point], scores: Sequence[float], count: int, *, seed: int = 0
) -> list[Point]:
    """Asks optuna's tree-structured Parzen estimator for the next batch of points.

    What it answers depends on what it was told, on the seed and on how many points there were, and on nothing else: the
    sampler is made anew for each batch, so no state has to survive between two calls. Fewer points of one batch are
    the first of more. Points are told by where in its range a value lies, so a range's scale is the estimator's scale.

    Args:
        space: as in `halton_points`.
        static: as in `halton_points`; a categorical dimension where there is a choice.
        told: the points before.
        scores: of each, lower is better; +inf for one that diverged.
        count: how many points to ask for.
        seed: which sequence.

    Returns:
        The points.

    Reference:
        Bergstra et al., "Algorithms for Hyper-Parameter Optimization", 2011.
    """
    import optuna

    ranges = {name: span for name, span in space.items() if isinstance(span, Range)}
    fixed = {name: float(value) for name, value in space.items() if not isinstance(value, Range)}
    distributions: dict[str, Any] = {name: optuna.distributions.FloatDistribution(0.0, 1.0) for name in ranges}
    for name, options in static.items():
        distributions[name] = optuna.distributions.CategoricalDistribution(range(len(options)))
    batch = zlib.crc32(f"study {seed} after {len(told)} points".encode())
    with _quiet():
        study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=batch))
        for point, score in zip(told, scores, strict=True):
            params: dict[str, Any] = {
                name: min(max(span.coordinate(point.hyperparameters[name]), 0.0), 1.0) for name, span in ranges.items()
            }
            params |= {name: list(options).index(point.static[name]) for name, options in static.items()}
            study.add_trial(optuna.trial.create_trial(params=params, distributions=distributions, value=score))
        asked = [study.ask(distributions).params for _ in range(count)]
    return [
        Point(
            {name: fixed[name] if name in fixed else ranges[name].value(params[name]) for name in space},
            {name: options[params[name]] for name, options in static.items()},
        )
        for params in asked
    ]


def spread_first(total: int) -> int:
    """Returns how many of zoom's points are spread over the whole space: half of them, rounded up."""
    return math.ceil(total / 2)


def zoom_points(
    space: Space,
    static: Static,
    told: Sequence[Point],
    scores: Sequence[float],
    count: int,
    *,
    total: int,
    seed: int = 0,
) -> list[Point]:
    """Draws the next points of a search that spreads half of them and puts the others around the best ones.

    The first half are Halton's. The others lie in boxes around the best three points, in turn, reflected at the bounds.
    A box has as much of the space as there is for each point that was spread, on the ranges' scales. A static choice
    there is that of the centre, or one time in four any. Fewer points of one batch are the first of more.

    Args:
        space: as in `halton_points`.
        static: as in `halton_points`.
        told: the points before.
        scores: of each, lower is better; +inf for one that diverged. While none has trained, points are spread further.
        count: how many points to draw.
        total: how many there are in the end; it says how many are spread.
        seed: which sequence.

    Returns:
        The points.
    """
    first, before = spread_first(total), len(told)
    best = [place for place in np.argsort(scores, kind="stable") if np.isfinite(scores[place])][:AROUND]
    if before < first or not best:
        stop = min(before + count, first) if before < first else before + count
        return halton_points(space, static, stop, seed=seed)[before:]
    dimensions_with_a_box = sum(isinstance(span, Range) for span in space.values())
    width = first ** (-1 / max(dimensions_with_a_box, 1))
    points = []
    for place in range(before, before + count):
        key = np.array([zlib.crc32(f"zoom points of study {seed}".encode()), place], np.uint64)
        rng = np.random.Generator(np.random.Philox(key=key))
        points.append(_around(space, static, told[best[(place - first) % len(best)]], width, rng))
    return points


def _around(space: Space, static: Static, centre: Point, width: float, rng: np.random.Generator) -> Point:
    """Draws a point in a box around another one; the width is a share of each range's."""
    values = {}
    for name, span in space.items():
        if isinstance(span, Range):
            coordinate = abs(span.coordinate(centre.hyperparameters[name]) + width * float(rng.uniform(-0.5, 0.5)))
            values[name] = span.value(2 - coordinate if coordinate > 1 else coordinate)
        else:
            values[name] = float(span)
    chosen = {
        name: options[int(rng.integers(len(options)))] if rng.random() < REDRAWN else centre.static[name]
        for name, options in static.items()
    }
    return Point(values, chosen)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps optuna from announcing every study and trial on the terminal."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)
