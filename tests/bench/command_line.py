"""The command line, run as a user runs it."""

import os
import subprocess
import sys
from pathlib import Path

__all__ = ["dlkit"]


def dlkit(*arguments: str | Path, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Runs ``dlkit`` with these arguments, in a folder and with these environment variables beside the usual ones."""
    command = [sys.executable, "-m", "dlkit.bench.cli", *map(str, arguments)]
    environment = {**os.environ, "COLUMNS": "200", **variables}
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300, env=environment)
