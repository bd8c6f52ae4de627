"""Checkpoints of long trials: files that a killed trial goes on from, with the same bits.

A file holds the arrays that the next call gets, the curve so far and the seconds it took, as msgpack by flax, one array
after another; in front of them which trials they are of and what program made them, and behind them a SHA-256. It is
written beside the one before and takes its place. Nothing of it is executed; what does not fit is not loaded.
"""

import hashlib
import os
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, NamedTuple

import jax
import numpy as np

from dlkit.bench.errors import UserError
from dlkit.bench.machine.program import BIT_FIELDS, SOFTWARE_FIELDS
from dlkit.bench.training.snapshots import Leaf, Snapshot, Spent, host_arrays, on_host, points_of

__all__ = ["FileKeeper", "Place", "forget_checkpoints", "keeper_of", "kept_checkpoints", "trials_beside"]

FOLDER = "checkpoints"
ENDING = ".msgpack"
MAGIC = b"dlkit checkpoint 1\n"
SHARE = 0.02  # of a trial's time that writing checkpoints may take: where they take long, they are written less often
LARGEST_HEADER = 2**26  # bytes
OLD_SECONDS = 30 * 86400.0  # after which nobody is expected to come back for a trial
CHUNK = 2**20

_NO_LINKS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


class Place(NamedTuple):
    """Where checkpoints are written, and how often.

    Attributes:
        folder: an absolute path; where it cannot be seen, trials go without.
        seconds: from one to the next.
    """

    folder: str
    seconds: float


class _UnfitError(Exception):
    """Why a checkpoint is not loaded."""


class FileKeeper:
    """Keeps the snapshots of a trial, or of those that lie on lanes, in one file.

    Attributes:
        notes: what to tell the user.
    """

    def __init__(
        self, path: Path, seconds: float, trials: Sequence[str], program: Mapping[str, str], owner: str
    ) -> None:
        """Names the file.

        Args:
            path: in a folder that exists.
            seconds: from one snapshot to the next; the first is due after as many.
            trials: their ids, lane by lane.
            program: what decides their bits.
            owner: whose they are, for messages.
        """
        self.notes: list[str] = []
        self._path, self._seconds = path, seconds
        self._trials, self._program, self._owner = list(trials), dict(program), owner
        self._due = time.monotonic() + seconds
        self._is_told = False

    def restored(self, like: Callable[[], Any]) -> Snapshot | None:
        """As `Keeper.restored`."""
        if not os.path.lexists(self._path):  # as for every trial that is short
            return None
        try:
            with _opened(self._path) as file:
                header = _checked_header(file)
                self._require_same(header)
                found = _snapshot(file, header, like())
        except _UnfitError as error:
            self.refuse(str(error))
        except OSError as error:
            self.refuse(error.strerror or str(error))
        except Exception as error:  # the digest is right, and yet it cannot be read: as if it was not
            self.refuse(f"it cannot be read ({type(error).__name__}: {error})")
        else:
            self.note(f"{self._owner}: a trial goes on at step {found.step:,}, from its checkpoint")
            return found
        return None

    def refuse(self, why: str) -> None:
        """As `Keeper.refuse`."""
        self.note(f"{self._owner}: checkpoint {self._path} is not used: {why}; its trial begins anew")

    def note(self, sentence: str) -> None:
        """Keeps what to tell the user."""
        self.notes.append(sentence)

    def is_due(self) -> bool:
        """As `Keeper.is_due`."""
        return time.monotonic() >= self._due

    def keep(self, snapshot: Snapshot) -> None:
        """As `Keeper.keep`."""
        began = time.monotonic()
        try:
            leaves = jax.tree_util.tree_leaves_with_path(snapshot.device)
            if not all(array.is_fully_addressable for _, array in leaves):
                raise OSError(0, "its arrays are spread over several processes")
            on_this_host = host_arrays(snapshot)
            _write(
                self._path,
                {
                    "trials": self._trials,
                    "program": self._program,
                    "step": snapshot.step,
                    "spent": list(vars(snapshot.spent).values()),
                    "device": [jax.tree_util.keystr(path) for path, _ in leaves],
                    "host": list(on_this_host),
                },
                (each() for each in [*(_later(array) for _, array in leaves), *map(_now, on_this_host.values())]),
            )
        except Exception as error:  # also where memory does not suffice for a copy
            if not self._is_told:
                self._is_told = True
                why = getattr(error, "strerror", None) or str(error) or type(error).__name__
                self.note(
                    f"{self._path.parent}: a checkpoint cannot be written: {why}; its trial goes on, and would begin "
                    "anew if it was killed"
                )
        ended = time.monotonic()
        self._due = ended + max(self._seconds, (ended - began) / SHARE)

    def forget(self) -> None:
        """Removes the file: nobody needs it any more."""
        with suppress(OSError):
            self._path.unlink()

    def _require_same(self, header: Mapping[str, Any]) -> None:
        """Refuses what another trial or another program wrote."""
        if list(header["trials"]) != self._trials:
            raise _UnfitError("it is of another trial, or of others beside it")
        theirs: Mapping[str, str] = header["program"]
        fields = [*SOFTWARE_FIELDS, *BIT_FIELDS]
        if differing := [name for name in fields if theirs.get(name) != self._program.get(name)]:
            raise _UnfitError(f"another program wrote it, which differs in {', '.join(differing)}")


