"""What is a tuner worth to a comparison? Power at equal cost, and how far the point it finds is from the best one.

Simulates studies without training and prints Markdown tables (half a minute): `python -m benchmarks.tuner_power`, with
`--variants` for other forms of zoom, with `--optuna` for optuna's estimator where it is installed (minutes).

A contender's score at x in [-2, 2]^d is bowl |x|^2 + the noise of the seed, which all contenders share, + noise of its
own, both of standard deviation 1. A comparison has ten studies of two contenders. In a study each has K tuning trials
of points of its own, on one seed; its winner is trained on two fresh seeds. The studies' means are compared by the
exact test of sign flips at 5 %. One contender is worse by 1 or 2 everywhere. A point that is scored again costs a trial
like any other, so that a tuner which does so has fewer points.
"""

import math
import sys
from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any, NamedTuple

import numpy as np

from dlkit.bench.plan.space import uniform
from dlkit.bench.tuning.sampling import AROUND, optuna_points

STUDIES, FRESH, LEVEL = 10, 2, 0.05
TRIALS = (4, 8, 16, 32)
SPACES = (1, 3, 5)
BOWLS = (0.3, 1.0, 3.0)
SIMULATED = 20_000  # studies of a contender
SCRAMBLINGS = 2_000
BATCH = 4

Floats = np.ndarray[Any, np.dtype[np.float64]]


class Setting(NamedTuple):
    """What is tuned: trials of a study, hyperparameters, the curvature in standard deviations of the noise."""

    trials: int
    dimensions: int
    bowl: float


Tune = Callable[[Setting, np.random.Generator], Floats]  # [studies] how much worse than the best the winner truly is


@cache
def halton(dimensions: int) -> Floats:
    """[scramblings, points, dimensions] Halton's points in [0, 1), scrambled."""
    from scipy.stats import qmc

    every = [qmc.Halton(dimensions, rng=np.random.default_rng(seed)) for seed in range(SCRAMBLINGS)]
    return np.stack([each.random(max(TRIALS)) for each in every])


def truth(setting: Setting, x: Floats) -> Floats:
    """[...] The score without noise of points [..., dimensions] in [0, 1]."""
    return setting.bowl * np.sum((4 * x - 2) ** 2, axis=-1)


def picked(true: Floats, scores: Floats) -> Floats:
    """[studies] The true score of the point with the lowest score."""
    return np.take_along_axis(true, scores.argmin(axis=1)[:, None], axis=1)[:, 0]


def spread(setting: Setting, rng: np.random.Generator, *, is_random: bool = False) -> Floats:
    """All points over the whole space."""
    size = (SIMULATED, setting.trials, setting.dimensions)
    x = rng.random(size) if is_random else halton(setting.dimensions)[rng.integers(SCRAMBLINGS, size=SIMULATED)]
    true = truth(setting, x[:, : setting.trials])
    return picked(true, true + rng.normal(size=true.shape))


def zoom(
    setting: Setting,
    rng: np.random.Generator,
    *,
    again: int = 2,
    around: int = AROUND,
    share: float = 0.5,
    width: float = 1.0,
) -> Floats:
    """A share of the points over the whole space, the others around the best ones, as `zoom_points` draws them.

    Args:
        setting: what is tuned.
        rng: of points and noise.
        again: how many of the best are scored again.
        around: how many of the best have a box.
        share: of the points that are spread.
        width: of a box, as a multiple of that which holds as much of the space as a point has that was spread.
    """
    points = setting.trials - again
    first = math.ceil(points * share)
    x = halton(setting.dimensions)[rng.integers(SCRAMBLINGS, size=SIMULATED), :points].copy()
    true = truth(setting, x)
    scores = true + rng.normal(size=true.shape)
    studies = np.arange(SIMULATED)
    edge = width * first ** (-1 / setting.dimensions)
    for start in range(first, points, BATCH):
        best = np.argsort(scores[:, :start], axis=1, kind="stable")[:, :around]
        for place in range(start, min(start + BATCH, points)):
            centre = x[studies, best[:, (place - first) % best.shape[1]]]
            moved = np.abs(centre + edge * (rng.random(centre.shape) - 0.5))
            x[:, place] = np.where(moved > 1, 2 - moved, moved)
            true[:, place] = truth(setting, x[:, place])
            scores[:, place] = true[:, place] + rng.normal(size=SIMULATED)
    if not again:
        return picked(true, scores)
    best = np.argsort(scores, axis=1)[:, :again]
    true, scores = np.take_along_axis(true, best, axis=1), np.take_along_axis(scores, best, axis=1)
    return picked(true, scores + true + rng.normal(size=true.shape))


