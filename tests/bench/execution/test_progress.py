"""What is said of a run while it goes on: one line that fits, time left by hand, and a file that others can read."""

import errno
import io
import math
import os
import socket
import time
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from dlkit.bench.analysis.foresight import foresee
from dlkit.bench.execution import displays
from dlkit.bench.execution.course import PROGRESS, Course, State, forget, keep, kept
from dlkit.bench.execution.displays import bar_line, live_progress, log_line
from dlkit.bench.execution.time_left import TimeLeft
from tests.bench.synthetic import make_plan

LABELS = ("digits-cnn / schedule_free_adamw", "diabetes-linear / adam", "quadratic / sgd")


def drawn(state: State, width: int) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None, force_terminal=True, legacy_windows=False)
    console.print(bar_line(state, width))
    return console.file.getvalue()


# --- the line ---

running = st.lists(st.sampled_from(LABELS), max_size=3, unique=True).map(tuple)


@given(st.integers(0, 9999), running, running, st.floats(1.0, 1e6), st.integers(20, 200))
def test_the_line_fits_and_names_are_whole(done, compiling, training, seconds, width) -> None:
    state = State(9999, done, compiling, training, "", seconds, at=time.time())
    (line,) = drawn(state, width).splitlines()
    text = line.rstrip()
    assert len(text) <= width and "…" not in text
    assert state.counted in text
    after = text.partition(" trials")[2].partition(" left")[2] or text.partition(" trials")[2]
    named = [label for label in LABELS if label in after]
    rest = after
    for word in (*named, "compiling", "training", "at work", ",", "+"):
        rest = rest.replace(word, "")
    assert not rest.strip(" 0123456789~sminhday.left")  # nothing of a name is left over


def test_at_80_columns_bar_count_time_left_and_a_name_stand_side_by_side() -> None:
    state = State(1440, 123, ("quadratic / sgd",), ("digits-mlp / rmsprop",), "", 754.0, at=time.time())
    text = drawn(state, 80)
    assert text.startswith("━━ ") and text.index("123") == displays.BAR + 1  # a twelfth of 24, without colours
    assert "123/1,440 trials 13 min left" in text  # 754 s are 12.6 min, rounded up
    assert "digits-mlp / rmsprop +1" in text
    assert "compiling quadratic / sgd, training digits-mlp / rmsprop" in drawn(state, 140)


def test_what_runs_is_named_as_far_as_there_is_room() -> None:
    state = State(10, 1, ("a / sgd",), ("b / adam",), note="")
    assert [state.what(room) for room in (40, 33, 20, 12, 9, 8)] == [
        "compiling a / sgd, training b / adam",
        "training b / adam +1",
        "training b / adam +1",
        "b / adam +1",
        "2 at work",
        "",
    ]


def test_time_left_runs_down_and_is_not_told_once_it_was_too_short() -> None:
    state = State(10, 1, note="", seconds=30.0, is_guess=True, at=100.0)
    assert [state.left(now) for now in (100.0, 120.0, 131.0)] == ["~30 s left", "~10 s left", ""]
    assert state._replace(is_guess=False).left(110.0) == "20 s left"
    assert State(10, 0, note="").left() == ""


def test_a_line_of_a_log_has_its_time() -> None:
    state = State(10, 4, training=("a / sgd",), note="", seconds=50.0, at=1000.0)
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(1000.0))
    assert log_line(state, 1000.0) == f"{when} 4/10 trials; 50 s left; training a / sgd"


# --- the time left ---


def test_before_the_first_trial_nothing_is_known() -> None:
    left = TimeLeft()
    left.expect("a / sgd", 5)
    assert math.isnan(left.estimate().seconds)


def test_each_contender_counts_with_its_own_pace_and_workers_share() -> None:
    left = TimeLeft()
    left.workers = 2
    left.expect("a / sgd", 10)
    left.expect("a / adam", 20)
    left.took("a / sgd", 4, seconds=12.0, training=8.0)  # 2 s a trial
    left.took("a / adam", 1, seconds=8.0, training=5.0)
    left.expect("a / sgd", 6)
    left.expect("a / adam", 19)
    assert left.estimate() == ((6 * 2 + 19 * 5) / 2, False)


def test_who_has_not_begun_takes_as_long_as_others_on_its_problem_and_gets_ready() -> None:
    left = TimeLeft()
    left.expect("a / sgd", 0)
    left.expect("a / adam", 3)
    left.took("a / sgd", 4, seconds=12.0, training=8.0)  # 2 s a trial, and 4 s to get ready
    assert left.estimate() == (3 * 2 + 4, False)


