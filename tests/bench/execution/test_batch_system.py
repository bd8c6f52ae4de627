"""Jobs of a batch system: options as they are written, the scripts that are submitted, and runs on a stand-in."""

import gc
import itertools
import os
import shlex
import stat
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("dask_jobqueue")

import dask_jobqueue.local

from dlkit import bench
from dlkit.bench.execution import batch_system
from dlkit.bench.execution.batch_system import started_jobs, waiting_for
from dlkit.bench.execution.job_options import JobOptions, job_options, seconds_of

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("system", "text", "expected"),
    [
        ("slurm", "cores=8, memory=16GB", {"cores": 8, "memory": "16GB", "walltime": "01:00:00", "jobs": 1}),
        (
            "slurm",
            "--partition=short, --account me, --time=02:00:00, --cpus-per-task=4, --mem=8GB, --gres=gpu:1",
            {"queue": "short", "account": "me", "walltime": "02:00:00", "cores": 4, "memory": "8GB", "processes": 1}
            | {"directives": ("--gres=gpu:1",)},
        ),
        (
            "slurm",
            "cores=2,memory=4GB,jobs=3,workers=1,--nodelist=a1,a2,--exclusive",
            {"jobs": 3, "processes": 1, "directives": ("--nodelist=a1,a2", "--exclusive")},
        ),
        (
            "pbs",
            "-q long, -A me, cores=8, memory=16GB, -l place=scatter",
            {"queue": "long", "account": "me", "directives": ("-l place=scatter",), "processes": 8},
        ),
    ],
)
def test_options_are_read_as_they_are_written(system: Any, text: str, expected: dict[str, Any]) -> None:
    options = job_options(system, text)
    assert {name: getattr(options, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("", ["missing cores and memory", '--slurm "cores=8, memory=16GB, walltime=02:00:00"']),
        ("cores=0, memory=16GB", ["cores must be a whole number of at least 1, got '0'"]),
        ("cores=8, memory=much", ["memory must be an amount such as '2GiB'"]),
        ("cores=8, memory=8GB, walltime=long", ["walltime must be a time such as 02:00:00", "got 'long'"]),
        ("cores=8, memory=8GB, partitoin=short", ["no option 'partitoin'"]),
        ("cores=8, cores=4, memory=8GB", ["'cores' is given twice"]),
        ("cores=2, memory=8GB, workers=4", ["workers must be at most cores, 2, got 4"]),
        ("eight", ["expected NAME=VALUE or a directive such as --gres=gpu:1, got 'eight'"]),
        (8, ["expected options such as", "got 8"]),
    ],
)
def test_mistakes_are_named(given: Any, expected: list[str]) -> None:
    with pytest.raises(bench.UserError) as caught:
        job_options("slurm", given)
    assert all(words in str(caught.value) for words in expected), caught.value


@pytest.mark.parametrize(
    ("walltime", "seconds"),
    [("02:00:00", 7200), ("1-12:00:00", 129600), ("30:00", 1800), ("2-00:30", 174600), ("00:00:59", 59)],
)
def test_times_are_read_as_slurm_reads_them(walltime: str, seconds: int) -> None:
    assert seconds_of(walltime) == seconds


def script(system: Any, folder: Path, text: str) -> list[str]:
    """The lines of the script that would be submitted."""
    import dask_jobqueue
    from distributed import Security

    options = job_options(system, text)
    kind = getattr(dask_jobqueue, batch_system.CLASSES[system])
    with kind(security=Security.temporary(), **batch_system._arguments(system, options, folder)) as cluster:
        lines: list[str] = cluster.job_script().splitlines()
    return lines


def test_slurm_is_asked_for_what_was_said(tmp_path: Path) -> None:
    lines = script(
        "slurm", tmp_path, "cores=4, memory=8GB, walltime=02:00:00, --partition=short, --account=me, --gres=x"
    )
    for line in ("-p short", "-A me", "--cpus-per-task=4", "-t 02:00:00", "--gres=x", "-n 1"):
        assert f"#SBATCH {line}" in lines
    (memory,) = [line for line in lines if line.startswith("#SBATCH --mem=")]
    assert memory in ("#SBATCH --mem=8G", "#SBATCH --mem=7630M")  # 8e9 bytes in MiB, rounded up
    require_worker(lines, tmp_path, workers=4, lifetime=7200 - 60)


def test_pbs_is_asked_for_what_was_said(tmp_path: Path) -> None:
    lines = script("pbs", tmp_path, "cores=4, memory=8GB, walltime=1-00:00, queue=long, account=me, -l place=scatter")
    for line in ("-q long", "-A me", "-l walltime=24:00:00", "-l place=scatter"):
        assert f"#PBS {line}" in lines
    (select,) = [line for line in lines if line.startswith("#PBS -l select=")]
    assert "ncpus=4" in select and "mem=" in select
    require_worker(lines, tmp_path, workers=4, lifetime=86400 - 60)


