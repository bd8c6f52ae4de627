"""Trials per second against the number of lanes, on this device: the digits MLP and an LSTM, 200 steps of Adam.

Lanes are what trials are vectorized over on an accelerator; the first row trains one trial at a time, as a CPU does.
Where torch is installed, its eager loop is the last row of the LSTM's table. Run it on the device in question:
`python -m benchmarks.lanes_speed`; `--widest 64` stops earlier. Compilation is not counted; the best of three is.
"""

import argparse
import importlib.util
import time
from collections.abc import Sequence

import jax

from benchmarks.loops import EVALUATIONS, VALUES, torch_loop
from benchmarks.network_speed import STEPS, dlkit_lstm, problem, torch_lstm
from dlkit import models
from dlkit.bench import optimizers
from dlkit.bench.machine.environment import configure_jax
from dlkit.bench.problems import Problem
from dlkit.bench.training.curve import Request
from dlkit.bench.training.lanes import ALONE, Lanes, is_out_of_memory
from dlkit.bench.training.program import compile_problem, compile_program
from dlkit.bench.training.recipe import Recipe
from dlkit.bench.training.trajectory import train_trials

WIDTHS = tuple(4**power for power in range(7))  # 1, 4, ... 4096
REPEATS = 3


def trials_per_second(trained: Problem, lanes: Lanes) -> float:
    """Trains as many trials as there are lanes, at once."""
    recipe = Recipe(optimizer=optimizers.get("adam"), steps=STEPS, evaluations=EVALUATIONS)
    program = compile_program(compile_problem(trained, lanes), recipe)
    requests = [Request(VALUES, "final", seed) for seed in range(lanes.trials)]
    train_trials(program, requests)
    seconds = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        train_trials(program, requests)
        seconds.append(time.perf_counter() - began)
    return lanes.trials / min(seconds)


def torch_per_second(trained: Problem) -> float | None:
    """One trial after the other in eager torch; None where there is no such loop here."""
    if importlib.util.find_spec("torch") is None or trained.name != "lstm":
        return None
    loop = torch_loop(trained, STEPS, torch_lstm)
    loop()
    seconds = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        loop()
        seconds.append(time.perf_counter() - began)
    return 1 / min(seconds)


def print_table(trained: Problem, widths: Sequence[int]) -> None:
    """Prints trials per second and the ratio to one trial at a time as a Markdown table."""
    device = jax.local_devices()[0].device_kind
    print(f"\n{trained.name}, {STEPS} steps, {device}, jax {jax.__version__}\n")
    print("| lanes | trials/s | to one at a time |\n|---:|---:|---:|")
    alone = trials_per_second(trained, ALONE)
    print(f"| one at a time | {alone:,.2f} | 1.00 |")
    for width in widths:
        try:
            speed = trials_per_second(trained, Lanes(width))
        except jax.errors.JaxRuntimeError as error:
            if not is_out_of_memory(error):
                raise
            print(f"| {width} | out of memory | – |")
            break
        print(f"| {width} | {speed:,.2f} | {speed / alone:.2f} |")
    if (speed := torch_per_second(trained)) is not None:
        print(f"| torch, eager | {speed:,.2f} | {speed / alone:.2f} |")


def main() -> None:
    """Measures both problems."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--widest", type=int, default=WIDTHS[-1], help="the largest number of lanes")
    widest = parser.parse_args().widest
    configure_jax()
    widths = [width for width in WIDTHS if width <= widest]
    print_table(problem("mlp", models.mlp((64, 64, 10)), (64,)), widths)
    print_table(problem("lstm", dlkit_lstm(), (8, 8)), widths)


if __name__ == "__main__":
    main()
