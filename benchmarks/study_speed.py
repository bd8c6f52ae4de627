"""A whole tuning study by dlkit, and as users of other libraries write it: CPU and wall time, cold and warm cache.

    python -m benchmarks.study_speed --repeats 3
    python -m benchmarks.study_speed --ways dlkit scan --share 0.1

Six optimizers on the digits MLP, in one study: 16 points on 2 seeds, the best on 20 further seeds, 600 steps with 20
evaluations each: 312 trials. Each way is a process of its own, and its children's time is counted; the cache of
compiled programs is empty at first (cold) and then as that run left it (warm). The points are those that dlkit draws,
but optuna draws its own. Torch trains a tenth of the trials, and the time of training is multiplied. dlkit stores all
curves, tests and writes a report; the others print medians.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from benchmarks import CORES
from benchmarks.peers.studies import WAYS
from dlkit.bench import data, optimizers
from dlkit.bench.spec import planner
from dlkit.bench.spec.budget import Budget
from dlkit.bench.spec.entries import Contender, Experiment, ProblemChoice

OPTIMIZERS = ("sgd", "momentum", "rmsprop", "adagrad", "adam", "adamw")
POINTS, TUNING_SEEDS, SEEDS = 16, 2, 20
TORCH_SHARE = 0.1
SPEC = """name = "study"
problems = ["digits-mlp"]
optimizers = [{optimizers}]
[budget]
studies = 1
tuning_points = {points}
tuning_seeds = {tuning_seeds}
seeds = {seeds}
evaluations = 20
"""


def write_inputs(folder: Path, points: int, seeds: int) -> int:
    """Writes the spec, and the same study for the others; returns how many trials dlkit plans."""
    names = ", ".join(f'"{name}"' for name in OPTIMIZERS)
    spec = SPEC.format(optimizers=names, points=points, tuning_seeds=TUNING_SEEDS, seeds=seeds)
    (folder / "spec.toml").write_text(spec)
    asked = Experiment(
        name="study",
        problems=(ProblemChoice(problem="digits-mlp"),),
        optimizers=tuple(Contender(optimizer=name) for name in OPTIMIZERS),
        budget=Budget(studies=1, tuning_points=points, tuning_seeds=TUNING_SEEDS, seeds=seeds),
    )
    plan = planner.plan(asked).plan
    entries = {}
    for contender in plan.contenders:
        rows = plan.tuning_trials(plan.problems[0], contender)
        space = optimizers.get(contender.label).space
        entries[contender.label] = {
            "points": [dict(row[0].hyperparameters) for row in rows],
            "space": {name: [each.low, each.high, each.scale] for name, each in space.items()},
        }
    study = {
        "optimizers": entries,
        "tuning_seeds": list(range(TUNING_SEEDS)),
        "seeds": list(range(TUNING_SEEDS, TUNING_SEEDS + seeds)),
    }
    (folder / "study.json").write_text(json.dumps(study))
    digits = data.digits()
    arrays = {
        f"{part}.{name}": array
        for part in ("train", "validation", "test")
        for name, array in getattr(digits, part).items()
    }
    np.savez(folder / "data.npz", **arrays)
    return len(OPTIMIZERS) * (points * TUNING_SEEDS + seeds)


def timed(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> tuple[float, float, str]:
    """Runs a command; returns CPU seconds, of its children too, seconds of wall time, and what it printed."""
    output = folder / "output"
    began = time.perf_counter()
    with output.open("w") as file:
        process = subprocess.Popen(command, cwd=folder, env=dict(environment), stdout=file, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    text = output.read_text()
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{text[-2000:]}")
    return usage.ru_utime + usage.ru_stime, time.perf_counter() - began, text


def run(way: str, folder: Path, share: float) -> tuple[float, float, str]:
    """Runs a study once; returns CPU and wall seconds, and a remark."""
    cache = folder / "cache"
    root = str(Path(__file__).parents[1])
    inherited = {name: value for name, value in os.environ.items() if name != "NPROC"}
    environment = {
        **inherited,
        "PYTHONPATH": os.pathsep.join([root, *filter(None, [inherited.get("PYTHONPATH")])]),
        "DLKIT_CACHE": str(cache),
    }
    if way == "dlkit":
        shutil.rmtree(folder / "runs", ignore_errors=True)
        command = [sys.executable, "-m", "dlkit.bench.cli", "run", str(folder / "spec.toml")]
        return (*timed(command, folder, environment)[:2], "")
    environment |= {
        "JAX_COMPILATION_CACHE_DIR": str(cache),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    own = min(TORCH_SHARE / share, 1) if way == "optuna+torch" else 1
    command = [sys.executable, "-m", "benchmarks.peers.studies", way, str(folder), "--share", str(own)]
    cpu, wall, text = timed(command, folder, environment)
    said = json.loads(text.strip().splitlines()[-1])
    planned = len(OPTIMIZERS) * (round(POINTS * share) * TUNING_SEEDS + round(SEEDS * share))
    more = said["seconds"] * (planned / said["trials"] - 1)
    accuracy = np.median(list(said["accuracy"].values()))
    scaled = f", {said['trials']} trials scaled to {planned}" if said["trials"] != planned else ""
    return cpu + more, wall + more, f"median accuracy {accuracy:.3f}{scaled}"


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ways = ["dlkit", *WAYS]
    parser.add_argument("--ways", nargs="+", choices=ways, default=ways)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--share", type=float, default=1.0, help="of the points and seeds: 0.1 for a quick look")
    parser.add_argument("--json", type=Path, help="where to write the seconds")
    asked = parser.parse_args()
    os.sched_setaffinity(0, set(CORES))
    least: dict[str, list[float]] = {}
    for _ in range(asked.repeats):
        for way in asked.ways:
            with tempfile.TemporaryDirectory() as name:
                folder = Path(name)
                trials = write_inputs(folder, round(POINTS * asked.share), round(SEEDS * asked.share))
                row = []
                for state in ("cold", "warm"):
                    cpu, wall, remark = run(way, folder, asked.share)
                    print(f"  {way}, {state}: {cpu:.1f} s of CPU, {wall:.1f} s; {remark}", flush=True)
                    row += [cpu, wall]
            least[way] = [min(pair) for pair in zip(least.get(way, row), row, strict=True)]
            if asked.json:
                asked.json.write_text(json.dumps({"trials": trials, "seconds": least}, indent=1))
    print(f"\n{trials} trials, {len(CORES)} cores, least of {asked.repeats}\n")
    print("| way | cold, CPU s | cold, wall s | warm, CPU s | warm, wall s |\n|---|---:|---:|---:|---:|")
    for way, row in least.items():
        print(f"| {way} | {' | '.join(f'{each:.1f}' for each in row)} |")


if __name__ == "__main__":
    main()
