"""What it costs to know a problem and an optimizer by what they compute, against compiling the same.

    python -m benchmarks.identity_cost
    python -m benchmarks.identity_cost --problems digits-mlp digits-cnn --optimizers adam soap

Every problem of the catalogue that needs no file is taken for one's own, and so is every optimizer: processor seconds
of tracing and hashing them, against those of tracing, lowering and compiling the executables that train them (of a
final trial with 20 evaluations). JAX forgets all traces before a problem's identities and before its compilations;
there is no compilation cache. Prints a row for each problem as soon as it is done, then the sums and the dearest cells.
"""

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dlkit.bench import optimizers
from dlkit.bench.errors import UserError
from dlkit.bench.identity.programs import forget_traces
from dlkit.bench.problems import Problem, catalog
from dlkit.bench.spec.tracing import method_program, problem_program
from dlkit.bench.training.program import ProblemProgram, compile_problem, compile_program
from dlkit.bench.training.recipe import Recipe
from dlkit.bench.training.trajectory import call_points

__all__ = ["Cell", "Cost", "costs", "method_cell", "problem_cell"]

CORE = ("sgd", "momentum", "nesterov", "rmsprop", "adagrad", "adam", "adamw", "lion")
EVALUATIONS = 20
DEAREST = 5


class Cost(NamedTuple):
    """Processor seconds.

    Attributes:
        identity: of tracing and hashing.
        compilation: of tracing, lowering and compiling.
    """

    identity: float
    compilation: float

    @property
    def share(self) -> float:
        """Of identity in compilation."""
        return self.identity / self.compilation

    def __add__(self, other: "Cost") -> "Cost":  # type: ignore[override]
        return Cost(self.identity + other.identity, self.compilation + other.compilation)


class Cell(NamedTuple):
    """What is one's own: a problem, or an optimizer on it.

    Attributes:
        trace: returns its hash.
        executables: what is compiled for it, with arguments.
    """

    trace: Callable[[], object]
    executables: Sequence[tuple[Any, tuple[Any, ...]]]


def problem_cell(problem: Problem, shared: ProblemProgram) -> Cell:
    """What all optimizers on a problem share."""
    start = jax.eval_shape(shared.start, _words())
    executables = [
        (shared.start, (_words(),)),
        (shared.evaluate, (start.params, start.state, shared.arrays(0)["validation"])),
    ]
    return Cell(lambda: problem_program(problem), executables)


def method_cell(problem: Problem, shared: ProblemProgram, name: str) -> Cell:
    """What an optimizer on a problem has of its own.

    Raises:
        UserError: if it does not fit the problem.
    """
    optimizer = optimizers.get(name)
    static = {key: options[0] for key, options in optimizer.static.items()}
    steps = problem.steps // EVALUATIONS * EVALUATIONS
    recipe = Recipe(optimizer=optimizer, steps=steps, evaluations=EVALUATIONS, static=static)
    program = compile_program(shared, recipe)
    start = jax.eval_shape(shared.start, _words())
    values = dict.fromkeys(recipe.traced, 0.1)
    carry = jax.eval_shape(program.begin, start, values)
    shape = (call_points(EVALUATIONS), recipe.segment_steps, problem.rows_per_step)
    train = shared.arrays(0)["train"]
    indices = jax.ShapeDtypeStruct(shape, jnp.int32)
    executables = [
        (program.begin, (start, values)),
        (program.segment, (carry, indices, values, start, train)),
    ]
    return Cell(lambda: method_program(problem, recipe), executables)


def costs(cells: Mapping[str, Cell]) -> dict[str, Cost]:
    """Measures all cells of a problem: first all identities, then all that is compiled, as in a run."""
    forget_traces()
    identities = {name: _seconds(cell.trace) for name, cell in cells.items()}
    forget_traces()
    compilations = {name: _seconds(partial(_compile, cell.executables)) for name, cell in cells.items()}
    return {name: Cost(identities[name], compilations[name]) for name in cells}


def _words() -> Any:
    return np.zeros(3, np.uint32)


def _compile(executables: Sequence[tuple[Any, tuple[Any, ...]]]) -> None:
    for function, arguments in executables:
        function.lower(*arguments).compile()


def _seconds(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def _row(name: str, cells: Mapping[str, Cost], total: Cost) -> str:
    worst = max(cells, key=lambda each: cells[each].share)
    shares = f"{100 * total.share:.1f} | {100 * cells[worst].share:.1f} ({worst})"
    return f"| {name} | {total.identity:.2f} | {total.compilation:.2f} | {shares} |"


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--problems", nargs="*", default=[*catalog.ENTRIES])
    parser.add_argument("--optimizers", nargs="*", default=CORE)
    chosen = parser.parse_args()
    print("| problem | identity, s | compilation, s | share, % | dearest cell, % |\n|---|---:|---:|---:|---:|")
    total = Cost(0.0, 0.0)
    every: dict[str, Cost] = {}
    for name in chosen.problems:
        try:
            problem = catalog.get(name)
        except UserError:
            continue  # needs a file or a package
        shared = compile_problem(problem)
        cells = {"problem": problem_cell(problem, shared)}
        for optimizer in chosen.optimizers:
            try:
                cells[optimizer] = method_cell(problem, shared, optimizer)
            except UserError as error:
                print(f"| {name} | {optimizer}: {error} | | | |")
        measured = costs(cells)
        of_problem = sum(measured.values(), start=Cost(0.0, 0.0))
        print(_row(name, measured, of_problem), flush=True)
        total += of_problem
        every |= {f"{name}, {cell}": cost for cell, cost in measured.items()}
    print(f"all: {total.identity:.1f} s of {total.compilation:.1f} s, {100 * total.share:.1f} %")
    for cell in sorted(every, key=lambda each: every[each].share, reverse=True)[:DEAREST]:
        print(
            f"{cell}: {every[cell].identity:.3f} s of {every[cell].compilation:.3f} s, {100 * every[cell].share:.1f} %"
        )


if __name__ == "__main__":
    main()
