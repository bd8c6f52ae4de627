"""The parent process of this machine's workers: it starts them, says how each ended, and leaves none behind.

It imports what workers need once. A worker is then a copy of it (a fork), which is there at once, and shares that
memory. A copy is only sound while nothing else runs in the process that is copied: no thread, and so no JAX that has
computed anything. If there is a thread all the same, or on a system where copies are not sound, workers are started
anew, and each imports for itself.

It listens to the process that it belongs to alone, through a pair of sockets without a name. When that is gone, however
it ended, the nursery ends every worker and whatever they started, and itself.
"""

import ctypes
import gc
import os
import select
import signal
import socket
import struct
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from dlkit.bench.execution import worker_process

__all__ = ["ENDED", "FRAME", "KILL", "START", "STARTED", "command", "main"]

FRAME = struct.Struct("<cqqq")  # what is said, and three numbers
START = b"S"  # slot, core or -1; with the descriptors of pipe, output and lease
KILL = b"K"  # process
STARTED = b"P"  # slot, process
ENDED = b"E"  # process, status as of os.waitpid, the most memory it had in KiB

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
IS_LINUX = sys.platform == "linux"
BROKEN = 70  # the exit status of a worker that could not begin


def command(call: str, *arguments: int) -> list[str]:
    """Returns the command that calls a function of this package in another Python like this one.

    Args:
        call: such as ``"dlkit.bench.execution.nursery:main"``.
        arguments: of the function.
    """
    module, _, function = call.partition(":")
    flags = ["-" + "O" * sys.flags.optimize] * bool(sys.flags.optimize)
    flags += [f"-W{each}" for each in sys.warnoptions]
    flags += [f"-X{name}" if value is True else f"-X{name}={value}" for name, value in sys._xoptions.items()]
    like_this = f"import sys; sys.path[:], sys.argv[:] = {sys.path!r}, {sys.argv!r}"
    return [sys.executable, *flags, "-c", f"{like_this}; from {module} import {function}; {function}(*{arguments})"]


def main(control: int, owner: int) -> None:
    """Is the nursery of a process until that is gone.

    Args:
        control: file descriptor of a socket to it.
        owner: the number of that process.
    """
    wake, woken = os.pipe()
    for each in (wake, woken):
        os.set_blocking(each, False)
    signal.set_wakeup_fd(woken)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    if IS_LINUX:
        _prctl(PR_SET_CHILD_SUBREAPER, 1)  # what a worker leaves behind becomes a child of this process
    with socket.socket(fileno=control) as ours:
        nursery = _Nursery(ours)
        if IS_LINUX:
            with _ending_with(ours):
                import dlkit.bench.execution.parcels
                import dlkit.bench.execution.work  # noqa: F401
            gc.collect()
            gc.freeze()
        poll = select.poll()
        for each in (ours.fileno(), wake, *_watched(owner)):
            poll.register(each, select.POLLIN)
        try:
            while True:
                ready = {descriptor for descriptor, _ in poll.poll()}
                if wake in ready:
                    with suppress(BlockingIOError):
                        os.read(wake, 4096)
                    nursery.reap()
                if ready - {wake, ours.fileno()} or (ours.fileno() in ready and not nursery.hear()):
                    return
        finally:
            nursery.end()


