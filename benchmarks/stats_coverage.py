"""Does every 95 % interval cover, does every test keep its size, at 5, 10 and 20 seeds?

Simulates `dlkit.bench.stats` on data whose truth is known and prints the Markdown tables of the documentation (about
ten minutes): `python -m benchmarks.stats_coverage`. A rate from R repetitions has a standard error of
sqrt(p (1 - p) / R): 0.7 points for 1,000. Resampling intervals draw 2,000 resamples here.
"""

import itertools
import math
import time
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dlkit.bench import stats

Floats = NDArray[np.float64]
Draw = Callable[[np.random.Generator, tuple[int, ...]], Floats]

COUNTS = (5, 10, 20)
RESAMPLES = 2000
LEVEL = 0.95


class Distribution(NamedTuple):
    """Noise whose truth is known."""

    draw: Draw
    mean: float
    median: float


DISTRIBUTIONS = {
    "normal": Distribution(lambda rng, size: rng.normal(size=size), 0.0, 0.0),
    "lognormal": Distribution(lambda rng, size: rng.lognormal(size=size), math.exp(0.5), 1.0),
    "Student t(2)": Distribution(lambda rng, size: rng.standard_t(2, size), 0.0, 0.0),
    "lognormal - lognormal": Distribution(
        lambda rng, size: rng.lognormal(size=size) - rng.lognormal(size=size), 0.0, 0.0
    ),
}
TIMES: dict[str, Draw] = {
    "normal": lambda rng, size: np.abs(rng.normal(5.0, 1.0, size)),
    "lognormal": lambda rng, size: rng.lognormal(size=size),
    "Student t(2)": lambda rng, size: np.abs(rng.standard_t(2, size)),
}


class Interval(NamedTuple):
    """Something with two ends, and what it should hold."""

    low: float
    high: float
    truth: float

    @property
    def covers(self) -> bool:
        """Whether the truth lies inside, rounding aside."""
        slack = 1e-9 * max(1.0, abs(self.truth))
        return self.low - slack <= self.truth <= self.high + slack


def paired(name: str, n: int, rng: np.random.Generator, kept: float) -> dict[str, bool]:
    """Intervals of paired differences; their mean and median differ where they are skewed."""
    kind = DISTRIBUTIONS[name]
    values = kind.draw(rng, (n,))
    effects = stats.paired_effects(values, np.zeros(n), resamples=RESAMPLES, seed=int(rng.integers(1 << 31)))
    ranks = stats.paired_difference(values, np.zeros(n))
    ahead = kind.draw(rng, (n,)) - kind.median + 2.0
    symmetric = kind.mean == kind.median
    found = {
        "median_interval": Interval(*stats.median_interval(values)[1:], kind.median),
        "paired_effects, mean": Interval(*effects.mean[1:], kind.mean),
        "paired_effects, mean_bca": Interval(*effects.mean_bca[1:], kind.mean),
        "paired_effects, median": Interval(*effects.median[1:], kind.median),
        "paired_effects, median_bca": Interval(*effects.median_bca[1:], kind.median),
        "keeps_order, 2 above": Interval(*stats.keeps_order(ahead)[1:], kept),
    }
    if symmetric:
        found["paired_difference"] = Interval(ranks.low, ranks.high, kind.median)
    return {label: interval.covers for label, interval in found.items()}


def mean(scores: Floats) -> Floats:
    """Over the last two axes."""
    means: Floats = scores.mean(axis=(-2, -1))
    return means


def aggregates(name: str, n: int, rng: np.random.Generator, truths: Mapping[str, float]) -> dict[str, bool]:
    """Bootstrapped aggregates over five problems, and the probability of improvement on one and on five."""
    draw = DISTRIBUTIONS[name].draw
    scores = draw(rng, (n, 5))
    found = {}
    for label, statistic in (("mean", mean), ("iqm", stats.iqm)):
        both = stats.stratified_bootstrap(scores, statistic, resamples=RESAMPLES, seed=int(rng.integers(1 << 31)))
        for kind, interval in zip(("percentile", "BCa"), both, strict=True):
            found[f"stratified_bootstrap, {label}, {kind}"] = Interval(*interval[1:], truths[label])
    for problems in (1, 5):
        for shift in ("even", "shifted"):
            x, y = draw(rng, (n, problems)), draw(rng, (n, problems)) + SHIFTS[shift]
            interval = stats.probability_of_improvement(x, y)
            found[f"probability_of_improvement, {problems} problems, {shift}"] = Interval(*interval[1:], truths[shift])
    return {label: interval.covers for label, interval in found.items()}


