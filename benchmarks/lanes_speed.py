"""Trials per second against the number of lanes, on this device: the digits MLP and an LSTM, 200 steps of Adam.

Lanes are what trials are vectorized over on an accelerator; the first row trains one trial at a time, as a CPU does.
Where torch is installed, its eager loop is the last row of the LSTM's table. Run it on the device in question:
`python -m benchmarks.lanes_speed`; `--widest 64` stops earlier. Compilation is not counted; the best of three is.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace

import jax

from benchmarks.peers import own, torch
from benchmarks.peers.tasks import Task, task
from benchmarks.peers.timing import Loop
from dlkit.bench.machine.environment import configure_jax
from dlkit.bench.training.lanes import ALONE, Lanes, is_out_of_memory

WIDTHS = tuple(4**power for power in range(7))  # 1, 4, ... 4096
REPEATS = 3


def trials_per_second(loop: Loop) -> float:
    """Trains as many trials as there are lanes, at once."""
    loop.run()
    seconds = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        loop.run()
        seconds.append(time.perf_counter() - began)
    return loop.trials / min(seconds)


def print_table(trained: Task, widths: Sequence[int], *, with_torch: bool) -> None:
    """Prints trials per second and the ratio to one trial at a time as a Markdown table."""
    device = jax.local_devices()[0].device_kind
    print(f"\n{trained.name}, {trained.steps} steps, {device}, jax {jax.__version__}\n")
    print("| lanes | trials/s | to one at a time |\n|---:|---:|---:|")
    alone = trials_per_second(own.loop(trained, ALONE))
    print(f"| one at a time | {alone:,.2f} | 1.00 |")
    for width in widths:
        try:
            speed = trials_per_second(own.loop(trained, Lanes(width)))
        except jax.errors.JaxRuntimeError as error:
            if not is_out_of_memory(error):
                raise
            print(f"| {width} | out of memory | – |")
            break
        print(f"| {width} | {speed:,.2f} | {speed / alone:.2f} |")
    if with_torch:
        speed = trials_per_second(torch.loop(trained))
        print(f"| torch, eager | {speed:,.2f} | {speed / alone:.2f} |")


def main() -> None:
    """Measures both problems."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--widest", type=int, default=WIDTHS[-1], help="the largest number of lanes")
    widest = parser.parse_args().widest
    configure_jax()
    widths = [width for width in WIDTHS if width <= widest]
    print_table(replace(task("MLP"), steps=200), widths, with_torch=False)
    print_table(replace(task("LSTM"), steps=200), widths, with_torch=torch.INSTALLED)


if __name__ == "__main__":
    main()
