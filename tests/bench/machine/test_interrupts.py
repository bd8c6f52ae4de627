"""The end of a process after a signal: only while the block that it came in goes on, and nothing is left of it."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dlkit.bench.machine import interrupts
from dlkit.bench.machine.interrupts import ends_in_time, heard_like_ctrl_c


def wait_for(is_so: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 20
    while not is_so() and time.monotonic() < deadline:
        time.sleep(0.001)
    return is_so()


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """Ctrl-C raises, also where a shell started the tests in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c")
@pytest.mark.skipif(os.name == "nt", reason="no block ends there")
def test_a_signal_ends_the_block_that_it_came_in_and_no_later_one(monkeypatch: pytest.MonkeyPatch) -> None:
    rings, ended = list[Callable[[], Any]](), list[int]()

    class Timer(threading.Timer):
        """One that rings when the test says so."""

        def start(self) -> None:
            rings.append(lambda: self.function(*self.args))

    monkeypatch.setattr(threading, "Timer", Timer)
    monkeypatch.setattr(interrupts, "_leave", ended.append)
    for is_late in (True, False):
        with pytest.raises(KeyboardInterrupt), heard_like_ctrl_c(), ends_in_time(1.0):
            try:
                signal.raise_signal(signal.SIGINT)
            finally:
                assert wait_for(lambda: bool(rings))
                if is_late:
                    rings.pop()()
    assert ended == [130], "a block that goes on too long ends the process"
    with ends_in_time(1.0):
        rings.pop()()
    assert ended == [130], "the one before was over in time"


class Finalized:
    """Does something where Python drops what it raises."""

    def __init__(self, last: Callable[[], Any]) -> None:
        self.last = last

    def __del__(self) -> None:
        self.last()


@pytest.mark.usefixtures("ctrl_c")
def test_a_signal_that_comes_in_a_finalizer_is_heard_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    said = list[Any]()
    monkeypatch.setattr("sys.unraisablehook", said.append)
    with pytest.raises(KeyboardInterrupt), heard_like_ctrl_c():
        Finalized(lambda: signal.raise_signal(signal.SIGINT))
        assert not wait_for(lambda: False), "it comes again before this ends"
    Finalized(lambda: 1 / 0)
    with heard_like_ctrl_c():
        Finalized(lambda: 1 / 0)
    assert [each.exc_type for each in said] == [ZeroDivisionError, ZeroDivisionError], "all else is said as ever"


@pytest.mark.skipif(not Path("/dev/fd").is_dir(), reason="nothing says which descriptors there are")
def test_no_descriptor_is_left_of_a_block() -> None:
    def descriptors() -> int:
        return len(list(Path("/dev/fd").iterdir()))

    before = descriptors()
    for _ in range(5):
        with ends_in_time(1.0):
            pass
    assert wait_for(lambda: descriptors() <= before)
