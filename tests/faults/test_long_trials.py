"""Long trials: killed at any moment, or told to stop, they go on from where they were, with the same bits."""

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from dlkit import bench
from tests.bench.command_line import in_background

# five calls of about a second each: long enough to be caught in the middle
SPEC = """
name = "long"
problems = ["digits-mlp"]
optimizers = [{optimizer}]
[budget]
steps = 30000
evaluations = 30
studies = 1
tuning_points = 1
tuning_seeds = 1
seeds = 2
"""
COMMAND = ["-m", "dlkit.bench.cli", "run", "spec.toml", "--no-report"]
OFTEN = ("--checkpoint-minutes", "0.0001")


def start(work: Path, *arguments: str) -> subprocess.Popen[str]:
    return in_background(*COMMAND, *arguments, cwd=work)


def finish(work: Path, *arguments: str) -> str:
    process = start(work, *arguments)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return err


def wait_for_another(folder: Path, seen: set[int], process: subprocess.Popen[str]) -> bool:
    """Waits for a checkpoint that was not seen yet; returns false if the run ends first."""
    deadline = time.monotonic() + 120
    while process.poll() is None:
        for path in (folder / "checkpoints").glob("*.msgpack"):
            try:
                written = path.stat().st_mtime_ns
            except FileNotFoundError:
                continue
            if written not in seen:
                seen.add(written)
                return True
        assert time.monotonic() < deadline, "no checkpoint is written"
        time.sleep(0.01)
    return False


def stored(folder: Path) -> dict[str, Any]:
    records = bench.open_run(folder).summary.records
    return {
        name: (
            record.outcome.status,
            record.outcome.evaluations,
            dict(record.outcome.validation),
            {metric: curve.tobytes() for metric, curve in record.outcome.curves.items()},
        )
        for name, record in records.items()
    }


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(("--executor", "inline"), marks=pytest.mark.long),
        pytest.param(("--executor", "inline", "--lanes", "2"), marks=pytest.mark.slow),
        pytest.param(("--workers", "2"), marks=pytest.mark.slow),
    ],
    ids=["inline", "lanes", "workers"],
)
def test_long_trials_that_are_killed_go_on_with_the_same_bits(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    (tmp_path / "spec.toml").write_text(SPEC.format(optimizer='"sgd"'))
    said = finish(tmp_path, "--folder", "whole", "--checkpoint-minutes", "0", *arguments)
    assert "goes on" not in said and not (tmp_path / "whole" / "checkpoints").exists()
    seen: set[int] = set()
    kills = 0
    while kills < 3:
        process = start(tmp_path, "--folder", "killed", *arguments, *OFTEN)
        if not wait_for_another(tmp_path / "killed", seen, process):
            break
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=60)
        kills += 1
    assert kills == 3, "it was killed in the middle of trials"
    said = finish(tmp_path, "--folder", "killed", *arguments, *OFTEN)
    assert "a trial goes on at step" in said
    assert stored(tmp_path / "killed") == stored(tmp_path / "whole")
    assert not (tmp_path / "killed" / "checkpoints").exists(), "nothing is left of them"


@pytest.mark.long
@pytest.mark.parametrize(
    "arguments",
    [("--executor", "inline"), pytest.param(("--workers", "1"), marks=pytest.mark.slow)],
    ids=["inline", "worker"],
)
def test_ctrl_c_keeps_a_long_trial(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    (tmp_path / "spec.toml").write_text(SPEC.format(optimizer='"sgd"').replace("30000", "90000"))
    process = start(tmp_path, "--folder", "stopped", *arguments, *OFTEN)
    assert wait_for_another(tmp_path / "stopped", set(), process)
    os.killpg(process.pid, signal.SIGINT)
    began = time.monotonic()
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130 and "Traceback" not in err
    assert time.monotonic() - began < 60
    assert len(list((tmp_path / "stopped" / "checkpoints").glob("*.msgpack"))) == 1
    assert "a trial goes on at step" in finish(tmp_path, "--folder", "stopped", *arguments, *OFTEN)
