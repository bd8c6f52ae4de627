"""A watch on speed: what got slower since ratios were committed for this kind of machine? `make bench-quick`.

    python -m benchmarks.speed_watch            compares with benchmarks/ratios/KIND.json; writes it where there is none
    python -m benchmarks.speed_watch --write    keeps what was measured, to be committed

Each number is a ratio to something that dlkit does not change, measured in turns with it: steps and compilation to a
loop of plain matrix products, the MLP's host loop to its hand-written scan, the import of what a worker needs to that
of JAX. Least CPU times of some repeats, on one core. It says what it found and fails for nothing: a busy machine alone
can make 10 %.
"""

import argparse
import json
import os
import platform
import re
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import jax
import jax.numpy as jnp

from benchmarks.peers import fused, own
from benchmarks.peers.tasks import MAKERS, Task, task

FOLDER = Path(__file__).parent / "ratios"
TOLERANCE = 1.10
REPEATS, SHARE = 5, 0.1  # of the steps of a run of `step_speed`
COMPILED, COMPILATIONS = ("MLP", "CNN"), 3
PRODUCTS, SIZE = 200, 256


class Comparison(NamedTuple):
    """Ratios beside the committed ones.

    Attributes:
        slower: name -> how many times the committed ratio, above the tolerance.
        faster: name -> the same, where it has fallen as far.
        new: names without a committed ratio.
        missing: names that were not measured.
    """

    slower: Mapping[str, float]
    faster: Mapping[str, float]
    new: tuple[str, ...]
    missing: tuple[str, ...]


def compared(committed: Mapping[str, float], measured: Mapping[str, float]) -> Comparison:
    """Compares ratios; the worst is first."""
    change = {name: measured[name] / committed[name] for name in measured if name in committed}
    worst = sorted(change, key=lambda name: -change[name])
    return Comparison(
        {name: change[name] for name in worst if change[name] > TOLERANCE},
        {name: change[name] for name in reversed(worst) if change[name] < 1 / TOLERANCE},
        tuple(name for name in measured if name not in committed),
        tuple(name for name in committed if name not in measured),
    )


def sentences(comparison: Comparison) -> list[str]:
    """Returns what a comparison says, a line each."""
    lines = [f"slower: {name}, {change:.2f} times as long" for name, change in comparison.slower.items()]
    lines += [f"faster: {name}, {change:.2f} times as long" for name, change in comparison.faster.items()]
    lines += [f"new, not compared: {name}" for name in comparison.new]
    lines += [f"not measured: {name}" for name in comparison.missing]
    if comparison.slower:
        return [*lines, "another run tells whether it was the machine"]
    return [*lines, f"nothing is slower by more than {TOLERANCE - 1:.0%}"]


def machine_kind() -> str:
    """Returns the CPU's model and the version of JAX, as the name of a file."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        text = ""
    fields = dict(re.findall(r"^(model name|model)\s*:\s*(.*)$", text, re.MULTILINE))
    model = f"{fields.get('model name') or platform.processor() or platform.machine()} {fields.get('model', '')}"
    return re.sub(r"[^a-z0-9.]+", "-", f"{model} jax-{jax.__version__}".lower()).strip("-")


def products() -> Callable[[], object]:
    """A compiled loop of plain matrix products."""
    looped = jax.jit(lambda x: jax.lax.fori_loop(0, PRODUCTS, lambda _, y: y @ x, x))
    matrix = jnp.eye(SIZE)
    return lambda: jax.block_until_ready(looped(matrix))


def least(ways: Mapping[str, Callable[[], object]]) -> dict[str, float]:
    """Returns the least CPU seconds of each way, in turns, after a first time that is not counted."""
    seconds = dict.fromkeys(ways, float("inf"))
    for repeat in range(REPEATS + 1):
        for name, way in ways.items():
            began = time.process_time()
            way()
            if repeat:
                seconds[name] = min(seconds[name], time.process_time() - began)
    return seconds


def import_seconds(module: str) -> float:
    """Returns the least CPU seconds of a process that imports a module."""
    taken = []
    for _ in range(REPEATS):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", f"import {module}"], check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        taken.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(taken)


def compilation_seconds(trained: Task) -> float:
    """Returns the least CPU seconds of a first run, from which a second one is taken away."""
    taken = []
    for _ in range(COMPILATIONS):
        with TemporaryDirectory() as folder:
            os.environ["DLKIT_CACHE"] = folder  # an empty one
            run = own.loop(trained).run
            began = time.process_time()
            run()
            first = time.process_time()
            run()
            taken.append(2 * first - began - time.process_time())
    return min(taken)


def measured() -> dict[str, float]:
    """Measures every ratio."""
    product = products()
    ratios = {}
    for network in MAKERS:
        trained = task(network, SHARE)
        ways = {"products": product, "dlkit": own.loop(trained).run}
        if network == "MLP":
            ways["fused"] = fused.loop(trained).run
        seconds = least(ways)
        ratios[f"{network}: step"] = seconds["dlkit"] / trained.steps / seconds["products"] * PRODUCTS
        if "fused" in ways:
            ratios[f"{network}: to a scan by hand"] = seconds["dlkit"] / seconds["fused"]
        print(f"  {network}: a step {ratios[f'{network}: step']:.3g} products of {SIZE} x {SIZE}", flush=True)
    for network in COMPILED:
        ratios[f"{network}: compilation"] = compilation_seconds(task(network, SHARE)) / seconds["products"]
    ratios["import of a worker"] = import_seconds("dlkit.bench.execution.work") / import_seconds("jax")
    return {name: float(f"{ratio:.4g}") for name, ratio in ratios.items()}


def main() -> None:
    """Measures, and compares or writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="keep what is measured as this kind of machine's ratios")
    is_written = parser.parse_args().write
    path = FOLDER / f"{machine_kind()}.json"
    ratios = measured()
    if path.exists():
        print("\n".join(sentences(compared(json.loads(path.read_text()), ratios))))
    else:
        print(f"no ratios of this kind of machine are known yet: {path.stem}")
    if is_written or not path.exists():
        FOLDER.mkdir(exist_ok=True)
        path.write_text(json.dumps(ratios, indent=1) + "\n")
        print(f"written: {path}; commit it to compare later runs with this one")


if __name__ == "__main__":
    main()
