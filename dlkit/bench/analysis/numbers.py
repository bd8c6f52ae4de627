"""How numbers are written: the same in the terminal, in verdicts and in reports."""

import math
from collections.abc import Callable, Mapping, Sequence

from dlkit.bench.plan.orientation import EXACT, SMALLEST, Floored
from dlkit.bench.plan.planned import PlannedProblem
from dlkit.bench.stats import Interval, PairedDifference

__all__ = [
    "DIVERGED",
    "NOTHING",
    "NO_BOUND",
    "NO_INTERVAL",
    "TIMES",
    "arrow",
    "away",
    "bounded",
    "difference",
    "geometric",
    "in_units",
    "interval",
    "is_zero",
    "judged_label",
    "largest_p_value",
    "listed",
    "metric_label",
    "number",
    "on_these_examples",
    "oriented_interval",
    "p_value",
    "point",
    "power_of_two",
    "ratio_of_steps",
    "setting",
    "share",
    "size",
    "sooner",
    "steps",
    "times",
]

MOST_LISTED = 8  # things in a sentence
ENDLESS = 30.0  # powers of ten that ratios of numbers in single precision have only if one of them is 0
NOTHING = "–"  # where there is no number
NO_BOUND = "no bound"  # where the data do not bound an interval: an infinite end is no knowledge, not certainty
NO_INTERVAL = "no interval"  # where they bound it on neither side, as with too few values for the level
DIVERGED, OTHER_DIVERGED = "diverged", "other diverged"  # for infinite differences
MISSES = ("other missed", "missed")  # for infinite ratios of steps: who never gets to the target
ERROR_RATE = 0.05  # p-values are written so that the side of this on which they lie shows
MINUS = "\N{MINUS SIGN}"
NO_BREAK = "\N{NO-BREAK SPACE}"
TIMES = "\N{MULTIPLICATION SIGN}"


def number(value: float, *, digits: int = 3) -> str:
    """Returns a number with some significant digits; what stands for 0 on a log scale is 0.

    Example:
        >>> number(0.98148), number(1234567.0), number(float("nan")), number(1.1754944e-38)
        ('0.981', '1.23e+06', '–', '0')
    """
    if math.isnan(value):
        return NOTHING
    if math.isinf(value):
        return "∞" if value > 0 else f"{MINUS}∞"
    if 10**digits - 0.5 <= abs(value) < 1e4:
        text = f"{value:.0f}"  # 1234, not 1.23e+03
    else:
        text = f"{value:#.{digits}g}" if 1e-3 <= abs(value) < 1e4 else f"{value:.{digits - 1}e}"
    text = "0" if is_zero(value) else text.rstrip(".")
    return MINUS + text[1:] if text.startswith("-") else text


def is_zero(value: float) -> bool:
    """Whether a number is 0, or what stands for it on a log scale, by way of its logarithm in single precision."""
    return value == 0 or math.isclose(abs(value), SMALLEST, rel_tol=1e-5)


def bounded(text: str, *, is_bound: bool) -> str:
    """Returns a number at a metric's floor as the bound that it is; exactly 0 is none."""
    return "≤" + text if is_bound and text != "0" else text


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


def listed(items: Sequence[str]) -> str:
    """Returns items as a list in words; of many the first, and how many more there are.

    Example:
        >>> listed(["a", "b"])
        'a, b'
        >>> listed([str(number) for number in range(9)])
        '0, 1, 2, 3, 4, 5, 6, 2 more'
    """
    more = len(items) - MOST_LISTED + 1
    return ", ".join(items if more < 2 else [*items[: MOST_LISTED - 1], f"{more} more"])


def metric_label(problem: PlannedProblem) -> str:
    """Returns how figures and sentences call a problem's judged metric."""
    return problem.judged.label or problem.metric


