"""What the default rule for divergence catches, and what it wrongly catches, on the whole catalogue.

Every problem is trained by several optimizers: at points of their spaces, and at the first of these with rates 10 to a
million times beyond the space. Slow problems are trained for fewer steps, by fewer optimizers. A trial that is called
diverged and whose judged metric is better than at the start is a false alarm.

`python -m benchmarks.divergence FOLDER` keeps all losses in a folder, goes on where it was, and prints the tables.
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from dlkit.bench import optimizers
from dlkit.bench.errors import UserError
from dlkit.bench.machine.environment import configure_jax
from dlkit.bench.optimizers import Optimizer
from dlkit.bench.plan.space import Range
from dlkit.bench.problems import Problem, catalog
from dlkit.bench.training import divergence, segment
from dlkit.bench.training.curve import Request
from dlkit.bench.training.data_order import trial_order
from dlkit.bench.training.program import ProblemProgram, compile_problem, compile_program
from dlkit.bench.training.recipe import Recipe
from dlkit.bench.training.trajectory import begin
from dlkit.bench.tuning.sampling import halton_points

FAST = (
    "sgd",
    "momentum",
    "adam",
    "lion",
    "muon",
    "sophia",
    "lbfgs",
    "adadelta",
    "schedule_free_sgd",
    "prodigy",
    "rmsprop",
)
MEDIUM, SLOW = ("sgd", "momentum", "adam", "lion", "sophia"), ("sgd", "adam")
TIERS = ((0.2, 10_000, FAST, 4), (2.0, 200, MEDIUM, 4), (np.inf, 60, SLOW, 3))  # seconds, most steps, by what, points
BEYOND = (1e1, 1e2, 1e4, 1e6)  # rates, in multiples of the space's largest
BOUNDS = (1e2, 1e3, 1e4, 1e5, 1e6, 1e8)
SEED = 7


class Trial(NamedTuple):
    """What a recorded trial came to.

    Attributes:
        rate: "in space", or how many times beyond it.
        is_finite: whether all losses are.
        peak: the largest rise of a loss from the first one, in sizes of the loss.
        end: the least rise of the losses at the end, `divergence.LAST` of them.
        is_better: whether the judged metric ended better than it started.
    """

    rate: str
    is_finite: bool
    peak: float
    end: float
    is_better: bool


def points(optimizer: Optimizer, count: int) -> Iterator[tuple[str, dict[str, float]]]:
    """Points of a space, and the first of them with rates beyond it."""
    drawn = [point.hyperparameters for point in halton_points(optimizer.space, {}, count, seed=1)]
    yield from (("in space", point) for point in drawn)
    rate = optimizer.space.get("learning_rate")
    if rate is not None:
        largest = rate.high if isinstance(rate, Range) else rate
        yield from ((f"{factor:g} times beyond", {**drawn[0], "learning_rate": largest * factor}) for factor in BEYOND)


def record(shared: ProblemProgram, optimizer: Optimizer, steps: int, count: int) -> dict[str, Any]:
    """Trains all points of an optimizer, and returns their losses and metrics."""
    problem = shared.problem
    static = {name: options[0] for name, options in optimizer.static.items()}
    program = compile_program(shared, Recipe(optimizer=optimizer, steps=steps, evaluations=1, static=static))
    indices = jnp.asarray(np.concatenate(list(trial_order(problem, "final", SEED, (1, steps), 1)))[0])
    rates, losses, metrics = [], [], []
    for rate, point in points(optimizer, count):
        begun = begin(program, [Request(point, "final", SEED)])
        carry, found = program.advance(begun.carry, indices, begun.values, begun.start, begun.arrays["train"])
        params, state = segment.finish(program.setup, carry, begun.arrays["train"])
        ended, _ = shared.evaluate(params, state, begun.arrays["test"])
        rates.append(rate)
        losses.append(np.asarray(found, np.float32))
        metrics.append([float(begun.metrics[problem.metric]), float(ended[problem.metric])])
    sign = 1 if problem.judged.higher_is_better else -1
    return {"rates": rates, "losses": np.stack(losses), "metrics": sign * np.array(metrics)}


def record_problem(problem: Problem, seconds: float, folder: Path) -> None:
    """Records what the folder lacks of a problem."""
    _, most, names, count = next(tier for tier in TIERS if seconds <= tier[0])
    shared = compile_problem(problem)
    for name in names:
        path = folder / f"{problem.name}--{name}.npz"
        if not path.exists():
            np.savez_compressed(path, **record(shared, optimizers.get(name), min(problem.steps, most), count))
            print(path.stem, flush=True)


def recorded(path: Path) -> list[Trial]:
    """The trials of one problem and optimizer; of games, by the player whose loss rises most."""
    data = np.load(path)
    found = []
    for rate, losses, (start, end) in zip(data["rates"], data["losses"], data["metrics"], strict=True):
        columns = (losses if losses.ndim == 2 else losses[:, None]).astype(np.float64).T
        rises = np.max([_rise(column) for column in columns], axis=0)
        found.append(
            Trial(
                str(rate),
                bool(np.isfinite(losses).all()),
                rises.max(),
                rises[-divergence.LAST :].min(),
                bool(end > start),
            )
        )
    return found


def _rise(losses: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """[steps] How far losses are above the first, in the size that `divergence.beyond` divides by.

    The first loss tells the size: all batches of the catalogue have `divergence.EXAMPLES` examples or more.
    """
    finite = np.isfinite(losses)
    first = losses[np.argmax(losses != 0)]
    lowest = np.minimum.accumulate(np.where(finite, losses, np.inf))
    size = np.maximum(np.maximum(np.abs(first), first - lowest), divergence.RESOLUTION)
    with np.errstate(invalid="ignore"):
        return np.where(finite, (losses - first) / size, np.inf)


def print_rates(trials: Sequence[Trial], bound: float) -> None:
    """How trials come out by their rate."""
    print("| learning rate | trials | not finite | end beyond | of these better than at the start |", end="")
    print(" beyond, and came back | of these better |\n|---|---:|---:|---:|---:|---:|---:|")
    for rate in dict.fromkeys(trial.rate for trial in trials):
        of_rate = [trial for trial in trials if trial.rate == rate]
        ends = [trial for trial in of_rate if trial.is_finite and trial.end > bound]
        back = [trial for trial in of_rate if trial.is_finite and trial.end <= bound < trial.peak]
        cells = [len(of_rate), sum(not trial.is_finite for trial in of_rate)]
        cells += [count for group in (ends, back) for count in (len(group), sum(trial.is_better for trial in group))]
        print(f"| {rate} | {' | '.join(map(str, cells))} |")


def print_bounds(trials: Sequence[Trial]) -> None:
    """What other bounds would catch, with the rule as it is and with one that looks at single steps."""
    print("\n| bound | ends beyond | of these better | ever beyond | of these better |\n|---:|---:|---:|---:|---:|")
    finite = [trial for trial in trials if trial.is_finite]
    for bound in BOUNDS:
        groups = [[trial for trial in finite if value(trial) > bound] for value in (lambda t: t.end, lambda t: t.peak)]
        cells = [count for group in groups for count in (len(group), sum(trial.is_better for trial in group))]
        print(f"| {bound:.0e} | {' | '.join(map(str, cells))} |")


def main() -> None:
    """Records, and prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where losses are kept")
    parser.add_argument("--tables", action="store_true", help="of what is there, without recording more")
    asked = parser.parse_args()
    configure_jax()
    asked.folder.mkdir(parents=True, exist_ok=True)
    known = sorted((entry.seconds, name) for name, entry in catalog.ENTRIES.items() if entry.seconds is not None)
    for seconds, name in () if asked.tables else known:
        try:
            record_problem(catalog.get(name), seconds, asked.folder)
        except UserError as error:  # a package that is not here
            print(error)
    paths = sorted(asked.folder.glob("*.npz"))
    games = {name for _, name in known if name.endswith(("-gan", "-game"))}
    for title, is_game in (("problems", False), ("games, which are not watched", True)):
        of_kind = [path for path in paths if (path.stem.partition("--")[0] in games) == is_game]
        found = [each for path in of_kind for each in recorded(path)]
        print(f"\n{len({path.stem.partition('--')[0] for path in of_kind})} {title}\n")
        print_rates(found, divergence.GROWTH)
        print_bounds(found)


if __name__ == "__main__":
    main()
