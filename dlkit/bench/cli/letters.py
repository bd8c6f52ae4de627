"""Output that does not end the command: into few letters, a pipe that nobody reads, a terminal that is gone."""

import errno
import io
import os
from typing import Any

from dlkit.bench.report.plain_letters import PLAINLY

__all__ = ["lasting", "readable_everywhere"]

NOBODY_READS = (errno.EPIPE, errno.EIO)  # the end of a pipe, or of a terminal


def readable_everywhere(*streams: Any) -> None:
    """Lets text streams that cannot write some letters write others in their place, instead of raising.

    Args:
        *streams: such as the standard output; those of another kind stay as they are.
    """
    for stream in streams:
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=PLAINLY)


class _Lasting(io.RawIOBase):
    """A file that takes what is written also when nobody reads it any more.

    Attributes:
        error: what else went wrong with it, such as a full disk; None if nothing did.
    """

    def __init__(self, descriptor: int, name: str) -> None:
        super().__init__()
        self.name, self.mode = name, "wb"
        self.error: OSError | None = None
        self._descriptor, self._is_over = descriptor, False

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def write(self, content: Any) -> int:
        if not self._is_over:
            try:
                return os.write(self._descriptor, content)
            except OSError as error:
                self._is_over = True
                self.error = None if error.errno in NOBODY_READS else error
        return memoryview(content).nbytes


def lasting(stream: Any) -> tuple[Any, _Lasting | None]:
    """Returns a text stream like another one, to which nobody has to listen.

    Args:
        stream: such as the standard output; one that is no file stays as it is.

    Returns:
        The stream; and what knows how writing went, None for one that stays as it is.
    """
    try:
        stream.flush()
        raw = _Lasting(stream.fileno(), stream.name)
    except (AttributeError, OSError, ValueError):  # captured, closed, or none
        return stream, None
    text = io.TextIOWrapper(
        io.BufferedWriter(raw),
        stream.encoding,
        stream.errors,
        line_buffering=stream.line_buffering or stream.write_through or raw.isatty(),  # of `python -u`, too
    )
    return text, raw