def judged_label(problem: PlannedProblem) -> str:
    """Returns the same with the split that it is judged on, where examples are held out."""
    return f"test {metric_label(problem)}" if problem.judged_on == "test" else metric_label(problem)


def arrow(problem: PlannedProblem) -> str:
    """Returns the arrow in which direction a problem's judged metric is better."""
    return "\N{UPWARDS ARROW}" if problem.judged.higher_is_better else "\N{DOWNWARDS ARROW}"


def on_these_examples(problem: PlannedProblem, *, repeats_tuning: bool) -> str:
    """Returns " on these 360 test examples", where all blocks have the same ones.

    Args:
        problem: what was trained.
        repeats_tuning: whether blocks are studies, which may split the examples anew.

    Returns:
        The words; empty where blocks differ in their examples, or nothing is held out.
    """
    count, is_split_anew = problem.examples[2], repeats_tuning and problem.redraws_split
    return f" on these {count:,} test examples" if problem.judged_on == "test" and count and not is_split_anew else ""


def interval(value: Interval, *, floor: float | None = None, beyond: str = NO_BOUND) -> str:
    """Returns an estimate with its interval; an end without a bound says so, and so does a missing interval.

    Args:
        value: numbers; an infinite estimate stands for trials that diverged.
        floor: the smallest value that arithmetic resolves; a number there is written as a bound.
        beyond: what an infinite end is, in words.

    Example:
        >>> interval(Interval(0.5, 0.25, 0.75)), interval(Interval(0.5, 0.25, float("inf")))
        ('0.500 [0.250, 0.750]', '0.500 [0.250, no bound]')
        >>> interval(Interval(0.5, float("-inf"), float("inf"))), interval(Interval(1e-12, 1e-12, 2e-9), floor=1e-12)
        ('0.500 [no interval]', '≤1.00e-12 [≤1.00e-12, 2.00e-09]')
    """

    def shown(each: float) -> str:
        is_bound = floor is not None and each <= floor + 1e-6 * abs(floor)
        return ("≤" if is_bound else "") + number(each)

    return _with_ends(value, shown, (DIVERGED, DIVERGED), beyond)


def _with_ends(
    value: Interval, shown: Callable[[float], str], infinite: tuple[str, str], beyond: str = NO_BOUND
) -> str:
    """An estimate and the ends of its interval; `infinite` has the words for an estimate of -∞ and of +∞."""
    if math.isnan(value.estimate):
        return NOTHING
    if math.isinf(value.estimate):
        estimate = infinite[value.estimate > 0]
    else:
        estimate = shown(value.estimate)
    if value.low == value.high and math.isinf(value.low):
        return estimate  # all of them: there is no doubt about it
    return f"{estimate} [{_ends(value.low, value.high, shown, beyond)}]"


def _ends(low: float, high: float, shown: Callable[[float], str], beyond: str = NO_BOUND) -> str:
    """The ends of an interval as text. An infinite end is one that the data do not bound: it says nothing."""
    if math.isinf(low) and math.isinf(high) and beyond == NO_BOUND:
        return NO_INTERVAL
    return ", ".join(shown(each) if math.isfinite(each) else beyond for each in (low, high))


def difference(problem: PlannedProblem, value: PairedDifference, ends: Floored = EXACT) -> str:
    """Returns a paired difference to the best in the judged metric's own terms: a signed number, or a ratio.

    Args:
        problem: whose judged metric was compared.
        value: the oriented difference: lower is better, log10 of a ratio for a log-scaled metric.
        ends: in which directions it is a bound only, from `plan.orientation.floored`.
    """
    return oriented_interval(problem, Interval(value.estimate, value.low, value.high), ends)


