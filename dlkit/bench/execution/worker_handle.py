"""Worker processes of this machine, as a run sees them: how they start, what they print, how they end."""

import os
import re
import signal
import socket
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from dlkit.bench.execution.executor import Kind
from dlkit.bench.execution.lease import Lease, new_memory
from dlkit.bench.execution.messages import Incoming
from dlkit.bench.execution.nursery import FRAME, KILL, START, STARTED, command
from dlkit.bench.execution.worker_process import Request
from dlkit.bench.machine.preparation import thread_variables

__all__ = ["MOST_PRINTED", "Ending", "NurseryProcess", "Printed", "Worker", "how_it_ended"]

MOST_PRINTED = 2**16  # bytes of what a worker prints that are shown
END_SECONDS = 5.0  # that workers may take to be gone once they are killed
FAULTS = {signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGABRT}
CONTROLS = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|.)|[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class Ending(NamedTuple):
    """How a process ended.

    Attributes:
        process: which.
        status: as of `os.waitpid`.
        used: the most memory that it had, in bytes.
    """

    process: int
    status: int
    used: int


def how_it_ended(ending: Ending) -> str:
    """Returns how a process ended, in words that follow "a worker"."""
    if not os.WIFSIGNALED(ending.status):
        return f"ended itself with exit status {os.waitstatus_to_exitcode(ending.status)}"
    number = os.WTERMSIG(ending.status)
    name = signal.Signals(number).name if number in {*signal.Signals} else f"signal {number}"
    if number in FAULTS:
        return f"died of {name}, a fault in native code"
    if number == signal.SIGKILL:
        return f"was killed ({name}), as happens where memory runs out; it had used {ending.used / 2**30:.2g} GiB"
    return f"was ended by {name}"


class Printed:
    """What a worker prints: shown line by line, up to a bound."""

    def __init__(self, name: str, say: Callable[[str], None]) -> None:
        """Begins with nothing.

        Args:
            name: of the worker, which begins every line.
            say: shows some lines.
        """
        self._name, self._say = name, say
        self._rest = b""
        self._left = MOST_PRINTED
        self.last: list[str] = []  # lines, for a message

    def feed(self, content: bytes) -> None:
        """Takes what was printed; complete lines are shown."""
        if self._left <= 0:
            return
        kept, self._left = content[: self._left], self._left - len(content)
        *lines, self._rest = (self._rest + kept).split(b"\n")
        if self._left <= 0:
            lines, self._rest = [*lines, self._rest], b""
        self._show(lines)
        if self._left <= 0:
            self._say(f"{self._name} has printed more than {MOST_PRINTED // 1024} KiB; what follows is dropped")

    def end(self) -> None:
        """Shows a last line that was not ended."""
        if self._rest:
            self._show([self._rest])
            self._rest = b""

    def _show(self, lines: list[bytes]) -> None:
        texts = [each.decode("utf-8", "replace").rstrip("\r").rpartition("\r")[2] for each in lines]
        texts = [CONTROLS.sub("", text) for text in texts]
        shown = [text for text in texts if text.strip()]
        self.last = [*self.last, *shown][-5:]
        if shown:
            self._say("\n".join(f"{self._name}: {text}" for text in shown))


class NurseryProcess:
    """The parent process of workers, which starts at once and imports what they need."""

    def __init__(self) -> None:
        """Starts it."""
        self.control, theirs = socket.socketpair()
        self.output, output = os.pipe()
        os.set_blocking(self.output, False)
        start = command("dlkit.bench.execution.nursery:main", theirs.fileno(), os.getpid())
        with theirs:
            self._process = subprocess.Popen(
                start,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=[theirs.fileno()],
                env={**os.environ, **thread_variables()},
                start_new_session=True,  # a terminal's Ctrl-C is not for it
            )
        os.close(output)
        self._is_over = False

    def start(self, slot: int, core: int | None, descriptors: list[int]) -> None:
        """Asks for a worker.

        Args:
            slot: that it works on.
            core: that it runs on; None for any.
            descriptors: of its pipe, its output and its lease.
        """
        with suppress(OSError):  # it is gone: whoever listens hears that
            socket.send_fds(self.control, [FRAME.pack(START, slot, -1 if core is None else core, 0)], descriptors)

    def kill(self, process: int) -> None:
        """Asks for the end of a worker, at once."""
        with suppress(OSError):
            self.control.sendall(FRAME.pack(KILL, process, 0, 0))

    def hear(self) -> tuple[int, int] | Ending | None:
        """Returns a slot and the process that has started for it, or how one ended; None if nobody is there."""
        content = b""
        while len(content) < FRAME.size:
            try:
                part = self.control.recv(FRAME.size - len(content))
            except OSError:
                part = b""
            if not part:
                return None
            content += part
        what, first, second, third = FRAME.unpack(content)
        return (first, second) if what == STARTED else Ending(first, second, third * 1024)

    def close(self) -> None:
        """Ends all workers and what they started.

        Raises:
            TimeoutError: if they do not end.
        """
        if self._is_over:
            return
        self._is_over = True
        with suppress(OSError):
            self.control.shutdown(socket.SHUT_RDWR)  # a child of this process may have it open
        self.control.close()
        try:
            self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(1.0)
            raise TimeoutError(f"they were still there after {END_SECONDS:g} seconds") from None
        finally:
            os.close(self.output)


class Worker:
    """A worker, from its start to its end.

    Attributes:
        pipe: to it.
        answers: that come through it.
        output: file descriptor of what it prints.
        lease: what it says that it is at.
        process: its number; None before it has started.
        request: what it has in hand.
        owned: numbers of the problems that it was sent.
        ending: why it was ended, in words, and of what kind of end that is; None if it was not.
    """

    def __init__(self, nursery: NurseryProcess, slot: int, core: int | None) -> None:
        """Asks for a process; it can be sent requests at once."""
        self.pipe, theirs = socket.socketpair()
        self.answers = Incoming(self.pipe)
        self.output, output = os.pipe()
        os.set_blocking(self.output, False)
        memory = new_memory()
        self.lease = Lease(memory)
        self.process: int | None = None
        self.request: Request | None = None
        self.owned: set[int] = set()
        self.ending: tuple[str, Kind] | None = None
        nursery.start(slot, core, [theirs.fileno(), output, memory])
        theirs.close()
        for each in (output, memory):
            os.close(each)

    @property
    def memory(self) -> int:
        """The bytes of memory that it has now; 0 where the system does not tell."""
        try:
            pages = int(Path(f"/proc/{self.process}/statm").read_text().split()[1])
        except (OSError, ValueError, IndexError):
            return 0
        return pages * os.sysconf("SC_PAGE_SIZE")

    def printed(self) -> bytes:
        """Returns what it has printed since the last look; nothing also where it has closed its output."""
        with suppress(BlockingIOError):
            return os.read(self.output, 2**16)
        return b""

    def close(self) -> None:
        """Lets go of it, once it has ended."""
        self.pipe.close()
        os.close(self.output)
        self.lease.close()