def test_a_line_of_ones_own_takes_the_place_of_what_pbs_is_asked_for(tmp_path: Path) -> None:
    lines = script("pbs", tmp_path, "cores=4, memory=8GB, -l select=1:ncpus=4:ngpus=1:mem=8gb")
    assert [line for line in lines if "select=" in line] == ["#PBS -l select=1:ncpus=4:ngpus=1:mem=8gb"]
    assert "--nworkers" not in " ".join(lines), "one worker a job with a GPU"


def require_worker(lines: list[str], folder: Path, *, workers: int, lifetime: int) -> None:
    """The last line starts single-threaded workers that speak TLS alone, and leave before they are ended."""
    words = shlex.split(lines[-1])
    assert words[:3] == [sys.executable, "-m", "distributed.cli.dask_worker"]
    options = dict(itertools.pairwise(words))
    assert options["--nworkers"] == str(workers) and options["--nthreads"] == "1"
    assert options["--lifetime"] == f"{lifetime}s" and options["--protocol"] == "tls://"
    for name in ("--tls-ca-file", "--tls-cert", "--tls-key"):
        assert Path(options[name]).parent == folder
    assert "--no-dashboard" in words


SBATCH = """#!/bin/sh
# A batch system of one machine: runs what it is given at once, and lists what runs.
sh "$1" > "{folder}/output" 2>&1 &
echo "Submitted batch job $!"
"""
SQUEUE = """#!/bin/sh
for job in $(echo "$3" | sed 's/--jobs=//; s/,/ /g'); do kill -0 "$job" 2>/dev/null && echo "$job"; done
exit 0
"""
SCANCEL = '#!/bin/sh\nkill -9 "$1" $(ps -o pid= --ppid "$1") 2>/dev/null\nexit 0\n'


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The commands of SLURM, for this machine alone."""
    (tmp_path / "bin").mkdir()
    for name, text in {"sbatch": SBATCH.format(folder=tmp_path), "squeue": SQUEUE, "scancel": SCANCEL}.items():
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.chdir(tmp_path)
    return tmp_path


BUDGET = bench.Budget(steps=20, evaluations=4, studies=1, tuning_points=2, seeds=2)


@pytest.mark.long
def test_a_run_on_jobs_gives_the_bits_of_this_process(slurm: Path) -> None:
    results = {}
    for name, given in {"jobs": {"slurm": "cores=1, memory=4GB, interface=lo"}, "here": {"executor": "inline"}}.items():
        resources = bench.Resources(**given)
        result = bench.compare(
            problems=["quadratic"], optimizers=["sgd", "adam"], budget=BUDGET, resources=resources, progress=False
        )
        assert not result.summary.missing and not result.failures
        records = result.summary.records
        results[name] = {
            trial: [each.tobytes() for each in record.outcome.curves.values()] for trial, record in records.items()
        }
    assert results["jobs"] == results["here"]
    folder = slurm / "dlkit-jobs"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    join_closing()
    assert not list(folder.glob(".dask-jobqueue*")), "keys end with the run"


def join_closing() -> None:
    for each in threading.enumerate():
        if each.name == "dlkit leaves its cluster":
            each.join(60)


@pytest.mark.long
def test_jobs_that_end_at_once_end_the_run_with_where_their_output_lies(slurm: Path) -> None:
    resources = bench.Resources(slurm={"cores": 1, "memory": "4GB", "interface": "lo", "setup": ["exit 3"]})
    with pytest.raises(bench.UserError, match=r"have ended without a worker; their output lies in dlkit-jobs"):
        bench.compare(problems=["quadratic"], optimizers=["sgd"], budget=BUDGET, resources=resources, progress=False)
    join_closing()


@pytest.mark.long
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # the stand-in leaves its pipes open
def test_a_run_on_dask_jobqueues_own_stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dask_jobqueue, "PBSCluster", dask_jobqueue.local.LocalCluster)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.chdir(tmp_path)
    resources = bench.Resources(pbs="cores=1, memory=4GB, interface=lo, walltime=00:10:00")
    result = bench.compare(
        problems=["quadratic"], optimizers=["sgd"], budget=BUDGET, resources=resources, progress=False
    )
    assert not result.summary.missing and not result.failures
    join_closing()
    gc.collect()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    options = JobOptions(cores=1, memory="4GB", folder=str(tmp_path / "file" / "jobs"))
    with pytest.raises(bench.UserError, match=r"slurm: folder '.*file/jobs' cannot be written"):
        started_jobs("slurm", options).__enter__()


def test_a_run_waits_as_long_as_the_batch_system_has_a_job(slurm: Path) -> None:
    class Job:
        job_id = str(os.getpid())

    cluster = SimpleNamespace(workers={0: Job()})
    waiting = waiting_for("slurm", cluster, JobOptions(cores=1, memory="4GB", jobs=2))
    assert waiting.whom == "one of 2 jobs of slurm to start" and waiting.why_not() == ""
    Job.job_id = "99999999"
    assert "the jobs 99999999 have ended without a worker" in waiting.why_not()
