"""Workers as jobs of a batch system, SLURM or PBS: what each asks for, checked, and submitted by dask-jobqueue.

Driver, scheduler and workers speak TLS with certificates of this run alone, whose keys lie in a folder that only the
user may read, and are removed at the end.
"""

import os
import re
import shlex
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dlkit.bench.errors import UserError
from dlkit.bench.execution.job_options import BatchSystem, JobOptions, seconds_of
from dlkit.bench.execution.waiting import Waiting

__all__ = ["started_jobs", "waiting_for"]

CLASSES = {"slurm": "SLURMCluster", "pbs": "PBSCluster"}
QUEUE_SECONDS = 7 * 24 * 3600.0  # a job may wait for days before it starts
SECONDS_TO_LEAVE = 60  # before the batch system ends a job


def _hours(seconds: int) -> str:
    """``"hours:minutes:seconds"``."""
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"


@contextmanager
def started_jobs(system: BatchSystem, options: JobOptions) -> Iterator[Any]:
    """Submits the jobs, and keeps as many there as were asked for while the run goes on.

    Args:
        system: the batch system.
        options: what each job asks for.

    Yields:
        The cluster. At the end the jobs are cancelled, and the keys removed.

    Raises:
        UserError: if a package is missing, or the jobs cannot be submitted.
    """
    try:
        import dask_jobqueue
        from distributed import Security

        security = Security.temporary()
    except ImportError as error:
        raise UserError(
            f"jobs of a batch system need the extra 'cluster' ({error}): pip install 'dlkit-jax[bench,cluster]'"
        ) from None
    folder = Path(options.folder).absolute()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
    except OSError as error:
        raise UserError(f"{system}: folder '{folder}' cannot be written: {error.strerror}; name another one") from None
    made = getattr(dask_jobqueue, CLASSES[system])
    try:
        cluster = made(security=security, **_arguments(system, options, folder))
        cluster.adapt(minimum_jobs=options.jobs, maximum_jobs=options.jobs)  # a job that ends is replaced
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(f"{system}: the jobs cannot be submitted: {error}") from None
    try:
        with cluster:
            yield cluster
    finally:
        for name in ("key", "cert", "ca_file"):  # dask-jobqueue removes them when nobody knows of them any more
            file = getattr(cluster, f"_job_{name}", None)
            if file is not None:
                file.close()


def _arguments(system: BatchSystem, options: JobOptions, folder: Path) -> dict[str, Any]:
    """The arguments of dask-jobqueue's cluster; nothing is left to its own files of settings that decides a bit."""
    worker: list[str] = ["--no-dashboard"]
    seconds = seconds_of(options.walltime) or 0
    if seconds > 2 * SECONDS_TO_LEAVE:  # leave by oneself, so that nobody takes it for a death
        worker += ["--lifetime", f"{seconds - SECONDS_TO_LEAVE}s"]
    given: dict[str, Any] = {
        "cores": options.cores,
        "memory": options.memory,
        "processes": options.processes,
        "protocol": "tls://",
        "interface": options.interface,
        "python": shlex.quote(options.python) if options.python else None,
        "queue": options.queue,
        "account": options.account,
        "walltime": options.walltime if system == "slurm" else _hours(seconds),
        "job_name": "dlkit",
        "job_extra_directives": _directives(system, options),
        "job_script_prologue": list(options.setup),
        "worker_extra_args": worker,
        "log_directory": str(folder),
        "shared_temp_directory": str(folder),
        "scheduler_options": {"dashboard": False, "dashboard_address": "127.0.0.1:0"},
        "silence_logs": "critical",
    }
    if system == "pbs":
        select = [each for each in options.directives if re.match(r"-l\s*select=", each)]
        if select:
            given["resource_spec"] = select[0].removeprefix("-l").strip()
    return {name: value for name, value in given.items() if value is not None}


def _directives(system: BatchSystem, options: JobOptions) -> list[str]:
    if system == "pbs":
        return [each for each in options.directives if not re.match(r"-l\s*select=", each)]
    return list(options.directives)


def waiting_for(system: BatchSystem, cluster: Any, options: JobOptions) -> Waiting:
    """How long a run waits for its jobs: as long as the batch system has one of them."""

    def why_not() -> str:
        ids = [each.job_id for each in list(cluster.workers.values()) if getattr(each, "job_id", None)]
        if not ids or _has_any(system, ids):
            return ""
        folder = os.path.relpath(options.folder)
        return f"the jobs {', '.join(ids)} have ended without a worker; their output lies in {folder}"

    jobs = "a job" if options.jobs == 1 else f"one of {options.jobs} jobs"
    return Waiting(QUEUE_SECONDS, f"{jobs} of {system} to start", why_not)


def _has_any(system: BatchSystem, ids: Sequence[str]) -> bool:
    """Whether the batch system still has one of some jobs; True where it cannot be asked."""
    listed = {"slurm": ["squeue", "--noheader", "--format=%i", f"--jobs={','.join(ids)}"], "pbs": ["qstat", *ids]}
    try:
        asked = subprocess.run(listed[system], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return True
    return any(name.partition(".")[0] in asked.stdout for name in ids)
