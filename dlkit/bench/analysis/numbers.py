"""How numbers are written: the same in the terminal, in verdicts and in reports."""

import math
from collections.abc import Mapping, Sequence

from dlkit.bench.plan.plan import PlannedProblem
from dlkit.bench.stats import Interval, PairedDifference

__all__ = [
    "NOTHING",
    "TIMES",
    "byte_count",
    "difference",
    "duration",
    "durations",
    "in_units",
    "interval",
    "largest_p_value",
    "number",
    "oriented_interval",
    "p_value",
    "point",
    "power_of_two",
    "ratio_of_steps",
    "setting",
    "size",
    "steps",
]

NOTHING = "–"  # where there is no number
MINUS = "\N{MINUS SIGN}"
NO_BREAK = "\N{NO-BREAK SPACE}"
TIMES = "\N{MULTIPLICATION SIGN}"


def number(value: float, *, digits: int = 3) -> str:
    """Returns a number with some significant digits.

    Example:
        >>> number(0.98148), number(1234567.0), number(float("nan"))
        ('0.981', '1.23e+06', '–')
    """
    if math.isnan(value):
        return NOTHING
    if math.isinf(value):
        return "∞" if value > 0 else f"{MINUS}∞"
    if 10**digits - 0.5 <= abs(value) < 1e4:
        text = f"{value:.0f}"  # 1234, not 1.23e+03
    else:
        text = f"{value:#.{digits}g}" if 1e-3 <= abs(value) < 1e4 else f"{value:.{digits - 1}e}"
    text = "0" if value == 0 else text.rstrip(".")
    return MINUS + text[1:] if text.startswith("-") else text


def setting(value: object) -> str:
    """Returns a hyperparameter's value: enough digits to see how far from 1 a decay rate is.

    Example:
        >>> setting(0.0173642), setting(0.99951), setting(True)
        ('0.01736', '0.99951', 'True')
    """
    if isinstance(value, float):
        digits = max(6, 2 - math.floor(math.log10(1 - value))) if 0.99 <= value < 1 else 4
        return f"{value:.{digits}g}"
    return str(value)


def point(values: Mapping[str, object]) -> str:
    """Returns a whole setting, the learning rate first."""
    names = sorted(values, key=lambda name: (name != "learning_rate", name))
    return ", ".join(f"{name} {setting(values[name])}" for name in names)


def interval(value: Interval) -> str:
    """Returns an estimate with its interval.

    Example:
        >>> interval(Interval(0.5, 0.25, 0.75))
        '0.500 [0.250, 0.750]'
    """
    if math.isnan(value.estimate):
        return NOTHING
    return f"{number(value.estimate)} [{number(value.low)}, {number(value.high)}]"


def difference(problem: PlannedProblem, value: PairedDifference) -> str:
    """Returns a paired difference to the best in the judged metric's own terms: a signed number, or a ratio.

    Args:
        problem: whose judged metric was compared.
        value: the oriented difference: lower is better, log10 of a ratio for a log-scaled metric.
    """
    return oriented_interval(problem, Interval(value.estimate, value.low, value.high))


def oriented_interval(problem: PlannedProblem, value: Interval) -> str:
    """Returns an oriented difference and its interval as `difference` does."""
    show = _ratio if problem.judged.scale == "log" else _signed
    sign = -1 if problem.judged.higher_is_better else 1
    low, high = sorted((sign * value.low, sign * value.high))
    return f"{show(sign * value.estimate)} [{show(low)}, {show(high)}]"


def in_units(problem: PlannedProblem, value: Interval) -> Interval:
    """Returns an oriented difference as numbers in the metric's own terms: signed, or ratios for a log-scaled metric.

    Example:
        >>> from dlkit.bench.problems import Metric
        >>> facts = PlannedProblem("bowl", {"gap": Metric("lower", "log")}, "gap", None, 40, 8, "", "", "", "")
        >>> in_units(facts, Interval(1.0, 0.0, 2.0))
        Interval(estimate=10.0, low=1.0, high=100.0)
    """
    sign = -1 if problem.judged.higher_is_better else 1
    estimate, *ends = (sign * each for each in value)
    low, high = sorted(ends)
    if problem.judged.scale != "log":
        return Interval(estimate, low, high)
    return Interval(*(_power(10.0, each) for each in (estimate, low, high)))


def size(problem: PlannedProblem, value: float) -> str:
    """Returns how large an oriented difference is, whichever its sign: a number, or a ratio."""
    return _ratio(abs(value)) if problem.judged.scale == "log" else number(abs(value))


def power_of_two(exponent: float) -> float:
    """Returns 2 to a power, infinite where it is too large for a number.

    Example:
        >>> power_of_two(-1.0), power_of_two(5000.0)
        (0.5, inf)
    """
    return _power(2.0, exponent)


def _power(base: float, exponent: float) -> float:
    try:
        return float(base**exponent)
    except OverflowError:
        return math.inf


def ratio_of_steps(value: PairedDifference) -> str:
    """Returns the ratio of two contenders' steps with its interval, from the difference of their log2.

    Example:
        >>> ratio_of_steps(PairedDifference(1.0, 0.0, float("inf"), 0.5, 0, 1, 0)).replace(TIMES, "x")
        'x2.00 [x1.00, x∞]'
    """
    shown = [TIMES + number(power_of_two(each)) for each in value[:3]]
    return f"{shown[0]} [{shown[1]}, {shown[2]}]"


def _ratio(exponent: float) -> str:
    return TIMES + (number(10.0**exponent) if abs(exponent) < 300 else ("∞" if exponent > 0 else "0"))


def _signed(value: float) -> str:
    text = number(value, digits=2)
    return f"+{text}" if value > 0 else text


def steps(value: Interval, budget: int) -> str:
    """Returns steps to target: the median over seeds and its interval; beyond the budget is only known to be more."""
    if math.isnan(value.estimate):
        return NOTHING
    shown = [f"{bound:.0f}" if math.isfinite(bound) else (f">{budget}" if bound > 0 else "0") for bound in value]
    return f"{shown[0]} [{shown[1]}, {shown[2]}]"


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
        if seconds == math.inf and math.isfinite(most):
            return f">{number(most / size)}"
        return number(max(seconds, 0.0) / size)

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


def p_value(value: float) -> str:
    """Returns a p-value.

    Example:
        >>> p_value(0.0312), p_value(1e-6)
        ('0.031', '<0.001')
    """
    if math.isnan(value):
        return NOTHING
    return "<0.001" if value < 0.001 else f"{value:.2g}" if value < 0.1 else f"{value:.2f}"


def largest_p_value(values: Sequence[float]) -> str:
    """Returns what the p-values of several tests are at most.

    Example:
        >>> largest_p_value([0.0312, 0.01]), largest_p_value([1e-6, 1e-5])
        ('≤ 0.031', '<0.001')
    """
    largest = p_value(max(values))
    return largest if largest.startswith("<") else f"≤ {largest}"
