"""What it costs a study that nothing is lost: as it is, and without each of what sees to that.

    python -m benchmarks.safety_cost                    some minutes
    python -m benchmarks.safety_cost --share 0.2        a look at how it goes

The quickstart's study of the digits MLP, six optimizers and 312 trials, with compiled programs at hand. Each way is a
process of its own, they take turns, and the least CPU time of a process and its children counts; a run is resumed and
its trials are read, too. What is taken away is taken away here: dlkit has no switch for it.
"""

import argparse
import resource
import sqlite3
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dlkit import bench
from dlkit.bench.execution import resources
from dlkit.bench.store import database, opening, pages

OPTIMIZERS = ("sgd", "momentum", "rmsprop", "adagrad", "adam", "adamw")
POINTS, SEEDS = 16, 20


def without_digests() -> None:
    """Rows are written and read without a hash of their content."""
    database.row_digest = pages.row_digest = lambda table, row: bytes(32)  # type: ignore[attr-defined]


def without_durability() -> None:
    """SQLite does not wait until the disk has what it wrote, and may lose it."""

    def hasty(connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA synchronous=OFF")

    database.make_durable = opening.make_durable = hasty  # type: ignore[attr-defined]


def without_both() -> None:
    """Neither digests nor durability."""
    without_digests()
    without_durability()


def nothing() -> None:
    """All as it is."""


WAYS: dict[str, tuple[Callable[[], None], dict[str, Any]]] = {
    "as it is, one worker": (nothing, {"workers": 1}),
    "without checkpoints": (nothing, {"workers": 1, "checkpoint_minutes": 0}),
    "without digests": (without_digests, {"workers": 1}),
    "without waiting for the disk": (without_durability, {"workers": 1}),
    "in this process": (nothing, {"executor": "inline"}),
    "in this process, without all of that": (without_both, {"executor": "inline", "checkpoint_minutes": 0}),
}


def study(way: str, folder: Path, share: float) -> float:
    """Runs the study once, and once more with all trials there; returns CPU seconds, of children that ended too."""
    change, asked = WAYS[way]
    change()
    for _ in range(2):
        bench.compare(
            problems=["digits-mlp"],
            optimizers=list(OPTIMIZERS),
            budget=bench.Budget(
                studies=1, tuning_points=POINTS, tuning_seeds=2, seeds=max(2, round(SEEDS * share)), evaluations=20
            ),
            folder=folder,
            resources=resources.Resources(**asked),
            progress=False,
        )
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--share", type=float, default=1.0, help="of the seeds")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.way:
        print(study(asked.way, asked.folder, asked.share))
        return
    taken: dict[str, list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as name:
        for repeat in range(asked.repeats + 1):  # the first fills the cache of compiled programs
            for number, way in enumerate(WAYS):
                folder = Path(name) / f"{repeat}-{number}"
                words = ["--way", way, "--folder", str(folder), "--share", str(asked.share)]
                command = [sys.executable, "-m", "benchmarks.safety_cost", *words]
                printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
                if repeat:
                    taken[way].append(float(printed.splitlines()[-1]))
    least = {way: min(each) for way, each in taken.items()}
    base = least["in this process, without all of that"]
    print(f"least CPU time of {asked.repeats}\n\n| way | s | ratio |\n|---|---:|---:|")
    for way, seconds in least.items():
        print(f"| {way} | {seconds:.1f} | {seconds / base:.3f} |")


if __name__ == "__main__":
    main()
