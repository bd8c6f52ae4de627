"""Does the interval of a good range's width hold the width? A bowl in the logarithms of 1, 2 and 3 hyperparameters.

The bowl's axes are tilted, its centre lies anywhere in the middle of a space of four decades each, and noise of 1 % of
the best score is one fifth of the tolerance. `python -m benchmarks.good_range_coverage`
"""

import math

import numpy as np
from scipy.stats import qmc

from dlkit.bench import stats

DECADES, TOLERANCE, REPETITIONS = 4.0, 0.05, 1000
FEWEST = 3  # good points that a report tells a width from


def covered(dimensions: int, points: int, *, halton: bool, noise: float, rng: np.random.Generator) -> bool | None:
    """Whether the interval holds the width of the range within 5 % of the best point; None with too few good points."""
    shares = (
        qmc.Halton(dimensions, rng=rng).random(points) if halton else rng.random((points, dimensions))
    )  # of the space
    tilt = np.eye(dimensions) + 0.4 * (np.ones((dimensions, dimensions)) - np.eye(dimensions)) * (dimensions > 1)
    centre = rng.uniform(-0.7, 0.7, dimensions)
    away = DECADES * (shares - 0.5) - centre
    exact = 1 + 0.05 * np.einsum("ni,ij,nj->n", away, tilt, away)
    scores = exact + noise * rng.normal(size=points)
    found = stats.sensitivity(10 ** (away + centre)[:, 0], scores, tolerance=TOLERANCE)
    if found.good < FEWEST:
        return None
    # Good is what is within the tolerance of the best point's true score.
    radius = math.sqrt(((1 + TOLERANCE) * float(exact[scores.argmin()]) - 1) / 0.05 * float(np.linalg.inv(tilt)[0, 0]))
    low, high = max(centre[0] - radius, -DECADES / 2), min(centre[0] + radius, DECADES / 2)
    width = stats.width_interval(found, tried=DECADES, dimensions=dimensions)
    return bool(width.low <= high - low + 1e-9 and high - low <= width.high + 1e-9)


def main() -> None:
    """Prints how often the interval holds the width."""
    rng = np.random.default_rng(0)
    print("| hyperparameters, points | independent | Halton | Halton, noise of 1 % | too few good points |")
    print("|---|---:|---:|---:|---:|")
    for dimensions in (1, 2, 3):
        for points in (8, 16, 64):
            cells, few = [], 0.0
            for halton, noise in ((False, 0.0), (True, 0.0), (True, 0.01)):
                runs = [covered(dimensions, points, halton=halton, noise=noise, rng=rng) for _ in range(REPETITIONS)]
                told = [run for run in runs if run is not None]
                cells.append(f"{100 * float(np.mean(told)):.0f}")
                few = 1 - len(told) / REPETITIONS
            print(f"| {dimensions}, {points} | {' | '.join(cells)} | {100 * few:.0f} % |", flush=True)


if __name__ == "__main__":
    main()