def _later(array: Any) -> Callable[[], np.ndarray[Any, Any]]:
    """One array of a device at a time is copied to the host."""
    return lambda: on_host(array)


def _now(array: np.ndarray[Any, Any]) -> Callable[[], np.ndarray[Any, Any]]:
    return lambda: array


# --- of a run ---


def keeper_of(place: Place | None, trials: Sequence[str], program: Mapping[str, str], owner: str) -> FileKeeper | None:
    """Returns what keeps some trials that run side by side; None where nothing can, or is to.

    Args:
        place: where checkpoints are written; None for nowhere.
        trials: their ids, lane by lane.
        program: what decides their bits.
        owner: whose they are, for messages.
    """
    if place is None or not _is_own_folder(Path(place.folder)):
        return None
    return FileKeeper(_path(place, trials[0]), place.seconds, trials, program, owner)


def trials_beside(place: Place | None, trial: str) -> Sequence[str]:
    """Returns the trials that lay on the lanes of a checkpoint that is named after one of them; none without."""
    if place is None:
        return ()
    try:
        with _opened(_path(place, trial)) as file:
            return [str(each) for each in _header(file)["trials"]]
    except Exception:  # whatever is wrong with it is found, and said, when it is to be loaded
        return ()


def forget_checkpoints(place: Place | None, trials: Iterable[str]) -> None:
    """Removes the checkpoints of trials whose outcomes are stored."""
    if place is not None:
        for each in trials:
            with suppress(OSError):
                _path(place, each).unlink()


@contextmanager
def kept_checkpoints(
    run: Path | None, minutes: float, program: Callable[[], Mapping[str, str]], finished: Callable[[], Iterable[str]]
) -> Iterator[tuple[Place | None, str]]:
    """Makes the folder for a run's checkpoints, and removes what nobody needs when the run ends.

    Args:
        run: its folder; None for a run in memory.
        minutes: from one checkpoint to the next; 0 for none.
        program: says what this run's trials are made by.
        finished: says which trials have outcomes.

    Yields:
        Where they are written; None for nowhere. And why not, empty where there is nothing to say.
    """
    if run is None or not minutes:
        yield None, ""
        return
    folder = run.absolute() / FOLDER
    place = Place(str(folder), 60.0 * minutes)
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        wrong = "" if _is_own_folder(folder) else "it is a link, or others may write there"
    except OSError as error:
        wrong = error.strerror or str(error)
    if wrong:
        yield None, f"{folder}: {wrong}: long trials are not kept there, and begin anew if they are killed"
        return
    try:
        _sweep(folder, program, finished)
        yield place, ""
    finally:
        with suppress(OSError, UserError):  # what came of the run does not depend on it
            _sweep(folder, program, finished)
            folder.rmdir()  # which an interrupted run may still need: then it is not empty


def _sweep(folder: Path, program: Callable[[], Mapping[str, str]], finished: Callable[[], Iterable[str]]) -> None:
    """Removes checkpoints that no plan needs: of stored trials, of other software, of long ago; and what is half."""
    there = list(folder.iterdir())
    if not there:
        return
    done, ours = {f"{trial}{ENDING}" for trial in finished()}, program()
    for path in there:
        if path.name in done or not path.name.endswith(ENDING) or not _is_wanted(path, ours):
            with suppress(OSError):
                path.unlink()


def _is_wanted(path: Path, program: Mapping[str, str]) -> bool:
    fields = set(SOFTWARE_FIELDS) - {"device"}  # which workers elsewhere may have another of
    try:
        if time.time() - path.lstat().st_mtime > OLD_SECONDS:
            return False
        with _opened(path) as file:
            theirs = _header(file)["program"]
            return all(theirs.get(name) == program.get(name) for name in fields)
    except Exception:
        return False


