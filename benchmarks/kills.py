"""Kills: processes of a run are killed at random moments, and what its store has lost or changed by then is counted.

    python -m benchmarks.kills                     1,000 kills, three quarters of an hour on two cores
    python -m benchmarks.kills --kills 20          a minute or two

A run is started, and after a random time one of its processes is killed: the driver, one of the workers, or all of
them at once. After each kill the store is read: every trial that it had before has to be there, with the same bytes.
When the driver was killed the same command runs again; a run that ends in spite of a worker's death is compared with
one that nobody disturbed, all trials and the printed answer, and a new one begins.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from dlkit.bench.plan.trials import Outcome
from dlkit.bench.store.store import Store

SPEC = """
name = "kills"
problems = ["digits-mlp", "quadratic"]
optimizers = ["sgd", "momentum", "adam"]
[budget]
studies = 2
tuning_points = 4
tuning_seeds = 2
seeds = 4
"""
COMMAND = [sys.executable, "-m", "dlkit.bench.cli", "run", "spec.toml", "--no-report", "--tables"]
LONGEST_WAIT = 4.0  # seconds from a start to a kill; a run trains from its second one
LONGEST_RUN = 300.0  # seconds that what is left of a run may take
LEFT_BEHIND = 5.0  # seconds after which no process of a run may be there any more
VICTIMS = ("driver", "worker", "all")


def start(work: Path, folder: Path, workers: int) -> subprocess.Popen[str]:
    """Starts a run, or goes on with it, in a session of its own."""
    arguments = [*COMMAND, "--folder", folder.name]
    arguments += ["--workers", str(workers)] if workers else ["--executor", "inline"]
    streams: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(
        arguments, cwd=work, env={**os.environ, "COLUMNS": "200"}, start_new_session=True, **streams
    )


def processes(session: int) -> list[int]:
    """Returns the processes of a session that are there, but for those that have ended and wait to be noticed."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, owner, *_ = path.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended meanwhile
            continue
        if int(owner) == session and state != "Z":
            found.append(int(path.parent.name))
    return sorted(found)


def trials(folder: Path) -> dict[str, tuple[Any, ...]]:
    """Returns every stored trial's status, steps and curves, as bytes, by id."""
    if not (folder / "store.sqlite").exists():
        return {}
    with Store(folder, write=False) as store:
        records = store.records()
    return {name: _numbers(record.outcome) for name, record in records.items()}


def _numbers(outcome: Outcome) -> tuple[Any, ...]:
    curves = [np.asarray(curve).tobytes() for _, curve in sorted(outcome.curves.items())]
    return outcome.status, outcome.diverged_at, outcome.steps.tobytes(), *curves


def kill(process: subprocess.Popen[str], victim: str, rng: random.Random) -> bool:
    """Kills a process of a run; returns whether there was one of the kind."""
    if victim == "all":
        os.killpg(process.pid, signal.SIGKILL)
        return True
    others = [each for each in processes(process.pid) if each != process.pid]
    if victim == "worker" and not others:
        return False
    try:
        os.kill(process.pid if victim == "driver" else rng.choice(others), signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def gone(session: int) -> bool:
    """Whether all processes of a session end within the time that is promised."""
    deadline = time.monotonic() + LEFT_BEHIND
    while processes(session):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


class Campaign:
    """Runs that are killed, and what came of it.

    Attributes:
        counts: kills by victim, runs that ended, and faults of each kind.
        notes: what was seen of each fault.
    """

    def __init__(self, work: Path, workers: int, seed: int) -> None:
        (work / "spec.toml").write_text(SPEC)
        self.work, self.workers, self.rng = work, workers, random.Random(seed)
        self.counts: Counter[str] = Counter()
        self.notes: list[str] = []
        undisturbed = start(work, work / "undisturbed", 0)
        self.answer, error = undisturbed.communicate(timeout=LONGEST_RUN)
        assert undisturbed.returncode == 0, error
        self.expected = trials(work / "undisturbed")

    def fault(self, kind: str, note: str) -> None:
        """Counts a fault."""
        self.counts[kind] += 1
        self.notes.append(f"{kind}: {note}")

    def run(self, kills: int) -> None:
        """Starts, kills and compares until so many processes were killed."""
        attempt = killed = 0
        while killed < kills:
            attempt += 1
            self.until_done(self.work / f"killed-{attempt}", kills)
            killed = sum(self.counts[f"killed: {each}"] for each in VICTIMS)
            print(f"{killed} of {kills} kills: {dict(self.counts)}", file=sys.stderr, flush=True)  # it takes long

    def until_done(self, folder: Path, kills: int) -> None:
        """Kills processes of one run until it ends in spite of that, or all kills are spent."""
        seen: dict[str, tuple[Any, ...]] = {}
        while True:
            process = start(self.work, folder, self.workers)
            is_over = sum(self.counts[f"killed: {each}"] for each in VICTIMS) >= kills
            victim = "nobody" if is_over else self.rng.choice(VICTIMS if self.workers else VICTIMS[:1])
            if not is_over:
                time.sleep(self.rng.uniform(0.2, LONGEST_WAIT))
                if process.poll() is None and kill(process, victim, self.rng):
                    self.counts[f"killed: {victim}"] += 1
            out, error = process.communicate(timeout=LONGEST_RUN)
            if not gone(process.pid):
                self.fault("processes left behind", f"after the death of {victim}: {processes(process.pid)}")
                for each in processes(process.pid):
                    os.kill(each, signal.SIGKILL)
            if "Traceback" in error:
                self.fault("tracebacks", error.strip().splitlines()[-1])
            now = trials(folder)
            for name in seen:
                if name not in now:
                    self.fault("trials lost", f"{folder.name} {name[:12]} after the death of {victim}")
                elif now[name] != seen[name]:
                    self.fault("trials changed", f"{folder.name} {name[:12]} after the death of {victim}")
            seen = now
            if process.returncode == 0:
                self.counts["runs that ended"] += 1
                if trials(folder) != self.expected or out != self.answer:
                    self.fault("other answers", folder.name)
                return
            if process.returncode != -signal.SIGKILL:
                self.fault(
                    "runs that gave up", f"{folder.name}, exit status {process.returncode}: {error.strip()[-300:]}"
                )


FAULTS = ("trials lost", "trials changed", "other answers", "processes left behind", "tracebacks", "runs that gave up")


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=1000, help="how many processes are killed")
    parser.add_argument("--workers", type=int, default=2, help="0 trains in the driver")
    parser.add_argument("--seed", type=int, default=0, help="of the random moments and victims")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        campaign = Campaign(Path(folder), asked.workers, asked.seed)
        began = time.monotonic()
        campaign.run(asked.kills)
        print(f"{asked.kills} kills, {asked.workers} workers, {time.monotonic() - began:.0f} s\n")
        print("| what | times |\n|---|---:|")
        for what in (*(f"killed: {each}" for each in VICTIMS), "runs that ended", *FAULTS):
            print(f"| {what} | {campaign.counts[what]} |")
        for note in campaign.notes:
            print(note)


if __name__ == "__main__":
    main()