SHIFTS = {"even": 0.0, "shifted": 2.0}


def aggregate_truths(name: str) -> dict[str, float]:
    """What `aggregates` should find, from a large sample."""
    draw = DISTRIBUTIONS[name].draw
    rng = np.random.default_rng(7)
    x, y = draw(rng, (1_000_000,)), draw(rng, (1_000_000,))
    found = {"mean": DISTRIBUTIONS[name].mean, "iqm": float(stats.iqm(x))}
    return found | {shift: float(np.mean(x < y + size)) for shift, size in SHIFTS.items()}


def survival(name: str, n: int, rng: np.random.Generator, truths: tuple[float, float, float]) -> dict[str, bool]:
    """Kaplan-Meier at the median time, its median, and the restricted mean; one run in five misses the budget."""
    median, budget, restricted = truths
    times = TIMES[name](rng, (n,))
    hit = times <= budget
    ends = np.minimum(times, budget)
    curve = stats.kaplan_meier(ends, hit)
    place = int(np.searchsorted(curve.steps, median, side="right")) - 1
    ends_there = (curve.low[place], curve.high[place]) if place >= 0 else (1.0, 1.0)
    found = {
        "kaplan_meier, curve at the median": Interval(*ends_there, 0.5),
        "kaplan_meier, median": Interval(*curve.median[1:], median),
        "restricted_mean": Interval(*stats.restricted_mean(ends, hit, budget)[1:], restricted),
    }
    return {label: interval.covers for label, interval in found.items()}


def survival_truths(name: str) -> tuple[float, float, float]:
    """The median, the budget that four runs in five meet, and the mean up to it."""
    times = TIMES[name](np.random.default_rng(7), (2_000_000,))
    budget = float(np.quantile(times, 0.8))
    return float(np.median(times)), budget, float(np.minimum(times, budget).mean())


def runtime(name: str, n: int, rng: np.random.Generator, quantiles: Floats) -> dict[str, bool]:
    """The runtime profile of three problems and three targets at three steps; every run passes its targets in order."""
    times = TIMES[name](rng, (n, 3, 3))
    steps = np.sort(quantiles)
    # A metric that counts the targets still ahead is at target j (2, 1, 0) once j + 1 of the times have passed.
    curves = 3 - (np.sort(times, axis=2)[:, :, None, :] <= steps[:, None]).sum(axis=-1)
    targets = np.tile([2.0, 1.0, 0.0], (3, 1))
    budget = float(steps[-1])
    profile = stats.target_ecdf(
        curves, targets, budget=budget, steps=steps, resamples=RESAMPLES, seed=int(rng.integers(1 << 31))
    )
    shares = (0.1, 0.5, 0.9)
    return {
        f"target_ecdf, share {share}": Interval(profile.low[i], profile.high[i], share).covers
        for i, share in enumerate(shares)
    }


class Population(NamedTuple):
    """Problems that contenders find differently hard: what is true of all of them."""

    profile: Floats
    scores: Floats
    ranks: Floats


CONTENDER_EFFECTS = np.array([0.0, 0.1, 0.4, 0.8])
SEEDS = 5


NOISES = {"little noise": 0.3, "much noise": 1.0}


def problem_times(name: str, noisy: str, problems: int, rng: np.random.Generator) -> Floats:
    """Times [contenders, seeds, problems]: an effect of contender and problem, times a seed's noise."""
    size = (CONTENDER_EFFECTS.size, 1, problems)
    affinity = rng.normal(0.0, 0.4, size) + CONTENDER_EFFECTS[:, None, None]
    noise = NOISES[noisy] * DISTRIBUTIONS[name].draw(rng, (CONTENDER_EFFECTS.size, SEEDS, problems))
    return np.exp(np.clip(affinity + noise, -100, 100))


