"""Caches are for the user alone, files that are read are plain and of bounded size, and what is said names the fix."""

import gzip
import io
import os
import stat
from pathlib import Path

import numpy as np
import pytest

from dlkit.bench import doors
from dlkit.bench.data.cache import cached
from dlkit.bench.doors import open_ours, private_folder, read_plain, stranger_in, unpacked_within
from dlkit.bench.errors import UserError
from dlkit.bench.machine import environment
from dlkit.bench.machine.environment import keep
from dlkit.bench.training import executables


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_cache_is_made_for_the_user_alone(tmp_path: Path) -> None:
    keep(tmp_path / "cache" / "code" / "a", b"x")
    assert [mode(tmp_path / "cache" / part) for part in ("", "code")] == [0o700, 0o700]
    assert mode(tmp_path / "cache" / "code" / "a") & 0o077 == 0
    with open_ours(tmp_path / "cache" / "code" / "a") as file:
        assert file.read() == b"x"


@pytest.mark.parametrize("bits", [0o777, 0o1777, 0o757])
def test_a_folder_that_others_may_write_to_is_neither_read_nor_written(tmp_path: Path, bits: int) -> None:
    folder = tmp_path / "cache"
    keep(folder / "a", b"mine")
    folder.chmod(bits)
    assert "may be written by others" in stranger_in(folder)
    with pytest.raises(OSError, match="may be written by others"):
        open_ours(folder / "a")
    keep(folder / "b", b"x")
    assert not (folder / "b").exists()
    with pytest.raises(OSError, match="not used"):
        private_folder(folder)


def test_a_folder_below_one_in_which_all_may_write_is_not_used_unless_that_is_sticky(tmp_path: Path) -> None:
    above, folder = tmp_path / "above", tmp_path / "above" / "cache"
    private_folder(folder)
    above.chmod(0o777)
    assert str(above) in stranger_in(folder)
    above.chmod(0o1777)  # as of /tmp
    assert stranger_in(folder) == ""


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="only root can give files away")
def test_what_belongs_to_another_user_is_not_used(tmp_path: Path) -> None:
    keep(tmp_path / "cache" / "a", b"x")
    os.chown(tmp_path / "cache" / "a", 4242, 4242)
    with pytest.raises(OSError, match="another user"):
        open_ours(tmp_path / "cache" / "a")
    os.chown(tmp_path / "cache", 4242, 4242)
    assert "another user" in stranger_in(tmp_path / "cache")


def test_a_file_that_others_may_write_is_not_read(tmp_path: Path) -> None:
    keep(tmp_path / "cache" / "a", b"x")
    (tmp_path / "cache" / "a").chmod(0o666)
    with pytest.raises(OSError, match="may be written by others"):
        open_ours(tmp_path / "cache" / "a")


def test_an_executable_that_others_may_have_written_is_not_unpickled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DLKIT_CACHE", str(tmp_path))
    opened: list[bytes] = []
    monkeypatch.setattr(executables.pickle, "loads", lambda body: opened.append(body) or 1 / 0)
    place = tmp_path / "executables" / "0123"
    executables._write(place, b"body")
    executables._loaded(place)
    assert opened == [b"body"]  # of a folder of our own it is
    place.parent.chmod(0o777)
    assert executables._loaded(place) is None and opened == [b"body"]


def test_jax_gets_no_cache_that_others_may_write_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DLKIT_CACHE", str(tmp_path))
    environment.configure_jax.cache_clear()
    (tmp_path / "xla").mkdir()
    import jax

    folder = tmp_path / "xla" / environment.hashlib.sha256(environment.cpu_flags().encode()).hexdigest()[:12]
    folder.mkdir()
    folder.chmod(0o777)
    before = jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", None)
    try:
        with pytest.warns(UserWarning, match="compilation is not cached: .*may be written by others"):
            environment.configure_jax()
        assert not jax.config.jax_compilation_cache_dir
    finally:
        jax.config.update("jax_compilation_cache_dir", before)
        environment.configure_jax.cache_clear()


def test_data_are_made_anew_where_others_may_have_written_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DLKIT_CACHE", str(tmp_path))
    made: list[int] = []

    def load() -> dict[str, np.ndarray]:
        made.append(1)
        return {"x": np.arange(3)}

    for _ in range(2):
        cached("numbers", load)
    assert len(made) == 1
    (tmp_path / "data").chmod(0o777)
    cached("numbers", load)
    assert len(made) == 2


# --- files ---


def test_pipes_links_and_large_files_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    assert read_plain(tmp_path / "file", 5) == b"12345"
    with pytest.raises(OSError, match="more than the 4 bytes"):
        read_plain(tmp_path / "file", 4)
    (tmp_path / "link").symlink_to(tmp_path / "file")
    with pytest.raises(OSError):
        read_plain(tmp_path / "link", 5)
    os.mkfifo(tmp_path / "pipe")  # opening it would wait for ever for somebody who writes
    with pytest.raises(OSError, match="no plain file"):
        read_plain(tmp_path / "pipe", 5)


def test_what_unpacks_to_more_than_it_may_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    packed = gzip.compress(bytes(3 * doors.STRETCH))
    with gzip.open(io.BytesIO(packed)) as opened:
        assert len(unpacked_within(opened, "x.gz", most=3 * doors.STRETCH)) == 3 * doors.STRETCH
    said = r"x\.gz: unpacks to more than 2\.0 MiB.*DLKIT_MOST_BYTES"
    with gzip.open(io.BytesIO(packed)) as opened, pytest.raises(UserError, match=said):
        unpacked_within(opened, "x.gz", most=2 * doors.STRETCH)
    monkeypatch.setenv("DLKIT_MOST_BYTES", "many")
    with pytest.raises(UserError, match="must be a number of bytes"):
        doors.most_unpacked()
