"""How many seeds a difference takes, and which difference so many seeds can show."""

import math
from collections.abc import Callable

from dlkit.bench.stats.checks import error_rate

__all__ = ["detectable_difference", "required_pairs"]

MOST = 1 << 30


def required_pairs(difference: float, deviation: float, *, power: float = 0.8, level: float = 0.95) -> int:
    """Common seeds for a mean paired difference to be found, by the paired t-test's noncentral power.

    The signed-rank test takes about 5 % more for normal differences, and fewer for heavy-tailed ones.

    Args:
        difference: true mean difference, not 0.
        deviation: standard deviation of the differences over seeds, >= 0.
        power: probability of finding it, between 0 and 1 and above `1 - level`.
        level: confidence level of the two-sided test, between 0 and 1.

    Returns:
        The least number, at least 2.

    Raises:
        ValueError: if a number is out of its range.

    Reference:
        Cohen, Statistical Power Analysis for the Behavioral Sciences, 1988, chapter 2.

    Example:
        >>> required_pairs(1.0, 1.0)
        10
    """
    effect = _effect(difference, deviation, power, level)
    return _least(lambda n: _power(effect * math.sqrt(n), n - 1, level), power)


def detectable_difference(pairs: int, deviation: float, *, power: float = 0.8, level: float = 0.95) -> float:
    """The least mean paired difference that so many common seeds find, by the paired t-test: `required_pairs` reversed.

    Args:
        pairs: how many common seeds, at least 2.
        deviation: standard deviation of the differences over seeds, >= 0.
        power: probability of finding it, between 0 and 1 and above `1 - level`.
        level: confidence level of the two-sided test, between 0 and 1.

    Returns:
        The difference, in the units of the deviation.

    Raises:
        ValueError: if a number is out of its range.

    Example:
        >>> round(detectable_difference(10, 1.0), 2)
        1.0
    """
    _effect(1.0, deviation, power, level)
    if pairs < 2:
        raise ValueError(f"pairs must be at least 2, got {pairs}")
    low, high = 0.0, 1.0
    while _power(high * math.sqrt(pairs), pairs - 1, level) < power:
        high *= 2
    for _ in range(50):
        middle = 0.5 * (low + high)
        low, high = (low, middle) if _power(middle * math.sqrt(pairs), pairs - 1, level) >= power else (middle, high)
    return high * deviation


def _effect(difference: float, deviation: float, power: float, level: float) -> float:
    """The difference in deviations, capped where any test finds it."""
    alpha = error_rate(level)
    if not math.isfinite(difference) or difference == 0:
        raise ValueError(f"difference must be a number other than 0, got {difference}; name the least that matters")
    if not 0 <= deviation < math.inf:
        raise ValueError(f"deviation must be a number >= 0, got {deviation}")
    if not alpha < power < 1:
        raise ValueError(f"power must lie between 1 - level = {alpha:g} and 1, got {power}; 0.8 is usual")
    return min(abs(difference) / deviation, 1e3) if deviation else 1e3


def _power(noncentrality: float, degrees: int, level: float) -> float:
    """Probability that a two-sided t-test rejects."""
    from scipy.special import nctdtr, stdtrit

    critical = -float(stdtrit(degrees, error_rate(level) / 2))
    below = float(nctdtr(degrees, noncentrality, -critical))
    # SciPy gives NaN for some tails of less than 1e-16.
    return 1 - float(nctdtr(degrees, noncentrality, critical)) + (0.0 if math.isnan(below) else below)


def _least(power_at: Callable[[int], float], power: float) -> int:
    """The least n >= 2 with enough power, which rises with n."""
    high = 2
    while power_at(high) < power:
        high *= 2
        if high > MOST:
            raise ValueError(f"more than {MOST} seeds would be needed; the difference is too small to be found")
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if power_at(middle) >= power else (middle, high)
    return high
