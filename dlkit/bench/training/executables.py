"""Executables that are kept between processes: a process that finds them neither traces nor compiles.

XLA's own cache saves compilation, but only once a function was traced and lowered: for a small network that takes
longer than all of its trials. So what is compiled for a catalogue's problem and registered optimizers is kept by what
it is made of: the code, versions and settings that decide a trial's bits (`machine.program`), the compile group, and
the types of the arguments. One's own functions have no such name: they are traced every time, and only XLA's cache
serves them.

The files are in the user's own cache folder, beside XLA's cache. As that, they hold machine code, and JAX's form of
them is a pickle: whoever can write there can run code as the user. So nothing is read where others may write
(`doors.stranger_in`), and no file of a run ever in this way. A file that does not have the checksum it starts with, or
that does not load, is made anew.

The folder is bounded: `machine.kept_programs`.

One file names the program of a compile group, another holds the program's executable under the hash of what was
lowered: after an edit that leaves a program what it was, its executable is found by that.
"""

import contextlib
import hashlib
import os
import pickle
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import IO, Any

import jax
import numpy as np
from jax.experimental import serialize_executable
from jaxlib import lapack

from dlkit.bench.doors import open_ours, private_folder
from dlkit.bench.identity.hashing import digest
from dlkit.bench.machine.environment import cache_folder, keep
from dlkit.bench.machine.program import program_identity

__all__ = ["Kept", "executable_of", "kept"]

FORM = 2  # of the files
LONGEST_WAIT = 120.0  # seconds for another process that makes the same
CHECKSUM_BYTES = hashlib.sha256().digest_size


class Kept:
    """A jitted function whose executables are kept between processes; it is called as that is."""

    def __init__(self, jitted: Any, key: str) -> None:
        """Names the function.

        Args:
            jitted: the function.
            key: tells what it computes from all else that the same code, versions and settings may compute.
        """
        self._jitted = jitted
        self._key = key
        self._known: dict[Any, Callable[..., Any]] = {}
        self._last: Callable[..., Any] | None = None

    def __call__(self, *arguments: Any) -> Any:
        """Calls the executable for arguments of these types; it is loaded or compiled at the first call."""
        if self._last is not None:
            try:
                return self._last(*arguments)
            except TypeError:
                pass  # it was made for other types, which it sees before it computes anything
        self._last = self.executable(*arguments)
        return self._last(*arguments)

    def executable(self, *arguments: Any) -> Any:
        """Returns the executable for arguments of these types."""
        leaves, structure = jax.tree.flatten(arguments)
        types = (structure, *(jax.typeof(leaf) for leaf in leaves))
        if types not in self._known:
            self._known[types] = self._made(arguments, [str(structure), *map(_type, types[1:])])
        return self._known[types]

    def eval_shape(self, *arguments: Any) -> Any:
        """Returns the shapes and types of the results, as `jax.jit` does."""
        return self._jitted.eval_shape(*arguments)

    def trace(self, *arguments: Any) -> Any:
        """Traces the function, as `jax.jit` does."""
        return self._jitted.trace(*arguments)

    def _made(self, arguments: Any, types: list[str]) -> Any:
        surroundings = _surroundings()
        group = _file([surroundings, self._key, types])
        found = _named(group)
        if found is not None:
            return found
        with _alone(group) as has_waited:
            found = _named(group) if has_waited else None
            return self._compiled(arguments, types, surroundings, group) if found is None else found

    def _compiled(self, arguments: Any, types: list[str], surroundings: dict[str, str], group: Path) -> Any:
        lowered = self._jitted.lower(*arguments)
        # An edit of the code that leaves this program what it was costs a trace.
        program = _file([{**surroundings, "code": ""}, types, str(lowered.out_tree), lowered.as_text()])
        found = _loaded(program)
        if found is None:
            before = _compilations()
            found = lowered.compile()
            if _compilations() == before:  # what a cache gave back, XLA's or this process's, may lack functions
                return found
            _keep(program, found, lowered.as_text())
        _write(group, program.name.encode())
        return found


def kept(jitted: Any, key: str, name: str) -> Any:
    """Returns a jitted function whose executables are kept; the function itself where none are.

    None are without a key, and where there are several devices: what is loaded again runs on all of them.

    Args:
        jitted: the function.
        key: of the compile group.
        name: tells it from the group's other functions.
    """
    return Kept(jitted, f"{key} {name}") if key and jax.device_count() == 1 else jitted


def executable_of(function: Any, *arguments: Any) -> Any:
    """Returns the executable that a compiled function uses for arguments of these types."""
    return function.executable(*arguments) if isinstance(function, Kept) else function.lower(*arguments).compile()


