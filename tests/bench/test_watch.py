"""`dlkit watch`: it shows how far a run is, leaves the writer alone, and ends when the run ends."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from dlkit.bench.cli import watch as watching
from dlkit.bench.cli.watch import Watched, _Answering, look, watch
from dlkit.bench.errors import UserError
from dlkit.bench.execution.course import PROGRESS, State, forget, keep
from dlkit.bench.store.store import Store
from tests.bench.synthetic import PROGRAM, fill, make_plan, make_problem, play, synthetic_outcome

PLAN = make_plan(
    ["sgd", "adam"], problems=[make_problem("bowl"), make_problem("dish")], points=1, tuning_seeds=1, seeds=6
)
HERE = State(24, 7, (), ("bowl / adam",), "", 30.0, False, socket.gethostname(), os.getpid(), 0.0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with Store(tmp_path) as store:
        fill(store, PLAN)
    return tmp_path


def test_a_look_shows_how_far_the_run_is_and_its_answer(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keep(folder, HERE._replace(at=time.time()))
    assert watch(folder, once=True) == 0
    said = capsys.readouterr().out
    assert "7/24 trials; 30 s left; training bowl / adam" in said
    assert "adam is best" in said and "bowl" in said and "dish" in said
    assert "No run goes on" not in said


def test_of_a_run_that_does_not_go_on_the_answer_is_shown(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert watch(folder) == 0
    assert capsys.readouterr().out.rstrip().endswith("No run goes on in this folder.")


def test_it_follows_until_the_run_ends(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "EVERY", 0.02)
    monkeypatch.setattr(watching, "LOG_EVERY", 0.0)
    keep(folder, HERE._replace(at=time.time()))
    timer = threading.Timer(0.3, forget, [folder])
    timer.start()
    assert watch(folder) == 0
    timer.join()
    said = capsys.readouterr().out
    assert said.count("7/24 trials") > 2 and said.rstrip().endswith("The run has ended.")


def test_a_run_that_was_killed_is_told_from_one_that_goes_on(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gone = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
    keep(folder, HERE._replace(process=int(gone.stdout)))
    assert not look(folder).goes_on
    assert watch(folder) == 0
    assert "ended without a word" in capsys.readouterr().out


def test_a_full_disk_leaves_no_files_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    keep(tmp_path, HERE)
    monkeypatch.setattr(json, "dump", full)
    for _ in range(3):
        keep(tmp_path, HERE)
    assert [each.name for each in tmp_path.iterdir()] == [PROGRESS]


def test_of_another_machine_the_last_sign_of_life_decides() -> None:
    there = HERE._replace(host="elsewhere")
    assert Watched(there, 3.0).goes_on and not Watched(there, 300.0).goes_on
    assert "on elsewhere ended without a word 5 min ago" in Watched(there, 300.0).ended


def test_ctrl_c_ends_it_quietly(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(run: Path) -> Watched:
        raise KeyboardInterrupt

    monkeypatch.setattr(watching, "look", interrupt)
    assert watch(folder) == 0
    assert capsys.readouterr() == ("", "")


def test_a_run_that_is_deleted_while_it_is_followed_is_said(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    answering = _Answering(folder, 80)
    monkeypatch.setattr(watching, "EVERY", 0.02)
    keep(folder, HERE._replace(at=time.time()))
    timer = threading.Timer(0.1, shutil.rmtree, [folder])
    timer.start()
    with pytest.raises(UserError, match=re.escape(str(folder))):
        watch(folder)
    timer.join()
    answering()  # as where it is deleted between two looks
    assert [line.plain for line in answering.lines] == ["Reading what has run ..."]


def test_a_folder_without_a_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nothing: no run there .* once it has begun"):
        watch(tmp_path / "nothing")


def test_a_plan_that_nobody_could_run_is_a_message(folder: Path) -> None:
    """Somebody else's: going through all of its trials would not end."""
    with Store(folder) as store:
        store.use_plan(replace(PLAN, seeds=10**12), {})
    with pytest.raises(UserError):
        watch(folder, once=True)


def test_a_run_in_which_nothing_has_ended_yet_is_no_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Store(tmp_path):
        watch(tmp_path, once=True)
    assert "Nothing to show yet" in capsys.readouterr().out


def test_the_writer_goes_on_while_others_watch(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A writer adds trial after trial, each in a transaction, while a watcher reads all the time."""
    history = play(
        PLAN, lambda problem, contender, trial: synthetic_outcome(problem, PLAN, trial, [1.0, 0.5, 0.3, 0.2, 0.1])
    )
    outcomes, looks, errors, over = list(history.outcomes.values()), [], [], threading.Event()

    def read() -> None:
        while not over.is_set():
            try:
                looks.append(watch(tmp_path, once=True))
            except Exception as error:
                errors.append(error)

    with Store(tmp_path) as store:
        store.use_plan(PLAN, {})
        store.use_software(PROGRAM)
        thread = threading.Thread(target=read)
        thread.start()
        slowest = 0.0
        for outcome in outcomes:
            began = time.monotonic()
            store.add([outcome], PROGRAM)
            slowest = max(slowest, time.monotonic() - began)
            time.sleep(0.05)
        over.set()
        thread.join()
        assert store.finished() == {outcome.trial.id for outcome in outcomes}
    assert not errors and slowest < 10
    assert len(looks) > 1 and "trials have run" in capsys.readouterr().out
