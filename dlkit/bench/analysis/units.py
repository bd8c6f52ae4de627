"""How times, sizes and what a budget is counted in are written: with a unit in which they have few digits."""

import math

from dlkit.bench.analysis.numbers import NO_BOUND, NO_BREAK, NO_INTERVAL, NOTHING, number, steps
from dlkit.bench.plan.axes import Axis
from dlkit.bench.stats import Interval

__all__ = ["amount", "amounts", "byte_count", "duration", "durations"]


def amount(axis: Axis, value: float) -> str:
    r"""Returns what is spent, in words.

    Example:
        >>> amount("gradients", 600.0), amount("seconds", 0.0315)
        ('600 gradients', '31.5\xa0ms')
    """
    return duration(value) if axis == "seconds" else f"{value:.0f} {axis}"


def amounts(axis: Axis, value: Interval, budget: float) -> str:
    """Returns what a target takes: the median over trials and its interval; beyond the budget is known to be more.

    Only seconds have their unit beside them.
    """
    return durations(value, most=budget) if axis == "seconds" else steps(value, budget)


def duration(seconds: float) -> str:
    r"""Returns a time in a unit that fits.

    Example:
        >>> duration(2.5e-5), duration(0.0315), duration(12.0), duration(5400.0)
        ('25.0\xa0µs', '31.5\xa0ms', '12.0\xa0s', '90.0\xa0min')
    """
    if math.isnan(seconds):
        return NOTHING
    if math.isinf(seconds):
        return "∞"
    size, unit = _unit(seconds)
    return f"{number(seconds / size)}{NO_BREAK}{unit}"


def durations(value: Interval, *, most: float = math.inf) -> str:
    r"""Returns a time with its interval, in the estimate's unit.

    Args:
        value: seconds.
        most: what a time without end is known to be more than.

    Example:
        >>> durations(Interval(0.002, 0.0015, float("inf")), most=0.004)
        '2.00 [1.50, >4.00]\xa0ms'
    """
    if math.isnan(value.estimate):
        return NOTHING
    size, unit = _unit(value.estimate if math.isfinite(value.estimate) else most)

    def shown(seconds: float) -> str:
        if seconds == math.inf:
            return f">{number(most / size)}" if math.isfinite(most) else NO_BOUND
        return number(max(seconds, 0.0) / size)

    if value.low == -math.inf and value.high == math.inf:
        return f"{shown(value.estimate)}{NO_BREAK}{unit} [{NO_INTERVAL}]"
    return f"{shown(value.estimate)} [{shown(value.low)}, {shown(value.high)}]{NO_BREAK}{unit}"


def _unit(seconds: float) -> tuple[float, str]:
    """The size and the name of the unit in which a time has few digits before the point."""
    units = ((60.0, "min", 600.0), (1.0, "s", 1.0), (1e-3, "ms", 1e-3), (1e-6, "µs", 1e-6))
    return next(((size, name) for size, name, least in units if seconds >= least), (1e-9, "ns"))


def byte_count(count: float | None) -> str:
    r"""Returns a number of bytes in a unit that fits.

    Example:
        >>> byte_count(0), byte_count(71764), byte_count(None)
        ('0\xa0B', '71.8\xa0kB', '–')
    """
    if count is None or math.isnan(count):
        return NOTHING
    if count < 1000:
        return f"{count:.0f}{NO_BREAK}B"
    power = min(int(math.log10(count) // 3), 4)
    return f"{number(count / 1000**power)}{NO_BREAK}{'kMGT'[power - 1]}B"
