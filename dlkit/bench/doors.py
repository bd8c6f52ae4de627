"""What comes from others, before it is opened: plain files of bounded size, and folders that nobody else writes to; and
files that are written whole or not at all.

A stranger's file may say that it unpacks to more than there is memory for, be a pipe that never ends, or a link to a
file of one's own. A folder that others may write to may hold anything, at any time.
"""

import contextlib
import io
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Literal, Protocol

from dlkit.bench.errors import UserError

__all__ = [
    "MOST_UNPACKED",
    "most_unpacked",
    "open_ours",
    "private_folder",
    "read_plain",
    "require_plain",
    "said_bytes",
    "stranger_in",
    "too_much",
    "unpacked_within",
    "whole_file",
]

MOST_UNPACKED = 16 * 2**30  # bytes that a packed file may hold, unless $DLKIT_MOST_BYTES says another number
MOST_BYTES = "DLKIT_MOST_BYTES"
STRETCH = 2**20  # bytes that are unpacked at a time
OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


class Reads(Protocol):
    """What gives bytes, such as `gzip.open` returns."""

    def read(self, size: int, /) -> bytes:
        """The next bytes, at most so many; none at the end."""


def most_unpacked() -> int:
    """Returns how many bytes a packed file may hold once it is unpacked: ``$DLKIT_MOST_BYTES``, or 16 GiB.

    Raises:
        UserError: if the variable is no number.
    """
    given = os.environ.get(MOST_BYTES, "")
    if given and not given.isdecimal():
        raise UserError(f"the variable {MOST_BYTES} must be a number of bytes, got {given!r}")
    return int(given) if given else MOST_UNPACKED


def said_bytes(size: int) -> str:
    """Returns a size in words.

    Example:
        >>> said_bytes(3 * 2**30), said_bytes(1500)
        ('3.0 GiB', '1500 bytes')
    """
    for power, unit in ((4, "TiB"), (3, "GiB"), (2, "MiB")):
        if size >= 2 ** (10 * power):
            return f"{size / 2 ** (10 * power):.1f} {unit}"
    return f"{size} bytes"


def read_plain(path: Path, most: int, *, follow: bool = False) -> bytes:
    """Returns what a plain file holds: no pipe, no device, and no link unless that is allowed.

    Args:
        path: the file.
        most: bytes that it may have.
        follow: whether a link is followed.

    Raises:
        OSError: if it cannot be read, is no plain file, or is larger.
    """
    never_waits = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, os.O_RDONLY | never_waits | (0 if follow else getattr(os, "O_NOFOLLOW", 0)))
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(None, "it is no plain file", str(path))
        if found.st_size > most:
            raise OSError(
                None, f"it has {said_bytes(found.st_size)}, more than the {said_bytes(most)} it may", str(path)
            )
        return file.read(most)


def require_plain(path: Path) -> None:
    """Refuses pipes and devices, reading which may never end; links are followed.

    Raises:
        OSError: if it is no plain file, or not there.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(None, "it is no plain file", str(path))


def unpacked_within(opened: Reads, where: str, *, most: int | None = None) -> bytes:
    """Returns all that an unpacking file gives, which is read in stretches until it ends.

    Args:
        opened: such as `gzip.open` returns.
        where: its path, for messages.
        most: bytes that it may give; None for `most_unpacked`.

    Raises:
        UserError: if it gives more: it may be made to fill the memory.
    """
    most = most_unpacked() if most is None else most
    found = io.BytesIO()
    while part := opened.read(STRETCH):
        if found.tell() + len(part) > most:
            raise UserError(f"{where}: {too_much(most)}")
        found.write(part)
    return found.getvalue()


def too_much(most: int) -> str:
    """Returns what is said of a file that holds more than it may."""
    return (
        f"unpacks to more than {said_bytes(most)}, and was not unpacked; if it is yours and right, set {MOST_BYTES} to "
        "a larger number, or give the data in parts"
    )


# --- folders ---


def stranger_in(folder: Path) -> str:
    """Returns who else may change what a folder holds, in words; empty where nobody can, or the system does not tell.

    A folder above in which everybody may write counts, unless it is sticky, as ``/tmp`` is: there a folder can be put
    in the place of this one. Who owns one above, or shares its group, as in the folder of a project, is trusted.

    Args:
        folder: which; links are followed.
    """
    if not hasattr(os, "getuid"):
        return ""
    try:
        real = folder.resolve()
        found = real.stat()
    except OSError:
        return ""
    if said := _others(found):
        return f"{real} {said}"
    for above in real.parents:
        with contextlib.suppress(OSError):
            mode = above.stat().st_mode
            if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
                return f"{above} may be written by others (mode {stat.S_IMODE(mode):o})"
    return ""


def _others(found: os.stat_result) -> str:
    """Who else owns or may write a file or folder, in words; empty where nobody does."""
    if found.st_uid not in (os.getuid(), 0):
        return f"belongs to another user (number {found.st_uid})"
    if found.st_mode & OTHERS_WRITE and not _is_own_group(found):
        return f"may be written by others (mode {stat.S_IMODE(found.st_mode):o})"
    return ""


def open_ours(path: Path) -> IO[bytes]:
    """Opens a file of a cache, unless somebody else may have written it: what is kept is run, or taken for right.

    Args:
        path: the file.

    Raises:
        OSError: if there is none, or it or its folder belongs to another user or may be written by others.
    """
    if said := stranger_in(path.parent):
        raise OSError(None, said, str(path))
    file = path.open("rb")
    if hasattr(os, "getuid") and (said := _others(os.fstat(file.fileno()))):
        file.close()
        raise OSError(None, said, str(path))
    return file


def _is_own_group(found: os.stat_result) -> bool:
    """Whether only the group may write, and it is the user's own, with nobody else in it, as many systems have it."""
    if found.st_mode & stat.S_IWOTH or found.st_gid != os.getgid():
        return False
    try:
        import grp
        import pwd

        group, user = grp.getgrgid(found.st_gid), pwd.getpwuid(os.getuid())
    except (ImportError, KeyError):
        return False
    return group.gr_name == user.pw_name and {*group.gr_mem} <= {user.pw_name}


def private_folder(folder: Path) -> Path:
    """Returns a folder of a cache, made for the user alone if it is missing.

    Args:
        folder: which.

    Raises:
        OSError: if it cannot be made, or others may write to it: what lies there is run, or taken for one's own.
    """
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    for each in reversed(missing):
        each.mkdir(mode=0o700, exist_ok=True)
    if said := stranger_in(folder):
        raise OSError(None, f"{said}, so it is not used (chmod go-w it)", str(folder))
    return folder


@contextlib.contextmanager
def whole_file(
    path: Path, kind: Literal["w", "wb"] = "wb", *, permissions: int = 0o644, durable: bool = False
) -> Iterator[IO[Any]]:
    """Opens a file to be written, which is there whole or not at all, and leaves nothing else, whatever happens.

    Args:
        path: of the file, in a folder that is there.
        kind: text in UTF-8, or bytes.
        permissions: of the file.
        durable: whether it is on the disk before it takes the place of the one before.

    Raises:
        OSError: if it cannot be written: the one before, if there was one, is as it was.
    """
    descriptor, name = tempfile.mkstemp(".tmp", f".{path.name}.", path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, kind, encoding=None if kind == "wb" else "utf-8") as file:
            yield file
            if durable:
                file.flush()
                os.fsync(file.fileno())
        temporary.chmod(permissions)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
