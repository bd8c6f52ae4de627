"""A digest for each row, and a sum of digests for each table: what is changed, lost or moved does not go unseen."""

import hashlib
from collections.abc import Iterable, Sequence
from struct import Struct, pack
from typing import Any, NamedTuple

from dlkit.bench.store.tables import TABLES, Table

__all__ = ["NOTHING", "Sum", "row_digest", "sum_of"]

MODULUS = 2**256
_LENGTHS = {name: Struct(f"<{len(table.columns)}q") for name, table in TABLES.items()}
_NAMES = {name: name.encode() + b"\0" for name in TABLES}
_TAGS = {type(None): "n", int: "i", float: "f", str: "t", bytes: "b", bytearray: "b", memoryview: "b"}
_BYTES: dict[type, Any] = {
    type(None): lambda value: b"",
    int: lambda value: b"%d" % value,
    float: lambda value: pack("<d", value),
    str: str.encode,
    bytes: bytes,
    bytearray: bytes,
    memoryview: bytes,
}


class Sum(NamedTuple):
    """What is known of all rows of a table.

    Attributes:
        rows: how many there are.
        total: of their digests as numbers, modulo 2^256.
    """

    rows: int
    total: int

    def __str__(self) -> str:
        return f"{self.rows} {self.total:064x}"

    @classmethod
    def parse(cls, text: str) -> "Sum":
        """Returns the sum that a text names; raises ValueError for another text."""
        count, total = text.split(" ")
        return cls(int(count), int(total, 16))

    def plus(self, rows: int, total: int) -> "Sum":
        """Returns the sum with rows that came, or went."""
        return Sum(self.rows + rows, (self.total + total) % MODULUS)


NOTHING = Sum(0, 0)


def row_digest(table: Table, row: Sequence[Any]) -> bytes:
    """Returns the SHA-256 of a row: of its table's name, and of each value's type, length and bytes.

    Args:
        table: which.
        row: its values as SQLite gives them, without the digest.
    """
    tags = "".join([_TAGS[type(value)] for value in row]).encode()
    values = [_BYTES[type(value)](value) for value in row]
    return hashlib.sha256(
        b"".join((_NAMES[table.name], tags, _LENGTHS[table.name].pack(*map(len, values)), *values))
    ).digest()


def sum_of(digests: Iterable[bytes]) -> Sum:
    """Returns the sum of rows by their digests."""
    numbers = [int.from_bytes(each) for each in digests]
    return Sum(len(numbers), sum(numbers) % MODULUS)