def away(problem: PlannedProblem, value: PairedDifference, ends: Floored = EXACT) -> str:
    """Returns what a contender is, in a sentence: how far away from the best, as `difference` tells it.

    Example:
        >>> from dlkit.bench.problems import Metric
        >>> facts = PlannedProblem("bowl", {"gap": Metric("lower", "log")}, "gap", None, 40, 8, "", "", "", "")
        >>> away(facts, PairedDifference(2.0, 1.0, 3.0, 0.002, 0, 10, 0)).replace(TIMES, "x")
        'x100 [x10.0, x1000] away'
        >>> away(facts, PairedDifference(*[float("inf")] * 3, 0.002, 0, 10, 0))
        'infinitely far away, as it diverged'
    """
    text = difference(problem, value, ends)
    if math.isfinite(value.estimate):
        return f"{text} away"
    _, bracket, rest = text.partition(" [")  # what is left of the difference is its interval, if it has one
    who = "it" if value.estimate > 0 else "the other"
    return f"infinitely far away{bracket}{rest}, as {who} diverged"


def oriented_interval(problem: PlannedProblem, value: Interval, ends: Floored = EXACT) -> str:
    """Returns an oriented difference and its interval as `difference` does.

    Example:
        >>> from dlkit.bench.problems import Metric
        >>> facts = PlannedProblem("bowl", {"gap": Metric("lower", "log")}, "gap", None, 40, 8, "", "", "", "")
        >>> oriented_interval(facts, Interval(2.0, 1.0, 3.0), Floored(below=False, above=True)).replace(TIMES, "x")
        'at least x100 [x10.0, no bound]'
    """
    is_higher = problem.judged.higher_is_better
    below, above = reversed(ends) if is_higher else ends
    # Oriented, what diverged is +∞; a difference to what diverged is -∞.
    infinite = (DIVERGED, OTHER_DIVERGED) if is_higher else (OTHER_DIVERGED, DIVERGED)
    estimate, low, high = _turned(problem, value)
    low, high = -math.inf if below else low, math.inf if above else high
    shown = _ratio if problem.judged.scale == "log" else _signed
    # Open on both sides it is neither: the scores of some seeds bound it from below, those of others from above.
    is_bound = below != above and math.isfinite(estimate)
    is_bound &= problem.judged.scale != "log" or abs(estimate) < ENDLESS  # no bound, but a ratio to 0
    words = ("at least " if above else "at most ") if is_bound else ""
    return words + _with_ends(Interval(estimate, low, high), shown, infinite)


def _turned(problem: PlannedProblem, value: Interval) -> Interval:
    """An oriented difference with the sign that the metric has, low before high."""
    sign = -1 if problem.judged.higher_is_better else 1
    low, high = sorted((sign * value.low, sign * value.high))
    return Interval(sign * value.estimate, low, high)


def geometric(problem: PlannedProblem) -> str:
    """Returns the word for medians and means that are taken of logarithms: those of a log-scaled metric.

    Of an even number of values such a median is the geometric mean of the middle two.
    """
    return "geometric " if problem.judged.scale == "log" else ""


def in_units(problem: PlannedProblem, value: Interval) -> Interval:
    """Returns an oriented difference as numbers in the metric's own terms: signed, or ratios for a log-scaled metric.

    Example:
        >>> from dlkit.bench.problems import Metric
        >>> facts = PlannedProblem("bowl", {"gap": Metric("lower", "log")}, "gap", None, 40, 8, "", "", "", "")
        >>> in_units(facts, Interval(1.0, 0.0, 2.0))
        Interval(estimate=10.0, low=1.0, high=100.0)
    """
    turned = _turned(problem, value)
    return turned if problem.judged.scale != "log" else Interval(*(_power(10.0, each) for each in turned))


