"""What it costs to judge on another split than the one that selects: python -m benchmarks.judging_cost [problem].

CPU seconds of a whole trial, the smallest of several, in turn: a tuning trial (evaluates on validation), a final one
(on test), and both with early stopping (which looks at validation too).
"""

import sys
import time

import numpy as np

from dlkit.bench.machine.preparation import prepare_process
from dlkit.bench.optimizers import get as get_optimizer
from dlkit.bench.plan.policies import EarlyStopping
from dlkit.bench.problems import catalog
from dlkit.bench.training.program import compile_problem, compile_program
from dlkit.bench.training.recipe import Recipe
from dlkit.bench.training.trajectory import train_trial

REPEATS = 15


def main() -> None:
    """Prints a table."""
    name = sys.argv[1] if len(sys.argv) > 1 else "digits-mlp"
    prepare_process()
    problem = catalog.get(name)
    shared = compile_problem(problem)
    adam = get_optimizer("adam")
    values = {"learning_rate": 3e-3, "b1": 0.9, "b2": 0.999}
    values = {key: values[key] for key in adam.space}
    programs, compiling = {}, {}
    for stopping in (None, EarlyStopping(patience=10_000)):
        recipe = Recipe(optimizer=adam, steps=problem.steps, evaluations=20, stopping=stopping)
        program = compile_program(shared, recipe)
        for stage in ("tuning", "final"):
            label = f"{stage}{', early stopping' if stopping else ''}"
            programs[label] = (program, stage)
            began = time.process_time()
            train_trial(program, values, stage=stage, seed=0)
            compiling[label] = time.process_time() - began
    seconds = dict.fromkeys(programs, np.inf)
    for _ in range(REPEATS):
        for label, (program, stage) in programs.items():
            began = time.process_time()
            train_trial(program, values, stage=stage, seed=1)
            seconds[label] = min(seconds[label], time.process_time() - began)
    print(f"{name}: {problem.steps} steps, 20 evaluations, examples {problem.dataset.sizes}")
    base = seconds["tuning"]
    for label, found in seconds.items():
        print(f"{label:24} {found:.4f} s  {100 * (found / base - 1):+5.1f} %   first call {compiling[label]:.2f} s")


if __name__ == "__main__":
    main()
