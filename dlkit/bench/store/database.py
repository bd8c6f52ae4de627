"""An open file with the tables of a run: checked reads, and writes that keep each table's sum of digests."""

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from dlkit.bench.errors import UserError
from dlkit.bench.store.row_digests import NOTHING, Sum, digests_of, row_digest, sum_of
from dlkit.bench.store.tables import FORMAT, META, SUM, TABLES, schema

__all__ = ["FILE", "PAGE", "Damaged", "Database", "connect", "is_fault", "make_durable", "make_tables", "unusable"]

FILE = "store.sqlite"
PAGE = 4096  # bytes
FAULTS = ("locked", "full", "I/O", "readonly", "unable to open", "interrupted")  # of the computer, in SQLite's words
Row = tuple[Any, ...]
Answer = TypeVar("Answer")


class Damaged(UserError):
    """Something in the file is not what was written there."""

    def __init__(self, folder: Path | None, what: str) -> None:
        super().__init__(f"{folder}: {FILE} is damaged: {what}; `dlkit verify RUN --repair` writes what is left anew")
        self.what = what


def connect(file: Path | None) -> sqlite3.Connection:
    """Opens a file, or a database in memory.

    What is deleted is overwritten with zeros: what is read from a damaged file is never what was replaced before.
    """
    connection = sqlite3.connect(":memory:" if file is None else str(file), timeout=60, isolation_level=None)
    connection.execute(f"PRAGMA page_size={PAGE}")  # of a new file; this does not look at it yet
    connection.execute("PRAGMA secure_delete=ON")
    connection.execute("PRAGMA trusted_schema=OFF")
    connection.execute("PRAGMA cell_size_check=ON")
    return connection


def make_durable(connection: sqlite3.Connection) -> None:
    """Lets what is written be there, or not at all, whenever the process or the machine ends."""
    connection.execute("PRAGMA journal_mode=DELETE")
    connection.execute("PRAGMA synchronous=EXTRA")


def make_tables(connection: sqlite3.Connection) -> None:
    """Makes the tables of a new file."""
    database = Database(connection, None)
    make_durable(connection)
    with database.transaction():
        for statement in schema().values():
            connection.execute(statement)
        for name in TABLES:
            database.note(name, NOTHING)
        database.set_meta("format", str(FORMAT))


