"""A run folder's file that somebody else may have made: what SQLite would do with it beside reading it is refused.

Of a run, SQLite is given a file of plain tables. A file may hold more: views and triggers, which compute when a table
is read; and beside it may lie a journal that names other files, which SQLite removes when it opens this one.
"""

import re
import sqlite3
import stat
from pathlib import Path

from dlkit.bench.errors import UserError

__all__ = ["require_plain_files", "require_plain_tables"]

BESIDE = ("", "-journal", "-wal", "-shm")  # what SQLite opens together with a file
JOURNAL_END = bytes([0xD9, 0xD5, 0x05, 0xF9, 0x20, 0xA1, 0x63, 0xD7])  # the mark behind the name of another file
PLAIN = re.compile(r"CREATE TABLE \w+ ?\([^()]*(?:\([^()]*\)[^()]*)*\)(?: WITHOUT ROWID)?", re.DOTALL)
COMPUTED = re.compile(r"\b(AS|GENERATED|CHECK|DEFAULT|REFERENCES|COLLATE)\b", re.IGNORECASE)


def require_plain_files(file: Path) -> None:
    """Looks at a file and those beside it before SQLite opens them.

    Args:
        file: of the database; it need not be there.

    Raises:
        UserError: for a link or anything but a plain file, and for a journal that names files elsewhere.
    """
    for end in BESIDE:
        path = file.with_name(file.name + end)
        try:
            mode = path.lstat().st_mode
        except OSError:
            continue
        if not stat.S_ISREG(mode):
            what = "a link to another place" if stat.S_ISLNK(mode) else "no plain file"
            raise UserError(f"{path}: is {what}; of a run that was given to you, ask for the file itself")
    journal = file.with_name(f"{file.name}-journal")
    try:
        with journal.open("rb") as opened:
            opened.seek(-min(len(JOURNAL_END), journal.stat().st_size), 2)
            names_others = opened.read() == JOURNAL_END
    except OSError:
        return
    if names_others:
        raise UserError(
            f"{journal}: names files elsewhere, which opening the run would remove; dlkit writes no such journal: do "
            "not trust this folder, or delete that file if the run is your own"
        )


def require_plain_tables(connection: sqlite3.Connection, folder: Path | None) -> None:
    """Looks at what a file defines, before anything is read from it.

    Args:
        connection: to the file.
        folder: the run folder, for messages.

    Raises:
        UserError: for views, triggers, tables of modules, and columns that are computed.
        sqlite3.Error: for a file that SQLite cannot read.
    """
    connection.execute("PRAGMA trusted_schema=OFF")
    connection.execute("PRAGMA cell_size_check=ON")
    for kind, name, text in connection.execute("SELECT type, name, sql FROM sqlite_master"):
        if kind == "index" and text is None:  # of a primary key
            continue
        is_plain = kind == "table" and isinstance(text, str) and PLAIN.fullmatch(" ".join(text.split()))
        if not is_plain or COMPUTED.search(text):
            raise UserError(
                f"{folder}: the file has a {kind} '{name}', as no run has: something that computes when it is read; it "
                "is not opened: do not trust this folder"
            )
