"""A run folder's SQLite file: its lock, its format, transactions, and what to say when it is damaged."""

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dlkit.bench.errors import UserError
from dlkit.bench.store.given_files import require_plain_files, require_plain_tables

__all__ = ["FILE", "Database", "is_in_use"]

FILE = "store.sqlite"
META = "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID"


class Database:
    """An open file with tables. A writer holds the run folder's lock until it is closed.

    Without a folder the tables live in memory. The journal is a rollback journal: it is safe on network file systems
    and against being killed at any moment.

    Attributes:
        folder: the run folder; None for a database in memory.
    """

    def __init__(self, folder: Path | None, *, write: bool, version: int, tables: Sequence[str]) -> None:
        """Opens a run folder's file, or makes it.

        Args:
            folder: the run folder; None keeps everything in memory.
            write: whether something will be written; a file can be read while another process writes to it.
            version: of the format, which is what the tables mean; a file of another version is refused.
            tables: statements that make the tables of a new file.

        Raises:
            UserError: for a folder that is missing, cannot be written, is in use, or was written in another format.
        """
        self.folder = folder
        self._lock: int | None = None
        if folder is not None:
            self._take_folder(folder) if write else _require_file(folder)
        try:
            if folder is not None:
                require_plain_files(folder / FILE)
            name = ":memory:" if folder is None else str(folder / FILE)
            self._connection = sqlite3.connect(name, timeout=60, isolation_level=None)
            require_plain_tables(self._connection, folder)
            if write:
                self.execute("PRAGMA journal_mode=DELETE")
                self.execute("PRAGMA synchronous=EXTRA")
                self._create(tables, version)
            self._require_format(version)
        except sqlite3.Error as error:
            self.close()
            raise self._unusable(error) from None
        except UserError:
            self.close()
            raise

    def close(self) -> None:
        """Closes the file and gives the folder back."""
        if hasattr(self, "_connection"):
            self._connection.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    # --- statements ---

    def execute(self, statement: str, parameters: Sequence[Any] = ()) -> list[Any]:
        """Runs one statement.

        Args:
            statement: in SQL.
            parameters: of its question marks.

        Returns:
            The rows it finds.

        Raises:
            UserError: for a damaged file and a full disk, which are not this program's mistakes.
        """
        try:
            return self._connection.execute(statement, parameters).fetchall()
        except UnicodeDecodeError as error:
            raise self._unusable(error) from None
        except sqlite3.DatabaseError as error:
            if type(error) in (sqlite3.DatabaseError, sqlite3.OperationalError):
                raise self._unusable(error) from None
            raise

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Writes all that the block executes, or nothing of it."""
        self.execute("BEGIN IMMEDIATE")
        try:
            yield
            self.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Lets the block see one state of the file, though another process writes to it meanwhile."""
        self.execute("BEGIN")
        try:
            yield
        finally:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")  # nothing was written

    def meta(self, key: str) -> str | None:
        """Returns the value of a key of the table `meta`; None if it has none."""
        rows = self.execute("SELECT value FROM meta WHERE key = ?", (key,))
        return rows[0][0] if rows else None

    def set_meta(self, key: str, value: str) -> None:
        """Sets the value of a key of the table `meta`, inside a transaction."""
        self.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    # --- damage ---

    @contextmanager
    def parsing(self) -> Iterator[None]:
        """Parses rows in the block: they may be damaged where the file's own structure is not.

        Raises:
            UserError: in the place of what parsing raised.
        """
        try:
            yield
        except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
            raise self._unusable(error) from None

    def _unusable(self, error: Exception) -> UserError:
        return UserError(f"{self.folder}: {FILE} cannot be used: {error}; move the folder away, or name another")

    # --- opening ---

    def _take_folder(self, folder: Path) -> None:
        """Makes the folder if it is missing, and locks it."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise UserError(
                f"{folder}: the run folder cannot be written: {error.strerror}; name another folder"
            ) from None
        if not _take_lock(self._lock):
            os.close(self._lock)
            self._lock = None
            raise UserError(f"{folder}: another dlkit is using this run; wait for it, or name another folder")

    def _create(self, tables: Sequence[str], version: int) -> None:
        """Makes the tables, unless the file has them."""
        if not self.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'"):
            with self.transaction():
                for statement in (META, *tables):
                    self.execute(statement)
                self.set_meta("format", str(version))

    def _require_format(self, version: int) -> None:
        found = self.meta("format")
        if found != str(version):
            raise UserError(
                f"{self.folder}: this run was written in store format {found}, this dlkit reads format {version}; "
                "use the dlkit that wrote it, or name another folder"
            )


def _require_file(folder: Path) -> None:
    if not (folder / FILE).is_file():
        raise UserError(f"{folder}: no run there (no {FILE}); give the folder that `dlkit run` printed")


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

        descriptor = os.open(folder / "lock", os.O_RDONLY)
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