class Database:
    """An open file with tables. Rows go in through `put` alone, and come out checked.

    Attributes:
        folder: the run folder; None for a database in memory.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        folder: Path | None,
        heal: Callable[[], sqlite3.Connection] | None = None,
    ) -> None:
        """Takes an open connection to a file that has the tables.

        Args:
            connection: to the file.
            folder: the run folder, for messages.
            heal: called once when damage is found while rows are read; what it returns takes the connection's place.
        """
        self.folder = folder
        self._connection = connection
        self._heal = heal
        self._changes: dict[str, Sum] = {}
        self._version = -1  # SQLite's number for what other connections wrote
        self._checked: dict[str, list[Row]] = {}  # tables that were read and checked since then

    def close(self) -> None:
        """Closes the file."""
        self._connection.close()

    # --- statements ---

    def execute(self, statement: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """Runs one statement.

        Args:
            statement: in SQL.
            parameters: of its question marks.

        Returns:
            The rows it finds.

        Raises:
            UserError: for a full disk, and other faults of the computer.
            Damaged: for a damaged file.
        """
        try:
            return self._connection.execute(statement, parameters).fetchall()
        except (UnicodeDecodeError, OverflowError) as error:
            raise Damaged(self.folder, str(error)) from None
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.IntegrityError | sqlite3.ProgrammingError):
                raise
            if is_fault(error):  # of the computer
                raise unusable(self.folder, error) from None
            raise Damaged(self.folder, str(error)) from None

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Writes all that the block puts and removes, with the sums of the tables, or nothing of it."""
        self._changes = {}
        self.execute("BEGIN IMMEDIATE")
        try:
            yield
            for name, change in list(self._changes.items()):
                self.note(name, self._sum(name).plus(*change))
            self.execute("COMMIT")
        except BaseException:
            self._checked = {}
            self._roll_back()
            raise
        finally:
            self._changes = {}

    def _roll_back(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Lets the block see one state of the file, though another process writes to it meanwhile."""
        if self._connection.in_transaction:
            yield
            return
        self.execute("BEGIN")
        try:
            yield
        finally:
            self._roll_back()  # nothing was written

    # --- rows ---

    def put(self, name: str, row: Sequence[Any]) -> None:
        """Writes a row, in the place of one with the same key; inside a transaction.

        Args:
            name: of the table.
            row: its values, in the order of its columns.
        """
        self._checked.pop(name, None)
        table = TABLES[name]
        stored = table.as_stored(row)
        self.remove(name, stored[: table.keys])
        digest = row_digest(table, stored)
        self.execute(f"INSERT INTO {name} VALUES ({'?, ' * len(stored)}?)", (*stored, digest))
        self._count(name, 1, int.from_bytes(digest), stored[0])

    def remove(self, name: str, key: Sequence[Any]) -> None:
        """Deletes the row of a key, if there is one; inside a transaction."""
        self._checked.pop(name, None)
        where = TABLES[name].where
        for (digest,) in self.execute(f"SELECT row_digest FROM {name} WHERE {where}", key):
            self.execute(f"DELETE FROM {name} WHERE {where}", key)
            self._count(name, -1, -int.from_bytes(digest), key[0])

    def put_all(self, name: str, rows: Iterable[Sequence[Any]]) -> None:
        """Writes rows of keys that the table does not have; inside a transaction."""
        self._checked.pop(name, None)
        table = TABLES[name]
        stored = [table.as_stored(row) for row in rows]
        digests = digests_of(table, stored)
        marks = "?, " * len(table.columns)
        self._connection.executemany(
            f"INSERT INTO {name} VALUES ({marks}?)",
            ((*row, digest) for row, digest in zip(stored, digests, strict=True)),
        )
        summed = [digest for row, digest in zip(stored, digests, strict=True) if _is_summed(name, row[0])]
        self._changes[name] = self._changes.get(name, NOTHING).plus(*sum_of(summed))

    def rows(self, name: str) -> list[Row]:
        """Returns all rows of a table, without their digests; nobody may change the list.

        Raises:
            Damaged: if one of them, or how many there are, is not what was written.
        """
        return self._healing(self._rows, name)

    def get(self, name: str, *key: Any) -> Row | None:
        """Returns the row of a key, without its digest; None if there is none.

        Raises:
            Damaged: if it is not what was written.
        """
        return self._healing(self._get, name, *key)

    def _healing(self, read: Callable[..., Answer], *arguments: Any) -> Answer:
        """Reads; where that finds damage, what can be salvaged takes the file's place for good."""
        try:
            return read(*arguments)
        except Damaged:
            if self._heal is None:
                raise
            heal, self._heal = self._heal, None
            self._connection.close()
            self._connection, self._checked, self._version = heal(), {}, -1
            return read(*arguments)

    def _rows(self, name: str) -> list[Row]:
        table = TABLES[name]
        with self.snapshot():
            ((version,),) = self.execute("PRAGMA data_version")
            if version != self._version:
                self._checked, self._version = {}, version
            if name in self._checked:
                return self._checked[name]
            found = self.execute(f"SELECT * FROM {name}")
            expected = self._sum(name)
        rows, digests = [row[:-1] for row in found], [row[-1] for row in found]
        if digests != digests_of(table, rows):
            raise Damaged(self.folder, f"a row of the table {name} is not what was written")
        if name == META.name:
            digests = [digest for row, digest in zip(rows, digests, strict=True) if _is_summed(name, row[0])]
        if sum_of(digests) != expected:
            raise Damaged(self.folder, f"the table {name} has other rows than were written")
        if name != "buffer":  # it may be large
            self._checked[name] = rows
        return rows

    def _get(self, name: str, *key: Any) -> Row | None:
        table = TABLES[name]
        found = self.execute(f"SELECT * FROM {name} WHERE {table.where}", key)
        if found and row_digest(table, found[0][:-1]) != found[0][-1]:
            raise Damaged(self.folder, f"a row of the table {name} is not what was written")
        return found[0][:-1] if found else None

    def has(self, name: str, *key: Any) -> bool:
        """Whether a key has a row."""
        return self._healing(self._has, name, *key)

    def _has(self, name: str, *key: Any) -> bool:
        return bool(self.execute(f"SELECT 1 FROM {name} WHERE {TABLES[name].where}", key))

    @contextmanager
    def parsing(self) -> Iterator[None]:
        """Parses what was written in the block: by an older dlkit, or by somebody who wants to harm.

        Raises:
            UserError: in the place of what parsing raised.
        """
        try:
            yield
        except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
            raise unusable(self.folder, error) from None

    # --- the table `meta` ---

    def meta(self, key: str) -> str | None:
        """Returns the value of a key of the table `meta`; None if it has none."""
        row = self.get("meta", key)
        return None if row is None else row[1]

    def set_meta(self, key: str, value: str) -> None:
        """Sets the value of a key of the table `meta`, inside a transaction."""
        self.put("meta", (key, value))

    def _sum(self, name: str) -> Sum:
        """How many rows a table has, and the sum of their digests, as they were written."""
        row = self._get("meta", f"{SUM}{name}")
        if row is None:
            raise Damaged(self.folder, f"how many rows the table {name} has is not known")
        try:
            return Sum.parse(row[1])
        except ValueError as error:
            raise Damaged(self.folder, str(error)) from None

    def note(self, name: str, rows: Sum) -> None:
        """Writes the sum of a table."""
        self.set_meta(f"{SUM}{name}", str(rows))

    def _count(self, name: str, count: int, total: int, key: Any) -> None:
        if _is_summed(name, key):
            self._changes[name] = self._changes.get(name, NOTHING).plus(count, total)


def _is_summed(name: str, key: Any) -> bool:
    """Whether a row is one of those that its table's sum is of: sums are not summed."""
    return name != "meta" or not str(key).startswith(SUM)


def is_fault(error: Exception) -> bool:
    """Whether an error is a fault of the computer, such as a full disk, and says nothing of what is in the file."""
    return type(error) is sqlite3.OperationalError and any(word in str(error) for word in FAULTS)


def unusable(folder: Path | None, error: Exception) -> UserError:
    """Returns what to say of a file that the computer does not let us use."""
    return UserError(f"{folder}: {FILE} cannot be used: {error}; move the folder away, or name another")
