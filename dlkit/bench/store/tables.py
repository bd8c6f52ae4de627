"""The tables of a run folder's file, and the number of their format."""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

__all__ = ["DIGEST", "FORMAT", "META", "SUM", "TABLES", "Column", "Table", "schema"]

FORMAT = 7
DIGEST = "row_digest"  # the last column of every table
SUM = "sum:"  # begins the keys of the table `meta` that say how many rows a table has, and the sum of their digests

Value = str | int | float | bytes | None
Kind = Literal["TEXT", "INTEGER", "REAL", "BLOB"]
KINDS: dict[str, Any] = {"TEXT": str, "INTEGER": int, "REAL": (int, float), "BLOB": bytes}


class Column(NamedTuple):
    """A column.

    Attributes:
        name: of it.
        kind: what is in it.
        optional: whether it may be NULL.
    """

    name: str
    kind: Kind
    optional: bool = False

    def takes(self, kind: type) -> bool:
        """Whether values of a type, as SQLite gives them back, may be in it."""
        return issubclass(kind, KINDS[self.kind]) or (self.optional and kind is type(None))


class Table(NamedTuple):
    """A table; after its columns each row has its digest.

    Attributes:
        name: of it.
        keys: how many of the columns, the first ones, tell rows apart.
        columns: in order.
    """

    name: str
    keys: int
    columns: Sequence[Column]

    @property
    def statement(self) -> str:
        """What makes it: without row numbers, since no digest would cover those."""
        parts = [f"{each.name} {each.kind}{'' if each.optional else ' NOT NULL'}" for each in self.columns]
        key = ", ".join(each.name for each in self.columns[: self.keys])
        return (
            f"CREATE TABLE {self.name} ({', '.join(parts)}, {DIGEST} BLOB NOT NULL, PRIMARY KEY ({key})) WITHOUT ROWID"
        )

    @property
    def where(self) -> str:
        """Picks the row of a key."""
        return " AND ".join(f"{each.name} = ?" for each in self.columns[: self.keys])

    def place(self, column: str) -> int:
        """Returns which of the columns has a name."""
        return [each.name for each in self.columns].index(column)

    def fits(self, row: Sequence[Any]) -> bool:
        """Whether each value is of its column's kind, as SQLite gives it back."""
        return all(each.takes(type(value)) for each, value in zip(self.columns, row, strict=True))

    def as_stored(self, row: Sequence[Any]) -> tuple[Value, ...]:
        """Returns a row as SQLite gives it back: its numbers of Python's own types, whole numbers of columns of floats
        as floats, and no -0.0, which SQLite does not keep.
        """
        return tuple(
            value
            if value is None
            else float(value) + 0.0
            if kind == "REAL"
            else int(value)
            if kind == "INTEGER"
            else value
            for value, (_, kind, _) in zip(row, self.columns, strict=True)
        )


def _table(name: str, keys: int, columns: str) -> Table:
    """A table from its columns as text: "name TEXT, other INTEGER?", where a question mark lets it be NULL."""
    parts = [part.split() for part in columns.split(",")]
    kinds: Any = [(first, kind.rstrip("?"), kind.endswith("?")) for first, kind in parts]
    return Table(name, keys, tuple(Column(*each) for each in kinds))


META = _table("meta", 1, "key TEXT, value TEXT")
TABLES = {
    each.name: each
    for each in (
        META,
        _table("spec", 1, "digest TEXT, plan TEXT, sources TEXT, own_code TEXT"),
        _table("own_code", 1, "digest TEXT, facts TEXT, modules TEXT, settings TEXT, buffers TEXT, data TEXT"),
        _table("buffer", 1, "digest TEXT, bytes BLOB"),
        _table("program", 1, "digest TEXT, software TEXT, fields TEXT"),
        _table("drawn", 3, "search TEXT, software TEXT, position INTEGER, point TEXT"),
        # What many trials share is kept twice, in pages of their own: one damaged byte costs one trial.
        _table("identity", 1, "digest TEXT, shared TEXT"),
        _table("identity_copy", 1, "digest TEXT, shared TEXT"),
        _table(
            "trial",
            2,
            "id TEXT, software TEXT, program TEXT, identity TEXT, hyperparameters TEXT, seed INTEGER, status TEXT, "
            "reason TEXT, traceback TEXT, diverged_at INTEGER?, seconds REAL, compile_seconds REAL, validation TEXT, "
            "gradient_evaluations INTEGER, value_evaluations INTEGER, hvp_evaluations INTEGER, restored_at INTEGER?, "
            "steps BLOB, gradients BLOB?, metrics TEXT, curves BLOB, sample_shape TEXT?, samples BLOB?, "
            "examples INTEGER?, form TEXT?, scores BLOB?",
        ),
        _table("timing", 2, "key TEXT, software TEXT, program TEXT, machine TEXT, session TEXT, timing TEXT"),
        _table("target", 2, "key TEXT, software TEXT, problem TEXT, goals TEXT, source TEXT, digest TEXT"),
        _table("ending", 2, "trial TEXT, software TEXT, target REAL?, kind TEXT, step INTEGER?"),
    )
}


def schema() -> dict[str, str]:
    """Returns table -> what makes it, as a file of this format has them."""
    return {name: table.statement for name, table in TABLES.items()}
