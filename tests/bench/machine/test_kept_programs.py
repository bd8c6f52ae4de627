"""The bound on compiled programs in the cache folder: what was used last stays, and what a process may be writing."""

import os
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from jax.experimental.compilation_cache import compilation_cache

from dlkit.bench.machine import kept_programs
from dlkit.bench.machine.doctor import examine
from dlkit.bench.machine.kept_programs import bound_programs, program_folders, trim
from dlkit.bench.training.executables import Kept

HOUR, DAY = 3600.0, 86400.0


def put(path: Path, size: int, age: float) -> Path:
    """Writes a file that was used `age` seconds ago."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(size))
    os.utime(path, (time.time() - age,) * 2)
    return path


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize(("most", "left"), [(60, "abc"), (59, "ab"), (30, "ab"), (29, "a"), (10, "a"), (9, "")])
def test_what_was_not_used_for_longest_goes_first(tmp_path: Path, most: int, left: str) -> None:
    for name, size, age in (("c", 30, 4), ("a", 10, 2), ("b", 20, 3)):
        put(tmp_path / name, size, age * HOUR)
    assert trim(tmp_path, most) == {"abc": 60, "ab": 30, "a": 10, "": 0}[left]
    assert names(tmp_path) == {*left}


def test_what_was_used_within_the_hour_stays_however_full_the_folder_is(tmp_path: Path) -> None:
    put(tmp_path / "now", 100, 10.0)
    put(tmp_path / "before", 100, 1.1 * HOUR)
    put(tmp_path / "deeper" / "file", 100, DAY)
    assert trim(tmp_path, 1) == 100
    assert names(tmp_path) == {"now", "deeper"} and names(tmp_path / "deeper") == {"file"}


def test_what_another_process_writes_stays_and_what_a_killed_one_began_goes(tmp_path: Path) -> None:
    put(tmp_path / "tmp1a_b2c3d", 100, 2 * HOUR)
    put(tmp_path / "tmp9z_b2c3d", 100, 2 * DAY)
    trim(tmp_path, 1)
    assert names(tmp_path) == {"tmp1a_b2c3d"}
    trim(tmp_path, 1000)
    assert names(tmp_path) == {"tmp1a_b2c3d"}


def test_a_folder_that_is_not_there_is_empty(tmp_path: Path) -> None:
    assert trim(tmp_path / "nothing", 0) == 0


def test_processes_that_trim_at_once_leave_what_one_would(tmp_path: Path) -> None:
    for number in range(200):
        put(tmp_path / f"{number:03d}", 10, HOUR * (2 + number))
    code = f"""
from pathlib import Path
from dlkit.bench.machine.kept_programs import trim
trim(Path({str(tmp_path)!r}), 100)
"""
    processes = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(2)]
    assert [each.wait(60) for each in processes] == [0, 0]
    left = sorted(names(tmp_path))
    assert left == [f"{number:03d}" for number in range(len(left))] and len(left) == 10


def test_both_folders_are_bounded_and_others_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DLKIT_CACHE", str(tmp_path))
    monkeypatch.setattr(kept_programs, "MOST_BYTES", 15)
    assert program_folders() == []
    kept = [put(tmp_path / place / "new", 10, 2 * HOUR) for place in ("executables", "xla/one", "xla/two", "data")]
    kept.append(put(tmp_path / "data" / "old", 10, 3 * HOUR))
    gone = [put(tmp_path / place / "old", 10, 3 * HOUR) for place in ("executables", "xla/one", "xla/two")]
    bound_programs()
    assert all(path.exists() for path in kept) and not any(path.exists() for path in gone)


def test_an_executable_that_is_used_counts_as_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DLKIT_CACHE", str(tmp_path))
    before = jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", None)  # what XLA's cache gives back is not kept
    compilation_cache.reset_cache()
    try:
        by = time.time()
        for key in ("used", "not used"):
            Kept(jax.jit(lambda x, key=key: x * by + len(key)), key)(jnp.ones(3))
        for path in (tmp_path / "executables").iterdir():
            os.utime(path, (time.time() - 5 * HOUR,) * 2)
        again = Kept(jax.jit(lambda x: x * by + len("used")), "used")
        again(jnp.ones(3))
    finally:
        jax.config.update("jax_compilation_cache_dir", before)
        compilation_cache.reset_cache()
    assert trim(tmp_path / "executables", 0) > 0
    assert len(names(tmp_path / "executables")) == 2  # the name of its program, and its executable


def test_the_doctor_says_where_programs_lie_and_how_large_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DLKIT_CACHE", str(tmp_path))
    put(tmp_path / "executables" / "one", 1_500_000, 0.0)
    put(tmp_path / "data" / "digits", 500_000, 0.0)
    (text,) = [check.text for check in examine() if check.subject == "cache"]
    assert text.startswith(f"{tmp_path}, 2.0 MB, of which 1.5 MB are compiled programs") and "deleted" in text
