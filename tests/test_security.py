"""What SECURITY.md promises: opening a run executes nothing of it; a spec's functions are imported when it is read."""

import os
import pickle
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dlkit import bench
from dlkit.bench.api import open_run
from dlkit.bench.data import npy, npz
from dlkit.bench.errors import UserError
from dlkit.bench.identity.local_code import LocalCode
from dlkit.bench.plan.programs import Programs
from dlkit.bench.store.kept_code import About, KeptCode
from dlkit.bench.store.store import Store
from tests.bench.synthetic import fill, make_plan

MODULE = "dlkit_test_of_what_is_imported"


@pytest.fixture
def hostile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a module that says when it is imported, on the path."""
    (tmp_path / f"{MODULE}.py").write_text("import pathlib\npathlib.Path(__file__).with_suffix('.ran').touch()\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.long
def test_opening_and_reporting_a_run_imports_nothing_that_it_names(hostile: Path) -> None:
    plan = make_plan(("sgd", "adam"))
    names = (f"{MODULE}:attack", f"{MODULE}.py:attack")
    contenders = [
        replace(contender, optimizer=name, is_own=True) for contender, name in zip(plan.contenders, names, strict=True)
    ]
    problems = [replace(problem, made_by=f"{MODULE}:attack", is_own=True) for problem in plan.problems]
    with Store(hostile / "run") as store:
        fill(store, replace(plan, contenders=contenders, problems=problems))
    result = open_run(hostile / "run")
    assert len(result.trials()) >= 20 and str(result)
    result.report(hostile / "report.html")
    assert MODULE not in sys.modules and not (hostile / f"{MODULE}.ran").exists()


class Attack:
    """Its pickle writes down which process opened it."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return exec, (
            f"import os, pathlib; pathlib.Path({str(self.file)!r}).write_text(str(os.getpid())); raise OSError",
        )


@pytest.mark.long
def test_kept_code_is_opened_by_a_replay_alone_and_not_in_its_process(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan, opened = make_plan(("sgd", "adam")), tmp_path / "opened"
    own = Programs("mine", "", "")
    programs = {"bowl": {contender.label: {"{}": own} for contender in plan.contenders}}
    plan = replace(plan, problems=[replace(plan.problems[0], is_own=True)], programs=programs)
    with Store(tmp_path / "run") as store:
        fill(store, plan)
        python = f"{sys.version_info.major}.{sys.version_info.minor}"
        about = About("", "problem 'bowl'", LocalCode({}), python, "2000-01-01 00:00 UTC", {})
        name = store.keep_code(KeptCode(about, pickle.dumps(Attack(opened)), []))
        assert name is not None
        store.use_plan(plan, {}, [about._replace(digest=name)])
    result = open_run(tmp_path / "run")
    assert str(result)
    result.report(tmp_path / "report.html")
    assert not opened.exists()
    with pytest.raises(UserError, match="cannot be opened here"):
        result.replay(next(iter(result.summary.records)))
    assert opened.exists() and int(opened.read_text()) != os.getpid()
    said = f"running code that {tmp_path / 'run'} has kept since 2000-01-01 00:00 UTC: problem 'bowl'\n"
    assert capsys.readouterr().err == said


def test_reading_a_spec_imports_what_it_names(hostile: Path) -> None:
    (hostile / "spec.toml").write_text(
        f'problems = ["quadratic"]\noptimizers = [{{ optimizer = "{MODULE}.py:attack", space = {{ x = [0.1, 1] }} }}]'
    )
    with pytest.raises(UserError, match="attack"):  # there is no such function; the file ran to find out
        bench.load(hostile / "spec.toml")
    assert (hostile / f"{MODULE}.ran").exists()


def test_pickled_objects_in_data_files_are_refused(tmp_path: Path) -> None:
    objects = np.array([{}, {}, {}, {}], dtype=object)
    np.savez(tmp_path / "data.npz", inputs=objects, targets=np.arange(4))
    with pytest.raises(UserError, match="pickle"):
        npz(tmp_path / "data.npz")
    for part in ("train", "validation", "test"):
        (tmp_path / "arrays" / part).mkdir(parents=True)
        np.save(tmp_path / "arrays" / part / "inputs.npy", objects)
    with pytest.raises(UserError, match="pickle"):
        npy(tmp_path / "arrays")
