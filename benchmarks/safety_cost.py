"""What it costs a study that nothing is lost: how much of its CPU time each of what sees to that takes.

    python -m benchmarks.safety_cost                    two minutes
    python -m benchmarks.safety_cost --share 0.2        a look at how it goes

The quickstart's study of the digits MLP, six optimizers and 312 trials, with compiled programs at hand, in this process
and on one worker, in turns; then it is resumed with all trials there, and read. What the store, digests, the wait for
the disk and checkpoints take is a few hundredths of a second of twenty: less than two runs differ by. So it is clocked
where it happens, not taken away. A worker of its own costs what a second process takes to start, once a run.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

from dlkit import bench
from dlkit.bench.execution import checkpoints, slots, work
from dlkit.bench.execution.resources import Resources
from dlkit.bench.store import database
from dlkit.bench.store.store import Store

OPTIMIZERS = ("sgd", "momentum", "rmsprop", "adagrad", "adam", "adamw")
POINTS, SEEDS = 16, 20
WAYS: dict[str, dict[str, Any]] = {"in this process": {"executor": "inline"}, "on one worker": {"workers": 1}}
WHOLE = "the whole"
# What a part is, and where its functions are looked up.
PARTS: dict[str, list[tuple[Any, str]]] = {
    "trials written": [(Store, "add"), (Store, "keep_broken")],
    "trials read": [(Store, "records")],
    "checkpoints, none due": [
        (work, "keeper_of"),
        (slots, "forget_checkpoints"),
        (checkpoints.FileKeeper, "restored"),
        (checkpoints.FileKeeper, "keep"),
    ],
    "of all that, digests": [(database, "row_digest"), (database, "digests_of"), (database, "sum_of")],
}


def clocked(function: Callable[..., Any], part: str, spent: dict[str, list[float]]) -> Callable[..., Any]:
    """A function that notes its seconds of CPU and of wall time."""

    @wraps(function)
    def timed(*arguments: Any, **named: Any) -> Any:
        cpu, wall = time.process_time(), time.perf_counter()
        try:
            return function(*arguments, **named)
        finally:
            spent[part][0] += time.process_time() - cpu
            spent[part][1] += time.perf_counter() - wall

    return timed


def study(way: str, folder: Path, share: float) -> dict[str, list[float]]:
    """Runs the study once, and once more with all trials there; returns seconds of CPU and of wall time by part."""
    spent: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for part, places in PARTS.items():
        for owner, name in places:
            setattr(owner, name, clocked(getattr(owner, name), part, spent))
    began = time.perf_counter()
    for _ in range(2):
        bench.compare(
            problems=["digits-mlp"],
            optimizers=list(OPTIMIZERS),
            budget=bench.Budget(
                studies=1, tuning_points=POINTS, tuning_seeds=2, seeds=max(2, round(SEEDS * share)), evaluations=20
            ),
            folder=folder,
            resources=Resources(**WAYS[way]),
            progress=False,
        )
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    whole = sum(each.ru_utime + each.ru_stime for each in used), time.perf_counter() - began
    return {WHOLE: list(whole), **spent}


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--share", type=float, default=1.0, help="of the seeds")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.way:
        print(json.dumps(study(asked.way, asked.folder, asked.share)))
        return
    taken: dict[str, list[dict[str, list[float]]]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as name:
        for repeat in range(asked.repeats + 1):  # the first fills the cache of compiled programs
            for number, way in enumerate(WAYS):
                folder = Path(name) / f"{repeat}-{number}"
                words = ["--way", way, "--folder", str(folder), "--share", str(asked.share)]
                command = [sys.executable, "-m", "benchmarks.safety_cost", *words]
                printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
                if repeat:
                    taken[way].append(json.loads(printed.splitlines()[-1]))
    least = {way: min(each, key=lambda parts: parts[WHOLE][0]) for way, each in taken.items()}
    whole = least["in this process"].pop(WHOLE)
    print(f"least of {asked.repeats}\n\n| part | CPU, s | wall, s | of the whole's CPU, % |\n|---|---:|---:|---:|")
    print(f"| the study in this process | {whole[0]:.1f} | {whole[1]:.1f} | 100.0 |")
    for part, (cpu, wall) in least["in this process"].items():
        print(f"| {part} | {cpu:.3f} | {wall:.3f} | {100 * cpu / whole[0]:.2f} |")
    cpu, wall = least["on one worker"][WHOLE]
    print(f"| the study on one worker | {cpu:.1f} | {wall:.1f} | {100 * cpu / whole[0]:.1f} |")


if __name__ == "__main__":
    main()