def population(name: str, noisy: str) -> Population:
    """The truth about profiles and ranks, from many problems."""
    times = problem_times(name, noisy, 60_000, np.random.default_rng(7))
    bands = stats.performance_profile(np.median(times, axis=1), points=4)
    ranks = stats.friedman(np.median(times, axis=1)).mean_ranks
    return Population(bands.fractions, bands.exact_scores, ranks)


def over_problems(name: str, noisy: str, n: int, rng: np.random.Generator, truth: Population) -> dict[str, float]:
    """Bands of profiles and intervals of ranks, of n problems with five seeds each: the share that cover."""
    times = problem_times(name, noisy, n, rng)
    seed = int(rng.integers(1 << 31))
    bands = stats.profile_bands(times, points=4, resamples=RESAMPLES, seed=seed)
    ranks = stats.rank_bootstrap(times, resamples=RESAMPLES, seed=seed)
    inside = (bands.low <= truth.profile + 1e-9) & (truth.profile <= bands.high + 1e-9)
    return {
        f"profile_bands, fractions, {noisy}": float(inside[:, :3].mean()),
        f"profile_bands, scores, {noisy}": float(
            np.mean((bands.score_low <= truth.scores) & (truth.scores <= bands.score_high))
        ),
        f"rank_bootstrap, {noisy}": float(np.mean((ranks.low <= truth.ranks) & (truth.ranks <= ranks.high))),
    }


def tuning(name: str, n: int, rng: np.random.Generator, curves: tuple[Floats, Floats]) -> dict[str, bool]:
    """Simultaneous bands of tuning curves; results are squeezed into 0..1 for the mean's."""
    values = squeezed(DISTRIBUTIONS[name].draw(rng, (n,)))
    bands = stats.tuning_bands(values, bounds=(0.0, 1.0))
    mean_curve, median_curve = (curve[:n] for curve in curves)
    return {
        "tuning_bands, mean": bool(np.all((bands.mean_low <= mean_curve) & (mean_curve <= bands.mean_high))),
        "tuning_bands, median": bool(np.all((bands.median_low <= median_curve) & (median_curve <= bands.median_high))),
    }


def squeezed(values: Floats) -> Floats:
    """The line, mapped to 0..1."""
    return 1 / (1 + np.exp(-values))


def tuning_truths(name: str) -> tuple[Floats, Floats]:
    """The mean and the median best of 1..20 points."""
    values = squeezed(DISTRIBUTIONS[name].draw(np.random.default_rng(7), (60_000, max(COUNTS))))
    best = np.minimum.accumulate(values, axis=1)
    return best.mean(axis=0), np.median(best, axis=0)


def nested(name: str, n: int, rng: np.random.Generator) -> dict[str, bool]:
    """Studies of ten seeds, tuning noise as large as seed noise: both intervals against the method's mean."""
    kind = DISTRIBUTIONS[name]
    result = stats.nested_mean(kind.draw(rng, (n, 1)) + kind.draw(rng, (n, 10)))
    return {
        "nested_mean, with_tuning (n studies)": Interval(*result.with_tuning[1:], 2 * kind.mean).covers,
        "nested_mean, seeds_only (n studies, another question)": Interval(*result.seeds_only[1:], 2 * kind.mean).covers,
    }


def crossed(name: str, n: int, rng: np.random.Generator) -> dict[str, bool]:
    """Studies on the same ten seeds, which matter as much as tuning and as what is left."""
    kind = DISTRIBUTIONS[name]
    scores = kind.draw(rng, (n, 1)) + kind.draw(rng, (1, 10)) + kind.draw(rng, (n, 10))
    of_both = {"crossed_mean": stats.crossed_mean(scores), "nested_mean": stats.nested_mean(scores)}
    return {
        f"{function}, with_tuning (n studies on common seeds)": Interval(*result.with_tuning[1:], 3 * kind.mean).covers
        for function, result in of_both.items()
    }