class _Nursery:
    """The workers of a process."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._workers: set[int] = set()

    def hear(self) -> bool:
        """Does what it is told; returns whether anybody is there."""
        try:
            content, descriptors, *_ = socket.recv_fds(self._control, FRAME.size, 3)
            while content and len(content) < FRAME.size:
                content += self._control.recv(FRAME.size - len(content))
        except OSError:
            return False
        if not content:
            return False
        what, first, second, _ = FRAME.unpack(content)
        if what == START:
            self._start(first, second, descriptors)
        elif what == KILL and first in self._workers:
            _end(first)
        return True

    def _start(self, slot: int, core: int, descriptors: Sequence[int]) -> None:
        """Starts a worker and says which process it is."""
        mine, is_copy = os.getpid(), IS_LINUX and _is_alone()
        process = os.fork()
        if process == 0:
            try:
                self._be_worker(mine, core, descriptors, is_copy=is_copy)
            except BaseException:
                traceback.print_exc()  # its last words: `os._exit` would say nothing
            finally:
                os._exit(BROKEN)
        for each in descriptors:
            os.close(each)
        with suppress(OSError):
            os.setpgid(process, process)  # as it does itself: whoever comes first
        self._workers.add(process)
        self._say(STARTED, slot, process)

    def _be_worker(self, parent: int, core: int, descriptors: Sequence[int], *, is_copy: bool) -> None:
        """Runs in the new process, and ends it."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self._control.close()
        os.setpgid(0, 0)  # what it starts is ended with it
        if IS_LINUX:
            _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != parent:
                return
        pipe, output, lease = descriptors
        worker_process.become_worker(output, None if core < 0 else core)
        if is_copy:
            worker_process.main(pipe, lease)
            os._exit(0)
        for each in (pipe, lease):
            os.set_inheritable(each, True)
        anew = command("dlkit.bench.execution.worker_process:main", pipe, lease)
        os.execv(anew[0], anew)

    def reap(self) -> None:
        """Says which workers have ended, and ends what they started."""
        for process, status, used in _ended():
            if process in self._workers:
                self._workers.discard(process)
                with suppress(OSError):
                    os.killpg(process, signal.SIGKILL)  # its number alone may be another process's by now
                self._say(ENDED, process, status, used)

    def end(self) -> None:
        """Ends every worker, and whatever they started."""
        while True:
            for process in self._workers | _children():
                _end(process)
            try:
                process, _ = os.wait()
            except ChildProcessError:
                return
            self._workers.discard(process)

    def _say(self, what: bytes, *numbers: int) -> None:
        with suppress(OSError):
            self._control.sendall(FRAME.pack(what, *numbers, *[0] * (3 - len(numbers))))


def _ended() -> Iterator[tuple[int, int, int]]:
    """Yields the children that have ended: process, status, the most memory in KiB."""
    with suppress(ChildProcessError):
        while True:
            process, status, used = os.wait4(-1, os.WNOHANG)
            if process == 0:
                return
            yield process, status, used.ru_maxrss


def _children() -> set[int]:
    """The children of this process, as far as the system tells."""
    try:
        return set(map(int, Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()))
    except OSError:
        return set()


def _end(process: int) -> None:
    """Ends a process, and those of its group."""
    for end in (os.killpg, os.kill):
        with suppress(OSError):
            end(process, signal.SIGKILL)


def _watched(owner: int) -> list[int]:
    """A descriptor that is ready when a process has ended, where there is such a thing.

    The socket says it, too, unless a child of that process has it open.
    """
    try:
        return [os.pidfd_open(owner)]
    except (AttributeError, OSError):
        return []


@contextmanager
def _ending_with(control: socket.socket) -> Iterator[None]:
    """Ends this process with the one that it belongs to also while the block runs, which takes seconds."""
    stop, stopped = os.pipe()

    def watch() -> None:
        poll = select.poll()
        poll.register(control.fileno(), 0)  # nothing but that nobody is there
        poll.register(stop, select.POLLHUP)
        if any(descriptor != stop for descriptor, _ in poll.poll()):
            os._exit(0)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        os.close(stopped)
        thread.join()
        os.close(stop)
        deadline = time.monotonic() + 1.0
        while not _is_alone() and time.monotonic() < deadline:  # Python is done with the thread before the system is
            time.sleep(0.001)


def _is_alone() -> bool:
    """Whether this process has one thread."""
    return len(os.listdir("/proc/self/task")) == 1  # noqa: PTH208


def _prctl(option: int, value: int) -> None:
    """Sets something of this process, on Linux."""
    prctl: Callable[..., int] = ctypes.CDLL(None).prctl
    prctl(option, *map(ctypes.c_ulong, (value, 0, 0, 0)))