def _surroundings() -> dict[str, str]:
    """All that executables depend on beside the function: versions, code, the machine, and every setting of JAX."""
    settings = {name: str(value) for name, value in jax.config.values.items() if "cache" not in name}
    device = jax.devices()[0]
    backend = {"platform": f"{device.platform} {device.client.platform_version}", "devices": str(jax.devices())}
    return {**settings, **backend, **program_identity()}


def _type(aval: Any) -> str:
    return f"{aval.str_short()}{aval.weak_type}"


def _folder() -> Path:
    return cache_folder() / "executables"


def _file(parts: list[Any]) -> Path:
    return _folder() / digest([FORM, *parts], length=40)


def _named(group: Path) -> Any:
    """The executable of a compile group; None where there is none that is whole and fits."""
    name = _read(group)
    return _loaded(_folder() / name.decode("ascii", "ignore")) if name else None


@contextmanager
def _alone(group: Path) -> Iterator[bool]:
    """Lets one process at a time make an executable, so that workers who start together do not all make the same.

    Others wait, though no longer than it may take; a process that ends gives way.

    Args:
        group: the file that names it.

    Yields:
        Whether another process had to be waited for.
    """
    has_waited, lock = False, cache_folder() / "locks" / group.name
    try:
        if not jax.config.jax_enable_compilation_cache:  # type: ignore[attr-defined]
            raise OSError("nothing is kept")
        private_folder(lock.parent)
        file = lock.open("w")
    except OSError:  # there is nothing to wait for
        yield False
        return
    with file:
        deadline = time.monotonic() + LONGEST_WAIT
        while not _locked(file) and time.monotonic() < deadline:
            has_waited = True
            time.sleep(0.02)
        try:
            yield has_waited
        finally:
            with contextlib.suppress(OSError):
                lock.unlink()


def _locked(file: IO[str]) -> bool:
    """Whether a file could be locked, or cannot be at all."""
    try:
        from fcntl import LOCK_EX, LOCK_NB, flock

        flock(file, LOCK_EX | LOCK_NB)
    except BlockingIOError:
        return False
    except (ImportError, OSError):  # on Windows, or on a file system without locks, each process makes its own
        pass
    return True


def _loaded(path: Path) -> Any:
    """The executable of a file; None where there is none that is whole and fits."""
    body = _read(path)
    if not body:
        return None
    try:
        calls_lapack, *parts = pickle.loads(body)
        if calls_lapack:
            _find_lapack()
        return serialize_executable.deserialize_and_load(*parts)
    except Exception:  # of another JAX, or what no pickle is
        return None


def _find_lapack() -> None:
    """Lets JAX look up LAPACK's functions, as lowering does: an executable that is loaded calls address 0 without."""
    lapack.prepare_lapack_call("geqrf_ffi", np.float32)  # type: ignore[no-untyped-call]


def _keep(path: Path, executable: Any, lowered: str) -> None:
    """Writes an executable; one that cannot be written is compiled again by the next process."""
    try:
        body = pickle.dumps(("lapack_" in lowered, *serialize_executable.serialize(executable)))
    except Exception:  # it calls Python, or holds constants
        return
    _write(path, body)


def _read(path: Path) -> bytes:
    """What a file holds; nothing where it is not whole, not this file, or not there."""
    if not jax.config.jax_enable_compilation_cache:  # type: ignore[attr-defined]
        return b""
    try:
        with open_ours(path) as file:
            content = file.read()
    except OSError:
        return b""
    with contextlib.suppress(OSError):
        os.utime(path)  # what was not used for longest goes first: `machine.kept_programs`
    body = content[CHECKSUM_BYTES:]
    return body if _checksum(path, body) == content[:CHECKSUM_BYTES] else b""


def _write(path: Path, body: bytes) -> None:
    """Writes a file, whole or not at all."""
    if not jax.config.jax_enable_compilation_cache:  # type: ignore[attr-defined]
        return
    keep(path, _checksum(path, body) + body)


def _checksum(path: Path, body: bytes) -> bytes:
    return hashlib.sha256(path.name.encode() + body).digest()


@cache
def _counts() -> threading.local:
    """How many executables each thread has asked XLA for, less those that came from XLA's cache."""
    counts = threading.local()

    def count(change: int) -> None:
        counts.compiled = getattr(counts, "compiled", 0) + change

    def listen(event: str, **_: Any) -> None:
        if event == "/jax/compilation_cache/cache_hits":
            count(-1)

    def listen_to_durations(event: str, duration_secs: float, **_: Any) -> None:
        if event == "/jax/core/compile/backend_compile_duration":  # said of what comes from the cache, too
            count(1)

    jax.monitoring.register_event_listener(listen)
    jax.monitoring.register_event_duration_secs_listener(listen_to_durations)
    return counts


def _compilations() -> int:
    """How many executables XLA has compiled for this thread, of which it has all functions."""
    return getattr(_counts(), "compiled", 0)
