"""A thousand replays: one study over networks, games and convex problems, run and replayed in every way there is.

The study runs on two workers, is interrupted and goes on, its folder is moved, and every trial is replayed by the
command line on one core. Then it runs in one process, and on four workers, and every trial is compared with the first.
Linear algebra has as many threads as it takes by itself wherever dlkit does not say otherwise.

``python -m benchmarks.replays``; ``--seeds 1`` for a quick look.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from dlkit import bench
from dlkit.bench.machine.preparation import thread_variables

PROBLEMS = (
    *("digits-mlp", "digits-cnn", "text-lstm", "digits-transformer", "ring-gan"),
    *("softmax-regression", "ridge-regression", "lasso"),
)
OPTIMIZERS = ("adam", "momentum", "soap", "muon")
SPEC = """
name = "replays"
problems = {problems}
optimizers = {optimizers}
[budget]
steps = 4
evaluations = 2
studies = 1
tuning_points = 8
tuning_seeds = 1
seeds = {seeds}
"""


def dlkit(work: Path, *arguments: str, cores: int | None = None, seconds: float | None = None) -> tuple[str, float]:
    """Runs the command as a user does, on so many cores; interrupts it after so many seconds.

    Returns:
        What it prints, and how long it took.
    """
    environment = {name: value for name, value in os.environ.items() if name not in thread_variables()}
    pinned = [str(shutil.which("taskset")), "--cpu-list", ",".join(map(str, range(cores)))] if cores else []
    begun = time.monotonic()
    hearing = (
        "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); os.execv(sys.argv[1], sys.argv[1:])"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", hearing, *pinned, sys.executable, "-m", "dlkit.bench.cli", *arguments],
        cwd=work,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        out, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate()
    return out, time.monotonic() - begun


def numbers(folder: Path) -> dict[str, tuple[bytes, ...]]:
    """Trial -> the bits of its curves and of its scores of examples."""
    records = bench.open_run(folder).summary.records
    return {
        name: (
            *(curve.tobytes() for _, curve in sorted(outcome.curves.items())),
            b"" if outcome.example_scores is None else outcome.example_scores.tobytes(),
        )
        for name, (outcome, _) in records.items()
    }


def main() -> None:
    """Prints a row for each way."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=24)
    parser.add_argument("--after", type=float, default=60.0, help="seconds after which the first run is interrupted")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        text = SPEC.format(problems=list(PROBLEMS), optimizers=list(OPTIMIZERS), seeds=given.seeds)
        (work / "spec.toml").write_text(text)
        run = ("run", "spec.toml", "--no-report", "--yes", "--folder")
        _, first = dlkit(work, *run, "two", "--workers", "2", seconds=given.after)
        done = len(bench.open_run(work / "two").summary.records)
        _, second = dlkit(work, *run, "two", "--workers", "2")
        shutil.move(work / "two", work / "moved")
        expected = numbers(work / "moved")
        print(f"two workers, interrupted after {done}: {len(expected)} trials, {first + second:.0f} s", flush=True)
        out, seconds = dlkit(work, "replay", "moved", "--all", cores=1)
        print(f"replayed from the moved folder on one core, {seconds:.0f} s: {out.strip()}", flush=True)
        for way, options in {"one process": ("--executor", "inline"), "four workers": ("--workers", "4")}.items():
            _, seconds = dlkit(work, *run, way, *options)
            found = numbers(work / way)
            same = sum(found.get(trial) == bits for trial, bits in expected.items())
            print(f"{way}, {seconds:.0f} s: {same} of {len(expected)} trials have the same bits", flush=True)


if __name__ == "__main__":
    main()
