"""What a run costs as it grows: planned, shown, taken up again. Nothing is trained: outcomes are made up.

    python -m benchmarks.growth                     10,400 and 100,000 trials, and curves of 10,000 points: ten minutes
    python -m benchmarks.growth --trials 10400      one size

Each figure is of a process of its own: its seconds of CPU, imports included, and the most memory that it held. What
digests cost is measured in one process: rows read and written with them, and the digests alone.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dlkit import bench
from dlkit.bench.plan.plan import Plan
from dlkit.bench.plan.planned import PlannedContender, PlannedProblem
from dlkit.bench.plan.trials import Evaluations, Outcome, Trial
from dlkit.bench.store.row_digests import row_digest
from dlkit.bench.store.store import Store
from dlkit.bench.store.tables import TABLES
from dlkit.bench.tuning.history import History
from dlkit.bench.tuning.winner import tune

__all__ = ["experiment", "write_run"]

SIZES = {10_400: (13, 8, 4), 100_000: (25, 16, 10)}  # contenders, problems, studies of 20 points and 5 seeds
STEPS = 10_000


def experiment(contenders: int, problems: int, studies: int, *, evaluations: int = 10) -> "bench.Experiment":
    """An experiment of one optimizer with many spaces on one problem under many labels: no two trials are alike."""
    optimizers = tuple(
        bench.Contender(
            optimizer="momentum",
            label=f"contender {number}",
            space={
                "learning_rate": [1e-3 * (1 + number / 1000), 1.0],
                "momentum": 0.9,
            },
        )
        for number in range(contenders)
    )
    every = tuple(bench.ProblemChoice(problem="quadratic", label=f"problem {number}") for number in range(problems))
    budget = bench.Budget(
        steps=STEPS, evaluations=evaluations, studies=studies, tuning_points=20, tuning_seeds=1, seeds=5
    )
    return bench.Experiment(name="growth", problems=every, optimizers=optimizers, budget=budget)


def outcome(plan: Plan, problem: PlannedProblem, place: int, trial: Trial, rng: np.random.Generator) -> Outcome:
    """A curve that falls to a value that depends on the contender's place, the setting and chance."""
    off = abs(math.log10(trial.hyperparameters["learning_rate"]) + 1.5)
    end = 10 ** (-2 + 0.5 * off + 0.02 * place + 0.1 * rng.normal())
    along = np.arange(plan.evaluations + 1) / plan.evaluations
    curve = (end + (1 - end) * np.exp(-5 * along)).astype(np.float32)
    steps = np.round(along * problem.steps).astype(np.int64)
    curves = {**dict.fromkeys(problem.metrics, curve), "training_loss": curve}
    ended = (trial, "finished", "", "", None, 0.5, 0.1)
    values = dict.fromkeys(problem.metrics, float(end))
    return Outcome(*ended, steps, curves, values, Evaluations(problem.steps))  # type: ignore[arg-type]


def outcomes_of(plan: Plan, problem: PlannedProblem, contender: PlannedContender, place: int) -> list[Outcome]:
    """All outcomes of a contender on a problem."""
    rng, made = np.random.default_rng(place), list[Outcome]()
    history = History(plan)
    for study in plan.studies(problem, contender):
        rows = history.tuning_trials(problem, contender, contender.points_of(study), study=study)
        tuned = [outcome(plan, problem, place % 7, trial, rng) for row in rows for trial in row]
        history.add(tuned)
        winner = tune(history, problem, contender, study=study).point
        assert winner is not None
        finals = history.final_trials(problem, contender, winner, study=study)
        made += [*tuned, *(outcome(plan, problem, place % 7, trial, rng) for trial in finals)]
    return made


def write_run(folder: Path, plan: Plan) -> int:
    """Writes a run of a plan, made by this process's software; returns how many trials it has."""
    from dlkit.bench.machine.program import program_identity

    program, count = program_identity(), 0
    with Store(folder) as store:
        store.use_plan(plan, {})
        store.use_software(program)
        for place, (problem, contender) in enumerate(plan.cells):
            made = outcomes_of(plan, problem, contender, place)
            store.add(made, program)
            count += len(made)
    return count


# --- in processes of their own ---


def measured(*command: str) -> tuple[float, float]:
    """Seconds of CPU and MiB of a command of this module, or of `dlkit`."""
    process = subprocess.Popen([sys.executable, "-m", *command], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0, command
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def resume(folder: Path, size: Sequence[int]) -> None:
    """Takes up a run of which nothing is left."""
    resources = bench.Resources(executor="inline")
    result = bench.run(experiment(*size), folder=folder, resources=resources, progress=False)
    assert result.summary.missing == 0


def digests(folder: Path) -> dict[str, float]:
    """Seconds of CPU that digests take when trials are read, and that reading takes in all."""

    def seconds(function: Callable[[], Any]) -> float:
        began = time.process_time()
        function()
        return time.process_time() - began

    with Store(folder, write=False) as store:
        whole = seconds(store.records)
        rows = store._database.rows("trial")
        alone = seconds(lambda: [row_digest(TABLES["trial"], row) for row in rows])
    return {"records": whole, "digests": alone}


PARTS: dict[str, Callable[[Path, int], None]] = {
    "write": lambda folder, trials: require(write_run(folder, planned(*SIZES[trials])) == trials),
    "write long": lambda folder, trials: require(write_run(folder, planned(4, 2, 2, evaluations=10_000)) == trials),
    "resume": lambda folder, trials: resume(folder, SIZES[trials]),
    "plan": lambda folder, trials: require(len(planned(200, 20, 6).cells) == trials),
    "digests": lambda folder, trials: print(json.dumps(digests(folder))),
}


def planned(*size: int, evaluations: int = 10) -> Plan:
    """The experiment as a plan."""
    from dlkit.bench.spec import planner

    return planner.plan(experiment(*size, evaluations=evaluations)).plan


def require(right: bool) -> None:
    """Raises if something is not as it should be."""
    assert right


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, choices=sorted(SIZES), help="one size; by default all")
    parser.add_argument("--part", nargs=3, metavar=("WHAT", "FOLDER", "TRIALS"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.part:
        PARTS[asked.part[0]](Path(asked.part[1]), int(asked.part[2]))
        return

    def part(what: str, folder: Path, trials: int) -> tuple[float, float]:
        return measured("benchmarks.growth", "--part", what, str(folder), str(trials))

    def row(what: str, found: tuple[float, float]) -> None:
        print(f"| {what} | {found[0]:.1f} | {found[1]:.0f} |", flush=True)

    print("| what | CPU seconds | MiB |\n|---|---:|---:|")
    with tempfile.TemporaryDirectory() as name:
        for trials in [asked.trials] if asked.trials else sorted(SIZES):
            folder = Path(name) / str(trials)
            row(f"{trials:,} trials made up and stored", part("write", folder, trials))
            row(f"{trials:,} trials shown", measured("dlkit.bench.cli", "show", str(folder)))
            row(f"{trials:,} finished trials taken up again", part("resume", folder, trials))
            command = [sys.executable, "-m", "benchmarks.growth", "--part", "digests", str(folder), str(trials)]
            found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
            print(f"| {trials:,} trials read; {found['digests']:.2f} s of it digests | {found['records']:.2f} | |")
        if not asked.trials:
            row("200 contenders on 20 problems planned", part("plan", Path(name), 4000))
            part("write long", Path(name) / "long", 400)
            row("400 trials of 10,000 points shown", measured("dlkit.bench.cli", "show", str(Path(name) / "long")))


if __name__ == "__main__":
    main()