def sizes(name: str, n: int, rng: np.random.Generator) -> dict[str, bool]:
    """Whether each test rejects at 5 % although nothing differs."""
    draw = DISTRIBUTIONS[name].draw
    x = draw(rng, (4, n))
    effects = stats.paired_effects(x[0], x[1], resamples=2, seed=int(rng.integers(1 << 31)))
    friedman = stats.friedman(x)
    times = np.exp(0.5 * np.clip(x[:2], -50, 50))
    budget = float(np.exp(0.5 * (DISTRIBUTIONS[name].median + 1)))
    logrank = stats.log_rank(
        np.minimum(times, budget).ravel(), (times <= budget).ravel(), np.repeat(["first", "second"], n)
    )
    pairs = [stats.paired_difference(x[i], x[j]).p_value for i, j in itertools.combinations(range(4), 2)]
    family = stats.family_p_values([x[i] - x[j] for i, j in itertools.combinations(range(4), 2)])
    apart = np.ptp(friedman.mean_ranks) > stats.nemenyi_distance(4, n)
    return {
        "paired_difference, wilcoxon": pairs[0] <= 0.05,
        "paired_effects": effects.p_value <= 0.05,
        "holm over the 6 pairs of 4": bool(stats.holm(pairs).min() <= 0.05),
        "family_p_values, the 6 pairs of 4": bool(family.min() <= 0.05),
        "log_rank": logrank.p_value <= 0.05,
        "friedman, chi_square": friedman.chi_square_p <= 0.05,
        "friedman, f": friedman.f_p <= 0.05,
        "nemenyi_distance, any pair": bool(apart),
    }


def false_settlements(name: str, contenders: int, repeats: int, rng: np.random.Generator) -> dict[str, float]:
    """How often equal contenders are settled wrongly, looking after each of up to 100 seeds.

    Returns:
        The rate of "best" among equals; and of "within margin" where the last is worse by exactly the margin, and
        had not been beaten.
    """
    best = within = 0
    for _ in range(repeats):
        scores = DISTRIBUTIONS[name].draw(rng, (contenders, 100))
        best += stats.settle(scores).decision == "best"
        scores[-1] += 1.0
        decided = stats.settle(scores, margin=1.0)
        beaten = decided.leader is not None and decided.evidence[decided.leader, -1] >= decided.threshold
        within += decided.decision == "within margin" and not beaten
    return {"best of equals": best / repeats, "within a margin that is met exactly": within / repeats}


def seeds_taken(shift: float, repeats: int, rng: np.random.Generator) -> dict[str, float]:
    """How many seeds two normal contenders take, looking after each; those not settled by 200 count 200."""
    runs = [stats.settle(rng.normal(size=(2, 200)) + np.array([[0.0], [shift]])) for _ in range(repeats)]
    right = np.mean([run.decision == "best" and run.leader == 0 for run in runs])
    taken = np.array([run.seeds for run in runs])
    return {"right": float(right), "median": float(np.median(taken)), "9 in 10": float(np.quantile(taken, 0.9))}


def wilson() -> dict[str, list[float]]:
    """Exact coverage of Wilson's interval: no simulation."""
    rows = {}
    for share in (0.1, 0.5, 0.9):
        rows[f"wilson_interval, share {share}"] = [
            sum(
                math.comb(n, hits) * share**hits * (1 - share) ** (n - hits)
                for hits in range(n + 1)
                if Interval(*stats.wilson_interval(hits, n)[1:], share).covers
            )
            for n in COUNTS
        ]
    return rows


def repeated(
    simulate: Callable[[int, np.random.Generator], Mapping[str, float]], repeats: int, seed: int
) -> dict[str, list[float]]:
    """Mean outcomes by label, one entry for every count of `COUNTS`."""
    table: dict[str, list[float]] = {}
    for n in COUNTS:
        rng = np.random.default_rng([seed, n])
        outcomes = [simulate(n, rng) for _ in range(repeats)]
        for label in outcomes[0]:
            table.setdefault(label, []).append(float(np.mean([outcome[label] for outcome in outcomes])))
    return table


