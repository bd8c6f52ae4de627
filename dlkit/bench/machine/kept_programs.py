"""How much room compiled programs take in the cache folder: what was not used for longest goes.

There are two folders of them. `xla` has what XLA compiled, by what was lowered; JAX writes it. `executables` has whole
executables, by what they are made of (`training.executables`). Every other code, version or setting adds to both.
"""

import contextlib
import os
import re
import stat
import time
from pathlib import Path
from typing import NamedTuple

from dlkit.bench.machine.environment import cache_folder

__all__ = ["MOST_BYTES", "bound_programs", "program_folders", "trim"]

MOST_BYTES = 2 * 2**30  # of each folder
SAFE_SECONDS = 3600.0  # what a file is kept for after its last use, however full its folder is: a run may be using it
TEMPORARY = re.compile(r"[/\\]tmp[a-z0-9_]{8}$")  # what a process that was killed had begun to write
DAY = 86400.0


class _File(NamedTuple):
    used: float
    size: int
    path: str


def program_folders() -> list[Path]:
    """Returns the folders of compiled programs, as far as they are there."""
    root = cache_folder()
    xla = [*(root / "xla").iterdir()] if (root / "xla").is_dir() else []  # one for each kind of CPU
    return [each for each in (root / "executables", *xla) if each.is_dir()]


def bound_programs() -> None:
    """Removes programs that were not used for longest from folders that have become too large.

    Processes may do so at the same time, and while others read and write: what is gone is compiled again.
    """
    for folder in program_folders():
        trim(folder, MOST_BYTES)


def trim(folder: Path, most: int) -> int:
    """Removes files that were not used for longest until a folder is small enough.

    What was used within the last hour stays, and so does what another process has begun to write, for a day.

    Args:
        folder: which; what lies deeper is left alone.
        most: bytes that its files may take.

    Returns:
        The bytes of the files that are left.
    """
    now, files = time.time(), list[_File]()
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):  # it may be gone by now
                facts = entry.stat(follow_symlinks=False)
                if stat.S_ISREG(facts.st_mode):
                    files.append(_File(max(facts.st_atime, facts.st_mtime), facts.st_size, entry.path))
    left = sum(file.size for file in files)
    for file in sorted(files):
        is_begun = TEMPORARY.search(file.path) is not None
        if now - file.used < (DAY if is_begun else SAFE_SECONDS):
            continue
        if is_begun or left > most:
            with contextlib.suppress(OSError):
                Path(file.path).unlink(missing_ok=True)  # another process may have done so
                left -= file.size
    return left