def optuna(setting: Setting, rng: np.random.Generator, *, studies: int = 400) -> Floats:
    """Optuna's estimator, asked in batches; its first ten points are random. Fewer studies, drawn again."""
    space = {f"x{each}": uniform(0.0, 1.0) for each in range(setting.dimensions)}
    found = []
    for study in range(studies):
        points: list[Any] = []
        true: list[float] = []
        scores: list[float] = []
        while len(points) < setting.trials:
            new = optuna_points(space, {}, points, scores, min(BATCH, setting.trials - len(points)), seed=study)
            values = truth(setting, np.array([list(point.hyperparameters.values()) for point in new]))
            points += new
            true += values.tolist()
            scores += (values + rng.normal(size=len(new))).tolist()
        found.append(true[int(np.argmin(scores))])
    return rng.choice(found, SIMULATED)


@cache
def flips() -> Floats:
    """[flips, studies] All signs but for their opposites."""
    bits = np.arange(2 ** (STUDIES - 1))[:, None] >> np.arange(STUDIES) & 1
    return 1.0 - 2.0 * bits


def power(found: Floats, difference: float, rng: np.random.Generator) -> float:
    """Returns how often the test of ten studies tells two contenders apart, one of them worse by a difference."""
    pairs = rng.permutation(found)[: SIMULATED // (2 * STUDIES) * 2 * STUDIES].reshape(-1, STUDIES, 2)
    noise = rng.normal(size=pairs.shape) / math.sqrt(FRESH)  # the seeds' own noise is common to both, and cancels
    differences = np.diff(pairs + noise, axis=-1)[..., 0] + difference
    sums = np.abs(differences @ flips().T)
    p_values = np.mean(sums >= np.abs(differences.sum(axis=1, keepdims=True)) - 1e-9, axis=1)
    return float(np.mean(p_values <= LEVEL))


TUNERS: dict[str, Tune] = {
    "halton": spread,
    "random": partial(spread, is_random=True),
    "zoom": zoom,
    "zoom, not scored again": partial(zoom, again=0),
    "halton, two scored again": partial(zoom, share=1.0),
}
VARIANTS: dict[str, Tune] = {
    f"zoom: {share:g} spread, width {width:g}, around {around}, again {again}": partial(
        zoom, share=share, width=width, around=around, again=again
    )
    for share in (0.5, 0.75)
    for width in (0.25, 0.5, 1.0, 1.5)
    for around in (1, 2, 3)
    for again in (0, 2)
}


def table(tuners: Mapping[str, Tune], trials: int) -> None:
    """Prints power at a difference of 1 and of 2, in percent, and the mean regret, of each tuner in each setting."""
    settings = [Setting(trials, dimensions, bowl) for dimensions in SPACES for bowl in BOWLS]
    print(f"\nK = {trials}: power at 1 sd / 2 sd in %, mean regret in sd\n")
    heads = [f"{each.dimensions}-D, {each.bowl:g}" for each in settings]
    print(f"| tuner | {' | '.join(heads)} | mean |\n|---|{'---|' * (len(heads) + 1)}")
    for name, tune in tuners.items():
        rows = []
        for setting in settings:
            rng = np.random.default_rng([setting.trials, setting.dimensions, round(10 * setting.bowl)])
            found = tune(setting, rng)
            rows.append((100 * power(found, 1.0, rng), 100 * power(found, 2.0, rng), float(found.mean())))
        cells = [f"{one:.0f} / {two:.0f}, {regret:.2f}" for one, two, regret in [*rows, np.mean(rows, axis=0)]]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def main() -> None:
    """Prints one table for each number of trials."""
    tuners = TUNERS | (VARIANTS if "--variants" in sys.argv else {})
    tuners |= {"optuna": optuna} if "--optuna" in sys.argv else {}
    for trials in TRIALS:
        table(tuners, trials)


if __name__ == "__main__":
    main()
