"""Search spaces: traced ranges, which share an executable, and static choices, each a compile group; Halton points."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from dlkit.bench.errors import UserError, nearest

__all__ = [
    "Point",
    "Range",
    "Space",
    "halton_points",
    "is_number",
    "log_uniform",
    "narrow",
    "one_minus_log_uniform",
    "uniform",
]

Scale = Literal["linear", "log", "one_minus_log"]
DIGITS = 6  # significant digits kept of a drawn value: readable, and the same float when typed back in
LARGEST = float(np.finfo(np.float32).max)  # values are traced as float32
RESOLUTION = 2  # digits kept at least of where in its range a value lies: narrow ranges, decays near 1


@dataclass(frozen=True)
class Range:
    """An interval a hyperparameter is drawn from; traced, so that every value runs in the same executable.

    Attributes:
        low: the smallest value.
        high: the largest value.
        scale: ``"linear"``, ``"log"``, or ``"one_minus_log"`` (``1 - value`` is log-uniform: momentum, betas).
    """

    low: float
    high: float
    scale: Scale = "linear"

    def __post_init__(self) -> None:
        for name in ("low", "high"):
            bound = getattr(self, name)
            if isinstance(bound, bool) or not hasattr(bound, "__float__"):
                raise UserError(f"a range needs two numbers, but came as [{self.low!r}, {self.high!r}]")
            object.__setattr__(self, name, float(bound))  # NumPy's scalars cannot be written as JSON
        if self.scale not in get_args(Scale):
            raise UserError(f"no scale {self.scale!r}; {nearest(str(self.scale), get_args(Scale))}")
        if not (-LARGEST <= self.low < self.high <= LARGEST):
            raise UserError(f"a range needs finite bounds, low < high, but came as [{self.low}, {self.high}]")
        if self.scale == "log" and self.low <= 0:
            raise UserError(f"a log-uniform range needs low > 0, but came as [{self.low}, {self.high}]")
        if self.scale == "one_minus_log" and self.high >= 1:
            raise UserError(f"a range log-uniform in 1 - value needs high < 1, but came as [{self.low}, {self.high}]")

    def value(self, coordinate: float) -> float:
        """Returns the value at a coordinate in [0, 1], 0 being `low` and 1 `high`."""
        if self.scale == "log":
            value = self.low * (self.high / self.low) ** coordinate
        elif self.scale == "one_minus_log":
            value = 1 - (1 - self.low) * ((1 - self.high) / (1 - self.low)) ** coordinate
        else:
            value = self.low + (self.high - self.low) * coordinate
        return min(max(float(f"{value:.{self._digits}g}"), self.low), self.high)

    @property
    def _digits(self) -> int:
        finest = min(self.high - self.low, 1 - self.high) if self.scale == "one_minus_log" else self.high - self.low
        largest = math.floor(math.log10(max(abs(self.low), abs(self.high))))
        return max(DIGITS, largest + 1 + int(RESOLUTION + 0.99 - math.log10(finest)))

    def coordinate(self, value: float) -> float:
        """Returns where in [0, 1] a value lies: the inverse of `value`."""
        if self.scale == "log":
            return math.log(value / self.low) / math.log(self.high / self.low)
        if self.scale == "one_minus_log":
            return math.log((1 - value) / (1 - self.low)) / math.log((1 - self.high) / (1 - self.low))
        return (value - self.low) / (self.high - self.low)


Space = Mapping[str, Range | float]


def uniform(low: float, high: float) -> Range:
    """Returns the range of values uniform in [low, high]."""
    return Range(low, high, "linear")


def log_uniform(low: float, high: float) -> Range:
    """Returns the range of values whose logarithm is uniform in [log low, log high]."""
    return Range(low, high, "log")


def one_minus_log_uniform(low: float, high: float) -> Range:
    """Returns the range of values v for which 1 - v is log-uniform: 0.9, 0.99 and 0.999 are evenly spaced."""
    return Range(low, high, "one_minus_log")


class Point(NamedTuple):
    """One setting of an optimizer: traced hyperparameters and static choices."""

    hyperparameters: dict[str, float]
    static: dict[str, Any]


def halton_points(space: Space, static: Mapping[str, Sequence[Any]], count: int, *, seed: int = 0) -> list[Point]:
    """Draws the points of an equal tuning budget: scrambled Halton points over a space.

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
    ranges = {name: value for name, value in space.items() if isinstance(value, Range)}
    fixed = {name: float(value) for name, value in space.items() if not isinstance(value, Range)}
    open_choices = {name: options for name, options in static.items() if len(options) > 1}
    only_choices = {name: options[0] for name, options in static.items() if len(options) == 1}
    dimensions = len(ranges) + len(open_choices)
    if dimensions == 0:
        return [Point(fixed, only_choices)]
    from scipy.stats import qmc  # 1.5 s of import, needed where points are drawn only

    coordinates = qmc.Halton(dimensions, scramble=True, rng=np.random.default_rng(seed)).random(count)
    points = []
    for row in coordinates:
        values = {name: span.value(float(c)) for (name, span), c in zip(ranges.items(), row, strict=False)}
        chosen = {
            name: options[min(int(c * len(options)), len(options) - 1)]
            for (name, options), c in zip(open_choices.items(), row[len(ranges) :], strict=True)
        }
        points.append(Point({name: (values | fixed)[name] for name in space}, only_choices | chosen))
    return points


def narrow(space: Space, overrides: Mapping[str, float | Sequence[Any]], *, owner: str) -> Space:
    """Replaces parts of a space: a number fixes a hyperparameter, a pair of numbers gives new bounds on its scale.

    A pair for what has no range yet is log-uniform if its low is positive; a third item names another scale.

    Args:
        space: the declared space.
        overrides: name -> number, [low, high] or [low, high, scale].
        owner: whose space it is, for messages.

    Returns:
        The space with the overrides applied.

    Raises:
        UserError: for unknown names, and bounds that do not make a range; with every mistake found.
    """
    changed = dict(space)
    mistakes = []
    for name, override in overrides.items():
        if name not in space:
            mistakes.append(f"{owner}: no hyperparameter '{name}'; {nearest(name, space)}")
            continue
        try:
            changed[name] = _override(space[name], override)
        except UserError as error:
            mistakes.append(f"{owner}, hyperparameter '{name}': {error}")
    if mistakes:
        raise UserError("\n".join(mistakes))
    return changed


def _override(declared: Range | float, override: Any) -> Range | float:
    """One hyperparameter's new range or fixed number."""
    match override:
        case [low, high] if is_number(low) and is_number(high):
            return Range(low, high, declared.scale if isinstance(declared, Range) else "log" if low > 0 else "linear")
        case [low, high, str(scale)] if is_number(low) and is_number(high):
            return Range(low, high, scale)  # type: ignore[arg-type]
        case _ if is_number(override):
            return float(override)
    raise UserError(f"expected a number, or two numbers [low, high], got {override!r}")


def is_number(value: Any) -> bool:
    """Returns whether a value is a finite number; no boolean, and no integer beyond every float."""
    try:
        return not isinstance(value, bool | str) and math.isfinite(value)
    except (TypeError, OverflowError):
        return False