def size(problem: PlannedProblem, value: float) -> str:
    """Returns how large an oriented difference is, whichever its sign: a number, or a ratio of at least 1."""
    if math.isinf(value):
        return "an unknown size"
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
        'x2.00 [x1.00, no bound]'
    """
    return _with_ends(Interval(*value[:3]), _steps_ratio, MISSES)


def times(value: Interval) -> str:
    """Returns a ratio of steps with its interval; 0 and infinity are ratios to what never got there.

    Example:
        >>> times(Interval(2.0, 0.0, 4.0)).replace(TIMES, "x")
        'x2.00 [no bound, x4.00]'
    """
    logarithms = (math.log2(each) if each > 0 else (-math.inf if each == 0 else math.nan) for each in value)
    return _with_ends(Interval(*logarithms), _steps_ratio, MISSES)


def sooner(log_ratio: Interval) -> str:
    """Returns how many times sooner, or later, one contender is at a target than another: at least once, with interval.

    Args:
        log_ratio: log2 of the ratio of its steps to the other's; a finite estimate.

    Example:
        >>> sooner(Interval(-1.0, -2.0, 0.0)).replace(TIMES, "x"), sooner(Interval(1.0, 0.5, 2.0)).replace(TIMES, "x")
        ('x2.00 sooner [x1.00, x4.00]', 'x2.00 later [x1.41, x4.00]')
    """
    is_sooner = log_ratio.estimate < 0
    estimate, *ends = (-each if is_sooner else each for each in log_ratio)
    word = "sooner" if is_sooner else "later"
    return f"{_steps_ratio(estimate)} {word} [{_ends(min(ends), max(ends), _steps_ratio)}]"


def _steps_ratio(exponent: float) -> str:
    return TIMES + number(power_of_two(exponent))


def _ratio(exponent: float) -> str:
    return TIMES + number(_power(10.0, exponent) if abs(exponent) < ENDLESS else math.inf if exponent > 0 else 0.0)


def _signed(value: float) -> str:
    text = number(value, digits=2)
    return f"+{text}" if value > 0 else text


def steps(value: Interval, budget: float) -> str:
    """Returns steps, or gradients, to target: the median over seeds and its interval; > is beyond the budget."""
    if math.isnan(value.estimate):
        return NOTHING

    def shown(bound: float) -> str:
        return f"{bound:.0f}" if math.isfinite(bound) else (f">{budget:.0f}" if bound > 0 else "0")

    if value.low == -math.inf and value.high == math.inf:
        return f"{shown(value.estimate)} [{NO_INTERVAL}]"
    return f"{shown(value.estimate)} [{shown(value.low)}, {shown(value.high)}]"


def p_value(value: float) -> str:
    """Returns a p-value, with as many digits as show on which side of 0.05 it lies, and that it is not 0.

    Example:
        >>> p_value(0.0312), p_value(1e-6), p_value(0.0504)
        ('0.031', '<0.001', '0.0504')
    """
    if math.isnan(value):
        return NOTHING
    if value < 0.001:
        return "<0.001"
    texts = (f"{value:.2f}" if value >= 0.1 else f"{value:.{digits}g}" for digits in range(2, 17))
    return next((text for text in texts if (float(text) <= ERROR_RATE) == (value <= ERROR_RATE)), f"{value!r}")


def share(value: float) -> str:
    r"""Returns a share in percent; what is not quite 0 or 1 does not look like it.

    Example:
        >>> share(0.5), share(0.001), share(0.9999), share(1.0)
        ('50\xa0%', '<1\xa0%', '>99\xa0%', '100\xa0%')
    """
    if math.isnan(value):
        return NOTHING
    percent = 100 * float(value)
    if 99.5 <= percent < 100 - 1e-9:
        return f">99{NO_BREAK}%"
    return f"<1{NO_BREAK}%" if 1e-9 < percent <= 0.5 else f"{percent:.0f}{NO_BREAK}%"


def largest_p_value(values: Sequence[float]) -> str:
    """Returns what the p-values of several tests are at most.

    Example:
        >>> largest_p_value([0.0312, 0.01]), largest_p_value([1e-6, 1e-5])
        ('≤ 0.031', '<0.001')
    """
    largest = p_value(max(values))
    return largest if largest.startswith("<") else f"≤ {largest}"
