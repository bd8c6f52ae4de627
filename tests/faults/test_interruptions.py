"""Killed, interrupted, crowded: no finished trial is lost, and the tables come out the same."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.bench.command_line import in_background

SPEC = """
name = "faults"
problems = ["digits-mlp", "quadratic"]
optimizers = ["sgd", "momentum", "adam"]
[budget]
studies = 2
tuning_points = 4
tuning_seeds = 2
seeds = 4
"""
COMMAND = [sys.executable, "-m", "dlkit.bench.cli", "run", "spec.toml", "--no-report", "--tables"]
ENVIRONMENT = {**os.environ, "COLUMNS": "200"}


def start(work: Path, *arguments: str) -> subprocess.Popen[str]:
    return in_background(*COMMAND[1:], *arguments, cwd=work)


def finish(work: Path, *arguments: str) -> str:
    process = start(work, *arguments)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return out


def stored(folder: Path) -> int:
    try:
        with sqlite3.connect(f"file:{folder / 'store.sqlite'}?mode=ro", uri=True, timeout=10) as connection:
            return int(connection.execute("SELECT count(*) FROM trial").fetchone()[0])
    except sqlite3.Error:
        return 0


def wait_for(folder: Path, trials: int) -> None:
    deadline = time.monotonic() + 120
    while stored(folder) < trials:
        assert time.monotonic() < deadline, "the run makes no progress"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("work")
    (folder / "spec.toml").write_text(SPEC)
    return folder


@pytest.fixture(scope="module")
def undisturbed(work: Path) -> str:
    return finish(work, "--folder", "undisturbed", "--executor", "inline")


@pytest.mark.long
@pytest.mark.parametrize(
    "arguments", [("--executor", "inline"), pytest.param(("--workers", "2"), marks=pytest.mark.slow)]
)
def test_ctrl_c_ends_with_what_is_done(work: Path, undisturbed: str, arguments: tuple[str, ...]) -> None:
    folder = work / f"interrupted-{arguments[-1]}"
    process = start(work, "--folder", folder.name, *arguments)
    wait_for(folder, 1)
    os.killpg(process.pid, signal.SIGINT)  # a terminal sends it to the workers as well
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    done = stored(folder)
    assert f"interrupted: {done} of 144 trials are done" in out
    assert finish(work, "--folder", folder.name, *arguments) == undisturbed


@pytest.mark.slow
def test_a_killed_worker_is_replaced(work: Path, undisturbed: str) -> None:
    process = start(work, "--folder", "crippled", "--workers", "2")
    wait_for(work / "crippled", 1)
    (parent,) = psutil.Process(process.pid).children()
    os.kill(parent.children()[-1].pid, signal.SIGKILL)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert out == undisturbed


@pytest.mark.long
def test_two_runs_cannot_share_a_folder(work: Path) -> None:
    process = start(work, "--folder", "shared", "--executor", "inline", "--seeds", "200")
    wait_for(work / "shared", 1)
    second = subprocess.run(
        [*COMMAND, "--folder", "shared"], cwd=work, env=ENVIRONMENT, capture_output=True, text=True, timeout=60
    )
    assert process.poll() is None
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    assert second.returncode == 2
    assert "shared: another dlkit is using this run" in second.stderr


@pytest.mark.long
def test_a_run_of_another_format_is_left_alone(work: Path) -> None:
    folder = work / "foreign"
    folder.mkdir()
    with sqlite3.connect(folder / "store.sqlite") as connection:
        connection.execute("CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID")
        connection.execute("INSERT INTO meta VALUES ('format', '999')")
    connection.close()
    before = (folder / "store.sqlite").read_bytes()
    ended = subprocess.run([*COMMAND, "--folder", "foreign"], cwd=work, env=ENVIRONMENT, capture_output=True, text=True)
    assert ended.returncode == 2 and "format 999" in ended.stderr and "Traceback" not in ended.stderr
    assert (folder / "store.sqlite").read_bytes() == before


@pytest.mark.long
def test_a_script_without_a_main_guard_runs_once(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "print('started')\n"
        "import optax\n"
        "from dlkit import bench\n"
        "mine = bench.Optimizer('mine', lambda learning_rate: optax.sgd(learning_rate),\n"
        "                       {'learning_rate': bench.log_uniform(1e-3, 1)})\n"
        "budget = bench.Budget(steps=20, evaluations=4, studies=1, tuning_points=2, seeds=6)\n"
        "result = bench.compare(problems=['quadratic'], optimizers=['sgd', mine], budget=budget)\n"
        "assert not result.failures\n"
        "print(result.summary.missing, 'missing')\n"
    )
    ended = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == "started\n0 missing\n"
