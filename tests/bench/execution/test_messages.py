"""Messages between a run and its workers: whole, a part at a time, and cut short."""

import pickle
import socket
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from dlkit.bench.execution import messages
from dlkit.bench.execution.in_hand import hanging
from dlkit.bench.execution.lease import Lease, Phase, new_memory
from dlkit.bench.execution.messages import Incoming, send

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def sent(message: Any) -> bytes:
    """The bytes of a message."""
    parts = list[bytes]()

    class Kept:
        def sendall(self, content: Any) -> None:
            parts.append(bytes(content))

    send(Kept(), message)  # type: ignore[arg-type]
    return b"".join(parts)


def test_a_message_comes_as_it_was_and_its_arrays_can_be_written_to(pair: Pair) -> None:
    ours, theirs = pair
    large = {"a": np.arange(200_000.0), "empty": np.zeros(0), "text": "ä"}
    sender = threading.Thread(target=send, args=(theirs, large))
    sender.start()
    found = Incoming(ours).read(wait=True)
    sender.join()
    np.testing.assert_array_equal(found["a"], large["a"])
    assert found["empty"].shape == (0,) and found["text"] == "ä"
    found["a"][0] = 1.0


def test_nobody_waits_for_a_message_that_comes_byte_by_byte(pair: Pair) -> None:
    ours, theirs = pair
    answers, content = Incoming(ours), sent(("one", np.arange(3))) + sent("two")
    found = []
    for byte in content:
        assert answers.read() is None
        theirs.sendall(bytes([byte]))
        if (message := answers.read()) is not None:
            found.append(message)
    (name, numbers), second = found
    assert name == "one" and numbers.tolist() == [0, 1, 2] and second == "two"


def test_it_is_known_for_how_long_a_message_has_stopped(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = pair
    now = [100.0]
    monkeypatch.setattr(messages, "time", type("Clock", (), {"monotonic": staticmethod(lambda: now[0])}))
    answers, content = Incoming(ours), sent("one")
    assert answers.silent == 0.0
    theirs.sendall(content[:-1])
    assert answers.read() is None
    now[0] += 40.0
    assert answers.read() is None and answers.silent == 40.0
    theirs.sendall(content[-1:])
    assert answers.read() == "one" and answers.silent == 0.0


@pytest.mark.parametrize("kept", [0, 3, 20])
def test_a_message_that_is_cut_short_is_an_end(pair: Pair, kept: int) -> None:
    ours, theirs = pair
    theirs.sendall(sent("a message of some length")[:kept])
    theirs.close()
    with pytest.raises(EOFError):
        Incoming(ours).read()


def test_a_worker_that_stops_in_the_middle_of_its_answer_is_ended() -> None:
    lease = Lease(new_memory())
    lease.write(Phase.WAITING)  # it has done its task
    assert hanging(lease.read(), 1.0, answering=11.0) is None  # 2 x 1 + 10 seconds
    reason, kind = hanging(lease.read(), 1.0, answering=13.0)  # type: ignore[misc]
    assert "in the middle of its answer" in reason and kind == "hung"
    lease.close()


def test_what_is_sent_needs_no_copy_of_its_arrays() -> None:
    numbers = np.arange(1000)
    assert len(sent(numbers)) < numbers.nbytes + len(pickle.dumps(np.zeros(1), protocol=5)) + 200
