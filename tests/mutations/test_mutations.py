"""Every fault of a fixed list is found by the test that is named for it."""

import ast
import compileall
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.mutations.faults import FAULTS, Fault

ROOT = Path(__file__).parents[2]
SECONDS = 300  # for the named test of one fault
SOME_TESTS_FAILED = 1  # pytest's exit status; others are for what could not run at all
BY_NAME = {fault.name: fault for fault in FAULTS}


def place_of(fault: Fault, root: Path = ROOT) -> Path:
    """The one file that has the fault's text, once."""
    counts = {path: path.read_text(encoding="utf-8").count(fault.old) for path in sorted(root.glob(fault.where))}
    found = {path: count for path, count in counts.items() if count}
    assert list(found.values()) == [1], f"expected '{fault.old}' once in {fault.where}, got {found}"
    return next(iter(found))


def functions_of(path: Path) -> set[str]:
    """The tests of a file, as pytest calls them, without parameters."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    return found | {f"{each.name}::{node.name}" for each in classes for node in each.body if hasattr(node, "name")}


@pytest.mark.parametrize("fault", FAULTS, ids=BY_NAME)
def test_the_text_of_a_fault_and_its_test_are_there(fault: Fault) -> None:
    """Whoever rewrites a line of the list moves the fault along, or names another."""
    place_of(fault)
    file, _, name = fault.test.partition("::")
    assert re.sub(r"\[.*", "", name) in functions_of(ROOT / "tests" / file)
    assert fault.old != fault.new


def test_faults_have_names_of_their_own() -> None:
    assert len(BY_NAME) == len(FAULTS) >= 60


# --- each is found ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package and its tests, to plant faults in."""
    root = tmp_path_factory.mktemp("mutated")
    ignored = shutil.ignore_patterns("__pycache__", "faults", "mutations")
    for name in ("dlkit", "tests", "benchmarks", "experiments"):  # tests import some of them
        shutil.copytree(ROOT / name, root / name, ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", root)
    compileall.compile_dir(root, quiet=1)  # once: a file that is changed later is newer than this
    return root


def run(root: Path, *tests: str) -> subprocess.CompletedProcess[str]:
    """Runs tests of a copy in a process of their own, which imports the copy and writes no bytecode of a fault."""
    kept = {name: value for name, value in os.environ.items() if name not in ("QUICK_COMPILATION", "XLA_FLAGS")}
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
    options = ["-o", "addopts=--import-mode=importlib --strict-markers"]  # without what tests of primitives need
    return subprocess.run(
        [*command, *options, *(f"tests/{test}" for test in tests)],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=SECONDS * (1 + len(tests) // 10),
        env={**kept, "PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"},
    )


@contextmanager
def planted(root: Path, fault: Fault) -> Iterator[None]:
    """Has the fault in the copy for as long as the context lasts."""
    path = place_of(fault, root)
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace(fault.old, fault.new), encoding="utf-8")
    try:
        yield
    finally:
        path.write_text(text, encoding="utf-8")


@pytest.mark.slow
def test_the_named_tests_pass_without_a_fault(copy: Path) -> None:
    ended = run(copy, *dict.fromkeys(fault.test for fault in FAULTS))
    assert ended.returncode == 0, ended.stdout[-3000:] + ended.stderr[-1000:]


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS, ids=BY_NAME)
def test_a_fault_is_found(copy: Path, fault: Fault) -> None:
    with planted(copy, fault):
        ended = run(copy, fault.test)
    assert ended.returncode == SOME_TESTS_FAILED, ended.stdout[-3000:] + ended.stderr[-1000:]