def test_a_problem_that_has_not_begun_is_a_guess_by_what_is_usual() -> None:
    left = TimeLeft()
    left.expect("small / sgd", 0)
    left.expect("large / sgd", 5)
    left.took("small / sgd", 10, seconds=10.0, training=10.0)
    assert left.estimate() == (5 * 1.0, True)  # nothing known: as the others
    left.weights = {"small": 2.0, "large": 60.0}
    assert left.estimate() == (5 * 30.0, True)  # usually 30 times as long


def test_the_last_trial_is_not_shared() -> None:
    left = TimeLeft()
    left.workers = 8
    left.expect("a / sgd", 2)
    left.took("a / sgd", 1, seconds=8.0, training=8.0)
    left.expect("a / sgd", 1)
    assert left.estimate().seconds == 8.0


def test_a_look_at_stored_trials_is_no_pace() -> None:
    left = TimeLeft()
    left.took("a / sgd", 1, seconds=0.1, training=0.1)
    left.expect("a / sgd", 1)
    assert math.isnan(left.estimate().seconds)


# --- the course ---


def test_the_course_counts_what_it_hears() -> None:
    course = Course()
    assert course.state.counted == "" and course.state.what() == "starting workers"
    course.plan(10, 2)
    course.workers(1)
    course.expecting("a / sgd", 8)
    course.compiling("a / sgd")
    assert course.state.what() == "compiling a / sgd"
    course.took("a / sgd", 2, 4.0, 4.0)
    course.advance("a / sgd", 2)
    course.expecting("a / sgd", 6)
    state = course.state
    assert (state.done, state.what(), state.seconds) == (4, "training a / sgd", 12.0)
    course.plan(12, 4)  # tuning has drawn points: what runs goes on
    assert course.state.what() == "training a / sgd"
    course.ended("a / sgd")
    course.timing("a / timing")
    assert course.state.what() == "a: timing steps" and course.state.left() == ""
    course.finishing()
    course.advance("a / sgd", 1)
    assert course.state.what() == "finishing the trials in hand" and course.state.left() == ""
    course.summing()
    assert course.state.what() == "summing up"


def test_a_state_is_read_back_as_it_was_kept(tmp_path: Path) -> None:
    state = State(10, 4, ("a / sgd",), ("b / ädam",), "", math.nan, True, socket.gethostname(), os.getpid(), 12.5)
    keep(tmp_path, state)
    found = kept(tmp_path)
    assert found is not None and math.isnan(found.seconds)
    assert found._replace(seconds=0.0) == state._replace(seconds=0.0)
    assert [path.name for path in tmp_path.iterdir()] == [PROGRESS]
    (tmp_path / PROGRESS).write_text('{"planned": 3, "unknown": 1}')
    assert kept(tmp_path) is None
    forget(tmp_path)
    forget(tmp_path)
    assert kept(tmp_path) is None


# --- displays ---


def test_without_a_terminal_sentences_and_a_line_a_minute_come(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(displays, "LOG_EVERY", 0.0)
    monkeypatch.setattr(displays, "KEPT_EVERY", 0.01)
    with live_progress(True, tmp_path) as listener:
        listener.foreseeing(foresee(make_plan()))
        listener.plan(10, 4)
        listener.advance("a / sgd", 1)
        deadline = time.monotonic() + 10
        while (kept(tmp_path) or State()).done != 5 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert (kept(tmp_path) or State()).counted == "5/10 trials"
        time.sleep(0.05)
    assert not (tmp_path / PROGRESS).exists()
    said = capsys.readouterr().err
    assert all(sentence in said for sentence in foresee(make_plan()).sentences)
    assert "5/10 trials; training a / sgd" in said


def test_nothing_but_warnings_is_said_where_no_progress_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    with live_progress(False) as listener:
        listener.foreseeing(foresee(make_plan()))
        listener.advance("a / sgd", 1)
        listener.warn("mind this")
    assert capsys.readouterr().err == "mind this\n"


def test_a_full_disk_leaves_no_half_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is written once a second: what is left of each would fill the folder."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("json.dump", full)
    keep(tmp_path, State())
    assert not list(tmp_path.iterdir())


def test_a_run_goes_on_without_the_terminal_that_it_was_begun_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    ours, theirs = os.openpty()
    with os.fdopen(theirs, "w") as terminal:
        monkeypatch.setattr("sys.stderr", terminal)
        with live_progress(True) as listener:
            listener.warn("mind this")
            assert os.read(ours, 2**16)
            os.close(ours)
            with pytest.raises(OSError, match="Input/output error"):
                print("nobody reads this", file=terminal, flush=True)
            listener.warn("mind that")
        monkeypatch.undo()
        with suppress(OSError):
            terminal.close()
