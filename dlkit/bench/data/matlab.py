"""MATLAB's files up to version 7, by scipy in a process of its own: a damaged one can end the process that reads it."""

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from dlkit.bench.doors import most_unpacked

__all__ = ["read_matlab"]

PATIENCE = 600.0  # seconds
# Writes the arrays of numbers and texts beside each other, so that nothing is unpickled here.
SCRIPT = """
import sys
import numpy as np
from scipy.io import loadmat
try:
    import resource
    most = int(sys.argv[3]) + 2**32
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
except (ImportError, ValueError, OSError):
    pass
try:
    found = loadmat(sys.argv[1])
    kept = {name: each for name, each in found.items() if not name.startswith("__") and isinstance(each, np.ndarray)}
    np.savez(sys.argv[2], **{name: each for name, each in kept.items() if not each.dtype.hasobject})
except BaseException as error:
    sys.exit(f"{type(error).__name__}: {error}")
"""


def read_matlab(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    """Returns the arrays of numbers and texts of a file; cells and structures are left out.

    Args:
        path: the file.

    Raises:
        ValueError: if it cannot be read, saying why.
    """
    with tempfile.TemporaryDirectory(prefix="dlkit-matlab-") as folder:
        out = Path(folder) / "arrays.npz"
        command = [sys.executable, "-I", "-c", SCRIPT, str(path.absolute()), str(out), str(most_unpacked())]
        try:
            ran = subprocess.run(
                command, capture_output=True, text=True, errors="replace", timeout=PATIENCE, check=False
            )
        except subprocess.TimeoutExpired:
            raise ValueError(f"its reader did not end within {PATIENCE:.0f} s") from None
        if ran.returncode:
            said = ran.stderr.strip().splitlines()
            raise ValueError(said[-1] if ran.returncode > 0 and said else "its reader crashed: the file is damaged")
        with np.load(out, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
