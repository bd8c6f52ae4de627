"""Where `stats.least_difference` promises to find a difference in 80 % of studies, in how many is it found?

Draws data sets of several stored blocks, asks each for the least difference that n new blocks find, and looks up how
often the whole rule finds a difference of that size in fresh blocks of the same kind. Prints the Markdown table of
the documentation (six minutes): `python -m benchmarks.promised_power`. A share has a standard error of about 2 points.
"""

import itertools
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from benchmarks.stats_coverage import print_table
from dlkit.bench import stats

Floats = NDArray[np.float64]

LEVEL = 0.05
COUNTS = ((6, 6), (6, 10), (8, 8), (10, 10), (20, 20))  # stored blocks, new blocks
NOISE: dict[str, Callable[[np.random.Generator, tuple[int, int]], Floats]] = {
    "normal": lambda rng, size: rng.normal(size=size),
    "Student t(3)": lambda rng, size: rng.standard_t(3, size=size) / 3**0.5,
    "lognormal": lambda rng, size: rng.lognormal(size=size) / 2.16,
    "normal, unequal variances": lambda rng, size: (
        rng.normal(size=size) * np.where(np.arange(size[0]) % 2, 1.5, 0.5)[:, None]
    ),
}
MEANS = {
    "2 contenders": [0.0, 0.0],
    "6 contenders, alike but for the pair": [0.0] * 6,
    "6 contenders, 1 sd between each": [0.0, 0.0, 1.0, 2.0, 3.0, 4.0],
}


def told_apart(scores: Floats) -> bool:
    """Whether the whole rule tells the first two contenders apart."""
    if stats.paired_difference(scores[0], scores[1]).p_value > LEVEL:
        return False
    rows = [first - second for first, second in itertools.combinations(scores, 2)]
    return bool(stats.family_p_values(rows, draws=500)[0] <= LEVEL)


def kept(
    noise: Callable[[np.random.Generator, tuple[int, int]], Floats],
    means: list[float],
    stored: int,
    blocks: int,
    *,
    data_sets: int = 80,
    repeats: int = 400,
) -> float:
    """The power at the differences promised, averaged over data sets."""
    rng = np.random.default_rng(5)

    def drawn(count: int, difference: float) -> Floats:
        apart = 0.5 * difference * (np.eye(1, len(means))[0] - np.eye(1, len(means), 1)[0])
        scores: Floats = noise(rng, (len(means), count)) + (np.asarray(means) + apart)[:, None]
        return scores

    sizes = np.linspace(2.0, 12.0, 9) / np.sqrt(blocks)
    powers = [np.mean([told_apart(drawn(blocks, size)) for _ in range(repeats)]) for size in sizes]
    promised = [stats.least_difference(drawn(stored, 1.0), (0, 1), blocks, seed=each) for each in range(data_sets)]
    return float(np.interp(promised, [0.0, *sizes, 3 * sizes[-1]], [0.0, *powers, 1.0]).mean())


def main() -> None:
    """Prints the table."""
    rows = {
        f"{label}, {name}": [f"{100 * kept(noise, means, *counts):.0f}" for counts in COUNTS]
        for label, means in MEANS.items()
        for name, noise in NOISE.items()
    }
    columns = [f"{stored} stored, {blocks} new" for stored, blocks in COUNTS]
    print_table("found, in %, where 80 % is promised", columns, rows)


if __name__ == "__main__":
    main()
