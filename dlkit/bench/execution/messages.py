"""Messages between a run and its workers: whole objects over a socket, also where one comes a part at a time."""

import pickle
import socket
import struct
import time
from collections.abc import Generator
from typing import Any

__all__ = ["Incoming", "send"]

NUMBER = struct.Struct("<Q")


def send(pipe: socket.socket, message: Any) -> None:
    """Sends a message; the arrays of a parcel are not copied.

    Raises:
        OSError: if nobody is there to read it.
    """
    buffers: list[pickle.PickleBuffer] = []
    content = pickle.dumps(message, protocol=5, buffer_callback=buffers.append)
    parts = [memoryview(content), *(each.raw() for each in buffers)]
    pipe.sendall(b"".join(NUMBER.pack(number) for number in (len(parts), *(each.nbytes for each in parts))))
    for each in parts:
        if each.nbytes:
            pipe.sendall(each)


class Incoming:
    """The messages that come through a socket. What has come of one is kept: nobody has to wait for its end."""

    def __init__(self, pipe: socket.socket) -> None:
        """Begins with nothing.

        Args:
            pipe: whose other side sends by `send`.
        """
        self._pipe = pipe
        self._last: float | None = None  # when a part of a message came that has not ended
        self._begin()

    def _begin(self) -> None:
        self._rooms = _rooms()
        self._room = memoryview(next(self._rooms))
        self._last = None

    @property
    def silent(self) -> float:
        """Seconds since a part came of a message that has not ended; 0 between messages."""
        return 0.0 if self._last is None else time.monotonic() - self._last

    def read(self, *, wait: bool = False) -> Any:
        """Returns the next message; arrays in it can be written to.

        Args:
            wait: whether to wait for its end.

        Returns:
            The message, which is not None; None where it has not ended yet.

        Raises:
            EOFError: if the other side is gone, also in the middle of a message.
            OSError: the same.
        """
        while True:
            try:
                count = self._pipe.recv_into(self._room, 0, 0 if wait else socket.MSG_DONTWAIT)
            except BlockingIOError:
                return None
            if not count:
                raise EOFError
            self._room, self._last = self._room[count:], time.monotonic()
            if not self._room:
                try:
                    self._room = memoryview(next(self._rooms))
                except StopIteration as end:
                    self._begin()
                    return end.value


def _rooms() -> Generator[bytearray, None, Any]:
    """What is to be filled, one after the other, until it is a message."""
    yield (count := bytearray(NUMBER.size))
    yield (sizes := bytearray(NUMBER.size * NUMBER.unpack(count)[0]))
    parts = [bytearray(size) for (size,) in NUMBER.iter_unpack(sizes)]
    for each in parts:
        if each:
            yield each
    return pickle.loads(parts[0], buffers=parts[1:])
