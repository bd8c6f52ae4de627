"""Files as bytes and texts: found, unpacked, decoded; what goes wrong is said with the files that do lie there."""

import bz2
import difflib
import gzip
import io
import lzma
import zipfile
import zlib
from pathlib import Path, PurePath
from typing import Any, NamedTuple

from dlkit.bench.doors import require_plain, unpacked_within
from dlkit.bench.errors import UserError

__all__ = ["Content", "decoded", "existing", "read_content"]

SHOWN = 8  # names in a message
PACKED = (".gz", ".bz2", ".xz", ".zip")
BYTE_ORDER_MARKS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16", b"\xef\xbb\xbf": "utf-8-sig"}


class Content(NamedTuple):
    """What a file holds.

    Attributes:
        name: without what says how it is packed: ``"table.csv"`` of ``"table.csv.gz"``.
        data: its bytes, unpacked.
    """

    name: str
    data: bytes


def existing(path: str | Path) -> Path:
    """Returns the path if there is something.

    Raises:
        UserError: if there is nothing, with the names that do lie there, the nearest first.
    """
    place = Path(path).expanduser()
    if place.exists():
        return place
    folder = place.parent
    while not folder.is_dir():
        folder = folder.parent
    names = sorted(each.name for each in folder.iterdir() if not each.name.startswith("."))
    wanted = place.relative_to(folder).parts[0]
    close = difflib.get_close_matches(wanted.lower(), [name.lower() for name in names], n=SHOWN, cutoff=0.5)
    near = [name for match in close for name in names if name.lower() == match]
    shown = list(dict.fromkeys([*near, *names]))[:SHOWN]
    there = ", ".join(shown) + (f" and {len(names) - len(shown)} more" if len(names) > len(shown) else "")
    raise UserError(f"{place}: no such file or folder; in {folder} there are: {there or 'no files'}")


def read_content(path: Path) -> Content:
    """Reads a file; one that is packed by gzip, bzip2, xz or zip is unpacked, whatever its name.

    Args:
        path: the file. One that is a zip file by its nature, such as ``.npz`` and ``.xlsx``, stays what it is.

    Raises:
        UserError: for a file that cannot be read or unpacked, or a zip file of several files.
    """
    name = path.name
    try:
        require_plain(path)
        data = path.read_bytes()
        unpack: Any = {b"\x1f\x8b": gzip.open, b"BZ": bz2.open, b"\xfd7": lzma.open}.get(data[:2])
        if data[:2] == b"BZ" and data[2:3] != b"h":
            unpack = None
        if data[:4] == b"PK\x03\x04" and (path.suffix.lower() == ".zip"):
            name, data = _only_member(path, data)
        elif unpack is not None:
            with unpack(io.BytesIO(data)) as opened:
                data = unpacked_within(opened, str(path))
    except (
        OSError,
        EOFError,
        ValueError,
        NotImplementedError,
        zlib.error,
        lzma.LZMAError,
        zipfile.BadZipFile,
    ) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path}: cannot be read ({error}); get it again") from error
    if not data:
        raise UserError(f"{path}: is empty; get it again")
    return Content(PurePath(name).stem if name.lower().endswith(PACKED) else name, data)


def _only_member(path: Path, data: bytes) -> tuple[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        names = [name for name in archive.namelist() if not name.endswith("/") and "__MACOSX" not in name]
        if len(names) != 1:
            shown = ", ".join(names[:SHOWN]) or "nothing"
            raise UserError(f"{path}: expected a zip file of one file, got {shown}; unpack it, and name the one meant")
        with archive.open(names[0]) as opened:
            return PurePath(names[0]).name, unpacked_within(opened, str(path))


def decoded(data: bytes, where: str) -> str:
    """Returns bytes as text: UTF-8, or UTF-16 with its mark; a byte order mark is no part of it.

    Raises:
        UserError: for other bytes, with the first wrong one and what to do.
    """
    encoding = next((name for mark, name in BYTE_ORDER_MARKS.items() if data.startswith(mark)), "utf-8")
    try:
        text = data.decode(encoding)
        if "\0" in text:
            raise UserError(
                f"{where}: has bytes that are 0, as no text has: it is of another form, or UTF-16 without its mark; "
                "save it as UTF-8"
            )
        return text
    except UnicodeDecodeError as error:
        raise UserError(
            f"{where}: cannot be read as UTF-8 text (byte {error.start} is {data[error.start]:#04x}); name a text "
            "file, or convert it; a table can be given as pandas.read_csv(path, encoding='cp1252')"
        ) from None