def _path(place: Place, trial: str) -> Path:
    if not trial.isalnum():
        raise ValueError(f"expected the id of a trial, got {trial!r}")
    return Path(place.folder) / f"{trial}{ENDING}"


def _is_own_folder(folder: Path) -> bool:
    """Whether a folder is there, is no link, and nobody else may write there."""
    try:
        found = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and _is_own(found)


def _is_own(found: os.stat_result) -> bool:
    return not hasattr(os, "geteuid") or (found.st_uid == os.geteuid() and not found.st_mode & 0o022)


# --- the file ---


class _Digesting:
    """A file that is written, and hashed on the way."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self.hash = file, hashlib.sha256()

    def write(self, content: bytes) -> None:
        self.hash.update(content)
        self._file.write(content)

    def frame(self, content: bytes) -> None:
        self.write(len(content).to_bytes(8, "little"))
        self.write(content)


def _write(path: Path, header: Mapping[str, Any], arrays: Iterable[np.ndarray[Any, Any]]) -> None:
    """Writes a checkpoint in the place of the one before: whole and on the disk, or not at all."""
    from flax.serialization import msgpack_serialize

    temporary = path.with_name(f"{path.name}.{os.getpid()}.part")
    with suppress(FileNotFoundError):
        temporary.unlink()
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_LINKS, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            digesting = _Digesting(file)
            digesting.write(MAGIC)
            digesting.frame(msgpack_serialize(dict(header)))
            for array in arrays:
                kind = {"dtype": array.dtype.name, "shape": list(array.shape)}
                digesting.frame(msgpack_serialize(kind))
                digesting.frame(msgpack_serialize(_bytes(array)))
            file.write(digesting.hash.digest())
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    with suppress(OSError):  # not every system can do it
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _bytes(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The bytes of an array, as flax writes them whatever its type."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    """Opens a checkpoint of one's own; no link is followed."""
    descriptor = os.open(path, os.O_RDONLY | _NO_LINKS | getattr(os, "O_NONBLOCK", 0))  # a pipe is not waited for
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or not _is_own(found):
            raise _UnfitError("others may write it")
        yield file


def _checked_header(file: IO[bytes]) -> Mapping[str, Any]:
    """Checks the digest of a file, and returns what stands in front; the file is at its first array then."""
    left = os.fstat(file.fileno()).st_size - hashlib.sha256().digest_size
    found = hashlib.sha256()
    while left > 0 and (chunk := file.read(min(left, CHUNK))):
        found.update(chunk)
        left -= len(chunk)
    if left != 0 or file.read() != found.digest():
        raise _UnfitError("it is damaged")
    file.seek(0)
    return _header(file)


def _header(file: IO[bytes]) -> Mapping[str, Any]:
    if file.read(len(MAGIC)) != MAGIC:
        raise _UnfitError("it is no checkpoint of this version")
    header: Mapping[str, Any] = _frame(file, LARGEST_HEADER)
    return header


def _frame(file: IO[bytes], most: int) -> Any:
    from flax.serialization import msgpack_restore

    length = int.from_bytes(file.read(8), "little")
    if length > most:
        raise _UnfitError("its parts are larger than they can be")
    return msgpack_restore(file.read(length))


def _array(file: IO[bytes], leaf: Leaf | None) -> np.ndarray[Any, Any]:
    """The next array of a file, which is to be what a leaf says.

    Args:
        file: at an array.
        leaf: None where whatever is there is looked at later.
    """
    kind = _frame(file, CHUNK)
    shape, name = tuple(map(int, kind["shape"])), str(kind["dtype"])
    if leaf is not None and (shape, name) != (leaf.shape, leaf.dtype.name):
        raise _UnfitError(f"its trial has an array of {leaf.dtype.name}{list(leaf.shape)} where it has {name}{shape}")
    dtype = np.dtype(name) if leaf is None else leaf.dtype
    data = np.asarray(_frame(file, os.fstat(file.fileno()).st_size), np.uint8)
    return data.view(dtype).reshape(shape)


def _snapshot(file: IO[bytes], header: Mapping[str, Any], like: Any) -> Snapshot:
    leaves, structure = jax.tree_util.tree_flatten_with_path(like)
    if list(header["device"]) != [jax.tree_util.keystr(path) for path, _ in leaves]:
        raise _UnfitError("its trial has other parameters or another optimizer's state")
    device = jax.tree_util.tree_unflatten(structure, [_array(file, leaf) for _, leaf in leaves])
    points, losses = points_of({name: _array(file, None) for name in header["host"]})
    return Snapshot(device, points, losses, int(header["step"]), Spent(*header["spent"]))
