"""Size of the tests that all rank alike, and coverage of mean ranks, where contenders did not run on every problem.

    python -m benchmarks.incomplete_ranks [--runs 2000]

Problems differ in level by ten standard deviations of what contenders differ in. Cells are missing at random, or the
first contender ran on the easier half of the problems alone. Prints, in percent, how often equal contenders are told
apart, and how often intervals hold the mean ranks of unequal ones over 20,000 problems.
"""

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np

from dlkit.bench import stats

Bools = np.ndarray[Any, np.dtype[np.bool_]]
Missing = Callable[[np.random.Generator, int, int], Bools]
PERMUTATIONS, RESAMPLES, SEEDS, POPULATION = 199, 400, 5, 20_000
SHAPES = ((3, 6), (3, 20), (5, 6), (5, 10), (8, 6), (8, 20))


def at_random(share: float) -> Missing:
    """Cells that are missing with a probability, again until what is left joins all contenders."""

    def ran(rng: np.random.Generator, contenders: int, problems: int) -> Bools:
        while True:
            there = rng.random((contenders, problems)) >= share
            if stats.connected(there)[0].all():
                return there

    return ran


def on_easy_problems(rng: np.random.Generator, contenders: int, problems: int) -> Bools:
    """The first contender ran on the easier half alone."""
    there = np.ones((contenders, problems), dtype=bool)
    there[0, problems // 2 :] = False
    return there


def sizes(missing: Missing, contenders: int, problems: int, runs: int, rng: np.random.Generator) -> tuple[float, ...]:
    """In percent, how often equal contenders are told apart: by permuted ranks, by chi-square, by Nemenyi."""
    told = np.zeros(3)
    for seed in range(runs):
        ran = missing(rng, contenders, problems)
        levels = np.linspace(0, 10, problems)
        scores = np.where(ran, rng.normal(size=ran.shape) + levels, np.nan)
        ranks = stats.expected_ranks(scores[None])[0]
        with np.errstate(invalid="ignore"):
            apart = np.abs(ranks[:, None] - ranks) > stats.nemenyi_distances(ran) + 1e-9
        told += (
            stats.skillings_mack_permutation(scores, resamples=PERMUTATIONS, seed=seed) <= 0.05,
            stats.skillings_mack(scores).p_value <= 0.05,
            bool(apart.any()),
        )
    return tuple((100 * told / runs).tolist())


def coverage(share: float, contenders: int, problems: int, runs: int, rng: np.random.Generator) -> float:
    """In percent: how often the interval of a mean rank holds it."""
    effects = np.linspace(0, 1, contenders)[:, None]
    truth = stats.expected_ranks((rng.normal(size=(contenders, POPULATION)) + effects)[None])[0]
    missing, held = at_random(share), 0.0
    for seed in range(runs):
        ran = missing(rng, contenders, problems)
        of_problem = rng.normal(size=ran.shape) + effects
        scores = of_problem[:, None] + 0.5 * rng.normal(size=(contenders, SEEDS, problems))
        scores = np.where(ran[:, None], scores, np.nan)
        found = stats.rank_bootstrap(scores, resamples=RESAMPLES, seed=seed)
        held += float(np.mean((found.low - 1e-9 <= truth) & (truth <= found.high + 1e-9)))
    return 100 * held / runs


def main() -> None:
    """Prints both tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=2000)
    runs = parser.parse_args().runs
    rng = np.random.default_rng(0)
    cases = {"20 % at random": at_random(0.2), "the first on easy problems": on_easy_problems}
    print("equal contenders told apart, %: permuted ranks, chi-square, Nemenyi")
    for name, missing in cases.items():
        for shape in SHAPES:
            print(f"{name}, {shape[0]} on {shape[1]}:", *(f"{each:.1f}" for each in sizes(missing, *shape, runs, rng)))
    print("mean ranks within their intervals, %: no cell missing, 20 %, 40 %")
    for shape in ((3, 8), (5, 8), (5, 16), (8, 12)):
        held = (coverage(share, *shape, max(2, runs // 4), rng) for share in (0.0, 0.2, 0.4))
        print(f"{shape[0]} on {shape[1]}:", *(f"{each:.1f}" for each in held), flush=True)


if __name__ == "__main__":
    main()
