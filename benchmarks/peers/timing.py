"""Loops beside each other: each in turn, again and again, and the least time that each has taken."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import jax


@dataclass(frozen=True)
class Loop:
    """A way to train a network.

    Attributes:
        run: trains it once, from its start, and returns the test metric at the end.
        parameters: how many numbers it trains.
        trials: how many trials a run trains side by side.
    """

    run: Callable[[], float]
    parameters: int = 0
    trials: int = 1


def microseconds(loops: Mapping[str, Loop], *, steps: int, repeats: int) -> dict[str, list[float]]:
    """Returns CPU time per step and trial, [repeats] of each loop; a first run of each compiles and is not counted."""
    times: dict[str, list[float]] = {name: [] for name in loops}
    for name, loop in loops.items():
        reached = loop.run()
        print(f"  {name}: {reached:.4f} on test after {steps} steps, {loop.parameters:,} parameters", flush=True)
    for _ in range(repeats):
        for name, loop in loops.items():
            began = time.process_time()
            loop.run()
            times[name].append((time.process_time() - began) / steps / loop.trials * 1e6)
    return times


def print_table(times: Mapping[str, list[float]], reference: str) -> None:
    """Prints the least times, and their ratios to the reference's, as a Markdown table."""
    print(f"\nCPU time on one core, {len(times[reference])} interleaved repeats, jax {jax.__version__}\n")
    print(f"| loop | µs/step | to {reference} |\n|---|---:|---:|")
    for name, each in times.items():
        print(f"| {name} | {min(each):,.1f} | {min(each) / min(times[reference]):.2f} |")
