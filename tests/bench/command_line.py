"""The command line, run as a user runs it."""

import os
import subprocess
import sys
from pathlib import Path

__all__ = ["dlkit", "in_background"]


def dlkit(*arguments: str | Path, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Runs ``dlkit`` with these arguments, in a folder and with these environment variables beside the usual ones."""
    command = [sys.executable, "-m", "dlkit.bench.cli", *map(str, arguments)]
    environment = {**os.environ, "COLUMNS": "200", **variables}
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300, env=environment)


# A shell starts background jobs, and so perhaps this test run, with Ctrl-C ignored; a user's command is not.
HEARING_CTRL_C = (
    "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); "
    "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
)


def in_background(*arguments: str, cwd: Path) -> subprocess.Popen[str]:
    """Starts Python with these arguments, in a folder and a session of its own, where it hears Ctrl-C."""
    return subprocess.Popen(
        [sys.executable, "-c", HEARING_CTRL_C, *arguments],
        cwd=cwd,
        env={**os.environ, "COLUMNS": "200"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
