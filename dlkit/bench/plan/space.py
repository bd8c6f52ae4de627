"""Search spaces: the ranges that hyperparameters are drawn from, the points in them, and how a space is narrowed."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from dlkit.bench.errors import UserError, nearest

__all__ = [
    "Point",
    "Range",
    "Side",
    "Space",
    "is_number",
    "log_uniform",
    "narrow",
    "one_minus_log_uniform",
    "uniform",
]

Scale = Literal["linear", "log", "one_minus_log"]
Side = Literal["lower", "upper"]
DIGITS = 6  # significant digits kept of a drawn value: readable, and the same float when typed back in
LARGEST = float(np.finfo(np.float32).max)  # values are traced as float32
SMALLEST = float(np.finfo(np.float32).tiny)  # the smallest normal one
NEAREST_ONE = 1.2e-7  # how close to 1 a decay may come: the next float32 below 1 is half of that away
RESOLUTION = 2  # digits kept at least of where in its range a value lies: narrow ranges, decays near 1


@dataclass(frozen=True)
class Range:
    """An interval that a hyperparameter is drawn from. It is traced: every value runs in the same executable.

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
            turned = f"; write [{self.high}, {self.low}]" if -LARGEST <= self.high < self.low <= LARGEST else ""
            alone = f"; write {self.low:g} alone for a fixed value" if self.low == self.high else ""
            came = f"but came as [{self.low}, {self.high}]"
            raise UserError(f"a range needs finite bounds, low < high, {came}{turned}{alone}")
        if self.scale == "log" and self.low <= 0:
            above = f"[{self.high / 1000:g}, {self.high:g}], or " if self.high > 0 else ""
            came = f"but came as [{self.low}, {self.high}]"
            raise UserError(f"a log-uniform range needs low > 0, {came}; write {above}the scale 'linear'")
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

    @property
    def width(self) -> float:
        """How wide the range is on its own scale: a difference, or the logarithm of a ratio."""
        if self.scale == "log":
            return math.log(self.high / self.low)
        if self.scale == "one_minus_log":
            return math.log((1 - self.low) / (1 - self.high))
        return self.high - self.low

    def beyond(self, side: Side, width: float) -> "Range | None":
        """Returns the range that lies next to this one, on the same scale.

        It ends where values stop making sense: at the numbers of float32, at 0 for what is not negative here, and below
        1 for what is log-uniform in 1 - value.

        Args:
            side: above or below.
            width: of the range to add, on this scale, as `width` is.

        Returns:
            The range, which begins at the bound of this one; None if there is no room.
        """
        bound = self.high if side == "upper" else self.low
        shift = width if side == "upper" else -width
        if self.scale == "log":
            moved = bound * math.exp(min(shift, 2 * math.log(LARGEST)))
        elif self.scale == "one_minus_log":
            moved = 1 - max((1 - bound) * math.exp(-shift), NEAREST_ONE)
        else:
            moved = bound + shift
        smallest = SMALLEST if self.scale == "log" else 0.0 if self.low >= 0 else -LARGEST
        moved = min(max(float(f"{moved:.12g}"), smallest), LARGEST)
        if moved <= bound if side == "upper" else moved >= bound:
            return None
        found = Range(min(bound, moved), max(bound, moved), self.scale)
        return found if found.width > width / 100 else None


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
            _require_meant(space[name], changed[name])
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
    written = (
        f"; write {override} without quotes" if isinstance(override, str) and _is_text_of_a_number(override) else ""
    )
    if isinstance(override, list | tuple) and len(override) > 2 and all(map(is_number, override)):
        written = f"; write [{min(override):g}, {max(override):g}]: points are drawn from it"
    raise UserError(f"expected a number, or two numbers [low, high], got {override!r}{written}")


def _is_text_of_a_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _require_meant(declared: Range | float, given: Range | float) -> None:
    """Refuses what the declared scale says is no value: below 0 of a logarithmic one, above 1 of 1 - value."""
    scale = declared.scale if isinstance(declared, Range) else ""
    low, high = (given.low, given.high) if isinstance(given, Range) else (given, given)
    if scale == "log" and low < 0:
        raise UserError(f"must not be negative, as its own range is logarithmic, got {low:g}")
    if scale == "one_minus_log" and high > 1:
        raise UserError(f"must be at most 1, as its own range is logarithmic in 1 - value, got {high:g}")


def is_number(value: Any) -> bool:
    """Returns whether a value is a finite number; no boolean, and no integer beyond every float."""
    try:
        return not isinstance(value, bool | str) and math.isfinite(value)
    except (TypeError, OverflowError):
        return False