def coverages(name: str, repeats: int) -> dict[str, list[float]]:
    """Every interval's coverage on one distribution, a key of `DISTRIBUTIONS`, one entry for every count."""
    shifted = DISTRIBUTIONS[name].draw(np.random.default_rng(7), (1_000_000,)) - DISTRIBUTIONS[name].median + 2.0
    above = float(np.mean(shifted > 0))
    table = repeated(lambda n, rng: paired(name, n, rng, above), repeats, 1)
    if name not in TIMES:
        return table
    aggregate, curves = aggregate_truths(name), tuning_truths(name)
    lifetimes = survival_truths(name)
    times = np.sort(TIMES[name](np.random.default_rng(7), (200_000, 3)), axis=1)
    ahead = [float(np.quantile(times, share)) for share in (0.1, 0.5, 0.9)]
    table |= repeated(lambda n, rng: aggregates(name, n, rng, aggregate), repeats, 2)
    table |= repeated(lambda n, rng: survival(name, n, rng, lifetimes), repeats, 3)
    table |= repeated(lambda n, rng: runtime(name, n, rng, np.array(ahead)), repeats, 4)
    for noisy in NOISES:
        everything = population(name, noisy)
        table |= repeated(
            lambda n, rng, noisy=noisy, truth=everything: over_problems(name, noisy, n, rng, truth),
            repeats // 4,  # four contenders each
            5,
        )
    table |= repeated(lambda n, rng: tuning(name, n, rng, curves), repeats, 6)
    table |= repeated(lambda n, rng: nested(name, n, rng), repeats, 7)
    return table | repeated(lambda n, rng: crossed(name, n, rng), repeats, 8)


def print_table(title: str, columns: Iterable[str], rows: Mapping[str, Iterable[str]]) -> None:
    """Prints a Markdown table."""
    header = [title, *columns]
    print("| " + " | ".join(header) + " |")
    print("|" + "---|" * len(header))
    for label, cells in rows.items():
        print("| " + " | ".join([label, *cells]) + " |")
    print(flush=True)


def by_distribution(title: str, tables: Mapping[str, Mapping[str, list[float]]]) -> None:
    """Prints percentages, a row a label, a column a distribution with the counts in a cell; short ones in bold."""
    labels = list(dict.fromkeys(label for table in tables.values() for label in table))

    def cell(rates: list[float] | None) -> str:
        if rates is None:
            return ""
        low = title.startswith("coverage")
        return " / ".join(
            f"**{100 * rate:.0f}**" if (rate < 0.91 if low else rate > 0.09) else f"{100 * rate:.0f}" for rate in rates
        )

    rows = {label: [cell(table.get(label)) for table in tables.values()] for label in labels}
    print_table(title, tables, rows)


def main(repeats: int = 1000) -> None:
    """Prints the tables, of as many repetitions a number."""
    start = time.perf_counter()
    print_table(
        "exact coverage, %",
        [f"n = {n}" for n in COUNTS],
        {k: [f"{100 * r:.1f}" for r in v] for k, v in wilson().items()},
    )
    by_distribution(
        "size in % at 5 %, n = 5 / 10 / 20",
        {name: repeated(lambda n, rng, name=name: sizes(name, n, rng), repeats, 8) for name in TIMES},
    )
    by_distribution(
        "coverage in % at 95 %, n = 5 / 10 / 20", {name: coverages(name, repeats) for name in DISTRIBUTIONS}
    )
    rows = {}
    for name in TIMES:
        for contenders in (2, 4):
            rates = false_settlements(name, contenders, repeats // 4, np.random.default_rng(9))
            rows[f"{contenders} contenders, {name}"] = [f"{100 * rate:.1f} %" for rate in rates.values()]
    print_table("settled wrongly, of 100 looks", rates, rows)
    shifts = {}
    for shift in (0.5, 1.0, 2.0):
        found = seeds_taken(shift, repeats // 4, np.random.default_rng(10))
        shifts[f"{shift} sd"] = [f"{100 * found['right']:.0f} %", f"{found['median']:.0f}", f"{found['9 in 10']:.0f}"]
    print_table("difference of two contenders", ("settled right", "median seeds", "9 in 10 within"), shifts)
    print(f"{repeats} repetitions, {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
