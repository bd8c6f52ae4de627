"""Kills: processes of a run are killed at random moments, and what its store has lost or changed by then is counted.

    python -m benchmarks.kills                     1,000 kills, an hour on two cores
    python -m benchmarks.kills --kills 20          a minute or two

A run is started, and at random moments one of its processes is killed: the driver, one of the workers, or all of
them at once. When the driver was killed its store is read: every trial that it had before has to be there, with the
same bytes, and the same command runs again. A run that ends in spite of all is compared with one that nobody disturbed,
all trials and the printed answer, and a new one begins.
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
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from dlkit.bench.errors import UserError
from dlkit.bench.plan.trials import Outcome
from dlkit.bench.store.store import Store

SPEC = """
name = "kills"
problems = ["digits-mlp", "quadratic"]
optimizers = ["sgd", "momentum", "adam"]
[budget]
steps = 400
studies = {studies}
tuning_points = 12
tuning_seeds = 2
seeds = 8
"""
COMMAND = [sys.executable, "-m", "dlkit.bench.cli", "run", "spec.toml", "--no-report", "--tables"]
LONGEST_WAIT = 5.0  # seconds from a start to a kill; a run trains from its second one
LONGEST_REST = 1.5  # seconds from what is stored after a worker's death to the next kill
LONGEST_RUN = 300.0  # seconds that what is left of a run may take
MARK = "KILLED_RUN"  # a variable of the environment that all processes of a run inherit
LEFT_BEHIND = 5.0  # seconds after which no process of a run may be there any more
BLAMED = 2  # the exit status of a run of which a trial failed
VICTIMS = ("driver", "worker", "worker", "all")  # a worker twice as often: its death ends no run


def start(work: Path, folder: Path, workers: int) -> subprocess.Popen[str]:
    """Starts a run, or goes on with it, in a session of its own."""
    arguments = [*COMMAND, "--folder", folder.name]
    arguments += ["--workers", str(workers)] if workers else ["--executor", "inline"]
    streams: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    environment = {**os.environ, "COLUMNS": "200", MARK: str(work)}
    return subprocess.Popen(arguments, cwd=work, env=environment, start_new_session=True, **streams)


def processes(work: Path) -> list[int]:
    """Returns the processes of a run that are there, also those that have left its session: all inherit a variable.

    Those that have ended and wait to be noticed are not among them: they have no environment any more.
    """
    found, mark = [], f"{MARK}={work}".encode()
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            is_one = mark in path.read_bytes().split(b"\0")
        except OSError:  # it has ended meanwhile, or is another user's
            continue
        if is_one:
            found.append(int(path.parent.name))
    return sorted(found)


def trials(folder: Path) -> dict[str, tuple[Any, ...]]:
    """Returns every stored trial's status, steps and curves, as bytes, by id, without those that failed.

    A trial fails where two workers were killed that had it in hand, whoever killed them; the next run trains it again.
    """
    if not (folder / "store.sqlite").exists():
        return {}
    try:
        with Store(folder, write=False) as store:
            records = store.records()
    except UserError as error:
        if "nothing ran" in str(error):  # killed before it had written anything
            return {}
        raise
    return {name: _numbers(each.outcome) for name, each in records.items() if each.outcome.status != "failed"}


def _numbers(outcome: Outcome) -> tuple[Any, ...]:
    curves = [np.asarray(curve).tobytes() for _, curve in sorted(outcome.curves.items())]
    return outcome.status, outcome.diverged_at, outcome.steps.tobytes(), *curves


def kill(process: subprocess.Popen[str], victim: str, work: Path, rng: random.Random) -> bool:
    """Kills a process of a run, or all of them; returns whether there was one of the kind."""
    others = [each for each in processes(work) if each != process.pid]
    chosen = {"driver": [process.pid], "worker": others and [rng.choice(others)], "all": [process.pid, *others]}[victim]
    for each in chosen:
        with suppress(ProcessLookupError):
            os.kill(each, signal.SIGKILL)
    return bool(chosen)


def wait_for_progress(process: subprocess.Popen[str], folder: Path) -> None:
    """Waits until a run has written to its store, or ends."""
    since, deadline = time.time() + 0.1, time.monotonic() + LONGEST_RUN  # what was being written may end
    while process.poll() is None and time.monotonic() < deadline:
        if any(path.stat().st_mtime > since for path in folder.glob("store.sqlite")):
            return
        time.sleep(0.05)


def gone(work: Path) -> bool:
    """Whether all processes of a run end within the time that is promised."""
    deadline = time.monotonic() + LEFT_BEHIND
    while processes(work):
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

    def __init__(self, work: Path, workers: int, seed: int, studies: int = 4) -> None:
        (work / "spec.toml").write_text(SPEC.format(studies=studies))  # of 192 trials each
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
        print(self.notes[-1], file=sys.stderr, flush=True)

    @property
    def killed(self) -> int:
        """How many processes were killed, where all of a run at once are one."""
        return sum(self.counts[f"killed: {each}"] for each in set(VICTIMS))

    def run(self, kills: int) -> None:
        """Starts, kills and compares until so many processes were killed."""
        attempt = 0
        while self.killed < kills:
            attempt += 1
            self.until_done(self.work / f"killed-{attempt}", kills)

    def until_done(self, folder: Path, kills: int) -> None:
        """Kills processes of one run until it ends in spite of that, or all kills are spent."""
        seen: dict[str, tuple[Any, ...]] = {}
        while True:
            process = start(self.work, folder, self.workers)
            ending = self.disturb(process, folder, kills)
            out, error = process.communicate(timeout=LONGEST_RUN)
            if not gone(self.work):
                self.fault("processes left behind", f"after {ending}: {processes(self.work)}")
                for each in processes(self.work):
                    os.kill(each, signal.SIGKILL)
            if "Traceback" in error:
                self.fault("tracebacks", error.strip().splitlines()[-1])
            now = trials(folder)
            for name in seen:
                if name not in now:
                    self.fault("trials lost", f"{folder.name} {name[:12]} after {ending}")
                elif now[name] != seen[name]:
                    self.fault("trials changed", f"{folder.name} {name[:12]} after {ending}")
            seen = now
            print(f"{self.killed} of {kills} kills: {dict(self.counts)}", file=sys.stderr, flush=True)  # it takes long
            if process.returncode == 0:
                self.counts["runs that ended"] += 1
                if now != self.expected or out != self.answer:
                    self.fault("other answers", folder.name)
                return
            if process.returncode == BLAMED:
                self.counts["runs that blamed a trial"] += 1
            elif process.returncode != -signal.SIGKILL:
                self.fault(
                    "runs that gave up", f"{folder.name}, exit status {process.returncode}: {error.strip()[-300:]}"
                )

    def disturb(self, process: subprocess.Popen[str], folder: Path, kills: int) -> str:
        """Kills workers, and in the end the driver unless the run ends before; returns what came last, in words."""
        last, longest = "nothing", LONGEST_WAIT
        while self.killed < kills:
            victim = self.rng.choice(VICTIMS if self.workers else VICTIMS[:1])
            with suppress(subprocess.TimeoutExpired):
                process.wait(self.rng.uniform(0.2, longest))
                return last
            if kill(process, victim, self.work, self.rng):
                self.counts[f"killed: {victim}"] += 1
                last = f"the death of {victim}"
                if victim != "worker":
                    return last
                # a trial that ends two workers is blamed, and three that end at once are the end: rightly
                wait_for_progress(process, folder)
                longest = LONGEST_REST
        return last


ENDS = ("runs that ended", "runs that blamed a trial")
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
        for what in (*(f"killed: {each}" for each in dict.fromkeys(VICTIMS)), *ENDS, *FAULTS):
            print(f"| {what} | {campaign.counts[what]} |")
        for note in campaign.notes:
            print(note)


if __name__ == "__main__":
    main()
