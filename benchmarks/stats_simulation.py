"""Do the intervals cover, does the test keep its size, how often is an equal contender called the winner?

Simulates `dlkit.bench.stats` on data whose truth is known and prints Markdown tables (about half a minute):
`python -m benchmarks.stats_simulation`. A rate from R repetitions has a standard error of sqrt(p (1 - p) / R).
"""

import math
import time
from collections.abc import Callable, Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from dlkit.bench.stats import median_interval, paired_difference

Floats = NDArray[np.float64]
Draw = Callable[[np.random.Generator, tuple[int, int]], Floats]

LEVEL = 0.95
SEED_COUNTS = (5, 6, 8, 10, 20)
CONTENDER_COUNTS = (2, 3, 6)
EXAMPLES = 270
EASY_SHARE = 0.9


def _accuracy(rng: np.random.Generator, size: tuple[int, int]) -> Floats:
    return rng.binomial(EXAMPLES, EASY_SHARE, size) / EXAMPLES


# name -> (noise around a seed's level, its median, a true difference between contenders)
DISTRIBUTIONS: dict[str, tuple[Draw, float, float]] = {
    "normal": (lambda rng, size: rng.normal(size=size), 0.0, 0.7),
    "lognormal": (lambda rng, size: rng.lognormal(size=size), 1.0, 0.7),
    "student t(2)": (lambda rng, size: rng.standard_t(2, size), 0.0, 0.7),
    "accuracy of 270": (_accuracy, 243 / EXAMPLES, 3 / EXAMPLES),
}


def _covers(low: float, high: float, truth: float) -> bool:
    """Whether the truth lies in the interval, rounding aside."""
    return low <= truth <= high or math.isclose(low, truth) or math.isclose(high, truth)


def coverage(name: str, seeds: int, repeats: int, rng: np.random.Generator) -> tuple[float, float]:
    """Share of repetitions in which the interval has the truth.

    Args:
        name: a key of `DISTRIBUTIONS`.
        seeds: sample size.
        repeats: number of repetitions.
        rng: source of randomness.

    Returns:
        The coverage of `median_interval` and of `paired_difference`.
    """
    draw, median, shift = DISTRIBUTIONS[name]
    samples, others = draw(rng, (repeats, seeds)), draw(rng, (repeats, seeds))
    medians = (median_interval(sample, level=LEVEL) for sample in samples)
    pairs = (paired_difference(x + shift, y, level=LEVEL) for x, y in zip(samples, others, strict=True))
    return (
        _share(_covers(interval.low, interval.high, median) for interval in medians),
        _share(_covers(pair.low, pair.high, shift) for pair in pairs),
    )


def rejection_rates(name: str, seeds: int, shift: float, repeats: int, rng: np.random.Generator) -> tuple[float, float]:
    """Share of repetitions in which the paired test rejects at 5 %.

    Args:
        name: a key of `DISTRIBUTIONS`.
        seeds: number of pairs.
        shift: the true difference; 0 gives the size of the test, another number its power.
        repeats: number of repetitions.
        rng: source of randomness.

    Returns:
        The rate with zeros as `paired_difference` has them (Pratt), and with zeros left out beforehand.
    """
    draw = DISTRIBUTIONS[name][0]
    xs, ys = draw(rng, (repeats, seeds)) + shift, draw(rng, (repeats, seeds))
    ranked, dropped = [], []
    for x, y in zip(xs, ys, strict=True):
        ranked.append(paired_difference(x, y).p_value <= 1 - LEVEL)
        differ = ~np.isclose(x, y, rtol=0.0, atol=1e-9)
        dropped.append(differ.any() and paired_difference(x[differ], y[differ]).p_value <= 1 - LEVEL)
    return _share(ranked), _share(dropped)


def false_winners(name: str, contenders: int, repeats: int, rng: np.random.Generator, seeds: int = 10) -> float:
    """How often one of contenders that are all equal is called best.

    The leader has the best median. The paired tests are two-sided and must point the leader's way, each at 5 %: that it
    beats every other one needs no adjustment.

    Args:
        name: a key of `DISTRIBUTIONS`.
        contenders: how many equal ones.
        repeats: number of repetitions.
        rng: source of randomness.
        seeds: paired seeds; the seed's own effect has twice the noise's spread.

    Returns:
        The share of repetitions in which the leader beats all others.
    """
    found = []
    for _ in range(repeats):
        noise = DISTRIBUTIONS[name][0](rng, (contenders, seeds))
        values = noise if name.startswith("accuracy") else noise + 2 * rng.normal(size=seeds)
        leader = int(np.argmin(np.median(values, axis=1)))
        tests = [paired_difference(values[leader], values[other]) for other in range(contenders) if other != leader]
        found.append(all(test.estimate < 0 and test.p_value <= 1 - LEVEL for test in tests))
    return _share(found)


def _share(outcomes: Iterable[bool]) -> float:
    return float(np.mean(list(outcomes)))


def _table(title: str, columns: Iterable[object], rows: Mapping[str, Iterable[float]]) -> None:
    header = [title, *map(str, columns)]
    print("| " + " | ".join(header) + " |")
    print("|" + "---|" * len(header))
    for name, rates in rows.items():
        print("| " + " | ".join([name, *(f"{100 * rate:.1f} %" for rate in rates)]) + " |")
    print()


def main(repeats: int = 2000) -> None:
    """Prints the tables.

    Args:
        repeats: repetitions per number.
    """
    start = time.perf_counter()
    rng = np.random.default_rng(20240229)
    counts = [f"n = {seeds}" for seeds in SEED_COUNTS]
    covered = {name: [coverage(name, seeds, repeats, rng) for seeds in SEED_COUNTS] for name in DISTRIBUTIONS}
    for which, title in enumerate(("coverage of median_interval", "coverage of paired_difference")):
        _table(title, counts, {name: [pair[which] for pair in pairs] for name, pairs in covered.items()})

    size = {name: [rejection_rates(name, seeds, 0.0, repeats, rng) for seeds in SEED_COUNTS] for name in DISTRIBUTIONS}
    _table("size of the test at 5 %", counts, {name: [pair[0] for pair in pairs] for name, pairs in size.items()})
    zeros = [rejection_rates("accuracy of 270", seeds, 5 / EXAMPLES, repeats, rng) for seeds in SEED_COUNTS]
    rows = {"ranked (Pratt)": [pair[0] for pair in zeros], "left out": [pair[1] for pair in zeros]}
    _table("power by zeros, accuracy + 5 of 270", counts, rows)

    columns = [f"{contenders} equal" for contenders in CONTENDER_COUNTS]
    rows = {
        name: [false_winners(name, contenders, repeats, rng) for contenders in CONTENDER_COUNTS]
        for name in ("normal", "accuracy of 270")
    }
    _table("false winners, n = 10", columns, rows)
    print(f"{repeats} repetitions, {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
