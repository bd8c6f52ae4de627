"""What it costs to begin: processor seconds until a problem's and an optimizer's first trial, cold and warm.

    python -m benchmarks.compile_time
    python -m benchmarks.compile_time --problems digits-cnn --optimizers adam soap

Each problem in three new processes: with an empty cache folder, with what the first one left there, and with XLA's
cache alone, as for one's own functions. Counted are tracing, lowering, compiling or loading, and a short trial itself;
`problem` is its data and what all optimizers on it share, with the first one's tiny `begin`.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence

from dlkit.bench import optimizers, problems
from dlkit.bench.machine.preparation import prepare_process
from dlkit.bench.plan.space import Range
from dlkit.bench.training.curve import Request
from dlkit.bench.training.program import compile_problem, compile_program
from dlkit.bench.training.recipe import Recipe
from dlkit.bench.training.trajectory import begin, train_trials

MODES = {"cold": "key", "warm": "key", "one's own, warm": ""}
EVALUATIONS = 10


def seconds_of(problem_name: str, names: Sequence[str], key: str) -> Mapping[str, float]:
    """Returns the processor seconds of each part, in this process."""
    prepare_process()
    before = time.process_time()
    problem = problems.get(problem_name)
    shared = compile_problem(problem, key=key and problem_name)
    found = {}
    for name in names:
        optimizer = optimizers.get(name)
        static = {choice: options[0] for choice, options in optimizer.static.items()}
        recipe = Recipe(optimizer=optimizer, steps=EVALUATIONS, evaluations=EVALUATIONS, static=static)
        values = {each: span.low if isinstance(span, Range) else span for each, span in optimizer.space.items()}
        program = compile_program(shared, recipe, key=key and f"{problem_name} {name}")
        requests = [Request(values, "tuning", 0)]
        if not found:
            begun = begin(program, requests)
            shared.evaluate(begun.carry.params, begun.carry.state, begun.arrays["test"])
            after = time.process_time()
            found["problem"], before = after - before, after
        train_trials(program, requests)
        after = time.process_time()
        found[name], before = after - before, after
    return found


def main() -> None:
    """Prints a table for each problem."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", nargs="+", default=["digits-mlp", "digits-cnn"])
    parser.add_argument("--optimizers", nargs="+", default=["sgd", "adam", "lion", "rmsprop"])
    parser.add_argument("--mode", choices=MODES, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.mode:
        print(json.dumps(seconds_of(asked.problems[0], asked.optimizers, MODES[asked.mode])))
        return
    for problem in asked.problems:
        with tempfile.TemporaryDirectory() as folder:
            rows = {mode: _in_new_process(problem, asked.optimizers, mode, folder) for mode in MODES}
        print(f"{problem:16}" + "".join(f"{part:>12}" for part in ["problem", *asked.optimizers]))
        for mode, row in rows.items():
            print(f"{mode:16}" + "".join(f"{each:12.2f}" for each in row.values()), flush=True)


def _in_new_process(problem: str, names: Sequence[str], mode: str, folder: str) -> Mapping[str, float]:
    command = [sys.executable, "-m", "benchmarks.compile_time", "--problems", problem, "--optimizers", *names]
    surroundings = {**os.environ, "DLKIT_CACHE": folder, "NPROC": "1"}
    done = subprocess.run([*command, "--mode", mode], env=surroundings, check=True, capture_output=True, text=True)
    found: Mapping[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


if __name__ == "__main__":
    main()
