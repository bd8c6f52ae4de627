"""How long the statistics of a large comparison take, and how much memory, on one core.

12 contenders, 20 problems, 20 seeds, curves of 50 evaluations, ladders of 5 targets, 10,000 resamples: every table that
`dlkit.bench.stats` can make of it. `taskset --cpu-list 0 python -m benchmarks.stats_speed`
"""

import itertools
import resource
import sys
import time
from collections.abc import Callable

import numpy as np

from dlkit.bench import stats

CONTENDERS, SEEDS, PROBLEMS, EVALUATIONS = 12, 20, 20, 50
TARGETS = np.tile([2.0, 1.0, 0.5, 0.25, 0.1], (PROBLEMS, 1))
RESAMPLES = 10_000


def main() -> None:
    """Prints the seconds of each table, their sum and the most memory the process held."""
    rng = np.random.default_rng(0)
    shape = (CONTENDERS, SEEDS, PROBLEMS)
    rates = rng.lognormal(0.0, 0.5, shape)[..., None]
    curves = 3 * np.exp(-rates * np.linspace(0.1, 4.0, EVALUATIONS)) + rng.exponential(0.05, (*shape, 1))
    scores = curves[..., -1]
    times = np.stack([stats.times_to_targets(each, TARGETS, budget=EVALUATIONS) for each in curves])
    hits = np.isfinite(times[..., 2])
    pairs = list(itertools.combinations(range(CONTENDERS), 2))
    first, others = scores[0], scores[1:]

    def over_problems(function: Callable[[int], object]) -> list[object]:
        return [function(problem) for problem in range(PROBLEMS)]

    def survival(problem: int) -> list[object]:
        seen = np.minimum(times[:, :, problem, 2], EVALUATIONS), hits[:, :, problem]
        runs = [(ends, hit) for ends, hit in zip(*seen, strict=True)]
        tables: list[object] = [stats.kaplan_meier(*run) for run in runs]
        tables += [stats.restricted_mean(*run, EVALUATIONS) for run in runs]
        tables += [stats.expected_running_time(*run) for run in runs]
        return [*tables, stats.log_rank(*(each.ravel() for each in seen), np.repeat(np.arange(CONTENDERS), SEEDS))]

    tables: dict[str, Callable[[], object]] = {
        "medians and hits with intervals": lambda: over_problems(
            lambda p: [
                (stats.median_interval(each[:, p]), stats.wilson_interval(int(hit[:, p].sum()), SEEDS))
                for each, hit in zip(scores, hits, strict=True)
            ]
        ),
        "all pairs by signed ranks, with Holm": lambda: over_problems(
            lambda p: stats.holm([stats.paired_difference(scores[a, :, p], scores[b, :, p]).p_value for a, b in pairs])
        ),
        "all pairs as a family, by flips": lambda: over_problems(
            lambda p: stats.family_p_values([scores[a, :, p] - scores[b, :, p] for a, b in pairs])
        ),
        "the least difference and the least blocks, of one pair": lambda: over_problems(
            lambda p: (
                stats.least_difference(scores[..., p], (0, 1), SEEDS),
                stats.least_blocks(scores[..., p], (0, 1), 1.0),
            )
        ),
        "paired effects with BCa, each to the first": lambda: over_problems(
            lambda p: [stats.paired_effects(each[:, p], first[:, p], resamples=RESAMPLES, seed=0) for each in others]
        ),
        "interquartile means, percentile and BCa": lambda: [
            stats.stratified_bootstrap(each, stats.iqm, resamples=RESAMPLES, seed=0) for each in scores
        ],
        "probabilities of improvement": lambda: [
            stats.probability_of_improvement(scores[a], scores[b]) for a, b in pairs
        ],
        "performance profile with bands": lambda: stats.profile_bands(times[..., 2], resamples=RESAMPLES, seed=0),
        "ranks and probability of being best": lambda: stats.rank_bootstrap(scores, resamples=RESAMPLES, seed=0),
        "Friedman, Nemenyi": lambda: (
            stats.friedman(np.median(scores, axis=1)),
            stats.nemenyi_distance(CONTENDERS, PROBLEMS),
        ),
        "survival: curves, restricted means, log-rank": lambda: over_problems(survival),
        "runtime profiles with bands": lambda: [
            stats.target_ecdf(each, TARGETS, budget=EVALUATIONS, resamples=RESAMPLES, seed=0) for each in curves
        ],
        "ranking by target and budget": lambda: stats.target_ranking(times, np.linspace(5, EVALUATIONS, 10)),
    }
    total = total_wall = 0.0
    print("| table | CPU seconds |\n|---|---:|")
    for label, make in tables.items():
        start, start_wall = time.process_time(), time.perf_counter()
        make()
        spent = time.process_time() - start
        total, total_wall = total + spent, total_wall + time.perf_counter() - start_wall
        print(f"| {label} | {spent:.2f} |", flush=True)
    unit = 1024 if sys.platform == "linux" else 1024**2
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    print(f"| all | {total:.2f} |\n\n{total_wall:.2f} s by the clock, {memory:.0f} MB at most")


if __name__ == "__main__":
    main()
