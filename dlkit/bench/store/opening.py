"""A run folder's file, opened: whole, salvaged or of an older format; by one writer at a time."""

import os
import shutil
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dlkit.bench.errors import UserError
from dlkit.bench.store.database import (
    FILE,
    PAGE,
    Damaged,
    Database,
    connect,
    is_fault,
    make_durable,
    make_tables,
    unusable,
)
from dlkit.bench.store.given_files import require_plain_files, require_plain_tables
from dlkit.bench.store.older_formats import OLDEST, rows_of_older
from dlkit.bench.store.salvage import MANIFEST, Damage, salvage
from dlkit.bench.store.tables import FORMAT, TABLES, schema

__all__ = ["Lock", "Opened", "is_in_use", "require_sound"]

Rows = Mapping[str, Sequence[tuple[Any, ...]]]
Say = Callable[[str], None]
_NO_LINKS = getattr(os, "O_NOFOLLOW", 0)  # a file elsewhere would be made
LARGE = ("trial", "buffer")  # tables that a reader checks when they are read
HEAD = ((16, PAGE.to_bytes(2)), (18, b"\x01\x01\x00\x40\x20\x20"), (52, bytes(4)), (56, b"\x00\x00\x00\x01"))


class Opened:
    """A run folder's database. A writer holds the folder's lock until it is closed.

    Attributes:
        database: the tables; of what could be salvaged, where the file is damaged and only read.
        damage: what is lost; None as long as no damage was found.
        format: of the file, which is an older one's where it was only read.
    """

    def __init__(self, folder: Path | None, *, write: bool, say: Say | None = None) -> None:
        """Opens a run folder's file, or makes it.

        Args:
            folder: the run folder; None keeps everything in memory.
            write: whether something will be written; a file can be read while another process writes to it.
            say: is told what is repaired or converted before it is written; without it, a writer refuses such a file.

        Raises:
            UserError: for a folder that is missing, cannot be written, is in use, lost its file, or was written by a
                newer dlkit; and for a writer without `say`, for what has to be repaired or converted first.
        """
        self.damage: Damage | None = None
        self.format = FORMAT
        self._lock: Lock | None = None
        if folder is None:
            self.database = Database(_memory({}), None)
            return
        if write:
            self._lock = Lock(folder)
        try:
            require_plain_files(folder / FILE)
            self.database = self._written(folder, say) if write else self._read(folder)
        except sqlite3.Error as error:
            self._release()
            raise unusable(folder, error) from None
        except BaseException:
            self._release()
            raise

    def close(self) -> None:
        """Closes the file and gives the folder back."""
        if hasattr(self, "database"):
            self.database.close()
        self._release()

    def _release(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    # --- reading ---

    def _read(self, folder: Path) -> Database:
        if not (folder / FILE).is_file():
            _require_unbegun(folder, "is missing")
            raise UserError(f"{folder}: no run there (no {FILE}); give the folder that `dlkit run` printed")
        connection = None
        try:
            connection = connect(folder / FILE)
            self.format = _format(connection, folder)
            if self.format == 0:
                _require_unbegun(folder, "is empty")
                raise UserError(f"{folder}: nothing ran in this folder yet")
            if self.format < FORMAT:
                converted = _memory(rows_of_older(connection))
                connection.close()
                return Database(converted, folder)
        except (Damaged, sqlite3.DatabaseError) as error:
            if connection is not None:
                connection.close()
            if is_fault(error):
                raise
            return Database(self._salvaged(folder), folder)
        database = Database(connection, folder, heal=lambda: self._salvaged(folder))
        for name in TABLES:
            if name not in LARGE:
                database.rows(name)
        return database

    def _salvaged(self, folder: Path) -> sqlite3.Connection:
        found = salvage(folder)
        self.damage = found.damage
        return _memory(found.rows)

    # --- writing ---

    def _written(self, folder: Path, say: Say | None) -> Database:
        file = folder / FILE
        if not file.is_file() or not file.stat().st_size:
            _require_unbegun(folder, "is missing" if not file.is_file() else "is empty")
            connection = connect(file)
            make_tables(connection)
            return Database(connection, folder)
        connection = connect(file)
        try:
            found = _format(connection, folder)
            if found == 0:
                _require_unbegun(folder, "is empty")
                make_tables(connection)
            elif found < FORMAT:
                connection.close()
                _agreed(
                    say,
                    f"{folder}: written in store format {found}; it is converted to format {FORMAT}, and the old file "
                    f"is kept as {_aside(folder, f'format-{found}').name}",
                    f"{folder}: this run was written in store format {found}, and this dlkit writes format {FORMAT}: "
                    f"`dlkit convert {folder}` converts it",
                )
                _convert(folder)
            else:
                require_sound(Database(connection, folder))
                make_durable(connection)
                return Database(connection, folder)
        except (Damaged, sqlite3.DatabaseError) as error:
            connection.close()
            if is_fault(error):
                raise
            found_rows = salvage(folder)
            aside = _aside(folder, "damaged")
            told = " ".join(found_rows.damage.sentences())
            _agreed(
                say,
                f"{folder}: {told} The damaged file is kept as {aside.name}",
                f"{folder}: {told} `dlkit verify {folder} --repair` writes what is left anew",
            )
            _replace(folder, found_rows.rows, aside)
        connection.close()
        connection = connect(file)
        make_durable(connection)
        return Database(connection, folder)


def _agreed(say: Say | None, text: str, refusal: str) -> None:
    if say is None:
        raise UserError(refusal)
    say(text)


def _format(connection: sqlite3.Connection, folder: Path) -> int:
    """The format of a file; 0 of an empty one.

    Raises:
        UserError: for a newer one, and a file that is no store.
        Damaged: if it cannot be told.
    """
    database = Database(connection, folder)
    every = database.execute("SELECT name, type, sql FROM sqlite_master")
    if not every:
        return 0
    ours = {(name, "table", text) for name, text in schema().items()}
    is_ours = len(every) == len(ours) and {*every} == ours
    if not is_ours:
        _require_plain(connection, folder, has_more={*every} > ours)
    if is_ours:
        said = str(database.meta("format"))
    else:
        found = database.execute("SELECT value FROM meta WHERE key = 'format'")
        said = str(found[0][0]) if found else "None"
    if said == str(FORMAT):
        if is_ours:
            return FORMAT
        raise Damaged(folder, "its tables are not those of its format")
    if not said.isdecimal() and _has_rows(folder):
        raise Damaged(folder, "nothing in it says its format")
    if not said.isdecimal() or int(said) < OLDEST or int(said) > FORMAT:
        what = (
            "use that dlkit, or a newer one, or name another folder"
            if said.isdecimal() and int(said) > FORMAT
            else "use the dlkit that wrote it, or name another folder"
        )
        raise UserError(
            f"{folder}: this run was written in store format {said}, and this dlkit reads formats {OLDEST} to "
            f"{FORMAT}; {what}"
        )
    return int(said)


def _require_plain(connection: sqlite3.Connection, folder: Path, *, has_more: bool) -> None:
    """Refuses tables that compute when they are read.

    Args:
        connection: to the file.
        folder: the run folder.
        has_more: whether the file has all of a store's tables, and others, which no damage makes.

    Raises:
        UserError: for those.
        Damaged: if it may be damage that made them look so: then the file is not read through SQLite.
    """
    try:
        require_plain_tables(connection, folder)
    except UserError as error:
        if has_more or not _has_rows(folder):
            raise
        raise Damaged(folder, str(error)) from None


def _has_rows(folder: Path) -> bool:
    """Whether a file has rows of a store of today's format, whatever SQLite says of it."""
    try:
        return bool(salvage(folder))
    except UserError:
        return False


def require_sound(database: Database) -> None:
    """Checks a whole file: its head, SQLite's own structure, every row and every table.

    Raises:
        Damaged: saying what is wrong.
    """
    if database.folder is not None:
        with (database.folder / FILE).open("rb") as file:
            head = file.read(100)
        if any(head[at : at + len(part)] != part for at, part in HEAD):
            raise Damaged(database.folder, "the file's head is not what was written")
    with database.snapshot():
        ((state, *_), *_) = database.execute("PRAGMA integrity_check(1)")
        if state != "ok":
            raise Damaged(database.folder, str(state))
        for name in TABLES:
            database.rows(name)


# --- writing anew ---


def _convert(folder: Path) -> None:
    """Writes a store of an older format anew in today's; the old file is kept beside it."""
    connection = connect(folder / FILE)
    try:
        found = _format(connection, folder)
        rows = rows_of_older(connection)
    finally:
        connection.close()
    _replace(folder, rows, _aside(folder, f"format-{found}"))


def _memory(rows: Rows) -> sqlite3.Connection:
    connection = connect(None)
    _fill(connection, rows)
    return connection


def _fill(connection: sqlite3.Connection, rows: Rows) -> None:
    make_tables(connection)
    database = Database(connection, None)
    with database.transaction():
        for name in TABLES:
            if name == "meta":
                for key, value in rows.get(name, ()):
                    database.set_meta(key, value)
            else:
                database.put_all(name, rows.get(name, ()))


def _replace(folder: Path, rows: Rows, aside: Path) -> None:
    """Puts a file of some rows in the place of the one that is there, which is kept; one of both is always there."""
    file, new = folder / FILE, folder / f"{FILE}.new"
    journal = folder / f"{FILE}-journal"
    try:
        for left in (new, folder / f"{new.name}-journal"):
            left.unlink(missing_ok=True)
        connection = connect(new)
        try:
            _fill(connection, rows)
        finally:
            connection.close()
        try:
            os.link(file, aside)
        except OSError:  # a file system without links
            shutil.copy2(file, aside)
        if journal.exists():  # it belongs to the file that goes
            journal.rename(aside.with_name(f"{aside.name}-journal"))
        new.replace(file)
    except OSError as error:
        raise UserError(f"{folder}: {FILE} cannot be written anew: {error.strerror}; it is as it was") from None


def _aside(folder: Path, why: str) -> Path:
    """Where a file is kept that another one takes the place of."""
    name, suffix = FILE.rsplit(".", 1)
    paths = [folder / f"{name}.{why}.{suffix}", *(folder / f"{name}.{why}-{turn}.{suffix}" for turn in range(2, 1000))]
    return next(path for path in paths if not path.exists())


def _require_unbegun(folder: Path, what: str) -> None:
    """Refuses to begin anew where a run was."""
    if (folder / MANIFEST).is_file():
        raise UserError(
            f"{folder}: {FILE} {what}, but {MANIFEST} says that a run was here; put the store back from a copy, or, to "
            f"begin anew, delete {MANIFEST} or name another folder"
        )


# --- one writer ---


class Lock:
    """A run folder, made if it is missing, and held by this process: the system lets go of it however it ends."""

    def __init__(self, folder: Path) -> None:
        """Takes it.

        Raises:
            UserError: for a folder that cannot be written, or that another process holds.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._descriptor: int | None = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | _NO_LINKS, 0o644)
        except OSError as error:
            raise UserError(
                f"{folder}: the run folder cannot be written: {error.strerror}; name another folder"
            ) from None
        if not _take_lock(self._descriptor):
            self.close()
            raise UserError(f"{folder}: another dlkit is using this run; wait for it, or name another folder")

    def close(self) -> None:
        """Gives it back."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _take_lock(descriptor: int) -> bool:
    """Locks the run folder for this process; the system lets go when the process ends, however it ends."""
    try:
        import fcntl
    except ImportError:  # not a POSIX system: SQLite's own locks still keep the file whole
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True


def is_in_use(folder: Path) -> bool:
    """Whether another process writes to a run folder, as far as the system tells; nothing is written to find out."""
    try:
        import fcntl

        descriptor = os.open(folder / "lock", os.O_RDONLY | os.O_NONBLOCK)  # somebody else may have put a pipe there
    except (ImportError, OSError):  # no locks, or nobody ever wrote here
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # a file system without locks
        return False
    finally:
        os.close(descriptor)
    return False
