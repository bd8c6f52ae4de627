"""Two projects with one import name: what is said where both are installed."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import dlkit
from dlkit import distribution

CLASH = r"another project's distribution 'dlkit' is installed .*pip uninstall dlkit dlkit-jax"


def run(code: str, *folders: Path) -> str:
    path = os.pathsep.join(map(str, folders))
    ended = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stderr


@pytest.mark.parametrize("name", ["dlkit-1.0.dist-info", "DLKit-0.3.dist-info", "dlkit-0.2-py3.9.egg-info"])
def test_the_other_distribution_is_found_and_told_with_the_fix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / name).mkdir()
    assert distribution.other_distribution() == str(tmp_path / name)
    with pytest.warns(RuntimeWarning, match=CLASH):
        distribution.warn_of_another()


@pytest.mark.parametrize("name", ["dlkit_jax-0.1.0.dist-info", "dlkit_extra-1.0.dist-info", "dlkit-main", "dlkit"])
def test_ones_own_and_others_are_no_clash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(sys, "path", [str(tmp_path), str(tmp_path / "missing"), str(tmp_path / "archive.zip")])
    (tmp_path / name).mkdir()
    assert distribution.other_distribution() is None
    distribution.warn_of_another()  # warnings are errors here


def test_import_says_it_once_in_one_line_and_goes_on(tmp_path: Path) -> None:
    (tmp_path / "dlkit-2.0.dist-info").mkdir()
    code = "import dlkit, dlkit.bench; print(dlkit.__version__)"
    said = run(code, Path(dlkit.__file__).parent.parent, tmp_path)
    assert said.count("another project's distribution") == 1
    assert "RuntimeWarning" not in run(code, Path(dlkit.__file__).parent.parent)


def test_it_is_said_where_the_other_project_has_overwritten_the_package(tmp_path: Path) -> None:
    theirs = tmp_path / "dlkit"
    theirs.mkdir()
    (theirs / "__init__.py").write_text("x = 1\n")
    shutil.copy(distribution.__file__, theirs)
    (theirs / "bench").mkdir()
    shutil.copy(Path(dlkit.__file__).parent / "bench" / "__init__.py", theirs / "bench")
    (tmp_path / "dlkit-2.0.dist-info").mkdir()
    assert "another project's distribution" in run("from dlkit import bench", tmp_path)
