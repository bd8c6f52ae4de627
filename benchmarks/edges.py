"""How often an optimizer's best points lie at an edge of its space, over problems of the catalogue that train fast.

    python -m benchmarks.edges
    python -m benchmarks.edges --optimizers adam lion --points 32

Every optimizer is tuned once on every problem: scrambled Halton points, one seed, the problem's own steps, no final
trials. A hyperparameter is at an edge as in a run: the best value is the outermost that was tried, and scores improve
towards it. Prints a row of docs/optimizers.md for each optimizer as soon as it is done. A side of a range that is an
edge on more problems than chance explains is printed in bold.
"""

import argparse
import time
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from dlkit.bench.optimizers import OPTIMIZERS, Optimizer
from dlkit.bench.plan.space import Range, Side
from dlkit.bench.problems import catalog
from dlkit.bench.training.program import ProblemProgram, compile_problem, compile_program
from dlkit.bench.training.recipe import Recipe
from dlkit.bench.training.trajectory import train_trial
from dlkit.bench.tuning.sampling import halton_points
from dlkit.bench.tuning.winner import EDGE_CORRELATION, at_edges

__all__ = ["beyond_chance", "edges", "row"]

PROBLEMS = (
    "quadratic",
    "rosenbrock",
    "logistic-regression",
    "diabetes-linear",
    "wine-mlp",
    "digits-mlp",
)
POINTS = 16
LEVEL = 0.001  # for one side of one range; a table has about 270 of them
DRAWS = 100_000  # of random ranks


def edges(shared: ProblemProgram, optimizer: Optimizer, points: int) -> Mapping[str, Side]:
    """Tunes an optimizer on a problem and returns which hyperparameters are at an edge.

    Args:
        shared: the problem's executables.
        optimizer: by what it is trained.
        points: how many are tried.

    Returns:
        Hyperparameter -> the side.
    """
    problem = shared.problem
    drawn = halton_points(optimizer.space, optimizer.static, points)
    programs, scores = {}, np.full(len(drawn), np.inf)
    for number, point in enumerate(drawn):
        key = str(point.static)
        if key not in programs:
            recipe = Recipe(optimizer=optimizer, steps=problem.steps, evaluations=2, static=point.static)
            programs[key] = compile_program(shared, recipe)
        trajectory = train_trial(programs[key], point.hyperparameters, stage="tuning", seed=0)
        if trajectory.status == "finished":
            final = float(trajectory.curves[problem.metric][-1])
            scores[number] = -final if problem.judged.higher_is_better else final
    return at_edges(drawn, scores, int(scores.argmin()), optimizer.space) if np.isfinite(scores).any() else {}


def beyond_chance(points: int, problems: int) -> int:
    """Returns on how many problems a side of a range must be an edge, so that chance explains it at `LEVEL`.

    By chance alone, where a hyperparameter changes nothing: its best value is any of them. The ranks of the scores are
    drawn, and the number of problems is binomial.

    Args:
        points: of a study.
        problems: how many there are.
    """
    from scipy.stats import binom

    rng = np.random.default_rng(0)
    places = np.arange(points) - (points - 1) / 2
    ranks = rng.permuted(np.tile(places, (DRAWS, 1)), axis=1)
    trends = ranks @ places / (places @ places)
    chance = float(((ranks.argmin(axis=1) == points - 1) & (trends <= -EDGE_CORRELATION)).mean())
    return next(count for count in range(problems + 2) if binom.sf(count - 1, problems, chance) <= LEVEL)


def row(optimizer: Optimizer, found: Sequence[Mapping[str, Side]], *, least: int) -> str:
    """Returns an optimizer's row of the table.

    Args:
        optimizer: which.
        found: [problems] what `edges` returned.
        least: on how many problems a side must be an edge to be printed in bold.
    """
    ranges = sum(isinstance(span, Range) for span in optimizer.space.values())
    counts = Counter((name, side) for each in found for name, side in each.items())
    sides = [
        f"**{name} {side} {count}**" if count >= least else f"{name} {side} {count}"
        for (name, side), count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    ]
    return f"| {optimizer.name} | {counts.total()} of {ranges * len(found)} | {', '.join(sides)} |"


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description="How often an optimizer's best points lie at an edge of its space.")
    parser.add_argument("--optimizers", nargs="*", default=list(OPTIMIZERS))
    parser.add_argument("--problems", nargs="*", default=list(PROBLEMS))
    parser.add_argument("--points", type=int, default=POINTS)
    asked = parser.parse_args()
    began = time.perf_counter()
    shared = [compile_problem(catalog.get(name)) for name in asked.problems]
    least = beyond_chance(asked.points, len(shared))
    print(f"bold: {least} of {len(shared)} problems or more\n\n| optimizer | at an edge | sides |\n|---|---:|---|")
    for name in asked.optimizers:
        optimizer = OPTIMIZERS[name]
        print(row(optimizer, [edges(each, optimizer, asked.points) for each in shared], least=least), flush=True)
    print(f"\n{time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
