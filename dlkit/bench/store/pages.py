"""Rows of a damaged file, found without SQLite: page by page, whatever points at them.

Each table is a tree whose pages hold whole rows, and each row has a digest. So a row is known where it is found: a page
that nothing leads to any more, or whose own head is damaged, gives its rows all the same.

Reference:
    "Database File Format", https://www.sqlite.org/fileformat2.html, sections 1.6 (pages), 2.1 (records).
"""

from collections.abc import Iterator, Sequence
from struct import unpack
from typing import Any, NamedTuple

from dlkit.bench.store.row_digests import row_digest
from dlkit.bench.store.tables import TABLES, Table

__all__ = ["Found", "rows_in"]

LEAF, INTERIOR = 0x0A, 0x02  # the first byte of pages of tables that have no row numbers
HEADS = {LEAF: 8, INTERIOR: 12}  # bytes before the places of a page's cells
WHOLE = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}  # serial type -> bytes of a whole number
DIGEST_TYPE = 76  # the serial type of 32 bytes: each record ends with its digest
MOST = 1 + max(len(table.columns) for table in TABLES.values())  # values of a record
LONGEST = 9 * MOST + 9  # bytes of a record's head
Row = tuple[Any, ...]


class Found(NamedTuple):
    """A row in a file's bytes.

    Attributes:
        table: which one's it is; of a row that is not what was written, which one's it may be.
        row: its values, without the digest.
        is_right: whether it is what was written.
    """

    table: Table
    row: Row
    is_right: bool


class _Cell(NamedTuple):
    """A record as bytes, and the pages that hold what did not fit on its own."""

    record: bytes
    pages: tuple[int, ...]


def rows_in(data: bytes, page: int) -> Iterator[Found]:
    """Yields the rows of a file, right ones and others.

    Args:
        data: the file's bytes.
        page: bytes of a page.
    """
    count = len(data) // page
    taken, broken = set[int](), list[int]()
    for number in range(2, count + 1):  # the first one says what tables there are
        found, pages, is_whole = _listed(data, page, number)
        yield from found
        taken |= pages
        if not is_whole:
            broken.append(number)
    for number in broken:
        if number not in taken:  # else it holds the rest of a row
            yield from _anywhere(data, page, number)


def _listed(data: bytes, page: int, number: int) -> tuple[list[Found], set[int], bool]:
    """The rows that a page lists, the pages that they go on in, and whether all is as it should be."""
    head = start = (number - 1) * page
    kind = data[head]
    if kind not in HEADS:
        return [], set(), not any(data[head : start + page])
    found: list[Found] = []
    taken: set[int] = set()
    cells = int.from_bytes(data[head + 3 : head + 5])
    first = head + HEADS[kind]
    is_whole = first + 2 * cells <= start + page
    for place in range(cells if is_whole else 0):
        at = int.from_bytes(data[first + 2 * place : first + 2 * place + 2]) + (4 if kind == INTERIOR else 0)
        cell = _cell(data, page, start, start + at)
        row = cell and _row(cell.record)
        if row and cell:
            found.append(row)
            taken |= {*cell.pages} if row.is_right else set()
        is_whole &= row is not None and row.is_right
    return found, taken, is_whole


def _anywhere(data: bytes, page: int, number: int) -> Iterator[Found]:
    """Yields the rows that begin anywhere on a page."""
    start = (number - 1) * page
    for at in range(start, start + page - 40):
        if data[at] < 34:  # no row is as short as its digest
            continue
        cell = _cell(data, page, start, at)
        row = cell and _row(cell.record)
        if row and row.is_right:
            yield row


def _cell(data: bytes, page: int, start: int, at: int) -> _Cell | None:
    """The cell at a place; None if there can be none."""
    end = min(start + page, len(data))
    if not start <= at < end - 4:
        return None
    size, at = _varint(data, at)
    largest, smallest = ((page - 12) * 64 // 255) - 23, ((page - 12) * 32 // 255) - 23
    if not 34 <= size <= len(data):
        return None
    if size <= largest:
        return _Cell(data[at : at + size], ()) if at + size <= end else None
    here = smallest + (size - smallest) % (page - 4)
    here = here if here <= largest else smallest
    if at + here + 4 > end:
        return None
    parts, left = [data[at : at + here]], size - here
    following, pages = int.from_bytes(data[at + here : at + here + 4]), list[int]()
    while left > 0:
        begin = (following - 1) * page
        if following < 2 or begin + page > len(data) or len(pages) > size // (page - 4) + 1:
            return None
        pages.append(following)
        parts.append(data[begin + 4 : begin + 4 + min(left, page - 4)])
        left -= len(parts[-1])
        following = int.from_bytes(data[begin : begin + 4])
    return _Cell(b"".join(parts), tuple(pages))


def _row(record: bytes) -> Found | None:
    """The row that a record is; None if it is none of these tables."""
    size, at = _varint(record, 0)
    if not at < size <= min(len(record), LONGEST):
        return None
    kinds = list[int]()
    while at < size and len(kinds) < MOST:
        kind, at = _varint(record, at)
        kinds.append(kind)
    fitting = [table for table in TABLES.values() if len(table.columns) + 1 == len(kinds)]
    if at != size or not fitting or kinds[-1] != DIGEST_TYPE:
        return None
    values = _values(record, size, kinds)
    if values is None:
        return None
    *row, digest = values
    for table in fitting:
        stored = _typed(table, row)
        if stored is not None and row_digest(table, stored) == digest:
            return Found(table, stored, True)
    likely = [table for table in fitting if _typed(table, row) is not None]
    return Found(likely[0], tuple(row), False) if likely else None


def _values(record: bytes, at: int, kinds: Sequence[int]) -> list[Any] | None:
    """The values of a record from their serial types; None if they are not as long as it."""
    values: list[Any] = []
    for kind in kinds:
        if kind >= 12:
            size = (kind - 12) // 2
            part = record[at : at + size]
            values.append(part.decode("utf-8", "replace") if kind % 2 else part)  # a replaced letter is not what it was
        elif kind in WHOLE or kind == 7:
            size = WHOLE.get(kind, 8)
            part = record[at : at + size]
            if len(part) < size:
                return None
            values.append(unpack(">d", part)[0] if kind == 7 else int.from_bytes(part, signed=True))
        elif kind in (0, 8, 9):
            size = 0
            values.append({0: None, 8: 0, 9: 1}[kind])
        else:
            return None
        at += size
    return values if at == len(record) else None


def _typed(table: Table, row: Sequence[Any]) -> Row | None:
    """A row as SQLite gives it back; None if a value is none of its column."""
    return table.as_stored(row) if table.fits(row) else None


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number of SQLite's variable length, and where it ends."""
    value = 0
    for place in range(9):
        if at + place >= len(data):
            return 0, at + place + 1
        byte = data[at + place]
        if place == 8:
            return value << 8 | byte, at + 9
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at + place + 1
    return value, at + 9
